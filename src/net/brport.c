/* SPDX-License-Identifier: Apache-2.0 */

/* Ports of bridges: their flags, VLANs, addresses. */

#include "net/link.h"

#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <unistd.h>

int brport_set(struct rtnl *nl, int ifindex, const struct brport_flags *flags)
{
	struct ifinfomsg *ifi;
	void *extra;
	struct nlmsghdr *nlh = rtnl_request(nl, RTM_SETLINK, 0, sizeof(*ifi), &extra);
	struct nlattr *port;

	ifi = extra;
	ifi->ifi_family = AF_BRIDGE;
	ifi->ifi_index = ifindex;
	port = mnl_attr_nest_start(nlh, IFLA_PROTINFO);
	mnl_attr_put_u8(nlh, IFLA_BRPORT_LEARNING, flags->learning);
	mnl_attr_put_u8(nlh, IFLA_BRPORT_UNICAST_FLOOD, flags->unicast_flood);
	mnl_attr_put_u8(nlh, IFLA_BRPORT_GUARD, 1); /* no guest takes part in the spanning tree */
	mnl_attr_put_u8(nlh, IFLA_BRPORT_LOCKED, flags->locked);
	if (!flags->learning) /* nothing from before either */
		mnl_attr_put(nlh, IFLA_BRPORT_FLUSH, 0, NULL);
	mnl_attr_nest_end(nlh, port);
	return rtnl_talk(nl, nlh, NULL, NULL);
}

static bool has(const uint64_t set[64], unsigned int vid)
{
	return set[vid / 64] >> (vid % 64) & 1;
}

static void put_vlan(struct nlmsghdr *nlh, unsigned int vid, uint16_t flags)
{
	struct bridge_vlan_info v = {.flags = flags, .vid = (uint16_t)vid};

	mnl_attr_put(nlh, IFLA_BRIDGE_VLAN_INFO, sizeof(v), &v);
}

static bool alike(const struct brport_vlans *v, unsigned int a, unsigned int b)
{
	return has(v->member, b) && has(v->untagged, a) == has(v->untagged, b) && a != v->pvid &&
	       b != v->pvid;
}

void brport_put_vlans(struct nlmsghdr *nlh, const struct brport_vlans *v)
{
	struct nlattr *spec = mnl_attr_nest_start(nlh, IFLA_AF_SPEC);

	for (unsigned int vid = 1; vid < 4095; vid++) {
		uint16_t flags = 0;
		unsigned int last = vid;

		if (!has(v->member, vid))
			continue;
		if (has(v->untagged, vid))
			flags |= BRIDGE_VLAN_INFO_UNTAGGED;
		if (vid == v->pvid)
			flags |= BRIDGE_VLAN_INFO_PVID;
		while (last + 1 < 4095 && alike(v, vid, last + 1))
			last++;
		if (last == vid) {
			put_vlan(nlh, vid, flags);
			continue;
		}
		put_vlan(nlh, vid, flags | BRIDGE_VLAN_INFO_RANGE_BEGIN);
		put_vlan(nlh, last, flags | BRIDGE_VLAN_INFO_RANGE_END);
		vid = last;
	}
	mnl_attr_nest_end(nlh, spec);
}

static struct nlmsghdr *vlan_request(struct rtnl *nl, uint16_t type, int ifindex)
{
	struct ifinfomsg *ifi;
	void *extra;
	struct nlmsghdr *nlh = rtnl_request(nl, type, 0, sizeof(*ifi), &extra);

	ifi = extra;
	ifi->ifi_family = AF_BRIDGE;
	ifi->ifi_index = ifindex;
	return nlh;
}

int brport_add_vlans(struct rtnl *nl, int ifindex, const struct brport_vlans *vlans)
{
	struct nlmsghdr *nlh = vlan_request(nl, RTM_SETLINK, ifindex);

	brport_put_vlans(nlh, vlans);
	return rtnl_talk(nl, nlh, NULL, NULL);
}

int brport_del_all_vlans(struct rtnl *nl, int ifindex)
{
	struct nlmsghdr *nlh = vlan_request(nl, RTM_DELLINK, ifindex);
	struct nlattr *spec = mnl_attr_nest_start(nlh, IFLA_AF_SPEC);

	put_vlan(nlh, 1, BRIDGE_VLAN_INFO_RANGE_BEGIN);
	put_vlan(nlh, 4094, BRIDGE_VLAN_INFO_RANGE_END);
	mnl_attr_nest_end(nlh, spec);
	return rtnl_talk(nl, nlh, NULL, NULL);
}

static int fdb_change(struct rtnl *nl, uint16_t type, uint16_t flags, int ifindex, const uint8_t mac[6],
		      uint16_t vlan)
{
	struct ndmsg *ndm;
	void *extra;
	struct nlmsghdr *nlh = rtnl_request(nl, type, flags, sizeof(*ndm), &extra);

	ndm = extra;
	ndm->ndm_family = PF_BRIDGE;
	ndm->ndm_ifindex = ifindex;
	ndm->ndm_state = NUD_NOARP; /* static; NUD_PERMANENT would make it the bridge's own */
	ndm->ndm_flags = NTF_MASTER;
	mnl_attr_put(nlh, NDA_LLADDR, 6, mac);
	if (vlan)
		mnl_attr_put_u16(nlh, NDA_VLAN, vlan);
	return rtnl_talk(nl, nlh, NULL, NULL);
}

