/* SPDX-License-Identifier: Apache-2.0 */

/* A virtual PF's link to a QEMU that is played here, with what matters of the real one: a table of devices,
 * netdevs and chardevs, ports, a link state per netdev, and rx-filter events that come once until asked. */

#include "fake_qmp.h"

#include "qemu/qemu_link.h"

#define VFS       3U
#define FUNCTIONS (VFS + 1)

struct vm { /* QEMU's side */
	bool device[FUNCTIONS], netdev[FUNCTIONS], chardev[FUNCTIONS];
	int link[FUNCTIONS]; /* last set_link: -1 none, 0, 1 */
	unsigned int promiscuous[FUNCTIONS];
	char bus[16]; /* where the devices are */
	bool hp0_taken, no_ports;
	bool acpi;            /* VFs stay when the PF goes, device_del of a VF does nothing */
	bool guest_sleeps;    /* device_del of the PF is not obeyed */
	bool unconnected;     /* chardevs do not get through */
	const char *fail;     /* this command fails … */
	unsigned int fail_at; /* … the n-th time, from 1 */
	json_t *last_device, *last_announce;
	bool paused;
	char q_bus[16]; /* where another PF, "q", is */
};

struct fixture {
	sd_event *event;
	struct fake *fake;
	struct vm vm;
	struct qmp_pool *pool;
	struct pf_settings pf;
	struct qemu_link *link;
	unsigned int ups, downs, present, absent;
	unsigned int filters[FUNCTIONS];
	struct rx_filter filter[FUNCTIONS];
	struct qemu_function function[FUNCTIONS];
	unsigned int unannounced; /* functions, bits */
	unsigned int dones;
	int code;
	struct err err;
	bool remark;
};

/* --- the VM --------------------------------------------------------------------------------------- */

static int fn_of(const json_t *args, const char *key, enum qemu_part part)
{
	const char *id = json_string_value(json_object_get(args, key));

	return id ? qemu_id_parse(id, part, "p", FUNCTIONS) : -1;
}

static json_t *filter_of(struct fixture *x, int fn)
{
	char mac[18];

	snprintf(mac, sizeof(mac), "02:00:00:00:00:%02x", fn);
	return json_pack("{s:[{s:b, s:s, s:s, s:s, s:s, s:[]}]}", "return", "promiscuous",
			 x->vm.promiscuous[fn], "main-mac", mac, "unicast", "normal", "multicast", "normal",
			 "vlan", "normal", "unicast-table");
}

static void delete_device(struct fixture *x, int fn)
{
	char id[QEMU_ID_MAX], path[QEMU_ID_MAX + 64];

	x->vm.device[fn] = false;
	qemu_id(id, QEMU_DEVICE, "p", (unsigned int)fn);
	snprintf(path, sizeof(path), "/machine/peripheral/%s/virtio-backend", id);
	fake_event(x->fake, "DEVICE_DELETED", json_pack("{s:s}", "path", path));
	fake_event(x->fake, "DEVICE_DELETED", json_pack("{s:s, s:s}", "device", id, "path", id));
}

/* The guest obeys. */
static void release(struct fixture *x)
{
	delete_device(x, VPF_FUNCTION_PF);
	for (unsigned int fn = 1; fn < FUNCTIONS && !x->vm.acpi; fn++) {
		if (x->vm.device[fn])
			delete_device(x, (int)fn);
	}
}

static json_t *port(const char *id, bool taken)
{
	return json_pack("{s:s, s:{s:i}, s:{s:{s:i}, s:[o*]}}", "qdev_id", id, "class_info", "class", 0x604,
			 "pci_bridge", "bus", "number", 1, "devices",
			 taken ? json_pack("{s:s, s:{s:i}}", "qdev_id", "x", "class_info", "class", 0x200)
			       : NULL);
}

static json_t *list_pci(const struct vm *vm)
{
	bool on_hp0 = false, on_hp1 = false;

	for (unsigned int fn = 0; fn < FUNCTIONS; fn++) {
		on_hp0 |= vm->device[fn] && !strcmp(vm->bus, "hp0");
		on_hp1 |= vm->device[fn] && !strcmp(vm->bus, "hp1");
	}
	if (vm->no_ports)
		return json_pack("{s:[{s:i, s:[]}]}", "return", "bus", 0, "devices");
	return json_pack("{s:[{s:i, s:[{s:s, s:{s:i}}, o, o, o, o]}]}", "return", "bus", 0, "devices",
			 "qdev_id", "nic", "class_info", "class", 0x200, port("", false), port("cold", false),
			 port("hp0", vm->hp0_taken || on_hp0), port("hp1", on_hp1));
}

static json_t *qom_get(const struct vm *vm, const json_t *args)
{
	const char *path = json_string_value(json_object_get(args, "path"));
	const char *property = json_string_value(json_object_get(args, "property"));
	char bus[64];

	if (!strcmp(property, "hotplug"))
		return strstr(path, "/hp") ? json_pack("{s:b}", "return", 1)
					   : fake_error("GenericError", "Property 'x.hotplug' not found");
	assert_string_equal(property, "parent_bus");
	snprintf(bus, sizeof(bus), "/machine/peripheral/%s/%s", vm->bus, vm->bus);
	return json_pack("{s:s}", "return", bus);
}

