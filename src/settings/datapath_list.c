/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/datapath_list.h"

#include <stdio.h>
#include <string.h>

#include "settings/json_build.h"

#define FIELD "datapaths"

static const char *const type_names[DATAPATH_TYPES] = {
	[DATAPATH_BUILTIN] = "builtin",
	[DATAPATH_VHOST_NET] = "vhost-net",
	[DATAPATH_VHOST_USER] = "vhost-user",
	[DATAPATH_VDPA] = "vdpa",
};

/* Parameters: the same names in text and JSON. */
static const struct param {
	const char *key;
	unsigned int types;  /* bit by enum datapath_type: whose it is */
	size_t offset, size; /* of the text in struct datapath_pref; size 0: a bool */
} params[] = {
	{"path", 1U << DATAPATH_VHOST_USER, offsetof(struct datapath_pref, path),
	 sizeof(((struct datapath_pref *)0)->path)},
	{"device", 1U << DATAPATH_VDPA, offsetof(struct datapath_pref, path),
	 sizeof(((struct datapath_pref *)0)->path)},
	{"mgmtdev", 1U << DATAPATH_VDPA, offsetof(struct datapath_pref, mgmtdev),
	 sizeof(((struct datapath_pref *)0)->mgmtdev)},
	{"server", 1U << DATAPATH_VHOST_USER, offsetof(struct datapath_pref, server), 0},
	{"offload", 1U << DATAPATH_VHOST_USER, offsetof(struct datapath_pref, offload), 0},
};

const char *datapath_type_name(enum datapath_type type)
{
	return type_names[type];
}

static const struct param *find_param(const char *key, size_t length)
{
	for (size_t i = 0; i < ARRAY_SIZE(params); i++)
		if (strlen(params[i].key) == length && !memcmp(params[i].key, key, length))
			return &params[i];
	return NULL;
}

static char *text_of(struct datapath_pref *pref, const struct param *p)
{
	return (char *)pref + p->offset;
}

static bool *bool_of(struct datapath_pref *pref, const struct param *p)
{
	return (bool *)((char *)pref + p->offset);
}

/* "path, server, offload" */
static const char *params_of(enum datapath_type type, char buf[64])
{
	size_t n = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(params); i++)
		if (params[i].types >> type & 1 && n < 64)
			n += (size_t)snprintf(buf + n, 64 - n, "%s%s", n ? ", " : "", params[i].key);
	return n ? buf : "none";
}

/* Whether a parameter begins at the colon: ":path=". A colon before anything else is the value's own. */
static bool param_begins(const char *colon, const char *end)
{
	const char *p = colon + 1;

	while (p < end && *p >= 'a' && *p <= 'z')
		p++;
	return p > colon + 1 && p < end && *p == '=';
}

static int find_type(const char *name, size_t length, enum datapath_type *ret, struct err *err)
{
	for (unsigned int i = 0; i < DATAPATH_TYPES; i++)
		if (strlen(type_names[i]) == length && !memcmp(type_names[i], name, length)) {
			*ret = (enum datapath_type)i;
			return 0;
		}
	if (!length)
		return err_set(
			err, EINVAL, FIELD,
			"has an empty preference: write them with one comma between, such as vhost-net,builtin");
	return err_set(err, EINVAL, FIELD,
		       "there is no datapath %.*s: there are builtin, vhost-net, vhost-user and vdpa",
		       (int)MIN(length, (size_t)40), name);
}

/* What a text must be so that datapath_list_text() can be read again, and to be a name at all. */
static int set_text(struct datapath_pref *pref, const struct param *p, const char *value, size_t length,
		    struct err *err)
{
	const char *type = type_names[pref->type];

