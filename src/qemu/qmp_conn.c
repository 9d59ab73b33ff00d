/* SPDX-License-Identifier: Apache-2.0 */
#include "qemu/qmp_conn.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>

#include "qemu/qmp_queue.h"

#define READ_CHUNK   65536U /* bytes read in one turn of the main loop */
#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 2000
#define STEADY_US    5000000U /* a connection that lasted this long is worth a quick retry */
/* After the vhost-user sockets: a VM that floods its monitor delays no function's rings. */
#define QMP_PRIORITY (SD_EVENT_PRIORITY_NORMAL + 10)

enum conn_state { CONN_AWAY, CONN_GREETING, CONN_CAPABILITIES, CONN_READY };

struct qmp_conn {
	sd_event *event;
	struct qmp_limits limits;
	const struct qmp_conn_ops *ops;
	void *ctx;
	struct sockaddr_un addr;
	enum conn_state state;
	unsigned int retry_ms; /* wait before the next attempt that nothing else triggers */

	int fd;
	sd_event_source *io, *timer, *watch;
	bool want_out; /* EPOLLOUT is requested */

	char *in; /* what was read and is not yet a complete line */
	size_t in_len, in_size, in_scanned;

	struct qmp_queue queue;
	uint64_t ready_since; /* CLOCK_MONOTONIC, µs */
};

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata);
static int on_timer(sd_event_source *s, uint64_t usec, void *userdata);

/* --- time limits ------------------------------------------------------------------------------ */

static void timer_set(struct qmp_conn *c, unsigned int ms)
{
	/* Setting the time of an existing timer fails only if the event loop has ended. */
	(void)sd_event_source_set_time_relative(c->timer, (uint64_t)ms * 1000);
	(void)sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT);
}

static void timer_stop(struct qmp_conn *c)
{
	(void)sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
}

/* --- going down ------------------------------------------------------------------------------- */

static void close_socket(struct qmp_conn *c)
{
	c->io = sd_event_source_disable_unref(c->io);
	close_fd(&c->fd);
	c->want_out = false;
	free(c->in);
	c->in = NULL;
	c->in_len = c->in_size = c->in_scanned = 0;
}

static void watch_stop(struct qmp_conn *c)
{
	c->watch = sd_event_source_disable_unref(c->watch);
}

static void try_connect(struct qmp_conn *c);

static int on_watch(sd_event_source *s, const struct inotify_event *ev, void *userdata)
{
	struct qmp_conn *c = userdata;
	const char *name = strrchr(c->addr.sun_path, '/') + 1;

	(void)s;
	if (ev->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)) {
		watch_stop(c); /* the directory is gone: from now on the timer checks */
		timer_set(c, RETRY_MIN_MS);
	} else if ((ev->mask & IN_Q_OVERFLOW) || (ev->len && !strcmp(ev->name, name))) {
		c->retry_ms = RETRY_MIN_MS;
		try_connect(c);
	}
	return 0;
}

/* Watches the directory for the creation of the socket. If that fails (no such directory, out of watches),
 * the timer checks. */
static void watch_start(struct qmp_conn *c)
{
	char dir[sizeof(c->addr.sun_path)];
	char *slash;

	if (c->watch)
		return;
	memcpy(dir, c->addr.sun_path, sizeof(dir));
	slash = strrchr(dir, '/');
	slash[slash == dir ? 1 : 0] = '\0';
	if (sd_event_add_inotify(c->event, &c->watch, dir,
				 IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR,
				 on_watch, c) < 0)
		c->watch = NULL;
	else
		(void)sd_event_source_set_priority(c->watch, QMP_PRIORITY);
}

static void retry_later(struct qmp_conn *c)
{
	watch_start(c); /* a restarted VM is noticed before the time is over */
	timer_set(c, c->retry_ms);
	c->retry_ms = MIN(c->retry_ms * 2, RETRY_MAX_MS);
}

