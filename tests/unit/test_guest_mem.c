/* SPDX-License-Identifier: Apache-2.0 */

/* Guest memory: tables, translation, the mapping cache, files that shrink, and the dirty log. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "vhost/guest_fs.h"
#include "vhost/guest_map.h"
#include "vhost/guest_mem.h"
#include "vu_env.h"

#define PAGE UINT64_C(4096)

static int memfd(uint64_t size)
{
	int fd = memfd_create("guest-mem-test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static int fds_before, maps_before;

static int setup(void **state)
{
	(void)state;
	fds_before = vu_env_count_fds();
	maps_before = vu_env_count_maps("guest-mem-test");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (vu_env_count_fds() != fds_before || vu_env_count_maps("guest-mem-test") != maps_before)
		print_error("descriptors or mappings left\n");
	return vu_env_count_fds() != fds_before || vu_env_count_maps("guest-mem-test") != maps_before;
}

/* Adds to `mem` and drops the old table. */
static int add(struct guest_mem **mem, uint64_t gpa, uint64_t size, uint64_t uva, uint64_t offset, int fd)
{
	struct guest_mem *more;
	int r = guest_mem_add(*mem, gpa, size, uva, offset, fd, &more);

	if (r < 0)
		return r;
	guest_mem_unref(*mem);
	*mem = more;
	return 0;
}

static void test_translate(void **state)
{
	int fd = memfd(8 * PAGE);
	struct guest_mem *mem = NULL;
	uint32_t len;
	uint8_t *p;

	(void)state;
	/* Sorted by gpa whatever the order they come in; with a hole, and two that touch. */
	assert_int_equal(add(&mem, 0x5000, PAGE, 0x700000, 4 * PAGE, fd), 0);
	assert_int_equal(add(&mem, 0x1000, 2 * PAGE, 0x900000, 0, fd), 0);
	assert_int_equal(add(&mem, 0x3000, PAGE, 0x800000, 2 * PAGE, fd), 0);
	assert_int_equal(mem->n, 3);
	assert_int_equal(mem->regions[0].gpa, 0x1000);
	assert_int_equal(mem->regions[1].gpa, 0x3000);
	assert_int_equal(mem->regions[2].gpa, 0x5000);

	len = 100;
	p = guest_mem_gpa(mem, 0x1010, &len);
	assert_int_equal(len, 100);
	strcpy((char *)p, "here");
	assert_string_equal(guest_mem_uva(mem, 0x900010, 5), "here");
	assert_int_equal(guest_mem_to_gpa(mem, p), 0x1010);

	len = UINT32_MAX;
	assert_non_null(guest_mem_gpa(mem, 0x2ff0, &len));
	assert_int_equal(len, 16);
	len = 1;
	assert_null(guest_mem_gpa(mem, 0xfff, &len));
	assert_null(guest_mem_gpa(mem, 0x4000, &len));
	assert_null(guest_mem_gpa(mem, 0x6000, &len));
	assert_null(guest_mem_gpa(mem, UINT64_MAX, &len));

	assert_non_null(guest_mem_gpa_exact(mem, 0x1000, 2 * PAGE));
	assert_null(guest_mem_gpa_exact(mem, 0x1000, 2 * PAGE + 1)); /* not across regions */
	assert_null(guest_mem_gpa_exact(mem, 0x1001, UINT64_MAX));
	assert_non_null(guest_mem_uva(mem, 0x700000, PAGE));
	assert_null(guest_mem_uva(mem, 0x700001, PAGE));
	assert_null(guest_mem_uva(mem, 0x6fffff, 2));
	assert_int_equal(guest_mem_to_gpa(mem, &len), UINT64_MAX);
	guest_mem_unref(mem);
	close(fd);
}

