/* SPDX-License-Identifier: Apache-2.0 */

/* What a guest may have of its virtual PF: a table of requests and answers, and the policy's limits. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "model/policy.h"
#include "vpf/control.h"

/* The sentence must fit the frame that takes it to the guest. */
#define TEXT_MAX (sizeof(((struct vpf_ctl_reply *)NULL)->text) - 1)

#define MAC(last)                                                                                            \
	{                                                                                                    \
		0x02, 0, 0, 0, 0x01, last                                                                    \
	}
#define FOREIGN(last)                                                                                        \
	{                                                                                                    \
		0x06, 0, 0, 0, 0x09, last                                                                    \
	}
#define VF_PERMANENT_0 0x01 /* of VF 0 */

enum vlans { VLANS_NONE, VLANS_SOME /* 10-20,30 */, VLANS_MANY /* every second one */, VLANS_ALL };

struct policy_words { /* what differs from the default policy */
	bool guest_control_off, vlan_ad, trust, spoofchk_off;
	enum vlans vlans;
	enum mac_policy macs;
	uint32_t vfs_less; /* 255 - max_vfs */
	uint32_t max_rate, max_rate_total;
};

struct row {
	const char *what;
	struct policy_words policy;
	uint32_t pinned;
	struct function_settings now; /* spoofchk as it is here: mostly off, since that is 0 */
	uint32_t mask;
	struct function_settings wanted;
	const char *rule; /* NULL: granted */
	const char *says; /* in the sentence; NULL: anything */
	unsigned int fn;  /* 0: VF 0 */
	uint64_t min_others;
};

#define ACCESS(v)    .vlan = {.mode = VLAN_ACCESS, .vid = (v), .tpid = 0x8100}
#define ACCESS_AD(v) .vlan = {.mode = VLAN_ACCESS, .vid = (v), .tpid = 0x88a8}
#define TRUNK(bits)  .vlan = {.mode = VLAN_TRUNK, .tpid = 0x8100, .trunk = {bits}}

