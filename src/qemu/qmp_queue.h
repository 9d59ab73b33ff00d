/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The commands of one QMP connection: those sent and not answered (in flight, answered in order), then those
 * not sent. It does no I/O and has no time limits. Only for qmp_conn.c. Thread-safety: main thread. A
 * callback may add and cancel commands; only queue_fail() must not be nested. */

#include <jansson.h>

#include "qemu/qmp.h"

struct command;

struct qmp_queue {
	struct command *head, *unsent, *tail; /* from head up to `unsent`: in flight, oldest first */
	size_t out_off;                       /* bytes of *unsent that are sent */
	unsigned int in_flight, queued;       /* queued: all of them */
	struct command *doomed;               /* those that queue_fail() is failing */
	uint64_t last_id;
};

/* Takes the reference to `args`. `owner` is for queue_cancel(). -ENOMEM. */
int queue_add(struct qmp_queue *q, const void *owner, const char *command, json_t *args, qmp_reply_fn fn,
	      void *arg);
/* What to send next; false: nothing, or enough is in flight. Valid until queue_sent() or a cancellation. */
bool queue_out(const struct qmp_queue *q, const char **ret_data, size_t *ret_size);
void queue_sent(struct qmp_queue *q, size_t n);
/* QEMU's answer (an object with "return" or "error") to the oldest in flight; -EPROTO: it is not that. Pass
 * `ret_done` to queue_finish(): the queue is up to date before the callback runs. */
int queue_answered(struct qmp_queue *q, const json_t *answer, struct command **ret_done);
void queue_finish(struct command *done, const json_t *answer);
/* The commands of `owner` get -ECANCELED; replies to those already sent are awaited and discarded. */
void queue_cancel(struct qmp_queue *q, const void *owner);
/* Empties the queue: each command gets -ENOTCONN with the reason. */
void queue_fail(struct qmp_queue *q, const char *why);
/* Empties it without calling anything back. */
void queue_clear(struct qmp_queue *q);
