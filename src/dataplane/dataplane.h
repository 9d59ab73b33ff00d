/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the model needs from the outside: fabrics that switch, functions that QEMU can connect to. The model validates
 * and saves; this layer carries out. One table of functions, so that the model's tests run without sockets or
 * threads.
 *
 * Contract: arguments are valid (the model checked them) and borrowed for the call. A call that fails
 * (negative errno, `err` filled with field and reason) has changed nothing, or is changing it back. Calls with an
 * `answer` may be answered later (util/answer.h), within DATAPLANE_ANSWER_US if nothing else of the same object is
 * under way. fabric_del and function_del cannot fail, and end operations in progress: no answer follows. A fabric
 * with functions is never deleted; functions of a PF are added 0…vfs and deleted in reverse.
 *
 * Thread-safety: main thread. */

#include "settings/counters.h"
#include "settings/rx_filter.h"
#include "settings/settings.h"
#include "util/answer.h"
#include "util/err.h"

struct sd_event;
struct vhost_user_info;
struct binding_info; /* broker/binding.h */

#define DATAPLANE_ANSWER_US 2500000 /* µs */

struct function_state {    /* the actual state, as opposed to the settings */
	bool link_up;      /* what the guest should see */
	bool mac_conflict; /* its MAC is owned by another function of the fabric, which gets that traffic */
	const char *datapath; /* "builtin", or "none" while no queue is started */
	uint64_t offered; /* virtio features that the connected front-end was offered; 0: none is connected */
	const struct rx_filter *filter;
};

/* What a list of datapaths offers the functions of a virtual PF. */
struct datapath_ability {
	/* Virtio features that all of the list can serve; 0: none is available now. An unavailable datapath's
	 * features are unknown, so it is not counted; it will refuse what it cannot serve. */
	uint64_t features;
	uint32_t enforces[VPF_MAX_DATAPATHS]; /* CAN_* (settings/can.h) of each of the list */
	char absent[200]; /* one sentence about the first that is not available now; empty: all are */
};

/* What front-ends of a function are offered: what all of its own list can serve, and of its virtual PF's, to which it
 * may return; see datapath_ability.features. 0: none of the list is available now. */
struct function_offer {
	uint64_t list, pf;
};

struct dataplane_events {
	void (*function_connected)(void *ctx, const char *pf, unsigned int fn, bool connected,
				   const char *why);
	void (*function_started)(void *ctx, const char *pf, unsigned int fn,
				 bool started); /* first queue / last queue */
	void (*link_changed)(void *ctx, const char *pf, unsigned int fn, bool up);
	void (*ring_error)(void *ctx, const char *pf, unsigned int fn, unsigned int queue, const char *why);
	void (*mac_conflict)(void *ctx, const char *pf, unsigned int fn, const uint8_t mac[6]);
	void (*uplink_changed)(void *ctx, const char *fabric, bool carrier);
	/* As binding_events.changed and .failed (broker/binding.h), which say more. */
	void (*datapath_changed)(void *ctx, const char *pf, unsigned int fn, const struct datapath_pref *from,
				 const struct datapath_pref *to, uint64_t gap_us, const char *why);
	/* It was moved to another place in the network, which only its driver can announce there. */
	void (*announce_wanted)(void *ctx, const char *pf, unsigned int fn);
	void (*datapath_failed)(void *ctx, const char *pf, unsigned int fn, const struct datapath_pref *pref,
				const char *why);
	/* As fabric_events.trouble (fabric/fabric.h); pf NULL: about the fabric as a whole. */
	void (*fabric_trouble)(void *ctx, const char *fabric, const char *pf, unsigned int fn,
			       const char *why);
};

struct dataplane_ops {
	/* Functions are added after it has been answered. */
	int (*fabric_add)(void *dp, const struct fabric_settings *s, const struct answer *answer,
			  struct err *err);
	/* Name and type as before. */
	int (*fabric_set)(void *dp, const struct fabric_settings *s, const struct answer *answer,
			  struct err *err);
	void (*fabric_del)(void *dp, const char *name);
	int (*fabric_get)(void *dp, const char *name, struct fabric_state *ret,
			  struct port_stats *ret_uplink);
	/* Calls row() for each entry; -ENOENT. */
	int (*fabric_fdb)(void *dp, const char *name, void (*row)(void *arg, const struct fdb_row *row),
			  void *arg);

