/* SPDX-License-Identifier: Apache-2.0 */

/* Which device the vdpa datapath takes: found, bound, or created; and why none. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "datapath/vdpa/vdpa_pool.h"
#include "vdpa_env.h"

static void test_lacks(void **state)
{
	struct dv_env *e = *state;

	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES | VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4), -EOPNOTSUPP);
	assert_string_equal(e->o.why, "vDPA device v0 lacks HOST_TSO4 (feature bit 11)");
}

/* Of several devices the first that will do is taken. */
static void test_next_will_do(void **state)
{
	struct dv_env *e = *state;
	struct fake_vdpa *other = fake_vdpa_add("v1", "vhost_vdpa");
	char pf[VPF_NAME_MAX];
	unsigned int fn = 0;

	e->d->features &= ~VIRTIO_BIT(VIRTIO_NET_F_CSUM);
	dv_open_as(e, &e->o, "v*", "", 1, 3);
	dv_prepare(e, DV_FEATURES, 0);
	assert_int_equal(e->d->fd, -1);
	assert_true(other->fd >= 0);
	assert_true(vdpa_pool_user("v1", pf, &fn));
	assert_string_equal(pf, "pf0");
	assert_int_equal(fn, VPF_FUNCTION_VF(2));
	assert_false(vdpa_pool_user("v0", pf, &fn));
}

static void test_busy(void **state)
{
	struct dv_env *e = *state;
	struct dv_owner second = {0};

	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	dv_open_as(e, &second, "v*", "", 1, 1);
	second.dp->ops->prepare(second.dp, DV_FEATURES, e->mem);
	dv_await(e, &second.prepared, 1);
	assert_int_equal(second.prepared_r, -EBUSY);
	assert_string_equal(second.why, "the only matching vDPA device is in use");
	second.dp->ops->close(second.dp);
}

static void test_unfit_devices(void **state)
{
	struct dv_env *e = *state;

	e->d->device_id = 2;
	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, -EMEDIUMTYPE);
	assert_non_null(strstr(e->o.why, "not a network device"));
	e->o.dp->ops->close(e->o.dp);
	fake_vdpa_add("w0", "virtio_vdpa");
	dv_open_as(e, &e->o, "w0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, -EBUSY);
	assert_string_equal(e->o.why, "vDPA device w0 is on driver virtio_vdpa");
	e->o.dp->ops->close(e->o.dp);
	dv_open_as(e, &e->o, "x*", "pci*", 1, 0);
	dv_prepare(e, DV_FEATURES, -ENODEV);
	assert_string_equal(
		e->o.why,
		"there is no vDPA device that matches x*, nor one that can be created on management device pci*");
	e->o.dp->ops->close(e->o.dp);
	e->d->device_id = 1;
	dv_open_as(e, &e->o, "v0", "", 2, 0);
	e->d->max_pairs = 1;
	dv_prepare(e, DV_FEATURES | VIRTIO_BIT(VIRTIO_NET_F_MQ), -EOPNOTSUPP);
	assert_string_equal(e->o.why, "vDPA device v0 has 1 queue pairs, and the driver may use 2");
}

static char *written(const char *file)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/sys/%s", fake_kernel->dir, file);
	return scratch_read(path, NULL);
}

static void test_bound(void **state)
{
	struct dv_env *e = *state;
	char *text;

	fake_vdpa_add("u0", NULL);
	dv_open_as(e, &e->o, "u0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	text = written("bus/vdpa/drivers/vhost_vdpa/bind");
	assert_string_equal(text, "u0");
	free(text);
	text = written("devices/u0/driver_override");
	assert_string_equal(text, "vhost_vdpa");
	free(text);
	e->o.dp->ops->close(e->o.dp);
	e->o.dp = NULL;
	for (text = NULL; !text || !*text;) { /* its thread does it */
		free(text);
		sd_event_run(e->event, 1000);
		text = written("bus/vdpa/drivers/vhost_vdpa/unbind");
	}
	assert_string_equal(text, "u0");
	free(text);
}

static void test_created(void **state)
{
	struct dv_env *e = *state;

	fake_kernel->mgmtdev[0] = (struct vdpa_mgmtdev){.name = "pci/0000:3b:00.2", .classes = 1 << 1};
	fake_kernel->mgmtdev[1] = (struct vdpa_mgmtdev){.name = "pci/0000:3b:00.3", .classes = 1 << 2};
	fake_kernel->n_mgmtdev = 2;
	dv_open_as(e, &e->o, "", "pci/*", 2, 5);
	dv_prepare(e, DV_FEATURES, 0);
	assert_int_equal(fake_kernel->created, 1);
	assert_string_equal(fake_kernel->last_new.name, "vpf-pf0-4");
	assert_string_equal(fake_kernel->last_new.mgmtdev, "pci/0000:3b:00.2");
	assert_memory_equal(fake_kernel->last_new.mac, dv_mac, 6);
	assert_int_equal(fake_kernel->last_new.mtu, 1500);
	assert_int_equal(fake_kernel->last_new.pairs, 2);
	assert_true(fake_vdpa_get("vpf-pf0-4")->fd >= 0);
	dv_start(e, 2, 0);
	dv_stop(e);
	e->o.dp->ops->close(e->o.dp);
	e->o.dp = NULL;
	DV_AWAIT(e, fake_kernel->deleted == 1);
	assert_null(fake_vdpa_get("vpf-pf0-4"));
}

/* One that a killed vpfd left is replaced; a management device is asked for less until it agrees. */
static void test_created_anew(void **state)
{
	struct dv_env *e = *state;

	fake_kernel->mgmtdev[0] = (struct vdpa_mgmtdev){.name = "pci/0000:3b:00.2", .classes = 1 << 1};
	fake_kernel->n_mgmtdev = 1;
	fake_kernel->refuse_attrs = 1ull << VDPA_ATTR_DEV_NET_CFG_MTU;
	fake_vdpa_add("vpf-pf0-pf", "vhost_vdpa");
	fake_kernel->created = 1;
	dv_open_as(e, &e->o, "", "pci/0000:3b:00.2", 2, 0);
	dv_prepare(e, DV_FEATURES, 0);
	assert_int_equal(fake_kernel->deleted, 1);
	assert_int_equal(fake_kernel->created, 2);
	assert_int_equal(fake_kernel->last_new.mtu, 0);
	assert_int_equal(fake_kernel->last_new.pairs, 2);
	assert_memory_equal(fake_kernel->last_new.mac, dv_mac, 6);
}

static void test_exhausted(void **state)
{
	struct dv_env *e = *state;

	fake_kernel->mgmtdev[0] = (struct vdpa_mgmtdev){.name = "pci/0000:3b:00.2", .classes = 1 << 1};
	fake_kernel->n_mgmtdev = 1;
	fake_kernel->new_errno = ENOSPC;
	dv_open_as(e, &e->o, "none", "pci/0000:3b:00.2", 1, 0);
	dv_prepare(e, DV_FEATURES, -ENOSPC);
	assert_string_equal(e->o.why, "cannot create vDPA device vpf-pf0-pf: as told");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, dv_setup, dv_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_lacks), TEST(test_next_will_do), TEST(test_busy),         TEST(test_unfit_devices),
		TEST(test_bound), TEST(test_created),      TEST(test_created_anew), TEST(test_exhausted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