static json_t *list_parts(const struct vm *vm, enum qemu_part part)
{
	json_t *list = json_array();
	char id[QEMU_ID_MAX];

	if (part == QEMU_DEVICE) {
		json_array_append_new(list, json_pack("{s:s, s:s}", "name", "type", "type", "string"));
		json_array_append_new(list, json_pack("{s:s, s:s}", "name", "vpf-pp-pf", "type", "child<x>"));
	} else {
		json_array_append_new(
			list, json_pack("{s:s, s:s}", "label", "serial", "filename", "disconnected:x"));
	}
	for (unsigned int fn = 0; fn < FUNCTIONS; fn++) {
		qemu_id(id, part, "p", fn);
		if (part == QEMU_DEVICE && vm->device[fn])
			json_array_append_new(list,
					      json_pack("{s:s, s:s}", "name", id, "type", "child<virtio>"));
		if (part == QEMU_CHARDEV && vm->chardev[fn])
			json_array_append_new(list,
					      json_pack("{s:s, s:s, s:b}", "label", id, "filename",
							vm->unconnected ? "disconnected:unix:/x" : "unix:/x",
							"frontend-open", 0));
	}
	return json_pack("{s:o}", "return", list);
}

static json_t *add_device(struct fixture *x, const json_t *args)
{
	int fn = fn_of(args, "id", QEMU_DEVICE);
	struct vm *vm = &x->vm;

	assert_true(fn >= 0 && fn == fn_of(args, "netdev", QEMU_NETDEV));
	assert_true(vm->netdev[fn]);
	if (vm->device[fn])
		return fake_error("GenericError", "Duplicate device ID");
	assert_false(vm->device[VPF_FUNCTION_PF]); /* VFs come before their PF */
	snprintf(vm->bus, sizeof(vm->bus), "%s", json_string_value(json_object_get(args, "bus")));
	vm->device[fn] = true;
	vm->link[fn] = -1;
	json_decref(vm->last_device);
	vm->last_device = json_deep_copy(args);
	return fake_ok();
}

static json_t *remove_device(struct fixture *x, int fn)
{
	if (fn < 0 || !x->vm.device[fn])
		return fake_error("DeviceNotFound", "Device not found");
	if (fn == VPF_FUNCTION_PF && !x->vm.guest_sleeps)
		release(x);
	else if (fn != VPF_FUNCTION_PF && !x->vm.acpi)
		delete_device(x, fn);
	return fake_ok();
}

/* Adds or removes a chardev or netdev. */
static json_t *set_part(bool *part, bool exists)
{
	if (*part == exists)
		return fake_error("GenericError", exists ? "Duplicate ID" : "not found");
	*part = exists;
	return fake_ok();
}

/* For the parts of PF "q", which has no VFs. */
static json_t *handle_q(struct fixture *x, const char *command, const json_t *args)
{
	const char *bus = json_string_value(json_object_get(args, "bus"));

	if (!strcmp(command, "query-rx-filter"))
		return x->vm.q_bus[0] ? filter_of(x, 0)
				      : fake_error("GenericError", "invalid net client name");
	if (!strcmp(command, "device_add"))
		snprintf(x->vm.q_bus, sizeof(x->vm.q_bus), "%s", bus);
	return fake_ok();
}

static json_t *handle(struct fake *f, const char *command, const json_t *args)
{
	const char *id = json_string_value(json_object_get(args, "id"));
	const char *name = json_string_value(json_object_get(args, "name"));
	struct fixture *x = f->ctx;
	struct vm *vm = &x->vm;
	int fn;

	if ((id && strstr(id, "vpf-q-")) || (name && strstr(name, "vpf-q-")))
		return handle_q(x, command, args);

	if (vm->fail && !strcmp(command, vm->fail) && --vm->fail_at == 0)
		return fake_error("GenericError", "it was told to fail");
	if (!strcmp(command, "query-rx-filter")) {
		fn = fn_of(args, "name", QEMU_DEVICE);
		assert_true(fn >= 0);
		return vm->device[fn] ? filter_of(x, fn)
				      : fake_error("GenericError", "invalid net client name");
	}
	if (!strcmp(command, "set_link")) {
		fn = fn_of(args, "name", QEMU_NETDEV);
		assert_true(fn >= 0);
		if (!vm->netdev[fn])
			return fake_error("DeviceNotFound", "Device not found");
		vm->link[fn] = json_is_true(json_object_get(args, "up"));
		return fake_ok();
	}
	if (!strcmp(command, "query-status"))
		return json_pack("{s:{s:b, s:s}}", "return", "running", !vm->paused, "status",
				 vm->paused ? "paused" : "running");
	if (!strcmp(command, "announce-self")) {
		assert_false(vm->paused);
		json_decref(vm->last_announce);
		vm->last_announce = json_deep_copy(args);
		return fake_ok();
	}
	if (!strcmp(command, "qom-list"))
		return list_parts(vm, QEMU_DEVICE);
	if (!strcmp(command, "query-chardev"))
		return list_parts(vm, QEMU_CHARDEV);
	if (!strcmp(command, "query-pci"))
		return list_pci(vm);
	if (!strcmp(command, "qom-get"))
		return qom_get(vm, args);
	if (!strcmp(command, "device_add"))
		return add_device(x, args);
	if (!strcmp(command, "device_del"))
		return remove_device(x, fn_of(args, "id", QEMU_DEVICE));
	if (!strcmp(command, "chardev-add"))
		return set_part(&vm->chardev[fn_of(args, "id", QEMU_CHARDEV)], true);
	if (!strcmp(command, "chardev-remove"))
		return set_part(&vm->chardev[fn_of(args, "id", QEMU_CHARDEV)], false);
	if (!strcmp(command, "netdev_add")) {
		fn = fn_of(args, "id", QEMU_NETDEV);
		assert_true(vm->chardev[fn]);
		assert_false(vm->unconnected); /* it would stop the VM */
		return set_part(&vm->netdev[fn], true);
	}
	if (!strcmp(command, "netdev_del")) {
		fn = fn_of(args, "id", QEMU_NETDEV);
		assert_false(vm->device[fn]); /* it would cut a NIC that is in use */
		vm->chardev[fn] &= !vm->netdev[fn];
		return set_part(&vm->netdev[fn], false);
	}
	fail_msg("unexpected command %s", command);
	return NULL;
}

