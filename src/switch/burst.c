/* SPDX-License-Identifier: Apache-2.0 */

#include "switch/burst.h"

#include "switch/port.h"
#include "switch/switch.h"
#include "switch/worker.h"

static void ask_due(struct worker *w)
{
	struct burst *b = &w->burst;

	for (unsigned int i = 0; i < b->n_due; i++) {
		struct sw_queue *q = b->due[i];
		bool call;

		port_rx_lock(w, q);
		call = vring_wants_call(&q->vr);
		port_rx_unlock(w, q);
		if (unlikely(call))
			worker_call(w, q);
	}
	b->n_due = 0;
}

void burst_due(struct worker *w, struct sw_queue *q)
{
	struct burst *b = &w->burst;

	if (unlikely(b->n_due == BURST_DUE))
		burst_calls(w);
	b->due[b->n_due++] = q;
}

void burst_calls(struct worker *w)
{
	vring_call_fence();
	ask_due(w);
}

void burst_run(struct worker *w)
{
	struct burst *b = &w->burst;
	unsigned int frames = 0;

	if (!b->n_sources)
		return;
	for (unsigned int i = 0; i < b->n_sources; i++)
		port_read_tx(w, &b->source[i]);
	sw_output(w);
	for (unsigned int i = 0; i < b->n_sources; i++) {
		const struct burst_source *s = &b->source[i];

		vring_put(&s->q->vr, &w->tx_chains[s->first], s->n);
		frames += s->n;
	}
	vring_call_fence();
	for (unsigned int i = 0; i < b->n_sources; i++)
		if (vring_wants_call(&b->source[i].q->vr))
			worker_call(w, b->source[i].q);
	ask_due(w);
	__atomic_store_n(&w->packets, w->packets + frames, __ATOMIC_RELAXED);
	b->n_sources = b->chains = b->segs = b->pkts = b->looks = 0;
	b->bytes = 0;
}
