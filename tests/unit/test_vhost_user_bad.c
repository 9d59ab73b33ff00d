/* SPDX-License-Identifier: Apache-2.0 */

/* The vhost-user back-end with front-ends that mean harm, or do not know better: messages. After each misdeed the
 * device has to serve the next connection, and the environment's teardown finds what was left behind. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vu_env.h"

#define FEATURES (F_VERSION_1 | F_EVENT_IDX)

static const struct {
	uint32_t request, min_size, max_size;
	unsigned int min_fds, max_fds;
} shapes[] = {
	{VU_GET_FEATURES, 0, 0, 0, 0},
	{VU_SET_FEATURES, 8, 8, 0, 0},
	{VU_SET_OWNER, 0, 8, 0, 0},
	{VU_RESET_OWNER, 0, 8, 0, 0},
	{VU_SET_MEM_TABLE, 8, 264, 0, 8},
	{VU_SET_LOG_BASE, 16, 16, 1, 1},
	{VU_SET_LOG_FD, 0, 8, 1, 1},
	{VU_SET_VRING_NUM, 8, 8, 0, 0},
	{VU_SET_VRING_ADDR, 40, 40, 0, 0},
	{VU_SET_VRING_BASE, 8, 8, 0, 0},
	{VU_GET_VRING_BASE, 8, 8, 0, 0},
	{VU_SET_VRING_KICK, 8, 8, 0, 1},
	{VU_SET_VRING_CALL, 8, 8, 0, 1},
	{VU_SET_VRING_ERR, 8, 8, 0, 1},
	{VU_GET_PROTOCOL_FEATURES, 0, 0, 0, 0},
	{VU_SET_PROTOCOL_FEATURES, 8, 8, 0, 0},
	{VU_GET_QUEUE_NUM, 0, 0, 0, 0},
	{VU_SET_VRING_ENABLE, 8, 8, 0, 0},
	{VU_SEND_RARP, 8, 8, 0, 0},
	{VU_NET_SET_MTU, 8, 8, 0, 0},
	{VU_SET_BACKEND_REQ_FD, 0, 8, 1, 1},
	{VU_GET_INFLIGHT_FD, 20, 24, 0, 0},
	{VU_SET_INFLIGHT_FD, 20, 24, 1, 1},
	{VU_RESET_DEVICE, 0, 8, 0, 0},
	{VU_GET_MAX_MEM_SLOTS, 0, 0, 0, 0},
	{VU_ADD_MEM_REG, 40, 40, 1, 1},
	{VU_REM_MEM_REG, 40, 40, 0, 1},
	{VU_SET_STATUS, 8, 8, 0, 0},
	{VU_GET_STATUS, 0, 0, 0, 0},
};

/* Every message with a payload that is too short and too long, and with too few and too many descriptors. */
static void test_shapes(void **state)
{
	struct vu_env *e = *state;
	uint8_t payload[512] = {0};
	unsigned int errors = 0;
	int fds[9];

	for (unsigned int i = 0; i < 9; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (unsigned int i = 0; i < ARRAY_SIZE(shapes); i++) {
		for (unsigned int how = 0; how < 4; how++) {
			uint32_t size = shapes[i].min_size;
			unsigned int n = shapes[i].min_fds;

			if ((how == 0 && !size) || (how == 2 && !n) || (how == 3 && shapes[i].max_fds == 8))
				continue;
			if (how == 0)
				size--;
			else if (how == 1)
				size = shapes[i].max_size + 1;
			else if (how == 2)
				n--;
			else
				n = shapes[i].max_fds + 1;
			vu_env_running(e);
			vu_client_send(&e->c, shapes[i].request, VU_FLAG_NEED_REPLY, payload, size, fds, n);
			vu_env_assert_ended(e, ++errors);
			assert_null(e->q[1].q);
		}
	}
	for (unsigned int i = 0; i < 9; i++)
		close(fds[i]);
}

static void test_headers(void **state)
{
	struct vu_env *e = *state;
	const struct vu_header headers[] = {
		{VU_GET_FEATURES, 0, 0},                                     /* version */
		{VU_GET_FEATURES, 2, 0},                                     /* version */
		{VU_GET_FEATURES, VU_VERSION | VU_FLAG_REPLY, 0},            /* not a request */
		{VU_GET_FEATURES, VU_VERSION, sizeof(union vu_payload) + 1}, /* too long for any */
		{VU_GET_FEATURES, VU_VERSION, UINT32_MAX},
		{0, VU_VERSION, 0}, /* no such message; nor those below */
		{22, VU_VERSION, 0},
		{24, VU_VERSION, 12},
		{41, VU_VERSION, 0},
		{1000, VU_VERSION, 0},
		{UINT32_MAX, VU_VERSION, 8},
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(headers); i++) {
		uint8_t bytes[VU_HEADER_SIZE + 16] = {0};
		size_t size = MIN(headers[i].size, 16u);

		vu_env_running(e);
		memcpy(bytes, &headers[i], VU_HEADER_SIZE);
		vu_client_send_raw(&e->c, bytes, VU_HEADER_SIZE + size, NULL, 0);
		vu_env_assert_ended(e, i + 1);
	}
}

/* A message that we do not know, from a front-end that asks: no. Nothing else happens. */
static void test_unknown_asked(void **state)
{
	struct vu_env *e = *state;
	uint8_t payload[32] = {0};

	vu_env_running(e);
	assert_int_equal(vu_client_ask(&e->c, 22, payload, 32, NULL, 0), 1);
	assert_int_equal(vu_client_ask(&e->c, 28, payload, 0, NULL, 0), 1);
	assert_int_equal(vu_client_ask(&e->c, UINT32_MAX, payload, 8, &e->c.mem_fd, 1), 1);
	assert_non_null(e->q[1].q);
	assert_int_equal(e->errors, 0);
}

/* Messages whose protocol feature was not negotiated. */
static void test_not_negotiated(void **state)
{
	static const uint32_t requests[] = {VU_SET_LOG_BASE, VU_GET_INFLIGHT_FD, VU_SET_INFLIGHT_FD,
					    VU_GET_STATUS,   VU_SET_STATUS,      VU_GET_MAX_MEM_SLOTS,
					    VU_ADD_MEM_REG,  VU_REM_MEM_REG};
	struct vu_env *e = *state;
	uint8_t payload[512] = {0};
	int fd = eventfd(0, EFD_CLOEXEC);
	unsigned int errors = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(requests); i++) {
		for (unsigned int j = 0; j < ARRAY_SIZE(shapes); j++) {
			if (shapes[j].request != requests[i])
				continue;
			assert_int_equal(vu_client_connect(&e->c, e->path), 0);
			vu_client_send(&e->c, requests[i], 0, payload, shapes[j].min_size, &fd,
				       shapes[j].min_fds);
			vu_env_assert_ended(e, ++errors);
			assert_non_null(strstr(e->why, "not negotiated"));
		}
	}
	assert_int_equal(errors, ARRAY_SIZE(requests));
	close(fd);
}