	if (!length)
		return err_set(err, EINVAL, FIELD, "%s of %s is empty: give it a value, or leave it out",
			       p->key, type);
	if (length >= p->size)
		return err_set(err, EINVAL, FIELD, "%s of %s has %zu bytes: at most %zu fit", p->key, type,
			       length, p->size - 1);
	for (size_t i = 0; i < length; i++) {
		if ((unsigned char)value[i] < ' ' || value[i] == 0x7f)
			return err_set(err, EINVAL, FIELD, "%s of %s has a control character in it", p->key,
				       type);
		if (value[i] == ',')
			return err_set(err, EINVAL, FIELD,
				       "%s of %s has a comma in it, which ends a preference", p->key, type);
		if (value[i] == ':' && param_begins(value + i, value + length))
			return err_set(err, EINVAL, FIELD,
				       "%s of %s has :KEY= in it, which begins the next parameter", p->key,
				       type);
	}
	memcpy(text_of(pref, p), value, length);
	text_of(pref, p)[length] = '\0';
	return 0;
}

/* A parameter that the type does not have would silently do nothing: refused. */
static int check_param(const struct datapath_pref *pref, const struct param *p, const char *key,
		       size_t length, struct err *err)
{
	char known[64];

	if (p && p->types >> pref->type & 1)
		return 0;
	return err_set(err, EINVAL, FIELD, "%s has no parameter %.*s: those it has are %s",
		       type_names[pref->type], (int)MIN(length, (size_t)40), key,
		       params_of(pref->type, known));
}

static int check_path(const char *path, struct err *err)
{
	if (path[0] != '/')
		return err_set(
			err, EINVAL, FIELD,
			"vhost-user needs path=, the absolute path of the back-end's socket, in which {pf} and {vf} stand for the function's names");
	for (const char *p = path; (p = strpbrk(p, "{}")); p += 4)
		if (strncmp(p, "{pf}", 4) != 0 && strncmp(p, "{vf}", 4) != 0)
			return err_set(err, EINVAL, FIELD,
				       "path of vhost-user may have no braces but those of {pf} and {vf}");
	return 0;
}

static int check_pref(const struct datapath_pref *pref, struct err *err)
{
	switch (pref->type) {
	case DATAPATH_VHOST_USER:
		return check_path(pref->path, err);
	case DATAPATH_VDPA:
		if (!pref->path[0] && !pref->mgmtdev[0])
			return err_set(
				err, EINVAL, FIELD,
				"vdpa needs device= (which existing vDPA devices may be used, such as vdpa*), mgmtdev= (management devices on which one may be made), or both");
		return 0;
	default:
		return 0;
	}
}

bool datapath_pref_equal(const struct datapath_pref *a, const struct datapath_pref *b)
{
	return a->type == b->type && !strcmp(a->path, b->path) && !strcmp(a->mgmtdev, b->mgmtdev) &&
	       a->server == b->server && a->offload == b->offload;
}

/* Twice the same is of no use, and two views of one socket are a mistake. */
static bool pref_same_thing(const struct datapath_pref *a, const struct datapath_pref *b)
{
	return a->type == b->type && !strcmp(a->path, b->path) && !strcmp(a->mgmtdev, b->mgmtdev);
}

/* The finished preference to the end of the list. */
static int add_pref(struct datapath_list *list, const struct datapath_pref *pref, struct err *err)
{
	char text[256];
	int r;

	r = check_pref(pref, err);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < list->n; i++)
		if (pref_same_thing(&list->pref[i], pref))
			return err_set(err, EINVAL, FIELD, "has %.180s twice: once is enough",
				       datapath_pref_text(pref, text));
	if (list->n == VPF_MAX_DATAPATHS)
		return err_set(err, EINVAL, FIELD, "has more than %d preferences", VPF_MAX_DATAPATHS);
	list->pref[list->n++] = *pref;
	return 0;
}

static int parse_bool(const char *value, size_t length, const char *key, bool *ret, struct err *err)
{
	bool on = length == 2 && !memcmp(value, "on", 2);

	if (!on && !(length == 3 && !memcmp(value, "off", 3)))
		return err_set(err, EINVAL, FIELD, "%s must be on or off, not %.*s", key,
			       (int)MIN(length, (size_t)40), value);
	*ret = on;
	return 0;
}

