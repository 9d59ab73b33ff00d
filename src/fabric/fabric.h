/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The switch that functions' traffic meets, and how their settings take effect there: the interface of all
 * kinds of fabric: builtin (vpfd's own), bridge (the kernel's); it must fit a NIC's own switch and Open
 * vSwitch.
 *
 * Theory of operation. A fabric has a port for each function of its virtual PFs, from fabric_port_add() on; a
 * port is first of all a place for settings. It costs the switch something only while it is open:
 * fabric_port_open() makes what a datapath needs to lead there (a tap, a VF of a NIC, an Open vSwitch port),
 * with the settings in force before the first frame can pass, and fabric_port_close() takes it away. While
 * its function is not started, a port keeps its place: its addresses are its own, and frames for them go
 * nowhere. Only while another switch has the function, because a datapath that leads there serves it, are
 * they not claimed here (fabric_port_elsewhere()): its frames come another way.
 *
 * What a fabric cannot enforce it says in `can`; the model refuses such a setting (EOPNOTSUPP) before it
 * comes here. So port_set cannot fail for what is asked; it can fail for what the kernel says, which is the
 * fabric's to report (event `trouble`, once) and to try again, with the port closed to traffic if letting it
 * pass would be a breach (VLAN, spoof check).
 *
 * Thread-safety: main thread. */

#include "settings/can.h"
#include "settings/counters.h"
#include "settings/rx_filter.h"
#include "settings/settings.h"
#include "util/err.h"

struct sd_event;
struct counter_file;
struct worker_pool;

struct fabric;
struct fabric_port;
struct fabric_ops;

struct fabric_events {
	void (*link_changed)(void *ctx, struct fabric_port *p, bool up);
	void (*mac_conflict)(void *ctx, struct fabric_port *p, const uint8_t mac[6]);
	void (*uplink_changed)(void *ctx, struct fabric *f, bool carrier);
	/* A setting could not be carried out, or an open port was lost (somebody deleted its tap): one
	 * sentence. */
	void (*trouble)(void *ctx, struct fabric *f, struct fabric_port *p /* NULL: the fabric's own */,
			const char *why);
	/* Somebody deleted the tap of an open port (`trouble` said so), and it was made again behind the same
	 * descriptors: what its user had set on it, offloads and queues in use, is to be set again, by a stop
	 * and a start. */
	void (*port_remade)(void *ctx, struct fabric_port *p);
	/* The tap of an open port cannot be had back (it is in another network namespace): its users are to
	 * close the port. When the last one has, it can be opened again. */
	void (*port_lost)(void *ctx, struct fabric_port *p);
};

struct fabric { /* what all fabrics begin with; the rest is theirs */
	const struct fabric_ops *ops;
	struct worker_pool *pool; /* that new() was given: who pumps where a port is a tap */
	struct fabric_settings settings;
	const struct fabric_events *events;
	void *ctx;
};

struct fabric_port { /* what all ports begin with */
	struct fabric *fabric;
	const char *pf; /* the owner's */
	unsigned int fn;
	struct function_settings settings;
	bool link_up; /* what the fabric gives: setting and uplink; the broker adds whether rings are served
		       */
	bool mac_conflict;
	bool elsewhere;    /* another switch has the function: its addresses are not claimed here */
	unsigned int open; /* fabric_port_open() less fabric_port_close() */
};

/* What an open port gives a datapath. */
struct fabric_attach {
	struct sw_port *sw_port; /* builtin: the port that workers serve; NULL: another kind */
	/* A tap with one descriptor for each queue pair (IFF_MULTI_QUEUE, IFF_VNET_HDR, IFF_NO_PI, header of
	 * 12 bytes, not attached ones disabled): the fabric's own, valid until close. 0: another kind. */
	unsigned int n_tap;
	const int *tap_fd;
	const char *tap_name; /* of the netdev */
};

struct fabric_ops {
	const char *type; /* "builtin", "bridge" */
	/* What a fabric of such settings can enforce on this host: CAN_*. Asked at configuration,
	 * before there is one, and after; looks at what the kernel has, and remembers it. */
	uint32_t (*can)(const struct fabric_settings *s);
	/* Whether settings can be had here, before they are saved: a bridge that exists, a name that is no
	 * other netdev's. -EINVAL, -ENODEV, -EPERM… with a reason. */
	int (*new)(struct sd_event *event, struct worker_pool *pool, const struct fabric_settings *s,
		   const struct fabric_events *events, void *ctx, struct fabric **ret, struct err *err);
	int (*set)(struct fabric *f, const struct fabric_settings *s, struct err *err);
	void (*free)(struct fabric *f); /* no ports left; takes NULL */
	void (*get)(const struct fabric *f, struct fabric_state *ret,
		    struct port_stats *ret_uplink); /* each may be NULL */
	void (*fdb)(const struct fabric *f, uint32_t now, void (*row)(void *arg, const struct fdb_row *row),
		    void *arg);
	void (*netdev_changed)(struct fabric *f, const char *name, int ifindex, bool carrier, bool gone);

	int (*port_add)(struct fabric *f, const char *pf, unsigned int fn, const struct function_settings *s,
			const struct pf_policy *policy, struct counter_file *counters,
			struct fabric_port **ret);
	void (*port_free)(struct fabric_port *p); /* closed; takes NULL */
	void (*port_set)(struct fabric_port *p, const struct function_settings *s,
			 const struct pf_policy *policy /* NULL: as it is */);
	void (*port_filter)(struct fabric_port *p, const struct rx_filter *filter);
	const struct rx_filter *(*port_get_filter)(const struct fabric_port *p); /* NULL: nothing heard yet */
	void (*port_get_stats)(const struct fabric_port *p, struct port_stats *ret);
	/* Nested: the second of two datapaths of a move gets the same. queue_pairs: how many taps. */
	int (*port_open)(struct fabric_port *p, unsigned int queue_pairs, struct fabric_attach *ret,
			 struct err *err);
	void (*port_close)(struct fabric_port *p);
	/* The function is served by a datapath that leads to another switch, or no more. The port is closed.
	 */
	void (*port_elsewhere)(struct fabric_port *p, bool elsewhere);
	/* Tells the switches that the fabric leads to where a function is now: frames that enter as if the
	 * function had sent them (fabric/announce.h), so its settings apply to them, and its statistics count
	 * them. mac: the address that is announced; NULL: all that the port owns. Nothing happens where the
	 * function has no link here, or is elsewhere. Not from within a callback of a worker. */
	void (*announce)(struct fabric_port *p, const uint8_t *mac);
};

extern const struct fabric_ops fabric_builtin, fabric_bridge;
const struct fabric_ops *fabric_ops_of(enum fabric_type type); /* NULL: not built in */
/* A port's link by its setting; `carrier` is what LINK_AUTO follows. */
bool fabric_link(enum link_mode mode, bool carrier);
