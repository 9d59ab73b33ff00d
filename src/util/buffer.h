/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A buffer to which bytes are added at the end and from which they are taken at the start. All zeros is an
 * empty one. Thread-safety: none. */

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

struct buffer {
	char *bytes;
	size_t start, end, room;
};

static inline size_t buffer_size(const struct buffer *b)
{
	return b->end - b->start;
}

static inline const char *buffer_data(const struct buffer *b)
{
	return b->bytes + b->start;
}

/* Room for `size` bytes after the last one; NULL: out of memory. buffer_added() says how many were written
 * there. */
static inline void *buffer_room(struct buffer *b, size_t size)
{
	if (b->room - b->end < size && b->start) {
		memmove(b->bytes, b->bytes + b->start, buffer_size(b));
		b->end -= b->start;
		b->start = 0;
	}
	if (b->room - b->end < size) {
		size_t room = MAX(b->end + size, 2 * b->room);
		char *bytes = realloc(b->bytes, room);

		if (!bytes)
			return NULL;
		b->bytes = bytes;
		b->room = room;
	}
	return b->bytes + b->end;
}

static inline void buffer_added(struct buffer *b, size_t size)
{
	b->end += size;
}

static inline int buffer_append(struct buffer *b, const char *data, size_t size)
{
	void *room = buffer_room(b, size);

	if (!room)
		return -ENOMEM;
	memcpy(room, data, size);
	buffer_added(b, size);
	return 0;
}

static inline void buffer_free(struct buffer *b)
{
	free(b->bytes);
	*b = (struct buffer){0};
}

/* An emptied buffer frees its memory, so that one large reply does not hold it for good. */
static inline void buffer_consume(struct buffer *b, size_t size)
{
	b->start += size;
	if (b->start == b->end)
		buffer_free(b);
}
