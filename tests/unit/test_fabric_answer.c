/* SPDX-License-Identifier: Apache-2.0 */

/* Answers of a provider about a fabric as a whole: when it is made, set and asked whether settings can be had. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "answer_env.h"

static void test_new_later(void **state)
{
	struct an_env *e = *state;
	uint64_t call;

	ff.how[FF_INIT] = FF_LATER;
	assert_int_equal(an_make(e, AN_PATIENT_US), ANSWER_LATER);
	assert_non_null(e->f);
	assert_int_equal(fabric_set(e->f, &e->s, NULL, NULL), -EBUSY);
	an_pump(e);
	/* Nothing is told of one that is not there yet. */
	fabric_tell_trouble(e->f, NULL, "too early");
	assert_int_equal(e->troubles, 0);
	call = ff.call;
	fabric_answer(e->f, call + 1, -EIO, NULL);
	assert_int_equal(e->made.n, 0);
	ff_answer(e->f, 0);
	an_expect_told(&e->made, 0);
	fabric_answer(e->f, call, -EIO, NULL);
	assert_int_equal(e->made.n, 1);
	fabric_tell_trouble(e->f, NULL, "now");
	assert_int_equal(e->troubles, 1);
	an_add_port(e);
	assert_int_equal(e->links, 1);
	an_end(e);
	ff_assert_log("free-port free ");

	/* Not so: it is the caller's to free. */
	e->made = (struct an_told){0};
	assert_int_equal(an_make(e, AN_PATIENT_US), ANSWER_LATER);
	ff_answer(e->f, -ENODEV);
	an_expect_told(&e->made, -ENODEV);
	ff_assert_log("init* ");
	an_end(e);
	ff_assert_log("free ");
	e->made = (struct an_told){.then = an_free_all};
	assert_int_equal(an_make(e, AN_PATIENT_US), ANSWER_LATER);
	ff_answer(e->f, -ENODEV);
	assert_null(e->f);
	ff_assert_log("init* free ");
	/* Never. */
	e->made = (struct an_told){.then = an_free_all};
	assert_int_equal(an_make(e, AN_SHORT_US), ANSWER_LATER);
	AN_UNTIL(e, e->made.n);
	an_expect_late(&e->made);
	ff_assert_log("init* free ");
	/* Given up. */
	e->made = (struct an_told){0};
	assert_int_equal(an_make(e, AN_SHORT_US), ANSWER_LATER);
	an_end(e);
	assert_true(sd_event_run(e->event, 2 * AN_SHORT_US) >= 0);
	assert_int_equal(e->made.n, 0);
	/* At once, and badly: nothing is left to free. */
	ff.log[0] = 0;
	ff.how[FF_INIT] = FF_FAIL;
	assert_int_equal(an_make(e, AN_PATIENT_US), -EIO);
	assert_null(e->f);
	ff_assert_log("init ");
}

static int set_fabric(struct an_env *e, unsigned int i, uint32_t ageing, struct err *err)
{
	struct fabric_settings s = e->f->settings;
	int r;

	s.ageing = ageing;
	an_calling = true;
	r = fabric_set(e->f, &s, &(struct answer){an_on_answer, &e->set[i]}, err);
	an_calling = false;
	return r;
}

static void test_fabric_set_later(void **state)
{
	struct an_env *e = *state;
	struct err err = {0};

	assert_int_equal(set_fabric(e, 0, 11, &err), 0);
	assert_int_equal(e->f->settings.ageing, 11);
	ff.how[FF_SET] = FF_FAIL;
	assert_int_equal(set_fabric(e, 0, 12, &err), -EIO);
	assert_string_equal(err.text, "scripted");
	ff.how[FF_SET] = FF_LATER;
	assert_int_equal(set_fabric(e, 0, 13, &err), ANSWER_LATER);
	assert_int_equal(set_fabric(e, 1, 14, &err), -EBUSY);
	/* Ports are another matter. */
	assert_int_equal(an_set(e, 2, 1001), 0);
	ff_assert_log("set:11 set:12 set:13* set:1001 ");
	e->f->settings.ageing = 13; /* as a provider does */
	ff_answer(e->f, 0);
	an_expect_told(&e->set[0], 0);
	ff_answer(e->f, -EIO);
	assert_int_equal(e->set[0].n, 1);
	assert_int_equal(set_fabric(e, 1, 14, &err), ANSWER_LATER);
	ff_answer(e->f, -EPERM);
	an_expect_told(&e->set[1], -EPERM);
	assert_int_equal(e->f->settings.ageing, 13);
	/* Ended with the fabric. */
	assert_int_equal(set_fabric(e, 3, 15, &err), ANSWER_LATER);
	an_end(e);
	an_pump(e);
	assert_int_equal(e->set[3].n, 0);
}

