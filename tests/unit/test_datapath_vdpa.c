/* SPDX-License-Identifier: Apache-2.0 */

/* The vdpa datapath, driven through its interface: a device that does what it is asked. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "types_env.h"
#include "util/eventfd.h"
#include "vdpa_env.h"

static void test_life(void **state)
{
	struct dv_env *e = *state;
	struct fake_vdpa *d = e->d;
	struct dv_owner *o = &e->o;
	unsigned int batches;

	dv_open_as(e, o, "v*", "", 1, 2);
	dv_prepare(e, DV_FEATURES, 0);
	assert_int_equal(d->status,
			 VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
	assert_true(virtio_has(d->acked, VIRTIO_F_ACCESS_PLATFORM));
	assert_false(virtio_has(d->acked, VIRTIO_NET_F_STATUS)); /* QEMU's */
	assert_false(virtio_has(d->acked, VIRTIO_NET_F_MQ));
	assert_int_equal(dv_mapped(e, DV_GPA)->size, DV_MEM_SIZE);
	assert_ptr_equal(fake_vdpa_at(d, 0, DV_GPA, 1), e->mem->regions[0].hva);
	batches = d->batches;

	dv_start(e, 2, 0xfff0);
	assert_int_equal(d->status & VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(d->vq[0].addr.desc_user_addr, DV_GPA);
	assert_int_equal(d->vq[1].addr.avail_user_addr, DV_GPA + 0x14000);
	assert_int_equal(d->vq[1].addr.used_user_addr, DV_GPA + 0x18000);
	assert_int_equal(d->vq[1].base, 0xfff0);
	assert_int_equal(d->vq[1].num, 128);
	assert_true(d->vq[0].enabled && d->vq[1].enabled && d->vq[0].kick >= 0 && d->vq[0].call >= 0);
	assert_memory_equal(fake_vdpa_command(d, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET)->data,
			    dv_mac, 6);
	assert_int_equal(fake_vdpa_command(d, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC)->data[0], 0);
	assert_int_equal(fake_vdpa_command(d, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI)->data[0], 1);
	assert_int_equal(o->given, 2);
	assert_int_equal(o->offset[1], 4096);

	dv_use(e, 0, 0xfff8);
	dv_use(e, 1, 5); /* beyond the wrap */
	dv_stop(e);
	assert_int_equal(d->suspends, 1);
	assert_int_equal(o->taken, 2);
	assert_int_equal(o->ring[0].avail_idx, 0xfff8);
	assert_int_equal(o->ring[0].used_idx, 0xfff8);
	assert_int_equal(o->ring[1].avail_idx, 5);

	dv_start(e, 2, 5);
	assert_int_equal(d->batches, batches); /* what was mapped stayed */
	assert_int_equal(d->vq[0].base, 5);
	assert_false(d->suspended);
	dv_stop(e);
	assert_int_equal(o->failed, 0);
}

static void test_closed_while_live(void **state)
{
	struct dv_env *e = *state;

	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	dv_start(e, 2, 0);
	e->o.dp->ops->close(e->o.dp);
	e->o.dp = NULL;
	DV_AWAIT(e, e->d->fd < 0);
	assert_int_equal(e->o.stopped + e->o.failed, 0);
}

static void test_other_memory(void **state)
{
	struct dv_env *e = *state;

	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	dv_start(e, 2, 0);
	dv_stop(e);
	assert_return_code(dv_add_region(&e->mem, 4 * DV_GPA, 0x200000), 0);
	dv_prepare(e, DV_FEATURES, 0);
	assert_non_null(dv_mapped(e, 4 * DV_GPA));
	dv_start(e, 2, 0);
	assert_non_null(dv_mapped(e, DV_GPA));
	dv_stop(e);
}

