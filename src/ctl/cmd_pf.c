/* SPDX-License-Identifier: Apache-2.0 */

/* vpfctl pf … */

#include "ctl/commands.h"
#include "ctl/out.h"
#include "ctl/types.h"
#include "ctl/value.h"
#include "ctl/view.h"

/* Rows that several tables have. */
#define PF_NAME .name = "NAME", .flags = ARG_REQUIRED, .param = "name", .complete = COMPLETE_PF
#define MTU     .name = "--mtu", .value = "BYTES", .param = "mtu", .parse = value_integer
#define MAC     .name = "--mac", .value = "MAC", .param = "mac"
#define QMP     .name = "--qmp", .value = "PATH", .param = "qmp", .parse = value_path_or_none
#define POLICY  .name = "--policy", .value = "KEY=VALUE,…", .param = "policy", .parse = value_policy

#define VM .name = "--vm", .value = "NAME", .param = "vm", .parse = value_name_or_default

#define DATAPATH                                                                                             \
	.name = "--datapath", .value = "LIST", .param = "datapaths", .parse = value_datapaths,               \
	.complete = COMPLETE_DATAPATHS, .make_help = pf_datapaths_help
#define FAILBACK                                                                                             \
	.name = "--failback", ARG_ON_OFF("failback"),                                                        \
	.help = "When a better datapath of the list than the one in use is available again, go back to it. Default: off."

static const char policy_help[] =
	"What the VM may do with its PF. Of its VFs' settings it may change: guest_control=on|off (any at all; default on), vlans=LIST (VLANs such as 10-20,30; all; none: the default), vlan_ad=on|off (802.1ad tags, too; off), macs=own|list|any (MACs; own), mac_list=MAC[-MAC],… (for macs=list), trust=on|off (off), spoofchk_off=on|off (off), max_vfs=N (no more VFs than that have a link; 255). Whatever it changes: max_rate=MBPS (of each VF; none), max_rate_total=MBPS (of all functions; none). Its drivers: driver_mac=on|off (a MAC of their own; on), max_driver_macs=N (further MACs a function; 32), promisc=on|off (a trusted VF may be promiscuous; off).";

static const struct arg add_args[] = {
	{.name = "NAME", .flags = ARG_REQUIRED, .param = "name", .help = "What to call it."},
	{.name = "--fabric",
	 .flags = ARG_REQUIRED,
	 .value = "FABRIC",
	 .param = "fabric",
	 .complete = COMPLETE_FABRIC,
	 .help = "The fabric that its functions are connected to."},
	{.name = "--vfs",
	 .flags = ARG_REQUIRED,
	 .value = "N",
	 .param = "vfs",
	 .parse = value_integer,
	 .help = "How many VFs the VM can enable, 0 to 255."},
	{.name = "--queue-pairs",
	 .value = "N",
	 .param = "queue_pairs",
	 .parse = value_integer,
	 .help = "Queue pairs of each function, 1 to 16. Default: 1."},
	{MAC,
	 .help = "Permanent MAC of the PF; VF n gets the one n + 1 above it. Default: generated, and kept."},
	{MTU, .help = "Largest packet of its functions, also told to the VM. Default: 1500."},
	{VM,
	 .help = "The VM that it is for, as you call it: virtual PFs of one VM share the key with which its driver and vpfd know each other. Default: the virtual PF's name."},
	{QMP, .complete = COMPLETE_FILE,
	 .help = "A QMP socket of the VM, for vpfd alone: for link states, the drivers' MAC filters, and attach and detach."},
	{DATAPATH},
	{FAILBACK},
	{.name = "--spoofchk",
	 ARG_ON_OFF("spoofchk"),
	 .help = "Whether its functions begin with the spoof check, which not every datapath has. Default: on."},
	{POLICY, .complete = COMPLETE_POLICY, .help = policy_help},
	{0},
};

static const struct arg set_args[] = {
	{PF_NAME, .help = "A virtual PF."},
	{MTU, .help = "Largest packet of its functions, also told to the VM when it starts next."},
	{VM,
	 .help = "The VM that it is for, as you call it; default: one of its own. Only while no VM is connected."},
	{QMP, .complete = COMPLETE_FILE, .help = "A QMP socket of the VM, for vpfd alone; none: no longer."},
	{MAC,
	 .help = "Permanent MAC of the PF; VF n gets the one n + 1 above it. Only while no VM is connected."},
	{DATAPATH},
	{FAILBACK},
	{POLICY, .complete = COMPLETE_POLICY, .help = policy_help},
	{0},
};

