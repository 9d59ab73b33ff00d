/* SPDX-License-Identifier: Apache-2.0 */

#include "vhost/guest_map.h"

#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "vhost/guest_fs.h"
#include "vhost/guest_mem.h"

/* A row is published by its start (0: free), written last and cleared first. A thread that faults holds a
 * reference to its mapping, so the row that it searches for cannot change meanwhile; other rows may. */
struct guest_map_guard {
	uintptr_t start;
	size_t len;
	bool bad;
};

/* More rows than vm.max_map_count (65530 by default) allows mappings are of no use; rows take no memory until
 * they are used. */
static struct guest_map_guard guards[32768];
static unsigned int guards_high; /* rows at and above were never used */

static struct guest_map *cache[256];

static struct sigaction previous_action;
static bool handler_installed;
static int fault_fd = -1;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	int saved = errno;
	uint64_t one = 1;
	uintptr_t addr = (uintptr_t)info->si_addr;
	unsigned int n = __atomic_load_n(&guards_high, __ATOMIC_ACQUIRE);

	(void)context;
	for (unsigned int i = 0; info->si_code > 0 && i < n; i++) {
		struct guest_map_guard *g = &guards[i];
		uintptr_t start = __atomic_load_n(&g->start, __ATOMIC_ACQUIRE);
		size_t len = __atomic_load_n(&g->len, __ATOMIC_ACQUIRE);

		if (!start || addr - start >= len)
			continue;
		if (__atomic_load_n(&g->start, __ATOMIC_ACQUIRE) != start)
			continue; /* reused while we read it, so it is not the faulting thread's */
		/* Marked first: a thread that sees the zeros must also see the mark. */
		__atomic_store_n(&g->bad, true, __ATOMIC_SEQ_CST);
		/* Can only fail if the counter is full, and then it is readable. */
		if (write(fault_fd, &one, sizeof(one)) < 0)
			errno = saved;
		if (mmap((void *)start, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
			break;
		errno = saved;
		return;
	}
	/* Not ours: let it have its former effect. A fault repeats on return; a signal that was sent must be
	 * sent again. */
	sigaction(SIGBUS, &previous_action, NULL);
	if (info->si_code <= 0)
		raise(sig);
	errno = saved;
}

int guest_mem_install_sigbus(void)
{
	/* On the alternate stack where there is one; no SA_NODEFER: a fault in the handler is final. */
	struct sigaction action = {.sa_sigaction = on_sigbus,
				   .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};

	if (handler_installed)
		return 0;
	if (fault_fd < 0)
		fault_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fault_fd < 0)
		return -errno;
	sigemptyset(&action.sa_mask);
	if (sigaction(SIGBUS, &action, &previous_action) < 0)
		return -errno;
	handler_installed = true;
	return 0;
}

static struct guest_map_guard *guard_add(void *base, size_t len)
{
	unsigned int i = 0;

	while (i < ARRAY_SIZE(guards) && guards[i].start)
		i++;
	if (i == ARRAY_SIZE(guards))
		return NULL;
	__atomic_store_n(&guards[i].len, len, __ATOMIC_RELEASE);
	__atomic_store_n(&guards[i].bad, false, __ATOMIC_RELEASE);
	__atomic_store_n(&guards[i].start, (uintptr_t)base, __ATOMIC_RELEASE);
	if (i >= guards_high)
		__atomic_store_n(&guards_high, i + 1, __ATOMIC_RELEASE);
	return &guards[i];
}

static void guard_remove(struct guest_map_guard *g)
{
	__atomic_store_n(&g->start, 0, __ATOMIC_RELEASE);
}

static struct guest_map **bucket(const struct stat *st, uint64_t offset)
{
	uint64_t h = (uint64_t)st->st_ino * 0x9e3779b97f4a7c15u ^ (uint64_t)st->st_dev << 7 ^ offset >> 12;

	return &cache[(h ^ h >> 32) % ARRAY_SIZE(cache)];
}

