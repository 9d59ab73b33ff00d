/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/settings_json.h"

#include <stdio.h>
#include <string.h>

#include "settings/mac.h"
#include "settings/vlan_set.h"

const char *const fabric_type_choices[] = {"builtin", "bridge", NULL};
static const char *const datapath_choices[] = {"builtin", "vhost-net", "vhost-user", "vdpa", NULL};
static const char *const uplink_choices[] = {"none", "tap", "netdev", NULL};
static const char *const vlan_mode_choices[] = {"none", "access", "trunk", NULL};
static const char *const vlan_proto_choices[] = {"802.1q", "802.1ad", NULL};
static const char *const macs_choices[] = {"own", "list", "any", NULL};
const char *const link_choices[] = {"auto", "enable", "disable", NULL};
/* By number of the bit of SETTING_*. */
const char *const pinned_choices[] = {"mac", "vlan", "rate", "spoofchk", "trust", "link", NULL};

const struct json_field uplink_json_fields[] = {
	{.name = "type",
	 .kind = JSON_KIND_STRING,
	 .flags = JSON_REQUIRED,
	 .choices = uplink_choices,
	 .doc = "none; tap: vpfd creates it; netdev: an existing one"},
	{.name = "name", .kind = JSON_KIND_STRING, .max = IFNAMSIZ - 1, .doc = "of the network interface"},
	{0},
};

const struct json_field datapath_json_fields[] = {
	{.name = "type",
	 .kind = JSON_KIND_STRING,
	 .flags = JSON_REQUIRED,
	 .choices = datapath_choices,
	 .doc = "builtin: vpfd's workers; vhost-net: the kernel's, on a bridge; vhost-user: another back-end; vdpa: a kernel vhost-vdpa device"},
	{.name = "path",
	 .kind = JSON_KIND_STRING,
	 .min = 1,
	 .max = VPF_DATAPATH_PARAM - 1,
	 .doc = "vhost-user: the back-end's socket; {pf} and {vf} stand for the names of PF and VF"},
	{.name = "server",
	 .kind = JSON_KIND_BOOL,
	 .doc = "vhost-user: vpfd listens and the back-end connects (default false)"},
	{.name = "offload",
	 .kind = JSON_KIND_BOOL,
	 .doc = "vhost-user: the back-end takes checksum and segmentation offload (default false)"},
	{.name = "device",
	 .kind = JSON_KIND_STRING,
	 .min = 1,
	 .max = VPF_DATAPATH_PARAM - 1,
	 .doc = "vdpa: pattern (as of file names) of existing vDPA devices that may be used"},
	{.name = "mgmtdev",
	 .kind = JSON_KIND_STRING,
	 .min = 1,
	 .max = 63,
	 .doc = "vdpa: pattern of management devices on which one may be made"},
	{0},
};

const struct json_field policy_json_fields[] = {
	{.name = "guest_control",
	 .kind = JSON_KIND_BOOL,
	 .doc = "the guest may configure its VFs at all, within the rest of the policy (default true)"},
	{.name = "vlans",
	 .kind = JSON_KIND_STRING,
	 .max = VLAN_SET_TEXT_MAX,
	 .doc = "VLANs that it may put its VFs into, such as 10-20,30; empty: none (default none)"},
	{.name = "vlan_ad", .kind = JSON_KIND_BOOL, .doc = "also with 802.1ad tags (default false)"},
	{.name = "macs",
	 .kind = JSON_KIND_STRING,
	 .choices = macs_choices,
	 .doc = "administrative MACs that it may give its VFs: own, those of the virtual PF's functions; list, also those of mac_list; any (default own)"},
	{.name = "mac_list",
	 .kind = JSON_KIND_ARRAY,
	 .max = VPF_MAX_POLICY_MACS,
	 .doc = "MACs, or ranges such as 02:00:00:00:00:00-02:00:00:00:00:ff, for macs list (default none)"},
	{.name = "trust", .kind = JSON_KIND_BOOL, .doc = "it may make its VFs trusted (default false)"},
	{.name = "spoofchk_off",
	 .kind = JSON_KIND_BOOL,
	 .doc = "it may turn their spoof check off (default false)"},
	{.name = "max_vfs",
	 .kind = JSON_KIND_INT,
	 .max = VPF_MAX_VFS,
	 .doc = "only so many VFs, from VF 0 on, have link and can be configured (default 255: all)"},
	{.name = "max_rate",
	 .kind = JSON_KIND_INT,
	 .max = VPF_MAX_RATE,
	 .doc = "Mb/s that each VF may send at most; 0: no limit (default 0)"},
	{.name = "max_rate_total",
	 .kind = JSON_KIND_INT,
	 .max = VPF_MAX_RATE,
	 .doc = "Mb/s that all functions may send together, and minimum rates are shares of; 0: no limit (default 0)"},
	{.name = "driver_mac",
	 .kind = JSON_KIND_BOOL,
	 .doc = "the driver may set its function's MAC and add unicast MACs (default true)"},
	{.name = "max_driver_macs",
	 .kind = JSON_KIND_INT,
	 .min = 0,
	 .max = VPF_MAX_DRIVER_MACS,
	 .doc = "MACs that the driver may add to one function (default 32)"},
	{.name = "promisc",
	 .kind = JSON_KIND_BOOL,
	 .doc = "a trusted function may be promiscuous (default false)"},
	{0},
};

