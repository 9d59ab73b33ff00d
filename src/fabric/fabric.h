/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The switch that functions' traffic meets, and how their settings take effect there: the interface for users of
 * fabrics, of any type. For implementing a type see fabric/provider.h.
 *
 * Theory of operation. A fabric has a port for each function of its virtual PFs, from fabric_port_add() on. A port
 * primarily holds settings. It has a cost for the switch only while it is open: fabric_port_open() makes what a
 * datapath needs to lead there (a tap, a VF of a NIC, an Open vSwitch port), with the settings in force before the
 * first frame can pass, and the last fabric_port_close() takes it away. While its function is not started, a port
 * keeps its place: its addresses are its own, and frames for them go nowhere. They are given up only while another
 * switch has the function, because a datapath that leads there serves it (fabric_port_elsewhere()): its frames then
 * take another way.
 *
 * fabric_can() says what a fabric can enforce; the model refuses other settings (EOPNOTSUPP) before they get here.
 * fabric_check() says, before anything is saved, whether settings are possible in other respects.
 *
 * Answers. fabric_new(), fabric_set(), fabric_check(), fabric_port_set() and fabric_port_open() may be answered
 * later (util/answer.h), within FABRIC_ANSWER_US each for the provider's part. `answer` NULL: the caller does not
 * wait for it. Operations of one port are carried out one at a time, in the order in which they were requested. A
 * change that fails, or is not answered in time, has been undone or is being undone when the answer comes; what
 * cannot be undone is `trouble`. fabric_free() and fabric_port_free() end operations in progress: no answer follows.
 *
 * Thread-safety: main thread. */

#include "fabric/attach.h"
#include "settings/can.h"
#include "settings/counters.h"
#include "settings/rx_filter.h"
#include "settings/settings.h"
#include "util/answer.h"
#include "util/err.h"

struct counter_file;
struct fabric;
struct fabric_group;
struct fabric_ops;
struct fabric_port;
struct sd_event;
struct sd_event_source;
struct worker_note;
struct worker_pool;

#define FABRIC_ANSWER_US 2000000 /* µs */

struct fabric_events { /* each may be NULL; none comes before fabric_new() has succeeded */
	void (*link_changed)(void *ctx, struct fabric_port *p, bool up);
	void (*mac_conflict)(void *ctx, struct fabric_port *p, const uint8_t mac[6]);
	void (*uplink_changed)(void *ctx, struct fabric *f, bool carrier);
	/* A setting could not be carried out, or an open port was lost (its tap was deleted): one sentence. */
	void (*trouble)(void *ctx, struct fabric *f, struct fabric_port *p /* NULL: the fabric's own */,
			const char *why);
	/* What an open port gives was made again, with the same descriptors: what its users had set on it,
	 * offloads and queues in use, is to be set again, by a stop and a start. */
	void (*port_remade)(void *ctx, struct fabric_port *p);
	/* What an open port gives is lost (its tap is in another network namespace): its users must close the port.
	 * Once the last one has, it can be opened again. */
	void (*port_lost)(void *ctx, struct fabric_port *p);
};

struct fabric_config {
	struct sd_event *event;   /* NULL: nothing ages, and nothing can be answered later */
	struct worker_pool *pool; /* that switch, or pump where a port is a tap */
	uint64_t answer_us;       /* µs, how long a provider's answer is waited for; 0: FABRIC_ANSWER_US */
	const struct fabric_events *events;
	void *ctx;
};

/* The part of a PF's policy that a fabric enforces for each function; the total rate is in fabric_group. */
struct filter_policy {
	bool driver_mac, promisc;
	uint32_t max_driver_macs;
};

struct fabric_group { /* the functions of one virtual PF on a fabric */
	struct fabric_group *next;
	char pf[VPF_NAME_MAX];
	unsigned int members;
	uint32_t max_rate_total; /* Mb/s, 0: no limit */
	void *data;              /* the provider's */
};

/* What a fabric waits for its provider's answer to. */
enum fabric_doing { FABRIC_IDLE, FABRIC_MAKE, FABRIC_SET, FABRIC_UNDO };

struct fabric { /* the common part of all fabrics; the rest is the provider's */
	const struct fabric_ops *ops;
	struct fabric_config config;
	struct fabric_settings settings;
	struct fabric_port **ports; /* in the order in which they were added */
	unsigned int n_ports;

	/* the core's own */
	unsigned int room;
	struct fabric_group *groups;
	struct fabric_checks *checks; /* pending */
	bool coming;                  /* fabric_new() is not answered yet */
	uint64_t call;                /* number of the operation under way, or of the last one */
	enum fabric_doing doing;
	struct fabric_settings before; /* FABRIC_SET, FABRIC_UNDO: what to go back to */
	struct answer answer;
	struct sd_event_source *timer;
};

/* A user of an open port, in its own structure. */
struct fabric_use {
	struct fabric_use *next;
	struct answer answer;
	bool waits; /* for its answer */
};

