/* SPDX-License-Identifier: Apache-2.0 */

/* Datapaths that fail, die, answer wrongly or never, and a fabric that takes its port away: which one serves then. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "binding_env.h"

static void test_bind_fails_at_each_step(void **state)
{
	struct bt_env *e = *state;

	bt_new(e, bt_list(3, BT_VHOST_USER, BT_VDPA, BT_BUILTIN), false);
	for (enum bt_step s = OPEN; s <= START; s++) {
		e->plan[BT_VHOST_USER].how[s] = e->plan[BT_VDPA].how[s] = FAIL;
		bt_start_all(e);
		bt_settle(e);
		bt_expect_bound(e, BT_BUILTIN);
		assert_int_equal(e->failed, BT_VDPA);
		assert_int_equal(bt_info(e).position, 2);
		assert_non_null(strstr(bt_info(e).last_error, "fails"));
		e->plan[BT_VHOST_USER].how[s] = e->plan[BT_VDPA].how[s] = NOW;
		bt_stop_all(e);
		bt_settle(e);
		assert_int_equal(bt_info(e).failures, 2 * (s + 1));
	}
	assert_int_equal(e->failures, 6);
	/* it dies between two steps */
	e->plan[BT_VHOST_USER].how[PREPARE] = LATE;
	bt_start_all(e);
	bt_settle(e);
	bt_die(e, BT_VHOST_USER);
	bt_settle(e);
	bt_expect_bound(e, BT_VDPA);
	bt_stop_all(e);
	bt_settle(e);
	e->plan[BT_VHOST_USER].how[PREPARE] = NOW;
	e->plan[BT_VHOST_USER].how[START] = LATE;
	bt_start_all(e);
	bt_settle(e);
	bt_die(e, BT_VHOST_USER);
	bt_settle(e);
	bt_expect_bound(e, BT_VDPA);
}

static void start_and_stop(struct bt_env *e)
{
	bt_start_all(e);
	bt_settle(e);
	bt_stop_all(e);
	bt_settle(e);
}

/* The owner is told once of what fails in the same way, and counts each. */
static void test_same_failure(void **state)
{
	struct bt_env *e = *state;

	bt_new(e, bt_list(2, BT_VHOST_USER, BT_VDPA), false);
	e->plan[BT_VHOST_USER].how[OPEN] = FAIL;
	start_and_stop(e);
	assert_int_equal(e->failures, 1);
	start_and_stop(e);
	assert_int_equal(e->failures, 1);
	assert_int_equal(bt_info(e).failures, 2);
	e->plan[BT_VHOST_USER].how[OPEN] = NOW;
	e->plan[BT_VHOST_USER].how[START] = FAIL;
	start_and_stop(e);
	assert_int_equal(e->failures, 2);
	start_and_stop(e);
	assert_int_equal(e->failures, 2);
	e->plan[BT_VHOST_USER].how[START] = NOW;
	start_and_stop(e);
	e->plan[BT_VHOST_USER].how[START] = FAIL;
	start_and_stop(e);
	assert_int_equal(e->failures, 3);
	bt_set_list(e, bt_list(3, BT_VHOST_USER, BT_VDPA, BT_BUILTIN), false);
	start_and_stop(e);
	assert_int_equal(e->failures, 4);
	assert_int_equal(e->failed, BT_VHOST_USER);
}

/* One that never answers is left after its time, whatever it was asked. */
static void test_never(void **state)
{
	struct bt_env *e = *state;

	bt_new(e, bt_list(2, BT_VHOST_USER, BT_BUILTIN), false);
	e->plan[BT_VHOST_USER].how[PREPARE] = LATE;
	bt_start_all(e);
	BT_UNTIL(e, e->current == BT_BUILTIN);
	bt_expect_bound(e, BT_BUILTIN);
	assert_string_equal(e->failed_why, "it did not get ready in time");
	e->plan[BT_VHOST_USER].how[PREPARE] = NOW;
	e->plan[BT_VHOST_USER].how[START] = LATE;
	bt_set_list(e, bt_list(2, BT_VHOST_USER, BT_VHOST_NET), false);
	BT_UNTIL(e, e->failed == BT_VHOST_USER && e->current == BT_VHOST_NET);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_NET);
	assert_string_equal(bt_info(e).last_error, "it did not start in time");
	/* and to give back the rings: they are where memory says */
	e->plan[BT_VHOST_NET].how[STOP] = LATE;
	bt_set_list(e, bt_list(1, BT_BUILTIN), false);
	bt_settle(e);
	assert_int_equal(e->plan[BT_VHOST_NET].f->phase, P_STOPPING);
	bt_serve(e->plan[BT_VHOST_NET].f, 11);
	BT_UNTIL(e, e->current == BT_BUILTIN);
	bt_expect_bound(e, BT_BUILTIN);
	assert_string_equal(e->failed_why, "it did not give back the rings in time");
	assert_true(e->gap >= DATAPATH_STOP_US && e->gap < 2 * DATAPATH_STOP_US);
}

