/* SPDX-License-Identifier: Apache-2.0 */

/* Parts of the vdpa datapath that need no device: netlink messages, what is mapped where, what a filter is. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/genetlink.h>
#include <string.h>

#include "datapath/vdpa/vdpa_control.h"
#include "datapath/vdpa/vdpa_iotlb.h"
#include "datapath/vdpa/vdpa_netlink.h"

static struct nlmsghdr *message(char *buf, uint8_t cmd)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct genlmsghdr *genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));

	genl->cmd = cmd;
	return nlh;
}

static const struct nlattr *attribute(const struct nlmsghdr *nlh, unsigned int type)
{
	const struct nlattr *attr, *found = NULL;

	for (attr = mnl_nlmsg_get_payload_offset(nlh, sizeof(struct genlmsghdr));
	     mnl_attr_ok(attr, (int)((const char *)mnl_nlmsg_get_payload_tail(nlh) - (const char *)attr));
	     attr = mnl_attr_next(attr))
		if (mnl_attr_get_type(attr) == type)
			found = attr;
	return found;
}

static void test_new_message(void **state)
{
	char buf[1024] __attribute__((aligned(8)));
	struct nlmsghdr *nlh = message(buf, VDPA_CMD_DEV_NEW);
	struct vdpa_new what = {.name = "vpf-a-1",
				.mgmtdev = "pci/0000:3b:00.2",
				.mac = {2, 1, 2, 3, 4, 5},
				.mtu = 9000,
				.pairs = 4};

	(void)state;
	vdpa_new_build(nlh, &what);
	assert_string_equal(mnl_attr_get_str(attribute(nlh, VDPA_ATTR_DEV_NAME)), "vpf-a-1");
	assert_string_equal(mnl_attr_get_str(attribute(nlh, VDPA_ATTR_MGMTDEV_BUS_NAME)), "pci");
	assert_string_equal(mnl_attr_get_str(attribute(nlh, VDPA_ATTR_MGMTDEV_DEV_NAME)), "0000:3b:00.2");
	assert_int_equal(mnl_attr_get_u16(attribute(nlh, VDPA_ATTR_DEV_NET_CFG_MTU)), 9000);
	assert_int_equal(mnl_attr_get_u16(attribute(nlh, VDPA_ATTR_DEV_NET_CFG_MAX_VQP)), 4);
	assert_memory_equal(mnl_attr_get_payload(attribute(nlh, VDPA_ATTR_DEV_NET_CFG_MACADDR)), what.mac, 6);

	what = (struct vdpa_new){.name = "d0", .mgmtdev = "vduse"};
	nlh = message(buf, VDPA_CMD_DEV_NEW);
	vdpa_new_build(nlh, &what);
	assert_null(attribute(nlh, VDPA_ATTR_MGMTDEV_BUS_NAME));
	assert_null(attribute(nlh, VDPA_ATTR_DEV_NET_CFG_MACADDR));
	assert_null(attribute(nlh, VDPA_ATTR_DEV_NET_CFG_MTU));
	assert_null(attribute(nlh, VDPA_ATTR_DEV_NET_CFG_MAX_VQP));
	assert_string_equal(mnl_attr_get_str(attribute(nlh, VDPA_ATTR_MGMTDEV_DEV_NAME)), "vduse");
}

static void test_list_messages(void **state)
{
	char buf[1024] __attribute__((aligned(8)));
	struct vdpa_netlink_list list = {0};
	struct nlmsghdr *nlh = message(buf, VDPA_CMD_MGMTDEV_NEW);

	(void)state;
	mnl_attr_put_strz(nlh, VDPA_ATTR_MGMTDEV_BUS_NAME, "pci");
	mnl_attr_put_strz(nlh, VDPA_ATTR_MGMTDEV_DEV_NAME, "0000:3b:00.2");
	mnl_attr_put_u64(nlh, VDPA_ATTR_MGMTDEV_SUPPORTED_CLASSES, 2);
	mnl_attr_put_u32(nlh, VDPA_ATTR_DEV_MGMTDEV_MAX_VQS, 65);
	assert_int_equal(vdpa_list_parse(nlh, &list), 0);
	for (unsigned int i = 0; i < 5; i++) {
		char name[] = "d0";

		name[1] = (char)('0' + i);
		nlh = message(buf, VDPA_CMD_DEV_NEW);
		mnl_attr_put_strz(nlh, VDPA_ATTR_DEV_NAME, name);
		mnl_attr_put_strz(nlh, VDPA_ATTR_MGMTDEV_DEV_NAME, "vduse");
		mnl_attr_put_u32(nlh, VDPA_ATTR_DEV_ID, 1);
		mnl_attr_put_u32(nlh, VDPA_ATTR_DEV_MAX_VQS, 2 + i);
		assert_int_equal(vdpa_list_parse(nlh, &list), 0);
	}
	nlh = message(buf, VDPA_CMD_DEV_CONFIG_GET);
	mnl_attr_put_strz(nlh, VDPA_ATTR_DEV_NAME, "d3");
	mnl_attr_put_u16(nlh, VDPA_ATTR_DEV_NET_CFG_MAX_VQP, 7);
	mnl_attr_put_u64(nlh, VDPA_ATTR_VDPA_DEV_SUPPORTED_FEATURES, UINT64_C(0x123456789a));
	assert_int_equal(vdpa_list_parse(nlh, &list), 0);
	assert_int_equal(list.n_mgmtdev, 1);
	assert_string_equal(list.mgmtdev[0].name, "pci/0000:3b:00.2");
	assert_int_equal(list.mgmtdev[0].classes, 2);
	assert_int_equal(list.mgmtdev[0].max_vqs, 65);
	assert_int_equal(list.n_dev, 5);
	assert_string_equal(list.dev[4].name, "d4");
	assert_string_equal(list.dev[4].mgmtdev, "vduse");
	assert_int_equal(list.dev[4].max_vqs, 6);
	assert_int_equal(list.dev[3].max_pairs, 7);
	assert_int_equal(list.dev[3].features, UINT64_C(0x123456789a));
	assert_int_equal(list.dev[2].features, 0);
	vdpa_list_free(&list);
}

static void test_bad_messages(void **state)
{
	char buf[1024] __attribute__((aligned(8))), name[200];
	struct vdpa_netlink_list list = {0};
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	(void)state;
	assert_int_equal(vdpa_list_parse(nlh, &list), -EBADMSG); /* no header of its own */
	nlh = message(buf, VDPA_CMD_DEV_NEW);
	assert_int_equal(vdpa_list_parse(nlh, &list), -EBADMSG); /* no name */
	mnl_attr_put(nlh, VDPA_ATTR_DEV_NAME, 3, "abc");         /* not ended */
	assert_int_equal(vdpa_list_parse(nlh, &list), -EBADMSG);
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	nlh = message(buf, VDPA_CMD_DEV_NEW);
	mnl_attr_put_strz(nlh, VDPA_ATTR_DEV_NAME, name);
	assert_int_equal(vdpa_list_parse(nlh, &list), -EBADMSG);
	nlh = message(buf, VDPA_CMD_MGMTDEV_NEW);
	mnl_attr_put_strz(nlh, VDPA_ATTR_MGMTDEV_BUS_NAME, "pci");
	assert_int_equal(vdpa_list_parse(nlh, &list), -EBADMSG);
	nlh = message(buf, VDPA_CMD_DEV_NEW);
	mnl_attr_put_strz(nlh, VDPA_ATTR_DEV_NAME, "d0");
	mnl_attr_put(nlh, VDPA_ATTR_DEV_ID, 3, "abc"); /* no number: as if it were not there */
	assert_int_equal(vdpa_list_parse(nlh, &list), 0);
	assert_int_equal(list.dev[0].device_id, 0);
	assert_int_equal(list.n_dev, 1);
	vdpa_list_free(&list);
}

