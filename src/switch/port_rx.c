/* SPDX-License-Identifier: Apache-2.0 */

/* From the switch into a guest's receive queues: the one copy. */

#include "switch/switch.h"
#include "switch/worker.h"

#include <sched.h>

/* A burst's view of one receive queue: chains taken so far, in order; [0, next) are filled. */
struct rx_cursor {
	struct worker *w;
	struct sw_queue *q;
	struct port_stats *stats;
	unsigned int n, next, nseg;
	unsigned int want; /* how many to take at once, at least */
	bool tag;
	bool due;                /* buffers were given back */
	uint64_t packets, bytes; /* for the counters */
};

void port_rx_lock_slow(struct sw_queue *q)
{
	while (__atomic_exchange_n(&q->lock, 1, __ATOMIC_ACQUIRE)) {
		unsigned int spins = 0;

		while (__atomic_load_n(&q->lock, __ATOMIC_RELAXED)) {
			/* The holder may be preempted: with more workers than CPUs, spinning would stall
			 * everything. */
			if (++spins > 1000) {
				sched_yield();
				spins = 0;
			}
			__builtin_ia32_pause();
		}
	}
}

/* One more chain at the end; NULL if the ring has none. */
static inline bool rx_more(struct rx_cursor *c, unsigned int want)
{
	struct worker *w = c->w;
	unsigned int got, nseg, room = VRING_MAX_CHAIN - c->n;

	if (!room)
		return false;
	got = vring_take(&c->q->vr, true, &w->rx_chains[c->n], MIN(want, room), &w->rx_segs[c->nseg],
			 WORKER_SEGS - c->nseg, &nseg);
	/* The buffers' lines are in the guest's cache: prefetch all of them while the first ones are being
	 * filled. */
	for (unsigned int i = 0; i < got; i++) {
		const uint8_t *base = w->rx_chains[c->n + i].seg[0].base;

		prefetch_write(base);
		prefetch_write(base + CACHE_LINE);
	}
	c->n += got;
	c->nseg += nseg;
	return got > 0;
}

/* Gives back what is filled and returns the rest to the ring, to make room for more. */
static void rx_flush(struct rx_cursor *c)
{
	struct virtq *vr = &c->q->vr;

	if (c->next < c->n)
		vring_untake(vr, &c->w->rx_chains[c->next]);
	if (c->next) {
		vring_put(vr, c->w->rx_chains, c->next);
		c->due = true;
	}
	c->n = c->next = c->nseg = 0;
}

/* Where bytes go: walks the segments of chains [chain, …). */
struct rx_out {
	struct vring_chain *chain;
	unsigned int seg;
	uint32_t off, room; /* room: what is left of the current segment */
};

static inline void out_open(struct rx_out *o)
{
	while (o->seg == o->chain->nseg) {
		o->chain++;
		o->seg = 0;
	}
	o->off = 0;
	o->room = o->chain->seg[o->seg].len;
}

static void out_copy(struct rx_out *o, const uint8_t *from, uint32_t n)
{
	while (n) {
		uint32_t part;

		if (!o->room) {
			o->seg++;
			out_open(o);
		}
		part = MIN(n, o->room);
		copy_bulk(o->chain->seg[o->seg].base + o->off, from, part);
		o->off += part;
		o->room -= part;
		from += part;
		n -= part;
	}
}

