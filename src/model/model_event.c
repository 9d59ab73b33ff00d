/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "model/model_private.h"
#include "settings/mac.h"

const char *const model_topic_names[MODEL_TOPICS + 1] = {
	[TOPIC_FUNCTION] = "function", [TOPIC_LINK] = "link",       [TOPIC_PF] = "pf",
	[TOPIC_FABRIC] = "fabric",     [TOPIC_FDB] = "fdb",         [TOPIC_RING] = "ring",
	[TOPIC_QMP] = "qmp",           [TOPIC_CONTROL] = "control", [TOPIC_DATAPATH] = "datapath",
	[MODEL_TOPICS] = NULL,
};

const char *model_function_name(unsigned int fn, char ret[16])
{
	if (fn == VPF_FUNCTION_PF)
		snprintf(ret, 16, "pf");
	else
		snprintf(ret, 16, "vf%u", fn - 1);
	return ret;
}

void model_listen(struct model *m, model_listener listener, void *ctx)
{
	assert(m->listeners_n < MODEL_LISTENERS);
	m->listeners[m->listeners_n].call = listener;
	m->listeners[m->listeners_n++].ctx = ctx;
}

void model_unlisten(struct model *m, model_listener listener, void *ctx)
{
	for (unsigned int i = 0; i < m->listeners_n; i++)
		if (m->listeners[i].call == listener && m->listeners[i].ctx == ctx) {
			m->listeners[i] = m->listeners[--m->listeners_n];
			return;
		}
}

void model_report(struct model *m, const struct model_event *event)
{
	struct log_scope scope = {.fabric = event->fabric, .pf = event->pf, .vf = LOG_VF_NONE};

	if (event->function == VPF_FUNCTION_PF)
		scope.vf = LOG_VF_PF;
	else if (event->function > 0)
		scope.vf = event->function - 1;
	log_write(event->level, &scope, "%s", event->text);
	for (unsigned int i = 0; i < m->listeners_n; i++)
		m->listeners[i].call(m->listeners[i].ctx, event);
}

void model_reportf(struct model *m, enum model_topic topic, const char *event, enum log_level level,
		   const char *fabric, const char *pf, int function, json_t *detail, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	model_report(m, &(struct model_event){
				.topic = topic,
				.event = event,
				.level = level,
				.fabric = fabric,
				.pf = pf,
				.function = function,
				.detail = detail,
				.text = text,
			});
	json_decref(detail);
}

json_t *model_difference(json_t *before, json_t *after)
{
	json_t *changed = json_object(), *v;
	const char *name;

	json_object_foreach (after, name, v)
		if (!json_equal(json_object_get(before, name), v))
			json_object_set(changed, name, v);
	json_decref(before);
	json_decref(after);
	if (!json_object_size(changed)) {
		json_decref(changed);
		return NULL;
	}
	return json_pack("{s:o}", "changed", changed);
}

/* What the data plane reports. */

static void on_function_connected(void *ctx, const char *pf, unsigned int fn, bool connected, const char *why)
{
	json_t *detail = why ? json_pack("{s:s}", "reason", why) : NULL;

	if (connected)
		model_reportf(ctx, TOPIC_FUNCTION, "connected", LOG_LVL_INFO, NULL, pf, (int)fn, detail,
			      "connected");
	else
		/* Without a reason QEMU has closed in an orderly way. A reason was logged where it was found.
		 */
		model_reportf(ctx, TOPIC_FUNCTION, "disconnected", LOG_LVL_INFO, NULL, pf, (int)fn, detail,
			      "disconnected%s%s", why ? ": " : "", why ? why : "");
}

static void on_function_started(void *ctx, const char *pf, unsigned int fn, bool started)
{
	model_reportf(ctx, TOPIC_FUNCTION, started ? "started" : "stopped", LOG_LVL_INFO, NULL, pf, (int)fn,
		      NULL, started ? "the guest's driver uses it" : "the guest's driver has left it");
}

static void on_link_changed(void *ctx, const char *pf, unsigned int fn, bool up)
{
	const struct model *m = ctx;

	/* While a virtual PF is being made or deleted nobody knows it: its functions' links are no news. */
	if (m->loading || !model_lookup_pf(m, pf))
		return;
	model_reportf(ctx, TOPIC_LINK, up ? "up" : "down", LOG_LVL_INFO, NULL, pf, (int)fn, NULL,
		      "link is %s", up ? "up" : "down");
}

static void on_ring_error(void *ctx, const char *pf, unsigned int fn, unsigned int queue, const char *why)
{
	/* vhost_user_queue_failed() logs it. */
	model_reportf(ctx, TOPIC_RING, "error", LOG_LVL_DEBUG, NULL, pf, (int)fn,
		      json_pack("{s:I, s:s}", "queue", (json_int_t)queue, "reason", why),
		      "queue %u is stopped until the driver sets it up anew: %s", queue, why);
}

static void on_announce_wanted(void *ctx, const char *pf, unsigned int fn)
{
	model_reportf(ctx, TOPIC_FUNCTION, "announce", LOG_LVL_DEBUG, NULL, pf, (int)fn, NULL,
		      "its driver is to announce it to the switch that it was moved to");
}

static void on_mac_conflict(void *ctx, const char *pf, unsigned int fn, const uint8_t mac[6])
{
	char text[MAC_TEXT_MAX];

	mac_format(mac, text);
	model_reportf(
		ctx, TOPIC_FDB, "mac_conflict", LOG_LVL_WARNING, NULL, pf, (int)fn,
		json_pack("{s:s}", "mac", text),
		"its MAC %s is owned by another function of the fabric, which keeps getting its traffic",
		text);
}

static void on_uplink_changed(void *ctx, const char *fabric, bool carrier)
{
	if (!model_lookup_fabric(ctx, fabric))
		return; /* in the making: the carrier it begins with is no news */
	model_reportf(ctx, TOPIC_FABRIC, "uplink", LOG_LVL_NOTICE, fabric, NULL, -1,
		      json_pack("{s:b}", "carrier", carrier), "the uplink has %s carrier",
		      carrier ? "a" : "no");
}

static void on_fabric_trouble(void *ctx, const char *fabric, const char *pf, unsigned int fn, const char *why)
{
	model_reportf(ctx, TOPIC_FABRIC, "trouble", LOG_LVL_WARNING, fabric, pf, pf ? (int)fn : -1, NULL,
		      "%s", why);
}

const struct dataplane_events model_dataplane_events = {
	.function_connected = on_function_connected,
	.function_started = on_function_started,
	.link_changed = on_link_changed,
	.ring_error = on_ring_error,
	.mac_conflict = on_mac_conflict,
	.uplink_changed = on_uplink_changed,
	.datapath_changed = model_on_datapath_changed,
	.datapath_failed = model_on_datapath_failed,
	.announce_wanted = on_announce_wanted,
	.fabric_trouble = on_fabric_trouble,
};