static unsigned int parts(const bool part[FUNCTIONS])
{
	unsigned int n = 0;

	for (unsigned int fn = 0; fn < FUNCTIONS; fn++)
		n += part[fn];
	return n;
}

static void plugged_from_start(struct fixture *x)
{
	for (unsigned int fn = 0; fn < FUNCTIONS; fn++)
		x->vm.device[fn] = x->vm.netdev[fn] = x->vm.chardev[fn] = true;
	strcpy(x->vm.bus, "vpf-p-port");
}

/* --- the owner ------------------------------------------------------------------------------------ */

static void on_connected(void *ctx, bool connected, const char *why)
{
	struct fixture *x = ctx;

	assert_true(connected == !why);
	if (connected)
		x->ups++;
	else
		x->downs++;
}

static void on_filter(void *ctx, unsigned int fn, const struct rx_filter *filter)
{
	struct fixture *x = ctx;

	assert_true(fn < FUNCTIONS);
	x->filters[fn]++;
	x->filter[fn] = *filter;
}

static void on_present(void *ctx, bool present)
{
	struct fixture *x = ctx;

	if (present)
		x->present++;
	else
		x->absent++;
}

static void on_done(void *arg, int code, const struct err *err)
{
	struct fixture *x = arg;

	assert_true(code == 0 || err);
	x->dones++;
	x->code = code;
	x->remark = code == 0 && err;
	if (err)
		x->err = *err;
}

static void on_announce_failed(void *ctx, unsigned int fn, const char *why)
{
	struct fixture *x = ctx;

	assert_true(why && *why);
	x->unannounced |= 1u << fn;
}

static const struct qemu_link_ops link_ops = {
	.connected = on_connected,
	.filter = on_filter,
	.present = on_present,
	.announce_failed = on_announce_failed,
};

static void open_link(struct fixture *x, unsigned int release_ms)
{
	const struct qemu_link_config config = {
		.pool = x->pool, .pf = &x->pf, .ops = &link_ops, .ctx = x, .release_ms = release_ms};

	assert_int_equal(qemu_link_new(&config, &x->link, &x->err), 0);
}

static int setup(void **state)
{
	static char sockets[FUNCTIONS][32];
	struct fixture *x = calloc(1, sizeof(*x));

	assert_true(sd_event_new(&x->event) >= 0);
	x->fake = fake_new(x->event, true);
	x->fake->handle = handle;
	x->fake->ctx = x;
	assert_int_equal(qmp_pool_new(x->event, &x->pool), 0);
	x->pf = (struct pf_settings){.name = "p", .vfs = VFS, .queue_pairs = 1, .mtu = 1500};
	strcpy(x->pf.qmp, x->fake->path);
	for (unsigned int fn = 0; fn < FUNCTIONS; fn++) {
		x->vm.link[fn] = -1;
		snprintf(sockets[fn], sizeof(sockets[fn]), "/run/%u", fn);
		x->function[fn].socket = sockets[fn];
	}
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	qemu_link_free(x->link);
	qmp_pool_free(x->pool);
	fake_free(x->fake);
	json_decref(x->vm.last_device);
	json_decref(x->vm.last_announce);
	sd_event_unref(x->event);
	free(x);
	return 0;
}

/* --- rx-filter and carrier -------------------------------------------------------------------------- */

