/* SPDX-License-Identifier: Apache-2.0 */

/* The tables of settings: no member is without a row, and each row sees, reads, writes and merges its member. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "settings/can.h"
#include "settings/function_fields.h"
#include "settings/pf_fields.h"
#include "settings_packed.h"

#define DATAPATHS "[{\"type\": \"vhost-user\", \"path\": \"/run/x.sock\", \"server\": true}]"

/* A value that is not the default, for each row. */
static const struct sample {
	const char *name, *json;
} function_samples[] =
	{
		{"mac", "\"02:00:00:00:00:07\""},
		{"vlan", "{\"mode\": \"access\", \"vid\": 7, \"pcp\": 3, \"proto\": \"802.1ad\"}"},
		{"spoofchk", "false"},
		{"trust", "true"},
		{"link", "\"disable\""},
		{"min_rate", "10"},
		{"max_rate", "1000000"},
		{"pinned", "[\"vlan\", \"link\"]"},
		{"datapaths", DATAPATHS},
		{"mtu", "1500"}, /* the PF's, but its own */
},
  pf_samples[] =
	  {
		  {"mtu", "9000"},          {"vm", "\"node7\""},  {"qmp", "\"/run/qmp.sock\""},
		  {"datapaths", DATAPATHS}, {"failback", "true"},
},
  policy_samples[] = {
	  {"guest_control", "false"},
	  {"vlans", "\"1,10-20,4094\""},
	  {"vlan_ad", "true"},
	  {"macs", "\"any\""},
	  {"mac_list", "[\"02:00:00:00:00:01\", \"06:00:00:00:00:00-06:00:00:00:00:ff\"]"},
	  {"trust", "true"},
	  {"spoofchk_off", "true"},
	  {"max_vfs", "3"},
	  {"max_rate", "5"},
	  {"max_rate_total", "6"},
	  {"driver_mac", "false"},
	  {"max_driver_macs", "64"},
	  {"promisc", "true"},
};

static const struct sample *sample_of(const struct sample *samples, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(samples[i].name, name))
			return &samples[i];
	fail_msg("a row without a sample: %s", name);
	return NULL;
}

/* `defaults`, `s` and `t` are of the table's structure, of that size. */
static void check_row(const struct json_field *rows, const struct json_field *row, const char *json,
		      const void *defaults, void *s, void *t, size_t size)
{
	json_t *value = json_loads(json, JSON_DECODE_ANY, NULL), *o = json_pack("{s:o}", row->name, value),
	       *difference;
	struct err err = {0};

	assert_non_null(o);
	memcpy(s, defaults, size);
	memcpy(t, defaults, size);
	assert_int_equal(json_fields_check(o, rows, "", &err), 0);
	assert_int_equal(fields_read(rows, o, "", s, &err), 0);
	assert_int_equal(fields_check(rows, s, "", &err), 0);

	/* It is seen, it alone, and written as it was read. */
	assert_false(fields_equal(rows, defaults, s));
	difference = fields_difference(rows, defaults, s);
	assert_int_equal(json_object_size(difference), 1);
	if (!json_equal(json_object_get(difference, row->name), value))
		fail_msg("%s is written as %s", row->name, json_dumps(difference, 0));
	assert_int_equal(fields_read(rows, difference, "", t, &err), 0);
	assert_true(fields_equal(rows, s, t));
	json_decref(difference);

	/* And back to the default. */
	difference = fields_difference(rows, s, defaults);
	assert_int_equal(json_object_size(difference), 1);
	assert_int_equal(fields_read(rows, difference, "", s, &err), 0);
	assert_true(fields_equal(rows, s, defaults));
	json_decref(difference);
	json_decref(o);
}

static void function_rows(void **state)
{
	struct function_settings defaults, s, t;

	(void)state;
	function_settings_init(&defaults);
	for (const struct json_field *row = function_fields; row->name; row++) {
		const struct sample *sample =
			sample_of(function_samples, ARRAY_SIZE(function_samples), row->name);

		check_row(function_fields, row, sample->json, &defaults, &s, &t, sizeof(s));
	}
}