/* Ends the connection for a reason, and schedules the next attempt. */
static void conn_down(struct qmp_conn *c, bool gone, const char *fmt, ...) printf_like(3, 4);
static void conn_down(struct qmp_conn *c, bool gone, const char *fmt, ...)
{
	char why[sizeof(((struct err *)NULL)->text)];
	uint64_t now = 0;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	close_socket(c);
	(void)sd_event_now(c->event, CLOCK_MONOTONIC, &now);
	if (c->state == CONN_READY && now - c->ready_since > STEADY_US)
		c->retry_ms = RETRY_MIN_MS;
	c->state = CONN_AWAY;
	retry_later(c);

	queue_fail(&c->queue, why);
	c->ops->down(c->ctx, gone, why);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void out_want(struct qmp_conn *c, bool want)
{
	if (want == c->want_out)
		return;
	c->want_out = want;
	(void)sd_event_source_set_io_events(c->io, EPOLLIN | (want ? EPOLLOUT : 0U));
}

static int flush_out(struct qmp_conn *c)
{
	const char *data;
	size_t size;

	while (queue_out(&c->queue, &data, &size)) {
		ssize_t n;

		if (c->queue.in_flight == 0 && c->queue.out_off == 0)
			timer_set(c, c->state == CONN_READY ? c->limits.reply : c->limits.greeting);
		n = send(c->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n < 0)
			return 0; /* EPOLLOUT stays requested */
		queue_sent(&c->queue, (size_t)n);
	}
	out_want(c, false);
	return 0;
}

static int enqueue(struct qmp_conn *c, const void *owner, const char *command, json_t *args, qmp_reply_fn fn,
		   void *arg)
{
	const char *data;
	size_t size;
	int r = queue_add(&c->queue, owner, command, args, fn, arg);

	if (r == 0 && queue_out(&c->queue, &data, &size))
		out_want(c, true); /* sent from the event loop, with those that follow */
	return r;
}

int conn_command(struct qmp_conn *c, const void *owner, const char *command, json_t *args, qmp_reply_fn fn,
		 void *arg)
{
	if (c->state != CONN_READY || c->queue.queued >= QMP_COMMANDS_MAX) {
		json_decref(args);
		return c->state != CONN_READY ? -ENOTCONN : -EBUSY;
	}
	return enqueue(c, owner, command, args, fn, arg);
}

void conn_cancel(struct qmp_conn *c, const void *owner)
{
	queue_cancel(&c->queue, owner);
}

/* --- messages --------------------------------------------------------------------------------- */

/* False: the connection is down. */
static bool handle_reply(struct qmp_conn *c, const json_t *msg)
{
	struct command *done;

	if (queue_answered(&c->queue, msg, &done) < 0) {
		conn_down(c, false, "QEMU's monitor %s sent a reply without a command", c->addr.sun_path);
		return false;
	}
	if (c->queue.in_flight)
		timer_set(c, c->limits.reply);
	else
		timer_stop(c);
	if (c->queue.unsent)
		out_want(c, true);
	queue_finish(done, msg);
	return c->state != CONN_AWAY;
}

static void on_capabilities(void *arg, int code, const json_t *ret, const struct err *err)
{
	struct qmp_conn *c = arg;

	(void)ret;
	if (code == -ENOTCONN)
		return; /* conn_down() is running */
	if (code < 0) {
		conn_down(c, false, "QEMU's monitor %s refuses qmp_capabilities: %.160s", c->addr.sun_path,
			  err->text);
		return;
	}
	c->state = CONN_READY;
	(void)sd_event_now(c->event, CLOCK_MONOTONIC, &c->ready_since);
	c->ops->up(c->ctx);
}

static bool handle_message(struct qmp_conn *c, const json_t *msg)
{
	const char *event = json_string_value(json_object_get(msg, "event"));

	if (c->state == CONN_GREETING) {
		if (!json_is_object(json_object_get(msg, "QMP"))) {
			conn_down(c, false, "%s is not a QMP monitor: it sent no QMP greeting",
				  c->addr.sun_path);
			return false;
		}
		c->state = CONN_CAPABILITIES;
		if (enqueue(c, NULL, "qmp_capabilities", NULL, on_capabilities, c) < 0) {
			conn_down(c, false, "out of memory for QEMU's monitor %s", c->addr.sun_path);
			return false;
		}
		return true;
	}
	if (event) {
		if (c->state == CONN_READY)
			c->ops->event(c->ctx, event, json_object_get(msg, "data"));
		return c->state != CONN_AWAY;
	}
	if (json_object_get(msg, "return") || json_object_get(msg, "error"))
		return handle_reply(c, msg);
	conn_down(c, false, "QEMU's monitor %s sent a message that is neither an event nor a reply",
		  c->addr.sun_path);
	return false;
}

static bool handle_line(struct qmp_conn *c, const char *line, size_t len)
{
	json_error_t error;
	json_t *msg;
	bool up;

	while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == ' '))
		len--;
	if (len == 0)
		return true;
	msg = json_loadb(line, len, 0, &error);
	/* QAPI has unsigned 64-bit values; one in a message that we ignore must not end the connection. */
	if (!msg && json_error_code(&error) == json_error_numeric_overflow)
		msg = json_loadb(line, len, JSON_DECODE_INT_AS_REAL, &error);
	if (!json_is_object(msg)) {
		json_decref(msg);
		conn_down(
			c, false,
			"QEMU's monitor %s sent a line that is not a JSON object (a monitor for vpfd must not have pretty=on)",
			c->addr.sun_path);
		return false;
	}
	up = handle_message(c, msg);
	json_decref(msg);
	return up;
}

