/* SPDX-License-Identifier: Apache-2.0 */

#include "util/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static enum log_level max_level = LOG_LVL_INFO;

void log_set_level(enum log_level max)
{
	__atomic_store_n(&max_level, max, __ATOMIC_RELAXED);
}

/* Text from a peer may reach a line: control characters would forge further lines. */
static void make_printable(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

void log_write(enum log_level level, const struct log_scope *scope, const char *fmt, ...)
{
	char text[1024], where[256] = "";
	size_t n = 0;
	va_list ap;

	if (level > __atomic_load_n(&max_level, __ATOMIC_RELAXED))
		return;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	make_printable(text);

	if (scope && scope->fabric)
		n += (size_t)snprintf(where + n, sizeof(where) - n, "fabric=%s ", scope->fabric);
	if (scope && scope->pf)
		n += (size_t)snprintf(where + n, sizeof(where) - n, "pf=%s ", scope->pf);
	if (scope && scope->vf >= 0)
		n += (size_t)snprintf(where + n, sizeof(where) - n, "vf=%d ", scope->vf);
	if (n)
		where[n - 1] = ':';

	/* One write, so that lines of different threads do not mix. */
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "%s%s%s\n", where, n ? " " : "", text);
	else
		fprintf(stderr, "<%d>%s%s%s\n", level, where, n ? " " : "", text);
}
