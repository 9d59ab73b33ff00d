/* SPDX-License-Identifier: Apache-2.0 */

/* The model over a data plane that fails where it is told to: every change is there in full (memory, disk,
 * data plane) or not at all. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "model_env.h"
#include "settings/mac.h"
#include "settings_same.h"

/* Validation */

static void fabric_fields(void **state)
{
	struct me_env *t = *state;
	struct fabric_settings s, good;

	fabric_settings_init(&good, "f0");
#define REFUSED(change, field)                                                                               \
	s = good;                                                                                            \
	change;                                                                                              \
	assert_error(model_fabric_add(t->model, &s, &err), EINVAL, field)
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
	assert_int_equal(model_fabric_add(t->model, &good, NULL), 0);
}

static void pf_fields(void **state)
{
	struct me_env *t = *state;
	struct pf_settings s, good = me_pf_settings_of("pf0", "f0", 2);

	me_add_fabric(t, "f0", NULL);
#define REFUSED(change, code, field)                                                                         \
	s = good;                                                                                            \
	change;                                                                                              \
	assert_error(model_pf_add(t->model, &s, NULL, &err), code, field)
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
	assert_error(model_function_set(t->model, "pf0", 1, &s, true, &err), EINVAL, field)
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
	assert_error(model_function_set(t->model, "pf1", 0, &s, false, &err), ENOENT, "pf");
	assert_error(model_function_set(t->model, "pf0", 3, &s, false, &err), ENOENT, "vf");
	assert_int_equal(t->dp.function_sets, 0);
	assert_int_equal(t->events_n, events);
}

