/* SPDX-License-Identifier: Apache-2.0 */

/* Which addresses a function may send from, and is reached at. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "bridge_env.h"
#include "net/rtnl.h"

static void test_spoof(void **state)
{
	struct br_env *e = br_begin(state, false);
	unsigned int a = br_add(e, NULL), b = br_add(e, NULL);
	struct function_settings s = br_settings(a);
	struct rx_filter filter = {.known = true, .unicast_n = 1};
	struct br_frame control = br_make(b, a, 0, NULL);

	br_put(e->at[a].tap.fd[0], br_make(b, 50, 1, NULL));
	br_put(e->at[a].tap.fd[0], br_make(b, b, 1, NULL)); /* its neighbour's */
	br_expect_nothing(e);
	assert_int_equal(br_stats(e, a).tx_drop[DROP_SPOOF_MAC], 2);
	br_send_from(e, b, a, 2); /* and nothing was learned from it */
	br_expect_at(e, a, a, b, 2);
	/* Control frames do not pass here; nor do bridges' own. */
	control.bytes[12] = 0x88;
	control.bytes[13] = 0xb5;
	br_put(e->at[a].tap.fd[0], control);
	assert_int_equal(br_stats(e, a).tx_drop[DROP_CONTROL], 1);
	/* The driver's. */
	memcpy(filter.main_mac, s.mac, 6);
	memcpy(filter.unicast[0], (uint8_t[6]){2, 0, 0, 0, 0, 51}, 6);
	fabric_port_filter(e->p[a], &filter);
	br_put(e->at[a].tap.fd[0], br_make(b, 50, 3, NULL));
	br_expect_at(e, b, b, 50, 3);
	br_send_from(e, b, 50, 4);
	br_expect_at(e, a, 50, b, 4);
	/* The administrator's, and no other. */
	memcpy(s.admin_mac, (uint8_t[6]){2, 0, 0, 0, 0, 61}, 6);
	br_set(e, a, &s);
	br_send_from(e, a, b, 5);
	br_put(e->at[a].tap.fd[0], br_make(b, 50, 5, NULL));
	br_put(e->at[a].tap.fd[0], br_make(b, 60, 6, NULL));
	br_expect_at(e, b, b, 60, 6);
	br_expect_nothing(e);
	br_send_from(e, b, 60, 7);
	br_expect_at(e, a, 60, b, 7);
	/* Off. */
	s.spoofchk = false;
	br_set(e, a, &s);
	br_put(e->at[a].tap.fd[0], br_make(b, 70, 8, NULL));
	br_expect_at(e, b, b, 70, 8);
	br_expect_nothing(e);
	assert_int_equal(e->troubles, 0);
}

/* Functions without spoof check, on a fabric that learns. */
static void test_learning(void **state)
{
	struct function_settings s = br_settings(0);
	struct br_env *e = *state;
	struct fabric_settings fs;
	unsigned int a, b, c;
	struct fabric_state shown;
	struct err err;

	if (!e)
		skip();
	e->s.learning = true;
	e->s.max_learned = 3;
	e->s.ageing = 77;
	br_begin(state, false);
	assert_true(br_sh("ip -d link show " BR_NAME " | grep -q 'ageing_time 7700 '"));
	s.spoofchk = false;
	a = br_add(e, &s);
	b = br_add(e, NULL);
	c = br_add(e, NULL);
	for (unsigned int i = 0; i < 5; i++)
		br_put(e->at[a].tap.fd[0], br_make(b, 50 + i, 1, NULL));
	for (unsigned int i = 0; i < 3; i++)
		br_expect_at(e, b, b, 50 + i, 1);
	br_expect_nothing(e);
	assert_int_equal(br_stats(e, a).tx_drop[DROP_SPOOF_MAC], 2);
	br_send_from(e, c, 51, 2);
	br_expect_at(e, a, 51, c, 2);
	br_expect_nothing(e);
	fabric_get(e->f, &shown, NULL);
	assert_int_equal(shown.fdb_learned, 3);
	/* What is an owner's is not learned away from him. */
	br_put(e->at[a].tap.fd[0], br_make(b, 50, 3, NULL));
	br_expect_at(e, b, b, 50, 3);
	fs = e->s;
	fs.ageing = 100;
	fs.learning = false;
	assert_int_equal(fabric_set(e->f, &fs, NULL, &err), 0);
	assert_true(br_sh("ip -d link show " BR_NAME " | grep -q 'ageing_time 10000 '"));
	br_put(e->at[a].tap.fd[0], br_make(b, 60, 4, NULL));
	br_expect_at(e, b, b, 60, 4);
	br_send_from(e, c, 60, 5);
	br_send_from(e, c, 51, 5);
	br_expect_nothing(e);
	assert_int_equal(e->troubles, 0);
}

static void test_conflict(void **state)
{
	struct br_env *e = br_begin(state, false);
	struct function_settings s = br_settings(0);
	unsigned int a = br_add(e, NULL), b, c = br_add(e, NULL);
	struct rx_filter filter = {.known = true};
	struct link_info i;

	e->n = 2;
	b = br_add(e, &s);
	assert_true(e->p[b]->mac_conflict && !e->p[a]->mac_conflict);
	assert_int_equal(e->conflicts, 1);
	br_put(e->at[b].tap.fd[0], br_make(c, 0, 1, NULL));
	br_expect_nothing(e);
	br_send_from(e, c, a, 2);
	br_expect_at(e, a, a, c, 2);
	br_expect_nothing(e);
	/* Served by another switch, the other one has it here. */
	br_close_port(e, a);
	fabric_port_elsewhere(e->p[a], true);
	assert_false(e->p[b]->mac_conflict);
	br_put(e->at[b].tap.fd[0], br_make(c, 0, 3, NULL));
	br_expect_at(e, c, c, 0, 3);
	/* The bridge's own address is the host's. */
	assert_int_equal(link_get(bridge_of(e->f)->nl, BR_NAME, 0, &i), 0);
	memcpy(filter.main_mac, i.mac, 6);
	fabric_port_filter(e->p[b], &filter);
	assert_true(e->p[b]->mac_conflict);
	assert_int_equal(e->conflicts, 2);
	{
		struct br_frame f = br_make(c, 0, 4, NULL);

		memcpy(f.bytes + 6, i.mac, 6);
		br_put(e->at[b].tap.fd[0], f);
	}
	br_expect_nothing(e);
	assert_int_equal(br_stats(e, b).tx_drop[DROP_SPOOF_MAC], 2);
	assert_int_equal(e->troubles, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, br_setup, br_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_spoof),
		TEST(test_learning),
		TEST(test_conflict),
	};

	return cmocka_run_group_tests_name("bridge_claims", tests, NULL, NULL);
}
