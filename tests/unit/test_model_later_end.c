/* SPDX-License-Identifier: Apache-2.0 */

/* How changes end that the data plane answers later: conflicts that turn out at the end, what they are about is
 * deleted, those who get an answer do something else to the model, and the end of the daemon. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "later_env.h"
#include "settings/mac.h"

#define MAC_9 "02:00:00:00:09:09"

static bool has_mac(const uint8_t mac[6])
{
	char text[MAC_TEXT_MAX];

	return !strcmp(mac_format(mac, text), MAC_9);
}

/* Two functions of one fabric get the same MAC at the same time. */
static void same_mac(void **state)
{
	struct me_env *t = *state;
	struct le_told told[2] = {0};

	assert_int_equal(le_set_admin_mac(t, "pf0", 1, MAC_9, &told[0]), ANSWER_LATER);
	assert_int_equal(le_set_admin_mac(t, "pf1", 1, MAC_9, &told[1]), ANSWER_LATER);
	le_finish(t);
	le_expect(&told[0], 0);
	le_expect(&told[1], -EEXIST);
	assert_string_equal(told[1].err.field, "mac");
	assert_non_null(strstr(told[1].err.text, "pf0 vf0"));
	assert_true(has_mac(me_settings_of(t, "pf0", 1).admin_mac));
	assert_true(has_mac(fake_dp_function(&t->dp, "pf0", 1)->s.admin_mac));
	assert_true(mac_is_zero(me_settings_of(t, "pf1", 1).admin_mac));
	assert_true(mac_is_zero(fake_dp_function(&t->dp, "pf1", 1)->s.admin_mac));
	assert_int_equal(t->events_n, 1);
	me_restart(t);
}

/* The guest is not told whose it is; it is refused as if it had been known at once. */
static void same_mac_for_guest(void **state)
{
	struct me_env *t = *state;
	struct function_settings wanted = {.admin_mac = {2, 0, 0, 0, 9, 9}};
	struct le_told told[2] = {0};
	struct answer answer = le_answer(&told[1]);

	assert_int_equal(le_set_admin_mac(t, "pf0", 1, MAC_9, &told[0]), ANSWER_LATER);
	assert_int_equal(model_function_request(t->model, "pf1", 1, SETTING_MAC, &wanted, &answer, NULL),
			 ANSWER_LATER);
	le_finish(t);
	le_expect(&told[0], 0);
	le_expect(&told[1], -EEXIST);
	assert_string_equal(told[1].err.field, "mac");
	assert_string_equal(told[1].err.text, "is the MAC of another function: choose another");
	assert_true(mac_is_zero(fake_dp_function(&t->dp, "pf1", 1)->s.admin_mac));
	assert_int_equal(model_pf_find(t->model, "pf1")->refused, 1);
	assert_int_equal(model_pf_find(t->model, "pf1")->granted, 0);
	assert_int_equal(t->events_n, 2);
	assert_string_equal(me_last_event(t), "control refused pf1 1");
}

/* The permanent MACs of a new virtual PF and the administrative one of a function; the PF's own new MAC. */
static void same_permanent_mac(void **state)
{
	struct me_env *t = *state;
	struct pf_settings pf = model_pf_find(t->model, "pf0")->s;
	const uint8_t mac[6] = {2, 0, 0, 0, 9, 7}; /* and 8 and 9 */
	struct le_told told[3] = {0};
	struct answer answer = le_answer(&told[2]);

	assert_int_equal(le_add_pf(t, "pf3", "f0", "02:00:00:00:09:08", &told[0]), ANSWER_LATER);
	assert_int_equal(le_set_admin_mac(t, "pf1", 1, MAC_9, &told[1]), ANSWER_LATER);
	assert_int_equal(model_pf_set(t->model, &pf, mac, &answer, NULL), ANSWER_LATER);
	for (unsigned int i = 0; i < 2; i++)
		fake_dp_answer_of(&t->dp, "pf1", 0);
	le_finish(t);
	le_expect(&told[0], -EEXIST);
	le_expect(&told[1], 0);
	le_expect(&told[2], -EEXIST);
	assert_null(model_pf_find(t->model, "pf3"));
	assert_null(fake_dp_function(&t->dp, "pf3", 0));
	assert_string_equal(me_mac_of(t, "pf0", 2), "02:00:00:00:00:12");
	assert_int_equal(t->events_n, 1);
	me_restart(t);
}

