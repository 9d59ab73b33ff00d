/* SPDX-License-Identifier: Apache-2.0 */

/* vpfctl vf …, and how functions are shown. */

#include <string.h>

#include "ctl/commands.h"
#include "ctl/ctl.h"
#include "ctl/types.h"
#include "ctl/value.h"
#include "ctl/view.h"
#include "settings/datapath_list.h"
#include "settings/function_fields.h"

#define PF_ARG .name = "PF", .flags = ARG_REQUIRED, .param = "pf", .complete = COMPLETE_PF

static const struct arg set_args[] = {
	{PF_ARG, .help = "A virtual PF."},
	{.name = "VF|pf",
	 .flags = ARG_REQUIRED,
	 .param = "vf",
	 .parse = value_function,
	 .complete = COMPLETE_FUNCTION,
	 .null = "pf",
	 .help = "The number of a VF, from 0, or pf for the PF itself."},
	{.name = "--mac",
	 .value = "MAC",
	 .param = "mac",
	 .parse = value_mac,
	 .help = "Administrative MAC, which the VM's driver cannot change unless the VF is trusted; none or all zeros: the permanent one again."},
	{.name = "--vlan",
	 .value = "VLAN",
	 .param = "vlan",
	 .parse = value_vlan,
	 .help = "VID, VID:PCP or VID:PCP:802.1ad: the switch inserts and strips the tag, the VM sees none. none: no VLAN."},
	{.name = "--trunk",
	 .value = "LIST",
	 .param = "vlan",
	 .parse = value_trunk,
	 .help = "The VM tags its frames itself, and only these VLANs pass, such as 0,10-20,30 (0: untagged frames)."},
	{.name = "--spoofchk",
	 ARG_ON_OFF("spoofchk"),
	 .help = "Drop frames that it sends from a MAC or in a VLAN that is not its own. Default: on."},
	{.name = "--trust",
	 ARG_ON_OFF("trust"),
	 .help = "It may change an administrative MAC and, if the policy lets it, be promiscuous. Default: off."},
	{.name = "--link",
	 .value = "auto|enable|disable",
	 .param = "link",
	 .complete = COMPLETE_WORDS,
	 .words = link_choices,
	 .help = "Its link follows the uplink's (auto, the default), or is always up or down."},
	{.name = "--max-rate",
	 .value = "MBPS",
	 .param = "max_rate",
	 .parse = value_rate,
	 .complete = COMPLETE_WORDS,
	 .words = words_none,
	 .help = "Limit of what it sends, in Mb/s; none: no limit but the policy's."},
	{.name = "--min-rate",
	 .value = "MBPS",
	 .param = "min_rate",
	 .parse = value_rate,
	 .complete = COMPLETE_WORDS,
	 .words = words_none,
	 .help = "What it can send whatever the others send, in Mb/s, out of the policy's max_rate_total; none: nothing is promised."},
	{.name = "--pinned",
	 .value = "LIST",
	 .param = "pinned",
	 .parse = value_pinned,
	 .complete = COMPLETE_LIST,
	 .words = pinned_choices,
	 .help = "What the VM cannot change whatever the policy: any of mac, vlan, rate, spoofchk, trust, link, with commas between them; all; or none."},
	{.name = "--mtu",
	 .value = "BYTES",
	 .param = "mtu",
	 .parse = value_integer_or_default,
	 .complete = COMPLETE_WORDS,
	 .words = words_default,
	 .null = "default",
	 .help = "Largest packet that passes; default: the virtual PF's MTU, whatever it is."},
	{.name = "--datapath",
	 .value = "LIST",
	 .param = "datapaths",
	 .parse = value_datapaths,
	 .complete = COMPLETE_DATAPATHS,
	 .make_help = vf_datapaths_help},
	{0},
};

static const struct arg list_args[] = {
	{.name = "PF", .param = "pf", .complete = COMPLETE_PF, .help = "A virtual PF. Default: all."},
	{0},
};

static const struct arg show_args[] = {
	{PF_ARG, .help = "A virtual PF."},
	{.name = "VF|pf",
	 .param = "vf",
	 .parse = value_function,
	 .complete = COMPLETE_FUNCTION,
	 .null = "pf",
	 .help = "The number of a VF, from 0, or pf for the PF itself. Default: all."},
	{0},
};

