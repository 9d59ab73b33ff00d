// SPDX-License-Identifier: GPL-2.0-only
/* devlink on the PF's PCI function: its identity, its port, and a port for each VF. */
#include <linux/etherdevice.h>
#include <linux/lockdep.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/rtnetlink.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <net/devlink.h>

#include "devlink.h"
#include "channel.h"
#include "codec.h"
#include "compat.h"
#include "vf.h"
#include "vf_netdev.h"
#include "vpf.h"

struct vpf_devlink_priv {
	struct vpf_pf *pf;
};

static struct vpf_pf *pf_of(struct devlink *devlink)
{
	return ((struct vpf_devlink_priv *)devlink_priv(devlink))->pf;
}

static int vpf_devlink_info_get(struct devlink *devlink, struct devlink_info_req *req,
				struct netlink_ext_ack *extack)
{
	struct vpf_pf *pf = pf_of(devlink);
	struct vpf_hello_reply hello;
	int err;

	vpf_channel_hello(pf, &hello);
	err = vpf_compat_info_driver(req, VPF_NAME);
	if (err)
		return err;
	/* The name that the virtual PF has on its host is what identifies the "board". */
	err = devlink_info_version_fixed_put(req, DEVLINK_INFO_VERSION_GENERIC_BOARD_ID, hello.pf);
	if (err)
		return err;
	err = devlink_info_version_running_put(req, DEVLINK_INFO_VERSION_GENERIC_FW, hello.daemon);
	if (err)
		return err;
	return devlink_info_version_running_put(req, VPF_NAME, VPF_MODULE_VERSION);
}

static int vpf_eswitch_mode_get(struct devlink *devlink, u16 *mode)
{
	*mode = DEVLINK_ESWITCH_MODE_LEGACY;
	return 0;
}

static int vpf_eswitch_mode_set(struct devlink *devlink, u16 mode, struct netlink_ext_ack *extack)
{
	if (mode == DEVLINK_ESWITCH_MODE_LEGACY)
		return 0;
	NL_SET_ERR_MSG_MOD(extack, "this virtual PF supports eswitch mode legacy only");
	return -EOPNOTSUPP;
}

/* The VF's number, or -1: not a VF's port. */
static int port_vf(const struct devlink_port *port)
{
	return port->attrs.flavour == DEVLINK_PORT_FLAVOUR_PCI_VF ? port->attrs.pci_vf.vf : -1;
}

static int vpf_port_hw_addr_get(struct devlink_port *port, u8 *hw_addr, int *hw_addr_len,
				struct netlink_ext_ack *extack)
{
	struct vpf_pf *pf = pf_of(port->devlink);
	const struct vpf_function *rec;
	int vf = port_vf(port);

	if (vf < 0)
		return -EOPNOTSUPP;
	spin_lock_bh(&pf->lock);
	rec = &pf->fn[vf + 1].rec;
	ether_addr_copy(hw_addr, is_zero_ether_addr(rec->admin_mac) ? rec->mac : rec->admin_mac);
	spin_unlock_bh(&pf->lock);
	*hw_addr_len = ETH_ALEN;
	return 0;
}

static int vpf_port_hw_addr_set(struct devlink_port *port, const u8 *hw_addr, int hw_addr_len,
				struct netlink_ext_ack *extack)
{
	struct vpf_pf *pf = pf_of(port->devlink);
	int vf = port_vf(port), err;

	if (vf < 0)
		return -EOPNOTSUPP;
	if (hw_addr_len != ETH_ALEN)
		return -EINVAL;
	err = vpf_vf_set_mac(pf, vf, hw_addr);
	if (err == -EPERM)
		NL_SET_ERR_MSG_MOD(extack,
				   "refused by the host: see the kernel log for the reason");
	if (err)
		return err;
	rtnl_lock();
	if (pf->netdev)
		vpf_vf_netdevs_macs(pf);
	rtnl_unlock();
	return 0;
}

static int vpf_port_state_get(struct devlink_port *port, enum devlink_port_fn_state *state,
			      enum devlink_port_fn_opstate *opstate, struct netlink_ext_ack *extack)
{
	struct vpf_pf *pf = pf_of(port->devlink);
	int vf = port_vf(port);
	bool started;

	if (vf < 0)
		return -EOPNOTSUPP;
	spin_lock_bh(&pf->lock);
	started = pf->fn[vf + 1].rec.started;
	spin_unlock_bh(&pf->lock);
	*state = started ? DEVLINK_PORT_FN_STATE_ACTIVE : DEVLINK_PORT_FN_STATE_INACTIVE;
	*opstate = started ? DEVLINK_PORT_FN_OPSTATE_ATTACHED : DEVLINK_PORT_FN_OPSTATE_DETACHED;
	return 0;
}

VPF_PORT_OPS(vpf_vf_port_ops, vpf_port_hw_addr_get, vpf_port_hw_addr_set, vpf_port_state_get);

