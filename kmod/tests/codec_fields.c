// SPDX-License-Identifier: GPL-2.0-only
/* Each field where the specification has it, and each value that it forbids. */
#include <linux/kernel.h>
#include <linux/string.h>

#include "codec_test.h"
#include "compat.h"

/* What a driver sends */

/* The frames of docs/control-channel.md without their Ethernet header and the zeros at their end. */
#define HELLO_VECTOR_HEADER \
	"56504631 01 01 9000 0000000000000000 00000000 00000000 688b02722fa7e8d5"
#define HELLO_VECTOR_NONCE "8877665544332211 01 01 000000000000"
#define HELLO_VECTOR_DRIVER "302e312e30"
#define HELLO_VECTOR_KERNEL "362e31322e30"
#define GET_VECTOR \
	"56504631 01 02 2800 a8a7a6a5a4a3a2a1 01000000 00000000 5018a116c06511f9 0000 0900 00000000"

static void from_hex(u8 *to, const char *text)
{
	for (; *text; text++) {
		if (*text == ' ')
			continue;
		EXPECT(hex2bin(to++, text++, 1), 0);
	}
}

static size_t hello_vector_message(void)
{
	empty_body();
	from_hex(message, HELLO_VECTOR_HEADER);
	from_hex(message + HDR, HELLO_VECTOR_NONCE);
	from_hex(message + HDR + 16, HELLO_VECTOR_DRIVER);
	from_hex(message + HDR + 48, HELLO_VECTOR_KERNEL);
	return HDR + 112;
}

static void hello_vector(void)
{
	size_t len = hello_vector_message();
	u8 buf[VPF_REQUEST_MAX];
	struct vpf_msg msg;

	EXPECT(vpf_encode_hello(buf, &key, NONCE, "0.1.0", "6.12.0"), len);
	EXPECT_BYTES(buf, message, len);
	EXPECT(decode(len, &msg), VPF_BAD_TYPE); /* it came back */
}

static void get_vector(void)
{
	size_t len = HDR + 8;
	u8 buf[VPF_REQUEST_MAX];
	struct vpf_msg msg;

	from_hex(message, GET_VECTOR);
	EXPECT(vpf_encode_range(buf, &key, 0x02, SESSION, 1, 0, 9), len);
	EXPECT_BYTES(buf, message, len);
	EXPECT(decode(len, &msg), VPF_BAD_TYPE);
}

/* A text that fills its field has no NUL there; one that is longer is cut. */
static void hello_texts(void)
{
	char text[81] = {};
	u8 buf[VPF_REQUEST_MAX];

	memset(text, 'x', sizeof(text) - 1);
	EXPECT(vpf_encode_hello(buf, &key, 0, text, text), HDR + 112);
	EXPECT(!!memchr_inv(buf + HDR + 16, 'x', 32 + 64), false);
	vpf_encode_hello(buf, &key, 0, "", "");
	EXPECT(!!memchr_inv(buf + HDR + 16, 0, 32 + 64), false);
}

static void set_request(void)
{
	static const u8 body[28] = {
		0x01, 0x02, /* function */
		0x3f, 0x00, /* mask */
		0x02, 0x00, 0x00, 0x00, 0x00, 0x11, /* mac */
		1,    1,    2,	  7, /* spoofchk, trust, link, pcp */
		0xfe, 0x0f, /* vid */
		0xa8, 0x88, /* tpid */
		0,    0, /* reserved */
		0x04, 0x03, 0x02, 0x01, /* min_rate */
		0x08, 0x07, 0x06, 0x05, /* max_rate */
	};
	const struct vpf_set set = {
		.function = 0x0201,
		.mask = 0x3f,
		.mac = { 0x02, 0x00, 0x00, 0x00, 0x00, 0x11 },
		.spoofchk = true,
		.trust = true,
		.link = 2,
		.pcp = 7,
		.vid = 4094,
		.tpid = 0x88a8,
		.min_rate = 0x01020304,
		.max_rate = 0x05060708,
	};
	u8 buf[VPF_REQUEST_MAX];

	memcpy(empty_body(), body, sizeof(body));
	EXPECT(vpf_encode_set(buf, &key, SESSION, 7, &set), make(0x03, sizeof(body)));
	EXPECT_BYTES(buf, message, HDR + sizeof(body));
}

