/* SPDX-License-Identifier: Apache-2.0 */

/* The vdpa datapath: a function's rings on a kernel vhost-vdpa device. vpfd sets it up and takes no part in
 * the traffic: kicks go from the guest to the kernel or the doorbell page, interrupts by the call
 * descriptors.
 *
 * Theory of operation. The main thread decides, the instance's own thread (side_thread.h) carries out one
 * step of vdpa_device.h at a time, since any may wait for the device. The next step follows from the wanted state and
 * the current one (advance()); requests only change the wanted state. An answer that is late counts as a failure, and
 * the instance is dead from then on: it waits for close().
 *
 * A device starts with all of its queues at once, and the front-end enables rings one by one: the device is
 * live while all rings of the first pair are enabled. Further pairs are for the control queue.
 *
 * Guest memory is looked at by the thread while it is mapped, so an instance that is closed meanwhile keeps
 * its reference, and is freed when the step is over. */

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <time.h>

#include "datapath/datapath.h"
#include "datapath/side_thread.h"
#include "datapath/vdpa/vdpa_device.h"
#include "datapath/vdpa/vdpa_inventory.h"
#include "datapath/vdpa/vdpa_offer.h"
#include "fabric/fabric.h"
#include "util/clock.h"
#include "vhost/virtio.h"

/* A device that is reset late keeps using rings that another datapath has by then. */
#define STOP_US       UINT64_C(2500000)
#define PING_EVERY_US UINT64_C(1000000) /* to a VDUSE server, whose death the kernel does not report */
#define PING_LIMIT_US UINT64_C(4000000) /* without an answer and without progress in the rings */
#define PING_FIRST_US                                                                                        \
	UINT64_C(15000000) /* it accepts a start and carries it out after: DPDK then maps all memory */

/* What the main thread hands to the side thread and back, between steps. */
struct vdpa_work {
	struct vdpa_device dev;
	bool apply;
	uint32_t calls; /* bit i: ring[i] of dev has another call descriptor */
	int r;
	struct err err;
};

enum vdpa_state {
	VDPA_OPEN,
	VDPA_PREPARING,
	VDPA_PREPARED, /* or stopped */
	VDPA_STARTING,
	VDPA_STARTED,
	VDPA_STOPPING,
	VDPA_FAILING, /* to be stopped before failed() */
	VDPA_DEAD,
};

struct vdpa {
	struct datapath base;
	sd_event *event;
	struct side_thread *thread;
	struct vdpa_work *work; /* the thread's during a step; freed by it */
	side_fn *step;          /* under way */
	enum vdpa_state state;
	bool closed;

	const struct fabric_port *port;
	unsigned int queue_pairs;
	uint8_t mac[6];
	struct guest_mem *mem;
	struct guest_mem *stale; /* still read by a running step */
	uint64_t features;
	bool want_prepare;

	struct datapath_ring *rings; /* the broker's, while started */
	unsigned int n;
	bool enabled[VHOST_USER_MAX_QUEUES], doorbell[VHOST_USER_MAX_QUEUES];
	int callfd[VHOST_USER_MAX_QUEUES]; /* new ones */
	bool call[VHOST_USER_MAX_QUEUES];
	struct vdpa_filter filter;
	bool filter_changed, check;
	uint32_t progress; /* of the rings, at the last question */
	bool answered;     /* since it was started */

	sd_event_source *timer, *ping, *config, *node;
	bool late;                                 /* the step under way, by the timer */
	char why[sizeof(((struct err *)0)->text)]; /* VDPA_FAILING */
};

static void advance(struct vdpa *v);

/* -- steps, on the thread */

static void step_prepare(void *arg)
{
	struct vdpa_work *w = arg;

	w->r = vdpa_device_prepare(&w->dev, &w->err);
}

static void step_start(void *arg)
{
	struct vdpa_work *w = arg;

	w->r = vdpa_device_start(&w->dev, &w->err);
}

static void step_stop(void *arg)
{
	struct vdpa_work *w = arg;

	w->r = vdpa_device_stop(&w->dev);
	if (w->r < 0)
		err_set(&w->err, -w->r, NULL, "the device does not stop");
}

