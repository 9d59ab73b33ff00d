/* SPDX-License-Identifier: Apache-2.0 */

/* The kernel's vhost-net, between the rings and a tap of the function's fabric.
 *
 * What is asked of the kernel is in vhost_net.c and runs on a thread of the instance, because it waits there
 * for the threads that serve the rings, and for the netdev lock. This file has the rest: the callbacks, the tap, and
 * keeping memory for as long as the kernel uses it. */

#include <linux/virtio_net.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "datapath/datapath.h"
#include "datapath/side_thread.h"
#include "datapath/vhost_net/vhost_net.h"
#include "net/tap_queues.h"
#include "util/eventfd.h"
#include "vhost/virtio.h"

#define DIRTY_PAGE 4096u /* bytes for which a dirty log has a bit */

enum state { IDLE, PREPARING, PREPARED, STARTING, STARTED, STOPPING };

struct ring_error {
	struct instance *owner;
	unsigned int ring; /* index in rings[] */
	int fd;
	sd_event_source *source;
	bool broken;
};

struct instance {
	struct datapath base;
	sd_event *event;
	unsigned int queue_pairs;
	uint64_t features;
	struct guest_mem *mem, *next_mem; /* the kernel may know both while it prepares */
	struct dirty_log *log;
	struct vhost_net *vn; /* freed by the thread, once there is one */
	struct side_thread *thread;
	enum state state;
	bool again; /* starting: check afterwards what is enabled */
	struct datapath_ring *rings;
	unsigned int n;
	struct ring_error error[VHOST_USER_MAX_QUEUES];
};

static struct instance *of(struct datapath *dp)
{
	return container_of(dp, struct instance, base);
}

static uint64_t op_features(const struct datapath_pref *pref, unsigned int queue_pairs, struct err *err)
{
	/* What the kernel has to be told. */
	const uint64_t ring = VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_ANY_LAYOUT) |
			      VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) |
			      VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF);
	uint64_t features = vhost_net_kernel_features(err);

	(void)pref;
	if (!features)
		return 0;
	features = (features & ring) | VIRTIO_NET_FRONT_FEATURES | tap_features();
	if (queue_pairs > 1)
		features |= VIRTIO_BIT(VIRTIO_NET_F_MQ);
	return features;
}

static uint32_t op_takes(const struct datapath_pref *pref)
{
	(void)pref;
	return ATTACH_TAP;
}

static int op_open(const struct datapath_open *args, struct datapath **ret, struct err *err)
{
	const struct fabric_attach *attach = args->attach;
	struct instance *in;

	if (!attach->tap.n || attach->tap.n > VHOST_USER_MAX_QUEUE_PAIRS)
		return err_set(err, EINVAL, NULL, "the tap has no queues for vhost-net");
	in = calloc(1, sizeof(*in));
	if (!in || vhost_net_new(&in->vn) < 0) {
		free(in);
		return err_set(err, ENOMEM, NULL, "not enough memory for a datapath");
	}
	in->base = (struct datapath){&datapath_vhost_net, args->events, args->ctx};
	in->event = args->event;
	in->vn->n_tap = attach->tap.n;
	memcpy(in->vn->tap_fd, attach->tap.fd, attach->tap.n * sizeof(in->vn->tap_fd[0]));
	in->queue_pairs = args->queue_pairs;
	for (unsigned int i = 0; i < ARRAY_SIZE(in->error); i++)
		in->error[i].fd = -1;
	*ret = &in->base;
	return 0;
}

static void end_errors(struct instance *in)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(in->error); i++) {
		in->error[i].source = sd_event_source_disable_unref(in->error[i].source);
		close_fd(&in->error[i].fd);
		in->error[i].broken = false;
	}
}

