/* SPDX-License-Identifier: Apache-2.0 */

/* The bridge fabric behind the interface of all fabrics. */

#include "fabric/bridge/bridge.h"

#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include "fabric/announce.h"
#include "switch/counter_file.h"
#include "util/ether.h"

static uint32_t op_can(const struct fabric_settings *s)
{
	unsigned int host = bridge_host();
	uint32_t can = CAN_ADMIN_MAC | CAN_NO_SPOOFCHK | CAN_TRUST | CAN_LINK | CAN_STATS;
	bool vlan = host & BRIDGE_HOST_VLAN, programs = host & BRIDGE_HOST_PROGRAM;
	uint16_t protocol = ETHER_TPID_Q;
	struct link_info i;
	struct rtnl *nl;

	if (host & (BRIDGE_HOST_LOCKED | BRIDGE_HOST_PROGRAM))
		can |= CAN_SPOOFCHK;
	if (programs)
		can |= CAN_MAX_RATE | CAN_MIN_RATE | CAN_TOTAL_RATE;
	if (vlan && rtnl_new(NETLINK_ROUTE, &nl) == 0) {
		if (link_get(nl, s->bridge, 0, &i) == 0 && i.bridge)
			protocol = i.vlan_protocol;
		rtnl_free(nl);
	}
	if (vlan && programs)
		can |= CAN_VLAN_PCP;
	if (vlan && protocol == ETHER_TPID_AD)
		can |= CAN_VLAN_AD;
	else if (vlan)
		can |= CAN_VLAN | CAN_TRUNK;
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
	f->age = sd_event_source_disable_unref(f->age);
	f->base.events = NULL;
	if (f->nl)
		bridge_leave(f);
	rtnl_free(f->nl);
	free(f->ports);
	free(f);
}

static int check_settings(const struct fabric_settings *s, struct err *err)
{
	if (s->uplink == UPLINK_TAP)
		return err_set(
			err, EOPNOTSUPP, "uplink.type",
			"a fabric of type bridge has no tap for an uplink: any netdev that is a port of the bridge is one");
	if (!(bridge_host() & BRIDGE_HOST_TAP))
		return err_set(
			err, EOPNOTSUPP, "type",
			"no tap can be made a port of a bridge here: it takes Linux with bridge and tun, and CAP_NET_ADMIN");
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
		r = sd_event_add_defer(event, &f->look, bridge_on_look, f);
	if (r >= 0)
		r = sd_event_source_set_enabled(f->look, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &f->retry, CLOCK_MONOTONIC, 0, 0, bridge_on_retry, f);
	if (r >= 0)
		r = sd_event_source_set_enabled(f->retry, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &f->age, CLOCK_MONOTONIC, 0, 0, bridge_on_age, f);
	if (r >= 0)
		r = sd_event_source_set_enabled(f->age, SD_EVENT_OFF);
	if (r < 0)
		err_set(err, -r, NULL, "cannot set up a bridge fabric: %s", strerror(-r));
	else
		r = bridge_find(f, err);
	if (r < 0) {
		op_free(&f->base);
		return r;
	}
	bridge_scan(f);
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
		r = bridge_enslave_uplink(f, s, err);
		if (r < 0) {
			f->uplink = uplink;
			f->enslaved = enslaved;
			return r;
		}
		if (enslaved && uplink)
			(void)link_set(f->nl, uplink, &(struct link_change){.set_master = true});
	}
	if (f->made && f->ifindex && s->ageing != old->ageing) {
		r = link_set_ageing(f->nl, f->ifindex, s->ageing);
		if (r < 0)
			return rtnl_err(f->nl, r, err, "set the ageing of %s", old->bridge);
	}
	f->base.settings = *s;
	bridge_scan(f);
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
		bridge_report(f, p, why);
		bridge_look(f);
		return;
	}
	if (gone && ifindex == f->ifindex) {
		f->ifindex = 0;
		f->uplink = 0;
		bridge_report(f, NULL, "somebody deleted the bridge");
	} else if (gone && ifindex == f->uplink) {
		f->uplink = 0;
	} else if (!gone && !f->uplink && f->ifindex && f->base.settings.uplink == UPLINK_NETDEV &&
		   !strcmp(name, f->base.settings.uplink_name)) {
		struct err err;

		if (bridge_enslave_uplink(f, &f->base.settings, &err) < 0)
			bridge_report(f, NULL, err.text);
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

	if (bridge_has(a->f, i->ifindex))
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
	p->maps = (struct port_prog_maps){-1, -1, -1, -1};
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

	bridge_port_collect(p);
	*ret = *p->stats;
	if (p->before)
		port_stats_add(ret, p->before);
}

static int op_port_open(struct fabric_port *base, unsigned int queue_pairs, struct fabric_attach *ret,
			struct err *err)
{
	struct bridge_port *p = bridge_port_of(base);

	if (!p->tap) {
		int r = bridge_port_make(p, queue_pairs, err);

		if (r < 0)
			return r;
		bridge_update_conflict(bridge_of_port(p), p);
		bridge_arm_age(bridge_of_port(p));
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

/* By any queue of the tap that is in use: vhost-net, or a worker, goes on beside it. */
static void write_frame(const struct tap *tap, void *data, uint32_t len)
{
	static const uint8_t no_offload[TAP_HEADER_LEN];
	struct iovec v[] = {{(void *)no_offload, sizeof(no_offload)}, {data, len}};

	for (unsigned int i = 0; i < tap->n; i++)
		if (writev(tap->fd[i], v, 2) >= 0 || errno != EBADFD)
			return;
}

static void op_announce(struct fabric_port *base, const uint8_t *mac)
{
	struct bridge_port *p = bridge_port_of(base);
	uint64_t macs[MAX_CLAIMS] = {mac ? mac_load(mac) : 0};
	unsigned int n = mac ? 1 : p->n_owned;
	struct announce what;

	if (!p->tap || !p->tap->ifindex || !base->link_up || base->elsewhere)
		return;
	for (unsigned int i = 0; i < n && !mac; i++)
		macs[i] = p->owned[i].mac;
	announce_make(&base->settings, macs, n, &what);
	for (unsigned int i = 0; i < what.n; i++)
		write_frame(p->tap, what.frame[i].data, what.frame[i].len);
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
	.announce = op_announce,
};
