/* SPDX-License-Identifier: Apache-2.0 */

/* The bridge fabric as the core calls it. */

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
		if (link_get(nl, bridge_name(s), 0, &i) == 0 && i.bridge)
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

static uint32_t op_gives(const struct fabric_settings *s)
{
	(void)s;
	return ATTACH_TAP;
}

static void op_free(struct fabric *base)
{
	struct bridge_fabric *f = bridge_of(base);

	f->look = sd_event_source_disable_unref(f->look);
	f->retry = sd_event_source_disable_unref(f->retry);
	f->age = sd_event_source_disable_unref(f->age);
	if (f->nl)
		bridge_leave(f);
	rtnl_free(f->nl);
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

static int new_sources(struct bridge_fabric *f, sd_event *event)
{
	int r = sd_event_add_defer(event, &f->look, bridge_on_look, f);

	if (r >= 0)
		r = sd_event_source_set_enabled(f->look, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &f->retry, CLOCK_MONOTONIC, 0, 0, bridge_on_retry, f);
	if (r >= 0)
		r = sd_event_source_set_enabled(f->retry, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &f->age, CLOCK_MONOTONIC, 0, 0, bridge_on_age, f);
	return r < 0 ? r : sd_event_source_set_enabled(f->age, SD_EVENT_OFF);
}

static int op_init(struct fabric *base, struct err *err)
{
	struct bridge_fabric *f = bridge_of(base);
	int r = check_settings(&base->settings, err);

	if (r < 0)
		return r;
	r = rtnl_new(NETLINK_ROUTE, &f->nl);
	if (r >= 0)
		r = new_sources(f, base->config.event);
	if (r < 0)
		err_set(err, -r, NULL, "cannot set up a bridge fabric: %s", strerror(-r));
	else
		r = bridge_find(f, err);
	if (r < 0) {
		op_free(base);
		return r;
	}
	bridge_scan(f);
	return 0;
}

static int exchange_uplink(struct bridge_fabric *f, const struct fabric_settings *s, struct err *err)
{
	int uplink = f->uplink, r;
	bool enslaved = f->enslaved;

	if (!f->ifindex)
		return err_set(err, ENODEV, "bridge", "there is no bridge %s now",
			       bridge_name(&f->base.settings));
	r = bridge_enslave_uplink(f, s, err);
	if (r < 0) {
		f->uplink = uplink;
		f->enslaved = enslaved;
		return r;
	}
	if (enslaved && uplink)
		(void)link_set(f->nl, uplink, &(struct link_change){.set_master = true});
	return 0;
}

static int op_set(struct fabric *base, const struct fabric_settings *s, struct err *err)
{
	struct bridge_fabric *f = bridge_of(base);
	const struct fabric_settings *old = &f->base.settings;
	int r = check_settings(s, err);
	bool ageing;

	if (r < 0)
		return r;
	ageing = f->made && f->ifindex && s->ageing != old->ageing;
	r = ageing ? link_set_ageing(f->nl, f->ifindex, s->ageing) : 0;
	if (r < 0)
		return rtnl_err(f->nl, r, err, "set the ageing of %s", bridge_name(old));
	if (s->uplink != old->uplink || strcmp(s->uplink_name, old->uplink_name) != 0)
		r = exchange_uplink(f, s, err);
	if (r < 0) {
		if (ageing)
			(void)link_set_ageing(f->nl, f->ifindex, old->ageing);
		return r;
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
	for (unsigned int i = 0; i < base->n_ports; i++) {
		struct bridge_port *p = bridge_port(f, i);

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

	for (unsigned int i = 0; i < a->f->base.n_ports && !p; i++) {
		const struct bridge_port *each = bridge_port(a->f, i);

		if (each->tap && each->tap->ifindex == e->ifindex)
			p = each;
	}
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
					     .ports = base->n_ports,
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

static int op_group_init(struct fabric *f, struct fabric_group *group)
{
	struct bridge_group *g = calloc(1, sizeof(*g));

	(void)f;
	if (!g)
		return -ENOMEM;
	g->total_fd = -1;
	group->data = g;
	return 0;
}

static void op_group_free(struct fabric *f, struct fabric_group *group)
{
	struct bridge_group *g = group->data;

	(void)f;
	close_fd(&g->total_fd);
	free(g);
}

/* What was saved up or is owed was so at the old rate. */
static void op_group_set(struct fabric *f, struct fabric_group *group)
{
	const struct bridge_group *g = group->data;

	(void)f;
	if (g->total_fd >= 0)
		(void)bpf_zero_map(g->total_fd, sizeof(uint64_t));
}

static int op_port_init(struct fabric_port *base, struct counter_file *counters)
{
	struct bridge_port *p = bridge_port_of(base);

	p->maps = (struct port_prog_maps){-1, -1, -1, -1};
	p->stats = counters ? counter_file_stats(counters, base->fn) : &p->own;
	p->before = counters ? counter_file_base(counters, base->fn) : NULL;
	return 0;
}

static void op_port_added(struct fabric_port *p)
{
	bridge_recompute(bridge_of(p->fabric));
}

static void op_port_free(struct fabric_port *base)
{
	bridge_port_unmake(bridge_port_of(base));
	bridge_recompute(bridge_of(base->fabric));
}

/* What the kernel refuses now is an error, and the old settings are put back. A port whose bridge or tap is gone is
 * brought to its settings when that is there again. */
static int op_port_set(struct fabric_port *base, bool undo, struct err *err)
{
	struct bridge_port *p = bridge_port_of(base);

	p->refused = undo ? NULL : err;
	p->refusable = !undo;
	p->refusal = 0;
	bridge_recompute(bridge_of(base->fabric));
	p->refused = NULL;
	p->refusable = false;
	return p->refusal;
}

static void op_port_changed(struct fabric_port *p)
{
	bridge_recompute(bridge_of(p->fabric));
}

static void op_port_get_stats(struct fabric_port *base, struct port_stats *ret)
{
	struct bridge_port *p = bridge_port_of(base);

	bridge_port_collect(p);
	*ret = *p->stats;
	if (p->before)
		port_stats_add(ret, p->before);
}

static int op_port_open(struct fabric_port *base, unsigned int queue_pairs, struct err *err)
{
	struct bridge_port *p = bridge_port_of(base);
	int r = bridge_port_make(p, queue_pairs, err);

	if (r < 0)
		return r;
	bridge_update_conflict(p);
	bridge_arm_age(bridge_of_port(p));
	base->attach = (struct fabric_attach){
		.kind = ATTACH_TAP,
		.tap = {.n = p->tap->n, .fd = p->tap->fd, .name = p->tap->name},
	};
	return 0;
}

static int op_port_close(struct fabric_port *base)
{
	struct bridge_port *p = bridge_port_of(base);
	bool had_none = p->stuck || p->waits;

	bridge_port_unmake(p);
	if (had_none) /* a closed port has link as its settings say */
		bridge_recompute(bridge_of(base->fabric));
	return 0;
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

	if (!p->tap || !p->tap->ifindex)
		return;
	for (unsigned int i = 0; i < n && !mac; i++)
		macs[i] = p->owned[i].mac;
	announce_make(&base->settings, macs, n, &what);
	for (unsigned int i = 0; i < what.n; i++)
		write_frame(p->tap, what.frame[i].data, what.frame[i].len);
}

const struct fabric_ops fabric_bridge = {
	.type = "bridge",
	.size = sizeof(struct bridge_fabric),
	.port_size = sizeof(struct bridge_port),
	.can = op_can,
	.gives = op_gives,
	.init = op_init,
	.set = op_set,
	.free = op_free,
	.get = op_get,
	.fdb = op_fdb,
	.netdev_changed = op_netdev_changed,
	.group_init = op_group_init,
	.group_free = op_group_free,
	.group_set = op_group_set,
	.port_init = op_port_init,
	.port_added = op_port_added,
	.port_free = op_port_free,
	.port_set = op_port_set,
	.port_changed = op_port_changed,
	.port_get_stats = op_port_get_stats,
	.port_open = op_port_open,
	.port_close = op_port_close,
	.announce = op_announce,
};
