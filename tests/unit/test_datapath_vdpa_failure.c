/* SPDX-License-Identifier: Apache-2.0 */

/* The vdpa datapath with devices that refuse, hang, go away, or want a reset. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/eventfd.h>
#include <unistd.h>

#include "util/eventfd.h"
#include "vdpa_env.h"

static void test_deaf_to_status(void **state)
{
	struct dv_env *e = *state;

	e->d->deaf_status = VIRTIO_CONFIG_S_DRIVER_OK;
	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	dv_begin(e, 2, 0, true);
	dv_await(e, &e->o.started, 1);
	assert_int_equal(e->o.started_r, -EIO);
	assert_string_equal(e->o.why, "vDPA device v0 does not start");
	e->o.dp->ops->close(e->o.dp);
	e->o.dp = NULL;
	DV_AWAIT(e, e->d->fd < 0);
}

static void test_refused_ioctl(void **state)
{
	struct dv_env *e = *state;
	static const unsigned long prepare_requests[] = {
		VHOST_SET_OWNER,
		VHOST_GET_FEATURES,
		VHOST_VDPA_GET_DEVICE_ID,
		VHOST_SET_BACKEND_FEATURES,
		VHOST_SET_FEATURES,
		VHOST_VDPA_SET_STATUS,
		VHOST_VDPA_SET_CONFIG_CALL,
		VHOST_VDPA_GET_VRING_NUM,
	};
	static const unsigned long start_requests[] = {
		VHOST_SET_VRING_NUM,  VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR,
		VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL, VHOST_VDPA_SET_VRING_ENABLE,
	};
	struct dv_owner *o = &e->o;

	e->d->refuse_errno = EPERM;
	for (unsigned int i = 0; i < ARRAY_SIZE(prepare_requests); i++) {
		e->d->refuse = prepare_requests[i];
		dv_open_as(e, o, "v0", "", 1, 0);
		o->dp->ops->prepare(o->dp, DV_FEATURES, e->mem);
		dv_await(e, &o->prepared, i + 1);
		assert_true(o->prepared_r < 0 && *o->why);
		o->dp->ops->close(o->dp);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(start_requests); i++) {
		e->d->refuse = 0;
		DV_AWAIT(e, e->d->fd < 0);
		dv_open_as(e, o, "v0", "", 1, 0);
		for (;;) { /* the one before may be about to go */
			unsigned int n = o->prepared;

			o->dp->ops->prepare(o->dp, DV_FEATURES, e->mem);
			dv_await(e, &o->prepared, n + 1);
			if (o->prepared_r != -EBUSY)
				break;
			o->dp->ops->close(o->dp);
			dv_open_as(e, o, "v0", "", 1, 0);
		}
		assert_int_equal(o->prepared_r, 0);
		e->d->refuse = start_requests[i];
		dv_begin(e, 2, 77, true);
		dv_await(e, &o->started, i + 1);
		assert_int_equal(o->started_r, -EPERM);
		assert_int_equal(o->ring[1].avail_idx, 77);
		assert_int_equal(e->d->status & VIRTIO_CONFIG_S_DRIVER_OK, 0);
		o->dp->ops->close(o->dp);
	}
	o->dp = NULL;
	e->d->refuse = 0;
}

static void test_hangs_in_prepare(void **state)
{
	struct dv_env *e = *state;
	uint64_t before = dv_now_ms();

	e->d->hang = VHOST_VDPA_SET_STATUS;
	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, -ETIMEDOUT);
	assert_in_range(dv_now_ms() - before, 2500, DV_PATIENCE_MS);
	e->o.dp->ops->close(e->o.dp); /* at once */
	e->o.dp = NULL;
	pthread_mutex_lock(&fake_kernel->lock);
	e->d->hang = 0;
	pthread_cond_broadcast(&fake_kernel->changed);
	pthread_mutex_unlock(&fake_kernel->lock);
	DV_AWAIT(e, e->d->fd < 0);
	assert_int_equal(e->o.prepared, 1);
}

static void test_hangs_in_stop(void **state)
{
	struct dv_env *e = *state;
	uint64_t before;

	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	dv_start(e, 2, 0);
	dv_use(e, 0, 6);
	e->d->hang = VHOST_VDPA_SUSPEND;
	before = dv_now_ms();
	dv_stop(e);
	assert_in_range(dv_now_ms() - before, 900, DV_PATIENCE_MS);
	assert_int_equal(e->o.ring[0].avail_idx, 6);
	dv_prepare(e, DV_FEATURES, -EIO); /* of no use any more */
	pthread_mutex_lock(&fake_kernel->lock);
	e->d->hang = 0;
	pthread_cond_broadcast(&fake_kernel->changed);
	pthread_mutex_unlock(&fake_kernel->lock);
}

static void test_removed(void **state)
{
	struct dv_env *e = *state;

	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	dv_start(e, 2, 0);
	dv_use(e, 1, 2);
	assert_return_code(unlink(e->d->node), errno);
	dv_await(e, &e->o.failed, 1);
	assert_string_equal(e->o.why, "the vDPA device was removed");
	assert_int_equal(e->o.ring[1].avail_idx, 2);
}

static void test_removed_while_prepared(void **state)
{
	struct dv_env *e = *state;

	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	assert_return_code(unlink(e->d->node), errno);
	dv_await(e, &e->o.failed, 1);
}

static void test_needs_reset(void **state)
{
	struct dv_env *e = *state;

	dv_open_as(e, &e->o, "v0", "", 1, 0);
	dv_prepare(e, DV_FEATURES, 0);
	dv_start(e, 2, 0);
	pthread_mutex_lock(&fake_kernel->lock);
	(void)signal_eventfd(e->d->configfd); /* something changed: nothing to worry about */
	pthread_mutex_unlock(&fake_kernel->lock);
	for (unsigned int i = 0; i < 20; i++)
		sd_event_run(e->event, 1000);
	assert_int_equal(e->o.failed, 0);
	pthread_mutex_lock(&fake_kernel->lock);
	e->d->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	(void)signal_eventfd(e->d->configfd);
	pthread_mutex_unlock(&fake_kernel->lock);
	dv_await(e, &e->o.failed, 1);
	assert_string_equal(e->o.why, "vDPA device v0 needs a reset");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, dv_setup, dv_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_deaf_to_status), TEST(test_refused_ioctl), TEST(test_hangs_in_prepare),
		TEST(test_hangs_in_stop),  TEST(test_removed),       TEST(test_removed_while_prepared),
		TEST(test_needs_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
