/* SPDX-License-Identifier: Apache-2.0 */

/* One instance of a datapath: what was asked of it, what it answered, and which rings it has. */

#include <stdio.h>
#include <string.h>

#include "broker/binding_private.h"
#include "util/clock.h"
#include "util/eventfd.h"

void slot_fail(struct slot *s, const char *why)
{
	if (s->failed)
		return;
	s->failed = true;
	snprintf(s->why, sizeof(s->why), "%.*s", (int)sizeof(s->why) - 1, why && *why ? why : "it failed");
	binding_wake(s->b);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	static const char *const late[] = {
		[SLOT_PREPARING] = "it did not get ready in time",
		[SLOT_STARTING] = "it did not start in time",
		[SLOT_STOPPING] = "it did not give back the rings in time",
	};
	struct slot *s = userdata;

	(void)usec;
	if (s->phase != SLOT_PREPARING && s->phase != SLOT_STARTING && s->phase != SLOT_STOPPING)
		return 0;
	if (s->late) {
		slot_fail(s, late[s->phase]);
		return 0;
	}
	/* The answer may have arrived, and this loop be the one that is late: check once more, after other pending
	 * events. */
	s->late = true;
	if (sd_event_source_set_time(source, clock_us() + 1) < 0 ||
	    sd_event_source_set_enabled(source, SD_EVENT_ONESHOT) < 0)
		slot_fail(s, late[s->phase]);
	return 0;
}

static void disarm(struct slot *s)
{
	if (s->timer)
		sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
}

/* Without a timer there would be no bound. Counted from now, not from when the event loop woke up: the work done
 * since then may have taken long. */
static void arm(struct slot *s, uint64_t us)
{
	uint64_t due = clock_us() + us;
	int r;

	s->late = false;
	if (s->timer)
		r = sd_event_source_set_time(s->timer, due);
	else
		r = sd_event_add_time(s->b->open.event, &s->timer, CLOCK_MONOTONIC, due, 1000, on_timer, s);
	if (r >= 0)
		r = sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
	if (r < 0)
		slot_fail(s, "out of memory");
}

/* The ring is the binding's again. */
static void take_back(struct slot *s, struct binding_ring *r, bool torn)
{
	const struct datapath_ring *d = r->lent;
	struct binding *b = s->b;

	r->slot = NULL;
	r->lent = NULL;
	r->avail_idx = d->avail_idx;
	r->used_idx = d->used_idx;
	/* An impossible position is not accepted, wherever it comes from: the next datapath would refuse the ring. */
	if (!r->q->packed && (torn || (uint16_t)(r->avail_idx - r->used_idx) > r->q->size))
		r->avail_idx = r->used_idx = vhost_queue_used_idx(r->q);
	if (r->doorbell) {
		if (b->events->doorbell)
			b->events->doorbell(b->ctx, r->q->index, -1, 0, 0);
		binding_rekick(b);
	}
	r->doorbell = false;
}

static void take_all_back(struct slot *s, bool torn)
{
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
		if (s->b->ring[i].slot == s)
			take_back(s, &s->b->ring[i], torn);
}

unsigned int slot_rings(const struct slot *s)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
		n += s->b->ring[i].slot == s;
	return n;
}

/* An answer counts only if one is pending. */
static void on_prepared(void *ctx, int r, const char *why)
{
	struct slot *s = ctx;

	if (s->phase != SLOT_PREPARING || s->failed)
		return;
	disarm(s);
	if (r < 0)
		slot_fail(s, why);
	else
		s->phase = SLOT_PREPARED;
	binding_wake(s->b);
}

/* Tells it what changed about a ring that it serves while it was starting. */
static void refresh_ring(struct slot *s, struct binding_ring *r)
{
	if (r->enabled != r->q->enabled) {
		r->enabled = r->q->enabled;
		s->ops->ring_enable(s->dp, r->q->index, r->enabled);
	}
	/* The number does not tell: a new descriptor may have that of one closed meanwhile. */
	if (r->recall) {
		r->recall = false;
		s->ops->ring_call(s->dp, r->q->index, r->q->callfd);
	}
}

/* Either side's notification may have come while no datapath listened; the driver's also before any did. */
static void notify_both(struct binding_ring *r)
{
	if (r->q->kickfd >= 0)
		(void)signal_eventfd(r->q->kickfd);
	if (r->served && r->q->callfd >= 0)
		(void)signal_eventfd(r->q->callfd);
	r->served = true;
}

