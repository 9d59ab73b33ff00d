/* SPDX-License-Identifier: Apache-2.0 */

#include "binding_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "fabric/fabric.h"
#include "vhost/virtio.h"

/* The one whose bt_setup() was the last: datapath_ops_of() has no context. */
static struct bt_env *env;

static struct bt_fake *of(struct datapath *dp)
{
	return container_of(dp, struct bt_fake, dp);
}

static unsigned int type_of(const struct datapath_ops *ops);

static struct bt_plan *plan_of(const struct bt_fake *f)
{
	return &env->plan[type_of(f->dp.ops)];
}

void bt_serve(struct bt_fake *f, uint16_t n)
{
	for (unsigned int i = 0; i < BT_QUEUES; i++) {
		if (!f->ring[i])
			continue;
		env->ring[i].used->idx = (uint16_t)(env->ring[i].used->idx + n);
		f->ring[i]->avail_idx = f->ring[i]->used_idx = env->ring[i].used->idx;
	}
}

static void own(struct bt_fake *f, struct datapath_ring *r)
{
	struct bt_ring *t = &env->ring[r->queue->index];

	assert_ptr_equal(r->queue, &t->q);
	assert_true(t->started);
	assert_null(t->owner);
	assert_int_equal(r->avail_idx, t->used->idx);
	assert_int_equal(r->used_idx, t->used->idx);
	assert_ptr_equal(r->queue->mem, f->mem);
	assert_true(r->queue->features == f->features);
	t->owner = f;
	f->ring[r->queue->index] = r;
}

void bt_disown(struct bt_fake *f)
{
	for (unsigned int i = 0; i < BT_QUEUES; i++) {
		if (f->ring[i])
			env->ring[i].owner = NULL;
		f->ring[i] = NULL;
	}
}

void bt_answer(struct bt_env *e, unsigned int type, int r)
{
	struct bt_fake *f = e->plan[type].f;
	const struct datapath_events *ev;

	assert_non_null(f);
	ev = f->dp.events;
	switch (f->phase) {
	case P_PREPARING:
		f->phase = r < 0 ? P_DEAD : P_PREPARED;
		ev->prepared(f->dp.ctx, r, r < 0 ? "prepare fails" : NULL);
		break;
	case P_STARTING:
		f->phase = r < 0 ? P_DEAD : P_STARTED;
		if (r < 0)
			bt_disown(f);
		else
			bt_serve(f, 3);
		ev->started(f->dp.ctx, r, r < 0 ? "start fails" : NULL);
		break;
	case P_STOPPING:
		f->phase = P_PREPARED;
		bt_serve(f, 5);
		bt_disown(f);
		ev->stopped(f->dp.ctx);
		break;
	default:
		fail_msg("nothing is due");
	}
}

void bt_die(struct bt_env *e, unsigned int type)
{
	struct bt_fake *f = e->plan[type].f;

	assert_non_null(f);
	f->phase = P_DEAD;
	/* It got further than it can say. */
	for (unsigned int i = 0; i < BT_QUEUES; i++)
		if (f->ring[i])
			e->ring[i].used->idx = (uint16_t)(e->ring[i].used->idx + 7);
	bt_disown(f);
	f->dp.events->failed(f->dp.ctx, "it died");
}

static void due(struct bt_fake *f, enum bt_step step)
{
	enum bt_how how = plan_of(f)->how[step];

	if (how != LATE)
		bt_answer(env, type_of(f->dp.ops), how == FAIL ? -EIO : 0);
}

static uint64_t fake_features(const struct datapath_pref *pref, unsigned int queue_pairs, struct err *err)
{
	(void)pref;
	(void)queue_pairs;
	(void)err;
	return UINT64_MAX;
}

/* A tap, and something that the fabric does not have. */
static uint32_t takes_tap(const struct datapath_pref *pref)
{
	(void)pref;
	return ATTACH_TAP | ATTACH_VDPA;
}

static uint32_t takes_none(const struct datapath_pref *pref)
{
	(void)pref;
	return ATTACH_NONE;
}

static uint32_t enforces_link(const struct datapath_pref *pref)
{
	(void)pref;
	return CAN_LINK;
}

static void fake_prepare(struct datapath *dp, uint64_t features, struct guest_mem *mem)
{
	struct bt_fake *f = of(dp);

	assert_true(f->phase == P_OPEN || f->phase == P_PREPARED);
	plan_of(f)->prepares++;
	if (plan_of(f)->slow)
		nanosleep(&(struct timespec){.tv_sec = DATAPATH_STOP_US / 1000000}, NULL);
	f->phase = P_PREPARING;
	f->features = features;
	f->mem = mem;
	due(f, PREPARE);
}

