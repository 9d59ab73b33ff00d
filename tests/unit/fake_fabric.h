/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A type of fabric that answers at once, later, badly or never, as a test says, and insists on the contract of
 * fabric/provider.h: what is asked of a port comes one at a time, a port is opened when it is closed, and closed
 * when it is open. It is in place of every real type: fabric_ops_of() has no context, so there is one `ff`, which
 * ff_reset() makes new. */

#include "fabric/provider.h"

enum ff_how { FF_NOW, FF_LATER, FF_FAIL };
enum ff_op { FF_INIT, FF_SET, FF_CHECK, FF_PORT_SET, FF_UNDO, FF_OPEN, FF_CLOSE, FF_OPS };

struct ff_port {
	struct fabric_port base;
	bool open;      /* or on its way */
	bool busy;      /* an answer is due */
	uint64_t call;  /* … of this number */
	enum ff_op op;  /* … of this */
	struct err err; /* of the last ff_port_answer() */
};

extern struct ff {
	enum ff_how how[FF_OPS];
	uint32_t gives;                            /* ATTACH_* */
	enum attach_kind kind;                     /* that an open port has */
	void (*during_set)(struct fabric_port *p); /* called once, from within port_set() */
	bool impatient;        /* the core gave up waiting, and may ask although an answer is due */
	struct fabric *fabric; /* the one made last */
	uint64_t call, checks[4];
	unsigned int n_checks, frees;
	char log[512]; /* what was asked: "init ", "set:AGEING ", "check:MTU ", "set:MTU ", "undo:MTU ", "open:PAIRS ",
			  "close ", "free-port ", "free "; with '*' of what is answered later */
} ff;

void ff_reset(void);
struct ff_port *ff_port_of(const struct fabric_port *p);
/* Answers what is due; r < 0: with the reason "scripted". */
void ff_answer(struct fabric *f, int r);
void ff_port_answer(struct fabric_port *p, int r);
/* What was asked since the last call is exactly this. */
#define ff_assert_log(text) ff_assert_log_at(text, __FILE__, __LINE__)
void ff_assert_log_at(const char *text, const char *file, int line);
