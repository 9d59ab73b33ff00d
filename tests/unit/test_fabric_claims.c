/* SPDX-License-Identifier: Apache-2.0 */

/* Who owns an address: claims and conflicts. No traffic. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "fabric_env.h"

static void test_permanent(void **state)
{
	struct fabric_env *e = *state;
	struct builtin_port *a = fabric_env_add_mac(e, 1), *b = fabric_env_add_mac(e, 2);

	assert_ptr_equal(fabric_env_owner(e, 1, 0), a);
	assert_ptr_equal(fabric_env_owner(e, 2, 0), b);
	assert_null(fabric_env_owner(e, 3, 0));
	assert_null(fabric_env_owner(e, 1, 1));
	assert_true(fabric_env_may_send(a, 1));
	assert_false(fabric_env_may_send(a, 2));
	assert_int_equal(a->port->conf->mac, fabric_env_mac(1));
	fabric_port_free(&b->base);
	e->n--;
	assert_null(fabric_env_owner(e, 2, 0));
	assert_int_equal(e->conflicts, 0);
}

static void test_same_mac(void **state)
{
	struct fabric_env *e = *state;
	struct builtin_port *a = fabric_env_add_mac(e, 1), *b = fabric_env_add_mac(e, 1),
			    *c = fabric_env_add_mac(e, 1);

	assert_ptr_equal(fabric_env_owner(e, 1, 0), a);
	assert_false(a->base.mac_conflict);
	assert_true(b->base.mac_conflict && c->base.mac_conflict);
	assert_int_equal(e->conflicts, 2);
	assert_int_equal(mac_load(e->conflict_mac), fabric_env_mac(1));
	assert_false(fabric_env_may_send(b, 1) || fabric_env_may_send(c, 1));
	assert_int_equal(b->port->conf->mac, 0);
	/* Told once, not at each change of something else. */
	builtin_recompute(e->f);
	assert_int_equal(e->conflicts, 2);
	/* The next in line gets it. */
	fabric_port_free(&a->base);
	e->p[0] = b;
	e->p[1] = c;
	e->n = 2;
	assert_ptr_equal(fabric_env_owner(e, 1, 0), b);
	assert_false(b->base.mac_conflict);
	assert_true(c->base.mac_conflict);
	assert_int_equal(e->conflicts, 2);
	assert_true(fabric_env_may_send(b, 1));
}

/* Administrative before permanent before driver's, whoever came first. */
static void test_precedence(void **state)
{
	struct fabric_env *e = *state;
	struct function_settings s;
	struct builtin_port *driver = fabric_env_add_mac(e, 1), *permanent, *admin;

	fabric_env_filter(driver, 50, 60, 2);
	assert_ptr_equal(fabric_env_owner(e, 50, 0), driver);
	assert_ptr_equal(fabric_env_owner(e, 60, 0), driver);
	assert_null(fabric_env_owner(e, 1, 0)); /* it has another one now */
	permanent = fabric_env_add_mac(e, 50);
	assert_ptr_equal(fabric_env_owner(e, 50, 0), permanent);
	assert_true(driver->base.mac_conflict);
	assert_false(fabric_env_may_send(driver, 50));
	assert_true(fabric_env_may_send(driver, 60));
	s = fabric_env_settings(3);
	fabric_env_make_mac(s.admin_mac, 50);
	admin = fabric_env_add(e, &s, NULL);
	assert_ptr_equal(fabric_env_owner(e, 50, 0), admin);
	assert_true(permanent->base.mac_conflict && driver->base.mac_conflict);
	assert_false(admin->base.mac_conflict);
	assert_null(fabric_env_owner(e, 3, 0));
	fabric_env_make_mac(s.admin_mac, 60);
	fabric_env_set(admin, &s);
	assert_ptr_equal(fabric_env_owner(e, 50, 0), permanent);
	assert_ptr_equal(fabric_env_owner(e, 60, 0), admin);
	assert_false(fabric_env_may_send(driver, 60));
	/* Its main address is gone too; the second extra one remains. */
	assert_true(fabric_env_may_send(driver, 61));
	/* Back. */
	memset(s.admin_mac, 0, 6);
	fabric_env_set(admin, &s);
	assert_ptr_equal(fabric_env_owner(e, 60, 0), driver);
	assert_ptr_equal(fabric_env_owner(e, 3, 0), admin);
}

