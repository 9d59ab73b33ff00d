/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How much a function may send: its maximum rate, its guaranteed minimum, and what all functions of its
 * virtual PF may send together.
 *
 * Theory of operation. A bucket is one number: the time up to which what was sent is paid for at the bucket's
 * rate. Before now: there is credit, at most SHAPER_DEPTH_NS of it; after now: debt. A function with credit
 * may send any frame, and go into debt for it, so no rate is too low for a large frame; one without waits
 * until the debt is over. Spending is one atomic addition, so the queues of a port may be on different
 * workers: each may overdraw by what it takes in one visit, and all of that is paid back.
 *
 * A function's own maximum comes first. Where its PF has a total, what it sends within its minimum (a bucket
 * of its own) passes at once and is charged to the total, into debt if necessary: the sum of the minimums
 * never exceeds the total. Beyond its minimum a function sends what the total has credit for, by turns: each
 * function counts the bytes that it sent in this way (`turn`), a virtual clock like that of start-time fair
 * queueing. It may be a quantum ahead of the function that is furthest behind, of those that want to send.
 * One that was idle starts at the present and cannot save up turns. If the one behind does not come although
 * there is plenty of credit (its worker has no CPU), the others continue without it.
 *
 * A queue that may not send leaves its worker's list until the time that shaper_ask() names: see worker.h.
 *
 * What counts are the bytes of frames as the guest hands them over, with its own VLAN tags, from the
 * destination address to the payload's end; of a frame with segmentation offload, each segment with its
 * headers.
 *
 * Thread-safety: shaper_ask, shaper_spend, shaper_rest: any worker. All else: main thread. Times: ns,
 * CLOCK_MONOTONIC. */

#include "util/util.h"

#define SHAPER_DEPTH_NS 10000000u /* credit: how long a burst may be, and how late a worker may be */

struct shaper;

struct shaper_pool {                    /* a virtual PF's total */
	uint64_t cost;                  /* atomic; per byte, 0: no limit */
	uint64_t paid cache_aligned;    /* atomic: the bucket */
	uint64_t turn;                  /* atomic: of the function that is, or was, furthest behind */
	unsigned int wanting;           /* atomic: functions that want to send beyond their minimum */
	struct shaper_members *members; /* RCU, never NULL */
	struct shaper_members *spare;   /* main thread: for shaper_leave() */
};

struct shaper { /* a function's state */
	struct shaper_pool *pool;
	uint64_t paid_max, paid_min; /* atomic: buckets */
	uint64_t turn;               /* atomic */
	bool wants;                  /* atomic */
};

struct shaper_conf {                 /* a function's settings; zeros: none */
	uint64_t max_cost, min_cost; /* shaper_cost() */
	bool limited;                /* it or its PF has a limit */
};

struct shaper_grant {
	uint64_t bytes; /* that may be sent; the frame with the last of them may be sent whole */
	bool assured;   /* within the minimum */
};

/* What a byte costs at a rate in Mb/s; 0 for 0. */
uint64_t shaper_cost(uint32_t rate);

int shaper_pool_new(struct shaper_pool **ret);   /* without limit. -ENOMEM */
void shaper_pool_free(struct shaper_pool *pool); /* it has no members; takes NULL */
/* Changes the total, in Mb/s, 0: no limit; true if it was different. */
bool shaper_pool_set(struct shaper_pool *pool, uint32_t rate, uint64_t now);
int shaper_join(struct shaper *s, struct shaper_pool *pool); /* -ENOMEM */
/* Its queues are stopped. Cannot fail: it needs no memory. */
void shaper_leave(struct shaper *s);
/* Converts what is owed from before a change of settings to the new rate. */
void shaper_changed(struct shaper *s, const struct shaper_conf *before, const struct shaper_conf *after,
		    uint64_t now);

/* May the function send? 0: yes, up to *ret; else when to ask again. */
uint64_t shaper_ask(struct shaper *s, const struct shaper_conf *c, uint64_t now, struct shaper_grant *ret);
/* It has sent this number of bytes on that grant. */
void shaper_spend(struct shaper *s, const struct shaper_conf *c, const struct shaper_grant *g,
		  uint64_t bytes);
/* It has nothing more to send: no function waits for it. */
void shaper_rest(struct shaper *s);
