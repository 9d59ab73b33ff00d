/* SPDX-License-Identifier: Apache-2.0 */

/* The API's methods: what they return and change, and what they refuse. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "api_client.h"

static int setup(void **state)
{
	return ac_setup(state, api_methods, AC_DEFERRED_US);
}

static void objects(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);
	json_t *o, *f;

	ac_populate(t, c);
	o = ac_result(t, c, "fabric.show", "\"name\": \"f0\"");
	assert_string_equal(ac_text(json_object_get(o, "uplink"), "name"), "tap0");
	assert_true(json_is_true(json_object_get(json_object_get(o, "uplink"), "carrier")));
	assert_string_equal(json_string_value(json_array_get(json_object_get(o, "pfs"), 0)), "pf0");
	assert_non_null(json_object_get(o, "uplink_stats"));
	json_decref(o);
	o = ac_result(t, c, "fabric.set", "\"name\": \"f0\", \"learning\": true");
	assert_true(json_is_true(json_object_get(o, "learning")));
	assert_string_equal(ac_text(json_object_get(o, "uplink"), "name"), "tap0"); /* not given: as before */
	json_decref(o);

	o = ac_result(t, c, "pf.show", "\"name\": \"pf0\"");
	assert_int_equal(json_array_size(json_object_get(o, "functions")), 3);
	f = json_array_get(json_object_get(o, "functions"), 2);
	assert_int_equal(ac_number(f, "vf"), 1);
	assert_string_equal(ac_text(f, "mac"), "02:00:00:00:00:12");
	assert_true(json_is_null(json_object_get(f, "admin_mac")));
	assert_true(json_is_null(json_object_get(f, "peer_pid")));
	assert_true(json_is_null(json_object_get(json_array_get(json_object_get(o, "functions"), 0), "vf")));
	json_decref(o);

	fake_dp_function(&t->dp, "pf0", 1)->connected = true;
	fake_dp_function(&t->dp, "pf0", 1)->filter =
		(struct rx_filter){.known = true, .unicast_n = 1, .unicast = {{2, 3, 4, 5, 6, 7}}};
	o = ac_result(t, c, "vf.show", "\"pf\": \"pf0\", \"vf\": 0");
	assert_int_equal(ac_number(o, "peer_pid"), 4711);
	f = json_object_get(json_object_get(o, "driver"), "unicast");
	assert_string_equal(json_string_value(json_array_get(f, 0)), "02:03:04:05:06:07");
	json_decref(o);
	o = ac_result(t, c, "pf.list", "");
	assert_int_equal(ac_number(json_array_get(o, 0), "connected"), 1);
	assert_null(json_object_get(json_array_get(o, 0), "functions"));
	json_decref(o);
	o = ac_result(t, c, "status", "");
	assert_int_equal(ac_number(o, "functions"), 3);
	assert_int_equal(ac_number(o, "connected"), 1);
	assert_int_equal(ac_number(o, "pid"), getpid());
	json_decref(o);
	fake_dp_function(&t->dp, "pf0", 1)->connected = false;

	o = ac_result(t, c, "fdb.show", "\"fabric\": \"f0\"");
	assert_string_equal(ac_text(json_array_get(o, 0), "vlan"), "any");
	assert_string_equal(ac_text(json_array_get(o, 0), "kind"), "learned");
	assert_int_equal(ac_number(json_array_get(o, 0), "age"), 7);
	json_decref(o);
	o = ac_result(t, c, "pf.qemu_args", "\"name\": \"pf0\", \"memory\": \"512M\", \"packed\": true");
	assert_true(json_array_size(json_object_get(o, "args")) > 10);
	json_decref(o);
	ac_done(t, c, "pf.del", "\"name\": \"pf0\"");
	ac_done(t, c, "fabric.del", "\"name\": \"f0\"");
	o = ac_result(t, c, "pf.list", "");
	assert_int_equal(json_array_size(o), 0);
	json_decref(o);
	ac_client_free(c);
}

