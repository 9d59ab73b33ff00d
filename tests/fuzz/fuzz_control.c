/* SPDX-License-Identifier: Apache-2.0 */

/* vpfd's side of the control channel against a driver that says anything, at any time. What vpfd sends is
 * checked as a driver would check it, and that nothing is carried out without a session, or twice.
 *
 * The input is a sequence of records: kind, argument, size of the payload (in bytes), payload.
 *
 * - FRAME: the payload is a frame, as it is.
 * - SIGNED: the payload is a message; it gets an Ethernet header and, if it is long enough, the right tag.
 * - MESSAGE: the argument is a type; the payload is session (1 byte: which), sequence (1 byte, signed: added
 *   to that of the last), body; the header is right.
 * - TIME: the argument is how long, in units of 50 ms.
 * - DIRTY: the argument is a function.
 * - STATE: the argument's bits: function 0 started, the guest has room, requests are refused, another key.
 *
 * tests/fuzz/seeds_control.py writes sessions that go all the way. */

#include <stdio.h>
#include <string.h>

#include "../unit/ctl_peer.h"
#include "control/channel.h"
#include "control/records.h"

#define FUNCTIONS 70

enum { FRAME, SIGNED, MESSAGE, TIME, DIRTY, STATE, KINDS };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct channel *channel;
	uint64_t now, random;
	bool started, room, refuse, other_key;
	struct function_settings settings[FUNCTIONS];
	bool later;                                   /* requests are answered later */
	uint64_t due;                                 /* number of the last of these */
	uint64_t pending, set_session, event_session; /* ids that vpfd has told, and that it had when… */
	uint32_t sequence, set_sequence, event_sequence;
} t;

static void check(bool ok)
{
	if (!ok)
		__builtin_trap();
}

static const uint8_t *key(void)
{
	static const uint8_t other[VPF_CTL_KEY_LEN] = "another key     ";

	return t.other_key ? other : peer_key;
}

static void check_record(const uint8_t *p)
{
	struct vpf_ctl_function r;

	memcpy(&r, p, sizeof(r));
	check(le16toh(r.function) < FUNCTIONS && r.link <= VPF_CTL_LINK_DISABLE && r.pcp <= 7);
	check(r.vlan_mode == VPF_CTL_VLAN_ACCESS ? r.vid != 0 : r.vid == 0);
}

static void check_reply(const struct vpf_ctl_reply *b, size_t size)
{
	unsigned int count = le16toh(b->count);
	size_t each =
		b->request == VPF_CTL_STATS ? sizeof(struct vpf_ctl_stats) : sizeof(struct vpf_ctl_function);

	check(size >= sizeof(*b) && size == sizeof(*b) + count * each);
	check(le16toh(b->status) == VPF_CTL_OK ? count >= 1 && !b->text[0] : !count);
	check(!b->text[sizeof(b->text) - 1] && le16toh(b->first) + count <= FUNCTIONS + !count * 65535u);
	for (unsigned int i = 0; i < count && b->request != VPF_CTL_STATS; i++)
		check_record((const uint8_t *)(b + 1) + i * each);
}

/* One at a time, in order, and of the active session. */
static void check_event(uint64_t session, uint32_t sequence, const struct vpf_ctl_event *b, size_t size)
{
	unsigned int count = le16toh(b->count);

	check(t.started && session == channel_session(t.channel)->id);
	check(size == sizeof(*b) + count * sizeof(struct vpf_ctl_function) && count >= 1);
	if (session == t.event_session)
		check(sequence == t.event_sequence || sequence == t.event_sequence + 1);
	else
		check(sequence >= 1);
	t.event_session = session;
	t.event_sequence = sequence;
	for (unsigned int i = 0; i < count; i++)
		check_record((const uint8_t *)(b + 1) + i * sizeof(struct vpf_ctl_function));
}

static bool on_send(void *ctx, const uint8_t *frame, size_t len)
{
	struct peer_frame f = {.len = len};
	uint64_t session;
	size_t size;

	(void)ctx;
	check(len <= CTL_FRAME_MAX);
	memcpy(f.bytes, frame, len);
	size = peer_check(&f, key());
	session = le64toh(peer_hdr(&f)->session);
	switch (peer_hdr(&f)->type) {
	case VPF_CTL_HELLO_REPLY:
		check(size == sizeof(struct vpf_ctl_hello_reply));
		t.pending = session ? session : t.pending;
		break;
	case VPF_CTL_REPLY:
		check(session && session == channel_session(t.channel)->id);
		check_reply(peer_body(&f), size);
		break;
	case VPF_CTL_EVENT:
		check_event(session, le32toh(peer_hdr(&f)->sequence), peer_body(&f), size);
		break;
	default:
		check(peer_hdr(&f)->type == VPF_CTL_RESET && size == 0);
		check(!session || session != channel_session(t.channel)->id);
	}
	return t.room;
}

static uint64_t on_random(void *ctx)
{
	(void)ctx;
	return t.random++;
}

static void on_describe(void *ctx, struct vpf_ctl_hello_reply *ret)
{
	(void)ctx;
	ret->vfs = htole16(FUNCTIONS - 1);
}

static void on_record(void *ctx, unsigned int function, struct vpf_ctl_function *ret)
{
	(void)ctx;
	check(function < FUNCTIONS);
	record_function(function, &t.settings[function], true, false, ret);
}

static void on_stats(void *ctx, unsigned int function, struct vpf_ctl_stats *ret)
{
	struct port_stats stats = {.rx_packets = function};

	(void)ctx;
	check(function < FUNCTIONS);
	record_stats(function, &stats, ret);
}

