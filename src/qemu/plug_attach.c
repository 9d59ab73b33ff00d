/* SPDX-License-Identifier: Apache-2.0 */

/* Plugging in: choose the port, make the back-ends, wait until they are connected, then the devices. */

#include <stdio.h>
#include <string.h>

#include "qemu/plug_priv.h"

#define CONNECT_POLL_MS  20
#define CONNECT_TRIES    250 /* 5 s: QEMU is on this machine, and the sockets are ours */
#define PCI_DEPTH_MAX    16
#define PCI_CLASS_BRIDGE 0x0604

/* --- the port ----------------------------------------------------------------------------------- */

static int send_qom_get(struct plug *p, const char *device, const char *property)
{
	char path[PORT_ID_MAX + 32];

	snprintf(path, sizeof(path), "/machine/peripheral/%s", device);
	return plug_send(p, "qom-get", json_pack("{s:s, s:s}", "path", path, "property", property));
}

static int find_vf_bus(struct plug *p)
{
	char id[QEMU_ID_MAX];

	if (p->index == 0 && p->device[VPF_FUNCTION_PF])
		return err_set(&p->err, EEXIST, "", "PF %s is already in the VM", p->pf.name);
	if (p->index++ > 0)
		return STEP_DONE;
	for (unsigned int fn = 1; fn < p->functions; fn++) {
		if (p->device[fn])
			return send_qom_get(p, qemu_id(id, QEMU_DEVICE, p->pf.name, fn), "parent_bus");
	}
	return STEP_DONE;
}

/* The bus with the VFs of an earlier attach: the PF can only join them. It has the name of its port. */
static int vf_bus_found(struct plug *p, int code, const json_t *ret, const struct err *err)
{
	const char *path = json_string_value(ret), *name = path ? strrchr(path, '/') : NULL;

	if (code < 0)
		return plug_refused(p, code, err, "find the port of the VFs that are still in the VM");
	if (!name || strlen(name + 1) >= sizeof(p->bus))
		return plug_garbled(p, "qom-get");
	if (p->bus[0] && strcmp(p->bus, name + 1) != 0)
		return err_set(&p->err, EBUSY, "bus",
			       "VFs of an earlier attach are still on port %s: use that port", name + 1);
	plug_set_bus(p, name + 1);
	p->bus_known = true;
	return 0;
}

static int list_ports(struct plug *p)
{
	if (p->bus_known || p->index++ > 0)
		return STEP_DONE;
	return plug_query(p, "query-pci");
}

/* Collects bridges that have a name and nothing on their bus. True: the requested one is occupied. */
static bool collect_ports(struct plug *p, const json_t *devices, unsigned int depth)
{
	const json_t *device;
	bool taken = false;
	size_t i;

	if (depth > PCI_DEPTH_MAX)
		return false;
	json_array_foreach (devices, i, device) {
		const char *id = json_string_value(json_object_get(device, "qdev_id"));
		const json_t *class = json_object_get(json_object_get(device, "class_info"), "class");
		const json_t *behind = json_object_get(json_object_get(device, "pci_bridge"), "devices");

		if (json_integer_value(class) != PCI_CLASS_BRIDGE)
			continue;
		if (json_array_size(behind) > 0) {
			taken |= id && !strcmp(id, p->bus);
			taken |= collect_ports(p, behind, depth + 1);
		} else if (id && id[0] && strlen(id) < PORT_ID_MAX && p->ports < PORTS_MAX &&
			   (!p->bus[0] || !strcmp(id, p->bus))) {
			snprintf(p->port[p->ports++], PORT_ID_MAX, "%s", id);
		}
	}
	return taken;
}

static int ports_listed(struct plug *p, int code, const json_t *ret, const struct err *err)
{
	const json_t *bus;
	bool taken = false;
	size_t i;

	if (code < 0)
		return plug_refused(p, code, err, "list the VM's PCI ports");
	json_array_foreach (ret, i, bus)
		taken |= collect_ports(p, json_object_get(bus, "devices"), 0);
	if (taken)
		return err_set(&p->err, EBUSY, "bus", "port %s is occupied", p->bus);
	if (p->ports == 0 && p->bus[0])
		return err_set(&p->err, ENODEV, "bus", "the VM has no PCI port with the id %s", p->bus);
	return 0;
}

static int choose_port(struct plug *p)
{
	if (p->bus_known)
		return STEP_DONE;
	while (p->index < p->ports && plug_bus_promised(p, p->port[p->index]))
		p->index++;
	if (p->index == p->ports)
		return err_set(
			&p->err, ENODEV, "bus",
			"the VM has no free PCIe port that allows hot-plug: start it with spare ports (vpfctl qemu-args --hotplug-ports prints them)");
	return send_qom_get(p, p->port[p->index++], "hotplug");
}

