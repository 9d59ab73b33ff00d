/* SPDX-License-Identifier: Apache-2.0 */

/* The QMP client and monitors that are away, hang, or lie. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qmp_env.h"

static void test_socket_appears(void **state)
{
	struct qmp_env *x = *state;
	struct qmp_user u;

	qmp_user_open(x, &u);
	RUN_UNTIL(x->event, u.downs == 1);
	assert_true(u.gone);
	assert_non_null(strstr(u.why, "does not exist"));
	/* Absent costs nothing: not one wake-up. */
	assert_int_equal(fq_run_for(x->event, 2500), 0);
	fq_listen(x->fake);
	RUN_UNTIL_MS(x->event, u.ups == 1, 1000);
	assert_int_equal(u.downs, 1);

	/* The VM ends and starts again. */
	fq_stop(x->fake);
	RUN_UNTIL(x->event, u.downs == 2);
	assert_true(u.gone);
	assert_non_null(strstr(u.why, "closed"));
	RUN_UNTIL(x->event, u.downs == 3);
	assert_int_equal(fq_run_for(x->event, 300), 0);
	fq_listen(x->fake);
	RUN_UNTIL_MS(x->event, u.ups == 2, 1000);
	qmp_user_close(&u);
}

static void test_directory_appears(void **state)
{
	struct qmp_env *x = *state;
	struct qmp_user u;

	assert_return_code(rmdir(x->fake->dir), errno);
	qmp_user_open(x, &u);
	RUN_UNTIL(x->event, u.downs == 1);
	assert_true(fq_run_for(x->event, 1000) < 10);
	assert_return_code(mkdir(x->fake->dir, 0700), errno);
	fq_listen(x->fake);
	RUN_UNTIL_MS(x->event, u.ups == 1, 3000);
	/* … and goes away under the watch, and comes again. */
	fq_stop(x->fake);
	RUN_UNTIL(x->event, u.downs >= 3);
	assert_return_code(rmdir(x->fake->dir), errno);
	fq_run_for(x->event, 200);
	assert_return_code(mkdir(x->fake->dir, 0700), errno);
	fq_listen(x->fake);
	RUN_UNTIL_MS(x->event, u.ups == 2, 3000);
	qmp_user_close(&u);
}

static void test_stale_socket(void **state)
{
	struct qmp_env *x = *state;
	struct qmp_user u;

	fq_bind(x->fake); /* as a killed QEMU leaves it, or one that has not come to listen() yet */
	qmp_user_open(x, &u);
	RUN_UNTIL(x->event, u.downs == 1);
	assert_true(u.gone);
	assert_non_null(strstr(u.why, "no process listens"));
	fq_run_for(x->event, 300);
	assert_int_equal(u.downs, 1); /* said once */
	fq_listen(x->fake);
	RUN_UNTIL_MS(x->event, u.ups == 1, 3000);
	qmp_user_close(&u);
}

static void test_bad_paths(void **state)
{
	struct qmp_env *x = *state;
	struct err err = {};
	struct qmp *q = (struct qmp *)x;
	char path[200];

	assert_int_equal(qmp_open(x->pool, "relative", &qmp_env_ops, NULL, &q, &err), -EINVAL);
	assert_string_equal(err.field, "qmp");
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[108] = '\0';
	assert_int_equal(qmp_open(x->pool, path, &qmp_env_ops, NULL, &q, &err), -EINVAL);
	assert_ptr_equal(q, x);
	qmp_close(NULL);
}

/* Each gets one reason, and is usable again as soon as it behaves. */
static void expect_down(struct qmp_env *x, struct qmp_user *u, const char *why)
{
	unsigned int downs = u->downs;

	RUN_UNTIL_MS(x->event, u->downs > downs, 3000);
	if (!strstr(u->why, why))
		fail_msg("\"%s\" does not say \"%s\"", u->why, why);
	assert_int_equal(u->downs, downs + 1);
	RUN_UNTIL(x->event, x->fake->fd < 0);
}

