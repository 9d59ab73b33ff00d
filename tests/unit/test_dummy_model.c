/* SPDX-License-Identifier: Apache-2.0 */

/* Changes from the model down to a fabric that is a dummy: what is set arrives there and only there, and whatever the
 * fabric answers, and whenever, is what the model's caller is told, and what the state file says. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "dummy_env.h"

static const struct function_settings *applied(unsigned int fn)
{
	return &dummy_port_find("pf", fn)->applied;
}

static void count_rows(void *arg, const struct fdb_row *row)
{
	unsigned int *seen = arg;

	assert_string_equal(row->pf, "pf");
	assert_memory_equal(row->mac, applied(row->function)->mac, 6);
	*seen |= 1u << row->function;
}

static void settings_arrive(void **state)
{
	struct de_env *e = *state;
	struct pf_settings ps = model_pf_find(e->model, "pf")->s;
	struct function_settings s = de_settings(e, DE_VF(1));
	struct fabric_state fs = {0};
	struct port_stats stats = {0};
	unsigned int seen = 0;

	assert_int_equal(dummy_fabric.calls[DUMMY_INIT], 1);
	assert_int_equal(dummy_fabric.calls[DUMMY_PORT_SET], 0); /* a port begins with them */
	assert_memory_equal(applied(DE_VF(1))->mac, "\x02\0\0\0\0\x12", 6);
	assert_true(de_state(e, DE_VF(1)).link_up);

	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 7, .pcp = 3, .tpid = ETHER_TPID_AD};
	memcpy(s.admin_mac, "\x02\0\0\0\1\1", 6);
	s.max_rate = 100;
	s.spoofchk = false;
	s.link = LINK_DISABLE;
	assert_int_equal(de_set(e, DE_VF(1), &s, NULL, NULL), 0);
	assert_int_equal(dummy_fabric.calls[DUMMY_CHECK], 3); /* two for the virtual PF as a whole */
	assert_int_equal(dummy_fabric.calls[DUMMY_PORT_SET], 1);
	assert_int_equal(applied(DE_VF(1))->vlan.vid, 7);
	assert_int_equal(applied(DE_VF(1))->vlan.tpid, ETHER_TPID_AD);
	assert_memory_equal(applied(DE_VF(1))->admin_mac, s.admin_mac, 6);
	assert_int_equal(applied(DE_VF(1))->max_rate, 100);
	assert_false(applied(DE_VF(1))->spoofchk);
	assert_false(de_state(e, DE_VF(1)).link_up);
	assert_true(de_happened(e, "pf 2 link down"));
	for (unsigned int fn = 0; fn <= DE_VF(0); fn++) {
		assert_int_equal(applied(fn)->vlan.mode, VLAN_NONE);
		assert_int_equal(applied(fn)->max_rate, 0);
		assert_true(applied(fn)->spoofchk);
		assert_true(de_state(e, fn).link_up);
	}
	assert_int_equal(de_set(e, DE_VF(1), &s, NULL, NULL), 0); /* nothing new */
	assert_int_equal(dummy_fabric.calls[DUMMY_PORT_SET], 1);

	ps.policy.max_driver_macs = 5;
	assert_int_equal(model_pf_set(e->model, &ps, NULL, NULL, NULL), 0);
	for (unsigned int fn = 0; fn <= DE_VF(1); fn++)
		assert_int_equal(dummy_port_find("pf", fn)->policy.max_driver_macs, 5);

	assert_int_equal(de_set_ageing(e, 77, NULL, NULL), 0);
	assert_int_equal(dummy_fabric.calls[DUMMY_SET], 1);
	assert_int_equal(dummy_port_find("pf", 0)->base.fabric->settings.ageing, 77);
	assert_int_equal(model_fabric_get(e->model, "f", &fs, NULL), 0);
	assert_int_equal(fs.ports, 3);
	assert_int_equal(model_fabric_fdb(e->model, "f", count_rows, &seen), 0);
	assert_int_equal(seen, 7);
	dummy_fabric.stats.rx_packets = 3;
	assert_int_equal(model_function_get(e->model, "pf", DE_VF(0), NULL, NULL, &stats), 0);
	assert_int_equal(stats.rx_packets, 3);
	assert_int_equal(dummy_fabric.undone, 0);
	assert_int_equal(dummy_fabric.calls[DUMMY_PORT_OPEN], 0); /* no driver has started */

	/* As it was, after a restart. */
	de_stop(e);
	assert_null(dummy_fabric.ports);
	assert_int_equal(dummy_fabric.fabrics, 0);
	de_start(e);
	assert_int_equal(applied(DE_VF(1))->vlan.vid, 7);
	assert_int_equal(dummy_port_find("pf", 0)->policy.max_driver_macs, 5);
	assert_int_equal(dummy_port_find("pf", 0)->base.fabric->settings.ageing, 77);
	assert_int_equal(model_pf_del(e->model, "pf", NULL), 0);
	assert_null(dummy_fabric.ports);
	assert_int_equal(model_fabric_del(e->model, "f", NULL), 0);
	assert_int_equal(dummy_fabric.fabrics, 0);
}

