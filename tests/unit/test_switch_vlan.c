/* SPDX-License-Identifier: Apache-2.0 */

/* VLANs in the switch: what is sent, by whom, to whom, and what arrives. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "sw_env.h"

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

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

/* What is sent, by which port, to which: what arrives, or why not. */
static const struct vlan_case {
	char from;
	unsigned int from_vid, from_pcp;
	uint32_t sent[2];
	char to;
	unsigned int to_vid;
	int drop; /* -1: none */
	uint32_t got[2];
} cases[] = {
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

static void try_case(struct sw_env *e, const struct vlan_case *c, uint32_t len, bool flood)
{
	struct vguest *a = &e->g[0], *b = &e->g[1];
	unsigned int i = (unsigned int)(c - cases);
	uint64_t before = c->drop < 0 ? 0 : sw_env_tx_drop(a, (enum drop_reason)c->drop);

	/* Two tags of the customer's are more than a frame may be longer. */
	if (c->from == 'p' && c->sent[0] && c->sent[1] && len == 1514 && c->drop < 0 &&
	    c->sent[0] >> 16 == 0x8100)
		return;
	sw_env_make(e, 1, 0, len, i);
	if (flood)
		memcpy(e->frame.data, broadcast, 6);
	e->want = e->frame;
	push_tags(&e->frame, c->sent);
	sw_env_send(e, a, NULL);
	if (c->drop < 0) {
		push_tags(&e->want, c->got);
		sw_env_expect(e, b, &e->want);
	}
	if (c->drop >= 0 && !(flood && c->drop == DROP_NO_ROUTE) &&
	    sw_env_tx_drop(a, (enum drop_reason)c->drop) != before + 1)
		fail_msg("case %u, length %u: not counted", i, len);
	if (vguest_recv(b, 0, &e->got))
		fail_msg("case %u, length %u: a frame that should not be", i, len);
}

static void test_vlans(void **state)
{
	/* Short, around the private head's end, and as long as goes: tags are not counted. */
	static const uint32_t lengths[] = {14, 60, 188, 192, 196, 1514};
	struct sw_env *e = *state;

	sw_env_add(e, NULL, NULL);
	sw_env_add(e, NULL, NULL);
	for (const struct vlan_case *c = cases; c < cases + ARRAY_SIZE(cases); c++) {
		struct function_settings from = vlan_of(0, c->from, c->from_vid, c->from_pcp),
					 to = vlan_of(1, c->to, c->to_vid, 0);

		sw_env_set(e, 0, &from);
		sw_env_set(e, 1, &to);
		for (unsigned int flood = 0; flood < 2; flood++)
			for (unsigned int k = 0; k < ARRAY_SIZE(lengths); k++)
				try_case(e, c, lengths[k], flood);
	}
}

static unsigned int vid_of(const struct vguest_frame *f)
{
	return f->data[12] == 0x81 ? (f->data[14] << 8 | f->data[15]) & 0xfff : 0;
}

/* Kinds of frames from a trunk, and a run of them. */
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
static const struct virtio_net_hdr csum = {
	.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6};

struct run {
	unsigned int round;
	struct {
		unsigned int kind;
		uint32_t len;
		bool arrived;
	} sent[30];
};

/* The i-th of the run, as e->frame. */
static void make_of_run(struct sw_env *e, const struct run *r, unsigned int i)
{
	sw_env_make(e, 1, 0, r->sent[i].len, r->round + i);
	push_tags(&e->frame, kinds[r->sent[i].kind].tags);
}

/* Begins with `kind`, which the one before ended with; returns its last. */
static unsigned int send_run(struct sw_env *e, struct run *r, unsigned int kind)
{
	static const uint32_t lengths[] = {60, 188, 192, 1510, 1514, 1515};
	struct vguest *a = &e->g[0];

	for (unsigned int i = 0; i < ARRAY_SIZE(r->sent); i++) {
		if (random() % 3 == 0)
			kind = (unsigned int)random() % ARRAY_SIZE(kinds);
		r->sent[i].kind = kind;
		r->sent[i].len = lengths[(unsigned int)random() % ARRAY_SIZE(lengths)];
		r->sent[i].arrived = false;
		make_of_run(e, r, i);
		vguest_send(a, 0, kinds[kind].csum ? &csum : NULL, e->frame.data, e->frame.len);
	}
	vguest_flush(a, 0);
	return kind;
}

/* Those of one VLAN arrive in their order; a burst's VLANs go one after the other. */
static void receive_run(struct sw_env *e, struct run *r)
{
	while (vguest_recv(&e->g[1], 0, &e->got)) {
		unsigned int i = 0;
		bool has_csum;

		while (i < ARRAY_SIZE(r->sent) &&
		       (r->sent[i].arrived || kinds[r->sent[i].kind].drop >= 0 || r->sent[i].len > 1514 ||
			(kinds[r->sent[i].kind].tags[0] & 0xfff) != vid_of(&e->got)))
			i++;
		assert_true(i < ARRAY_SIZE(r->sent));
		r->sent[i].arrived = true;
		make_of_run(e, r, i);
		assert_int_equal(e->got.len, e->frame.len);
		assert_memory_equal(e->got.data, e->frame.data, e->frame.len);
		has_csum = kinds[r->sent[i].kind].csum;
		assert_int_equal(e->got.hdr.hdr.flags, has_csum ? csum.flags : 0);
		assert_int_equal(e->got.hdr.hdr.csum_start, has_csum ? csum.csum_start : 0);
	}
}

/* All but those that had to be dropped have arrived. */
static void check_run(const struct run *r, uint64_t dropped[DROP_REASONS])
{
	for (unsigned int i = 0; i < ARRAY_SIZE(r->sent); i++) {
		int drop = kinds[r->sent[i].kind].drop;

		if (drop < 0 && r->sent[i].len > 1514)
			drop = DROP_MTU;
		if (drop >= 0)
			dropped[drop]++;
		assert_int_equal(r->sent[i].arrived, drop < 0);
	}
}

/* Runs of tagged frames: what was found out for one holds for the next only if that is just like it. */
static void test_vlan_runs(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options full = sw_env_options(SW_ENV_SEND | SW_ENV_TAKE);
	uint64_t dropped[DROP_REASONS] = {0};
	unsigned int kind = 0;
	struct run r;

	for (unsigned int i = 0; i < 2; i++) {
		struct function_settings s = vlan_of(i, 't', 0, 0);

		sw_env_add(e, NULL, &full);
		sw_env_set(e, i, &s);
	}
	srandom(1);
	for (r.round = 0; r.round < 200; r.round++) {
		kind = send_run(e, &r, kind);
		receive_run(e, &r);
		check_run(&r, dropped);
	}
	assert_int_equal(sw_env_tx_drop(&e->g[0], DROP_MTU), dropped[DROP_MTU]);
	assert_int_equal(sw_env_tx_drop(&e->g[0], DROP_SPOOF_VLAN), dropped[DROP_SPOOF_VLAN]);
}

/* Offload headers count from the start of the frame as the guest has it: they move with tags. */
static void test_vlan_offload(void **state)
{
	struct sw_env *e = *state;
	struct vguest_options full = sw_env_options(SW_ENV_SEND | SW_ENV_TAKE), none = sw_env_options(0);
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
	frame_build(&spec, true, &e->frame);
	hdr = frame_hdr(&spec, &e->frame, 1400);
	sw_env_send(e, a, &hdr);
	spec.tags = 1;
	spec.tpid[0] = 0x8100;
	spec.tci[0] = 12 | 5 << 13;
	frame_build(&spec, true, &e->want);
	hdr_want = frame_hdr(&spec, &e->want, 1400);
	sw_env_expect(e, b, &e->want);
	assert_memory_equal(&e->got.hdr.hdr, &hdr_want, sizeof(hdr_want));
	/* In segments. */
	spec.tags = 0;
	sw_env_mac(spec.dst, 2);
	frame_build(&spec, true, &e->frame);
	sw_env_send(e, a, &hdr);
	for (unsigned int i = 0; i < 3; i++) {
		seg = spec;
		seg.tags = 1;
		seg.offset = 1400 * i;
		seg.payload = MIN(3000 - seg.offset, 1400u);
		seg.seq += seg.offset;
		seg.id = (uint16_t)(seg.id + i);
		if (i < 2)
			seg.tcp_flags &= (uint8_t)~0x08;
		frame_build(&seg, false, &e->want);
		sw_env_expect(e, c, &e->want);
	}
	/* Tagged to untagged. */
	spec.tags = 1;
	sw_env_mac(spec.dst, 0);
	sw_env_mac(spec.src, 1);
	frame_build(&spec, true, &e->frame);
	hdr = frame_hdr(&spec, &e->frame, 1400);
	sw_env_send(e, b, &hdr);
	spec.tags = 0;
	frame_build(&spec, true, &e->want);
	hdr_want = frame_hdr(&spec, &e->want, 1400);
	sw_env_expect(e, a, &e->want);
	assert_memory_equal(&e->got.hdr.hdr, &hdr_want, sizeof(hdr_want));
	/* A checksum that starts inside the tag. */
	hdr = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 16, .csum_offset = 2};
	sw_env_send(e, b, &hdr);
	assert_int_equal(sw_env_tx_drop(b, DROP_MALFORMED), 1);
	sw_env_expect_nothing(e, a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SW_ENV_TESTS(test_vlans),
		SW_ENV_TESTS(test_vlan_runs),
		SW_ENV_TESTS(test_vlan_offload),
	};

	return cmocka_run_group_tests_name("switch_vlan", tests, NULL, NULL);
}
