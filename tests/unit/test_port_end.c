/* SPDX-License-Identifier: Apache-2.0 */

/* Answers about a port that do not come, come too late, or after the end; and what is asked from within others. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "answer_env.h"

static void test_set_times_out(void **state)
{
	struct an_env *e = *state;
	uint64_t call;

	ff.impatient = true;
	an_all(FF_LATER);
	assert_int_equal(an_set(e, 0, 1001), ANSWER_LATER);
	assert_int_equal(an_set(e, 1, 1002), ANSWER_LATER);
	call = e->p->call;
	AN_UNTIL(e, e->set[0].n);
	an_expect_late(&e->set[0]);
	assert_int_equal(e->p->settings.mtu, 1000);
	ff_assert_log("set:1001* undo:1000* ");
	/* The late answer is to nothing that is under way. */
	fabric_port_answer(e->p, call, 0, NULL);
	fabric_port_answer(e->p, call, -EIO, NULL);
	assert_int_equal(e->set[0].n, 1);
	assert_int_equal(e->troubles, 0);
	/* Nor is it undone in time. */
	AN_UNTIL(e, e->troubles);
	ff.how[FF_PORT_SET] = FF_NOW;
	fabric_port_answer(e->p, call, 0, NULL);
	an_pump(e);
	an_expect_told(&e->set[1], 0);
	assert_int_equal(e->p->settings.mtu, 1002);
	ff_assert_log("set:1002 ");
	assert_int_equal(e->troubles, 1);
}

static void test_open_times_out(void **state)
{
	struct an_env *e = *state;
	uint64_t call;

	an_all(FF_LATER);
	assert_int_equal(an_open(e, 0, NULL), ANSWER_LATER);
	assert_int_equal(an_open(e, 1, NULL), ANSWER_LATER);
	call = e->p->call;
	AN_UNTIL(e, e->opened[0].n);
	an_expect_late(&e->opened[0]);
	/* What may be there of it is taken away, before it is tried for the other one. */
	ff_assert_log("open:2* close* ");
	assert_int_equal(e->opened[1].n, 0);
	fabric_port_answer(e->p, call, 0, NULL);
	assert_int_equal(e->opened[1].n, 0);
	ff.how[FF_OPEN] = FF_NOW;
	an_answer(e, 0);
	an_pump(e);
	ff_assert_log("open:2 ");
	an_expect_told(&e->opened[1], 0);
	an_expect_open(e, true);
	/* One that does not close in time is closed. */
	ff.impatient = true;
	an_close(e, 1);
	e->opened[1] = (struct an_told){0};
	assert_int_equal(an_open(e, 1, NULL), ANSWER_LATER);
	ff_assert_log("close* ");
	AN_UNTIL(e, e->opened[1].n);
	an_expect_told(&e->opened[1], 0);
	ff_assert_log("open:2 ");
	an_pump(e);
	ff_assert_log("");
}

/* Answers that nobody waits for: of an earlier number, of a later one, twice. */
static void test_old_answers(void **state)
{
	struct an_env *e = *state;
	uint64_t old = e->p->call;

	an_all(FF_LATER);
	fabric_port_answer(e->p, old, -EIO, NULL);
	assert_int_equal(an_set(e, 0, 1001), ANSWER_LATER);
	assert_int_not_equal(e->p->call, old);
	fabric_port_answer(e->p, old, -EIO, NULL);
	fabric_port_answer(e->p, e->p->call + 1, -EIO, NULL);
	assert_int_equal(e->set[0].n, 0);
	assert_int_equal(e->p->settings.mtu, 1001);
	old = e->p->call;
	an_answer(e, 0);
	an_expect_told(&e->set[0], 0);
	fabric_port_answer(e->p, old, -EIO, NULL);
	assert_int_equal(an_set(e, 1, 1002), ANSWER_LATER);
	fabric_port_answer(e->p, old, -EIO, NULL);
	assert_int_equal(e->set[1].n, 0);
	an_answer(e, 0);
	an_expect_told(&e->set[0], 0);
	an_expect_told(&e->set[1], 0);
	assert_int_equal(e->p->settings.mtu, 1002);
	assert_int_equal(e->troubles, 0);
}

/* Freed at whatever moment: no answer comes any more, and what is open is closed before. */
static void test_freed(void **state)
{
	struct an_env *e = *state;
	struct fabric_port *old;

	an_all(FF_LATER);
	assert_int_equal(an_set(e, 0, 1001), ANSWER_LATER);
	assert_int_equal(an_set(e, 1, 1002), ANSWER_LATER);
	fabric_port_free(e->p);
	ff_assert_log("set:1001* free-port ");
	an_add_port(e);
	/* While it is being opened, for somebody who has gone. */
	assert_int_equal(an_open(e, 0, NULL), ANSWER_LATER);
	an_close(e, 0);
	fabric_port_free(e->p);
	ff_assert_log("open:2* close* free-port ");
	an_add_port(e);
	/* While it is open, since something else is under way. */
	ff.how[FF_OPEN] = FF_NOW;
	assert_int_equal(an_open(e, 0, NULL), 0);
	assert_int_equal(an_set(e, 0, 1001), ANSWER_LATER);
	an_close(e, 0);
	ff.impatient = true; /* it is closed all the same */
	fabric_port_free(e->p);
	ff.impatient = false;
	ff_assert_log("open:2 set:1001* close* free-port ");
	an_add_port(e);
	/* While it is being closed. */
	assert_int_equal(an_open(e, 0, NULL), 0);
	an_close(e, 0);
	old = e->p;
	fabric_port_free(old);
	ff_assert_log("open:2 close* free-port ");
	e->p = NULL;
	an_pump(e);
	for (unsigned int i = 0; i < 2; i++)
		assert_true(!e->set[i].n && !e->opened[i].n);
}

