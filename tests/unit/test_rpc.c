/* SPDX-License-Identifier: Apache-2.0 */

/* The API's protocol: requests, batches, events, replies that come later; clients that misbehave. */

#include <sys/stat.h>

#include "api_client.h"

/* Calls of the method "later" that wait for their reply. */
static struct api_call *deferred[RPC_DEFERRED_MAX];
static unsigned int deferred_n;

static int method_later(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	int r = api_call_defer(call, err);

	(void)params;
	(void)ret;
	if (r < 0)
		return r;
	deferred[deferred_n++] = call;
	return RPC_DEFERRED;
}

static int method_never(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	(void)params;
	(void)ret;
	assert_int_equal(api_call_defer(call, err), 0);
	return err_set(err, EREMOTEIO, NULL, "on second thoughts");
}

static int method_now(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	(void)call;
	(void)params;
	(void)err;
	*ret = json_string("now");
	return 0;
}

static const struct json_field no_params[] = {{0}};
static const struct api_method own_methods[] = {
	{"later", no_params, true, method_later, "", ""},
	{"never", no_params, true, method_never, "", ""},
	{"now", no_params, false, method_now, "", ""},
	{0},
};

static int setup(void **state)
{
	return setup_with(state, api_methods);
}

static int setup_own(void **state)
{
	deferred_n = 0;
	return setup_with(state, own_methods);
}

/* Protocol */

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
	struct fixture *t = *state;
	struct client *c = client_new(t);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_error(ask_text(t, c, cases[i].text), cases[i].code, cases[i].field);
	done(t, c, "status", "");
	client_free(c);
}

static void deep_nesting(void **state)
{
	struct fixture *t = *state;
	struct client *c = client_new(t);
	size_t n = API_LINE_MAX - 1;
	char *deep = malloc(n + 2), line[2 * RPC_DEPTH_MAX + 1];
	json_t *reply;

	memset(deep, '[', n);
	strcpy(deep + n, "\n");
	put(t, c, deep, n + 1);
	check_error(get(t, c), -32600, NULL);
	/* As deep as allowed: not refused for it, but for what it is. */
	memset(line, '[', RPC_DEPTH_MAX);
	memset(line + RPC_DEPTH_MAX, ']', RPC_DEPTH_MAX);
	line[2 * RPC_DEPTH_MAX] = '\0';
	reply = ask_text(t, c, line);
	assert_true(json_is_array(reply));
	json_decref(reply);
	/* Brackets in a string are text. */
	deep[0] = '"';
	deep[n - 1] = '"';
	put(t, c, deep, n + 1);
	check_error(get(t, c), -32600, NULL);
	free(deep);
	done(t, c, "status", "");
	client_free(c);
}

static void ids(void **state)
{
	static const char *const values[] = {"1", "-5", "1.5", "\"x\"", "null", "0"};
	struct fixture *t = *state;
	struct client *c = client_new(t);

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		json_t *reply, *id = json_loads(values[i], JSON_DECODE_ANY, NULL);
		char line[128];

		snprintf(line, sizeof(line), "{\"jsonrpc\": \"2.0\", \"id\": %s, \"method\": \"pf.list\"}",
			 values[i]);
		reply = ask_text(t, c, line);
		assert_true(json_equal(json_object_get(reply, "id"), id));
		assert_non_null(json_object_get(reply, "result"));
		json_decref(reply);
		json_decref(id);
	}
	client_free(c);
}

/* Requests without an id are done, and never answered, whatever comes of them. */
static void notifications(void **state)
{
	struct fixture *t = *state;
	struct client *c = client_new(t);
	json_t *o;

	put_text(t, c,
		 "{\"jsonrpc\": \"2.0\", \"method\": \"fabric.add\", \"params\": {\"name\": \"quiet\"}}\n");
	put_text(t, c,
		 "{\"jsonrpc\": \"2.0\", \"method\": \"fabric.add\", \"params\": {\"name\": \"quiet\"}}\n");
	put_text(t, c, "{\"jsonrpc\": \"2.0\", \"method\": \"nope\"}\n");
	put_text(t, c, "[{\"jsonrpc\": \"2.0\", \"method\": \"status\"}]\n\n  \r\n");
	o = result(t, c, "fabric.list", ""); /* the first thing to be answered */
	assert_int_equal(json_array_size(o), 1);
	json_decref(o);
	client_free(c);
}

