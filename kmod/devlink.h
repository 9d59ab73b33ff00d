/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VPF_DEVLINK_H
#define VPF_DEVLINK_H

/* devlink on the PF's PCI function. Without RTNL: devlink's lock comes before it. */

struct pci_dev;
struct vpf_pf;

int vpf_devlink_register(struct vpf_pf *pf);
void vpf_devlink_unregister(struct vpf_pf *pf);
void vpf_devlink_vf_add(struct vpf_pf *pf, struct pci_dev *vf);
void vpf_devlink_vf_del(struct vpf_pf *pf, struct pci_dev *vf);

#endif
