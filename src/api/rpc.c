/* SPDX-License-Identifier: Apache-2.0 */

#include "api/rpc.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-event.h>

#include "settings/json_build.h"
#include "util/log.h"

struct message {
	struct rpc *rpc;
	struct rpc_peer *peer; /* NULL: gone */
	struct message *next;
	bool batch;
	bool handling;        /* requests of it are yet to be handled */
	unsigned int pending; /* calls without their reply */
	char *text;           /* replies so far */
	size_t size, room;
	bool failed; /* out of memory for the reply */
};

struct api_call {
	struct rpc *rpc;
	struct message *message; /* NULL: answered */
	const struct api_method *method;
	json_t *id; /* NULL: a notification */
	pid_t pid;  /* of the caller */
	uid_t uid;
	bool deferred;
	enum rpc_defer kind;
	sd_event_source *timer;
};

struct rpc {
	sd_event *event;
	const struct api_method *methods;
	void *env;
	uint64_t deferred_us;
	unsigned int deferred[RPC_DEFERS];
	struct message *messages; /* with replies outstanding */
};

int rpc_new(const struct rpc_config *config, struct rpc **ret)
{
	struct rpc *rpc = malloc(sizeof(*rpc));

	if (!rpc)
		return -ENOMEM;
	*rpc = (struct rpc){
		.event = sd_event_ref(config->event),
		.methods = config->methods,
		.env = config->env,
		.deferred_us = config->deferred_us,
	};
	*ret = rpc;
	return 0;
}

void rpc_free(struct rpc *rpc)
{
	if (!rpc)
		return;
	assert(!rpc->deferred[RPC_DEFER_CHANGE] && !rpc->deferred[RPC_DEFER_WAIT]);
	sd_event_unref(rpc->event);
	free(rpc);
}

