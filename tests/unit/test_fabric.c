/* SPDX-License-Identifier: Apache-2.0 */

/* Who owns an address, and what follows from settings: claims, conflicts, learning, ageing, link state. No
 * traffic. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "fabric/announce.h"
#include "fabric/builtin/builtin.h"
#include "switch/worker.h"

#define MAX_PORTS 32

struct env {
	struct worker_pool *pool;
	struct builtin_fabric *f;
	struct builtin_port *p[MAX_PORTS];
	unsigned int n;
	/* events */
	unsigned int conflicts, links;
	const struct fabric_port *last;
	uint8_t conflict_mac[6];
};

static void on_conflict(void *ctx, struct fabric_port *p, const uint8_t mac[6])
{
	struct env *e = ctx;

	e->conflicts++;
	e->last = p;
	memcpy(e->conflict_mac, mac, 6);
}

static void on_link(void *ctx, struct fabric_port *p, bool up)
{
	struct env *e = ctx;

	(void)up;
	e->links++;
	e->last = p;
}

static const struct fabric_events events = {.mac_conflict = on_conflict, .link_changed = on_link};

static int setup(void **state)
{
	struct env *e = calloc(1, sizeof(*e));
	struct fabric_settings s;
	struct err err;

	assert_non_null(e);
	assert_int_equal(worker_pool_new(1, 0, NULL, &e->pool, &err), 0);
	fabric_settings_init(&s, "f");
	s.learning = true;
	assert_int_equal(builtin_new(e->pool, &s, &events, e, &e->f, &err), 0);
	*state = e;
	return 0;
}

static int teardown(void **state)
{
	struct env *e = *state;

	while (e->n)
		builtin_port_free(e->p[--e->n]);
	builtin_free(e->f);
	worker_pool_free(e->pool);
	free(e);
	return 0;
}

static void make_mac(uint8_t mac[6], unsigned int n)
{
	memcpy(mac, (uint8_t[6]){2, 0, 0, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n}, 6);
}

static uint64_t mac(unsigned int n)
{
	uint8_t m[6];

	make_mac(m, n);
	return mac_load(m);
}

static struct function_settings settings(unsigned int n)
{
	struct function_settings s;

	function_settings_init(&s);
	make_mac(s.mac, n);
	return s;
}

static struct pf_policy policy(void)
{
	struct pf_settings pf;

	pf_settings_init(&pf, "pf");
	return pf.policy;
}

static struct builtin_port *add(struct env *e, const struct function_settings *s, const struct pf_policy *p)
{
	struct pf_policy usual = policy();

	assert_true(e->n < MAX_PORTS);
	assert_int_equal(builtin_port_add(e->f, "pf", e->n, s, p ? p : &usual, NULL, &e->p[e->n]), 0);
	return e->p[e->n++];
}

static struct builtin_port *add_mac(struct env *e, unsigned int n)
{
	struct function_settings s = settings(n);

	return add(e, &s, NULL);
}

static void set(struct builtin_port *p, const struct function_settings *s)
{
	builtin_port_set(p, s, NULL);
}

static struct builtin_port *owner(const struct env *e, unsigned int n, uint16_t vlan)
{
	struct sw_port *p = fdb_lookup(e->f->sw.fdb, mac(n), vlan);

	return p ? p->owner : NULL;
}

static bool may_send(const struct builtin_port *p, unsigned int n)
{
	const struct port_conf *c = p->port->conf;

	for (unsigned int i = 0; i < c->n_macs; i++)
		if (c->macs[i] == mac(n))
			return true;
	return false;
}

static void filter(struct builtin_port *p, unsigned int main_mac, unsigned int first, unsigned int n)
{
	struct rx_filter f = {.known = true, .unicast_n = n};

	make_mac(f.main_mac, main_mac);
	for (unsigned int i = 0; i < n; i++)
		make_mac(f.unicast[i], first + i);
	builtin_port_filter(p, &f);
}

