/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of the QMP client start from: a monitor that is played, users of a connection to it, and what
 * they were told. */

#include "fake_qmp.h"
#include "qemu/qmp.h"

struct qmp_user {
	struct qmp *q;
	struct qmp_env *x;
	unsigned int ups, downs, events;
	bool gone;
	char why[256], last_event[64];
	json_t *last_data;
	bool close_on_state, close_on_event;
	struct qmp_user *close_other; /* on event */
};

struct qmp_env {
	sd_event *event;
	struct fake_qmp *fake;
	struct qmp_pool *pool;
};

struct qmp_env_reply {
	unsigned int n;
	int code;
	json_t *ret;
	struct err err;
	struct qmp_user *close; /* from within the reply */
	struct qmp *again;      /* send another command from within the reply */
};

/* With a monitor that listens, or one whose socket is not there yet. */
int qmp_env_setup(void **state);
int qmp_env_setup_away(void **state);
int qmp_env_teardown(void **state);
/* What a user is told; its context is the user. */
extern const struct qmp_ops qmp_env_ops;
void qmp_user_open(struct qmp_env *x, struct qmp_user *u);
void qmp_user_close(struct qmp_user *u);
/* arg: a struct qmp_env_reply. */
void qmp_env_on_reply(void *arg, int code, const json_t *ret, const struct err *err);
