/* SPDX-License-Identifier: Apache-2.0 */

/* Groups in the answer to query-rx-filter; the rest of it is in test_qemu_args.c. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "qemu/rx_filter.h"

static int parse(const char *mode, const char *groups, struct rx_filter *ret)
{
	static char text[8192];
	json_t *json;
	int r;

	snprintf(text, sizeof(text),
		 "[{\"promiscuous\": false, \"main-mac\": \"02:00:00:00:00:01\", \"unicast\": \"normal\", "
		 "\"unicast-table\": [], \"multicast\": \"%s\"%s%s}]",
		 mode, groups ? ", \"multicast-table\": " : "", groups ? groups : "");
	json = json_loads(text, 0, NULL);
	assert_non_null(json);
	r = rx_filter_parse(json, ret);
	json_decref(json);
	return r;
}

static void test_groups(void **state)
{
	struct rx_filter f, g;

	(void)state;
	assert_int_equal(parse("normal", "[\"33:33:00:00:00:01\", \"01:00:5e:00:00:FB\"]", &f), 0);
	assert_int_equal(f.multicast_n, 2);
	assert_memory_equal(f.multicast[0], "\x33\x33\0\0\0\1", 6);
	assert_memory_equal(f.multicast[1], "\x01\0\x5e\0\0\xfb", 6);
	assert_false(f.multicast_overflow || f.all_multicast);
	assert_int_equal(parse("all", "[\"33:33:00:00:00:01\"]", &g), 0);
	assert_true(g.all_multicast);
	assert_int_equal(g.multicast_n, 1);
	/* A change of the groups alone is a change. */
	g = f;
	assert_true(rx_filter_equal(&f, &g));
	g.multicast[1][5]++;
	assert_false(rx_filter_equal(&f, &g));
	g = f;
	g.multicast_n--;
	assert_false(rx_filter_equal(&f, &g));
	g = f;
	g.multicast_overflow = true;
	assert_false(rx_filter_equal(&f, &g));
	/* None are none. */
	assert_int_equal(parse("none", "[\"33:33:00:00:00:01\"]", &g), 0);
	assert_int_equal(g.multicast_n, 0);
	assert_false(g.multicast_overflow || g.all_multicast);
}

static void test_too_many(void **state)
{
	char groups[4096] = "[";
	struct rx_filter f;

	(void)state;
	for (unsigned int i = 0; i < VPF_MAX_DRIVER_MACS + 5; i++) {
		snprintf(groups + strlen(groups), 32, "%s\"33:33:00:00:00:%02x\"", i ? "," : "", i);
		strcat(groups, "]");
		assert_int_equal(parse("normal", groups, &f), 0);
		groups[strlen(groups) - 1] = 0;
		assert_int_equal(f.multicast_n, i < VPF_MAX_DRIVER_MACS ? i + 1 : VPF_MAX_DRIVER_MACS);
		assert_int_equal(f.multicast_overflow, i >= VPF_MAX_DRIVER_MACS);
	}
	assert_int_equal(parse("normal", "[], \"multicast-overflow\": true", &f), 0);
	assert_true(f.multicast_overflow);
	/* Not told: perhaps it has some. */
	assert_int_equal(parse("normal", NULL, &f), 0);
	assert_true(f.multicast_overflow);
}

static void test_lies(void **state)
{
	static const char *const lies[] = {"7", "{}", "[7]", "[\"33:33:00:00:00\"]", "[[]]", "\"x\"", "null"};
	struct rx_filter f = {.main_mac = {7}};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(lies); i++)
		assert_int_equal(parse("normal", lies[i], &f), -EPROTO);
	assert_int_equal(f.main_mac[0], 7); /* not touched */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_lies),
	};

	return cmocka_run_group_tests_name("rx_filter", tests, NULL, NULL);
}