/* The rings are no longer the kernel's: reads their positions, and releases what was kept for it. */
static void take_back(struct instance *in)
{
	for (unsigned int i = 0; i < in->n; i++) {
		const struct vhost_queue *q = in->rings[i].queue;
		uint16_t avail = in->vn->ring[i].avail_idx, used;

		/* The kernel completes what it took before it releases a ring; the guest may have written anything.
		 */
		used = vhost_queue_used_idx(q);
		if ((uint16_t)(avail - used) > q->size)
			used = avail;
		in->rings[i].avail_idx = avail;
		in->rings[i].used_idx = used;
	}
	in->n = 0;
	in->rings = NULL;
	vhost_net_forget_rings(in->vn);
	end_errors(in);
	dirty_log_unref(steal_ptr(&in->log));
	in->state = PREPARED;
}

/* Must come last: the owner may close the instance from its callback. */
static void prepared(struct instance *in, int r, const char *why)
{
	in->base.events->prepared(in->base.ctx, r, why);
}

static void started(struct instance *in, int r, const char *why)
{
	in->base.events->started(in->base.ctx, r, why);
}

static void on_done(void *ctx, side_fn *fn)
{
	struct instance *in = ctx;
	char why[VHOST_NET_WHY]; /* outlives a close */
	int r;

	if (fn == vhost_net_stop) {
		take_back(in);
		in->base.events->stopped(in->base.ctx);
		return;
	}
	if (in->state == STOPPING) /* the next one */
		return;
	r = vhost_net_result(in->vn, why);
	if (fn == vhost_net_prepare) {
		guest_mem_unref(in->mem);
		in->mem = steal_ptr(&in->next_mem);
		in->state = r < 0 ? IDLE : PREPARED;
		prepared(in, r, r < 0 ? why : NULL);
	} else if (fn == vhost_net_start) {
		if (r < 0) {
			take_back(in);
		} else {
			in->state = STARTED;
			if (in->again)
				side_thread_run(in->thread, vhost_net_apply);
		}
		started(in, r, r < 0 ? why : NULL);
	} else if (r < 0) {
		take_back(in);
		in->base.events->failed(in->base.ctx, why);
	}
}

static int make_table(const struct guest_mem *mem, struct vhost_memory **ret)
{
	struct vhost_memory *table = calloc(1, sizeof(*table) + mem->n * sizeof(table->regions[0]));

	if (!table)
		return -ENOMEM;
	table->nregions = mem->n;
	for (unsigned int i = 0; i < mem->n; i++)
		table->regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = mem->regions[i].gpa,
			.memory_size = mem->regions[i].size,
			.userspace_addr = (uintptr_t)mem->regions[i].hva,
		};
	*ret = table;
	return 0;
}

static int check_features(struct instance *in, uint64_t features, struct err *err)
{
	uint64_t can = op_features(NULL, in->queue_pairs, err);

	if (!can)
		return -ENODEV;
	if (features & ~can)
		return err_set(err, EOPNOTSUPP, NULL,
			       "vhost-net lacks features that the driver uses (0x%llx)",
			       (unsigned long long)(features & ~can));
	/* The header that the tap has. */
	if (!virtio_has(features, VIRTIO_F_VERSION_1) && !virtio_has(features, VIRTIO_NET_F_MRG_RXBUF))
		return err_set(
			err, EOPNOTSUPP, NULL,
			"vhost-net does not support drivers older than virtio 1 without mergeable buffers");
	return 0;
}

static int begin_prepare(struct instance *in, uint64_t features, struct guest_mem *mem, struct err *err)
{
	int r = check_features(in, features, err);

	if (r < 0)
		return r;
	if (!in->thread) {
		r = side_thread_new(in->event, in->vn, vhost_net_free, on_done, in, &in->thread);
		if (r < 0)
			return err_set(err, -r, NULL, "cannot create a thread for vhost-net: %s",
				       strerror(-r));
	}
	free(steal_ptr(&in->vn->table));
	if (mem && make_table(mem, &in->vn->table) < 0)
		return err_set(err, ENOMEM, NULL, "not enough memory for a datapath");
	in->next_mem = mem ? guest_mem_ref(mem) : NULL;
	in->features = in->vn->features = features;
	in->vn->pairs = virtio_has(features, VIRTIO_NET_F_MQ) ? in->queue_pairs : 1;
	in->state = PREPARING;
	side_thread_run(in->thread, vhost_net_prepare);
	return 0;
}

