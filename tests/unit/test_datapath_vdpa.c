/* SPDX-License-Identifier: Apache-2.0 */

/* The vdpa datapath, driven through its interface on a kernel that is made up (fake_vdpa.h). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>

#include "datapath/datapath.h"
#include "datapath/vdpa/vdpa_pool.h"
#include "fake_vdpa.h"
#include "types_env.h"
#include "vhost/virtio.h"

extern const struct datapath_ops datapath_vdpa;

#define QUEUES   4
#define GPA      (UINT64_C(1) << 30)
#define MEM_SIZE 0x400000u
#define FEATURES                                                                                             \
	(VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) |                              \
	 VIRTIO_BIT(VIRTIO_NET_F_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF) |                                \
	 VIRTIO_BIT(VIRTIO_NET_F_STATUS) | VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ))

static const uint8_t mac[6] = {0x52, 0x54, 0, 0, 0, 7};

struct owner { /* of one instance */
	struct datapath *dp;
	unsigned int prepared, started, stopped, failed, given, taken;
	int prepared_r, started_r;
	char why[200];
	uint64_t offset[QUEUES];
	struct vhost_queue queue[QUEUES];
	struct datapath_ring ring[QUEUES];
};

struct env {
	sd_event *event;
	struct fake_vdpa *d;
	struct guest_mem *mem;
	struct owner o;
	int callfd, kickfd;
};

static struct env *env;

static void on_prepared(void *ctx, int r, const char *why)
{
	struct owner *o = ctx;

	o->prepared++;
	o->prepared_r = r;
	snprintf(o->why, sizeof(o->why), "%s", why ? why : "");
}

static void on_started(void *ctx, int r, const char *why)
{
	struct owner *o = ctx;

	o->started++;
	o->started_r = r;
	snprintf(o->why, sizeof(o->why), "%s", why ? why : "");
}

static void on_stopped(void *ctx)
{
	((struct owner *)ctx)->stopped++;
}

static void on_failed(void *ctx, const char *why)
{
	struct owner *o = ctx;

	o->failed++;
	snprintf(o->why, sizeof(o->why), "%s", why);
}

