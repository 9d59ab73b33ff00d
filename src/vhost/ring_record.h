/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The positions of a function's packed rings, in a small file next to its socket that outlives this process.
 *
 * Why. A split ring's position is in guest memory (used->idx), a packed ring's is not (virtio 1.3 §2.8), and
 * QEMU knows it only from an orderly GET_VRING_BASE. A front-end can lend memory for it (INFLIGHT_SHMFD), but
 * QEMU does so for no network device. So if vpfd ends, in any way, while a guest's packed rings are running, the next
 * vpfd relies on this file.
 *
 * Theory of operation. Each queue has a record in the format of the inflight area's header, written by the
 * same functions (see inflight.h). It is valid from the start of the ring until the front-end asks for the
 * position or resets the device. The first start of a ring on a new connection takes the position from a
 * valid record, unless no descriptor of the ring carries the USED bit: then no device has touched it since
 * the driver set it up, and the front-end's position counts.
 *
 * Untrusted: nothing; the file is vpfd's own, in its run directory. Thread-safety: main thread. */

#include "vhost/inflight.h"

struct ring_record;

/* Opens or makes the file of the socket at `socket_path`. Negative errno of the system call. */
int ring_record_open(const char *socket_path, struct ring_record **ret);
void ring_record_close(struct ring_record *record); /* keeps the file; takes NULL */
void ring_record_remove(const char *socket_path);

/* Prepares `inflight` (for the datapath, valid until close) for a start of queue `index` of `size`
 * descriptors at `desc`. With `recover`, *used_idx becomes what a valid record says. */
void ring_record_start(struct ring_record *record, unsigned int index, const void *desc, uint16_t size,
		       bool recover, struct vhost_inflight *inflight, uint16_t *used_idx);
/* The front-end knows the position, or it no longer matters. */
void ring_record_forget(struct ring_record *record, unsigned int index);
