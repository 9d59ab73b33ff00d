/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Answers of vf.set that wait until it is known which datapath of the new list serves the function. Thread-safety: main
 * thread. */

#include "api/rpc.h"
#include "broker/binding.h"
#include "model/model.h"

#define MOVES_TIME_LIMIT_US 30000000 /* longer than trying a full list can take: see datapath/datapath.h */

struct moves;
struct api_env;

int moves_new(sd_event *event, struct model *model, struct moves **ret);
void moves_free(struct moves *moves); /* ends pending calls; takes NULL */
/* The settings have been changed; `before`: what was then. Answers the call, perhaps at once, with the
 * function's object and "move". -EBUSY and others with `err`: too many are waiting, and no answer will follow. */
int moves_wait(struct moves *moves, struct api_call *call, const char *pf, unsigned int fn,
	       const struct binding_info *before, struct err *err);
