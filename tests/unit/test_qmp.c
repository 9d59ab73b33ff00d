/* SPDX-License-Identifier: Apache-2.0 */

/* The QMP client and a monitor that behaves. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "qmp_env.h"

static json_t *refuse(struct fake_qmp *f, const char *command, const json_t *args)
{
	(void)f;
	(void)args;
	if (!strcmp(command, "a"))
		return fq_error("DeviceNotFound", "Device 'x' not found");
	if (!strcmp(command, "b"))
		return fq_error("CommandNotFound", "The command b has not been found");
	if (!strcmp(command, "c"))
		return fq_error("GenericError", "line\none \x01 \xc3\xa9.");
	return json_pack("{s:{s:i}}", "return", "n", 7);
}

static void test_commands(void **state)
{
	struct qmp_env *x = *state;
	struct qmp_env_reply a = {}, b = {}, c = {}, d = {};
	struct qmp_user u;
	const json_t *request;

	x->fake->handle = refuse;
	qmp_user_open(x, &u);
	assert_false(qmp_ready(u.q));
	assert_int_equal(qmp_command(u.q, "early", NULL, NULL, NULL), -ENOTCONN);
	RUN_UNTIL(x->event, u.ups == 1);
	assert_true(qmp_ready(u.q));
	assert_string_equal(fq_logged(x->fake, 0), "qmp_capabilities");

	assert_int_equal(qmp_command(u.q, "a", NULL, qmp_env_on_reply, &a), 0);
	assert_int_equal(qmp_command(u.q, "b", NULL, qmp_env_on_reply, &b), 0);
	assert_int_equal(qmp_command(u.q, "c", NULL, qmp_env_on_reply, &c), 0);
	assert_int_equal(qmp_command(u.q, "d", json_pack("{s:s}", "k", "v\n"), qmp_env_on_reply, &d), 0);
	RUN_UNTIL(x->event, d.n);
	assert_int_equal(a.code, -ENODEV);
	assert_string_equal(a.err.text, "QEMU says: Device 'x' not found");
	assert_int_equal(a.err.code, ENODEV);
	assert_int_equal(b.code, -ENOSYS);
	assert_int_equal(c.code, -EREMOTEIO);
	assert_string_equal(c.err.text, "QEMU says: line one   ??");
	assert_int_equal(d.code, 0);
	assert_int_equal(json_integer_value(json_object_get(d.ret, "n")), 7);
	request = json_array_get(x->fake->log, 4);
	assert_string_equal(json_string_value(json_object_get(json_object_get(request, "arguments"), "k")),
			    "v\n");
	assert_null(json_object_get(json_array_get(x->fake->log, 1), "arguments"));
	assert_int_equal(u.downs, 0);
	json_decref(d.ret);
	qmp_user_close(&u);
}

static void test_events(void **state)
{
	struct qmp_env *x = *state;
	struct qmp_user u;

	qmp_user_open(x, &u);
	RUN_UNTIL(x->event, u.ups == 1);
	fq_event(x->fake, "STOP", NULL);
	RUN_UNTIL(x->event, u.events == 1);
	assert_string_equal(u.last_event, "STOP");
	assert_null(u.last_data);
	/* An unsigned 64-bit number, several messages in one piece, empty lines. */
	fq_say(x->fake, "\r\n{\"event\": \"BIG\", \"data\": {\"n\": 18446744073709551615}}\r\n\r\n"
			"{\"event\": \"LAST\", \"data\": {\"name\": \"x\"}}\n");
	RUN_UNTIL(x->event, u.events == 3);
	assert_string_equal(u.last_event, "LAST");
	assert_string_equal(json_string_value(json_object_get(u.last_data, "name")), "x");
	/* One message in many pieces. */
	for (const char *p = "{\"event\": \"PIECES\"}\r\n"; *p; p++) {
		fq_raw(x->fake, p, 1);
		fq_run_for(x->event, 1);
	}
	RUN_UNTIL(x->event, u.events == 4);
	assert_string_equal(u.last_event, "PIECES");
	assert_int_equal(u.downs, 0);
	qmp_user_close(&u);
}

