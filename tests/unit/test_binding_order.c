/* SPDX-License-Identifier: Apache-2.0 */

/* Who has the rings, and in which order it comes by them: a driver that starts and stops them, a list that
 * changes, and datapaths that do what they are asked. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/eventfd.h>

#include "binding_env.h"

#define LAST (BT_QUEUES - 1)

enum action { TEAR_OUT, QUIESCE_ONE, QUIESCE_ALL, START_LAST, STOP_ALL, ACTIONS };

/* Nothing is open before a ring starts, nor after the last one stopped. */
static void test_on_demand(void **state)
{
	struct bt_env *e = *state;

	bt_new(e, bt_list(2, BT_VHOST_USER, BT_BUILTIN), false);
	bt_settle(e);
	assert_int_equal(e->plan[BT_VHOST_USER].opens, 0);
	assert_int_equal(bt_info(e).state, BINDING_IDLE);
	assert_null(bt_info(e).pref.type);
	for (unsigned int round = 1; round < 4; round++) {
		bt_start_all(e);
		bt_settle(e);
		bt_expect_bound(e, BT_VHOST_USER);
		/* all rings at once, though they came one by one */
		assert_int_equal(e->plan[BT_VHOST_USER].starts, round);
		assert_true(e->plan[BT_VHOST_USER].sets >= round);
		/* Nothing has been done yet that a driver would have to be told of. */
		for (unsigned int i = 0; i < BT_QUEUES; i++)
			assert_true(bt_notified(e->ring[i].q.kickfd) && !bt_notified(e->ring[i].q.callfd));
		assert_true(binding_quiesce(e->b, -1));
		bt_stop_all(e);
		bt_settle(e);
		assert_null(e->plan[BT_VHOST_USER].f);
		assert_int_equal(e->current, -1);
		assert_int_equal(bt_info(e).state, BINDING_IDLE);
	}
	assert_int_equal(bt_info(e).binds, 3);
	assert_int_equal(bt_info(e).moves, 0);
	assert_int_equal(bt_info(e).failures, 0);
	assert_int_equal(e->failures, 0);
	assert_int_equal(e->plan[BT_BUILTIN].opens, 0);
}

static void test_move(void **state)
{
	struct bt_env *e = *state;

	bt_new(e, bt_list(1, BT_BUILTIN), false);
	bt_start_all(e);
	bt_settle(e);
	bt_expect_bound(e, BT_BUILTIN);
	for (enum bt_how prepare = NOW; prepare <= LATE; prepare++)
		for (unsigned int late = 0; late < 4; late++) {
			unsigned int from = late % 2 ? BT_VHOST_USER : BT_BUILTIN,
				     to = late % 2 ? BT_BUILTIN : BT_VHOST_USER;
			uint64_t moves;

			bt_set_list(e, bt_list(1, from), false);
			bt_settle(e);
			bt_expect_bound(e, (int)from);
			moves = bt_info(e).moves;
			e->plan[to].how[PREPARE] = prepare;
			e->plan[to].how[START] = e->plan[from].how[STOP] = late / 2 ? LATE : NOW;
			for (unsigned int i = 0; i < BT_QUEUES; i++) {
				bt_notified(e->ring[i].q.kickfd);
				bt_notified(e->ring[i].q.callfd);
			}
			bt_set_list(e, bt_list(1, to), false);
			bt_settle(e);
			if (prepare == LATE) {
				assert_int_equal(bt_info(e).state, BINDING_MOVING);
				assert_int_equal(e->plan[from].f->phase, P_STARTED); /* meanwhile */
				bt_serve(e->plan[from].f, 100);
				bt_answer(e, to, 0);
				bt_settle(e);
			}
			if (late / 2) {
				assert_int_equal(e->plan[from].f->phase, P_STOPPING);
				assert_int_equal(e->plan[to].f->phase, P_PREPARED);
				bt_answer(e, from, 0);
				bt_settle(e);
				assert_int_equal(e->plan[to].f->phase, P_STARTING);
				bt_answer(e, to, 0);
				bt_settle(e);
			}
			bt_expect_bound(e, (int)to);
			assert_int_equal(bt_info(e).moves, moves + 1);
			assert_int_equal(bt_info(e).last_gap_us, e->gap);
			assert_string_equal(e->why, "");
			for (unsigned int i = 0; i < BT_QUEUES; i++)
				assert_true(bt_notified(e->ring[i].q.kickfd) &&
					    bt_notified(e->ring[i].q.callfd));
			bt_all_now(e, to);
			bt_all_now(e, from);
		}
	assert_int_equal(e->failures, 0);
}

