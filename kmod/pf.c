// SPDX-License-Identifier: GPL-2.0-only
/* The life of a PF.
 *
 *   candidate  HELLO is sent through its stock netdev, which is brought up for that, and down again
 *              if there is no answer.
 *   taken      vpfd has answered and sent its records; pf->netdev is registered, the stock netdev
 *              is the conduit. If a bridge or bond uses the stock netdev, this waits until it is
 *              free.
 *   dead       off the list; what cannot be undone under RTNL is left to free_work.
 *
 * A PF ends when the PCI function loses its driver, when the conduit is unregistered or moves to
 * another network namespace (where it becomes a candidate again), and with the module.
 */
#include <linux/jiffies.h>
#include <linux/kref.h>
#include <linux/lockdep.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/overflow.h>
#include <linux/pci.h>
#include <linux/ratelimit.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "pf.h"
#include "channel.h"
#include "codec.h"
#include "compat.h"
#include "conduit.h"
#include "devlink.h"
#include "features.h"
#include "main.h"
#include "netdev.h"
#include "vf_netdev.h"
#include "vpf.h"

LIST_HEAD(vpf_pfs);

/* With RTNL; the result lives as long as it is held. */
struct vpf_pf *vpf_pf_of_conduit(const struct net_device *dev)
{
	struct vpf_pf *pf;

	ASSERT_RTNL();
	list_for_each_entry(pf, &vpf_pfs, list)
		if (pf->conduit == dev)
			return pf;
	return NULL;
}

/* With RTNL; the caller has to drop it with vpf_pf_put(). */
struct vpf_pf *vpf_pf_of_pdev(const struct pci_dev *pdev)
{
	struct vpf_pf *pf;

	ASSERT_RTNL();
	list_for_each_entry(pf, &vpf_pfs, list)
		if (pf->pdev == pdev) {
			kref_get(&pf->ref);
			return pf;
		}
	return NULL;
}

static void pf_free(struct kref *ref)
{
	struct vpf_pf *pf = container_of(ref, struct vpf_pf, ref);

	mutex_destroy(&pf->port_lock);
	mutex_destroy(&pf->ch.request_lock);
	pci_dev_put(pf->pdev);
	kvfree(pf);
}

void vpf_pf_put(struct vpf_pf *pf)
{
	kref_put(&pf->ref, pf_free);
}

void vpf_pf_job(struct vpf_pf *pf, enum vpf_job job)
{
	set_bit(job, &pf->jobs);
	queue_work(vpf_rtnl_wq, &pf->rtnl_work);
}

/* The PF netdev's carrier: that of the conduit, unless vpfd says that the PF's link is down. Any
 * context.
 */
void vpf_pf_carrier_locked(struct vpf_pf *pf)
{
	struct net_device *dev = pf->carrier_netdev;
	bool up;

	lockdep_assert_held(&pf->lock);
	if (!dev)
		return;
	up = vpf_channel_usable(pf) && pf->fn[0].rec.link_up;
	if (up && !netif_carrier_ok(dev))
		netif_carrier_on(dev);
	else if (!up && netif_carrier_ok(dev))
		netif_carrier_off(dev);
}

void vpf_pf_carrier(struct vpf_pf *pf)
{
	spin_lock_bh(&pf->lock);
	vpf_pf_carrier_locked(pf);
	spin_unlock_bh(&pf->lock);
}

static int register_netdev_above(struct vpf_pf *pf)
{
	struct net_device *dev;
	int err;

	ASSERT_RTNL();
	dev = vpf_netdev_alloc(pf);
	if (!dev)
		return -ENOMEM;
	vpf_compat_port_before_register(dev, &pf->port);
	netif_carrier_off(dev);
	err = vpf_netdev_register(dev);
	if (err) {
		free_netdev(dev);
		return err;
	}
	pf->netdev = dev;
	err = vpf_conduit_claim(pf);
	if (err) {
		pf->netdev = NULL;
		unregister_netdevice(dev);
		return err;
	}
	spin_lock_bh(&pf->lock);
	pf->carrier_netdev = dev;
	spin_unlock_bh(&pf->lock);
	return 0;
}

