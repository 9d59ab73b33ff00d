/* SPDX-License-Identifier: Apache-2.0 */

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

const struct model_event_name model_event_names[MODEL_EVENTS] = {
	[EVENT_FUNCTION_CONNECTED] = {TOPIC_FUNCTION, "connected"},
	[EVENT_FUNCTION_DISCONNECTED] = {TOPIC_FUNCTION, "disconnected"},
	[EVENT_FUNCTION_STARTED] = {TOPIC_FUNCTION, "started"},
	[EVENT_FUNCTION_STOPPED] = {TOPIC_FUNCTION, "stopped"},
	[EVENT_FUNCTION_CHANGED] = {TOPIC_FUNCTION, "changed"},
	[EVENT_FUNCTION_FILTER] = {TOPIC_FUNCTION, "filter"},
	[EVENT_FUNCTION_ANNOUNCE] = {TOPIC_FUNCTION, "announce"},
	[EVENT_LINK_UP] = {TOPIC_LINK, "up"},
	[EVENT_LINK_DOWN] = {TOPIC_LINK, "down"},
	[EVENT_PF_ADDED] = {TOPIC_PF, "added"},
	[EVENT_PF_CHANGED] = {TOPIC_PF, "changed"},
	[EVENT_PF_DELETED] = {TOPIC_PF, "deleted"},
	[EVENT_FABRIC_ADDED] = {TOPIC_FABRIC, "added"},
	[EVENT_FABRIC_CHANGED] = {TOPIC_FABRIC, "changed"},
	[EVENT_FABRIC_DELETED] = {TOPIC_FABRIC, "deleted"},
	[EVENT_FABRIC_UPLINK] = {TOPIC_FABRIC, "uplink"},
	[EVENT_FABRIC_TROUBLE] = {TOPIC_FABRIC, "trouble"},
	[EVENT_MAC_CONFLICT] = {TOPIC_FDB, "mac_conflict"},
	[EVENT_RING_ERROR] = {TOPIC_RING, "error"},
	[EVENT_QMP_CONNECTED] = {TOPIC_QMP, "connected"},
	[EVENT_QMP_DISCONNECTED] = {TOPIC_QMP, "disconnected"},
	[EVENT_QMP_ATTACHED] = {TOPIC_QMP, "attached"},
	[EVENT_QMP_DETACHED] = {TOPIC_QMP, "detached"},
	[EVENT_CONTROL_GRANTED] = {TOPIC_CONTROL, "granted"},
	[EVENT_CONTROL_REFUSED] = {TOPIC_CONTROL, "refused"},
	[EVENT_CONTROL_HELLO] = {TOPIC_CONTROL, "hello"},
	[EVENT_CONTROL_BYE] = {TOPIC_CONTROL, "bye"},
	[EVENT_CONTROL_LOST] = {TOPIC_CONTROL, "lost"},
	[EVENT_DATAPATH_BOUND] = {TOPIC_DATAPATH, "bound"},
	[EVENT_DATAPATH_MOVED] = {TOPIC_DATAPATH, "moved"},
	[EVENT_DATAPATH_RETURNED] = {TOPIC_DATAPATH, "returned"},
	[EVENT_DATAPATH_RELEASED] = {TOPIC_DATAPATH, "released"},
	[EVENT_DATAPATH_NONE] = {TOPIC_DATAPATH, "none"},
	[EVENT_DATAPATH_FAILED] = {TOPIC_DATAPATH, "failed"},
};

struct listener {
	struct listener *next;
	model_listener call;
	void *ctx;
};

const char *model_function_name(unsigned int fn, char ret[16])
{
	if (fn == VPF_FUNCTION_PF)
		snprintf(ret, 16, "pf");
	else
		snprintf(ret, 16, "vf%u", fn - 1);
	return ret;
}

int model_listen(struct model *m, model_listener listener, void *ctx)
{
	struct listener *l = malloc(sizeof(*l)), **end = &m->listeners;

	if (!l)
		return -ENOMEM;
	*l = (struct listener){.call = listener, .ctx = ctx};
	while (*end)
		end = &(*end)->next;
	*end = l;
	return 0;
}

void model_unlisten(struct model *m, model_listener listener, void *ctx)
{
	for (struct listener **p = &m->listeners; *p; p = &(*p)->next) {
		struct listener *l = *p;

		if (l->call != listener || l->ctx != ctx)
			continue;
		*p = l->next;
		free(l);
		return;
	}
}

void model_forget_listeners(struct model *m)
{
	while (m->listeners)
		model_unlisten(m, m->listeners->call, m->listeners->ctx);
}

