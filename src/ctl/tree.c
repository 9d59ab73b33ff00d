/* SPDX-License-Identifier: Apache-2.0 */

/* The root of the command tree, and the commands that are too small for a file of their own. */

#include "ctl/client.h"
#include "ctl/command.h"
#include "ctl/commands.h"
#include "ctl/complete.h"
#include "ctl/help.h"
#include "ctl/value.h"

const struct arg global_args[] = {
	{.name = "--help", .letter = 'h', .help = "Print this help and do nothing else."},
	{.name = "--json", .letter = 'j', .help = "Print what vpfd answers, as JSON."},
	{.name = "--color",
	 .value = "WHEN",
	 .parse = value_color,
	 .complete = COMPLETE_WORDS,
	 .words = words_color,
	 .help = "auto (a terminal, and NO_COLOR is not set), always or never."},
	{.name = "--socket",
	 .value = "PATH",
	 .complete = COMPLETE_FILE,
	 .help = "vpfd's socket; default $VPF_SOCKET, else " CLIENT_DEFAULT_SOCKET "."},
	{.name = "--version", .help = "Print vpfctl's version and do nothing else."},
	{0},
};

static const struct arg completion_args[] = {
	{.name = "SHELL",
	 .flags = ARG_REQUIRED,
	 .parse = value_shell,
	 .complete = COMPLETE_WORDS,
	 .words = words_shell,
	 .help = "bash"},
	{0},
};

static const struct arg help_args[] = {
	{.name = "COMMAND",
	 .flags = ARG_REPEAT,
	 .complete = COMPLETE_COMMAND,
	 .help = "The command's words, such as: pf add."},
	{0},
};

static const struct command commands[] = {
	{
		.name = "fabric",
		.summary = "Fabrics: the switches that functions are connected to",
		.about =
			"A fabric is the embedded switch of a NIC that does not exist. Virtual PFs are added to a fabric as if they were PFs of that NIC; its uplink leads out of it. Nothing passes from one fabric to another.",
		.sub = fabric_commands,
	},
	{
		.name = "pf",
		.summary = "Virtual PFs: what a VM sees as a NIC with SR-IOV",
		.about =
			"A virtual PF belongs to one VM and has up to 255 VFs, which the VM's own software enables and uses. Each of its functions (the PF itself and each VF) is a vhost-user socket to which QEMU connects.",
		.sub = pf_commands,
	},
	{
		.name = "vf",
		.summary = "Settings of a VF: MAC, VLAN, rates, spoof check, trust, link, MTU",
		.about =
			"What 'ip link set PF vf N …' sets on a NIC, set from the host. It takes effect at once, also while the VM uses the VF, and stays.",
		.sub = vf_commands,
	},
	{
		.name = "qemu-args",
		.summary = "QEMU arguments that give a VM a virtual PF",
		.about =
			"Prints the arguments to add to a qemu-system-x86_64 command line (machine q35, QEMU 10.1 or newer), quoted for a shell and ready to paste.",
		.examples = qemu_args_examples,
		.args = qemu_args_args,
		.method = "pf.qemu_args",
		.run = run_qemu_args,
	},
	{
		.name = "stats",
		.summary = "Counters of functions and uplinks, or their rates",
		.about =
			"Sent and received are as the VM sees them. Frames that were dropped are listed with the reason. Without arguments: every function and every uplink.",
		.examples = stats_examples,
		.args = stats_args,
		.method = "stats",
		.run = run_stats,
	},
	{
		.name = "monitor",
		.summary = "Print events as they happen",
		.about =
			"Prints a line for each event until it is stopped (Ctrl-C) or vpfd ends: connections, links, settings that change, what VMs ask for and get, MACs in conflict, broken rings. With --json: a JSON object a line.",
		.examples = monitor_examples,
		.args = monitor_args,
		.method = "events.subscribe",
		.run = run_monitor,
	},
	{
		.name = "fdb",
		.summary = "Forwarding tables: which MAC is where",
		.about = "The forwarding table of a fabric says which function gets the frames for a MAC.",
		.sub = fdb_commands,
	},
	{
		.name = "vdpa",
		.summary = "vDPA devices of the host, for the datapath of that name",
		.about =
			"A vDPA device is a part of a NIC, or a program, that serves virtio rings by itself.",
		.sub = vdpa_commands,
	},
	{
		.name = "status",
		.summary = "The state of vpfd: version, workers, numbers of things",
		.examples =
			(const struct example[]){
				{"status", "Does vpfd run, since when, with how many virtual PFs?"},
				{"status --json", "The same for a script."},
				{0},
			},
		.method = "status",
		.run = run_method,
		.print = print_status,
	},
	{
		.name = "completion",
		.summary = "Shell completion for vpfctl",
		.about =
			"Prints a script for the shell. Where vpfctl is installed, bash-completion finds it by itself.",
		.examples =
			(const struct example[]){
				{"completion bash >~/.local/share/bash-completion/completions/vpfctl",
				 "Install it for one user."},
				{0},
			},
		.args = completion_args,
		.run = run_completion,
	},
	{
		.name = "help",
		.summary = "Help on a command",
		.examples =
			(const struct example[]){
				{"help pf add",
				 "What 'pf add' does and takes; the same as 'vpfctl pf add --help'."},
				{0},
			},
		.args = help_args,
		.run = run_help,
	},
	{0},
};

const struct command command_root = {
	.name = "vpfctl",
	.summary = "Control vpfd",
	.about = "Control vpfd, which gives VMs virtual PFs: NICs with SR-IOV that they can split into VFs.",
	.examples =
		(const struct example[]){
			{"fabric add f0 --uplink tap:vpf0", "A switch; its uplink is a new tap on the host."},
			{"pf add pf0 --fabric f0 --vfs 8", "A virtual PF with 8 VFs on it."},
			{"qemu-args pf0 --memory 2G", "The arguments with which QEMU gives it to a VM."},
			{"vf set pf0 3 --vlan 100", "Put VF 3 into VLAN 100."},
			{0},
		},
	.sub = commands,
};
