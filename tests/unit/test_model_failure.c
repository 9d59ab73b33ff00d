/* SPDX-License-Identifier: Apache-2.0 */

/* The model over a data plane and a disk that fail where they are told to: every change is there in full
 * (memory, disk, data plane) or not at all. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "model_env.h"
#include "settings/function_fields.h"
#include "settings_same.h"

static void dataplane_refuses_pf(void **state)
{
	struct me_env *t = *state;
	char path[256], *before, *after;
	unsigned int n;

	me_add_fabric(t, "f0", NULL);
	before = scratch_read(t->state_file, NULL);
	n = t->events_n;
	for (unsigned int at = 0; at < 4; at++) {
		t->dp.fail_function_add = EMFILE;
		t->dp.fail_countdown = at;
		assert_error(me_try_pf(t, "pf0", "f0", 3, NULL, &err), EMFILE, "");
		assert_int_equal(t->dp.functions_n, 0);
		assert_null(model_pf_find(t->model, "pf0"));
		assert_int_equal(access(scratch_path(&t->scratch, "pf0", path), F_OK), -1);
	}
	t->dp.fail_function_add = 0;
	assert_int_equal(t->events_n, n);
	after = scratch_read(t->state_file, NULL);
	assert_string_equal(before, after);
	free(before);
	free(after);
	me_add_pf(t, "pf0", "f0", 3, NULL);
	assert_int_equal(t->dp.functions_n, 4);
}

static void dataplane_refuses_fabric(void **state)
{
	struct me_env *t = *state;
	struct fabric_settings f;

	fabric_settings_init(&f, "f0");
	f.uplink = UPLINK_NETDEV;
	strcpy(f.uplink_name, "gone");
	strcpy(t->dp.no_such_netdev, "gone");
	assert_error(model_fabric_add(t->model, &f, NULL, &err), ENODEV, "uplink.name");
	assert_null(model_fabric_at(t->model, 0));
	assert_null(scratch_read(t->state_file, NULL));

	me_add_fabric(t, "f0", "eth0");
	assert_error(model_fabric_set(t->model, &f, NULL, &err), ENODEV, "uplink.name");
	assert_string_equal(model_fabric_find(t->model, "f0")->s.uplink_name, "eth0");
	me_restart(t);
	assert_string_equal(fake_dp_fabric(&t->dp, "f0")->uplink_name, "eth0");
}

/* Each kind of change while the disk is full: refused, without effect, and possible again afterwards. */
static void disk_full(void **state)
{
	struct me_env *t = *state;
	struct fabric_settings f, f_before;
	struct function_settings s;
	struct pf_settings p;
	uint8_t mac[6] = {2, 0, 0, 0, 7, 0};
	char *before, *after;
	struct fake_function was[6];
	unsigned int n, sets;
	int code;

	me_add_fabric(t, "f0", "eth0");
	me_add_fabric(t, "empty", NULL);
	me_add_pf(t, "pf0", "f0", 2, "02:00:00:00:00:10");
	me_add_pf(t, "pf1", "f0", 2, "02:00:00:00:00:20");
	before = scratch_read(t->state_file, NULL);
	n = t->events_n;
	sets = t->dp.function_sets;
	memcpy(was, t->dp.functions, sizeof(was));

	code = scratch_fill(&t->scratch);
	fabric_settings_init(&f, "f1");
	assert_error(model_fabric_add(t->model, &f, NULL, &err), code, "");
	assert_int_equal(t->dp.fabrics_n, 2);
	f = f_before = model_fabric_find(t->model, "f0")->s;
	f.learning = true;
	strcpy(f.uplink_name, "eth1");
	assert_error(model_fabric_set(t->model, &f, NULL, &err), code, "");
	assert_same_fabric(fake_dp_fabric(&t->dp, "f0"), &f_before);
	assert_same_fabric(&model_fabric_find(t->model, "f0")->s, &f_before);
	assert_error(model_fabric_del(t->model, "empty", &err), code, "");
	assert_non_null(fake_dp_fabric(&t->dp, "empty"));

	assert_error(me_try_pf(t, "pf2", "f0", 2, NULL, &err), code, "");
	assert_int_equal(t->dp.functions_n, 6);
	p = model_pf_find(t->model, "pf0")->s;
	p.mtu = 9000;
	assert_error(model_pf_set(t->model, &p, mac, NULL, &err), code, "");
	assert_int_equal(model_pf_find(t->model, "pf0")->s.mtu, 1500);
	assert_int_equal(me_settings_of(t, "pf0", 1).mtu, 1500);
	assert_int_equal(me_settings_of(t, "pf0", 1).mac[5], 0x11);
	assert_error(model_pf_del(t->model, "pf0", &err), code, "");
	assert_int_equal(t->dp.functions_n, 6);
	assert_string_equal(model_pf_at(t->model, 0)->s.name, "pf0"); /* at its place */

	s = me_settings_of(t, "pf0", 1);
	s.trust = true;
	assert_error(model_function_set(t->model, "pf0", 1, &s, false, NULL, &err), code, "");
	assert_false(me_settings_of(t, "pf0", 1).trust);
	/* The data plane had each change, and has what it had before: the three functions of the PF, and the one. */
	assert_int_equal(t->dp.function_sets, sets + 2 * (3 + 1));
	for (unsigned int i = 0; i < 6; i++)
		assert_true(fields_equal(function_fields, &t->dp.functions[i].s, &was[i].s) &&
			    !memcmp(t->dp.functions[i].s.mac, was[i].s.mac, 6));
	assert_int_equal(t->events_n, n);
	scratch_empty(&t->scratch);

	after = scratch_read(t->state_file, NULL);
	assert_string_equal(before, after);
	free(before);
	free(after);
	assert_int_equal(model_function_set(t->model, "pf0", 1, &s, false, NULL, NULL), 0);
	assert_int_equal(model_fabric_set(t->model, &f, NULL, NULL), 0);
	assert_int_equal(model_pf_set(t->model, &p, mac, NULL, NULL), 0);
	assert_int_equal(model_pf_del(t->model, "pf1", NULL), 0);
	me_restart(t);
	assert_true(me_settings_of(t, "pf0", 1).trust);
	assert_int_equal(me_settings_of(t, "pf0", 1).mac[4], 7);
	assert_string_equal(fake_dp_fabric(&t->dp, "f0")->uplink_name, "eth1");
	assert_int_equal(t->dp.functions_n, 3);
}

