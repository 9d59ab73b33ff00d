/* SPDX-License-Identifier: Apache-2.0 */

/* Changes of the model, and what follows from them: what is saved, inherited and told. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "model_env.h"
#include "settings_same.h"

/* Settings that have nothing of the defaults. */
static struct fabric_settings odd_fabric(void)
{
	struct fabric_settings f;

	fabric_settings_init(&f, "f0");
	f.uplink = UPLINK_TAP;
	strcpy(f.uplink_name, "tap0");
	f.learning = true;
	f.ageing = 77;
	f.max_learned = 5;
	return f;
}

static struct pf_settings odd_pf(void)
{
	struct pf_settings p = me_pf_settings_of("pf0", "f0", 255);

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
	return p;
}

static void make_odd(struct function_settings *s)
{
	s->vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 5, .pcp = 3, .tpid = 0x88a8};
	s->spoofchk = false;
	s->trust = true;
	s->link = LINK_ENABLE;
	s->mtu = 1400;
	s->min_rate = 10;
	s->max_rate = 900;
	s->pinned = SETTING_VLAN | SETTING_LINK;
	memcpy(s->admin_mac, (uint8_t[]){2, 9, 9, 9, 9, 9}, 6);
}

static void persistence(void **state)
{
	struct me_env *t = *state;
	struct fabric_settings f = odd_fabric();
	struct pf_settings p = odd_pf();
	struct function_settings vf, pf, *got;

	assert_int_equal(model_fabric_add(t->model, &f, NULL, NULL), 0);
	assert_int_equal(model_pf_add(t->model, &p, NULL, NULL, NULL), 0);
	vf = me_settings_of(t, "pf0", VPF_FUNCTION_VF(254));
	make_odd(&vf);
	assert_int_equal(model_function_set(t->model, "pf0", VPF_FUNCTION_VF(254), &vf, true, NULL, NULL), 0);
	pf = me_settings_of(t, "pf0", VPF_FUNCTION_PF);
	pf.vlan = (struct vlan_settings){.mode = VLAN_TRUNK, .tpid = 0x8100};
	pf.vlan.trunk[0] = 0xff01;
	assert_int_equal(model_function_set(t->model, "pf0", VPF_FUNCTION_PF, &pf, false, NULL, NULL), 0);

	me_restart(t);
	assert_same_fabric(&model_fabric_find(t->model, "f0")->s, &f);
	assert_same_pf(&model_pf_find(t->model, "pf0")->s, &p);
	assert_same_fabric(fake_dp_fabric(&t->dp, "f0"), &f);
	assert_int_equal(t->dp.functions_n, 256);
	assert_same_vlan(&fake_dp_function(&t->dp, "pf0", VPF_FUNCTION_PF)->s.vlan, &pf.vlan);
	assert_same_function(&model_pf_find(t->model, "pf0")->fn[VPF_FUNCTION_VF(254)].s, &vf);
	got = &fake_dp_function(&t->dp, "pf0", VPF_FUNCTION_VF(254))->s;
	vf.datapaths = got->datapaths; /* not what is set, but the list in force */
	assert_same_function(got, &vf);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", VPF_FUNCTION_VF(0))->s.mtu, 9000);

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
	assert_int_equal(model_function_set(t->model, "pf0", 1, &s, true, NULL, NULL), 0);
	p = model_pf_find(t->model, "pf0")->s;
	p.mtu = 9000;
	assert_int_equal(model_pf_set(t->model, &p, NULL, NULL, NULL), 0);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 0)->s.mtu, 9000);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.mtu, 4000);
	assert_int_equal(model_function_set(t->model, "pf0", 1, &s, false, NULL, NULL), 0);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.mtu, 9000);
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
	assert_int_equal(model_function_set(t->model, "pf0", 2, &s, false, NULL, NULL), 0);
	assert_string_equal(me_last_event(t), "function changed pf0 2");
	assert_string_equal(t->details[t->events_n - 1], "{\"changed\":{\"trust\":true}}");
	n = t->events_n;
	assert_int_equal(model_function_set(t->model, "pf0", 2, &s, false, NULL, NULL), 0); /* nothing new */
	assert_int_equal(t->events_n, n);
	p = model_pf_find(t->model, "pf0")->s;
	p.policy.promisc = true;
	assert_int_equal(model_pf_set(t->model, &p, NULL, NULL, NULL), 0);
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
			assert_int_equal(model_function_set(t->model, name, fn, &s, true, NULL, NULL), 0);
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
		TEST(persistence), TEST(mtu_inherited), TEST(events), TEST(filters), TEST(large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
