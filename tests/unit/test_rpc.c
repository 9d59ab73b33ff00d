/* SPDX-License-Identifier: Apache-2.0 */

/* The API's protocol: requests, batches, events; clients that misbehave. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "api_client.h"

static int setup(void **state)
{
	return ac_setup(state, api_methods, AC_DEFERRED_US);
}

static void bad_requests(void **state)
{
	static const struct {
		const char *text;
		int code;
		const char *field;
	} cases[] = {
		{"{", -32700, NULL},
		{"nonsense", -32700, NULL},
		{"{\"a\": 1, \"a\": 2}", -32700, NULL},
		{"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"\xff\"}", -32700, NULL},
		{"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"a\\u0000b\"}", -32700, NULL},
		{"{} {}", -32700, NULL},
		{"5", -32600, NULL},
		{"null", -32600, NULL},
		{"\"text\"", -32600, NULL},
		{"[]", -32600, NULL},
		{"{}", -32600, "jsonrpc"},
		{"{\"jsonrpc\": \"1.0\", \"id\": 1, \"method\": \"status\"}", -32600, "jsonrpc"},
		{"{\"jsonrpc\": \"2.0\", \"id\": 1}", -32600, "method"},
		{"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": 5}", -32600, "method"},
		{"{\"jsonrpc\": \"2.0\", \"id\": [1], \"method\": \"status\"}", -32600, "id"},
		{"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"status\", \"more\": 1}", -32600, NULL},
		{"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"nope\"}", -32601, "method"},
		{"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"status\", \"params\": []}", -32602,
		 "params"},
		{"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"status\", \"params\": null}", -32602,
		 "params"},
		{"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", -32600, NULL},
	};
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		ac_check_error(ac_ask_text(t, c, cases[i].text), cases[i].code, cases[i].field);
	ac_done(t, c, "status", "");
	ac_client_free(c);
}

static void deep_nesting(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);
	size_t n = API_LINE_MAX - 1;
	char *deep = malloc(n + 2), line[2 * RPC_DEPTH_MAX + 1];
	json_t *reply;

	memset(deep, '[', n);
	strcpy(deep + n, "\n");
	ac_put(t, c, deep, n + 1);
	ac_check_error(ac_get(t, c), -32600, NULL);
	/* As deep as allowed: not refused for it, but for what it is. */
	memset(line, '[', RPC_DEPTH_MAX);
	memset(line + RPC_DEPTH_MAX, ']', RPC_DEPTH_MAX);
	line[2 * RPC_DEPTH_MAX] = '\0';
	reply = ac_ask_text(t, c, line);
	assert_true(json_is_array(reply));
	json_decref(reply);
	/* Brackets in a string are text. */
	deep[0] = '"';
	deep[n - 1] = '"';
	ac_put(t, c, deep, n + 1);
	ac_check_error(ac_get(t, c), -32600, NULL);
	free(deep);
	ac_done(t, c, "status", "");
	ac_client_free(c);
}

static void ids(void **state)
{
	static const char *const values[] = {"1", "-5", "1.5", "\"x\"", "null", "0"};
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		json_t *reply, *id = json_loads(values[i], JSON_DECODE_ANY, NULL);
		char line[128];

		snprintf(line, sizeof(line), "{\"jsonrpc\": \"2.0\", \"id\": %s, \"method\": \"pf.list\"}",
			 values[i]);
		reply = ac_ask_text(t, c, line);
		assert_true(json_equal(json_object_get(reply, "id"), id));
		assert_non_null(json_object_get(reply, "result"));
		json_decref(reply);
		json_decref(id);
	}
	ac_client_free(c);
}

/* Requests without an id are done, and never answered, whatever comes of them. */
static void notifications(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);
	json_t *o;

	ac_put_text(
		t, c,
		"{\"jsonrpc\": \"2.0\", \"method\": \"fabric.add\", \"params\": {\"name\": \"quiet\"}}\n");
	ac_put_text(
		t, c,
		"{\"jsonrpc\": \"2.0\", \"method\": \"fabric.add\", \"params\": {\"name\": \"quiet\"}}\n");
	ac_put_text(t, c, "{\"jsonrpc\": \"2.0\", \"method\": \"nope\"}\n");
	ac_put_text(t, c, "[{\"jsonrpc\": \"2.0\", \"method\": \"status\"}]\n\n  \r\n");
	o = ac_result(t, c, "fabric.list", ""); /* the first thing to be answered */
	assert_int_equal(json_array_size(o), 1);
	json_decref(o);
	ac_client_free(c);
}