static void batches(void **state)
{
	struct fixture *t = *state;
	struct client *c = client_new(t);
	char *line, *p;
	json_t *list;

	list = ask_text(t, c,
			"[{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"fabric.add\", \"params\": "
			"{\"name\": \"b0\"}}, 5, "
			"{\"jsonrpc\": \"2.0\", \"method\": \"fabric.add\", \"params\": {\"name\": \"b1\"}}, "
			"{\"jsonrpc\": \"2.0\", \"id\": 2, \"method\": \"fabric.list\"}]");
	assert_int_equal(json_array_size(list), 3);
	assert_int_equal(number(json_array_get(list, 0), "id"), 1);
	check_error(json_incref(json_array_get(list, 1)), -32600, NULL);
	assert_int_equal(json_array_size(json_object_get(json_array_get(list, 2), "result")), 2);
	json_decref(list);

	line = p = malloc((RPC_BATCH_MAX + 1) * 64);
	for (int i = 0; i <= RPC_BATCH_MAX; i++)
		p += sprintf(p, "%c{\"jsonrpc\": \"2.0\", \"id\": %d, \"method\": \"pf.list\"}",
			     i ? ',' : '[', i);
	strcpy(p, "]");
	check_error(ask_text(t, c, line), -32600, NULL);
	p = strrchr(line, '{');
	strcpy(p - 1, "]"); /* one less */
	list = ask_text(t, c, line);
	assert_int_equal(json_array_size(list), RPC_BATCH_MAX);
	json_decref(list);
	free(line);
	client_free(c);
}

static void in_pieces(void **state)
{
	static const char request[] = "{\"jsonrpc\": \"2.0\", \"id\": 3, \"method\": \"status\"}\n";
	struct fixture *t = *state;
	struct client *c = client_new(t);

	for (const char *p = request; *p; p++) {
		put(t, c, p, 1);
		settle(t);
	}
	json_decref(get(t, c));
	/* Many in one piece: all are answered, and another client does not wait for the last. */
	for (int i = 0; i < 100; i++)
		put_text(t, c, request);
	for (int i = 0; i < 100; i++) {
		json_t *reply = get(t, c);

		assert_int_equal(number(reply, "id"), 3);
		json_decref(reply);
	}
	client_free(c);
}

static void half_closed(void **state)
{
	struct fixture *t = *state;
	struct client *c = client_new(t);
	json_t *reply;

	put_text(t, c, "{\"jsonrpc\": \"2.0\", \"id\": 3, \"method\": \"status\"}\n");
	put_text(t, c, "{\"jsonrpc\": \"2.0\", \"id\": 4, \"method\": \"status\"}"); /* without its newline */
	assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
	reply = get(t, c);
	assert_int_equal(number(reply, "id"), 3);
	json_decref(reply);
	reply = get(t, c);
	assert_int_equal(number(reply, "id"), 4);
	json_decref(reply);
	assert_null(get(t, c));
	client_free(c);
}

static void endless_line(void **state)
{
	struct fixture *t = *state;
	struct client *c = client_new(t), *other = client_new(t);
	char *line = malloc(API_LINE_MAX + 2);

	memset(line, ' ', API_LINE_MAX + 1);
	put(t, c, line, API_LINE_MAX);
	settle(t);
	done(t, other, "status", "");
	put(t, c, line, 1);
	check_error(get(t, c), -32600, NULL);
	assert_null(get(t, c));
	client_free(c);

	/* The longest line that is taken. */
	c = client_new(t);
	memcpy(line, "{\"jsonrpc\": \"2.0\", \"id\": 3, \"method\": \"status\"}", 48);
	line[API_LINE_MAX] = '\n';
	put(t, c, line, API_LINE_MAX + 1);
	json_decref(get(t, c));
	client_free(c);
	client_free(other);
	free(line);
}

