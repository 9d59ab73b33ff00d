/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/fabric_json.h"

#include <stdio.h>
#include <string.h>

#include "settings/json_build.h"
#include "settings/types_json.h"

static const char *const uplink_choices[] = {"none", "tap", "netdev", NULL};

const struct json_field uplink_json_fields[] = {
	{.name = "type",
	 .kind = JSON_KIND_STRING,
	 .flags = JSON_REQUIRED,
	 .choices = uplink_choices,
	 .doc = "none; tap: vpfd creates it; netdev: an existing one"},
	{.name = "name", .kind = JSON_KIND_STRING, .max = IFNAMSIZ - 1, .doc = "of the network interface"},
	{0},
};

bool fabric_type_rows(unsigned int i, struct json_made *ret)
{
	char more[64];

	if (i)
		return types_json_param(fabric_types, i - 1, "type ", ret);
	snprintf(more, sizeof(more), " (default %s); fixed", fabric_type_default()->base.name);
	types_json_type(fabric_types, 0, more, ret);
	return true;
}

const char *uplink_type_name(enum uplink_type type)
{
	return uplink_choices[type];
}

/* A parameter that the type does not have would silently do nothing: refused. */
static int foreign(const struct fabric_settings *s, const struct type *other, const char *name,
		   const json_t *v, struct err *err)
{
	if (json_is_string(v) && !json_string_length(v))
		return 0;
	return err_set(err, EINVAL, name, "belongs to a fabric of type %s, not of type %s", other->name,
		       s->type->base.name);
}

static int params_read(const json_t *o, struct fabric_settings *s, struct err *err)
{
	const json_t *v = json_object_get(o, "type");
	const struct fabric_type *type =
		v ? fabric_type_find(json_string_value(v), json_string_length(v)) : s->type;
	int r = 0;

	if (type != s->type)
		s->params = (struct params){0};
	s->type = type;
	for (const struct type *const *t = fabric_types; *t; t++)
		for (const struct param *p = (*t)->params; !r && p && p->name; p++) {
			const struct param *own = param_find(type->base.params, p->name, strlen(p->name));

			v = json_object_get(o, p->name);
			if (v)
				r = own ? param_from_json(&s->params, own, v, err)
					: foreign(s, *t, p->name, v, err);
		}
	return r;
}

int fabric_settings_read(const json_t *o, struct fabric_settings *s, struct err *err)
{
	const json_t *v;
	int r;

	r = params_read(o, s, err);
	if (r < 0)
		return r;
	v = json_object_get(o, "uplink");
	if (v) {
		const char *name = json_string_value(json_object_get(v, "name"));

		s->uplink = (enum uplink_type)json_choice(json_object_get(v, "type"), uplink_choices);
		memset(s->uplink_name, 0, sizeof(s->uplink_name));
		if (name)
			snprintf(s->uplink_name, sizeof(s->uplink_name), "%s", name);
	}
	v = json_object_get(o, "learning");
	if (v)
		s->learning = json_is_true(v);
	v = json_object_get(o, "ageing");
	if (v)
		s->ageing = (uint32_t)json_integer_value(v);
	v = json_object_get(o, "max_learned");
	if (v)
		s->max_learned = (uint32_t)json_integer_value(v);
	return 0;
}

json_t *fabric_settings_json(const struct fabric_settings *s)
{
	json_t *uplink = json_pack("{s:s}", "type", uplink_type_name(s->uplink)), *o;

	if (s->uplink != UPLINK_NONE)
		json_put(&uplink, "name", json_string(s->uplink_name));
	o = json_pack("{s:s, s:s, s:o, s:b, s:I, s:I}", "name", s->name, "type", s->type->base.name, "uplink",
		      uplink, "learning", s->learning, "ageing", (json_int_t)s->ageing, "max_learned",
		      (json_int_t)s->max_learned);
	params_to_json(&s->params, s->type->base.params, &o);
	return o;
}

bool fabric_settings_equal(const struct fabric_settings *a, const struct fabric_settings *b)
{
	if (a->type != b->type)
		return false;
	for (const struct param *p = a->type ? a->type->base.params : NULL; p && p->name; p++)
		if (!param_equal(&a->params, &b->params, p))
			return false;
	return !strcmp(a->name, b->name) && a->uplink == b->uplink &&
	       !strcmp(a->uplink_name, b->uplink_name) && a->learning == b->learning &&
	       a->ageing == b->ageing && a->max_learned == b->max_learned;
}
