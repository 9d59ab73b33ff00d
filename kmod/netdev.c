// SPDX-License-Identifier: GPL-2.0-only
/* The PF netdev, which users configure. It queues nothing itself: packets wait in the conduit's
 * queues.
 */
#include <linux/atomic.h>
#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/rtnetlink.h>
#include <linux/skbuff.h>
#include <linux/wait_bit.h>

#include "netdev.h"
#include "codec.h"
#include "compat.h"
#include "ethtool.h"
#include "features.h"
#include "pf.h"
#include "vf.h"
#include "vpf.h"

static atomic_t netdevs = ATOMIC_INIT(0);

static netdev_tx_t vpf_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct vpf_netdev_priv *priv = netdev_priv(dev);
	unsigned int len = skb->len;
	int ret;

	if (unlikely(skb->protocol == htons(VPF_CTL_ETHERTYPE))) { /* only the driver sends these */
		kfree_skb(skb);
		DEV_STATS_INC(dev, tx_dropped);
		return NETDEV_TX_OK;
	}
	skb->dev = priv->conduit;
	ret = dev_queue_xmit(skb);
	if (likely(ret == NET_XMIT_SUCCESS || ret == NET_XMIT_CN))
		dev_sw_netstats_tx_add(dev, 1, len);
	else
		DEV_STATS_INC(dev, tx_dropped);
	return NETDEV_TX_OK;
}

static int vpf_open(struct net_device *dev)
{
	struct vpf_pf *pf = vpf_netdev_pf(dev);
	int err;

	err = dev_open(pf->conduit, NULL);
	if (err)
		return err;
	if (dev->flags & IFF_ALLMULTI) {
		err = dev_set_allmulti(pf->conduit, 1);
		if (err)
			return err;
	}
	if (dev->flags & IFF_PROMISC) {
		err = dev_set_promiscuity(pf->conduit, 1);
		if (err)
			goto err_allmulti;
	}
	vpf_pf_carrier(pf);
	return 0;

err_allmulti:
	if (dev->flags & IFF_ALLMULTI)
		dev_set_allmulti(pf->conduit, -1);
	return err;
}

/* The conduit stays up, for the control channel. */
static int vpf_stop(struct net_device *dev)
{
	struct vpf_pf *pf = vpf_netdev_pf(dev);

	dev_uc_unsync(pf->conduit, dev);
	dev_mc_unsync(pf->conduit, dev);
	if (dev->flags & IFF_ALLMULTI)
		dev_set_allmulti(pf->conduit, -1);
	if (dev->flags & IFF_PROMISC)
		dev_set_promiscuity(pf->conduit, -1);
	return 0;
}

static void vpf_change_rx_flags(struct net_device *dev, int change)
{
	struct vpf_pf *pf = vpf_netdev_pf(dev);

	if (!(dev->flags & IFF_UP))
		return;
	if (change & IFF_ALLMULTI)
		dev_set_allmulti(pf->conduit, dev->flags & IFF_ALLMULTI ? 1 : -1);
	if (change & IFF_PROMISC)
		dev_set_promiscuity(pf->conduit, dev->flags & IFF_PROMISC ? 1 : -1);
}

static void vpf_set_rx_mode(struct net_device *dev)
{
	struct vpf_netdev_priv *priv = netdev_priv(dev);

	dev_uc_sync(priv->conduit, dev);
	dev_mc_sync(priv->conduit, dev);
}

static int vpf_set_mac_address(struct net_device *dev, void *address)
{
	struct vpf_pf *pf = vpf_netdev_pf(dev);
	const u8 *mac = ((struct sockaddr *)address)->sa_data;
	int err;

	err = eth_prepare_mac_addr_change(dev, address);
	if (err)
		return err;
	pf->setting_mac = true;
	err = vpf_compat_set_mac(pf->conduit, mac);
	pf->setting_mac = false;
	if (!err)
		eth_commit_mac_addr_change(dev, address);
	return err;
}

static int vpf_change_mtu(struct net_device *dev, int mtu)
{
	struct vpf_pf *pf = vpf_netdev_pf(dev);
	int err;

	pf->setting_mtu = true;
	err = dev_set_mtu(pf->conduit, mtu);
	pf->setting_mtu = false;
	if (!err)
		WRITE_ONCE(dev->mtu, mtu);
	return err;
}

static int vpf_vlan_rx_add_vid(struct net_device *dev, __be16 proto, u16 vid)
{
	return vlan_vid_add(vpf_netdev_pf(dev)->conduit, proto, vid);
}

static int vpf_vlan_rx_kill_vid(struct net_device *dev, __be16 proto, u16 vid)
{
	vlan_vid_del(vpf_netdev_pf(dev)->conduit, proto, vid);
	return 0;
}

