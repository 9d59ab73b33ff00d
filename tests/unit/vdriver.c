/* SPDX-License-Identifier: Apache-2.0 */

#include "vdriver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#define AVAIL_BIT (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED_BIT  (1u << VRING_PACKED_DESC_F_USED)

void vdriver_init(struct vdriver *d, struct vmem *vm, unsigned int size, uint64_t features, uint16_t base)
{
	bool packed = virtio_has(features, VIRTIO_F_RING_PACKED);

	memset(d, 0, sizeof(*d));
	assert_in_range(size, 1, VDRIVER_MAX_SIZE);
	assert_true(packed || !(size & (size - 1)));
	d->vm = vm;
	d->size = size;
	d->features = features;
	d->packed = packed;
	d->event_idx = virtio_has(features, VIRTIO_RING_F_EVENT_IDX);
	d->in_order = virtio_has(features, VIRTIO_F_IN_ORDER);
	d->desc_gpa = vmem_alloc(vm, 16ul * size, 16);
	d->driver_gpa = vmem_alloc(vm, packed ? 4 : 6 + 2ul * size, 4);
	d->device_gpa = vmem_alloc(vm, packed ? 4 : 6 + 8ul * size, 4);
	d->desc = vmem_at(vm, d->desc_gpa, 16ul * size);
	d->avail = vmem_at(vm, d->driver_gpa, packed ? 4 : 6 + 2ul * size);
	d->used = vmem_at(vm, d->device_gpa, packed ? 4 : 6 + 8ul * size);
	d->n_free_desc = size;
	if (packed) {
		d->avail_idx = d->used_idx = base & 0x7fff;
		d->avail_wrap = d->used_wrap = base >> 15;
		for (unsigned int i = 0; i < size; i++) {
			/* What lies before the start was used in this lap, the rest in the one before. */
			bool used_in = i < d->avail_idx ? d->avail_wrap : !d->avail_wrap;

			d->pdesc[i].flags = used_in ? AVAIL_BIT | USED_BIT : 0;
			d->free_ids[i] = (uint16_t)(size - 1 - i);
		}
		d->n_free_ids = size;
	} else {
		d->avail_idx = d->used_idx = base;
		d->avail->idx = d->used->idx = base;
		for (unsigned int i = 0; i < size; i++)
			d->desc[i].next = (uint16_t)(i + 1);
	}
	d->kicked_idx = d->avail_idx;
	d->kickfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	d->callfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(d->kickfd >= 0 && d->callfd >= 0);
}

void vdriver_done(struct vdriver *d)
{
	close_fd(&d->kickfd);
	close_fd(&d->callfd);
}

struct vhost_queue vdriver_queue(const struct vdriver *d, unsigned int index)
{
	uint16_t avail = d->avail_idx, used = d->used_idx;

	if (d->packed) {
		avail = (uint16_t)(avail | d->avail_wrap << 15);
		used = (uint16_t)(used | d->used_wrap << 15);
	}
	return (struct vhost_queue){
		.index = index,
		.size = d->size,
		.features = d->features,
		.packed = d->packed,
		.enabled = true,
		.desc = d->desc,
		.driver = d->avail,
		.device = d->used,
		.device_gpa = d->packed ? d->desc_gpa : d->device_gpa,
		.avail_idx = avail,
		.used_idx = used,
		.kickfd = d->kickfd,
		.callfd = d->callfd,
		.errfd = -1,
		.mem = d->vm->mem,
	};
}

/* The indirect table of a slot, with room for n. */
static uint64_t table_of(struct vdriver *d, unsigned int id, unsigned int n)
{
	struct vdriver_slot *s = &d->slot[id];

	if (s->table_room < n) {
		s->table = vmem_alloc(d->vm, 16ul * n, 16);
		s->table_room = n;
	}
	return s->table;
}

static void fill_split_table(struct vring_desc *t, const struct vdriver_buf *bufs, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		t[i] = (struct vring_desc){
			.addr = bufs[i].gpa,
			.len = bufs[i].len,
			.flags = (uint16_t)((bufs[i].write ? VRING_DESC_F_WRITE : 0) |
					    (i + 1 < n ? VRING_DESC_F_NEXT : 0)),
			.next = (uint16_t)(i + 1),
		};
}

static uint16_t take_split_desc(struct vdriver *d)
{
	uint16_t i = d->free_head;

	d->free_head = d->desc[i].next;
	d->n_free_desc--;
	return i;
}

static int add_split(struct vdriver *d, const struct vdriver_buf *bufs, unsigned int n,
		     enum vdriver_layout layout, uint16_t *ret_id)
{
	unsigned int direct = layout == VDRIVER_DIRECT ? n : layout == VDRIVER_MIXED ? 1 : 0;
	unsigned int need = direct < n ? direct + 1 : n;
	uint16_t head = d->free_head, at = 0;

