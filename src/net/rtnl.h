/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A socket of one netlink family for few, local requests: each is sent and waited for, for at most a second.
 * A refusal comes with the kernel's own message (extended acknowledgement).
 *
 * Thread-safety: one socket, one thread. The socket belongs to the network namespace in which it was
 * created. */

#include <libmnl/libmnl.h>

#include "util/err.h"

/* Bytes of a request, at most. The longest is a set of VLANs in the largest possible number of ranges: 2730
 * attributes of 8 bytes. */
#define RTNL_ROOM 32768

struct rtnl;

/* family: NETLINK_…. -EPROTONOSUPPORT, -ENOMEM, … */
int rtnl_new(int family, struct rtnl **ret);
void rtnl_free(struct rtnl *nl); /* takes NULL */

/* Begins a request in the socket's own buffer; it is valid until rtnl_talk() has returned. The header that
 * follows (struct ifinfomsg, …) is `extra` bytes, zeroed: *ret_extra. flags: NLM_F_… besides REQUEST and
 * ACK. */
struct nlmsghdr *rtnl_request(struct rtnl *nl, uint16_t type, uint16_t flags, size_t extra, void **ret_extra);
/* Sends the request and waits for its acknowledgement, or with NLM_F_DUMP for the last part of the answer.
 * `each` (NULL: not wanted) gets every message of the answer. Returns the kernel's error, or -ETIMEDOUT. */
int rtnl_talk(struct rtnl *nl, struct nlmsghdr *nlh, void (*each)(void *arg, const struct nlmsghdr *nlh),
	      void *arg);
/* Fills `err` for what rtnl_talk() returned: "cannot WHAT: reason". Returns r. */
int rtnl_err(const struct rtnl *nl, int r, struct err *err, const char *fmt, ...) printf_like(4, 5);
