// SPDX-License-Identifier: GPL-2.0-only
/* The conduit: a PF's stock netdev, as the PF netdev's lower device. */
#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <linux/skbuff.h>

#include "conduit.h"
#include "codec.h"
#include "compat.h"
#include "vpf.h"

/* RCU, softirq. Control frames go to the channel's packet type, which is bound to this netdev. */
static rx_handler_result_t conduit_rx(struct sk_buff **pskb)
{
	struct sk_buff *skb = *pskb;
	struct net_device *dev;

	if (unlikely(skb->protocol == htons(VPF_CTL_ETHERTYPE)))
		return RX_HANDLER_EXACT;
	if (unlikely(skb->pkt_type == PACKET_LOOPBACK))
		return RX_HANDLER_PASS;
	dev = rcu_dereference(skb->dev->rx_handler_data);
	if (unlikely(!(dev->flags & IFF_UP))) {
		kfree_skb(skb);
		return RX_HANDLER_CONSUMED;
	}
	skb = skb_share_check(skb, GFP_ATOMIC);
	*pskb = skb;
	if (unlikely(!skb)) {
		DEV_STATS_INC(dev, rx_dropped);
		return RX_HANDLER_CONSUMED;
	}
	dev_sw_netstats_rx_add(dev, skb->len + ETH_HLEN);
	if (skb->pkt_type == PACKET_MULTICAST)
		DEV_STATS_INC(dev, multicast);
	skb->dev = dev;
	return RX_HANDLER_ANOTHER;
}

bool vpf_conduit_busy(const struct vpf_pf *pf)
{
	ASSERT_RTNL();
	return netdev_is_rx_handler_busy(pf->conduit) || netdev_master_upper_dev_get(pf->conduit);
}

/* A candidate has to be up to send HELLO. */
void vpf_conduit_probe(struct vpf_pf *pf)
{
	struct net_device *dev = pf->conduit;
	int err;

	ASSERT_RTNL();
	pf->kept.up = netif_running(dev);
	pf->kept.probed = true;
	if (pf->kept.up)
		return;
	pf->kept.addrconf = vpf_compat_no_addrconf(dev);
	pf->kept.addrconf_off = true;
	err = dev_open(dev, NULL);
	if (err)
		netdev_warn(dev, "vpf: cannot bring it up to look for vpfd: error %d\n", err);
}

/* Undoes vpf_conduit_probe(). */
void vpf_conduit_probe_end(struct vpf_pf *pf)
{
	ASSERT_RTNL();
	if (!pf->kept.probed)
		return;
	pf->kept.probed = false;
	if (pf->kept.addrconf_off)
		vpf_compat_addrconf_restore(pf->conduit, pf->kept.addrconf);
	pf->kept.addrconf_off = false;
	if (!pf->kept.up)
		dev_close(pf->conduit);
}

int vpf_conduit_claim(struct vpf_pf *pf)
{
	struct net_device *conduit = pf->conduit, *dev = pf->netdev;
	struct vpf_kept *kept = &pf->kept;
	int err;

	ASSERT_RTNL();
	if (!kept->probed) { /* probing has ended, and it was brought up since */
		kept->up = netif_running(conduit);
		kept->probed = true;
	}
	if (!kept->addrconf_off) {
		kept->addrconf = vpf_compat_no_addrconf(conduit);
		kept->addrconf_off = true;
	}
	kept->mtu = conduit->mtu;
	ether_addr_copy(kept->mac, conduit->dev_addr);
	kept->wanted = conduit->wanted_features;
	err = netdev_rx_handler_register(conduit, conduit_rx, dev);
	if (err)
		return err;
	err = netdev_master_upper_dev_link(conduit, dev, NULL, NULL, NULL);
	if (err)
		goto err_handler;
	err = dev_open(conduit, NULL);
	if (err)
		goto err_link;
	return 0;

err_link:
	netdev_upper_dev_unlink(conduit, dev);
err_handler:
	netdev_rx_handler_unregister(conduit);
	return err;
}

void vpf_conduit_release(struct vpf_pf *pf, bool conduit_goes)
{
	struct net_device *conduit = pf->conduit, *dev = pf->netdev;
	struct vpf_kept *kept = &pf->kept;

	ASSERT_RTNL();
	netdev_rx_handler_unregister(conduit);
	dev_close(dev); /* undoes what it set on the conduit */
	netdev_upper_dev_unlink(conduit, dev);
	if (conduit_goes)
		return;
	if (conduit->mtu != kept->mtu)
		dev_set_mtu(conduit, kept->mtu);
	if (!ether_addr_equal(conduit->dev_addr, kept->mac))
		vpf_compat_set_mac(conduit, kept->mac);
	if (conduit->wanted_features != kept->wanted) {
		netdev_lock_ops(conduit);
		conduit->wanted_features = kept->wanted;
		netdev_update_features(conduit);
		netdev_unlock_ops(conduit);
	}
}

/* It was set on the conduit itself: the PF netdev follows. */
void vpf_conduit_mac_changed(struct vpf_pf *pf)
{
	struct net_device *dev = pf->netdev;

	ASSERT_RTNL();
	if (!dev || pf->setting_mac || ether_addr_equal(dev->dev_addr, pf->conduit->dev_addr))
		return;
	eth_hw_addr_set(dev, pf->conduit->dev_addr);
	call_netdevice_notifiers(NETDEV_CHANGEADDR, dev);
}

void vpf_conduit_mtu_changed(struct vpf_pf *pf)
{
	ASSERT_RTNL();
	if (pf->netdev && !pf->setting_mtu)
		dev_set_mtu(pf->netdev, pf->conduit->mtu);
}
