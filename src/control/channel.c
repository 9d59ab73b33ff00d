/* SPDX-License-Identifier: Apache-2.0 */

#include "control/channel.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#define EVENT_RETRY_US     100000u /* after an EVENT that is not acknowledged; doubles */
#define EVENT_RETRY_MAX_US 5000000u
#define EVENT_TRIES        16      /* that the guest had room for: a minute in all */
#define RESET_FIRST_US     100000u /* after function 0 was started; doubles */
#define RESET_TRIES        5
#define STOPPED_US         2000000u /* that a session outlives its function: QEMU stops and starts it, too */
#define RESET_ANSWER_US    100000u  /* between answers to unknown sessions */
#define BITMAP_WORDS       (CHANNEL_FUNCTIONS_MAX / 64)

struct channel {
	struct channel_config config;
	struct channel_counters counters;
	bool started;
	uint64_t stopped_until; /* not started: when the sessions end */
	struct channel_session pending, active;

	/* The active session's last request: there is one, which has made it active. */
	struct {
		uint32_t sequence;
		uint8_t type;
		uint16_t status, first, count;
		char text[CTL_TEXT_MAX];
		uint64_t due; /* number of a SET whose outcome is pending; 0: it is known */
	} last;
	uint64_t sets; /* numbers given */

	uint64_t dirty[BITMAP_WORDS];
	struct {
		uint64_t functions[BITMAP_WORDS];
		uint32_t sequence; /* of the last one */
		bool outstanding;
		unsigned int tries;
		uint64_t retry_at, interval;
	} event;

	struct {
		unsigned int left; /* to be sent until a HELLO comes */
		uint64_t at, interval;
		uint64_t next_answer; /* earliest time for one to an unknown session */
	} reset;
};

int channel_new(const struct channel_config *config, struct channel **ret)
{
	struct channel *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->config = *config;
	*ret = c;
	return 0;
}

void channel_free(struct channel *c)
{
	free(c);
}

const struct channel_session *channel_session(const struct channel *c)
{
	return &c->active;
}

const struct channel_counters *channel_counters(const struct channel *c)
{
	return &c->counters;
}

static bool any_bit(const uint64_t bits[BITMAP_WORDS])
{
	uint64_t any = 0;

	for (unsigned int i = 0; i < BITMAP_WORDS; i++)
		any |= bits[i];
	return any;
}

static bool transmit(struct channel *c, struct ctl_frame *f)
{
	ctl_finish(f, c->config.key);
	if (c->config.ops->send(c->config.ctx, f->bytes, f->len))
		return true;
	c->counters.unsent++;
	return false;
}

static void send_reset(struct channel *c, uint64_t session)
{
	struct ctl_frame f;

	ctl_begin(&f, VPF_CTL_RESET, session, 0);
	if (transmit(c, &f))
		c->counters.resets++;
}

static void forget_events(struct channel *c)
{
	memset(c->dirty, 0, sizeof(c->dirty));
	memset(&c->event, 0, sizeof(c->event));
}

/* Without a session there is no driver to tell of changes: the one that gets the next session reads everything. */
static void end_active(struct channel *c)
{
	c->active = (struct channel_session){0};
	memset(&c->last, 0, sizeof(c->last));
	forget_events(c);
}

static bool has_session(const struct channel *c)
{
	return c->active.id || c->pending.id;
}

/* Ends all sessions, and reports the end of an active one. */
static void lose(struct channel *c)
{
	bool lost = c->active.id;

	c->pending = (struct channel_session){0};
	end_active(c);
	if (lost)
		c->config.ops->news(c->config.ctx, CHANNEL_LOST);
}

void channel_start(struct channel *c, uint64_t now)
{
	if (c->started)
		return;
	c->started = true;
	if (has_session(c))
		return;
	c->reset.left = RESET_TRIES;
	c->reset.interval = RESET_FIRST_US;
	c->reset.at = now + c->reset.interval;
}

