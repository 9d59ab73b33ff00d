/* SPDX-License-Identifier: Apache-2.0 */

/* Events on a control channel: put together, sent again until acknowledged, and never to a driver that is not there. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <string.h>

#include "channel_env.h"

static void test_event_coalesced(void **state)
{
	struct ch_env *t = *state;
	uint32_t seen[CH_FUNCTIONS] = {0};
	uint64_t session = ch_activate(t, 7);

	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	ch_change(t, 3, 1);
	ch_change(t, 3, 2);
	ch_change(t, 0, 7);
	assert_true(channel_deadline(t->channel) <= t->now);
	ch_pass(t, 0);
	assert_int_equal(ch_take_event(t, session, 1, seen), 2);
	assert_true(seen[3] == 2 && seen[0] == 7);
	/* What changes while it is on its way waits, and is told once. */
	ch_change(t, 3, 3);
	ch_change(t, 3, 4);
	ch_change(t, 5, 5);
	ch_pass(t, 50 * CH_MS);
	ch_assert_silent(t);
	ch_ack(t, session, 1);
	ch_pass(t, 0);
	assert_int_equal(ch_take_event(t, session, 2, seen), 2);
	assert_true(seen[3] == 4 && seen[5] == 5);
	ch_ack(t, session, 2);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	ch_pass(t, 100ull * CH_S);
	ch_assert_silent(t);
	assert_int_equal(ch_counters(t)->events, 2);
	assert_int_equal(ch_counters(t)->event_retries, 0);
}

static void test_event_retransmitted(void **state)
{
	static const unsigned int after[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};
	struct ch_env *t = *state;
	uint32_t seen[CH_FUNCTIONS] = {0};
	uint64_t session = ch_activate(t, 7);

	ch_change(t, 3, 1);
	ch_pass(t, 0);
	ch_take_event(t, session, 1, seen);
	for (size_t i = 0; i < ARRAY_SIZE(after); i++) {
		ch_pass(t, (after[i] - 1) * CH_MS);
		ch_assert_silent(t);
		ch_change(t, 3,
			  10 + (uint32_t)i); /* its record is the latest; the change itself is still to be
						   told */
		ch_pass(t, 1 * CH_MS);
		assert_int_equal(ch_take_event(t, session, 1, seen), 1);
		assert_int_equal(seen[3], 10 + i);
	}
	assert_int_equal(ch_counters(t)->event_retries, ARRAY_SIZE(after));
	ch_ack(t, session, 2); /* none was sent */
	ch_ack(t, session, 0);
	ch_ack(t, 4711, 1);
	ch_take(t, VPF_CTL_RESET);
	assert_int_equal(ch_counters(t)->replayed, 2);
	ch_ack(t, session, 1);
	ch_ack(t, session, 1); /* of a repetition */
	assert_int_equal(ch_counters(t)->replayed, 3);
	ch_pass(t, 0);
	assert_int_equal(ch_take_event(t, session, 2, seen), 1);
	ch_ack(t, session, 1); /* late, of the one before */
	ch_pass(t, 100 * CH_MS);
	ch_take_event(t, session, 2, seen);
	ch_ack(t, session, 2);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
}

static void test_events_of_all_functions(void **state)
{
	struct ch_env *t = *state;
	uint32_t seen[CH_FUNCTIONS] = {0}, sequence = 0;
	uint64_t session = ch_activate(t, 7);
	unsigned int n = 0;

	for (unsigned int fn = 0; fn < CH_FUNCTIONS; fn++)
		ch_change(t, fn, fn + 1);
	channel_dirty(t->channel, CH_FUNCTIONS); /* there is none */
	while (n < CH_FUNCTIONS) {
		ch_pass(t, 0);
		n += ch_take_event(t, session, ++sequence, seen);
		ch_ack(t, session, sequence);
	}
	assert_int_equal(n, CH_FUNCTIONS);
	assert_int_equal(sequence, 3); /* 37 in each */
	for (unsigned int fn = 0; fn < CH_FUNCTIONS; fn++)
		assert_int_equal(seen[fn], fn + 1);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
}

static void test_event_follows_the_reply(void **state)
{
	struct ch_env *t = *state;
	uint64_t session = ch_activate(t, 7);

	t->dirty_in_set = true;
	ch_receive(t, ch_set_rate(session, 2, 3, 30));
	ch_pass(t, 0);
	assert_int_equal(ch_status(t, session, 2), VPF_CTL_OK);
	ch_take_event(t, session, 1, NULL);
}

static void test_no_events_without_a_session(void **state)
{
	struct ch_env *t = *state;
	uint64_t session;

	channel_start(t->channel, t->now);
	ch_change(t, 3, 1);
	session = ch_hello(t, 7);
	ch_change(t, 3, 2);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	ch_receive(t, peer_get(session, 1, 3, 1));
	assert_int_equal(ch_record_value(ch_reply(t, session, 1), 0), 2);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	/* The next session does not inherit what the last one was not told, nor its sequences. */
	ch_change(t, 3, 3);
	ch_pass(t, 0);
	ch_take_event(t, session, 1, NULL);
	ch_change(t, 4, 4);
	session = ch_activate(t, 8);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	ch_change(t, 3, 4);
	ch_pass(t, 0);
	assert_int_equal(ch_take_event(t, session, 1, NULL), 1);
}

static void test_driver_that_is_gone(void **state)
{
	struct ch_env *t = *state;
	uint64_t session = ch_activate(t, 7);

	ch_change(t, 3, 1);
	ch_pass(t, 3600ull * CH_S);
	assert_int_equal(t->sent_n, 16);
	assert_int_equal(t->news[CHANNEL_LOST], 1);
	assert_true(channel_session(t->channel)->id == 0);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	/* It was only asleep: its first word brings it back. */
	t->sent_n = t->taken = 0;
	ch_ack(t, session, 1);
	assert_true(le64toh(peer_hdr(ch_take(t, VPF_CTL_RESET))->session) == session);
	ch_activate(t, 8);
}

/* A guest that is hung takes nothing; it has lost nothing when it comes back. */
static void test_guest_without_room(void **state)
{
	struct ch_env *t = *state;
	uint64_t session = ch_activate(t, 7);
	uint32_t seen[CH_FUNCTIONS] = {0};

	t->full = true;
	ch_change(t, 3, 1);
	ch_pass(t, 600ull * CH_S);
	ch_receive(t, ch_set_rate(session, 2, 3, 30)); /* the reply is lost */
	assert_true(ch_counters(t)->unsent > 100);
	assert_int_equal(ch_counters(t)->events, 0);
	t->full = false;
	ch_receive(t, ch_set_rate(session, 2, 3, 30));
	assert_int_equal(ch_status(t, session, 2), VPF_CTL_OK);
	assert_int_equal(t->sets, 1);
	ch_pass(t, 5ull * CH_S);
	assert_int_equal(ch_take_event(t, session, 1, seen), 1);
	assert_int_equal(seen[3], 30);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, ch_setup, ch_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_event_coalesced),
		TEST(test_event_retransmitted),
		TEST(test_events_of_all_functions),
		TEST(test_event_follows_the_reply),
		TEST(test_no_events_without_a_session),
		TEST(test_driver_that_is_gone),
		TEST(test_guest_without_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
