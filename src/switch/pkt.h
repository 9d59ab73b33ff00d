/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A frame on its way through the switch: its first bytes copied here, the rest still in the sender's buffers.
 *
 * The head is private, so what was checked (addresses, VLAN, protocol headers) is what is delivered, whatever
 * the sender's guest writes meanwhile; the rest is copied once, straight to the receiver. A VLAN tag that
 * concerns the switch is never part of the bytes: it is `vlan`, and is put in front of the EtherType where
 * the frame leaves tagged.
 *
 * Thread-safety: a pkt belongs to one worker. */

#include <string.h>

#include "util/ether.h"
#include "vhost/vring.h"

#define PKT_BURST   32
#define PKT_HEAD    192   /* bytes: Ethernet, two tags, IPv6 and TCP with all options fit */
#define PKT_MAX_LEN 65600 /* bytes: the largest frame, 64 KiB of IP and its link headers */
#define PKT_ETH_LEN 14
#define PKT_TAG_LEN 4

/* A VLAN as the switch tells them apart: the VLAN id, and whether its tag is 802.1ad. 0: untagged. */
#define VLAN_KEY_AD         0x1000
#define VLAN_KEY_ANY        0x1fff /* in the FDB only: every VLAN its port takes part in */
#define vlan_key(vid, tpid) ((uint16_t)((vid) | ((tpid) == ETHER_TPID_AD ? VLAN_KEY_AD : 0)))

struct pkt {
	struct virtio_net_hdr
		hdr;   /* offloads, offsets counted without the switch's tag; flags: NEEDS_CSUM, DATA_VALID */
	uint16_t vlan; /* VLAN key */
	uint8_t pcp;   /* 0…7; of frames with a VLAN */
	uint8_t ip_version; /* 4, 6; of frames with gso_type, from offload_check() on */
	uint16_t nseg;
	uint16_t head_len; /* bytes at head; >= PKT_ETH_LEN */
	uint32_t len;      /* bytes of the frame, without the switch's tag */
	uint8_t *head;
	struct vring_seg *seg; /* what follows the head */
	struct pkt *next;      /* of its group: burst.h */
	uint8_t room[PKT_HEAD + 8];
};

static inline uint64_t load_u64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t load_u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Copies n bytes, n <= PKT_HEAD, with a few overlapping moves instead of a call. */
static inline void copy_small(uint8_t *d, const uint8_t *s, unsigned int n)
{
	if (n >= 64) {
		for (unsigned int i = 0; i + 64 < n; i += 64)
			memcpy(d + i, s + i, 64);
		memcpy(d + n - 64, s + n - 64, 64);
	} else if (n >= 32) {
		memcpy(d, s, 32);
		memcpy(d + n - 32, s + n - 32, 32);
	} else if (n >= 16) {
		memcpy(d, s, 16);
		memcpy(d + n - 16, s + n - 16, 16);
	} else if (n >= 8) {
		memcpy(d, s, 8);
		memcpy(d + n - 8, s + n - 8, 8);
	} else {
		for (unsigned int i = 0; i < n; i++)
			d[i] = s[i];
	}
}

/* Copies n bytes. Not memcpy(): above some KiB that is the CPU's own string move, which some AMD CPUs do at a
 * tenth of the speed if the target's offset in its page is a few bytes above the source's. That is the case
 * here: a page of one guest goes after the 12 bytes of a header in another guest's page. */
void copy_bulk(uint8_t *d, const uint8_t *s, uint32_t n);

/* Writes the VLAN tag of a frame that has one: PKT_TAG_LEN bytes. */
static inline void pkt_put_tag(const struct pkt *p, uint8_t *to)
{
	store_be32(to, (p->vlan & VLAN_KEY_AD ? (uint32_t)ETHER_TPID_AD : ETHER_TPID_Q) << 16 |
			       (uint32_t)p->pcp << 13 | (p->vlan & 0xfff));
}

/* From here on the private copy of a frame is read: the compiler must not go back to the guest's bytes that
 * it was copied from, which may have changed. */
static inline void copied(void)
{
	__asm__ volatile("" : : : "memory");
}

/* Makes p from the usual chain that a driver sends: header and frame in one buffer, short enough for the
 * head. False: it is another kind. */
static inline bool pkt_from_plain(struct pkt *p, const struct vring_chain *c, unsigned int hdr_len)
{
	uint32_t len = c->len - hdr_len; /* wraps around if it is too short */

	if (unlikely(c->nseg != 1 || len - PKT_ETH_LEN > PKT_HEAD - PKT_ETH_LEN))
		return false;
	memcpy(&p->hdr, c->seg->base, sizeof(p->hdr));
	p->len = len;
	p->head = p->room + 8;
	p->head_len = (uint16_t)len;
	p->nseg = 0;
	copy_small(p->head, c->seg->base + hdr_len, len);
	copied();
	return true;
}

/* Makes p from a chain that a driver sent: `hdr_len` bytes of virtio-net header, then the frame. The segments
 * of the chain are changed to what follows the head. False: too short or too long for a frame. Checks nothing
 * else. */
bool pkt_from_chain(struct pkt *p, struct vring_chain *c, unsigned int hdr_len);

/* Makes p from a frame of `len` bytes at `data` (private memory); *seg is used for what follows the head. */
void pkt_from_buffer(struct pkt *p, struct vring_seg *seg, uint8_t *data, uint32_t len);

/* Copies the whole frame to `to` (PKT_MAX_LEN bytes), reading shared memory once. */
void pkt_linearize(const struct pkt *p, uint8_t *to);
