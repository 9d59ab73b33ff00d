/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A directory for one test, and a file system that runs full on demand: a tmpfs of its own where the test may
 * mount one (root), else a limit on file sizes. */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct scratch {
	char path[64];
	bool mounted;
	char filler[96];
};

static inline void scratch_make(struct scratch *s)
{
	static bool private_mounts;

	*s = (struct scratch){0};
	snprintf(s->path, sizeof(s->path), "/tmp/vpf-test-XXXXXX");
	assert(mkdtemp(s->path));
	if (!private_mounts)
		private_mounts = !unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	if (private_mounts)
		s->mounted = !mount("tmpfs", s->path, "tmpfs", 0, "size=4m,mode=0755");
	snprintf(s->filler, sizeof(s->filler), "%s/filler", s->path);
}

static inline void scratch_remove(struct scratch *s)
{
	char command[128];

	if (s->mounted)
		assert(!umount2(s->path, MNT_DETACH));
	snprintf(command, sizeof(command), "rm -rf '%s'", s->path);
	assert(!system(command));
}

static inline const char *scratch_path(const struct scratch *s, const char *name, char ret[256])
{
	snprintf(ret, 256, "%s/%s", s->path, name);
	return ret;
}

/* From now on no file can grow; returns the errno that a write will meet. */
static inline int scratch_fill(const struct scratch *s)
{
	static const char zeros[4096];
	int fd;

	if (!s->mounted) {
		struct rlimit limit;

		signal(SIGXFSZ, SIG_IGN);
		assert(!getrlimit(RLIMIT_FSIZE, &limit));
		limit.rlim_cur = 0;
		assert(!setrlimit(RLIMIT_FSIZE, &limit));
		return EFBIG;
	}
	fd = open(s->filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert(fd >= 0);
	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	close(fd);
	return ENOSPC;
}

static inline void scratch_empty(const struct scratch *s)
{
	struct rlimit limit;

	if (s->mounted) {
		assert(!unlink(s->filler));
		return;
	}
	assert(!getrlimit(RLIMIT_FSIZE, &limit));
	limit.rlim_cur = limit.rlim_max;
	assert(!setrlimit(RLIMIT_FSIZE, &limit));
}

/* The whole file, to be freed; NULL: there is none. */
static inline char *scratch_read(const char *path, size_t *ret_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *text;

	if (fd < 0)
		return NULL;
	assert(!fstat(fd, &st));
	text = calloc(1, (size_t)st.st_size + 1);
	assert(text && read(fd, text, (size_t)st.st_size) == st.st_size);
	close(fd);
	if (ret_size)
		*ret_size = (size_t)st.st_size;
	return text;
}

static inline void scratch_write(const char *path, const char *text, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert(fd >= 0 && write(fd, text, size) == (ssize_t)size);
	close(fd);
}
