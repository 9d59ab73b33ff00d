/* SPDX-License-Identifier: Apache-2.0 */

/* Requests on a control channel: what is done once though it comes twice, replayed, reordered, forged. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <string.h>

#include "channel_env.h"

static void test_retry_is_done_once(void **state)
{
	struct ch_env *t = *state;
	uint64_t session = ch_activate(t, 7);
	const struct vpf_ctl_reply *b;

	ch_receive(t, ch_set_rate(session, 2, 3, 30));
	assert_int_equal(ch_record_value(ch_reply(t, session, 2), 0), 30);
	for (int i = 0; i < 3; i++) {
		ch_receive(t, ch_set_rate(session, 2, 3, 30));
		b = ch_reply(t, session, 2);
		assert_int_equal(le16toh(b->status), VPF_CTL_OK);
		assert_int_equal(b->request, VPF_CTL_SET);
		assert_int_equal(le16toh(b->first), 3);
		assert_int_equal(le16toh(b->count), 1);
	}
	assert_int_equal(t->sets, 1);
	assert_int_equal(ch_counters(t)->repeated, 3);
	assert_int_equal(ch_counters(t)->requests, 2);
	/* A retry that comes late does not bring old news. */
	t->value[3] = 99;
	ch_receive(t, ch_set_rate(session, 2, 3, 30));
	assert_int_equal(ch_record_value(ch_reply(t, session, 2), 0), 99);
}

static void test_refusal_is_kept_too(void **state)
{
	struct ch_env *t = *state;
	uint64_t session = ch_activate(t, 7);
	const struct vpf_ctl_reply *b;

	t->set_status = VPF_CTL_DENIED;
	ch_receive(t, ch_set_rate(session, 2, 3, 30));
	b = ch_reply(t, session, 2);
	assert_int_equal(le16toh(b->status), VPF_CTL_DENIED);
	assert_int_equal(le16toh(b->count), 0);
	assert_string_equal(b->text, "because");
	t->set_status = VPF_CTL_OK;
	ch_receive(t, ch_set_rate(session, 2, 3, 30));
	b = ch_reply(t, session, 2);
	assert_int_equal(le16toh(b->status), VPF_CTL_DENIED);
	assert_string_equal(b->text, "because");
	assert_int_equal(t->sets, 1);
	assert_int_equal(ch_counters(t)->refused, 1);
	/* And the next one is not answered with it. */
	ch_receive(t, ch_set_rate(session, 3, 3, 30));
	b = ch_reply(t, session, 3);
	assert_int_equal(le16toh(b->status), VPF_CTL_OK);
	assert_string_equal(b->text, "");
}

static void test_replay_and_reorder(void **state)
{
	struct ch_env *t = *state;
	uint64_t session = ch_activate(t, 7);

	ch_receive(t, ch_set_rate(session, 10, 3, 30));
	assert_int_equal(ch_status(t, session, 10), VPF_CTL_OK);
	ch_receive(t, ch_set_rate(session, 9, 3, 20)); /* came late */
	ch_receive(t, peer_get(session, 1, 0, 1));     /* overheard */
	ch_receive(t, ch_set_rate(session, 0, 3, 20));
	ch_assert_silent(t);
	assert_int_equal(ch_counters(t)->replayed, 3);
	assert_int_equal(t->value[3], 30);
	ch_receive(t, ch_set_rate(session, 0xffffffff, 3, 40));
	assert_int_equal(ch_status(t, session, 0xffffffff), VPF_CTL_OK);
	assert_int_equal(t->sets, 2);
}

