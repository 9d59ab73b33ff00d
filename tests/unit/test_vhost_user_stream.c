/* SPDX-License-Identifier: Apache-2.0 */

/* The vhost-user back-end and the byte stream: messages in pieces and in heaps, ends at any place, clients
 * that stall or do not read, too many descriptors, garbage. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include "vu_env.h"

#define FEATURES (F_VERSION_1 | F_EVENT_IDX)

static void test_byte_by_byte(void **state)
{
	struct vu_env *e = *state;
	struct vu_header hdr = {VU_ADD_MEM_REG, VU_VERSION | VU_FLAG_NEED_REPLY, sizeof(struct vu_mem_reg)};
	struct vu_mem_reg reg;
	uint8_t bytes[sizeof(hdr) + sizeof(reg)];
	uint64_t answer = 1;

	vu_env_running(e);
	/* the descriptor comes with the first byte, the last, or one in between */
	for (unsigned int at = 0; at < sizeof(bytes); at += 17) {
		reg.region = (struct vu_region){.gpa = at * 0x1000, .size = 0x1000, .uva = at * 0x1000};
		memcpy(bytes, &hdr, sizeof(hdr));
		memcpy(bytes + sizeof(hdr), &reg, sizeof(reg));
		for (unsigned int i = 0; i < sizeof(bytes); i++) {
			assert_true(vu_client_quiet(&e->c));
			assert_int_equal(vu_client_send_raw(&e->c, &bytes[i], 1, &e->c.mem_fd, i == at), 0);
		}
		assert_int_equal(vu_client_receive(&e->c, VU_ADD_MEM_REG, &answer, 8, NULL), 8);
		assert_int_equal(answer, 0);
	}
}

/* Many messages in one write: each gets its own descriptors and its own reply. */
static void test_glued(void **state)
{
	struct vu_env *e = *state;
	uint8_t bytes[100 * VU_HEADER_SIZE];
	uint64_t value;

	vu_env_running(e);
	for (unsigned int i = 0; i < 100; i++) {
		struct vu_header hdr = {VU_GET_QUEUE_NUM, VU_VERSION, 0};

		memcpy(bytes + i * sizeof(hdr), &hdr, sizeof(hdr));
	}
	assert_int_equal(vu_client_send_raw(&e->c, bytes, sizeof(bytes), NULL, 0), 0);
	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(vu_client_receive(&e->c, VU_GET_QUEUE_NUM, &value, 8, NULL), 8);
	assert_true(vu_client_quiet(&e->c));
	/* a descriptor with a message that has none, in a glued sequence */
	vu_client_send_raw(&e->c, bytes, sizeof(bytes), &e->c.mem_fd, 1);
	vu_env_assert_ended(e, 1);
}

/* Half a message and no more: the rest is not waited for, and its descriptors go with the connection. */
static void test_stall(void **state)
{
	struct vu_env *e = *state;
	struct vu_header hdr = {VU_SET_VRING_CALL, VU_VERSION, 8};
	struct vu_client other;

	vu_env_running(e);
	assert_int_equal(vu_client_send_raw(&e->c, &hdr, sizeof(hdr), &e->c.call[1], 1), 0);
	assert_non_null(e->q[1].q);
	/* the loop is free: the device answers elsewhere, other devices too */
	vu_client_init(&other, vu_env_pump, e);
	assert_int_equal(vu_client_connect(&other, e->path), 0);
	assert_true(vu_client_hung_up(&other));
	vu_client_done(&other);
	vhost_user_queue_failed(e->vu, 1, "still works");
	vu_client_disconnect(&e->c);
	assert_non_null(strstr(e->why, "middle of a message"));
	vu_env_running(e);
}

