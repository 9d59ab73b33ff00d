/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A guest on a port of a fabric, without a VM or a socket: its memory, a driver for each queue, buffers.
 * Everything happens in the caller's thread, but for the workers' side of the rings.
 *
 * vguest_send() returns when the frame is in the ring; vguest_flush() when the workers gave all buffers back.
 * A frame that went somewhere is there then: transmit buffers are given back after the copy. */

#include "fabric/builtin/builtin.h"
#include "frame.h"
#include "switch/worker.h"
#include "vdriver.h"

#define VGUEST_PAIRS    4
#define VGUEST_TX_SLOTS 64

struct vguest_options {
	uint64_t features; /* VERSION_1 is added */
	unsigned int pairs, size;
	unsigned int rx_buffers; /* a queue; 0: as many as fit */
	uint32_t rx_len;         /* bytes a receive buffer */
	unsigned int rx_parts;   /* descriptors a receive buffer, 0: 1 */
	uint32_t tx_part;        /* bytes a descriptor of a transmit buffer, 0: one descriptor */
	enum vdriver_layout layout;
	bool no_refill;  /* received buffers are not made available again */
	bool old_header; /* without VERSION_1: 10 bytes unless mergeable */
};

struct vguest_frame { /* as received */
	struct virtio_net_hdr_mrg_rxbuf hdr;
	uint8_t data[FRAME_MAX];
	uint32_t len;
};

struct vguest {
	struct vguest_options o;
	struct vmem vm;
	struct builtin_port *fp;
	struct sw_port *port;
	unsigned int hdr_len;
	struct vdriver rx[VGUEST_PAIRS], tx[VGUEST_PAIRS];
	uint64_t rx_gpa[VGUEST_PAIRS][VDRIVER_MAX_SIZE]; /* tokens point at these */
	uint64_t tx_gpa[VGUEST_PAIRS][VGUEST_TX_SLOTS];
	bool tx_busy[VGUEST_PAIRS][VGUEST_TX_SLOTS];
	bool started[2 * VGUEST_PAIRS];
	struct vhost_queue queue[2 * VGUEST_PAIRS];
	uint16_t resume[2 * VGUEST_PAIRS]; /* where the device stopped */
};

/* Starts all queues. */
void vguest_start(struct vguest *g, struct builtin_port *fp, const struct vguest_options *o);
/* Stops what is started; the port stays. */
void vguest_stop(struct vguest *g);
/* One queue, as vhost-user numbers them; where it stopped is where it starts. */
void vguest_queue_start(struct vguest *g, unsigned int index);
void vguest_queue_stop(struct vguest *g, unsigned int index);
/* A new ring, empty, as after a reset of the device. */
void vguest_queue_anew(struct vguest *g, unsigned int index);

/* Sends; hdr NULL: no offload. False: no room. */
bool vguest_try_send(struct vguest *g, unsigned int pair, const struct virtio_net_hdr *hdr, const void *data,
		     uint32_t len);
void vguest_send(struct vguest *g, unsigned int pair, const struct virtio_net_hdr *hdr, const void *data,
		 uint32_t len);
void vguest_flush(struct vguest *g, unsigned int pair);
/* Receives what is there: true, or false at once if there is nothing. */
bool vguest_recv(struct vguest *g, unsigned int pair, struct vguest_frame *f);
/* The same, but waits up to `ms`. */
bool vguest_wait(struct vguest *g, unsigned int pair, struct vguest_frame *f, int ms);
struct port_stats vguest_stats(const struct vguest *g);
