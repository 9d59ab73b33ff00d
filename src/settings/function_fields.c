/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/function_fields.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "settings/can.h"
#include "settings/datapath_json.h"
#include "settings/fabric_json.h"
#include "settings/pf_fields.h"
#include "settings/vlan_set.h"

static const char *const vlan_mode_choices[] = {"none", "access", "trunk", NULL};
static const char *const vlan_proto_choices[] = {"802.1q", "802.1ad", NULL};
const char *const link_choices[] = {"auto", "enable", "disable", NULL};

const char *const pinned_choices[] = {"mac", "vlan", "rate", "spoofchk", "trust", "link", NULL};
static const char *const setting_texts[] = {"MAC", "VLAN", "rates", "spoof check", "trust", "link mode"};
static_assert(SETTING_ALL == (1U << ARRAY_SIZE(setting_texts)) - 1 &&
		      ARRAY_SIZE(pinned_choices) == ARRAY_SIZE(setting_texts) + 1,
	      "each bit SETTING_* has its names");

const char *setting_text(uint32_t setting)
{
	return setting & SETTING_ALL ? setting_texts[__builtin_ctz(setting)] : "settings";
}

/* VLANs: what there is depends on the mode. */

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

static void vlan_init(void *at)
{
	struct vlan_settings *v = at;

	v->tpid = ETHER_TPID_Q;
}

static bool vlan_equal(const void *s, const void *t)
{
	const struct vlan_settings *a = s, *b = t;

	if (a->mode != b->mode)
		return false;
	switch (a->mode) {
	case VLAN_ACCESS:
		return a->vid == b->vid && a->pcp == b->pcp && a->tpid == b->tpid;
	case VLAN_TRUNK:
		return !memcmp(a->trunk, b->trunk, sizeof(a->trunk));
	case VLAN_NONE:
		break;
	}
	return true;
}

static enum vlan_mode mode_of(const json_t *o)
{
	const char *text = json_string_value(json_object_get(o, "mode"));

	return !strcmp(text, "access") ? VLAN_ACCESS : !strcmp(text, "trunk") ? VLAN_TRUNK : VLAN_NONE;
}

static int read_access(const json_t *o, struct vlan_settings *v, struct err *err)
{
	const json_t *vid = json_object_get(o, "vid"), *pcp = json_object_get(o, "pcp");
	const json_t *proto = json_object_get(o, "proto");

	if (!vid)
		return err_set(err, EINVAL, "vlan.vid", "is missing; mode access needs the VLAN, 1 to 4094");
	v->vid = (uint16_t)json_integer_value(vid);
	v->pcp = pcp ? (uint8_t)json_integer_value(pcp) : 0;
	if (proto && !strcmp(json_string_value(proto), "802.1ad"))
		v->tpid = ETHER_TPID_AD;
	return 0;
}

static int read_trunk(const json_t *o, struct vlan_settings *v, struct err *err)
{
	const json_t *vids = json_object_get(o, "vids");

	if (!vids)
		return err_set(err, EINVAL, "vlan.vids",
			       "is missing; mode trunk needs the VLANs that pass, such as 0,10-20,30");
	return vlan_set_parse(json_string_value(vids), "vlan.vids", v->trunk, err);
}

/* A member that the mode does not have would silently do nothing: refused. */
static int vlan_read(const struct json_field *row, const json_t *o, void *at, const char *path,
		     struct err *err)
{
	static const char *const of_access[] = {"vid", "pcp", "proto"};
	struct vlan_settings v = {.mode = mode_of(o), .tpid = ETHER_TPID_Q};
	char member[64];
	int r = 0;

	(void)row;
	for (size_t i = 0; v.mode != VLAN_ACCESS && i < ARRAY_SIZE(of_access); i++) {
		if (!json_object_get(o, of_access[i]))
			continue;
		snprintf(member, sizeof(member), "%.30s.%s", path, of_access[i]);
		return err_set(err, EINVAL, member, "belongs to mode access, not to mode %s",
			       vlan_mode_choices[v.mode]);
	}
	if (v.mode != VLAN_TRUNK && json_object_get(o, "vids"))
		return err_set(err, EINVAL, "vlan.vids", "belongs to mode trunk, not to mode %s",
			       vlan_mode_choices[v.mode]);
	if (v.mode == VLAN_ACCESS)
		r = read_access(o, &v, err);
	if (v.mode == VLAN_TRUNK)
		r = read_trunk(o, &v, err);
	if (!r)
		memcpy(at, &v, sizeof(v));
	return r;
}

