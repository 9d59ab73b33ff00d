/* SPDX-License-Identifier: Apache-2.0 */

/* The QMP client against a monitor that behaves, is away, hangs, or lies. */

#include "fake_qmp.h"

#include "qemu/qmp.h"

struct user {
	struct qmp *q;
	struct fixture *x;
	unsigned int ups, downs, events;
	bool gone;
	char why[256], last_event[64];
	json_t *last_data;
	bool close_on_state, close_on_event;
	struct user *close_other; /* on event */
};

struct fixture {
	sd_event *event;
	struct fake *fake;
	struct qmp_pool *pool;
};

static void on_state(void *ctx, bool up, bool gone, const char *why)
{
	struct user *u = ctx;

	assert_true(up == !why);
	if (up) {
		u->ups++;
	} else {
		u->downs++;
		u->gone = gone;
		snprintf(u->why, sizeof(u->why), "%s", why);
	}
	if (u->close_on_state) {
		qmp_close(u->q);
		u->q = NULL;
	}
}

static void on_event(void *ctx, const char *name, const json_t *data)
{
	struct user *u = ctx;

	u->events++;
	snprintf(u->last_event, sizeof(u->last_event), "%s", name);
	json_decref(u->last_data);
	u->last_data = json_deep_copy(data);
	if (u->close_other) {
		qmp_close(u->close_other->q);
		u->close_other->q = NULL;
		u->close_other = NULL;
	}
	if (u->close_on_event) {
		qmp_close(u->q);
		u->q = NULL;
	}
}

static const struct qmp_ops ops = {.state = on_state, .event = on_event};

static void user_open(struct fixture *x, struct user *u)
{
	struct err err = {};

	*u = (struct user){.x = x};
	assert_int_equal(qmp_open(x->pool, x->fake->path, &ops, u, &u->q, &err), 0);
}

static void user_close(struct user *u)
{
	qmp_close(u->q);
	u->q = NULL;
	json_decref(u->last_data);
	u->last_data = NULL;
}

static struct fixture *make(void **state, bool start)
{
	struct fixture *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	assert_true(sd_event_new(&x->event) >= 0);
	x->fake = fake_new(x->event, start);
	assert_int_equal(qmp_pool_new(x->event, &x->pool), 0);
	*state = x;
	return x;
}

static int setup(void **state)
{
	make(state, true);
	return 0;
}

static int setup_away(void **state)
{
	make(state, false);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	qmp_pool_free(x->pool);
	fake_free(x->fake);
	sd_event_unref(x->event);
	free(x);
	return 0;
}

struct reply {
	unsigned int n;
	int code;
	json_t *ret;
	struct err err;
	struct user *close; /* from within the reply */
	struct qmp *again;  /* send another command from within the reply */
};

static void on_reply(void *arg, int code, const json_t *ret, const struct err *err)
{
	struct reply *r = arg;

	r->n++;
	r->code = code;
	json_decref(r->ret);
	r->ret = json_deep_copy(ret);
	assert_true((code < 0) == (err != NULL));
	if (err)
		r->err = *err;
	if (r->close) {
		qmp_close(r->close->q);
		r->close->q = NULL;
		r->close = NULL;
	}
	if (r->again) {
		struct qmp *q = r->again;

		r->again = NULL;
		qmp_command(q, "again", NULL, NULL, NULL);
	}
}

/* --- what a monitor that behaves gets ----------------------------------------------------------- */

static json_t *refuse(struct fake *f, const char *command, const json_t *args)
{
	(void)f;
	(void)args;
	if (!strcmp(command, "a"))
		return fake_error("DeviceNotFound", "Device 'x' not found");
	if (!strcmp(command, "b"))
		return fake_error("CommandNotFound", "The command b has not been found");
	if (!strcmp(command, "c"))
		return fake_error("GenericError", "line\none \x01 \xc3\xa9.");
	return json_pack("{s:{s:i}}", "return", "n", 7);
}

