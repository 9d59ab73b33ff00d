/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VPF_VF_NETDEV_H
#define VPF_VF_NETDEV_H

/* The stock netdevs of VFs. All functions need RTNL. */

struct net_device;
struct pci_dev;
struct vpf_pf;

void vpf_vf_netdev_add(struct net_device *dev, struct pci_dev *pdev);
void vpf_vf_netdev_del(struct net_device *dev);
void vpf_vf_netdevs_link(struct vpf_pf *pf);
void vpf_vf_netdevs_unlink(struct vpf_pf *pf);
void vpf_vf_netdevs_forget(void);
void vpf_vf_netdevs_macs(struct vpf_pf *pf);

#endif
