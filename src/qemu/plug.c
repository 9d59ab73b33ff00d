/* SPDX-License-Identifier: Apache-2.0 */

/* Theory of operation. An operation is a list of steps. A step issues commands, one at a time, until it has
 * nothing left to do; then the next one runs. A failing attach continues with the steps that undo, and then
 * reports the failure. No step assumes what is in the VM, each list of steps begins with looking: so an
 * operation also copes with what an earlier one, cut short, has left behind.
 *
 * What QEMU 11.1 does, found by experiment:
 * - netdev_add of a vhost-user netdev blocks the whole VM until its socket is connected and answers. So the
 * chardevs are added first, and only when all of them are connected the netdevs follow.
 * - netdev_del removes the netdev's chardev as well.
 * - With PCIe-native hot-plug, the guest's release of the PF removes the PF and its VFs in one go, and
 * device_del of a VF whose PF was not plugged yet takes effect at once. With ACPI hot-plug (the default of
 * the q35 machine), neither removes VFs: they stay in QEMU, invisible to the guest, and cannot be removed at
 * all; but a PF plugged in again on the same port takes them over. So their netdevs are left alone, and
 * attach uses them.
 * - A second device_del is refused for some seconds; after that it is needed if the guest missed the first
 * one because it was still booting, but a Linux guest that is in its 5 s of waiting takes it as a
 * cancellation. */

#include "qemu/plug.h"

#include <stdio.h>
#include <string.h>
#include <systemd/sd-event.h>

#define CONNECT_POLL_MS 20
#define CONNECT_TRIES   250 /* 5 s: QEMU is on this machine, and the sockets are ours */
#define RELEASE_TRIES   2   /* device_del is sent so often within QEMU_LINK_RELEASE_MS */
#define PORTS_MAX       64
#define PCI_DEPTH_MAX   16
#define ID_MAX          64

enum progress { STEP_DONE, STEP_SENT, STEP_WAITS }; /* or negative errno, and plug->err is set */

struct step {
	int (*issue)(struct plug *p);
	/* code and error of QEMU; returns 0, or negative errno with plug->err set. */
	int (*reply)(struct plug *p, int code, const json_t *ret, const struct err *err);
};

struct plug {
	enum plug_kind kind;
	struct pf_settings pf;
	unsigned int functions;
	unsigned int release_ms;
	struct qmp *qmp;
	void (*done)(void *ctx, struct plug *plug, int code, const struct err *err);
	void *ctx;
	sd_event_source *timer;

	/* attach */
	struct qemu_function *function;
	struct qemu_args_options options;
	char bus[ID_MAX];             /* the one asked for, or empty */
	bool bus_known;               /* … now the one to use */
	bool adding;                  /* something is there to be undone */
	char port[PORTS_MAX][ID_MAX]; /* free ones, candidates */
	unsigned int ports;

	const struct step *step;
	bool waiting;       /* for the timer or an event */
	unsigned int index; /* function (or port) the step is at */
	unsigned int tries;
	bool undoing;
	bool released; /* DEVICE_DELETED of the PF has come */
	bool asked;    /* by a step that waits: its command is sent and not overdue */
	struct err err;
	int failure; /* what a failed attach reports after undoing */
	struct err failure_err;

	bool device[VPF_MAX_FUNCTIONS];  /* in the VM, as last listed */
	bool chardev[VPF_MAX_FUNCTIONS]; /* same */
};

static void proceed(struct plug *p);

/* --- commands --------------------------------------------------------------------------------- */

static void on_reply(void *arg, int code, const json_t *ret, const struct err *err);

static int send_command(struct plug *p, const char *command, json_t *args)
{
	int r = qmp_command(p->qmp, command, args, on_reply, p);

	if (r < 0)
		return err_set(&p->err, -r, "", "cannot send %s to QEMU: %s", command, strerror(-r));
	return STEP_SENT;
}

static int send_id(struct plug *p, const char *command, enum qemu_part part, unsigned int fn)
{
	char id[QEMU_ID_MAX];

	return send_command(p, command, json_pack("{s:s}", "id", qemu_id(id, part, p->pf.name, fn)));
}

static int send_qom_get(struct plug *p, const char *device, const char *property)
{
	char path[ID_MAX + 32];

	snprintf(path, sizeof(path), "/machine/peripheral/%s", device);
	return send_command(p, "qom-get", json_pack("{s:s, s:s}", "path", path, "property", property));
}

