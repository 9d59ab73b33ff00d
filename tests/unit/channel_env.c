/* SPDX-License-Identifier: Apache-2.0 */

#include "channel_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool on_send(void *ctx, const uint8_t *frame, size_t len)
{
	struct ch_env *t = ctx;

	if (t->full)
		return false;
	assert_true(t->sent_n < CH_SENT_MAX);
	memcpy(t->sent[t->sent_n].bytes, frame, len);
	t->sent[t->sent_n].len = len;
	peer_check(&t->sent[t->sent_n++], peer_key);
	return true;
}

static uint64_t on_random(void *ctx)
{
	struct ch_env *t = ctx;

	return t->next_random++;
}

static void on_describe(void *ctx, struct vpf_ctl_hello_reply *ret)
{
	(void)ctx;
	ret->vfs = htole16(CH_FUNCTIONS - 1);
	ret->capabilities = htole32(VPF_CTL_SETTINGS);
}

static void on_record(void *ctx, unsigned int function, struct vpf_ctl_function *ret)
{
	struct ch_env *t = ctx;

	assert_true(function < CH_FUNCTIONS);
	ret->function = htole16((uint16_t)function);
	ret->max_rate = htole32(t->value[function]);
}

static void on_stats(void *ctx, unsigned int function, struct vpf_ctl_stats *ret)
{
	(void)ctx;
	assert_true(function < CH_FUNCTIONS);
	ret->function = htole16((uint16_t)function);
	ret->rx_packets = htole64(1000 + function);
}

static uint16_t on_set(void *ctx, const struct ctl_set *set, uint64_t number, char text[CTL_TEXT_MAX])
{
	struct ch_env *t = ctx;

	assert_true(set->function >= 1 && set->function < CH_FUNCTIONS);
	t->sets++;
	t->set_number = number;
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
	((struct ch_env *)ctx)->news[news]++;
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

int ch_setup(void **state)
{
	struct ch_env *t = calloc(1, sizeof(*t));
	struct channel_config config = {.ops = &ops, .ctx = t, .functions = CH_FUNCTIONS};

	assert_non_null(t);
	t->next_random = 100;
	memcpy(config.key, peer_key, sizeof(config.key));
	assert_int_equal(channel_new(&config, &t->channel), 0);
	t->now = 10ull * CH_S;
	*state = t;
	return 0;
}

int ch_teardown(void **state)
{
	struct ch_env *t = *state;

	channel_free(t->channel);
	free(t);
	return 0;
}

const struct channel_counters *ch_counters(const struct ch_env *t)
{
	return channel_counters(t->channel);
}

void ch_receive(struct ch_env *t, struct peer_frame f)
{
	channel_receive(t->channel, t->now, f.bytes, f.len);
}

struct peer_frame *ch_take(struct ch_env *t, uint8_t type)
{
	struct peer_frame *f = &t->sent[t->taken];

	assert_true(t->taken < t->sent_n);
	assert_int_equal(peer_hdr(f)->type, type);
	if (++t->taken == t->sent_n)
		t->taken = t->sent_n = 0; /* what is there stays until something else is sent */
	return f;
}

void ch_assert_silent(const struct ch_env *t)
{
	assert_int_equal(t->sent_n - t->taken, 0);
}

void ch_pass(struct ch_env *t, uint64_t us)
{
	uint64_t until = t->now + us;

	while (channel_deadline(t->channel) <= until) {
		t->now = MAX(t->now, channel_deadline(t->channel));
		channel_tick(t->channel, t->now);
	}
	t->now = until;
}

uint64_t ch_hello(struct ch_env *t, uint64_t nonce)
{
	struct peer_frame *f;
	struct vpf_ctl_hello_reply *b;

	ch_receive(t, peer_hello(nonce));
	f = ch_take(t, VPF_CTL_HELLO_REPLY);
	b = peer_body(f);
	assert_true(le64toh(b->nonce) == nonce);
	assert_int_equal(le16toh(b->status), VPF_CTL_OK);
	assert_int_equal(b->version, 1);
	assert_int_equal(le16toh(b->vfs), CH_FUNCTIONS - 1);
	assert_true(peer_hdr(f)->session != 0);
	return le64toh(peer_hdr(f)->session);
}

struct vpf_ctl_reply *ch_reply(struct ch_env *t, uint64_t session, uint32_t sequence)
{
	struct peer_frame *f = ch_take(t, VPF_CTL_REPLY);

	assert_true(le64toh(peer_hdr(f)->session) == session);
	assert_int_equal(le32toh(peer_hdr(f)->sequence), sequence);
	return peer_body(f);
}

uint16_t ch_status(struct ch_env *t, uint64_t session, uint32_t sequence)
{
	return le16toh(ch_reply(t, session, sequence)->status);
}

uint64_t ch_activate(struct ch_env *t, uint64_t nonce)
{
	uint64_t session;

	channel_start(t->channel, t->now);
	session = ch_hello(t, nonce);
	ch_receive(t, peer_get(session, 1, 0, 1));
	assert_int_equal(ch_status(t, session, 1), VPF_CTL_OK);
	assert_true(channel_session(t->channel)->id == session);
	return session;
}

struct peer_frame ch_set_rate(uint64_t session, uint32_t sequence, uint16_t function, uint32_t rate)
{
	struct vpf_ctl_set b = {
		.function = htole16(function), .mask = htole16(VPF_CTL_RATE), .max_rate = htole32(rate)};

	return peer_set(session, sequence, &b);
}

uint32_t ch_record_value(const struct vpf_ctl_reply *b, unsigned int i)
{
	struct vpf_ctl_function f;

	memcpy(&f, (const uint8_t *)(b + 1) + i * sizeof(f), sizeof(f));
	return le32toh(f.max_rate);
}

unsigned int ch_take_event(struct ch_env *t, uint64_t session, uint32_t sequence,
			   uint32_t values[CH_FUNCTIONS])
{
	struct peer_frame *f = ch_take(t, VPF_CTL_EVENT);
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

void ch_ack(struct ch_env *t, uint64_t session, uint32_t sequence)
{
	ch_receive(t, peer_message(peer_key, VPF_CTL_EVENT_ACK, session, sequence, NULL, 0));
}

void ch_change(struct ch_env *t, unsigned int function, uint32_t value)
{
	t->value[function] = value;
	channel_dirty(t->channel, function);
}
