/* SPDX-License-Identifier: Apache-2.0 */

/* vpfctl stats: counters, or with --watch their growth per second. */

#include <string.h>
#include <time.h>

#include "ctl/commands.h"
#include "ctl/ctl.h"
#include "ctl/value.h"
#include "ctl/view.h"
#include "util/clock.h"

const struct arg stats_args[] = {
	{.name = "PF", .param = "pf", .complete = COMPLETE_PF, .help = "Only this virtual PF."},
	{.name = "VF|pf",
	 .param = "vf",
	 .parse = value_function,
	 .complete = COMPLETE_FUNCTION,
	 .null = "pf",
	 .help = "Only this VF of the PF (a number, from 0), or only the PF itself."},
	{.name = "--fabric",
	 .value = "FABRIC",
	 .param = "fabric",
	 .complete = COMPLETE_FABRIC,
	 .help = "Only this fabric: its uplink and the functions on it."},
	{.name = "--watch",
	 .letter = 'w',
	 .help = "Show rates per second, repeatedly, until stopped; idle functions are left out. With --json: the counters, one line each time."},
	{.name = "--interval",
	 .value = "SECONDS",
	 .parse = value_seconds,
	 .help = "Interval of --watch. Default: 1."},
	{.name = "--count", .value = "N", .parse = value_count, .help = "End --watch after N intervals."},
	{0},
};

const struct example stats_examples[] = {
	{"stats", "Every function and every uplink."},
	{"stats pf0 3", "All counters of VF 3 of pf0."},
	{"stats --fabric f0 --watch", "The current traffic in fabric f0, every second."},
	{"stats pf0 --json", "Counters of pf0's functions for a script."},
	{0},
};

static const char *view_port(const json_t *stats, char text[VIEW_TEXT_MAX])
{
	const char *fabric = view_string(stats, "fabric");
	const json_t *uplink = json_object_get(stats, "uplink");
	char name[VIEW_TEXT_MAX];

	if (json_object_get(stats, "pf"))
		return view_function(stats, text);
	snprintf(text, VIEW_TEXT_MAX, "%.100s uplink %.100s", fabric,
		 json_is_string(uplink) ? json_string_value(uplink) : view_uplink(uplink, name));
	return text;
}

static void print_direction(struct out *out, const char *name, const json_t *counters)
{
	_cleanup_free_ char *drops = view_drops(json_object_get(counters, "drops"));

	out_field(out, name, STYLE_PLAIN, "%lld packets, %lld bytes", view_number(counters, "packets"),
		  view_number(counters, "bytes"));
	out_field(out, "", STYLE_PLAIN, "%lld broadcast, %lld multicast", view_number(counters, "broadcast"),
		  view_number(counters, "multicast"));
	if (view_number(counters, "dropped"))
		out_field(out, "", STYLE_WARN, "%lld dropped%s%s%s", view_number(counters, "dropped"),
			  drops && *drops ? " (" : "", drops ? drops : "", drops && *drops ? ")" : "");
	else
		out_field(out, "", STYLE_DIM, "none dropped");
}

void print_counters(struct out *out, const json_t *stats)
{
	print_direction(out, "Sent", json_object_get(stats, "tx"));
	print_direction(out, "Received", json_object_get(stats, "rx"));
	if (view_number(stats, "sw_checksum"))
		out_field(out, "Checksummed", STYLE_PLAIN, "%lld frames in software",
			  view_number(stats, "sw_checksum"));
	if (view_number(stats, "sw_segmented"))
		out_field(out, "Segmented", STYLE_PLAIN, "%lld frames in software",
			  view_number(stats, "sw_segmented"));
	if (view_number(stats, "ring_errors"))
		out_field(out, "Broken rings", STYLE_BAD, "%lld", view_number(stats, "ring_errors"));
}

static void note_drops(struct out *out, const char *port, const char *direction, const json_t *counters)
{
	_cleanup_free_ char *drops = view_drops(json_object_get(counters, "drops"));

	if (drops && *drops)
		out_text(out, STYLE_WARN, "%s: %s and dropped: %s\n", port, direction, drops);
}

static void print_stats(struct out *out, const json_t *list)
{
	static const struct column columns[] = {
		{"FUNCTION", ALIGN_LEFT}, {"SENT", ALIGN_RIGHT},     {"BYTES", ALIGN_RIGHT},
		{"DROPPED", ALIGN_RIGHT}, {"RECEIVED", ALIGN_RIGHT}, {"BYTES", ALIGN_RIGHT},
		{"DROPPED", ALIGN_RIGHT},
	};
	_cleanup_table_ struct table *t = NULL;
	char text[VIEW_TEXT_MAX];
	json_t *port;
	size_t i;

	if (json_array_size(list) == 1) {
		port = json_array_get(list, 0);
		out_text(out, STYLE_HEAD, "%s\n", view_port(port, text));
		print_counters(out, port);
		return;
	}
	t = table_new(columns, ARRAY_SIZE(columns));
	json_array_foreach (list, i, port) {
		table_cell(t, STYLE_PLAIN, "%s", view_port(port, text));
		for (unsigned int received = 0; received < 2; received++) {
			const json_t *counters = json_object_get(port, received ? "rx" : "tx");
			json_int_t dropped = view_number(counters, "dropped");

			table_cell(t, STYLE_PLAIN, "%lld", view_number(counters, "packets"));
			table_cell(t, STYLE_PLAIN, "%lld", view_number(counters, "bytes"));
			table_cell(t, dropped ? STYLE_WARN : STYLE_PLAIN, "%lld", dropped);
		}
	}
	table_print(out, t);
	json_array_foreach (list, i, port) {
		view_port(port, text);
		note_drops(out, text, "sent", json_object_get(port, "tx"));
		note_drops(out, text, "received", json_object_get(port, "rx"));
		if (view_number(port, "ring_errors"))
			out_text(out, STYLE_BAD, "%s: broken rings: %lld\n", text,
				 view_number(port, "ring_errors"));
	}
}