/* A regular file of a file system that is neither tmpfs nor hugetlbfs, and that every machine has. */
static void test_file_systems(void **state)
{
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC), on_tmpfs = memfd(PAGE);
	char why[GUEST_MAP_WHY], name[GUEST_FS_NAME];
	struct guest_mem *mem = NULL;

	(void)state;
	assert_int_equal(add(&mem, 0, PAGE, 0, 0, fd), -EMEDIUMTYPE);
	assert_string_equal(guest_map_why(-EMEDIUMTYPE, fd, why), "on type 0x9fa0, see --memory-fs");
	assert_string_equal(guest_map_why(-EINVAL, fd, why), strerror(EINVAL));
	assert_string_equal(guest_fs_name(0x794c7630, name), "overlayfs");
	assert_int_equal(guest_fs_allow(""), -EINVAL);
	assert_int_equal(guest_fs_allow("ext5"), -EINVAL);
	assert_int_equal(guest_fs_allow("0x"), -EINVAL);
	assert_int_equal(guest_fs_allow("0x100000000"), -EINVAL);
	assert_false(guest_fs_allowed(0x794c7630));
	assert_int_equal(guest_fs_allow("overlayfs"), 0);
	assert_true(guest_fs_allowed(0x794c7630));
	assert_false(guest_fs_allowed(0x9fa0));
	assert_int_equal(guest_fs_allow("0x9fa0"), 0);
	assert_int_equal(add(&mem, 0, PAGE, 0, 0, fd), -EINVAL); /* it has no size */
	for (unsigned int i = 0; i < 64; i++)
		assert_int_equal(guest_fs_allow("tmpfs"), 0);
	assert_int_equal(add(&mem, 0, PAGE, 0, 0, on_tmpfs), 0);
	guest_mem_unref(mem);
	close(fd);
	close(on_tmpfs);
}

static void test_refused(void **state)
{
	int fd = memfd(4 * PAGE), pipefd[2];
	struct guest_mem *mem = NULL, *none = NULL;

	(void)state;
	assert_int_equal(add(&mem, 0x10000, 2 * PAGE, 0x10000, 0, fd), 0);
	assert_int_equal(add(&mem, 0x20000, 0, 0x20000, 0, fd), -EINVAL);
	assert_int_equal(add(&mem, UINT64_MAX - PAGE + 1, PAGE, 0x20000, 0, fd), -EINVAL);
	assert_int_equal(add(&mem, 0x20000, PAGE, UINT64_MAX - PAGE + 1, 0, fd), -EINVAL);
	assert_int_equal(add(&mem, 0x20000, PAGE, 0x20000, UINT64_MAX - PAGE + 1, fd), -EINVAL);
	assert_int_equal(add(&mem, 0x20000, UINT64_MAX, 0x20000, 0, fd), -EINVAL);
	assert_int_equal(add(&mem, 0x20000, 4 * PAGE, 0x20000, 1, fd), -EINVAL); /* longer than the file */
	assert_int_equal(add(&mem, 0x20000, 1, 0x20000, 4 * PAGE, fd), -EINVAL);
	assert_int_equal(add(&mem, 0x20000, INT64_MAX, 0x20000, 0, fd), -EINVAL);
	/* overlaps: same, inside, at either edge, around */
	assert_int_equal(add(&mem, 0x10000, 2 * PAGE, 0x20000, 0, fd), -EEXIST);
	assert_int_equal(add(&mem, 0x10fff, 1, 0x20000, 0, fd), -EEXIST);
	assert_int_equal(add(&mem, 0xf001, PAGE, 0x20000, 0, fd), -EEXIST);
	assert_int_equal(add(&mem, 0x11fff, PAGE, 0x20000, 0, fd), -EEXIST);
	assert_int_equal(add(&mem, 0xf000, 4 * PAGE, 0x20000, 0, fd), -EEXIST);
	assert_int_equal(add(&mem, 0xf000, PAGE, 0x20000, 0, fd), 0);
	assert_int_equal(add(&mem, 0x12000, PAGE, 0x30000, 0, fd), 0);

	assert_int_equal(pipe2(pipefd, O_CLOEXEC), 0);
	assert_int_equal(add(&mem, 0x40000, PAGE, 0x40000, 0, pipefd[0]), -EINVAL);
	assert_int_equal(add(&mem, 0x40000, PAGE, 0x40000, 0, -1), -EBADF);
	close(pipefd[0]);
	close(pipefd[1]);

	assert_int_equal(guest_mem_remove(mem, 0x10000, PAGE, 0x10000, &none), -ENOENT);
	assert_int_equal(guest_mem_remove(mem, 0x10000, 2 * PAGE, 0x10001, &none), -ENOENT);
	assert_int_equal(guest_mem_remove(NULL, 0x10000, 2 * PAGE, 0x10000, &none), -ENOENT);
	assert_null(none);
	assert_int_equal(guest_mem_remove(mem, 0x10000, 2 * PAGE, 0x10000, &none), 0);
	assert_int_equal(none->n, 2);
	assert_int_equal(mem->n, 3); /* the old table is as it was */
	guest_mem_unref(none);
	guest_mem_unref(mem);
	close(fd);
}

