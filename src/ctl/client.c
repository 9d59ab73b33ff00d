/* SPDX-License-Identifier: Apache-2.0 */

#include "ctl/client.h"

#include <grp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "util/clock.h"

#define ANSWER_MAX (256u << 20) /* bytes; a full table of learned MACs takes some tens of MiB */

struct client {
	struct client_config config;
	int fd;
	json_int_t last_id;
	char *buffer; /* received, not yet parsed */
	size_t filled, room;
	size_t searched;   /* no newline before this offset */
	json_t *events;    /* arrived during a call */
	struct err broken; /* code set: why no call works any more */
};

static int not_running(const char *path, struct err *err)
{
	static const char name[] = "/vpfd.sock";
	size_t len = strlen(path), dir = len - MIN(len, strlen(name));

	if (strcmp(path, CLIENT_DEFAULT_SOCKET) == 0)
		return err_set(
			err, ENOENT, NULL,
			"vpfd is not running at %s: start it with 'systemctl start vpfd', or name its socket with --socket",
			path);
	if (dir && strcmp(path + dir, name) == 0)
		return err_set(
			err, ENOENT, NULL,
			"vpfd is not running at %s: start it with 'vpfd --run-dir %.*s', or name its socket with --socket",
			path, (int)dir, path);
	return err_set(err, ENOENT, NULL,
		       "vpfd is not running at %s: start it, or name its socket with --socket", path);
}

/* The first directory on the way to the socket, or the socket, that denies access tells which group would
 * help. */
static int not_permitted(const char *path, struct err *err)
{
	char part[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	const struct group *group;
	struct stat st;

	for (size_t n = 1; n <= strlen(path); n++) {
		bool whole = !path[n];

		if (!whole && path[n] != '/')
			continue;
		memcpy(part, path, n);
		part[n] = '\0';
		if (access(part, whole ? R_OK | W_OK : X_OK) == 0)
			continue;
		if (stat(part, &st) < 0)
			break;
		if (!(st.st_mode & (whole ? S_IWGRP : S_IXGRP)))
			return err_set(
				err, EACCES, NULL,
				"permission denied on %s: only its owner (user id %u) may use it; run vpfctl as that user, or start vpfd with --group and --socket-mode",
				part, st.st_uid);
		group = getgrgid(st.st_gid);
		if (group)
			return err_set(
				err, EACCES, NULL,
				"permission denied on %s: it is for group '%.40s'; run vpfctl as root or as a member of that group",
				part, group->gr_name);
		return err_set(
			err, EACCES, NULL,
			"permission denied on %s: it is for group id %u; run vpfctl as root or as a member of that group",
			part, st.st_gid);
	}
	return err_set(err, EACCES, NULL, "permission denied on %s: run vpfctl as root", path);
}

int client_new(const struct client_config *config, struct client **ret, struct err *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	_cleanup_client_ struct client *c = NULL;
	size_t len = strlen(config->path);

	if (!len || len >= sizeof(addr.sun_path))
		return err_set(err, ENAMETOOLONG, NULL, "the socket path must have 1 to %zu bytes",
			       sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, config->path, len + 1);

	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(err, ENOMEM, NULL, "out of memory");
	c->config = *config;
	c->events = json_array();
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || !c->events)
		return err_set(err, c->fd < 0 ? errno : ENOMEM, NULL, "cannot create a socket: %s",
			       strerror(c->fd < 0 ? errno : ENOMEM));
	if (connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		switch (errno) {
		case ENOENT:
		case ECONNREFUSED:
		case ENOTDIR:
			return not_running(config->path, err);
		case EACCES:
		case EPERM:
			return not_permitted(config->path, err);
		default:
			return err_set(err, errno, NULL, "cannot connect to %s: %s", config->path,
				       strerror(errno));
		}
	}
	*ret = steal_ptr(&c);
	return 0;
}

void client_free(struct client *c)
{
	if (!c)
		return;
	close_fd(&c->fd);
	json_decref(c->events);
	free(c->buffer);
	free(c);
}

static int break_off(struct client *c, int code, const char *text, struct err *err)
{
	err_set(&c->broken, code, NULL, "%s", text);
	return err_set(err, code, NULL, "%s", text);
}

/* Waits until the socket is readable. `since`: when the wait for this answer began (ms); < 0: no time limit. */
static int wait_readable(struct client *c, int64_t since, bool *told, struct err *err)
{
	for (;;) {
		struct pollfd p = {.fd = c->fd, .events = POLLIN};
		int64_t gone = (int64_t)clock_ms() - since;
		int timeout = -1, r;

		if (since >= 0 && c->config.timeout_ms >= 0) {
			if (gone >= c->config.timeout_ms)
				return break_off(c, ETIMEDOUT, "vpfd did not answer in time", err);
			timeout = c->config.timeout_ms - (int)gone;
		}
		if (since >= 0 && c->config.waiting) {
			int next = gone < 2000 ? (int)(2000 - gone) : (int)(1000 - gone % 1000);

			timeout = timeout < 0 ? next : MIN(timeout, next);
		}
		r = poll(&p, 1, timeout);
		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return break_off(c, errno, "cannot wait for vpfd's answer", err);
		gone = (int64_t)clock_ms() - since;
		if (since >= 0 && c->config.waiting && gone >= 2000) {
			*told = true;
			c->config.waiting(c->config.ctx, (unsigned int)(gone / 1000));
		}
	}
}

