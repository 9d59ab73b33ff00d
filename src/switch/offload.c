/* SPDX-License-Identifier: Apache-2.0 */

#include "switch/offload.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define ETHERTYPE_V4 0x0800
#define ETHERTYPE_V6 0x86dd

uint64_t csum_add(uint64_t sum, const uint8_t *p, size_t n)
{
	/* In host order: the sum is the same with bytes swapped throughout (RFC 1071 §2(B)). */
	for (; n >= 4; p += 4, n -= 4) {
		uint32_t v;

		memcpy(&v, p, 4);
		sum += v;
	}
	if (n) {
		uint32_t v = 0;

		memcpy(&v, p, n);
		sum += v;
	}
	return sum;
}

uint16_t csum_fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

struct l3l4 {
	uint8_t ip_version, proto;
	uint16_t l3, l4; /* offsets */
};

/* Finds the IP and transport headers inside the head. False: not there, or a fragment. */
static bool find_headers(const struct pkt *p, struct l3l4 *h)
{
	unsigned int off = 12, n = p->head_len;
	uint16_t type = load_be16(p->head + off);

	/* Tags below the switch's own: a customer's inside a provider's. */
	for (unsigned int tags = 0; (type == ETHER_TPID_Q || type == ETHER_TPID_AD) && tags < 2; tags++) {
		off += PKT_TAG_LEN;
		if (off + 2 > n)
			return false;
		type = load_be16(p->head + off);
	}
	off += 2;
	h->l3 = (uint16_t)off;
	if (type == ETHERTYPE_V4) {
		unsigned int ihl;

		if (off + 20 > n || p->head[off] >> 4 != 4)
			return false;
		ihl = (p->head[off] & 15) * 4u;
		if (ihl < 20 || load_be16(p->head + off + 6) & 0x3fff)
			return false;
		h->ip_version = 4;
		h->proto = p->head[off + 9];
		off += ihl;
	} else if (type == ETHERTYPE_V6) {
		uint8_t next;

		if (off + 40 > n || p->head[off] >> 4 != 6)
			return false;
		h->ip_version = 6;
		next = p->head[off + 6];
		off += 40;
		/* Hop-by-hop, routing and destination options; a fragment has no whole transport header. */
		while (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS) {
			if (off + 8 > n)
				return false;
			next = p->head[off];
			off += (p->head[off + 1] + 1) * 8u;
		}
		h->proto = next;
	} else {
		return false;
	}
	h->l4 = (uint16_t)off;
	return off + 8 <= n;
}

bool offload_check_slow(struct pkt *p, uint64_t features)
{
	struct virtio_net_hdr *v = &p->hdr;
	uint8_t type = v->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	struct l3l4 h;
	unsigned int end;

	/* DATA_VALID and RSC_INFO are for the device to set (§5.1.6.2.1: the driver must not set them). */
	v->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	if (v->flags) {
		if (!virtio_has(features, VIRTIO_NET_F_CSUM) || v->csum_start < PKT_ETH_LEN ||
		    (uint32_t)v->csum_start + v->csum_offset + 2 > p->len)
			return false;
	}
	if (v->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		/* Fields without a meaning are not passed on: the kernel refuses a frame with a nonsensical
		 * hdr_len. */
		*v = (struct virtio_net_hdr){
			.flags = v->flags,
			.csum_start = v->flags ? v->csum_start : 0,
			.csum_offset = v->flags ? v->csum_offset : 0,
		};
		return true;
	}

	if (!v->flags || !v->gso_size || !find_headers(p, &h) || v->csum_start != h.l4)
		return false;
	end = h.l4;
	switch (type) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
	case VIRTIO_NET_HDR_GSO_TCPV6: {
		bool v4 = type == VIRTIO_NET_HDR_GSO_TCPV4;
		unsigned int thl;

		if (!virtio_has(features, v4 ? VIRTIO_NET_F_HOST_TSO4 : VIRTIO_NET_F_HOST_TSO6) ||
		    h.ip_version != (v4 ? 4 : 6) || h.proto != IPPROTO_TCP || v->csum_offset != 16)
			return false;
		if (v->gso_type & VIRTIO_NET_HDR_GSO_ECN && !virtio_has(features, VIRTIO_NET_F_HOST_ECN))
			return false;
		if (end + 20 > p->head_len)
			return false;
		thl = (p->head[end + 12] >> 4) * 4u;
		if (thl < 20)
			return false;
		end += thl;
		break;
	}
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		if (!virtio_has(features, VIRTIO_NET_F_HOST_USO) || h.proto != IPPROTO_UDP ||
		    v->csum_offset != 6)
			return false;
		end += 8;
		break;
	default:
		return false;
	}
	if (end > p->head_len || end >= p->len)
		return false;
	/* The work that a frame may cause if a receiver cannot take it whole. */
	if (p->len - end > (uint32_t)v->gso_size * OFFLOAD_MAX_SEGMENTS)
		return false;
	v->hdr_len = (uint16_t)end; /* the sender's value is only a hint (§5.1.6.2.2) */
	p->ip_version = h.ip_version;
	return true;
}

