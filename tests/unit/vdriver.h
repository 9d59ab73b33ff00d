/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The driver side of one virtqueue, split or packed (virtio 1.3 §2.7, §2.8), for tests. It is correct by
 * itself; a test that wants a driver which is not holds back what was added (`hold`), spoils it through the
 * ring pointers, and publishes it.
 *
 * It checks the device: each buffer comes back once, in the order it was added. */

#include "vhost/vhost_user.h"
#include "vhost/virtio.h"
#include "vmem.h"

#define VDRIVER_MAX_SIZE 1024

struct vdriver_buf { /* one part of a buffer */
	uint64_t gpa;
	uint32_t len;
	bool write; /* for the device to write */
};

enum vdriver_layout {
	VDRIVER_DIRECT,
	VDRIVER_INDIRECT,
	VDRIVER_MIXED, /* split: the first part direct, the rest in an indirect table */
};

struct vdriver_slot { /* what is known of a buffer by the id that names it in the ring */
	void *token;
	uint16_t ndesc; /* ring slots */
	uint64_t table; /* its indirect table */
	unsigned int table_room;
};

struct vdriver {
	struct vmem *vm;
	unsigned int size;
	uint64_t features;
	bool packed, event_idx, in_order;
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
	uint64_t desc_gpa, driver_gpa, device_gpa;

	/* split: free running; packed: position, with the wrap counters */
	uint16_t avail_idx, used_idx;
	bool avail_wrap, used_wrap;
	uint16_t kicked_idx; /* at the last vdriver_should_kick() */
	unsigned int added;  /* packed: slots since then */

	bool hold;
	unsigned int held;
	uint16_t held_pos, held_flags; /* packed: the first one's flags */

	unsigned int n_free_desc;
	uint16_t free_head;                  /* split: list of free descriptors through .next */
	uint16_t free_ids[VDRIVER_MAX_SIZE]; /* packed */
	unsigned int n_free_ids;
	struct vdriver_slot slot[VDRIVER_MAX_SIZE];
	uint16_t order[VDRIVER_MAX_SIZE]; /* ids in the order of adding, a circle */
	unsigned int order_head, outstanding;

	int kickfd, callfd;
};

/* Makes the ring in vm. `features`: VIRTIO_F_RING_PACKED, EVENT_IDX, INDIRECT_DESC, IN_ORDER count. Indices
 * start at `base` (split: index; packed: as in vhost_queue, wrap counter in bit 15). */
void vdriver_init(struct vdriver *d, struct vmem *vm, unsigned int size, uint64_t features, uint16_t base);
void vdriver_done(struct vdriver *d);
/* As the back-end hands it to the data path. */
struct vhost_queue vdriver_queue(const struct vdriver *d, unsigned int index);

/* Makes a buffer available; -ENOSPC. Publishes it unless `hold`. */
int vdriver_add(struct vdriver *d, const struct vdriver_buf *bufs, unsigned int n, enum vdriver_layout layout,
		void *token);
void vdriver_publish(struct vdriver *d);
/* Takes back a used buffer: its token, and what the device wrote; NULL if there is none. */
void *vdriver_get(struct vdriver *d, uint32_t *ret_len);
bool vdriver_has_used(const struct vdriver *d);

/* Whether the device wants a kick for what was added since this was last asked. */
bool vdriver_should_kick(struct vdriver *d);
void vdriver_kick(struct vdriver *d);
/* Asks for a call at the used buffer `after` the next one (0: the next) or, without event index, at any. True
 * if there are used ones already. */
bool vdriver_call_enable(struct vdriver *d, unsigned int after);
void vdriver_call_disable(struct vdriver *d);
/* Waits for a call; false when none came in `ms`. */
bool vdriver_wait_call(struct vdriver *d, int ms);
