/* SPDX-License-Identifier: Apache-2.0 */

#include "vhost/inflight.h"

#include <endian.h>
#include <fcntl.h>
#include <sys/mman.h>

#define PACKED_DESC_SIZE        16
#define PACKED_FLAGS_OFFSET     14
#define PACKED_DESC_F_AVAIL     (1u << 7)
#define PACKED_DESC_F_USED      (1u << 15)
#define PACKED_DESC_F_OWNERSHIP (PACKED_DESC_F_AVAIL | PACKED_DESC_F_USED)

int vhost_inflight_create(uint16_t queues, uint16_t queue_size, uint64_t *ret_size, int *ret_fd)
{
	/* The packed format is the larger one: a front-end may ask before the ring type is negotiated. */
	uint64_t size = queues * vhost_inflight_region_size(queue_size, true);
	_cleanup_close_ int fd = -1;

	if (!queues || !queue_size)
		return -EINVAL;
	fd = memfd_create("vhost-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) < 0)
		return -errno;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return -errno;
	*ret_size = size;
	*ret_fd = steal_fd(&fd);
	return 0;
}

int vhost_inflight_split_start(struct vhost_inflight *inflight, uint16_t used_idx)
{
	struct inflight_split *s = inflight->split;
	uint16_t version = __atomic_load_n(&s->version, __ATOMIC_ACQUIRE);

	if (version && (version != VHOST_INFLIGHT_VERSION || s->desc_num != inflight->size))
		return -EINVAL;
	for (unsigned int i = 0; i < inflight->size; i++)
		s->desc[i].inflight = 0;
	s->features = 0;
	s->last_batch_head = 0;
	s->used_idx = used_idx;
	s->desc_num = inflight->size;
	__atomic_store_n(&s->version, VHOST_INFLIGHT_VERSION, __ATOMIC_RELEASE);
	return 0;
}

/* True if the descriptor at `index` is still as the driver made it available in the lap of `wrap`. */
static bool still_available(const void *desc, uint16_t index, unsigned int wrap)
{
	const uint8_t *d = (const uint8_t *)desc + (size_t)index * PACKED_DESC_SIZE;
	uint16_t flags = le16toh(
		__atomic_load_n((const uint16_t *)(const void *)(d + PACKED_FLAGS_OFFSET), __ATOMIC_ACQUIRE));

	return (flags & PACKED_DESC_F_OWNERSHIP) == (wrap ? PACKED_DESC_F_AVAIL : PACKED_DESC_F_USED);
}

/* "When reconnecting": which of the two states in the area the driver can have seen. */
int vhost_inflight_packed_recover(const struct vhost_inflight *inflight, const void *desc, uint16_t *ret)
{
	const struct inflight_packed *p = inflight->packed;
	struct inflight_packed copy = {.used = __atomic_load_n(&p->used, __ATOMIC_ACQUIRE)};
	uint16_t idx = copy.used_idx, old_idx = copy.old_used_idx;
	unsigned int wrap = copy.used_wrap_counter, old_wrap = copy.old_used_wrap_counter;

	if (idx >= inflight->size || old_idx >= inflight->size || wrap > 1 || old_wrap > 1)
		return -EINVAL;
	/* The specification compares only the indices; a burst as long as the ring changes the wrap
	 * counter. */
	if ((idx != old_idx || wrap != old_wrap) && still_available(desc, old_idx, old_wrap)) {
		idx = old_idx;
		wrap = old_wrap;
	}
	*ret = (uint16_t)(idx | wrap << 15);
	return 0;
}

int vhost_inflight_packed_start(struct vhost_inflight *inflight, const void *desc, bool recover,
				uint16_t *used_idx)
{
	struct inflight_packed *p = inflight->packed;
	uint16_t version = __atomic_load_n(&p->version, __ATOMIC_ACQUIRE), used = *used_idx;
	int r;

	if (version && (version != VHOST_INFLIGHT_VERSION || p->desc_num != inflight->size))
		return -EINVAL;
	if (version && recover) {
		r = vhost_inflight_packed_recover(inflight, desc, &used);
		if (r < 0)
			return r;
	}
	/* Nothing is in flight, so the free list has all entries in order, as in a fresh area. */
	for (unsigned int i = 0; i < inflight->size; i++) {
		p->desc[i].inflight = 0;
		p->desc[i].next = (uint16_t)((i + 1) % inflight->size);
	}
	p->features = 0;
	inflight->used = used;
	p->free_head = p->old_free_head = 0;
	vhost_inflight_packed_begin(inflight, used);
	vhost_inflight_packed_end(inflight);
	p->desc_num = inflight->size;
	__atomic_store_n(&p->version, VHOST_INFLIGHT_VERSION, __ATOMIC_RELEASE);
	*used_idx = used;
	return 0;
}
