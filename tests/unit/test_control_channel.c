/* SPDX-License-Identifier: Apache-2.0 */

/* One channel against drivers that retry, restart, replay, forge and vanish. Time is the test's own. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "control/bucket.h"
#include "control/channel.h"
#include "ctl_peer.h"

#define FUNCTIONS 101
#define MS        1000u
#define S         1000000u
#define SENT_MAX  64

struct fixture {
	struct channel *channel;
	uint64_t now;
	struct peer_frame sent[SENT_MAX];
	unsigned int sent_n, taken;
	bool full; /* the guest has no room */
	uint64_t next_random;
	uint32_t value[FUNCTIONS]; /* a function's state: shown as max_rate */
	unsigned int sets;
	uint16_t set_status;
	bool dirty_in_set;
	unsigned int news[3];
};

static bool on_send(void *ctx, const uint8_t *frame, size_t len)
{
	struct fixture *t = ctx;

	if (t->full)
		return false;
	assert_true(t->sent_n < SENT_MAX);
	memcpy(t->sent[t->sent_n].bytes, frame, len);
	t->sent[t->sent_n].len = len;
	peer_check(&t->sent[t->sent_n++], peer_key);
	return true;
}

static uint64_t on_random(void *ctx)
{
	struct fixture *t = ctx;

	return t->next_random++;
}

static void on_describe(void *ctx, struct vpf_ctl_hello_reply *ret)
{
	(void)ctx;
	ret->vfs = htole16(FUNCTIONS - 1);
	ret->capabilities = htole32(VPF_CTL_SETTINGS);
}

static void on_record(void *ctx, unsigned int function, struct vpf_ctl_function *ret)
{
	struct fixture *t = ctx;

	assert_true(function < FUNCTIONS);
	ret->function = htole16((uint16_t)function);
	ret->max_rate = htole32(t->value[function]);
}

static void on_stats(void *ctx, unsigned int function, struct vpf_ctl_stats *ret)
{
	(void)ctx;
	assert_true(function < FUNCTIONS);
	ret->function = htole16((uint16_t)function);
	ret->rx_packets = htole64(1000 + function);
}

static uint16_t on_set(void *ctx, const struct ctl_set *set, char text[CTL_TEXT_MAX])
{
	struct fixture *t = ctx;

	assert_true(set->function >= 1 && set->function < FUNCTIONS);
	t->sets++;
	if (t->set_status) {
		snprintf(text, CTL_TEXT_MAX, "because");
		return t->set_status;
	}
	t->value[set->function] = set->max_rate;
	if (t->dirty_in_set)
		channel_dirty(t->channel, set->function);
	return VPF_CTL_OK;
}

static void on_news(void *ctx, enum channel_news news)
{
	((struct fixture *)ctx)->news[news]++;
}

static const struct channel_ops ops = {
	.send = on_send,
	.random = on_random,
	.describe = on_describe,
	.record = on_record,
	.stats = on_stats,
	.set = on_set,
	.news = on_news,
};

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));
	struct channel_config config = {.ops = &ops, .ctx = t, .functions = FUNCTIONS};

	assert_non_null(t);
	t->next_random = 100;
	memcpy(config.key, peer_key, sizeof(config.key));
	assert_int_equal(channel_new(&config, &t->channel), 0);
	t->now = 10ull * S;
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	channel_free(t->channel);
	free(t);
	return 0;
}

static const struct channel_counters *counters(const struct fixture *t)
{
	return channel_counters(t->channel);
}

static void receive(struct fixture *t, struct peer_frame f)
{
	channel_receive(t->channel, t->now, f.bytes, f.len);
}

/* The next message that was sent; it must be of this type. */
static struct peer_frame *take(struct fixture *t, uint8_t type)
{
	struct peer_frame *f = &t->sent[t->taken];

	assert_true(t->taken < t->sent_n);
	assert_int_equal(peer_hdr(f)->type, type);
	if (++t->taken == t->sent_n)
		t->taken = t->sent_n = 0; /* what is there stays until something else is sent */
	return f;
}

static void assert_silent(const struct fixture *t)
{
	assert_int_equal(t->sent_n - t->taken, 0);
}

