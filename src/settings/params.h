/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The parameters of a type of fabric or datapath. They are members of a struct of the type's own, described by
 * a table, a row for each: from the table they are read, written, compared, checked, shown, and completed by vpfctl.
 * Settings hold the struct as bytes (struct params), so that they need to know no type:
 *
 *	struct dummy_params { char path[64]; bool fast; };
 *	PARAMS_OF(dummy_params)
 *	const struct param dummy_table[] = {
 *		{PARAM(dummy_params, path), .what = "socket", .help = "where it listens"},
 *		{PARAM(dummy_params, fast), .help = "skips what takes time (default false)"},
 *		{0},
 *	};
 *	… dummy_params_of(&s->params)->path …
 *
 * A parameter is not given as long as it is empty, off or 0, which is its default, too; all zeros: none is given.
 * Thread-safety: values, copied freely; no sharing. */

#include <assert.h>
#include <jansson.h>

#include "util/err.h"
#include "util/util.h"

#define VPF_PARAMS_SIZE 192 /* of the largest struct of a type */
#define PARAM_TEXT_MAX  128 /* of a parameter, with the final NUL */

struct params {
	_Alignas(8) unsigned char bytes[VPF_PARAMS_SIZE];
};

enum param_kind { PARAM_TEXT, PARAM_SWITCH, PARAM_NUMBER };
enum param_form {
	PARAM_ANY,
	PARAM_NETDEV /* name of a network interface */,
	PARAM_PATH /* of a file or socket */
};

#define PARAM_FIXED     1U /* cannot be changed: of a fabric that was added */
#define PARAM_EXCLUSIVE 2U /* two fabrics, or two functions, cannot have the same */
#define PARAM_TEMPLATE  4U /* of a datapath: {pf} and {vf} in it stand for the names of PF and VF */
#define PARAM_FIRST     8U /* of a datapath: without it, or another of these, the type is of no use */

struct param {
	const char *name; /* lower-case letters; NULL ends a table */
	enum param_kind kind;
	enum param_form form;
	unsigned int flags;
	size_t offset, size;
	uint32_t max;     /* of a number, which is 0…max */
	const char *what; /* what a text names: "socket" */
	const char *help; /* no full stop */
};

/* The row of a member: char[], bool or uint32_t. */
#define PARAM(of, member)                                                                                    \
	.name = #member, .offset = offsetof(struct of, member), .size = sizeof(((struct of *)NULL)->member), \
	.kind = _Generic(((struct of *)NULL)->member, char *: PARAM_TEXT, bool: PARAM_SWITCH, uint32_t: PARAM_NUMBER)

/* Defines NAME_of(), which is the struct NAME in `params`. */
#define PARAMS_OF(name)                                                                                      \
	static_assert(sizeof(struct name) <= VPF_PARAMS_SIZE, "VPF_PARAMS_SIZE is too small");               \
	static inline const struct name *name##_of(const struct params *params)                              \
	{                                                                                                    \
		return (const void *)params->bytes;                                                          \
	}

/* In all of these a table may be NULL: no parameters. NULL: there is none of that name. */
const struct param *param_find(const struct param *table, const char *name, size_t length);

const char *param_text(const struct params *params, const struct param *p); /* of kind text; "" not given */
bool param_given(const struct params *params, const struct param *p);
bool param_equal(const struct params *a, const struct params *b, const struct param *p);
bool params_equal(const struct params *a, const struct params *b, const struct param *table);

/* From text ("on", "17") or a JSON value. -EINVAL with the parameter's name as field, and a reason that begins with
 * a verb; the value is then as it was. An empty text: not given. */
int param_set(struct params *params, const struct param *p, const char *text, size_t length, struct err *err);
int param_from_json(struct params *params, const struct param *p, const json_t *v, struct err *err);

/* The text that param_set() takes. Returns buf. */
const char *param_print(const struct params *params, const struct param *p, char buf[PARAM_TEXT_MAX]);
/* Sets the members of `o` that are given. */
void params_to_json(const struct params *params, const struct param *table, json_t **o /* as json_put() */);
