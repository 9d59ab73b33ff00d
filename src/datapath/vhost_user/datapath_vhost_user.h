/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the vhost-user datapath share. No other file includes this.
 *
 *	datapath_vhost_user.c		an instance: its states, its answers to the broker
 *	datapath_vhost_user_setup.c	what the back-end is told: features, guest memory, rings
 *
 * All of it runs on the main thread. */

#include "datapath/datapath.h"
#include "vhost/vhost_user_front.h"
#include "vhost/vhost_user_reach.h"
#include "vhost/virtio.h"

enum vu_dp_state {
	VU_DP_NEW,
	VU_DP_PREPARING, /* no connection yet, or negotiation and set-up on one in progress
			  */
	VU_DP_PREPARED,
	VU_DP_STARTING,
	VU_DP_STARTED,
	VU_DP_STOPPING,
	VU_DP_DEAD, /* the broker has been told */
};

/* How far a connection has been negotiated. */
enum vu_greeting { VU_GREET_FEATURES, VU_GREET_PROTOCOL, VU_GREET_LIMITS, VU_GREETED };

struct vu_dp_ring { /* what belongs to a ring while it is started */
	struct vu_dp *dp;
	unsigned int queue;
	int errfd; /* the back-end signals on it that the ring is broken */
	sd_event_source *source;
};

struct vu_dp {
	struct datapath base;
	sd_event *event; /* borrowed */
	char path[108];
	bool server;
	unsigned int queue_pairs;
	uint8_t mac[6];
	uint16_t mtu;
	bool link_off; /* by setting: conveyed to the back-end's switch by disabling the rings */

	enum vu_dp_state state;
	uint64_t deadline; /* of the current step, µs of CLOCK_MONOTONIC */
	struct vu_reach *reach;
	struct vu_front *front; /* NULL: not connected */
	sd_event_source *timer; /* until when to wait for a connection */
	sd_event_source *doom;  /* failed() is due: it died while being stopped */
	char why[160];

	uint64_t features; /* of the last prepare */
	struct guest_mem *mem;

	/* of the connection */
	enum vu_greeting greeting;
	uint64_t offered, protocol;
	uint64_t slots;             /* memory regions that it takes */
	uint64_t told_features;     /* 0: none in force */
	struct guest_mem *told_mem; /* NULL: none */
	struct dirty_log *told_log; /* NULL: none */

	struct datapath_ring *rings;                   /* borrowed from start() until the service ends */
	unsigned int n, n_stopped;                     /* n_stopped: those that gave their position */
	struct vu_dp_ring ring[VHOST_USER_MAX_QUEUES]; /* [0…n), as `rings` */
};

#define VU_DP_BIT(n)   (UINT64_C(1) << (n))
#define VU_DP_PROTOCOL (VU_DP_BIT(VU_F_PROTOCOL_FEATURES))
#define VU_DP_LOG      (VU_DP_BIT(VU_F_LOG_ALL))

static inline void vu_dp_send(struct vu_dp *d, uint32_t request, const void *payload, uint32_t size)
{
	vu_front_send(d->front, request, payload, size, NULL, 0, d->deadline);
}

static inline void vu_dp_send_u64(struct vu_dp *d, uint32_t request, uint64_t value)
{
	vu_dp_send(d, request, &value, sizeof(value));
}

/* datapath_vhost_user_setup.c. Any error that these find ends the connection, with the reason. */
uint64_t vu_dp_features(bool offload, unsigned int queue_pairs);
/* The next step of the greeting, with the answer to the last one. */
void vu_dp_greet(struct vu_dp *d, uint32_t request, const union vu_payload *payload);
/* Features and memory that the back-end does not have yet. */
void vu_dp_tell(struct vu_dp *d);
/* All of `rings`; the error descriptors exist. */
void vu_dp_tell_rings(struct vu_dp *d, bool logging);
void vu_dp_enable(struct vu_dp *d, const struct vhost_queue *q);
void vu_dp_call(struct vu_dp *d, unsigned int queue, int callfd);
/* Takes the rings back: answers to GET_VRING_BASE follow. */
void vu_dp_untell_rings(struct vu_dp *d);
/* Forgets the state of a connection that has ended. */
void vu_dp_forget(struct vu_dp *d);
