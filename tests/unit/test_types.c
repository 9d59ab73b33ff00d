/* SPDX-License-Identifier: Apache-2.0 */

/* Types of fabrics and datapaths: that the table of each is what it must be, what is read by it and written by it, and
 * what is refused. Lists of datapaths as a whole are test_datapath_list.c's. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "datapath/datapath.h"
#include "fabric/bridge/params.h"
#include "fabric/provider.h"
#include "settings/datapath_json.h"
#include "settings/fabric_json.h"
#include "settings/validate.h"

struct odd_params {
	char path[12];
	bool fast;
	uint32_t depth;
};
PARAMS_OF(odd_params)

static const struct param odd[] = {
	{PARAM(odd_params, path), .what = "socket", .help = "x"},
	{PARAM(odd_params, fast), .help = "x"},
	{PARAM(odd_params, depth), .max = 1000, .help = "x"},
	{0},
};

static int set(struct params *p, const char *name, const char *text, struct err *err)
{
	return param_set(p, param_find(odd, name, strlen(name)), text, strlen(text), err);
}

static void kinds_of_parameters(void **state)
{
	static const struct {
		const char *name, *text, *printed;
	} good[] = {
		{"path", "/x", "/x"},      {"path", "", ""},       {"path", "/2345678901", "/2345678901"},
		{"fast", "on", "on"},      {"fast", "off", "off"}, {"fast", "", "off"},
		{"depth", "1000", "1000"}, {"depth", "007", "7"},  {"depth", "", "0"},
	};
	static const struct {
		const char *name, *text, *why;
	} bad[] = {
		{"path", "/23456789012", "has 12 bytes: at most 11 fit"},
		{"path", "a\tb", "control character"},
		{"path", "a\x7f", "control character"},
		{"fast", "yes", "must be on or off, not yes"},
		{"fast", "o", "must be on or off"},
		{"depth", "1001", "must be 0 to 1000"},
		{"depth", "99999999999999999999999", "must be 0 to 1000"},
		{"depth", "-1", "must be a number, not -1"},
		{"depth", "1 ", "must be a number"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct params a = {0};
		char text[PARAM_TEXT_MAX];

		assert_int_equal(set(&a, good[i].name, good[i].text, NULL), 0);
		assert_string_equal(
			param_print(&a, param_find(odd, good[i].name, strlen(good[i].name)), text),
			good[i].printed);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct params a = {0}, before;
		struct err err = {0};

		assert_int_equal(set(&a, "path", "/a", NULL), 0);
		assert_int_equal(set(&a, "fast", "on", NULL), 0);
		assert_int_equal(set(&a, "depth", "3", NULL), 0);
		before = a;
		assert_int_equal(set(&a, bad[i].name, bad[i].text, &err), -EINVAL);
		assert_string_equal(err.field, bad[i].name);
		if (!strstr(err.text, bad[i].why))
			fail_msg("%s %s: %s", bad[i].name, bad[i].text, err.text);
		assert_true(params_equal(&a, &before, odd));
	}
	assert_null(param_find(odd, "pat", 3));
	assert_null(param_find(odd, "pathx", 5));
	assert_null(param_find(NULL, "path", 4));
}

static void parameters_in_json(void **state)
{
	static const char *const bad[] = {
		"{\"path\": 1}",   "{\"path\": null}",   "{\"path\": \"123456789012\"}",
		"{\"fast\": 1}",   "{\"fast\": \"on\"}", "{\"depth\": 1001}",
		"{\"depth\": -1}", "{\"depth\": 1.0}",   "{\"path\": \"a\\u0000\"}"};
	struct params a = {0}, b = {0};
	json_t *o = json_object();

	(void)state;
	params_to_json(&a, odd, &o);
	assert_int_equal(json_object_size(o), 0); /* nothing is given */
	assert_int_equal(set(&a, "path", "/a", NULL), 0);
	assert_int_equal(set(&a, "fast", "on", NULL), 0);
	assert_int_equal(set(&a, "depth", "9", NULL), 0);
	params_to_json(&a, odd, &o);
	assert_int_equal(json_object_size(o), 3);
	for (const struct param *p = odd; p->name; p++) {
		assert_false(params_equal(&a, &b, odd));
		assert_int_equal(param_from_json(&b, p, json_object_get(o, p->name), NULL), 0);
		assert_true(param_equal(&a, &b, p));
	}
	assert_true(params_equal(&a, &b, odd));
	assert_string_equal(odd_params_of(&b)->path, "/a");
	assert_int_equal(odd_params_of(&b)->depth, 9);
	json_decref(o);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *key;
		json_t *v;

		o = json_loads(bad[i], JSON_ALLOW_NUL, NULL);
		json_object_foreach (o, key, v)
			assert_int_equal(param_from_json(&b, param_find(odd, key, strlen(key)), v, NULL),
					 -EINVAL);
		assert_true(params_equal(&a, &b, odd));
		json_decref(o);
	}
}

