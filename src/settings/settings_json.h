/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Settings as JSON, the same in the API and in the state file. The readers change only what the object names,
 * so that they serve both "add" (upon defaults) and "set" (upon what is); they take objects that have passed
 * json_fields_check() with the table, and may still find values that do not fit together. Thread-safety:
 * pure. */

#include "settings/json_fields.h"
#include "settings/settings.h"

/* The members of each kind of settings, for use in tables. */
#define FABRIC_SETTINGS_FIELDS                                                                               \
	{.name = "type",                                                                                     \
	 .kind = JSON_KIND_STRING,                                                                           \
	 .choices = fabric_type_choices,                                                                     \
	 .doc = "builtin: vpfd's own switch; bridge: one of the kernel's (default builtin); fixed"},         \
		{.name = "bridge",                                                                           \
		 .kind = JSON_KIND_STRING,                                                                   \
		 .max = IFNAMSIZ - 1,                                                                        \
		 .doc = "type bridge: its netdev, made if there is none of that name; fixed"},               \
		{.name = "uplink",                                                                           \
		 .kind = JSON_KIND_OBJECT,                                                                   \
		 .fields = uplink_json_fields,                                                               \
		 .doc = "where frames for MACs that no function owns go"},                                   \
		{.name = "learning",                                                                         \
		 .kind = JSON_KIND_BOOL,                                                                     \
		 .doc = "learn the source MACs of functions (default false)"},                               \
		{.name = "ageing",                                                                           \
		 .kind = JSON_KIND_INT,                                                                      \
		 .min = 1,                                                                                   \
		 .max = 1000000,                                                                             \
		 .doc = "seconds until a learned MAC not seen is forgotten (default 300)"},                  \
	{                                                                                                    \
		.name = "max_learned", .kind = JSON_KIND_INT, .min = 0, .max = 65536,                        \
		.doc = "learned MACs of one function (default 256)"                                          \
	}

#define PF_SETTINGS_FIELDS                                                                                   \
	{.name = "mac",                                                                                      \
	 .kind = JSON_KIND_MAC,                                                                              \
	 .doc = "MAC of the PF; VF n has the MAC plus n + 1 (default: generated)"},                          \
		{.name = "mtu",                                                                              \
		 .kind = JSON_KIND_INT,                                                                      \
		 .min = VPF_MTU_MIN,                                                                         \
		 .max = VPF_MTU_MAX,                                                                         \
		 .doc = "longest layer 3 packet in bytes (default 1500)"},                                   \
		{.name = "vm",                                                                               \
		 .kind = JSON_KIND_STRING,                                                                   \
		 .flags = JSON_NULLABLE,                                                                     \
		 .min = 1,                                                                                   \
		 .max = VPF_NAME_MAX - 1,                                                                    \
		 .doc = "name of the VM: its virtual PFs share a key; null: that of the PF (default null)"}, \
		{.name = "qmp",                                                                              \
		 .kind = JSON_KIND_STRING,                                                                   \
		 .flags = JSON_NULLABLE,                                                                     \
		 .max = 107,                                                                                 \
		 .doc = "path of a QMP socket of the VM for vpfd's own use; null or empty: none"},           \
		{.name = "datapaths",                                                                        \
		 .kind = JSON_KIND_ARRAY,                                                                    \
		 .flags = JSON_NULLABLE,                                                                     \
		 .min = 1,                                                                                   \
		 .max = VPF_MAX_DATAPATHS,                                                                   \
		 .fields = datapath_json_fields,                                                             \
		 .doc = "what may serve the functions, best first (default null: the default of the kind "   \
			"of fabric)"},                                                                       \
		{.name = "failback",                                                                         \
		 .kind = JSON_KIND_BOOL,                                                                     \
		 .doc = "go back to a better datapath when it is to be had again (default false)"},          \
	{                                                                                                    \
		.name = "policy", .kind = JSON_KIND_OBJECT, .fields = policy_json_fields,                    \
		.doc = "what the guest may do, and gets at most"                                             \
	}

