/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Shares of the log. What a guest, its front-end or a client of the API does can be a line each time, as fast as they
 * like. Each virtual PF has a share, so that it fills neither the host's disk nor a log that keeps the newest lines
 * of all; lines about none have one, too. Excess lines are left out, and counted.
 *
 * Thread-safety: any thread. */

#include <stdbool.h>
#include <stdint.h>

/* At once: what a VM with 255 VFs says when it starts, and again. From then on, as many a second. */
#define LOG_SHARE_BURST      4000
#define LOG_SHARE_PF_RATE    10
#define LOG_SHARE_OTHER_RATE 100
#define LOG_SHARE_NAME       32 /* bytes of a PF's name that count */

/* Whether a line about this PF (NULL: about none) may be written at `now` (µs). If so, *ret_left_out is the number
 * left out since the last one that was written. */
bool log_share_take(const char *pf, uint64_t now, uint64_t *ret_left_out);
/* The next share that left lines out, of which nothing was said for LOG_SHARE_REPORT_US: its name, "" for none, and how
 * many. False: there is none. To be called again until then; costs nothing if no share was exceeded. */
bool log_share_left_out(uint64_t now, char ret_pf[LOG_SHARE_NAME], uint64_t *ret_left_out);
#define LOG_SHARE_REPORT_US 10000000