static void pf_rows(void **state)
{
	struct pf_settings defaults, s, t;

	(void)state;
	pf_settings_init(&defaults, "p");
	for (const struct json_field *row = pf_fields; row->name; row++) {
		if (!row->field || row->fields == policy_fields) /* the MAC; what the next test has */
			continue;
		check_row(pf_fields, row, sample_of(pf_samples, ARRAY_SIZE(pf_samples), row->name)->json,
			  &defaults, &s, &t, sizeof(s));
	}
}

static void policy_rows(void **state)
{
	struct pf_settings defaults, s, t;
	json_t *difference;

	(void)state;
	pf_settings_init(&defaults, "p");
	for (const struct json_field *row = policy_fields; row->name; row++) {
		check_row(policy_fields, row,
			  sample_of(policy_samples, ARRAY_SIZE(policy_samples), row->name)->json,
			  &defaults.policy, &s.policy, &t.policy, sizeof(s.policy));
		/* As part of the virtual PF's settings, in which the policy is one member. */
		s = t = defaults;
		difference = json_pack(
			"{s:o}", row->name,
			json_loads(sample_of(policy_samples, ARRAY_SIZE(policy_samples), row->name)->json,
				   JSON_DECODE_ANY, NULL));
		assert_int_equal(fields_read(policy_fields, difference, "policy", &s.policy, NULL), 0);
		json_decref(difference);
		assert_false(fields_equal(pf_fields, &defaults, &s));
		difference = fields_difference(pf_fields, &defaults, &s);
		assert_int_equal(json_object_size(difference), 1);
		assert_int_equal(json_object_size(json_object_get(difference, "policy")),
				 ARRAY_SIZE(policy_samples));
		assert_int_equal(fields_read(pf_fields, difference, "", &t, NULL), 0);
		assert_true(fields_equal(pf_fields, &s, &t));
		json_decref(difference);
	}
}

/* What a guest may ask for. */
static void guest(void **state)
{
	struct function_settings now, wanted, merged;
	json_t *o = json_object(), *asked;

	(void)state;
	function_settings_init(&now);
	function_settings_init(&wanted);
	for (size_t i = 0; i < ARRAY_SIZE(function_samples); i++)
		json_object_set_new(o, function_samples[i].name,
				    json_loads(function_samples[i].json, JSON_DECODE_ANY, NULL));
	assert_int_equal(fields_read(function_fields, o, "", &wanted, NULL), 0);
	json_decref(o);
	assert_int_equal(fields_guest_changes(function_fields, &now, &now), 0);
	assert_int_equal(fields_guest_changes(function_fields, &now, &wanted), SETTING_ALL);
	for (uint32_t bit = 1; bit & SETTING_ALL; bit <<= 1) {
		merged = now;
		fields_guest_merge(function_fields, bit, &wanted, &merged);
		assert_int_equal(fields_guest_changes(function_fields, &now, &merged), bit);
		assert_int_equal(fields_guest_changes(function_fields, &wanted, &merged), SETTING_ALL & ~bit);
		asked = fields_guest_json(function_fields, bit, &wanted);
		o = fields_difference(function_fields, &now, &merged);
		assert_true(json_equal(asked, o));
		json_decref(asked);
		json_decref(o);
	}
	/* And not what is the host's. */
	merged = now;
	fields_guest_merge(function_fields, UINT32_MAX, &wanted, &merged);
	assert_int_equal(merged.pinned, 0);
	assert_int_equal(merged.datapaths.n, 0);
	assert_false(merged.own_mtu);
}

