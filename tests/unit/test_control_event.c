/* SPDX-License-Identifier: Apache-2.0 */

/* What the changes of host and guest bring a driver. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <time.h>

#include "control_env.h"

static void test_events_of_the_host(void **state)
{
	struct ce_env *t = *state;
	struct function_settings s = me_settings_of(t->m, "pf0", 3);
	struct vpf_ctl_function r;
	struct err err = {0};

	ce_driver_starts(t, "pf0");
	ce_assert_idle(t);
	s.trust = true;
	assert_int_equal(model_function_set(t->m->model, "pf0", 3, &s, false, NULL, &err), 0);
	assert_int_equal(ce_await_event(t, "pf0", &r), 1);
	assert_true(le16toh(r.function) == 3 && r.flags & VPF_CTL_F_TRUST);
	fake_dp_function(&t->m->dp, "pf0", 4)->s.link = LINK_DISABLE;
	model_dataplane_events.link_changed(t->m->model, "pf0", 4, false);
	assert_int_equal(ce_await_event(t, "pf0", &r), 1);
	assert_true(le16toh(r.function) == 4 && !(r.flags & VPF_CTL_F_LINK_UP));
	fake_dp_function(&t->m->dp, "pf0", 5)->started = true;
	model_dataplane_events.function_started(t->m->model, "pf0", 5, true);
	assert_int_equal(ce_await_event(t, "pf0", &r), 1);
	assert_true(le16toh(r.function) == 5 && r.flags & VPF_CTL_F_STARTED);
	/* Other PFs' changes are none of its business, nor what concerns no record. */
	s = me_settings_of(t->m, "pf0b", 1);
	s.trust = true;
	assert_int_equal(model_function_set(t->m->model, "pf0b", 1, &s, false, NULL, &err), 0);
	model_dataplane_events.function_connected(t->m->model, "pf0", 5, false, NULL);
	ce_assert_idle(t);
	/* Everything may look otherwise after a change of the PF: as many events as that takes. */
	ce_set_policy(t, "pf0", ce_strict_policy);
	assert_int_equal(ce_await_event(t, "pf0", &r), 37);
	assert_int_equal(ce_await_event(t, "pf0", &r), 37);
	assert_int_equal(ce_await_event(t, "pf0", &r), 27);
	ce_assert_idle(t);
}

static void test_event_of_the_drivers_own_set(void **state)
{
	struct ce_env *t = *state;
	struct vpf_ctl_function r;

	ce_driver_starts(t, "pf0");
	ce_set(t, "pf0", (struct vpf_ctl_set){.trust = 1}, 3, VPF_CTL_TRUST); /* the reply came first */
	assert_int_equal(ce_await_event(t, "pf0", &r), 1);
	assert_int_equal(le16toh(r.function), 3);
	ce_assert_idle(t);
}

static void test_event_is_sent_again(void **state)
{
	struct ce_env *t = *state;
	struct timespec before, after;
	int64_t ms;

	ce_driver_starts(t, "pf0");
	ce_set(t, "pf0", (struct vpf_ctl_set){.trust = 1}, 3, VPF_CTL_TRUST);
	ce_await_sent(t);
	clock_gettime(CLOCK_MONOTONIC, &before);
	ce_await_sent(t);
	clock_gettime(CLOCK_MONOTONIC, &after);
	ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
	assert_true(ms >= 90);
	assert_int_equal(le32toh(peer_hdr(ce_last(t, "pf0", VPF_CTL_EVENT))->sequence), 1);
	assert_int_equal(ce_info_of(t, "pf0").counters->event_retries, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, ce_setup, ce_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_events_of_the_host),
		TEST(test_event_of_the_drivers_own_set),
		TEST(test_event_is_sent_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
