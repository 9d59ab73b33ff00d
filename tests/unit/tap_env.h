/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of taps start from: a tap in a network namespace of the test's own, a pump between it and a
 * guest, and who plays the rest of the world:
 *
 *	guest --- rings --- pump, or another --- tap ~~~ peer: a packet socket
 *
 * Needs CAP_SYS_ADMIN and CAP_NET_ADMIN, /dev/net/tun, and `ip`; tests are skipped without. */

#include "switch/pump.h"
#include "vguest.h"

#define TAP_ENV_QUEUES 4
#define TAP_ENV_NAME   "vpftap0"
#define TAP_WAIT_MS    20000

struct tap_env {
	struct worker_pool *pool;
	unsigned int n_tap;
	int tap_fd[TAP_ENV_QUEUES];
	int peer;
	struct pump *pump; /* runs, for the guest */
	struct vguest g;
};

struct peer_frame {
	struct virtio_net_hdr hdr;
	uint8_t data[FRAME_MAX];
	uint32_t len;
};

int tap_env_group_setup(void **state);
/* Why tests have to be skipped; NULL: they need not. */
const char *tap_env_missing(void);
#define TAP_ENV_NEEDED()                                                                                     \
	do {                                                                                                 \
		if (tap_env_missing()) {                                                                     \
			print_message("skipped: %s\n", tap_env_missing());                                   \
			skip();                                                                              \
		}                                                                                            \
	} while (0)

void tap_env_init(struct tap_env *e, unsigned int workers, unsigned int queues);
void tap_env_done(struct tap_env *e);
/* The guest, served by a pump. */
void tap_env_guest(struct tap_env *e, const struct vguest_options *o);
/* The pump gives the rings up, frames wait in the tap; and takes them again, another pump if need be. */
void tap_env_pump_stop(struct tap_env *e);
void tap_env_pump_start(struct tap_env *e);

/* hdr NULL: no offload. The frame goes to the guest. */
void tap_env_peer_send(struct tap_env *e, const struct virtio_net_hdr *hdr, const void *data, uint32_t len);
/* The next frame from the guest, its tag in the bytes; false when none came in `ms`. */
bool tap_env_peer_receive(struct tap_env *e, struct peer_frame *f, int ms);

/* Numbered frames both ways, `n` each, a few at a time; in between, at every `every`-th, `move` is called.
 * Fails if one is lost, comes twice, or before another. */
void tap_env_traffic(struct tap_env *e, unsigned int n, unsigned int every, void (*move)(void *arg),
		     void *arg);
