/* SPDX-License-Identifier: Apache-2.0 */

/* The kernel's vhost-net as a datapath, driven as a binding drives it, with a guest whose rings also vpfd's
 * workers can serve. Where there is no /dev/vhost-net, only that this is said well is tested. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "datapath/datapath.h"
#include "fabric/fabric.h"
#include "tap_env.h"
#include "util/eventfd.h"
#include "vhost/guest_map.h"

#define F(bit)   VIRTIO_BIT(VIRTIO_NET_F_##bit)
#define OFFLOADS (F(CSUM) | F(HOST_TSO4) | F(HOST_TSO6) | F(GUEST_CSUM) | F(GUEST_TSO4) | F(GUEST_TSO6))

static struct frame frame;
static struct peer_frame seen;
static struct vguest_frame got;
static const uint8_t peer[6] = {2, 0, 0, 0, 1, 1}, guest[6] = {2, 0, 0, 0, 0, 1};

/* The fabric: it gives the tap of `env`. */
static struct tap_env env;
static struct fabric_attach attach;
static struct fabric fabric = {.settings = {.name = "f", .type = &fabric_type_bridge}};
static struct fabric_port fabric_port = {.fabric = &fabric, .pf = "pf"};

/* What the instance says. */
static struct told {
	bool prepared, started, stopped, failed, ring_error;
	int r;
	unsigned int queue;
	char why[160];
} told;

static void tell(bool *what, int r, const char *why)
{
	*what = true;
	told.r = r;
	snprintf(told.why, sizeof(told.why), "%s", why ? why : "");
}

static void on_prepared(void *ctx, int r, const char *why)
{
	(void)ctx;
	tell(&told.prepared, r, why);
}

static void on_started(void *ctx, int r, const char *why)
{
	(void)ctx;
	tell(&told.started, r, why);
}

static void on_stopped(void *ctx)
{
	(void)ctx;
	told.stopped = true;
}

static void on_failed(void *ctx, const char *why)
{
	(void)ctx;
	tell(&told.failed, 0, why);
}

static void on_ring_error(void *ctx, unsigned int queue, const char *why)
{
	(void)ctx;
	tell(&told.ring_error, 0, why);
	told.queue = queue;
}

static const struct datapath_events events = {.prepared = on_prepared,
					      .started = on_started,
					      .stopped = on_stopped,
					      .failed = on_failed,
					      .ring_error = on_ring_error};
static sd_event *event;
static struct datapath *dp;
static struct datapath_ring rings[2 * VGUEST_PAIRS];
extern const struct datapath_ops datapath_vhost_net;
static const struct datapath_ops *const ops = &datapath_vhost_net;
static const struct datapath_pref pref = {.type = &datapath_type_vhost_net};

static void await(const bool *what)
{
	while (!*what)
		if (sd_event_run(event, (uint64_t)TAP_WAIT_MS * 1000) <= 0)
			fail_msg("vhost-net says nothing");
}

static bool have_vhost_net(void)
{
	return access("/dev/vhost-net", R_OK | W_OK) == 0;
}

#define NEEDED()                                                                                             \
	do {                                                                                                 \
		TAP_ENV_NEEDED();                                                                            \
		if (!have_vhost_net()) {                                                                     \
			print_message("skipped: no /dev/vhost-net\n");                                       \
			skip();                                                                              \
		}                                                                                            \
	} while (0)

static void open_datapath(void)
{
	struct datapath_open open = {.event = event,
				     .pref = &pref,
				     .pf = "pf",
				     .port = &fabric_port,
				     .attach = &attach,
				     .queue_pairs = TAP_ENV_QUEUES,
				     .events = &events};
	struct err err;

	/* Without a tap, to see what it says of the host: a descriptor that is none. */
	attach = (struct fabric_attach){
		.kind = ATTACH_TAP,
		.tap = {.n = env.n_tap ? env.n_tap : 1, .fd = env.tap_fd, .name = TAP_ENV_NAME}};
	assert_int_equal(ops->open(&open, &dp, &err), 0);
}

static int prepare(uint64_t features, struct guest_mem *mem)
{
	told = (struct told){0};
	ops->prepare(dp, features, mem);
	await(&told.prepared);
	assert_int_equal(told.r < 0, *told.why != 0);
	return told.r;
}

static void close_datapath(void)
{
	ops->close(dp);
	dp = NULL;
}

