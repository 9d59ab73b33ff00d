/* SPDX-License-Identifier: Apache-2.0 */

/* The bridge fabric in the kernel, in a network namespace of the test's own: frames are written to the taps
 * of functions and of a "wire", which is a port of the bridge that is not vpfd's, and read from them.
 * Forwarding is done when write() returns.
 *
 * Tests of VLANs are skipped where the kernel's bridges do not filter by VLAN; tests/system/test_bridge.py
 * runs all of them in a guest whose kernel does. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/if_bridge.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include "fabric/announce.h"
#include "fabric/bridge/bridge.h"
#include "net/netdev_monitor.h"
#include "net/tap_queues.h"
#include "switch/pkt.h"

#define MAX_PORTS 4
#define BRIDGE    "vpftest"
#define TEST_TYPE 0x88b6 /* local experimental; nobody else's frames have it */

struct env {
	sd_event *event;
	struct netdev_monitor *monitor;
	struct fabric_settings s;
	struct fabric *f;
	struct pf_policy policy;
	struct fabric_port *p[MAX_PORTS];
	struct fabric_attach at[MAX_PORTS];
	unsigned int n;
	struct tap *wire;
	/* events */
	unsigned int troubles, remade, lost, conflicts, links, uplinks;
	char why[128];
};

static void on_link(void *ctx, struct fabric_port *p, bool up)
{
	(void)p;
	(void)up;
	((struct env *)ctx)->links++;
}

static void on_conflict(void *ctx, struct fabric_port *p, const uint8_t mac[6])
{
	(void)p;
	(void)mac;
	((struct env *)ctx)->conflicts++;
}

static void on_uplink(void *ctx, struct fabric *f, bool carrier)
{
	(void)f;
	(void)carrier;
	((struct env *)ctx)->uplinks++;
}

static void on_trouble(void *ctx, struct fabric *f, struct fabric_port *p, const char *why)
{
	struct env *e = ctx;

	(void)f;
	(void)p;
	e->troubles++;
	snprintf(e->why, sizeof(e->why), "%s", why);
}

static void on_remade(void *ctx, struct fabric_port *p)
{
	(void)p;
	((struct env *)ctx)->remade++;
}

static void on_lost(void *ctx, struct fabric_port *p)
{
	(void)p;
	((struct env *)ctx)->lost++;
}

static const struct fabric_events events = {
	.link_changed = on_link,
	.mac_conflict = on_conflict,
	.uplink_changed = on_uplink,
	.trouble = on_trouble,
	.port_remade = on_remade,
	.port_lost = on_lost,
};

static void on_netdev(void *ctx, const char *name, int ifindex, bool carrier, bool gone)
{
	struct env *e = ctx;

	if (e->f)
		fabric_bridge.netdev_changed(e->f, name, ifindex, carrier, gone);
}

static int setup(void **state)
{
	struct env *e = calloc(1, sizeof(*e));
	struct pf_settings pf;
	struct err err;

	assert_non_null(e);
	if (unshare(CLONE_NEWNET) < 0 || !(bridge_host() & BRIDGE_HOST_TAP)) {
		free(e);
		return 0; /* not root, or no bridges */
	}
	assert_int_equal(sd_event_new(&e->event), 0);
	assert_int_equal(netdev_monitor_new(e->event, on_netdev, e, &e->monitor, &err), 0);
	fabric_settings_init(&e->s, "lan");
	e->s.type = FABRIC_BRIDGE;
	snprintf(e->s.bridge, sizeof(e->s.bridge), BRIDGE);
	pf_settings_init(&pf, "pf");
	e->policy = pf.policy;
	*state = e;
	return 0;
}

/* Lets everything happen that is to happen, timers aside. */
static void settle(struct env *e)
{
	while (sd_event_run(e->event, 0) > 0)
		;
}

static void stop(struct env *e)
{
	while (e->n) {
		struct fabric_port *p = e->p[--e->n];

		while (p->open)
			fabric_bridge.port_close(p);
		fabric_bridge.port_free(p);
	}
	fabric_bridge.free(e->f);
	e->f = NULL;
}

static int teardown(void **state)
{
	struct env *e = *state;

	if (!e)
		return 0;
	stop(e);
	tap_free(e->wire);
	netdev_monitor_free(e->monitor);
	sd_event_unref(e->event);
	free(e);
	return 0;
}

static bool sh(const char *command)
{
	return system(command) == 0; /* NOLINT(cert-env33-c): the test's own words */
}

/* The fabric, unless the kernel has too little for the test. */
static struct env *env(void **state, bool vlan)
{
	struct env *e = *state;
	struct err err = {0};

	if (!e || (vlan && !(bridge_host() & BRIDGE_HOST_VLAN)) || !(bridge_host() & BRIDGE_HOST_PROGRAM))
		skip();
	if (fabric_bridge.new(e->event, NULL, &e->s, &events, e, &e->f, &err) < 0)
		fail_msg("%s", err.text);
	return e;
}

static struct function_settings settings(unsigned int n)
{
	struct function_settings s;

	function_settings_init(&s);
	memcpy(s.mac, (uint8_t[6]){2, 0, 0, 0, 0, (uint8_t)(n + 1)}, 6);
	return s;
}

