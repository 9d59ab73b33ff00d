/* SPDX-License-Identifier: Apache-2.0 */

/* Frames through the switch: their bytes, whatever the layout of buffers on both sides, and those that do not fit. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sw_env.h"

#define F(bit)     VIRTIO_BIT(VIRTIO_NET_F_##bit)
#define F_PACKED   VIRTIO_BIT(VIRTIO_F_RING_PACKED)
#define F_EVENT    VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX)
#define F_INDIRECT VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define F_IN_ORDER VIRTIO_BIT(VIRTIO_F_IN_ORDER)

/* Every length, every layout of buffers, both ring formats. */
static void test_contents(void **state)
{
	struct sw_env *e = *state;
	static const uint32_t sizes[] = {14,  15,  18,  59,  60,   64,   65,   127,  128,  180,  191, 192,
					 193, 200, 204, 205, 1000, 1500, 1514, 1515, 4000, 9000, 9230};
	static const struct {
		uint64_t features;
		unsigned int size, rx_parts;
		uint32_t rx_len, tx_part;
		enum vdriver_layout layout;
	} c[] = {
		{F(MRG_RXBUF), 256, 0, 1526, 0, VDRIVER_DIRECT},
		{F(MRG_RXBUF) | F_EVENT | F_INDIRECT, 256, 4, 1526, 12, VDRIVER_INDIRECT},
		{F(MRG_RXBUF), 512, 0, 100, 100, VDRIVER_DIRECT},
		{F(MRG_RXBUF) | F_INDIRECT, 1024, 3, 29, 10, VDRIVER_INDIRECT},
		{0, 256, 0, 10000, 0, VDRIVER_DIRECT},
		{F_INDIRECT, 64, 19, 10000, 1000, VDRIVER_MIXED},
		{F_INDIRECT, 64, 50, 9999, 11, VDRIVER_INDIRECT},
		{F_PACKED | F(MRG_RXBUF), 256, 0, 1526, 0, VDRIVER_DIRECT},
		{F_PACKED | F(MRG_RXBUF) | F_EVENT | F_INDIRECT, 1000, 3, 29, 13, VDRIVER_INDIRECT},
		{F_PACKED | F_INDIRECT | F_IN_ORDER, 7, 5, 10000, 0, VDRIVER_INDIRECT},
		{F_PACKED | F_EVENT, 100, 7, 9999, 1000, VDRIVER_DIRECT},
		{F_IN_ORDER | F(MRG_RXBUF), 256, 2, 2000, 226, VDRIVER_DIRECT},
	};
	uint64_t bytes = 0, packets = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(c); i++) {
		struct vguest_options o = {.features = c[i].features,
					   .pairs = 1,
					   .size = c[i].size,
					   .rx_len = c[i].rx_len,
					   .rx_parts = c[i].rx_parts,
					   .tx_part = c[i].tx_part,
					   .layout = c[i].layout};
		struct function_settings s0 = sw_env_settings(0), s1 = sw_env_settings(1);
		struct vguest *a, *b;

		s0.mtu = s1.mtu = VPF_MTU_MAX;
		a = sw_env_add(e, &s0, &o);
		b = sw_env_add(e, &s1, &o);
		bytes = packets = 0;
		for (unsigned int k = 0; k < 2 * ARRAY_SIZE(sizes); k++) {
			sw_env_make(e, 1, 0, sizes[k / 2], k);
			sw_env_send(e, a, NULL);
			sw_env_expect(e, b, &e->frame);
			sw_env_expect_nothing(e, b);
			assert_memory_equal(&e->got.hdr.hdr, &(struct virtio_net_hdr){0},
					    sizeof(struct virtio_net_hdr));
			bytes += e->frame.len;
			packets++;
			/* And back. */
			sw_env_make(e, 0, 1, sizes[k / 2], k);
			sw_env_send(e, b, NULL);
			sw_env_expect(e, a, &e->frame);
		}
		assert_int_equal(vguest_stats(a).tx_packets, packets);
		assert_int_equal(vguest_stats(a).tx_bytes, bytes);
		assert_int_equal(vguest_stats(b).rx_packets, packets);
		assert_int_equal(vguest_stats(b).rx_bytes, bytes);
		sw_env_remove_all(e);
	}
}

