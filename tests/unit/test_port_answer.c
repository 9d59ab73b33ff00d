/* SPDX-License-Identifier: Apache-2.0 */

/* Answers of a provider about a port, at once and later: the order of what is asked, what is put back after a failure,
 * and users of an open port that come and go meanwhile. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "answer_env.h"

static void test_at_once(void **state)
{
	struct an_env *e = *state;
	struct err err = {0};

	assert_int_equal(e->links, 1);
	assert_int_equal(an_set(e, 0, 1500), 0);
	assert_int_equal(an_open(e, 0, &err), 0);
	an_expect_open(e, true);
	assert_int_equal(e->p->attach.tap.n, 2);
	/* Nested: the same for the other one, which is not asked of the switch. */
	assert_int_equal(an_open(e, 1, &err), 0);
	ff_assert_log("set:1500 open:2 ");
	an_close(e, 0);
	an_expect_open(e, true);
	an_close(e, 0); /* it has not got it */
	an_close(e, 1);
	an_expect_open(e, false);
	ff_assert_log("close ");
	an_pump(e);
	ff_assert_log("");
	for (unsigned int i = 0; i < 2; i++)
		assert_true(!e->set[i].n && !e->opened[i].n);
}

/* The reason is the caller's, and all is as it was. */
static void test_refused(void **state)
{
	struct an_env *e = *state;
	struct pf_policy policy = e->policy;
	struct err err = {0};

	policy.max_rate_total = 5;
	policy.promisc = true;
	policy.max_driver_macs = 7;
	ff.how[FF_PORT_SET] = FF_FAIL;
	assert_int_equal(an_set_all(e, 0, 1500, &policy, &err), -EIO);
	assert_string_equal(err.text, "scripted");
	assert_string_equal(err.field, "mtu");
	ff_assert_log("set:1500 undo:1000 ");
	assert_int_equal(e->p->settings.mtu, 1000);
	assert_false(e->p->policy.promisc);
	assert_int_equal(e->p->policy.max_driver_macs, e->policy.max_driver_macs);
	assert_int_equal(e->p->group->max_rate_total, 0);
	ff.how[FF_PORT_SET] = FF_NOW;
	assert_int_equal(an_set_all(e, 0, 1500, &policy, &err), 0);
	assert_true(e->p->policy.promisc && e->p->group->max_rate_total == 5);
	assert_int_equal(an_set(e, 0, 1600), 0); /* without a policy: it stays */
	assert_true(e->p->policy.promisc && e->p->group->max_rate_total == 5);
	ff_assert_log("set:1500 set:1600 ");

	ff.how[FF_OPEN] = FF_FAIL;
	err = (struct err){0};
	assert_int_equal(an_open(e, 0, &err), -EIO);
	assert_string_equal(err.text, "scripted");
	ff_assert_log("open:2 ");
	an_expect_open(e, false);
	an_close(e, 0);
	ff.how[FF_OPEN] = FF_NOW;
	assert_int_equal(an_open(e, 0, &err), 0);
	ff_assert_log("open:2 ");
	ff.how[FF_CLOSE] = FF_FAIL; /* it is closed all the same */
	an_close(e, 0);
	an_expect_open(e, false);
	an_pump(e);
	ff_assert_log("close ");
	assert_true(!e->set[0].n && !e->opened[0].n && !e->troubles);
}

/* One thing at a time, in the order in which it was asked. */
static void test_order(void **state)
{
	struct an_env *e = *state;

	an_all(FF_LATER);
	assert_int_equal(an_set(e, 0, 1001), ANSWER_LATER);
	assert_int_equal(e->p->settings.mtu, 1001); /* the new ones, while the answer is due */
	assert_int_equal(an_set(e, 1, 1002), ANSWER_LATER);
	assert_int_equal(an_open(e, 0, NULL), ANSWER_LATER);
	an_pump(e);
	ff_assert_log("set:1001* ");
	assert_int_equal(e->p->settings.mtu, 1001);
	an_answer(e, 0);
	an_expect_told(&e->set[0], 0);
	an_pump(e);
	ff_assert_log("set:1002* ");
	assert_int_equal(e->set[1].n, 0);
	an_answer(e, 0);
	an_expect_told(&e->set[1], 0);
	an_pump(e);
	ff_assert_log("open:2* ");
	/* What is asked while it is being opened comes after. */
	assert_int_equal(an_set(e, 2, 1003), ANSWER_LATER);
	an_pump(e);
	ff_assert_log("");
	assert_int_equal(e->p->settings.mtu, 1002);
	an_answer(e, 0);
	an_expect_told(&e->opened[0], 0);
	an_expect_open(e, true);
	an_pump(e);
	ff_assert_log("set:1003* ");
	/* In force or not, whoever comes now gets the open port. */
	assert_int_equal(an_open(e, 1, NULL), 0);
	an_close(e, 0);
	an_close(e, 1);
	an_pump(e);
	ff_assert_log("");
	an_answer(e, 0);
	an_expect_told(&e->set[2], 0);
	an_pump(e);
	ff_assert_log("close* ");
	assert_int_equal(an_set(e, 3, 1004), ANSWER_LATER);
	an_answer(e, 0);
	an_expect_open(e, false);
	an_pump(e);
	ff_assert_log("set:1004* ");
	an_answer(e, 0);
	an_expect_told(&e->set[3], 0);
	an_pump(e);
	ff_assert_log("");
	assert_int_equal(e->troubles, 0);
}