/* What a fabric cannot is refused before it is asked. */
static void what_it_cannot(void **state)
{
	struct de_env *e = *state;
	struct function_settings s = de_settings(e, DE_VF(0));
	char *file = de_file(e);
	struct err err = {0};

	dummy_fabric.can &= ~CAN_VLAN;
	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 7, .tpid = ETHER_TPID_Q};
	assert_int_equal(de_set(e, DE_VF(0), &s, NULL, &err), -EOPNOTSUPP);
	assert_string_equal(err.field, "vlan");
	assert_int_equal(dummy_fabric.calls[DUMMY_CHECK], 2);
	assert_int_equal(dummy_fabric.calls[DUMMY_PORT_SET], 0);
	de_assert_file(e, file);
}

/* Each operation of the fabric as part of a change. */
struct kind {
	enum dummy_op op;
	int (*change)(struct de_env *e, struct de_told *t, struct err *err);
	bool (*is)(struct de_env *e);  /* made, to the model and to the fabric */
	bool (*was)(struct de_env *e); /* not there, to either */
	const char *why;               /* of the dummy's refusal */
};

static int change_rate(struct de_env *e, struct de_told *t, struct err *err)
{
	return de_set_rate(e, DE_VF(0), 100, t, err);
}

static bool rate(struct de_env *e, uint32_t wanted)
{
	return de_settings(e, DE_VF(0)).max_rate == wanted && applied(DE_VF(0))->max_rate == wanted &&
	       dummy_port_find("pf", DE_VF(0))->base.settings.max_rate == wanted;
}

static bool rate_is(struct de_env *e)
{
	return rate(e, 100);
}

static bool rate_was(struct de_env *e)
{
	return rate(e, 0);
}

static int change_ageing(struct de_env *e, struct de_told *t, struct err *err)
{
	return de_set_ageing(e, 77, t, err);
}

static bool ageing(struct de_env *e, uint32_t wanted)
{
	return model_fabric_find(e->model, "f")->s.ageing == wanted &&
	       dummy_port_find("pf", 0)->base.fabric->settings.ageing == wanted;
}

static bool ageing_is(struct de_env *e)
{
	return ageing(e, 77);
}

static bool ageing_was(struct de_env *e)
{
	return ageing(e, 300);
}

static int change_fabrics(struct de_env *e, struct de_told *t, struct err *err)
{
	return de_add_fabric(e, "g", t, err);
}

static bool fabrics_is(struct de_env *e)
{
	return model_fabric_find(e->model, "g") && dummy_fabric.fabrics == 2;
}

static bool fabrics_was(struct de_env *e)
{
	return !model_fabric_find(e->model, "g") && dummy_fabric.fabrics == 1;
}

static const struct kind kinds[] = {
	{DUMMY_CHECK, change_rate, rate_is, rate_was, "the dummy would not have that"},
	{DUMMY_PORT_SET, change_rate, rate_is, rate_was, "the dummy would not carry it out"},
	{DUMMY_SET, change_ageing, ageing_is, ageing_was, "the dummy would not change it"},
	{DUMMY_INIT, change_fabrics, fabrics_is, fabrics_was, "the dummy would not make it"},
};

static void refused(void **state)
{
	struct de_env *e = *state;

	for (const struct kind *k = kinds; k < kinds + ARRAY_SIZE(kinds); k++) {
		struct de_told at_once = {0}, later = {0};
		char *file = de_file(e);
		struct err err = {0};

		dummy_fabric.undone = 0;
		dummy_fabric.how[k->op] = (struct dummy_how){DUMMY_NOW, -EPERM};
		assert_int_equal(k->change(e, &at_once, &err), -EPERM);
		assert_string_equal(err.text, k->why);
		de_pump(e);
		assert_int_equal(at_once.n, 0);
		assert_true(k->was(e));
		assert_int_equal(dummy_fabric.undone, k->op == DUMMY_PORT_SET);

		dummy_fabric.how[k->op] = (struct dummy_how){DUMMY_LATER, 0};
		assert_int_equal(k->change(e, &later, NULL), ANSWER_LATER);
		assert_true(dummy_fabric_answer(k->op, -EPERM));
		de_expect(&later, -EPERM);
		assert_string_equal(later.text, k->why);
		de_pump(e);
		assert_int_equal(later.n, 1);
		assert_true(k->was(e));
		assert_int_equal(dummy_fabric.undone, 2 * (k->op == DUMMY_PORT_SET));
		de_assert_file(e, file);
		dummy_fabric.how[k->op] = (struct dummy_how){DUMMY_NOW, 0};
	}
}