static const struct arg name_args[] = {
	{PF_NAME, .help = "A virtual PF."},
	{0},
};

static const struct arg attach_args[] = {
	{PF_NAME, .help = "A virtual PF."},
	{.name = "--bus",
	 .value = "ID",
	 .param = "bus",
	 .help = "QEMU's id of the empty PCIe root port to plug it into. Default: the first one there is."},
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

static void print_list(struct out *out, const json_t *pfs)
{
	static const struct column columns[] = {
		{"PF", ALIGN_LEFT},           {"FABRIC", ALIGN_LEFT}, {"VFS", ALIGN_RIGHT},
		{"QUEUE PAIRS", ALIGN_RIGHT}, {"MTU", ALIGN_RIGHT},   {"QMP", ALIGN_LEFT},
		{"CONNECTED", ALIGN_RIGHT},
	};
	_cleanup_table_ struct table *t = table_new(columns, ARRAY_SIZE(columns));
	json_t *pf;
	size_t i;

	json_array_foreach (pfs, i, pf) {
		const json_t *qmp = json_object_get(pf, "qmp");
		json_int_t functions = view_number(pf, "vfs") + 1, connected = view_number(pf, "connected");

		table_cell(t, STYLE_PLAIN, "%s", view_string(pf, "name"));
		table_cell(t, STYLE_PLAIN, "%s", view_string(pf, "fabric"));
		table_cell(t, STYLE_PLAIN, "%lld", view_number(pf, "vfs"));
		table_cell(t, STYLE_PLAIN, "%lld", view_number(pf, "queue_pairs"));
		table_cell(t, STYLE_PLAIN, "%lld", view_number(pf, "mtu"));
		if (!*view_string(qmp, "path"))
			table_cell(t, STYLE_DIM, "-");
		else if (view_flag(qmp, "connected"))
			table_cell(t, STYLE_GOOD, "connected");
		else
			table_cell(t, STYLE_WARN, "away");
		table_cell(t, connected ? STYLE_GOOD : STYLE_DIM, "%lld of %lld", connected, functions);
	}
	table_print(out, t);
}

static void print_control(struct out *out, const json_t *control)
{
	_cleanup_free_ char *counters = view_drops(json_object_get(control, "counters"));

	if (!control) /* an older vpfd */
		return;
	if (view_flag(control, "session"))
		out_field(out, "Control", STYLE_GOOD, "by the VM's driver: vpf.ko %s, kernel %s",
			  view_string(control, "driver"), view_string(control, "kernel"));
	else
		out_field(out, "Control", STYLE_DIM, "no driver of the VM has asked for it");
	if (counters && *counters)
		out_field(out, "", STYLE_PLAIN, "%s", counters);
}

static void print_pf(struct out *out, const json_t *pf)
{
	const json_t *qmp = json_object_get(pf, "qmp"), *policy = json_object_get(pf, "policy");
	const json_t *requests = json_object_get(pf, "guest_requests");
	const char *key, *path = view_string(qmp, "path");
	bool first = true;
	json_t *value;

	out_field(out, "Virtual PF", STYLE_HEAD, "%s", view_string(pf, "name"));
	out_field(out, "Fabric", STYLE_PLAIN, "%s", view_string(pf, "fabric"));
	out_field(out, "VFs", STYLE_PLAIN, "%lld", view_number(pf, "vfs"));
	out_field(out, "Queue pairs", STYLE_PLAIN, "%lld", view_number(pf, "queue_pairs"));
	out_field(out, "MAC", STYLE_PLAIN, "%s", view_string(pf, "mac"));
	out_field(out, "MTU", STYLE_PLAIN, "%lld", view_number(pf, "mtu"));
	if (*view_string(pf, "vm"))
		out_field(out, "VM", STYLE_PLAIN, "%s (key in %s)", view_string(pf, "vm"),
			  view_string(pf, "key_file"));
	if (!*path)
		out_field(out, "QMP", STYLE_DIM, "none");
	else
		out_field(out, "QMP", view_flag(qmp, "connected") ? STYLE_GOOD : STYLE_WARN, "%s (%s)", path,
			  !view_flag(qmp, "connected") ? "away"
			  : view_flag(qmp, "present")  ? "connected, the VM has the PF"
						       : "connected, the VM does not have the PF");
	print_datapaths(out, "Datapaths", json_object_get(pf, "datapaths"));
	out_field(out, "Failback", STYLE_PLAIN, "%s", view_on_off(view_flag(pf, "failback")));
	print_control(out, json_object_get(pf, "control"));
	if (json_is_object(requests))
		out_field(out, "Guest's requests", STYLE_PLAIN, "%lld granted, %lld refused",
			  view_number(requests, "granted"), view_number(requests, "refused"));
	json_object_foreach ((json_t *)policy, key, value) {
		_cleanup_free_ char *text = view_policy(key, value);

		out_field(out, first ? "Policy" : "", STYLE_PLAIN, "%s %s", key, text ? text : "");
		first = false;
	}
	out_text(out, STYLE_PLAIN, "\n");
	print_functions(out, json_object_get(pf, "functions"));
}

const struct command pf_commands[] = {
	{
		.name = "add",
		.summary = "Make a virtual PF",
		.about =
			"Makes a virtual PF with its VFs, their MACs and their vhost-user sockets. Give it to a VM with 'vpfctl qemu-args' when the VM starts, or with 'vpfctl pf attach' while it runs.",
		.examples =
			(const struct example[]){
				{"pf add pf0 --fabric f0 --vfs 8", "A virtual PF with 8 VFs."},
				{"pf add pf1 --fabric f0 --vfs 64 --queue-pairs 4 --mtu 9000",
				 "One for a VM with 4 or more vCPUs and jumbo frames."},
				{"pf add pf2 --fabric f0 --vfs 8 --qmp /run/vm2/qmp.sock --policy driver_mac=off",
				 "One whose VM can be asked over QMP, and whose drivers keep to the MACs they are given."},
				{"pf add pf3 --fabric f0 --vfs 8 --spoofchk off --datapath vhost-user:path=/run/ovs/{pf}-{vf}.sock,builtin --failback on",
				 "One whose VFs another switch serves while it runs, and vpfd while not."},
				{0},
			},
		.args = add_args,
		.method = "pf.add",
		.run = run_method,
	},
	{
		.name = "set",
		.summary = "Change a virtual PF",
		.about = "Changes what is named and leaves the rest.",
		.examples =
			(const struct example[]){
				{"pf set pf0 --qmp /run/vm0/qmp.sock",
				 "Tell vpfd where the VM's QMP socket is."},
				{"pf set pf0 --policy vlans=10-20,30,macs=any,max_rate=1000",
				 "Let the VM put its VFs into these VLANs and give them any MAC; each sends 1 Gb/s at most."},
				{"pf set pf0 --policy vlans=none,macs=own,max_rate=none",
				 "Back to the defaults. What its VFs have got by then they keep."},
				{0},
			},
		.args = set_args,
		.changes = true,
		.method = "pf.set",
		.run = run_method,
	},
	{
		.name = "del",
		.summary = "Delete a virtual PF that no VM uses",
		.examples =
			(const struct example[]){{"pf del pf0", "Delete it with its sockets and settings."},
						 {0}},
		.args = name_args,
		.method = "pf.del",
		.run = run_method,
	},
	{
		.name = "list",
		.summary = "List the virtual PFs",
		.examples = (const struct example[]){{"pf list", "A line for each virtual PF."}, {0}},
		.method = "pf.list",
		.run = run_method,
		.print = print_list,
	},
	{
		.name = "show",
		.summary = "Show a virtual PF and all its functions",
		.examples = (const struct example[]){{"pf show pf0", "All about pf0 and its VFs."}, {0}},
		.args = name_args,
		.method = "pf.show",
		.run = run_method,
		.print = print_pf,
	},
	{
		.name = "attach",
		.summary = "Plug a virtual PF into a running VM",
		.about =
			"Plugs the virtual PF with all its VFs into the VM whose QMP socket was named with --qmp. The VM must have been started with an empty PCIe root port ('vpfctl qemu-args --hotplug-ports N' prints such).",
		.examples =
			(const struct example[]){
				{"pf attach pf1", "Plug pf1 into its VM's first empty root port."},
				{"pf attach pf1 --bus rp2", "Plug it into the root port with id rp2."},
				{0},
			},
		.args = attach_args,
		.method = "pf.attach",
		.run = run_method,
	},
	{
		.name = "detach",
		.summary = "Unplug a virtual PF from a running VM",
		.about =
			"Asks the VM to let go of the virtual PF, and waits until it has. The virtual PF itself, its settings and counters stay.",
		.examples = (const struct example[]){{"pf detach pf1", "Unplug pf1 from its VM."}, {0}},
		.args = name_args,
		.method = "pf.detach",
		.run = run_method,
	},
	{0},
};