static void step_update(void *arg)
{
	struct vdpa_work *w = arg;

	w->r = 0;
	for (unsigned int i = 0; i < w->dev.rings && w->r >= 0; i++)
		if (w->calls >> i & 1) {
			w->r = vdpa_device_call(&w->dev, w->dev.ring[i].index, w->dev.ring[i].callfd);
			if (w->r < 0)
				err_set(&w->err, -w->r, NULL,
					"the device does not take a new call descriptor");
		}
	if (w->r >= 0 && w->apply)
		w->r = vdpa_device_apply(&w->dev, &w->err);
}

static void step_ping(void *arg)
{
	struct vdpa_work *w = arg;

	w->r = vdpa_device_ping(&w->dev);
	if (w->r < 0)
		err_set(&w->err, -w->r, NULL, "the VDUSE server of vDPA device %s does not answer: %s",
			w->dev.lease.name, strerror(-w->r));
}

static void step_check(void *arg)
{
	struct vdpa_work *w = arg;

	w->r = vdpa_device_check(&w->dev);
	if (w->r < 0)
		err_set(&w->err, -w->r, NULL, "vDPA device %s needs a reset", w->dev.lease.name);
}

static void step_end(void *arg)
{
	struct vdpa_work *w = arg;

	vdpa_device_done(&w->dev);
	free(w);
}

/* -- the main thread */

static void run(struct vdpa *v, side_fn *step)
{
	v->step = step;
	v->work->err = (struct err){0};
	side_thread_run(v->thread, step);
}

static void free_instance(struct vdpa *v)
{
	if (v->thread)
		side_thread_free(v->thread);
	guest_mem_unref(v->mem);
	guest_mem_unref(v->stale);
	free(v);
}

static void no_timer(struct vdpa *v)
{
	v->timer = sd_event_source_disable_unref(v->timer);
}

static void no_watch(struct vdpa *v)
{
	v->ping = sd_event_source_disable_unref(v->ping);
	v->config = sd_event_source_disable_unref(v->config);
	v->node = sd_event_source_disable_unref(v->node);
}

static void drop_calls(struct vdpa *v)
{
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++) {
		close_fd(&v->callfd[i]);
		v->call[i] = false;
	}
}

static void take_doorbells(struct vdpa *v)
{
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++) {
		if (v->doorbell[i] && v->base.events->doorbell)
			v->base.events->doorbell(v->base.ctx, i, -1, 0, 0);
		v->doorbell[i] = false;
	}
}

static void give_doorbells(struct vdpa *v)
{
	const struct vdpa_device *d = &v->work->dev;

	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
		if (d->doorbell[i] && v->base.events->doorbell) {
			v->doorbell[i] = true;
			v->base.events->doorbell(v->base.ctx, i, d->lease.fd, (uint64_t)i * VDPA_PAGE,
						 VDPA_PAGE);
		}
}

/* Everything that was taken is completed, or the device is dead: either way the used index is the position. */
static void read_indices(struct vdpa *v)
{
	for (unsigned int i = 0; i < v->n; i++)
		v->rings[i].avail_idx = v->rings[i].used_idx = vhost_queue_used_idx(v->rings[i].queue);
}

/* The instance is no longer usable; reports it through the callback that its state calls for. Must not be touched
 * afterwards. */
static void die(struct vdpa *v, int r, const char *why)
{
	enum vdpa_state was = v->state;
	char text[sizeof(v->why)];

	snprintf(text, sizeof(text), "%s", why);
	v->state = VDPA_DEAD;
	no_timer(v);
	no_watch(v);
	take_doorbells(v);
	if (was >= VDPA_STARTING && was <= VDPA_FAILING)
		read_indices(v);
	v->rings = NULL;
	v->n = 0;
	switch (was) {
	case VDPA_PREPARING:
		v->base.events->prepared(v->base.ctx, r, text);
		return;
	case VDPA_STARTING:
		v->base.events->started(v->base.ctx, r, text);
		return;
	case VDPA_STOPPING:
		v->base.events->stopped(v->base.ctx);
		return;
	case VDPA_PREPARED:
	case VDPA_STARTED:
	case VDPA_FAILING:
		v->base.events->failed(v->base.ctx, text);
		return;
	case VDPA_OPEN:
	case VDPA_DEAD:
		return;
	}
}

static void limit(struct vdpa *v, uint64_t us);

