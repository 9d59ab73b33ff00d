/* SPDX-License-Identifier: Apache-2.0 */

#include "fabric_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "switch/worker.h"

static void on_conflict(void *ctx, struct fabric_port *p, const uint8_t mac[6])
{
	struct fabric_env *e = ctx;

	e->conflicts++;
	e->last = p;
	memcpy(e->conflict_mac, mac, 6);
}

static void on_link(void *ctx, struct fabric_port *p, bool up)
{
	struct fabric_env *e = ctx;

	(void)up;
	e->links++;
	e->last = p;
}

static const struct fabric_events events = {.mac_conflict = on_conflict, .link_changed = on_link};

int fabric_env_setup(void **state)
{
	struct fabric_env *e = calloc(1, sizeof(*e));
	struct fabric_settings s;
	struct fabric *f;
	struct err err;

	assert_non_null(e);
	assert_int_equal(worker_pool_new(1, 0, NULL, &e->pool, &err), 0);
	fabric_settings_init(&s, "f");
	s.learning = true;
	assert_int_equal(fabric_new(&(struct fabric_config){.pool = e->pool, .events = &events, .ctx = e}, &s,
				    NULL, &f, &err),
			 0);
	e->f = builtin_of(f);
	*state = e;
	return 0;
}

int fabric_env_teardown(void **state)
{
	struct fabric_env *e = *state;

	while (e->n)
		fabric_port_free(&e->p[--e->n]->base);
	fabric_free(&e->f->base);
	worker_pool_free(e->pool);
	free(e);
	return 0;
}

void fabric_env_make_mac(uint8_t mac[6], unsigned int n)
{
	memcpy(mac, (uint8_t[6]){2, 0, 0, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n}, 6);
}

uint64_t fabric_env_mac(unsigned int n)
{
	uint8_t m[6];

	fabric_env_make_mac(m, n);
	return mac_load(m);
}

struct function_settings fabric_env_settings(unsigned int n)
{
	struct function_settings s;

	function_settings_init(&s);
	fabric_env_make_mac(s.mac, n);
	return s;
}

struct function_settings fabric_env_access(unsigned int n, uint16_t vid, uint16_t tpid)
{
	struct function_settings s = fabric_env_settings(n);

	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = vid, .tpid = tpid};
	return s;
}

struct function_settings fabric_env_trunk(unsigned int n, unsigned int from, unsigned int to)
{
	struct function_settings s = fabric_env_settings(n);

	s.vlan = (struct vlan_settings){.mode = VLAN_TRUNK, .tpid = 0x8100};
	for (unsigned int v = from; v <= to; v++)
		s.vlan.trunk[v / 64] |= 1ull << v % 64;
	return s;
}

struct pf_policy fabric_env_policy(void)
{
	struct pf_settings pf;

	pf_settings_init(&pf, "pf");
	return pf.policy;
}

struct builtin_port *fabric_env_add(struct fabric_env *e, const struct function_settings *s,
				    const struct pf_policy *p)
{
	struct pf_policy usual = fabric_env_policy();
	struct fabric_port *port;

	assert_true(e->n < FABRIC_ENV_PORTS);
	assert_int_equal(fabric_port_add(&e->f->base, "pf", e->n, s, p ? p : &usual, NULL, &port), 0);
	e->p[e->n] = builtin_port_of(port);
	return e->p[e->n++];
}

struct builtin_port *fabric_env_add_mac(struct fabric_env *e, unsigned int n)
{
	struct function_settings s = fabric_env_settings(n);

	return fabric_env_add(e, &s, NULL);
}

struct builtin_port *fabric_env_add_learner(struct fabric_env *e, unsigned int n)
{
	struct function_settings s = fabric_env_settings(n);

	s.spoofchk = false;
	return fabric_env_add(e, &s, NULL);
}

void fabric_env_set(struct builtin_port *p, const struct function_settings *s)
{
	assert_int_equal(fabric_port_set(&p->base, s, NULL, NULL, NULL), 0);
}

struct builtin_port *fabric_env_owner(const struct fabric_env *e, unsigned int n, uint16_t vlan)
{
	struct sw_port *p = fdb_lookup(e->f->sw.fdb, fabric_env_mac(n), vlan);

	return p ? p->owner : NULL;
}

bool fabric_env_may_send(const struct builtin_port *p, unsigned int n)
{
	const struct port_conf *c = p->port->conf;

	for (unsigned int i = 0; i < c->n_macs; i++)
		if (c->macs[i] == fabric_env_mac(n))
			return true;
	return false;
}

void fabric_env_filter(struct builtin_port *p, unsigned int main_mac, unsigned int first, unsigned int n)
{
	struct rx_filter f = {.known = true, .unicast_n = n};

	fabric_env_make_mac(f.main_mac, main_mac);
	for (unsigned int i = 0; i < n; i++)
		fabric_env_make_mac(f.unicast[i], first + i);
	fabric_port_filter(&p->base, &f);
}
