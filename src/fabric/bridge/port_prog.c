/* SPDX-License-Identifier: Apache-2.0 */

#include "fabric/bridge/port_prog.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>

#include "fabric/bridge/bpf_asm.h"
#include "switch/pkt.h"
#include "vpf/control.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "addresses are compared as little-endian numbers");

/* Registers that live through the whole program: R6 the frame's context, R7 the counters, R8 its length. R9
 * is where its payload begins while headers are read, and the present time where rates are looked at.
 *
 * The stack, below FP: the key 0 of the maps; the Ethernet header, so that both addresses' long halves are
 * aligned. */
#define KEY    (-4)
#define NUMBER (-32)
#define HEADER (-22)
#define DST_2  (HEADER)      /* bytes 0, 1 of the destination */
#define DST_4  (HEADER + 2)  /* 2…5 */
#define SRC_4  (HEADER + 6)  /* 0…3 of the source */
#define SRC_2  (HEADER + 10) /* 4, 5 */
#define TYPE   (HEADER + 12)
#define BYTES  (-48) /* of other headers, 10 at most */

#define TIME_SHIFT 10                                    /* bucket's time: 2⁻¹⁰ ns */
#define FAR_AHEAD  (3600ULL * 1000000000u << TIME_SHIFT) /* a bucket never is: the number has wrapped since */
#define BURST_NS   20000000u                             /* the largest burst, … */
#define BURST_LEN  (2 * 65536u)                          /* … and not less than this */
#define EXTENSIONS 8                                     /* headers of IPv6; the kernel sends fewer */

#define CTX(field)  ((int16_t)offsetof(struct __sk_buff, field))
#define STAT(field) ((int16_t)offsetof(struct port_stats, field))

struct gen {
	struct bpf_asm a;
	const struct port_prog_conf *c;
	bool ingress;
	unsigned int drop[DROP_REASONS]; /* label, + 1; 0: not used */
	unsigned int out;                /* label: dropped, not counted */
};

/* The label for frames that are dropped for this reason. */
static unsigned int to_drop(struct gen *g, enum drop_reason reason)
{
	if (!g->drop[reason])
		g->drop[reason] = asm_label(&g->a) + 1;
	return g->drop[reason] - 1;
}

static void add_to_stat(struct gen *g, int16_t offset, unsigned int reg)
{
	asm_load(&g->a, BPF_DW, R1, R7, offset);
	asm_alu(&g->a, BPF_ADD, R1, reg);
	asm_store(&g->a, BPF_DW, R7, offset, R1);
}

static void count(struct gen *g, int16_t offset)
{
	asm_load(&g->a, BPF_DW, R1, R7, offset);
	asm_alu_imm(&g->a, BPF_ADD, R1, 1);
	asm_store(&g->a, BPF_DW, R7, offset, R1);
}

/* R0: the map's value. */
static void lookup(struct gen *g, int map)
{
	asm_load_map(&g->a, R1, map);
	asm_mov(&g->a, R2, FP);
	asm_alu_imm(&g->a, BPF_ADD, R2, KEY);
	asm_call(&g->a, BPF_FUNC_map_lookup_elem);
	asm_jump(&g->a, BPF_JEQ, R0, 0, g->out);
}

static void begin(struct gen *g, const struct port_prog_maps *maps)
{
	struct bpf_asm *a = &g->a;

	g->out = asm_label(a);
	asm_mov(a, R6, R1);
	asm_emit(a, BPF_ST | BPF_MEM | BPF_W, FP, 0, KEY, 0);
	lookup(g, maps->stats);
	asm_mov(a, R7, R0);
	asm_mov(a, R1, R6);
	asm_mov_imm(a, R2, 0);
	asm_mov(a, R3, FP);
	asm_alu_imm(a, BPF_ADD, R3, HEADER);
	asm_mov_imm(a, R4, ETH_HLEN);
	asm_call(a, BPF_FUNC_skb_load_bytes);
	asm_jump(a, BPF_JNE, R0, 0, to_drop(g, DROP_MALFORMED));
	asm_load(a, BPF_H, R2, FP, TYPE);
	asm_jump(a, BPF_JEQ, R2, htons(VPF_CTL_ETHERTYPE), to_drop(g, DROP_CONTROL));
}

/* Always taken, but the verifier must not conclude that what follows is unreachable. */
static void go(struct gen *g, unsigned int label)
{
	asm_mov_imm(&g->a, R2, 0);
	asm_jump(&g->a, BPF_JEQ, R2, 0, label);
}

