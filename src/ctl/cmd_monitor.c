/* SPDX-License-Identifier: Apache-2.0 */

/* vpfctl monitor: events, one line each, as they come. */

#include <string.h>

#include "ctl/commands.h"
#include "ctl/ctl.h"
#include "ctl/value.h"
#include "ctl/view.h"

const struct arg monitor_args[] = {
	{.name = "TOPIC",
	 .flags = ARG_REPEAT,
	 .param = "topics",
	 .complete = COMPLETE_WORDS,
	 .words = words_topics,
	 .help = "Only events of these topics: function, link, pf, fabric, fdb, ring, qmp, control, datapath. Default: all."},
	{.name = "--count", .value = "N", .parse = value_count, .help = "End after N events."},
	{0},
};

const struct example monitor_examples[] = {
	{"monitor", "All events, until stopped."},
	{"monitor link function", "Only links, and functions that a VM starts or stops using."},
	{"monitor qmp --count 1 --json", "Wait for the next event of a QMP connection, in a script."},
	{0},
};

static void print_event(struct out *out, const json_t *event)
{
	static const char *const shown[] = {"topic", "event", "time", "text", "pf", "vf", "fabric"};
	const char *fabric = view_string(event, "fabric"), *sentence = view_string(event, "text");
	char text[VIEW_TEXT_MAX];
	const char *key;
	json_t *value;

	out_text(out, STYLE_DIM, "%s", view_string(event, "time"));
	out_text(out, STYLE_PLAIN, " %s", view_string(event, "topic"));
	if (json_object_get(event, "vf"))
		out_text(out, STYLE_HEAD, " %s", view_function(event, text));
	else if (*view_string(event, "pf"))
		out_text(out, STYLE_HEAD, " %s", view_string(event, "pf"));
	else if (*fabric)
		out_text(out, STYLE_HEAD, " %s", fabric);
	out_text(out, STYLE_PLAIN, " %s%s%s", view_string(event, "event"), *sentence ? ": " : "", sentence);

	json_object_foreach ((json_t *)event, key, value) {
		_cleanup_free_ char *rest = view_any(value);
		bool done = false;

		for (unsigned int i = 0; i < ARRAY_SIZE(shown); i++)
			done |= strcmp(key, shown[i]) == 0;
		if (!done)
			out_text(out, STYLE_PLAIN, " %s=%s", key, rest ? rest : "");
	}
	out_text(out, STYLE_PLAIN, "\n");
	fflush(out->file);
}

int run_monitor(struct ctl *ctl, const struct invocation *inv, struct err *err)
{
	json_int_t left = json_integer_value(invocation_local(inv, "--count"));
	json_t *result, *event;
	int r;

	r = ctl_call(ctl, "events.subscribe", inv->params, &result, err);
	if (r < 0)
		return r;
	json_decref(result);
	/* From here on no event is missed: worth knowing for a script that causes one. */
	fputs("vpfctl: waiting for events\n", stderr);

	do {
		r = client_event(ctl->client, &event, err);
		if (r < 0)
			return r;
		if (ctl->out.json)
			out_json_line(&ctl->out, event);
		else
			print_event(&ctl->out, event);
		json_decref(event);
	} while (!ferror(ctl->out.file) && (!left || --left));
	return 0;
}
