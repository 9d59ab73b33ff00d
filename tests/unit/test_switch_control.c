/* SPDX-License-Identifier: Apache-2.0 */

/* Control frames between a virtual PF's guest and its mailbox: which are taken, which dropped and why, and
 * when the main thread is told. Between the mailbox and who listens: test_dataplane.c. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <string.h>

#include "sw_env.h"
#include "switch/control_box.h"

static struct frame frame;
static struct vguest_frame got;
static uint8_t taken[CONTROL_BOX_LEN];

/* A control frame as vpf.ko sends it, from port `src`. */
static void make(unsigned int src, uint32_t len, uint32_t seed)
{
	static const uint8_t group[6] = {0x01, 0x80, 0xc2, 0, 0, 0x0e};
	uint8_t mac[6];

	sw_env_mac(mac, src);
	frame_plain(&frame, group, mac, len, seed);
	frame.data[12] = 0x88;
	frame.data[13] = 0xb5;
}

static void send_frame(struct vguest *g, const struct virtio_net_hdr *hdr)
{
	vguest_send(g, 0, hdr, frame.data, frame.len);
	vguest_flush(g, 0);
}

static struct control_box *box_of(struct sw_env *e, unsigned int n)
{
	return e->p[n]->port->control;
}

/* Whether the main thread was woken since the last time. */
static bool woken(struct sw_env *e)
{
	struct pollfd pfd = {.fd = e->pool->notefd, .events = POLLIN};
	uint64_t n;

	if (poll(&pfd, 1, 0) <= 0)
		return false;
	assert_int_equal(read(e->pool->notefd, &n, sizeof(n)), sizeof(n));
	return true;
}

static void expect_taken(struct sw_env *e)
{
	assert_int_equal(control_box_take(box_of(e, 0), taken), frame.len);
	assert_memory_equal(taken, frame.data, frame.len);
}

static void expect_none(struct sw_env *e)
{
	assert_int_equal(control_box_take(box_of(e, 0), taken), 0);
}

/* All counters of a port but the drops given. */
static void expect_counted(const struct vguest *g, enum drop_reason why, uint64_t n)
{
	struct port_stats s = vguest_stats(g), none = {0};

	assert_int_equal(s.tx_drop[why], n);
	s.tx_drop[why] = 0;
	assert_memory_equal(&s, &none, sizeof(s));
}

static void test_taken(void **state)
{
	struct sw_env *e = *state;
	static const uint32_t lengths[] = {14, 60, 191, 192, 193, 500, 1513, 1514};
	static const struct {
		enum vlan_mode mode;
		bool link, spoofchk;
	} c[] = {
		{VLAN_NONE, true, true},    {VLAN_NONE, false, true}, {VLAN_ACCESS, true, true},
		{VLAN_ACCESS, false, true}, {VLAN_TRUNK, true, true}, {VLAN_TRUNK, true, false},
	};
	struct vguest *pf = sw_env_add(e, NULL, NULL), *vf = sw_env_add(e, NULL, NULL);

	control_box_set(box_of(e, 0), CONTROL_OPEN);
	for (unsigned int i = 0; i < ARRAY_SIZE(c); i++) {
		struct function_settings s = sw_env_settings(0);

		s.vlan = (struct vlan_settings){.mode = c[i].mode, .vid = 7, .tpid = 0x8100};
		s.link = c[i].link ? LINK_AUTO : LINK_DISABLE;
		s.spoofchk = c[i].spoofchk;
		s.trust = i % 2;
		sw_env_set(e, 0, &s);
		for (unsigned int k = 0; k < ARRAY_SIZE(lengths); k++) {
			/* From whatever source address: there is no switch for it to lie to. */
			make(k % 2 ? 0 : 5, lengths[k], k);
			/* Addressed to the other port, too: it is for vpfd all the same. */
			if (k % 3 == 0)
				sw_env_mac(frame.data, 1);
			assert_false(woken(e));
			send_frame(pf, NULL);
			assert_true(woken(e));
			assert_true(worker_next_control(e->pool));
			expect_taken(e);
			expect_none(e);
			assert_false(vguest_recv(vf, 0, &got));
		}
	}
	expect_counted(pf, DROP_CONTROL, 0);
	assert_int_equal(vguest_stats(vf).rx_packets, 0);
}