static void test_permanent(void **state)
{
	struct env *e = *state;
	struct builtin_port *a = add_mac(e, 1), *b = add_mac(e, 2);

	assert_ptr_equal(owner(e, 1, 0), a);
	assert_ptr_equal(owner(e, 2, 0), b);
	assert_null(owner(e, 3, 0));
	assert_null(owner(e, 1, 1));
	assert_true(may_send(a, 1));
	assert_false(may_send(a, 2));
	assert_int_equal(a->port->conf->mac, mac(1));
	builtin_port_free(b);
	e->n--;
	assert_null(owner(e, 2, 0));
	assert_int_equal(e->conflicts, 0);
}

static void test_same_mac(void **state)
{
	struct env *e = *state;
	struct builtin_port *a = add_mac(e, 1), *b = add_mac(e, 1), *c = add_mac(e, 1);

	assert_ptr_equal(owner(e, 1, 0), a);
	assert_false(a->base.mac_conflict);
	assert_true(b->base.mac_conflict && c->base.mac_conflict);
	assert_int_equal(e->conflicts, 2);
	assert_int_equal(mac_load(e->conflict_mac), mac(1));
	assert_false(may_send(b, 1) || may_send(c, 1));
	assert_int_equal(b->port->conf->mac, 0);
	/* Told once, not at each change of something else. */
	builtin_recompute(e->f);
	assert_int_equal(e->conflicts, 2);
	/* The next in line gets it. */
	builtin_port_free(a);
	e->p[0] = b;
	e->p[1] = c;
	e->n = 2;
	assert_ptr_equal(owner(e, 1, 0), b);
	assert_false(b->base.mac_conflict);
	assert_true(c->base.mac_conflict);
	assert_int_equal(e->conflicts, 2);
	assert_true(may_send(b, 1));
}

/* Administrative before permanent before driver's, whoever came first. */
static void test_precedence(void **state)
{
	struct env *e = *state;
	struct function_settings s;
	struct builtin_port *driver = add_mac(e, 1), *permanent, *admin;

	filter(driver, 50, 60, 2);
	assert_ptr_equal(owner(e, 50, 0), driver);
	assert_ptr_equal(owner(e, 60, 0), driver);
	assert_null(owner(e, 1, 0)); /* it has another one now */
	permanent = add_mac(e, 50);
	assert_ptr_equal(owner(e, 50, 0), permanent);
	assert_true(driver->base.mac_conflict);
	assert_false(may_send(driver, 50));
	assert_true(may_send(driver, 60));
	s = settings(3);
	make_mac(s.admin_mac, 50);
	admin = add(e, &s, NULL);
	assert_ptr_equal(owner(e, 50, 0), admin);
	assert_true(permanent->base.mac_conflict && driver->base.mac_conflict);
	assert_false(admin->base.mac_conflict);
	assert_null(owner(e, 3, 0));
	make_mac(s.admin_mac, 60);
	set(admin, &s);
	assert_ptr_equal(owner(e, 50, 0), permanent);
	assert_ptr_equal(owner(e, 60, 0), admin);
	assert_false(may_send(driver, 60));
	/* Its main address is gone too; the second extra one remains. */
	assert_true(may_send(driver, 61));
	/* Back. */
	memset(s.admin_mac, 0, 6);
	set(admin, &s);
	assert_ptr_equal(owner(e, 60, 0), driver);
	assert_ptr_equal(owner(e, 3, 0), admin);
}

static void test_driver_macs(void **state)
{
	struct env *e = *state;
	struct pf_policy p = policy();
	struct function_settings s = settings(1);
	struct builtin_port *a;

	p.max_driver_macs = 3;
	a = add(e, &s, &p);
	filter(a, 1, 100, 10);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(may_send(a, 100 + i), i < 3);
	assert_int_equal(a->port->conf->mac, mac(1));
	/* Group addresses and zero are nobody's. */
	{
		struct rx_filter f = {.known = true,
				      .unicast_n = 3,
				      .unicast = {{0}, {1, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 9}}};

		builtin_port_filter(a, &f);
		assert_int_equal(a->port->conf->n_macs, 2);
		assert_true(may_send(a, 1) && may_send(a, 9));
	}
	p.max_driver_macs = 0;
	builtin_port_set(a, &s, &p);
	filter(a, 1, 100, 10);
	assert_int_equal(a->port->conf->n_macs, 1);
	/* The main address of its own stays a right of the driver. */
	filter(a, 5, 100, 0);
	assert_true(may_send(a, 5));
	p.driver_mac = false;
	builtin_port_set(a, &s, &p);
	assert_false(may_send(a, 5));
	assert_true(may_send(a, 1));
	/* The filter is full: 64 and the main one. */
	p = policy();
	p.max_driver_macs = VPF_MAX_DRIVER_MACS;
	builtin_port_set(a, &s, &p);
	filter(a, 5, 100, VPF_MAX_DRIVER_MACS);
	assert_int_equal(a->port->conf->n_macs, VPF_MAX_DRIVER_MACS + 1);
	/* Repeated ones are one. */
	{
		struct rx_filter f = *a->filter;

		for (unsigned int i = 0; i < f.unicast_n; i++)
			memcpy(f.unicast[i], f.main_mac, 6);
		builtin_port_filter(a, &f);
		assert_false(a->base.mac_conflict);
		assert_int_equal(e->f->sw.fdb->used, 1);
	}
}