json_t *rpc_text(const char *text)
{
	json_t *s = json_string(text);
	char *ascii;

	if (s)
		return s;
	ascii = strdup(text);
	if (!ascii)
		return NULL;
	for (char *p = ascii; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	s = json_string(ascii);
	free(ascii);
	return s;
}

static int code_of(const struct err *err)
{
	return err->code == EINVAL ? RPC_INVALID_PARAMS : RPC_ERRNO_BASE - err->code;
}

/* Takes `id` (NULL: null). */
static char *error_text(json_t *id, int code, const struct err *err)
{
	char text[sizeof(err->field) + sizeof(err->text) + 2];
	const char *name = strerrorname_np(err->code);
	json_t *o, *data = json_object();
	char *s;

	snprintf(text, sizeof(text), "%s%s%s", err->field, err->field[0] ? ": " : "", err->text);
	if (err->field[0])
		json_put(&data, "field", rpc_text(err->field));
	if (err->code)
		json_put(&data, "errno", json_string(name ? name : "EIO"));
	o = json_pack("{s:s, s:o, s:{s:i, s:o, s:o}}", "jsonrpc", "2.0", "id", id ? id : json_null(), "error",
		      "code", code, "message", rpc_text(text), "data", data);
	s = json_text(o, JSON_COMPACT);
	json_decref(o);
	return s;
}

void rpc_refuse(struct rpc_peer *peer, enum rpc_code code, const struct err *err)
{
	_cleanup_free_ char *text = error_text(NULL, code, err);

	if (text)
		peer->send(peer, text, strlen(text));
}

/* Appends `s`; NULL: it could not be allocated. */
static void message_append(struct message *m, const char *s)
{
	size_t n = s ? strlen(s) : 0, need = m->size + n + 2;

	if (!s || m->failed) {
		m->failed = true;
		return;
	}
	if (need > m->room) {
		size_t room = MAX(need, 2 * m->room);
		char *text = realloc(m->text, room);

		if (!text) {
			m->failed = true;
			return;
		}
		m->text = text;
		m->room = room;
	}
	if (m->batch) {
		m->text[m->size] = m->size ? ',' : '[';
		m->size++;
	}
	memcpy(m->text + m->size, s, n);
	m->size += n;
}

static void message_unlink(struct message *m)
{
	for (struct message **p = &m->rpc->messages; *p; p = &(*p)->next)
		if (*p == m) {
			*p = m->next;
			return;
		}
}

/* Sends the replies once all are there, and forgets the message. */
static void message_settle(struct message *m)
{
	struct rpc_peer *peer = m->peer;

	if (m->handling || m->pending)
		return;
	message_unlink(m);
	if (peer) {
		peer->open--;
		if (m->failed) {
			log_error("out of memory for a reply to pid %d", (int)peer->pid);
			rpc_refuse(peer, RPC_INTERNAL_ERROR,
				   &(struct err){.code = ENOMEM, .text = "out of memory"});
		} else if (m->size) {
			if (m->batch)
				m->text[m->size++] = ']'; /* message_append() left room */
			peer->send(peer, m->text, m->size);
		}
	}
	free(m->text);
	free(m);
}

static void reply_error(struct message *m, const json_t *id, int code, const struct err *err)
{
	_cleanup_free_ char *text = error_text(id ? json_incref((json_t *)id) : NULL, code, err);

	message_append(m, text);
}

/* Takes `result`. */
static void reply_result(struct message *m, json_t *id, json_t *result)
{
	json_t *o = json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", id, "result", result);
	_cleanup_free_ char *text = json_text(o, JSON_COMPACT);

	json_decref(o);
	message_append(m, text);
}

static void log_call(const struct api_call *call, const struct err *err)
{
	if (err)
		log_info("%s by pid %d, uid %u: refused: %s%s%s", call->method->name, (int)call->pid,
			 (unsigned int)call->uid, err->field, err->field[0] ? ": " : "", err->text);
	else
		log_info("%s by pid %d, uid %u: done", call->method->name, (int)call->pid,
			 (unsigned int)call->uid);
}

/* The reply to a call, once. Takes `result`. */
static void call_answer(struct api_call *call, json_t *result, const struct err *err)
{
	struct message *m = call->message;

	if (call->method->changes)
		log_call(call, err);
	if (!call->id)
		json_decref(result);
	else if (err)
		reply_error(m, call->id, code_of(err), err);
	else
		reply_result(m, call->id, result);
	call->message = NULL;
	m->pending--;
	message_settle(m);
}

static void call_free(struct api_call *call)
{
	sd_event_source_disable_unref(call->timer);
	json_decref(call->id);
	free(call);
}

void *api_call_env(const struct api_call *call)
{
	return call->rpc->env;
}

struct rpc_peer *api_call_peer(const struct api_call *call)
{
	return call->message->peer;
}

const struct api_method *api_call_methods(const struct api_call *call)
{
	return call->rpc->methods;
}

static int on_deferred_timeout(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct api_call *call = ctx;
	struct err err;

	(void)source;
	(void)usec;
	err_set(&err, ETIMEDOUT, NULL, "%s timed out; it may still complete", call->method->name);
	call_answer(call, NULL, &err);
	return 0;
}

int api_call_defer(struct api_call *call, enum rpc_defer kind, struct err *err)
{
	struct rpc *rpc = call->rpc;
	int r;

	if (call->deferred)
		return 0;
	if (rpc->deferred[kind] >= RPC_DEFERRED_MAX)
		return err_set(err, EBUSY, NULL, "too many operations are in progress: try again later");
	r = sd_event_add_time_relative(rpc->event, &call->timer, CLOCK_MONOTONIC, rpc->deferred_us, 0,
				       on_deferred_timeout, call);
	if (r < 0)
		return err_set(err, -r, NULL, "cannot start a timer: %s", strerror(-r));
	call->deferred = true;
	call->kind = kind;
	rpc->deferred[kind]++;
	return 0;
}

void api_deferred_done(struct api_call *call, json_t *result, const struct err *err)
{
	call->rpc->deferred[call->kind]--;
	if (call->message)
		call_answer(call, result, err);
	else /* already answered: it timed out */
		json_decref(result);
	call_free(call);
}

/* A handler may fail, or succeed, after api_call_defer(): there is then no reply to give later. */
static void call_run(struct message *m, const struct api_method *method, const json_t *id,
		     const json_t *params)
{
	struct api_call *call = calloc(1, sizeof(*call));
	json_t *none = NULL, *result = NULL;
	struct err err = {0};
	int r;

	if (!call) {
		m->failed = true;
		return;
	}
	call->rpc = m->rpc;
	call->message = m;
	call->method = method;
	call->pid = m->peer->pid;
	call->uid = m->peer->uid;
	call->id = json_incref((json_t *)id);
	m->pending++;
	if (!params)
		params = none = json_object();

	r = json_fields_check(params, method->params, "", &err);
	if (!r)
		r = method->handle(call, params, &result, &err);
	json_decref(none);
	if (r == RPC_DEFERRED)
		return;
	if (r < 0 && !err.code)
		err_set(&err, -r, NULL, "%s failed: %s", method->name, strerror(-r));
	if (!r && !result)
		r = err_set(&err, ENOMEM, NULL, "out of memory");
	if (call->deferred)
		call->rpc->deferred[call->kind]--;
	call_answer(call, result, r < 0 ? &err : NULL);
	call_free(call);
}

static const struct api_method *method_find(const struct rpc *rpc, const char *name)
{
	for (const struct api_method *method = rpc->methods; method->name; method++)
		if (!strcmp(method->name, name))
			return method;
	return NULL;
}

static void refuse_request(struct message *m, const json_t *id, enum rpc_code code, const char *field,
			   const char *text)
{
	struct err err;

	err_set(&err, code == RPC_METHOD_NOT_FOUND ? ENOSYS : EINVAL, field, "%s", text);
	reply_error(m, id, code, &err);
}

/* One request object. A wrong envelope is answered even if the id is unknown. */
static void handle_request(struct message *m, const json_t *request)
{
	const json_t *id, *params, *version, *name;
	const struct api_method *method;
	const char *member;
	json_t *v;

	if (!json_is_object(request)) {
		refuse_request(m, NULL, RPC_INVALID_REQUEST, NULL, "a request must be a JSON object");
		return;
	}
	id = json_object_get(request, "id");
	params = json_object_get(request, "params");
	version = json_object_get(request, "jsonrpc");
	name = json_object_get(request, "method");
	if (id && !json_is_string(id) && !json_is_number(id) && !json_is_null(id)) {
		refuse_request(m, NULL, RPC_INVALID_REQUEST, "id", "must be a string, a number or null");
		return;
	}
	json_object_foreach ((json_t *)request, member, v) {
		if (v != id && v != params && v != version && v != name) {
			refuse_request(
				m, id, RPC_INVALID_REQUEST, NULL,
				"a request has the members jsonrpc, id, method and params, and no others");
			return;
		}
	}
	if (!json_is_string(version) || strcmp(json_string_value(version), "2.0")) {
		refuse_request(m, id, RPC_INVALID_REQUEST, "jsonrpc", "must be \"2.0\"");
		return;
	}
	if (!json_is_string(name)) {
		refuse_request(m, id, RPC_INVALID_REQUEST, "method", "must be the name of a method");
		return;
	}
	method = method_find(m->rpc, json_string_value(name));
	if (!method) {
		if (id)
			refuse_request(m, id, RPC_METHOD_NOT_FOUND, "method",
				       "there is no such method; \"help\" lists them");
		return;
	}
	if (params && !json_is_object(params)) {
		if (id)
			refuse_request(m, id, RPC_INVALID_PARAMS, "params",
				       "must be an object: parameters have names");
		return;
	}
	call_run(m, method, id, params);
}

static void handle_batch(struct message *m, const json_t *list)
{
	size_t i;
	json_t *request;

	m->batch = true;
	json_array_foreach ((json_t *)list, i, request) {
		if (m->size <= RPC_REPLY_SIZE_MAX) {
			handle_request(m, request);
			continue;
		}
		if (json_object_get(request, "id"))
			reply_error(
				m, json_object_get(request, "id"), RPC_ERRNO_BASE - EMSGSIZE,
				&(struct err){
					.code = EMSGSIZE,
					.text = "not executed: the replies to this batch are too long; send fewer requests at once"});
	}
}

/* Nesting depth of arrays and objects, without building them. */
static unsigned int depth_of(const char *text, size_t size)
{
	unsigned int depth = 0, deepest = 0;
	bool quoted = false;

	for (size_t i = 0; i < size; i++) {
		char c = text[i];

		if (quoted) {
			if (c == '\\')
				i++;
			else if (c == '"')
				quoted = false;
		} else if (c == '"') {
			quoted = true;
		} else if (c == '[' || c == '{') {
			depth++;
			deepest = MAX(deepest, depth);
		} else if ((c == ']' || c == '}') && depth) {
			depth--;
		}
	}
	return deepest;
}

void rpc_handle(struct rpc *rpc, struct rpc_peer *peer, const char *text, size_t size)
{
	struct err err = {.code = EINVAL};
	json_error_t where;
	struct message *m;
	json_t *json;

	if (depth_of(text, size) > RPC_DEPTH_MAX) {
		err_set(&err, EINVAL, NULL, "arrays and objects nest deeper than %d", RPC_DEPTH_MAX);
		rpc_refuse(peer, RPC_INVALID_REQUEST, &err);
		return;
	}
	json = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);
	if (!json) {
		err_set(&err, EINVAL, NULL, "not JSON: %s, at byte %d", where.text, where.position);
		rpc_refuse(peer, RPC_PARSE_ERROR, &err);
		return;
	}
	if (json_is_array(json) && (!json_array_size(json) || json_array_size(json) > RPC_BATCH_MAX)) {
		err_set(&err, EINVAL, NULL, "a batch must have 1 to %d requests", RPC_BATCH_MAX);
		rpc_refuse(peer, RPC_INVALID_REQUEST, &err);
		json_decref(json);
		return;
	}
	m = calloc(1, sizeof(*m));
	if (!m) {
		err_set(&err, ENOMEM, NULL, "out of memory");
		rpc_refuse(peer, RPC_INTERNAL_ERROR, &err);
		json_decref(json);
		return;
	}
	m->rpc = rpc;
	m->peer = peer;
	m->handling = true;
	m->next = rpc->messages;
	rpc->messages = m;
	peer->open++;
	if (json_is_array(json))
		handle_batch(m, json);
	else
		handle_request(m, json);
	json_decref(json);
	m->handling = false;
	message_settle(m);
}

void rpc_peer_gone(struct rpc *rpc, struct rpc_peer *peer)
{
	for (struct message *m = rpc->messages; m; m = m->next)
		if (m->peer == peer)
			m->peer = NULL;
	peer->open = 0;
}