static void test_commands(void **state)
{
	struct fixture *x = *state;
	struct reply a = {}, b = {}, c = {}, d = {};
	struct user u;
	const json_t *request;

	x->fake->handle = refuse;
	user_open(x, &u);
	assert_false(qmp_ready(u.q));
	assert_int_equal(qmp_command(u.q, "early", NULL, NULL, NULL), -ENOTCONN);
	RUN_UNTIL(x->event, u.ups == 1);
	assert_true(qmp_ready(u.q));
	assert_string_equal(fake_logged(x->fake, 0), "qmp_capabilities");

	assert_int_equal(qmp_command(u.q, "a", NULL, on_reply, &a), 0);
	assert_int_equal(qmp_command(u.q, "b", NULL, on_reply, &b), 0);
	assert_int_equal(qmp_command(u.q, "c", NULL, on_reply, &c), 0);
	assert_int_equal(qmp_command(u.q, "d", json_pack("{s:s}", "k", "v\n"), on_reply, &d), 0);
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
	user_close(&u);
}

static void test_events(void **state)
{
	struct fixture *x = *state;
	struct user u;

	user_open(x, &u);
	RUN_UNTIL(x->event, u.ups == 1);
	fake_event(x->fake, "STOP", NULL);
	RUN_UNTIL(x->event, u.events == 1);
	assert_string_equal(u.last_event, "STOP");
	assert_null(u.last_data);
	/* An unsigned 64-bit number, several messages in one piece, empty lines. */
	fake_say(x->fake, "\r\n{\"event\": \"BIG\", \"data\": {\"n\": 18446744073709551615}}\r\n\r\n"
			  "{\"event\": \"LAST\", \"data\": {\"name\": \"x\"}}\n");
	RUN_UNTIL(x->event, u.events == 3);
	assert_string_equal(u.last_event, "LAST");
	assert_string_equal(json_string_value(json_object_get(u.last_data, "name")), "x");
	/* One message in many pieces. */
	for (const char *p = "{\"event\": \"PIECES\"}\r\n"; *p; p++) {
		fake_raw(x->fake, p, 1);
		run_for(x->event, 1);
	}
	RUN_UNTIL(x->event, u.events == 4);
	assert_string_equal(u.last_event, "PIECES");
	assert_int_equal(u.downs, 0);
	user_close(&u);
}

static void test_long_answer(void **state)
{
	struct fixture *x = *state;
	size_t size = QMP_LINE_MAX - 4096;
	char *text = malloc(size + 64);
	struct user u;

	user_open(x, &u);
	RUN_UNTIL(x->event, u.ups == 1);
	strcpy(text, "{\"event\": \"LONG\", \"data\": {\"x\": \"");
	memset(text + strlen(text), 'x', size - strlen(text));
	strcpy(text + size, "\"}}\r\n");
	fake_say(x->fake, text);
	free(text);
	RUN_UNTIL(x->event, u.events == 1 || u.downs);
	assert_int_equal(u.downs, 0);
	assert_true(json_string_length(json_object_get(u.last_data, "x")) > size / 2);
	user_close(&u);
}

static json_t *silent(struct fake *f, const char *command, const json_t *args)
{
	(void)f;
	(void)command;
	(void)args;
	return NULL;
}

static void test_window(void **state)
{
	struct fixture *x = *state;
	struct reply r = {};
	struct user u;

	x->fake->handle = silent;
	user_open(x, &u);
	RUN_UNTIL(x->event, u.ups == 1);
	for (unsigned int i = 0; i < QMP_COMMANDS_MAX; i++)
		assert_int_equal(qmp_command(u.q, "c", NULL, on_reply, &r), 0);
	assert_int_equal(qmp_command(u.q, "c", json_object(), on_reply, &r), -EBUSY);
	RUN_UNTIL(x->event, json_array_size(x->fake->log) == 1 + QMP_IN_FLIGHT);
	run_for(x->event, 20);
	assert_int_equal(json_array_size(x->fake->log), 1 + QMP_IN_FLIGHT);
	/* One answer lets one command through. */
	fake_answer(x->fake, json_array_get(x->fake->log, 1), fake_ok());
	RUN_UNTIL(x->event, json_array_size(x->fake->log) == 2 + QMP_IN_FLIGHT);
	assert_int_equal(r.n, 1);
	x->fake->handle = NULL;
	for (unsigned int i = 2; i < 2 + QMP_IN_FLIGHT; i++)
		fake_answer(x->fake, json_array_get(x->fake->log, i), fake_ok());
	RUN_UNTIL(x->event, r.n == QMP_COMMANDS_MAX);
	assert_int_equal(r.code, 0);
	json_decref(r.ret);
	user_close(&u);
}