static const struct row rows[] = {
	/* the default policy */
	{"no VLAN", {}, 0, {ACCESS(7)}, SETTING_VLAN, {}, NULL, NULL},
	{"no MAC", {}, 0, {.admin_mac = MAC(9)}, SETTING_MAC, {}, NULL, NULL},
	{"trust off", {}, 0, {.trust = true}, SETTING_TRUST, {}, NULL, NULL},
	{"spoof check on", {}, 0, {}, SETTING_SPOOFCHK, {.spoofchk = true}, NULL, NULL},
	{"link up", {}, 0, {}, SETTING_LINK, {.link = LINK_ENABLE}, NULL, NULL},
	{"link down", {}, 0, {}, SETTING_LINK, {.link = LINK_DISABLE}, NULL, NULL},
	{"link auto", {}, 0, {.link = LINK_DISABLE}, SETTING_LINK, {}, NULL, NULL},
	{"no rates", {}, 0, {.max_rate = 9, .min_rate = 9}, SETTING_RATE, {}, NULL, NULL},
	{"a rate", {}, 0, {}, SETTING_RATE, {.max_rate = 1000000}, NULL, NULL},
	{"its own MAC", {}, 0, {}, SETTING_MAC, {.admin_mac = MAC(VF_PERMANENT_0)}, NULL, NULL},
	{"the last VF's MAC", {}, 0, {}, SETTING_MAC, {.admin_mac = MAC(4)}, NULL, NULL},
	{"behind it", {}, 0, {}, SETTING_MAC, {.admin_mac = MAC(5)}, "policy.macs", "02:00:00:00:01:05"},
	{"a MAC before", {}, 0, {}, SETTING_MAC, {.admin_mac = {2, 0, 0, 0, 0, 255}}, "policy.macs", "own"},
	{"any VLAN", {}, 0, {}, SETTING_VLAN, {ACCESS(7)}, "policy.vlans", "no VLAN at all"},
	{"trust", {}, 0, {}, SETTING_TRUST, {.trust = true}, "policy.trust", "trust"},
	{"spoof check off", {}, 0, {.spoofchk = true}, SETTING_SPOOFCHK, {}, "policy.spoofchk_off", NULL},
	{"a minimum", {}, 0, {}, SETTING_RATE, {.min_rate = 1}, "policy.max_rate_total", "not set"},

	/* what it has already, and what is not meant */
	{"VLAN again", {}, 0, {ACCESS(7)}, SETTING_VLAN, {ACCESS(7)}, NULL, NULL},
	{"VLAN with priority",
	 {},
	 0,
	 {ACCESS(7)},
	 SETTING_VLAN,
	 {.vlan = {.mode = VLAN_ACCESS, .vid = 7, .pcp = 1, .tpid = 0x8100}},
	 "policy.vlans",
	 NULL},
	{"MAC again", {}, 0, {.admin_mac = FOREIGN(1)}, SETTING_MAC, {.admin_mac = FOREIGN(1)}, NULL, NULL},
	{"trust again", {}, 0, {.trust = true}, SETTING_TRUST, {.trust = true}, NULL, NULL},
	{"spoof check off again", {}, 0, {}, SETTING_SPOOFCHK, {}, NULL, NULL},
	{"minimum again", {}, 0, {.min_rate = 5}, SETTING_RATE, {.min_rate = 5, .max_rate = 9}, NULL, NULL},
	{"lower minimum", {}, 0, {.min_rate = 5}, SETTING_RATE, {.min_rate = 4}, NULL, NULL},
	{"pinned, but so", {}, SETTING_ALL, {ACCESS(7)}, SETTING_ALL, {ACCESS(7)}, NULL, NULL},
	{"not meant",
	 {},
	 SETTING_ALL & ~SETTING_LINK,
	 {},
	 SETTING_LINK,
	 {ACCESS(7), .trust = true, .admin_mac = FOREIGN(1), .min_rate = 5, .link = LINK_ENABLE},
	 NULL,
	 NULL},

	/* pinned goes before everything that is otherwise allowed */
	{"pinned MAC",
	 {.macs = MAC_POLICY_ANY},
	 SETTING_MAC,
	 {.admin_mac = MAC(1)},
	 SETTING_MAC,
	 {},
	 "pinned",
	 "MAC"},
	{"pinned VLAN", {.vlans = VLANS_ALL}, SETTING_VLAN, {ACCESS(7)}, SETTING_VLAN, {}, "pinned", "VLAN"},
	{"pinned rates", {}, SETTING_RATE, {.max_rate = 5}, SETTING_RATE, {}, "pinned", "rates"},
	{"pinned spoof check",
	 {},
	 SETTING_SPOOFCHK,
	 {},
	 SETTING_SPOOFCHK,
	 {.spoofchk = true},
	 "pinned",
	 "spoof check"},
	{"pinned trust", {}, SETTING_TRUST, {.trust = true}, SETTING_TRUST, {}, "pinned", "trust"},
	{"pinned link", {}, SETTING_LINK, {}, SETTING_LINK, {.link = LINK_ENABLE}, "pinned", "link"},
	{"one of two pinned",
	 {},
	 SETTING_LINK,
	 {},
	 SETTING_LINK | SETTING_RATE,
	 {.link = LINK_ENABLE, .max_rate = 7},
	 "pinned",
	 "link"},

	/* guest_control and max_vfs: not even what is so */
	{"control off",
	 {.guest_control_off = true},
	 0,
	 {},
	 SETTING_ALL,
	 {},
	 "policy.guest_control",
	 "guest_control"},
	{"beyond max_vfs",
	 {.vfs_less = 252},
	 0,
	 {},
	 SETTING_ALL,
	 {},
	 "policy.max_vfs",
	 "VFs 0 to 2, not 3",
	 .fn = VPF_FUNCTION_VF(3)},
	{"within max_vfs", {.vfs_less = 252}, 0, {}, SETTING_ALL, {}, NULL, NULL, .fn = VPF_FUNCTION_VF(2)},
	{"no VFs", {.vfs_less = 255}, 0, {}, SETTING_ALL, {}, "policy.max_vfs", "no VFs"},

	/* VLANs */
	{"first allowed", {.vlans = VLANS_SOME}, 0, {}, SETTING_VLAN, {ACCESS(10)}, NULL, NULL},
	{"last allowed", {.vlans = VLANS_SOME}, 0, {}, SETTING_VLAN, {ACCESS(30)}, NULL, NULL},
	{"not among them",
	 {.vlans = VLANS_SOME},
	 0,
	 {},
	 SETTING_VLAN,
	 {ACCESS(21)},
	 "policy.vlans",
	 "allows 10-20,30, not VLAN 21"},
	{"many", {.vlans = VLANS_MANY}, 0, {}, SETTING_VLAN, {ACCESS(4094)}, "policy.vlans", ",…"},
	{"last VLAN", {.vlans = VLANS_ALL}, 0, {}, SETTING_VLAN, {ACCESS(4094)}, NULL, NULL},
	{"802.1ad", {.vlans = VLANS_SOME}, 0, {}, SETTING_VLAN, {ACCESS_AD(10)}, "policy.vlan_ad", "802.1ad"},
	{"802.1ad allowed",
	 {.vlans = VLANS_SOME, .vlan_ad = true},
	 0,
	 {},
	 SETTING_VLAN,
	 {ACCESS_AD(10)},
	 NULL,
	 NULL},
	{"802.1ad, wrong VLAN",
	 {.vlans = VLANS_SOME, .vlan_ad = true},
	 0,
	 {},
	 SETTING_VLAN,
	 {ACCESS_AD(9)},
	 "policy.vlans",
	 NULL},
	{"untagged trunk", {}, 0, {}, SETTING_VLAN, {TRUNK(1)}, NULL, NULL},
	{"trunk", {.vlans = VLANS_SOME}, 0, {}, SETTING_VLAN, {TRUNK(0xc01)}, NULL, NULL},
	{"trunk with more",
	 {.vlans = VLANS_SOME},
	 0,
	 {},
	 SETTING_VLAN,
	 {TRUNK(0xe00)},
	 "policy.vlans",
	 "VLAN 9"},

	/* MACs */
	{"listed", {.macs = MAC_POLICY_LIST}, 0, {}, SETTING_MAC, {.admin_mac = FOREIGN(0x10)}, NULL, NULL},
	{"last listed",
	 {.macs = MAC_POLICY_LIST},
	 0,
	 {},
	 SETTING_MAC,
	 {.admin_mac = FOREIGN(0x1f)},
	 NULL,
	 NULL},
	{"single listed",
	 {.macs = MAC_POLICY_LIST},
	 0,
	 {},
	 SETTING_MAC,
	 {.admin_mac = FOREIGN(0x40)},
	 NULL,
	 NULL},
	{"own with a list", {.macs = MAC_POLICY_LIST}, 0, {}, SETTING_MAC, {.admin_mac = MAC(1)}, NULL, NULL},
	{"before the list",
	 {.macs = MAC_POLICY_LIST},
	 0,
	 {},
	 SETTING_MAC,
	 {.admin_mac = FOREIGN(0x0f)},
	 "policy.macs",
	 "list"},
	{"behind the list",
	 {.macs = MAC_POLICY_LIST},
	 0,
	 {},
	 SETTING_MAC,
	 {.admin_mac = FOREIGN(0x20)},
	 "policy.macs",
	 "list"},
	{"listed, but not asked", {}, 0, {}, SETTING_MAC, {.admin_mac = FOREIGN(0x10)}, "policy.macs", "own"},
	{"any", {.macs = MAC_POLICY_ANY}, 0, {}, SETTING_MAC, {.admin_mac = FOREIGN(1)}, NULL, NULL},

	/* trust and spoof check */
	{"trust allowed", {.trust = true}, 0, {}, SETTING_TRUST, {.trust = true}, NULL, NULL},
	{"spoof check off allowed",
	 {.spoofchk_off = true},
	 0,
	 {.spoofchk = true},
	 SETTING_SPOOFCHK,
	 {},
	 NULL,
	 NULL},

	/* rates */
	{"at the limit", {.max_rate = 100}, 0, {}, SETTING_RATE, {.max_rate = 100}, NULL, NULL},
	{"above it",
	 {.max_rate = 100},
	 0,
	 {},
	 SETTING_RATE,
	 {.max_rate = 101},
	 "policy.max_rate",
	 "100 Mb/s, not 101"},
	{"none under a limit", {.max_rate = 100}, 0, {.max_rate = 5}, SETTING_RATE, {}, NULL, NULL},
	{"minimum above it",
	 {.max_rate = 100, .max_rate_total = 1000},
	 0,
	 {},
	 SETTING_RATE,
	 {.min_rate = 101},
	 "policy.max_rate",
	 NULL},
	{"minimum fits",
	 {.max_rate_total = 1000},
	 0,
	 {},
	 SETTING_RATE,
	 {.min_rate = 400},
	 NULL,
	 NULL,
	 .min_others = 600},
	{"minimum too much",
	 {.max_rate_total = 1000},
	 0,
	 {},
	 SETTING_RATE,
	 {.min_rate = 401},
	 "policy.max_rate_total",
	 "400 Mb/s, not 401",
	 .min_others = 600},
	{"minimum where all is gone",
	 {.max_rate_total = 1000},
	 0,
	 {},
	 SETTING_RATE,
	 {.min_rate = 1},
	 "policy.max_rate_total",
	 "0 Mb/s, not 1",
	 .min_others = 1200},
	{"minimum of 2^32 others",
	 {.max_rate_total = 1000},
	 0,
	 {},
	 SETTING_RATE,
	 {.min_rate = 1},
	 "policy.max_rate_total",
	 NULL,
	 .min_others = UINT64_C(1) << 32},
};