static enum style link_style(const json_t *function)
{
	return view_flag(function, "link_up") ? STYLE_GOOD : STYLE_DIM;
}

static const char *link_text(const json_t *function)
{
	return view_flag(function, "link_up") ? "up" : "down";
}

void print_functions(struct out *out, const json_t *functions)
{
	static const struct column columns[] = {
		{"FUNCTION", ALIGN_LEFT}, {"MAC", ALIGN_LEFT},      {"ADMIN MAC", ALIGN_LEFT},
		{"VLAN", ALIGN_LEFT},     {"SPOOFCHK", ALIGN_LEFT}, {"TRUST", ALIGN_LEFT},
		{"LINK", ALIGN_LEFT},     {"STATE", ALIGN_LEFT},    {"MTU", ALIGN_RIGHT},
		{"SENDS", ALIGN_LEFT},    {"PINNED", ALIGN_LEFT},   {"GUEST", ALIGN_LEFT},
		{"DATAPATH", ALIGN_LEFT},
	};
	_cleanup_table_ struct table *t = table_new(columns, ARRAY_SIZE(columns));
	char text[VIEW_TEXT_MAX];
	json_t *f;
	size_t i;

	json_array_foreach (functions, i, f) {
		const char *admin = view_string(f, "admin_mac");
		bool connected = view_flag(f, "connected"), conflict = view_flag(f, "mac_conflict");
		_cleanup_free_ char *pinned = view_list(json_object_get(f, "pinned"));

		table_cell(t, STYLE_PLAIN, "%s", view_function(f, text));
		table_cell(t, conflict ? STYLE_BAD : STYLE_PLAIN, "%s%s", view_string(f, "mac"),
			   conflict ? " (conflict)" : "");
		table_cell(t, *admin ? STYLE_PLAIN : STYLE_DIM, "%s", *admin ? admin : "-");
		table_cell(t, STYLE_PLAIN, "%s", view_vlan(json_object_get(f, "vlan"), text));
		table_cell(t, STYLE_PLAIN, "%s", view_on_off(view_flag(f, "spoofchk")));
		table_cell(t, STYLE_PLAIN, "%s", view_on_off(view_flag(f, "trust")));
		table_cell(t, STYLE_PLAIN, "%s", view_string(f, "link"));
		table_cell(t, link_style(f), "%s", link_text(f));
		table_cell(t, STYLE_PLAIN, "%lld", view_number(f, "mtu"));
		table_cell(t, STYLE_PLAIN, "%s", view_limits(f, text));
		table_cell(t, STYLE_PLAIN, "%s", pinned && *pinned ? pinned : "-");
		table_cell(t, connected ? STYLE_GOOD : STYLE_DIM, "%s", connected ? "connected" : "-");
		table_cell(t, STYLE_PLAIN, "%s", view_string(f, "datapath"));
	}
	table_print(out, t);
}

/* Which datapath serves it: the first of its list, or a later one? */
static void print_serving(struct out *out, const json_t *f)
{
	const json_t *binding = json_object_get(f, "binding");
	const char *serving = view_string(binding, "serving"), *error = view_string(binding, "last_error");
	size_t n = json_array_size(json_object_get(binding, "list"));

	if (!json_is_object(binding)) { /* an older vpfd */
		out_field(out, "Datapath", STYLE_PLAIN, "%s", view_string(f, "datapath"));
		return;
	}
	if (*serving)
		out_field(out, "Datapath", view_number(binding, "position") ? STYLE_WARN : STYLE_GOOD,
			  "%s (%lld of %zu)", serving, view_number(binding, "position") + 1, n);
	else
		out_field(out, "Datapath",
			  strcmp(view_string(binding, "state"), "none") ? STYLE_DIM : STYLE_BAD, "none (%s)",
			  view_string(binding, "state"));
	print_datapaths(out, "Datapaths", json_object_get(f, "datapaths"));
	if (!json_array_size(json_object_get(f, "datapaths")))
		print_datapaths(out, "", json_object_get(binding, "list"));
	out_field(out, "Bound", STYLE_PLAIN, "%lld times, moved %lld, failed %lld",
		  view_number(binding, "binds"), view_number(binding, "moves"),
		  view_number(binding, "failures"));
	if (view_number(binding, "moves"))
		out_field(out, "Last move", STYLE_PLAIN, "not served for %lld us",
			  view_number(binding, "last_gap_us"));
	if (*error)
		out_field(out, "Last failure", STYLE_WARN, "%s", error);
}