/* What all code that goes by the tables relies on. */
static void check_table(const struct type *type)
{
	unsigned char used[VPF_PARAMS_SIZE] = {0};

	assert_true(*type->name && *type->help);
	for (const struct param *p = type->params; p && p->name; p++) {
		assert_int_equal(strspn(p->name, "abcdefghijklmnopqrstuvwxyz"), strlen(p->name));
		assert_ptr_equal(param_find(type->params, p->name, strlen(p->name)), p);
		assert_true(*p->help && p->help[strlen(p->help) - 1] != '.');
		assert_true(p->size <= PARAM_TEXT_MAX && p->offset + p->size <= VPF_PARAMS_SIZE);
		assert_true(p->kind == PARAM_TEXT ? p->what != NULL : p->form == PARAM_ANY);
		assert_true(p->kind != PARAM_NUMBER || p->max);
		for (size_t i = 0; i < p->size; i++)
			assert_int_equal(used[p->offset + i]++, 0);
	}
}

/* As long as it can be; what it says does not matter. */
static void check_longest(const struct type *type)
{
	struct datapath_pref pref = {.type = container_of(type, const struct datapath_type, base)};
	char text[DATAPATH_PREF_MAX];

	for (const struct param *p = type->params; p && p->name; p++) {
		char value[PARAM_TEXT_MAX];

		memset(value, 'x', p->size);
		if (p->kind == PARAM_TEXT)
			assert_int_equal(param_set(&pref.params, p, value, p->size - 1, NULL), 0);
		else if (p->kind == PARAM_SWITCH)
			assert_int_equal(param_set(&pref.params, p, "on", 2, NULL), 0);
	}
	assert_true(strlen(datapath_pref_text(&pref, text)) < DATAPATH_PREF_MAX - 1);
}

static void tables(void **state)
{
	char names[128];

	(void)state;
	for (unsigned int i = 0; fabric_types[i]; i++) {
		const struct fabric_type *type =
			fabric_type_find(fabric_types[i]->name, strlen(fabric_types[i]->name));
		struct datapath_list list;
		struct err err = {0};

		check_table(fabric_types[i]);
		assert_ptr_equal(&type->base, fabric_types[i]);
		assert_string_equal(fabric_ops_of(type)->type, type->base.name);
		if (datapath_list_parse(type->datapaths, &list, &err) < 0)
			fail_msg("type %s: its datapaths \"%s\": %s", type->base.name, type->datapaths,
				 err.text);
		assert_true(list.n);
	}
	for (unsigned int i = 0; datapath_types[i]; i++) {
		const struct datapath_type *type =
			datapath_type_find(datapath_types[i]->name, strlen(datapath_types[i]->name));

		check_table(datapath_types[i]);
		check_longest(datapath_types[i]);
		assert_ptr_equal(&type->base, datapath_types[i]);
		assert_non_null(datapath_ops_of(type));
	}
	assert_null(fabric_ops_of(NULL));
	assert_null(datapath_ops_of(NULL));
	assert_null(fabric_type_find("Bridge", 6));
	assert_null(fabric_type_find("bridge", 5));
	assert_null(datapath_type_find("", 0));
	assert_ptr_equal(fabric_type_default(), &fabric_type_builtin);
	assert_ptr_equal(datapath_type_of_control(), &datapath_type_builtin);
	assert_memory_equal(type_names(fabric_types, "or", names, sizeof(names)), "builtin", 7);
	assert_string_equal(type_names(datapath_types, "and", names, 10), "builtin, ");
}

