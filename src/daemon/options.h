/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* vpfd's command line. */

#include <sys/types.h>

#include "util/err.h"
#include "util/log.h"

#define OPTIONS_WORKERS_MAX 64

struct options {
	const char *run_dir; /* from the command line or the environment: borrowed */
	const char *state_dir;
	unsigned int workers;
	int cpus[OPTIONS_WORKERS_MAX]; /* of each worker, -1: not pinned */
	unsigned int poll_us;
	unsigned int socket_mode;
	gid_t group; /* (gid_t)-1: unchanged */
	enum log_level log_level;
};

/* What --memory-fs names is allowed at once (vhost/guest_fs.h).
 * 0: run; 1: --help or --version was printed, leave with success; -EINVAL with `err`. */
int options_parse(int argc, char *argv[], struct options *ret, struct err *err);