/* Changes whenever the device gives a buffer back. */
static uint32_t progress(const struct vdpa *v)
{
	uint32_t sum = 0;

	for (unsigned int i = 0; i < v->n; i++)
		sum += (uint32_t)vhost_queue_used_idx(v->rings[i].queue) << (i & 1 ? 16 : 0);
	return sum;
}

static int on_late(sd_event_source *source, uint64_t usec, void *userdata)
{
	char why[sizeof(((struct vdpa *)0)->why)] = "the vDPA device does not answer in time";
	struct vdpa *v = userdata;

	(void)usec;
	/* The thread may have answered, and this loop be the one that is late: check once more, after other pending
	 * events. */
	if (!v->late && sd_event_source_set_time(source, clock_us() + 1) >= 0 &&
	    sd_event_source_set_enabled(source, SD_EVENT_ONESHOT) >= 0) {
		v->late = true;
		return 0;
	}
	if (v->step == step_ping && v->state == VDPA_STARTED && progress(v) != v->progress) {
		v->progress = progress(v); /* its control thread may be slow; its traffic is not */
		limit(v, PING_LIMIT_US);
		return 0;
	}
	if (v->step == step_ping)
		snprintf(why, sizeof(why), "the VDUSE server of vDPA device %s does not answer",
			 v->work->dev.lease.name);
	die(v, -ETIMEDOUT, v->state == VDPA_FAILING ? v->why : why);
	return 0;
}

static void limit(struct vdpa *v, uint64_t us)
{
	no_timer(v);
	/* Counted from now, not from when the event loop woke up. */
	v->late = false;
	sd_event_add_time(v->event, &v->timer, CLOCK_MONOTONIC, clock_us() + us, 0, on_late, v);
}

/* Stops the device, if possible, and reports that it failed. */
static void fail(struct vdpa *v, const char *why)
{
	if (v->state == VDPA_STARTED && (v->step || v->work->dev.live)) {
		snprintf(v->why, sizeof(v->why), "%s", why);
		v->state = VDPA_FAILING;
		limit(v, DATAPATH_STOP_US);
		advance(v);
	} else if (v->state == VDPA_STARTED || v->state == VDPA_PREPARED || v->state == VDPA_STARTING) {
		die(v, -EIO, why);
	}
}

static int on_ping(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct vdpa *v = userdata;

	(void)usec;
	sd_event_source_set_time_relative(source, PING_EVERY_US);
	sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	if (!v->step && v->state == VDPA_STARTED && v->work->dev.live) {
		v->progress = progress(v);
		limit(v, v->answered ? PING_LIMIT_US : PING_FIRST_US);
		run(v, step_ping);
	}
	return 0;
}

static int on_config(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct vdpa *v = userdata;
	uint64_t n;

	(void)source;
	(void)revents;
	if (read(fd, &n, sizeof(n)) > 0) {
		v->check = true;
		advance(v);
	}
	return 0;
}

/* A deleted device stays until it is closed, and deleting it waits for that; its node is removed at once. */
static int on_node(sd_event_source *source, const struct inotify_event *event, void *userdata)
{
	struct vdpa *v = userdata;

	(void)source;
	(void)event;
	if (access(v->work->dev.lease.node, F_OK) == 0)
		return 0;
	v->node = sd_event_source_disable_unref(v->node);
	fail(v, "the vDPA device was removed");
	return 0;
}

/* The device is ours: watch its signs of life. */
static void watch(struct vdpa *v)
{
	const struct vdpa_device *d = &v->work->dev;

	if (!v->config)
		sd_event_add_io(v->event, &v->config, d->configfd, EPOLLIN, on_config, v);
	if (!v->node)
		sd_event_add_inotify(v->event, &v->node, d->lease.node, IN_ATTRIB | IN_DELETE_SELF, on_node,
				     v);
	if (!v->ping && d->lease.vduse)
		sd_event_add_time_relative(v->event, &v->ping, CLOCK_MONOTONIC, PING_EVERY_US,
					   PING_EVERY_US / 10, on_ping, v);
}

/* The rings of the first pair that the driver uses, or, without any, all. */
static bool should_live(const struct vdpa *v)
{
	bool first = false;

	for (unsigned int i = 0; i < v->n; i++)
		first |= v->rings[i].queue->index < 2;
	for (unsigned int i = 0; i < v->n; i++)
		if ((!first || v->rings[i].queue->index < 2) && !v->enabled[v->rings[i].queue->index])
			return false;
	return true;
}