static void op_prepare(struct datapath *dp, uint64_t features, struct guest_mem *mem)
{
	struct instance *in = of(dp);
	struct err err = {0};
	int r = begin_prepare(in, features, mem, &err);

	if (r < 0)
		prepared(in, r, err.text);
}

/* The kernel writes bits of the log at the addresses that it is given and asks for no length. */
static int check_log(const struct instance *in, const struct dirty_log *log, void **ret_bits, struct err *err)
{
	uint64_t pages;

	*ret_bits = dirty_log_bits(log, &pages);
	for (unsigned int i = 0; i < in->mem->n; i++) {
		const struct guest_mem_region *r = &in->mem->regions[i];

		if ((r->gpa + r->size - 1) / DIRTY_PAGE >= pages)
			return err_set(err, EOPNOTSUPP, NULL,
				       "the dirty log is shorter than guest memory: vhost-net cannot use it");
	}
	return 0;
}

static int check_ring_log(const struct vhost_queue *q, struct vhost_net_ring *ring, struct err *err)
{
	uint64_t pages, size = sizeof(struct vring_used) + q->size * sizeof(struct vring_used_elem) + 2, end;

	(void)dirty_log_bits(q->log, &pages);
	if (q->device_gpa == VHOST_QUEUE_NOT_LOGGED)
		return 0;
	if (__builtin_add_overflow(q->device_gpa, size, &end) || (end - 1) / DIRTY_PAGE >= pages)
		return err_set(err, EOPNOTSUPP, NULL,
			       "a ring's bits in the dirty log are beyond its end: vhost-net cannot use it");
	ring->addr.flags = 1 << VHOST_VRING_F_LOG;
	ring->addr.log_guest_addr = q->device_gpa;
	return 0;
}

static int on_ring_error(sd_event_source *source, int fd, uint32_t revents, void *userdata);

static int fill_ring(struct instance *in, unsigned int i, struct err *err)
{
	const struct datapath_ring *ring = &in->rings[i];
	const struct vhost_queue *q = ring->queue;
	struct ring_error *error = &in->error[i];
	struct vhost_net_ring *to = &in->vn->ring[i];
	int r;

	if (q->packed)
		return err_set(err, EOPNOTSUPP, NULL, "vhost-net does not support packed rings");
	if (q->kickfd < 0)
		return err_set(err, EOPNOTSUPP, NULL,
			       "vhost-net does not poll rings: it needs a kick descriptor");
	error->owner = in;
	error->ring = i;
	error->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = error->fd < 0
		    ? -errno
		    : sd_event_add_io(in->event, &error->source, error->fd, EPOLLIN, on_ring_error, error);
	if (r < 0)
		return err_set(err, -r, NULL, "no descriptor for a ring: %s", strerror(-r));
	*to = (struct vhost_net_ring){
		.index = q->index,
		.size = q->size,
		.addr = {.desc_user_addr = (uintptr_t)q->desc,
			 .avail_user_addr = (uintptr_t)q->driver,
			 .used_user_addr = (uintptr_t)q->device},
		.avail_idx = ring->avail_idx,
		.kickfd = q->kickfd,
		.callfd = q->callfd < 0 ? -1 : fcntl(q->callfd, F_DUPFD_CLOEXEC, 3),
		.errfd = error->fd,
		.enabled = q->enabled,
	};
	if (q->callfd >= 0 && to->callfd < 0)
		return err_set(err, errno, NULL, "no descriptor for a ring: %s", strerror(errno));
	/* Where there is no log the kernel must not be told of one, for any ring. */
	if (q->log != in->rings[0].queue->log)
		return err_set(err, EOPNOTSUPP, NULL, "vhost-net logs all rings of a function or none");
	return q->log ? check_ring_log(q, to, err) : 0;
}

