/* SPDX-License-Identifier: Apache-2.0 */

/* The switch while things change: queues that start and stop, settings, ports, call descriptors, all under
 * traffic from other threads; wake-ups; rest. Most of it is for the sanitizers to look at; what must hold
 * besides: frames of a sender arrive in order and once, and each is counted once. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "sw_env.h"

#define F_PACKED VIRTIO_BIT(VIRTIO_F_RING_PACKED)
#define F_EVENT  VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX)

/* A guest's transmit side in a thread of its own: numbered frames to one address until told to stop, or
 * `limit`. */
struct sender {
	struct vguest *g;
	unsigned int pair;
	struct frame frame;
	uint32_t sent, limit;
	bool stop;
	pthread_t thread;
};

static void number(struct frame *f, uint32_t n)
{
	memcpy(f->data + 20, &n, 4);
}

static void *send_all(void *arg)
{
	struct sender *s = arg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE) && s->sent < s->limit) {
		number(&s->frame, s->sent + 1);
		if (vguest_try_send(s->g, s->pair, NULL, s->frame.data, s->frame.len))
			s->sent++;
		else
			sched_yield();
	}
	return NULL;
}

static void start_sender(struct sender *s, struct vguest *g, unsigned int pair, unsigned int src,
			 unsigned int dst, uint32_t limit)
{
	uint8_t a[6], b[6];

	memset(s, 0, sizeof(*s));
	sw_env_mac(a, dst);
	sw_env_mac(b, src);
	frame_plain(&s->frame, a, b, 200, src);
	s->frame.data[24] = (uint8_t)src;
	s->g = g;
	s->pair = pair;
	s->limit = limit;
	assert_int_equal(pthread_create(&s->thread, NULL, send_all, s), 0);
}

static void stop_sender(struct sender *s)
{
	__atomic_store_n(&s->stop, true, __ATOMIC_RELEASE);
	pthread_join(s->thread, NULL);
}

/* A guest's receive side: notes the last number of each source; `bad` when one is not larger. */
struct receiver {
	struct vguest *g;
	unsigned int pair;
	uint32_t last[SW_ENV_PORTS + 1], n;
	bool stop, bad;
	struct vguest_frame got;
	pthread_t thread;
};

static void take_all(struct receiver *r)
{
	while (vguest_recv(r->g, r->pair, &r->got)) {
		uint32_t n;
		uint8_t src = r->got.data[24];

		memcpy(&n, r->got.data + 20, 4);
		if (r->got.len != 200 || src > SW_ENV_PORTS || n <= r->last[src])
			r->bad = true;
		else
			r->last[src] = n;
		r->n++;
	}
}

static void *receive_all(void *arg)
{
	struct receiver *r = arg;

	while (!__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE)) {
		take_all(r);
		sched_yield();
	}
	take_all(r);
	return NULL;
}

static void start_receiver(struct receiver *r, struct vguest *g, unsigned int pair)
{
	memset(r, 0, sizeof(*r));
	r->g = g;
	r->pair = pair;
	assert_int_equal(pthread_create(&r->thread, NULL, receive_all, r), 0);
}

static void stop_receiver(struct receiver *r)
{
	__atomic_store_n(&r->stop, true, __ATOMIC_RELEASE);
	pthread_join(r->thread, NULL);
	assert_false(r->bad);
}

static struct vguest *add_guest(struct sw_env *e, uint64_t features)
{
	struct vguest_options o = sw_env_options(features);

	return sw_env_add(e, NULL, &o);
}

static uint64_t all_drops(const uint64_t drops[DROP_REASONS])
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < DROP_REASONS; i++)
		sum += drops[i];
	return sum;
}

