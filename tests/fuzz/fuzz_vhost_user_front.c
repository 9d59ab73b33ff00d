/* SPDX-License-Identifier: Apache-2.0 */

/* A hostile back-end against the vhost-user datapath: its answers through socket, framing and the instance's
 * states, while the broker's side asks for this and that. The broker's callbacks check the contract
 * (datapath/datapath.h): each step is answered once, rings come back where their used index says, and after the
 * end there is silence.
 *
 * The input is a sequence of steps: a byte that says what (below), and its arguments. Time does not pass. */

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "datapath/vhost_user/datapath_vhost_user.h"
#include "datapath/vhost_user/params.h"
#include "util/eventfd.h"
#include "vhost/vhost_user_priv.h"
#include "vhost/virtio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define OPS      datapath_vhost_user
#define QUEUES   4
#define FEATURES (VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX))

enum step {
	STEP_ANSWER,      /* n: answers the next n requests rightly */
	STEP_ANSWER_WITH, /* n, n bytes: answers the next one with this payload */
	STEP_RAW,         /* n, descriptors, n bytes: sends just these */
	STEP_HANG_UP,
	STEP_PREPARE, /* bit 0: other memory */
	STEP_START,   /* n rings, bit 7: with a log */
	STEP_STOP,
	STEP_CHANGE, /* enable, call, link */
	STEP_USE,    /* queue, index (2 bytes): in guest memory */
	STEP_ERROR,  /* queue: its error descriptor */
	STEPS
};

enum state { NEW, PREPARING, PREPARED, STARTING, STARTED, STOPPING, GONE };

static sd_event *event;
static char path[] = "/tmp/fuzz-front-XXXXXX";
static int listen_fd, back = -1, errfds[QUEUES] = {-1, -1, -1, -1};
static struct guest_mem *mems[2];
static struct dirty_log *logs;
static struct vhost_queue queues[QUEUES];
static struct datapath_ring rings[QUEUES];
static struct vring_used *used[QUEUES];
static unsigned int n_rings;
static enum state state;
static struct vu_msg in;
static size_t got;

static void check(bool ok)
{
	if (!ok)
		__builtin_trap();
}

static void check_rings(void)
{
	for (unsigned int q = 0; q < n_rings; q++)
		check(rings[q].used_idx == used[q]->idx && rings[q].avail_idx == rings[q].used_idx);
}

static void on_prepared(void *ctx, int r, const char *why)
{
	(void)ctx;
	check(state == PREPARING && (r == 0 || (r < 0 && *why)));
	state = r ? GONE : PREPARED;
}

static void on_started(void *ctx, int r, const char *why)
{
	(void)ctx;
	check(state == STARTING && (r == 0 || (r < 0 && *why)));
	if (r)
		check_rings();
	state = r ? GONE : STARTED;
}

static void on_stopped(void *ctx)
{
	(void)ctx;
	check(state == STOPPING);
	check_rings();
	state = PREPARED;
}

static void on_failed(void *ctx, const char *why)
{
	(void)ctx;
	check((state == PREPARED || state == STARTED) && *why);
	if (state == STARTED)
		check_rings();
	state = GONE;
}

static void on_ring_error(void *ctx, unsigned int queue, const char *why)
{
	(void)ctx;
	check((state == STARTING || state == STARTED || state == STOPPING) && queue < n_rings && *why);
}

static const struct datapath_events events = {on_prepared, on_started,    on_stopped,
					      on_failed,   on_ring_error, NULL};

