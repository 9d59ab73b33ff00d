/* SPDX-License-Identifier: Apache-2.0 */

/* From one guest's transmit ring to another's receive ring, through real workers: contents, who gets what,
 * what is dropped and counted. What happens while queues come and go is in test_switch_live.c, uplinks are in
 * test_uplink.c. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "sw_env.h"

#define F(bit)     VIRTIO_BIT(VIRTIO_NET_F_##bit)
#define F_PACKED   VIRTIO_BIT(VIRTIO_F_RING_PACKED)
#define F_EVENT    VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX)
#define F_INDIRECT VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define F_IN_ORDER VIRTIO_BIT(VIRTIO_F_IN_ORDER)
#define F_SEND     (F(CSUM) | F(HOST_TSO4) | F(HOST_TSO6) | F(HOST_USO) | F(HOST_ECN))
#define F_TAKE                                                                                               \
	(F(GUEST_CSUM) | F(GUEST_TSO4) | F(GUEST_TSO6) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO4) |               \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO6) | F(GUEST_ECN))

static struct frame frame, want;
static struct vguest_frame got;
static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void make(unsigned int dst, unsigned int src, uint32_t len, uint32_t seed)
{
	uint8_t d[6], s[6];

	sw_env_mac(d, dst);
	sw_env_mac(s, src);
	frame_plain(&frame, d, s, len, seed);
}

/* Sends `frame` and waits until it is through. */
static void send_frame(struct vguest *g, const struct virtio_net_hdr *hdr)
{
	vguest_send(g, 0, hdr, frame.data, frame.len);
	vguest_flush(g, 0);
}

static void expect_same(struct vguest *g, const struct frame *f)
{
	assert_true(vguest_recv(g, 0, &got));
	assert_int_equal(got.len, f->len);
	assert_memory_equal(got.data, f->data, f->len);
}

static void expect_nothing(struct vguest *g)
{
	assert_false(vguest_recv(g, 0, &got));
}

static uint64_t tx_drop(const struct vguest *g, enum drop_reason why)
{
	return vguest_stats(g).tx_drop[why];
}

static uint64_t rx_drop(const struct vguest *g, enum drop_reason why)
{
	return vguest_stats(g).rx_drop[why];
}

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
			make(1, 0, sizes[k / 2], k);
			send_frame(a, NULL);
			expect_same(b, &frame);
			expect_nothing(b);
			assert_memory_equal(&got.hdr.hdr, &(struct virtio_net_hdr){0},
					    sizeof(struct virtio_net_hdr));
			bytes += frame.len;
			packets++;
			/* And back. */
			make(0, 1, sizes[k / 2], k);
			send_frame(b, NULL);
			expect_same(a, &frame);
		}
		assert_int_equal(vguest_stats(a).tx_packets, packets);
		assert_int_equal(vguest_stats(a).tx_bytes, bytes);
		assert_int_equal(vguest_stats(b).rx_packets, packets);
		assert_int_equal(vguest_stats(b).rx_bytes, bytes);
		while (e->n) {
			vguest_stop(&e->g[--e->n]);
			builtin_port_free(e->p[e->n]);
		}
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
		make(1, 0, len, len);
		send_frame(a, NULL);
		expect_same(b, &frame);
		make(0, 1, len, len);
		send_frame(b, NULL);
		expect_same(a, &frame);
	}
}

/* 64 KiB in one piece, to a receiver that takes it so. */
static void test_gso_carried(void **state)
{
	struct sw_env *e = *state;

	for (unsigned int kind = 0; kind < 8; kind++) {
		struct vguest_options o = sw_env_options(F_SEND | F_TAKE | (kind & 4 ? F_PACKED : 0));
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
			frame_build(&s, true, &frame);
			hdr = frame_hdr(&s, &frame, 1400);
			send_frame(a, &hdr);
			expect_same(b, &frame);
			assert_memory_equal(&got.hdr.hdr, &hdr, sizeof(hdr));
		}
		/* A checksum to be filled, too. */
		s.payload = 1000;
		frame_build(&s, true, &frame);
		hdr = frame_hdr(&s, &frame, 0);
		send_frame(a, &hdr);
		expect_same(b, &frame);
		assert_memory_equal(&got.hdr.hdr, &hdr, sizeof(hdr));
		assert_int_equal(vguest_stats(b).sw_segmented + vguest_stats(b).sw_checksum, 0);
		while (e->n) {
			vguest_stop(&e->g[--e->n]);
			builtin_port_free(e->p[e->n]);
		}
	}
}

/* A receiver without the features gets plain frames; a burst of large ones all of them. */
static void test_gso_finished(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options o = sw_env_options(F_SEND), small = sw_env_options(0);
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
	frame_build(&s, true, &frame);
	hdr = frame_hdr(&s, &frame, 1448);
	for (unsigned int i = 0; i < 10; i++)
		vguest_send(a, 0, &hdr, frame.data, frame.len);
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
			frame_build(&one, false, &want);
			expect_same(b, &want);
			assert_memory_equal(&got.hdr.hdr, &(struct virtio_net_hdr){0},
					    sizeof(struct virtio_net_hdr));
		}
	}
	expect_nothing(b);
	assert_int_equal(vguest_stats(b).sw_segmented, 10);
	assert_int_equal(vguest_stats(b).rx_packets, 10 * n);
	s.payload = 777;
	frame_build(&s, true, &frame);
	hdr = frame_hdr(&s, &frame, 0);
	send_frame(a, &hdr);
	frame_build(&s, false, &want);
	expect_same(b, &want);
	assert_int_equal(vguest_stats(b).sw_checksum, 1);
	/* A sender that lies gets nowhere, and the next frame is fine. */
	hdr.csum_start = 60000;
	send_frame(a, &hdr);
	expect_nothing(b);
	assert_int_equal(tx_drop(a, DROP_MALFORMED), 1);
}

