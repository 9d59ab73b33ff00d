// SPDX-License-Identifier: GPL-2.0-only
/* The stock netdevs of VFs. virtio-net's netdev has the virtio device as its parent, so tools do
 * not find it where they look: in the directory "net" of the VF's PCI function. The driver makes
 * that a symbolic link to the right place. And it gives a VF's netdev the administrative MAC that
 * was set on the PF, as a NIC does for its VFs.
 */
#include <linux/etherdevice.h>
#include <linux/list.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/sysfs.h>

#include "vf_netdev.h"
#include "compat.h"
#include "pf.h"
#include "vf.h"
#include "vpf.h"

struct vf_netdev {
	struct list_head list;
	struct net_device *dev;
	struct pci_dev *pdev;
	bool linked;
};

static LIST_HEAD(vf_netdevs);

static struct vf_netdev *find(const struct net_device *dev)
{
	struct vf_netdev *vf;

	ASSERT_RTNL();
	list_for_each_entry(vf, &vf_netdevs, list)
		if (vf->dev == dev)
			return vf;
	return NULL;
}

static void link_net(struct vf_netdev *vf)
{
	int err;

	if (vf->linked)
		return;
	err = sysfs_create_link_nowarn(&vf->pdev->dev.kobj, vf->dev->dev.kobj.parent, "net");
	if (err)
		pci_warn(vf->pdev, "vpf: cannot create the symbolic link net: error %d\n", err);
	vf->linked = !err;
}

static void unlink_net(struct vf_netdev *vf)
{
	if (vf->linked)
		sysfs_remove_link(&vf->pdev->dev.kobj, "net");
	vf->linked = false;
}

static void mac_dirty(struct vpf_pf *pf, const struct vf_netdev *vf)
{
	int index = vpf_vf_index(vf->pdev);

	if (index < 0 || index >= pf->vfs)
		return;
	spin_lock_bh(&pf->lock);
	pf->fn[index + 1].mac_dirty = true;
	spin_unlock_bh(&pf->lock);
}

/* The netdev has moved to another network namespace. A CNI plugin restores the MAC that it found
 * at first. That can be an administrative MAC which it had set itself and has withdrawn since: it
 * must not stay.
 */
static void moved(struct vf_netdev *vf)
{
	struct vpf_pf *pf = vpf_pf_of_pdev(vf->pdev->physfn);
	int index = vpf_vf_index(vf->pdev);

	if (!pf)
		return;
	if (pf->netdev && index >= 0 && index < pf->vfs &&
	    ether_addr_equal(vf->dev->dev_addr, pf->fn[index + 1].withdrawn_mac)) {
		mac_dirty(pf, vf);
		vpf_pf_job(pf, VPF_JOB_MACS);
	}
	vpf_pf_put(pf);
}

void vpf_vf_netdev_add(struct net_device *dev, struct pci_dev *pdev)
{
	struct vf_netdev *vf;
	struct vpf_pf *pf;

	vf = find(dev);
	if (vf) {
		moved(vf);
		return;
	}
	vf = kzalloc(sizeof(*vf), GFP_KERNEL);
	if (!vf)
		return;
	dev_hold(dev);
	vf->dev = dev;
	vf->pdev = pci_dev_get(pdev);
	list_add_tail(&vf->list, &vf_netdevs);
	pf = vpf_pf_of_pdev(pdev->physfn);
	if (!pf)
		return;
	if (pf->netdev) {
		link_net(vf);
		mac_dirty(pf, vf);
		/* Not now: its driver is still setting it up. */
		vpf_pf_job(pf, VPF_JOB_MACS);
	}
	vpf_pf_put(pf);
}

static void forget(struct vf_netdev *vf)
{
	unlink_net(vf);
	list_del(&vf->list);
	pci_dev_put(vf->pdev);
	dev_put(vf->dev);
	kfree(vf);
}

void vpf_vf_netdev_del(struct net_device *dev)
{
	struct vf_netdev *vf = find(dev);
	struct vpf_pf *pf;
	int index;

	if (!vf)
		return;
	pf = vpf_pf_of_pdev(vf->pdev->physfn);
	if (pf) {
		index = vpf_vf_index(vf->pdev);
		if (index >= 0 && index < pf->vfs) {
			eth_zero_addr(pf->fn[index + 1].applied_mac);
			eth_zero_addr(pf->fn[index + 1].withdrawn_mac);
		}
		vpf_pf_put(pf);
	}
	forget(vf);
}

void vpf_vf_netdevs_forget(void)
{
	struct vf_netdev *vf, *next;

	ASSERT_RTNL();
	list_for_each_entry_safe(vf, next, &vf_netdevs, list)
		forget(vf);
}

/* The PF was taken over. */
void vpf_vf_netdevs_link(struct vpf_pf *pf)
{
	struct vf_netdev *vf;

	ASSERT_RTNL();
	list_for_each_entry(vf, &vf_netdevs, list)
		if (vf->pdev->physfn == pf->pdev) {
			link_net(vf);
			mac_dirty(pf, vf);
		}
}

void vpf_vf_netdevs_unlink(struct vpf_pf *pf)
{
	struct vf_netdev *vf;

	ASSERT_RTNL();
	list_for_each_entry(vf, &vf_netdevs, list)
		if (vf->pdev->physfn == pf->pdev)
			unlink_net(vf);
}

static void set_mac(const struct vf_netdev *vf, const u8 *mac)
{
	int err;

	if (ether_addr_equal(vf->dev->dev_addr, mac))
		return;
	err = vpf_compat_set_mac(vf->dev, mac);
	if (err && net_ratelimit())
		netdev_warn(vf->dev, "vpf: cannot set the administrative MAC %pM: error %d\n", mac,
			    err);
}

/* Sets the administrative MAC, once for each change of it and for each new netdev: a trusted VF may
 * change its MAC afterwards. When the administrative MAC is withdrawn, the permanent one is set.
 */
static void apply_mac(struct vpf_pf *pf, const struct vf_netdev *vf)
{
	int index = vpf_vf_index(vf->pdev);
	u8 admin[ETH_ALEN];
	struct vpf_fn *fn;
	bool dirty;

	ASSERT_RTNL();
	if (index < 0 || index >= pf->vfs)
		return;
	fn = &pf->fn[index + 1];
	spin_lock_bh(&pf->lock);
	dirty = fn->mac_dirty;
	fn->mac_dirty = false;
	ether_addr_copy(admin, fn->rec.admin_mac);
	spin_unlock_bh(&pf->lock);
	if (!dirty)
		return;
	if (!is_zero_ether_addr(admin)) {
		set_mac(vf, admin);
		eth_zero_addr(fn->withdrawn_mac);
	} else {
		if (!is_zero_ether_addr(fn->applied_mac))
			ether_addr_copy(fn->withdrawn_mac, fn->applied_mac);
		if (ether_addr_equal(vf->dev->dev_addr, fn->withdrawn_mac))
			set_mac(vf, vf->dev->perm_addr);
	}
	ether_addr_copy(fn->applied_mac, admin);
}

void vpf_vf_netdevs_macs(struct vpf_pf *pf)
{
	struct vf_netdev *vf;

	ASSERT_RTNL();
	list_for_each_entry(vf, &vf_netdevs, list)
		if (vf->pdev->physfn == pf->pdev)
			apply_mac(pf, vf);
}
