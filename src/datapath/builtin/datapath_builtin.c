/* SPDX-License-Identifier: Apache-2.0 */

/* The builtin datapath: vpfd's own workers serve the rings, and carry the frames to the function's fabric: the
 * builtin switch, or the tap that is its port on another fabric. It serves split and packed rings, and all calls are
 * answered before they return. */

#include <stdio.h>
#include <string.h>

#include "datapath/datapath.h"
#include "switch/control_box.h"
#include "switch/port.h"
#include "switch/pump.h"
#include "switch/switch.h"
#include "switch/worker.h"
#include "vhost/virtio.h"

struct dp_builtin {
	struct datapath dp;
	struct datapath_open open;
	struct pump *pump;    /* where that is a tap; NULL: a port of the builtin switch */
	struct sw_port *port; /* whose queues workers serve */
	uint64_t features;
	struct datapath_ring *ring[VHOST_USER_MAX_QUEUES]; /* that it has; NULL: not */
	bool told[VHOST_USER_MAX_QUEUES];                  /* that it is broken */
};

static struct dp_builtin *of(struct datapath *dp)
{
	return container_of(dp, struct dp_builtin, dp);
}

static uint64_t op_features(const struct datapath_pref *pref, unsigned int queue_pairs, struct err *err)
{
	const uint64_t ring = VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_RING_PACKED) |
			      VIRTIO_BIT(VIRTIO_F_IN_ORDER) | VIRTIO_BIT(VIRTIO_F_ANY_LAYOUT) |
			      VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) |
			      VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF);

	(void)pref;
	(void)err;
	return ring | VIRTIO_NET_OFFLOADS | VIRTIO_NET_OFFLOADS_USO | VIRTIO_NET_FRONT_FEATURES |
	       (queue_pairs > 1 ? VIRTIO_BIT(VIRTIO_NET_F_MQ) : 0);
}

static uint32_t op_takes(const struct datapath_pref *pref)
{
	(void)pref;
	return ATTACH_SW_PORT | ATTACH_TAP;
}

static int op_open(const struct datapath_open *args, struct datapath **ret, struct err *err)
{
	struct dp_builtin *b = calloc(1, sizeof(*b));

	if (!b)
		return err_set(err, ENOMEM, NULL, "not enough memory");
	b->dp = (struct datapath){.ops = &datapath_builtin, .events = args->events, .ctx = args->ctx};
	b->open = *args;
	*ret = &b->dp;
	return 0;
}

/* Which port of which switch serves the queues. */
static int find_port(struct dp_builtin *b, struct err *err)
{
	const struct fabric_attach *attach = b->open.attach;
	int r;

	if (b->port)
		return 0;
	if (attach->kind == ATTACH_SW_PORT) {
		b->port = attach->sw_port;
	} else {
		r = pump_new(b->open.pool, attach->tap.n, attach->tap.fd, &b->pump);
		if (r < 0)
			return err_set(err, -r, NULL, "cannot carry frames to %s: %s", attach->tap.name,
				       strerror(-r));
		b->port = pump_port(b->pump);
	}
	b->port->control = b->open.control; /* no queue is started yet */
	return 0;
}

static void op_prepare(struct datapath *dp, uint64_t features, struct guest_mem *mem)
{
	struct dp_builtin *b = of(dp);
	struct err err = {0};
	int r;

	(void)mem; /* a ring brings its own */
	b->features = features;
	if (features & ~op_features(NULL, b->open.queue_pairs, NULL)) {
		dp->events->prepared(dp->ctx, -EOPNOTSUPP,
				     "the driver uses a feature that workers do not support");
		return;
	}
	r = find_port(b, &err);
	dp->events->prepared(dp->ctx, r, r < 0 ? err.text : NULL);
}

static uint32_t pairs(const struct dp_builtin *b)
{
	uint32_t set = 0;

	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
		if (b->ring[i])
			set |= 1u << i / 2;
	return set;
}

static unsigned int receiving(const struct dp_builtin *b)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i += 2)
		n += b->ring[i] != NULL;
	return n;
}

/* After the rings. Frames wait in the tap as long as there is no ring to put them in: one that is stopped and
 * started again, for another memory table or size, loses none. */
static int run_pump(struct dp_builtin *b)
{
	if (!b->pump)
		return 0;
	return receiving(b) ? pump_start(b->pump, b->features, pairs(b)) : pump_set_pairs(b->pump, pairs(b));
}

static int start_ring(struct dp_builtin *b, struct datapath_ring *ring)
{
	struct vhost_queue q = *ring->queue;
	int r;

	q.avail_idx = ring->avail_idx;
	q.used_idx = ring->used_idx;
	r = port_queue_start(b->port, &q);
	if (r < 0)
		return r;
	b->ring[q.index] = ring;
	b->told[q.index] = false;
	return 0;
}