/* Each ability is of one row, and says what it means. */
static void needs(void **state)
{
	struct function_settings s;
	struct pf_policy p = {0};

	(void)state;
	for (uint32_t can = 1; can <= CAN_CONTROL; can <<= 1) {
		const struct field_need *a = fields_need_of(function_fields, can),
					*b = fields_need_of(policy_fields, can);

		assert_true(!a != !b);
		a = a ? a : b;
		assert_true(a->field && *a->field && a->what && *a->what && a->remedy && *a->remedy);
	}
	function_settings_init(&s);
	assert_int_equal(fields_needs(function_fields, &s), CAN_SPOOFCHK);
	s.spoofchk = false;
	assert_int_equal(fields_needs(function_fields, &s), CAN_NO_SPOOFCHK);
	s.admin_mac[5] = 1;
	s.trust = true;
	s.link = LINK_ENABLE;
	s.min_rate = 1;
	s.max_rate = 1U << 16;
	s.vlan = (struct vlan_settings){.mode = VLAN_TRUNK};
	assert_int_equal(fields_needs(function_fields, &s), CAN_NO_SPOOFCHK | CAN_ADMIN_MAC | CAN_TRUST |
								    CAN_LINK | CAN_MIN_RATE | CAN_MAX_RATE |
								    CAN_TRUNK);
	assert_int_equal(fields_needs(policy_fields, &p), 0);
	p.guest_control = true;
	p.max_rate_total = 1;
	assert_int_equal(fields_needs(policy_fields, &p), CAN_CONTROL | CAN_TOTAL_RATE);
}

static void ranges(void **state)
{
	static const struct {
		struct function_settings s;
		const char *field, *says;
	} cases[] = {
		{{.link = (enum link_mode)3, .mtu = 1500}, "link", "must be auto, enable or disable"},
		{{.min_rate = VPF_MAX_RATE + 1, .mtu = 1500}, "min_rate", "must be 0 to 1000000 Mb/s"},
		{{.pinned = SETTING_ALL + 1, .mtu = 1500},
		 "pinned",
		 "must be any of mac, vlan, rate, spoofchk, trust or link"},
		{{.mtu = 67}, "mtu", "must be 68 to 9216 bytes"},
		{{.vlan = {.mode = (enum vlan_mode)3}, .mtu = 1500}, "vlan.mode", "must be none"},
	};
	struct pf_settings pf;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(fields_check(function_fields, &cases[i].s, "", &err), -EINVAL);
		assert_string_equal(err.field, cases[i].field);
		assert_non_null(strstr(err.text, cases[i].says));
	}
	pf_settings_init(&pf, "p");
	pf.policy.max_vfs = 256;
	assert_int_equal(fields_check(pf_fields, &pf, "", &err), -EINVAL);
	assert_string_equal(err.field, "policy.max_vfs");
	assert_string_equal(err.text, "must be 0 to 255");
}

/* A table may hold the rows of another one. */
static void rows_of_rows(void **state)
{
	static const struct json_field inner[] = {
		{.name = "b", .kind = JSON_KIND_INT, .flags = JSON_REQUIRED, .max = 3},
		{.name = "c", .kind = JSON_KIND_BOOL},
		{0},
	};
	static const struct json_field outer[] = {
		{.name = "a", .kind = JSON_KIND_BOOL},
		JSON_ROWS(inner),
		{.name = "d", .kind = JSON_KIND_BOOL},
		{0},
	};
	static const struct {
		const char *json, *field, *says;
	} cases[] = {
		{"{\"a\": true, \"b\": 3, \"c\": true, \"d\": true}", NULL, NULL},
		{"{\"b\": 4}", "b", "from 0 to 3"},
		{"{\"b\": 3, \"c\": 1}", "c", "true or false"},
		{"{\"a\": true, \"d\": true}", "b", "is missing"},
		{"{\"b\": 3, \"\": 1}", "", "known are a, b, c, d"},
		{"{\"b\": 3, \"e\": 1}", "e", "known are a, b, c, d"},
	};
	json_t *list = json_fields_describe(outer);
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *o = json_loads(cases[i].json, 0, NULL);

		assert_int_equal(json_fields_check(o, outer, "", &err), cases[i].field ? -EINVAL : 0);
		if (cases[i].field) {
			assert_string_equal(err.field, cases[i].field);
			assert_non_null(strstr(err.text, cases[i].says));
		}
		json_decref(o);
	}
	assert_int_equal(json_array_size(list), 4);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(json_string_value(json_object_get(json_array_get(list, i), "name"))[0],
				 "abcd"[i]);
	json_decref(list);
}