void print_datapaths(struct out *out, const char *name, const json_t *list)
{
	struct datapath_list datapaths;
	_cleanup_free_ char *text = NULL;

	if (!json_is_array(list)) {
		out_field(out, name, STYLE_DIM, "those of the virtual PF");
		return;
	}
	/* Of a newer vpfd perhaps, with what this vpfctl does not know. */
	text = datapath_list_from_json(list, &datapaths, NULL) < 0 ? view_any(list)
								   : datapath_list_text(&datapaths);
	out_field(out, name, STYLE_PLAIN, "%s", text ? text : "");
}

static void print_driver(struct out *out, const json_t *driver)
{
	const json_t *unicast = json_object_get(driver, "unicast");

	if (!view_flag(driver, "known")) {
		out_field(out, "Driver", STYLE_DIM, "not known: no QMP connection, or not started");
		return;
	}
	out_field(out, "Driver's MAC", STYLE_PLAIN, "%s", view_string(driver, "mac"));
	for (size_t i = 0; i < json_array_size(unicast); i++)
		out_field(out, i ? "" : "Driver's others", STYLE_PLAIN, "%s",
			  json_string_value(json_array_get(unicast, i)));
	if (view_flag(driver, "unicast_overflow"))
		out_field(out, "", STYLE_WARN, "and more than vpfd keeps");
	out_field(out, "Promiscuous", STYLE_PLAIN, "%s", view_on_off(view_flag(driver, "promiscuous")));
	out_field(out, "All multicast", STYLE_PLAIN, "%s", view_on_off(view_flag(driver, "all_multicast")));
}

void print_function(struct out *out, const json_t *f)
{
	_cleanup_free_ char *pinned = view_list(json_object_get(f, "pinned"));
	const char *admin = view_string(f, "admin_mac");
	char text[VIEW_TEXT_MAX];

	out_field(out, "Function", STYLE_HEAD, "%s", view_function(f, text));
	out_field(out, "Permanent MAC", STYLE_PLAIN, "%s", view_string(f, "mac"));
	out_field(out, "Admin MAC", *admin ? STYLE_PLAIN : STYLE_DIM, "%s", *admin ? admin : "none");
	if (view_flag(f, "mac_conflict"))
		out_field(out, "", STYLE_BAD,
			  "another function of the fabric owns its MAC and gets its traffic");
	out_field(out, "VLAN", STYLE_PLAIN, "%s", view_vlan(json_object_get(f, "vlan"), text));
	out_field(out, "Spoof check", STYLE_PLAIN, "%s", view_on_off(view_flag(f, "spoofchk")));
	out_field(out, "Trust", STYLE_PLAIN, "%s", view_on_off(view_flag(f, "trust")));
	out_field(out, "Link", link_style(f), "%s (%s)", link_text(f), view_string(f, "link"));
	out_field(out, "MTU", STYLE_PLAIN, "%lld", view_number(f, "mtu"));
	out_field(out, "Sends", STYLE_PLAIN, "%s", view_limits(f, text));
	out_field(out, "Pinned", STYLE_PLAIN, "%s", pinned && *pinned ? pinned : "nothing");
	out_field(out, "Socket", STYLE_PLAIN, "%s", view_string(f, "socket"));
	if (view_flag(f, "connected"))
		out_field(out, "Guest", STYLE_GOOD, "connected, process %lld", view_number(f, "peer_pid"));
	else
		out_field(out, "Guest", STYLE_DIM, "not connected");
	print_serving(out, f);
	out_field(out, "Queues", STYLE_PLAIN, "%lld started, %lld enabled", view_number(f, "queues_started"),
		  view_number(f, "queues_enabled"));
	out_field(out, "Features", STYLE_PLAIN, "%s", view_string(f, "features"));
	print_driver(out, json_object_get(f, "driver"));
}

