/* SPDX-License-Identifier: Apache-2.0 */

/* A virtual PF's link to QEMU: rx-filter, carrier, announcements. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "qemu_env.h"

static void test_connect(void **state)
{
	struct qemu_env *x = *state;

	qemu_env_plugged_from_start(x);
	x->vm.promiscuous[2] = 1;
	qemu_env_open_link(x, 0);
	qemu_link_set_carrier(x->link, 0, true);
	qemu_link_set_carrier(x->link, 1, false);
	qemu_link_set_carrier(x->link, 3, true);
	RUN_UNTIL(x->event, x->filters[0] && x->filters[1] && x->filters[2] && x->filters[3]);
	RUN_UNTIL(x->event, x->vm.link[0] >= 0 && x->vm.link[1] >= 0 && x->vm.link[3] >= 0);
	assert_true(qemu_link_connected(x->link) && qemu_link_present(x->link));
	assert_int_equal(x->ups, 1);
	assert_int_equal(x->present, 1);
	assert_true(x->filter[2].known && x->filter[2].promiscuous && !x->filter[1].promiscuous);
	assert_int_equal(x->filter[3].main_mac[5], 3);
	assert_int_equal(x->vm.link[0], 1);
	assert_int_equal(x->vm.link[1], 0);
	assert_int_equal(x->vm.link[2], -1); /* never set: left alone */
	assert_int_equal(x->vm.link[3], 1);
	assert_int_equal(fq_run_for(x->event, 100), 0);
}

static void test_filter_event(void **state)
{
	struct qemu_env *x = *state;
	unsigned int queries;

	qemu_env_plugged_from_start(x);
	qemu_env_open_link(x, 0);
	RUN_UNTIL(x->event, x->filters[3]);
	fq_run_for(x->event, 20);
	queries = fq_count(x->fake, "query-rx-filter");
	assert_int_equal(queries, QEMU_ENV_FUNCTIONS);

	/* An event leads to one query; what has not changed is not told. */
	fq_event(x->fake, "NIC_RX_FILTER_CHANGED",
		 json_pack("{s:s, s:s}", "name", "vpf-p-vf1", "path", "/x"));
	RUN_UNTIL(x->event, fq_count(x->fake, "query-rx-filter") == queries + 1);
	fq_run_for(x->event, 20);
	assert_int_equal(x->filters[2], 1);
	x->vm.promiscuous[2] = 1;
	fq_event(x->fake, "NIC_RX_FILTER_CHANGED",
		 json_pack("{s:s, s:s}", "name", "vpf-p-vf1", "path", "/x"));
	RUN_UNTIL(x->event, x->filters[2] == 2);
	assert_true(x->filter[2].promiscuous);
	assert_int_equal(fq_count(x->fake, "query-rx-filter"), queries + 2);

	/* Other NICs are not ours. */
	fq_event(x->fake, "NIC_RX_FILTER_CHANGED",
		 json_pack("{s:s, s:s}", "name", "vpf-other-vf1", "path", "/x"));
	fq_event(x->fake, "NIC_RX_FILTER_CHANGED",
		 json_pack("{s:s, s:s}", "name", "vpf-p-vf3", "path", "/x"));
	fq_event(x->fake, "NIC_RX_FILTER_CHANGED", json_pack("{s:s}", "path", "/x"));
	fq_event(x->fake, "NIC_RX_FILTER_CHANGED", json_pack("{s:i}", "name", 7));
	fq_event(x->fake, "NIC_RX_FILTER_CHANGED", NULL);
	fq_run_for(x->event, 50);
	assert_int_equal(fq_count(x->fake, "query-rx-filter"), queries + 2);

	/* A driver that starts again: no event, but the owner knows. */
	x->vm.promiscuous[2] = 0;
	qemu_link_refresh(x->link, 2);
	RUN_UNTIL(x->event, x->filters[2] == 3);
	assert_false(x->filter[2].promiscuous);
	assert_int_equal(x->downs, 0);
}

