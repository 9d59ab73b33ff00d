/* SPDX-License-Identifier: Apache-2.0 */

/* vpfctl fabric …, vpfctl fdb … */

#include <string.h>

#include "ctl/commands.h"
#include "ctl/out.h"
#include "ctl/types.h"
#include "ctl/value.h"
#include "ctl/view.h"

/* Rows that several tables have. */
#define FABRIC_NAME .name = "NAME", .flags = ARG_REQUIRED, .param = "name", .complete = COMPLETE_FABRIC
#define UPLINK      .name = "--uplink", .value = "UPLINK", .param = "uplink", .parse = value_uplink
#define LEARNING    .name = "--learning", ARG_ON_OFF("learning")
#define AGEING      .name = "--ageing", .value = "SECONDS", .param = "ageing", .parse = value_integer
#define MAX_LEARNED .name = "--max-learned", .value = "N", .param = "max_learned", .parse = value_integer
#define UPLINK_HELP                                                                                          \
	"The way out of the fabric: tap:NAME makes a tap of that name on the host, netdev:NAME uses a netdev that exists, none (the default) has no way out."
#define LEARNING_HELP                                                                                        \
	"Learn the source MACs that functions send from, as a bridge in the VM needs it. Default: off."
#define AGEING_HELP      "How long a learned MAC is kept after it was last seen. Default: 300."
#define MAX_LEARNED_HELP "How many MACs to learn from one function at most. Default: 256."

#define FABRIC_ARGS 32

static const struct arg common_args[] = {
	{UPLINK, .complete = COMPLETE_UPLINK, .help = UPLINK_HELP},
	{LEARNING, .help = LEARNING_HELP},
	{AGEING, .help = AGEING_HELP},
	{MAX_LEARNED, .help = MAX_LEARNED_HELP},
	{0},
};

/* `first`, what the types of fabrics say, and what all have. */
static const struct arg *make_args(struct arg to[FABRIC_ARGS], const struct arg *first, unsigned int first_n,
				   unsigned int without)
{
	unsigned int n = first_n;

	if (to[0].name)
		return to;
	n += fabric_param_args(without, to + n, FABRIC_ARGS - n - (unsigned int)ARRAY_SIZE(common_args));
	memcpy(to + n, common_args, sizeof(common_args));
	memcpy(to, first, first_n * sizeof(*first));
	return to;
}

static const struct arg *add_args(void)
{
	static const struct arg first[] = {
		{.name = "NAME", .flags = ARG_REQUIRED, .param = "name", .help = "What to call it."},
		{.name = "--type",
		 .value = "TYPE",
		 .param = "type",
		 .complete = COMPLETE_FABRIC_TYPE,
		 .make_help = fabric_type_help},
	};
	static struct arg args[FABRIC_ARGS];

	return make_args(args, first, ARRAY_SIZE(first), 0);
}

static const struct arg *set_args(void)
{
	static const struct arg first[] = {{FABRIC_NAME, .help = "A fabric."}};
	static struct arg args[FABRIC_ARGS];

	return make_args(args, first, ARRAY_SIZE(first), PARAM_FIXED);
}

static const struct arg name_args[] = {
	{FABRIC_NAME, .help = "A fabric."},
	{0},
};