static int wait_ms(struct plug *p, unsigned int ms)
{
	(void)sd_event_source_set_time_relative(p->timer, ms * 1000ULL);
	(void)sd_event_source_set_enabled(p->timer, SD_EVENT_ONESHOT);
	return STEP_WAITS;
}

static void set_bus(struct plug *p, const char *bus)
{
	snprintf(p->bus, sizeof(p->bus), "%s", bus);
}

/* "VF 3" or "the PF", for messages. */
static const char *function_name(char name[16], unsigned int fn)
{
	if (fn == VPF_FUNCTION_PF)
		snprintf(name, 16, "the PF");
	else
		snprintf(name, 16, "VF %u", fn - 1);
	return name;
}

/* What was to be done, said in front of QEMU's reason. */
static int refused(struct plug *p, int code, const struct err *err, const char *what)
{
	return err_set(&p->err, -code, "", "cannot %s: %.180s", what, err->text);
}

static int function_refused(struct plug *p, int code, const struct err *err, const char *part,
			    unsigned int fn)
{
	char name[16];

	return err_set(&p->err, -code, "", "cannot add %s%s: %.180s", part, function_name(name, fn),
		       err->text);
}

static int garbled(struct plug *p, const char *command)
{
	return err_set(&p->err, EPROTO, "", "QEMU's answer to %s is not what its documentation says",
		       command);
}

/* --- looking ---------------------------------------------------------------------------------- */

static int list_devices(struct plug *p)
{
	if (p->index++ > 0)
		return STEP_DONE;
	return send_command(p, "qom-list", json_pack("{s:s}", "path", "/machine/peripheral"));
}

static int devices_listed(struct plug *p, int code, const json_t *ret, const struct err *err)
{
	const json_t *entry;
	size_t i;

	if (code < 0)
		return refused(p, code, err, "list the VM's devices");
	if (!json_is_array(ret))
		return garbled(p, "qom-list");
	memset(p->device, 0, sizeof(p->device));
	json_array_foreach (ret, i, entry) {
		const char *name = json_string_value(json_object_get(entry, "name"));
		int fn = name ? qemu_id_parse(name, QEMU_DEVICE, p->pf.name, p->functions) : -ENOENT;

		if (fn >= 0)
			p->device[fn] = true;
	}
	return 0;
}

static int list_chardevs(struct plug *p)
{
	if (p->index++ > 0)
		return STEP_DONE;
	return send_command(p, "query-chardev", NULL);
}

/* Marks the chardevs that exist, and counts those of them that are not connected. */
static int read_chardevs(struct plug *p, int code, const json_t *ret, const struct err *err,
			 unsigned int *ret_away, unsigned int *ret_away_fn)
{
	const json_t *entry;
	unsigned int away = 0;
	size_t i;

	if (code < 0)
		return refused(p, code, err, "list the VM's chardevs");
	if (!json_is_array(ret))
		return garbled(p, "query-chardev");
	memset(p->chardev, 0, sizeof(p->chardev));
	json_array_foreach (ret, i, entry) {
		const char *label = json_string_value(json_object_get(entry, "label"));
		const char *name = json_string_value(json_object_get(entry, "filename"));
		int fn = label ? qemu_id_parse(label, QEMU_CHARDEV, p->pf.name, p->functions) : -ENOENT;

		if (fn < 0)
			continue;
		p->chardev[fn] = true;
		if (name && strncmp(name, "disconnected:", strlen("disconnected:")) == 0) {
			*ret_away_fn = (unsigned int)fn;
			away++;
		}
	}
	*ret_away = away;
	return 0;
}

static int chardevs_listed(struct plug *p, int code, const json_t *ret, const struct err *err)
{
	unsigned int away, fn;

	return read_chardevs(p, code, ret, err, &away, &fn);
}

/* --- dropping netdevs and chardevs that no device uses ------------------------------------------ */

static int drop(struct plug *p, const char *command, enum qemu_part part)
{
	for (; p->index < p->functions; p->index++) {
		if (p->chardev[p->index] && !p->device[p->index])
			return send_id(p, command, part, p->index++);
	}
	return STEP_DONE;
}

static int drop_netdevs(struct plug *p)
{
	return drop(p, "netdev_del", QEMU_NETDEV);
}

static int drop_chardevs(struct plug *p)
{
	return drop(p, "chardev-remove", QEMU_CHARDEV);
}

/* There may be none (a chardev alone), and a chardev goes with its netdev: what is then still in the way will
 * say so when its id is used again. */
static int dropped(struct plug *p, int code, const json_t *ret, const struct err *err)
{
	(void)p;
	(void)code;
	(void)ret;
	(void)err;
	return 0;
}

