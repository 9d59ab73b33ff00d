/* SPDX-License-Identifier: Apache-2.0 */

#include "switch/counter_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "switch/worker.h"

#define MAGIC   0x73746e756f435056ULL /* "VPCounts" */
#define VERSION 1

struct header {
	uint64_t magic;
	uint32_t version;
	uint32_t stats_size; /* bytes of a port_stats: a file with other counters is not ours */
	uint32_t functions, workers;
	uint64_t reserved[5];
};
_Static_assert(sizeof(struct header) == 64, "counters begin at a cache line");

struct counter_file {
	unsigned int functions, workers;
	size_t size;
	struct header *header; /* the mapping */
};

static size_t file_size(unsigned int functions, unsigned int workers)
{
	return sizeof(struct header) + (size_t)functions * (workers + 1) * sizeof(struct port_stats);
}

static struct port_stats *row(struct header *h, unsigned int workers, unsigned int fn)
{
	return (struct port_stats *)(h + 1) + (size_t)fn * (workers + 1);
}

static void add(struct port_stats *to, const struct port_stats *part)
{
	const uint64_t *from = (const uint64_t *)part;
	uint64_t *sum = (uint64_t *)to;

	for (size_t i = 0; i < sizeof(*to) / sizeof(uint64_t); i++)
		sum[i] += from[i];
}

static int read_all(int fd, void *to, size_t n)
{
	for (size_t have = 0; have < n;) {
		ssize_t got = read(fd, (uint8_t *)to + have, n - have);

		if (got <= 0)
			return got < 0 ? -errno : -ENODATA;
		have += (size_t)got;
	}
	return 0;
}

/* Adds the counters in the existing file to base[functions]. Returns why not; NULL: done, or there is no
 * file. */
static const char *read_old(const char *path, unsigned int functions, struct port_stats *base)
{
	/* O_NONBLOCK: whatever is there, opening it must not block. */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	_cleanup_free_ struct header *h = NULL;
	struct header head;
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? NULL : "it cannot be opened";
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return "it is not a file that vpfd made";
	if (st.st_size < (off_t)sizeof(head) || read_all(fd, &head, sizeof(head)) < 0 || head.magic != MAGIC)
		return "it does not hold counters";
	if (head.version != VERSION || head.stats_size != sizeof(struct port_stats))
		return "its format is that of another version of vpfd";
	if (head.functions != functions || !head.workers || head.workers > WORKER_MAX ||
	    st.st_size != (off_t)file_size(functions, head.workers))
		return "its size does not match its virtual PF";
	h = calloc(1, (size_t)st.st_size);
	if (!h || read_all(fd, h + 1, (size_t)st.st_size - sizeof(*h)) < 0)
		return "it cannot be read";
	for (unsigned int fn = 0; fn < functions; fn++)
		for (unsigned int i = 0; i <= head.workers; i++)
			add(&base[fn], row(h, head.workers, fn) + i);
	return NULL;
}

/* A new file in place of whatever was at `path`, mapped. */
static int make_new(const char *path, struct counter_file *f, const struct port_stats *base)
{
	_cleanup_close_ int fd = -1;
	char tmp[256];
	int r = snprintf(tmp, sizeof(tmp), "%s.new", path);

	if (r < 0 || (size_t)r >= sizeof(tmp))
		return -ENAMETOOLONG;
	if (unlink(tmp) < 0 && errno != ENOENT)
		return -errno;
	fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = -posix_fallocate(fd, 0, (off_t)f->size);
	if (r < 0)
		goto fail;
	f->header = mmap(NULL, f->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (f->header == MAP_FAILED) {
		r = -errno;
		goto fail;
	}
	*f->header = (struct header){.magic = MAGIC,
				     .version = VERSION,
				     .stats_size = sizeof(struct port_stats),
				     .functions = f->functions,
				     .workers = f->workers};
	for (unsigned int fn = 0; fn < f->functions; fn++)
		*row(f->header, f->workers, fn) = base[fn];
	if (rename(tmp, path) < 0) {
		r = -errno;
		munmap(f->header, f->size);
		goto fail;
	}
	return 0;
fail:
	unlink(tmp);
	return r;
}

int counter_file_open(const char *path, unsigned int functions, unsigned int workers,
		      struct counter_file **ret, const char **ret_lost)
{
	_cleanup_free_ struct counter_file *f = calloc(1, sizeof(*f));
	_cleanup_free_ struct port_stats *base = calloc(functions, sizeof(*base));
	const char *lost;
	int r;

	if (!f || !base)
		return -ENOMEM;
	f->functions = functions;
	f->workers = workers;
	f->size = file_size(functions, workers);
	lost = read_old(path, functions, base);
	r = make_new(path, f, base);
	if (r < 0)
		return r;
	*ret = steal_ptr(&f);
	*ret_lost = lost;
	return 0;
}

void counter_file_close(struct counter_file *f)
{
	if (!f)
		return;
	munmap(f->header, f->size);
	free(f);
}

void counter_file_remove(const char *path)
{
	unlink(path);
}

const struct port_stats *counter_file_base(const struct counter_file *f, unsigned int fn)
{
	return row(f->header, f->workers, fn);
}

struct port_stats *counter_file_stats(struct counter_file *f, unsigned int fn)
{
	return row(f->header, f->workers, fn) + 1;
}