static void on_doorbell(void *ctx, unsigned int queue, int fd, uint64_t offset, uint64_t size)
{
	struct owner *o = ctx;

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

#define PATIENCE_MS 20000 /* for what must come, however slow the machine */

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void await_ms(const unsigned int *counter, unsigned int n, unsigned int ms)
{
	uint64_t end = now_ms() + ms;

	while (*counter < n && now_ms() < end)
		assert_true(sd_event_run(env->event, 100000) >= 0);
	assert_int_equal(*counter, n);
}

static void await(const unsigned int *counter, unsigned int n)
{
	await_ms(counter, n, 10000);
}

/* Until the fake's field, which its threads change, is what is expected. */
#define await_field(expr)                                                                                    \
	do {                                                                                                 \
		uint64_t end_ = now_ms() + 10000;                                                            \
		bool is_;                                                                                    \
		for (;;) {                                                                                   \
			pthread_mutex_lock(&fake_kernel->lock);                                              \
			is_ = (expr);                                                                        \
			pthread_mutex_unlock(&fake_kernel->lock);                                            \
			if (is_ || now_ms() >= end_)                                                         \
				break;                                                                       \
			sd_event_run(env->event, 1000);                                                      \
		}                                                                                            \
		assert_true(is_);                                                                            \
	} while (0)

static int add_region(struct guest_mem **mem, uint64_t gpa, uint64_t size)
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

static int setup(void **state)
{
	fake_vdpa_setup(state);
	env = calloc(1, sizeof(*env));
	assert_return_code(sd_event_new(&env->event), 0);
	env->d = fake_vdpa_add("v0", "vhost_vdpa");
	assert_return_code(add_region(&env->mem, GPA, MEM_SIZE), 0);
	env->callfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	env->kickfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return 0;
}

static bool all_closed(void)
{
	for (unsigned int i = 0; i < FAKE_VDPA_DEVICES; i++)
		if (fake_kernel->dev[i].there && fake_kernel->dev[i].fd >= 0)
			return false;
	return fake_kernel->created == fake_kernel->deleted;
}

static int teardown(void **state)
{
	char pf[VPF_NAME_MAX];
	unsigned int fn;

	if (env->o.dp)
		env->o.dp->ops->close(env->o.dp);
	await_field(all_closed());
	for (unsigned int i = 0; i < 100 && vdpa_pool_user("v0", pf, &fn); i++)
		sd_event_run(env->event, 10000);
	assert_false(vdpa_pool_user("v0", pf, &fn));
	guest_mem_unref(env->mem);
	close(env->callfd);
	close(env->kickfd);
	sd_event_unref(env->event);
	free(env);
	env = NULL;
	return fake_vdpa_teardown(state);
}

static void open_as(struct owner *o, const char *path, const char *mgmtdev, unsigned int pairs,
		    unsigned int fn)
{
	struct datapath_pref pref = {.type = &datapath_type_vdpa};
	struct datapath_open args = {.event = env->event,
				     .pref = &pref,
				     .pf = "pf0",
				     .fn = fn,
				     .queue_pairs = pairs,
				     .mtu = 1500,
				     .events = &events,
				     .ctx = o};

	memcpy(args.mac, mac, 6);
	set_param(&pref.params, &datapath_type_vdpa.base, "device", path);
	set_param(&pref.params, &datapath_type_vdpa.base, "mgmtdev", mgmtdev);
	assert_return_code(datapath_vdpa.open(&args, &o->dp, NULL), 0);
}

static void prepare(uint64_t features, int expected)
{
	struct owner *o = &env->o;
	unsigned int n = o->prepared;

	o->dp->ops->prepare(o->dp, features, env->mem);
	await(&o->prepared, n + 1);
	if (o->prepared_r != expected)
		print_message("%s\n", o->why);
	assert_int_equal(o->prepared_r, expected);
}

/* Ring i is at GPA + i·64 KiB; its used index is where it stands. */
static void begin(unsigned int n, uint16_t at, bool enabled)
{
	struct owner *o = &env->o;

	for (unsigned int i = 0; i < n; i++) {
		uint8_t *base = guest_mem_gpa_exact(env->mem, GPA + i * 0x10000, 0x10000);
		struct vring_used *used = (struct vring_used *)(void *)(base + 0x8000);

		used->idx = at;
		o->queue[i] = (struct vhost_queue){.index = i,
						   .size = 128,
						   .features = FEATURES,
						   .enabled = enabled,
						   .desc = base,
						   .driver = base + 0x4000,
						   .device = base + 0x8000,
						   .avail_idx = at,
						   .used_idx = at,
						   .kickfd = env->kickfd,
						   .callfd = env->callfd,
						   .errfd = -1,
						   .mem = env->mem};
		o->ring[i] = (struct datapath_ring){.queue = &o->queue[i], .avail_idx = at, .used_idx = at};
	}
	o->dp->ops->start(o->dp, o->ring, n);
}

static void start(unsigned int n, uint16_t at)
{
	unsigned int before = env->o.started;

	begin(n, at, true);
	await(&env->o.started, before + 1);
	if (env->o.started_r)
		print_message("%s\n", env->o.why);
	assert_int_equal(env->o.started_r, 0);
}

static void use(unsigned int queue, uint16_t idx)
{
	((struct vring_used *)env->o.queue[queue].device)->idx = idx;
}

static void stop(void)
{
	unsigned int before = env->o.stopped;

	env->o.dp->ops->stop(env->o.dp);
	await(&env->o.stopped, before + 1);
}

static const struct fake_map *mapped(uint64_t iova)
{
	for (unsigned int i = 0; i < env->d->n_map; i++)
		if (env->d->map[i].iova == iova)
			return &env->d->map[i];
	return NULL;
}

static void test_life(void **state)
{
	struct fake_vdpa *d = env->d;
	struct owner *o = &env->o;
	unsigned int batches;

	(void)state;
	open_as(o, "v*", "", 1, 2);
	prepare(FEATURES, 0);
	assert_int_equal(d->status,
			 VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
	assert_true(virtio_has(d->acked, VIRTIO_F_ACCESS_PLATFORM));
	assert_false(virtio_has(d->acked, VIRTIO_NET_F_STATUS)); /* QEMU's */
	assert_false(virtio_has(d->acked, VIRTIO_NET_F_MQ));
	assert_int_equal(mapped(GPA)->size, MEM_SIZE);
	assert_ptr_equal(fake_vdpa_at(d, 0, GPA, 1), env->mem->regions[0].hva);
	batches = d->batches;

	start(2, 0xfff0);
	assert_int_equal(d->status & VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(d->vq[0].addr.desc_user_addr, GPA);
	assert_int_equal(d->vq[1].addr.avail_user_addr, GPA + 0x14000);
	assert_int_equal(d->vq[1].addr.used_user_addr, GPA + 0x18000);
	assert_int_equal(d->vq[1].base, 0xfff0);
	assert_int_equal(d->vq[1].num, 128);
	assert_true(d->vq[0].enabled && d->vq[1].enabled && d->vq[0].kick >= 0 && d->vq[0].call >= 0);
	assert_memory_equal(fake_vdpa_command(d, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET)->data,
			    mac, 6);
	assert_int_equal(fake_vdpa_command(d, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC)->data[0], 0);
	assert_int_equal(fake_vdpa_command(d, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI)->data[0], 1);
	assert_int_equal(o->given, 2);
	assert_int_equal(o->offset[1], 4096);

	use(0, 0xfff8);
	use(1, 5); /* beyond the wrap */
	stop();
	assert_int_equal(d->suspends, 1);
	assert_int_equal(o->taken, 2);
	assert_int_equal(o->ring[0].avail_idx, 0xfff8);
	assert_int_equal(o->ring[0].used_idx, 0xfff8);
	assert_int_equal(o->ring[1].avail_idx, 5);

	start(2, 5);
	assert_int_equal(d->batches, batches); /* what was mapped stayed */
	assert_int_equal(d->vq[0].base, 5);
	assert_false(d->suspended);
	stop();
	assert_int_equal(o->failed, 0);
}

static void test_closed_while_live(void **state)
{
	(void)state;
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, 0);
	start(2, 0);
	env->o.dp->ops->close(env->o.dp);
	env->o.dp = NULL;
	await_field(env->d->fd < 0);
	assert_int_equal(env->o.stopped + env->o.failed, 0);
}

static void test_other_memory(void **state)
{
	(void)state;
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, 0);
	start(2, 0);
	stop();
	assert_return_code(add_region(&env->mem, 4 * GPA, 0x200000), 0);
	prepare(FEATURES, 0);
	assert_non_null(mapped(4 * GPA));
	start(2, 0);
	assert_non_null(mapped(GPA));
	stop();
}

/* Kernels whose devices lose their map with a reset are given it again, the control queue's included. */
static void test_reset_forgets_map(void **state)
{
	unsigned int before;

	(void)state;
	env->d->backend &= ~VIRTIO_BIT(VHOST_BACKEND_F_IOTLB_PERSIST);
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, 0);
	before = env->d->batches;
	start(2, 0);
	stop();
	start(2, 0);
	assert_int_equal(env->d->batches, before + 1);
	assert_non_null(mapped(GPA));
	assert_int_equal(env->d->n_map, 2);
	stop();
}

