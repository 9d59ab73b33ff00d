/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How a front-end gets a connection to its back-end: it connects to the back-end's socket and tries again
 * while there is none, or it creates the socket and waits for the back-end to connect.
 *
 * One connection is wanted at a time: `reached` hands it over, vu_reach_again() asks for another one, e.g.
 * after one that ended before it was of use. A socket that was created here stays until vu_reach_free(),
 * which removes it; a client that connects while no connection is wanted is disconnected. There is no time
 * limit here: that is up to the owner.
 *
 * Thread-safety: main thread. */

#include <systemd/sd-event.h>

#include "util/err.h"

struct vu_reach;

/* `fd`: connected, owned by the callee. Called from the event loop, never from within a call here. */
typedef void (*vu_reached_fn)(void *ctx, int fd);

/* server: create the socket, mode 0660. Errors: -EADDRINUSE, -ENAMETOOLONG, …, with the reason in `err`. */
int vu_reach_new(sd_event *event, const char *path, bool server, vu_reached_fn reached, void *ctx,
		 struct vu_reach **ret, struct err *err);
void vu_reach_free(struct vu_reach *c); /* takes NULL */
void vu_reach_again(struct vu_reach *c);
/* Why there is no connection yet: as a sentence without a period, and as negative errno. */
int vu_reach_why(const struct vu_reach *c, char *buf, size_t size);
