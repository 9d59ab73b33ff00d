/* SPDX-License-Identifier: Apache-2.0 */

/* A virtual PF in QEMU's words. What QEMU makes of them is the system tests' part. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "qemu/qemu_args.h"
#include "qemu/rx_filter.h"

static struct pf_settings pf_of(const char *name, unsigned int vfs, unsigned int queue_pairs)
{
	struct pf_settings pf = {.vfs = vfs, .queue_pairs = queue_pairs, .mtu = 1500};

	strcpy(pf.name, name);
	return pf;
}

static json_t *args_of(const struct pf_settings *pf, const char *dir, const struct qemu_args_options *options)
{
	static struct qemu_function functions[VPF_MAX_FUNCTIONS];
	static char paths[VPF_MAX_FUNCTIONS][200];
	char key_file[200];
	struct err err = {};
	json_t *args = NULL;

	for (unsigned int fn = 0; fn <= pf->vfs; fn++) {
		if (fn == VPF_FUNCTION_PF)
			snprintf(paths[fn], sizeof(paths[fn]), "%s/pf.sock", dir);
		else
			snprintf(paths[fn], sizeof(paths[fn]), "%s/vf%u.sock", dir, fn - 1);
		functions[fn] = (struct qemu_function){.socket = paths[fn],
						       .mac = {0x02, 0xab, 0, 0, 0, (uint8_t)fn}};
	}
	snprintf(key_file, sizeof(key_file), "%s/vm.key", dir);
	if (qemu_args(pf, functions, key_file, options, &args, &err) < 0)
		fail_msg("%s", err.text);
	return args;
}

static void expect_words(json_t *args, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (i >= json_array_size(args))
			fail_msg("word %zu is missing: %s", i, words[i]);
		assert_string_equal(json_string_value(json_array_get(args, i)), words[i]);
	}
	assert_int_equal(json_array_size(args), n);
	json_decref(args);
}

static void test_small(void **state)
{
	static const char *const words[] = {
		"-smbios",
		"type=11,path=/run/vpf/p/vm.key",
		"-global",
		"ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
		"-device",
		"pcie-root-port,id=vpf-p-port,chassis=9,slot=0,mem-reserve=1M,pref64-reserve=1M",
		"-chardev",
		"socket,id=vpf-p-vf0-chr,path=/run/vpf/p/vf0.sock,reconnect-ms=250",
		"-netdev",
		"vhost-user,id=vpf-p-vf0-net,chardev=vpf-p-vf0-chr,queues=1",
		"-device",
		("virtio-net-pci,id=vpf-p-vf0,bus=vpf-p-port,addr=0x0.0x1,sriov-pf=vpf-p-pf,netdev=vpf-p-vf0-"
		 "net,"
		 "mac=02:ab:00:00:00:01,vectors=4,host_mtu=1500,rx_queue_size=256,tx_queue_size=256,"
		 "romfile="),
		"-chardev",
		"socket,id=vpf-p-pf-chr,path=/run/vpf/p/pf.sock,reconnect-ms=250",
		"-netdev",
		"vhost-user,id=vpf-p-pf-net,chardev=vpf-p-pf-chr,queues=1",
		"-device",
		("virtio-net-pci,id=vpf-p-pf,bus=vpf-p-port,addr=0x0.0x0,multifunction=on,netdev=vpf-p-pf-"
		 "net,"
		 "mac=02:ab:00:00:00:00,vectors=4,host_mtu=1500,rx_queue_size=256,tx_queue_size=256,"
		 "romfile="),
	};
	struct pf_settings pf = pf_of("p", 1, 1);

	(void)state;
	expect_words(args_of(&pf, "/run/vpf/p", &(struct qemu_args_options){.chassis = 9}), words,
		     ARRAY_SIZE(words));
}

static void test_options(void **state)
{
	static const char *const words[] = {
		"-m",
		"4G",
		"-object",
		"memory-backend-memfd,id=vpf-mem,size=4G,share=on",
		"-machine",
		"memory-backend=vpf-mem",
		"-smbios",
		"type=11,path=/tmp/a,,b=c,,d/vm.key",
		"-global",
		"ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
		"-chardev",
		"socket,id=vpf-p-pf-chr,path=/tmp/a,,b=c,,d/pf.sock,reconnect-ms=250",
		"-netdev",
		"vhost-user,id=vpf-p-pf-net,chardev=vpf-p-pf-chr,queues=4",
		"-device",
		("virtio-net-pci,id=vpf-p-pf,bus=rp1,addr=0x0.0x0,multifunction=on,netdev=vpf-p-pf-net,"
		 "mac=02:ab:00:00:00:00,mq=on,vectors=10,host_mtu=9000,rx_queue_size=1024,tx_queue_size=512,"
		 "packed=on,"
		 "romfile="),
		"-device",
		"pcie-root-port,id=vpf-p-port1,chassis=7,slot=1,mem-reserve=1M,pref64-reserve=4M",
		"-device",
		"pcie-root-port,id=vpf-p-port2,chassis=7,slot=2,mem-reserve=1M,pref64-reserve=4M",
	};
	struct pf_settings pf = pf_of("p", 0, 4);

	(void)state;
	pf.mtu = 9000;
	expect_words(args_of(&pf, "/tmp/a,b=c,d",
			     &(struct qemu_args_options){.bus = "rp1",
							 .memory = "4G",
							 .hotplug_ports = 2,
							 .chassis = 7,
							 .packed = true,
							 .rx_queue_size = 1024,
							 .tx_queue_size = 512}),
		     words, ARRAY_SIZE(words));
}

/* A VM that will have the PF later: everything that cannot be plugged into it when it runs. */
static void test_without_pf(void **state)
{
	static const char *const words[] = {
		"-m",       "1G",
		"-object",  "memory-backend-memfd,id=vpf-mem,size=1G,share=on",
		"-machine", "memory-backend=vpf-mem",
		"-smbios",  "type=11,path=/run/vpf/p/vm.key",
		"-global",  "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
		"-device",  "pcie-root-port,id=vpf-p-port,chassis=9,slot=0,mem-reserve=1M,pref64-reserve=1M",
		"-device",  "pcie-root-port,id=vpf-p-port1,chassis=9,slot=1,mem-reserve=1M,pref64-reserve=4M",
	};
	struct pf_settings pf = pf_of("p", 3, 1);

	(void)state;
	expect_words(args_of(&pf, "/run/vpf/p",
			     &(struct qemu_args_options){
				     .memory = "1G", .hotplug_ports = 1, .chassis = 9, .without_pf = true}),
		     words, ARRAY_SIZE(words));
	/* A port of one's own: none is made for it. */
	expect_words(
		args_of(&pf, "/run/vpf/p", &(struct qemu_args_options){.bus = "rp1", .without_pf = true}),
		words + 6, 4);
}

