/* SPDX-License-Identifier: Apache-2.0 */

#include "vdpa_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "datapath/vdpa/vdpa_pool.h"
#include "types_env.h"

const uint8_t dv_mac[6] = {0x52, 0x54, 0, 0, 0, 7};

static void on_prepared(void *ctx, int r, const char *why)
{
	struct dv_owner *o = ctx;

	o->prepared++;
	o->prepared_r = r;
	snprintf(o->why, sizeof(o->why), "%s", why ? why : "");
}

static void on_started(void *ctx, int r, const char *why)
{
	struct dv_owner *o = ctx;

	o->started++;
	o->started_r = r;
	snprintf(o->why, sizeof(o->why), "%s", why ? why : "");
}

static void on_stopped(void *ctx)
{
	((struct dv_owner *)ctx)->stopped++;
}

static void on_failed(void *ctx, const char *why)
{
	struct dv_owner *o = ctx;

	o->failed++;
	snprintf(o->why, sizeof(o->why), "%s", why);
}

static void on_doorbell(void *ctx, unsigned int queue, int fd, uint64_t offset, uint64_t size)
{
	struct dv_owner *o = ctx;

	if (fd < 0) {
		o->taken++;
		return;
	}
	assert_int_equal(size, 4096);
	o->given++;
	o->offset[queue] = offset;
}

static const struct datapath_events events = {
	.prepared = on_prepared,
	.started = on_started,
	.stopped = on_stopped,
	.failed = on_failed,
	.doorbell = on_doorbell,
};

uint64_t dv_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void dv_await_ms(struct dv_env *e, const unsigned int *counter, unsigned int n, unsigned int ms)
{
	uint64_t end = dv_now_ms() + ms;

	while (*counter < n && dv_now_ms() < end)
		assert_true(sd_event_run(e->event, 100000) >= 0);
	assert_int_equal(*counter, n);
}

void dv_await(struct dv_env *e, const unsigned int *counter, unsigned int n)
{
	dv_await_ms(e, counter, n, 10000);
}

int dv_add_region(struct guest_mem **mem, uint64_t gpa, uint64_t size)
{
	_cleanup_close_ int fd = memfd_create("guest", MFD_CLOEXEC);
	struct guest_mem *more;
	int r;

	assert_return_code(ftruncate(fd, (off_t)size), errno);
	r = guest_mem_add(*mem, gpa, size, gpa, 0, fd, &more);
	if (r >= 0) {
		guest_mem_unref(*mem);
		*mem = more;
	}
	return r;
}

static bool all_closed(void)
{
	for (unsigned int i = 0; i < FAKE_VDPA_DEVICES; i++)
		if (fake_kernel->dev[i].there && fake_kernel->dev[i].fd >= 0)
			return false;
	return fake_kernel->created == fake_kernel->deleted;
}

int dv_setup(void **state)
{
	struct dv_env *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	*state = e;
	fake_vdpa_setup(state);
	assert_return_code(sd_event_new(&e->event), 0);
	e->d = fake_vdpa_add("v0", "vhost_vdpa");
	assert_return_code(dv_add_region(&e->mem, DV_GPA, DV_MEM_SIZE), 0);
	e->callfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	e->kickfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return 0;
}

int dv_teardown(void **state)
{
	struct dv_env *e = *state;
	char pf[VPF_NAME_MAX];
	unsigned int fn;

	if (e->o.dp)
		e->o.dp->ops->close(e->o.dp);
	DV_AWAIT(e, all_closed());
	for (unsigned int i = 0; i < 100 && vdpa_pool_user("v0", pf, &fn); i++)
		sd_event_run(e->event, 10000);
	assert_false(vdpa_pool_user("v0", pf, &fn));
	guest_mem_unref(e->mem);
	close(e->callfd);
	close(e->kickfd);
	sd_event_unref(e->event);
	free(e);
	return fake_vdpa_teardown(state);
}

void dv_open_as(struct dv_env *e, struct dv_owner *o, const char *path, const char *mgmtdev,
		unsigned int pairs, unsigned int fn)
{
	struct datapath_pref pref = {.type = &datapath_type_vdpa};
	struct datapath_open args = {.event = e->event,
				     .pref = &pref,
				     .pf = "pf0",
				     .fn = fn,
				     .queue_pairs = pairs,
				     .mtu = 1500,
				     .events = &events,
				     .ctx = o};

	memcpy(args.mac, dv_mac, 6);
	set_param(&pref.params, &datapath_type_vdpa.base, "device", path);
	set_param(&pref.params, &datapath_type_vdpa.base, "mgmtdev", mgmtdev);
	assert_return_code(datapath_vdpa.open(&args, &o->dp, NULL), 0);
}

void dv_prepare(struct dv_env *e, uint64_t features, int expected)
{
	struct dv_owner *o = &e->o;
	unsigned int n = o->prepared;

	o->dp->ops->prepare(o->dp, features, e->mem);
	dv_await(e, &o->prepared, n + 1);
	if (o->prepared_r != expected)
		print_message("%s\n", o->why);
	assert_int_equal(o->prepared_r, expected);
}

void dv_begin(struct dv_env *e, unsigned int n, uint16_t at, bool enabled)
{
	struct dv_owner *o = &e->o;

	for (unsigned int i = 0; i < n; i++) {
		uint8_t *base = guest_mem_gpa_exact(e->mem, DV_GPA + i * 0x10000, 0x10000);
		struct vring_used *used = (struct vring_used *)(void *)(base + 0x8000);

		used->idx = at;
		o->queue[i] = (struct vhost_queue){.index = i,
						   .size = 128,
						   .features = DV_FEATURES,
						   .enabled = enabled,
						   .desc = base,
						   .driver = base + 0x4000,
						   .device = base + 0x8000,
						   .avail_idx = at,
						   .used_idx = at,
						   .kickfd = e->kickfd,
						   .callfd = e->callfd,
						   .errfd = -1,
						   .mem = e->mem};
		o->ring[i] = (struct datapath_ring){.queue = &o->queue[i], .avail_idx = at, .used_idx = at};
	}
	o->dp->ops->start(o->dp, o->ring, n);
}

void dv_start(struct dv_env *e, unsigned int n, uint16_t at)
{
	unsigned int before = e->o.started;

	dv_begin(e, n, at, true);
	dv_await(e, &e->o.started, before + 1);
	if (e->o.started_r)
		print_message("%s\n", e->o.why);
	assert_int_equal(e->o.started_r, 0);
}

void dv_use(struct dv_env *e, unsigned int queue, uint16_t idx)
{
	((struct vring_used *)e->o.queue[queue].device)->idx = idx;
}

void dv_stop(struct dv_env *e)
{
	unsigned int before = e->o.stopped;

	e->o.dp->ops->stop(e->o.dp);
	dv_await(e, &e->o.stopped, before + 1);
}

const struct fake_map *dv_mapped(const struct dv_env *e, uint64_t iova)
{
	for (unsigned int i = 0; i < e->d->n_map; i++)
		if (e->d->map[i].iova == iova)
			return &e->d->map[i];
	return NULL;
}
