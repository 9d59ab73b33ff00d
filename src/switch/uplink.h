/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The uplink of a fabric: a tap that vpfd creates, or an existing netdev through packet sockets. Both carry
 * the virtio-net header, so offloads pass unfinished. One descriptor for each worker, so that workers share
 * none.
 *
 * Thread-safety: uplink_transmit(), uplink_poll(): the worker of that queue. All else: main thread. */

#include "settings/settings.h"
#include "switch/worker.h"
#include "util/err.h"

struct uplink_queue {
	struct poll_source source;
	struct uplink *uplink;
	int fd;
};

struct uplink {
	enum uplink_type type;
	char name[IFNAMSIZ];
	int ifindex;
	bool carrier; /* main thread; kept up to date by the fabric from rtnetlink */
	bool uso;     /* the kernel supports UDP segmentation offload */
	struct sw_port *port;
	unsigned int n;
	struct uplink_queue queue[];
};

/* Opens the uplink, not yet in use. Errors name the field "uplink.name" or "uplink.type": -ENODEV (no such
 * netdev), -EPERM (needs CAP_NET_ADMIN or CAP_NET_RAW), -EBUSY (tap in use), … */
int uplink_open(const struct fabric_settings *s, unsigned int workers, struct uplink **ret, struct err *err);
/* Starts and stops receiving; the port must be published before and withdrawn afterwards. */
void uplink_start(struct uplink *up, struct worker_pool *pool);
void uplink_stop(struct uplink *up, struct worker_pool *pool);
void uplink_close(struct uplink *up); /* takes NULL */

/* Sends n frames, with their tags. */
void uplink_transmit(struct worker *w, struct sw_port *port, struct pkt *p, unsigned int n);
/* Receives what is there, up to a limit, and switches it. */
void uplink_poll(struct worker *w, struct uplink_queue *q);
