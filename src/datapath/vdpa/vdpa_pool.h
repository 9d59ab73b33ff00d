/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which vDPA device a function gets: existing ones that match a preference's `path`, else one that is created on a
 * management device that matches its `mgmtdev`, and deleted afterwards.
 *
 * Theory of operation. A device belongs to one function alone: within this process by a table here, and otherwise by
 * the kernel, which allows only one open of /dev/vhost-vdpa-N. A device on no driver is bound to vhost_vdpa and
 * unbound afterwards; one on another driver is in use otherwise. Devices on management device "vduse" are served by
 * programs: what can be created there has the names found in /dev/vduse.
 *
 * Thread-safety: any thread; calls wait for the kernel and for devices: not on the main one, except for those that
 * say so. */

#include "datapath/vdpa/params.h"
#include "datapath/vdpa/vdpa_netlink.h"
#include "settings/settings.h"

struct vdpa_request {
	struct vdpa_params wish;
	char pf[VPF_NAME_MAX];
	unsigned int fn; /* VPF_FUNCTION_* */
	uint8_t mac[6];
	uint16_t mtu, pairs;
};

struct vdpa_lease {
	char name[VDPA_NAME_MAX];
	char node[128];      /* "/dev/vhost-vdpa-0" */
	int fd;              /* of it */
	bool vduse;          /* a VDUSE server serves it */
	bool created, bound; /* by us */
};

/* Whether the device is suitable: 0, or a negative errno, and the next one is tried. */
typedef int vdpa_try_fn(void *arg, const struct vdpa_lease *lease, struct err *err);

/* -ENODEV: nothing matches; -EBUSY: all in use; or why the last one was not suitable (-EACCES, -EMEDIUMTYPE: no
 * network device, …). */
int vdpa_pool_acquire(const struct vdpa_request *req, vdpa_try_fn *try, void *arg, struct vdpa_lease *ret,
		      struct err *err);
/* Closes it, unbinds or deletes it if it was bound or created here; it is free afterwards. */
void vdpa_pool_release(struct vdpa_lease *lease);

/* Which function has a device; false: none of this process. Main thread, too. */
bool vdpa_pool_user(const char *name, char ret_pf[VPF_NAME_MAX], unsigned int *ret_fn);
/* The name of the kernel's driver that a device is on; "" none. Main thread, too. */
void vdpa_pool_driver(const char *name, char ret[64]);

/* What the kernel has, without waiting for it longer than 300 ms: then what was known last, or -ETIMEDOUT.
 * The caller frees. Main thread, too. */
int vdpa_pool_snapshot(struct vdpa_netlink_list *ret);
/* As datapath_ops.remember: while it is on, the kernel is asked once. Main thread, too. */
void vdpa_pool_remember(bool on);
