/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Opening an uplink's descriptors, and the one thing that the data path must know of it. */

#include "switch/uplink.h"

/* Bytes of the virtio-net header before each frame: packet sockets only have the short one. */
static inline unsigned int uplink_hdr_len(const struct uplink *up)
{
	return up->type == UPLINK_TAP ? sizeof(struct virtio_net_hdr_mrg_rxbuf)
				      : sizeof(struct virtio_net_hdr);
}
