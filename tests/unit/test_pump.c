/* SPDX-License-Identifier: Apache-2.0 */

/* vpfd's workers between a guest's rings and a tap: what passes, how, and that nothing is lost when they stop
 * and start. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tap_env.h"

#define F(bit) VIRTIO_BIT(VIRTIO_NET_F_##bit)

static struct tap_env env;
static struct frame frame, want;
static struct peer_frame seen;
static struct vguest_frame got;
static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t peer[6] = {2, 0, 0, 0, 1, 1}, guest[6] = {2, 0, 0, 0, 0, 1};

struct variant {
	unsigned int workers, queues;
};

static struct vguest_options options(uint64_t features, unsigned int pairs)
{
	return (struct vguest_options){
		.features = features | F(MRG_RXBUF) | VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC),
		.pairs = pairs,
		.size = 256,
		.rx_len = 1526,
	};
}

static int setup(void **state)
{
	const struct variant *v = *state;

	if (!tap_env_missing())
		tap_env_init(&env, v->workers, v->queues);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (!tap_env_missing())
		tap_env_done(&env);
	return 0;
}

static void send_frame(const struct virtio_net_hdr *hdr)
{
	vguest_send(&env.g, 0, hdr, frame.data, frame.len);
	vguest_flush(&env.g, 0);
}

static void expect_at_peer(const struct frame *f)
{
	assert_true(tap_env_peer_receive(&env, &seen, TAP_WAIT_MS));
	assert_int_equal(seen.len, f->len);
	assert_memory_equal(seen.data, f->data, f->len);
}

static void expect_at_guest(const struct frame *f)
{
	assert_true(vguest_wait(&env.g, 0, &got, TAP_WAIT_MS));
	assert_int_equal(got.len, f->len);
	assert_memory_equal(got.data, f->data, f->len);
}

static void tag(struct frame *f, uint16_t tpid, uint16_t tci)
{
	memmove(f->data + 16, f->data + 12, f->len - 12);
	f->data[12] = (uint8_t)(tpid >> 8);
	f->data[13] = (uint8_t)tpid;
	f->data[14] = (uint8_t)(tci >> 8);
	f->data[15] = (uint8_t)tci;
	f->len += 4;
}

static void test_frames(void **state)
{
	static const uint8_t group[6] = {1, 0, 0x5e, 1, 2, 3}, bpdu[6] = {1, 0x80, 0xc2, 0, 0, 0},
			     other[6] = {2, 9, 9, 9, 9, 9};
	const uint8_t *to[] = {peer, broadcast, group, bpdu, other};
	struct vguest_options o = options(0, 1);

	(void)state;
	TAP_ENV_NEEDED();
	tap_env_guest(&env, &o);
	for (uint32_t len = 60; len <= 9014; len += 497) {
		frame_plain(&frame, peer, guest, len, len);
		send_frame(NULL);
		expect_at_peer(&frame);
		frame_plain(&frame, guest, peer, len, len);
		tap_env_peer_send(&env, NULL, frame.data, frame.len);
		expect_at_guest(&frame);
	}
	/* Whatever the addresses: who gets what is decided beyond the tap. */
	for (unsigned int i = 0; i < ARRAY_SIZE(to); i++) {
		frame_plain(&frame, to[i], other, 100, i);
		send_frame(NULL);
		expect_at_peer(&frame);
		tap_env_peer_send(&env, NULL, frame.data, frame.len);
		expect_at_guest(&frame);
	}
	/* Tags, but none that stands for a VLAN beside the bridge's own, and no frames for vpfd. */
	frame_plain(&frame, peer, guest, 500, 1);
	tag(&frame, 0x8100, 9 | 3 << 13);
	send_frame(NULL);
	expect_at_peer(&frame);
	tap_env_peer_send(&env, NULL, frame.data, frame.len);
	expect_at_guest(&frame);
	for (unsigned int i = 0; i < 3; i++) {
		frame_plain(&frame, peer, guest, 500, i);
		tag(&frame, i == 0 ? 0x88a8 : 0x8100, i == 1 ? 0xfff : 5);
		if (i == 2) {
			frame.data[12] = 0x88;
			frame.data[13] = 0xb5;
		}
		send_frame(NULL);
	}
	frame_plain(&frame, peer, guest, 500, 7);
	send_frame(NULL);
	expect_at_peer(&frame);
}