static void print_list(struct out *out, const json_t *fabrics)
{
	static const struct column columns[] = {
		{"FABRIC", ALIGN_LEFT},  {"TYPE", ALIGN_LEFT},     {"UPLINK", ALIGN_LEFT},
		{"CARRIER", ALIGN_LEFT}, {"LEARNING", ALIGN_LEFT}, {"PFS", ALIGN_RIGHT},
		{"PORTS", ALIGN_RIGHT},  {"MACS", ALIGN_RIGHT},
	};
	_cleanup_table_ struct table *t = table_new(columns, ARRAY_SIZE(columns));
	char text[VIEW_TEXT_MAX];
	json_t *fabric;
	size_t i;

	json_array_foreach (fabrics, i, fabric) {
		const json_t *uplink = json_object_get(fabric, "uplink");
		bool carrier = view_flag(uplink, "carrier");

		table_cell(t, STYLE_PLAIN, "%s", view_string(fabric, "name"));
		table_cell(t, STYLE_PLAIN, "%s", view_fabric_type(fabric, text, sizeof(text)));
		table_cell(t, STYLE_PLAIN, "%s", view_uplink(uplink, text));
		if (*view_string(uplink, "absent"))
			table_cell(t, STYLE_BAD, "absent");
		else
			table_cell(t, carrier ? STYLE_GOOD : STYLE_DIM, "%s", carrier ? "up" : "down");
		table_cell(t, STYLE_PLAIN, "%s", view_on_off(view_flag(fabric, "learning")));
		table_cell(t, STYLE_PLAIN, "%zu", json_array_size(json_object_get(fabric, "pfs")));
		table_cell(t, STYLE_PLAIN, "%lld", view_number(fabric, "ports"));
		table_cell(t, STYLE_PLAIN, "%lld", view_number(fabric, "fdb_entries"));
	}
	table_print(out, t);
}

static void print_fabric(struct out *out, const json_t *fabric)
{
	const json_t *uplink = json_object_get(fabric, "uplink"), *pfs = json_object_get(fabric, "pfs");
	bool carrier = view_flag(uplink, "carrier");
	char text[VIEW_TEXT_MAX];

	out_field(out, "Fabric", STYLE_HEAD, "%s", view_string(fabric, "name"));
	out_field(out, "Type", STYLE_PLAIN, "%s", view_fabric_type(fabric, text, sizeof(text)));
	out_field(out, "Uplink", STYLE_PLAIN, "%s", view_uplink(uplink, text));
	out_field(out, "Uplink carrier", carrier ? STYLE_GOOD : STYLE_DIM, "%s", carrier ? "up" : "down");
	if (*view_string(uplink, "absent"))
		out_field(out, "", STYLE_BAD, "absent: %s", view_string(uplink, "absent"));
	out_field(out, "Learning", STYLE_PLAIN, "%s", view_on_off(view_flag(fabric, "learning")));
	out_field(out, "Ageing", STYLE_PLAIN, "%lld s", view_number(fabric, "ageing"));
	out_field(out, "Learned at most", STYLE_PLAIN, "%lld MACs a function",
		  view_number(fabric, "max_learned"));
	out_field(out, "MACs known", STYLE_PLAIN, "%lld, of these learned %lld",
		  view_number(fabric, "fdb_entries"), view_number(fabric, "fdb_learned"));
	out_field(out, "Functions", STYLE_PLAIN, "%lld", view_number(fabric, "ports"));
	if (!json_array_size(pfs))
		out_field(out, "Virtual PFs", STYLE_DIM, "none");
	for (size_t i = 0; i < json_array_size(pfs); i++)
		out_field(out, i ? "" : "Virtual PFs", STYLE_PLAIN, "%s",
			  json_string_value(json_array_get(pfs, i)));
	if (json_is_object(json_object_get(fabric, "uplink_stats"))) {
		out_text(out, STYLE_HEAD, "\nTraffic of the uplink\n");
		print_counters(out, json_object_get(fabric, "uplink_stats"));
	}
}

