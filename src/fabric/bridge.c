/* SPDX-License-Identifier: Apache-2.0 */

#include "fabric/bridge.h"

#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "datapath/counter_file.h"
#include "datapath/pkt.h"

#define RETRY_US 1000000

static void make_alias(const struct bridge_fabric *f, char alias[80])
{
	snprintf(alias, 80, "vpf fabric %s", f->base.settings.name);
}

static void report(struct bridge_fabric *f, struct bridge_port *p, const char *why)
{
	bool *told = p ? &p->trouble : &f->trouble;

	if (*told)
		return;
	*told = true;
	if (f->base.events && f->base.events->trouble)
		f->base.events->trouble(f->base.ctx, &f->base, p ? &p->base : NULL, why);
}

static void retry_later(struct bridge_fabric *f)
{
	sd_event_source_set_time_relative(f->retry, RETRY_US);
	sd_event_source_set_enabled(f->retry, SD_EVENT_ONESHOT);
}

void bridge_look(struct bridge_fabric *f)
{
	sd_event_source_set_enabled(f->look, SD_EVENT_ONESHOT);
}

static bool link_of(const struct bridge_fabric *f, const struct function_settings *s)
{
	if (!f->ifindex)
		return false;
	switch (s->link) {
	case LINK_ENABLE:
		return true;
	case LINK_DISABLE:
		return false;
	case LINK_AUTO:
		break;
	}
	if (f->base.settings.uplink == UPLINK_NETDEV && !f->uplink)
		return false;
	return f->carrier || !f->others; /* nothing to follow */
}

static void remake_port(struct bridge_fabric *f, struct bridge_port *p)
{
	struct err err;
	int r = bridge_port_remake(p, &err);

	if (r < 0)
		report(f, p, err.text);
	if (r == -EEXIST && !p->lost && f->base.events && f->base.events->port_lost) {
		p->lost = true;
		f->base.events->port_lost(f->base.ctx, &p->base);
	}
	if (r < 0 && p->tap) {
		retry_later(f); /* it may come back */
		return;
	}
	if (r < 0)
		return;
	p->lost = false;
	if (f->base.events && f->base.events->port_remade)
		f->base.events->port_remade(f->base.ctx, &p->base);
}

static void apply_port(struct bridge_fabric *f, struct bridge_port *p)
{
	struct err err;

	if (!p->tap || !f->ifindex) /* the fabric's trouble, not the port's */
		return;
	if (bridge_port_apply(p, &err) < 0) {
		report(f, p, err.text);
		retry_later(f);
	} else {
		p->trouble = false;
	}
}

static void update_conflict(struct bridge_fabric *f, struct bridge_port *p)
{
	bool was = p->base.mac_conflict;
	struct claim claims[MAX_CLAIMS];
	uint8_t mac[6];

	p->base.mac_conflict = p->conflict || (p->tap && p->reserved);
	if (!p->base.mac_conflict || was || !f->base.events || !f->base.events->mac_conflict ||
	    !claims_of(&p->base, &p->policy, p->filter, claims))
		return;
	mac_store(mac, claims[0].mac);
	f->base.events->mac_conflict(f->base.ctx, &p->base, mac);
}

void bridge_recompute(struct bridge_fabric *f)
{
	/* Without memory everything stays as it was. */
	if (bridge_claim(f) < 0) {
		retry_later(f);
		return;
	}
	/* Who loses an address before who gets it: the table has each once. */
	for (unsigned int pass = 0; pass < 2; pass++) {
		for (unsigned int i = 0; i < f->n; i++) {
			struct bridge_port *p = f->ports[i];
			bool up = link_of(f, &p->base.settings), was = p->base.link_up;

			if (pass == 0)
				bridge_port_release(p);
			p->base.link_up = up;
			if (pass == 1) {
				apply_port(f, p);
				update_conflict(f, p);
			}
			if (up != was && f->base.events && f->base.events->link_changed)
				f->base.events->link_changed(f->base.ctx, &p->base, up);
		}
	}
}

struct scan {
	struct bridge_fabric *f;
	unsigned int others;
	bool carrier;
};

static bool is_own(const struct bridge_fabric *f, int ifindex)
{
	for (unsigned int i = 0; i < f->n; i++)
		if (f->ports[i]->tap && f->ports[i]->tap->ifindex == ifindex)
			return true;
	return false;
}

