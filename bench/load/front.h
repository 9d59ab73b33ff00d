/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A vhost-user front-end, as far as a driver with one queue pair needs it: any back-end will do (vpfd, DPDK,
 * Open vSwitch). An answer that is not what the protocol says ends the program. */

#include <stdint.h>

#include "memory.h"
#include "ring.h"

#define FRONT_LISTEN "listen:" /* before the path of a socket that the back-end connects to */

struct front {
	int fd;
	const char *path;
	uint64_t features;          /* agreed on */
	uint64_t protocol_features; /* of the back-end */
};

/* Connects and agrees on those of `wanted` that the back-end has. `required`: without them the program ends.
 */
void front_connect(struct front *f, const char *path, uint64_t wanted, uint64_t required);
void front_close(struct front *f);
void front_share(struct front *f, const struct memory *m);
/* Ring `index`, in the memory shared. */
void front_start_ring(struct front *f, unsigned int index, const struct ring *r);
void front_enable_ring(struct front *f, unsigned int index);
