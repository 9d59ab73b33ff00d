/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The inflight area (vhost-user "Inflight I/O tracking"): memory, held by the front-end, that outlives this
 * process and tells the next back-end the position of a ring.
 *
 * Theory of operation. The datapath takes descriptors, copies and completes them strictly in ring order, a
 * burst at a time, and holds none between bursts. After a crash, what was taken but not completed is
 * therefore exactly what follows from the next used index on, in order, and taking it again is right. So no
 * descriptor is ever recorded as in flight; the area is needed only to know the used index for certain:
 *
 *  - split: it is in guest memory (used->idx). After the index was published the datapath calls
 *    vhost_inflight_split_done(), for back-ends that compare the two.
 *  - packed: it is nowhere in guest memory. Around publishing a burst the datapath calls
 *
 *	vhost_inflight_packed_begin(inflight, used_idx_after_the_burst);
 *	... write ids, lengths and flags of the burst's used descriptors, the FIRST one's flags last, with
 *	    release: that write hands the whole burst over ...
 *	vhost_inflight_packed_end(inflight);
 *
 *    A crash between the two leaves both states, and the first descriptor's flags tell which one holds:
 *    "used" flags, or those the driver wrote when it made it available again, mean the burst was handed over.
 *
 * Both cost a few stores to one cache line per burst. `inflight` may be NULL: no effect.
 *
 * An area left by a back-end with out-of-order completion cannot be continued in this way: its entries say in
 * which order to continue, and we take the ring's order. vpfd never leaves such an area, and QEMU has none
 * for net devices.
 *
 * Untrusted: the front-end can write to the area at any time. What is read from it, at start only, is
 * checked.
 *
 * Thread-safety: set-up on the main thread while the queue is stopped; begin/end/done on its worker. */

#include "util/util.h"

#define VHOST_INFLIGHT_VERSION 1

/* Formats of the specification: DescStateSplit, QueueRegionSplit, DescStatePacked, QueueRegionPacked. */
struct inflight_split_desc {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next;
	uint64_t counter;
};

struct inflight_split {
	uint64_t features;
	uint16_t version; /* 0: not initialised */
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;
	struct inflight_split_desc desc[];
};

struct inflight_packed_desc {
	uint8_t inflight;
	uint8_t padding;
	uint16_t next;
	uint16_t last;
	uint16_t num;
	uint64_t counter;
	uint16_t id;
	uint16_t flags;
	uint32_t len;
	uint64_t addr;
};

struct inflight_packed {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t free_head;
	uint16_t old_free_head;
	union {
		struct {
			uint16_t used_idx;
			uint16_t old_used_idx;
			uint8_t used_wrap_counter;
			uint8_t old_used_wrap_counter;
			uint8_t padding[7]; /* as specified; three more follow at the end */
		};
		uint64_t used; /* the four fields and two bytes of padding, to be written at once */
	};
	struct inflight_packed_desc desc[];
};

_Static_assert(offsetof(struct inflight_packed, used) == 16, "one aligned word");
_Static_assert(sizeof(struct inflight_split) == 16 && sizeof(struct inflight_split_desc) == 16,
	       "split inflight");
_Static_assert(sizeof(struct inflight_packed) == 32 && sizeof(struct inflight_packed_desc) == 32,
	       "packed inflight");

/* One queue's region, mapped. */
struct vhost_inflight {
	union {
		struct inflight_split *split;
		struct inflight_packed *packed;
	};
	uint16_t size;    /* of the queue */
	uint16_t used;    /* packed: the used index before and */
	uint16_t pending; /* … after the burst that is being published; the area is never read back */
};

/* Bytes that one queue's region needs. */
static inline uint64_t vhost_inflight_region_size(uint16_t queue_size, bool packed)
{
	return packed ? sizeof(struct inflight_packed) + queue_size * sizeof(struct inflight_packed_desc)
		      : sizeof(struct inflight_split) + queue_size * sizeof(struct inflight_split_desc);
}

/* True if no back-end has used the region yet (both formats have the version in the same place). */
static inline bool vhost_inflight_fresh(const struct vhost_inflight *inflight)
{
	return !__atomic_load_n(&inflight->split->version, __ATOMIC_ACQUIRE);
}

/* Makes the memory for GET_INFLIGHT_FD: `queues` regions, each large enough for either ring type, zeroed (so:
 * version 0), in a memfd sealed against resizing. -EINVAL if there are no queues or no size, or the system
 * call's errno. */
int vhost_inflight_create(uint16_t queues, uint16_t queue_size, uint64_t *ret_size, int *ret_fd);

/* Prepares a split queue's region for a start with indices avail == used == used_idx: a fresh one is
 * initialised, what an earlier run left is cleared. -EINVAL if it was made for another queue size. */
int vhost_inflight_split_start(struct vhost_inflight *inflight, uint16_t used_idx);

/* The same for a packed queue (index in bits 0-14, wrap counter in bit 15). With `recover`, and unless the
 * region is fresh, *used_idx becomes the position of the last run: `desc` is the ring, 16 bytes each. -EINVAL
 * also if the region's indices are out of range. */
int vhost_inflight_packed_start(struct vhost_inflight *inflight, const void *desc, bool recover,
				uint16_t *used_idx);

/* The position of the last run of a packed queue, from the header of its region. -EINVAL: out of range. */
int vhost_inflight_packed_recover(const struct vhost_inflight *inflight, const void *desc, uint16_t *ret);

/* Split: used->idx was published as `used_idx`. */
static inline void vhost_inflight_split_done(struct vhost_inflight *inflight, uint16_t used_idx)
{
	if (inflight)
		__atomic_store_n(&inflight->split->used_idx, used_idx, __ATOMIC_RELEASE);
}

/* Packed: both states in one store, so that a crash never leaves an index with the wrap counter of the
 * other. */
static inline void vhost_inflight_packed_store_(struct vhost_inflight *inflight)
{
	union {
		struct {
			uint16_t idx, old_idx;
			uint8_t wrap, old_wrap, padding[2];
		};
		uint64_t word;
	} u = {{
		.idx = inflight->pending & 0x7fff,
		.old_idx = inflight->used & 0x7fff,
		.wrap = inflight->pending >> 15,
		.old_wrap = inflight->used >> 15,
	}};

	__atomic_store_n(&inflight->packed->used, u.word, __ATOMIC_RELEASE);
}

/* Packed: a burst is about to be published, after which the used index is `used_idx` (bit 15: wrap). */
static inline void vhost_inflight_packed_begin(struct vhost_inflight *inflight, uint16_t used_idx)
{
	if (!inflight)
		return;
	inflight->pending = used_idx;
	vhost_inflight_packed_store_(inflight);
	__atomic_thread_fence(__ATOMIC_RELEASE); /* before the flags of the burst's first descriptor */
}

/* Packed: the burst was published. */
static inline void vhost_inflight_packed_end(struct vhost_inflight *inflight)
{
	if (!inflight)
		return;
	inflight->used = inflight->pending;
	vhost_inflight_packed_store_(inflight); /* release: after those flags */
}
