/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VPF_REQUEST_H
#define VPF_REQUEST_H

/* Requests to vpfd: one at a time, repeated until answered, bounded in time. */

#include <linux/types.h>

#include "codec.h"

struct vpf_pf;

/* A request and its reply. */
struct vpf_request {
	u8 type; /* VPF_CTL_GET, _SET or _STATS */
	u16 first, count; /* GET, STATS */
	struct vpf_set set; /* SET */
	/* reply */
	u16 status;
	u16 ret_first, ret_count;
	char text[VPF_TEXT_LEN + 1];
};

int vpf_request(struct vpf_pf *pf, struct vpf_request *request, unsigned int timeout_ms);
int vpf_request_sync(struct vpf_pf *pf);
int vpf_request_stats(struct vpf_pf *pf, unsigned int vfs);

#endif
