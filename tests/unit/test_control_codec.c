/* SPDX-License-Identifier: Apache-2.0 */

/* The control channel's messages: what is right comes through as it was meant, everything else is refused
 * with the reason that it is counted under, and nothing is returned. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ctl_peer.h"

static int decode(const struct peer_frame *f, struct ctl_message *ret)
{
	/* On the heap in its own length, so that a sanitizer sees a read past the end. */
	uint8_t *exact = malloc(f->len ? f->len : 1);
	int r;

	assert_non_null(exact);
	memcpy(exact, f->bytes, f->len);
	r = ctl_decode(peer_key, exact, f->len, ret);
	free(exact);
	return r;
}

static void assert_refused(const struct peer_frame *f, int error)
{
	struct ctl_message untouched, m;

	memset(&untouched, 0xa5, sizeof(untouched));
	memcpy(&m, &untouched, sizeof(m));
	assert_int_equal(decode(f, &m), error);
	assert_memory_equal(&m, &untouched, sizeof(m));
}

/* The examples of docs/control-channel.md. */
static void test_vectors(void **state)
{
	static const uint8_t hello[158] = {
		0x01, 0x80, 0xc2,        0x00, 0x00, 0x0e, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x88,
		0xb5, 0x56, 0x50,        0x46, 0x31, 0x01, 0x01, 0x90, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00,        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x68,
		0x8b, 0x02, 0x72,        0x2f, 0xa7, 0xe8, 0xd5, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33,
		0x22, 0x11, 0x01,        0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x30, 0x2e, 0x31,
		0x2e, 0x30, [94] = 0x36, 0x2e, 0x31, 0x32, 0x2e, 0x30,
	};
	static const uint8_t get[60] = {
		0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x88, 0xb5, 0x56,
		0x50, 0x46, 0x31, 0x01, 0x02, 0x28, 0x00, 0xa8, 0xa7, 0xa6, 0xa5, 0xa4, 0xa3, 0xa2, 0xa1,
		0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x50, 0x18, 0xa1, 0x16, 0xc0, 0x65, 0x11,
		0xf9, 0x00, 0x00, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	};
	struct ctl_message m = {0};

	(void)state;
	assert_int_equal(ctl_decode(peer_key, hello, sizeof(hello), &m), 0);
	assert_int_equal(m.type, VPF_CTL_HELLO);
	assert_true(m.hello.nonce == 0x1122334455667788);
	assert_string_equal(m.hello.driver, "0.1.0");
	assert_string_equal(m.hello.kernel, "6.12.0");
	assert_int_equal(ctl_decode(peer_key, get, sizeof(get), &m), 0);
	assert_int_equal(m.type, VPF_CTL_GET);
	assert_true(m.session == 0xa1a2a3a4a5a6a7a8 && m.sequence == 1);
	assert_true(m.range.first == 0 && m.range.count == 9);
}

static void test_set(void **state)
{
	struct vpf_ctl_set b = {
		.function = htole16(7),
		.mask = htole16(VPF_CTL_SETTINGS),
		.mac = {2, 3, 4, 5, 6, 7},
		.spoofchk = 1,
		.trust = 2,
		.link = 3,
		.pcp = 4,
		.vid = htole16(0x1234),
		.tpid = htole16(0x88a8),
		.min_rate = htole32(0x12345678),
		.max_rate = htole32(0x9abcdef0),
	};
	struct peer_frame f = peer_set(5, 0xfffffffe, &b);
	struct ctl_message m = {0};

	(void)state;
	assert_int_equal(decode(&f, &m), 0);
	assert_int_equal(m.type, VPF_CTL_SET);
	assert_true(m.session == 5 && m.sequence == 0xfffffffe);
	assert_true(m.set.function == 7 && m.set.mask == VPF_CTL_SETTINGS);
	assert_memory_equal(m.set.mac, b.mac, 6);
	assert_true(m.set.spoofchk == 1 && m.set.trust == 2 && m.set.link == 3 && m.set.pcp == 4);
	assert_true(m.set.vid == 0x1234 && m.set.tpid == 0x88a8);
	assert_true(m.set.min_rate == 0x12345678 && m.set.max_rate == 0x9abcdef0);
}

