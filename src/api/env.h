/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the methods operate on. Thread-safety: main thread. */

#include "api/rpc.h"
#include "model/model.h"

struct control;
struct moves;
struct pf_qemu;

struct api_env {
	struct model *model;
	struct pf_qemu *qemu;
	struct control *control;
	struct moves *moves;
	/* As dataplane_workers(). */
	unsigned int (*workers)(void *dp, struct worker_info *ret, unsigned int max);
	void *dp;
	uint64_t started_us; /* CLOCK_MONOTONIC */
};

/* All methods, as documented in docs/api.md. */
extern const struct api_method api_methods[];

/* Tells subscribers of a struct api_server (ctx) what the model reports; a model_listener. */
void api_on_model_event(void *ctx, const struct model_event *event);
