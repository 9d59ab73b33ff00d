/* SPDX-License-Identifier: Apache-2.0 */

/* Values and their texts: MACs, VLAN sets, the keyed hash behind generated MACs, the tables of JSON objects. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "settings/fabric_json.h"
#include "settings/function_fields.h"
#include "settings/json_fields.h"
#include "settings/mac.h"
#include "settings/pf_fields.h"
#include "settings/settings.h"
#include "settings/validate.h"
#include "settings/vlan_set.h"
#include "settings_same.h"
#include "util/siphash.h"
#include "vpf/control.h"

/* From the authors' reference: key 00…0f, messages 00…, of 0, 1, 8 and 15 bytes. */
static void siphash_reference(void **state)
{
	uint8_t key[16], message[16];

	(void)state;
	for (uint8_t i = 0; i < 16; i++)
		key[i] = message[i] = i;
	assert_int_equal(siphash24(key, message, 0), 0x726fdb47dd0e0e31);
	assert_int_equal(siphash24(key, message, 1), 0x74f839c593dc67fd);
	assert_int_equal(siphash24(key, message, 8), 0x93f5f5799a932462);
	assert_int_equal(siphash24(key, message, 15), 0xa129ca6149be45e5);
}

static void mac_text(void **state)
{
	static const char *const bad[] = {
		"",
		"02:00:00:00:00",
		"02:00:00:00:00:0",
		"02:00:00:00:00:000",
		"02-00-00-00-00-00",
		"0g:00:00:00:00:00",
		"02:00:00:00:00:00 ",
		" 2:00:00:00:00:00",
		"02:00:00:00:00:00:00",
		"+2:00:00:00:00:00",
	};
	uint8_t mac[6] = {9, 9, 9, 9, 9, 9};
	char text[MAC_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(mac_parse(bad[i], mac));
	assert_int_equal(mac[0], 9); /* untouched */
	assert_true(mac_parse("02:aB:cD:00:7f:ff", mac));
	assert_string_equal(mac_format(mac, text), "02:ab:cd:00:7f:ff");
}

static void mac_counting(void **state)
{
	uint8_t mac[6] = {0x52, 0x54, 0, 0xff, 0xff, 0xfe}, next[6];
	char text[MAC_TEXT_MAX];

	(void)state;
	assert_true(mac_has_room(mac, 1));
	assert_false(mac_has_room(mac, 2));
	mac_add(mac, 1, next);
	assert_string_equal(mac_format(next, text), "52:54:00:ff:ff:ff");
}

static void mac_generated(void **state)
{
	uint8_t key[16] = {1}, other_key[16] = {2}, a[6], b[6];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "pf%d", i);
		mac_generate(key, name, 0, a);
		assert_int_equal(a[0] & 0x0f, 2); /* unicast, locally administered */
		assert_int_equal(a[5], 0);
		assert_true(mac_has_room(a, VPF_MAX_VFS));
		mac_generate(key, name, 0, b);
		assert_memory_equal(a, b, 6);
		mac_generate(key, name, 1, b);
		assert_memory_not_equal(a, b, 6);
		mac_generate(other_key, name, 0, b);
		assert_memory_not_equal(a, b, 6);
	}
}

static void vlan_sets(void **state)
{
	static const struct {
		const char *text, *canonical; /* NULL: refused */
	} cases[] = {
		{"0", "0"},
		{"4094", "4094"},
		{"0,10-20,30", "0,10-20,30"},
		{"30,10-20,0,15-25", "0,10-25,30"},
		{"1,2", "1,2"},
		{"1,2,3", "1-3"},
		{"0-4094", "0-4094"},
		{"007", "7"},
		{"", NULL},
		{",", NULL},
		{"1,", NULL},
		{"-5", NULL},
		{"5-", NULL},
		{"20-10", NULL},
		{"4095", NULL},
		{"0-4095", NULL},
		{"99999999999", NULL},
		{"1 ,2", NULL},
		{"0x10", NULL},
	};
	char text[VLAN_SET_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t set[64] = {42};
		struct err err = {0};

		if (cases[i].canonical) {
			assert_int_equal(vlan_set_parse(cases[i].text, "vids", set, &err), 0);
			assert_string_equal(vlan_set_format(set, text), cases[i].canonical);
		} else {
			assert_int_equal(vlan_set_parse(cases[i].text, "vids", set, &err), -EINVAL);
			assert_string_equal(err.field, "vids");
			assert_int_equal(set[0], 42);
		}
	}
}

