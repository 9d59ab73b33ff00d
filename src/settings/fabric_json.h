/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Settings of a fabric as JSON; those of PFs and functions are in pf_fields.h and function_fields.h. Thread-safety:
 * pure. */

#include "settings/json_fields.h"
#include "settings/settings.h"

/* The members, for use in tables. */
#define FABRIC_SETTINGS_FIELDS                                                                               \
	{.make = fabric_type_rows},                                                                          \
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

extern const struct json_field uplink_json_fields[];

const char *uplink_type_name(enum uplink_type type);

/* "type", and the parameters of all types. */
bool fabric_type_rows(unsigned int i, struct json_made *ret);

/* Changes only what the object names, which has passed json_fields_check() with the table. -EINVAL: a parameter that
 * the type does not have, or a value that is none; `s` is then half read. */
int fabric_settings_read(const json_t *o, struct fabric_settings *s, struct err *err);
json_t *fabric_settings_json(const struct fabric_settings *s); /* NULL: out of memory */
bool fabric_settings_equal(const struct fabric_settings *a, const struct fabric_settings *b);