/* Once the administrator chose, only a trusted driver may add. */
static void test_admin_and_driver(void **state)
{
	struct env *e = *state;
	struct function_settings s = settings(1);
	struct builtin_port *a;

	make_mac(s.admin_mac, 10);
	a = add(e, &s, NULL);
	filter(a, 20, 30, 2);
	assert_true(may_send(a, 10));
	assert_false(may_send(a, 20) || may_send(a, 30) || may_send(a, 1));
	assert_int_equal(a->port->conf->mac, mac(10));
	s.trust = true;
	set(a, &s);
	assert_true(may_send(a, 10) && may_send(a, 20) && may_send(a, 30) && may_send(a, 31));
	assert_false(may_send(a, 1));
	filter(a, 1, 30, 0); /* back to the permanent one */
	assert_true(may_send(a, 1) && may_send(a, 10));
	filter(a, 10, 30, 0); /* it took the administrator's */
	assert_int_equal(a->port->conf->n_macs, 1);
	assert_false(a->base.mac_conflict);
}

static void test_promiscuous(void **state)
{
	struct env *e = *state;

	for (unsigned int i = 0; i < 16; i++) {
		struct function_settings s = settings(1 + i);
		struct pf_policy p = policy();
		struct rx_filter f = {.known = i & 4, .promiscuous = i & 8};
		struct builtin_port *a;

		s.trust = i & 1;
		p.promisc = i & 2;
		a = add(e, &s, &p);
		builtin_port_filter(a, &f);
		assert_int_equal(a->port->conf->promisc, i == 15);
	}
}

static struct function_settings access_vlan(unsigned int n, uint16_t vid, uint16_t tpid)
{
	struct function_settings s = settings(n);

	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = vid, .tpid = tpid};
	return s;
}

static struct function_settings trunk(unsigned int n, unsigned int from, unsigned int to)
{
	struct function_settings s = settings(n);

	s.vlan = (struct vlan_settings){.mode = VLAN_TRUNK, .tpid = 0x8100};
	for (unsigned int v = from; v <= to; v++)
		s.vlan.trunk[v / 64] |= 1ull << v % 64;
	return s;
}

/* The same address in different VLANs is no conflict. */
static void test_vlans(void **state)
{
	struct env *e = *state;
	struct function_settings s100 = access_vlan(1, 100, 0x8100), s200 = access_vlan(1, 200, 0x8100);
	struct function_settings ad = access_vlan(1, 100, 0x88a8);
	struct builtin_port *a = add_mac(e, 1), *b = add(e, &s100, NULL), *c = add(e, &s200, NULL),
			    *d = add(e, &ad, NULL), *x;

	assert_int_equal(e->conflicts, 0);
	assert_ptr_equal(owner(e, 1, 0), a);
	assert_ptr_equal(owner(e, 1, 100), b);
	assert_ptr_equal(owner(e, 1, 200), c);
	assert_ptr_equal(owner(e, 1, vlan_key(100, 0x88a8)), d);
	assert_true(may_send(a, 1) && may_send(b, 1) && may_send(c, 1) && may_send(d, 1));
	x = add(e, &s100, NULL);
	assert_true(x->base.mac_conflict);
	set(x, &(struct function_settings){
		       .mac = {2, 0, 0, 0, 0, 1}, .mtu = 1500, .vlan = access_vlan(1, 300, 0x8100).vlan});
	assert_false(x->base.mac_conflict);
	assert_ptr_equal(owner(e, 1, 300), x);
}

