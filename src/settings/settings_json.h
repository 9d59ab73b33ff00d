/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Settings of fabrics as JSON, the same in the API and in the state file; those of functions and virtual PFs are
 * tables (function_fields.h, pf_fields.h). The reader changes only what the object names, so that it serves both
 * "add" (upon defaults) and "set" (upon what is); it takes objects that have passed json_fields_check() with the
 * table, and may still find values that do not fit together. Thread-safety: pure. */

#include "settings/function_fields.h"
#include "settings/json_fields.h"
#include "settings/pf_fields.h"
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

extern const struct json_field uplink_json_fields[];
extern const struct json_field datapath_json_fields[];
extern const char *const fabric_type_choices[];

const char *fabric_type_name(enum fabric_type type);
const char *uplink_type_name(enum uplink_type type);

void fabric_settings_read(const json_t *o, struct fabric_settings *s);
bool fabric_settings_equal(const struct fabric_settings *a, const struct fabric_settings *b);
json_t *fabric_settings_json(const struct fabric_settings *s); /* NULL: out of memory */
