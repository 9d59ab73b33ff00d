/* SPDX-License-Identifier: Apache-2.0 */

#include "vu_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static struct sockaddr_un address(const struct vu_fake *b)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	memcpy(addr.sun_path, b->path, sizeof(addr.sun_path));
	return addr;
}

void vu_fake_init(struct vu_fake *b, sd_event *event, const char *path)
{
	*b = (struct vu_fake){.event = event, .listen_fd = -1, .fd = -1};
	strncpy(b->path, path, sizeof(b->path) - 1);
	b->features = UINT64_MAX;
	b->protocol = VU_FAKE_PROTOCOL;
	b->queue_num = 4;
	b->slots = 64;
	for (unsigned int i = 0; i < ARRAY_SIZE(b->ring); i++) {
		b->ring[i] = (struct vu_fake_ring){.kickfd = -1, .callfd = -1, .errfd = -1, .enabled = -1};
		b->base[i] = -1;
	}
}

unsigned int vu_fake_count(const struct vu_fake *b, uint32_t request)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < b->n_told; i++)
		n += b->told[i].request == request;
	return n;
}

const struct vu_fake_told *vu_fake_last(const struct vu_fake *b, uint32_t request)
{
	for (unsigned int i = b->n_told; i-- > 0;)
		if (b->told[i].request == request)
			return &b->told[i];
	fail_msg("message %u never came", request);
	return NULL;
}

void vu_fake_hang_up(struct vu_fake *b)
{
	if (b->fd < 0)
		return;
	b->source = sd_event_source_disable_unref(b->source);
	close_fd(&b->fd);
	vu_msg_close_fds(&b->in);
	b->got = 0;
	b->ends++;
	for (unsigned int i = 0; i < ARRAY_SIZE(b->ring); i++) {
		close_fd(&b->ring[i].kickfd);
		close_fd(&b->ring[i].callfd);
		close_fd(&b->ring[i].errfd);
		b->ring[i].running = false;
	}
	b->n_regions = 0;
	b->got_features = b->status = 0;
}

void vu_fake_done(struct vu_fake *b)
{
	vu_fake_hang_up(b);
	b->listen_source = sd_event_source_disable_unref(b->listen_source);
	if (b->listen_fd >= 0)
		unlink(b->path);
	close_fd(&b->listen_fd);
}