	if (need > d->n_free_desc)
		return -ENOSPC;
	for (unsigned int i = 0; i < need; i++) {
		uint16_t next = i ? d->free_head : head;

		if (i)
			d->desc[at].next = next;
		at = take_split_desc(d);
		if (i < direct) {
			d->desc[at].addr = bufs[i].gpa;
			d->desc[at].len = bufs[i].len;
			d->desc[at].flags = (uint16_t)((bufs[i].write ? VRING_DESC_F_WRITE : 0) |
						       (i + 1 < need ? VRING_DESC_F_NEXT : 0));
		} else {
			uint64_t table = table_of(d, head, n - direct);

			fill_split_table(vmem_at(d->vm, table, 16ul * (n - direct)), bufs + direct,
					 n - direct);
			d->desc[at].addr = table;
			d->desc[at].len = 16 * (n - direct);
			d->desc[at].flags = VRING_DESC_F_INDIRECT;
		}
	}
	d->avail->ring[(uint16_t)(d->avail_idx + d->held) & (d->size - 1)] = head;
	d->slot[head].ndesc = (uint16_t)need;
	d->held++;
	*ret_id = head;
	return 0;
}

static int add_packed(struct vdriver *d, const struct vdriver_buf *bufs, unsigned int n,
		      enum vdriver_layout layout, uint16_t *ret_id)
{
	unsigned int need = layout == VDRIVER_DIRECT ? n : 1;
	uint16_t id;

	if (need > d->n_free_desc || !d->n_free_ids)
		return -ENOSPC;
	id = d->free_ids[--d->n_free_ids];
	for (unsigned int i = 0; i < need; i++) {
		struct vring_packed_desc *p = &d->pdesc[d->avail_idx];
		uint16_t flags = (uint16_t)(d->avail_wrap ? AVAIL_BIT : USED_BIT);

		if (layout == VDRIVER_DIRECT) {
			p->addr = bufs[i].gpa;
			p->len = bufs[i].len;
			flags |= (uint16_t)((bufs[i].write ? VRING_DESC_F_WRITE : 0) |
					    (i + 1 < need ? VRING_DESC_F_NEXT : 0));
		} else {
			uint64_t table = table_of(d, id, n);
			struct vring_packed_desc *t = vmem_at(d->vm, table, 16ul * n);

			for (unsigned int k = 0; k < n; k++)
				t[k] = (struct vring_packed_desc){
					.addr = bufs[k].gpa,
					.len = bufs[k].len,
					.flags = bufs[k].write ? VRING_DESC_F_WRITE : 0,
				};
			p->addr = table;
			p->len = 16 * n;
			flags |= VRING_DESC_F_INDIRECT;
		}
		p->id = id; /* only the last one's counts */
		if (!d->held && !i) {
			d->held_pos = d->avail_idx;
			d->held_flags = flags;
		} else {
			__atomic_store_n(&p->flags, flags, __ATOMIC_RELEASE);
		}
		if (++d->avail_idx == d->size) {
			d->avail_idx = 0;
			d->avail_wrap = !d->avail_wrap;
		}
	}
	d->n_free_desc -= need;
	d->slot[id].ndesc = (uint16_t)need;
	d->added += need;
	d->held++;
	*ret_id = id;
	return 0;
}

int vdriver_add(struct vdriver *d, const struct vdriver_buf *bufs, unsigned int n, enum vdriver_layout layout,
		void *token)
{
	uint16_t id;
	int r = d->packed ? add_packed(d, bufs, n, layout, &id) : add_split(d, bufs, n, layout, &id);

	if (r < 0)
		return r;
	d->slot[id].token = token;
	d->order[(d->order_head + d->outstanding++) % VDRIVER_MAX_SIZE] = id;
	if (!d->hold)
		vdriver_publish(d);
	return 0;
}

void vdriver_publish(struct vdriver *d)
{
	if (!d->held)
		return;
	if (d->packed) {
		__atomic_store_n(&d->pdesc[d->held_pos].flags, d->held_flags, __ATOMIC_RELEASE);
	} else {
		d->avail_idx = (uint16_t)(d->avail_idx + d->held);
		__atomic_store_n(&d->avail->idx, d->avail_idx, __ATOMIC_RELEASE);
	}
	d->held = 0;
}

bool vdriver_has_used(const struct vdriver *d)
{
	uint16_t flags;

	if (!d->packed)
		return __atomic_load_n(&d->used->idx, __ATOMIC_ACQUIRE) != d->used_idx;
	/* A lap behind, "used" flags are those of the last lap; nothing can be used that is not outstanding. */
	flags = __atomic_load_n(&d->pdesc[d->used_idx].flags, __ATOMIC_ACQUIRE);
	return d->outstanding && !!(flags & AVAIL_BIT) == d->used_wrap &&
	       !!(flags & USED_BIT) == d->used_wrap;
}

