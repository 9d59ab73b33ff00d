// SPDX-License-Identifier: GPL-2.0-only
#include <linux/ethtool.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "ethtool.h"
#include "channel.h"
#include "codec.h"
#include "compat.h"
#include "netdev.h"
#include "vpf.h"

static const char counter_names[][ETH_GSTRING_LEN] = {
	"control_requests", "control_retries",	   "control_timeouts", "control_refused",
	"control_replies",  "control_events",	   "control_resets",   "control_sessions",
	"control_hellos",   "control_send_failed",
};

static const char bad_names[][ETH_GSTRING_LEN] = {
	[VPF_BAD_LENGTH] = "control_bad_length",   [VPF_BAD_MAGIC] = "control_bad_magic",
	[VPF_BAD_VERSION] = "control_bad_version", [VPF_BAD_TAG] = "control_bad_tag",
	[VPF_BAD_TYPE] = "control_bad_type",	   [VPF_BAD_SESSION] = "control_bad_session",
	[VPF_BAD_VALUE] = "control_bad_value",
};

#define COUNTERS (ARRAY_SIZE(counter_names) + VPF_BAD_CAUSES - 1 + 1)

static int vpf_get_sset_count(struct net_device *dev, int set)
{
	return set == ETH_SS_STATS ? COUNTERS : -EOPNOTSUPP;
}

static void vpf_get_strings(struct net_device *dev, u32 set, u8 *data)
{
	unsigned int i;

	BUILD_BUG_ON(ARRAY_SIZE(bad_names) != VPF_BAD_CAUSES);
	if (set != ETH_SS_STATS)
		return;
	memcpy(data, counter_names, sizeof(counter_names));
	data += sizeof(counter_names);
	for (i = VPF_GOOD + 1; i < VPF_BAD_CAUSES; i++, data += ETH_GSTRING_LEN)
		memcpy(data, bad_names[i], ETH_GSTRING_LEN);
	strscpy(data, "control_session_up", ETH_GSTRING_LEN);
}

static void vpf_get_ethtool_stats(struct net_device *dev, struct ethtool_stats *stats, u64 *data)
{
	struct vpf_pf *pf = vpf_netdev_pf(dev);
	const struct vpf_counters *c = &pf->counters;
	unsigned int i;

	spin_lock_bh(&pf->lock);
	*data++ = c->requests;
	*data++ = c->retries;
	*data++ = c->timeouts;
	*data++ = c->refused;
	*data++ = c->replies;
	*data++ = c->events;
	*data++ = c->resets;
	*data++ = c->sessions;
	*data++ = c->hellos;
	*data++ = c->send_failed;
	for (i = VPF_GOOD + 1; i < VPF_BAD_CAUSES; i++)
		*data++ = c->bad[i];
	*data = pf->ch.state == VPF_SESSION_UP;
	spin_unlock_bh(&pf->lock);
}

static void vpf_get_drvinfo(struct net_device *dev, struct ethtool_drvinfo *info)
{
	struct vpf_pf *pf = vpf_netdev_pf(dev);
	struct vpf_hello_reply hello;

	strscpy(info->driver, VPF_NAME, sizeof(info->driver));
	strscpy(info->version, VPF_MODULE_VERSION, sizeof(info->version));
	strscpy(info->bus_info, pci_name(pf->pdev), sizeof(info->bus_info));
	vpf_channel_hello(pf, &hello);
	strscpy(info->fw_version, hello.daemon, sizeof(info->fw_version));
}

static int vpf_get_link_ksettings(struct net_device *dev, struct ethtool_link_ksettings *settings)
{
	struct net_device *conduit = vpf_netdev_pf(dev)->conduit;
	int err;

	netdev_lock_ops(conduit);
	err = __ethtool_get_link_ksettings(conduit, settings);
	netdev_unlock_ops(conduit);
	return err;
}

static void vpf_get_channels(struct net_device *dev, struct ethtool_channels *channels)
{
	struct net_device *conduit = vpf_netdev_pf(dev)->conduit;

	netdev_lock_ops(conduit);
	if (conduit->ethtool_ops->get_channels)
		conduit->ethtool_ops->get_channels(conduit, channels);
	netdev_unlock_ops(conduit);
}

static int vpf_set_channels(struct net_device *dev, struct ethtool_channels *channels)
{
	struct net_device *conduit = vpf_netdev_pf(dev)->conduit;
	int err = -EOPNOTSUPP;

	netdev_lock_ops(conduit);
	if (conduit->ethtool_ops->set_channels)
		err = conduit->ethtool_ops->set_channels(conduit, channels);
	netdev_unlock_ops(conduit);
	if (err)
		return err;
	return netif_set_real_num_queues(dev, conduit->real_num_tx_queues,
					 conduit->real_num_rx_queues);
}

static void vpf_get_ringparam(struct net_device *dev, struct ethtool_ringparam *ring,
			      struct kernel_ethtool_ringparam *kernel_ring,
			      struct netlink_ext_ack *extack)
{
	struct net_device *conduit = vpf_netdev_pf(dev)->conduit;

	netdev_lock_ops(conduit);
	if (conduit->ethtool_ops->get_ringparam)
		conduit->ethtool_ops->get_ringparam(conduit, ring, kernel_ring, extack);
	netdev_unlock_ops(conduit);
}

const struct ethtool_ops vpf_ethtool_ops = {
	.get_drvinfo = vpf_get_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_link_ksettings = vpf_get_link_ksettings,
	.get_channels = vpf_get_channels,
	.set_channels = vpf_set_channels,
	.get_ringparam = vpf_get_ringparam,
	.get_sset_count = vpf_get_sset_count,
	.get_strings = vpf_get_strings,
	.get_ethtool_stats = vpf_get_ethtool_stats,
};
