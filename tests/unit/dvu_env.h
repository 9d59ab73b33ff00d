/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of the vhost-user datapath start from: a loop, a guest's memory in a memfd with rings in it,
 * an instance whose callbacks are written down, and a back-end. Its end fails if descriptors or mappings were
 * left. */

#include "datapath/vhost_user/datapath_vhost_user.h"
#include "datapath/vhost_user/params.h"
#include "vdriver.h"
#include "vu_fake.h"

#define DVU_QUEUES   4
#define DVU_MEM_SIZE 0x200000u
#define DVU_FEATURES                                                                                         \
	(VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) |                              \
	 VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF) |                      \
	 VIRTIO_BIT(VIRTIO_NET_F_MQ) | VIRTIO_BIT(VIRTIO_NET_F_STATUS))

struct dvu { /* one instance and its owner */
	struct datapath *dp;
	unsigned int prepared, started, stopped, failed, ring_errors, ring_error_queue;
	int prepared_r, started_r;
	char why[200];
	struct datapath_ring rings[DVU_QUEUES];
	struct vhost_queue queue[DVU_QUEUES];
};

struct dvu_env {
	sd_event *event;
	char dir[64], path[96];
	int mem_fd;
	ino_t mem_ino;
	struct vmem vm;
	struct vdriver driver[DVU_QUEUES]; /* at index 1000·(queue+1) */
	struct dvu i;
	struct vu_fake b;
	int fds, maps;
};

static inline struct vhost_user_params *dvu_params(struct datapath_pref *pref)
{
	return (void *)pref->params.bytes;
}

int dvu_setup(void **state);
int dvu_teardown(void **state);
int dvu_open(struct dvu_env *e, struct dvu *i, const struct datapath_pref *pref, unsigned int queue_pairs,
	     struct err *err);
/* By e->path, the back-end listening, 2 queue pairs. */
void dvu_open_client(struct dvu_env *e);
void dvu_close(struct dvu *i);
/* Prepared, then started with the first n rings: nothing may fail. */
void dvu_prepare(struct dvu_env *e);
void dvu_start(struct dvu_env *e, unsigned int n);
void dvu_begin(struct dvu_env *e, struct dvu *i, unsigned int n); /* start(), without waiting */
void dvu_stop(struct dvu_env *e);
/* For what must come, however slow the machine: what comes at once is not waited for. */
#define DVU_PATIENCE_MS 20000

/* Runs the loop until *counter reaches n; false after `ms`. */
bool dvu_wait(struct dvu_env *e, const unsigned int *counter, unsigned int n, unsigned int ms);
/* Runs it until nothing happens any more, for 20 ms. */
void dvu_settle(struct dvu_env *e);
/* What a back-end does with a ring: everything up to `idx` is used. */
void dvu_use(struct dvu_env *e, unsigned int queue, uint16_t idx);
uint64_t dvu_now_ms(void);
