/* SPDX-License-Identifier: Apache-2.0 */

/* From one guest's transmit ring to another's receive ring, through real workers: who gets what, and what is dropped
 * and counted. What happens while queues come and go is in test_switch_live.c, uplinks are in test_uplink.c. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "sw_env.h"

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* Unicast: to its owner alone; to an address that no port has; to oneself. */
static void test_unicast(void **state)
{
	struct sw_env *e = *state;
	struct vguest *a = sw_env_add(e, NULL, NULL), *b = sw_env_add(e, NULL, NULL),
		      *c = sw_env_add(e, NULL, NULL);

	sw_env_make(e, 2, 0, 100, 1);
	sw_env_send(e, a, NULL);
	sw_env_expect_nothing(e, a);
	sw_env_expect_nothing(e, b);
	sw_env_expect(e, c, &e->frame);
	sw_env_make(e, 7, 0, 100, 1);
	sw_env_send(e, a, NULL);
	sw_env_make(e, 0, 0, 100, 1);
	sw_env_send(e, a, NULL);
	assert_int_equal(sw_env_tx_drop(a, DROP_NO_ROUTE), 2);
	sw_env_expect_nothing(e, a);
	sw_env_expect_nothing(e, b);
	sw_env_expect_nothing(e, c);
	assert_int_equal(vguest_stats(b).rx_packets, 0);
}

static void test_flood(void **state)
{
	struct sw_env *e = *state;
	struct vguest *g[5];
	struct function_settings s;

	for (unsigned int i = 0; i < 5; i++)
		g[i] = sw_env_add(e, NULL, NULL);
	s = sw_env_settings(3);
	s.link = LINK_DISABLE;
	sw_env_set(e, 3, &s);
	s = sw_env_settings(4);
	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 5, .tpid = 0x8100};
	sw_env_set(e, 4, &s);
	for (unsigned int i = 0; i < 20; i++) {
		sw_env_make(e, 0, 0, 60 + 70 * i, i);
		memcpy(e->frame.data, i % 2 ? (const uint8_t[]){1, 0, 0x5e, 0, 0, (uint8_t)i} : broadcast, 6);
		sw_env_send(e, g[0], NULL);
		sw_env_expect(e, g[1], &e->frame);
		sw_env_expect(e, g[2], &e->frame);
		for (unsigned int k = 0; k < 5; k++)
			sw_env_expect_nothing(e, g[k]);
	}
	assert_int_equal(vguest_stats(g[0]).tx_broadcast, 10);
	assert_int_equal(vguest_stats(g[0]).tx_multicast, 10);
	assert_int_equal(vguest_stats(g[0]).tx_packets, 20);
	assert_int_equal(vguest_stats(g[1]).rx_broadcast, 10);
	assert_int_equal(vguest_stats(g[2]).rx_multicast, 10);
	assert_int_equal(vguest_stats(g[2]).rx_packets, 20);
	for (unsigned int k = 3; k < 5; k++) {
		struct port_stats st = vguest_stats(g[k]);

		assert_int_equal(st.rx_packets, 0);
		for (unsigned int r = 0; r < DROP_REASONS; r++)
			assert_int_equal(st.rx_drop[r], 0);
	}
	/* What no bridge forwards. */
	sw_env_make(e, 0, 0, 60, 1);
	memcpy(e->frame.data, (const uint8_t[]){1, 0x80, 0xc2, 0, 0, 0xe}, 6);
	sw_env_send(e, g[0], NULL);
	sw_env_expect_nothing(e, g[1]);
	assert_int_equal(sw_env_tx_drop(g[0], DROP_CONTROL), 1);
	e->frame.data[5] = 0x10; /* the first one behind them */
	sw_env_send(e, g[0], NULL);
	sw_env_expect(e, g[1], &e->frame);
	s = sw_env_settings(0);
	s.trust = true;
	sw_env_set(e, 0, &s);
	e->frame.data[5] = 0;
	sw_env_send(e, g[0], NULL);
	sw_env_expect(e, g[1], &e->frame);
}

/* Many at once: frames like the one before, and those for everybody, of which one receiver takes no long
 * ones. */