/* The header of a frame with offloads. */
static void make_hdr(struct virtio_net_hdr_mrg_rxbuf *h, const struct pkt *p, uint64_t features,
		     unsigned int tag, unsigned int buffers)
{
	h->hdr = p->hdr;
	h->num_buffers = (uint16_t)buffers;
	if (!virtio_has(features, VIRTIO_NET_F_GUEST_CSUM))
		h->hdr.flags &= (uint8_t)~VIRTIO_NET_HDR_F_DATA_VALID;
	if (h->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		h->hdr.csum_start = (uint16_t)(h->hdr.csum_start + tag);
	if (h->hdr.gso_type)
		h->hdr.hdr_len = (uint16_t)(h->hdr.hdr_len + tag);
}

/* Writes the header, `hdr_len` bytes of it. A plain one is built in registers: if it were built in memory and
 * copied, its last load would have to wait for all earlier stores to the guest. */
static inline void put_hdr(uint8_t *to, unsigned int hdr_len, const struct pkt *p, uint64_t features,
			   unsigned int tag, unsigned int buffers)
{
	struct virtio_net_hdr_mrg_rxbuf hdr;

	if (likely(!(p->hdr.flags | p->hdr.gso_type))) {
		uint64_t zero = 0;
		uint32_t tail = buffers << 16; /* csum_offset, num_buffers */

		memcpy(to, &zero, sizeof(zero));
		if (likely(hdr_len == sizeof(hdr)))
			memcpy(to + 8, &tail, 4);
		else
			memcpy(to + 8, &tail, 2);
		return;
	}
	make_hdr(&hdr, p, features, tag, buffers);
	memcpy(to, &hdr, hdr_len);
}

/* The header, followed by the frame's head, where both fit: returns the first byte after them. */
static inline uint8_t *put_head(uint8_t *to, unsigned int hdr_len, uint64_t features, const struct pkt *p,
				unsigned int tag, unsigned int buffers)
{
	put_hdr(to, hdr_len, p, features, tag, buffers);
	to += hdr_len;
	if (likely(!tag)) {
		copy_small(to, p->head, p->head_len);
	} else {
		memcpy(to, p->head, 12);
		pkt_put_tag(p, to + 12);
		copy_small(to + 16, p->head + 12, p->head_len - 12u);
	}
	return to + p->head_len + tag;
}

/* Copies frames of the usual kind, up to *n from p on: all of a frame goes into the first piece of one
 * buffer, which is already taken. It keeps what it needs of the cursor in registers, because for the compiler
 * any store to a buffer might change the cursor. Returns the first frame that it did not copy; *n: how many
 * are left. */
static inline struct pkt *rx_plain(struct rx_cursor *c, struct pkt *p, unsigned int *n)
{
	struct vring_chain *first = &c->w->rx_chains[c->next], *chain = first, *end;
	const unsigned int hdr_len = c->q->hdr_len, tag = c->tag ? PKT_TAG_LEN : 0;
	const uint64_t features = c->q->vr.features;
	uint64_t bytes = 0;

	for (end = first + MIN(*n, c->n - c->next); chain < end; chain++, p = p->next) {
		uint32_t need = hdr_len + p->len + tag;
		uint8_t *to;

		if (unlikely(!offload_taken(p, features) || p->nseg > 1 || chain->seg[0].len < need))
			break;
		to = put_head(chain->seg[0].base, hdr_len, features, p, tag, 1);
		if (p->nseg)
			copy_bulk(to, p->seg[0].base, p->seg[0].len);
		chain->written = need;
		bytes += p->len + tag;
		port_count_group(c->stats, p);
	}
	*n -= (unsigned int)(chain - first);
	c->next += (unsigned int)(chain - first);
	c->packets += (unsigned int)(chain - first);
	c->bytes += bytes;
	return p;
}

/* How many more buffers `left` bytes may need, if all are like the last one. Taken one by one, each would
 * cost a look at the ring, and their cache misses would not overlap. */
static inline unsigned int rx_guess(const struct rx_cursor *c, uint32_t left)
{
	return c->n ? (left - 1) / c->w->rx_chains[c->n - 1].len + 1 : c->want;
}

/* Takes buffers until there are enough for `need` bytes from c->next on: their number goes into the header,
 * and half a frame is of no use. Returns the number; 0 if the frame is dropped. */
static unsigned int rx_room(struct rx_cursor *c, uint32_t need)
{
	unsigned int first = c->next, k = 0;
	uint32_t have = 0;

	do {
		if (first + k == c->n && !rx_more(c, MAX(c->want, rx_guess(c, need - have)))) {
			/* The burst may have no room left, rather than the ring. */
			if (first && vring_has_work(&c->q->vr)) {
				rx_flush(c);
				first = k = have = 0;
				continue;
			}
			c->stats->rx_drop[c->q->vr.broken ? DROP_RING : DROP_NO_BUFFER]++;
			return 0;
		}
		have += c->w->rx_chains[first + k++].len;
		if (!c->q->mergeable && have < need) {
			c->stats->rx_drop[DROP_TOO_BIG]++;
			return 0;
		}
	} while (have < need);
	return k;
}

/* Copies any frame, into as many buffers as it needs, in any number of pieces. */
static void rx_pieces(struct rx_cursor *c, const struct pkt *p)
{
	unsigned int tag = c->tag ? PKT_TAG_LEN : 0, k;
	uint32_t need = c->q->hdr_len + p->len + tag, left;
	uint32_t start = c->q->hdr_len + p->head_len + tag;
	struct vring_chain *chain;
	struct rx_out o;

	k = rx_room(c, need);
	if (unlikely(!k))
		return;
	chain = &c->w->rx_chains[c->next];
	o = (struct rx_out){.chain = chain};
	out_open(&o);
	if (likely(o.room >= start)) {
		put_head(chain->seg[0].base, c->q->hdr_len, c->q->vr.features, p, tag, k);
		o.off = start;
		o.room -= start;
	} else {
		uint8_t hdr[sizeof(struct virtio_net_hdr_mrg_rxbuf)], t[PKT_TAG_LEN];

		put_hdr(hdr, c->q->hdr_len, p, c->q->vr.features, tag, k);
		out_copy(&o, hdr, c->q->hdr_len);
		out_copy(&o, p->head, 12);
		if (tag) {
			pkt_put_tag(p, t);
			out_copy(&o, t, sizeof(t));
		}
		out_copy(&o, p->head + 12, p->head_len - 12u);
	}
	for (unsigned int i = 0; i < p->nseg; i++)
		out_copy(&o, p->seg[i].base, p->seg[i].len);

	for (left = need; k; k--, chain++, c->next++) {
		chain->written = MIN(left, chain->len);
		left -= chain->written;
	}
	c->packets++;
	c->bytes += p->len + tag;
	port_count_group(c->stats, p);
}

/* Copies one frame, of any kind. */
static void rx_emit(void *arg, struct pkt *p)
{
	unsigned int n = 1;

	rx_plain(arg, p, &n);
	if (n)
		rx_pieces(arg, p);
}

/* Gives n frames to one queue; returns the one after them. */
static struct pkt *deliver_run(struct worker *w, struct sw_queue *q, struct port_stats *stats, struct pkt *p,
			       unsigned int n, bool tag)
{
	struct rx_cursor c = {.w = w, .q = q, .stats = stats, .want = n, .tag = tag};

	port_rx_lock(w, q);
	(void)rx_more(&c, n);
	while ((p = rx_plain(&c, p, &n)), n) {
		if (offload_taken(p, q->vr.features)) {
			rx_pieces(&c, p);
		} else {
			if (p->hdr.gso_type)
				c.stats->sw_segmented++;
			else
				c.stats->sw_checksum++;
			offload_finish(p, q->vr.features, &w->offload, rx_emit, &c);
		}
		n--;
		p = p->next;
	}
	rx_flush(&c);
	stats->rx_packets += c.packets;
	stats->rx_bytes += c.bytes;
	if (unlikely(q->vr.broken))
		worker_note(w, &(struct worker_note){0});
	port_rx_unlock(w, q);
	if (likely(c.due))
		burst_due(w, q);
	return p;
}

/* Spreads flows over a receiver's queues; the frames of a flow stay in one. */
static uint32_t flow_hash(const struct pkt *p)
{
	const uint8_t *h = p->head;
	uint64_t x = mac_load(h + 6);

	if (load_be16(h + 12) == 0x0800 && p->head_len >= 38) {
		uint64_t addrs;
		uint32_t ports = 0;

		memcpy(&addrs, h + 26, 8);
		/* A fragment has no ports, and its flow must not be split: leave them out. */
		if ((h[23] == 6 || h[23] == 17) && (h[14] & 15) == 5 && !(load_be16(h + 20) & 0x3fff))
			memcpy(&ports, h + 34, 4);
		x = addrs ^ (uint64_t)ports << 16 ^ h[23];
	} else if (load_be16(h + 12) == 0x86dd && p->head_len >= 58) {
		uint64_t a[4];
		uint32_t ports = 0;

		memcpy(a, h + 22, 32);
		if (h[20] == 6 || h[20] == 17)
			memcpy(&ports, h + 54, 4);
		x = a[0] ^ a[1] * 3 ^ a[2] * 5 ^ a[3] * 7 ^ (uint64_t)ports << 16;
	}
	return (uint32_t)((x * 0x9e3779b97f4a7c15ULL) >> 32);
}

void port_deliver(struct worker *w, struct sw_port *port, struct pkt *p, unsigned int n, bool tag)
{
	struct port_stats *stats = &port->stats[w->id];
	const struct rx_set *rx = rcu_load(port->rx);

	if (unlikely(!rx)) {
		stats->rx_drop[DROP_LINK_DOWN] += n;
		return;
	}
	if (likely(rx->n == 1)) {
		deliver_run(w, rx->q[0], stats, p, n, tag);
		return;
	}
	while (n) {
		unsigned int qi = (unsigned int)((uint64_t)flow_hash(p) * rx->n >> 32), k = 1;

		for (const struct pkt *end = p->next; k < n; k++, end = end->next)
			if ((unsigned int)((uint64_t)flow_hash(end) * rx->n >> 32) != qi)
				break;
		p = deliver_run(w, rx->q[qi], stats, p, k, tag);
		n -= k;
	}
}

int port_deliver_control(struct worker *w, struct sw_port *port, struct pkt *p)
{
	const struct rx_set *rx = rcu_load(port->rx);
	/* The counters are for the guest's own traffic: of these frames, only the outcome matters. */
	struct port_stats outcome = {0};

	if (!rx)
		return -ENOTCONN;
	deliver_run(w, rx->q[0], &outcome, p, 1, false);
	burst_calls(w);
	if (outcome.rx_packets)
		return 0;
	return outcome.rx_drop[DROP_RING] ? -ENOTCONN : -EAGAIN;
}

/* Each stage reads what the one before it fetched, and all fetches of a stage are in flight together. Worth
 * it where a burst goes to many ports: between two, the lines are already there. */
void port_hint_rx(const struct burst_group *groups, unsigned int n)
{
	const struct sw_queue *q[BURST_ROOM];
	unsigned int k = 0;

	for (unsigned int i = 0; i < n; i++) {
		const struct rx_set *rx;

		if (groups[i].dst->kind != PORT_FUNCTION)
			continue;
		rx = rcu_load(groups[i].dst->rx);
		if (!rx)
			continue;
		q[k] = rx->q[0];
		__builtin_prefetch(&q[k]->vr);
		__builtin_prefetch((const char *)&q[k]->vr + CACHE_LINE);
		k++;
	}
	for (unsigned int i = 0; i < k; i++) {
		vring_hint_indices(&q[i]->vr);
		vring_hint_used(&q[i]->vr);
	}
	for (unsigned int i = 0; i < k; i++)
		vring_hint_desc(&q[i]->vr);
	for (unsigned int i = 0; i < k; i++)
		vring_hint_buffer(&q[i]->vr);
}
