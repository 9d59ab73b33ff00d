/* SPDX-License-Identifier: Apache-2.0 */

/* Shares of the log: a burst, then a rate; one PF's lines take nothing from others'. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "util/log_share.h"

static uint64_t now = 1000000;
static uint64_t left_out;

static unsigned int take(const char *pf, unsigned int lines)
{
	unsigned int n = 0;

	while (lines--)
		n += log_share_take(pf, now, &left_out);
	return n;
}

static void burst_and_rate(void **state)
{
	(void)state;
	assert_int_equal(take("bad", LOG_SHARE_BURST), LOG_SHARE_BURST);
	assert_int_equal(take("bad", 100), 0);
	now += 1000000;
	assert_int_equal(take("bad", 1), 1);
	assert_int_equal(left_out, 100);
	assert_int_equal(take("bad", 1000), LOG_SHARE_PF_RATE - 1);
	assert_int_equal(left_out, 0);
	/* Not the others'. */
	assert_int_equal(take("good", LOG_SHARE_BURST), LOG_SHARE_BURST);
	assert_int_equal(take(NULL, LOG_SHARE_BURST + 1), LOG_SHARE_BURST);
	now += 1000000;
	assert_int_equal(take(NULL, 1000), LOG_SHARE_OTHER_RATE);
	/* All of it is back after a while. */
	now += UINT64_C(1000000) * LOG_SHARE_BURST;
	assert_int_equal(take("bad", LOG_SHARE_BURST + 1), LOG_SHARE_BURST);
	now += UINT64_C(1000000) * LOG_SHARE_BURST;
}

static void reports(void **state)
{
	char pf[LOG_SHARE_NAME];
	unsigned int found = 0;

	(void)state;
	while (log_share_left_out(now, pf, &left_out)) /* the last test's */
		;
	take("bad", LOG_SHARE_BURST + 7);
	take(NULL, LOG_SHARE_BURST + 3);
	now += LOG_SHARE_REPORT_US - 1;
	assert_false(log_share_left_out(now, pf, &left_out));
	now++;
	while (log_share_left_out(now, pf, &left_out)) {
		assert_int_equal(left_out, *pf ? 7 : 3);
		assert_string_equal(pf, *pf ? "bad" : "");
		found++;
	}
	assert_int_equal(found, 2);
	assert_int_equal(take("bad", 1), 1);
	assert_int_equal(left_out, 0);
	now += UINT64_C(1000000) * LOG_SHARE_BURST;
}

/* However many PFs come and go, nobody is silenced who was not loud. */
static void many(void **state)
{
	char name[24];

	(void)state;
	for (unsigned int i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "pf%u", i);
		assert_int_equal(take(name, 20), 20);
		now += 2000000;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(burst_and_rate),
		cmocka_unit_test(reports),
		cmocka_unit_test(many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
