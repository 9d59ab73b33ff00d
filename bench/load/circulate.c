/* SPDX-License-Identifier: Apache-2.0 */

/* Circulating frames: a port that receives one sends it on to another port at once. A fixed number is in
 * flight, so the switch is never asked for more than it takes, and what is counted has arrived.
 *
 * A switch may lose frames. Time is cut into epochs of 10 ms, and each frame carries the one it was sent in.
 * What has not come back LOST_AGE epochs later counts as lost and is sent again; if it arrives after that, it
 * is not sent on. */

#include <stdio.h>
#include <stdlib.h>

#include "frame.h"
#include "load.h"

#define EPOCH_NS   10000000u
#define LOST_AGE   5
#define GROUP      16 /* ports */
#define LOOK_EVERY 16 /* passes between two looks at the clock */

struct traffic {
	struct load *l;
	bool broadcast;
	const uint32_t *peers; /* n_ports × fanout */
	uint32_t fanout, flow, next_size, next_port;
	uint8_t epoch;
	uint64_t epoch_end;
	uint32_t sent[256], received[256]; /* copies, by epoch */
	int64_t in_flight;
	uint64_t frames, bytes, lost, late, foreign;
	uint64_t looks, empty_looks; /* at a port */
};

static uint32_t *make_peers(const struct load *l, uint32_t fanout)
{
	uint32_t n = l->n_ports, *peers = calloc((size_t)n * fanout, sizeof(*peers)),
		 *order = calloc(n, sizeof(*order));
	uint32_t *step = calloc(n, sizeof(*step));

	if (!peers || !order || !step)
		abort();
	if (l->o.fixed_pairs) {
		for (uint32_t i = 0; i < n; i++)
			peers[i] = i ^ 1;
	} else {
		/* The ports in a random order, around a circle; each sends to those `step` further on, so all
		 * get the same load. */
		srandom(1);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t j = (uint32_t)random() % (i + 1);

			order[i] = order[j];
			order[j] = i;
			if (i) {
				j = 1 + (uint32_t)random() % i;
				step[i] = step[j];
				step[j] = i;
			}
		}
		for (uint32_t i = 0; i < n; i++)
			for (uint32_t k = 0; k < fanout; k++)
				peers[(size_t)order[i] * fanout + k] = order[(i + step[k + 1]) % n];
	}
	free(order);
	free(step);
	return peers;
}

static void transmit(struct traffic *t, struct port *p, uint16_t buf, uint32_t len)
{
	uint8_t *hdr = port_buf(p, buf), *frame = hdr + PORT_HDR;
	uint32_t tag = p->vlan ? 4 : 0, copies = t->broadcast ? t->l->n_ports - 1 : 1;

	memset(hdr, 0, PORT_HDR);
	if (!t->broadcast) {
		uint32_t from = (uint32_t)(p - t->l->ports),
			 to = t->peers[(size_t)from * t->fanout + p->next_peer];

		p->next_peer = p->next_peer + 1 == t->fanout ? 0 : p->next_peer + 1;
		frame_address(frame, t->l->ports[to].mac, p->mac);
	}
	frame_set_flow(frame, tag, t->flow);
	t->flow = t->flow + 1 >= t->l->o.flows ? 0 : t->flow + 1;
	*frame_epoch(frame, tag) = t->epoch;
	t->sent[t->epoch] += copies;
	t->in_flight += copies;
	port_send(p, buf, len);
}

/* New frames, until as many are in flight as there should be. */
static void inject(struct traffic *t)
{
	static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	const struct load_options *o = &t->l->o;
	uint32_t misses = 0;

	while (t->in_flight < o->window && misses < t->l->n_ports) {
		struct port *p = &t->l->ports[t->broadcast ? 0 : t->next_port];
		uint16_t buf;

		t->next_port = t->next_port + 1 == t->l->n_ports ? 0 : t->next_port + 1;
		if (!p->n_free || !p->tx.n_free) {
			port_turn(p);
			misses++;
			continue;
		}
		buf = p->free[--p->n_free];
		frame_make(port_buf(p, buf) + PORT_HDR, o->sizes[t->next_size], everybody, p->mac, p->vlan);
		transmit(t, p, buf, o->sizes[t->next_size]);
		ring_publish(&p->tx);
		t->next_size = t->next_size + 1 == o->n_sizes ? 0 : t->next_size + 1;
	}
}