static int receive_more(struct client *c, struct err *err)
{
	ssize_t n;

	if (c->room - c->filled < 4096) {
		size_t room = c->room ? 2 * c->room : 65536;
		char *buffer;

		if (room > ANSWER_MAX)
			return break_off(c, EPROTO, "vpfd's answer is too long", err);
		buffer = realloc(c->buffer, room);
		if (!buffer)
			return break_off(c, ENOMEM, "out of memory", err);
		c->buffer = buffer;
		c->room = room;
	}
	do {
		n = recv(c->fd, c->buffer + c->filled, c->room - c->filled, 0);
	} while (n < 0 && errno == EINTR);
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return break_off(c, EPIPE, "vpfd has closed the connection", err);
	if (n < 0)
		return break_off(c, errno, "cannot read vpfd's answer", err);
	c->filled += (size_t)n;
	return 0;
}

/* The next message, a new reference. */
static int next_message(struct client *c, int64_t since, json_t **ret, struct err *err)
{
	bool told = false;
	char *end;
	json_t *m;
	int r;

	while (!c->filled || !(end = memchr(c->buffer + c->searched, '\n', c->filled - c->searched))) {
		c->searched = c->filled;
		r = wait_readable(c, since, &told, err);
		if (r == 0)
			r = receive_more(c, err);
		if (told)
			c->config.waiting(c->config.ctx, 0);
		told = false;
		if (r < 0)
			return r;
	}
	m = json_loadb(c->buffer, (size_t)(end - c->buffer), JSON_REJECT_DUPLICATES, NULL);
	c->filled -= (size_t)(end + 1 - c->buffer);
	c->searched = 0;
	memmove(c->buffer, end + 1, c->filled);

	if (!json_is_object(m) || !json_is_string(json_object_get(m, "jsonrpc")) ||
	    strcmp(json_string_value(json_object_get(m, "jsonrpc")), "2.0") != 0) {
		json_decref(m);
		return break_off(c, EPROTO,
				 "the process at the socket does not speak JSON-RPC 2.0: is it vpfd?", err);
	}
	*ret = m;
	return 0;
}

static bool is_event(const json_t *message)
{
	const char *method = json_string_value(json_object_get(message, "method"));

	return method && strcmp(method, "event") == 0 && json_is_object(json_object_get(message, "params"));
}

static int send_line(struct client *c, const char *line, size_t len, struct err *err)
{
	while (len) {
		ssize_t n = send(c->fd, line, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return break_off(c, EPIPE, "vpfd has closed the connection", err);
		line += n;
		len -= (size_t)n;
	}
	return 0;
}

static int send_request(struct client *c, const char *method, json_t *params, struct err *err)
{
	_cleanup_free_ char *text = NULL, *line = NULL;
	json_t *request = json_pack("{sssIsssO}", "jsonrpc", "2.0", "id", ++c->last_id, "method", method,
				    "params", params);
	int n;

	if (request)
		text = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	n = text ? asprintf(&line, "%s\n", text) : -1;
	if (n < 0)
		return err_set(err, ENOMEM, NULL, "out of memory");
	return send_line(c, line, (size_t)n, err);
}

/* An errno by its name, as the API spells it. */
static int errno_by_name(const char *name)
{
	for (int e = 1; name && e < 200; e++) {
		const char *n = strerrorname_np(e);

		if (n && strcmp(n, name) == 0)
			return e;
	}
	return EREMOTEIO;
}

static int refused(const json_t *error, struct err *err)
{
	const json_t *data = json_object_get(error, "data");
	const char *message = json_string_value(json_object_get(error, "message"));
	const char *field = json_string_value(json_object_get(data, "field"));
	const char *code = json_string_value(json_object_get(data, "errno"));

	return err_set(err, errno_by_name(code), field, "%s",
		       message ? message : "vpfd refused without a reason");
}

int client_call(struct client *c, const char *method, json_t *params, json_t **ret, struct err *err)
{
	int64_t since = (int64_t)clock_ms();
	json_t *m = NULL, *result;
	int r;

	if (c->broken.code)
		return err_set(err, c->broken.code, NULL, "%s", c->broken.text);
	r = send_request(c, method, params, err);
	if (r < 0)
		return r;

	for (;;) {
		r = next_message(c, since, &m, err);
		if (r < 0)
			return r;
		if (!is_event(m))
			break;
		r = json_array_append_new(c->events, m);
		if (r < 0)
			return break_off(c, ENOMEM, "out of memory", err);
	}

	/* vpfd cannot tell the id of a request that it could not parse: null. */
	if (json_integer_value(json_object_get(m, "id")) != c->last_id &&
	    !json_is_null(json_object_get(m, "id")))
		r = break_off(c, EPROTO, "vpfd answered another request", err);
	else if (json_is_object(json_object_get(m, "error")))
		r = refused(json_object_get(m, "error"), err);
	else if ((result = json_object_get(m, "result")))
		*ret = json_incref(result);
	else
		r = break_off(c, EPROTO, "vpfd's answer has neither a result nor an error", err);
	json_decref(m);
	return r;
}

int client_event(struct client *c, json_t **ret, struct err *err)
{
	json_t *m = NULL;
	int r;

	if (c->broken.code)
		return err_set(err, c->broken.code, NULL, "%s", c->broken.text);
	if (json_array_size(c->events)) {
		m = json_incref(json_array_get(c->events, 0));
		json_array_remove(c->events, 0);
	} else {
		r = next_message(c, -1, &m, err);
		if (r < 0)
			return r;
	}
	if (is_event(m)) {
		*ret = json_incref(json_object_get(m, "params"));
		r = 0;
	} else {
		r = break_off(c, EPROTO, "vpfd sent an answer without a request", err);
	}
	json_decref(m);
	return r;
}
