/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of one control channel start from: a channel with 100 VFs, a driver's end of it that keeps what was
 * sent, and an owner that says yes unless it is told otherwise. Time is the test's own. */

#include "control/channel.h"
#include "ctl_peer.h"

#define CH_FUNCTIONS 101
#define CH_MS        1000u
#define CH_S         1000000u
#define CH_SENT_MAX  64

struct ch_env {
	struct channel *channel;
	uint64_t now;
	struct peer_frame sent[CH_SENT_MAX];
	unsigned int sent_n, taken;
	bool full; /* the guest has no room */
	uint64_t next_random;
	uint32_t value[CH_FUNCTIONS]; /* a function's state: shown as max_rate */
	unsigned int sets;
	uint16_t set_status;
	uint64_t set_number; /* of the last one */
	bool dirty_in_set;
	unsigned int news[3];
};

/* A channel whose function has not been started. */
int ch_setup(void **state);
int ch_teardown(void **state);
const struct channel_counters *ch_counters(const struct ch_env *t);
void ch_receive(struct ch_env *t, struct peer_frame f);
/* The next message that was sent; it must be of this type. */
struct peer_frame *ch_take(struct ch_env *t, uint8_t type);
/* Nothing more was sent. */
void ch_assert_silent(const struct ch_env *t);
/* Lets time pass as the owner of the channel would, up to `until`. */
void ch_pass(struct ch_env *t, uint64_t us);
/* A pending session for a HELLO with this nonce. */
uint64_t ch_hello(struct ch_env *t, uint64_t nonce);
/* The reply to a request with this sequence. */
struct vpf_ctl_reply *ch_reply(struct ch_env *t, uint64_t session, uint32_t sequence);
/* Of that reply. */
uint16_t ch_status(struct ch_env *t, uint64_t session, uint32_t sequence);
/* An active session; its last sequence is 1. */
uint64_t ch_activate(struct ch_env *t, uint64_t nonce);
struct peer_frame ch_set_rate(uint64_t session, uint32_t sequence, uint16_t function, uint32_t rate);
/* The value of the `i`th record of a reply. */
uint32_t ch_record_value(const struct vpf_ctl_reply *b, unsigned int i);

unsigned int ch_take_event(struct ch_env *t, uint64_t session, uint32_t sequence,
			   uint32_t values[CH_FUNCTIONS]);
void ch_ack(struct ch_env *t, uint64_t session, uint32_t sequence);
void ch_change(struct ch_env *t, unsigned int function, uint32_t value);