static void test_runs(void **state)
{
	struct sw_env *e = *state;
	struct vguest *a = sw_env_add(e, NULL, NULL), *b = sw_env_add(e, NULL, NULL),
		      *c = sw_env_add(e, NULL, NULL);
	struct function_settings s = sw_env_settings(1);
	const uint32_t n = 30;

	s.mtu = 1000;
	sw_env_set(e, 1, &s);
	for (uint32_t round = 0; round < 20; round++) {
		for (uint32_t i = 0; i < n;
		     i++) { /* to all, some too long for b; to c, some too long for all */
			sw_env_make(e, 2, 0, i % 3 == 1 ? 1514 + i % 2 : 100 + i, i);
			if (i < n / 2)
				memcpy(e->frame.data, broadcast, 6);
			vguest_send(a, 0, NULL, e->frame.data, e->frame.len);
		}
		vguest_flush(a, 0);
		for (uint32_t i = 0; i < n; i++) {
			sw_env_make(e, 2, 0, i % 3 == 1 ? 1514 + i % 2 : 100 + i, i);
			if (i < n / 2)
				memcpy(e->frame.data, broadcast, 6);
			if (e->frame.len > 1514)
				continue;
			sw_env_expect(e, c, &e->frame);
			if (i < n / 2 && e->frame.len <= 1014)
				sw_env_expect(e, b, &e->frame);
		}
		sw_env_expect_nothing(e, b);
		sw_env_expect_nothing(e, c);
	}
	assert_int_equal(sw_env_tx_drop(a, DROP_MTU), 20 * 5);
	assert_int_equal(sw_env_rx_drop(b, DROP_MTU), 20 * 2);
}

static void test_spoof(void **state)
{
	struct sw_env *e = *state;
	struct function_settings s = sw_env_settings(0);
	struct vguest *a = sw_env_add(e, NULL, NULL), *b = sw_env_add(e, NULL, NULL);

	sw_env_make(e, 1, 5, 100, 1);
	sw_env_send(e, a, NULL);
	sw_env_make(e, 1, 1, 100, 1); /* the receiver's own */
	sw_env_send(e, a, NULL);
	sw_env_expect_nothing(e, b);
	assert_int_equal(sw_env_tx_drop(a, DROP_SPOOF_MAC), 2);
	assert_int_equal(vguest_stats(a).tx_packets, 0);
	/* Never a group as source. */
	sw_env_make(e, 1, 0, 100, 1);
	e->frame.data[6] |= 1;
	sw_env_send(e, a, NULL);
	assert_int_equal(sw_env_tx_drop(a, DROP_MALFORMED), 1);
	s.spoofchk = false;
	sw_env_set(e, 0, &s);
	sw_env_send(e, a, NULL);
	assert_int_equal(sw_env_tx_drop(a, DROP_MALFORMED), 2);
	sw_env_make(e, 1, 5, 100, 1);
	sw_env_send(e, a, NULL);
	sw_env_expect(e, b, &e->frame);
	/* Addresses that the driver programmed. */
	s.spoofchk = true;
	sw_env_set(e, 0, &s);
	sw_env_send(e, a, NULL);
	assert_int_equal(sw_env_tx_drop(a, DROP_SPOOF_MAC), 3);
	{
		struct rx_filter f = {.known = true, .unicast_n = 1};

		sw_env_mac(f.main_mac, 0);
		sw_env_mac(f.unicast[0], 5);
		fabric_port_filter(&e->p[0]->base, &f);
	}
	sw_env_send(e, a, NULL);
	sw_env_expect(e, b, &e->frame);
	sw_env_make(e, 5, 1, 100, 1);
	sw_env_send(e, b, NULL);
	sw_env_expect(e, a, &e->frame);
	/* Too short to be a frame; control frames. */
	vguest_send(a, 0, NULL, e->frame.data, 13);
	vguest_send(a, 0, NULL, e->frame.data, 1);
	vguest_flush(a, 0);
	assert_int_equal(sw_env_tx_drop(a, DROP_MALFORMED), 4);
	sw_env_make(e, 1, 0, 100, 1);
	e->frame.data[12] = 0x88;
	e->frame.data[13] = 0xb5;
	sw_env_send(e, a, NULL);
	assert_int_equal(sw_env_tx_drop(a, DROP_CONTROL), 1);
	sw_env_make(e, 1, 0, 100, 1);
	memcpy(e->frame.data + 12, (const uint8_t[]){0x81, 0, 0x20, 0, 0x88, 0xb5}, 6);
	sw_env_send(e, a, NULL);
	assert_int_equal(sw_env_tx_drop(a, DROP_CONTROL), 2);
	sw_env_expect_nothing(e, b);
}

