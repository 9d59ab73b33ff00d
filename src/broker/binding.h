/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who serves a function's rings, now: the broker's decision and its execution.
 *
 * Theory of operation. A binding knows the list of preferences, the rings that the driver has started, and
 * at most two instances of datapaths: the current one and, while moving, the next. It works towards one
 * goal: the rings are served by the first of the list that can be had. What is done at a moment follows from
 * the state, and every callback and timer only changes the state and looks again what is to do; so a ring
 * that starts or stops, a list that is changed, or a back-end that dies at whatever step is the same to it.
 *
 * - no ring started: nothing is open, nothing is tried;
 * - rings, nothing bound: open, prepare, start the first of the list; on failure the next;
 * - bound, and a better one is wanted: prepare that; then stop, start there with the indices; on failure the
 *   rings go back to the one they came from, or to whatever serves;
 * - the current one fails: the next one; with failback the better ones are tried again every second;
 * - nothing can be had: the link is down, and all are tried again every second;
 * - the current one is in the list no more, and none of the list can be had: the rings stay there if it
 *   leads to the function's fabric, where all settings are in force, and the list is tried again every
 *   second; if not, they leave;
 * - what is written to guest memory is logged (migration): only `builtin` and `vhost-net` can do that, the
 * others of the list are as if they could not be had.
 *
 * A hand-over: stop ⇒ indices ⇒ start ⇒ one kick and one call on each ring, since either side's notification
 * may have fallen between the two.
 *
 * An answer that does not come in the time that datapath.h grants is a failure; the instance is closed, and
 * the rings are as it left them in memory.
 *
 * Thread-safety: main thread. */

#include "datapath/datapath.h"

struct binding;

enum binding_state {
	BINDING_IDLE,
	BINDING_BINDING,
	BINDING_BOUND,
	BINDING_MOVING,
	BINDING_NONE, /* nothing to be had */
};
const char *binding_state_name(enum binding_state state);

struct binding_info { /* what `show` prints, since the function was added */
	enum binding_state state;
	struct datapath_pref pref; /* of the current datapath; its type is NULL if there is none */
	unsigned int position;     /* of it in the list, 0 first; the list's n: it is in the list no more */
	uint64_t binds, moves, failures; /* started; handed over; prepare, start or service that failed */
	uint64_t last_gap_us;            /* of the last move: rings without a server */
	char last_error[160];            /* of the last failure; empty: none */
};

struct binding_events {
	/* The current datapath is another one (NULL: none; `why`: the failure that led to it, or NULL).
	 * gap_us: 0 but after a move. */
	void (*changed)(void *ctx, const struct datapath_pref *from, const struct datapath_pref *to,
			uint64_t gap_us, const char *why);
	/* The rings are about to be given to this one, perhaps not for long. */
	void (*starting)(void *ctx, const struct datapath_pref *pref);
	/* One in the list could not be had or died. */
	void (*failed)(void *ctx, const struct datapath_pref *pref, const char *why);
	/* Whether anything can serve the rings: the link. */
	void (*usable)(void *ctx, bool usable);
	void (*ring_error)(void *ctx, unsigned int queue, const char *why);
	/* As datapath_events.doorbell; taken back (fd -1) whenever the ring leaves the datapath that gave it.
	 * May be NULL. */
	void (*doorbell)(void *ctx, unsigned int queue, int fd, uint64_t offset, uint64_t size);
	/* binding_quiesce() is done. */
	void (*quiesced)(void *ctx);
};

/* function: pref, attach, events, ctx are unused. port: of the function, which outlives the binding. */
int binding_new(const struct datapath_open *function, struct fabric_port *port,
		const struct datapath_list *list, bool failback, const struct binding_events *events,
		void *ctx, struct binding **ret);
void binding_free(struct binding *b); /* takes NULL; no rings left */
/* Another list: moves at once if it must. That its features fit is the caller's to check. */
void binding_set_list(struct binding *b, const struct datapath_list *list, bool failback);
void binding_set(struct binding *b, const struct function_settings *s, const struct rx_filter *filter);
void binding_get_info(const struct binding *b, struct binding_info *ret);

/* What the fabric's port gives its users was made anew, and they have to set it up again: who leads there is
 * stopped and started. */
void binding_port_remade(struct binding *b);

/* The fabric's port is lost to all who lead there: they failed, and are closed. */
void binding_port_lost(struct binding *b);

/* Whether the current datapath has told its switch by itself where the function is now; else somebody else
 * has to. */
bool binding_announces(const struct binding *b);

/* The vhost-user device's queues. A started queue is the binding's until stop. */
int binding_queue_start(struct binding *b, const struct vhost_queue *q);
/* Immediate: a queue whose datapath has not been quiesced is torn from it. */
void binding_queue_stop(struct binding *b, unsigned int index, uint16_t *ret_avail_idx,
			uint16_t *ret_used_idx);
void binding_queue_enable(struct binding *b, unsigned int index, bool enable);
void binding_queue_call(struct binding *b, unsigned int index, int callfd);
/* Takes queue `index` (-1: all) from the datapath, so that it can be stopped or its memory be changed. True:
 * it is done; false: `quiesced` will tell, in bounded time. What is not stopped in that turn of the event
 * loop, or from `quiesced`, is served again after it. */
bool binding_quiesce(struct binding *b, int index);

/* A worker found some ring broken: looks whether it is one of these. */
void binding_check_rings(struct binding *b);
/* Gives the guest a control frame; see dataplane_control_send(). */
int binding_control_send(struct binding *b, const uint8_t *frame, size_t len);
