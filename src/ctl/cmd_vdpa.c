/* SPDX-License-Identifier: Apache-2.0 */

/* vpfctl vdpa … */

#include "ctl/commands.h"
#include "ctl/out.h"
#include "ctl/view.h"

static void print_mgmtdevs(struct out *out, const json_t *list)
{
	static const struct column columns[] = {
		{"MANAGEMENT DEVICE", ALIGN_LEFT}, {"NET", ALIGN_LEFT}, {"QUEUES", ALIGN_RIGHT}};
	_cleanup_table_ struct table *t = table_new(columns, ARRAY_SIZE(columns));
	json_t *m;
	size_t i;

	json_array_foreach (list, i, m) {
		table_cell(t, STYLE_PLAIN, "%s", view_string(m, "name"));
		table_cell(t, STYLE_PLAIN, "%s", view_flag(m, "net") ? "yes" : "no");
		if (view_number(m, "max_queues"))
			table_cell(t, STYLE_PLAIN, "%lld", view_number(m, "max_queues"));
		else
			table_cell(t, STYLE_DIM, "-");
	}
	table_print(out, t);
}

static void print_devices(struct out *out, const json_t *list)
{
	static const struct column columns[] = {
		{"DEVICE", ALIGN_LEFT}, {"ON", ALIGN_LEFT},      {"NET", ALIGN_LEFT},
		{"DRIVER", ALIGN_LEFT}, {"QUEUES", ALIGN_RIGHT}, {"FUNCTION", ALIGN_LEFT},
	};
	_cleanup_table_ struct table *t = table_new(columns, ARRAY_SIZE(columns));
	char text[VIEW_TEXT_MAX];
	json_t *d;
	size_t i;

	json_array_foreach (list, i, d) {
		const json_t *function = json_object_get(d, "function");
		bool driver = json_is_string(json_object_get(d, "driver"));

		table_cell(t, STYLE_PLAIN, "%s", view_string(d, "name"));
		table_cell(t, STYLE_PLAIN, "%s", view_string(d, "mgmtdev"));
		table_cell(t, STYLE_PLAIN, "%s", view_flag(d, "net") ? "yes" : "no");
		table_cell(t, driver ? STYLE_PLAIN : STYLE_DIM, "%s",
			   driver ? view_string(d, "driver") : "none");
		table_cell(t, STYLE_PLAIN, "%lld", view_number(d, "max_queues"));
		table_cell(t, json_is_object(function) ? STYLE_PLAIN : STYLE_DIM, "%s",
			   json_is_object(function) ? view_function(function, text) : "-");
	}
	table_print(out, t);
}

static void print_list(struct out *out, const json_t *all)
{
	const json_t *mgmtdevs = json_object_get(all, "mgmtdevs"), *devices = json_object_get(all, "devices");

	print_mgmtdevs(out, mgmtdevs);
	if (json_array_size(devices))
		out_text(out, STYLE_PLAIN, "\n");
	print_devices(out, devices);
}

const struct command vdpa_commands[] = {
	{
		.name = "list",
		.summary = "List the host's vDPA devices",
		.about =
			"Management devices, on which devices can be created; then the existing devices, and which function of which virtual PF uses each. A device that another program uses cannot be told from a free one: its driver is shown all the same.",
		.examples = (const struct example[]){{"vdpa list", "What can --datapath vdpa:… use?"}, {0}},
		.method = "vdpa.list",
		.run = run_method,
		.print = print_list,
	},
	{0},
};
