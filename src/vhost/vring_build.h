/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What vring.c and the two ring formats share: building chains. */

#include "vhost/vring.h"

struct vring_builder {
	struct virtq *vr;
	struct vring_seg *pool;
	unsigned int npool, nseg;
	bool writable;
};

enum vring_add { VRING_ADD_OK, VRING_ADD_FULL, VRING_ADD_BROKEN };

/* Adds one buffer, split where it crosses from one memory region to the next. */
enum vring_add vring_add_buffer(struct vring_builder *b, struct vring_chain *c, uint64_t gpa, uint32_t len,
				bool writable);

/* The part of guest memory that has the last buffer, kept as long as the next one is in it, too. */
struct vring_window {
	uint64_t gpa, size;
	uint8_t *hva;
};

static inline struct vring_window vring_window_at(const struct guest_mem *mem, uint64_t gpa)
{
	for (unsigned int i = 0; i < mem->n; i++) {
		const struct guest_mem_region *r = &mem->regions[i];

		if (likely(gpa - r->gpa < r->size))
			return (struct vring_window){r->gpa, r->size, r->hva};
	}
	return (struct vring_window){0};
}

/* Where a buffer of the usual kind is: not empty, below 2 GiB, in one region. NULL: it is of another kind, or
 * wrong. */
static inline uint8_t *vring_window_buffer(struct vring_window *w, const struct guest_mem *mem, uint64_t gpa,
					   uint32_t len)
{
	uint64_t off = gpa - w->gpa;

	if (unlikely(len - 1 >= (uint32_t)INT32_MAX))
		return NULL;
	if (unlikely(off >= w->size || len > w->size - off)) {
		*w = vring_window_at(mem, gpa);
		off = gpa - w->gpa;
		if (off >= w->size || len > w->size - off)
			return NULL;
	}
	return w->hva + off;
}

unsigned int vring_split_take(struct vring_builder *b, struct vring_chain *chains, unsigned int max);
unsigned int vring_packed_take(struct vring_builder *b, struct vring_chain *chains, unsigned int max);
void vring_split_put(struct virtq *vr, const struct vring_chain *chains, unsigned int n);
void vring_packed_put(struct virtq *vr, const struct vring_chain *chains, unsigned int n);