static const struct devlink_ops vpf_devlink_ops = {
	.info_get = vpf_devlink_info_get,
	.eswitch_mode_get = vpf_eswitch_mode_get,
	.eswitch_mode_set = vpf_eswitch_mode_set,
	VPF_DEVLINK_PORT_OPS(vpf_port_hw_addr_get, vpf_port_hw_addr_set, vpf_port_state_get)
};

/* With pf->port_lock and devlink's lock. */
static void add_vf_port(struct vpf_pf *pf, unsigned int vf)
{
	struct vpf_fn *fn = &pf->fn[vf + 1];
	int err;

	lockdep_assert_held(&pf->port_lock);
	devl_assert_locked(pf->devlink);
	if (fn->port_registered)
		return;
	memset(&fn->port, 0, sizeof(fn->port));
	devlink_port_attrs_pci_vf_set(&fn->port, 0, PCI_FUNC(pf->pdev->devfn), vf, false);
	err = vpf_compat_port_register(pf->devlink, &fn->port, vf + 1, &vpf_vf_port_ops);
	if (err) {
		pci_warn(pf->pdev, "vpf: cannot register a devlink port for VF %u: error %d\n", vf,
			 err);
		return;
	}
	/* devlink complains, with a stack trace, about a port that has no netdev within an hour.
	 * This one has none in legacy mode: its netdev is the VF's, wherever that is.
	 */
	cancel_delayed_work_sync(&fn->port.type_warn_dw);
	fn->port_registered = true;
}

static void del_vf_port(struct vpf_pf *pf, unsigned int vf)
{
	struct vpf_fn *fn = &pf->fn[vf + 1];

	lockdep_assert_held(&pf->port_lock);
	devl_assert_locked(pf->devlink);
	if (fn->port_registered)
		devl_port_unregister(&fn->port);
	fn->port_registered = false;
}

void vpf_devlink_vf_add(struct vpf_pf *pf, struct pci_dev *vf)
{
	int index = vpf_vf_index(vf);

	if (index < 0 || index >= pf->vfs)
		return;
	mutex_lock(&pf->port_lock);
	if (pf->devlink) {
		devl_lock(pf->devlink);
		add_vf_port(pf, index);
		devl_unlock(pf->devlink);
	}
	mutex_unlock(&pf->port_lock);
}

void vpf_devlink_vf_del(struct vpf_pf *pf, struct pci_dev *vf)
{
	int index = vpf_vf_index(vf);

	if (index < 0 || index >= pf->vfs)
		return;
	mutex_lock(&pf->port_lock);
	if (pf->devlink) {
		devl_lock(pf->devlink);
		del_vf_port(pf, index);
		devl_unlock(pf->devlink);
	}
	mutex_unlock(&pf->port_lock);
}

/* For VFs that exist already. BUS_NOTIFY_REMOVED_DEVICE of a VF that is found here, under
 * port_lock, is still to come and takes port_lock: no port outlives its VF.
 */
static void add_vf_ports(struct vpf_pf *pf)
{
	struct pci_dev *vf = NULL;
	int index;

	lockdep_assert_held(&pf->port_lock);
	devl_lock(pf->devlink);
	while ((vf = pci_get_device(pf->pdev->vendor, PCI_ANY_ID, vf))) {
		if (!vf->is_virtfn || vf->physfn != pf->pdev)
			continue;
		index = vpf_vf_index(vf);
		if (index >= 0 && index < pf->vfs)
			add_vf_port(pf, index);
	}
	devl_unlock(pf->devlink);
}

/* Without RTNL: devlink's lock comes before it. The PF netdev is registered after this. */
int vpf_devlink_register(struct vpf_pf *pf)
{
	struct devlink_port_attrs attrs = { .flavour = DEVLINK_PORT_FLAVOUR_PHYSICAL };
	struct devlink *devlink;
	int err = 0;

	mutex_lock(&pf->port_lock);
	if (pf->devlink)
		goto out;
	devlink = devlink_alloc(&vpf_devlink_ops, sizeof(struct vpf_devlink_priv), &pf->pdev->dev);
	if (!devlink) {
		err = -ENOMEM;
		goto out;
	}
	((struct vpf_devlink_priv *)devlink_priv(devlink))->pf = pf;
	memset(&pf->port, 0, sizeof(pf->port));
	devlink_port_attrs_set(&pf->port, &attrs);
	devl_lock(devlink);
	err = devl_port_register(devlink, &pf->port, 0);
	devl_unlock(devlink);
	if (err) {
		devlink_free(devlink);
		goto out;
	}
	pf->devlink = devlink;
	devlink_register(devlink);
	add_vf_ports(pf);
out:
	mutex_unlock(&pf->port_lock);
	return err;
}

void vpf_devlink_unregister(struct vpf_pf *pf)
{
	struct devlink *devlink;
	unsigned int i;

	mutex_lock(&pf->port_lock);
	devlink = pf->devlink;
	if (devlink) {
		devlink_unregister(devlink);
		devl_lock(devlink);
		for (i = 0; i < pf->vfs; i++)
			del_vf_port(pf, i);
		devl_port_unregister(&pf->port);
		devl_unlock(devlink);
		devlink_free(devlink);
		pf->devlink = NULL;
	}
	mutex_unlock(&pf->port_lock);
}
