/* SPDX-License-Identifier: Apache-2.0 */

#include "vu_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/eventfd.h"
#include "util/log.h"
#include "vhost/guest_map.h"
#include "vhost/ring_record.h"

static void on_connected(void *ctx, pid_t peer)
{
	struct vu_env *e = ctx;

	assert_int_equal(peer, getpid());
	e->connects++;
}

static void on_disconnected(void *ctx, const char *why)
{
	struct vu_env *e = ctx;

	e->disconnects++;
	snprintf(e->why, sizeof(e->why), "%s", why ? why : "");
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
		assert_null(e->q[i].q);
	if (e->free_in_disconnected)
		vhost_user_free(steal_ptr(&e->vu));
}

static int on_start(void *ctx, const struct vhost_queue *q)
{
	struct vu_env *e = ctx;
	struct vu_env_queue *r = &e->q[q->index];

	assert_null(r->q);
	if (e->start_result < 0)
		return e->start_result;
	r->q = q;
	r->copy = *q;
	r->starts++;
	if (e->later)
		assert_true(sd_event_source_set_enabled(e->later, SD_EVENT_ONESHOT) >= 0);
	if (e->disconnect_in_start)
		vhost_user_disconnect(e->vu, "the owner does not like it");
	return 0;
}

static void on_stop(void *ctx, unsigned int index, uint16_t *ret_avail_idx, uint16_t *ret_used_idx)
{
	struct vu_env *e = ctx;
	struct vu_env_queue *r = &e->q[index];

	assert_non_null(r->q);
	*ret_avail_idx = r->moved ? r->avail_idx : r->q->avail_idx;
	*ret_used_idx = r->moved ? r->used_idx : r->q->used_idx;
	r->q = NULL;
	r->stops++;
}

static bool on_quiesce(void *ctx, int index)
{
	struct vu_env *e = ctx;
	bool started = false;

	for (int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
		started |= (index < 0 || index == i) && e->q[i].q;
	assert_true(started);
	e->asks++;
	e->asked = index;
	if (e->resume_in_quiesce)
		vhost_user_resume(e->vu);
	if (e->disconnect_in_quiesce)
		vhost_user_disconnect(e->vu, "the owner does not like it");
	return !e->hold;
}

static void on_enable(void *ctx, unsigned int index, bool enable)
{
	struct vu_env *e = ctx;

	assert_non_null(e->q[index].q);
	assert_int_equal(e->q[index].q->enabled, enable);
	e->q[index].enabled = enable;
}

static void on_call(void *ctx, unsigned int index, int callfd)
{
	struct vu_env *e = ctx;

	assert_non_null(e->q[index].q);
	assert_int_equal(e->q[index].q->callfd, callfd);
	e->q[index].callfd = callfd;
}

static void on_mtu(void *ctx, uint16_t mtu)
{
	((struct vu_env *)ctx)->mtu = mtu;
}

static void on_rarp(void *ctx, const uint8_t mac[6])
{
	struct vu_env *e = ctx;

	e->rarps++;
	memcpy(e->mac, mac, 6);
}

static void on_status(void *ctx, uint8_t status)
{
	((struct vu_env *)ctx)->status = status;
}

static void on_event(void *ctx, int level, const char *text)
{
	struct vu_env *e = ctx;

	e->events++;
	e->errors += level == LOG_LVL_ERR;
	snprintf(e->text, sizeof(e->text), "%s", text);
}

static const struct vhost_user_ops ops = {
	.connected = on_connected,
	.disconnected = on_disconnected,
	.queue_start = on_start,
	.queue_stop = on_stop,
	.quiesce = on_quiesce,
	.queue_enable = on_enable,
	.queue_call = on_call,
	.set_mtu = on_mtu,
	.send_rarp = on_rarp,
	.set_status = on_status,
	.event = on_event,
};

int vu_env_count_fds(void)
{
	DIR *d;
	int n = 0;

	assert_int_equal(signal_eventfd_prepare(), 0); /* which keeps some for as long as the process lives */
	d = opendir("/proc/self/fd");
	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - (guest_map_fault_fd() >= 0); /* that one stays for good */
}

int vu_env_count_maps(const char *name)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	int n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, name) != NULL;
	fclose(f);
	return n;
}

