/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The running program: where vpfd is and where output goes. Thread-safety: single-threaded. */

#include "ctl/client.h"
#include "ctl/out.h"

struct ctl {
	const char *socket;
	struct out out;
	struct client *client; /* opened at the first call */
};

/* Calls vpfd, after connecting if necessary; see client_call(). */
int ctl_call(struct ctl *ctl, const char *method, json_t *params, json_t **ret, struct err *err);

/* --socket, $VPF_SOCKET or the default. Borrowed. */
const char *ctl_socket(const char *option);

int ctl_main(int argc, char *argv[]);