/* Lets time pass as the owner of the channel would, up to `until`. */
static void pass(struct fixture *t, uint64_t us)
{
	uint64_t until = t->now + us;

	while (channel_deadline(t->channel) <= until) {
		t->now = MAX(t->now, channel_deadline(t->channel));
		channel_tick(t->channel, t->now);
	}
	t->now = until;
}

/* A pending session for a HELLO with this nonce. */
static uint64_t hello(struct fixture *t, uint64_t nonce)
{
	struct peer_frame *f;
	struct vpf_ctl_hello_reply *b;

	receive(t, peer_hello(nonce));
	f = take(t, VPF_CTL_HELLO_REPLY);
	b = peer_body(f);
	assert_true(le64toh(b->nonce) == nonce);
	assert_int_equal(le16toh(b->status), VPF_CTL_OK);
	assert_int_equal(b->version, 1);
	assert_int_equal(le16toh(b->vfs), FUNCTIONS - 1);
	assert_true(peer_hdr(f)->session != 0);
	return le64toh(peer_hdr(f)->session);
}

/* The reply to a request with this sequence. */
static struct vpf_ctl_reply *reply(struct fixture *t, uint64_t session, uint32_t sequence)
{
	struct peer_frame *f = take(t, VPF_CTL_REPLY);

	assert_true(le64toh(peer_hdr(f)->session) == session);
	assert_int_equal(le32toh(peer_hdr(f)->sequence), sequence);
	return peer_body(f);
}

static uint16_t status(struct fixture *t, uint64_t session, uint32_t sequence)
{
	return le16toh(reply(t, session, sequence)->status);
}

/* An active session; its last sequence is 1. */
static uint64_t activate(struct fixture *t, uint64_t nonce)
{
	uint64_t session;

	channel_start(t->channel, t->now);
	session = hello(t, nonce);
	receive(t, peer_get(session, 1, 0, 1));
	assert_int_equal(status(t, session, 1), VPF_CTL_OK);
	assert_true(channel_session(t->channel)->id == session);
	return session;
}

static struct peer_frame set_rate(uint64_t session, uint32_t sequence, uint16_t function, uint32_t rate)
{
	struct vpf_ctl_set b = {
		.function = htole16(function), .mask = htole16(VPF_CTL_RATE), .max_rate = htole32(rate)};

	return peer_set(session, sequence, &b);
}

/* The value of the `i`th record behind a reply. */
static uint32_t record_value(const struct vpf_ctl_reply *b, unsigned int i)
{
	struct vpf_ctl_function f;

	memcpy(&f, (const uint8_t *)(b + 1) + i * sizeof(f), sizeof(f));
	return le32toh(f.max_rate);
}

/* Sessions */

static void test_first_request_activates(void **state)
{
	struct fixture *t = *state;
	uint64_t session;

	channel_start(t->channel, t->now);
	session = hello(t, 7);
	assert_true(channel_session(t->channel)->id == 0);
	assert_int_equal(t->news[CHANNEL_HELLO], 0);
	receive(t, peer_get(session, 1, 0, 1));
	assert_int_equal(status(t, session, 1), VPF_CTL_OK);
	assert_true(channel_session(t->channel)->id == session);
	assert_string_equal(channel_session(t->channel)->driver, "0.1.0");
	assert_string_equal(channel_session(t->channel)->kernel, "6.12.0");
	assert_int_equal(t->news[CHANNEL_HELLO], 1);
	assert_int_equal(counters(t)->hello, 1);
	assert_int_equal(counters(t)->requests, 1);
	assert_int_equal(counters(t)->replies, 2);
	assert_int_equal(counters(t)->frames, 2);
}

static void test_hello_again(void **state)
{
	struct fixture *t = *state;
	uint64_t session = hello(t, 7);

	/* Its answer was lost: the same one. */
	assert_true(hello(t, 7) == session);
	assert_true(hello(t, 8) != session);
	/* That one is no more. */
	receive(t, peer_get(session, 1, 0, 1));
	assert_true(le64toh(peer_hdr(take(t, VPF_CTL_RESET))->session) == session);
	assert_true(channel_session(t->channel)->id == 0);
}

