/* SPDX-License-Identifier: Apache-2.0 */

#include "control/codec.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#include "util/siphash.h"

/* The structs' sizes are the format. */
static_assert(sizeof(struct vpf_ctl_hdr) == 32, "header");
static_assert(sizeof(struct vpf_ctl_hello) == 112, "hello");
static_assert(sizeof(struct vpf_ctl_hello_reply) == 92, "hello reply");
static_assert(sizeof(struct vpf_ctl_function) == 36, "function");
static_assert(sizeof(struct vpf_ctl_stats) == 88, "stats");
static_assert(sizeof(struct vpf_ctl_range) == 8, "range");
static_assert(sizeof(struct vpf_ctl_set) == 28, "set");
static_assert(sizeof(struct vpf_ctl_reply) == 128, "reply");
static_assert(sizeof(struct vpf_ctl_event) == 8, "event");

static char printable(char c)
{
	return c >= 0x20 && c <= 0x7e ? c : '?';
}

void ctl_text(char *dst, size_t size, const char *src)
{
	static const char ellipsis[] = "\u2026";
	size_t n = strnlen(src, size - 1);

	for (size_t i = 0; i < n;) {
		if (n - i >= 3 && !memcmp(src + i, ellipsis, 3)) {
			memset(dst + i, '.', 3);
			i += 3;
		} else {
			dst[i] = printable(src[i]);
			i++;
		}
	}
	memset(dst + n, 0, size - n);
}

/* A text of the peer: it ends at the first NUL or with its field. `dst` has one byte more than that. */
static void take_text(char *dst, const char *src, size_t size)
{
	size_t n = strnlen(src, size);

	for (size_t i = 0; i < n; i++)
		dst[i] = printable(src[i]);
	memset(dst + n, 0, size + 1 - n);
}

/* The tag counts as zeros. */
static uint64_t tag_of(const uint8_t key[VPF_CTL_KEY_LEN], void *message, size_t len)
{
	struct vpf_ctl_hdr *hdr = message;

	hdr->tag = 0;
	return siphash24(key, message, len);
}

static int take_hello(const void *body, size_t len, struct ctl_hello *ret)
{
	struct vpf_ctl_hello b;

	if (len != sizeof(b))
		return -EBADMSG;
	memcpy(&b, body, sizeof(b));
	if (b.min_version > b.max_version)
		return -EBADMSG;
	ret->nonce = le64toh(b.nonce);
	ret->min_version = b.min_version;
	ret->max_version = b.max_version;
	take_text(ret->driver, b.driver, sizeof(b.driver));
	take_text(ret->kernel, b.kernel, sizeof(b.kernel));
	return 0;
}

static int take_range(const void *body, size_t len, struct ctl_range *ret)
{
	struct vpf_ctl_range b;

	if (len != sizeof(b))
		return -EBADMSG;
	memcpy(&b, body, sizeof(b));
	ret->first = le16toh(b.first);
	ret->count = le16toh(b.count);
	return 0;
}

static int take_set(const void *body, size_t len, struct ctl_set *ret)
{
	struct vpf_ctl_set b;

	if (len != sizeof(b))
		return -EBADMSG;
	memcpy(&b, body, sizeof(b));
	*ret = (struct ctl_set){
		.function = le16toh(b.function),
		.mask = le16toh(b.mask),
		.spoofchk = b.spoofchk,
		.trust = b.trust,
		.link = b.link,
		.pcp = b.pcp,
		.vid = le16toh(b.vid),
		.tpid = le16toh(b.tpid),
		.min_rate = le32toh(b.min_rate),
		.max_rate = le32toh(b.max_rate),
	};
	memcpy(ret->mac, b.mac, sizeof(ret->mac));
	return 0;
}

static int take_body(const uint8_t *body, size_t len, struct ctl_message *ret)
{
	switch (ret->type) {
	case VPF_CTL_HELLO:
		if (ret->session || ret->sequence)
			return -EBADMSG;
		return take_hello(body, len, &ret->hello);
	case VPF_CTL_GET:
	case VPF_CTL_STATS:
		return take_range(body, len, &ret->range);
	case VPF_CTL_SET:
		return take_set(body, len, &ret->set);
	case VPF_CTL_EVENT_ACK:
	case VPF_CTL_BYE:
		return len ? -EBADMSG : 0;
	default:
		return 0;
	}
}

int ctl_decode(const uint8_t key[VPF_CTL_KEY_LEN], const void *frame, size_t len, struct ctl_message *ret)
{
	uint8_t message[VPF_CTL_MAX];
	const uint8_t *p = frame;
	struct vpf_ctl_hdr hdr;
	struct ctl_message m;
	size_t length;
	int r;

	if (len < CTL_ETH_LEN + sizeof(hdr) || p[12] != VPF_CTL_ETHERTYPE >> 8 ||
	    p[13] != (VPF_CTL_ETHERTYPE & 0xff))
		return -EBADMSG;
	memcpy(&hdr, p + CTL_ETH_LEN, sizeof(hdr));
	if (le32toh(hdr.magic) != VPF_CTL_MAGIC)
		return -EBADMSG;
	/* The fields up to here are where they are in every version; what follows may not be. */
	if (hdr.version != VPF_CTL_VERSION)
		return -EPROTONOSUPPORT;
	length = le16toh(hdr.length);
	if (length < sizeof(hdr) || length > VPF_CTL_MAX || length > len - CTL_ETH_LEN || hdr.type & 0x80)
		return -EBADMSG;
	memcpy(message, p + CTL_ETH_LEN, length);
	/* One comparison of two words, which takes as long wherever they differ. */
	if (tag_of(key, message, length) ^ le64toh(hdr.tag))
		return -EBADE;

	m = (struct ctl_message){
		.type = hdr.type,
		.session = le64toh(hdr.session),
		.sequence = le32toh(hdr.sequence),
	};
	if (m.type != VPF_CTL_HELLO && !m.session)
		return -EBADMSG;
	r = take_body(message + sizeof(hdr), length - sizeof(hdr), &m);
	if (r < 0)
		return r;
	*ret = m;
	return 0;
}

void ctl_begin(struct ctl_frame *f, uint8_t type, uint64_t session, uint32_t sequence)
{
	static const uint8_t ethernet[CTL_ETH_LEN] = {0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e, 0x02,
						      0x76, 0x70, 0x66, 0x00, 0x01, 0x88, 0xb5};
	struct vpf_ctl_hdr *hdr;

	memcpy(f->bytes, ethernet, sizeof(ethernet));
	f->len = sizeof(ethernet);
	hdr = ctl_append(f, sizeof(*hdr));
	hdr->magic = htole32(VPF_CTL_MAGIC);
	hdr->version = VPF_CTL_VERSION;
	hdr->type = type;
	hdr->session = htole64(session);
	hdr->sequence = htole32(sequence);
}

void *ctl_append(struct ctl_frame *f, size_t size)
{
	void *p = f->bytes + f->len;

	assert(size <= sizeof(f->bytes) - f->len);
	memset(p, 0, size);
	f->len += size;
	return p;
}

void ctl_finish(struct ctl_frame *f, const uint8_t key[VPF_CTL_KEY_LEN])
{
	struct vpf_ctl_hdr *hdr = (struct vpf_ctl_hdr *)(f->bytes + CTL_ETH_LEN);
	size_t length = f->len - CTL_ETH_LEN;

	hdr->length = htole16((uint16_t)length);
	hdr->tag = htole64(tag_of(key, hdr, length));
	if (f->len < CTL_FRAME_MIN)
		ctl_append(f, CTL_FRAME_MIN - f->len);
}
