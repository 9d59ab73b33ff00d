/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of a binding share. No other file includes this.
 *
 *	binding.c	what the owner calls; the events that it gets
 *	binding_step.c	the decision: what to do next in the current state
 *	binding_slot.c	one instance of a datapath: its phases, its deadlines, the rings that it has
 *
 * Callbacks of an instance may come at any time, even from within a call to it. So they only record what happened in
 * its slot, and the next step acts on that: no instance is closed or called from within its own callback. */

#include "broker/binding.h"

#define BINDING_OUTSIDE  VPF_MAX_DATAPATHS /* a position: no longer in the list */
#define BINDING_RETRY_US 1000000           /* µs */
/* Rings start and stop one after the other. A datapath that has to be stopped for each waits until the set
 * has been the same for BINDING_SETTLE_US, and for BINDING_SETTLE_MAX_US at most. */
#define BINDING_SETTLE_US     2000
#define BINDING_SETTLE_MAX_US 20000

enum slot_phase {
	SLOT_CLOSED,    /* no instance */
	SLOT_ATTACHING, /* the fabric opens the port */
	SLOT_OPEN,      /* not prepared, or for other features or memory than the rings have now */
	SLOT_PREPARING,
	SLOT_PREPARED,
	SLOT_STARTING,
	SLOT_STARTED,
	SLOT_STOPPING
};

struct slot {
	struct binding *b;
	enum slot_phase phase;
	const struct datapath_ops *ops;
	struct datapath *dp;
	struct datapath_pref pref;
	enum attach_kind kind;  /* of its attachment to the fabric; ATTACH_NONE: not attached */
	struct fabric_use use;  /* of the fabric's port */
	bool attached;          /* … which is open, or on its way */
	unsigned int pos;       /* of it in the list, or BINDING_OUTSIDE */
	bool failed;            /* and is no longer usable */
	char why[160];          /* … why */
	sd_event_source *timer; /* for the pending answer */
	bool late;              /* … which is overdue */
	uint64_t features;      /* what it was prepared for */
	struct guest_mem *mem;  /* a reference; NULL: never prepared */
	bool stale;             /* … and something else has changed since */
	uint64_t started_us;    /* when it began to serve; 0: not yet */
	bool in_service;        /* slot_begin_service() was called for this start */
	struct datapath_ring lent[VHOST_USER_MAX_QUEUES]; /* rings that it has; see binding_ring.lent */
};

struct binding_ring {
	const struct vhost_queue *q;  /* NULL: its driver has not started it */
	uint16_t avail_idx, used_idx; /* the position, while no slot has it */
	struct slot *slot;            /* the slot that has it; NULL: the binding */
	struct datapath_ring *lent;   /* … and as which */
	bool held;    /* quiesced: no slot gets it until it is stopped, or the message has been handled */
	bool broken;  /* no slot gets it until it is stopped */
	bool tell;    /* to report it as broken: `why` */
	bool enabled; /* as its datapath knows it */
	bool recall; /* the call descriptor changed while its datapath was starting, which does not have it yet */
	bool served;   /* by any datapath, since its driver started it */
	bool doorbell; /* the front-end has its datapath's page */
	char why[128];
};

struct binding {
	struct datapath_open open;
	struct fabric_port *port; /* of the function */
	struct datapath_list list;
	bool failback;
	const struct binding_events *events;
	void *ctx;

	struct slot slot[2];
	struct slot *cur, *next; /* the one that serves, or did and is still kept; the one that is to */
	struct binding_ring ring[VHOST_USER_MAX_QUEUES];
	bool down[VPF_MAX_DATAPATHS];      /* failed in this search */
	char told[VPF_MAX_DATAPATHS][160]; /* the failure that was reported last, of each */
	bool better;                       /* those above the current one are tried, too */
	bool drop_next;                    /* another list came while `next` was being prepared */
	bool none;                         /* all failed: waiting for `retry` */
	bool unusable;                     /* last reported */
	bool logging;                      /* the rings' writes are being logged */
	bool from_known;                   /* there was a current one, and its end has not been reported */
	struct datapath_pref from;
	char cause[160]; /* … because of this; empty: nothing went wrong */
	uint64_t gap_us; /* since when no ring is served, for a move; 0: not in a move */

	bool quiescing, release; /* the owner waits for `quiesced`; `held` ends in the next iteration */
	bool stepping, again;
	sd_event_source *work, *retry, *settle, *rekick;
	unsigned int rekicks; /* that are still to be made */
	bool retry_on;
	uint64_t settle_first_us; /* 0: settled */

	struct function_settings settings; /* last binding_set() */
	struct rx_filter filter;
	bool set;
	struct binding_info info;
};

/* binding.c */
void binding_wake(struct binding *b); /* a step, from the event loop */
/* A doorbell page was withdrawn. The front-end releases the page in its own time, and kicks written to it until then
 * are lost: the slot that has the rings polls them a few more times. */
void binding_rekick(struct binding *b);
bool binding_given_back(const struct binding *b);     /* no slot has a ring that is held */
bool binding_ring_free(const struct binding_ring *r); /* may be given to a datapath, and has not been */

/* binding_step.c */
void binding_step(struct binding *b);
/* The current one is to be closed; `why` NULL: nothing went wrong. */
void binding_lose_current(struct binding *b, const char *why);

/* binding_slot.c. Those that start something record its answer in the slot, perhaps before they return. */
void slot_init(struct slot *s, struct binding *b);
void slot_fini(struct slot *s);
void slot_open(struct slot *s, unsigned int pos);
void slot_prepare(struct slot *s, uint64_t features, struct guest_mem *mem);
bool slot_fits(const struct slot *s, uint64_t features, const struct guest_mem *mem);
void slot_start(struct slot *s); /* all rings that are free, at least one */
/* It has started: it is told what changed meanwhile, and both sides of the rings are notified once. */
void slot_begin_service(struct slot *s);
void slot_stop(struct slot *s);
/* Sets a short deadline for the current operation. */
void slot_hurry(struct slot *s);
/* It is no longer usable; the next step acts on that. It is open. */
void slot_fail(struct slot *s, const char *why);
/* Takes its rings away by force. */
void slot_close(struct slot *s);
int slot_add_ring(struct slot *s, struct binding_ring *r);
/* It continues with the others if it can; if not, it is closed. */
void slot_take_ring(struct slot *s, struct binding_ring *r);
unsigned int slot_rings(const struct slot *s); /* how many it has */