static void test_overheard_hello_ends_no_session(void **state)
{
	struct fixture *t = *state;
	uint64_t old = activate(t, 7), session, forged;

	session = activate(t, 8);
	assert_true(old != session);
	/* The one before has ended. */
	receive(t, peer_get(old, 2, 0, 1));
	assert_true(le64toh(peer_hdr(take(t, VPF_CTL_RESET))->session) == old);
	/* HELLOs of the past: of the active session, which gets no answer, and of an older one. */
	receive(t, peer_hello(8));
	assert_silent(t);
	assert_int_equal(counters(t)->replayed, 1);
	forged = hello(t, 7);
	/* And the old session's requests: they are not the new one's. */
	t->now += 1 * S;
	receive(t, peer_get(old, 1, 0, 1));
	take(t, VPF_CTL_RESET);
	assert_true(forged != old);
	/* The active session never noticed. */
	receive(t, set_rate(session, 2, 3, 30));
	assert_int_equal(status(t, session, 2), VPF_CTL_OK);
	assert_int_equal(t->news[CHANNEL_HELLO], 2);
}

static void test_pending_session_needs_a_request(void **state)
{
	struct fixture *t = *state;
	uint64_t session = activate(t, 7), pending = hello(t, 9);

	receive(t, peer_message(peer_key, VPF_CTL_EVENT_ACK, pending, 1, NULL, 0));
	receive(t, peer_get(pending, 0, 0, 1)); /* no sequence that a request can have */
	assert_silent(t);
	assert_int_equal(counters(t)->replayed, 2);
	assert_true(channel_session(t->channel)->id == session);
	receive(t, peer_message(peer_key, VPF_CTL_BYE, pending, 0, NULL, 0));
	receive(t, peer_get(pending, 1, 0, 1));
	take(t, VPF_CTL_RESET);
	assert_true(channel_session(t->channel)->id == session);
	assert_int_equal(t->news[CHANNEL_BYE], 0);
}

static void test_versions(void **state)
{
	struct fixture *t = *state;
	struct vpf_ctl_hello_reply *b;
	struct peer_frame *f;

	receive(t, peer_hello_versions(5, 2, 9));
	f = take(t, VPF_CTL_HELLO_REPLY);
	b = peer_body(f);
	assert_true(peer_hdr(f)->session == 0);
	assert_true(le64toh(b->nonce) == 5);
	assert_int_equal(le16toh(b->status), VPF_CTL_VERSION_UNKNOWN);
	assert_int_equal(b->min_version, 1);
	assert_int_equal(b->max_version, 1);
	receive(t, peer_hello_versions(6, 0, 0));
	assert_int_equal(
		le16toh(((struct vpf_ctl_hello_reply *)peer_body(take(t, VPF_CTL_HELLO_REPLY)))->status),
		VPF_CTL_VERSION_UNKNOWN);
	receive(t, peer_hello_versions(7, 0, 255));
	assert_int_equal(
		le16toh(((struct vpf_ctl_hello_reply *)peer_body(take(t, VPF_CTL_HELLO_REPLY)))->status),
		VPF_CTL_OK);
}

static void test_session_ids_are_never_zero_nor_taken(void **state)
{
	struct fixture *t = *state;
	uint64_t session = activate(t, 1), pending = hello(t, 2);

	t->next_random = 0;
	assert_true(hello(t, 3) == 1);
	t->next_random = session;
	assert_true(hello(t, 4) != session);
	t->next_random = pending;
	hello(t, 5);
	assert_true(channel_session(t->channel)->id == session);
}

static void test_bye(void **state)
{
	struct fixture *t = *state;
	uint64_t session = activate(t, 7);

	channel_dirty(t->channel, 3);
	receive(t, peer_message(peer_key, VPF_CTL_BYE, session, 0, NULL, 0));
	assert_true(channel_session(t->channel)->id == 0);
	assert_int_equal(t->news[CHANNEL_BYE], 1);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	/* Again, it is unknown, and a RESET would be asking it back. */
	receive(t, peer_message(peer_key, VPF_CTL_BYE, session, 0, NULL, 0));
	assert_int_equal(counters(t)->unknown_session, 1);
	assert_silent(t);
	receive(t, peer_get(session, 2, 0, 1));
	take(t, VPF_CTL_RESET);
}