/* Without a key, nothing about one. */
static void test_no_key(void **state)
{
	struct qemu_function function = {.socket = "/s"};
	struct pf_settings pf = pf_of("p", 0, 1);
	json_t *args = NULL, *word;
	size_t i;

	(void)state;
	assert_int_equal(qemu_args(&pf, &function, NULL, NULL, &args, NULL), 0);
	json_array_foreach (args, i, word)
		assert_string_not_equal(json_string_value(word), "-smbios");
	json_decref(args);
}

static const char *find_word(const json_t *args, const char *start)
{
	const json_t *word;
	size_t i;

	json_array_foreach (args, i, word) {
		if (strncmp(json_string_value(word), start, strlen(start)) == 0)
			return json_string_value(word);
	}
	fail_msg("no word starts with %s", start);
	return NULL;
}

static void test_most_vfs(void **state)
{
	struct pf_settings pf = pf_of("p", VPF_MAX_VFS, 16);
	json_t *args = args_of(&pf, "/run", NULL);
	const char *last;

	(void)state;
	assert_non_null(strstr(find_word(args, "virtio-net-pci,id=vpf-p-vf6,"), ",addr=0x0.0x7,"));
	assert_non_null(strstr(find_word(args, "virtio-net-pci,id=vpf-p-vf7,"), ",addr=0x1.0x0,"));
	assert_non_null(strstr(find_word(args, "virtio-net-pci,id=vpf-p-vf254,"), ",addr=0x1f.0x7,"));
	assert_non_null(strstr(find_word(args, "virtio-net-pci,id=vpf-p-vf254,"), ",mac=02:ab:00:00:00:ff,"));
	assert_non_null(strstr(find_word(args, "virtio-net-pci,id=vpf-p-vf254,"), ",mq=on,vectors=34,"));
	assert_non_null(strstr(find_word(args, "pcie-root-port"), ",mem-reserve=1M,pref64-reserve=4M"));
	/* The PF comes last: QEMU takes no VF after it. */
	last = json_string_value(json_array_get(args, json_array_size(args) - 1));
	assert_non_null(strstr(last, "id=vpf-p-pf,"));
	assert_int_equal(json_array_size(args), 2 + 2 + 2 + 256 * 6);
	json_decref(args);
}

