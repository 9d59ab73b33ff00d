/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The API's client side: JSON-RPC 2.0 over vpfd's UNIX socket, one JSON object per line in both directions.
 *
 * One call at a time; events that arrive during a call are kept for client_event(). After a broken connection
 * or an answer that is not JSON-RPC, every further call fails the same way. Thread-safety:
 * single-threaded. */

#include <jansson.h>

#include "util/err.h"

#define CLIENT_DEFAULT_SOCKET "/run/vpf/vpfd.sock"

struct client;

struct client_config {
	const char *path; /* of the socket, borrowed until client_free() */
	int timeout_ms;   /* for an answer; -1: no limit */
	/* Called about once a second while a call waits for its answer, from 2 s on; then once with 0 when
	 * the answer arrives. NULL: not wanted. */
	void (*waiting)(void *ctx, unsigned int seconds);
	void *ctx;
};

/* Errors (with a sentence that says what to do): -ENOENT: vpfd is not running; -EACCES: no permission; others
 * of connect(2). */
int client_new(const struct client_config *config, struct client **ret, struct err *err);
void client_free(struct client *c); /* takes NULL */
static inline void client_freep(struct client **c)
{
	client_free(*c);
}
#define _cleanup_client_ __attribute__((cleanup(client_freep)))

/* Calls a method with parameters (borrowed) and gives the result, a new reference. If vpfd refuses, `err` has
 * its message and field, and -errno of its answer (-EREMOTEIO if it has none) is returned. Else -EPIPE: the
 * connection was closed; -EPROTO: the answer is not JSON-RPC; -ETIMEDOUT. */
int client_call(struct client *c, const char *method, json_t *params, json_t **ret, struct err *err);

/* Waits for the next event and gives its parameters, a new reference. -EPIPE, -EPROTO. */
int client_event(struct client *c, json_t **ret, struct err *err);
