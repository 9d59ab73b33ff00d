/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What vring.c and the two ring formats share: chains in the making. */

#include "vhost/vring.h"

struct vring_builder {
	struct virtq *vr;
	struct vring_seg *pool;
	unsigned int npool, nseg;
	bool writable;
};

enum vring_add { VRING_ADD_OK, VRING_ADD_FULL, VRING_ADD_BROKEN };

/* Adds one buffer, split where it crosses from one memory region to the next. */
enum vring_add vring_add_buffer_slow(struct vring_builder *b, struct vring_chain *c, uint64_t gpa,
				     uint32_t len, bool writable);

/* Adds the usual buffer: whole in one region, in the right direction, room in the pool. False: it is another
 * one, or a wrong one; nothing has changed. */
static inline bool vring_add_plain(struct vring_builder *b, struct vring_chain *c, uint64_t gpa, uint32_t len,
				   bool writable)
{
	const struct guest_mem *mem = b->vr->mem;

	if (unlikely(writable != b->writable || b->nseg == b->npool))
		return false;
	/* One comparison for "no length" and "2 GiB or more in all". */
	if (unlikely(len - 1 >= (uint32_t)INT32_MAX - c->len))
		return false;
	for (unsigned int i = 0; i < mem->n; i++) {
		const struct guest_mem_region *r = &mem->regions[i];
		uint64_t off = gpa - r->gpa;

		if (unlikely(off >= r->size))
			continue;
		if (unlikely(len > r->size - off || c->nseg == VRING_MAX_SEGS))
			return false;
		b->pool[b->nseg++] = (struct vring_seg){r->hva + off, len};
		c->nseg++;
		c->len += len;
		return true;
	}
	return false;
}

static inline enum vring_add vring_add_buffer(struct vring_builder *b, struct vring_chain *c, uint64_t gpa,
					      uint32_t len, bool writable)
{
	if (likely(vring_add_plain(b, c, gpa, len, writable)))
		return VRING_ADD_OK;
	return vring_add_buffer_slow(b, c, gpa, len, writable);
}

unsigned int vring_split_take(struct vring_builder *b, struct vring_chain *chains, unsigned int max);
unsigned int vring_packed_take(struct vring_builder *b, struct vring_chain *chains, unsigned int max);
void vring_split_put(struct virtq *vr, const struct vring_chain *chains, unsigned int n);
void vring_packed_put(struct virtq *vr, const struct vring_chain *chains, unsigned int n);
