/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The kernel side of a function that vhost-net serves: a /dev/vhost-net for each queue pair, joined to the queues of
 * a tap. This module decides what is asked of the kernel, in which order, and how it is undone; datapath_vhost_net.c
 * decides when, and what follows.
 *
 * Theory of operation. The kernel reads and writes guest memory, rings and the dirty log as memory of this
 * process, at the addresses given, and polls the kick descriptors. It does so for a ring from the moment its
 * backend, a queue of the tap, is set until the call that removes it returns; it only needs the memory to stay
 * mapped, so the owner must not release it before. Everything was checked before it came here: regions are mappings
 * of ours, rings are inside them, and the log covers memory and the rings.
 *
 * Thread-safety: one at a time of prepare, start, apply and stop, on the side thread (datapath/side_thread.h);
 * their arguments are written before they run, and read after. vhost_net_call(), vhost_net_enable() and
 * vhost_net_tear() may come from the main thread at any time. All are under `lock`, which is released between two
 * steps, so that no thread waits longer than one of them takes. */

#include <linux/vhost.h>
#include <pthread.h>

#include "util/err.h"
#include "vhost/vhost_user.h"

#define VHOST_NET_WHY 160 /* bytes of an error text */

struct vhost_net_ring {
	unsigned int index; /* as vhost-user counts */
	unsigned int size;
	struct vhost_vring_addr addr; /* .index is set here */
	uint16_t avail_idx;           /* in: where to begin; out: the position, see vhost_net_stop() */
	int kickfd, errfd;            /* borrowed while started */
	int callfd;   /* under the lock; a duplicate: the front-end's may be closed any time */
	bool enabled; /* under the lock: to be served */
	bool set, attached;
};

struct vhost_net {
	pthread_mutex_t lock;
	bool torn; /* under the lock */

	/* arguments */
	unsigned int n_tap;
	int tap_fd[VHOST_USER_MAX_QUEUE_PAIRS];
	unsigned int pairs;         /* minimum that prepare opens devices for; the rings may require more */
	uint64_t features;          /* negotiated */
	struct vhost_memory *table; /* malloc'ed; NULL: not known yet */
	void *log;                  /* NULL: nothing is logged */
	unsigned int n;
	struct vhost_net_ring ring[VHOST_USER_MAX_QUEUES];

	/* under the lock, see vhost_net_result() */
	int r;
	char why[VHOST_NET_WHY];

	int dev[VHOST_USER_MAX_QUEUE_PAIRS]; /* -1: not opened */
	bool has_table[VHOST_USER_MAX_QUEUE_PAIRS];
};

/* What the kernel's vhost-net offers (virtio features and VHOST_F_LOG_ALL); 0: not available, with the reason in
 * `err`. Main thread. */
uint64_t vhost_net_kernel_features(struct err *err);

int vhost_net_new(struct vhost_net **ret); /* opens nothing. -ENOMEM */
void vhost_net_free(void *arg);            /* closes what is open; nothing is attached; takes NULL */

/* `arg` is a struct vhost_net, here and below: these are side_fn. Opens what is not open, sets features and
 * memory. */
void vhost_net_prepare(void *arg);
/* Gives the kernel the rings, and attaches those that are enabled. On failure as after vhost_net_stop(). */
void vhost_net_start(void *arg);
/* Attaches and detaches as `enabled` says. On failure as after vhost_net_stop(), and does nothing until the next
 * start. */
void vhost_net_apply(void *arg);
/* Takes all rings back: avail_idx is the next one that the kernel would have taken. */
void vhost_net_stop(void *arg);

/* The result of the last of prepare, start and apply: negative errno, and a sentence. */
int vhost_net_result(struct vhost_net *vn, char why[VHOST_NET_WHY]);

/* The same as vhost_net_stop(), but at once, from the main thread: when this returns the kernel touches
 * neither rings nor memory, and the taps and descriptors given are no longer used. Any other operation in progress
 * ends without effect. */
void vhost_net_tear(struct vhost_net *vn);
void vhost_net_enable(struct vhost_net *vn, unsigned int ring,
		      bool enable); /* followed by vhost_net_apply() */
/* Replaces the call descriptor, which is duplicated before this returns. Negative errno. */
int vhost_net_call(struct vhost_net *vn, unsigned int ring, int callfd);
/* Drops the duplicated call descriptors, and the rings with them: they were stopped. */
void vhost_net_forget_rings(struct vhost_net *vn);
