/* SPDX-License-Identifier: Apache-2.0 */

#include "fabric/builtin.h"

#include "datapath/control_box.h"

#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

static bool link_of(const struct fabric *f, const struct function_settings *s)
{
	switch (s->link) {
	case LINK_ENABLE:
		return true;
	case LINK_DISABLE:
		return false;
	case LINK_AUTO:
		break;
	}
	return f->settings.uplink == UPLINK_NONE || (f->uplink && f->uplink->carrier);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
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

void builtin_recompute(struct fabric *f)
{
	_cleanup_free_ struct port_conf **old = calloc(f->n + 1, sizeof(*old));
	struct fdb *fdb, *old_fdb;
	unsigned int n_old = 0;

	/* Without memory everything stays as it was published last: consistent, if late. The next change
	 * tries again. */
	if (!old || claims_build_fdb(f, &fdb) < 0)
		return;
	for (unsigned int i = 0; i < f->n; i++) {
		struct fabric_port *p = f->ports[i];
		bool up = link_of(f, &p->settings), was = p->link_up;
		struct port_conf *c;

		p->link_up = up;
		c = claims_port_conf(p, fdb);
		if (c && conf_equal(c, p->port->conf)) {
			free(c);
		} else if (c) {
			old[n_old] = rcu_xchg_pointer(&p->port->conf, c);
			if (!rate_equal(&old[n_old]->rate, &c->rate)) {
				shaper_changed(&p->port->shaper, &old[n_old]->rate, &c->rate, now_ns());
				f->rates_changed = true;
			}
			n_old++;
		}
		if (up != was && f->events && f->events->link_changed)
			f->events->link_changed(f->ctx, p, up);
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
static int publish_view(struct fabric *f)
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
static void replace_uplink(struct fabric *f, struct uplink *up)
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

static int new_uplink_port(struct fabric *f)
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
		void *ctx, struct fabric **ret, struct err *err)
{
	struct fabric *f = calloc(1, sizeof(*f));
	struct uplink *up = NULL;
	int r;

	if (!f || sw_init(&f->sw, pool) < 0) {
		free(f);
		return err_set(err, ENOMEM, NULL, "not enough memory for a fabric");
	}
	f->settings = *s;
	f->events = events;
	f->ctx = ctx;
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

int builtin_set(struct fabric *f, const struct fabric_settings *s, struct err *err)
{
	bool same = s->uplink == f->settings.uplink && !strcmp(s->uplink_name, f->settings.uplink_name) &&
		    (f->uplink || s->uplink == UPLINK_NONE);
	struct uplink *up = NULL;

	if (!same && s->uplink != UPLINK_NONE) {
		int r = uplink_open(s, f->sw.pool->n, &up, err);

		if (r < 0)
			return r;
	}
	f->settings = *s;
	if (!same)
		replace_uplink(f, up);
	builtin_recompute(f);
	return 0;
}

void builtin_free(struct fabric *f)
{
	if (!f)
		return;
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
static int join_pool(struct fabric *f, struct fabric_port *p)
{
	struct shaper_pool *pool = NULL;
	int r = 0;

	for (unsigned int i = 0; i < f->n && !pool; i++)
		if (!strcmp(f->ports[i]->pf, p->pf))
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

static void leave_pool(struct fabric *f, struct fabric_port *p)
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

static void set_policy(struct fabric_port *p, const struct pf_policy *policy)
{
	p->policy = (struct port_policy){.driver_mac = policy->driver_mac,
					 .promisc = policy->promisc,
					 .max_driver_macs = policy->max_driver_macs};
	if (shaper_pool_set(p->port->shaper.pool, policy->max_rate_total, now_ns()))
		p->fabric->rates_changed = true;
}

static void free_port(struct fabric_port *p)
{
	leave_pool(p->fabric, p);
	sw_port_free(p->port);
	free(p->filter);
	free(p);
}

int builtin_port_add(struct fabric *f, const char *pf, unsigned int fn, const struct function_settings *s,
		     const struct pf_policy *policy, struct counter_file *counters, struct fabric_port **ret)
{
	struct fabric_port *p;
	struct port_conf *conf;
	int r;

	if (f->n == f->room) {
		unsigned int room = f->room ? 2 * f->room : 16;
		struct fabric_port **ports = realloc(f->ports, room * sizeof(struct fabric_port *));

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
	p->fabric = f;
	p->pf = pf;
	p->fn = fn;
	p->settings = *s;
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

void builtin_port_set(struct fabric_port *p, const struct function_settings *s,
		      const struct pf_policy *policy)
{
	p->settings = *s;
	if (policy)
		set_policy(p, policy);
	builtin_recompute(p->fabric);
}

void builtin_port_filter(struct fabric_port *p, const struct rx_filter *filter)
{
	/* Without memory it stays as it was: QEMU tells all of it again with the next change. */
	if (!p->filter)
		p->filter = malloc(sizeof(*p->filter));
	if (!p->filter)
		return;
	*p->filter = *filter;
	builtin_recompute(p->fabric);
}

void builtin_port_free(struct fabric_port *p)
{
	struct fabric *f;
	unsigned int i;

	if (!p)
		return;
	f = p->fabric;
	for (i = 0; f->ports[i] != p; i++)
		;
	memmove(&f->ports[i], &f->ports[i + 1], (f->n - i - 1) * sizeof(struct fabric_port *));
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

struct fabric_port *builtin_port_by_id(struct fabric *f, uint64_t port_id)
{
	for (unsigned int i = 0; i < f->n; i++)
		if (f->ports[i]->port->id == port_id)
			return f->ports[i];
	return NULL;
}

void builtin_netdev_changed(struct fabric *f, const char *name, int ifindex, bool carrier, bool gone)
{
	bool was = f->uplink && f->uplink->carrier, now;

	if (f->settings.uplink == UPLINK_NONE)
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
	} else if (!f->uplink && !gone && f->settings.uplink == UPLINK_NETDEV &&
		   !strcmp(name, f->settings.uplink_name)) {
		struct uplink *up;

		/* The netdev is back. */
		if (uplink_open(&f->settings, f->sw.pool->n, &up, NULL) < 0)
			return;
		up->carrier = carrier;
		replace_uplink(f, up);
	} else {
		return;
	}
	now = f->uplink && f->uplink->carrier;
	if (now == was)
		return;
	if (f->events && f->events->uplink_changed)
		f->events->uplink_changed(f->ctx, f, now);
	builtin_recompute(f);
}

void builtin_learn(struct fabric *f, struct fabric_port *p, uint64_t mac, uint16_t vlan, uint32_t now)
{
	int r;

	/* The note may be older than the last change of settings. */
	if (!claims_may_learn(f, f->sw.fdb, p, mac, vlan))
		return;
	if (p->port->learned >= f->settings.max_learned) {
		__atomic_store_n(&p->port->learn_full, true, __ATOMIC_RELAXED);
		return;
	}
	r = fdb_add(f->sw.fdb, mac, vlan, p->port, FDB_LEARNED, now);
	if (r == -ENOSPC) {
		builtin_recompute(f); /* a larger table */
		r = fdb_add(f->sw.fdb, mac, vlan, p->port, FDB_LEARNED, now);
	}
	if (!r) {
		p->port->learned++;
		f->learned++;
	}
}

/* Seconds since an address was seen; 0 if a worker saw it after `now` was read. */
static uint32_t age_of(const struct fdb_meta *meta, uint32_t now)
{
	int32_t age = (int32_t)(now - __atomic_load_n(&meta->seen, __ATOMIC_RELAXED));

	return age < 0 ? 0 : (uint32_t)age;
}

void builtin_age(struct fabric *f, uint32_t now)
{
	struct fdb *fdb = f->sw.fdb;
	bool any = false;

	for (unsigned int i = 0; i < fdb->slots; i++) {
		if (!fdb->slot[i].key || fdb->meta[i].kind != FDB_LEARNED)
			continue;
		if (age_of(&fdb->meta[i], now) >= f->settings.ageing) {
			fdb->meta[i].kind =
				FDB_PERMANENT; /* claims_build_fdb() takes over learned ones only */
			any = true;
		}
	}
	if (any)
		builtin_recompute(f);
}

void builtin_fdb(const struct fabric *f, uint32_t now, void (*row)(void *arg, const struct fdb_row *row),
		 void *arg)
{
	const struct fdb *fdb = f->sw.fdb;

	for (unsigned int i = 0; i < fdb->slots; i++) {
		uint16_t vlan = FDB_KEY_VLAN(fdb->slot[i].key);
		const struct fabric_port *p;
		struct fdb_row r = {.vlan = vlan == VLAN_KEY_ANY ? -1 : vlan & 0xfff,
				    .kind = fdb->meta[i].kind};

		if (!fdb->slot[i].key)
			continue;
		p = fdb->slot[i].port->owner;
		mac_store(r.mac, FDB_KEY_MAC(fdb->slot[i].key));
		r.pf = p->pf;
		r.function = p->fn;
		if (r.kind == FDB_LEARNED)
			r.age = age_of(&fdb->meta[i], now);
		row(arg, &r);
	}
}
