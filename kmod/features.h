/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VPF_FEATURES_H
#define VPF_FEATURES_H

/* Offloads of the PF netdev. */

#include <linux/netdev_features.h>

struct net_device;

void vpf_features_init(struct net_device *dev, const struct net_device *conduit);
netdev_features_t vpf_fix_features(struct net_device *dev, netdev_features_t features);
int vpf_set_features(struct net_device *dev, netdev_features_t features);
void vpf_features_follow(struct net_device *dev);

#endif