/* --- reading ---------------------------------------------------------------------------------- */

static int in_reserve(struct qmp_conn *c)
{
	size_t size = MAX(c->in_size, (size_t)READ_CHUNK);
	char *in;

	while (size - c->in_len < READ_CHUNK / 2)
		size *= 2;
	if (size == c->in_size)
		return 0;
	in = realloc(c->in, size);
	if (!in)
		return -ENOMEM;
	c->in = in;
	c->in_size = size;
	return 0;
}

/* Handles the lines that are complete. False: the connection is down. */
static bool take_lines(struct qmp_conn *c)
{
	size_t start = 0;
	char *end;

	while ((end = memchr(c->in + c->in_scanned, '\n', c->in_len - c->in_scanned))) {
		size_t line = start;

		start = (size_t)(end - c->in) + 1;
		c->in_scanned = start;
		if (!handle_line(c, c->in + line, start - 1 - line))
			return false;
	}
	c->in_len -= start;
	memmove(c->in, c->in + start, c->in_len);
	c->in_scanned = c->in_len;
	if (c->in_len == 0) { /* idle connections keep no buffer */
		free(c->in);
		c->in = NULL;
		c->in_size = 0;
	} else if (c->in_len > QMP_LINE_MAX) {
		conn_down(c, false, "QEMU's monitor %s sent a line longer than %u bytes", c->addr.sun_path,
			  QMP_LINE_MAX);
		return false;
	}
	return true;
}