static void test_without_suspend(void **state)
{
	unsigned int resets;

	(void)state;
	env->d->backend &= ~VIRTIO_BIT(VHOST_BACKEND_F_SUSPEND);
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, 0);
	start(2, 3);
	use(0, 17);
	resets = env->d->resets;
	stop();
	assert_int_equal(env->d->suspends, 0);
	assert_true(env->d->resets > resets);
	assert_int_equal(env->o.ring[0].avail_idx, 17);
	assert_int_equal(env->o.ring[1].used_idx, 3);
}

/* A program may answer a reset before it has left the rings: they are given back when it has. */
static void test_vduse(void **state)
{
	struct fake_vdpa *d = fake_vdpa_add_vduse("u0");
	unsigned int batches;

	(void)state;
	open_as(&env->o, "u0", "", 1, 0);
	prepare(FEATURES, 0);
	batches = d->batches;
	start(2, 0);
	use(0, 21);
	stop();
	assert_false(d->lingers);
	assert_int_equal(env->o.ring[0].avail_idx, 21);
	start(2, 21);
	assert_int_equal(d->batches, batches); /* its resets leave the map */
	stop();
}

static void test_deaf_to_status(void **state)
{
	(void)state;
	env->d->deaf_status = VIRTIO_CONFIG_S_DRIVER_OK;
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, 0);
	begin(2, 0, true);
	await(&env->o.started, 1);
	assert_int_equal(env->o.started_r, -EIO);
	assert_string_equal(env->o.why, "vDPA device v0 does not start");
	env->o.dp->ops->close(env->o.dp);
	env->o.dp = NULL;
	await_field(env->d->fd < 0);
}

