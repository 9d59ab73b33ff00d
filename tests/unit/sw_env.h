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
	struct control_box *box; /* of port 0, the PF; closed */
	struct pf_policy policy; /* of their PF; in force with the next port or setting */
	uint64_t rng;
	struct frame frame, want; /* the one that is sent; one that is to arrive */
	struct vguest_frame got;  /* the last one that arrived */
};

/* Features of a guest that sends, and takes, all offloads. */
#define SW_ENV_F(bit) VIRTIO_BIT(VIRTIO_NET_F_##bit)
#define SW_ENV_SEND                                                                                          \
	(SW_ENV_F(CSUM) | SW_ENV_F(HOST_TSO4) | SW_ENV_F(HOST_TSO6) | SW_ENV_F(HOST_USO) | SW_ENV_F(HOST_ECN))
#define SW_ENV_TAKE                                                                                          \
	(SW_ENV_F(GUEST_CSUM) | SW_ENV_F(GUEST_TSO4) | SW_ENV_F(GUEST_TSO6) | SW_ENV_F(GUEST_USO4) |         \
	 SW_ENV_F(GUEST_USO6) | SW_ENV_F(GUEST_ECN))

/* The usual guest: one pair, 256 descriptors, mergeable buffers of 1526 bytes. */
struct vguest_options sw_env_options(uint64_t features);

/* initial_state: number of workers, as an integer; the env takes its place. */
int sw_env_setup(void **state);
int sw_env_teardown(void **state);
/* One more, without events. */
struct builtin_fabric *sw_env_new_fabric(struct sw_env *e, const struct fabric_settings *s);
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
void sw_env_remove_all(struct sw_env *e); /* guests and ports */

/* Makes e->frame, with the MACs of ports. */
void sw_env_make(struct sw_env *e, unsigned int dst, unsigned int src, uint32_t len, uint32_t seed);
/* Sends it, and waits until it is through. hdr NULL: no offload. */
void sw_env_send(struct sw_env *e, struct vguest *g, const struct virtio_net_hdr *hdr);
/* Into e->got. */
void sw_env_expect(struct sw_env *e, struct vguest *g, const struct frame *f);
void sw_env_expect_nothing(struct sw_env *e, struct vguest *g);
uint64_t sw_env_tx_drop(const struct vguest *g, enum drop_reason why);
uint64_t sw_env_rx_drop(const struct vguest *g, enum drop_reason why);
uint32_t sw_env_random(struct sw_env *e, uint32_t below);

/* A test with one worker, with two, and with four. */
#define SW_ENV_TEST(fn, workers)                                                                             \
	{                                                                                                    \
#fn " (" #workers ")", fn, sw_env_setup, sw_env_teardown, (void *)(uintptr_t)(workers)       \
	}
#define SW_ENV_TESTS(fn) SW_ENV_TEST(fn, 1), SW_ENV_TEST(fn, 2), SW_ENV_TEST(fn, 4)
