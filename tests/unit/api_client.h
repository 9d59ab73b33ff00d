/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The API over its real socket, a model and a data plane that only remembers; and its clients. Server and
 * clients share the thread: waiting for a reply runs the server's loop. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-event.h>

#include "api/env.h"
#include "api/moves.h"
#include "api/server.h"
#include "fake_dataplane.h"
#include "qemu/pf_qemu.h"
#include "scratch_dir.h"

#ifndef DEFERRED_US
#define DEFERRED_US 20000
#endif
#define PATIENCE_US 5000000

struct fixture {
	struct scratch scratch;
	char state_dir[256], path[256];
	sd_event *event;
	struct fake_dataplane dp;
	struct model *model;
	struct pf_qemu *qemu;
	struct moves *moves;
	struct api_env env;
	struct api_server *server;
};

struct client {
	int fd;
	char *in;
	size_t size, room;
};

static inline int listen_at(struct fixture *t, const struct api_method *methods, struct api_server **ret,
			    struct err *err)
{
	return api_server_new(&(struct api_server_config){.event = t->event,
							  .path = t->path,
							  .mode = 0640,
							  .group = (gid_t)-1,
							  .methods = methods,
							  .env = &t->env,
							  .deferred_us = DEFERRED_US},
			      ret, err);
}

static inline int setup_with(void **state, const struct api_method *methods)
{
	struct fixture *t = calloc(1, sizeof(*t));
	struct model_config config;

	assert_non_null(t);
	log_set_level((enum log_level)0);
	scratch_make(&t->scratch);
	scratch_path(&t->scratch, "state", t->state_dir);
	scratch_path(&t->scratch, "vpfd.sock", t->path);
	assert_true(sd_event_new(&t->event) >= 0);
	fake_dp_init(&t->dp);
	config = (struct model_config){.event = t->event,
				       .state_dir = t->state_dir,
				       .run_dir = t->scratch.path,
				       .socket_group = UINT32_MAX};
	assert_int_equal(model_new(&config, &t->model, NULL), 0);
	assert_int_equal(model_load(t->model, &fake_dp_ops, &t->dp, NULL), 0);
	assert_int_equal(pf_qemu_new(t->event, t->model, &t->qemu, NULL), 0);
	assert_int_equal(moves_new(t->event, t->model, &t->moves), 0);
	t->env = (struct api_env){.model = t->model, .qemu = t->qemu, .moves = t->moves};
	assert_int_equal(listen_at(t, methods, &t->server, NULL), 0);
	model_listen(t->model, api_on_model_event, t->server);
	*state = t;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *t = *state;

	pf_qemu_free(t->qemu);
	moves_free(t->moves);
	model_free(t->model);
	api_server_free(t->server);
	assert_int_equal(access(t->path, F_OK), -1);
	fake_dp_destroy(&t->dp);
	sd_event_unref(t->event);
	scratch_remove(&t->scratch);
	free(t);
	return 0;
}

static inline struct client *client_new(struct fixture *t)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct client *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	snprintf(un.sun_path, sizeof(un.sun_path), "%.107s", t->path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(c->fd, (struct sockaddr *)&un, sizeof(un)), 0);
	return c;
}

static inline void client_free(struct client *c)
{
	close(c->fd);
	free(c->in);
	free(c);
}

static inline void run(struct fixture *t)
{
	if (sd_event_run(t->event, PATIENCE_US) == 0)
		fail_msg("nothing has happened for too long");
}

/* Lets the server do all there is to do at once. */
static inline void settle(struct fixture *t)
{
	while (sd_event_run(t->event, 0) > 0)
		;
}

static inline void put(struct fixture *t, struct client *c, const void *data, size_t size)
{
	const char *p = data;

	while (size) {
		ssize_t n = send(c->fd, p, size, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			run(t);
			continue;
		}
		assert_true(n > 0);
		p += n;
		size -= (size_t)n;
	}
}

static inline void put_text(struct fixture *t, struct client *c, const char *text)
{
	put(t, c, text, strlen(text));
}