#define PAGE 4096u

/* A table without memory behind it. */
static struct guest_mem *table(unsigned int n, const struct guest_mem_region *regions)
{
	struct guest_mem *mem = calloc(1, sizeof(*mem) + n * sizeof(*regions));

	assert_non_null(mem);
	mem->n = n;
	memcpy(mem->regions, regions, n * sizeof(*regions));
	return mem;
}

static void test_map(void **state)
{
	const struct guest_mem_region regions[] = {
		{.gpa = 0, .size = 16 * PAGE, .hva = (uint8_t *)0x10000000},
		{.gpa = 16 * PAGE,
		 .size = 16 * PAGE,
		 .hva = (uint8_t *)0x10000000 + 16 * PAGE},                     /* neighbours on both sides */
		{.gpa = 32 * PAGE, .size = PAGE, .hva = (uint8_t *)0x20000000}, /* on one */
		{.gpa = UINT64_C(1) << 32, .size = PAGE, .hva = (uint8_t *)0x20000000 + PAGE},
	};
	struct guest_mem *mem = table(ARRAY_SIZE(regions), regions), *none = table(0, regions);
	struct vdpa_map *map, *same, *empty;

	(void)state;
	assert_int_equal(vdpa_map_new(mem, 0, UINT64_MAX, &map, NULL), 0);
	assert_int_equal(map->n, 3);
	assert_int_equal(map->range[0].size, 32 * PAGE);
	assert_int_equal(map->range[1].iova, 32 * PAGE);
	assert_int_equal(map->range[2].iova, UINT64_C(1) << 32);
	assert_int_equal(vdpa_map_new(mem, 0, UINT64_MAX, &same, NULL), 0);
	assert_true(vdpa_map_equal(map, same));
	same->range[1].uaddr += PAGE;
	assert_false(vdpa_map_equal(map, same));
	assert_false(vdpa_map_equal(map, NULL));
	assert_true(vdpa_map_equal(NULL, NULL));
	assert_int_equal(vdpa_map_new(none, 0, 0, &empty, NULL), 0);
	assert_int_equal(empty->n, 0);
	free(map);
	free(same);
	free(empty);
	free(mem);
	free(none);
}

