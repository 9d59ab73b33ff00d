/* SPDX-License-Identifier: Apache-2.0 */

/* The vhost-user back-end as a device: sockets, clients that come and go, and what outlives a connection (the
 * inflight area) or goes the other way (requests to the front-end). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "vhost/inflight.h"
#include "vu_env.h"

#define FEATURES (F_VERSION_1 | F_EVENT_IDX)

static uint16_t *used_idx(struct vu_env *e, unsigned int index)
{
	return (uint16_t *)(void *)(e->c.mem + index * 0x10000 + 0xa002);
}

static void test_inflight_split(void **state)
{
	struct vu_env *e = *state;
	struct vu_inflight_desc d = {.num_queues = 4, .queue_size = 256};
	int fd;

	vu_env_ready(e, FEATURES);
	vu_client_send(&e->c, VU_GET_INFLIGHT_FD, 0, &d, sizeof(d), NULL, 0);
	assert_int_equal(vu_client_receive(&e->c, VU_GET_INFLIGHT_FD, &d, sizeof(d), &fd), sizeof(d));
	assert_true(fd >= 0);
	assert_true(d.size >= 4 * vhost_inflight_region_size(256, true));
	/* the packed structure of the specification, without C's padding */
	vu_client_send(&e->c, VU_GET_INFLIGHT_FD, 0, &d, 20, NULL, 0);
	assert_int_equal(vu_client_receive(&e->c, VU_GET_INFLIGHT_FD, &d, sizeof(d), NULL), 20);

	assert_int_equal(vu_client_ask(&e->c, VU_SET_INFLIGHT_FD, &d, sizeof(d), &fd, 1), 0);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	assert_int_equal(vu_client_ring(&e->c, 3, 128, 0), 0);
	assert_non_null(e->q[0].q->inflight);
	assert_non_null(e->q[3].q->inflight);
	assert_ptr_not_equal(e->q[0].q->inflight->split, e->q[3].q->inflight->split);
	vhost_inflight_split_done(e->q[0].q->inflight, 4);

	/* The back-end dies after it took ten and completed four; the front-end knows nothing better than its
	 * last base. With the area the ring goes on at the used index all the same. */
	*used_idx(e, 0) = 4;
	vu_client_disconnect(&e->c);
	vu_env_ready(e, FEATURES);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_INFLIGHT_FD, &d, 20, &fd, 1), 0);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	assert_int_equal(e->q[0].q->avail_idx, 4);
	assert_int_equal(e->q[0].q->used_idx, 4);
	/* only the first start recovers; later bases count */
	vu_client_get_base(&e->c, 0);
	*used_idx(e, 0) = 0;
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 3), 0);
	assert_int_equal(e->q[0].q->avail_idx, 3);
	assert_int_equal(e->q[0].q->inflight->split->used_idx, 0);
	close(fd);
}

static void test_inflight_packed(void **state)
{
	struct vu_env *e = *state;
	struct vu_inflight_desc d = {.num_queues = 2, .queue_size = 256};
	int fd;

	vu_env_ready(e, F_VERSION_1 | F_PACKED);
	vu_client_send(&e->c, VU_GET_INFLIGHT_FD, 0, &d, sizeof(d), NULL, 0);
	assert_int_equal(vu_client_receive(&e->c, VU_GET_INFLIGHT_FD, &d, sizeof(d), &fd), sizeof(d));
	assert_int_equal(vu_client_ask(&e->c, VU_SET_INFLIGHT_FD, &d, sizeof(d), &fd, 1), 0);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0x80008000), 0);
	assert_int_equal(vu_client_ring(&e->c, 2, 256, 0x80008000), 0);
	/* beyond the area; what it has is a record of our own */
	assert_true((uint8_t *)e->q[2].q->inflight->packed - (uint8_t *)e->q[0].q->inflight->packed >=
			    (ptrdiff_t)d.size ||
		    e->q[2].q->inflight->packed < e->q[0].q->inflight->packed);
	vhost_inflight_packed_begin(e->q[0].q->inflight, 0x8009);
	vhost_inflight_packed_end(e->q[0].q->inflight);
	vhost_inflight_packed_begin(e->q[0].q->inflight, 0x800c); /* not published */
	e->c.mem[9 * 16 + 14] = 0x80;                             /* available */
	vu_client_disconnect(&e->c);

	vu_env_ready(e, F_VERSION_1 | F_PACKED);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_INFLIGHT_FD, &d, sizeof(d), &fd, 1), 0);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0x80008000), 0);
	assert_int_equal(e->q[0].q->avail_idx, 0x8009);
	assert_int_equal(e->q[0].q->used_idx, 0x8009);
	vu_client_disconnect(&e->c);

	/* a queue larger than the area, and an area as small as split rings need */
	vu_env_ready(e, F_VERSION_1 | F_PACKED);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_INFLIGHT_FD, &d, sizeof(d), &fd, 1), 0);
	assert_int_not_equal(vu_client_ring(&e->c, 0, 512, 0x80008000), 0);
	d.size = 2 * vhost_inflight_region_size(256, false);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_INFLIGHT_FD, &d, sizeof(d), &fd, 1), 0);
	assert_int_not_equal(vu_client_ring(&e->c, 0, 256, 0x80008000), 0);
	close(fd);
}