/* Unicast: to its owner alone; to nobody; to oneself. */
static void test_unicast(void **state)
{
	struct sw_env *e = *state;
	struct vguest *a = sw_env_add(e, NULL, NULL), *b = sw_env_add(e, NULL, NULL),
		      *c = sw_env_add(e, NULL, NULL);

	make(2, 0, 100, 1);
	send_frame(a, NULL);
	expect_nothing(a);
	expect_nothing(b);
	expect_same(c, &frame);
	make(7, 0, 100, 1);
	send_frame(a, NULL);
	make(0, 0, 100, 1);
	send_frame(a, NULL);
	assert_int_equal(tx_drop(a, DROP_NO_ROUTE), 2);
	expect_nothing(a);
	expect_nothing(b);
	expect_nothing(c);
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
		make(0, 0, 60 + 70 * i, i);
		memcpy(frame.data, i % 2 ? (const uint8_t[]){1, 0, 0x5e, 0, 0, (uint8_t)i} : broadcast, 6);
		send_frame(g[0], NULL);
		expect_same(g[1], &frame);
		expect_same(g[2], &frame);
		for (unsigned int k = 0; k < 5; k++)
			expect_nothing(g[k]);
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
	make(0, 0, 60, 1);
	memcpy(frame.data, (const uint8_t[]){1, 0x80, 0xc2, 0, 0, 0xe}, 6);
	send_frame(g[0], NULL);
	expect_nothing(g[1]);
	assert_int_equal(tx_drop(g[0], DROP_CONTROL), 1);
	frame.data[5] = 0x10; /* the first one behind them */
	send_frame(g[0], NULL);
	expect_same(g[1], &frame);
	s = sw_env_settings(0);
	s.trust = true;
	sw_env_set(e, 0, &s);
	frame.data[5] = 0;
	send_frame(g[0], NULL);
	expect_same(g[1], &frame);
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
			make(2, 0, i % 3 == 1 ? 1514 + i % 2 : 100 + i, i);
			if (i < n / 2)
				memcpy(frame.data, broadcast, 6);
			vguest_send(a, 0, NULL, frame.data, frame.len);
		}
		vguest_flush(a, 0);
		for (uint32_t i = 0; i < n; i++) {
			make(2, 0, i % 3 == 1 ? 1514 + i % 2 : 100 + i, i);
			if (i < n / 2)
				memcpy(frame.data, broadcast, 6);
			if (frame.len > 1514)
				continue;
			expect_same(c, &frame);
			if (i < n / 2 && frame.len <= 1014)
				expect_same(b, &frame);
		}
		expect_nothing(b);
		expect_nothing(c);
	}
	assert_int_equal(tx_drop(a, DROP_MTU), 20 * 5);
	assert_int_equal(rx_drop(b, DROP_MTU), 20 * 2);
}

