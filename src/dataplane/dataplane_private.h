/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the data plane share: dataplane.c (names, fabrics, workers' notes), control_frames.c (control
 * frames of PFs), list_check.c (what lists of datapaths can do), function.c (functions),
 * function_check.c (whether a fabric can carry out their settings). No other file includes this. */

#include <systemd/sd-event.h>

#include "dataplane/dataplane.h"
#include "dataplane/function.h"

struct counter_file;
struct function_check;
struct netdev_monitor;
struct worker_pool;

struct pf_entry {
	char name[VPF_NAME_MAX];
	unsigned int n; /* functions added: 0…n-1 */
	struct function *function[VPF_MAX_FUNCTIONS];
	struct counter_file *counters; /* NULL: they end with this process */
	char counters_path[128];
};

struct fabric_entry {
	struct dataplane *dp;
	struct fabric *fabric;
	struct answer answer; /* of the operation in progress */
	bool coming;          /* it is being created */
};

struct dataplane {
	struct dataplane_config config;
	struct worker_pool *pool;
	struct netdev_monitor *monitor;
	sd_event_source *note_source, *fault_source, *turn_source;
	unsigned int n_fabrics, n_pfs;
	struct fabric_entry *fabrics[VPF_MAX_FABRICS];
	struct pf_entry *pfs[VPF_MAX_PFS];
	struct function_check *checks;   /* pending */
	dataplane_control_fn control_fn; /* NULL: none listens */
	void *control_ctx;
	unsigned int control_next; /* the PF whose mailbox is looked at next */
};

struct pf_entry *dataplane_find_pf(const struct dataplane *dp, const char *name);
struct function *dataplane_find_function(const struct dataplane *dp, const char *pf, unsigned int fn);
/* control_frames.c: workers put control frames into mailboxes. */
void dataplane_take_control(struct dataplane *dp);
/* A PF was added: its control frames go to the listener. */
void dataplane_control_added(struct dataplane *dp, const struct function *f);
/* function_check.c */
int dataplane_function_check(struct dataplane *dp, struct fabric *f, const struct fabric_check *check,
			     const struct answer *answer, struct err *err);
/* Cancels pending questions: before the function is freed, and when the fabric is. */
void dataplane_function_gone(struct dataplane *dp, const struct function *f);
void dataplane_fabric_gone(struct dataplane *dp, const struct fabric *f);
