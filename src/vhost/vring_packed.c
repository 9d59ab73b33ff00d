/* SPDX-License-Identifier: Apache-2.0 */

/* Packed virtqueues, device side (virtio 1.3 §2.8). Sizes need not be powers of two. */

#include "vhost/inflight.h"
#include "vhost/vring_build.h"

#include <string.h>

#define AVAIL_BIT (1 << VRING_PACKED_DESC_F_AVAIL)
#define USED_BIT  (1 << VRING_PACKED_DESC_F_USED)
#define ANY_FLAG  (VRING_DESC_F_NEXT | VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT)

static inline struct vring_packed_desc read_desc(const struct vring_packed_desc *table, unsigned int i)
{
	const volatile struct vring_packed_desc *d = &table[i];

	return (struct vring_packed_desc){.addr = d->addr, .len = d->len, .id = d->id, .flags = d->flags};
}

static enum vring_add add_indirect(struct vring_builder *b, struct vring_chain *c, uint64_t gpa, uint32_t len)
{
	uint32_t part = len, n = len / sizeof(struct vring_packed_desc);
	struct vring_packed_desc *table;

	if (!len || len % sizeof(struct vring_packed_desc) || n > VRING_MAX_CHAIN) {
		b->vr->broken = "an indirect table of a wrong size";
		return VRING_ADD_BROKEN;
	}
	table = guest_mem_gpa(b->vr->mem, gpa, &part);
	if (!table || part != len || (uintptr_t)table % 8) {
		b->vr->broken = "an indirect table outside guest memory";
		return VRING_ADD_BROKEN;
	}
	/* §2.8.7: the whole table is the chain; only the WRITE flag counts in it. For transmit even WRITE
	 * does not: DPDK's virtio driver sets it on the header of a frame in pieces, and memory that is only
	 * read may be writable. */
	for (uint32_t i = 0; i < n; i++) {
		struct vring_packed_desc d = read_desc(table, i);
		enum vring_add r =
			vring_add_buffer(b, c, d.addr, d.len, b->writable && d.flags & VRING_DESC_F_WRITE);

		if (r != VRING_ADD_OK)
			return r;
	}
	return VRING_ADD_OK;
}

/* Takes the chain at *pos and advances *pos and *wrap past it. */
static enum vring_add take_one(struct vring_builder *b, struct vring_chain *c, uint16_t *pos, bool *wrap)
{
	struct virtq *vr = b->vr;
	uint16_t p = *pos;
	bool w = *wrap;

	for (;;) {
		struct vring_packed_desc d = read_desc(vr->pdesc, p);
		enum vring_add r;

		if (unlikely(++c->ndesc > vr->size)) {
			vr->broken = "a descriptor chain longer than the ring";
			return VRING_ADD_BROKEN;
		}
		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (!vr->indirect || d.flags & VRING_DESC_F_NEXT || c->ndesc != 1) {
				vr->broken = "an indirect descriptor where none may be";
				return VRING_ADD_BROKEN;
			}
			r = add_indirect(b, c, d.addr, d.len);
		} else {
			r = vring_add_buffer(b, c, d.addr, d.len, d.flags & VRING_DESC_F_WRITE);
		}
		if (unlikely(r != VRING_ADD_OK))
			return r;
		if (++p == vr->size) {
			p = 0;
			w = !w;
		}
		if (!(d.flags & VRING_DESC_F_NEXT)) {
			c->id = d.id; /* §2.8.6: the last descriptor carries the id */
			break;
		}
	}
	if (unlikely(c->id >= vr->size)) {
		vr->broken = "a buffer id is beyond the ring";
		return VRING_ADD_BROKEN;
	}
	*pos = p;
	*wrap = w;
	return VRING_ADD_OK;
}

/* Takes chains of the usual kind, one direct descriptor, until there is none, one of another kind, or a wrong
 * one; *ret_more is false in the first case. It keeps what it needs of the ring in registers, because for the
 * compiler any store might change the ring. */
static __attribute__((noinline)) unsigned int take_plain(struct vring_builder *b, struct vring_chain *chains,
							 unsigned int max, bool *ret_more)
{
	struct virtq *vr = b->vr;
	const struct guest_mem *mem = vr->mem;
	const struct vring_packed_desc *table = vr->pdesc;
	const unsigned int size = vr->size, kind = b->writable ? VRING_DESC_F_WRITE : 0;
	struct vring_seg *seg = &b->pool[b->nseg];
	struct vring_chain *c = chains, *end = chains + MIN(max, b->npool - b->nseg);
	struct vring_window w = {0};
	unsigned int pos = vr->avail_pos, lap = vr->avail_wrap ? 0x8000 : 0;
	unsigned int want = kind | (lap ? AVAIL_BIT : USED_BIT);

	*ret_more = true;
	for (; c < end; c++, seg++) {
		const volatile struct vring_packed_desc *d = &table[pos];
		/* The flags are written last: acquire, then read the rest. */
		unsigned int flags = __atomic_load_n(&table[pos].flags, __ATOMIC_ACQUIRE), id;
		uint32_t len;
		uint8_t *p;

		if (unlikely((flags & (AVAIL_BIT | USED_BIT | ANY_FLAG)) != want)) {
			*ret_more = !((flags ^ want) & (AVAIL_BIT | USED_BIT));
			break;
		}
		id = d->id;
		len = d->len;
		p = vring_window_buffer(&w, mem, d->addr, len);
		if (unlikely(!p || id >= size))
			break;
		*seg = (struct vring_seg){p, len};
		c->seg = seg;
		c->len = len;
		c->written = 0;
		c->nseg = 1;
		c->id = (uint16_t)id;
		c->ndesc = 1;
		c->pos = (uint16_t)(pos | lap);
		if (unlikely(++pos == size)) {
			pos = 0;
			lap ^= 0x8000;
			want ^= AVAIL_BIT | USED_BIT;
		}
	}
	b->nseg += (unsigned int)(c - chains);
	vr->avail_pos = (uint16_t)pos;
	vr->avail_wrap = lap;
	return (unsigned int)(c - chains);
}

