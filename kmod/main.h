/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VPF_MAIN_H
#define VPF_MAIN_H

/* Queues for the PFs' work. Work on vpf_wq never takes RTNL; see "Locking" in vpf.h. */

#include <linux/workqueue.h>

extern struct workqueue_struct *vpf_wq, *vpf_rtnl_wq;

#endif
