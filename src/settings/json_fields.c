/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/json_fields.h"

#include <stdio.h>
#include <string.h>

#include "settings/json_build.h"
#include "settings/mac.h"

#define STRING_MAX 4096

static const char *const kind_names[] = {
	[JSON_KIND_BOOL] = "boolean", [JSON_KIND_INT] = "integer",   [JSON_KIND_STRING] = "string",
	[JSON_KIND_MAC] = "mac",      [JSON_KIND_OBJECT] = "object", [JSON_KIND_ARRAY] = "array",
};

/* Goes through the rows of a table, also those of tables within it, and those that are made. */
struct walk {
	const struct json_field *row,
		*outer; /* outer: where it goes on after the table within; NULL: not in one */
	unsigned int n; /* rows made in this place */
	struct json_made made;
};

/* NULL: that was the last one. A row that was made lasts until the next call. */
static const struct json_field *next_row(struct walk *w)
{
	for (;;) {
		if (!w->row->name && !w->row->make) {
			if (!w->outer)
				return NULL;
			w->row = w->outer;
			w->outer = NULL;
		} else if (w->row->rows) {
			w->outer = w->row + 1;
			w->row = w->row->rows;
		} else if (!w->row->make) {
			return w->row++;
		} else if (w->row->make(w->n++, &w->made)) {
			return &w->made.field;
		} else {
			w->n = 0;
			w->row++;
		}
	}
}

/* As next_row(). */
static const struct json_field *find(struct walk *w, const char *name)
{
	const struct json_field *f;

	while ((f = next_row(w)))
		if (!strcmp(f->name, name))
			break;
	return f;
}

/* "a, b, c" for error texts; cut where the text ends. */
static const char *list_names(const struct json_field *fields, char *buf, size_t size)
{
	struct walk w = {.row = fields};
	const struct json_field *f;
	size_t n = 0;

	buf[0] = '\0';
	while (n < size && (f = next_row(&w)))
		n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? ", " : "", f->name);
	return buf;
}

const char *json_choices_text(const char *const *choices, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (const char *const *c = choices; *c && n < size; c++)
		n += (size_t)snprintf(buf + n, size - n, "%s%s",
				      c == choices ? ""
				      : c[1]       ? ", "
						   : " or ",
				      *c);
	return buf;
}

static int check_string(const json_t *v, const struct json_field *f, const char *path, struct err *err)
{
	const char *s = json_string_value(v);
	size_t len = json_string_length(v), max = f->max ? (size_t)f->max : STRING_MAX;
	char buf[160];

	if (f->choices) {
		for (const char *const *c = f->choices; *c; c++)
			if (!strcmp(*c, s))
				return 0;
		return err_set(err, EINVAL, path, "must be %s",
			       json_choices_text(f->choices, buf, sizeof(buf)));
	}
	if (len < (size_t)f->min || len > max)
		return err_set(err, EINVAL, path, "must have %lld to %zu characters", (long long)f->min, max);
	return 0;
}

static int check_value(const json_t *v, const struct json_field *f, const char *path, struct err *err);

