/* SPDX-License-Identifier: Apache-2.0 */

#include "datapath/builtin/datapath_builtin.h"

#include <stdio.h>
#include <string.h>

#include "fabric/fabric.h"
#include "switch/port.h"
#include "switch/pump.h"
#include "vhost/virtio.h"

struct builtin {
	struct datapath dp;
	struct builtin *next_instance;
	struct fabric_port *fabric_port;
	unsigned int queue_pairs;
	bool open;            /* the fabric's port */
	struct pump *pump;    /* where that is a tap; NULL: a port of the builtin switch */
	struct sw_port *port; /* whose queues workers serve */
	uint64_t features;
	struct datapath_ring *ring[VHOST_USER_MAX_QUEUES]; /* that it has; NULL: not */
	bool told[VHOST_USER_MAX_QUEUES];                  /* that it is broken */
};

/* Workers do not know whose a broken ring is. */
static struct builtin *instances;

static struct builtin *of(struct datapath *dp)
{
	return container_of(dp, struct builtin, dp);
}

static uint64_t do_features(const struct datapath_pref *pref, unsigned int queue_pairs, struct err *err)
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

static uint32_t do_enforces(const struct datapath_pref *pref, uint32_t fabric)
{
	(void)pref;
	return fabric;
}

static int do_open(const struct datapath_open *args, struct datapath **ret, struct err *err)
{
	struct builtin *b = calloc(1, sizeof(*b));

	if (!b)
		return err_set(err, ENOMEM, NULL, "not enough memory");
	b->dp = (struct datapath){.ops = &datapath_builtin, .events = args->events, .ctx = args->ctx};
	b->fabric_port = args->port;
	b->queue_pairs = args->queue_pairs;
	b->next_instance = instances;
	instances = b;
	*ret = &b->dp;
	return 0;
}

static int open_port(struct builtin *b, struct err *err)
{
	const struct fabric_ops *fabric = b->fabric_port->fabric->ops;
	struct fabric_attach attach = {0};
	int r;

	if (b->open)
		return 0;
	r = fabric->port_open(b->fabric_port, b->queue_pairs, &attach, err);
	if (r < 0)
		return r;
	b->port = attach.sw_port;
	if (!b->port) {
		r = pump_new(b->fabric_port->fabric->pool, attach.n_tap, attach.tap_fd, &b->pump);
		if (r < 0) {
			fabric->port_close(b->fabric_port);
			return err_set(err, -r, NULL, "cannot carry frames to %s: %s", attach.tap_name,
				       strerror(-r));
		}
		b->port = pump_port(b->pump);
	}
	b->open = true;
	return 0;
}

static void do_prepare(struct datapath *dp, uint64_t features, struct guest_mem *mem)
{
	struct builtin *b = of(dp);
	struct err err = {0};
	int r;

	(void)mem; /* a ring brings its own */
	b->features = features;
	if (features & ~do_features(NULL, b->queue_pairs, NULL)) {
		dp->events->prepared(dp->ctx, -EOPNOTSUPP,
				     "the driver uses a feature that workers do not know");
		return;
	}
	r = open_port(b, &err);
	dp->events->prepared(dp->ctx, r, r < 0 ? err.text : NULL);
}

static uint32_t pairs(const struct builtin *b)
{
	uint32_t set = 0;

	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
		if (b->ring[i])
			set |= 1u << i / 2;
	return set;
}

static unsigned int receiving(const struct builtin *b)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i += 2)
		n += b->ring[i] != NULL;
	return n;
}

/* After the rings. Frames wait in the tap as long as there is no ring to put them in: one that is stopped and
 * started again, for another memory table or size, loses none. */
static int run_pump(struct builtin *b)
{
	if (!b->pump)
		return 0;
	return receiving(b) ? pump_start(b->pump, b->features, pairs(b)) : pump_set_pairs(b->pump, pairs(b));
}

static int start_ring(struct builtin *b, struct datapath_ring *ring)
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

static void stop_ring(struct builtin *b, struct datapath_ring *ring)
{
	unsigned int index = ring->queue->index;

	port_queue_stop(b->port, index, &ring->avail_idx, &ring->used_idx);
	b->ring[index] = NULL;
}

static void stop_all(struct builtin *b)
{
	if (b->pump)
		pump_stop(b->pump);
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
		if (b->ring[i])
			stop_ring(b, b->ring[i]);
}

static void do_start(struct datapath *dp, struct datapath_ring *rings, unsigned int n)
{
	struct builtin *b = of(dp);
	int r = 0;

	for (unsigned int i = 0; i < n && r >= 0; i++)
		r = start_ring(b, &rings[i]);
	if (r >= 0)
		r = run_pump(b);
	if (r < 0)
		stop_all(b);
	dp->events->started(dp->ctx, r, r < 0 ? strerror(-r) : NULL);
}

static void do_stop(struct datapath *dp)
{
	stop_all(of(dp));
	dp->events->stopped(dp->ctx);
}

static void do_close(struct datapath *dp)
{
	struct builtin **at = &instances, *b;

	if (!dp)
		return;
	b = of(dp);
	while (*at != b)
		at = &(*at)->next_instance;
	*at = b->next_instance;
	stop_all(b);
	pump_free(b->pump);
	if (b->open)
		b->fabric_port->fabric->ops->port_close(b->fabric_port);
	free(b);
}

static void do_ring_enable(struct datapath *dp, unsigned int queue, bool enable)
{
	port_queue_enable(of(dp)->port, queue, enable);
}

static void do_ring_call(struct datapath *dp, unsigned int queue, int callfd)
{
	port_queue_call(of(dp)->port, queue, callfd);
}

static int do_ring_add(struct datapath *dp, struct datapath_ring *ring)
{
	struct builtin *b = of(dp);
	int r = start_ring(b, ring);

	if (r < 0)
		return r;
	r = run_pump(b);
	if (r < 0)
		stop_ring(b, ring);
	return r;
}

static void do_ring_remove(struct datapath *dp, struct datapath_ring *ring)
{
	struct builtin *b = of(dp);

	if (b->pump && ring->queue->index % 2 == 0 && receiving(b) == 1)
		pump_stop(b->pump); /* run_pump() */
	stop_ring(b, ring);
	/* A queue of the tap that stays on too long loses what comes in on it, as the ring's end does anyway.
	 */
	if (b->pump)
		(void)pump_set_pairs(b->pump, pairs(b));
}

const struct datapath_ops datapath_builtin = {
	.name = "builtin",
	.features = do_features,
	.enforces = do_enforces,
	.open = do_open,
	.prepare = do_prepare,
	.start = do_start,
	.stop = do_stop,
	.close = do_close,
	.ring_enable = do_ring_enable,
	.ring_call = do_ring_call,
	.ring_add = do_ring_add,
	.ring_remove = do_ring_remove,
};

static void check_rings(struct builtin *b)
{
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

void datapath_builtin_check_rings(void)
{
	for (struct builtin *b = instances; b; b = b->next_instance)
		check_rings(b);
}
