/* SPDX-License-Identifier: Apache-2.0 */

/* Another back-end (testpmd, Open vSwitch with DPDK, VPP) serves the rings, and vpfd is its front-end: it passes on
 * guest memory, ring addresses, kick and call descriptors, and then takes no part in the traffic.
 *
 * Theory of operation. A connection is greeted once (features, protocol features, limits), then told features
 * and memory by every prepare that changes them, and the rings by start. Requests are sent without waiting for
 * one another; a step is done when all requests have been answered. A back-end without acknowledgements is asked for
 * its features again at the end of a step: once it answers, it has read everything before that. Each step's requests
 * have the step's deadline, which is shorter than the broker's limit, so that the reported reason names the missing
 * answer.
 *
 *	state      the connection ends
 *	PREPARING  closed by the back-end: reconnect while there is time (a server that is just restarting, another
 *	           client at our socket); anything else: prepared(error)
 *	PREPARED   failed()
 *	STARTING   started(error)
 *	STARTED    failed()
 *	STOPPING   stopped(), and then failed()
 *
 * Positions. Split rings only: the position of a stopped one is its used index in guest memory. The back-end's answer
 * to GET_VRING_BASE means that it has stopped; its number is only checked against the used index: the back-end may
 * have taken up to a ring's size of descriptors beyond that (they are taken again); any other number is not trusted.
 *
 * What vpfd cannot prevent: a back-end that neither answers nor exits (it is being debugged, or is suspended) may
 * still have guest memory mapped when the rings have moved elsewhere, and write to them before it notices that its
 * connection is gone. The same is true of any front-end's back-end. */

#include "datapath/vhost_user/datapath_vhost_user.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "datapath/vhost_user/params.h"
#include "fabric/fabric.h"
#include "util/clock.h"

/* The part of the broker's limits that is used; the rest is for delivering the answer. */
#define LIMIT(us) ((us) / 10 * 9)

/* A running back-end connects at once, and one that is restarting does so soon; while we wait, the next in the list
 * could serve. Back-ends that connect to a socket of ours retry once a second, so they get the full time. */
#define CONNECT_US 1000000
#define ANSWER_US  1000000 /* to changes while started */

