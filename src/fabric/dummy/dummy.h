/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A fabric that carries nothing, for tests: it keeps to the contract of fabric/provider.h, asserts that the core does,
 * records what it is asked, and answers as it is told: now, later, or never. It needs neither root nor a kernel, and
 * is not part of vpfd.
 *
 * A test includes this header and sets `dummy_fabric` before it makes fabrics. What was asked to be answered later is
 * answered by dummy_fabric_answer(). Thread-safety: main thread. */

#include "fabric/provider.h"

enum dummy_op {
	DUMMY_INIT,
	DUMMY_SET,
	DUMMY_CHECK,
	DUMMY_PORT_SET,
	DUMMY_PORT_OPEN,
	DUMMY_PORT_CLOSE,
	DUMMY_OPS
};
enum dummy_when { DUMMY_NOW, DUMMY_LATER, DUMMY_NEVER };

struct dummy_how {
	enum dummy_when when;
	int r; /* 0, or a negative errno */
};

struct dummy_port {
	struct fabric_port base;
	struct dummy_port *next;
	struct function_settings applied; /* in force: of the last port_set that succeeded */
	struct filter_policy policy;
	bool open;
	int tap_fd; /* of ATTACH_TAP: no tap at all */
	uint64_t call;
};

struct dummy_fabric_control {
	struct dummy_how how[DUMMY_OPS];
	uint32_t can, gives;           /* gives: ATTACH_*, the lowest is given */
	unsigned int calls[DUMMY_OPS]; /* not counting undoing */
	unsigned int undone, announced, fabrics;
	struct dummy_port *ports; /* of all of them */
	struct port_stats stats;  /* of every port */
};
extern struct dummy_fabric_control dummy_fabric;

/* As at the start of a program: everything is answered now, with success. No fabric is there. */
void dummy_fabric_reset(void);
/* Answers the operation of that kind which has waited longest. False: none waits; what was given up, as the core asks
 * the port for something else, does not. */
bool dummy_fabric_answer(enum dummy_op op, int r);
/* Answers a port's operation of that number, though it may have been given up. */
void dummy_fabric_answer_port(struct fabric_port *p, uint64_t call, int r);

/* NULL: there is none. */
struct dummy_port *dummy_port_find(const char *pf, unsigned int fn);
static inline struct dummy_port *dummy_port_of(const struct fabric_port *p)
{
	return container_of(p, struct dummy_port, base);
}
