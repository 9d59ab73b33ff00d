/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VPF_H
#define VPF_H

/* Driver for the virtual PFs of vpfd.
 *
 * A virtual PF is a virtio-net device whose PCI function has an SR-IOV capability, and at whose
 * other end vpfd answers a HELLO. Its stock netdev becomes the *conduit*: control frames and the
 * PF's own traffic pass through it, and the *PF netdev*, which people and tools use, is registered
 * above it with the PF's PCI device as its parent.
 *
 *   struct vpf_pf      one for each candidate, from its netdev's registration to its end (pf.c)
 *     .ch              the control channel on it: session, requests (channel.c, request.c)
 *     .fn[]            what vpfd says of the functions: 0 the PF, n + 1 VF n (vf.c)
 *     .netdev          the PF netdev, once vpfd has answered (netdev.c)
 *   struct vf_netdev   a stock netdev of a VF of any PF (vf_netdev.c)
 *
 * Locking
 *   RTNL  the lists vpf_pfs and vf_netdevs, pf->netdev, pf->dead, pf->kept, all that netdevs do, and
 *         what is marked RTNL below.
 *   pf->lock  spinlock, BH: pf->ch except ptype, wait, its work items and request_lock; pf->fn[]
 *         except ports and what is marked RTNL; pf->counters; pf->carrier_netdev; a request while
 *         it is pf->ch.pending. Taken last. Frames are received under it; nothing is sent under it.
 *         pf->ch's work items are queued under it, and never once the channel is closed.
 *   ch->request_lock  mutex: one request at a time. Taken under RTNL or a devlink instance's lock,
 *         or neither; its holder takes neither, and waits, three seconds at most, for what arrives
 *         in softirqs and in work items of vpf_wq. So neither of these ever takes RTNL.
 *   pf->port_lock  mutex: pf->devlink and its VF ports. Taken under the device lock of the PF's PCI
 *         device (VFs come and go) or nothing; a devlink instance's lock may be taken under it, and
 *         RTNL under that.
 *   vpf_rtnl_wq  is ordered and its work takes RTNL: take-over, administrative MACs, and the last
 *         steps of a PF that has gone, where devlink's lock is needed, which comes before RTNL.
 *
 *   Order: device lock of the PF's PCI device, pf->port_lock, lock of its devlink instance, RTNL,
 *   ch->request_lock, pf->lock. With one of them held, only those after it can be taken.
 *
 *   Without a lock: pf->conduit, ->pdev and ->vfs and vpf_keys, which do not change; pf->ref and
 *   pf->jobs, which are atomic; pf->refusals, which has a lock of its own.
 */

#include <linux/if_ether.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/ratelimit_types.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <net/devlink.h>

#include "channel.h"
#include "codec.h"
#include "conduit.h"

struct net_device;
struct pci_dev;

#define VPF_NAME "vpf"

struct vpf_counters {
	u64 requests, retries, timeouts, refused;
	u64 replies, events, resets, sessions, hellos;
	u64 send_failed;
	u64 bad[VPF_BAD_CAUSES];
};

struct vpf_fn {
	struct vpf_function rec;
	struct vpf_stats stats;
	bool mac_dirty; /* the VF's netdev may need another MAC */
	u8 applied_mac[ETH_ALEN]; /* RTNL: the administrative MAC that its netdev was given */
	u8 withdrawn_mac[ETH_ALEN]; /* RTNL: the one before, if there is none now */
	struct devlink_port port; /* pf->port_lock */
	bool port_registered; /* pf->port_lock */
};

struct vpf_pf {
	struct list_head list;
	struct kref ref;
	struct net_device *conduit; /* held */
	struct pci_dev *pdev; /* held */
	struct net_device *netdev;
	bool dead;
	bool busy_told; /* RTNL; it has been logged that a bridge or bond uses the conduit */
	struct vpf_kept kept;
	/* RTNL; the PF netdev itself is setting it on the conduit */
	bool setting_mac, setting_mtu, setting_features;

	spinlock_t lock;
	struct net_device *carrier_netdev; /* pf->netdev, for users of the lock */
	struct vpf_channel ch;
	struct vpf_counters counters;

	unsigned long jobs;
	struct work_struct rtnl_work; /* on vpf_rtnl_wq */
	struct work_struct free_work; /* on vpf_rtnl_wq */

	struct ratelimit_state refusals;
	unsigned long stats_until; /* RTNL; jiffies: no request for VFs' statistics before */
	bool stats_asked; /* RTNL; stats_until is valid */

	struct mutex port_lock;
	struct devlink *devlink; /* port_lock; it holds the port and those in fn[] */
	struct devlink_port port;
	struct net_device *port_netdev; /* vpf_rtnl_wq: what vpf_compat_port_hold() returned */

	unsigned int vfs; /* number that the PCI function can have */
	struct vpf_fn fn[]; /* vfs + 1 */
};

#endif