static void on_started(void *ctx, int r, const char *why)
{
	struct slot *s = ctx;

	if (s->phase != SLOT_STARTING || s->failed)
		return;
	disarm(s);
	if (r < 0) {
		take_all_back(s, false);
		slot_fail(s, why);
		return;
	}
	s->phase = SLOT_STARTED;
	s->started_us = clock_us();
	binding_wake(s->b);
}

static void on_stopped(void *ctx)
{
	struct slot *s = ctx;

	if (s->phase != SLOT_STOPPING || s->failed)
		return;
	disarm(s);
	take_all_back(s, false);
	s->phase = SLOT_PREPARED;
	binding_wake(s->b);
}

static void on_failed(void *ctx, const char *why)
{
	struct slot *s = ctx;

	if (s->failed || s->phase == SLOT_CLOSED)
		return;
	/* It may know less about the positions than the rings themselves. */
	take_all_back(s, true);
	slot_fail(s, why);
}

static void on_ring_error(void *ctx, unsigned int queue, const char *why)
{
	struct slot *s = ctx;
	struct binding_ring *r = queue < VHOST_USER_MAX_QUEUES ? &s->b->ring[queue] : NULL;

	if (!r || r->slot != s || r->broken)
		return;
	r->broken = r->tell = true;
	snprintf(r->why, sizeof(r->why), "%s", why ? why : "broken");
	binding_wake(s->b);
}

static void on_doorbell(void *ctx, unsigned int queue, int fd, uint64_t offset, uint64_t size)
{
	struct slot *s = ctx;
	struct binding *b = s->b;
	struct binding_ring *r = queue < VHOST_USER_MAX_QUEUES ? &b->ring[queue] : NULL;

	if (!r || r->slot != s || (fd < 0 && !r->doorbell))
		return;
	r->doorbell = fd >= 0;
	if (fd < 0)
		binding_rekick(b);
	if (b->events->doorbell)
		b->events->doorbell(b->ctx, queue, fd, offset, size);
}

static const struct datapath_events slot_events = {
	.prepared = on_prepared,
	.started = on_started,
	.stopped = on_stopped,
	.failed = on_failed,
	.ring_error = on_ring_error,
	.doorbell = on_doorbell,
};

void slot_init(struct slot *s, struct binding *b)
{
	s->b = b;
}

void slot_fini(struct slot *s)
{
	slot_close(s);
	sd_event_source_disable_unref(s->timer);
}

static void open_instance(struct slot *s)
{
	struct datapath_open open = s->b->open;
	struct err err = {0};
	int r;

	s->phase = SLOT_OPEN;
	open.pref = &s->pref;
	open.attach = s->kind == ATTACH_NONE ? NULL : &s->b->port->attach;
	open.events = &slot_events;
	open.ctx = s;
	r = s->ops->open(&open, &s->dp, &err);
	if (r < 0) {
		s->dp = NULL;
		slot_fail(s, *err.text ? err.text : strerror(-r));
	}
}

/* The fabric's port is open. The attachment may be of another kind than its settings suggest. */
static void attached(struct slot *s)
{
	s->kind = s->b->port->attach.kind;
	if (s->kind == ATTACH_NONE || !(s->ops->takes(&s->pref) & s->kind))
		slot_fail(s, "the fabric's port offers no attachment that it can use");
	else
		open_instance(s);
}

static void on_attached(void *ctx, int r, const struct err *err)
{
	struct slot *s = ctx;

	if (s->phase != SLOT_ATTACHING)
		return;
	if (r < 0) {
		s->attached = false;
		slot_fail(s, *err->text ? err->text : strerror(-r));
	} else if (!s->failed) {
		attached(s);
	}
	binding_wake(s->b);
}

void slot_open(struct slot *s, unsigned int pos)
{
	struct binding *b = s->b;
	struct err err = {0};
	int r;

	s->pref = b->list.pref[pos];
	s->pos = pos;
	s->failed = s->stale = false;
	s->phase = SLOT_OPEN;
	s->ops = datapath_ops_of(s->pref.type);
	s->kind = ATTACH_NONE;
	if (datapath_fits(&s->pref, &b->port->fabric->settings, &err) < 0) {
		slot_fail(s, err.text);
		return;
	}
	s->kind = datapath_attach_kind(&s->pref, &b->port->fabric->settings);
	if (s->kind == ATTACH_NONE) {
		open_instance(s);
		return;
	}
	s->phase = SLOT_ATTACHING;
	r = fabric_port_open(b->port, &s->use, b->open.queue_pairs, &(struct answer){on_attached, s}, &err);
	s->attached = r >= 0;
	if (r < 0)
		slot_fail(s, *err.text ? err.text : strerror(-r));
	else if (r != ANSWER_LATER)
		attached(s);
}