static int begin_start(struct instance *in, struct err *err)
{
	struct dirty_log *log = in->rings[0].queue->log;
	int r = 0;

	in->vn->log = NULL;
	if (!in->mem)
		return err_set(err, EINVAL, NULL, "vhost-net does not know the guest's memory");
	if (log)
		r = check_log(in, log, &in->vn->log, err);
	for (unsigned int i = 0; i < in->n && !r; i++)
		r = fill_ring(in, i, err);
	return r;
}

static void op_start(struct datapath *dp, struct datapath_ring *rings, unsigned int n)
{
	struct instance *in = of(dp);
	struct err err = {0};
	int r;

	in->rings = rings;
	in->n = n;
	r = begin_start(in, &err);
	if (r < 0) {
		in->rings = NULL;
		in->n = 0;
		vhost_net_forget_rings(in->vn);
		end_errors(in);
		started(in, r, err.text);
		return;
	}
	if (rings[0].queue->log)
		in->log = dirty_log_ref(rings[0].queue->log);
	in->vn->n = n;
	in->again = false;
	in->state = STARTING;
	side_thread_run(in->thread, vhost_net_start);
}

static void op_stop(struct datapath *dp)
{
	struct instance *in = of(dp);

	in->state = STOPPING;
	side_thread_run(in->thread, vhost_net_stop);
}

static void op_close(struct datapath *dp)
{
	struct instance *in = dp ? of(dp) : NULL;

	if (!in)
		return;
	if (in->thread) {
		vhost_net_tear(in->vn);
		side_thread_free(in->thread);
	} else {
		vhost_net_free(in->vn);
	}
	end_errors(in);
	dirty_log_unref(in->log);
	guest_mem_unref(in->mem);
	guest_mem_unref(in->next_mem);
	free(in);
}

static int place_of(const struct instance *in, unsigned int queue)
{
	for (unsigned int i = 0; i < in->n; i++)
		if (in->rings[i].queue->index == queue)
			return (int)i;
	return -ENOENT;
}

static void enable(struct instance *in, unsigned int i, bool on)
{
	vhost_net_enable(in->vn, i, on);
	if (in->state == STARTING)
		in->again = true;
	else if (in->state == STARTED)
		side_thread_run(in->thread, vhost_net_apply);
}

static void op_ring_enable(struct datapath *dp, unsigned int queue, bool on)
{
	struct instance *in = of(dp);
	int i = place_of(in, queue);

	if (i >= 0 && !in->error[i].broken)
		enable(in, (unsigned int)i, on);
}

static void op_ring_call(struct datapath *dp, unsigned int queue, int callfd)
{
	struct instance *in = of(dp);
	int i = place_of(in, queue);

	/* If the kernel refuses it, that only affects the front-end itself. */
	if (i >= 0 && vhost_net_call(in->vn, (unsigned int)i, callfd) == 0 && callfd >= 0)
		(void)signal_eventfd(
			callfd); /* buffers completed between the two were announced on neither */
}

static int on_ring_error(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct ring_error *error = userdata;
	struct instance *in = error->owner;
	unsigned int queue = in->rings[error->ring].queue->index;

	(void)fd;
	(void)revents;
	if (error->broken || in->state == STOPPING)
		return 0;
	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	error->broken = true;
	enable(in, error->ring, false);
	in->base.events->ring_error(in->base.ctx, queue, "the kernel found it broken");
	return 0;
}

const struct datapath_ops datapath_vhost_net = {
	.features = op_features,
	.can_log = true,
	.takes = op_takes,
	.open = op_open,
	.prepare = op_prepare,
	.start = op_start,
	.stop = op_stop,
	.close = op_close,
	.ring_enable = op_ring_enable,
	.ring_call = op_ring_call,
};
