/* SPDX-License-Identifier: Apache-2.0 */

/* The bridge itself: found or made, and left as it was found; its uplink, and its other ports. */

#include "fabric/bridge/bridge.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static void make_alias(const struct bridge_fabric *f, char alias[80])
{
	snprintf(alias, 80, "vpf fabric %s", f->base.settings.name);
}

struct scan {
	struct bridge_fabric *f;
	unsigned int others;
	bool carrier;
};

bool bridge_has(const struct bridge_fabric *f, int ifindex)
{
	for (unsigned int i = 0; i < f->base.n_ports; i++)
		if (bridge_port(f, i)->tap && bridge_port(f, i)->tap->ifindex == ifindex)
			return true;
	return false;
}

static void scan_port(void *arg, const struct link_info *i)
{
	struct scan *s = arg;

	/* A tap that an earlier vpfd left is on its way out. */
	if (bridge_has(s->f, i->ifindex) || !strncmp(i->alias, "vpf ", 4))
		return;
	s->others++;
	s->carrier |= i->carrier;
}

void bridge_scan(struct bridge_fabric *f)
{
	struct scan s = {.f = f};
	bool was = f->carrier;

	if (f->ifindex && link_ports(f->nl, f->ifindex, scan_port, &s) < 0) {
		bridge_retry(f);
		return;
	}
	f->others = s.others;
	f->carrier = s.carrier;
	if (s.carrier != was)
		fabric_tell_uplink(&f->base, s.carrier);
}

/* Makes the uplink's netdev a port of the bridge, with all VLANs. */
int bridge_enslave_uplink(struct bridge_fabric *f, const struct fabric_settings *s, struct err *err)
{
	struct brport_vlans v;
	struct link_info i;
	int r;

	f->uplink = 0;
	f->enslaved = false;
	if (s->uplink == UPLINK_NONE)
		return 0;
	r = link_get(f->nl, s->uplink_name, 0, &i);
	if (r < 0)
		return rtnl_err(f->nl, r, err, "find the uplink %s", s->uplink_name);
	if (i.master && i.master != f->ifindex)
		return err_set(err, EBUSY, "uplink.name", "%s is a port of something else", s->uplink_name);
	if (i.ifindex == f->ifindex)
		return err_set(err, EINVAL, "uplink.name", "%s is the bridge itself", s->uplink_name);
	if (!i.master) {
		r = link_set(f->nl, i.ifindex,
			     &(struct link_change){.set_master = true, .master = f->ifindex, .up = 1});
		if (r < 0)
			return rtnl_err(f->nl, r, err, "make %s a port of %s", s->uplink_name,
					bridge_name(s));
		f->enslaved = true;
		if (f->info.vlan_filtering) {
			memset(&v, 0, sizeof(v));
			memset(v.member, 0xff, sizeof(v.member));
			v.pvid = f->info.default_pvid;
			if (v.pvid)
				v.untagged[v.pvid / 64] = 1ULL << (v.pvid % 64);
			r = brport_add_vlans(f->nl, i.ifindex, &v);
		}
		if (r < 0) {
			(void)link_set(f->nl, i.ifindex, &(struct link_change){.set_master = true});
			f->enslaved = false;
			return rtnl_err(f->nl, r, err, "let all VLANs pass at %s", s->uplink_name);
		}
	}
	f->uplink = i.ifindex;
	return 0;
}

static void release_uplink(struct bridge_fabric *f)
{
	if (f->enslaved && f->uplink)
		(void)link_set(f->nl, f->uplink, &(struct link_change){.set_master = true});
	f->uplink = 0;
	f->enslaved = false;
}

/* Its own bridge, new. */
static int make_bridge(struct bridge_fabric *f, struct err *err)
{
	const char *name = bridge_name(&f->base.settings);
	uint8_t mac[6];
	char alias[80];
	int r;

	if (getrandom(mac, sizeof(mac), 0) != sizeof(mac))
		return err_set(err, EIO, NULL, "no random numbers for the bridge's address");
	mac[0] = (uint8_t)((mac[0] & 0xfc) | 2);
	r = link_add_bridge(f->nl, name, mac, bridge_host() & BRIDGE_HOST_VLAN);
	if (r < 0)
		return rtnl_err(f->nl, r, err, "make the bridge %s", name);
	r = link_get(f->nl, name, 0, &f->info);
	if (r < 0)
		return rtnl_err(f->nl, r, err, "find the bridge %s", name);
	f->ifindex = f->info.ifindex;
	f->made = true;
	make_alias(f, alias);
	/* The host is not reachable through it, unless the administrator gives it an address. */
	(void)link_no_addresses(f->nl, f->ifindex);
	r = link_set(f->nl, f->ifindex, &(struct link_change){.alias = alias, .up = 1});
	if (!r)
		r = link_set_ageing(f->nl, f->ifindex, f->base.settings.ageing);
	if (r < 0)
		return rtnl_err(f->nl, r, err, "set up the bridge %s", name);
	return 0;
}

/* One that is there. */
static int take_bridge(struct bridge_fabric *f, const struct link_info *i, struct err *err)
{
	const char *name = bridge_name(&f->base.settings);
	char alias[80];
	int r;

	if (!i->bridge)
		return err_set(err, EINVAL, "bridge", "%s is a network interface, but no bridge", name);
	make_alias(f, alias);
	f->made = !strcmp(i->alias, alias);
	f->info = *i;
	f->ifindex = i->ifindex;
	bridge_scan(f);
	if (!i->can_vlan || i->vlan_filtering)
		return 0;
	if (f->others)
		return err_set(
			err, EBUSY, "bridge",
			"%s has VLAN filtering off, and ports of others that it would change: switch it on (ip link set %s type bridge vlan_filtering 1)",
			name, name);
	r = link_set_vlan_filtering(f->nl, i->ifindex, true);
	if (r < 0)
		return rtnl_err(f->nl, r, err, "switch on VLAN filtering of %s", name);
	f->filtering = !f->made;
	f->info.vlan_filtering = true;
	return 0;
}

int bridge_find(struct bridge_fabric *f, struct err *err)
{
	struct link_info i;
	int r = link_get(f->nl, bridge_name(&f->base.settings), 0, &i);

	f->made = f->filtering = false;
	if (r == -ENODEV)
		r = make_bridge(f, err);
	else if (r < 0)
		return rtnl_err(f->nl, r, err, "find the bridge %s", bridge_name(&f->base.settings));
	else
		r = take_bridge(f, &i, err);
	if (!r)
		r = bridge_enslave_uplink(f, &f->base.settings, err);
	return r;
}

/* Leaves the bridge as it was found. */
void bridge_leave(struct bridge_fabric *f)
{
	if (!f->ifindex)
		return;
	release_uplink(f);
	bridge_scan(f);
	if (f->made && !f->others)
		(void)link_del(f->nl, f->ifindex);
	else if (f->filtering && !f->others)
		(void)link_set_vlan_filtering(f->nl, f->ifindex, false);
	f->ifindex = 0;
}