/* A step's time begins with the step, whatever took how long before it in the same turn of the event loop. */
static void test_loop_was_late(void **state)
{
	struct bt_env *e = *state;

	bt_new(e, bt_list(2, BT_VHOST_USER, BT_BUILTIN), false);
	bt_start_all(e);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);
	e->plan[BT_VHOST_USER].how[STOP] = LATE;
	e->plan[BT_BUILTIN].slow = true;
	bt_set_list(e, bt_list(1, BT_BUILTIN), false);
	bt_settle(e);
	assert_int_equal(e->plan[BT_VHOST_USER].f->phase, P_STOPPING);
	bt_answer(e, BT_VHOST_USER, 0);
	bt_settle(e);
	bt_expect_bound(e, BT_BUILTIN);
	assert_int_equal(bt_info(e).failures, 0);
}

static void test_none(void **state)
{
	struct bt_env *e = *state;
	unsigned int told;

	bt_new(e, bt_list(2, BT_VHOST_USER, BT_VDPA), false);
	e->plan[BT_VHOST_USER].how[OPEN] = e->plan[BT_VDPA].how[START] = FAIL;
	bt_start_all(e);
	BT_UNTIL(e, !e->usable);
	assert_int_equal(bt_info(e).state, BINDING_NONE);
	assert_int_equal(e->current, -1);
	told = e->failures;
	BT_UNTIL(e, e->plan[BT_VHOST_USER].opens == 3);
	assert_int_equal(e->failures, told); /* the same again is no news */
	assert_true(bt_info(e).failures >= 4);
	e->plan[BT_VDPA].how[START] = NOW;
	BT_UNTIL(e, e->usable);
	bt_settle(e);
	bt_expect_bound(e, BT_VDPA);
	assert_int_equal(bt_info(e).moves, 0);
	/* none can be opened any more, and then no ring needs one */
	e->plan[BT_VDPA].how[OPEN] = FAIL;
	bt_die(e, BT_VDPA);
	BT_UNTIL(e, !e->usable);
	assert_int_equal(e->current, -1);
	assert_string_equal(e->why, "it died");
	bt_stop_all(e);
	bt_settle(e);
	assert_true(e->usable);
	assert_int_equal(bt_info(e).state, BINDING_IDLE);
}

static void test_move_fails_at_each_step(void **state)
{
	struct bt_env *e = *state;

	bt_new(e, bt_list(1, BT_BUILTIN), false);
	bt_start_all(e);
	bt_settle(e);
	for (enum bt_step s = OPEN; s <= START; s++) {
		uint64_t moves = bt_info(e).moves;

		e->plan[BT_VHOST_USER].how[s] = FAIL;
		bt_set_list(e, bt_list(2, BT_VHOST_USER, BT_BUILTIN), false);
		bt_settle(e);
		bt_expect_bound(e, BT_BUILTIN); /* still, or again */
		assert_int_equal(e->failed, BT_VHOST_USER);
		assert_int_equal(bt_info(e).moves, moves);
		assert_int_equal(bt_info(e).position, 1);
		e->plan[BT_VHOST_USER].how[s] = NOW;
		bt_set_list(e, bt_list(1, BT_BUILTIN), false);
		bt_settle(e);
	}
	/* The new one dies at each step. */
	for (enum bt_step s = PREPARE; s <= START; s++) {
		e->plan[BT_VHOST_USER].how[s] = LATE;
		bt_set_list(e, bt_list(2, BT_VHOST_USER, BT_BUILTIN), false);
		bt_settle(e);
		assert_int_equal(e->plan[BT_VHOST_USER].f->phase, s == PREPARE ? P_PREPARING : P_STARTING);
		bt_die(e, BT_VHOST_USER);
		bt_settle(e);
		bt_expect_bound(e, BT_BUILTIN);
		e->plan[BT_VHOST_USER].how[s] = NOW;
		bt_set_list(e, bt_list(1, BT_BUILTIN), false);
		bt_settle(e);
	}
	/* The old one dies at each step. */
	for (enum bt_step s = PREPARE; s <= STOP; s++) {
		bt_set_list(e, bt_list(1, BT_VHOST_NET), false);
		bt_settle(e);
		bt_expect_bound(e, BT_VHOST_NET);
		e->plan[s == STOP ? BT_VHOST_NET : BT_VHOST_USER].how[s] = LATE;
		bt_set_list(e, bt_list(2, BT_VHOST_USER, BT_VHOST_NET), false);
		bt_settle(e);
		assert_non_null(e->plan[BT_VHOST_NET].f);
		bt_die(e, BT_VHOST_NET);
		bt_settle(e);
		if (s != STOP) {
			bt_answer(e, BT_VHOST_USER, 0);
			bt_settle(e);
		}
		bt_expect_bound(e, BT_VHOST_USER);
		assert_string_equal(e->why, "it died");
		bt_all_now(e, BT_VHOST_USER);
		bt_all_now(e, BT_VHOST_NET);
	}
	/* Both die. */
	e->plan[BT_VDPA].how[START] = LATE;
	bt_set_list(e, bt_list(2, BT_VDPA, BT_BUILTIN), false);
	bt_settle(e);
	bt_die(e, BT_VHOST_USER);
	bt_die(e, BT_VDPA);
	bt_settle(e);
	bt_expect_bound(e, BT_BUILTIN);
}