static void test_connect(void **state)
{
	struct fixture *x = *state;

	plugged_from_start(x);
	x->vm.promiscuous[2] = 1;
	open_link(x, 0);
	qemu_link_set_carrier(x->link, 0, true);
	qemu_link_set_carrier(x->link, 1, false);
	qemu_link_set_carrier(x->link, 3, true);
	RUN_UNTIL(x->event, x->filters[0] && x->filters[1] && x->filters[2] && x->filters[3]);
	RUN_UNTIL(x->event, x->vm.link[0] >= 0 && x->vm.link[1] >= 0 && x->vm.link[3] >= 0);
	assert_true(qemu_link_connected(x->link) && qemu_link_present(x->link));
	assert_int_equal(x->ups, 1);
	assert_int_equal(x->present, 1);
	assert_true(x->filter[2].known && x->filter[2].promiscuous && !x->filter[1].promiscuous);
	assert_int_equal(x->filter[3].main_mac[5], 3);
	assert_int_equal(x->vm.link[0], 1);
	assert_int_equal(x->vm.link[1], 0);
	assert_int_equal(x->vm.link[2], -1); /* never set: left alone */
	assert_int_equal(x->vm.link[3], 1);
	assert_int_equal(run_for(x->event, 100), 0);
}

static void test_filter_event(void **state)
{
	struct fixture *x = *state;
	unsigned int queries;

	plugged_from_start(x);
	open_link(x, 0);
	RUN_UNTIL(x->event, x->filters[3]);
	run_for(x->event, 20);
	queries = fake_count(x->fake, "query-rx-filter");
	assert_int_equal(queries, FUNCTIONS);

	/* An event leads to one query; what has not changed is not told. */
	fake_event(x->fake, "NIC_RX_FILTER_CHANGED",
		   json_pack("{s:s, s:s}", "name", "vpf-p-vf1", "path", "/x"));
	RUN_UNTIL(x->event, fake_count(x->fake, "query-rx-filter") == queries + 1);
	run_for(x->event, 20);
	assert_int_equal(x->filters[2], 1);
	x->vm.promiscuous[2] = 1;
	fake_event(x->fake, "NIC_RX_FILTER_CHANGED",
		   json_pack("{s:s, s:s}", "name", "vpf-p-vf1", "path", "/x"));
	RUN_UNTIL(x->event, x->filters[2] == 2);
	assert_true(x->filter[2].promiscuous);
	assert_int_equal(fake_count(x->fake, "query-rx-filter"), queries + 2);

	/* Other NICs are not ours. */
	fake_event(x->fake, "NIC_RX_FILTER_CHANGED",
		   json_pack("{s:s, s:s}", "name", "vpf-other-vf1", "path", "/x"));
	fake_event(x->fake, "NIC_RX_FILTER_CHANGED",
		   json_pack("{s:s, s:s}", "name", "vpf-p-vf3", "path", "/x"));
	fake_event(x->fake, "NIC_RX_FILTER_CHANGED", json_pack("{s:s}", "path", "/x"));
	fake_event(x->fake, "NIC_RX_FILTER_CHANGED", json_pack("{s:i}", "name", 7));
	fake_event(x->fake, "NIC_RX_FILTER_CHANGED", NULL);
	run_for(x->event, 50);
	assert_int_equal(fake_count(x->fake, "query-rx-filter"), queries + 2);

	/* A driver that starts anew: no event, but the owner knows. */
	x->vm.promiscuous[2] = 0;
	qemu_link_refresh(x->link, 2);
	RUN_UNTIL(x->event, x->filters[2] == 3);
	assert_false(x->filter[2].promiscuous);
	assert_int_equal(x->downs, 0);
}

/* A guest that changes its filter for ever: bounded, and the last state still arrives. */
static void test_filter_flood(void **state)
{
	struct fixture *x = *state;
	unsigned int most;
	uint64_t start;

	plugged_from_start(x);
	open_link(x, 0);
	RUN_UNTIL(x->event, x->filters[3]);
	start = now_ms();
	while (now_ms() - start < 1500) {
		x->vm.promiscuous[1] ^= 1;
		fake_event(x->fake, "NIC_RX_FILTER_CHANGED", json_pack("{s:s}", "name", "vpf-p-vf0"));
		sd_event_run(x->event, 0);
	}
	x->vm.promiscuous[1] = 1;
	fake_event(x->fake, "NIC_RX_FILTER_CHANGED", json_pack("{s:s}", "name", "vpf-p-vf0"));
	run_for(x->event, 300);
	most = QEMU_LINK_QUERIES_BURST + (unsigned int)((now_ms() - start) * QEMU_LINK_QUERIES_PER_S / 1000) +
	       2;
	assert_true(fake_count(x->fake, "query-rx-filter") > QEMU_LINK_QUERIES_BURST); /* it was a flood */
	assert_true(fake_count(x->fake, "query-rx-filter") <= most);
	assert_true(x->filter[1].promiscuous);
	assert_int_equal(x->downs, 0);
}

static json_t *nonsense(struct fake *f, const char *command, const json_t *args)
{
	if (!strcmp(command, "query-rx-filter"))
		return json_pack("{s:[{s:i}]}", "return", "promiscuous", 7);
	return handle(f, command, args);
}

static void test_filter_nonsense(void **state)
{
	struct fixture *x = *state;

	plugged_from_start(x);
	open_link(x, 0);
	RUN_UNTIL(x->event, x->filters[3]);
	x->fake->handle = nonsense;
	fake_event(x->fake, "NIC_RX_FILTER_CHANGED", json_pack("{s:s}", "name", "vpf-p-vf0"));
	RUN_UNTIL(x->event, x->filters[1] == 2);
	assert_false(x->filter[1].known);
	assert_int_equal(x->downs, 0);
}

