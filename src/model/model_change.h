/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Changes of the model that take time, because the data plane answers later.
 *
 * Theory of operation. A change is a structure that begins with struct model_change, and a chain of steps. Each step
 * does one thing and names the next (c->step), or is the last; it returns 0 (go on), ANSWER_LATER (the data plane was
 * given model_change_answer(), and the next step follows upon its success), or an error, for which it has itself
 * undone what the change had done. If the data plane's answer is an error, that is the change's, or the step that
 * c->otherwise names follows and finds it in `err`, which is never NULL. Nothing of the model is changed before the
 * step that saves, so that readers see what is in force meanwhile.
 *
 * The changes of a fabric, and those of a virtual PF with its functions, are each in a queue, and one at a time is
 * under way: what a change finds when it begins is what those before it have left. What it is about must not be freed
 * before model_changes_cancel().
 *
 * Thread-safety: main thread. */

#include <systemd/sd-event.h>

#include "util/answer.h"

struct model;
struct model_change;

typedef int model_step(struct model_change *c, struct err *err);

struct model_change_ops {
	model_step *begin;
	void (*end)(struct model_change *c); /* frees what it has, but not `c`; NULL: nothing */
};

struct model_changes { /* a queue; zero: empty */
	struct model_change *first;
};

struct model_change {
	struct model_change *next;
	struct model_changes *queue;
	struct model *m;
	const struct model_change_ops *ops;
	model_step *step;      /* the next one; NULL: it is done */
	model_step *otherwise; /* the next one after an error of the data plane; NULL: there is none */
	struct answer answer;
	bool running;
};

/* A change of that size, zeroed; NULL with `err`: out of memory. `answer` may be NULL. */
void *model_change_new(struct model *m, size_t size, const struct model_change_ops *ops,
		       const struct answer *answer, struct err *err);
/* Begins it, or queues it after the pending ones: as any operation that may be answered later (util/answer.h). Takes
 * `c` over. -ECANCELED after model_cancel(). */
int model_change_begin(struct model_changes *q, struct model_change *c, struct err *err);
/* For a step that asks the data plane. */
struct answer model_change_answer(struct model_change *c);
/* The object of the changes is gone, and the data plane's answers to them are no longer awaited. `why` is their
 * answer. */
void model_changes_cancel(struct model_changes *q, const struct err *why);

/* At the end of the daemon: all changes, with no answer. */
void model_changes_forget(struct model *m);

int model_changes_on_work(sd_event_source *source, void *ctx /* the model */);