struct rows {
	int bridge;
	long hz;
	void (*row)(void *arg, const struct brport_fdb *row);
	void *arg;
};

static void on_neigh(void *arg, const struct nlmsghdr *nlh)
{
	const struct ndmsg *ndm = mnl_nlmsg_get_payload(nlh);
	const struct rows *rows = arg;
	const struct nlattr *attr;
	struct brport_fdb f = {0};
	int master = 0;
	bool mac = false;

	if (nlh->nlmsg_type != RTM_NEWNEIGH || mnl_nlmsg_get_payload_len(nlh) < sizeof(*ndm) ||
	    ndm->ndm_family != PF_BRIDGE)
		return;
	mnl_attr_for_each(attr, nlh, sizeof(*ndm))
	{
		switch (mnl_attr_get_type(attr)) {
		case NDA_LLADDR:
			mac = mnl_attr_get_payload_len(attr) == 6;
			if (mac)
				memcpy(f.mac, mnl_attr_get_payload(attr), 6);
			break;
		case NDA_VLAN:
			if (mnl_attr_validate(attr, MNL_TYPE_U16) >= 0)
				f.vlan = mnl_attr_get_u16(attr);
			break;
		case NDA_MASTER:
			if (mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
				master = (int)mnl_attr_get_u32(attr);
			break;
		case NDA_CACHEINFO: {
			struct nda_cacheinfo ci;

			if (mnl_attr_get_payload_len(attr) < sizeof(ci))
				break;
			memcpy(&ci, mnl_attr_get_payload(attr), sizeof(ci));
			f.age = (uint32_t)(ci.ndm_updated / (unsigned long)rows->hz);
			break;
		}
		default:
			break;
		}
	}
	/* Those without a master are a netdev's own filter. */
	if (!mac || master != rows->bridge)
		return;
	f.ifindex = ndm->ndm_ifindex;
	f.local = ndm->ndm_state & NUD_PERMANENT;
	f.learned = !(ndm->ndm_state & (NUD_PERMANENT | NUD_NOARP));
	rows->row(rows->arg, &f);
}

static void keep_row(void *arg, const struct brport_fdb *row)
{
	*(struct brport_fdb *)arg = *row;
}

static long ticks_per_second(void)
{
	long hz = sysconf(_SC_CLK_TCK);

	return hz > 0 ? hz : 100;
}

/* -ENOENT. */
static int fdb_find(struct rtnl *nl, int bridge, const uint8_t mac[6], uint16_t vlan, struct brport_fdb *ret)
{
	struct rows rows = {bridge, ticks_per_second(), keep_row, ret};
	struct ndmsg *ndm;
	void *extra;
	struct nlmsghdr *nlh = rtnl_request(nl, RTM_GETNEIGH, 0, sizeof(*ndm), &extra);
	int r;

	*ret = (struct brport_fdb){0};
	ndm = extra;
	ndm->ndm_family = PF_BRIDGE;
	mnl_attr_put_u32(nlh, NDA_MASTER, (uint32_t)bridge);
	mnl_attr_put(nlh, NDA_LLADDR, 6, mac);
	if (vlan)
		mnl_attr_put_u16(nlh, NDA_VLAN, vlan);
	r = rtnl_talk(nl, nlh, on_neigh, &rows);
	return !r && !ret->ifindex ? -ENOENT : r;
}

int brport_fdb_add(struct rtnl *nl, int bridge, int ifindex, const uint8_t mac[6], uint16_t vlan)
{
	struct brport_fdb have;
	int r = fdb_change(nl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL, ifindex, mac, vlan);

	if (r != -EEXIST)
		return r;
	/* An entry that another port learned, from a frame with a foreign address, gives way. A static one,
	 * or the bridge's own address, does not: with it a guest could take the host's traffic. */
	r = fdb_find(nl, bridge, mac, vlan, &have);
	if (r == -ENOENT)
		return fdb_change(nl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL, ifindex, mac, vlan);
	if (r < 0)
		return r;
	if (!have.learned)
		return have.ifindex == ifindex && !have.local ? 0 : -EEXIST;
	return fdb_change(nl, RTM_NEWNEIGH, NLM_F_REPLACE, ifindex, mac, vlan);
}

int brport_fdb_del(struct rtnl *nl, int ifindex, const uint8_t mac[6], uint16_t vlan)
{
	return fdb_change(nl, RTM_DELNEIGH, 0, ifindex, mac, vlan);
}

int brport_fdb_dump(struct rtnl *nl, int bridge, void (*row)(void *arg, const struct brport_fdb *row),
		    void *arg)
{
	struct rows rows = {bridge, ticks_per_second(), row, arg};
	struct ndmsg *ndm;
	void *extra;
	struct nlmsghdr *nlh = rtnl_request(nl, RTM_GETNEIGH, NLM_F_DUMP, sizeof(*ndm), &extra);

	ndm = extra;
	ndm->ndm_family = PF_BRIDGE;
	mnl_attr_put_u32(nlh, NDA_MASTER, (uint32_t)bridge);
	return rtnl_talk(nl, nlh, on_neigh, &rows);
}