bool offload_taken_slow(const struct pkt *p, uint64_t features)
{
	if (p->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && !virtio_has(features, VIRTIO_NET_F_GUEST_CSUM))
		return false;
	if (p->hdr.gso_type & VIRTIO_NET_HDR_GSO_ECN && !virtio_has(features, VIRTIO_NET_F_GUEST_ECN))
		return false;
	switch (p->hdr.gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return virtio_has(features, VIRTIO_NET_F_GUEST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return virtio_has(features, VIRTIO_NET_F_GUEST_TSO6);
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return virtio_has(features,
				  p->ip_version == 6 ? VIRTIO_NET_F_GUEST_USO6 : VIRTIO_NET_F_GUEST_USO4);
	default:
		return false;
	}
}

/* Sum of the pseudo header (RFC 9293 §3.1, RFC 8200 §8.1) with the transport length `len`. */
static uint64_t pseudo_sum(const uint8_t *ip, uint8_t version, uint8_t proto, uint32_t len)
{
	uint64_t sum = version == 4 ? csum_add(0, ip + 12, 8) : csum_add(0, ip + 8, 32);

	return sum + htonl(len) + htons(proto);
}

static void store_csum(uint8_t *p, uint16_t csum)
{
	memcpy(p, &csum, 2); /* csum_fold() works in memory order */
}

/* Completes the checksum that the sender left partial: [csum_start, end) with the pseudo header's sum already
 * in the field. */
static void finish_checksum(uint8_t *frame, uint32_t len, const struct virtio_net_hdr *v)
{
	uint16_t csum = csum_fold(csum_add(0, frame + v->csum_start, len - v->csum_start));

	/* A UDP checksum of 0 would mean "none"; 0xffff is the same number (RFC 768). */
	if (!csum && v->csum_offset == 6)
		csum = 0xffff;
	store_csum(frame + v->csum_start + v->csum_offset, csum);
}

/* Gives the copied headers of segment i the values that they have on the wire. `payload` bytes follow. */
static void fix_headers(uint8_t *head, const struct pkt *p, unsigned int l3, unsigned int i, uint32_t offset,
			uint32_t payload, bool last)
{
	unsigned int l4 = p->hdr.csum_start, end = p->hdr.hdr_len;
	bool tcp = (p->hdr.gso_type & ~VIRTIO_NET_HDR_GSO_ECN) != VIRTIO_NET_HDR_GSO_UDP_L4;
	uint32_t l4_len = end - l4 + payload;

	if (p->ip_version == 4) {
		store_be16(head + l3 + 2, (uint16_t)(end - l3 + payload));
		store_be16(head + l3 + 4, (uint16_t)(load_be16(head + l3 + 4) + i));
		store_be16(head + l3 + 10, 0);
		store_csum(head + l3 + 10, csum_fold(csum_add(0, head + l3, l4 - l3)));
	} else {
		store_be16(head + l3 + 4, (uint16_t)(end - l3 - 40 + payload));
	}
	if (tcp) {
		store_be32(head + l4 + 4, load_be32(head + l4 + 4) + offset);
		if (!last)
			head[l4 + 13] &= (uint8_t)~0x09; /* FIN and PSH belong to the last segment */
		if (i && p->hdr.gso_type & VIRTIO_NET_HDR_GSO_ECN)
			head[l4 + 13] &= (uint8_t)~0x80; /* CWR to the first (RFC 3168 §6.1.2) */
	} else {
		store_be16(head + l4 + 4, (uint16_t)l4_len);
	}
	/* The pseudo header's sum; the receiver, or finish_segment_csum(), adds the rest. */
	store_csum(head + l4 + p->hdr.csum_offset,
		   (uint16_t)~csum_fold(
			   pseudo_sum(head + l3, p->ip_version, tcp ? IPPROTO_TCP : IPPROTO_UDP, l4_len)));
}

static void finish_segment_csum(uint8_t *head, const struct pkt *p, const uint8_t *payload, uint32_t len)
{
	unsigned int l4 = p->hdr.csum_start, end = p->hdr.hdr_len;
	uint16_t csum;

	/* Only the last part may have an odd length: TCP and UDP headers never have one. */
	csum = csum_fold(csum_add(csum_add(0, head + l4, end - l4), payload, len));
	if (!csum && p->hdr.csum_offset == 6)
		csum = 0xffff;
	store_csum(head + l4 + p->hdr.csum_offset, csum);
}

static unsigned int segment(const struct pkt *p, uint64_t features, struct offload_scratch *scratch,
			    void (*emit)(void *arg, struct pkt *p), void *arg)
{
	bool guest_csum = virtio_has(features, VIRTIO_NET_F_GUEST_CSUM);
	unsigned int end = p->hdr.hdr_len, n = 0;
	uint32_t total = p->len - end;
	struct pkt *s = &scratch->pkt;
	struct l3l4 h;

	if (!find_headers(p, &h)) /* offload_check() found them before, and the head is private */
		return 0;
	for (uint32_t offset = 0; offset < total; n++) {
		uint32_t part = MIN(total - offset, (uint32_t)p->hdr.gso_size);

		s->head = s->room + 8;
		memcpy(s->head, p->head, end);
		fix_headers(s->head, p, h.l3, n, offset, part, offset + part == total);
		s->hdr = (struct virtio_net_hdr){0};
		if (guest_csum) {
			s->hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
			s->hdr.csum_start = p->hdr.csum_start;
			s->hdr.csum_offset = p->hdr.csum_offset;
		} else {
			finish_segment_csum(s->head, p, scratch->work + end + offset, part);
		}
		s->vlan = p->vlan;
		s->pcp = p->pcp;
		s->head_len = (uint16_t)end;
		s->len = end + part;
		s->seg = &scratch->seg;
		s->nseg = 1;
		scratch->seg = (struct vring_seg){scratch->work + end + offset, part};
		emit(arg, s);
		offset += part;
	}
	return n;
}

unsigned int offload_finish(const struct pkt *p, uint64_t features, struct offload_scratch *scratch,
			    void (*emit)(void *arg, struct pkt *p), void *arg)
{
	struct pkt *s = &scratch->pkt;

	pkt_linearize(p, scratch->work);
	if (p->hdr.gso_type)
		return segment(p, features, scratch, emit, arg);

	if (p->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		finish_checksum(scratch->work, p->len, &p->hdr);
	s->hdr = (struct virtio_net_hdr){0};
	s->vlan = p->vlan;
	s->pcp = p->pcp;
	pkt_from_buffer(s, &scratch->seg, scratch->work, p->len);
	emit(arg, s);
	return 1;
}
