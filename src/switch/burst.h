/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The frames that a worker is processing, of one or several transmit queues, on their way to their receivers.
 *
 * Theory of operation. Each shared line of memory that a queue's visit reads or writes costs more than all of
 * the switch's work on a frame; so does each fence that waits for them. Where many queues have a few frames
 * each, a burst therefore gathers several of them:
 *
 *	take	port_take_tx() of queue after queue, each its usual share (a visit of PKT_BURST frames), until
 *		there are BURST_FULL frames or BURST_BYTES, or BURST_LOOKS queues were looked at: the first
 *		frame does not wait for a long list of silent ones
 *	read	port_read_tx(): heads are copied and checked; switch.c decides and sorts by receiver
 *	write	every receiver's frames at once, in the order in which they were read
 *	give	every transmit queue gets its buffers back, then one fence, then the calls that drivers want
 *
 * Frames of a flow come from one queue and go to one group, so their order stays. A queue with a limited rate
 * ends the burst that it is in: what it sent is paid for before any function of its PF asks again.
 *
 * Between two passes, and so for every function that worker_run() runs, the burst is empty.
 *
 * Thread-safety: the worker's own. */

#include "switch/pkt.h"
#include "switch/shaper.h"

#define BURST_FULL  PKT_BURST                /* frames: more would gain nothing */
#define BURST_ROOM  (BURST_FULL + PKT_BURST) /* one less than that, and a whole visit */
#define BURST_BYTES (64u << 10)
#define BURST_LOOKS 32
#define BURST_SLOTS 128 /* of the table that finds groups: a power of two above BURST_ROOM */
#define BURST_DUE   64  /* receive queues */

struct port_conf;
struct sw_port;
struct sw_queue;
struct worker;

struct burst_source { /* a transmit queue's visit */
	struct sw_queue *q;
	const struct port_conf *conf;
	struct shaper_grant grant; /* if the port's rate is limited */
	unsigned int first, n;     /* its chains, in worker.tx_chains */
};

struct burst_group { /* frames of one VLAN for one port: a list through pkt.next */
	struct sw_port *dst;
	struct pkt *first, *last;
	unsigned int n;
	uint32_t longest; /* bytes, on a wire: offload_wire_len() */
	uint16_t vlan;
};

struct burst {
	unsigned int n_sources, n_groups, n_due;
	unsigned int chains, segs, pkts; /* used, of the worker's tx_chains, tx_segs, pkts */
	unsigned int looks;              /* queues looked at since the burst has frames */
	uint64_t bytes;
	struct burst_source source[BURST_FULL];
	struct burst_group group[BURST_ROOM];
	uint8_t slot[BURST_SLOTS];       /* 0, or number of a group + 1 */
	struct sw_queue *due[BURST_DUE]; /* receive queues that got frames, for burst_calls() */
};

static inline void burst_append(struct burst_group *g, struct pkt *p, uint32_t len)
{
	g->last->next = p;
	g->last = p;
	g->n++;
	g->longest = MAX(g->longest, len);
}

/* Puts a frame, `len` bytes long on a wire, after the others for that port and VLAN: returns their group. */
static inline struct burst_group *burst_sort(struct burst *b, struct pkt *p, uint32_t len,
					     struct sw_port *dst)
{
	struct burst_group *g = &b->group[b->n_groups];

	/* Usually the same as for the frame before. (If there is none, group[0] is left from an earlier
	 * burst.) */
	if (likely(b->n_groups && g[-1].dst == dst && g[-1].vlan == p->vlan)) {
		g--;
	} else {
		unsigned int i = (unsigned int)((((uintptr_t)dst ^ p->vlan) * 0x9e3779b97f4a7c15ULL) >> 32);

		for (;; i++) {
			uint8_t *slot = &b->slot[i % BURST_SLOTS];

			if (!*slot) {
				*slot = (uint8_t)++b->n_groups;
				*g = (struct burst_group){.dst = dst,
							  .first = p,
							  .last = p,
							  .n = 1,
							  .longest = len,
							  .vlan = p->vlan};
				return g;
			}
			if (b->group[*slot - 1].dst == dst && b->group[*slot - 1].vlan == p->vlan) {
				g = &b->group[*slot - 1];
				break;
			}
		}
	}
	burst_append(g, p, len);
	return g;
}

/* All groups were delivered. */
static inline void burst_sorted_out(struct burst *b)
{
	b->n_groups = 0;
	memset(b->slot, 0, sizeof(b->slot));
}

/* True if it is time for burst_run(). */
static inline bool burst_full(const struct burst *b)
{
	return b->chains >= BURST_FULL || b->bytes >= BURST_BYTES || b->looks >= BURST_LOOKS;
}

/* Read, write and give, as above. */
void burst_run(struct worker *w);
/* q, a receive queue, got frames: its driver may want a call; burst_calls() finds out. */
void burst_due(struct worker *w, struct sw_queue *q);
void burst_calls(struct worker *w);