const struct json_field vlan_json_fields[] = {
	{.name = "mode",
	 .kind = JSON_KIND_STRING,
	 .flags = JSON_REQUIRED,
	 .choices = vlan_mode_choices,
	 .doc = "none: untagged frames only; access: the switch inserts and strips the tag; trunk: the guest tags"},
	{.name = "vid", .kind = JSON_KIND_INT, .min = 1, .max = 4094, .doc = "access: the VLAN"},
	{.name = "pcp", .kind = JSON_KIND_INT, .min = 0, .max = 7, .doc = "access: priority (default 0)"},
	{.name = "proto",
	 .kind = JSON_KIND_STRING,
	 .choices = vlan_proto_choices,
	 .doc = "access: kind of tag (default 802.1q)"},
	{.name = "vids",
	 .kind = JSON_KIND_STRING,
	 .min = 1,
	 .max = VLAN_SET_TEXT_MAX,
	 .doc = "trunk: VLANs that pass, such as 0,10-20,30; 0: untagged frames"},
	{0},
};

/* Index of the choice; the table check has seen to it that there is one. */
static int choice(const json_t *v, const char *const *choices)
{
	const char *s = json_string_value(v);

	for (int i = 0; choices[i]; i++)
		if (!strcmp(choices[i], s))
			return i;
	return 0;
}

const char *fabric_type_name(enum fabric_type type)
{
	return fabric_type_choices[type];
}

const char *uplink_type_name(enum uplink_type type)
{
	return uplink_choices[type];
}

const char *link_mode_name(enum link_mode mode)
{
	return link_choices[mode];
}

void fabric_settings_read(const json_t *o, struct fabric_settings *s)
{
	const json_t *v;

	v = json_object_get(o, "type");
	if (v)
		s->type = (enum fabric_type)choice(v, fabric_type_choices);
	v = json_object_get(o, "bridge");
	if (v) {
		memset(s->bridge, 0, sizeof(s->bridge));
		snprintf(s->bridge, sizeof(s->bridge), "%s", json_string_value(v));
	}
	v = json_object_get(o, "uplink");
	if (v) {
		const char *name = json_string_value(json_object_get(v, "name"));

		s->uplink = (enum uplink_type)choice(json_object_get(v, "type"), uplink_choices);
		memset(s->uplink_name, 0, sizeof(s->uplink_name));
		if (name)
			snprintf(s->uplink_name, sizeof(s->uplink_name), "%s", name);
	}
	v = json_object_get(o, "learning");
	if (v)
		s->learning = json_is_true(v);
	v = json_object_get(o, "ageing");
	if (v)
		s->ageing = (uint32_t)json_integer_value(v);
	v = json_object_get(o, "max_learned");
	if (v)
		s->max_learned = (uint32_t)json_integer_value(v);
}

json_t *fabric_settings_json(const struct fabric_settings *s)
{
	json_t *uplink = json_pack("{s:s}", "type", uplink_type_name(s->uplink)), *o;

	if (s->uplink != UPLINK_NONE)
		json_object_set_new(uplink, "name", json_string(s->uplink_name));
	o = json_pack("{s:s, s:s, s:o, s:b, s:I, s:I}", "name", s->name, "type", fabric_type_name(s->type),
		      "uplink", uplink, "learning", s->learning, "ageing", (json_int_t)s->ageing,
		      "max_learned", (json_int_t)s->max_learned);
	if (s->type == FABRIC_BRIDGE)
		json_object_set_new(o, "bridge", json_string(s->bridge));
	return o;
}

static void read_bool(const json_t *o, const char *name, bool *to)
{
	const json_t *v = json_object_get(o, name);

	if (v)
		*to = json_is_true(v);
}

static void read_number(const json_t *o, const char *name, uint32_t *to)
{
	const json_t *v = json_object_get(o, name);

	if (v)
		*to = (uint32_t)json_integer_value(v);
}

