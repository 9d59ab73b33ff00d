/* SPDX-License-Identifier: Apache-2.0 */

/* What a host, or a vpfd that was killed, does to bridge, taps and uplink, and how the fabric comes back. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "bridge_env.h"
#include "net/tap_queues.h"

static void test_tap_deleted(void **state)
{
	struct br_env *e = br_begin(state, false);
	unsigned int a = br_add(e, NULL), b = br_add(e, NULL);
	struct fabric_use again = {0};
	struct link_info i;
	char command[128];

	br_settle(e);
	br_send_from(e, a, b, 1);
	br_expect_at(e, b, b, a, 1);
	assert_true(br_sh("ip link del vpf-pf0-pf"));
	br_settle(e);
	assert_int_equal(e->troubles, 1);
	assert_non_null(strstr(e->why, "vpf-pf0-pf"));
	assert_int_equal(e->remade, 1);
	/* Another one behind the same descriptors, with everything on it. */
	assert_int_equal(tap_set_queues(e->at[a].tap.fd, 1, 1), 0);
	br_send_from(e, a, b, 2);
	br_expect_at(e, b, b, a, 2);
	br_send_from(e, b, a, 3);
	br_expect_at(e, a, a, b, 3);
	br_put(e->at[a].tap.fd[0], br_make(b, 50, 4, NULL));
	br_expect_nothing(e);
	assert_int_equal(br_stats(e, a).tx_packets, 2);
	assert_int_equal(br_stats(e, a).tx_drop[DROP_SPOOF_MAC], 1);
	/* Taken away: it is there, but not here. */
	snprintf(command, sizeof(command),
		 "ip netns add vpf-away-%1$d && ip link set vpf-pf0-pf netns vpf-away-%1$d", getpid());
	assert_true(br_sh(command));
	br_settle(e);
	assert_int_equal(e->remade, 1);
	assert_int_equal(e->troubles, 3); /* it is gone; and why it cannot be made again, once */
	assert_int_equal(e->lost, 1);
	assert_int_equal(fabric_port_open(e->p[a], &again, 1, NULL, NULL), -ENODEV);
	assert_int_equal(link_get(bridge_of(e->f)->nl, "vpf-pf0-pf", 0, &i), -ENODEV);
	br_close_port(e, a);
	br_open_port(e, a, 1);
	snprintf(command, sizeof(command), "ip netns del vpf-away-%d", getpid());
	assert_true(br_sh(command));
	br_send_from(e, a, b, 5);
	br_expect_at(e, b, b, a, 5);
	assert_int_equal(br_stats(e, a).tx_packets, 3);
}

static void test_tap_taken_out(void **state)
{
	struct br_env *e = br_begin(state, false);
	unsigned int a = br_add(e, NULL), b = br_add(e, NULL);

	br_settle(e);
	assert_true(br_sh("ip link set vpf-pf0-pf nomaster"));
	br_settle(e);
	assert_int_equal(e->troubles, 1);
	br_send_from(e, a, b, 1);
	br_expect_at(e, b, b, a, 1);
	br_send_from(e, b, a, 2);
	br_expect_at(e, a, a, b, 2);
	assert_true(br_sh("ip link set vpf-pf0-pf down"));
	br_settle(e);
	assert_int_equal(e->troubles, 2);
	br_send_from(e, b, a, 3);
	br_expect_at(e, a, a, b, 3);
	assert_int_equal(e->remade, 0);
}

static void test_bridge_deleted(void **state)
{
	struct br_env *e = br_begin(state, false);
	unsigned int a = br_add(e, NULL), b = br_add(e, NULL);

	br_settle(e);
	assert_true(br_sh("ip link del " BR_NAME));
	br_settle(e);
	assert_int_equal(e->remade, 0);
	assert_true(e->troubles >= 1);
	assert_true(e->p[a]->link_up);
	br_send_from(e, a, b, 1);
	br_expect_at(e, b, b, a, 1);
	br_put(e->at[a].tap.fd[0], br_make(b, 50, 2, NULL));
	br_expect_nothing(e);
}

