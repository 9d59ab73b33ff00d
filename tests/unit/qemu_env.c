/* SPDX-License-Identifier: Apache-2.0 */

#include "qemu_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fn_of(const json_t *args, const char *key, enum qemu_part part)
{
	const char *id = json_string_value(json_object_get(args, key));

	return id ? qemu_id_parse(id, part, "p", QEMU_ENV_FUNCTIONS) : -1;
}

static json_t *filter_of(struct qemu_env *x, int fn)
{
	char mac[18];

	snprintf(mac, sizeof(mac), "02:00:00:00:00:%02x", fn);
	return json_pack("{s:[{s:b, s:s, s:s, s:s, s:s, s:[]}]}", "return", "promiscuous",
			 x->vm.promiscuous[fn], "main-mac", mac, "unicast", "normal", "multicast", "normal",
			 "vlan", "normal", "unicast-table");
}

static void delete_device(struct qemu_env *x, int fn)
{
	char id[QEMU_ID_MAX], path[QEMU_ID_MAX + 64];

	x->vm.device[fn] = false;
	qemu_id(id, QEMU_DEVICE, "p", (unsigned int)fn);
	snprintf(path, sizeof(path), "/machine/peripheral/%s/virtio-backend", id);
	fq_event(x->fake, "DEVICE_DELETED", json_pack("{s:s}", "path", path));
	fq_event(x->fake, "DEVICE_DELETED", json_pack("{s:s, s:s}", "device", id, "path", id));
}

