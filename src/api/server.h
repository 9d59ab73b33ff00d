/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The management API's UNIX stream socket: clients, lines, buffers. One JSON text per line, in both
 * directions.
 *
 * A client may send requests without waiting for replies; while more than API_OUTPUT_PAUSE bytes of replies
 * are waiting for it, nothing more is read from it. Events are queued whether or not it reads, up to
 * API_OUTPUT_MAX bytes: then it is disconnected, with a log line. One client's requests cannot starve the
 * others: after a few lines it is the next one's turn. A client that closes its half of the connection still
 * gets the replies that are due; then the connection is closed. Thread-safety: main thread. */

#include "api/rpc.h"

#define API_LINE_MAX     (1U << 20) /* bytes of a request or batch, without the newline */
#define API_CLIENTS_MAX  64
#define API_OUTPUT_PAUSE (256U << 10)
#define API_OUTPUT_MAX   (4U << 20)  /* waiting to be read when an event comes */
#define API_REPLY_MAX    (64U << 20) /* waiting to be read in all */

struct api_server;

struct api_server_config {
	struct sd_event *event;
	const char *path;  /* < 108 bytes; a stale socket is replaced, a live one is -EADDRINUSE */
	unsigned int mode; /* permission bits */
	gid_t group;       /* (gid_t)-1: unchanged */
	const struct api_method *methods;
	void *env;            /* for handlers */
	uint64_t deferred_us; /* time limit of deferred replies */
};

/* Starts listening. */
int api_server_new(const struct api_server_config *config, struct api_server **ret, struct err *err);
/* Closes all connections and removes the socket. All deferred calls must have been ended. Takes NULL. */
void api_server_free(struct api_server *server);

/* Bits of the topics that any client has subscribed to. */
unsigned int api_server_topics(const struct api_server *server);
/* Sends the message to the clients subscribed to a topic in `topics`. */
void api_server_broadcast(struct api_server *server, unsigned int topics, const json_t *message);