static void receive(struct traffic *t, struct port *p, uint16_t n)
{
	while (n--) {
		uint32_t len;
		uint16_t buf = ring_take(&p->rx, &len);
		uint8_t *frame = port_buf(p, buf) + PORT_HDR, epoch;

		if (!frame_is_ours(frame) || (!t->broadcast && !frame_is_for(frame, p->mac))) {
			t->foreign++;
			p->free[p->n_free++] = buf;
			continue;
		}
		len -= PORT_HDR;
		t->frames++;
		t->bytes += len;
		epoch = *frame_epoch(frame, frame_tag_len(frame));
		if ((uint8_t)(t->epoch - epoch) >= LOST_AGE) {
			t->late++;
			p->free[p->n_free++] = buf;
			continue;
		}
		t->received[epoch]++;
		t->in_flight--;
		if (t->broadcast || !p->tx.n_free) /* without room, inject() sends it again */
			p->free[p->n_free++] = buf;
		else
			transmit(t, p, buf, len);
	}
	port_turn_lazily(p);
}

/* What several ports received is processed in three rounds, each of which prefetches what the next one reads:
 * with hundreds of ports hardly anything is in the cache. */
static void receive_group(struct traffic *t, struct port *ports, unsigned int n_ports)
{
	uint16_t n[GROUP];
	bool any = false;

	for (unsigned int i = 0; i < n_ports; i++) {
		struct ring *r = &ports[i].rx;

		n[i] = ring_used(r);
		if (n[i] > PORT_BURST)
			n[i] = PORT_BURST;
		if (n[i]) {
			__builtin_prefetch(&r->used->ring[r->used_idx & r->mask]);
			any = true;
		} else {
			t->empty_looks++;
		}
	}
	t->looks += n_ports;
	if (!any)
		return;
	for (unsigned int i = 0; i < n_ports; i++)
		for (uint16_t k = 0; k < n[i]; k++)
			__builtin_prefetch(port_buf(&ports[i], ring_peek(&ports[i].rx, k)), 1);
	for (unsigned int i = 0; i < n_ports; i++)
		if (n[i])
			receive(t, &ports[i], n[i]);
}

static void next_epoch(struct traffic *t)
{
	uint8_t old = (uint8_t)(++t->epoch - LOST_AGE);
	uint32_t lost = t->sent[old] - t->received[old];

	t->epoch_end += EPOCH_NS;
	t->lost += lost;
	t->in_flight -= lost;
	t->sent[old] = t->received[old] = 0;
}

/* Until `end`; returns the actual time. */
static uint64_t run_until(struct traffic *t, uint64_t end)
{
	uint64_t now = now_ns();

	while (now < end) {
		for (unsigned int pass = 0; pass < LOOK_EVERY; pass++) {
			for (unsigned int i = 0; i < t->l->n_ports; i += GROUP) {
				unsigned int left = t->l->n_ports - i;

				receive_group(t, &t->l->ports[i], left < GROUP ? left : GROUP);
			}
			if (t->in_flight < t->l->o.window)
				inject(t);
		}
		now = now_ns();
		while (t->epoch_end <= now)
			next_epoch(t);
	}
	return now;
}

static uint64_t kicks(const struct load *l)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < l->n_ports; i++)
		n += l->ports[i].rx.kicks + l->ports[i].tx.kicks;
	return n;
}

static void run(struct load *l, bool broadcast)
{
	uint32_t fanout = broadcast || l->o.fixed_pairs ? 1
			  : l->o.fanout < l->n_ports    ? l->o.fanout
							: l->n_ports - 1;
	uint32_t *peers = broadcast ? NULL : make_peers(l, fanout);
	struct traffic t = {.l = l, .broadcast = broadcast, .peers = peers, .fanout = fanout};
	uint64_t start, end, kicks_before;

	load_announce(l);
	t.epoch_end = now_ns() + EPOCH_NS;
	start = run_until(&t, now_ns() + (uint64_t)(l->o.warmup * 1e9));
	kicks_before = kicks(l);
	t.frames = t.bytes = t.lost = t.late = t.foreign = t.looks = t.empty_looks = 0;
	do {
		end = run_until(&t, now_ns() + (uint64_t)(l->o.seconds * 1e9));
	} while (!t.frames && end - start < LOAD_PATIENCE_NS);
	printf("{\"seconds\": %.6f, \"frames\": %llu, \"bytes\": %llu, \"lost\": %llu, \"late\": %llu, "
	       "\"foreign\": %llu, \"kicks\": %llu, "
	       "\"idle\": %.4f}\n",
	       (double)(end - start) / 1e9, (unsigned long long)t.frames, (unsigned long long)t.bytes,
	       (unsigned long long)t.lost, (unsigned long long)t.late, (unsigned long long)t.foreign,
	       (unsigned long long)(kicks(l) - kicks_before),
	       t.looks ? (double)t.empty_looks / (double)t.looks : 0.0);
	free(peers);
}

void load_circulate(struct load *l)
{
	run(l, false);
}

void load_broadcast(struct load *l)
{
	run(l, true);
}
