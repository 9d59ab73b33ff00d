/* SPDX-License-Identifier: Apache-2.0 */

/* The device: it listens, accepts one connection at a time, and serves its owner's calls. */

#include "vhost/vhost_user.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "util/eventfd.h"
#include "util/log.h"
#include "vhost/vhost_user_priv.h"

#define ACCEPT_RETRY_USEC 1000000

void vu_event(const struct vhost_user *vu, int level, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (!vu->ops->event)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	vu->ops->event(vu->ctx, level, text);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct vhost_user *vu = userdata;

	(void)source;
	(void)usec;
	sd_event_source_set_enabled(vu->listen_source, SD_EVENT_ON);
	return 0;
}

/* Out of descriptors, accept() fails and the socket stays readable: disable the source for a while instead of
 * spinning. */
static void pause_accepting(struct vhost_user *vu, int error)
{
	if (sd_event_source_set_time_relative(vu->retry_source, ACCEPT_RETRY_USEC) < 0 ||
	    sd_event_source_set_enabled(vu->retry_source, SD_EVENT_ONESHOT) < 0)
		return;
	sd_event_source_set_enabled(vu->listen_source, SD_EVENT_OFF);
	vu_event(vu, LOG_LVL_ERR, "cannot accept a client, will try again in a second: %s", strerror(error));
}

static bool hung_up(int fd)
{
	struct pollfd pfd = {.fd = fd};

	return poll(&pfd, 1, 0) > 0 && pfd.revents & POLLHUP;
}

static int on_listen(sd_event_source *source, int listen_fd, uint32_t revents, void *userdata)
{
	struct vhost_user *vu = userdata;
	struct ucred cred = {0};
	socklen_t len = sizeof(cred);
	int fd, r;

	(void)source;
	(void)revents;
	/* A restarted front-end: its new connection may be seen before the end of the old one. The owner may
	 * free the device at that end, so accept in the next turn. */
	if (vu->conn && hung_up(vu->conn->fd)) {
		vu_conn_end(vu->conn, NULL);
		return 0;
	}
	fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_accepting(vu, errno);
		return 0; /* anything else is the client's fault: it has gone again */
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		cred.pid = 0;
	if (vu->conn) {
		close(fd);
		vu->refused_clients++;
		vu_event(vu, LOG_LVL_WARNING,
			 "second client (process %d) refused, process %d is connected: %s", (int)cred.pid,
			 (int)vu->conn->peer, strerror(EBUSY));
		return 0;
	}
	r = vu_conn_open(vu, fd, cred.pid);
	if (r < 0)
		vu_event(vu, LOG_LVL_ERR, "cannot serve the client (process %d): %s", (int)cred.pid,
			 strerror(-r));
	return 0;
}

int vhost_user_new(sd_event *event, const struct vhost_user_config *config, struct vhost_user **ret,
		   struct err *err)
{
	struct vhost_user *vu;
	int r;

	if (!config->path || !config->ops || !config->ops->queue_start || !config->ops->queue_stop)
		return err_set(err, EINVAL, "",
			       "a vhost-user device needs a path, queue_start and queue_stop");
	if (config->queue_pairs < 1 || config->queue_pairs > VHOST_USER_MAX_QUEUE_PAIRS)
		return err_set(err, EINVAL, "queue_pairs", "%u queue pairs; 1 to %d are possible",
			       config->queue_pairs, VHOST_USER_MAX_QUEUE_PAIRS);
	if (config->features & VU_FEATURES_OWN)
		return err_set(err, EINVAL, "features", "the features include bits of vhost-user itself");

	vu = calloc(1, sizeof(*vu));
	if (!vu)
		return err_set(err, ENOMEM, "", "out of memory");
	vu->listen_fd = -1;
	vu->event = sd_event_ref(event);
	vu->features = config->features;
	vu->queue_pairs = config->queue_pairs;
	vu->ops = config->ops;
	vu->ctx = config->ctx;

	r = vu_socket_listen(config->path, config->mode, config->group, &vu->listen_fd, &vu->dev, &vu->ino,
			     err);
	if (r < 0)
		goto fail;
	/* Set once the file is ours, so that a failure above does not remove another process's. */
	vu->path = strdup(config->path);
	if (!vu->path) {
		vu_socket_remove(config->path, vu->dev, vu->ino);
		r = err_set(err, ENOMEM, "", "out of memory");
		goto fail;
	}
	r = sd_event_add_io(event, &vu->listen_source, vu->listen_fd, EPOLLIN, on_listen, vu);
	/* Created now, disabled: a timer needs a descriptor, and it serves when there are none. */
	if (r >= 0)
		r = sd_event_add_time_relative(event, &vu->retry_source, CLOCK_MONOTONIC, 0, 0, on_retry, vu);
	if (r >= 0)
		r = sd_event_source_set_enabled(vu->retry_source, SD_EVENT_OFF);
	if (r < 0) {
		err_set(err, -r, "", "cannot watch the socket: %s", strerror(-r));
		goto fail;
	}
	*ret = vu;
	return 0;

fail:
	vhost_user_free(vu);
	return r;
}

void vhost_user_free(struct vhost_user *vu)
{
	if (!vu)
		return;
	if (vu->conn)
		vu_conn_end(vu->conn, NULL);
	sd_event_source_disable_unref(vu->retry_source);
	sd_event_source_disable_unref(vu->listen_source);
	if (vu->path)
		vu_socket_remove(vu->path, vu->dev, vu->ino);
	close_fd(&vu->listen_fd);
	sd_event_unref(vu->event);
	free(vu->path);
	free(vu);
}

void vhost_user_get_info(const struct vhost_user *vu, struct vhost_user_info *ret)
{
	const struct vu_conn *conn = vu->conn;

	*ret = (struct vhost_user_info){
		.messages = vu->messages,
		.bad_messages = vu->bad_messages,
		.refused_clients = vu->refused_clients,
		.connections = vu->connections,
	};
	if (!conn)
		return;
	ret->connected = true;
	ret->peer = conn->peer;
	ret->offered = conn->offered & ~VU_FEATURES_OWN;
	ret->features = conn->features & ~VU_FEATURES_OWN;
	ret->protocol_features = conn->protocol_features;
	ret->logging = conn->log && conn->features & VU_BIT(VU_F_LOG_ALL);
	ret->mem_regions = conn->mem->n;
	for (unsigned int i = 0; i < conn->mem->n; i++)
		ret->mem_bytes += conn->mem->regions[i].size;
	for (unsigned int i = 0; i < conn->n_queues; i++) {
		ret->queues_started += conn->queues[i].started;
		ret->queues_enabled += conn->queues[i].started && conn->queues[i].run.enabled;
	}
}

void vhost_user_disconnect(struct vhost_user *vu, const char *why)
{
	if (vu->conn)
		vu_conn_end(vu->conn, "%s", why);
}

void vhost_user_queue_failed(struct vhost_user *vu, unsigned int index, const char *why)
{
	struct vu_queue *q = vu->conn && index < vu->conn->n_queues ? &vu->conn->queues[index] : NULL;

	if (!q || !q->started)
		return;
	vu_queue_stop(vu->conn, q);
	q->failed = true;
	/* Best effort: QEMU only counts these. */
	if (q->run.errfd >= 0)
		(void)signal_eventfd(q->run.errfd);
	vu_event(vu, LOG_LVL_WARNING, "queue %u stopped until the guest sets it up again: %s", index, why);
}

void vhost_user_set_features(struct vhost_user *vu, uint64_t features)
{
	vu->features = features & ~VU_FEATURES_OWN;
}