static void batches(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);
	char *line, *p;
	json_t *list;

	list = ac_ask_text(
		t, c,
		"[{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"fabric.add\", \"params\": "
		"{\"name\": \"b0\"}}, 5, "
		"{\"jsonrpc\": \"2.0\", \"method\": \"fabric.add\", \"params\": {\"name\": \"b1\"}}, "
		"{\"jsonrpc\": \"2.0\", \"id\": 2, \"method\": \"fabric.list\"}]");
	assert_int_equal(json_array_size(list), 3);
	assert_int_equal(ac_number(json_array_get(list, 0), "id"), 1);
	ac_check_error(json_incref(json_array_get(list, 1)), -32600, NULL);
	assert_int_equal(json_array_size(json_object_get(json_array_get(list, 2), "result")), 2);
	json_decref(list);

	line = p = malloc((RPC_BATCH_MAX + 1) * 64);
	for (int i = 0; i <= RPC_BATCH_MAX; i++)
		p += sprintf(p, "%c{\"jsonrpc\": \"2.0\", \"id\": %d, \"method\": \"pf.list\"}",
			     i ? ',' : '[', i);
	strcpy(p, "]");
	ac_check_error(ac_ask_text(t, c, line), -32600, NULL);
	p = strrchr(line, '{');
	strcpy(p - 1, "]"); /* one less */
	list = ac_ask_text(t, c, line);
	assert_int_equal(json_array_size(list), RPC_BATCH_MAX);
	json_decref(list);
	free(line);
	ac_client_free(c);
}

static void in_pieces(void **state)
{
	static const char request[] = "{\"jsonrpc\": \"2.0\", \"id\": 3, \"method\": \"status\"}\n";
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);

	for (const char *p = request; *p; p++) {
		ac_put(t, c, p, 1);
		ac_settle(t);
	}
	json_decref(ac_get(t, c));
	/* Many in one piece: all are answered, and another client does not wait for the last. */
	for (int i = 0; i < 100; i++)
		ac_put_text(t, c, request);
	for (int i = 0; i < 100; i++) {
		json_t *reply = ac_get(t, c);

		assert_int_equal(ac_number(reply, "id"), 3);
		json_decref(reply);
	}
	ac_client_free(c);
}

static void half_closed(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);
	json_t *reply;

	ac_put_text(t, c, "{\"jsonrpc\": \"2.0\", \"id\": 3, \"method\": \"status\"}\n");
	ac_put_text(t, c,
		    "{\"jsonrpc\": \"2.0\", \"id\": 4, \"method\": \"status\"}"); /* without its newline */
	assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
	reply = ac_get(t, c);
	assert_int_equal(ac_number(reply, "id"), 3);
	json_decref(reply);
	reply = ac_get(t, c);
	assert_int_equal(ac_number(reply, "id"), 4);
	json_decref(reply);
	assert_null(ac_get(t, c));
	ac_client_free(c);
}

static void endless_line(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t), *other = ac_client_new(t);
	char *line = malloc(API_LINE_MAX + 2);

	memset(line, ' ', API_LINE_MAX + 1);
	ac_put(t, c, line, API_LINE_MAX);
	ac_settle(t);
	ac_done(t, other, "status", "");
	ac_put(t, c, line, 1);
	ac_check_error(ac_get(t, c), -32600, NULL);
	assert_null(ac_get(t, c));
	ac_client_free(c);

	/* The longest line that is taken. */
	c = ac_client_new(t);
	memcpy(line, "{\"jsonrpc\": \"2.0\", \"id\": 3, \"method\": \"status\"}", 48);
	line[API_LINE_MAX] = '\n';
	ac_put(t, c, line, API_LINE_MAX + 1);
	json_decref(ac_get(t, c));
	ac_client_free(c);
	ac_client_free(other);
	free(line);
}

static void too_many_clients(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *clients[API_CLIENTS_MAX + 1];

	for (int i = 0; i <= API_CLIENTS_MAX; i++) {
		clients[i] = ac_client_new(t);
		ac_settle(t);
	}
	ac_check_error(ac_get(t, clients[API_CLIENTS_MAX]), -32000 - EBUSY, NULL);
	assert_null(ac_get(t, clients[API_CLIENTS_MAX]));
	ac_client_free(clients[API_CLIENTS_MAX]);
	ac_done(t, clients[0], "status", "");
	ac_client_free(clients[0]);
	ac_settle(t);
	clients[0] = ac_client_new(t);
	for (int i = 0; i < API_CLIENTS_MAX; i++) {
		ac_done(t, clients[i], "status", "");
		ac_client_free(clients[i]);
	}
}