/* --- attach: the port ------------------------------------------------------------------------- */

static int find_vf_bus(struct plug *p)
{
	char id[QEMU_ID_MAX];

	if (p->index == 0 && p->device[VPF_FUNCTION_PF])
		return err_set(&p->err, EEXIST, "", "PF %s is in the VM already", p->pf.name);
	if (p->index++ > 0)
		return STEP_DONE;
	for (unsigned int fn = 1; fn < p->functions; fn++) {
		if (p->device[fn])
			return send_qom_get(p, qemu_id(id, QEMU_DEVICE, p->pf.name, fn), "parent_bus");
	}
	return STEP_DONE;
}

/* The bus that VFs of an earlier attach are on: the PF can only join them. It is named as its port. */
static int vf_bus_found(struct plug *p, int code, const json_t *ret, const struct err *err)
{
	const char *path = json_string_value(ret), *name = path ? strrchr(path, '/') : NULL;

	if (code < 0)
		return refused(p, code, err, "find the port of the VFs that are still in the VM");
	if (!name || strlen(name + 1) >= sizeof(p->bus))
		return garbled(p, "qom-get");
	if (p->bus[0] && strcmp(p->bus, name + 1) != 0)
		return err_set(&p->err, EBUSY, "bus",
			       "VFs of an earlier attach are still on port %s: use that one", name + 1);
	set_bus(p, name + 1);
	p->bus_known = true;
	return 0;
}

static int list_ports(struct plug *p)
{
	if (p->bus_known || p->index++ > 0)
		return STEP_DONE;
	return send_command(p, "query-pci", NULL);
}

#define PCI_CLASS_BRIDGE 0x0604

/* Collects bridges that can be named and have nothing behind them. True: the one asked for has something. */
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
		} else if (id && id[0] && strlen(id) < ID_MAX && p->ports < PORTS_MAX &&
			   (!p->bus[0] || !strcmp(id, p->bus))) {
			snprintf(p->port[p->ports++], ID_MAX, "%s", id);
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
		return refused(p, code, err, "list the VM's PCI ports");
	json_array_foreach (ret, i, bus)
		taken |= collect_ports(p, json_object_get(bus, "devices"), 0);
	if (taken)
		return err_set(&p->err, EBUSY, "bus", "port %s has a device on it", p->bus);
	if (p->ports == 0 && p->bus[0])
		return err_set(&p->err, ENODEV, "bus", "the VM has no PCI port with the id %s", p->bus);
	return 0;
}

static int choose_port(struct plug *p)
{
	if (p->bus_known)
		return STEP_DONE;
	if (p->index == p->ports)
		return err_set(
			&p->err, ENODEV, "bus",
			"the VM has no free PCIe port that allows hot-plug: start it with spare ones (vpfctl "
			"qemu-args with hotplug ports prints them)");
	return send_qom_get(p, p->port[p->index++], "hotplug");
}

static int port_checked(struct plug *p, int code, const json_t *ret, const struct err *err)
{
	(void)err;
	if (code == 0 && json_is_true(ret)) { /* only PCIe ports have the property at all */
		set_bus(p, p->port[p->index - 1]);
		p->bus_known = true;
	}
	return 0;
}

/* --- attach: the parts ------------------------------------------------------------------------ */

static int add_chardevs(struct plug *p)
{
	while (p->index < p->functions && p->device[p->index])
		p->index++;
	if (p->index == p->functions)
		return STEP_DONE;
	p->adding = true;
	return send_command(p, "chardev-add", qemu_chardev_json(&p->pf, p->index, &p->function[p->index]));
}

static int chardev_added(struct plug *p, int code, const json_t *ret, const struct err *err)
{
	(void)ret;
	if (code < 0)
		return function_refused(p, code, err, "the chardev of ", p->index);
	p->index++;
	return 0;
}

/* Asks, and after a while again: p->asked is set from the question until its answer is too old. */
static int await_connected(struct plug *p)
{
	if (p->index > 0)
		return STEP_DONE;
	if (p->asked)
		return wait_ms(p, CONNECT_POLL_MS);
	p->asked = true;
	p->tries++;
	return send_command(p, "query-chardev", NULL);
}

static int poll_connected(struct plug *p, int code, const json_t *ret, const struct err *err)
{
	unsigned int away, fn = 0;
	int r = read_chardevs(p, code, ret, err, &away, &fn);

	if (r < 0)
		return r;
	if (away == 0)
		p->index = 1;
	else if (p->tries == CONNECT_TRIES)
		return err_set(
			&p->err, ECONNREFUSED, "",
			"QEMU cannot connect to %s: check that its user may, and that it sees the same path",
			p->function[fn].socket);
	return 0;
}

