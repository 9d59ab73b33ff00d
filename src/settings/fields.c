/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/fields.h"

#include <stdio.h>
#include <string.h>

#include "settings/json_build.h"
#include "settings/mac.h"

/* The first row from `row` on that has a field; NULL: none. */
static const struct json_field *field_row(const struct json_field *row)
{
	while (row->name && !row->field)
		row++;
	return row->name ? row : NULL;
}

static void *member(const struct json_field *row, void *s)
{
	return (char *)s + row->field->offset;
}

static const void *member_of(const struct json_field *row, const void *s)
{
	return (const char *)s + row->field->offset;
}

/* Numbers, choices and bools, by size. */

static uint32_t load(const struct json_field *row, const void *at)
{
	uint32_t n32;
	uint16_t n16;

	switch (row->field->size) {
	case 1:
		return *(const uint8_t *)at;
	case 2:
		memcpy(&n16, at, 2);
		return n16;
	default:
		memcpy(&n32, at, 4);
		return n32;
	}
}

static void store(const struct json_field *row, void *at, uint32_t value)
{
	uint16_t n16 = (uint16_t)value;
	uint8_t n8 = (uint8_t)value;

	switch (row->field->size) {
	case 1:
		memcpy(at, &n8, 1);
		return;
	case 2:
		memcpy(at, &n16, 2);
		return;
	default:
		memcpy(at, &value, 4);
		return;
	}
}

static int bool_read(const struct json_field *row, const json_t *v, void *at, const char *path,
		     struct err *err)
{
	(void)path;
	(void)err;
	store(row, at, json_is_true(v));
	return 0;
}

static json_t *bool_write(const struct json_field *row, const void *at)
{
	return json_boolean(load(row, at));
}

const struct field_kind field_bool = {.read = bool_read, .write = bool_write};

static int number_read(const struct json_field *row, const json_t *v, void *at, const char *path,
		       struct err *err)
{
	(void)path;
	(void)err;
	store(row, at, (uint32_t)json_integer_value(v));
	return 0;
}

static json_t *number_write(const struct json_field *row, const void *at)
{
	return json_integer(load(row, at));
}

static int number_check(const struct json_field *row, const void *at, const char *path, struct err *err)
{
	const char *unit = row->field->unit;
	json_int_t n = load(row, at);

	if (n >= row->min && n <= row->max)
		return 0;
	return err_set(err, EINVAL, path, "must be %lld to %lld%s%s", (long long)row->min,
		       (long long)row->max, unit ? " " : "", unit ? unit : "");
}

const struct field_kind field_number = {.read = number_read, .write = number_write, .check = number_check};

/* By position; the table's check has seen to it that there is one. */
static uint32_t choice_of(const struct json_field *row, const json_t *v)
{
	for (uint32_t i = 0; row->choices[i]; i++)
		if (!strcmp(row->choices[i], json_string_value(v)))
			return i;
	return 0;
}

static uint32_t count_choices(const struct json_field *row)
{
	uint32_t n = 0;

	while (row->choices[n])
		n++;
	return n;
}

static int choice_read(const struct json_field *row, const json_t *v, void *at, const char *path,
		       struct err *err)
{
	(void)path;
	(void)err;
	store(row, at, choice_of(row, v));
	return 0;
}

/* What has no name is null: a guest may ask for it, and is refused. */
static json_t *choice_write(const struct json_field *row, const void *at)
{
	uint32_t n = load(row, at);

	return n < count_choices(row) ? json_string(row->choices[n]) : json_null();
}

static int choice_check(const struct json_field *row, const void *at, const char *path, struct err *err)
{
	char text[128];

	if (load(row, at) < count_choices(row))
		return 0;
	return err_set(err, EINVAL, path, "must be %s", json_choices_text(row->choices, text, sizeof(text)));
}

const struct field_kind field_choice = {.read = choice_read, .write = choice_write, .check = choice_check};