/* "MAC" or "MAC-MAC" */
static bool range_parse(const char *text, struct mac_range *ret)
{
	char first[MAC_TEXT_MAX];

	if (strlen(text) == MAC_TEXT_MAX - 1) {
		if (!mac_parse(text, ret->first))
			return false;
		memcpy(ret->last, ret->first, 6);
		return true;
	}
	if (strlen(text) != 2 * MAC_TEXT_MAX - 1 || text[MAC_TEXT_MAX - 1] != '-')
		return false;
	memcpy(first, text, sizeof(first) - 1);
	first[sizeof(first) - 1] = '\0';
	return mac_parse(first, ret->first) && mac_parse(text + MAC_TEXT_MAX, ret->last);
}

static int mac_list_read(const json_t *list, struct pf_policy *p, struct err *err)
{
	size_t n = json_array_size(list);

	p->mac_ranges_n = 0;
	memset(p->mac_ranges, 0, sizeof(p->mac_ranges));
	for (size_t i = 0; i < n && i < VPF_MAX_POLICY_MACS; i++) {
		char field[32];

		if (range_parse(json_string_value(json_array_get(list, i)), &p->mac_ranges[i])) {
			p->mac_ranges_n++;
			continue;
		}
		snprintf(field, sizeof(field), "policy.mac_list[%u]", (unsigned int)i);
		return err_set(
			err, EINVAL, field,
			"must be a MAC address, or two with '-' between them, such as 02:00:00:00:00:00-02:00:00:00:00:ff");
	}
	return 0;
}

static json_t *mac_list_json(const struct pf_policy *p)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < p->mac_ranges_n; i++) {
		const struct mac_range *range = &p->mac_ranges[i];
		char first[MAC_TEXT_MAX], last[MAC_TEXT_MAX];

		mac_format(range->first, first);
		mac_format(range->last, last);
		json_array_append_new(list, strcmp(first, last) ? json_sprintf("%s-%s", first, last)
								: json_string(first));
	}
	return list;
}

static int policy_read(const json_t *o, struct pf_policy *p, struct err *err)
{
	const json_t *v;
	int r = 0;

	read_bool(o, "guest_control", &p->guest_control);
	v = json_object_get(o, "vlans");
	if (v && !json_string_length(v))
		memset(p->vlans, 0, sizeof(p->vlans));
	else if (v)
		r = vlan_set_parse(json_string_value(v), "policy.vlans", p->vlans, err);
	if (r < 0)
		return r;
	read_bool(o, "vlan_ad", &p->vlan_ad);
	v = json_object_get(o, "macs");
	if (v)
		p->macs = (enum mac_policy)choice(v, macs_choices);
	v = json_object_get(o, "mac_list");
	if (v)
		r = mac_list_read(v, p, err);
	if (r < 0)
		return r;
	read_bool(o, "trust", &p->trust);
	read_bool(o, "spoofchk_off", &p->spoofchk_off);
	read_number(o, "max_vfs", &p->max_vfs);
	read_number(o, "max_rate", &p->max_rate);
	read_number(o, "max_rate_total", &p->max_rate_total);
	read_bool(o, "driver_mac", &p->driver_mac);
	read_number(o, "max_driver_macs", &p->max_driver_macs);
	read_bool(o, "promisc", &p->promisc);
	return 0;
}

/* Null: none. */
static int datapaths_read(const json_t *o, struct datapath_list *ret, struct err *err)
{
	const json_t *v = json_object_get(o, "datapaths");

	if (!v)
		return 0;
	if (!json_is_null(v))
		return datapath_list_from_json(v, ret, err);
	*ret = (struct datapath_list){0};
	return 0;
}

int pf_settings_read(const json_t *o, struct pf_settings *s, uint8_t mac[6], bool *ret_has_mac,
		     struct err *err)
{
	const json_t *v;
	int r;

	v = json_object_get(o, "mac");
	if (v) {
		mac_parse(json_string_value(v), mac);
		*ret_has_mac = true;
	}
	v = json_object_get(o, "mtu");
	if (v)
		s->mtu = (uint16_t)json_integer_value(v);
	v = json_object_get(o, "vm");
	if (v)
		snprintf(s->vm, sizeof(s->vm), "%s", json_is_null(v) ? s->name : json_string_value(v));
	v = json_object_get(o, "qmp");
	if (v)
		snprintf(s->qmp, sizeof(s->qmp), "%s", json_is_null(v) ? "" : json_string_value(v));
	read_bool(o, "failback", &s->failback);
	r = datapaths_read(o, &s->datapaths, err);
	if (r < 0)
		return r;
	v = json_object_get(o, "policy");
	return v ? policy_read(v, &s->policy, err) : 0;
}

