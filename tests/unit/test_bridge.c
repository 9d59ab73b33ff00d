/* SPDX-License-Identifier: Apache-2.0 */

/* A bridge fabric with taps of functions: what is made and removed, and where frames go. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "bridge_env.h"
#include "fabric/announce.h"
#include "net/tap_queues.h"
#include "switch/pkt.h"
#include "types_env.h"

static void test_made_and_removed(void **state)
{
	struct br_env *e = br_begin(state, false);
	struct function_settings s = br_settings(0);
	struct fabric_use again = {0};
	const int *fd;
	struct err err;

	assert_true(br_sh("ip link show dev " BR_NAME " up | grep -q 'alias vpf fabric lan'"));
	e->n = 1;
	assert_int_equal(fabric_port_add(e->f, "pf0", 0, &s, &e->policy, NULL, &e->p[0]), 0);
	assert_false(
		br_sh("ip -br link show master " BR_NAME " | grep -q .")); /* nothing before it is used */
	br_open_port(e, 0, 4);
	assert_int_equal(e->at[0].tap.n, 4);
	assert_string_equal(e->at[0].tap.name, "vpf-pf0-pf");
	assert_true(br_sh("ip link show vpf-pf0-pf up | grep -q 'master " BR_NAME "'"));
	assert_false(br_sh("ip addr show vpf-pf0-pf | grep -q inet"));
	assert_true(br_sh("bridge -d link show dev vpf-pf0-pf | grep 'guard on' | grep 'learning off' |"
			  "grep ' flood off' | grep -q 'locked on'"));
	fd = e->p[0]->attach.tap.fd;
	assert_int_equal(fabric_port_open(e->p[0], &again, 4, NULL, &err), 0);
	assert_int_equal(e->p[0]->attach.kind, ATTACH_TAP);
	assert_ptr_equal(e->p[0]->attach.tap.fd, fd);
	fabric_port_close(e->p[0], &again);
	assert_true(br_sh("ip link show vpf-pf0-pf >/dev/null"));
	br_close_port(e, 0);
	assert_false(br_sh("ip link show vpf-pf0-pf >/dev/null 2>&1"));
	br_stop(e);
	assert_false(br_sh("ip link show " BR_NAME " >/dev/null 2>&1"));
	assert_int_equal(e->troubles, 0);
}

static void count_row(void *arg, const struct fdb_row *row)
{
	unsigned int *n = arg;

	assert_string_equal(row->pf, "pf0");
	assert_int_equal(row->mac[5], row->function + 1);
	assert_int_equal(row->kind, FDB_PERMANENT);
	assert_int_equal(row->vlan, 0);
	n[row->function]++;
}

static void test_traffic(void **state)
{
	struct br_env *e = br_begin(state, false);
	unsigned int rows[3] = {0};
	struct fabric_state fs;
	struct port_stats s;

	for (unsigned int i = 0; i < 3; i++)
		br_add(e, NULL);
	br_add_wire(e);
	br_send_from(e, 0, 1, 1);
	br_expect_at(e, 1, 1, 0, 1);
	br_expect_nothing(e);
	br_send_from(e, 2, 0xff, 2);
	br_expect_at(e, 0, 0xff, 2, 2);
	br_expect_at(e, 1, 0xff, 2, 2);
	br_expect(e->wire->fd[0], br_make(0xff, 2, 2, NULL));
	br_expect_nothing(e);
	/* An address that no port has: to the wire only. From the wire: to no port. */
	br_send_from(e, 0, 77, 3);
	br_expect(e->wire->fd[0], br_make(77, 0, 3, NULL));
	br_put(e->wire->fd[0], br_make(78, 99, 4, NULL));
	br_expect_nothing(e);
	br_put(e->wire->fd[0], br_make(1, 99, 5, NULL));
	br_expect_at(e, 1, 1, 99, 5);
	br_expect_nothing(e);
	s = br_stats(e, 0);
	assert_int_equal(s.tx_packets, 2);
	assert_int_equal(s.tx_bytes, 120);
	assert_in_range(s.rx_packets, 1, 20); /* and what the bridge itself has to say */
	assert_int_equal(s.rx_broadcast, 1);
	assert_int_equal(br_stats(e, 2).tx_broadcast, 1);
	fabric_fdb(e->f, 0, count_row, rows);
	assert_true(rows[0] == 1 && rows[1] == 1 && rows[2] == 1);
	fabric_get(e->f, &fs, &s);
	assert_int_equal(fs.ports, 3);
	assert_int_equal(fs.fdb_entries, 3);
	assert_true(fs.uplink_carrier);
	assert_int_equal(s.tx_packets, 2);
	/* Counters outlast the tap. */
	br_close_port(e, 0);
	assert_int_equal(br_stats(e, 0).tx_packets, 2);
	br_open_port(e, 0, 1);
	br_send_from(e, 0, 1, 6);
	assert_int_equal(br_stats(e, 0).tx_packets, 3);
	assert_int_equal(e->troubles, 0);
}