static void open_port(struct env *e, unsigned int n, unsigned int queues)
{
	struct err err = {0};

	if (fabric_bridge.port_open(e->p[n], queues, &e->at[n], &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(tap_set_queues(e->at[n].tap_fd, e->at[n].n_tap, 1), 0);
}

static unsigned int add(struct env *e, const struct function_settings *s)
{
	struct function_settings usual = settings(e->n);
	unsigned int n = e->n;

	assert_int_equal(fabric_bridge.port_add(e->f, "pf0", n, s ? s : &usual, &e->policy, NULL, &e->p[n]),
			 0);
	e->n++;
	open_port(e, n, 1);
	return n;
}

static void set(struct env *e, unsigned int n, const struct function_settings *s)
{
	fabric_bridge.port_set(e->p[n], s, &e->policy);
}

/* A port of the bridge that is not vpfd's: frames come and go with their tags. */
static void add_wire(struct env *e)
{
	struct err err;

	assert_int_equal(tap_new("wire", 1, &e->wire, &err), 0);
	assert_int_equal(tap_set_queues(e->wire->fd, 1, 1), 0);
	assert_true(sh("ip link set wire addrgenmode none master " BRIDGE " && ip link set wire up"));
	if (bridge_host() & BRIDGE_HOST_VLAN)
		assert_true(sh("bridge vlan add dev wire vid 2-4094"));
	settle(e);
}

struct frame {
	uint8_t bytes[1600];
	uint32_t len;
};

/* tags: TPID and TCI from the outside in, ended by 0. */
static struct frame make(unsigned int dst, unsigned int src, uint8_t mark, const uint32_t *tags)
{
	struct frame f = {.len = 60};
	uint8_t *at = f.bytes + 12;

	if (dst == 0xff)
		memset(f.bytes, 0xff, 6);
	else
		memcpy(f.bytes, (uint8_t[6]){2, 0, 0, 0, 0, (uint8_t)(dst + 1)}, 6);
	memcpy(f.bytes + 6, (uint8_t[6]){2, 0, 0, 0, 0, (uint8_t)(src + 1)}, 6);
	for (; tags && *tags; tags++, at += 4) {
		at[0] = (uint8_t)(*tags >> 24);
		at[1] = (uint8_t)(*tags >> 16);
		at[2] = (uint8_t)(*tags >> 8);
		at[3] = (uint8_t)*tags;
	}
	at[0] = TEST_TYPE >> 8;
	at[1] = TEST_TYPE & 0xff;
	at[2] = mark;
	return f;
}

/* As it is when the bridge has put a tag on it, or taken one off: longer, or shorter. */
static struct frame grown(struct frame f)
{
	f.len += 4;
	return f;
}

static struct frame shrunk(struct frame f)
{
	f.len -= 4;
	return f;
}

static void put(int fd, struct frame f)
{
	uint8_t hdr[12] = {0};
	struct iovec iov[2] = {{hdr, sizeof(hdr)}, {f.bytes, f.len}};

	(void)!writev(fd, iov, 2); /* where the tap is gone, or has no carrier, the frame is lost */
}

/* The next frame of the test's own kind; len 0: none. */
static struct frame get(int fd)
{
	for (;;) {
		struct frame f = {0};
		uint8_t hdr[12];
		struct iovec iov[2] = {{hdr, sizeof(hdr)}, {f.bytes, sizeof(f.bytes)}};
		ssize_t n = readv(fd, iov, 2);
		unsigned int type = 12;

		if (n < 14 + 12)
			return (struct frame){0};
		f.len = (uint32_t)n - 12;
		while (load_be16(f.bytes + type) == 0x8100 || load_be16(f.bytes + type) == 0x88a8)
			type += 4;
		if (load_be16(f.bytes + type) == TEST_TYPE)
			return f;
	}
}

static void send_from(struct env *e, unsigned int n, unsigned int dst, uint8_t mark)
{
	put(e->at[n].tap_fd[0], make(dst, n, mark, NULL));
}

static void expect(int fd, struct frame want)
{
	struct frame got = get(fd);

	if (got.len != want.len || memcmp(got.bytes, want.bytes, want.len) != 0) {
		for (unsigned int i = 0; i < 24; i++)
			print_message("%02x ", got.bytes[i]);
		fail_msg("a frame of %u bytes, not that of %u", got.len, want.len);
	}
}

static void expect_none(int fd)
{
	assert_int_equal(get(fd).len, 0);
}

static void expect_at(struct env *e, unsigned int n, unsigned int dst, unsigned int src, uint8_t mark)
{
	expect(e->at[n].tap_fd[0], make(dst, src, mark, NULL));
}

static void expect_nothing(struct env *e)
{
	for (unsigned int i = 0; i < e->n; i++)
		if (e->p[i]->open)
			expect_none(e->at[i].tap_fd[0]);
	if (e->wire)
		expect_none(e->wire->fd[0]);
}

static struct port_stats stats(struct env *e, unsigned int n)
{
	struct port_stats s;

	fabric_bridge.port_get_stats(e->p[n], &s);
	return s;
}

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

/* Sets of VLANs as the kernel wants them said: ranges of what is alike; the PVID alone; the ends not at all.
 */
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

static void test_made_and_removed(void **state)
{
	struct env *e = env(state, false);
	struct function_settings s = settings(0);
	struct fabric_attach again;
	struct err err;

	assert_true(sh("ip link show dev " BRIDGE " up | grep -q 'alias vpf fabric lan'"));
	e->n = 1;
	assert_int_equal(fabric_bridge.port_add(e->f, "pf0", 0, &s, &e->policy, NULL, &e->p[0]), 0);
	assert_false(sh("ip -br link show master " BRIDGE " | grep -q .")); /* nothing before it is used */
	open_port(e, 0, 4);
	assert_int_equal(e->at[0].n_tap, 4);
	assert_string_equal(e->at[0].tap_name, "vpf-pf0-pf");
	assert_true(sh("ip link show vpf-pf0-pf up | grep -q 'master " BRIDGE "'"));
	assert_false(sh("ip addr show vpf-pf0-pf | grep -q inet"));
	assert_true(sh("bridge -d link show dev vpf-pf0-pf | grep 'guard on' | grep 'learning off' |"
		       "grep ' flood off' | grep -q 'locked on'"));
	assert_int_equal(fabric_bridge.port_open(e->p[0], 4, &again, &err), 0);
	assert_ptr_equal(again.tap_fd, e->at[0].tap_fd);
	fabric_bridge.port_close(e->p[0]);
	assert_true(sh("ip link show vpf-pf0-pf >/dev/null"));
	fabric_bridge.port_close(e->p[0]);
	assert_false(sh("ip link show vpf-pf0-pf >/dev/null 2>&1"));
	stop(e);
	assert_false(sh("ip link show " BRIDGE " >/dev/null 2>&1"));
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
	struct env *e = env(state, false);
	unsigned int rows[3] = {0};
	struct fabric_state fs;
	struct port_stats s;

	for (unsigned int i = 0; i < 3; i++)
		add(e, NULL);
	add_wire(e);
	send_from(e, 0, 1, 1);
	expect_at(e, 1, 1, 0, 1);
	expect_nothing(e);
	send_from(e, 2, 0xff, 2);
	expect_at(e, 0, 0xff, 2, 2);
	expect_at(e, 1, 0xff, 2, 2);
	expect(e->wire->fd[0], make(0xff, 2, 2, NULL));
	expect_nothing(e);
	/* Nobody's address: to the wire only. From the wire: to nobody. */
	send_from(e, 0, 77, 3);
	expect(e->wire->fd[0], make(77, 0, 3, NULL));
	put(e->wire->fd[0], make(78, 99, 4, NULL));
	expect_nothing(e);
	put(e->wire->fd[0], make(1, 99, 5, NULL));
	expect_at(e, 1, 1, 99, 5);
	expect_nothing(e);
	s = stats(e, 0);
	assert_int_equal(s.tx_packets, 2);
	assert_int_equal(s.tx_bytes, 120);
	assert_in_range(s.rx_packets, 1, 20); /* and what the bridge itself has to say */
	assert_int_equal(s.rx_broadcast, 1);
	assert_int_equal(stats(e, 2).tx_broadcast, 1);
	fabric_bridge.fdb(e->f, 0, count_row, rows);
	assert_true(rows[0] == 1 && rows[1] == 1 && rows[2] == 1);
	fabric_bridge.get(e->f, &fs, &s);
	assert_int_equal(fs.ports, 3);
	assert_int_equal(fs.fdb_entries, 3);
	assert_true(fs.uplink_carrier);
	assert_int_equal(s.tx_packets, 2);
	/* Counters outlast the tap. */
	fabric_bridge.port_close(e->p[0]);
	assert_int_equal(stats(e, 0).tx_packets, 2);
	open_port(e, 0, 1);
	send_from(e, 0, 1, 6);
	assert_int_equal(stats(e, 0).tx_packets, 3);
	assert_int_equal(e->troubles, 0);
}

static void test_spoof(void **state)
{
	struct env *e = env(state, false);
	unsigned int a = add(e, NULL), b = add(e, NULL);
	struct function_settings s = settings(a);
	struct rx_filter filter = {.known = true, .unicast_n = 1};
	struct frame control = make(b, a, 0, NULL);

	put(e->at[a].tap_fd[0], make(b, 50, 1, NULL));
	put(e->at[a].tap_fd[0], make(b, b, 1, NULL)); /* its neighbour's */
	expect_nothing(e);
	assert_int_equal(stats(e, a).tx_drop[DROP_SPOOF_MAC], 2);
	send_from(e, b, a, 2); /* and nobody has learned anything from it */
	expect_at(e, a, a, b, 2);
	/* Control frames are nobody's business here; nor are bridges' own. */
	control.bytes[12] = 0x88;
	control.bytes[13] = 0xb5;
	put(e->at[a].tap_fd[0], control);
	assert_int_equal(stats(e, a).tx_drop[DROP_CONTROL], 1);
	/* The driver's. */
	memcpy(filter.main_mac, s.mac, 6);
	memcpy(filter.unicast[0], (uint8_t[6]){2, 0, 0, 0, 0, 51}, 6);
	fabric_bridge.port_filter(e->p[a], &filter);
	put(e->at[a].tap_fd[0], make(b, 50, 3, NULL));
	expect_at(e, b, b, 50, 3);
	send_from(e, b, 50, 4);
	expect_at(e, a, 50, b, 4);
	/* The administrator's, and no other. */
	memcpy(s.admin_mac, (uint8_t[6]){2, 0, 0, 0, 0, 61}, 6);
	set(e, a, &s);
	send_from(e, a, b, 5);
	put(e->at[a].tap_fd[0], make(b, 50, 5, NULL));
	put(e->at[a].tap_fd[0], make(b, 60, 6, NULL));
	expect_at(e, b, b, 60, 6);
	expect_nothing(e);
	send_from(e, b, 60, 7);
	expect_at(e, a, 60, b, 7);
	/* Off. */
	s.spoofchk = false;
	set(e, a, &s);
	put(e->at[a].tap_fd[0], make(b, 70, 8, NULL));
	expect_at(e, b, b, 70, 8);
	expect_nothing(e);
	assert_int_equal(e->troubles, 0);
}

/* Functions without spoof check, on a fabric that learns. */
static void test_learning(void **state)
{
	struct function_settings s = settings(0);
	struct env *e = *state;
	struct fabric_settings fs;
	unsigned int a, b, c;
	struct fabric_state shown;
	struct err err;

	if (!e)
		skip();
	e->s.learning = true;
	e->s.max_learned = 3;
	e->s.ageing = 77;
	env(state, false);
	assert_true(sh("ip -d link show " BRIDGE " | grep -q 'ageing_time 7700 '"));
	s.spoofchk = false;
	a = add(e, &s);
	b = add(e, NULL);
	c = add(e, NULL);
	for (unsigned int i = 0; i < 5; i++)
		put(e->at[a].tap_fd[0], make(b, 50 + i, 1, NULL));
	for (unsigned int i = 0; i < 3; i++)
		expect_at(e, b, b, 50 + i, 1);
	expect_nothing(e);
	assert_int_equal(stats(e, a).tx_drop[DROP_SPOOF_MAC], 2);
	send_from(e, c, 51, 2);
	expect_at(e, a, 51, c, 2);
	expect_nothing(e);
	fabric_bridge.get(e->f, &shown, NULL);
	assert_int_equal(shown.fdb_learned, 3);
	/* What is an owner's is not learned away from him. */
	put(e->at[a].tap_fd[0], make(b, 50, 3, NULL));
	expect_at(e, b, b, 50, 3);
	fs = e->s;
	fs.ageing = 100;
	fs.learning = false;
	assert_int_equal(fabric_bridge.set(e->f, &fs, &err), 0);
	assert_true(sh("ip -d link show " BRIDGE " | grep -q 'ageing_time 10000 '"));
	put(e->at[a].tap_fd[0], make(b, 60, 4, NULL));
	expect_at(e, b, b, 60, 4);
	send_from(e, c, 60, 5);
	send_from(e, c, 51, 5);
	expect_nothing(e);
	assert_int_equal(e->troubles, 0);
}

static void test_conflict(void **state)
{
	struct env *e = env(state, false);
	struct function_settings s = settings(0);
	unsigned int a = add(e, NULL), b, c = add(e, NULL);
	struct rx_filter filter = {.known = true};
	struct link_info i;

	e->n = 2;
	b = add(e, &s);
	assert_true(e->p[b]->mac_conflict && !e->p[a]->mac_conflict);
	assert_int_equal(e->conflicts, 1);
	put(e->at[b].tap_fd[0], make(c, 0, 1, NULL));
	expect_nothing(e);
	send_from(e, c, a, 2);
	expect_at(e, a, a, c, 2);
	expect_nothing(e);
	/* Served by another switch, the other one has it here. */
	fabric_bridge.port_close(e->p[a]);
	fabric_bridge.port_elsewhere(e->p[a], true);
	assert_false(e->p[b]->mac_conflict);
	put(e->at[b].tap_fd[0], make(c, 0, 3, NULL));
	expect_at(e, c, c, 0, 3);
	/* The bridge's own address is the host's. */
	assert_int_equal(link_get(bridge_of(e->f)->nl, BRIDGE, 0, &i), 0);
	memcpy(filter.main_mac, i.mac, 6);
	fabric_bridge.port_filter(e->p[b], &filter);
	assert_true(e->p[b]->mac_conflict);
	assert_int_equal(e->conflicts, 2);
	{
		struct frame f = make(c, 0, 4, NULL);

		memcpy(f.bytes + 6, i.mac, 6);
		put(e->at[b].tap_fd[0], f);
	}
	expect_nothing(e);
	assert_int_equal(stats(e, b).tx_drop[DROP_SPOOF_MAC], 2);
	assert_int_equal(e->troubles, 0);
}

/* Frames with tags of functions that have no VLAN. */
static void test_no_tags(void **state)
{
	struct env *e = env(state, false);
	unsigned int a = add(e, NULL), b = add(e, NULL);
	static const uint32_t tagged[] = {0x81000000 | 5, 0}, one[] = {0x81000000 | 1, 0},
			      ad[] = {0x88a80000 | 5, 0}, priority[] = {0x81000000 | 3 << 13, 0},
			      hidden[] = {0x81000000, 0x81000000 | 7, 0};

	add_wire(e);
	put(e->at[a].tap_fd[0], make(b, a, 1, tagged));
	put(e->at[a].tap_fd[0], make(b, a, 2, one));
	put(e->at[a].tap_fd[0], make(b, a, 3, ad));
	put(e->at[a].tap_fd[0], make(b, a, 4, hidden));
	expect_nothing(e);
	assert_int_equal(stats(e, a).tx_drop[DROP_SPOOF_VLAN], 4);
	put(e->at[a].tap_fd[0], make(b, a, 5, priority));
	expect(e->at[b].tap_fd[0], shrunk(make(b, a, 5, NULL)));
	put(e->wire->fd[0], make(b, 99, 6, tagged));
	put(e->wire->fd[0], make(b, 99, 7, ad));
	expect_nothing(e);
	assert_int_equal(e->troubles, 0);
}

static void test_rates(void **state)
{
	struct env *e = env(state, false);
	struct function_settings s = settings(0);
	unsigned int a = add(e, NULL), b = add(e, NULL);
	struct port_stats st;
	struct frame f = make(b, a, 1, NULL);

	s.max_rate = 1;
	set(e, a, &s);
	f.len = 1514;
	for (unsigned int i = 0; i < 400; i++)
		put(e->at[a].tap_fd[0], f);
	st = stats(e, a);
	assert_in_range(st.tx_packets, 86, 86 + 80); /* 128 KiB, and what a second gives at most */
	assert_int_equal(st.tx_packets + st.tx_drop[DROP_RATE], 400);
	/* All of the PF together; a minimum passes. */
	s.max_rate = 0;
	e->policy.max_rate_total = 1;
	set(e, a, &s);
	for (unsigned int i = 0; i < 400; i++)
		put(e->at[a].tap_fd[0], f);
	s = settings(b);
	s.min_rate = 1;
	set(e, b, &s);
	f = make(a, b, 1, NULL);
	f.len = 1514;
	for (unsigned int i = 0; i < 20; i++)
		put(e->at[b].tap_fd[0], f);
	assert_int_equal(stats(e, b).tx_packets, 20);
	assert_in_range(stats(e, a).tx_packets - st.tx_packets, 86, 86 + 80);
	/* Too long, for who sends and for who gets it. */
	f = make(a, b, 1, NULL);
	f.len = 1515;
	put(e->at[b].tap_fd[0], f);
	assert_int_equal(stats(e, b).tx_drop[DROP_MTU], 1);
	s.mtu = 3000;
	set(e, b, &s);
	put(e->at[b].tap_fd[0], f);
	assert_int_equal(stats(e, a).rx_drop[DROP_MTU], 1);
	assert_int_equal(e->troubles, 0);
}

static void test_link(void **state)
{
	struct env *e = env(state, false);
	struct function_settings s = settings(0);
	unsigned int a = add(e, NULL), b = add(e, NULL), links;

	settle(e);
	assert_true(e->p[a]->link_up); /* nobody to follow */
	s.link = LINK_DISABLE;
	set(e, a, &s);
	assert_false(e->p[a]->link_up);
	assert_false(sh("ip link show vpf-pf0-pf up | grep -q ."));
	send_from(e, b, 0xff, 1);
	send_from(e, a, 0xff, 1);
	expect_nothing(e);
	s.link = LINK_AUTO;
	set(e, a, &s);
	send_from(e, b, 0xff, 2);
	expect_at(e, a, 0xff, b, 2);
	add_wire(e);
	assert_int_equal(e->uplinks, 1);
	assert_true(e->p[a]->link_up && e->p[b]->link_up);
	links = e->links;
	assert_true(sh("ip link set wire down"));
	settle(e);
	assert_int_equal(e->uplinks, 2);
	assert_int_equal(e->links, links + 2);
	assert_false(e->p[a]->link_up || e->p[b]->link_up);
	s.link = LINK_ENABLE;
	set(e, a, &s);
	assert_true(e->p[a]->link_up && !e->p[b]->link_up);
	assert_true(sh("ip link set wire up"));
	settle(e);
	assert_true(e->p[b]->link_up);
	send_from(e, b, a, 3);
	expect_at(e, a, a, b, 3);
	assert_int_equal(e->troubles, 0);
}

static void test_tap_deleted(void **state)
{
	struct env *e = env(state, false);
	unsigned int a = add(e, NULL), b = add(e, NULL);
	struct link_info i;

	settle(e);
	send_from(e, a, b, 1);
	expect_at(e, b, b, a, 1);
	assert_true(sh("ip link del vpf-pf0-pf"));
	settle(e);
	assert_int_equal(e->troubles, 1);
	assert_non_null(strstr(e->why, "vpf-pf0-pf"));
	assert_int_equal(e->remade, 1);
	/* Another one behind the same descriptors, with everything on it. */
	assert_int_equal(tap_set_queues(e->at[a].tap_fd, 1, 1), 0);
	send_from(e, a, b, 2);
	expect_at(e, b, b, a, 2);
	send_from(e, b, a, 3);
	expect_at(e, a, a, b, 3);
	put(e->at[a].tap_fd[0], make(b, 50, 4, NULL));
	expect_nothing(e);
	assert_int_equal(stats(e, a).tx_packets, 2);
	assert_int_equal(stats(e, a).tx_drop[DROP_SPOOF_MAC], 1);
	/* Taken away: it is there, but not here. */
	assert_true(sh("ip netns add vpf-away && ip link set vpf-pf0-pf netns vpf-away"));
	settle(e);
	assert_int_equal(e->remade, 1);
	assert_int_equal(e->troubles, 2);
	assert_int_equal(e->lost, 1);
	assert_int_equal(fabric_bridge.port_open(e->p[a], 1, &e->at[a], NULL), -ENODEV);
	assert_int_equal(link_get(bridge_of(e->f)->nl, "vpf-pf0-pf", 0, &i), -ENODEV);
	fabric_bridge.port_close(e->p[a]);
	open_port(e, a, 1);
	assert_true(sh("ip netns del vpf-away"));
	send_from(e, a, b, 5);
	expect_at(e, b, b, a, 5);
	assert_int_equal(stats(e, a).tx_packets, 3);
}

/* Every RARP that is at the wire: the VLAN (0: none) and the last byte of the address of each. */
static unsigned int rarps(struct env *e, uint32_t ret[ANNOUNCE_MAX])
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
	struct env *e = env(state, false);
	struct function_settings s = settings(0);
	uint32_t got[ANNOUNCE_MAX];
	unsigned int a, b;

	add_wire(e);
	memcpy(s.admin_mac, (uint8_t[6]){2, 0, 0, 0, 0, 0x77}, 6);
	a = add(e, &s);
	b = add(e, NULL);
	settle(e);
	fabric_bridge.announce(e->p[a], NULL);
	assert_int_equal(rarps(e, got), 1);
	assert_int_equal(got[0], 0x77);
	fabric_bridge.announce(e->p[b], (uint8_t[6]){2, 0, 0, 0, 0, 2});
	assert_int_equal(rarps(e, got), 1);
	assert_int_equal(got[0], 2);
	/* By whichever queue is in use. */
	fabric_bridge.port_close(e->p[b]);
	open_port(e, b, 2);
	assert_int_equal(tap_set_queues(e->at[b].tap_fd, 2, 2), 0);
	settle(e);
	fabric_bridge.announce(e->p[b], NULL);
	assert_int_equal(rarps(e, got), 1);
	/* A front-end does not choose whom it announces. */
	fabric_bridge.announce(e->p[b], (uint8_t[6]){2, 0, 0, 0, 0, 0x55});
	assert_int_equal(rarps(e, got), 0);
	/* Not here, or not there. */
	fabric_bridge.port_close(e->p[b]);
	fabric_bridge.announce(e->p[b], NULL);
	s.link = LINK_DISABLE;
	set(e, a, &s);
	fabric_bridge.announce(e->p[a], NULL);
	assert_int_equal(rarps(e, got), 0);
}

static void test_announce_vlans(void **state)
{
	struct env *e = env(state, true);
	struct function_settings s = settings(0), t = settings(1);
	uint32_t got[ANNOUNCE_MAX];
	unsigned int a, b;

	add_wire(e);
	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 30, .tpid = 0x8100};
	t.vlan.mode = VLAN_TRUNK;
	t.vlan.trunk[0] = 1 << 5 | 1 << 7;
	a = add(e, &s);
	b = add(e, &t);
	settle(e);
	fabric_bridge.announce(e->p[a], NULL);
	assert_int_equal(rarps(e, got), 1);
	assert_int_equal(got[0], 30 << 8 | 1);
	fabric_bridge.announce(e->p[b], NULL);
	assert_int_equal(rarps(e, got), 2);
	assert_int_equal(got[0], 5 << 8 | 2);
	assert_int_equal(got[1], 7 << 8 | 2);
}

