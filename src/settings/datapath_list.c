/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/datapath_list.h"

#include <stdio.h>
#include <string.h>

#include "settings/json_build.h"

#define FIELD "datapaths"

/* "path, server, offload" */
static const char *params_of(const struct datapath_type *type, char buf[64])
{
	size_t n = 0;

	buf[0] = '\0';
	for (const struct param *p = type->base.params; p && p->name && n < 64; p++)
		n += (size_t)snprintf(buf + n, 64 - n, "%s%s", n ? ", " : "", p->name);
	return buf;
}

/* Whether a parameter begins at the colon: ":path=". A colon before anything else is the value's own. */
static bool param_begins(const char *colon, const char *end)
{
	const char *p = colon + 1;

	while (p < end && *p >= 'a' && *p <= 'z')
		p++;
	return p > colon + 1 && p < end && *p == '=';
}

static int find_type(const char *name, size_t length, const struct datapath_type **ret, struct err *err)
{
	char names[128];

	*ret = datapath_type_find(name, length);
	if (*ret)
		return 0;
	if (!length)
		return err_set(
			err, EINVAL, FIELD,
			"has an empty preference: write them with one comma between, such as vhost-net,builtin");
	return err_set(err, EINVAL, FIELD, "there is no datapath %.*s: there are %s",
		       (int)MIN(length, (size_t)40), name,
		       type_names(datapath_types, "and", names, sizeof(names)));
}

/* A parameter that the type does not have would silently do nothing: refused. */
static int find_param(const struct datapath_type *type, const char *key, size_t length,
		      const struct param **ret, struct err *err)
{
	char known[64];

	*ret = param_find(type->base.params, key, length);
	if (*ret)
		return 0;
	return err_set(err, EINVAL, FIELD, "%s has no parameter %.*s: %s%s", type->base.name,
		       (int)MIN(length, (size_t)40), key,
		       type->base.params ? "those it has are " : "it takes none", params_of(type, known));
}

/* "is empty" → "path of vhost-user is empty" */
static int wrong(const struct datapath_type *type, const struct param *p, const char *what, struct err *err)
{
	return err_set(err, EINVAL, FIELD, "%s of %s %.180s", p->name, type->base.name, what);
}

/* What a text must be so that datapath_list_text() can be read again, and to be a name at all. */
static const char *refuse_text(const char *value, size_t length)
{
	if (!length)
		return "is empty: give it a value, or leave it out";
	for (size_t i = 0; i < length; i++) {
		if (value[i] == ',')
			return "has a comma in it, which ends a preference";
		if (value[i] == ':' && param_begins(value + i, value + length))
			return "has :KEY= in it, which begins the next parameter";
	}
	return NULL;
}

static bool braces_are_names(const char *template)
{
	for (const char *p = template; (p = strpbrk(p, "{}")); p += 4)
		if (strncmp(p, "{pf}", 4) != 0 && strncmp(p, "{vf}", 4) != 0)
			return false;
	return true;
}

static int check_pref(const struct datapath_pref *pref, struct err *err)
{
	const struct datapath_type *type = pref->type;

	for (const struct param *p = type->base.params; p && p->name; p++)
		if (p->flags & PARAM_TEMPLATE && !braces_are_names(param_text(&pref->params, p)))
			return wrong(type, p, "may have no braces but those of {pf} and {vf}", err);
	return type->check ? type->check(&pref->params, err) : 0;
}

bool datapath_pref_equal(const struct datapath_pref *a, const struct datapath_pref *b)
{
	return a->type == b->type && (!a->type || params_equal(&a->params, &b->params, a->type->base.params));
}

/* Twice the same is of no use, and two views of one thing are a mistake. */
static bool same_thing(const struct datapath_pref *a, const struct datapath_pref *b)
{
	if (a->type != b->type)
		return false;
	for (const struct param *p = a->type->base.params; p && p->name; p++)
		if (p->kind == PARAM_TEXT && !param_equal(&a->params, &b->params, p))
			return false;
	return true;
}

