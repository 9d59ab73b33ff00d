/* SPDX-License-Identifier: Apache-2.0 */

/* Checksums and segmentation in software, against frames that test code builds one by one; and headers that
 * lie. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "frame.h"
#include "switch/offload.h"

#define F(bit) VIRTIO_BIT(VIRTIO_NET_F_##bit)
#define SENDER (F(CSUM) | F(HOST_TSO4) | F(HOST_TSO6) | F(HOST_USO) | F(HOST_ECN))
#define TAKER                                                                                                \
	(F(GUEST_CSUM) | F(GUEST_TSO4) | F(GUEST_TSO6) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO4) |               \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO6) | F(GUEST_ECN))

struct got {
	unsigned int n;
	struct virtio_net_hdr hdr[2048];
	uint32_t len[2048];
	uint8_t *frame[2048];
};

static struct offload_scratch scratch;
static struct frame in, want;
static struct got got;

static void collect(void *arg, struct pkt *p)
{
	struct got *g = arg;

	assert_true(g->n < ARRAY_SIZE(g->len));
	g->hdr[g->n] = p->hdr;
	g->len[g->n] = p->len;
	g->frame[g->n] = malloc(p->len);
	assert_non_null(g->frame[g->n]);
	pkt_linearize(p, g->frame[g->n++]);
}

static int clear(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < got.n; i++)
		free(got.frame[i]);
	got.n = 0;
	return 0;
}

static void make_pkt(struct pkt *p, struct vring_seg *seg, struct virtio_net_hdr hdr)
{
	memset(p, 0xaa, sizeof(*p));
	p->hdr = hdr;
	p->vlan = 77;
	p->pcp = 3;
	pkt_from_buffer(p, seg, in.data, in.len);
}

static bool check(struct virtio_net_hdr hdr, uint64_t features, struct virtio_net_hdr *ret)
{
	struct vring_seg seg;
	struct pkt p;
	bool ok;

	make_pkt(&p, &seg, hdr);
	ok = offload_check(&p, features);
	if (ret)
		*ret = p.hdr;
	return ok;
}

static unsigned int finish(const struct frame_spec *s, uint16_t gso_size, uint64_t taker, uint8_t gso_flags)
{
	struct virtio_net_hdr hdr;
	struct vring_seg seg;
	struct pkt p;

	clear(NULL);
	frame_build(s, true, &in);
	hdr = frame_hdr(s, &in, gso_size);
	hdr.gso_type |= gso_flags;
	make_pkt(&p, &seg, hdr);
	assert_true(offload_check(&p, SENDER));
	return offload_finish(&p, taker, &scratch, collect, &got);
}

static void test_sum(void **state)
{
	uint8_t data[200];

	(void)state;
	for (unsigned int i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 91 + 17);
	/* Lengths, odd ones too, and alignments. */
	for (unsigned int at = 0; at < 8; at++) {
		for (unsigned int n = 0; n < 190; n++) {
			uint16_t sum = csum_fold(csum_add(0, data + at, n)),
				 ref = frame_csum(data + at, n, 0);

			assert_int_equal((sum & 0xff) << 8 | sum >> 8, ref);
		}
	}
	memset(data, 0xff, sizeof(data));
	assert_int_equal(csum_fold(csum_add(0, data, 200)), 0);
}

static void test_checksum(void **state)
{
	(void)state;
	for (unsigned int kind = 0; kind < 16; kind++) {
		static const uint32_t payloads[] = {0, 1, 2, 3, 17, 100, 150, 151, 1459, 1460, 8999, 65000};

		for (unsigned int i = 0; i < ARRAY_SIZE(payloads); i++) {
			struct frame_spec s = frame_tcp(payloads[i]);

			s.v6 = kind & 1;
			s.udp = kind & 2;
			s.ip_options = kind & 4 ? 16 : 0;
			s.tags = kind & 8 ? 2 : 0;
			s.tpid[0] = 0x88a8;
			s.tpid[1] = 0x8100;
			assert_int_equal(finish(&s, 0, 0, 0), 1);
			frame_build(&s, false, &want);
			assert_int_equal(got.len[0], want.len);
			assert_memory_equal(got.frame[0], want.data, want.len);
			assert_memory_equal(&got.hdr[0], &(struct virtio_net_hdr){0},
					    sizeof(struct virtio_net_hdr));
		}
	}
}

