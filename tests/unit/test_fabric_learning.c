/* SPDX-License-Identifier: Apache-2.0 */

/* Learned addresses: whose they are, how many there may be, how long they last. No traffic. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fabric_env.h"

static void test_learning(void **state)
{
	struct fabric_env *e = *state;
	struct builtin_port *a = fabric_env_add_learner(e, 1), *b = fabric_env_add_learner(e, 2),
			    *checked = fabric_env_add_mac(e, 3);
	struct fabric_settings s = e->f->base.settings;
	struct err err;

	assert_true(a->port->conf->learn);
	assert_false(checked->port->conf->learn);
	builtin_learn(e->f, a, fabric_env_mac(100), 0, 1000);
	assert_ptr_equal(fabric_env_owner(e, 100, 0), a);
	assert_int_equal(e->f->learned, 1);
	/* No other port takes it over: neither a learned one, nor an owned one. */
	builtin_learn(e->f, b, fabric_env_mac(100), 0, 1000);
	assert_ptr_equal(fabric_env_owner(e, 100, 0), a);
	builtin_learn(e->f, b, fabric_env_mac(1), 0, 1000);
	assert_ptr_equal(fabric_env_owner(e, 1, 0), a);
	/* Not from a port that may only use its own, not a group's, not zero. */
	builtin_learn(e->f, checked, fabric_env_mac(101), 0, 1000);
	builtin_learn(e->f, a, 0, 0, 1000);
	builtin_learn(e->f, a, mac_load((uint8_t[6]){3, 0, 0, 0, 0, 1}), 0, 1000);
	assert_int_equal(e->f->learned, 1);
	/* A note from before the port was moved to another VLAN. */
	builtin_learn(e->f, a, fabric_env_mac(102), 55, 1000);
	assert_null(fabric_env_owner(e, 102, 55));
	/* It is more than an address in use: who owns it, gets it. */
	builtin_learn(e->f, a, fabric_env_mac(4), 0, 1000);
	assert_ptr_equal(fabric_env_owner(e, 4, 0), a);
	{
		struct builtin_port *late = fabric_env_add_mac(e, 4);

		assert_ptr_equal(fabric_env_owner(e, 4, 0), late);
		assert_false(late->base.mac_conflict);
	}
	assert_int_equal(e->f->learned, 1);
	/* Learned ones survive other changes, but not spoof check, not another VLAN, not the end of learning. */
	builtin_recompute(e->f);
	assert_ptr_equal(fabric_env_owner(e, 100, 0), a);
	{
		struct function_settings fs = a->base.settings;

		fs.spoofchk = true;
		fabric_env_set(a, &fs);
		assert_null(fabric_env_owner(e, 100, 0));
		fs.spoofchk = false;
		fabric_env_set(a, &fs);
		builtin_learn(e->f, a, fabric_env_mac(100), 0, 1000);
		fs.vlan = fabric_env_access(1, 5, 0x8100).vlan;
		fabric_env_set(a, &fs);
		assert_null(fabric_env_owner(e, 100, 0));
		builtin_learn(e->f, a, fabric_env_mac(100), 5, 1000);
		assert_ptr_equal(fabric_env_owner(e, 100, 5), a);
	}
	s.learning = false;
	assert_int_equal(fabric_set(&e->f->base, &s, NULL, &err), 0);
	assert_null(fabric_env_owner(e, 100, 5));
	assert_int_equal(e->f->learned, 0);
	assert_false(a->port->conf->learn);
	builtin_learn(e->f, a, fabric_env_mac(100), 5, 1000);
	assert_null(fabric_env_owner(e, 100, 5));
}

static void test_learning_in_trunks(void **state)
{
	struct fabric_env *e = *state;
	struct function_settings t = fabric_env_trunk(1, 10, 20), in = fabric_env_access(2, 15, 0x8100);
	struct builtin_port *a, *b;

	t.spoofchk = in.spoofchk = false;
	a = fabric_env_add(e, &t, NULL);
	b = fabric_env_add(e, &in, NULL);
	builtin_learn(e->f, a, fabric_env_mac(100), 12, 1000);
	assert_ptr_equal(fabric_env_owner(e, 100, 12), a);
	assert_null(fabric_env_owner(e, 100, 13));
	builtin_learn(e->f, a, fabric_env_mac(100), 30, 1000);
	assert_null(fabric_env_owner(e, 100, 30));
	/* The trunk owns it in all its VLANs. */
	builtin_learn(e->f, b, fabric_env_mac(1), 15, 1000);
	assert_ptr_equal(fabric_env_owner(e, 1, 15), a);
	/* One VLAN less. */
	t = fabric_env_trunk(1, 13, 20);
	t.spoofchk = false;
	fabric_env_set(a, &t);
	assert_null(fabric_env_owner(e, 100, 12));
	/* What an access port learned gives way to a trunk's own address. */
	builtin_learn(e->f, b, fabric_env_mac(200), 15, 1000);
	assert_ptr_equal(fabric_env_owner(e, 200, 15), b);
	fabric_env_filter(a, 200, 0, 0);
	assert_ptr_equal(fabric_env_owner(e, 200, 15), a);
	assert_false(a->base.mac_conflict);
}