static void test_tap_taken_out(void **state)
{
	struct env *e = env(state, false);
	unsigned int a = add(e, NULL), b = add(e, NULL);

	settle(e);
	assert_true(sh("ip link set vpf-pf0-pf nomaster"));
	settle(e);
	assert_int_equal(e->troubles, 1);
	send_from(e, a, b, 1);
	expect_at(e, b, b, a, 1);
	send_from(e, b, a, 2);
	expect_at(e, a, a, b, 2);
	assert_true(sh("ip link set vpf-pf0-pf down"));
	settle(e);
	assert_int_equal(e->troubles, 2);
	send_from(e, b, a, 3);
	expect_at(e, a, a, b, 3);
	assert_int_equal(e->remade, 0);
}

static void test_bridge_deleted(void **state)
{
	struct env *e = env(state, false);
	unsigned int a = add(e, NULL), b = add(e, NULL);

	settle(e);
	assert_true(sh("ip link del " BRIDGE));
	settle(e);
	assert_int_equal(e->remade, 0);
	assert_true(e->troubles >= 1);
	assert_true(e->p[a]->link_up);
	send_from(e, a, b, 1);
	expect_at(e, b, b, a, 1);
	put(e->at[a].tap_fd[0], make(b, 50, 2, NULL));
	expect_nothing(e);
}

