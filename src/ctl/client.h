/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The API's client side: JSON-RPC 2.0 over vpfd's UNIX socket, one JSON object a line each way.
 *
 * One call at a time; events that arrive meanwhile are kept until client_event(). A broken connection or an
 * answer that is no JSON-RPC makes the client useless: every further call fails the same way. Thread-safety:
 * single-threaded. */

#include <jansson.h>

#include "util/err.h"

#define CLIENT_DEFAULT_SOCKET "/run/vpf/vpfd.sock"

struct client;

struct client_config {
	const char *path; /* of the socket, borrowed until client_free() */
	int timeout_ms;   /* for an answer; -1: none */
	/* Called about once a second, from the second second on, while an answer is awaited, and once with 0
	 * when it is there if it was called before; NULL: not wanted. */
	void (*waiting)(void *ctx, unsigned int seconds);
	void *ctx;
};

/* Errors (with a sentence that says what to do): -ENOENT or -ECONNREFUSED: vpfd does not run; -EACCES: no
 * permission; others of connect(2). */
int client_new(const struct client_config *config, struct client **ret, struct err *err);
void client_free(struct client *c); /* takes NULL */
static inline void client_freep(struct client **c)
{
	client_free(*c);
}
#define _cleanup_client_ __attribute__((cleanup(client_freep)))

/* Calls a method with parameters (borrowed) and gives the result, a new reference. If vpfd refuses, `err` has
 * its message and field, and -errno of its answer (-EREMOTEIO if there is none) is returned. Else -EPIPE: the
 * connection ended; -EPROTO: the answer is not JSON-RPC; -ETIMEDOUT. */
int client_call(struct client *c, const char *method, json_t *params, json_t **ret, struct err *err);

/* Waits for the next event and gives its parameters, a new reference. -EPIPE, -EPROTO. */
int client_event(struct client *c, json_t **ret, struct err *err);