void channel_stop(struct channel *c, uint64_t now)
{
	if (!c->started)
		return;
	c->started = false;
	c->stopped_until = now + STOPPED_US;
	c->reset.left = 0;
}

void channel_set_key(struct channel *c, const uint8_t key[VPF_CTL_KEY_LEN])
{
	if (!memcmp(c->config.key, key, VPF_CTL_KEY_LEN))
		return;
	memcpy(c->config.key, key, VPF_CTL_KEY_LEN);
	c->reset.left = 0; /* the guest cannot know this key yet */
	lose(c);
}

/* HELLO */

static void send_hello_reply(struct channel *c, uint64_t nonce, uint64_t session)
{
	struct vpf_ctl_hello_reply *b;
	struct ctl_frame f;

	ctl_begin(&f, VPF_CTL_HELLO_REPLY, session, 0);
	b = ctl_append(&f, sizeof(*b));
	c->config.ops->describe(c->config.ctx, b);
	b->nonce = htole64(nonce);
	b->status = htole16(session ? VPF_CTL_OK : VPF_CTL_VERSION_UNKNOWN);
	b->min_version = b->max_version = VPF_CTL_VERSION;
	b->version = session ? VPF_CTL_VERSION : 0;
	if (transmit(c, &f))
		c->counters.replies++;
}

static uint64_t new_session_id(struct channel *c)
{
	uint64_t id;

	do
		id = c->config.ops->random(c->config.ctx);
	while (!id || id == c->active.id || id == c->pending.id);
	return id;
}

static void on_hello(struct channel *c, const struct ctl_hello *hello)
{
	if (c->active.id && hello->nonce == c->active.nonce) {
		c->counters.replayed++; /* its driver got the answer long ago */
		return;
	}
	c->counters.hello++;
	c->reset.left = 0;
	if (hello->min_version > VPF_CTL_VERSION || hello->max_version < VPF_CTL_VERSION) {
		send_hello_reply(c, hello->nonce, 0);
		return;
	}
	if (!c->pending.id || hello->nonce != c->pending.nonce) {
		c->pending = (struct channel_session){.id = new_session_id(c), .nonce = hello->nonce};
		memcpy(c->pending.driver, hello->driver, sizeof(c->pending.driver));
		memcpy(c->pending.kernel, hello->kernel, sizeof(c->pending.kernel));
	}
	send_hello_reply(c, hello->nonce, c->pending.id);
}

/* Requests */

static void finish(struct channel *c, uint16_t status, const char *text)
{
	c->last.status = status;
	ctl_text(c->last.text, sizeof(c->last.text), text);
}

static void do_range(struct channel *c, const struct ctl_range *range, unsigned int fit)
{
	char text[CTL_TEXT_MAX];

	if (range->first >= c->config.functions) {
		snprintf(text, sizeof(text), "there are functions 0 to %u, not %u", c->config.functions - 1,
			 range->first);
		finish(c, VPF_CTL_NO_FUNCTION, text);
		return;
	}
	if (!range->count) {
		finish(c, VPF_CTL_INVALID, "a range of no functions");
		return;
	}
	c->last.first = range->first;
	c->last.count = (uint16_t)MIN(MIN(range->count, fit), c->config.functions - range->first);
	finish(c, VPF_CTL_OK, "");
}

static void end_set(struct channel *c, uint16_t status, const char *text)
{
	c->last.count = status == VPF_CTL_OK;
	finish(c, status, text);
}

static void do_set(struct channel *c, const struct ctl_set *set)
{
	char text[CTL_TEXT_MAX] = "";
	uint16_t status;

	if (set->function == 0) {
		finish(c, VPF_CTL_INVALID, "only VFs can be configured through the PF, not the PF itself");
		return;
	}
	if (set->function >= c->config.functions) {
		snprintf(text, sizeof(text), "there is no VF %u, the PF has %u", set->function - 1u,
			 c->config.functions - 1);
		finish(c, VPF_CTL_NO_FUNCTION, text);
		return;
	}
	c->last.first = set->function;
	status = c->config.ops->set(c->config.ctx, set, ++c->sets, text);
	if (status == CHANNEL_LATER)
		c->last.due = c->sets;
	else
		end_set(c, status, text);
}

