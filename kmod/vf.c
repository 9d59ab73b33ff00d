// SPDX-License-Identifier: GPL-2.0-only
/* VFs as `ip link` sees them. They show what vpfd reported last; settings are sent to vpfd, and its
 * reply has the resulting ones.
 */
#include <linux/etherdevice.h>
#include <linux/if_link.h>
#include <linux/jiffies.h>
#include <linux/lockdep.h>
#include <linux/minmax.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/ratelimit.h>
#include <linux/rtnetlink.h>
#include <linux/spinlock.h>

#include "vf.h"
#include "channel.h"
#include "codec.h"
#include "netdev.h"
#include "pf.h"
#include "request.h"
#include "vf_netdev.h"
#include "vpf.h"

#define SET_TIMEOUT_MS 3000
#define STATS_AGE_MS 100
#define STATS_PAUSE_MS 5000 /* after vpfd failed to send them */

/* With pf->lock: a function's record, from a reply or an event. */
void vpf_fn_record(struct vpf_pf *pf, const struct vpf_function *rec)
{
	struct vpf_fn *fn;
	bool other_mac;

	lockdep_assert_held(&pf->lock);
	if (rec->function > pf->vfs)
		return;
	fn = &pf->fn[rec->function];
	other_mac = !ether_addr_equal(fn->rec.admin_mac, rec->admin_mac);
	fn->rec = *rec;
	if (rec->function == 0) {
		vpf_pf_carrier_locked(pf);
	} else if (other_mac) {
		fn->mac_dirty = true;
		vpf_pf_job(pf, VPF_JOB_MACS);
	}
}

/* With pf->lock. */
void vpf_fn_stats(struct vpf_pf *pf, const struct vpf_stats *stats)
{
	lockdep_assert_held(&pf->lock);
	if (stats->function <= pf->vfs)
		pf->fn[stats->function].stats = *stats;
}

/**
 * vpf_vf_index() - a VF's number
 * @vf: PCI function of a VF
 *
 * pci_iov_vf_id() divides by the stride, which may be 0 if there can be only one VF.
 *
 * Return: the number, or -ENODEV if the device is gone.
 */
int vpf_vf_index(const struct pci_dev *vf)
{
	struct pci_dev *pf = vf->physfn;
	int pos = pci_find_ext_capability(pf, PCI_EXT_CAP_ID_SRIOV);
	u16 offset, stride;
	int distance;

	if (!pos || pci_read_config_word(pf, pos + PCI_SRIOV_VF_OFFSET, &offset) ||
	    pci_read_config_word(pf, pos + PCI_SRIOV_VF_STRIDE, &stride))
		return -ENODEV;
	distance = pci_dev_id((struct pci_dev *)vf) - pci_dev_id(pf) - offset;
	if (distance < 0 || (!stride && distance) || (stride && distance % stride))
		return -ENODEV;
	return stride ? distance / stride : 0;
}

static bool vf_exists(const struct vpf_pf *pf, int vf)
{
	return vf >= 0 && vf < pf->vfs;
}

/* @what: the setting, as the log names it. */
static int set_vf(struct vpf_pf *pf, int vf, struct vpf_set *set, const char *what)
{
	struct vpf_request request = { .type = VPF_CTL_SET };
	struct net_device *dev;
	int err;

	set->function = vf + 1;
	if (!set->tpid)
		set->tpid = ETH_P_8021Q;
	request.set = *set;
	err = vpf_request(pf, &request, SET_TIMEOUT_MS);
	if (!err)
		return 0;
	spin_lock_bh(&pf->lock);
	if (request.status)
		pf->counters.refused++;
	dev = pf->carrier_netdev;
	dev_hold(dev); /* devlink's operations come without RTNL */
	spin_unlock_bh(&pf->lock);
	if (dev && __ratelimit(&pf->refusals)) {
		if (request.status)
			netdev_warn(dev, "VF %d: %s refused by the host: %s\n", vf, what,
				    request.text);
		else
			netdev_warn(dev, "VF %d: %s not set: vpfd does not answer\n", vf, what);
	}
	dev_put(dev);
	return err;
}

