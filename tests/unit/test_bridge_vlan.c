/* SPDX-License-Identifier: Apache-2.0 */

/* VLANs, and tags that are none of a function's. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/if_bridge.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "bridge_env.h"

static unsigned int vlan_attrs(const struct brport_vlans *v, struct bridge_vlan_info *ret, unsigned int max)
{
	char buf[RTNL_ROOM] __attribute__((aligned(8)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	const struct nlattr *spec, *attr;
	unsigned int n = 0;

	brport_put_vlans(nlh, v);
	assert_true(nlh->nlmsg_len <= sizeof(buf));
	spec = mnl_nlmsg_get_payload(nlh);
	assert_int_equal(mnl_attr_get_type(spec), IFLA_AF_SPEC);
	mnl_attr_for_each_nested(attr, spec)
	{
		assert_int_equal(mnl_attr_get_type(attr), IFLA_BRIDGE_VLAN_INFO);
		if (n < max)
			memcpy(&ret[n], mnl_attr_get_payload(attr), sizeof(ret[n]));
		n++;
	}
	return n;
}

/* Sets of VLANs as the kernel wants them said: ranges of what is alike; the PVID alone; the ends not at all. */
static void test_vlan_ranges(void **state)
{
	static struct brport_vlans v;
	struct bridge_vlan_info i[8];

	(void)state;
	assert_int_equal(vlan_attrs(&v, i, 8), 0);
	memset(v.member, 0xff, sizeof(v.member));
	v.untagged[0] = 1 << 5;
	v.pvid = 5;
	assert_int_equal(vlan_attrs(&v, i, 8), 5);
	assert_true(i[0].vid == 1 && i[0].flags == BRIDGE_VLAN_INFO_RANGE_BEGIN);
	assert_true(i[1].vid == 4 && i[1].flags == BRIDGE_VLAN_INFO_RANGE_END);
	assert_true(i[2].vid == 5 && i[2].flags == (BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED));
	assert_true(i[3].vid == 6 && i[3].flags == BRIDGE_VLAN_INFO_RANGE_BEGIN);
	assert_true(i[4].vid == 4094 && i[4].flags == BRIDGE_VLAN_INFO_RANGE_END);
	/* Every other one; and the longest there is, two of three. */
	memset(&v, 0, sizeof(v));
	memset(v.member, 0x55, sizeof(v.member));
	assert_int_equal(vlan_attrs(&v, i, 8), 2047);
	assert_true(i[0].vid == 2 && i[0].flags == 0 && i[7].vid == 16);
	memset(&v, 0, sizeof(v));
	for (unsigned int vid = 1; vid < 4095; vid++)
		if (vid % 3)
			v.member[vid / 64] |= 1ULL << (vid % 64);
	assert_int_equal(vlan_attrs(&v, i, 8), 2730);
}

/* Frames with tags of functions that have no VLAN. */
static void test_no_tags(void **state)
{
	struct br_env *e = br_begin(state, false);
	unsigned int a = br_add(e, NULL), b = br_add(e, NULL);
	static const uint32_t tagged[] = {0x81000000 | 5, 0}, one[] = {0x81000000 | 1, 0},
			      ad[] = {0x88a80000 | 5, 0}, priority[] = {0x81000000 | 3 << 13, 0},
			      hidden[] = {0x81000000, 0x81000000 | 7, 0};

	br_add_wire(e);
	br_put(e->at[a].tap.fd[0], br_make(b, a, 1, tagged));
	br_put(e->at[a].tap.fd[0], br_make(b, a, 2, one));
	br_put(e->at[a].tap.fd[0], br_make(b, a, 3, ad));
	br_put(e->at[a].tap.fd[0], br_make(b, a, 4, hidden));
	br_expect_nothing(e);
	assert_int_equal(br_stats(e, a).tx_drop[DROP_SPOOF_VLAN], 4);
	br_put(e->at[a].tap.fd[0], br_make(b, a, 5, priority));
	br_expect(e->at[b].tap.fd[0], br_shrunk(br_make(b, a, 5, NULL)));
	br_put(e->wire->fd[0], br_make(b, 99, 6, tagged));
	br_put(e->wire->fd[0], br_make(b, 99, 7, ad));
	br_expect_nothing(e);
	assert_int_equal(e->troubles, 0);
}