static void remove_socket(void)
{
	unlink(path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	(void)argc;
	(void)argv;
	check(fd >= 0 && ftruncate(fd, 0x40000) == 0 && sd_event_new(&event) >= 0);
	check(mkdtemp(path) && rmdir(path) == 0);
	check(guest_mem_add(NULL, 0x10000, 0x20000, 0x10000, 0, fd, &mems[0]) == 0);
	check(guest_mem_add(mems[0], 0x100000, 0x1000, 0x100000, 0x30000, fd, &mems[1]) == 0);
	check(dirty_log_new(fd, 0x31000, 0x1000, &logs) == 0);
	for (unsigned int q = 0; q < QUEUES; q++) {
		uint8_t *base = mems[0]->regions[0].hva + q * 0x4000;

		used[q] = (void *)(base + 0x2000);
		queues[q] = (struct vhost_queue){
			.index = q,
			.size = 16,
			.features = FEATURES,
			.enabled = true,
			.desc = base,
			.driver = base + 0x1000,
			.device = used[q],
			.device_gpa = 0x10000 + q * 0x4000 + 0x2000,
			.kickfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
			.callfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
			.errfd = -1,
			.mem = mems[0],
		};
	}
	memcpy(addr.sun_path, path, sizeof(path));
	listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	check(listen_fd >= 0 && bind(listen_fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	check(listen(listen_fd, 8) == 0 && atexit(remove_socket) == 0);
	return 0;
}

static void hang_up(void)
{
	close_fd(&back);
	vu_msg_close_fds(&in);
	got = 0;
	for (unsigned int q = 0; q < QUEUES; q++)
		close_fd(&errfds[q]);
}

static void pump(void)
{
	while (sd_event_run(event, 0) > 0)
		;
	if (back < 0)
		back = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	while (sd_event_run(event, 0) > 0)
		;
}

static void transmit(const void *p, size_t size, unsigned int nfds)
{
	int fds[10];

	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = listen_fd;
	if (nfds > VU_MAX_FDS) { /* more than vu_send_fds() would */
		union {
			struct cmsghdr align;
			char buf[CMSG_SPACE(sizeof(fds))];
		} control = {0};
		struct iovec iov = {.iov_base = (void *)(uintptr_t)p, .iov_len = size};
		struct msghdr mh = {.msg_iov = &iov,
				    .msg_iovlen = 1,
				    .msg_control = &control,
				    .msg_controllen = sizeof(control)};
		struct cmsghdr *c = CMSG_FIRSTHDR(&mh);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fds));
		memcpy(CMSG_DATA(c), fds, sizeof(fds));
		if (sendmsg(back, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			hang_up();
	} else if (size >= VU_HEADER_SIZE) {
		struct vu_header hdr;

		memcpy(&hdr, p, VU_HEADER_SIZE);
		vu_send_fds(back, &hdr, (const uint8_t *)p + VU_HEADER_SIZE,
			    (uint32_t)(size - VU_HEADER_SIZE), fds, nfds);
	} else if (send(back, p, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		hang_up();
	}
}

/* What a right answer has in it; its size, 0: none. */
static uint32_t right_answer(void)
{
	union vu_payload *p = &in.payload;
	unsigned int q = p->state.index % QUEUES;

	switch (in.hdr.request) {
	case VU_GET_FEATURES:
	case VU_GET_PROTOCOL_FEATURES:
	case VU_GET_QUEUE_NUM:
	case VU_GET_MAX_MEM_SLOTS:
		p->u64 = UINT64_MAX;
		return 8;
	case VU_GET_VRING_BASE:
		p->state.num = used[q]->idx;
		return 8;
	case VU_SET_VRING_ERR:
		close_fd(&errfds[q]);
		if (in.nfds)
			errfds[q] = steal_fd(&in.fds[0]);
		break;
	case VU_SET_LOG_BASE:
		p->u64 = 0;
		return 8;
	default:
		break;
	}
	p->u64 = 0;
	return in.hdr.flags & VU_FLAG_NEED_REPLY ? 8 : 0;
}

/* Answers one request; false if there is none. */
static bool answer(const uint8_t *payload, uint32_t size)
{
	struct {
		struct vu_header hdr;
		uint8_t payload[256];
	} out;
	const char *why;
	uint32_t right;
	int r;

	pump();
	if (back < 0)
		return false;
	r = vu_frame_receive(back, false, &in, &got, &why);
	if (r <= 0) {
		if (r < 0)
			hang_up();
		return false;
	}
	got = 0;
	right = right_answer();
	out.hdr = (struct vu_header){in.hdr.request, VU_VERSION | VU_FLAG_REPLY, payload ? size : right};
	memcpy(out.payload, payload ? payload : (const uint8_t *)&in.payload, out.hdr.size);
	vu_msg_close_fds(&in);
	if (payload || right)
		transmit(&out, VU_HEADER_SIZE + out.hdr.size, 0);
	pump();
	return true;
}

static void change(struct datapath *dp, uint8_t what)
{
	struct function_settings s = {.link = what & 8 ? LINK_DISABLE : LINK_AUTO};
	unsigned int q = what & 3;

	if (state != STARTED)
		return;
	if (what & 16)
		OPS.set(dp, &s, NULL);
	else if (what & 32)
		OPS.ring_call(dp, q, what & 64 ? queues[q].callfd : -1);
	else
		OPS.ring_enable(dp, q, queues[q].enabled = what & 64);
}

static void start(struct datapath *dp, uint8_t how)
{
	if (state != PREPARED)
		return;
	n_rings = 1 + how % QUEUES;
	for (unsigned int q = 0; q < n_rings; q++) {
		queues[q].log = how & 128 ? logs : NULL;
		rings[q] = (struct datapath_ring){&queues[q], used[q]->idx, used[q]->idx};
	}
	state = STARTING;
	OPS.start(dp, rings, n_rings);
}

/* One step; its length, 0 at the end. */
static size_t step(struct datapath *dp, const uint8_t *p, size_t size)
{
	uint16_t idx;

	if (size < 2)
		return 0;
	switch (p[0] % STEPS) {
	case STEP_ANSWER:
		for (unsigned int n = 0; n <= p[1] && answer(NULL, 0); n++)
			;
		return 2;
	case STEP_ANSWER_WITH:
		if (size < 2u + p[1])
			return 0;
		answer(p + 2, p[1]);
		return 2u + p[1];
	case STEP_RAW:
		if (size < 3u + p[1])
			return 0;
		pump();
		if (back >= 0 && p[1])
			transmit(p + 3, p[1], p[2] % 10);
		return 3u + p[1];
	case STEP_HANG_UP:
		hang_up();
		return 2;
	case STEP_PREPARE:
		if (state == PREPARED) {
			state = PREPARING;
			OPS.prepare(dp, FEATURES, mems[p[1] & 1]);
		}
		return 2;
	case STEP_START:
		start(dp, p[1]);
		return 2;
	case STEP_STOP:
		if (state == STARTED) {
			state = STOPPING;
			OPS.stop(dp);
		}
		return 2;
	case STEP_CHANGE:
		change(dp, p[1]);
		return 2;
	case STEP_USE:
		if (size < 4)
			return 0;
		memcpy(&idx, p + 2, 2);
		/* While rings are being given back only their owner's reading matters. */
		if (state == STARTED)
			used[p[1] % QUEUES]->idx = idx;
		return 4;
	default:
		if (errfds[p[1] % QUEUES] >= 0)
			signal_eventfd(errfds[p[1] % QUEUES]);
		return 2;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct datapath_pref pref = {.type = &datapath_type_vhost_user};
	struct datapath_open args = {
		.event = event,
		.pref = &pref,
		.pf = "pf0",
		.fn = 1,
		.queue_pairs = 2,
		.mtu = 1500,
		.events = &events,
	};
	struct datapath *dp;
	enum state last;

	memcpy(((struct vhost_user_params *)(void *)pref.params.bytes)->path, path, sizeof(path));
	state = NEW;
	n_rings = 0;
	for (unsigned int q = 0; q < QUEUES; q++) {
		used[q]->idx = 0;
		queues[q].enabled = true;
	}
	check(OPS.open(&args, &dp, NULL) == 0);
	state = PREPARING;
	OPS.prepare(dp, FEATURES, mems[0]);
	pump();
	for (size_t n = 1; n && state != GONE; data += n, size -= n) {
		n = step(dp, data, size);
		pump();
	}
	last = state;
	OPS.close(dp);
	hang_up();
	pump(); /* takes in a connection that nobody took yet, and finds no callback due */
	hang_up();
	check(state == last);
	return 0;
}
