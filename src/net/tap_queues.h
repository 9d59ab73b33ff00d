/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a tap is told before somebody serves a function from it: which offloads its driver takes, and which of
 * the tap's queues are in use. The same for all who serve it, so that frames which wait in the tap during a
 * hand-over suit the next one.
 *
 * Each of these takes the kernel's netdev lock. Thread-safety: none; one thread for a tap at a time. */

#include "util/util.h"

/* The kernel's taps take and give UDP segmentation offload: since Linux 6.2. */
bool tap_has_uso(void);
/* virtio features (VIRTIO_NET_F_…) of which a driver may have any on a tap that is served without a look at
 * the frames. */
uint64_t tap_features(void);
/* Frames come out of the tap with the offloads that a driver with these features takes, and with no others.
 * -EBADFD: the tap was deleted. */
int tap_set_offload(int fd, uint64_t features);
/* Of the tap's queues fd[0…n), the ones in `pairs` (bit i: fd[i]) get frames, the others none. What waits in
 * one that is switched off is lost. `pairs` 0: they stay as they are. -EBADFD: the tap was deleted. */
int tap_set_queues(const int *fd, unsigned int n, uint32_t pairs);