/* Memory that a step under way is looking at outlives its replacement. */
static void test_memory_under_way(void **state)
{
	struct guest_mem *first = guest_mem_ref(env->mem);

	(void)state;
	env->d->hang = VHOST_VDPA_SET_STATUS;
	open_as(&env->o, "v0", "", 1, 0);
	env->o.dp->ops->prepare(env->o.dp, FEATURES, env->mem);
	assert_return_code(add_region(&env->mem, 4 * GPA, 0x200000), 0);
	env->o.dp->ops->prepare(env->o.dp, FEATURES, env->mem);
	assert_int_equal(first->refs, 2);
	pthread_mutex_lock(&fake_kernel->lock);
	env->d->hang = 0;
	pthread_cond_broadcast(&fake_kernel->changed);
	pthread_mutex_unlock(&fake_kernel->lock);
	await(&env->o.prepared, 1);
	assert_int_equal(first->refs, 1);
	assert_non_null(mapped(4 * GPA));
	guest_mem_unref(first);
}

static void test_control_in_its_own_space(void **state)
{
	(void)state;
	open_as(&env->o, "v0", "", 1, 0);
	env->d->vqs = 3; /* the control queue is the last, in a group of its own */
	prepare(FEATURES, 0);
	assert_int_equal(env->d->asid[1], 1);
	assert_int_equal(env->d->n_map, 2);
	assert_int_equal(env->d->map[1].asid, 1);
	start(2, 0);
	assert_non_null(fake_vdpa_command(env->d, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET));
	stop();
}

static void test_control_beside_guest_memory(void **state)
{
	(void)state;
	env->d->groups = 1;
	env->d->last = 2 * GPA;
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, 0);
	assert_int_equal(env->d->n_map, 2);
	assert_int_equal(env->d->map[1].asid, 0);
	start(2, 0);
	stop();
	/* Memory comes to where the control queue was: it moves. */
	assert_return_code(add_region(&env->mem, env->d->map[1].iova, 0x200000), 0);
	prepare(FEATURES, 0);
	assert_int_equal(env->d->n_map, 3);
	start(2, 0);
	stop();
}

static void test_no_control_queue(void **state)
{
	(void)state;
	env->d->features &= ~(VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) | VIRTIO_BIT(VIRTIO_NET_F_MQ));
	env->d->vqs = 2;
	env->d->doorbells = false;
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, 0);
	assert_int_equal(env->d->n_map, 1);
	start(2, 0);
	assert_int_equal(env->d->n_command, 0);
	assert_int_equal(env->o.given, 0);
	stop();
}

static void test_settings(void **state)
{
	struct rx_filter filter = {.known = true, .promiscuous = true, .multicast_n = 1};
	struct function_settings s;
	const struct fake_command *c;
	unsigned int n;

	(void)state;
	function_settings_init(&s);
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, 0);
	start(2, 0);
	memcpy(filter.main_mac, (uint8_t[]){2, 0, 0, 0, 0, 1}, 6);
	memcpy(filter.multicast[0], (uint8_t[]){1, 0, 0x5e, 0, 0, 9}, 6);
	env->o.dp->ops->set(env->o.dp, &s, &filter);
	await_field((c = fake_vdpa_command(env->d, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET)) &&
		    memcmp(c->data, filter.main_mac, 6) == 0);
	c = fake_vdpa_command(env->d, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET);
	assert_int_equal(c->len, 4 + 4 + 6);
	assert_memory_equal(c->data + 8, filter.multicast[0], 6);
	assert_int_equal(fake_vdpa_command(env->d, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI)->data[0],
			 0);
	assert_int_equal(fake_vdpa_command(env->d, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC)->data[0],
			 0);
	s.trust = true;
	s.vlan.mode = VLAN_TRUNK;
	s.vlan.trunk[0] = 1u << 10 | 1;
	env->o.dp->ops->set(env->o.dp, &s, &filter);
	await_field(fake_vdpa_command(env->d, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC)->data[0] == 1);
	assert_int_equal(fake_vdpa_command(env->d, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD)->data[0],
			 10);
	/* What is the same already is not asked for again. */
	n = env->d->n_command;
	s.vlan.trunk[0] = 1u << 11;
	env->o.dp->ops->set(env->o.dp, &s, &filter);
	await_field(env->d->n_command == n + 2);
	assert_int_equal(fake_vdpa_command(env->d, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL)->data[0],
			 10);
	stop();
}