static int read_fabric(const char *json, struct fabric_settings *s, struct err *err)
{
	static const struct json_field fields[] = {FABRIC_SETTINGS_FIELDS, {0}};
	json_t *o = json_loads(json, 0, NULL);
	int r;

	assert_non_null(o);
	r = json_fields_check(o, fields, "", err);
	if (!r)
		r = fabric_settings_read(o, s, err);
	if (!r)
		r = validate_fabric(s, err);
	json_decref(o);
	return r;
}

static void fabrics_in_json(void **state)
{
	static const struct {
		const char *json, *text; /* read upon the defaults; type_text() */
	} good[] = {
		{"{}", "builtin"},
		{"{\"type\": \"builtin\"}", "builtin"},
		{"{\"bridge\": \"\"}", "builtin"},
		{"{\"type\": \"bridge\", \"bridge\": \"br0\"}", "bridge br0"},
		{"{\"bridge\": \"a23456789012345\", \"type\": \"bridge\"}", "bridge a23456789012345"},
	};
	static const struct {
		const char *json, *field, *why;
	} bad[] = {
		{"{\"type\": \"lan\"}", "type", "must be builtin"},
		{"{\"type\": \"Bridge\"}", "type", "must be builtin"},
		{"{\"type\": null}", "type", "must be a string"},
		{"{\"type\": \"bridge\"}", "bridge", "must name the bridge"},
		{"{\"type\": \"bridge\", \"bridge\": \"\"}", "bridge", "must name the bridge"},
		{"{\"type\": \"bridge\", \"bridge\": \"br/0\"}", "bridge", "must name a network interface"},
		{"{\"type\": \"bridge\", \"bridge\": \"br\\n\"}", "bridge", "control character"},
		{"{\"type\": \"bridge\", \"bridge\": \"a234567890123456\"}", "bridge", "15"},
		{"{\"type\": \"bridge\", \"bridge\": 7}", "bridge", "must be a string"},
		{"{\"type\": \"bridge\", \"bridge\": \"b\", \"uplink\": {\"type\": \"netdev\", \"name\": \"b\"}}",
		 "uplink.name", "cannot be the bridge itself"},
		{"{\"bridge\": \"br0\"}", "bridge",
		 "belongs to a fabric of type bridge, not of type builtin"},
		{"{\"path\": \"/x\"}", "path", "is unknown"},
	};
	struct fabric_settings s;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct fabric_settings again;
		struct err err = {0};
		char text[64];
		json_t *o;

		fabric_settings_init(&s, "f");
		if (read_fabric(good[i].json, &s, &err) < 0)
			fail_msg("%s: %s: %s", good[i].json, err.field, err.text);
		assert_string_equal(type_text(&s.type->base, &s.params, text, sizeof(text)), good[i].text);
		o = fabric_settings_json(&s);
		fabric_settings_init(&again, "f");
		assert_int_equal(fabric_settings_read(o, &again, NULL), 0);
		json_decref(o);
		assert_ptr_equal(again.type, s.type);
		assert_true(params_equal(&again.params, &s.params, s.type->base.params));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = {0};

		fabric_settings_init(&s, "f");
		if (read_fabric(bad[i].json, &s, &err) != -EINVAL)
			fail_msg("%s is taken", bad[i].json);
		assert_string_equal(err.field, bad[i].field);
		if (!strstr(err.text, bad[i].why))
			fail_msg("%s: %s", bad[i].json, err.text);
	}
}

/* What is not named stays, but nothing of a type stays with another. */
static void fabric_changes_type(void **state)
{
	struct fabric_settings s;
	struct err err = {0};

	(void)state;
	fabric_settings_init(&s, "f");
	assert_int_equal(read_fabric("{\"type\": \"bridge\", \"bridge\": \"br0\"}", &s, NULL), 0);
	assert_int_equal(read_fabric("{\"ageing\": 5}", &s, NULL), 0);
	assert_string_equal(bridge_name(&s), "br0");
	assert_int_equal(read_fabric("{\"type\": \"bridge\"}", &s, NULL), 0);
	assert_string_equal(bridge_name(&s), "br0");
	assert_int_equal(read_fabric("{\"type\": \"builtin\"}", &s, NULL), 0);
	assert_string_equal(bridge_name(&s), "");
	s.type = NULL;
	assert_int_equal(validate_fabric(&s, &err), -EINVAL);
	assert_string_equal(err.field, "type");
	assert_memory_equal(err.text, "must be builtin", 15);
}

