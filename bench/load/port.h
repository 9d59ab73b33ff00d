/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A port of the load generator: a virtio-net driver of one queue pair that polls, and its buffers. A buffer begins
 * with the virtio-net header. A frame is sent from the buffer that it was received in, so the generator copies
 * nothing. */

#include "front.h"
#include "ring.h"

#define PORT_BURST 32
#define PORT_HDR   12 /* bytes of the virtio-net header, as VERSION_1 has it */
#define PORT_MAX   1024
/* An odd number of cache lines, so that buffers spread over all sets of a cache. */
#define PORT_BUF_ROOM 2240

struct port_options {
	uint16_t ring;     /* descriptors of each ring, a power of 2 */
	uint32_t tx_bufs;  /* buffers beside those of the receive ring */
	uint32_t buf_room; /* bytes of each buffer, header included */
	uint64_t features; /* beside VERSION_1 and MRG_RXBUF: those that the port can do without */
	uint64_t required;
};

struct port {
	struct front front;
	struct memory *memory;
	struct ring rx, tx;
	uint8_t mac[6];
	uint16_t vlan; /* of the tags in its frames, 0: none */
	uint32_t buf_room;
	uint8_t *bufs;
	uint32_t n_free;
	uint16_t *free; /* numbers of buffers, a stack */
	uint32_t next_peer;
};

/* Bytes of shared memory that a port of these options takes. */
size_t port_memory(const struct port_options *o);
/* Its receive ring is full of buffers when this returns, and the switch serves it. */
void port_open(struct port *p, const char *socket, struct memory *m, const struct port_options *o);
void port_close(struct port *p);

static inline uint8_t *port_buf(const struct port *p, uint32_t buf)
{
	return p->bufs + (size_t)buf * p->buf_room;
}

/* There must be a free descriptor. The frame's bytes follow the header. */
static inline void port_send(struct port *p, uint16_t buf, uint32_t frame_len)
{
	ring_add(&p->tx, memory_gpa(p->memory, port_buf(p, buf)), PORT_HDR + frame_len, 0, buf);
}

/* What a port of a busy driver does after a burst: what was added to be sent is the device's then, the rest
 * waits until it is worth it. */
void port_turn_lazily(struct port *p);
/* Takes back what was sent, and gives free buffers to the receive ring. What was added to either ring is the
 * device's then. */
void port_turn(struct port *p);
