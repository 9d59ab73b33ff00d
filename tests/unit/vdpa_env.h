/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of the vdpa datapath start from: a kernel that is made up (fake_vdpa.h) with the device "v0", a
 * guest's memory, and the owner of an instance, which keeps what it is told. */

#include "datapath/datapath.h"
#include "fake_vdpa.h"
#include "vhost/virtio.h"

#define DV_QUEUES   4
#define DV_GPA      (UINT64_C(1) << 30)
#define DV_MEM_SIZE 0x400000u
#define DV_FEATURES                                                                                          \
	(VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) |                              \
	 VIRTIO_BIT(VIRTIO_NET_F_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF) |                                \
	 VIRTIO_BIT(VIRTIO_NET_F_STATUS) | VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ))

struct dv_owner { /* of one instance */
	struct datapath *dp;
	unsigned int prepared, started, stopped, failed, given, taken;
	int prepared_r, started_r;
	char why[200];
	uint64_t offset[DV_QUEUES];
	struct vhost_queue queue[DV_QUEUES];
	struct datapath_ring ring[DV_QUEUES];
};

struct dv_env {
	sd_event *event;
	struct fake_vdpa *d;
	struct guest_mem *mem;
	struct dv_owner o;
	int callfd, kickfd;
};

#define DV_PATIENCE_MS 20000 /* for what must come, however slow the machine */

extern const uint8_t dv_mac[6]; /* of every function */

int dv_setup(void **state);
int dv_teardown(void **state); /* waits until all devices are closed */
uint64_t dv_now_ms(void);
/* Runs the loop until the counter, of callbacks, is n; no more of them may have come. */
void dv_await(struct dv_env *e, const unsigned int *counter, unsigned int n);
/* 0 or the error; *mem is another one then. */
int dv_add_region(struct guest_mem **mem, uint64_t gpa, uint64_t size);
/* An instance for a function; its callbacks go to `o`. */
void dv_open_as(struct dv_env *e, struct dv_owner *o, const char *path, const char *mgmtdev,
		unsigned int pairs, unsigned int fn);
/* That of e->o, and what it is expected to answer. */
void dv_prepare(struct dv_env *e, uint64_t features, int expected);
/* start() without waiting. Ring i is at DV_GPA + i·64 KiB; its used index is `at`. */
void dv_begin(struct dv_env *e, unsigned int n, uint16_t at, bool enabled);
void dv_start(struct dv_env *e, unsigned int n, uint16_t at);
/* What a device does with a ring: everything up to `idx` is used. */
void dv_use(struct dv_env *e, unsigned int queue, uint16_t idx);
void dv_stop(struct dv_env *e);
/* What is mapped at an address; NULL: nothing. */
const struct fake_map *dv_mapped(const struct dv_env *e, uint64_t iova);

/* Until the fake's field, which its threads change, is what is expected. */
#define DV_AWAIT(e, expr)                                                                                    \
	do {                                                                                                 \
		uint64_t end_ = dv_now_ms() + 10000;                                                         \
		bool is_;                                                                                    \
		for (;;) {                                                                                   \
			pthread_mutex_lock(&fake_kernel->lock);                                              \
			is_ = (expr);                                                                        \
			pthread_mutex_unlock(&fake_kernel->lock);                                            \
			if (is_ || dv_now_ms() >= end_)                                                      \
				break;                                                                       \
			sd_event_run((e)->event, 1000);                                                      \
		}                                                                                            \
		assert_true(is_);                                                                            \
	} while (0)