static void test_reset_to_unknown_sessions_is_rare(void **state)
{
	struct fixture *t = *state;

	channel_start(t->channel, t->now);
	hello(t, 1);
	for (unsigned int ms = 0; ms < 1000; ms++) {
		receive(t, peer_get(4711, 1, 0, 1));
		t->now += 1 * MS;
	}
	assert_int_equal(counters(t)->unknown_session, 1000);
	assert_int_equal(t->sent_n, 10);
	assert_int_equal(counters(t)->resets, 10);
}

static void test_another_key_ends_sessions(void **state)
{
	static const uint8_t other[VPF_CTL_KEY_LEN] = {1};
	struct fixture *t = *state;
	uint64_t session = activate(t, 7);

	channel_set_key(t->channel, peer_key);
	assert_true(channel_session(t->channel)->id == session);
	channel_set_key(t->channel, other);
	assert_true(channel_session(t->channel)->id == 0);
	assert_int_equal(t->news[CHANNEL_LOST], 1);
	receive(t, peer_hello(8));
	assert_silent(t);
	assert_int_equal(counters(t)->bad_tag, 1);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	/* A RESET under a key that the guest does not have yet would be in vain. */
	channel_stop(t->channel, t->now);
	channel_start(t->channel, t->now);
	assert_true(channel_deadline(t->channel) != CHANNEL_NEVER);
	channel_set_key(t->channel, peer_key);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
}

/* Requests */

static void test_retry_is_done_once(void **state)
{
	struct fixture *t = *state;
	uint64_t session = activate(t, 7);
	const struct vpf_ctl_reply *b;

	receive(t, set_rate(session, 2, 3, 30));
	assert_int_equal(record_value(reply(t, session, 2), 0), 30);
	for (int i = 0; i < 3; i++) {
		receive(t, set_rate(session, 2, 3, 30));
		b = reply(t, session, 2);
		assert_int_equal(le16toh(b->status), VPF_CTL_OK);
		assert_int_equal(b->request, VPF_CTL_SET);
		assert_int_equal(le16toh(b->first), 3);
		assert_int_equal(le16toh(b->count), 1);
	}
	assert_int_equal(t->sets, 1);
	assert_int_equal(counters(t)->repeated, 3);
	assert_int_equal(counters(t)->requests, 2);
	/* A retry that comes late does not bring old news. */
	t->value[3] = 99;
	receive(t, set_rate(session, 2, 3, 30));
	assert_int_equal(record_value(reply(t, session, 2), 0), 99);
}

static void test_refusal_is_kept_too(void **state)
{
	struct fixture *t = *state;
	uint64_t session = activate(t, 7);
	const struct vpf_ctl_reply *b;

	t->set_status = VPF_CTL_DENIED;
	receive(t, set_rate(session, 2, 3, 30));
	b = reply(t, session, 2);
	assert_int_equal(le16toh(b->status), VPF_CTL_DENIED);
	assert_int_equal(le16toh(b->count), 0);
	assert_string_equal(b->text, "because");
	t->set_status = VPF_CTL_OK;
	receive(t, set_rate(session, 2, 3, 30));
	b = reply(t, session, 2);
	assert_int_equal(le16toh(b->status), VPF_CTL_DENIED);
	assert_string_equal(b->text, "because");
	assert_int_equal(t->sets, 1);
	assert_int_equal(counters(t)->refused, 1);
	/* And the next one is not answered with it. */
	receive(t, set_rate(session, 3, 3, 30));
	b = reply(t, session, 3);
	assert_int_equal(le16toh(b->status), VPF_CTL_OK);
	assert_string_equal(b->text, "");
}

static void test_replay_and_reorder(void **state)
{
	struct fixture *t = *state;
	uint64_t session = activate(t, 7);

	receive(t, set_rate(session, 10, 3, 30));
	assert_int_equal(status(t, session, 10), VPF_CTL_OK);
	receive(t, set_rate(session, 9, 3, 20)); /* came late */
	receive(t, peer_get(session, 1, 0, 1));  /* overheard */
	receive(t, set_rate(session, 0, 3, 20));
	assert_silent(t);
	assert_int_equal(counters(t)->replayed, 3);
	assert_int_equal(t->value[3], 30);
	receive(t, set_rate(session, 0xffffffff, 3, 40));
	assert_int_equal(status(t, session, 0xffffffff), VPF_CTL_OK);
	assert_int_equal(t->sets, 2);
}

