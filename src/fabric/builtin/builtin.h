/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The builtin fabric: vpfd's own embedded switch, and how the settings of functions take effect in it.
 *
 * Theory of operation. Settings, what the drivers ask for (rx-filter) and the uplink's carrier are inputs;
 * the address table, each port's configuration and its link state follow from them. After any change
 * builtin_recompute() derives all three anew and publishes what differs: there is no second way to change
 * them, so none can be forgotten.
 *
 * Who owns an address: administrative before permanent before driver-programmed before learned; among equals,
 * the function that was added first. A function whose claim fails may not send from that address either
 * (spoof check), and is reported as in conflict if it is its main one. Learned addresses never displace
 * anything, are counted per function against max_learned, and are forgotten when not seen for `ageing`
 * seconds: so no function can push out another's, by number or by imitation.
 *
 * Thread-safety: main thread. */

#include <systemd/sd-event.h>

#include "fabric/claims.h"
#include "fabric/fabric.h"
#include "switch/switch.h"
#include "switch/uplink.h"

struct worker_note;

struct builtin_port { /* a function in its fabric */
	struct fabric_port base;
	struct sw_port *port;
	struct port_policy policy;
	struct rx_filter *filter; /* NULL: nothing heard yet */
};

struct builtin_fabric {
	struct fabric base;
	struct sw sw;
	struct uplink *uplink; /* NULL: none, or its netdev is gone */
	struct sw_port *uplink_port;
	struct builtin_port **ports;
	unsigned int n, room;
	unsigned int learned;
	bool rates_changed;         /* since the last builtin_recompute() */
	sd_event_source *age_timer; /* NULL: without an event loop nothing ages by itself */
};

static inline struct builtin_fabric *builtin_of(const struct builtin_port *p)
{
	return container_of(p->base.fabric, struct builtin_fabric, base);
}

int builtin_new(struct worker_pool *pool, const struct fabric_settings *s, const struct fabric_events *events,
		void *ctx, struct builtin_fabric **ret, struct err *err);
int builtin_set(struct builtin_fabric *f, const struct fabric_settings *s, struct err *err);
void builtin_free(struct builtin_fabric *f); /* no ports left; takes NULL */

/* counters: the PF's, open as long as the port is there; NULL: none that last. */
int builtin_port_add(struct builtin_fabric *f, const char *pf, unsigned int fn,
		     const struct function_settings *s, const struct pf_policy *policy,
		     struct counter_file *counters, struct builtin_port **ret);
/* policy NULL: as it is. */
void builtin_port_set(struct builtin_port *p, const struct function_settings *s,
		      const struct pf_policy *policy);
void builtin_port_filter(struct builtin_port *p, const struct rx_filter *filter);
void builtin_port_free(struct builtin_port *p); /* its queues are stopped; takes NULL */
struct builtin_port *builtin_port_by_id(struct builtin_fabric *f, uint64_t port_id);

/* The uplink's netdev changed (rtnetlink): name and index as reported, `gone` when it was deleted or left
 * this namespace. */
void builtin_netdev_changed(struct builtin_fabric *f, const char *name, int ifindex, bool carrier, bool gone);
/* Moves the port's addresses out of the switch, or back in: fabric_ops.port_elsewhere. */
void builtin_port_elsewhere(struct builtin_port *p, bool elsewhere);
/* The switch's port of a function; NULL: `p` is of another kind of fabric. */
struct sw_port *builtin_sw_port(const struct fabric_port *p);

/* A worker's note of an address; false: it is of another fabric. */
bool builtin_note(struct builtin_fabric *f, const struct worker_note *note);
/* Looks for addresses that have aged, now and then, from here on. */
int builtin_start_ageing(struct builtin_fabric *f, sd_event *event);
/* Settings changed: when to look next. */
void builtin_arm_ageing(struct builtin_fabric *f);
/* A worker saw a new source MAC. */
void builtin_learn(struct builtin_fabric *f, struct builtin_port *p, uint64_t mac, uint16_t vlan,
		   uint32_t now);
/* Forgets what has not been seen for so long. `now` in s, CLOCK_MONOTONIC. */
void builtin_age(struct builtin_fabric *f, uint32_t now);
void builtin_fdb(const struct builtin_fabric *f, uint32_t now,
		 void (*row)(void *arg, const struct fdb_row *row), void *arg);
void builtin_recompute(struct builtin_fabric *f);
/* Half of builtin_recompute(): a new address table for the fabric as it is; sets mac_conflict of
 * its ports. */
int builtin_build_fdb(struct builtin_fabric *f, struct fdb **ret);
/* Whether `fdb` may have `mac` in `vlan` as a learned address of p. That it is free is fdb_add()'s to say. */
bool builtin_may_learn(const struct builtin_fabric *f, const struct fdb *fdb, const struct builtin_port *p,
		       uint64_t mac, uint16_t vlan);
/* The addresses that the port owns in `fdb`, as a configuration to publish; NULL without memory. */
struct port_conf *builtin_port_conf(const struct builtin_port *p, const struct fdb *fdb);
