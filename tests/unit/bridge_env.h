/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of the bridge fabric start from: a fabric in the kernel, in a network namespace of the test's
 * own. Frames are written to the taps of functions and of a "wire", which is a port of the bridge that is not
 * vpfd's, and read from them:
 *
 *	function's tap --- bridge --- function's tap
 *	                     |
 *	                   "wire"
 *
 * Forwarding is done when write() returns.
 *
 * Tests are skipped where the kernel cannot do what they need: without CAP_SYS_ADMIN and CAP_NET_ADMIN, and
 * those of VLANs where the kernel's bridges do not filter by VLAN. tests/system/test_bridge.py runs all of them
 * in a guest whose kernel does. */

#include "fabric/bridge/bridge.h"
#include "net/netdev_monitor.h"

#define BR_PORTS     4
#define BR_NAME      "vpftest"
#define BR_TEST_TYPE 0x88b6 /* local experimental; no other frames have it */

struct br_env {
	sd_event *event;
	struct netdev_monitor *monitor;
	struct fabric_settings s;
	struct fabric *f;
	struct pf_policy policy;
	struct fabric_port *p[BR_PORTS];
	struct fabric_use use[BR_PORTS];
	struct fabric_attach at[BR_PORTS];
	unsigned int n;
	struct tap *wire;
	/* events */
	unsigned int troubles, remade, lost, conflicts, links, uplinks;
	char why[128];
};

struct br_frame {
	uint8_t bytes[1600];
	uint32_t len;
};

/* The state is NULL where there is nothing to test with. */
int br_setup(void **state);
int br_teardown(void **state);
/* The fabric, by e->s; skips the test where the kernel has too little for it. */
struct br_env *br_begin(void **state, bool vlan);
int br_new(struct br_env *e, struct err *err); /* the same, where that may fail */
void br_stop(struct br_env *e);                /* ports and fabric */
/* Lets everything happen that is to happen, timers aside. */
void br_settle(struct br_env *e);
/* Carrier comes and goes in the kernel's own time. */
#define BR_UNTIL(e, condition)                                                                               \
	do {                                                                                                 \
		br_settle(e);                                                                                \
		for (unsigned int turns = 0; !(condition); turns++) {                                        \
			assert_true(turns < 2000);                                                           \
			assert_true(sd_event_run((e)->event, 10000) >= 0);                                   \
		}                                                                                            \
	} while (0)
bool br_sh(const char *command);

/* With MAC 02:00:00:00:00:n+1; and in a VLAN, or a trunk. */
struct function_settings br_settings(unsigned int n);
struct function_settings br_access(unsigned int n, uint16_t vid, uint8_t pcp);
struct function_settings br_trunk(unsigned int n, unsigned int first, unsigned int last, bool untagged);
/* The next port, open; s NULL: the usual. */
unsigned int br_add(struct br_env *e, const struct function_settings *s);
void br_set(struct br_env *e, unsigned int n, const struct function_settings *s);
void br_open_port(struct br_env *e, unsigned int n, unsigned int queues);
void br_close_port(struct br_env *e, unsigned int n); /* open, or not */
struct port_stats br_stats(struct br_env *e, unsigned int n);
/* A port of the bridge that is not vpfd's: frames come and go with their tags. */
void br_add_wire(struct br_env *e);

/* 60 bytes from and to the MACs of ports, 0xff: broadcast. tags: TPID and TCI from the outside in, ended by 0. */
struct br_frame br_make(unsigned int dst, unsigned int src, uint8_t mark, const uint32_t *tags);
/* As it is when the bridge has put a tag on it, or taken one off: longer, or shorter. */
struct br_frame br_grown(struct br_frame f);
struct br_frame br_shrunk(struct br_frame f);
void br_put(int fd, struct br_frame f);
/* The next frame of the test's own kind; len 0: none. */
struct br_frame br_get(int fd);
void br_send_from(struct br_env *e, unsigned int n, unsigned int dst, uint8_t mark);
void br_expect(int fd, struct br_frame want);
void br_expect_none(int fd);
void br_expect_at(struct br_env *e, unsigned int n, unsigned int dst, unsigned int src, uint8_t mark);
void br_expect_nothing(struct br_env *e);