static void test_forged_frames(void **state)
{
	static const uint8_t other[VPF_CTL_KEY_LEN] = {1};
	struct fixture *t = *state;
	uint64_t session = activate(t, 7);
	struct peer_frame f = set_rate(session, 2, 3, 30);

	peer_sign(&f, other);
	receive(t, f);
	((struct vpf_ctl_set *)peer_body(&f))->max_rate = 1;
	receive(t, f);
	f = set_rate(session, 2, 3, 30);
	peer_hdr(&f)->version = 2;
	receive(t, f);
	f.len = 40;
	receive(t, f);
	f.len = 0;
	receive(t, f);
	assert_silent(t);
	assert_int_equal(t->sets, 0);
	assert_int_equal(counters(t)->bad_tag, 2);
	assert_int_equal(counters(t)->bad_version, 1);
	assert_int_equal(counters(t)->malformed, 2);
	receive(t, set_rate(session, 2, 3, 30));
	assert_int_equal(status(t, session, 2), VPF_CTL_OK);
}

static void test_ranges(void **state)
{
	static const struct {
		uint8_t type;
		uint16_t first, count, status, got;
	} cases[] = {
		{VPF_CTL_GET, 0, 1, VPF_CTL_OK, 1},
		{VPF_CTL_GET, 0, 65535, VPF_CTL_OK, 34},
		{VPF_CTL_GET, 90, 65535, VPF_CTL_OK, FUNCTIONS - 90},
		{VPF_CTL_GET, FUNCTIONS - 1, 1, VPF_CTL_OK, 1},
		{VPF_CTL_GET, FUNCTIONS, 1, VPF_CTL_NO_FUNCTION, 0},
		{VPF_CTL_GET, 65535, 65535, VPF_CTL_NO_FUNCTION, 0},
		{VPF_CTL_GET, 0, 0, VPF_CTL_INVALID, 0},
		{VPF_CTL_STATS, 5, 65535, VPF_CTL_OK, 14},
		{VPF_CTL_STATS, FUNCTIONS - 2, 14, VPF_CTL_OK, 2},
		{VPF_CTL_STATS, FUNCTIONS, 1, VPF_CTL_NO_FUNCTION, 0},
	};
	struct fixture *t = *state;
	uint64_t session = activate(t, 7);

	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t size = cases[i].type == VPF_CTL_GET ? sizeof(struct vpf_ctl_function)
							   : sizeof(struct vpf_ctl_stats);
		struct peer_frame *f;
		struct vpf_ctl_reply *b;
		size_t body;

		receive(t, peer_range(cases[i].type, session, i + 2, cases[i].first, cases[i].count));
		f = take(t, VPF_CTL_REPLY);
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
	struct fixture *t = *state;
	uint64_t session = activate(t, 7);

	receive(t, set_rate(session, 2, 0, 1));
	assert_int_equal(status(t, session, 2), VPF_CTL_INVALID);
	receive(t, set_rate(session, 3, FUNCTIONS, 1));
	assert_int_equal(status(t, session, 3), VPF_CTL_NO_FUNCTION);
	receive(t, set_rate(session, 4, 65535, 1));
	assert_int_equal(status(t, session, 4), VPF_CTL_NO_FUNCTION);
	assert_int_equal(t->sets, 0);
	receive(t, set_rate(session, 5, FUNCTIONS - 1, 1));
	assert_int_equal(status(t, session, 5), VPF_CTL_OK);
}

static void test_request_of_a_newer_driver(void **state)
{
	struct fixture *t = *state;
	uint64_t session = activate(t, 7);

	receive(t, peer_message(peer_key, 0x42, session, 2, "more", 4));
	assert_int_equal(status(t, session, 2), VPF_CTL_UNSUPPORTED);
	receive(t, peer_message(peer_key, 0x42, 4711, 2, "more", 4));
	take(t, VPF_CTL_RESET);
}

/* Events */