static void test_map_refused(void **state)
{
	const struct guest_mem_region odd = {.gpa = 512, .size = PAGE, .hva = (uint8_t *)0x10000000};
	const struct guest_mem_region high = {
		.gpa = UINT64_C(1) << 40, .size = 2 * PAGE, .hva = (uint8_t *)0x10000000};
	struct guest_mem *mem = table(1, &odd);
	struct vdpa_map *map = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(vdpa_map_new(mem, 0, UINT64_MAX, &map, &err), -EINVAL);
	free(mem);
	mem = table(1, &high);
	assert_int_equal(vdpa_map_new(mem, 0, (UINT64_C(1) << 40) + PAGE, &map, &err), -ERANGE);
	assert_non_null(strstr(err.text, "0x10000000000"));
	assert_int_equal(vdpa_map_new(mem, (UINT64_C(1) << 40) + 1, UINT64_MAX, &map, &err), -ERANGE);
	assert_null(map);
	assert_int_equal(vdpa_map_new(mem, 0, (UINT64_C(1) << 40) + 2 * PAGE - 1, &map, &err), 0);
	free(map);
	free(mem);
}

static void test_hole(void **state)
{
	const uint64_t mib = 1 << 20;
	struct vdpa_map *map = calloc(1, sizeof(*map) + 3 * sizeof(map->range[0]));

	(void)state;
	assert_non_null(map);
	assert_int_equal(vdpa_map_hole(NULL, 0, UINT64_MAX, PAGE), 0);
	assert_int_equal(vdpa_map_hole(NULL, 1, UINT64_MAX, PAGE), 2 * mib);
	assert_int_equal(vdpa_map_hole(NULL, 0, PAGE - 2, PAGE), UINT64_MAX);
	map->n = 2;
	map->range[0] = (struct vdpa_range){.iova = 0, .size = 3 * mib};
	map->range[1] = (struct vdpa_range){.iova = 4 * mib, .size = mib};
	assert_int_equal(vdpa_map_hole(map, 0, UINT64_MAX, PAGE),
			 6 * mib); /* [3, 4) has no aligned address */
	map->range[0].size = mib;
	assert_int_equal(vdpa_map_hole(map, 0, UINT64_MAX, PAGE), 2 * mib);
	assert_int_equal(vdpa_map_hole(map, 0, UINT64_MAX, 2 * mib), 2 * mib);
	assert_int_equal(vdpa_map_hole(map, 0, UINT64_MAX, 2 * mib + 1), 6 * mib);
	assert_int_equal(vdpa_map_hole(map, 0, 6 * mib + PAGE - 2, 3 * mib), UINT64_MAX);
	map->range[1] = (struct vdpa_range){.iova = 2 * mib, .size = UINT64_MAX - 2 * mib + 1};
	assert_int_equal(vdpa_map_hole(map, 0, UINT64_MAX, PAGE), UINT64_MAX);
	free(map);
}

static void test_filter(void **state)
{
	static const uint8_t own[6] = {2, 0, 0, 0, 0, 1}, admin[6] = {2, 0, 0, 0, 0, 2},
			     driver[6] = {2, 0, 0, 0, 0, 3};
	struct rx_filter wish = {.known = true, .promiscuous = true, .unicast_n = 1, .multicast_n = 2};
	struct function_settings s;
	struct vdpa_filter f = {.pairs = 3};

	(void)state;
	function_settings_init(&s);
	memcpy(wish.main_mac, driver, 6);
	memcpy(wish.unicast[0], driver, 6);
	/* Nothing known of the driver. */
	vdpa_filter_make(&s, NULL, own, &f);
	assert_memory_equal(f.mac, own, 6);
	assert_true(f.all_multicast && !f.promiscuous && !f.unicast_n);
	assert_int_equal(f.pairs, 3);
	/* Its wishes. */
	vdpa_filter_make(&s, &wish, own, &f);
	assert_memory_equal(f.mac, driver, 6);
	assert_true(!f.all_multicast && !f.promiscuous && f.unicast_n == 1 && f.multicast_n == 2);
	wish.multicast_overflow = true;
	vdpa_filter_make(&s, &wish, own, &f);
	assert_true(f.all_multicast);
	/* Bound by the administrator. */
	memcpy(s.admin_mac, admin, 6);
	vdpa_filter_make(&s, &wish, own, &f);
	assert_memory_equal(f.mac, admin, 6);
	assert_int_equal(f.unicast_n, 0);
	/* Trusted. */
	s.trust = true;
	vdpa_filter_make(&s, &wish, own, &f);
	assert_memory_equal(f.mac, driver, 6);
	assert_true(f.promiscuous && f.unicast_n == 1);
	/* VLANs count in a trunk only. */
	s.vlan.trunk[0] = 8;
	vdpa_filter_make(&s, &wish, own, &f);
	assert_int_equal(f.vlans[0], 0);
	s.vlan.mode = VLAN_TRUNK;
	vdpa_filter_make(&s, &wish, own, &f);
	assert_int_equal(f.vlans[0], 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new_message),  cmocka_unit_test(test_list_messages),
		cmocka_unit_test(test_bad_messages), cmocka_unit_test(test_map),
		cmocka_unit_test(test_map_refused),  cmocka_unit_test(test_hole),
		cmocka_unit_test(test_filter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
