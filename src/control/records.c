/* SPDX-License-Identifier: Apache-2.0 */

#include "control/records.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#include "settings/can.h"

static_assert(SETTING_MAC == VPF_CTL_MAC && SETTING_VLAN == VPF_CTL_VLAN && SETTING_RATE == VPF_CTL_RATE &&
		      SETTING_SPOOFCHK == VPF_CTL_SPOOFCHK && SETTING_TRUST == VPF_CTL_TRUST &&
		      SETTING_LINK == VPF_CTL_LINK && SETTING_ALL == VPF_CTL_SETTINGS,
	      "the model's bits of settings are the format's");
static_assert(VPF_MAX_FUNCTIONS <= UINT16_MAX && VPF_MTU_MAX <= UINT16_MAX, "fields of 16 bits");

static uint8_t link_value(enum link_mode mode)
{
	switch (mode) {
	case LINK_ENABLE:
		return VPF_CTL_LINK_ENABLE;
	case LINK_DISABLE:
		return VPF_CTL_LINK_DISABLE;
	case LINK_AUTO:
		break;
	}
	return VPF_CTL_LINK_AUTO;
}

void record_function(unsigned int function, const struct function_settings *s, bool link_up, bool started,
		     struct vpf_ctl_function *ret)
{
	ret->function = htole16((uint16_t)function);
	ret->flags = (uint8_t)((s->spoofchk ? VPF_CTL_F_SPOOFCHK : 0) | (s->trust ? VPF_CTL_F_TRUST : 0) |
			       (link_up ? VPF_CTL_F_LINK_UP : 0) | (started ? VPF_CTL_F_STARTED : 0));
	ret->link = link_value(s->link);
	memcpy(ret->mac, s->mac, sizeof(ret->mac));
	memcpy(ret->admin_mac, s->admin_mac, sizeof(ret->admin_mac));
	ret->tpid = htole16(ETHER_TPID_Q);
	if (s->vlan.mode == VLAN_ACCESS) {
		ret->vlan_mode = VPF_CTL_VLAN_ACCESS;
		ret->pcp = s->vlan.pcp;
		ret->vid = htole16(s->vlan.vid);
		ret->tpid = htole16(s->vlan.tpid);
	} else {
		ret->vlan_mode = s->vlan.mode == VLAN_TRUNK ? VPF_CTL_VLAN_TRUNK : VPF_CTL_VLAN_NONE;
	}
	ret->mtu = htole16(s->mtu);
	ret->min_rate = htole32(s->min_rate);
	ret->max_rate = htole32(s->max_rate);
	ret->pinned = htole32(s->pinned);
}

static uint64_t dropped(const uint64_t drop[DROP_REASONS])
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < DROP_REASONS; i++)
		sum += drop[i];
	return sum;
}

void record_stats(unsigned int function, const struct port_stats *s, struct vpf_ctl_stats *ret)
{
	*ret = (struct vpf_ctl_stats){
		.function = htole16((uint16_t)function),
		.rx_packets = htole64(s->rx_packets),
		.rx_bytes = htole64(s->rx_bytes),
		.rx_broadcast = htole64(s->rx_broadcast),
		.rx_multicast = htole64(s->rx_multicast),
		.rx_dropped = htole64(dropped(s->rx_drop)),
		.tx_packets = htole64(s->tx_packets),
		.tx_bytes = htole64(s->tx_bytes),
		.tx_broadcast = htole64(s->tx_broadcast),
		.tx_multicast = htole64(s->tx_multicast),
		.tx_dropped = htole64(dropped(s->tx_drop)),
	};
}

/* The model checks the range. */
static int apply_vlan(const struct ctl_set *set, struct vlan_settings *vlan, struct err *err)
{
	if (set->pcp && !set->vid)
		return err_set(err, EINVAL, NULL, "a priority needs a VLAN whose tag carries it");
	*vlan = (struct vlan_settings){.mode = VLAN_NONE, .tpid = ETHER_TPID_Q};
	if (set->vid) {
		vlan->mode = VLAN_ACCESS;
		vlan->vid = set->vid;
		vlan->pcp = set->pcp;
		vlan->tpid = set->tpid;
	}
	return 0;
}

