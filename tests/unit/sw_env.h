/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the switch tests start from: workers, a fabric, ports with guests on them. */

#include "vguest.h"

#define SW_ENV_PORTS 8

struct sw_env {
	struct worker_pool *pool;
	struct builtin_fabric *f;
	struct builtin_port *p[SW_ENV_PORTS];
	struct vguest g[SW_ENV_PORTS];
	unsigned int n;
	struct pf_policy policy; /* of their PF; in force with the next port or setting */
	uint64_t rng;
};

/* The usual guest: one pair, 256 descriptors, mergeable buffers of 1526 bytes. */
struct vguest_options sw_env_options(uint64_t features);

/* initial_state: number of workers, as an integer; the env takes its place. */
int sw_env_setup(void **state);
int sw_env_teardown(void **state);
void sw_env_fabric(struct sw_env *e, const struct fabric_settings *s); /* replaces the one without uplink */
/* MAC of port n: 02:00:00:00:00:n+1. */
void sw_env_mac(uint8_t mac[6], unsigned int n);
struct function_settings sw_env_settings(unsigned int n);
/* The next port with a guest; s, o NULL: the usual. */
struct vguest *sw_env_add(struct sw_env *e, const struct function_settings *s,
			  const struct vguest_options *o);
void sw_env_set(struct sw_env *e, unsigned int n, const struct function_settings *s);
/* Hands the workers' notes of new addresses to the fabric, as the main thread does; true if one was of a
 * broken ring. */
bool sw_env_notes(struct sw_env *e);
uint32_t sw_env_random(struct sw_env *e, uint32_t below);
