/* SPDX-License-Identifier: Apache-2.0 */

#include "switch/pkt.h"

void copy_bulk(uint8_t *d, const uint8_t *s, uint32_t n)
{
	for (; n >= 64; n -= 64, d += 64, s += 64)
		memcpy(d, s, 64);
	copy_small(d, s, n);
}

bool pkt_from_chain(struct pkt *p, struct vring_chain *c, unsigned int hdr_len)
{
	struct vring_seg *s = c->seg;
	unsigned int left = c->nseg, head;
	uint8_t hdr[sizeof(struct virtio_net_hdr_mrg_rxbuf)];
	uint8_t *to;

	if (unlikely(c->len < hdr_len + PKT_ETH_LEN || c->len > hdr_len + PKT_MAX_LEN))
		return false;
	p->len = c->len - hdr_len;
	p->head = p->room + 8;
	head = MIN(p->len, (uint32_t)PKT_HEAD);
	p->head_len = (uint16_t)head;

	/* Usual layouts first: header and frame together, or the header in a buffer of its own. */
	if (likely(s->len >= hdr_len)) {
		memcpy(&p->hdr, s->base, sizeof(p->hdr));
		s->base += hdr_len;
		s->len -= hdr_len;
		if (!s->len) {
			s++;
			left--;
		}
		if (likely(s->len >= head)) {
			copy_small(p->head, s->base, head);
			s->base += head;
			s->len -= head;
			if (!s->len) {
				s++;
				left--;
			}
			p->seg = s;
			p->nseg = (uint16_t)left;
			copied();
			return true;
		}
	} else {
		for (unsigned int have = 0; have < hdr_len;) {
			unsigned int part = MIN(s->len, hdr_len - have);

			memcpy(hdr + have, s->base, part);
			have += part;
			s->base += part;
			s->len -= part;
			if (!s->len) {
				s++;
				left--;
			}
		}
		memcpy(&p->hdr, hdr, sizeof(p->hdr));
	}

	for (to = p->head; head;) {
		unsigned int part = MIN(s->len, head);

		memcpy(to, s->base, part);
		to += part;
		head -= part;
		s->base += part;
		s->len -= part;
		if (!s->len) {
			s++;
			left--;
		}
	}
	p->seg = s;
	p->nseg = (uint16_t)left;
	copied();
	return true;
}

void pkt_from_buffer(struct pkt *p, struct vring_seg *seg, uint8_t *data, uint32_t len)
{
	p->len = len;
	p->head = p->room + 8;
	p->head_len = (uint16_t)MIN(len, (uint32_t)PKT_HEAD);
	copy_small(p->head, data, p->head_len);
	seg->base = data + p->head_len;
	seg->len = len - p->head_len;
	p->seg = seg;
	p->nseg = seg->len ? 1 : 0;
}

void pkt_linearize(const struct pkt *p, uint8_t *to)
{
	memcpy(to, p->head, p->head_len);
	to += p->head_len;
	for (unsigned int i = 0; i < p->nseg; i++) {
		memcpy(to, p->seg[i].base, p->seg[i].len);
		to += p->seg[i].len;
	}
}