static int add_netdevs(struct plug *p)
{
	while (p->index < p->functions && p->device[p->index])
		p->index++;
	if (p->index == p->functions)
		return STEP_DONE;
	return send_command(p, "netdev_add", qemu_netdev_json(&p->pf, p->index));
}

static int netdev_added(struct plug *p, int code, const json_t *ret, const struct err *err)
{
	(void)ret;
	if (code < 0)
		return function_refused(p, code, err, "the netdev of ", p->index);
	p->index++;
	return 0;
}

/* VFs first, then the PF, which the guest sees together with them. */
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
	return send_command(p, "device_add",
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

/* --- undoing an attach ------------------------------------------------------------------------ */

static int delete_vfs(struct plug *p)
{
	if (p->index == 0)
		p->index = 1;
	for (; p->index < p->functions; p->index++) {
		if (p->device[p->index])
			return send_id(p, "device_del", QEMU_DEVICE, p->index++);
	}
	return STEP_DONE;
}

/* --- detach ----------------------------------------------------------------------------------- */

static int release_pf(struct plug *p)
{
	if (p->index == 0 && !p->device[VPF_FUNCTION_PF])
		return err_set(&p->err, ENOENT, "", "PF %s is not in the VM", p->pf.name);
	p->index = 1;
	if (p->released)
		return STEP_DONE;
	if (p->asked)
		return wait_ms(p, p->release_ms / RELEASE_TRIES);
	if (p->tries == RELEASE_TRIES)
		return err_set(&p->err, ETIMEDOUT, "",
			       "the guest did not let go of PF %s within %u s: is it running, and does it "
			       "handle PCI hot-plug?",
			       p->pf.name, p->release_ms / 1000);
	p->asked = true;
	p->tries++;
	return send_id(p, "device_del", QEMU_DEVICE, VPF_FUNCTION_PF);
}

static int release_asked(struct plug *p, int code, const json_t *ret, const struct err *err)
{
	(void)ret;
	if (code == -ENODEV)
		p->released = true;
	else if (code < 0 && p->tries == 1)
		return refused(p, code, err, "unplug the PF");
	return 0;
}

/* --- the lists of steps ----------------------------------------------------------------------- */

static const struct step attach_steps[] = {
	{list_devices, devices_listed}, {list_chardevs, chardevs_listed}, {find_vf_bus, vf_bus_found},
	{list_ports, ports_listed},     {choose_port, port_checked},      {drop_netdevs, dropped},
	{drop_chardevs, dropped},       {add_chardevs, chardev_added},    {await_connected, poll_connected},
	{add_netdevs, netdev_added},    {add_devices, device_added},      {},
};
static const struct step undo_steps[] = {
	{list_devices, devices_listed},
	{delete_vfs, dropped},
	{list_devices, devices_listed},
	{list_chardevs, chardevs_listed},
	{drop_netdevs, dropped},
	{drop_chardevs, dropped},
	{},
};
static const struct step detach_steps[] = {
	{list_devices, devices_listed},
	{release_pf, release_asked},
	{list_devices, devices_listed},
	{list_chardevs, chardevs_listed},
	{drop_netdevs, dropped},
	{drop_chardevs, dropped},
	{},
};
static const struct step cleanup_steps[] = {
	{list_devices, devices_listed},
	{list_chardevs, chardevs_listed},
	{drop_netdevs, dropped},
	{drop_chardevs, dropped},
	{},
};

/* --- running them ----------------------------------------------------------------------------- */

static void start_steps(struct plug *p, const struct step *steps)
{
	p->step = steps;
	p->index = p->tries = 0;
	p->waiting = p->asked = false;
	(void)sd_event_source_set_enabled(p->timer, SD_EVENT_OFF);
}

static void finish(struct plug *p, int code)
{
	struct err remark = {};
	bool left = false;

	p->step = NULL;
	if (p->undoing)
		p->done(p->ctx, p, p->failure, &p->failure_err);
	else if (code < 0)
		p->done(p->ctx, p, code, &p->err);
	else {
		for (unsigned int fn = 1; p->kind != PLUG_ATTACH && fn < p->functions; fn++)
			left |= p->device[fn];
		if (left)
			err_set(&remark, 0, "",
				"the guest has released PF %s, but QEMU keeps its VFs on the port (ACPI "
				"hot-plug cannot "
				"remove them); attach will use them again",
				p->pf.name);
		p->done(p->ctx, p, 0, left ? &remark : NULL);
	}
}

static void fail(struct plug *p, int code)
{
	if (p->kind == PLUG_ATTACH && !p->undoing && code != -ENOTCONN && p->adding) {
		p->undoing = true;
		p->failure = code;
		p->failure_err = p->err;
		start_steps(p, undo_steps);
		proceed(p);
		return;
	}
	finish(p, code);
}

static void proceed(struct plug *p)
{
	p->waiting = false;
	while (p->step->issue) {
		int r = p->step->issue(p);

		if (r < 0) {
			fail(p, r);
			return;
		}
		if (r != STEP_DONE) {
			p->waiting = r == STEP_WAITS;
			return;
		}
		start_steps(p, p->step + 1);
	}
	finish(p, 0);
}

static void on_reply(void *arg, int code, const json_t *ret, const struct err *err)
{
	struct plug *p = arg;
	int r;

	if (code == -ECANCELED)
		return; /* the link is being freed */
	if (code == -ENOTCONN) {
		p->err = *err;
		finish(p, code);
		return;
	}
	r = p->step->reply(p, code, ret, err);
	if (r < 0)
		fail(p, r);
	else
		proceed(p);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct plug *p = userdata;

	(void)s;
	(void)usec;
	if (p->waiting) {
		p->asked = false;
		proceed(p);
	}
	return 0;
}

void plug_event(struct plug *p, const char *name, const json_t *data)
{
	const char *device = json_string_value(json_object_get(data, "device"));
	char id[QEMU_ID_MAX];

	if (!device || !p->step || strcmp(device, qemu_id(id, QEMU_DEVICE, p->pf.name, VPF_FUNCTION_PF)) != 0)
		return;
	if (!strcmp(name, "DEVICE_DELETED")) {
		p->released = true;
		if (p->waiting && p->step->issue == release_pf)
			proceed(p);
	} else if (!strcmp(name, "DEVICE_UNPLUG_GUEST_ERROR") && p->waiting && p->step->issue == release_pf) {
		fail(p, err_set(&p->err, EREMOTEIO, "", "the guest refuses to let go of PF %s", p->pf.name));
	}
}

void plug_lost(struct plug *p, const char *why)
{
	if (!p->step)
		return;
	err_set(&p->err, ENOTCONN, "", "%s", why);
	finish(p, -ENOTCONN);
}

static int copy_attach(struct plug *p, const struct qemu_attach *attach)
{
	if (attach->options)
		p->options = *attach->options;
	p->options.bus = p->options.memory = NULL;
	if (attach->bus)
		set_bus(p, attach->bus);
	p->function = calloc(p->functions, sizeof(*p->function));
	if (!p->function)
		return -ENOMEM;
	for (unsigned int fn = 0; fn < p->functions; fn++) {
		p->function[fn] = attach->functions[fn];
		p->function[fn].socket = strdup(attach->functions[fn].socket);
		if (!p->function[fn].socket) {
			p->functions = fn; /* those to free */
			return -ENOMEM;
		}
	}
	return 0;
}

int plug_new(enum plug_kind kind, const struct plug_config *config, struct plug **ret)
{
	static const struct step *const steps[] = {
		[PLUG_ATTACH] = attach_steps, [PLUG_DETACH] = detach_steps, [PLUG_CLEANUP] = cleanup_steps};
	struct plug *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->kind = kind;
	p->pf = *config->pf;
	p->functions = config->pf->vfs + 1;
	p->release_ms = config->release_ms;
	p->qmp = config->qmp;
	p->done = config->done;
	p->ctx = config->ctx;
	r = sd_event_add_time_relative(config->event, &p->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, p);
	if (r >= 0 && kind == PLUG_ATTACH)
		r = copy_attach(p, config->attach);
	if (r < 0) {
		plug_free(p);
		return r;
	}
	start_steps(p, steps[kind]);
	p->waiting = true; /* the first step is issued from the event loop: done() must not come before this
			      returns */
	(void)sd_event_source_set_enabled(p->timer, SD_EVENT_ONESHOT);
	*ret = p;
	return 0;
}

void plug_free(struct plug *p)
{
	if (!p)
		return;
	sd_event_source_disable_unref(p->timer);
	for (unsigned int fn = 0; p->function && fn < p->functions; fn++)
		free((char *)p->function[fn].socket);
	free(p->function);
	free(p);
}
