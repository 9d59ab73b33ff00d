/* SPDX-License-Identifier: Apache-2.0 */

/* The builtin fabric: its life, its ports, and the consequences of a change. */

#include "fabric/builtin/builtin.h"

#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>

#include "fabric/announce.h"
#include "switch/worker.h"
#include "util/clock.h"

static uint32_t op_can(const struct fabric_settings *s)
{
	(void)s;
	return CAN_ADMIN_MAC | CAN_VLAN | CAN_VLAN_PCP | CAN_VLAN_AD | CAN_TRUNK | CAN_SPOOFCHK |
	       CAN_NO_SPOOFCHK | CAN_TRUST | CAN_MAX_RATE | CAN_MIN_RATE | CAN_TOTAL_RATE | CAN_LINK |
	       CAN_STATS;
}

static uint32_t op_gives(const struct fabric_settings *s)
{
	(void)s;
	return ATTACH_SW_PORT;
}

static bool link_of(const struct builtin_fabric *f, const struct function_settings *s)
{
	return fabric_link(s->link,
			   f->base.settings.uplink == UPLINK_NONE || (f->uplink && f->uplink->carrier));
}

static bool rate_equal(const struct shaper_conf *a, const struct shaper_conf *b)
{
	return a->max_cost == b->max_cost && a->min_cost == b->min_cost && a->limited == b->limited;
}

static size_t conf_size(const struct port_conf *c)
{
	return sizeof(*c) + (c->n_macs + c->n_groups) * sizeof(c->macs[0]);
}

static bool conf_equal(const struct port_conf *a, const struct port_conf *b)
{
	return a->n_macs == b->n_macs && a->n_groups == b->n_groups && !memcmp(a, b, conf_size(a));
}

void builtin_recompute(struct builtin_fabric *f)
{
	_cleanup_free_ struct port_conf **old = calloc(f->base.n_ports + 1, sizeof(*old));
	struct fdb *fdb, *old_fdb;
	unsigned int n_old = 0;

	/* Without memory everything stays as it was published last: consistent, if late. The next change
	 * tries again. */
	if (!old || builtin_build_fdb(f, &fdb) < 0)
		return;
	for (unsigned int i = 0; i < f->base.n_ports; i++) {
		struct builtin_port *p = builtin_port(f, i);
		bool up = link_of(f, &p->base.settings);
		struct port_conf *c;

		c = builtin_port_conf(p, up, fdb);
		if (c && conf_equal(c, p->port->conf)) {
			free(c);
		} else if (c) {
			old[n_old] = rcu_xchg_pointer(&p->port->conf, c);
			if (!rate_equal(&old[n_old]->rate, &c->rate)) {
				shaper_changed(&p->port->shaper, &old[n_old]->rate, &c->rate, clock_ns());
				f->rates_changed = true;
			}
			n_old++;
		}
		fabric_tell_link(&p->base, up);
	}
	old_fdb = rcu_xchg_pointer(&f->sw.fdb, fdb);
	urcu_qsbr_synchronize_rcu();
	fdb_free(old_fdb);
	while (n_old)
		free(old[--n_old]);
	if (f->rates_changed)
		worker_pool_resume(f->sw.pool);
	f->rates_changed = false;
}

/* Publishes the list of ports, for which there is room. */
static void publish_view(struct builtin_fabric *f)
{
	struct sw_view *view = sw_next_view(&f->sw);

	view->uplink = f->uplink ? f->uplink_port : NULL;
	for (unsigned int i = 0; i < f->base.n_ports; i++)
		view->port[view->n++] = builtin_port(f, i)->port;
	sw_publish_view(&f->sw);
}

/* Puts `up` (may be NULL) in place of the uplink. The counters continue. */
static void replace_uplink(struct builtin_fabric *f, struct uplink *up)
{
	struct uplink *old = f->uplink;

	if (old)
		uplink_stop(old, f->sw.pool);
	f->uplink = NULL;
	publish_view(f);
	if (up)
		up->port = f->uplink_port;
	(void)rcu_xchg_pointer(&f->uplink_port->uplink, up);
	urcu_qsbr_synchronize_rcu(); /* no worker sends through the old one any more */
	f->uplink = up;
	if (up) {
		publish_view(f);
		uplink_start(up, f->sw.pool);
	}
	uplink_close(old);
}

