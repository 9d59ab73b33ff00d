/* SPDX-License-Identifier: Apache-2.0 */

/* How a binding comes by the fabric's port that a datapath leads to: when it is opened and closed, by a fabric that
 * answers at once, later, badly, or with something else. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "binding_env.h"

/* Open while somebody leads there, from before the first to after the last, and once for both in a move. */
static void test_when(void **state)
{
	struct bt_env *e = *state;

	bt_new(e, bt_list(1, BT_VHOST_USER), false);
	bt_start_all(e);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);
	ff_assert_log(""); /* it leads elsewhere */
	e->plan[BT_BUILTIN].how[PREPARE] = LATE;
	bt_set_list(e, bt_list(1, BT_BUILTIN), false);
	bt_settle(e);
	ff_assert_log("open:2 ");
	bt_answer(e, BT_BUILTIN, 0);
	bt_all_now(e, BT_BUILTIN);
	bt_settle(e);
	bt_expect_bound(e, BT_BUILTIN);
	bt_set_list(e, bt_list(1, BT_VHOST_NET), false);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_NET);
	ff_assert_log("");
	bt_set_list(e, bt_list(1, BT_VDPA), false);
	bt_settle(e);
	bt_expect_bound(e, BT_VDPA);
	ff_assert_log("close ");
	bt_set_list(e, bt_list(1, BT_BUILTIN), false);
	bt_settle(e);
	bt_expect_bound(e, BT_BUILTIN);
	bt_stop_all(e);
	bt_settle(e);
	ff_assert_log("open:2 close ");
	assert_int_equal(e->failures, 0);
}

/* Who serves goes on until the port is there. */
static void test_later(void **state)
{
	struct bt_env *e = *state;

	bt_new(e, bt_list(1, BT_VHOST_USER), false);
	bt_start_all(e);
	bt_settle(e);
	ff.how[FF_OPEN] = FF_LATER;
	bt_set_list(e, bt_list(1, BT_BUILTIN), false);
	bt_settle(e);
	assert_int_equal(e->current, BT_VHOST_USER);
	assert_int_equal(bt_info(e).state, BINDING_MOVING);
	assert_int_equal(e->plan[BT_BUILTIN].opens, 0);
	assert_int_equal(e->plan[BT_VHOST_USER].stops, 0);
	ff_port_answer(e->port, 0);
	bt_settle(e);
	bt_expect_bound(e, BT_BUILTIN);
	ff_assert_log("open:2* ");
	bt_stop_all(e);
	bt_settle(e);
	ff_assert_log("close ");

	/* Nobody serves: the first that comes. */
	bt_start_all(e);
	bt_settle(e);
	assert_int_equal(bt_info(e).state, BINDING_BINDING);
	ff_port_answer(e->port, 0);
	bt_settle(e);
	bt_expect_bound(e, BT_BUILTIN);
	assert_int_equal(e->failures, 0);
	assert_int_equal(e->plan[BT_BUILTIN].opens, 2);
}

/* The reason is the fabric's, and the next in the list has its turn. */
static void test_refused(void **state)
{
	struct bt_env *e = *state;

	ff.how[FF_OPEN] = FF_FAIL;
	bt_new(e, bt_list(2, BT_BUILTIN, BT_VHOST_USER), true);
	bt_start_all(e);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);
	assert_int_equal(e->failures, 1);
	assert_int_equal(e->failed, BT_BUILTIN);
	assert_string_equal(e->failed_why, "scripted");
	assert_int_equal(e->plan[BT_BUILTIN].opens, 0);
	/* Tried again, and refused later. */
	ff.log[0] = 0;
	ff.how[FF_OPEN] = FF_LATER;
	BT_UNTIL(e, *ff.log);
	ff_port_answer(e->port, -EPERM);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);
	assert_int_equal(bt_info(e).failures, 2);
	assert_string_equal(bt_info(e).last_error, "scripted");
	assert_int_equal(e->plan[BT_BUILTIN].opens, 0);
	ff_assert_log("open:2* ");
	/* And had. */
	ff.how[FF_OPEN] = FF_NOW;
	BT_UNTIL(e, e->current == BT_BUILTIN);
	bt_expect_bound(e, BT_BUILTIN);
	ff_assert_log("open:2 ");
	/* The instance that cannot be opened leaves no port open. */
	e->plan[BT_BUILTIN].how[OPEN] = FAIL;
	bt_die(e, BT_BUILTIN);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);
	assert_false(ff_port_of(e->port)->open);
}