/* A bridge that was there: it stays, as it was. */
static void test_existing(void **state)
{
	struct br_env *e = *state;
	struct err err = {0};
	unsigned int a, b;

	if (!e)
		skip();
	assert_true(
		br_sh("ip link add " BR_NAME " type bridge && ip link set " BR_NAME " addrgenmode none up"));
	br_begin(state, false);
	a = br_add(e, NULL);
	b = br_add(e, NULL);
	br_settle(e);
	br_send_from(e, a, b, 1);
	br_expect_at(e, b, b, a, 1);
	if (bridge_host() & BRIDGE_HOST_VLAN)
		assert_true(br_sh("ip -d link show " BR_NAME " | grep -q 'vlan_filtering 1'"));
	br_stop(e);
	br_settle(e);
	assert_true(br_sh("ip link show " BR_NAME " >/dev/null"));
	assert_false(br_sh("ip -d link show " BR_NAME " | grep -q 'vlan_filtering 1'"));
	/* Somebody else's, gone and back. */
	br_begin(state, false);
	a = br_add(e, NULL);
	b = br_add(e, NULL);
	br_settle(e);
	assert_true(br_sh("ip link del " BR_NAME));
	br_settle(e);
	assert_int_equal(e->troubles, 1);
	assert_false(e->p[a]->link_up);
	assert_true(
		br_sh("ip link add " BR_NAME " type bridge && ip link set " BR_NAME " addrgenmode none up"));
	br_settle(e);
	assert_true(e->p[a]->link_up);
	br_send_from(e, a, b, 2);
	br_expect_at(e, b, b, a, 2);
	br_stop(e);
	br_settle(e);
	assert_true(br_sh("ip link show " BR_NAME " >/dev/null && ip link del " BR_NAME));
	/* No bridge at all. */
	assert_int_equal(tap_new(BR_NAME, 1, &e->wire, &err), 0);
	assert_int_equal(br_new(e, &err), -EINVAL);
	assert_string_equal(err.field, "bridge");
}

/* What the kernel refuses is the caller's to hear, not trouble: the port goes on with all that it had. */
static void test_refused(void **state)
{
	struct br_env *e = br_begin(state, false);
	unsigned int a = br_add(e, NULL), b = br_add(e, NULL), links;
	struct function_settings s = br_settings(a), before = e->p[a]->settings;
	struct pf_policy policy = e->policy;
	struct err err = {0};

	br_settle(e);
	links = e->links;
	s.mtu = UINT16_MAX; /* a tap has not got that */
	s.spoofchk = false;
	memcpy(s.admin_mac, (uint8_t[6]){2, 0, 0, 0, 0, 0x71}, 6);
	policy.max_rate_total = 1;
	assert_int_equal(fabric_port_set(e->p[a], &s, &policy, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.text, "set its link, tap vpf-pf0-pf"));
	assert_memory_equal(&e->p[a]->settings, &before, sizeof(before));
	assert_int_equal(e->p[a]->group->max_rate_total, 0);
	br_settle(e);
	assert_int_equal(e->troubles, 0);
	assert_int_equal(e->links, links);
	assert_true(e->p[a]->link_up);
	assert_true(br_sh("ip link show vpf-pf0-pf up | grep -q 'mtu 1500 .*master " BR_NAME "'"));
	br_send_from(e, a, b, 1);
	br_expect_at(e, b, b, a, 1);
	br_send_from(e, b, a, 2);
	br_expect_at(e, a, a, b, 2);
	br_put(e->at[a].tap.fd[0], br_make(b, 0x70, 3, NULL)); /* as if it had the other address */
	br_expect_nothing(e);
	assert_int_equal(br_stats(e, a).tx_drop[DROP_SPOOF_MAC], 1);
	/* One that is not refused, and one of a port that is closed: it is found out when it is opened. */
	s = br_settings(a);
	s.mtu = 3000;
	br_set(e, a, &s);
	br_close_port(e, a);
	s.mtu = UINT16_MAX;
	br_set(e, a, &s);
	assert_int_equal(fabric_port_open(e->p[a], &e->use[a], 1, NULL, &err), -EINVAL);
	assert_int_equal(e->troubles, 0);
	/* Of another port's change it is no part. */
	br_set(e, b, &e->p[b]->settings);
	assert_int_equal(e->troubles, 0);
}