static void test_access(void **state)
{
	struct br_env *e = br_begin(state, true);
	struct function_settings s = br_access(0, 100, 0);
	unsigned int a, b, c, d;
	static const uint32_t v100[] = {0x81000000 | 100, 0}, p200[] = {0x81000000 | 5 << 13 | 200, 0},
			      v200[] = {0x81000000 | 200, 0}, v101[] = {0x81000000 | 101, 0};

	assert_true(fabric_can(&e->s) & CAN_VLAN);
	assert_false(fabric_can(&e->s) & CAN_VLAN_AD);
	a = br_add(e, &s);
	s = br_access(1, 100, 0);
	b = br_add(e, &s);
	s = br_access(2, 200, 5);
	c = br_add(e, &s);
	d = br_add(e, NULL);
	br_add_wire(e);
	br_send_from(e, a, b, 1);
	br_expect_at(e, b, b, a, 1);
	br_send_from(e, a, c, 2); /* not there: unknown, to the wire */
	br_expect(e->wire->fd[0], br_grown(br_make(c, a, 2, v100)));
	br_send_from(e, a, 0xff, 3);
	br_expect_at(e, b, 0xff, a, 3);
	br_expect(e->wire->fd[0], br_grown(br_make(0xff, a, 3, v100)));
	br_expect_nothing(e);
	br_send_from(e, c, 0xff, 4);
	br_expect(e->wire->fd[0], br_grown(br_make(0xff, c, 4, p200)));
	br_send_from(e, d, 0xff, 5);
	br_expect(e->wire->fd[0], br_make(0xff, d, 5, NULL));
	br_expect_nothing(e);
	br_put(e->wire->fd[0], br_make(c, 99, 6, v200));
	br_expect(e->at[c].tap.fd[0], br_shrunk(br_make(c, 99, 6, NULL)));
	br_put(e->wire->fd[0], br_make(a, 99, 7, v200));
	br_put(e->wire->fd[0], br_make(0xff, 99, 8, v101));
	br_put(e->wire->fd[0], br_make(a, 99, 9, NULL));
	br_expect_nothing(e);
	/* A tag of its own is none of the guest's, not even the right one. */
	br_put(e->at[a].tap.fd[0], br_make(b, a, 10, v100));
	br_put(e->at[a].tap.fd[0], br_make(c, a, 10, v200));
	br_expect_nothing(e);
	assert_int_equal(br_stats(e, a).tx_drop[DROP_SPOOF_VLAN], 2);
	/* Moved while it runs. */
	s = br_access(0, 200, 0);
	br_set(e, a, &s);
	br_send_from(e, a, c, 11);
	br_expect_at(e, c, c, a, 11);
	br_send_from(e, c, a, 12);
	br_expect_at(e, a, a, c, 12);
	br_send_from(e, a, b, 13);
	br_expect(e->wire->fd[0], br_grown(br_make(b, a, 13, v200)));
	s = br_settings(0);
	br_set(e, a, &s);
	br_send_from(e, a, d, 14);
	br_expect_at(e, d, d, a, 14);
	br_expect_nothing(e);
	assert_int_equal(e->troubles, 0);
}

static void test_trunk(void **state)
{
	struct br_env *e = br_begin(state, true);
	struct function_settings s = br_trunk(0, 100, 102, false);
	static const uint32_t v100[] = {0x81000000 | 2 << 13 | 100, 0}, v101[] = {0x81000000 | 101, 0},
			      v103[] = {0x81000000 | 103, 0}, ad[] = {0x88a80000 | 100, 0},
			      v4000[] = {0x81000000 | 4000, 0}, v3999[] = {0x81000000 | 3999, 0};
	unsigned int a = br_add(e, &s), b, c;

	s = br_access(1, 101, 0);
	b = br_add(e, &s);
	c = br_add(e, NULL);
	br_add_wire(e);
	br_put(e->at[a].tap.fd[0], br_make(b, a, 1, v101));
	br_expect(e->at[b].tap.fd[0], br_shrunk(br_make(b, a, 1, NULL)));
	br_put(e->at[a].tap.fd[0], br_make(0xff, a, 2, v100));
	br_expect(e->wire->fd[0], br_make(0xff, a, 2, v100)); /* its priority is its own */
	br_put(e->at[a].tap.fd[0], br_make(0xff, a, 3, v103));
	br_put(e->at[a].tap.fd[0], br_make(0xff, a, 4, ad));
	br_send_from(e, a, 0xff, 5); /* untagged is not in the set */
	br_expect_nothing(e);
	assert_int_equal(br_stats(e, a).tx_drop[DROP_SPOOF_VLAN], 3);
	br_put(e->wire->fd[0], br_make(a, 99, 6, v100));
	br_expect(e->at[a].tap.fd[0], br_make(a, 99, 6, v100));
	br_put(e->wire->fd[0], br_make(a, 99, 7, v103));
	br_put(e->wire->fd[0], br_make(a, 99, 8, NULL));
	br_expect_nothing(e);
	/* With untagged frames. */
	s = br_trunk(0, 100, 102, true);
	br_set(e, a, &s);
	br_send_from(e, a, c, 9);
	br_expect_at(e, c, c, a, 9);
	br_put(e->at[a].tap.fd[0], br_make(b, a, 10, v101));
	assert_int_equal(br_get(e->at[b].tap.fd[0]).len, 56);
	/* All there are: it learns, and from its own address only. */
	s = br_trunk(0, 0, 4094, true);
	br_set(e, a, &s);
	br_put(e->at[a].tap.fd[0], br_make(0xff, a, 11, v4000));
	br_expect(e->wire->fd[0], br_make(0xff, a, 11, v4000));
	br_put(e->wire->fd[0], br_make(a, 99, 12, v4000));
	br_expect(e->at[a].tap.fd[0], br_make(a, 99, 12, v4000));
	br_put(e->at[a].tap.fd[0], br_make(0xff, 50, 13, v4000));
	while (br_get(e->at[c].tap.fd[0]).len)
		;
	br_expect_nothing(e);
	/* The longest list that the kernel can be given. */
	for (unsigned int vid = 0; vid < 4095; vid += 3)
		s.vlan.trunk[vid / 64] &= ~(1ULL << (vid % 64));
	br_set(e, a, &s);
	br_put(e->at[a].tap.fd[0], br_make(0xff, a, 14, v4000)); /* 4000 is 1 more than a multiple of 3 */
	br_expect(e->wire->fd[0], br_make(0xff, a, 14, v4000));
	br_put(e->at[a].tap.fd[0], br_make(0xff, a, 15, v3999));
	br_expect_nothing(e);
	assert_int_equal(e->troubles, 0);
}