/* From within an answer, too. */
static void test_freed_by_answer(void **state)
{
	struct an_env *e = *state;

	an_all(FF_LATER);
	e->set[0].then = an_free_all;
	assert_int_equal(an_set(e, 0, 1001), ANSWER_LATER);
	assert_int_equal(an_set(e, 1, 1002), ANSWER_LATER);
	an_answer(e, 0);
	assert_null(e->p);
	an_pump(e);
	assert_int_equal(e->set[1].n, 0);
	assert_int_equal(an_make(e, AN_SHORT_US), 0);
	an_add_port(e);
	e->opened[0].then = an_free_all;
	assert_int_equal(an_open(e, 0, NULL), ANSWER_LATER);
	AN_UNTIL(e, e->opened[0].n); /* a time-out */
	assert_null(e->p);
	assert_int_equal(an_make(e, AN_PATIENT_US), 0);
	an_add_port(e);
	assert_int_equal(an_set(e, 2, 1001), ANSWER_LATER);
	assert_int_equal(an_open(e, 1, NULL), ANSWER_LATER);
	ff.how[FF_OPEN] = FF_NOW;
	e->opened[1].then = an_free_all;
	an_answer(e, 0);
	an_pump(e); /* from the turn of the event loop that opens it */
	assert_int_equal(e->opened[1].n, 1);
	assert_null(e->p);
}

static void set_again(void *ctx)
{
	((struct an_told *)ctx)->then = NULL;
	assert_int_equal(an_set(an_env, 1, 1002), ANSWER_LATER);
}

static void test_set_by_answer(void **state)
{
	struct an_env *e = *state;

	an_all(FF_LATER);
	e->set[0].then = set_again;
	assert_int_equal(an_set(e, 0, 1001), ANSWER_LATER);
	an_answer(e, -EPERM); /* so that the undoing is under way */
	ff_assert_log("set:1001* undo:1000* ");
	an_answer(e, 0);
	an_pump(e);
	ff_assert_log("set:1002* ");
	an_answer(e, 0);
	an_expect_told(&e->set[1], 0);
}

static void ask_within(struct fabric_port *p)
{
	struct function_settings s = p->settings;

	s.mtu = 1002;
	assert_int_equal(fabric_port_set(p, &s, NULL, &(struct answer){an_on_answer, &an_env->set[1]}, NULL),
			 ANSWER_LATER);
	assert_int_equal(fabric_port_open(p, &an_env->use[0], 2,
					  &(struct answer){an_on_answer, &an_env->opened[0]}, NULL),
			 ANSWER_LATER);
}

/* What an event of the provider's leads to has its turn after what led to it. */
static void test_asked_within(void **state)
{
	struct an_env *e = *state;

	ff.during_set = ask_within;
	assert_int_equal(an_set(e, 0, 1001), 0);
	ff_assert_log("set:1001 ");
	assert_int_equal(e->p->settings.mtu, 1001);
	assert_true(!e->set[1].n && !e->opened[0].n);
	an_pump(e);
	ff_assert_log("set:1002 open:2 ");
	an_expect_told(&e->set[1], 0);
	an_expect_told(&e->opened[0], 0);
	an_close(e, 0);
	e->set[1] = e->opened[0] = (struct an_told){0};
	an_all(FF_LATER);
	ff.during_set = ask_within;
	ff.how[FF_CLOSE] = FF_NOW;
	assert_int_equal(an_set(e, 0, 1001), ANSWER_LATER);
	an_pump(e);
	ff_assert_log("close set:1001* ");
	an_answer(e, 0);
	an_pump(e);
	ff_assert_log("set:1002* ");
}

/* Without an event loop there is no later. */
static void test_no_loop(void **state)
{
	struct an_env *e = *state;
	struct fabric_config config = {0};
	struct err err = {0};

	ff.how[FF_INIT] = FF_LATER;
	assert_int_equal(fabric_new(&config, &e->s, NULL, &e->f, &err), -EINVAL);
	assert_true(*err.text);
	ff_assert_log("init* free ");
	ff.how[FF_INIT] = FF_NOW;
	e->f = NULL;
	assert_int_equal(fabric_new(&config, &e->s, NULL, &e->f, &err), 0);
	an_add_port(e);
	an_all(FF_LATER);
	ff.how[FF_UNDO] = FF_NOW;
	ff.impatient = true;
	err = (struct err){0};
	assert_int_equal(an_set_all(e, 0, 1001, NULL, &err), -EINVAL);
	assert_true(*err.text);
	assert_int_equal(e->p->settings.mtu, 1000);
	ff_assert_log("set:1001* undo:1000 ");
	ff.how[FF_CLOSE] = FF_NOW;
	err = (struct err){0};
	assert_int_equal(an_open(e, 0, &err), -EINVAL);
	assert_true(*err.text);
	ff_assert_log("open:2* close ");
	an_expect_open(e, false);
}

int main(void)
{
#define TEST(f)  cmocka_unit_test_setup_teardown(f, an_setup, an_teardown)
#define SHORT(f) cmocka_unit_test_setup_teardown(f, an_setup_short, an_teardown)
#define BARE(f)  cmocka_unit_test_setup_teardown(f, an_setup_bare, an_teardown)
	const struct CMUnitTest tests[] = {
		SHORT(test_set_times_out), SHORT(test_open_times_out), TEST(test_old_answers),
		TEST(test_freed),          TEST(test_freed_by_answer), TEST(test_set_by_answer),
		TEST(test_asked_within),   BARE(test_no_loop),
	};

	return cmocka_run_group_tests_name("port_end", tests, NULL, NULL);
}
