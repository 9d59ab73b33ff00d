/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What vpfctl prints: text with styles, lists of named values, aligned tables; or JSON.
 *
 * Text from vpfd may go back to a guest or another user: control characters are replaced, so that no name or
 * message can control the terminal. Write errors are kept by stdio and found by out_finish(). Thread-safety:
 * single-threaded. */

#include <jansson.h>
#include <stdio.h>

#include "util/util.h"

struct out {
	FILE *file;
	bool json;     /* print results as received from vpfd, not as text */
	bool color;    /* escape sequences are allowed */
	bool terminal; /* output is a terminal: the screen may be redrawn */
};

enum style { STYLE_PLAIN, STYLE_HEAD, STYLE_GOOD, STYLE_BAD, STYLE_WARN, STYLE_DIM };

void out_text(struct out *out, enum style style, const char *fmt, ...) printf_like(3, 4);
/* "Name            value": one line of a description. */
void out_field(struct out *out, const char *name, enum style style, const char *fmt, ...) printf_like(4, 5);
void out_json(struct out *out, const json_t *value);      /* indented */
void out_json_line(struct out *out, const json_t *value); /* one line, flushed */
/* One word for a POSIX shell. */
void out_shell_word(struct out *out, const char *word);
/* Flushes; negative errno if anything could not be written. */
int out_finish(struct out *out);

/* A table grows cell by cell, row after row, and is printed when all widths are known. Running out of memory
 * ends the program: there is nothing to undo. */
struct table;
enum align { ALIGN_LEFT, ALIGN_RIGHT };
struct column {
	const char *head;
	enum align align;
};

struct table *table_new(const struct column *columns, unsigned int n);
void table_cell(struct table *t, enum style style, const char *fmt, ...) printf_like(3, 4);
void table_print(struct out *out, const struct table *t);
void table_free(struct table *t);
static inline void table_freep(struct table **t)
{
	table_free(*t);
}
#define _cleanup_table_ __attribute__((cleanup(table_freep)))
