/* SPDX-License-Identifier: Apache-2.0 */

/* Changes that meet while the data plane answers later: their order, conflicts that turn out at the end, what is
 * deleted meanwhile, and the end of the daemon. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "later_env.h"
#include "settings/mac.h"

/* What the data plane has. */
static const struct function_settings *dp_settings(struct me_env *t, const char *pf, unsigned int fn)
{
	return &fake_dp_function(&t->dp, pf, fn)->s;
}

static int add_to_rate(void *ctx, struct function_settings *s, struct err *err)
{
	(void)ctx;
	(void)err;
	s->max_rate = 10 * s->max_rate + 1;
	return 0;
}

static int edit_trust(void *ctx, struct function_settings *s, struct err *err)
{
	(void)ctx;
	(void)err;
	s->trust = true;
	return 0;
}

/* Changes of one virtual PF, whatever they are about, find what those before them have left. */
static void one_at_a_time(void **state)
{
	struct me_env *t = *state;
	struct le_told told[6] = {0};
	struct answer answer[6];
	struct function_settings guest = {.trust = true};
	struct pf_settings pf = model_pf_find(t->model, "pf0")->s;

	for (unsigned int i = 0; i < ARRAY_SIZE(told); i++)
		answer[i] = le_answer(&told[i]);
	pf.mtu = 9000;
	assert_int_equal(model_function_edit(t->model, "pf0", 1, add_to_rate, NULL, &answer[0], NULL),
			 ANSWER_LATER);
	assert_int_equal(model_function_edit(t->model, "pf0", 1, add_to_rate, NULL, &answer[1], NULL),
			 ANSWER_LATER);
	assert_int_equal(model_pf_set(t->model, &pf, NULL, &answer[2], NULL), ANSWER_LATER);
	assert_int_equal(model_function_edit(t->model, "pf0", 2, edit_trust, NULL, &answer[3], NULL),
			 ANSWER_LATER);
	assert_int_equal(model_function_request(t->model, "pf0", 1, SETTING_TRUST, &guest, &answer[4], NULL),
			 ANSWER_LATER);
	assert_int_equal(model_function_edit(t->model, "pf0", 1, add_to_rate, NULL, &answer[5], NULL),
			 ANSWER_LATER);
	/* One is under way. */
	le_pump(t);
	assert_int_equal(fake_dp_waiting(&t->dp), 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(told); i++) {
		le_expect_none(&told[i]);
		while (!told[i].n) {
			le_pump(t);
			fake_dp_answer(&t->dp, 0);
		}
		le_expect(&told[i], 0);
		assert_int_equal(told[i].order, i + 1);
	}
	assert_int_equal(me_settings_of(t, "pf0", 1).max_rate, 111);
	assert_true(me_settings_of(t, "pf0", 1).trust);
	assert_true(me_settings_of(t, "pf0", 2).trust);
	assert_int_equal(dp_settings(t, "pf0", 1)->max_rate, 111);
	assert_true(dp_settings(t, "pf0", 1)->trust);
	assert_int_equal(dp_settings(t, "pf0", 1)->mtu, 9000);
	assert_int_equal(dp_settings(t, "pf0", 2)->mtu, 9000);
	le_pump(t);
	assert_null(t->dp.waiting);
}

/* One that fails, or has nothing to do, does not keep the next from its turn. */
static void failures_in_between(void **state)
{
	struct me_env *t = *state;
	struct le_told told[4] = {0};

	assert_int_equal(le_set_rate(t, "pf0", 1, 10, &told[0]), ANSWER_LATER);
	assert_int_equal(le_set_rate(t, "pf0", 1, 20, &told[1]), ANSWER_LATER);
	assert_int_equal(le_set_rate(t, "pf0", 1, 10, &told[2]), ANSWER_LATER);
	assert_int_equal(le_set_rate(t, "pf0", 1, 30, &told[3]), ANSWER_LATER);
	fake_dp_answer(&t->dp, 0);
	fake_dp_answer(&t->dp, 0);
	le_expect(&told[0], 0);
	le_pump(t);
	fake_dp_answer(&t->dp, ENOSPC);
	le_expect(&told[1], -ENOSPC);
	le_expect_none(&told[2]); /* not from within */
	le_pump(t);
	le_expect(&told[2], 0); /* so it is already */
	le_expect_none(&told[3]);
	le_finish(t);
	le_expect(&told[3], 0);
	assert_int_equal(me_settings_of(t, "pf0", 1).max_rate, 30);
	assert_int_equal(dp_settings(t, "pf0", 1)->max_rate, 30);
	assert_int_equal(t->events_n, 2);
}