/* The finished preference to the end of the list. */
static int add_pref(struct datapath_list *list, const struct datapath_pref *pref, struct err *err)
{
	char text[DATAPATH_PREF_MAX];
	int r;

	r = check_pref(pref, err);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < list->n; i++)
		if (same_thing(&list->pref[i], pref))
			return err_set(err, EINVAL, FIELD, "has %.180s twice: once is enough",
				       datapath_pref_text(pref, text));
	if (list->n == VPF_MAX_DATAPATHS)
		return err_set(err, EINVAL, FIELD, "has more than %d preferences", VPF_MAX_DATAPATHS);
	list->pref[list->n++] = *pref;
	return 0;
}

/* "KEY=VALUE" up to `end`. `seen`: a bit for each row of the type's table. */
static int parse_param(const char *key, const char *end, struct datapath_pref *pref, unsigned int *seen,
		       struct err *err)
{
	const char *value = (const char *)memchr(key, '=', (size_t)(end - key)) + 1;
	size_t length = (size_t)(end - value);
	const char *refused = NULL;
	const struct param *p;
	struct err why;
	unsigned int bit;
	int r;

	r = find_param(pref->type, key, (size_t)(value - 1 - key), &p, err);
	if (r < 0)
		return r;
	bit = 1U << (p - pref->type->base.params);
	if (*seen & bit)
		return wrong(pref->type, p, "is given twice", err);
	*seen |= bit;
	refused = p->kind == PARAM_TEXT || !length ? refuse_text(value, length) : NULL;
	if (refused)
		return wrong(pref->type, p, refused, err);
	return param_set(&pref->params, p, value, length, &why) < 0 ? wrong(pref->type, p, why.text, err) : 0;
}

/* Where the value ends that begins here. */
static const char *value_end(const char *value, const char *end)
{
	while (value < end && !(*value == ':' && param_begins(value, end)))
		value++;
	return value;
}

static int parse_pref(const char *text, const char *end, struct datapath_pref *ret, struct err *err)
{
	const char *colon = memchr(text, ':', (size_t)(end - text));
	unsigned int seen = 0;
	int r;

	*ret = (struct datapath_pref){0};
	if (!colon)
		colon = end;
	r = find_type(text, (size_t)(colon - text), &ret->type, err);
	while (!r && colon < end) {
		const char *key = colon + 1;

		if (!param_begins(colon, end))
			return err_set(err, EINVAL, FIELD,
				       "a colon after %s must be followed by KEY=VALUE%s%.*s",
				       ret->type->base.name, key < end ? ", not " : "",
				       (int)MIN(end - key, 40), key);
		colon = value_end(key, end);
		r = parse_param(key, colon, ret, &seen, err);
	}
	return r;
}

int datapath_list_parse(const char *text, struct datapath_list *ret, struct err *err)
{
	struct datapath_list list = {0};

	while (*text || list.n) {
		const char *end = strchrnul(text, ',');
		struct datapath_pref pref;
		int r;

		r = parse_pref(text, end, &pref, err);
		if (!r)
			r = add_pref(&list, &pref, err);
		if (r < 0)
			return r;
		if (!*end)
			break;
		text = end + 1;
	}
	*ret = list;
	return 0;
}

static int param_read(struct datapath_pref *pref, const char *key, const json_t *v, struct err *err)
{
	const char *refused = NULL;
	const struct param *p;
	struct err why;
	int r;

	r = find_param(pref->type, key, strlen(key), &p, err);
	if (r < 0)
		return r;
	if (p->kind == PARAM_TEXT && json_is_string(v))
		refused = refuse_text(json_string_value(v), json_string_length(v));
	if (!refused && param_from_json(&pref->params, p, v, &why) < 0)
		refused = why.text;
	return refused ? wrong(pref->type, p, refused, err) : 0;
}