/* What became of a new list: an error if it is not its first that serves the function now. */
static int move_outcome(struct out *out, const json_t *f, struct err *err)
{
	const json_t *move = json_object_get(f, "move"), *failed = json_object_get(move, "failed"), *first;
	const char *from = view_string(move, "from"), *to = view_string(move, "to");
	char text[VIEW_TEXT_MAX];

	view_function(f, text);
	first = json_array_get(failed, 0);
	if (first)
		return err_set(err, EIO, NULL, "%s is %s%s, because %s failed: %s", text,
			       *to ? "served by " : "not served", to, view_string(first, "datapath"),
			       view_string(first, "reason"));
	if (!json_is_object(move) || (!*to && !*from))
		return 0;
	if (!*to)
		return err_set(err, EIO, NULL, "%s is not served: %s", text,
			       view_string(json_object_get(f, "binding"), "last_error"));
	if (!view_flag(move, "settled"))
		return err_set(err, ETIMEDOUT, NULL, "%s is still on its way from %s", text,
			       *from ? from : "nothing");
	if (out->json || strcmp(from, to) == 0)
		return 0;
	if (json_object_get(move, "gap_us"))
		out_text(out, STYLE_PLAIN, "%s moved from %s to %s, gap %lld us\n", text, from, to,
			 view_number(move, "gap_us"));
	else
		out_text(out, STYLE_PLAIN, "%s is served by %s\n", text, to);
	return 0;
}

static int run_set(struct ctl *ctl, const struct invocation *inv, struct err *err)
{
	json_t *result;
	int r;

	if (!json_object_get(inv->params, "datapaths"))
		return run_method(ctl, inv, err);
	json_object_set_new(inv->params, "wait", json_true());
	r = ctl_call(ctl, "vf.set", inv->params, &result, err);
	if (r < 0)
		return r;
	if (ctl->out.json)
		out_json(&ctl->out, result);
	r = move_outcome(&ctl->out, result, err);
	json_decref(result);
	return r;
}

static void add_row(struct table *t, const json_t *f)
{
	const json_t *binding = json_object_get(f, "binding");
	const char *serving = view_string(binding, "serving"), *error = view_string(binding, "last_error");
	size_t n = json_array_size(json_object_get(binding, "list"));
	bool connected = view_flag(f, "connected");
	char text[VIEW_TEXT_MAX];

	table_cell(t, STYLE_PLAIN, "%s", view_function(f, text));
	table_cell(t, connected ? STYLE_GOOD : STYLE_DIM, "%s", connected ? "connected" : "-");
	table_cell(t, link_style(f), "%s", link_text(f));
	table_cell(t, STYLE_PLAIN, "%s", view_string(binding, "state"));
	table_cell(t, *serving ? STYLE_PLAIN : STYLE_DIM, "%s", *serving ? serving : "-");
	if (*serving)
		table_cell(t, view_number(binding, "position") ? STYLE_WARN : STYLE_GOOD, "%lld of %zu",
			   view_number(binding, "position") + 1, n);
	else
		table_cell(t, STYLE_DIM, "- of %zu", n);
	table_cell(t, STYLE_PLAIN, "%lld", view_number(binding, "moves"));
	table_cell(t, view_number(binding, "failures") ? STYLE_WARN : STYLE_PLAIN, "%lld",
		   view_number(binding, "failures"));
	table_cell(t, STYLE_PLAIN, "%s", *error ? error : "-");
}

/* The functions of one virtual PF, or of all. */
static int all_functions(struct ctl *ctl, const char *pf, json_t **ret, struct err *err)
{
	json_t *names = pf ? json_pack("[{s:s}]", "name", pf) : NULL, *all = json_array(),
	       *params = json_object(), *o;
	size_t i;
	int r = 0;

	if (!pf)
		r = ctl_call(ctl, "pf.list", params, &names, err);
	json_decref(params);
	for (i = 0; !r && i < json_array_size(names); i++) {
		params = json_pack("{s:s}", "name", view_string(json_array_get(names, i), "name"));
		r = ctl_call(ctl, "pf.show", params, &o, err);
		json_decref(params);
		if (r < 0)
			break;
		json_array_extend(all, json_object_get(o, "functions"));
		json_decref(o);
	}
	json_decref(names);
	if (r < 0) {
		if (strcmp(err->field, "name") == 0)
			snprintf(err->field, sizeof(err->field), "pf");
		json_decref(all);
		return r;
	}
	*ret = all;
	return 0;
}

