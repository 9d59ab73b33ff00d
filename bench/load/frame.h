/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The frames that the load generator sends: Ethernet, perhaps an 802.1Q tag, IPv4, UDP, and in the first byte
 * of the payload the epoch in which the frame was sent (see circulate.c). All that is read or written of a
 * frame on its way is in the first cache line of its buffer. */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FRAME_MIN 64

/* Writes a whole frame of `len` bytes, tag included. `vlan` 0: no tag. */
void frame_make(uint8_t *frame, uint32_t len, const uint8_t dst[6], const uint8_t src[6], uint16_t vlan);
/* The same with TCP as the protocol, for segmentation offload. */
void frame_make_tcp(uint8_t *frame, uint32_t len, const uint8_t dst[6], const uint8_t src[6]);

static inline uint32_t frame_tag_len(const uint8_t *frame)
{
	return frame[12] == 0x81 ? 4 : 0;
}

/* A frame that is not ours is one that the back-end sends by itself, such as an announcement. */
static inline bool frame_is_ours(const uint8_t *frame)
{
	const uint8_t *type = frame + 12 + frame_tag_len(frame);

	return type[0] == 0x08 && type[1] == 0x00;
}

static inline bool frame_is_for(const uint8_t *frame, const uint8_t mac[6])
{
	return memcmp(frame, mac, 6) == 0;
}

static inline void frame_address(uint8_t *frame, const uint8_t dst[6], const uint8_t src[6])
{
	memcpy(frame, dst, 6);
	memcpy(frame + 6, src, 6);
}

static inline void frame_set_flow(uint8_t *frame, uint32_t tag_len, uint32_t flow)
{
	uint32_t source_port = 1024 + flow;

	frame[34 + tag_len] = (uint8_t)(source_port >> 8);
	frame[35 + tag_len] = (uint8_t)source_port;
}

static inline uint8_t *frame_epoch(uint8_t *frame, uint32_t tag_len)
{
	return frame + 42 + tag_len;
}