static int new_uplink_port(struct builtin_fabric *f)
{
	struct port_conf *conf = calloc(1, sizeof(*conf));
	int r;

	if (!conf)
		return -ENOMEM;
	conf->link_up = true;
	r = sw_port_new(&f->sw, PORT_UPLINK, conf, NULL, 0, &f->uplink_port);
	if (r < 0)
		free(conf);
	return r;
}

static void op_free(struct fabric *base)
{
	struct builtin_fabric *f = builtin_of(base);

	sd_event_source_disable_unref(f->age_timer);
	if (f->uplink) {
		uplink_stop(f->uplink, f->sw.pool);
		urcu_qsbr_synchronize_rcu();
		uplink_close(f->uplink);
	}
	sw_port_free(f->uplink_port);
	sw_fini(&f->sw);
}

static int op_init(struct fabric *base, struct err *err)
{
	struct builtin_fabric *f = builtin_of(base);
	const struct fabric_settings *s = &base->settings;
	struct uplink *up = NULL;
	int r;

	if (sw_init(&f->sw, base->config.pool) < 0)
		return err_set(err, ENOMEM, NULL, "not enough memory for a fabric");
	r = new_uplink_port(f);
	if (r >= 0)
		r = builtin_start_ageing(f, base->config.event);
	if (r < 0)
		err_set(err, -r, NULL, "cannot set up a fabric: %s", strerror(-r));
	else if (s->uplink != UPLINK_NONE)
		r = uplink_open(s, f->sw.pool->n, &up, err);
	if (r < 0) {
		op_free(base);
		return r;
	}
	if (up)
		replace_uplink(f, up);
	return 0;
}

static int op_set(struct fabric *base, const struct fabric_settings *s, struct err *err)
{
	struct builtin_fabric *f = builtin_of(base);
	bool same = s->uplink == base->settings.uplink &&
		    !strcmp(s->uplink_name, base->settings.uplink_name) &&
		    (f->uplink || s->uplink == UPLINK_NONE);
	struct uplink *up = NULL;

	if (!same && s->uplink != UPLINK_NONE) {
		int r = uplink_open(s, f->sw.pool->n, &up, err);

		if (r < 0)
			return r;
	}
	base->settings = *s;
	if (!same)
		replace_uplink(f, up);
	builtin_recompute(f);
	builtin_arm_ageing(f);
	return 0;
}

static void op_get(const struct fabric *base, struct fabric_state *ret, struct port_stats *ret_uplink)
{
	const struct builtin_fabric *f = builtin_of(base);

	if (ret)
		*ret = (struct fabric_state){
			.uplink_carrier = f->uplink && f->uplink->carrier,
			.ports = base->n_ports,
			.fdb_entries = f->sw.fdb->used,
			.fdb_learned = f->learned,
		};
	if (ret_uplink)
		port_get_stats(f->uplink_port, ret_uplink);
}

static int op_group_init(struct fabric *f, struct fabric_group *group)
{
	struct shaper_pool *pool;
	int r = shaper_pool_new(&pool);

	(void)f;
	if (r < 0)
		return r;
	shaper_pool_set(pool, group->max_rate_total, clock_ns());
	group->data = pool;
	return 0;
}

static void op_group_free(struct fabric *f, struct fabric_group *group)
{
	(void)f;
	shaper_pool_free(group->data);
}

static void op_group_set(struct fabric *f, struct fabric_group *group)
{
	if (shaper_pool_set(group->data, group->max_rate_total, clock_ns()))
		builtin_of(f)->rates_changed = true;
}

static int op_port_init(struct fabric_port *base, struct counter_file *counters)
{
	struct builtin_fabric *f = builtin_of(base->fabric);
	struct builtin_port *p = builtin_port_of(base);
	struct port_conf *conf;
	int r = sw_reserve(&f->sw, base->fabric->n_ports + 1);

	if (r < 0)
		return r;
	conf = calloc(1, sizeof(*conf)); /* link down until builtin_recompute() */
	r = conf ? sw_port_new(&f->sw, PORT_FUNCTION, conf, counters, base->fn, &p->port) : -ENOMEM;
	if (r < 0) {
		free(conf);
		return r;
	}
	p->port->owner = p;
	r = shaper_join(&p->port->shaper, base->group->data);
	if (r < 0)
		sw_port_free(p->port);
	return r;
}

static void op_port_added(struct fabric_port *p)
{
	struct builtin_fabric *f = builtin_of(p->fabric);

	publish_view(f);
	builtin_recompute(f);
}

/* No worker finds the port any more, however little memory there is: frames for its addresses meet an entry that is
 * forgotten, until the next table is there. */