/* The kept outcome, with the records as they are now. */
static void send_reply(struct channel *c)
{
	struct vpf_ctl_reply *b;
	struct ctl_frame f;

	ctl_begin(&f, VPF_CTL_REPLY, c->active.id, c->last.sequence);
	b = ctl_append(&f, sizeof(*b));
	b->request = c->last.type;
	b->status = htole16(c->last.status);
	b->first = htole16(c->last.first);
	b->count = htole16(c->last.count);
	memcpy(b->text, c->last.text, sizeof(b->text));
	for (unsigned int i = 0; i < c->last.count; i++) {
		unsigned int function = c->last.first + i;

		if (c->last.type == VPF_CTL_STATS)
			c->config.ops->stats(c->config.ctx, function,
					     ctl_append(&f, sizeof(struct vpf_ctl_stats)));
		else
			c->config.ops->record(c->config.ctx, function,
					      ctl_append(&f, sizeof(struct vpf_ctl_function)));
	}
	if (transmit(c, &f))
		c->counters.replies++;
}

static void on_request(struct channel *c, const struct ctl_message *m)
{
	if (m->sequence == c->last.sequence) {
		c->counters.repeated++;
		if (!c->last.due)
			send_reply(c);
		return;
	}
	if (m->sequence < c->last.sequence) {
		c->counters.replayed++;
		return;
	}
	c->counters.requests++;
	memset(&c->last, 0, sizeof(c->last));
	c->last.sequence = m->sequence;
	c->last.type = m->type;
	switch (m->type) {
	case VPF_CTL_GET:
		do_range(c, &m->range, VPF_CTL_REPLY_RECORDS(struct vpf_ctl_function));
		break;
	case VPF_CTL_STATS:
		do_range(c, &m->range, VPF_CTL_REPLY_RECORDS(struct vpf_ctl_stats));
		break;
	case VPF_CTL_SET:
		do_set(c, &m->set);
		break;
	default:
		finish(c, VPF_CTL_UNSUPPORTED, "this vpfd does not know such a request");
		break;
	}
	if (c->last.due)
		return;
	c->counters.refused += c->last.status != VPF_CTL_OK;
	send_reply(c);
}

void channel_answer(struct channel *c, uint64_t number, uint16_t status, const char *text)
{
	if (!number || c->last.due != number)
		return;
	c->last.due = 0;
	end_set(c, status, text);
	c->counters.refused += c->last.status != VPF_CTL_OK;
	if (c->started) /* else it is kept in case the request is repeated */
		send_reply(c);
}

static void activate_pending(struct channel *c)
{
	end_active(c);
	c->active = c->pending;
	c->pending = (struct channel_session){0};
	c->config.ops->news(c->config.ctx, CHANNEL_HELLO);
}

static void on_event_ack(struct channel *c, uint32_t sequence)
{
	if (!c->event.outstanding || sequence != c->event.sequence) {
		c->counters.replayed++;
		return;
	}
	c->event.outstanding = false;
}

static void on_pending_message(struct channel *c, const struct ctl_message *m)
{
	if (m->type == VPF_CTL_BYE) {
		c->pending = (struct channel_session){0};
	} else if (m->type == VPF_CTL_EVENT_ACK || !m->sequence) {
		c->counters.replayed++; /* nothing of this session can have been sent before */
	} else {
		activate_pending(c);
		on_request(c, m);
	}
}

static void on_active_message(struct channel *c, const struct ctl_message *m)
{
	if (m->type == VPF_CTL_BYE) {
		end_active(c);
		c->config.ops->news(c->config.ctx, CHANNEL_BYE);
	} else if (m->type == VPF_CTL_EVENT_ACK) {
		on_event_ack(c, m->sequence);
	} else {
		on_request(c, m);
	}
}

