/* SPDX-License-Identifier: Apache-2.0 */

#include "dvu_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "vhost/guest_map.h"
#include "vu_env.h"

#define BASE_GPA (UINT64_C(1) << 30)

uint64_t dvu_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void note(struct dvu *i, const char *why)
{
	snprintf(i->why, sizeof(i->why), "%s", why ? why : "");
}

static void on_prepared(void *ctx, int r, const char *why)
{
	struct dvu *i = ctx;

	i->prepared++;
	i->prepared_r = r;
	note(i, why);
}

static void on_started(void *ctx, int r, const char *why)
{
	struct dvu *i = ctx;

	i->started++;
	i->started_r = r;
	note(i, why);
}

static void on_stopped(void *ctx)
{
	((struct dvu *)ctx)->stopped++;
}

static void on_failed(void *ctx, const char *why)
{
	struct dvu *i = ctx;

	i->failed++;
	note(i, why);
}

static void on_ring_error(void *ctx, unsigned int queue, const char *why)
{
	struct dvu *i = ctx;

	i->ring_errors++;
	i->ring_error_queue = queue;
	note(i, why);
}

static const struct datapath_events events = {
	.prepared = on_prepared,
	.started = on_started,
	.stopped = on_stopped,
	.failed = on_failed,
	.ring_error = on_ring_error,
};

int dvu_setup(void **state)
{
	struct dvu_env *e = calloc(1, sizeof(*e));
	struct stat st;

	assert_non_null(e);
	*state = e;
	e->fds = vu_env_count_fds();
	e->maps = vu_env_count_maps("memfd:");
	strcpy(e->dir, "/tmp/dvu-test-XXXXXX");
	assert_non_null(mkdtemp(e->dir));
	snprintf(e->path, sizeof(e->path), "%s/sock", e->dir);
	assert_true(sd_event_new(&e->event) >= 0);
	e->mem_fd = memfd_create("guest", MFD_CLOEXEC);
	assert_true(e->mem_fd >= 0 && ftruncate(e->mem_fd, 2 * DVU_MEM_SIZE) == 0 &&
		    fstat(e->mem_fd, &st) == 0);
	e->mem_ino = st.st_ino;
	/* Not at the file's beginning, and with a virtual address that is not the guest's. */
	assert_int_equal(
		guest_mem_add(NULL, BASE_GPA, DVU_MEM_SIZE, 0x7f0000000000, 0x1000, e->mem_fd, &e->vm.mem),
		0);
	e->vm.next[0] = BASE_GPA;
	for (unsigned int q = 0; q < DVU_QUEUES; q++)
		vdriver_init(&e->driver[q], &e->vm, 256, DVU_FEATURES, (uint16_t)(1000 * (q + 1)));
	vu_fake_init(&e->b, e->event, e->path);
	return 0;
}

int dvu_teardown(void **state)
{
	struct dvu_env *e = *state;
	int fds = e->fds, maps = e->maps, left;

	dvu_close(&e->i);
	vu_fake_done(&e->b);
	for (unsigned int q = 0; q < DVU_QUEUES; q++)
		vdriver_done(&e->driver[q]);
	guest_mem_unref(e->vm.mem);
	close_fd(&e->mem_fd);
	sd_event_unref(e->event);
	left = rmdir(e->dir);
	if (left)
		print_error("%s is not empty\n", e->dir);
	free(e);
	return left || vu_env_leaks(fds, maps) ? -1 : 0;
}

int dvu_open(struct dvu_env *e, struct dvu *i, const struct datapath_pref *pref, unsigned int queue_pairs,
	     struct err *err)
{
	struct datapath_open args = {
		.event = e->event,
		.pref = pref,
		.pf = "pf0",
		.fn = VPF_FUNCTION_VF(3),
		.queue_pairs = queue_pairs,
		.mac = {2, 0, 0, 0, 0, 7},
		.mtu = 1500,
		.events = &events,
		.ctx = i,
	};

	*i = (struct dvu){0};
	return datapath_vhost_user.open(&args, &i->dp, err);
}

void dvu_open_client(struct dvu_env *e)
{
	struct datapath_pref pref = {.type = &datapath_type_vhost_user};

	snprintf(dvu_params(&pref)->path, sizeof(dvu_params(&pref)->path), "%s", e->path);
	vu_fake_listen(&e->b);
	assert_int_equal(dvu_open(e, &e->i, &pref, 2, NULL), 0);
}

void dvu_close(struct dvu *i)
{
	datapath_vhost_user.close(i->dp);
	i->dp = NULL;
}

void dvu_prepare(struct dvu_env *e)
{
	unsigned int n = e->i.prepared;

	datapath_vhost_user.prepare(e->i.dp, DVU_FEATURES, e->vm.mem);
	assert_true(dvu_wait(e, &e->i.prepared, n + 1, DVU_PATIENCE_MS));
	if (e->i.prepared_r)
		fail_msg("prepared: %s", e->i.why);
}

void dvu_begin(struct dvu_env *e, struct dvu *i, unsigned int n)
{
	for (unsigned int q = 0; q < n; q++) {
		i->queue[q] = vdriver_queue(&e->driver[q], q);
		i->queue[q].used_idx = i->queue[q].avail_idx = e->driver[q].used->idx;
		i->rings[q] =
			(struct datapath_ring){&i->queue[q], i->queue[q].avail_idx, i->queue[q].used_idx};
	}
	datapath_vhost_user.start(i->dp, i->rings, n);
}

void dvu_start(struct dvu_env *e, unsigned int n)
{
	unsigned int before = e->i.started;

	dvu_begin(e, &e->i, n);
	assert_true(dvu_wait(e, &e->i.started, before + 1, DVU_PATIENCE_MS));
	if (e->i.started_r)
		fail_msg("started: %s", e->i.why);
}

void dvu_stop(struct dvu_env *e)
{
	unsigned int n = e->i.stopped;

	datapath_vhost_user.stop(e->i.dp);
	assert_true(dvu_wait(e, &e->i.stopped, n + 1, DVU_PATIENCE_MS));
}

bool dvu_wait(struct dvu_env *e, const unsigned int *counter, unsigned int n, unsigned int ms)
{
	uint64_t end = dvu_now_ms() + ms;

	while (*counter < n && dvu_now_ms() < end)
		assert_true(sd_event_run(e->event, 10000) >= 0);
	return *counter >= n;
}

void dvu_settle(struct dvu_env *e)
{
	while (sd_event_run(e->event, 20000) > 0)
		;
}

void dvu_use(struct dvu_env *e, unsigned int queue, uint16_t idx)
{
	e->driver[queue].avail->idx = idx;
	e->driver[queue].used->idx = idx;
	if (queue < ARRAY_SIZE(e->b.base))
		e->b.base[queue] = idx;
}
