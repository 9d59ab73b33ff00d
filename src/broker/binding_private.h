/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of a binding share. No other file includes this.
 *
 *	binding.c	what the owner calls; the events that it gets
 *	binding_step.c	the decision: what is to be done next in the state that is
 *	binding_slot.c	one instance of a datapath: its phases, its deadlines, the rings that it has
 *
 * Callbacks of an instance may come from anywhere, even from within a call to it. So they write down what
 * they say in its slot, and the next step acts on that: no instance is closed or called from within its own
 * callback. */

#include "broker/binding.h"

#define BINDING_OUTSIDE  VPF_MAX_DATAPATHS /* a position: in no list any more */
#define BINDING_RETRY_US 1000000           /* µs */
/* Rings start and stop one after the other. A datapath that has to be stopped for each waits until the set
 * has been the same for so long, but no longer than that. */
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
	enum attach_kind kind;  /* of its attachment to the fabric; ATTACH_NONE: it leads elsewhere */
	struct fabric_use use;  /* of the fabric's port */
	bool attached;          /* … which is open, or on its way */
	unsigned int pos;       /* of it in the list, or BINDING_OUTSIDE */
	bool failed;            /* and is of no use any more */
	char why[160];          /* … why */
	sd_event_source *timer; /* for the answer that is due */
	bool late;              /* … and has not come in time */
	uint64_t features;      /* what it was prepared for */
	struct guest_mem *mem;  /* a reference; NULL: never prepared */
	bool stale;             /* … and something else changed since */
	uint64_t started_us;    /* when it began to serve; 0: it did not yet */
	bool in_service;        /* slot_begin_service() was called for this start */
	struct datapath_ring lent[VHOST_USER_MAX_QUEUES]; /* rings that it has; see binding_ring.lent */
};

struct binding_ring {
	const struct vhost_queue *q;  /* NULL: its driver has not started it */
	uint16_t avail_idx, used_idx; /* where it stands, while nobody has it */
	struct slot *slot;            /* who has it; NULL: the binding */
	struct datapath_ring *lent;   /* … and what as */
	bool held;    /* quiesced: nobody gets it until it is stopped, or the message is over */
	bool broken;  /* nobody gets it until it is stopped */
	bool tell;    /* that it is broken: `why` */
	bool enabled; /* as its datapath knows it */
	bool recall; /* its datapath does not know the call descriptor yet, which changed while it was starting */
	bool served;   /* by somebody, since its driver started it */
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
	struct slot *cur, *next; /* who serves, or did and is not given up; who is to */
	struct binding_ring ring[VHOST_USER_MAX_QUEUES];
	bool down[VPF_MAX_DATAPATHS];      /* failed in this search */
	char told[VPF_MAX_DATAPATHS][160]; /* the failure that was reported last, of each */
	bool better;                       /* those above the current one are wanted, too */
	bool drop_next;                    /* another list came while `next` was being prepared */
	bool none;                         /* all failed: waiting for `retry` */
	bool unusable;                     /* that was told */
	bool logging;                      /* the rings' writes are being logged */
	bool from_known;                   /* there was a current one, and that it is no more was not told */
	struct datapath_pref from;
	char cause[160]; /* … because of this; empty: nothing went wrong */
	uint64_t gap_us; /* since when no ring is served, for a move; 0: that is not it */

	bool quiescing, release; /* somebody waits for `quiesced`; `held` is over in the next turn */
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
/* A doorbell page was taken back. The front-end gives up the page when it comes round to it, and kicks that
 * go there until then are lost: whoever has the rings looks at them a few times more. */
void binding_rekick(struct binding *b);
bool binding_given_back(const struct binding *b);     /* nobody has a ring that is held */
bool binding_ring_free(const struct binding_ring *r); /* may be given to a datapath, and is not */

/* binding_step.c */
void binding_step(struct binding *b);
/* The current one is to be closed; `why` NULL: nothing went wrong. */
void binding_lose_current(struct binding *b, const char *why);

/* binding_slot.c. Those that start something leave its answer in the slot, perhaps at once. */
void slot_init(struct slot *s, struct binding *b);
void slot_fini(struct slot *s);
void slot_open(struct slot *s, unsigned int pos);
void slot_prepare(struct slot *s, uint64_t features, struct guest_mem *mem);
bool slot_fits(const struct slot *s, uint64_t features, const struct guest_mem *mem);
void slot_start(struct slot *s); /* all rings that are free, at least one */
/* It has started: it learns what changed meanwhile, and both sides of the rings look once. */
void slot_begin_service(struct slot *s);
void slot_stop(struct slot *s);
/* Soon it has to be done, one way or the other. */
void slot_hurry(struct slot *s);
/* It is of no use any more, which the next step acts upon; it has begun, and is not closed. */
void slot_fail(struct slot *s, const char *why);
/* Rings that it has are torn from it. */
void slot_close(struct slot *s);
int slot_add_ring(struct slot *s, struct binding_ring *r);
/* It goes on with the others if it can; if not, it is closed. */
void slot_take_ring(struct slot *s, struct binding_ring *r);
unsigned int slot_rings(const struct slot *s); /* how many it has */
