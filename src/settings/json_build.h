/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Building JSON, and its text, without losing a part where memory is short.
 *
 * Member by member: without memory the whole becomes NULL and stays NULL, so that one look at the end is enough.
 * The functions take a reference to what is added; NULL: there was no memory for it. Thread-safety: pure. */

#include <jansson.h>

/* Sets a member of the object. */
void json_put(json_t **object, const char *name, json_t *value);
/* Sets all members of another object. */
void json_join(json_t **object, json_t *members);
/* Appends to the array. */
void json_add(json_t **array, json_t *value);

/* The value as text, to be freed; NULL: out of memory, or `value` is NULL. Instead of json_dumps(), which may
 * leave names of members out where memory is short (jansson 2.14 does not look whether they were written). */
char *json_text(const json_t *value, size_t flags);
