/* SPDX-License-Identifier: Apache-2.0 */

#include "front.h"

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "vhost/vhost_user_proto.h"
#include "vhost/virtio.h"

#define REPLY_MS 20000

static void send_message(const struct front *f, uint32_t request, uint32_t flags, const void *payload,
			 uint32_t size, int fd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct vu_header header = {.request = request, .flags = flags | VU_VERSION, .size = size};
	struct iovec iov[2] = {{&header, sizeof(header)}, {(void *)(uintptr_t)payload, size}};
	struct msghdr mh = {.msg_iov = iov, .msg_iovlen = size ? 2 : 1};

	if (fd >= 0) {
		struct cmsghdr *h;

		mh.msg_control = &control;
		mh.msg_controllen = sizeof(control.buf);
		h = CMSG_FIRSTHDR(&mh);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	}
	if (sendmsg(f->fd, &mh, MSG_NOSIGNAL) != (ssize_t)(sizeof(header) + size))
		err(1, "%s: message %u", f->path, request);
}

static void receive(const struct front *f, void *data, size_t size)
{
	size_t got = 0;

	while (got < size) {
		struct pollfd pfd = {.fd = f->fd, .events = POLLIN};
		ssize_t n;

		if (poll(&pfd, 1, REPLY_MS) == 0)
			errx(1, "%s: no answer within %d s", f->path, REPLY_MS / 1000);
		n = read(f->fd, (uint8_t *)data + got, size - got);
		if (n == 0)
			errx(1, "%s: the back-end hung up", f->path);
		if (n < 0)
			err(1, "%s", f->path);
		got += (size_t)n;
	}
}

static uint64_t receive_u64(const struct front *f, uint32_t request)
{
	struct vu_header header;
	uint64_t value;

	receive(f, &header, sizeof(header));
	if (header.request != request || !(header.flags & VU_FLAG_REPLY) || header.size != sizeof(value))
		errx(1, "%s: wrong answer to message %u", f->path, request);
	receive(f, &value, sizeof(value));
	return value;
}

static uint64_t get_u64(const struct front *f, uint32_t request)
{
	send_message(f, request, 0, NULL, 0, -1);
	return receive_u64(f, request);
}

static void set_u64(const struct front *f, uint32_t request, uint64_t value, int fd)
{
	send_message(f, request, 0, &value, sizeof(value), fd);
}

/* Waits for the back-end's acknowledgement, if it gives one. */
static void acknowledged(const struct front *f, uint32_t request, const void *payload, uint32_t size, int fd)
{
	bool ack = f->protocol_features & VIRTIO_BIT(VU_PF_REPLY_ACK);

	send_message(f, request, ack ? VU_FLAG_NEED_REPLY : 0, payload, size, fd);
	if (ack && receive_u64(f, request))
		errx(1, "%s: the back-end refused message %u", f->path, request);
}

static int await_back_end(int listener, const struct sockaddr_un *addr)
{
	struct pollfd pfd = {.fd = listener, .events = POLLIN};

	unlink(addr->sun_path);
	if (bind(listener, (const struct sockaddr *)addr, sizeof(*addr)) < 0 || listen(listener, 1) < 0)
		err(1, "%s", addr->sun_path);
	if (poll(&pfd, 1, REPLY_MS) == 0)
		errx(1, "%s: no back-end connected within %d s", addr->sun_path, REPLY_MS / 1000);
	return accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

static int open_connection(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	bool listens = strncmp(path, FRONT_LISTEN, strlen(FRONT_LISTEN)) == 0;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), listener = -1;

	path += listens ? strlen(FRONT_LISTEN) : 0;
	if (strlen(path) >= sizeof(addr.sun_path))
		errx(1, "%s: too long for a socket path", path);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	if (listens) {
		listener = fd;
		fd = await_back_end(listener, &addr);
		close(listener);
		unlink(path);
	} else if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		err(1, "%s", path);
	}
	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

void front_connect(struct front *f, const char *path, uint64_t wanted, uint64_t required)
{
	uint64_t offered;

	f->path = path;
	f->fd = open_connection(path);
	offered = get_u64(f, VU_GET_FEATURES);
	if (!virtio_has(offered, VU_F_PROTOCOL_FEATURES))
		errx(1, "%s: the back-end has no protocol features", path);
	f->protocol_features = get_u64(f, VU_GET_PROTOCOL_FEATURES) & VIRTIO_BIT(VU_PF_REPLY_ACK);
	set_u64(f, VU_SET_PROTOCOL_FEATURES, f->protocol_features, -1);
	send_message(f, VU_SET_OWNER, 0, NULL, 0, -1);
	f->features = offered & wanted;
	if ((f->features & required) != required)
		errx(1, "%s: the back-end lacks features %#llx", path,
		     (unsigned long long)(required & ~f->features));
	set_u64(f, VU_SET_FEATURES, f->features | VIRTIO_BIT(VU_F_PROTOCOL_FEATURES), -1);
}

void front_close(struct front *f)
{
	close(f->fd);
}

void front_share(struct front *f, const struct memory *m)
{
	struct vu_memory table = {
		.n = 1,
		.regions[0] = {.gpa = MEMORY_GPA, .size = m->size, .uva = (uintptr_t)m->base, .offset = 0}};

	acknowledged(f, VU_SET_MEM_TABLE, &table, 8 + sizeof(table.regions[0]), m->fd);
}

void front_start_ring(struct front *f, unsigned int index, const struct ring *r)
{
	struct vu_ring_state num = {index, r->size}, base = {index, 0};
	struct vu_ring_addr addr = {.index = index,
				    .desc = (uintptr_t)r->desc,
				    .avail = (uintptr_t)r->avail,
				    .used = (uintptr_t)r->used};

	send_message(f, VU_SET_VRING_NUM, 0, &num, sizeof(num), -1);
	send_message(f, VU_SET_VRING_BASE, 0, &base, sizeof(base), -1);
	send_message(f, VU_SET_VRING_ADDR, 0, &addr, sizeof(addr), -1);
	set_u64(f, VU_SET_VRING_CALL, index, r->callfd);
	set_u64(f, VU_SET_VRING_KICK, index, r->kickfd);
}

void front_enable_ring(struct front *f, unsigned int index)
{
	struct vu_ring_state on = {index, 1};

	acknowledged(f, VU_SET_VRING_ENABLE, &on, sizeof(on), -1);
}