static void scan_port(void *arg, const struct link_info *i)
{
	struct scan *s = arg;

	/* A tap that an earlier vpfd left is on its way out. */
	if (is_own(s->f, i->ifindex) || !strncmp(i->alias, "vpf ", 4))
		return;
	s->others++;
	s->carrier |= i->carrier;
}

/* Who else is in the bridge. True: their carrier, or whether there are any, changed. */
static bool scan(struct bridge_fabric *f)
{
	struct scan s = {.f = f};
	bool changed, carrier = f->carrier;

	if (f->ifindex && link_ports(f->nl, f->ifindex, scan_port, &s) < 0) {
		retry_later(f);
		return false;
	}
	changed = s.carrier != f->carrier || !s.others != !f->others;
	f->others = s.others;
	f->carrier = s.carrier;
	if (s.carrier != carrier && f->base.events && f->base.events->uplink_changed)
		f->base.events->uplink_changed(f->base.ctx, &f->base, s.carrier);
	return changed;
}

/* Makes the uplink's netdev a port of the bridge, with all VLANs. */
static int enslave_uplink(struct bridge_fabric *f, const struct fabric_settings *s, struct err *err)
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
			return rtnl_err(f->nl, r, err, "make %s a port of %s", s->uplink_name, s->bridge);
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
	const char *name = f->base.settings.bridge;
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
	/* Nothing of the host's is reachable through it, unless somebody gives it an address. */
	(void)link_no_addresses(f->nl, f->ifindex);
	r = link_set(f->nl, f->ifindex, &(struct link_change){.alias = alias, .up = 1});
	if (r < 0)
		return rtnl_err(f->nl, r, err, "set up the bridge %s", name);
	return 0;
}

/* One that is there. */
static int take_bridge(struct bridge_fabric *f, const struct link_info *i, struct err *err)
{
	const char *name = f->base.settings.bridge;
	char alias[80];
	int r;

	if (!i->bridge)
		return err_set(err, EINVAL, "bridge", "%s is a network interface, but no bridge", name);
	make_alias(f, alias);
	f->made = !strcmp(i->alias, alias);
	f->info = *i;
	f->ifindex = i->ifindex;
	(void)scan(f);
	if (!i->can_vlan || i->vlan_filtering)
		return 0;
	if (f->others)
		return err_set(
			err, EBUSY, "bridge",
			"%s has VLAN filtering off, and ports of others that it would change: switch it on "
			"(ip link set %s type bridge vlan_filtering 1)",
			name, name);
	r = link_set_vlan_filtering(f->nl, i->ifindex, true);
	if (r < 0)
		return rtnl_err(f->nl, r, err, "switch on VLAN filtering of %s", name);
	f->filtering = !f->made;
	f->info.vlan_filtering = true;
	return 0;
}

static int get_bridge(struct bridge_fabric *f, struct err *err)
{
	struct link_info i;
	int r = link_get(f->nl, f->base.settings.bridge, 0, &i);

	f->made = f->filtering = false;
	if (r == -ENODEV)
		r = make_bridge(f, err);
	else if (r < 0)
		return rtnl_err(f->nl, r, err, "find the bridge %s", f->base.settings.bridge);
	else
		r = take_bridge(f, &i, err);
	if (!r)
		r = enslave_uplink(f, &f->base.settings, err);
	return r;
}

/* Leaves the bridge as it was found. */
static void leave_bridge(struct bridge_fabric *f)
{
	if (!f->ifindex)
		return;
	release_uplink(f);
	(void)scan(f);
	if (f->made && !f->others)
		(void)link_del(f->nl, f->ifindex);
	else if (f->filtering && !f->others)
		(void)link_set_vlan_filtering(f->nl, f->ifindex, false);
	f->ifindex = 0;
}

static void forget_applied(struct bridge_port *p)
{
	p->applied.enslaved = p->applied.vlans_set = p->applied.flags_set = false;
	p->applied.n_entries = 0;
}

