/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/json_build.h"

#include "util/buffer.h"

static void drop(json_t **whole)
{
	json_decref(*whole);
	*whole = NULL;
}

void json_put(json_t **object, const char *name, json_t *value)
{
	if (json_object_set_new(*object, name, value) < 0)
		drop(object);
}

void json_join(json_t **object, json_t *members)
{
	if (json_object_update_new(*object, members) < 0)
		drop(object);
}

void json_add(json_t **array, json_t *value)
{
	if (json_array_append_new(*array, value) < 0)
		drop(array);
}

struct text {
	struct buffer buffer;
	bool failed; /* something is missing */
};

static int append(const char *data, size_t size, void *ctx)
{
	struct text *t = ctx;

	t->failed = t->failed || buffer_append(&t->buffer, data, size) < 0;
	return t->failed ? -1 : 0;
}

char *json_text(const json_t *value, size_t flags)
{
	struct text t = {0};

	/* The end of the text is the last thing that must fit. */
	if (!value || json_dump_callback(value, append, &t, flags) < 0 || append("", 1, &t) < 0) {
		buffer_free(&t.buffer);
		return NULL;
	}
	return t.buffer.bytes; /* nothing was taken from its start */
}