static void test_forged_frames(void **state)
{
	static const uint8_t other[VPF_CTL_KEY_LEN] = {1};
	struct ch_env *t = *state;
	uint64_t session = ch_activate(t, 7);
	struct peer_frame f = ch_set_rate(session, 2, 3, 30);

	peer_sign(&f, other);
	ch_receive(t, f);
	((struct vpf_ctl_set *)peer_body(&f))->max_rate = 1;
	ch_receive(t, f);
	f = ch_set_rate(session, 2, 3, 30);
	peer_hdr(&f)->version = 2;
	ch_receive(t, f);
	f.len = 40;
	ch_receive(t, f);
	f.len = 0;
	ch_receive(t, f);
	ch_assert_silent(t);
	assert_int_equal(t->sets, 0);
	assert_int_equal(ch_counters(t)->bad_tag, 2);
	assert_int_equal(ch_counters(t)->bad_version, 1);
	assert_int_equal(ch_counters(t)->malformed, 2);
	ch_receive(t, ch_set_rate(session, 2, 3, 30));
	assert_int_equal(ch_status(t, session, 2), VPF_CTL_OK);
}

static void test_ranges(void **state)
{
	static const struct {
		uint8_t type;
		uint16_t first, count, status, got;
	} cases[] = {
		{VPF_CTL_GET, 0, 1, VPF_CTL_OK, 1},
		{VPF_CTL_GET, 0, 65535, VPF_CTL_OK, 34},
		{VPF_CTL_GET, 90, 65535, VPF_CTL_OK, CH_FUNCTIONS - 90},
		{VPF_CTL_GET, CH_FUNCTIONS - 1, 1, VPF_CTL_OK, 1},
		{VPF_CTL_GET, CH_FUNCTIONS, 1, VPF_CTL_NO_FUNCTION, 0},
		{VPF_CTL_GET, 65535, 65535, VPF_CTL_NO_FUNCTION, 0},
		{VPF_CTL_GET, 0, 0, VPF_CTL_INVALID, 0},
		{VPF_CTL_STATS, 5, 65535, VPF_CTL_OK, 14},
		{VPF_CTL_STATS, CH_FUNCTIONS - 2, 14, VPF_CTL_OK, 2},
		{VPF_CTL_STATS, CH_FUNCTIONS, 1, VPF_CTL_NO_FUNCTION, 0},
	};
	struct ch_env *t = *state;
	uint64_t session = ch_activate(t, 7);

	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t size = cases[i].type == VPF_CTL_GET ? sizeof(struct vpf_ctl_function)
							   : sizeof(struct vpf_ctl_stats);
		struct peer_frame *f;
		struct vpf_ctl_reply *b;
		size_t body;

		ch_receive(t, peer_range(cases[i].type, session, i + 2, cases[i].first, cases[i].count));
		f = ch_take(t, VPF_CTL_REPLY);
		body = peer_check(f, peer_key);
		b = peer_body(f);
		assert_int_equal(le16toh(b->status), cases[i].status);
		assert_int_equal(b->request, cases[i].type);
		assert_int_equal(le16toh(b->count), cases[i].got);
		assert_int_equal(body, sizeof(*b) + cases[i].got * size);
		assert_true(cases[i].status == VPF_CTL_OK ? !b->text[0] : b->text[0]);
		for (uint16_t n = 0; n < cases[i].got; n++) {
			uint16_t function;

			memcpy(&function, (uint8_t *)(b + 1) + n * size, 2);
			assert_int_equal(le16toh(function), cases[i].first + n);
		}
	}
}

static void test_set_of_functions_that_cannot_be_set(void **state)
{
	struct ch_env *t = *state;
	uint64_t session = ch_activate(t, 7);

	ch_receive(t, ch_set_rate(session, 2, 0, 1));
	assert_int_equal(ch_status(t, session, 2), VPF_CTL_INVALID);
	ch_receive(t, ch_set_rate(session, 3, CH_FUNCTIONS, 1));
	assert_int_equal(ch_status(t, session, 3), VPF_CTL_NO_FUNCTION);
	ch_receive(t, ch_set_rate(session, 4, 65535, 1));
	assert_int_equal(ch_status(t, session, 4), VPF_CTL_NO_FUNCTION);
	assert_int_equal(t->sets, 0);
	ch_receive(t, ch_set_rate(session, 5, CH_FUNCTIONS - 1, 1));
	assert_int_equal(ch_status(t, session, 5), VPF_CTL_OK);
}