static void names_taken(void **state)
{
	struct me_env *t = *state;
	struct fabric_settings f;

	me_add_fabric(t, "f0", "eth0");
	fabric_settings_init(&f, "f0");
	assert_error(model_fabric_add(t->model, &f, &err), EEXIST, "name");
	fabric_settings_init(&f, "f1");
	f.uplink = UPLINK_NETDEV;
	strcpy(f.uplink_name, "eth0");
	assert_error(model_fabric_add(t->model, &f, &err), EBUSY, "uplink.name");
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
	assert_error(model_fabric_add(t->model, &f, &err), ENOSPC, "name");
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
	assert_int_equal(model_fabric_add(m, &f, NULL), 0);
	assert_int_equal(model_pf_add(m, &s, NULL, NULL), 0);
	strcpy(s.name, "ab");
	assert_error(model_pf_add(m, &s, NULL, &err), ENAMETOOLONG, "name");
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

/* MACs */

static void macs_generated(void **state)
{
	struct me_env *t = *state;
	char first[MAC_TEXT_MAX];
	uint8_t a[6], b[6];

	me_add_fabric(t, "f0", NULL);
	me_add_pf(t, "pf0", "f0", 255, NULL);
	memcpy(a, model_pf_find(t->model, "pf0")->mac, 6);
	strcpy(first, me_mac_of(t, "pf0", 0));
	mac_parse(me_mac_of(t, "pf0", 255), b);
	assert_int_equal(mac_to_number(b), mac_to_number(a) + 255);
	assert_int_equal(a[0] & 3, 2);

	/* Stable: after a restart, and when made anew. */
	me_restart(t);
	assert_string_equal(me_mac_of(t, "pf0", 0), first);
	assert_int_equal(model_pf_del(t->model, "pf0", NULL), 0);
	me_add_pf(t, "pf0", "f0", 255, NULL);
	assert_string_equal(me_mac_of(t, "pf0", 0), first);

	/* Where it is taken, on any fabric, another is generated, and kept. */
	assert_int_equal(model_pf_del(t->model, "pf0", NULL), 0);
	me_add_fabric(t, "f1", NULL);
	me_add_pf(t, "other", "f1", 0, first);
	me_add_pf(t, "pf0", "f0", 255, NULL);
	assert_string_not_equal(me_mac_of(t, "pf0", 0), first);
	strcpy(first, me_mac_of(t, "pf0", 0));
	assert_int_equal(model_pf_del(t->model, "other", NULL), 0);
	me_restart(t);
	assert_string_equal(me_mac_of(t, "pf0", 0), first);
}

static void macs_taken(void **state)
{
	struct me_env *t = *state;
	struct err other;

	me_add_fabric(t, "f0", NULL);
	me_add_fabric(t, "f1", NULL);
	me_add_pf(t, "pf0", "f0", 3, "02:00:00:00:00:10"); /* …10 to …13 */

	/* Permanent ranges do not overlap on one fabric. */
	assert_error(me_try_pf(t, "pf1", "f0", 0, "02:00:00:00:00:13", &err), EEXIST, "mac");
	assert_error(me_try_pf(t, "pf1", "f0", 1, "02:00:00:00:00:0f", &err), EEXIST, "mac");
	assert_error(me_try_pf(t, "pf1", "f0", 200, "02:00:00:00:00:00", &err), EEXIST, "mac");
	me_add_pf(t, "pf1", "f0", 1, "02:00:00:00:00:14");
	me_add_pf(t, "pf2", "f1", 3, "02:00:00:00:00:10");

	/* Administrative ones are nobody else's. */
	assert_error(me_try_admin_mac(t, "pf0", 1, "02:00:00:00:00:15", &err), EEXIST, "mac");
	assert_error(me_try_admin_mac(t, "pf0", 1, "02:00:00:00:00:12", &err), EEXIST, "mac");
	assert_int_equal(me_try_admin_mac(t, "pf0", 1, "02:00:00:00:00:11", &other), 0); /* its own */
	assert_int_equal(me_try_admin_mac(t, "pf0", 1, "02:00:00:00:00:aa", &other), 0);
	assert_error(me_try_admin_mac(t, "pf1", 0, "02:00:00:00:00:aa", &err), EEXIST, "mac");
	assert_int_equal(me_try_admin_mac(t, "pf0", 1, "02:00:00:00:00:aa", &other), 0); /* again */
	assert_int_equal(me_try_admin_mac(t, "pf2", 0, "02:00:00:00:00:aa", &other), 0); /* other fabric */
	assert_error(me_try_pf(t, "pf3", "f0", 1, "02:00:00:00:00:a9", &err), EEXIST, "mac");

	/* Cleared, it is free. */
	assert_int_equal(me_try_admin_mac(t, "pf0", 1, "00:00:00:00:00:00", &other), 0);
	assert_int_equal(me_try_admin_mac(t, "pf1", 0, "02:00:00:00:00:aa", &other), 0);
	me_restart(t);
	assert_int_equal(me_settings_of(t, "pf1", 0).admin_mac[5], 0xaa);
}

static void pf_mac_change(void **state)
{
	struct me_env *t = *state;
	uint8_t mac[6] = {2, 0, 0, 0, 1, 0}, taken[6] = {2, 0, 0, 0, 0, 0x22};
	struct pf_settings s;
	struct err other;

	me_add_fabric(t, "f0", NULL);
	me_add_pf(t, "pf0", "f0", 2, "02:00:00:00:00:10");
	me_add_pf(t, "pf1", "f0", 2, "02:00:00:00:00:20");
	s = model_pf_find(t->model, "pf0")->s;
	assert_error(model_pf_set(t->model, &s, taken, &err), EEXIST, "mac");
	fake_dp_function(&t->dp, "pf0", 0)->connected = true;
	assert_error(model_pf_set(t->model, &s, mac, &err), EBUSY, "mac");
	fake_dp_function(&t->dp, "pf0", 0)->connected = false;
	assert_int_equal(model_pf_set(t->model, &s, mac, &other), 0);
	assert_string_equal(me_mac_of(t, "pf0", 2), "02:00:00:00:01:02");
	/* One's own administrative MAC of old does not forbid a range that has it at the same function. */
	assert_int_equal(me_try_admin_mac(t, "pf0", 1, "02:00:00:00:00:11", &other), 0);
	mac[4] = 0;
	mac[5] = 0x10;
	assert_int_equal(model_pf_set(t->model, &s, mac, &other), 0);
	mac[5] = 0x11;
	assert_error(model_pf_set(t->model, &s, mac, &err), EEXIST, "mac");
}

/* Changes and what follows from them */

static void persistence(void **state)
{
	struct me_env *t = *state;
	struct function_settings s;
	struct fabric_settings f;
	struct pf_settings p;

	fabric_settings_init(&f, "f0");
	f.uplink = UPLINK_TAP;
	strcpy(f.uplink_name, "tap0");
	f.learning = true;
	f.ageing = 77;
	f.max_learned = 5;
	assert_int_equal(model_fabric_add(t->model, &f, NULL), 0);
	p = me_pf_settings_of("pf0", "f0", 255);
	p.queue_pairs = 4;
	p.mtu = 9000;
	strcpy(p.qmp, "/run/vm/qmp.sock");
	strcpy(p.vm, "vm7");
	p.policy = (struct pf_policy){
		.guest_control = false,
		.vlan_ad = true,
		.macs = MAC_POLICY_LIST,
		.mac_ranges_n = 2,
		.mac_ranges = {{{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 9}}, {{6}, {6}}},
		.trust = true,
		.spoofchk_off = true,
		.max_vfs = 255,
		.max_rate = 1000,
		.max_rate_total = VPF_MAX_RATE,
		.driver_mac = false,
		.max_driver_macs = 7,
		.promisc = true,
	};
	p.policy.vlans[0] = 0xff02;
	p.policy.vlans[63] = UINT64_C(1) << 62;
	assert_int_equal(model_pf_add(t->model, &p, NULL, NULL), 0);
	s = me_settings_of(t, "pf0", VPF_FUNCTION_VF(254));
	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 5, .pcp = 3, .tpid = 0x88a8};
	s.spoofchk = false;
	s.trust = true;
	s.link = LINK_ENABLE;
	s.mtu = 1400;
	s.min_rate = 10;
	s.max_rate = 900;
	s.pinned = SETTING_VLAN | SETTING_LINK;
	memcpy(s.admin_mac, (uint8_t[]){2, 9, 9, 9, 9, 9}, 6);
	assert_int_equal(model_function_set(t->model, "pf0", VPF_FUNCTION_VF(254), &s, true, NULL), 0);
	s = me_settings_of(t, "pf0", VPF_FUNCTION_PF);
	s.vlan = (struct vlan_settings){.mode = VLAN_TRUNK, .tpid = 0x8100};
	s.vlan.trunk[0] = 0xff01;
	assert_int_equal(model_function_set(t->model, "pf0", VPF_FUNCTION_PF, &s, false, NULL), 0);

	me_restart(t);
	assert_same_fabric(&model_fabric_find(t->model, "f0")->s, &f);
	assert_same_pf(&model_pf_find(t->model, "pf0")->s, &p);
	assert_same_fabric(fake_dp_fabric(&t->dp, "f0"), &f);
	assert_int_equal(t->dp.functions_n, 256);
	assert_same_vlan(&fake_dp_function(&t->dp, "pf0", 0)->s.vlan, &s.vlan);
	s = fake_dp_function(&t->dp, "pf0", 255)->s;
	assert_int_equal(s.vlan.vid, 5);
	assert_int_equal(s.vlan.pcp, 3);
	assert_int_equal(s.vlan.tpid, 0x88a8);
	assert_false(s.spoofchk);
	assert_true(s.trust);
	assert_int_equal(s.link, LINK_ENABLE);
	assert_int_equal(s.mtu, 1400);
	assert_int_equal(s.min_rate, 10);
	assert_int_equal(s.max_rate, 900);
	assert_int_equal(s.pinned, SETTING_VLAN | SETTING_LINK);
	assert_int_equal(s.admin_mac[1], 9);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.mtu, 9000);

	/* Gone is gone, too. */
	assert_int_equal(model_pf_del(t->model, "pf0", NULL), 0);
	assert_int_equal(model_fabric_del(t->model, "f0", NULL), 0);
	me_restart(t);
	assert_null(model_pf_at(t->model, 0));
	assert_null(model_fabric_at(t->model, 0));
}

