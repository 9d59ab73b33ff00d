/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VPF_VF_H
#define VPF_VF_H

/* VFs as `ip link` sees them. */

#include <linux/types.h>

#include "codec.h"

struct ifla_vf_info;
struct ifla_vf_stats;
struct net_device;
struct pci_dev;
struct vpf_pf;

int vpf_vf_index(const struct pci_dev *vf);
void vpf_fn_record(struct vpf_pf *pf, const struct vpf_function *rec);
void vpf_fn_stats(struct vpf_pf *pf, const struct vpf_stats *stats);
int vpf_vf_set_mac(struct vpf_pf *pf, int vf, const u8 *mac);

int vpf_ndo_set_vf_mac(struct net_device *dev, int vf, u8 *mac);
int vpf_ndo_set_vf_vlan(struct net_device *dev, int vf, u16 vid, u8 pcp, __be16 proto);
int vpf_ndo_set_vf_rate(struct net_device *dev, int vf, int min_rate, int max_rate);
int vpf_ndo_set_vf_spoofchk(struct net_device *dev, int vf, bool on);
int vpf_ndo_set_vf_trust(struct net_device *dev, int vf, bool on);
int vpf_ndo_set_vf_link_state(struct net_device *dev, int vf, int state);
int vpf_ndo_get_vf_config(struct net_device *dev, int vf, struct ifla_vf_info *info);
int vpf_ndo_get_vf_stats(struct net_device *dev, int vf, struct ifla_vf_stats *stats);

#endif
