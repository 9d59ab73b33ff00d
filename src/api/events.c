/* SPDX-License-Identifier: Apache-2.0 */

#include <stdio.h>
#include <time.h>

#include "api/env.h"
#include "api/objects.h"
#include "api/server.h"
#include "settings/json_build.h"
#include "util/log.h"

/* RFC 3339, UTC, to the millisecond. */
static const char *format_time(char ret[32])
{
	struct timespec now;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	n = strftime(ret, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret + n, 32 - n, ".%03ldZ", now.tv_nsec / 1000000);
	return ret;
}

void api_on_model_event(void *ctx, const struct model_event *event)
{
	struct api_server *server = ctx;
	const struct model_event_name *name = &model_event_names[event->kind];
	unsigned int topic = 1U << name->topic;
	json_t *params, *message;
	char now[32];

	if (!(api_server_topics(server) & topic))
		return;
	params = json_pack("{s:s, s:s, s:s, s:o}", "topic", model_topic_names[name->topic], "event",
			   name->name, "time", format_time(now), "text", rpc_text(event->text));
	if (event->fabric)
		json_put(&params, "fabric", json_string(event->fabric));
	if (event->pf)
		json_put(&params, "pf", json_string(event->pf));
	if (event->function >= 0)
		json_put(&params, "vf", object_vf((unsigned int)event->function));
	if (event->detail)
		json_object_update_missing(params, (json_t *)event->detail);
	message = json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", "event", "params", params);
	if (message)
		api_server_broadcast(server, topic, message);
	else
		log_error("out of memory for an event");
	json_decref(message);
}