static void test_every_length_of_a_frame(void **state)
{
	struct peer_frame whole = peer_get(5, 1, 0, 1);
	struct ctl_message m = {0};

	(void)state;
	for (size_t len = 0; len < CTL_ETH_LEN + sizeof(struct vpf_ctl_hdr) + sizeof(struct vpf_ctl_range);
	     len++) {
		struct peer_frame f = whole;

		f.len = len;
		assert_refused(&f, -EBADMSG);
	}
	/* Padding, whatever is in it, is none of the message. */
	whole.len = CTL_FRAME_MAX;
	memset(whole.bytes + 60, 0xff, CTL_FRAME_MAX - 60);
	assert_int_equal(decode(&whole, &m), 0);
}

/* Each with the right tag, so that it is not the tag that is refused. */
static void test_wrong_lengths(void **state)
{
	static const uint16_t lengths[] = {0, 1, 31, 32, 39, 41, 46, 47, 1386, 1400, 1401, 0x7fff, 0xffff};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct peer_frame f = peer_get(5, 1, 0, 1);

		peer_hdr(&f)->length = htole16(lengths[i]);
		peer_sign(&f, peer_key);
		assert_refused(&f, -EBADMSG);
	}
}

static void test_body_of_another_size(void **state)
{
	static const struct {
		uint8_t type;
		size_t size;
	} right[] = {
		{VPF_CTL_HELLO, sizeof(struct vpf_ctl_hello)},
		{VPF_CTL_GET, sizeof(struct vpf_ctl_range)},
		{VPF_CTL_SET, sizeof(struct vpf_ctl_set)},
		{VPF_CTL_STATS, sizeof(struct vpf_ctl_range)},
		{VPF_CTL_EVENT_ACK, 0},
		{VPF_CTL_BYE, 0},
	};
	uint8_t body[VPF_CTL_MAX] = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(right); i++)
		for (size_t size = 0; size <= VPF_CTL_MAX - sizeof(struct vpf_ctl_hdr); size++) {
			uint64_t session = right[i].type == VPF_CTL_HELLO ? 0 : 5;
			struct peer_frame f = peer_message(peer_key, right[i].type, session, 0, body, size);
			struct ctl_message m;

			if (size == right[i].size)
				assert_int_equal(decode(&f, &m), 0);
			else
				assert_refused(&f, -EBADMSG);
		}
}

static void test_wrong_fields(void **state)
{
	struct peer_frame f;

	(void)state;
	f = peer_get(5, 1, 0, 1);
	f.bytes[12] = 0x08;
	assert_refused(&f, -EBADMSG);
	for (unsigned int bit = 0; bit < 32; bit++) {
		f = peer_get(5, 1, 0, 1);
		peer_hdr(&f)->magic ^= htole32(1U << bit);
		peer_sign(&f, peer_key);
		assert_refused(&f, -EBADMSG);
	}
	for (unsigned int version = 0; version < 256; version++) {
		f = peer_get(5, 1, 0, 1);
		peer_hdr(&f)->version = (uint8_t)version;
		peer_sign(&f, peer_key);
		if (version != VPF_CTL_VERSION)
			assert_refused(&f, -EPROTONOSUPPORT);
	}
	/* vpfd's own messages turned round */
	for (unsigned int type = 0x80; type < 256; type++) {
		f = peer_get(5, 1, 0, 1);
		peer_hdr(&f)->type = (uint8_t)type;
		peer_sign(&f, peer_key);
		assert_refused(&f, -EBADMSG);
	}
	for (unsigned int type = VPF_CTL_GET; type <= VPF_CTL_BYE; type++) {
		f = peer_get(5, 1, 0, 1);
		peer_hdr(&f)->type = (uint8_t)type;
		peer_hdr(&f)->session = 0;
		peer_sign(&f, peer_key);
		assert_refused(&f, -EBADMSG);
	}
	f = peer_hello(1);
	peer_hdr(&f)->session = 1;
	peer_sign(&f, peer_key);
	assert_refused(&f, -EBADMSG);
	f = peer_hello(1);
	peer_hdr(&f)->sequence = 1;
	peer_sign(&f, peer_key);
	assert_refused(&f, -EBADMSG);
	f = peer_hello_versions(1, 2, 1);
	assert_refused(&f, -EBADMSG);
}

/* What a newer driver may have beside this one's. */
static void test_unknown_type_and_reserved_fields(void **state)
{
	static const uint8_t body[3] = "abc";
	struct peer_frame f = peer_message(peer_key, 0x7f, 5, 1, body, sizeof(body));
	struct ctl_message m = {0};

	(void)state;
	assert_int_equal(decode(&f, &m), 0);
	assert_int_equal(m.type, 0x7f);
	f = peer_get(5, 1, 0, 1);
	peer_hdr(&f)->reserved = 0xffffffff;
	((struct vpf_ctl_range *)peer_body(&f))->reserved = 0xffffffff;
	peer_sign(&f, peer_key);
	assert_int_equal(decode(&f, &m), 0);
}

