/* SPDX-License-Identifier: Apache-2.0 */

/* Bursts gathered from several queues: who is in one keeps its order, its bounds and its counters, and a
 * driver that misbehaves spoils nothing for the others in it. The worker is held while the queues fill, so
 * that its next pass finds all of them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>
#include <string.h>

#include "sw_env.h"
#include "switch/burst.h"

#define F_PACKED VIRTIO_BIT(VIRTIO_F_RING_PACKED)

static struct frame frame;
static struct vguest_frame got;

/* Keeps worker 0 between two passes until it is let go. */
struct hold {
	struct worker *w;
	sem_t held, go;
	pthread_t thread;
};

static void wait_go(struct worker *w, void *arg)
{
	struct hold *h = arg;

	(void)w;
	sem_post(&h->held);
	sem_wait(&h->go);
}

static void *run_hold(void *arg)
{
	struct hold *h = arg;

	worker_run(h->w, wait_go, h);
	return NULL;
}

static void hold(struct hold *h, struct sw_env *e)
{
	h->w = e->pool->worker[0];
	sem_init(&h->held, 0, 0);
	sem_init(&h->go, 0, 0);
	assert_int_equal(pthread_create(&h->thread, NULL, run_hold, h), 0);
	sem_wait(&h->held);
}

static void let_go(struct hold *h)
{
	sem_post(&h->go);
	pthread_join(h->thread, NULL);
	sem_destroy(&h->held);
	sem_destroy(&h->go);
}

static void make(unsigned int dst, unsigned int src, uint32_t len, uint32_t number)
{
	uint8_t d[6], s[6];

	sw_env_mac(d, dst);
	sw_env_mac(s, src);
	frame_plain(&frame, d, s, len, number);
	frame.data[20] = (uint8_t)src;
	memcpy(frame.data + 21, &number, 4);
}

static void put(struct sw_env *e, unsigned int dst, unsigned int src, uint32_t len, uint32_t number)
{
	make(dst, src, len, number);
	assert_true(vguest_try_send(&e->g[src], 0, NULL, frame.data, frame.len));
}

/* The next frame from `src` that `g` receives has a number above *last. */
static bool in_order(struct vguest *g, uint32_t last[SW_ENV_PORTS], unsigned int *ret_src)
{
	uint32_t number;

	if (!vguest_recv(g, 0, &got))
		return false;
	*ret_src = got.data[20];
	memcpy(&number, got.data + 21, 4);
	assert_true(*ret_src < SW_ENV_PORTS);
	assert_true(number > last[*ret_src]);
	last[*ret_src] = number;
	return true;
}

/* Groups: by port and VLAN, each in the order of arrival; as many as there is room for frames; none remain. */
static void test_sort(void **state)
{
	struct burst *b = calloc(1, sizeof(*b));
	struct pkt *pkts = calloc(BURST_ROOM, sizeof(*pkts));
	struct sw_port *ports = calloc(BURST_ROOM, sizeof(*ports));

	(void)state;
	assert_non_null(b);
	assert_non_null(pkts);
	assert_non_null(ports);
	for (unsigned int kinds = 1; kinds <= BURST_ROOM; kinds++) {
		unsigned int total = 0;

		for (unsigned int i = 0; i < BURST_ROOM; i++) {
			unsigned int kind = i * 67 % kinds;

			pkts[i].vlan = (uint16_t)(kind % 2);
			pkts[i].len = i;
			burst_sort(b, &pkts[i], 60 + i, &ports[kind / 2]);
		}
		assert_int_equal(b->n_groups, MIN(kinds, (unsigned int)BURST_ROOM));
		for (unsigned int k = 0; k < b->n_groups; k++) {
			const struct burst_group *g = &b->group[k];
			const struct pkt *p = g->first;
			uint32_t last = 0;

			for (unsigned int i = 0; i < g->n; i++, p = p->next) {
				unsigned int kind = p->len * 67 % kinds;

				assert_ptr_equal(g->dst, &ports[kind / 2]);
				assert_int_equal(g->vlan, kind % 2);
				assert_true(!i || p->len > last);
				last = p->len;
			}
			assert_ptr_equal(g->last, &pkts[last]);
			assert_int_equal(g->longest, 60 + last);
			total += g->n;
		}
		assert_int_equal(total, BURST_ROOM);
		burst_sorted_out(b);
		assert_int_equal(b->n_groups, 0);
	}
	free(b);
	free(pkts);
	free(ports);
}

