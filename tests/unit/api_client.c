/* SPDX-License-Identifier: Apache-2.0 */

#include "api_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int ac_listen_at(struct ac_env *t, const struct api_method *methods, struct api_server **ret, struct err *err)
{
	return api_server_new(&(struct api_server_config){.event = t->event,
							  .path = t->path,
							  .mode = 0640,
							  .group = (gid_t)-1,
							  .methods = methods,
							  .env = &t->env,
							  .deferred_us = t->deferred_us},
			      ret, err);
}

int ac_setup(void **state, const struct api_method *methods, uint64_t deferred_us)
{
	struct ac_env *t = calloc(1, sizeof(*t));
	struct model_config config;

	assert_non_null(t);
	t->deferred_us = deferred_us;
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
	assert_int_equal(ac_listen_at(t, methods, &t->server, NULL), 0);
	model_listen(t->model, api_on_model_event, t->server);
	*state = t;
	return 0;
}

int ac_teardown(void **state)
{
	struct ac_env *t = *state;

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

struct ac_client *ac_client_new(struct ac_env *t)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct ac_client *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	snprintf(un.sun_path, sizeof(un.sun_path), "%.107s", t->path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(c->fd, (struct sockaddr *)&un, sizeof(un)), 0);
	return c;
}

void ac_client_free(struct ac_client *c)
{
	close(c->fd);
	free(c->in);
	free(c);
}

void ac_run(struct ac_env *t)
{
	if (sd_event_run(t->event, AC_PATIENCE_US) == 0)
		fail_msg("nothing has happened for too long");
}

void ac_settle(struct ac_env *t)
{
	while (sd_event_run(t->event, 0) > 0)
		;
}

void ac_put(struct ac_env *t, struct ac_client *c, const void *data, size_t size)
{
	const char *p = data;

	while (size) {
		ssize_t n = send(c->fd, p, size, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			ac_run(t);
			continue;
		}
		assert_true(n > 0);
		p += n;
		size -= (size_t)n;
	}
}

void ac_put_text(struct ac_env *t, struct ac_client *c, const char *text)
{
	ac_put(t, c, text, strlen(text));
}

int ac_take(struct ac_client *c)
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

json_t *ac_get(struct ac_env *t, struct ac_client *c)
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
		r = ac_take(c);
		if (r < 0)
			return NULL;
		if (!r)
			ac_run(t);
	}
}

json_t *ac_ask_text(struct ac_env *t, struct ac_client *c, const char *text)
{
	ac_put_text(t, c, text);
	ac_put_text(t, c, "\n");
	return ac_get(t, c);
}

json_t *ac_ask(struct ac_env *t, struct ac_client *c, const char *method, const char *json)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "{\"jsonrpc\": \"2.0\", \"id\": 7, \"method\": \"%s\", \"params\": {%s}}", method, json);
	return ac_ask_text(t, c, text);
}

json_t *ac_result(struct ac_env *t, struct ac_client *c, const char *method, const char *json)
{
	json_t *reply = ac_ask(t, c, method, json), *r = json_incref(json_object_get(reply, "result"));

	if (!r)
		fail_msg("%s {%s}: %s", method, json,
			 json_string_value(json_object_get(json_object_get(reply, "error"), "message")));
	assert_int_equal(json_integer_value(json_object_get(reply, "id")), 7);
	assert_string_equal(json_string_value(json_object_get(reply, "jsonrpc")), "2.0");
	json_decref(reply);
	return r;
}

void ac_done(struct ac_env *t, struct ac_client *c, const char *method, const char *json)
{
	json_decref(ac_result(t, c, method, json));
}

void ac_check_error(json_t *reply, int code, const char *field)
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

void ac_refused(struct ac_env *t, struct ac_client *c, const char *method, const char *json, int code,
		const char *field)
{
	ac_check_error(ac_ask(t, c, method, json), code, field);
}

json_int_t ac_number(const json_t *o, const char *name)
{
	assert_true(json_is_integer(json_object_get(o, name)));
	return json_integer_value(json_object_get(o, name));
}

const char *ac_text(const json_t *o, const char *name)
{
	assert_true(json_is_string(json_object_get(o, name)));
	return json_string_value(json_object_get(o, name));
}

void ac_populate(struct ac_env *t, struct ac_client *c)
{
	ac_done(t, c, "fabric.add", "\"name\": \"f0\", \"uplink\": {\"type\": \"tap\", \"name\": \"tap0\"}");
	ac_done(t, c, "pf.add",
		"\"name\": \"pf0\", \"fabric\": \"f0\", \"vfs\": 2, \"mac\": \"02:00:00:00:00:10\"");
}
