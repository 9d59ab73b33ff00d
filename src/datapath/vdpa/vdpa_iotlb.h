/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Guest memory as a vhost-vdpa device is told of it: what to map where, and the messages that do it.
 *
 * Theory of operation. Addresses in rings are guest physical, so the I/O virtual address of a byte is its
 * GPA. Regions that are neighbours on both sides become one mapping: the kernel and the IOMMU then use the
 * largest pages that the memory has, also across the border between regions. A whole table is sent as one batch.
 *
 * Source: <linux/vhost_types.h>, struct vhost_msg_v2. Thread-safety: values; no sharing. */

#include "datapath/vdpa/vdpa_sys.h"
#include "vhost/guest_mem.h"

#define VDPA_PAGE 4096u

struct vdpa_range {
	uint64_t iova, size; /* bytes, multiples of VDPA_PAGE */
	uint64_t uaddr;      /* here */
};

struct vdpa_map {
	unsigned int n;
	struct vdpa_range range[]; /* sorted by iova */
};

/* The mappings of table `mem` for a device that can address [first, last]. -EINVAL: a region that is not a whole
 * number of pages; -ERANGE: one that is outside; -ENOMEM. The caller frees. */
int vdpa_map_new(const struct guest_mem *mem, uint64_t first, uint64_t last, struct vdpa_map **ret,
		 struct err *err);
bool vdpa_map_equal(const struct vdpa_map *a, const struct vdpa_map *b); /* either may be NULL */
/* An address where `size` bytes overlap nothing of the map (NULL: empty), a multiple of 2 MiB; UINT64_MAX:
 * none. */
uint64_t vdpa_map_hole(const struct vdpa_map *map, uint64_t first, uint64_t last, uint64_t size);

/* One message on a vhost-vdpa descriptor; type VHOST_IOTLB_*. Negative errno. */
int vdpa_iotlb_send(int fd, uint8_t type, uint32_t asid, uint64_t iova, uint64_t size, uint64_t uaddr);
/* Maps `map` (NULL: nothing) in place of `old` (NULL: nothing), in one batch where the device takes batches.
 */
int vdpa_iotlb_replace(int fd, bool batch, uint32_t asid, const struct vdpa_map *old,
		       const struct vdpa_map *map);