static void stop_ring(struct dp_builtin *b, struct datapath_ring *ring)
{
	unsigned int index = ring->queue->index;

	port_queue_stop(b->port, index, &ring->avail_idx, &ring->used_idx);
	b->ring[index] = NULL;
}

static void stop_all(struct dp_builtin *b)
{
	if (b->pump)
		pump_stop(b->pump);
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
		if (b->ring[i])
			stop_ring(b, b->ring[i]);
}

static void op_start(struct datapath *dp, struct datapath_ring *rings, unsigned int n)
{
	struct dp_builtin *b = of(dp);
	int r = 0;

	for (unsigned int i = 0; i < n && r >= 0; i++)
		r = start_ring(b, &rings[i]);
	if (r >= 0)
		r = run_pump(b);
	if (r < 0)
		stop_all(b);
	dp->events->started(dp->ctx, r, r < 0 ? strerror(-r) : NULL);
}

static void op_stop(struct datapath *dp)
{
	stop_all(of(dp));
	dp->events->stopped(dp->ctx);
}

static void op_close(struct datapath *dp)
{
	struct dp_builtin *b;

	if (!dp)
		return;
	b = of(dp);
	stop_all(b);
	pump_free(b->pump);
	free(b);
}

static void op_ring_enable(struct datapath *dp, unsigned int queue, bool enable)
{
	port_queue_enable(of(dp)->port, queue, enable);
}

static void op_ring_call(struct datapath *dp, unsigned int queue, int callfd)
{
	port_queue_call(of(dp)->port, queue, callfd);
}

static int op_ring_add(struct datapath *dp, struct datapath_ring *ring)
{
	struct dp_builtin *b = of(dp);
	int r = start_ring(b, ring);

	if (r < 0)
		return r;
	r = run_pump(b);
	if (r < 0)
		stop_ring(b, ring);
	return r;
}

static void op_ring_remove(struct datapath *dp, struct datapath_ring *ring)
{
	struct dp_builtin *b = of(dp);

	if (b->pump && ring->queue->index % 2 == 0 && receiving(b) == 1)
		pump_stop(b->pump); /* run_pump() */
	stop_ring(b, ring);
	/* A queue of the tap that stays enabled too long loses the frames that arrive on it, as the end of the ring
	 * does anyway.
	 */
	if (b->pump)
		(void)pump_set_pairs(b->pump, pairs(b));
}

static void op_check_rings(struct datapath *dp)
{
	struct dp_builtin *b = of(dp);

	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++) {
		struct sw_queue *q = b->ring[i] ? b->port->queue[i] : NULL;
		const char *why = q ? __atomic_load_n(&q->vr.broken, __ATOMIC_ACQUIRE) : NULL;

		if (!why || b->told[i])
			continue;
		b->told[i] = true;
		b->port->stats[0].ring_errors++; /* the queue's worker is out of it; see port_get_stats() */
		b->dp.events->ring_error(b->dp.ctx, i, why);
	}
}

struct control_frame {
	struct sw_port *port;
	uint8_t *data;
	uint32_t len;
	int result;
};

static void send_control(struct worker *w, void *arg)
{
	struct control_frame *c = arg;
	struct vring_seg seg;
	struct pkt *p = &w->pkts[0];

	p->hdr = (struct virtio_net_hdr){0};
	p->vlan = 0;
	pkt_from_buffer(p, &seg, c->data, c->len);
	c->result = port_deliver_control(w, c->port, p);
	worker_flush_calls(w);
}

static int op_control_send(struct datapath *dp, const uint8_t *frame, size_t len)
{
	struct dp_builtin *b = of(dp);
	uint8_t data[CONTROL_BOX_LEN];
	struct control_frame c = {.port = b->port, .data = data, .len = (uint32_t)len};

	if (len < PKT_ETH_LEN || len > sizeof(data))
		return -EINVAL;
	memcpy(data, frame, len);
	/* A queue that does not exist can be detected without a worker. */
	if (!c.port || !c.port->rx)
		return -ENOTCONN;
	worker_run(worker_pool_pick(c.port->sw->pool), send_control, &c);
	return c.result;
}

const struct datapath_ops datapath_builtin = {
	.can_log = true,
	.takes = op_takes,
	.features = op_features,
	.open = op_open,
	.prepare = op_prepare,
	.start = op_start,
	.stop = op_stop,
	.close = op_close,
	.ring_enable = op_ring_enable,
	.ring_call = op_ring_call,
	.ring_add = op_ring_add,
	.ring_remove = op_ring_remove,
	.check_rings = op_check_rings,
	.control_send = op_control_send,
};