/* A UDP checksum that comes out as 0 is sent as 0xffff. */
static void test_udp_zero(void **state)
{
	struct frame_spec s = frame_tcp(2);
	unsigned int zero = 0;

	(void)state;
	s.udp = true;
	for (unsigned int port = 0; port < 65536; port++) {
		uint16_t csum;

		s.sport = (uint16_t)port;
		frame_build(&s, true, &want);
		csum = frame_csum(want.data + want.l4, want.len - want.l4, 0);
		if (csum)
			continue;
		zero++;
		assert_int_equal(finish(&s, 0, 0, 0), 1);
		assert_int_equal(load_be16(got.frame[0] + want.l4 + 6), 0xffff);
	}
	assert_int_equal(zero, 1);
}

/* Each segment is the frame that a stack without offloads would have sent. */
static void segments(struct frame_spec s, uint16_t size, uint64_t taker, uint8_t gso_flags)
{
	unsigned int n = finish(&s, size, taker, gso_flags), expect = (s.payload + size - 1) / size;

	assert_int_equal(n, expect);
	assert_int_equal(got.n, n);
	for (unsigned int i = 0; i < n; i++) {
		struct frame_spec one = s;
		bool last = i + 1 == n;

		one.offset = i * size;
		one.payload = last ? s.payload - one.offset : size;
		one.seq = s.seq + one.offset;
		one.id = (uint16_t)(s.id + i);
		if (!last)
			one.tcp_flags &= (uint8_t)~0x09;
		if (i && gso_flags & VIRTIO_NET_HDR_GSO_ECN)
			one.tcp_flags &= (uint8_t)~0x80;
		frame_build(&one, taker & F(GUEST_CSUM), &want);
		assert_int_equal(got.len[i], want.len);
		assert_memory_equal(got.frame[i], want.data, want.len);
		assert_int_equal(got.hdr[i].gso_type, VIRTIO_NET_HDR_GSO_NONE);
		if (taker & F(GUEST_CSUM)) {
			assert_int_equal(got.hdr[i].flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
			assert_int_equal(got.hdr[i].csum_start, want.l4);
			assert_int_equal(got.hdr[i].csum_offset, s.udp ? 6 : 16);
		} else {
			assert_int_equal(got.hdr[i].flags, 0);
		}
	}
}

static void test_segments(void **state)
{
	(void)state;
	for (unsigned int kind = 0; kind < 64; kind++) {
		static const struct {
			uint32_t payload;
			uint16_t size;
		} c[] = {{65000, 1460}, {1461, 1460}, {1460, 1460},  {2920, 1460}, {7, 3},
			 {1, 1460},     {5000, 1333}, {64000, 8960}, {300, 1}};

		for (unsigned int i = 0; i < ARRAY_SIZE(c); i++) {
			struct frame_spec s = frame_tcp(c[i].payload);

			s.v6 = kind & 1;
			s.udp = kind & 2;
			s.ip_options = kind & 4 ? 8 : 0;
			s.tags = kind & 8 ? 2 : 0;
			s.tpid[0] = 0x88a8;
			s.tpid[1] = 0x8100;
			s.tcp_options = kind & 16 ? 12 : 0;
			s.tcp_flags = 0x19; /* FIN too */
			segments(s, c[i].size, kind & 32 ? F(GUEST_CSUM) : 0, 0);
		}
	}
}

static void test_ecn(void **state)
{
	struct frame_spec s = frame_tcp(5000);

	(void)state;
	s.tcp_flags = 0x98; /* CWR */
	segments(s, 1000, 0, VIRTIO_NET_HDR_GSO_ECN);
	segments(s, 1000, F(GUEST_CSUM), VIRTIO_NET_HDR_GSO_ECN);
	s.v6 = true;
	segments(s, 1000, 0, VIRTIO_NET_HDR_GSO_ECN);
}

/* VLAN, priority: the segments are in the frame's. */
static void keeps_vlan(void *arg, struct pkt *p)
{
	(void)arg;
	assert_int_equal(p->vlan, 77);
	assert_int_equal(p->pcp, 3);
}

static void test_segments_keep_vlan(void **state)
{
	struct frame_spec s = frame_tcp(3000);
	struct vring_seg seg;
	struct pkt p;

	(void)state;
	frame_build(&s, true, &in);
	make_pkt(&p, &seg, frame_hdr(&s, &in, 1000));
	assert_true(offload_check(&p, SENDER));
	assert_int_equal(offload_finish(&p, 0, &scratch, keeps_vlan, NULL), 3);
	make_pkt(&p, &seg, frame_hdr(&s, &in, 0));
	assert_true(offload_check(&p, SENDER));
	assert_int_equal(offload_finish(&p, 0, &scratch, keeps_vlan, NULL), 1);
}

/* Who takes what as it is. */
static void test_taken(void **state)
{
	static const struct {
		bool v6, udp;
		uint16_t gso;
		uint8_t ecn;
		uint64_t needs;
	} c[] = {
		{false, false, 0, 0, F(GUEST_CSUM)},
		{false, false, 1000, 0, F(GUEST_CSUM) | F(GUEST_TSO4)},
		{true, false, 1000, 0, F(GUEST_CSUM) | F(GUEST_TSO6)},
		{false, true, 1000, 0, F(GUEST_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO4)},
		{true, true, 1000, 0, F(GUEST_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO6)},
		{false, false, 1000, VIRTIO_NET_HDR_GSO_ECN, F(GUEST_CSUM) | F(GUEST_TSO4) | F(GUEST_ECN)},
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(c); i++) {
		struct frame_spec s = frame_tcp(4000);
		struct virtio_net_hdr hdr;
		struct vring_seg seg;
		struct pkt p;

		s.v6 = c[i].v6;
		s.udp = c[i].udp;
		frame_build(&s, true, &in);
		hdr = frame_hdr(&s, &in, c[i].gso);
		hdr.gso_type |= c[i].ecn;
		make_pkt(&p, &seg, hdr);
		assert_true(offload_check(&p, SENDER));
		assert_true(offload_taken(&p, TAKER));
		assert_true(offload_taken(&p, c[i].needs));
		for (unsigned int bit = 0; bit < 64; bit++)
			if (c[i].needs >> bit & 1)
				assert_false(offload_taken(&p, TAKER & ~VIRTIO_BIT(bit)));
		/* What the wire carries: not longer than a segment. */
		assert_int_equal(offload_wire_len(&p), c[i].gso ? in.body + c[i].gso : in.len);
	}
}

/* What is right passes untouched but for what the sender may not say. */
static void test_check_good(void **state)
{
	struct frame_spec s = frame_tcp(4000);
	struct virtio_net_hdr hdr, out;

	(void)state;
	frame_build(&s, true, &in);
	hdr = frame_hdr(&s, &in, 1000);
	assert_true(check(hdr, SENDER, &out));
	assert_memory_equal(&hdr, &out, sizeof(hdr));
	/* The sender's hdr_len is a hint. */
	hdr.hdr_len = 0;
	assert_true(check(hdr, SENDER, &out));
	assert_int_equal(out.hdr_len, in.body);
	hdr.hdr_len = 0xffff;
	assert_true(check(hdr, SENDER, &out));
	assert_int_equal(out.hdr_len, in.body);
	/* DATA_VALID, RSC_INFO and bits that do not exist. */
	hdr.flags = 0xff;
	assert_true(check(hdr, SENDER, &out));
	assert_int_equal(out.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	hdr = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_DATA_VALID, .hdr_len = 0xffff, .gso_size = 9, .csum_start = 0xffff};
	assert_true(check(hdr, SENDER, &out));
	assert_memory_equal(&out, &(struct virtio_net_hdr){0}, sizeof(out));
	/* Without segmentation, hdr_len and gso_size mean nothing, and must not be given a meaning. */
	hdr = frame_hdr(&s, &in, 0);
	hdr.hdr_len = 0xffff;
	hdr.gso_size = 77;
	assert_true(check(hdr, SENDER, &out));
	assert_int_equal(out.hdr_len, 0);
	assert_int_equal(out.gso_size, 0);
	assert_int_equal(out.csum_start, hdr.csum_start);
}

/* Nothing of this may reach a receiver. */
static void test_check_bad(void **state)
{
	struct frame_spec s = frame_tcp(4000);
	struct virtio_net_hdr good, h;

	(void)state;
	frame_build(&s, true, &in);
	good = frame_hdr(&s, &in, 1000);
#define BAD(stmt)                                                                                            \
	do {                                                                                                 \
		h = good;                                                                                    \
		stmt;                                                                                        \
		assert_false(check(h, SENDER, NULL));                                                        \
	} while (0)
	BAD(h.gso_size = 0);
	BAD(h.flags = 0); /* segments need checksums */
	BAD(h.csum_start = 0);
	BAD(h.csum_start = 13);
	BAD(h.csum_start = (uint16_t)in.l3);
	BAD(h.csum_start--);
	BAD(h.csum_start++);
	BAD(h.csum_start = 0xffff);
	BAD(h.csum_offset = 6);
	BAD(h.csum_offset = 15);
	BAD(h.csum_offset = 0xffff);
	BAD(h.gso_type = VIRTIO_NET_HDR_GSO_TCPV6);
	BAD(h.gso_type = VIRTIO_NET_HDR_GSO_UDP);
	BAD(h.gso_type = VIRTIO_NET_HDR_GSO_UDP_L4);
	BAD(h.gso_type = VIRTIO_NET_HDR_GSO_ECN);
	BAD(h.gso_type = 2);
	BAD(h.gso_type = 0x7f);
	BAD(h.gso_type = 0xff);
	/* A checksum alone. */
	good = frame_hdr(&s, &in, 0);
	BAD(h.csum_start = 0);
	BAD(h.csum_start = 13);
	BAD(h.csum_start = (uint16_t)(in.len - 17));
	BAD(h.csum_start = (uint16_t)in.len);
	BAD(h.csum_offset = (uint16_t)(in.len - in.l4 - 1));
	BAD(h.csum_offset = 0xffff);
	BAD(h.csum_start = 0xffff; h.csum_offset = 0xffff);
	h = good;
	h.csum_offset = (uint16_t)(in.len - in.l4 - 2);
	assert_true(check(h, SENDER, NULL)); /* the last two bytes */
	/* What was not negotiated. */
	good = frame_hdr(&s, &in, 1000);
	assert_false(check(good, SENDER & ~F(CSUM), NULL));
	assert_false(check(good, SENDER & ~F(HOST_TSO4), NULL));
	good.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	assert_false(check(good, SENDER & ~F(HOST_ECN), NULL));
	s.v6 = true;
	frame_build(&s, true, &in);
	assert_false(check(frame_hdr(&s, &in, 1000), SENDER & ~F(HOST_TSO6), NULL));
	s.udp = true;
	frame_build(&s, true, &in);
	assert_false(check(frame_hdr(&s, &in, 1000), SENDER & ~F(HOST_USO), NULL));
	assert_true(check(frame_hdr(&s, &in, 1000), SENDER, NULL));
}

/* Headers of the frame itself that lie. */
static void test_check_bad_frames(void **state)
{
	struct frame_spec s = frame_tcp(4000);
	struct virtio_net_hdr h;
	uint32_t full;

	(void)state;
	frame_build(&s, true, &in);
	h = frame_hdr(&s, &in, 1000);
#define BAD_BYTE(at, value)                                                                                  \
	do {                                                                                                 \
		uint8_t was = in.data[at];                                                                   \
		in.data[at] = (uint8_t)(value);                                                              \
		assert_false(check(h, SENDER, NULL));                                                        \
		in.data[at] = was;                                                                           \
		assert_true(check(h, SENDER, NULL));                                                         \
	} while (0)
	BAD_BYTE(in.l3, 0x65);      /* version 6 behind EtherType IPv4 */
	BAD_BYTE(in.l3, 0x44);      /* header of 16 bytes */
	BAD_BYTE(in.l3, 0x4f);      /* longer than it is */
	BAD_BYTE(in.l3 + 6, 0x20);  /* more fragments */
	BAD_BYTE(in.l3 + 7, 1);     /* a later fragment */
	BAD_BYTE(in.l3 + 9, 17);    /* UDP */
	BAD_BYTE(in.l3 + 9, 1);     /* ICMP */
	BAD_BYTE(in.l4 + 12, 0x40); /* TCP header of 16 bytes */
	BAD_BYTE(in.l4 + 12, 0x00);
	BAD_BYTE(12, 0x86); /* some other protocol */
	/* Truncated anywhere up to the end of the headers: no payload, no segment. */
	full = in.len;
	for (in.len = PKT_ETH_LEN; in.len <= in.body; in.len++)
		assert_false(check(h, SENDER, NULL));
	in.len = full;
	/* More tags than anybody looks into. */
	s.tags = 2;
	s.tpid[0] = s.tpid[1] = 0x8100;
	frame_build(&s, true, &in);
	h = frame_hdr(&s, &in, 1000);
	assert_true(check(h, SENDER, NULL));
	in.data[in.l3 - 2] = 0x81;
	in.data[in.l3 - 1] = 0;
	assert_false(check(h, SENDER, NULL));
	/* IPv6. */
	s.tags = 0;
	s.v6 = true;
	s.ip_options = 24;
	frame_build(&s, true, &in);
	h = frame_hdr(&s, &in, 1000);
	BAD_BYTE(in.l3, 0x45);
	BAD_BYTE(in.l3 + 6, 44);    /* fragment header */
	BAD_BYTE(in.l3 + 6, 59);    /* nothing follows */
	BAD_BYTE(in.l3 + 40, 60);   /* options for ever */
	BAD_BYTE(in.l3 + 41, 0xff); /* longer than the frame's head */
	BAD_BYTE(in.l3 + 41, 3);
	/* Headers so long that they leave the head. */
	s.ip_options = 120;
	frame_build(&s, true, &in);
	assert_false(check(frame_hdr(&s, &in, 1000), SENDER, NULL));
}

/* One frame is not a way to a million: segments are bounded. */
static void test_segment_bound(void **state)
{
	struct frame_spec s = frame_tcp(65000);

	(void)state;
	frame_build(&s, true, &in);
	assert_false(check(frame_hdr(&s, &in, 1), SENDER, NULL));
	assert_false(check(frame_hdr(&s, &in, 20), SENDER, NULL));
	assert_true(check(frame_hdr(&s, &in, 48), SENDER, NULL)); /* the smallest that stacks use */
}

/* Random headers on real frames: whatever passes the check can be finished, within bounds (sanitizers look
 * on), and is no longer than what came. */
static void test_random(void **state)
{
	uint64_t rng = 42;
	unsigned int passed = 0;

	(void)state;
	for (unsigned int i = 0; i < 200000; i++) {
		struct frame_spec s = frame_tcp(0);
		struct virtio_net_hdr hdr;
		struct vring_seg seg;
		struct pkt p;

		rng = rng * 6364136223846793005u + 1442695040888963407u;
		s.payload = (uint32_t)(rng >> 33) % (i % 64 ? 300 : 65000);
		s.v6 = rng >> 20 & 1;
		s.udp = rng >> 21 & 1;
		s.tcp_options = 4 * (rng >> 22 & 7);
		s.ip_options = 8 * (rng >> 25 & 3);
		frame_build(&s, true, &in);
		hdr = frame_hdr(&s, &in, rng >> 30 & 1 ? (uint16_t)(1 + (rng >> 40) % 2000) : 0);
		rng = rng * 6364136223846793005u + 1442695040888963407u;
		/* Spoil a byte of the header or of the frame's head, or both, or none. */
		if (rng >> 63)
			((uint8_t *)&hdr)[(rng >> 40) % sizeof(hdr)] = (uint8_t)(rng >> 32);
		if (rng >> 62 & 1)
			in.data[12 + (rng >> 50) % (in.body - 12)] = (uint8_t)(rng >> 24);
		if (rng >> 61 & 1)
			in.len = PKT_ETH_LEN + (uint32_t)(rng >> 16) % (in.len - PKT_ETH_LEN + 1);
		make_pkt(&p, &seg, hdr);
		if (!offload_check(&p, SENDER))
			continue;
		passed++;
		clear(NULL);
		if (offload_taken(&p, 0))
			continue;
		offload_finish(&p, i & 1 ? F(GUEST_CSUM) : 0, &scratch, collect, &got);
		assert_true(got.n >= 1);
		for (unsigned int k = 0; k < got.n; k++) {
			assert_true(got.len[k] <= in.len);
			assert_memory_equal(got.frame[k], in.data, 12);
		}
	}
	assert_true(passed > 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sum),
		cmocka_unit_test_teardown(test_checksum, clear),
		cmocka_unit_test_teardown(test_udp_zero, clear),
		cmocka_unit_test_teardown(test_segments, clear),
		cmocka_unit_test_teardown(test_ecn, clear),
		cmocka_unit_test(test_segments_keep_vlan),
		cmocka_unit_test(test_taken),
		cmocka_unit_test(test_check_good),
		cmocka_unit_test(test_check_bad),
		cmocka_unit_test(test_check_bad_frames),
		cmocka_unit_test(test_segment_bound),
		cmocka_unit_test_teardown(test_random, clear),
	};

	return cmocka_run_group_tests_name("offload", tests, NULL, NULL);
}
