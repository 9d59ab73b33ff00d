/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One row a setting. A row of a table of struct json_field that has a `field` describes one member of a structure of
 * settings completely: what JSON may hold (json_fields.h), where and how the value is kept, its default, what it asks
 * of a switch, and whether the guest may ask for it. Everything is driven by these tables: what has changed, the
 * state file, the API's parameters, objects and help, vpfctl's completion, what a datapath must be able to enforce,
 * and which settings of a guest's request are meant. A member without a row exists for none of them, which
 * tests/unit/test_fields.c finds.
 *
 * The functions take the structure that the table is of. They pass over rows without a `field`. JSON is a new
 * reference, NULL: out of memory. Thread-safety: pure. */

#include "settings/json_fields.h"

/* What an ability means to people (CAN_*, see can.h). */
struct field_need {
	uint32_t can;       /* one bit; 0 ends the list */
	const char *field;  /* the setting, as the API spells it */
	const char *what;   /* "… cannot enforce <what>" */
	const char *remedy; /* "<remedy>, or choose another datapath", for the host's administrator */
};

/* How values of a kind are handled; `at` is the member. */
struct field_kind {
	void (*init)(void *at);                      /* sets the default; NULL: field.initial */
	bool (*equal)(const void *a, const void *b); /* NULL: byte by byte */
	/* Takes `v`, which has passed json_fields_check(). -EINVAL with `err` about `path`, `at` half changed. */
	int (*read)(const struct json_field *row, const json_t *v, void *at, const char *path,
		    struct err *err);
	json_t *(*write)(const struct json_field *row, const void *at);
	json_t *(*show)(const struct json_field *row, const void *at); /* NULL: write */
	/* -EINVAL with `err` about `path`: out of range. NULL: any value of the type is valid. */
	int (*check)(const struct json_field *row, const void *at, const char *path, struct err *err);
};

#define FIELD_NEEDS_MAX 4

struct field {
	const struct field_kind *kind;
	size_t offset, size;
	uint32_t initial;  /* default of a bool, number or choice */
	const char *shown; /* its name in the API's objects; NULL: as in parameters */
	const char *unit;  /* of a number, for messages; NULL: none */
	const char *zero;  /* word for the number 0 to people, such as "none"; NULL: it is just a number */
	uint32_t guest;    /* SETTING_*: the bit with which the guest asks for it; 0: the host's alone */
	/* CAN_*: what must be enforced for this value. NULL: need[0], unless all bytes are 0. */
	uint32_t (*needs)(const void *at);
	struct field_need need[FIELD_NEEDS_MAX + 1];
};

#define FIELD_MEMBER(type, member)                                                                           \
	.offset = offsetof(struct type, member), .size = sizeof(((struct type *)NULL)->member)

/* bool; uint16_t or uint32_t; an enum, by position in the row's choices; a set of the row's choices, in a
 * uint32_t by bit; six bytes, and the same shown as null where they are zeros; an array of char; a structure
 * with a table of its own, which is the row's `fields`. */
extern const struct field_kind field_bool, field_number, field_choice, field_set, field_mac,
	field_mac_or_none, field_text, field_object;

void fields_init(const struct json_field *rows, void *s);
bool fields_equal(const struct json_field *rows, const void *a, const void *b);
/* Changes what the object names. `prefix` "policy" stands before the names in errors, "" for none. */
int fields_read(const struct json_field *rows, const json_t *o, const char *prefix, void *s, struct err *err);
/* All numbers, choices and sets are in their ranges. */
int fields_check(const struct json_field *rows, const void *s, const char *prefix, struct err *err);

json_t *fields_json(const struct json_field *rows, const void *s);
/* Those of `to` that `from` has otherwise: {} if there are none. */
json_t *fields_difference(const struct json_field *rows, const void *from, const void *to);
/* Adds them to an object of the API as they are shown there; as json_put(). */
void fields_show(const struct json_field *rows, const void *s, json_t **object);

/* SETTING_*: those in which the two differ. */
uint32_t fields_guest_changes(const struct json_field *rows, const void *a, const void *b);
/* Copies those that `mask` (SETTING_*) names. */
void fields_guest_merge(const struct json_field *rows, uint32_t mask, const void *from, void *to);
json_t *fields_guest_json(const struct json_field *rows, uint32_t mask, const void *s);

/* CAN_*: what must be enforced for these settings. */
uint32_t fields_needs(const struct json_field *rows, const void *s);
/* What one ability means; NULL: no row needs it. */
const struct field_need *fields_need_of(const struct json_field *rows, uint32_t can);
