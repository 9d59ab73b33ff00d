/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What serves a function's rings, whatever it is: the one interface between the broker (broker/binding.h), which
 * decides what serves them, and the datapaths that can, each in a directory of its own.
 *
 * Theory of operation. An instance serves one function by one preference. Its life:
 *
 *	open → prepare ⇒ prepared → start ⇒ started → (ring_enable, ring_call)* → stop ⇒ stopped → start…
 *	and close, at any time
 *
 * prepare does everything that takes time and needs no ring: find or create the device, connect, check the
 * features, map guest memory. So a move prepares the new datapath while the old one serves, and the rings
 * are without a server only from stop to started. start takes all rings of the function that its driver has
 * started; a change of that set, of guest memory or of features is a stop and another start, and what was
 * prepared stays.
 *
 * Where it leads. A datapath that takes an attachment (fabric/attach.h) leads to the function's fabric: the broker
 * opens the fabric's port before it opens the instance, and closes it after. All settings are in force there. One
 * that takes none leads to a switch of its own, which enforces what enforces() says.
 *
 * Who owns a ring. From start() on, the instance and nobody else touches it, and reads its kick descriptor.
 * After stopped(), or started() with an error, or failed(), it is the broker's again, nobody touches ring or
 * guest memory on the instance's behalf, and rings[].avail_idx and used_idx say where it stands: everything
 * up to used_idx is given back to the driver, nothing beyond avail_idx was taken, and what lies between was
 * taken and not completed. stop() completes what it took, so that the two are the same, unless the datapath
 * died: then both are the used index found in the ring, which is where the broker looks after failed() and
 * after close() in the midst of service. Nothing that stop() took along is done twice.
 *
 * Asynchronous. ⇒ above: the answer comes by the callback, possibly before the call returns, within the time
 * limits below or as a failure. No call here blocks for longer than a system call on a healthy kernel takes:
 * what waits for another process or for hardware waits in the event loop or on a thread of its own. close()
 * is immediate in any state: what is still under way elsewhere is abandoned, and no callback comes any more.
 *
 * Failure. started or prepared with an error, or failed(): the instance is of no use any more; the broker
 * closes it (never from within the callback) and goes on with the next in the list. `why` is one sentence
 * without a period, about the datapath ("the back-end closed the connection").
 *
 * Thread-safety: all calls and callbacks on the main thread. */

#include <systemd/sd-event.h>

#include "fabric/fabric.h"
#include "settings/counters.h"
#include "settings/datapath_list.h"
#include "settings/rx_filter.h"
#include "vhost/vhost_user.h"

struct control_box;
struct worker_pool;

#define DATAPATH_PREPARE_US 3000000 /* µs, from prepare() to prepared() */
#define DATAPATH_START_US   2000000
#define DATAPATH_STOP_US    1000000 /* … or its stop_us */

struct datapath_ring {
	const struct vhost_queue *queue; /* valid while the ring is started; its `enabled` is current */
	uint16_t avail_idx, used_idx; /* as in struct vhost_queue; in: where to begin; out: where it stands */
};

struct datapath_events {
	void (*prepared)(void *ctx, int r, const char *why);
	void (*started)(void *ctx, int r, const char *why);
	void (*stopped)(void *ctx);
	/* Between prepared and stop(): it died by itself. May come while prepared only, too. */
	void (*failed)(void *ctx, const char *why);
	/* One ring is broken by what the guest wrote; the others go on. It is not served any more, and stays
	 * among those that stop() gives back. */
	void (*ring_error)(void *ctx, unsigned int queue, const char *why);
	/* Between start() and stopped() or failed(): the device's doorbell page for a ring, to be given to
	 * the front-end (vhost_user_set_host_notifier()), which need not take it; fd -1: what was given is
	 * taken back. `fd` is borrowed. A ring whose service ends in any other way than by fd -1 loses its
	 * page with it. May be NULL. */
	void (*doorbell)(void *ctx, unsigned int queue, int fd, uint64_t offset, uint64_t size);
};

struct datapath_open {
	sd_event *event;
	const struct datapath_pref *pref; /* copied */
	const char *pf;                   /* name of the virtual PF; outlives the instance */
	unsigned int fn;                  /* VPF_FUNCTION_* */
	const struct fabric_port *port; /* of the function: its settings and filters; outlives the instance */
	const struct fabric_attach
		*attach;             /* of the open port, which outlives the instance; NULL: it takes none */
	struct worker_pool *pool;    /* vpfd's own workers */
	struct control_box *control; /* of a PF: where its control frames go; NULL: of a VF */
	unsigned int queue_pairs;    /* 1…VHOST_USER_MAX_QUEUE_PAIRS, that the driver may use */
	uint8_t mac[6];              /* what the guest was told */
	uint16_t mtu;
	const struct datapath_events *events;
	void *ctx;
};