/* R2 holds an EtherType in the frame's byte order. */
static void if_tag(struct gen *g, unsigned int label)
{
	asm_jump(&g->a, BPF_JEQ, R2, htons(ETH_P_8021Q), label);
	asm_jump(&g->a, BPF_JEQ, R2, htons(ETH_P_8021AD), label);
}

/* 802.1Q §8.6.3: addresses that no bridge forwards; a bridge of the kernel's may be told to. */
static void check_reserved(struct gen *g)
{
	struct bpf_asm *a = &g->a;
	unsigned int no = asm_label(a);

	if (g->c->trusted)
		return;
	asm_load(a, BPF_H, R2, FP, DST_2);
	asm_jump(a, BPF_JNE, R2, 0x8001, no);
	asm_load(a, BPF_W, R2, FP, DST_4);
	asm_alu_imm(a, BPF_AND, R2, (int32_t)0xf0ffffff);
	asm_jump(a, BPF_JEQ, R2, 0xc2, to_drop(g, DROP_CONTROL));
	asm_place(a, no);
}

/* The number of ranges of a trunk's set, or more than PORT_PROG_RANGES. */
static unsigned int count_ranges(const struct vlan_settings *v)
{
	unsigned int n = 0;

	for (uint16_t vid = 1; vid < 4095; vid++)
		if (vlan_trunk_allows(v, vid) && !(vid > 1 && vlan_trunk_allows(v, vid - 1)) &&
		    ++n > PORT_PROG_RANGES)
			break;
	return n;
}

/* R4: the VLAN, not 0. */
static void check_trunk(struct gen *g, unsigned int ok)
{
	const struct vlan_settings *v = &g->c->vlan;
	struct bpf_asm *a = &g->a;

	if (count_ranges(v) > PORT_PROG_RANGES) {
		asm_jump(a, BPF_JEQ, R4, 4095, to_drop(g, DROP_SPOOF_VLAN));
		asm_jump(a, BPF_JA, 0, 0, ok);
		return;
	}
	for (uint16_t vid = 1; vid < 4095; vid++) {
		uint16_t last = vid;

		if (!vlan_trunk_allows(v, vid))
			continue;
		while (last + 1 < 4095 && vlan_trunk_allows(v, (uint16_t)(last + 1)))
			last++;
		/* if (R4 < vid) skip the next; if (R4 <= last) goto ok */
		asm_emit(a, BPF_JMP | BPF_JLT | BPF_K, R4, 0, 1, vid);
		asm_jump(a, BPF_JLE, R4, last, ok);
		vid = last;
	}
	asm_jump(a, BPF_JA, 0, 0, to_drop(g, DROP_SPOOF_VLAN));
}

/* The guest's tags: which ones it may use. The kernel has already removed the outer one from the bytes. */
static void check_tags(struct gen *g)
{
	const struct vlan_settings *v = &g->c->vlan;
	bool ad = v->mode == VLAN_ACCESS && v->tpid == ETH_P_8021AD;
	unsigned int spoof = to_drop(g, DROP_SPOOF_VLAN);
	struct bpf_asm *a = &g->a;
	unsigned int untagged = asm_label(a), ok = asm_label(a), priority = asm_label(a);

	asm_load(a, BPF_W, R2, R6, CTX(vlan_present));
	asm_jump(a, BPF_JEQ, R2, 0, untagged);
	asm_load(a, BPF_W, R3, R6, CTX(vlan_proto));
	/* Inside a provider's VLAN a customer's own tags are payload. */
	if (ad)
		asm_jump(a, BPF_JEQ, R3, htons(ETH_P_8021Q), ok);
	asm_jump(a, BPF_JNE, R3, htons(ETH_P_8021Q), spoof);
	asm_load(a, BPF_W, R4, R6, CTX(vlan_tci));
	asm_alu_imm(a, BPF_AND, R4, 0xfff);
	asm_jump(a, BPF_JEQ, R4, 0, priority);
	if (v->mode == VLAN_TRUNK)
		check_trunk(g, ok);
	else
		asm_jump(a, BPF_JA, 0, 0, spoof);
	/* A priority tag is not a VLAN. A tag after it would be the outer one from here on. */
	asm_place(a, priority);
	asm_load(a, BPF_H, R2, FP, TYPE);
	if_tag(g, spoof);
	asm_mov(a, R1, R6);
	asm_call(a, BPF_FUNC_skb_vlan_pop);
	asm_jump(a, BPF_JNE, R0, 0, to_drop(g, DROP_MALFORMED));
	asm_place(a, untagged);
	if (v->mode == VLAN_TRUNK && !vlan_trunk_allows(v, 0)) {
		go(g, spoof);
	} else {
		asm_load(a, BPF_H, R2, FP, TYPE);
		if (!ad)
			if_tag(g, spoof);
	}
	asm_place(a, ok);
}

