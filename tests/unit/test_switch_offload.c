/* SPDX-License-Identifier: Apache-2.0 */

/* Large frames and checksums: carried where the receiver takes them, finished where it does not. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "sw_env.h"

#define F(bit)   VIRTIO_BIT(VIRTIO_NET_F_##bit)
#define F_PACKED VIRTIO_BIT(VIRTIO_F_RING_PACKED)

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* 64 KiB in one piece, to a receiver that takes it so. */
static void test_gso_carried(void **state)
{
	struct sw_env *e = *state;

	for (unsigned int kind = 0; kind < 8; kind++) {
		struct vguest_options o =
			sw_env_options(SW_ENV_SEND | SW_ENV_TAKE | (kind & 4 ? F_PACKED : 0));
		struct frame_spec s = frame_tcp(65535 - 100);
		struct virtio_net_hdr hdr;
		struct vguest *a, *b;

		a = sw_env_add(e, NULL, &o);
		b = sw_env_add(e, NULL, &o);
		sw_env_mac(s.dst, 1);
		sw_env_mac(s.src, 0);
		s.v6 = kind & 1;
		s.udp = kind & 2;
		for (unsigned int i = 0; i < 10; i++) {
			s.offset = i;
			frame_build(&s, true, &e->frame);
			hdr = frame_hdr(&s, &e->frame, 1400);
			sw_env_send(e, a, &hdr);
			sw_env_expect(e, b, &e->frame);
			assert_memory_equal(&e->got.hdr.hdr, &hdr, sizeof(hdr));
		}
		/* A checksum to be filled, too. */
		s.payload = 1000;
		frame_build(&s, true, &e->frame);
		hdr = frame_hdr(&s, &e->frame, 0);
		sw_env_send(e, a, &hdr);
		sw_env_expect(e, b, &e->frame);
		assert_memory_equal(&e->got.hdr.hdr, &hdr, sizeof(hdr));
		assert_int_equal(vguest_stats(b).sw_segmented + vguest_stats(b).sw_checksum, 0);
		sw_env_remove_all(e);
	}
}

/* A receiver without the features gets plain frames; a burst of large ones all of them. */
static void test_gso_finished(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options o = sw_env_options(SW_ENV_SEND), small = sw_env_options(0);
	struct frame_spec s = frame_tcp(60000);
	struct virtio_net_hdr hdr;
	struct vguest *a, *b;
	unsigned int n;

	small.features = 0;
	small.size = 1024;
	a = sw_env_add(e, NULL, &o);
	b = sw_env_add(e, NULL, &small);
	sw_env_mac(s.dst, 1);
	sw_env_mac(s.src, 0);
	frame_build(&s, true, &e->frame);
	hdr = frame_hdr(&s, &e->frame, 1448);
	for (unsigned int i = 0; i < 10; i++)
		vguest_send(a, 0, &hdr, e->frame.data, e->frame.len);
	vguest_flush(a, 0);
	for (unsigned int i = 0; i < 10; i++) {
		for (n = 0; n < (60000 + 1447) / 1448; n++) {
			struct frame_spec one = s;

			one.offset = n * 1448;
			one.payload = MIN(60000 - one.offset, 1448u);
			one.seq += one.offset;
			one.id = (uint16_t)(s.id + n);
			if (one.offset + one.payload < 60000)
				one.tcp_flags &= (uint8_t)~0x09;
			frame_build(&one, false, &e->want);
			sw_env_expect(e, b, &e->want);
			assert_memory_equal(&e->got.hdr.hdr, &(struct virtio_net_hdr){0},
					    sizeof(struct virtio_net_hdr));
		}
	}
	sw_env_expect_nothing(e, b);
	assert_int_equal(vguest_stats(b).sw_segmented, 10);
	assert_int_equal(vguest_stats(b).rx_packets, 10 * n);
	s.payload = 777;
	frame_build(&s, true, &e->frame);
	hdr = frame_hdr(&s, &e->frame, 0);
	sw_env_send(e, a, &hdr);
	frame_build(&s, false, &e->want);
	sw_env_expect(e, b, &e->want);
	assert_int_equal(vguest_stats(b).sw_checksum, 1);
	/* A sender that lies gets nowhere, and the next frame is fine. */
	hdr.csum_start = 60000;
	sw_env_send(e, a, &hdr);
	sw_env_expect_nothing(e, b);
	assert_int_equal(sw_env_tx_drop(a, DROP_MALFORMED), 1);
}

/* A large frame for everybody: one takes it whole, one in segments, one with its own checksums. */
static void test_flood_gso(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options full = sw_env_options(SW_ENV_SEND | SW_ENV_TAKE),
			      csum = sw_env_options(F(GUEST_CSUM)), none = sw_env_options(0);
	struct vguest *a = sw_env_add(e, NULL, &full), *b = sw_env_add(e, NULL, &full),
		      *c = sw_env_add(e, NULL, &csum), *d = sw_env_add(e, NULL, &none);
	struct frame_spec s = frame_tcp(4000), one;
	struct virtio_net_hdr hdr;

	memcpy(s.dst, broadcast, 6);
	sw_env_mac(s.src, 0);
	s.udp = true;
	frame_build(&s, true, &e->frame);
	hdr = frame_hdr(&s, &e->frame, 1400);
	for (unsigned int round = 0; round < 3; round++) {
		sw_env_send(e, a, &hdr);
		sw_env_expect(e, b, &e->frame);
		for (unsigned int i = 0; i < 3; i++) {
			one = s;
			one.id = (uint16_t)(s.id + i);
			one.offset = 1400 * i;
			one.payload = MIN(4000 - one.offset, 1400u);
			frame_build(&one, true, &e->want);
			sw_env_expect(e, c, &e->want);
			assert_int_equal(e->got.hdr.hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
			frame_build(&one, false, &e->want);
			sw_env_expect(e, d, &e->want);
		}
	}
	sw_env_expect_nothing(e, c);
	sw_env_expect_nothing(e, d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SW_ENV_TESTS(test_gso_carried),
		SW_ENV_TESTS(test_gso_finished),
		SW_ENV_TESTS(test_flood_gso),
	};

	return cmocka_run_group_tests_name("switch_offload", tests, NULL, NULL);
}