/* Bytes that the rows are of. No two share one. */
static size_t bytes_of(const struct json_field *rows)
{
	size_t n = 0;

	for (const struct json_field *a = rows; a->name; a++) {
		if (!a->field)
			continue;
		n += a->field->kind == &field_object ? bytes_of(a->fields) : a->field->size;
		for (const struct json_field *b = rows; b < a; b++)
			assert_true(!b->field || b->field->offset + b->field->size <= a->field->offset ||
				    a->field->offset + a->field->size <= b->field->offset);
	}
	return n;
}

#define BYTES(type, member) sizeof(((struct type *)0)->member)

/* Rows are of all members. */
static void all_members(void **state)
{
	(void)state;
	/* But those from the PF. Its VLAN's own members have a test below. */
	assert_int_equal(bytes_of(function_fields) - sizeof(struct vlan_settings) +
				 BYTES(function_settings, mac) + BYTES(function_settings, failback),
			 packed_function - packed_vlan);
	/* But those that are fixed when it is added. */
	assert_int_equal(bytes_of(pf_fields) + BYTES(pf_settings, name) + BYTES(pf_settings, fabric) +
				 BYTES(pf_settings, vfs) + BYTES(pf_settings, queue_pairs) +
				 BYTES(pf_settings, spoofchk),
			 packed_pf);
	assert_int_equal(BYTES(vlan_settings, mode) + BYTES(vlan_settings, vid) + BYTES(vlan_settings, pcp) +
				 BYTES(vlan_settings, tpid) + BYTES(vlan_settings, trunk),
			 packed_vlan);
}

/* Every byte of a VLAN that the mode looks at is compared. */
static void vlan_members(void **state)
{
	static const struct vlan_settings bases[] = {
		{.mode = VLAN_ACCESS, .vid = 0x101, .pcp = 1, .tpid = 0x8100},
		{.mode = VLAN_TRUNK, .trunk = {1}},
	};
	struct function_settings a, b;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		const struct {
			size_t offset, size;
		} access[] = {{offsetof(struct vlan_settings, vid), 2},
			      {offsetof(struct vlan_settings, pcp), 1},
			      {offsetof(struct vlan_settings, tpid), 2},
			      {offsetof(struct vlan_settings, mode), 1}},
		  trunk[] = {{offsetof(struct vlan_settings, trunk), 512}};
		size_t n = bases[i].mode == VLAN_ACCESS ? ARRAY_SIZE(access) : ARRAY_SIZE(trunk);

		function_settings_init(&a);
		a.vlan = bases[i];
		for (size_t k = 0; k < n; k++) {
			size_t offset = bases[i].mode == VLAN_ACCESS ? access[k].offset : trunk[k].offset;
			size_t size = bases[i].mode == VLAN_ACCESS ? access[k].size : trunk[k].size;

			for (size_t at = offset; at < offset + size; at++) {
				b = a;
				((uint8_t *)&b.vlan)[at] ^= 1;
				assert_false(fields_equal(function_fields, &a, &b));
				assert_int_equal(fields_guest_changes(function_fields, &a, &b), SETTING_VLAN);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_members),  cmocka_unit_test(function_rows),
		cmocka_unit_test(pf_rows),      cmocka_unit_test(policy_rows),
		cmocka_unit_test(vlan_members), cmocka_unit_test(guest),
		cmocka_unit_test(needs),        cmocka_unit_test(ranges),
		cmocka_unit_test(rows_of_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
