/* SPDX-License-Identifier: Apache-2.0 */

#include "vu_client.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_MS 5000

void vu_client_init(struct vu_client *c, void (*pump)(void *ctx), void *ctx)
{
	*c = (struct vu_client){.fd = -1, .mem_fd = -1, .pump = pump, .ctx = ctx};
	for (unsigned int i = 0; i < 32; i++)
		c->kick[i] = c->call[i] = -1;
}

int vu_client_connect(struct vu_client *c, const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	assert(strlen(path) < sizeof(addr.sun_path));
	memcpy(addr.sun_path, path, strlen(path) + 1);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return -errno;
	if (connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		int r = -errno;

		close(c->fd);
		c->fd = -1;
		return r;
	}
	c->pump(c->ctx);
	return 0;
}

void vu_client_disconnect(struct vu_client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->pump(c->ctx);
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void vu_client_done(struct vu_client *c)
{
	close_one(&c->fd);
	close_one(&c->mem_fd);
	for (unsigned int i = 0; i < 32; i++) {
		close_one(&c->kick[i]);
		close_one(&c->call[i]);
	}
	if (c->mem)
		munmap(c->mem, c->mem_size);
	c->mem = NULL;
}

int vu_client_send_raw(struct vu_client *c, const void *data, size_t size, const int *fds, unsigned int nfds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(64 * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	assert(nfds <= 64);
	if (nfds) {
		struct cmsghdr *h;

		memset(&control, 0, sizeof(control));
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		h = CMSG_FIRSTHDR(&mh);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(h), fds, nfds * sizeof(int));
	}
	n = sendmsg(c->fd, &mh, MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	c->pump(c->ctx);
	return n == (ssize_t)size ? 0 : -EIO;
}

int vu_client_send(struct vu_client *c, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
		   const int *fds, unsigned int nfds)
{
	uint8_t buf[4096];
	struct vu_header hdr = {.request = request, .flags = flags | VU_VERSION, .size = size};

	assert(size <= sizeof(buf) - sizeof(hdr));
	memcpy(buf, &hdr, sizeof(hdr));
	if (size)
		memcpy(buf + sizeof(hdr), payload, size);
	return vu_client_send_raw(c, buf, sizeof(hdr) + size, fds, nfds);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int receive_exactly(struct vu_client *c, void *data, size_t size, int *fd)
{
	int64_t end = now_ms() + TIMEOUT_MS;
	size_t got = 0;

	while (got < size) {
		union {
			struct cmsghdr align;
			char buf[CMSG_SPACE(sizeof(int))];
		} control;
		struct iovec iov = {.iov_base = (uint8_t *)data + got, .iov_len = size - got};
		struct msghdr mh = {.msg_iov = &iov,
				    .msg_iovlen = 1,
				    .msg_control = &control,
				    .msg_controllen = sizeof(control)};
		struct pollfd pfd = {.fd = c->fd, .events = POLLIN};
		struct cmsghdr *h;
		ssize_t n;

		c->pump(c->ctx);
		if (poll(&pfd, 1, 10) == 0) {
			if (now_ms() > end)
				return -ETIMEDOUT;
			continue;
		}
		n = recvmsg(c->fd, &mh, MSG_CMSG_CLOEXEC);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return -ENOTCONN;
		if (n < 0)
			return -errno;
		h = CMSG_FIRSTHDR(&mh);
		if (h && h->cmsg_type == SCM_RIGHTS) {
			int taken;

			memcpy(&taken, CMSG_DATA(h), sizeof(taken));
			if (fd && *fd < 0)
				*fd = taken;
			else
				close(taken);
		}
		got += (size_t)n;
	}
	return 0;
}

int vu_client_receive(struct vu_client *c, uint32_t request, void *payload, uint32_t size, int *fd)
{
	struct vu_header hdr;
	int r;

	if (fd)
		*fd = -1;
	r = receive_exactly(c, &hdr, sizeof(hdr), fd);
	if (r < 0)
		return r;
	if (hdr.request != request || hdr.flags != (VU_VERSION | VU_FLAG_REPLY) || hdr.size > size)
		return -EPROTO;
	r = receive_exactly(c, payload, hdr.size, fd);
	return r < 0 ? r : (int)hdr.size;
}

bool vu_client_hung_up(struct vu_client *c)
{
	char buf[512];
	ssize_t n;

	c->pump(c->ctx);
	do {
		n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
	} while (n > 0);
	return n == 0 || errno == ECONNRESET;
}

bool vu_client_quiet(struct vu_client *c)
{
	struct pollfd pfd = {.fd = c->fd, .events = POLLIN};

	c->pump(c->ctx);
	return poll(&pfd, 1, 0) == 0;
}

int64_t vu_client_ask(struct vu_client *c, uint32_t request, const void *payload, uint32_t size,
		      const int *fds, unsigned int nfds)
{
	uint64_t answer = 0;
	int r = vu_client_send(c, request, VU_FLAG_NEED_REPLY, payload, size, fds, nfds);

	if (r < 0)
		return r == -EPIPE ? -ENOTCONN : r;
	r = vu_client_receive(c, request, &answer, sizeof(answer), NULL);
	if (r < 0)
		return r;
	return r == sizeof(answer) ? (int64_t)answer : -EPROTO;
}

int64_t vu_client_ask_u64(struct vu_client *c, uint32_t request, uint64_t value)
{
	return vu_client_ask(c, request, &value, sizeof(value), NULL, 0);
}

int64_t vu_client_ask_state(struct vu_client *c, uint32_t request, uint32_t index, uint32_t num)
{
	struct vu_ring_state state = {index, num};

	return vu_client_ask(c, request, &state, sizeof(state), NULL, 0);
}

int64_t vu_client_get(struct vu_client *c, uint32_t request)
{
	uint64_t value = 0;
	int r = vu_client_send(c, request, 0, NULL, 0, NULL, 0);

	if (r < 0)
		return r;
	r = vu_client_receive(c, request, &value, sizeof(value), NULL);
	return r < 0 ? r : r == sizeof(value) ? (int64_t)value : -EPROTO;
}

void vu_client_negotiate(struct vu_client *c, uint64_t features)
{
	uint64_t protocol = (uint64_t)vu_client_get(c, VU_GET_PROTOCOL_FEATURES);
	int r;

	r = vu_client_send(c, VU_SET_PROTOCOL_FEATURES, 0, &protocol, sizeof(protocol), NULL, 0);
	assert(r == 0);
	r = vu_client_send(c, VU_SET_OWNER, 0, NULL, 0, NULL, 0);
	assert(r == 0);
	r = (int)vu_client_ask_u64(c, VU_SET_FEATURES, features | UINT64_C(1) << VU_F_PROTOCOL_FEATURES);
	assert(r == 0);
}

struct vu_region vu_client_region(const struct vu_client *c, uint64_t offset, uint64_t size)
{
	return (struct vu_region){.gpa = VU_CLIENT_GPA + offset,
				  .size = size,
				  .uva = (uintptr_t)c->mem + offset,
				  .offset = offset};
}

void vu_client_share_memory(struct vu_client *c, uint64_t size)
{
	struct vu_memory table = {.n = 1};
	int64_t r;

	if (!c->mem) {
		c->mem_fd = memfd_create("vu-client", MFD_CLOEXEC);
		assert(c->mem_fd >= 0);
		r = ftruncate(c->mem_fd, (off_t)size);
		assert(r == 0);
		c->mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, c->mem_fd, 0);
		assert(c->mem != MAP_FAILED);
		c->mem_size = size;
	}
	table.regions[0] = vu_client_region(c, 0, c->mem_size);
	r = vu_client_ask(c, VU_SET_MEM_TABLE, &table, 8 + sizeof(table.regions[0]), &c->mem_fd, 1);
	assert(r == 0);
	(void)r;
}

struct vu_ring_addr vu_client_ring_addr(const struct vu_client *c, unsigned int index)
{
	uint64_t base = (uintptr_t)c->mem + index * UINT64_C(0x10000);

	return (struct vu_ring_addr){.index = index,
				     .desc = base,
				     .avail = base + 0x8000,
				     .used = base + 0xa000,
				     .log = VU_CLIENT_GPA + index * UINT64_C(0x10000) + 0xa000};
}

static int64_t set_eventfd(struct vu_client *c, uint32_t request, unsigned int index, int *fd)
{
	uint64_t value = index;

	close_one(fd);
	*fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert(*fd >= 0);
	return vu_client_ask(c, request, &value, sizeof(value), fd, 1);
}

int64_t vu_client_kick(struct vu_client *c, unsigned int index)
{
	return set_eventfd(c, VU_SET_VRING_KICK, index, &c->kick[index]);
}

int64_t vu_client_ring(struct vu_client *c, unsigned int index, uint32_t size, uint32_t base)
{
	struct vu_ring_addr addr = vu_client_ring_addr(c, index);
	int64_t r;

	r = vu_client_ask_state(c, VU_SET_VRING_NUM, index, size);
	if (r == 0)
		r = vu_client_ask_state(c, VU_SET_VRING_BASE, index, base);
	if (r == 0)
		r = vu_client_ask(c, VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
	if (r == 0)
		r = set_eventfd(c, VU_SET_VRING_CALL, index, &c->call[index]);
	return r == 0 ? vu_client_kick(c, index) : r;
}

int64_t vu_client_get_base(struct vu_client *c, unsigned int index)
{
	struct vu_ring_state state = {index, 0};
	int r = vu_client_send(c, VU_GET_VRING_BASE, 0, &state, sizeof(state), NULL, 0);

	if (r < 0)
		return r;
	r = vu_client_receive(c, VU_GET_VRING_BASE, &state, sizeof(state), NULL);
	if (r < 0)
		return r;
	return r == sizeof(state) && state.index == index ? (int64_t)state.num : -EPROTO;
}
