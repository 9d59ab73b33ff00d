/* SPDX-License-Identifier: Apache-2.0 */

#include "fake_qmp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "util/util.h"

void fq_raw(struct fake_qmp *f, const char *data, size_t len)
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

void fq_say(struct fake_qmp *f, const char *text)
{
	fq_raw(f, text, strlen(text));
}

void fq_json(struct fake_qmp *f, json_t *message)
{
	char *text = json_dumps(message, JSON_COMPACT);

	assert_non_null(text);
	fq_say(f, text);
	fq_say(f, "\r\n");
	free(text);
	json_decref(message);
}

void fq_event(struct fake_qmp *f, const char *name, json_t *data)
{
	fq_json(f, json_pack("{s:{s:i, s:i}, s:s, s:o*}", "timestamp", "seconds", 1, "microseconds", 2,
			     "event", name, "data", data));
}

json_t *fq_error(const char *class, const char *desc)
{
	return json_pack("{s:{s:s, s:s}}", "error", "class", class, "desc", desc);
}

json_t *fq_ok(void)
{
	return json_pack("{s:{}}", "return");
}

void fq_answer(struct fake_qmp *f, const json_t *request, json_t *answer)
{
	json_object_set(answer, "id", json_object_get(request, "id"));
	fq_json(f, answer);
}

static void fq_request(struct fake_qmp *f, const char *line, size_t len)
{
	json_t *request = json_loadb(line, len, 0, NULL), *answer;
	const char *command = json_string_value(json_object_get(request, "execute"));

	assert_non_null(command);
	json_array_append(f->log, request);
	if (!f->mute) {
		if (!strcmp(command, "qmp_capabilities"))
			answer = fq_ok();
		else
			answer = f->handle ? f->handle(f, command, json_object_get(request, "arguments"))
					   : fq_ok();
		if (answer)
			fq_answer(f, request, answer);
	}
	json_decref(request);
}

void fq_hang_up(struct fake_qmp *f)
{
	if (f->fd < 0)
		return;
	f->io = sd_event_source_disable_unref(f->io);
	close_fd(&f->fd);
	f->in_len = 0;
}

static int fq_on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	struct fake_qmp *f = userdata;
	char *end;
	ssize_t n = recv(fd, f->in + f->in_len, sizeof(f->in) - f->in_len, MSG_DONTWAIT);

	(void)s;
	(void)revents;
	if (n <= 0) {
		f->closed++;
		fq_hang_up(f);
		return 0;
	}
	f->in_len += (size_t)n;
	while (f->fd >= 0 && (end = memchr(f->in, '\n', f->in_len))) {
		size_t len = (size_t)(end - f->in) + 1;
		char *line = strndup(f->in, len);

		f->in_len -= len;
		memmove(f->in, f->in + len, f->in_len);
		fq_request(f, line, len);
		free(line);
	}
	assert_true(f->in_len < sizeof(f->in));
	return 0;
}

/* One client at a time, as QEMU. */
static int fq_on_listen(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	struct fake_qmp *f = userdata;
	int client;

	(void)s;
	(void)revents;
	if (f->fd >= 0)
		return 0;
	client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(client >= 0);
	f->accepted++;
	f->fd = client;
	assert_true(sd_event_add_io(f->event, &f->io, client, EPOLLIN, fq_on_io, f) >= 0);
	if (!f->mute)
		fq_say(f, FQ_GREETING);
	return 0;
}

void fq_bind(struct fake_qmp *f)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	memcpy(addr.sun_path, f->path, strlen(f->path));
	unlink(f->path);
	f->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(f->listen_fd >= 0);
	assert_return_code(bind(f->listen_fd, (struct sockaddr *)&addr, sizeof(addr)), errno);
}

void fq_listen(struct fake_qmp *f)
{
	if (f->listen_fd < 0)
		fq_bind(f);
	assert_return_code(listen(f->listen_fd, 4), errno);
	/* Behind everything else: a second client is accepted when the first is gone. */
	assert_true(sd_event_add_io(f->event, &f->listen_io, f->listen_fd, EPOLLIN, fq_on_listen, f) >= 0);
}

void fq_stop(struct fake_qmp *f)
{
	fq_hang_up(f);
	f->listen_io = sd_event_source_disable_unref(f->listen_io);
	close_fd(&f->listen_fd);
	unlink(f->path);
}

struct fake_qmp *fq_new(sd_event *event, bool start)
{
	struct fake_qmp *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->event = event;
	f->fd = f->listen_fd = -1;
	f->log = json_array();
	strcpy(f->dir, "/tmp/vpf-qmp-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/qmp", f->dir);
	if (start)
		fq_listen(f);
	return f;
}

void fq_free(struct fake_qmp *f)
{
	fq_stop(f);
	rmdir(f->dir);
	json_decref(f->log);
	free(f);
}

const char *fq_logged(const struct fake_qmp *f, size_t i)
{
	return json_string_value(json_object_get(json_array_get(f->log, i), "execute"));
}

unsigned int fq_count(const struct fake_qmp *f, const char *command)
{
	unsigned int n = 0;

	for (size_t i = 0; i < json_array_size(f->log); i++)
		n += !strcmp(fq_logged(f, i), command);
	return n;
}

uint64_t fq_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

unsigned int fq_run_for(sd_event *event, unsigned int ms)
{
	uint64_t end = fq_now_ms() + ms, now;
	unsigned int n = 0;

	while ((now = fq_now_ms()) < end) {
		int r = sd_event_run(event, (end - now) * 1000);

		assert_true(r >= 0);
		n += r > 0;
	}
	return n;
}

json_t *fq_silent(struct fake_qmp *f, const char *command, const json_t *args)
{
	(void)f;
	(void)command;
	(void)args;
	return NULL;
}