static int set_read(const struct json_field *row, const json_t *v, void *at, const char *path,
		    struct err *err)
{
	uint32_t set = 0;

	(void)path;
	(void)err;
	for (size_t i = 0; i < json_array_size(v); i++)
		set |= 1U << choice_of(row, json_array_get(v, i));
	store(row, at, set);
	return 0;
}

static json_t *set_write(const struct json_field *row, const void *at)
{
	json_t *list = json_array();

	for (uint32_t i = 0; row->choices[i]; i++)
		if (load(row, at) >> i & 1)
			json_add(&list, json_string(row->choices[i]));
	return list;
}

static int set_check(const struct json_field *row, const void *at, const char *path, struct err *err)
{
	char text[128];

	if (!(load(row, at) >> count_choices(row)))
		return 0;
	return err_set(err, EINVAL, path, "must be any of %s",
		       json_choices_text(row->choices, text, sizeof(text)));
}

const struct field_kind field_set = {.read = set_read, .write = set_write, .check = set_check};

static int mac_read(const struct json_field *row, const json_t *v, void *at, const char *path,
		    struct err *err)
{
	(void)row;
	(void)path;
	(void)err;
	mac_parse(json_string_value(v), at);
	return 0;
}

static json_t *mac_write(const struct json_field *row, const void *at)
{
	char text[MAC_TEXT_MAX];

	(void)row;
	return json_string(mac_format(at, text));
}

static json_t *mac_show(const struct json_field *row, const void *at)
{
	return mac_is_zero(at) ? json_null() : mac_write(row, at);
}

const struct field_kind field_mac = {.read = mac_read, .write = mac_write};
const struct field_kind field_mac_or_none = {.read = mac_read, .write = mac_write, .show = mac_show};

static bool text_equal(const void *a, const void *b)
{
	return !strcmp(a, b);
}

/* Null is empty. */
static int text_read(const struct json_field *row, const json_t *v, void *at, const char *path,
		     struct err *err)
{
	(void)path;
	(void)err;
	memset(at, 0, row->field->size);
	snprintf(at, row->field->size, "%s", json_is_null(v) ? "" : json_string_value(v));
	return 0;
}

static json_t *text_write(const struct json_field *row, const void *at)
{
	(void)row;
	return json_string(at);
}

const struct field_kind field_text = {.equal = text_equal, .read = text_read, .write = text_write};

/* Structures within: their tables answer. */

static int object_read(const struct json_field *row, const json_t *v, void *at, const char *path,
		       struct err *err)
{
	return fields_read(row->fields, v, path, at, err);
}

static json_t *object_write(const struct json_field *row, const void *at)
{
	return fields_json(row->fields, at);
}

static int object_check(const struct json_field *row, const void *at, const char *path, struct err *err)
{
	return fields_check(row->fields, at, path, err);
}

const struct field_kind field_object = {.read = object_read, .write = object_write, .check = object_check};

void fields_init(const struct json_field *rows, void *s)
{
	for (const struct json_field *row = field_row(rows); row; row = field_row(row + 1)) {
		if (row->field->kind == &field_object)
			fields_init(row->fields, member(row, s));
		else if (row->field->kind->init)
			row->field->kind->init(member(row, s));
		else if (row->field->initial)
			store(row, member(row, s), row->field->initial);
	}
}

static bool equal(const struct json_field *row, const void *s, const void *t)
{
	const void *a = member_of(row, s), *b = member_of(row, t);

	if (row->field->kind == &field_object)
		return fields_equal(row->fields, a, b);
	return row->field->kind->equal ? row->field->kind->equal(a, b) : !memcmp(a, b, row->field->size);
}

bool fields_equal(const struct json_field *rows, const void *a, const void *b)
{
	for (const struct json_field *row = field_row(rows); row; row = field_row(row + 1))
		if (!equal(row, a, b))
			return false;
	return true;
}

