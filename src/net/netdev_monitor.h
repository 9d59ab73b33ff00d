/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reports netdevs of this network namespace that appear, change their carrier or disappear (rtnetlink,
 * RTMGRP_LINK). Thread-safety: main thread. */

#include <systemd/sd-event.h>

#include "util/err.h"

struct netdev_monitor;
typedef void (*netdev_changed_fn)(void *ctx, const char *name, int ifindex, bool carrier, bool gone);

int netdev_monitor_new(sd_event *event, netdev_changed_fn changed, void *ctx, struct netdev_monitor **ret,
		       struct err *err);
void netdev_monitor_free(struct netdev_monitor *m); /* takes NULL */
/* Asks the kernel for the state of every netdev, and reports each through `changed` before returning. */
int netdev_monitor_refresh(struct netdev_monitor *m);
