/* SPDX-License-Identifier: Apache-2.0 */

/* What a guest's driver can change, and what it is refused. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "control/records.h"
#include "control_env.h"
#include "settings_same.h"

static void test_set(void **state)
{
	struct ce_env *t = *state;
	const struct vpf_ctl_set all = {
		.mac = {2, 9, 9, 9, 9, 9},
		.trust = 1,
		.link = VPF_CTL_LINK_DISABLE,
		.pcp = 5,
		.vid = htole16(100),
		.tpid = htole16(0x88a8),
		.min_rate = htole32(10),
		.max_rate = htole32(200),
	};
	const struct vpf_ctl_reply *reply;
	struct function_settings s;

	ce_driver_starts(t, "pf0");
	reply = ce_set(t, "pf0", all, 3, VPF_CTL_SETTINGS);
	assert_int_equal(le16toh(reply->status), VPF_CTL_OK);
	assert_int_equal(le16toh(reply->first), 3);
	assert_int_equal(le16toh(ce_record_of(reply + 1, 0).vid), 100);
	for (int restarted = 0; restarted < 2; restarted++) {
		s = fake_dp_function(&t->m->dp, "pf0", 3)->s;
		assert_memory_equal(s.admin_mac, all.mac, 6);
		assert_true(s.trust && !s.spoofchk && s.link == LINK_DISABLE);
		assert_true(s.vlan.mode == VLAN_ACCESS && s.vlan.vid == 100 && s.vlan.pcp == 5 &&
			    s.vlan.tpid == 0x88a8);
		assert_true(s.min_rate == 10 && s.max_rate == 200);
		if (!restarted) {
			/* What was answered is on disk. */
			control_free(t->control);
			me_restart(t->m);
			ce_start_control(t);
		}
	}
	/* Only what the mask names. */
	ce_driver_starts(t, "pf0");
	reply = ce_set(t, "pf0", (struct vpf_ctl_set){.spoofchk = 1}, 3, VPF_CTL_SPOOFCHK);
	assert_int_equal(le16toh(reply->status), VPF_CTL_OK);
	s = fake_dp_function(&t->m->dp, "pf0", 3)->s;
	assert_true(s.spoofchk && s.trust && s.vlan.vid == 100 && s.min_rate == 10 && s.max_rate == 200);
	/* Zeros are what takes back. */
	reply = ce_set(t, "pf0", (struct vpf_ctl_set){0}, 3,
		       VPF_CTL_MAC | VPF_CTL_VLAN | VPF_CTL_RATE | VPF_CTL_LINK);
	assert_int_equal(le16toh(reply->status), VPF_CTL_OK);
	s = fake_dp_function(&t->m->dp, "pf0", 3)->s;
	assert_true(mac_is_zero(s.admin_mac) && s.vlan.mode == VLAN_NONE && !s.min_rate && !s.max_rate &&
		    s.link == LINK_AUTO);
}

static void test_vlan_replaces_a_trunk(void **state)
{
	struct ce_env *t = *state;
	struct function_settings s = me_settings_of(t->m, "pf0", 3);
	const struct vpf_ctl_reply *reply;
	struct err err = {0};

	ce_driver_starts(t, "pf0");
	s.vlan = (struct vlan_settings){.mode = VLAN_TRUNK, .tpid = 0x8100, .trunk = {6}};
	assert_int_equal(model_function_set(t->m->model, "pf0", 3, &s, false, NULL, &err), 0);
	reply = ce_set(t, "pf0", (struct vpf_ctl_set){.trust = 1}, 3, VPF_CTL_TRUST);
	assert_int_equal(le16toh(reply->status), VPF_CTL_OK);
	assert_int_equal(me_settings_of(t->m, "pf0", 3).vlan.mode, VLAN_TRUNK);
	reply = ce_set(t, "pf0", (struct vpf_ctl_set){0}, 3, VPF_CTL_VLAN);
	assert_int_equal(le16toh(reply->status), VPF_CTL_OK);
	assert_int_equal(me_settings_of(t->m, "pf0", 3).vlan.mode, VLAN_NONE);
	assert_true(me_settings_of(t->m, "pf0", 3).vlan.trunk[0] == 0);
}