/* Without an area a packed ring's position is kept beside the socket: until the front-end asks for it. */
static void test_packed_record(void **state)
{
	struct vu_env *e = *state;

	vu_env_ready(e, F_VERSION_1 | F_PACKED);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0x80008000), 0);
	vhost_inflight_packed_begin(e->q[0].q->inflight, 0x8009);
	vhost_inflight_packed_end(e->q[0].q->inflight);
	e->c.mem[14] = e->c.mem[15] = 0x80; /* used */
	vu_client_disconnect(&e->c);
	vhost_user_free(e->vu);
	assert_int_equal(vu_env_new_device(e, 2, F_VERSION_1 | F_PACKED), 0);

	/* vpfd was restarted; QEMU knows the first position only */
	vu_env_ready(e, F_VERSION_1 | F_PACKED);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0x80008000), 0);
	assert_int_equal(e->q[0].q->avail_idx, 0x8009);
	assert_int_equal(e->q[0].q->used_idx, 0x8009);
	/* once asked, the front-end's word counts */
	assert_int_equal(vu_client_get_base(&e->c, 0), 0x80098009);
	vu_client_disconnect(&e->c);
	vu_env_ready(e, F_VERSION_1 | F_PACKED);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0x00050005), 0);
	assert_int_equal(e->q[0].q->avail_idx, 5);
	vu_client_disconnect(&e->c);

	/* a ring that no device has touched is a new one */
	vu_env_ready(e, F_VERSION_1 | F_PACKED);
	memset(e->c.mem, 0, 16 * 256);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0x80008000), 0);
	assert_int_equal(e->q[0].q->avail_idx, 0x8000);
}

static int backend_channel(struct vu_env *e, int *front)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
	close(pair[1]);
	*front = pair[0];
	return 0;
}

struct notifier {
	struct vu_header hdr;
	struct vu_ring_area area;
	int fd;
};

static void receive_notifier(int channel, struct notifier *n)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov[2] = {{&n->hdr, sizeof(n->hdr)}, {&n->area, sizeof(n->area)}};
	struct msghdr mh = {
		.msg_iov = iov, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof(control)};

	assert_int_equal(recvmsg(channel, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT), 36);
	assert_int_equal(n->hdr.request, VU_BACKEND_VRING_HOST_NOTIFIER);
	assert_int_equal(n->hdr.flags, VU_VERSION | VU_FLAG_NEED_REPLY);
	assert_int_equal(n->hdr.size, sizeof(n->area));
	n->fd = -1;
	if (CMSG_FIRSTHDR(&mh))
		memcpy(&n->fd, CMSG_DATA(CMSG_FIRSTHDR(&mh)), sizeof(n->fd));
}

static void answer(struct vu_env *e, int channel, uint64_t result)
{
	struct {
		struct vu_header hdr;
		uint32_t result[2];
	} r = {.hdr = {VU_BACKEND_VRING_HOST_NOTIFIER, VU_VERSION | VU_FLAG_REPLY, 8}};

	memcpy(r.result, &result, sizeof(result));
	assert_int_equal(write(channel, &r, 7), 7); /* in two pieces */
	vu_env_pump(e);
	assert_int_equal(write(channel, (char *)&r + 7, sizeof(r) - 7), sizeof(r) - 7);
	vu_env_pump(e);
}