/* A name is whose virtual PF is there first. */
static void same_name(void **state)
{
	struct me_env *t = *state;
	struct le_told told[2] = {0};

	assert_int_equal(le_add_pf(t, "pf3", "f0", NULL, &told[0]), ANSWER_LATER);
	assert_int_equal(le_add_pf(t, "pf3", "f1", NULL, &told[1]), ANSWER_LATER);
	le_finish(t);
	le_expect(&told[0], 0);
	le_expect(&told[1], -EEXIST);
	assert_string_equal(told[1].err.field, "name");
	assert_string_equal(model_pf_find(t->model, "pf3")->fabric->s.name, "f0");
	assert_string_equal(fake_dp_function(&t->dp, "pf3", 0)->fabric, "f0");
	assert_int_equal(model_fabric_find(t->model, "f1")->pfs, 1);
	me_restart(t);
}

static int set_uplink(struct me_env *t, const char *fabric, const char *netdev, struct le_told *told)
{
	struct fabric_settings s = model_fabric_find(t->model, fabric)->s;
	struct answer answer = le_answer(told);

	s.uplink = UPLINK_NETDEV;
	snprintf(s.uplink_name, sizeof(s.uplink_name), "%s", netdev);
	return model_fabric_set(t->model, &s, &answer, NULL);
}

static void same_uplink(void **state)
{
	struct me_env *t = *state;
	struct le_told told[2] = {0};

	assert_int_equal(set_uplink(t, "f0", "eth9", &told[0]), ANSWER_LATER);
	assert_int_equal(set_uplink(t, "f1", "eth9", &told[1]), ANSWER_LATER);
	le_finish(t);
	le_expect(&told[0], 0);
	le_expect(&told[1], -EBUSY);
	assert_string_equal(told[1].err.field, "uplink.name");
	assert_string_equal(fake_dp_fabric(&t->dp, "f0")->uplink_name, "eth9");
	assert_int_equal(fake_dp_fabric(&t->dp, "f1")->uplink, UPLINK_NONE);
	assert_false(model_fabric_find(t->model, "f1")->uplink_absent);
	me_restart(t);
}

/* A fabric in the making is not there, but its name and its uplink are taken. */
static void fabric_in_the_making(void **state)
{
	struct me_env *t = *state;
	struct le_told told[2] = {0};
	struct answer answer = le_answer(&told[0]);
	struct fabric_settings s;

	fabric_settings_init(&s, "f2");
	s.uplink = UPLINK_NETDEV;
	strcpy(s.uplink_name, "eth9");
	assert_int_equal(model_fabric_add(t->model, &s, &answer, NULL), ANSWER_LATER);
	assert_null(model_fabric_find(t->model, "f2"));
	assert_null(model_fabric_at(t->model, 2));
	assert_error(model_fabric_add(t->model, &s, NULL, &err), EEXIST, "name");
	assert_error(model_fabric_set(t->model, &s, NULL, &err), ENOENT, "name");
	assert_error(model_fabric_del(t->model, "f2", &err), ENOENT, "name");
	assert_error(me_try_pf(t, "pf3", "f2", 1, NULL, &err), ENOENT, "fabric");
	assert_int_equal(set_uplink(t, "f1", "eth9", &told[1]), -EBUSY);
	/* Others come and go beside it. */
	fake_dp_all_later(&t->dp, false);
	me_add_fabric(t, "f3", NULL);
	assert_int_equal(model_fabric_del(t->model, "f3", NULL), 0);
	assert_int_equal(model_pf_del(t->model, "pf2", NULL), 0);
	assert_int_equal(model_fabric_del(t->model, "f1", NULL), 0);
	fake_dp_answer(&t->dp, 0);
	le_expect(&told[0], 0);
	assert_string_equal(model_fabric_at(t->model, 1)->s.name, "f2");
	me_restart(t);
	assert_string_equal(model_fabric_at(t->model, 1)->s.name, "f2");
}