/* Everything that can change of a receiver and of a sender, while frames flow. */
static void test_changes(void **state)
{
	struct sw_env *e = *state;
	struct vguest *a = add_guest(e, F_EVENT), *b = add_guest(e, F_PACKED | F_EVENT);
	struct sender *s = calloc(1, sizeof(*s));
	struct receiver *r = calloc(1, sizeof(*r));
	struct port_stats st, sr;

	assert_non_null(s);
	assert_non_null(r);
	start_receiver(r, b, 0);
	start_sender(s, a, 0, 0, 1, UINT32_MAX);
	for (unsigned int i = 0; i < 1500; i++) {
		struct function_settings fs = sw_env_settings(1);

		switch (sw_env_random(e, 8)) {
		case 0:
			vguest_queue_stop(b, 0);
			vguest_queue_start(b, 0);
			break;
		case 1:
			vguest_queue_stop(a, 1);
			vguest_queue_start(a, 1);
			break;
		case 2:
			port_queue_enable(b->port, 0, false);
			port_queue_enable(b->port, 0, true);
			break;
		case 3:
			port_queue_enable(a->port, 1, false);
			port_queue_enable(a->port, 1, true);
			break;
		case 4:
			fs.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 7, .tpid = 0x8100};
			sw_env_set(e, 1, &fs);
			fs.vlan.mode = VLAN_NONE;
			sw_env_set(e, 1, &fs);
			break;
		case 5:
			fs.link = LINK_DISABLE;
			sw_env_set(e, 1, &fs);
			fs.link = LINK_AUTO;
			sw_env_set(e, 1, &fs);
			break;
		case 6: {
			struct vguest *c = add_guest(e, 0);

			vguest_stop(c);
			fabric_port_free(&e->p[--e->n]->base);
			break;
		}
		default: {
			int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

			assert_true(fd >= 0);
			port_queue_call(b->port, 0, fd);
			port_queue_call(a->port, 1, -1);
			port_queue_call(b->port, 0, b->rx[0].callfd);
			port_queue_call(a->port, 1, a->tx[0].callfd);
			close(fd);
			break;
		}
		}
	}
	stop_sender(s);
	vguest_flush(a, 0);
	stop_receiver(r);
	st = vguest_stats(a);
	sr = vguest_stats(b);
	assert_int_equal(s->sent, st.tx_packets + st.tx_drop[DROP_RING]);
	assert_int_equal(st.tx_packets, sr.rx_packets + all_drops(sr.rx_drop) + st.tx_drop[DROP_NO_ROUTE]);
	assert_int_equal(sr.rx_packets, r->n);
	assert_true(r->n > 0);
	free(s);
	free(r);
}

/* Several senders, each with a worker of its own if there are so many, to one queue: its lock. */
static void test_many_to_one(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options o = sw_env_options(0);
	struct sender *s = calloc(4, sizeof(*s));
	struct receiver *r = calloc(1, sizeof(*r));
	struct vguest *g[5];
	struct port_stats st;
	uint64_t through = 0;

	assert_non_null(s);
	assert_non_null(r);
	o.size = 1024;
	for (unsigned int i = 0; i < 5; i++)
		g[i] = sw_env_add(e, NULL, &o);
	start_receiver(r, g[4], 0);
	for (unsigned int i = 0; i < 4; i++)
		start_sender(&s[i], g[i], 0, i, 4, 20000);
	for (unsigned int i = 0; i < 4; i++) {
		pthread_join(s[i].thread, NULL);
		vguest_flush(g[i], 0);
		st = vguest_stats(g[i]);
		assert_int_equal(st.tx_packets, 20000);
		assert_int_equal(all_drops(st.tx_drop), 0);
		through += st.tx_packets;
	}
	stop_receiver(r);
	st = vguest_stats(g[4]);
	assert_int_equal(through, st.rx_packets + st.rx_drop[DROP_NO_BUFFER]);
	assert_int_equal(st.rx_packets, r->n);
	free(s);
	free(r);
}

/* One frame at a time, the worker asleep in between: every kick wakes it, every call comes. */
static void test_wake_ups(void **state)
{
	struct sw_env *e = *state;
	static const uint64_t features[] = {0, F_EVENT, F_PACKED, F_PACKED | F_EVENT};
	static struct vguest_frame got;
	struct frame f;

	for (unsigned int i = 0; i < ARRAY_SIZE(features); i++) {
		struct vguest *a = add_guest(e, features[i]), *b = add_guest(e, features[i]);
		uint8_t to[6], from[6];

		sw_env_mac(to, e->n - 1);
		sw_env_mac(from, e->n - 2);
		frame_plain(&f, to, from, 100, i);
		for (unsigned int n = 0; n < 5000; n++) {
			number(&f, n);
			vguest_send(a, 0, NULL, f.data, f.len);
			if (!vguest_wait(b, 0, &got, 20000))
				fail_msg("frame %u never came", n);
			assert_int_equal(got.len, f.len);
			assert_memory_equal(got.data, f.data, f.len);
		}
	}
}

/* The next frame just when the worker is about to sleep: between its last look and the kicks being on again. */
static void test_wake_up_race(void **state)
{
	struct sw_env *e = *state;
	static const uint64_t features[] = {0, F_EVENT, F_PACKED, F_PACKED | F_EVENT};
	static struct vguest_frame got;
	struct frame f;

	for (unsigned int i = 0; i < ARRAY_SIZE(features); i++) {
		struct vguest *a = add_guest(e, features[i]), *b = add_guest(e, features[i]);
		uint8_t to[6], from[6];

		sw_env_mac(to, e->n - 1);
		sw_env_mac(from, e->n - 2);
		frame_plain(&f, to, from, 60, i);
		for (unsigned int n = 0; n < 30000; n++) {
			struct timespec start, now;
			unsigned int spin = sw_env_random(e, 300);

			vguest_send(a, 0, NULL, f.data, f.len);
			/* Looked at, not waited for: a call would come too late. */
			clock_gettime(CLOCK_MONOTONIC, &start);
			for (unsigned int k = 1; !vdriver_has_used(&a->tx[0]); k++) {
				__builtin_ia32_pause();
				if (k % 1000)
					continue;
				sched_yield();
				clock_gettime(CLOCK_MONOTONIC, &now);
				if (now.tv_sec - start.tv_sec > 20)
					fail_msg("the worker sleeps over frame %u", n);
			}
			assert_true(vguest_recv(b, 0, &got));
			while (spin--)
				__builtin_ia32_pause();
		}
	}
}

