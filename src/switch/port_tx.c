/* SPDX-License-Identifier: Apache-2.0 */

/* From a guest's transmit queue into the switch. */

#include "switch/control_box.h"
#include "switch/switch.h"
#include "switch/worker.h"
#include "vpf/control.h"

/* Bytes that one visit to a queue may have copied, so that a guest that floods large frames to many ports
 * gets no more than its share of the worker. One frame always passes. */
#define VISIT_BYTES (512u << 10)

/* The PF's driver and vpfd talk whatever the state of the link: a control frame is not traffic. */
static int link_down(struct sw_queue *q, struct pkt *p, struct vring_chain *chain)
{
	struct control_box *box = q->port->control;

	if (!box || !pkt_from_chain(p, chain, q->hdr_len) || load_be16(p->head + 12) != VPF_CTL_ETHERTYPE)
		return DROP_LINK_DOWN;
	return control_box_put(box, p);
}

static void drop_all(struct sw_queue *q, struct vring_chain *chains, unsigned int n, struct pkt *scratch,
		     struct port_stats *stats)
{
	for (unsigned int i = 0; i < n; i++) {
		int drop = q->discard ? DROP_RING : link_down(q, scratch, &chains[i]);

		if (drop >= 0)
			stats->tx_drop[drop]++;
	}
}

/* Bytes of the frame, or of its segments once it is cut. */
static uint64_t sent_bytes(const struct pkt *p)
{
	uint32_t payload;

	if (!p->hdr.gso_type || p->len <= p->hdr.hdr_len)
		return p->len;
	payload = p->len - p->hdr.hdr_len;
	return p->len + (uint64_t)((payload - 1) / p->hdr.gso_size) * p->hdr.hdr_len;
}

/* What the queue may send now. False: nothing; it has no frames, or q->resume_at says when. */
static bool may_send(const struct worker *w, struct sw_queue *q, const struct port_conf *conf,
		     struct shaper_grant *ret)
{
	uint64_t at;

	*ret = (struct shaper_grant){.bytes = UINT64_MAX};
	if (q->discard || !conf->link_up)
		return true; /* all of it is dropped */
	if (!vring_has_work(&q->vr)) {
		shaper_rest(&q->port->shaper);
		return false;
	}
	at = shaper_ask(&q->port->shaper, &conf->rate, w->now, ret);
	q->resume_at = at;
	return !at;
}

unsigned int port_take_tx(struct worker *w, struct sw_queue *q)
{
	const struct port_conf *conf = rcu_load(q->port->conf);
	bool limited = conf->rate.limited;
	struct burst *b = &w->burst;
	struct burst_source *s;
	const struct vring_chain *chains;
	unsigned int n, nseg;

	if (unlikely(b->segs > WORKER_SEGS - VRING_MAX_SEGS))
		burst_run(w);
	if (unlikely(limited)) {
		burst_run(w); /* then other queues of this port, or of its PF, have paid */
		if (!may_send(w, q, conf, &b->source[0].grant))
			return 0;
	}
	chains = &w->tx_chains[b->chains];
	n = vring_take(&q->vr, false, &w->tx_chains[b->chains], PKT_BURST, &w->tx_segs[b->segs],
		       WORKER_SEGS - b->segs, &nseg);
	if (!n) {
		if (unlikely(q->vr.broken))
			worker_note(w, &(struct worker_note){0});
		return 0;
	}
	for (unsigned int i = 0; i < n; i++) {
		const struct vring_chain *c = &chains[i];

		b->bytes += c->len;
		__builtin_prefetch(c->seg[0].base);
		__builtin_prefetch(c->seg[0].base + CACHE_LINE);
		if (c->nseg > 1)
			__builtin_prefetch(c->seg[1].base);
	}
	s = &b->source[b->n_sources++];
	s->q = q;
	s->conf = conf;
	s->first = b->chains;
	s->n = n;
	b->chains += n;
	b->segs += nseg;
	if (unlikely(limited))
		burst_run(w);
	return n;
}

void port_read_tx(struct worker *w, struct burst_source *s)
{
	struct sw_queue *q = s->q;
	struct sw_port *port = q->port;
	struct port_stats *stats = &port->stats[w->id];
	const struct port_conf *conf = s->conf;
	struct vring_chain *chains = &w->tx_chains[s->first], *end = chains + s->n;
	struct pkt *pkts = &w->pkts[w->burst.pkts], *p = pkts;
	/* In registers: for the compiler, any store might change the queue. */
	const unsigned int hdr_len = q->hdr_len;
	const bool limited = conf->rate.limited;
	uint64_t bytes = 0, sent = 0;

	if (unlikely(q->discard || !conf->link_up)) {
		drop_all(q, chains, s->n, p, stats);
		return;
	}
	for (struct vring_chain *c = chains; c < end; c++) {
		if (unlikely(bytes > VISIT_BYTES)) {
			vring_untake(&q->vr, c);
			s->n = (unsigned int)(c - chains);
			break;
		}
		if (unlikely((!pkt_from_plain(p, c, hdr_len) && !pkt_from_chain(p, c, hdr_len)) ||
			     !offload_check(p, q->vr.features))) {
			stats->tx_drop[DROP_MALFORMED]++;
			continue;
		}
		bytes += unlikely(p->head[0] & 1) ? (uint64_t)p->len * rcu_load(port->sw->view)->n : p->len;
		if (unlikely(limited)) {
			sent += sent_bytes(p);
			if (sent >= s->grant.bytes)
				bytes = VISIT_BYTES + 1; /* that was the last one */
		}
		p++;
	}
	if (unlikely(sent))
		shaper_spend(&port->shaper, &conf->rate, &s->grant, sent);
	w->burst.pkts += (unsigned int)(p - pkts);
	if (likely(p > pkts))
		sw_sort(w, port, conf, pkts, (unsigned int)(p - pkts));
}
