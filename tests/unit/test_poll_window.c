/* SPDX-License-Identifier: Apache-2.0 */

/* How long a worker goes on polling. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "switch/poll_window.h"

#define MAX_NS 500000u
#define START  1000000000000u /* CLOCK_MONOTONIC is never near 0 for long, but nothing may hang on that */

static void test_grows_and_shrinks(void **state)
{
	struct poll_window p;

	(void)state;
	poll_window_init(&p, MAX_NS);
	assert_int_equal(p.ns, POLL_MIN_NS);
	poll_window_slept(&p, START, MAX_NS - 1);
	assert_int_equal(p.ns, 2 * POLL_MIN_NS);
	for (int i = 0; i < 10; i++)
		poll_window_slept(&p, START, 0);
	assert_int_equal(p.ns, MAX_NS);
	poll_window_slept(&p, START, MAX_NS);
	assert_int_equal(p.ns, MAX_NS / 2);
	for (int i = 0; i < 10; i++)
		poll_window_slept(&p, START, UINT64_MAX);
	assert_int_equal(p.ns, POLL_MIN_NS);
}

/* --poll-us 0, and less than the usual minimum. */
static void test_small_maximum(void **state)
{
	static const uint64_t max[] = {0, 1000, POLL_MIN_NS};
	struct poll_window p;

	(void)state;
	for (unsigned int i = 0; i < sizeof(max) / sizeof(max[0]); i++) {
		poll_window_init(&p, max[i]);
		assert_int_equal(p.ns, max[i]);
		poll_window_slept(&p, START, 0);
		assert_int_equal(p.ns, max[i]);
		poll_window_slept(&p, START, MAX_NS);
		assert_int_equal(p.ns, max[i]);
	}
}

/* Passes that took long are a crowd when they come in a row, not at long intervals. */
static void test_crowd(void **state)
{
	struct poll_window p;
	uint64_t now = START;

	(void)state;
	poll_window_init(&p, MAX_NS);
	for (int i = 0; i < 4; i++)
		poll_window_slept(&p, now, 0);
	for (int i = 0; i < 1000; i++, now += CROWDED_EACH_NS)
		poll_window_passed(&p, now, CROWDED_NS);
	for (int i = 0; i < 1000; i++, now += 1000)
		poll_window_passed(&p, now, CROWDED_NS - 1);
	assert_int_equal(p.ns, MAX_NS);
	for (uint64_t i = 0; i < CROWDED_MAX_NS / CROWDED_EACH_NS; i++)
		poll_window_passed(&p, now, CROWDED_NS);
	assert_int_equal(p.ns, POLL_MIN_NS);
	/* It does not grow meanwhile, and does afterwards. */
	poll_window_slept(&p, now + CROWDED_REST_NS - 1, 0);
	assert_int_equal(p.ns, POLL_MIN_NS);
	poll_window_slept(&p, now + CROWDED_REST_NS, 0);
	assert_int_equal(p.ns, 2 * POLL_MIN_NS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grows_and_shrinks),
		cmocka_unit_test(test_small_maximum),
		cmocka_unit_test(test_crowd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