static uint16_t pairs_in_use(const struct vdpa *v)
{
	unsigned int pairs = 1;

	for (unsigned int i = 0; i < v->n; i++)
		if (v->enabled[v->rings[i].queue->index])
			pairs = MAX(pairs, v->rings[i].queue->index / 2 + 1);
	return (uint16_t)pairs;
}

static void begin_prepare(struct vdpa *v)
{
	struct vdpa_device *d = &v->work->dev;

	v->want_prepare = false;
	d->mem = v->mem;
	d->want_features = v->features;
	run(v, step_prepare);
}

static void begin_start(struct vdpa *v)
{
	struct vdpa_device *d = &v->work->dev;

	v->answered = false;
	v->filter.pairs = pairs_in_use(v);
	v->filter_changed = false;
	d->filter = v->filter;
	d->rings = v->n;
	for (unsigned int i = 0; i < v->n; i++) {
		const struct vhost_queue *q = v->rings[i].queue;
		struct vdpa_ring *ring = &d->ring[i];

		close_fd(&ring->kickfd);
		close_fd(&ring->callfd);
		*ring = (struct vdpa_ring){
			.index = q->index,
			.size = q->size,
			.desc = guest_mem_to_gpa(v->mem, q->desc),
			.driver = guest_mem_to_gpa(v->mem, q->driver),
			.device = guest_mem_to_gpa(v->mem, q->device),
			.base = v->rings[i].avail_idx,
			.kickfd = q->kickfd >= 0 ? fcntl(q->kickfd, F_DUPFD_CLOEXEC, 3) : -1,
			.callfd = q->callfd >= 0 ? fcntl(q->callfd, F_DUPFD_CLOEXEC, 3) : -1,
		};
	}
	drop_calls(v); /* q->callfd is the newest */
	run(v, step_start);
}

static void begin_update(struct vdpa *v)
{
	struct vdpa_device *d = &v->work->dev;

	v->work->apply = v->filter_changed;
	v->work->calls = 0;
	for (unsigned int i = 0; i < d->rings; i++) {
		unsigned int index = d->ring[i].index;

		if (!v->call[index])
			continue;
		close_fd(&d->ring[i].callfd);
		d->ring[i].callfd = steal_fd(&v->callfd[index]);
		v->call[index] = false;
		v->work->calls |= UINT32_C(1) << i;
	}
	v->filter.pairs = pairs_in_use(v);
	v->filter_changed = false;
	d->filter = v->filter;
	run(v, step_update);
}

static bool has_update(const struct vdpa *v)
{
	bool call = false;

	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
		call |= v->call[i];
	return call || v->filter_changed;
}

static void report_started(struct vdpa *v)
{
	v->state = VDPA_STARTED;
	no_timer(v);
	v->base.events->started(v->base.ctx, 0, NULL);
}

static void report_stopped(struct vdpa *v)
{
	v->state = VDPA_PREPARED;
	no_timer(v);
	drop_calls(v);
	v->rings = NULL;
	v->n = 0;
	v->base.events->stopped(v->base.ctx);
}

/* The next step, if one is due and none is running. Callers must do nothing after it. */
static void advance(struct vdpa *v)
{
	const struct vdpa_device *d = &v->work->dev;

	if (v->step)
		return;
	if (v->closed) {
		free_instance(v);
		return;
	}
	switch (v->state) {
	case VDPA_PREPARING:
		if (v->want_prepare)
			begin_prepare(v);
		return;
	case VDPA_STARTING:
	case VDPA_STARTED:
		if (d->live && !should_live(v))
			run(v, step_stop);
		else if (!d->live && should_live(v) && d->negotiated)
			begin_start(v);
		else if (!d->negotiated && !d->live)
			begin_prepare(v);
		else if (v->state == VDPA_STARTING)
			report_started(v); /* and the rest when they are enabled */
		else if (d->live && has_update(v))
			begin_update(v);
		else if (v->check) {
			v->check = false;
			run(v, step_check);
		}
		return;
	case VDPA_STOPPING:
	case VDPA_FAILING:
		if (d->live)
			run(v, step_stop);
		else if (v->state == VDPA_STOPPING)
			report_stopped(v);
		else
			die(v, -EIO, v->why);
		return;
	case VDPA_PREPARED:
		if (!d->negotiated) /* stopped: prepared for the next start */
			begin_prepare(v);
		else if (v->check) {
			v->check = false;
			run(v, step_check);
		}
		return;
	case VDPA_OPEN:
	case VDPA_DEAD:
		return;
	}
}

