/* SPDX-License-Identifier: Apache-2.0 */

/* The programs at a function's tap, run by the kernel on frames that the test makes. What they do with tags
 * that the kernel has taken off is seen with real taps: tests/system/test_bridge.py. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/pkt_cls.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "fabric/bridge/port_prog.h"
#include "switch/pkt.h"

#define OWN  0x010000000002ULL /* 02:00:00:00:00:01, as mac_load() */
#define PEER 0x020000000002ULL

struct env {
	struct port_prog_conf c;
	struct port_prog_maps maps;
	uint8_t frame[3100]; /* as long as the kernel makes them for a test */
	uint32_t len;
	uint32_t gso_size; /* 0: one segment */
};

static int setup(void **state)
{
	struct env *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	e->maps.stats = bpf_new_map(true, sizeof(struct port_stats));
	if (e->maps.stats == -EPERM) {
		free(e);
		*state = NULL;
		return 0;
	}
	e->maps.buckets = bpf_new_map(false, sizeof(struct port_prog_buckets));
	e->maps.total = bpf_new_map(false, sizeof(uint64_t));
	assert_true(e->maps.stats >= 0 && e->maps.buckets >= 0 && e->maps.total >= 0);
	e->c.vlan_aware = true;
	e->c.spoofchk = true;
	e->c.mtu = 1500;
	e->c.n_macs = 1;
	e->c.macs[0] = OWN;
	*state = e;
	return 0;
}

static int teardown(void **state)
{
	struct env *e = *state;

	if (!e)
		return 0;
	close(e->maps.stats);
	close(e->maps.buckets);
	close(e->maps.total);
	free(e);
	return 0;
}

static struct env *env(void **state)
{
	if (!*state)
		skip(); /* not root */
	return *state;
}

static void make(struct env *e, uint64_t dst, uint64_t src, uint16_t type, uint32_t len)
{
	memset(e->frame, 0, sizeof(e->frame));
	mac_store(e->frame, dst);
	mac_store(e->frame + 6, src);
	e->frame[12] = (uint8_t)(type >> 8);
	e->frame[13] = (uint8_t)type;
	e->len = len;
}

/* Runs the program on the frame, `times`; what it decided last. */
static uint32_t run(struct env *e, bool ingress, uint32_t times)
{
	char why[512] = "";
	struct __sk_buff skb = {.gso_size = e->gso_size};
	union bpf_attr attr = {0};
	int fd = port_prog_load(&e->c, &e->maps, ingress, why, sizeof(why));

	if (fd < 0)
		print_message("%s: %s\n", strerror(-fd), why);
	assert_true(fd >= 0);
	attr.test.prog_fd = (uint32_t)fd;
	attr.test.data_in = (uint64_t)(uintptr_t)e->frame;
	attr.test.data_size_in = e->len;
	attr.test.repeat = times;
	attr.test.ctx_in = (uint64_t)(uintptr_t)&skb;
	attr.test.ctx_size_in = sizeof(skb);
	assert_int_equal(syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attr, sizeof(attr)), 0);
	close(fd);
	return attr.test.retval;
}

static struct port_stats stats(const struct env *e)
{
	struct port_stats s;

	assert_int_equal(bpf_sum_map(e->maps.stats, (uint64_t *)&s, sizeof(s)), 0);
	return s;
}

static void expect_tx(struct env *e, bool pass, enum drop_reason reason)
{
	struct port_stats before = stats(e), after;
	uint32_t r = run(e, true, 1);

	after = stats(e);
	assert_int_equal(r, pass ? TC_ACT_OK : TC_ACT_SHOT);
	assert_int_equal(after.tx_packets - before.tx_packets, pass);
	assert_int_equal(after.tx_bytes - before.tx_bytes, pass ? e->len : 0);
	for (unsigned int i = 0; i < DROP_REASONS; i++)
		assert_int_equal(after.tx_drop[i] - before.tx_drop[i], !pass && i == reason);
}

static void expect_rx(struct env *e, bool pass, enum drop_reason reason)
{
	struct port_stats before = stats(e), after;
	uint32_t r = run(e, false, 1);

	after = stats(e);
	assert_int_equal(r, pass ? TC_ACT_OK : TC_ACT_SHOT);
	for (unsigned int i = 0; i < DROP_REASONS; i++)
		assert_int_equal(after.rx_drop[i] - before.rx_drop[i], !pass && i == reason);
}