static void test_host_notifier(void **state)
{
	struct vu_env *e = *state;
	struct notifier n;
	int channel, fd = memfd_create("doorbell", MFD_CLOEXEC);

	assert_int_equal(vhost_user_set_host_notifier(e->vu, 0, fd, 0, 4096), -ENOTCONN);
	assert_int_equal(vu_client_connect(&e->c, e->path), 0);
	assert_int_equal(vhost_user_set_host_notifier(e->vu, 0, fd, 0, 4096), -EOPNOTSUPP);
	vu_client_negotiate(&e->c, FEATURES);
	assert_int_equal(vhost_user_set_host_notifier(e->vu, 0, fd, 0, 4096), -ENOTCONN);
	backend_channel(e, &channel);
	assert_int_equal(vhost_user_set_host_notifier(e->vu, 4, fd, 0, 4096), -EINVAL);
	assert_int_equal(vhost_user_set_host_notifier(e->vu, 0, fd, 0, 0), -EINVAL);
	assert_int_equal(vhost_user_set_host_notifier(e->vu, 0, fd, 1, 4096), -EINVAL);

	assert_int_equal(vhost_user_set_host_notifier(e->vu, 3, fd, 0x2000, 4096), 0);
	receive_notifier(channel, &n);
	assert_int_equal(n.area.ring, 3);
	assert_int_equal(n.area.size, 4096);
	assert_int_equal(n.area.offset, 0x2000);
	assert_true(n.fd >= 0);
	close(n.fd);
	answer(e, channel, 0);
	assert_int_equal(e->events, 0);

	assert_int_equal(vhost_user_set_host_notifier(e->vu, 3, -1, 0, 0), 0);
	receive_notifier(channel, &n);
	assert_int_equal(n.area.ring, 3 | VU_RING_NOFD);
	assert_int_equal(n.fd, -1);
	answer(e, channel, 1); /* declined */
	assert_int_equal(e->events, 1);

	/* without a reader: bounded, and no waiting */
	for (unsigned int i = 0; i < 2 * VHOST_USER_MAX_QUEUES; i++)
		assert_int_equal(vhost_user_set_host_notifier(e->vu, 0, fd, 0, 4096), 0);
	assert_int_equal(vhost_user_set_host_notifier(e->vu, 0, fd, 0, 4096), -EBUSY);

	/* another channel takes its place */
	close(channel);
	backend_channel(e, &channel);
	assert_int_equal(vhost_user_set_host_notifier(e->vu, 0, fd, 0, 4096), 0);
	receive_notifier(channel, &n);
	close(n.fd);
	/* a reply that was not asked for ends the channel, not the connection */
	answer(e, channel, 0);
	answer(e, channel, 0);
	assert_int_equal(vhost_user_set_host_notifier(e->vu, 0, fd, 0, 4096), -ENOTCONN);
	assert_int_equal(vu_client_get(&e->c, VU_GET_STATUS), 0);
	close(channel);

	/* the front-end's end is gone when we write */
	backend_channel(e, &channel);
	close(channel);
	assert_true(vhost_user_set_host_notifier(e->vu, 0, fd, 0, 4096) < 0);
	assert_int_equal(vhost_user_set_host_notifier(e->vu, 0, fd, 0, 4096), -ENOTCONN);
	assert_int_equal(vu_client_get(&e->c, VU_GET_STATUS), 0);
	close(fd);
}

static void test_second_client(void **state)
{
	struct vu_env *e = *state;
	struct vu_client other;

	vu_env_ready(e, FEATURES);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	vu_client_init(&other, vu_env_pump, e);
	assert_int_equal(vu_client_connect(&other, e->path), 0);
	assert_true(vu_client_hung_up(&other));
	vu_client_done(&other);
	assert_int_equal(vu_env_info(e).refused_clients, 1);
	assert_int_equal(vu_env_info(e).connections, 1);
	assert_non_null(strstr(e->text, "refused"));
	assert_non_null(e->q[0].q);
	assert_int_equal(vu_client_get(&e->c, VU_GET_QUEUE_NUM), 2);

	/* after the first one left the next one is served */
	vu_client_disconnect(&e->c);
	vu_env_ready(e, FEATURES);
	assert_int_equal(vu_env_info(e).connections, 2);
}

static void no_pump(void *ctx)
{
	(void)ctx;
}

/* A front-end that is killed and started again: both events are there at once, and the new one is served. */
static void test_restarted_client(void **state)
{
	struct vu_env *e = *state;
	struct vu_client again;

	vu_env_ready(e, FEATURES);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	vu_client_init(&again, no_pump, e);
	assert_int_equal(vu_client_connect(&again, e->path), 0);
	e->c.pump = no_pump;
	vu_client_disconnect(&e->c);
	again.pump = vu_env_pump;
	assert_int_equal(vu_client_get(&again, VU_GET_QUEUE_NUM), 2);
	assert_int_equal(vu_env_info(e).refused_clients, 0);
	assert_int_equal(e->q[0].stops, 1);
	vu_client_done(&again);
	vu_env_pump(e);
}

