/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What may serve a function's rings, in order of preference. A value: copied freely.
 *
 * As text, for people: preferences with commas between them, each a type and its parameters with colons
 * between them: "vdpa:mgmtdev=pci/0000:3b:00.2,vhost-user:path=/run/ovs/{pf}-{vf}.sock:server=on,builtin".
 * Values may not hold commas; a colon in a value is kept (what follows it is no KEY=). In JSON: an array of
 * objects, {"type": "vhost-user", "path": "…", "server": true}. Which parameters there are the types say
 * (settings/types.h).
 * Thread-safety: values; no sharing. */

#include <jansson.h>

#include "settings/types.h"
#include "util/err.h"
#include "util/util.h"

#define VPF_MAX_DATAPATHS 4   /* preferences in a list */
#define DATAPATH_PREF_MAX 256 /* bytes of one as text, with the final NUL */

struct datapath_pref {
	const struct datapath_type *type;
	struct params params;
};

struct datapath_list {
	unsigned int n; /* 0: not set: as the virtual PF's; of a virtual PF never 0 (default: builtin) */
	struct datapath_pref pref[VPF_MAX_DATAPATHS];
};

/* -EINVAL, with err->field "datapaths" and a reason that says what would do. An empty text: n is 0. */
int datapath_list_parse(const char *text, struct datapath_list *ret, struct err *err);
int datapath_list_from_json(const json_t *array, struct datapath_list *ret, struct err *err);
json_t *datapath_list_to_json(const struct datapath_list *list);
/* The text form; NULL without memory. The caller frees. */
char *datapath_list_text(const struct datapath_list *list);
bool datapath_list_equal(const struct datapath_list *a, const struct datapath_list *b);
bool datapath_pref_equal(const struct datapath_pref *a, const struct datapath_pref *b);
/* "vdpa", or "vhost-user:path=…": one preference as text, for messages. Returns buf. */
const char *datapath_pref_text(const struct datapath_pref *pref, char buf[DATAPATH_PREF_MAX]);
/* What a parameter with PARAM_TEMPLATE is for one function: {pf} and {vf} filled in, "pf" for the number of the
 * PF itself. fn: VPF_FUNCTION_*. -EINVAL: too long for the address of a socket. */
int datapath_expand(const char *template, const char *pf, unsigned int fn, char ret[108], struct err *err);