/* A guest of which the pump has the rings, and an instance beside it. */
static void start_env(uint64_t features, unsigned int pairs, unsigned int queues)
{
	struct vguest_options o = {
		.features = features | F(MRG_RXBUF) | VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC),
		.pairs = pairs,
		.size = 256,
		.rx_len = 1526,
	};

	tap_env_init(&env, 1, queues);
	tap_env_guest(&env, &o);
	if (pairs > 1)
		env.g.o.features |= F(MQ);
	open_datapath();
	if (prepare(env.g.o.features, env.g.vm.mem) < 0)
		fail_msg("%s", told.why);
}

static void end_env(void)
{
	close_datapath();
	tap_env_done(&env);
}

/* The datapath gets all rings, as they stand. */
static void begin_start(void)
{
	unsigned int n = 2 * env.g.o.pairs;

	for (unsigned int i = 0; i < n; i++)
		rings[i] = (struct datapath_ring){&env.g.queue[i], env.g.resume[i], env.g.resume[i]};
	told = (struct told){0};
	ops->start(dp, rings, n);
}

static void kick(void)
{
	for (unsigned int i = 0; i < 2 * env.g.o.pairs; i++) {
		assert_int_equal(signal_eventfd(env.g.queue[i].kickfd), 0);
		assert_int_equal(signal_eventfd(env.g.queue[i].callfd), 0);
	}
}

static void start(void)
{
	begin_start();
	await(&told.started);
	if (told.r < 0)
		fail_msg("%s", told.why);
	kick();
}

static void take_positions(void)
{
	for (unsigned int i = 0; i < 2 * env.g.o.pairs; i++) {
		const struct vdriver *d = i % 2 ? &env.g.tx[i / 2] : &env.g.rx[i / 2];

		assert_int_equal(rings[i].avail_idx, rings[i].used_idx);
		assert_int_equal(rings[i].used_idx, __atomic_load_n(&d->used->idx, __ATOMIC_ACQUIRE));
		env.g.resume[i] = rings[i].used_idx;
	}
}

static void stop(void)
{
	told.stopped = false;
	ops->stop(dp);
	await(&told.stopped);
	take_positions();
}

static void exchange(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		frame_plain(&frame, peer, guest, 60 + 7 * i, i);
		vguest_send(&env.g, 0, NULL, frame.data, frame.len);
		assert_true(tap_env_peer_receive(&env, &seen, TAP_WAIT_MS));
		assert_int_equal(seen.len, frame.len);
		assert_memory_equal(seen.data, frame.data, frame.len);
		frame_plain(&frame, guest, peer, 60 + 7 * i, i);
		tap_env_peer_send(&env, NULL, frame.data, frame.len);
		assert_true(vguest_wait(&env.g, 0, &got, TAP_WAIT_MS));
		assert_int_equal(got.len, frame.len);
		assert_memory_equal(got.data, frame.data, frame.len);
	}
}

static void test_not_here(void **state)
{
	struct err err = {0};

	(void)state;
	if (have_vhost_net())
		skip();
	assert_int_equal(ops->features(&pref, 1, &err), 0);
	assert_string_equal(err.field, "datapaths");
	assert_non_null(strstr(err.text, "vhost_net"));
	open_datapath();
	assert_int_equal(prepare(VIRTIO_BIT(VIRTIO_F_VERSION_1), NULL), -ENODEV);
	close_datapath();
}

static void test_refused(void **state)
{
	struct fabric_settings builtin = {.name = "b", .type = &fabric_type_builtin};
	struct fabric_attach none = {.kind = ATTACH_TAP},
			     many = {.kind = ATTACH_TAP, .tap.n = VHOST_USER_MAX_QUEUE_PAIRS + 1};
	struct datapath_open open = {
		.event = event, .pref = &pref, .port = &fabric_port, .attach = &none, .queue_pairs = 1};
	struct err err = {0};

	(void)state;
	assert_int_equal(datapath_fits(&pref, &builtin, &err), -EOPNOTSUPP);
	assert_string_equal(err.field, "datapaths");
	assert_non_null(strstr(err.text, "vhost-net needs a tap"));
	assert_int_equal(datapath_attach_kind(&pref, &builtin), ATTACH_NONE);
	assert_int_equal(datapath_can(&pref, &builtin), 0);
	assert_int_equal(datapath_fits(&pref, &fabric.settings, &err), 0);
	assert_int_equal(datapath_attach_kind(&pref, &fabric.settings), ATTACH_TAP);
	err = (struct err){0};
	assert_int_equal(ops->open(&open, &dp, &err), -EINVAL);
	assert_non_null(strstr(err.text, "tap"));
	open.attach = &many;
	assert_int_equal(ops->open(&open, &dp, &err), -EINVAL);
	ops->close(NULL);
	/* All that the fabric does, and no control frames. */
	assert_int_equal(datapath_can(&pref, &fabric.settings), fabric_can(&fabric.settings) & ~CAN_CONTROL);
}