static void vf_settings(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);
	struct function_settings *s;
	json_t *o;

	ac_populate(t, c);
	o = ac_result(t, c, "vf.set",
		      "\"pf\": \"pf0\", \"vf\": 1, \"mac\": \"02:00:00:00:00:99\", \"vlan\": {\"mode\": "
		      "\"access\", \"vid\": 9, "
		      "\"pcp\": 2, \"proto\": \"802.1ad\"}, \"spoofchk\": false, \"trust\": true, \"link\": "
		      "\"enable\", "
		      "\"mtu\": 1400");
	assert_string_equal(ac_text(o, "admin_mac"), "02:00:00:00:00:99");
	assert_string_equal(ac_text(json_object_get(o, "vlan"), "proto"), "802.1ad");
	json_decref(o);
	s = &fake_dp_function(&t->dp, "pf0", 2)->s;
	assert_int_equal(s->vlan.vid, 9);
	assert_int_equal(s->vlan.pcp, 2);
	assert_int_equal(s->vlan.tpid, 0x88a8);
	assert_false(s->spoofchk);
	assert_true(s->trust);
	assert_int_equal(s->link, LINK_ENABLE);
	assert_int_equal(s->mtu, 1400);

	/* What is not named stays; zeros and null take back. */
	ac_done(t, c, "vf.set", "\"pf\": \"pf0\", \"vf\": 1, \"trust\": true");
	assert_int_equal(s->mtu, 1400);
	assert_int_equal(s->admin_mac[5], 0x99);
	ac_done(t, c, "vf.set", "\"pf\": \"pf0\", \"vf\": 1, \"mac\": \"00:00:00:00:00:00\", \"mtu\": null");
	assert_int_equal(s->mtu, 1500);
	assert_int_equal(s->admin_mac[5], 0);
	assert_int_equal(s->vlan.vid, 9);

	/* Without vf: the PF itself. */
	ac_done(t, c, "vf.set", "\"pf\": \"pf0\", \"vlan\": {\"mode\": \"trunk\", \"vids\": \"0,5-7\"}");
	assert_true(vlan_trunk_allows(&fake_dp_function(&t->dp, "pf0", 0)->s.vlan, 6));
	ac_done(t, c, "vf.set", "\"pf\": \"pf0\", \"vf\": null, \"vlan\": {\"mode\": \"none\"}");
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 0)->s.vlan.mode, VLAN_NONE);

	/* One wrong value among right ones: none takes effect. */
	ac_refused(t, c, "vf.set",
		   "\"pf\": \"pf0\", \"vf\": 1, \"trust\": false, \"mac\": \"02:00:00:00:00:10\"",
		   -32000 - EEXIST, "mac");
	ac_refused(t, c, "vf.set",
		   "\"pf\": \"pf0\", \"vf\": 1, \"trust\": false, \"vlan\": {\"mode\": \"access\"}", -32602,
		   "vlan.vid");
	assert_true(s->trust);
	ac_client_free(c);
}