void *vdriver_get(struct vdriver *d, uint32_t *ret_len)
{
	struct vdriver_slot *s;
	uint32_t id, len;

	if (!vdriver_has_used(d))
		return NULL;
	if (d->packed) {
		id = d->pdesc[d->used_idx].id;
		len = d->pdesc[d->used_idx].len;
	} else {
		id = d->used->ring[d->used_idx & (d->size - 1)].id;
		len = d->used->ring[d->used_idx & (d->size - 1)].len;
	}
	assert_true(d->outstanding > 0);
	assert_int_equal(id, d->order[d->order_head]);
	d->order_head = (d->order_head + 1) % VDRIVER_MAX_SIZE;
	d->outstanding--;
	s = &d->slot[id];
	d->n_free_desc += s->ndesc;
	if (d->packed) {
		d->free_ids[d->n_free_ids++] = (uint16_t)id;
		d->used_idx = (uint16_t)(d->used_idx + s->ndesc);
		if (d->used_idx >= d->size) {
			d->used_idx = (uint16_t)(d->used_idx - d->size);
			d->used_wrap = !d->used_wrap;
		}
	} else {
		uint16_t last = (uint16_t)id;

		for (unsigned int i = 1; i < s->ndesc; i++)
			last = d->desc[last].next;
		d->desc[last].next = d->free_head;
		d->free_head = (uint16_t)id;
		d->used_idx++;
	}
	if (ret_len)
		*ret_len = len;
	return s->token;
}

bool vdriver_should_kick(struct vdriver *d)
{
	uint16_t old = d->kicked_idx, now = d->avail_idx, flags, off_wrap, off;
	unsigned int added = d->added;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	d->kicked_idx = now;
	d->added = 0;
	if (!d->packed) {
		if (d->event_idx)
			return vring_need_event(__atomic_load_n((uint16_t *)(void *)&d->used->ring[d->size],
								__ATOMIC_RELAXED),
						now, old);
		return !(__atomic_load_n(&d->used->flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY);
	}
	flags = __atomic_load_n(&d->device_event->flags, __ATOMIC_ACQUIRE);
	if (flags != VRING_PACKED_EVENT_FLAG_DESC)
		return flags == VRING_PACKED_EVENT_FLAG_ENABLE;
	/* §2.8.10: in the numbering of one lap. */
	off_wrap = __atomic_load_n(&d->device_event->off_wrap, __ATOMIC_RELAXED);
	off = off_wrap & 0x7fff;
	if (off_wrap >> 15 != d->avail_wrap)
		off = (uint16_t)(off - d->size);
	return vring_need_event(off, now, (uint16_t)(now - added));
}

void vdriver_kick(struct vdriver *d)
{
	uint64_t one = 1;

	assert_int_equal(write(d->kickfd, &one, sizeof(one)), sizeof(one));
}

bool vdriver_call_enable(struct vdriver *d, unsigned int after)
{
	if (!d->packed) {
		if (d->event_idx)
			__atomic_store_n(&d->avail->ring[d->size], (uint16_t)(d->used_idx + after),
					 __ATOMIC_RELAXED);
		else
			__atomic_store_n(&d->avail->flags, 0, __ATOMIC_RELAXED);
	} else if (d->event_idx) {
		unsigned int pos = d->used_idx + after;
		bool wrap = d->used_wrap;

		if (pos >= d->size) {
			pos -= d->size;
			wrap = !wrap;
		}
		__atomic_store_n(&d->driver_event->off_wrap, (uint16_t)(pos | (unsigned int)wrap << 15),
				 __ATOMIC_RELAXED);
		__atomic_store_n(&d->driver_event->flags, VRING_PACKED_EVENT_FLAG_DESC, __ATOMIC_RELEASE);
	} else {
		__atomic_store_n(&d->driver_event->flags, VRING_PACKED_EVENT_FLAG_ENABLE, __ATOMIC_RELAXED);
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return vdriver_has_used(d);
}

void vdriver_call_disable(struct vdriver *d)
{
	if (d->packed)
		__atomic_store_n(&d->driver_event->flags, VRING_PACKED_EVENT_FLAG_DISABLE, __ATOMIC_RELAXED);
	else if (d->event_idx)
		__atomic_store_n(&d->avail->ring[d->size], (uint16_t)(d->used_idx - 1), __ATOMIC_RELAXED);
	else
		__atomic_store_n(&d->avail->flags, VRING_AVAIL_F_NO_INTERRUPT, __ATOMIC_RELAXED);
}

bool vdriver_wait_call(struct vdriver *d, int ms)
{
	struct pollfd p = {.fd = d->callfd, .events = POLLIN};
	uint64_t n;

	if (poll(&p, 1, ms) != 1)
		return false;
	assert_int_equal(read(d->callfd, &n, sizeof(n)), sizeof(n));
	return true;
}