static void mtu_inherited(void **state)
{
	struct me_env *t = *state;
	struct function_settings s;
	struct pf_settings p;

	me_add_fabric(t, "f0", NULL);
	me_add_pf(t, "pf0", "f0", 2, NULL);
	s = me_settings_of(t, "pf0", 1);
	s.mtu = 4000;
	assert_int_equal(model_function_set(t->model, "pf0", 1, &s, true, NULL), 0);
	p = model_pf_find(t->model, "pf0")->s;
	p.mtu = 9000;
	assert_int_equal(model_pf_set(t->model, &p, NULL, NULL), 0);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 0)->s.mtu, 9000);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.mtu, 4000);
	assert_int_equal(model_function_set(t->model, "pf0", 1, &s, false, NULL), 0);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.mtu, 9000);
}

static void fixed_for_life(void **state)
{
	struct me_env *t = *state;
	struct pf_settings p;

	me_add_fabric(t, "f0", NULL);
	me_add_fabric(t, "f1", NULL);
	me_add_pf(t, "pf0", "f0", 2, NULL);
	p = me_pf_settings_of("pf0", "f1", 2);
	assert_error(model_pf_set(t->model, &p, NULL, &err), EINVAL, "fabric");
	p = me_pf_settings_of("pf0", "f0", 3);
	assert_error(model_pf_set(t->model, &p, NULL, &err), EINVAL, "vfs");
	p = me_pf_settings_of("pf0", "f0", 2);
	p.queue_pairs = 2;
	assert_error(model_pf_set(t->model, &p, NULL, &err), EINVAL, "queue_pairs");
}

