/* SPDX-License-Identifier: Apache-2.0 */

/* The root of the command tree, and the commands that are too small for a file of their own. */

#include "ctl/client.h"
#include "ctl/command.h"
#include "ctl/commands.h"
#include "ctl/complete.h"
#include "ctl/help.h"
#include "ctl/value.h"

const struct arg global_args[] = {
	{.name = "--help", .letter = 'h', .help = "Print this help and exit."},
	{.name = "--json", .letter = 'j', .help = "Print vpfd's answer as JSON."},
	{.name = "--color",
	 .value = "WHEN",
	 .parse = value_color,
	 .complete = COMPLETE_WORDS,
	 .words = words_color,
	 .help = "auto (on a terminal, unless NO_COLOR is set), always or never."},
	{.name = "--socket",
	 .value = "PATH",
	 .complete = COMPLETE_FILE,
	 .help = "vpfd's socket; default $VPF_SOCKET, else " CLIENT_DEFAULT_SOCKET "."},
	{.name = "--version", .help = "Print vpfctl's version and exit."},
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
		.summary = "Fabrics: the switches that connect functions",
		.about =
			"A fabric is the embedded switch of an imaginary NIC. Virtual PFs are added to a fabric as if they were PFs of that NIC; its uplink is the port to the outside. No frame passes from one fabric to another.",
		.sub = fabric_commands,
	},
	{
		.name = "pf",
		.summary = "Virtual PFs: what a VM sees as a NIC with SR-IOV",
		.about =
			"A virtual PF belongs to one VM and has up to 255 VFs, which the software in the VM enables and uses. Each of its functions (the PF itself and each VF) is a vhost-user socket that QEMU connects to.",
		.sub = pf_commands,
	},
	{
		.name = "vf",
		.summary = "Settings of a VF: MAC, VLAN, rates, spoof check, trust, link, MTU",
		.about =
			"What 'ip link set PF vf N …' sets on a NIC, set from the host. It takes effect at once, even while the VM uses the VF, and persists.",
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
			"Sent and received are as seen by the VM. Dropped frames are listed by reason. Without arguments: every function and every uplink.",
		.examples = stats_examples,
		.args = stats_args,
		.method = "stats",
		.run = run_stats,
	},
	{
		.name = "monitor",
		.summary = "Print events as they happen",
		.about =
			"Prints one line per event until stopped (Ctrl-C) or until vpfd exits: connections, links, changed settings, what VMs ask for and get, conflicting MACs, broken rings. With --json: one JSON object per line.",
		.examples = monitor_examples,
		.args = monitor_args,
		.method = "events.subscribe",
		.run = run_monitor,
	},
	{
		.name = "fdb",
		.summary = "Forwarding tables: which MAC is where",
		.about =
			"The forwarding table of a fabric says which function receives the frames for a MAC.",
		.sub = fdb_commands,
	},
	{
		.name = "vdpa",
		.summary = "vDPA devices of the host, for the datapath vdpa",
		.about = "A vDPA device is a part of a NIC, or a program, that serves virtio rings directly.",
		.sub = vdpa_commands,
	},
	{
		.name = "status",
		.summary = "The state of vpfd: version, workers, number of objects",
		.examples =
			(const struct example[]){
				{"status", "Is vpfd running, since when, with how many virtual PFs?"},
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
			"Prints a completion script for the shell. An installed vpfctl needs none: bash-completion finds its script.",
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
	.about = "Control vpfd, which gives VMs virtual PFs: SR-IOV NICs that they can split into VFs.",
	.examples =
		(const struct example[]){
			{"fabric add f0 --uplink tap:vpf0",
			 "A switch whose uplink is a new tap on the host."},
			{"pf add pf0 --fabric f0 --vfs 8", "A virtual PF with 8 VFs on it."},
			{"qemu-args pf0 --memory 2G", "The QEMU arguments that give it to a VM."},
			{"vf set pf0 3 --vlan 100", "Put VF 3 into VLAN 100."},
			{0},
		},
	.sub = commands,
};