/* R2: an address that is not its own. */
static void count_source(struct gen *g, int set, unsigned int ok)
{
	struct bpf_asm *a = &g->a;

	asm_store(a, BPF_DW, FP, NUMBER, R2);
	asm_load_map(a, R1, set);
	asm_mov(a, R2, FP);
	asm_alu_imm(a, BPF_ADD, R2, NUMBER);
	asm_call(a, BPF_FUNC_map_lookup_elem);
	asm_jump(a, BPF_JNE, R0, 0, ok);
	asm_load_map(a, R1, set);
	asm_mov(a, R2, FP);
	asm_alu_imm(a, BPF_ADD, R2, NUMBER);
	asm_mov(a, R3, R2);
	asm_mov_imm(a, R4, BPF_ANY);
	asm_call(a, BPF_FUNC_map_update_elem);
	asm_jump(a, BPF_JNE, R0, 0, to_drop(g, DROP_SPOOF_MAC));
}

static void check_source(struct gen *g, const struct port_prog_maps *maps)
{
	struct bpf_asm *a = &g->a;
	unsigned int ok = asm_label(a);
	bool counted = !g->c->spoofchk && g->c->max_learned;

	asm_load(a, BPF_W, R2, FP, SRC_4);
	asm_load(a, BPF_H, R3, FP, SRC_2);
	asm_alu_imm(a, BPF_LSH, R3, 32);
	asm_alu(a, BPF_OR, R2, R3);
	asm_jump(a, BPF_JSET, R2, 1, to_drop(g, DROP_MALFORMED));
	if (g->c->spoofchk || counted) {
		for (unsigned int i = 0; i < g->c->n_macs; i++) {
			asm_load_imm(a, R3, g->c->macs[i]);
			asm_jump_reg(a, BPF_JEQ, R2, R3, ok);
		}
		if (counted)
			count_source(g, maps->learned, ok);
		else
			go(g, to_drop(g, DROP_SPOOF_MAC));
	}
	asm_place(a, ok);
}

/* Bytes of the frame, from R9 + `offset` on, to BYTES. */
static void load_bytes(struct gen *g, int32_t offset, int32_t size, unsigned int failed)
{
	struct bpf_asm *a = &g->a;

	asm_mov(a, R1, R6);
	asm_mov(a, R2, R9);
	asm_alu_imm(a, BPF_ADD, R2, offset);
	asm_mov(a, R3, FP);
	asm_alu_imm(a, BPF_ADD, R3, BYTES);
	asm_mov_imm(a, R4, size);
	asm_call(a, BPF_FUNC_skb_load_bytes);
	asm_jump(a, BPF_JNE, R0, 0, failed);
}

/* Adds to R9 what a field of BYTES gives in words of 4 bytes; `shift` by 2 makes bytes of it. */
static void add_words(struct gen *g, int32_t mask, uint8_t shift)
{
	struct bpf_asm *a = &g->a;

	asm_load(a, BPF_B, R2, FP, BYTES);
	asm_alu_imm(a, BPF_AND, R2, mask);
	asm_alu_imm(a, shift, R2, 2);
	asm_alu(a, BPF_ADD, R9, R2);
}

/* R9: the bytes of headers that each segment of a frame gets. `strange`: headers that are not known, where R9 has those
 * that are. */