static void arm(sd_event_source *timer, uint64_t when)
{
	sd_event_source_set_time(timer, when);
	sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

/* The rings are the broker's again. */
static void give_back(struct vu_dp *d)
{
	for (unsigned int i = 0; i < d->n; i++) {
		struct datapath_ring *r = &d->rings[i];

		r->avail_idx = r->used_idx = vhost_queue_used_idx(r->queue);
		d->ring[i].source = sd_event_source_disable_unref(d->ring[i].source);
		close_fd(&d->ring[i].errfd);
	}
	d->rings = NULL;
	d->n = 0;
}

static void drop_connection(struct vu_dp *d)
{
	vu_front_free(steal_ptr(&d->front));
	vu_dp_forget(d);
}

/* No connection, and no further attempts. Calls back: must come last. */
static void unreachable(struct vu_dp *d)
{
	char why[160];
	int r = -ECONNRESET;

	if (*d->why)
		memcpy(why, d->why, sizeof(why));
	else
		r = vu_reach_why(d->reach, why, sizeof(why));
	d->state = VU_DP_DEAD;
	d->base.events->prepared(d->base.ctx, r, why);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct vu_dp *d = userdata;

	(void)source;
	(void)usec;
	if (d->state == VU_DP_PREPARING && !d->front)
		unreachable(d);
	return 0;
}

static int on_doom(sd_event_source *source, void *userdata)
{
	struct vu_dp *d = userdata;
	char why[sizeof(d->why)];

	(void)source;
	memcpy(why, d->why, sizeof(why)); /* it may be freed from the callback */
	d->base.events->failed(d->base.ctx, why);
	return 0;
}

static void seek_connection(struct vu_dp *d)
{
	arm(d->timer, d->server ? d->deadline : MIN(d->deadline, clock_us() + CONNECT_US));
}

static void on_closed(void *ctx, int r, const char *why)
{
	struct vu_dp *d = ctx;
	const struct datapath_events *events = d->base.events;
	enum vu_dp_state state = d->state;

	drop_connection(d);
	snprintf(d->why, sizeof(d->why), "%s", why);
	if (state == VU_DP_PREPARING && r == -ECONNRESET && clock_us() < d->deadline) {
		seek_connection(d);
		vu_reach_again(d->reach);
		return;
	}
	d->state = VU_DP_DEAD;
	give_back(d);
	switch (state) {
	case VU_DP_PREPARING:
		events->prepared(d->base.ctx, r, why);
		break;
	case VU_DP_STARTING:
		events->started(d->base.ctx, r, why);
		break;
	case VU_DP_STOPPING:
		sd_event_source_set_enabled(d->doom, SD_EVENT_ONESHOT);
		events->stopped(d->base.ctx);
		break;
	case VU_DP_PREPARED:
	case VU_DP_STARTED:
		events->failed(d->base.ctx, why);
		break;
	case VU_DP_NEW:
	case VU_DP_DEAD:
		break;
	}
}

/* A step is done when no answer is due any more. Calls back: must come last. */
static void step(struct vu_dp *d)
{
	if (!vu_front_idle(d->front))
		return;
	if (d->state == VU_DP_PREPARING) {
		if (d->greeting != VU_GREETED) {
			d->greeting = VU_GREETED;
			vu_dp_tell(d);
			if (!vu_front_idle(d->front))
				return;
		}
		d->state = VU_DP_PREPARED;
		d->base.events->prepared(d->base.ctx, 0, NULL);
	} else if (d->state == VU_DP_STARTING) {
		d->state = VU_DP_STARTED;
		d->base.events->started(d->base.ctx, 0, NULL);
	} else if (d->state == VU_DP_STOPPING) {
		d->state = VU_DP_PREPARED;
		give_back(d);
		d->base.events->stopped(d->base.ctx);
	}
}

/* Another ring has stopped. */
static void check_position(struct vu_dp *d, const struct vu_ring_state *answer)
{
	const struct vhost_queue *q;

	if (d->n_stopped >= d->n)
		return;
	q = d->rings[d->n_stopped++].queue;
	if (answer->index != q->index)
		vu_front_fail(d->front, -EPROTO, "the back-end answered for queue %u where %u was asked",
			      answer->index, q->index);
	else if (answer->num > UINT16_MAX || (uint16_t)(answer->num - vhost_queue_used_idx(q)) > q->size)
		vu_front_fail(d->front, -EPROTO,
			      "the back-end's position in queue %u, %u, is impossible: the ring is at %u",
			      q->index, answer->num, vhost_queue_used_idx(q));
}

static void on_answered(void *ctx, uint32_t request, const union vu_payload *payload, uint32_t size)
{
	struct vu_dp *d = ctx;

	(void)size;
	if (d->state == VU_DP_PREPARING && d->greeting != VU_GREETED)
		vu_dp_greet(d, request, payload);
	else if (request == VU_GET_VRING_BASE)
		check_position(d, &payload->state);
	step(d);
}

static const struct vu_front_events front_events = {.answered = on_answered, .closed = on_closed};

static void on_reached(void *ctx, int fd)
{
	struct vu_dp *d = ctx;
	int r = vu_front_new(d->event, fd, &front_events, d, &d->front);

	if (r < 0) {
		d->state = VU_DP_DEAD;
		d->base.events->prepared(d->base.ctx, r, "cannot watch the connection to the back-end");
		return;
	}
	sd_event_source_set_enabled(d->timer, SD_EVENT_OFF);
	d->greeting = VU_GREET_FEATURES;
	vu_dp_send(d, VU_GET_FEATURES, NULL, 0);
}

static uint64_t op_features(const struct datapath_pref *pref, unsigned int queue_pairs, struct err *err)
{
	(void)err;
	return vu_dp_features(vhost_user_params_of(&pref->params)->offload, queue_pairs);
}

static uint32_t op_takes(const struct datapath_pref *pref)
{
	(void)pref;
	return ATTACH_NONE; /* the preference names the back-end's socket */
}

/* The switch at the other end of the socket is not asked: it enforces nothing. The link state is that of the rings,
 * the administrative MAC is what QEMU tells the guest. */
static uint32_t op_enforces(const struct datapath_pref *pref)
{
	(void)pref;
	return CAN_LINK | CAN_ADMIN_MAC | CAN_NO_SPOOFCHK;
}

static void op_close(struct datapath *dp)
{
	struct vu_dp *d = (struct vu_dp *)dp;

	if (!d)
		return;
	for (unsigned int i = 0; i < ARRAY_SIZE(d->ring); i++) {
		sd_event_source_disable_unref(d->ring[i].source);
		close_fd(&d->ring[i].errfd);
	}
	drop_connection(d);
	vu_reach_free(d->reach);
	sd_event_source_disable_unref(d->timer);
	sd_event_source_disable_unref(d->doom);
	guest_mem_unref(d->mem);
	free(d);
}

static int op_open(const struct datapath_open *args, struct datapath **ret, struct err *err)
{
	const struct vhost_user_params *params = vhost_user_params_of(&args->pref->params);
	struct vu_dp *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return err_set(err, ENOMEM, NULL, "not enough memory for a datapath");
	d->base = (struct datapath){.ops = &datapath_vhost_user, .events = args->events, .ctx = args->ctx};
	for (unsigned int i = 0; i < ARRAY_SIZE(d->ring); i++)
		d->ring[i] = (struct vu_dp_ring){.dp = d, .errfd = -1};
	d->event = args->event;
	d->server = params->server;
	d->queue_pairs = args->queue_pairs;
	memcpy(d->mac, args->mac, sizeof(d->mac));
	d->mtu = args->mtu;
	r = datapath_expand(params->path, args->pf, args->fn, d->path, err);
	if (r < 0)
		goto fail;
	r = sd_event_add_time(d->event, &d->timer, CLOCK_MONOTONIC, 0, 5000, on_timer, d);
	if (r >= 0)
		r = sd_event_source_set_enabled(d->timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_defer(d->event, &d->doom, on_doom, d);
	if (r >= 0)
		r = sd_event_source_set_enabled(d->doom, SD_EVENT_OFF);
	if (r < 0) {
		err_set(err, -r, NULL, "cannot create a timer: %s", strerror(-r));
		goto fail;
	}
	*ret = &d->base;
	return 0;

fail:
	op_close(&d->base);
	return r;
}

static void op_prepare(struct datapath *dp, uint64_t features, struct guest_mem *mem)
{
	struct vu_dp *d = (struct vu_dp *)dp;
	struct guest_mem *old = d->mem;
	struct err err = {0};
	int r;

	d->features = features;
	d->mem = mem ? guest_mem_ref(mem) : NULL;
	guest_mem_unref(old);
	d->deadline = clock_us() + LIMIT(DATAPATH_PREPARE_US);
	d->state = VU_DP_PREPARING;
	if (d->front) {
		if (d->greeting == VU_GREETED)
			vu_dp_tell(d);
		step(d);
		return;
	}
	if (!d->reach) {
		r = vu_reach_new(d->event, d->path, d->server, on_reached, d, &d->reach, &err);
		if (r < 0) {
			d->state = VU_DP_DEAD;
			dp->events->prepared(dp->ctx, r, err.text);
			return;
		}
	}
	seek_connection(d);
}

static int on_ring_error(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct vu_dp_ring *r = userdata;

	(void)fd;
	(void)revents;
	/* Once, and not read: the back-end, which shares the descriptor, may have made it blocking. */
	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	r->dp->base.events->ring_error(r->dp->base.ctx, r->queue,
				       "the back-end says that the ring is broken");
	return 0;
}

static int make_errfd(struct vu_dp *d, struct vu_dp_ring *r, unsigned int queue)
{
	int e;

	r->queue = queue;
	r->errfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->errfd < 0)
		return -errno;
	e = sd_event_add_io(d->event, &r->source, r->errfd, EPOLLIN, on_ring_error, r);
	if (e < 0)
		close_fd(&r->errfd);
	return e;
}

static void op_start(struct datapath *dp, struct datapath_ring *rings, unsigned int n)
{
	struct vu_dp *d = (struct vu_dp *)dp;
	bool logging = false;

	d->rings = rings;
	d->n = MIN(n, VHOST_USER_MAX_QUEUES);
	d->state = VU_DP_STARTING;
	d->deadline = clock_us() + LIMIT(DATAPATH_START_US);
	for (unsigned int i = 0; i < d->n; i++) {
		int r = make_errfd(d, &d->ring[i], rings[i].queue->index);

		if (r < 0)
			vu_front_fail(d->front, r, "cannot create an error descriptor: %s", strerror(-r));
		logging |= !!rings[i].queue->log;
	}
	vu_dp_tell_rings(d, logging);
	step(d);
}

static void op_stop(struct datapath *dp)
{
	struct vu_dp *d = (struct vu_dp *)dp;

	d->state = VU_DP_STOPPING;
	d->deadline = clock_us() + LIMIT(DATAPATH_STOP_US);
	d->n_stopped = 0;
	vu_dp_untell_rings(d);
	step(d);
}

static bool running(const struct vu_dp *d)
{
	return d->state == VU_DP_STARTING || d->state == VU_DP_STARTED;
}

static void op_ring_enable(struct datapath *dp, unsigned int queue, bool enable)
{
	struct vu_dp *d = (struct vu_dp *)dp;

	(void)enable; /* is in the queue, too */
	if (!running(d))
		return;
	if (d->state == VU_DP_STARTED)
		d->deadline = clock_us() + ANSWER_US;
	for (unsigned int i = 0; i < d->n; i++)
		if (d->rings[i].queue->index == queue)
			vu_dp_enable(d, d->rings[i].queue);
}

static void op_ring_call(struct datapath *dp, unsigned int queue, int callfd)
{
	struct vu_dp *d = (struct vu_dp *)dp;

	if (!running(d))
		return;
	if (d->state == VU_DP_STARTED)
		d->deadline = clock_us() + ANSWER_US;
	vu_dp_call(d, queue, callfd);
}

static void op_set(struct datapath *dp, const struct function_settings *s, const struct rx_filter *filter)
{
	struct vu_dp *d = (struct vu_dp *)dp;
	bool off = s->link == LINK_DISABLE;

	(void)filter;
	if (off == d->link_off)
		return;
	d->link_off = off;
	for (unsigned int i = 0; i < d->n; i++)
		op_ring_enable(dp, d->rings[i].queue->index, d->rings[i].queue->enabled);
}

/* vu_dp_tell_rings() */
static bool op_announces(const struct datapath *dp)
{
	const struct vu_dp *d = (const struct vu_dp *)dp;

	return d->protocol & VU_DP_BIT(VU_PF_RARP);
}

const struct datapath_ops datapath_vhost_user = {
	.features = op_features,
	.takes = op_takes,
	.enforces = op_enforces,
	.open = op_open,
	.prepare = op_prepare,
	.start = op_start,
	.stop = op_stop,
	.close = op_close,
	.ring_enable = op_ring_enable,
	.ring_call = op_ring_call,
	.set = op_set,
	/* A ring's position arrives later, as an answer: a ring cannot be taken out immediately. */
	.ring_add = NULL,
	.ring_remove = NULL,
	.announces = op_announces,
};
