/* SPDX-License-Identifier: Apache-2.0 */

/* Framing, of requests and of replies. A stream has no message boundaries, and descriptors arrive with the
 * bytes that they were sent with: since no read goes beyond the end of the current message, they belong to it
 * for certain. A message may come in any number of pieces; what has arrived is kept, and the loop
 * continues. */

#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "vhost/vhost_user_priv.h"

void vu_msg_close_fds(struct vu_msg *msg)
{
	for (unsigned int i = 0; i < msg->nfds; i++)
		close_fd(&msg->fds[i]);
	msg->nfds = 0;
	msg->reply_fd = false;
}

/* Takes all descriptors out of the control data: they go into the message, or are closed. False if there are
 * too many. */
static bool take_fds(struct vu_msg *msg, struct msghdr *mh)
{
	bool fit = !(mh->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (msg->nfds < VU_MAX_FDS) {
				msg->fds[msg->nfds++] = fd;
			} else {
				close(fd);
				fit = false;
			}
		}
	}
	return fit;
}

static ssize_t receive_part(int sock, struct vu_msg *msg, size_t *got, void *p, size_t len, const char **why)
{
	/* The kernel closes what does not fit, and reports it by MSG_CTRUNC. */
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(VU_MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = p, .iov_len = len};
	struct msghdr mh = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t n;

	do {
		n = recvmsg(sock, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : errno == ECONNRESET ? -ENOTCONN : -errno;
	if (!take_fds(msg, &mh)) {
		*why = "more descriptors than a message may carry";
		return -EPROTO;
	}
	if (n == 0) {
		if (*got == 0)
			return -ENOTCONN;
		*why = "the connection was closed in the middle of a message";
		return -EPROTO;
	}
	*got += (size_t)n;
	return n;
}

int vu_frame_receive(int sock, bool replies, struct vu_msg *msg, size_t *got, const char **why)
{
	ssize_t n;

	while (*got < VU_HEADER_SIZE) {
		n = receive_part(sock, msg, got, (uint8_t *)&msg->hdr + *got, VU_HEADER_SIZE - *got, why);
		if (n <= 0)
			return (int)n;
	}
	if ((msg->hdr.flags & VU_VERSION_MASK) != VU_VERSION) {
		*why = "unknown protocol version";
		return -EPROTO;
	}
	if (replies != !!(msg->hdr.flags & VU_FLAG_REPLY)) {
		*why = replies ? "a request instead of a reply" : "a reply instead of a request";
		return -EPROTO;
	}
	if (msg->hdr.size > sizeof(msg->payload)) {
		*why = "payload longer than that of any message";
		return -EPROTO;
	}
	while (*got < VU_HEADER_SIZE + msg->hdr.size) {
		size_t have = *got - VU_HEADER_SIZE;

		n = receive_part(sock, msg, got, (uint8_t *)&msg->payload + have, msg->hdr.size - have, why);
		if (n <= 0)
			return (int)n;
	}
	/* A handler reads its whole structure, even if its optional end was not sent. */
	memset((uint8_t *)&msg->payload + msg->hdr.size, 0, sizeof(msg->payload) - msg->hdr.size);
	return 1;
}

int vu_msg_receive(struct vu_conn *conn, const char **why)
{
	return vu_frame_receive(conn->fd, false, &conn->in, &conn->got, why);
}

ssize_t vu_send_fds(int sock, const struct vu_header *hdr, const void *payload, uint32_t size, const int *fds,
		    unsigned int nfds)
{
	struct iovec iov[2] = {{.iov_base = (void *)(uintptr_t)hdr, .iov_len = VU_HEADER_SIZE},
			       {.iov_base = (void *)(uintptr_t)payload, .iov_len = size}};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(VU_MAX_FDS * sizeof(int))];
	} control = {0};
	struct msghdr mh = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n;

	if (nfds > VU_MAX_FDS)
		return -EINVAL;
	if (nfds) {
		struct cmsghdr *c;

		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	do {
		n = sendmsg(sock, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t vu_send(int sock, const struct vu_header *hdr, const void *payload, uint32_t size, int fd)
{
	return vu_send_fds(sock, hdr, payload, size, &fd, fd >= 0);
}

int vu_msg_reply(struct vu_conn *conn, struct vu_msg *msg, uint32_t size, int fd)
{
	struct vu_header hdr = {
		.request = msg->hdr.request, .flags = VU_VERSION | VU_FLAG_REPLY, .size = size};
	ssize_t n = vu_send(conn->fd, &hdr, &msg->payload, size, fd);

	if (n < 0)
		return (int)n;
	return n == (ssize_t)(VU_HEADER_SIZE + size) ? 0 : -EAGAIN;
}