static void read_headers(struct gen *g, unsigned int strange)
{
	struct bpf_asm *a = &g->a;
	unsigned int ipv6 = asm_label(a), ipv4 = asm_label(a), next = asm_label(a), tcp = asm_label(a),
		     udp = asm_label(a), done = asm_label(a);

	asm_mov_imm(a, R9, ETH_HLEN);
	asm_load(a, BPF_H, R2, FP, TYPE);
	asm_jump(a, BPF_JEQ, R2, htons(ETH_P_IP), ipv4);
	asm_jump(a, BPF_JEQ, R2, htons(ETH_P_IPV6), ipv6);
	asm_jump(a, BPF_JEQ, R2, htons(ETH_P_8021Q), next);
	asm_jump(a, BPF_JNE, R2, htons(ETH_P_8021AD), strange);
	asm_place(a, next);
	load_bytes(g, 2, 2, strange);
	asm_alu_imm(a, BPF_ADD, R9, 4);
	asm_load(a, BPF_H, R2, FP, BYTES);
	asm_jump(a, BPF_JEQ, R2, htons(ETH_P_IP), ipv4);
	asm_jump(a, BPF_JNE, R2, htons(ETH_P_IPV6), strange);
	asm_place(a, ipv6);
	load_bytes(g, 6, 1, strange);
	asm_load(a, BPF_B, R2, FP, BYTES);
	asm_alu_imm(a, BPF_ADD, R9, 40);
	for (unsigned int i = 0; i <= EXTENSIONS; i++) {
		next = asm_label(a);
		asm_jump(a, BPF_JEQ, R2, IPPROTO_TCP, tcp);
		asm_jump(a, BPF_JEQ, R2, IPPROTO_UDP, udp);
		if (i == EXTENSIONS) {
			go(g, strange);
			break;
		}
		/* Those that the kernel puts before each segment. */
		asm_jump(a, BPF_JEQ, R2, IPPROTO_HOPOPTS, next);
		asm_jump(a, BPF_JEQ, R2, IPPROTO_ROUTING, next);
		asm_jump(a, BPF_JNE, R2, IPPROTO_DSTOPTS, strange);
		asm_place(a, next);
		load_bytes(g, 0, 2, strange);
		asm_load(a, BPF_B, R2, FP, BYTES + 1);
		asm_alu_imm(a, BPF_ADD, R2, 1);
		asm_alu_imm(a, BPF_LSH, R2, 3);
		asm_alu(a, BPF_ADD, R9, R2);
		asm_load(a, BPF_B, R2, FP, BYTES);
	}
	asm_place(a, ipv4);
	load_bytes(g, 0, 10, strange);
	add_words(g, 0xf, BPF_LSH);
	asm_load(a, BPF_B, R2, FP, BYTES + 9);
	asm_jump(a, BPF_JEQ, R2, IPPROTO_UDP, udp);
	asm_jump(a, BPF_JNE, R2, IPPROTO_TCP, strange);
	asm_place(a, tcp);
	load_bytes(g, 12, 1, strange);
	add_words(g, 0xf0, BPF_RSH);
	asm_jump(a, BPF_JA, 0, 0, done);
	asm_place(a, udp);
	asm_alu_imm(a, BPF_ADD, R9, 8);
	asm_place(a, done);
}

/* R3: the length of a frame. The MTU is that of the packet; a customer's tag is not part of it. */
static void check_mtu(struct gen *g, unsigned int ok)
{
	unsigned int drop = to_drop(g, DROP_MTU);
	int32_t max = g->c->mtu + ETH_HLEN;
	struct bpf_asm *a = &g->a;

	asm_jump(a, BPF_JLE, R3, max, ok);
	asm_jump(a, BPF_JGT, R3, max + 4, drop);
	asm_load(a, BPF_H, R2, FP, TYPE);
	if_tag(g, ok);
	asm_jump(a, BPF_JA, 0, 0, drop);
}

/* R8: the frame's length, or the sum of its segments'. */
static void check_length(struct gen *g)
{
	struct bpf_asm *a = &g->a;
	unsigned int one = asm_label(a), segments = asm_label(a), ok = asm_label(a),
		     strange = g->ingress ? to_drop(g, DROP_MALFORMED) : asm_label(a);

	asm_load(a, BPF_W, R8, R6, CTX(len));
	asm_load(a, BPF_W, R2, R6, CTX(gso_size));
	asm_jump(a, BPF_JEQ, R2, 0, one);
	read_headers(g, strange);
	asm_jump_reg(a, BPF_JLT, R8, R9, strange);
	/* A guest makes TCP and UDP only. Other protocols, which the host may send to a guest, are accepted as they
	 * are. */
	if (!g->ingress)
		asm_place(a, strange);
	asm_load(a, BPF_W, R3, R6, CTX(gso_size));
	asm_alu(a, BPF_ADD, R3, R9);
	check_mtu(g, segments);
	asm_place(a, segments);
	asm_jump_reg(a, BPF_JLE, R8, R9, ok);
	asm_load(a, BPF_W, R2, R6, CTX(gso_size));
	asm_mov(a, R3, R8);
	asm_alu(a, BPF_SUB, R3, R9);
	asm_alu_imm(a, BPF_SUB, R3, 1);
	asm_alu(a, BPF_DIV, R3, R2); /* how many follow the first */
	asm_alu(a, BPF_MUL, R3, R9);
	asm_alu(a, BPF_ADD, R8, R3);
	asm_jump(a, BPF_JA, 0, 0, ok);
	asm_place(a, one);
	asm_mov(a, R3, R8);
	check_mtu(g, ok);
	asm_place(a, ok);
}