static void test_carrier(void **state)
{
	struct fixture *x = *state;

	plugged_from_start(x);
	open_link(x, 0);
	RUN_UNTIL(x->event, x->present);
	qemu_link_set_carrier(x->link, 2, false);
	RUN_UNTIL(x->event, x->vm.link[2] == 0);
	qemu_link_set_carrier(x->link, 2, false); /* no change, no command */
	run_for(x->event, 20);
	assert_int_equal(fake_count(x->fake, "set_link"), 1);
	qemu_link_set_carrier(x->link, 2, true);
	qemu_link_set_carrier(x->link, 2, false);
	run_for(x->event, 50);
	assert_int_equal(x->vm.link[2], 0);

	/* QEMU brings the link up when its vhost-user socket is connected again. */
	x->vm.link[2] = 1;
	fake_event(x->fake, "NETDEV_VHOST_USER_CONNECTED",
		   json_pack("{s:s, s:s}", "netdev-id", "vpf-p-vf1-net", "chardev-id", "vpf-p-vf1-chr"));
	RUN_UNTIL(x->event, x->vm.link[2] == 0);
	fake_event(x->fake, "NETDEV_VHOST_USER_CONNECTED", json_pack("{s:s}", "netdev-id", "vpf-p-vf9-net"));
	fake_event(x->fake, "NETDEV_VHOST_USER_CONNECTED", NULL);
	run_for(x->event, 20);

	/* Another VM on the same socket: all is set again. */
	fake_stop(x->fake);
	RUN_UNTIL(x->event, x->absent == 1);
	assert_false(x->filter[1].known);
	assert_false(qemu_link_present(x->link));
	qemu_link_set_carrier(x->link, 3, true);
	x->vm.link[2] = 1;
	fake_listen(x->fake);
	RUN_UNTIL(x->event, x->vm.link[2] == 0 && x->vm.link[3] == 1 && x->filter[1].known);
	assert_int_equal(x->present, 2);
}

static const char *announced(const struct fixture *x)
{
	const json_t *names = json_object_get(x->vm.last_announce, "interfaces");

	assert_int_equal(json_array_size(names), 1);
	return json_string_value(json_array_get(names, 0));
}

static void test_announce(void **state)
{
	struct fixture *x = *state;

	open_link(x, 0);
	RUN_UNTIL(x->event, x->ups);
	qemu_link_announce(x->link, 1); /* it is not there */
	run_for(x->event, 20);
	plugged_from_start(x);
	qemu_link_refresh(x->link, 0);
	RUN_UNTIL(x->event, x->present && x->filters[3]);
	assert_int_equal(fake_count(x->fake, "query-status"), 0);

	/* One NIC, in rounds of its own. */
	qemu_link_announce(x->link, 2);
	RUN_UNTIL(x->event, x->vm.last_announce);
	assert_string_equal(announced(x), "vpf-p-vf1");
	assert_string_equal(json_string_value(json_object_get(x->vm.last_announce, "id")), "vpf-p-vf1");
	run_for(x->event, 20);
	assert_int_equal(fake_count(x->fake, "announce-self"), 1);

	/* Not while the guest does not run; then all that were to. */
	x->vm.paused = true;
	qemu_link_announce(x->link, 1);
	qemu_link_announce(x->link, 1);
	RUN_UNTIL(x->event, fake_count(x->fake, "query-status") >= 2);
	run_for(x->event, 20);
	qemu_link_announce(x->link, 3);
	run_for(x->event, 20);
	assert_int_equal(fake_count(x->fake, "announce-self"), 1);
	assert_int_equal(fake_count(x->fake, "query-status"), 2);
	x->vm.paused = false;
	fake_event(x->fake, "RESUME", NULL);
	RUN_UNTIL(x->event, fake_count(x->fake, "announce-self") == 3);
	run_for(x->event, 20);
	assert_int_equal(fake_count(x->fake, "announce-self"), 3);

	/* In vain: that is said, and nothing else happens. */
	assert_int_equal(x->unannounced, 0);
	x->vm.fail = "announce-self";
	x->vm.fail_at = 1;
	qemu_link_announce(x->link, 2);
	RUN_UNTIL(x->event, x->unannounced);
	x->vm.fail = "query-status";
	x->vm.fail_at = 1;
	qemu_link_announce(x->link, 3);
	RUN_UNTIL(x->event, x->unannounced == (1u << 2 | 1u << 3));
	run_for(x->event, 20);
	assert_int_equal(fake_count(x->fake, "announce-self"), 4);
	assert_int_equal(x->downs, 0);
}

/* --- attach ----------------------------------------------------------------------------------------- */

static void attach(struct fixture *x, const char *bus)
{
	const struct qemu_attach a = {.functions = x->function, .bus = bus};
	unsigned int dones = x->dones;

	assert_int_equal(qemu_link_attach(x->link, &a, on_done, x, &x->err), 0);
	assert_int_equal(x->dones, dones); /* not from within the call */
	RUN_UNTIL(x->event, x->dones == dones + 1);
}

static void detach(struct fixture *x)
{
	unsigned int dones = x->dones;

	assert_int_equal(qemu_link_detach(x->link, on_done, x, &x->err), 0);
	RUN_UNTIL(x->event, x->dones == dones + 1);
}

