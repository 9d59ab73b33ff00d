/* SPDX-License-Identifier: Apache-2.0 */

#include "util/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/clock.h"
#include "util/log_share.h"

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

static void write_line(enum log_level level, const struct log_scope *scope, const char *text)
{
	char where[256] = "";
	size_t n = 0;

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

static void write_left_out(const char *pf, uint64_t left_out)
{
	struct log_scope scope = {.pf = pf, .vf = LOG_VF_NONE};
	char text[80];

	snprintf(text, sizeof(text), "%llu lines were left out here: too many at a time",
		 (unsigned long long)left_out);
	write_line(LOG_LVL_WARNING, &scope, text);
}

void log_write(enum log_level level, const struct log_scope *scope, const char *fmt, ...)
{
	const char *pf = scope ? scope->pf : NULL;
	uint64_t left_out = 0;
	char text[1024];
	va_list ap;

	if (level > __atomic_load_n(&max_level, __ATOMIC_RELAXED))
		return;
	if (!log_share_take(pf, clock_us(), &left_out))
		return;
	if (left_out)
		write_left_out(pf, left_out);

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	make_printable(text);
	write_line(level, scope, text);
}

void log_report_left_out(void)
{
	char pf[LOG_SHARE_NAME];
	uint64_t left_out;

	while (log_share_left_out(clock_us(), pf, &left_out))
		write_left_out(*pf ? pf : NULL, left_out);
}
