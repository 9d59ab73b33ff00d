/* SPDX-License-Identifier: Apache-2.0 */

/* Messages that wait until their device's owner has given back queues: nothing of them is done before,
 * nothing else is read, and whatever happens meanwhile the connection neither hangs nor leaks. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <time.h>

#include "vu_env.h"

#define FEATURES (F_VERSION_1 | F_EVENT_IDX | F_PROTOCOL)

static void start_two(struct vu_env *e)
{
	vu_env_ready(e, FEATURES);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	assert_int_equal(vu_client_ring(&e->c, 1, 256, 0), 0);
	e->asks = 0;
}

static int send_state(struct vu_env *e, uint32_t request, uint32_t flags, unsigned int index, uint32_t num)
{
	struct vu_ring_state state = {index, num};

	return vu_client_send(&e->c, request, flags, &state, sizeof(state), NULL, 0);
}

static void expect_base(struct vu_env *e, unsigned int index, uint32_t base)
{
	struct vu_ring_state state = {0};

	assert_int_equal(vu_client_receive(&e->c, VU_GET_VRING_BASE, &state, sizeof(state), NULL),
			 sizeof(state));
	assert_int_equal(state.index, index);
	assert_int_equal(state.num, base);
}

static void test_held_and_resumed(void **state)
{
	struct vu_env *e = *state;

	start_two(e);
	e->hold = true;
	assert_true(send_state(e, VU_GET_VRING_BASE, 0, 1, 0) >= 0);
	assert_int_equal(e->asks, 1);
	assert_int_equal(e->asked, 1);
	assert_non_null(e->q[1].q);
	assert_true(vu_client_quiet(&e->c));
	/* What comes behind it waits as well, though it stops nothing. */
	assert_true(send_state(e, VU_SET_VRING_ENABLE, VU_FLAG_NEED_REPLY, 0, 1) >= 0);
	assert_int_equal(e->q[0].enabled, -1);
	assert_true(vu_client_quiet(&e->c));

	/* Where the ring is when it is given back is what the front-end is told. */
	e->q[1].moved = true;
	e->q[1].avail_idx = e->q[1].used_idx = 77;
	vhost_user_resume(e->vu);
	assert_null(e->q[1].q);
	expect_base(e, 1, 77);
	vu_env_pump(e);
	assert_int_equal(e->q[0].enabled, 1);
	assert_int_equal(e->asks, 1);
	vhost_user_resume(e->vu); /* nothing is held */
	assert_non_null(e->q[0].q);
}

