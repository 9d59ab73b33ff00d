/* SPDX-License-Identifier: Apache-2.0 */

#include "fabric/dummy/dummy.h"

#include <assert.h>
#include <string.h>

#define WAITING 64

/* What is to be answered later, the oldest first. */
static struct waiting {
	enum dummy_op op;
	struct fabric *f;
	struct fabric_port *p; /* NULL: the fabric's */
	uint64_t call;
	struct function_settings settings; /* DUMMY_PORT_SET */
	struct filter_policy policy;
	struct fabric_settings fabric; /* DUMMY_SET */
} waiting[WAITING];
static unsigned int n_waiting;

struct dummy_fabric_control dummy_fabric;

void dummy_fabric_reset(void)
{
	assert(!dummy_fabric.fabrics);
	dummy_fabric = (struct dummy_fabric_control){.can = ~CAN_CONTROL, .gives = ATTACH_TAP};
	n_waiting = 0;
}

static const char *op_name(enum dummy_op op)
{
	static const char *const names[DUMMY_OPS] = {
		[DUMMY_INIT] = "make it",      [DUMMY_SET] = "change it",
		[DUMMY_CHECK] = "have that",   [DUMMY_PORT_SET] = "carry it out",
		[DUMMY_PORT_OPEN] = "open it", [DUMMY_PORT_CLOSE] = "close it",
	};

	return names[op];
}

static int refuse(enum dummy_op op, int r, struct err *err)
{
	return err_set(err, -r, NULL, "the dummy would not %s", op_name(op));
}

static void drop(unsigned int i)
{
	memmove(&waiting[i], &waiting[i + 1], (--n_waiting - i) * sizeof(waiting[0]));
}

static void forget(const struct fabric_port *p)
{
	for (unsigned int i = n_waiting; i-- > 0;)
		if (waiting[i].p == p)
			drop(i);
}

/* What `how` says: done, refused, or written down for later. */
static int begin(enum dummy_op op, struct fabric *f, struct fabric_port *p, uint64_t call, struct err *err)
{
	const struct dummy_how *how = &dummy_fabric.how[op];

	dummy_fabric.calls[op]++;
	if (how->when == DUMMY_NOW)
		return how->r < 0 ? refuse(op, how->r, err) : 0;
	if (how->when == DUMMY_LATER) {
		assert(n_waiting < WAITING);
		waiting[n_waiting] = (struct waiting){.op = op, .f = f, .p = p, .call = call};
		if (p) {
			waiting[n_waiting].settings = p->settings;
			waiting[n_waiting].policy = p->policy;
		}
		n_waiting++;
	}
	return ANSWER_LATER;
}

static void take_effect_at_port(struct dummy_port *p, const struct waiting *w)
{
	switch (w->op) {
	case DUMMY_PORT_SET:
		p->applied = w->settings;
		p->policy = w->policy;
		break;
	case DUMMY_PORT_OPEN:
		p->open = true;
		break;
	case DUMMY_PORT_CLOSE:
		p->open = false;
		break;
	case DUMMY_INIT:
	case DUMMY_SET:
	case DUMMY_CHECK:
	case DUMMY_OPS:
		break;
	}
}

static void take_effect(const struct waiting *w)
{
	if (w->p)
		take_effect_at_port(dummy_port_of(w->p), w);
	else if (w->op == DUMMY_SET)
		w->f->settings = w->fabric;
}

bool dummy_fabric_answer(enum dummy_op op, int r)
{
	struct waiting w;
	struct err err = {0};
	unsigned int i = 0;

	while (i < n_waiting && waiting[i].op != op)
		i++;
	if (i == n_waiting)
		return false;
	w = waiting[i];
	drop(i);
	if (r < 0)
		refuse(op, r, &err);
	else
		take_effect(&w);
	if (op == DUMMY_CHECK)
		fabric_check_answer(w.f, w.call, r, &err);
	else if (w.p)
		fabric_port_answer(w.p, w.call, r, &err);
	else
		fabric_answer(w.f, w.call, r, &err);
	return true;
}

struct dummy_port *dummy_port_find(const char *pf, unsigned int fn)
{
	struct dummy_port *p = dummy_fabric.ports;

	while (p && (strcmp(p->base.pf, pf) != 0 || p->base.fn != fn))
		p = p->next;
	return p;
}

void dummy_fabric_answer_port(struct fabric_port *p, uint64_t call, int r)
{
	fabric_port_answer(p, call, r, NULL);
}

static uint32_t op_can(const struct fabric_settings *s)
{
	(void)s;
	return dummy_fabric.can;
}

static uint32_t op_gives(const struct fabric_settings *s)
{
	(void)s;
	return dummy_fabric.gives;
}

static int op_init(struct fabric *f, struct err *err)
{
	int r = begin(DUMMY_INIT, f, NULL, f->call, err);

	if (r >= 0)
		dummy_fabric.fabrics++;
	return r;
}

static int op_set(struct fabric *f, const struct fabric_settings *s, struct err *err)
{
	int r;

	assert(!strcmp(s->name, f->settings.name) && s->type == f->settings.type);
	r = begin(DUMMY_SET, f, NULL, f->call, err);
	if (!r)
		f->settings = *s;
	else if (r == ANSWER_LATER && dummy_fabric.how[DUMMY_SET].when == DUMMY_LATER)
		waiting[n_waiting - 1].fabric = *s;
	return r;
}