static void test_attach_detach(void **state)
{
	struct fixture *x = *state;

	open_link(x, 0);
	RUN_UNTIL(x->event, x->ups);
	qemu_link_set_carrier(x->link, 1, false);
	run_for(x->event, 20);
	assert_int_equal(x->present, 0);
	assert_int_equal(fake_count(x->fake, "set_link"), 0);
	for (unsigned int round = 1; round <= 2; round++) {
		qemu_link_set_mtu(x->link, 9000);
		attach(x, NULL);
		assert_int_equal(x->code, 0);
		assert_false(x->remark);
		assert_true(qemu_link_present(x->link)); /* from the moment that it is done */
		assert_int_equal(x->present, round);
		assert_string_equal(x->vm.bus, "hp0"); /* "cold" does not allow hot-plug */
		assert_int_equal(parts(x->vm.device), FUNCTIONS);
		assert_string_equal(json_string_value(json_object_get(x->vm.last_device, "id")), "vpf-p-pf");
		assert_true(json_is_true(json_object_get(x->vm.last_device, "multifunction")));
		assert_int_equal(json_integer_value(json_object_get(x->vm.last_device, "host_mtu")), 9000);
		RUN_UNTIL(x->event, x->present == round && x->filter[3].known && x->vm.link[1] == 0);

		attach(x, NULL);
		assert_int_equal(x->code, -EEXIST);
		assert_int_equal(parts(x->vm.device), FUNCTIONS);

		detach(x);
		assert_int_equal(x->code, 0);
		assert_false(x->remark);
		assert_int_equal(parts(x->vm.device) + parts(x->vm.netdev) + parts(x->vm.chardev), 0);
		assert_false(qemu_link_present(x->link));
		assert_int_equal(x->absent, round);
		assert_false(x->filter[3].known);

		detach(x);
		assert_int_equal(x->code, -ENOENT);
	}
	x->vm.hp0_taken = true;
	attach(x, NULL);
	assert_int_equal(x->code, 0);
	assert_string_equal(x->vm.bus, "hp1");
}

static void test_attach_bus(void **state)
{
	struct fixture *x = *state;

	open_link(x, 0);
	RUN_UNTIL(x->event, x->ups);
	x->vm.hp0_taken = true;
	attach(x, "hp0");
	assert_int_equal(x->code, -EBUSY);
	assert_string_equal(x->err.field, "bus");
	attach(x, "nix");
	assert_int_equal(x->code, -ENODEV);
	attach(x, "cold");
	assert_int_equal(x->code, -ENODEV);
	x->vm.no_ports = true;
	attach(x, NULL);
	assert_int_equal(x->code, -ENODEV);
	assert_int_equal(fake_count(x->fake, "chardev-add"), 0); /* found out before anything was done */
	x->vm.no_ports = false;
	attach(x, "hp1");
	assert_int_equal(x->code, 0);
	assert_string_equal(x->vm.bus, "hp1");
}

/* Two PFs of one VM at the same time. */
static void test_attach_two(void **state)
{
	struct fixture *x = *state;
	struct pf_settings q = {.name = "q", .queue_pairs = 1, .mtu = 1500};
	const struct qemu_link_config config = {.pool = x->pool, .pf = &q, .ops = &link_ops, .ctx = x};
	const struct qemu_attach a = {.functions = x->function};
	struct qemu_link *other;

	strcpy(q.qmp, x->fake->path);
	open_link(x, 0);
	assert_int_equal(qemu_link_new(&config, &other, &x->err), 0);
	RUN_UNTIL(x->event, x->ups == 2);
	assert_int_equal(x->fake->accepted, 1);
	assert_int_equal(qemu_link_attach(x->link, &a, on_done, x, &x->err), 0);
	assert_int_equal(qemu_link_attach(other, &a, on_done, x, &x->err), 0);
	RUN_UNTIL(x->event, x->dones == 1);
	assert_int_equal(x->code, 0);
	RUN_UNTIL(x->event, x->dones == 2);
	assert_int_equal(x->code, 0);
	assert_string_not_equal(x->vm.bus, x->vm.q_bus);
	assert_true(x->vm.bus[0] && x->vm.q_bus[0]);
	qemu_link_free(other);
}

/* Each command may fail each time: nothing is left, the reason is QEMU's, and the next attach works. */
static void test_attach_fails(void **state)
{
	static const struct {
		const char *command;
		unsigned int times;
	} steps[] = {{"qom-list", 1},           {"query-chardev", 2},
		     {"query-pci", 1},          {"chardev-add", FUNCTIONS},
		     {"netdev_add", FUNCTIONS}, {"device_add", FUNCTIONS}};
	struct fixture *x = *state;

	open_link(x, 0);
	RUN_UNTIL(x->event, x->ups);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		for (unsigned int n = 1; n <= steps[i].times; n++) {
			x->vm.fail = steps[i].command;
			x->vm.fail_at = n;
			attach(x, NULL);
			assert_int_equal(x->code, -EREMOTEIO);
			assert_non_null(strstr(x->err.text, "QEMU says: it was told to fail"));
			assert_int_equal(parts(x->vm.device) + parts(x->vm.netdev) + parts(x->vm.chardev), 0);
		}
	}
	attach(x, NULL);
	assert_int_equal(x->code, 0);
	assert_int_equal(parts(x->vm.device), FUNCTIONS);
}