void qemu_env_release(struct qemu_env *x)
{
	delete_device(x, VPF_FUNCTION_PF);
	for (unsigned int fn = 1; fn < QEMU_ENV_FUNCTIONS && !x->vm.acpi; fn++) {
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

static json_t *list_pci(const struct qemu_env_vm *vm)
{
	bool on_hp0 = false, on_hp1 = false;

	for (unsigned int fn = 0; fn < QEMU_ENV_FUNCTIONS; fn++) {
		on_hp0 |= vm->device[fn] && !strcmp(vm->bus, "hp0");
		on_hp1 |= vm->device[fn] && !strcmp(vm->bus, "hp1");
	}
	if (vm->no_ports)
		return json_pack("{s:[{s:i, s:[]}]}", "return", "bus", 0, "devices");
	return json_pack("{s:[{s:i, s:[{s:s, s:{s:i}}, o, o, o, o]}]}", "return", "bus", 0, "devices",
			 "qdev_id", "nic", "class_info", "class", 0x200, port("", false), port("cold", false),
			 port("hp0", vm->hp0_taken || on_hp0), port("hp1", on_hp1));
}

static json_t *qom_get(const struct qemu_env_vm *vm, const json_t *args)
{
	const char *path = json_string_value(json_object_get(args, "path"));
	const char *property = json_string_value(json_object_get(args, "property"));
	char bus[64];

	if (!strcmp(property, "hotplug"))
		return strstr(path, "/hp") ? json_pack("{s:b}", "return", 1)
					   : fq_error("GenericError", "Property 'x.hotplug' not found");
	assert_string_equal(property, "parent_bus");
	snprintf(bus, sizeof(bus), "/machine/peripheral/%s/%s", vm->bus, vm->bus);
	return json_pack("{s:s}", "return", bus);
}

static json_t *list_parts(const struct qemu_env_vm *vm, enum qemu_part part)
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
	for (unsigned int fn = 0; fn < QEMU_ENV_FUNCTIONS; fn++) {
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

static json_t *add_device(struct qemu_env *x, const json_t *args)
{
	int fn = fn_of(args, "id", QEMU_DEVICE);
	struct qemu_env_vm *vm = &x->vm;

	assert_true(fn >= 0 && fn == fn_of(args, "netdev", QEMU_NETDEV));
	assert_true(vm->netdev[fn]);
	if (vm->device[fn])
		return fq_error("GenericError", "Duplicate device ID");
	assert_false(vm->device[VPF_FUNCTION_PF]); /* VFs come before their PF */
	snprintf(vm->bus, sizeof(vm->bus), "%s", json_string_value(json_object_get(args, "bus")));
	vm->device[fn] = true;
	vm->link[fn] = -1;
	json_decref(vm->last_device);
	vm->last_device = json_deep_copy(args);
	return fq_ok();
}

static json_t *remove_device(struct qemu_env *x, int fn)
{
	if (fn < 0 || !x->vm.device[fn])
		return fq_error("DeviceNotFound", "Device not found");
	if (fn == VPF_FUNCTION_PF && !x->vm.guest_sleeps)
		qemu_env_release(x);
	else if (fn != VPF_FUNCTION_PF && !x->vm.acpi)
		delete_device(x, fn);
	return fq_ok();
}

/* Adds or removes a chardev or netdev. */
static json_t *set_part(bool *part, bool exists)
{
	if (*part == exists)
		return fq_error("GenericError", exists ? "Duplicate ID" : "not found");
	*part = exists;
	return fq_ok();
}

/* For the parts of PF "q", which has no VFs. */
static json_t *handle_q(struct qemu_env *x, const char *command, const json_t *args)
{
	const char *bus = json_string_value(json_object_get(args, "bus"));

	if (!strcmp(command, "query-rx-filter"))
		return x->vm.q_bus[0] ? filter_of(x, 0) : fq_error("GenericError", "invalid net client name");
	if (!strcmp(command, "device_add"))
		snprintf(x->vm.q_bus, sizeof(x->vm.q_bus), "%s", bus);
	return fq_ok();
}

json_t *qemu_env_handle(struct fake_qmp *f, const char *command, const json_t *args)
{
	const char *id = json_string_value(json_object_get(args, "id"));
	const char *name = json_string_value(json_object_get(args, "name"));
	struct qemu_env *x = f->ctx;
	struct qemu_env_vm *vm = &x->vm;
	int fn;

	if ((id && strstr(id, "vpf-q-")) || (name && strstr(name, "vpf-q-")))
		return handle_q(x, command, args);

	if (vm->fail && !strcmp(command, vm->fail) && --vm->fail_at == 0)
		return fq_error("GenericError", "it was told to fail");
	if (!strcmp(command, "query-rx-filter")) {
		fn = fn_of(args, "name", QEMU_DEVICE);
		assert_true(fn >= 0);
		return vm->device[fn] ? filter_of(x, fn)
				      : fq_error("GenericError", "invalid net client name");
	}
	if (!strcmp(command, "set_link")) {
		fn = fn_of(args, "name", QEMU_NETDEV);
		assert_true(fn >= 0);
		if (!vm->netdev[fn])
			return fq_error("DeviceNotFound", "Device not found");
		vm->link[fn] = json_is_true(json_object_get(args, "up"));
		return fq_ok();
	}
	if (!strcmp(command, "query-status"))
		return json_pack("{s:{s:b, s:s}}", "return", "running", !vm->paused, "status",
				 vm->paused ? "paused" : "running");
	if (!strcmp(command, "announce-self")) {
		assert_false(vm->paused);
		json_decref(vm->last_announce);
		vm->last_announce = json_deep_copy(args);
		return fq_ok();
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

unsigned int qemu_env_parts(const bool part[QEMU_ENV_FUNCTIONS])
{
	unsigned int n = 0;

	for (unsigned int fn = 0; fn < QEMU_ENV_FUNCTIONS; fn++)
		n += part[fn];
	return n;
}

void qemu_env_plugged_from_start(struct qemu_env *x)
{
	for (unsigned int fn = 0; fn < QEMU_ENV_FUNCTIONS; fn++)
		x->vm.device[fn] = x->vm.netdev[fn] = x->vm.chardev[fn] = true;
	strcpy(x->vm.bus, "vpf-p-port");
}

static void on_connected(void *ctx, bool connected, const char *why)
{
	struct qemu_env *x = ctx;

	assert_true(connected == !why);
	if (connected)
		x->ups++;
	else
		x->downs++;
}

static void on_filter(void *ctx, unsigned int fn, const struct rx_filter *filter)
{
	struct qemu_env *x = ctx;

	assert_true(fn < QEMU_ENV_FUNCTIONS);
	x->filters[fn]++;
	x->filter[fn] = *filter;
}

static void on_present(void *ctx, bool present)
{
	struct qemu_env *x = ctx;

	if (present)
		x->present++;
	else
		x->absent++;
}

void qemu_env_on_done(void *arg, int code, const struct err *err)
{
	struct qemu_env *x = arg;

	assert_true(code == 0 || err);
	x->dones++;
	x->code = code;
	x->remark = code == 0 && err;
	if (err)
		x->err = *err;
}

static void on_announce_failed(void *ctx, unsigned int fn, const char *why)
{
	struct qemu_env *x = ctx;

	assert_true(why && *why);
	x->unannounced |= 1u << fn;
}

const struct qemu_link_ops qemu_env_ops = {
	.connected = on_connected,
	.filter = on_filter,
	.present = on_present,
	.announce_failed = on_announce_failed,
};

void qemu_env_open_link(struct qemu_env *x, unsigned int release_ms)
{
	const struct qemu_link_config config = {
		.pool = x->pool, .pf = &x->pf, .ops = &qemu_env_ops, .ctx = x, .release_ms = release_ms};

	assert_int_equal(qemu_link_new(&config, &x->link, &x->err), 0);
}

void qemu_env_attach(struct qemu_env *x, const char *bus)
{
	const struct qemu_attach a = {.functions = x->function, .bus = bus};
	unsigned int dones = x->dones;

	assert_int_equal(qemu_link_attach(x->link, &a, qemu_env_on_done, x, &x->err), 0);
	assert_int_equal(x->dones, dones); /* not from within the call */
	RUN_UNTIL(x->event, x->dones == dones + 1);
}

void qemu_env_detach(struct qemu_env *x)
{
	unsigned int dones = x->dones;

	assert_int_equal(qemu_link_detach(x->link, qemu_env_on_done, x, &x->err), 0);
	RUN_UNTIL(x->event, x->dones == dones + 1);
}

int qemu_env_setup(void **state)
{
	static char sockets[QEMU_ENV_FUNCTIONS][32];
	struct qemu_env *x = calloc(1, sizeof(*x));

	assert_true(sd_event_new(&x->event) >= 0);
	x->fake = fq_new(x->event, true);
	x->fake->handle = qemu_env_handle;
	x->fake->ctx = x;
	assert_int_equal(qmp_pool_new(x->event, &x->pool), 0);
	x->pf = (struct pf_settings){.name = "p", .vfs = QEMU_ENV_VFS, .queue_pairs = 1, .mtu = 1500};
	strcpy(x->pf.qmp, x->fake->path);
	for (unsigned int fn = 0; fn < QEMU_ENV_FUNCTIONS; fn++) {
		x->vm.link[fn] = -1;
		snprintf(sockets[fn], sizeof(sockets[fn]), "/run/%u", fn);
		x->function[fn].socket = sockets[fn];
	}
	*state = x;
	return 0;
}

int qemu_env_teardown(void **state)
{
	struct qemu_env *x = *state;

	qemu_link_free(x->link);
	qmp_pool_free(x->pool);
	fq_free(x->fake);
	json_decref(x->vm.last_device);
	json_decref(x->vm.last_announce);
	sd_event_unref(x->event);
	free(x);
	return 0;
}