static void test_limit(void **state)
{
	int fd = memfd(PAGE);
	struct guest_mem *mem = NULL;

	(void)state;
	for (uint64_t i = 0; i < GUEST_MEM_MAX_REGIONS; i++)
		assert_int_equal(add(&mem, i * PAGE, PAGE, i * PAGE, 0, fd), 0);
	assert_int_equal(add(&mem, 0x10000000, PAGE, 0x10000000, 0, fd), -ENOSPC);
	assert_int_equal(vu_env_count_maps("guest-mem-test"), 1);
	guest_mem_unref(mem);
	close(fd);
}

/* A file opened for reading cannot be guest memory. */
static void test_read_only(void **state)
{
	int fd = memfd(PAGE), ro;
	struct guest_mem *mem = NULL;
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(ro >= 0);
	assert_int_equal(add(&mem, 0, PAGE, 0, 0, ro), -EACCES);
	close(ro);
	close(fd);
}

static void test_cache(void **state)
{
	int fd = memfd(2 * PAGE), other = memfd(2 * PAGE);
	struct guest_mem *a = NULL, *b = NULL, *c = NULL, *d = NULL;

	(void)state;
	assert_int_equal(add(&a, 0, 2 * PAGE, 0x1000, 0, fd), 0);
	assert_int_equal(add(&b, 0x4000, 2 * PAGE, 0x9000, 0, fd), 0);
	assert_ptr_equal(a->regions[0].map, b->regions[0].map);
	assert_int_equal(vu_env_count_maps("guest-mem-test"), 1);
	/* Another file, part, or peer is another mapping. */
	assert_int_equal(add(&b, 0, 2 * PAGE, 0x1000, 0, other), 0);
	assert_ptr_not_equal(a->regions[0].map, b->regions[0].map);
	assert_int_equal(add(&b, 0x8000, PAGE, 0x20000, PAGE, fd), 0);
	assert_ptr_not_equal(a->regions[0].map, b->regions[2].map);

	assert_int_equal(guest_mem_new(&c), 0);
	guest_mem_set_domain(c, 42);
	assert_int_equal(add(&c, 0, 2 * PAGE, 0x1000, 0, fd), 0);
	assert_ptr_not_equal(a->regions[0].map, c->regions[0].map);
	assert_int_equal(guest_mem_new(&d), 0);
	guest_mem_set_domain(d, 42);
	assert_int_equal(add(&d, 0, 2 * PAGE, 0x1000, 0, fd), 0);
	assert_ptr_equal(d->regions[0].map, c->regions[0].map);
	guest_mem_unref(d);
	assert_int_equal(guest_mem_new(&d), 0);
	guest_mem_set_domain(d, GUEST_MAP_PRIVATE);
	assert_int_equal(add(&d, 0, PAGE, 0x1000, 0, fd), 0);
	assert_int_equal(add(&d, 0x8000, PAGE, 0x8000, 0, fd), 0);
	assert_ptr_not_equal(d->regions[0].map, d->regions[1].map);

	guest_mem_unref(a);
	guest_mem_unref(b);
	guest_mem_unref(c);
	guest_mem_unref(d);
	close(fd);
	close(other);
}

/* An offset that is not at a page. */
static void test_unaligned_offset(void **state)
{
	int fd = memfd(2 * PAGE);
	struct guest_mem *mem = NULL;

	(void)state;
	assert_int_equal(pwrite(fd, "x", 1, 100), 1);
	assert_int_equal(add(&mem, 0x100, PAGE, 0x100, 100, fd), 0);
	assert_int_equal(*(char *)guest_mem_gpa_exact(mem, 0x100, 1), 'x');
	guest_mem_unref(mem);
	close(fd);
}

/* Huge pages: offset and length have to be aligned to them for mmap() and munmap(). */
static void test_huge_pages(void **state)
{
	int fd = memfd_create("guest-mem-test", MFD_CLOEXEC | MFD_HUGETLB);
	struct guest_mem *mem = NULL;
	int r;

	(void)state;
	if (fd < 0 || ftruncate(fd, 4 << 20) < 0) {
		if (fd >= 0)
			close(fd);
		skip();
	}
	r = add(&mem, 0x200000, (2 << 20) - 4096, 0x200000, (2 << 20) + 4096, fd);
	if (r == -ENOMEM) {
		close(fd);
		skip();
	}
	assert_int_equal(r, 0);
	guest_mem_unref(mem);
	close(fd);
}