static void test_features(void **state)
{
	uint64_t one, many;
	struct err err;

	(void)state;
	NEEDED();
	one = ops->features(&pref, 1, &err);
	many = ops->features(&pref, 2, &err);
	assert_int_equal(many, one | F(MQ));
	assert_int_equal(one & OFFLOADS, OFFLOADS);
	assert_true(virtio_has(one, VIRTIO_F_VERSION_1) && virtio_has(one, VIRTIO_RING_F_EVENT_IDX));
	assert_false(virtio_has(one, VIRTIO_F_RING_PACKED) || virtio_has(one, VIRTIO_F_IN_ORDER));
	tap_env_init(&env, 1, 1);
	open_datapath();
	assert_int_equal(prepare(one | VIRTIO_BIT(VIRTIO_F_RING_PACKED), NULL), -EOPNOTSUPP);
	assert_int_equal(prepare(F(CSUM), NULL), -EOPNOTSUPP); /* a short header */
	assert_int_equal(prepare(one, NULL), 0);
	end_env();
}

/* Frames of all kinds, as they came. */
static void test_frames(void **state)
{
	struct virtio_net_hdr hdr;
	struct frame_spec s = frame_tcp(30000);

	(void)state;
	NEEDED();
	start_env(OFFLOADS | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX), 1, 1);
	tap_env_pump_stop(&env);
	start();
	exchange(200);
	memcpy(s.dst, peer, 6);
	memcpy(s.src, guest, 6);
	frame_build(&s, true, &frame);
	hdr = frame_hdr(&s, &frame, 1400);
	vguest_send(&env.g, 0, &hdr, frame.data, frame.len);
	assert_true(tap_env_peer_receive(&env, &seen, TAP_WAIT_MS));
	assert_memory_equal(seen.data, frame.data, frame.len);
	assert_int_equal(seen.hdr.gso_size, 1400);
	memcpy(s.dst, guest, 6);
	memcpy(s.src, peer, 6);
	frame_build(&s, true, &frame);
	tap_env_peer_send(&env, &hdr, frame.data, frame.len);
	assert_true(vguest_wait(&env.g, 0, &got, TAP_WAIT_MS));
	assert_int_equal(got.len, frame.len);
	assert_memory_equal(got.data, frame.data, frame.len);
	assert_int_equal(got.hdr.hdr.gso_size, 1400);
	stop();
	end_env();
}

static bool on_kernel;
static unsigned int moves;

static void move(void *arg)
{
	(void)arg;
	if (on_kernel) {
		stop();
		tap_env_pump_start(&env);
	} else {
		tap_env_pump_stop(&env);
		start();
	}
	on_kernel = !on_kernel;
	moves++;
}

static void moved_about(uint64_t features, unsigned int pairs, unsigned int queues)
{
	on_kernel = false;
	moves = 0;
	start_env(features, pairs, queues);
	tap_env_traffic(&env, 2000, 20, move, NULL);
	assert_int_equal(moves, 100);
	assert_false(on_kernel);
	end_env();
}

static void test_moves(void **state)
{
	(void)state;
	NEEDED();
	moved_about(0, 1, 1);
	moved_about(VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX), 1, 2);
}

static void test_queue_pairs(void **state)
{
	(void)state;
	NEEDED();
	start_env(0, 2, 2);
	tap_env_pump_stop(&env);
	start();
	/* One pair less: what its queue got goes to the other. */
	ops->ring_enable(dp, 2, false);
	ops->ring_enable(dp, 3, false);
	stop();
	env.g.queue[2].enabled = env.g.queue[3].enabled = false;
	start();
	exchange(20);
	ops->ring_enable(dp, 2, true);
	ops->ring_enable(dp, 3, true);
	stop();
	end_env();
}