/* 1: some bytes have come, 0: none now, -1: the connection is at its end. */
static inline int take(struct client *c)
{
	ssize_t n;

	if (c->room - c->size < 65536) {
		c->room = 2 * c->room + 65536;
		c->in = realloc(c->in, c->room);
		assert_non_null(c->in);
	}
	n = recv(c->fd, c->in + c->size, c->room - c->size, 0);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0)
		return -1;
	c->size += (size_t)n;
	return 1;
}

/* The next message; NULL: the connection has ended without one. */
static inline json_t *get(struct fixture *t, struct client *c)
{
	for (;;) {
		char *end = c->size ? memchr(c->in, '\n', c->size) : NULL;
		int r;

		if (end) {
			json_t *message = json_loadb(c->in, (size_t)(end - c->in), 0, NULL);

			assert_non_null(message);
			c->size -= (size_t)(end + 1 - c->in);
			memmove(c->in, end + 1, c->size);
			return message;
		}
		r = take(c);
		if (r < 0)
			return NULL;
		if (!r)
			run(t);
	}
}

static inline json_t *ask_text(struct fixture *t, struct client *c, const char *text)
{
	put_text(t, c, text);
	put_text(t, c, "\n");
	return get(t, c);
}

/* `json`: the members of params. */
static inline json_t *ask(struct fixture *t, struct client *c, const char *method, const char *json)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "{\"jsonrpc\": \"2.0\", \"id\": 7, \"method\": \"%s\", \"params\": {%s}}", method, json);
	return ask_text(t, c, text);
}

/* The result, to be given up; fails on an error. */
static inline json_t *result(struct fixture *t, struct client *c, const char *method, const char *json)
{
	json_t *reply = ask(t, c, method, json), *r = json_incref(json_object_get(reply, "result"));

	if (!r)
		fail_msg("%s {%s}: %s", method, json,
			 json_string_value(json_object_get(json_object_get(reply, "error"), "message")));
	assert_int_equal(json_integer_value(json_object_get(reply, "id")), 7);
	assert_string_equal(json_string_value(json_object_get(reply, "jsonrpc")), "2.0");
	json_decref(reply);
	return r;
}

static inline void done(struct fixture *t, struct client *c, const char *method, const char *json)
{
	json_decref(result(t, c, method, json));
}

/* Takes `reply`. `field` NULL: none is to be blamed. */
static inline void check_error(json_t *reply, int code, const char *field)
{
	const json_t *error = json_object_get(reply, "error");
	const char *said = json_string_value(json_object_get(json_object_get(error, "data"), "field"));
	const char *message = json_string_value(json_object_get(error, "message"));

	assert_non_null(error);
	assert_null(json_object_get(reply, "result"));
	assert_non_null(json_object_get(reply, "id"));
	assert_non_null(message);
	assert_int_equal(json_integer_value(json_object_get(error, "code")), code);
	if (field) {
		assert_non_null(said);
		assert_string_equal(said, field);
		assert_memory_equal(message, field, strlen(field));
	} else {
		assert_null(said);
	}
	json_decref(reply);
}

static inline void refused(struct fixture *t, struct client *c, const char *method, const char *json,
			   int code, const char *field)
{
	check_error(ask(t, c, method, json), code, field);
}

static inline json_int_t number(const json_t *o, const char *name)
{
	assert_true(json_is_integer(json_object_get(o, name)));
	return json_integer_value(json_object_get(o, name));
}

static const char *text(const json_t *o, const char *name)
{
	assert_true(json_is_string(json_object_get(o, name)));
	return json_string_value(json_object_get(o, name));
}

static inline void populate(struct fixture *t, struct client *c)
{
	done(t, c, "fabric.add", "\"name\": \"f0\", \"uplink\": {\"type\": \"tap\", \"name\": \"tap0\"}");
	done(t, c, "pf.add",
	     "\"name\": \"pf0\", \"fabric\": \"f0\", \"vfs\": 2, \"mac\": \"02:00:00:00:00:10\"");
}
