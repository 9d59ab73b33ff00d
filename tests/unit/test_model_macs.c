/* SPDX-License-Identifier: Apache-2.0 */

/* Whose a MAC is: generated ones, administrative ones, and those of whole virtual PFs. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "model_env.h"
#include "settings/mac.h"

static void macs_generated(void **state)
{
	struct me_env *t = *state;
	char first[MAC_TEXT_MAX];
	uint8_t a[6], b[6];

	me_add_fabric(t, "f0", NULL);
	me_add_pf(t, "pf0", "f0", 255, NULL);
	memcpy(a, model_pf_find(t->model, "pf0")->mac, 6);
	strcpy(first, me_mac_of(t, "pf0", 0));
	mac_parse(me_mac_of(t, "pf0", 255), b);
	assert_int_equal(mac_to_number(b), mac_to_number(a) + 255);
	assert_int_equal(a[0] & 3, 2);

	/* Stable: after a restart, and when it is made again. */
	me_restart(t);
	assert_string_equal(me_mac_of(t, "pf0", 0), first);
	assert_int_equal(model_pf_del(t->model, "pf0", NULL), 0);
	me_add_pf(t, "pf0", "f0", 255, NULL);
	assert_string_equal(me_mac_of(t, "pf0", 0), first);

	/* Where it is taken, on any fabric, another is generated, and kept. */
	assert_int_equal(model_pf_del(t->model, "pf0", NULL), 0);
	me_add_fabric(t, "f1", NULL);
	me_add_pf(t, "other", "f1", 0, first);
	me_add_pf(t, "pf0", "f0", 255, NULL);
	assert_string_not_equal(me_mac_of(t, "pf0", 0), first);
	strcpy(first, me_mac_of(t, "pf0", 0));
	assert_int_equal(model_pf_del(t->model, "other", NULL), 0);
	me_restart(t);
	assert_string_equal(me_mac_of(t, "pf0", 0), first);
}

static void macs_taken(void **state)
{
	struct me_env *t = *state;
	struct err other;

	me_add_fabric(t, "f0", NULL);
	me_add_fabric(t, "f1", NULL);
	me_add_pf(t, "pf0", "f0", 3, "02:00:00:00:00:10"); /* …10 to …13 */

	/* Permanent ranges do not overlap on one fabric. */
	assert_error(me_try_pf(t, "pf1", "f0", 0, "02:00:00:00:00:13", &err), EEXIST, "mac");
	assert_error(me_try_pf(t, "pf1", "f0", 1, "02:00:00:00:00:0f", &err), EEXIST, "mac");
	assert_error(me_try_pf(t, "pf1", "f0", 200, "02:00:00:00:00:00", &err), EEXIST, "mac");
	me_add_pf(t, "pf1", "f0", 1, "02:00:00:00:00:14");
	me_add_pf(t, "pf2", "f1", 3, "02:00:00:00:00:10");

	/* An administrative one is no other function's. */
	assert_error(me_try_admin_mac(t, "pf0", 1, "02:00:00:00:00:15", &err), EEXIST, "mac");
	assert_error(me_try_admin_mac(t, "pf0", 1, "02:00:00:00:00:12", &err), EEXIST, "mac");
	assert_int_equal(me_try_admin_mac(t, "pf0", 1, "02:00:00:00:00:11", &other), 0); /* its own */
	assert_int_equal(me_try_admin_mac(t, "pf0", 1, "02:00:00:00:00:aa", &other), 0);
	assert_error(me_try_admin_mac(t, "pf1", 0, "02:00:00:00:00:aa", &err), EEXIST, "mac");
	assert_int_equal(me_try_admin_mac(t, "pf0", 1, "02:00:00:00:00:aa", &other), 0); /* again */
	assert_int_equal(me_try_admin_mac(t, "pf2", 0, "02:00:00:00:00:aa", &other), 0); /* other fabric */
	assert_error(me_try_pf(t, "pf3", "f0", 1, "02:00:00:00:00:a9", &err), EEXIST, "mac");

	/* Cleared, it is free. */
	assert_int_equal(me_try_admin_mac(t, "pf0", 1, "00:00:00:00:00:00", &other), 0);
	assert_int_equal(me_try_admin_mac(t, "pf1", 0, "02:00:00:00:00:aa", &other), 0);
	me_restart(t);
	assert_int_equal(me_settings_of(t, "pf1", 0).admin_mac[5], 0xaa);
}

static void pf_mac_change(void **state)
{
	struct me_env *t = *state;
	uint8_t mac[6] = {2, 0, 0, 0, 1, 0}, taken[6] = {2, 0, 0, 0, 0, 0x22};
	struct pf_settings s;
	struct err other;

	me_add_fabric(t, "f0", NULL);
	me_add_pf(t, "pf0", "f0", 2, "02:00:00:00:00:10");
	me_add_pf(t, "pf1", "f0", 2, "02:00:00:00:00:20");
	s = model_pf_find(t->model, "pf0")->s;
	assert_error(model_pf_set(t->model, &s, taken, NULL, &err), EEXIST, "mac");
	fake_dp_function(&t->dp, "pf0", 0)->connected = true;
	assert_error(model_pf_set(t->model, &s, mac, NULL, &err), EBUSY, "mac");
	fake_dp_function(&t->dp, "pf0", 0)->connected = false;
	assert_int_equal(model_pf_set(t->model, &s, mac, NULL, &other), 0);
	assert_string_equal(me_mac_of(t, "pf0", 2), "02:00:00:00:01:02");
	/* One's own administrative MAC of old does not forbid a range that has it at the same function. */
	assert_int_equal(me_try_admin_mac(t, "pf0", 1, "02:00:00:00:00:11", &other), 0);
	mac[4] = 0;
	mac[5] = 0x10;
	assert_int_equal(model_pf_set(t->model, &s, mac, NULL, &other), 0);
	mac[5] = 0x11;
	assert_error(model_pf_set(t->model, &s, mac, NULL, &err), EEXIST, "mac");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, me_setup, me_teardown)
	const struct CMUnitTest tests[] = {
		TEST(macs_generated),
		TEST(macs_taken),
		TEST(pf_mac_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
