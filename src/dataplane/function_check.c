/* SPDX-License-Identifier: Apache-2.0 */

/* Questions about functions that a fabric has yet to answer. They end with the fabric, and also with their
 * function. */

#include <stdlib.h>
#include <string.h>

#include "dataplane/dataplane_private.h"

struct function_check {
	struct function_check *next;
	struct dataplane *dp;
	const struct fabric *fabric;
	char pf[VPF_NAME_MAX];
	unsigned int fn;
	struct answer answer;
};

static void free_check(struct function_check *c)
{
	struct function_check **at = &c->dp->checks;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	free(c);
}

static void on_checked(void *ctx, int r, const struct err *err)
{
	struct function_check *c = ctx;
	struct answer answer = c->answer;

	free_check(c);
	answer_give(&answer, r, err);
}

int dataplane_function_check(struct dataplane *dp, struct fabric *f, const struct fabric_check *check,
			     const struct answer *answer, struct err *err)
{
	struct function_check *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_set(err, ENOMEM, NULL, "not enough memory to check settings");
	*c = (struct function_check){
		.next = dp->checks, .dp = dp, .fabric = f, .fn = check->fn, .answer = *answer};
	strncpy(c->pf, check->pf, sizeof(c->pf) - 1);
	dp->checks = c;
	r = fabric_check(f, check, &(struct answer){on_checked, c}, err);
	if (r != ANSWER_LATER)
		free_check(c);
	return r;
}

void dataplane_function_gone(struct dataplane *dp, const struct function *f)
{
	for (struct function_check *c = dp->checks; c; c = c->next)
		if (c->fabric == f->port->fabric && c->fn == f->fn && !strcmp(c->pf, f->pf))
			c->answer.done = NULL; /* the fabric's answer frees it */
}

void dataplane_fabric_gone(struct dataplane *dp, const struct fabric *f)
{
	for (struct function_check *c = dp->checks, *next; c; c = next) {
		next = c->next;
		if (c->fabric == f)
			free_check(c);
	}
}
