/* SPDX-License-Identifier: Apache-2.0 */

/* A virtual PF that is plugged into a VM, and unplugged: in which order, what is left when a step fails, and a guest
 * that keeps it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "qemu_env.h"

static void test_attach_detach(void **state)
{
	struct qemu_env *x = *state;

	qemu_env_open_link(x, 0);
	RUN_UNTIL(x->event, x->ups);
	qemu_link_set_carrier(x->link, 1, false);
	fq_run_for(x->event, 20);
	assert_int_equal(x->present, 0);
	assert_int_equal(fq_count(x->fake, "set_link"), 0);
	for (unsigned int round = 1; round <= 2; round++) {
		qemu_link_set_mtu(x->link, 9000);
		qemu_env_attach(x, NULL);
		assert_int_equal(x->code, 0);
		assert_false(x->remark);
		assert_true(qemu_link_present(x->link)); /* from the moment that it is done */
		assert_int_equal(x->present, round);
		assert_string_equal(x->vm.bus, "hp0"); /* "cold" does not allow hot-plug */
		assert_int_equal(qemu_env_parts(x->vm.device), QEMU_ENV_FUNCTIONS);
		assert_string_equal(json_string_value(json_object_get(x->vm.last_device, "id")), "vpf-p-pf");
		assert_true(json_is_true(json_object_get(x->vm.last_device, "multifunction")));
		assert_int_equal(json_integer_value(json_object_get(x->vm.last_device, "host_mtu")), 9000);
		RUN_UNTIL(x->event, x->present == round && x->filter[3].known && x->vm.link[1] == 0);

		qemu_env_attach(x, NULL);
		assert_int_equal(x->code, -EEXIST);
		assert_int_equal(qemu_env_parts(x->vm.device), QEMU_ENV_FUNCTIONS);

		qemu_env_detach(x);
		assert_int_equal(x->code, 0);
		assert_false(x->remark);
		assert_int_equal(qemu_env_parts(x->vm.device) + qemu_env_parts(x->vm.netdev) +
					 qemu_env_parts(x->vm.chardev),
				 0);
		assert_false(qemu_link_present(x->link));
		assert_int_equal(x->absent, round);
		assert_false(x->filter[3].known);

		qemu_env_detach(x);
		assert_int_equal(x->code, -ENOENT);
	}
	x->vm.hp0_taken = true;
	qemu_env_attach(x, NULL);
	assert_int_equal(x->code, 0);
	assert_string_equal(x->vm.bus, "hp1");
}

static void test_attach_bus(void **state)
{
	struct qemu_env *x = *state;

	qemu_env_open_link(x, 0);
	RUN_UNTIL(x->event, x->ups);
	x->vm.hp0_taken = true;
	qemu_env_attach(x, "hp0");
	assert_int_equal(x->code, -EBUSY);
	assert_string_equal(x->err.field, "bus");
	qemu_env_attach(x, "nix");
	assert_int_equal(x->code, -ENODEV);
	qemu_env_attach(x, "cold");
	assert_int_equal(x->code, -ENODEV);
	x->vm.no_ports = true;
	qemu_env_attach(x, NULL);
	assert_int_equal(x->code, -ENODEV);
	assert_int_equal(fq_count(x->fake, "chardev-add"), 0); /* found out before anything was done */
	x->vm.no_ports = false;
	qemu_env_attach(x, "hp1");
	assert_int_equal(x->code, 0);
	assert_string_equal(x->vm.bus, "hp1");
}