int vpf_vf_set_mac(struct vpf_pf *pf, int vf, const u8 *mac)
{
	struct vpf_set set = { .mask = VPF_CTL_MAC };
	char what[sizeof("MAC 00:00:00:00:00:00")];

	if (!vf_exists(pf, vf) || (!is_zero_ether_addr(mac) && !is_valid_ether_addr(mac)))
		return -EINVAL;
	ether_addr_copy(set.mac, mac);
	snprintf(what, sizeof(what), "MAC %pM", mac);
	return set_vf(pf, vf, &set, what);
}

/* The VF's own netdev has the MAC, too, when this returns. */
int vpf_ndo_set_vf_mac(struct net_device *dev, int vf, u8 *mac)
{
	struct vpf_pf *pf = vpf_netdev_pf(dev);
	int err;

	ASSERT_RTNL();
	err = vpf_vf_set_mac(pf, vf, mac);
	if (!err)
		vpf_vf_netdevs_macs(pf);
	return err;
}

int vpf_ndo_set_vf_vlan(struct net_device *dev, int vf, u16 vid, u8 pcp, __be16 proto)
{
	struct vpf_set set = { .mask = VPF_CTL_VLAN, .vid = vid, .pcp = pcp, .tpid = ntohs(proto) };
	struct vpf_pf *pf = vpf_netdev_pf(dev);
	char what[sizeof("VLAN 65535 priority 255 802.1ad")];

	if (!vf_exists(pf, vf) || vid > 4094 || pcp > 7)
		return -EINVAL;
	if (set.tpid != ETH_P_8021Q && set.tpid != ETH_P_8021AD)
		return -EPROTONOSUPPORT;
	snprintf(what, sizeof(what), "VLAN %u%s", vid, set.tpid == ETH_P_8021AD ? " 802.1ad" : "");
	return set_vf(pf, vf, &set, what);
}

int vpf_ndo_set_vf_rate(struct net_device *dev, int vf, int min_rate, int max_rate)
{
	struct vpf_set set = { .mask = VPF_CTL_RATE, .min_rate = min_rate, .max_rate = max_rate };
	struct vpf_pf *pf = vpf_netdev_pf(dev);
	char what[sizeof("rate of 2147483647 to 2147483647 Mb/s")];

	if (!vf_exists(pf, vf) || min_rate < 0 || max_rate < 0 || (max_rate && max_rate < min_rate))
		return -EINVAL;
	snprintf(what, sizeof(what), "rate of %d to %d Mb/s", min_rate, max_rate);
	return set_vf(pf, vf, &set, what);
}

int vpf_ndo_set_vf_spoofchk(struct net_device *dev, int vf, bool on)
{
	struct vpf_set set = { .mask = VPF_CTL_SPOOFCHK, .spoofchk = on };
	struct vpf_pf *pf = vpf_netdev_pf(dev);

	if (!vf_exists(pf, vf))
		return -EINVAL;
	return set_vf(pf, vf, &set, on ? "spoof check on" : "spoof check off");
}

int vpf_ndo_set_vf_trust(struct net_device *dev, int vf, bool on)
{
	struct vpf_set set = { .mask = VPF_CTL_TRUST, .trust = on };
	struct vpf_pf *pf = vpf_netdev_pf(dev);

	if (!vf_exists(pf, vf))
		return -EINVAL;
	return set_vf(pf, vf, &set, on ? "trust on" : "trust off");
}

