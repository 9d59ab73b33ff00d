/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Text of the command line to values of the API: syntax only. Each takes the text, and gives a new reference
 * or fails with -EINVAL and a sentence that does not repeat the option's name. */

#include <jansson.h>

#include "util/err.h"

int value_integer(const char *text, json_t **ret, struct err *err);
int value_seconds(const char *text, json_t **ret, struct err *err); /* > 0, may have a fraction */
int value_count(const char *text, json_t **ret, struct err *err);   /* ≥ 1 */
int value_on_off(const char *text, json_t **ret, struct err *err);
int value_color(const char *text, json_t **ret, struct err *err);
int value_function(const char *text, json_t **ret, struct err *err);           /* "3" → 3, "pf" → null */
int value_integer_or_default(const char *text, json_t **ret, struct err *err); /* "default" → null */
int value_mac(const char *text, json_t **ret, struct err *err);                /* "none" → all zeros */
int value_path_or_none(const char *text, json_t **ret, struct err *err); /* "none" → null; made absolute */
int value_uplink(const char *text, json_t **ret, struct err *err);       /* "none", "TYPE:NAME" */
int value_vlan(const char *text, json_t **ret, struct err *err);         /* "none", "VID[:PCP[:PROTO]]" */
int value_trunk(const char *text, json_t **ret, struct err *err);
int value_policy(const char *text, json_t **ret, struct err *err); /* "key=value,…" */
int value_rate(const char *text, json_t **ret, struct err *err);   /* "none" → 0 */
int value_pinned(const char *text, json_t **ret, struct err *err); /* "mac,vlan", "none", "all" → an array */
int value_name_or_default(const char *text, json_t **ret, struct err *err); /* "default" → null */
int value_datapaths(const char *text, json_t **ret, struct err *err);       /* "default" → null */
int value_shell(const char *text, json_t **ret, struct err *err);

extern const char *const words_none[];
extern const char *const words_on_off[],
	*const words_color[], *const words_shell[], *const words_topics[], *const words_default[];