static void test_no_greeting(void **state)
{
	struct qmp_env *x = *state;
	struct qmp_user u;

	qmp_pool_set_limits(x->pool, 100, 100);
	x->fake->mute = true;
	qmp_user_open(x, &u);
	expect_down(x, &u, "sent no greeting");
	assert_false(u.gone);
	/* The same reason is not reported again and again. */
	RUN_UNTIL(x->event, x->fake->accepted >= 2);
	fq_run_for(x->event, 150);
	assert_int_equal(u.downs, 1);
	x->fake->mute = false;
	fq_hang_up(x->fake);
	RUN_UNTIL(x->event, u.ups == 1);
	qmp_user_close(&u);
}

static void test_no_capabilities(void **state)
{
	struct qmp_env *x = *state;
	struct qmp_user u;

	qmp_pool_set_limits(x->pool, 100, 100);
	x->fake->mute = true;
	qmp_user_open(x, &u);
	RUN_UNTIL(x->event, x->fake->fd >= 0);
	fq_say(x->fake, FQ_GREETING);
	expect_down(x, &u, "did not answer qmp_capabilities");
	qmp_user_close(&u);
}

static void test_capabilities_refused(void **state)
{
	struct qmp_env *x = *state;
	struct qmp_user u;

	x->fake->mute = true;
	qmp_user_open(x, &u);
	RUN_UNTIL(x->event, x->fake->fd >= 0);
	fq_say(x->fake, FQ_GREETING);
	RUN_UNTIL(x->event, json_array_size(x->fake->log) == 1);
	fq_answer(x->fake, json_array_get(x->fake->log, 0), fq_error("GenericError", "No."));
	expect_down(x, &u, "refuses qmp_capabilities: QEMU says: No");
	qmp_user_close(&u);
}

static void test_no_answer(void **state)
{
	struct qmp_env *x = *state;
	struct qmp_env_reply r = {}, r2 = {};
	struct qmp_user u;

	qmp_pool_set_limits(x->pool, 1000, 100);
	x->fake->handle = fq_silent;
	qmp_user_open(x, &u);
	RUN_UNTIL(x->event, u.ups == 1);
	fq_run_for(x->event, 200);
	assert_int_equal(u.downs, 0); /* nothing is due */
	assert_int_equal(qmp_command(u.q, "x", NULL, qmp_env_on_reply, &r), 0);
	assert_int_equal(qmp_command(u.q, "y", NULL, qmp_env_on_reply, &r2), 0);
	/* Events are no answer. */
	for (int i = 0; i < 50 && u.downs == 0; i++) {
		fq_event(x->fake, "STOP", NULL);
		fq_run_for(x->event, 20);
	}
	assert_int_equal(u.downs, 1);
	assert_non_null(strstr(u.why, "did not answer within 100 ms"));
	assert_int_equal(r.code, -ENOTCONN);
	assert_int_equal(r2.code, -ENOTCONN);
	assert_non_null(strstr(r.err.text, "did not answer"));
	x->fake->handle = NULL;
	RUN_UNTIL(x->event, u.ups == 2);
	assert_int_equal(r.n + r2.n, 2);
	qmp_user_close(&u);
}

/* A peer that takes commands but does not read them. */
static void test_never_reads(void **state)
{
	struct qmp_env *x = *state;
	struct qmp_env_reply r = {};
	struct qmp_user u;
	char *text = calloc(1, 4 << 20);

	qmp_pool_set_limits(x->pool, 1000, 200);
	qmp_user_open(x, &u);
	RUN_UNTIL(x->event, u.ups == 1);
	memset(text, 'x', (4 << 20) - 1);
	x->fake->io = sd_event_source_disable_unref(x->fake->io);
	assert_int_equal(qmp_command(u.q, "x", json_pack("{s:s}", "x", text), qmp_env_on_reply, &r), 0);
	free(text);
	RUN_UNTIL_MS(x->event, u.downs, 3000);
	assert_int_equal(r.code, -ENOTCONN);
	fq_hang_up(x->fake);
	RUN_UNTIL(x->event, u.ups == 2);
	qmp_user_close(&u);
}

