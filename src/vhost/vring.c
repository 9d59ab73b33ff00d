/* SPDX-License-Identifier: Apache-2.0 */

/* What both ring formats share: life, segments, calls and kicks. */

#include "vhost/vring_build.h"

#include <string.h>

#include "util/eventfd.h"

void vring_start(struct virtq *vr, const struct vhost_queue *q)
{
	*vr = (struct virtq){
		.mem = q->mem,
		.size = (uint16_t)q->size,
		.packed = q->packed,
		.event_idx = virtio_has(q->features, VIRTIO_RING_F_EVENT_IDX),
		.indirect = virtio_has(q->features, VIRTIO_RING_F_INDIRECT_DESC),
		.callfd = q->callfd,
		.features = q->features,
		.used_gpa = q->device_gpa,
		.log = q->log,
		.inflight = q->inflight,
		.tracked = q->log || q->inflight,
	};
	vr->desc = q->desc;
	vr->avail = q->driver;
	vr->used = q->device;
	if (q->packed) {
		vr->avail_pos = q->avail_idx & 0x7fff;
		vr->avail_wrap = q->avail_idx >> 15;
		vr->used_pos = q->used_idx & 0x7fff;
		vr->used_wrap = q->used_idx >> 15;
	} else {
		vr->avail_pos = q->avail_idx;
		vr->used_pos = q->used_idx;
	}
	vr->called_pos = vr->used_pos;
}

void vring_position(const struct virtq *vr, uint16_t *ret_avail_idx, uint16_t *ret_used_idx)
{
	if (vr->packed) {
		*ret_avail_idx = (uint16_t)(vr->avail_pos | vr->avail_wrap << 15);
		*ret_used_idx = (uint16_t)(vr->used_pos | vr->used_wrap << 15);
	} else {
		*ret_avail_idx = vr->avail_pos;
		*ret_used_idx = vr->used_pos;
	}
}

static inline bool packed_is_avail(const struct virtq *vr, uint16_t flags)
{
	bool avail = flags & (1 << VRING_PACKED_DESC_F_AVAIL), used = flags & (1 << VRING_PACKED_DESC_F_USED);

	return avail == vr->avail_wrap && used != vr->avail_wrap;
}

bool vring_has_work(const struct virtq *vr)
{
	if (unlikely(vr->broken))
		return false;
	if (vr->packed)
		return packed_is_avail(vr,
				       __atomic_load_n(&vr->pdesc[vr->avail_pos].flags, __ATOMIC_ACQUIRE));
	return __atomic_load_n(&vr->avail->idx, __ATOMIC_ACQUIRE) != vr->avail_pos;
}

enum vring_add vring_add_buffer(struct vring_builder *b, struct vring_chain *c, uint64_t gpa, uint32_t len,
				bool writable)
{
	if (unlikely(writable != b->writable)) {
		b->vr->broken = writable ? "a buffer of the transmit queue is device-writable"
					 : "a buffer of the receive queue is not device-writable";
		return VRING_ADD_BROKEN;
	}
	/* Empty, yet work to look at: a thousand of them in each buffer of a receive ring would cost a sender
	 * milliseconds per frame. */
	if (unlikely(!len)) {
		b->vr->broken = "a descriptor of no length";
		return VRING_ADD_BROKEN;
	}
	if (unlikely(len > (uint32_t)INT32_MAX - c->len)) {
		b->vr->broken = "a descriptor chain of 2 GiB or more";
		return VRING_ADD_BROKEN;
	}
	c->len += len;
	while (len) {
		uint32_t part = len;
		void *p = guest_mem_gpa(b->vr->mem, gpa, &part);

		if (unlikely(!p)) {
			b->vr->broken = "a buffer lies outside guest memory";
			return VRING_ADD_BROKEN;
		}
		if (unlikely(c->nseg == VRING_MAX_SEGS)) {
			b->vr->broken = "a descriptor chain in too many pieces";
			return VRING_ADD_BROKEN;
		}
		if (unlikely(b->nseg == b->npool))
			return VRING_ADD_FULL;
		b->pool[b->nseg++] = (struct vring_seg){p, part};
		c->nseg++;
		gpa += part;
		len -= part;
	}
	return VRING_ADD_OK;
}

unsigned int vring_take(struct virtq *vr, bool writable, struct vring_chain *chains, unsigned int max,
			struct vring_seg *pool, unsigned int npool, unsigned int *ret_nseg)
{
	struct vring_builder b = {.vr = vr, .pool = pool, .npool = npool, .writable = writable};
	unsigned int n;