static void test_dropped(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options o =
		sw_env_options(VIRTIO_BIT(VIRTIO_NET_F_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_HOST_USO) |
			       VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4));
	struct vguest *pf = sw_env_add(e, NULL, &o), *vf = sw_env_add(e, NULL, &o);
	struct virtio_net_hdr hdr = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
	struct function_settings s;

	/* No listener. */
	make(0, 60, 1);
	send_frame(pf, NULL);
	expect_counted(pf, DROP_CONTROL, 1);
	assert_false(woken(e));
	control_box_set(box_of(e, 0), CONTROL_OPEN);
	expect_none(e);

	/* From a VF. */
	make(1, 60, 1);
	send_frame(vf, NULL);
	expect_counted(vf, DROP_CONTROL, 1);
	s = sw_env_settings(1);
	s.trust = true;
	s.spoofchk = false;
	sw_env_set(e, 1, &s);
	send_frame(vf, NULL);
	expect_counted(vf, DROP_CONTROL, 2);

	/* Behind a tag. */
	make(0, 60, 1);
	memcpy(frame.data + 12, (const uint8_t[]){0x81, 0, 0x20, 0, 0x88, 0xb5}, 6);
	send_frame(pf, NULL);
	expect_counted(pf, DROP_CONTROL, 2);

	assert_false(vguest_recv(vf, 0, &got));
	assert_false(vguest_recv(pf, 0, &got));
	assert_false(woken(e));
	expect_none(e);

	/* Too long; unfinished; no frame at all. */
	e->p[0]->base.settings.mtu = 9000;
	s = e->p[0]->base.settings;
	sw_env_set(e, 0, &s);
	make(0, 1515, 1);
	send_frame(pf, NULL);
	make(0, 9014, 1);
	send_frame(pf, NULL);
	make(0, 1514, 1);
	send_frame(pf, &hdr);
	frame.len = 13;
	send_frame(pf, NULL);
	assert_int_equal(vguest_stats(pf).tx_drop[DROP_MALFORMED], 4);
	assert_false(woken(e));
	expect_none(e);

	/* With the link down, what is no control frame stays where it was. */
	s.link = LINK_DISABLE;
	sw_env_set(e, 0, &s);
	make(0, 60, 1);
	frame.data[13] = 0xb6;
	send_frame(pf, NULL);
	frame.len = 13;
	send_frame(pf, NULL);
	assert_int_equal(vguest_stats(pf).tx_drop[DROP_LINK_DOWN], 2);
	/* With its queue off, nothing passes. */
	port_queue_enable(pf->port, 1, false);
	make(0, 60, 1);
	send_frame(pf, NULL);
	assert_int_equal(vguest_stats(pf).tx_drop[DROP_RING], 1);
	expect_none(e);
}

static void test_full(void **state)
{
	struct sw_env *e = *state;
	struct vguest *pf = sw_env_add(e, NULL, NULL);
	struct control_box *box = box_of(e, 0);

	control_box_set(box, CONTROL_OPEN);
	for (unsigned int round = 0; round < 5; round++) {
		for (unsigned int i = 0; i < CONTROL_BOX_FRAMES + 3; i++) {
			make(0, 60 + i, i);
			send_frame(pf, NULL);
			/* Once until it looks, and not for what was dropped. */
			assert_int_equal(woken(e), i == 0);
		}
		expect_counted(pf, DROP_CONTROL_FULL, 3 * (round + 1));
		assert_true(worker_next_control(e->pool));
		assert_false(worker_next_control(e->pool));
		for (unsigned int i = 0; i < CONTROL_BOX_FRAMES; i++) {
			make(0, 60 + i, i);
			expect_taken(e);
		}
		expect_none(e);
	}
	/* Room for one is room for one. */
	for (unsigned int i = 0; i < CONTROL_BOX_FRAMES; i++) {
		make(0, 60 + i, i);
		send_frame(pf, NULL);
	}
	make(0, 60, 0);
	expect_taken(e);
	make(0, 100, 100);
	send_frame(pf, NULL);
	send_frame(pf, NULL);
	expect_counted(pf, DROP_CONTROL_FULL, 16);
	/* What waits when the listener goes is gone. */
	control_box_set(box, CONTROL_CLOSED);
	control_box_set(box, CONTROL_OPEN);
	expect_none(e);
	send_frame(pf, NULL);
	expect_taken(e);
}

static void test_pause(void **state)
{
	struct sw_env *e = *state;
	struct vguest *pf = sw_env_add(e, NULL, NULL);
	struct control_box *box = box_of(e, 0);

	control_box_set(box, CONTROL_PAUSED);
	control_box_set(box, CONTROL_OPEN);
	assert_false(woken(e)); /* for nothing */
	control_box_set(box, CONTROL_PAUSED);
	for (unsigned int i = 0; i < CONTROL_BOX_FRAMES + 1; i++) {
		make(0, 60 + i, i);
		send_frame(pf, NULL);
	}
	assert_false(woken(e));
	assert_false(worker_next_control(e->pool));
	expect_none(e);
	expect_counted(pf, DROP_CONTROL_FULL, 1);
	control_box_set(box, CONTROL_OPEN);
	assert_true(woken(e));
	assert_true(worker_next_control(e->pool));
	for (unsigned int i = 0; i < CONTROL_BOX_FRAMES; i++) {
		make(0, 60 + i, i);
		expect_taken(e);
	}
	expect_none(e);
}

struct flooder {
	struct vguest *g;
	unsigned int pair;
	struct frame frame;
	pthread_t thread;
};
#define FLOOD 20000

static void *flood(void *arg)
{
	struct flooder *f = arg;

	for (uint32_t i = 0; i < FLOOD; i++) {
		memcpy(f->frame.data + 20, &i, sizeof(i));
		vguest_send(f->g, f->pair, NULL, f->frame.data, f->frame.len);
	}
	return NULL;
}