/* What the host lets the guest do, what the guest then does, and who hears of it. */
static void guest_requests(void **state)
{
	struct function_settings vlan7 = {.vlan = {.mode = VLAN_ACCESS, .vid = 7, .tpid = 0x8100}};
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t), *listener = ac_client_new(t);
	json_t *o, *p;

	ac_populate(t, c);
	ac_done(t, listener, "events.subscribe", "\"topics\": [\"control\"]");
	o = ac_result(t, c, "pf.set",
		      "\"name\": \"pf0\", \"policy\": {\"vlans\": \"5-7\", \"macs\": \"list\", \"mac_list\": "
		      "[\"02:00:00:00:09:00-02:00:00:00:09:ff\"], \"max_rate\": 100}");
	p = json_object_get(o, "policy");
	assert_string_equal(ac_text(p, "vlans"), "5-7");
	assert_string_equal(ac_text(p, "macs"), "list");
	assert_string_equal(json_string_value(json_array_get(json_object_get(p, "mac_list"), 0)),
			    "02:00:00:00:09:00-02:00:00:00:09:ff");
	assert_int_equal(ac_number(p, "max_rate"), 100);
	assert_int_equal(ac_number(p, "max_vfs"), 255);
	assert_true(json_is_true(json_object_get(p, "guest_control")));
	json_decref(o);
	/* What is not named stays. */
	o = ac_result(t, c, "pf.set", "\"name\": \"pf0\", \"policy\": {\"trust\": true}");
	assert_string_equal(ac_text(json_object_get(o, "policy"), "vlans"), "5-7");
	assert_string_equal(ac_text(o, "vm"), "pf0");
	assert_non_null(strstr(ac_text(o, "key_file"), "/pf0/vm.key"));
	json_decref(o);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.max_rate, 100);

	assert_int_equal(model_function_request(t->model, "pf0", 2, SETTING_VLAN, &vlan7, NULL, NULL), 0);
	o = ac_get(t, listener);
	p = json_object_get(o, "params");
	assert_string_equal(ac_text(p, "topic"), "control");
	assert_string_equal(ac_text(p, "event"), "granted");
	assert_int_equal(ac_number(p, "vf"), 1);
	assert_int_equal(ac_number(json_object_get(json_object_get(p, "requested"), "vlan"), "vid"), 7);
	json_decref(o);
	vlan7.vlan.vid = 8;
	assert_int_equal(model_function_request(t->model, "pf0", 2, SETTING_VLAN, &vlan7, NULL, NULL),
			 -EPERM);
	o = ac_get(t, listener);
	p = json_object_get(o, "params");
	assert_string_equal(ac_text(p, "event"), "refused");
	assert_string_equal(ac_text(p, "rule"), "policy.vlans");
	assert_non_null(strstr(ac_text(p, "text"), "VLAN 8"));
	json_decref(o);

	/* The host is above the policy. */
	o = ac_result(
		t, c, "vf.set",
		"\"pf\": \"pf0\", \"vf\": 1, \"vlan\": {\"mode\": \"access\", \"vid\": 99}, \"max_rate\": "
		"500, "
		"\"pinned\": [\"vlan\", \"rate\"]");
	assert_int_equal(ac_number(o, "max_rate"), 500);
	assert_int_equal(ac_number(o, "min_rate"), 0);
	assert_int_equal(json_array_size(json_object_get(o, "pinned")), 2);
	json_decref(o);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 2)->s.vlan.vid, 99);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 2)->s.max_rate, 100);
	assert_int_equal(model_function_request(t->model, "pf0", 2, SETTING_RATE, &vlan7, NULL, NULL),
			 -EPERM);
	o = ac_result(t, c, "pf.show", "\"name\": \"pf0\"");
	assert_int_equal(ac_number(json_object_get(o, "guest_requests"), "granted"), 1);
	assert_int_equal(ac_number(json_object_get(o, "guest_requests"), "refused"), 2);
	json_decref(o);
	ac_done(t, c, "vf.set", "\"pf\": \"pf0\", \"vf\": 1, \"pinned\": []");
	assert_int_equal(model_function_request(t->model, "pf0", 2, SETTING_RATE, &vlan7, NULL, NULL), 0);

	o = ac_result(t, c, "pf.qemu_args", "\"name\": \"pf0\", \"without_pf\": true");
	p = json_object_get(o, "args");
	assert_string_equal(json_string_value(json_array_get(p, 0)), "-smbios");
	assert_int_equal(json_array_size(p), 6);
	json_decref(o);
	ac_client_free(listener);
	ac_client_free(c);
}