static struct pf_settings settings(const struct policy_words *w)
{
	struct pf_settings s;
	struct pf_policy *p = &s.policy;

	pf_settings_init(&s, "pf0");
	s.vfs = 4;
	p->guest_control = !w->guest_control_off;
	p->vlan_ad = w->vlan_ad;
	p->trust = w->trust;
	p->spoofchk_off = w->spoofchk_off;
	p->macs = w->macs;
	p->max_vfs = VPF_MAX_VFS - w->vfs_less;
	p->max_rate = w->max_rate;
	p->max_rate_total = w->max_rate_total;
	p->mac_ranges_n = 2;
	p->mac_ranges[0] = (struct mac_range){FOREIGN(0x10), FOREIGN(0x1f)};
	p->mac_ranges[1] = (struct mac_range){FOREIGN(0x40), FOREIGN(0x40)};
	for (unsigned int vid = 1; vid < 4095; vid++)
		if (w->vlans == VLANS_ALL || (w->vlans == VLANS_MANY && vid % 2) ||
		    (w->vlans == VLANS_SOME && ((vid >= 10 && vid <= 20) || vid == 30)))
			p->vlans[vid / 64] |= UINT64_C(1) << vid % 64;
	return s;
}

static void requests(void **state)
{
	static const uint8_t mac[6] = MAC(0);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		struct pf_settings pf = settings(&row->policy);
		struct function_settings now = row->now;
		struct policy_request q = {
			.pf = &pf,
			.mac = mac,
			.min_others = row->min_others,
			.fn = row->fn ? row->fn : VPF_FUNCTION_VF(0),
			.mask = row->mask,
			.now = &now,
			.wanted = &row->wanted,
		};
		struct err err = {0};
		int r;

		now.pinned = row->pinned;
		r = policy_check_request(&q, &err);
		if (r != (row->rule ? -EPERM : 0) || strcmp(err.field, row->rule ? row->rule : "") != 0)
			fail_msg("%s: %d, %s: %s", row->what, r, err.field, err.text);
		if (row->says && !strstr(err.text, row->says))
			fail_msg("%s: '%s' does not say '%s'", row->what, err.text, row->says);
		if (strlen(err.text) > TEXT_MAX)
			fail_msg("%s: '%s' has %zu bytes", row->what, err.text, strlen(err.text));
		/* Without a place for the reason: the same answer. */
		assert_int_equal(policy_check_request(&q, NULL), r);
	}
}

