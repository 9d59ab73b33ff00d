/* SPDX-License-Identifier: Apache-2.0 */

/* What to do next: everything follows from the state, so that any event at any time leads here and on towards the
 * goal. A step does one thing at a time and re-evaluates, until all that is left is to wait for an answer, a timer,
 * or the driver. */

#include <stdio.h>
#include <string.h>

#include "broker/binding_private.h"
#include "util/clock.h"

struct wanted {            /* by the rings */
	bool any;          /* one is started */
	bool held;         /* … and held */
	unsigned int free; /* number that may be given to a datapath */
	uint64_t features;
	struct guest_mem *mem;
	bool logging;
};

static struct wanted look(const struct binding *b)
{
	struct wanted w = {0};

	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++) {
		const struct binding_ring *r = &b->ring[i];

		if (!r->q)
			continue;
		w.any = true;
		w.held |= r->held;
		w.free += binding_ring_free(r);
		/* The same for all running rings: a change of either stops them all first. */
		w.features = r->q->features;
		w.mem = r->q->mem;
		w.logging |= r->q->log != NULL;
	}
	return w;
}

/* While writes are logged, only those that can log. */
static bool suits(const struct binding *b, const struct datapath_pref *pref)
{
	const struct datapath_ops *ops = datapath_ops_of(pref->type);

	return !b->logging || (ops && ops->can_log);
}

/* It leads to the fabric, where all settings are in force; so rings may stay there although it is not in the list,
 * until one of the list is available. */
static bool may_stay(const struct binding *b, const struct slot *s)
{
	return suits(b, &s->pref) && s->ops && (s->pos != BINDING_OUTSIDE || s->kind != ATTACH_NONE);
}

static bool current_counts(const struct binding *b)
{
	return b->cur->phase != SLOT_CLOSED && suits(b, &b->cur->pref);
}

/* The position that should be tried next; -1: none is wanted, or none is left. */
static int choose(const struct binding *b)
{
	unsigned int n = b->list.n;

	if (current_counts(b))
		n = b->better ? MIN(n, b->cur->pos) : 0;
	for (unsigned int i = 0; i < n; i++)
		if (!b->down[i] && suits(b, &b->list.pref[i]))
			return (int)i;
	return -1;
}

static void set_usable(struct binding *b, bool usable)
{
	if (b->unusable == !usable)
		return;
	b->unusable = !usable;
	b->events->usable(b->ctx, usable);
}

void binding_lose_current(struct binding *b, const char *why)
{
	b->from_known = true;
	b->from = b->cur->pref;
	snprintf(b->cause, sizeof(b->cause), "%s", why ? why : "");
}

/* There is no current one, and none will follow for now. */
static void tell_none(struct binding *b)
{
	b->gap_us = 0;
	if (!b->from_known)
		return;
	b->from_known = false;
	b->events->changed(b->ctx, &b->from, NULL, 0, *b->cause ? b->cause : NULL);
}

/* An instance failed: it is closed, and not tried again in this search. */
static void reap(struct binding *b, struct slot *s)
{
	struct datapath_pref pref = s->pref;
	unsigned int pos = s->pos;
	char why[sizeof(s->why)];
	bool told = false;

	memcpy(why, s->why, sizeof(why));
	if (s == b->cur) {
		/* One that served for a while begins a new search. */
		if (s->started_us && clock_us() - s->started_us >= BINDING_RETRY_US)
			memset(b->down, 0, sizeof(b->down));
		binding_lose_current(b, why);
		if (!b->gap_us)
			b->gap_us = clock_us();
	}
	slot_close(s);
	b->info.failures++;
	snprintf(b->info.last_error, sizeof(b->info.last_error), "%s", why);
	if (pos < b->list.n) {
		b->down[pos] = true;
		told = !strcmp(b->told[pos], why);
		memcpy(b->told[pos], why, sizeof(why));
	}
	if (!told) /* the same failure each second is not news */
		b->events->failed(b->ctx, &pref, why);
}

static void tell_broken(struct binding *b)
{
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++) {
		struct binding_ring *r = &b->ring[i];
		char why[sizeof(r->why)];

		if (!r->q || !r->tell)
			continue;
		r->tell = false;
		memcpy(why, r->why, sizeof(why)); /* the queue may be stopped from there */
		b->events->ring_error(b->ctx, i, why);
	}
}