static void fake_start(struct datapath *dp, struct datapath_ring *rings, unsigned int n)
{
	struct bt_fake *f = of(dp);

	assert_int_equal(f->phase, P_PREPARED);
	assert_in_range(n, 1, BT_QUEUES);
	for (unsigned int i = 0; i < n; i++) {
		own(f, &rings[i]);
		assert_true(!i || rings[i].queue->index > rings[i - 1].queue->index);
	}
	plan_of(f)->starts++;
	f->phase = P_STARTING;
	due(f, START);
}

static void fake_stop(struct datapath *dp)
{
	struct bt_fake *f = of(dp);

	assert_int_equal(f->phase, P_STARTED);
	plan_of(f)->stops++;
	f->phase = P_STOPPING;
	if (plan_of(f)->how[STOP] == FAIL)
		bt_die(env, type_of(f->dp.ops));
	else
		due(f, STOP);
}

static void fake_close(struct datapath *dp)
{
	struct bt_fake *f = of(dp);

	/* The port is closed after, not before. */
	if (f->dp.ops->takes(NULL))
		assert_true(ff_port_of(env->port)->open);
	plan_of(f)->closes++;
	plan_of(f)->f = NULL;
	bt_disown(f);
	free(f);
}

static void fake_enable(struct datapath *dp, unsigned int queue, bool enable)
{
	struct bt_fake *f = of(dp);

	assert_int_equal(f->phase, P_STARTED);
	assert_non_null(f->ring[queue]);
	assert_int_equal(env->ring[queue].q.enabled, enable);
	plan_of(f)->enables++;
}

static void fake_call(struct datapath *dp, unsigned int queue, int callfd)
{
	struct bt_fake *f = of(dp);

	assert_int_equal(f->phase, P_STARTED);
	assert_non_null(f->ring[queue]);
	assert_int_equal(env->ring[queue].q.callfd, callfd);
	plan_of(f)->calls++;
}

static void fake_set(struct datapath *dp, const struct function_settings *s, const struct rx_filter *filter)
{
	assert_int_equal(of(dp)->phase, P_STARTED);
	assert_int_equal(s->mtu, 1400);
	(void)filter;
	plan_of(of(dp))->sets++;
}

static int fake_add(struct datapath *dp, struct datapath_ring *r)
{
	struct bt_fake *f = of(dp);

	assert_int_equal(f->phase, P_STARTED);
	own(f, r);
	plan_of(f)->adds++;
	return 0;
}

static void fake_remove(struct datapath *dp, struct datapath_ring *r)
{
	struct bt_fake *f = of(dp);
	unsigned int i = r->queue->index;

	assert_int_equal(f->phase, P_STARTED);
	assert_ptr_equal(f->ring[i], r);
	env->ring[i].used->idx++;
	r->avail_idx = r->used_idx = env->ring[i].used->idx;
	env->ring[i].owner = NULL;
	f->ring[i] = NULL;
	plan_of(f)->removes++;
}

static void fake_check(struct datapath *dp)
{
	plan_of(of(dp))->checks++;
}

static int fake_control(struct datapath *dp, const uint8_t *frame, size_t len)
{
	assert_int_equal(of(dp)->phase, P_STARTED);
	assert_int_equal(len, 60);
	(void)frame;
	plan_of(of(dp))->controls++;
	return 0;
}

static int fake_open(const struct datapath_open *args, struct datapath **ret, struct err *err);

#define OPS                                                                                                  \
	.features = fake_features, .open = fake_open, .prepare = fake_prepare, .start = fake_start,          \
	.stop = fake_stop, .close = fake_close, .ring_enable = fake_enable, .ring_call = fake_call,          \
	.set = fake_set
static const struct datapath_ops fakes[BT_TYPES] = {
	[BT_VHOST_USER] = {OPS, .takes = takes_none, .enforces = enforces_link},
	[BT_VDPA] = {OPS, .takes = takes_none, .enforces = enforces_link},
	[BT_BUILTIN] = {OPS, .takes = takes_tap, .can_log = true, .ring_add = fake_add,
			.ring_remove = fake_remove, .check_rings = fake_check, .control_send = fake_control},
	[BT_VHOST_NET] = {OPS, .takes = takes_tap, .can_log = true},
};

static unsigned int type_of(const struct datapath_ops *ops)
{
	return (unsigned int)(ops - fakes);
}

