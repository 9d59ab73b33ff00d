/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Methods that change the model, which may answer later: the call is deferred then, and answered as it would have been
 * at once. Thread-safety: main thread. */

#include "api/rpc.h"
#include "broker/binding.h"
#include "model/model.h"

struct api_env;

struct api_change {
	struct api_call *call;
	const struct api_env *env;
	json_t *params; /* a reference */
	/* What the method is about, for `reply`. */
	char name[VPF_NAME_MAX]; /* of the fabric or the virtual PF */
	unsigned int fn;
	struct binding_info before;
	/* The change is made: as api_method.handle. */
	int (*reply)(struct api_change *c, json_t **ret, struct err *err);
};

/* -EBUSY: too many wait; -ENOMEM. */
int api_change_new(struct api_call *call, const json_t *params, const char *name,
		   int (*reply)(struct api_change *c, json_t **ret, struct err *err), struct api_change **ret,
		   struct err *err);
/* For the model. */
struct answer api_change_answer(struct api_change *c);
/* `r` is what the model returned: what the method returns. Takes `c` over. */
int api_change_done(struct api_change *c, int r, json_t **ret, struct err *err);