static void vlan_set_longest(void **state)
{
	uint64_t set[64], back[64];
	char text[VLAN_SET_TEXT_MAX];

	(void)state;
	for (int i = 0; i < 64; i++)
		set[i] = 0x5555555555555555;
	vlan_set_format(set, text);
	assert_int_equal(vlan_set_parse(text, "vids", back, NULL), 0);
	assert_memory_equal(set, back, sizeof(set));
}

static const struct json_field nested_fields[] = {
	{.name = "n", .kind = JSON_KIND_INT, .flags = JSON_REQUIRED, .min = 1, .max = 5},
	{0},
};
static const char *const colours[] = {"red", "green", NULL};
static const struct json_field fields[] = {
	{.name = "name", .kind = JSON_KIND_STRING, .flags = JSON_REQUIRED, .min = 1, .max = 4},
	{.name = "on", .kind = JSON_KIND_BOOL},
	{.name = "mac", .kind = JSON_KIND_MAC},
	{.name = "nested", .kind = JSON_KIND_OBJECT, .fields = nested_fields},
	{.name = "maybe", .kind = JSON_KIND_INT, .flags = JSON_NULLABLE, .min = -1, .max = 1},
	{.name = "colour", .kind = JSON_KIND_STRING, .choices = colours},
	{.name = "colours", .kind = JSON_KIND_ARRAY, .min = 1, .max = 2, .choices = colours},
	{.name = "items", .kind = JSON_KIND_ARRAY, .max = 3, .fields = nested_fields},
	{0},
};