/* What waits for a fabric that is deleted ends with it. */
static void fabric_deleted(void **state)
{
	struct me_env *t = *state;
	struct le_told told[4] = {0};

	t->dp.later[FAKE_FABRIC_ADD] = false;
	for (unsigned int step = 0; step < 2; step++) {
		me_add_fabric(t, "f2", NULL);
		me_add_fabric(t, "f3", NULL);
		memset(told, 0, sizeof(told));
		t->events_n = 0;
		assert_int_equal(le_add_pf(t, "pf3", "f2", NULL, &told[0]), ANSWER_LATER);
		assert_int_equal(le_set_ageing(t, "f2", 9, &told[1]), ANSWER_LATER);
		assert_int_equal(le_set_ageing(t, "f3", 9, &told[2]), ANSWER_LATER);
		assert_int_equal(le_add_pf(t, "pf3", "f3", NULL, &told[3]), ANSWER_LATER);
		for (unsigned int i = 0; i < step; i++)
			fake_dp_answer_of(&t->dp, "pf3", 0);
		assert_int_equal(model_fabric_del(t->model, "f2", NULL), 0);
		assert_int_equal(model_fabric_del(t->model, "f3", NULL), 0);
		for (unsigned int i = 0; i < ARRAY_SIZE(told); i++) {
			le_expect(&told[i], -ENOENT);
			assert_int_equal(told[i].events, i < 2 ? 1 : 2); /* all know that it is gone */
		}
		assert_null(t->dp.waiting);
		le_pump(t);
		assert_int_equal(t->events_n, 2);
		assert_null(model_pf_find(t->model, "pf3"));
	}
}

/* At each step of the first change. */
static void pf_deleted(void **state)
{
	struct me_env *t = *state;

	for (unsigned int steps = 0; steps < 4; steps++)
		for (unsigned int other = 0; other < 2; other++) {
			struct le_told told[4] = {0};
			struct function_settings wanted = {.trust = true};
			struct answer answer = le_answer(&told[3]);

			t->events_n = 0;
			if (other)
				assert_int_equal(le_set_mtu(t, "pf0", 2000, &told[1]), ANSWER_LATER);
			assert_int_equal(le_set_rate(t, "pf0", 1, 10, &told[0]), ANSWER_LATER);
			if (!other)
				assert_int_equal(le_set_mtu(t, "pf0", 2000, &told[1]), ANSWER_LATER);
			assert_int_equal(le_set_rate(t, "pf0", 1, 20, &told[2]), ANSWER_LATER);
			assert_int_equal(model_function_request(t->model, "pf0", 2, SETTING_TRUST, &wanted,
								&answer, NULL),
					 ANSWER_LATER);
			for (unsigned int i = 0; i < steps && !t->events_n; i++)
				fake_dp_answer(&t->dp, 0);
			t->events_n = 0;
			assert_int_equal(model_pf_del(t->model, "pf0", NULL), 0);
			assert_null(t->dp.waiting);
			for (unsigned int i = 0; i < ARRAY_SIZE(told); i++) {
				if (told[i].r) {
					le_expect(&told[i], -ENOENT);
					assert_int_equal(told[i].events, 1);
				}
				assert_int_equal(told[i].n, 1);
			}
			le_pump(t);
			assert_null(t->dp.waiting);
			assert_int_equal(t->events_n, 1);
			assert_string_equal(me_last_event(t), "pf deleted pf0 -1");
			fake_dp_all_later(&t->dp, false);
			me_add_pf(t, "pf0", "f0", 2, "02:00:00:00:00:10");
			fake_dp_all_later(&t->dp, true);
		}
}