/* --- sharing ------------------------------------------------------------------------------------ */

static void test_shared(void **state)
{
	struct fixture *x = *state;
	struct reply ra = {}, rb = {};
	struct user a, b, c;

	x->fake->handle = silent;
	user_open(x, &a);
	user_open(x, &b);
	RUN_UNTIL(x->event, a.ups && b.ups);
	assert_int_equal(x->fake->accepted, 1);
	/* A late user learns that it is ready, and not from within qmp_open(). */
	user_open(x, &c);
	assert_int_equal(c.ups, 0);
	assert_false(qmp_ready(c.q));
	RUN_UNTIL(x->event, c.ups);
	fake_event(x->fake, "STOP", NULL);
	RUN_UNTIL(x->event, a.events && b.events && c.events);

	/* One leaves: its commands are cancelled, what was not sent is never sent, the others notice nothing.
	 */
	for (int i = 0; i < QMP_IN_FLIGHT; i++)
		assert_int_equal(qmp_command(i & 1 ? b.q : a.q, "sent", NULL, on_reply, i & 1 ? &rb : &ra),
				 0);
	assert_int_equal(qmp_command(a.q, "unsent", NULL, on_reply, &ra), 0);
	assert_int_equal(qmp_command(b.q, "last", NULL, on_reply, &rb), 0);
	RUN_UNTIL(x->event, json_array_size(x->fake->log) == 1 + QMP_IN_FLIGHT);
	user_close(&a);
	assert_int_equal(ra.n, QMP_IN_FLIGHT / 2 + 1);
	assert_int_equal(ra.code, -ECANCELED);
	for (unsigned int i = 1; i <= QMP_IN_FLIGHT; i++)
		fake_answer(x->fake, json_array_get(x->fake->log, i), fake_ok());
	RUN_UNTIL(x->event, rb.n == QMP_IN_FLIGHT / 2 && json_array_size(x->fake->log) == 2 + QMP_IN_FLIGHT);
	assert_string_equal(fake_logged(x->fake, 1 + QMP_IN_FLIGHT), "last");
	assert_int_equal(ra.n, QMP_IN_FLIGHT / 2 + 1);
	assert_int_equal(b.downs + c.downs, 0);

	/* With the last one the connection ends. */
	user_close(&b);
	user_close(&c);
	RUN_UNTIL(x->event, x->fake->closed == 1);
	json_decref(rb.ret);
}

static void test_close_within_callbacks(void **state)
{
	struct fixture *x = *state;
	struct reply r = {}, r2 = {};
	struct user a, b, c;

	x->fake->handle = silent;
	user_open(x, &a);
	a.close_on_state = true;
	user_open(x, &b);
	RUN_UNTIL(x->event, a.ups && b.ups);
	assert_null(a.q);

	/* On an event: oneself, and somebody else who has not heard of it yet (users are told newest first).
	 */
	user_open(x, &c);
	RUN_UNTIL(x->event, c.ups);
	c.close_other = &b;
	c.close_on_event = true;
	fake_event(x->fake, "STOP", NULL);
	RUN_UNTIL(x->event, c.events);
	run_for(x->event, 20);
	assert_int_equal(b.events, 0);
	RUN_UNTIL(x->event, x->fake->closed == 1);

	/* In a reply, with others pending; and in the replies that a broken connection gives. */
	x->fake->handle = NULL;
	user_open(x, &a);
	RUN_UNTIL(x->event, a.ups);
	r.close = &a;
	assert_int_equal(qmp_command(a.q, "one", NULL, on_reply, &r), 0);
	assert_int_equal(qmp_command(a.q, "two", NULL, on_reply, &r2), 0);
	RUN_UNTIL(x->event, r.n);
	assert_int_equal(r.code, 0);
	assert_int_equal(r2.n, 1);
	assert_int_equal(r2.code, -ECANCELED);
	run_for(x->event, 20);
	json_decref(r.ret);

	x->fake->handle = silent;
	user_open(x, &a);
	RUN_UNTIL(x->event, a.ups);
	r = r2 = (struct reply){};
	r.close = &a;
	assert_int_equal(qmp_command(a.q, "one", NULL, on_reply, &r), 0);
	assert_int_equal(qmp_command(a.q, "two", NULL, on_reply, &r2), 0);
	RUN_UNTIL(x->event, fake_logged(x->fake, json_array_size(x->fake->log) - 1)[0] == 't');
	fake_hang_up(x->fake);
	RUN_UNTIL(x->event, r.n && r2.n);
	assert_int_equal(r.code, -ENOTCONN);
	assert_int_equal(r2.code, -ECANCELED);
	run_for(x->event, 20);
	assert_int_equal(r.n + r2.n, 2);
	assert_int_equal(a.downs, 0);
}