static unsigned int take_event(struct fixture *t, uint64_t session, uint32_t sequence,
			       uint32_t values[FUNCTIONS])
{
	struct peer_frame *f = take(t, VPF_CTL_EVENT);
	size_t body = peer_check(f, peer_key);
	const struct vpf_ctl_event *b = peer_body(f);
	unsigned int n = le16toh(b->count);

	assert_true(le64toh(peer_hdr(f)->session) == session);
	assert_int_equal(le32toh(peer_hdr(f)->sequence), sequence);
	assert_int_equal(body, sizeof(*b) + n * sizeof(struct vpf_ctl_function));
	for (unsigned int i = 0; i < n; i++) {
		struct vpf_ctl_function r;

		memcpy(&r, (const uint8_t *)(b + 1) + i * sizeof(r), sizeof(r));
		if (values)
			values[le16toh(r.function)] = le32toh(r.max_rate);
	}
	return n;
}

static void ack(struct fixture *t, uint64_t session, uint32_t sequence)
{
	receive(t, peer_message(peer_key, VPF_CTL_EVENT_ACK, session, sequence, NULL, 0));
}

static void change(struct fixture *t, unsigned int function, uint32_t value)
{
	t->value[function] = value;
	channel_dirty(t->channel, function);
}

static void test_event_coalesced(void **state)
{
	struct fixture *t = *state;
	uint32_t seen[FUNCTIONS] = {0};
	uint64_t session = activate(t, 7);

	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	change(t, 3, 1);
	change(t, 3, 2);
	change(t, 0, 7);
	assert_true(channel_deadline(t->channel) <= t->now);
	pass(t, 0);
	assert_int_equal(take_event(t, session, 1, seen), 2);
	assert_true(seen[3] == 2 && seen[0] == 7);
	/* What changes while it is on its way waits, and is told once. */
	change(t, 3, 3);
	change(t, 3, 4);
	change(t, 5, 5);
	pass(t, 50 * MS);
	assert_silent(t);
	ack(t, session, 1);
	pass(t, 0);
	assert_int_equal(take_event(t, session, 2, seen), 2);
	assert_true(seen[3] == 4 && seen[5] == 5);
	ack(t, session, 2);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	pass(t, 100ull * S);
	assert_silent(t);
	assert_int_equal(counters(t)->events, 2);
	assert_int_equal(counters(t)->event_retries, 0);
}

static void test_event_retransmitted(void **state)
{
	static const unsigned int after[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};
	struct fixture *t = *state;
	uint32_t seen[FUNCTIONS] = {0};
	uint64_t session = activate(t, 7);

	change(t, 3, 1);
	pass(t, 0);
	take_event(t, session, 1, seen);
	for (size_t i = 0; i < ARRAY_SIZE(after); i++) {
		pass(t, (after[i] - 1) * MS);
		assert_silent(t);
		change(t, 3, 10 + (uint32_t)i); /* its record is the latest; the change itself is still to be
						   told */
		pass(t, 1 * MS);
		assert_int_equal(take_event(t, session, 1, seen), 1);
		assert_int_equal(seen[3], 10 + i);
	}
	assert_int_equal(counters(t)->event_retries, ARRAY_SIZE(after));
	ack(t, session, 2); /* none was sent */
	ack(t, session, 0);
	ack(t, 4711, 1);
	take(t, VPF_CTL_RESET);
	assert_int_equal(counters(t)->replayed, 2);
	ack(t, session, 1);
	ack(t, session, 1); /* of a repetition */
	assert_int_equal(counters(t)->replayed, 3);
	pass(t, 0);
	assert_int_equal(take_event(t, session, 2, seen), 1);
	ack(t, session, 1); /* late, of the one before */
	pass(t, 100 * MS);
	take_event(t, session, 2, seen);
	ack(t, session, 2);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
}

static void test_events_of_all_functions(void **state)
{
	struct fixture *t = *state;
	uint32_t seen[FUNCTIONS] = {0}, sequence = 0;
	uint64_t session = activate(t, 7);
	unsigned int n = 0;

	for (unsigned int fn = 0; fn < FUNCTIONS; fn++)
		change(t, fn, fn + 1);
	channel_dirty(t->channel, FUNCTIONS); /* there is none */
	while (n < FUNCTIONS) {
		pass(t, 0);
		n += take_event(t, session, ++sequence, seen);
		ack(t, session, sequence);
	}
	assert_int_equal(n, FUNCTIONS);
	assert_int_equal(sequence, 3); /* 37 in each */
	for (unsigned int fn = 0; fn < FUNCTIONS; fn++)
		assert_int_equal(seen[fn], fn + 1);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
}