/* A large frame for everybody: one takes it whole, one in segments, one with its own checksums. */
static void test_flood_gso(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options full = sw_env_options(F_SEND | F_TAKE), csum = sw_env_options(F(GUEST_CSUM)),
			      none = sw_env_options(0);
	struct vguest *a = sw_env_add(e, NULL, &full), *b = sw_env_add(e, NULL, &full),
		      *c = sw_env_add(e, NULL, &csum), *d = sw_env_add(e, NULL, &none);
	struct frame_spec s = frame_tcp(4000), one;
	struct virtio_net_hdr hdr;

	memcpy(s.dst, broadcast, 6);
	sw_env_mac(s.src, 0);
	s.udp = true;
	frame_build(&s, true, &frame);
	hdr = frame_hdr(&s, &frame, 1400);
	for (unsigned int round = 0; round < 3; round++) {
		send_frame(a, &hdr);
		expect_same(b, &frame);
		for (unsigned int i = 0; i < 3; i++) {
			one = s;
			one.id = (uint16_t)(s.id + i);
			one.offset = 1400 * i;
			one.payload = MIN(4000 - one.offset, 1400u);
			frame_build(&one, true, &want);
			expect_same(c, &want);
			assert_int_equal(got.hdr.hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
			frame_build(&one, false, &want);
			expect_same(d, &want);
		}
	}
	expect_nothing(c);
	expect_nothing(d);
}

static void test_spoof(void **state)
{
	struct sw_env *e = *state;
	struct function_settings s = sw_env_settings(0);
	struct vguest *a = sw_env_add(e, NULL, NULL), *b = sw_env_add(e, NULL, NULL);

	make(1, 5, 100, 1);
	send_frame(a, NULL);
	make(1, 1, 100, 1); /* the receiver's own */
	send_frame(a, NULL);
	expect_nothing(b);
	assert_int_equal(tx_drop(a, DROP_SPOOF_MAC), 2);
	assert_int_equal(vguest_stats(a).tx_packets, 0);
	/* Never a group as source. */
	make(1, 0, 100, 1);
	frame.data[6] |= 1;
	send_frame(a, NULL);
	assert_int_equal(tx_drop(a, DROP_MALFORMED), 1);
	s.spoofchk = false;
	sw_env_set(e, 0, &s);
	send_frame(a, NULL);
	assert_int_equal(tx_drop(a, DROP_MALFORMED), 2);
	make(1, 5, 100, 1);
	send_frame(a, NULL);
	expect_same(b, &frame);
	/* Addresses that the driver programmed. */
	s.spoofchk = true;
	sw_env_set(e, 0, &s);
	send_frame(a, NULL);
	assert_int_equal(tx_drop(a, DROP_SPOOF_MAC), 3);
	{
		struct rx_filter f = {.known = true, .unicast_n = 1};

		sw_env_mac(f.main_mac, 0);
		sw_env_mac(f.unicast[0], 5);
		builtin_port_filter(e->p[0], &f);
	}
	send_frame(a, NULL);
	expect_same(b, &frame);
	make(5, 1, 100, 1);
	send_frame(b, NULL);
	expect_same(a, &frame);
	/* Too short to be a frame; control frames. */
	vguest_send(a, 0, NULL, frame.data, 13);
	vguest_send(a, 0, NULL, frame.data, 1);
	vguest_flush(a, 0);
	assert_int_equal(tx_drop(a, DROP_MALFORMED), 4);
	make(1, 0, 100, 1);
	frame.data[12] = 0x88;
	frame.data[13] = 0xb5;
	send_frame(a, NULL);
	assert_int_equal(tx_drop(a, DROP_CONTROL), 1);
	make(1, 0, 100, 1);
	memcpy(frame.data + 12, (const uint8_t[]){0x81, 0, 0x20, 0, 0x88, 0xb5}, 6);
	send_frame(a, NULL);
	assert_int_equal(tx_drop(a, DROP_CONTROL), 2);
	expect_nothing(b);
}

/* A VLAN setting, in short: none, access 802.1Q, access 802.1ad, trunk. */
static struct function_settings vlan_of(unsigned int n, char kind, unsigned int vid, unsigned int pcp)
{
	struct function_settings s = sw_env_settings(n);

	s.vlan.tpid = kind == 'p' ? 0x88a8 : 0x8100;
	switch (kind) {
	case 'a':
	case 'p':
		s.vlan.mode = VLAN_ACCESS;
		s.vlan.vid = (uint16_t)vid;
		s.vlan.pcp = (uint8_t)pcp;
		break;
	case 't': /* 10…19, and vid */
		s.vlan.mode = VLAN_TRUNK;
		s.vlan.trunk[0] = 0xffc00ull;
		s.vlan.trunk[vid / 64] |= 1ull << vid % 64;
		break;
	default:
		break;
	}
	return s;
}

#define Q(vid)  (0x81000000u | (vid))
#define AD(vid) (0x88a80000u | (vid))
#define PRIO(p) ((p) << 13)

/* Tags between the addresses and the rest of `frame`. */
static void push_tags(struct frame *f, const uint32_t *tags)
{
	unsigned int at = 12;

	for (unsigned int i = 0; i < 2 && tags[i]; i++, at += 4) {
		memmove(f->data + at + 4, f->data + at, f->len - at);
		f->data[at] = (uint8_t)(tags[i] >> 24);
		f->data[at + 1] = (uint8_t)(tags[i] >> 16);
		f->data[at + 2] = (uint8_t)(tags[i] >> 8);
		f->data[at + 3] = (uint8_t)tags[i];
		f->len += 4;
	}
}

/* What is sent, by whom, to whom: what arrives, or why not. */
static void test_vlans(void **state)
{
	struct sw_env *e = *state;
	static const struct {
		char from;
		unsigned int from_vid, from_pcp;
		uint32_t sent[2];
		char to;
		unsigned int to_vid;
		int drop; /* -1: none */
		uint32_t got[2];
	} c[] = {
		{'n', 0, 0, {0}, 'n', 0, -1, {0}},
		/* No VLAN: no tags but priority tags, which do not survive. */
		{'n', 0, 0, {Q(0)}, 'n', 0, -1, {0}},
		{'n', 0, 0, {Q(PRIO(5))}, 'n', 0, -1, {0}},
		{'n', 0, 0, {Q(100)}, 'n', 0, DROP_SPOOF_VLAN, {0}},
		{'n', 0, 0, {AD(100)}, 'n', 0, DROP_SPOOF_VLAN, {0}},
		{'n', 0, 0, {Q(0xfff)}, 'n', 0, DROP_SPOOF_VLAN, {0}},
		/* A tag hidden behind a priority tag is one all the same. */
		{'n', 0, 0, {Q(0), Q(100)}, 'n', 0, DROP_SPOOF_VLAN, {0}},
		{'n', 0, 0, {Q(0), AD(100)}, 'n', 0, DROP_SPOOF_VLAN, {0}},
		{'n', 0, 0, {AD(0), Q(100)}, 'n', 0, DROP_SPOOF_VLAN, {0}},
		{'a', 10, 0, {Q(0), Q(100)}, 'a', 10, DROP_SPOOF_VLAN, {0}},
		{'t', 0, 0, {Q(0), Q(100)}, 't', 0, DROP_SPOOF_VLAN, {0}},
		/* Access: no tags either; the switch keeps them apart. */
		{'a', 10, 0, {0}, 'a', 10, -1, {0}},
		{'a', 10, 0, {Q(PRIO(3))}, 'a', 10, -1, {0}},
		{'a', 10, 0, {Q(10)}, 'a', 10, DROP_SPOOF_VLAN, {0}},
		{'a', 10, 0, {Q(11)}, 'a', 10, DROP_SPOOF_VLAN, {0}},
		{'a', 10, 0, {AD(10)}, 'a', 10, DROP_SPOOF_VLAN, {0}},
		{'a', 10, 0, {0}, 'a', 11, DROP_NO_ROUTE, {0}},
		{'a', 10, 0, {0}, 'n', 0, DROP_NO_ROUTE, {0}},
		{'n', 0, 0, {0}, 'a', 10, DROP_NO_ROUTE, {0}},
		{'a', 10, 0, {0}, 'p', 10, DROP_NO_ROUTE, {0}},
		{'p', 10, 0, {0}, 'a', 10, DROP_NO_ROUTE, {0}},
		/* Provider's VLAN: customers' tags are theirs. */
		{'p', 10, 0, {0}, 'p', 10, -1, {0}},
		{'p', 10, 0, {Q(100 | PRIO(2))}, 'p', 10, -1, {Q(100 | PRIO(2))}},
		{'p', 10, 0, {Q(100), Q(7)}, 'p', 10, -1, {Q(100), Q(7)}},
		{'p', 10, 0, {AD(10)}, 'p', 10, DROP_SPOOF_VLAN, {0}},
		{'p', 10, 0, {AD(11)}, 'p', 10, DROP_SPOOF_VLAN, {0}},
		{'p', 10, 0, {AD(0), Q(100)}, 'p', 10, -1, {Q(100)}},
		{'p', 10, 0, {AD(0), AD(100)}, 'p', 10, DROP_SPOOF_VLAN, {0}},
		/* Trunk. */
		{'t', 0, 0, {0}, 't', 0, -1, {0}},
		{'t', 0, 0, {Q(10)}, 't', 0, -1, {Q(10)}},
		{'t', 0, 0, {Q(19 | PRIO(7))}, 't', 0, -1, {Q(19 | PRIO(7))}},
		{'t', 4094, 0, {Q(4094)}, 't', 4094, -1, {Q(4094)}},
		{'t', 0, 0, {Q(20)}, 't', 0, DROP_SPOOF_VLAN, {0}},
		{'t', 0, 0, {AD(10)}, 't', 0, DROP_SPOOF_VLAN, {0}},
		{'t', 10, 0, {0}, 't', 10, DROP_SPOOF_VLAN, {0}},
		{'t', 10, 0, {Q(0)}, 't', 10, DROP_SPOOF_VLAN, {0}},
		{'t', 20, 0, {Q(20)}, 't', 21, DROP_NO_ROUTE, {0}},
		{'t', 0, 0, {Q(10), Q(99)}, 't', 0, -1, {Q(10), Q(99)}},
		/* Between them. */
		{'a', 12, 5, {0}, 't', 0, -1, {Q(12 | PRIO(5))}},
		{'t', 0, 0, {Q(12 | PRIO(6))}, 'a', 12, -1, {0}},
		{'t', 0, 0, {Q(12), Q(99)}, 'a', 12, -1, {Q(99)}},
		{'t', 0, 0, {Q(13)}, 'a', 12, DROP_NO_ROUTE, {0}},
		{'t', 0, 0, {0}, 'n', 0, -1, {0}},
		{'n', 0, 0, {0}, 't', 0, -1, {0}},
		{'p', 12, 0, {0}, 't', 0, DROP_NO_ROUTE, {0}},
	};
	struct vguest *a = sw_env_add(e, NULL, NULL), *b = sw_env_add(e, NULL, NULL);

	for (unsigned int i = 0; i < ARRAY_SIZE(c); i++) {
		struct function_settings sa = vlan_of(0, c[i].from, c[i].from_vid, c[i].from_pcp),
					 sb = vlan_of(1, c[i].to, c[i].to_vid, 0);

		sw_env_set(e, 0, &sa);
		sw_env_set(e, 1, &sb);
		for (unsigned int flood = 0; flood < 2; flood++) {
			/* Short, around the private head's end, and as long as goes: tags are not counted. */
			static const uint32_t lengths[] = {14, 60, 188, 192, 196, 1514};

			for (unsigned int k = 0; k < ARRAY_SIZE(lengths); k++) {
				uint64_t before = c[i].drop < 0 ? 0 : tx_drop(a, (enum drop_reason)c[i].drop);

				if (c[i].from == 'p' && c[i].sent[0] && c[i].sent[1] && lengths[k] == 1514 &&
				    c[i].drop < 0 && c[i].sent[0] >> 16 == 0x8100)
					continue; /* two tags of the customer's are more than a frame may be
						     longer */
				make(1, 0, lengths[k], i);
				if (flood)
					memcpy(frame.data, broadcast, 6);
				want = frame;
				push_tags(&frame, c[i].sent);
				send_frame(a, NULL);
				if (c[i].drop < 0) {
					push_tags(&want, c[i].got);
					expect_same(b, &want);
				}
				if (c[i].drop >= 0 && !(flood && c[i].drop == DROP_NO_ROUTE) &&
				    tx_drop(a, (enum drop_reason)c[i].drop) != before + 1)
					fail_msg("case %u, length %u: not counted", i, lengths[k]);
				if (vguest_recv(b, 0, &got))
					fail_msg("case %u, length %u: a frame that should not be", i,
						 lengths[k]);
			}
		}
	}
}

static unsigned int vid_of_got(void)
{
	return got.data[12] == 0x81 ? (got.data[14] << 8 | got.data[15]) & 0xfff : 0;
}

/* Runs of tagged frames: what was found out for one holds for the next only if that is just like it. */
static void test_vlan_runs(void **state)
{
	struct sw_env *e = *state;
	static const struct {
		uint32_t tags[2];
		bool csum;
		int drop; /* -1: none */
	} kinds[] = {
		{{Q(10)}, false, -1},
		{{Q(10)}, true, -1},
		{{Q(10 | PRIO(3))}, false, -1},
		{{Q(11)}, false, -1},
		{{Q(10), Q(99)}, false, -1},
		{{Q(10), Q(98)}, false, -1},
		{{0}, false, -1},
		{{0}, true, -1},
		{{Q(20)}, false, DROP_SPOOF_VLAN},
		{{AD(10)}, false, DROP_SPOOF_VLAN},
	};
	static const uint32_t lengths[] = {60, 188, 192, 1510, 1514, 1515};
	static const struct virtio_net_hdr csum = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6};
	struct vguest_options full = sw_env_options(F_SEND | F_TAKE);
	struct vguest *a = sw_env_add(e, NULL, &full), *b = sw_env_add(e, NULL, &full);
	struct function_settings s;
	uint64_t dropped[DROP_REASONS] = {0};
	unsigned int kind = 0;

	for (unsigned int i = 0; i < 2; i++) {
		s = vlan_of(i, 't', 0, 0);
		sw_env_set(e, i, &s);
	}
	srandom(1);
	for (unsigned int round = 0; round < 200; round++) {
		struct {
			unsigned int kind;
			uint32_t len;
			bool arrived;
		} sent[30];

		for (unsigned int i = 0; i < ARRAY_SIZE(sent); i++) {
			if (random() % 3 == 0)
				kind = (unsigned int)random() % ARRAY_SIZE(kinds);
			sent[i].kind = kind;
			sent[i].len = lengths[(unsigned int)random() % ARRAY_SIZE(lengths)];
			sent[i].arrived = false;
			make(1, 0, sent[i].len, round + i);
			push_tags(&frame, kinds[kind].tags);
			vguest_send(a, 0, kinds[kind].csum ? &csum : NULL, frame.data, frame.len);
		}
		vguest_flush(a, 0);
		/* Those of one VLAN arrive in their order; a burst's VLANs go one after the other. */
		while (vguest_recv(b, 0, &got)) {
			unsigned int i = 0;

			while (i < ARRAY_SIZE(sent) &&
			       (sent[i].arrived || kinds[sent[i].kind].drop >= 0 || sent[i].len > 1514 ||
				(kinds[sent[i].kind].tags[0] & 0xfff) != vid_of_got()))
				i++;
			assert_true(i < ARRAY_SIZE(sent));
			sent[i].arrived = true;
			make(1, 0, sent[i].len, round + i);
			push_tags(&frame, kinds[sent[i].kind].tags);
			assert_int_equal(got.len, frame.len);
			assert_memory_equal(got.data, frame.data, frame.len);
			assert_int_equal(got.hdr.hdr.flags, kinds[sent[i].kind].csum ? csum.flags : 0);
			assert_int_equal(got.hdr.hdr.csum_start,
					 kinds[sent[i].kind].csum ? csum.csum_start : 0);
		}
		for (unsigned int i = 0; i < ARRAY_SIZE(sent); i++) {
			int drop = kinds[sent[i].kind].drop;

			if (drop < 0 && sent[i].len > 1514)
				drop = DROP_MTU;
			if (drop >= 0)
				dropped[drop]++;
			assert_int_equal(sent[i].arrived, drop < 0);
		}
	}
	assert_int_equal(tx_drop(a, DROP_MTU), dropped[DROP_MTU]);
	assert_int_equal(tx_drop(a, DROP_SPOOF_VLAN), dropped[DROP_SPOOF_VLAN]);
}

