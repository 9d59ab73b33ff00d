/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A vhost-user front-end for tests. It does what it is told, right or wrong: it sends any message with any
 * size and descriptors, in pieces if need be. On top of that are the steps of a well-behaved front-end.
 *
 * It runs in the thread of the back-end's event loop: what waits calls `pump`, which lets the loop run. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vhost/vhost_user_proto.h"

#define VU_CLIENT_GPA 0x40000000u /* where its memory is for the guest */

struct vu_client {
	int fd;
	void (*pump)(void *ctx);
	void *ctx;
	/* memory that it shares */
	int mem_fd;
	uint8_t *mem;
	uint64_t mem_size;
	/* descriptors of rings that vu_client_ring() set up, -1: none */
	int kick[32], call[32];
};

void vu_client_init(struct vu_client *c, void (*pump)(void *ctx), void *ctx);
int vu_client_connect(struct vu_client *c, const char *path);
void vu_client_disconnect(struct vu_client *c); /* the memory and the descriptors stay */
void vu_client_done(struct vu_client *c);

/* Sends bytes as they are, then lets the back-end run. Negative errno, e.g. -EPIPE once it hung up. */
int vu_client_send_raw(struct vu_client *c, const void *data, size_t size, const int *fds, unsigned int nfds);
/* A message with a right header. */
int vu_client_send(struct vu_client *c, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
		   const int *fds, unsigned int nfds);
/* Receives a reply: its payload's size, or -EPROTO for a wrong header, -ENOTCONN if the back-end hung up,
 * -ETIMEDOUT. `fd` may be NULL; it gets a descriptor or -1. */
int vu_client_receive(struct vu_client *c, uint32_t request, void *payload, uint32_t size, int *fd);
/* True if the back-end hung up. */
bool vu_client_hung_up(struct vu_client *c);
/* True if there is no reply to read. */
bool vu_client_quiet(struct vu_client *c);

/* A message with NEED_REPLY: what the back-end answered, 0 or not, or a negative errno. */
int64_t vu_client_ask(struct vu_client *c, uint32_t request, const void *payload, uint32_t size,
		      const int *fds, unsigned int nfds);
int64_t vu_client_ask_u64(struct vu_client *c, uint32_t request, uint64_t value);
int64_t vu_client_ask_state(struct vu_client *c, uint32_t request, uint32_t index, uint32_t num);
/* A message that has a u64 as its reply. */
int64_t vu_client_get(struct vu_client *c, uint32_t request);

/* Features, all protocol features, owner. */
void vu_client_negotiate(struct vu_client *c, uint64_t features);
/* Makes memory (once) and gives it to the back-end with SET_MEM_TABLE. */
void vu_client_share_memory(struct vu_client *c, uint64_t size);
struct vu_region vu_client_region(const struct vu_client *c, uint64_t offset, uint64_t size);

/* Where ring `index` is in the memory: 64 KiB for each. */
struct vu_ring_addr vu_client_ring_addr(const struct vu_client *c, unsigned int index);
/* Sets up a whole ring, kick last; what the back-end answered to that. */
int64_t vu_client_ring(struct vu_client *c, unsigned int index, uint32_t size, uint32_t base);
int64_t vu_client_kick(struct vu_client *c, unsigned int index); /* SET_VRING_KICK with a new eventfd */
int64_t vu_client_get_base(struct vu_client *c, unsigned int index);