static int port_checked(struct plug *p, int code, const json_t *ret, const struct err *err)
{
	(void)err;
	/* Only PCIe ports have the property at all. */
	if (code == 0 && json_is_true(ret) && !plug_bus_promised(p, p->port[p->index - 1])) {
		plug_set_bus(p, p->port[p->index - 1]);
		p->bus_known = true;
	}
	return 0;
}

/* --- the parts ------------------------------------------------------------------------ */

/* "VF 3" or "the PF", for messages. */
static const char *function_name(char name[16], unsigned int fn)
{
	if (fn == VPF_FUNCTION_PF)
		snprintf(name, 16, "the PF");
	else
		snprintf(name, 16, "VF %u", fn - 1);
	return name;
}

static int function_refused(struct plug *p, int code, const struct err *err, const char *part,
			    unsigned int fn)
{
	char name[16];

	return err_set(&p->err, -code, "", "cannot add %s%s: %.180s", part, function_name(name, fn),
		       err->text);
}

static int add_chardevs(struct plug *p)
{
	while (p->index < p->functions && p->device[p->index])
		p->index++;
	if (p->index == p->functions)
		return STEP_DONE;
	p->adding = true;
	return plug_send(p, "chardev-add", qemu_chardev_json(&p->pf, p->index, &p->function[p->index]));
}

static int chardev_added(struct plug *p, int code, const json_t *ret, const struct err *err)
{
	(void)ret;
	if (code < 0)
		return function_refused(p, code, err, "the chardev of ", p->index);
	p->index++;
	return 0;
}

/* Asks, and again after a while: p->asked is set from the question until its answer is too old. */
static int await_connected(struct plug *p)
{
	if (p->index > 0)
		return STEP_DONE;
	if (p->asked)
		return plug_wait(p, CONNECT_POLL_MS);
	p->asked = true;
	p->tries++;
	return plug_query(p, "query-chardev");
}

static int poll_connected(struct plug *p, int code, const json_t *ret, const struct err *err)
{
	unsigned int away, fn = 0;
	int r = plug_read_chardevs(p, code, ret, err, &away, &fn);

	if (r < 0)
		return r;
	if (away == 0)
		p->index = 1;
	else if (p->tries == CONNECT_TRIES)
		return err_set(
			&p->err, ECONNREFUSED, "",
			"QEMU cannot connect to %s: check that its user has permission, and that it sees the same path",
			p->function[fn].socket);
	return 0;
}

static int add_netdevs(struct plug *p)
{
	while (p->index < p->functions && p->device[p->index])
		p->index++;
	if (p->index == p->functions)
		return STEP_DONE;
	return plug_send(p, "netdev_add", qemu_netdev_json(&p->pf, p->index));
}

static int netdev_added(struct plug *p, int code, const json_t *ret, const struct err *err)
{
	(void)ret;
	if (code < 0)
		return function_refused(p, code, err, "the netdev of ", p->index);
	p->index++;
	return 0;
}

/* VFs first, then the PF, so that the guest sees all of them at once. */
static int add_devices(struct plug *p)
{
	unsigned int fn;

	if (p->index == 0)
		p->index = 1;
	while (p->index < p->functions && p->device[p->index])
		p->index++;
	if (p->index > p->functions)
		return STEP_DONE;
	fn = p->index < p->functions ? p->index : VPF_FUNCTION_PF;
	return plug_send(p, "device_add",
			 qemu_device_json(&p->pf, fn, &p->function[fn], p->bus, &p->options));
}

static int device_added(struct plug *p, int code, const json_t *ret, const struct err *err)
{
	(void)ret;
	if (code < 0)
		return function_refused(p, code, err, "",
					p->index < p->functions ? p->index : VPF_FUNCTION_PF);
	p->index++;
	return 0;
}

/* --- undoing it --- */

static int delete_vfs(struct plug *p)
{
	if (p->index == 0)
		p->index = 1;
	for (; p->index < p->functions; p->index++) {
		if (p->device[p->index])
			return plug_send_id(p, "device_del", QEMU_DEVICE, p->index++);
	}
	return STEP_DONE;
}

const struct step plug_attach_steps[] = {
	{plug_list_devices, plug_devices_listed},
	{plug_list_chardevs, plug_chardevs_listed},
	{find_vf_bus, vf_bus_found},
	{list_ports, ports_listed},
	{choose_port, port_checked},
	{plug_drop_netdevs, plug_dropped},
	{plug_drop_chardevs, plug_dropped},
	{add_chardevs, chardev_added},
	{await_connected, poll_connected},
	{add_netdevs, netdev_added},
	{add_devices, device_added},
	{},
};

const struct step plug_undo_steps[] = {
	{plug_list_devices, plug_devices_listed},
	{delete_vfs, plug_dropped},
	{plug_list_devices, plug_devices_listed},
	{plug_list_chardevs, plug_chardevs_listed},
	{plug_drop_netdevs, plug_dropped},
	{plug_drop_chardevs, plug_dropped},
	{},
};
