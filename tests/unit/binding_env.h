/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of bindings start from: a driver that starts and stops rings, and datapaths that answer at
 * once, late, wrongly, never, or die. The datapaths are fakes that insist on the contract: a ring has one
 * owner, begins where the last one left it, and nothing is called out of turn.
 *
 * There is a fake in place of each type of datapath. Those for vhost-user and vdpa lead elsewhere, where only
 * the link is in force; those for builtin and vhost-net lead to the fabric (fake_fabric.h), whose port has to be open
 * for them from before they are opened until after they are closed. The one for builtin takes rings
 * one by one; the others are stopped for each change of their rings. */

#include "broker/binding.h"
#include "fake_fabric.h"

#define BT_QUEUES 4

/* The types of datapaths that there are fakes of. */
enum bt_type { BT_BUILTIN, BT_VHOST_NET, BT_VHOST_USER, BT_VDPA, BT_TYPES };

enum bt_how { NOW, LATE, FAIL };
enum bt_step { OPEN, PREPARE, START, STOP, STEPS };
enum bt_phase { P_OPEN, P_PREPARING, P_PREPARED, P_STARTING, P_STARTED, P_STOPPING, P_DEAD };

struct bt_fake { /* an instance */
	struct datapath dp;
	enum bt_phase phase;
	uint64_t features;
	struct guest_mem *mem;
	struct datapath_ring *ring[BT_QUEUES];
};

struct bt_plan { /* of all instances of a type */
	enum bt_how how[STEPS];
	struct bt_fake *f; /* the one that there is */
	bool slow;         /* prepare takes the time that a stop may take */
	unsigned int opens, prepares, starts, stops, closes, adds, removes, enables, calls, sets, checks,
		controls;
};

struct bt_ring {
	struct vhost_queue q;
	struct vring_used *used;
	struct bt_fake *owner;
	bool started;
};

struct bt_env {
	sd_event *event;
	struct fabric *fabric;
	struct fabric_port *port; /* of the function */
	struct binding *b;
	struct bt_plan plan[BT_TYPES];
	struct bt_ring ring[BT_QUEUES];
	struct guest_mem *mem[2];
	int current; /* as told by `changed`; -1: none */
	bool usable;
	unsigned int changes, failures, quiesced, errors, doorbells;
	uint64_t gap;
	char why[160], failed_why[160];
	int failed;
	bool stop_at_error;
};

/* One environment at a time: the real table of datapaths is replaced by one of fakes, which has no context. */
int bt_setup(void **state);
int bt_teardown(void **state);

/* The binding, with an MTU of 1400 in force. */
void bt_new(struct bt_env *e, struct datapath_list l, bool failback);
void bt_set_list(struct bt_env *e, struct datapath_list l, bool failback);
struct datapath_list bt_list(unsigned int n, ... /* enum bt_type */);
struct binding_info bt_info(const struct bt_env *e);
/* Every started ring is served by that type, and no other is open. */
void bt_expect_bound(struct bt_env *e, int type);

/* The driver. */
void bt_start(struct bt_env *e, unsigned int i);
void bt_start_all(struct bt_env *e);
/* Checks the indices that it gets. */
void bt_stop(struct bt_env *e, unsigned int i);
void bt_stop_all(struct bt_env *e);

/* The datapath of this type answers what is due; r < 0: badly. */
void bt_answer(struct bt_env *e, unsigned int type, int r);
bool bt_owes_answer(const struct bt_fake *f); /* takes NULL */
/* It dies, and its rings got further than it can say. */
void bt_die(struct bt_env *e, unsigned int type);
/* It gives its rings back, wherever they are. */
void bt_disown(struct bt_fake *f);
/* What a guest's ring sees of being served. */
void bt_serve(struct bt_fake *f, uint16_t n);
/* From now on, all of this type do at once, and well, what they are asked. */
void bt_all_now(struct bt_env *e, unsigned int type);

/* All that can happen by itself; and that the rings have settled. */
void bt_pump(struct bt_env *e);
void bt_settle(struct bt_env *e);
#define BT_UNTIL(e, condition)                                                                               \
	do {                                                                                                 \
		for (unsigned int turns = 0; !(condition); turns++) {                                        \
			assert_true(turns < 1000);                                                           \
			assert_true(sd_event_run((e)->event, 10000) >= 0);                                   \
		}                                                                                            \
	} while (0)

/* Whether the event descriptor was written to since it was last looked at. */
bool bt_notified(int fd);