static void test_socket_file(void **state)
{
	struct vu_env *e = *state;
	struct vhost_user *first = e->vu;
	struct stat st;
	FILE *f;

	assert_int_equal(stat(e->path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0600);
	/* live */
	assert_int_equal(vu_env_new_device(e, 1, 0), -EADDRINUSE);
	vu_env_pump(e);
	e->vu = NULL;
	/* freed: gone; then a stale one */
	vhost_user_free(first);
	assert_int_equal(access(e->path, F_OK), -1);
	{
		struct sockaddr_un addr = {.sun_family = AF_UNIX};
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		strcpy(addr.sun_path, e->path);
		assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
		close(fd);
	}
	assert_int_equal(access(e->path, F_OK), 0);
	assert_int_equal(vu_env_new_device(e, 1, 0), 0);
	assert_int_equal(vu_client_connect(&e->c, e->path), 0);
	assert_int_equal(vu_client_get(&e->c, VU_GET_QUEUE_NUM), 1);
	/* A file that is not ours is not removed, neither before nor after. */
	assert_int_equal(unlink(e->path), 0);
	f = fopen(e->path, "we");
	fclose(f);
	vhost_user_free(e->vu);
	e->vu = NULL;
	assert_int_equal(access(e->path, F_OK), 0);
	assert_int_equal(vu_env_new_device(e, 1, 0), -EEXIST);
	assert_int_equal(access(e->path, F_OK), 0);
	unlink(e->path);

	{
		struct vhost_user_ops none = {0};
		struct vhost_user_config config = {.path = e->path, .queue_pairs = 1, .ops = &none};
		struct err err = {0};

		assert_int_equal(vhost_user_new(e->event, &config, &e->vu, &err), -EINVAL);
		assert_true(*err.text != 0);
	}
	assert_int_equal(vu_env_new_device(e, 0, 0), -EINVAL);
	assert_int_equal(vu_env_new_device(e, VHOST_USER_MAX_QUEUE_PAIRS + 1, 0), -EINVAL);
	assert_int_equal(vu_env_new_device(e, 1, F_PROTOCOL), -EINVAL);
	snprintf(e->path, sizeof(e->path), "%s/none/sock", e->dir);
	assert_int_equal(vu_env_new_device(e, 1, 0), -ENOENT);
	assert_null(e->vu);
	vhost_user_free(NULL);
}

static int never_start(void *ctx, const struct vhost_queue *q)
{
	(void)ctx;
	(void)q;
	return -EIO;
}

static void never_stop(void *ctx, unsigned int index, uint16_t *ret_avail_idx, uint16_t *ret_used_idx)
{
	(void)ctx;
	(void)index;
	(void)ret_avail_idx;
	(void)ret_used_idx;
}

/* An owner that leaves out all that it may, a path that is too long, and the longest possible one. */
static void test_long_path(void **state)
{
	static const struct vhost_user_ops least = {.queue_start = never_start, .queue_stop = never_stop};
	struct vu_env *e = *state;
	struct vhost_user_config config = {
		.mode = 0660, .group = getegid(), .features = FEATURES, .queue_pairs = 1, .ops = &least};
	struct vhost_user *vu = NULL;
	char path[160];
	struct stat st;
	size_t n = (size_t)snprintf(path, sizeof(path), "%s/", e->dir);

	memset(path + n, 'a', sizeof(path) - n);
	path[108] = 0;
	config.path = path;
	assert_int_equal(vhost_user_new(e->event, &config, &vu, NULL), -ENAMETOOLONG);
	path[107] = 0;
	assert_int_equal(vhost_user_new(e->event, &config, &vu, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(vu_client_connect(&e->c, path), 0);
	vu_client_negotiate(&e->c, FEATURES);
	vu_client_share_memory(&e->c, 0x100000);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_STATUS, 1), 0);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_NET_SET_MTU, 1500), 0);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SEND_RARP, 1), 0);
	assert_int_not_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	vhost_user_free(vu);
	vu_client_disconnect(&e->c);
	assert_int_equal(vu_client_connect(&e->c, path), -ENOENT);
}

/* What a host with four virtual PFs of 255 VFs needs at once. */
static void test_many_devices(void **state)
{
	static const struct vhost_user_ops least = {.queue_start = never_start, .queue_stop = never_stop};
	static struct vhost_user *vu[1024];
	struct vu_env *e = *state;
	char path[128];

	for (unsigned int i = 0; i < ARRAY_SIZE(vu); i++) {
		struct vhost_user_config config = {
			.path = path, .mode = 0600, .group = (gid_t)-1, .queue_pairs = 1, .ops = &least};
		int r;

		snprintf(path, sizeof(path), "%s/s%u", e->dir, i);
		r = vhost_user_new(e->event, &config, &vu[i], NULL);
		if (r == -EMFILE)
			break; /* a small limit here; as far as it goes */
		assert_int_equal(r, 0);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(vu); i++)
		vhost_user_free(vu[i]);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, vu_env_setup, vu_env_teardown)
	const struct CMUnitTest tests[] = {
		T(test_inflight_split), T(test_inflight_packed), T(test_packed_record),
		T(test_host_notifier),  T(test_second_client),   T(test_restarted_client),
		T(test_socket_file),    T(test_long_path),       T(test_many_devices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
