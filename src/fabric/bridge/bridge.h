/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A Linux bridge as fabric: an open port is a tap that the bridge has for a port.
 *
 * Theory of operation. As in the builtin fabric, settings and what the drivers ask for are inputs, and
 * everything in the kernel follows from them: bridge_recompute() decides who owns an address and who has link,
 * and brings each open port to what that means (bridge_port_apply()), by requests for what differs from what
 * it was last brought to. What the bridge cannot do is done by programs at the tap (port_prog.h).
 *
 *	VLAN            membership, PVID, untagged set of the bridge's port; VLAN 0 is the bridge's default_pvid
 *	priority        program: it tags before the bridge would
 *	802.1ad         a bridge has one VLAN protocol: one that is 802.1ad has these VLANs, and no others
 *	addresses       static entries of the bridge's table, learning off, unknown unicast not flooded to the port
 *	spoof check     port locked: only addresses of the table; program: the same, counted, and before any other
 *	rates, MTU      programs
 *	link            carrier of the tap
 *
 * A trunk of many VLANs has no static entries, which would be one for each of them, but learns: what it sends
 * comes from its own addresses only, with spoof check.
 *
 * What functions without spoof check send from is learned by the bridge, if the fabric learns: at most
 * max_learned addresses of each in the time that the table keeps them (ageing), others are dropped. Of
 * a bridge that vpfd did not make the ageing is left alone.
 *
 * What the kernel refuses of a change is the change's answer, and is undone. What it refuses at other times sets the
 * port's tap down: the function has no link, trouble is reported, and it is tried again every second. A deleted tap
 * is created again for the same descriptors. A deleted bridge is created again if it was vpfd's; otherwise its ports
 * have no link until it is back.
 *
 * Whose is a bridge: vpfd's own has an alias that names the fabric, and so is known again after a restart. It
 * is left alone while others have ports in it.
 *
 * Thread-safety: main thread. */

#include <systemd/sd-event.h>

#include "fabric/bridge/params.h"
#include "fabric/bridge/port_prog.h"
#include "fabric/claims.h"
#include "fabric/provider.h"
#include "net/link.h"
#include "net/tap.h"

#define BRIDGE_WHY    128
#define BRIDGE_STATIC 1024 /* entries of a port; a trunk that would need more learns */

struct bridge_group { /* what the functions of a PF share */
	int total_fd; /* port_prog_maps.total; -1: none yet */
};

struct bridge_entry { /* of the bridge's table */
	uint64_t mac;
	uint16_t vlan;
};

struct bridge_applied { /* what an open port was last brought to */
	bool enslaved;
	struct port_prog_conf prog;
	struct brport_flags flags;
	struct brport_vlans vlans;
	bool prog_set, flags_set, vlans_set, up;
	uint32_t mtu;
	struct bridge_entry *entries;
	unsigned int n_entries;
};

struct bridge_port {
	struct fabric_port base;
	unsigned int n_owned;
	struct claim owned[MAX_CLAIMS]; /* that nobody comes before it for */
	bool conflict;                  /* its main one is another function's */
	bool reserved;                  /* its main one is in the bridge's table, and not vpfd's */
	/* open: */
	struct tap *tap; /* NULL: not open */
	struct port_prog_maps maps;
	struct bridge_applied applied;
	bool check;            /* look whether it is still the bridge's */
	char told[BRIDGE_WHY]; /* its trouble, empty: none */
	bool stuck;            /* the kernel refuses what it is to be: the tap is down */
	bool lost;             /* told */
	bool waits;            /* its tap could not be made again: until bridge_on_retry() */
	/* while a change is being carried out: what the kernel refuses is its answer, and no trouble yet */
	bool refusable;
	struct err *refused; /* the reason goes here; may be NULL */
	int refusal;
	/* counters */
	struct port_stats own; /* without a file */
	struct port_stats *stats;
	const struct port_stats *before; /* NULL: 0 */
	struct port_stats taken;         /* of the tap's, that are in `stats` */
};