static void test_what_asks(void **state)
{
	struct vu_env *e = *state;
	struct vu_mem_reg reg;
	struct vu_ring_addr addr;
	uint64_t u = FEATURES;

	start_two(e);
	/* The same features again stop nothing; others do. */
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_FEATURES, u), 0);
	assert_int_equal(e->asks, 0);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_FEATURES, u & ~F_EVENT_IDX), 0);
	assert_int_equal(e->asks, 1);
	assert_int_equal(e->asked, -1);

	memset(&reg, 0, sizeof(reg));
	reg.region = vu_client_region(&e->c, 0, 0x10000);
	reg.region.gpa = 0x80000000;
	reg.region.uva += 0x10000000;
	assert_int_equal(vu_client_ask(&e->c, VU_ADD_MEM_REG, &reg, sizeof(reg), &e->c.mem_fd, 1), 0);
	assert_int_equal(e->asks, 2);
	assert_int_equal(vu_client_ask(&e->c, VU_REM_MEM_REG, &reg, sizeof(reg), NULL, 0), 0);
	assert_int_equal(e->asks, 3);
	vu_client_share_memory(&e->c, 0x100000);
	vu_env_pump(e);
	assert_int_equal(e->asks, 4);
	assert_int_equal(e->asked, -1);

	addr = vu_client_ring_addr(&e->c, 1);
	addr.index = 1;
	assert_int_equal(vu_client_ask(&e->c, VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), 0);
	assert_int_equal(e->asks, 5);
	assert_int_equal(e->asked, 1);
	assert_int_equal(vu_client_kick(&e->c, 0), 0);
	assert_int_equal(e->asks, 6);
	assert_int_equal(e->asked, 0);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_STATUS, 0xf), 0);
	assert_int_equal(e->asks, 6);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_STATUS, 0), 0);
	assert_int_equal(e->asks, 7);
	assert_null(e->q[0].q);
	/* Nothing runs: nothing to ask about. */
	assert_int_equal(vu_client_ask(&e->c, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	assert_int_equal(e->asks, 7);
}

/* A message that is bad, or of a queue that is not there, is none to ask about. */
static void test_bad_is_not_asked(void **state)
{
	struct vu_env *e = *state;

	start_two(e);
	e->hold = true;
	send_state(e, VU_GET_VRING_BASE, 0, 99, 0);
	assert_true(vu_client_hung_up(&e->c));
	assert_int_equal(e->asks, 0);
	assert_int_equal(e->disconnects, 1);
}

static void test_resumed_from_within(void **state)
{
	struct vu_env *e = *state;

	start_two(e);
	e->hold = e->resume_in_quiesce = true;
	assert_int_equal(vu_client_get_base(&e->c, 0), 0);
	assert_null(e->q[0].q);
	assert_int_equal(e->asks, 1);
}

static void test_disconnected_from_within(void **state)
{
	struct vu_env *e = *state;

	for (int hold = 0; hold < 2; hold++) {
		start_two(e);
		e->hold = hold;
		e->disconnect_in_quiesce = true;
		send_state(e, VU_GET_VRING_BASE, 0, 0, 0);
		assert_true(vu_client_hung_up(&e->c));
		assert_null(e->q[0].q);
		vu_client_disconnect(&e->c);
		e->hold = e->disconnect_in_quiesce = false;
	}
}

static void test_peer_gone(void **state)
{
	struct vu_env *e = *state;
	struct vu_memory table = {.n = 1};

	start_two(e);
	e->hold = true;
	table.regions[0] = vu_client_region(&e->c, 0, 0x100000);
	/* Its descriptors are the connection's, and go with it: see the teardown. */
	vu_client_send(&e->c, VU_SET_MEM_TABLE, 0, &table, 8 + sizeof(table.regions[0]), &e->c.mem_fd, 1);
	assert_int_equal(e->asked, -1);
	vu_client_disconnect(&e->c);
	vu_env_pump(e);
	assert_int_equal(e->disconnects, 1);
	assert_int_equal(e->q[0].stops, 1);
	vhost_user_resume(e->vu); /* late */

	/* and a new one is served */
	e->hold = false;
	start_two(e);
	/* Freed while it waits. */
	e->hold = true;
	send_state(e, VU_GET_VRING_BASE, 0, 0, 0);
	assert_int_equal(e->asks, 1);
	vhost_user_free(steal_ptr(&e->vu));
	assert_null(e->q[0].q);
}

static void test_failed_while_held(void **state)
{
	struct vu_env *e = *state;

	start_two(e);
	e->hold = true;
	send_state(e, VU_GET_VRING_BASE, 0, 0, 0);
	vhost_user_queue_failed(e->vu, 0, "broken");
	assert_null(e->q[0].q);
	assert_true(vu_client_quiet(&e->c));
	vhost_user_resume(e->vu);
	expect_base(e, 0, 0);
}

/* An owner that never answers: the message is handled all the same, and those behind it. */
static void test_never_resumed(void **state)
{
	struct vu_env *e = *state;
	struct timespec t0, t1;

	start_two(e);
	e->hold = true;
	send_state(e, VU_GET_VRING_BASE, 0, 0, 0);
	send_state(e, VU_GET_VRING_BASE, 0, 1, 0);
	clock_gettime(CLOCK_MONOTONIC, &t0);
	while (e->asks < 2)
		assert_true(sd_event_run(e->event, 10 * UINT64_C(1000000)) > 0);
	clock_gettime(CLOCK_MONOTONIC, &t1);
	assert_in_range((t1.tv_sec - t0.tv_sec) * 1000 + (t1.tv_nsec - t0.tv_nsec) / 1000000,
			VHOST_USER_HOLD_US / 1000 - 10, VHOST_USER_HOLD_US / 1000 + 5000);
	assert_null(e->q[0].q);
	expect_base(e, 0, 0);
	assert_non_null(e->q[1].q);
	vhost_user_resume(e->vu);
	expect_base(e, 1, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, vu_env_setup, vu_env_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_held_and_resumed),         TEST(test_what_asks),
		TEST(test_bad_is_not_asked),         TEST(test_resumed_from_within),
		TEST(test_disconnected_from_within), TEST(test_peer_gone),
		TEST(test_failed_while_held),        TEST(test_never_resumed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