/* The bridge is gone, and perhaps there is another of its name. */
static void find_bridge_again(struct bridge_fabric *f)
{
	bool made = f->made;
	struct link_info i;
	struct err err;
	int r;

	if (!made && link_get(f->nl, f->base.settings.bridge, 0, &i) < 0)
		return; /* it will be told of */
	r = get_bridge(f, &err);
	if (r < 0) {
		f->ifindex = 0;
		f->made = made;
		report(f, NULL, err.text);
		retry_later(f);
		return;
	}
	f->trouble = false;
	for (unsigned int k = 0; k < f->n; k++)
		forget_applied(f->ports[k]);
}

/* Whether a tap still is the bridge's port: somebody may have taken it out. */
static void check_port(struct bridge_fabric *f, struct bridge_port *p)
{
	struct link_info i;
	char why[96];

	p->check = false;
	if (!p->tap || !p->tap->ifindex || !f->ifindex || link_get(f->nl, NULL, p->tap->ifindex, &i) < 0)
		return;
	if (i.master == f->ifindex && (i.up || !p->applied.up))
		return;
	if (i.master != f->ifindex) {
		snprintf(why, sizeof(why), "somebody took the tap %s out of the bridge", p->tap->name);
		forget_applied(p);
	} else {
		snprintf(why, sizeof(why), "somebody set the tap %s down", p->tap->name);
	}
	p->applied.up = false;
	p->trouble = false;
	report(f, p, why);
}

static int on_look(sd_event_source *source, void *userdata)
{
	struct bridge_fabric *f = userdata;

	(void)source;
	if (!f->ifindex)
		find_bridge_again(f);
	for (unsigned int i = 0; i < f->n; i++)
		if (f->ports[i]->check)
			check_port(f, f->ports[i]);
	for (unsigned int i = 0; i < f->n && f->ifindex; i++)
		if (f->ports[i]->tap && !f->ports[i]->tap->ifindex)
			remake_port(f, f->ports[i]);
	(void)scan(f);
	bridge_recompute(f);
	return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)usec;
	return on_look(source, userdata);
}

static uint32_t op_can(const struct fabric_settings *s)
{
	unsigned int host = bridge_host();
	uint32_t can = FABRIC_CAN_ADMIN_MAC | FABRIC_CAN_NO_SPOOFCHK | FABRIC_CAN_TRUST | FABRIC_CAN_LINK |
		       FABRIC_CAN_STATS;
	bool vlan = host & BRIDGE_HOST_VLAN, programs = host & BRIDGE_HOST_PROGRAM;
	uint16_t protocol = 0x8100;
	struct link_info i;
	struct rtnl *nl;

	if (host & (BRIDGE_HOST_LOCKED | BRIDGE_HOST_PROGRAM))
		can |= FABRIC_CAN_SPOOFCHK;
	if (programs)
		can |= FABRIC_CAN_MAX_RATE | FABRIC_CAN_MIN_RATE | FABRIC_CAN_TOTAL_RATE;
	if (vlan && rtnl_new(NETLINK_ROUTE, &nl) == 0) {
		if (link_get(nl, s->bridge, 0, &i) == 0 && i.bridge)
			protocol = i.vlan_protocol;
		rtnl_free(nl);
	}
	if (vlan && programs)
		can |= FABRIC_CAN_VLAN_PCP;
	if (vlan && protocol == 0x88a8)
		can |= FABRIC_CAN_VLAN_AD;
	else if (vlan)
		can |= FABRIC_CAN_VLAN | FABRIC_CAN_TRUNK;
	return can;
}

static void op_free(struct fabric *base)
{
	struct bridge_fabric *f;

	if (!base)
		return;
	f = bridge_of(base);
	f->look = sd_event_source_disable_unref(f->look);
	f->retry = sd_event_source_disable_unref(f->retry);
	f->base.events = NULL;
	if (f->nl)
		leave_bridge(f);
	rtnl_free(f->nl);
	free(f->ports);
	free(f);
}

static int check_settings(const struct fabric_settings *s, struct err *err)
{
	if (s->uplink == UPLINK_TAP)
		return err_set(
			err, EOPNOTSUPP, "uplink.type",
			"a fabric of type bridge has no tap for an uplink: any netdev that is a port of the "
			"bridge is one");
	if (!(bridge_host() & BRIDGE_HOST_TAP))
		return err_set(
			err, EOPNOTSUPP, "type",
			"no tap can be made a port of a bridge here: it takes Linux with bridge and tun, and "
			"CAP_NET_ADMIN");
	return 0;
}

