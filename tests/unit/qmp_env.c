/* SPDX-License-Identifier: Apache-2.0 */

#include "qmp_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_state(void *ctx, bool up, bool gone, const char *why)
{
	struct qmp_user *u = ctx;

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
	struct qmp_user *u = ctx;

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

const struct qmp_ops qmp_env_ops = {.state = on_state, .event = on_event};

void qmp_user_open(struct qmp_env *x, struct qmp_user *u)
{
	struct err err = {};

	*u = (struct qmp_user){.x = x};
	assert_int_equal(qmp_open(x->pool, x->fake->path, &qmp_env_ops, u, &u->q, &err), 0);
}

void qmp_user_close(struct qmp_user *u)
{
	qmp_close(u->q);
	u->q = NULL;
	json_decref(u->last_data);
	u->last_data = NULL;
}

static struct qmp_env *make(void **state, bool start)
{
	struct qmp_env *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	assert_true(sd_event_new(&x->event) >= 0);
	x->fake = fq_new(x->event, start);
	assert_int_equal(qmp_pool_new(x->event, &x->pool), 0);
	*state = x;
	return x;
}

int qmp_env_setup(void **state)
{
	make(state, true);
	return 0;
}

int qmp_env_setup_away(void **state)
{
	make(state, false);
	return 0;
}

int qmp_env_teardown(void **state)
{
	struct qmp_env *x = *state;

	qmp_pool_free(x->pool);
	fq_free(x->fake);
	sd_event_unref(x->event);
	free(x);
	return 0;
}

void qmp_env_on_reply(void *arg, int code, const json_t *ret, const struct err *err)
{
	struct qmp_env_reply *r = arg;

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