/* Two PFs of one VM at the same time. */
static void test_attach_two(void **state)
{
	struct qemu_env *x = *state;
	struct pf_settings q = {.name = "q", .queue_pairs = 1, .mtu = 1500};
	const struct qemu_link_config config = {.pool = x->pool, .pf = &q, .ops = &qemu_env_ops, .ctx = x};
	const struct qemu_attach a = {.functions = x->function};
	struct qemu_link *other;

	strcpy(q.qmp, x->fake->path);
	qemu_env_open_link(x, 0);
	assert_int_equal(qemu_link_new(&config, &other, &x->err), 0);
	RUN_UNTIL(x->event, x->ups == 2);
	assert_int_equal(x->fake->accepted, 1);
	assert_int_equal(qemu_link_attach(x->link, &a, qemu_env_on_done, x, &x->err), 0);
	assert_int_equal(qemu_link_attach(other, &a, qemu_env_on_done, x, &x->err), 0);
	RUN_UNTIL(x->event, x->dones == 1);
	assert_int_equal(x->code, 0);
	RUN_UNTIL(x->event, x->dones == 2);
	assert_int_equal(x->code, 0);
	assert_string_not_equal(x->vm.bus, x->vm.q_bus);
	assert_true(x->vm.bus[0] && x->vm.q_bus[0]);
	qemu_link_free(other);
}

/* Each command may fail each time: nothing is left, the reason is QEMU's, and the next attach works. */
static void test_attach_fails(void **state)
{
	static const struct {
		const char *command;
		unsigned int times;
	} steps[] = {{"qom-list", 1},
		     {"query-chardev", 2},
		     {"query-pci", 1},
		     {"chardev-add", QEMU_ENV_FUNCTIONS},
		     {"netdev_add", QEMU_ENV_FUNCTIONS},
		     {"device_add", QEMU_ENV_FUNCTIONS}};
	struct qemu_env *x = *state;

	qemu_env_open_link(x, 0);
	RUN_UNTIL(x->event, x->ups);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		for (unsigned int n = 1; n <= steps[i].times; n++) {
			x->vm.fail = steps[i].command;
			x->vm.fail_at = n;
			qemu_env_attach(x, NULL);
			assert_int_equal(x->code, -EREMOTEIO);
			assert_non_null(strstr(x->err.text, "QEMU says: it was told to fail"));
			assert_int_equal(qemu_env_parts(x->vm.device) + qemu_env_parts(x->vm.netdev) +
						 qemu_env_parts(x->vm.chardev),
					 0);
		}
	}
	qemu_env_attach(x, NULL);
	assert_int_equal(x->code, 0);
	assert_int_equal(qemu_env_parts(x->vm.device), QEMU_ENV_FUNCTIONS);
}

static void test_attach_unconnected(void **state)
{
	struct qemu_env *x = *state;
	const struct qemu_attach a = {.functions = x->function};

	qemu_env_open_link(x, 0);
	RUN_UNTIL(x->event, x->ups);
	/* Some time, then it gets through. */
	x->vm.unconnected = true;
	assert_int_equal(qemu_link_attach(x->link, &a, qemu_env_on_done, x, &x->err), 0);
	assert_int_equal(qemu_link_attach(x->link, &a, qemu_env_on_done, x, &x->err), -EBUSY);
	assert_int_equal(qemu_link_detach(x->link, qemu_env_on_done, x, &x->err), -EBUSY);
	fq_run_for(x->event, 300);
	assert_int_equal(fq_count(x->fake, "netdev_add"), 0);
	x->vm.unconnected = false;
	RUN_UNTIL(x->event, x->dones == 1);
	assert_int_equal(x->code, 0);
	qemu_env_detach(x);
	/* Never. */
	x->vm.unconnected = true;
	qemu_env_attach(x, NULL);
	assert_int_equal(x->code, -ECONNREFUSED);
	assert_non_null(strstr(x->err.text, "/run/"));
	assert_int_equal(qemu_env_parts(x->vm.netdev) + qemu_env_parts(x->vm.chardev), 0);
}

/* What a vpfd that was killed during an attach has left is taken away first. */
static void test_attach_leftovers(void **state)
{
	struct qemu_env *x = *state;

	qemu_env_open_link(x, 0);
	RUN_UNTIL(x->event, x->ups);
	x->vm.chardev[0] = x->vm.chardev[1] = x->vm.netdev[1] = true;
	qemu_env_attach(x, NULL);
	assert_int_equal(x->code, 0);
	assert_int_equal(qemu_env_parts(x->vm.netdev), QEMU_ENV_FUNCTIONS);
}