static const struct datapath_type *const types[BT_TYPES] = {
	[BT_BUILTIN] = &datapath_type_builtin,
	[BT_VHOST_NET] = &datapath_type_vhost_net,
	[BT_VHOST_USER] = &datapath_type_vhost_user,
	[BT_VDPA] = &datapath_type_vdpa,
};

static unsigned int number_of(const struct datapath_type *type)
{
	unsigned int i = 0;

	while (types[i] != type)
		i++;
	return i;
}

/* In place of the real table. */
const struct datapath_ops *datapath_ops_of(const struct datapath_type *type)
{
	return &fakes[number_of(type)];
}

static int fake_open(const struct datapath_open *args, struct datapath **ret, struct err *err)
{
	struct bt_plan *p = &env->plan[number_of(args->pref->type)];
	struct bt_fake *f;

	p->opens++;
	assert_null(p->f);
	assert_ptr_equal(args->port, env->port);
	if (fakes[number_of(args->pref->type)].takes(NULL)) {
		assert_true(ff_port_of(env->port)->open);
		assert_ptr_equal(args->attach, &env->port->attach);
		assert_int_equal(args->attach->kind, ATTACH_TAP);
		assert_int_equal(args->attach->tap.n, BT_QUEUES / 2);
	} else {
		assert_null(args->attach);
	}
	if (p->how[OPEN] == FAIL)
		return err_set(err, EINVAL, NULL, "open fails");
	f = calloc(1, sizeof(*f));
	assert_non_null(f);
	f->dp = (struct datapath){&fakes[number_of(args->pref->type)], args->events, args->ctx};
	p->f = f;
	*ret = &f->dp;
	return 0;
}

static void on_changed(void *ctx, const struct datapath_pref *from, const struct datapath_pref *to,
		       uint64_t gap_us, const char *why)
{
	struct bt_env *e = ctx;

	assert_int_equal(from ? (int)number_of(from->type) : -1, e->current);
	e->current = to ? (int)number_of(to->type) : -1;
	e->changes++;
	e->gap = gap_us;
	assert_true(!gap_us == !(from && to));
	snprintf(e->why, sizeof(e->why), "%s", why ? why : "");
}

static void on_starting(void *ctx, const struct datapath_pref *pref)
{
	struct bt_env *e = ctx;

	assert_non_null(e->plan[number_of(pref->type)].f);
}

static void on_failed(void *ctx, const struct datapath_pref *pref, const char *why)
{
	struct bt_env *e = ctx;

	e->failed = (int)number_of(pref->type);
	e->failures++;
	snprintf(e->failed_why, sizeof(e->failed_why), "%s", why);
}

static void on_usable(void *ctx, bool usable)
{
	struct bt_env *e = ctx;

	assert_int_not_equal(e->usable, usable);
	e->usable = usable;
}

static void on_ring_error(void *ctx, unsigned int queue, const char *why)
{
	struct bt_env *e = ctx;

	(void)why;
	e->errors++;
	if (e->stop_at_error)
		bt_stop(e, queue);
}

static void on_doorbell(void *ctx, unsigned int queue, int fd, uint64_t offset, uint64_t size)
{
	struct bt_env *e = ctx;

	(void)offset;
	(void)size;
	if (fd >= 0)
		e->doorbells |= 1u << queue;
	else
		e->doorbells &= ~(1u << queue);
}

static void on_quiesced(void *ctx)
{
	struct bt_env *e = ctx;

	e->quiesced++;
}

static const struct binding_events events = {
	.changed = on_changed,
	.starting = on_starting,
	.failed = on_failed,
	.usable = on_usable,
	.ring_error = on_ring_error,
	.doorbell = on_doorbell,
	.quiesced = on_quiesced,
};

struct datapath_list bt_list(unsigned int n, ...)
{
	struct datapath_list l = {.n = n};
	va_list ap;

	va_start(ap, n);
	for (unsigned int i = 0; i < n; i++)
		l.pref[i].type = types[va_arg(ap, enum bt_type)];
	va_end(ap);
	return l;
}

void bt_pump(struct bt_env *e)
{
	while (sd_event_run(e->event, 0) > 0)
		;
}

void bt_settle(struct bt_env *e)
{
	do {
		bt_pump(e);
	} while (sd_event_run(e->event, 5000) > 0);
}

void bt_start(struct bt_env *e, unsigned int i)
{
	struct bt_ring *t = &e->ring[i];

	t->started = true;
	t->q.avail_idx = t->q.used_idx = t->used->idx;
	assert_int_equal(binding_queue_start(e->b, &t->q), 0);
}

