/* SPDX-License-Identifier: Apache-2.0 */

/* Which datapath serves while writes to guest memory are logged: builtin, or vhost-net if it can. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "binding_env.h"

/* No datapath here looks into a log: that there is one is what counts. */
static struct dirty_log *a_log(uintptr_t n)
{
	return (struct dirty_log *)n;
}

/* The driver stops each ring and starts it with this log; NULL: without. */
static void restart(struct bt_env *e, struct dirty_log *log)
{
	for (unsigned int i = 0; i < BT_QUEUES; i++) {
		bt_stop(e, i);
		e->ring[i].q.log = log;
		bt_start(e, i);
	}
}

static void log_to(struct bt_env *e, struct dirty_log *log)
{
	assert_true(binding_quiesce(e->b, -1));
	restart(e, log);
}

static void test_logging(void **state)
{
	struct bt_env *e = *state;

	bt_new(e, bt_list(2, BT_VHOST_USER, BT_BUILTIN), false);
	bt_start_all(e);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);
	log_to(e, a_log(1));
	bt_settle(e);
	bt_expect_bound(e, BT_BUILTIN);
	log_to(e, NULL);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);

	/* None of the list can log. */
	bt_set_list(e, bt_list(1, BT_VHOST_USER), false);
	bt_settle(e);
	log_to(e, a_log(1));
	BT_UNTIL(e, !e->usable);
	assert_null(e->plan[BT_VHOST_USER].f);
	restart(e, NULL);
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_USER);

	/* vhost-net can log, but perhaps not to this log. */
	bt_set_list(e, bt_list(3, BT_VHOST_USER, BT_VHOST_NET, BT_BUILTIN), false);
	bt_settle(e);
	log_to(e, a_log(2));
	bt_settle(e);
	bt_expect_bound(e, BT_VHOST_NET);
	e->plan[BT_VHOST_NET].how[START] = FAIL;
	log_to(e, a_log(3));
	bt_settle(e);
	bt_expect_bound(e, BT_BUILTIN);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, bt_setup, bt_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_logging),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
