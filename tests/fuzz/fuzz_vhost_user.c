/* SPDX-License-Identifier: Apache-2.0 */

/* Messages of a hostile front-end, through the socket, framing and dispatcher, to queues that start. The
 * owner of the queues touches first and last byte of every part of a ring: a check that lets a wrong address
 * through is a crash here.
 *
 * The input is a sequence of records: request, flags (bit 3: NEED_REPLY; bits 4-5: what descriptors; bit 6:
 * cut the payload in two), number of descriptors, payload size (in units of 4 bytes), payload. Sizes and
 * descriptors are right or wrong as the fuzzer likes; tests/fuzz/seeds_vhost_user.py writes sessions that go
 * all the way. */

#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhost/vhost_user_priv.h"

#define MEMORY_SIZE 0x10000
#define SHRINK      255 /* as request: changes the size of the memory's file */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static sd_event *event;
static char path[] = "/tmp/fuzz-vhost-user-XXXXXX"; /* beside it, the record of packed rings */
static int fds[4];                                  /* memory twice, an eventfd, a socket */
static const struct vhost_queue *running[VHOST_USER_MAX_QUEUES];

static void check(bool ok)
{
	if (!ok)
		__builtin_trap();
}

static void touch(void *p, size_t size)
{
	volatile uint8_t *b = p;

	b[0] = b[0];
	b[size - 1] = b[size - 1];
}

static int queue_start(void *ctx, const struct vhost_queue *q)
{
	size_t n = q->size;

	(void)ctx;
	check(!running[q->index] && n >= 1 && n <= VHOST_USER_MAX_QUEUE_SIZE);
	touch(q->desc, 16 * n);
	touch(q->driver, q->packed ? 4 : 4 + 2 * n);
	touch(q->device, q->packed ? 4 : 4 + 8 * n);
	check((uintptr_t)q->desc % 16 == 0 && (uintptr_t)q->device % 4 == 0);
	check(q->packed ? (q->used_idx & 0x7fffu) < n : (uint16_t)(q->avail_idx - q->used_idx) <= n);
	if (q->log)
		dirty_log_mark(q->log, q->device_gpa, 16 * n);
	if (q->inflight && q->packed) {
		vhost_inflight_packed_begin(q->inflight, q->used_idx);
		vhost_inflight_packed_end(q->inflight);
	} else if (q->inflight) {
		vhost_inflight_split_done(q->inflight, q->used_idx);
	}
	running[q->index] = q;
	return 0;
}

static void queue_stop(void *ctx, unsigned int index, uint16_t *ret_avail_idx, uint16_t *ret_used_idx)
{
	(void)ctx;
	check(running[index]);
	*ret_avail_idx = running[index]->avail_idx;
	*ret_used_idx = running[index]->used_idx;
	running[index] = NULL;
}

static struct vhost_user *device;
static unsigned int asked;

/* Every other time the message waits until the loop is idle. */
static bool quiesce(void *ctx, int index)
{
	bool any = false;

	(void)ctx;
	for (int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
		any |= (index < 0 || index == i) && running[i];
	check(any);
	return asked++ % 2;
}

static const struct vhost_user_ops ops = {
	.queue_start = queue_start, .queue_stop = queue_stop, .quiesce = quiesce};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	check(sd_event_new(&event) >= 0 && guest_mem_install_sigbus() == 0);
	check(mkdtemp(path) && rmdir(path) == 0);
	fds[0] = fds[1] = memfd_create("fuzz", MFD_CLOEXEC);
	fds[2] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fds[3] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	check(fds[0] >= 0 && fds[2] >= 0 && fds[3] >= 0 && ftruncate(fds[0], MEMORY_SIZE) == 0);
	return 0;
}

static void pump(int front)
{
	uint8_t sink[4096];

	do {
		while (sd_event_run(event, 0) > 0)
			;
		vhost_user_resume(device);
	} while (sd_event_run(event, 0) > 0);
	while (recv(front, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		;
}

static bool send_part(int front, const void *p, size_t size, int fd, unsigned int nfds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(16 * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)p, .iov_len = size};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

	if (nfds) {
		struct cmsghdr *c;

		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		for (unsigned int i = 0; i < nfds; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(fd));
	}
	return sendmsg(front, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size;
}

/* One record; its length, 0 at the end of the input or of the connection. */
static size_t send_record(int front, const uint8_t *data, size_t size)
{
	uint8_t msg[VU_HEADER_SIZE + 4 * 256];
	struct vu_header hdr;
	size_t total;

	if (size < 4 || size < 4 + 4u * data[3])
		return 0;
	if (data[0] == SHRINK) {
		check(ftruncate(fds[0], data[1] * 256) == 0);
		return 4;
	}
	hdr = (struct vu_header){data[0], (data[1] & VU_FLAG_NEED_REPLY) | VU_VERSION, 4u * data[3]};
	memcpy(msg, &hdr, VU_HEADER_SIZE);
	memcpy(msg + VU_HEADER_SIZE, data + 4, hdr.size);
	total = VU_HEADER_SIZE + hdr.size;
	if (data[1] & 0x40) {
		if (!send_part(front, msg, total / 2, fds[data[1] >> 4 & 3], data[2] % 10))
			return 0;
		pump(front);
		if (!send_part(front, msg + total / 2, total - total / 2, -1, 0))
			return 0;
	} else if (!send_part(front, msg, total, fds[data[1] >> 4 & 3], data[2] % 10)) {
		return 0;
	}
	pump(front);
	return 4 + hdr.size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t zeros[MEMORY_SIZE];
	struct vhost_user vu = {
		.event = event,
		.path = path,
		.listen_fd = -1,
		.features = VU_BIT(32) | VU_BIT(VU_F_RING_EVENT_IDX) | VU_BIT(VU_F_RING_PACKED),
		.queue_pairs = 2,
		.ops = &ops,
	};
	int pair[2];

	check(ftruncate(fds[0], MEMORY_SIZE) == 0);
	check(pwrite(fds[0], zeros, sizeof(zeros), 0) == sizeof(zeros));
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	device = &vu;
	asked = 0;
	check(vu_conn_open(&vu, pair[1], getpid()) == 0);
	for (size_t n = 1; n && vu.conn; data += n, size -= n)
		n = send_record(pair[0], data, size);
	close(pair[0]);
	while (sd_event_run(event, 0) > 0)
		;
	check(!vu.conn);
	ring_record_remove(path);
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
		check(!running[i]);
	return 0;
}
