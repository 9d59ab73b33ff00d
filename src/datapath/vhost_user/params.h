/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a preference for vhost-user says. */

#include "settings/params.h"

struct vhost_user_params {
	/* The back-end's socket, absolute; one that VFs share needs {vf} in it. A path has to fit a socket's address,
	 * also with names filled in. */
	char path[100];
	bool server;  /* vpfd listens and the back-end connects */
	bool offload; /* the back-end takes checksum and segmentation offload */
};
PARAMS_OF(vhost_user_params)