/* Text and JSON of each type with all it takes, to the letter. */
static void datapaths_to_the_letter(void **state)
{
	static const struct {
		const char *text, *json;
	} cases[] = {
		{"builtin", "[{\"type\": \"builtin\"}]"},
		{"vhost-net", "[{\"type\": \"vhost-net\"}]"},
		{"vhost-user:path=/a/{vf}:server=on:offload=on",
		 "[{\"type\": \"vhost-user\", \"path\": \"/a/{vf}\", \"server\": true, \"offload\": true}]"},
		{"vhost-user:path=/a", "[{\"type\": \"vhost-user\", \"path\": \"/a\"}]"},
		{"vdpa:device=v*:mgmtdev=pci/0000:3b:00.2",
		 "[{\"type\": \"vdpa\", \"device\": \"v*\", \"mgmtdev\": \"pci/0000:3b:00.2\"}]"},
		{"vdpa:mgmtdev=vduse", "[{\"type\": \"vdpa\", \"mgmtdev\": \"vduse\"}]"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct datapath_list list;
		char text[DATAPATH_PREF_MAX], *json;
		json_t *o;

		assert_int_equal(datapath_list_parse(cases[i].text, &list, NULL), 0);
		o = datapath_list_to_json(&list);
		json = json_dumps(o, 0);
		assert_string_equal(json, cases[i].json);
		free(json);
		list = (struct datapath_list){0};
		assert_int_equal(datapath_list_from_json(o, &list, NULL), 0);
		json_decref(o);
		assert_int_equal(list.n, 1);
		assert_string_equal(datapath_pref_text(&list.pref[0], text), cases[i].text);
	}
}

static const json_t *row_named(const json_t *rows, const char *name)
{
	for (size_t i = 0; i < json_array_size(rows); i++)
		if (!strcmp(json_string_value(json_object_get(json_array_get(rows, i), "name")), name))
			return json_array_get(rows, i);
	fail_msg("there is no row %s", name);
	return NULL;
}

static const char *doc_of(const json_t *rows, const char *name)
{
	return json_string_value(json_object_get(row_named(rows, name), "doc"));
}

/* What the API's help says of types. */
static void described(void **state)
{
	static const struct json_field fabric[] = {FABRIC_SETTINGS_FIELDS, {0}};
	json_t *rows = json_fields_describe(datapath_json_fields);
	const json_t *type = row_named(rows, "type");

	(void)state;
	assert_true(json_array_size(rows) >= 6);
	assert_true(json_is_true(json_object_get(type, "required")));
	assert_string_equal(json_string_value(json_array_get(json_object_get(type, "choices"), 2)),
			    "vhost-user");
	assert_non_null(strstr(
		doc_of(rows, "type"),
		"builtin: vpfd's workers; vhost-net: the kernel's, on a bridge; vhost-user: another back-end; vdpa: a kernel vhost-vdpa device"));
	assert_string_equal(doc_of(rows, "server"),
			    "vhost-user: vpfd listens and the back-end connects (default false)");
	assert_string_equal(json_string_value(json_object_get(row_named(rows, "server"), "type")), "boolean");
	json_decref(rows);

	rows = json_fields_describe(fabric);
	assert_true(json_is_false(json_object_get(row_named(rows, "type"), "required")));
	assert_non_null(strstr(doc_of(rows, "type"), "builtin: vpfd's own switch; bridge: "));
	assert_non_null(strstr(doc_of(rows, "type"), " (default builtin); fixed"));
	assert_memory_equal(doc_of(rows, "bridge"), "type bridge: its netdev", 23);
	assert_non_null(strstr(doc_of(rows, "bridge"), "; fixed"));
	json_decref(rows);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds_of_parameters),
		cmocka_unit_test(parameters_in_json),
		cmocka_unit_test(tables),
		cmocka_unit_test(fabrics_in_json),
		cmocka_unit_test(fabric_changes_type),
		cmocka_unit_test(datapaths_to_the_letter),
		cmocka_unit_test(described),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