static void events(void **state)
{
	struct me_env *t = *state;
	struct function_settings s;
	struct pf_settings p;
	unsigned int n;

	me_add_fabric(t, "f0", NULL);
	assert_string_equal(me_last_event(t), "fabric added f0 -1");
	me_add_pf(t, "pf0", "f0", 2, NULL);
	assert_string_equal(me_last_event(t), "pf added pf0 -1");
	s = me_settings_of(t, "pf0", 2);
	s.trust = true;
	assert_int_equal(model_function_set(t->model, "pf0", 2, &s, false, NULL), 0);
	assert_string_equal(me_last_event(t), "function changed pf0 2");
	assert_string_equal(t->details[t->events_n - 1], "{\"changed\":{\"trust\":true}}");
	n = t->events_n;
	assert_int_equal(model_function_set(t->model, "pf0", 2, &s, false, NULL), 0); /* nothing new */
	assert_int_equal(t->events_n, n);
	p = model_pf_find(t->model, "pf0")->s;
	p.policy.promisc = true;
	assert_int_equal(model_pf_set(t->model, &p, NULL, NULL), 0);
	assert_string_equal(me_last_event(t), "pf changed pf0 -1");
	assert_true(fake_dp_function(&t->dp, "pf0", 1)->policy.promisc);

	model_dataplane_events.function_connected(t->model, "pf0", 1, true, NULL);
	assert_string_equal(me_last_event(t), "function connected pf0 1");
	model_dataplane_events.function_connected(t->model, "pf0", 1, false, "because");
	assert_string_equal(me_last_event(t), "function disconnected pf0 1");
	assert_string_equal(t->details[t->events_n - 1], "{\"reason\":\"because\"}");
	model_dataplane_events.function_started(t->model, "pf0", 0, true);
	assert_string_equal(me_last_event(t), "function started pf0 0");
	model_dataplane_events.link_changed(t->model, "pf0", 0, false);
	assert_string_equal(me_last_event(t), "link down pf0 0");
	model_dataplane_events.ring_error(t->model, "pf0", 1, 3, "loop");
	assert_string_equal(me_last_event(t), "ring error pf0 1");
	assert_string_equal(t->details[t->events_n - 1], "{\"queue\":3,\"reason\":\"loop\"}");
	model_dataplane_events.mac_conflict(t->model, "pf0", 1, (uint8_t[]){2, 0, 0, 0, 0, 1});
	assert_string_equal(me_last_event(t), "fdb mac_conflict pf0 1");
	model_dataplane_events.uplink_changed(t->model, "f0", true);
	assert_string_equal(me_last_event(t), "fabric uplink f0 -1");
	n = t->events_n;
	model_dataplane_events.link_changed(t->model, "unknown", 0, false); /* a PF in the making */
	assert_int_equal(t->events_n, n);

	assert_int_equal(model_pf_del(t->model, "pf0", NULL), 0);
	assert_string_equal(me_last_event(t), "pf deleted pf0 -1");
	assert_int_equal(model_fabric_del(t->model, "f0", NULL), 0);
	assert_string_equal(me_last_event(t), "fabric deleted f0 -1");
}

