/* SPDX-License-Identifier: Apache-2.0 */

#include "api/change.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void change_free(struct api_change *c)
{
	json_decref(c->params);
	free(c);
}

int api_change_new(struct api_call *call, const json_t *params, const char *name,
		   int (*reply)(struct api_change *c, json_t **ret, struct err *err), struct api_change **ret,
		   struct err *err)
{
	struct api_change *c;
	int r = api_call_defer(call, RPC_DEFER_CHANGE, err);

	if (r < 0)
		return r;
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(err, ENOMEM, NULL, "out of memory");
	c->call = call;
	c->env = api_call_env(call);
	c->params = json_incref((json_t *)params);
	c->reply = reply;
	snprintf(c->name, sizeof(c->name), "%s", name);
	*ret = c;
	return 0;
}

static void on_answer(void *ctx, int r, const struct err *err)
{
	struct api_change *c = ctx;
	json_t *result = NULL;
	struct err why = {0};

	if (r < 0)
		why = *err;
	else
		r = c->reply(c, &result, &why);
	if (r < 0 && !why.code)
		err_set(&why, -r, NULL, "the change failed: %s", strerrordesc_np(-r));
	if (!r && !result)
		r = err_set(&why, ENOMEM, NULL, "out of memory");
	if (r != RPC_DEFERRED)
		api_deferred_done(c->call, result, r < 0 ? &why : NULL);
	change_free(c);
}

struct answer api_change_answer(struct api_change *c)
{
	return (struct answer){on_answer, c};
}

int api_change_done(struct api_change *c, int r, json_t **ret, struct err *err)
{
	if (r == ANSWER_LATER)
		return RPC_DEFERRED;
	if (!r)
		r = c->reply(c, ret, err);
	change_free(c);
	return r;
}