void bt_stop(struct bt_env *e, unsigned int i)
{
	struct bt_ring *t = &e->ring[i];
	uint16_t avail, used;

	binding_queue_stop(e->b, i, &avail, &used);
	t->started = false;
	assert_null(t->owner);
	assert_int_equal(avail, t->used->idx);
	assert_int_equal(used, t->used->idx);
}

struct binding_info bt_info(const struct bt_env *e)
{
	struct binding_info i;

	binding_get_info(e->b, &i);
	return i;
}

void bt_new(struct bt_env *e, struct datapath_list l, bool failback)
{
	struct datapath_open open = {.event = e->event, .pf = "pf", .queue_pairs = BT_QUEUES / 2};
	struct function_settings s;

	assert_int_equal(binding_new(&open, e->port, &l, failback, &events, e, &e->b), 0);
	function_settings_init(&s);
	s.mtu = 1400;
	binding_set(e->b, &s, NULL);
}

void bt_set_list(struct bt_env *e, struct datapath_list l, bool failback)
{
	binding_set_list(e->b, &l, failback);
}

static void new_port(struct bt_env *e)
{
	struct fabric_config config = {.event = e->event};
	struct function_settings s;
	struct fabric_settings fs;
	struct pf_settings pf;
	struct err err;

	ff_reset();
	fabric_settings_init(&fs, "f");
	function_settings_init(&s);
	pf_settings_init(&pf, "pf");
	assert_int_equal(fabric_new(&config, &fs, NULL, &e->fabric, &err), 0);
	assert_int_equal(fabric_port_add(e->fabric, "pf", 0, &s, &pf.policy, NULL, &e->port), 0);
	ff_assert_log("init ");
}

int bt_setup(void **state)
{
	struct bt_env *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	*state = env = e;
	e->current = e->failed = -1;
	e->usable = true;
	assert_true(sd_event_new(&e->event) >= 0);
	new_port(e);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(guest_mem_new(&e->mem[i]), 0);
	for (unsigned int i = 0; i < BT_QUEUES; i++) {
		struct bt_ring *t = &e->ring[i];

		t->used = calloc(1, sizeof(*t->used));
		assert_non_null(t->used);
		t->used->idx = (uint16_t)(65530 + i);
		t->q = (struct vhost_queue){.index = i,
					    .size = 256,
					    .features = 1,
					    .enabled = true,
					    .device = t->used,
					    .kickfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
					    .callfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
					    .errfd = -1,
					    .mem = e->mem[0]};
	}
	return 0;
}

int bt_teardown(void **state)
{
	struct bt_env *e = *state;

	for (unsigned int i = 0; i < BT_QUEUES; i++)
		if (e->ring[i].started)
			bt_stop(e, i);
	binding_free(e->b);
	for (unsigned int i = 0; i < BT_TYPES; i++)
		assert_null(e->plan[i].f);
	assert_false(ff_port_of(e->port)->open);
	fabric_port_free(e->port);
	fabric_free(e->fabric);
	for (unsigned int i = 0; i < BT_QUEUES; i++) {
		close_fd(&e->ring[i].q.kickfd);
		close_fd(&e->ring[i].q.callfd);
		free(e->ring[i].used);
	}
	for (unsigned int i = 0; i < 2; i++)
		guest_mem_unref(e->mem[i]);
	sd_event_unref(e->event);
	free(e);
	return 0;
}

void bt_expect_bound(struct bt_env *e, int type)
{
	struct binding_info i = bt_info(e);

	assert_int_equal(i.state, BINDING_BOUND);
	assert_int_equal(e->current, type);
	assert_int_equal(number_of(i.pref.type), type);
	assert_true(e->usable);
	for (unsigned int k = 0; k < BT_QUEUES; k++)
		if (e->ring[k].started) {
			assert_non_null(e->ring[k].owner);
			assert_ptr_equal(e->ring[k].owner, e->plan[type].f);
		}
	for (unsigned int k = 0; k < BT_TYPES; k++)
		if ((int)k != type)
			assert_null(e->plan[k].f);
}

void bt_start_all(struct bt_env *e)
{
	for (unsigned int i = 0; i < BT_QUEUES; i++)
		bt_start(e, i);
}

bool bt_notified(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n);
}

void bt_stop_all(struct bt_env *e)
{
	for (unsigned int i = 0; i < BT_QUEUES; i++)
		bt_stop(e, i);
}

bool bt_owes_answer(const struct bt_fake *f)
{
	return f && (f->phase == P_PREPARING || f->phase == P_STARTING || f->phase == P_STOPPING);
}

void bt_all_now(struct bt_env *e, unsigned int type)
{
	memset(e->plan[type].how, 0, sizeof(e->plan[type].how));
}