static void filters(void **state)
{
	struct me_env *t = *state;
	struct rx_filter filter = {.known = true, .promiscuous = true};

	me_add_fabric(t, "f0", NULL);
	me_add_pf(t, "pf0", "f0", 1, NULL);
	model_function_filter(t->model, "pf0", 1, &filter);
	assert_true(fake_dp_function(&t->dp, "pf0", 1)->filter.promiscuous);
	assert_string_equal(me_last_event(t), "function filter pf0 1");
	/* From a link that has outlived its PF. */
	model_function_filter(t->model, "pf0", 2, &filter);
	model_function_filter(t->model, "pf9", 0, &filter);
}

/* Failures */

static void dataplane_refuses_pf(void **state)
{
	struct me_env *t = *state;
	char path[256], *before, *after;
	unsigned int n;

	me_add_fabric(t, "f0", NULL);
	before = scratch_read(t->state_file, NULL);
	n = t->events_n;
	for (unsigned int at = 0; at < 4; at++) {
		t->dp.fail_function_add = EMFILE;
		t->dp.fail_countdown = at;
		assert_error(me_try_pf(t, "pf0", "f0", 3, NULL, &err), EMFILE, "");
		assert_int_equal(t->dp.functions_n, 0);
		assert_null(model_pf_find(t->model, "pf0"));
		assert_int_equal(access(scratch_path(&t->scratch, "pf0", path), F_OK), -1);
	}
	t->dp.fail_function_add = 0;
	assert_int_equal(t->events_n, n);
	after = scratch_read(t->state_file, NULL);
	assert_string_equal(before, after);
	free(before);
	free(after);
	me_add_pf(t, "pf0", "f0", 3, NULL);
	assert_int_equal(t->dp.functions_n, 4);
}

static void dataplane_refuses_fabric(void **state)
{
	struct me_env *t = *state;
	struct fabric_settings f;

	fabric_settings_init(&f, "f0");
	f.uplink = UPLINK_NETDEV;
	strcpy(f.uplink_name, "gone");
	strcpy(t->dp.no_such_netdev, "gone");
	assert_error(model_fabric_add(t->model, &f, &err), ENODEV, "uplink.name");
	assert_null(model_fabric_at(t->model, 0));
	assert_null(scratch_read(t->state_file, NULL));

	me_add_fabric(t, "f0", "eth0");
	assert_error(model_fabric_set(t->model, &f, &err), ENODEV, "uplink.name");
	assert_string_equal(model_fabric_find(t->model, "f0")->s.uplink_name, "eth0");
	me_restart(t);
	assert_string_equal(fake_dp_fabric(&t->dp, "f0")->uplink_name, "eth0");
}