/* The fabric takes its port away: a datapath that leads there failed, the others have nothing to do with it. */
static void test_port_lost(void **state)
{
	struct bt_env *e = *state;

	bt_new(e, bt_list(2, BT_BUILTIN, BT_VHOST_USER), false);
	bt_start_all(e);
	bt_settle(e);
	bt_expect_bound(e, BT_BUILTIN);
	binding_port_lost(e->b);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);
	assert_int_equal(e->plan[BT_BUILTIN].closes, 1);
	assert_int_equal(e->failures, 1);
	binding_port_lost(e->b);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);
	assert_int_equal(e->failures, 1);

	/* In the midst of a move there, and with no other in the list. */
	e->plan[BT_BUILTIN].how[PREPARE] = LATE;
	bt_set_list(e, bt_list(1, BT_BUILTIN), false);
	bt_settle(e);
	binding_port_lost(e->b);
	bt_settle(e);
	assert_int_equal(e->plan[BT_BUILTIN].closes, 2);
	e->plan[BT_BUILTIN].how[PREPARE] = NOW;
	BT_UNTIL(e, e->current == BT_BUILTIN);
	bt_expect_bound(e, BT_BUILTIN);
	binding_port_lost(e->b);
	bt_settle(e);
	assert_int_equal(e->current, -1);
	assert_false(e->usable);
	BT_UNTIL(e, e->current == BT_BUILTIN);
	assert_true(e->usable);
}

static void test_failback(void **state)
{
	struct bt_env *e = *state;

	bt_new(e, bt_list(3, BT_VHOST_USER, BT_VDPA, BT_BUILTIN), true);
	bt_start_all(e);
	bt_settle(e);
	e->plan[BT_VHOST_USER].how[OPEN] = e->plan[BT_VDPA].how[PREPARE] = FAIL;
	bt_die(e, BT_VHOST_USER);
	bt_settle(e);
	bt_expect_bound(e, BT_BUILTIN);
	assert_string_equal(e->why, "it died");
	e->plan[BT_VDPA].how[PREPARE] = NOW;
	BT_UNTIL(e, e->current == BT_VDPA);
	bt_expect_bound(e, BT_VDPA);
	assert_string_equal(e->why, "");
	e->plan[BT_VHOST_USER].how[OPEN] = NOW;
	BT_UNTIL(e, e->current == BT_VHOST_USER);
	bt_expect_bound(e, BT_VHOST_USER);
	assert_int_equal(bt_info(e).position, 0);
	assert_int_equal(bt_info(e).moves, 3);

	/* not asked for */
	bt_set_list(e, bt_list(3, BT_VHOST_USER, BT_VDPA, BT_BUILTIN), false);
	bt_die(e, BT_VHOST_USER);
	bt_settle(e);
	bt_expect_bound(e, BT_VDPA);
	for (unsigned int i = 0; i < 150; i++)
		sd_event_run(e->event, 10000);
	bt_expect_bound(e, BT_VDPA);
}

