/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The builtin fabric: vpfd's own embedded switch, and how the settings of functions take effect in it.
 *
 * Theory of operation. Settings, what the drivers ask for (rx-filter) and the uplink's carrier are inputs;
 * the address table, each port's configuration and its link state follow from them. After any change
 * builtin_recompute() derives all three from scratch and publishes what differs: there is no other way to change
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
#include "fabric/provider.h"
#include "switch/switch.h"
#include "switch/uplink.h"

struct builtin_port { /* a function in its fabric */
	struct fabric_port base;
	struct sw_port *port;
};

struct builtin_fabric {
	struct fabric base;
	struct sw sw;
	struct uplink *uplink; /* NULL: none, or its netdev is gone */
	struct sw_port *uplink_port;
	unsigned int learned;
	bool rates_changed;         /* since the last builtin_recompute() */
	sd_event_source *age_timer; /* NULL: without an event loop nothing ages automatically */
};

static inline struct builtin_fabric *builtin_of(const struct fabric *f)
{
	return container_of(f, struct builtin_fabric, base);
}

static inline struct builtin_port *builtin_port_of(const struct fabric_port *p)
{
	return container_of(p, struct builtin_port, base);
}

static inline struct builtin_port *builtin_port(const struct builtin_fabric *f, unsigned int i)
{
	return builtin_port_of(f->base.ports[i]);
}

/* builtin.c: derives all that follows from settings, filters and carrier, and publishes it. */
void builtin_recompute(struct builtin_fabric *f);

/* builtin_addresses.c */
/* Looks for aged addresses periodically, from now on. `event` NULL: never. */
int builtin_start_ageing(struct builtin_fabric *f, sd_event *event);
/* Settings changed: when to look next. */
void builtin_arm_ageing(struct builtin_fabric *f);
/* A worker saw a new source MAC. */
void builtin_learn(struct builtin_fabric *f, struct builtin_port *p, uint64_t mac, uint16_t vlan,
		   uint32_t now);
/* Forgets what has not been seen for the time that the settings say. `now` in s, CLOCK_MONOTONIC. */
void builtin_age(struct builtin_fabric *f, uint32_t now);
bool builtin_note(struct fabric *f, const struct worker_note *note);
void builtin_fdb(const struct fabric *f, uint32_t now, void (*row)(void *arg, const struct fdb_row *row),
		 void *arg);

/* builtin_fdb.c */
/* Half of builtin_recompute(): a new address table for the fabric as it is; sets mac_conflict of its ports. */
int builtin_build_fdb(struct builtin_fabric *f, struct fdb **ret);
/* Whether `fdb` may have `mac` in `vlan` as a learned address of p. That it is free is fdb_add()'s to say. */
bool builtin_may_learn(const struct builtin_fabric *f, const struct fdb *fdb, const struct builtin_port *p,
		       uint64_t mac, uint16_t vlan);
/* The addresses that the port owns in `fdb`, as a configuration to publish, with that link; NULL without memory. */
struct port_conf *builtin_port_conf(const struct builtin_port *p, bool link_up, const struct fdb *fdb);
