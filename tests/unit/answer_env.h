/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of the fabrics' core start from: a fabric that answers as a test says (fake_fabric.h), a port of it,
 * with an MTU of 1000, and answers that are written down. What is asked of the port is told by its MTU. */

#include <systemd/sd-event.h>

#include "fake_fabric.h"

#define AN_SHORT_US   30000ULL     /* for those that wait for a time-out */
#define AN_PATIENT_US 600000000ULL /* for all others, however slow the machine */
#define AN_ANSWERS    4

struct an_told { /* an answer */
	unsigned int n;
	int r;
	struct err err;
	unsigned int order; /* of all answers, 1 first */
	void (*then)(void *ctx);
};

struct an_env {
	sd_event *event;
	struct fabric *f;
	struct fabric_port *p;
	struct fabric_settings s;
	struct pf_policy policy;
	struct an_told made, set[AN_ANSWERS], opened[AN_ANSWERS];
	struct fabric_use use[AN_ANSWERS];
	unsigned int troubles, links;
	char why[128];
};

extern struct an_env *an_env; /* the one there is */
extern bool an_calling;       /* something that an answer must not come from within */

int an_setup(void **state);
int an_setup_short(void **state); /* answers are waited for AN_SHORT_US */
int an_setup_bare(void **state);  /* no fabric yet */
int an_teardown(void **state);

/* The fabric, and its port. */
int an_make(struct an_env *e, uint64_t answer_us);
void an_add_port(struct an_env *e);
void an_end(struct an_env *e); /* both, with all that is under way */
void an_free_all(void *ctx);   /* for an_told.then */

/* Answers come to set[i], opened[i]. */
void an_on_answer(void *ctx, int r, const struct err *err);
int an_set(struct an_env *e, unsigned int i, uint16_t mtu);
int an_set_all(struct an_env *e, unsigned int i, uint16_t mtu, const struct pf_policy *policy,
	       struct err *err);
int an_open(struct an_env *e, unsigned int i, struct err *err); /* two queue pairs */
void an_close(struct an_env *e, unsigned int i);
/* What is due of the port is answered. */
void an_answer(struct an_env *e, int r);
/* From now on all that is asked of ports is done so. */
void an_all(enum ff_how how);

/* It came once, with the reason of ff_port_answer(), or of a time-out. */
void an_expect_told(const struct an_told *t, int r);
void an_expect_late(const struct an_told *t);
void an_expect_open(struct an_env *e, bool open);

/* All that can happen by itself, now. */
void an_pump(struct an_env *e);
#define AN_UNTIL(e, condition)                                                                               \
	do {                                                                                                 \
		for (unsigned int turns = 0; !(condition); turns++) {                                        \
			assert_true(turns < 1000);                                                           \
			assert_true(sd_event_run((e)->event, 1000000) >= 0);                                 \
		}                                                                                            \
	} while (0)
