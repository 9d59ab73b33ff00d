/* SPDX-License-Identifier: Apache-2.0 */

/* Sessions of a control channel: drivers that retry, restart, forge and vanish; and what the end of the PF's function
 * means to them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <string.h>

#include "channel_env.h"

static void test_first_request_activates(void **state)
{
	struct ch_env *t = *state;
	uint64_t session;

	channel_start(t->channel, t->now);
	session = ch_hello(t, 7);
	assert_true(channel_session(t->channel)->id == 0);
	assert_int_equal(t->news[CHANNEL_HELLO], 0);
	ch_receive(t, peer_get(session, 1, 0, 1));
	assert_int_equal(ch_status(t, session, 1), VPF_CTL_OK);
	assert_true(channel_session(t->channel)->id == session);
	assert_string_equal(channel_session(t->channel)->driver, "0.1.0");
	assert_string_equal(channel_session(t->channel)->kernel, "6.12.0");
	assert_int_equal(t->news[CHANNEL_HELLO], 1);
	assert_int_equal(ch_counters(t)->hello, 1);
	assert_int_equal(ch_counters(t)->requests, 1);
	assert_int_equal(ch_counters(t)->replies, 2);
	assert_int_equal(ch_counters(t)->frames, 2);
}

static void test_hello_again(void **state)
{
	struct ch_env *t = *state;
	uint64_t session = ch_hello(t, 7);

	/* Its answer was lost: the same one. */
	assert_true(ch_hello(t, 7) == session);
	assert_true(ch_hello(t, 8) != session);
	/* That one is no more. */
	ch_receive(t, peer_get(session, 1, 0, 1));
	assert_true(le64toh(peer_hdr(ch_take(t, VPF_CTL_RESET))->session) == session);
	assert_true(channel_session(t->channel)->id == 0);
}

static void test_overheard_hello_ends_no_session(void **state)
{
	struct ch_env *t = *state;
	uint64_t old = ch_activate(t, 7), session, forged;

	session = ch_activate(t, 8);
	assert_true(old != session);
	/* The one before has ended. */
	ch_receive(t, peer_get(old, 2, 0, 1));
	assert_true(le64toh(peer_hdr(ch_take(t, VPF_CTL_RESET))->session) == old);
	/* HELLOs of the past: of the active session, which gets no answer, and of an older one. */
	ch_receive(t, peer_hello(8));
	ch_assert_silent(t);
	assert_int_equal(ch_counters(t)->replayed, 1);
	forged = ch_hello(t, 7);
	/* And the old session's requests: they are not the new one's. */
	t->now += 1 * CH_S;
	ch_receive(t, peer_get(old, 1, 0, 1));
	ch_take(t, VPF_CTL_RESET);
	assert_true(forged != old);
	/* The active session never noticed. */
	ch_receive(t, ch_set_rate(session, 2, 3, 30));
	assert_int_equal(ch_status(t, session, 2), VPF_CTL_OK);
	assert_int_equal(t->news[CHANNEL_HELLO], 2);
}

static void test_pending_session_needs_a_request(void **state)
{
	struct ch_env *t = *state;
	uint64_t session = ch_activate(t, 7), pending = ch_hello(t, 9);

	ch_receive(t, peer_message(peer_key, VPF_CTL_EVENT_ACK, pending, 1, NULL, 0));
	ch_receive(t, peer_get(pending, 0, 0, 1)); /* no sequence that a request can have */
	ch_assert_silent(t);
	assert_int_equal(ch_counters(t)->replayed, 2);
	assert_true(channel_session(t->channel)->id == session);
	ch_receive(t, peer_message(peer_key, VPF_CTL_BYE, pending, 0, NULL, 0));
	ch_receive(t, peer_get(pending, 1, 0, 1));
	ch_take(t, VPF_CTL_RESET);
	assert_true(channel_session(t->channel)->id == session);
	assert_int_equal(t->news[CHANNEL_BYE], 0);
}