/* Every guest sends to every other, a few frames or a whole ring of them: all arrive, each flow in order. */
static void gather(struct sw_env *e, uint64_t features, uint32_t len, unsigned int each)
{
	struct vguest_options o = sw_env_options(features);
	struct hold h;

	while (e->n < SW_ENV_PORTS)
		sw_env_add(e, NULL, &o);
	hold(&h, e);
	for (unsigned int i = 1; i <= each; i++)
		for (unsigned int src = 0; src < e->n; src++)
			put(e, (src + 1 + i % (e->n - 1)) % e->n, src, len, i);
	let_go(&h);
	for (unsigned int src = 0; src < e->n; src++)
		vguest_flush(&e->g[src], 0);
	for (unsigned int dst = 0; dst < e->n; dst++) {
		uint32_t last[SW_ENV_PORTS] = {0};
		unsigned int n = 0, src;

		while (in_order(&e->g[dst], last, &src)) {
			assert_int_equal(got.len, len);
			make(dst, src, len, last[src]);
			assert_memory_equal(got.data, frame.data, len);
			n++;
		}
		assert_int_equal(vguest_stats(&e->g[dst]).rx_packets, n);
		assert_int_equal(vguest_stats(&e->g[dst]).tx_packets, each);
		assert_int_equal(vguest_stats(&e->g[dst]).tx_bytes, (uint64_t)each * len);
		assert_int_equal(n, each); /* each step around the circle has one sender for each receiver */
	}
	while (e->n) {
		vguest_stop(&e->g[--e->n]);
		fabric_port_free(&e->p[e->n]->base);
	}
}

static void test_gather(void **state)
{
	struct sw_env *e = *state;
	static const unsigned int each[] = {1, 3, 5, 31, 32, 33, VGUEST_TX_SLOTS};
	static const uint32_t len[] = {60, 192, 193, 1514};

	for (unsigned int i = 0; i < ARRAY_SIZE(each); i++)
		for (unsigned int k = 0; k < ARRAY_SIZE(len); k++) {
			gather(e, 0, len[k], each[i]);
			gather(e, F_PACKED | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX), len[k], each[i]);
		}
}

/* A transmit ring that is broken behind a few good frames, among others of the same burst. */
static void test_broken_among_others(void **state)
{
	struct sw_env *e = *state;
	struct vdriver_buf bad = {0, 100, false};
	uint32_t last[SW_ENV_PORTS] = {0};
	unsigned int n = 0, src;
	struct hold h;

	while (e->n < 5)
		sw_env_add(e, NULL, NULL);
	sw_env_notes(e);
	hold(&h, e);
	for (unsigned int i = 1; i <= 4; i++)
		for (unsigned int s = 0; s < 4; s++)
			put(e, 4, s, 100, i);
	assert_int_equal(vdriver_add(&e->g[1].tx[0], &bad, 1, VDRIVER_DIRECT, &e->g[1].tx_gpa[0][60]), 0);
	let_go(&h);
	for (unsigned int s = 0; s < 4; s++)
		if (s != 1)
			vguest_flush(&e->g[s], 0);
	/* Between two passes nothing is under way, and the ring was looked at twice. */
	hold(&h, e);
	let_go(&h);
	hold(&h, e);
	let_go(&h);
	assert_true(sw_env_notes(e));
	while (in_order(&e->g[4], last, &src))
		n++;
	assert_int_equal(n, 16); /* what was before the bad one is good */
	for (unsigned int s = 0; s < 4; s++)
		assert_int_equal(last[s], 4);
	assert_string_equal(e->g[1].port->queue[1]->vr.broken, "a buffer lies outside guest memory");
	put(e, 4, 0, 100, 5);
	vguest_flush(&e->g[0], 0);
	assert_true(in_order(&e->g[4], last, &src));
	vguest_queue_anew(&e->g[1], 1);
}