/* It is nowhere before, and everywhere after. */
static void answered_later(void **state)
{
	struct de_env *e = *state;

	for (const struct kind *k = kinds; k < kinds + ARRAY_SIZE(kinds); k++) {
		struct de_told told = {0};
		char *file = de_file(e), *after;

		dummy_fabric.how[k->op] = (struct dummy_how){DUMMY_LATER, 0};
		assert_int_equal(k->change(e, &told, NULL), ANSWER_LATER);
		de_pump(e);
		assert_int_equal(told.n, 0);
		assert_false(k->is(e));
		de_assert_file(e, strdup(file));
		assert_true(dummy_fabric_answer(k->op, 0));
		de_expect(&told, 0);
		assert_true(k->is(e));
		after = de_file(e);
		assert_string_not_equal(after, file);
		assert_false(dummy_fabric_answer(k->op, -EPERM));
		de_pump(e);
		assert_int_equal(told.n, 1);
		dummy_fabric.how[k->op] = (struct dummy_how){DUMMY_NOW, 0};
		free(file);
		free(after);
		/* Back to what was. */
		assert_int_equal(de_set_rate(e, DE_VF(0), 0, NULL, NULL), 0);
	}
}

/* What is asked meanwhile has its turn after it, whatever becomes of that. */
static void in_order(void **state)
{
	struct de_env *e = *state;
	struct de_told first = {0}, second = {0}, other = {0};

	dummy_fabric.how[DUMMY_PORT_SET].when = DUMMY_LATER;
	assert_int_equal(de_set_rate(e, DE_VF(0), 100, &first, NULL), ANSWER_LATER);
	assert_int_equal(de_set_rate(e, DE_VF(1), 200, &second, NULL), ANSWER_LATER);
	assert_int_equal(de_set_ageing(e, 77, &other, NULL), 0); /* the fabric's turn is another */
	de_pump(e);
	assert_int_equal(dummy_fabric.calls[DUMMY_PORT_SET], 1);
	assert_true(dummy_fabric_answer(DUMMY_PORT_SET, -EPERM));
	de_expect(&first, -EPERM);
	assert_int_equal(second.n, 0);
	de_pump(e);
	assert_true(dummy_fabric_answer(DUMMY_PORT_SET, 0));
	de_expect(&second, 0);
	assert_int_equal(first.n, 1);
	assert_int_equal(applied(DE_VF(0))->max_rate, 0);
	assert_int_equal(applied(DE_VF(1))->max_rate, 200);
}

/* All at a time, since each takes two seconds. An answer that comes all the same counts no more. */
static void never_answered(void **state)
{
	struct de_env *e = *state;
	struct de_told check = {0}, set = {0}, fabric = {0}, new = {0}, again = {0};
	struct pf_settings ps = de_pf_settings("other");
	struct dummy_port *port = dummy_port_find("pf", DE_VF(0));
	struct answer answer = de_answer(&check);
	struct function_settings s;
	char *file;
	uint64_t call;

	assert_int_equal(de_add_pf(e, &ps, NULL, NULL), 0);
	file = de_file(e);
	for (const struct kind *k = kinds; k < kinds + ARRAY_SIZE(kinds); k++)
		dummy_fabric.how[k->op].when = DUMMY_NEVER;
	s = model_pf_find(e->model, "other")->fn[DE_VF(0)].s;
	s.max_rate = 100;
	assert_int_equal(model_function_set(e->model, "other", DE_VF(0), &s, false, &answer, NULL),
			 ANSWER_LATER);
	dummy_fabric.how[DUMMY_CHECK].when = DUMMY_NOW;
	assert_int_equal(de_set_rate(e, DE_VF(0), 100, &set, NULL), ANSWER_LATER);
	call = port->base.call;
	assert_int_equal(de_set_ageing(e, 77, &fabric, NULL), ANSWER_LATER);
	assert_int_equal(de_add_fabric(e, "g", &new, NULL), ANSWER_LATER);
	DE_UNTIL(e, check.n && set.n && fabric.n && new.n);
	de_pump(e);
	de_expect(&check, -ETIMEDOUT);
	de_expect(&set, -ETIMEDOUT);
	de_expect(&fabric, -ETIMEDOUT);
	de_expect(&new, -ETIMEDOUT);
	assert_true(rate_was(e) && ageing_was(e) && fabrics_was(e));
	assert_int_equal(dummy_fabric.undone, 1);
	dummy_fabric_answer_port(&port->base, call, 0);
	de_pump(e);
	assert_int_equal(set.n, 1);
	assert_true(rate_was(e));
	de_assert_file(e, file);

	/* An answer to what was asked before is none to what is asked now. */
	dummy_fabric.how[DUMMY_PORT_SET].when = DUMMY_LATER;
	assert_int_equal(de_set_rate(e, DE_VF(0), 100, &again, NULL), ANSWER_LATER);
	dummy_fabric_answer_port(&port->base, call, -EIO);
	de_pump(e);
	assert_int_equal(again.n, 0);
	assert_true(dummy_fabric_answer(DUMMY_PORT_SET, 0));
	de_expect(&again, 0);
	assert_true(rate_is(e));
}