/* What is unfinished passes unfinished, if the driver takes it; if not, the kernel finishes it. */
static void offloads(uint64_t features, bool whole)
{
	struct vguest_options o = options(features, 1);

	tap_env_guest(&env, &o);
	for (unsigned int v6 = 0; v6 < 2; v6++) {
		struct frame_spec s = frame_tcp(30000), one;
		struct virtio_net_hdr hdr;

		s.v6 = v6;
		memcpy(s.dst, guest, 6);
		memcpy(s.src, peer, 6);
		frame_build(&s, true, &frame);
		hdr = frame_hdr(&s, &frame, 1400);
		tap_env_peer_send(&env, &hdr, frame.data, frame.len);
		if (whole) {
			expect_at_guest(&frame);
			assert_int_equal(got.hdr.hdr.gso_type, hdr.gso_type);
			assert_int_equal(got.hdr.hdr.gso_size, 1400);
			assert_int_equal(got.hdr.hdr.csum_start, hdr.csum_start);
			memcpy(s.dst, peer, 6);
			memcpy(s.src, guest, 6);
			frame_build(&s, true, &frame);
			send_frame(&hdr);
			expect_at_peer(&frame);
			assert_int_equal(seen.hdr.gso_type, hdr.gso_type);
			assert_int_equal(seen.hdr.gso_size, 1400);
			continue;
		}
		for (unsigned int i = 0; i < 22; i++) {
			one = s;
			one.offset = 1400 * i;
			one.payload = MIN(30000 - one.offset, 1400u);
			one.seq += one.offset;
			one.id = (uint16_t)(s.id + i);
			if (i < 21)
				one.tcp_flags &= (uint8_t)~0x08;
			frame_build(&one, false, &want);
			expect_at_guest(&want);
			assert_int_equal(got.hdr.hdr.gso_type, 0);
			assert_int_equal(got.hdr.hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, 0);
		}
	}
	/* It was the kernel: nothing was left to do in software here. */
	assert_int_equal(vguest_stats(&env.g).sw_segmented + vguest_stats(&env.g).sw_checksum, 0);
}

static void test_offloads(void **state)
{
	(void)state;
	TAP_ENV_NEEDED();
	offloads(F(CSUM) | F(HOST_TSO4) | F(HOST_TSO6) | F(GUEST_CSUM) | F(GUEST_TSO4) | F(GUEST_TSO6), true);
}

static void test_no_offloads(void **state)
{
	(void)state;
	TAP_ENV_NEEDED();
	offloads(0, false);
}

static void stop_and_start(void *arg)
{
	(void)arg;
	tap_env_pump_stop(&env);
	tap_env_pump_start(&env);
}

static void test_stop_and_start(void **state)
{
	struct vguest_options o = options(0, 1);

	(void)state;
	TAP_ENV_NEEDED();
	tap_env_guest(&env, &o);
	tap_env_traffic(&env, 2000, 20, stop_and_start, NULL);
}

static bool receive_any(void)
{
	for (unsigned int ms = 0; ms < TAP_WAIT_MS; ms++)
		for (unsigned int pair = 0; pair < 2; pair++)
			if (vguest_recv(&env.g, pair, &got) || vguest_wait(&env.g, pair, &got, 1))
				return true;
	return false;
}

/* Frames come out of the queues that are in use, and find a receive queue. */
static void test_pairs(void **state)
{
	struct vguest_options o = options(0, 2);
	uint32_t masks[] = {3, 1, 2, 3};

	(void)state;
	TAP_ENV_NEEDED();
	tap_env_guest(&env, &o);
	for (unsigned int i = 0; i < ARRAY_SIZE(masks); i++) {
		assert_int_equal(pump_set_pairs(env.pump, masks[i]), 0);
		for (unsigned int k = 0; k < 16; k++) {
			struct frame_spec s = frame_tcp(100);

			memcpy(s.dst, guest, 6);
			memcpy(s.src, peer, 6);
			s.sport = (uint16_t)(5000 + k);
			frame_build(&s, false, &frame);
			tap_env_peer_send(&env, NULL, frame.data, frame.len);
			assert_true(receive_any());
			assert_int_equal(got.len, frame.len);
			assert_memory_equal(got.data, frame.data, frame.len);
		}
	}
}

/* In the worker, between two passes: whether it has nothing to do, and nothing keeps it from sleeping for good. */
static void would_sleep(struct worker *w, void *arg)
{
	struct pollfd p = {.fd = w->epfd, .events = POLLIN};

	*(bool *)arg = w->n_active == 0 && w->next_resume == UINT64_MAX && poll(&p, 1, 0) == 0;
}

static void test_deleted(void **state)
{
	struct vguest_options o = options(0, 1);
	time_t begin = time(NULL);
	bool asleep = false;

	(void)state;
	TAP_ENV_NEEDED();
	tap_env_guest(&env, &o);
	assert_int_equal(system("ip link del " TAP_ENV_NAME), 0);
	/* Frames have nowhere to go; the worker goes on polling for a while, but not for ever. */
	frame_plain(&frame, peer, guest, 100, 1);
	send_frame(NULL);
	while (!asleep) {
		assert_true(time(NULL) - begin < TAP_WAIT_MS / 1000);
		worker_run(env.pool->worker[0], would_sleep, &asleep);
	}
	tap_env_pump_stop(&env);
	assert_int_equal(pump_start(env.pump, 0, 1), -EBADFD);
	for (unsigned int i = 0; i < 2; i++)
		vguest_queue_start(&env.g, i);
	send_frame(NULL);
}

static const struct variant plain = {1, 1}, wide = {3, 2}, narrow = {1, 3};

#define TEST(fn, v)                                                                                          \
	{                                                                                                    \
#fn " (" #v ")", fn, setup, teardown, (void *)(uintptr_t) & (v)                              \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_frames, plain),        TEST(test_frames, wide),
		TEST(test_frames, narrow),       TEST(test_offloads, plain),
		TEST(test_no_offloads, plain),   TEST(test_stop_and_start, plain),
		TEST(test_stop_and_start, wide), TEST(test_stop_and_start, narrow),
		TEST(test_pairs, wide),          TEST(test_pairs, narrow),
		TEST(test_deleted, plain),
	};

	return cmocka_run_group_tests_name("pump", tests, tap_env_group_setup, NULL);
}
