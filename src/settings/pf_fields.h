/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The settings of virtual PFs and the policy, as tables (fields.h) of struct pf_settings and struct pf_policy.
 * What is fixed when a virtual PF is added (name, fabric, vfs, queue_pairs, spoofchk) has no row, and the MAC has
 * one without a field: it is kept beside the settings. Thread-safety: pure. */

#include "settings/fields.h"
#include "settings/settings.h"

extern const struct json_field pf_fields[], policy_fields[];
/* For use in tables of parameters. */
#define PF_SETTINGS_FIELDS JSON_ROWS(pf_fields)

/* Of preferences of datapaths, n 0: null. */
extern const struct field_kind field_datapaths;
/* Of the policy: VLANs 1 to 4094 as text; MACs and ranges of them. */
extern const struct field_kind field_vlan_set, field_mac_ranges;

/* Changes what the object names: upon defaults and upon what is. The object has passed json_fields_check().
 * `mac` and `ret_has_mac`: whether the object has "mac", and which; both untouched if not. -EINVAL: lists in
 * "policy", or "datapaths", that cannot be read; `s` is then half read. "datapaths" null: s->datapaths.n is 0. */
int pf_settings_read(const json_t *o, struct pf_settings *s, uint8_t mac[6], bool *ret_has_mac,
		     struct err *err);
