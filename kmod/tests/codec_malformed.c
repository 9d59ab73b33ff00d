// SPDX-License-Identifier: GPL-2.0-only
/* Malformed frames. */
#include <linux/bits.h>
#include <linux/minmax.h>
#include <linux/string.h>

#include "codec_test.h"
#include "compat.h"

static void truncated(void)
{
	size_t len, cut;
	unsigned int i;
	struct vpf_msg msg;

	for (i = 0; (len = make_sample(i)); i++) {
		EXPECT_AT(i, decode_whole(len), VPF_GOOD);
		for (cut = 0; cut < len; cut++)
			EXPECT_AT(cut, decode(cut, &msg), VPF_BAD_LENGTH);
	}
}

/* The frame may be longer than its message, whatever is there. */
static void padded(void)
{
	size_t len, more;
	unsigned int i;

	for (i = 0; (len = make_sample(i)); i++) {
		memset(message + len, 0xff, MESSAGE_SIZE - len);
		for (more = 1; more <= 64; more++)
			EXPECT_AT(more, decode_whole(len + more), VPF_GOOD);
	}
}

/* An authentic message whose body is shorter or longer than its type's. */
static void wrong_body_length(void)
{
	size_t len, other;
	unsigned int i;

	for (i = 0; (len = make_sample(i)); i++)
		for (other = HDR; other <= min_t(size_t, len + 40, VPF_CTL_MAX); other++) {
			put_unaligned_le16(other, message + 6);
			seal(other);
			if (other != len)
				EXPECT_AT(other, decode_whole(other), VPF_BAD_VALUE);
		}
}

static void length_field(void)
{
	static const u16 lengths[] = { 0, 1, 31, 1401, 1500, 0x8000, 65535 };
	size_t len = make_event(37);
	struct vpf_msg msg;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		put_unaligned_le16(lengths[i], message + 6);
		if (lengths[i] >= HDR && lengths[i] <= MESSAGE_SIZE)
			seal(lengths[i]);
		EXPECT_AT(lengths[i], decode(MESSAGE_SIZE, &msg), VPF_BAD_LENGTH);
	}
	put_unaligned_le16(len + 1, message + 6);
	seal(len + 1);
	EXPECT(decode(len, &msg), VPF_BAD_LENGTH);
	make(0x83, VPF_CTL_MAX - HDR);
	EXPECT(decode(VPF_CTL_MAX, &msg), VPF_GOOD);
}

/* What a header is refused for, by the specification's order of the checks. */
static enum vpf_bad cause(size_t len)
{
	u16 length = get_unaligned_le16(message + 6);

	if (memcmp(message, "VPF1", 4))
		return VPF_BAD_MAGIC;
	if (message[4] != 1)
		return VPF_BAD_VERSION;
	if (length < 32 || length > 1400 || length > len)
		return VPF_BAD_LENGTH;
	if (message[5] < 0x81 || message[5] > 0x84)
		return VPF_BAD_TYPE;
	return VPF_BAD_TAG;
}

static void flipped_bits(void)
{
	unsigned int i, bit;
	struct vpf_msg msg;
	size_t len;

	for (i = 0; (len = make_sample(i)); i++)
		for (bit = 0; bit < 8 * len; bit++) {
			message[bit / 8] ^= BIT(bit % 8);
			EXPECT_AT(bit, decode(len, &msg), cause(len));
			message[bit / 8] ^= BIT(bit % 8);
		}
}

/* By a vpfd that was taken over: the tag is right, so it is for the other checks to find. */
static void flipped_and_sealed(void)
{
	unsigned int i, bit;
	enum vpf_bad bad;
	size_t len;

	for (i = 0; (len = make_sample(i)); i++)
		for (bit = 8 * HDR; bit < 8 * len; bit++) {
			message[bit / 8] ^= BIT(bit % 8);
			seal(len);
			bad = decode_whole(len);
			EXPECT_AT(bit, bad == VPF_GOOD || bad == VPF_BAD_VALUE, true);
			message[bit / 8] ^= BIT(bit % 8);
		}
}

static void every_type(void)
{
	struct vpf_msg msg;
	unsigned int type;
	size_t len;

	empty_body();
	for (type = 0; type < 256; type++) {
		len = make(type, 0);
		EXPECT_AT(type, decode(len, &msg),
			  type >= 0x81 && type <= 0x84 ? VPF_GOOD : VPF_BAD_TYPE);
	}
}

static void other_keys(void)
{
	u8 other_bytes[sizeof(key_bytes)];
	struct vpf_key other;
	struct vpf_msg msg;
	unsigned int i;
	size_t len = make_event(1);

	for (i = 0; i < sizeof(key_bytes); i++) {
		memcpy(other_bytes, key_bytes, sizeof(key_bytes));
		other_bytes[i] ^= 0x80;
		vpf_key_from_bytes(&other, other_bytes);
		EXPECT_AT(i, vpf_decode_msg(message, len, &other, &msg), VPF_BAD_TAG);
	}
	memset(message + 24, 0, 8);
	EXPECT(decode(len, &msg), VPF_BAD_TAG);
}

const struct codec_case codec_malformed_cases[] = {
	{ CODEC_CASE(truncated) },
	{ CODEC_CASE(padded) },
	{ CODEC_CASE(wrong_body_length) },
	{ CODEC_CASE(length_field) },
	{ CODEC_CASE(flipped_bits) },
	{ CODEC_CASE(flipped_and_sealed) },
	{ CODEC_CASE(every_type) },
	{ CODEC_CASE(other_keys) },
	{},
};