/* Each kind of change while the disk is full: refused, without effect, and possible again afterwards. */
static void disk_full(void **state)
{
	struct me_env *t = *state;
	struct fabric_settings f, f_before;
	struct function_settings s;
	struct pf_settings p;
	uint8_t mac[6] = {2, 0, 0, 0, 7, 0};
	char *before, *after;
	unsigned int n, sets;
	int code;

	me_add_fabric(t, "f0", "eth0");
	me_add_fabric(t, "empty", NULL);
	me_add_pf(t, "pf0", "f0", 2, "02:00:00:00:00:10");
	me_add_pf(t, "pf1", "f0", 2, "02:00:00:00:00:20");
	before = scratch_read(t->state_file, NULL);
	n = t->events_n;
	sets = t->dp.function_sets;

	code = scratch_fill(&t->scratch);
	fabric_settings_init(&f, "f1");
	assert_error(model_fabric_add(t->model, &f, &err), code, "");
	assert_int_equal(t->dp.fabrics_n, 2);
	f = f_before = model_fabric_find(t->model, "f0")->s;
	f.learning = true;
	strcpy(f.uplink_name, "eth1");
	assert_error(model_fabric_set(t->model, &f, &err), code, "");
	assert_same_fabric(fake_dp_fabric(&t->dp, "f0"), &f_before);
	assert_same_fabric(&model_fabric_find(t->model, "f0")->s, &f_before);
	assert_error(model_fabric_del(t->model, "empty", &err), code, "");
	assert_non_null(fake_dp_fabric(&t->dp, "empty"));

	assert_error(me_try_pf(t, "pf2", "f0", 2, NULL, &err), code, "");
	assert_int_equal(t->dp.functions_n, 6);
	p = model_pf_find(t->model, "pf0")->s;
	p.mtu = 9000;
	assert_error(model_pf_set(t->model, &p, mac, &err), code, "");
	assert_int_equal(model_pf_find(t->model, "pf0")->s.mtu, 1500);
	assert_int_equal(me_settings_of(t, "pf0", 1).mtu, 1500);
	assert_int_equal(me_settings_of(t, "pf0", 1).mac[5], 0x11);
	assert_error(model_pf_del(t->model, "pf0", &err), code, "");
	assert_int_equal(t->dp.functions_n, 6);
	assert_string_equal(model_pf_at(t->model, 0)->s.name, "pf0"); /* at its place */

	s = me_settings_of(t, "pf0", 1);
	s.trust = true;
	assert_error(model_function_set(t->model, "pf0", 1, &s, false, &err), code, "");
	assert_false(me_settings_of(t, "pf0", 1).trust);
	assert_int_equal(t->dp.function_sets, sets);
	assert_int_equal(t->events_n, n);
	scratch_empty(&t->scratch);

	after = scratch_read(t->state_file, NULL);
	assert_string_equal(before, after);
	free(before);
	free(after);
	assert_int_equal(model_function_set(t->model, "pf0", 1, &s, false, NULL), 0);
	assert_int_equal(model_fabric_set(t->model, &f, NULL), 0);
	assert_int_equal(model_pf_set(t->model, &p, mac, NULL), 0);
	assert_int_equal(model_pf_del(t->model, "pf1", NULL), 0);
	me_restart(t);
	assert_true(me_settings_of(t, "pf0", 1).trust);
	assert_int_equal(me_settings_of(t, "pf0", 1).mac[4], 7);
	assert_string_equal(fake_dp_fabric(&t->dp, "f0")->uplink_name, "eth1");
	assert_int_equal(t->dp.functions_n, 3);
}

/* The uplink cannot be put back after a failed save: as after a start without it, not silently otherwise. */
static void disk_full_and_uplink_gone(void **state)
{
	struct me_env *t = *state;
	struct fabric_settings f;
	int code;

	me_add_fabric(t, "f0", "eth0");
	me_add_pf(t, "pf0", "f0", 1, NULL);
	f = model_fabric_find(t->model, "f0")->s;
	strcpy(f.uplink_name, "eth1");
	strcpy(t->dp.no_such_netdev, "eth0");
	code = scratch_fill(&t->scratch);
	assert_error(model_fabric_set(t->model, &f, &err), code, "");
	scratch_empty(&t->scratch);
	assert_true(model_fabric_find(t->model, "f0")->uplink_absent);
	assert_string_equal(model_fabric_find(t->model, "f0")->s.uplink_name, "eth0");
	assert_int_equal(fake_dp_fabric(&t->dp, "f0")->uplink, UPLINK_NONE);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.link, LINK_DISABLE);
}

/* A netdev that is not there at the start. */
static void uplink_absent(void **state)
{
	struct me_env *t = *state;
	struct function_settings s;
	struct fabric_settings f;

	me_add_fabric(t, "f0", "eth0");
	me_add_pf(t, "pf0", "f0", 2, NULL);
	s = me_settings_of(t, "pf0", 2);
	s.link = LINK_ENABLE;
	assert_int_equal(model_function_set(t->model, "pf0", 2, &s, false, NULL), 0);

	me_stop(t);
	me_start(t);
	strcpy(t->dp.no_such_netdev, "eth0");
	me_load(t);
	assert_true(model_fabric_find(t->model, "f0")->uplink_absent);
	assert_true(model_fabric_find(t->model, "f0")->uplink_error[0]);
	assert_int_equal(fake_dp_fabric(&t->dp, "f0")->uplink, UPLINK_NONE);
	/* No carrier for those that follow the uplink's; what is set stays set. */
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.link, LINK_DISABLE);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 2)->s.link, LINK_ENABLE);
	assert_int_equal(me_settings_of(t, "pf0", 1).link, LINK_AUTO);

	/* Everything else can be changed meanwhile. */
	f = model_fabric_find(t->model, "f0")->s;
	f.learning = true;
	assert_int_equal(model_fabric_set(t->model, &f, NULL), 0);
	assert_true(fake_dp_fabric(&t->dp, "f0")->learning);
	assert_true(model_fabric_find(t->model, "f0")->uplink_absent);
	s = me_settings_of(t, "pf0", 1);
	s.trust = true;
	assert_int_equal(model_function_set(t->model, "pf0", 1, &s, false, NULL), 0);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.link, LINK_DISABLE);

	/* It is tried until it is there. */
	for (int i = 0; i < 3; i++)
		assert_true(sd_event_run(t->event, UINT64_MAX) > 0);
	assert_true(model_fabric_find(t->model, "f0")->uplink_absent);
	t->dp.no_such_netdev[0] = '\0';
	assert_true(sd_event_run(t->event, UINT64_MAX) > 0);
	assert_false(model_fabric_find(t->model, "f0")->uplink_absent);
	assert_int_equal(fake_dp_fabric(&t->dp, "f0")->uplink, UPLINK_NETDEV);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.link, LINK_AUTO);
	assert_string_equal(me_last_event(t), "fabric uplink f0 -1");
}

