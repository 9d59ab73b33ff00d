/* SPDX-License-Identifier: Apache-2.0 */

#include "ctl/out.h"

#include <stdarg.h>
#include <string.h>

static const char *const escapes[] = {
	[STYLE_PLAIN] = "",         [STYLE_HEAD] = "\033[1m",  [STYLE_GOOD] = "\033[32m",
	[STYLE_BAD] = "\033[1;31m", [STYLE_WARN] = "\033[33m", [STYLE_DIM] = "\033[2m",
};

static __attribute__((noreturn)) void no_memory(void)
{
	static const char text[] = "vpfctl: out of memory\n";

	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	_exit(1);
}

static char *format(const char *fmt, va_list ap) printf_like(1, 0);
static char *format(const char *fmt, va_list ap)
{
	char *s;

	if (vasprintf(&s, fmt, ap) < 0)
		no_memory();
	return s;
}

/* C0 controls other than the newline, DEL, and the C1 controls as UTF-8 (C2 80…C2 9F). */
static void make_printable(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p; p++) {
		if ((*p < 0x20 && *p != '\n') || *p == 0x7f)
			*p = '?';
		else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
			p[0] = p[1] = '?';
	}
}

static void put(struct out *out, enum style style, const char *text)
{
	if (out->color && style != STYLE_PLAIN)
		fprintf(out->file, "%s%s\033[0m", escapes[style], text);
	else
		fputs(text, out->file);
}

void out_text(struct out *out, enum style style, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = format(fmt, ap);
	va_end(ap);
	make_printable(text);
	put(out, style, text);
}

void out_field(struct out *out, const char *name, enum style style, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = format(fmt, ap);
	va_end(ap);
	make_printable(text);
	fprintf(out->file, "%-18s", name);
	put(out, style, text);
	fputc('\n', out->file);
}

void out_json(struct out *out, const json_t *value)
{
	json_dumpf(value, out->file, JSON_INDENT(2) | JSON_ENCODE_ANY);
	fputc('\n', out->file);
}

void out_json_line(struct out *out, const json_t *value)
{
	json_dumpf(value, out->file, JSON_ENCODE_ANY);
	fputc('\n', out->file);
	fflush(out->file);
}

void out_shell_word(struct out *out, const char *word)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/@%";

	if (*word && !word[strspn(word, safe)]) {
		fputs(word, out->file);
		return;
	}
	fputc('\'', out->file);
	for (; *word; word++)
		if (*word == '\'')
			fputs("'\\''", out->file);
		else
			fputc(*word, out->file);
	fputc('\'', out->file);
}

int out_finish(struct out *out)
{
	if (fflush(out->file) != 0)
		return -errno;
	return ferror(out->file) ? -EIO : 0;
}

struct cell {
	char *text;
	enum style style;
};

struct table {
	const struct column *columns;
	unsigned int columns_n, cells_n, cells_room;
	struct cell *cells;
};

struct table *table_new(const struct column *columns, unsigned int n)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		no_memory();
	t->columns = columns;
	t->columns_n = n;
	return t;
}

void table_cell(struct table *t, enum style style, const char *fmt, ...)
{
	va_list ap;

	if (t->cells_n == t->cells_room) {
		unsigned int room = t->cells_room ? 2 * t->cells_room : 64;
		struct cell *cells = reallocarray(t->cells, room, sizeof(*cells));

		if (!cells)
			no_memory();
		t->cells = cells;
		t->cells_room = room;
	}
	va_start(ap, fmt);
	t->cells[t->cells_n] = (struct cell){.text = format(fmt, ap), .style = style};
	va_end(ap);
	make_printable(t->cells[t->cells_n++].text);
}

/* Characters, not bytes: continuation bytes of UTF-8 take no column. */
static unsigned int width(const char *text)
{
	unsigned int n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void pad(struct out *out, unsigned int n)
{
	while (n--)
		fputc(' ', out->file);
}

static void print_cell(struct out *out, const char *text, enum style style, enum align align,
		       unsigned int room, bool last)
{
	unsigned int space = room - width(text);

	if (align == ALIGN_RIGHT)
		pad(out, space);
	put(out, style, text);
	if (last)
		fputc('\n', out->file);
	else
		pad(out, (align == ALIGN_LEFT ? space : 0) + 2);
}

void table_print(struct out *out, const struct table *t)
{
	_cleanup_free_ unsigned int *widths = calloc(t->columns_n, sizeof(*widths));

	if (!widths)
		no_memory();
	for (unsigned int c = 0; c < t->columns_n; c++)
		widths[c] = width(t->columns[c].head);
	for (unsigned int i = 0; i < t->cells_n; i++)
		widths[i % t->columns_n] = MAX(widths[i % t->columns_n], width(t->cells[i].text));

	for (unsigned int c = 0; c < t->columns_n; c++)
		print_cell(out, t->columns[c].head, STYLE_HEAD, t->columns[c].align, widths[c],
			   c + 1 == t->columns_n);
	for (unsigned int i = 0; i < t->cells_n; i++) {
		unsigned int c = i % t->columns_n;

		print_cell(out, t->cells[i].text, t->cells[i].style, t->columns[c].align, widths[c],
			   c + 1 == t->columns_n);
	}
}

void table_free(struct table *t)
{
	if (!t)
		return;
	for (unsigned int i = 0; i < t->cells_n; i++)
		free(t->cells[i].text);
	free(t->cells);
	free(t);
}
