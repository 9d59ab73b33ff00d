/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the vdpa datapath asks of the kernel, as a table, so that unit tests can replace it by a device of their own:
 * one with a control queue, address spaces and doorbells, one that refuses, hangs or dies.
 *
 * Source: <linux/vhost.h> ("VHOST_VDPA specific defines"), <linux/vdpa.h>; names that Debian 12's headers
 * lack are defined here by their values.
 *
 * Thread-safety: the functions may be called on any thread and may block for long. `vdpa_sys` is set once,
 * before there are threads. */

#include <linux/vdpa.h>
#include <linux/vhost.h>
#include <sys/types.h>

#include "util/err.h"

#ifndef VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK
#define VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK 0x6
#endif
#ifndef VHOST_BACKEND_F_IOTLB_PERSIST
#define VHOST_BACKEND_F_IOTLB_PERSIST 0x8
#endif

struct vdpa_netlink_list;

struct vdpa_new { /* what VDPA_CMD_DEV_NEW asks for */
	char name[64];
	char mgmtdev[64]; /* "vduse", "pci/0000:3b:00.2" */
	uint8_t mac[6];   /* zeros: not asked for */
	uint16_t mtu;     /* 0: not asked for */
	uint16_t pairs;   /* 0: not asked for */
};

struct vdpa_sys {
	const char *sysfs; /* "/sys" */
	const char *dev;   /* "/dev" */
	/* As the system calls, with a negative errno. */
	int (*open)(const char *path);
	void (*close)(int fd);
	int (*ioctl)(int fd, unsigned long request, void *arg);
	int (*write)(int fd, const void *data, size_t len);
	void *(*mmap)(int fd, size_t len, off_t offset); /* shared, to read and write; NULL: it cannot be */
	void (*munmap)(void *p, size_t len);
	/* Netlink (datapath/vdpa/vdpa_netlink.h). */
	int (*list)(struct vdpa_netlink_list *ret);
	int (*dev_new)(const struct vdpa_new *what, struct err *err);
	int (*dev_del)(const char *name, struct err *err);
};

extern const struct vdpa_sys *vdpa_sys;
extern const struct vdpa_sys vdpa_sys_kernel;