/* No ring: nothing is open. */
static bool be_idle(struct binding *b)
{
	bool had = b->cur->phase != SLOT_CLOSED;

	slot_close(b->next);
	if (had)
		binding_lose_current(b, NULL);
	slot_close(b->cur);
	tell_none(b);
	b->none = b->better = b->drop_next = false;
	memset(b->down, 0, sizeof(b->down));
	sd_event_source_set_enabled(b->retry, SD_EVENT_OFF);
	b->retry_on = false;
	set_usable(b, true);
	return false;
}

/* Takes held rings from the slots that have them; true: something changed. */
static bool give_back_held(struct binding *b, struct slot *s)
{
	bool changed = false, any = false;

	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++) {
		struct binding_ring *r = &b->ring[i];

		if (!r->held || r->slot != s)
			continue;
		any = true;
		if (s->phase == SLOT_STARTED && s->ops->ring_remove) {
			slot_take_ring(s, r);
			changed = true;
		}
	}
	if (!any || changed)
		return changed;
	slot_hurry(s);
	if (s->phase != SLOT_STARTED)
		return false;
	slot_stop(s);
	return true;
}

/* The new one serves: it is the current one now. */
static void promote(struct binding *b)
{
	struct slot *old = b->cur, *s = b->next;
	uint64_t now = clock_us(), gap = 0;
	bool moved = b->from_known || old->phase != SLOT_CLOSED;
	struct datapath_pref from = b->from_known ? b->from : old->pref;

	b->cur = s;
	b->next = old;
	slot_begin_service(s);
	if (moved) {
		gap = b->gap_us && now > b->gap_us ? now - b->gap_us : 1;
		b->info.moves++;
		b->info.last_gap_us = gap;
	}
	b->info.binds++;
	slot_close(old);
	b->gap_us = 0;
	b->none = b->from_known = false;
	if (s->pos < b->list.n)
		b->told[s->pos][0] = 0;
	b->events->changed(b->ctx, moved ? &from : NULL, &s->pref, gap, *b->cause ? b->cause : NULL);
	b->cause[0] = 0;
	set_usable(b, true);
}

static bool step_next(struct binding *b, const struct wanted *w)
{
	struct slot *s = b->next;
	int pos;

	if (s->phase != SLOT_CLOSED && b->drop_next && !slot_rings(s)) {
		slot_close(s);
		b->drop_next = false;
		return true;
	}
	b->drop_next = false;
	switch (s->phase) {
	case SLOT_CLOSED:
		pos = b->none ? -1 : choose(b);
		if (pos < 0)
			return false;
		slot_open(s, (unsigned int)pos);
		return true;
	case SLOT_OPEN:
		slot_prepare(s, w->features, w->mem);
		return true;
	case SLOT_PREPARED:
		if (!slot_fits(s, w->features, w->mem)) {
			slot_prepare(s, w->features, w->mem);
			return true;
		}
		return false;
	case SLOT_STARTED:
		promote(b);
		return true;
	case SLOT_ATTACHING:
	case SLOT_PREPARING:
	case SLOT_STARTING:
	case SLOT_STOPPING:
		return false;
	}
	return false;
}

static bool settled(const struct binding *b, const struct slot *s)
{
	return s->ops->ring_add || !b->settle_first_us;
}

/* Whether it is prepared for the rings as they are, so that they may be given to it. */
static bool ready(const struct binding *b, const struct slot *s, const struct wanted *w)
{
	return s->phase == SLOT_PREPARED && slot_fits(s, w->features, w->mem) && !w->held && settled(b, s);
}

/* The current one has the rings; do they continue there? */
static bool step_started(struct binding *b, const struct wanted *w, bool leave)
{
	struct slot *s = b->cur;
	bool next = ready(b, b->next, w);

	if (next || leave) {
		b->gap_us = clock_us();
		slot_stop(s);
		return true;
	}
	if (w->held) /* their features and memory may change in a moment */
		return false;
	if (!slot_fits(s, w->features, w->mem)) {
		slot_stop(s);
		return true;
	}
	if (!w->free)
		return false;
	if (!s->ops->ring_add) {
		if (!settled(b, s))
			return false;
		slot_stop(s);
		return true;
	}
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++) {
		struct binding_ring *r = &b->ring[i];

		if (binding_ring_free(r) && slot_add_ring(s, r) < 0) {
			/* The other rings continue; this one waits until its driver starts it again. */
			r->broken = r->tell = true;
			snprintf(r->why, sizeof(r->why), "%s", "its datapath could not serve it");
		}
	}
	return true;
}