/* Offload headers count from the start of the frame as the guest has it: they move with tags. */
static void test_vlan_offload(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options full = sw_env_options(F_SEND | F_TAKE), none = sw_env_options(0);
	struct vguest *a = sw_env_add(e, NULL, &full), *b = sw_env_add(e, NULL, &full),
		      *c = sw_env_add(e, NULL, &none);
	struct function_settings s;
	struct frame_spec spec = frame_tcp(3000), seg;
	struct virtio_net_hdr hdr, hdr_want;

	s = vlan_of(0, 'a', 12, 5);
	sw_env_set(e, 0, &s);
	s = vlan_of(1, 't', 0, 0);
	sw_env_set(e, 1, &s);
	s = vlan_of(2, 't', 0, 0);
	sw_env_set(e, 2, &s);
	sw_env_mac(spec.dst, 1);
	sw_env_mac(spec.src, 0);
	/* Untagged to tagged, as it is. */
	frame_build(&spec, true, &frame);
	hdr = frame_hdr(&spec, &frame, 1400);
	send_frame(a, &hdr);
	spec.tags = 1;
	spec.tpid[0] = 0x8100;
	spec.tci[0] = 12 | 5 << 13;
	frame_build(&spec, true, &want);
	hdr_want = frame_hdr(&spec, &want, 1400);
	expect_same(b, &want);
	assert_memory_equal(&got.hdr.hdr, &hdr_want, sizeof(hdr_want));
	/* In segments. */
	spec.tags = 0;
	sw_env_mac(spec.dst, 2);
	frame_build(&spec, true, &frame);
	send_frame(a, &hdr);
	for (unsigned int i = 0; i < 3; i++) {
		seg = spec;
		seg.tags = 1;
		seg.offset = 1400 * i;
		seg.payload = MIN(3000 - seg.offset, 1400u);
		seg.seq += seg.offset;
		seg.id = (uint16_t)(seg.id + i);
		if (i < 2)
			seg.tcp_flags &= (uint8_t)~0x08;
		frame_build(&seg, false, &want);
		expect_same(c, &want);
	}
	/* Tagged to untagged. */
	spec.tags = 1;
	sw_env_mac(spec.dst, 0);
	sw_env_mac(spec.src, 1);
	frame_build(&spec, true, &frame);
	hdr = frame_hdr(&spec, &frame, 1400);
	send_frame(b, &hdr);
	spec.tags = 0;
	frame_build(&spec, true, &want);
	hdr_want = frame_hdr(&spec, &want, 1400);
	expect_same(a, &want);
	assert_memory_equal(&got.hdr.hdr, &hdr_want, sizeof(hdr_want));
	/* A checksum that starts inside the tag. */
	hdr = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 16, .csum_offset = 2};
	send_frame(b, &hdr);
	assert_int_equal(tx_drop(b, DROP_MALFORMED), 1);
	expect_nothing(a);
}

