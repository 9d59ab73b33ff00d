/* SPDX-License-Identifier: Apache-2.0 */

#include "vhost/vhost_user_reach.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "vhost/vhost_user_priv.h"

#define RETRY_US    50000 /* a missing socket is tried again after this time */
#define ACCURACY_US 5000

struct vu_reach {
	sd_event *event; /* borrowed: the owner's */
	struct sockaddr_un addr;
	bool server, wanted;
	int error; /* negative errno of the last try */
	int listen_fd;
	dev_t dev;
	ino_t ino;
	sd_event_source *listen_source;
	sd_event_source *timer; /* the next try */
	vu_reached_fn reached;
	void *ctx;
};

static void try_later(struct vu_reach *c, uint64_t us)
{
	uint64_t now = 0;

	sd_event_now(c->event, CLOCK_MONOTONIC, &now);
	sd_event_source_set_time(c->timer, now + us);
	sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT);
}

/* A descriptor, or a negative errno. Connecting to a local socket is immediate, or EAGAIN: its backlog is
 * full. */
static int connect_once(const struct vu_reach *c)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&c->addr, sizeof(c->addr)) < 0)
		return -errno;
	return steal_fd(&fd);
}

static void hand_over(struct vu_reach *c, int fd)
{
	c->wanted = false;
	c->reached(c->ctx, fd); /* may free c */
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct vu_reach *c = userdata;
	int fd;

	(void)source;
	(void)usec;
	if (c->server) { /* accepting failed a moment ago */
		sd_event_source_set_enabled(c->listen_source, SD_EVENT_ON);
		return 0;
	}
	fd = connect_once(c);
	if (fd >= 0) {
		hand_over(c, fd);
		return 0;
	}
	c->error = fd;
	try_later(c, RETRY_US);
	return 0;
}

static int on_client(sd_event_source *source, int listen_fd, uint32_t revents, void *userdata)
{
	struct vu_reach *c = userdata;
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)revents;
	if (fd < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return 0;
		/* Out of descriptors: the client stays in the backlog, and the loop must not spin. */
		c->error = -errno;
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
		try_later(c, RETRY_US);
		return 0;
	}
	if (c->wanted)
		hand_over(c, fd);
	else
		close(fd);
	return 0;
}

int vu_reach_new(sd_event *event, const char *path, bool server, vu_reached_fn reached, void *ctx,
		 struct vu_reach **ret, struct err *err)
{
	struct vu_reach *c;
	int r;

	if (strlen(path) >= sizeof(c->addr.sun_path))
		return err_set(err, ENAMETOOLONG, "path",
			       "the socket path has %zu bytes, at most %zu are possible", strlen(path),
			       sizeof(c->addr.sun_path) - 1);
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(err, ENOMEM, "", "not enough memory");
	c->event = event;
	c->addr.sun_family = AF_UNIX;
	memcpy(c->addr.sun_path, path, strlen(path) + 1);
	c->server = server;
	c->wanted = true;
	c->listen_fd = -1;
	c->reached = reached;
	c->ctx = ctx;
	r = sd_event_add_time(event, &c->timer, CLOCK_MONOTONIC, 0, ACCURACY_US, on_timer, c);
	if (r >= 0 && server)
		r = sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
	if (r < 0)
		goto fail;
	if (server) {
		r = vu_socket_listen(path, 0660, (gid_t)-1, &c->listen_fd, &c->dev, &c->ino, err);
		if (r < 0) {
			vu_reach_free(c);
			return r;
		}
		r = sd_event_add_io(event, &c->listen_source, c->listen_fd, EPOLLIN, on_client, c);
		if (r < 0)
			goto fail;
	}
	*ret = c;
	return 0;

fail:
	vu_reach_free(c);
	return err_set(err, -r, "", "cannot watch a socket: %s", strerror(-r));
}

void vu_reach_free(struct vu_reach *c)
{
	if (!c)
		return;
	sd_event_source_disable_unref(c->listen_source);
	sd_event_source_disable_unref(c->timer);
	if (c->listen_fd >= 0)
		vu_socket_remove(c->addr.sun_path, c->dev, c->ino);
	close_fd(&c->listen_fd);
	free(c);
}

void vu_reach_again(struct vu_reach *c)
{
	c->wanted = true;
	if (!c->server)
		try_later(c, RETRY_US);
}

int vu_reach_why(const struct vu_reach *c, char *buf, size_t size)
{
	if (c->server && !c->error) {
		snprintf(buf, size, "no back-end connected to %s", c->addr.sun_path);
		return -ETIMEDOUT;
	}
	snprintf(buf, size, "cannot %s %s: %s", c->server ? "take a connection on" : "connect to",
		 c->addr.sun_path, strerror(c->error ? -c->error : ETIMEDOUT));
	return c->error ? c->error : -ETIMEDOUT;
}