static void on_step(void *ctx, side_fn *fn)
{
	struct vdpa *v = ctx;
	struct vdpa_work *w = v->work;

	v->step = NULL;
	if (fn == step_prepare) {
		guest_mem_unref(v->stale);
		v->stale = NULL;
	}
	if (v->closed || v->state == VDPA_DEAD) {
		advance(v);
		return;
	}
	if (fn == step_ping) {
		v->answered = true;
		if (v->state == VDPA_STARTED)
			no_timer(v);
	}
	if (fn == step_stop)
		take_doorbells(v);
	if (fn == step_stop || (fn == step_start && w->r < 0))
		read_indices(v);
	if (w->r < 0) {
		/* It was about to stop anyway: whether that failed or not, the rings go back. */
		if (fn == step_stop || v->state == VDPA_PREPARING || v->state == VDPA_STARTING)
			die(v, w->r, v->state == VDPA_FAILING ? v->why : w->err.text);
		else if (v->state == VDPA_STOPPING)
			advance(v);
		else
			fail(v, w->err.text);
		return;
	}
	if (fn == step_prepare) {
		watch(v);
		if (v->state == VDPA_PREPARING && !v->want_prepare) {
			v->state = VDPA_PREPARED;
			no_timer(v);
			v->base.events->prepared(v->base.ctx, 0, NULL);
			return;
		}
	}
	if (fn == step_start && v->state <= VDPA_STARTED) {
		give_doorbells(v);
		if (v->state == VDPA_STARTING) {
			report_started(v);
			return;
		}
	}
	advance(v);
}

/* -- the interface */

static uint32_t vdpa_takes(const struct datapath_pref *pref)
{
	(void)pref;
	return ATTACH_NONE; /* the preference names the devices */
}

static void filter_from_port(struct vdpa *v)
{
	struct function_settings none;

	function_settings_init(&none);
	vdpa_filter_make(v->port ? &v->port->settings : &none, v->port ? v->port->filter : NULL, v->mac,
			 &v->filter);
}

static int vdpa_open(const struct datapath_open *args, struct datapath **ret, struct err *err)
{
	struct vdpa *v = calloc(1, sizeof(*v));
	struct vdpa_work *w = calloc(1, sizeof(*w));
	int r = -ENOMEM;

	if (!v || !w)
		goto fail;
	vdpa_device_init(&w->dev);
	w->dev.req.wish = *vdpa_params_of(&args->pref->params);
	snprintf(w->dev.req.pf, sizeof(w->dev.req.pf), "%s", args->pf);
	w->dev.req.fn = args->fn;
	memcpy(w->dev.req.mac, args->mac, 6);
	w->dev.req.mtu = args->mtu;
	w->dev.req.pairs = (uint16_t)args->queue_pairs;
	v->base = (struct datapath){.ops = &datapath_vdpa, .events = args->events, .ctx = args->ctx};
	v->event = args->event;
	v->port = args->port;
	v->queue_pairs = args->queue_pairs;
	memcpy(v->mac, args->mac, 6);
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
		v->callfd[i] = -1;
	filter_from_port(v);
	r = side_thread_new(args->event, w, step_end, on_step, v, &v->thread);
	if (r < 0)
		goto fail;
	v->work = w;
	*ret = &v->base;
	return 0;
fail:
	free(v);
	free(w);
	return err_set(err, -r, NULL, "cannot create a thread for a vDPA device: %s", strerror(-r));
}

static void vdpa_prepare(struct datapath *dp, uint64_t features, struct guest_mem *mem)
{
	struct vdpa *v = container_of(dp, struct vdpa, base);

	if (v->state == VDPA_DEAD) {
		dp->events->prepared(dp->ctx, -EIO, "the vDPA device does not answer");
		return;
	}
	v->features = features;
	if (v->step == step_prepare && !v->stale)
		v->stale = v->mem;
	else
		guest_mem_unref(v->mem);
	v->mem = mem ? guest_mem_ref(mem) : NULL;
	v->want_prepare = true;
	v->state = VDPA_PREPARING;
	limit(v, DATAPATH_PREPARE_US);
	advance(v);
}