/* The header of 10 bytes, before virtio 1.0. */
static void test_old_header(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options o = sw_env_options(0);
	struct vguest *a, *b;

	o.features = 0;
	o.old_header = true;
	a = sw_env_add(e, NULL, &o);
	o.features = F(MRG_RXBUF);
	b = sw_env_add(e, NULL, &o);
	for (uint32_t len = 14; len <= 1514; len += 50) {
		sw_env_make(e, 1, 0, len, len);
		sw_env_send(e, a, NULL);
		sw_env_expect(e, b, &e->frame);
		sw_env_make(e, 0, 1, len, len);
		sw_env_send(e, b, NULL);
		sw_env_expect(e, a, &e->frame);
	}
}

static void test_mtu(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options full = sw_env_options(SW_ENV_SEND | SW_ENV_TAKE);
	struct vguest *a = sw_env_add(e, NULL, &full), *b = sw_env_add(e, NULL, &full);
	struct function_settings s;
	struct frame_spec spec = frame_tcp(60000);
	struct virtio_net_hdr hdr;

	sw_env_make(e, 1, 0, 1514, 1);
	sw_env_send(e, a, NULL);
	sw_env_expect(e, b, &e->frame);
	sw_env_make(e, 1, 0, 1515, 1);
	sw_env_send(e, a, NULL);
	sw_env_expect_nothing(e, b);
	assert_int_equal(sw_env_tx_drop(a, DROP_MTU), 1);
	/* The receiver's. */
	s = sw_env_settings(1);
	s.mtu = 1000;
	sw_env_set(e, 1, &s);
	sw_env_make(e, 1, 0, 1014, 1);
	sw_env_send(e, a, NULL);
	sw_env_expect(e, b, &e->frame);
	sw_env_make(e, 1, 0, 1015, 1);
	sw_env_send(e, a, NULL);
	sw_env_expect_nothing(e, b);
	assert_int_equal(sw_env_rx_drop(b, DROP_MTU), 1);
	/* Of a large frame, what each segment is on a wire. */
	sw_env_mac(spec.dst, 1);
	sw_env_mac(spec.src, 0);
	frame_build(&spec, true, &e->frame);
	hdr = frame_hdr(&spec, &e->frame, 960);
	sw_env_send(e, a, &hdr);
	sw_env_expect(e, b, &e->frame);
	hdr.gso_size = 961;
	sw_env_send(e, a, &hdr);
	sw_env_expect_nothing(e, b);
	assert_int_equal(sw_env_rx_drop(b, DROP_MTU), 2);
	hdr.gso_size = 1461;
	sw_env_send(e, a, &hdr);
	assert_int_equal(sw_env_tx_drop(a, DROP_MTU), 2);
	/* A segment size larger than the frame is no longer frame. */
	spec.payload = 500;
	frame_build(&spec, true, &e->frame);
	hdr = frame_hdr(&spec, &e->frame, 9000);
	sw_env_send(e, a, &hdr);
	sw_env_expect(e, b, &e->frame);
}

