/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The mailbox of a virtual PF for control frames, from the workers that serve its transmit queues to the main
 * thread.
 *
 * Theory of operation. A lock-free ring of CONTROL_BOX_FRAMES slots, several producers, one consumer: a
 * producer claims a position, copies the frame into its slot, and hands the slot over by its sequence number;
 * the consumer hands it back the same way. A frame that finds no free slot is dropped. The main thread is
 * woken once until it looks, through the pool's eventfd, and not at all while the box is paused or closed.
 * The frames come from a guest, and only their EtherType has been checked.
 *
 * Thread-safety: control_box_put(): workers. All else: main thread. */

#include "switch/pkt.h"

#define CONTROL_BOX_FRAMES 8
#define CONTROL_BOX_LEN    1514 /* bytes of a frame, with its Ethernet header */

struct worker_pool;
struct control_box;

enum control_state {
	CONTROL_CLOSED, /* no listener: frames are dropped as from any other port, and so are those that waited */
	CONTROL_OPEN,
	CONTROL_PAUSED, /* frames wait, as many as there is room for */
};

int control_box_new(struct worker_pool *pool, struct control_box **ret); /* closed. -ENOMEM */
void control_box_free(struct control_box *box); /* no queue of its port may be started; takes NULL */
void control_box_set(struct control_box *box, enum control_state state);
enum control_state control_box_state(const struct control_box *box);
/* Takes the frame that has waited longest and returns its length; 0: none, or paused. `to`: CONTROL_BOX_LEN
 * bytes. */
size_t control_box_take(struct control_box *box, uint8_t *to);

/* Puts a control frame in: -1, or the enum drop_reason why not. `box` may be NULL: closed. */
int control_box_put(struct control_box *box, const struct pkt *p);