static void test_control_refuses(void **state)
{
	(void)state;
	env->d->deaf_class = VIRTIO_NET_CTRL_MAC;
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, 0);
	begin(2, 9, true);
	await(&env->o.started, 1);
	assert_int_equal(env->o.started_r, -EIO);
	assert_string_equal(env->o.why, "the device refuses the MAC table");
	assert_int_equal(env->o.ring[0].avail_idx, 9);
	assert_int_equal(env->d->status, 0); /* it touches nothing any more */
}

static void test_control_mute(void **state)
{
	(void)state;
	env->d->mute = true;
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, 0);
	begin(2, 9, true);
	await(&env->o.started, 1);
	assert_int_equal(env->o.started_r, -ETIMEDOUT);
	assert_non_null(strstr(env->o.why, "does not answer"));
}

static void test_refused_later(void **state)
{
	struct rx_filter filter = {.known = true};
	struct function_settings s;

	(void)state;
	function_settings_init(&s);
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, 0);
	start(2, 0);
	use(0, 4);
	env->d->deaf_class = VIRTIO_NET_CTRL_RX;
	env->o.dp->ops->set(env->o.dp, &s, &filter);
	await(&env->o.failed, 1);
	assert_string_equal(env->o.why, "the device refuses the receive mode");
	assert_int_equal(env->d->suspends, 1);
	assert_int_equal(env->o.ring[0].avail_idx, 4);
	assert_int_equal(env->o.taken, env->o.given);
}

static void test_enable(void **state)
{
	const uint64_t mq = FEATURES | VIRTIO_BIT(VIRTIO_NET_F_MQ);
	struct owner *o = &env->o;

	(void)state;
	open_as(o, "v0", "", 2, 0);
	prepare(mq, 0);
	assert_true(virtio_has(env->d->acked, VIRTIO_NET_F_MQ));
	begin(4, 0, false);
	await(&o->started, 1);
	assert_int_equal(env->d->status & VIRTIO_CONFIG_S_DRIVER_OK, 0);
	o->dp->ops->ring_enable(o->dp, 0, true);
	o->dp->ops->ring_enable(o->dp, 1, true);
	await_field(env->d->status & VIRTIO_CONFIG_S_DRIVER_OK);
	await_field(fake_vdpa_command(env->d, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET) != NULL);
	assert_int_equal(
		fake_vdpa_command(env->d, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET)->data[0], 1);
	o->dp->ops->ring_enable(o->dp, 2, true);
	o->dp->ops->ring_enable(o->dp, 3, true);
	await_field(fake_vdpa_command(env->d, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET)->data[0] ==
		    2);
	assert_true(env->d->status & VIRTIO_CONFIG_S_DRIVER_OK);
	/* The first pair off: the device stands still, and goes on where it stood. */
	use(1, 33);
	o->dp->ops->ring_enable(o->dp, 1, false);
	await_field(!(env->d->status & VIRTIO_CONFIG_S_DRIVER_OK));
	o->dp->ops->ring_enable(o->dp, 1, true);
	await_field(env->d->status & VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(env->d->vq[1].base, 33);
	stop();
	assert_int_equal(o->failed, 0);
}

static void test_ring_call(void **state)
{
	_cleanup_close_ int other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t n;

	(void)state;
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, 0);
	start(2, 0);
	env->o.dp->ops->ring_call(env->o.dp, 1, other);
	await_field(signal_eventfd(env->d->vq[1].call) >= 0 && read(other, &n, sizeof(n)) == sizeof(n));
	stop();
}

static void test_lacks(void **state)
{
	(void)state;
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES | VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4), -EOPNOTSUPP);
	assert_string_equal(env->o.why, "vDPA device v0 lacks HOST_TSO4 (feature bit 11)");
}

