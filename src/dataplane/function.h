/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A function of a virtual PF at run time: its vhost-user socket, its place in the fabric, the datapath that serves
 * its rings (broker/binding.h), and, for a PF, the mailbox for its control frames. Thread-safety: main thread. */

#include <systemd/sd-event.h>

#include "broker/binding.h"
#include "dataplane/dataplane.h"
#include "fabric/fabric.h"
#include "vhost/vhost_user.h"

struct control_box;
struct function_change;

struct function {
	char pf[VPF_NAME_MAX];
	unsigned int fn;
	struct fabric_port *port;
	struct binding *binding;
	struct control_box *control; /* of a PF; NULL: of a VF */
	unsigned int queue_pairs;
	struct vhost_user *vu;
	struct function_change *changes; /* pending */
	char *path;                      /* of the socket */
	unsigned int started;            /* queues */
	bool unusable;                   /* no datapath can serve them: no link */
	struct {
		bool known; /* a datapath served them, and the network may have learned where: … */
		struct datapath_pref pref; /* … by this one */
		bool resumed;              /* otherwise the rings were in use when they came here */
	} place;
	uint32_t broken; /* queues to be stopped when their datapath gives them back, and why */
	char broken_why[128];
	const struct dataplane_events *events;
	void *ctx;
};

struct function_config {
	sd_event *event;
	struct worker_pool *pool;
	struct fabric *fabric;
	const struct pf_settings *pf;
	unsigned int fn; /* VPF_FUNCTION_* */
	const struct function_settings *settings;
	const struct function_offer *offer;
	struct counter_file *counters;   /* NULL: none that last */
	struct vhost_user_config socket; /* path, mode, group */
	const struct dataplane_events *events;
	void *ctx;
};
int function_new(const struct function_config *config, struct function **ret, struct err *err);
void function_free(struct function *f); /* takes NULL */
/* Before function_free(), with nothing connected: removes what the next vpfd would find of it. */
void function_forget(struct function *f);
/* As dataplane_ops.function_set, .function_filter. */
int function_set(struct function *f, const struct pf_policy *policy, const struct function_settings *s,
		 const struct function_offer *offer, const struct answer *answer, struct err *err);
void function_filter(struct function *f, const struct rx_filter *filter);
/* Ends the connection if its memory was truncated. */
void function_check_memory(struct function *f);
