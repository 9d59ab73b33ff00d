/* SPDX-License-Identifier: Apache-2.0 */

/* The daemon's start while the data plane makes fabrics in its own time. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "later_env.h"

#define TURN_US 3000 /* between answers: the timer for absent uplinks comes in between */

/* Who answers while model_load() runs the loop. */
struct answerer {
	struct me_env *t;
	sd_event_source *timer;
	const char *last;  /* of this fabric only when no other waits; NULL: the oldest first */
	const char *fails; /* the fabric that cannot be made, at first */
	int error;
	unsigned int failures; /* left */
	unsigned int answers;
};

static int on_time(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct answerer *a = ctx;
	struct fake_dataplane *dp = &a->t->dp;
	const char *name = fake_dp_next(dp, a->last);

	(void)usec;
	sd_event_source_set_time_relative(source, TURN_US);
	sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	if (!name)
		return 0;
	a->answers++;
	if (a->fails && !strcmp(name, a->fails) && a->failures) {
		a->failures--;
		fake_dp_answer_of(dp, name, a->error);
	} else {
		fake_dp_answer_of(dp, name, 0);
	}
	return 0;
}

/* Everything is as it was set up, and the model is about to be loaded. */
static void restart(struct me_env *t, struct answerer *a)
{
	fake_dp_all_later(&t->dp, false);
	me_stop(t);
	me_start(t);
	t->events_n = 0;
	t->dp.later[FAKE_FABRIC_ADD] = true;
	a->t = t;
	a->answers = 0;
	assert_true(sd_event_add_time_relative(t->event, &a->timer, CLOCK_MONOTONIC, TURN_US, 0, on_time,
					       a) >= 0);
}

static void stop_answering(struct answerer *a)
{
	a->timer = sd_event_source_disable_unref(a->timer);
}

static void all_later(void **state)
{
	struct me_env *t = *state;
	char *model = le_model_picture(t), *dp = le_dp_picture(t), *now;
	struct answerer a = {0};

	restart(t, &a);
	me_load(t);
	assert_int_equal(a.answers, 2);
	now = le_model_picture(t);
	assert_string_equal(now, model);
	free(now);
	now = le_dp_picture(t);
	assert_string_equal(now, dp);
	free(now);
	free(model);
	free(dp);
	assert_int_equal(t->events_n, 0);
	stop_answering(&a);
}

/* One cannot be made at all; the reason is the start's, after the others were waited for. */
static void one_fails(void **state)
{
	static const char *const fabrics[] = {"f0", "f1"};
	struct me_env *t = *state;

	for (unsigned int i = 0; i < 2; i++)
		for (unsigned int k = 0; k < 2; k++) {
			struct answerer a = {
				.fails = fabrics[i], .error = EIO, .failures = 2, .last = fabrics[k]};
			struct err err = {0};

			restart(t, &a);
			assert_int_equal(model_load(t->model, &fake_dp_ops, &t->dp, &err), -EIO);
			assert_string_equal(err.text, "scripted");
			assert_null(t->dp.waiting);
			assert_int_equal(t->dp.functions_n, 0);
			stop_answering(&a);
			me_restart(t);
		}
}

/* The uplink fails, at once or later, and the fabric is made without it. */
static void without_uplink(void **state)
{
	struct me_env *t = *state;

	for (unsigned int later = 0; later < 2; later++)
		for (unsigned int slow = 0; slow < 2; slow++) {
			struct answerer a = {.last = slow ? "f1" : "f0"};
			const struct model_fabric *f;

			restart(t, &a);
			t->dp.later[FAKE_FABRIC_ADD] = later || slow;
			strcpy(t->dp.no_such_netdev, "eth0");
			if (later) {
				a.fails = "f0";
				a.failures = 1;
				a.error = ENODEV;
			}
			me_load(t);
			f = model_fabric_find(t->model, "f0");
			assert_true(f->uplink_absent);
			assert_true(f->uplink_error[0]);
			assert_int_equal(fake_dp_fabric(&t->dp, "f0")->uplink, UPLINK_NONE);
			for (unsigned int fn = 0; fn <= 2; fn++)
				assert_int_equal(fake_dp_function(&t->dp, "pf0", fn)->s.link, LINK_DISABLE);
			assert_int_equal(fake_dp_function(&t->dp, "pf2", 1)->s.link, LINK_AUTO);
			assert_int_equal(t->events_n, 1);
			assert_string_equal(me_last_event(t), "fabric uplink f0 -1");
			stop_answering(&a);
		}
}

/* It comes back while another fabric is waited for. */
static void uplink_back_during_start(void **state)
{
	struct me_env *t = *state;
	struct answerer a = {.fails = "f0", .failures = 1, .error = ENODEV, .last = "f1"};

	restart(t, &a);
	me_load(t);
	while (model_fabric_find(t->model, "f0")->uplink_absent)
		assert_true(sd_event_run(t->event, UINT64_MAX) > 0);
	assert_int_equal(fake_dp_fabric(&t->dp, "f0")->uplink, UPLINK_NETDEV);
	for (unsigned int fn = 0; fn <= 2; fn++)
		assert_int_equal(fake_dp_function(&t->dp, "pf0", fn)->s.link, LINK_AUTO);
	stop_answering(&a);
}

static int on_end(sd_event_source *source, uint64_t usec, void *ctx)
{
	(void)usec;
	(void)ctx;
	return sd_event_exit(sd_event_source_get_event(source), 0);
}

/* SIGTERM while fabrics are waited for. */
static void ended(void **state)
{
	struct me_env *t = *state;
	sd_event_source *end = NULL;
	struct err err = {0};

	me_stop(t);
	me_start(t);
	t->dp.later[FAKE_FABRIC_ADD] = true;
	assert_true(sd_event_add_time_relative(t->event, &end, CLOCK_MONOTONIC, TURN_US, 0, on_end, NULL) >=
		    0);
	assert_int_equal(model_load(t->model, &fake_dp_ops, &t->dp, &err), -ECANCELED);
	assert_int_equal(err.code, ECANCELED);
	sd_event_source_disable_unref(end);
	/* As the daemon does then. */
	model_cancel(t->model);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, le_setup, le_teardown)
	const struct CMUnitTest tests[] = {
		TEST(all_later), TEST(one_fails), TEST(without_uplink), TEST(uplink_back_during_start),
		TEST(ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
