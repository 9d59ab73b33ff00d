/* SPDX-License-Identifier: Apache-2.0 */

/* Split virtqueues, device side (virtio 1.3 §2.7). */

#include "vhost/inflight.h"
#include "vhost/vring_build.h"

#include <string.h>

/* One copy of a descriptor, so that what is checked is what is used. */
static inline struct vring_desc read_desc(const struct vring_desc *table, unsigned int i)
{
	const volatile struct vring_desc *d = &table[i];

	return (struct vring_desc){.addr = d->addr, .len = d->len, .flags = d->flags, .next = d->next};
}

static enum vring_add add_indirect(struct vring_builder *b, struct vring_chain *c, uint64_t gpa,
				   uint32_t len);

/* Walks `table` from descriptor i. It is bounded by the size of the table, so a loop ends as an error. */
static enum vring_add walk(struct vring_builder *b, struct vring_chain *c, const struct vring_desc *table,
			   unsigned int n, unsigned int i, bool in_indirect)
{
	for (unsigned int count = 0;; count++) {
		struct vring_desc d;
		enum vring_add r;

		if (unlikely(i >= n)) {
			b->vr->broken = "a descriptor index is beyond its table";
			return VRING_ADD_BROKEN;
		}
		if (unlikely(count >= n)) {
			b->vr->broken = "a descriptor chain loops";
			return VRING_ADD_BROKEN;
		}
		d = read_desc(table, i);
		if (unlikely(d.flags & VRING_DESC_F_INDIRECT)) {
			if (in_indirect || !b->vr->indirect || d.flags & VRING_DESC_F_NEXT) {
				b->vr->broken = "an indirect descriptor where none may be";
				return VRING_ADD_BROKEN;
			}
			return add_indirect(b, c, d.addr, d.len);
		}
		r = vring_add_buffer(b, c, d.addr, d.len, d.flags & VRING_DESC_F_WRITE);
		if (unlikely(r != VRING_ADD_OK))
			return r;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return VRING_ADD_OK;
		i = d.next;
	}
}

static enum vring_add add_indirect(struct vring_builder *b, struct vring_chain *c, uint64_t gpa, uint32_t len)
{
	uint32_t part = len;
	void *table;

	if (!len || len % sizeof(struct vring_desc) || len / sizeof(struct vring_desc) > VRING_MAX_CHAIN) {
		b->vr->broken = "an indirect table of a wrong size";
		return VRING_ADD_BROKEN;
	}
	table = guest_mem_gpa(b->vr->mem, gpa, &part);
	if (!table || part != len || (uintptr_t)table % 8) {
		b->vr->broken = "an indirect table outside guest memory";
		return VRING_ADD_BROKEN;
	}
	return walk(b, c, table, len / sizeof(struct vring_desc), 0, true);
}

#define ANY_FLAG (VRING_DESC_F_NEXT | VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT)

static inline uint16_t read_entry(const struct virtq *vr, unsigned int pos)
{
	return __atomic_load_n(&vr->avail->ring[pos & (vr->size - 1)], __ATOMIC_RELAXED);
}

/* Takes chains of the usual kind, one direct descriptor, until there is one of another kind, or a wrong one.
 * It keeps what it needs of the ring in registers, because for the compiler any store might change the
 * ring. */
static __attribute__((noinline)) unsigned int take_plain(struct vring_builder *b, struct vring_chain *chains,
							 unsigned int max, unsigned int pos)
{
	const struct virtq *vr = b->vr;
	const struct guest_mem *mem = vr->mem;
	const struct vring_desc *table = vr->desc;
	const uint16_t *entries = vr->avail->ring;
	const unsigned int mask = vr->size - 1u, want = b->writable ? VRING_DESC_F_WRITE : 0;
	struct vring_seg *seg = &b->pool[b->nseg];
	struct vring_chain *c = chains, *end = chains + MIN(max, b->npool - b->nseg);
	struct vring_window w = {0};

	for (; c < end; c++, seg++, pos++) {
		unsigned int id = __atomic_load_n(&entries[pos & mask], __ATOMIC_RELAXED);
		const volatile struct vring_desc *d = &table[id];
		uint32_t len;
		uint8_t *p;

		if (unlikely(id > mask || (d->flags & ANY_FLAG) != want))
			break;
		len = d->len;
		p = vring_window_buffer(&w, mem, d->addr, len);
		if (unlikely(!p))
			break;
		*seg = (struct vring_seg){p, len};
		c->seg = seg;
		c->len = len;
		c->written = 0;
		c->nseg = 1;
		c->id = (uint16_t)id;
		c->ndesc = 1;
		c->pos = (uint16_t)pos;
	}
	b->nseg += (unsigned int)(c - chains);
	return (unsigned int)(c - chains);
}

/* Takes any chain. */
static enum vring_add take_one(struct vring_builder *b, struct vring_chain *c, uint16_t pos)
{
	struct virtq *vr = b->vr;
	unsigned int nseg = b->nseg;
	enum vring_add r;

	*c = (struct vring_chain){.seg = &b->pool[nseg], .id = read_entry(vr, pos), .ndesc = 1, .pos = pos};
	r = walk(b, c, vr->desc, vr->size, c->id, false);
	if (unlikely(r != VRING_ADD_OK))
		b->nseg = nseg;
	return r;
}

unsigned int vring_split_take(struct vring_builder *b, struct vring_chain *chains, unsigned int max)
{
	struct virtq *vr = b->vr;
	uint16_t pos = vr->avail_pos;
	uint16_t ready = (uint16_t)(__atomic_load_n(&vr->avail->idx, __ATOMIC_ACQUIRE) - pos);
	unsigned int n = 0;

	if (unlikely(ready > vr->size)) {
		vr->broken = "the available index jumped";
		return 0;
	}
	max = MIN(max, ready);
	if (!max)
		return 0;
	/* Four descriptors share a cache line, and are usually used in a row. */
	for (unsigned int i = pos + 2u; i < pos + max; i += 2)
		__builtin_prefetch(&vr->desc[read_entry(vr, i) & (vr->size - 1)]);
	while (n < max) {
		unsigned int got = take_plain(b, chains + n, max - n, pos);

		n += got;
		pos = (uint16_t)(pos + got);
		if (n < max) {
			if (take_one(b, &chains[n], pos) != VRING_ADD_OK)
				break;
			n++;
			pos++;
		}
	}
	vr->avail_pos = pos;
	return n;
}

void vring_split_put(struct virtq *vr, const struct vring_chain *chains, unsigned int n)
{
	uint16_t mask = vr->size - 1, first = vr->used_pos, pos = first;

	for (unsigned int i = 0; i < n; i++, pos++) {
		struct vring_used_elem *e = &vr->used->ring[pos & mask];

		e->id = chains[i].id;
		e->len = chains[i].written;
	}
	if (unlikely(vr->tracked && vr->log))
		for (uint16_t i = first; i != pos; i++)
			dirty_log_mark(vr->log, vr->used_gpa + offsetof(struct vring_used, ring[i & mask]),
				       sizeof(vr->used->ring[0]));
	__atomic_store_n(&vr->used->idx, pos, __ATOMIC_RELEASE);
	vr->used_pos = pos;
	vr->uncalled += n;
	if (likely(!vr->tracked))
		return;
	if (vr->log)
		dirty_log_mark(vr->log, vr->used_gpa, 4);
	vhost_inflight_split_done(vr->inflight, pos);
}
