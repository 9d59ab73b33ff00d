/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of changes that are answered later start from: a model with two fabrics (f0, whose uplink is eth0, and
 * f1) and three virtual PFs (pf0 and pf1 on f0, pf2 on f1), over a data plane that from now on answers when the test
 * says so; and answers that are written down. */

#include "model_env.h"

struct le_told { /* an answer */
	unsigned int n;
	int r;
	struct err err;
	unsigned int order;  /* of all answers, 1 first */
	unsigned int events; /* told before it */
	void (*then)(void *ctx);
	void *ctx; /* of `then` */
};

int le_setup(void **state); /* *state: struct me_env * */
/* As the daemon ends: with model_cancel(). */
int le_teardown(void **state);

/* To be given to the model. NULL: nobody waits. */
struct answer le_answer(struct le_told *t);
void le_expect(const struct le_told *t, int r);
#define le_expect_none(t) assert_int_equal((t)->n, 0)

/* All that can happen by itself, now. */
void le_pump(struct me_env *t);
/* Answers all that is asked, and lets happen what follows, until nothing is left to do. */
void le_finish(struct me_env *t);

/* What there is, as text: in the model and on disk, and in the data plane. To be freed. */
char *le_model_picture(struct me_env *t);
char *le_dp_picture(struct me_env *t);

/* Answered with, or ANSWER_LATER; `told` NULL: nobody waits. Of one field, the others as they are when it is asked. */
int le_set_rate(struct me_env *t, const char *pf, unsigned int fn, uint32_t rate, struct le_told *told);
int le_set_admin_mac(struct me_env *t, const char *pf, unsigned int fn, const char *mac,
		     struct le_told *told);
int le_set_mtu(struct me_env *t, const char *pf, uint32_t mtu, struct le_told *told);
int le_set_ageing(struct me_env *t, const char *fabric, uint32_t ageing, struct le_told *told);
int le_add_pf(struct me_env *t, const char *name, const char *fabric, const char *mac, struct le_told *told);
