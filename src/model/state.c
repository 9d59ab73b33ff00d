/* SPDX-License-Identifier: Apache-2.0 */

#include "model/state.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "util/log.h"

#define STATE_SIZE_MAX (64 << 20) /* 16384 functions with every setting changed need a tenth of it */
#define STATE_NAME     "state.json"
#define STATE_TMP      "state.json.tmp"
#define STATE_OLD      "state.json.old"

struct state_store {
	char *path;
	int dirfd;
	int lockfd;
};

static int lock_dir(const char *dir, int dirfd, int *ret, struct err *err)
{
	_cleanup_close_ int fd = openat(dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_set(err, errno, NULL, "cannot open %s/lock: %s", dir, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return err_set(
				err, EBUSY, NULL,
				"the state directory %s is in use by another vpfd: stop it, or give this one its own --state-dir and --run-dir",
				dir);
		return err_set(err, errno, NULL, "cannot lock %s/lock: %s", dir, strerror(errno));
	}
	*ret = steal_fd(&fd);
	return 0;
}

int state_store_open(const char *dir, struct state_store **ret, struct err *err)
{
	_cleanup_close_ int dirfd = -1;
	struct state_store *store;
	int r;

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_set(err, errno, NULL, "cannot create the state directory %s: %s", dir,
			       errno == ENOENT ? "the directory above it must exist" : strerror(errno));
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return err_set(err, errno, NULL, "cannot open the state directory %s: %s", dir,
			       strerror(errno));

	store = malloc(sizeof(*store));
	if (!store)
		return err_set(err, ENOMEM, NULL, "out of memory");
	*store = (struct state_store){.dirfd = -1, .lockfd = -1};
	if (asprintf(&store->path, "%s/%s", dir, STATE_NAME) < 0) {
		store->path = NULL;
		r = err_set(err, ENOMEM, NULL, "out of memory");
		goto fail;
	}
	r = lock_dir(dir, dirfd, &store->lockfd, err);
	if (r < 0)
		goto fail;
	store->dirfd = steal_fd(&dirfd);
	*ret = store;
	return 0;
fail:
	state_store_free(store);
	return r;
}

void state_store_free(struct state_store *store)
{
	if (!store)
		return;
	close_fd(&store->dirfd);
	close_fd(&store->lockfd);
	free(store->path);
	free(store);
}

const char *state_store_path(const struct state_store *store)
{
	return store->path;
}

/* The whole file; a bounded read, since the size may change under us. */
static int read_file(int fd, const char *path, char **ret, size_t *ret_size, struct err *err)
{
	_cleanup_free_ char *buf = NULL;
	size_t size, n = 0;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(err, errno, NULL, "cannot read %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_size > STATE_SIZE_MAX)
		return err_set(err, EBADMSG, NULL, "%s is no state file of vpfd: move it away", path);
	size = (size_t)st.st_size;
	buf = malloc(size + 1);
	if (!buf)
		return err_set(err, ENOMEM, NULL, "out of memory");
	while (n < size) {
		ssize_t got = read(fd, buf + n, size - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_set(err, errno, NULL, "cannot read %s: %s", path, strerror(errno));
		if (!got)
			break;
		n += (size_t)got;
	}
	*ret = steal_ptr(&buf);
	*ret_size = n;
	return 0;
}

int state_store_load(struct state_store *store, json_t **ret, struct err *err)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL;
	const json_t *format, *version;
	json_error_t where;
	json_t *root;
	size_t size = 0;
	int r;

	fd = openat(store->dirfd, STATE_NAME, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		*ret = NULL;
		return 0;
	}
	if (fd < 0)
		return err_set(err, errno, NULL, "cannot open %s: %s", store->path, strerror(errno));
	/* There are keys in it, and it may have been edited or restored from a copy. */
	if (fchmod(fd, 0600) < 0)
		return err_set(err, errno, NULL, "cannot set the mode of %s: %s", store->path,
			       strerror(errno));
	r = read_file(fd, store->path, &text, &size, err);
	if (r < 0)
		return r;

	root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
	if (!root)
		return err_set(
			err, EBADMSG, NULL,
			"%s is damaged or cut short (line %d: %s): restore it from a backup, or move it away to begin without virtual PFs",
			store->path, where.line, where.text);

	format = json_object_get(root, "format");
	version = json_object_get(root, "version");
	if (!json_is_string(format) || strcmp(json_string_value(format), STATE_FORMAT) ||
	    !json_is_integer(version) || json_integer_value(version) < 1) {
		r = err_set(err, EBADMSG, NULL, "%s is no state file of vpfd: move it away", store->path);
	} else if (json_integer_value(version) > STATE_VERSION) {
		r = err_set(
			err, EPROTONOSUPPORT, NULL,
			"%s has version %lld, from a newer vpfd, and this one reads version %d: start the newer one, or move the file away to begin without virtual PFs",
			store->path, (long long)json_integer_value(version), STATE_VERSION);
	} else {
		*ret = root;
		return 0;
	}
	json_decref(root);
	return r;
}

static int write_all(int fd, const char *p, size_t size)
{
	while (size) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

/* The new contents in the temporary file, on disk. */
static int write_tmp(struct state_store *store, const char *text, size_t size)
{
	_cleanup_close_ int fd =
		openat(store->dirfd, STATE_TMP, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r;

	if (fd < 0 || fchmod(fd, 0600) < 0)
		return -errno;
	r = write_all(fd, text, size);
	if (r < 0)
		return r;
	return fsync(fd) < 0 ? -errno : 0;
}

/* Puts the temporary file in the old one's place. The old one is kept until the directory is on disk, too, and put back
 * if that fails: what a restart finds is what was answered. */
static int replace(struct state_store *store)
{
	bool had = true;
	int r;

	unlinkat(store->dirfd, STATE_OLD, 0);
	if (linkat(store->dirfd, STATE_NAME, store->dirfd, STATE_OLD, 0) < 0) {
		if (errno != ENOENT)
			return -errno;
		had = false;
	}
	if (renameat(store->dirfd, STATE_TMP, store->dirfd, STATE_NAME) < 0) {
		r = -errno;
		unlinkat(store->dirfd, STATE_OLD, 0);
		return r;
	}
	if (fsync(store->dirfd) == 0) {
		unlinkat(store->dirfd, STATE_OLD, 0);
		return 0;
	}
	r = -errno;
	if ((had ? renameat(store->dirfd, STATE_OLD, store->dirfd, STATE_NAME)
		 : unlinkat(store->dirfd, STATE_NAME, 0)) < 0)
		log_error(
			"cannot put the old %s back: %s; after a restart a change is in force that was refused",
			store->path, strerror(errno));
	return r;
}

int state_store_save(struct state_store *store, const char *text, size_t size, struct err *err)
{
	int r = write_tmp(store, text, size);

	if (!r)
		r = replace(store);
	if (r < 0) {
		unlinkat(store->dirfd, STATE_TMP, 0);
		return err_set(
			err, -r, NULL,
			"state not saved, nothing was changed: cannot write %s: %s; make room and repeat the request",
			store->path, strerror(-r));
	}
	return 0;
}
