/* SPDX-License-Identifier: Apache-2.0 */

#include "scratch_dir.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

void scratch_make(struct scratch *s)
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

void scratch_remove(struct scratch *s)
{
	char command[128];

	if (s->mounted)
		assert(!umount2(s->path, MNT_DETACH));
	snprintf(command, sizeof(command), "rm -rf '%s'", s->path);
	assert(!system(command));
}

const char *scratch_path(const struct scratch *s, const char *name, char ret[256])
{
	snprintf(ret, 256, "%s/%s", s->path, name);
	return ret;
}

int scratch_fill(const struct scratch *s)
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

void scratch_empty(const struct scratch *s)
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

char *scratch_read(const char *path, size_t *ret_size)
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

void scratch_write(const char *path, const char *text, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert(fd >= 0 && write(fd, text, size) == (ssize_t)size);
	close(fd);
}
