/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* vpfd's workers carry a function's frames between its rings and a tap, where the function's switch is the
 * kernel's.
 *
 * Theory of operation. A pump is a switch of its own with two ports: the function, which is a sw_port as on
 * any fabric (port_queue_start() and the rest serve its rings), and the tap, which is its uplink. So
 * everything that is known of rings, offloads and hostile headers is written once, and the pump has no path
 * of its own: what comes in at one port leaves by the other. The function's port has no settings: VLAN, spoof
 * check, rates are those of the fabric that has the tap.
 *
 * Each of the tap's queues is read by one worker, which keeps the order of a flow; any worker writes.
 * Offloads pass as they are, since the tap gives what the driver takes (tap_queues.h).
 *
 * 802.1Q tags pass, 802.1ad tags and VLAN 4095 do not, and a priority tag is taken off (as by any bridge for
 * an access port).
 *
 * While it does not run, frames wait in the tap: for a hand-over, pump_stop() comes before the rings are
 * stopped, pump_start() after they are started, and none is lost.
 *
 * Thread-safety: main thread. */

#include "switch/port.h"

struct pump;
struct worker_pool;

/* tap_fd[0…n_tap): queues of a tap with a virtio-net header of 12 bytes, non-blocking, borrowed until
 * pump_free(). n_tap >= 1. -ENOMEM. */
int pump_new(struct worker_pool *pool, unsigned int n_tap, const int *tap_fd, struct pump **ret);
/* Neither running nor a queue of its port started; takes NULL. */
void pump_free(struct pump *p);
/* The function's. */
struct sw_port *pump_port(struct pump *p);
/* Begins to read the tap, for a driver with these negotiated features. `pairs`: bit i: the driver uses queue
 * pair i. -EBADFD: the tap was deleted; what the kernel says: nothing is read. */
int pump_start(struct pump *p, uint64_t features, uint32_t pairs);
/* Other queue pairs, while it runs. As pump_start(). */
int pump_set_pairs(struct pump *p, uint32_t pairs);
void pump_stop(struct pump *p); /* when it runs, or not */