void slot_prepare(struct slot *s, uint64_t features, struct guest_mem *mem)
{
	guest_mem_unref(s->mem);
	s->mem = guest_mem_ref(mem);
	s->features = features;
	s->stale = false;
	s->phase = SLOT_PREPARING;
	arm(s, DATAPATH_PREPARE_US);
	if (!s->failed)
		s->ops->prepare(s->dp, features, mem);
}

bool slot_fits(const struct slot *s, uint64_t features, const struct guest_mem *mem)
{
	return s->mem == mem && s->features == features && !s->stale;
}

static void lend(struct slot *s, struct binding_ring *r, struct datapath_ring *d)
{
	*d = (struct datapath_ring){.queue = r->q, .avail_idx = r->avail_idx, .used_idx = r->used_idx};
	r->slot = s;
	r->lent = d;
	r->enabled = r->q->enabled;
	r->recall = false;
}

void slot_start(struct slot *s)
{
	unsigned int n = 0;

	/* It has none: the array is free. */
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
		if (binding_ring_free(&s->b->ring[i]))
			lend(s, &s->b->ring[i], &s->lent[n++]);
	s->phase = SLOT_STARTING;
	s->in_service = false;
	arm(s, DATAPATH_START_US);
	if (s->failed)
		return;
	s->b->events->starting(s->b->ctx, &s->pref);
	s->ops->start(s->dp, s->lent, n);
}

void slot_stop(struct slot *s)
{
	s->phase = SLOT_STOPPING;
	arm(s, s->ops->stop_us ? s->ops->stop_us : DATAPATH_STOP_US);
	if (!s->failed)
		s->ops->stop(s->dp);
}

void slot_hurry(struct slot *s)
{
	uint64_t due;

	if (s->phase != SLOT_STARTING || s->failed)
		return;
	if (sd_event_source_get_time(s->timer, &due) >= 0 && due > clock_us() + DATAPATH_STOP_US)
		arm(s, DATAPATH_STOP_US);
}

void slot_close(struct slot *s)
{
	if (s->phase == SLOT_CLOSED)
		return;
	disarm(s);
	if (s->dp)
		s->ops->close(s->dp);
	s->dp = NULL;
	if (s->attached)
		fabric_port_close(s->b->port, &s->use);
	s->attached = false;
	take_all_back(s, true);
	guest_mem_unref(steal_ptr(&s->mem));
	s->phase = SLOT_CLOSED;
	s->started_us = 0;
	s->failed = false;
}

static struct datapath_ring *unused(struct slot *s)
{
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++) {
		bool used = false;

		for (unsigned int k = 0; k < VHOST_USER_MAX_QUEUES; k++)
			used |= s->b->ring[k].lent == &s->lent[i];
		if (!used)
			return &s->lent[i];
	}
	return NULL;
}

int slot_add_ring(struct slot *s, struct binding_ring *r)
{
	struct datapath_ring *d = unused(s);
	int res;

	if (!d) /* there are as many as rings */
		return -ENOSPC;
	lend(s, r, d);
	res = s->ops->ring_add(s->dp, d);
	if (res < 0) {
		r->slot = NULL;
		r->lent = NULL;
		return res;
	}
	notify_both(r);
	return 0;
}

void slot_take_ring(struct slot *s, struct binding_ring *r)
{
	if (s->phase == SLOT_STARTED && s->ops->ring_remove && !s->failed) {
		s->ops->ring_remove(s->dp, r->lent);
		take_back(s, r, false);
	} else {
		if (s == s->b->cur)
			binding_lose_current(s->b, NULL);
		slot_close(s);
	}
}

void slot_begin_service(struct slot *s)
{
	struct binding *b = s->b;

	s->in_service = true;
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++) {
		if (b->ring[i].slot != s)
			continue;
		refresh_ring(s, &b->ring[i]);
		notify_both(&b->ring[i]);
	}
	if (b->set && s->ops->set)
		s->ops->set(s->dp, &b->settings, &b->filter);
}
