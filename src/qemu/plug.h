/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Plugging a virtual PF into a running VM and out of it: one sequence of QMP commands. Only for qemu_link.c.
 * Thread-safety: main thread; `done` comes from the event loop, or from plug_free(). */

#include "qemu/qemu_link.h"

struct sd_event;
struct plug; /* one operation */

enum plug_kind {
	PLUG_ATTACH,
	PLUG_DETACH,
	PLUG_CLEANUP, /* the guest has let go of the PF after detach had given up */
};

struct plug_config {
	struct sd_event *event;
	struct qmp *qmp;
	const struct pf_settings *pf;     /* copied */
	const struct qemu_attach *attach; /* PLUG_ATTACH; copied */
	unsigned int release_ms;
	/* The operation has ended; the owner frees it, also from within this call. */
	void (*done)(void *ctx, struct plug *plug, int code, const struct err *err);
	void *ctx;
};

int plug_new(enum plug_kind kind, const struct plug_config *config, struct plug **ret);
/* Stops a running operation where it is; done() is not called. None of its commands may be in flight: call
 * qmp_close() first; the -ECANCELED that it brings is ignored. Takes NULL. */
void plug_free(struct plug *plug);

/* An event of the VM that may be about this PF. */
void plug_event(struct plug *plug, const char *name, const json_t *data);
/* The QMP connection is gone. (If a command was in flight, its failure has already ended the operation.) */
void plug_lost(struct plug *plug, const char *why);
