/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a JSON object may hold, as a table: the API checks parameters with it, the state file its contents,
 * and the API's `help` prints it. After json_fields_check() has passed, readers can take values without
 * looking twice. Thread-safety: pure. */

#include <jansson.h>

#include "util/err.h"

enum json_kind {
	JSON_KIND_BOOL,
	JSON_KIND_INT,
	JSON_KIND_STRING,
	JSON_KIND_MAC,
	JSON_KIND_OBJECT,
	JSON_KIND_ARRAY
};

#define JSON_REQUIRED 1U /* must be present */
#define JSON_NULLABLE 2U /* may be null */

struct field; /* settings/fields.h */
struct json_made;

struct json_field {
	const char *name; /* NULL ends a table */
	enum json_kind kind;
	unsigned int flags;
	int64_t min, max; /* INT: value; STRING: length in bytes (max 0: 4096); ARRAY: number of items */
	const char *const *choices; /* STRING: NULL, or all values, ended by NULL */
	const struct json_field
		*fields; /* OBJECT: its own table; ARRAY: NULL (items are strings) or that of the items */
	const char *doc;
	const struct field *field; /* settings: how the value is kept; NULL: its reader's affair */
	const struct json_field
		*rows; /* not NULL: the rows of that table belong here, and this is none itself; one deep */
	/* Instead of all the above: rows that are made while the table is read stand here. False: there is no row i. */
	bool (*make)(unsigned int i, struct json_made *ret);
};

#define JSON_MADE_CHOICES 16

/* A row that was made, and what it points to. */
struct json_made {
	struct json_field field;
	const char *choices[JSON_MADE_CHOICES + 1];
	char doc[512];
};

/* All rows of another table, as a row. */
#define JSON_ROWS(table)                                                                                     \
	{                                                                                                    \
		.name = "", .rows = (table)                                                                  \
	}

/* Checks `o` against `fields`: that it is an object, that every member is known and of its kind and range,
 * that none is missing. -EINVAL with `err` naming the member, nested ones as "vlan.vid", after `prefix` ("" for
 * none). */
int json_fields_check(const json_t *o, const struct json_field *fields, const char *prefix, struct err *err);

/* Index of the choice that a string is; the check of the table has seen to it that it is one. */
int json_choice(const json_t *v, const char *const *choices);
/* "a, b or c" for error texts; cut where `buf` ends. Returns buf. */
const char *json_choices_text(const char *const *choices, char *buf, size_t size);

/* The table as JSON: [{"name", "type", "required", "nullable", "min", "max", "choices", "fields", "doc"}]. */
json_t *json_fields_describe(const struct json_field *fields);