static void test_call(void **state)
{
	struct vdriver *rx;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), old;

	(void)state;
	NEEDED();
	start_env(0, 1, 1);
	tap_env_pump_stop(&env);
	start();
	exchange(1);
	rx = &env.g.rx[0];
	old = rx->callfd;
	ops->ring_call(dp, 0, fd);
	rx->callfd = env.g.queue[0].callfd = fd;
	assert_true(vdriver_wait_call(rx, 0)); /* once, to be sure */
	exchange(10);
	stop();
	env.g.queue[0].callfd = rx->callfd = old;
	close(fd);
	end_env();
}

/* A front-end replaces its call descriptor while the rings start: the number that they began with is another
 * file's, then nobody's. */
static void test_call_closed_while_starting(void **state)
{
	int other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct vhost_queue *q;

	(void)state;
	NEEDED();
	start_env(0, 1, 1);
	tap_env_pump_stop(&env);
	q = &env.g.queue[0];
	for (unsigned int i = 0; i < 50; i++) {
		int fd = q->callfd;

		begin_start();
		q->callfd = env.g.rx[0].callfd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		dup2(other, fd);
		close(fd);
		await(&told.started);
		if (told.r < 0)
			fail_msg("%s", told.why);
		kick();
		exchange(1);
		stop();
	}
	close(other);
	end_env();
}

/* A ring that the guest broke is reported and left alone; the other one goes on. */
static void test_broken_ring(void **state)
{
	struct vdriver *tx;

	(void)state;
	NEEDED();
	start_env(0, 1, 1);
	tap_env_pump_stop(&env);
	start();
	exchange(3);
	tx = &env.g.tx[0];
	__atomic_store_n(&tx->avail->idx, (uint16_t)(tx->avail->idx + 1000), __ATOMIC_RELEASE);
	vdriver_kick(tx);
	await(&told.ring_error);
	assert_int_equal(told.queue, 1);
	frame_plain(&frame, guest, peer, 200, 1);
	tap_env_peer_send(&env, NULL, frame.data, frame.len);
	assert_true(vguest_wait(&env.g, 0, &got, TAP_WAIT_MS));
	told.stopped = false;
	ops->stop(dp);
	await(&told.stopped);
	assert_int_equal(rings[0].avail_idx, rings[0].used_idx);
	env.g.resume[0] = rings[0].used_idx;
	env.g.resume[1] = tx->used->idx;
	close_datapath();
	/* The driver begins anew. */
	vguest_queue_start(&env.g, 0);
	vguest_queue_anew(&env.g, 1);
	assert_int_equal(pump_start(env.pump, env.g.o.features, 1), 0);
	exchange(3);
	tap_env_done(&env);
}

static void test_memory(void **state)
{
	struct guest_mem *mem = NULL;
	int fd = memfd_create("memory", MFD_CLOEXEC);

	(void)state;
	NEEDED();
	assert_int_equal(ftruncate(fd, 65 * 4096), 0);
	for (uint64_t i = 0; i < 65; i++) {
		struct guest_mem *more;

		assert_int_equal(guest_mem_add(mem, i << 20, 4096, i << 20, i * 4096, fd, &more), 0);
		guest_mem_unref(mem);
		mem = more;
	}
	close(fd);
	start_env(0, 1, 1);
	/* Another table, and back, between two times of service. */
	for (unsigned int i = 0; i < 3; i++) {
		tap_env_pump_stop(&env);
		start();
		exchange(3);
		stop();
		tap_env_pump_start(&env);
		assert_int_equal(prepare(env.g.o.features, NULL), 0);
		assert_int_equal(prepare(env.g.o.features, env.g.vm.mem), 0);
	}
	assert_int_equal(prepare(env.g.o.features, mem), -E2BIG);
	assert_non_null(strstr(told.why, "65 regions"));
	assert_non_null(strstr(told.why, "64"));
	guest_mem_unref(mem);
	end_env();
}

