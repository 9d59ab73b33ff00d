/* SPDX-License-Identifier: Apache-2.0 */

/* Which user has which connection. Users come and go from within callbacks, so a closed user is only marked;
 * it and a connection without users are freed by an event source of their own (sweep), when no callback is
 * running. */

#include "qemu/qmp.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-event.h>

#include "qemu/qmp_conn.h"

struct shared { /* a connection and its users */
	struct shared *next;
	struct qmp_pool *pool;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	struct qmp_conn *conn;
	struct qmp *users;
	sd_event_source *sweep; /* notifies new users, frees closed ones */
	uint64_t downs;         /* counts new reasons for being down; 0: none yet */
	bool gone;
	char why[256];
};

struct qmp {
	struct qmp *next;
	struct shared *shared;
	const struct qmp_ops *ops;
	void *ctx;
	bool closed;
	bool up;       /* what it was last told */
	uint64_t seen; /* the last `downs` it was told */
};

struct qmp_pool {
	sd_event *event;
	struct qmp_limits limits;
	struct shared *list;
};

static void shared_free(struct shared *s)
{
	conn_free(s->conn);
	sd_event_source_disable_unref(s->sweep);
	free(s);
}

static void sweep_later(struct shared *s)
{
	(void)sd_event_source_set_enabled(s->sweep, SD_EVENT_ONESHOT);
}

/* Brings each user's knowledge up to date. */
static void tell_state(struct shared *s)
{
	for (struct qmp *q = s->users; q; q = q->next) {
		bool ready = conn_ready(s->conn);

		if (q->closed)
			continue;
		if (ready && !q->up) {
			q->up = true;
			q->ops->state(q->ctx, true, false, NULL);
		} else if (!ready && (q->up || q->seen != s->downs)) {
			q->up = false;
			q->seen = s->downs;
			q->ops->state(q->ctx, false, s->gone, s->why);
		}
	}
}

static int on_sweep(sd_event_source *source, void *userdata)
{
	struct shared *s = userdata;

	(void)source;
	tell_state(s);
	for (struct qmp **p = &s->users; *p;) {
		struct qmp *q = *p;

		if (q->closed) {
			*p = q->next;
			free(q);
		} else {
			p = &q->next;
		}
	}
	if (s->users)
		return 0;
	for (struct shared **p = &s->pool->list; *p; p = &(*p)->next) {
		if (*p == s) {
			*p = s->next;
			break;
		}
	}
	shared_free(s);
	return 0;
}

static void on_up(void *ctx)
{
	tell_state(ctx);
}

static void on_down(void *ctx, bool gone, const char *why)
{
	struct shared *s = ctx;
	bool was_up = false;

	for (struct qmp *q = s->users; q; q = q->next)
		was_up |= q->up;
	if (was_up || s->downs == 0 || gone != s->gone || strcmp(why, s->why) != 0) {
		s->downs++;
		s->gone = gone;
		snprintf(s->why, sizeof(s->why), "%s", why);
	}
	tell_state(s);
}

static void on_event(void *ctx, const char *name, const json_t *data)
{
	struct shared *s = ctx;

	for (struct qmp *q = s->users; q; q = q->next) {
		if (!q->closed && q->up)
			q->ops->event(q->ctx, name, data);
	}
}

static const struct qmp_conn_ops conn_ops = {.up = on_up, .down = on_down, .event = on_event};

static int shared_get(struct qmp_pool *pool, const char *path, struct shared **ret)
{
	struct shared *s;
	int r;

	for (s = pool->list; s; s = s->next) {
		if (!strcmp(s->path, path)) {
			*ret = s;
			return 0;
		}
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->pool = pool;
	snprintf(s->path, sizeof(s->path), "%s", path);
	r = sd_event_add_defer(pool->event, &s->sweep, on_sweep, s);
	if (r >= 0)
		r = sd_event_source_set_enabled(s->sweep, SD_EVENT_OFF);
	if (r >= 0)
		r = conn_new(pool->event, path, &pool->limits, &conn_ops, s, &s->conn);
	if (r < 0) {
		shared_free(s);
		return r;
	}
	s->next = pool->list;
	pool->list = s;
	*ret = s;
	return 0;
}

int qmp_open(struct qmp_pool *pool, const char *path, const struct qmp_ops *ops, void *ctx, struct qmp **ret,
	     struct err *err)
{
	struct shared *s;
	struct qmp *q;
	int r;

	if (path[0] != '/')
		return err_set(err, EINVAL, "qmp", "the QMP socket must be an absolute path");
	if (strlen(path) >= sizeof(s->path))
		return err_set(err, EINVAL, "qmp", "the QMP socket's path must be shorter than %zu bytes",
			       sizeof(s->path));
	q = calloc(1, sizeof(*q));
	if (!q)
		return err_set(err, ENOMEM, "", "out of memory");
	r = shared_get(pool, path, &s);
	if (r < 0) {
		free(q);
		return err_set(err, -r, "qmp", "cannot set up the connection to %s: %s", path, strerror(-r));
	}
	*q = (struct qmp){.next = s->users, .shared = s, .ops = ops, .ctx = ctx};
	s->users = q;
	sweep_later(s);
	*ret = q;
	return 0;
}

void qmp_close(struct qmp *q)
{
	if (!q)
		return;
	q->closed = true;
	q->up = false;
	conn_cancel(q->shared->conn, q);
	sweep_later(q->shared);
}

bool qmp_ready(const struct qmp *q)
{
	return q->up && conn_ready(q->shared->conn);
}

int qmp_command(struct qmp *q, const char *command, json_t *args, qmp_reply_fn fn, void *arg)
{
	if (!q->up) {
		json_decref(args);
		return -ENOTCONN;
	}
	return conn_command(q->shared->conn, q, command, args, fn, arg);
}

int qmp_pool_new(sd_event *event, struct qmp_pool **ret)
{
	struct qmp_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return -ENOMEM;
	pool->event = sd_event_ref(event);
	pool->limits = (struct qmp_limits){.greeting = QMP_GREETING_MS, .reply = QMP_REPLY_MS};
	*ret = pool;
	return 0;
}

void qmp_pool_set_limits(struct qmp_pool *pool, unsigned int greeting_ms, unsigned int reply_ms)
{
	pool->limits = (struct qmp_limits){.greeting = greeting_ms, .reply = reply_ms};
}

sd_event *qmp_pool_event(const struct qmp_pool *pool)
{
	return pool->event;
}

void qmp_pool_free(struct qmp_pool *pool)
{
	if (!pool)
		return;
	while (pool->list) {
		struct shared *s = pool->list;

		pool->list = s->next;
		while (s->users) {
			struct qmp *q = s->users;

			assert(q->closed);
			s->users = q->next;
			free(q);
		}
		shared_free(s);
	}
	sd_event_unref(pool->event);
	free(pool);
}
