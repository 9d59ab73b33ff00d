// SPDX-License-Identifier: GPL-2.0-only
/* Messages of vpfd, as the specification has them. */
#include <linux/siphash.h>
#include <linux/string.h>

#include "codec_test.h"
#include "compat.h"

u8 message[MESSAGE_SIZE];

/* key_bytes as SipHash reads them */
static const siphash_key_t sip = { { 0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL } };

void seal(size_t len)
{
	memset(message + 24, 0, 8);
	put_unaligned_le64(siphash(message, len, &sip), message + 24);
}

size_t make(u8 type, size_t body_len)
{
	size_t len = HDR + body_len;

	memset(message, 0, HDR);
	memcpy(message, "VPF1", 4);
	message[4] = 1;
	message[5] = type;
	put_unaligned_le16(len, message + 6);
	put_unaligned_le64(SESSION, message + 8);
	put_unaligned_le32(7, message + 16);
	seal(len);
	return len;
}

u8 *empty_body(void)
{
	memset(message, 0, MESSAGE_SIZE);
	return message + HDR;
}

size_t make_hello_reply(void)
{
	u8 *body = empty_body();

	put_unaligned_le64(NONCE, body);
	body[10] = 1; /* min_version */
	body[11] = 3; /* max_version */
	body[12] = 1; /* version */
	put_unaligned_le16(255, body + 14); /* vfs */
	put_unaligned_le32(0x73f, body + 16); /* capabilities */
	memcpy(body + 20, "\x02\x00\x00\x00\x00\x01", 6);
	memcpy(body + 28, "pf0", 3);
	memcpy(body + 60, "0.1.0", 5);
	return make(0x81, HELLO_REPLY);
}

static void function_record(u8 *at, u16 function)
{
	memset(at, 0, FUNCTION);
	put_unaligned_le16(function, at);
	at[2] = 0x0a; /* trust, started */
	at[3] = 2; /* link: disable */
	memcpy(at + 4, "\x02\x00\x00\x00\x00\x11", 6);
	memcpy(at + 10, "\x02\x00\x00\x00\x00\x12", 6);
	at[16] = 1; /* access */
	at[17] = 5; /* pcp */
	put_unaligned_le16(4094, at + 18); /* vid */
	put_unaligned_le16(0x88a8, at + 20); /* tpid */
	put_unaligned_le16(1500, at + 22); /* mtu */
	put_unaligned_le32(50, at + 24); /* min_rate */
	put_unaligned_le32(0x7fffffff, at + 28); /* max_rate */
	put_unaligned_le32(0x21, at + 32); /* pinned */
}

static void stats_record(u8 *at, u16 function)
{
	unsigned int i;

	memset(at, 0, STATS);
	put_unaligned_le16(function, at);
	for (i = 0; i < 10; i++)
		put_unaligned_le64(0x0102030405060700ULL + i, at + 8 + 8 * i);
}

size_t make_reply(u8 request, u16 status, u16 first, u16 count)
{
	size_t size = request == 0x04 ? STATS : FUNCTION;
	u8 *body = empty_body(), *record = body + REPLY;
	unsigned int i;

	body[0] = request;
	put_unaligned_le16(status, body + 2);
	put_unaligned_le16(first, body + 4);
	put_unaligned_le16(count, body + 6);
	if (status)
		memcpy(body + 8, "not allowed", 11);
	for (i = 0; i < count; i++, record += size) {
		if (request == 0x04)
			stats_record(record, first + i);
		else
			function_record(record, first + i);
	}
	return make(0x82, REPLY + count * size);
}

size_t make_event(u16 count)
{
	u8 *body = empty_body();
	unsigned int i;

	put_unaligned_le16(count, body);
	for (i = 0; i < count; i++)
		function_record(body + EVENT + FUNCTION * i, i);
	return make(0x83, EVENT + FUNCTION * count);
}

static size_t make_reset(void)
{
	empty_body();
	return make(0x84, 0);
}

size_t make_sample(unsigned int index)
{
	switch (index) {
	case 0:
		return make_hello_reply();
	case 1:
		return make_reply(0x02, 0, 0, 34);
	case 2:
		return make_reply(0x03, 0, 3, 1);
	case 3:
		return make_reply(0x04, 0, 1, 14);
	case 4:
		return make_reply(0x03, 1, 3, 0);
	case 5:
		return make_event(37);
	case 6:
		return make_reset();
	default:
		return 0;
	}
}