static const char *path_of(const struct json_field *row, const char *prefix, char ret[64])
{
	snprintf(ret, 64, "%.30s%s%.30s", prefix, *prefix ? "." : "", row->name);
	return ret;
}

int fields_read(const struct json_field *rows, const json_t *o, const char *prefix, void *s, struct err *err)
{
	char path[64];

	for (const struct json_field *row = field_row(rows); row; row = field_row(row + 1)) {
		const json_t *v = json_object_get(o, row->name);
		int r = 0;

		if (v)
			r = row->field->kind->read(row, v, member(row, s), path_of(row, prefix, path), err);
		if (r < 0)
			return r;
	}
	return 0;
}

int fields_check(const struct json_field *rows, const void *s, const char *prefix, struct err *err)
{
	char path[64];

	for (const struct json_field *row = field_row(rows); row; row = field_row(row + 1)) {
		int r = 0;

		if (row->field->kind->check)
			r = row->field->kind->check(row, member_of(row, s), path_of(row, prefix, path), err);
		if (r < 0)
			return r;
	}
	return 0;
}

static json_t *value_json(const struct json_field *row, const void *s)
{
	return row->field->kind->write(row, member_of(row, s));
}

json_t *fields_json(const struct json_field *rows, const void *s)
{
	json_t *o = json_object();

	for (const struct json_field *row = field_row(rows); row; row = field_row(row + 1))
		json_put(&o, row->name, value_json(row, s));
	return o;
}

json_t *fields_difference(const struct json_field *rows, const void *from, const void *to)
{
	json_t *o = json_object();

	for (const struct json_field *row = field_row(rows); row; row = field_row(row + 1))
		if (!equal(row, from, to))
			json_put(&o, row->name, value_json(row, to));
	return o;
}

void fields_show(const struct json_field *rows, const void *s, json_t **object)
{
	for (const struct json_field *row = field_row(rows); row; row = field_row(row + 1)) {
		const struct field_kind *kind = row->field->kind;

		json_put(object, row->field->shown ? row->field->shown : row->name,
			 kind->show ? kind->show(row, member_of(row, s)) : value_json(row, s));
	}
}

uint32_t fields_guest_changes(const struct json_field *rows, const void *a, const void *b)
{
	uint32_t set = 0;

	for (const struct json_field *row = field_row(rows); row; row = field_row(row + 1))
		if (row->field->guest && !equal(row, a, b))
			set |= row->field->guest;
	return set;
}

void fields_guest_merge(const struct json_field *rows, uint32_t mask, const void *from, void *to)
{
	for (const struct json_field *row = field_row(rows); row; row = field_row(row + 1))
		if (row->field->guest & mask)
			memcpy(member(row, to), member_of(row, from), row->field->size);
}

json_t *fields_guest_json(const struct json_field *rows, uint32_t mask, const void *s)
{
	json_t *o = json_object();

	for (const struct json_field *row = field_row(rows); row; row = field_row(row + 1))
		if (row->field->guest & mask)
			json_put(&o, row->name, value_json(row, s));
	return o;
}

static bool is_zero(const uint8_t *p, size_t size)
{
	while (size && !*p) {
		p++;
		size--;
	}
	return !size;
}

uint32_t fields_needs(const struct json_field *rows, const void *s)
{
	uint32_t needs = 0;

	for (const struct json_field *row = field_row(rows); row; row = field_row(row + 1)) {
		const struct field *f = row->field;

		if (f->needs)
			needs |= f->needs(member_of(row, s));
		else if (!is_zero(member_of(row, s), f->size))
			needs |= f->need[0].can;
	}
	return needs;
}

const struct field_need *fields_need_of(const struct json_field *rows, uint32_t can)
{
	for (const struct json_field *row = field_row(rows); row; row = field_row(row + 1))
		for (const struct field_need *n = row->field->need; n->can; n++)
			if (n->can == can)
				return n;
	return NULL;
}