static int apply_link(uint8_t value, enum link_mode *ret, struct err *err)
{
	switch (value) {
	case VPF_CTL_LINK_AUTO:
		*ret = LINK_AUTO;
		return 0;
	case VPF_CTL_LINK_ENABLE:
		*ret = LINK_ENABLE;
		return 0;
	case VPF_CTL_LINK_DISABLE:
		*ret = LINK_DISABLE;
		return 0;
	default:
		return err_set(err, EINVAL, NULL, "link state %u does not exist", value);
	}
}

static int apply_flag(uint8_t value, const char *what, bool *ret, struct err *err)
{
	if (value > 1)
		return err_set(err, EINVAL, NULL, "%s is off or on, not %u", what, value);
	*ret = value;
	return 0;
}

int record_apply(const struct ctl_set *set, struct function_settings *s, struct err *err)
{
	struct function_settings after = *s;
	int r = 0;

	if (set->mask & ~VPF_CTL_SETTINGS)
		return err_set(err, EOPNOTSUPP, NULL, "this vpfd does not know settings 0x%04x",
			       set->mask & ~VPF_CTL_SETTINGS);
	if (!set->mask)
		return err_set(err, EINVAL, NULL, "a request for no setting");
	if (set->mask & VPF_CTL_MAC)
		memcpy(after.admin_mac, set->mac, sizeof(after.admin_mac));
	if (set->mask & VPF_CTL_RATE) {
		after.min_rate = set->min_rate;
		after.max_rate = set->max_rate;
	}
	if (set->mask & VPF_CTL_VLAN)
		r = apply_vlan(set, &after.vlan, err);
	if (!r && set->mask & VPF_CTL_SPOOFCHK)
		r = apply_flag(set->spoofchk, "the spoof check", &after.spoofchk, err);
	if (!r && set->mask & VPF_CTL_TRUST)
		r = apply_flag(set->trust, "trust", &after.trust, err);
	if (!r && set->mask & VPF_CTL_LINK)
		r = apply_link(set->link, &after.link, err);
	if (!r)
		*s = after;
	return r;
}

uint16_t record_status(int r)
{
	switch (-r) {
	case 0:
		return VPF_CTL_OK;
	case EPERM:
		return VPF_CTL_DENIED;
	case EINVAL:
		return VPF_CTL_INVALID;
	case ENOENT:
		return VPF_CTL_NO_FUNCTION;
	case EOPNOTSUPP:
		return VPF_CTL_UNSUPPORTED;
	case EEXIST:
		return VPF_CTL_CONFLICT;
	default:
		return VPF_CTL_FAILED;
	}
}

uint32_t record_capabilities(uint32_t can)
{
	static const struct {
		uint32_t can, capability;
	} rows[] = {
		{CAN_ADMIN_MAC, VPF_CTL_MAC},
		{CAN_VLAN, VPF_CTL_VLAN},
		{CAN_VLAN_AD, VPF_CTL_VLAN | VPF_CTL_CAP_VLAN_AD},
		{CAN_MAX_RATE, VPF_CTL_RATE},
		{CAN_MIN_RATE, VPF_CTL_RATE | VPF_CTL_CAP_MIN_RATE},
		{CAN_SPOOFCHK | CAN_NO_SPOOFCHK, VPF_CTL_SPOOFCHK},
		{CAN_TRUST, VPF_CTL_TRUST},
		{CAN_LINK, VPF_CTL_LINK},
		{CAN_STATS, VPF_CTL_CAP_STATS},
	};
	uint32_t capabilities = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if ((can & rows[i].can) == rows[i].can)
			capabilities |= rows[i].capability;
	return capabilities;
}
