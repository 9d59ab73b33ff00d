/* SPDX-License-Identifier: Apache-2.0 */

/* Requests to the front-end (vhost-user "Back-end communication"). Nothing here waits: a request is sent if
 * the socket takes it, with NEED_REPLY if acknowledgements were negotiated, and a failure is reported when
 * the reply arrives. A channel that misbehaves is closed; the connection continues without it. */

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "util/log.h"
#include "vhost/vhost_user_priv.h"

#define MAX_PENDING (2 * VHOST_USER_MAX_QUEUES)

void vu_backend_close(struct vu_conn *conn)
{
	struct vu_backend *b = &conn->backend;

	b->source = sd_event_source_disable_unref(b->source);
	close_fd(&b->fd);
	b->pending = 0;
	b->got = 0;
}

static void give_up(struct vu_conn *conn, const char *why)
{
	vu_event(conn->vu, LOG_LVL_WARNING, "closed the channel for requests to the front-end: %s", why);
	vu_backend_close(conn);
}

static int on_reply(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct vu_conn *conn = userdata;
	struct vu_backend *b = &conn->backend;
	struct vu_header hdr;
	uint64_t result;
	ssize_t n;

	(void)source;
	(void)revents;
	/* Plain recv(): descriptors sent along are dropped by the kernel. */
	n = recv(fd, b->in + b->got, sizeof(b->in) - b->got, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n == 0) { /* QEMU closes it before the connection: no warning at the end of every VM */
		vu_event(conn->vu, LOG_LVL_DEBUG, "the front-end closed its channel for requests");
		vu_backend_close(conn);
		return 0;
	}
	if (n < 0) {
		give_up(conn, strerror(errno));
		return 0;
	}
	b->got += (size_t)n;
	if (b->got < sizeof(b->in))
		return 0;
	b->got = 0;
	memcpy(&hdr, b->in, sizeof(hdr));
	memcpy(&result, b->in + VU_HEADER_SIZE, sizeof(result));
	if (!b->pending || hdr.request != VU_BACKEND_VRING_HOST_NOTIFIER ||
	    (hdr.flags & (VU_VERSION_MASK | VU_FLAG_REPLY)) != (VU_VERSION | VU_FLAG_REPLY) ||
	    hdr.size != sizeof(result)) {
		give_up(conn, "unexpected reply");
		return 0;
	}
	b->pending--;
	if (result)
		vu_event(conn->vu, LOG_LVL_NOTICE,
			 "the front-end declined a doorbell page; kicks go through the front-end");
	return 0;
}

int vu_backend_open(struct vu_conn *conn, int fd)
{
	sd_event_source *source = NULL;
	socklen_t len = sizeof(int);
	int type, r;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return -errno;
	if (type != SOCK_STREAM)
		return -EPROTOTYPE;
	if (conn->vu->event) {
		r = sd_event_add_io(conn->vu->event, &source, fd, EPOLLIN, on_reply, conn);
		if (r < 0)
			return r;
	}
	vu_backend_close(conn);
	conn->backend.fd = fd;
	conn->backend.source = source;
	return 0;
}

static int send_request(struct vu_conn *conn, uint32_t request, const void *payload, uint32_t size, int fd)
{
	bool ack = conn->protocol_features & VU_BIT(VU_PF_REPLY_ACK);
	struct vu_header hdr = {
		.request = request, .flags = VU_VERSION | (ack ? VU_FLAG_NEED_REPLY : 0), .size = size};
	ssize_t n;

	if (conn->backend.pending >= MAX_PENDING)
		return -EBUSY;
	n = vu_send(conn->backend.fd, &hdr, payload, size, fd);
	if (n < 0) {
		int r = (int)n;

		if (r != -EAGAIN && r != -EBADF)
			give_up(conn, strerror(-r));
		return r;
	}
	if (n != (ssize_t)(VU_HEADER_SIZE + size)) {
		give_up(conn, "it accepted only part of a message"); /* the stream is out of sync */
		return -EPIPE;
	}
	conn->backend.pending += ack;
	return 0;
}

int vhost_user_set_host_notifier(struct vhost_user *vu, unsigned int index, int fd, uint64_t offset,
				 uint64_t size)
{
	const uint64_t needs =
		VU_BIT(VU_PF_BACKEND_REQ) | VU_BIT(VU_PF_BACKEND_SEND_FD) | VU_BIT(VU_PF_HOST_NOTIFIER);
	struct vu_conn *conn = vu->conn;
	struct vu_ring_area area = {.ring = index, .size = size, .offset = offset};

	if (!conn || conn->closing)
		return -ENOTCONN;
	if (index >= conn->n_queues)
		return -EINVAL;
	if ((conn->protocol_features & needs) != needs)
		return -EOPNOTSUPP;
	if (conn->backend.fd < 0)
		return -ENOTCONN;
	if (fd < 0)
		area.ring |= VU_RING_NOFD;
	else if (!size || size % (uint64_t)sysconf(_SC_PAGESIZE) || offset % (uint64_t)sysconf(_SC_PAGESIZE))
		return -EINVAL;
	return send_request(conn, VU_BACKEND_VRING_HOST_NOTIFIER, &area, sizeof(area), fd);
}