static void too_many_clients(void **state)
{
	struct fixture *t = *state;
	struct client *clients[API_CLIENTS_MAX + 1];

	for (int i = 0; i <= API_CLIENTS_MAX; i++) {
		clients[i] = client_new(t);
		settle(t);
	}
	check_error(get(t, clients[API_CLIENTS_MAX]), -32000 - EBUSY, NULL);
	assert_null(get(t, clients[API_CLIENTS_MAX]));
	client_free(clients[API_CLIENTS_MAX]);
	done(t, clients[0], "status", "");
	client_free(clients[0]);
	settle(t);
	clients[0] = client_new(t);
	for (int i = 0; i < API_CLIENTS_MAX; i++) {
		done(t, clients[i], "status", "");
		client_free(clients[i]);
	}
}

/* Requests that never end, from a client that reads no reply: it waits, the others do not. */
static void greedy_client(void **state)
{
	static const char request[] = "{\"jsonrpc\": \"2.0\", \"id\": 3, \"method\": \"help\"}\n";
	struct fixture *t = *state;
	struct client *c = client_new(t), *other = client_new(t);
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
	done(t, other, "status", "");
	/* Once it reads, it gets all it has asked for. */
	for (; got < sent; got++)
		json_decref(get(t, c));
	put(t, c, request + offset, strlen(request) - offset);
	json_decref(get(t, c));
	client_free(c);
	client_free(other);
}

static void sudden_departures(void **state)
{
	struct fixture *t = *state;
	struct client *keep = client_new(t);

	for (int i = 0; i < 200; i++) {
		struct client *c = client_new(t);

		if (i & 1)
			put_text(t, c, "{\"jsonrpc\": \"2.0\", \"id\": 3, \"method\": \"help\"}\n{\"half");
		if (i & 2)
			settle(t);
		if (i & 4)
			put_text(t, c,
				 "{\"jsonrpc\": \"2.0\", \"id\": 3, \"method\": \"events.subscribe\"}\n");
		client_free(c);
		done(t, keep, "status", "");
	}
	client_free(keep);
}

static void garbage(void **state)
{
	static const char good[] = "{\"jsonrpc\": \"2.0\", \"id\": 3, \"method\": \"vf.set\", \"params\": "
				   "{\"pf\": \"pf0\", \"vf\": 1, "
				   "\"vlan\": {\"mode\": \"access\", \"vid\": 5}, \"mtu\": 1400}}";
	struct fixture *t = *state;
	struct client *c = client_new(t);

	populate(t, c);
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
		put(t, c, line, n + 1);
		/* Some have lost their id and get no reply: the next request tells. */
		do {
			put_text(t, c,
				 "{\"jsonrpc\": \"2.0\", \"id\": \"sync\", \"method\": \"fabric.list\"}\n");
			do
				reply = get(t, c);
			while (json_is_object(reply) && !json_is_string(json_object_get(reply, "id")) &&
			       (json_decref(reply), 1));
		} while (0);
		assert_non_null(json_object_get(reply, "id"));
		json_decref(reply);
	}
	client_free(c);
}

/* Events */

static json_t *get_event(struct fixture *t, struct client *c, const char *topic, const char *event)
{
	json_t *message = get(t, c), *params = json_incref(json_object_get(message, "params"));

	assert_string_equal(text(message, "method"), "event");
	assert_null(json_object_get(message, "id"));
	assert_string_equal(text(params, "topic"), topic);
	assert_string_equal(text(params, "event"), event);
	assert_int_equal(strlen(text(params, "time")), strlen("2026-01-01T00:00:00.000Z"));
	assert_true(text(params, "text")[0]);
	json_decref(message);
	return params;
}

