/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How long a worker keeps polling idle queues before it sleeps.
 *
 * Theory of operation. Waking a thread takes longer than the work that it is woken for. If frames arrive soon
 * after a worker has gone to sleep, the window grows, up to its maximum; if the sleep was long, polling was
 * in vain, and the window shrinks, down to POLL_MIN_NS. A worker that is woken preempts the thread that has
 * its CPU; one that polls has used up its share, and waits its turn when another thread wants the CPU. A pass
 * that took very long was such a wait. That may happen now and then; each one fills a leaky bucket, and when
 * that is full, the CPU counts as one that others need: for a second the worker polls no longer than the
 * minimum. (Yielding while it polls in vain would be no better: for Linux a yield gives up a whole time
 * slice.)
 *
 * Times are ns of CLOCK_MONOTONIC. Thread-safety: the worker's own. */

#include <stdbool.h>
#include <stdint.h>

#define POLL_MIN_NS 50000u

#define CROWDED_NS      1000000u    /* a pass that took this long counts */
#define CROWDED_EACH_NS 20000000u   /* what each one adds to the bucket, which leaks as time goes by */
#define CROWDED_MAX_NS  100000000u  /* the bucket */
#define CROWDED_REST_NS 1000000000u /* how long the CPU then counts as one that others need */

struct poll_window {
	uint64_t max_ns;
	uint64_t ns;     /* the window: POLL_MIN_NS to max_ns, or max_ns if that is less */
	uint64_t bucket; /* time at which it will be empty */
	uint64_t crowded_until;
};

void poll_window_init(struct poll_window *p, uint64_t max_ns);
/* The worker slept for this time, until now. */
void poll_window_slept(struct poll_window *p, uint64_t now, uint64_t slept_ns);
void poll_window_crowded(struct poll_window *p, uint64_t now);

/* A pass took this time, until now. */
static inline void poll_window_passed(struct poll_window *p, uint64_t now, uint64_t took_ns)
{
	if (__builtin_expect(took_ns >= CROWDED_NS, 0))
		poll_window_crowded(p, now);
}