static void test_versions(void **state)
{
	struct ch_env *t = *state;
	struct vpf_ctl_hello_reply *b;
	struct peer_frame *f;

	ch_receive(t, peer_hello_versions(5, 2, 9));
	f = ch_take(t, VPF_CTL_HELLO_REPLY);
	b = peer_body(f);
	assert_true(peer_hdr(f)->session == 0);
	assert_true(le64toh(b->nonce) == 5);
	assert_int_equal(le16toh(b->status), VPF_CTL_VERSION_UNKNOWN);
	assert_int_equal(b->min_version, 1);
	assert_int_equal(b->max_version, 1);
	ch_receive(t, peer_hello_versions(6, 0, 0));
	assert_int_equal(
		le16toh(((struct vpf_ctl_hello_reply *)peer_body(ch_take(t, VPF_CTL_HELLO_REPLY)))->status),
		VPF_CTL_VERSION_UNKNOWN);
	ch_receive(t, peer_hello_versions(7, 0, 255));
	assert_int_equal(
		le16toh(((struct vpf_ctl_hello_reply *)peer_body(ch_take(t, VPF_CTL_HELLO_REPLY)))->status),
		VPF_CTL_OK);
}

static void test_session_ids_are_never_zero_nor_taken(void **state)
{
	struct ch_env *t = *state;
	uint64_t session = ch_activate(t, 1), pending = ch_hello(t, 2);

	t->next_random = 0;
	assert_true(ch_hello(t, 3) == 1);
	t->next_random = session;
	assert_true(ch_hello(t, 4) != session);
	t->next_random = pending;
	ch_hello(t, 5);
	assert_true(channel_session(t->channel)->id == session);
}

static void test_bye(void **state)
{
	struct ch_env *t = *state;
	uint64_t session = ch_activate(t, 7);

	channel_dirty(t->channel, 3);
	ch_receive(t, peer_message(peer_key, VPF_CTL_BYE, session, 0, NULL, 0));
	assert_true(channel_session(t->channel)->id == 0);
	assert_int_equal(t->news[CHANNEL_BYE], 1);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	/* Again, it is unknown, and a RESET would be asking it back. */
	ch_receive(t, peer_message(peer_key, VPF_CTL_BYE, session, 0, NULL, 0));
	assert_int_equal(ch_counters(t)->unknown_session, 1);
	ch_assert_silent(t);
	ch_receive(t, peer_get(session, 2, 0, 1));
	ch_take(t, VPF_CTL_RESET);
}

static void test_reset_to_unknown_sessions_is_rare(void **state)
{
	struct ch_env *t = *state;

	channel_start(t->channel, t->now);
	ch_hello(t, 1);
	for (unsigned int ms = 0; ms < 1000; ms++) {
		ch_receive(t, peer_get(4711, 1, 0, 1));
		t->now += 1 * CH_MS;
	}
	assert_int_equal(ch_counters(t)->unknown_session, 1000);
	assert_int_equal(t->sent_n, 10);
	assert_int_equal(ch_counters(t)->resets, 10);
}

static void test_another_key_ends_sessions(void **state)
{
	static const uint8_t other[VPF_CTL_KEY_LEN] = {1};
	struct ch_env *t = *state;
	uint64_t session = ch_activate(t, 7);

	channel_set_key(t->channel, peer_key);
	assert_true(channel_session(t->channel)->id == session);
	channel_set_key(t->channel, other);
	assert_true(channel_session(t->channel)->id == 0);
	assert_int_equal(t->news[CHANNEL_LOST], 1);
	ch_receive(t, peer_hello(8));
	ch_assert_silent(t);
	assert_int_equal(ch_counters(t)->bad_tag, 1);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	/* A RESET under a key that the guest does not have yet would be in vain. */
	channel_stop(t->channel, t->now);
	channel_start(t->channel, t->now);
	assert_true(channel_deadline(t->channel) != CHANNEL_NEVER);
	channel_set_key(t->channel, peer_key);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
}