int vpf_ndo_set_vf_link_state(struct net_device *dev, int vf, int state)
{
	static const char *const names[] = {
		[VPF_CTL_LINK_AUTO] = "link state auto",
		[VPF_CTL_LINK_ENABLE] = "link state enable",
		[VPF_CTL_LINK_DISABLE] = "link state disable",
	};
	struct vpf_set set = { .mask = VPF_CTL_LINK, .link = state };
	struct vpf_pf *pf = vpf_netdev_pf(dev);

	BUILD_BUG_ON((int)IFLA_VF_LINK_STATE_AUTO != (int)VPF_CTL_LINK_AUTO ||
		     (int)IFLA_VF_LINK_STATE_ENABLE != (int)VPF_CTL_LINK_ENABLE ||
		     (int)IFLA_VF_LINK_STATE_DISABLE != (int)VPF_CTL_LINK_DISABLE);
	if (!vf_exists(pf, vf) || state < 0 || state > VPF_CTL_LINK_DISABLE)
		return -EINVAL;
	return set_vf(pf, vf, &set, names[state]);
}

/* Never waits, and never fails for a VF that can exist: the index in rtnetlink's list is the
 * VF's number.
 */
int vpf_ndo_get_vf_config(struct net_device *dev, int vf, struct ifla_vf_info *info)
{
	struct vpf_pf *pf = vpf_netdev_pf(dev);
	const struct vpf_function *rec;

	if (!vf_exists(pf, vf))
		return -EINVAL;
	spin_lock_bh(&pf->lock);
	rec = &pf->fn[vf + 1].rec;
	info->vf = vf;
	ether_addr_copy(info->mac, rec->admin_mac);
	info->vlan = rec->vid;
	info->qos = rec->pcp;
	info->vlan_proto = htons(rec->tpid ? rec->tpid : ETH_P_8021Q); /* 0: vpfd has no such VF */
	info->spoofchk = rec->spoofchk;
	info->trusted = rec->trust;
	info->linkstate = rec->link;
	info->min_tx_rate = rec->min_rate;
	info->max_tx_rate = rec->max_rate;
	info->rss_query_en = 0;
	spin_unlock_bh(&pf->lock);
	return 0;
}

/* The number of VFs whose statistics are to be requested now: all that are enabled, or none. */
static unsigned int stats_wanted(struct vpf_pf *pf)
{
	const struct vpf_hello_reply *hello = &pf->ch.hello;
	unsigned int vfs = 0;

	ASSERT_RTNL();
	if (pf->stats_asked && time_before(jiffies, pf->stats_until))
		return 0;
	spin_lock_bh(&pf->lock);
	if (pf->ch.state == VPF_SESSION_UP && (hello->capabilities & VPF_CTL_CAP_STATS))
		vfs = min_t(unsigned int, pci_num_vf(pf->pdev), hello->vfs);
	spin_unlock_bh(&pf->lock);
	return vfs;
}

int vpf_ndo_get_vf_stats(struct net_device *dev, int vf, struct ifla_vf_stats *stats)
{
	struct vpf_pf *pf = vpf_netdev_pf(dev);
	const struct vpf_stats *s;
	unsigned int vfs;
	int err;

	ASSERT_RTNL();
	if (!vf_exists(pf, vf))
		return -EINVAL;
	vfs = stats_wanted(pf);
	if (vfs) { /* of all VFs: the others' are wanted next */
		err = vpf_request_stats(pf, vfs);
		pf->stats_until = jiffies + msecs_to_jiffies(err ? STATS_PAUSE_MS : STATS_AGE_MS);
		pf->stats_asked = true;
	}
	spin_lock_bh(&pf->lock);
	s = &pf->fn[vf + 1].stats;
	stats->rx_packets = s->rx_packets;
	stats->tx_packets = s->tx_packets;
	stats->rx_bytes = s->rx_bytes;
	stats->tx_bytes = s->tx_bytes;
	stats->broadcast = s->rx_broadcast;
	stats->multicast = s->rx_multicast;
	stats->rx_dropped = s->rx_dropped;
	stats->tx_dropped = s->tx_dropped;
	spin_unlock_bh(&pf->lock);
	return 0;
}