/* A trunk takes part in many VLANs: an address cannot be its own and an access port's in one of them,
 * whichever was there first. */
static void test_trunk_overlaps(void **state)
{
	struct env *e = *state;
	struct function_settings t = trunk(1, 100, 200), in = access_vlan(1, 150, 0x8100),
				 out = access_vlan(1, 300, 0x8100);
	struct function_settings ad = access_vlan(1, 150, 0x88a8);
	struct builtin_port *a = add(e, &t, NULL), *b = add(e, &in, NULL), *c = add(e, &out, NULL),
			    *d = add(e, &ad, NULL), *x;

	assert_false(a->base.mac_conflict);
	assert_true(b->base.mac_conflict);
	assert_false(c->base.mac_conflict);
	assert_false(d->base.mac_conflict); /* 802.1ad is another kind of VLAN */
	assert_ptr_equal(owner(e, 1, 150), a);
	assert_ptr_equal(owner(e, 1, 300), c);
	/* The other way round. */
	in = access_vlan(2, 150, 0x8100);
	x = add(e, &in, NULL);
	t = trunk(2, 100, 200);
	a = add(e, &t, NULL);
	assert_false(x->base.mac_conflict);
	assert_true(a->base.mac_conflict);
	assert_false(may_send(a, 2));
	assert_ptr_equal(owner(e, 2, 150), x);
	/* And where they do not meet. */
	t = trunk(2, 200, 300);
	set(a, &t);
	assert_false(a->base.mac_conflict);
	assert_true(may_send(a, 2));
	/* The administrator's trunk comes before an access port's own address. */
	t = trunk(9, 100, 200);
	make_mac(t.admin_mac, 2);
	set(a, &t);
	assert_false(a->base.mac_conflict);
	assert_true(x->base.mac_conflict);
	assert_ptr_equal(owner(e, 2, 150), a);
	/* A driver behind a trunk programs an access port's address. */
	t = trunk(9, 100, 200);
	set(a, &t);
	assert_false(x->base.mac_conflict);
	filter(a, 9, 2, 1);
	assert_false(may_send(a, 2));
	assert_true(may_send(a, 9));
	assert_true(may_send(x, 2));
	assert_false(a->base.mac_conflict || x->base.mac_conflict); /* not its main one */
}

/* Whether two ports can be in one VLAN. */
static bool share_vlan(const struct port_conf *a, const struct port_conf *b)
{
	uint64_t any = 0;

	if (a->mode != VLAN_TRUNK && b->mode != VLAN_TRUNK)
		return a->vlan == b->vlan;
	if (a->mode != VLAN_TRUNK)
		return share_vlan(b, a);
	if (b->mode != VLAN_TRUNK)
		return !(b->vlan & VLAN_KEY_AD) && a->trunk[b->vlan / 64] >> b->vlan % 64 & 1;
	for (unsigned int i = 0; i < 64; i++)
		any |= a->trunk[i] & b->trunk[i];
	return any;
}

/* Whatever is set: no two ports that can meet in a VLAN may send from one address, and where one may send, it
 * receives. */
