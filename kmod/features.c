// SPDX-License-Identifier: GPL-2.0-only
/* The PF netdev can offload what its conduit can. Receive offloads are done by the conduit, so they
 * are turned on and off there. Transmit offloads are the PF netdev's own: without one, the kernel
 * does the work before a packet reaches the conduit.
 */
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>

#include "features.h"
#include "compat.h"
#include "netdev.h"
#include "vpf.h"

#define CARRIED (NETIF_F_RXCSUM | NETIF_F_GRO | NETIF_F_GRO_HW | NETIF_F_LRO | NETIF_F_RXHASH)

/* These would need operations of the PF netdev's own. */
#define NOT_OURS                                                                              \
	(NETIF_F_NTUPLE | NETIF_F_HW_TC | NETIF_F_LOOPBACK | NETIF_F_HW_ESP |                 \
	 NETIF_F_HW_ESP_TX_CSUM | NETIF_F_HW_TLS_TX | NETIF_F_HW_TLS_RX | NETIF_F_HW_MACSEC | \
	 NETIF_F_RX_UDP_TUNNEL_PORT | VPF_F_PROPERTIES)

static struct net_device *conduit_of(const struct net_device *dev)
{
	return ((struct vpf_netdev_priv *)netdev_priv(dev))->conduit;
}

static netdev_features_t carried(const struct net_device *conduit)
{
	return CARRIED & (conduit->hw_features | NETIF_F_GRO);
}

/* Limits that do not depend on what is turned on. */
static void follow_limits(struct net_device *dev, const struct net_device *conduit)
{
	dev->hw_enc_features = conduit->hw_enc_features;
	dev->vlan_features = conduit->vlan_features;
	dev->mpls_features = conduit->mpls_features;
	dev->gso_partial_features = conduit->gso_partial_features;
	netif_inherit_tso_max(dev, conduit);
}

void vpf_features_init(struct net_device *dev, const struct net_device *conduit)
{
	dev->hw_features = (conduit->hw_features | conduit->features) & ~NOT_OURS &
			   ~(NETIF_F_VLAN_FEATURES | NETIF_F_HIGHDMA);
	dev->features |= conduit->features & ~NOT_OURS;
	follow_limits(dev, conduit);
}

netdev_features_t vpf_fix_features(struct net_device *dev, netdev_features_t features)
{
	struct net_device *conduit = conduit_of(dev);

	features = netdev_intersect_features(features,
					     conduit->features | carried(conduit) | NETIF_F_GSO);
	return (features & ~NOT_OURS) | VPF_F_LLTX;
}

/* Returns 1 if the conduit did not apply all of them: dev->features has what it did. */
int vpf_set_features(struct net_device *dev, netdev_features_t features)
{
	struct net_device *conduit = conduit_of(dev);
	struct vpf_pf *pf = vpf_netdev_pf(dev);
	netdev_features_t mask = carried(conduit), wanted;

	ASSERT_RTNL();
	wanted = (conduit->wanted_features & ~mask) | (features & mask);
	if (wanted == conduit->wanted_features)
		return 0;
	pf->setting_features = true;
	netdev_lock_ops(conduit);
	conduit->wanted_features = wanted;
	netdev_update_features(conduit);
	netdev_unlock_ops(conduit);
	pf->setting_features = false;
	if (!((conduit->features ^ features) & mask))
		return 0;
	dev->features = (features & ~mask) | (conduit->features & mask);
	return 1;
}

/* The conduit's features have changed. */
void vpf_features_follow(struct net_device *dev)
{
	struct net_device *conduit = conduit_of(dev);
	netdev_features_t mask = carried(conduit);

	ASSERT_RTNL();
	follow_limits(dev, conduit);
	dev->wanted_features = (dev->wanted_features & ~mask) | (conduit->features & mask);
	netdev_update_features(dev);
}