static void test_mtu(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options full = sw_env_options(F_SEND | F_TAKE);
	struct vguest *a = sw_env_add(e, NULL, &full), *b = sw_env_add(e, NULL, &full);
	struct function_settings s;
	struct frame_spec spec = frame_tcp(60000);
	struct virtio_net_hdr hdr;

	make(1, 0, 1514, 1);
	send_frame(a, NULL);
	expect_same(b, &frame);
	make(1, 0, 1515, 1);
	send_frame(a, NULL);
	expect_nothing(b);
	assert_int_equal(tx_drop(a, DROP_MTU), 1);
	/* The receiver's. */
	s = sw_env_settings(1);
	s.mtu = 1000;
	sw_env_set(e, 1, &s);
	make(1, 0, 1014, 1);
	send_frame(a, NULL);
	expect_same(b, &frame);
	make(1, 0, 1015, 1);
	send_frame(a, NULL);
	expect_nothing(b);
	assert_int_equal(rx_drop(b, DROP_MTU), 1);
	/* Of a large frame, what each segment is on a wire. */
	sw_env_mac(spec.dst, 1);
	sw_env_mac(spec.src, 0);
	frame_build(&spec, true, &frame);
	hdr = frame_hdr(&spec, &frame, 960);
	send_frame(a, &hdr);
	expect_same(b, &frame);
	hdr.gso_size = 961;
	send_frame(a, &hdr);
	expect_nothing(b);
	assert_int_equal(rx_drop(b, DROP_MTU), 2);
	hdr.gso_size = 1461;
	send_frame(a, &hdr);
	assert_int_equal(tx_drop(a, DROP_MTU), 2);
	/* A segment size larger than the frame is no longer frame. */
	spec.payload = 500;
	frame_build(&spec, true, &frame);
	hdr = frame_hdr(&spec, &frame, 9000);
	send_frame(a, &hdr);
	expect_same(b, &frame);
}