static void on_unknown_session(struct channel *c, uint64_t now, const struct ctl_message *m)
{
	c->counters.unknown_session++;
	if (m->type == VPF_CTL_BYE || now < c->reset.next_answer)
		return;
	c->reset.next_answer = now + RESET_ANSWER_US;
	send_reset(c, m->session);
}

void channel_receive(struct channel *c, uint64_t now, const void *frame, size_t len)
{
	struct ctl_message m;
	int r = ctl_decode(c->config.key, frame, len, &m);

	c->counters.frames++;
	if (r == -EPROTONOSUPPORT)
		c->counters.bad_version++;
	else if (r == -EBADE)
		c->counters.bad_tag++;
	else if (r < 0)
		c->counters.malformed++;
	else if (m.type == VPF_CTL_HELLO)
		on_hello(c, &m.hello);
	else if (m.session == c->active.id)
		on_active_message(c, &m);
	else if (m.session == c->pending.id)
		on_pending_message(c, &m);
	else
		on_unknown_session(c, now, &m);
}

/* Events */

void channel_dirty(struct channel *c, unsigned int function)
{
	if (c->active.id && function < c->config.functions)
		c->dirty[function / 64] |= 1ULL << (function % 64);
}

/* As many of the dirty functions as an EVENT holds go into the next one. */
static void choose_functions(struct channel *c)
{
	unsigned int n = 0;

	memset(c->event.functions, 0, sizeof(c->event.functions));
	for (unsigned int i = 0; i < BITMAP_WORDS; i++)
		for (; c->dirty[i] && n < VPF_CTL_EVENT_RECORDS; n++) {
			uint64_t lowest = c->dirty[i] & -c->dirty[i];

			c->event.functions[i] |= lowest;
			c->dirty[i] &= ~lowest;
		}
}

static bool send_event(struct channel *c)
{
	struct vpf_ctl_event *b;
	struct ctl_frame f;
	uint16_t n = 0;

	ctl_begin(&f, VPF_CTL_EVENT, c->active.id, c->event.sequence);
	b = ctl_append(&f, sizeof(*b));
	for (unsigned int fn = 0; fn < c->config.functions; fn++)
		if (c->event.functions[fn / 64] >> (fn % 64) & 1) {
			c->config.ops->record(c->config.ctx, fn,
					      ctl_append(&f, sizeof(struct vpf_ctl_function)));
			n++;
		}
	b->count = htole16(n);
	return transmit(c, &f);
}

static void tick_event(struct channel *c, uint64_t now)
{
	bool again = c->event.outstanding;

	if (again && now < c->event.retry_at)
		return;
	if (again && c->event.tries >= EVENT_TRIES) {
		lose(c);
		return;
	}
	if (again) {
		c->event.interval = MIN(2 * c->event.interval, EVENT_RETRY_MAX_US);
	} else {
		choose_functions(c);
		c->event.sequence++;
		c->event.outstanding = true;
		c->event.tries = 0;
		c->event.interval = EVENT_RETRY_US;
	}
	c->event.retry_at = now + c->event.interval;
	if (!send_event(c))
		return;
	c->event.tries++;
	if (again)
		c->counters.event_retries++;
	else
		c->counters.events++;
}

static void tick_reset(struct channel *c, uint64_t now)
{
	c->reset.left--;
	c->reset.interval *= 2;
	c->reset.at = now + c->reset.interval;
	send_reset(c, 0);
}

uint64_t channel_deadline(const struct channel *c)
{
	if (!c->started)
		return has_session(c) ? c->stopped_until : CHANNEL_NEVER;
	if (c->active.id && c->event.outstanding)
		return c->event.retry_at;
	if (c->active.id && any_bit(c->dirty))
		return 0;
	if (!c->active.id && c->reset.left)
		return c->reset.at;
	return CHANNEL_NEVER;
}

void channel_tick(struct channel *c, uint64_t now)
{
	if (channel_deadline(c) > now)
		return;
	if (!c->started)
		lose(c);
	else if (c->active.id)
		tick_event(c, now);
	else
		tick_reset(c, now);
}