/* The uplink cannot be put back after a failed save: as after a start without it, not silently otherwise. */
static void disk_full_and_uplink_gone(void **state)
{
	struct me_env *t = *state;
	struct fabric_settings f;
	int code;

	me_add_fabric(t, "f0", "eth0");
	me_add_pf(t, "pf0", "f0", 1, NULL);
	f = model_fabric_find(t->model, "f0")->s;
	strcpy(f.uplink_name, "eth1");
	strcpy(t->dp.no_such_netdev, "eth0");
	code = scratch_fill(&t->scratch);
	assert_error(model_fabric_set(t->model, &f, NULL, &err), code, "");
	scratch_empty(&t->scratch);
	assert_true(model_fabric_find(t->model, "f0")->uplink_absent);
	assert_string_equal(model_fabric_find(t->model, "f0")->s.uplink_name, "eth0");
	assert_int_equal(fake_dp_fabric(&t->dp, "f0")->uplink, UPLINK_NONE);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.link, LINK_DISABLE);
}

static void restart_without_uplink(struct me_env *t)
{
	me_stop(t);
	me_start(t);
	strcpy(t->dp.no_such_netdev, "eth0");
	me_load(t);
}

/* A netdev that is not there at the start. */
static void uplink_absent(void **state)
{
	struct me_env *t = *state;
	struct function_settings s;
	struct fabric_settings f;

	me_add_fabric(t, "f0", "eth0");
	me_add_pf(t, "pf0", "f0", 2, NULL);
	s = me_settings_of(t, "pf0", 2);
	s.link = LINK_ENABLE;
	assert_int_equal(model_function_set(t->model, "pf0", 2, &s, false, NULL, NULL), 0);

	restart_without_uplink(t);
	assert_true(model_fabric_find(t->model, "f0")->uplink_absent);
	assert_true(model_fabric_find(t->model, "f0")->uplink_error[0]);
	assert_int_equal(fake_dp_fabric(&t->dp, "f0")->uplink, UPLINK_NONE);
	/* No carrier for those that follow the uplink's; what is set stays set. */
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.link, LINK_DISABLE);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 2)->s.link, LINK_ENABLE);
	assert_int_equal(me_settings_of(t, "pf0", 1).link, LINK_AUTO);

	/* Everything else can be changed meanwhile. */
	f = model_fabric_find(t->model, "f0")->s;
	f.learning = true;
	assert_int_equal(model_fabric_set(t->model, &f, NULL, NULL), 0);
	assert_true(fake_dp_fabric(&t->dp, "f0")->learning);
	assert_true(model_fabric_find(t->model, "f0")->uplink_absent);
	s = me_settings_of(t, "pf0", 1);
	s.trust = true;
	assert_int_equal(model_function_set(t->model, "pf0", 1, &s, false, NULL, NULL), 0);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.link, LINK_DISABLE);

	/* It is tried until it is there. */
	for (int i = 0; i < 3; i++)
		assert_true(sd_event_run(t->event, UINT64_MAX) > 0);
	assert_true(model_fabric_find(t->model, "f0")->uplink_absent);
	t->dp.no_such_netdev[0] = '\0';
	assert_true(sd_event_run(t->event, UINT64_MAX) > 0);
	assert_false(model_fabric_find(t->model, "f0")->uplink_absent);
	assert_int_equal(fake_dp_fabric(&t->dp, "f0")->uplink, UPLINK_NETDEV);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.link, LINK_AUTO);
	assert_string_equal(me_last_event(t), "fabric uplink f0 -1");
}