static void test_reset_after_start(void **state)
{
	static const unsigned int after[] = {100, 200, 400, 800, 1600};
	struct ch_env *t = *state;

	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	channel_start(t->channel, t->now);
	for (size_t i = 0; i < ARRAY_SIZE(after); i++) {
		ch_pass(t, (after[i] - 1) * CH_MS);
		ch_assert_silent(t);
		ch_pass(t, 1 * CH_MS);
		assert_true(peer_hdr(ch_take(t, VPF_CTL_RESET))->session == 0);
	}
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	assert_int_equal(ch_counters(t)->resets, 5);
}

static void test_hello_ends_resets(void **state)
{
	struct ch_env *t = *state;

	channel_start(t->channel, t->now);
	ch_pass(t, 150 * CH_MS);
	ch_take(t, VPF_CTL_RESET);
	ch_receive(t, peer_get(4711, 5, 0, 1)); /* of the session before; says what the driver need know */
	assert_true(le64toh(peer_hdr(ch_take(t, VPF_CTL_RESET))->session) == 4711);
	ch_hello(t, 1);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
}

static void test_short_stop(void **state)
{
	struct ch_env *t = *state;
	uint64_t session = ch_activate(t, 7);

	channel_stop(t->channel, t->now);
	ch_change(t, 3, 1);
	ch_pass(t, 1500 * CH_MS);
	ch_assert_silent(t);
	channel_start(t->channel, t->now);
	ch_pass(t, 10 * CH_MS);
	ch_take_event(t, session, 1, NULL);
	/* With an event on its way. */
	channel_stop(t->channel, t->now);
	ch_pass(t, 1500 * CH_MS);
	ch_assert_silent(t);
	channel_start(t->channel, t->now);
	ch_pass(t, 10 * CH_MS);
	ch_take_event(t, session, 1, NULL);
	ch_ack(t, session, 1);
	assert_int_equal(t->news[CHANNEL_LOST], 0);
	/* No driver was asked for a HELLO, nor is one when it leaves by itself. */
	ch_receive(t, peer_message(peer_key, VPF_CTL_BYE, session, 0, NULL, 0));
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	assert_int_equal(ch_counters(t)->resets, 0);
}

static void test_stop_ends_sessions(void **state)
{
	struct ch_env *t = *state;
	uint64_t session = ch_activate(t, 7), pending = ch_hello(t, 8);

	ch_change(t, 3, 1);
	channel_stop(t->channel, t->now);
	channel_stop(t->channel, t->now + 1 * CH_S); /* is no news */
	ch_pass(t, 2 * CH_S);
	assert_true(channel_session(t->channel)->id == 0);
	assert_int_equal(t->news[CHANNEL_LOST], 1);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	ch_receive(t, peer_get(pending, 1, 0, 1));
	ch_take(t, VPF_CTL_RESET);
	channel_start(t->channel, t->now);
	ch_pass(t, 100 * CH_MS);
	assert_true(peer_hdr(ch_take(t, VPF_CTL_RESET))->session == 0);
	assert_true(ch_activate(t, 9) != session);
}

/* The VM was reset, and is back before the session before has ended. */
static void test_warm_reboot(void **state)
{
	struct ch_env *t = *state;
	uint64_t session = ch_activate(t, 7);

	channel_stop(t->channel, t->now);
	ch_pass(t, 500 * CH_MS);
	assert_true(ch_activate(t, 8) != session);
	ch_change(t, 3, 1);
	ch_pass(t, 0);
	ch_take_event(t, channel_session(t->channel)->id, 1, NULL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, ch_setup, ch_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_first_request_activates),
		TEST(test_hello_again),
		TEST(test_overheard_hello_ends_no_session),
		TEST(test_pending_session_needs_a_request),
		TEST(test_versions),
		TEST(test_session_ids_are_never_zero_nor_taken),
		TEST(test_bye),
		TEST(test_reset_to_unknown_sessions_is_rare),
		TEST(test_another_key_ends_sessions),
		TEST(test_reset_after_start),
		TEST(test_hello_ends_resets),
		TEST(test_short_stop),
		TEST(test_stop_ends_sessions),
		TEST(test_warm_reboot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
