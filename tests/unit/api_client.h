/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The API over its real socket, a model and a data plane that only remembers; and its clients. Server and
 * clients share the thread: waiting for a reply runs the server's loop. */

#include <systemd/sd-event.h>

#include "api/env.h"
#include "api/moves.h"
#include "api/server.h"
#include "fake_dataplane.h"
#include "qemu/pf_qemu.h"
#include "scratch_dir.h"

#define AC_PATIENCE_US 5000000
#define AC_DEFERRED_US 20000 /* how long a reply may be deferred, unless the test says something else */

struct ac_env {
	struct scratch scratch;
	char state_dir[256], path[256];
	sd_event *event;
	struct fake_dataplane dp;
	struct model *model;
	struct pf_qemu *qemu;
	struct moves *moves;
	struct api_env env;
	struct api_server *server;
	uint64_t deferred_us; /* of its configuration */
};

struct ac_client {
	int fd;
	char *in;
	size_t size, room;
};

/* A server at t->path. */
int ac_listen_at(struct ac_env *t, const struct api_method *methods, struct api_server **ret,
		 struct err *err);
/* api_methods, or a test's own. */
int ac_setup(void **state, const struct api_method *methods, uint64_t deferred_us);
int ac_teardown(void **state);
struct ac_client *ac_client_new(struct ac_env *t);
void ac_client_free(struct ac_client *c);
/* Something happens, or the test fails. */
void ac_run(struct ac_env *t);
/* Lets the server do all there is to do at once. */
void ac_settle(struct ac_env *t);
void ac_put(struct ac_env *t, struct ac_client *c, const void *data, size_t size);
void ac_put_text(struct ac_env *t, struct ac_client *c, const char *text);
/* 1: some bytes have come, 0: none now, -1: the connection is at its end. */
int ac_take(struct ac_client *c);
/* The next message; NULL: the connection has ended without one. */
json_t *ac_get(struct ac_env *t, struct ac_client *c);
json_t *ac_ask_text(struct ac_env *t, struct ac_client *c, const char *text);
/* `json`: the members of params. */
json_t *ac_ask(struct ac_env *t, struct ac_client *c, const char *method, const char *json);
/* The result, to be given up; fails on an error. */
json_t *ac_result(struct ac_env *t, struct ac_client *c, const char *method, const char *json);
/* The same, its result given up. */
void ac_done(struct ac_env *t, struct ac_client *c, const char *method, const char *json);
/* Takes `reply`. `field` NULL: none is to be blamed. */
void ac_check_error(json_t *reply, int code, const char *field);
void ac_refused(struct ac_env *t, struct ac_client *c, const char *method, const char *json, int code,
		const char *field);
/* A member that has to be there. */
json_int_t ac_number(const json_t *o, const char *name);
const char *ac_text(const json_t *o, const char *name);
/* Fabric f0 with the uplink tap0, and pf0 with two VFs on it. */
void ac_populate(struct ac_env *t, struct ac_client *c);