/* A deletion that is refused leaves all as it is. */
static void pf_not_deleted(void **state)
{
	struct me_env *t = *state;
	struct le_told told[2] = {0};
	int code;

	assert_int_equal(le_set_rate(t, "pf0", 1, 10, &told[0]), ANSWER_LATER);
	assert_int_equal(le_set_rate(t, "pf0", 2, 20, &told[1]), ANSWER_LATER);
	code = scratch_fill(&t->scratch);
	assert_int_equal(model_pf_del(t->model, "pf0", NULL), -code);
	scratch_empty(&t->scratch);
	fake_dp_function(&t->dp, "pf0", 0)->connected = true;
	assert_int_equal(model_pf_del(t->model, "pf0", NULL), -EBUSY);
	le_finish(t);
	le_expect(&told[0], 0);
	le_expect(&told[1], 0);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 2)->s.max_rate, 20);
}

/* What those who get an answer may do. */

static void answer_pf1(void *ctx)
{
	struct me_env *t = ctx;

	while (fake_dp_waiting(&t->dp))
		fake_dp_answer(&t->dp, 0);
}

static void answer_from_within(void **state)
{
	struct me_env *t = *state;
	struct le_told told[2] = {{.then = answer_pf1, .ctx = t}};

	for (int code = 0; code <= EIO; code += EIO) {
		told[0].n = told[1].n = 0;
		assert_int_equal(le_set_rate(t, "pf0", 1, 10 + (unsigned int)code, &told[0]), ANSWER_LATER);
		assert_int_equal(le_set_rate(t, "pf1", 1, 20 + (unsigned int)code, &told[1]), ANSWER_LATER);
		fake_dp_answer_of(&t->dp, "pf0", 0);
		fake_dp_answer_of(&t->dp, "pf0", code);
		le_expect(&told[0], -code);
		le_expect(&told[1], 0);
		assert_int_equal(me_settings_of(t, "pf1", 1).max_rate, 20 + code);
	}
	assert_int_equal(me_settings_of(t, "pf0", 1).max_rate, 10);
}

static void delete_pf0(void *ctx)
{
	struct me_env *t = ctx;

	if (model_pf_find(t->model, "pf0"))
		assert_int_equal(model_pf_del(t->model, "pf0", NULL), 0);
}

static void add_pf0(void *ctx)
{
	struct me_env *t = ctx;

	fake_dp_all_later(&t->dp, false);
	me_add_pf(t, "pf0", "f1", 3, NULL);
}

static void delete_from_within(void **state)
{
	struct me_env *t = *state;

	for (int code = 0; code <= EIO; code += EIO) {
		struct le_told told[3] = {{.then = delete_pf0, .ctx = t}, {0}, {.then = add_pf0, .ctx = t}};

		fake_dp_all_later(&t->dp, true);
		t->events_n = 0;
		assert_int_equal(le_set_rate(t, "pf0", 1, 10, &told[0]), ANSWER_LATER);
		assert_int_equal(le_set_rate(t, "pf0", 1, 20, &told[1]), ANSWER_LATER);
		assert_int_equal(le_set_mtu(t, "pf0", 2000, &told[2]), ANSWER_LATER);
		fake_dp_answer(&t->dp, 0);
		fake_dp_answer(&t->dp, code);
		le_expect(&told[0], -code);
		le_expect(&told[1], -ENOENT);
		le_expect(&told[2], -ENOENT);
		le_finish(t);
		/* Told in the order in which it happened: first it was deleted. */
		assert_string_equal(me_last_event(t), "pf added pf0 -1");
		assert_string_equal(t->events[t->events_n - 2], "pf deleted pf0 -1");
		assert_string_equal(model_pf_find(t->model, "pf0")->s.fabric, "f1");
		assert_int_equal(model_pf_find(t->model, "pf0")->s.vfs, 3);
		assert_int_equal(me_settings_of(t, "pf0", 1).max_rate, 0);
	}
}