#define NO_LIMIT UINT32_MAX
/* Charges R8 bytes to a bucket and falls through; goes to `full` if there is no room (NO_LIMIT: there always is). */
static void charge(struct gen *g, int map, size_t offset_in_value, uint32_t rate, unsigned int full)
{
	int16_t offset = (int16_t)offset_in_value;
	uint64_t burst = MAX((uint64_t)BURST_NS, BURST_LEN * 8000ULL / rate) << TIME_SHIFT;
	struct bpf_asm *a = &g->a;
	unsigned int done = asm_label(a);

	lookup(g, map);
	asm_mov(a, R1, R0);
	asm_mov(a, R2, R8);
	asm_alu_imm(a, BPF_MUL, R2, (int32_t)((8000u << TIME_SHIFT) / rate));
	asm_load_imm(a, R5, burst);
	/* Another CPU may be faster, at most as often as there are CPUs that are sending for this function. */
	for (unsigned int attempt = 0; attempt < 6; attempt++) {
		unsigned int fresh = asm_label(a), go = asm_label(a);

		asm_load(a, BPF_DW, R0, R1, offset);
		asm_mov(a, R3, R0);
		asm_alu(a, BPF_SUB, R3, R9);
		asm_jump(a, BPF_JSLE, R3, 0, fresh);
		asm_load_imm(a, R4, FAR_AHEAD);
		asm_jump_reg(a, BPF_JGT, R3, R4, fresh);
		if (full != NO_LIMIT) {
			asm_alu(a, BPF_ADD, R3, R2);
			asm_jump_reg(a, BPF_JGT, R3, R5, full);
		}
		asm_mov(a, R4, R0);
		asm_jump(a, BPF_JA, 0, 0, go);
		asm_place(a, fresh);
		asm_mov(a, R4, R9);
		asm_place(a, go);
		asm_alu(a, BPF_ADD, R4, R2);
		asm_mov(a, R3, R0);
		asm_emit(a, BPF_STX | BPF_ATOMIC | BPF_DW, R1, R4, offset, BPF_CMPXCHG);
		asm_jump_reg(a, BPF_JEQ, R0, R3, done);
	}
	if (full != NO_LIMIT)
		asm_jump(a, BPF_JA, 0, 0, full);
	asm_place(a, done);
}

static void check_rates(struct gen *g, const struct port_prog_maps *maps)
{
	const struct port_prog_conf *c = g->c;
	bool total = c->total_rate && maps->total >= 0;
	struct bpf_asm *a = &g->a;
	unsigned int drop, done;

	if (!c->max_rate && !total)
		return;
	drop = to_drop(g, DROP_RATE);
	asm_call(a, BPF_FUNC_ktime_get_ns);
	asm_alu_imm(a, BPF_LSH, R0, TIME_SHIFT);
	asm_mov(a, R9, R0);
	if (c->max_rate)
		charge(g, maps->buckets, offsetof(struct port_prog_buckets, max), c->max_rate, drop);
	if (!total)
		return;
	done = asm_label(a);
	if (c->min_rate) {
		unsigned int beyond = asm_label(a);

		charge(g, maps->buckets, offsetof(struct port_prog_buckets, min), c->min_rate, beyond);
		charge(g, maps->total, 0, c->total_rate, NO_LIMIT);
		asm_jump(a, BPF_JA, 0, 0, done);
		asm_place(a, beyond);
	}
	charge(g, maps->total, 0, c->total_rate, drop);
	asm_place(a, done);
}

