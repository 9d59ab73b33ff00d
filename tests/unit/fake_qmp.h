/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A QMP monitor played by the test, in the test's own event loop: what QEMU says is up to the test's
 * handler. */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#define FQ_GREETING                                                                                          \
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 3, \"minor\": 1, \"major\": 11}, \"package\": "      \
	"\"\"}, \"capabilities\": [\"oob\"]}}\r\n"

struct fake_qmp {
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
	json_t *(*handle)(struct fake_qmp *f, const char *command, const json_t *args);
	void *ctx;
};

void fq_raw(struct fake_qmp *f, const char *data, size_t len);
void fq_say(struct fake_qmp *f, const char *text);
/* Sends and frees. */
void fq_json(struct fake_qmp *f, json_t *message);
void fq_event(struct fake_qmp *f, const char *name, json_t *data);
json_t *fq_error(const char *class, const char *desc);
json_t *fq_ok(void);
void fq_answer(struct fake_qmp *f, const json_t *request, json_t *answer);
void fq_hang_up(struct fake_qmp *f);
/* Without listening: a client is refused. */
void fq_bind(struct fake_qmp *f);
void fq_listen(struct fake_qmp *f);
/* The VM ends. */
void fq_stop(struct fake_qmp *f);
/* Makes a directory for the socket and, if `start`, the socket. */
struct fake_qmp *fq_new(sd_event *event, bool start);
void fq_free(struct fake_qmp *f);
/* The command of entry `i` of the log, NULL beyond its end. */
const char *fq_logged(const struct fake_qmp *f, size_t i);
/* How often a command was received. */
unsigned int fq_count(const struct fake_qmp *f, const char *command);
/* A handler that never answers. */
json_t *fq_silent(struct fake_qmp *f, const char *command, const json_t *args);

uint64_t fq_now_ms(void);

/* Runs the loop until the condition holds; the test fails when it does not in `ms`. */
#define RUN_UNTIL_MS(event, condition, ms)                                                                   \
	do {                                                                                                 \
		uint64_t end_ = fq_now_ms() + (ms);                                                          \
		while (!(condition)) {                                                                       \
			if (fq_now_ms() >= end_)                                                             \
				fail_msg("not within %u ms: %s", (unsigned int)(ms), #condition);            \
			assert_true(sd_event_run(event, 20000) >= 0);                                        \
		}                                                                                            \
	} while (0)
#define RUN_UNTIL(event, condition) RUN_UNTIL_MS(event, condition, 10000)

/* Runs the loop for so long; returns how often something happened. */
unsigned int fq_run_for(sd_event *event, unsigned int ms);