static void bodiless_messages(void)
{
	u8 buf[VPF_REQUEST_MAX], type;

	for (type = 0x05; type <= 0x06; type++) { /* EVENT_ACK, BYE */
		EXPECT_AT(type, vpf_encode_bare(buf, &key, type, SESSION, 7), make(type, 0));
		EXPECT_BYTES(buf, message, HDR);
	}
}

/* What vpfd sends */

static void hello_reply_fields(void)
{
	struct vpf_hello_reply hello;
	struct vpf_msg msg;

	if (!EXPECT(decode(make_hello_reply(), &msg), VPF_GOOD))
		return;
	EXPECT(msg.type, VPF_CTL_HELLO_REPLY);
	EXPECT(msg.session, SESSION);
	EXPECT(msg.sequence, 7);
	if (!EXPECT(vpf_decode_hello_reply(&msg, &hello), VPF_GOOD))
		return;
	EXPECT(hello.nonce, NONCE);
	EXPECT(hello.status, 0);
	EXPECT(hello.min_version, 1);
	EXPECT(hello.max_version, 3);
	EXPECT(hello.vfs, 255);
	EXPECT(hello.capabilities, 0x73f);
	EXPECT_BYTES(hello.mac, "\x02\x00\x00\x00\x00\x01", 6);
	EXPECT(strcmp(hello.pf, "pf0"), 0);
	EXPECT(strcmp(hello.daemon, "0.1.0"), 0);
}

/* They go to logs: no control characters; a text that fills its field has no NUL there. */
static void hello_reply_texts(void)
{
	struct vpf_hello_reply hello;
	struct vpf_msg msg;

	make_hello_reply();
	memcpy(message + HDR + 28, "\x1b[2J\n\x7f\xff ~", 9);
	memset(message + HDR + 60, 'v', 32);
	if (!EXPECT(decode(make(0x81, HELLO_REPLY), &msg), VPF_GOOD) ||
	    !EXPECT(vpf_decode_hello_reply(&msg, &hello), VPF_GOOD))
		return;
	EXPECT(strcmp(hello.pf, "?[2J??? ~"), 0);
	EXPECT(strlen(hello.daemon), 32);
}

static void hello_reply_values(void)
{
	static const struct {
		u8 at, byte;
		enum vpf_bad bad;
	} changes[] = {
		{ HDR + 8, 1, VPF_BAD_VALUE }, /* status */
		{ HDR + 12, 0, VPF_BAD_VALUE }, /* version */
		{ HDR + 12, 2, VPF_BAD_VALUE }, { HDR + 15, 1, VPF_BAD_VALUE }, /* vfs: 511 */
		{ HDR + 13, 0xff, VPF_GOOD }, /* reserved */
		{ HDR + 26, 0xff, VPF_GOOD }, /* reserved */
		{ HDR + 11, 0xff, VPF_GOOD }, /* max_version */
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(changes); i++) {
		make_hello_reply();
		message[changes[i].at] = changes[i].byte;
		seal(HDR + HELLO_REPLY);
		EXPECT_AT(i, decode_whole(HDR + HELLO_REPLY), changes[i].bad);
	}
	make_hello_reply();
	put_unaligned_le64(0, message + 8); /* no session */
	seal(HDR + HELLO_REPLY);
	EXPECT(decode_whole(HDR + HELLO_REPLY), VPF_BAD_VALUE);
	/* No version in common: only what follows up to max_version counts, and there is no session. */
	memset(message + HDR + 12, 0xff, HELLO_REPLY - 12);
	message[HDR + 8] = 7;
	seal(HDR + HELLO_REPLY);
	EXPECT(decode_whole(HDR + HELLO_REPLY), VPF_GOOD);
}

static void reply_functions(void)
{
	struct vpf_function fn;
	struct vpf_reply r;
	struct vpf_msg msg;

	if (!EXPECT(decode(make_reply(0x02, 0, 0x0102, 3), &msg), VPF_GOOD) ||
	    !EXPECT(vpf_decode_reply(&msg, &r), VPF_GOOD))
		return;
	EXPECT(r.request, VPF_CTL_GET);
	EXPECT(r.status, 0);
	EXPECT(r.first, 0x0102);
	EXPECT(r.count, 3);
	EXPECT(vpf_decode_function(r.records, 2, &fn), VPF_GOOD);
	EXPECT(fn.function, 0x0104);
	EXPECT(fn.spoofchk, false);
	EXPECT(fn.trust, true);
	EXPECT(fn.link_up, false);
	EXPECT(fn.started, true);
	EXPECT(fn.link, 2);
	EXPECT_BYTES(fn.mac, "\x02\x00\x00\x00\x00\x11", 6);
	EXPECT_BYTES(fn.admin_mac, "\x02\x00\x00\x00\x00\x12", 6);
	EXPECT(fn.vid, 4094);
	EXPECT(fn.pcp, 5);
	EXPECT(fn.tpid, 0x88a8);
	EXPECT(fn.min_rate, 50);
	EXPECT(fn.max_rate, S32_MAX);
	EXPECT(fn.pinned, 0x21);
}