/* Which datapath serves which function. */
static int run_list(struct ctl *ctl, const struct invocation *inv, struct err *err)
{
	static const struct column columns[] = {
		{"FUNCTION", ALIGN_LEFT}, {"GUEST", ALIGN_LEFT},    {"LINK", ALIGN_LEFT},
		{"STATE", ALIGN_LEFT},    {"DATAPATH", ALIGN_LEFT}, {"WISH", ALIGN_LEFT},
		{"MOVES", ALIGN_RIGHT},   {"FAILED", ALIGN_RIGHT},  {"LAST FAILURE", ALIGN_LEFT},
	};
	_cleanup_table_ struct table *t = NULL;
	json_t *functions = NULL;
	int r;

	r = all_functions(ctl, json_string_value(json_object_get(inv->params, "pf")), &functions, err);
	if (r < 0)
		return r;
	if (ctl->out.json) {
		out_json(&ctl->out, functions);
	} else {
		t = table_new(columns, ARRAY_SIZE(columns));
		for (size_t i = 0; i < json_array_size(functions); i++)
			add_row(t, json_array_get(functions, i));
		table_print(&ctl->out, t);
	}
	json_decref(functions);
	return 0;
}

/* One function is vf.show; all of them are a part of pf.show. */
static int run_show(struct ctl *ctl, const struct invocation *inv, struct err *err)
{
	json_t *params, *pf, *functions;
	int r;

	if (json_object_get(inv->params, "vf"))
		return run_method(ctl, inv, err);

	params = json_pack("{sO}", "name", json_object_get(inv->params, "pf"));
	if (!params)
		return err_set(err, ENOMEM, NULL, "out of memory");
	r = ctl_call(ctl, "pf.show", params, &pf, err);
	json_decref(params);
	if (r < 0) {
		if (strcmp(err->field, "name") == 0)
			snprintf(err->field, sizeof(err->field), "pf");
		return r;
	}
	functions = json_object_get(pf, "functions");
	if (ctl->out.json)
		out_json(&ctl->out, functions);
	else
		print_functions(&ctl->out, functions);
	json_decref(pf);
	return 0;
}

const struct command vf_commands[] = {
	{
		.name = "set",
		.summary = "Change settings of a VF, or of the PF itself",
		.about = "Changes what is named and leaves the rest. It takes effect at once.",
		.examples =
			(const struct example[]){
				{"vf set pf0 3 --vlan 100",
				 "VF 3 of pf0 is in VLAN 100, and its guest need not know."},
				{"vf set pf0 3 --vlan 100:5:802.1ad",
				 "The same with priority 5 and a service tag."},
				{"vf set pf0 4 --trunk 0,10-20",
				 "VF 4 may use VLANs 10 to 20, and untagged frames."},
				{"vf set pf0 3 --mac 02:00:00:00:03:01 --spoofchk on --trust off",
				 "A MAC that the guest has to keep."},
				{"vf set pf0 3 --max-rate 1000 --pinned rate,vlan",
				 "1 Gb/s at most; the guest can change neither that nor the VLAN."},
				{"vf set pf0 pf --link disable", "Take the link of the PF itself down."},
				{"vf set pf0 3 --datapath vhost-user:path=/run/ovs/vf3.sock,builtin",
				 "Move VF 3 to another switch while its guest runs, and print the gap."},
				{"vf set pf0 3 --datapath default", "And back to what pf0 says."},
				{0},
			},
		.args = set_args,
		.changes = true,
		.method = "vf.set",
		.run = run_set,
	},
	{
		.name = "list",
		.summary = "List who serves each function",
		.about =
			"A line for each function: who serves its rings, which wish of its list that is, how often it has moved, and what failed last.",
		.examples =
			(const struct example[]){
				{"vf list", "All functions of all virtual PFs."},
				{"vf list pf0", "Those of pf0."},
				{0},
			},
		.args = list_args,
		.run = run_list,
	},
	{
		.name = "show",
		.summary = "Show a VF, or a table of all functions of a virtual PF",
		.examples =
			(const struct example[]){
				{"vf show pf0", "A line for each function of pf0."},
				{"vf show pf0 3", "All about VF 3 of pf0."},
				{"vf show pf0 pf --json", "All about the PF itself, for a script."},
				{0},
			},
		.args = show_args,
		.method = "vf.show",
		.run = run_show,
		.print = print_function,
	},
	{0},
};