static void test_link(void **state)
{
	struct sw_env *e = *state;
	struct vguest *a = sw_env_add(e, NULL, NULL), *b = sw_env_add(e, NULL, NULL);
	struct function_settings s = sw_env_settings(1);

	s.link = LINK_DISABLE;
	sw_env_set(e, 1, &s);
	sw_env_make(e, 1, 0, 100, 1);
	sw_env_send(e, a, NULL);
	sw_env_expect_nothing(e, b);
	assert_int_equal(sw_env_rx_drop(b, DROP_LINK_DOWN), 1);
	sw_env_make(e, 0, 1, 100, 1);
	sw_env_send(e, b, NULL);
	sw_env_expect_nothing(e, a);
	assert_int_equal(sw_env_tx_drop(b, DROP_LINK_DOWN), 1);
	s.link = LINK_ENABLE;
	sw_env_set(e, 1, &s);
	sw_env_send(e, b, NULL);
	sw_env_expect(e, a, &e->frame);
	/* A function without queues. */
	vguest_queue_stop(b, 0);
	sw_env_make(e, 1, 0, 100, 1);
	sw_env_send(e, a, NULL);
	assert_int_equal(sw_env_rx_drop(b, DROP_LINK_DOWN), 2);
	vguest_queue_start(b, 0);
	sw_env_send(e, a, NULL);
	sw_env_expect(e, b, &e->frame);
	/* Disabled ones: nothing is put into a receive queue, what is in a transmit queue is discarded. */
	port_queue_enable(b->port, 0, false);
	sw_env_send(e, a, NULL);
	sw_env_expect_nothing(e, b);
	assert_int_equal(sw_env_rx_drop(b, DROP_LINK_DOWN), 3);
	port_queue_enable(b->port, 0, true);
	sw_env_send(e, a, NULL);
	sw_env_expect(e, b, &e->frame);
	port_queue_enable(a->port, 1, false);
	sw_env_send(e, a, NULL);
	sw_env_expect_nothing(e, b);
	assert_int_equal(sw_env_tx_drop(a, DROP_RING), 1);
	port_queue_enable(a->port, 1, true);
	sw_env_send(e, a, NULL);
	sw_env_expect(e, b, &e->frame);
}

/* Flows spread over a receiver's queues, each stays in one and in order. */
static void test_multi_queue(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options o = sw_env_options(0);
	struct vguest *a, *b;
	int queue_of[64], next[64] = {0};
	unsigned int used[VGUEST_PAIRS] = {0}, total = 0;
	struct frame_spec spec = frame_tcp(100);

	o.pairs = 4;
	o.size = 1024;
	a = sw_env_add(e, NULL, &o);
	b = sw_env_add(e, NULL, &o);
	memset(queue_of, -1, sizeof(queue_of));
	sw_env_mac(spec.dst, 1);
	sw_env_mac(spec.src, 0);
	for (unsigned int round = 0; round < 40; round++) {
		for (unsigned int flow = 0; flow < 64; flow++) {
			spec.sport = (uint16_t)(1000 + flow);
			spec.v6 = flow & 1;
			spec.udp = flow & 2;
			spec.seq = 0;
			frame_build(&spec, false, &e->frame);
			e->frame.data[e->frame.body] = (uint8_t)flow;
			e->frame.data[e->frame.body + 1] = (uint8_t)round;
			vguest_send(a, flow % 4, NULL, e->frame.data, e->frame.len);
		}
		for (unsigned int i = 0; i < 4; i++)
			vguest_flush(a, i);
		for (unsigned int i = 0; i < 4; i++) {
			while (vguest_recv(b, i, &e->got)) {
				unsigned int flow;

				spec.v6 = e->got.data[12] == 0x86;
				spec.udp = e->got.data[spec.v6 ? 20 : 23] == 17;
				frame_build(&spec, false, &e->want);
				flow = e->got.data[e->want.body];
				assert_true(flow < 64);
				assert_true(queue_of[flow] < 0 || queue_of[flow] == (int)i);
				queue_of[flow] = (int)i;
				assert_int_equal(e->got.data[e->want.body + 1], next[flow]++);
				used[i]++;
				total++;
			}
		}
	}
	assert_int_equal(total, 40 * 64);
	for (unsigned int i = 0; i < 4; i++)
		assert_in_range(used[i], 40 * 4, 40 * 40); /* none idle, none alone */
	/* One queue less: all flows in the others. */
	port_queue_enable(b->port, 2, false);
	for (unsigned int flow = 0; flow < 64; flow++) {
		spec.sport = (uint16_t)(1000 + flow);
		frame_build(&spec, false, &e->frame);
		vguest_send(a, 0, NULL, e->frame.data, e->frame.len);
	}
	vguest_flush(a, 0);
	assert_false(vguest_recv(b, 1, &e->got));
	total = 0;
	for (unsigned int i = 0; i < 4; i++)
		while (vguest_recv(b, i, &e->got))
			total++;
	assert_int_equal(total, 64);
}

