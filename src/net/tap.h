/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A tap with several queues: how a function's frames get into the kernel and out. It exists as long as one of
 * its descriptors is open, so nothing of it outlives vpfd. Thread-safety: main thread. */

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

/* Makes one of n queues, all of them detached, its netdev down; a virtio-net header of 12 bytes,
 * little-endian. -EBUSY: there is a netdev of that name. */
int tap_new(const char *name, unsigned int n, struct tap **ret, struct err *err);
void tap_free(struct tap *t); /* takes NULL */
/* Its netdev was deleted: makes another, of this name, behind the same descriptors. -EEXIST: it was not
 * deleted, but is in another namespace. */
int tap_remake(struct tap *t, const char *name);
