/* SPDX-License-Identifier: Apache-2.0 */

/* vpfctl qemu-args */

#include <string.h>

#include "ctl/commands.h"
#include "ctl/ctl.h"
#include "ctl/value.h"
#include "ctl/view.h"

const struct arg qemu_args_args[] = {
	{.name = "PF",
	 .flags = ARG_REQUIRED,
	 .param = "name",
	 .complete = COMPLETE_PF,
	 .help = "A virtual PF."},
	{.name = "--list", .help = "One argument per line, unquoted: for scripts."},
	{.name = "--memory",
	 .value = "SIZE",
	 .param = "memory",
	 .help = "Also print guest memory of this size (512M, 4G), shared as vhost-user needs it. Give QEMU no other -m then."},
	{.name = "--bus",
	 .value = "ID",
	 .param = "bus",
	 .help = "QEMU's id of a PCIe root port to put the PF on. Default: a root port is printed too."},
	{.name = "--hotplug-ports",
	 .value = "N",
	 .param = "hotplug_ports",
	 .parse = value_integer,
	 .help = "Also print N empty root ports, for a later 'vpfctl pf attach'."},
	{.name = "--chassis",
	 .value = "N",
	 .param = "chassis",
	 .parse = value_integer,
	 .help = "Chassis number of the first root port that is printed, 1 to 255; each root port of a VM needs a different one. Default: derived from the virtual PF's name."},
	{.name = "--without-pf",
	 .param = "without_pf",
	 .help = "Print everything but the virtual PF: for a VM that is started without it and gets it by 'vpfctl pf attach' while it runs."},
	{.name = "--packed", .param = "packed", .help = "Offer packed rings to the guest."},
	{.name = "--rx-queue-size",
	 .value = "N",
	 .param = "rx_queue_size",
	 .parse = value_integer,
	 .help = "Size of the rings that the guest receives with: 256 (default), 512 or 1024."},
	{.name = "--tx-queue-size",
	 .value = "N",
	 .param = "tx_queue_size",
	 .parse = value_integer,
	 .help = "Size of the rings that the guest sends with: 256 (default), 512 or 1024."},
	{0},
};

const struct example qemu_args_examples[] = {
	{"qemu-args pf0", "For a VM whose memory is already a memfd with share=on."},
	{"qemu-args pf0 --memory 2G --hotplug-ports 1",
	 "With 2 GiB of memory, and a free port for one more PF."},
	{"qemu-args pf0 --memory 2G --without-pf", "For a VM into which pf0 is to be plugged later."},
	{"qemu-args pf0 --memory 2G --list | xargs -d '\\n' qemu-system-x86_64 -machine q35 …",
	 "Start a VM with these arguments."},
	{0},
};

/* An option and its value on each line, with a shell's line continuations. */
static void print_pasteable(struct out *out, const json_t *args)
{
	for (size_t i = 0; i < json_array_size(args); i++) {
		const char *arg = json_string_value(json_array_get(args, i));

		if (!arg)
			continue;
		if (i)
			fputs(arg[0] == '-' ? " \\\n" : " ", out->file);
		out_shell_word(out, arg);
	}
	fputc('\n', out->file);
}

static int print_lines(struct out *out, const json_t *args, struct err *err)
{
	for (size_t i = 0; i < json_array_size(args); i++) {
		const char *arg = json_string_value(json_array_get(args, i));

		if (arg && strchr(arg, '\n'))
			return err_set(
				err, EINVAL, NULL,
				"an argument contains a line break, which --list cannot print: use --json");
	}
	for (size_t i = 0; i < json_array_size(args); i++)
		fprintf(out->file, "%s\n", json_string_value(json_array_get(args, i)));
	return 0;
}

int run_qemu_args(struct ctl *ctl, const struct invocation *inv, struct err *err)
{
	json_t *result, *args;
	int r = ctl_call(ctl, "pf.qemu_args", inv->params, &result, err);

	if (r < 0)
		return r;
	args = json_object_get(result, "args");
	if (ctl->out.json)
		out_json(&ctl->out, args);
	else if (invocation_flag(inv, "--list"))
		r = print_lines(&ctl->out, args, err);
	else
		print_pasteable(&ctl->out, args);
	json_decref(result);
	return r;
}