	/* Whether a function with that many queue pairs on the fabric may have the list (not empty), and what
	 * that gives it. -EOPNOTSUPP, `err` about "datapaths": one does not lead to this fabric, is not built
	 * in, or has not the features that any guest needs. */
	int (*list_check)(void *dp, const char *fabric, unsigned int queue_pairs,
			  const struct datapath_list *list, struct datapath_ability *ret, struct err *err);

	/* Whether the fabric can carry out such settings of a function, before anything is saved; see
	 * fabric_check() (fabric/fabric.h). */
	int (*function_check)(void *dp, const char *fabric, const struct pf_settings *pf, unsigned int fn,
			      const struct function_settings *s, const struct answer *answer,
			      struct err *err);
	/* Creates the port and the socket `path`; QEMU may connect from now on. Here and in function_set,
	 * s->datapaths is never empty, and s->failback is its PF's. What the front-end is offered follows
	 * `offer` until one is connected; the model sees to it that later lists do not need less. */
	int (*function_add)(void *dp, const struct pf_settings *pf, unsigned int fn,
			    const struct function_settings *s, const struct function_offer *offer,
			    const char *path, struct err *err);
	/* Changes of one function take effect in the order in which they were asked for. */
	int (*function_set)(void *dp, const char *pf, unsigned int fn, const struct pf_policy *policy,
			    const struct function_settings *s, const struct function_offer *offer,
			    const struct answer *answer, struct err *err);
	void (*function_del)(void *dp, const char *pf, unsigned int fn);
	void (*function_filter)(void *dp, const char *pf, unsigned int fn, const struct rx_filter *filter);
	int (*function_get)(void *dp, const char *pf, unsigned int fn, struct function_state *ret,
			    struct vhost_user_info *ret_vu,
			    struct port_stats *ret_stats); /* each may be NULL */
	int (*function_binding)(void *dp, const char *pf, unsigned int fn, struct binding_info *ret);
};

struct dataplane_config {
	struct sd_event *event;
	unsigned int workers;     /* 1…64 threads */
	unsigned int poll_us;     /* µs a worker keeps polling what has gone quiet, at most; 0…1000000 */
	int cpus[64];             /* CPU of each worker, -1: not pinned */
	unsigned int socket_mode; /* of the vhost-user sockets */
	uint32_t socket_group;    /* gid, UINT32_MAX: unchanged */
	const struct dataplane_events *events;
	void *ctx;
};

struct dataplane;
extern const struct dataplane_ops dataplane_ops; /* the real one; its `dp` is a struct dataplane * */
int dataplane_new(const struct dataplane_config *config, struct dataplane **ret, struct err *err);
void dataplane_free(struct dataplane *dp); /* deletes all functions and fabrics, joins the workers */

struct worker_info {
	uint64_t polls, packets, sleeps;
	uint64_t cpu_ns;     /* CPU time used by the thread */
	unsigned int queues; /* TX queues assigned */
};
/* The control channel's way through the data plane. A frame with EtherType 0x88B5 from a virtual PF's
 * function 0 goes to the callback, whole, with its Ethernet header, and nowhere else; from any other port it
 * is dropped (DROP_CONTROL). So it is wherever vpfd serves the PF's rings (datapath_type.carries_control). Of
 * each PF at most DATAPLANE_CONTROL_FRAMES wait; further ones are dropped and counted (DROP_CONTROL_FULL), so
 * that a flood costs the flooder's own frames and no other PF's. While paused, a PF's frames wait, and the
 * main thread is not woken for them. The frame is a copy, the callback's until it returns. */
#define DATAPLANE_CONTROL_FRAMES 8
#define DATAPLANE_CONTROL_LEN    1514
typedef void (*dataplane_control_fn)(void *ctx, const char *pf, const uint8_t *frame, size_t len);
void dataplane_control_listen(struct dataplane *dp, dataplane_control_fn fn /* NULL: none */, void *ctx);
void dataplane_control_pause(struct dataplane *dp, const char *pf, bool pause);
/* Gives the PF's guest a frame (60…DATAPLANE_CONTROL_LEN bytes). -ENOENT: no such PF, -ENOTCONN: its driver
 * has no receive queue, -EAGAIN: no buffer in it. Not from within a callback of a worker. */
int dataplane_control_send(struct dataplane *dp, const char *pf, const uint8_t *frame, size_t len);

unsigned int dataplane_workers(struct dataplane *dp, struct worker_info *ret, unsigned int max);
