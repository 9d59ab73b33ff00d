/* SPDX-License-Identifier: Apache-2.0 */

#include "frame.h"

#include <string.h>

static void put16(uint8_t *p, unsigned int v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

uint16_t frame_csum(const uint8_t *p, uint32_t n, uint32_t sum)
{
	for (uint32_t i = 0; i < n; i += 2) {
		sum += (uint32_t)p[i] << 8;
		if (i + 1 < n)
			sum += p[i + 1];
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (uint16_t) ~((sum & 0xffff) + (sum >> 16));
}

static uint32_t sum_of(const uint8_t *p, uint32_t n)
{
	return (uint16_t)~frame_csum(p, n, 0);
}

uint32_t frame_pseudo(const struct frame_spec *s, const struct frame *f)
{
	uint32_t sum = s->v6 ? sum_of(f->data + f->l3 + 8, 32) : sum_of(f->data + f->l3 + 12, 8);

	sum += s->udp ? 17 : 6;
	sum += f->len - f->l4;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

struct frame_spec frame_tcp(uint32_t payload)
{
	return (struct frame_spec){
		.dst = {2, 0, 0, 0, 0, 0x22},
		.src = {2, 0, 0, 0, 0, 0x11},
		.id = 0xfffe,
		.sport = 40000,
		.dport = 5201,
		.seq = 0xffffff00u,
		.tcp_flags = 0x18, /* ACK, PSH */
		.payload = payload,
	};
}

void frame_build(const struct frame_spec *s, bool partial, struct frame *f)
{
	uint8_t *p = f->data;
	unsigned int l4_head = s->udp ? 8 : 20 + s->tcp_options, l4_len = l4_head + s->payload;
	unsigned int csum_at = s->udp ? 6 : 16;
	uint16_t csum;

	memcpy(p, s->dst, 6);
	memcpy(p + 6, s->src, 6);
	p += 12;
	for (unsigned int i = 0; i < s->tags; i++, p += 4) {
		put16(p, s->tpid[i]);
		put16(p + 2, s->tci[i]);
	}
	put16(p, s->v6 ? 0x86dd : 0x0800);
	p += 2;
	f->l3 = (unsigned int)(p - f->data);
	f->l4 = f->l3 + (s->v6 ? 40 : 20) + s->ip_options;
	f->body = f->l4 + l4_head;
	f->len = f->body + s->payload;
	memset(p, 0, f->body - f->l3);
	if (s->v6) {
		p[0] = 0x60;
		put16(p + 4, s->ip_options + l4_len);
		p[6] = s->ip_options ? 60 : s->udp ? 17 : 6;
		p[7] = 64;
		p[8] = 0xfd;
		p[23] = 1;
		p[24] = 0xfd;
		p[39] = 2;
		if (s->ip_options) {
			p[40] = s->udp ? 17 : 6;
			p[41] = (uint8_t)(s->ip_options / 8 - 1);
			p[42] = 1; /* PadN to the end */
			p[43] = (uint8_t)(s->ip_options - 4);
		}
	} else {
		p[0] = (uint8_t)(0x40 | (5 + s->ip_options / 4));
		put16(p + 2, 20 + s->ip_options + l4_len);
		put16(p + 4, s->id);
		p[6] = 0x40;
		p[8] = 64;
		p[9] = s->udp ? 17 : 6;
		put32(p + 12, 0x0a000001);
		put32(p + 16, 0x0a000002);
		memset(p + 20, 1, s->ip_options); /* NOP */
		put16(p + 10, frame_csum(p, 20 + s->ip_options, 0));
	}
	p = f->data + f->l4;
	put16(p, s->sport);
	put16(p + 2, s->dport);
	if (s->udp) {
		put16(p + 4, l4_len);
	} else {
		put32(p + 4, s->seq);
		put32(p + 8, 0x12345678);
		p[12] = (uint8_t)((20 + s->tcp_options) / 4 << 4);
		p[13] = s->tcp_flags;
		put16(p + 14, 502);
		memset(p + 20, 1, s->tcp_options);
	}
	for (uint32_t i = 0; i < s->payload; i++)
		f->data[f->body + i] = (uint8_t)((s->offset + i) * 7 + (s->offset + i) / 251);
	if (partial) {
		put16(p + csum_at, frame_pseudo(s, f));
		return;
	}
	csum = frame_csum(p, l4_len, frame_pseudo(s, f));
	put16(p + csum_at, s->udp && !csum ? 0xffff : csum);
}

struct virtio_net_hdr frame_hdr(const struct frame_spec *s, const struct frame *f, uint16_t gso_size)
{
	struct virtio_net_hdr h = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = (uint16_t)f->l4,
		.csum_offset = s->udp ? 6 : 16,
	};

	if (gso_size) {
		h.gso_type = s->udp  ? VIRTIO_NET_HDR_GSO_UDP_L4
			     : s->v6 ? VIRTIO_NET_HDR_GSO_TCPV6
				     : VIRTIO_NET_HDR_GSO_TCPV4;
		h.gso_size = gso_size;
		h.hdr_len = (uint16_t)f->body;
	}
	return h;
}

void frame_plain(struct frame *f, const uint8_t dst[6], const uint8_t src[6], uint32_t len, uint32_t seed)
{
	memcpy(f->data, dst, 6);
	memcpy(f->data + 6, src, 6);
	put16(f->data + 12, 0x9000);
	for (uint32_t i = 14; i < len; i++)
		f->data[i] = (uint8_t)(i * 31 + seed + (i >> 8));
	f->len = len;
}
