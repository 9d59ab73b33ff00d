/* SPDX-License-Identifier: Apache-2.0 */

#include "switch/port.h"

#include <string.h>
#include <sys/eventfd.h>

#include "switch/counter_file.h"
#include "switch/switch.h"
#include "switch/worker.h"

static void *alloc_aligned(size_t size)
{
	void *p;

	size = (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
	p = aligned_alloc(CACHE_LINE, size);
	return p ? memset(p, 0, size) : NULL;
}

int sw_port_new(struct sw *sw, enum port_kind kind, struct port_conf *conf, struct counter_file *counters,
		unsigned int fn, struct sw_port **ret)
{
	static uint64_t last_id;
	struct sw_port *port = alloc_aligned(sizeof(*port));

	if (!port)
		return -ENOMEM;
	if (counters) {
		port->base = counter_file_base(counters, fn);
		port->stats = counter_file_stats(counters, fn);
	} else {
		port->stats = alloc_aligned(sizeof(*port->stats) * sw->workers);
	}
	if (!port->stats) {
		free(port);
		return -ENOMEM;
	}
	port->sw = sw;
	port->kind = kind;
	port->conf = conf;
	port->id = ++last_id;
	*ret = port;
	return 0;
}

void sw_port_free(struct sw_port *port)
{
	if (!port)
		return;
	if (!port->base)
		free(port->stats);
	free(port->conf);
	free(port);
}

/* Publishes the set of started and enabled receive queues. */
static int publish_rx(struct sw_port *port)
{
	struct rx_set *set = calloc(1, sizeof(*set) + VHOST_USER_MAX_QUEUE_PAIRS * sizeof(set->q[0])), *old;

	if (!set)
		return -ENOMEM;
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i += 2)
		if (port->queue[i] && !port->queue[i]->discard)
			set->q[set->n++] = port->queue[i];
	if (!set->n) {
		free(set);
		set = NULL;
	}
	old = rcu_xchg_pointer(&port->rx, set);
	urcu_qsbr_synchronize_rcu();
	free(old);
	return 0;
}

static void start_tx(struct worker *w, void *arg)
{
	struct sw_queue *q = arg;

	if (q->kickfd >= 0)
		/* This can fail only for lack of kernel memory; then the queue stays active and is polled. */
		if (worker_watch(w, q->kickfd, &q->source) < 0)
			q->kickfd = -1;
	(void)worker_activate(w, q); /* buffers may be waiting */
}

static void stop_tx(struct worker *w, void *arg)
{
	struct sw_queue *q = arg;

	worker_flush_calls(w);
	worker_deactivate(w, q);
	if (q->kickfd >= 0)
		worker_unwatch(w, q->kickfd);
}

int port_queue_start(struct sw_port *port, const struct vhost_queue *vq)
{
	bool rx = vq->index % 2 == 0;
	struct sw_queue *q;
	int r;

	if (vq->index >= VHOST_USER_MAX_QUEUES || port->queue[vq->index])
		return -EINVAL;
	q = alloc_aligned(sizeof(*q));
	if (!q)
		return -ENOMEM;
	vring_start(&q->vr, vq);
	q->port = port;
	q->index = vq->index;
	q->source.kind = POLL_QUEUE;
	q->kickfd = vq->kickfd;
	q->discard = !vq->enabled;
	q->mergeable = virtio_has(vq->features, VIRTIO_NET_F_MRG_RXBUF);
	q->hdr_len = q->mergeable || virtio_has(vq->features, VIRTIO_F_VERSION_1)
			     ? sizeof(struct virtio_net_hdr_mrg_rxbuf)
			     : sizeof(struct virtio_net_hdr);
	port->queue[vq->index] = q;
	if (rx) {
		vring_kick_disable(&q->vr); /* looked at when there is a frame for it */
		r = publish_rx(port);
		if (r < 0) {
			port->queue[vq->index] = NULL;
			free(q);
			return r;
		}
	} else {
		q->worker = worker_pool_pick(port->sw->pool);
		q->worker->queues++;
		worker_run(q->worker, start_tx, q);
	}
	return 0;
}

/* Waits until no worker holds a receive queue that is no longer published. Without memory for a smaller set
 * the whole set is withdrawn: the port then drops frames until the next change. */
static void withdraw_rx(struct sw_port *port)
{
	if (publish_rx(port) < 0) {
		struct rx_set *old = rcu_xchg_pointer(&port->rx, NULL);

		urcu_qsbr_synchronize_rcu();
		free(old);
	}
}

void port_queue_stop(struct sw_port *port, unsigned int index, uint16_t *ret_avail_idx,
		     uint16_t *ret_used_idx)
{
	struct sw_queue *q = port->queue[index];

	port->queue[index] = NULL;
	if (index % 2 == 0) {
		withdraw_rx(port);
	} else {
		worker_run(q->worker, stop_tx, q);
		q->worker->queues--;
	}
	vring_position(&q->vr, ret_avail_idx, ret_used_idx);
	free(q);
}

static void enable_tx(struct worker *w, void *arg)
{
	struct sw_queue *q = arg;

	q->discard = false;
	(void)worker_activate(w, q);
}

static void disable_tx(struct worker *w, void *arg)
{
	struct sw_queue *q = arg;

	q->discard = true;
	worker_resume(w, q); /* what is in it is discarded now */
}

void port_queue_enable(struct sw_port *port, unsigned int index, bool enable)
{
	struct sw_queue *q = port->queue[index];

	if (!q)
		return;
	if (index % 2) {
		worker_run(q->worker, enable ? enable_tx : disable_tx, q);
	} else {
		q->discard = !enable;
		withdraw_rx(port);
	}
}

void port_queue_call(struct sw_port *port, unsigned int index, int callfd)
{
	struct sw_queue *q = port->queue[index];

	if (!q)
		return;
	__atomic_store_n(&q->vr.callfd, callfd, __ATOMIC_RELEASE);
	urcu_qsbr_synchronize_rcu(); /* calls through the old one have been made: it may be closed */
	/* What completed in between may have been signalled on neither. */
	vring_call(&q->vr);
}

void port_get_stats(const struct sw_port *port, struct port_stats *ret)
{
	if (port->base)
		*ret = *port->base;
	else
		memset(ret, 0, sizeof(*ret));
	for (unsigned int w = 0; w < port->sw->workers; w++)
		port_stats_add(ret, &port->stats[w]);
}
