/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which datapath serves a function's rings: the broker's decision, and carrying it out.
 *
 * Theory of operation. A binding knows the list of preferences, the rings that the driver has started, and
 * at most two instances of datapaths: the current one and, while moving, the next. It works towards one
 * goal: the rings are served by the first available entry of the list. The next action follows from the state alone:
 * every callback and timer only updates the state and re-evaluates it. So a ring that starts or stops, a changed
 * list, and a back-end that dies are all handled the same way, at any step.
 *
 * - no ring started: nothing is open, nothing is tried;
 * - rings, nothing bound: open, prepare and start the first of the list; on failure, the next;
 * - bound, and a better one is wanted: prepare that; then stop, and start there with the indices; on failure the
 *   rings go back to the one they came from, or to any other that can serve them;
 * - the current one fails: the next one is used; with failback the better ones are retried every second;
 * - none is available: the link is down, and all are retried every second;
 * - the current one is no longer in the list, and none of the list is available: the rings stay there if it leads to
 *   the function's fabric, where all settings are in force, and the list is retried every second; if it does not,
 *   they are taken away;
 * - writes to guest memory are logged (migration): only `builtin` and `vhost-net` can do that, so the others of the
 *   list are treated as unavailable.
 *
 * A hand-over: stop ⇒ indices ⇒ start ⇒ one kick and one call on each ring, since a notification from either side may
 * have been lost between the two.
 *
 * An answer that does not come within the time limits of datapath.h is a failure; the instance is closed, and the
 * rings are as it left them in memory.
 *
 * Thread-safety: main thread. */

#include "datapath/datapath.h"

struct binding;

enum binding_state {
	BINDING_IDLE,
	BINDING_BINDING,
	BINDING_BOUND,
	BINDING_MOVING,
	BINDING_NONE, /* none is available */
};
const char *binding_state_name(enum binding_state state);

struct binding_info { /* what `show` prints, since the function was added */
	enum binding_state state;
	struct datapath_pref pref;       /* of the current datapath; its type is NULL if there is none */
	unsigned int position;           /* in the list, from 0; the list's n: no longer in the list */
	uint64_t binds, moves, failures; /* started; handed over; prepare, start or service that failed */
	uint64_t last_gap_us;            /* of the last move: rings without a server */
	char last_error[160];            /* of the last failure; empty: none */
};

struct binding_events {
	/* The current datapath has changed (NULL: none; `why`: the failure that led to it, or NULL). gap_us: 0 except
	 * after a move. */
	void (*changed)(void *ctx, const struct datapath_pref *from, const struct datapath_pref *to,
			uint64_t gap_us, const char *why);
	/* The rings are about to be given to this one, perhaps only briefly. */
	void (*starting)(void *ctx, const struct datapath_pref *pref);
	/* One in the list was unavailable or died. */
	void (*failed)(void *ctx, const struct datapath_pref *pref, const char *why);
	/* Whether anything can serve the rings: the link. */
	void (*usable)(void *ctx, bool usable);
	void (*ring_error)(void *ctx, unsigned int queue, const char *why);
	/* As datapath_events.doorbell; withdrawn (fd -1) whenever the ring leaves the datapath that gave it. May be
	 * NULL. */
	void (*doorbell)(void *ctx, unsigned int queue, int fd, uint64_t offset, uint64_t size);
	/* binding_quiesce() is done. */
	void (*quiesced)(void *ctx);
};

/* function: pref, attach, events, ctx are unused. port: of the function, which outlives the binding. */
int binding_new(const struct datapath_open *function, struct fabric_port *port,
		const struct datapath_list *list, bool failback, const struct binding_events *events,
		void *ctx, struct binding **ret);
void binding_free(struct binding *b); /* takes NULL; no rings left */
/* Replaces the list: moves at once if it must. The caller has checked that its features fit. */
void binding_set_list(struct binding *b, const struct datapath_list *list, bool failback);
void binding_set(struct binding *b, const struct function_settings *s, const struct rx_filter *filter);
void binding_get_info(const struct binding *b, struct binding_info *ret);

/* What the fabric's port gives its users was recreated, and they have to set it up again: datapaths attached to it
 * are stopped and started. */
void binding_port_remade(struct binding *b);

/* The fabric's port is lost: datapaths attached to it have failed, and are closed. */
void binding_port_lost(struct binding *b);

/* Whether the current datapath has itself told its switch where the function is now; if not, the caller has to. */
bool binding_announces(const struct binding *b);

/* The vhost-user device's queues. A started queue is the binding's until stop. */
int binding_queue_start(struct binding *b, const struct vhost_queue *q);
/* Immediate: a queue whose datapath has not been quiesced is taken from it by force. */
void binding_queue_stop(struct binding *b, unsigned int index, uint16_t *ret_avail_idx,
			uint16_t *ret_used_idx);
void binding_queue_enable(struct binding *b, unsigned int index, bool enable);
void binding_queue_call(struct binding *b, unsigned int index, int callfd);
/* Takes queue `index` (-1: all) from the datapath, so that it can be stopped or its memory changed. True: done;
 * false: `quiesced` will be called, in bounded time. A queue that is not stopped in that iteration of the event loop,
 * or from `quiesced`, is served again afterwards. */
bool binding_quiesce(struct binding *b, int index);

/* A worker found some ring broken: checks whether it is one of these. */
void binding_check_rings(struct binding *b);
/* Gives the guest a control frame; see dataplane_control_send(). */
int binding_control_send(struct binding *b, const uint8_t *frame, size_t len);
