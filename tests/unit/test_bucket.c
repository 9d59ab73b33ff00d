/* SPDX-License-Identifier: Apache-2.0 */

/* The arithmetic of a rate limit. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/bucket.h"

static void test_bucket(void **state)
{
	struct bucket b = bucket_new(1000, 256);
	uint64_t now = 5000000ull;

	(void)state;
	for (int i = 0; i < 256; i++)
		assert_true(bucket_take(&b, now));
	assert_false(bucket_take(&b, now));
	assert_false(bucket_take(&b, now + 999));
	assert_true(bucket_when(&b, 1) == now + 1000);
	assert_true(bucket_when(&b, 16) == now + 16000);
	assert_true(bucket_take(&b, now + 1000));
	assert_false(bucket_take(&b, now + 1000));
	now += 100000000ull; /* full again, and no fuller */
	for (int i = 0; i < 256; i++)
		assert_true(bucket_take(&b, now));
	assert_false(bucket_take(&b, now));
	/* One at a time at the rate, for ever. */
	for (int i = 1; i < 5000; i++)
		assert_true(bucket_take(&b, now + 1000u * (unsigned int)i));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bucket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