/* A receiver that is slow, or never gives buffers, loses its own frames and holds up no other. */
static void test_no_buffers(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options o = sw_env_options(SW_ENV_SEND | SW_ENV_TAKE);
	struct vguest *a = sw_env_add(e, NULL, &o), *b, *c;
	struct frame_spec spec = frame_tcp(20000);
	struct virtio_net_hdr hdr;

	o.no_refill = true;
	o.rx_buffers = 10;
	b = sw_env_add(e, NULL, &o);
	c = sw_env_add(e, NULL, NULL);
	for (unsigned int i = 0; i < 50; i++) {
		sw_env_make(e, 1, 0, 100, i);
		vguest_send(a, 0, NULL, e->frame.data, e->frame.len);
		sw_env_make(e, 2, 0, 100, i);
		vguest_send(a, 0, NULL, e->frame.data, e->frame.len);
	}
	vguest_flush(a, 0);
	for (unsigned int i = 0; i < 50; i++) {
		sw_env_make(e, 2, 0, 100, i);
		sw_env_expect(e, c, &e->frame);
	}
	for (unsigned int i = 0; i < 10; i++) {
		sw_env_make(e, 1, 0, 100, i);
		sw_env_expect(e, b, &e->frame);
	}
	sw_env_expect_nothing(e, b);
	assert_int_equal(sw_env_rx_drop(b, DROP_NO_BUFFER), 40);
	assert_int_equal(vguest_stats(b).rx_packets, 10);
	/* 20000 bytes need 14 buffers; with 13 the frame waits for none and takes none. */
	for (unsigned int i = 0; i < 13; i++)
		assert_int_equal(vdriver_add(&b->rx[0],
					     &(struct vdriver_buf){b->rx_gpa[0][i % 10], b->o.rx_len, true},
					     1, VDRIVER_DIRECT, &b->rx_gpa[0][i % 10]),
				 0);
	sw_env_mac(spec.dst, 1);
	sw_env_mac(spec.src, 0);
	frame_build(&spec, true, &e->frame);
	hdr = frame_hdr(&spec, &e->frame, 1400);
	sw_env_send(e, a, &hdr);
	assert_int_equal(sw_env_rx_drop(b, DROP_NO_BUFFER), 41);
	sw_env_expect_nothing(e, b);
	sw_env_make(e, 1, 0, 1500, 9);
	sw_env_send(e, a, NULL);
	sw_env_expect(e, b, &e->frame);
}

static void test_too_big(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options o = sw_env_options(0);
	struct vguest *a = sw_env_add(e, NULL, NULL), *b;

	o.features = 0;
	o.rx_len = 112;
	b = sw_env_add(e, NULL, &o);
	sw_env_make(e, 1, 0, 101, 1);
	sw_env_send(e, a, NULL);
	sw_env_expect_nothing(e, b);
	assert_int_equal(sw_env_rx_drop(b, DROP_TOO_BIG), 1);
	sw_env_make(e, 1, 0, 100, 1);
	sw_env_send(e, a, NULL);
	sw_env_expect(e, b, &e->frame);
}

/* Long chains as receive buffers: more pieces than a burst has room for at once, and still every frame
 * arrives. */
static void test_many_pieces(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options o = sw_env_options(SW_ENV_SEND), r = sw_env_options(0);
	struct frame_spec spec = frame_tcp(60000);
	struct virtio_net_hdr hdr;
	struct vguest *a, *b;

	r.features = F_INDIRECT;
	r.layout = VDRIVER_INDIRECT;
	r.rx_parts = 60;
	r.rx_len = 1526;
	a = sw_env_add(e, NULL, &o);
	b = sw_env_add(e, NULL, &r);
	vguest_queue_stop(a, 1);
	for (unsigned int i = 0; i < 32; i++) {
		sw_env_make(e, 1, 0, 1000, i);
		vguest_send(a, 0, NULL, e->frame.data, e->frame.len);
	}
	vguest_queue_start(a, 1);
	vguest_flush(a, 0);
	for (unsigned int i = 0; i < 32; i++) {
		sw_env_make(e, 1, 0, 1000, i);
		sw_env_expect(e, b, &e->frame);
	}
	/* Segments of one frame: 150 of them, 60 pieces each. */
	sw_env_mac(spec.dst, 1);
	sw_env_mac(spec.src, 0);
	frame_build(&spec, true, &e->frame);
	hdr = frame_hdr(&spec, &e->frame, 400);
	sw_env_send(e, a, &hdr);
	for (unsigned int i = 0; i < 150; i++)
		assert_true(vguest_recv(b, 0, &e->got));
	sw_env_expect_nothing(e, b);
	assert_int_equal(sw_env_rx_drop(b, DROP_NO_BUFFER), 0);
	assert_null(b->port->queue[0]->vr.broken);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SW_ENV_TESTS(test_contents),   SW_ENV_TESTS(test_old_header), SW_ENV_TESTS(test_mtu),
		SW_ENV_TESTS(test_no_buffers), SW_ENV_TESTS(test_too_big),    SW_ENV_TESTS(test_many_pieces),
	};

	return cmocka_run_group_tests_name("switch_frames", tests, NULL, NULL);
}