/* Each virtual PF waits for its own, and so does each fabric. */
static void apart(void **state)
{
	struct me_env *t = *state;
	struct le_told slow = {0}, fabric = {0}, other[3] = {0};

	assert_int_equal(le_set_rate(t, "pf0", 1, 10, &slow), ANSWER_LATER);
	assert_int_equal(le_set_ageing(t, "f0", 10, &fabric), ANSWER_LATER);
	assert_int_equal(le_set_rate(t, "pf1", 1, 20, &other[0]), ANSWER_LATER);
	assert_int_equal(le_add_pf(t, "pf3", "f1", NULL, &other[1]), ANSWER_LATER);
	assert_int_equal(le_set_mtu(t, "pf2", 2000, &other[2]), ANSWER_LATER);
	for (unsigned int i = 0; i < 2; i++) {
		fake_dp_answer_of(&t->dp, "pf1", 0);
		fake_dp_answer_of(&t->dp, "pf3", 0);
	}
	for (unsigned int i = 0; i < 4; i++)
		fake_dp_answer_of(&t->dp, "pf2", 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(other); i++)
		le_expect(&other[i], 0);
	le_expect_none(&slow);
	le_expect_none(&fabric);
	fake_dp_all_later(&t->dp, false);
	assert_int_equal(le_set_rate(t, "pf1", 1, 30, NULL), 0);
	assert_int_equal(me_settings_of(t, "pf0", 1).max_rate, 0);
	/* What was saved of the others has nothing of what is not known yet. */
	me_restart(t);
	assert_int_equal(me_settings_of(t, "pf0", 1).max_rate, 0);
	assert_int_equal(model_fabric_find(t->model, "f0")->s.ageing, 300);
	assert_int_equal(me_settings_of(t, "pf1", 1).max_rate, 30);
	assert_non_null(model_pf_find(t->model, "pf3"));
}

/* Changes of one fabric, to which the adding of virtual PFs belongs. */
static void fabric_order(void **state)
{
	struct me_env *t = *state;
	struct le_told told[4] = {0};

	assert_int_equal(le_set_ageing(t, "f0", 10, &told[0]), ANSWER_LATER);
	assert_int_equal(le_add_pf(t, "pf3", "f0", NULL, &told[1]), ANSWER_LATER);
	assert_int_equal(le_set_ageing(t, "f0", 20, &told[2]), ANSWER_LATER);
	assert_int_equal(le_add_pf(t, "pf3", "f0", NULL, &told[3]), ANSWER_LATER);
	le_finish(t);
	for (unsigned int i = 0; i < ARRAY_SIZE(told); i++)
		assert_int_equal(told[i].order, i + 1);
	for (unsigned int i = 0; i < 3; i++)
		le_expect(&told[i], 0);
	le_expect(&told[3], -EEXIST);
	assert_string_equal(told[3].err.field, "name");
	assert_int_equal(model_fabric_find(t->model, "f0")->s.ageing, 20);
	assert_int_equal(fake_dp_fabric(&t->dp, "f0")->ageing, 20);
	assert_int_equal(model_fabric_find(t->model, "f0")->pfs, 3);
}