static uint16_t on_set(void *ctx, const struct ctl_set *set, uint64_t number, char text[CTL_TEXT_MAX])
{
	const struct channel_session *session = channel_session(t.channel);
	struct function_settings s, *now = &t.settings[set->function];
	struct err err = {0};
	int r;

	(void)ctx;
	check(session->id && set->function >= 1 && set->function < FUNCTIONS);
	s = *now;
	r = record_apply(set, &s, &err);
	if (r < 0) {
		check(err.text[0] && s.link == now->link && s.vlan.vid == now->vlan.vid &&
		      s.trust == now->trust);
		ctl_text(text, CTL_TEXT_MAX, err.text);
		return record_status(r);
	}
	check(set->mask && !(set->mask & ~VPF_CTL_SETTINGS) && s.link <= LINK_DISABLE);
	if (t.refuse || s.vlan.vid > 4094 || s.vlan.pcp > 7) { /* the model's part */
		snprintf(text, CTL_TEXT_MAX, "no");
		return VPF_CTL_DENIED;
	}
	*now = s;
	channel_dirty(t.channel, set->function);
	if (t.later) {
		t.due = number;
		return CHANNEL_LATER;
	}
	return VPF_CTL_OK;
}

static void on_news(void *ctx, enum channel_news news)
{
	(void)ctx;
	check((news == CHANNEL_HELLO) == (channel_session(t.channel)->id != 0));
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

/* Requests of a session are answered in the order of their sequences, and each is carried out once: the
 * number of those that were grows by one at most, and then for a sequence above all before. */
static void receive(const struct peer_frame *f)
{
	struct channel_counters before = *channel_counters(t.channel), after;
	uint8_t *exact = malloc(f->len ? f->len : 1);
	uint64_t session;

	check(exact != NULL);
	memcpy(exact, f->bytes, f->len);
	channel_receive(t.channel, t.now, exact, f->len);
	free(exact);
	after = *channel_counters(t.channel);
	session = channel_session(t.channel)->id;
	check(after.frames == before.frames + 1 && after.requests <= before.requests + 1);
	if (after.requests > before.requests) {
		uint32_t sequence;

		memcpy(&sequence, f->bytes + CTL_ETH_LEN + offsetof(struct vpf_ctl_hdr, sequence), 4);
		sequence = le32toh(sequence);
		check(session && (session != t.set_session || sequence > t.set_sequence));
		t.set_session = session;
		t.set_sequence = sequence;
	}
}

static void frame(const uint8_t *p, size_t size)
{
	struct peer_frame f = {.len = size};

	memcpy(f.bytes, p, size);
	receive(&f);
}

static void signed_message(const uint8_t *p, size_t size)
{
	struct peer_frame f = {.len = CTL_ETH_LEN + size};

	f.bytes[12] = 0x88;
	f.bytes[13] = 0xb5;
	memcpy(f.bytes + CTL_ETH_LEN, p, size);
	if (size >= sizeof(struct vpf_ctl_hdr))
		peer_sign(&f, key());
	receive(&f);
}

static void message(uint8_t type, const uint8_t *p, size_t size)
{
	uint64_t sessions[] = {t.pending, channel_session(t.channel)->id, 0, 4711};
	struct peer_frame f;

	if (size < 2)
		return;
	t.sequence += (uint32_t)(int8_t)p[1];
	f = type == VPF_CTL_HELLO
		    ? peer_message(key(), type, 0, 0, p + 2, size - 2)
		    : peer_message(key(), type, sessions[p[0] % 4],
				   type == VPF_CTL_EVENT_ACK ? t.event_sequence + p[1] : t.sequence, p + 2,
				   size - 2);
	receive(&f);
}

static void set_state(uint8_t bits)
{
	t.started = bits & 1;
	if (t.started)
		channel_start(t.channel, t.now);
	else
		channel_stop(t.channel, t.now);
	t.room = bits & 2;
	t.refuse = bits & 4;
	t.other_key = bits & 8;
	t.later = bits & 16;
	if (bits & 32) /* also one that was given, or given up, long ago */
		channel_answer(t.channel, t.due, bits & 64 ? VPF_CTL_OK : VPF_CTL_DENIED, "late");
	channel_set_key(t.channel, key());
}

/* As the owner does; each deadline is dealt with by one tick, or there would be a loop that never ends. */
static void pass(uint64_t us)
{
	uint64_t until = t.now + us;

	for (unsigned int n = 0; channel_deadline(t.channel) <= until; n++) {
		check(n < 1000);
		t.now = MAX(t.now, channel_deadline(t.channel));
		channel_tick(t.channel, t.now);
		check(channel_deadline(t.channel) > t.now);
	}
	t.now = until;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct channel_config config = {.ops = &ops, .functions = FUNCTIONS};

	memset(&t, 0, sizeof(t));
	t.now = 1000000;
	t.started = t.room = true;
	for (unsigned int i = 0; i < FUNCTIONS; i++)
		function_settings_init(&t.settings[i]);
	memcpy(config.key, peer_key, sizeof(config.key));
	check(channel_new(&config, &t.channel) == 0);
	channel_start(t.channel, t.now);
	while (size >= 3 && size >= 3u + data[2]) {
		uint8_t kind = data[0] % KINDS, argument = data[1];

		switch (kind) {
		case FRAME:
			frame(data + 3, data[2]);
			break;
		case SIGNED:
			signed_message(data + 3, data[2]);
			break;
		case MESSAGE:
			message(argument, data + 3, data[2]);
			break;
		case TIME:
			pass(argument * 50000ull);
			break;
		case DIRTY:
			channel_dirty(t.channel, argument);
			break;
		default:
			set_state(argument);
		}
		size -= 3u + data[2];
		data += 3u + data[2];
	}
	pass(0);
	channel_free(t.channel);
	return 0;
}
