/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* vDPA's generic netlink family: which management devices and vDPA devices there are, creating and deleting
 * one.
 *
 * Source: <linux/vdpa.h>, vdpa-dev(8), vdpa-mgmtdev(8). Creating and deleting need CAP_NET_ADMIN.
 *
 * Thread-safety: any thread; each call has a socket of its own. Calls wait for the kernel, which creates a
 * device while we wait and holds the family's lock for it; never on the main thread, but for
 * vdpa_pool_snapshot(). */

#include <libmnl/libmnl.h>

#include "datapath/vdpa/vdpa_sys.h"

#define VDPA_NAME_MAX 64  /* bytes with the final NUL */
#define VDPA_LIST_MAX 512 /* devices, management devices: any beyond this are ignored */

struct vdpa_mgmtdev {
	char name[VDPA_NAME_MAX]; /* "BUS/DEVICE", or "DEVICE" where there is no bus */
	uint64_t classes;         /* bit VIRTIO_ID_* */
	uint32_t max_vqs;         /* 0: not said */
	uint64_t features;        /* virtio features of its devices, 0: not said */
};

struct vdpa_dev {
	char name[VDPA_NAME_MAX];
	char mgmtdev[VDPA_NAME_MAX];
	uint32_t device_id; /* VIRTIO_ID_NET: 1 */
	uint32_t max_vqs;
	uint64_t features;  /* 0: not said */
	uint16_t max_pairs; /* 0: not said */
};

struct vdpa_netlink_list { /* what vdpa_list_free() frees */
	struct vdpa_mgmtdev *mgmtdev;
	struct vdpa_dev *dev;
	unsigned int n_mgmtdev, n_dev;
};

/* -ENOENT: the kernel has no vDPA (its module is not loaded); -ENOMEM, or the kernel's error. */
int vdpa_list(struct vdpa_netlink_list *ret);
void vdpa_list_free(struct vdpa_netlink_list *list);
/* The kernel's errno, with its own words in `err`: -EEXIST, -EOPNOTSUPP (an attribute that the management
 * device does not know), -ENOSPC (it has none left)… */
int vdpa_dev_new(const struct vdpa_new *what, struct err *err);
int vdpa_dev_del(const char *name, struct err *err);

/* Messages, for the above and for tests. `nlh` has its generic netlink header; _build() appends the
 * attributes. */
void vdpa_new_build(struct nlmsghdr *nlh, const struct vdpa_new *what);
/* Adds the contents of a dump's message to the list: -EBADMSG for one without a name. A DEV_CONFIG message adds to
 * the device of that name. */
int vdpa_list_parse(const struct nlmsghdr *nlh, struct vdpa_netlink_list *list);