static void test_driver_macs(void **state)
{
	struct fabric_env *e = *state;
	struct pf_policy p = fabric_env_policy();
	struct function_settings s = fabric_env_settings(1);
	struct builtin_port *a;

	p.max_driver_macs = 3;
	a = fabric_env_add(e, &s, &p);
	fabric_env_filter(a, 1, 100, 10);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(fabric_env_may_send(a, 100 + i), i < 3);
	assert_int_equal(a->port->conf->mac, fabric_env_mac(1));
	/* Group addresses and zero are nobody's. */
	{
		struct rx_filter f = {.known = true,
				      .unicast_n = 3,
				      .unicast = {{0}, {1, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 9}}};

		fabric_port_filter(&a->base, &f);
		assert_int_equal(a->port->conf->n_macs, 2);
		assert_true(fabric_env_may_send(a, 1) && fabric_env_may_send(a, 9));
	}
	p.max_driver_macs = 0;
	assert_int_equal(fabric_port_set(&a->base, &s, &p, NULL, NULL), 0);
	fabric_env_filter(a, 1, 100, 10);
	assert_int_equal(a->port->conf->n_macs, 1);
	/* The main address of its own stays a right of the driver. */
	fabric_env_filter(a, 5, 100, 0);
	assert_true(fabric_env_may_send(a, 5));
	p.driver_mac = false;
	assert_int_equal(fabric_port_set(&a->base, &s, &p, NULL, NULL), 0);
	assert_false(fabric_env_may_send(a, 5));
	assert_true(fabric_env_may_send(a, 1));
	/* The filter is full: 64 and the main one. */
	p = fabric_env_policy();
	p.max_driver_macs = VPF_MAX_DRIVER_MACS;
	assert_int_equal(fabric_port_set(&a->base, &s, &p, NULL, NULL), 0);
	fabric_env_filter(a, 5, 100, VPF_MAX_DRIVER_MACS);
	assert_int_equal(a->port->conf->n_macs, VPF_MAX_DRIVER_MACS + 1);
	/* Repeated ones are one. */
	{
		struct rx_filter f = *a->base.filter;

		for (unsigned int i = 0; i < f.unicast_n; i++)
			memcpy(f.unicast[i], f.main_mac, 6);
		fabric_port_filter(&a->base, &f);
		assert_false(a->base.mac_conflict);
		assert_int_equal(e->f->sw.fdb->used, 1);
	}
}

/* Once the administrator chose, only a trusted driver may add. */
static void test_admin_and_driver(void **state)
{
	struct fabric_env *e = *state;
	struct function_settings s = fabric_env_settings(1);
	struct builtin_port *a;

	fabric_env_make_mac(s.admin_mac, 10);
	a = fabric_env_add(e, &s, NULL);
	fabric_env_filter(a, 20, 30, 2);
	assert_true(fabric_env_may_send(a, 10));
	assert_false(fabric_env_may_send(a, 20) || fabric_env_may_send(a, 30) || fabric_env_may_send(a, 1));
	assert_int_equal(a->port->conf->mac, fabric_env_mac(10));
	s.trust = true;
	fabric_env_set(a, &s);
	assert_true(fabric_env_may_send(a, 10) && fabric_env_may_send(a, 20) && fabric_env_may_send(a, 30) &&
		    fabric_env_may_send(a, 31));
	assert_false(fabric_env_may_send(a, 1));
	fabric_env_filter(a, 1, 30, 0); /* back to the permanent one */
	assert_true(fabric_env_may_send(a, 1) && fabric_env_may_send(a, 10));
	fabric_env_filter(a, 10, 30, 0); /* it took the administrator's */
	assert_int_equal(a->port->conf->n_macs, 1);
	assert_false(a->base.mac_conflict);
}

/* A function that another switch has claims nothing here, and gets nothing. */
static void test_elsewhere(void **state)
{
	struct fabric_env *e = *state;
	struct builtin_port *a = fabric_env_add_mac(e, 1), *b;
	struct function_settings s = fabric_env_settings(1);
	struct fabric_use use = {0};
	struct err err;

	b = fabric_env_add(e, &s, NULL);
	fabric_env_filter(a, 1, 20, 1);
	assert_true(b->base.mac_conflict);
	/* A port that is not open, or no more, keeps its place. */
	assert_int_equal(fabric_port_open(&a->base, &use, 1, NULL, &err), 0);
	assert_int_equal(a->base.attach.kind, ATTACH_SW_PORT);
	assert_ptr_equal(a->base.attach.sw_port, a->port);
	fabric_port_close(&a->base, &use);
	assert_ptr_equal(fabric_env_owner(e, 1, 0), a);
	fabric_port_elsewhere(&a->base, true);
	assert_ptr_equal(fabric_env_owner(e, 1, 0), b);
	assert_null(fabric_env_owner(e, 20, 0));
	assert_false(b->base.mac_conflict || a->base.mac_conflict || a->port->conf->link_up);
	assert_true(a->base.link_up);
	assert_false(fabric_env_may_send(a, 1));
	fabric_env_filter(a, 1, 30, 1);
	assert_null(fabric_env_owner(e, 30, 0));
	fabric_port_elsewhere(&a->base, false);
	assert_ptr_equal(fabric_env_owner(e, 1, 0), a);
	assert_ptr_equal(fabric_env_owner(e, 30, 0), a);
	assert_true(b->base.mac_conflict && a->port->conf->link_up);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fabric_env_setup, fabric_env_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_permanent),   TEST(test_same_mac),         TEST(test_precedence),
		TEST(test_driver_macs), TEST(test_admin_and_driver), TEST(test_elsewhere),
	};

	return cmocka_run_group_tests_name("fabric_claims", tests, NULL, NULL);
}