static void test_attach_cut_short(void **state)
{
	struct qemu_env *x = *state;
	const struct qemu_attach a = {.functions = x->function};

	qemu_env_open_link(x, 0);
	assert_int_equal(qemu_link_attach(x->link, &a, qemu_env_on_done, x, &x->err), -ENOTCONN);
	assert_int_equal(qemu_link_detach(x->link, qemu_env_on_done, x, &x->err), -ENOTCONN);
	assert_int_equal(x->dones, 0);
	RUN_UNTIL(x->event, x->ups);
	/* QMP is lost on the way: while a command is due, and while waiting. */
	assert_int_equal(qemu_link_attach(x->link, &a, qemu_env_on_done, x, &x->err), 0);
	RUN_UNTIL(x->event, fq_count(x->fake, "netdev_add") == 2);
	fq_hang_up(x->fake);
	RUN_UNTIL(x->event, x->dones == 1 && x->ups == 2);
	assert_int_equal(x->code, -ENOTCONN);
	x->vm.unconnected = true;
	assert_int_equal(qemu_link_attach(x->link, &a, qemu_env_on_done, x, &x->err), 0);
	RUN_UNTIL(x->event, fq_count(x->fake, "chardev-add") == 2 * QEMU_ENV_FUNCTIONS);
	fq_run_for(x->event, 50);
	fq_hang_up(x->fake);
	RUN_UNTIL(x->event, x->dones == 2 && x->ups == 3);
	assert_int_equal(x->code, -ENOTCONN);
	/* The link is taken away. */
	assert_int_equal(qemu_link_attach(x->link, &a, qemu_env_on_done, x, &x->err), 0);
	fq_run_for(x->event, 50);
	qemu_link_free(x->link);
	x->link = NULL;
	assert_int_equal(x->dones, 3);
	assert_int_equal(x->code, -ECANCELED);
	/* … and with a command in flight. */
	x->fake->handle = fq_silent;
	qemu_env_open_link(x, 0);
	RUN_UNTIL(x->event, x->ups == 4);
	assert_int_equal(qemu_link_attach(x->link, &a, qemu_env_on_done, x, &x->err), 0);
	RUN_UNTIL(x->event, !strcmp(fq_logged(x->fake, json_array_size(x->fake->log) - 1), "qom-list"));
	qemu_link_free(x->link);
	x->link = NULL;
	assert_int_equal(x->dones, 4);
	fq_run_for(x->event, 50);
	assert_int_equal(x->dones, 4);
}

static void test_guest_keeps_it(void **state)
{
	struct qemu_env *x = *state;

	qemu_env_plugged_from_start(x);
	qemu_env_open_link(x, 400);
	RUN_UNTIL(x->event, x->present && x->filter[3].known);
	x->vm.guest_sleeps = true;
	qemu_env_detach(x);
	assert_int_equal(x->code, -ETIMEDOUT);
	assert_non_null(strstr(x->err.text, "did not release"));
	assert_int_equal(fq_count(x->fake, "device_del"),
			 2); /* a guest that was booting gets a second chance */
	assert_int_equal(qemu_env_parts(x->vm.device), QEMU_ENV_FUNCTIONS);
	assert_int_equal(qemu_env_parts(x->vm.netdev), QEMU_ENV_FUNCTIONS);
	fq_run_for(x->event, 50);
	assert_int_equal(x->absent, 0);

	/* Later it does: the rest goes too. */
	qemu_env_release(x);
	RUN_UNTIL(x->event,
		  x->absent == 1 && qemu_env_parts(x->vm.netdev) + qemu_env_parts(x->vm.chardev) == 0);
	assert_int_equal(x->dones, 1);
	fq_run_for(x->event, 20);
	x->vm.guest_sleeps = false;
	qemu_env_attach(x, NULL);
	assert_int_equal(x->code, 0);
}