/* A bridge that was there: it stays, as it was. */
static void test_existing(void **state)
{
	struct env *e = *state;
	struct err err = {0};
	unsigned int a, b;

	if (!e)
		skip();
	assert_true(sh("ip link add " BRIDGE " type bridge && ip link set " BRIDGE " addrgenmode none up"));
	env(state, false);
	a = add(e, NULL);
	b = add(e, NULL);
	settle(e);
	send_from(e, a, b, 1);
	expect_at(e, b, b, a, 1);
	if (bridge_host() & BRIDGE_HOST_VLAN)
		assert_true(sh("ip -d link show " BRIDGE " | grep -q 'vlan_filtering 1'"));
	stop(e);
	settle(e);
	assert_true(sh("ip link show " BRIDGE " >/dev/null"));
	assert_false(sh("ip -d link show " BRIDGE " | grep -q 'vlan_filtering 1'"));
	/* Somebody else's, gone and back. */
	env(state, false);
	a = add(e, NULL);
	b = add(e, NULL);
	settle(e);
	assert_true(sh("ip link del " BRIDGE));
	settle(e);
	assert_int_equal(e->troubles, 1);
	assert_false(e->p[a]->link_up);
	assert_true(sh("ip link add " BRIDGE " type bridge && ip link set " BRIDGE " addrgenmode none up"));
	settle(e);
	assert_true(e->p[a]->link_up);
	send_from(e, a, b, 2);
	expect_at(e, b, b, a, 2);
	stop(e);
	settle(e);
	assert_true(sh("ip link show " BRIDGE " >/dev/null && ip link del " BRIDGE));
	/* No bridge at all. */
	assert_int_equal(tap_new(BRIDGE, 1, &e->wire, &err), 0);
	assert_int_equal(fabric_bridge.new(e->event, NULL, &e->s, &events, e, &e->f, &err), -EINVAL);
	assert_string_equal(err.field, "bridge");
}