/* With nothing to do, nothing is done, however many queues there are. */
static void test_rest(void **state)
{
	struct sw_env *e = *state;
	static struct vguest_frame got;
	uint64_t polls[WORKER_MAX];
	struct vguest *a, *b;
	struct frame f;
	uint8_t to[6], from[6];
	bool still = false;

	a = add_guest(e, F_EVENT);
	b = add_guest(e, 0);
	add_guest(e, F_PACKED);
	sw_env_mac(to, 1);
	sw_env_mac(from, 0);
	frame_plain(&f, to, from, 100, 1);
	vguest_send(a, 0, NULL, f.data, f.len);
	assert_true(vguest_wait(b, 0, &got, 20000));
	/* Time passes: it is what is measured. The first look may see the end of the work. */
	for (unsigned int k = 0; k < 20 && !still; k++) {
		still = true;
		for (unsigned int i = 0; i < e->pool->n; i++)
			polls[i] = __atomic_load_n(&e->pool->worker[i]->polls, __ATOMIC_RELAXED);
		poll(NULL, 0, 50);
		for (unsigned int i = 0; i < e->pool->n; i++)
			still &= polls[i] == __atomic_load_n(&e->pool->worker[i]->polls, __ATOMIC_RELAXED);
	}
	assert_true(still);
}

/* A front-end without a kick descriptor is polled. */
static void test_no_kick(void **state)
{
	struct sw_env *e = *state;
	static struct vguest_frame got;
	struct vguest *a = add_guest(e, 0), *b = add_guest(e, 0);
	struct frame f;
	uint8_t to[6], from[6];

	vguest_queue_stop(a, 1);
	a->queue[1].kickfd = -1;
	vguest_queue_start(a, 1);
	sw_env_mac(to, 1);
	sw_env_mac(from, 0);
	for (unsigned int i = 0; i < 1000; i++) {
		frame_plain(&f, to, from, 100, i);
		vguest_send(a, 0, NULL, f.data, f.len);
		assert_true(vguest_wait(b, 0, &got, 20000));
		assert_memory_equal(got.data, f.data, f.len);
	}
}

/* Notes of new addresses from workers while the main thread changes the table under them. */
static void test_learning(void **state)
{
	struct sw_env *e = *state;
	struct function_settings s = sw_env_settings(0);
	struct fabric_settings fs = e->f->base.settings;
	struct vguest *a, *b;
	static struct vguest_frame got;
	struct frame f;
	struct err err;
	uint8_t to[6], from[6];

	fs.learning = true;
	fs.max_learned = 3000;
	assert_int_equal(fabric_set(&e->f->base, &fs, NULL, &err), 0);
	s.spoofchk = false;
	a = sw_env_add(e, &s, NULL);
	b = add_guest(e, 0);
	sw_env_mac(to, 1);
	sw_env_mac(from, 0);
	for (unsigned int i = 0; i < 4000; i++) {
		frame_plain(&f, to, from, 100, i);
		f.data[7] = 1;
		f.data[8] = (uint8_t)(i >> 8);
		f.data[9] = (uint8_t)i;
		vguest_send(a, 0, NULL, f.data, f.len);
		sw_env_notes(e);
		while (vguest_recv(b, 0, &got))
			;
		if (i % 500 == 0)
			builtin_age(e->f, 1000 + fs.ageing);
	}
	vguest_flush(a, 0);
	sw_env_notes(e);
	assert_in_range(e->f->learned, 1, 3000);
}

#define TEST(fn, workers)                                                                                    \
	{                                                                                                    \
#fn " (" #workers ")", fn, sw_env_setup, sw_env_teardown, (void *)(uintptr_t)(workers)       \
	}
#define TESTS(fn) TEST(fn, 1), TEST(fn, 2), TEST(fn, 4)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TESTS(test_changes), TESTS(test_many_to_one), TESTS(test_wake_ups), TESTS(test_wake_up_race),
		TESTS(test_rest),    TESTS(test_no_kick),     TESTS(test_learning),
	};

	return cmocka_run_group_tests_name("switch_live", tests, NULL, NULL);
}
