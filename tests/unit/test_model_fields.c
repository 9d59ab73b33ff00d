/* SPDX-License-Identifier: Apache-2.0 */

/* What the model refuses before it does anything: fields alone, and beside the rest. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model_env.h"

static void fabric_fields(void **state)
{
	struct me_env *t = *state;
	struct fabric_settings s, good;

	fabric_settings_init(&good, "f0");
#define REFUSED(change, field)                                                                               \
	s = good;                                                                                            \
	change;                                                                                              \
	assert_error(model_fabric_add(t->model, &s, NULL, &err), EINVAL, field)
	REFUSED(strcpy(s.name, "../x"), "name");
	REFUSED(s.name[0] = '\0', "name");
	REFUSED(s.ageing = 0, "ageing");
	REFUSED(s.ageing = 1000001, "ageing");
	REFUSED(s.max_learned = 65537, "max_learned");
	REFUSED(s.uplink = UPLINK_TAP, "uplink.name");
	REFUSED(strcpy(s.uplink_name, "eth0"), "uplink.name");
	REFUSED((s.uplink = UPLINK_NETDEV, strcpy(s.uplink_name, "a/b")), "uplink.name");
	REFUSED((s.uplink = UPLINK_NETDEV, strcpy(s.uplink_name, "..")), "uplink.name");
	REFUSED((s.uplink = UPLINK_TAP, strcpy(s.uplink_name, "tap%d")), "uplink.name");
#undef REFUSED
	assert_int_equal(t->dp.fabrics_n, 0);
	assert_int_equal(t->events_n, 0);
	assert_int_equal(model_fabric_add(t->model, &good, NULL, NULL), 0);
}

static void pf_fields(void **state)
{
	struct me_env *t = *state;
	struct pf_settings s, good = me_pf_settings_of("pf0", "f0", 2);

	me_add_fabric(t, "f0", NULL);
#define REFUSED(change, code, field)                                                                         \
	s = good;                                                                                            \
	change;                                                                                              \
	assert_error(model_pf_add(t->model, &s, NULL, NULL, &err), code, field)
	REFUSED(strcpy(s.name, ".hidden"), EINVAL, "name");
	REFUSED(strcpy(s.fabric, "f1"), ENOENT, "fabric");
	REFUSED(s.vfs = 256, EINVAL, "vfs");
	REFUSED(s.queue_pairs = 0, EINVAL, "queue_pairs");
	REFUSED(s.queue_pairs = 17, EINVAL, "queue_pairs");
	REFUSED(s.mtu = 67, EINVAL, "mtu");
	REFUSED(s.mtu = 9217, EINVAL, "mtu");
	REFUSED(strcpy(s.qmp, "relative"), EINVAL, "qmp");
	REFUSED(strcpy(s.qmp, "/a\nb"), EINVAL, "qmp");
	REFUSED(s.policy.max_driver_macs = 65, EINVAL, "policy.max_driver_macs");
	REFUSED(strcpy(s.vm, "a/b"), EINVAL, "vm");
	REFUSED(s.vm[0] = '\0', EINVAL, "vm");
	REFUSED(s.policy.vlans[0] = 1, EINVAL, "policy.vlans");
	REFUSED(s.policy.vlans[63] = UINT64_C(1) << 63, EINVAL, "policy.vlans");
	REFUSED(s.policy.macs = (enum mac_policy)3, EINVAL, "policy.macs");
	REFUSED(s.policy.mac_ranges_n = VPF_MAX_POLICY_MACS + 1, EINVAL, "policy.mac_list");
	REFUSED(s.policy.max_vfs = 256, EINVAL, "policy.max_vfs");
	REFUSED(s.policy.max_rate = VPF_MAX_RATE + 1, EINVAL, "policy.max_rate");
	REFUSED(s.policy.max_rate_total = VPF_MAX_RATE + 1, EINVAL, "policy.max_rate_total");
#define RANGE(...)                                                                                           \
	(s.policy.mac_ranges_n = 2,                                                                          \
	 memcpy(s.policy.mac_ranges, (struct mac_range[]){{{2}, {2, 1}}, __VA_ARGS__},                       \
		2 * sizeof(struct mac_range)))
	REFUSED(RANGE({{2, 0, 0, 0, 0, 2}, {2, 0, 0, 0, 0, 1}}), EINVAL,
		"policy.mac_list[1]");                            /* backwards */
	REFUSED(RANGE({{3}, {3}}), EINVAL, "policy.mac_list[1]"); /* multicast */
	REFUSED(RANGE({{2}, {4}}), EINVAL, "policy.mac_list[1]"); /* some of it is multicast */
	REFUSED(RANGE({{0}, {0, 1}}), EINVAL, "policy.mac_list[1]");