/* A guest that changes its filter for ever: bounded, and the last state still arrives. */
static void test_filter_flood(void **state)
{
	struct qemu_env *x = *state;
	unsigned int most;
	uint64_t start;

	qemu_env_plugged_from_start(x);
	qemu_env_open_link(x, 0);
	RUN_UNTIL(x->event, x->filters[3]);
	start = fq_now_ms();
	while (fq_now_ms() - start < 1500) {
		x->vm.promiscuous[1] ^= 1;
		fq_event(x->fake, "NIC_RX_FILTER_CHANGED", json_pack("{s:s}", "name", "vpf-p-vf0"));
		sd_event_run(x->event, 0);
	}
	x->vm.promiscuous[1] = 1;
	fq_event(x->fake, "NIC_RX_FILTER_CHANGED", json_pack("{s:s}", "name", "vpf-p-vf0"));
	fq_run_for(x->event, 300);
	most = QEMU_LINK_QUERIES_BURST +
	       (unsigned int)((fq_now_ms() - start) * QEMU_LINK_QUERIES_PER_S / 1000) + 2;
	assert_true(fq_count(x->fake, "query-rx-filter") > QEMU_LINK_QUERIES_BURST); /* it was a flood */
	assert_true(fq_count(x->fake, "query-rx-filter") <= most);
	assert_true(x->filter[1].promiscuous);
	assert_int_equal(x->downs, 0);
}

static json_t *nonsense(struct fake_qmp *f, const char *command, const json_t *args)
{
	if (!strcmp(command, "query-rx-filter"))
		return json_pack("{s:[{s:i}]}", "return", "promiscuous", 7);
	return qemu_env_handle(f, command, args);
}

static void test_filter_nonsense(void **state)
{
	struct qemu_env *x = *state;

	qemu_env_plugged_from_start(x);
	qemu_env_open_link(x, 0);
	RUN_UNTIL(x->event, x->filters[3]);
	x->fake->handle = nonsense;
	fq_event(x->fake, "NIC_RX_FILTER_CHANGED", json_pack("{s:s}", "name", "vpf-p-vf0"));
	RUN_UNTIL(x->event, x->filters[1] == 2);
	assert_false(x->filter[1].known);
	assert_int_equal(x->downs, 0);
}

static void test_carrier(void **state)
{
	struct qemu_env *x = *state;

	qemu_env_plugged_from_start(x);
	qemu_env_open_link(x, 0);
	RUN_UNTIL(x->event, x->present);
	qemu_link_set_carrier(x->link, 2, false);
	RUN_UNTIL(x->event, x->vm.link[2] == 0);
	qemu_link_set_carrier(x->link, 2, false); /* no change, no command */
	fq_run_for(x->event, 20);
	assert_int_equal(fq_count(x->fake, "set_link"), 1);
	qemu_link_set_carrier(x->link, 2, true);
	qemu_link_set_carrier(x->link, 2, false);
	fq_run_for(x->event, 50);
	assert_int_equal(x->vm.link[2], 0);

	/* QEMU brings the link up when its vhost-user socket is connected again. */
	x->vm.link[2] = 1;
	fq_event(x->fake, "NETDEV_VHOST_USER_CONNECTED",
		 json_pack("{s:s, s:s}", "netdev-id", "vpf-p-vf1-net", "chardev-id", "vpf-p-vf1-chr"));
	RUN_UNTIL(x->event, x->vm.link[2] == 0);
	fq_event(x->fake, "NETDEV_VHOST_USER_CONNECTED", json_pack("{s:s}", "netdev-id", "vpf-p-vf9-net"));
	fq_event(x->fake, "NETDEV_VHOST_USER_CONNECTED", NULL);
	fq_run_for(x->event, 20);

	/* Another VM on the same socket: all is set again. */
	fq_stop(x->fake);
	RUN_UNTIL(x->event, x->absent == 1);
	assert_false(x->filter[1].known);
	assert_false(qemu_link_present(x->link));
	qemu_link_set_carrier(x->link, 3, true);
	x->vm.link[2] = 1;
	fq_listen(x->fake);
	RUN_UNTIL(x->event, x->vm.link[2] == 0 && x->vm.link[3] == 1 && x->filter[1].known);
	assert_int_equal(x->present, 2);
}