/* Requests that never end, from a client that reads no reply: it waits, the others do not. */
static void greedy_client(void **state)
{
	static const char request[] = "{\"jsonrpc\": \"2.0\", \"id\": 3, \"method\": \"help\"}\n";
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t), *other = ac_client_new(t);
	unsigned int sent = 0, got = 0;
	size_t offset = 0;

	for (;;) {
		ssize_t n = send(c->fd, request + offset, strlen(request) - offset, MSG_NOSIGNAL);

		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			if (sd_event_run(t->event, 0) == 0)
				break; /* nothing more is taken from it */
			continue;
		}
		offset += (size_t)n;
		if (offset == strlen(request)) {
			offset = 0;
			sent++;
		}
	}
	assert_true(sent > 100);
	ac_done(t, other, "status", "");
	/* Once it reads, it gets all it has asked for. */
	for (; got < sent; got++)
		json_decref(ac_get(t, c));
	ac_put(t, c, request + offset, strlen(request) - offset);
	json_decref(ac_get(t, c));
	ac_client_free(c);
	ac_client_free(other);
}

static void sudden_departures(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *keep = ac_client_new(t);

	for (int i = 0; i < 200; i++) {
		struct ac_client *c = ac_client_new(t);

		if (i & 1)
			ac_put_text(t, c, "{\"jsonrpc\": \"2.0\", \"id\": 3, \"method\": \"help\"}\n{\"half");
		if (i & 2)
			ac_settle(t);
		if (i & 4)
			ac_put_text(t, c,
				    "{\"jsonrpc\": \"2.0\", \"id\": 3, \"method\": \"events.subscribe\"}\n");
		ac_client_free(c);
		ac_done(t, keep, "status", "");
	}
	ac_client_free(keep);
}

static void garbage(void **state)
{
	static const char good[] = "{\"jsonrpc\": \"2.0\", \"id\": 3, \"method\": \"vf.set\", \"params\": "
				   "{\"pf\": \"pf0\", \"vf\": 1, "
				   "\"vlan\": {\"mode\": \"access\", \"vid\": 5}, \"mtu\": 1400}}";
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);

	ac_populate(t, c);
	srand(7);
	for (int i = 0; i < 3000; i++) {
		char line[sizeof(good) + 1];
		size_t n = strlen(good);
		json_t *reply;

		memcpy(line, good, n);
		for (int k = rand() % 4; k >= 0; k--)
			line[(size_t)rand() % n] = (char)(rand() % 255 + 1);
		n -= (size_t)(rand() % 10 ? 0 : rand() % (int)n);
		for (size_t k = 0; k < n; k++)
			if (line[k] == '\n')
				line[k] = ' ';
		line[n] = '\n';
		ac_put(t, c, line, n + 1);
		/* Some have lost their id and get no reply: the next request tells. */
		do {
			ac_put_text(
				t, c,
				"{\"jsonrpc\": \"2.0\", \"id\": \"sync\", \"method\": \"fabric.list\"}\n");
			do
				reply = ac_get(t, c);
			while (json_is_object(reply) && !json_is_string(json_object_get(reply, "id")) &&
			       (json_decref(reply), 1));
		} while (0);
		assert_non_null(json_object_get(reply, "id"));
		json_decref(reply);
	}
	ac_client_free(c);
}

static json_t *get_event(struct ac_env *t, struct ac_client *c, const char *topic, const char *event)
{
	json_t *message = ac_get(t, c), *params = json_incref(json_object_get(message, "params"));

	assert_string_equal(ac_text(message, "method"), "event");
	assert_null(json_object_get(message, "id"));
	assert_string_equal(ac_text(params, "topic"), topic);
	assert_string_equal(ac_text(params, "event"), event);
	assert_int_equal(strlen(ac_text(params, "time")), strlen("2026-01-01T00:00:00.000Z"));
	assert_true(ac_text(params, "text")[0]);
	json_decref(message);
	return params;
}

