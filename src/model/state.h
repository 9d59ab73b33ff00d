/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The state file: one JSON object in <dir>/state.json that is always either the old or the new one. A save
 * writes state.json.tmp beside it, flushes that to disk, renames it over the old one and flushes the
 * directory; when it returns 0 the new contents survive a power failure, and when it fails the old ones are
 * still there. Its mode is 0600, since it has the VMs' keys.
 *
 * A file that cannot be read in full and understood is never overwritten: loading it fails, with a sentence
 * about what to do, and so does the daemon's start. A lock on <dir>/lock keeps a second daemon out for as
 * long as the store is open. Thread-safety: one thread. */

#include <jansson.h>

#include "util/err.h"

#define STATE_FORMAT "vpf-state"
#define STATE_VERSION                                                                                        \
	3 /* 2: without datapaths and kinds of fabric; 1: also without VMs, rates, pins and the guest's part \
	     of the policy */

struct state_store;

/* Creates `dir` (mode 0700) if need be, and locks it: -EBUSY if another daemon has it, else the system call's
 * error. */
int state_store_open(const char *dir, struct state_store **ret, struct err *err);
void state_store_free(struct state_store *store); /* takes NULL */
const char *state_store_path(const struct state_store *store);

/* The root object of the file, whose "format" and "version" have been checked; *ret is NULL if there is no
 * file. -EBADMSG: not JSON, cut short, not ours; -EPROTONOSUPPORT: a newer version; else the system call's
 * error. */
int state_store_load(struct state_store *store, json_t **ret, struct err *err);

/* Makes the JSON text the state; "format" and "version" are the caller's to put in. The system call's error,
 * e.g. -ENOSPC. */
int state_store_save(struct state_store *store, const char *text, size_t size, struct err *err);
