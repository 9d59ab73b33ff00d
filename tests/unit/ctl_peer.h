/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The driver's end of the control channel, for tests: makes frames, right or wrong, and takes vpfd's apart. */

#include "control/codec.h"

/* The key, unless another is given. */
extern const uint8_t peer_key[VPF_CTL_KEY_LEN];

struct peer_frame {
	uint8_t bytes[CTL_FRAME_MAX + 64];
	size_t len;
};

struct vpf_ctl_hdr *peer_hdr(struct peer_frame *f);
void *peer_body(struct peer_frame *f);
/* The right tag for what the frame has, over as many bytes as there are of `length`. */
void peer_sign(struct peer_frame *f, const uint8_t key[VPF_CTL_KEY_LEN]);
struct peer_frame peer_message(const uint8_t key[VPF_CTL_KEY_LEN], uint8_t type, uint64_t session,
			       uint32_t sequence, const void *body, size_t size);
struct peer_frame peer_hello_versions(uint64_t nonce, uint8_t min, uint8_t max);
struct peer_frame peer_hello(uint64_t nonce);
struct peer_frame peer_range(uint8_t type, uint64_t session, uint32_t sequence, uint16_t first,
			     uint16_t count);
struct peer_frame peer_get(uint64_t session, uint32_t sequence, uint16_t first, uint16_t count);
struct peer_frame peer_set(uint64_t session, uint32_t sequence, const struct vpf_ctl_set *b);
/* A frame of vpfd, checked as a driver does; its body is peer_body(). */
size_t peer_check(struct peer_frame *f, const uint8_t key[VPF_CTL_KEY_LEN]);