static void events(void **state)
{
	struct fixture *t = *state;
	struct client *c = client_new(t), *all = client_new(t), *some = client_new(t);
	json_t *e;

	done(t, all, "events.subscribe", "");
	done(t, some, "events.subscribe", "\"topics\": [\"link\", \"pf\"]");
	populate(t, c);
	e = get_event(t, all, "fabric", "added");
	assert_string_equal(text(e, "fabric"), "f0");
	json_decref(e);
	e = get_event(t, all, "pf", "added");
	assert_string_equal(text(e, "pf"), "pf0");
	assert_null(json_object_get(e, "vf"));
	json_decref(e);
	json_decref(get_event(t, some, "pf", "added"));
	done(t, c, "vf.set", "\"pf\": \"pf0\", \"vf\": 1, \"vlan\": {\"mode\": \"access\", \"vid\": 5}");
	e = get_event(t, all, "function", "changed");
	assert_int_equal(number(e, "vf"), 1);
	assert_int_equal(number(json_object_get(json_object_get(e, "changed"), "vlan"), "vid"), 5);
	json_decref(e);
	model_dataplane_events.link_changed(t->model, "pf0", 0, false);
	e = get_event(t, some, "link", "down");
	assert_true(json_is_null(json_object_get(e, "vf"))); /* the PF itself */
	json_decref(e);

	done(t, some, "events.unsubscribe", "\"topics\": [\"link\"]");
	model_dataplane_events.link_changed(t->model, "pf0", 0, true);
	done(t, some, "status", ""); /* nothing came before the reply */
	done(t, some, "events.subscribe", "\"topics\": [\"ring\"]");
	model_dataplane_events.ring_error(t->model, "pf0", 2, 1, "not \xff UTF-8");
	e = get_event(t, some, "ring", "error");
	assert_int_equal(number(e, "vf"), 1);
	json_decref(e);
	done(t, some, "events.unsubscribe", "");
	done(t, c, "pf.del", "\"name\": \"pf0\"");
	done(t, some, "status", "");
	client_free(c);
	client_free(all);
	client_free(some);
}

static void stalled_subscriber(void **state)
{
	struct fixture *t = *state;
	struct client *c = client_new(t), *stalled = client_new(t), *reader = client_new(t);
	unsigned int n = 0;

	populate(t, c);
	done(t, stalled, "events.subscribe", "");
	done(t, reader, "events.subscribe", "");
	while (api_server_topics(t->server) && n < 200000) {
		model_dataplane_events.link_changed(t->model, "pf0", 1, n++ & 1);
		if (n % 100 == 0) {
			settle(t);
			for (int i = 0; i < 100; i++)
				json_decref(get_event(t, reader, "link", i & 1 ? "up" : "down"));
			if (recv(stalled->fd, &(char){0}, 1, MSG_PEEK) > 0 && n * 150 > 2 * API_OUTPUT_MAX)
				break;
		}
	}
	settle(t);
	/* It has what the socket held, and then the end. */
	for (;;) {
		int r = take(stalled);

		if (r < 0)
			break;
		assert_int_equal(r, 1); /* not: still connected, with nothing to read */
	}
	done(t, c, "status", "");
	model_dataplane_events.link_changed(t->model, "pf0", 1, true);
	json_decref(get_event(t, reader, "link", "up"));
	client_free(c);
	client_free(stalled);
	client_free(reader);
}

/* Replies that come later */

static const char later[] = "{\"jsonrpc\": \"2.0\", \"id\": \"later\", \"method\": \"later\"}";

static void deferred_replies(void **state)
{
	struct fixture *t = *state;
	struct client *c = client_new(t);
	struct err err = {.code = ENODEV, .field = "bus", .text = "no such bus"};
	json_t *reply;

	put_text(t, c, later);
	put_text(t, c, "\n");
	done(t, c, "now", ""); /* overtakes it */
	assert_int_equal(deferred_n, 1);
	api_deferred_done(deferred[0], json_true(), NULL);
	reply = get(t, c);
	assert_string_equal(text(reply, "id"), "later");
	assert_true(json_is_true(json_object_get(reply, "result")));
	json_decref(reply);

	deferred_n = 0;
	put_text(t, c, later);
	put_text(t, c, "\n");
	done(t, c, "now", "");
	api_deferred_done(deferred[0], NULL, &err);
	check_error(get(t, c), -32000 - ENODEV, "bus");

	refused(t, c, "never", "", -32000 - EREMOTEIO, NULL);
	client_free(c);
}