static int parse_pref(const char *text, const char *end, struct datapath_pref *ret, struct err *err)
{
	const char *colon = memchr(text, ':', (size_t)(end - text));
	const char *name_end = colon ? colon : end;
	unsigned int seen = 0;
	int r;

	*ret = (struct datapath_pref){0};
	r = find_type(text, (size_t)(name_end - text), &ret->type, err);
	if (r < 0)
		return r;
	while (colon) {
		const char *key = colon + 1, *value;
		const struct param *p;
		size_t key_length, length;

		if (!param_begins(colon, end))
			return err_set(err, EINVAL, FIELD,
				       "after %s: there must be KEY=VALUE behind a colon, not %.*s",
				       type_names[ret->type], (int)MIN(end - key, 40), key);
		value = memchr(key, '=', (size_t)(end - key));
		value++;
		key_length = (size_t)(value - 1 - key);
		for (colon = value; colon < end && !(*colon == ':' && param_begins(colon, end)); colon++)
			;
		length = (size_t)(colon - value);
		if (colon == end)
			colon = NULL;
		p = find_param(key, key_length);
		r = check_param(ret, p, key, key_length, err);
		if (r < 0)
			return r;
		if (seen >> (p - params) & 1)
			return err_set(err, EINVAL, FIELD, "%s of %s is given twice", p->key,
				       type_names[ret->type]);
		seen |= 1U << (p - params);
		r = p->size ? set_text(ret, p, value, length, err)
			    : parse_bool(value, length, p->key, bool_of(ret, p), err);
		if (r < 0)
			return r;
	}
	return 0;
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
	if (r < 0)
		return r;
	/* jansson's iterators take a mutable object, which they do not change. */
	json_object_foreach ((json_t *)o, key, v) {
		const struct param *p = find_param(key, strlen(key));

		if (v == type)
			continue;
		r = check_param(ret, p, key, strlen(key), err);
		if (r < 0)
			return r;
		if (p->size ? !json_is_string(v) : !json_is_boolean(v))
			return err_set(err, EINVAL, FIELD, "%s of %s must be %s", p->key,
				       type_names[ret->type], p->size ? "a string" : "true or false");
		if (p->size)
			r = set_text(ret, p, json_string_value(v), json_string_length(v), err);
		else
			*bool_of(ret, p) = json_is_true(v);
		if (r < 0)
			return r;
	}
	return 0;
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
		struct datapath_pref pref = list->pref[i];
		json_t *o = json_pack("{s:s}", "type", type_names[pref.type]);

		for (size_t k = 0; k < ARRAY_SIZE(params); k++) {
			const struct param *p = &params[k];

			if (!(p->types >> pref.type & 1))
				continue;
			if (p->size && *text_of(&pref, p))
				json_put(&o, p->key, json_string(text_of(&pref, p)));
			else if (!p->size && *bool_of(&pref, p))
				json_put(&o, p->key, json_true());
		}
		json_add(&array, o);
	}
	return array;
}

const char *datapath_pref_text(const struct datapath_pref *pref, char buf[256])
{
	struct datapath_pref copy = *pref;
	int n = snprintf(buf, 256, "%s", type_names[pref->type]);

	for (size_t k = 0; k < ARRAY_SIZE(params) && n < 256; k++) {
		const struct param *p = &params[k];

		if (!(p->types >> pref->type & 1))
			continue;
		if (p->size && *text_of(&copy, p))
			n += snprintf(buf + n, (size_t)(256 - n), ":%s=%s", p->key, text_of(&copy, p));
		else if (!p->size && *bool_of(&copy, p))
			n += snprintf(buf + n, (size_t)(256 - n), ":%s=on", p->key);
	}
	return buf;
}

char *datapath_list_text(const struct datapath_list *list)
{
	char *text = calloc(VPF_MAX_DATAPATHS, 256);
	size_t n = 0;

	if (!text)
		return NULL;
	for (unsigned int i = 0; i < list->n; i++) {
		char pref[256];

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

int datapath_pref_path(const struct datapath_pref *pref, const char *pf, unsigned int fn, char ret[108],
		       struct err *err)
{
	char buf[VPF_DATAPATH_PARAM + 256], number[16];
	size_t n = 0;

	snprintf(number, sizeof(number), fn ? "%u" : "pf", fn - 1);
	for (const char *p = pref->path; *p && n < 108;) {
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
			       "the path of the socket %.90s… is longer than %d bytes for %s", pref->path,
			       107, pf);
	memcpy(ret, buf, n);
	ret[n] = '\0';
	return 0;
}
