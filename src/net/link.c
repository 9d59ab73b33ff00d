/* SPDX-License-Identifier: Apache-2.0 */

#include "net/link.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>

static void copy_str(char *to, size_t size, const struct nlattr *attr)
{
	if (mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0) {
		const char *from = mnl_attr_get_str(attr);
		size_t len = strnlen(from, size - 1);

		memcpy(to, from, len);
		to[len] = 0;
	}
}

static void parse_bridge(const struct nlattr *data, struct link_info *i)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, data)
	{
		switch (mnl_attr_get_type(attr)) {
		case IFLA_BR_VLAN_FILTERING:
			if (mnl_attr_validate(attr, MNL_TYPE_U8) >= 0)
				i->vlan_filtering = mnl_attr_get_u8(attr);
			break;
		case IFLA_BR_VLAN_PROTOCOL: /* only if the kernel is built with VLAN filtering */
			if (mnl_attr_validate(attr, MNL_TYPE_U16) >= 0) {
				i->vlan_protocol = ntohs(mnl_attr_get_u16(attr));
				i->can_vlan = true;
			}
			break;
		case IFLA_BR_VLAN_DEFAULT_PVID:
			if (mnl_attr_validate(attr, MNL_TYPE_U16) >= 0)
				i->default_pvid = mnl_attr_get_u16(attr);
			break;
		default:
			break;
		}
	}
}

static void parse_linkinfo(const struct nlattr *linkinfo, struct link_info *i)
{
	const struct nlattr *attr, *data = NULL;

	mnl_attr_for_each_nested(attr, linkinfo)
	{
		if (mnl_attr_get_type(attr) == IFLA_INFO_KIND &&
		    mnl_attr_validate(attr, MNL_TYPE_STRING) >= 0)
			i->bridge = !strncmp(mnl_attr_get_payload(attr), "bridge",
					     MIN(mnl_attr_get_payload_len(attr), sizeof("bridge")));
		else if (mnl_attr_get_type(attr) == IFLA_INFO_DATA)
			data = attr;
	}
	if (i->bridge && data)
		parse_bridge(data, i);
}

static bool parse_link(const struct nlmsghdr *nlh, struct link_info *i)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr;

	if (nlh->nlmsg_type != RTM_NEWLINK || mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifi) ||
	    ifi->ifi_family != AF_UNSPEC)
		return false;
	*i = (struct link_info){
		.ifindex = ifi->ifi_index,
		.up = ifi->ifi_flags & IFF_UP,
		.carrier = (ifi->ifi_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING),
	};
	mnl_attr_for_each(attr, nlh, sizeof(*ifi))
	{
		switch (mnl_attr_get_type(attr)) {
		case IFLA_IFNAME:
			copy_str(i->name, sizeof(i->name), attr);
			break;
		case IFLA_IFALIAS:
			copy_str(i->alias, sizeof(i->alias), attr);
			break;
		case IFLA_ADDRESS:
			if (mnl_attr_get_payload_len(attr) == 6)
				memcpy(i->mac, mnl_attr_get_payload(attr), 6);
			break;
		case IFLA_MTU:
			if (mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
				i->mtu = mnl_attr_get_u32(attr);
			break;
		case IFLA_MASTER:
			if (mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
				i->master = (int)mnl_attr_get_u32(attr);
			break;
		case IFLA_LINKINFO:
			parse_linkinfo(attr, i);
			break;
		case IFLA_STATS64: {
			struct rtnl_link_stats64 s = {0};

			/* Each kernel makes it longer. */
			memcpy(&s, mnl_attr_get_payload(attr),
			       MIN((size_t)mnl_attr_get_payload_len(attr), sizeof(s)));
			i->rx_packets = s.rx_packets;
			i->rx_bytes = s.rx_bytes;
			i->tx_packets = s.tx_packets;
			i->tx_bytes = s.tx_bytes;
			i->rx_multicast = s.multicast;
			i->rx_dropped = s.rx_dropped;
			i->tx_dropped = s.tx_dropped;
			break;
		}
		default:
			break;
		}
	}
	return true;
}

static void on_link(void *arg, const struct nlmsghdr *nlh)
{
	(void)parse_link(nlh, arg);
}

int link_get(struct rtnl *nl, const char *name, int ifindex, struct link_info *ret)
{
	struct link_info i = {0};
	struct ifinfomsg *ifi;
	void *extra;
	struct nlmsghdr *nlh = rtnl_request(nl, RTM_GETLINK, 0, sizeof(*ifi), &extra);
	int r;

	ifi = extra;
	ifi->ifi_index = name ? 0 : ifindex;
	if (name)
		mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	r = rtnl_talk(nl, nlh, on_link, &i);
	if (!r && !i.ifindex)
		r = -ENODEV;
	if (!r)
		*ret = i;
	return r;
}

struct ports {
	int bridge;
	void (*port)(void *arg, const struct link_info *info);
	void *arg;
};

static void on_port(void *arg, const struct nlmsghdr *nlh)
{
	const struct ports *p = arg;
	struct link_info i;

	if (parse_link(nlh, &i) && i.master == p->bridge)
		p->port(p->arg, &i);
}

int link_ports(struct rtnl *nl, int bridge, void (*port)(void *arg, const struct link_info *info), void *arg)
{
	struct ports p = {bridge, port, arg};
	void *extra;
	struct nlmsghdr *nlh = rtnl_request(nl, RTM_GETLINK, NLM_F_DUMP, sizeof(struct ifinfomsg), &extra);

	mnl_attr_put_u32(nlh, IFLA_MASTER, (uint32_t)bridge);
	return rtnl_talk(nl, nlh, on_port, &p);
}

int link_add_bridge(struct rtnl *nl, const char *name, const uint8_t mac[6], bool vlan_filtering)
{
	void *extra;
	struct nlmsghdr *nlh =
		rtnl_request(nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg), &extra);
	struct nlattr *linkinfo, *data;

	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	mnl_attr_put(nlh, IFLA_ADDRESS, 6, mac);
	linkinfo = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_str(nlh, IFLA_INFO_KIND, "bridge");
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	if (vlan_filtering)
		mnl_attr_put_u8(nlh, IFLA_BR_VLAN_FILTERING, 1);
	mnl_attr_put_u8(nlh, IFLA_BR_MCAST_SNOOPING, 0);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, linkinfo);
	return rtnl_talk(nl, nlh, NULL, NULL);
}

