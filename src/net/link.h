/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the bridge fabric says to the kernel about netdevs, bridges, their ports, VLANs and addresses
 * (rtnetlink), and what it asks. Each call is one request and its answer; negative errno of the kernel.
 *
 * Thread-safety: that of the socket. */

#include "net/rtnl.h"
#include "settings/settings.h"

struct link_info {
	int ifindex, master; /* 0: none */
	char name[IFNAMSIZ];
	char alias[80];
	uint8_t mac[6];
	uint32_t mtu;
	bool up, carrier, bridge;
	/* of a bridge: */
	bool can_vlan, vlan_filtering; /* can_vlan: this kernel's bridges know of VLANs */
	uint16_t vlan_protocol;        /* 0x8100, 0x88a8 */
	uint16_t default_pvid;         /* 0: none */
	/* seen by the netdev: rx is what came from outside */
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes, rx_multicast, rx_dropped, tx_dropped;
};

/* By name, or with name NULL by index. -ENODEV. */
int link_get(struct rtnl *nl, const char *name, int ifindex, struct link_info *ret);
/* Every port of a bridge. */
int link_ports(struct rtnl *nl, int bridge, void (*port)(void *arg, const struct link_info *info), void *arg);
/* One that says nothing by itself: no spanning tree, no multicast snooping, for which it would speak up. */
int link_add_bridge(struct rtnl *nl, const char *name, const uint8_t mac[6], bool vlan_filtering);
int link_del(struct rtnl *nl, int ifindex);
/* s: how long the bridge keeps a learned address. */
int link_set_ageing(struct rtnl *nl, int bridge, uint32_t ageing);
int link_set_vlan_filtering(struct rtnl *nl, int bridge, bool on);

struct link_change { /* what is 0 or NULL stays as it is */
	const uint8_t *mac;
	uint32_t mtu;
	const char *alias;
	bool set_master;
	int master; /* with set_master; 0: of none */
	int up;     /* 1: up, -1: down */
};
int link_set(struct rtnl *nl, int ifindex, const struct link_change *change);
/* No addresses of the host's IPv6 on this netdev. -EAFNOSUPPORT: it has none anyway. */
int link_no_addresses(struct rtnl *nl, int ifindex);

struct brport_flags {
	bool learning;      /* addresses of what it sends */
	bool locked;        /* what it sends from an address that the table does not have for it is dropped */
	bool unicast_flood; /* it gets what is for nobody known */
};
int brport_set(struct rtnl *nl, int ifindex, const struct brport_flags *flags);

/* VLANs of a port, as a bit set of 4096; those in `untagged` leave without tag, `pvid` (0: none) is for what
 * comes without. Adds to what is there. */
struct brport_vlans {
	uint64_t member[64], untagged[64];
	uint16_t pvid;
};
int brport_add_vlans(struct rtnl *nl, int ifindex, const struct brport_vlans *vlans);
int brport_del_all_vlans(struct rtnl *nl, int ifindex);
/* Only the message: for its test. */
void brport_put_vlans(struct nlmsghdr *nlh, const struct brport_vlans *vlans);

/* A static entry of the bridge's table. vlan 0: none is filtered by. -EEXIST: it is another port's, or the
 * bridge's own; one that is only learned gives way. */
int brport_fdb_add(struct rtnl *nl, int bridge, int ifindex, const uint8_t mac[6], uint16_t vlan);
int brport_fdb_del(struct rtnl *nl, int ifindex, const uint8_t mac[6], uint16_t vlan);

struct brport_fdb {
	int ifindex; /* of the port */
	uint8_t mac[6];
	uint16_t vlan;
	bool local; /* the netdev's own */
	bool learned;
	uint32_t age; /* s since last seen */
};
int brport_fdb_dump(struct rtnl *nl, int bridge, void (*row)(void *arg, const struct brport_fdb *row),
		    void *arg);

/* tc: a place for programs before and behind the netdev, and a program there, in the stead of what was.
 * ingress: what comes out of the netdev into the host. */
int tc_add_clsact(struct rtnl *nl, int ifindex);
int tc_set_program(struct rtnl *nl, int ifindex, bool ingress, int prog_fd, const char *name);