static void test_source(void **state)
{
	struct env *e = env(state);

	make(e, PEER, OWN, 0x0800, 60);
	expect_tx(e, true, 0);
	for (unsigned int bit = 1; bit < 48; bit++) { /* bit 0 is the group's */
		make(e, PEER, OWN ^ 1ULL << bit, 0x0800, 60);
		expect_tx(e, false, DROP_SPOOF_MAC);
	}
	make(e, PEER, OWN | 1, 0x0800, 60);
	expect_tx(e, false, DROP_MALFORMED);
	e->c.spoofchk = false;
	expect_tx(e, false, DROP_MALFORMED);
	make(e, PEER, PEER, 0x0800, 60);
	expect_tx(e, true, 0);
	/* As many as there can be; the last one too. None. */
	e->c.spoofchk = true;
	for (unsigned int i = 0; i < ARRAY_SIZE(e->c.macs); i++)
		e->c.macs[i] = 0x02 | (uint64_t)(i + 1) << 24;
	e->c.n_macs = ARRAY_SIZE(e->c.macs);
	for (unsigned int i = 0; i < ARRAY_SIZE(e->c.macs); i += 13) {
		make(e, PEER, e->c.macs[i], 0x0800, 60);
		expect_tx(e, true, 0);
	}
	make(e, PEER, PEER, 0x0800, 60);
	expect_tx(e, false, DROP_SPOOF_MAC);
	e->c.n_macs = 0;
	make(e, PEER, OWN, 0x0800, 60);
	expect_tx(e, false, DROP_SPOOF_MAC);
}

/* Without spoof check, of a port that learns: from so many others' addresses, and its own. */
static void test_learned(void **state)
{
	struct env *e = env(state);

	e->c.spoofchk = false;
	e->c.max_learned = 10;
	e->maps.learned = bpf_new_set(10);
	assert_true(e->maps.learned >= 0);
	for (unsigned int round = 0; round < 2; round++) {
		for (unsigned int i = 0; i < 20; i++) {
			make(e, PEER, 0x02 | (uint64_t)(i + 1) << 32, 0x0800, 60);
			expect_tx(e, i < 10, DROP_SPOOF_MAC);
		}
		make(e, PEER, OWN, 0x0800, 60);
		expect_tx(e, true, 0);
		make(e, PEER, OWN | 1, 0x0800, 60);
		expect_tx(e, false, DROP_MALFORMED);
	}
	assert_int_equal(bpf_empty_set(e->maps.learned), 0);
	make(e, PEER, 0x02 | 20ULL << 32, 0x0800, 60);
	expect_tx(e, true, 0);
	close(e->maps.learned);
}

static void test_control_and_reserved(void **state)
{
	struct env *e = env(state);

	make(e, PEER, OWN, 0x88b5, 60);
	expect_tx(e, false, DROP_CONTROL);
	expect_rx(e, false, DROP_CONTROL);
	make(e, PEER, OWN, 0x88b6, 60);
	expect_tx(e, true, 0);
	expect_rx(e, true, 0);
	for (unsigned int last = 0; last < 0x20; last++) {
		make(e, 0xc28001 | (uint64_t)last << 40, OWN, 0x0027, 60);
		expect_tx(e, last >= 16, DROP_CONTROL);
	}
	make(e, 0xc28001, OWN, 0x0027, 60);
	e->c.trusted = true;
	expect_tx(e, true, 0);
}

static void test_length(void **state)
{
	struct env *e = env(state);

	make(e, PEER, OWN, 0x0800, 1514);
	expect_tx(e, true, 0);
	expect_rx(e, true, 0);
	make(e, PEER, OWN, 0x0800, 1515);
	expect_tx(e, false, DROP_MTU);
	expect_rx(e, false, DROP_MTU);
	e->c.mtu = 3000;
	expect_tx(e, true, 0);
	make(e, PEER, OWN, 0x0800, 3014);
	expect_tx(e, true, 0);
	make(e, PEER, OWN, 0x0800, 3015);
	expect_tx(e, false, DROP_MTU);
	/* A customer's tag in a provider's VLAN is not part of it. */
	e->c.mtu = 1500;
	e->c.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 7, .tpid = 0x88a8};
	make(e, PEER, OWN, 0x8100, 1518);
	expect_tx(e, true, 0);
	make(e, PEER, OWN, 0x8100, 1519);
	expect_tx(e, false, DROP_MTU);
}

