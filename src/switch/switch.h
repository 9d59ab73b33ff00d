/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The embedded switch: which ports get a frame. One for each fabric.
 *
 * A unicast frame goes to the port that owns its destination MAC in its VLAN, else to the uplink; from the
 * uplink, a frame whose MAC no port owns goes only to trusted promiscuous ports. Broadcast goes to every port
 * of the VLAN, multicast to those that listen to the group. A port's VLAN setting decides which VLAN its
 * frames belong to and whether they carry a tag outside the switch (IEEE 802.1Q-2022 §6.9, §8.6).
 *
 * Thread-safety: sw_sort(), sw_output(), sw_forward(): worker threads. All else: main thread. */

#include "switch/fdb.h"
#include "switch/port.h"

struct counter_file;

struct sw_view {                /* the ports of a switch; immutable once published */
	struct sw_port *uplink; /* NULL: none */
	unsigned int n;
	struct sw_port *port[]; /* functions */
};

struct sw {
	struct fdb *fdb;      /* RCU, never NULL */
	struct sw_view *view; /* RCU, never NULL */
	unsigned int workers;
	struct worker_pool *pool;
	/* main thread: the next views, with room for `room` ports, so that a port can always be removed */
	unsigned int room;
	struct sw_view *spare[2];
};

int sw_init(struct sw *sw, struct worker_pool *pool);
void sw_fini(struct sw *sw); /* no ports left */
/* A port that is not yet part of the switch; conf becomes its own. It counts in memory of its own (`counters`
 * NULL), or as function `fn` in `counters`, which stay open as long as the port exists. -ENOMEM. */
int sw_port_new(struct sw *sw, enum port_kind kind, struct port_conf *conf, struct counter_file *counters,
		unsigned int fn, struct sw_port **ret);
void sw_port_free(struct sw_port *port); /* after sw_publish_view() without it; takes NULL */
/* Makes room for views of that many ports. -ENOMEM. */
int sw_reserve(struct sw *sw, unsigned int ports);
/* Publishes the view that sw_next_view() gave, to be filled with at most as many ports as were reserved. Returns
 * when no worker uses the one before. */
struct sw_view *sw_next_view(struct sw *sw);
void sw_publish_view(struct sw *sw);

/* Decides where n frames that came in at src go, and sorts them by receiver into the worker's burst; flooded
 * ones are delivered at once: no flow has frames of both kinds. */
void sw_sort(struct worker *w, struct sw_port *src, const struct port_conf *conf, struct pkt *pkts,
	     unsigned int n);
/* Delivers all that was sorted. */
void sw_output(struct worker *w);
/* Everything for frames that come from no transmit queue: sorts, delivers, makes the calls. The burst must be
 * empty. */
void sw_forward(struct worker *w, struct sw_port *src, const struct port_conf *conf, struct pkt *pkts,
		unsigned int n);