static void test_cap(void **state)
{
	struct fabric_env *e = *state;
	struct fabric_settings s = e->f->base.settings;
	struct builtin_port *a, *b;
	struct err err;

	s.max_learned = 50;
	assert_int_equal(fabric_set(&e->f->base, &s, NULL, &err), 0);
	a = fabric_env_add_learner(e, 1);
	b = fabric_env_add_learner(e, 2);
	for (unsigned int i = 0; i < 100; i++)
		builtin_learn(e->f, a, fabric_env_mac(1000 + i), 0, 1000);
	assert_int_equal(e->f->learned, 50);
	assert_true(a->port->learn_full);
	assert_null(fabric_env_owner(e, 1050, 0));
	/* The cap is each one's own. */
	builtin_learn(e->f, b, fabric_env_mac(5000), 0, 1000);
	assert_ptr_equal(fabric_env_owner(e, 5000, 0), b);
	assert_false(b->port->learn_full);
	/* Fewer: some are forgotten. */
	s.max_learned = 10;
	assert_int_equal(fabric_set(&e->f->base, &s, NULL, &err), 0);
	assert_int_equal(a->port->learned, 10);
	assert_int_equal(e->f->learned, 11);
	/* More than a table was made for: it grows. */
	s.max_learned = 65536;
	assert_int_equal(fabric_set(&e->f->base, &s, NULL, &err), 0);
	assert_false(a->port->learn_full);
	for (unsigned int i = 0; i < 20000; i++)
		builtin_learn(e->f, a, fabric_env_mac(10000 + i), 0, 1000);
	for (unsigned int i = 0; i < 20000; i++)
		assert_ptr_equal(fabric_env_owner(e, 10000 + i, 0), a);
	assert_int_equal(e->f->learned, 20011);
	/* Gone with the port. */
	fabric_port_free(&a->base);
	e->p[0] = b;
	e->n = 1;
	assert_null(fabric_env_owner(e, 10000, 0));
	assert_int_equal(e->f->learned, 1);
	assert_ptr_equal(fabric_env_owner(e, 5000, 0), b);
}

static void test_ageing(void **state)
{
	struct fabric_env *e = *state;
	struct fabric_settings s = e->f->base.settings;
	struct builtin_port *a = fabric_env_add_learner(e, 1);
	const struct fdb_slot *slot;
	struct err err;

	s.ageing = 100;
	assert_int_equal(fabric_set(&e->f->base, &s, NULL, &err), 0);
	builtin_learn(e->f, a, fabric_env_mac(100), 0, 1000);
	builtin_learn(e->f, a, fabric_env_mac(101), 0, 1050);
	builtin_age(e->f, 1099);
	assert_ptr_equal(fabric_env_owner(e, 100, 0), a);
	builtin_age(e->f, 1100);
	assert_null(fabric_env_owner(e, 100, 0));
	assert_ptr_equal(fabric_env_owner(e, 101, 0), a);
	assert_ptr_equal(fabric_env_owner(e, 1, 0), a); /* its own does not age */
	assert_int_equal(e->f->learned, 1);
	/* Seen again, by a worker, whose clock may be a moment ahead of the main thread's. */
	slot = fdb_find(e->f->sw.fdb, fabric_env_mac(101), 0);
	e->f->sw.fdb->meta[slot - e->f->sw.fdb->slot].seen = 1151;
	builtin_age(e->f, 1150);
	assert_ptr_equal(fabric_env_owner(e, 101, 0), a);
	builtin_age(e->f, 1251);
	assert_null(fabric_env_owner(e, 101, 0));
	/* Room again for a full port. */
	s.max_learned = 1;
	assert_int_equal(fabric_set(&e->f->base, &s, NULL, &err), 0);
	builtin_learn(e->f, a, fabric_env_mac(102), 0, 2000);
	builtin_learn(e->f, a, fabric_env_mac(103), 0, 2000);
	assert_true(a->port->learn_full);
	builtin_age(e->f, 2100);
	assert_false(a->port->learn_full);
	builtin_learn(e->f, a, fabric_env_mac(103), 0, 2100);
	assert_ptr_equal(fabric_env_owner(e, 103, 0), a);
	/* The clock wraps every 136 years. */
	builtin_age(e->f, 2200);
	builtin_learn(e->f, a, fabric_env_mac(104), 0, UINT32_MAX - 10);
	builtin_age(e->f, 50);
	assert_ptr_equal(fabric_env_owner(e, 104, 0), a);
	builtin_age(e->f, 90);
	assert_null(fabric_env_owner(e, 104, 0));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fabric_env_setup, fabric_env_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_learning),
		TEST(test_learning_in_trunks),
		TEST(test_cap),
		TEST(test_ageing),
	};

	return cmocka_run_group_tests_name("fabric_learning", tests, NULL, NULL);
}