static int op_new(struct sd_event *event, struct worker_pool *pool, const struct fabric_settings *s,
		  const struct fabric_events *events, void *ctx, struct fabric **ret, struct err *err)
{
	struct bridge_fabric *f;
	int r = check_settings(s, err);

	if (r < 0)
		return r;
	f = calloc(1, sizeof(*f));
	if (!f)
		return err_set(err, ENOMEM, NULL, "not enough memory for a fabric");
	f->base = (struct fabric){.ops = &fabric_bridge, .pool = pool, .settings = *s, .ctx = ctx};
	r = rtnl_new(NETLINK_ROUTE, &f->nl);
	if (r >= 0)
		r = sd_event_add_defer(event, &f->look, on_look, f);
	if (r >= 0)
		r = sd_event_source_set_enabled(f->look, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &f->retry, CLOCK_MONOTONIC, 0, 0, on_retry, f);
	if (r >= 0)
		r = sd_event_source_set_enabled(f->retry, SD_EVENT_OFF);
	if (r < 0)
		err_set(err, -r, NULL, "cannot set up a bridge fabric: %s", strerror(-r));
	else
		r = get_bridge(f, err);
	if (r < 0) {
		op_free(&f->base);
		return r;
	}
	(void)scan(f);
	f->base.events = events;
	*ret = &f->base;
	return 0;
}

static int op_set(struct fabric *base, const struct fabric_settings *s, struct err *err)
{
	struct bridge_fabric *f = bridge_of(base);
	const struct fabric_settings *old = &f->base.settings;
	int r = check_settings(s, err);

	if (r < 0)
		return r;
	if (s->uplink != old->uplink || strcmp(s->uplink_name, old->uplink_name) != 0) {
		int uplink = f->uplink;
		bool enslaved = f->enslaved;

		if (!f->ifindex)
			return err_set(err, ENODEV, "bridge", "there is no bridge %s now", old->bridge);
		r = enslave_uplink(f, s, err);
		if (r < 0) {
			f->uplink = uplink;
			f->enslaved = enslaved;
			return r;
		}
		if (enslaved && uplink)
			(void)link_set(f->nl, uplink, &(struct link_change){.set_master = true});
	}
	f->base.settings = *s;
	(void)scan(f);
	bridge_recompute(f);
	return 0;
}

static void op_netdev_changed(struct fabric *base, const char *name, int ifindex, bool carrier, bool gone)
{
	struct bridge_fabric *f = bridge_of(base);
	char why[96];

	(void)carrier;
	for (unsigned int i = 0; i < f->n; i++) {
		struct bridge_port *p = f->ports[i];

		if (!p->tap || p->tap->ifindex != ifindex)
			continue;
		if (!gone) {
			p->check = true;
			bridge_look(f);
			return;
		}
		snprintf(why, sizeof(why), "somebody deleted the tap %s", p->tap->name);
		bridge_port_lose(p);
		report(f, p, why);
		bridge_look(f);
		return;
	}
	if (gone && ifindex == f->ifindex) {
		f->ifindex = 0;
		f->uplink = 0;
		report(f, NULL, "somebody deleted the bridge");
	} else if (gone && ifindex == f->uplink) {
		f->uplink = 0;
	} else if (!gone && !f->uplink && f->ifindex && f->base.settings.uplink == UPLINK_NETDEV &&
		   !strcmp(name, f->base.settings.uplink_name)) {
		struct err err;

		if (enslave_uplink(f, &f->base.settings, &err) < 0)
			report(f, NULL, err.text);
	}
	bridge_look(f);
}

struct fdb_arg {
	const struct bridge_fabric *f;
	void (*row)(void *arg, const struct fdb_row *row);
	void *arg;
	unsigned int entries, learned;
};

