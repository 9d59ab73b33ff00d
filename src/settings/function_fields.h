/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The settings of functions, as a table (fields.h) of struct function_settings. What a function has from its PF
 * (mac, failback) is no setting of its own, and has no row. A new setting is a member of the structure and a row
 * here; if the guest may ask for it, also a bit SETTING_* with its names below, a rule in model/policy.c, and its
 * place in the control channel's format (vpf/control.h, control/records.c, kmod/). Thread-safety: pure. */

#include "settings/fields.h"
#include "settings/settings.h"

extern const struct json_field function_fields[], vlan_json_fields[];
/* For use in tables of parameters. */
#define FUNCTION_SETTINGS_FIELDS JSON_ROWS(function_fields)

extern const char *const link_choices[];
/* By number of the bit SETTING_*: as "pinned" has it. */
extern const char *const pinned_choices[];
/* "MAC", "VLAN", … of one bit SETTING_*, for sentences. */
const char *setting_text(uint32_t setting);

/* Changes what the object names: upon defaults and upon what is. The object has passed json_fields_check().
 * "mac" is the administrative one; "mtu" null leaves s->mtu to the caller. -EINVAL: members of "vlan" that its
 * mode does not have or needs, "datapaths" that cannot be read; `s` is then half read. */
int function_settings_read(const json_t *o, struct function_settings *s, struct err *err);