	if (unlikely(vr->broken)) {
		*ret_nseg = 0;
		return 0;
	}
	n = vr->packed ? vring_packed_take(&b, chains, max) : vring_split_take(&b, chains, max);
	*ret_nseg = b.nseg;
	return n;
}

void vring_untake(struct virtq *vr, const struct vring_chain *chain)
{
	if (vr->packed) {
		vr->avail_pos = chain->pos & 0x7fff;
		vr->avail_wrap = chain->pos >> 15;
	} else {
		vr->avail_pos = chain->pos;
	}
}

/* Marks what the device wrote to the buffers of a chain; called before the buffers are given back, so that
 * the page is in the log when the driver may look. */
static void log_chain(struct virtq *vr, const struct vring_chain *c)
{
	uint32_t left = c->written;

	for (unsigned int i = 0; i < c->nseg && left; i++) {
		uint32_t part = MIN(left, c->seg[i].len);
		uint64_t gpa = guest_mem_to_gpa(vr->mem, c->seg[i].base);

		if (gpa != UINT64_MAX)
			dirty_log_mark(vr->log, gpa, part);
		left -= part;
	}
}

void vring_put(struct virtq *vr, const struct vring_chain *chains, unsigned int n)
{
	if (!n)
		return;
	if (unlikely(vr->tracked && vr->log))
		for (unsigned int i = 0; i < n; i++)
			log_chain(vr, &chains[i]);
	if (vr->packed)
		vring_packed_put(vr, chains, n);
	else
		vring_split_put(vr, chains, n);
}

/* §2.8.10: the driver asks for a call at one descriptor position. Positions are compared in one lap; less
 * than one has passed. */
static bool packed_wants_call(const struct virtq *vr, uint16_t old, bool any)
{
	uint16_t off_wrap, flags, off, now = vr->used_pos;

	flags = __atomic_load_n(&vr->driver_event->flags, __ATOMIC_ACQUIRE);
	if (flags != VRING_PACKED_EVENT_FLAG_DESC)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	off_wrap = __atomic_load_n(&vr->driver_event->off_wrap, __ATOMIC_RELAXED);
	off = off_wrap & 0x7fff;
	if (any || off >= vr->size)
		return true;
	if (now < old)
		old = (uint16_t)(old - vr->size);
	if ((bool)(off_wrap >> 15) != vr->used_wrap)
		off = (uint16_t)(off - vr->size);
	return vring_need_event(off, now, old);
}

bool vring_wants_call(struct virtq *vr)
{
	uint16_t old = vr->called_pos;
	uint32_t n = vr->uncalled;
	bool first = !vr->called_valid; /* it is not known what the driver waited for before */

	if (!n)
		return false;
	vr->called_pos = vr->used_pos;
	vr->called_valid = true;
	vr->uncalled = 0;
	if (vr->packed)
		return packed_wants_call(vr, old, first || n >= vr->size); /* a lap includes every position */
	if (vr->event_idx) /* used_event follows the available ring. */
		return first ||
		       vring_need_event(__atomic_load_n(&vr->avail->ring[vr->size], __ATOMIC_RELAXED),
					vr->used_pos, old);
	return !(__atomic_load_n(&vr->avail->flags, __ATOMIC_RELAXED) & VRING_AVAIL_F_NO_INTERRUPT);
}

void vring_call(const struct virtq *vr)
{
	int fd = __atomic_load_n(&vr->callfd, __ATOMIC_ACQUIRE); /* the main thread may change it */

	/* A full counter already means that a call is pending; any other error is the peer's loss. */
	if (fd >= 0)
		(void)signal_eventfd(fd);
}

static inline void split_set_avail_event(struct virtq *vr, uint16_t value)
{
	/* avail_event follows the used ring. */
	__atomic_store_n((uint16_t *)(void *)&vr->used->ring[vr->size], value, __ATOMIC_RELAXED);
}

bool vring_kick_enable(struct virtq *vr)
{
	if (vr->packed)
		__atomic_store_n(&vr->device_event->flags, VRING_PACKED_EVENT_FLAG_ENABLE, __ATOMIC_RELAXED);
	else if (vr->event_idx)
		split_set_avail_event(vr, vr->avail_pos);
	else
		__atomic_store_n(&vr->used->flags, 0, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return vring_has_work(vr);
}

void vring_kick_disable(struct virtq *vr)
{
	if (vr->packed)
		__atomic_store_n(&vr->device_event->flags, VRING_PACKED_EVENT_FLAG_DISABLE, __ATOMIC_RELAXED);
	else if (vr->event_idx)
		split_set_avail_event(vr, (uint16_t)(vr->avail_pos - 1)); /* as far away as possible */
	else
		__atomic_store_n(&vr->used->flags, VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
}
