/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the ring tests start from: memory, a driver, the device side of the same ring. */

#include "vdriver.h"
#include "vhost/vring.h"

#define RING_SEGS    4096
#define RING_ENV_MEM (16u << 20) /* bytes at 1 GiB */

struct ring_variant {
	const char *name;
	uint64_t features;
	unsigned int size;
	uint16_t base;
};

struct ring_env {
	const struct ring_variant *variant;
	struct vmem vm;
	struct vdriver d;
	struct virtq vr;
	struct vring_chain chains[VRING_MAX_CHAIN + 8];
	struct vring_seg segs[RING_SEGS];
	unsigned int nseg;
	uint64_t bufs; /* 64 KiB to point descriptors at */
	uint64_t rng;
};

/* initial_state is a struct ring_variant; the env takes its place. */
int ring_env_setup(void **state);
int ring_env_teardown(void **state);
/* Another driver and a fresh start in the same memory. */
void ring_env_restart(struct ring_env *e);
unsigned int ring_env_take(struct ring_env *e, bool writable, unsigned int max);
uint32_t ring_env_random(struct ring_env *e, uint32_t below);
/* One buffer goes through and comes back: the ring works. */
void ring_env_check_works(struct ring_env *e);