/* The kernel takes the program at one side, and not at the other: neither stays. */
static void test_half_refused(void **state)
{
	struct br_env *e = br_begin(state, false);
	unsigned int a, b;
	struct function_settings s;

	if (!(bridge_host() & BRIDGE_HOST_PROGRAM))
		skip();
	a = br_add(e, NULL);
	b = br_add(e, NULL);
	br_settle(e);
	/* A filter of another protocol is where its own was. */
	assert_true(br_sh("tc filter del dev vpf-pf0-pf egress && tc filter add dev vpf-pf0-pf egress pref 1 "
			  "protocol ip handle 1 bpf bytecode '1,6 0 0 4294967295'"));
	s = e->p[a]->settings;
	s.mtu = 68;
	s.spoofchk = false;
	assert_true(fabric_port_set(e->p[a], &s, &e->policy, NULL, NULL) < 0);
	assert_int_equal(e->p[a]->settings.mtu, 1500);
	/* Its old ones cannot be had either. */
	assert_int_equal(e->troubles, 1);
	assert_false(e->p[a]->link_up);
	br_put(e->at[a].tap.fd[0], br_make(b, 50, 4, NULL));
	br_expect_nothing(e);
	assert_true(br_sh("tc filter del dev vpf-pf0-pf egress"));
	BR_UNTIL(e, e->p[a]->link_up);
	br_send_from(e, a, b, 1);
	br_expect_at(e, b, b, a, 1);
	br_put(e->at[a].tap.fd[0], br_make(b, 50, 4, NULL));
	br_expect_nothing(e);
	/* Somebody takes both, and all that holds them. */
	assert_true(br_sh("tc qdisc del dev vpf-pf0-pf clsact"));
	s.spoofchk = true;
	s.mtu = 1000;
	br_set(e, a, &s);
	br_put(e->at[a].tap.fd[0], br_make(b, 50, 4, NULL));
	br_expect_nothing(e);
	br_send_from(e, a, b, 2);
	br_expect_at(e, b, b, a, 2);
}

static const char make_bridge[] =
	"ip link add " BR_NAME " type bridge && ip link set " BR_NAME " addrgenmode none up";

/* Two functions on a bridge that is not vpfd's, which is then deleted. */
static struct br_env *begin_and_delete(void **state, unsigned int *a, unsigned int *b)
{
	struct br_env *e = *state;

	if (!e)
		skip();
	assert_true(br_sh(make_bridge));
	br_begin(state, false);
	*a = br_add(e, NULL);
	*b = br_add(e, NULL);
	br_settle(e);
	assert_true(br_sh("ip link del " BR_NAME));
	br_settle(e);
	return e;
}

/* A tap that is made again and then refused: it is there, and those who use it are told. */
static void test_remade_and_refused(void **state)
{
	struct function_settings s = br_settings(0);
	unsigned int a, b;
	struct br_env *e = begin_and_delete(state, &a, &b);

	s.mtu = UINT16_MAX; /* a tap has not got that */
	br_set(e, a, &s);
	assert_true(br_sh("ip link del vpf-pf0-pf"));
	br_settle(e);
	assert_true(br_sh(make_bridge));
	br_settle(e); /* it comes to an end: what is undone is no reason to try at once */
	assert_int_equal(e->remade, 0);
	assert_false(e->p[a]->link_up);
	s.mtu = 1500;
	br_set(e, a, &s);
	BR_UNTIL(e, e->remade == 1);
	assert_true(e->p[a]->link_up);
	assert_int_equal(tap_set_queues(e->at[a].tap.fd, 1, 1), 0);
	br_send_from(e, b, a, 2);
	br_expect_at(e, a, a, b, 2);
}

/* Without a bridge nothing is refused: the port is brought to its settings when there is one. If the kernel refuses
 * them then, the port has no link, and each change is refused until one mends it. */
static void test_set_in_trouble(void **state)
{
	struct function_settings s = br_settings(0);
	unsigned int a, b;
	struct br_env *e = begin_and_delete(state, &a, &b);

	assert_int_equal(e->troubles, 1);
	s.mtu = UINT16_MAX;
	br_set(e, a, &s);
	assert_true(br_sh(make_bridge));
	br_settle(e);
	assert_int_equal(e->troubles, 2);
	assert_non_null(strstr(e->why, "tap vpf-pf0-pf"));
	memcpy(s.admin_mac, (uint8_t[6]){2, 0, 0, 0, 0, 0x71}, 6);
	assert_false(e->p[a]->link_up);
	assert_int_equal(fabric_port_set(e->p[a], &s, &e->policy, NULL, NULL), -EINVAL);
	assert_int_equal(e->p[a]->settings.admin_mac[5], 0);
	assert_int_equal(e->troubles, 2); /* told once */
	assert_false(e->p[a]->link_up);
	br_send_from(e, b, 0xff, 1); /* nothing passes */
	br_expect_nothing(e);
	s.mtu = 3000;
	br_set(e, a, &s);
	assert_true(e->p[a]->link_up);
	br_send_from(e, b, 0x70, 2);
	br_expect_at(e, a, 0x70, b, 2);
	/* That is over: refused from now on. */
	s.mtu = UINT16_MAX;
	assert_int_equal(fabric_port_set(e->p[a], &s, &e->policy, NULL, NULL), -EINVAL);
	assert_int_equal(e->p[a]->settings.mtu, 3000);
	br_send_from(e, b, 0x70, 3);
	br_expect_at(e, a, 0x70, b, 3);
	assert_int_equal(e->troubles, 2);
}

