/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The connection below qmp.h: socket, time limits, lines of JSON, the queue of commands. Only for qmp.c,
 * which shares a connection among its users, and for the tests.
 *
 * Ownership: the owner frees the connection; it must not do so from within a callback (qmp.c defers it).
 * Thread-safety: main thread. Callbacks come only from the event loop, except those of conn_cancel(). */

#include <sys/un.h>

#include "qemu/qmp.h"

struct qmp_conn;

struct qmp_limits { /* ms */
	unsigned int greeting, reply;
};

struct qmp_conn_ops {
	void (*up)(void *ctx);
	/* It was up, or could not come up. Commands have already got their -ENOTCONN. */
	void (*down)(void *ctx, bool gone, const char *why);
	void (*event)(void *ctx, const char *name, const json_t *data);
};

/* `path` is valid (shorter than sun_path). Starts to connect from the event loop. -ENOMEM and what sd-event
 * returns. */
int conn_new(struct sd_event *event, const char *path, const struct qmp_limits *limits,
	     const struct qmp_conn_ops *ops, void *ctx, struct qmp_conn **ret);
/* Calls nothing back, not even for queued commands: the owner has cancelled them. Takes NULL. */
void conn_free(struct qmp_conn *c);

bool conn_ready(const struct qmp_conn *c);
/* Takes the reference to args. `owner` is for conn_cancel(). */
int conn_command(struct qmp_conn *c, const void *owner, const char *command, json_t *args, qmp_reply_fn fn,
		 void *arg);
/* The commands of `owner` get -ECANCELED; a reply that still arrives is discarded. */
void conn_cancel(struct qmp_conn *c, const void *owner);
