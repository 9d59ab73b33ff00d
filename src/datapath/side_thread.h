/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A thread beside the main one, for an instance whose system calls may have to wait: in the kernel for other
 * threads, for a grace period, for hardware.
 *
 * Theory of operation. It runs one function at a time, in the order requested, on an argument that both sides share,
 * and tells the main thread when one is done. How the functions share data with the main thread is up to them.
 * side_thread_free() waits for nothing: a running function is completed, then the thread itself calls `end`, which
 * frees the argument, and exits.
 *
 * Thread-safety: all calls on the main thread; functions and `end` run on the thread itself. */

#include <systemd/sd-event.h>

#include "util/util.h"

struct side_thread;

typedef void side_fn(void *arg);
/* fn is done; of two that were done since the main thread last checked, only the latter is reported. May call
 * side_thread_free(). */
typedef void side_done(void *ctx, side_fn *fn);

/* -ENOMEM, or what pthread_create() and eventfd() say; `arg` is then still the caller's. */
int side_thread_new(sd_event *event, void *arg, side_fn *end, side_done *done, void *ctx,
		    struct side_thread **ret);
/* Runs fn(arg). One that waits for its turn is replaced; one that runs is finished first. */
void side_thread_run(struct side_thread *t, side_fn *fn);
/* No further callback comes, and nothing new begins. Takes NULL. */
void side_thread_free(struct side_thread *t);