/* What a vpfd that was killed leaves: its bridge, and taps while somebody still has them open. */
static void test_left_over(void **state)
{
	struct br_env *e = *state;
	unsigned int a, b;

	if (!e)
		skip();
	assert_true(br_sh("ip link add " BR_NAME " type bridge && ip link set " BR_NAME
			  " alias 'vpf fabric lan' up"));
	assert_true(br_sh("ip tuntap add vpf-pf0-pf mode tap && ip link set vpf-pf0-pf alias 'vpf pf0 0' "
			  "master " BR_NAME));
	assert_true(br_sh("ip tuntap add vpf-pf0-v0 mode tap")); /* somebody's whose name is alike */
	br_begin(state, false);
	a = br_add(e, NULL);
	b = br_add(e, NULL);
	assert_string_equal(e->at[a].tap.name, "vpf-pf0-pf");
	assert_string_not_equal(e->at[b].tap.name, "vpf-pf0-v0");
	br_send_from(e, a, b, 1);
	br_expect_at(e, b, b, a, 1);
	br_stop(e);
	assert_false(br_sh("ip link show " BR_NAME " >/dev/null 2>&1"));
	assert_true(br_sh("ip link show vpf-pf0-v0 >/dev/null"));
}

/* Its own bridge stays while somebody has a port in it; an uplink that vpfd made a port of it does not count. */
static void test_uplink(void **state)
{
	struct br_env *e = *state;
	struct fabric_settings s;
	struct err err = {0};
	unsigned int a, b;

	if (!e)
		skip();
	assert_true(br_sh("ip link add up0 type veth peer name up1 && ip link set up0 addrgenmode none up &&"
			  "ip link set up1 addrgenmode none up"));
	e->s.uplink = UPLINK_NETDEV;
	snprintf(e->s.uplink_name, sizeof(e->s.uplink_name), "up0");
	br_begin(state, false);
	a = br_add(e, NULL);
	br_settle(e);
	assert_true(br_sh("ip link show up0 | grep -q 'master " BR_NAME "'"));
	BR_UNTIL(e, e->p[a]->link_up);
	assert_true(br_sh("ip link set up1 down"));
	BR_UNTIL(e, !e->p[a]->link_up);
	/* Gone and back. */
	assert_true(br_sh("ip link del up0"));
	br_settle(e);
	assert_false(e->p[a]->link_up);
	assert_true(br_sh("ip link add up0 type veth peer name up1 && ip link set up0 addrgenmode none up &&"
			  "ip link set up1 addrgenmode none up"));
	BR_UNTIL(e, e->p[a]->link_up);
	/* None, and one that is not there. */
	s = e->s;
	s.uplink = UPLINK_NONE;
	s.uplink_name[0] = 0;
	assert_int_equal(fabric_set(e->f, &s, NULL, &err), 0);
	assert_false(br_sh("ip link show up0 | grep -q master"));
	s.uplink = UPLINK_NETDEV;
	snprintf(s.uplink_name, sizeof(s.uplink_name), "up9");
	assert_int_equal(fabric_set(e->f, &s, NULL, &err), -ENODEV);
	s.uplink = UPLINK_TAP;
	assert_int_equal(fabric_set(e->f, &s, NULL, &err), -EOPNOTSUPP);
	b = br_add(e, NULL);
	br_send_from(e, b, a, 1);
	br_expect_at(e, a, a, b, 1);
	assert_true(br_sh("ip link set up0 master " BR_NAME));
	br_stop(e);
	assert_true(br_sh("ip link show " BR_NAME " >/dev/null"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, br_setup, br_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_tap_deleted),    TEST(test_tap_taken_out), TEST(test_bridge_deleted),
		TEST(test_refused),        TEST(test_half_refused),  TEST(test_remade_and_refused),
		TEST(test_set_in_trouble), TEST(test_existing),      TEST(test_left_over),
		TEST(test_uplink),
	};

	return cmocka_run_group_tests_name("bridge_trouble", tests, NULL, NULL);
}