/* Kernels whose devices lose their map with a reset are given it again, the control queue's included. */
static void test_reset_forgets_map(void **state)
{
	struct dv_env *e = *state;
	unsigned int before;

	e->d->backend &= ~VIRTIO_BIT(VHOST_BACKEND_F_IOTLB_PERSIST);
	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	before = e->d->batches;
	dv_start(e, 2, 0);
	dv_stop(e);
	dv_start(e, 2, 0);
	assert_int_equal(e->d->batches, before + 1);
	assert_non_null(dv_mapped(e, DV_GPA));
	assert_int_equal(e->d->n_map, 2);
	dv_stop(e);
}

static void test_without_suspend(void **state)
{
	struct dv_env *e = *state;
	unsigned int resets;

	e->d->backend &= ~VIRTIO_BIT(VHOST_BACKEND_F_SUSPEND);
	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	dv_start(e, 2, 3);
	dv_use(e, 0, 17);
	resets = e->d->resets;
	dv_stop(e);
	assert_int_equal(e->d->suspends, 0);
	assert_true(e->d->resets > resets);
	assert_int_equal(e->o.ring[0].avail_idx, 17);
	assert_int_equal(e->o.ring[1].used_idx, 3);
}

/* A program may answer a reset before it has left the rings: they are given back when it has. */
static void test_vduse(void **state)
{
	struct dv_env *e = *state;
	struct fake_vdpa *d = fake_vdpa_add_vduse("u0");
	unsigned int batches;

	dv_open_as(e, &e->o, "u0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	batches = d->batches;
	dv_start(e, 2, 0);
	dv_use(e, 0, 21);
	dv_stop(e);
	assert_false(d->lingers);
	assert_int_equal(e->o.ring[0].avail_idx, 21);
	dv_start(e, 2, 21);
	assert_int_equal(d->batches, batches); /* its resets leave the map */
	dv_stop(e);
}

/* Memory that a step under way is looking at outlives its replacement. */
static void test_memory_under_way(void **state)
{
	struct dv_env *e = *state;
	struct guest_mem *first = guest_mem_ref(e->mem);

	e->d->hang = VHOST_VDPA_SET_STATUS;
	dv_open_as(e, &e->o, "v0", "", 1, 0);
	e->o.dp->ops->prepare(e->o.dp, DV_FEATURES, e->mem);
	assert_return_code(dv_add_region(&e->mem, 4 * DV_GPA, 0x200000), 0);
	e->o.dp->ops->prepare(e->o.dp, DV_FEATURES, e->mem);
	assert_int_equal(first->refs, 2);
	pthread_mutex_lock(&fake_kernel->lock);
	e->d->hang = 0;
	pthread_cond_broadcast(&fake_kernel->changed);
	pthread_mutex_unlock(&fake_kernel->lock);
	dv_await(e, &e->o.prepared, 1);
	assert_int_equal(first->refs, 1);
	assert_non_null(dv_mapped(e, 4 * DV_GPA));
	guest_mem_unref(first);
}

static void test_enable(void **state)
{
	struct dv_env *e = *state;
	const uint64_t mq = DV_FEATURES | VIRTIO_BIT(VIRTIO_NET_F_MQ);
	struct dv_owner *o = &e->o;

	dv_open_as(e, o, "v0", "", 2, 0);
	dv_prepare(e, mq, 0);
	assert_true(virtio_has(e->d->acked, VIRTIO_NET_F_MQ));
	dv_begin(e, 4, 0, false);
	dv_await(e, &o->started, 1);
	assert_int_equal(e->d->status & VIRTIO_CONFIG_S_DRIVER_OK, 0);
	o->dp->ops->ring_enable(o->dp, 0, true);
	o->dp->ops->ring_enable(o->dp, 1, true);
	DV_AWAIT(e, e->d->status & VIRTIO_CONFIG_S_DRIVER_OK);
	DV_AWAIT(e, fake_vdpa_command(e->d, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET) != NULL);
	assert_int_equal(
		fake_vdpa_command(e->d, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET)->data[0], 1);
	o->dp->ops->ring_enable(o->dp, 2, true);
	o->dp->ops->ring_enable(o->dp, 3, true);
	DV_AWAIT(e,
		 fake_vdpa_command(e->d, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET)->data[0] == 2);
	assert_true(e->d->status & VIRTIO_CONFIG_S_DRIVER_OK);
	/* The first pair off: the device stands still, and goes on where it stood. */
	dv_use(e, 1, 33);
	o->dp->ops->ring_enable(o->dp, 1, false);
	DV_AWAIT(e, !(e->d->status & VIRTIO_CONFIG_S_DRIVER_OK));
	o->dp->ops->ring_enable(o->dp, 1, true);
	DV_AWAIT(e, e->d->status & VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(e->d->vq[1].base, 33);
	dv_stop(e);
	assert_int_equal(o->failed, 0);
}

static void test_ring_call(void **state)
{
	struct dv_env *e = *state;
	_cleanup_close_ int other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t n;

	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	dv_start(e, 2, 0);
	e->o.dp->ops->ring_call(e->o.dp, 1, other);
	DV_AWAIT(e, signal_eventfd(e->d->vq[1].call) >= 0 && read(other, &n, sizeof(n)) == sizeof(n));
	dv_stop(e);
}

/* Stopped before it has started: the start is seen through, then undone; one answer. */
static void test_stopped_while_starting(void **state)
{
	struct dv_env *e = *state;

	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	dv_begin(e, 2, 11, true);
	dv_stop(e);
	assert_int_equal(e->o.started, 0);
	assert_int_equal(e->o.ring[0].avail_idx, 11);
	assert_int_equal(e->o.given, e->o.taken);
	dv_start(e, 2, 11);
	dv_stop(e);
}

static void test_not_for_migration(void **state)
{
	struct dv_env *e = *state;

	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	e->o.queue[0] = (struct vhost_queue){.log = (struct dirty_log *)e, .mem = e->mem};
	e->o.ring[0].queue = &e->o.queue[0];
	e->o.dp->ops->start(e->o.dp, e->o.ring, 1);
	dv_await(e, &e->o.started, 1);
	assert_int_equal(e->o.started_r, -EOPNOTSUPP);
}

static void test_features(void **state)
{

	(void)state;
	struct datapath_pref pref = {.type = &datapath_type_vdpa};
	struct err err = {0};
	uint64_t f;

	set_param(&pref.params, &datapath_type_vdpa.base, "device", "v*");
	f = datapath_vdpa.features(&pref, 1, &err);
	assert_true(virtio_has(f, VIRTIO_F_VERSION_1) && virtio_has(f, VIRTIO_NET_F_CSUM) &&
		    virtio_has(f, VIRTIO_NET_F_STATUS));
	assert_false(virtio_has(f, VIRTIO_NET_F_HOST_TSO4) || virtio_has(f, VIRTIO_F_RING_PACKED) ||
		     virtio_has(f, VIRTIO_F_IN_ORDER) || virtio_has(f, VIRTIO_NET_F_MQ));
	assert_true(virtio_has(datapath_vdpa.features(&pref, 2, &err), VIRTIO_NET_F_MQ));
	assert_false(virtio_has(datapath_vdpa.features(&pref, 8, &err), VIRTIO_NET_F_MQ)); /* 4 at most */
	/* All that match must have it. */
	fake_vdpa_add("v1", "vhost_vdpa")->features &= ~VIRTIO_BIT(VIRTIO_NET_F_CSUM);
	assert_false(virtio_has(datapath_vdpa.features(&pref, 1, &err), VIRTIO_NET_F_CSUM));
	set_param(&pref.params, &datapath_type_vdpa.base, "device", "nothing");
	assert_int_equal(datapath_vdpa.features(&pref, 1, &err), 0);
	assert_string_equal(err.text,
			    "there is no vDPA network device that matches nothing (vpfctl vdpa list)");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, dv_setup, dv_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_life),
		TEST(test_closed_while_live),
		TEST(test_other_memory),
		TEST(test_reset_forgets_map),
		TEST(test_without_suspend),
		TEST(test_vduse),
		TEST(test_memory_under_way),
		TEST(test_enable),
		TEST(test_ring_call),
		TEST(test_stopped_while_starting),
		TEST(test_not_for_migration),
		TEST(test_features),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
