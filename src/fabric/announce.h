/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The frames that announce a function to the switches that its fabric leads to: RARP requests (RFC 903), as QEMU
 * sends them after a migration. The switches learn from the source address, which is all that matters in such a
 * frame.
 *
 * In which VLANs: without VLAN, or with an access VLAN, the frame has no tag, as the function's own; of a
 * trunk, one in each of its VLANs, the lowest first, the main address before the others, and ANNOUNCE_MAX at most in
 * all: a switch has one entry for each VLAN, but a flood of 4094 for each address would be worse than what it cures.
 *
 * Thread-safety: pure. */

#include "fabric/fabric.h"

#define ANNOUNCE_MAX 64 /* frames */
#define ANNOUNCE_LEN 64 /* bytes of one, with a tag; 60 without */

struct announce {
	unsigned int n;
	struct {
		uint32_t len;
		uint8_t data[ANNOUNCE_LEN];
	} frame[ANNOUNCE_MAX];
};

/* macs: as mac_load(), the main one first. */
void announce_make(const struct function_settings *s, const uint64_t *macs, unsigned int n_macs,
		   struct announce *ret);
