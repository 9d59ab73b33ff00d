/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VPF_CODEC_TEST_H
#define VPF_CODEC_TEST_H

/* What the files of the codec's test share.
 *
 * Offsets and values are written as in docs/control-channel.md, not taken from
 * include/vpf/control.h, so a mistake in the header is found as well.
 */

#include <linux/types.h>

#include "codec.h"

/* Lengths */
#define HDR 32
#define HELLO_REPLY 92
#define REPLY 128
#define EVENT 8
#define FUNCTION 36
#define STATS 88

#define SESSION 0xa1a2a3a4a5a6a7a8ULL
#define NONCE 0x1122334455667788ULL

struct codec_case {
	const char *name;
	void (*run)(void);
};

#define CODEC_CASE(function) #function, function

/* Both end with a case that has no name. */
extern const struct codec_case codec_fields_cases[], codec_malformed_cases[];

/* Two values that have to be equal, else the case that runs fails. Returns whether they are. @at is
 * for a loop's variable. Each argument is evaluated once.
 */
bool codec_expect(const char *function, int line, const char *what, u64 at, u64 got, u64 want);
#define EXPECT_AT(at, got, want) codec_expect(__func__, __LINE__, #got, at, got, want)
#define EXPECT(got, want) EXPECT_AT(0, got, want)
#define EXPECT_BYTES(got, want, len) EXPECT(memcmp(got, want, len), 0)

extern struct vpf_key key;
extern const u8 key_bytes[16];

/* codec_messages.c: each makes an authentic message in @message and returns its length. */
#define MESSAGE_SIZE 2048
extern u8 message[MESSAGE_SIZE];

void seal(size_t len);
u8 *empty_body(void);
/* The body is in its place already. */
size_t make(u8 type, size_t body_len);
size_t make_hello_reply(void);
size_t make_reply(u8 request, u16 status, u16 first, u16 count);
size_t make_event(u16 count);
/* One of each kind, the longest among them. Returns 0 after the last. */
size_t make_sample(unsigned int index);

/* codec_test.c: decode a copy of the first @len bytes of @message. */
enum vpf_bad decode(size_t len, struct vpf_msg *msg);
enum vpf_bad decode_whole(size_t len);

#endif