static void set_rate_again(void *ctx)
{
	struct me_env *t = ctx;

	assert_int_equal(le_set_rate(t, "pf0", 1, 30, NULL), ANSWER_LATER);
}

static void change_from_within(void **state)
{
	struct me_env *t = *state;
	struct le_told told[2] = {{.then = set_rate_again, .ctx = t}};

	assert_int_equal(le_set_rate(t, "pf0", 1, 10, &told[0]), ANSWER_LATER);
	assert_int_equal(le_set_rate(t, "pf0", 1, 20, &told[1]), ANSWER_LATER);
	le_finish(t);
	le_expect(&told[0], 0);
	le_expect(&told[1], 0);
	assert_int_equal(me_settings_of(t, "pf0", 1).max_rate, 30);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.max_rate, 30);
}

/* The end of the daemon. */

#define CHANGES 10

/* Some under way, some in their queues. */
static void begin_all(struct me_env *t, struct le_told told[CHANGES])
{
	struct answer answer = le_answer(&told[0]);
	struct fabric_settings s;

	fabric_settings_init(&s, "f2");
	assert_int_equal(model_fabric_add(t->model, &s, &answer, NULL), ANSWER_LATER);
	assert_int_equal(le_set_ageing(t, "f0", 10, &told[1]), ANSWER_LATER);
	assert_int_equal(le_set_ageing(t, "f0", 20, &told[2]), ANSWER_LATER);
	assert_int_equal(le_add_pf(t, "pf3", "f1", NULL, &told[3]), ANSWER_LATER);
	assert_int_equal(le_add_pf(t, "pf4", "f1", NULL, &told[4]), ANSWER_LATER);
	assert_int_equal(le_set_rate(t, "pf0", 1, 10, &told[5]), ANSWER_LATER);
	assert_int_equal(le_set_mtu(t, "pf0", 2000, &told[6]), ANSWER_LATER);
	assert_int_equal(le_set_mtu(t, "pf1", 2000, &told[7]), ANSWER_LATER);
	fabric_settings_init(&s, "f4");
	answer = le_answer(&told[8]);
	assert_int_equal(model_fabric_add(t->model, &s, &answer, NULL), ANSWER_LATER);
	assert_int_equal(le_set_rate(t, "pf2", 1, 10, &told[9]), ANSWER_LATER);
	fake_dp_answer_of(&t->dp, "pf1", 0);
	fake_dp_answer_of(&t->dp, "pf1", 0);
	fake_dp_answer_of(&t->dp, "pf2", 0);
}

static void cancelled(void **state)
{
	struct me_env *t = *state;
	struct le_told told[CHANGES] = {0};
	char *before = le_model_picture(t), *after;

	begin_all(t, told);
	model_cancel(t->model);
	for (unsigned int i = 0; i < CHANGES; i++)
		le_expect(&told[i], -ECANCELED);
	model_cancel(t->model); /* nothing is left */
	after = le_model_picture(t);
	assert_string_equal(before, after);
	assert_int_equal(t->events_n, 0);
	free(before);
	free(after);
	me_restart(t);
	for (unsigned int i = 0; i < CHANGES; i++)
		assert_int_equal(told[i].n, 1);
	assert_null(model_fabric_find(t->model, "f2"));
}

/* Without model_cancel() none is answered, and nothing leaks. */
static void forgotten(void **state)
{
	struct me_env *t = *state;
	struct le_told told[CHANGES] = {0};

	begin_all(t, told);
	me_restart(t);
	for (unsigned int i = 0; i < CHANGES; i++)
		le_expect_none(&told[i]);
}