static json_t *vlan_write(const struct json_field *row, const void *at)
{
	const struct vlan_settings *v = at;
	char vids[VLAN_SET_TEXT_MAX];

	(void)row;
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

static int vlan_check(const struct json_field *row, const void *at, const char *path, struct err *err)
{
	const struct vlan_settings *v = at;
	uint64_t any = 0;

	(void)row;
	(void)path;
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

static uint32_t vlan_needs(const void *at)
{
	const struct vlan_settings *v = at;

	switch (v->mode) {
	case VLAN_ACCESS:
		/* Not in addition: a bridge has one kind of tags. */
		return (v->tpid == ETHER_TPID_Q ? CAN_VLAN : CAN_VLAN_AD) | (v->pcp ? CAN_VLAN_PCP : 0);
	case VLAN_TRUNK:
		return CAN_TRUNK;
	case VLAN_NONE:
		break;
	}
	return 0;
}

static const struct field_kind field_vlan = {
	.init = vlan_init, .equal = vlan_equal, .read = vlan_read, .write = vlan_write, .check = vlan_check};

static uint32_t spoofchk_needs(const void *at)
{
	return *(const bool *)at ? CAN_SPOOFCHK : CAN_NO_SPOOFCHK;
}

/* The MTU: its own, or null for that of the PF. The row is of both members. */

static struct function_settings *of_mtu(const void *at)
{
	return container_of(at, struct function_settings, mtu);
}

static void mtu_init(void *at)
{
	of_mtu(at)->mtu = 1500;
}

static bool mtu_equal(const void *a, const void *b)
{
	const struct function_settings *s = of_mtu(a), *t = of_mtu(b);

	return s->own_mtu == t->own_mtu && (!s->own_mtu || s->mtu == t->mtu);
}

static int mtu_read(const struct json_field *row, const json_t *v, void *at, const char *path,
		    struct err *err)
{
	struct function_settings *s = of_mtu(at);

	(void)row;
	(void)path;
	(void)err;
	s->own_mtu = !json_is_null(v);
	if (s->own_mtu)
		s->mtu = (uint16_t)json_integer_value(v);
	return 0;
}

static json_t *mtu_show(const struct json_field *row, const void *at)
{
	(void)row;
	return json_integer(of_mtu(at)->mtu);
}

static json_t *mtu_write(const struct json_field *row, const void *at)
{
	return of_mtu(at)->own_mtu ? mtu_show(row, at) : json_null();
}

static int mtu_check(const struct json_field *row, const void *at, const char *path, struct err *err)
{
	uint16_t mtu = of_mtu(at)->mtu;

	if (mtu >= row->min && mtu <= row->max)
		return 0;
	return err_set(err, EINVAL, path, "must be %d to %d bytes", VPF_MTU_MIN, VPF_MTU_MAX);
}

static const struct field_kind field_mtu = {.init = mtu_init,
					    .equal = mtu_equal,
					    .read = mtu_read,
					    .write = mtu_write,
					    .show = mtu_show,
					    .check = mtu_check};
static_assert(offsetof(struct function_settings, own_mtu) ==
		      offsetof(struct function_settings, mtu) + sizeof(uint16_t),
	      "the row of the MTU is of both");

#define FIELD(...)     (&(const struct field){__VA_ARGS__})
#define MEMBER(member) FIELD_MEMBER(function_settings, member)

/* clang-format off: one row a setting */
const struct json_field function_fields[] = {
	{.name = "mac",
	 .kind = JSON_KIND_MAC,
	 .doc = "administrative MAC; 00:00:00:00:00:00: none, the driver may choose (default none)",
	 .field = FIELD(&field_mac_or_none, MEMBER(admin_mac), .shown = "admin_mac", .guest = SETTING_MAC,
			.need = {{CAN_ADMIN_MAC, "mac", "an administrative MAC", "set none there"}})},
	{.name = "vlan",
	 .kind = JSON_KIND_OBJECT,
	 .fields = vlan_json_fields,
	 .doc = "VLANs (default {\"mode\": \"none\"})",
	 .field = FIELD(
		 &field_vlan, MEMBER(vlan), .guest = SETTING_VLAN, .needs = vlan_needs,
		 .need = {{CAN_VLAN, "vlan", "a VLAN", "set no VLAN there"},
			  {CAN_VLAN_PCP, "vlan.pcp", "a VLAN's priority", "leave the priority out there"},
			  {CAN_VLAN_AD, "vlan.proto", "802.1ad tags", "use none there"},
			  {CAN_TRUNK, "vlan.vids", "a VLAN trunk", "set no trunk there"}})},
	{.name = "spoofchk",
	 .kind = JSON_KIND_BOOL,
	 .doc = "drop frames with a foreign source MAC or VLAN (default true)",
	 .field = FIELD(&field_bool, MEMBER(spoofchk), .initial = true, .guest = SETTING_SPOOFCHK,
			.needs = spoofchk_needs,
			.need = {{CAN_SPOOFCHK, "spoofchk", "the spoof check", "turn spoofchk off there"},
				 {CAN_NO_SPOOFCHK, "spoofchk", "spoofchk off", "turn spoofchk on there"}})},
	{.name = "trust",
	 .kind = JSON_KIND_BOOL,
	 .doc = "may change its MAC despite an administrative one, may be promiscuous if the policy allows (default false)",
	 .field = FIELD(&field_bool, MEMBER(trust), .guest = SETTING_TRUST,
			.need = {{CAN_TRUST, "trust", "trust", "turn trust off there"}})},
	{.name = "link",
	 .kind = JSON_KIND_STRING,
	 .choices = link_choices,
	 .doc = "carrier: auto follows the uplink (default auto)",
	 .field = FIELD(&field_choice, MEMBER(link), .guest = SETTING_LINK,
			.need = {{CAN_LINK, "link", "the link mode", "set link auto there"}})},
	{.name = "min_rate",
	 .kind = JSON_KIND_INT,
	 .max = VPF_MAX_RATE,
	 .doc = "Mb/s that it may send in any case, out of policy.max_rate_total; 0: none (default 0)",
	 .field =
		 FIELD(&field_number, MEMBER(min_rate), .unit = "Mb/s", .zero = "none", .guest = SETTING_RATE,
		       .need = {{CAN_MIN_RATE, "min_rate", "a minimum rate", "set none there"}})},
	{.name = "max_rate",
	 .kind = JSON_KIND_INT,
	 .max = VPF_MAX_RATE,
	 .doc = "Mb/s that it may send at most; 0: no limit (default 0)",
	 .field =
		 FIELD(&field_number, MEMBER(max_rate), .unit = "Mb/s", .zero = "none", .guest = SETTING_RATE,
		       .need = {{CAN_MAX_RATE, "max_rate", "a maximum rate",
				 "set none there, nor in the policy"}})},
	{.name = "pinned",
	 .kind = JSON_KIND_ARRAY,
	 .max = ARRAY_SIZE(pinned_choices) - 1,
	 .choices = pinned_choices,
	 .doc = "what the guest cannot change, whatever the policy (default none)",
	 .field = FIELD(&field_set, MEMBER(pinned))},
	{.name = "datapaths",
	 .kind = JSON_KIND_ARRAY,
	 .flags = JSON_NULLABLE,
	 .min = 1,
	 .max = VPF_MAX_DATAPATHS,
	 .fields = datapath_json_fields,
	 .doc = "what may serve it, best first; null: as its PF says (default null)",
	 .field = FIELD(&field_datapaths, MEMBER(datapaths))},
	{.name = "mtu",
	 .kind = JSON_KIND_INT,
	 .flags = JSON_NULLABLE,
	 .min = VPF_MTU_MIN,
	 .max = VPF_MTU_MAX,
	 .doc = "longest layer 3 packet in bytes; null: that of its PF (default null)",
	 .field = FIELD(&field_mtu, .offset = offsetof(struct function_settings, mtu),
			.size = sizeof(uint16_t) + sizeof(bool))},
	{0},
};
/* clang-format on */

int function_settings_read(const json_t *o, struct function_settings *s, struct err *err)
{
	return fields_read(function_fields, o, "", s, err);
}