static unsigned int troubles(const struct me_env *t)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < t->events_n; i++)
		n += !strncmp(t->events[i], "fabric trouble ", strlen("fabric trouble "));
	return n;
}

/* What follows from the uplink's return is refused for a while: it is said once, and tried until it is in force. */
static void uplink_back_and_refused(void **state)
{
	struct me_env *t = *state;
	unsigned int sets;

	me_add_fabric(t, "f0", "eth0");
	me_add_pf(t, "pf0", "f0", 2, NULL);
	restart_without_uplink(t);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.link, LINK_DISABLE);
	t->dp.no_such_netdev[0] = '\0';
	t->dp.fails[FAKE_FUNCTION_SET] = EIO;
	while (model_fabric_find(t->model, "f0")->uplink_absent)
		assert_true(sd_event_run(t->event, UINT64_MAX) > 0);
	assert_int_equal(troubles(t), 1);
	for (int i = 0; i < 5; i++)
		assert_true(sd_event_run(t->event, UINT64_MAX) > 0);
	assert_int_equal(troubles(t), 1);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.link, LINK_DISABLE);
	t->dp.fails[FAKE_FUNCTION_SET] = 0;
	while (fake_dp_function(&t->dp, "pf0", 2)->s.link != LINK_AUTO)
		assert_true(sd_event_run(t->event, UINT64_MAX) > 0);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.link, LINK_AUTO);
	/* And no more. */
	while (sd_event_run(t->event, 10000) > 0)
		;
	sets = t->dp.function_sets;
	assert_int_equal(sd_event_run(t->event, 10000), 0);
	assert_int_equal(t->dp.function_sets, sets);
}

/* Another uplink instead of the absent one ends the waiting. */
static void uplink_replaced(void **state)
{
	struct me_env *t = *state;
	struct fabric_settings f;

	me_add_fabric(t, "f0", "eth0");
	me_add_pf(t, "pf0", "f0", 1, NULL);
	restart_without_uplink(t);
	f = model_fabric_find(t->model, "f0")->s;
	f.uplink = UPLINK_NONE;
	memset(f.uplink_name, 0, sizeof(f.uplink_name));
	assert_int_equal(model_fabric_set(t->model, &f, NULL, NULL), 0);
	assert_false(model_fabric_find(t->model, "f0")->uplink_absent);
	assert_int_equal(fake_dp_function(&t->dp, "pf0", 1)->s.link, LINK_AUTO);
	me_restart(t);
	assert_int_equal(fake_dp_fabric(&t->dp, "f0")->uplink, UPLINK_NONE);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, me_setup, me_teardown)
	const struct CMUnitTest tests[] = {
		TEST(dataplane_refuses_pf),
		TEST(dataplane_refuses_fabric),
		TEST(disk_full),
		TEST(disk_full_and_uplink_gone),
		TEST(uplink_absent),
		TEST(uplink_back_and_refused),
		TEST(uplink_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