/* Values that no front-end may send. */
static void test_values(void **state)
{
	static const struct {
		uint32_t request;
		uint64_t value;
	} u64[] = {
		{VU_SET_FEATURES, 1},
		{VU_SET_FEATURES, UINT64_MAX},
		{VU_SET_PROTOCOL_FEATURES, 1 << 9}, /* CONFIG */
		{VU_SET_PROTOCOL_FEATURES, UINT64_MAX},
		{VU_SET_STATUS, 256},
		{VU_SET_VRING_KICK, 4 | VU_RING_NOFD},
		{VU_SET_VRING_CALL, 255 | VU_RING_NOFD},
		{VU_SET_VRING_ERR, 0x200 | VU_RING_NOFD},
		{VU_SET_VRING_KICK, 0}, /* a descriptor is announced and missing */
		{VU_SET_VRING_CALL, 0},
		{VU_SET_VRING_ERR, 0},
	};
	static const struct {
		uint32_t request;
		struct vu_ring_state value;
	} states[] = {
		{VU_SET_VRING_NUM, {4, 256}},  {VU_SET_VRING_NUM, {UINT32_MAX, 256}},
		{VU_SET_VRING_NUM, {0, 0}},    {VU_SET_VRING_NUM, {0, 1025}},
		{VU_SET_VRING_NUM, {0, 2048}}, {VU_SET_VRING_NUM, {0, 100}},
		{VU_SET_VRING_NUM, {1, 256}}, /* running */
		{VU_SET_VRING_BASE, {1, 0}},  /* running */
		{VU_SET_VRING_BASE, {4, 0}},   {VU_SET_VRING_BASE, {0, 0x10000}},
		{VU_GET_VRING_BASE, {4, 0}},   {VU_SET_VRING_ENABLE, {4, 1}},
		{VU_SET_VRING_ENABLE, {0, 2}},
	};
	struct vu_env *e = *state;
	unsigned int errors = 0;
	uint64_t nofd = VU_RING_NOFD;

	for (unsigned int i = 0; i < ARRAY_SIZE(u64); i++) {
		vu_env_running(e);
		vu_client_send(&e->c, u64[i].request, 0, &u64[i].value, 8, NULL, 0);
		vu_env_assert_ended(e, ++errors);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(states); i++) {
		vu_env_running(e);
		vu_client_send(&e->c, states[i].request, 0, &states[i].value, 8, NULL, 0);
		vu_env_assert_ended(e, ++errors);
	}
	/* a descriptor although there shall be none */
	vu_env_running(e);
	vu_client_send(&e->c, VU_SET_VRING_CALL, 0, &nofd, 8, &e->c.call[1], 1);
	vu_env_assert_ended(e, ++errors);
}

