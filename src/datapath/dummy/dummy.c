/* SPDX-License-Identifier: Apache-2.0 */

#include "datapath/dummy/dummy.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "vhost/virtio.h"

struct datapath_dummy_control datapath_dummy_control;

static struct datapath_dummy *of(struct datapath *dp)
{
	return container_of(dp, struct datapath_dummy, base);
}

void datapath_dummy_reset(void)
{
	assert(!datapath_dummy_control.instances);
	datapath_dummy_control = (struct datapath_dummy_control){
		.features = VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF) |
			    VIRTIO_BIT(VIRTIO_NET_F_MQ),
		.takes = ATTACH_SW_PORT | ATTACH_TAP | ATTACH_SOCKET | ATTACH_VDPA | ATTACH_NETDEV,
		.enforces = CAN_LINK | CAN_ADMIN_MAC | CAN_NO_SPOOFCHK,
	};
}

static const char *name_of(const struct datapath_dummy *d)
{
	return dummy_params_of(&d->pref.params)->name;
}

struct datapath_dummy *datapath_dummy_find(const char *pf, unsigned int fn, const char *name)
{
	struct datapath_dummy *d = datapath_dummy_control.instances;

	while (d && (strcmp(d->open.pf, pf) != 0 || d->open.fn != fn || strcmp(name_of(d), name) != 0))
		d = d->next;
	return d;
}

__attribute__((format(printf, 2, 3))) static void record(const struct datapath_dummy *d, const char *format,
							 ...)
{
	char *log = datapath_dummy_control.log;
	size_t n = strlen(log), size = sizeof(datapath_dummy_control.log);
	va_list args;

	if (name_of(d)[0])
		n += (size_t)snprintf(log + n, size - n, "%s.", name_of(d));
	assert(n < size);
	va_start(args, format);
	n += (size_t)vsnprintf(log + n, size - n, format, args);
	va_end(args);
	assert(n + 1 < size);
	memcpy(log + n, " ", 2);
}

static void own(struct datapath_dummy *d, struct datapath_ring *r)
{
	unsigned int i = r->queue->index;

	assert(i < VHOST_USER_MAX_QUEUES && !d->ring[i]);
	assert(r->queue->features == d->features && r->queue->mem == d->mem);
	d->ring[i] = r;
}

static void disown(struct datapath_dummy *d)
{
	memset(d->ring, 0, sizeof(d->ring));
}

void datapath_dummy_answer(struct datapath_dummy *d, int r)
{
	const struct datapath_events *events = d->base.events;
	const char *why = r < 0 ? "the dummy was told to fail" : NULL;

	switch (d->phase) {
	case DP_DUMMY_PREPARING:
		d->phase = r < 0 ? DP_DUMMY_DEAD : DP_DUMMY_PREPARED;
		events->prepared(d->base.ctx, r, why);
		return;
	case DP_DUMMY_STARTING:
		d->phase = r < 0 ? DP_DUMMY_DEAD : DP_DUMMY_STARTED;
		if (r < 0)
			disown(d);
		events->started(d->base.ctx, r, why);
		return;
	case DP_DUMMY_STOPPING:
		disown(d);
		d->phase = DP_DUMMY_PREPARED;
		events->stopped(d->base.ctx);
		return;
	case DP_DUMMY_IDLE:
	case DP_DUMMY_PREPARED:
	case DP_DUMMY_STARTED:
	case DP_DUMMY_DEAD:
		break;
	}
	assert(!"no answer is due");
}

void datapath_dummy_die(struct datapath_dummy *d, const char *why)
{
	d->phase = DP_DUMMY_DEAD;
	disown(d);
	d->base.events->failed(d->base.ctx, why);
}

static void answer(struct datapath_dummy *d, enum datapath_dummy_op op)
{
	if (!datapath_dummy_control.later[op])
		datapath_dummy_answer(d, datapath_dummy_control.r[op]);
}

static uint32_t op_takes(const struct datapath_pref *pref)
{
	(void)pref;
	return datapath_dummy_control.takes;
}

static uint64_t op_features(const struct datapath_pref *pref, unsigned int queue_pairs, struct err *err)
{
	(void)pref;
	(void)queue_pairs;
	if (!datapath_dummy_control.features)
		err_set(err, ENODEV, "datapaths", "the dummy was told that it is not available");
	return datapath_dummy_control.features;
}

static uint32_t op_enforces(const struct datapath_pref *pref)
{
	(void)pref;
	return datapath_dummy_control.enforces;
}

