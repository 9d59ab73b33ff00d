/* SPDX-License-Identifier: Apache-2.0 */

/* The properties of a device or netdev are written once, as the JSON object that QMP takes; the command line
 * is made from it. Properties of VFs and PF are the same, since QEMU demands that all VFs have equal BARs. */

#include "qemu/qemu_args.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RECONNECT_MS 250 /* bounds how fast the guest's links return after a restart of vpfd */
#define DEFAULT_RING                                                                                         \
	256 /* as QEMU's; larger costs guest memory: 255 VFs at 1024 are 400 MiB of receive buffers */
#define MAX_HOTPLUG_PORTS 16
#define MIB               1048576U
/* BARs of one virtio-net-pci function without legacy I/O: MSI-X table, and the virtio structures. */
#define BAR_MEM    4096U
#define BAR_PREF64 16384U

static const char *const part_suffix[] = {
	[QEMU_DEVICE] = "", [QEMU_NETDEV] = "-net", [QEMU_CHARDEV] = "-chr"};

const char *qemu_id(char id[QEMU_ID_MAX], enum qemu_part part, const char *pf, unsigned int fn)
{
	if (fn == VPF_FUNCTION_PF)
		snprintf(id, QEMU_ID_MAX, "vpf-%s-pf%s", pf, part_suffix[part]);
	else
		snprintf(id, QEMU_ID_MAX, "vpf-%s-vf%u%s", pf, fn - 1, part_suffix[part]);
	return id;
}

int qemu_id_parse(const char *id, enum qemu_part part, const char *pf, unsigned int functions)
{
	char canonical[QEMU_ID_MAX];
	size_t len = strlen(pf);
	unsigned int fn = VPF_FUNCTION_PF;

	if (strncmp(id, "vpf-", 4) != 0 || strncmp(id + 4, pf, len) != 0)
		return -ENOENT;
	if (strncmp(id + 4 + len, "-vf", 3) == 0) {
		const char *digits = id + 4 + len + 3;
		size_t n = strspn(digits, "0123456789");

		if (n < 1 || n > 3)
			return -ENOENT;
		for (fn = 0; n > 0; n--)
			fn = fn * 10 + (unsigned int)(*digits++ - '0');
		fn = VPF_FUNCTION_VF(fn);
	}
	if (fn >= functions || strcmp(id, qemu_id(canonical, part, pf, fn)) != 0)
		return -ENOENT;
	return (int)fn;
}

/* --- objects ---------------------------------------------------------------------------------- */

json_t *qemu_chardev_json(const struct pf_settings *pf, unsigned int fn, const struct qemu_function *function)
{
	char id[QEMU_ID_MAX];

	return json_pack("{s:s, s:{s:s, s:{s:{s:s, s:{s:s}}, s:b, s:i}}}", "id",
			 qemu_id(id, QEMU_CHARDEV, pf->name, fn), "backend", "type", "socket", "data", "addr",
			 "type", "unix", "data", "path", function->socket, "server", 0, "reconnect-ms",
			 RECONNECT_MS);
}

json_t *qemu_netdev_json(const struct pf_settings *pf, unsigned int fn)
{
	char id[QEMU_ID_MAX], chardev[QEMU_ID_MAX];

	return json_pack("{s:s, s:s, s:s, s:i}", "type", "vhost-user", "id",
			 qemu_id(id, QEMU_NETDEV, pf->name, fn), "chardev",
			 qemu_id(chardev, QEMU_CHARDEV, pf->name, fn), "queues", (int)pf->queue_pairs);
}

json_t *qemu_device_json(const struct pf_settings *pf, unsigned int fn, const struct qemu_function *function,
			 const char *bus, const struct qemu_args_options *options)
{
	static const struct qemu_args_options defaults = {};
	char id[QEMU_ID_MAX], netdev[QEMU_ID_MAX], pf_id[QEMU_ID_MAX], addr[16], mac[18];
	const struct qemu_args_options *o = options ? options : &defaults;
	const uint8_t *m = function->mac;
	bool vf = fn != VPF_FUNCTION_PF;

	snprintf(addr, sizeof(addr), "0x%x.0x%x", fn >> 3, fn & 7);
	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
	/* vectors: one for each queue, the control queue and the configuration. romfile: 256 option ROMs
	 * would cost the firmware time and the guest memory, and VFs cannot boot. */
	return json_pack("{s:s, s:s, s:s, s:s, s:s*, s:o*, s:s, s:s, s:o*, s:i, s:i, s:i, s:i, s:o*, s:s}",
			 "driver", "virtio-net-pci", "id", qemu_id(id, QEMU_DEVICE, pf->name, fn), "bus", bus,
			 "addr", addr, "sriov-pf",
			 vf ? qemu_id(pf_id, QEMU_DEVICE, pf->name, VPF_FUNCTION_PF) : NULL, "multifunction",
			 vf ? NULL : json_true(), "netdev", qemu_id(netdev, QEMU_NETDEV, pf->name, fn), "mac",
			 mac, "mq", pf->queue_pairs > 1 ? json_true() : NULL, "vectors",
			 (int)(2 * pf->queue_pairs + 2), "host_mtu", (int)pf->mtu, "rx_queue_size",
			 (int)(o->rx_queue_size ? o->rx_queue_size : DEFAULT_RING), "tx_queue_size",
			 (int)(o->tx_queue_size ? o->tx_queue_size : DEFAULT_RING), "packed",
			 o->packed ? json_true() : NULL, "romfile", "");
}

