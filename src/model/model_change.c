/* SPDX-License-Identifier: Apache-2.0 */

/* Changes that take time: their order, and their answers. */

#include <assert.h>
#include <stdlib.h>

#include "model/model_change.h"
#include "model/model_private.h"

static void push(struct model_changes *q, struct model_change *c)
{
	struct model_change **at = &q->first;

	while (*at)
		at = &(*at)->next;
	*at = c;
	c->next = NULL;
	c->queue = q;
}

static struct model_change *pop(struct model_changes *q)
{
	struct model_change *c = q->first;

	q->first = c->next;
	return c;
}

static void finish(struct model_change *c)
{
	if (c->ops->end)
		c->ops->end(c);
	free(c);
}

/* Step by step, as far as it goes: ANSWER_LATER, or its result. */
static int run(struct model_change *c, struct err *err)
{
	struct err unheard = {0};
	int r = 0;

	if (!err)
		err = &unheard;
	c->running = true;
	while (c->step && !r) {
		model_step *step = c->step;

		c->step = NULL;
		r = step(c, err);
	}
	return r;
}

/* It is complete: the next of its queue gets its turn in the next iteration of the event loop, since the receiver of
 * the answer may do anything. */
static void conclude(struct model_change *c, int r, const struct err *err)
{
	struct answer answer = c->answer;
	struct model *m = c->m;

	assert(c->queue->first == c);
	finish(pop(c->queue));
	sd_event_source_set_enabled(m->changes_work, SD_EVENT_ONESHOT);
	answer_give(&answer, r, err);
}

static void on_answer(void *ctx, int r, const struct err *err)
{
	struct model_change *c = ctx;
	model_step *otherwise = c->otherwise;
	struct err why = err ? *err : (struct err){0};

	c->otherwise = NULL;
	if (r < 0 && otherwise) {
		c->step = otherwise;
		r = 0;
	}
	if (r >= 0)
		r = run(c, &why);
	if (r != ANSWER_LATER)
		conclude(c, r, &why);
}

struct answer model_change_answer(struct model_change *c)
{
	return (struct answer){on_answer, c};
}

void *model_change_new(struct model *m, size_t size, const struct model_change_ops *ops,
		       const struct answer *answer, struct err *err)
{
	struct model_change *c = calloc(1, size);

	if (!c) {
		err_set(err, ENOMEM, NULL, "out of memory");
		return NULL;
	}
	c->m = m;
	c->ops = ops;
	c->step = ops->begin;
	if (answer)
		c->answer = *answer;
	return c;
}

static int ending(struct err *err)
{
	return err_set(err, ECANCELED, NULL, "vpfd is ending, and the change was not made");
}

int model_change_begin(struct model_changes *q, struct model_change *c, struct err *err)
{
	bool first = !q->first;
	int r;

	if (c->m->ending) {
		finish(c);
		return ending(err);
	}
	push(q, c);
	if (!first)
		return ANSWER_LATER;
	r = run(c, err);
	if (r == ANSWER_LATER)
		return r;
	finish(pop(q));
	return r;
}

/* The first of the queue, which may go with it. */
static void cancel(struct model_changes *q, const struct err *why)
{
	struct model_change *c = pop(q);
	struct answer answer = c->answer;

	finish(c);
	if (why)
		answer_give(&answer, -why->code, why);
}

void model_changes_cancel(struct model_changes *q, const struct err *why)
{
	while (q->first)
		cancel(q, why);
}

/* A queue that is not empty; NULL: there is none. */
static struct model_changes *any(const struct model *m)
{
	for (unsigned int i = 0; i < m->fabrics_n; i++) {
		struct model_fabric *f = m->fabrics[i];

		if (f->adding)
			return f->adding->queue;
		if (f->changes.first)
			return &f->changes;
	}
	for (unsigned int i = 0; i < m->pfs_n; i++)
		if (m->pfs[i]->changes.first)
			return &m->pfs[i]->changes;
	return NULL;
}

/* Starts over after each, since its answer may have deleted anything. */
static void cancel_all(struct model *m, const struct err *why)
{
	struct model_changes *q;

	m->ending = true;
	while ((q = any(m)))
		cancel(q, why);
}

void model_changes_forget(struct model *m)
{
	cancel_all(m, NULL);
}

void model_cancel(struct model *m)
{
	struct err why = {0};

	ending(&why);
	cancel_all(m, &why);
}

/* The first that waits for its turn; NULL. */
static struct model_change *waiting(const struct model *m)
{
	for (unsigned int i = 0; i < m->fabrics_n; i++) {
		struct model_change *c = m->fabrics[i]->changes.first;

		if (c && !c->running)
			return c;
	}
	for (unsigned int i = 0; i < m->pfs_n; i++) {
		struct model_change *c = m->pfs[i]->changes.first;

		if (c && !c->running)
			return c;
	}
	return NULL;
}

int model_changes_on_work(sd_event_source *source, void *ctx)
{
	struct model *m = ctx;
	struct model_change *c = waiting(m);
	struct err err = {0};
	int r;

	(void)source;
	if (!c)
		return 0;
	r = run(c, &err);
	if (r == ANSWER_LATER)
		sd_event_source_set_enabled(m->changes_work, SD_EVENT_ONESHOT); /* others may wait, too */
	else
		conclude(c, r, &err);
	return 0;
}
