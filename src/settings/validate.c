/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/validate.h"

#include <stdio.h>
#include <string.h>

#include "settings/mac.h"

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

int validate_name(const char *name, const char *field, struct err *err)
{
	size_t len = strlen(name);
	bool ok = len >= 1 && len < VPF_NAME_MAX && is_alnum(name[0]);

	/* It becomes a directory of the run directory: no '/', no leading dot. */
	for (const char *p = name; ok && *p; p++)
		ok = is_alnum(*p) || strchr("_.-", *p);
	if (!ok)
		return err_set(
			err, EINVAL, field,
			"must have 1 to %d letters, digits, '_', '.' or '-', and begin with a letter or digit",
			VPF_NAME_MAX - 1);
	return 0;
}

/* What the kernel takes as a netdev's name. */
static bool ifname_ok(const char *name)
{
	if (!*name || strlen(name) >= IFNAMSIZ || !strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	for (const char *p = name; *p; p++)
		if (*p <= ' ' || *p == '/' || *p == ':' || *p == '%' || *p == 0x7f)
			return false;
	return true;
}

int validate_fabric(const struct fabric_settings *s, struct err *err)
{
	int r = validate_name(s->name, "name", err);

	if (r < 0)
		return r;
	if (s->uplink == UPLINK_NONE && s->uplink_name[0])
		return err_set(err, EINVAL, "uplink.name", "an uplink of type none has no name");
	if (s->uplink != UPLINK_NONE && !ifname_ok(s->uplink_name))
		return err_set(
			err, EINVAL, "uplink.name",
			"must name a network interface: 1 to %d visible ASCII characters without '/', ':' and '%%'",
			IFNAMSIZ - 1);
	if (s->type != FABRIC_BUILTIN && s->type != FABRIC_BRIDGE)
		return err_set(err, EINVAL, "type", "must be builtin or bridge");
	if (s->type == FABRIC_BUILTIN && s->bridge[0])
		return err_set(err, EINVAL, "bridge",
			       "belongs to a fabric of type bridge, not of type builtin");
	if (s->type == FABRIC_BRIDGE && !ifname_ok(s->bridge))
		return err_set(
			err, EINVAL, "bridge",
			"must name the bridge, which is made if there is none: 1 to %d visible ASCII characters without '/', ':' and '%%'",
			IFNAMSIZ - 1);
	if (s->type == FABRIC_BRIDGE && s->uplink != UPLINK_NONE && !strcmp(s->bridge, s->uplink_name))
		return err_set(err, EINVAL, "uplink.name", "cannot be the bridge itself");
	if (s->ageing < 1 || s->ageing > 1000000)
		return err_set(err, EINVAL, "ageing", "must be 1 to 1000000 seconds");
	if (s->max_learned > 65536)
		return err_set(err, EINVAL, "max_learned", "must be 0 to 65536");
	return 0;
}

static int validate_mtu(uint16_t mtu, struct err *err)
{
	if (mtu < VPF_MTU_MIN || mtu > VPF_MTU_MAX)
		return err_set(err, EINVAL, "mtu", "must be %d to %d bytes", VPF_MTU_MIN, VPF_MTU_MAX);
	return 0;
}

static int validate_pf_mac(const uint8_t mac[6], uint32_t vfs, struct err *err)
{
	if (mac_is_multicast(mac))
		return err_set(err, EINVAL, "mac",
			       "is a multicast address: the lowest bit of the first byte must be 0");
	if (mac_is_zero(mac))
		return err_set(err, EINVAL, "mac",
			       "must not be all zeros; leave it out to have one generated");
	if (!mac_has_room(mac, vfs))
		return err_set(
			err, EINVAL, "mac",
			"leaves no room for %u VFs, which get the MACs behind it: the last three bytes would overflow",
			vfs);
	return 0;
}

static int validate_rate(uint32_t rate, const char *field, struct err *err)
{
	if (rate > VPF_MAX_RATE)
		return err_set(err, EINVAL, field, "must be 0 (none) to %d Mb/s", VPF_MAX_RATE);
	return 0;
}

static int validate_ranges(const struct pf_policy *p, struct err *err)
{
	if (p->mac_ranges_n > VPF_MAX_POLICY_MACS)
		return err_set(err, EINVAL, "policy.mac_list", "must have at most %d MACs or ranges",
			       VPF_MAX_POLICY_MACS);
	for (unsigned int i = 0; i < p->mac_ranges_n; i++) {
		const struct mac_range *range = &p->mac_ranges[i];
		char field[32];

		snprintf(field, sizeof(field), "policy.mac_list[%u]", i);
		if (mac_to_number(range->last) < mac_to_number(range->first))
			return err_set(err, EINVAL, field, "is a range that runs backwards");
		/* Between two unicast ones with different first bytes there would be multicast ones. */
		if (mac_is_multicast(range->first) || range->first[0] != range->last[0])
			return err_set(
				err, EINVAL, field,
				"must have unicast MACs only: the first byte even, and the same at both ends");
		if (mac_is_zero(range->first))
			return err_set(err, EINVAL, field, "must not begin with the MAC that is all zeros");
	}
	return 0;
}

static int validate_policy(const struct pf_policy *p, struct err *err)
{
	int r;

	if (p->vlans[0] & 1)
		return err_set(err, EINVAL, "policy.vlans",
			       "must not have 0: no VLAN is always allowed, and VLANs are 1 to 4094");
	if (p->vlans[63] >> 63)
		return err_set(err, EINVAL, "policy.vlans", "VLAN 4095 is reserved");
	if (p->macs != MAC_POLICY_OWN && p->macs != MAC_POLICY_LIST && p->macs != MAC_POLICY_ANY)
		return err_set(err, EINVAL, "policy.macs", "must be own, list or any");
	r = validate_ranges(p, err);
	if (r < 0)
		return r;
	if (p->max_vfs > VPF_MAX_VFS)
		return err_set(err, EINVAL, "policy.max_vfs", "must be 0 to %d", VPF_MAX_VFS);
	r = validate_rate(p->max_rate, "policy.max_rate", err);
	if (r < 0)
		return r;
	r = validate_rate(p->max_rate_total, "policy.max_rate_total", err);
	if (r < 0)
		return r;
	if (p->max_driver_macs > VPF_MAX_DRIVER_MACS)
		return err_set(err, EINVAL, "policy.max_driver_macs", "must be 0 to %d", VPF_MAX_DRIVER_MACS);
	return 0;
}

/* What the list says by itself, its readers have checked. */
static int validate_datapaths(const struct datapath_list *list, struct err *err)
{
	if (list->n > VPF_MAX_DATAPATHS)
		return err_set(err, EINVAL, "datapaths", "must have at most %d preferences",
			       VPF_MAX_DATAPATHS);
	for (unsigned int i = 0; i < list->n; i++)
		if ((unsigned int)list->pref[i].type >= DATAPATH_TYPES)
			return err_set(err, EINVAL, "datapaths", "has a datapath of no known type");
	return 0;
}

int validate_pf(const struct pf_settings *s, const uint8_t *mac, struct err *err)
{
	int r = validate_name(s->name, "name", err);

	if (r < 0)
		return r;
	r = validate_name(s->fabric, "fabric", err);
	if (r < 0)
		return r;
	if (s->vfs > VPF_MAX_VFS)
		return err_set(err, EINVAL, "vfs", "must be 0 to %d", VPF_MAX_VFS);
	if (s->queue_pairs < 1 || s->queue_pairs > VPF_MAX_QUEUE_PAIRS)
		return err_set(err, EINVAL, "queue_pairs", "must be 1 to %d", VPF_MAX_QUEUE_PAIRS);
	r = validate_mtu(s->mtu, err);
	if (r < 0)
		return r;
	if (s->qmp[0] && s->qmp[0] != '/')
		return err_set(err, EINVAL, "qmp", "must be the absolute path of a QMP socket");
	for (const char *p = s->qmp; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return err_set(err, EINVAL, "qmp", "must not contain control characters");
	r = validate_name(s->vm, "vm", err);
	if (r < 0)
		return r;
	r = validate_policy(&s->policy, err);
	if (r < 0)
		return r;
	r = validate_datapaths(&s->datapaths, err);
	if (r < 0)
		return r;
	return mac ? validate_pf_mac(mac, s->vfs, err) : 0;
}

static int validate_vlan(const struct vlan_settings *v, struct err *err)
{
	uint64_t any = 0;

	switch (v->mode) {
	case VLAN_NONE:
		return 0;
	case VLAN_ACCESS:
		if (v->vid < 1 || v->vid > 4094)
			return err_set(err, EINVAL, "vlan.vid", "must be 1 to 4094");
		if (v->pcp > 7)
			return err_set(err, EINVAL, "vlan.pcp", "must be 0 to 7");
		if (v->tpid != ETHER_TPID_Q && v->tpid != ETHER_TPID_AD)
			return err_set(err, EINVAL, "vlan.proto", "must be 802.1q or 802.1ad");
		return 0;
	case VLAN_TRUNK:
		for (size_t i = 0; i < ARRAY_SIZE(v->trunk); i++)
			any |= v->trunk[i];
		if (!any)
			return err_set(err, EINVAL, "vlan.vids", "must name at least one VLAN");
		if (vlan_trunk_allows(v, 4095))
			return err_set(err, EINVAL, "vlan.vids", "VLAN 4095 is reserved");
		return 0;
	}
	return err_set(err, EINVAL, "vlan.mode", "must be none, access or trunk");
}

int validate_function(const struct function_settings *s, struct err *err)
{
	int r;

	/* All zeros is how the absence of an administrative MAC is spelled. */
	if (mac_is_multicast(s->admin_mac))
		return err_set(err, EINVAL, "mac",
			       "is a multicast address: the lowest bit of the first byte must be 0");
	r = validate_vlan(&s->vlan, err);
	if (r < 0)
		return r;
	if (s->link != LINK_AUTO && s->link != LINK_ENABLE && s->link != LINK_DISABLE)
		return err_set(err, EINVAL, "link", "must be auto, enable or disable");
	r = validate_rate(s->min_rate, "min_rate", err);
	if (r < 0)
		return r;
	r = validate_rate(s->max_rate, "max_rate", err);
	if (r < 0)
		return r;
	if (s->max_rate && s->min_rate > s->max_rate)
		return err_set(err, EINVAL, "min_rate", "must not be above the maximum rate, %u Mb/s",
			       s->max_rate);
	if (s->pinned & ~SETTING_ALL)
		return err_set(err, EINVAL, "pinned",
			       "must be any of mac, vlan, rate, spoofchk, trust, link");
	r = validate_datapaths(&s->datapaths, err);
	return r < 0 ? r : validate_mtu(s->mtu, err);
}