static void reply_stats(void)
{
	static const size_t fields[] = {
		offsetof(struct vpf_stats, rx_packets),	  offsetof(struct vpf_stats, rx_bytes),
		offsetof(struct vpf_stats, rx_broadcast), offsetof(struct vpf_stats, rx_multicast),
		offsetof(struct vpf_stats, rx_dropped),	  offsetof(struct vpf_stats, tx_packets),
		offsetof(struct vpf_stats, tx_bytes),	  offsetof(struct vpf_stats, tx_broadcast),
		offsetof(struct vpf_stats, tx_multicast), offsetof(struct vpf_stats, tx_dropped),
	};
	struct vpf_stats stats;
	struct vpf_reply r;
	struct vpf_msg msg;
	unsigned int i;

	if (!EXPECT(decode(make_reply(0x04, 0, 1, 14), &msg), VPF_GOOD) ||
	    !EXPECT(vpf_decode_reply(&msg, &r), VPF_GOOD))
		return;
	EXPECT(r.count, 14);
	vpf_decode_stats(r.records, 13, &stats);
	EXPECT(stats.function, 14);
	for (i = 0; i < ARRAY_SIZE(fields); i++)
		EXPECT_AT(i, *(u64 *)((u8 *)&stats + fields[i]), 0x0102030405060700ULL + i);
}

static void reply_refusal(void)
{
	struct vpf_reply r;
	struct vpf_msg msg;

	if (!EXPECT(decode(make_reply(0x03, 1, 3, 0), &msg), VPF_GOOD) ||
	    !EXPECT(vpf_decode_reply(&msg, &r), VPF_GOOD))
		return;
	EXPECT(r.status, VPF_CTL_DENIED);
	EXPECT(strcmp(r.text, "not allowed"), 0);
	memset(message + HDR + 8, '\n', 120);
	if (!EXPECT(decode(make(0x82, REPLY), &msg), VPF_GOOD) ||
	    !EXPECT(vpf_decode_reply(&msg, &r), VPF_GOOD))
		return;
	EXPECT(strlen(r.text), 120);
	EXPECT(!!memchr_inv(r.text, '?', 120), false);
}

/* The count, the length and the status have to fit each other. */
static void reply_values(void)
{
	static const struct {
		u8 request;
		u16 status, count;
		u16 body_len;
		enum vpf_bad bad;
	} replies[] = {
		{ 0x02, 0, 2, REPLY + 2 * FUNCTION, VPF_GOOD },
		{ 0x02, 0, 3, REPLY + 2 * FUNCTION, VPF_BAD_VALUE },
		{ 0x02, 0, 1, REPLY + 2 * FUNCTION, VPF_BAD_VALUE },
		{ 0x02, 0, 65535, REPLY + 2 * FUNCTION, VPF_BAD_VALUE },
		{ 0x02, 0, 2, REPLY + 2 * FUNCTION - 1, VPF_BAD_VALUE },
		{ 0x02, 0, 2, REPLY + 2 * FUNCTION + 1, VPF_BAD_VALUE },
		{ 0x02, 0, 0, REPLY, VPF_BAD_VALUE }, /* good, and no record */
		{ 0x02, 1, 1, REPLY + FUNCTION, VPF_BAD_VALUE }, /* refused, and a record */
		{ 0x02, 65535, 0, REPLY, VPF_GOOD },
		{ 0x04, 0, 1, REPLY + STATS, VPF_GOOD },
		{ 0x04, 0, 1, REPLY + FUNCTION, VPF_BAD_VALUE },
		{ 0x01, 0, 1, REPLY + FUNCTION, VPF_BAD_VALUE }, /* no such request */
		{ 0x05, 1, 0, REPLY, VPF_BAD_VALUE },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(replies); i++) {
		make_reply(0x02, 0, 0, 4);
		message[HDR] = replies[i].request;
		put_unaligned_le16(replies[i].status, message + HDR + 2);
		put_unaligned_le16(replies[i].count, message + HDR + 6);
		EXPECT_AT(i, decode_whole(make(0x82, replies[i].body_len)), replies[i].bad);
	}
}