void model_report(struct model *m, const struct model_event *event)
{
	struct log_scope scope = {.fabric = event->fabric, .pf = event->pf, .vf = LOG_VF_NONE};

	if (event->function == VPF_FUNCTION_PF)
		scope.vf = LOG_VF_PF;
	else if (event->function > 0)
		scope.vf = event->function - 1;
	log_write(event->level, &scope, "%s", event->text);
	for (const struct listener *l = m->listeners; l; l = l->next)
		l->call(l->ctx, event);
}

void model_reportf(struct model *m, enum model_event_kind kind, enum log_level level, const char *fabric,
		   const char *pf, int function, json_t *detail, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	model_report(m, &(struct model_event){
				.kind = kind,
				.level = level,
				.fabric = fabric,
				.pf = pf,
				.function = function,
				.detail = detail,
				.text = text,
			});
	json_decref(detail);
}

json_t *model_changed_detail(json_t *members)
{
	return members ? json_pack("{s:o}", "changed", members) : NULL;
}

/* What the data plane reports. */

static void on_function_connected(void *ctx, const char *pf, unsigned int fn, bool connected, const char *why)
{
	json_t *detail = why ? json_pack("{s:s}", "reason", why) : NULL;

	if (connected)
		model_reportf(ctx, EVENT_FUNCTION_CONNECTED, LOG_LVL_INFO, NULL, pf, (int)fn, detail,
			      "connected");
	else
		/* Without a reason QEMU has closed in an orderly way. A reason was logged where it was found.
		 */
		model_reportf(ctx, EVENT_FUNCTION_DISCONNECTED, LOG_LVL_INFO, NULL, pf, (int)fn, detail,
			      "disconnected%s%s", why ? ": " : "", why ? why : "");
}

static void on_function_started(void *ctx, const char *pf, unsigned int fn, bool started)
{
	model_reportf(ctx, started ? EVENT_FUNCTION_STARTED : EVENT_FUNCTION_STOPPED, LOG_LVL_INFO, NULL, pf,
		      (int)fn, NULL,
		      started ? "the guest's driver uses it" : "the guest's driver has left it");
}

static void on_link_changed(void *ctx, const char *pf, unsigned int fn, bool up)
{
	const struct model *m = ctx;

	/* Links are no news while their virtual PF is being made or deleted. */
	if (m->loading || !model_lookup_pf(m, pf))
		return;
	model_reportf(ctx, up ? EVENT_LINK_UP : EVENT_LINK_DOWN, LOG_LVL_INFO, NULL, pf, (int)fn, NULL,
		      "link is %s", up ? "up" : "down");
}

static void on_ring_error(void *ctx, const char *pf, unsigned int fn, unsigned int queue, const char *why)
{
	/* vhost_user_queue_failed() logs it. */
	model_reportf(ctx, EVENT_RING_ERROR, LOG_LVL_DEBUG, NULL, pf, (int)fn,
		      json_pack("{s:I, s:s}", "queue", (json_int_t)queue, "reason", why),
		      "queue %u is stopped until the driver sets it up again: %s", queue, why);
}

static void on_announce_wanted(void *ctx, const char *pf, unsigned int fn)
{
	model_reportf(ctx, EVENT_FUNCTION_ANNOUNCE, LOG_LVL_DEBUG, NULL, pf, (int)fn, NULL,
		      "its driver is to announce it to the switch that it was moved to");
}

static void on_mac_conflict(void *ctx, const char *pf, unsigned int fn, const uint8_t mac[6])
{
	char text[MAC_TEXT_MAX];

	mac_format(mac, text);
	model_reportf(
		ctx, EVENT_MAC_CONFLICT, LOG_LVL_WARNING, NULL, pf, (int)fn, json_pack("{s:s}", "mac", text),
		"its MAC %s is owned by another function of the fabric, which keeps getting its traffic",
		text);
}

static void on_uplink_changed(void *ctx, const char *fabric, bool carrier)
{
	if (!model_lookup_fabric(ctx, fabric))
		return; /* in the making: the carrier it begins with is no news */
	model_reportf(ctx, EVENT_FABRIC_UPLINK, LOG_LVL_NOTICE, fabric, NULL, -1,
		      json_pack("{s:b}", "carrier", carrier), "the uplink has %s carrier",
		      carrier ? "a" : "no");
}

static void on_fabric_trouble(void *ctx, const char *fabric, const char *pf, unsigned int fn, const char *why)
{
	model_reportf(ctx, EVENT_FABRIC_TROUBLE, LOG_LVL_WARNING, fabric, pf, pf ? (int)fn : -1, NULL, "%s",
		      why);
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