struct datapath { /* what all instances begin with; the rest is theirs */
	const struct datapath_ops *ops;
	const struct datapath_events *events;
	void *ctx;
};

struct datapath_ops {
	/* µs from stop() to stopped(), if DATAPATH_STOP_US is too short to wait for who would else go on
	 * writing to rings that were taken away; less than VHOST_USER_HOLD_US. 0: it is not. */
	uint64_t stop_us;
	bool can_log; /* what it writes to guest memory, for a migration */
	/* Which attachments to the function's fabric it takes by such a preference, of which it gets one:
	 * ATTACH_*; 0: it leads to a switch of its own. */
	uint32_t (*takes)(const struct datapath_pref *pref);
	/* Virtio features that it can serve by such a preference, at most; 0: it is not available here, for the
	 * reason in `err` (no such device node, …). Asked at configuration: looks, opens nothing for long. */
	uint64_t (*features)(const struct datapath_pref *pref, unsigned int queue_pairs, struct err *err);
	/* It leads to a switch of its own: which settings of the function take effect there, CAN_*. NULL: none. */
	uint32_t (*enforces)(const struct datapath_pref *pref);
	/* Allocates; nothing else. -ENOMEM, -EINVAL (`err` says what does not fit this host or fabric). */
	int (*open)(const struct datapath_open *args, struct datapath **ret, struct err *err);
	/* `features`: negotiated, without the protocol's own; -EOPNOTSUPP by prepared() if it lacks one.
	 * `mem`: may be NULL (nothing known yet: check what can be checked); the instance takes its own
	 * reference. May be called again, stopped, with others. */
	void (*prepare)(struct datapath *dp, uint64_t features, struct guest_mem *mem);
	/* rings[0…n): by index, borrowed until the callback that ends the service; their memory is `mem` of
	 * the last prepare. n ≥ 1. */
	void (*start)(struct datapath *dp, struct datapath_ring *rings, unsigned int n);
	void (*stop)(struct datapath *dp);
	void (*close)(struct datapath *dp); /* takes NULL */

	/* While started: */
	void (*ring_enable)(struct datapath *dp, unsigned int queue, bool enable);
	/* The old descriptor is closed after. */
	void (*ring_call)(struct datapath *dp, unsigned int queue, int callfd);
	/* The settings or the driver's filters changed (NULL: nothing to do here, the fabric does it all). */
	void (*set)(struct datapath *dp, const struct function_settings *s, const struct rx_filter *filter);
	/* NULL: it must be stopped and started for a change of its rings. Otherwise one more or one less
	 * while it serves the others: add() may fail and leaves all as it was; remove() gets what start() or
	 * add() got for the ring, and fills in the indices. */
	int (*ring_add)(struct datapath *dp, struct datapath_ring *ring);
	void (*ring_remove)(struct datapath *dp, struct datapath_ring *ring);
	/* Started: whether its start has told the switch that it leads to where the function is now. NULL:
	 * no, or it leads to the function's fabric, whose announce() does that. */
	bool (*announces)(const struct datapath *dp);
	/* A worker found some ring broken: looks whether it is one of these (ring_error). NULL: no workers here. */
	void (*check_rings)(struct datapath *dp);
	/* Started, of a type that carries_control (settings/types.h): gives the guest a control frame. As
	 * dataplane_control_send(). */
	int (*control_send)(struct datapath *dp, const uint8_t *frame, size_t len);
	/* Whether what features() and enforces() find out may be kept for a moment, in which the same is asked
	 * often; false: it is forgotten. NULL: nothing to keep. */
	void (*remember)(bool on);
	/* What the host has for such datapaths, as the API shows it: the caller's object. NULL: nothing to list. */
	int (*inventory)(json_t **ret, struct err *err);
};

/* The attachment that such a preference gets on a fabric of such settings; ATTACH_NONE: it takes none, or there is
 * none that fits. */
enum attach_kind datapath_attach_kind(const struct datapath_pref *pref, const struct fabric_settings *fabric);
/* Whether it can serve functions of the fabric at all. -EOPNOTSUPP, `err` about "datapaths". */
int datapath_fits(const struct datapath_pref *pref, const struct fabric_settings *fabric, struct err *err);
/* See datapath_ops.remember: for all types. */
void datapath_remember(bool on);
/* What the host has for a type of datapaths, by name; see datapath_ops.inventory. -EOPNOTSUPP: nothing to list. */
int datapath_inventory(const char *name, json_t **ret, struct err *err);
/* What is enforced for a function of the fabric that is served by such a preference: CAN_*. */
uint32_t datapath_can(const struct datapath_pref *pref, const struct fabric_settings *fabric);
#define DECLARE_DATAPATH_OPS(type) extern const struct datapath_ops datapath_##type;
ALL_DATAPATH_TYPES(DECLARE_DATAPATH_OPS)
#undef DECLARE_DATAPATH_OPS
const struct datapath_ops *datapath_ops_of(const struct datapath_type *type); /* NULL: none of the list */