/* What a vpfd that was killed leaves: its bridge, and taps while somebody still has them open. */
static void test_left_over(void **state)
{
	struct env *e = *state;
	unsigned int a, b;

	if (!e)
		skip();
	assert_true(
		sh("ip link add " BRIDGE " type bridge && ip link set " BRIDGE " alias 'vpf fabric lan' up"));
	assert_true(sh("ip tuntap add vpf-pf0-pf mode tap && ip link set vpf-pf0-pf alias 'vpf pf0 0' "
		       "master " BRIDGE));
	assert_true(sh("ip tuntap add vpf-pf0-v0 mode tap")); /* somebody's whose name is alike */
	env(state, false);
	a = add(e, NULL);
	b = add(e, NULL);
	assert_string_equal(e->at[a].tap_name, "vpf-pf0-pf");
	assert_string_not_equal(e->at[b].tap_name, "vpf-pf0-v0");
	send_from(e, a, b, 1);
	expect_at(e, b, b, a, 1);
	stop(e);
	assert_false(sh("ip link show " BRIDGE " >/dev/null 2>&1"));
	assert_true(sh("ip link show vpf-pf0-v0 >/dev/null"));
}

/* Its own bridge stays while somebody has a port in it; an uplink that vpfd made a port of it does not count.
 */