static int pref_from_json(const json_t *o, struct datapath_pref *ret, struct err *err)
{
	const json_t *type = json_object_get(o, "type"), *v;
	const char *key;
	int r;

	if (!json_is_object(o) || !json_is_string(type))
		return err_set(err, EINVAL, FIELD,
			       "must have objects with a type, such as {\"type\": \"builtin\"}");
	*ret = (struct datapath_pref){0};
	r = find_type(json_string_value(type), json_string_length(type), &ret->type, err);
	/* jansson's iterators take a mutable object, which they do not change. */
	json_object_foreach ((json_t *)o, key, v)
		if (!r && v != type)
			r = param_read(ret, key, v, err);
	return r;
}

int datapath_list_from_json(const json_t *array, struct datapath_list *ret, struct err *err)
{
	struct datapath_list list = {0};

	if (!json_is_array(array))
		return err_set(err, EINVAL, FIELD, "must be an array");
	for (size_t i = 0; i < json_array_size(array); i++) {
		struct datapath_pref pref;
		int r;

		r = pref_from_json(json_array_get(array, i), &pref, err);
		if (!r)
			r = add_pref(&list, &pref, err);
		if (r < 0)
			return r;
	}
	*ret = list;
	return 0;
}

json_t *datapath_list_to_json(const struct datapath_list *list)
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < list->n; i++) {
		const struct datapath_pref *pref = &list->pref[i];
		json_t *o = json_pack("{s:s}", "type", pref->type->base.name);

		params_to_json(&pref->params, pref->type->base.params, &o);
		json_add(&array, o);
	}
	return array;
}

const char *datapath_pref_text(const struct datapath_pref *pref, char buf[DATAPATH_PREF_MAX])
{
	const struct type *type = &pref->type->base;
	size_t n = (size_t)snprintf(buf, DATAPATH_PREF_MAX, "%s", type->name);
	char text[PARAM_TEXT_MAX];

	for (const struct param *p = type->params; p && p->name && n < DATAPATH_PREF_MAX; p++)
		if (param_given(&pref->params, p))
			n += (size_t)snprintf(buf + n, DATAPATH_PREF_MAX - n, ":%s=%s", p->name,
					      param_print(&pref->params, p, text));
	return buf;
}

char *datapath_list_text(const struct datapath_list *list)
{
	char *text = calloc(VPF_MAX_DATAPATHS, DATAPATH_PREF_MAX);
	size_t n = 0;

	if (!text)
		return NULL;
	for (unsigned int i = 0; i < list->n; i++) {
		char pref[DATAPATH_PREF_MAX];

		n += (size_t)sprintf(text + n, "%s%s", n ? "," : "",
				     datapath_pref_text(&list->pref[i], pref));
	}
	return text;
}

bool datapath_list_equal(const struct datapath_list *a, const struct datapath_list *b)
{
	if (a->n != b->n)
		return false;
	for (unsigned int i = 0; i < a->n; i++)
		if (!datapath_pref_equal(&a->pref[i], &b->pref[i]))
			return false;
	return true;
}

int datapath_expand(const char *template, const char *pf, unsigned int fn, char ret[108], struct err *err)
{
	char buf[512], number[16];
	size_t n = 0;

	snprintf(number, sizeof(number), fn ? "%u" : "pf", fn - 1);
	for (const char *p = template; *p && n < 108;) {
		const char *value = !strncmp(p, "{pf}", 4) ? pf : !strncmp(p, "{vf}", 4) ? number : NULL;

		if (value) {
			n += (size_t)snprintf(buf + n, sizeof(buf) - n, "%s", value);
			p += 4;
		} else {
			buf[n++] = *p++;
		}
	}
	if (n >= 108)
		return err_set(err, EINVAL, FIELD,
			       "the path of the socket %.90s… is longer than %d bytes for %s", template, 107,
			       pf);
	memcpy(ret, buf, n);
	ret[n] = '\0';
	return 0;
}