/* Headers at `at`, of IPv4 with `ihl` words and TCP with `words`; returns where the payload begins. */
static uint32_t put_ipv4(struct env *e, uint32_t at, uint8_t ihl, uint8_t words)
{
	e->frame[at] = 0x40 | ihl;
	e->frame[at + 9] = 6;
	e->frame[at + 4u * ihl + 12] = (uint8_t)(words << 4);
	return at + 4u * (ihl + words);
}

/* … of IPv6, `n` extension headers of `size` bytes each, and UDP. */
static uint32_t put_ipv6(struct env *e, uint32_t at, unsigned int n, uint32_t size)
{
	static const uint8_t types[] = {0, 60, 43};
	uint8_t *next = &e->frame[at + 6];

	at += 40;
	for (unsigned int i = 0; i < n; i++) {
		*next = types[i % 3];
		next = &e->frame[at];
		e->frame[at + 1] = (uint8_t)(size / 8 - 1);
		at += size;
	}
	*next = 17;
	return at + 8;
}

/* As many bytes of payload as the MTU leaves behind the headers that there are, and one more. */
static void expect_room(struct env *e, uint32_t headers)
{
	e->gso_size = 1514 - headers;
	expect_tx(e, true, 0);
	expect_rx(e, true, 0);
	e->gso_size++;
	expect_tx(e, false, DROP_MTU);
	expect_rx(e, false, DROP_MTU);
}

static void test_segments(void **state)
{
	struct env *e = env(state);

	make(e, PEER, OWN, 0x0800, 3000);
	expect_room(e, put_ipv4(e, 14, 5, 5));
	expect_room(e, put_ipv4(e, 14, 15, 15));
	make(e, PEER, OWN, 0x86dd, 3000);
	expect_room(e, put_ipv6(e, 14, 0, 0));
	expect_room(e, put_ipv6(e, 14, 1, 1024));
	expect_room(e, put_ipv6(e, 14, 8, 64));
	/* A customer's tag in a provider's VLAN. */
	e->c.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 7, .tpid = 0x88a8};
	make(e, PEER, OWN, 0x8100, 3000);
	e->frame[16] = 0x86;
	e->frame[17] = 0xdd;
	expect_room(e, put_ipv6(e, 18, 2, 8) - 4);
}

/* From a guest: refused. From the host, a tunnel's for instance: by what is known of it. */
static void test_strange_segments(void **state)
{
	struct env *e = env(state);

	e->gso_size = 1300;
	make(e, PEER, OWN, 0x86dd, 3000);
	put_ipv6(e, 14, 9, 8); /* more extension headers than are read */
	expect_tx(e, false, DROP_MALFORMED);
	expect_rx(e, true, 0);
	put_ipv6(e, 14, 2, 2048); /* they end behind the frame */
	expect_tx(e, false, DROP_MALFORMED);
	make(e, PEER, OWN, 0x86dd, 3000);
	e->frame[20] = 44; /* a fragment */
	expect_tx(e, false, DROP_MALFORMED);
	make(e, PEER, OWN, 0x0800, 3000);
	put_ipv4(e, 14, 5, 5);
	e->frame[23] = 47; /* GRE */
	expect_tx(e, false, DROP_MALFORMED);
	expect_rx(e, true, 0);
	make(e, PEER, OWN, 0x0806, 3000);
	expect_tx(e, false, DROP_MALFORMED);
	expect_rx(e, true, 0);
}

/* Each segment counts with its headers: 340 of 286 bytes are 97 KB, of which 128 KiB have room for one. */
static void test_segments_rate(void **state)
{
	struct env *e = env(state);

	make(e, PEER, OWN, 0x86dd, 3000);
	assert_int_equal(put_ipv6(e, 14, 7, 32), 286);
	e->gso_size = 8;
	e->c.max_rate = 1;
	(void)run(e, true, 20);
	assert_in_range(stats(e).tx_packets, 1, 2);
}