static int op_open(const struct datapath_open *args, struct datapath **ret, struct err *err)
{
	struct datapath_dummy *d;

	assert(args->event && args->port && args->queue_pairs &&
	       !args->control == (args->fn != VPF_FUNCTION_PF));
	assert(!args->attach == !datapath_dummy_control.takes);
	assert(!args->attach || args->attach->kind & datapath_dummy_control.takes);
	if (datapath_dummy_control.r[DP_DUMMY_OPEN] < 0)
		return err_set(err, -datapath_dummy_control.r[DP_DUMMY_OPEN], NULL,
			       "the dummy was told not to open");
	d = calloc(1, sizeof(*d));
	if (!d)
		return err_set(err, ENOMEM, NULL, "not enough memory for a datapath");
	d->base = (struct datapath){.ops = &datapath_dummy, .events = args->events, .ctx = args->ctx};
	d->open = *args;
	d->pref = *args->pref;
	d->open.pref = &d->pref;
	d->next = datapath_dummy_control.instances;
	datapath_dummy_control.instances = d;
	*ret = &d->base;
	record(d, "open");
	return 0;
}

static void op_prepare(struct datapath *dp, uint64_t features, struct guest_mem *mem)
{
	struct datapath_dummy *d = of(dp);

	assert(d->phase == DP_DUMMY_IDLE || d->phase == DP_DUMMY_PREPARED);
	d->phase = DP_DUMMY_PREPARING;
	d->features = features;
	d->mem = mem;
	record(d, "prepare");
	answer(d, DP_DUMMY_PREPARE);
}

static void op_start(struct datapath *dp, struct datapath_ring *rings, unsigned int n)
{
	struct datapath_dummy *d = of(dp);

	assert(d->phase == DP_DUMMY_PREPARED && n);
	for (unsigned int i = 0; i < n; i++)
		own(d, &rings[i]);
	d->phase = DP_DUMMY_STARTING;
	record(d, "start:%u", n);
	answer(d, DP_DUMMY_START);
}

static void op_stop(struct datapath *dp)
{
	struct datapath_dummy *d = of(dp);

	assert(d->phase == DP_DUMMY_STARTED);
	d->phase = DP_DUMMY_STOPPING;
	record(d, "stop");
	answer(d, DP_DUMMY_STOP);
}

static void op_close(struct datapath *dp)
{
	struct datapath_dummy **at = &datapath_dummy_control.instances, *d;

	if (!dp)
		return;
	d = of(dp);
	while (*at != d)
		at = &(*at)->next;
	*at = d->next;
	record(d, "close");
	free(d);
}

static void op_ring_enable(struct datapath *dp, unsigned int queue, bool enable)
{
	const struct datapath_dummy *d = of(dp);

	assert(d->phase == DP_DUMMY_STARTED && d->ring[queue] && d->ring[queue]->queue->enabled == enable);
	record(d, "%s:%u", enable ? "enable" : "disable", queue);
}

static void op_ring_call(struct datapath *dp, unsigned int queue, int callfd)
{
	const struct datapath_dummy *d = of(dp);

	assert(d->phase == DP_DUMMY_STARTED && d->ring[queue] && d->ring[queue]->queue->callfd == callfd);
	record(d, "call:%u", queue);
}

static void op_set(struct datapath *dp, const struct function_settings *s, const struct rx_filter *filter)
{
	assert(of(dp)->phase == DP_DUMMY_STARTED && s && filter);
	record(of(dp), "set:%u", s->mtu);
}

static int op_ring_add(struct datapath *dp, struct datapath_ring *ring)
{
	assert(of(dp)->phase == DP_DUMMY_STARTED);
	own(of(dp), ring);
	record(of(dp), "add:%u", ring->queue->index);
	return 0;
}

static void op_ring_remove(struct datapath *dp, struct datapath_ring *ring)
{
	struct datapath_dummy *d = of(dp);

	assert(d->phase == DP_DUMMY_STARTED && d->ring[ring->queue->index] == ring);
	d->ring[ring->queue->index] = NULL;
	record(d, "remove:%u", ring->queue->index);
}

static int op_control_send(struct datapath *dp, const uint8_t *frame, size_t len)
{
	assert(of(dp)->phase == DP_DUMMY_STARTED && of(dp)->open.control && frame && len);
	record(of(dp), "control:%zu", len);
	return 0;
}

const struct datapath_ops datapath_dummy = {
	.can_log = true,
	.takes = op_takes,
	.features = op_features,
	.enforces = op_enforces,
	.open = op_open,
	.prepare = op_prepare,
	.start = op_start,
	.stop = op_stop,
	.close = op_close,
	.ring_enable = op_ring_enable,
	.ring_call = op_ring_call,
	.set = op_set,
	.ring_add = op_ring_add,
	.ring_remove = op_ring_remove,
	.control_send = op_control_send,
};