static void json_tables(void **state)
{
	static const struct {
		const char *json, *field; /* NULL: right */
	} cases[] = {
		{"{\"name\": \"a\"}", NULL},
		{"{\"name\": \"a\", \"on\": false, \"mac\": \"02:00:00:00:00:01\", \"nested\": {\"n\": 5}, "
		 "\"maybe\": null, \"colour\": \"red\", \"colours\": [\"green\", \"red\"], \"items\": "
		 "[{\"n\": 1}]}",
		 NULL},
		{"{}", "name"},
		{"[]", ""},
		{"{\"name\": \"\"}", "name"},
		{"{\"name\": \"abcde\"}", "name"},
		{"{\"name\": 1}", "name"},
		{"{\"name\": null}", "name"},
		{"{\"name\": \"a\", \"more\": 1}", "more"},
		{"{\"name\": \"a\", \"on\": 1}", "on"},
		{"{\"name\": \"a\", \"on\": \"true\"}", "on"},
		{"{\"name\": \"a\", \"mac\": \"zz\"}", "mac"},
		{"{\"name\": \"a\", \"nested\": 3}", "nested"},
		{"{\"name\": \"a\", \"nested\": {}}", "nested.n"},
		{"{\"name\": \"a\", \"nested\": {\"n\": 6}}", "nested.n"},
		{"{\"name\": \"a\", \"nested\": {\"n\": 0}}", "nested.n"},
		{"{\"name\": \"a\", \"nested\": {\"n\": 1.0}}", "nested.n"},
		{"{\"name\": \"a\", \"nested\": {\"n\": 1, \"x\": 1}}", "nested.x"},
		{"{\"name\": \"a\", \"maybe\": 2}", "maybe"},
		{"{\"name\": \"a\", \"colour\": \"blue\"}", "colour"},
		{"{\"name\": \"a\", \"colours\": []}", "colours"},
		{"{\"name\": \"a\", \"colours\": [\"red\", 1]}", "colours[1]"},
		{"{\"name\": \"a\", \"colours\": [\"red\", \"blue\"]}", "colours[1]"},
		{"{\"name\": \"a\", \"colours\": [\"red\", \"red\", \"red\"]}", "colours"},
		{"{\"name\": \"a\", \"items\": [{\"n\": 1}, {\"n\": true}]}", "items[1].n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *o = json_loads(cases[i].json, 0, NULL);
		struct err err = {0};
		int r = json_fields_check(o, fields, "", &err);

		assert_non_null(o);
		assert_int_equal(r, cases[i].field ? -EINVAL : 0);
		if (cases[i].field) {
			assert_string_equal(err.field, cases[i].field);
			assert_true(err.text[0]);
		}
		json_decref(o);
	}
}

/* A name as long as an error's field, and then some. */
static void json_long_names(void **state)
{
	json_t *o = json_object();
	struct err err = {0};
	char name[1000];

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	json_object_set_new(o, name, json_true());
	assert_int_equal(json_fields_check(o, fields, "prefix", &err), -EINVAL);
	assert_true(strlen(err.field) < sizeof(err.field));
	assert_memory_equal(err.field, "prefix.xxx", 10);
	json_decref(o);
}

static bool two_rows(unsigned int i, struct json_made *ret)
{
	ret->field = (struct json_field){
		.name = i ? "second" : "first", .kind = JSON_KIND_STRING, .flags = i ? 0 : JSON_REQUIRED};
	if (i) {
		ret->choices[0] = "red";
		ret->choices[1] = NULL;
		ret->field.choices = ret->choices;
	}
	return i < 2;
}

/* Rows that are made are rows like all others, in their place. */
static void json_made_rows(void **state)
{
	static const struct json_field table[] =
		{
			{.name = "n", .kind = JSON_KIND_INT, .max = 3},
			{.make = two_rows},
			{.name = "on", .kind = JSON_KIND_BOOL},
			{0},
		},
				       only[] = {{.make = two_rows}, {0}};
	static const struct {
		const char *json, *field, *text;
	} cases[] = {
		{"{\"first\": \"x\"}", NULL, NULL},
		{"{\"n\": 3, \"first\": \"x\", \"second\": \"red\", \"on\": true}", NULL, NULL},
		{"{\"second\": \"red\"}", "first", "is missing"},
		{"{\"first\": 1}", "first", "must be a string"},
		{"{\"first\": \"\", \"second\": \"blue\"}", "second", "must be red"},
		{"{\"first\": \"\", \"third\": 1}", "third", "is unknown; known are n, first, second, on"},
	};
	json_t *list;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *o = json_loads(cases[i].json, 0, NULL);
		struct err err = {0};
		int r = json_fields_check(o, table, "", &err);

		assert_int_equal(r, cases[i].field ? -EINVAL : 0);
		if (cases[i].field) {
			assert_string_equal(err.field, cases[i].field);
			assert_string_equal(err.text, cases[i].text);
		}
		json_decref(o);
	}
	list = json_fields_describe(table);
	assert_int_equal(json_array_size(list), 4);
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 3), "name")), "on");
	json_decref(list);
	list = json_fields_describe(only);
	assert_int_equal(json_array_size(list), 2);
	json_decref(list);
}