/* Of several devices the first that will do is taken. */
static void test_next_will_do(void **state)
{
	struct fake_vdpa *other = fake_vdpa_add("v1", "vhost_vdpa");
	char pf[VPF_NAME_MAX];
	unsigned int fn = 0;

	(void)state;
	env->d->features &= ~VIRTIO_BIT(VIRTIO_NET_F_CSUM);
	open_as(&env->o, "v*", "", 1, 3);
	prepare(FEATURES, 0);
	assert_int_equal(env->d->fd, -1);
	assert_true(other->fd >= 0);
	assert_true(vdpa_pool_user("v1", pf, &fn));
	assert_string_equal(pf, "pf0");
	assert_int_equal(fn, VPF_FUNCTION_VF(2));
	assert_false(vdpa_pool_user("v0", pf, &fn));
}

static void test_refused_ioctl(void **state)
{
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
	struct owner *o = &env->o;

	(void)state;
	env->d->refuse_errno = EPERM;
	for (unsigned int i = 0; i < ARRAY_SIZE(prepare_requests); i++) {
		env->d->refuse = prepare_requests[i];
		open_as(o, "v0", "", 1, 0);
		o->dp->ops->prepare(o->dp, FEATURES, env->mem);
		await(&o->prepared, i + 1);
		assert_true(o->prepared_r < 0 && *o->why);
		o->dp->ops->close(o->dp);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(start_requests); i++) {
		env->d->refuse = 0;
		await_field(env->d->fd < 0);
		open_as(o, "v0", "", 1, 0);
		for (;;) { /* the one before may be about to go */
			unsigned int n = o->prepared;

			o->dp->ops->prepare(o->dp, FEATURES, env->mem);
			await(&o->prepared, n + 1);
			if (o->prepared_r != -EBUSY)
				break;
			o->dp->ops->close(o->dp);
			open_as(o, "v0", "", 1, 0);
		}
		assert_int_equal(o->prepared_r, 0);
		env->d->refuse = start_requests[i];
		begin(2, 77, true);
		await(&o->started, i + 1);
		assert_int_equal(o->started_r, -EPERM);
		assert_int_equal(o->ring[1].avail_idx, 77);
		assert_int_equal(env->d->status & VIRTIO_CONFIG_S_DRIVER_OK, 0);
		o->dp->ops->close(o->dp);
	}
	o->dp = NULL;
	env->d->refuse = 0;
}

static void test_busy(void **state)
{
	struct owner second = {0};

	(void)state;
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, 0);
	open_as(&second, "v*", "", 1, 1);
	second.dp->ops->prepare(second.dp, FEATURES, env->mem);
	await(&second.prepared, 1);
	assert_int_equal(second.prepared_r, -EBUSY);
	assert_string_equal(second.why, "the only matching vDPA device is in use");
	second.dp->ops->close(second.dp);
}

static void test_unfit_devices(void **state)
{
	(void)state;
	env->d->device_id = 2;
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, -EMEDIUMTYPE);
	assert_non_null(strstr(env->o.why, "no network device"));
	env->o.dp->ops->close(env->o.dp);
	fake_vdpa_add("w0", "virtio_vdpa");
	open_as(&env->o, "w0", "", 1, 0);
	prepare(FEATURES, -EBUSY);
	assert_string_equal(env->o.why, "vDPA device w0 is on driver virtio_vdpa");
	env->o.dp->ops->close(env->o.dp);
	open_as(&env->o, "x*", "pci*", 1, 0);
	prepare(FEATURES, -ENODEV);
	assert_string_equal(
		env->o.why,
		"there is no vDPA device that matches x*, nor one to be had on management device pci*");
	env->o.dp->ops->close(env->o.dp);
	env->d->device_id = 1;
	open_as(&env->o, "v0", "", 2, 0);
	env->d->max_pairs = 1;
	prepare(FEATURES | VIRTIO_BIT(VIRTIO_NET_F_MQ), -EOPNOTSUPP);
	assert_string_equal(env->o.why, "vDPA device v0 has 1 queue pairs, and the driver may use 2");
}

static char *written(const char *file)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/sys/%s", fake_kernel->dir, file);
	return scratch_read(path, NULL);
}

