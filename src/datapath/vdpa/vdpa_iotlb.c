/* SPDX-License-Identifier: Apache-2.0 */

#include "datapath/vdpa/vdpa_iotlb.h"

#include <inttypes.h>
#include <string.h>

#define HOLE_ALIGN (UINT64_C(2) << 20)

int vdpa_map_new(const struct guest_mem *mem, uint64_t first, uint64_t last, struct vdpa_map **ret,
		 struct err *err)
{
	struct vdpa_map *map = calloc(1, sizeof(*map) + mem->n * sizeof(map->range[0]));

	if (!map)
		return err_set(err, ENOMEM, NULL, "not enough memory");
	for (unsigned int i = 0; i < mem->n; i++) {
		const struct guest_mem_region *r = &mem->regions[i];
		struct vdpa_range *prev = map->n ? &map->range[map->n - 1] : NULL;
		uint64_t uaddr = (uintptr_t)r->hva;

		if ((r->gpa | r->size | uaddr) % VDPA_PAGE) {
			err_set(err, EINVAL, NULL,
				"guest memory at 0x%" PRIx64
				" is not a whole number of pages, which a device needs",
				r->gpa);
			free(map);
			return -EINVAL;
		}
		if (r->gpa < first || r->gpa + (r->size - 1) > last) {
			err_set(err, ERANGE, NULL,
				"the device reaches addresses 0x%" PRIx64 " to 0x%" PRIx64
				", but there is guest memory at 0x%" PRIx64,
				first, last, r->gpa);
			free(map);
			return -ERANGE;
		}
		if (prev && prev->iova + prev->size == r->gpa && prev->uaddr + prev->size == uaddr)
			prev->size += r->size;
		else
			map->range[map->n++] =
				(struct vdpa_range){.iova = r->gpa, .size = r->size, .uaddr = uaddr};
	}
	*ret = map;
	return 0;
}

bool vdpa_map_equal(const struct vdpa_map *a, const struct vdpa_map *b)
{
	if (!a || !b || a->n != b->n)
		return a == b;
	for (unsigned int i = 0; i < a->n; i++)
		if (a->range[i].iova != b->range[i].iova || a->range[i].size != b->range[i].size ||
		    a->range[i].uaddr != b->range[i].uaddr)
			return false;
	return true;
}

uint64_t vdpa_map_hole(const struct vdpa_map *map, uint64_t first, uint64_t last, uint64_t size)
{
	uint64_t at = first;

	for (unsigned int i = 0;; i++) {
		uint64_t aligned = (at + HOLE_ALIGN - 1) / HOLE_ALIGN * HOLE_ALIGN;
		bool end = !map || i == map->n;

		if (aligned < at)
			return UINT64_MAX;
		if (end)
			return aligned <= last && last - aligned >= size - 1 ? aligned : UINT64_MAX;
		if (aligned <= map->range[i].iova && map->range[i].iova - aligned >= size)
			return aligned;
		at = map->range[i].iova + map->range[i].size;
		if (at == 0) /* it ends with the address space */
			return UINT64_MAX;
	}
}

int vdpa_iotlb_send(int fd, uint8_t type, uint32_t asid, uint64_t iova, uint64_t size, uint64_t uaddr)
{
	struct vhost_msg_v2 msg;

	memset(&msg, 0, sizeof(msg)); /* padding too */
	msg.type = VHOST_IOTLB_MSG_V2;
	msg.asid = asid;
	msg.iotlb.iova = iova;
	msg.iotlb.size = size;
	msg.iotlb.uaddr = uaddr;
	msg.iotlb.perm = VHOST_ACCESS_RW;
	msg.iotlb.type = type;
	return vdpa_sys->write(fd, &msg, sizeof(msg));
}

int vdpa_iotlb_replace(int fd, bool batch, uint32_t asid, const struct vdpa_map *old,
		       const struct vdpa_map *map)
{
	int r = batch ? vdpa_iotlb_send(fd, VHOST_IOTLB_BATCH_BEGIN, asid, 0, 0, 0) : 0, end;

	for (unsigned int i = 0; r >= 0 && old && i < old->n; i++)
		r = vdpa_iotlb_send(fd, VHOST_IOTLB_INVALIDATE, asid, old->range[i].iova, old->range[i].size,
				    0);
	for (unsigned int i = 0; r >= 0 && map && i < map->n; i++)
		r = vdpa_iotlb_send(fd, VHOST_IOTLB_UPDATE, asid, map->range[i].iova, map->range[i].size,
				    map->range[i].uaddr);
	if (!batch)
		return r;
	end = vdpa_iotlb_send(fd, VHOST_IOTLB_BATCH_END, asid, 0, 0, 0);
	return r < 0 ? r : end;
}