/* --- monitors that are away --------------------------------------------------------------------- */

static void test_socket_appears(void **state)
{
	struct fixture *x = *state;
	struct user u;

	user_open(x, &u);
	RUN_UNTIL(x->event, u.downs == 1);
	assert_true(u.gone);
	assert_non_null(strstr(u.why, "does not exist"));
	/* Absent costs nothing: not one wake-up. */
	assert_int_equal(run_for(x->event, 2500), 0);
	fake_listen(x->fake);
	RUN_UNTIL_MS(x->event, u.ups == 1, 1000);
	assert_int_equal(u.downs, 1);

	/* The VM ends and starts again. */
	fake_stop(x->fake);
	RUN_UNTIL(x->event, u.downs == 2);
	assert_true(u.gone);
	assert_non_null(strstr(u.why, "closed"));
	RUN_UNTIL(x->event, u.downs == 3);
	assert_int_equal(run_for(x->event, 300), 0);
	fake_listen(x->fake);
	RUN_UNTIL_MS(x->event, u.ups == 2, 1000);
	user_close(&u);
}

static void test_directory_appears(void **state)
{
	struct fixture *x = *state;
	struct user u;

	assert_return_code(rmdir(x->fake->dir), errno);
	user_open(x, &u);
	RUN_UNTIL(x->event, u.downs == 1);
	assert_true(run_for(x->event, 1000) < 10);
	assert_return_code(mkdir(x->fake->dir, 0700), errno);
	fake_listen(x->fake);
	RUN_UNTIL_MS(x->event, u.ups == 1, 3000);
	/* … and goes away under the watch, and comes again. */
	fake_stop(x->fake);
	RUN_UNTIL(x->event, u.downs >= 3);
	assert_return_code(rmdir(x->fake->dir), errno);
	run_for(x->event, 200);
	assert_return_code(mkdir(x->fake->dir, 0700), errno);
	fake_listen(x->fake);
	RUN_UNTIL_MS(x->event, u.ups == 2, 3000);
	user_close(&u);
}

static void test_stale_socket(void **state)
{
	struct fixture *x = *state;
	struct user u;

	fake_bind(x->fake); /* as a killed QEMU leaves it, or one that has not come to listen() yet */
	user_open(x, &u);
	RUN_UNTIL(x->event, u.downs == 1);
	assert_true(u.gone);
	assert_non_null(strstr(u.why, "nobody behind it"));
	run_for(x->event, 300);
	assert_int_equal(u.downs, 1); /* said once */
	fake_listen(x->fake);
	RUN_UNTIL_MS(x->event, u.ups == 1, 3000);
	user_close(&u);
}

static void test_bad_paths(void **state)
{
	struct fixture *x = *state;
	struct err err = {};
	struct qmp *q = (struct qmp *)x;
	char path[200];

	assert_int_equal(qmp_open(x->pool, "relative", &ops, NULL, &q, &err), -EINVAL);
	assert_string_equal(err.field, "qmp");
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[108] = '\0';
	assert_int_equal(qmp_open(x->pool, path, &ops, NULL, &q, &err), -EINVAL);
	assert_ptr_equal(q, x);
	qmp_close(NULL);
}

/* --- monitors that hang or lie -------------------------------------------------------------------- */

/* Each gets one reason, and is usable again as soon as it behaves. */
static void expect_down(struct fixture *x, struct user *u, const char *why)
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
	struct fixture *x = *state;
	struct user u;

	qmp_pool_set_limits(x->pool, 100, 100);
	x->fake->mute = true;
	user_open(x, &u);
	expect_down(x, &u, "does not greet");
	assert_false(u.gone);
	/* The same reason is not reported again and again. */
	RUN_UNTIL(x->event, x->fake->accepted >= 2);
	run_for(x->event, 150);
	assert_int_equal(u.downs, 1);
	x->fake->mute = false;
	fake_hang_up(x->fake);
	RUN_UNTIL(x->event, u.ups == 1);
	user_close(&u);
}