static void test_groups(void **state)
{
	struct env *e = env(state);
	struct port_stats s;

	make(e, 0xffffffffffffULL, OWN, 0x0806, 60);
	expect_tx(e, true, 0);
	expect_rx(e, true, 0);
	make(e, 0x0100005e0001ULL, OWN, 0x0800, 60);
	expect_tx(e, true, 0);
	make(e, 0xfeffffffffffULL, OWN, 0x0800, 60);
	expect_tx(e, true, 0);
	expect_rx(e, true, 0);
	expect_rx(e, true, 0);
	s = stats(e);
	assert_int_equal(s.tx_broadcast, 1);
	assert_int_equal(s.tx_multicast, 2);
	assert_int_equal(s.rx_broadcast, 1);
	assert_int_equal(s.rx_multicast, 2);
}

/* A tag behind one that is not there: the kernel takes the first off before the program runs, so what it
 * finds in the bytes is a second one. */
static void test_second_tag(void **state)
{
	struct env *e = env(state);

	for (uint32_t type = 0x8100; type <= 0x88a8; type += 0x88a8 - 0x8100) {
		make(e, PEER, OWN, (uint16_t)type, 60);
		e->c.vlan.mode = VLAN_NONE;
		expect_tx(e, false, DROP_SPOOF_VLAN);
		expect_rx(e, false, DROP_VLAN);
	}
}

/* As many frames pass as the burst has room for, and those that time gives on top; no more. */
static void test_rates(void **state)
{
	struct env *e = env(state);
	struct port_stats s;

	make(e, PEER, OWN, 0x0800, 1000);
	e->c.max_rate = 1; /* Mb/s: a frame each 8 ms; 128 KiB at once */
	(void)run(e, true, 1000);
	s = stats(e);
	assert_in_range(s.tx_packets, 131, 131 + 100); /* below a second */
	assert_int_equal(s.tx_packets + s.tx_drop[DROP_RATE], 1000);
	/* Another function of the same PF, with a total: its own bucket is new, the total is shared. */
	e->c.max_rate = 0;
	e->c.total_rate = 1;
	(void)run(e, true, 1000);
	s = stats(e);
	assert_in_range(s.tx_packets, 262, 262 + 100);
	/* A minimum passes whatever the others took. */
	e->c.min_rate = 1;
	(void)run(e, true, 1000);
	s = stats(e);
	assert_in_range(s.tx_packets, 393, 393 + 150);
	assert_int_equal(s.tx_packets + s.tx_drop[DROP_RATE], 3000);
	/* No limit that matters. */
	e->c.total_rate = 0;
	e->c.max_rate = VPF_MAX_RATE;
	assert_int_equal(bpf_zero_map(e->maps.buckets, sizeof(struct port_prog_buckets)), 0);
	(void)run(e, true, 1000);
	assert_int_equal(stats(e).tx_packets - s.tx_packets, 1000);
}

/* The largest program there is: the verifier takes it. */
static void test_largest(void **state)
{
	struct env *e = env(state);

	e->c.n_macs = ARRAY_SIZE(e->c.macs);
	e->c.macs[0] = PEER;
	e->c.max_rate = e->c.min_rate = e->c.total_rate = 100;
	e->c.vlan.mode = VLAN_TRUNK;
	for (unsigned int vid = 0; vid < 2 * PORT_PROG_RANGES; vid += 2)
		e->c.vlan.trunk[vid / 64] |= 1ULL << (vid % 64);
	make(e, PEER, OWN, 0x0800, 60);
	expect_tx(e, false, DROP_SPOOF_MAC);
	for (unsigned int vid = 0; vid < 4095; vid += 2)
		e->c.vlan.trunk[vid / 64] |= 1ULL << (vid % 64);
	expect_tx(e, false, DROP_SPOOF_MAC);
	expect_rx(e, true, 0);
	e->c.vlan.trunk[0] &= ~1ULL;
	expect_tx(e, false, DROP_SPOOF_VLAN);
	e->c.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 5, .pcp = 3, .tpid = 0x8100};
	make(e, PEER, OWN, 0x0800, 60);
	e->c.macs[3] = OWN;
	expect_tx(e, true, 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_source),        TEST(test_learned),  TEST(test_control_and_reserved),
		TEST(test_length),        TEST(test_segments), TEST(test_strange_segments),
		TEST(test_segments_rate), TEST(test_groups),   TEST(test_second_tag),
		TEST(test_rates),         TEST(test_largest),
	};

	return cmocka_run_group_tests_name("port_prog", tests, NULL, NULL);
}
