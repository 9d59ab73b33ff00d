/* SPDX-License-Identifier: Apache-2.0 */

/* Throttled queues, through real workers: nothing is lost, reordered or stuck, whatever ends the wait. How
 * much gets through in a time is in test_shaper.c, on a clock that does not depend on the machine. Here a
 * backlog stands for seconds, and must be gone at once. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <time.h>

#include "sw_env.h"

#define F(bit)   VIRTIO_BIT(VIRTIO_NET_F_##bit)
#define F_SEND   (F(CSUM) | F(HOST_TSO4) | F(HOST_TSO6))
#define F_TAKE   (F(GUEST_CSUM) | F(GUEST_TSO4) | F(GUEST_TSO6))
#define F_PACKED VIRTIO_BIT(VIRTIO_F_RING_PACKED)
#define BACKLOG  40 /* frames, each half a second at 1 Mb/s */

static struct frame frame;
static struct vguest_frame got;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static struct vguest *add(struct sw_env *e, uint64_t features, unsigned int pairs, uint32_t max_rate)
{
	struct vguest_options o = sw_env_options(features | F_SEND | F_TAKE);
	struct function_settings s = sw_env_settings(e->n);

	s.max_rate = max_rate;
	o.pairs = pairs;
	o.size = 1024;
	o.rx_len = 16384; /* room for all of a backlog: it is not looked at until it is through */
	o.rx_buffers = 300;
	return sw_env_add(e, &s, &o);
}

static void set_rate(struct sw_env *e, unsigned int n, uint32_t max_rate)
{
	struct function_settings s = sw_env_settings(n);

	s.max_rate = max_rate;
	sw_env_set(e, n, &s);
}

/* 62 KiB from port 0 to port 1, with `number` in it. */
static void send_large(struct vguest *g, unsigned int pair, uint32_t number)
{
	struct frame_spec s = frame_tcp(62000);
	struct virtio_net_hdr hdr;

	sw_env_mac(s.dst, 1);
	sw_env_mac(s.src, 0);
	s.seq = number;
	frame_build(&s, true, &frame);
	hdr = frame_hdr(&s, &frame, 1448);
	vguest_send(g, pair, &hdr, frame.data, frame.len);
}

static uint32_t number_of(const struct vguest_frame *f)
{
	return (uint32_t)f->data[38] << 24 | (uint32_t)f->data[39] << 16 | (uint32_t)f->data[40] << 8 |
	       f->data[41];
}

/* Waits until the queue is throttled: one frame at least went through, on credit. */
static void wait_throttled(struct sw_env *e)
{
	uint64_t until = now_ns() + 20000000000ull;

	for (;;) {
		for (unsigned int i = 0; i < e->pool->n; i++)
			if (__atomic_load_n(&e->pool->worker[i]->n_throttled, __ATOMIC_RELAXED))
				return;
		assert_true(now_ns() < until);
		sched_yield();
	}
}

static void expect_numbers(struct vguest *g, uint32_t from, uint32_t to)
{
	for (; from < to; from++) {
		assert_true(vguest_wait(g, 0, &got, 20000));
		assert_int_equal(number_of(&got), from);
		assert_true(got.len > 62000);
	}
	assert_false(vguest_recv(g, 0, &got));
}

/* A backlog, throttled. */
static void fill(struct sw_env *e, struct vguest *a)
{
	uint64_t before = vguest_stats(a).tx_packets;

	for (uint32_t i = 0; i < BACKLOG; i++)
		send_large(a, 0, i);
	wait_throttled(e);
	assert_true(vguest_stats(a).tx_packets < before + BACKLOG);
}

static void test_new_limit(void **state)
{
	struct sw_env *e = *state;

	for (unsigned int i = 0; i < 6; i++) {
		uint64_t start = now_ns();
		struct vguest *a, *b;

		e->policy.max_rate_total = i % 3 == 0 ? 0 : 1;
		a = add(e, i & 1 ? F_PACKED : 0, 1, i % 3 == 1 ? 0 : 1);
		b = add(e, 0, 1, 0);
		fill(e, a);
		e->policy.max_rate_total = 0;
		set_rate(e, 0, i < 3 ? 0 : 1000000);
		if (i < 3) /* now, and not when the wait that it was in is over */
			assert_int_equal(__atomic_load_n(&e->pool->worker[0]->n_throttled, __ATOMIC_RELAXED),
					 0);
		vguest_flush(a, 0);
		expect_numbers(b, 0, BACKLOG);
		assert_true(now_ns() - start < BACKLOG / 4 * 1000000000ull);
		assert_int_equal(e->pool->worker[0]->n_throttled, 0);
		assert_int_equal(vguest_stats(a).tx_packets, BACKLOG);
		while (e->n) {
			vguest_stop(&e->g[--e->n]);
			fabric_port_free(&e->p[e->n]->base);
		}
	}
}