static void deferred_in_batch(void **state)
{
	struct fixture *t = *state;
	struct client *c = client_new(t);
	json_t *list;
	char line[512];

	snprintf(line, sizeof(line), "[%s, {\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"now\"}, %s]\n",
		 later, later);
	put_text(t, c, line);
	done(t, c, "now", "");
	assert_int_equal(deferred_n, 2);
	api_deferred_done(deferred[1], json_integer(2), NULL);
	done(t, c, "now", "");
	api_deferred_done(deferred[0], json_integer(1), NULL);
	list = get(t, c);
	assert_int_equal(json_array_size(list), 3);
	json_decref(list);
	client_free(c);
}

static void deferred_too_long(void **state)
{
	struct fixture *t = *state;
	struct client *c = client_new(t);

	check_error(ask_text(t, c, later), -32000 - ETIMEDOUT, NULL);
	api_deferred_done(deferred[0], json_true(), NULL); /* heard by nobody */
	done(t, c, "now", "");
	client_free(c);
}

static void deferred_and_gone(void **state)
{
	struct fixture *t = *state;
	struct client *c = client_new(t), *other = client_new(t);

	put_text(t, c, later);
	put_text(t, c, "\n");
	settle(t);
	assert_int_equal(deferred_n, 1);
	client_free(c);
	settle(t);
	api_deferred_done(deferred[0], json_true(), NULL);
	done(t, other, "now", "");

	/* Half closed, it still gets the reply, and then the end. */
	deferred_n = 0;
	c = client_new(t);
	put_text(t, c, later);
	assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
	while (!deferred_n)
		run(t);
	api_deferred_done(deferred[0], json_true(), NULL);
	json_decref(get(t, c));
	assert_null(get(t, c));
	client_free(c);
	client_free(other);
}

static void deferred_limit(void **state)
{
	struct fixture *t = *state;
	struct client *c = client_new(t);

	for (int i = 0; i < RPC_DEFERRED_MAX; i++) {
		put_text(t, c, later);
		put_text(t, c, "\n");
	}
	while (deferred_n < RPC_DEFERRED_MAX)
		run(t);
	check_error(ask_text(t, c, later), -32000 - EBUSY, NULL);
	for (int i = 0; i < RPC_DEFERRED_MAX; i++)
		api_deferred_done(deferred[i], json_true(), NULL);
	client_free(c);
}

/* Socket */

static void socket_of_the_server(void **state)
{
	struct fixture *t = *state;
	struct api_server *second = NULL;
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct client *c;
	struct stat st;
	int fd;

	assert_int_equal(stat(t->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(listen_at(t, api_methods, &second, NULL), -EADDRINUSE);
	c = client_new(t);
	done(t, c, "status", ""); /* unharmed */
	client_free(c);

	/* What a dead daemon has left behind is replaced; what is no socket is not. */
	api_server_free(t->server);
	t->server = NULL;
	snprintf(un.sun_path, sizeof(un.sun_path), "%.107s", t->path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	close(fd);
	assert_int_equal(listen_at(t, api_methods, &t->server, NULL), 0);
	c = client_new(t);
	done(t, c, "status", "");
	client_free(c);
	api_server_free(t->server);
	t->server = NULL;
	scratch_write(t->path, "precious", 8);
	assert_int_equal(listen_at(t, api_methods, &second, NULL), -EEXIST);
	assert_int_equal(access(t->path, F_OK), 0);
	assert_int_equal(unlink(t->path), 0);
}

int main(void)
{
#define TEST(f)     cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TEST_OWN(f) cmocka_unit_test_setup_teardown(f, setup_own, teardown)
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
		TEST_OWN(deferred_replies),
		TEST_OWN(deferred_in_batch),
		TEST_OWN(deferred_too_long),
		TEST_OWN(deferred_and_gone),
		TEST_OWN(deferred_limit),
		TEST(socket_of_the_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