/* There is no PF netdev, or it is gone. */
static void end_devlink(struct vpf_pf *pf)
{
	vpf_compat_port_clear(&pf->port, pf->port_netdev);
	pf->port_netdev = NULL;
	vpf_devlink_unregister(pf);
}

/* "Taken", see above. */
static int take_over(struct vpf_pf *pf)
{
	struct vpf_hello_reply hello;
	int err;

	ASSERT_RTNL();
	vpf_channel_hello(pf, &hello);
	err = vpf_conduit_busy(pf) ? -EBUSY : register_netdev_above(pf);
	if (err == -EBUSY) {
		if (!pf->busy_told)
			netdev_warn(pf->conduit,
				    "vpf: virtual PF %s is in use by a bridge or bond: waiting\n",
				    hello.pf);
		pf->busy_told = true;
		return err;
	}
	if (err) {
		netdev_warn(pf->conduit, "vpf: cannot take over virtual PF %s: error %d\n",
			    hello.pf, err);
		return err;
	}
	pf->busy_told = false;
	netdev_info(pf->netdev, "virtual PF %s, %u VFs, vpfd %s, through %s\n", hello.pf, pf->vfs,
		    hello.daemon, netdev_name(pf->conduit));
	vpf_vf_netdevs_link(pf);
	vpf_vf_netdevs_macs(pf);
	pf->port_netdev = vpf_compat_port_hold(pf->netdev);
	return 0;
}

static bool has_netdev(const struct vpf_pf *pf)
{
	bool has;

	rtnl_lock();
	has = pf->netdev;
	rtnl_unlock();
	return has;
}

static void take(struct vpf_pf *pf)
{
	bool taken = false, bare;
	int err;

	if (!has_netdev(pf)) {
		/* devlink's lock comes before RTNL. Only this work item registers an instance. */
		err = vpf_devlink_register(pf);
		if (err) {
			netdev_warn(pf->conduit,
				    "vpf: cannot register a devlink instance: error %d\n", err);
			return;
		}
	}
	rtnl_lock();
	if (!pf->dead && !pf->netdev)
		taken = !take_over(pf);
	bare = !pf->netdev;
	rtnl_unlock();
	if (taken)
		vpf_compat_port_set(&pf->port, pf->port_netdev);
	else if (bare)
		end_devlink(pf);
	vpf_pf_carrier(pf);
}

static void pf_rtnl_work(struct work_struct *work)
{
	struct vpf_pf *pf = container_of(work, struct vpf_pf, rtnl_work);

	if (test_and_clear_bit(VPF_JOB_TAKE, &pf->jobs))
		take(pf);
	rtnl_lock();
	if (!pf->dead) {
		if (test_and_clear_bit(VPF_JOB_OPEN, &pf->jobs))
			vpf_conduit_probe(pf);
		if (test_and_clear_bit(VPF_JOB_GIVE_UP, &pf->jobs) && !pf->netdev &&
		    !vpf_channel_answered(pf))
			vpf_conduit_probe_end(pf);
		if (test_and_clear_bit(VPF_JOB_MACS, &pf->jobs) && pf->netdev)
			vpf_vf_netdevs_macs(pf);
	}
	rtnl_unlock();
}

/* The rest of vpf_pf_remove(), without RTNL. */
static void pf_free_work(struct work_struct *work)
{
	struct vpf_pf *pf = container_of(work, struct vpf_pf, free_work);

	vpf_channel_free(pf);
	cancel_work_sync(&pf->rtnl_work);
	end_devlink(pf);
	dev_put(pf->conduit);
	vpf_pf_put(pf);
}