static void test_rates(void **state)
{
	struct br_env *e = br_begin(state, false);
	struct function_settings s = br_settings(0);
	unsigned int a = br_add(e, NULL), b = br_add(e, NULL);
	struct port_stats st;
	struct br_frame f = br_make(b, a, 1, NULL);

	s.max_rate = 1;
	br_set(e, a, &s);
	f.len = 1514;
	for (unsigned int i = 0; i < 400; i++)
		br_put(e->at[a].tap.fd[0], f);
	st = br_stats(e, a);
	assert_in_range(st.tx_packets, 86, 86 + 80); /* 128 KiB, and what a second gives at most */
	assert_int_equal(st.tx_packets + st.tx_drop[DROP_RATE], 400);
	/* All of the PF together; a minimum passes. */
	s.max_rate = 0;
	e->policy.max_rate_total = 1;
	br_set(e, a, &s);
	for (unsigned int i = 0; i < 400; i++)
		br_put(e->at[a].tap.fd[0], f);
	s = br_settings(b);
	s.min_rate = 1;
	br_set(e, b, &s);
	f = br_make(a, b, 1, NULL);
	f.len = 1514;
	for (unsigned int i = 0; i < 20; i++)
		br_put(e->at[b].tap.fd[0], f);
	assert_int_equal(br_stats(e, b).tx_packets, 20);
	assert_in_range(br_stats(e, a).tx_packets - st.tx_packets, 86, 86 + 80);
	/* Too long, for who sends and for who gets it. */
	f = br_make(a, b, 1, NULL);
	f.len = 1515;
	br_put(e->at[b].tap.fd[0], f);
	assert_int_equal(br_stats(e, b).tx_drop[DROP_MTU], 1);
	s.mtu = 3000;
	br_set(e, b, &s);
	br_put(e->at[b].tap.fd[0], f);
	assert_int_equal(br_stats(e, a).rx_drop[DROP_MTU], 1);
	assert_int_equal(e->troubles, 0);
}

static void test_link(void **state)
{
	struct br_env *e = br_begin(state, false);
	struct function_settings s = br_settings(0);
	unsigned int a = br_add(e, NULL), b = br_add(e, NULL), links;

	br_settle(e);
	assert_true(e->p[a]->link_up); /* there is no uplink to follow */
	s.link = LINK_DISABLE;
	br_set(e, a, &s);
	assert_false(e->p[a]->link_up);
	assert_false(br_sh("ip link show vpf-pf0-pf up | grep -q ."));
	br_send_from(e, b, 0xff, 1);
	br_send_from(e, a, 0xff, 1);
	br_expect_nothing(e);
	s.link = LINK_AUTO;
	br_set(e, a, &s);
	br_send_from(e, b, 0xff, 2);
	br_expect_at(e, a, 0xff, b, 2);
	br_add_wire(e);
	assert_int_equal(e->uplinks, 1);
	assert_true(e->p[a]->link_up && e->p[b]->link_up);
	links = e->links;
	assert_true(br_sh("ip link set wire down"));
	br_settle(e);
	assert_int_equal(e->uplinks, 2);
	assert_int_equal(e->links, links + 2);
	assert_false(e->p[a]->link_up || e->p[b]->link_up);
	s.link = LINK_ENABLE;
	br_set(e, a, &s);
	assert_true(e->p[a]->link_up && !e->p[b]->link_up);
	assert_true(br_sh("ip link set wire up"));
	BR_UNTIL(e, e->p[b]->link_up);
	br_send_from(e, b, a, 3);
	br_expect_at(e, a, a, b, 3);
	assert_int_equal(e->troubles, 0);
}

