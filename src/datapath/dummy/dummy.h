/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A datapath that serves nothing, for tests: it keeps to the contract of datapath/datapath.h, asserts that the broker
 * does, records what it is asked, and answers as it is told: at once, later (datapath_dummy_answer()), with an error,
 * or never. A ring that it has stays where it was. It needs neither root nor a kernel, and is not part of vpfd.
 *
 * Thread-safety: main thread. */

#include "datapath/datapath.h"
#include "datapath/dummy/params.h"

enum datapath_dummy_op { DP_DUMMY_OPEN, DP_DUMMY_PREPARE, DP_DUMMY_START, DP_DUMMY_STOP, DP_DUMMY_OPS };
enum datapath_dummy_phase {
	DP_DUMMY_IDLE, /* open, not prepared */
	DP_DUMMY_PREPARING,
	DP_DUMMY_PREPARED,
	DP_DUMMY_STARTING,
	DP_DUMMY_STARTED,
	DP_DUMMY_STOPPING,
	DP_DUMMY_DEAD,
};

struct datapath_dummy { /* an instance */
	struct datapath base;
	struct datapath_dummy *next;
	struct datapath_open open; /* its pref is this one: */
	struct datapath_pref pref;
	enum datapath_dummy_phase phase;
	uint64_t features;
	struct guest_mem *mem; /* borrowed */
	struct datapath_ring *ring[VHOST_USER_MAX_QUEUES];
};

struct datapath_dummy_control {
	bool later[DP_DUMMY_OPS]; /* answered by datapath_dummy_answer(); open() never is */
	int r[DP_DUMMY_OPS];      /* what is answered at once: 0 or a negative errno */
	uint64_t features;        /* 0: it is not available here */
	uint32_t takes, enforces; /* ATTACH_*, CAN_* */
	struct datapath_dummy *instances;
	/* What was asked of all instances: "open ", "prepare ", "start:RINGS ", "stop ", "close ", "add:RING ",
	 * "remove:RING ", "enable:RING ", "disable:RING ", "call:RING ", "set:MTU ", "control:LENGTH ", after the name,
	 * if there is one, and a dot. */
	char log[1024];
};
extern struct datapath_dummy_control datapath_dummy_control;

/* As at the start of a program: everything succeeds at once, and the function's fabric is where it leads. No instance
 * is there. */
void datapath_dummy_reset(void);
/* NULL: there is none. */
struct datapath_dummy *datapath_dummy_find(const char *pf, unsigned int fn, const char *name);
/* Answers what the instance was asked last; r < 0: badly. */
void datapath_dummy_answer(struct datapath_dummy *d, int r);
/* It dies by itself. */
void datapath_dummy_die(struct datapath_dummy *d, const char *why);