static void test_event_follows_the_reply(void **state)
{
	struct fixture *t = *state;
	uint64_t session = activate(t, 7);

	t->dirty_in_set = true;
	receive(t, set_rate(session, 2, 3, 30));
	pass(t, 0);
	assert_int_equal(status(t, session, 2), VPF_CTL_OK);
	take_event(t, session, 1, NULL);
}

static void test_no_events_without_a_session(void **state)
{
	struct fixture *t = *state;
	uint64_t session;

	channel_start(t->channel, t->now);
	change(t, 3, 1);
	session = hello(t, 7);
	change(t, 3, 2);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	receive(t, peer_get(session, 1, 3, 1));
	assert_int_equal(record_value(reply(t, session, 1), 0), 2);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	/* The next session does not inherit what the last one was not told, nor its sequences. */
	change(t, 3, 3);
	pass(t, 0);
	take_event(t, session, 1, NULL);
	change(t, 4, 4);
	session = activate(t, 8);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	change(t, 3, 4);
	pass(t, 0);
	assert_int_equal(take_event(t, session, 1, NULL), 1);
}

static void test_driver_that_is_gone(void **state)
{
	struct fixture *t = *state;
	uint64_t session = activate(t, 7);

	change(t, 3, 1);
	pass(t, 3600ull * S);
	assert_int_equal(t->sent_n, 16);
	assert_int_equal(t->news[CHANNEL_LOST], 1);
	assert_true(channel_session(t->channel)->id == 0);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	/* It was only asleep: its first word brings it back. */
	t->sent_n = t->taken = 0;
	ack(t, session, 1);
	assert_true(le64toh(peer_hdr(take(t, VPF_CTL_RESET))->session) == session);
	activate(t, 8);
}

/* A guest that is hung takes nothing; it has lost nothing when it comes back. */
static void test_guest_without_room(void **state)
{
	struct fixture *t = *state;
	uint64_t session = activate(t, 7);
	uint32_t seen[FUNCTIONS] = {0};

	t->full = true;
	change(t, 3, 1);
	pass(t, 600ull * S);
	receive(t, set_rate(session, 2, 3, 30)); /* the reply is lost */
	assert_true(counters(t)->unsent > 100);
	assert_int_equal(counters(t)->events, 0);
	t->full = false;
	receive(t, set_rate(session, 2, 3, 30));
	assert_int_equal(status(t, session, 2), VPF_CTL_OK);
	assert_int_equal(t->sets, 1);
	pass(t, 5ull * S);
	assert_int_equal(take_event(t, session, 1, seen), 1);
	assert_int_equal(seen[3], 30);
}

/* The PF's function */

static void test_reset_after_start(void **state)
{
	static const unsigned int after[] = {100, 200, 400, 800, 1600};
	struct fixture *t = *state;

	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	channel_start(t->channel, t->now);
	for (size_t i = 0; i < ARRAY_SIZE(after); i++) {
		pass(t, (after[i] - 1) * MS);
		assert_silent(t);
		pass(t, 1 * MS);
		assert_true(peer_hdr(take(t, VPF_CTL_RESET))->session == 0);
	}
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	assert_int_equal(counters(t)->resets, 5);
}

static void test_hello_ends_resets(void **state)
{
	struct fixture *t = *state;

	channel_start(t->channel, t->now);
	pass(t, 150 * MS);
	take(t, VPF_CTL_RESET);
	receive(t, peer_get(4711, 5, 0, 1)); /* of the session before; says what the driver need know */
	assert_true(le64toh(peer_hdr(take(t, VPF_CTL_RESET))->session) == 4711);
	hello(t, 1);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
}

