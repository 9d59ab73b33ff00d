/* SPDX-License-Identifier: Apache-2.0 */

/* A connection: what exists from accept() until the client is gone, for whatever reason. Every exit is
 * vu_conn_end(), which releases queues, mappings and descriptors in one place. */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "util/log.h"
#include "vhost/vhost_user_priv.h"

/* Messages served before the loop turns to other devices. */
#define MESSAGES_A_TURN 16

static void conn_free(struct vu_conn *conn)
{
	sd_event_source_disable_unref(conn->hold_timer);
	sd_event_source_disable_unref(conn->source);
	vu_backend_close(conn);
	vu_msg_close_fds(&conn->in);
	for (unsigned int i = 0; i < conn->n_queues; i++) {
		close_fd(&conn->queues[i].run.kickfd);
		close_fd(&conn->queues[i].run.callfd);
		close_fd(&conn->queues[i].run.errfd);
	}
	ring_record_close(conn->record);
	guest_map_unref(conn->inflight.map);
	dirty_log_unref(conn->log);
	close_fd(&conn->log_fd);
	guest_mem_unref(conn->mem);
	close_fd(&conn->fd);
	free(conn);
}

static void conn_close(struct vu_conn *conn)
{
	struct vhost_user *vu = conn->vu;
	char why[sizeof(conn->why)];

	conn->busy++; /* the owner may disconnect from within queue_stop: that is happening already */
	vu_queues_stop(conn);
	memcpy(why, conn->why, sizeof(why));
	vu->conn = NULL;
	conn_free(conn);
	/* Last, because the owner may free the device from here. */
	if (vu->ops->disconnected)
		vu->ops->disconnected(vu->ctx, *why ? why : NULL);
}

void vu_conn_end(struct vu_conn *conn, const char *fmt, ...)
{
	va_list ap;

	if (conn->closing)
		return;
	conn->closing = true;
	if (fmt) {
		va_start(ap, fmt);
		vsnprintf(conn->why, sizeof(conn->why), fmt, ap);
		va_end(ap);
	}
	if (!conn->busy)
		conn_close(conn);
}

/* The owner has got everything back, or must do without. */
static void go_on(struct vu_conn *conn)
{
	conn->held = false;
	sd_event_source_set_enabled(conn->hold_timer, SD_EVENT_OFF);
	/* Cannot fail: the descriptor is being watched. */
	sd_event_source_set_io_events(conn->source, EPOLLIN);
	conn->busy++;
	vu_dispatch(conn, &conn->in);
	conn->got = 0;
	conn->busy--;
	if (conn->closing && !conn->busy)
		conn_close(conn);
}

static int on_hold_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct vu_conn *conn = userdata;

	(void)source;
	(void)usec;
	if (!conn->held)
		return 0;
	vu_event(conn->vu, LOG_LVL_WARNING, "queues were not given back in time: taking them");
	go_on(conn);
	return 0;
}

/* Stops reading, but still notices the end of the connection. False: that is not possible. */
static bool hold(struct vu_conn *conn)
{
	int r;

	if (conn->hold_timer)
		r = sd_event_source_set_time_relative(conn->hold_timer, VHOST_USER_HOLD_US);
	else
		r = sd_event_add_time_relative(conn->vu->event, &conn->hold_timer, CLOCK_MONOTONIC,
					       VHOST_USER_HOLD_US, 0, on_hold_timer, conn);
	if (r >= 0)
		r = sd_event_source_set_enabled(conn->hold_timer, SD_EVENT_ONESHOT);
	if (r >= 0)
		r = sd_event_source_set_io_events(conn->source, 0);
	return r >= 0;
}

void vhost_user_resume(struct vhost_user *vu)
{
	struct vu_conn *conn = vu->conn;

	if (!conn || !conn->held)
		return;
	if (conn->busy) /* from within `quiesce`, or while it ends: the code that called it continues */
		conn->held = false;
	else
		go_on(conn);
}