static void test_long_answer(void **state)
{
	struct qmp_env *x = *state;
	size_t size = QMP_LINE_MAX - 4096;
	char *text = malloc(size + 64);
	struct qmp_user u;

	qmp_user_open(x, &u);
	RUN_UNTIL(x->event, u.ups == 1);
	strcpy(text, "{\"event\": \"LONG\", \"data\": {\"x\": \"");
	memset(text + strlen(text), 'x', size - strlen(text));
	strcpy(text + size, "\"}}\r\n");
	fq_say(x->fake, text);
	free(text);
	RUN_UNTIL(x->event, u.events == 1 || u.downs);
	assert_int_equal(u.downs, 0);
	assert_true(json_string_length(json_object_get(u.last_data, "x")) > size / 2);
	qmp_user_close(&u);
}

static void test_window(void **state)
{
	struct qmp_env *x = *state;
	struct qmp_env_reply r = {};
	struct qmp_user u;

	x->fake->handle = fq_silent;
	qmp_user_open(x, &u);
	RUN_UNTIL(x->event, u.ups == 1);
	for (unsigned int i = 0; i < QMP_COMMANDS_MAX; i++)
		assert_int_equal(qmp_command(u.q, "c", NULL, qmp_env_on_reply, &r), 0);
	assert_int_equal(qmp_command(u.q, "c", json_object(), qmp_env_on_reply, &r), -EBUSY);
	RUN_UNTIL(x->event, json_array_size(x->fake->log) == 1 + QMP_IN_FLIGHT);
	fq_run_for(x->event, 20);
	assert_int_equal(json_array_size(x->fake->log), 1 + QMP_IN_FLIGHT);
	/* One answer lets one command through. */
	fq_answer(x->fake, json_array_get(x->fake->log, 1), fq_ok());
	RUN_UNTIL(x->event, json_array_size(x->fake->log) == 2 + QMP_IN_FLIGHT);
	assert_int_equal(r.n, 1);
	x->fake->handle = NULL;
	for (unsigned int i = 2; i < 2 + QMP_IN_FLIGHT; i++)
		fq_answer(x->fake, json_array_get(x->fake->log, i), fq_ok());
	RUN_UNTIL(x->event, r.n == QMP_COMMANDS_MAX);
	assert_int_equal(r.code, 0);
	json_decref(r.ret);
	qmp_user_close(&u);
}

static void test_shared(void **state)
{
	struct qmp_env *x = *state;
	struct qmp_env_reply ra = {}, rb = {};
	struct qmp_user a, b, c;

	x->fake->handle = fq_silent;
	qmp_user_open(x, &a);
	qmp_user_open(x, &b);
	RUN_UNTIL(x->event, a.ups && b.ups);
	assert_int_equal(x->fake->accepted, 1);
	/* A late user learns that it is ready, and not from within qmp_open(). */
	qmp_user_open(x, &c);
	assert_int_equal(c.ups, 0);
	assert_false(qmp_ready(c.q));
	RUN_UNTIL(x->event, c.ups);
	fq_event(x->fake, "STOP", NULL);
	RUN_UNTIL(x->event, a.events && b.events && c.events);

	/* One leaves: its commands are cancelled, what was not sent is never sent, the others notice nothing. */
	for (int i = 0; i < QMP_IN_FLIGHT; i++)
		assert_int_equal(
			qmp_command(i & 1 ? b.q : a.q, "sent", NULL, qmp_env_on_reply, i & 1 ? &rb : &ra), 0);
	assert_int_equal(qmp_command(a.q, "unsent", NULL, qmp_env_on_reply, &ra), 0);
	assert_int_equal(qmp_command(b.q, "last", NULL, qmp_env_on_reply, &rb), 0);
	RUN_UNTIL(x->event, json_array_size(x->fake->log) == 1 + QMP_IN_FLIGHT);
	qmp_user_close(&a);
	assert_int_equal(ra.n, QMP_IN_FLIGHT / 2 + 1);
	assert_int_equal(ra.code, -ECANCELED);
	for (unsigned int i = 1; i <= QMP_IN_FLIGHT; i++)
		fq_answer(x->fake, json_array_get(x->fake->log, i), fq_ok());
	RUN_UNTIL(x->event, rb.n == QMP_IN_FLIGHT / 2 && json_array_size(x->fake->log) == 2 + QMP_IN_FLIGHT);
	assert_string_equal(fq_logged(x->fake, 1 + QMP_IN_FLIGHT), "last");
	assert_int_equal(ra.n, QMP_IN_FLIGHT / 2 + 1);
	assert_int_equal(b.downs + c.downs, 0);

	/* With the last one the connection ends. */
	qmp_user_close(&b);
	qmp_user_close(&c);
	RUN_UNTIL(x->event, x->fake->closed == 1);
	json_decref(rb.ret);
}

