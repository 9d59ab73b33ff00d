/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/pf_fields.h"

#include <stdio.h>
#include <string.h>

#include "settings/can.h"
#include "settings/datapath_json.h"
#include "settings/fabric_json.h"
#include "settings/json_build.h"
#include "settings/mac.h"
#include "settings/vlan_set.h"

static const char *const macs_choices[] = {"own", "list", "any", NULL};

static bool datapaths_equal(const void *a, const void *b)
{
	return datapath_list_equal(a, b);
}

static int datapaths_read(const struct json_field *row, const json_t *v, void *at, const char *path,
			  struct err *err)
{
	struct datapath_list *list = at;

	(void)row;
	(void)path;
	if (!json_is_null(v))
		return datapath_list_from_json(v, list, err);
	*list = (struct datapath_list){0};
	return 0;
}

static json_t *datapaths_write(const struct json_field *row, const void *at)
{
	const struct datapath_list *list = at;

	(void)row;
	return list->n ? datapath_list_to_json(list) : json_null();
}

/* What the list says by itself, its readers have checked. */
static int datapaths_check(const struct json_field *row, const void *at, const char *path, struct err *err)
{
	const struct datapath_list *list = at;

	(void)row;
	if (list->n > VPF_MAX_DATAPATHS)
		return err_set(err, EINVAL, path, "must have at most %d preferences", VPF_MAX_DATAPATHS);
	for (unsigned int i = 0; i < list->n; i++)
		if (!list->pref[i].type)
			return err_set(err, EINVAL, path, "has a datapath of no known type");
	return 0;
}

const struct field_kind field_datapaths = {
	.equal = datapaths_equal, .read = datapaths_read, .write = datapaths_write, .check = datapaths_check};

static int vlan_set_read(const struct json_field *row, const json_t *v, void *at, const char *path,
			 struct err *err)
{
	if (json_string_length(v))
		return vlan_set_parse(json_string_value(v), path, at, err);
	memset(at, 0, row->field->size);
	return 0;
}

static json_t *vlan_set_write(const struct json_field *row, const void *at)
{
	char text[VLAN_SET_TEXT_MAX];

	(void)row;
	return json_string(vlan_set_format(at, text));
}

static int vlan_set_check(const struct json_field *row, const void *at, const char *path, struct err *err)
{
	const uint64_t *set = at;

	(void)row;
	if (set[0] & 1)
		return err_set(err, EINVAL, path,
			       "must not have 0: no VLAN is always allowed, and VLANs are 1 to 4094");
	if (set[63] >> 63)
		return err_set(err, EINVAL, path, "VLAN 4095 is reserved");
	return 0;
}

const struct field_kind field_vlan_set = {
	.read = vlan_set_read, .write = vlan_set_write, .check = vlan_set_check};

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

/* The row is of both the number and the ranges. */
static struct pf_policy *of_ranges(const void *at)
{
	return container_of(at, struct pf_policy, mac_ranges_n);
}

static bool ranges_equal(const void *s, const void *t)
{
	const struct pf_policy *a = of_ranges(s), *b = of_ranges(t);

	return a->mac_ranges_n == b->mac_ranges_n &&
	       !memcmp(a->mac_ranges, b->mac_ranges, a->mac_ranges_n * sizeof(a->mac_ranges[0]));
}

static int ranges_read(const struct json_field *row, const json_t *v, void *at, const char *path,
		       struct err *err)
{
	struct pf_policy *p = of_ranges(at);
	char field[64];

	p->mac_ranges_n = 0;
	memset(p->mac_ranges, 0, sizeof(p->mac_ranges));
	for (size_t i = 0; i < json_array_size(v) && i < (size_t)row->max; i++) {
		if (range_parse(json_string_value(json_array_get(v, i)), &p->mac_ranges[i])) {
			p->mac_ranges_n++;
			continue;
		}
		snprintf(field, sizeof(field), "%.40s[%zu]", path, i);
		return err_set(
			err, EINVAL, field,
			"must be a MAC address, or two with '-' between them, such as 02:00:00:00:00:00-02:00:00:00:00:ff");
	}
	return 0;
}