/* The page size of the file, or -EINVAL, or -EMEDIUMTYPE. */
static int64_t file_page_size(int fd, const struct stat *st)
{
	struct statfs fs;

	if (!S_ISREG(st->st_mode))
		return -EINVAL;
	if (fstatfs(fd, &fs) < 0)
		return -errno;
	if (!guest_fs_allowed((uint32_t)fs.f_type))
		return -EMEDIUMTYPE;
	return (uint32_t)fs.f_type == HUGETLBFS_MAGIC ? (int64_t)st->st_blksize : sysconf(_SC_PAGESIZE);
}

const char *guest_map_why(int r, int fd, char buf[GUEST_MAP_WHY])
{
	char name[GUEST_FS_NAME];
	struct statfs fs;

	if (r != -EMEDIUMTYPE || fstatfs(fd, &fs) < 0)
		return strerror(-r);
	snprintf(buf, GUEST_MAP_WHY, "on %s, see --memory-fs", guest_fs_name((uint32_t)fs.f_type, name));
	return buf;
}

static int map_file(struct guest_map *map, int fd, uint64_t page)
{
	uint64_t start = map->offset & ~(page - 1);
	uint64_t end = (map->offset + map->size + page - 1) & ~(page - 1);
	_cleanup_close_ int own = -1;

	if (end <= start || end > INT64_MAX)
		return -EINVAL;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (own < 0)
		return -errno;
	map->len = end - start;
	map->base =
		mmap(NULL, map->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, own, (off_t)start);
	if (map->base == MAP_FAILED)
		return -errno;
	/* Core dumps of this process must not contain guests' memory. */
	madvise(map->base, map->len, MADV_DONTDUMP);
	map->hva = map->base + (map->offset - start);
	map->guard = guard_add(map->base, map->len);
	if (!map->guard) {
		munmap(map->base, map->len);
		return -ENOSPC;
	}
	map->fd = steal_fd(&own);
	return 0;
}

int guest_map_get(uint64_t domain, int fd, uint64_t offset, uint64_t size, struct guest_map **ret)
{
	struct guest_map *map, **head;
	struct stat st;
	uint64_t end;
	int64_t page;
	int r;

	if (!size || __builtin_add_overflow(offset, size, &end) || end > INT64_MAX)
		return -EINVAL;
	if (fstat(fd, &st) < 0)
		return -errno;
	page = file_page_size(fd, &st);
	if (page < 0)
		return (int)page;
	if (end > (uint64_t)st.st_size)
		return -EINVAL;

	head = bucket(&st, offset);
	for (map = *head; map && domain != GUEST_MAP_PRIVATE; map = map->next) {
		if (map->domain == domain && map->dev == st.st_dev && map->ino == st.st_ino &&
		    map->offset == offset && map->size == size && !guest_map_bad(map)) {
			*ret = guest_map_ref(map);
			return 0;
		}
	}

	map = calloc(1, sizeof(*map));
	if (!map)
		return -ENOMEM;
	map->refs = 1;
	map->domain = domain;
	map->dev = st.st_dev;
	map->ino = st.st_ino;
	map->offset = offset;
	map->size = size;
	r = map_file(map, fd, (uint64_t)page);
	if (r < 0) {
		free(map);
		return r;
	}
	map->next = *head;
	*head = map;
	*ret = map;
	return 0;
}

struct guest_map *guest_map_ref(struct guest_map *map)
{
	map->refs++;
	return map;
}

void guest_map_unref(struct guest_map *map)
{
	struct stat key;
	struct guest_map **p;

	if (!map || --map->refs)
		return;
	key.st_dev = map->dev;
	key.st_ino = map->ino;
	for (p = bucket(&key, map->offset); *p != map; p = &(*p)->next)
		;
	*p = map->next;
	munmap(map->base, map->len);
	guard_remove(map->guard);
	close_fd(&map->fd);
	free(map);
}

bool guest_map_bad(const struct guest_map *map)
{
	return __atomic_load_n(&map->guard->bad, __ATOMIC_RELAXED);
}

int guest_map_fault_fd(void)
{
	return fault_fd;
}