/* The longest of everything that goes into a sentence. */
static void sentences_fit(void **state)
{
	static const struct {
		struct policy_words policy;
		struct function_settings wanted;
		unsigned int fn;
	} longest[] = {
		{{.vlans = VLANS_MANY}, {ACCESS(4094)}, 1},
		{{.macs = MAC_POLICY_LIST}, {.admin_mac = {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff}}, 1},
		{{.vfs_less = 3}, {}, VPF_FUNCTION_VF(254)},
		{{.max_rate = 999999}, {.max_rate = 1000000}, 1},
		{{.max_rate_total = 999999}, {.min_rate = 1000000}, 1},
		{{.guest_control_off = true}, {}, 1},
	};
	static const uint8_t mac[6] = MAC(0);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(longest); i++) {
		struct pf_settings pf = settings(&longest[i].policy);
		struct function_settings now = {0};
		struct err err = {0};

		pf.vfs = 255;
		assert_int_equal(policy_check_request(&(struct policy_request){.pf = &pf,
									       .mac = mac,
									       .fn = longest[i].fn,
									       .mask = SETTING_ALL,
									       .now = &now,
									       .wanted = &longest[i].wanted},
						      &err),
				 -EPERM);
		if (strlen(err.text) > TEXT_MAX)
			fail_msg("'%s' has %zu bytes", err.text, strlen(err.text));
	}
}

