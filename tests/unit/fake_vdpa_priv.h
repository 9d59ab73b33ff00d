/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Between the files of the made-up kernel: its system calls, and what its devices do. All with the lock. */

#include "fake_vdpa.h"

/* As on VHOST_VDPA_SET_STATUS of 0; a close does it, too. */
void fake_vdpa_reset(struct fake_vdpa *d);
/* 0 or negative errno. */
int fake_vdpa_ioctl(struct fake_vdpa *d, unsigned long request, void *arg);
int fake_vdpa_iotlb(struct fake_vdpa *d, const struct vhost_msg_v2 *msg);