struct fabric_port { /* the common part of all ports; the rest is the provider's */
	struct fabric *fabric;
	const char *pf; /* the owner's */
	unsigned int fn;
	struct fabric_group *group;
	struct function_settings settings;
	struct filter_policy policy;
	struct rx_filter *filter; /* NULL: nothing heard yet */
	bool link_up;             /* by setting and uplink; the broker adds whether rings are served */
	bool mac_conflict;        /* another function owns its main address */
	bool elsewhere;           /* another switch has the function: its addresses are not claimed here */
	bool gone;                /* open, and what it gives is lost: not opened again before it is closed */
	struct fabric_attach attach; /* while it is open */

	/* the core's own: see fabric.c */
	struct fabric_use *uses;
	unsigned int queue_pairs;
	bool is_open;
	struct port_change *changes;
	int doing;
	uint64_t call; /* number of the operation under way, or of the last one */
	struct sd_event_source *timer, *work;
};

/* What a fabric of such settings can enforce on this host: CAN_*. Asked at configuration, before there is one, and
 * after; looks at what the kernel has, and remembers it. */
uint32_t fabric_can(const struct fabric_settings *s);
/* Kinds of attachment that its ports give: ATTACH_*. */
uint32_t fabric_gives(const struct fabric_settings *s);
const char *fabric_type_of(const struct fabric *f); /* "builtin", "bridge", … */

/* Makes what the settings say. The fabric may be used when this has succeeded; if the answer is an error, it is
 * to be freed. -EINVAL, -ENODEV, -EPERM, -ENOMEM… with a reason; -EOPNOTSUPP: no such type in this vpfd. */
int fabric_new(const struct fabric_config *config, const struct fabric_settings *s,
	       const struct answer *answer, struct fabric **ret, struct err *err);
/* Other settings of the same name and type. -EBUSY: the answer of the last one is due. */
int fabric_set(struct fabric *f, const struct fabric_settings *s, const struct answer *answer,
	       struct err *err);
void fabric_free(struct fabric *f); /* no ports left; takes NULL */
void fabric_get(const struct fabric *f, struct fabric_state *ret,
		struct port_stats *ret_uplink); /* each may be NULL */
void fabric_fdb(const struct fabric *f, uint32_t now /* s, CLOCK_MONOTONIC */,
		void (*row)(void *arg, const struct fdb_row *row), void *arg);
/* rtnetlink tells of a netdev; `gone`: it was deleted, or left this namespace. */
void fabric_netdev_changed(struct fabric *f, const char *name, int ifindex, bool carrier, bool gone);
/* A worker's note of an address; false: it is of another fabric. */
bool fabric_note(struct fabric *f, const struct worker_note *note);

struct fabric_check { /* a function as it would be */
	const char *pf;
	unsigned int fn;
	const struct function_settings *settings;
	const struct pf_policy *policy;
};
/* Whether the settings are possible; changes nothing. */
int fabric_check(struct fabric *f, const struct fabric_check *check, const struct answer *answer,
		 struct err *err);

/* pf: outlives the port. counters: the PF's, open as long as the port is there; NULL: none that last. -ENOMEM. */
int fabric_port_add(struct fabric *f, const char *pf, unsigned int fn, const struct function_settings *s,
		    const struct pf_policy *policy, struct counter_file *counters, struct fabric_port **ret);
void fabric_port_free(struct fabric_port *p); /* closed; takes NULL */
/* policy NULL: as it is. While the answer is due, `settings` are the new ones. -ENOMEM, or what the switch says. */
int fabric_port_set(struct fabric_port *p, const struct function_settings *s, const struct pf_policy *policy,
		    const struct answer *answer, struct err *err);
/* What the driver asked for. Without memory it stays as it was: QEMU tells all of it again with the next change. */
void fabric_port_filter(struct fabric_port *p, const struct rx_filter *filter);
void fabric_port_get_stats(struct fabric_port *p, struct port_stats *ret);
/* Nested: of two datapaths in a move both open the port, and get the same. queue_pairs: how many taps. On success
 * p->attach is valid until fabric_port_close(), which is due, and ends the wait for an answer. `use` is the
 * caller's, and zero at first. -ENODEV: what it gave is lost, and others have not closed it yet. */
int fabric_port_open(struct fabric_port *p, struct fabric_use *use, unsigned int queue_pairs,
		     const struct answer *answer, struct err *err);
void fabric_port_close(struct fabric_port *p, struct fabric_use *use);
/* Tells whether another switch serves the function now. */
void fabric_port_elsewhere(struct fabric_port *p, bool elsewhere);
/* Tells the switches that the fabric leads to where a function is now: frames that enter as if the function had
 * sent them (fabric/announce.h), so its settings apply to them, and its statistics count them. mac: the address
 * that is announced; NULL: all that the port owns. Nothing happens where the function has no link here, or is
 * elsewhere. Not from within a callback of a worker. */
void fabric_port_announce(struct fabric_port *p, const uint8_t *mac);