void vpf_pf_add(struct net_device *conduit, struct pci_dev *pdev)
{
	unsigned int vfs = min_t(unsigned int, pci_sriov_get_totalvfs(pdev), 255), i;
	struct vpf_pf *pf;

	ASSERT_RTNL();
	if (vpf_pf_of_conduit(conduit))
		return;
	pf = kvzalloc(struct_size(pf, fn, vfs + 1), GFP_KERNEL);
	if (!pf) {
		netdev_warn(conduit, "vpf: out of memory\n");
		return;
	}
	kref_init(&pf->ref);
	dev_hold(conduit);
	pf->conduit = conduit;
	pf->pdev = pci_dev_get(pdev);
	pf->vfs = vfs;
	spin_lock_init(&pf->lock);
	mutex_init(&pf->port_lock);
	INIT_WORK(&pf->rtnl_work, pf_rtnl_work);
	INIT_WORK(&pf->free_work, pf_free_work);
	ratelimit_state_init(&pf->refusals, 5 * HZ, 10);
	for (i = 0; i <= vfs; i++) {
		pf->fn[i].rec.function = i;
		pf->fn[i].rec.tpid = ETH_P_8021Q;
		pf->fn[i].rec.spoofchk = true;
	}
	vpf_channel_init(pf);
	list_add_tail(&pf->list, &vpf_pfs);
	vpf_channel_open(pf);
	vpf_pf_job(pf, VPF_JOB_OPEN);
}

/**
 * vpf_pf_remove() - end a PF as far as RTNL allows
 * @pf: must not be used by the caller afterwards
 * @conduit_goes: it is being unregistered, or moved to another network namespace; otherwise it is
 *                restored
 */
void vpf_pf_remove(struct vpf_pf *pf, bool conduit_goes)
{
	ASSERT_RTNL();
	pf->dead = true;
	list_del(&pf->list);
	vpf_channel_close(pf, !conduit_goes);
	if (pf->netdev) {
		vpf_vf_netdevs_unlink(pf);
		spin_lock_bh(&pf->lock);
		pf->carrier_netdev = NULL;
		spin_unlock_bh(&pf->lock);
		vpf_conduit_release(pf, conduit_goes);
		unregister_netdevice(pf->netdev);
		pf->netdev = NULL;
	}
	if (!conduit_goes)
		vpf_conduit_probe_end(pf);
	queue_work(vpf_rtnl_wq, &pf->free_work);
}

void vpf_pf_remove_wait(struct pci_dev *pdev)
{
	struct vpf_pf *pf, *next;
	bool any = false;

	rtnl_lock();
	list_for_each_entry_safe(pf, next, &vpf_pfs, list)
		if (!pdev || pf->pdev == pdev) {
			vpf_pf_remove(pf, false);
			any = true;
		}
	rtnl_unlock();
	if (any)
		flush_workqueue(vpf_rtnl_wq);
}

void vpf_pf_conduit_event(struct vpf_pf *pf, unsigned long event, void *info)
{
	struct netdev_notifier_changeupper_info *upper;

	ASSERT_RTNL();
	switch (event) {
	case NETDEV_UP:
	case NETDEV_CHANGE:
	case NETDEV_DOWN:
		if (vpf_channel_usable(pf))
			vpf_channel_kick(pf);
		else
			vpf_channel_lost(pf, jiffies);
		vpf_pf_carrier(pf);
		break;
	case NETDEV_CHANGEADDR:
		vpf_conduit_mac_changed(pf);
		break;
	case NETDEV_CHANGEMTU:
		vpf_conduit_mtu_changed(pf);
		break;
	case NETDEV_FEAT_CHANGE:
		if (pf->netdev && !pf->setting_features)
			vpf_features_follow(pf->netdev);
		break;
	case NETDEV_CHANGEUPPER: /* it may be free now */
		upper = info;
		if (!upper->linking && !pf->netdev && vpf_channel_answered(pf))
			vpf_pf_job(pf, VPF_JOB_TAKE);
		break;
	case NETDEV_NOTIFY_PEERS: /* the addresses are the PF netdev's */
	case NETDEV_RESEND_IGMP:
		if (pf->netdev)
			call_netdevice_notifiers(event, pf->netdev);
		break;
	case NETDEV_UNREGISTER:
		vpf_pf_remove(pf, true);
		break;
	default:
		break;
	}
}