static void test_attach_unconnected(void **state)
{
	struct fixture *x = *state;
	const struct qemu_attach a = {.functions = x->function};

	open_link(x, 0);
	RUN_UNTIL(x->event, x->ups);
	/* Some time, then it gets through. */
	x->vm.unconnected = true;
	assert_int_equal(qemu_link_attach(x->link, &a, on_done, x, &x->err), 0);
	assert_int_equal(qemu_link_attach(x->link, &a, on_done, x, &x->err), -EBUSY);
	assert_int_equal(qemu_link_detach(x->link, on_done, x, &x->err), -EBUSY);
	run_for(x->event, 300);
	assert_int_equal(fake_count(x->fake, "netdev_add"), 0);
	x->vm.unconnected = false;
	RUN_UNTIL(x->event, x->dones == 1);
	assert_int_equal(x->code, 0);
	detach(x);
	/* Never. */
	x->vm.unconnected = true;
	attach(x, NULL);
	assert_int_equal(x->code, -ECONNREFUSED);
	assert_non_null(strstr(x->err.text, "/run/"));
	assert_int_equal(parts(x->vm.netdev) + parts(x->vm.chardev), 0);
}

/* What a vpfd that was killed during an attach has left is taken away first. */
static void test_attach_leftovers(void **state)
{
	struct fixture *x = *state;

	open_link(x, 0);
	RUN_UNTIL(x->event, x->ups);
	x->vm.chardev[0] = x->vm.chardev[1] = x->vm.netdev[1] = true;
	attach(x, NULL);
	assert_int_equal(x->code, 0);
	assert_int_equal(parts(x->vm.netdev), FUNCTIONS);
}

static json_t *silent(struct fake *f, const char *command, const json_t *args)
{
	(void)f;
	(void)command;
	(void)args;
	return NULL;
}

static void test_attach_cut_short(void **state)
{
	struct fixture *x = *state;
	const struct qemu_attach a = {.functions = x->function};

	open_link(x, 0);
	assert_int_equal(qemu_link_attach(x->link, &a, on_done, x, &x->err), -ENOTCONN);
	assert_int_equal(qemu_link_detach(x->link, on_done, x, &x->err), -ENOTCONN);
	assert_int_equal(x->dones, 0);
	RUN_UNTIL(x->event, x->ups);
	/* QMP is lost on the way: while a command is due, and while waiting. */
	assert_int_equal(qemu_link_attach(x->link, &a, on_done, x, &x->err), 0);
	RUN_UNTIL(x->event, fake_count(x->fake, "netdev_add") == 2);
	fake_hang_up(x->fake);
	RUN_UNTIL(x->event, x->dones == 1 && x->ups == 2);
	assert_int_equal(x->code, -ENOTCONN);
	x->vm.unconnected = true;
	assert_int_equal(qemu_link_attach(x->link, &a, on_done, x, &x->err), 0);
	RUN_UNTIL(x->event, fake_count(x->fake, "chardev-add") == 2 * FUNCTIONS);
	run_for(x->event, 50);
	fake_hang_up(x->fake);
	RUN_UNTIL(x->event, x->dones == 2 && x->ups == 3);
	assert_int_equal(x->code, -ENOTCONN);
	/* The link is taken away. */
	assert_int_equal(qemu_link_attach(x->link, &a, on_done, x, &x->err), 0);
	run_for(x->event, 50);
	qemu_link_free(x->link);
	x->link = NULL;
	assert_int_equal(x->dones, 3);
	assert_int_equal(x->code, -ECANCELED);
	/* … and with a command in flight. */
	x->fake->handle = silent;
	open_link(x, 0);
	RUN_UNTIL(x->event, x->ups == 4);
	assert_int_equal(qemu_link_attach(x->link, &a, on_done, x, &x->err), 0);
	RUN_UNTIL(x->event, !strcmp(fake_logged(x->fake, json_array_size(x->fake->log) - 1), "qom-list"));
	qemu_link_free(x->link);
	x->link = NULL;
	assert_int_equal(x->dones, 4);
	run_for(x->event, 50);
	assert_int_equal(x->dones, 4);
}

/* --- detach ----------------------------------------------------------------------------------------- */

static void test_guest_keeps_it(void **state)
{
	struct fixture *x = *state;

	plugged_from_start(x);
	open_link(x, 400);
	RUN_UNTIL(x->event, x->present && x->filter[3].known);
	x->vm.guest_sleeps = true;
	detach(x);
	assert_int_equal(x->code, -ETIMEDOUT);
	assert_non_null(strstr(x->err.text, "did not let go"));
	assert_int_equal(fake_count(x->fake, "device_del"),
			 2); /* a guest that was booting gets a second chance */
	assert_int_equal(parts(x->vm.device), FUNCTIONS);
	assert_int_equal(parts(x->vm.netdev), FUNCTIONS);
	run_for(x->event, 50);
	assert_int_equal(x->absent, 0);

	/* Later it does: the rest goes too. */
	release(x);
	RUN_UNTIL(x->event, x->absent == 1 && parts(x->vm.netdev) + parts(x->vm.chardev) == 0);
	assert_int_equal(x->dones, 1);
	run_for(x->event, 20);
	x->vm.guest_sleeps = false;
	attach(x, NULL);
	assert_int_equal(x->code, 0);
}

