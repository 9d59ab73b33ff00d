/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A tap with several queues: how a function's frames get into the kernel and out. It exists as long as one of
 * its descriptors is open, so nothing of it outlives vpfd. Thread-safety: main thread. */

#include <net/if.h>

#include "util/err.h"
#include "vhost/vhost_user.h"

struct tap {
	struct tap *next; /* its owner's */
	char name[IFNAMSIZ];
	int ifindex;
	unsigned int n;
	int fd[VHOST_USER_MAX_QUEUE_PAIRS];
};

/* Makes one of n queues, all of them detached, its netdev down; a virtio-net header of 12 bytes,
 * little-endian. -EBUSY: there is a netdev of that name. */
int tap_new(const char *name, unsigned int n, struct tap **ret, struct err *err);
void tap_free(struct tap *t); /* takes NULL */