/* Ports that QEMU would refuse: (chassis, slot) must differ, within one PF and, as far as it can be, between
 * PFs. */
static void test_ports_differ(void **state)
{
	char name[8], seen[200][64], *at;
	unsigned int n = 0;

	(void)state;
	for (unsigned int i = 0; i < 20; i++) {
		struct pf_settings pf;
		const json_t *word;
		json_t *args;
		size_t w;

		snprintf(name, sizeof(name), "pf%u", i);
		pf = pf_of(name, 1, 1);
		args = args_of(&pf, "/run", &(struct qemu_args_options){.hotplug_ports = 4});
		json_array_foreach (args, w, word) {
			unsigned int chassis, slot;

			at = strstr(json_string_value(word), ",chassis=");
			if (!at)
				continue;
			assert_int_equal(sscanf(at, ",chassis=%u,slot=%u", &chassis, &slot), 2);
			assert_in_range(chassis, 1, 255);
			assert_in_range(slot, 0, 0x1fff);
			snprintf(seen[n], sizeof(seen[n]), "%u %u", chassis, slot);
			for (unsigned int j = 0; j < n; j++)
				assert_string_not_equal(seen[n], seen[j]);
			n++;
		}
		json_decref(args);
	}
	assert_int_equal(n, 100);
}

static void test_refused(void **state)
{
	static const struct {
		struct qemu_args_options o;
		const char *field;
	} bad[] = {
		{{.bus = ""}, "bus"},
		{{.bus = "1x"}, "bus"},
		{{.bus = "a,b"}, "bus"},
		{{.bus = "-a"}, "bus"},
		{{.bus = "x12345678901234567890123456789012345678901234567890123456789012345678"}, "bus"},
		{{.memory = "4"}, "memory"},
		{{.memory = "0G"}, "memory"},
		{{.memory = "G"}, "memory"},
		{{.memory = "4GB"}, "memory"},
		{{.memory = "4G,x=y"}, "memory"},
		{{.memory = "99999999999G"}, "memory"},
		{{.memory = ""}, "memory"},
		{{.hotplug_ports = 17}, "hotplug_ports"},
		{{.chassis = 256}, "chassis"},
		{{.rx_queue_size = 128}, "rx_queue_size"},
		{{.rx_queue_size = 2048}, "rx_queue_size"},
		{{.tx_queue_size = 300}, "tx_queue_size"},
	};
	struct qemu_function function = {.socket = "/s"};
	struct pf_settings pf = pf_of("p", 0, 1);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = {};
		json_t *args = NULL;

		assert_int_equal(qemu_args(&pf, &function, NULL, &bad[i].o, &args, &err), -EINVAL);
		assert_string_equal(err.field, bad[i].field);
		assert_null(args);
	}
	assert_int_equal(qemu_args(&pf, &function, NULL, &bad[0].o, NULL, NULL), -EINVAL);
}