/* The connection ends after each byte of a whole session. */
static void test_disconnect_anywhere(void **state)
{
	struct vu_env *e = *state;
	uint8_t bytes[2048];
	int fds[16];
	size_t ends[16], n = 0;
	unsigned int count = 0;
	struct vu_memory t = {.n = 1};
	struct vu_ring_addr addr;
	uint64_t features = FEATURES, index = 0;
	struct vu_ring_state num = {0, 256}, base = {0, 0}, enable = {0, 1};

	vu_env_ready(e, FEATURES);
	vu_client_disconnect(&e->c);
	t.regions[0] = vu_client_region(&e->c, 0, e->c.mem_size);
	addr = vu_client_ring_addr(&e->c, 0);
	e->c.call[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	const struct {
		uint32_t request;
		const void *payload;
		uint32_t size;
		int fd;
	} session[] = {
		{VU_SET_FEATURES, &features, 8, -1},
		{VU_SET_MEM_TABLE, &t, 40, e->c.mem_fd},
		{VU_SET_VRING_NUM, &num, 8, -1},
		{VU_SET_VRING_BASE, &base, 8, -1},
		{VU_SET_VRING_ADDR, &addr, 40, -1},
		{VU_SET_VRING_KICK, &index, 8, e->c.call[0]},
		{VU_SET_VRING_CALL, &index, 8, e->c.call[0]},
		{VU_SET_VRING_ENABLE, &enable, 8, -1},
	};
	for (unsigned int i = 0; i < ARRAY_SIZE(session); i++) {
		struct vu_header hdr = {session[i].request, VU_VERSION, session[i].size};

		memcpy(bytes + n, &hdr, sizeof(hdr));
		memcpy(bytes + n + sizeof(hdr), session[i].payload, session[i].size);
		n += sizeof(hdr) + session[i].size;
		fds[count] = session[i].fd;
		ends[count++] = n;
	}
	for (size_t cut = 0; cut <= n; cut++) {
		size_t from = 0;

		assert_int_equal(vu_client_connect(&e->c, e->path), 0);
		for (unsigned int i = 0; i < count && from < cut; i++) {
			size_t to = MIN(ends[i], cut);

			assert_int_equal(
				vu_client_send_raw(&e->c, bytes + from, to - from, &fds[i], fds[i] >= 0), 0);
			from = to;
		}
		vu_client_disconnect(&e->c);
		assert_int_equal(e->disconnects, cut + 2);
		assert_int_equal(vu_env_info(e).queues_started, 0);
	}
	assert_int_equal(vu_env_info(e).connections, n + 2);
	assert_true(e->q[0].starts > 0);
}

/* Replies that are not read fill the socket: the connection ends, the loop does not wait. */
static void test_never_reads(void **state)
{
	struct vu_env *e = *state;
	int r = 0;

	vu_env_running(e);
	for (unsigned int i = 0; i < 100000 && r == 0; i++)
		r = vu_client_send(&e->c, VU_GET_FEATURES, 0, NULL, 0, NULL, 0);
	assert_int_equal(r, -EPIPE);
	assert_int_equal(e->disconnects, 1);
	assert_non_null(strstr(e->why, "cannot send a reply"));
	vu_client_disconnect(&e->c);
	vu_env_running(e);
}

/* More descriptors than a message may have, and more than fit the control buffer. */
static void test_many_descriptors(void **state)
{
	struct vu_env *e = *state;
	struct vu_header hdr = {VU_SET_MEM_TABLE, VU_VERSION, 264};
	int fds[64];

	for (unsigned int i = 0; i < 64; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC);
	vu_env_running(e);
	vu_client_send_raw(&e->c, &hdr, sizeof(hdr), fds, 9);
	vu_env_assert_ended(e, 1);
	vu_env_running(e);
	vu_client_send_raw(&e->c, &hdr, sizeof(hdr), fds, 64);
	vu_env_assert_ended(e, 2);
	/* in several pieces of one message */
	vu_env_running(e);
	for (unsigned int i = 0; i < 3; i++)
		vu_client_send_raw(&e->c, (uint8_t *)&hdr + 4 * i, 4, fds, 4);
	vu_env_assert_ended(e, 3);
	for (unsigned int i = 0; i < 64; i++)
		close(fds[i]);
}

/* The process has no descriptors left: accepting pauses instead of spinning, messages with descriptors fail. */
static void test_no_descriptors_left(void **state)
{
	struct vu_env *e = *state;
	struct rlimit old, low;
	struct vu_client other;
	struct vu_mem_reg reg = {.region = {.gpa = 0x1000, .size = 0x1000, .uva = 0x1000}};

	vu_env_running(e);
	vu_client_init(&other, vu_env_pump, e);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = (rlim_t)dup(0);
	close((int)low.rlim_cur);
	low.rlim_cur++; /* room for the client's socket, not for the accepted one */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	assert_int_equal(vu_client_connect(&other, e->path), 0);
	assert_int_equal(e->errors, 1);
	assert_non_null(strstr(e->text, "cannot accept"));
	vu_env_pump(e);
	assert_int_equal(e->errors, 1); /* once, no spinning */
	assert_int_equal(vu_client_get(&e->c, VU_GET_QUEUE_NUM), 2);
	/* the kernel drops the descriptor that it cannot install, and says so */
	vu_client_send(&e->c, VU_ADD_MEM_REG, 0, &reg, sizeof(reg), &e->c.mem_fd, 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_true(vu_client_hung_up(&e->c));
	vu_client_done(&other);
	vu_client_disconnect(&e->c);
	/* the pause ends by itself */
	assert_true(sd_event_run(e->event, 3000000) > 0);
	assert_int_equal(vu_client_connect(&e->c, e->path), 0);
	assert_int_equal(vu_client_get(&e->c, VU_GET_QUEUE_NUM), 2);
}

static const struct {
	uint32_t request, size;
	unsigned int fds;
} shapes[] = {
	{VU_GET_FEATURES, 0, 0},   {VU_SET_FEATURES, 8, 0},          {VU_SET_OWNER, 0, 0},
	{VU_RESET_OWNER, 0, 0},    {VU_SET_MEM_TABLE, 8, 0},         {VU_SET_LOG_BASE, 16, 1},
	{VU_SET_LOG_FD, 0, 1},     {VU_SET_VRING_NUM, 8, 0},         {VU_SET_VRING_ADDR, 40, 0},
	{VU_SET_VRING_BASE, 8, 0}, {VU_GET_VRING_BASE, 8, 0},        {VU_SET_VRING_KICK, 8, 0},
	{VU_SET_VRING_CALL, 8, 0}, {VU_SET_VRING_ERR, 8, 0},         {VU_SET_VRING_ENABLE, 8, 0},
	{VU_NET_SET_MTU, 8, 0},    {VU_GET_INFLIGHT_FD, 24, 0},      {VU_SET_INFLIGHT_FD, 24, 1},
	{VU_RESET_DEVICE, 0, 0},   {VU_ADD_MEM_REG, 40, 1},          {VU_REM_MEM_REG, 40, 0},
	{VU_SET_STATUS, 8, 0},     {VU_SET_PROTOCOL_FEATURES, 8, 0}, {VU_SET_BACKEND_REQ_FD, 0, 1},
};

static uint32_t random_state = 20231117;

static uint32_t rnd(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state % n;
}

/* Bytes without sense, and messages whose every part is right or wrong by chance. */
static void test_garbage(void **state)
{
	struct vu_env *e = *state;
	unsigned int running_after = 0;

	for (unsigned int round = 0; round < 200; round++) {
		uint8_t bytes[600];

		assert_int_equal(vu_client_connect(&e->c, e->path), 0);
		for (unsigned int i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)rnd(256);
		vu_client_send_raw(&e->c, bytes, 1 + rnd(sizeof(bytes)), &e->c.mem_fd, rnd(2) && e->c.mem);
		vu_client_disconnect(&e->c);
	}
	for (unsigned int round = 0; round < 300; round++) {
		bool packed = rnd(2);

		vu_env_ready(e, packed ? F_VERSION_1 | F_PACKED : FEATURES);
		if (rnd(4))
			vu_client_ring(&e->c, rnd(4), 256, packed ? 0x80008000 : 0);
		for (unsigned int n = 0; n < 60; n++) {
			unsigned int s = rnd(ARRAY_SIZE(shapes)), nfds;
			uint8_t p[512] = {0};
			uint32_t size = rnd(20) ? shapes[s].size : rnd(sizeof(union vu_payload) + 1);
			int fds[8];

			nfds = rnd(20) ? shapes[s].fds : rnd(9);
			for (unsigned int i = 0; i < 8; i++)
				fds[i] = rnd(2) ? e->c.mem_fd : STDERR_FILENO;
			for (unsigned int i = 0; i < size; i++)
				p[i] = rnd(3) ? 0 : (uint8_t)rnd(256);
			if (rnd(4)) {
				struct vu_ring_addr a = vu_client_ring_addr(&e->c, rnd(5));
				struct vu_ring_state st = {rnd(5), 1u << rnd(11)};
				uint64_t u = rnd(5) | (rnd(2) ? VU_RING_NOFD : 0);
				struct vu_mem_reg reg = {
					.region = vu_client_region(&e->c, rnd(4) * 0x40000, 0x40000)};

				if (size == 40 && shapes[s].request == VU_SET_VRING_ADDR)
					memcpy(p, &a, sizeof(a));
				else if (size == 40)
					memcpy(p, &reg, sizeof(reg));
				else if (size == 8)
					memcpy(p, rnd(2) ? (void *)&st : (void *)&u, 8);
			}
			if (vu_client_send(&e->c, shapes[s].request, rnd(2) ? VU_FLAG_NEED_REPLY : 0, p, size,
					   fds, nfds) < 0)
				break;
		}
		vu_client_disconnect(&e->c);
		running_after += vu_env_info(e).queues_started;
	}
	assert_int_equal(running_after, 0);
	vu_env_running(e);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, vu_env_setup, vu_env_teardown)
	const struct CMUnitTest tests[] = {
		T(test_byte_by_byte),        T(test_glued),       T(test_stall),
		T(test_disconnect_anywhere), T(test_never_reads), T(test_many_descriptors),
		T(test_no_descriptors_left), T(test_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