static void test_dirty_log(void **state)
{
	/* Guest memory begins at 1 GiB. */
	uint64_t pages, rx_page, used_page, size;
	struct dirty_log *log, *small;
	int fd = memfd_create("log", MFD_CLOEXEC);
	uint8_t *bits;

	(void)state;
	NEEDED();
	start_env(0, 1, 1);
	tap_env_pump_stop(&env);
	size = (env.g.vm.mem->regions[0].gpa + env.g.vm.mem->regions[0].size) / 4096 / 8 + 1;
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(dirty_log_new(fd, 0, size, &log), 0);
	assert_int_equal(dirty_log_new(fd, 0, size / 2, &small), 0);
	close(fd);
	bits = dirty_log_bits(log, &pages);

	env.g.queue[0].log = env.g.queue[1].log = small;
	begin_start();
	await(&told.started);
	assert_int_equal(told.r, -EOPNOTSUPP);
	env.g.queue[0].log = env.g.queue[1].log = log;
	env.g.queue[0].device_gpa = pages * 4096 - 4;
	begin_start();
	await(&told.started);
	assert_int_equal(told.r, -EOPNOTSUPP);

	env.g.queue[0].device_gpa = env.g.rx[0].device_gpa;
	used_page = env.g.rx[0].device_gpa / 4096;
	rx_page = env.g.rx_gpa[0][0] / 4096;
	start();
	assert_int_equal(bits[rx_page / 8] >> (rx_page % 8) & 1, 0);
	exchange(1);
	assert_int_equal(bits[rx_page / 8] >> (rx_page % 8) & 1, 1);
	assert_int_equal(bits[used_page / 8] >> (used_page % 8) & 1, 1);
	stop();
	/* And no more. */
	memset(bits, 0, size);
	env.g.queue[0].log = env.g.queue[1].log = NULL;
	start();
	exchange(1);
	for (uint64_t i = 0; i < size; i++)
		assert_int_equal(bits[i], 0);
	stop();
	dirty_log_unref(log);
	dirty_log_unref(small);
	end_env();
}

static void test_bad_rings(void **state)
{
	int kickfd, null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	NEEDED();
	start_env(0, 1, 1);
	tap_env_pump_stop(&env);
	kickfd = env.g.queue[1].kickfd;
	for (unsigned int i = 0; i < 4; i++) {
		env.g.queue[1].kickfd = i == 0 ? -1 : i == 1 ? null : kickfd;
		env.g.queue[1].packed = i == 2;
		begin_start();
		await(&told.started);
		if (i == 3)
			break;
		assert_true(told.r < 0 && *told.why);
		/* Where it was, and nobody serves it. */
		take_positions();
	}
	assert_int_equal(told.r, 0);
	kick();
	exchange(3);
	stop();
	close(null);
	end_env();
}

/* Whatever is under way, close() takes the rings at once, and another may go on. */
static void test_close_at_any_time(void **state)
{
	(void)state;
	NEEDED();
	start_env(0, 1, 1);
	for (unsigned int i = 0; i < 40; i++) {
		tap_env_pump_stop(&env);
		if (i % 4 == 0) {
			ops->prepare(dp, env.g.o.features, env.g.vm.mem);
		} else {
			begin_start();
			if (i % 4 > 1) {
				await(&told.started);
				assert_int_equal(told.r, 0);
				kick();
				exchange(2);
			}
			if (i % 4 > 2)
				ops->stop(dp);
		}
		close_datapath();
		for (unsigned int k = 0; k < 2; k++) {
			const struct vdriver *d = k ? &env.g.tx[0] : &env.g.rx[0];

			env.g.resume[k] = __atomic_load_n(&d->used->idx, __ATOMIC_ACQUIRE);
		}
		tap_env_pump_start(&env);
		exchange(2);
		open_datapath();
		assert_int_equal(prepare(env.g.o.features, env.g.vm.mem), 0);
	}
	end_env();
}

static void test_tap_deleted(void **state)
{
	(void)state;
	NEEDED();
	start_env(0, 1, 1);
	tap_env_pump_stop(&env);
	assert_int_equal(system("ip link del " TAP_ENV_NAME), 0);
	begin_start();
	await(&told.started);
	assert_true(told.r < 0);
	assert_non_null(strstr(told.why, "deleted"));
	end_env();
}

static int group_setup(void **state)
{
	assert_true(sd_event_new(&event) >= 0);
	return tap_env_group_setup(state);
}

static int group_teardown(void **state)
{
	(void)state;
	sd_event_unref(event);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_here),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_moves),
		cmocka_unit_test(test_queue_pairs),
		cmocka_unit_test(test_call),
		cmocka_unit_test(test_call_closed_while_starting),
		cmocka_unit_test(test_broken_ring),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_dirty_log),
		cmocka_unit_test(test_bad_rings),
		cmocka_unit_test(test_close_at_any_time),
		cmocka_unit_test(test_tap_deleted),
	};

	return cmocka_run_group_tests_name("vhost_net", tests, group_setup, group_teardown);
}