static void events(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t), *all = ac_client_new(t), *some = ac_client_new(t);
	json_t *e;

	ac_done(t, all, "events.subscribe", "");
	ac_done(t, some, "events.subscribe", "\"topics\": [\"link\", \"pf\"]");
	ac_populate(t, c);
	e = get_event(t, all, "fabric", "added");
	assert_string_equal(ac_text(e, "fabric"), "f0");
	json_decref(e);
	e = get_event(t, all, "pf", "added");
	assert_string_equal(ac_text(e, "pf"), "pf0");
	assert_null(json_object_get(e, "vf"));
	json_decref(e);
	json_decref(get_event(t, some, "pf", "added"));
	ac_done(t, c, "vf.set", "\"pf\": \"pf0\", \"vf\": 1, \"vlan\": {\"mode\": \"access\", \"vid\": 5}");
	e = get_event(t, all, "function", "changed");
	assert_int_equal(ac_number(e, "vf"), 1);
	assert_int_equal(ac_number(json_object_get(json_object_get(e, "changed"), "vlan"), "vid"), 5);
	json_decref(e);
	model_dataplane_events.link_changed(t->model, "pf0", 0, false);
	e = get_event(t, some, "link", "down");
	assert_true(json_is_null(json_object_get(e, "vf"))); /* the PF itself */
	json_decref(e);

	ac_done(t, some, "events.unsubscribe", "\"topics\": [\"link\"]");
	model_dataplane_events.link_changed(t->model, "pf0", 0, true);
	ac_done(t, some, "status", ""); /* nothing came before the reply */
	ac_done(t, some, "events.subscribe", "\"topics\": [\"ring\"]");
	model_dataplane_events.ring_error(t->model, "pf0", 2, 1, "not \xff UTF-8");
	e = get_event(t, some, "ring", "error");
	assert_int_equal(ac_number(e, "vf"), 1);
	json_decref(e);
	ac_done(t, some, "events.unsubscribe", "");
	ac_done(t, c, "pf.del", "\"name\": \"pf0\"");
	ac_done(t, some, "status", "");
	ac_client_free(c);
	ac_client_free(all);
	ac_client_free(some);
}

static void stalled_subscriber(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t), *stalled = ac_client_new(t), *reader = ac_client_new(t);
	unsigned int n = 0;

	ac_populate(t, c);
	ac_done(t, stalled, "events.subscribe", "");
	ac_done(t, reader, "events.subscribe", "");
	while (api_server_topics(t->server) && n < 200000) {
		model_dataplane_events.link_changed(t->model, "pf0", 1, n++ & 1);
		if (n % 100 == 0) {
			ac_settle(t);
			for (int i = 0; i < 100; i++)
				json_decref(get_event(t, reader, "link", i & 1 ? "up" : "down"));
			if (recv(stalled->fd, &(char){0}, 1, MSG_PEEK) > 0 && n * 150 > 2 * API_OUTPUT_MAX)
				break;
		}
	}
	ac_settle(t);
	/* It has what the socket held, and then the end. */
	for (;;) {
		int r = ac_take(stalled);

		if (r < 0)
			break;
		assert_int_equal(r, 1); /* not: still connected, with nothing to read */
	}
	ac_done(t, c, "status", "");
	model_dataplane_events.link_changed(t->model, "pf0", 1, true);
	json_decref(get_event(t, reader, "link", "up"));
	ac_client_free(c);
	ac_client_free(stalled);
	ac_client_free(reader);
}

static void socket_of_the_server(void **state)
{
	struct ac_env *t = *state;
	struct api_server *second = NULL;
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct ac_client *c;
	struct stat st;
	int fd;

	assert_int_equal(stat(t->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(ac_listen_at(t, api_methods, &second, NULL), -EADDRINUSE);
	c = ac_client_new(t);
	ac_done(t, c, "status", ""); /* unharmed */
	ac_client_free(c);

	/* What a dead daemon has left behind is replaced; what is no socket is not. */
	api_server_free(t->server);
	t->server = NULL;
	snprintf(un.sun_path, sizeof(un.sun_path), "%.107s", t->path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	close(fd);
	assert_int_equal(ac_listen_at(t, api_methods, &t->server, NULL), 0);
	c = ac_client_new(t);
	ac_done(t, c, "status", "");
	ac_client_free(c);
	api_server_free(t->server);
	t->server = NULL;
	scratch_write(t->path, "precious", 8);
	assert_int_equal(ac_listen_at(t, api_methods, &second, NULL), -EEXIST);
	assert_int_equal(access(t->path, F_OK), 0);
	assert_int_equal(unlink(t->path), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, ac_teardown)
	const struct CMUnitTest tests[] = {
		TEST(bad_requests),
		TEST(deep_nesting),
		TEST(ids),
		TEST(notifications),
		TEST(batches),
		TEST(in_pieces),
		TEST(half_closed),
		TEST(endless_line),
		TEST(too_many_clients),
		TEST(greedy_client),
		TEST(sudden_departures),
		TEST(garbage),
		TEST(events),
		TEST(stalled_subscriber),
		TEST(socket_of_the_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