static void on_fdb(void *arg, const struct brport_fdb *e)
{
	struct fdb_arg *a = arg;
	const struct bridge_port *p = NULL;
	struct fdb_row row = {.kind = e->learned ? FDB_LEARNED : FDB_PERMANENT,
			      .age = e->learned ? e->age : 0};
	uint64_t mac = mac_load(e->mac);

	for (unsigned int i = 0; i < a->f->n && !p; i++)
		if (a->f->ports[i]->tap && a->f->ports[i]->tap->ifindex == e->ifindex)
			p = a->f->ports[i];
	/* Without VLAN of those that the bridge filters by, the kernel keeps one that nobody looks up. */
	if (!p || e->local || (a->f->info.vlan_filtering && !e->vlan))
		return;
	a->entries++;
	a->learned += e->learned;
	if (!a->row)
		return;
	for (unsigned int i = 0; i < p->n_owned && !e->learned; i++)
		if (p->owned[i].mac == mac)
			row.kind = p->owned[i].kind;
	memcpy(row.mac, e->mac, 6);
	row.vlan = e->vlan == a->f->info.default_pvid ? 0 : e->vlan;
	row.pf = p->base.pf;
	row.function = p->base.fn;
	a->row(a->arg, &row);
}

static void op_fdb(const struct fabric *base, uint32_t now, void (*row)(void *arg, const struct fdb_row *row),
		   void *arg)
{
	const struct bridge_fabric *f = bridge_of(base);
	struct fdb_arg a = {.f = f, .row = row, .arg = arg};

	(void)now;
	if (f->ifindex)
		(void)brport_fdb_dump(f->nl, f->ifindex, on_fdb, &a);
}

struct uplink_arg {
	const struct bridge_fabric *f;
	struct port_stats *stats;
};

static void add_uplink(void *arg, const struct link_info *i)
{
	const struct uplink_arg *a = arg;

	if (is_own(a->f, i->ifindex))
		return;
	a->stats->tx_packets += i->rx_packets;
	a->stats->tx_bytes += i->rx_bytes;
	a->stats->tx_multicast += i->rx_multicast;
	a->stats->rx_packets += i->tx_packets;
	a->stats->rx_bytes += i->tx_bytes;
	a->stats->rx_drop[DROP_UPLINK] += i->tx_dropped;
}

static void op_get(const struct fabric *base, struct fabric_state *ret, struct port_stats *ret_uplink)
{
	const struct bridge_fabric *f = bridge_of(base);

	if (ret) {
		struct fdb_arg a = {.f = f};

		if (f->ifindex)
			(void)brport_fdb_dump(f->nl, f->ifindex, on_fdb, &a);
		*ret = (struct fabric_state){.uplink_carrier = f->carrier,
					     .ports = f->n,
					     .fdb_entries = a.entries,
					     .fdb_learned = a.learned};
	}
	if (ret_uplink) {
		struct uplink_arg a = {f, ret_uplink};

		*ret_uplink = (struct port_stats){0};
		if (f->ifindex)
			(void)link_ports(f->nl, f->ifindex, add_uplink, &a);
	}
}

static struct bridge_pool *join_pool(struct bridge_fabric *f, const char *pf)
{
	struct bridge_pool *pool = f->pools;

	while (pool && strcmp(pool->pf, pf) != 0)
		pool = pool->next;
	if (!pool) {
		pool = calloc(1, sizeof(*pool));
		if (!pool)
			return NULL;
		snprintf(pool->pf, sizeof(pool->pf), "%s", pf);
		pool->total_fd = -1;
		pool->next = f->pools;
		f->pools = pool;
	}
	pool->members++;
	return pool;
}

static void leave_pool(struct bridge_fabric *f, struct bridge_pool *pool)
{
	struct bridge_pool **at = &f->pools;

	if (!pool || --pool->members)
		return;
	while (*at != pool)
		at = &(*at)->next;
	*at = pool->next;
	close_fd(&pool->total_fd);
	free(pool);
}

static void set_policy(struct bridge_port *p, const struct pf_policy *policy)
{
	p->policy = (struct port_policy){.driver_mac = policy->driver_mac,
					 .promisc = policy->promisc,
					 .max_driver_macs = policy->max_driver_macs};
	if (p->pool->rate == policy->max_rate_total)
		return;
	p->pool->rate = policy->max_rate_total;
	if (p->pool->total_fd >= 0)
		(void)bpf_zero_map(p->pool->total_fd, sizeof(uint64_t));
}

static int op_port_add(struct fabric *base, const char *pf, unsigned int fn,
		       const struct function_settings *s, const struct pf_policy *policy,
		       struct counter_file *counters, struct fabric_port **ret)
{
	struct bridge_fabric *f = bridge_of(base);
	struct bridge_port *p;