static void test_link(void **state)
{
	struct sw_env *e = *state;
	struct vguest *a = sw_env_add(e, NULL, NULL), *b = sw_env_add(e, NULL, NULL);
	struct function_settings s = sw_env_settings(1);

	s.link = LINK_DISABLE;
	sw_env_set(e, 1, &s);
	make(1, 0, 100, 1);
	send_frame(a, NULL);
	expect_nothing(b);
	assert_int_equal(rx_drop(b, DROP_LINK_DOWN), 1);
	make(0, 1, 100, 1);
	send_frame(b, NULL);
	expect_nothing(a);
	assert_int_equal(tx_drop(b, DROP_LINK_DOWN), 1);
	s.link = LINK_ENABLE;
	sw_env_set(e, 1, &s);
	send_frame(b, NULL);
	expect_same(a, &frame);
	/* A function without queues. */
	vguest_queue_stop(b, 0);
	make(1, 0, 100, 1);
	send_frame(a, NULL);
	assert_int_equal(rx_drop(b, DROP_LINK_DOWN), 2);
	vguest_queue_start(b, 0);
	send_frame(a, NULL);
	expect_same(b, &frame);
	/* Disabled ones: nothing is put into a receive queue, what is in a transmit queue is discarded. */
	port_queue_enable(b->port, 0, false);
	send_frame(a, NULL);
	expect_nothing(b);
	assert_int_equal(rx_drop(b, DROP_LINK_DOWN), 3);
	port_queue_enable(b->port, 0, true);
	send_frame(a, NULL);
	expect_same(b, &frame);
	port_queue_enable(a->port, 1, false);
	send_frame(a, NULL);
	expect_nothing(b);
	assert_int_equal(tx_drop(a, DROP_RING), 1);
	port_queue_enable(a->port, 1, true);
	send_frame(a, NULL);
	expect_same(b, &frame);
}

/* A receiver that is slow, or never gives buffers, loses its own frames and holds up nobody. */
static void test_no_buffers(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options o = sw_env_options(F_SEND | F_TAKE);
	struct vguest *a = sw_env_add(e, NULL, &o), *b, *c;
	struct frame_spec spec = frame_tcp(20000);
	struct virtio_net_hdr hdr;

	o.no_refill = true;
	o.rx_buffers = 10;
	b = sw_env_add(e, NULL, &o);
	c = sw_env_add(e, NULL, NULL);
	for (unsigned int i = 0; i < 50; i++) {
		make(1, 0, 100, i);
		vguest_send(a, 0, NULL, frame.data, frame.len);
		make(2, 0, 100, i);
		vguest_send(a, 0, NULL, frame.data, frame.len);
	}
	vguest_flush(a, 0);
	for (unsigned int i = 0; i < 50; i++) {
		make(2, 0, 100, i);
		expect_same(c, &frame);
	}
	for (unsigned int i = 0; i < 10; i++) {
		make(1, 0, 100, i);
		expect_same(b, &frame);
	}
	expect_nothing(b);
	assert_int_equal(rx_drop(b, DROP_NO_BUFFER), 40);
	assert_int_equal(vguest_stats(b).rx_packets, 10);
	/* 20000 bytes need 14 buffers; with 13 the frame waits for none and takes none. */
	for (unsigned int i = 0; i < 13; i++)
		assert_int_equal(vdriver_add(&b->rx[0],
					     &(struct vdriver_buf){b->rx_gpa[0][i % 10], b->o.rx_len, true},
					     1, VDRIVER_DIRECT, &b->rx_gpa[0][i % 10]),
				 0);
	sw_env_mac(spec.dst, 1);
	sw_env_mac(spec.src, 0);
	frame_build(&spec, true, &frame);
	hdr = frame_hdr(&spec, &frame, 1400);
	send_frame(a, &hdr);
	assert_int_equal(rx_drop(b, DROP_NO_BUFFER), 41);
	expect_nothing(b);
	make(1, 0, 1500, 9);
	send_frame(a, NULL);
	expect_same(b, &frame);
}

static void test_too_big(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options o = sw_env_options(0);
	struct vguest *a = sw_env_add(e, NULL, NULL), *b;

	o.features = 0;
	o.rx_len = 112;
	b = sw_env_add(e, NULL, &o);
	make(1, 0, 101, 1);
	send_frame(a, NULL);
	expect_nothing(b);
	assert_int_equal(rx_drop(b, DROP_TOO_BIG), 1);
	make(1, 0, 100, 1);
	send_frame(a, NULL);
	expect_same(b, &frame);
}

/* Long chains as receive buffers: more pieces than a burst has room for at once, and still every frame
 * arrives. */
