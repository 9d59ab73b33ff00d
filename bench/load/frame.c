/* SPDX-License-Identifier: Apache-2.0 */

#include "frame.h"

#define IP_LEN  20
#define UDP_LEN 8
#define TCP_LEN 20

static uint8_t *put16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
	return p + 2;
}

/* One's complement sum of `len` bytes, an even number. */
static uint32_t sum(const uint8_t *p, uint32_t len, uint32_t start)
{
	for (; len; len -= 2, p += 2)
		start += (uint32_t)(p[0] << 8 | p[1]);
	while (start >> 16)
		start = (start & 0xffff) + (start >> 16);
	return start;
}

static uint8_t *link_header(uint8_t *p, const uint8_t dst[6], const uint8_t src[6], uint16_t vlan)
{
	frame_address(p, dst, src);
	p += 12;
	if (vlan) {
		p = put16(p, 0x8100);
		p = put16(p, vlan);
	}
	return put16(p, 0x0800);
}

static uint8_t *ip_header(uint8_t *ip, uint32_t len, uint8_t protocol, const uint8_t dst[6],
			  const uint8_t src[6])
{
	memset(ip, 0, IP_LEN);
	ip[0] = 0x45;
	put16(ip + 2, len);
	ip[8] = 64;
	ip[9] = protocol;
	ip[12] = ip[16] = 10;
	memcpy(ip + 13, src + 3, 3);
	memcpy(ip + 17, dst + 3, 3);
	put16(ip + 10, ~sum(ip, IP_LEN, 0));
	return ip + IP_LEN;
}

void frame_make(uint8_t *frame, uint32_t len, const uint8_t dst[6], const uint8_t src[6], uint16_t vlan)
{
	uint8_t *end = frame + len, *ip = link_header(frame, dst, src, vlan);
	uint8_t *udp = ip_header(ip, (uint32_t)(end - ip), 17, dst, src), *p = udp;

	p = put16(p, 1024);
	p = put16(p, 9); /* discard */
	p = put16(p, (uint32_t)(end - udp));
	p = put16(p, 0); /* no checksum */
	memset(p, 0, (size_t)(end - p));
}

void frame_make_tcp(uint8_t *frame, uint32_t len, const uint8_t dst[6], const uint8_t src[6])
{
	uint8_t *end = frame + len, *ip = link_header(frame, dst, src, 0);
	uint8_t *tcp = ip_header(ip, (uint32_t)(end - ip), 6, dst, src);
	uint32_t tcp_len = (uint32_t)(end - tcp);

	memset(tcp, 0, tcp_len);
	put16(tcp, 1024);
	put16(tcp + 2, 9);
	tcp[12] = TCP_LEN / 4 << 4;
	tcp[13] = 0x10; /* ACK */
	put16(tcp + 14, 0xffff);
	/* The pseudo-header checksum, as a driver leaves it for the device to finish. */
	put16(tcp + 16, sum(ip + 12, 8, 6 + tcp_len));
}