static void test_lies(void **state)
{
	static const struct {
		const char *say, *why;
	} lies[] = {
		{"garbage\r\n", "not a JSON object"},
		{"[]\r\n", "not a JSON object"},
		{"{\r\n", "pretty=on"},
		{"{\"a\": \"\xff\"}\r\n", "not a JSON object"},
		{"{}\r\n", "neither an event nor a reply"},
		{"{\"event\": 7}\r\n", "neither an event nor a reply"},
		{"{\"return\": {}, \"id\": \"2\"}\r\n", "without a command"},
		{"{\"return\": {}}\r\n", "without a command"},
		{"{\"error\": {\"class\": \"GenericError\", \"desc\": \"x\"}}\r\n", "without a command"},
	};
	struct qmp_env *x = *state;
	struct qmp_user u;
	char *deep = malloc(200001);

	qmp_user_open(x, &u);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		RUN_UNTIL(x->event, u.ups == i + 1);
		fq_say(x->fake, lies[i].say);
		expect_down(x, &u, lies[i].why);
		assert_false(u.gone);
		fq_stop(x->fake); /* a new VM is not made to wait for the sins of the old one */
		fq_listen(x->fake);
	}
	RUN_UNTIL(x->event, u.ups == ARRAY_SIZE(lies) + 1);
	memset(deep, '[', 200000);
	deep[200000] = '\n';
	fq_raw(x->fake, deep, 200001);
	expect_down(x, &u, "not a JSON object");
	free(deep);
	RUN_UNTIL(x->event, u.ups == ARRAY_SIZE(lies) + 2);
	fq_raw(x->fake, "{\"event\": \"A\"}\0\r\n", 17);
	expect_down(x, &u, "not a JSON object");
	qmp_user_close(&u);
}

/* A reply to the second of two commands first, and one twice. */
static void test_wrong_order(void **state)
{
	struct qmp_env *x = *state;
	struct qmp_env_reply r = {}, r2 = {};
	struct qmp_user u;

	x->fake->handle = fq_silent;
	qmp_user_open(x, &u);
	RUN_UNTIL(x->event, u.ups == 1);
	assert_int_equal(qmp_command(u.q, "x", NULL, qmp_env_on_reply, &r), 0);
	assert_int_equal(qmp_command(u.q, "y", NULL, qmp_env_on_reply, &r2), 0);
	RUN_UNTIL(x->event, json_array_size(x->fake->log) == 3);
	fq_answer(x->fake, json_array_get(x->fake->log, 2), fq_ok());
	expect_down(x, &u, "without a command");
	assert_int_equal(r.code, -ENOTCONN);
	assert_int_equal(r2.code, -ENOTCONN);
	qmp_user_close(&u);
}

static void test_no_monitor_at_all(void **state)
{
	struct qmp_env *x = *state;
	struct qmp_user u;

	x->fake->mute = true;
	qmp_user_open(x, &u);
	RUN_UNTIL(x->event, x->fake->fd >= 0);
	fq_say(x->fake, "{\"jsonrpc\": \"2.0\"}\r\n");
	expect_down(x, &u, "is not a QMP monitor");
	qmp_user_close(&u);
}

static void test_endless_line(void **state)
{
	struct qmp_env *x = *state;
	static char chunk[65536];
	struct qmp_user u;

	qmp_user_open(x, &u);
	RUN_UNTIL(x->event, u.ups == 1);
	memset(chunk, ' ', sizeof(chunk));
	for (unsigned int sent = 0; u.downs == 0; sent += sizeof(chunk)) {
		assert_true(sent < 2 * QMP_LINE_MAX + (1U << 20));
		fq_raw(x->fake, chunk, sizeof(chunk));
		fq_run_for(x->event, 1);
	}
	assert_non_null(strstr(u.why, "longer than"));
	RUN_UNTIL(x->event, u.ups == 2);
	qmp_user_close(&u);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, qmp_env_setup, qmp_env_teardown)
#define AWAY(name) cmocka_unit_test_setup_teardown(name, qmp_env_setup_away, qmp_env_teardown)
	const struct CMUnitTest tests[] = {
		AWAY(test_socket_appears),       AWAY(test_directory_appears),
		AWAY(test_stale_socket),         TEST(test_bad_paths),
		TEST(test_no_greeting),          TEST(test_no_capabilities),
		TEST(test_capabilities_refused), TEST(test_no_answer),
		TEST(test_never_reads),          TEST(test_lies),
		TEST(test_wrong_order),          TEST(test_no_monitor_at_all),
		TEST(test_endless_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