static const struct {
	const char *method, *params;
	int code;
	const char *field;
} wrong[] = {
	{"status", "\"x\": 1", -32602, "x"},
	{"fabric.add", "", -32602, "name"},
	{"fabric.add", "\"name\": 5", -32602, "name"},
	{"fabric.add", "\"name\": \"\"", -32602, "name"},
	{"fabric.add", "\"name\": \"a/b\"", -32602, "name"},
	{"fabric.add", "\"name\": \"f0\"", -32000 - EEXIST, "name"},
	{"fabric.add", "\"name\": \"f1\", \"uplink\": {\"type\": \"tap\"}", -32602, "uplink.name"},
	{"fabric.add", "\"name\": \"f1\", \"uplink\": {\"type\": \"vlan\"}", -32602, "uplink.type"},
	{"fabric.add", "\"name\": \"f1\", \"uplink\": {\"type\": \"tap\", \"name\": \"tap0\"}",
	 -32000 - EBUSY, "uplink.name"},
	{"fabric.add", "\"name\": \"f1\", \"ageing\": 0", -32602, "ageing"},
	{"fabric.add", "\"name\": \"f1\", \"ageing\": 1e3", -32602, "ageing"},
	{"fabric.add", "\"name\": \"f1\", \"max_learned\": 99999999999", -32602, "max_learned"},
	{"fabric.set", "\"name\": \"f1\"", -32000 - ENOENT, "name"},
	{"fabric.show", "\"name\": \"f1\"", -32000 - ENOENT, "name"},
	{"fabric.del", "\"name\": \"f0\"", -32000 - EBUSY, "name"},
	{"fdb.show", "\"fabric\": \"f1\"", -32000 - ENOENT, "fabric"},
	{"pf.add", "\"name\": \"pf1\", \"fabric\": \"f0\"", -32602, "vfs"},
	{"pf.add", "\"name\": \"pf1\", \"fabric\": \"f0\", \"vfs\": 256", -32602, "vfs"},
	{"pf.add", "\"name\": \"pf1\", \"fabric\": \"f0\", \"vfs\": -1", -32602, "vfs"},
	{"pf.add", "\"name\": \"pf1\", \"fabric\": \"f1\", \"vfs\": 1", -32000 - ENOENT, "fabric"},
	{"pf.add", "\"name\": \"pf0\", \"fabric\": \"f0\", \"vfs\": 1", -32000 - EEXIST, "name"},
	{"pf.add", "\"name\": \"pf1\", \"fabric\": \"f0\", \"vfs\": 1, \"queue_pairs\": 17", -32602,
	 "queue_pairs"},
	{"pf.add", "\"name\": \"pf1\", \"fabric\": \"f0\", \"vfs\": 1, \"mac\": \"02:00:00:00:00:12\"",
	 -32000 - EEXIST, "mac"},
	{"pf.add", "\"name\": \"pf1\", \"fabric\": \"f0\", \"vfs\": 1, \"policy\": {\"promisc\": 1}", -32602,
	 "policy.promisc"},
	{"pf.set", "\"name\": \"pf0\", \"vfs\": 3", -32602, "vfs"},
	{"pf.set", "\"name\": \"pf0\", \"vm\": \"a b\"", -32602, "vm"},
	{"pf.set", "\"name\": \"pf0\", \"vm\": \"\"", -32602, "vm"},
	{"pf.set", "\"name\": \"pf0\", \"policy\": {\"vlans\": \"0-5\"}", -32602, "policy.vlans"},
	{"pf.set", "\"name\": \"pf0\", \"policy\": {\"mac_list\": [\"x\"]}", -32602, "policy.mac_list[0]"},
	{"pf.add", "\"name\": \"pf1\", \"fabric\": \"f0\", \"vfs\": 1, \"policy\": {\"vlans\": \"7-5\"}",
	 -32602, "policy.vlans"},
	{"vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"min_rate\": 5", -32602, "min_rate"},
	{"vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"min_rate\": 5, \"max_rate\": 4", -32602, "min_rate"},
	{"vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"max_rate\": 1000001", -32602, "max_rate"},
	{"vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"pinned\": [\"mtu\"]", -32602, "pinned[0]"},
	{"pf.qemu_args", "\"name\": \"pf0\", \"without_pf\": 1", -32602, "without_pf"},
	{"pf.set", "\"name\": \"pf0\", \"qmp\": \"x\"", -32602, "qmp"},
	{"pf.set", "\"name\": \"pf1\"", -32000 - ENOENT, "name"},
	{"pf.qemu_args", "\"name\": \"pf1\"", -32000 - ENOENT, "name"},
	{"pf.qemu_args", "\"name\": \"pf0\", \"memory\": \"a lot\"", -32602, "memory"},
	{"pf.attach", "\"name\": \"pf0\"", -32000 - ENOTCONN, "qmp"},
	{"pf.detach", "\"name\": \"pf0\"", -32000 - ENOTCONN, "qmp"},
	{"pf.attach", "\"name\": \"pf1\"", -32000 - ENOENT, "name"},
	{"vf.set", "\"pf\": \"pf0\", \"vf\": 2", -32000 - ENOENT, "vf"},
	{"vf.set", "\"pf\": \"pf0\", \"vf\": \"1\"", -32602, "vf"},
	{"vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"vlan\": {\"mode\": \"access\", \"vid\": 4095}", -32602,
	 "vlan.vid"},
	{"vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"vlan\": 5", -32602, "vlan"},
	{"vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"vlan\": {\"mode\": \"trunk\", \"vids\": \"1-9999\"}",
	 -32602, "vlan.vids"},
	{"vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"mac\": \"03:00:00:00:00:00\"", -32602, "mac"},
	{"vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"link\": \"up\"", -32602, "link"},
	{"vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"mtu\": 9217", -32602, "mtu"},
	{"vf.show", "\"pf\": \"pf9\"", -32000 - ENOENT, "pf"},
	{"stats", "\"vf\": 1", -32602, "vf"},
	{"stats", "\"pf\": \"pf9\"", -32000 - ENOENT, "pf"},
	{"events.subscribe", "\"topics\": [\"weather\"]", -32602, "topics[0]"},
	{"events.subscribe", "\"topics\": []", -32602, "topics"},
};

