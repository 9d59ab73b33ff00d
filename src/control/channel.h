/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One virtual PF's control channel, vpfd's side: a state machine over frames in, frames out and time. It knows
 * nothing of the model, sockets or clocks. The rules are docs/control-channel.md's.
 *
 * Theory of operation.
 *	- A driver that has the VM's key says HELLO and gets a *pending* session. That becomes the *active*
 *	  one with the first request that carries its id, and ends the one before. So an eavesdropper that replays a
 *	  HELLO ends no session: it cannot make the request. At most one session of each kind.
 *	- Requests of the active session have growing sequence numbers. The last one's outcome is kept: the
 *	  same number again is answered with it, and nothing is done twice. A request that takes time is answered when
 *	  it is done; until then, repetitions are not answered. If its driver asks for something else meanwhile, it
 *	  has given up waiting. The records in the answer are read again, so that a late answer never reports a state
 *	  older than that of an event sent before it.
 *	- What changes is a bit per function (channel_dirty()), sent as EVENTs with the functions' records as
 *	  they are when it is sent; one EVENT is on its way at a time, and is sent again until it is acknowledged. A
 *	  driver that acknowledges none of EVENT_TRIES has left without a BYE: its session ends.
 *	- While function 0 is stopped nothing is sent. If it is soon started again (QEMU does that when memory is
 *	  plugged or a migration begins), everything continues; otherwise (the driver left, the VM was reset) the
 *	  sessions end. When it is started without a session, as after a restart of vpfd, RESETs ask the driver, if
 *	  there is one, for a HELLO.
 *
 * Time is passed in, µs of a clock that does not go back. The owner calls channel_tick() at
 * channel_deadline(). Memory is constant. Callbacks must not call back into the channel, except
 * channel_dirty(). Thread-safety: main thread. */

#include "control/codec.h"

#define CHANNEL_FUNCTIONS_MAX 256
#define CHANNEL_NEVER         UINT64_MAX
#define CHANNEL_LATER         UINT16_MAX /* no status of the format's */

enum channel_news {
	CHANNEL_HELLO, /* a session has become active */
	CHANNEL_BYE,   /* the driver ended it */
	CHANNEL_LOST,  /* it ended otherwise */
};

struct channel_ops {
	/* Sends a whole frame to the PF's guest; false: it has no room for it, or there is none. */
	bool (*send)(void *ctx, const uint8_t *frame, size_t len);
	uint64_t (*random)(void *ctx);
	/* Fills all but nonce, status, versions; `ret` is zeroed. */
	void (*describe)(void *ctx, struct vpf_ctl_hello_reply *ret);
	/* `function` is below the channel's `functions`; `ret` is zeroed. */
	void (*record)(void *ctx, unsigned int function, struct vpf_ctl_function *ret);
	void (*stats)(void *ctx, unsigned int function, struct vpf_ctl_stats *ret);
	/* Carries out a request for the VF `set->function` (1…): VPF_CTL_*, with text unless OK. CHANNEL_LATER: in
	 * progress; channel_answer() follows with `number`. */
	uint16_t (*set)(void *ctx, const struct ctl_set *set, uint64_t number, char text[CTL_TEXT_MAX]);
	void (*news)(void *ctx, enum channel_news news);
};

struct channel_counters {
	uint64_t frames;          /* given to the channel */
	uint64_t malformed;       /* dropped: magic, type, lengths, fields */
	uint64_t bad_version;     /* dropped: another version of the format */
	uint64_t bad_tag;         /* dropped: not of this VM's key */
	uint64_t unknown_session; /* dropped: of a session that has ended, or never existed */
	uint64_t replayed;        /* dropped: a sequence, acknowledgement or HELLO of the past */
	uint64_t hello;
	uint64_t requests;      /* carried out or refused; not counting `repeated` */
	uint64_t refused;       /* of these, not carried out */
	uint64_t repeated;      /* answered from what was kept */
	uint64_t replies;       /* sent, HELLO_REPLY included */
	uint64_t resets;        /* sent */
	uint64_t events;        /* sent, not counting `event_retries` */
	uint64_t event_retries; /* sent again */
	uint64_t unsent;        /* the guest had no room for it */
};

struct channel_config {
	const struct channel_ops *ops;
	void *ctx;
	unsigned int functions; /* 1…CHANNEL_FUNCTIONS_MAX: the PF and its VFs */
	uint8_t key[VPF_CTL_KEY_LEN];
};

/* What is known of the driver with the active session. */
struct channel_session {
	uint64_t id; /* 0: there is none */
	uint64_t nonce;
	char driver[sizeof(((struct ctl_hello *)NULL)->driver)];
	char kernel[sizeof(((struct ctl_hello *)NULL)->kernel)];
};

struct channel;

int channel_new(const struct channel_config *config, struct channel **ret); /* -ENOMEM */
void channel_free(struct channel *c);                                       /* takes NULL */

/* A driver has started or left function 0. */
void channel_start(struct channel *c, uint64_t now);
void channel_stop(struct channel *c, uint64_t now);
/* Another key ends the sessions. */
void channel_set_key(struct channel *c, const uint8_t key[VPF_CTL_KEY_LEN]);

void channel_receive(struct channel *c, uint64_t now, const void *frame, size_t len);
/* The outcome of a request that was to be answered later; as of channel_ops.set. Not from within a callback. */
void channel_answer(struct channel *c, uint64_t number, uint16_t status, const char *text);
/* Function 0… has changed: its record will be sent with the next channel_tick(). */
void channel_dirty(struct channel *c, unsigned int function);
/* When there is something to do: CHANNEL_NEVER, or a time, perhaps of the past. */
uint64_t channel_deadline(const struct channel *c);
void channel_tick(struct channel *c, uint64_t now);

const struct channel_session *channel_session(const struct channel *c); /* active; id 0: none */
const struct channel_counters *channel_counters(const struct channel *c);