/* Several workers put in what one takes out, with pauses: whole frames, in the order of each queue, each
 * taken or counted, and none left without the main thread being told. */
static void test_producers(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options o = sw_env_options(0);
	struct flooder f[VGUEST_PAIRS];
	uint32_t last[VGUEST_PAIRS] = {0};
	uint64_t n = 0, running = VGUEST_PAIRS;
	struct control_box *box;
	struct vguest *pf;
	size_t len;

	o.pairs = VGUEST_PAIRS;
	pf = sw_env_add(e, NULL, &o);
	box = box_of(e, 0);
	control_box_set(box, CONTROL_OPEN);
	for (unsigned int i = 0; i < VGUEST_PAIRS; i++) {
		make(i, 300 + i, i);
		f[i] = (struct flooder){.g = pf, .pair = i, .frame = frame};
		assert_int_equal(pthread_create(&f[i].thread, NULL, flood, &f[i]), 0);
	}
	while (running) {
		struct pollfd pfd = {.fd = e->pool->notefd, .events = POLLIN};
		struct port_stats s = vguest_stats(pf);

		if (n + s.tx_drop[DROP_CONTROL_FULL] == VGUEST_PAIRS * FLOOD)
			break;
		assert_true(poll(&pfd, 1, 20000) > 0 ||
			    n + vguest_stats(pf).tx_drop[DROP_CONTROL_FULL] == VGUEST_PAIRS * FLOOD);
		woken(e);
		worker_next_control(e->pool);
		while ((len = control_box_take(box, taken))) {
			unsigned int i = (unsigned int)len - 300;
			uint32_t number;

			assert_in_range(i, 0, VGUEST_PAIRS - 1);
			memcpy(&number, taken + 20, sizeof(number));
			assert_true(!last[i] || number > last[i]);
			last[i] = number;
			assert_memory_equal(taken, f[i].frame.data, 20);
			assert_memory_equal(taken + 24, f[i].frame.data + 24, len - 24);
			if (++n % 100 == 0) {
				control_box_set(box, CONTROL_PAUSED);
				control_box_set(box, CONTROL_OPEN);
			}
		}
	}
	for (unsigned int i = 0; i < VGUEST_PAIRS; i++) {
		pthread_join(f[i].thread, NULL);
		vguest_flush(pf, i);
	}
	assert_true(n > 0);
}

struct delivery {
	struct sw_port *port;
	uint8_t *data;
	uint32_t len;
	int result;
};

static void deliver(struct worker *w, void *arg)
{
	struct delivery *d = arg;
	struct vring_seg seg;
	struct pkt *p = &w->pkts[0];

	p->hdr = (struct virtio_net_hdr){0};
	pkt_from_buffer(p, &seg, d->data, d->len);
	d->result = port_deliver_control(w, d->port, p);
	worker_flush_calls(w);
}

static int give(struct sw_env *e, unsigned int n)
{
	struct delivery d = {.port = e->p[n]->port, .data = frame.data, .len = frame.len};

	worker_run(e->pool->worker[e->pool->n - 1], deliver, &d);
	return d.result;
}

static void test_delivered(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options o = sw_env_options(0);
	struct function_settings s = sw_env_settings(0);
	struct vguest *pf;

	o.no_refill = true;
	o.rx_buffers = 20;
	pf = sw_env_add(e, NULL, &o);
	sw_env_add(e, NULL, NULL);
	for (unsigned int i = 0; i < 20; i++) {
		/* Whatever is set for its traffic. */
		s.vlan = (struct vlan_settings){.mode = (enum vlan_mode)(i % 3), .vid = 7, .tpid = 0x8100};
		s.link = i % 2 ? LINK_DISABLE : LINK_AUTO;
		s.mtu = 68;
		sw_env_set(e, 0, &s);
		make(3, i ? 60 + i * 76 : 1514, i);
		assert_int_equal(give(e, 0), 0);
		assert_true(vguest_wait(pf, 0, &got, 20000));
		assert_int_equal(got.len, frame.len);
		assert_memory_equal(got.data, frame.data, frame.len);
	}
	assert_int_equal(give(e, 0), -EAGAIN);
	assert_false(vguest_recv(&e->g[1], 0, &got));
	expect_counted(pf, DROP_CONTROL, 0);
	vguest_queue_stop(pf, 0);
	assert_int_equal(give(e, 0), -ENOTCONN);
	expect_counted(pf, DROP_CONTROL, 0);
}

#define TEST(fn, workers)                                                                                    \
	{                                                                                                    \
#fn " (" #workers ")", fn, sw_env_setup, sw_env_teardown, (void *)(uintptr_t)(workers)       \
	}
#define TESTS(fn) TEST(fn, 1), TEST(fn, 3)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TESTS(test_taken), TESTS(test_dropped),   TESTS(test_full),
		TESTS(test_pause), TESTS(test_producers), TESTS(test_delivered),
	};

	return cmocka_run_group_tests_name("switch_control", tests, NULL, NULL);
}