/* Some at once, some later: what waits does not wait for ever. */
static void test_mixed(void **state)
{
	struct an_env *e = *state;

	ff.how[FF_PORT_SET] = FF_LATER;
	assert_int_equal(an_set(e, 0, 1001), ANSWER_LATER);
	assert_int_equal(an_set(e, 1, 1002), ANSWER_LATER);
	assert_int_equal(an_set(e, 2, 1003), ANSWER_LATER);
	assert_int_equal(an_open(e, 0, NULL), ANSWER_LATER);
	assert_int_equal(an_open(e, 1, NULL), ANSWER_LATER);
	ff.how[FF_PORT_SET] = FF_NOW;
	an_answer(e, 0);
	assert_true(e->set[0].n == 1 && !e->set[1].n);
	an_pump(e);
	ff_assert_log("set:1001* set:1002 set:1003 open:2 ");
	for (unsigned int i = 0; i < 3; i++) {
		an_expect_told(&e->set[i], 0);
		assert_int_equal(e->set[i].order, i + 1);
	}
	for (unsigned int i = 0; i < 2; i++) {
		an_expect_told(&e->opened[i], 0);
		assert_int_equal(e->opened[i].order, 4 + i);
	}
}

/* Put back, which takes its time too, before the next one has its turn. */
static void test_refused_later(void **state)
{
	struct an_env *e = *state;
	struct pf_policy policy = e->policy;

	policy.max_rate_total = 9;
	policy.promisc = true;
	an_all(FF_LATER);
	assert_int_equal(an_set_all(e, 0, 1001, &policy, NULL), ANSWER_LATER);
	assert_int_equal(an_set(e, 1, 1002), ANSWER_LATER);
	assert_int_equal(e->p->group->max_rate_total, 9);
	an_answer(e, -EPERM);
	an_expect_told(&e->set[0], -EPERM);
	ff_assert_log("set:1001* undo:1000* ");
	assert_int_equal(e->p->settings.mtu, 1000);
	assert_false(e->p->policy.promisc);
	assert_int_equal(e->p->group->max_rate_total, 0);
	an_pump(e);
	ff_assert_log("");
	an_answer(e, 0);
	assert_int_equal(e->troubles, 0);
	an_pump(e);
	ff_assert_log("set:1002* ");
	assert_false(e->p->policy.promisc);
	/* What cannot be undone is trouble; it goes on. */
	an_answer(e, -EPERM);
	an_expect_told(&e->set[1], -EPERM);
	ff_assert_log("undo:1000* ");
	assert_int_equal(an_set(e, 2, 1003), ANSWER_LATER);
	an_answer(e, -EIO);
	assert_int_equal(e->troubles, 1);
	an_pump(e);
	ff_assert_log("set:1003* ");
	an_answer(e, 0);
	an_expect_told(&e->set[2], 0);
	/* Refused when its turn comes. */
	assert_int_equal(an_set(e, 3, 1004), ANSWER_LATER);
	e->set[2] = (struct an_told){0};
	assert_int_equal(an_set(e, 2, 1005), ANSWER_LATER);
	ff.how[FF_PORT_SET] = FF_FAIL;
	an_answer(e, 0);
	an_pump(e);
	ff_assert_log("set:1004* set:1005 undo:1004* ");
	an_expect_told(&e->set[3], 0);
	an_expect_told(&e->set[2], -EIO);
	an_answer(e, 0);
	an_pump(e);
	ff_assert_log("");
	assert_int_equal(e->p->settings.mtu, 1004);
	assert_int_equal(e->troubles, 1);
}