/* The next change of a fabric waits until one that could not be saved is undone. */
static void fabric_undone_first(void **state)
{
	struct me_env *t = *state;
	struct le_told told[2] = {0};
	int code;

	assert_int_equal(le_set_ageing(t, "f0", 10, &told[0]), ANSWER_LATER);
	assert_int_equal(le_set_ageing(t, "f0", 20, &told[1]), ANSWER_LATER);
	code = scratch_fill(&t->scratch);
	fake_dp_answer(&t->dp, 0);
	scratch_empty(&t->scratch);
	le_finish(t);
	le_expect(&told[0], -code);
	le_expect(&told[1], 0);
	assert_int_equal(model_fabric_find(t->model, "f0")->s.ageing, 20);
	assert_int_equal(fake_dp_fabric(&t->dp, "f0")->ageing, 20);
}

/* It cannot be undone as its uplink is gone meanwhile. */
static void fabric_not_undone(void **state)
{
	struct me_env *t = *state;
	struct fabric_settings s = model_fabric_find(t->model, "f0")->s;
	struct le_told told = {0};
	struct answer answer = le_answer(&told);
	int code;

	strcpy(s.uplink_name, "eth1");
	assert_int_equal(model_fabric_set(t->model, &s, &answer, NULL), ANSWER_LATER);
	code = scratch_fill(&t->scratch);
	strcpy(t->dp.no_such_netdev, "eth0");
	fake_dp_answer(&t->dp, 0);
	scratch_empty(&t->scratch);
	while (!told.n) {
		fake_dp_answer_of(&t->dp, "f0", 0);
		le_pump(t);
	}
	le_expect(&told, -code);
	assert_true(model_fabric_find(t->model, "f0")->uplink_absent);
	assert_string_equal(model_fabric_find(t->model, "f0")->s.uplink_name, "eth0");
	assert_int_equal(fake_dp_fabric(&t->dp, "f0")->uplink, UPLINK_NONE);
	fake_dp_answer_all(&t->dp);
	assert_int_equal(dp_settings(t, "pf0", 1)->link, LINK_DISABLE);
	/* And comes back. */
	t->dp.no_such_netdev[0] = '\0';
	while (model_fabric_find(t->model, "f0")->uplink_absent) {
		assert_true(sd_event_run(t->event, UINT64_MAX) > 0);
		fake_dp_answer_all(&t->dp);
	}
	assert_int_equal(fake_dp_fabric(&t->dp, "f0")->uplink, UPLINK_NETDEV);
	assert_int_equal(dp_settings(t, "pf0", 1)->link, LINK_AUTO);
}

/* f0 is loaded without its uplink. */
static void lose_uplink(struct me_env *t)
{
	me_stop(t);
	me_start(t);
	strcpy(t->dp.no_such_netdev, "eth0");
	me_load(t);
	t->events_n = 0;
	assert_int_equal(dp_settings(t, "pf0", 1)->link, LINK_DISABLE);
	fake_dp_all_later(&t->dp, true);
}

static void uplink_back(struct me_env *t)
{
	t->dp.no_such_netdev[0] = '\0';
	t->dp.later[FAKE_FABRIC_SET] = false;
	while (model_fabric_find(t->model, "f0")->uplink_absent)
		assert_true(sd_event_run(t->event, UINT64_MAX) > 0);
}

/* The uplink comes back while a change is under way, at each of its steps. */
static void uplink_back_meanwhile(void **state)
{
	struct me_env *t = *state;
	unsigned int values = 0;

	for (unsigned int steps = 0; steps < 4; steps++)
		for (int code = 0; code <= ENOSPC; code += ENOSPC) {
			struct le_told told[2] = {0};

			lose_uplink(t);
			assert_int_equal(le_set_rate(t, "pf0", 1, ++values, &told[0]), ANSWER_LATER);
			assert_int_equal(le_set_mtu(t, "pf1", 2000 + values, &told[1]), ANSWER_LATER);
			for (unsigned int i = 0; i < steps && !told[0].n; i++)
				fake_dp_answer_of(&t->dp, "pf0", 0);
			for (unsigned int i = 0; i < steps && !told[1].n; i++)
				fake_dp_answer_of(&t->dp, "pf1", 0);
			uplink_back(t);
			while (!told[0].n)
				fake_dp_answer_of(&t->dp, "pf0", code);
			while (!told[1].n)
				fake_dp_answer_of(&t->dp, "pf1", code);
			le_finish(t);
			for (unsigned int fn = 0; fn <= 2; fn++)
				assert_int_equal(dp_settings(t, "pf0", fn)->link, LINK_AUTO);
			for (unsigned int fn = 0; fn <= 1; fn++) {
				assert_int_equal(dp_settings(t, "pf1", fn)->link, LINK_AUTO);
				assert_int_equal(dp_settings(t, "pf1", fn)->mtu,
						 me_settings_of(t, "pf1", fn).mtu);
			}
			assert_int_equal(dp_settings(t, "pf0", 1)->max_rate,
					 me_settings_of(t, "pf0", 1).max_rate);
			assert_int_equal(fake_dp_fabric(&t->dp, "f0")->uplink, UPLINK_NETDEV);
		}
}