static void test_uplink(void **state)
{
	struct env *e = *state;
	struct fabric_settings s;
	struct err err = {0};
	unsigned int a, b;

	if (!e)
		skip();
	assert_true(sh("ip link add up0 type veth peer name up1 && ip link set up0 addrgenmode none up &&"
		       "ip link set up1 addrgenmode none up"));
	e->s.uplink = UPLINK_NETDEV;
	snprintf(e->s.uplink_name, sizeof(e->s.uplink_name), "up0");
	env(state, false);
	a = add(e, NULL);
	settle(e);
	assert_true(sh("ip link show up0 | grep -q 'master " BRIDGE "'"));
	assert_true(e->p[a]->link_up);
	assert_true(sh("ip link set up1 down"));
	settle(e);
	assert_false(e->p[a]->link_up);
	/* Gone and back. */
	assert_true(sh("ip link del up0"));
	settle(e);
	assert_false(e->p[a]->link_up);
	assert_true(sh("ip link add up0 type veth peer name up1 && ip link set up0 addrgenmode none up &&"
		       "ip link set up1 addrgenmode none up"));
	settle(e);
	assert_true(e->p[a]->link_up);
	/* None, and one that is not there. */
	s = e->s;
	s.uplink = UPLINK_NONE;
	s.uplink_name[0] = 0;
	assert_int_equal(fabric_bridge.set(e->f, &s, &err), 0);
	assert_false(sh("ip link show up0 | grep -q master"));
	s.uplink = UPLINK_NETDEV;
	snprintf(s.uplink_name, sizeof(s.uplink_name), "up9");
	assert_int_equal(fabric_bridge.set(e->f, &s, &err), -ENODEV);
	s.uplink = UPLINK_TAP;
	assert_int_equal(fabric_bridge.set(e->f, &s, &err), -EOPNOTSUPP);
	b = add(e, NULL);
	send_from(e, b, a, 1);
	expect_at(e, a, a, b, 1);
	assert_true(sh("ip link set up0 master " BRIDGE));
	stop(e);
	assert_true(sh("ip link show " BRIDGE " >/dev/null"));
}