static void test_every_bit_is_under_the_tag(void **state)
{
	struct peer_frame right = peer_get(0x1111111111111111, 1, 0, 1);
	size_t size = le16toh(peer_hdr(&right)->length);
	uint8_t other_key[VPF_CTL_KEY_LEN];
	struct ctl_message m;

	(void)state;
	for (size_t bit = 0; bit < 8 * size; bit++) {
		struct peer_frame f = right;

		f.bytes[CTL_ETH_LEN + bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_true(decode(&f, &m) < 0);
		if (bit >= 8 * 8) /* behind magic, version, type and length */
			assert_refused(&f, -EBADE);
	}
	memcpy(other_key, peer_key, sizeof(other_key));
	other_key[15] ^= 0x80;
	peer_sign(&right, other_key);
	assert_refused(&right, -EBADE);
}

static void test_texts(void **state)
{
	static const char kernel[] = "6\n\x1b[31m\x80\xff\x7f~ \0hidden";
	struct vpf_ctl_hello b = {.min_version = 1, .max_version = 255};
	struct ctl_message m = {0};
	struct peer_frame f;
	char text[8];

	(void)state;
	memset(b.driver, 'd', sizeof(b.driver)); /* no NUL */
	memcpy(b.kernel, kernel, sizeof(kernel));
	f = peer_message(peer_key, VPF_CTL_HELLO, 0, 0, &b, sizeof(b));
	assert_int_equal(decode(&f, &m), 0);
	assert_int_equal(strlen(m.hello.driver), sizeof(b.driver));
	assert_string_equal(m.hello.kernel, "6??[31m???~ ");

	ctl_text(text, sizeof(text), "a\tb");
	assert_memory_equal(text, "a?b\0\0\0\0\0", 8);
	ctl_text(text, sizeof(text), "0123456789");
	assert_memory_equal(text, "0123456\0", 8);
	ctl_text(text, sizeof(text), "1\u2026\u2026");
	assert_memory_equal(text, "1......\0", 8);
	ctl_text(text, sizeof(text), "12345\u2026"); /* cut within */
	assert_memory_equal(text, "12345??\0", 8);
}

static void test_what_vpfd_sends(void **state)
{
	struct peer_frame copy;
	struct ctl_frame f;

	(void)state;
	memset(&f, 0xff, sizeof(f));
	ctl_begin(&f, VPF_CTL_RESET, 0x0102030405060708, 9);
	ctl_finish(&f, peer_key);
	memcpy(copy.bytes, f.bytes, f.len);
	copy.len = f.len;
	assert_int_equal(peer_check(&copy, peer_key), 0);
	assert_int_equal(f.len, CTL_FRAME_MIN);
	assert_int_equal(peer_hdr(&copy)->type, VPF_CTL_RESET);
	assert_true(le64toh(peer_hdr(&copy)->session) == 0x0102030405060708);
	assert_int_equal(le32toh(peer_hdr(&copy)->sequence), 9);

	memset(&f, 0xff, sizeof(f));
	ctl_begin(&f, VPF_CTL_REPLY, 1, 1);
	memset(ctl_append(&f, VPF_CTL_MAX - sizeof(struct vpf_ctl_hdr)), 7, 100);
	ctl_finish(&f, peer_key);
	memcpy(copy.bytes, f.bytes, f.len);
	copy.len = f.len;
	assert_int_equal(f.len, CTL_FRAME_MAX);
	assert_int_equal(peer_check(&copy, peer_key), VPF_CTL_MAX - sizeof(struct vpf_ctl_hdr));
	assert_int_equal(((uint8_t *)peer_body(&copy))[100], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_every_length_of_a_frame),
		cmocka_unit_test(test_wrong_lengths),
		cmocka_unit_test(test_body_of_another_size),
		cmocka_unit_test(test_wrong_fields),
		cmocka_unit_test(test_unknown_type_and_reserved_fields),
		cmocka_unit_test(test_every_bit_is_under_the_tag),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_what_vpfd_sends),
	};

	return cmocka_run_group_tests_name("control_codec", tests, NULL, NULL);
}