/* Takes any chain. */
static enum vring_add take_other(struct vring_builder *b, struct vring_chain *c)
{
	struct virtq *vr = b->vr;
	unsigned int nseg = b->nseg;
	enum vring_add r;

	*c = (struct vring_chain){.seg = &b->pool[nseg],
				  .pos = (uint16_t)(vr->avail_pos | vr->avail_wrap << 15)};
	r = take_one(b, c, &vr->avail_pos, &vr->avail_wrap);
	if (unlikely(r != VRING_ADD_OK))
		b->nseg = nseg;
	return r;
}

unsigned int vring_packed_take(struct vring_builder *b, struct vring_chain *chains, unsigned int max)
{
	struct virtq *vr = b->vr;
	unsigned int n = 0;

	/* No more than the ring holds: past one lap the driver's own flags could lead in circles. */
	for (unsigned int slots = 0; n < max && slots < vr->size;) {
		bool more;
		unsigned int got = take_plain(b, chains + n, MIN(max - n, vr->size - slots), &more);

		n += got;
		slots += got;
		if (!more)
			break;
		if (n < max && slots < vr->size) {
			/* Its flags are read again: they may have changed, or there is none. */
			if (!vring_has_work(vr) || take_other(b, &chains[n]) != VRING_ADD_OK)
				break;
			slots += chains[n++].ndesc;
		}
	}
	return n;
}

/* The used position, as vhost_queue.used_idx has it, once n chains are given back. */
static uint16_t position_after(const struct virtq *vr, const struct vring_chain *chains, unsigned int n)
{
	unsigned int pos = vr->used_pos;

	for (unsigned int i = 0; i < n; i++)
		pos += chains[i].ndesc;
	/* The chains fit into the ring, so there is at most one wrap. */
	return (uint16_t)(pos < vr->size ? pos | (unsigned int)vr->used_wrap << 15
					 : (pos - vr->size) | (unsigned int)!vr->used_wrap << 15);
}

/* Marks the used descriptors of n chains from used_pos on, after each was written completely, including its
 * flags: a copy of a page because of a mark must not miss a later write. */
static void log_used(struct virtq *vr, const struct vring_chain *chains, unsigned int n)
{
	unsigned int pos = vr->used_pos;

	for (unsigned int i = 0; i < n; i++) {
		dirty_log_mark(vr->log, vr->used_gpa + (uint64_t)pos * sizeof(*vr->pdesc),
			       sizeof(*vr->pdesc));
		pos += chains[i].ndesc;
		if (pos >= vr->size)
			pos -= vr->size;
	}
}

/* Length, id and flags of a used descriptor are one aligned word: written at once. */
static inline void store_used(struct vring_packed_desc *d, uint64_t used)
{
	_Static_assert(offsetof(struct vring_packed_desc, len) == 8 &&
			       offsetof(struct vring_packed_desc, id) == 12 &&
			       offsetof(struct vring_packed_desc, flags) == 14,
		       "store_used() writes them as one word");
	__atomic_store_n((uint64_t *)(void *)&d->len, used, __ATOMIC_RELEASE);
}

/* The flags of a used descriptor in this lap, at their place in the word. */
static inline uint64_t used_lap(bool wrap)
{
	return wrap ? (uint64_t)(AVAIL_BIT | USED_BIT) << 48 : 0;
}

static inline uint64_t used_word(const struct vring_chain *c, uint64_t lap)
{
	return c->written | (uint64_t)c->id << 32 | lap |
	       (uint64_t)(c->written ? VRING_DESC_F_WRITE : 0) << 48;
}

void vring_packed_put(struct virtq *vr, const struct vring_chain *chains, unsigned int n)
{
	/* In registers: for the compiler, any store might change the ring. */
	struct vring_packed_desc *table = vr->pdesc, *first = &table[vr->used_pos];
	const unsigned int size = vr->size;
	unsigned int pos = vr->used_pos;
	uint64_t first_used, lap;
	bool wrap = vr->used_wrap;

	if (unlikely(vr->tracked))
		vhost_inflight_packed_begin(vr->inflight, position_after(vr, chains, n));
	lap = used_lap(wrap);
	first_used = used_word(chains, lap);
	/* The first one is published last: the driver looks at it, and then sees the whole burst. */
	for (unsigned int i = 0; i < n; i++) {
		const struct vring_chain *c = &chains[i];

		if (likely(i))
			store_used(&table[pos], used_word(c, lap));
		pos += c->ndesc;
		if (unlikely(pos >= size)) {
			pos -= size;
			wrap = !wrap;
			lap = used_lap(wrap);
		}
	}
	store_used(first, first_used);
	if (unlikely(vr->tracked && vr->log))
		log_used(vr, chains, n);
	/* They fit into the ring: it is at most one lap further. */
	vr->uncalled += pos - vr->used_pos + (wrap != vr->used_wrap ? size : 0);
	vr->used_pos = (uint16_t)pos;
	vr->used_wrap = wrap;
	if (unlikely(vr->tracked))
		vhost_inflight_packed_end(vr->inflight);
}