static const char *announced(const struct qemu_env *x)
{
	const json_t *names = json_object_get(x->vm.last_announce, "interfaces");

	assert_int_equal(json_array_size(names), 1);
	return json_string_value(json_array_get(names, 0));
}

static void test_announce(void **state)
{
	struct qemu_env *x = *state;

	qemu_env_open_link(x, 0);
	RUN_UNTIL(x->event, x->ups);
	qemu_link_announce(x->link, 1); /* it is not there */
	fq_run_for(x->event, 20);
	qemu_env_plugged_from_start(x);
	qemu_link_refresh(x->link, 0);
	RUN_UNTIL(x->event, x->present && x->filters[3]);
	assert_int_equal(fq_count(x->fake, "query-status"), 0);

	/* One NIC, in rounds of its own. */
	qemu_link_announce(x->link, 2);
	RUN_UNTIL(x->event, x->vm.last_announce);
	assert_string_equal(announced(x), "vpf-p-vf1");
	assert_string_equal(json_string_value(json_object_get(x->vm.last_announce, "id")), "vpf-p-vf1");
	fq_run_for(x->event, 20);
	assert_int_equal(fq_count(x->fake, "announce-self"), 1);

	/* Not while the guest does not run; then all that were to. */
	x->vm.paused = true;
	qemu_link_announce(x->link, 1);
	qemu_link_announce(x->link, 1);
	RUN_UNTIL(x->event, fq_count(x->fake, "query-status") >= 2);
	fq_run_for(x->event, 20);
	qemu_link_announce(x->link, 3);
	fq_run_for(x->event, 20);
	assert_int_equal(fq_count(x->fake, "announce-self"), 1);
	assert_int_equal(fq_count(x->fake, "query-status"), 2);
	x->vm.paused = false;
	fq_event(x->fake, "RESUME", NULL);
	RUN_UNTIL(x->event, fq_count(x->fake, "announce-self") == 3);
	fq_run_for(x->event, 20);
	assert_int_equal(fq_count(x->fake, "announce-self"), 3);

	/* In vain: that is said, and nothing else happens. */
	assert_int_equal(x->unannounced, 0);
	x->vm.fail = "announce-self";
	x->vm.fail_at = 1;
	qemu_link_announce(x->link, 2);
	RUN_UNTIL(x->event, x->unannounced);
	x->vm.fail = "query-status";
	x->vm.fail_at = 1;
	qemu_link_announce(x->link, 3);
	RUN_UNTIL(x->event, x->unannounced == (1u << 2 | 1u << 3));
	fq_run_for(x->event, 20);
	assert_int_equal(fq_count(x->fake, "announce-self"), 4);
	assert_int_equal(x->downs, 0);
}

static void test_bad_path(void **state)
{
	struct qemu_env *x = *state;
	const struct qemu_link_config config = {
		.pool = x->pool, .pf = &x->pf, .ops = &qemu_env_ops, .ctx = x};
	struct qemu_link *link = (struct qemu_link *)x;

	strcpy(x->pf.qmp, "relative");
	assert_int_equal(qemu_link_new(&config, &link, &x->err), -EINVAL);
	assert_string_equal(x->err.field, "qmp");
	assert_ptr_equal(link, x);
	qemu_link_free(NULL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, qemu_env_setup, qemu_env_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_connect),         TEST(test_filter_event), TEST(test_filter_flood),
		TEST(test_filter_nonsense), TEST(test_carrier),      TEST(test_announce),
		TEST(test_bad_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
