/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The types of fabrics and datapaths, as settings, messages and vpfctl know them: what they are called, which
 * parameters they take, what of these makes sense. What a type does is in its operations (fabric.h, datapath.h),
 * which only vpfd has.
 *
 * To add a type: a directory src/fabric/TYPE or src/datapath/TYPE, whose params.c defines fabric_type_TYPE or
 * datapath_type_TYPE, and whose other files define its operations, fabric_TYPE or datapath_TYPE; a meson.build there
 * that adds params.c to params_src and the others to vpf_src; and its name in the list in src/meson.build. params.c is
 * part of vpfctl, too, and includes settings/ and util/ alone.
 *
 * No code outside a type's directory compares a type with a certain one: what must be known of it is a member
 * here, or an operation.
 * Thread-safety: constants; pure. */

#include "settings/params.h"
#include "settings/type_list.h" /* made by meson from the lists in src/meson.build */

/* The tables of all types are compiled twice: the unit tests' know types that vpfd does not. */
#ifdef VPF_TYPES_FOR_TESTS
#define ALL_FABRIC_TYPES(X)   FABRIC_TYPES(X) FABRIC_TEST_TYPES(X)
#define ALL_DATAPATH_TYPES(X) DATAPATH_TYPES(X) DATAPATH_TEST_TYPES(X)
#else
#define ALL_FABRIC_TYPES(X)   FABRIC_TYPES(X)
#define ALL_DATAPATH_TYPES(X) DATAPATH_TYPES(X)
#endif

struct fabric_settings;

/* What all types begin with. */
struct type {
	const char *name;           /* "vhost-user" */
	const char *help;           /* "another back-end": continues "NAME: "; no full stop */
	const struct param *params; /* NULL: none */
};

struct fabric_type {
	struct type base;
	/* What serves the functions on such a fabric where nothing else is said, as text: "vhost-net,builtin" */
	const char *datapaths;
	/* Whether settings of this type make sense; -EINVAL. NULL: always. The tables have been checked. */
	int (*check)(const struct fabric_settings *s, struct err *err);
};

struct datapath_type {
	struct type base;
	/* vpfd itself reads the rings: control frames of a PF come out of them, and go in (datapath.h). */
	bool carries_control;
	/* As above; the field is "datapaths". */
	int (*check)(const struct params *params, struct err *err);
};

/* In the order of the lists, up to NULL; a fabric is of the first type where nothing else is said. */
extern const struct type *const fabric_types[], *const datapath_types[];

/* NULL: there is none of that name. */
const struct fabric_type *fabric_type_find(const char *name, size_t length);
const struct datapath_type *datapath_type_find(const char *name, size_t length);
const struct fabric_type *fabric_type_default(void);
const struct datapath_type *datapath_type_of_control(void); /* the first that carries_control */

/* "builtin, vhost-net and vdpa" if `last` is "and". Returns buf, cut where it ends. */
const char *type_names(const struct type *const types[], const char *last, char *buf, size_t size);
/* For people: the name and what is given, "bridge br0". Returns buf. */
const char *type_text(const struct type *type, const struct params *params, char *buf, size_t size);

#define DECLARE_FABRIC_TYPE(type)   extern const struct fabric_type fabric_type_##type;
#define DECLARE_DATAPATH_TYPE(type) extern const struct datapath_type datapath_type_##type;
ALL_FABRIC_TYPES(DECLARE_FABRIC_TYPE)
ALL_DATAPATH_TYPES(DECLARE_DATAPATH_TYPE)
#undef DECLARE_FABRIC_TYPE
#undef DECLARE_DATAPATH_TYPE