static void pf_itself(void **state)
{
	struct pf_settings pf = settings(&(struct policy_words){0});
	struct function_settings same = {0};
	struct err err = {0};

	(void)state;
	assert_int_equal(policy_check_request(&(struct policy_request){.pf = &pf,
								       .mac = (uint8_t[6])MAC(0),
								       .fn = VPF_FUNCTION_PF,
								       .mask = SETTING_LINK,
								       .now = &same,
								       .wanted = &same},
					      &err),
			 -EINVAL);
	assert_string_equal(err.field, "vf");
}

static void limits(void **state)
{
	struct pf_policy policy = settings(&(struct policy_words){.vfs_less = 253, .max_rate = 100}).policy;
	struct function_settings s;

	(void)state;
#define AFTER(function, ...)                                                                                 \
	(s = (struct function_settings){__VA_ARGS__}, policy_limit(&policy, function, &s), s)
	assert_int_equal(AFTER(VPF_FUNCTION_VF(1), .link = LINK_ENABLE).link, LINK_ENABLE);
	assert_int_equal(AFTER(VPF_FUNCTION_VF(2), .link = LINK_ENABLE).link, LINK_DISABLE);
	assert_int_equal(AFTER(VPF_FUNCTION_PF, .link = LINK_AUTO).link, LINK_AUTO);
	assert_int_equal(AFTER(VPF_FUNCTION_VF(0), .max_rate = 0).max_rate, 100);
	assert_int_equal(AFTER(VPF_FUNCTION_VF(0), .max_rate = 99).max_rate, 99);
	assert_int_equal(AFTER(VPF_FUNCTION_VF(0), .max_rate = 101).max_rate, 100);
	assert_int_equal(AFTER(VPF_FUNCTION_VF(0), .min_rate = 200).min_rate, 100);
	assert_int_equal(AFTER(VPF_FUNCTION_VF(0), .min_rate = 20).min_rate, 20);
	assert_int_equal(AFTER(VPF_FUNCTION_PF, .max_rate = 0).max_rate, 0);
	policy.max_vfs = 0;
	policy.max_rate = 0;
	assert_int_equal(AFTER(VPF_FUNCTION_VF(0), .max_rate = 101).link, LINK_DISABLE);
	assert_int_equal(s.max_rate, 101);
	assert_int_equal(AFTER(VPF_FUNCTION_PF, .link = LINK_ENABLE).link, LINK_ENABLE);
#undef AFTER
}

static void minimums(void **state)
{
	struct pf_policy policy = {0};
	struct err err = {0};

	(void)state;
	assert_int_equal(policy_check_minimums(&policy, 0, "x", NULL), 0);
	assert_int_equal(policy_check_minimums(&policy, 1, "x", &err), -EINVAL);
	assert_string_equal(err.field, "x");
	assert_non_null(strstr(err.text, "max_rate_total"));
	policy.max_rate_total = 10;
	assert_int_equal(policy_check_minimums(&policy, 10, "x", NULL), 0);
	assert_int_equal(policy_check_minimums(&policy, 11, "x", NULL), -EINVAL);
	assert_int_equal(policy_check_minimums(&policy, UINT64_C(1) << 32, "x", NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests), cmocka_unit_test(sentences_fit), cmocka_unit_test(pf_itself),
		cmocka_unit_test(limits),   cmocka_unit_test(minimums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
