/* SPDX-License-Identifier: Apache-2.0 */

/* Who gets a multicast frame: what the driver listens to, what it may, what everybody gets. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "sw_env.h"

static struct frame frame;
static struct vguest_frame got;
static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* Port 0 sends to a group; whether port 1 gets it. */
static bool passes(struct sw_env *e, const uint8_t group[6])
{
	uint64_t before = vguest_stats(&e->g[1]).rx_packets;
	uint8_t from[6];
	bool have;

	sw_env_mac(from, 0);
	frame_plain(&frame, group, from, 100, group[5]);
	vguest_send(&e->g[0], 0, NULL, frame.data, frame.len);
	vguest_flush(&e->g[0], 0);
	have = vguest_recv(&e->g[1], 0, &got);
	if (have)
		assert_memory_equal(got.data, frame.data, frame.len);
	assert_int_equal(vguest_stats(&e->g[1]).rx_packets, before + have);
	return have;
}

static void group_of(uint8_t group[6], unsigned int n)
{
	memcpy(group, (uint8_t[]){0x01, 0, 0x5e, 0x40, (uint8_t)(n >> 8), (uint8_t)n}, 6);
}

static bool passes_n(struct sw_env *e, unsigned int n)
{
	uint8_t group[6];

	group_of(group, n);
	return passes(e, group);
}

/* Port 1 listens to `n` groups, the first is number `first`, each `step` from the last. */
static struct rx_filter listening(unsigned int first, unsigned int step, unsigned int n)
{
	struct rx_filter f = {.known = true, .multicast_n = n};

	sw_env_mac(f.main_mac, 1);
	for (unsigned int i = 0; i < n; i++)
		/* Not in order: QEMU gives them in whatever order it likes. */
		group_of(f.multicast[(i * 7) % n], first + i * step);
	return f;
}

static void test_groups(void **state)
{
	struct sw_env *e = *state;
	struct rx_filter f;

	sw_env_add(e, NULL, NULL);
	sw_env_add(e, NULL, NULL);
	assert_true(passes_n(e, 5)); /* nothing is known */
	for (unsigned int n = 0; n <= VPF_MAX_DRIVER_MACS; n += n % 7 == 6 ? 2 : 1) {
		f = listening(100, 3, n);
		fabric_port_filter(&e->p[1]->base, &f);
		for (unsigned int i = 90; i < 100 + 3 * VPF_MAX_DRIVER_MACS + 10; i++) {
			bool want = i >= 100 && (i - 100) % 3 == 0 && (i - 100) / 3 < n;

			if (passes_n(e, i) != want)
				fail_msg("%u groups: number %u", n, i);
		}
		assert_true(passes(e, broadcast));
	}
	/* What it does not listen to is no drop. */
	for (unsigned int r = 0; r < DROP_REASONS; r++)
		assert_int_equal(vguest_stats(&e->g[1]).rx_drop[r] + vguest_stats(&e->g[0]).tx_drop[r], 0);
	/* More than the device has room for: all. */
	f.multicast_overflow = true;
	fabric_port_filter(&e->p[1]->base, &f);
	assert_true(passes_n(e, 5));
	f = (struct rx_filter){0};
	fabric_port_filter(&e->p[1]->base, &f);
	assert_true(passes_n(e, 5));
}

/* Those without which a host cannot be found, or finds no router. */
static void test_for_all(void **state)
{
	struct sw_env *e = *state;
	static const struct {
		uint8_t group[6];
		bool want;
	} c[] = {
		{{0x33, 0x33, 0xff, 0x12, 0x34, 0x56}, true},
		{{0x33, 0x33, 0xff, 0, 0, 0}, true},
		{{0x33, 0x33, 0, 0, 0, 1}, true},
		{{0x01, 0, 0x5e, 0, 0, 1}, true},
		{{0x33, 0x33, 0, 0, 0, 2}, false},
		{{0x33, 0x33, 0, 0, 0, 0xfb}, false},
		{{0x01, 0, 0x5e, 0, 0, 0xfb}, false},
		{{0x33, 0x33, 0xfe, 0, 0, 1}, false},
		{{0x01, 0, 0x5e, 0, 0, 2}, false},
		{{0x33, 0x32, 0xff, 0, 0, 1}, false},
	};
	struct rx_filter f = listening(1, 1, 3);

	sw_env_add(e, NULL, NULL);
	sw_env_add(e, NULL, NULL);
	fabric_port_filter(&e->p[1]->base, &f);
	for (unsigned int i = 0; i < ARRAY_SIZE(c); i++)
		if (passes(e, c[i].group) != c[i].want)
			fail_msg("case %u", i);
}

/* Everything for whom may have everything: trusted, and the PF's policy allows it. */
static void test_all(void **state)
{
	struct sw_env *e = *state;

	sw_env_add(e, NULL, NULL);
	sw_env_add(e, NULL, NULL);
	for (unsigned int i = 0; i < 32; i++) {
		struct function_settings s = sw_env_settings(1);
		struct rx_filter f = listening(1, 1, i & 16 ? 3 : 0);
		bool asks = i & 4 || i & 8;

		s.trust = i & 1;
		e->policy.promisc = i & 2;
		sw_env_set(e, 1, &s);
		f.all_multicast = i & 4;
		f.promiscuous = i & 8;
		fabric_port_filter(&e->p[1]->base, &f);
		/* Promiscuous and nothing else is what a driver leaves that sets no filter at all. */
		if (passes_n(e, 7) != ((i & 1 && i & 2 && asks) || (i & 28) == 8))
			fail_msg("case %u", i);
		if (i & 16 && !passes_n(e, 2))
			fail_msg("case %u: its own group", i);
	}
}

/* A frame for a group is no frame for another VLAN, or for a port whose link is down. */
static void test_limits(void **state)
{
	struct sw_env *e = *state;
	struct function_settings s = sw_env_settings(1);
	struct rx_filter f = listening(1, 1, 3);

	sw_env_add(e, NULL, NULL);
	sw_env_add(e, NULL, NULL);
	fabric_port_filter(&e->p[1]->base, &f);
	assert_true(passes_n(e, 2));
	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 5, .tpid = 0x8100};
	sw_env_set(e, 1, &s);
	assert_false(passes_n(e, 2));
	s = sw_env_settings(1);
	s.link = LINK_DISABLE;
	sw_env_set(e, 1, &s);
	assert_false(passes_n(e, 2));
}

#define TEST(fn) cmocka_unit_test_prestate_setup_teardown(fn, sw_env_setup, sw_env_teardown, (void *)1)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_groups),
		TEST(test_for_all),
		TEST(test_all),
		TEST(test_limits),
	};

	return cmocka_run_group_tests_name("switch_multicast", tests, NULL, NULL);
}
