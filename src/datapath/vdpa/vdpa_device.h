/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One vhost-vdpa device in a function's service: the steps, each of which may wait for the device for as long as the
 * kernel allows.
 *
 * Theory of operation.
 *
 *	(nothing) —prepare→ negotiated —start→ live —stop→ stopped —prepare→ negotiated …
 *
 * negotiated: the device is ours, has accepted the features and knows guest memory; rings are not set. The
 * memory stays mapped from one service to the next while the table is the same, where the kernel says that a
 * reset leaves it so (VHOST_BACKEND_F_IOTLB_PERSIST), and otherwise it is mapped again after a reset.
 *
 * Stopping. With SUSPEND the device finishes what it took and halts; without, it is reset, which amounts to the same
 * for devices that use buffers in order. The rings' position is then in guest memory: the used index. A VDUSE server
 * may answer a reset before it has carried it out (DPDK does), so it is asked one more question afterwards.
 *
 * Status. The kernel's ioctl does not say whether a device took a status, so it is read back.
 *
 * Source: <linux/vhost.h>; virtio 1.3 §3.1 (initialization), §5.1 (network device).
 *
 * Thread-safety: one thread at a time, not the main one; what the main thread hands in and reads between two
 * steps is marked so. */

#include "datapath/vdpa/vdpa_control.h"
#include "datapath/vdpa/vdpa_iotlb.h"
#include "datapath/vdpa/vdpa_pool.h"
#include "vhost/vhost_user.h"

struct vdpa_ring {
	unsigned int index, size;
	uint64_t desc, driver, device; /* GPA */
	uint16_t base;
	int kickfd, callfd; /* our own duplicates, -1: none */
};

struct vdpa_device {
	/* in */
	struct vdpa_request req;
	uint64_t want_features;      /* negotiated with the guest's driver */
	const struct guest_mem *mem; /* borrowed, NULL: none known yet; used by prepare only */
	struct vdpa_ring ring[VHOST_USER_MAX_QUEUES];
	unsigned int rings;
	struct vdpa_filter filter;

	/* out */
	struct vdpa_lease lease; /* fd -1: none */
	int configfd;            /* eventfd: its configuration or status changed; -1: none */
	bool negotiated, live;
	bool doorbell[VHOST_USER_MAX_QUEUES]; /* page `index` of lease.fd is that ring's */

	/* own */
	uint64_t backend, offered, features; /* of the back-end; of the device; negotiated with it */
	uint64_t first, last;                /* addresses it reaches */
	uint16_t max_size, max_pairs, vqs;
	uint32_t asid; /* of the control queue */
	struct vdpa_map *map;
	struct vdpa_control control; /* area NULL: not used */
	unsigned int control_index;
	bool control_mapped, dirty; /* must be reset before anything else */
	struct vdpa_filter applied;
};

void vdpa_device_init(struct vdpa_device *d);
/* -EOPNOTSUPP: the device lacks a feature; errors of vdpa_pool_acquire() and vdpa_map_new(); the ioctl's. */
int vdpa_device_prepare(struct vdpa_device *d, struct err *err);
/* Rings that are disabled count as well: with several pairs, filter.pairs says how many are in use. On failure: as
 * after stop. */
int vdpa_device_start(struct vdpa_device *d, struct err *err);
/* After this the device touches nothing of the guest's, unless it does not answer (-ETIMEDOUT, -EIO…). */
int vdpa_device_stop(struct vdpa_device *d);
/* While live: */
int vdpa_device_apply(struct vdpa_device *d, struct err *err); /* filter */
int vdpa_device_call(struct vdpa_device *d, unsigned int index, int callfd);
/* Asks it something that its server must answer. */
int vdpa_device_ping(struct vdpa_device *d);
/* Of a device that called by configfd: -EIO if it needs a reset or is gone. */
int vdpa_device_check(struct vdpa_device *d);
/* Closes, unbinds, deletes, frees what it holds; not `d` itself. */
void vdpa_device_done(struct vdpa_device *d);

/* Those of the guest's features that such a device would have to support: all but those that QEMU or vpfd
 * implement. */
uint64_t vdpa_device_features(uint64_t features);
