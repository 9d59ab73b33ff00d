/* SPDX-License-Identifier: Apache-2.0 */

/* vpfctl status */

#include "ctl/commands.h"
#include "ctl/out.h"
#include "ctl/view.h"

static void print_workers(struct out *out, const json_t *workers)
{
	static const struct column columns[] = {
		{"WORKER", ALIGN_RIGHT}, {"QUEUES", ALIGN_RIGHT}, {"PACKETS", ALIGN_RIGHT},
		{"POLLS", ALIGN_RIGHT},  {"SLEEPS", ALIGN_RIGHT}, {"CPU s", ALIGN_RIGHT},
	};
	_cleanup_table_ struct table *t = table_new(columns, ARRAY_SIZE(columns));
	json_t *w;
	size_t i;

	json_array_foreach (workers, i, w) {
		table_cell(t, STYLE_PLAIN, "%zu", i);
		table_cell(t, STYLE_PLAIN, "%lld", view_number(w, "queues"));
		table_cell(t, STYLE_PLAIN, "%lld", view_number(w, "packets"));
		table_cell(t, STYLE_PLAIN, "%lld", view_number(w, "polls"));
		table_cell(t, STYLE_PLAIN, "%lld", view_number(w, "sleeps"));
		table_cell(t, STYLE_PLAIN, "%.2f", (double)view_number(w, "cpu_ns") / 1e9);
	}
	table_print(out, t);
}

void print_status(struct out *out, const json_t *status)
{
	char text[VIEW_TEXT_MAX];

	out_field(out, "vpfd", STYLE_GOOD, "%s, process %lld, up %s", view_string(status, "version"),
		  view_number(status, "pid"), view_duration(view_number(status, "uptime_s"), text));
	out_field(out, "Run directory", STYLE_PLAIN, "%s", view_string(status, "run_dir"));
	out_field(out, "State file", STYLE_PLAIN, "%s", view_string(status, "state_file"));
	out_field(out, "Fabrics", STYLE_PLAIN, "%lld", view_number(status, "fabrics"));
	out_field(out, "Virtual PFs", STYLE_PLAIN, "%lld", view_number(status, "pfs"));
	out_field(out, "Functions", STYLE_PLAIN, "%lld, %lld connected", view_number(status, "functions"),
		  view_number(status, "connected"));
	out_text(out, STYLE_PLAIN, "\n");
	print_workers(out, json_object_get(status, "workers"));
}
