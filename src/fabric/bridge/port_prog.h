/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A function's settings as two small programs (eBPF) at its tap in the kernel: one for what the function sends, one
 * for what it receives. They do what a bridge has no settings for: source addresses, the tags that a guest may use,
 * priority, MTU, rates, and counting. Which VLANs a port is in is the bridge's part.
 *
 * Theory of operation. A program is generated from the settings, which are constants in it, and replaces the previous
 * one in a single request: a frame meets either the old settings or the new ones. State that outlives a program is in
 * maps: counters (per CPU), and how much of the rates has been used up.
 *
 * Rates. A bucket is one number: the time up to which what was sent is paid for. A frame is let through if
 * that is not further ahead of now than the burst, and moves it on by what its length costs, in one
 * compare-and-exchange; so the queues of a tap may be on different CPUs. An excess frame is dropped: a program cannot
 * delay it. Where the PF has a total rate, a frame within the function's minimum passes at once and is charged to the
 * total, into debt if need be; others need room in the total.
 *
 * A port that learns, without spoof check, could fill the bridge's table, which all ports share: so the addresses
 * that it sends from are kept in a set, and frames from further addresses are dropped.
 *
 * Needs nothing but clsact and cls_bpf, and the helpers of Linux 5.12. No compiler, no BTF.
 *
 * Thread-safety: none needed. */

#include "fabric/bridge/bpf.h"
#include "settings/counters.h"
#include "settings/settings.h"

struct port_prog_conf { /* compared as bytes: zeroed before it is filled */
	struct vlan_settings vlan;
	bool vlan_aware; /* the bridge filters by VLAN; else the function gets no tagged frames */
	bool spoofchk, trusted;
	uint16_t mtu;
	uint32_t max_rate, min_rate, total_rate; /* Mb/s, 0: none */
	unsigned int n_macs;                     /* that it may send from, with spoofchk */
	uint64_t macs[VPF_MAX_DRIVER_MACS + 2];  /* as mac_load() */
	/* Without spoof check: the number of other addresses that it may send from until the set is emptied; 0: not
	 * counted.
	 */
	uint32_t max_learned;
};

struct port_prog_maps {
	int stats;   /* per CPU, struct port_stats; rx_packets and rx_bytes are not counted here */
	int buckets; /* struct port_prog_buckets; to be zeroed when a rate changes, as must be the total */
	int total;   /* one number: the PF's bucket, shared; -1: none */
	int learned; /* the set of other addresses; with max_learned */
};
struct port_prog_buckets {
	uint64_t max, min;
};

/* Up to this many ranges of VLANs in a trunk are checked, and counted, here; any number by the bridge. */
#define PORT_PROG_RANGES 64

/* The program for what the function sends (ingress, as seen by the tap), or is sent. -ENOMEM. */
int port_prog_generate(const struct port_prog_conf *c, const struct port_prog_maps *maps, bool ingress,
		       struct bpf_insn **ret, unsigned int *ret_n);
/* The same, loaded: a descriptor. */
int port_prog_load(const struct port_prog_conf *c, const struct port_prog_maps *maps, bool ingress, char *why,
		   size_t why_size);