#undef RANGE
#undef REFUSED
	assert_error(me_try_pf(t, "pf0", "f0", 2, "01:00:00:00:00:00", &err), EINVAL, "mac");
	assert_error(me_try_pf(t, "pf0", "f0", 2, "00:00:00:00:00:00", &err), EINVAL, "mac");
	assert_error(me_try_pf(t, "pf0", "f0", 2, "02:00:00:ff:ff:fe", &err), EINVAL, "mac");
	assert_int_equal(t->dp.functions_n, 0);
	me_add_pf(t, "pf0", "f0", 1, "02:00:00:ff:ff:fe");
}

static void function_fields(void **state)
{
	struct me_env *t = *state;
	struct function_settings s;
	unsigned int events;

	me_add_fabric(t, "f0", NULL);
	me_add_pf(t, "pf0", "f0", 2, NULL);
	events = t->events_n;
#define REFUSED(change, field)                                                                               \
	s = me_settings_of(t, "pf0", 1);                                                                     \
	change;                                                                                              \
	assert_error(model_function_set(t->model, "pf0", 1, &s, true, NULL, &err), EINVAL, field)
	REFUSED(s.admin_mac[0] = 1, "mac");
	REFUSED((s.vlan.mode = VLAN_ACCESS, s.vlan.vid = 0), "vlan.vid");
	REFUSED((s.vlan.mode = VLAN_ACCESS, s.vlan.vid = 4095), "vlan.vid");
	REFUSED((s.vlan.mode = VLAN_ACCESS, s.vlan.vid = 1, s.vlan.pcp = 8), "vlan.pcp");
	REFUSED((s.vlan.mode = VLAN_ACCESS, s.vlan.vid = 1, s.vlan.tpid = 0x9100), "vlan.proto");
	REFUSED(s.vlan.mode = VLAN_TRUNK, "vlan.vids");
	REFUSED((s.vlan.mode = VLAN_TRUNK, s.vlan.trunk[63] = UINT64_C(1) << 63), "vlan.vids");
	REFUSED(s.link = (enum link_mode)3, "link");
	REFUSED(s.mtu = 67, "mtu");
	REFUSED(s.mtu = 9217, "mtu");
	REFUSED(s.max_rate = VPF_MAX_RATE + 1, "max_rate");
	REFUSED(s.min_rate = VPF_MAX_RATE + 1, "min_rate");
	REFUSED((s.min_rate = 11, s.max_rate = 10), "min_rate");
	REFUSED(s.min_rate = 1, "min_rate"); /* a share of nothing */
	REFUSED(s.pinned = SETTING_ALL + 1, "pinned");
#undef REFUSED
	s = me_settings_of(t, "pf0", 1);
	assert_error(model_function_set(t->model, "pf1", 0, &s, false, NULL, &err), ENOENT, "pf");
	assert_error(model_function_set(t->model, "pf0", 3, &s, false, NULL, &err), ENOENT, "vf");
	assert_int_equal(t->dp.function_sets, 0);
	assert_int_equal(t->events_n, events);
}

static void names_taken(void **state)
{
	struct me_env *t = *state;
	struct fabric_settings f;

	me_add_fabric(t, "f0", "eth0");
	fabric_settings_init(&f, "f0");
	assert_error(model_fabric_add(t->model, &f, NULL, &err), EEXIST, "name");
	fabric_settings_init(&f, "f1");
	f.uplink = UPLINK_NETDEV;
	strcpy(f.uplink_name, "eth0");
	assert_error(model_fabric_add(t->model, &f, NULL, &err), EBUSY, "uplink.name");
	me_add_pf(t, "pf0", "f0", 1, NULL);
	assert_error(me_try_pf(t, "pf0", "f0", 1, NULL, &err), EEXIST, "name");
}

static void in_the_way(void **state)
{
	struct me_env *t = *state;
	char path[256];

	me_add_fabric(t, "f0", NULL);
	scratch_write(scratch_path(&t->scratch, "vpfd.sock", path), "", 0);
	assert_error(me_try_pf(t, "vpfd.sock", "f0", 1, NULL, &err), EEXIST, "name");
	assert_int_equal(unlink(path), 0);
	me_add_pf(t, "vpfd.sock", "f0", 1, NULL);
}