static bool step_current(struct binding *b, const struct wanted *w, bool leave)
{
	struct slot *s = b->cur;

	switch (s->phase) {
	case SLOT_STARTED:
		return step_started(b, w, leave);
	case SLOT_OPEN:
	case SLOT_PREPARED:
		if (leave) {
			binding_lose_current(b, b->info.last_error);
			slot_close(s);
			return true;
		}
		if (slot_rings(b->next))
			return false; /* it is on its way there */
		if (ready(b, b->next, w) && w->free) {
			slot_start(b->next);
			return true;
		}
		if (s->phase == SLOT_OPEN || !slot_fits(s, w->features, w->mem)) {
			slot_prepare(s, w->features, w->mem);
			return true;
		}
		if (!ready(b, s, w) || !w->free)
			return false;
		slot_start(s);
		return true;
	case SLOT_CLOSED:
		if (!ready(b, b->next, w) || !w->free)
			return false;
		slot_start(b->next);
		return true;
	case SLOT_ATTACHING:
	case SLOT_PREPARING:
	case SLOT_STARTING:
	case SLOT_STOPPING:
		return false;
	}
	return false;
}

/* The current one began to serve again after a stop. */
static void resumed(struct binding *b)
{
	struct slot *s = b->cur;

	if (s->phase != SLOT_STARTED || s->in_service)
		return;
	slot_begin_service(s);
	b->gap_us = 0;
}

static void arm_retry(struct binding *b)
{
	bool wanted = b->cur->phase == SLOT_CLOSED
			      ? b->none
			      : b->cur->pos == BINDING_OUTSIDE || (b->failback && b->cur->pos);

	if (b->next->phase != SLOT_CLOSED || wanted == b->retry_on)
		return;
	b->retry_on = wanted;
	if (wanted && sd_event_source_set_time_relative(b->retry, BINDING_RETRY_US) < 0)
		b->retry_on = false;
	sd_event_source_set_enabled(b->retry, b->retry_on ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

/* None of the list is available. */
static bool give_up(struct binding *b)
{
	if (b->cur->phase != SLOT_CLOSED || b->next->phase != SLOT_CLOSED || b->none || choose(b) >= 0)
		return false;
	b->none = true;
	tell_none(b);
	set_usable(b, false);
	return true;
}

static bool step(struct binding *b)
{
	struct wanted w = look(b);
	bool leave;

	for (unsigned int i = 0; i < ARRAY_SIZE(b->slot); i++) {
		if (b->slot[i].phase != SLOT_CLOSED && b->slot[i].failed) {
			reap(b, &b->slot[i]);
			return true;
		}
	}
	tell_broken(b);
	if (!w.any)
		return be_idle(b);
	if (w.logging != b->logging) {
		b->logging = w.logging;
		b->better = true;
		b->none = false;
		memset(b->down, 0, sizeof(b->down));
	}
	resumed(b);
	if (give_back_held(b, b->cur) || give_back_held(b, b->next))
		return true;
	if (step_next(b, &w))
		return true;
	if (b->next->phase == SLOT_CLOSED && b->better && choose(b) < 0)
		b->better = false; /* they were tried */
	leave = b->cur->phase != SLOT_CLOSED && b->next->phase == SLOT_CLOSED && choose(b) < 0 &&
		!may_stay(b, b->cur);
	if (step_current(b, &w, leave))
		return true;
	return give_up(b);
}

void binding_step(struct binding *b)
{
	if (b->stepping) {
		b->again = true;
		return;
	}
	b->stepping = true;
	do {
		b->again = false;
		if (step(b))
			b->again = true;
	} while (b->again);
	b->stepping = false;
	arm_retry(b);
	if (b->quiescing && binding_given_back(b))
		sd_event_source_set_enabled(b->work, SD_EVENT_ONESHOT);
}