static void test_guest_refuses(void **state)
{
	struct qemu_env *x = *state;

	qemu_env_plugged_from_start(x);
	qemu_env_open_link(x, 0);
	RUN_UNTIL(x->event, x->present);
	x->vm.guest_sleeps = true;
	assert_int_equal(qemu_link_detach(x->link, qemu_env_on_done, x, &x->err), 0);
	RUN_UNTIL(x->event, fq_count(x->fake, "device_del"));
	fq_run_for(x->event, 20);
	fq_event(x->fake, "DEVICE_UNPLUG_GUEST_ERROR",
		 json_pack("{s:s, s:s}", "device", "vpf-p-vf0", "path", "/x"));
	fq_run_for(x->event, 20);
	assert_int_equal(x->dones, 0);
	fq_event(x->fake, "DEVICE_UNPLUG_GUEST_ERROR",
		 json_pack("{s:s, s:s}", "device", "vpf-p-pf", "path", "/x"));
	RUN_UNTIL(x->event, x->dones);
	assert_int_equal(x->code, -EREMOTEIO);
	assert_int_equal(qemu_env_parts(x->vm.device), QEMU_ENV_FUNCTIONS);
}

/* Somebody else unplugs it: what is not ours to clean up stays. */
static void test_foreign_unplug(void **state)
{
	struct qemu_env *x = *state;

	qemu_env_plugged_from_start(x);
	qemu_env_open_link(x, 0);
	RUN_UNTIL(x->event, x->filter[3].known);
	qemu_env_release(x);
	RUN_UNTIL(x->event, x->absent == 1);
	fq_run_for(x->event, 20);
	assert_int_equal(qemu_env_parts(x->vm.netdev), QEMU_ENV_FUNCTIONS);
	/* … and plugs it in again: QEMU has no event for that, but the NIC's first one tells. */
	qemu_env_plugged_from_start(x);
	fq_event(x->fake, "NIC_RX_FILTER_CHANGED", json_pack("{s:s}", "name", "vpf-p-vf0"));
	RUN_UNTIL(x->event, x->present == 2 && x->filter[3].known);
}

static void test_acpi(void **state)
{
	struct qemu_env *x = *state;

	x->vm.acpi = true;
	qemu_env_open_link(x, 0);
	RUN_UNTIL(x->event, x->ups);
	qemu_env_attach(x, "hp1");
	assert_int_equal(x->code, 0);
	qemu_env_detach(x);
	assert_int_equal(x->code, 0);
	assert_true(x->remark);
	assert_non_null(strstr(x->err.text, "ACPI"));
	assert_int_equal(qemu_env_parts(x->vm.device), QEMU_ENV_VFS);
	assert_int_equal(qemu_env_parts(x->vm.netdev), QEMU_ENV_VFS); /* the VFs' stay, the PF's goes */
	assert_false(x->vm.netdev[VPF_FUNCTION_PF]);

	qemu_env_attach(x, "hp0");
	assert_int_equal(x->code, -EBUSY);
	qemu_env_attach(x, NULL);
	assert_int_equal(x->code, 0);
	assert_string_equal(x->vm.bus, "hp1");
	assert_int_equal(qemu_env_parts(x->vm.device), QEMU_ENV_FUNCTIONS);
	qemu_env_detach(x);

	/* A failing attach leaves VFs that cannot be removed; their netdevs stay with them, and the next one
	 * goes on. */
	x->vm.device[1] = x->vm.device[2] = x->vm.device[3] = false;
	x->vm.netdev[1] = x->vm.netdev[2] = x->vm.netdev[3] = false;
	x->vm.chardev[1] = x->vm.chardev[2] = x->vm.chardev[3] = false;
	x->vm.fail = "device_add";
	x->vm.fail_at = 3;
	qemu_env_attach(x, NULL);
	assert_int_equal(x->code, -EREMOTEIO);
	assert_int_equal(qemu_env_parts(x->vm.device), 2);
	assert_int_equal(qemu_env_parts(x->vm.netdev), 2);
	qemu_env_attach(x, NULL);
	assert_int_equal(x->code, 0);
	assert_int_equal(qemu_env_parts(x->vm.device), QEMU_ENV_FUNCTIONS);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, qemu_env_setup, qemu_env_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_attach_detach),
		TEST(test_attach_bus),
		TEST(test_attach_two),
		TEST(test_attach_fails),
		TEST(test_attach_unconnected),
		TEST(test_attach_leftovers),
		TEST(test_attach_cut_short),
		TEST(test_guest_keeps_it),
		TEST(test_guest_refuses),
		TEST(test_foreign_unplug),
		TEST(test_acpi),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
