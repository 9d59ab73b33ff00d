/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A function of a virtual PF at run time: its vhost-user socket, its place in the fabric, and the datapath
 * that serves its rings (broker/binding.h). Thread-safety: main thread. */

#include <systemd/sd-event.h>

#include "broker/binding.h"
#include "fabric/fabric.h"
#include "vhost/vhost_user.h"

struct function {
	char pf[VPF_NAME_MAX];
	unsigned int fn;
	struct fabric_port *port;
	struct binding *binding;
	struct datapath_list pf_list; /* of its virtual PF */
	unsigned int queue_pairs;
	struct vhost_user *vu;
	char *path;           /* of the socket */
	unsigned int started; /* queues */
	bool unusable;        /* nothing can serve them: no link */
	struct {
		bool known; /* a datapath served them, and the network may have learned where: … */
		struct datapath_pref pref; /* … by this one */
		bool resumed;              /* else: the rings were in use when they came here */
	} place;
	uint32_t broken; /* queues that are to be stopped when their datapath gives them back, and why */
	char broken_why[128];
	const struct dataplane_events *events;
	void *ctx;
};

int function_new(sd_event *event, struct fabric *fabric, const struct pf_settings *pf, unsigned int fn,
		 const struct function_settings *s, struct counter_file *counters,
		 const struct vhost_user_config *socket, const struct dataplane_events *events, void *ctx,
		 struct function **ret, struct err *err);
void function_free(struct function *f); /* takes NULL */
/* Before function_free(), nobody connected: nothing of it shall be there for the next vpfd either. */
void function_forget(struct function *f);
/* As dataplane_control_send(). */
int function_send_control(struct function *f, const uint8_t *frame, size_t len);
/* As dataplane_ops.function_set, .function_filter. */
void function_set(struct function *f, const struct pf_policy *policy, const struct function_settings *s);
void function_filter(struct function *f, const struct rx_filter *filter);
/* Ends the connection if its memory was taken away. */
void function_check_memory(struct function *f);
