/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A function of a virtual PF at run time: its vhost-user socket, its place in the fabric, and the datapath
 * that serves its rings. Today that is always `builtin`; the choice is made here, when the guest starts the
 * first queue, and nowhere else. Thread-safety: main thread. */

#include <systemd/sd-event.h>

#include "fabric/fabric.h"
#include "vhost/vhost_user.h"

struct function {
	char pf[VPF_NAME_MAX];
	unsigned int fn;
	struct fabric_port *port;
	struct fabric_attach attach; /* from the first queue's start to the last one's stop */
	unsigned int queue_pairs;
	struct vhost_user *vu;
	char *path;           /* of the socket */
	unsigned int started; /* queues */
	const struct dataplane_events *events;
	void *ctx;
};

/* virtio features that the builtin datapath serves. */
uint64_t function_features(unsigned int queue_pairs);

int function_new(sd_event *event, struct fabric *fabric, const struct pf_settings *pf, unsigned int fn,
		 const struct function_settings *s, struct counter_file *counters,
		 const struct vhost_user_config *socket, const struct dataplane_events *events, void *ctx,
		 struct function **ret, struct err *err);
void function_free(struct function *f); /* takes NULL */
/* Before function_free(), nobody connected: nothing of it shall be there for the next vpfd either. */
void function_forget(struct function *f);
/* As dataplane_control_send(). */
int function_send_control(struct function *f, const uint8_t *frame, size_t len);
/* Looks for memory that was taken away, which ends the connection, and for rings that workers found broken,
 * and stops them. */
void function_check_rings(struct function *f);