static void test_bound(void **state)
{
	char *text;

	(void)state;
	fake_vdpa_add("u0", NULL);
	open_as(&env->o, "u0", "", 1, 0);
	prepare(FEATURES, 0);
	text = written("bus/vdpa/drivers/vhost_vdpa/bind");
	assert_string_equal(text, "u0");
	free(text);
	text = written("devices/u0/driver_override");
	assert_string_equal(text, "vhost_vdpa");
	free(text);
	env->o.dp->ops->close(env->o.dp);
	env->o.dp = NULL;
	for (text = NULL; !text || !*text;) { /* its thread does it */
		free(text);
		sd_event_run(env->event, 1000);
		text = written("bus/vdpa/drivers/vhost_vdpa/unbind");
	}
	assert_string_equal(text, "u0");
	free(text);
}

static void test_created(void **state)
{
	(void)state;
	fake_kernel->mgmtdev[0] = (struct vdpa_mgmtdev){.name = "pci/0000:3b:00.2", .classes = 1 << 1};
	fake_kernel->mgmtdev[1] = (struct vdpa_mgmtdev){.name = "pci/0000:3b:00.3", .classes = 1 << 2};
	fake_kernel->n_mgmtdev = 2;
	open_as(&env->o, "", "pci/*", 2, 5);
	prepare(FEATURES, 0);
	assert_int_equal(fake_kernel->created, 1);
	assert_string_equal(fake_kernel->last_new.name, "vpf-pf0-4");
	assert_string_equal(fake_kernel->last_new.mgmtdev, "pci/0000:3b:00.2");
	assert_memory_equal(fake_kernel->last_new.mac, mac, 6);
	assert_int_equal(fake_kernel->last_new.mtu, 1500);
	assert_int_equal(fake_kernel->last_new.pairs, 2);
	assert_true(fake_vdpa_get("vpf-pf0-4")->fd >= 0);
	start(2, 0);
	stop();
	env->o.dp->ops->close(env->o.dp);
	env->o.dp = NULL;
	await_field(fake_kernel->deleted == 1);
	assert_null(fake_vdpa_get("vpf-pf0-4"));
}

/* One that a killed vpfd left is replaced; a management device is asked for less until it agrees. */
static void test_created_anew(void **state)
{
	(void)state;
	fake_kernel->mgmtdev[0] = (struct vdpa_mgmtdev){.name = "pci/0000:3b:00.2", .classes = 1 << 1};
	fake_kernel->n_mgmtdev = 1;
	fake_kernel->refuse_attrs = 1ull << VDPA_ATTR_DEV_NET_CFG_MTU;
	fake_vdpa_add("vpf-pf0-pf", "vhost_vdpa");
	fake_kernel->created = 1;
	open_as(&env->o, "", "pci/0000:3b:00.2", 2, 0);
	prepare(FEATURES, 0);
	assert_int_equal(fake_kernel->deleted, 1);
	assert_int_equal(fake_kernel->created, 2);
	assert_int_equal(fake_kernel->last_new.mtu, 0);
	assert_int_equal(fake_kernel->last_new.pairs, 2);
	assert_memory_equal(fake_kernel->last_new.mac, mac, 6);
}

static void test_exhausted(void **state)
{
	(void)state;
	fake_kernel->mgmtdev[0] = (struct vdpa_mgmtdev){.name = "pci/0000:3b:00.2", .classes = 1 << 1};
	fake_kernel->n_mgmtdev = 1;
	fake_kernel->new_errno = ENOSPC;
	open_as(&env->o, "none", "pci/0000:3b:00.2", 1, 0);
	prepare(FEATURES, -ENOSPC);
	assert_string_equal(env->o.why, "cannot create vDPA device vpf-pf0-pf: as told");
}

static void test_hangs_in_prepare(void **state)
{
	uint64_t before = now_ms();

	(void)state;
	env->d->hang = VHOST_VDPA_SET_STATUS;
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, -ETIMEDOUT);
	assert_in_range(now_ms() - before, 2500, PATIENCE_MS);
	env->o.dp->ops->close(env->o.dp); /* at once */
	env->o.dp = NULL;
	pthread_mutex_lock(&fake_kernel->lock);
	env->d->hang = 0;
	pthread_cond_broadcast(&fake_kernel->changed);
	pthread_mutex_unlock(&fake_kernel->lock);
	await_field(env->d->fd < 0);
	assert_int_equal(env->o.prepared, 1);
}