/* Another uplink instead of the absent one ends the waiting. */
static void uplink_replaced(void **state)
{
	struct me_env *t = *state;
	struct fabric_settings f;

	me_add_fabric(t, "f0", "eth0");
	me_add_pf(t, "pf0", "f0", 1, NULL);
	me_stop(t);
	me_start(t);
	strcpy(t->dp.no_such_netdev, "eth0");
	me_load(t);
	f = model_fabric_find(t->model, "f0")->s;
	f.uplink = UPLINK_NONE;
	memset(f.uplink_name, 0, sizeof(f.uplink_name));
	assert_int_equal(model_fabric_set(t->model, &f, NULL), 0);
	assert_false(model_fabric_find(t->model, "f0")->uplink_absent);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.link, LINK_AUTO);
	me_restart(t);
	assert_int_equal(fake_dp_fabric(&t->dp, "f0")->uplink, UPLINK_NONE);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Four PFs of 255 VFs, every setting of every function changed. */
static void large(void **state)
{
	struct me_env *t = *state;
	double begin;
	char name[16];

	me_add_fabric(t, "f0", NULL);
	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "pf%d", i);
		me_add_pf(t, name, "f0", 255, NULL);
	}
	begin = seconds();
	for (int i = 0; i < 4; i++) {
		for (unsigned int fn = 0; fn < VPF_MAX_FUNCTIONS; fn++) {
			struct function_settings s;

			snprintf(name, sizeof(name), "pf%d", i);
			s = me_settings_of(t, name, fn);
			s.vlan = (struct vlan_settings){
				.mode = VLAN_ACCESS, .vid = 100, .pcp = 1, .tpid = 0x88a8};
			s.spoofchk = false;
			s.trust = true;
			s.link = LINK_ENABLE;
			s.mtu = 1400;
			memcpy(s.admin_mac, (uint8_t[]){6, 0, 0, 0, (uint8_t)i, (uint8_t)fn}, 6);
			assert_int_equal(model_function_set(t->model, name, fn, &s, true, NULL), 0);
		}
	}
	print_message("%.2f ms a change\n", (seconds() - begin) / 1024 * 1e3);
	begin = seconds();
	me_restart(t);
	print_message("loaded in %.0f ms\n", (seconds() - begin) * 1e3);
	assert_int_equal(t->dp.functions_n, 1024);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, me_setup, me_teardown)
	const struct CMUnitTest tests[] = {
		TEST(fabric_fields),
		TEST(pf_fields),
		TEST(function_fields),
		TEST(names_taken),
		TEST(in_the_way),
		TEST(limits),
		TEST(long_run_dir),
		TEST(delete_in_use),
		TEST(macs_generated),
		TEST(macs_taken),
		TEST(pf_mac_change),
		TEST(persistence),
		TEST(mtu_inherited),
		TEST(fixed_for_life),
		TEST(events),
		TEST(filters),
		TEST(dataplane_refuses_pf),
		TEST(dataplane_refuses_fabric),
		TEST(disk_full),
		TEST(disk_full_and_uplink_gone),
		TEST(uplink_absent),
		TEST(uplink_replaced),
		TEST(large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