static struct function_settings in_vlan(unsigned int n, uint16_t vid, uint8_t pcp)
{
	struct function_settings s = settings(n);

	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = vid, .pcp = pcp, .tpid = 0x8100};
	return s;
}

static struct function_settings in_trunk(unsigned int n, unsigned int first, unsigned int last, bool untagged)
{
	struct function_settings s = settings(n);

	s.vlan.mode = VLAN_TRUNK;
	s.vlan.trunk[0] = untagged;
	for (unsigned int v = first; v <= last; v++)
		s.vlan.trunk[v / 64] |= 1ULL << (v % 64);
	return s;
}

static void test_access(void **state)
{
	struct env *e = env(state, true);
	struct function_settings s = in_vlan(0, 100, 0);
	unsigned int a, b, c, d;
	static const uint32_t v100[] = {0x81000000 | 100, 0}, p200[] = {0x81000000 | 5 << 13 | 200, 0},
			      v200[] = {0x81000000 | 200, 0}, v101[] = {0x81000000 | 101, 0};

	assert_true(fabric_bridge.can(&e->s) & CAN_VLAN);
	assert_false(fabric_bridge.can(&e->s) & CAN_VLAN_AD);
	a = add(e, &s);
	s = in_vlan(1, 100, 0);
	b = add(e, &s);
	s = in_vlan(2, 200, 5);
	c = add(e, &s);
	d = add(e, NULL);
	add_wire(e);
	send_from(e, a, b, 1);
	expect_at(e, b, b, a, 1);
	send_from(e, a, c, 2); /* not there: unknown, to the wire */
	expect(e->wire->fd[0], grown(make(c, a, 2, v100)));
	send_from(e, a, 0xff, 3);
	expect_at(e, b, 0xff, a, 3);
	expect(e->wire->fd[0], grown(make(0xff, a, 3, v100)));
	expect_nothing(e);
	send_from(e, c, 0xff, 4);
	expect(e->wire->fd[0], grown(make(0xff, c, 4, p200)));
	send_from(e, d, 0xff, 5);
	expect(e->wire->fd[0], make(0xff, d, 5, NULL));
	expect_nothing(e);
	put(e->wire->fd[0], make(c, 99, 6, v200));
	expect(e->at[c].tap_fd[0], shrunk(make(c, 99, 6, NULL)));
	put(e->wire->fd[0], make(a, 99, 7, v200));
	put(e->wire->fd[0], make(0xff, 99, 8, v101));
	put(e->wire->fd[0], make(a, 99, 9, NULL));
	expect_nothing(e);
	/* A tag of its own is none of the guest's, not even the right one. */
	put(e->at[a].tap_fd[0], make(b, a, 10, v100));
	put(e->at[a].tap_fd[0], make(c, a, 10, v200));
	expect_nothing(e);
	assert_int_equal(stats(e, a).tx_drop[DROP_SPOOF_VLAN], 2);
	/* Moved while it runs. */
	s = in_vlan(0, 200, 0);
	set(e, a, &s);
	send_from(e, a, c, 11);
	expect_at(e, c, c, a, 11);
	send_from(e, c, a, 12);
	expect_at(e, a, a, c, 12);
	send_from(e, a, b, 13);
	expect(e->wire->fd[0], grown(make(b, a, 13, v200)));
	s = settings(0);
	set(e, a, &s);
	send_from(e, a, d, 14);
	expect_at(e, d, d, a, 14);
	expect_nothing(e);
	assert_int_equal(e->troubles, 0);
}

