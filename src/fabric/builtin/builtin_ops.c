/* SPDX-License-Identifier: Apache-2.0 */

/* The builtin fabric behind the interface of all fabrics. */

#include "fabric/builtin/builtin.h"

#include <string.h>

#include "fabric/announce.h"
#include "switch/worker.h"

static struct builtin_fabric *of_fabric(const struct fabric *f)
{
	return container_of(f, struct builtin_fabric, base);
}

static struct builtin_port *of_port(const struct fabric_port *p)
{
	return container_of(p, struct builtin_port, base);
}

static uint32_t op_can(const struct fabric_settings *s)
{
	(void)s;
	return CAN_ADMIN_MAC | CAN_VLAN | CAN_VLAN_PCP | CAN_VLAN_AD | CAN_TRUNK | CAN_SPOOFCHK |
	       CAN_NO_SPOOFCHK | CAN_TRUST | CAN_MAX_RATE | CAN_MIN_RATE | CAN_TOTAL_RATE | CAN_LINK |
	       CAN_STATS | CAN_CONTROL;
}

static int op_new(struct sd_event *event, struct worker_pool *pool, const struct fabric_settings *s,
		  const struct fabric_events *events, void *ctx, struct fabric **ret, struct err *err)
{
	struct builtin_fabric *f;
	int r = builtin_new(pool, s, events, ctx, &f, err);

	if (r < 0)
		return r;
	r = builtin_start_ageing(f, event);
	if (r < 0) {
		builtin_free(f);
		return err_set(err, -r, NULL, "cannot set up the event loop: %s", strerror(-r));
	}
	*ret = &f->base;
	return 0;
}

static int op_set(struct fabric *f, const struct fabric_settings *s, struct err *err)
{
	int r = builtin_set(of_fabric(f), s, err);

	if (!r)
		builtin_arm_ageing(of_fabric(f));
	return r;
}

static void op_free(struct fabric *f)
{
	builtin_free(f ? of_fabric(f) : NULL);
}

static void op_get(const struct fabric *base, struct fabric_state *ret, struct port_stats *ret_uplink)
{
	const struct builtin_fabric *f = of_fabric(base);

	if (ret)
		*ret = (struct fabric_state){
			.uplink_carrier = f->uplink && f->uplink->carrier,
			.ports = f->n,
			.fdb_entries = f->sw.fdb->used,
			.fdb_learned = f->learned,
		};
	if (ret_uplink)
		port_get_stats(f->uplink_port, ret_uplink);
}

static void op_fdb(const struct fabric *f, uint32_t now, void (*row)(void *arg, const struct fdb_row *row),
		   void *arg)
{
	builtin_fdb(of_fabric(f), now, row, arg);
}

static void op_netdev_changed(struct fabric *f, const char *name, int ifindex, bool carrier, bool gone)
{
	builtin_netdev_changed(of_fabric(f), name, ifindex, carrier, gone);
}

static int op_port_add(struct fabric *f, const char *pf, unsigned int fn, const struct function_settings *s,
		       const struct pf_policy *policy, struct counter_file *counters,
		       struct fabric_port **ret)
{
	struct builtin_port *p;
	int r = builtin_port_add(of_fabric(f), pf, fn, s, policy, counters, &p);

	if (r < 0)
		return r;
	*ret = &p->base;
	return 0;
}

static void op_port_free(struct fabric_port *p)
{
	builtin_port_free(p ? of_port(p) : NULL);
}

static void op_port_set(struct fabric_port *p, const struct function_settings *s,
			const struct pf_policy *policy)
{
	builtin_port_set(of_port(p), s, policy);
}

static void op_port_filter(struct fabric_port *p, const struct rx_filter *filter)
{
	builtin_port_filter(of_port(p), filter);
}

static const struct rx_filter *op_port_get_filter(const struct fabric_port *p)
{
	return of_port(p)->filter;
}

static void op_port_get_stats(const struct fabric_port *p, struct port_stats *ret)
{
	port_get_stats(of_port(p)->port, ret);
}

/* Nothing to make: a port of the switch serves queues once it is given some. */
static int op_port_open(struct fabric_port *p, unsigned int queue_pairs, struct fabric_attach *ret,
			struct err *err)
{
	(void)queue_pairs;
	(void)err;
	p->open++;
	*ret = (struct fabric_attach){.sw_port = of_port(p)->port};
	return 0;
}

static void op_port_close(struct fabric_port *p)
{
	p->open--;
}

static void op_port_elsewhere(struct fabric_port *p, bool elsewhere)
{
	builtin_port_elsewhere(of_port(p), elsewhere);
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
	struct builtin_port *p = of_port(base);
	const struct port_conf *conf = p->port->conf;
	struct announcement a = {.port = p->port};
	uint64_t one = mac ? mac_load(mac) : 0;

	if (!conf->link_up || base->elsewhere)
		return;
	announce_make(&base->settings, mac ? &one : conf->macs, mac ? 1 : conf->n_macs, &a.what);
	if (a.what.n)
		worker_run(worker_pool_pick(p->port->sw->pool), send_announcement, &a);
}

struct sw_port *builtin_sw_port(const struct fabric_port *p)
{
	return p->fabric->ops == &fabric_builtin ? of_port(p)->port : NULL;
}

const struct fabric_ops fabric_builtin = {
	.type = "builtin",
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