void vu_env_pump(void *env)
{
	struct vu_env *e = env;
	int r;

	do {
		r = sd_event_run(e->event, 0);
	} while (r > 0);
	assert_true(r >= 0);
}

int vu_env_new_device(struct vu_env *e, unsigned int queue_pairs, uint64_t features)
{
	struct vhost_user_config config = {
		.path = e->path,
		.mode = 0600,
		.group = (gid_t)-1,
		.features = features,
		.queue_pairs = queue_pairs,
		.ops = &ops,
		.ctx = e,
	};

	return vhost_user_new(e->event, &config, &e->vu, NULL);
}

int vu_env_setup(void **state)
{
	struct vu_env *e = calloc(1, sizeof(*e));

	if (!e)
		return -1;
	e->fds = vu_env_count_fds();
	e->maps = vu_env_count_maps("memfd:");
	e->status = e->mtu = -1;
	e->asked = -2;
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++) {
		e->q[i].enabled = -1;
		e->q[i].callfd = -2;
	}
	strcpy(e->dir, "/tmp/vu-test-XXXXXX");
	if (!mkdtemp(e->dir) || sd_event_new(&e->event) < 0)
		return -1;
	snprintf(e->path, sizeof(e->path), "%s/sock", e->dir);
	vu_client_init(&e->c, vu_env_pump, e);
	if (vu_env_new_device(e, 2, F_VERSION_1 | F_EVENT_IDX | F_PACKED) < 0)
		return -1;
	*state = e;
	return 0;
}

bool vu_env_leaks(int fds, int maps)
{
	int more_fds = vu_env_count_fds() - fds, more_maps = vu_env_count_maps("memfd:") - maps;

	if (more_fds)
		print_error("%d descriptors left\n", more_fds);
	if (more_maps)
		print_error("%d mappings left\n", more_maps);
	return more_fds || more_maps;
}

int vu_env_teardown(void **state)
{
	struct vu_env *e = *state;
	int fds = e->fds, maps = e->maps, left;

	vu_client_done(&e->c);
	vhost_user_free(e->vu);
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
		assert_int_equal(e->q[i].starts, e->q[i].stops);
	assert_int_equal(e->connects, e->disconnects);
	sd_event_unref(e->event);
	ring_record_remove(e->path);
	left = rmdir(e->dir); /* fails if the socket was left */
	if (left)
		print_error("%s is not empty\n", e->dir);
	free(e);
	return left || vu_env_leaks(fds, maps) ? -1 : 0;
}

void vu_env_ready(struct vu_env *e, uint64_t features)
{
	assert_int_equal(vu_client_connect(&e->c, e->path), 0);
	vu_client_negotiate(&e->c, features);
	vu_client_share_memory(&e->c, 0x100000);
}

struct vhost_user_info vu_env_info(const struct vu_env *e)
{
	struct vhost_user_info info;

	vhost_user_get_info(e->vu, &info);
	return info;
}

void vu_env_running(struct vu_env *e)
{
	vu_env_ready(e, F_VERSION_1 | F_EVENT_IDX);
	assert_int_equal(vu_client_ring(&e->c, 1, 256, 0), 0);
	assert_non_null(e->q[1].q);
}

void vu_env_assert_ended(struct vu_env *e, unsigned int errors)
{
	uint64_t bad = vu_env_info(e).bad_messages;

	assert_true(vu_client_hung_up(&e->c));
	assert_int_equal(e->errors, errors);
	assert_int_equal(bad, errors);
	assert_true(*e->why != 0);
	assert_false(vu_env_info(e).connected);
	vu_client_disconnect(&e->c);
}