int link_del(struct rtnl *nl, int ifindex)
{
	void *extra;
	struct nlmsghdr *nlh = rtnl_request(nl, RTM_DELLINK, 0, sizeof(struct ifinfomsg), &extra);

	((struct ifinfomsg *)extra)->ifi_index = ifindex;
	return rtnl_talk(nl, nlh, NULL, NULL);
}

static struct nlmsghdr *bridge_request(struct rtnl *nl, int bridge, struct nlattr **linkinfo,
				       struct nlattr **data)
{
	void *extra;
	struct nlmsghdr *nlh = rtnl_request(nl, RTM_NEWLINK, 0, sizeof(struct ifinfomsg), &extra);

	((struct ifinfomsg *)extra)->ifi_index = bridge;
	*linkinfo = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_str(nlh, IFLA_INFO_KIND, "bridge");
	*data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	return nlh;
}

static int bridge_talk(struct rtnl *nl, struct nlmsghdr *nlh, struct nlattr *linkinfo, struct nlattr *data)
{
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, linkinfo);
	return rtnl_talk(nl, nlh, NULL, NULL);
}

int link_set_ageing(struct rtnl *nl, int bridge, uint32_t ageing)
{
	struct nlattr *linkinfo, *data;
	struct nlmsghdr *nlh = bridge_request(nl, bridge, &linkinfo, &data);

	mnl_attr_put_u32(nlh, IFLA_BR_AGEING_TIME, ageing * 100); /* USER_HZ */
	return bridge_talk(nl, nlh, linkinfo, data);
}

int link_set_vlan_filtering(struct rtnl *nl, int bridge, bool on)
{
	struct nlattr *linkinfo, *data;
	struct nlmsghdr *nlh = bridge_request(nl, bridge, &linkinfo, &data);

	mnl_attr_put_u8(nlh, IFLA_BR_VLAN_FILTERING, on);
	return bridge_talk(nl, nlh, linkinfo, data);
}

int link_set(struct rtnl *nl, int ifindex, const struct link_change *c)
{
	struct ifinfomsg *ifi;
	void *extra;
	struct nlmsghdr *nlh = rtnl_request(nl, RTM_NEWLINK, 0, sizeof(*ifi), &extra);

	ifi = extra;
	ifi->ifi_index = ifindex;
	if (c->up) {
		ifi->ifi_change = IFF_UP;
		ifi->ifi_flags = c->up > 0 ? IFF_UP : 0;
	}
	if (c->mac)
		mnl_attr_put(nlh, IFLA_ADDRESS, 6, c->mac);
	if (c->mtu)
		mnl_attr_put_u32(nlh, IFLA_MTU, c->mtu);
	if (c->alias)
		mnl_attr_put_str(nlh, IFLA_IFALIAS, c->alias);
	if (c->set_master)
		mnl_attr_put_u32(nlh, IFLA_MASTER, (uint32_t)c->master);
	return rtnl_talk(nl, nlh, NULL, NULL);
}

int link_no_addresses(struct rtnl *nl, int ifindex)
{
	void *extra;
	struct nlmsghdr *nlh = rtnl_request(nl, RTM_NEWLINK, 0, sizeof(struct ifinfomsg), &extra);
	struct nlattr *families, *inet6;

	((struct ifinfomsg *)extra)->ifi_index = ifindex;
	families = mnl_attr_nest_start(nlh, IFLA_AF_SPEC);
	inet6 = mnl_attr_nest_start(nlh, AF_INET6);
	mnl_attr_put_u8(nlh, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(nlh, inet6);
	mnl_attr_nest_end(nlh, families);
	return rtnl_talk(nl, nlh, NULL, NULL);
}
