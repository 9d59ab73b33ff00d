/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reading the API's objects for display. All functions are lenient: a member that is missing or of another
 * type reads as empty, so that vpfctl shows what it can of an older or newer vpfd. */

#include <jansson.h>

#include "ctl/out.h"

#define VIEW_TEXT_MAX 256

const char *view_string(const json_t *object, const char *key); /* "" if there is none */
json_int_t view_number(const json_t *object, const char *key);
bool view_flag(const json_t *object, const char *key);

/* Each writes into `text` and returns it. */
const char *view_function(const json_t *object, char text[VIEW_TEXT_MAX]); /* "pf0 vf 3", "pf0 pf" */
const char *view_vlan(const json_t *vlan, char text[VIEW_TEXT_MAX]); /* "100 pcp 3", "trunk 0,10-20", "-" */
const char *view_uplink(const json_t *uplink, char text[VIEW_TEXT_MAX]); /* "tap vpftap0", "none" */
const char *view_duration(json_int_t seconds, char text[VIEW_TEXT_MAX]); /* "3 h 12 min" */
/* A rate with three digits and a unit prefix: "12.3 M". */
const char *view_rate(double value, char text[VIEW_TEXT_MAX]);
/* A value of any type, on one line: on/off, number, text; objects and arrays as JSON. */
char *view_any(const json_t *value); /* allocated; NULL: out of memory */

/* The same for a member of a policy: none where nothing is allowed or limited, lists without brackets. */
char *view_policy(const char *key, const json_t *value);
char *view_list(const json_t *array); /* "mac,vlan" of an array of strings; "" if it has none. Allocated */
/* What a function may send: "100 to 500 Mb/s", "-" */
const char *view_limits(const json_t *function, char text[VIEW_TEXT_MAX]);

static inline const char *view_on_off(bool value)
{
	return value ? "on" : "off";
}

/* "spoof_mac 10, vlan 2" of an object of counters: those that are not zero; "" if all are. Allocated, NULL:
 * out of memory. */
char *view_drops(const json_t *drops);
