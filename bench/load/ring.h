/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The driver's side of a split virtqueue (virtio 1.3 §2.7), for a driver that polls: no calls are wanted, a
 * kick is given where the device asks for it. Each descriptor stands for a buffer of its own (perhaps through
 * an indirect table), so descriptors need no chains. */

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"
#include "vhost/virtio.h"

#define RING_MAX 1024

struct ring {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t size, mask;
	uint16_t avail_idx;     /* of what was added */
	uint16_t published_idx; /* of what the device knows */
	uint16_t used_idx;
	uint16_t n_free;
	int kickfd, callfd;
	uint64_t kicks;
	uint16_t *free;  /* descriptors, a stack */
	uint16_t *token; /* of each descriptor: the owner's number of its buffer */
};

void ring_init(struct ring *r, struct memory *m, uint16_t size);
void ring_done(struct ring *r);
void ring_kick(struct ring *r);

/* There must be a free descriptor. */
static inline void ring_add(struct ring *r, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t token)
{
	uint16_t id = r->free[--r->n_free];

	r->desc[id] = (struct vring_desc){.addr = gpa, .len = len, .flags = flags};
	r->token[id] = token;
	r->avail->ring[r->avail_idx++ & r->mask] = id;
}

static inline void ring_publish(struct ring *r)
{
	if (r->published_idx == r->avail_idx)
		return;
	__atomic_store_n(&r->avail->idx, r->avail_idx, __ATOMIC_RELEASE);
	r->published_idx = r->avail_idx;
	/* The index is written before the check: otherwise both sides may wait for each other. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!(__atomic_load_n(&r->used->flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY))
		ring_kick(r);
}

/* Buffers that the device is done with. */
static inline uint16_t ring_used(const struct ring *r)
{
	return (uint16_t)(__atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) - r->used_idx);
}

/* The token of the n-th of these, without taking it. */
static inline uint16_t ring_peek(const struct ring *r, uint16_t n)
{
	return r->token[r->used->ring[(uint16_t)(r->used_idx + n) & r->mask].id & r->mask];
}

static inline uint16_t ring_take(struct ring *r, uint32_t *ret_len)
{
	const struct vring_used_elem *e = &r->used->ring[r->used_idx++ & r->mask];
	uint16_t id = (uint16_t)(e->id & r->mask);

	*ret_len = e->len;
	r->free[r->n_free++] = id;
	return r->token[id];
}
