/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a tap is told before a function is served from it: which offloads the driver accepts, and which of the
 * tap's queues are in use. It is the same for every datapath, so that frames that wait in the tap during a
 * hand-over suit the next one.
 *
 * Each of these takes the kernel's netdev lock. Thread-safety: none; one thread at a time for each tap. */

#include "util/util.h"

/* The kernel's taps support UDP segmentation offload in both directions: since Linux 6.2. */
bool tap_has_uso(void);
/* virtio features (VIRTIO_NET_F_…), any of which a driver may have on a tap that is served without looking at
 * the frames. */
uint64_t tap_features(void);
/* From now on frames come out of the tap only with offloads that a driver with these features accepts.
 * -EBADFD: the tap was deleted. */
int tap_set_offload(int fd, uint64_t features);
/* Of the tap's queues fd[0…n), those in `pairs` (bit i: fd[i]) get frames, the others none. Frames waiting in
 * one that is switched off are lost. `pairs` 0: they stay as they are. -EBADFD: the tap was deleted. */
int tap_set_queues(const int *fd, unsigned int n, uint32_t pairs);
