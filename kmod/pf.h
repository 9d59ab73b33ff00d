/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VPF_PF_H
#define VPF_PF_H

/* The life of a PF. */

#include <linux/list.h>
#include <linux/types.h>

struct net_device;
struct pci_dev;
struct vpf_pf;

/* Jobs for vpf_rtnl_wq. */
enum vpf_job {
	VPF_JOB_OPEN, /* bring the conduit up, to send HELLO */
	VPF_JOB_GIVE_UP, /* bring it down again: no answer */
	VPF_JOB_TAKE, /* take the conduit over */
	VPF_JOB_MACS, /* apply administrative MACs */
};

extern struct list_head vpf_pfs;

struct vpf_pf *vpf_pf_of_conduit(const struct net_device *dev);
struct vpf_pf *vpf_pf_of_pdev(const struct pci_dev *pdev);
void vpf_pf_add(struct net_device *conduit, struct pci_dev *pdev);
void vpf_pf_remove(struct vpf_pf *pf, bool conduit_goes);
void vpf_pf_conduit_event(struct vpf_pf *pf, unsigned long event, void *info);
void vpf_pf_job(struct vpf_pf *pf, enum vpf_job job);
void vpf_pf_put(struct vpf_pf *pf);
void vpf_pf_carrier(struct vpf_pf *pf);
void vpf_pf_carrier_locked(struct vpf_pf *pf);
/* Ends the PFs of @pdev, or all if it is NULL, and waits until they are gone. */
void vpf_pf_remove_wait(struct pci_dev *pdev);

#endif