static void test_random_settings(void **state)
{
	struct env *e = *state;
	uint64_t rng = 7;

	for (unsigned int i = 0; i < 12; i++)
		add_mac(e, 1 + i % 6);
	for (unsigned int round = 0; round < 3000; round++) {
		struct builtin_port *p = e->p[round % e->n];
		struct function_settings s;
		unsigned int n;

		rng = rng * 6364136223846793005u + 1442695040888963407u;
		n = 1 + (rng >> 33) % 6;
		switch (rng >> 40 & 3) {
		case 0:
			s = settings(n);
			break;
		case 1:
			s = access_vlan(n, (uint16_t)(1 + (rng >> 45 & 3)), rng >> 50 & 1 ? 0x8100 : 0x88a8);
			break;
		default:
			n = 1 + (rng >> 33) % 6;
			s = trunk(n, (rng >> 45 & 3), (rng >> 45 & 3) + (rng >> 47 & 1));
			break;
		}
		if (rng >> 55 & 1)
			make_mac(s.admin_mac, 1 + (rng >> 56 & 7) % 6);
		s.trust = rng >> 60 & 1;
		set(p, &s);
		if (rng >> 61 & 1)
			filter(p, 1 + (rng >> 20 & 7) % 6, 1 + (rng >> 24 & 7) % 6, 2);
		for (unsigned int i = 0; i < e->n; i++) {
			const struct port_conf *a = e->p[i]->port->conf;

			for (unsigned int m = 0; m < a->n_macs; m++) {
				for (unsigned int k = i + 1; k < e->n; k++) {
					const struct port_conf *b = e->p[k]->port->conf;

					for (unsigned int j = 0; j < b->n_macs; j++)
						if (a->macs[m] == b->macs[j])
							assert_false(share_vlan(a, b));
				}
				for (uint16_t v = 0; v < 6; v++)
					if (a->mode == VLAN_TRUNK ? a->trunk[0] >> v & 1 : a->vlan == v)
						assert_ptr_equal(fdb_lookup(e->f->sw.fdb, a->macs[m], v),
								 e->p[i]->port);
			}
			assert_true(a->n_macs || e->p[i]->base.mac_conflict);
		}
	}
}

/* A function that another switch has claims nothing here, and gets nothing. */
static void test_elsewhere(void **state)
{
	struct env *e = *state;
	struct builtin_port *a = add_mac(e, 1), *b;
	struct function_settings s = settings(1);
	struct fabric_attach attach;
	struct err err;

	b = add(e, &s, NULL);
	filter(a, 1, 20, 1);
	assert_true(b->base.mac_conflict);
	/* A port that is not open, or no more, keeps its place. */
	assert_int_equal(fabric_builtin.port_open(&a->base, 1, &attach, &err), 0);
	assert_ptr_equal(attach.sw_port, a->port);
	fabric_builtin.port_close(&a->base);
	assert_ptr_equal(owner(e, 1, 0), a);
	fabric_builtin.port_elsewhere(&a->base, true);
	assert_ptr_equal(owner(e, 1, 0), b);
	assert_null(owner(e, 20, 0));
	assert_false(b->base.mac_conflict || a->base.mac_conflict || a->port->conf->link_up);
	assert_true(a->base.link_up);
	assert_false(may_send(a, 1));
	filter(a, 1, 30, 1);
	assert_null(owner(e, 30, 0));
	fabric_builtin.port_elsewhere(&a->base, false);
	assert_ptr_equal(owner(e, 1, 0), a);
	assert_ptr_equal(owner(e, 30, 0), a);
	assert_true(b->base.mac_conflict && a->port->conf->link_up);
}

static struct builtin_port *add_learner(struct env *e, unsigned int n)
{
	struct function_settings s = settings(n);

	s.spoofchk = false;
	return add(e, &s, NULL);
}

