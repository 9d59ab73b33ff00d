/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The device side of one virtqueue: descriptors are taken, their buffers read or filled, and given back in
 * the order they were taken (virtio 1.3 §2.7, §2.8). Split and packed rings look the same from outside.
 *
 * Theory of operation. vring_take() copies descriptors out of shared memory once, checks them, and translates
 * each chain to host segments; the caller copies data and gives chains back with vring_put(), a burst at a
 * time, then asks vring_should_call(). The chains taken last can be pushed back unused with vring_untake(). A
 * chain is never taken twice and never given back out of order, so the `avail` and `used` positions say
 * everything about the ring: that is why two numbers suffice to hand it over to another datapath, and for a
 * restart.
 *
 * Untrusted: everything in shared memory. Each violation (index beyond the ring, a jump, a loop, a chain of
 * more than VRING_MAX_SEGS pieces, a descriptor of no length, memory outside the regions, wrong direction,
 * nested indirect tables) sets `broken` to a constant sentence, and from then on nothing is taken, until the
 * ring is started again.
 *
 * Thread-safety: none here. A transmit ring belongs to one worker, a receive ring to the holder of its
 * lock. */

#include "vhost/guest_mem.h"
#include "vhost/vhost_user.h"
#include "vhost/virtio.h"

/* __builtin_prefetch(p, 1) fetches for reading unless the compiler may assume PREFETCHW; where a CPU lacks
 * it, it does nothing. */
static inline void prefetch_write(const void *p)
{
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
}

#define VRING_MAX_CHAIN 1024                  /* the largest queue, and the largest indirect table */
#define VRING_MAX_SEGS  (2 * VRING_MAX_CHAIN) /* of one chain */

struct vring_seg {
	uint8_t *base;
	uint32_t len; /* bytes, not 0 */
};

struct vring_chain {
	struct vring_seg *seg;
	uint32_t len;     /* bytes of all segments */
	uint32_t written; /* bytes the device wrote; set by the caller before vring_put() */
	uint16_t nseg;    /* at least 1 */
	uint16_t id;      /* split: head; packed: buffer id */
	uint16_t ndesc;   /* ring slots it occupies: packed; 1 for split */
	uint16_t pos;     /* where it was taken, as vhost_queue.avail_idx */
};

struct virtq {
	/* What each burst needs, in one cache line */
	struct guest_mem *mem;
	union {
		struct vring_desc *desc;
		struct vring_packed_desc *pdesc;
	};
	union {
		struct vring_avail *avail;
		struct vring_packed_desc_event *driver_event;
	};
	union {
		struct vring_used *used;
		struct vring_packed_desc_event *device_event;
	};
	const char *broken; /* NULL: sound; else the reason */
	uint16_t size;
	uint16_t avail_pos, used_pos; /* split: free running; packed: 0…size-1 */
	uint16_t called_pos;          /* used_pos at the last call decision */
	uint32_t uncalled;            /* ring slots given back since then */
	bool packed, event_idx, indirect;
	bool avail_wrap, used_wrap; /* packed: wrap counters */
	bool called_valid;
	bool tracked; /* there is a dirty log or an inflight area */
	/* and what it usually does not need */
	int callfd;
	uint64_t features;
	uint64_t used_gpa;
	struct dirty_log *log;
	struct vhost_inflight *inflight;
};
_Static_assert(offsetof(struct virtq, callfd) <= CACHE_LINE, "one line");

/* Fills vr from a started queue; keeps its pointers (see vhost_user.h for their lifetime). */
void vring_start(struct virtq *vr, const struct vhost_queue *q);
/* The positions reached, in vhost_queue's format. */
void vring_position(const struct virtq *vr, uint16_t *ret_avail_idx, uint16_t *ret_used_idx);

/* Takes up to max chains; all their buffers must be device-writable (`writable`) or all device-readable.
 * Segments go to pool[0…npool); *ret_nseg is how many. Returns the number of chains, 0 if there are none or
 * the ring is broken. A chain that does not fit the rest of the pool is left for the next call; a pool of
 * VRING_MAX_SEGS holds any. */
unsigned int vring_take(struct virtq *vr, bool writable, struct vring_chain *chains, unsigned int max,
			struct vring_seg *pool, unsigned int npool, unsigned int *ret_nseg);
/* Pushes back the n chains taken last; the first of them is *chain. */
void vring_untake(struct virtq *vr, const struct vring_chain *chain);
/* Gives n chains back, in the order they were taken, and logs dirty pages. */
void vring_put(struct virtq *vr, const struct vring_chain *chains, unsigned int n);
/* True if the driver wants a call for what was put since this was last called. vring_call_fence() must come
 * between the put and this; one fence covers any number of rings. */
bool vring_wants_call(struct virtq *vr);
static inline void vring_call_fence(void)
{
	/* The used positions must be visible before the driver's wish is read (§2.7.7.2, §2.8.22). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}
static inline bool vring_should_call(struct virtq *vr)
{
	vring_call_fence();
	return vring_wants_call(vr);
}
/* Writes callfd; never blocks. */
void vring_call(const struct virtq *vr);
/* True if there is something to take. Cheap: one load. */
bool vring_has_work(const struct virtq *vr);
/* Asks the driver to kick, or not to. After enabling, the ring must be checked once more (a buffer may have
 * come just before): vring_kick_enable() returns true if there is work. */
bool vring_kick_enable(struct virtq *vr);
void vring_kick_disable(struct virtq *vr);

/* Prefetches, to be called one after the other as the data of each has had time to arrive: where the next
 * available descriptor is announced and the next used one goes; the descriptor; its buffer, for writing. What
 * they read themselves serves no other purpose, and may be wrong: other threads may be working on the
 * ring. */
static inline const uint16_t *vring_hint_entry_(const struct virtq *vr)
{
	return &vr->avail->ring[__atomic_load_n(&vr->avail_pos, __ATOMIC_RELAXED) & (vr->size - 1)];
}

static inline const void *vring_hint_desc_(const struct virtq *vr)
{
	if (vr->packed)
		return &vr->pdesc[__atomic_load_n(&vr->avail_pos, __ATOMIC_RELAXED)];
	return &vr->desc[__atomic_load_n(vring_hint_entry_(vr), __ATOMIC_RELAXED) & (vr->size - 1)];
}

static inline void vring_hint_indices(const struct virtq *vr)
{
	if (vr->packed) {
		prefetch_write(vring_hint_desc_(vr));
		return;
	}
	__builtin_prefetch(&vr->avail->idx);
	__builtin_prefetch(vring_hint_entry_(vr));
}

static inline void vring_hint_used(const struct virtq *vr)
{
	if (vr->packed)
		return; /* where the descriptor is */
	prefetch_write(&vr->used->ring[__atomic_load_n(&vr->used_pos, __ATOMIC_RELAXED) & (vr->size - 1)]);
	prefetch_write(&vr->used->idx);
}

static inline void vring_hint_desc(const struct virtq *vr)
{
	if (!vr->packed)
		__builtin_prefetch(vring_hint_desc_(vr));
}

static inline void vring_hint_buffer(const struct virtq *vr)
{
	const uint64_t *addr = vring_hint_desc_(vr); /* the first field, in both formats */
	uint32_t len = 2 * CACHE_LINE;
	const char *p = guest_mem_gpa(vr->mem, __atomic_load_n(addr, __ATOMIC_RELAXED), &len);

	_Static_assert(!offsetof(struct vring_desc, addr) && !offsetof(struct vring_packed_desc, addr), "");
	if (likely(p)) {
		prefetch_write(p);
		prefetch_write(p + CACHE_LINE);
	}
}