static void test_short_stop(void **state)
{
	struct fixture *t = *state;
	uint64_t session = activate(t, 7);

	channel_stop(t->channel, t->now);
	change(t, 3, 1);
	pass(t, 1500 * MS);
	assert_silent(t);
	channel_start(t->channel, t->now);
	pass(t, 10 * MS);
	take_event(t, session, 1, NULL);
	/* With an event on its way. */
	channel_stop(t->channel, t->now);
	pass(t, 1500 * MS);
	assert_silent(t);
	channel_start(t->channel, t->now);
	pass(t, 10 * MS);
	take_event(t, session, 1, NULL);
	ack(t, session, 1);
	assert_int_equal(t->news[CHANNEL_LOST], 0);
	/* Nobody was asked for a HELLO, nor is when the driver leaves of its own will. */
	receive(t, peer_message(peer_key, VPF_CTL_BYE, session, 0, NULL, 0));
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	assert_int_equal(counters(t)->resets, 0);
}

static void test_stop_ends_sessions(void **state)
{
	struct fixture *t = *state;
	uint64_t session = activate(t, 7), pending = hello(t, 8);

	change(t, 3, 1);
	channel_stop(t->channel, t->now);
	channel_stop(t->channel, t->now + 1 * S); /* is no news */
	pass(t, 2 * S);
	assert_true(channel_session(t->channel)->id == 0);
	assert_int_equal(t->news[CHANNEL_LOST], 1);
	assert_true(channel_deadline(t->channel) == CHANNEL_NEVER);
	receive(t, peer_get(pending, 1, 0, 1));
	take(t, VPF_CTL_RESET);
	channel_start(t->channel, t->now);
	pass(t, 100 * MS);
	assert_true(peer_hdr(take(t, VPF_CTL_RESET))->session == 0);
	assert_true(activate(t, 9) != session);
}

/* The VM was reset, and is back before the session before has ended. */
static void test_warm_reboot(void **state)
{
	struct fixture *t = *state;
	uint64_t session = activate(t, 7);

	channel_stop(t->channel, t->now);
	pass(t, 500 * MS);
	assert_true(activate(t, 8) != session);
	change(t, 3, 1);
	pass(t, 0);
	take_event(t, channel_session(t->channel)->id, 1, NULL);
}

/* The rate limit's arithmetic */

static void test_bucket(void **state)
{
	struct bucket b = bucket_new(1000, 256);
	uint64_t now = 5ull * S;

	(void)state;
	for (int i = 0; i < 256; i++)
		assert_true(bucket_take(&b, now));
	assert_false(bucket_take(&b, now));
	assert_false(bucket_take(&b, now + 999));
	assert_true(bucket_when(&b, 1) == now + 1000);
	assert_true(bucket_when(&b, 16) == now + 16000);
	assert_true(bucket_take(&b, now + 1000));
	assert_false(bucket_take(&b, now + 1000));
	now += 100ull * S; /* full again, and no fuller */
	for (int i = 0; i < 256; i++)
		assert_true(bucket_take(&b, now));
	assert_false(bucket_take(&b, now));
	/* One at a time at the rate, for ever. */
	for (int i = 1; i < 5000; i++)
		assert_true(bucket_take(&b, now + 1000u * (unsigned int)i));
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(first_request_activates),
		TEST(hello_again),
		TEST(overheard_hello_ends_no_session),
		TEST(pending_session_needs_a_request),
		TEST(versions),
		TEST(session_ids_are_never_zero_nor_taken),
		TEST(bye),
		TEST(reset_to_unknown_sessions_is_rare),
		TEST(another_key_ends_sessions),
		TEST(retry_is_done_once),
		TEST(refusal_is_kept_too),
		TEST(replay_and_reorder),
		TEST(forged_frames),
		TEST(ranges),
		TEST(set_of_functions_that_cannot_be_set),
		TEST(request_of_a_newer_driver),
		TEST(event_coalesced),
		TEST(event_retransmitted),
		TEST(events_of_all_functions),
		TEST(event_follows_the_reply),
		TEST(no_events_without_a_session),
		TEST(driver_that_is_gone),
		TEST(guest_without_room),
		TEST(reset_after_start),
		TEST(hello_ends_resets),
		TEST(short_stop),
		TEST(stop_ends_sessions),
		TEST(warm_reboot),
		TEST(bucket),
	};

	return cmocka_run_group_tests_name("control_channel", tests, NULL, NULL);
}
