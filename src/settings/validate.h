/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Whether settings make sense by themselves; what they mean beside other settings (names taken, MACs owned)
 * is the model's. All return 0, or -EINVAL with `err` naming the field as the API spells it. Thread-safety:
 * pure. */

#include "settings/settings.h"
#include "util/err.h"

int validate_name(const char *name, const char *field, struct err *err);
int validate_fabric(const struct fabric_settings *s, struct err *err);
/* `mac`: that of the PF, NULL if one is to be generated. */
int validate_pf(const struct pf_settings *s, const uint8_t *mac, struct err *err);
int validate_function(const struct function_settings *s, struct err *err);
