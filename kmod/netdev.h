/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VPF_NETDEV_H
#define VPF_NETDEV_H

/* The PF netdev. */

#include <linux/netdevice.h>

struct vpf_pf;

struct vpf_netdev_priv {
	struct vpf_pf *pf;
	struct net_device *conduit;
};

static inline struct vpf_pf *vpf_netdev_pf(const struct net_device *dev)
{
	return ((struct vpf_netdev_priv *)netdev_priv(dev))->pf;
}

struct net_device *vpf_netdev_alloc(struct vpf_pf *pf);
int vpf_netdev_register(struct net_device *dev);
void vpf_netdevs_wait_gone(void);

#endif