static void test_no_capabilities(void **state)
{
	struct fixture *x = *state;
	struct user u;

	qmp_pool_set_limits(x->pool, 100, 100);
	x->fake->mute = true;
	user_open(x, &u);
	RUN_UNTIL(x->event, x->fake->fd >= 0);
	fake_say(x->fake, FAKE_GREETING);
	expect_down(x, &u, "did not answer qmp_capabilities");
	user_close(&u);
}

static void test_capabilities_refused(void **state)
{
	struct fixture *x = *state;
	struct user u;

	x->fake->mute = true;
	user_open(x, &u);
	RUN_UNTIL(x->event, x->fake->fd >= 0);
	fake_say(x->fake, FAKE_GREETING);
	RUN_UNTIL(x->event, json_array_size(x->fake->log) == 1);
	fake_answer(x->fake, json_array_get(x->fake->log, 0), fake_error("GenericError", "No."));
	expect_down(x, &u, "refuses to be used: QEMU says: No");
	user_close(&u);
}

static void test_no_answer(void **state)
{
	struct fixture *x = *state;
	struct reply r = {}, r2 = {};
	struct user u;

	qmp_pool_set_limits(x->pool, 1000, 100);
	x->fake->handle = silent;
	user_open(x, &u);
	RUN_UNTIL(x->event, u.ups == 1);
	run_for(x->event, 200);
	assert_int_equal(u.downs, 0); /* nothing is due */
	assert_int_equal(qmp_command(u.q, "x", NULL, on_reply, &r), 0);
	assert_int_equal(qmp_command(u.q, "y", NULL, on_reply, &r2), 0);
	/* Events are no answer. */
	for (int i = 0; i < 50 && u.downs == 0; i++) {
		fake_event(x->fake, "STOP", NULL);
		run_for(x->event, 20);
	}
	assert_int_equal(u.downs, 1);
	assert_non_null(strstr(u.why, "did not answer within 100 ms"));
	assert_int_equal(r.code, -ENOTCONN);
	assert_int_equal(r2.code, -ENOTCONN);
	assert_non_null(strstr(r.err.text, "did not answer"));
	x->fake->handle = NULL;
	RUN_UNTIL(x->event, u.ups == 2);
	assert_int_equal(r.n + r2.n, 2);
	user_close(&u);
}

/* A peer that takes commands but does not read them. */
static void test_never_reads(void **state)
{
	struct fixture *x = *state;
	struct reply r = {};
	struct user u;
	char *text = calloc(1, 4 << 20);

	qmp_pool_set_limits(x->pool, 1000, 200);
	user_open(x, &u);
	RUN_UNTIL(x->event, u.ups == 1);
	memset(text, 'x', (4 << 20) - 1);
	x->fake->io = sd_event_source_disable_unref(x->fake->io);
	assert_int_equal(qmp_command(u.q, "x", json_pack("{s:s}", "x", text), on_reply, &r), 0);
	free(text);
	RUN_UNTIL_MS(x->event, u.downs, 3000);
	assert_int_equal(r.code, -ENOTCONN);
	fake_hang_up(x->fake);
	RUN_UNTIL(x->event, u.ups == 2);
	user_close(&u);
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
		{"{}\r\n", "neither event nor reply"},
		{"{\"event\": 7}\r\n", "neither event nor reply"},
		{"{\"return\": {}, \"id\": \"2\"}\r\n", "nothing that was asked"},
		{"{\"return\": {}}\r\n", "nothing that was asked"},
		{"{\"error\": {\"class\": \"GenericError\", \"desc\": \"x\"}}\r\n", "nothing that was asked"},
	};
	struct fixture *x = *state;
	struct user u;
	char *deep = malloc(200001);

	user_open(x, &u);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		RUN_UNTIL(x->event, u.ups == i + 1);
		fake_say(x->fake, lies[i].say);
		expect_down(x, &u, lies[i].why);
		assert_false(u.gone);
		fake_stop(x->fake); /* a new VM is not made to wait for the sins of the old one */
		fake_listen(x->fake);
	}
	RUN_UNTIL(x->event, u.ups == ARRAY_SIZE(lies) + 1);
	memset(deep, '[', 200000);
	deep[200000] = '\n';
	fake_raw(x->fake, deep, 200001);
	expect_down(x, &u, "not a JSON object");
	free(deep);
	RUN_UNTIL(x->event, u.ups == ARRAY_SIZE(lies) + 2);
	fake_raw(x->fake, "{\"event\": \"A\"}\0\r\n", 17);
	expect_down(x, &u, "not a JSON object");
	user_close(&u);
}

