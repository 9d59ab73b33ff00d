// SPDX-License-Identifier: GPL-2.0-only
/* The module, and the notifiers that tell it of netdevs and VFs. */
#include <linux/device.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/notifier.h>
#include <linux/pci.h>
#include <linux/printk.h>
#include <linux/rtnetlink.h>
#include <linux/string.h>
#include <linux/virtio.h>
#include <linux/virtio_ids.h>
#include <linux/workqueue.h>

#include "main.h"
#include "devlink.h"
#include "key.h"
#include "netdev.h"
#include "pf.h"
#include "vf_netdev.h"

struct workqueue_struct *vpf_wq, *vpf_rtnl_wq;

static bool leaving; /* RTNL */

/* The PCI function of a virtio-net device's netdev; NULL for any other netdev. */
static struct pci_dev *virtio_net_pdev(const struct net_device *dev)
{
	struct device *parent = dev->dev.parent;

	if (!parent || !is_virtio_device(parent) ||
	    dev_to_virtio(parent)->id.device != VIRTIO_ID_NET)
		return NULL;
	return parent->parent && dev_is_pci(parent->parent) ? to_pci_dev(parent->parent) : NULL;
}

static void netdev_registered(struct net_device *dev)
{
	struct pci_dev *pdev = virtio_net_pdev(dev);

	if (!pdev || leaving)
		return;
	if (pdev->is_virtfn)
		vpf_vf_netdev_add(dev, pdev);
	else if (pdev->is_physfn && pci_sriov_get_totalvfs(pdev) > 0)
		vpf_pf_add(dev, pdev);
}

static int on_netdev(struct notifier_block *nb, unsigned long event, void *info)
{
	struct net_device *dev = netdev_notifier_info_to_dev(info);
	struct vpf_pf *pf;

	switch (event) {
	case NETDEV_REGISTER: /* also when it enters another network namespace */
		netdev_registered(dev);
		return NOTIFY_DONE;
	case NETDEV_UNREGISTER: /* also when it leaves its network namespace */
		if (dev->reg_state != NETREG_REGISTERED)
			vpf_vf_netdev_del(dev);
		break;
	default:
		break;
	}
	pf = vpf_pf_of_conduit(dev);
	if (pf)
		vpf_pf_conduit_event(pf, event, info);
	return NOTIFY_DONE;
}

static int on_pci(struct notifier_block *nb, unsigned long event, void *data)
{
	struct pci_dev *pdev = to_pci_dev((struct device *)data);
	struct vpf_pf *pf;

	if (pdev->is_virtfn) {
		if (event != BUS_NOTIFY_ADD_DEVICE && event != BUS_NOTIFY_REMOVED_DEVICE)
			return NOTIFY_DONE;
		rtnl_lock();
		pf = vpf_pf_of_pdev(pdev->physfn);
		rtnl_unlock();
		if (!pf)
			return NOTIFY_DONE;
		if (event == BUS_NOTIFY_ADD_DEVICE)
			vpf_devlink_vf_add(pf, pdev);
		else
			vpf_devlink_vf_del(pf, pdev);
		vpf_pf_put(pf);
	} else if (event == BUS_NOTIFY_UNBIND_DRIVER && pdev->is_physfn) {
		/* Before its driver unregisters the conduit: later, not all can be undone in
		 * order.
		 */
		vpf_pf_remove_wait(pdev);
	}
	return NOTIFY_DONE;
}

static struct notifier_block netdev_nb = { .notifier_call = on_netdev };
static struct notifier_block pci_nb = { .notifier_call = on_pci };

static int __init vpf_init(void)
{
	int err = -ENOMEM;

	vpf_keys_read();
	if (!vpf_keys_n) {
		pr_info("vpf: SMBIOS has no vpf key: NICs are left alone\n");
		return 0;
	}
	vpf_wq = alloc_workqueue("vpf", WQ_UNBOUND, 0);
	if (!vpf_wq)
		return err;
	vpf_rtnl_wq = alloc_ordered_workqueue("vpf_rtnl", 0);
	if (!vpf_rtnl_wq)
		goto err_wq;
	err = bus_register_notifier(&pci_bus_type, &pci_nb);
	if (err)
		goto err_rtnl_wq;
	err = register_netdevice_notifier(&netdev_nb); /* reports existing ones, too */
	if (err)
		goto err_pci;
	return 0;

err_pci:
	bus_unregister_notifier(&pci_bus_type, &pci_nb);
err_rtnl_wq:
	destroy_workqueue(vpf_rtnl_wq);
err_wq:
	destroy_workqueue(vpf_wq);
	return err;
}

static void __exit vpf_exit(void)
{
	if (!vpf_keys_n)
		return;
	rtnl_lock();
	leaving = true;
	rtnl_unlock();
	vpf_pf_remove_wait(NULL);
	rtnl_lock();
	vpf_vf_netdevs_forget();
	rtnl_unlock();
	unregister_netdevice_notifier(&netdev_nb);
	bus_unregister_notifier(&pci_bus_type, &pci_nb);
	destroy_workqueue(vpf_rtnl_wq);
	destroy_workqueue(vpf_wq);
	vpf_netdevs_wait_gone();
	memzero_explicit(vpf_keys, sizeof(vpf_keys));
}

module_init(vpf_init);
module_exit(vpf_exit);

MODULE_DESCRIPTION("SR-IOV PF driver for vpfd's virtual PFs");
MODULE_AUTHOR("The vpf project");
MODULE_LICENSE("GPL");
MODULE_VERSION(VPF_MODULE_VERSION);
MODULE_SOFTDEP("pre: virtio_net");