static void op_port_free(struct fabric_port *base)
{
	struct builtin_fabric *f = builtin_of(base->fabric);
	struct builtin_port *p = builtin_port_of(base);
	struct fdb *fdb = f->sw.fdb;

	for (unsigned int i = 0; i < fdb->slots; i++)
		if (fdb->slot[i].key && fdb->slot[i].port == p->port)
			fdb_forget(fdb, i);
	publish_view(f); /* with a grace period */
	builtin_recompute(f);
	shaper_leave(&p->port->shaper);
	sw_port_free(p->port);
}

static int op_port_set(struct fabric_port *p, bool undo, struct err *err)
{
	(void)undo;
	(void)err;
	builtin_recompute(builtin_of(p->fabric));
	return 0;
}

static void op_port_changed(struct fabric_port *p)
{
	builtin_recompute(builtin_of(p->fabric));
}

static void op_port_get_stats(struct fabric_port *p, struct port_stats *ret)
{
	port_get_stats(builtin_port_of(p)->port, ret);
}

/* Nothing to make: a port of the switch serves queues once it is given some. */
static int op_port_open(struct fabric_port *p, unsigned int queue_pairs, struct err *err)
{
	(void)queue_pairs;
	(void)err;
	p->attach = (struct fabric_attach){.kind = ATTACH_SW_PORT, .sw_port = builtin_port_of(p)->port};
	return 0;
}

static int op_port_close(struct fabric_port *p)
{
	(void)p;
	return 0;
}

struct announcement {
	struct sw_port *port;
	struct announce what;
};

static void send_announcement(struct worker *w, void *arg)
{
	struct announcement *a = arg;
	const struct port_conf *conf = rcu_load(a->port->conf);

	for (unsigned int i = 0; i < a->what.n; i++) {
		struct pkt *p = &w->pkts[0];
		struct vring_seg seg;

		p->hdr = (struct virtio_net_hdr){0};
		pkt_from_buffer(p, &seg, a->what.frame[i].data, a->what.frame[i].len);
		sw_forward(w, a->port, conf, p, 1);
	}
	worker_flush_calls(w);
}

static void op_announce(struct fabric_port *base, const uint8_t *mac)
{
	const struct builtin_port *p = builtin_port_of(base);
	const struct port_conf *conf = p->port->conf;
	struct announcement a = {.port = p->port};
	uint64_t one = mac ? mac_load(mac) : 0;

	if (!conf->link_up)
		return;
	announce_make(&base->settings, mac ? &one : conf->macs, mac ? 1 : conf->n_macs, &a.what);
	if (a.what.n)
		worker_run(worker_pool_pick(p->port->sw->pool), send_announcement, &a);
}

static void op_netdev_changed(struct fabric *base, const char *name, int ifindex, bool carrier, bool gone)
{
	struct builtin_fabric *f = builtin_of(base);
	bool was = f->uplink && f->uplink->carrier, now;

	if (base->settings.uplink == UPLINK_NONE)
		return;
	if (f->uplink && f->uplink->ifindex == ifindex && f->uplink->name[0]) {
		struct ifreq ifr;

		/* A tap that went to another namespace still carries; one that was deleted does not. */
		if (gone && f->uplink->type == UPLINK_TAP &&
		    ioctl(f->uplink->queue[0].fd, TUNGETIFF, &ifr) == 0)
			carrier = true;
		else if (gone)
			replace_uplink(f, NULL);
		if (f->uplink)
			f->uplink->carrier = carrier;
	} else if (!f->uplink && !gone && base->settings.uplink == UPLINK_NETDEV &&
		   !strcmp(name, base->settings.uplink_name)) {
		struct uplink *up;

		/* The netdev is back. */
		if (uplink_open(&base->settings, f->sw.pool->n, &up, NULL) < 0)
			return;
		up->carrier = carrier;
		replace_uplink(f, up);
	} else {
		return;
	}
	now = f->uplink && f->uplink->carrier;
	if (now == was)
		return;
	fabric_tell_uplink(base, now);
	builtin_recompute(f);
}

const struct fabric_ops fabric_builtin = {
	.type = "builtin",
	.size = sizeof(struct builtin_fabric),
	.port_size = sizeof(struct builtin_port),
	.can = op_can,
	.gives = op_gives,
	.init = op_init,
	.set = op_set,
	.free = op_free,
	.get = op_get,
	.fdb = builtin_fdb,
	.netdev_changed = op_netdev_changed,
	.note = builtin_note,
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