/* A bridge has one VLAN protocol. */
static void test_ad(void **state)
{
	struct br_env *e = *state;
	struct function_settings s;
	static const uint32_t v100[] = {0x88a80000 | 100, 0}, both[] = {0x88a80000 | 100, 0x81000000 | 7, 0},
			      inner[] = {0x81000000 | 7, 0}, q100[] = {0x81000000 | 100, 0};
	unsigned int a, b;
	uint32_t can;

	if (!e || !(bridge_host() & BRIDGE_HOST_VLAN))
		skip();
	assert_true(br_sh("ip link add " BR_NAME " type bridge vlan_filtering 1 vlan_protocol 802.1ad &&"
			  "ip link set " BR_NAME " addrgenmode none up"));
	br_begin(state, true);
	can = fabric_can(&e->s);
	assert_true(can & CAN_VLAN_AD && !(can & (CAN_VLAN | CAN_TRUNK)));
	s = br_access(0, 100, 0);
	s.vlan.tpid = 0x88a8;
	a = br_add(e, &s);
	s = br_access(1, 100, 3);
	s.vlan.tpid = 0x88a8;
	b = br_add(e, &s);
	br_add_wire(e);
	br_send_from(e, a, 0xff, 1);
	br_expect_at(e, b, 0xff, a, 1);
	br_expect(e->wire->fd[0], br_grown(br_make(0xff, a, 1, v100)));
	/* A customer's tag is payload. */
	br_put(e->at[a].tap.fd[0], br_make(b, a, 2, inner));
	br_expect(e->at[b].tap.fd[0], br_make(b, a, 2, inner));
	br_put(e->at[a].tap.fd[0], br_make(77, a, 3, inner));
	br_expect(e->wire->fd[0], br_grown(br_make(77, a, 3, both)));
	br_put(e->wire->fd[0], br_make(a, 99, 4, v100));
	br_expect(e->at[a].tap.fd[0], br_shrunk(br_make(a, 99, 4, NULL)));
	br_put(e->wire->fd[0], br_make(a, 99, 5, q100));
	br_put(e->at[a].tap.fd[0], br_make(b, a, 6, v100));
	br_expect_nothing(e);
	assert_int_equal(e->troubles, 0);
}

/* A bridge of somebody's that does not filter by VLAN, with ports for which that would make a difference. */
static void test_filtering_off(void **state)
{
	struct br_env *e = *state;
	struct err err = {0};

	if (!e || !(bridge_host() & BRIDGE_HOST_VLAN))
		skip();
	assert_true(br_sh("ip link add " BR_NAME " type bridge && ip link add up0 type veth peer name up1 &&"
			  "ip link set up0 master " BR_NAME));
	assert_int_equal(br_new(e, &err), -EBUSY);
	assert_string_equal(err.field, "bridge");
	assert_non_null(strstr(err.text, "vlan_filtering 1"));
	assert_true(br_sh("ip link show up0 | grep -q 'master " BR_NAME "'"));
	assert_false(br_sh("ip -d link show " BR_NAME " | grep -q 'vlan_filtering 1'"));
	assert_true(br_sh("ip link set " BR_NAME " type bridge vlan_filtering 1"));
	br_begin(state, true);
	br_stop(e);
	assert_true(br_sh("ip -d link show " BR_NAME " | grep -q 'vlan_filtering 1'"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, br_setup, br_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vlan_ranges),
		TEST(test_no_tags),
		TEST(test_access),
		TEST(test_trunk),
		TEST(test_ad),
		TEST(test_filtering_off),
	};

	return cmocka_run_group_tests_name("bridge_vlan", tests, NULL, NULL);
}
