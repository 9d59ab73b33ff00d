/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A QMP client (QEMU's "QMP Protocol Specification", JSON objects on a UNIX stream socket), for the main
 * loop.
 *
 * Theory of operation. A monitor socket serves one client at a time, but several virtual PFs may belong to
 * one VM. So a `struct qmp` is one user's view of a *connection*, which all users of the same path share; the
 * pool keeps the connections. A connection is opened with its first user, closed with its last, and is in one
 * of these states:
 *
 *	away ──(socket appears, or time passes)──▶ greeting ──▶ capabilities ──▶ ready
 *	  ▲                                            │              │            │
 *	  └────────────── any error, end of file, time limit ─────────┴────────────┘
 *
 * away: no VM. If the socket's directory exists, inotify reports when the socket is created: nothing runs
 * until then. Otherwise, and if the socket exists but no process answers, connecting is retried after 50 ms,
 * doubling to 2 s. ready: commands are sent in order, at most QMP_IN_FLIGHT unanswered at a time; the others
 * wait in a queue.
 *
 * The peer is not trusted: it is a QEMU that its guest may have taken over. A line longer than QMP_LINE_MAX,
 * one that is not a JSON object, a reply without a command, or no answer within the time limits ends the
 * connection with one reason; it is then retried as for an absent VM. The work done for its input is bounded
 * in each turn of the main loop.
 *
 * Thread-safety: main thread, all of it. Callbacks come from the event loop, never from within a call of this
 * interface, except replies cancelled by qmp_close(). A callback may call anything here, including
 * qmp_close() of its own user. */

#include <jansson.h>

#include "util/err.h"

struct sd_event;

#define QMP_LINE_MAX     (4U << 20) /* bytes of one line from QEMU (query-pci with 255 VFs: about 300 KiB) */
#define QMP_IN_FLIGHT    8          /* QEMU stops reading at 8 queued commands */
#define QMP_GREETING_MS  5000  /* from connecting to "ready"; QEMU keeps a second client waiting forever */
#define QMP_REPLY_MS     20000 /* between two replies while one is due */
#define QMP_COMMANDS_MAX 4096  /* queued in one connection: more is -EBUSY */

struct qmp_pool; /* the connections of one event loop */
struct qmp;      /* one user of one connection */

struct qmp_ops {
	/* The connection became ready or (up false) ceased to be; `why` is then one sentence, else NULL.
	 * `gone`: QEMU closed the connection or its socket no longer exists, so the VM has most likely ended.
	 * While not ready, the first failed attempt to connect is reported too, and later ones only if the
	 * reason changes. */
	void (*state)(void *ctx, bool up, bool gone, const char *why);
	/* Every event of the VM, whichever user it concerns. `data` is borrowed and may be NULL. */
	void (*event)(void *ctx, const char *name, const json_t *data);
};

/* code 0: `ret` is the "return" value (borrowed). Else a negative errno, and err->text has QEMU's reason:
 * -ENODEV (DeviceNotFound), -ENOSYS (CommandNotFound), -EREMOTEIO (other errors of QEMU), -ENOTCONN
 * (connection ended before the reply), -ECANCELED (qmp_close() before the reply). */
typedef void (*qmp_reply_fn)(void *arg, int code, const json_t *ret, const struct err *err);

int qmp_pool_new(struct sd_event *event, struct qmp_pool **ret); /* keeps a reference to event; -ENOMEM */
void qmp_pool_free(struct qmp_pool *pool);                       /* after the last qmp_close(); takes NULL */

/* Other time limits than the above for later connections; for tests. */
void qmp_pool_set_limits(struct qmp_pool *pool, unsigned int greeting_ms, unsigned int reply_ms);
struct sd_event *qmp_pool_event(const struct qmp_pool *pool); /* borrowed */

/* Becomes a user of the connection to `path` (absolute, < 108 bytes, else -EINVAL, field "qmp"); it is
 * connected in the background as long as it has a user. If it is already ready, state() reports so from the
 * event loop. ctx and ops are borrowed until qmp_close(). */
int qmp_open(struct qmp_pool *pool, const char *path, const struct qmp_ops *ops, void *ctx, struct qmp **ret,
	     struct err *err);
/* Unanswered commands get their reply with -ECANCELED before this returns. Takes NULL. */
void qmp_close(struct qmp *q);

bool qmp_ready(const struct qmp *q);

/* Queues a command. Takes the reference to `args` (NULL: none) in any case. `fn` (NULL: not wanted) is called
 * exactly once if this returns 0. -ENOTCONN when not ready, -EBUSY when QMP_COMMANDS_MAX are queued, -ENOMEM. */
int qmp_command(struct qmp *q, const char *command, json_t *args, qmp_reply_fn fn, void *arg);