/* Back to the old list, or on to a third one, at each step. */
static void test_list_changes_in_mid_move(void **state)
{
	static const enum bt_type goals[] = {BT_VHOST_NET, BT_BUILTIN, BT_VDPA};
	struct bt_env *e = *state;

	bt_new(e, bt_list(1, BT_VHOST_NET), false);
	bt_start_all(e);
	bt_settle(e);
	for (enum bt_step s = PREPARE; s <= STOP; s++)
		for (unsigned int i = 0; i < 3; i++) {
			enum bt_type goal = goals[i];

			bt_set_list(e, bt_list(1, BT_VHOST_NET), false);
			bt_settle(e);
			bt_expect_bound(e, BT_VHOST_NET);
			e->plan[s == STOP ? BT_VHOST_NET : BT_VHOST_USER].how[s] = LATE;
			bt_set_list(e, bt_list(1, BT_VHOST_USER), false);
			bt_settle(e);
			bt_set_list(e, bt_list(1, goal), false);
			bt_settle(e);
			if (s == STOP)
				bt_answer(e, BT_VHOST_NET, 0);
			else if (e->plan[BT_VHOST_USER].f) /* dropped while it prepares; with the rings later */
				bt_answer(e, BT_VHOST_USER, 0);
			bt_all_now(e, BT_VHOST_NET);
			bt_settle(e);
			bt_expect_bound(e, goal);
			bt_all_now(e, BT_VHOST_USER);
		}
	assert_int_equal(e->failures, 0);
}

static void step_through(struct bt_env *e, enum bt_type type)
{
	for (unsigned int i = 0; i < 20; i++) {
		struct bt_fake *f = e->plan[type].f;

		bt_settle(e);
		if (f == e->plan[type].f && bt_owes_answer(f))
			bt_answer(e, type, 0);
	}
}

/* All rings but the last are started, and `from` serves them. */
static void bound_with_one_stopped(struct bt_env *e, enum bt_type from)
{
	bt_set_list(e, bt_list(1, BT_VHOST_NET), false);
	for (unsigned int i = 0; i < LAST; i++)
		if (!e->ring[i].started)
			bt_start(e, i);
	if (e->ring[LAST].started)
		bt_stop(e, LAST);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_NET);
	if (from != BT_VHOST_NET) {
		bt_set_list(e, bt_list(1, from), false);
		bt_settle(e);
		bt_expect_bound(e, (int)from);
	}
}

static void quiesce(struct bt_env *e, int ring, enum bt_type asked)
{
	unsigned int quiesced = e->quiesced;

	if (!binding_quiesce(e->b, ring)) {
		step_through(e, asked);
		assert_int_equal(e->quiesced, quiesced + 1);
	}
}

/* `asked` has yet to answer. */
static void driver_does(struct bt_env *e, enum action action, enum bt_type asked)
{
	switch (action) {
	case TEAR_OUT:
		bt_stop(e, 1);
		break;
	case QUIESCE_ONE:
		quiesce(e, 1, asked);
		break;
	case QUIESCE_ALL:
		quiesce(e, -1, asked);
		break;
	case START_LAST:
		bt_start(e, LAST);
		break;
	case STOP_ALL:
		for (unsigned int i = 0; i < LAST; i++)
			bt_stop(e, i);
		bt_settle(e);
		assert_int_equal(bt_info(e).state, BINDING_IDLE);
		assert_null(e->plan[asked].f);
		bt_start(e, 2);
		break;
	default:
		fail();
	}
}