static void test_learning(void **state)
{
	struct env *e = *state;
	struct builtin_port *a = add_learner(e, 1), *b = add_learner(e, 2), *checked = add_mac(e, 3);
	struct fabric_settings s = e->f->base.settings;
	struct err err;

	assert_true(a->port->conf->learn);
	assert_false(checked->port->conf->learn);
	builtin_learn(e->f, a, mac(100), 0, 1000);
	assert_ptr_equal(owner(e, 100, 0), a);
	assert_int_equal(e->f->learned, 1);
	/* Nobody takes it over: not another's learned one, and not an owned one. */
	builtin_learn(e->f, b, mac(100), 0, 1000);
	assert_ptr_equal(owner(e, 100, 0), a);
	builtin_learn(e->f, b, mac(1), 0, 1000);
	assert_ptr_equal(owner(e, 1, 0), a);
	/* Not from a port that may only use its own, not a group's, not zero. */
	builtin_learn(e->f, checked, mac(101), 0, 1000);
	builtin_learn(e->f, a, 0, 0, 1000);
	builtin_learn(e->f, a, mac_load((uint8_t[6]){3, 0, 0, 0, 0, 1}), 0, 1000);
	assert_int_equal(e->f->learned, 1);
	/* A note from before the port was moved to another VLAN. */
	builtin_learn(e->f, a, mac(102), 55, 1000);
	assert_null(owner(e, 102, 55));
	/* It is more than an address in use: who owns it, gets it. */
	builtin_learn(e->f, a, mac(4), 0, 1000);
	assert_ptr_equal(owner(e, 4, 0), a);
	{
		struct builtin_port *late = add_mac(e, 4);

		assert_ptr_equal(owner(e, 4, 0), late);
		assert_false(late->base.mac_conflict);
	}
	assert_int_equal(e->f->learned, 1);
	/* Learned ones survive other changes, but not spoof check, not another VLAN, not the end of learning.
	 */
	builtin_recompute(e->f);
	assert_ptr_equal(owner(e, 100, 0), a);
	{
		struct function_settings fs = a->base.settings;

		fs.spoofchk = true;
		set(a, &fs);
		assert_null(owner(e, 100, 0));
		fs.spoofchk = false;
		set(a, &fs);
		builtin_learn(e->f, a, mac(100), 0, 1000);
		fs.vlan = access_vlan(1, 5, 0x8100).vlan;
		set(a, &fs);
		assert_null(owner(e, 100, 0));
		builtin_learn(e->f, a, mac(100), 5, 1000);
		assert_ptr_equal(owner(e, 100, 5), a);
	}
	s.learning = false;
	assert_int_equal(builtin_set(e->f, &s, &err), 0);
	assert_null(owner(e, 100, 5));
	assert_int_equal(e->f->learned, 0);
	assert_false(a->port->conf->learn);
	builtin_learn(e->f, a, mac(100), 5, 1000);
	assert_null(owner(e, 100, 5));
}

static void test_learning_in_trunks(void **state)
{
	struct env *e = *state;
	struct function_settings t = trunk(1, 10, 20), in = access_vlan(2, 15, 0x8100);
	struct builtin_port *a, *b;

	t.spoofchk = in.spoofchk = false;
	a = add(e, &t, NULL);
	b = add(e, &in, NULL);
	builtin_learn(e->f, a, mac(100), 12, 1000);
	assert_ptr_equal(owner(e, 100, 12), a);
	assert_null(owner(e, 100, 13));
	builtin_learn(e->f, a, mac(100), 30, 1000);
	assert_null(owner(e, 100, 30));
	/* The trunk owns it in all its VLANs. */
	builtin_learn(e->f, b, mac(1), 15, 1000);
	assert_ptr_equal(owner(e, 1, 15), a);
	/* One VLAN less. */
	t = trunk(1, 13, 20);
	t.spoofchk = false;
	set(a, &t);
	assert_null(owner(e, 100, 12));
	/* What an access port learned gives way to a trunk's own address. */
	builtin_learn(e->f, b, mac(200), 15, 1000);
	assert_ptr_equal(owner(e, 200, 15), b);
	filter(a, 200, 0, 0);
	assert_ptr_equal(owner(e, 200, 15), a);
	assert_false(a->base.mac_conflict);
}

static void test_cap(void **state)
{
	struct env *e = *state;
	struct fabric_settings s = e->f->base.settings;
	struct builtin_port *a, *b;
	struct err err;

	s.max_learned = 50;
	assert_int_equal(builtin_set(e->f, &s, &err), 0);
	a = add_learner(e, 1);
	b = add_learner(e, 2);
	for (unsigned int i = 0; i < 100; i++)
		builtin_learn(e->f, a, mac(1000 + i), 0, 1000);
	assert_int_equal(e->f->learned, 50);
	assert_true(a->port->learn_full);
	assert_null(owner(e, 1050, 0));
	/* The cap is each one's own. */
	builtin_learn(e->f, b, mac(5000), 0, 1000);
	assert_ptr_equal(owner(e, 5000, 0), b);
	assert_false(b->port->learn_full);
	/* Fewer: some are forgotten. */
	s.max_learned = 10;
	assert_int_equal(builtin_set(e->f, &s, &err), 0);
	assert_int_equal(a->port->learned, 10);
	assert_int_equal(e->f->learned, 11);
	/* More than a table was made for: it grows. */
	s.max_learned = 65536;
	assert_int_equal(builtin_set(e->f, &s, &err), 0);
	assert_false(a->port->learn_full);
	for (unsigned int i = 0; i < 20000; i++)
		builtin_learn(e->f, a, mac(10000 + i), 0, 1000);
	for (unsigned int i = 0; i < 20000; i++)
		assert_ptr_equal(owner(e, 10000 + i, 0), a);
	assert_int_equal(e->f->learned, 20011);
	/* Gone with the port. */
	builtin_port_free(a);
	e->p[0] = b;
	e->n = 1;
	assert_null(owner(e, 10000, 0));
	assert_int_equal(e->f->learned, 1);
	assert_ptr_equal(owner(e, 5000, 0), b);
}