static void test_trunk(void **state)
{
	struct env *e = env(state, true);
	struct function_settings s = in_trunk(0, 100, 102, false);
	static const uint32_t v100[] = {0x81000000 | 2 << 13 | 100, 0}, v101[] = {0x81000000 | 101, 0},
			      v103[] = {0x81000000 | 103, 0}, ad[] = {0x88a80000 | 100, 0},
			      v4000[] = {0x81000000 | 4000, 0}, v3999[] = {0x81000000 | 3999, 0};
	unsigned int a = add(e, &s), b, c;

	s = in_vlan(1, 101, 0);
	b = add(e, &s);
	c = add(e, NULL);
	add_wire(e);
	put(e->at[a].tap_fd[0], make(b, a, 1, v101));
	expect(e->at[b].tap_fd[0], shrunk(make(b, a, 1, NULL)));
	put(e->at[a].tap_fd[0], make(0xff, a, 2, v100));
	expect(e->wire->fd[0], make(0xff, a, 2, v100)); /* its priority is its own */
	put(e->at[a].tap_fd[0], make(0xff, a, 3, v103));
	put(e->at[a].tap_fd[0], make(0xff, a, 4, ad));
	send_from(e, a, 0xff, 5); /* untagged is not in the set */
	expect_nothing(e);
	assert_int_equal(stats(e, a).tx_drop[DROP_SPOOF_VLAN], 3);
	put(e->wire->fd[0], make(a, 99, 6, v100));
	expect(e->at[a].tap_fd[0], make(a, 99, 6, v100));
	put(e->wire->fd[0], make(a, 99, 7, v103));
	put(e->wire->fd[0], make(a, 99, 8, NULL));
	expect_nothing(e);
	/* With untagged frames. */
	s = in_trunk(0, 100, 102, true);
	set(e, a, &s);
	send_from(e, a, c, 9);
	expect_at(e, c, c, a, 9);
	put(e->at[a].tap_fd[0], make(b, a, 10, v101));
	assert_int_equal(get(e->at[b].tap_fd[0]).len, 56);
	/* All there are: it learns, and from its own address only. */
	s = in_trunk(0, 0, 4094, true);
	set(e, a, &s);
	put(e->at[a].tap_fd[0], make(0xff, a, 11, v4000));
	expect(e->wire->fd[0], make(0xff, a, 11, v4000));
	put(e->wire->fd[0], make(a, 99, 12, v4000));
	expect(e->at[a].tap_fd[0], make(a, 99, 12, v4000));
	put(e->at[a].tap_fd[0], make(0xff, 50, 13, v4000));
	while (get(e->at[c].tap_fd[0]).len)
		;
	expect_nothing(e);
	/* The longest list that the kernel can be given. */
	for (unsigned int vid = 0; vid < 4095; vid += 3)
		s.vlan.trunk[vid / 64] &= ~(1ULL << (vid % 64));
	set(e, a, &s);
	put(e->at[a].tap_fd[0], make(0xff, a, 14, v4000)); /* 4000 is 1 more than a multiple of 3 */
	expect(e->wire->fd[0], make(0xff, a, 14, v4000));
	put(e->at[a].tap_fd[0], make(0xff, a, 15, v3999));
	expect_nothing(e);
	assert_int_equal(e->troubles, 0);
}

/* A bridge has one VLAN protocol. */
static void test_ad(void **state)
{
	struct env *e = *state;
	struct function_settings s;
	static const uint32_t v100[] = {0x88a80000 | 100, 0}, both[] = {0x88a80000 | 100, 0x81000000 | 7, 0},
			      inner[] = {0x81000000 | 7, 0}, q100[] = {0x81000000 | 100, 0};
	unsigned int a, b;
	uint32_t can;

	if (!e || !(bridge_host() & BRIDGE_HOST_VLAN))
		skip();
	assert_true(sh("ip link add " BRIDGE " type bridge vlan_filtering 1 vlan_protocol 802.1ad &&"
		       "ip link set " BRIDGE " addrgenmode none up"));
	env(state, true);
	can = fabric_bridge.can(&e->s);
	assert_true(can & CAN_VLAN_AD && !(can & (CAN_VLAN | CAN_TRUNK)));
	s = in_vlan(0, 100, 0);
	s.vlan.tpid = 0x88a8;
	a = add(e, &s);
	s = in_vlan(1, 100, 3);
	s.vlan.tpid = 0x88a8;
	b = add(e, &s);
	add_wire(e);
	send_from(e, a, 0xff, 1);
	expect_at(e, b, 0xff, a, 1);
	expect(e->wire->fd[0], grown(make(0xff, a, 1, v100)));
	/* A customer's tag is payload. */
	put(e->at[a].tap_fd[0], make(b, a, 2, inner));
	expect(e->at[b].tap_fd[0], make(b, a, 2, inner));
	put(e->at[a].tap_fd[0], make(77, a, 3, inner));
	expect(e->wire->fd[0], grown(make(77, a, 3, both)));
	put(e->wire->fd[0], make(a, 99, 4, v100));
	expect(e->at[a].tap_fd[0], shrunk(make(a, 99, 4, NULL)));
	put(e->wire->fd[0], make(a, 99, 5, q100));
	put(e->at[a].tap_fd[0], make(b, a, 6, v100));
	expect_nothing(e);
	assert_int_equal(e->troubles, 0);
}

/* A bridge of somebody's that does not filter by VLAN, with ports for which that would make a difference. */
static void test_filtering_off(void **state)
{
	struct env *e = *state;
	struct err err = {0};

	if (!e || !(bridge_host() & BRIDGE_HOST_VLAN))
		skip();
	assert_true(sh("ip link add " BRIDGE " type bridge && ip link add up0 type veth peer name up1 &&"
		       "ip link set up0 master " BRIDGE));
	assert_int_equal(fabric_bridge.new(e->event, NULL, &e->s, &events, e, &e->f, &err), -EBUSY);
	assert_string_equal(err.field, "bridge");
	assert_non_null(strstr(err.text, "vlan_filtering 1"));
	assert_true(sh("ip link show up0 | grep -q 'master " BRIDGE "'"));
	assert_false(sh("ip -d link show " BRIDGE " | grep -q 'vlan_filtering 1'"));
	assert_true(sh("ip link set " BRIDGE " type bridge vlan_filtering 1"));
	env(state, true);
	stop(e);
	assert_true(sh("ip -d link show " BRIDGE " | grep -q 'vlan_filtering 1'"));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vlan_ranges),
		TEST(test_made_and_removed),
		TEST(test_traffic),
		TEST(test_spoof),
		TEST(test_learning),
		TEST(test_conflict),
		TEST(test_no_tags),
		TEST(test_rates),
		TEST(test_link),
		TEST(test_tap_deleted),
		TEST(test_announce),
		TEST(test_announce_vlans),
		TEST(test_tap_taken_out),
		TEST(test_bridge_deleted),
		TEST(test_existing),
		TEST(test_left_over),
		TEST(test_uplink),
		TEST(test_access),
		TEST(test_trunk),
		TEST(test_ad),
		TEST(test_filtering_off),
	};

	return cmocka_run_group_tests_name("bridge", tests, NULL, NULL);
}