static void event_values(void)
{
	static const struct {
		u16 count, body_len;
		enum vpf_bad bad;
	} events[] = {
		{ 1, EVENT + FUNCTION, VPF_GOOD },
		{ 37, EVENT + 37 * FUNCTION, VPF_GOOD },
		{ 0, EVENT, VPF_BAD_VALUE },
		{ 0, EVENT + FUNCTION, VPF_BAD_VALUE },
		{ 2, EVENT + FUNCTION, VPF_BAD_VALUE },
		{ 1, EVENT + FUNCTION - 1, VPF_BAD_VALUE },
		{ 1, EVENT + FUNCTION + 1, VPF_BAD_VALUE },
		{ 65535, EVENT + FUNCTION, VPF_BAD_VALUE },
	};
	struct vpf_msg msg;
	const u8 *records;
	unsigned int i;
	u16 count;

	for (i = 0; i < ARRAY_SIZE(events); i++) {
		make_event(37);
		put_unaligned_le16(events[i].count, message + HDR);
		EXPECT_AT(i, decode_whole(make(0x83, events[i].body_len)), events[i].bad);
	}
	if (!EXPECT(decode(make_event(2), &msg), VPF_GOOD) ||
	    !EXPECT(vpf_decode_event(&msg, &count, &records), VPF_GOOD))
		return;
	EXPECT(count, 2);
	EXPECT(records - msg.body, EVENT);
}

static void function_values(void)
{
	static const struct {
		u8 at, byte;
		enum vpf_bad bad;
	} changes[] = {
		{ 2, 0xff, VPF_GOOD }, /* flags */
		{ 3, 3, VPF_BAD_VALUE }, /* link */
		{ 4, 0x01, VPF_BAD_VALUE }, /* mac: multicast */
		{ 10, 0x01, VPF_BAD_VALUE }, /* admin_mac: multicast */
		{ 16, 0, VPF_BAD_VALUE }, /* vlan_mode: none, and a vid */
		{ 16, 2, VPF_BAD_VALUE }, /* trunk, and a vid */
		{ 16, 3, VPF_BAD_VALUE },    { 17, 8, VPF_BAD_VALUE }, /* pcp */
		{ 18, 0xff, VPF_BAD_VALUE }, /* vid: 4095 */
		{ 20, 0x00, VPF_BAD_VALUE }, /* tpid: 0x8800 */
		{ 22, 0xff, VPF_GOOD }, /* mtu */
		{ 27, 0x80, VPF_BAD_VALUE }, /* min_rate: beyond an int */
		{ 31, 0x80, VPF_BAD_VALUE }, /* max_rate: beyond an int */
		{ 35, 0xff, VPF_GOOD }, /* pinned */
	};
	size_t len = HDR + EVENT + FUNCTION;
	u8 *record = message + HDR + EVENT;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(changes); i++) {
		make_event(1);
		record[changes[i].at] = changes[i].byte;
		seal(len);
		EXPECT_AT(i, decode_whole(len), changes[i].bad);
	}
	make_event(1);
	memset(record + 4, 0, 6); /* no mac */
	seal(len);
	EXPECT(decode_whole(len), VPF_BAD_VALUE);
	make_event(1);
	memset(record + 10, 0, 6); /* no admin_mac */
	put_unaligned_le16(0, record + 18);
	seal(len);
	EXPECT(decode_whole(len), VPF_BAD_VALUE); /* access, and no vid */
	record[16] = 2;
	seal(len);
	EXPECT(decode_whole(len), VPF_GOOD);
}

const struct codec_case codec_fields_cases[] = {
	{ CODEC_CASE(hello_vector) },
	{ CODEC_CASE(get_vector) },
	{ CODEC_CASE(hello_texts) },
	{ CODEC_CASE(set_request) },
	{ CODEC_CASE(bodiless_messages) },
	{ CODEC_CASE(hello_reply_fields) },
	{ CODEC_CASE(hello_reply_texts) },
	{ CODEC_CASE(hello_reply_values) },
	{ CODEC_CASE(reply_functions) },
	{ CODEC_CASE(reply_stats) },
	{ CODEC_CASE(reply_refusal) },
	{ CODEC_CASE(reply_values) },
	{ CODEC_CASE(event_values) },
	{ CODEC_CASE(function_values) },
	{},
};
