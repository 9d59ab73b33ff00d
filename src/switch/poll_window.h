/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How long a worker goes on polling what has gone quiet, before it sleeps.
 *
 * Theory of operation. To be woken takes a thread longer than what it is woken for. Where something comes
 * soon after a worker has gone to sleep, the window grows, up to its maximum; where sleep was long, polling
 * was for nothing, and it shrinks, down to POLL_MIN_NS. A worker that is woken displaces whoever has its CPU;
 * one that polls has used up its share, and waits for its turn when somebody else wants the CPU. A pass that
 * took very long was such a wait. At times that may be; each one fills a bucket that leaks, and when it is
 * full, the CPU is taken for one that others need: for a second the worker polls no longer than the minimum.
 * (Giving way while it polls in vain would be no better: Linux takes a yield for a whole turn given up.)
 *
 * Times are ns of CLOCK_MONOTONIC. Thread-safety: the worker's own. */

#include <stdbool.h>
#include <stdint.h>

#define POLL_MIN_NS 50000u

#define CROWDED_NS      1000000u    /* a pass that took so long counts */
#define CROWDED_EACH_NS 20000000u   /* what each one puts into the bucket, which leaks as time goes by */
#define CROWDED_MAX_NS  100000000u  /* the bucket */
#define CROWDED_REST_NS 1000000000u /* how long the CPU is then taken for one that others need */

struct poll_window {
	uint64_t max_ns;
	uint64_t ns;     /* the window: POLL_MIN_NS to max_ns, or max_ns if that is less */
	uint64_t bucket; /* time at which it will be empty */
	uint64_t crowded_until;
};

void poll_window_init(struct poll_window *p, uint64_t max_ns);
/* The worker slept for so long, until now. */
void poll_window_slept(struct poll_window *p, uint64_t now, uint64_t slept_ns);
void poll_window_crowded(struct poll_window *p, uint64_t now);

/* A pass took so long, until now. */
static inline void poll_window_passed(struct poll_window *p, uint64_t now, uint64_t took_ns)
{
	if (__builtin_expect(took_ns >= CROWDED_NS, 0))
		poll_window_crowded(p, now);
}
