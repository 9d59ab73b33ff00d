/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* vpfd's workers carry a function's frames between its rings and a tap, if the function's switch is the
 * kernel's.
 *
 * Theory of operation. A pump is a switch of its own with two ports: the function, which is a sw_port as on
 * any fabric (port_queue_start() and the rest serve its rings), and the tap, which is its uplink. So rings,
 * offloads and hostile headers are handled by the same code, and the pump has no path of its own: what enters
 * at one port leaves by the other. The function's port has no settings: VLAN, spoof check and rates are up to
 * the fabric that has the tap.
 *
 * Each of the tap's queues is read by one worker, which keeps the order of a flow; any worker writes.
 * Offloads pass unchanged, since the tap gives only what the driver accepts (tap_queues.h).
 *
 * 802.1Q tags pass, 802.1ad tags and VLAN 4095 do not, and a priority tag is removed (as any bridge does at
 * an access port).
 *
 * While it is stopped, frames wait in the tap: in a hand-over, pump_stop() comes before the rings are stopped
 * and pump_start() after they are started, and no frame is lost.
 *
 * Thread-safety: main thread. */

#include "switch/port.h"

struct pump;
struct worker_pool;

/* tap_fd[0…n_tap): queues of a tap with a virtio-net header of 12 bytes, non-blocking, borrowed until
 * pump_free(). n_tap >= 1. -ENOMEM. */
int pump_new(struct worker_pool *pool, unsigned int n_tap, const int *tap_fd, struct pump **ret);
/* It must not be running, and no queue of its port may be started; takes NULL. */
void pump_free(struct pump *p);
/* The function's port. */
struct sw_port *pump_port(struct pump *p);
/* Starts reading the tap, for a driver with these negotiated features. `pairs`: bit i: the driver uses queue
 * pair i. -EBADFD: the tap was deleted. On any error nothing is read. */
int pump_start(struct pump *p, uint64_t features, uint32_t pairs);
/* Changes the queue pairs while it runs. Errors as for pump_start(). */
int pump_set_pairs(struct pump *p, uint32_t pairs);
void pump_stop(struct pump *p); /* running or not */