static void test_guest_refuses(void **state)
{
	struct fixture *x = *state;

	plugged_from_start(x);
	open_link(x, 0);
	RUN_UNTIL(x->event, x->present);
	x->vm.guest_sleeps = true;
	assert_int_equal(qemu_link_detach(x->link, on_done, x, &x->err), 0);
	RUN_UNTIL(x->event, fake_count(x->fake, "device_del"));
	run_for(x->event, 20);
	fake_event(x->fake, "DEVICE_UNPLUG_GUEST_ERROR",
		   json_pack("{s:s, s:s}", "device", "vpf-p-vf0", "path", "/x"));
	run_for(x->event, 20);
	assert_int_equal(x->dones, 0);
	fake_event(x->fake, "DEVICE_UNPLUG_GUEST_ERROR",
		   json_pack("{s:s, s:s}", "device", "vpf-p-pf", "path", "/x"));
	RUN_UNTIL(x->event, x->dones);
	assert_int_equal(x->code, -EREMOTEIO);
	assert_int_equal(parts(x->vm.device), FUNCTIONS);
}

/* Somebody else unplugs it: what is not ours to clean up stays. */
static void test_foreign_unplug(void **state)
{
	struct fixture *x = *state;

	plugged_from_start(x);
	open_link(x, 0);
	RUN_UNTIL(x->event, x->filter[3].known);
	release(x);
	RUN_UNTIL(x->event, x->absent == 1);
	run_for(x->event, 20);
	assert_int_equal(parts(x->vm.netdev), FUNCTIONS);
	/* … and plugs it in again: QEMU has no event for that, but the NIC's first one tells. */
	plugged_from_start(x);
	fake_event(x->fake, "NIC_RX_FILTER_CHANGED", json_pack("{s:s}", "name", "vpf-p-vf0"));
	RUN_UNTIL(x->event, x->present == 2 && x->filter[3].known);
}

static void test_acpi(void **state)
{
	struct fixture *x = *state;

	x->vm.acpi = true;
	open_link(x, 0);
	RUN_UNTIL(x->event, x->ups);
	attach(x, "hp1");
	assert_int_equal(x->code, 0);
	detach(x);
	assert_int_equal(x->code, 0);
	assert_true(x->remark);
	assert_non_null(strstr(x->err.text, "ACPI"));
	assert_int_equal(parts(x->vm.device), VFS);
	assert_int_equal(parts(x->vm.netdev), VFS); /* the VFs' stay, the PF's goes */
	assert_false(x->vm.netdev[VPF_FUNCTION_PF]);

	attach(x, "hp0");
	assert_int_equal(x->code, -EBUSY);
	attach(x, NULL);
	assert_int_equal(x->code, 0);
	assert_string_equal(x->vm.bus, "hp1");
	assert_int_equal(parts(x->vm.device), FUNCTIONS);
	detach(x);

	/* A failing attach leaves VFs that cannot be removed; their netdevs stay with them, and the next one
	 * goes on. */
	x->vm.device[1] = x->vm.device[2] = x->vm.device[3] = false;
	x->vm.netdev[1] = x->vm.netdev[2] = x->vm.netdev[3] = false;
	x->vm.chardev[1] = x->vm.chardev[2] = x->vm.chardev[3] = false;
	x->vm.fail = "device_add";
	x->vm.fail_at = 3;
	attach(x, NULL);
	assert_int_equal(x->code, -EREMOTEIO);
	assert_int_equal(parts(x->vm.device), 2);
	assert_int_equal(parts(x->vm.netdev), 2);
	attach(x, NULL);
	assert_int_equal(x->code, 0);
	assert_int_equal(parts(x->vm.device), FUNCTIONS);
}

static void test_bad_path(void **state)
{
	struct fixture *x = *state;
	const struct qemu_link_config config = {.pool = x->pool, .pf = &x->pf, .ops = &link_ops, .ctx = x};
	struct qemu_link *link = (struct qemu_link *)x;

	strcpy(x->pf.qmp, "relative");
	assert_int_equal(qemu_link_new(&config, &link, &x->err), -EINVAL);
	assert_string_equal(x->err.field, "qmp");
	assert_ptr_equal(link, x);
	qemu_link_free(NULL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_connect),
		T(test_filter_event),
		T(test_filter_flood),
		T(test_filter_nonsense),
		T(test_carrier),
		T(test_announce),
		T(test_attach_detach),
		T(test_attach_bus),
		T(test_attach_two),
		T(test_attach_fails),
		T(test_attach_unconnected),
		T(test_attach_leftovers),
		T(test_attach_cut_short),
		T(test_guest_keeps_it),
		T(test_guest_refuses),
		T(test_foreign_unplug),
		T(test_acpi),
		T(test_bad_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