/* Another attempt at the uplink is under way, and the fabric is deleted, or the daemon ends. */
static void uplink_attempt_ends(void **state)
{
	struct me_env *t = *state;
	struct le_told told = {0};

	for (unsigned int cancel = 0; cancel < 2; cancel++) {
		lose_uplink(t);
		while (!fake_dp_waiting(&t->dp))
			assert_true(sd_event_run(t->event, UINT64_MAX) > 0);
		if (cancel) {
			assert_int_equal(le_set_ageing(t, "f0", 9, &told), ANSWER_LATER);
			model_cancel(t->model);
			le_expect(&told, -ECANCELED);
			assert_true(model_fabric_find(t->model, "f0")->uplink_absent);
			break;
		}
		/* One fails, and the next is made. */
		fake_dp_answer_of(&t->dp, "f0", EIO);
		assert_string_equal(model_fabric_find(t->model, "f0")->uplink_error, "scripted");
		while (!fake_dp_waiting(&t->dp))
			assert_true(sd_event_run(t->event, UINT64_MAX) > 0);
		assert_int_equal(model_pf_del(t->model, "pf0", NULL), 0);
		assert_int_equal(model_pf_del(t->model, "pf1", NULL), 0);
		assert_int_equal(model_fabric_del(t->model, "f0", NULL), 0);
		assert_null(t->dp.waiting);
		fake_dp_all_later(&t->dp, false);
		t->dp.no_such_netdev[0] = '\0';
		me_add_fabric(t, "f0", "eth0");
		me_add_pf(t, "pf0", "f0", 2, NULL);
	}
}

/* The administrator replaces the absent uplink while changes wait. */
static void uplink_replaced_meanwhile(void **state)
{
	struct me_env *t = *state;
	struct le_told told[3] = {0};
	struct answer answer = le_answer(&told[2]);
	struct fabric_settings s;

	lose_uplink(t);
	assert_int_equal(le_set_rate(t, "pf0", 1, 10, &told[0]), ANSWER_LATER);
	assert_int_equal(le_set_rate(t, "pf0", 2, 20, &told[1]), ANSWER_LATER);
	s = model_fabric_find(t->model, "f0")->s;
	strcpy(s.uplink_name, "eth1");
	assert_int_equal(model_fabric_set(t->model, &s, &answer, NULL), ANSWER_LATER);
	fake_dp_answer_of(&t->dp, "pf0", 0);
	fake_dp_answer_of(&t->dp, "f0", 0);
	le_expect(&told[2], 0);
	le_finish(t);
	le_expect(&told[0], 0);
	le_expect(&told[1], 0);
	for (unsigned int fn = 0; fn <= 2; fn++) {
		assert_int_equal(dp_settings(t, "pf0", fn)->link, LINK_AUTO);
		assert_int_equal(dp_settings(t, "pf0", fn)->max_rate, 10 * fn);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, le_setup, le_teardown)
	const struct CMUnitTest tests[] = {
		TEST(one_at_a_time),         TEST(failures_in_between),       TEST(apart),
		TEST(fabric_order),          TEST(fabric_undone_first),       TEST(fabric_not_undone),
		TEST(uplink_back_meanwhile), TEST(uplink_replaced_meanwhile), TEST(uplink_attempt_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