static ino_t inode(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

static void set_fd(struct vu_msg *msg, int *fd, bool *none)
{
	close_fd(fd);
	*none = msg->payload.u64 & VU_RING_NOFD;
	assert_int_equal(msg->nfds, *none ? 0 : 1);
	if (!*none)
		*fd = steal_fd(&msg->fds[0]);
}

static void add_region(struct vu_fake *b, const struct vu_region *r, int fd)
{
	assert_true(b->n_regions < ARRAY_SIZE(b->regions));
	b->regions[b->n_regions++] = (struct vu_fake_region){.r = *r, .ino = inode(fd)};
}

static void remove_region(struct vu_fake *b, const struct vu_region *r)
{
	for (unsigned int i = 0; i < b->n_regions; i++) {
		if (b->regions[i].r.gpa == r->gpa && b->regions[i].r.uva == r->uva &&
		    b->regions[i].r.size == r->size) {
			b->regions[i] = b->regions[--b->n_regions];
			return;
		}
	}
	fail_msg("region %#llx is not there", (unsigned long long)r->gpa);
}

/* Of one ring. As carry_out(). */
static int ring_message(struct vu_fake *b, struct vu_msg *msg)
{
	union vu_payload *p = &msg->payload;
	unsigned int index = p->state.index & VU_RING_INDEX_MASK;
	struct vu_fake_ring *ring = &b->ring[index % ARRAY_SIZE(b->ring)];

	switch (msg->hdr.request) {
	case VU_SET_VRING_NUM:
		ring->num = p->state.num;
		return -1;
	case VU_SET_VRING_BASE:
		ring->base = p->state.num;
		return -1;
	case VU_SET_VRING_ADDR:
		ring->addr = p->addr;
		return -1;
	case VU_SET_VRING_KICK:
		set_fd(msg, &ring->kickfd, &ring->nokick);
		ring->running = true;
		return -1;
	case VU_SET_VRING_CALL:
		set_fd(msg, &ring->callfd, &ring->nocall);
		return -1;
	case VU_SET_VRING_ERR:
		set_fd(msg, &ring->errfd, &(bool){false});
		return -1;
	case VU_SET_VRING_ENABLE:
		ring->enabled = (int)p->state.num;
		return -1;
	case VU_GET_VRING_BASE:
		assert_true(ring->running);
		ring->running = false;
		p->state.index += b->other_ring;
		p->state.num = b->base[index] >= 0 ? (uint32_t)b->base[index] : ring->base;
		return 8;
	default:
		fail_msg("unexpected message %u", msg->hdr.request);
		return -1;
	}
}

/* Carries it out; the size of the answer's payload, -1: none of its own. */
static int carry_out(struct vu_fake *b, struct vu_msg *msg)
{
	union vu_payload *p = &msg->payload;

	switch (msg->hdr.request) {
	case VU_GET_FEATURES:
		p->u64 = b->features;
		return 8;
	case VU_SET_FEATURES:
		assert_int_equal(p->u64 & ~b->features, 0);
		b->got_features = p->u64;
		return -1;
	case VU_GET_PROTOCOL_FEATURES:
		p->u64 = b->protocol | VU_BIT(VU_PF_BACKEND_REQ) | VU_BIT(VU_PF_INFLIGHT_SHMFD) | VU_BIT(63);
		return 8;
	case VU_SET_PROTOCOL_FEATURES:
		b->got_protocol = p->u64;
		return -1;
	case VU_GET_QUEUE_NUM:
		p->u64 = b->queue_num;
		return 8;
	case VU_GET_MAX_MEM_SLOTS:
		p->u64 = b->slots;
		return 8;
	case VU_SET_MEM_TABLE:
		assert_int_equal(p->memory.n, msg->nfds);
		b->n_regions = 0;
		for (unsigned int i = 0; i < p->memory.n; i++)
			add_region(b, &p->memory.regions[i], msg->fds[i]);
		return -1;
	case VU_ADD_MEM_REG:
		assert_int_equal(msg->nfds, 1);
		add_region(b, &p->mem_reg.region, msg->fds[0]);
		return -1;
	case VU_REM_MEM_REG:
		remove_region(b, &p->mem_reg.region);
		return -1;
	case VU_SET_LOG_BASE:
		assert_int_equal(msg->nfds, 1);
		b->log = p->log;
		b->log_ino = inode(msg->fds[0]);
		p->u64 = 0;
		return b->empty_log_reply ? 0 : 8;
	case VU_SET_STATUS:
		b->status = p->u64;
		if (!b->status)
			b->got_features = 0;
		return -1;
	case VU_NET_SET_MTU:
		b->mtu = p->u64;
		return -1;
	case VU_SEND_RARP:
		memcpy(b->rarp, p->mac, 6);
		b->rarps++;
		return -1;
	case VU_SET_OWNER:
		return -1;
	default:
		return ring_message(b, msg);
	}
}

static void transmit(struct vu_fake *b, const void *data, size_t size, unsigned int nfds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(16 * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (nfds) {
		struct cmsghdr *c;

		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		for (unsigned int i = 0; i < nfds; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &null, sizeof(null));
	}
	/* The front-end may have hung up meanwhile. */
	if (sendmsg(b->fd, &mh, MSG_NOSIGNAL) < 0)
		assert_true(errno == EPIPE || errno == ECONNRESET);
	close(null);
}

static void answer(struct vu_fake *b, const struct vu_msg *msg, uint32_t size, enum vu_fault fault)
{
	struct {
		struct vu_header hdr;
		uint8_t payload[64];
	} out = {.hdr = {msg->hdr.request, VU_VERSION | VU_FLAG_REPLY, size}};
	unsigned int nfds = 0;
	size_t length;

	memcpy(out.payload, &msg->payload, size);
	switch (fault) {
	case VU_FAULT_OTHER:
		out.hdr.request = VU_GET_STATUS;
		break;
	case VU_FAULT_REQUEST:
		out.hdr.flags = VU_VERSION;
		break;
	case VU_FAULT_VERSION:
		out.hdr.flags = VU_FLAG_REPLY | 2;
		break;
	case VU_FAULT_SHORT:
		out.hdr.size = 4;
		break;
	case VU_FAULT_LONG:
		out.hdr.size = 16;
		break;
	case VU_FAULT_HUGE:
		out.hdr.size = 1u << 30;
		break;
	case VU_FAULT_DESCRIPTOR:
		nfds = 1;
		break;
	case VU_FAULT_DESCRIPTORS:
		nfds = 12;
		break;
	case VU_FAULT_NACK:
		out.payload[0] = 1;
		break;
	default:
		break;
	}
	length = VU_HEADER_SIZE + MIN(out.hdr.size, sizeof(out.payload));
	if (fault == VU_FAULT_HALF || fault == VU_FAULT_HANG)
		length = VU_HEADER_SIZE + 3;
	transmit(b, &out, length, nfds);
	if (fault == VU_FAULT_TWICE)
		transmit(b, &out, length, nfds);
	if (fault == VU_FAULT_HALF)
		vu_fake_hang_up(b);
}

static void serve(struct vu_fake *b, struct vu_msg *msg)
{
	enum vu_fault fault = VU_FAULT_NONE;
	bool ack = msg->hdr.flags & VU_FLAG_NEED_REPLY;
	struct vu_fake_told *told = &b->told[b->n_told];
	int size;

	assert_true(b->n_told < ARRAY_SIZE(b->told));
	if (b->fault && msg->hdr.request == b->fault_request &&
	    vu_fake_count(b, b->fault_request) == b->fault_at)
		fault = b->fault;
	*told = (struct vu_fake_told){msg->hdr.request, msg->hdr.flags, msg->hdr.size, msg->nfds,
				      msg->payload};
	b->n_told++;
	size = carry_out(b, msg);
	if (fault == VU_FAULT_CLOSE) {
		vu_fake_hang_up(b);
		return;
	}
	if (fault == VU_FAULT_SILENT)
		return;
	if (size < 0 && ack) {
		msg->payload.u64 = 0;
		size = 8;
	}
	if (size >= 0)
		answer(b, msg, (uint32_t)size, fault);
}

static int on_request(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct vu_fake *b = userdata;
	const char *why;
	int r;

	(void)source;
	(void)revents;
	if (b->deaf) {
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
		return 0;
	}
	r = vu_frame_receive(fd, false, &b->in, &b->got, &why);
	assert_true(r >= 0 || r == -ENOTCONN);
	if (r == -ENOTCONN) {
		vu_fake_hang_up(b);
	} else if (r > 0) {
		b->got = 0;
		serve(b, &b->in);
		vu_msg_close_fds(&b->in);
	}
	return 0;
}

static void greet(struct vu_fake *b, int fd)
{
	vu_fake_hang_up(b);
	b->fd = fd;
	b->connections++;
	assert_true(sd_event_add_io(b->event, &b->source, fd, EPOLLIN, on_request, b) >= 0);
}

static int on_client(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	(void)source;
	(void)revents;
	greet(userdata, accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
	return 0;
}

void vu_fake_listen(struct vu_fake *b)
{
	struct sockaddr_un addr = address(b);

	b->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(b->listen_fd >= 0);
	assert_int_equal(bind(b->listen_fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(b->listen_fd, 8), 0);
	assert_true(sd_event_add_io(b->event, &b->listen_source, b->listen_fd, EPOLLIN, on_client, b) >= 0);
}

int vu_fake_connect(struct vu_fake *b)
{
	struct sockaddr_un addr = address(b);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	greet(b, fd);
	return 0;
}