static void delete_all(void *ctx)
{
	struct me_env *t = ctx;

	while (model_pf_at(t->model, 0))
		assert_int_equal(model_pf_del(t->model, model_pf_at(t->model, 0)->s.name, NULL), 0);
	while (model_fabric_at(t->model, 0))
		assert_int_equal(model_fabric_del(t->model, model_fabric_at(t->model, 0)->s.name, NULL), 0);
}

/* Whoever is told that it was cancelled deletes everything. */
static void cancelled_and_deleted(void **state)
{
	for (unsigned int first = 0; first < CHANGES; first++) {
		struct me_env *t = *state;
		struct le_told told[CHANGES] = {0};

		told[first].then = delete_all;
		told[first].ctx = t;
		begin_all(t, told);
		model_cancel(t->model);
		for (unsigned int i = 0; i < CHANGES; i++) {
			assert_int_equal(told[i].n, 1);
			assert_true(told[i].r == -ECANCELED || told[i].r == -ENOENT);
		}
		assert_int_equal(t->dp.functions_n, 0);
		le_teardown(state);
		le_setup(state);
	}
}

/* Whoever asks again and again gets the same answer, and not for ever. */
static void ask_again(void *ctx)
{
	struct me_env *t = ctx;
	struct err err = {0};
	struct answer answer = {0};
	struct function_settings s = me_settings_of(t, "pf0", 1);

	s.max_rate++;
	assert_int_equal(model_function_set(t->model, "pf0", 1, &s, false, &answer, &err), -ECANCELED);
	assert_int_equal(err.code, ECANCELED);
}

static void cancelled_and_asked_again(void **state)
{
	struct me_env *t = *state;
	struct le_told told[CHANGES] = {0};

	for (unsigned int i = 0; i < CHANGES; i++)
		told[i] = (struct le_told){.then = ask_again, .ctx = t};
	begin_all(t, told);
	model_cancel(t->model);
	for (unsigned int i = 0; i < CHANGES; i++)
		le_expect(&told[i], -ECANCELED);
}

/* A move that is reported while a later change waits is known when that has its turn to be saved. */
static void moved_meanwhile(void **state)
{
	struct me_env *t = *state;
	struct function_settings s = me_settings_of(t, "pf0", 1);
	struct datapath_pref a, b;
	struct le_told told[2] = {0};
	struct answer answer = le_answer(&told[0]);

	assert_int_equal(datapath_list_parse("vhost-user:path=/b/{vf},builtin", &s.datapaths, NULL), 0);
	a = s.datapaths.pref[0];
	b = s.datapaths.pref[1];
	assert_int_equal(model_function_set(t->model, "pf0", 1, &s, false, &answer, NULL), ANSWER_LATER);
	le_finish(t);
	le_expect(&told[0], 0);
	assert_int_equal(le_set_rate(t, "pf0", 1, 10, &told[1]), ANSWER_LATER);
	model_dataplane_events.datapath_changed(t->model, "pf0", 1, &a, &b, 5, NULL);
	assert_string_equal(me_last_event(t), "datapath moved pf0 1"); /* because of the list */
	le_finish(t);
	le_expect(&told[1], 0);
	model_dataplane_events.datapath_changed(t->model, "pf0", 1, &b, &a, 5, NULL);
	assert_string_equal(me_last_event(t), "datapath returned pf0 1");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, le_setup, le_teardown)
	const struct CMUnitTest tests[] = {
		TEST(same_mac),
		TEST(same_mac_for_guest),
		TEST(same_permanent_mac),
		TEST(same_name),
		TEST(same_uplink),
		TEST(fabric_in_the_making),
		TEST(fabric_deleted),
		TEST(pf_deleted),
		TEST(pf_not_deleted),
		TEST(answer_from_within),
		TEST(delete_from_within),
		TEST(change_from_within),
		TEST(cancelled),
		TEST(forgotten),
		TEST(cancelled_and_deleted),
		TEST(cancelled_and_asked_again),
		TEST(moved_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