static void test_close_within_callbacks(void **state)
{
	struct qmp_env *x = *state;
	struct qmp_env_reply r = {}, r2 = {};
	struct qmp_user a, b, c;

	x->fake->handle = fq_silent;
	qmp_user_open(x, &a);
	a.close_on_state = true;
	qmp_user_open(x, &b);
	RUN_UNTIL(x->event, a.ups && b.ups);
	assert_null(a.q);

	/* On an event: oneself, and somebody else who has not heard of it yet (users are told newest first). */
	qmp_user_open(x, &c);
	RUN_UNTIL(x->event, c.ups);
	c.close_other = &b;
	c.close_on_event = true;
	fq_event(x->fake, "STOP", NULL);
	RUN_UNTIL(x->event, c.events);
	fq_run_for(x->event, 20);
	assert_int_equal(b.events, 0);
	RUN_UNTIL(x->event, x->fake->closed == 1);

	/* In a reply, with others pending; and in the replies that a broken connection gives. */
	x->fake->handle = NULL;
	qmp_user_open(x, &a);
	RUN_UNTIL(x->event, a.ups);
	r.close = &a;
	assert_int_equal(qmp_command(a.q, "one", NULL, qmp_env_on_reply, &r), 0);
	assert_int_equal(qmp_command(a.q, "two", NULL, qmp_env_on_reply, &r2), 0);
	RUN_UNTIL(x->event, r.n);
	assert_int_equal(r.code, 0);
	assert_int_equal(r2.n, 1);
	assert_int_equal(r2.code, -ECANCELED);
	fq_run_for(x->event, 20);
	json_decref(r.ret);

	x->fake->handle = fq_silent;
	qmp_user_open(x, &a);
	RUN_UNTIL(x->event, a.ups);
	r = r2 = (struct qmp_env_reply){};
	r.close = &a;
	assert_int_equal(qmp_command(a.q, "one", NULL, qmp_env_on_reply, &r), 0);
	assert_int_equal(qmp_command(a.q, "two", NULL, qmp_env_on_reply, &r2), 0);
	RUN_UNTIL(x->event, fq_logged(x->fake, json_array_size(x->fake->log) - 1)[0] == 't');
	fq_hang_up(x->fake);
	RUN_UNTIL(x->event, r.n && r2.n);
	assert_int_equal(r.code, -ENOTCONN);
	assert_int_equal(r2.code, -ECANCELED);
	fq_run_for(x->event, 20);
	assert_int_equal(r.n + r2.n, 2);
	assert_int_equal(a.downs, 0);
}

static void test_commands_from_callbacks(void **state)
{
	struct qmp_env *x = *state;
	struct qmp_env_reply r = {};
	struct qmp_user u;

	qmp_user_open(x, &u);
	RUN_UNTIL(x->event, u.ups == 1);
	r.again = u.q;
	assert_int_equal(qmp_command(u.q, "x", NULL, qmp_env_on_reply, &r), 0);
	RUN_UNTIL(x->event, fq_count(x->fake, "again") == 1);
	/* … and from the reply that tells of the end: refused, not lost. */
	x->fake->handle = fq_silent;
	r.again = u.q;
	assert_int_equal(qmp_command(u.q, "x", NULL, qmp_env_on_reply, &r), 0);
	RUN_UNTIL(x->event, fq_count(x->fake, "x") == 2);
	fq_hang_up(x->fake);
	RUN_UNTIL(x->event, u.ups == 2);
	fq_run_for(x->event, 20);
	assert_int_equal(fq_count(x->fake, "again"), 1);
	json_decref(r.ret);
	qmp_user_close(&u);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, qmp_env_setup, qmp_env_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_commands),
		TEST(test_events),
		TEST(test_long_answer),
		TEST(test_window),
		TEST(test_shared),
		TEST(test_close_within_callbacks),
		TEST(test_commands_from_callbacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
