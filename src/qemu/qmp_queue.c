/* SPDX-License-Identifier: Apache-2.0 */
#include "qemu/qmp_queue.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "settings/json_build.h"

struct command {
	struct command *next;
	const void *owner;
	qmp_reply_fn fn; /* NULL: its reply is not wanted (any more) */
	void *arg;
	char id[24];
	size_t len;
	char line[];
};

static int command_new(const char *command, uint64_t number, json_t *args, struct command **ret)
{
	_cleanup_free_ char *text = NULL;
	struct command *cmd;
	json_t *object;
	char id[sizeof(cmd->id)];
	size_t len;

	snprintf(id, sizeof(id), "%" PRIu64, number);
	object = json_pack("{s:s, s:s, s:o*}", "execute", command, "id", id, "arguments", args);
	if (!object)
		return -ENOMEM; /* "o" has taken the reference to args all the same */
	text = json_text(object, JSON_COMPACT);
	json_decref(object);
	if (!text)
		return -ENOMEM;
	len = strlen(text);
	cmd = malloc(sizeof(*cmd) + len + 1);
	if (!cmd)
		return -ENOMEM;
	*cmd = (struct command){.len = len + 1};
	memcpy(cmd->id, id, sizeof(id));
	memcpy(cmd->line, text, len);
	cmd->line[len] = '\n';
	*ret = cmd;
	return 0;
}

int queue_add(struct qmp_queue *q, const void *owner, const char *command, json_t *args, qmp_reply_fn fn,
	      void *arg)
{
	struct command *cmd;
	int r = command_new(command, q->last_id + 1, args, &cmd);

	if (r < 0)
		return r;
	q->last_id++;
	cmd->owner = owner;
	cmd->fn = fn;
	cmd->arg = arg;
	if (q->tail)
		q->tail->next = cmd;
	else
		q->head = cmd;
	q->tail = cmd;
	if (!q->unsent)
		q->unsent = cmd;
	q->queued++;
	return 0;
}

bool queue_out(const struct qmp_queue *q, const char **ret_data, size_t *ret_size)
{
	if (!q->unsent || q->in_flight >= QMP_IN_FLIGHT)
		return false;
	*ret_data = q->unsent->line + q->out_off;
	*ret_size = q->unsent->len - q->out_off;
	return true;
}

void queue_sent(struct qmp_queue *q, size_t n)
{
	q->out_off += n;
	if (q->out_off < q->unsent->len)
		return;
	q->out_off = 0;
	q->in_flight++;
	q->unsent = q->unsent->next;
}

int queue_answered(struct qmp_queue *q, const json_t *answer, struct command **ret_done)
{
	const char *id = json_string_value(json_object_get(answer, "id"));
	struct command *cmd = q->head;

	if (q->in_flight == 0 || !id || strcmp(id, cmd->id) != 0)
		return -EPROTO;
	q->head = cmd->next;
	if (!q->head)
		q->tail = NULL;
	q->in_flight--;
	q->queued--;
	*ret_done = cmd;
	return 0;
}

/* Cuts QEMU's text down to one printable line of ASCII: a UTF-8 character cut in half would break our own
 * JSON. */
static void printable(char *dst, size_t size, const char *src)
{
	size_t i;

	for (i = 0; src[i] && i + 1 < size; i++)
		dst[i] = (unsigned char)src[i] < 0x20 ? ' ' : (unsigned char)src[i] < 0x7f ? src[i] : '?';
	dst[i] = '\0';
	while (i > 0 && (dst[i - 1] == ' ' || dst[i - 1] == '.'))
		dst[--i] = '\0';
}

static int read_error(const json_t *error, struct err *ret)
{
	const char *class = json_string_value(json_object_get(error, "class"));
	const char *desc = json_string_value(json_object_get(error, "desc"));
	char text[200];
	int code = EREMOTEIO;

	if (class && !strcmp(class, "DeviceNotFound"))
		code = ENODEV;
	else if (class && !strcmp(class, "CommandNotFound"))
		code = ENOSYS;
	printable(text, sizeof(text), desc ? desc : "an error without a description");
	return err_set(ret, code, "", "QEMU says: %s", text);
}

static void reply(struct command *cmd, int code, const json_t *ret, const struct err *err)
{
	if (cmd->fn)
		cmd->fn(cmd->arg, code, ret, err);
	free(cmd);
}

void queue_finish(struct command *done, const json_t *answer)
{
	const json_t *error = json_object_get(answer, "error");
	struct err err = {};

	if (error)
		reply(done, read_error(error, &err), NULL, &err);
	else
		reply(done, 0, json_object_get(answer, "return"), NULL);
}

static void cancel_list(struct command *list, const void *owner)
{
	struct err err = {};

	err_set(&err, ECANCELED, "", "the request was abandoned");
	for (struct command *cmd = list; cmd; cmd = cmd->next) {
		qmp_reply_fn fn = cmd->fn;

		if (cmd->owner != owner)
			continue;
		cmd->fn = NULL;
		if (fn)
			fn(cmd->arg, -ECANCELED, NULL, &err);
	}
}

void queue_cancel(struct qmp_queue *q, const void *owner)
{
	struct command **p = &q->head, **first;

	cancel_list(q->doomed, owner);
	cancel_list(q->head, owner);
	/* A command of which QEMU has not received a byte is not sent. */
	while (*p && *p != q->unsent)
		p = &(*p)->next;
	if (*p && q->out_off > 0)
		p = &(*p)->next;
	first = p;
	while (*p) {
		struct command *cmd = *p;

		if (cmd->owner != owner) {
			p = &cmd->next;
			continue;
		}
		*p = cmd->next;
		q->queued--;
		free(cmd);
	}
	if (q->out_off == 0)
		q->unsent = *first;
	q->tail = NULL;
	for (struct command *cmd = q->head; cmd; cmd = cmd->next)
		q->tail = cmd;
}

static struct command *take_all(struct qmp_queue *q)
{
	struct command *all = q->head;

	*q = (struct qmp_queue){.last_id = q->last_id};
	return all;
}

void queue_fail(struct qmp_queue *q, const char *why)
{
	struct command *all = take_all(q);
	struct err err = {};

	err_set(&err, ENOTCONN, "", "%s", why);
	q->doomed = all;
	while (q->doomed) {
		struct command *cmd = q->doomed;

		q->doomed = cmd->next;
		reply(cmd, -ENOTCONN, NULL, &err);
	}
}

void queue_clear(struct qmp_queue *q)
{
	struct command *all = take_all(q);

	while (all) {
		struct command *cmd = all;

		all = cmd->next;
		free(cmd);
	}
}
