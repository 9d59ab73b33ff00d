/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* rtnetlink requests of the bridge fabric about netdevs, bridges and their ports, VLANs and addresses. Each
 * call is one request and its answer, and returns the kernel's negative errno.
 *
 * Thread-safety: as for the socket. */

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
	bool can_vlan, vlan_filtering; /* can_vlan: this kernel's bridges support VLANs */
	uint16_t vlan_protocol;        /* 0x8100, 0x88a8 */
	uint16_t default_pvid;         /* 0: none */
	/* from the netdev's view: rx is what came from outside */
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes, rx_multicast, rx_dropped, tx_dropped;
};

/* By name, or with name NULL by index. -ENODEV. */
int link_get(struct rtnl *nl, const char *name, int ifindex, struct link_info *ret);
/* Calls back for every port of a bridge. */
int link_ports(struct rtnl *nl, int bridge, void (*port)(void *arg, const struct link_info *info), void *arg);
/* A bridge that sends nothing of its own: no spanning tree, no multicast snooping, which would send
 * queries. */
int link_add_bridge(struct rtnl *nl, const char *name, const uint8_t mac[6], bool vlan_filtering);
int link_del(struct rtnl *nl, int ifindex);
/* s: how long the bridge keeps a learned address. */
int link_set_ageing(struct rtnl *nl, int bridge, uint32_t ageing);
int link_set_vlan_filtering(struct rtnl *nl, int bridge, bool on);

struct link_change { /* members that are 0 or NULL stay as they are */
	const uint8_t *mac;
	uint32_t mtu;
	const char *alias;
	bool set_master;
	int master; /* with set_master; 0: no master */
	int up;     /* 1: up, -1: down */
};
int link_set(struct rtnl *nl, int ifindex, const struct link_change *change);
/* Keeps the host's IPv6 from giving this netdev addresses. -EAFNOSUPPORT: the host has no IPv6. */
int link_no_addresses(struct rtnl *nl, int ifindex);

struct brport_flags {
	bool learning; /* source addresses of what it sends */
	bool locked; /* frames that it sends from an address that the table does not have for it are dropped */
	bool unicast_flood; /* it gets frames for unknown addresses */
};
int brport_set(struct rtnl *nl, int ifindex, const struct brport_flags *flags);

/* VLANs of a port, as a bit set of 4096; frames in `untagged` leave without a tag, frames that come without
 * one are in `pvid` (0: none). Adds to the VLANs that the port has. */
struct brport_vlans {
	uint64_t member[64], untagged[64];
	uint16_t pvid;
};
int brport_add_vlans(struct rtnl *nl, int ifindex, const struct brport_vlans *vlans);
int brport_del_all_vlans(struct rtnl *nl, int ifindex);
/* Builds the message only: for its test. */
void brport_put_vlans(struct nlmsghdr *nlh, const struct brport_vlans *vlans);

/* A static entry of the bridge's table. vlan 0: the bridge does not filter by VLAN. -EEXIST: the address is
 * another port's static one, or the bridge's own; a learned one gives way. */
int brport_fdb_add(struct rtnl *nl, int bridge, int ifindex, const uint8_t mac[6], uint16_t vlan);
int brport_fdb_del(struct rtnl *nl, int ifindex, const uint8_t mac[6], uint16_t vlan);

struct brport_fdb {
	int ifindex; /* of the port */
	uint8_t mac[6];
	uint16_t vlan;
	bool local; /* the netdev's own */
	bool learned;
	uint32_t age; /* s since it was last seen */
};
int brport_fdb_dump(struct rtnl *nl, int bridge, void (*row)(void *arg, const struct brport_fdb *row),
		    void *arg);

/* tc: a place for programs at the netdev's ingress and egress, and a program there, which replaces the one
 * before. ingress: frames that come from the netdev into the host. */
int tc_add_clsact(struct rtnl *nl, int ifindex);
int tc_set_program(struct rtnl *nl, int ifindex, bool ingress, int prog_fd, const char *name);
