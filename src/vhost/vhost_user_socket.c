/* SPDX-License-Identifier: Apache-2.0 */

/* The socket file. No client can connect between bind() and listen(): connect() is refused as by a stale
 * socket. So mode and group are set in between, and at no moment are they wrong. */

#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "vhost/vhost_user_priv.h"

#define BACKLOG 8

/* 0 if `path` is free (now), -EADDRINUSE if a process listens there. */
static int remove_stale(const struct sockaddr_un *addr, struct err *err)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0
				       : err_set(err, errno, "path", "cannot look at %s: %s", addr->sun_path,
						 strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, EEXIST, "path", "%s exists and is not a socket", addr->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, errno, "", "cannot create a socket: %s", strerror(errno));
	/* EAGAIN: the backlog is full, so a process does listen. */
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN)
		return err_set(err, EADDRINUSE, "path", "another process listens on %s", addr->sun_path);
	if (errno == ENOENT)
		return 0;
	if (errno != ECONNREFUSED)
		return err_set(err, errno, "path", "cannot tell whether %s is in use: %s", addr->sun_path,
			       strerror(errno));
	if (unlink(addr->sun_path) < 0 && errno != ENOENT)
		return err_set(err, errno, "path", "cannot remove the stale socket %s: %s", addr->sun_path,
			       strerror(errno));
	return 0;
}

int vu_socket_listen(const char *path, unsigned int mode, gid_t group, int *ret_fd, dev_t *ret_dev,
		     ino_t *ret_ino, struct err *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r;

	if (!*path)
		return err_set(err, EINVAL, "path", "the socket path is empty");
	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(err, ENAMETOOLONG, "path",
			       "the socket path has %zu bytes, at most %zu are possible", strlen(path),
			       sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	r = remove_stale(&addr, err);
	if (r < 0)
		return r;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, errno, "", "cannot create a socket: %s", strerror(errno));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_set(err, errno, "path", "cannot create the socket %s: %s", path, strerror(errno));
	if (group != (gid_t)-1 && lchown(path, (uid_t)-1, group) < 0) {
		r = err_set(err, errno, "group", "cannot give %s to group %u: %s", path, (unsigned int)group,
			    strerror(errno));
		goto remove;
	}
	if (chmod(path, mode & 0777) < 0 || stat(path, &st) < 0) {
		r = err_set(err, errno, "mode", "cannot set the mode of %s: %s", path, strerror(errno));
		goto remove;
	}
	if (listen(fd, BACKLOG) < 0) {
		r = err_set(err, errno, "path", "cannot listen on %s: %s", path, strerror(errno));
		goto remove;
	}
	*ret_dev = st.st_dev;
	*ret_ino = st.st_ino;
	*ret_fd = steal_fd(&fd);
	return 0;

remove:
	unlink(path);
	return r;
}

void vu_socket_remove(const char *path, dev_t dev, ino_t ino)
{
	struct stat st;

	if (lstat(path, &st) == 0 && st.st_dev == dev && st.st_ino == ino)
		unlink(path);
}