static void test_shrunk(void **state)
{
	int fd = memfd(3 * PAGE);
	struct guest_mem *mem = NULL, *again = NULL;
	volatile uint8_t *p;

	(void)state;
	assert_int_equal(guest_mem_install_sigbus(), 0);
	assert_int_equal(guest_mem_install_sigbus(), 0);
	assert_int_equal(add(&mem, 0, 3 * PAGE, 0, 0, fd), 0);
	p = guest_mem_gpa_exact(mem, 0, 3 * PAGE);
	p[0] = p[2 * PAGE] = 7;
	assert_false(guest_mem_bad(mem));
	assert_int_equal(ftruncate(fd, PAGE), 0);
	assert_int_equal(p[0], 7);
	assert_false(guest_mem_bad(mem));
	assert_int_equal(p[2 * PAGE], 0);
	assert_true(guest_mem_bad(mem));
	p[2 * PAGE] = 1; /* writes go nowhere */
	assert_int_equal(p[0], 0);

	/* A bad mapping is not given to the next one who maps the same. */
	assert_int_equal(ftruncate(fd, 3 * PAGE), 0);
	assert_int_equal(add(&again, 0, 3 * PAGE, 0, 0, fd), 0);
	assert_false(guest_mem_bad(again));
	assert_int_equal(*(uint8_t *)guest_mem_gpa_exact(again, 0, 1), 7);
	guest_mem_unref(mem);
	guest_mem_unref(again);
	close(fd);
}

static int child_status(void (*f)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		dup2(null, 2); /* a sanitizer's report */
		f();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void other_sigbus(void)
{
	int fd = memfd(PAGE);
	volatile uint8_t *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);

	guest_mem_install_sigbus();
	if (ftruncate(fd, 0) == 0)
		(void)p[0];
}

static void sent_sigbus(void)
{
	guest_mem_install_sigbus();
	raise(SIGBUS);
}

/* A SIGBUS that is not about guest memory ends the process as ever. */
static void test_other_sigbus(void **state)
{
	(void)state;
	assert_int_not_equal(child_status(other_sigbus), 0);
	assert_int_not_equal(child_status(sent_sigbus), 0);
}

static void test_dirty_log(void **state)
{
	int fd = memfd(2 * PAGE);
	struct dirty_log *log;
	uint8_t *bits = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	(void)state;
	assert_int_equal(dirty_log_new(fd, PAGE, 2 * PAGE, &log), -EINVAL);
	assert_int_equal(dirty_log_new(fd, 0, UINT64_MAX, &log), -EINVAL);
	assert_int_equal(dirty_log_new(fd, 0, 0, &log), -EINVAL);
	assert_int_equal(dirty_log_new(fd, PAGE, 4, &log), 0); /* 32 pages */
	dirty_log_mark(log, 0, 0);
	assert_int_equal(bits[PAGE], 0);
	dirty_log_mark(log, 0x1fff, 1);
	assert_int_equal(bits[PAGE], 2);
	dirty_log_mark(log, 0x1fff, 2);
	assert_int_equal(bits[PAGE], 6);
	dirty_log_mark(log, 0x7000, 0xa000); /* 7 to 16, over two byte borders */
	assert_int_equal(bits[PAGE], 0x86);
	assert_int_equal(bits[PAGE + 1], 0xff);
	assert_int_equal(bits[PAGE + 2], 1);
	dirty_log_mark(log, 31 * PAGE, UINT64_MAX);
	assert_int_equal(bits[PAGE + 3], 0x80);
	dirty_log_mark(log, 32 * PAGE, PAGE);
	dirty_log_mark(log, VHOST_QUEUE_NOT_LOGGED + 100, 8);
	dirty_log_mark(log, UINT64_MAX, UINT64_MAX);
	for (unsigned int i = 0; i < PAGE; i++) {
		assert_int_equal(bits[i], 0);
		if (i > 3)
			assert_int_equal(bits[PAGE + i], 0);
	}
	dirty_log_unref(dirty_log_ref(log));
	dirty_log_unref(log);
	dirty_log_unref(NULL);
	munmap(bits, 2 * PAGE);
	close(fd);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_translate), T(test_file_systems), T(test_refused),          T(test_limit),
		T(test_read_only), T(test_cache),        T(test_unaligned_offset), T(test_huge_pages),
		T(test_shrunk),    T(test_other_sigbus), T(test_dirty_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