static void op_free(struct fabric *f)
{
	assert(!f->n_ports && dummy_fabric.fabrics);
	dummy_fabric.fabrics--;
	for (unsigned int i = n_waiting; i-- > 0;)
		if (waiting[i].f == f)
			drop(i);
}

static int op_check(struct fabric *f, const struct fabric_check *check, uint64_t call, struct err *err)
{
	assert(check->pf && check->settings && check->policy);
	return begin(DUMMY_CHECK, f, NULL, call, err);
}

static void op_get(const struct fabric *f, struct fabric_state *ret, struct port_stats *ret_uplink)
{
	if (ret)
		*ret = (struct fabric_state){.uplink_carrier = true, .ports = f->n_ports};
	if (ret_uplink)
		*ret_uplink = (struct port_stats){0};
}

static void op_fdb(const struct fabric *f, uint32_t now, void (*row)(void *arg, const struct fdb_row *row),
		   void *arg)
{
	(void)now;
	for (unsigned int i = 0; i < f->n_ports; i++) {
		const struct fabric_port *p = f->ports[i];
		struct fdb_row r = {.kind = FDB_PERMANENT, .pf = p->pf, .function = p->fn};

		memcpy(r.mac, p->settings.mac, sizeof(r.mac));
		row(arg, &r);
	}
}

static void op_netdev_changed(struct fabric *f, const char *name, int ifindex, bool carrier, bool gone)
{
	(void)f;
	(void)name;
	(void)ifindex;
	(void)carrier;
	(void)gone;
}

static bool link_of(const struct fabric_port *p)
{
	return fabric_link(p->settings.link, true) && !p->elsewhere;
}

static int op_port_init(struct fabric_port *base, struct counter_file *counters)
{
	struct dummy_port *p = dummy_port_of(base);

	(void)counters;
	assert(base->fabric && base->pf && base->group && !base->uses);
	p->applied = base->settings;
	p->policy = base->policy;
	p->tap_fd = -1;
	p->next = dummy_fabric.ports;
	dummy_fabric.ports = p;
	return 0;
}

static void op_port_added(struct fabric_port *p)
{
	assert(p->fabric->ports[p->fabric->n_ports - 1] == p);
	fabric_tell_link(p, link_of(p));
}

static void op_port_free(struct fabric_port *base)
{
	struct dummy_port **at = &dummy_fabric.ports, *p = dummy_port_of(base);

	for (unsigned int i = 0; i < base->fabric->n_ports; i++)
		assert(base->fabric->ports[i] != base);
	assert(!p->open || (dummy_fabric.how[DUMMY_PORT_CLOSE].when != DUMMY_NOW));
	forget(base);
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
}

/* One thing at a time: what is asked has a number of its own, and what still waited was given up. */
static void check_turn(struct fabric_port *base)
{
	struct dummy_port *p = dummy_port_of(base);

	assert(base->call != p->call);
	p->call = base->call;
	forget(base);
}

static int op_port_set(struct fabric_port *base, bool undo, struct err *err)
{
	struct dummy_port *p = dummy_port_of(base);
	int r = 0;

	check_turn(base);
	if (undo)
		dummy_fabric.undone++;
	else
		r = begin(DUMMY_PORT_SET, base->fabric, base, base->call, err);
	if (r)
		return r;
	p->applied = base->settings;
	p->policy = base->policy;
	fabric_tell_link(base, link_of(base));
	return 0;
}

static void op_port_changed(struct fabric_port *p)
{
	fabric_tell_link(p, link_of(p));
}

static void op_port_get_stats(struct fabric_port *p, struct port_stats *ret)
{
	(void)p;
	*ret = dummy_fabric.stats;
}

/* Nothing that anybody could use: a test's datapath looks at the kind alone. */
static void attach(struct dummy_port *p)
{
	uint32_t kind = dummy_fabric.gives & -dummy_fabric.gives;

	p->base.attach = (struct fabric_attach){.kind = (enum attach_kind)kind};
	if (kind == ATTACH_TAP) {
		p->base.attach.tap.n = 1;
		p->base.attach.tap.fd = &p->tap_fd;
		p->base.attach.tap.name = "dummy";
	}
}

static int op_port_open(struct fabric_port *base, unsigned int queue_pairs, struct err *err)
{
	struct dummy_port *p = dummy_port_of(base);
	int r;

	assert(queue_pairs && !p->open);
	check_turn(base);
	attach(p);
	r = begin(DUMMY_PORT_OPEN, base->fabric, base, base->call, err);
	p->open = !r;
	return r;
}

static int op_port_close(struct fabric_port *base)
{
	struct dummy_port *p = dummy_port_of(base);
	int r;

	check_turn(base);
	r = begin(DUMMY_PORT_CLOSE, base->fabric, base, base->call, NULL);
	if (r <= 0)
		p->open = false;
	return r;
}

static void op_announce(struct fabric_port *p, const uint8_t *mac)
{
	(void)mac;
	assert(p->link_up && !p->elsewhere);
	dummy_fabric.announced++;
}

const struct fabric_ops fabric_dummy = {
	.type = "dummy",
	.size = sizeof(struct fabric),
	.port_size = sizeof(struct dummy_port),
	.can = op_can,
	.gives = op_gives,
	.init = op_init,
	.set = op_set,
	.free = op_free,
	.check = op_check,
	.get = op_get,
	.fdb = op_fdb,
	.netdev_changed = op_netdev_changed,
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
