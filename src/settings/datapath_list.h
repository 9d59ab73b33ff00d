/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What may serve a function's rings, in order of preference. A value: copied freely.
 *
 * As text, for people: preferences with commas between them, each a type and its parameters with colons
 * between them: "vdpa:mgmtdev=pci/0000:3b:00.2,vhost-user:path=/run/ovs/{pf}-{vf}.sock:server=on,builtin".
 * Values may not hold commas; a colon in a value is kept (what follows it is no KEY=). In JSON: an array of
 * objects,
 * {"type": "vhost-user", "path": "…", "server": true}. The parameters are those of struct datapath_pref, but
 * for vdpa `path` is called "device".
 * Thread-safety: values; no sharing. */

#include <jansson.h>

#include "util/err.h"
#include "util/util.h"

#define VPF_MAX_DATAPATHS  4   /* preferences in a list */
#define VPF_DATAPATH_PARAM 100 /* bytes of a parameter with the final NUL; a path has to fit a socket's */

enum datapath_type {
	DATAPATH_BUILTIN,    /* vpfd's workers, on the function's fabric */
	DATAPATH_VHOST_NET,  /* the kernel's vhost-net, with a tap of a bridge fabric */
	DATAPATH_VHOST_USER, /* another back-end, behind a socket */
	DATAPATH_VDPA,       /* a kernel vhost-vdpa device */
	DATAPATH_TYPES
};

struct datapath_pref {
	enum datapath_type type;
	/* vhost-user: socket, absolute; {pf} and {vf} stand for the virtual PF's name and the VF's number
	 * ("pf" for the PF itself), and one that VFs share needs {vf}.
	 * vdpa: glob (fnmatch(3)) of names of existing vDPA devices that may be used, "" none */
	char path[VPF_DATAPATH_PARAM];
	/* vdpa: glob of management devices ("vduse", "pci/0000:3b:00.2") on which a device may be created,
	 * "" none */
	char mgmtdev[64];
	bool server;  /* vhost-user: vpfd listens and the back-end connects; default false */
	bool offload; /* vhost-user: the back-end takes checksum and segmentation offload; default false */
};

struct datapath_list {
	unsigned int n; /* 0: not set: as the virtual PF's; of a virtual PF never 0 (default: builtin) */
	struct datapath_pref pref[VPF_MAX_DATAPATHS];
};

const char *datapath_type_name(enum datapath_type type); /* "builtin", "vhost-net", … */

/* -EINVAL, with err->field "datapaths" and a reason that says what would do. An empty text: n is 0. */
int datapath_list_parse(const char *text, struct datapath_list *ret, struct err *err);
int datapath_list_from_json(const json_t *array, struct datapath_list *ret, struct err *err);
json_t *datapath_list_to_json(const struct datapath_list *list);
/* The text form; NULL without memory. The caller frees. */
char *datapath_list_text(const struct datapath_list *list);
bool datapath_pref_equal(const struct datapath_pref *a, const struct datapath_pref *b);
bool datapath_list_equal(const struct datapath_list *a, const struct datapath_list *b);
bool datapath_pref_equal(const struct datapath_pref *a, const struct datapath_pref *b);
/* "vdpa", or "vhost-user:path=…": one preference as text, for messages. Returns buf. */
const char *datapath_pref_text(const struct datapath_pref *pref, char buf[256]);
/* Path of the vhost-user socket of one function, {pf} and {vf} filled in. fn: VPF_FUNCTION_*. -EINVAL: too
 * long. */
int datapath_pref_path(const struct datapath_pref *pref, const char *pf, unsigned int fn, char ret[108],
		       struct err *err);
