/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A QMP monitor played by the test, in the test's own event loop: what QEMU says is up to the test's handler.
 * Included by one test program each; cmocka's assertions end the test that goes wrong. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "util/util.h"

#define FAKE_GREETING                                                                                        \
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 3, \"minor\": 1, \"major\": 11}, \"package\": "      \
	"\"\"}, \"capabilities\": [\"oob\"]}}\r\n"

struct fake {
	sd_event *event;
	char dir[64], path[108];
	int listen_fd, fd;
	sd_event_source *listen_io, *io;
	char in[1 << 16];
	size_t in_len;
	unsigned int accepted, closed; /* connections so far */
	bool mute;                     /* neither greets nor answers */
	json_t *log;                   /* commands received, as objects */
	/* Gives the complete answer but its id: {"return": …} or {"error": …}; NULL: none (now). */
	json_t *(*handle)(struct fake *f, const char *command, const json_t *args);
	void *ctx;
};

static inline void fake_raw(struct fake *f, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(f->fd, data, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) { /* the other end reads in the same loop */
			sd_event_run(f->event, 1000);
			continue;
		}
		if (n < 0)
			return; /* the client has hung up: the test looks at that itself */
		data += n;
		len -= (size_t)n;
	}
}

static inline void fake_say(struct fake *f, const char *text)
{
	fake_raw(f, text, strlen(text));
}

/* Sends and frees. */
static inline void fake_json(struct fake *f, json_t *message)
{
	char *text = json_dumps(message, JSON_COMPACT);

	assert_non_null(text);
	fake_say(f, text);
	fake_say(f, "\r\n");
	free(text);
	json_decref(message);
}

static inline void fake_event(struct fake *f, const char *name, json_t *data)
{
	fake_json(f, json_pack("{s:{s:i, s:i}, s:s, s:o*}", "timestamp", "seconds", 1, "microseconds", 2,
			       "event", name, "data", data));
}

static inline json_t *fake_error(const char *class, const char *desc)
{
	return json_pack("{s:{s:s, s:s}}", "error", "class", class, "desc", desc);
}

static inline json_t *fake_ok(void)
{
	return json_pack("{s:{}}", "return");
}

static inline void fake_answer(struct fake *f, const json_t *request, json_t *answer)
{
	json_object_set(answer, "id", json_object_get(request, "id"));
	fake_json(f, answer);
}

static inline void fake_request(struct fake *f, const char *line, size_t len)
{
	json_t *request = json_loadb(line, len, 0, NULL), *answer;
	const char *command = json_string_value(json_object_get(request, "execute"));

	assert_non_null(command);
	json_array_append(f->log, request);
	if (!f->mute) {
		if (!strcmp(command, "qmp_capabilities"))
			answer = fake_ok();
		else
			answer = f->handle ? f->handle(f, command, json_object_get(request, "arguments"))
					   : fake_ok();
		if (answer)
			fake_answer(f, request, answer);
	}
	json_decref(request);
}

static inline void fake_hang_up(struct fake *f)
{
	if (f->fd < 0)
		return;
	f->io = sd_event_source_disable_unref(f->io);
	close_fd(&f->fd);
	f->in_len = 0;
}

static inline int fake_on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	struct fake *f = userdata;
	char *end;
	ssize_t n = recv(fd, f->in + f->in_len, sizeof(f->in) - f->in_len, MSG_DONTWAIT);

	(void)s;
	(void)revents;
	if (n <= 0) {
		f->closed++;
		fake_hang_up(f);
		return 0;
	}
	f->in_len += (size_t)n;
	while (f->fd >= 0 && (end = memchr(f->in, '\n', f->in_len))) {
		size_t len = (size_t)(end - f->in) + 1;
		char *line = strndup(f->in, len);

		f->in_len -= len;
		memmove(f->in, f->in + len, f->in_len);
		fake_request(f, line, len);
		free(line);
	}
	assert_true(f->in_len < sizeof(f->in));
	return 0;
}

/* One client at a time, as QEMU. */
static inline int fake_on_listen(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	struct fake *f = userdata;
	int client;

	(void)s;
	(void)revents;
	if (f->fd >= 0)
		return 0;
	client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(client >= 0);
	f->accepted++;
	f->fd = client;
	assert_true(sd_event_add_io(f->event, &f->io, client, EPOLLIN, fake_on_io, f) >= 0);
	if (!f->mute)
		fake_say(f, FAKE_GREETING);
	return 0;
}

static inline void fake_bind(struct fake *f)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	memcpy(addr.sun_path, f->path, strlen(f->path));
	unlink(f->path);
	f->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(f->listen_fd >= 0);
	assert_return_code(bind(f->listen_fd, (struct sockaddr *)&addr, sizeof(addr)), errno);
}

static inline void fake_listen(struct fake *f)
{
	if (f->listen_fd < 0)
		fake_bind(f);
	assert_return_code(listen(f->listen_fd, 4), errno);
	/* Behind everything else: a second client is accepted when the first is gone. */
	assert_true(sd_event_add_io(f->event, &f->listen_io, f->listen_fd, EPOLLIN, fake_on_listen, f) >= 0);
}

/* The VM ends. */
static inline void fake_stop(struct fake *f)
{
	fake_hang_up(f);
	f->listen_io = sd_event_source_disable_unref(f->listen_io);
	close_fd(&f->listen_fd);
	unlink(f->path);
}

/* Makes a directory for the socket and, if `start`, the socket. */
static inline struct fake *fake_new(sd_event *event, bool start)
{
	struct fake *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->event = event;
	f->fd = f->listen_fd = -1;
	f->log = json_array();
	strcpy(f->dir, "/tmp/vpf-qmp-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/qmp", f->dir);
	if (start)
		fake_listen(f);
	return f;
}

static inline void fake_free(struct fake *f)
{
	fake_stop(f);
	rmdir(f->dir);
	json_decref(f->log);
	free(f);
}

/* The command of entry `i` of the log, NULL beyond its end. */
static inline const char *fake_logged(const struct fake *f, size_t i)
{
	return json_string_value(json_object_get(json_array_get(f->log, i), "execute"));
}

static inline unsigned int fake_count(const struct fake *f, const char *command)
{
	unsigned int n = 0;

	for (size_t i = 0; i < json_array_size(f->log); i++)
		n += !strcmp(fake_logged(f, i), command);
	return n;
}

static inline uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Runs the loop until the condition holds; the test fails when it does not in `ms`. */
#define RUN_UNTIL_MS(event, condition, ms)                                                                   \
	do {                                                                                                 \
		uint64_t end_ = now_ms() + (ms);                                                             \
		while (!(condition)) {                                                                       \
			if (now_ms() >= end_)                                                                \
				fail_msg("not within %u ms: %s", (unsigned int)(ms), #condition);            \
			assert_true(sd_event_run(event, 20000) >= 0);                                        \
		}                                                                                            \
	} while (0)
#define RUN_UNTIL(event, condition) RUN_UNTIL_MS(event, condition, 10000)

/* Runs the loop for so long; returns how often something happened. */
static inline unsigned int run_for(sd_event *event, unsigned int ms)
{
	uint64_t end = now_ms() + ms, now;
	unsigned int n = 0;

	while ((now = now_ms()) < end) {
		int r = sd_event_run(event, (end - now) * 1000);

		assert_true(r >= 0);
		n += r > 0;
	}
	return n;
}