static void test_ageing(void **state)
{
	struct env *e = *state;
	struct fabric_settings s = e->f->base.settings;
	struct builtin_port *a = add_learner(e, 1);
	const struct fdb_slot *slot;
	struct err err;

	s.ageing = 100;
	assert_int_equal(builtin_set(e->f, &s, &err), 0);
	builtin_learn(e->f, a, mac(100), 0, 1000);
	builtin_learn(e->f, a, mac(101), 0, 1050);
	builtin_age(e->f, 1099);
	assert_ptr_equal(owner(e, 100, 0), a);
	builtin_age(e->f, 1100);
	assert_null(owner(e, 100, 0));
	assert_ptr_equal(owner(e, 101, 0), a);
	assert_ptr_equal(owner(e, 1, 0), a); /* its own does not age */
	assert_int_equal(e->f->learned, 1);
	/* Seen again, by a worker, whose clock may be a moment ahead of the main thread's. */
	slot = fdb_find(e->f->sw.fdb, mac(101), 0);
	e->f->sw.fdb->meta[slot - e->f->sw.fdb->slot].seen = 1151;
	builtin_age(e->f, 1150);
	assert_ptr_equal(owner(e, 101, 0), a);
	builtin_age(e->f, 1251);
	assert_null(owner(e, 101, 0));
	/* Room again for a full port. */
	s.max_learned = 1;
	assert_int_equal(builtin_set(e->f, &s, &err), 0);
	builtin_learn(e->f, a, mac(102), 0, 2000);
	builtin_learn(e->f, a, mac(103), 0, 2000);
	assert_true(a->port->learn_full);
	builtin_age(e->f, 2100);
	assert_false(a->port->learn_full);
	builtin_learn(e->f, a, mac(103), 0, 2100);
	assert_ptr_equal(owner(e, 103, 0), a);
	/* The clock wraps every 136 years. */
	builtin_age(e->f, 2200);
	builtin_learn(e->f, a, mac(104), 0, UINT32_MAX - 10);
	builtin_age(e->f, 50);
	assert_ptr_equal(owner(e, 104, 0), a);
	builtin_age(e->f, 90);
	assert_null(owner(e, 104, 0));
}

struct rows {
	unsigned int n;
	struct fdb_row row[64];
};

static void on_row(void *arg, const struct fdb_row *row)
{
	struct rows *r = arg;

	assert_true(r->n < ARRAY_SIZE(r->row));
	r->row[r->n++] = *row;
}

static const struct fdb_row *find_row(const struct rows *r, unsigned int n)
{
	for (unsigned int i = 0; i < r->n; i++)
		if (mac_load(r->row[i].mac) == mac(n))
			return &r->row[i];
	fail();
	return NULL;
}

static void test_show(void **state)
{
	struct env *e = *state;
	struct function_settings ad = access_vlan(2, 7, 0x88a8), t = trunk(3, 1, 2);
	struct rows rows = {0};

	add_learner(e, 1);
	make_mac(ad.admin_mac, 9);
	add(e, &ad, NULL);
	add(e, &t, NULL);
	filter(e->p[0], 1, 20, 1);
	builtin_learn(e->f, e->p[0], mac(100), 0, 1000);
	builtin_fdb(e->f, 1007, on_row, &rows);
	assert_int_equal(rows.n, 5);
	assert_int_equal(find_row(&rows, 1)->kind, FDB_PERMANENT);
	assert_int_equal(find_row(&rows, 20)->kind, FDB_DRIVER);
	assert_int_equal(find_row(&rows, 9)->kind, FDB_ADMIN);
	assert_int_equal(find_row(&rows, 9)->vlan, 7);
	assert_int_equal(find_row(&rows, 9)->function, 1);
	assert_int_equal(find_row(&rows, 3)->vlan, -1);
	assert_int_equal(find_row(&rows, 100)->kind, FDB_LEARNED);
	assert_int_equal(find_row(&rows, 100)->age, 7);
	/* Seen "after" now: no age of 136 years. */
	rows.n = 0;
	builtin_fdb(e->f, 999, on_row, &rows);
	assert_int_equal(find_row(&rows, 100)->age, 0);
}