static void test_fabric_set_times_out(void **state)
{
	struct an_env *e = *state;
	struct err err = {0};
	char log[64];
	uint64_t call;

	ff.how[FF_SET] = FF_LATER;
	assert_int_equal(set_fabric(e, 0, 13, &err), ANSWER_LATER);
	call = ff.call;
	AN_UNTIL(e, e->set[0].n);
	an_expect_late(&e->set[0]);
	/* It is being undone, whatever became of it. */
	snprintf(log, sizeof(log), "set:13* set:%u* ", e->f->settings.ageing);
	ff_assert_log(log);
	assert_int_equal(set_fabric(e, 1, 14, &err), -EBUSY);
	fabric_answer(e->f, call, 0, NULL);
	ff_answer(e->f, 0);
	assert_int_equal(e->troubles, 0);
	assert_int_equal(set_fabric(e, 1, 14, &err), ANSWER_LATER);
	ff_answer(e->f, 0);
	an_expect_told(&e->set[1], 0);
	assert_int_equal(e->set[0].n, 1);
	/* That is not answered in time, or refused: trouble. One that is refused by itself is not undone. */
	assert_int_equal(set_fabric(e, 2, 15, &err), ANSWER_LATER);
	AN_UNTIL(e, e->set[2].n);
	AN_UNTIL(e, e->troubles == 1);
	assert_int_equal(set_fabric(e, 3, 16, &err), ANSWER_LATER);
	AN_UNTIL(e, e->set[3].n);
	ff_answer(e->f, -EIO);
	assert_int_equal(e->troubles, 2);
	e->set[1] = (struct an_told){0};
	assert_int_equal(set_fabric(e, 1, 17, &err), ANSWER_LATER);
	ff_answer(e->f, -EIO);
	an_expect_told(&e->set[1], -EIO);
	assert_int_equal(set_fabric(e, 1, 17, &err), ANSWER_LATER);
}

static int check(struct an_env *e, unsigned int i, uint16_t mtu, struct err *err)
{
	struct function_settings s = e->p->settings;
	struct fabric_check c = {.pf = "pf", .fn = 1, .settings = &s, .policy = &e->policy};
	int r;

	s.mtu = mtu;
	an_calling = true;
	r = fabric_check(e->f, &c, &(struct answer){an_on_answer, &e->set[i]}, err);
	an_calling = false;
	return r;
}

static void answer_check(struct an_env *e, unsigned int i, int r)
{
	struct err err = {0};

	if (r < 0)
		err_set(&err, -r, "mtu", "scripted");
	fabric_check_answer(e->f, ff.checks[i], r, &err);
}

/* Several at a time, beside what is under way; they change nothing. */
static void test_check(void **state)
{
	struct an_env *e = *state;
	struct err err = {0};

	assert_int_equal(check(e, 0, 1001, &err), 0);
	ff.how[FF_CHECK] = FF_FAIL;
	assert_int_equal(check(e, 0, 1002, &err), -EIO);
	assert_string_equal(err.text, "scripted");
	an_all(FF_LATER);
	ff.how[FF_CHECK] = FF_LATER;
	assert_int_equal(an_set(e, 3, 1500), ANSWER_LATER);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(check(e, i, (uint16_t)(1003 + i), &err), ANSWER_LATER);
	an_pump(e);
	ff_assert_log("check:1001 check:1002 set:1500* check:1003* check:1004* check:1005* ");
	assert_int_equal(e->p->settings.mtu, 1500);
	answer_check(e, 1, -EPERM);
	assert_true(!e->set[0].n && !e->set[2].n);
	an_expect_told(&e->set[1], -EPERM);
	answer_check(e, 1, 0);
	answer_check(e, 0, 0);
	an_expect_told(&e->set[0], 0);
	an_expect_told(&e->set[1], -EPERM);
	assert_int_equal(e->set[2].n, 0);
	/* The last one ends with the fabric. */
	an_end(e);
	an_pump(e);
	assert_int_equal(e->set[2].n, 0);
}

static void test_check_times_out(void **state)
{
	struct an_env *e = *state;
	struct err err = {0};

	ff.how[FF_CHECK] = FF_LATER;
	assert_int_equal(check(e, 0, 1001, &err), ANSWER_LATER);
	AN_UNTIL(e, e->set[0].n);
	an_expect_late(&e->set[0]);
	answer_check(e, 0, 0);
	assert_int_equal(e->set[0].n, 1);
	e->set[1].then = an_free_all;
	assert_int_equal(check(e, 1, 1001, &err), ANSWER_LATER);
	assert_int_equal(check(e, 2, 1001, &err), ANSWER_LATER);
	AN_UNTIL(e, e->set[1].n || e->set[2].n);
}

int main(void)
{
#define TEST(f)  cmocka_unit_test_setup_teardown(f, an_setup, an_teardown)
#define SHORT(f) cmocka_unit_test_setup_teardown(f, an_setup_short, an_teardown)
#define BARE(f)  cmocka_unit_test_setup_teardown(f, an_setup_bare, an_teardown)
	const struct CMUnitTest tests[] = {
		BARE(test_new_later), TEST(test_fabric_set_later), SHORT(test_fabric_set_times_out),
		TEST(test_check),     SHORT(test_check_times_out),
	};

	return cmocka_run_group_tests_name("fabric_answer", tests, NULL, NULL);
}
