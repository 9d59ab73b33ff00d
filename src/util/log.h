/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Structured log lines on standard error, one event per line, in the form that journald reads (sd-daemon(3)
 * "<N>" priority prefixes when standard error is not a terminal):
 *
 *	<4>pf=pf0 vf=3 fabric=f0: second client refused: socket in use
 *
 * Thread-safety: any thread. The fast path never logs. Libraries (src/vhost, src/switch) return errors
 * instead of logging; the code that handles the error logs it once. */

#include "util/util.h"

enum log_level {
	LOG_LVL_ERR = 3,
	LOG_LVL_WARNING = 4,
	LOG_LVL_NOTICE = 5,
	LOG_LVL_INFO = 6,
	LOG_LVL_DEBUG = 7
};

/* What a line is about; any pointer may be NULL, vf < 0 means "not about a VF" (LOG_VF_PF: the PF itself). */
struct log_scope {
	const char *fabric;
	const char *pf;
	int vf;
};
#define LOG_VF_NONE (-1)
#define LOG_VF_PF   (-2)

void log_set_level(enum log_level max);
/* Each virtual PF has a share of the lines, and lines about none of them have one (log_share.h): excess lines are
 * left out, and counted. */
void log_write(enum log_level level, const struct log_scope *scope, const char *fmt, ...) printf_like(3, 4);

/* Says how many lines were left out where no further line has said so. To be called now and then. */
void log_report_left_out(void);

#define log_error(...)   log_write(LOG_LVL_ERR, NULL, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LVL_WARNING, NULL, __VA_ARGS__)
#define log_notice(...)  log_write(LOG_LVL_NOTICE, NULL, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LVL_INFO, NULL, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LVL_DEBUG, NULL, __VA_ARGS__)