/* A reply to the second of two commands first, and one twice. */
static void test_wrong_order(void **state)
{
	struct fixture *x = *state;
	struct reply r = {}, r2 = {};
	struct user u;

	x->fake->handle = silent;
	user_open(x, &u);
	RUN_UNTIL(x->event, u.ups == 1);
	assert_int_equal(qmp_command(u.q, "x", NULL, on_reply, &r), 0);
	assert_int_equal(qmp_command(u.q, "y", NULL, on_reply, &r2), 0);
	RUN_UNTIL(x->event, json_array_size(x->fake->log) == 3);
	fake_answer(x->fake, json_array_get(x->fake->log, 2), fake_ok());
	expect_down(x, &u, "nothing that was asked");
	assert_int_equal(r.code, -ENOTCONN);
	assert_int_equal(r2.code, -ENOTCONN);
	user_close(&u);
}

static void test_no_monitor_at_all(void **state)
{
	struct fixture *x = *state;
	struct user u;

	x->fake->mute = true;
	user_open(x, &u);
	RUN_UNTIL(x->event, x->fake->fd >= 0);
	fake_say(x->fake, "{\"jsonrpc\": \"2.0\"}\r\n");
	expect_down(x, &u, "is no QMP monitor");
	user_close(&u);
}

static void test_endless_line(void **state)
{
	struct fixture *x = *state;
	static char chunk[65536];
	struct user u;

	user_open(x, &u);
	RUN_UNTIL(x->event, u.ups == 1);
	memset(chunk, ' ', sizeof(chunk));
	for (unsigned int sent = 0; u.downs == 0; sent += sizeof(chunk)) {
		assert_true(sent < 2 * QMP_LINE_MAX + (1U << 20));
		fake_raw(x->fake, chunk, sizeof(chunk));
		run_for(x->event, 1);
	}
	assert_non_null(strstr(u.why, "longer than"));
	RUN_UNTIL(x->event, u.ups == 2);
	user_close(&u);
}

static void test_commands_from_callbacks(void **state)
{
	struct fixture *x = *state;
	struct reply r = {};
	struct user u;

	user_open(x, &u);
	RUN_UNTIL(x->event, u.ups == 1);
	r.again = u.q;
	assert_int_equal(qmp_command(u.q, "x", NULL, on_reply, &r), 0);
	RUN_UNTIL(x->event, fake_count(x->fake, "again") == 1);
	/* … and from the reply that tells of the end: refused, not lost. */
	x->fake->handle = silent;
	r.again = u.q;
	assert_int_equal(qmp_command(u.q, "x", NULL, on_reply, &r), 0);
	RUN_UNTIL(x->event, fake_count(x->fake, "x") == 2);
	fake_hang_up(x->fake);
	RUN_UNTIL(x->event, u.ups == 2);
	run_for(x->event, 20);
	assert_int_equal(fake_count(x->fake, "again"), 1);
	json_decref(r.ret);
	user_close(&u);
}

int main(void)
{
#define T(name)    cmocka_unit_test_setup_teardown(name, setup, teardown)
#define AWAY(name) cmocka_unit_test_setup_teardown(name, setup_away, teardown)
	const struct CMUnitTest tests[] = {
		T(test_commands),
		T(test_events),
		T(test_long_answer),
		T(test_window),
		T(test_shared),
		T(test_close_within_callbacks),
		AWAY(test_socket_appears),
		AWAY(test_directory_appears),
		AWAY(test_stale_socket),
		T(test_bad_paths),
		T(test_no_greeting),
		T(test_no_capabilities),
		T(test_capabilities_refused),
		T(test_no_answer),
		T(test_never_reads),
		T(test_lies),
		T(test_wrong_order),
		T(test_no_monitor_at_all),
		T(test_endless_line),
		T(test_commands_from_callbacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
