/* SPDX-License-Identifier: GPL-2.0-only */

/* The driver's side of the control channel: the codec of vpf.ko, in user space, on what a hostile vpfd may
 * send. Everything that it accepts is inspected. And vpfd's own codec has to understand what it encodes.
 *
 * The input is a mode, then the message. Mode bit 0: magic, version and length are corrected; bit 1: the
 * tag, too. */

#include "kernel_shim.h"

#include "../../kmod/codec.c" /* NOLINT(bugprone-suspicious-include): its static functions, too */

#include "control/codec.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const u8 key_bytes[VPF_CTL_KEY_LEN] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static void check(bool ok)
{
	if (!ok)
		__builtin_trap();
}

static void check_text(const char *text, size_t size)
{
	size_t n = strnlen(text, size);

	check(n < size);
	for (size_t i = 0; i < n; i++)
		check(text[i] >= 0x20 && text[i] <= 0x7e);
}

static void check_functions(const u8 *records, unsigned int count, const u8 *end)
{
	for (unsigned int i = 0; i < count; i++) {
		struct vpf_function f;

		check(records + (i + 1) * sizeof(struct vpf_ctl_function) <= end);
		if (vpf_decode_function(records, i, &f) != VPF_GOOD)
			continue;
		check(f.link <= VPF_CTL_LINK_DISABLE && f.vid <= 4094 && f.pcp <= 7);
		check(f.min_rate <= S32_MAX && f.max_rate <= S32_MAX);
		check(is_valid_ether_addr(f.mac));
	}
}

static void check_stats(const u8 *records, unsigned int count, const u8 *end)
{
	for (unsigned int i = 0; i < count; i++) {
		struct vpf_stats s;

		check(records + (i + 1) * sizeof(struct vpf_ctl_stats) <= end);
		vpf_decode_stats(records, i, &s);
	}
}

static void look_at(const struct vpf_msg *msg)
{
	const u8 *end = msg->body + msg->body_len, *records;
	struct vpf_hello_reply hello;
	struct vpf_reply reply;
	u16 count;

	switch (msg->type) {
	case VPF_CTL_HELLO_REPLY:
		if (vpf_decode_hello_reply(msg, &hello) != VPF_GOOD)
			return;
		check_text(hello.pf, sizeof(hello.pf));
		check_text(hello.daemon, sizeof(hello.daemon));
		check(hello.status == VPF_CTL_VERSION_UNKNOWN || hello.vfs <= 255);
		return;
	case VPF_CTL_REPLY:
		if (vpf_decode_reply(msg, &reply) != VPF_GOOD)
			return;
		check_text(reply.text, sizeof(reply.text));
		if (reply.request == VPF_CTL_STATS)
			check_stats(reply.records, reply.count, end);
		else
			check_functions(reply.records, reply.count, end);
		return;
	case VPF_CTL_EVENT:
		if (vpf_decode_event(msg, &count, &records) != VPF_GOOD)
			return;
		check(count > 0);
		check_functions(records, count, end);
		return;
	default:
		check(msg->type == VPF_CTL_RESET);
		check((vpf_decode_bare(msg) == VPF_GOOD) == (msg->body_len == 0));
	}
}

static void decode(const struct vpf_key *key, u8 mode, const uint8_t *data, size_t size)
{
	u8 *bytes = malloc(size ? size : 1), *before = malloc(size ? size : 1);
	struct vpf_ctl_hdr hdr;
	struct vpf_msg msg;

	check(bytes && before);
	memcpy(bytes, data, size);
	if (mode & 1 && size >= sizeof(hdr)) {
		memcpy(&hdr, bytes, sizeof(hdr));
		hdr.magic = htole32(VPF_CTL_MAGIC);
		hdr.version = VPF_CTL_VERSION;
		hdr.length = htole16((uint16_t)(size < VPF_CTL_MAX ? size : VPF_CTL_MAX));
		memcpy(bytes, &hdr, sizeof(hdr));
		if (mode & 2) {
			hdr.tag = htole64(tag_of(bytes, le16toh(hdr.length), key));
			memcpy(bytes, &hdr, sizeof(hdr));
		}
	}
	memcpy(before, bytes, size);
	if (vpf_decode_msg(bytes, size, key, &msg) == VPF_GOOD) {
		check(msg.body >= bytes + sizeof(hdr) && msg.body + msg.body_len <= bytes + size);
		look_at(&msg);
	}
	check(!memcmp(bytes, before, size));
	free(bytes);
	free(before);
}