static void limits(void **state)
{
	struct me_env *t = *state;
	struct fabric_settings f;
	char name[32];

	for (int i = 0; i < VPF_MAX_FABRICS; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		me_add_fabric(t, name, NULL);
	}
	fabric_settings_init(&f, "more");
	assert_error(model_fabric_add(t->model, &f, NULL, &err), ENOSPC, "name");
	for (int i = 0; i < VPF_MAX_PFS; i++) {
		snprintf(name, sizeof(name), "pf%d", i);
		me_add_pf(t, name, "f0", 0, NULL);
	}
	assert_error(me_try_pf(t, "more", "f0", 0, NULL, &err), ENOSPC, "name");
}

static void long_run_dir(void **state)
{
	struct me_env *t = *state;
	struct model_config config = {.event = t->event, .socket_group = UINT32_MAX};
	char run[128], other[256];
	struct model *m = NULL;
	struct fake_dataplane dp;
	struct fabric_settings f;
	struct pf_settings s = me_pf_settings_of("a", "f0", 1);

	/* The longest path that fits a socket address has 107 bytes. */
	snprintf(run, sizeof(run), "%s/", t->scratch.path);
	memset(run + strlen(run), 'r', 107 - strlen("/a/vf254.sock") - strlen(run));
	run[107 - strlen("/a/vf254.sock")] = '\0';
	assert_int_equal(mkdir(run, 0755), 0);
	config.run_dir = run;
	config.state_dir = scratch_path(&t->scratch, "other", other);
	fake_dp_init(&dp);
	assert_int_equal(model_new(&config, &m, NULL), 0);
	assert_int_equal(model_load(m, &fake_dp_ops, &dp, NULL), 0);
	fabric_settings_init(&f, "f0");
	assert_int_equal(model_fabric_add(m, &f, NULL, NULL), 0);
	assert_int_equal(model_pf_add(m, &s, NULL, NULL, NULL), 0);
	strcpy(s.name, "ab");
	assert_error(model_pf_add(m, &s, NULL, NULL, &err), ENAMETOOLONG, "name");
	model_free(m);
	fake_dp_destroy(&dp);
}

static void delete_in_use(void **state)
{
	struct me_env *t = *state;

	me_add_fabric(t, "f0", NULL);
	me_add_pf(t, "pf0", "f0", 2, NULL);
	assert_error(model_fabric_del(t->model, "f0", &err), EBUSY, "name");
	fake_dp_function(&t->dp, "pf0", 2)->connected = true;
	assert_error(model_pf_del(t->model, "pf0", &err), EBUSY, "name");
	assert_int_equal(t->dp.functions_n, 3);
	fake_dp_function(&t->dp, "pf0", 2)->connected = false;
	assert_int_equal(model_pf_del(t->model, "pf0", NULL), 0);
	assert_int_equal(t->dp.functions_n, 0);
	assert_int_equal(model_fabric_del(t->model, "f0", NULL), 0);
	assert_int_equal(t->dp.fabrics_n, 0);
	assert_error(model_pf_del(t->model, "pf0", &err), ENOENT, "name");
	assert_error(model_fabric_del(t->model, "f0", &err), ENOENT, "name");
}

static void fixed_for_life(void **state)
{
	struct me_env *t = *state;
	struct pf_settings p;

	me_add_fabric(t, "f0", NULL);
	me_add_fabric(t, "f1", NULL);
	me_add_pf(t, "pf0", "f0", 2, NULL);
	p = me_pf_settings_of("pf0", "f1", 2);
	assert_error(model_pf_set(t->model, &p, NULL, NULL, &err), EINVAL, "fabric");
	p = me_pf_settings_of("pf0", "f0", 3);
	assert_error(model_pf_set(t->model, &p, NULL, NULL, &err), EINVAL, "vfs");
	p = me_pf_settings_of("pf0", "f0", 2);
	p.queue_pairs = 2;
	assert_error(model_pf_set(t->model, &p, NULL, NULL, &err), EINVAL, "queue_pairs");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, me_setup, me_teardown)
	const struct CMUnitTest tests[] = {
		TEST(fabric_fields), TEST(pf_fields),     TEST(function_fields),
		TEST(names_taken),   TEST(in_the_way),    TEST(limits),
		TEST(long_run_dir),  TEST(delete_in_use), TEST(fixed_for_life),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