/* A receiver without buffers loses its own frames, and no other's of the burst. */
static void test_slow_receiver(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options few = sw_env_options(0);
	struct hold h;

	few.rx_buffers = 3;
	sw_env_add(e, NULL, NULL);
	sw_env_add(e, NULL, NULL);
	sw_env_add(e, NULL, &few);
	sw_env_add(e, NULL, NULL);
	hold(&h, e);
	for (unsigned int i = 1; i <= 8; i++)
		for (unsigned int s = 0; s < 2; s++) {
			put(e, 2, s, 100, 2 * i);
			put(e, 3, s, 100, 2 * i + 1);
		}
	let_go(&h);
	vguest_flush(&e->g[0], 0);
	vguest_flush(&e->g[1], 0);
	assert_int_equal(vguest_stats(&e->g[2]).rx_packets, 3);
	assert_int_equal(vguest_stats(&e->g[2]).rx_drop[DROP_NO_BUFFER], 13);
	assert_int_equal(vguest_stats(&e->g[3]).rx_packets, 16);
}

/* Every receiver of a burst whose driver wants a call gets one, whatever others are in it. */
static void test_calls(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options event = sw_env_options(VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX));
	struct vguest_options packed = sw_env_options(F_PACKED | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX));

	sw_env_add(e, NULL, NULL);
	for (unsigned int i = 1; i < SW_ENV_PORTS; i++)
		sw_env_add(e, NULL, i % 3 == 0 ? &event : i % 3 == 1 ? &packed : NULL);
	for (uint32_t round = 1; round < 300; round++) {
		struct hold h;

		for (unsigned int i = 1; i < e->n; i++) {
			while (vdriver_wait_call(&e->g[i].rx[0], 0))
				;
			assert_false(vdriver_call_enable(&e->g[i].rx[0], 0));
		}
		hold(&h, e);
		for (unsigned int i = 1; i < e->n; i++)
			put(e, i, 0, 100, round);
		let_go(&h);
		for (unsigned int i = 1; i < e->n; i++) {
			assert_true(vdriver_wait_call(&e->g[i].rx[0], 10000));
			assert_true(vguest_recv(&e->g[i], 0, &got));
		}
		vguest_flush(&e->g[0], 0);
	}
}

/* Frames in so many pieces that the segments of a burst run out: they come over in several. */
static void test_many_pieces(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options o = sw_env_options(0);
	struct hold h;

	o.tx_part = 3;
	o.size = 1024;
	o.layout = VDRIVER_INDIRECT;
	for (unsigned int i = 0; i < 4; i++)
		sw_env_add(e, NULL, &o);
	hold(&h, e);
	for (uint32_t i = 1; i <= 10; i++)
		for (unsigned int s = 0; s < 3; s++)
			put(e, 3, s, 1500, i);
	let_go(&h);
	for (unsigned int s = 0; s < 3; s++)
		vguest_flush(&e->g[s], 0);
	{
		uint32_t last[SW_ENV_PORTS] = {0};
		unsigned int n = 0, src;

		while (in_order(&e->g[3], last, &src)) {
			make(3, src, 1500, last[src]);
			assert_memory_equal(got.data, frame.data, 1500);
			n++;
		}
		assert_int_equal(n, 30);
	}
}

#define TESTS(fn)                                                                                            \
	{#fn " (1 worker)", fn, sw_env_setup, sw_env_teardown, (void *)(uintptr_t)1},                        \
	{                                                                                                    \
#fn " (2 workers)", fn, sw_env_setup, sw_env_teardown, (void *)(uintptr_t)2                  \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sort),
		TESTS(test_gather),
		{"test_broken_among_others", test_broken_among_others, sw_env_setup, sw_env_teardown,
		 (void *)(uintptr_t)1},
		TESTS(test_slow_receiver),
		TESTS(test_calls),
		TESTS(test_many_pieces),
	};

	return cmocka_run_group_tests_name("burst", tests, NULL, NULL);
}
