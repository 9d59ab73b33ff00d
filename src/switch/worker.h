/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The workers: threads that move frames.
 *
 * Theory of operation. Each worker owns a share of the transmit queues and of the uplinks' descriptors. A
 * queue is *idle* (its driver kicks, the kick descriptor is in the worker's epoll set) or *active* (kicks are
 * off, the worker polls it each pass). A kick makes it active; when nothing has arrived for the time that
 * poll_window.h finds, and for some passes, it is idle again, with one more look after kicks are on, so that
 * no buffer is missed. The cost of a pass depends only on the active queues, however many idle ones there
 * are; with none active the worker sleeps in epoll_wait() and costs nothing. While a worker sleeps it is
 * offline for RCU: the main thread never waits for it.
 *
 * A queue that has frames and may not send them yet (shaper.h) is *throttled*: kicks are off, it is not
 * polled, and the worker sleeps no longer than until the first throttled queue may continue; then it is
 * active again. Any event that may end the wait early (new settings, the end of the queue) takes it out of that list.
 *
 * The main thread talks to a worker by worker_run(): it waits for a function that runs between two passes.
 * Workers tell the main thread of rare events (a broken ring, a new source MAC) through one bounded queue
 * each and a common eventfd; if the queue is full, a new MAC is reported again with a later frame.
 *
 * Thread-safety: worker_run, worker_pool_*: main thread. The rest: the worker itself. */

#include <pthread.h>

#include "switch/offload.h"
#include "switch/poll_window.h"
#include "switch/port.h"
#include "util/err.h"

#define WORKER_MAX   64
#define WORKER_CALLS 64   /* pending calls before they are made */
#define WORKER_NOTES 256  /* power of two */
#define WORKER_SEGS  4096 /* segments of a burst */

struct uplink_queue;

struct worker_note {
	uint64_t port_id; /* 0: a ring of some port broke: look for it */
	uint64_t mac;
	uint16_t vlan;
};

struct worker {
	unsigned int id;
	struct worker_pool *pool;
	pthread_t thread;
	int epfd, wakefd;
	struct poll_source wake;
	uint64_t now; /* ns, CLOCK_MONOTONIC at the start of the pass */

	struct sw_queue **active;
	unsigned int n_active, room_active;
	struct sw_queue **throttled;
	unsigned int n_throttled, room_throttled; /* n: atomic, other threads may read it */
	uint64_t next_resume; /* ns: when to look at the throttled ones; UINT64_MAX: there are none */
	bool look;            /* ask epoll again at once */
	uint64_t look_until;  /* ns: keep asking epoll until then, something came from an uplink */
	struct poll_window window;

	unsigned int n_calls;
	struct sw_queue *calls[WORKER_CALLS];

	/* scratch of one burst */
	struct burst burst;
	struct pkt pkts[BURST_ROOM];
	struct vring_chain tx_chains[BURST_ROOM];
	struct vring_seg tx_segs[WORKER_SEGS];
	struct vring_chain rx_chains[VRING_MAX_CHAIN];
	struct vring_seg rx_segs[WORKER_SEGS];
	struct offload_scratch offload;
	uint8_t uplink_buf[PKT_MAX_LEN + 64];

	/* main thread → worker: one call at a time, under `mutex` */
	pthread_mutex_t mutex;
	pthread_cond_t done;
	void (*run)(struct worker *w, void *arg);
	void *run_arg;
	bool run_pending; /* atomic */

	/* worker → main thread: single producer, single consumer */
	uint32_t note_head cache_aligned; /* consumer */
	uint32_t note_tail cache_aligned; /* producer */
	struct worker_note notes[WORKER_NOTES];
	bool broken_note; /* atomic; a ring broke: kept apart from the notes, which cannot crowd it out */

	/* counters: the worker writes, others read */
	uint64_t polls cache_aligned, packets, sleeps;
	unsigned int queues; /* main thread */
};

struct worker_pool {
	unsigned int n;
	uint64_t poll_ns;
	int notefd;        /* readable when a worker left a note, or there are control frames */
	bool control_note; /* atomic; control frames wait */
	bool stop;         /* atomic */
	struct worker *worker[WORKER_MAX];
};

/* Starts n workers; cpus[i] >= 0 pins worker i. Errors: -ENOMEM, -EINVAL (no such CPU), pthread_create's. */
int worker_pool_new(unsigned int n, unsigned int poll_us, const int *cpus, struct worker_pool **ret,
		    struct err *err);
void worker_pool_free(struct worker_pool *pool); /* nothing of it may be in use; takes NULL */
/* The worker with the fewest queues. */
struct worker *worker_pool_pick(struct worker_pool *pool);
/* Runs fn(w, arg) in w's thread between two passes, and returns when it is done. */
void worker_run(struct worker *w, void (*fn)(struct worker *w, void *arg), void *arg);
/* Takes the next note; false if there is none. Clear notefd before draining. */
bool worker_next_note(struct worker *w, struct worker_note *ret);

/* The lock of a receive queue. With one worker it is not needed. */
void port_rx_lock_slow(struct sw_queue *q);
static inline void port_rx_lock(const struct worker *w, struct sw_queue *q)
{
	if (unlikely(w->pool->n > 1))
		port_rx_lock_slow(q);
}

static inline void port_rx_unlock(const struct worker *w, struct sw_queue *q)
{
	if (unlikely(w->pool->n > 1))
		__atomic_store_n(&q->lock, 0, __ATOMIC_RELEASE);
}

/* In the worker: leaves a note. A new MAC is lost if the queue is full; a broken ring never is, but several
 * may be reported as one. */
void worker_note(struct worker *w, const struct worker_note *note);
/* Any thread: control frames wait in some mailbox. Main thread: whether any have come since the last call. */
void worker_note_control(struct worker_pool *pool);
bool worker_next_control(struct worker_pool *pool);
/* In the worker: the driver of q wants a call; made at the end of the burst. */
void worker_call(struct worker *w, struct sw_queue *q);
void worker_flush_calls(struct worker *w);
/* In the worker, from worker_run(): watch a descriptor, stop watching it. */
int worker_watch(struct worker *w, int fd, struct poll_source *source);
void worker_unwatch(struct worker *w, int fd);
/* All throttled queues ask again whether they may send: rates have changed. */
void worker_pool_resume(struct worker_pool *pool);
/* In the worker: the wait of q is over, if it was throttled. */
void worker_resume(struct worker *w, struct sw_queue *q);
/* In the worker: poll q from the next pass on, unless it is throttled; stop polling it and waiting for it. */
int worker_activate(struct worker *w, struct sw_queue *q);
void worker_deactivate(struct worker *w, struct sw_queue *q);