/* The fabric has it, the disk has not: the fabric gets the old settings again. */
static void not_saved(void **state)
{
	struct de_env *e = *state;
	char *file = de_file(e);
	struct de_told told = {0};
	int r;

	dummy_fabric.how[DUMMY_PORT_SET].when = DUMMY_LATER;
	assert_int_equal(de_set_rate(e, DE_VF(0), 100, &told, NULL), ANSWER_LATER);
	r = scratch_fill(&e->scratch);
	dummy_fabric.how[DUMMY_PORT_SET].when = DUMMY_NOW;
	assert_true(dummy_fabric_answer(DUMMY_PORT_SET, 0));
	scratch_empty(&e->scratch);
	de_expect(&told, -r);
	de_pump(e);
	assert_true(rate_was(e));
	assert_int_equal(dummy_fabric.calls[DUMMY_PORT_SET], 2);
	de_assert_file(e, file);
}

/* Who waits for the change is told that its object is gone, once; the fabric's answers are nobody's. */
static void deleted_while_due(void **state)
{
	static const enum dummy_op ops[] = {DUMMY_PORT_SET, DUMMY_CHECK};
	struct de_env *e = *state;
	struct de_told fabric = {0}, pf = {0};
	struct pf_settings ps = de_pf_settings("pf");

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		struct de_told told = {0}, queued = {0};

		dummy_fabric.how[ops[i]].when = DUMMY_LATER;
		assert_int_equal(de_set_rate(e, DE_VF(0), 100, &told, NULL), ANSWER_LATER);
		assert_int_equal(de_set_rate(e, DE_VF(1), 100, &queued, NULL), ANSWER_LATER);
		assert_int_equal(model_pf_del(e->model, "pf", NULL), 0);
		de_pump(e);
		de_expect(&told, -ENOENT);
		de_expect(&queued, -ENOENT);
		assert_null(dummy_fabric.ports);
		/* The port took what was due along; a check is the fabric's. */
		assert_int_equal(dummy_fabric_answer(ops[i], 0), ops[i] == DUMMY_CHECK);
		de_pump(e);
		assert_int_equal(told.n + queued.n, 2);
		dummy_fabric.how[ops[i]].when = DUMMY_NOW;
		assert_int_equal(de_add_pf(e, &ps, NULL, NULL), 0);
		assert_int_equal(applied(DE_VF(0))->max_rate, 0);
	}
	assert_int_equal(model_pf_del(e->model, "pf", NULL), 0);

	/* The fabric, with a change of it due and a virtual PF in the making. */
	dummy_fabric.how[DUMMY_SET].when = DUMMY_LATER;
	assert_int_equal(de_set_ageing(e, 77, &fabric, NULL), ANSWER_LATER);
	assert_int_equal(de_add_pf(e, &ps, &pf, NULL), ANSWER_LATER);
	assert_int_equal(model_fabric_del(e->model, "f", NULL), 0);
	de_pump(e);
	de_expect(&fabric, -ENOENT);
	de_expect(&pf, -ENOENT);
	assert_int_equal(dummy_fabric.fabrics, 0);
	assert_false(dummy_fabric_answer(DUMMY_SET, 0));
	assert_null(model_pf_find(e->model, "pf"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, de_setup, de_teardown)
	const struct CMUnitTest tests[] = {
		TEST(settings_arrive), TEST(what_it_cannot), TEST(refused),   TEST(answered_later),
		TEST(in_order),        TEST(never_answered), TEST(not_saved), TEST(deleted_while_due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
