/* SPDX-License-Identifier: Apache-2.0 */

#include "ctl_peer.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#include "util/siphash.h"

const uint8_t peer_key[VPF_CTL_KEY_LEN] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

struct vpf_ctl_hdr *peer_hdr(struct peer_frame *f)
{
	return (struct vpf_ctl_hdr *)(f->bytes + CTL_ETH_LEN);
}

void *peer_body(struct peer_frame *f)
{
	return peer_hdr(f) + 1;
}

void peer_sign(struct peer_frame *f, const uint8_t key[VPF_CTL_KEY_LEN])
{
	size_t length = MIN(le16toh(peer_hdr(f)->length), f->len - CTL_ETH_LEN);

	peer_hdr(f)->tag = 0;
	peer_hdr(f)->tag = htole64(siphash24(key, peer_hdr(f), length));
}

struct peer_frame peer_message(const uint8_t key[VPF_CTL_KEY_LEN], uint8_t type, uint64_t session,
			       uint32_t sequence, const void *body, size_t size)
{
	static const uint8_t ethernet[CTL_ETH_LEN] = {0x01, 0x80, 0xc2, 0, 0, 0x0e, 2,
						      0,    0,    0,    0, 1, 0x88, 0xb5};
	struct peer_frame f = {.len = CTL_ETH_LEN + sizeof(struct vpf_ctl_hdr) + size};

	assert(f.len <= sizeof(f.bytes));
	memcpy(f.bytes, ethernet, sizeof(ethernet));
	*peer_hdr(&f) = (struct vpf_ctl_hdr){
		.magic = htole32(VPF_CTL_MAGIC),
		.version = VPF_CTL_VERSION,
		.type = type,
		.length = htole16((uint16_t)(sizeof(struct vpf_ctl_hdr) + size)),
		.session = htole64(session),
		.sequence = htole32(sequence),
	};
	if (size)
		memcpy(peer_body(&f), body, size);
	peer_sign(&f, key);
	f.len = MAX(f.len, (size_t)CTL_FRAME_MIN);
	return f;
}

struct peer_frame peer_hello_versions(uint64_t nonce, uint8_t min, uint8_t max)
{
	struct vpf_ctl_hello b = {.nonce = htole64(nonce), .min_version = min, .max_version = max};

	memcpy(b.driver, "0.1.0", 5);
	memcpy(b.kernel, "6.12.0", 6);
	return peer_message(peer_key, VPF_CTL_HELLO, 0, 0, &b, sizeof(b));
}

struct peer_frame peer_hello(uint64_t nonce)
{
	return peer_hello_versions(nonce, VPF_CTL_VERSION, VPF_CTL_VERSION);
}

struct peer_frame peer_range(uint8_t type, uint64_t session, uint32_t sequence, uint16_t first,
			     uint16_t count)
{
	struct vpf_ctl_range b = {.first = htole16(first), .count = htole16(count)};

	return peer_message(peer_key, type, session, sequence, &b, sizeof(b));
}

struct peer_frame peer_get(uint64_t session, uint32_t sequence, uint16_t first, uint16_t count)
{
	return peer_range(VPF_CTL_GET, session, sequence, first, count);
}

struct peer_frame peer_set(uint64_t session, uint32_t sequence, const struct vpf_ctl_set *b)
{
	return peer_message(peer_key, VPF_CTL_SET, session, sequence, b, sizeof(*b));
}

size_t peer_check(struct peer_frame *f, const uint8_t key[VPF_CTL_KEY_LEN])
{
	struct vpf_ctl_hdr *hdr = peer_hdr(f);
	uint64_t tag = hdr->tag;
	size_t length = le16toh(hdr->length);

	assert(f->len >= CTL_FRAME_MIN && f->len <= CTL_FRAME_MAX);
	assert(!memcmp(f->bytes, (uint8_t[])VPF_CTL_GROUP, 6));
	assert(!memcmp(f->bytes + 6, (uint8_t[])VPF_CTL_HOST_SOURCE, 6));
	assert(f->bytes[12] == 0x88 && f->bytes[13] == 0xb5);
	assert(le32toh(hdr->magic) == VPF_CTL_MAGIC && hdr->version == VPF_CTL_VERSION && hdr->type >= 0x80);
	assert(length >= sizeof(*hdr) && length <= f->len - CTL_ETH_LEN && !hdr->reserved);
	peer_sign(f, key);
	assert(hdr->tag == tag);
	for (size_t i = CTL_ETH_LEN + length; i < f->len; i++)
		assert(!f->bytes[i]);
	return length - sizeof(*hdr);
}