/* Stopped where it stands, it goes on there, still in debt. */
static void test_stop(void **state)
{
	struct sw_env *e = *state;

	for (unsigned int i = 0; i < 2; i++) {
		struct vguest *a = add(e, i ? F_PACKED : 0, 1, 1), *b = add(e, 0, 1, 0);

		fill(e, a);
		for (unsigned int k = 0; k < 10; k++) {
			vguest_queue_stop(a, 1);
			assert_int_equal(e->pool->worker[0]->n_throttled, 0);
			vguest_queue_start(a, 1);
			wait_throttled(e);
		}
		assert_true(vguest_stats(a).tx_packets < BACKLOG);
		vguest_queue_stop(a, 1);
		set_rate(e, 0, 0);
		vguest_queue_start(a, 1);
		vguest_flush(a, 0);
		expect_numbers(b, 0, BACKLOG);
		/* The port goes with its queue throttled. */
		set_rate(e, 0, 1);
		fill(e, a);
		while (e->n) {
			vguest_stop(&e->g[--e->n]);
			fabric_port_free(&e->p[e->n]->base);
		}
	}
}

/* A queue that is switched off is emptied, and nothing of it sent; on again, it sends. */
static void test_disable(void **state)
{
	struct sw_env *e = *state;
	struct vguest *a = add(e, 0, 1, 1), *b = add(e, 0, 1, 0);
	uint64_t sent;

	fill(e, a);
	port_queue_enable(a->port, 1, true); /* it is on: no change */
	port_queue_enable(a->port, 1, false);
	assert_int_equal(__atomic_load_n(&e->pool->worker[0]->n_throttled, __ATOMIC_RELAXED), 0);
	vguest_flush(a, 0);
	sent = vguest_stats(a).tx_packets;
	assert_int_equal(vguest_stats(a).tx_drop[DROP_RING], BACKLOG - sent);
	expect_numbers(b, 0, (uint32_t)sent);
	set_rate(e, 0, 0);
	port_queue_enable(a->port, 1, true);
	send_large(a, 0, 77);
	vguest_flush(a, 0);
	expect_numbers(b, 77, 78);
	/* With the link down, too, there is nothing to wait for. */
	set_rate(e, 0, 1);
	fill(e, a);
	{
		struct function_settings s = sw_env_settings(0);

		s.link = LINK_DISABLE;
		sw_env_set(e, 0, &s);
	}
	vguest_flush(a, 0);
}

/* The wait ends by itself; the queues of a port, on several workers, together keep its limit. */
static void test_timer(void **state)
{
	struct sw_env *e = *state;
	struct vguest *a = add(e, 0, 2, 100), *b = add(e, 0, 1, 0);
	uint32_t next[2] = {0, 1000};
	uint64_t start = now_ns();

	for (uint32_t i = 0; i < 30; i++) {
		send_large(a, 0, i);
		send_large(a, 1, 1000 + i);
	}
	vguest_flush(a, 0);
	vguest_flush(a, 1);
	/* 60 frames less the credit and what each queue may overdraw in its last visit. */
	assert_true(now_ns() - start > (60 - 2 - 2) * 62000ull * 8 * 10 - SHAPER_DEPTH_NS);
	for (unsigned int i = 0; i < 60; i++) {
		uint32_t number;

		assert_true(vguest_wait(b, 0, &got, 20000));
		number = number_of(&got);
		assert_int_equal(number, next[number >= 1000]++);
	}
	assert_false(vguest_recv(b, 0, &got));
}

/* Waiting is sleeping, and other ports need not wait. */
static void test_sleep(void **state)
{
	struct sw_env *e = *state;
	struct vguest *a = add(e, 0, 1, 1), *b = add(e, 0, 1, 0);
	struct worker *w = e->pool->worker[0];
	uint64_t polls;

	fill(e, a);
	polls = __atomic_load_n(&w->polls, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < 20; i++) {
		uint8_t to[6], from[6];

		sw_env_mac(to, 0);
		sw_env_mac(from, 1);
		frame_plain(&frame, to, from, 1000, i);
		vguest_send(b, 0, NULL, frame.data, frame.len);
		vguest_flush(b, 0);
		assert_true(vguest_wait(a, 0, &got, 20000));
		assert_int_equal(got.len, 1000);
	}
	/* A few passes for each frame, whatever the time they took. */
	assert_in_range(__atomic_load_n(&w->polls, __ATOMIC_RELAXED) - polls, 20, 1000);
	assert_true(vguest_stats(a).tx_packets < BACKLOG);
}

/* Without a limit nothing is counted for one. */
static void test_no_limit(void **state)
{
	struct sw_env *e = *state;
	struct vguest *a = add(e, 0, 1, 0), *b = add(e, 0, 1, 0);

	for (uint32_t i = 0; i < 10 * BACKLOG; i++) {
		send_large(a, 0, i);
		assert_true(vguest_wait(b, 0, &got, 20000));
	}
	assert_int_equal(e->p[0]->port->shaper.paid_max, 0);
	assert_int_equal(e->p[0]->port->shaper.pool->paid, 0);
}

#define TEST(fn, workers)                                                                                    \
	{                                                                                                    \
#fn " (" #workers ")", fn, sw_env_setup, sw_env_teardown, (void *)(uintptr_t)(workers)       \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_new_limit, 1), TEST(test_stop, 1),  TEST(test_disable, 1),  TEST(test_timer, 1),
		TEST(test_timer, 2),     TEST(test_sleep, 1), TEST(test_no_limit, 1),
	};

	return cmocka_run_group_tests_name("switch_rates", tests, NULL, NULL);
}