static void vlan_members(void **state)
{
	static const struct {
		const char *json, *field;
	} cases[] = {
		{"{\"vlan\": {\"mode\": \"none\"}}", NULL},
		{"{\"vlan\": {\"mode\": \"access\", \"vid\": 7}}", NULL},
		{"{\"vlan\": {\"mode\": \"trunk\", \"vids\": \"1-3\"}}", NULL},
		{"{\"vlan\": {\"mode\": \"none\", \"vid\": 7}}", "vlan.vid"},
		{"{\"vlan\": {\"mode\": \"none\", \"pcp\": 1}}", "vlan.pcp"},
		{"{\"vlan\": {\"mode\": \"trunk\", \"vids\": \"1\", \"proto\": \"802.1q\"}}", "vlan.proto"},
		{"{\"vlan\": {\"mode\": \"access\"}}", "vlan.vid"},
		{"{\"vlan\": {\"mode\": \"access\", \"vid\": 7, \"vids\": \"1\"}}", "vlan.vids"},
		{"{\"vlan\": {\"mode\": \"trunk\"}}", "vlan.vids"},
		{"{\"vlan\": {\"mode\": \"trunk\", \"vids\": \"9-1\"}}", "vlan.vids"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *o = json_loads(cases[i].json, 0, NULL), *back;
		struct function_settings s;
		struct err err = {0};
		int r;

		function_settings_init(&s);
		r = function_settings_read(o, &s, &err);
		assert_int_equal(r, cases[i].field ? -EINVAL : 0);
		if (cases[i].field) {
			assert_string_equal(err.field, cases[i].field);
			assert_int_equal(s.vlan.mode, VLAN_NONE);
		} else {
			/* What was read is what is written. */
			struct function_settings again = s;

			back = fields_json(function_fields, &s);
			assert_int_equal(function_settings_read(back, &again, NULL), 0);
			assert_same_vlan(&s.vlan, &again.vlan);
			json_decref(back);
		}
		json_decref(o);
	}
}

static void policy_members(void **state)
{
	static const char longest[] = "02:00:00:00:00:00-02:00:00:00:00:ff";
	static const struct {
		const char *json, *field; /* NULL: right */
	} cases[] = {
		{"{\"vlans\": \"1,10-20,4094\"}", NULL},
		{"{\"vlans\": \"\"}", NULL},
		{"{\"macs\": \"list\", \"mac_list\": [\"02:00:00:00:00:01\", "
		 "\"06:00:00:00:00:00-06:00:00:00:00:ff\"]}",
		 NULL},
		{"{\"mac_list\": []}", NULL},
		{"{\"guest_control\": false, \"vlan_ad\": true, \"trust\": true, \"spoofchk_off\": true, "
		 "\"max_vfs\": 0, \"max_rate\": 1000000, \"max_rate_total\": 1, \"driver_mac\": false, "
		 "\"max_driver_macs\": 0, \"promisc\": true}",
		 NULL},
		{"{\"vlans\": \"20-10\"}", "policy.vlans"},
		{"{\"vlans\": \"4095\"}", "policy.vlans"},
		{"{\"vlans\": \"all\"}", "policy.vlans"},
		{"{\"vlans\": 5}", "policy.vlans"},
		{"{\"macs\": \"some\"}", "policy.macs"},
		{"{\"mac_list\": \"02:00:00:00:00:01\"}", "policy.mac_list"},
		{"{\"mac_list\": [\"\"]}", "policy.mac_list[0]"},
		{"{\"mac_list\": [\"02:00:00:00:00:01\", 5]}", "policy.mac_list[1]"},
		{"{\"mac_list\": [\"02:00:00:00:00:01-\"]}", "policy.mac_list[0]"},
		{"{\"mac_list\": [\"02:00:00:00:00:01-02:00:00:00:00:0g\"]}", "policy.mac_list[0]"},
		{"{\"mac_list\": [\"02:00:00:00:00:01+02:00:00:00:00:02\"]}", "policy.mac_list[0]"},
		{"{\"mac_list\": [\"02:00:00:00:00:01-02:00:00:00:00:020\"]}", "policy.mac_list[0]"},
		{"{\"max_vfs\": 256}", "policy.max_vfs"},
		{"{\"max_rate\": -1}", "policy.max_rate"},
		{"{\"max_rate_total\": 1000001}", "policy.max_rate_total"},
		{"{\"trust\": 1}", "policy.trust"},
	};
	static const struct json_field rows[] = {PF_SETTINGS_FIELDS, {0}};
	struct pf_settings s, again;
	json_t *list = json_array(), *o;
	bool has_mac = false;
	uint8_t mac[6];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {0};
		int r;

		o = json_pack("{s:o}", "policy", json_loads(cases[i].json, 0, NULL));
		assert_non_null(o);
		pf_settings_init(&s, "p");
		r = json_fields_check(o, rows, "", &err);
		if (!r)
			r = pf_settings_read(o, &s, mac, &has_mac, &err);
		if (r != (cases[i].field ? -EINVAL : 0) ||
		    strcmp(err.field, cases[i].field ? cases[i].field : "") != 0)
			fail_msg("%s: %d, %s: %s", cases[i].json, r, err.field, err.text);
		json_decref(o);
		if (r < 0)
			continue;
		/* What was read is what is written. */
		pf_settings_init(&again, "p");
		o = json_pack("{s:o}", "policy", fields_json(policy_fields, &s.policy));
		assert_int_equal(pf_settings_read(o, &again, mac, &has_mac, NULL), 0);
		assert_same_pf(&s, &again);
		json_decref(o);
	}

	/* As many ranges as there can be, and one more. */
	for (int i = 0; i < VPF_MAX_POLICY_MACS; i++)
		json_array_append_new(list, json_string(longest));
	o = json_pack("{s:{s:O}}", "policy", "mac_list", list);
	assert_int_equal(json_fields_check(o, rows, "", NULL), 0);
	assert_int_equal(pf_settings_read(o, &s, mac, &has_mac, NULL), 0);
	assert_int_equal(s.policy.mac_ranges_n, VPF_MAX_POLICY_MACS);
	json_array_append_new(list, json_string(longest));
	assert_int_equal(json_fields_check(o, rows, "", NULL), -EINVAL);
	json_decref(o);
	json_decref(list);
}

