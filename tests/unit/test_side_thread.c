/* SPDX-License-Identifier: Apache-2.0 */

/* A thread beside the main one: one thing after the other, told once, and gone without anybody waiting. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>

#include "datapath/side_thread.h"

#define WAIT_US 20000000u

struct shared {
	sem_t go, ended;
	unsigned int slow_ran, quick_ran;
	bool on_main;
	pthread_t main;
};

struct env {
	sd_event *event;
	struct side_thread *t;
	struct shared s;
	side_fn *told[8];
	unsigned int n_told;
	bool free_when_told;
};

static void quick(void *arg)
{
	struct shared *s = arg;

	s->on_main |= pthread_equal(pthread_self(), s->main);
	s->quick_ran++;
}

static void slow(void *arg)
{
	struct shared *s = arg;

	sem_wait(&s->go);
	s->slow_ran++;
}

static void end(void *arg)
{
	struct shared *s = arg;

	sem_post(&s->ended);
}

static void done(void *ctx, side_fn *fn)
{
	struct env *e = ctx;

	e->told[e->n_told++] = fn;
	if (e->free_when_told) {
		side_thread_free(e->t);
		e->t = NULL;
	}
}

static int setup(void **state)
{
	struct env *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	assert_true(sd_event_new(&e->event) >= 0);
	sem_init(&e->s.go, 0, 0);
	sem_init(&e->s.ended, 0, 0);
	e->s.main = pthread_self();
	assert_int_equal(side_thread_new(e->event, &e->s, end, done, e, &e->t), 0);
	*state = e;
	return 0;
}

static int teardown(void **state)
{
	struct env *e = *state;

	side_thread_free(e->t);
	sem_wait(&e->s.ended); /* the argument is the thread's until then */
	sem_destroy(&e->s.go);
	sem_destroy(&e->s.ended);
	sd_event_unref(e->event);
	free(e);
	return 0;
}

static void await(struct env *e, unsigned int n)
{
	while (e->n_told < n)
		assert_true(sd_event_run(e->event, WAIT_US) > 0);
}

static void test_runs_and_tells(void **state)
{
	struct env *e = *state;

	for (unsigned int i = 1; i <= 3; i++) {
		side_thread_run(e->t, quick);
		await(e, i);
		assert_true(e->told[i - 1] == quick);
		assert_int_equal(e->s.quick_ran, i);
	}
	assert_false(e->s.on_main);
	assert_int_equal(sd_event_run(e->event, 0), 0); /* once for each */
}

static void test_one_after_the_other(void **state)
{
	struct env *e = *state;

	/* What is under way is finished first; of those that wait, the last one asked for is left. */
	side_thread_run(e->t, slow);
	side_thread_run(e->t, quick);
	sem_post(&e->s.go);
	do
		assert_true(sd_event_run(e->event, WAIT_US) > 0);
	while (e->told[e->n_told - 1] != quick);
	assert_int_equal(e->s.quick_ran, 1);
	assert_in_range(e->s.slow_ran, 0, 1); /* it may have been replaced before it began */
}

static void test_free_from_the_callback(void **state)
{
	struct env *e = *state;

	e->free_when_told = true;
	side_thread_run(e->t, quick);
	await(e, 1);
	assert_null(e->t);
}

static void test_free_waits_for_nothing(void **state)
{
	struct env *e = *state;

	side_thread_run(e->t, slow);
	side_thread_free(e->t);
	e->t = NULL;
	assert_int_equal(sd_event_run(e->event, 0), 0);
	sem_post(&e->s.go); /* lets it end, if it had begun */
	assert_int_equal(e->n_told, 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_runs_and_tells),
		TEST(test_one_after_the_other),
		TEST(test_free_from_the_callback),
		TEST(test_free_waits_for_nothing),
	};

	return cmocka_run_group_tests_name("side_thread", tests, NULL, NULL);
}