	if (f->n == f->room) {
		unsigned int room = f->room ? 2 * f->room : 16;
		struct bridge_port **ports = realloc(f->ports, room * sizeof(struct bridge_port *));

		if (!ports)
			return -ENOMEM;
		f->ports = ports;
		f->room = room;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->pool = join_pool(f, pf);
	if (!p->pool) {
		free(p);
		return -ENOMEM;
	}
	p->base = (struct fabric_port){.fabric = base, .pf = pf, .fn = fn, .settings = *s};
	p->maps = (struct port_prog_maps){-1, -1, -1};
	p->stats = counters ? counter_file_stats(counters, fn) : &p->own;
	p->before = counters ? counter_file_base(counters, fn) : NULL;
	set_policy(p, policy);
	f->ports[f->n++] = p;
	bridge_recompute(f);
	*ret = &p->base;
	return 0;
}

static void op_port_free(struct fabric_port *base)
{
	struct bridge_fabric *f;
	struct bridge_port *p;
	unsigned int i;

	if (!base)
		return;
	p = bridge_port_of(base);
	f = bridge_of_port(p);
	bridge_port_unmake(p);
	for (i = 0; f->ports[i] != p; i++)
		;
	memmove(&f->ports[i], &f->ports[i + 1], (f->n - i - 1) * sizeof(struct bridge_port *));
	f->n--;
	leave_pool(f, p->pool);
	free(p->filter);
	free(p);
	bridge_recompute(f);
}

static void op_port_set(struct fabric_port *base, const struct function_settings *s,
			const struct pf_policy *policy)
{
	struct bridge_port *p = bridge_port_of(base);

	p->base.settings = *s;
	if (policy)
		set_policy(p, policy);
	bridge_recompute(bridge_of_port(p));
}

static void op_port_filter(struct fabric_port *base, const struct rx_filter *filter)
{
	struct bridge_port *p = bridge_port_of(base);

	if (!p->filter)
		p->filter = malloc(sizeof(*p->filter));
	if (!p->filter)
		return; /* QEMU tells all of it again with the next change */
	*p->filter = *filter;
	bridge_recompute(bridge_of_port(p));
}

static const struct rx_filter *op_port_get_filter(const struct fabric_port *p)
{
	return bridge_port_of(p)->filter;
}

static void op_port_get_stats(const struct fabric_port *base, struct port_stats *ret)
{
	struct bridge_port *p = bridge_port_of(base);
	uint64_t *sum = (uint64_t *)ret;

	bridge_port_collect(p);
	*ret = *p->stats;
	for (size_t i = 0; p->before && i < sizeof(*ret) / sizeof(uint64_t); i++)
		sum[i] += ((const uint64_t *)p->before)[i];
}

static int op_port_open(struct fabric_port *base, unsigned int queue_pairs, struct fabric_attach *ret,
			struct err *err)
{
	struct bridge_port *p = bridge_port_of(base);

	if (!p->tap) {
		int r = bridge_port_make(p, queue_pairs, err);

		if (r < 0)
			return r;
		update_conflict(bridge_of_port(p), p);
	} else if (!p->tap->ifindex) {
		return err_set(err, ENODEV, NULL, "the tap %s is gone, and still in use", p->tap->name);
	}
	base->open++;
	*ret = (struct fabric_attach){.n_tap = p->tap->n, .tap_fd = p->tap->fd, .tap_name = p->tap->name};
	return 0;
}

static void op_port_close(struct fabric_port *base)
{
	if (--base->open == 0)
		bridge_port_unmake(bridge_port_of(base));
}

static void op_port_elsewhere(struct fabric_port *base, bool elsewhere)
{
	if (base->elsewhere == elsewhere)
		return;
	base->elsewhere = elsewhere;
	bridge_recompute(bridge_of(base->fabric));
}

const struct fabric_ops fabric_bridge = {
	.type = "bridge",
	.can = op_can,
	.new = op_new,
	.set = op_set,
	.free = op_free,
	.get = op_get,
	.fdb = op_fdb,
	.netdev_changed = op_netdev_changed,
	.port_add = op_port_add,
	.port_free = op_port_free,
	.port_set = op_port_set,
	.port_filter = op_port_filter,
	.port_get_filter = op_port_get_filter,
	.port_get_stats = op_port_get_stats,
	.port_open = op_port_open,
	.port_close = op_port_close,
	.port_elsewhere = op_port_elsewhere,
};