static void test_many_pieces(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options o = sw_env_options(F_SEND), r = sw_env_options(0);
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
		make(1, 0, 1000, i);
		vguest_send(a, 0, NULL, frame.data, frame.len);
	}
	vguest_queue_start(a, 1);
	vguest_flush(a, 0);
	for (unsigned int i = 0; i < 32; i++) {
		make(1, 0, 1000, i);
		expect_same(b, &frame);
	}
	/* Segments of one frame: 150 of them, 60 pieces each. */
	sw_env_mac(spec.dst, 1);
	sw_env_mac(spec.src, 0);
	frame_build(&spec, true, &frame);
	hdr = frame_hdr(&spec, &frame, 400);
	send_frame(a, &hdr);
	for (unsigned int i = 0; i < 150; i++)
		assert_true(vguest_recv(b, 0, &got));
	expect_nothing(b);
	assert_int_equal(rx_drop(b, DROP_NO_BUFFER), 0);
	assert_null(b->port->queue[0]->vr.broken);
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
			frame_build(&spec, false, &frame);
			frame.data[frame.body] = (uint8_t)flow;
			frame.data[frame.body + 1] = (uint8_t)round;
			vguest_send(a, flow % 4, NULL, frame.data, frame.len);
		}
		for (unsigned int i = 0; i < 4; i++)
			vguest_flush(a, i);
		for (unsigned int i = 0; i < 4; i++) {
			while (vguest_recv(b, i, &got)) {
				unsigned int flow;

				spec.v6 = got.data[12] == 0x86;
				spec.udp = got.data[spec.v6 ? 20 : 23] == 17;
				frame_build(&spec, false, &want);
				flow = got.data[want.body];
				assert_true(flow < 64);
				assert_true(queue_of[flow] < 0 || queue_of[flow] == (int)i);
				queue_of[flow] = (int)i;
				assert_int_equal(got.data[want.body + 1], next[flow]++);
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
		frame_build(&spec, false, &frame);
		vguest_send(a, 0, NULL, frame.data, frame.len);
	}
	vguest_flush(a, 0);
	assert_false(vguest_recv(b, 1, &got));
	total = 0;
	for (unsigned int i = 0; i < 4; i++)
		while (vguest_recv(b, i, &got))
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
		frame_build(&spec, false, &frame);
		frame.data[frame.l3 + 6] = 0x20;
		vguest_send(a, 0, NULL, frame.data, frame.len);
		frame.data[frame.l3 + 6] = 0;
		frame.data[frame.l3 + 7] = 10;
		memset(frame.data + frame.l4, (int)i, 8);
		vguest_send(a, 0, NULL, frame.data, frame.len);
		vguest_flush(a, 0);
		for (unsigned int q = 0; q < 4; q++) {
			if (!vguest_recv(b, q, &got))
				continue;
			in++;
			assert_true(vguest_recv(b, q, &got));
			assert_false(vguest_recv(b, q, &got));
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
	struct builtin_port *p;
	struct pf_settings pf;
	struct builtin_fabric *f2;
	struct err err;

	b = sw_env_add(e, NULL, NULL);
	fabric_settings_init(&fs, "g");
	pf_settings_init(&pf, "pf");
	assert_int_equal(builtin_new(e->pool, &fs, NULL, NULL, &f2, &err), 0);
	/* The same address as the first fabric's second port, and one of its own. */
	sw_env_mac(s.mac, 1);
	assert_int_equal(builtin_port_add(f2, "pf2", 0, &s, &pf.policy, NULL, &p), 0);
	assert_false(p->base.mac_conflict);
	vguest_start(&other, p, &o);
	make(1, 0, 100, 1);
	send_frame(a, NULL);
	expect_same(b, &frame);
	expect_nothing(&other);
	memcpy(frame.data, broadcast, 6);
	send_frame(a, NULL);
	expect_same(b, &frame);
	expect_nothing(&other);
	make(0, 1, 100, 1);
	send_frame(&other, NULL);
	expect_nothing(a);
	assert_int_equal(tx_drop(&other, DROP_NO_ROUTE), 1);
	vguest_stop(&other);
	builtin_port_free(p);
	builtin_free(f2);
	assert_ptr_equal(first, e->f);
}

static void test_learning(void **state)
{
	struct sw_env *e = *state;
	struct function_settings s = sw_env_settings(0);
	struct fabric_settings fs = e->f->base.settings;
	struct vguest *a, *b;
	struct err err;

	fs.learning = true;
	fs.max_learned = 4;
	assert_int_equal(builtin_set(e->f, &fs, &err), 0);
	s.spoofchk = false;
	a = sw_env_add(e, &s, NULL);
	b = sw_env_add(e, NULL, NULL);
	make(6, 1, 100, 1);
	send_frame(b, NULL);
	assert_int_equal(tx_drop(b, DROP_NO_ROUTE), 1);
	make(1, 6, 100, 1); /* a bridge behind a */
	send_frame(a, NULL);
	expect_same(b, &frame);
	sw_env_notes(e);
	assert_int_equal(e->f->learned, 1);
	make(6, 1, 100, 1);
	send_frame(b, NULL);
	expect_same(a, &frame);
	/* As many as may be; and then no more notes, whatever comes. */
	for (unsigned int i = 0; i < 250; i++) {
		make(1, 7 + i % 200, 100, 1);
		vguest_send(a, 0, NULL, frame.data, frame.len);
		vguest_flush(a, 0);
		assert_true(vguest_recv(b, 0, &got));
		sw_env_notes(e);
	}
	assert_int_equal(e->f->learned, 4);
	for (unsigned int i = 0; i < 2; i++) {
		/* The second round: what can never be learned is no news to tell either. */
		make(1, 0, 100, 1);
		if (i)
			memset(frame.data + 6, 0, 6);
		else
			frame.data[9] = 99;
		send_frame(a, NULL);
		assert_true(vguest_recv(b, 0, &got));
		for (unsigned int w = 0; w < e->pool->n; w++)
			assert_false(worker_next_note(e->pool->worker[w], &(struct worker_note){0}));
	}
	/* b's own address stays b's, a may imitate it as it likes. */
	make(1, 1, 100, 1);
	send_frame(a, NULL);
	assert_true(vguest_recv(b, 0, &got));
	sw_env_notes(e);
	make(1, 0, 100, 1);
	send_frame(a, NULL);
	expect_same(b, &frame);
}

/* An address of zero is not to be learned, nor worth a note. */
static void test_learn_zero(void **state)
{
	struct sw_env *e = *state;
	struct function_settings s = sw_env_settings(0);
	struct fabric_settings fs = e->f->base.settings;
	struct vguest *a, *b;
	struct err err;

	fs.learning = true;
	assert_int_equal(builtin_set(e->f, &fs, &err), 0);
	s.spoofchk = false;
	a = sw_env_add(e, &s, NULL);
	b = sw_env_add(e, NULL, NULL);
	make(1, 0, 100, 1);
	memset(frame.data + 6, 0, 6);
	send_frame(a, NULL);
	expect_same(b, &frame);
	for (unsigned int w = 0; w < e->pool->n; w++)
		assert_false(worker_next_note(e->pool->worker[w], &(struct worker_note){0}));
}

/* A ring that breaks ends alone, is told, and works when it is started anew. */
static void test_broken_ring(void **state)
{
	struct sw_env *e = *state;
	struct vguest *a = sw_env_add(e, NULL, NULL), *b = sw_env_add(e, NULL, NULL),
		      *c = sw_env_add(e, NULL, NULL);
	struct vdriver_buf bad = {0, 100, false};

	sw_env_notes(e);
	assert_int_equal(vdriver_add(&a->tx[0], &bad, 1, VDRIVER_DIRECT, &a->tx_gpa[0][0]), 0);
	vdriver_kick(&a->tx[0]);
	/* When it was noticed, the note is there. */
	{
		bool told = false;

		for (unsigned int i = 0; !told && i < 1000000; i++) {
			told = sw_env_notes(e);
			if (!told) {
				make(2, 1, 100, i);
				send_frame(b, NULL);
				expect_same(c, &frame);
			}
		}
		assert_true(told);
	}
	assert_string_equal(a->port->queue[1]->vr.broken, "a buffer lies outside guest memory");
	assert_false(vdriver_has_used(&a->tx[0]));
	make(0, 1, 100, 1);
	send_frame(b, NULL);
	expect_same(a, &frame); /* its other queue goes on */
	vguest_queue_anew(a, 1);
	make(1, 0, 100, 1);
	send_frame(a, NULL);
	expect_same(b, &frame);

	/* A receive ring: the frames for it are dropped. */
	vguest_queue_anew(c, 0);
	assert_int_equal(vdriver_add(&c->rx[0], &bad, 1, VDRIVER_DIRECT, &c->rx_gpa[0][0]), 0);
	make(2, 0, 100, 1);
	send_frame(a, NULL);
	assert_true(sw_env_notes(e));
	assert_string_equal(c->port->queue[0]->vr.broken,
			    "a buffer of the receive queue is not device-writable");
	assert_int_equal(rx_drop(c, DROP_RING), 1);
	send_frame(a, NULL);
	assert_int_equal(rx_drop(c, DROP_RING), 2);
	make(1, 0, 100, 1);
	send_frame(a, NULL);
	expect_same(b, &frame);
	make(1, 2, 100, 1);
	send_frame(c, NULL); /* its transmit queue goes on */
	expect_same(b, &frame);
}

/* The news of a broken ring is not lost among other notes. */
static void test_broken_note_survives(void **state)
{
	struct sw_env *e = *state;
	struct fabric_settings fs = e->f->base.settings;
	struct function_settings s = sw_env_settings(0);
	struct vdriver_buf bad = {0, 100, false};
	struct vguest *a, *b, *c;
	struct err err;

	fs.learning = true;
	fs.max_learned = 65536;
	assert_int_equal(builtin_set(e->f, &fs, &err), 0);
	s.spoofchk = false;
	a = sw_env_add(e, &s, NULL);
	b = sw_env_add(e, NULL, NULL);
	c = sw_env_add(e, NULL, NULL);
	/* Notes that nobody takes. */
	for (unsigned int i = 0; i < 4 * WORKER_NOTES; i++) {
		make(1, 0, 60, 1);
		frame.data[8] = (uint8_t)(i >> 8);
		frame.data[9] = (uint8_t)(i + 1);
		vguest_send(a, 0, NULL, frame.data, frame.len);
		vguest_flush(a, 0);
		assert_true(vguest_recv(b, 0, &got));
	}
	/* c's receive ring breaks when a's worker, whose queue of notes is full, looks at it. */
	vguest_queue_anew(c, 0);
	assert_int_equal(vdriver_add(&c->rx[0], &bad, 1, VDRIVER_DIRECT, &c->rx_gpa[0][0]), 0);
	make(2, 0, 100, 1);
	send_frame(a, NULL);
	assert_int_equal(rx_drop(c, DROP_RING), 1);
	assert_true(sw_env_notes(e));
}

#define TEST(fn, workers)                                                                                    \
	{                                                                                                    \
#fn " (" #workers ")", fn, sw_env_setup, sw_env_teardown, (void *)(uintptr_t)(workers)       \
	}
#define TESTS(fn) TEST(fn, 1), TEST(fn, 2), TEST(fn, 4)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TESTS(test_contents),     TESTS(test_old_header),  TESTS(test_gso_carried),
		TESTS(test_gso_finished), TESTS(test_unicast),     TESTS(test_flood),
		TESTS(test_runs),         TESTS(test_flood_gso),   TESTS(test_spoof),
		TESTS(test_vlans),        TESTS(test_vlan_runs),   TESTS(test_vlan_offload),
		TESTS(test_mtu),          TESTS(test_link),        TESTS(test_no_buffers),
		TESTS(test_too_big),      TESTS(test_many_pieces), TESTS(test_multi_queue),
		TESTS(test_fragments),    TESTS(test_two_fabrics), TESTS(test_learning),
		TESTS(test_learn_zero),   TESTS(test_broken_ring), TESTS(test_broken_note_survives),
	};

	return cmocka_run_group_tests_name("switch", tests, NULL, NULL);
}