static void test_refused(void **state)
{
	static const struct {
		struct vpf_ctl_set b;
		uint16_t function, mask, status;
		const char *text; /* a part of it */
		bool strict;      /* under the default policy; else under one that allows everything */
	} cases[] = {
		{{.trust = 1}, 3, VPF_CTL_TRUST, VPF_CTL_DENIED, "trust", true},
		{{.vid = 100, .tpid = 0x8100}, 3, VPF_CTL_VLAN, VPF_CTL_DENIED, "VLAN 100", true},
		{{.mac = {2, 9, 9, 9, 9, 9}}, 3, VPF_CTL_MAC, VPF_CTL_DENIED, "02:09:09:09:09:09", true},
		{{.vid = 4095, .tpid = 0x8100}, 3, VPF_CTL_VLAN, VPF_CTL_INVALID, "vlan.vid: ", false},
		{{.vid = 0xffff, .tpid = 0x8100}, 3, VPF_CTL_VLAN, VPF_CTL_INVALID, "vlan.vid: ", false},
		{{.vid = 5, .pcp = 8, .tpid = 0x8100}, 3, VPF_CTL_VLAN, VPF_CTL_INVALID, "vlan.pcp: ", false},
		{{.vid = 5, .tpid = 0x9100}, 3, VPF_CTL_VLAN, VPF_CTL_INVALID, "vlan.proto: ", false},
		{{.pcp = 1}, 3, VPF_CTL_VLAN, VPF_CTL_INVALID, "priority", false},
		{{.mac = {1, 0, 0x5e, 0, 0, 1}}, 3, VPF_CTL_MAC, VPF_CTL_INVALID, "mac: ", false},
		{{.mac = {2, 0, 0, 0, 0x20, 1}}, 3, VPF_CTL_MAC, VPF_CTL_CONFLICT, "mac: ", false},
		{{.max_rate = 1000001}, 3, VPF_CTL_RATE, VPF_CTL_INVALID, "max_rate: ", false},
		{{.min_rate = 2, .max_rate = 1}, 3, VPF_CTL_RATE, VPF_CTL_INVALID, "", false},
		{{.link = 3}, 3, VPF_CTL_LINK, VPF_CTL_INVALID, "link state 3", false},
		{{.spoofchk = 2}, 3, VPF_CTL_SPOOFCHK, VPF_CTL_INVALID, "spoof check", false},
		{{.trust = 255}, 3, VPF_CTL_TRUST, VPF_CTL_INVALID, "trust", false},
		{{0}, 3, 0, VPF_CTL_INVALID, "no setting", false},
		{{0}, 3, 0x40, VPF_CTL_UNSUPPORTED, "0x0040", false},
		{{.trust = 1}, 3, 0x8000 | VPF_CTL_TRUST, VPF_CTL_UNSUPPORTED, "0x8000", false},
		{{.trust = 1}, 0, VPF_CTL_TRUST, VPF_CTL_INVALID, "not the PF itself", false},
		{{.trust = 1}, 101, VPF_CTL_TRUST, VPF_CTL_NO_FUNCTION, "no VF 100", false},
	};
	struct ce_env *t = *state;

	ce_driver_starts(t, "pf0");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct function_settings before = me_settings_of(t->m, "pf0", 3), after;
		struct vpf_ctl_set b = cases[i].b;
		const struct vpf_ctl_reply *reply;

		b.vid = htole16(b.vid);
		b.tpid = htole16(b.tpid);
		b.min_rate = htole32(b.min_rate);
		b.max_rate = htole32(b.max_rate);
		ce_set_policy(t, "pf0", cases[i].strict ? ce_strict_policy : ce_open_policy);
		reply = ce_set(t, "pf0", b, cases[i].function, cases[i].mask);
		if (le16toh(reply->status) != cases[i].status ||
		    !memmem(reply->text, 120, cases[i].text, strlen(cases[i].text)))
			fail_msg("case %zu: status %u, %.120s", i, le16toh(reply->status), reply->text);
		assert_true(reply->text[0] && !reply->text[119] && !reply->count);
		for (const char *p = reply->text; *p; p++)
			assert_true(*p >= 0x20 && *p <= 0x7e);
		after = me_settings_of(t->m, "pf0", 3);
		assert_same_function(&before, &after);
	}
	assert_int_equal(ce_info_of(t, "pf0").counters->refused, ARRAY_SIZE(cases));
}

static void test_disk_full(void **state)
{
	struct ce_env *t = *state;
	const struct vpf_ctl_reply *reply;
	uint32_t sequence;

	ce_driver_starts(t, "pf0");
	scratch_fill(&t->m->scratch);
	reply = ce_set(t, "pf0", (struct vpf_ctl_set){.trust = 1}, 3, VPF_CTL_TRUST);
	assert_int_equal(le16toh(reply->status), VPF_CTL_FAILED);
	assert_true(reply->text[0]);
	assert_false(fake_dp_function(&t->m->dp, "pf0", 3)->s.trust);
	scratch_empty(&t->m->scratch);
	/* The same request again has had its answer; a new one works. */
	sequence = t->sequence--;
	reply = ce_set(t, "pf0", (struct vpf_ctl_set){.trust = 1}, 3, VPF_CTL_TRUST);
	assert_int_equal(t->sequence, sequence);
	assert_int_equal(le16toh(reply->status), VPF_CTL_FAILED);
	reply = ce_set(t, "pf0", (struct vpf_ctl_set){.trust = 1}, 3, VPF_CTL_TRUST);
	assert_int_equal(le16toh(reply->status), VPF_CTL_OK);
	assert_true(fake_dp_function(&t->m->dp, "pf0", 3)->s.trust);
}

static void test_request_is_taken_whole_or_not_at_all(void **state)
{
	const struct ctl_set set = {
		.mask = VPF_CTL_SETTINGS, .mac = {2, 9}, .trust = 1, .vid = 5, .max_rate = 7, .link = 3};
	struct function_settings s, before;
	struct err err = {0};

	(void)state;
	function_settings_init(&s);
	before = s;
	assert_int_equal(record_apply(&set, &s, &err), -EINVAL);
	assert_true(!s.trust && s.vlan.mode == VLAN_NONE && !s.max_rate && s.link == before.link);
	assert_memory_equal(s.admin_mac, before.admin_mac, 6);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, ce_setup, ce_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_set),
		TEST(test_vlan_replaces_a_trunk),
		TEST(test_refused),
		TEST(test_disk_full),
		cmocka_unit_test(test_request_is_taken_whole_or_not_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