static int on_input(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct vu_conn *conn = userdata;
	struct vhost_user *vu = conn->vu;
	const char *why = NULL;
	int r = 1;

	(void)source;
	(void)fd;
	if (conn->held) {
		if (revents & (EPOLLHUP | EPOLLERR))
			vu_conn_end(conn, NULL);
		return 0;
	}
	conn->busy++;
	/* The front-end may take an answered message for done: what the owner left to the event loop comes
	 * before the next message. */
	conn->answered = false;
	for (unsigned int n = 0;
	     n < MESSAGES_A_TURN && r > 0 && !conn->closing && !conn->held && !conn->answered; n++) {
		r = vu_msg_receive(conn, &why);
		if (r == -ENOTCONN) {
			vu_conn_end(conn, NULL);
		} else if (r == -EPROTO) {
			vu->bad_messages++;
			vu_event(vu, LOG_LVL_ERR, "bad message, connection ended: %s", why);
			vu_conn_end(conn, "%s", why);
		} else if (r < 0) {
			vu_event(vu, LOG_LVL_WARNING, "connection ended: %s", strerror(-r));
			vu_conn_end(conn, "%s", strerror(-r));
		} else if (r > 0) {
			if (!vu_dispatch(conn, &conn->in) && hold(conn))
				break;
			if (conn->held)
				vu_dispatch(conn, &conn->in);
			conn->got = 0;
		}
	}
	conn->busy--;
	if (conn->closing && !conn->busy)
		conn_close(conn);
	return 0;
}

int vu_conn_open(struct vhost_user *vu, int fd, pid_t peer)
{
	unsigned int n = 2 * vu->queue_pairs;
	struct vu_conn *conn = calloc(1, sizeof(*conn) + n * sizeof(conn->queues[0]));
	int r;

	if (!conn) {
		close(fd);
		return -ENOMEM;
	}
	conn->vu = vu;
	conn->fd = fd;
	conn->log_fd = -1;
	conn->backend.fd = -1;
	conn->peer = peer;
	conn->offered = vu->features | VU_FEATURES_OWN;
	conn->n_queues = n;
	for (unsigned int i = 0; i < n; i++) {
		conn->queues[i].run.index = i;
		conn->queues[i].run.kickfd = conn->queues[i].run.callfd = conn->queues[i].run.errfd = -1;
	}
	r = guest_mem_new(&conn->mem);
	if (r < 0)
		goto fail;
	/* From within another PID namespace every peer is 0: then nothing is shared. */
	guest_mem_set_domain(conn->mem, peer > 0 ? (uint64_t)peer : GUEST_MAP_PRIVATE);
	if (vu->event) {
		r = sd_event_add_io(vu->event, &conn->source, fd, EPOLLIN, on_input, conn);
		if (r < 0)
			goto fail;
	}
	vu->conn = conn;
	vu->connections++;
	if (vu->ops->connected)
		vu->ops->connected(vu->ctx, peer);
	return 0;

fail:
	conn_free(conn);
	return r;
}

void vu_conn_reset(struct vu_conn *conn)
{
	vu_queues_stop(conn);
	for (unsigned int i = 0; i < conn->n_queues; i++) {
		struct vu_queue *q = &conn->queues[i];

		/* Call and error descriptors stay: QEMU sets them when the guest sets up interrupts. */
		close_fd(&q->run.kickfd);
		q->has_kick = q->has_addr = q->has_base = q->failed = q->run.enabled = false;
		ring_record_forget(conn->record, i);
		q->size = 0;
	}
	conn->features = 0;
	conn->has_features = false;
	conn->status = 0;
}

bool vhost_user_check_memory(struct vhost_user *vu)
{
	struct vu_conn *conn = vu->conn;

	if (!conn ||
	    (!guest_mem_bad(conn->mem) && !(conn->inflight.map && guest_map_bad(conn->inflight.map))))
		return false;
	vu_event(vu, LOG_LVL_ERR, "connection ended: the front-end truncated the file of its shared memory");
	vu_conn_end(conn, "the front-end truncated its memory");
	return true;
}
