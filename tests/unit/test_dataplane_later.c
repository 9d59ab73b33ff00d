/* SPDX-License-Identifier: Apache-2.0 */

/* The data plane over a fabric that answers later: what is deleted answers nothing more. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <systemd/sd-event.h>

#include "dataplane/dataplane.h"
#include "fake_fabric.h"
#include "scratch_dir.h"
#include "util/log.h"

struct env {
	sd_event *event;
	struct dataplane *dp;
	struct scratch dir;
	struct pf_settings pf;
	struct function_settings s;
	unsigned int answers;
	int r;
};

static const struct dataplane_events events;

static void on_answer(void *ctx, int r, const struct err *err)
{
	struct env *e = ctx;

	(void)err;
	e->answers++;
	e->r = r;
}

static int check(struct env *e, unsigned int fn)
{
	struct answer answer = {on_answer, e};

	return dataplane_ops.function_check(e->dp, "f", &e->pf, fn, &e->s, &answer, NULL);
}

static void add_functions(struct env *e)
{
	struct function_offer offer = {0};
	char name[32], path[256];

	for (unsigned int fn = 0; fn <= e->pf.vfs; fn++) {
		snprintf(name, sizeof(name), "%u.sock", fn);
		assert_int_equal(dataplane_ops.function_add(e->dp, &e->pf, fn, &e->s, &offer,
							    scratch_path(&e->dir, name, path), NULL),
				 0);
	}
}

static void delete_functions(struct env *e)
{
	for (unsigned int fn = e->pf.vfs + 1; fn-- > 0;)
		dataplane_ops.function_del(e->dp, "pf", fn);
}

static int setup(void **state)
{
	struct env *e = calloc(1, sizeof(*e));
	struct dataplane_config config = {.workers = 1,
					  .cpus = {[0 ... 63] = -1},
					  .socket_mode = 0600,
					  .socket_group = UINT32_MAX,
					  .events = &events};
	struct fabric_settings f;
	struct err err = {0};

	assert_non_null(e);
	log_set_level((enum log_level)0);
	scratch_make(&e->dir);
	assert_true(sd_event_new(&e->event) >= 0);
	ff_reset();
	config.event = e->event;
	if (dataplane_new(&config, &e->dp, &err) < 0)
		fail_msg("%s", err.text);
	fabric_settings_init(&f, "f");
	assert_int_equal(dataplane_ops.fabric_add(e->dp, &f, &(struct answer){0}, &err), 0);
	pf_settings_init(&e->pf, "pf");
	strcpy(e->pf.fabric, "f");
	e->pf.vfs = 1;
	function_settings_init(&e->s);
	datapath_list_init(&e->s.datapaths, f.type);
	add_functions(e);
	ff.how[FF_CHECK] = FF_LATER;
	*state = e;
	return 0;
}

static int teardown(void **state)
{
	struct env *e = *state;

	dataplane_free(e->dp);
	sd_event_unref(e->event);
	scratch_remove(&e->dir);
	free(e);
	return 0;
}

/* Only those of the function that is deleted. */
static void function_deleted(void **state)
{
	struct env *e = *state;

	for (unsigned int fn = 0; fn <= 1; fn++)
		assert_int_equal(check(e, fn), ANSWER_LATER);
	dataplane_ops.function_del(e->dp, "pf", 1);
	for (unsigned int i = 0; i < 2; i++)
		fabric_check_answer(ff.fabric, ff.checks[i], 0, NULL);
	assert_int_equal(e->answers, 1);
	dataplane_ops.function_del(e->dp, "pf", 0);
}

/* Functions that are yet to be added have none that could be deleted. */
static void fabric_deleted(void **state)
{
	struct env *e = *state;

	delete_functions(e);
	for (unsigned int fn = 0; fn <= 1; fn++)
		assert_int_equal(check(e, fn), ANSWER_LATER);
	dataplane_ops.fabric_del(e->dp, "f");
	assert_int_equal(e->answers, 0);
}

/* With a reason, in time, and all at the end. */
static void answered(void **state)
{
	struct env *e = *state;

	assert_int_equal(check(e, 1), ANSWER_LATER);
	fabric_check_answer(ff.fabric, ff.checks[0], -EOPNOTSUPP, NULL);
	assert_int_equal(e->answers, 1);
	assert_int_equal(e->r, -EOPNOTSUPP);
	ff.how[FF_CHECK] = FF_FAIL;
	assert_true(check(e, 1) < 0);
	ff.how[FF_CHECK] = FF_NOW;
	assert_int_equal(check(e, 1), 0);
	ff.how[FF_CHECK] = FF_LATER;
	assert_int_equal(check(e, 1), ANSWER_LATER);
	delete_functions(e);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(function_deleted),
		TEST(fabric_deleted),
		TEST(answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
