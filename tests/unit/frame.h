/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Frames for tests, built and checked by the plainest code there is, which shares nothing with what it tests. */

#include <stdbool.h>
#include <stdint.h>

#include "vhost/virtio.h"

#define FRAME_MAX 66000

struct frame_spec {
	uint8_t dst[6], src[6];
	unsigned int tags; /* 802.1Q/802.1ad tags in the bytes */
	uint16_t tpid[2], tci[2];
	bool v6, udp;
	unsigned int ip_options;  /* bytes, multiple of 4 (IPv4 options) or of 8 (IPv6 destination options) */
	unsigned int tcp_options; /* bytes, multiple of 4 */
	uint16_t id, sport, dport;
	uint32_t seq;
	uint8_t tcp_flags;
	uint32_t payload; /* bytes */
	uint32_t offset;  /* of the payload in the pattern */
};

struct frame {
	uint8_t data[FRAME_MAX];
	uint32_t len;
	unsigned int l3, l4, body; /* offsets */
};

/* A TCP/IPv4 frame of n bytes of payload from a MAC to another: what tests start from. */
struct frame_spec frame_tcp(uint32_t payload);
/* Builds it. The transport checksum is right, or with `partial` what a driver leaves for the device: the sum
 * of the pseudo header. */
void frame_build(const struct frame_spec *s, bool partial, struct frame *f);
/* The offload header that goes with a partial checksum; gso_size 0: no segmentation. */
struct virtio_net_hdr frame_hdr(const struct frame_spec *s, const struct frame *f, uint16_t gso_size);
/* A frame of any length with an EtherType of its own, filled with a pattern that `seed` chooses. */
void frame_plain(struct frame *f, const uint8_t dst[6], const uint8_t src[6], uint32_t len, uint32_t seed);
/* RFC 1071, word by word in network order. */
uint16_t frame_csum(const uint8_t *p, uint32_t n, uint32_t sum);
uint32_t frame_pseudo(const struct frame_spec *s, const struct frame *f);