static void count_groups(struct gen *g, int16_t broadcast, int16_t multicast)
{
	struct bpf_asm *a = &g->a;
	unsigned int done = asm_label(a), group = asm_label(a);

	asm_load(a, BPF_H, R2, FP, DST_2);
	asm_jump(a, BPF_JSET, R2, 1, group);
	asm_jump(a, BPF_JA, 0, 0, done);
	asm_place(a, group);
	asm_load(a, BPF_W, R3, FP, DST_4);
	asm_alu_imm(a, BPF_LSH, R3, 16);
	asm_alu(a, BPF_OR, R2, R3);
	asm_load_imm(a, R3, 0xffffffffffffULL);
	group = asm_label(a);
	asm_jump_reg(a, BPF_JNE, R2, R3, group);
	count(g, broadcast);
	asm_jump(a, BPF_JA, 0, 0, done);
	asm_place(a, group);
	count(g, multicast);
	asm_place(a, done);
}

static void pass(struct gen *g)
{
	asm_mov_imm(&g->a, R0, TC_ACT_OK);
	asm_exit(&g->a);
}

static int finish(struct gen *g, struct bpf_insn **ret, unsigned int *ret_n)
{
	struct bpf_asm *a = &g->a;

	for (unsigned int i = 0; i < DROP_REASONS; i++) {
		if (!g->drop[i])
			continue;
		asm_place(a, g->drop[i] - 1);
		count(g,
		      (int16_t)((g->ingress ? STAT(tx_drop) : STAT(rx_drop)) + (int)(i * sizeof(uint64_t))));
		asm_mov_imm(a, R0, TC_ACT_SHOT);
		asm_exit(a);
	}
	asm_place(a, g->out);
	asm_mov_imm(a, R0, TC_ACT_SHOT);
	asm_exit(a);
	return asm_finish(a, ret, ret_n);
}

static void from_function(struct gen *g, const struct port_prog_maps *maps)
{
	const struct vlan_settings *v = &g->c->vlan;
	struct bpf_asm *a = &g->a;

	check_reserved(g);
	check_tags(g);
	check_source(g, maps);
	check_length(g);
	check_rates(g, maps);
	count(g, STAT(tx_packets));
	asm_load(a, BPF_W, R2, R6, CTX(len));
	add_to_stat(g, STAT(tx_bytes), R2);
	count_groups(g, STAT(tx_broadcast), STAT(tx_multicast));
	/* The bridge would put it into the port's VLAN as well, with priority 0. */
	if (v->mode == VLAN_ACCESS && v->pcp) {
		asm_mov(a, R1, R6);
		asm_mov_imm(a, R2, htons(v->tpid));
		asm_mov_imm(a, R3, v->pcp << 13 | v->vid);
		asm_call(a, BPF_FUNC_skb_vlan_push);
		asm_jump(a, BPF_JNE, R0, 0, g->out);
	}
}

static void to_function(struct gen *g)
{
	struct bpf_asm *a = &g->a;

	if (!g->c->vlan_aware) {
		unsigned int ok = asm_label(a);

		asm_load(a, BPF_W, R2, R6, CTX(vlan_present));
		asm_jump(a, BPF_JEQ, R2, 0, ok);
		asm_load(a, BPF_W, R2, R6, CTX(vlan_tci));
		asm_alu_imm(a, BPF_AND, R2, 0xfff);
		asm_jump(a, BPF_JNE, R2, 0, to_drop(g, DROP_VLAN));
		asm_place(a, ok);
	}
	/* A frame with a second tag is not an untagged one. */
	if (g->c->vlan.mode == VLAN_NONE) {
		asm_load(a, BPF_H, R2, FP, TYPE);
		if_tag(g, to_drop(g, DROP_VLAN));
	}
	check_length(g);
	count_groups(g, STAT(rx_broadcast), STAT(rx_multicast));
}

int port_prog_generate(const struct port_prog_conf *c, const struct port_prog_maps *maps, bool ingress,
		       struct bpf_insn **ret, unsigned int *ret_n)
{
	_cleanup_free_ struct gen *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	g->c = c;
	g->ingress = ingress;
	begin(g, maps);
	if (ingress)
		from_function(g, maps);
	else
		to_function(g);
	pass(g);
	return finish(g, ret, ret_n);
}

int port_prog_load(const struct port_prog_conf *c, const struct port_prog_maps *maps, bool ingress, char *why,
		   size_t why_size)
{
	_cleanup_free_ struct bpf_insn *insns = NULL;
	unsigned int n;
	int r = port_prog_generate(c, maps, ingress, &insns, &n);

	return r < 0 ? r : bpf_load(insns, n, why, why_size);
}
