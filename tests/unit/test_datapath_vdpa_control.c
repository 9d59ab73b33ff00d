/* SPDX-License-Identifier: Apache-2.0 */

/* The vdpa datapath's own control queue, and what it sets with it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "vdpa_env.h"

static void test_control_in_its_own_space(void **state)
{
	struct dv_env *e = *state;

	dv_open_as(e, &e->o, "v0", "", 1, 0);
	e->d->vqs = 3; /* the control queue is the last, in a group of its own */
	dv_prepare(e, DV_FEATURES, 0);
	assert_int_equal(e->d->asid[1], 1);
	assert_int_equal(e->d->n_map, 2);
	assert_int_equal(e->d->map[1].asid, 1);
	dv_start(e, 2, 0);
	assert_non_null(fake_vdpa_command(e->d, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET));
	dv_stop(e);
}

static void test_control_beside_guest_memory(void **state)
{
	struct dv_env *e = *state;

	e->d->groups = 1;
	e->d->last = 2 * DV_GPA;
	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	assert_int_equal(e->d->n_map, 2);
	assert_int_equal(e->d->map[1].asid, 0);
	dv_start(e, 2, 0);
	dv_stop(e);
	/* Memory comes to where the control queue was: it moves. */
	assert_return_code(dv_add_region(&e->mem, e->d->map[1].iova, 0x200000), 0);
	dv_prepare(e, DV_FEATURES, 0);
	assert_int_equal(e->d->n_map, 3);
	dv_start(e, 2, 0);
	dv_stop(e);
}

static void test_no_control_queue(void **state)
{
	struct dv_env *e = *state;

	e->d->features &= ~(VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) | VIRTIO_BIT(VIRTIO_NET_F_MQ));
	e->d->vqs = 2;
	e->d->doorbells = false;
	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	assert_int_equal(e->d->n_map, 1);
	dv_start(e, 2, 0);
	assert_int_equal(e->d->n_command, 0);
	assert_int_equal(e->o.given, 0);
	dv_stop(e);
}

static void test_settings(void **state)
{
	struct dv_env *e = *state;
	struct rx_filter filter = {.known = true, .promiscuous = true, .multicast_n = 1};
	struct function_settings s;
	const struct fake_command *c;
	unsigned int n;

	function_settings_init(&s);
	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	dv_start(e, 2, 0);
	memcpy(filter.main_mac, (uint8_t[]){2, 0, 0, 0, 0, 1}, 6);
	memcpy(filter.multicast[0], (uint8_t[]){1, 0, 0x5e, 0, 0, 9}, 6);
	e->o.dp->ops->set(e->o.dp, &s, &filter);
	DV_AWAIT(e, (c = fake_vdpa_command(e->d, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET)) &&
			    memcmp(c->data, filter.main_mac, 6) == 0);
	c = fake_vdpa_command(e->d, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET);
	assert_int_equal(c->len, 4 + 4 + 6);
	assert_memory_equal(c->data + 8, filter.multicast[0], 6);
	assert_int_equal(fake_vdpa_command(e->d, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI)->data[0],
			 0);
	assert_int_equal(fake_vdpa_command(e->d, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC)->data[0], 0);
	s.trust = true;
	s.vlan.mode = VLAN_TRUNK;
	s.vlan.trunk[0] = 1u << 10 | 1;
	e->o.dp->ops->set(e->o.dp, &s, &filter);
	DV_AWAIT(e, fake_vdpa_command(e->d, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC)->data[0] == 1);
	assert_int_equal(fake_vdpa_command(e->d, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD)->data[0],
			 10);
	/* What is the same already is not asked for again. */
	n = e->d->n_command;
	s.vlan.trunk[0] = 1u << 11;
	e->o.dp->ops->set(e->o.dp, &s, &filter);
	DV_AWAIT(e, e->d->n_command == n + 2);
	assert_int_equal(fake_vdpa_command(e->d, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL)->data[0],
			 10);
	dv_stop(e);
}

static void test_control_refuses(void **state)
{
	struct dv_env *e = *state;

	e->d->deaf_class = VIRTIO_NET_CTRL_MAC;
	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	dv_begin(e, 2, 9, true);
	dv_await(e, &e->o.started, 1);
	assert_int_equal(e->o.started_r, -EIO);
	assert_string_equal(e->o.why, "the device refuses the MAC table");
	assert_int_equal(e->o.ring[0].avail_idx, 9);
	assert_int_equal(e->d->status, 0); /* it touches nothing any more */
}

static void test_control_mute(void **state)
{
	struct dv_env *e = *state;

	e->d->mute = true;
	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	dv_begin(e, 2, 9, true);
	dv_await(e, &e->o.started, 1);
	assert_int_equal(e->o.started_r, -ETIMEDOUT);
	assert_non_null(strstr(e->o.why, "does not answer"));
}

static void test_refused_later(void **state)
{
	struct dv_env *e = *state;
	struct rx_filter filter = {.known = true};
	struct function_settings s;

	function_settings_init(&s);
	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	dv_start(e, 2, 0);
	dv_use(e, 0, 4);
	e->d->deaf_class = VIRTIO_NET_CTRL_RX;
	e->o.dp->ops->set(e->o.dp, &s, &filter);
	dv_await(e, &e->o.failed, 1);
	assert_string_equal(e->o.why, "the device refuses the receive mode");
	assert_int_equal(e->d->suspends, 1);
	assert_int_equal(e->o.ring[0].avail_idx, 4);
	assert_int_equal(e->o.taken, e->o.given);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, dv_setup, dv_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_control_in_its_own_space),
		TEST(test_control_beside_guest_memory),
		TEST(test_no_control_queue),
		TEST(test_settings),
		TEST(test_control_refuses),
		TEST(test_control_mute),
		TEST(test_refused_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