const struct command fabric_commands[] = {
	{
		.name = "add",
		.summary = "Make a fabric",
		.examples =
			(const struct example[]){
				{"fabric add f0", "A fabric without uplink: its VMs reach only each other."},
				{"fabric add f1 --uplink tap:vpf1",
				 "One whose uplink is a tap that the host can route or bridge."},
				{"fabric add f2 --uplink netdev:eth1 --learning on",
				 "One that is connected to the host's eth1, for VMs that bridge."},
				{"fabric add f3 --type bridge --bridge br0",
				 "The kernel's bridge br0, which the kernel's vhost-net can serve."},
				{0},
			},
		.make_args = add_args,
		.method = "fabric.add",
		.run = run_method,
	},
	{
		.name = "set",
		.summary = "Change a fabric",
		.about = "Changes what is named and leaves the rest, while VMs use the fabric.",
		.examples =
			(const struct example[]){
				{"fabric set f0 --uplink netdev:eth2", "Move the uplink to another netdev."},
				{"fabric set f0 --learning on --ageing 60 --max-learned 64",
				 "Learn MACs, but few."},
				{0},
			},
		.make_args = set_args,
		.changes = true,
		.method = "fabric.set",
		.run = run_method,
	},
	{
		.name = "del",
		.summary = "Delete a fabric that no virtual PF is on",
		.examples = (const struct example[]){{"fabric del f0", "Delete it and the tap it has made."},
						     {0}},
		.args = name_args,
		.method = "fabric.del",
		.run = run_method,
	},
	{
		.name = "list",
		.summary = "List the fabrics",
		.examples = (const struct example[]){{"fabric list", "A line for each fabric."}, {0}},
		.method = "fabric.list",
		.run = run_method,
		.print = print_list,
	},
	{
		.name = "show",
		.summary = "Show a fabric: its settings, virtual PFs and uplink traffic",
		.examples = (const struct example[]){{"fabric show f0", "All about fabric f0."}, {0}},
		.args = name_args,
		.method = "fabric.show",
		.run = run_method,
		.print = print_fabric,
	},
	{0},
};

static void print_fdb(struct out *out, const json_t *rows)
{
	static const struct column columns[] = {
		{"MAC", ALIGN_LEFT},      {"VLAN", ALIGN_RIGHT}, {"KIND", ALIGN_LEFT},
		{"FUNCTION", ALIGN_LEFT}, {"AGE", ALIGN_RIGHT},
	};
	_cleanup_table_ struct table *t = table_new(columns, ARRAY_SIZE(columns));
	char text[VIEW_TEXT_MAX];
	json_t *row;
	size_t i;

	json_array_foreach (rows, i, row) {
		const json_t *vlan = json_object_get(row, "vlan"), *age = json_object_get(row, "age");

		table_cell(t, STYLE_PLAIN, "%s", view_string(row, "mac"));
		if (json_is_integer(vlan) && json_integer_value(vlan))
			table_cell(t, STYLE_PLAIN, "%lld", json_integer_value(vlan));
		else
			table_cell(t, STYLE_PLAIN, "%s",
				   json_is_string(vlan) ? json_string_value(vlan) : "-");
		table_cell(t, STYLE_PLAIN, "%s", view_string(row, "kind"));
		table_cell(t, STYLE_PLAIN, "%s", view_function(row, text));
		if (json_is_integer(age))
			table_cell(t, STYLE_PLAIN, "%lld s", json_integer_value(age));
		else
			table_cell(t, STYLE_DIM, "-");
	}
	table_print(out, t);
}

static const struct arg fdb_args[] = {
	{.name = "FABRIC",
	 .flags = ARG_REQUIRED,
	 .param = "fabric",
	 .complete = COMPLETE_FABRIC,
	 .help = "The fabric whose table is wanted."},
	{0},
};

const struct command fdb_commands[] = {
	{
		.name = "show",
		.summary = "Show the forwarding table of a fabric",
		.about =
			"Each line is a MAC, the VLAN in which it counts (-: untagged), and the function that owns it. KIND says why: permanent (the function's own MAC), admin (set with 'vpfctl vf set --mac'), driver (the VM's driver has asked for it) or learned (frames came from it AGE ago).",
		.examples = (const struct example[]){{"fdb show f0", "Who owns which MAC in f0?"}, {0}},
		.args = fdb_args,
		.method = "fdb.show",
		.run = run_method,
		.print = print_fdb,
	},
	{0},
};