/* --- command line ----------------------------------------------------------------------------- */

struct words {
	json_t *array;
	bool failed; /* out of memory somewhere: reported once, at the end */
};

static void add_word(struct words *w, json_t *word)
{
	if (json_array_append_new(w->array, word) < 0)
		w->failed = true;
}

static void add_pair(struct words *w, const char *option, json_t *value)
{
	add_word(w, json_string(option));
	add_word(w, value);
}

/* Appends text with its commas doubled, as QEMU's option syntax wants. */
static void put_value(FILE *f, const char *text)
{
	for (; *text; text++) {
		if (*text == ',')
			fputc(',', f);
		fputc(*text, f);
	}
}

/* "first,key=value,…" of an object, where `implied` is the key of the first value. Takes the reference. */
static json_t *object_word(json_t *object, const char *implied)
{
	_cleanup_free_ char *text = NULL;
	json_t *value, *word = NULL;
	const char *key;
	bool complete;
	size_t size;
	FILE *f = object ? open_memstream(&text, &size) : NULL;

	if (!f)
		goto out;
	put_value(f, json_string_value(json_object_get(object, implied)));
	json_object_foreach (object, key, value) {
		if (!strcmp(key, implied))
			continue;
		fprintf(f, ",%s=", key);
		if (json_is_integer(value))
			fprintf(f, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		else if (json_is_boolean(value))
			fputs(json_is_true(value) ? "on" : "off", f);
		else
			put_value(f, json_string_value(value));
	}
	complete = !ferror(f);
	if (fclose(f) == 0 && complete)
		word = json_string(text);
out:
	json_decref(object);
	return word;
}

static void add_chardev(struct words *w, const struct pf_settings *pf, unsigned int fn, const char *path)
{
	char id[QEMU_ID_MAX];

	add_pair(w, "-chardev",
		 object_word(json_pack("{s:s, s:s, s:s, s:i}", "backend", "socket", "id",
				       qemu_id(id, QEMU_CHARDEV, pf->name, fn), "path", path, "reconnect-ms",
				       RECONNECT_MS),
			     "backend"));
}

static uint32_t hash_name(const char *name)
{
	uint32_t h = 2166136261U; /* FNV-1a */

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619U;
	return h;
}

/* A root port with windows for a PF with this number of VFs, so that they fit without the guest moving
 * anything, even if the PF is plugged in later. QEMU demands that chassis and slot together are unique in the
 * VM. */
static void add_port(struct words *w, const char *pf, const struct qemu_args_options *o, unsigned int index,
		     unsigned int vfs)
{
	uint32_t h = hash_name(pf);
	unsigned int chassis = o->chassis ? o->chassis : 1 + h % 255;
	unsigned int slot = (o->chassis ? 0 : (h >> 16 & 0xff) << 5) + index; /* 13 bits */
	unsigned int mem = ((vfs + 1) * BAR_MEM + MIB - 1) / MIB;
	unsigned int pref64 = ((vfs + 1) * BAR_PREF64 + MIB - 1) / MIB;
	char id[QEMU_ID_MAX], mem_text[16], pref64_text[16];

	if (index == 0)
		snprintf(id, sizeof(id), "vpf-%s-port", pf);
	else
		snprintf(id, sizeof(id), "vpf-%s-port%u", pf, index);
	snprintf(mem_text, sizeof(mem_text), "%uM", mem);
	snprintf(pref64_text, sizeof(pref64_text), "%uM", pref64);
	add_pair(w, "-device",
		 object_word(json_pack("{s:s, s:s, s:i, s:i, s:s, s:s}", "driver", "pcie-root-port", "id", id,
				       "chassis", (int)chassis, "slot", (int)slot, "mem-reserve", mem_text,
				       "pref64-reserve", pref64_text),
			     "driver"));
}

static void add_memory(struct words *w, const char *size)
{
	char text[96];

	add_pair(w, "-m", json_string(size));
	snprintf(text, sizeof(text), "memory-backend-memfd,id=vpf-mem,size=%s,share=on", size);
	add_pair(w, "-object", json_string(text));
	add_pair(w, "-machine", json_string("memory-backend=vpf-mem"));
}

/* --- checks ----------------------------------------------------------------------------------- */

static bool ring_size_ok(unsigned int n)
{
	return n == 0 || n == 256 || n == 512 || n == 1024;
}

static bool memory_ok(const char *s)
{
	size_t digits = strspn(s, "0123456789");

	return digits >= 1 && digits <= 9 && s[0] != '0' && s[digits] && strchr("MGTmgt", s[digits]) &&
	       !s[digits + 1];
}

/* QEMU's rule for ids, which also keeps separators of the option syntax out. */
static bool id_ok(const char *s)
{
	static const char tail[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
	size_t len = strlen(s);

	return len >= 1 && len < 64 && strchr(tail, s[0]) - tail < 52 && strspn(s, tail) == len;
}

static int check(const struct qemu_args_options *o, struct err *err)
{
	if (o->bus && !id_ok(o->bus))
		return err_set(
			err, EINVAL, "bus",
			"a bus is the id of a pcie-root-port: a letter, then letters, digits, '-', '.', '_'");
	if (o->memory && !memory_ok(o->memory))
		return err_set(err, EINVAL, "memory", "memory is a size such as 512M or 4G");
	if (o->hotplug_ports > MAX_HOTPLUG_PORTS)
		return err_set(err, EINVAL, "hotplug_ports", "at most %d ports for hot-plug are possible",
			       MAX_HOTPLUG_PORTS);
	if (o->chassis > 255)
		return err_set(err, EINVAL, "chassis", "a chassis number is 1 to 255");
	if (!ring_size_ok(o->rx_queue_size))
		return err_set(err, EINVAL, "rx_queue_size", "QEMU takes queue sizes of 256, 512 and 1024");
	if (!ring_size_ok(o->tx_queue_size))
		return err_set(err, EINVAL, "tx_queue_size", "QEMU takes queue sizes of 256, 512 and 1024");
	return 0;
}

int qemu_args(const struct pf_settings *pf, const struct qemu_function *functions, const char *key_file,
	      const struct qemu_args_options *options, json_t **ret, struct err *err)
{
	static const struct qemu_args_options defaults = {};
	const struct qemu_args_options *o = options ? options : &defaults;
	struct words w = {.array = json_array()};
	char port[QEMU_ID_MAX];
	const char *bus = o->bus;
	int r = check(o, err);

	if (r < 0) {
		json_decref(w.array);
		return r;
	}
	if (o->memory)
		add_memory(&w, o->memory);
	/* A path, not the key itself: every user can read command lines. */
	if (key_file)
		add_pair(&w, "-smbios",
			 object_word(json_pack("{s:s, s:s}", "type", "type=11", "path", key_file), "type"));
	/* PCIe-native hot-plug: ACPI's, the default of q35, cannot unplug VFs (see qemu/plug.c). */
	add_pair(&w, "-global", json_string("ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"));
	if (!bus) {
		snprintf(port, sizeof(port), "vpf-%s-port", pf->name);
		bus = port;
		add_port(&w, pf->name, o, 0, pf->vfs);
	}
	/* VFs before their PF: QEMU collects them under the PF's id, and refuses a VF whose PF already
	 * exists. */
	for (unsigned int i = 1; !o->without_pf && i <= pf->vfs + 1; i++) {
		unsigned int fn = i <= pf->vfs ? i : VPF_FUNCTION_PF;

		add_chardev(&w, pf, fn, functions[fn].socket);
		add_pair(&w, "-netdev", object_word(qemu_netdev_json(pf, fn), "type"));
		add_pair(&w, "-device",
			 object_word(qemu_device_json(pf, fn, &functions[fn], bus, o), "driver"));
	}
	for (unsigned int i = 1; i <= o->hotplug_ports; i++)
		add_port(&w, pf->name, o, i, VPF_MAX_VFS);
	if (w.failed) {
		json_decref(w.array);
		return err_set(err, ENOMEM, "", "out of memory");
	}
	*ret = w.array;
	return 0;
}
