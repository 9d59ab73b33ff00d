/* SPDX-License-Identifier: Apache-2.0 */

/* A binding as its owner sees it. What is called here changes the state; binding_step.c does what follows. */

#include <stdio.h>
#include <string.h>

#include "broker/binding_private.h"
#include "util/clock.h"
#include "util/eventfd.h"

#define REKICK_US 50000 /* between two looks */
#define REKICKS   20

const char *binding_state_name(enum binding_state state)
{
	switch (state) {
	case BINDING_IDLE:
		return "idle";
	case BINDING_BINDING:
		return "binding";
	case BINDING_BOUND:
		return "bound";
	case BINDING_MOVING:
		return "moving";
	case BINDING_NONE:
		return "none";
	}
	return "unknown";
}

void binding_wake(struct binding *b)
{
	if (b->stepping)
		b->again = true;
	else
		sd_event_source_set_enabled(b->work, SD_EVENT_ONESHOT);
}

bool binding_ring_free(const struct binding_ring *r)
{
	return r->q && !r->slot && !r->held && !r->broken;
}

bool binding_given_back(const struct binding *b)
{
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
		if (b->ring[i].held && b->ring[i].slot)
			return false;
	return true;
}

/* The held rings are free. The caller that wanted them has until the next iteration of the event loop. */
static void arm_release(struct binding *b)
{
	b->quiescing = false;
	b->release = true;
	sd_event_source_set_enabled(b->work, SD_EVENT_ONESHOT);
}

static int on_work(sd_event_source *source, void *userdata)
{
	struct binding *b = userdata;

	(void)source;
	if (b->release) {
		b->release = false;
		for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
			b->ring[i].held = false;
	}
	binding_step(b);
	if (b->quiescing && binding_given_back(b)) {
		arm_release(b);
		b->events->quiesced(b->ctx); /* must come last here: it may trigger anything */
	}
	return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct binding *b = userdata;

	(void)source;
	(void)usec;
	b->retry_on = b->none = false;
	b->better = true;
	memset(b->down, 0, sizeof(b->down));
	binding_step(b);
	return 0;
}

static int on_settled(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct binding *b = userdata;

	(void)source;
	(void)usec;
	b->settle_first_us = 0;
	binding_step(b);
	return 0;
}

static int on_rekick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct binding *b = userdata;

	(void)usec;
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
		if (b->ring[i].slot && b->ring[i].q->kickfd >= 0)
			(void)signal_eventfd(b->ring[i].q->kickfd);
	if (--b->rekicks && sd_event_source_set_time_relative(source, REKICK_US) >= 0)
		sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

void binding_rekick(struct binding *b)
{
	b->rekicks = REKICKS;
	if (sd_event_source_set_time_relative(b->rekick, REKICK_US) >= 0)
		sd_event_source_set_enabled(b->rekick, SD_EVENT_ONESHOT);
}

static int new_timer(struct binding *b, sd_event_source **ret, sd_event_time_handler_t fn)
{
	int r = sd_event_add_time_relative(b->open.event, ret, CLOCK_MONOTONIC, 0, 1, fn, b);

	return r < 0 ? r : sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
}

int binding_new(const struct datapath_open *function, struct fabric_port *port,
		const struct datapath_list *list, bool failback, const struct binding_events *events,
		void *ctx, struct binding **ret)
{
	struct binding *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	b->open = *function;
	b->open.port = b->port = port;
	b->list = *list;
	b->failback = failback;
	b->events = events;
	b->ctx = ctx;
	slot_init(&b->slot[0], b);
	slot_init(&b->slot[1], b);
	b->cur = &b->slot[0];
	b->next = &b->slot[1];
	r = sd_event_add_defer(function->event, &b->work, on_work, b);
	if (r >= 0)
		r = sd_event_source_set_enabled(b->work, SD_EVENT_OFF);
	if (r >= 0)
		r = new_timer(b, &b->retry, on_retry);
	if (r >= 0)
		r = new_timer(b, &b->settle, on_settled);
	if (r >= 0)
		r = new_timer(b, &b->rekick, on_rekick);
	if (r < 0) {
		binding_free(b);
		return r;
	}
	*ret = b;
	return 0;
}

void binding_free(struct binding *b)
{
	if (!b)
		return;
	for (unsigned int i = 0; i < ARRAY_SIZE(b->slot); i++)
		slot_fini(&b->slot[i]);
	sd_event_source_disable_unref(b->rekick);
	sd_event_source_disable_unref(b->settle);
	sd_event_source_disable_unref(b->retry);
	sd_event_source_disable_unref(b->work);
	free(b);
}

void binding_port_remade(struct binding *b)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(b->slot); i++) {
		struct slot *s = &b->slot[i];

		if (s->phase != SLOT_CLOSED && s->kind != ATTACH_NONE)
			s->stale = true;
	}
	binding_wake(b);
}

void binding_port_lost(struct binding *b)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(b->slot); i++) {
		struct slot *s = &b->slot[i];

		if (s->phase != SLOT_CLOSED && s->kind != ATTACH_NONE)
			slot_fail(s, "its port of the fabric was taken away");
	}
}

bool binding_announces(const struct binding *b)
{
	const struct slot *s = b->cur;

	return s->phase != SLOT_CLOSED && s->ops->announces && s->ops->announces(s->dp);
}

static unsigned int position(const struct datapath_list *list, const struct datapath_pref *pref)
{
	for (unsigned int i = 0; i < list->n; i++)
		if (datapath_pref_equal(&list->pref[i], pref))
			return i;
	return BINDING_OUTSIDE;
}