/* Every RARP that is at the wire: the VLAN (0: none) and the last byte of the address of each. */
static unsigned int rarps(struct br_env *e, uint32_t ret[ANNOUNCE_MAX])
{
	unsigned int n = 0;

	for (;;) {
		uint8_t b[12 + 128];
		const uint8_t *f = b + 12;
		unsigned int type = 12;
		uint32_t vid = 0;
		ssize_t len = read(e->wire->fd[0], b, sizeof(b));

		if (len < 12 + 14)
			return n;
		if (load_be16(f + type) == 0x8100) {
			vid = load_be16(f + 14);
			type += 4;
		}
		if (load_be16(f + type) != 0x8035)
			continue;
		assert_int_equal(len, 12 + 60 + (vid ? 4 : 0));
		assert_int_equal(mac_load(f), MAC_KEY_BROADCAST);
		assert_memory_equal(f + 6, f + type + 10, 6);
		assert_memory_equal(f + 6, f + type + 20, 6);
		assert_true(n < ANNOUNCE_MAX);
		ret[n++] = vid << 8 | f[11];
	}
}

static void test_announce(void **state)
{
	struct br_env *e = br_begin(state, false);
	struct function_settings s = br_settings(0);
	uint32_t got[ANNOUNCE_MAX];
	unsigned int a, b;

	br_add_wire(e);
	memcpy(s.admin_mac, (uint8_t[6]){2, 0, 0, 0, 0, 0x77}, 6);
	a = br_add(e, &s);
	b = br_add(e, NULL);
	br_settle(e);
	fabric_port_announce(e->p[a], NULL);
	assert_int_equal(rarps(e, got), 1);
	assert_int_equal(got[0], 0x77);
	fabric_port_announce(e->p[b], (uint8_t[6]){2, 0, 0, 0, 0, 2});
	assert_int_equal(rarps(e, got), 1);
	assert_int_equal(got[0], 2);
	/* By whichever queue is in use. */
	br_close_port(e, b);
	br_open_port(e, b, 2);
	assert_int_equal(tap_set_queues(e->at[b].tap.fd, 2, 2), 0);
	br_settle(e);
	fabric_port_announce(e->p[b], NULL);
	assert_int_equal(rarps(e, got), 1);
	/* A front-end does not choose whom it announces. */
	fabric_port_announce(e->p[b], (uint8_t[6]){2, 0, 0, 0, 0, 0x55});
	assert_int_equal(rarps(e, got), 0);
	/* Not here, or not there. */
	br_close_port(e, b);
	fabric_port_announce(e->p[b], NULL);
	s.link = LINK_DISABLE;
	br_set(e, a, &s);
	fabric_port_announce(e->p[a], NULL);
	assert_int_equal(rarps(e, got), 0);
}

static void test_announce_vlans(void **state)
{
	struct br_env *e = br_begin(state, true);
	struct function_settings s = br_settings(0), t = br_settings(1);
	uint32_t got[ANNOUNCE_MAX];
	unsigned int a, b;

	br_add_wire(e);
	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 30, .tpid = 0x8100};
	t.vlan.mode = VLAN_TRUNK;
	t.vlan.trunk[0] = 1 << 5 | 1 << 7;
	a = br_add(e, &s);
	b = br_add(e, &t);
	br_settle(e);
	fabric_port_announce(e->p[a], NULL);
	assert_int_equal(rarps(e, got), 1);
	assert_int_equal(got[0], 30 << 8 | 1);
	fabric_port_announce(e->p[b], NULL);
	assert_int_equal(rarps(e, got), 2);
	assert_int_equal(got[0], 5 << 8 | 2);
	assert_int_equal(got[1], 7 << 8 | 2);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, br_setup, br_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_made_and_removed), TEST(test_traffic),        TEST(test_rates), TEST(test_link),
		TEST(test_announce),         TEST(test_announce_vlans),
	};

	return cmocka_run_group_tests_name("bridge", tests, NULL, NULL);
}
