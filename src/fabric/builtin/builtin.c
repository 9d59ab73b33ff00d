/* SPDX-License-Identifier: Apache-2.0 */

#include "fabric/builtin/builtin.h"

#include "switch/control_box.h"
#include "util/clock.h"

#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

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
	_cleanup_free_ struct port_conf **old = calloc(f->n + 1, sizeof(*old));
	struct fdb *fdb, *old_fdb;
	unsigned int n_old = 0;

	/* Without memory everything stays as it was published last: consistent, if late. The next change
	 * tries again. */
	if (!old || builtin_build_fdb(f, &fdb) < 0)
		return;
	for (unsigned int i = 0; i < f->n; i++) {
		struct builtin_port *p = f->ports[i];
		bool up = link_of(f, &p->base.settings), was = p->base.link_up;
		struct port_conf *c;

		p->base.link_up = up;
		c = builtin_port_conf(p, fdb);
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
		if (up != was && f->base.events && f->base.events->link_changed)
			f->base.events->link_changed(f->base.ctx, &p->base, up);
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

/* Publishes the list of ports. */
static int publish_view(struct builtin_fabric *f)
{
	struct sw_view *view = calloc(1, sizeof(*view) + (f->n + 1) * sizeof(view->port[0]));

	if (!view)
		return -ENOMEM;
	view->uplink = f->uplink ? f->uplink_port : NULL;
	for (unsigned int i = 0; i < f->n; i++)
		view->port[view->n++] = f->ports[i]->port;
	sw_set_view(&f->sw, view);
	return 0;
}

/* Puts `up` (may be NULL) in place of the uplink. The counters go on. */
static void replace_uplink(struct builtin_fabric *f, struct uplink *up)
{
	struct uplink *old = f->uplink;

	if (old)
		uplink_stop(old, f->sw.pool);
	f->uplink = NULL;
	(void)publish_view(f); /* without memory the old list stays, and with it the port, whose sends fail */
	if (up)
		up->port = f->uplink_port;
	(void)rcu_xchg_pointer(&f->uplink_port->uplink, up);
	urcu_qsbr_synchronize_rcu(); /* nobody sends through the old one any more */
	f->uplink = up;
	if (up) {
		(void)publish_view(f);
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

int builtin_new(struct worker_pool *pool, const struct fabric_settings *s, const struct fabric_events *events,
		void *ctx, struct builtin_fabric **ret, struct err *err)
{
	struct builtin_fabric *f = calloc(1, sizeof(*f));
	struct uplink *up = NULL;
	int r;

	if (!f || sw_init(&f->sw, pool) < 0) {
		free(f);
		return err_set(err, ENOMEM, NULL, "not enough memory for a fabric");
	}
	f->base.ops = &fabric_builtin;
	f->base.pool = pool;
	f->base.settings = *s;
	f->base.events = events;
	f->base.ctx = ctx;
	r = new_uplink_port(f);
	if (r < 0)
		err_set(err, -r, NULL, "not enough memory for a fabric");
	else if (s->uplink != UPLINK_NONE)
		r = uplink_open(s, pool->n, &up, err);
	if (r < 0) {
		builtin_free(f);
		return r;
	}
	if (up)
		replace_uplink(f, up);
	*ret = f;
	return 0;
}

int builtin_set(struct builtin_fabric *f, const struct fabric_settings *s, struct err *err)
{
	bool same = s->uplink == f->base.settings.uplink &&
		    !strcmp(s->uplink_name, f->base.settings.uplink_name) &&
		    (f->uplink || s->uplink == UPLINK_NONE);
	struct uplink *up = NULL;

	if (!same && s->uplink != UPLINK_NONE) {
		int r = uplink_open(s, f->sw.pool->n, &up, err);

		if (r < 0)
			return r;
	}
	f->base.settings = *s;
	if (!same)
		replace_uplink(f, up);
	builtin_recompute(f);
	return 0;
}

void builtin_free(struct builtin_fabric *f)
{
	if (!f)
		return;
	sd_event_source_disable_unref(f->age_timer);
	if (f->uplink) {
		uplink_stop(f->uplink, f->sw.pool);
		urcu_qsbr_synchronize_rcu();
		uplink_close(f->uplink);
	}
	sw_port_free(f->uplink_port);
	sw_fini(&f->sw);
	free(f->ports);
	free(f);
}

/* What the functions of a PF share; a new one for the first. */
static int join_pool(struct builtin_fabric *f, struct builtin_port *p)
{
	struct shaper_pool *pool = NULL;
	int r = 0;

	for (unsigned int i = 0; i < f->n && !pool; i++)
		if (!strcmp(f->ports[i]->base.pf, p->base.pf))
			pool = f->ports[i]->port->shaper.pool;
	if (pool)
		return shaper_join(&p->port->shaper, pool);
	r = shaper_pool_new(&pool);
	if (r < 0)
		return r;
	r = shaper_join(&p->port->shaper, pool);
	if (r < 0)
		shaper_pool_free(pool);
	return r;
}

static void leave_pool(struct builtin_fabric *f, struct builtin_port *p)
{
	struct shaper_pool *pool = p->port->shaper.pool;

	if (!pool)
		return;
	shaper_leave(&p->port->shaper);
	for (unsigned int i = 0; i < f->n; i++)
		if (f->ports[i]->port->shaper.pool == pool)
			return;
	shaper_pool_free(pool);
}

static void set_policy(struct builtin_port *p, const struct pf_policy *policy)
{
	p->policy = (struct port_policy){.driver_mac = policy->driver_mac,
					 .promisc = policy->promisc,
					 .max_driver_macs = policy->max_driver_macs};
	if (shaper_pool_set(p->port->shaper.pool, policy->max_rate_total, clock_ns()))
		builtin_of(p)->rates_changed = true;
}

static void free_port(struct builtin_port *p)
{
	leave_pool(builtin_of(p), p);
	sw_port_free(p->port);
	free(p->filter);
	free(p);
}

int builtin_port_add(struct builtin_fabric *f, const char *pf, unsigned int fn,
		     const struct function_settings *s, const struct pf_policy *policy,
		     struct counter_file *counters, struct builtin_port **ret)
{
	struct builtin_port *p;
	struct port_conf *conf;
	int r;

	if (f->n == f->room) {
		unsigned int room = f->room ? 2 * f->room : 16;
		struct builtin_port **ports = realloc(f->ports, room * sizeof(struct builtin_port *));

		if (!ports)
			return -ENOMEM;
		f->ports = ports;
		f->room = room;
	}
	p = calloc(1, sizeof(*p));
	conf = calloc(1, sizeof(*conf)); /* link down until builtin_recompute() */
	r = p && conf ? sw_port_new(&f->sw, PORT_FUNCTION, conf, counters, fn, &p->port) : -ENOMEM;
	if (r < 0) {
		free(conf);
		free(p);
		return r;
	}
	p->base.fabric = &f->base;
	p->base.pf = pf;
	p->base.fn = fn;
	p->base.settings = *s;
	p->port->owner = p;
	r = join_pool(f, p);
	if (!r && fn == VPF_FUNCTION_PF)
		r = control_box_new(f->sw.pool, &p->port->control);
	if (r < 0) {
		free_port(p);
		return r;
	}
	set_policy(p, policy);
	f->ports[f->n++] = p;
	r = publish_view(f);
	if (r < 0) {
		f->n--;
		free_port(p);
		return r;
	}
	builtin_recompute(f);
	*ret = p;
	return 0;
}

void builtin_port_set(struct builtin_port *p, const struct function_settings *s,
		      const struct pf_policy *policy)
{
	p->base.settings = *s;
	if (policy)
		set_policy(p, policy);
	builtin_recompute(builtin_of(p));
}

void builtin_port_filter(struct builtin_port *p, const struct rx_filter *filter)
{
	/* Without memory it stays as it was: QEMU tells all of it again with the next change. */
	if (!p->filter)
		p->filter = malloc(sizeof(*p->filter));
	if (!p->filter)
		return;
	*p->filter = *filter;
	builtin_recompute(builtin_of(p));
}

void builtin_port_free(struct builtin_port *p)
{
	struct builtin_fabric *f;
	unsigned int i;

	if (!p)
		return;
	f = builtin_of(p);
	for (i = 0; f->ports[i] != p; i++)
		;
	memmove(&f->ports[i], &f->ports[i + 1], (f->n - i - 1) * sizeof(struct builtin_port *));
	f->n--;
	/* Its learned addresses go with it; until the new table is out, frames to them meet a port without
	 * queues. */
	for (i = 0; i < f->sw.fdb->slots; i++)
		if (f->sw.fdb->slot[i].port == p->port)
			f->sw.fdb->meta[i].kind = FDB_PERMANENT;
	while (publish_view(f) < 0) /* must not fail: somebody would keep a pointer to the port */
		usleep(1000);
	for (;;) {
		const struct fdb *before = f->sw.fdb;

		builtin_recompute(f);
		if (f->sw.fdb != before)
			break;
		usleep(1000);
	}
	free_port(p);
}

void builtin_port_elsewhere(struct builtin_port *p, bool elsewhere)
{
	if (p->base.elsewhere == elsewhere)
		return;
	p->base.elsewhere = elsewhere;
	builtin_recompute(builtin_of(p));
}

struct builtin_port *builtin_port_by_id(struct builtin_fabric *f, uint64_t port_id)
{
	for (unsigned int i = 0; i < f->n; i++)
		if (f->ports[i]->port->id == port_id)
			return f->ports[i];
	return NULL;
}

void builtin_netdev_changed(struct builtin_fabric *f, const char *name, int ifindex, bool carrier, bool gone)
{
	bool was = f->uplink && f->uplink->carrier, now;

	if (f->base.settings.uplink == UPLINK_NONE)
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
	} else if (!f->uplink && !gone && f->base.settings.uplink == UPLINK_NETDEV &&
		   !strcmp(name, f->base.settings.uplink_name)) {
		struct uplink *up;

		/* The netdev is back. */
		if (uplink_open(&f->base.settings, f->sw.pool->n, &up, NULL) < 0)
			return;
		up->carrier = carrier;
		replace_uplink(f, up);
	} else {
		return;
	}
	now = f->uplink && f->uplink->carrier;
	if (now == was)
		return;
	if (f->base.events && f->base.events->uplink_changed)
		f->base.events->uplink_changed(f->base.ctx, &f->base, now);
	builtin_recompute(f);
}