/* What a driver does while a datapath is at some step: stops a ring, properly or not, starts one, all. */
static void driver_at_each_step(struct bt_env *e, enum bt_type x)
{
	for (enum bt_step s = PREPARE; s <= STOP; s++)
		for (enum action action = 0; action < ACTIONS; action++) {
			enum bt_type from = s == STOP ? x : BT_VHOST_NET;
			enum bt_type to = s == STOP ? BT_VHOST_NET : x;

			bound_with_one_stopped(e, from);
			e->plan[x].how[s] = LATE;
			bt_set_list(e, bt_list(1, to), false);
			bt_settle(e);
			assert_non_null(e->plan[x].f);
			driver_does(e, action, x);
			step_through(e, x);
			bt_expect_bound(e, (int)to);
			bt_all_now(e, x);
		}
}

static void test_driver_at_each_step(void **state)
{
	struct bt_env *e = *state;

	bt_new(e, bt_list(1, BT_VHOST_NET), false);
	driver_at_each_step(e, BT_VHOST_USER);
	driver_at_each_step(e, BT_BUILTIN);
	assert_int_equal(e->failures, 0);
}

static void test_quiesce(void **state)
{
	struct bt_env *e = *state;

	bt_new(e, bt_list(1, BT_VHOST_USER), false);
	bt_start_all(e);
	bt_settle(e);
	e->plan[BT_VHOST_USER].how[STOP] = LATE;
	assert_false(binding_quiesce(e->b, 1));
	bt_settle(e);
	assert_int_equal(e->quiesced, 0);
	bt_answer(e, BT_VHOST_USER, 0);
	BT_UNTIL(e, e->quiesced == 1);
	bt_stop(e, 1);
	e->plan[BT_VHOST_USER].how[STOP] = NOW;
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER); /* the others go on */
	assert_int_equal(e->plan[BT_VHOST_USER].starts, 2);
	/* Asked for, and not stopped after all. */
	assert_true(binding_quiesce(e->b, 0));
	assert_null(e->ring[0].owner);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);
	/* Twice at once; and the datapath never answers. */
	e->plan[BT_VHOST_USER].how[STOP] = LATE;
	assert_false(binding_quiesce(e->b, 0));
	assert_false(binding_quiesce(e->b, 2));
	BT_UNTIL(e, e->quiesced == 2);
	bt_stop(e, 0);
	bt_stop(e, 2);
	BT_UNTIL(e, bt_info(e).failures == 1);
	/* The only one of the list: it is tried again. */
	e->plan[BT_VHOST_USER].how[STOP] = NOW;
	BT_UNTIL(e, bt_info(e).state == BINDING_BOUND);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);

	/* One that is in no hurry to start. */
	e->plan[BT_VHOST_USER].how[START] = LATE;
	bt_start(e, 0);
	bt_settle(e);
	assert_int_equal(e->plan[BT_VHOST_USER].f->phase, P_STARTING);
	assert_false(binding_quiesce(e->b, -1));
	BT_UNTIL(e, e->quiesced == 3);
}

/* Other memory and other features: what is prepared for them is asked again, and nothing else. */
static void test_memory(void **state)
{
	struct bt_env *e = *state;
	static const enum bt_type types[] = {BT_VHOST_USER, BT_BUILTIN};

	bt_new(e, bt_list(1, BT_VHOST_USER), false);
	bt_start_all(e);
	for (unsigned int t = 0; t < 2; t++) {
		unsigned int opens;

		bt_set_list(e, bt_list(1, types[t]), false);
		bt_settle(e);
		bt_expect_bound(e, (int)types[t]);
		opens = e->plan[types[t]].opens;
		for (unsigned int k = 0; k < 2; k++) {
			unsigned int prepares = e->plan[types[t]].prepares;

			assert_true(binding_quiesce(e->b, -1));
			bt_stop_all(e);
			for (unsigned int i = 0; i < BT_QUEUES; i++) {
				e->ring[i].q.mem = e->mem[(k + 1) % 2];
				e->ring[i].q.features ^= 2;
				bt_start(e, i);
			}
			bt_settle(e);
			bt_expect_bound(e, (int)types[t]);
			assert_int_equal(e->plan[types[t]].opens, opens);
			assert_int_equal(e->plan[types[t]].prepares, prepares + 1);
		}
	}
}

