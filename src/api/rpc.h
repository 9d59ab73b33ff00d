/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* JSON-RPC 2.0: from the text of a message to the method, and back to the text of the reply. No sockets here.
 *
 * A message is one JSON text: a request object, or an array of them (a batch). Each request that has an "id"
 * gets one reply, those of a batch together in one array in no particular order; a message that calls for no
 * reply gets none. A method answers at once, or defers its reply (api_call_defer()) for at most the time
 * limit. Requests are hostile: nesting depth, requests in a batch and the size of a batch's replies are
 * bounded. Thread-safety: main thread. */

#include <jansson.h>
#include <sys/types.h>

#include "settings/json_fields.h"
#include "util/err.h"

struct sd_event;
struct rpc;
struct api_call;

#define RPC_DEPTH_MAX      32          /* nested arrays and objects */
#define RPC_BATCH_MAX      256         /* requests in a batch */
#define RPC_REPLY_SIZE_MAX (32U << 20) /* bytes of a batch's replies, beyond which the rest is refused */
#define RPC_DEFERRED_MAX   256         /* replies outstanding in all, of each kind */

enum rpc_code {
	RPC_PARSE_ERROR = -32700,
	RPC_INVALID_REQUEST = -32600,
	RPC_METHOD_NOT_FOUND = -32601,
	RPC_INVALID_PARAMS = -32602, /* EINVAL */
	RPC_INTERNAL_ERROR = -32603,
	RPC_ERRNO_BASE = -32000, /* minus the errno, for the others */
};

/* A handler may return this instead of 0 after api_call_defer(). */
#define RPC_DEFERRED 1

struct api_method {
	const char *name; /* NULL ends the table */
	const struct json_field *params;
	bool changes; /* changes state: the call is logged with its caller */
	/* `params` is an object that fits the table. 0: *ret is the result (given away); RPC_DEFERRED; or
	 * negative errno with `err` filled. */
	int (*handle)(struct api_call *call, const json_t *params, json_t **ret, struct err *err);
	const char *result; /* the result, in a few words */
	const char *doc;
};

/* The other side, as far as this module knows it; its owner embeds it. */
struct rpc_peer {
	pid_t pid;
	uid_t uid;
	unsigned int topics; /* bits by enum model_topic: events it subscribed to */
	unsigned int open;   /* messages not yet answered completely; read-only for the owner */
	/* Sends one message, a line without its newline. Must not free the peer. */
	void (*send)(struct rpc_peer *peer, const char *text, size_t size);
};

struct rpc_config {
	struct sd_event *event;
	const struct api_method *methods;
	void *env;            /* for handlers */
	uint64_t deferred_us; /* time limit of a deferred reply */
};

int rpc_new(const struct rpc_config *config, struct rpc **ret);
/* Every deferred reply must have been given (api_deferred_done()). Takes NULL. */
void rpc_free(struct rpc *rpc);

void rpc_handle(struct rpc *rpc, struct rpc_peer *peer, const char *text, size_t size);
/* Answers a message that could not be accepted, with the id null. */
void rpc_refuse(struct rpc_peer *peer, enum rpc_code code, const struct err *err);
/* The peer is gone: its replies are discarded from now on. */
void rpc_peer_gone(struct rpc *rpc, struct rpc_peer *peer);

/* For handlers. */
void *api_call_env(const struct api_call *call);
struct rpc_peer *api_call_peer(const struct api_call *call); /* valid during the handler */
const struct api_method *api_call_methods(const struct api_call *call);
/* Why a reply comes later. Calls that wait for long take no place from changes, most of which are answered at once. */
enum rpc_defer { RPC_DEFER_CHANGE, RPC_DEFER_WAIT, RPC_DEFERS };
/* The reply may come later: exactly one api_deferred_done() must follow, at any time, if the handler returns
 * RPC_DEFERRED. A second call does nothing. -EBUSY with `err`: too many deferred calls of the kind. */
int api_call_defer(struct api_call *call, enum rpc_defer kind, struct err *err);
/* err NULL: `result` (given away) is the result; else it is NULL. Ends the call. */
void api_deferred_done(struct api_call *call, json_t *result, const struct err *err);

/* A JSON string of text from any source: if it is not UTF-8, its bytes outside ASCII become '?'. */
json_t *rpc_text(const char *text);