static int vpf_netdev_init(struct net_device *dev)
{
	netdev_lockdep_set_classes(dev);
	return 0;
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
static struct devlink_port *vpf_get_devlink_port(struct net_device *dev)
{
	return &vpf_netdev_pf(dev)->port;
}
#endif

static const struct net_device_ops vpf_netdev_ops = {
	.ndo_init = vpf_netdev_init,
	.ndo_open = vpf_open,
	.ndo_stop = vpf_stop,
	.ndo_start_xmit = vpf_xmit,
	.ndo_features_check = passthru_features_check,
	.ndo_get_stats64 = dev_get_tstats64,
	.ndo_change_rx_flags = vpf_change_rx_flags,
	.ndo_set_rx_mode = vpf_set_rx_mode,
	.ndo_set_mac_address = vpf_set_mac_address,
	.ndo_validate_addr = eth_validate_addr,
	.ndo_change_mtu = vpf_change_mtu,
	.ndo_vlan_rx_add_vid = vpf_vlan_rx_add_vid,
	.ndo_vlan_rx_kill_vid = vpf_vlan_rx_kill_vid,
	.ndo_fix_features = vpf_fix_features,
	.ndo_set_features = vpf_set_features,
	.ndo_set_vf_mac = vpf_ndo_set_vf_mac,
	.ndo_set_vf_vlan = vpf_ndo_set_vf_vlan,
	.ndo_set_vf_rate = vpf_ndo_set_vf_rate,
	.ndo_set_vf_spoofchk = vpf_ndo_set_vf_spoofchk,
	.ndo_set_vf_trust = vpf_ndo_set_vf_trust,
	.ndo_set_vf_link_state = vpf_ndo_set_vf_link_state,
	.ndo_get_vf_config = vpf_ndo_get_vf_config,
	.ndo_get_vf_stats = vpf_ndo_get_vf_stats,
	VPF_NDO_DEVLINK_PORT(vpf_get_devlink_port)
};

/* None of our code runs for the netdev after this. */
static void netdev_gone(struct net_device *dev)
{
	if (atomic_dec_and_test(&netdevs))
		wake_up_var(&netdevs);
}

/* Waits for netdevs whose unregistration others have yet to finish. */
void vpf_netdevs_wait_gone(void)
{
	wait_var_event(&netdevs, !atomic_read(&netdevs));
	synchronize_rcu();
}

struct net_device *vpf_netdev_alloc(struct vpf_pf *pf)
{
	struct net_device *conduit = pf->conduit, *dev;
	struct vpf_netdev_priv *priv;

	dev = alloc_netdev_mqs(sizeof(*priv), "vpf%d", NET_NAME_ENUM, ether_setup,
			       conduit->num_tx_queues, conduit->num_rx_queues);
	if (!dev)
		return NULL;
	priv = netdev_priv(dev);
	priv->pf = pf;
	priv->conduit = conduit;
	netif_set_real_num_tx_queues(dev, conduit->real_num_tx_queues);
	netif_set_real_num_rx_queues(dev, conduit->real_num_rx_queues);
	dev_net_set(dev, dev_net(conduit));
	SET_NETDEV_DEV(dev, &pf->pdev->dev);
	dev->netdev_ops = &vpf_netdev_ops;
	dev->ethtool_ops = &vpf_ethtool_ops;
	dev->needs_free_netdev = true;
	dev->pcpu_stat_type = NETDEV_PCPU_STAT_TSTATS;
	dev->priv_flags &= ~IFF_TX_SKB_SHARING;
	dev->priv_flags |= IFF_NO_QUEUE | IFF_UNICAST_FLT |
			   (conduit->priv_flags & IFF_LIVE_ADDR_CHANGE);
	dev->flags |= conduit->flags & (IFF_MULTICAST | IFF_BROADCAST);
	dev->mtu = conduit->mtu;
	dev->min_mtu = conduit->min_mtu;
	dev->max_mtu = conduit->max_mtu;
	dev->hard_header_len = conduit->hard_header_len;
	dev->needed_headroom = conduit->needed_headroom;
	dev->needed_tailroom = conduit->needed_tailroom;
	eth_hw_addr_set(dev, conduit->dev_addr);
	dev->addr_assign_type = conduit->addr_assign_type;
	memcpy(dev->perm_addr, conduit->perm_addr, ETH_ALEN);
	vpf_compat_lltx(dev);
	vpf_features_init(dev, conduit);
	return dev;
}

int vpf_netdev_register(struct net_device *dev)
{
	int err;

	ASSERT_RTNL();
	err = register_netdevice(dev);
	if (err)
		return err;
	dev->priv_destructor = netdev_gone;
	atomic_inc(&netdevs);
	return 0;
}
