/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VPF_CHANNEL_RX_H
#define VPF_CHANNEL_RX_H

/* Frames of the control channel as they come in. */

struct net_device;
struct packet_type;
struct sk_buff;

int vpf_channel_rcv(struct sk_buff *skb, struct net_device *dev, struct packet_type *ptype,
		    struct net_device *orig_dev);

#endif