static json_t *ranges_write(const struct json_field *row, const void *at)
{
	const struct pf_policy *p = of_ranges(at);
	json_t *list = json_array();

	(void)row;
	for (unsigned int i = 0; i < p->mac_ranges_n; i++) {
		char first[MAC_TEXT_MAX], last[MAC_TEXT_MAX];

		mac_format(p->mac_ranges[i].first, first);
		mac_format(p->mac_ranges[i].last, last);
		json_add(&list,
			 strcmp(first, last) != 0 ? json_sprintf("%s-%s", first, last) : json_string(first));
	}
	return list;
}

static int ranges_check(const struct json_field *row, const void *at, const char *path, struct err *err)
{
	const struct pf_policy *p = of_ranges(at);

	(void)row;
	if (p->mac_ranges_n > VPF_MAX_POLICY_MACS)
		return err_set(err, EINVAL, path, "must have at most %d MACs or ranges", VPF_MAX_POLICY_MACS);
	for (unsigned int i = 0; i < p->mac_ranges_n; i++) {
		const struct mac_range *range = &p->mac_ranges[i];
		char field[64];

		snprintf(field, sizeof(field), "%.40s[%u]", path, i);
		if (mac_to_number(range->last) < mac_to_number(range->first))
			return err_set(err, EINVAL, field,
				       "is a range that runs backwards: write the lower MAC first");
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

const struct field_kind field_mac_ranges = {
	.equal = ranges_equal, .read = ranges_read, .write = ranges_write, .check = ranges_check};

#define FIELD(...) (&(const struct field){__VA_ARGS__})
#define POLICY(m)  FIELD_MEMBER(pf_policy, m)
#define PF(m)      FIELD_MEMBER(pf_settings, m)

/* clang-format off: one row a setting */
const struct json_field policy_fields[] = {
	{.name = "guest_control",
	 .kind = JSON_KIND_BOOL,
	 .doc = "the guest may configure its VFs at all, within the rest of the policy (default true)",
	 .field = FIELD(&field_bool, POLICY(guest_control), .initial = true,
			.need = {{CAN_CONTROL, "policy.guest_control", "the policy guest_control on",
				  "set the policy guest_control off"}})},
	{.name = "vlans",
	 .kind = JSON_KIND_STRING,
	 .max = VLAN_SET_TEXT_MAX,
	 .doc = "VLANs that it may put its VFs into, such as 10-20,30; empty: none (default none)",
	 .field = FIELD(&field_vlan_set, POLICY(vlans))},
	{.name = "vlan_ad",
	 .kind = JSON_KIND_BOOL,
	 .doc = "also with 802.1ad tags (default false)",
	 .field = FIELD(&field_bool, POLICY(vlan_ad))},
	{.name = "macs",
	 .kind = JSON_KIND_STRING,
	 .choices = macs_choices,
	 .doc = "administrative MACs that it may give its VFs: own, those of the virtual PF's functions; list, also those of mac_list; any (default own)",
	 .field = FIELD(&field_choice, POLICY(macs))},
	{.name = "mac_list",
	 .kind = JSON_KIND_ARRAY,
	 .max = VPF_MAX_POLICY_MACS,
	 .doc = "MACs, or ranges such as 02:00:00:00:00:00-02:00:00:00:00:ff, for macs list (default none)",
	 .field = FIELD(&field_mac_ranges, .offset = offsetof(struct pf_policy, mac_ranges_n),
			.size = offsetof(struct pf_policy, mac_ranges) +
				sizeof(((struct pf_policy *)NULL)->mac_ranges) -
				offsetof(struct pf_policy, mac_ranges_n))},
	{.name = "trust",
	 .kind = JSON_KIND_BOOL,
	 .doc = "it may make its VFs trusted (default false)",
	 .field = FIELD(&field_bool, POLICY(trust))},
	{.name = "spoofchk_off",
	 .kind = JSON_KIND_BOOL,
	 .doc = "it may turn their spoof check off (default false)",
	 .field = FIELD(&field_bool, POLICY(spoofchk_off))},
	{.name = "max_vfs",
	 .kind = JSON_KIND_INT,
	 .max = VPF_MAX_VFS,
	 .doc = "only that many VFs, from VF 0 on, have link and can be configured (default 255: all)",
	 .field = FIELD(&field_number, POLICY(max_vfs), .initial = VPF_MAX_VFS)},
	{.name = "max_rate",
	 .kind = JSON_KIND_INT,
	 .max = VPF_MAX_RATE,
	 .doc = "Mb/s that each VF may send at most; 0: no limit (default 0)",
	 .field = FIELD(&field_number, POLICY(max_rate), .unit = "Mb/s", .zero = "none")},
	{.name = "max_rate_total",
	 .kind = JSON_KIND_INT,
	 .max = VPF_MAX_RATE,
	 .doc = "Mb/s that all functions may send together, and minimum rates are shares of; 0: no limit (default 0)",
	 .field = FIELD(&field_number, POLICY(max_rate_total), .unit = "Mb/s", .zero = "none",
			.need = {{CAN_TOTAL_RATE, "policy.max_rate_total", "a total rate of all functions",
				  "set none"}})},
	{.name = "driver_mac",
	 .kind = JSON_KIND_BOOL,
	 .doc = "the driver may set its function's MAC and add unicast MACs (default true)",
	 .field = FIELD(&field_bool, POLICY(driver_mac), .initial = true)},
	{.name = "max_driver_macs",
	 .kind = JSON_KIND_INT,
	 .max = VPF_MAX_DRIVER_MACS,
	 .doc = "MACs that the driver may add to one function (default 32)",
	 .field = FIELD(&field_number, POLICY(max_driver_macs), .initial = 32)},
	{.name = "promisc",
	 .kind = JSON_KIND_BOOL,
	 .doc = "a trusted function may be promiscuous (default false)",
	 .field = FIELD(&field_bool, POLICY(promisc))},
	{0},
};

const struct json_field pf_fields[] = {
	{.name = "mac",
	 .kind = JSON_KIND_MAC,
	 .doc = "MAC of the PF; VF n has the MAC plus n + 1 (default: generated)"},
	{.name = "mtu",
	 .kind = JSON_KIND_INT,
	 .min = VPF_MTU_MIN,
	 .max = VPF_MTU_MAX,
	 .doc = "longest layer 3 packet in bytes (default 1500)",
	 .field = FIELD(&field_number, PF(mtu), .initial = 1500, .unit = "bytes")},
	{.name = "vm",
	 .kind = JSON_KIND_STRING,
	 .flags = JSON_NULLABLE,
	 .min = 1,
	 .max = VPF_NAME_MAX - 1,
	 .doc = "name of the VM: its virtual PFs share a key; null: that of the PF (default null)",
	 .field = FIELD(&field_text, PF(vm))},
	{.name = "qmp",
	 .kind = JSON_KIND_STRING,
	 .flags = JSON_NULLABLE,
	 .max = sizeof(((struct pf_settings *)NULL)->qmp) - 1,
	 .doc = "path of a QMP socket of the VM for vpfd's own use; null or empty: none",
	 .field = FIELD(&field_text, PF(qmp))},
	{.name = "datapaths",
	 .kind = JSON_KIND_ARRAY,
	 .flags = JSON_NULLABLE,
	 .min = 1,
	 .max = VPF_MAX_DATAPATHS,
	 .fields = datapath_json_fields,
	 .doc = "what may serve the functions, best first (default null: the default of the kind of fabric)",
	 .field = FIELD(&field_datapaths, PF(datapaths))},
	{.name = "failback",
	 .kind = JSON_KIND_BOOL,
	 .doc = "go back to a better datapath when it is available again (default false)",
	 .field = FIELD(&field_bool, PF(failback))},
	{.name = "policy",
	 .kind = JSON_KIND_OBJECT,
	 .fields = policy_fields,
	 .doc = "what the guest may do, and gets at most",
	 .field = FIELD(&field_object, PF(policy))},
	{0},
};
/* clang-format on */

int pf_settings_read(const json_t *o, struct pf_settings *s, uint8_t mac[6], bool *ret_has_mac,
		     struct err *err)
{
	const json_t *v = json_object_get(o, "mac");
	int r;

	if (v) {
		mac_parse(json_string_value(v), mac);
		*ret_has_mac = true;
	}
	r = fields_read(pf_fields, o, "", s, err);
	if (r < 0)
		return r;
	if (!s->vm[0]) /* null */
		snprintf(s->vm, sizeof(s->vm), "%s", s->name);
	return 0;
}