static void wrong_params(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);

	ac_populate(t, c);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		ac_refused(t, c, wrong[i].method, wrong[i].params, wrong[i].code, wrong[i].field);
	assert_int_equal(t->dp.fabrics_n, 1);
	assert_int_equal(t->dp.functions_n, 3);
	ac_client_free(c);
}

static void statistics(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);
	json_t *o, *row;

	ac_populate(t, c);
	ac_done(t, c, "fabric.add", "\"name\": \"f1\"");
	ac_done(t, c, "pf.add", "\"name\": \"pf1\", \"fabric\": \"f1\", \"vfs\": 0");
	o = ac_result(t, c, "stats", "");
	assert_int_equal(json_array_size(o), 3 + 1 + 1); /* pf0, pf1, the uplink of f0 */
	row = json_array_get(o, 4);
	assert_string_equal(ac_text(row, "uplink"), "tap0");
	json_decref(o);
	o = ac_result(t, c, "stats", "\"pf\": \"pf0\", \"vf\": 1");
	assert_int_equal(json_array_size(o), 1);
	row = json_array_get(o, 0);
	assert_int_equal(ac_number(row, "vf"), 1);
	assert_int_equal(ac_number(json_object_get(row, "tx"), "packets"), 5);
	assert_int_equal(ac_number(json_object_get(row, "rx"), "dropped"), 3);
	assert_int_equal(
		ac_number(json_object_get(json_object_get(row, "rx"), "drops"), drop_reason_name(DROP_VLAN)),
		3);
	json_decref(o);
	o = ac_result(t, c, "stats", "\"pf\": \"pf0\", \"vf\": null");
	assert_int_equal(json_array_size(o), 1);
	json_decref(o);
	o = ac_result(t, c, "stats", "\"fabric\": \"f1\"");
	assert_int_equal(json_array_size(o), 1);
	assert_string_equal(ac_text(json_array_get(o, 0), "pf"), "pf1");
	json_decref(o);
	ac_client_free(c);
}

/* Every method is listed, and what is listed can be asked for. */
static void help(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);
	json_t *list = ac_result(t, c, "help", ""), *m;
	size_t i, n = 0;

	while (api_methods[n].name)
		n++;
	assert_int_equal(json_array_size(list), n);
	json_array_foreach (list, i, m) {
		assert_true(ac_text(m, "doc")[0]);
		assert_true(json_is_array(json_object_get(m, "params")));
	}
	json_decref(list);
	ac_client_free(c);
}

static void save_fails(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);
	int code;

	ac_populate(t, c);
	code = scratch_fill(&t->scratch);
	ac_refused(t, c, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"trust\": true", -32000 - code, NULL);
	assert_false(fake_dp_function(&t->dp, "pf0", 1)->s.trust);
	scratch_empty(&t->scratch);
	ac_done(t, c, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"trust\": true");
	ac_client_free(c);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, ac_teardown)
	const struct CMUnitTest tests[] = {
		TEST(objects), TEST(vf_settings), TEST(wrong_params),   TEST(statistics),
		TEST(help),    TEST(save_fails),  TEST(guest_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