static void test_hangs_in_stop(void **state)
{
	uint64_t before;

	(void)state;
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, 0);
	start(2, 0);
	use(0, 6);
	env->d->hang = VHOST_VDPA_SUSPEND;
	before = now_ms();
	stop();
	assert_in_range(now_ms() - before, 900, PATIENCE_MS);
	assert_int_equal(env->o.ring[0].avail_idx, 6);
	prepare(FEATURES, -EIO); /* of no use any more */
	pthread_mutex_lock(&fake_kernel->lock);
	env->d->hang = 0;
	pthread_cond_broadcast(&fake_kernel->changed);
	pthread_mutex_unlock(&fake_kernel->lock);
}

/* Stopped before it has started: the start is seen through, then undone; one answer. */
static void test_stopped_while_starting(void **state)
{
	(void)state;
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, 0);
	begin(2, 11, true);
	stop();
	assert_int_equal(env->o.started, 0);
	assert_int_equal(env->o.ring[0].avail_idx, 11);
	assert_int_equal(env->o.given, env->o.taken);
	start(2, 11);
	stop();
}

static void test_removed(void **state)
{
	(void)state;
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, 0);
	start(2, 0);
	use(1, 2);
	assert_return_code(unlink(env->d->node), errno);
	await(&env->o.failed, 1);
	assert_string_equal(env->o.why, "the vDPA device was removed");
	assert_int_equal(env->o.ring[1].avail_idx, 2);
}

static void test_removed_while_prepared(void **state)
{
	(void)state;
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, 0);
	assert_return_code(unlink(env->d->node), errno);
	await(&env->o.failed, 1);
}

static void test_needs_reset(void **state)
{
	(void)state;
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, 0);
	start(2, 0);
	pthread_mutex_lock(&fake_kernel->lock);
	(void)signal_eventfd(env->d->configfd); /* something changed: nothing to worry about */
	pthread_mutex_unlock(&fake_kernel->lock);
	for (unsigned int i = 0; i < 20; i++)
		sd_event_run(env->event, 1000);
	assert_int_equal(env->o.failed, 0);
	pthread_mutex_lock(&fake_kernel->lock);
	env->d->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	(void)signal_eventfd(env->d->configfd);
	pthread_mutex_unlock(&fake_kernel->lock);
	await(&env->o.failed, 1);
	assert_string_equal(env->o.why, "vDPA device v0 needs a reset");
}

static void test_not_for_migration(void **state)
{
	(void)state;
	open_as(&env->o, "v0", "", 1, 0);
	prepare(FEATURES, 0);
	env->o.queue[0] = (struct vhost_queue){.log = (struct dirty_log *)env, .mem = env->mem};
	env->o.ring[0].queue = &env->o.queue[0];
	env->o.dp->ops->start(env->o.dp, env->o.ring, 1);
	await(&env->o.started, 1);
	assert_int_equal(env->o.started_r, -EOPNOTSUPP);
}

static void test_features(void **state)
{
	struct datapath_pref pref = {.type = &datapath_type_vdpa};
	struct err err = {0};
	uint64_t f;

	(void)state;
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
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_life),
		T(test_closed_while_live),
		T(test_other_memory),
		T(test_reset_forgets_map),
		T(test_without_suspend),
		T(test_vduse),
		T(test_deaf_to_status),
		T(test_memory_under_way),
		T(test_control_in_its_own_space),
		T(test_control_beside_guest_memory),
		T(test_no_control_queue),
		T(test_settings),
		T(test_control_refuses),
		T(test_control_mute),
		T(test_refused_later),
		T(test_enable),
		T(test_ring_call),
		T(test_lacks),
		T(test_next_will_do),
		T(test_refused_ioctl),
		T(test_busy),
		T(test_unfit_devices),
		T(test_bound),
		T(test_created),
		T(test_created_anew),
		T(test_exhausted),
		T(test_hangs_in_prepare),
		T(test_hangs_in_stop),
		T(test_stopped_while_starting),
		T(test_removed),
		T(test_removed_while_prepared),
		T(test_needs_reset),
		T(test_not_for_migration),
		T(test_features),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