static void test_link(void **state)
{
	struct env *e = *state;
	struct function_settings s = settings(1);
	struct builtin_port *a = add(e, &s, NULL);

	/* Without an uplink, nothing can be wrong with it. */
	assert_true(a->base.link_up && a->port->conf->link_up);
	assert_int_equal(e->links, 1);
	s.link = LINK_DISABLE;
	set(a, &s);
	assert_false(a->base.link_up || a->port->conf->link_up);
	assert_int_equal(e->links, 2);
	set(a, &s);
	assert_int_equal(e->links, 2);
	s.link = LINK_ENABLE;
	set(a, &s);
	assert_true(a->base.link_up && a->port->conf->link_up);
	/* A disabled function keeps its address: nobody else gets its traffic. */
	s.link = LINK_DISABLE;
	set(a, &s);
	assert_ptr_equal(owner(e, 1, 0), a);
}

static void test_by_id(void **state)
{
	struct env *e = *state;
	struct builtin_port *a = add_mac(e, 1);
	uint64_t id = a->port->id;

	assert_ptr_equal(builtin_port_by_id(e->f, id), a);
	builtin_port_free(a);
	e->n = 0;
	assert_null(builtin_port_by_id(e->f, id));
	assert_int_not_equal(add_mac(e, 1)->port->id, id);
}

/* In which VLANs, and how many. */
static void test_announce(void **state)
{
	struct function_settings s;
	struct announce a;
	uint64_t macs[] = {mac(1), mac(2)};
	uint8_t tag[] = {0x81, 0, 0, 5, 0x80, 0x35};

	(void)state;
	function_settings_init(&s);
	announce_make(&s, macs, 2, &a);
	assert_int_equal(a.n, 2);
	assert_int_equal(a.frame[1].len, 60);
	assert_int_equal(mac_load(a.frame[1].data + 6), mac(2));
	assert_memory_equal(a.frame[1].data + 12, tag + 4, 2);
	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 5, .tpid = 0x8100};
	announce_make(&s, macs, 1, &a); /* the tag is the switch's to give */
	assert_int_equal(a.n, 1);
	assert_int_equal(a.frame[0].len, 60);
	s.vlan = (struct vlan_settings){.mode = VLAN_TRUNK, .trunk = {1 | 1 << 5}};
	announce_make(&s, macs, 2, &a);
	assert_int_equal(a.n, 4);
	assert_int_equal(a.frame[2].len, 60);
	assert_int_equal(a.frame[1].len, 64);
	assert_int_equal(a.frame[3].len, 64);
	assert_int_equal(mac_load(a.frame[3].data + 6), mac(2));
	assert_memory_equal(a.frame[3].data + 12, tag, sizeof(tag));
	memset(s.vlan.trunk, 0xff, sizeof(s.vlan.trunk));
	announce_make(&s, macs, 2, &a);
	assert_int_equal(a.n, ANNOUNCE_MAX);
	assert_int_equal(mac_load(a.frame[ANNOUNCE_MAX - 1].data + 6), mac(1));
	announce_make(&s, NULL, 0, &a);
	assert_int_equal(a.n, 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_permanent),
		TEST(test_same_mac),
		TEST(test_precedence),
		TEST(test_driver_macs),
		TEST(test_admin_and_driver),
		TEST(test_promiscuous),
		TEST(test_vlans),
		TEST(test_trunk_overlaps),
		TEST(test_random_settings),
		TEST(test_elsewhere),
		TEST(test_learning),
		TEST(test_learning_in_trunks),
		TEST(test_cap),
		TEST(test_ageing),
		TEST(test_show),
		TEST(test_link),
		TEST(test_by_id),
		TEST(test_announce),
	};

	return cmocka_run_group_tests_name("fabric", tests, NULL, NULL);
}