static bool read_in(struct qmp_conn *c)
{
	ssize_t n;

	if (in_reserve(c) < 0) {
		conn_down(c, false, "out of memory for QEMU's monitor %s", c->addr.sun_path);
		return false;
	}
	n = recv(c->fd, c->in + c->in_len, MIN(c->in_size - c->in_len, (size_t)READ_CHUNK), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n < 0) {
		conn_down(c, true, "QEMU's monitor %s: %s", c->addr.sun_path, strerror(errno));
		return false;
	}
	if (n == 0) {
		conn_down(c, true, "QEMU closed its monitor %s", c->addr.sun_path);
		return false;
	}
	c->in_len += (size_t)n;
	return take_lines(c);
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	struct qmp_conn *c = userdata;
	int r;

	(void)s;
	(void)fd;
	if ((revents & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !read_in(c))
		return 0;
	r = flush_out(c);
	if (r < 0)
		conn_down(c, true, "QEMU's monitor %s: %s", c->addr.sun_path, strerror(-r));
	return 0;
}

/* --- connecting ------------------------------------------------------------------------------- */

static void connect_failed(struct qmp_conn *c, int error)
{
	const char *path = c->addr.sun_path;
	struct stat st;

	if (error == ENOENT || error == ENOTDIR) {
		bool sleep = c->watch && lstat(path, &st) < 0; /* a dangling link: its target is elsewhere */

		conn_down(c, true, "QEMU's monitor %s does not exist: the VM is not running", path);
		/* Only now: conn_down() has set the timer. Whatever its callbacks did, the connection is
		 * still there. */
		if (sleep && c->state == CONN_AWAY)
			timer_stop(c);
	} else if (error == ECONNREFUSED) {
		conn_down(c, true, "no process listens on QEMU's monitor %s: the VM is not running", path);
	} else {
		conn_down(c, false, "cannot connect to QEMU's monitor %s: %s", path, strerror(error));
	}
}

static void try_connect(struct qmp_conn *c)
{
	_cleanup_close_ int fd = -1;
	int r;

	watch_start(c); /* before connecting: a socket created in between is noticed */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		conn_down(c, false, "no socket for QEMU's monitor %s: %s", c->addr.sun_path, strerror(errno));
		return;
	}
	if (connect(fd, (const struct sockaddr *)&c->addr, sizeof(c->addr)) < 0) {
		connect_failed(c, errno);
		return;
	}
	r = sd_event_add_io(c->event, &c->io, fd, EPOLLIN, on_io, c);
	if (r < 0) {
		conn_down(c, false, "cannot watch QEMU's monitor %s: %s", c->addr.sun_path, strerror(-r));
		return;
	}
	(void)sd_event_source_set_priority(c->io, QMP_PRIORITY);
	watch_stop(c);
	c->fd = steal_fd(&fd);
	c->state = CONN_GREETING;
	timer_set(c, c->limits.greeting);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct qmp_conn *c = userdata;
	const char *path = c->addr.sun_path;

	(void)s;
	(void)usec;
	switch (c->state) {
	case CONN_AWAY:
		try_connect(c);
		break;
	case CONN_GREETING:
		conn_down(c, false,
			  "QEMU's monitor %s sent no greeting: another QMP client holds it, or QEMU hangs",
			  path);
		break;
	case CONN_CAPABILITIES:
		conn_down(c, false, "QEMU's monitor %s did not answer qmp_capabilities within %u ms", path,
			  c->limits.greeting);
		break;
	case CONN_READY:
		/* Nothing is due when what was being sent has been cancelled. */
		if (c->queue.in_flight > 0 || c->queue.out_off > 0)
			conn_down(c, false, "QEMU's monitor %s did not answer within %u ms", path,
				  c->limits.reply);
		break;
	}
	return 0;
}

bool conn_ready(const struct qmp_conn *c)
{
	return c->state == CONN_READY;
}

int conn_new(sd_event *event, const char *path, const struct qmp_limits *limits,
	     const struct qmp_conn_ops *ops, void *ctx, struct qmp_conn **ret)
{
	struct qmp_conn *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	assert(strlen(path) < sizeof(c->addr.sun_path) && strchr(path, '/'));
	*c = (struct qmp_conn){.limits = *limits, .ops = ops, .ctx = ctx, .fd = -1, .retry_ms = RETRY_MIN_MS};
	c->event = sd_event_ref(event);
	c->addr.sun_family = AF_UNIX;
	memcpy(c->addr.sun_path, path, strlen(path));
	r = sd_event_add_time_relative(event, &c->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, c);
	if (r < 0) {
		conn_free(c);
		return r;
	}
	(void)sd_event_source_set_priority(c->timer, QMP_PRIORITY);
	*ret = c;
	return 0;
}

void conn_free(struct qmp_conn *c)
{
	if (!c)
		return;
	queue_clear(&c->queue);
	close_socket(c);
	watch_stop(c);
	sd_event_source_disable_unref(c->timer);
	sd_event_unref(c->event);
	free(c);
}