static void test_ids(void **state)
{
	static const enum qemu_part parts[] = {QEMU_DEVICE, QEMU_NETDEV, QEMU_CHARDEV};
	static const char *const bad[] = {
		"vpf-p-vf4",  "vpf-p-vf",      "vpf-p-vf00", "vpf-p-vf0x", "vpf-p-vf-1",  "vpf-p-vf0-net",
		"vpf-p-vf0-", "vpf-p-vf99999", "vpf-p",      "vpf-p-pf0",  "vpf-p-PF",    "xvpf-p-pf",
		"vpf-pp-pf",  "vpf--pf",       "",           "vpf-",       "vpf-p-pf-pf",
	};
	char id[QEMU_ID_MAX], name[VPF_NAME_MAX];

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		for (unsigned int fn = 0; fn < VPF_MAX_FUNCTIONS; fn++) {
			qemu_id(id, parts[i], name, fn);
			assert_int_equal(qemu_id_parse(id, parts[i], name, VPF_MAX_FUNCTIONS), fn);
			assert_int_equal(qemu_id_parse(id, parts[i], name, fn), -ENOENT);
			assert_int_equal(qemu_id_parse(id, parts[(i + 1) % 3], name, VPF_MAX_FUNCTIONS),
					 -ENOENT);
		}
	}
	assert_string_equal(qemu_id(id, QEMU_DEVICE, "p", 0), "vpf-p-pf");
	assert_string_equal(qemu_id(id, QEMU_NETDEV, "p", 3), "vpf-p-vf2-net");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(qemu_id_parse(bad[i], QEMU_DEVICE, "p", 4), -ENOENT);
}

static void expect_json(json_t *object, const char *text)
{
	char *dump = json_dumps(object, JSON_COMPACT);

	assert_non_null(dump);
	assert_string_equal(dump, text);
	free(dump);
	json_decref(object);
}