struct bridge_fabric {
	struct fabric base;
	struct rtnl *nl;
	int ifindex;    /* 0: there is none now */
	bool made;      /* by vpfd */
	bool filtering; /* vpfd switched it on */
	bool enslaved;  /* vpfd made the uplink a port of it */
	int uplink;     /* ifindex, 0: none, or gone */
	struct link_info info;
	unsigned int others;    /* ports that are not vpfd's */
	bool carrier;           /* of one of them */
	sd_event_source *look;  /* defer: something of the kernel's changed */
	sd_event_source *retry; /* timer, while there is trouble */
	sd_event_source *age;   /* timer, while a port learns */
	char told[BRIDGE_WHY];  /* the fabric's own trouble, empty: none */
	bool waits;             /* it could not be found or made again: until bridge_on_retry() */
};

static inline struct bridge_fabric *bridge_of(const struct fabric *f)
{
	return container_of(f, struct bridge_fabric, base);
}

static inline struct bridge_port *bridge_port_of(const struct fabric_port *p)
{
	return container_of(p, struct bridge_port, base);
}

static inline struct bridge_port *bridge_port(const struct bridge_fabric *f, unsigned int i)
{
	return bridge_port_of(f->base.ports[i]);
}

static inline struct bridge_group *bridge_group_of(const struct bridge_port *p)
{
	return p->base.group->data;
}

static inline struct bridge_fabric *bridge_of_port(const struct bridge_port *p)
{
	return bridge_of(p->base.fabric);
}

/* Who owns what, from all ports' claims: `owned`, `conflict`. */
int bridge_claim(struct bridge_fabric *f);
/* The VLANs that a port is in, on this bridge. False: the bridge knows of none. */
bool bridge_vlans(const struct bridge_fabric *f, const struct function_settings *s, struct brport_vlans *ret);
/* Derives everything anew, and brings the kernel to it. */
void bridge_recompute(struct bridge_fabric *f);
/* Whether its main address is another's: says so when that begins. */
void bridge_update_conflict(struct bridge_port *p);
void bridge_arm_age(struct bridge_fabric *f);
/* Trouble, once until it is over or another one; p NULL: the fabric's own. */
void bridge_report(struct bridge_fabric *f, struct bridge_port *p, const char *why);
/* Tries all that failed again, in a second. */
void bridge_retry(struct bridge_fabric *f);
int bridge_on_look(sd_event_source *source, void *userdata);
int bridge_on_retry(sd_event_source *source, uint64_t usec, void *userdata);
int bridge_on_age(sd_event_source *source, uint64_t usec, void *userdata);

/* Finds the bridge, or makes it, and its uplink a port of it. */
int bridge_find(struct bridge_fabric *f, struct err *err);
/* Leaves it as it was found. */
void bridge_leave(struct bridge_fabric *f);
/* Makes the netdev a port of the bridge, with all VLANs. Fails: no uplink. */
int bridge_enslave_uplink(struct bridge_fabric *f, const struct fabric_settings *s, struct err *err);
/* Who else is in the bridge, and their carrier. */
void bridge_scan(struct bridge_fabric *f);
/* Whether it is a tap of one of its ports. */
bool bridge_has(const struct bridge_fabric *f, int ifindex);
/* Something in the kernel changed: looks at it when the event loop is idle. */
void bridge_look(struct bridge_fabric *f);

/* Makes the tap and all that is its. */
int bridge_port_make(struct bridge_port *p, unsigned int queues, struct err *err);
/* Brings an open port to what its settings mean, or fails on the way: it is up to the caller to set it down. */
int bridge_port_apply(struct bridge_port *p, struct err *err);
/* Nothing passes. */
void bridge_port_down(struct bridge_port *p);
/* Before that, for all ports: gives up the addresses that are not its own any more. */
void bridge_port_release(struct bridge_port *p);
/* Takes the tap away. */
void bridge_port_unmake(struct bridge_port *p);
/* Its tap was deleted: forgets what was done to it. */
void bridge_port_lose(struct bridge_port *p);
/* After that: another tap, behind the same descriptors, to be brought to its settings. */
int bridge_port_remake(struct bridge_port *p, struct err *err);
/* Adds what the tap counted to `stats`. */
void bridge_port_collect(struct bridge_port *p);

#define BRIDGE_HOST_TAP     0x1u /* taps can be made, and be ports of a bridge */
#define BRIDGE_HOST_VLAN    0x2u /* bridges filter by VLAN */
#define BRIDGE_HOST_LOCKED  0x4u /* ports can be locked */
#define BRIDGE_HOST_PROGRAM 0x8u /* programs at taps */
/* What this kernel has, by trial, in a network namespace of its own if that can be had; the first time only.
 */
unsigned int bridge_host(void);