/* The previous counters by the port's name: ports come and go between two intervals. */
static json_t *index_by_port(const json_t *list)
{
	json_t *index = json_object(), *port;
	char text[VIEW_TEXT_MAX];
	size_t i;

	json_array_foreach (list, i, port) {
		json_object_set(index, view_port(port, text), port);
	}
	return index;
}

/* A counter that has shrunk belongs to a port that was created again. */
static double rate(const json_t *now, const json_t *before, const char *direction, const char *counter,
		   double seconds)
{
	json_int_t n = view_number(json_object_get(now, direction), counter);
	json_int_t b = view_number(json_object_get(before, direction), counter);

	return (double)(n >= b ? n - b : n) / seconds;
}

static void rate_cells(struct table *t, const double rates[3])
{
	char text[VIEW_TEXT_MAX];

	table_cell(t, STYLE_PLAIN, "%s", view_rate(rates[0], text));
	table_cell(t, STYLE_PLAIN, "%s", view_rate(rates[1] * 8, text));
	table_cell(t, rates[2] > 0 ? STYLE_WARN : STYLE_PLAIN, "%s", view_rate(rates[2], text));
}

static void print_rates(struct out *out, const json_t *list, const json_t *before, double seconds)
{
	static const struct column columns[] = {
		{"FUNCTION", ALIGN_LEFT},   {"SENT/s", ALIGN_RIGHT},     {"bit/s", ALIGN_RIGHT},
		{"DROPPED/s", ALIGN_RIGHT}, {"RECEIVED/s", ALIGN_RIGHT}, {"bit/s", ALIGN_RIGHT},
		{"DROPPED/s", ALIGN_RIGHT},
	};
	static const char *const counters[] = {"packets", "bytes", "dropped"};
	_cleanup_table_ struct table *t = table_new(columns, ARRAY_SIZE(columns));
	unsigned int idle = 0;
	json_t *port;
	size_t i;

	json_array_foreach (list, i, port) {
		double tx[3], rx[3], sum = 0;
		char text[VIEW_TEXT_MAX];
		const json_t *was;

		view_port(port, text);
		was = json_object_get(before, text);
		if (!was)
			was = port; /* new: what it counted before it was seen is not a rate */
		for (unsigned int n = 0; n < 3; n++) {
			tx[n] = rate(port, was, "tx", counters[n], seconds);
			rx[n] = rate(port, was, "rx", counters[n], seconds);
			sum += tx[n] + rx[n];
		}
		if (sum <= 0 && json_array_size(list) > 1) {
			idle++;
			continue;
		}
		table_cell(t, STYLE_PLAIN, "%s", text);
		rate_cells(t, tx);
		rate_cells(t, rx);
	}
	table_print(out, t);
	if (idle)
		out_text(out, STYLE_DIM, "%u idle\n", idle);
}

/* Sleeps until the monotonic clock reaches `when`. */
static void sleep_until(double when)
{
	struct timespec ts = {.tv_sec = (time_t)when, .tv_nsec = (long)((when - (double)(time_t)when) * 1e9)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

static int watch(struct ctl *ctl, const struct invocation *inv, struct err *err)
{
	const json_t *interval_arg = invocation_local(inv, "--interval");
	double interval = interval_arg ? json_real_value(interval_arg) : 1.0;
	json_int_t left = json_integer_value(invocation_local(inv, "--count"));
	double then = 0, next = (double)clock_ns() / 1e9;
	json_t *before = NULL, *list;
	int r = 0;

	for (;;) {
		double now;

		r = ctl_call(ctl, "stats", inv->params, &list, err);
		if (r < 0)
			break;
		now = (double)clock_ns() / 1e9;
		if (ctl->out.json) {
			out_json_line(&ctl->out, list);
		} else if (before) {
			if (ctl->out.terminal)
				fputs("\033[H\033[J", ctl->out.file);
			print_rates(&ctl->out, list, before, MAX(now - then, 1e-6));
			fputs("\n", ctl->out.file);
			fflush(ctl->out.file);
		}
		/* The first reading shows no rate yet and does not count. */
		r = (before || ctl->out.json) && left && --left == 0 ? 1 : 0;
		json_decref(before);
		before = index_by_port(list);
		json_decref(list);
		then = now;
		if (r == 1 || ferror(ctl->out.file))
			break;
		next = MAX(next + interval, now); /* no burst after a pause */
		sleep_until(next);
	}
	json_decref(before);
	return MIN(r, 0);
}

int run_stats(struct ctl *ctl, const struct invocation *inv, struct err *err)
{
	json_t *list;
	int r;

	if (invocation_flag(inv, "--watch"))
		return watch(ctl, inv, err);
	r = ctl_call(ctl, "stats", inv->params, &list, err);
	if (r < 0)
		return r;
	if (ctl->out.json)
		out_json(&ctl->out, list);
	else
		print_stats(&ctl->out, list);
	json_decref(list);
	return 0;
}