static void vm_member(void **state)
{
	struct pf_settings s;
	bool has_mac = false;
	uint8_t mac[6];
	json_t *o = json_pack("{s:s}", "vm", "node7");

	(void)state;
	pf_settings_init(&s, "p");
	assert_string_equal(s.vm, "p");
	assert_int_equal(pf_settings_read(o, &s, mac, &has_mac, NULL), 0);
	assert_string_equal(s.vm, "node7");
	json_object_set_new(o, "vm", json_null());
	assert_int_equal(pf_settings_read(o, &s, mac, &has_mac, NULL), 0);
	assert_string_equal(s.vm, "p");
	json_decref(o);
}

/* The bits are those of the control channel's format. */
static void pinned_names(void **state)
{
	static const struct {
		const char *name;
		uint32_t bit, wire;
	} bits[] = {
		{"mac", SETTING_MAC, VPF_CTL_MAC},       {"vlan", SETTING_VLAN, VPF_CTL_VLAN},
		{"rate", SETTING_RATE, VPF_CTL_RATE},    {"spoofchk", SETTING_SPOOFCHK, VPF_CTL_SPOOFCHK},
		{"trust", SETTING_TRUST, VPF_CTL_TRUST}, {"link", SETTING_LINK, VPF_CTL_LINK},
	};
	uint32_t all = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++) {
		json_t *o = fields_json(function_fields, &(struct function_settings){.pinned = bits[i].bit});
		json_t *list = json_object_get(o, "pinned");
		struct function_settings s = {.pinned = SETTING_ALL};

		assert_int_equal(bits[i].bit, bits[i].wire);
		assert_int_equal(json_array_size(list), 1);
		assert_string_equal(json_string_value(json_array_get(list, 0)), bits[i].name);
		assert_int_equal(function_settings_read(o, &s, NULL), 0);
		assert_int_equal(s.pinned, bits[i].bit);
		all |= bits[i].bit;
		json_decref(o);
	}
	assert_int_equal(all, SETTING_ALL);
	assert_int_equal(SETTING_ALL, VPF_CTL_SETTINGS);
}

static void names(void **state)
{
	static const char *const good[] = {"a", "0", "pf0", "A_b.c-d", "x234567890123456789012345678901"};
	static const char *const bad[] = {"",
					  ".",
					  "..",
					  ".a",
					  "-a",
					  "_a",
					  "a/b",
					  "a b",
					  "ä",
					  "a\n",
					  "x2345678901234567890123456789012"};
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(validate_name(good[i], "name", NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(validate_name(bad[i], "name", &err), -EINVAL);
		assert_string_equal(err.field, "name");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(siphash_reference), cmocka_unit_test(mac_text),
		cmocka_unit_test(mac_counting),      cmocka_unit_test(mac_generated),
		cmocka_unit_test(vlan_sets),         cmocka_unit_test(vlan_set_longest),
		cmocka_unit_test(json_tables),       cmocka_unit_test(json_long_names),
		cmocka_unit_test(vlan_members),      cmocka_unit_test(names),
		cmocka_unit_test(policy_members),    cmocka_unit_test(vm_member),
		cmocka_unit_test(pinned_names),      cmocka_unit_test(json_made_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