/* No longer in the list: it serves until there is another, if all settings are in force where it leads. */
static void test_outside(void **state)
{
	struct bt_env *e = *state;

	bt_new(e, bt_list(1, BT_BUILTIN), false);
	bt_start_all(e);
	bt_settle(e);
	e->plan[BT_VHOST_USER].how[PREPARE] = FAIL;
	bt_set_list(e, bt_list(1, BT_VHOST_USER), false);
	bt_settle(e);
	bt_expect_bound(e, BT_BUILTIN);
	assert_int_equal(bt_info(e).position, 1);
	e->plan[BT_VHOST_USER].how[PREPARE] = NOW;
	BT_UNTIL(e, e->current == BT_VHOST_USER);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);

	e->plan[BT_VDPA].how[START] = FAIL;
	bt_set_list(e, bt_list(1, BT_VDPA), false);
	BT_UNTIL(e, !e->usable);
	assert_int_equal(e->current, -1);
	assert_null(e->plan[BT_VHOST_USER].f);
	e->plan[BT_VDPA].how[START] = NOW;
	BT_UNTIL(e, e->usable);
	bt_settle(e);
	bt_expect_bound(e, BT_VDPA);
}

/* Answers that were not asked for, or that cannot be. */
static void test_wrong_answers(void **state)
{
	struct bt_env *e = *state;
	struct bt_fake *f;

	bt_new(e, bt_list(1, BT_VHOST_USER), false);
	e->plan[BT_VHOST_USER].how[PREPARE] = e->plan[BT_VHOST_USER].how[START] =
		e->plan[BT_VHOST_USER].how[STOP] = LATE;
	bt_start_all(e);
	bt_settle(e);
	f = e->plan[BT_VHOST_USER].f;
	f->dp.events->started(f->dp.ctx, 0, NULL);
	f->dp.events->stopped(f->dp.ctx);
	f->dp.events->ring_error(f->dp.ctx, 0, "no");
	f->dp.events->ring_error(f->dp.ctx, 9999, "no");
	f->dp.events->doorbell(f->dp.ctx, 9999, 0, 0, 4096);
	f->dp.events->doorbell(f->dp.ctx, 0, 0, 0, 4096);
	bt_settle(e);
	assert_int_equal(bt_info(e).state, BINDING_BINDING);
	bt_answer(e, BT_VHOST_USER, 0);
	f->dp.events->prepared(f->dp.ctx, -EIO, "again");
	bt_settle(e);
	assert_int_equal(f->phase, P_STARTING);
	bt_answer(e, BT_VHOST_USER, 0);
	f->dp.events->started(f->dp.ctx, 0, NULL);
	bt_settle(e);
	f->dp.events->stopped(f->dp.ctx);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);
	assert_int_equal(e->errors + e->doorbells, 0);
	/* Indices further apart than the ring is long. */
	assert_false(binding_quiesce(e->b, 0));
	for (unsigned int i = 0; i < BT_QUEUES; i++)
		f->ring[i]->avail_idx = (uint16_t)(f->ring[i]->used_idx + 300);
	f->phase = P_PREPARED;
	bt_disown(f);
	f->dp.events->stopped(f->dp.ctx);
	BT_UNTIL(e, e->quiesced == 1);
	bt_stop(e, 0); /* checks them */
	/* It died, and died. */
	f->dp.events->failed(f->dp.ctx, NULL);
	f->dp.events->failed(f->dp.ctx, "again");
	bt_settle(e);
	assert_string_equal(e->failed_why, "it failed");
	assert_int_equal(bt_info(e).failures, 1);
}

static void test_ring_error(void **state)
{
	struct bt_env *e = *state;
	struct bt_fake *f;

	bt_new(e, bt_list(1, BT_BUILTIN), false);
	bt_start_all(e);
	bt_settle(e);
	f = e->plan[BT_BUILTIN].f;
	e->stop_at_error = true;
	f->dp.events->ring_error(f->dp.ctx, 2, "broken");
	f->dp.events->ring_error(f->dp.ctx, 2, "broken");
	bt_settle(e);
	assert_int_equal(e->errors, 1);
	assert_false(e->ring[2].started);
	bt_expect_bound(e, BT_BUILTIN);
	/* One that is left there goes to no other datapath. */
	e->stop_at_error = false;
	f->dp.events->ring_error(f->dp.ctx, 1, "broken");
	bt_settle(e);
	bt_set_list(e, bt_list(1, BT_VHOST_USER), false);
	bt_settle(e);
	assert_int_equal(e->current, BT_VHOST_USER);
	assert_null(e->ring[1].owner);
	assert_non_null(e->ring[0].owner);
	bt_stop(e, 1);
	bt_start(e, 1);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, bt_setup, bt_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_bind_fails_at_each_step),
		TEST(test_same_failure),
		TEST(test_never),
		TEST(test_loop_was_late),
		TEST(test_none),
		TEST(test_move_fails_at_each_step),
		TEST(test_port_lost),
		TEST(test_failback),
		TEST(test_outside),
		TEST(test_wrong_answers),
		TEST(test_ring_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