static int check_array(const json_t *v, const struct json_field *f, const char *path, struct err *err)
{
	size_t n = json_array_size(v);

	if (n < (size_t)f->min || (f->max && n > (size_t)f->max))
		return err_set(err, EINVAL, path, "must have %lld to %lld items", (long long)f->min,
			       (long long)f->max);
	for (size_t i = 0; i < n; i++) {
		const json_t *item = json_array_get(v, i);
		char item_path[sizeof(err->field)];
		int r;

		snprintf(item_path, sizeof(item_path), "%.40s[%u]", path, (unsigned int)i);
		if (f->fields) {
			r = json_fields_check(item, f->fields, item_path, err);
			if (r < 0)
				return r;
		} else if (!json_is_string(item)) {
			return err_set(err, EINVAL, item_path, "must be a string");
		} else {
			const struct json_field text = {.choices = f->choices};

			r = check_string(item, &text, item_path, err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int check_value(const json_t *v, const struct json_field *f, const char *path, struct err *err)
{
	uint8_t mac[6];

	if (json_is_null(v) && f->flags & JSON_NULLABLE)
		return 0;
	switch (f->kind) {
	case JSON_KIND_BOOL:
		if (!json_is_boolean(v))
			return err_set(err, EINVAL, path, "must be true or false");
		return 0;
	case JSON_KIND_INT:
		if (!json_is_integer(v) || json_integer_value(v) < f->min || json_integer_value(v) > f->max)
			return err_set(err, EINVAL, path, "must be an integer from %lld to %lld%s",
				       (long long)f->min, (long long)f->max,
				       f->flags & JSON_NULLABLE ? ", or null" : "");
		return 0;
	case JSON_KIND_STRING:
		if (!json_is_string(v))
			return err_set(err, EINVAL, path, "must be a string");
		return check_string(v, f, path, err);
	case JSON_KIND_MAC:
		if (!json_is_string(v) || !mac_parse(json_string_value(v), mac))
			return err_set(err, EINVAL, path, "must be a MAC address such as 02:00:00:00:00:01");
		return 0;
	case JSON_KIND_OBJECT:
		return json_fields_check(v, f->fields, path, err);
	case JSON_KIND_ARRAY:
		if (!json_is_array(v))
			return err_set(err, EINVAL, path, "must be an array");
		return check_array(v, f, path, err);
	}
	return err_set(err, EINVAL, path, "has no known kind");
}

int json_fields_check(const json_t *o, const struct json_field *fields, const char *prefix, struct err *err)
{
	const char *dot = *prefix ? "." : "", *name;
	char path[sizeof(err->field)];
	struct walk w = {.row = fields};
	const struct json_field *f;
	const json_t *v;
	int r;

	if (!json_is_object(o))
		return err_set(err, EINVAL, prefix, "must be an object");

	/* jansson's iterators take a mutable object, which they do not change. */
	json_object_foreach ((json_t *)o, name, v) {
		struct walk named = {.row = fields};
		char known[160];

		f = find(&named, name);
		snprintf(path, sizeof(path), "%s%s%.40s", prefix, dot, name);
		if (!f && !fields->name && !fields->make)
			return err_set(err, EINVAL, path, "is unknown; there are no parameters here");
		if (!f)
			return err_set(err, EINVAL, path, "is unknown; known are %s",
				       list_names(fields, known, sizeof(known)));
		r = check_value(v, f, path, err);
		if (r < 0)
			return r;
	}
	while ((f = next_row(&w))) {
		if (!(f->flags & JSON_REQUIRED) || json_object_get(o, f->name))
			continue;
		snprintf(path, sizeof(path), "%s%s%s", prefix, dot, f->name);
		return err_set(err, EINVAL, path, "is missing");
	}
	return 0;
}

int json_choice(const json_t *v, const char *const *choices)
{
	const char *s = json_string_value(v);

	for (int i = 0; choices[i]; i++)
		if (!strcmp(choices[i], s))
			return i;
	return 0;
}

static json_t *choices_json(const char *const *choices)
{
	json_t *list = json_array();

	for (const char *const *c = choices; *c; c++)
		json_add(&list, json_string(*c));
	return list;
}

static json_t *describe(const struct json_field *f)
{
	json_t *o = json_pack("{s:s, s:s, s:b, s:s}", "name", f->name, "type", kind_names[f->kind],
			      "required", !!(f->flags & JSON_REQUIRED), "doc", f->doc ? f->doc : "");

	if (f->flags & JSON_NULLABLE)
		json_put(&o, "nullable", json_true());
	if (f->kind == JSON_KIND_INT) {
		json_put(&o, "min", json_integer(f->min));
		json_put(&o, "max", json_integer(f->max));
	}
	if (f->choices)
		json_put(&o, "choices", choices_json(f->choices));
	if (f->fields)
		json_put(&o, "fields", json_fields_describe(f->fields));
	return o;
}

json_t *json_fields_describe(const struct json_field *fields)
{
	struct walk w = {.row = fields};
	const struct json_field *f;
	json_t *list = json_array();

	while ((f = next_row(&w)))
		json_add(&list, describe(f));
	return list;
}
