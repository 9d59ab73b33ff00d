/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VPF_ETHTOOL_H
#define VPF_ETHTOOL_H

/* ethtool's operations of the PF netdev. */

struct ethtool_ops;

extern const struct ethtool_ops vpf_ethtool_ops;

#endif