/* The fabric's port is a new one: a datapath that leads there begins again, no other does. */
static void test_port_remade(void **state)
{
	struct bt_env *e = *state;

	bt_new(e, bt_list(2, BT_VHOST_USER, BT_BUILTIN), false);
	bt_start_all(e);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);
	binding_port_remade(e->b);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);
	assert_int_equal(e->plan[BT_VHOST_USER].prepares, 1);
	assert_int_equal(e->plan[BT_VHOST_USER].stops, 0);

	bt_set_list(e, bt_list(1, BT_BUILTIN), false);
	bt_settle(e);
	bt_expect_bound(e, BT_BUILTIN);
	binding_port_remade(e->b);
	bt_settle(e);
	bt_expect_bound(e, BT_BUILTIN);
	assert_int_equal(e->plan[BT_BUILTIN].opens, 1);
	assert_int_equal(e->plan[BT_BUILTIN].prepares, 2);
	assert_int_equal(e->plan[BT_BUILTIN].starts, 2);
	assert_int_equal(e->plan[BT_BUILTIN].stops, 1);
	assert_int_equal(e->failures, 0);
}

static void test_enable_and_call(void **state)
{
	struct bt_env *e = *state;
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	bt_new(e, bt_list(1, BT_VHOST_USER), false);
	e->plan[BT_VHOST_USER].how[START] = LATE;
	bt_start_all(e);
	bt_settle(e);
	/* while it starts: it is told after */
	e->ring[1].q.enabled = false;
	binding_queue_enable(e->b, 1, false);
	/* another file, with the number of one that was closed */
	assert_int_equal(dup2(fd, e->ring[2].q.callfd), e->ring[2].q.callfd);
	close(fd);
	binding_queue_call(e->b, 2, e->ring[2].q.callfd);
	assert_int_equal(e->plan[BT_VHOST_USER].enables + e->plan[BT_VHOST_USER].calls, 0);
	bt_answer(e, BT_VHOST_USER, 0);
	bt_settle(e);
	assert_int_equal(e->plan[BT_VHOST_USER].enables, 1);
	assert_int_equal(e->plan[BT_VHOST_USER].calls, 1);
	e->ring[1].q.enabled = true;
	binding_queue_enable(e->b, 1, true);
	assert_int_equal(e->plan[BT_VHOST_USER].enables, 2);
	close_fd(&e->ring[2].q.callfd);
	binding_queue_call(e->b, 2, -1);
	assert_int_equal(e->plan[BT_VHOST_USER].calls, 2);
}

static void test_doorbell(void **state)
{
	struct bt_env *e = *state;
	struct bt_fake *f;

	bt_new(e, bt_list(1, BT_VHOST_USER), false);
	bt_start_all(e);
	bt_settle(e);
	f = e->plan[BT_VHOST_USER].f;
	f->dp.events->doorbell(f->dp.ctx, 1, 0, 0, 4096);
	f->dp.events->doorbell(f->dp.ctx, 3, 0, 0, 4096);
	assert_int_equal(e->doorbells, 0xa);
	f->dp.events->doorbell(f->dp.ctx, 3, -1, 0, 0);
	assert_int_equal(e->doorbells, 0x2);
	bt_set_list(e, bt_list(1, BT_BUILTIN), false);
	bt_settle(e);
	bt_expect_bound(e, BT_BUILTIN);
	assert_int_equal(e->doorbells, 0);
	/* The front-end may go on using the page for a while. */
	for (unsigned int k = 0; k < 3; k++) {
		for (unsigned int i = 0; i < BT_QUEUES; i++)
			while (bt_notified(e->ring[i].q.kickfd))
				;
		BT_UNTIL(e, bt_notified(e->ring[1].q.kickfd));
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, bt_setup, bt_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_on_demand),
		TEST(test_move),
		TEST(test_list_changes_in_mid_move),
		TEST(test_driver_at_each_step),
		TEST(test_quiesce),
		TEST(test_memory),
		TEST(test_port_remade),
		TEST(test_enable_and_call),
		TEST(test_doorbell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