#define FUNCTION_SETTINGS_FIELDS                                                                             \
	{.name = "mac",                                                                                      \
	 .kind = JSON_KIND_MAC,                                                                              \
	 .doc = "administrative MAC; 00:00:00:00:00:00: none, the driver may choose (default none)"},        \
		{.name = "vlan",                                                                             \
		 .kind = JSON_KIND_OBJECT,                                                                   \
		 .fields = vlan_json_fields,                                                                 \
		 .doc = "VLANs (default {\"mode\": \"none\"})"},                                             \
		{.name = "spoofchk",                                                                         \
		 .kind = JSON_KIND_BOOL,                                                                     \
		 .doc = "drop frames with a foreign source MAC or VLAN (default true)"},                     \
		{.name = "trust",                                                                            \
		 .kind = JSON_KIND_BOOL,                                                                     \
		 .doc = "may change its MAC in spite of an administrative one, may be promiscuous if the "   \
			"policy allows "                                                                     \
			"(default false)"},                                                                  \
		{.name = "link",                                                                             \
		 .kind = JSON_KIND_STRING,                                                                   \
		 .choices = link_choices,                                                                    \
		 .doc = "carrier: auto follows the uplink (default auto)"},                                  \
		{.name = "min_rate",                                                                         \
		 .kind = JSON_KIND_INT,                                                                      \
		 .max = VPF_MAX_RATE,                                                                        \
		 .doc = "Mb/s that it may send in any case, out of policy.max_rate_total; 0: none "          \
			"(default 0)"},                                                                      \
		{.name = "max_rate",                                                                         \
		 .kind = JSON_KIND_INT,                                                                      \
		 .max = VPF_MAX_RATE,                                                                        \
		 .doc = "Mb/s that it may send at most; 0: no limit (default 0)"},                           \
		{.name = "pinned",                                                                           \
		 .kind = JSON_KIND_ARRAY,                                                                    \
		 .max = 6,                                                                                   \
		 .choices = pinned_choices,                                                                  \
		 .doc = "what the guest cannot change, whatever the policy: any of mac, vlan, rate, "        \
			"spoofchk, trust, link (default none)"},                                             \
		{.name = "datapaths",                                                                        \
		 .kind = JSON_KIND_ARRAY,                                                                    \
		 .flags = JSON_NULLABLE,                                                                     \
		 .min = 1,                                                                                   \
		 .max = VPF_MAX_DATAPATHS,                                                                   \
		 .fields = datapath_json_fields,                                                             \
		 .doc = "what may serve it, best first; null: as its PF says (default null)"},               \
	{                                                                                                    \
		.name = "mtu", .kind = JSON_KIND_INT, .flags = JSON_NULLABLE, .min = VPF_MTU_MIN,            \
		.max = VPF_MTU_MAX,                                                                          \
		.doc = "longest layer 3 packet in bytes; null: that of its PF (default null)"                \
	}

extern const struct json_field uplink_json_fields[];
extern const struct json_field policy_json_fields[];
extern const struct json_field vlan_json_fields[];
extern const struct json_field datapath_json_fields[];
extern const char *const fabric_type_choices[];
extern const char *const link_choices[];
extern const char *const pinned_choices[];

const char *fabric_type_name(enum fabric_type type);
const char *uplink_type_name(enum uplink_type type);
const char *link_mode_name(enum link_mode mode);

void fabric_settings_read(const json_t *o, struct fabric_settings *s);
json_t *fabric_settings_json(const struct fabric_settings *s);

/* `mac` and `ret_has_mac`: whether the object has "mac", and which; both untouched if not. -EINVAL: lists in
 * "policy", or "datapaths", that cannot be read; `s` is then half read. "datapaths" null: s->datapaths.n is
 * 0. */
int pf_settings_read(const json_t *o, struct pf_settings *s, uint8_t mac[6], bool *ret_has_mac,
		     struct err *err);
json_t *policy_json(const struct pf_policy *p);

/* "mac" is the administrative one. `own_mtu`: whether "mtu" was last a number (true) or null (false: s->mtu
 * is left for the caller to fill in). -EINVAL: members of "vlan" that its mode does not have or needs,
 * "datapaths" that cannot be read; `s` is then half read. */
int function_settings_read(const json_t *o, struct function_settings *s, bool *own_mtu, struct err *err);
json_t *vlan_json(const struct vlan_settings *v);
json_t *pinned_json(uint32_t pinned); /* ["mac", …] */