void binding_set_list(struct binding *b, const struct datapath_list *list, bool failback)
{
	bool same = datapath_list_equal(&b->list, list);

	b->failback = failback;
	binding_wake(b);
	if (same)
		return;
	b->list = *list;
	b->better = true;
	b->none = false;
	memset(b->down, 0, sizeof(b->down));
	memset(b->told, 0, sizeof(b->told));
	for (unsigned int i = 0; i < ARRAY_SIZE(b->slot); i++)
		if (b->slot[i].phase != SLOT_CLOSED)
			b->slot[i].pos = position(list, &b->slot[i].pref);
	/* What was being prepared may not be what is wanted now. One that has the rings continues. */
	if (b->next->phase != SLOT_CLOSED && !slot_rings(b->next) && b->next->pos != 0)
		b->drop_next = true;
}

void binding_set(struct binding *b, const struct function_settings *s, const struct rx_filter *filter)
{
	b->settings = *s;
	b->filter = filter ? *filter : (struct rx_filter){0};
	b->set = true;
	memcpy(b->open.mac, s->mac, sizeof(b->open.mac));
	b->open.mtu = s->mtu;
	for (unsigned int i = 0; i < ARRAY_SIZE(b->slot); i++) {
		struct slot *slot = &b->slot[i];

		if (slot->phase == SLOT_STARTED && !slot->failed && slot->ops->set)
			slot->ops->set(slot->dp, &b->settings, &b->filter);
	}
}

static bool any_ring(const struct binding *b)
{
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
		if (b->ring[i].q)
			return true;
	return false;
}

void binding_get_info(const struct binding *b, struct binding_info *ret)
{
	const struct slot *s = b->cur;

	*ret = b->info;
	if (s->phase != SLOT_CLOSED) {
		ret->pref = s->pref;
		ret->position = MIN(s->pos, b->list.n);
	}
	if (!any_ring(b))
		ret->state = BINDING_IDLE;
	else if (b->next->phase != SLOT_CLOSED)
		ret->state = s->phase != SLOT_CLOSED ? BINDING_MOVING : BINDING_BINDING;
	else if (s->phase != SLOT_CLOSED)
		ret->state = BINDING_BOUND;
	else
		ret->state = b->none ? BINDING_NONE : BINDING_BINDING;
}

/* The set of rings changes, and may change again soon. */
static void unsettle(struct binding *b)
{
	uint64_t now = clock_us(), at = now + BINDING_SETTLE_US;

	if (!b->settle_first_us)
		b->settle_first_us = now;
	at = MIN(at, b->settle_first_us + BINDING_SETTLE_MAX_US);
	if (sd_event_source_set_time(b->settle, at) < 0 ||
	    sd_event_source_set_enabled(b->settle, SD_EVENT_ONESHOT) < 0)
		b->settle_first_us = 0;
}

int binding_queue_start(struct binding *b, const struct vhost_queue *q)
{
	struct binding_ring *r;

	if (q->index >= VHOST_USER_MAX_QUEUES || b->ring[q->index].q)
		return -EINVAL;
	r = &b->ring[q->index];
	*r = (struct binding_ring){.q = q, .avail_idx = q->avail_idx, .used_idx = q->used_idx};
	unsettle(b);
	binding_wake(b);
	return 0;
}

void binding_queue_stop(struct binding *b, unsigned int index, uint16_t *ret_avail_idx,
			uint16_t *ret_used_idx)
{
	struct binding_ring *r = &b->ring[index];

	if (r->slot)
		slot_take_ring(r->slot, r);
	*ret_avail_idx = r->avail_idx;
	*ret_used_idx = r->used_idx;
	*r = (struct binding_ring){0};
	unsettle(b);
	binding_wake(b);
}

static struct slot *server(struct binding *b, unsigned int index)
{
	struct slot *s = b->ring[index].slot;

	return s && s->phase == SLOT_STARTED && !s->failed ? s : NULL;
}

void binding_queue_enable(struct binding *b, unsigned int index, bool enable)
{
	struct slot *s = server(b, index);

	if (!s) /* the slot that gets the ring sees it */
		return;
	b->ring[index].enabled = enable;
	s->ops->ring_enable(s->dp, index, enable);
}

void binding_queue_call(struct binding *b, unsigned int index, int callfd)
{
	struct slot *s = server(b, index);

	if (s)
		s->ops->ring_call(s->dp, index, callfd);
	else
		b->ring[index].recall = true;
}

bool binding_quiesce(struct binding *b, int index)
{
	for (int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
		if (b->ring[i].q && (index < 0 || index == i))
			b->ring[i].held = true;
	unsettle(b);
	if (b->stepping) /* from an event of it */
		b->again = true;
	else
		binding_step(b);
	if (!b->stepping && binding_given_back(b)) {
		if (!b->quiescing)
			arm_release(b);
		return true;
	}
	b->quiescing = true;
	if (b->stepping) /* a step cannot be completed from within another one */
		sd_event_source_set_enabled(b->work, SD_EVENT_ONESHOT);
	return false;
}

void binding_check_rings(struct binding *b)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(b->slot); i++) {
		struct slot *s = &b->slot[i];

		if (s->dp && !s->failed && s->ops->check_rings)
			s->ops->check_rings(s->dp);
	}
}

int binding_control_send(struct binding *b, const uint8_t *frame, size_t len)
{
	struct slot *s = b->cur;

	if (s->phase != SLOT_STARTED || s->failed || !s->ops->control_send)
		return -ENOTCONN;
	return s->ops->control_send(s->dp, frame, len);
}
