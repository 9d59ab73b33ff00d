/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Checksum and segmentation offload (virtio 1.3 §5.1.6): frames are forwarded as the sender made them if the
 * receiver can take them so; otherwise they are finished here in software. Offload headers come from guests
 * and are checked against the frame itself, so that no guest can pass another one a header that upsets its
 * stack. */

#include "switch/pkt.h"

#define OFFLOAD_MAX_SEGMENTS                                                                                 \
	2048 /* of a frame: 64 KiB at 48 bytes, the smallest segment size that stacks use, are 1366 */

/* Checks p->hdr, as sent by a driver with these negotiated features, against the frame; clears what a sender
 * may not set (DATA_VALID …), sets hdr_len and ip_version for GSO frames. False: the header is wrong. */
bool offload_check_slow(struct pkt *p, uint64_t features);
static inline bool offload_check(struct pkt *p, uint64_t features)
{
	if (likely(!(p->hdr.flags | p->hdr.gso_type)))
		return true;
	return offload_check_slow(p, features);
}

/* True if a driver with these negotiated features takes the frame as it is. */
bool offload_taken_slow(const struct pkt *p, uint64_t features);
static inline bool offload_taken(const struct pkt *p, uint64_t features)
{
	if (likely(!(p->hdr.flags | p->hdr.gso_type)))
		return true;
	return offload_taken_slow(p, features);
}

/* Bytes of the largest frame on the wire for p: itself, or its segments. */
static inline uint32_t offload_wire_len(const struct pkt *p)
{
	return p->hdr.gso_type ? MIN(p->len, (uint32_t)p->hdr.hdr_len + p->hdr.gso_size) : p->len;
}

/* Finishes a frame in software: makes one or more plain frames of p and hands each to emit(), in order.
 * `work` holds PKT_MAX_LEN bytes and, like the emitted pkt, is valid during the call only. Returns the number
 * of frames. */
struct offload_scratch {
	struct pkt pkt;
	struct vring_seg seg;
	uint8_t work[PKT_MAX_LEN];
};
unsigned int offload_finish(const struct pkt *p, uint64_t features, struct offload_scratch *scratch,
			    void (*emit)(void *arg, struct pkt *p), void *arg);

/* The Internet checksum's sum (RFC 1071) of n bytes, not yet folded or inverted; `sum` is that of the bytes
 * before. */
uint64_t csum_add(uint64_t sum, const uint8_t *p, size_t n);
uint16_t csum_fold(uint64_t sum);