static void test_qmp_arguments(void **state)
{
	struct qemu_function function = {.socket = "/run/a,b", .mac = {2, 0, 0, 0, 0, 0x0f}};
	struct pf_settings pf = pf_of("p", 9, 2);

	(void)state;
	expect_json(qemu_chardev_json(&pf, 9, &function),
		    "{\"id\":\"vpf-p-vf8-chr\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":{\"type\":"
		    "\"unix\","
		    "\"data\":{\"path\":\"/run/a,b\"}},\"server\":false,\"reconnect-ms\":250}}}");
	expect_json(qemu_netdev_json(&pf, 9), "{\"type\":\"vhost-user\",\"id\":\"vpf-p-vf8-net\",\"chardev\":"
					      "\"vpf-p-vf8-chr\",\"queues\":2}");
	expect_json(qemu_device_json(&pf, 9, &function, "rp", NULL),
		    "{\"driver\":\"virtio-net-pci\",\"id\":\"vpf-p-vf8\",\"bus\":\"rp\",\"addr\":\"0x1.0x1\","
		    "\"sriov-pf\":\"vpf-p-pf\",\"netdev\":\"vpf-p-vf8-net\",\"mac\":\"02:00:00:00:00:0f\","
		    "\"mq\":true,"
		    "\"vectors\":6,\"host_mtu\":1500,\"rx_queue_size\":256,\"tx_queue_size\":256,\"romfile\":"
		    "\"\"}");
	expect_json(
		qemu_device_json(&pf, 0, &function, "rp",
				 &(struct qemu_args_options){.packed = true, .rx_queue_size = 512}),
		"{\"driver\":\"virtio-net-pci\",\"id\":\"vpf-p-pf\",\"bus\":\"rp\",\"addr\":\"0x0.0x0\","
		"\"multifunction\":true,\"netdev\":\"vpf-p-pf-net\",\"mac\":\"02:00:00:00:00:0f\",\"mq\":"
		"true,"
		"\"vectors\":6,\"host_mtu\":1500,\"rx_queue_size\":512,\"tx_queue_size\":256,\"packed\":true,"
		"\"romfile\":\"\"}");
}

/* --- rx-filter ----------------------------------------------------------------------------------- */

#define FILTER(promiscuous, unicast, multicast, overflow, table)                                             \
	"[{\"promiscuous\": " promiscuous                                                                    \
	", \"name\": \"n\", \"main-mac\": \"02:00:00:00:0A:0b\", \"unicast\": "                              \
	"\"" unicast "\", \"vlan\": \"normal\", \"vlan-table\": [0, 5], \"unicast-table\": [" table          \
	"], \"multicast\": \"" multicast                                                                     \
	"\", \"multicast-overflow\": false, \"unicast-overflow\": " overflow                                 \
	", \"multicast-table\": [\"33:33:00:00:00:01\"], \"broadcast-allowed\": true}]"

static int parse(const char *text, struct rx_filter *ret)
{
	json_t *json = json_loads(text, 0, NULL);
	int r;

	assert_non_null(json);
	r = rx_filter_parse(json, ret);
	json_decref(json);
	return r;
}

static void test_filter(void **state)
{
	struct rx_filter f, g;

	(void)state;
	assert_int_equal(parse(FILTER("false", "normal", "normal", "false",
				      "\"02:00:00:00:00:01\", \"02:00:00:00:00:02\""),
			       &f),
			 0);
	assert_true(f.known);
	assert_memory_equal(f.main_mac, "\x02\0\0\0\x0a\x0b", 6);
	assert_false(f.promiscuous || f.all_multicast || f.unicast_overflow);
	assert_int_equal(f.unicast_n, 2);
	assert_memory_equal(f.unicast[1], "\x02\0\0\0\0\x02", 6);
	assert_int_equal(parse(FILTER("true", "normal", "all", "true", ""), &g), 0);
	assert_true(g.promiscuous && g.all_multicast && g.unicast_overflow);
	assert_int_equal(g.unicast_n, 0);
	assert_false(rx_filter_equal(&f, &g));
	assert_true(rx_filter_equal(&g, &g));
	assert_int_equal(parse(FILTER("false", "all", "none", "false", ""), &g), 0);
	assert_true(g.promiscuous);
	assert_false(g.all_multicast);
}

static void test_filter_overflow(void **state)
{
	static char text[8192];
	struct rx_filter f;

	(void)state;
	strcpy(text,
	       "[{\"promiscuous\": false, \"main-mac\": \"02:00:00:00:00:00\", \"unicast\": \"normal\", "
	       "\"multicast\": \"normal\", \"unicast-table\": [");
	for (unsigned int i = 0; i < VPF_MAX_DRIVER_MACS + 1; i++)
		snprintf(text + strlen(text), 64, "%s\"02:00:00:00:01:%02x\"", i ? "," : "", i);
	strcat(text, "]}]");
	assert_int_equal(parse(text, &f), 0);
	assert_int_equal(f.unicast_n, VPF_MAX_DRIVER_MACS);
	assert_true(f.unicast_overflow);
}

static void test_filter_lies(void **state)
{
	static const char *const lies[] = {
		"[]",
		"{}",
		"[{}]",
		"[7]",
		"[[]]",
		FILTER("7", "normal", "normal", "false", ""),
		FILTER("false", "normal", "normal", "false", "7"),
		FILTER("false", "normal", "normal", "false", "\"02:00:00:00:00\""),
		FILTER("false", "normal", "normal", "false", "\"02:00:00:00:00:0g\""),
		FILTER("false", "normal", "normal", "false", "\"02-00:00:00:00:00\""),
		FILTER("false", "normal", "normal", "false", "\"02:00:00:00:00:000\""),
	};
	struct rx_filter f, before;

	(void)state;
	memset(&f, 0x5a, sizeof(f)); /* and no byte of it, padding included, may change */
	memcpy(&before, &f, sizeof(f));
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		assert_int_equal(parse(lies[i], &f), -EPROTO);
		assert_memory_equal(&f, &before, sizeof(f));
	}
	assert_int_equal(rx_filter_parse(NULL, &f), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small),           cmocka_unit_test(test_options),
		cmocka_unit_test(test_without_pf),      cmocka_unit_test(test_no_key),
		cmocka_unit_test(test_most_vfs),        cmocka_unit_test(test_ports_differ),
		cmocka_unit_test(test_refused),         cmocka_unit_test(test_ids),
		cmocka_unit_test(test_qmp_arguments),   cmocka_unit_test(test_filter),
		cmocka_unit_test(test_filter_overflow), cmocka_unit_test(test_filter_lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