static void test_request_of_a_newer_driver(void **state)
{
	struct ch_env *t = *state;
	uint64_t session = ch_activate(t, 7);

	ch_receive(t, peer_message(peer_key, 0x42, session, 2, "more", 4));
	assert_int_equal(ch_status(t, session, 2), VPF_CTL_UNSUPPORTED);
	ch_receive(t, peer_message(peer_key, 0x42, 4711, 2, "more", 4));
	ch_take(t, VPF_CTL_RESET);
}

/* The outcome of one that takes time: once, when it is there, and kept as any other. */
static void test_answer_that_comes_later(void **state)
{
	struct ch_env *t = *state;
	uint64_t session = ch_activate(t, 7), number;

	channel_start(t->channel, t->now);
	t->set_status = CHANNEL_LATER;
	ch_receive(t, ch_set_rate(session, 2, 5, 10));
	number = t->set_number;
	ch_assert_silent(t);
	ch_receive(t, ch_set_rate(session, 2, 5, 10)); /* its driver is impatient */
	ch_assert_silent(t);
	assert_int_equal(t->sets, 1);
	channel_answer(t->channel, number + 1, VPF_CTL_OK, "");
	ch_assert_silent(t);

	t->value[5] = 10;
	channel_answer(t->channel, number, VPF_CTL_OK, "");
	assert_int_equal(ch_record_value(ch_reply(t, session, 2), 0), 10);
	channel_answer(t->channel, number, VPF_CTL_DENIED, "twice");
	ch_assert_silent(t);
	ch_receive(t, ch_set_rate(session, 2, 5, 10));
	assert_int_equal(ch_status(t, session, 2), VPF_CTL_OK);
	assert_int_equal(t->sets, 1);

	ch_receive(t, ch_set_rate(session, 3, 5, 20));
	channel_answer(t->channel, t->set_number, VPF_CTL_DENIED, "because");
	assert_int_equal(ch_status(t, session, 3), VPF_CTL_DENIED);
	assert_int_equal(ch_counters(t)->refused, 1);
}

/* A driver that asks for something else has given up, as has one with another session; neither hears of it. */
static void test_answer_that_comes_too_late(void **state)
{
	struct ch_env *t = *state;
	uint64_t session = ch_activate(t, 7), number;

	channel_start(t->channel, t->now);
	t->set_status = CHANNEL_LATER;
	ch_receive(t, ch_set_rate(session, 2, 5, 10));
	number = t->set_number;
	ch_receive(t, peer_range(VPF_CTL_GET, session, 3, 0, 1));
	assert_int_equal(ch_status(t, session, 3), VPF_CTL_OK);
	channel_answer(t->channel, number, VPF_CTL_OK, "");
	ch_assert_silent(t);

	ch_receive(t, ch_set_rate(session, 4, 5, 10));
	number = t->set_number;
	session = ch_activate(t, 8);
	channel_answer(t->channel, number, VPF_CTL_OK, "");
	ch_assert_silent(t);

	/* It is kept while function 0 is stopped, for when the request is repeated. */
	ch_receive(t, ch_set_rate(session, 5, 5, 10));
	channel_stop(t->channel, t->now);
	channel_answer(t->channel, t->set_number, VPF_CTL_OK, "");
	ch_assert_silent(t);
	channel_start(t->channel, t->now);
	ch_receive(t, ch_set_rate(session, 5, 5, 10));
	assert_int_equal(ch_status(t, session, 5), VPF_CTL_OK);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, ch_setup, ch_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_retry_is_done_once),
		TEST(test_refusal_is_kept_too),
		TEST(test_replay_and_reorder),
		TEST(test_forged_frames),
		TEST(test_ranges),
		TEST(test_set_of_functions_that_cannot_be_set),
		TEST(test_request_of_a_newer_driver),
		TEST(test_answer_that_comes_later),
		TEST(test_answer_that_comes_too_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
