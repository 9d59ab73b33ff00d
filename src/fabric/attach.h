/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What an open port of a fabric gives a datapath, so that it leads there. A fabric says which kinds it gives
 * (fabric_ops.gives), a datapath which it takes (datapath_ops.takes); they fit if there is one in both. A datapath
 * that takes none leads to a switch of its own. Thread-safety: values. */

#include <stdbool.h>

struct sw_port;

enum attach_kind { /* bits; of those that fit, the lowest is taken */
		   ATTACH_NONE = 0,
		   ATTACH_SW_PORT = 1, /* a port of vpfd's own switch, whose queues workers serve */
		   ATTACH_TAP = 2,     /* a tap of the kernel's */
		   ATTACH_SOCKET = 4,  /* a vhost-user socket of another switch */
		   ATTACH_VDPA = 8,    /* a vDPA device, on a VF of a NIC */
		   ATTACH_NETDEV = 16, /* a netdev, such as a VF's */
};

/* Everything is the fabric's own, and valid until the port is closed. */
struct fabric_attach {
	enum attach_kind kind;
	union {
		struct sw_port *sw_port;
		/* One descriptor for each queue pair (IFF_MULTI_QUEUE, IFF_VNET_HDR, IFF_NO_PI, header of 12 bytes;
		 * queues not in use are disabled). */
		struct {
			unsigned int n;
			const int *fd;
			const char *name; /* of the netdev */
		} tap;
		struct {
			const char *path;
			bool server; /* the datapath listens, the switch connects */
		} socket;
		struct {
			const char *device; /* its name, as in `vdpa dev show` */
		} vdpa;
		struct {
			const char *name;
			int ifindex;
		} netdev;
	};
};

/* "a tap", …: for messages; one kind. */
const char *attach_kind_text(enum attach_kind kind);