/* The driver stops its rings, or another list comes, while the port is on its way. */
static void test_not_wanted_any_more(void **state)
{
	struct bt_env *e = *state;

	ff.how[FF_OPEN] = FF_LATER;
	bt_new(e, bt_list(1, BT_BUILTIN), false);
	bt_start_all(e);
	bt_settle(e);
	ff_assert_log("open:2* ");
	bt_stop_all(e);
	bt_settle(e);
	ff_port_answer(e->port, 0);
	bt_settle(e);
	ff_assert_log("close ");
	assert_int_equal(e->plan[BT_BUILTIN].opens, 0);

	bt_start_all(e);
	bt_settle(e);
	ff_assert_log("open:2* ");
	bt_set_list(e, bt_list(1, BT_VHOST_USER), false);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);
	ff_port_answer(e->port, -EPERM);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);
	ff_assert_log("");
	assert_int_equal(e->failures, 0);

	/* There is no binding left to hear of it. */
	bt_set_list(e, bt_list(1, BT_BUILTIN), false);
	bt_settle(e);
	ff_assert_log("open:2* ");
	bt_stop_all(e);
	binding_free(e->b);
	e->b = NULL;
	ff_port_answer(e->port, 0);
	bt_settle(e);
	ff_assert_log("close ");
}

/* Two of a list that lead there, of which the first does not get on. */
static void test_both(void **state)
{
	struct bt_env *e = *state;

	bt_new(e, bt_list(2, BT_VHOST_NET, BT_BUILTIN), false);
	e->plan[BT_VHOST_NET].how[PREPARE] = FAIL;
	ff.how[FF_CLOSE] = FF_LATER;
	bt_start_all(e);
	bt_settle(e);
	/* It was closed, and has to be before it is opened again. */
	assert_int_equal(e->failed, BT_VHOST_NET);
	assert_int_equal(e->plan[BT_BUILTIN].opens, 0);
	ff_assert_log("open:2 close* ");
	ff_port_answer(e->port, 0);
	bt_settle(e);
	bt_expect_bound(e, BT_BUILTIN);
	ff_assert_log("open:2 ");
	ff.how[FF_CLOSE] = FF_NOW;
}

/* A kind of attachment that the datapath does not take: of the fabric's settings, or of the port itself. */
static void test_kinds(void **state)
{
	struct bt_env *e = *state;

	ff.gives = ATTACH_SW_PORT | ATTACH_NETDEV;
	bt_new(e, bt_list(2, BT_BUILTIN, BT_VHOST_USER), false);
	bt_start_all(e);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);
	ff_assert_log("");
	assert_non_null(strstr(e->failed_why, "needs a tap or a vDPA device"));
	ff.gives = ATTACH_TAP;
	ff.kind = ATTACH_NETDEV;
	bt_set_list(e, bt_list(2, BT_VHOST_NET, BT_VHOST_USER), false);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);
	ff_assert_log("open:2 close ");
	assert_int_equal(e->failed, BT_VHOST_NET);
	assert_string_equal(e->failed_why, "the fabric's port offers no attachment that it can use");
	assert_int_equal(e->plan[BT_VHOST_NET].opens, 0);
}

/* Lost: closed by all, and opened again. */
static void test_lost(void **state)
{
	struct bt_env *e = *state;

	bt_new(e, bt_list(2, BT_BUILTIN, BT_VHOST_USER), true);
	bt_start_all(e);
	bt_settle(e);
	fabric_tell_lost(e->port);
	binding_port_lost(e->b);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);
	ff_assert_log("open:2 close ");
	BT_UNTIL(e, e->current == BT_BUILTIN);
	bt_expect_bound(e, BT_BUILTIN);
	ff_assert_log("open:2 ");
	assert_false(e->port->gone);
}

/* What goes to a datapath past its rings. */
static void test_calls(void **state)
{
	static const uint8_t frame[60];
	struct bt_env *e = *state;

	bt_new(e, bt_list(1, BT_BUILTIN), false);
	binding_check_rings(e->b);
	assert_int_equal(binding_control_send(e->b, frame, 60), -ENOTCONN);
	e->plan[BT_BUILTIN].how[START] = LATE;
	bt_start_all(e);
	bt_settle(e);
	assert_int_equal(binding_control_send(e->b, frame, 60), -ENOTCONN); /* not started yet */
	bt_answer(e, BT_BUILTIN, 0);
	bt_settle(e);
	bt_expect_bound(e, BT_BUILTIN);
	assert_int_equal(binding_control_send(e->b, frame, 60), 0);
	binding_check_rings(e->b);
	assert_int_equal(e->plan[BT_BUILTIN].controls, 1);
	assert_int_equal(e->plan[BT_BUILTIN].checks, 1);
	bt_set_list(e, bt_list(1, BT_VHOST_USER), false);
	bt_settle(e);
	assert_int_equal(binding_control_send(e->b, frame, 60), -ENOTCONN); /* it carries none */
	binding_check_rings(e->b);
	assert_int_equal(e->plan[BT_BUILTIN].controls, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, bt_setup, bt_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_when), TEST(test_later), TEST(test_refused), TEST(test_not_wanted_any_more),
		TEST(test_both), TEST(test_kinds), TEST(test_lost),    TEST(test_calls),
	};

	return cmocka_run_group_tests_name("binding_attach", tests, NULL, NULL);
}