static void test_two_users(void **state)
{
	struct an_env *e = *state;
	struct err err = {0};

	an_all(FF_LATER);
	assert_int_equal(an_open(e, 0, NULL), ANSWER_LATER);
	assert_int_equal(an_open(e, 1, NULL), ANSWER_LATER);
	assert_int_equal(an_open(e, 2, NULL), ANSWER_LATER);
	ff_assert_log("open:2* ");
	an_close(e, 0); /* one goes, the others stay */
	an_answer(e, 0);
	an_pump(e);
	ff_assert_log("");
	assert_int_equal(e->opened[0].n, 0);
	an_expect_told(&e->opened[1], 0);
	an_expect_told(&e->opened[2], 0);
	assert_true(e->opened[1].order < e->opened[2].order);
	an_expect_open(e, true);
	an_close(e, 1);
	an_pump(e);
	ff_assert_log("");
	an_close(e, 2);
	ff_assert_log("close* ");
	/* Again before it is closed: then opened, not before. */
	assert_int_equal(an_open(e, 0, &err), ANSWER_LATER);
	an_pump(e);
	ff_assert_log("");
	an_answer(e, 0);
	assert_int_equal(e->opened[0].n, 0);
	an_pump(e);
	ff_assert_log("open:2* ");
	/* Refused: each of those that wait is told, by the answer to a try of its own. */
	e->opened[1] = (struct an_told){0};
	assert_int_equal(an_open(e, 1, &err), ANSWER_LATER);
	an_answer(e, -EPERM);
	an_expect_told(&e->opened[0], -EPERM);
	assert_int_equal(e->opened[1].n, 0);
	an_pump(e);
	ff_assert_log("open:2* ");
	an_answer(e, 0);
	an_pump(e);
	an_expect_told(&e->opened[1], 0);
	an_expect_open(e, true);
	an_close(e, 0); /* it has not got it */
	an_pump(e);
	ff_assert_log("");
	an_expect_open(e, true);
}

/* Nobody waits any more when it is open: it is closed again, and no answer comes. */
static void test_closed_meanwhile(void **state)
{
	struct an_env *e = *state;

	an_all(FF_LATER);
	assert_int_equal(an_open(e, 0, NULL), ANSWER_LATER);
	an_close(e, 0);
	an_pump(e);
	ff_assert_log("open:2* ");
	an_answer(e, 0);
	an_pump(e);
	ff_assert_log("close* ");
	an_answer(e, 0);
	an_expect_open(e, false);
	/* It failed: there is nothing to close. */
	assert_int_equal(an_open(e, 0, NULL), ANSWER_LATER);
	an_close(e, 0);
	an_answer(e, -EPERM);
	an_pump(e);
	ff_assert_log("open:2* ");
	/* Somebody came in time. */
	assert_int_equal(an_open(e, 0, NULL), ANSWER_LATER);
	an_close(e, 0);
	assert_int_equal(an_open(e, 1, NULL), ANSWER_LATER);
	an_answer(e, 0);
	an_pump(e);
	ff_assert_log("open:2* ");
	assert_int_equal(e->opened[0].n, 0);
	an_expect_told(&e->opened[1], 0);
	/* One that was never begun. */
	assert_int_equal(an_set(e, 0, 1001), ANSWER_LATER);
	an_close(e, 1);
	assert_int_equal(an_open(e, 2, NULL), ANSWER_LATER);
	an_close(e, 2);
	an_answer(e, 0);
	an_pump(e);
	ff_assert_log("set:1001* close* ");
	assert_true(!e->opened[0].n && !e->opened[2].n);
}

static void lose(struct an_env *e)
{
	fabric_tell_lost(e->p);
	assert_true(e->p->gone);
}

static void test_lost(void **state)
{
	struct an_env *e = *state;
	struct err err = {0};

	assert_int_equal(an_open(e, 0, NULL), 0);
	lose(e);
	assert_int_equal(an_open(e, 1, &err), -ENODEV);
	assert_non_null(strstr(err.text, "lost"));
	an_close(e, 0);
	assert_int_equal(an_open(e, 1, &err), 0);
	assert_false(e->p->gone);
	ff_assert_log("open:2 close open:2 ");
	/* Made again behind the same descriptors. */
	lose(e);
	fabric_tell_remade(e->p);
	assert_int_equal(an_open(e, 2, &err), 0);
	an_close(e, 2);
	/* Closed while something is under way, and wanted again: it is another one that is opened. */
	lose(e);
	ff.how[FF_PORT_SET] = FF_LATER;
	assert_int_equal(an_set(e, 0, 1001), ANSWER_LATER);
	an_close(e, 1);
	assert_int_equal(an_open(e, 0, &err), ANSWER_LATER);
	an_answer(e, 0);
	an_pump(e);
	ff_assert_log("set:1001* close open:2 ");
	an_expect_told(&e->opened[0], 0);
	an_expect_open(e, true);
	assert_false(e->p->gone);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, an_setup, an_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_at_once),
		TEST(test_refused),
		TEST(test_order),
		TEST(test_mixed),
		TEST(test_refused_later),
		TEST(test_two_users),
		TEST(test_closed_meanwhile),
		TEST(test_lost),
	};

	return cmocka_run_group_tests_name("port_answer", tests, NULL, NULL);
}