/* The message in `buf` through vpfd's decoder. */
static struct ctl_message by_vpfd(const u8 *buf, size_t len)
{
	u8 frame[CTL_ETH_LEN + VPF_REQUEST_MAX] = {[12] = 0x88, [13] = 0xb5};
	struct ctl_message m = {0};

	check(len <= VPF_REQUEST_MAX);
	memcpy(frame + CTL_ETH_LEN, buf, len);
	check(ctl_decode(key_bytes, frame, CTL_ETH_LEN + len, &m) == 0);
	return m;
}

static void encode_hello(const struct vpf_key *key, const uint8_t *data, size_t size)
{
	char driver[48] = "", kernel[80] = "";
	u8 buf[VPF_REQUEST_MAX];
	struct ctl_message m;
	u64 nonce;

	if (size < 8 + 47 + 79)
		return;
	memcpy(&nonce, data, 8);
	memcpy(driver, data + 8, sizeof(driver) - 1);
	memcpy(kernel, data + 8 + 47, sizeof(kernel) - 1);
	m = by_vpfd(buf, vpf_encode_hello(buf, key, nonce, driver, kernel));
	check(m.type == VPF_CTL_HELLO && m.hello.nonce == nonce);
	check(strlen(m.hello.driver) == strnlen(driver, 32) && strlen(m.hello.kernel) == strnlen(kernel, 64));
}

static void encode_request(const struct vpf_key *key, const uint8_t *data, size_t size)
{
	struct {
		u64 session;
		u32 sequence, min_rate, max_rate;
		u16 function, mask, vid, tpid;
		u8 mac[ETH_ALEN], flags, link, pcp;
	} in;
	u8 buf[VPF_REQUEST_MAX];
	struct ctl_message m;
	struct vpf_set set;

	if (size < sizeof(in))
		return;
	memcpy(&in, data, sizeof(in));
	in.session |= 1;
	set = (struct vpf_set){
		.function = in.function,
		.mask = in.mask,
		.spoofchk = in.flags & 1,
		.trust = in.flags & 2,
		.link = in.link,
		.pcp = in.pcp,
		.vid = in.vid,
		.tpid = in.tpid,
		.min_rate = in.min_rate,
		.max_rate = in.max_rate,
	};
	memcpy(set.mac, in.mac, sizeof(set.mac));
	m = by_vpfd(buf, vpf_encode_set(buf, key, in.session, in.sequence, &set));
	check(m.type == VPF_CTL_SET && m.session == in.session && m.sequence == in.sequence);
	check(m.set.function == set.function && m.set.mask == set.mask && m.set.link == set.link);
	check(!memcmp(m.set.mac, set.mac, ETH_ALEN) && m.set.vid == set.vid && m.set.tpid == set.tpid);
	check(m.set.spoofchk == set.spoofchk && m.set.trust == set.trust && m.set.pcp == set.pcp);
	check(m.set.min_rate == set.min_rate && m.set.max_rate == set.max_rate);

	m = by_vpfd(buf, vpf_encode_range(buf, key, VPF_CTL_STATS, in.session, in.sequence, in.vid, in.tpid));
	check(m.type == VPF_CTL_STATS && m.range.first == in.vid && m.range.count == in.tpid);
	m = by_vpfd(buf, vpf_encode_bare(buf, key, VPF_CTL_EVENT_ACK, in.session, in.sequence));
	check(m.type == VPF_CTL_EVENT_ACK && m.session == in.session && m.sequence == in.sequence);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vpf_key key;

	if (!size)
		return 0;
	vpf_key_from_bytes(&key, key_bytes);
	decode(&key, data[0], data + 1, size - 1);
	encode_hello(&key, data + 1, size - 1);
	encode_request(&key, data + 1, size - 1);
	return 0;
}
