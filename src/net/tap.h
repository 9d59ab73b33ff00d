/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A tap with several queues: the way for a function's frames into the kernel and out of it. It exists as long
 * as one of its descriptors is open, so nothing of it outlives vpfd. Thread-safety: main thread. */

#include <net/if.h>

#include "util/err.h"
#include "vhost/vhost_user.h"

#define TAP_HEADER_LEN 12 /* struct virtio_net_hdr_mrg_rxbuf, before each frame */

struct tap {
	char name[IFNAMSIZ];
	int ifindex; /* 0: it was deleted */
	unsigned int n;
	int fd[VHOST_USER_MAX_QUEUE_PAIRS];
};

/* Creates one with n queues, all of them detached, and its netdev down; the virtio-net header has 12 bytes
 * and is little-endian. -EBUSY: a netdev of that name exists. */
int tap_new(const char *name, unsigned int n, struct tap **ret, struct err *err);
void tap_free(struct tap *t); /* takes NULL */
/* Its netdev was deleted: creates another one, of this name, for the same descriptors. -EEXIST: it was not
 * deleted, but moved to another namespace. */
int tap_remake(struct tap *t, const char *name);