/* Fragments of a packet have ports only in the first: they stay together. */
static void test_fragments(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options o = sw_env_options(0);
	struct vguest *a, *b;
	struct frame_spec spec = frame_tcp(100);

	o.pairs = 4;
	a = sw_env_add(e, NULL, &o);
	b = sw_env_add(e, NULL, &o);
	spec.udp = true;
	sw_env_mac(spec.dst, 1);
	sw_env_mac(spec.src, 0);
	for (unsigned int i = 0; i < 100; i++) {
		unsigned int in = 0;

		spec.sport = (uint16_t)(i * 977);
		frame_build(&spec, false, &e->frame);
		e->frame.data[e->frame.l3 + 6] = 0x20;
		vguest_send(a, 0, NULL, e->frame.data, e->frame.len);
		e->frame.data[e->frame.l3 + 6] = 0;
		e->frame.data[e->frame.l3 + 7] = 10;
		memset(e->frame.data + e->frame.l4, (int)i, 8);
		vguest_send(a, 0, NULL, e->frame.data, e->frame.len);
		vguest_flush(a, 0);
		for (unsigned int q = 0; q < 4; q++) {
			if (!vguest_recv(b, q, &e->got))
				continue;
			in++;
			assert_true(vguest_recv(b, q, &e->got));
			assert_false(vguest_recv(b, q, &e->got));
		}
		assert_int_equal(in, 1);
	}
}

static void test_two_fabrics(void **state)
{
	struct sw_env *e = *state;
	struct builtin_fabric *first = e->f;
	struct vguest *a = sw_env_add(e, NULL, NULL), *b, other;
	struct function_settings s = sw_env_settings(5);
	struct vguest_options o = sw_env_options(0);
	struct fabric_settings fs;
	struct fabric_port *p;
	struct pf_settings pf;
	struct builtin_fabric *f2;

	b = sw_env_add(e, NULL, NULL);
	fabric_settings_init(&fs, "g");
	pf_settings_init(&pf, "pf");
	f2 = sw_env_new_fabric(e, &fs);
	/* The same address as the first fabric's second port, and one of its own. */
	sw_env_mac(s.mac, 1);
	assert_int_equal(fabric_port_add(&f2->base, "pf2", 0, &s, &pf.policy, NULL, &p), 0);
	assert_false(p->mac_conflict);
	vguest_start(&other, builtin_port_of(p), &o);
	sw_env_make(e, 1, 0, 100, 1);
	sw_env_send(e, a, NULL);
	sw_env_expect(e, b, &e->frame);
	sw_env_expect_nothing(e, &other);
	memcpy(e->frame.data, broadcast, 6);
	sw_env_send(e, a, NULL);
	sw_env_expect(e, b, &e->frame);
	sw_env_expect_nothing(e, &other);
	sw_env_make(e, 0, 1, 100, 1);
	sw_env_send(e, &other, NULL);
	sw_env_expect_nothing(e, a);
	assert_int_equal(sw_env_tx_drop(&other, DROP_NO_ROUTE), 1);
	vguest_stop(&other);
	fabric_port_free(p);
	fabric_free(&f2->base);
	assert_ptr_equal(first, e->f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SW_ENV_TESTS(test_unicast),   SW_ENV_TESTS(test_flood),       SW_ENV_TESTS(test_runs),
		SW_ENV_TESTS(test_spoof),     SW_ENV_TESTS(test_link),        SW_ENV_TESTS(test_multi_queue),
		SW_ENV_TESTS(test_fragments), SW_ENV_TESTS(test_two_fabrics),
	};

	return cmocka_run_group_tests_name("switch", tests, NULL, NULL);
}