static const char *unfit(const struct vdpa *v, const struct vhost_queue *q)
{
	if (q->packed)
		return "a vDPA device does not support packed rings";
	if (q->log)
		return "a vDPA device does not log its writes, which a migration needs";
	if (!v->mem || guest_mem_to_gpa(v->mem, q->desc) == UINT64_MAX ||
	    guest_mem_to_gpa(v->mem, q->driver) == UINT64_MAX ||
	    guest_mem_to_gpa(v->mem, q->device) == UINT64_MAX)
		return "a ring is outside guest memory";
	return NULL;
}

static void vdpa_start(struct datapath *dp, struct datapath_ring *rings, unsigned int n)
{
	struct vdpa *v = container_of(dp, struct vdpa, base);
	const char *why = v->state == VDPA_DEAD ? "the vDPA device does not answer" : NULL;

	for (unsigned int i = 0; i < n && !why; i++)
		why = unfit(v, rings[i].queue);
	if (why) {
		dp->events->started(dp->ctx, v->state == VDPA_DEAD ? -EIO : -EOPNOTSUPP, why);
		return;
	}
	v->rings = rings;
	v->n = n;
	for (unsigned int i = 0; i < n; i++)
		v->enabled[rings[i].queue->index] = rings[i].queue->enabled;
	v->state = VDPA_STARTING;
	limit(v, DATAPATH_START_US);
	advance(v);
}

static void vdpa_stop(struct datapath *dp)
{
	struct vdpa *v = container_of(dp, struct vdpa, base);

	if (v->state == VDPA_DEAD) {
		dp->events->stopped(dp->ctx);
		return;
	}
	v->state = VDPA_STOPPING;
	limit(v, STOP_US - 100000); /* the reason is its own */
	take_doorbells(v);
	advance(v);
}

static void vdpa_close(struct datapath *dp)
{
	struct vdpa *v = dp ? container_of(dp, struct vdpa, base) : NULL;

	if (!v)
		return;
	no_timer(v);
	no_watch(v);
	take_doorbells(v);
	drop_calls(v);
	v->rings = NULL;
	v->n = 0;
	v->closed = true;
	advance(v);
}

static void vdpa_ring_enable(struct datapath *dp, unsigned int queue, bool enable)
{
	struct vdpa *v = container_of(dp, struct vdpa, base);

	if (queue >= VHOST_USER_MAX_QUEUES || v->enabled[queue] == enable)
		return;
	v->enabled[queue] = enable;
	if (queue >= 2)
		v->filter_changed = true; /* pairs in use */
	advance(v);
}

static void vdpa_ring_call(struct datapath *dp, unsigned int queue, int callfd)
{
	struct vdpa *v = container_of(dp, struct vdpa, base);

	if (queue >= VHOST_USER_MAX_QUEUES)
		return;
	close_fd(&v->callfd[queue]);
	v->callfd[queue] = callfd >= 0 ? fcntl(callfd, F_DUPFD_CLOEXEC, 3) : -1;
	v->call[queue] = true;
	advance(v);
}

static void vdpa_set(struct datapath *dp, const struct function_settings *s, const struct rx_filter *filter)
{
	struct vdpa *v = container_of(dp, struct vdpa, base);
	struct vdpa_filter before = v->filter;

	vdpa_filter_make(s, filter, v->mac, &v->filter);
	if (vdpa_filter_equal(&before, &v->filter))
		return;
	v->filter_changed = true;
	advance(v);
}

const struct datapath_ops datapath_vdpa = {
	.stop_us = STOP_US,
	.features = vdpa_offer_features,
	.takes = vdpa_takes,
	.enforces = vdpa_offer_enforces,
	.open = vdpa_open,
	.prepare = vdpa_prepare,
	.start = vdpa_start,
	.stop = vdpa_stop,
	.close = vdpa_close,
	.ring_enable = vdpa_ring_enable,
	.ring_call = vdpa_ring_call,
	.set = vdpa_set,
	.remember = vdpa_pool_remember,
	.inventory = vdpa_inventory,
};