json_t *policy_json(const struct pf_policy *p)
{
	char vlans[VLAN_SET_TEXT_MAX];

	return json_pack("{s:b, s:s, s:b, s:s, s:o, s:b, s:b, s:I, s:I, s:I, s:b, s:I, s:b}", "guest_control",
			 p->guest_control, "vlans", vlan_set_format(p->vlans, vlans), "vlan_ad", p->vlan_ad,
			 "macs", macs_choices[p->macs], "mac_list", mac_list_json(p), "trust", p->trust,
			 "spoofchk_off", p->spoofchk_off, "max_vfs", (json_int_t)p->max_vfs, "max_rate",
			 (json_int_t)p->max_rate, "max_rate_total", (json_int_t)p->max_rate_total,
			 "driver_mac", p->driver_mac, "max_driver_macs", (json_int_t)p->max_driver_macs,
			 "promisc", p->promisc);
}

/* A member that the mode does not have would silently do nothing: refused. */
static int vlan_read(const json_t *o, struct vlan_settings *v, struct err *err)
{
	enum vlan_mode mode = (enum vlan_mode)choice(json_object_get(o, "mode"), vlan_mode_choices);
	const json_t *vid = json_object_get(o, "vid"), *pcp = json_object_get(o, "pcp");
	const json_t *proto = json_object_get(o, "proto"), *vids = json_object_get(o, "vids");
	struct vlan_settings s = {.mode = mode, .tpid = ETHER_TPID_Q};

	if (mode != VLAN_ACCESS && (vid || pcp || proto))
		return err_set(err, EINVAL,
			       vid   ? "vlan.vid"
			       : pcp ? "vlan.pcp"
				     : "vlan.proto",
			       "belongs to mode access, not to mode %s", vlan_mode_choices[mode]);
	if (mode != VLAN_TRUNK && vids)
		return err_set(err, EINVAL, "vlan.vids", "belongs to mode trunk, not to mode %s",
			       vlan_mode_choices[mode]);
	if (mode == VLAN_ACCESS) {
		if (!vid)
			return err_set(err, EINVAL, "vlan.vid",
				       "is missing; mode access needs the VLAN, 1 to 4094");
		s.vid = (uint16_t)json_integer_value(vid);
		s.pcp = pcp ? (uint8_t)json_integer_value(pcp) : 0;
		if (proto && choice(proto, vlan_proto_choices) == 1)
			s.tpid = ETHER_TPID_AD;
	}
	if (mode == VLAN_TRUNK) {
		int r;

		if (!vids)
			return err_set(
				err, EINVAL, "vlan.vids",
				"is missing; mode trunk needs the VLANs that pass, such as 0,10-20,30");
		r = vlan_set_parse(json_string_value(vids), "vlan.vids", s.trunk, err);
		if (r < 0)
			return r;
	}
	*v = s;
	return 0;
}

static uint32_t pinned_read(const json_t *list)
{
	uint32_t pinned = 0;

	for (size_t i = 0; i < json_array_size(list); i++)
		pinned |= 1U << choice(json_array_get(list, i), pinned_choices);
	return pinned;
}

json_t *pinned_json(uint32_t pinned)
{
	json_t *list = json_array();

	for (unsigned int i = 0; pinned_choices[i]; i++)
		if (pinned >> i & 1)
			json_array_append_new(list, json_string(pinned_choices[i]));
	return list;
}

int function_settings_read(const json_t *o, struct function_settings *s, bool *own_mtu, struct err *err)
{
	const json_t *v;
	int r;

	v = json_object_get(o, "mac");
	if (v)
		mac_parse(json_string_value(v), s->admin_mac);
	v = json_object_get(o, "vlan");
	if (v) {
		r = vlan_read(v, &s->vlan, err);
		if (r < 0)
			return r;
	}
	read_bool(o, "spoofchk", &s->spoofchk);
	read_bool(o, "trust", &s->trust);
	v = json_object_get(o, "link");
	if (v)
		s->link = (enum link_mode)choice(v, link_choices);
	read_number(o, "min_rate", &s->min_rate);
	read_number(o, "max_rate", &s->max_rate);
	v = json_object_get(o, "pinned");
	if (v)
		s->pinned = pinned_read(v);
	r = datapaths_read(o, &s->datapaths, err);
	if (r < 0)
		return r;
	v = json_object_get(o, "mtu");
	if (v) {
		*own_mtu = !json_is_null(v);
		if (*own_mtu)
			s->mtu = (uint16_t)json_integer_value(v);
	}
	return 0;
}

json_t *vlan_json(const struct vlan_settings *v)
{
	char vids[VLAN_SET_TEXT_MAX];

	switch (v->mode) {
	case VLAN_ACCESS:
		return json_pack("{s:s, s:i, s:i, s:s}", "mode", "access", "vid", v->vid, "pcp", v->pcp,
				 "proto", v->tpid == ETHER_TPID_AD ? "802.1ad" : "802.1q");
	case VLAN_TRUNK:
		return json_pack("{s:s, s:s}", "mode", "trunk", "vids", vlan_set_format(v->trunk, vids));
	case VLAN_NONE:
		break;
	}
	return json_pack("{s:s}", "mode", "none");
}