/* Kick, call and error descriptors that are no eventfds. */
static void test_wrong_descriptors(void **state)
{
	static const uint32_t requests[] = {VU_SET_VRING_KICK, VU_SET_VRING_CALL, VU_SET_VRING_ERR};
	struct vu_env *e = *state;
	unsigned int errors = 0;
	uint64_t index = 0;
	int pipefd[2];

	assert_int_equal(pipe2(pipefd, O_CLOEXEC), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(requests); i++) {
		vu_env_running(e);
		vu_client_send(&e->c, requests[i], 0, &index, 8, &pipefd[1], 1);
		vu_env_assert_ended(e, ++errors);
		vu_env_running(e);
		vu_client_send(&e->c, requests[i], 0, &index, 8, &e->c.mem_fd, 1);
		vu_env_assert_ended(e, ++errors);
	}
	vu_env_running(e);
	assert_int_not_equal(vu_client_ask(&e->c, VU_SET_BACKEND_REQ_FD, NULL, 0, &pipefd[0], 1), 0);
	assert_int_not_equal(vu_client_ask(&e->c, VU_SET_BACKEND_REQ_FD, NULL, 0, &e->c.mem_fd, 1), 0);
	assert_non_null(e->q[1].q);
	close(pipefd[0]);
	close(pipefd[1]);
}

static void test_log_and_inflight(void **state)
{
	struct vu_env *e = *state;
	struct vu_log log = {.size = 0x1000, .offset = 0x100000};
	struct vu_inflight_desc good = {.size = 4 * 8224, .num_queues = 4, .queue_size = 256}, d;
	unsigned int errors = 0;
	struct vu_inflight_desc wrong[8];

	vu_env_running(e);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_LOG_BASE, &log, sizeof(log), &e->c.mem_fd, 1), 1);
	log.offset = UINT64_MAX;
	assert_int_equal(vu_client_ask(&e->c, VU_SET_LOG_BASE, &log, sizeof(log), &e->c.mem_fd, 1), 1);
	assert_non_null(e->q[1].q);
	/* a migration that believes in a log which is not there would lose memory */
	vu_client_send(&e->c, VU_SET_LOG_BASE, 0, &log, sizeof(log), &e->c.mem_fd, 1);
	assert_true(vu_client_hung_up(&e->c));
	vu_client_disconnect(&e->c);

	vu_env_running(e);
	d = good; /* while rings run */
	vu_client_send(&e->c, VU_SET_INFLIGHT_FD, 0, &d, sizeof(d), &e->c.mem_fd, 1);
	vu_env_assert_ended(e, ++errors);
	for (unsigned int i = 0; i < 8; i++)
		wrong[i] = good;
	wrong[0].num_queues = 0;
	wrong[1].num_queues = 5;
	wrong[2].queue_size = 0;
	wrong[3].queue_size = 1025;
	wrong[4].size = 4 * 16; /* too small */
	wrong[5].size++;        /* does not divide */
	wrong[6].offset = 4;    /* not aligned */
	wrong[7].size = 0;
	for (unsigned int i = 0; i < 8; i++) {
		vu_env_ready(e, FEATURES);
		vu_client_send(&e->c, VU_SET_INFLIGHT_FD, 0, &wrong[i], sizeof(d), &e->c.mem_fd, 1);
		vu_env_assert_ended(e, ++errors);
	}
	for (unsigned int i = 0; i < 4; i++) {
		vu_env_ready(e, FEATURES);
		vu_client_send(&e->c, VU_GET_INFLIGHT_FD, 0, &wrong[i], sizeof(d), NULL, 0);
		vu_env_assert_ended(e, ++errors);
	}
	vu_env_ready(e, FEATURES);
	d = good;
	d.size = 1 << 24; /* longer than the file */
	assert_int_equal(vu_client_ask(&e->c, VU_SET_INFLIGHT_FD, &d, sizeof(d), &e->c.mem_fd, 1), 1);
	/* garbage in the area of a queue: that queue does not start, others do */
	assert_int_equal(vu_client_ask(&e->c, VU_SET_INFLIGHT_FD, &good, sizeof(d), &e->c.mem_fd, 1), 0);
	e->c.mem[8] = 77; /* version */
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 1);
	assert_int_equal(vu_client_ring(&e->c, 2, 256, 0), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, vu_env_setup, vu_env_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_shapes),           TEST(test_headers), TEST(test_unknown_asked),
		TEST(test_not_negotiated),   TEST(test_values),  TEST(test_wrong_descriptors),
		TEST(test_log_and_inflight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
