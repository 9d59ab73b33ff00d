/* SPDX-License-Identifier: Apache-2.0 */

/* A binding between a driver that starts and stops rings, a list of datapaths that changes, and datapaths
 * that answer at once, late, wrongly, never, or die. They are fakes that insist on the contract: a ring has
 * one owner, begins where the last one left it, and nobody is called out of turn. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "broker/binding.h"
#include "fabric/fabric.h"
#include "vhost/virtio.h"

#define QUEUES 4
#define A      DATAPATH_VHOST_USER /* leads elsewhere; stopped for each change of its rings */
#define B      DATAPATH_VDPA
#define C      DATAPATH_BUILTIN /* takes rings one by one */
#define D      DATAPATH_VHOST_NET

enum how { NOW, LATE, FAIL };
enum step { OPEN, PREPARE, START, STOP, STEPS };
enum phase { P_OPEN, P_PREPARING, P_PREPARED, P_STARTING, P_STARTED, P_STOPPING, P_DEAD };

struct fake {
	struct datapath dp;
	enum phase phase;
	uint64_t features;
	struct guest_mem *mem;
	struct datapath_ring *ring[QUEUES];
};

struct plan { /* of all instances of a type */
	enum how how[STEPS];
	struct fake *f; /* the one that there is */
	bool slow;      /* prepare takes the time that a stop may take */
	unsigned int opens, prepares, starts, stops, closes, adds, removes, enables, calls, sets;
};

struct test_ring {
	struct vhost_queue q;
	struct vring_used *used;
	struct fake *owner;
	bool started;
};

static struct env {
	sd_event *event;
	struct binding *b;
	struct plan plan[DATAPATH_TYPES];
	struct test_ring ring[QUEUES];
	struct guest_mem *mem[2];
	int current; /* as told by `changed`; -1: none */
	bool usable;
	unsigned int changes, failures, quiesced, errors, doorbells;
	uint64_t gap;
	char why[160], failed_why[160];
	int failed;
	bool stop_at_error;
} env, *e = &env;

static struct fake *of(struct datapath *dp)
{
	return container_of(dp, struct fake, dp);
}

static unsigned int type_of(const struct datapath_ops *ops);

static struct plan *plan_of(const struct fake *f)
{
	return &e->plan[type_of(f->dp.ops)];
}

/* What a guest's ring sees of being served. */
static void serve(struct fake *f, uint16_t n)
{
	for (unsigned int i = 0; i < QUEUES; i++) {
		if (!f->ring[i])
			continue;
		e->ring[i].used->idx = (uint16_t)(e->ring[i].used->idx + n);
		f->ring[i]->avail_idx = f->ring[i]->used_idx = e->ring[i].used->idx;
	}
}

static void own(struct fake *f, struct datapath_ring *r)
{
	struct test_ring *t = &e->ring[r->queue->index];

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

static void disown(struct fake *f)
{
	for (unsigned int i = 0; i < QUEUES; i++) {
		if (f->ring[i])
			e->ring[i].owner = NULL;
		f->ring[i] = NULL;
	}
}

/* Answers what is due; r < 0: badly. */
static void answer(unsigned int type, int r)
{
	struct fake *f = e->plan[type].f;
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
			disown(f);
		else
			serve(f, 3);
		ev->started(f->dp.ctx, r, r < 0 ? "start fails" : NULL);
		break;
	case P_STOPPING:
		f->phase = P_PREPARED;
		serve(f, 5);
		disown(f);
		ev->stopped(f->dp.ctx);
		break;
	default:
		fail_msg("nothing is due");
	}
}

static void die(unsigned int type)
{
	struct fake *f = e->plan[type].f;

	assert_non_null(f);
	f->phase = P_DEAD;
	/* It got further than it can say. */
	for (unsigned int i = 0; i < QUEUES; i++)
		if (f->ring[i])
			e->ring[i].used->idx = (uint16_t)(e->ring[i].used->idx + 7);
	disown(f);
	f->dp.events->failed(f->dp.ctx, "it died");
}

static void due(struct fake *f, enum step step)
{
	enum how how = plan_of(f)->how[step];

	if (how != LATE)
		answer(type_of(f->dp.ops), how == FAIL ? -EIO : 0);
}

static uint64_t fake_features(const struct datapath_pref *pref, unsigned int queue_pairs, struct err *err)
{
	(void)pref;
	(void)queue_pairs;
	(void)err;
	return UINT64_MAX;
}

static uint32_t enforces_all(const struct datapath_pref *pref, uint32_t fabric)
{
	(void)pref;
	return fabric;
}

static uint32_t enforces_link(const struct datapath_pref *pref, uint32_t fabric)
{
	(void)pref;
	return fabric & CAN_LINK;
}

static void fake_prepare(struct datapath *dp, uint64_t features, struct guest_mem *mem)
{
	struct fake *f = of(dp);

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
	struct fake *f = of(dp);

	assert_int_equal(f->phase, P_PREPARED);
	assert_in_range(n, 1, QUEUES);
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
	struct fake *f = of(dp);

	assert_int_equal(f->phase, P_STARTED);
	plan_of(f)->stops++;
	f->phase = P_STOPPING;
	if (plan_of(f)->how[STOP] == FAIL)
		die(type_of(f->dp.ops));
	else
		due(f, STOP);
}

static void fake_close(struct datapath *dp)
{
	struct fake *f = of(dp);

	plan_of(f)->closes++;
	plan_of(f)->f = NULL;
	disown(f);
	free(f);
}

static void fake_enable(struct datapath *dp, unsigned int queue, bool enable)
{
	struct fake *f = of(dp);

	assert_int_equal(f->phase, P_STARTED);
	assert_non_null(f->ring[queue]);
	assert_int_equal(e->ring[queue].q.enabled, enable);
	plan_of(f)->enables++;
}

static void fake_call(struct datapath *dp, unsigned int queue, int callfd)
{
	struct fake *f = of(dp);

	assert_int_equal(f->phase, P_STARTED);
	assert_non_null(f->ring[queue]);
	assert_int_equal(e->ring[queue].q.callfd, callfd);
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
	struct fake *f = of(dp);

	assert_int_equal(f->phase, P_STARTED);
	own(f, r);
	plan_of(f)->adds++;
	return 0;
}

static void fake_remove(struct datapath *dp, struct datapath_ring *r)
{
	struct fake *f = of(dp);
	unsigned int i = r->queue->index;

	assert_int_equal(f->phase, P_STARTED);
	assert_ptr_equal(f->ring[i], r);
	e->ring[i].used->idx++;
	r->avail_idx = r->used_idx = e->ring[i].used->idx;
	e->ring[i].owner = NULL;
	f->ring[i] = NULL;
	plan_of(f)->removes++;
}

static int fake_open(const struct datapath_open *args, struct datapath **ret, struct err *err);

#define OPS(n)                                                                                               \
	.name = (n), .features = fake_features, .open = fake_open, .prepare = fake_prepare,                  \
	.start = fake_start, .stop = fake_stop, .close = fake_close, .ring_enable = fake_enable,             \
	.ring_call = fake_call, .set = fake_set
static const struct datapath_ops fakes[DATAPATH_TYPES] = {
	[A] = {OPS("a"), .enforces = enforces_link},
	[B] = {OPS("b"), .enforces = enforces_link},
	[C] = {OPS("c"), .enforces = enforces_all, .ring_add = fake_add, .ring_remove = fake_remove},
	[D] = {OPS("d"), .enforces = enforces_all},
};

static unsigned int type_of(const struct datapath_ops *ops)
{
	return (unsigned int)(ops - fakes);
}

/* In place of the real table. */
const struct datapath_ops *datapath_ops_of(enum datapath_type type)
{
	return &fakes[type];
}

static int fake_open(const struct datapath_open *args, struct datapath **ret, struct err *err)
{
	struct plan *p = &e->plan[args->pref->type];
	struct fake *f;

	p->opens++;
	assert_null(p->f);
	if (p->how[OPEN] == FAIL)
		return err_set(err, EINVAL, NULL, "open fails");
	f = calloc(1, sizeof(*f));
	assert_non_null(f);
	f->dp = (struct datapath){&fakes[args->pref->type], args->events, args->ctx};
	p->f = f;
	*ret = &f->dp;
	return 0;
}

static void on_changed(void *ctx, const struct datapath_pref *from, const struct datapath_pref *to,
		       uint64_t gap_us, const char *why)
{
	(void)ctx;
	assert_int_equal(from ? (int)from->type : -1, e->current);
	e->current = to ? (int)to->type : -1;
	e->changes++;
	e->gap = gap_us;
	assert_true(!gap_us == !(from && to));
	snprintf(e->why, sizeof(e->why), "%s", why ? why : "");
}

static void on_starting(void *ctx, const struct datapath_pref *pref)
{
	(void)ctx;
	assert_non_null(e->plan[pref->type].f);
}

static void on_failed(void *ctx, const struct datapath_pref *pref, const char *why)
{
	(void)ctx;
	e->failed = (int)pref->type;
	e->failures++;
	snprintf(e->failed_why, sizeof(e->failed_why), "%s", why);
}

static void on_usable(void *ctx, bool usable)
{
	(void)ctx;
	assert_int_not_equal(e->usable, usable);
	e->usable = usable;
}

static void stop(unsigned int i);

static void on_ring_error(void *ctx, unsigned int queue, const char *why)
{
	(void)ctx;
	(void)why;
	e->errors++;
	if (e->stop_at_error)
		stop(queue);
}

static void on_doorbell(void *ctx, unsigned int queue, int fd, uint64_t offset, uint64_t size)
{
	(void)ctx;
	(void)offset;
	(void)size;
	if (fd >= 0)
		e->doorbells |= 1u << queue;
	else
		e->doorbells &= ~(1u << queue);
}

static void on_quiesced(void *ctx)
{
	(void)ctx;
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

static struct datapath_list list(unsigned int n, ...)
{
	struct datapath_list l = {.n = n};
	va_list ap;

	va_start(ap, n);
	for (unsigned int i = 0; i < n; i++)
		l.pref[i].type = va_arg(ap, enum datapath_type);
	va_end(ap);
	return l;
}

/* All that can happen by itself. */
static void pump(void)
{
	while (sd_event_run(e->event, 0) > 0)
		;
}

/* And that the rings have settled. */
static void settle(void)
{
	do {
		pump();
	} while (sd_event_run(e->event, 5000) > 0);
}

#define until(condition)                                                                                     \
	do {                                                                                                 \
		for (unsigned int turns = 0; !(condition); turns++) {                                        \
			assert_true(turns < 1000);                                                           \
			assert_true(sd_event_run(e->event, 10000) >= 0);                                     \
		}                                                                                            \
	} while (0)

static void start(unsigned int i)
{
	struct test_ring *t = &e->ring[i];

	t->started = true;
	t->q.avail_idx = t->q.used_idx = t->used->idx;
	assert_int_equal(binding_queue_start(e->b, &t->q), 0);
}

static void stop(unsigned int i)
{
	struct test_ring *t = &e->ring[i];
	uint16_t avail, used;

	binding_queue_stop(e->b, i, &avail, &used);
	t->started = false;
	assert_null(t->owner);
	assert_int_equal(avail, t->used->idx);
	assert_int_equal(used, t->used->idx);
}

static struct binding_info info(void)
{
	struct binding_info i;

	binding_get_info(e->b, &i);
	return i;
}

static void new_binding(struct datapath_list l, bool failback)
{
	struct datapath_open open = {.event = e->event, .pf = "pf", .queue_pairs = QUEUES / 2};
	struct function_settings s;

	assert_int_equal(binding_new(&open, &l, failback, &events, e, &e->b), 0);
	function_settings_init(&s);
	s.mtu = 1400;
	binding_set(e->b, &s, NULL);
}

static void set_list(struct datapath_list l, bool failback)
{
	binding_set_list(e->b, &l, failback);
}

static int setup(void **state)
{
	(void)state;
	memset(e, 0, sizeof(*e));
	e->current = e->failed = -1;
	e->usable = true;
	assert_true(sd_event_new(&e->event) >= 0);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(guest_mem_new(&e->mem[i]), 0);
	for (unsigned int i = 0; i < QUEUES; i++) {
		struct test_ring *t = &e->ring[i];

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

static int teardown(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < QUEUES; i++)
		if (e->ring[i].started)
			stop(i);
	binding_free(e->b);
	for (unsigned int i = 0; i < DATAPATH_TYPES; i++)
		assert_null(e->plan[i].f);
	for (unsigned int i = 0; i < QUEUES; i++) {
		close_fd(&e->ring[i].q.kickfd);
		close_fd(&e->ring[i].q.callfd);
		free(e->ring[i].used);
	}
	for (unsigned int i = 0; i < 2; i++)
		guest_mem_unref(e->mem[i]);
	sd_event_unref(e->event);
	return 0;
}

/* Every started ring is served by that type; so all is as it should be. */
static void expect_bound(int type)
{
	struct binding_info i = info();

	assert_int_equal(i.state, BINDING_BOUND);
	assert_int_equal(e->current, type);
	assert_int_equal(i.pref.type, type);
	assert_true(e->usable);
	for (unsigned int k = 0; k < QUEUES; k++)
		if (e->ring[k].started) {
			assert_non_null(e->ring[k].owner);
			assert_ptr_equal(e->ring[k].owner, e->plan[type].f);
		}
	for (unsigned int k = 0; k < DATAPATH_TYPES; k++)
		if ((int)k != type)
			assert_null(e->plan[k].f);
}

static void start_all(void)
{
	for (unsigned int i = 0; i < QUEUES; i++)
		start(i);
}

static bool notified(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n);
}

/* Nothing is open before a ring starts, nor after the last one stopped. */
static void test_on_demand(void **state)
{
	(void)state;
	new_binding(list(2, A, C), false);
	settle();
	assert_int_equal(e->plan[A].opens, 0);
	assert_int_equal(info().state, BINDING_IDLE);
	assert_string_equal(info().datapath, "none");
	for (unsigned int round = 1; round < 4; round++) {
		start_all();
		settle();
		expect_bound(A);
		/* all rings at once, though they came one by one */
		assert_int_equal(e->plan[A].starts, round);
		assert_true(e->plan[A].sets >= round);
		/* Nothing has been done yet that a driver would have to be told of. */
		for (unsigned int i = 0; i < QUEUES; i++)
			assert_true(notified(e->ring[i].q.kickfd) && !notified(e->ring[i].q.callfd));
		assert_true(binding_quiesce(e->b, -1));
		for (unsigned int i = 0; i < QUEUES; i++)
			stop(i);
		settle();
		assert_null(e->plan[A].f);
		assert_int_equal(e->current, -1);
		assert_int_equal(info().state, BINDING_IDLE);
	}
	assert_int_equal(info().binds, 3);
	assert_int_equal(info().moves, 0);
	assert_int_equal(info().failures, 0);
	assert_int_equal(e->failures, 0);
	assert_int_equal(e->plan[C].opens, 0);
}

static void test_bind_fails_at_each_step(void **state)
{
	(void)state;
	new_binding(list(3, A, B, C), false);
	for (enum step s = OPEN; s <= START; s++) {
		e->plan[A].how[s] = e->plan[B].how[s] = FAIL;
		start_all();
		settle();
		expect_bound(C);
		assert_int_equal(e->failed, B);
		assert_int_equal(info().position, 2);
		assert_non_null(strstr(info().last_error, "fails"));
		e->plan[A].how[s] = e->plan[B].how[s] = NOW;
		for (unsigned int i = 0; i < QUEUES; i++)
			stop(i);
		settle();
		assert_int_equal(info().failures, 2 * (s + 1));
	}
	assert_int_equal(e->failures, 6);
	/* it dies between two steps */
	e->plan[A].how[PREPARE] = LATE;
	start_all();
	settle();
	die(A);
	settle();
	expect_bound(B);
	for (unsigned int i = 0; i < QUEUES; i++)
		stop(i);
	settle();
	e->plan[A].how[PREPARE] = NOW;
	e->plan[A].how[START] = LATE;
	start_all();
	settle();
	die(A);
	settle();
	expect_bound(B);
}

/* One that never answers is left after its time, whatever it was asked. */
static void test_never(void **state)
{
	(void)state;
	new_binding(list(2, A, C), false);
	e->plan[A].how[PREPARE] = LATE;
	start_all();
	until(e->current == C);
	expect_bound(C);
	assert_string_equal(e->failed_why, "it did not get ready in time");
	e->plan[A].how[PREPARE] = NOW;
	e->plan[A].how[START] = LATE;
	set_list(list(2, A, D), false);
	until(e->failed == A && e->current == D);
	settle();
	expect_bound(D);
	assert_string_equal(info().last_error, "it did not start in time");
	/* and to give back the rings: they are where memory says */
	e->plan[D].how[STOP] = LATE;
	set_list(list(1, C), false);
	settle();
	assert_int_equal(e->plan[D].f->phase, P_STOPPING);
	serve(e->plan[D].f, 11);
	until(e->current == C);
	expect_bound(C);
	assert_string_equal(e->failed_why, "it did not give back the rings in time");
	assert_true(e->gap >= DATAPATH_STOP_US && e->gap < 2 * DATAPATH_STOP_US);
}

/* A step's time begins with the step, whatever took how long before it in the same turn of the event loop. */
static void test_loop_was_late(void **state)
{
	(void)state;
	new_binding(list(2, A, C), false);
	start_all();
	settle();
	expect_bound(A);
	e->plan[A].how[STOP] = LATE;
	e->plan[C].slow = true;
	set_list(list(1, C), false);
	settle();
	assert_int_equal(e->plan[A].f->phase, P_STOPPING);
	answer(A, 0);
	settle();
	expect_bound(C);
	assert_int_equal(info().failures, 0);
}

static void test_none(void **state)
{
	unsigned int told;

	(void)state;
	new_binding(list(2, A, B), false);
	e->plan[A].how[OPEN] = e->plan[B].how[START] = FAIL;
	start_all();
	until(!e->usable);
	assert_int_equal(info().state, BINDING_NONE);
	assert_int_equal(e->current, -1);
	told = e->failures;
	until(e->plan[A].opens == 3);
	assert_int_equal(e->failures, told); /* the same again is no news */
	assert_true(info().failures >= 4);
	e->plan[B].how[START] = NOW;
	until(e->usable);
	settle();
	expect_bound(B);
	assert_int_equal(info().moves, 0);
	/* nothing to be had any more, and then no ring to want it */
	e->plan[B].how[OPEN] = FAIL;
	die(B);
	until(!e->usable);
	assert_int_equal(e->current, -1);
	assert_string_equal(e->why, "it died");
	for (unsigned int i = 0; i < QUEUES; i++)
		stop(i);
	settle();
	assert_true(e->usable);
	assert_int_equal(info().state, BINDING_IDLE);
}

static void test_move(void **state)
{
	(void)state;
	new_binding(list(1, C), false);
	start_all();
	settle();
	expect_bound(C);
	for (enum how prepare = NOW; prepare <= LATE; prepare++)
		for (unsigned int late = 0; late < 4; late++) {
			unsigned int from = late % 2 ? A : C, to = late % 2 ? C : A;
			uint64_t moves = info().moves;

			set_list(list(1, from), false);
			settle();
			expect_bound((int)from);
			moves += info().moves - moves;
			e->plan[to].how[PREPARE] = prepare;
			e->plan[to].how[START] = e->plan[from].how[STOP] = late / 2 ? LATE : NOW;
			for (unsigned int i = 0; i < QUEUES; i++) {
				notified(e->ring[i].q.kickfd);
				notified(e->ring[i].q.callfd);
			}
			set_list(list(1, to), false);
			settle();
			if (prepare == LATE) {
				assert_int_equal(info().state, BINDING_MOVING);
				assert_int_equal(e->plan[from].f->phase, P_STARTED); /* meanwhile */
				serve(e->plan[from].f, 100);
				answer(to, 0);
				settle();
			}
			if (late / 2) {
				assert_int_equal(e->plan[from].f->phase, P_STOPPING);
				assert_int_equal(e->plan[to].f->phase, P_PREPARED);
				answer(from, 0);
				settle();
				assert_int_equal(e->plan[to].f->phase, P_STARTING);
				answer(to, 0);
				settle();
			}
			expect_bound((int)to);
			assert_int_equal(info().moves, moves + 1);
			assert_int_equal(info().last_gap_us, e->gap);
			assert_string_equal(e->why, "");
			for (unsigned int i = 0; i < QUEUES; i++)
				assert_true(notified(e->ring[i].q.kickfd) && notified(e->ring[i].q.callfd));
			memset(e->plan[to].how, 0, sizeof(e->plan[to].how));
			memset(e->plan[from].how, 0, sizeof(e->plan[from].how));
		}
	assert_int_equal(e->failures, 0);
}

static void test_move_fails_at_each_step(void **state)
{
	(void)state;
	new_binding(list(1, C), false);
	start_all();
	settle();
	for (enum step s = OPEN; s <= START; s++) {
		uint64_t moves = info().moves;

		e->plan[A].how[s] = FAIL;
		set_list(list(2, A, C), false);
		settle();
		expect_bound(C); /* still, or again */
		assert_int_equal(e->failed, A);
		assert_int_equal(info().moves, moves);
		assert_int_equal(info().position, 1);
		e->plan[A].how[s] = NOW;
		set_list(list(1, C), false);
		settle();
	}
	/* The new one dies at each step. */
	for (enum step s = PREPARE; s <= START; s++) {
		e->plan[A].how[s] = LATE;
		set_list(list(2, A, C), false);
		settle();
		assert_int_equal(e->plan[A].f->phase, s == PREPARE ? P_PREPARING : P_STARTING);
		die(A);
		settle();
		expect_bound(C);
		e->plan[A].how[s] = NOW;
		set_list(list(1, C), false);
		settle();
	}
	/* The old one dies at each step. */
	for (enum step s = PREPARE; s <= STOP; s++) {
		set_list(list(1, D), false);
		settle();
		expect_bound(D);
		e->plan[s == STOP ? D : A].how[s] = LATE;
		set_list(list(2, A, D), false);
		settle();
		assert_non_null(e->plan[D].f);
		die(D);
		settle();
		if (s != STOP) {
			answer(A, 0);
			settle();
		}
		expect_bound(A);
		assert_string_equal(e->why, "it died");
		memset(e->plan[A].how, 0, sizeof(e->plan[A].how));
		memset(e->plan[D].how, 0, sizeof(e->plan[D].how));
	}
	/* Both die. */
	e->plan[B].how[START] = LATE;
	set_list(list(2, B, C), false);
	settle();
	die(A);
	die(B);
	settle();
	expect_bound(C);
}

/* Back to the old list, or on to a third one, at each step. */
static void test_list_changes_in_mid_move(void **state)
{
	(void)state;
	new_binding(list(1, D), false);
	start_all();
	settle();
	for (enum step s = PREPARE; s <= STOP; s++)
		for (unsigned int to = 0; to < 3; to++) {
			enum datapath_type goal = to == 0 ? D : to == 1 ? C : B;

			set_list(list(1, D), false);
			settle();
			expect_bound(D);
			e->plan[s == STOP ? D : A].how[s] = LATE;
			set_list(list(1, A), false);
			settle();
			set_list(list(1, goal), false);
			settle();
			if (s == STOP)
				answer(D, 0);
			else if (e->plan[A].f) /* it is dropped while it prepares, and has the rings later */
				answer(A, 0);
			memset(e->plan[D].how, 0, sizeof(e->plan[D].how));
			settle();
			expect_bound(goal);
			memset(e->plan[A].how, 0, sizeof(e->plan[A].how));
		}
	assert_int_equal(e->failures, 0);
}

static void step_through(enum datapath_type type)
{
	for (unsigned int i = 0; i < 20; i++) {
		struct fake *f = e->plan[type].f;

		settle();
		if (f == e->plan[type].f && f &&
		    (f->phase == P_PREPARING || f->phase == P_STARTING || f->phase == P_STOPPING))
			answer(type, 0);
	}
}

/* What a driver does while a datapath is at some step: stops a ring, properly or not, starts one, all. */
static void test_driver_at_each_step(void **state)
{
	static const enum datapath_type types[] = {A, C};

	(void)state;
	new_binding(list(1, D), false);
	for (unsigned int t = 0; t < 2; t++)
		for (enum step s = PREPARE; s <= STOP; s++)
			for (unsigned int what = 0; what < 5; what++) {
				enum datapath_type x = types[t];
				unsigned int quiesced;

				set_list(list(1, D), false);
				for (unsigned int i = 0; i < QUEUES - 1; i++)
					if (!e->ring[i].started)
						start(i);
				if (e->ring[QUEUES - 1].started)
					stop(QUEUES - 1);
				settle();
				expect_bound(D);
				if (s == STOP) {
					set_list(list(1, x), false);
					settle();
					expect_bound((int)x);
				}
				e->plan[x].how[s] = LATE;
				set_list(list(1, s == STOP ? D : x), false);
				settle();
				assert_non_null(e->plan[x].f);
				quiesced = e->quiesced;
				switch (what) {
				case 0: /* torn out */
					stop(1);
					break;
				case 1: /* asked for first */
					if (!binding_quiesce(e->b, 1)) {
						step_through(x);
						assert_int_equal(e->quiesced, quiesced + 1);
					}
					break;
				case 2:
					start(QUEUES - 1);
					break;
				case 3:
					if (!binding_quiesce(e->b, -1)) {
						step_through(x);
						assert_int_equal(e->quiesced, quiesced + 1);
					}
					break;
				case 4:
					for (unsigned int i = 0; i < QUEUES - 1; i++)
						stop(i);
					settle();
					assert_int_equal(info().state, BINDING_IDLE);
					assert_null(e->plan[x].f);
					start(2);
					break;
				}
				step_through(x);
				expect_bound(s == STOP ? (int)D : (int)x);
				memset(e->plan[x].how, 0, sizeof(e->plan[x].how));
			}
	assert_int_equal(e->failures, 0);
}

static void test_quiesce(void **state)
{
	(void)state;
	new_binding(list(1, A), false);
	start_all();
	settle();
	e->plan[A].how[STOP] = LATE;
	assert_false(binding_quiesce(e->b, 1));
	settle();
	assert_int_equal(e->quiesced, 0);
	answer(A, 0);
	until(e->quiesced == 1);
	stop(1);
	e->plan[A].how[STOP] = NOW;
	settle();
	expect_bound(A); /* the others go on */
	assert_int_equal(e->plan[A].starts, 2);
	/* Asked for, and not stopped after all. */
	assert_true(binding_quiesce(e->b, 0));
	assert_null(e->ring[0].owner);
	settle();
	expect_bound(A);
	/* Twice at once; and the datapath never answers. */
	e->plan[A].how[STOP] = LATE;
	assert_false(binding_quiesce(e->b, 0));
	assert_false(binding_quiesce(e->b, 2));
	until(e->quiesced == 2);
	stop(0);
	stop(2);
	until(info().failures == 1);
	/* The only one of the list: it is tried again. */
	e->plan[A].how[STOP] = NOW;
	until(info().state == BINDING_BOUND);
	settle();
	expect_bound(A);

	/* One that is in no hurry to start. */
	e->plan[A].how[START] = LATE;
	start(0);
	settle();
	assert_int_equal(e->plan[A].f->phase, P_STARTING);
	assert_false(binding_quiesce(e->b, -1));
	until(e->quiesced == 3);
}

/* Other memory and other features: what is prepared for them is asked again, and nobody else. */
static void test_memory(void **state)
{
	static const enum datapath_type types[] = {A, C};

	(void)state;
	new_binding(list(1, A), false);
	start_all();
	for (unsigned int t = 0; t < 2; t++) {
		unsigned int opens;

		set_list(list(1, types[t]), false);
		settle();
		expect_bound((int)types[t]);
		opens = e->plan[types[t]].opens;
		for (unsigned int k = 0; k < 2; k++) {
			unsigned int prepares = e->plan[types[t]].prepares;

			assert_true(binding_quiesce(e->b, -1));
			for (unsigned int i = 0; i < QUEUES; i++)
				stop(i);
			for (unsigned int i = 0; i < QUEUES; i++) {
				e->ring[i].q.mem = e->mem[(k + 1) % 2];
				e->ring[i].q.features ^= 2;
				start(i);
			}
			settle();
			expect_bound((int)types[t]);
			assert_int_equal(e->plan[types[t]].opens, opens);
			assert_int_equal(e->plan[types[t]].prepares, prepares + 1);
		}
	}
}

/* The fabric's port is a new one: who leads there begins again, nobody else. */
static void test_port_remade(void **state)
{
	(void)state;
	new_binding(list(2, A, C), false);
	start_all();
	settle();
	expect_bound(A);
	binding_port_remade(e->b);
	settle();
	expect_bound(A);
	assert_int_equal(e->plan[A].prepares, 1);
	assert_int_equal(e->plan[A].stops, 0);

	set_list(list(1, C), false);
	settle();
	expect_bound(C);
	binding_port_remade(e->b);
	settle();
	expect_bound(C);
	assert_int_equal(e->plan[C].opens, 1);
	assert_int_equal(e->plan[C].prepares, 2);
	assert_int_equal(e->plan[C].starts, 2);
	assert_int_equal(e->plan[C].stops, 1);
	assert_int_equal(e->failures, 0);
}

/* The fabric takes its port away: who leads there failed, others have nothing to do with it. */
static void test_port_lost(void **state)
{
	(void)state;
	new_binding(list(2, C, A), false);
	start_all();
	settle();
	expect_bound(C);
	binding_port_lost(e->b);
	settle();
	expect_bound(A);
	assert_int_equal(e->plan[C].closes, 1);
	assert_int_equal(e->failures, 1);
	binding_port_lost(e->b);
	settle();
	expect_bound(A);
	assert_int_equal(e->failures, 1);

	/* In the midst of a move there, and with nothing else to be had. */
	e->plan[C].how[PREPARE] = LATE;
	set_list(list(1, C), false);
	settle();
	binding_port_lost(e->b);
	settle();
	assert_int_equal(e->plan[C].closes, 2);
	e->plan[C].how[PREPARE] = NOW;
	until(e->current == C);
	expect_bound(C);
	binding_port_lost(e->b);
	settle();
	assert_int_equal(e->current, -1);
	assert_false(e->usable);
	until(e->current == C);
	assert_true(e->usable);
}

static void test_failback(void **state)
{
	(void)state;
	new_binding(list(3, A, B, C), true);
	start_all();
	settle();
	e->plan[A].how[OPEN] = e->plan[B].how[PREPARE] = FAIL;
	die(A);
	settle();
	expect_bound(C);
	assert_string_equal(e->why, "it died");
	e->plan[B].how[PREPARE] = NOW;
	until(e->current == B);
	expect_bound(B);
	assert_string_equal(e->why, "");
	e->plan[A].how[OPEN] = NOW;
	until(e->current == A);
	expect_bound(A);
	assert_int_equal(info().position, 0);
	assert_int_equal(info().moves, 3);

	/* not asked for */
	set_list(list(3, A, B, C), false);
	die(A);
	settle();
	expect_bound(B);
	for (unsigned int i = 0; i < 150; i++)
		sd_event_run(e->event, 10000);
	expect_bound(B);
}

/* In the list no more: it serves until there is another, if all settings are in force where it leads. */
static void test_outside(void **state)
{
	(void)state;
	new_binding(list(1, C), false);
	start_all();
	settle();
	e->plan[A].how[PREPARE] = FAIL;
	set_list(list(1, A), false);
	settle();
	expect_bound(C);
	assert_int_equal(info().position, 1);
	e->plan[A].how[PREPARE] = NOW;
	until(e->current == A);
	settle();
	expect_bound(A);

	e->plan[B].how[START] = FAIL;
	set_list(list(1, B), false);
	until(!e->usable);
	assert_int_equal(e->current, -1);
	assert_null(e->plan[A].f);
	e->plan[B].how[START] = NOW;
	until(e->usable);
	settle();
	expect_bound(B);
}

static void test_enable_and_call(void **state)
{
	(void)state;
	new_binding(list(1, A), false);
	e->plan[A].how[START] = LATE;
	start_all();
	settle();
	/* while it starts: it is told after */
	e->ring[1].q.enabled = false;
	binding_queue_enable(e->b, 1, false);
	e->ring[2].q.callfd = -1;
	close_fd(&e->ring[2].q.callfd);
	binding_queue_call(e->b, 2, -1);
	assert_int_equal(e->plan[A].enables + e->plan[A].calls, 0);
	answer(A, 0);
	settle();
	assert_int_equal(e->plan[A].enables, 1);
	assert_int_equal(e->plan[A].calls, 1);
	e->ring[1].q.enabled = true;
	binding_queue_enable(e->b, 1, true);
	assert_int_equal(e->plan[A].enables, 2);
	binding_queue_call(e->b, 2, -1);
	assert_int_equal(e->plan[A].calls, 2);
}

/* Answers that nobody asked for, or that cannot be. */
static void test_wrong_answers(void **state)
{
	struct fake *f;

	(void)state;
	new_binding(list(1, A), false);
	e->plan[A].how[PREPARE] = e->plan[A].how[START] = e->plan[A].how[STOP] = LATE;
	start_all();
	settle();
	f = e->plan[A].f;
	f->dp.events->started(f->dp.ctx, 0, NULL);
	f->dp.events->stopped(f->dp.ctx);
	f->dp.events->ring_error(f->dp.ctx, 0, "no");
	f->dp.events->ring_error(f->dp.ctx, 9999, "no");
	f->dp.events->doorbell(f->dp.ctx, 9999, 0, 0, 4096);
	f->dp.events->doorbell(f->dp.ctx, 0, 0, 0, 4096);
	settle();
	assert_int_equal(info().state, BINDING_BINDING);
	answer(A, 0);
	f->dp.events->prepared(f->dp.ctx, -EIO, "again");
	settle();
	assert_int_equal(f->phase, P_STARTING);
	answer(A, 0);
	f->dp.events->started(f->dp.ctx, 0, NULL);
	settle();
	f->dp.events->stopped(f->dp.ctx);
	settle();
	expect_bound(A);
	assert_int_equal(e->errors + e->doorbells, 0);
	/* Indices further apart than the ring is long. */
	assert_false(binding_quiesce(e->b, 0));
	for (unsigned int i = 0; i < QUEUES; i++)
		f->ring[i]->avail_idx = (uint16_t)(f->ring[i]->used_idx + 300);
	f->phase = P_PREPARED;
	disown(f);
	f->dp.events->stopped(f->dp.ctx);
	until(e->quiesced == 1);
	stop(0); /* checks them */
	/* It died, and died. */
	f->dp.events->failed(f->dp.ctx, NULL);
	f->dp.events->failed(f->dp.ctx, "again");
	settle();
	assert_string_equal(e->failed_why, "it failed");
	assert_int_equal(info().failures, 1);
}

static void test_ring_error(void **state)
{
	(void)state;
	new_binding(list(1, C), false);
	start_all();
	settle();
	e->stop_at_error = true;
	e->plan[C].f->dp.events->ring_error(e->plan[C].f->dp.ctx, 2, "broken");
	e->plan[C].f->dp.events->ring_error(e->plan[C].f->dp.ctx, 2, "broken");
	settle();
	assert_int_equal(e->errors, 1);
	assert_false(e->ring[2].started);
	expect_bound(C);
	/* One that is left there goes to nobody else. */
	e->stop_at_error = false;
	e->plan[C].f->dp.events->ring_error(e->plan[C].f->dp.ctx, 1, "broken");
	settle();
	set_list(list(1, A), false);
	settle();
	assert_int_equal(e->current, A);
	assert_null(e->ring[1].owner);
	assert_non_null(e->ring[0].owner);
	stop(1);
	start(1);
	settle();
	expect_bound(A);
}

static void test_doorbell(void **state)
{
	struct fake *f;

	(void)state;
	new_binding(list(1, A), false);
	start_all();
	settle();
	f = e->plan[A].f;
	f->dp.events->doorbell(f->dp.ctx, 1, 0, 0, 4096);
	f->dp.events->doorbell(f->dp.ctx, 3, 0, 0, 4096);
	assert_int_equal(e->doorbells, 0xa);
	f->dp.events->doorbell(f->dp.ctx, 3, -1, 0, 0);
	assert_int_equal(e->doorbells, 0x2);
	set_list(list(1, C), false);
	settle();
	expect_bound(C);
	assert_int_equal(e->doorbells, 0);
	/* The front-end may go on using the page for a while. */
	for (unsigned int k = 0; k < 3; k++) {
		for (unsigned int i = 0; i < QUEUES; i++)
			while (notified(e->ring[i].q.kickfd))
				;
		until(notified(e->ring[1].q.kickfd));
	}
}

/* While writes are to be logged, only builtin serves. */
static void test_logging(void **state)
{
	(void)state;
	new_binding(list(2, A, C), false);
	start_all();
	settle();
	expect_bound(A);
	for (unsigned int k = 0; k < 4; k++) {
		assert_true(binding_quiesce(e->b, -1));
		for (unsigned int i = 0; i < QUEUES; i++) {
			stop(i);
			e->ring[i].q.log = k % 2 ? NULL : (struct dirty_log *)(uintptr_t)1;
			start(i);
		}
		settle();
		expect_bound(k % 2 ? (int)A : (int)C);
		if (k == 1)
			set_list(list(1, A), false);
		if (k == 1)
			settle();
		if (k == 1)
			break;
	}
	/* not in the list */
	assert_true(binding_quiesce(e->b, -1));
	for (unsigned int i = 0; i < QUEUES; i++) {
		stop(i);
		e->ring[i].q.log = (struct dirty_log *)(uintptr_t)1;
		start(i);
	}
	until(!e->usable);
	assert_null(e->plan[A].f);
	for (unsigned int i = 0; i < QUEUES; i++) {
		stop(i);
		e->ring[i].q.log = NULL;
		start(i);
	}
	settle();
	expect_bound(A);
	/* the kernel's can, and need not be able to use this log */
	set_list(list(3, A, D, C), false);
	settle();
	for (unsigned int k = 0; k < 2; k++) {
		e->plan[D].how[START] = k ? FAIL : NOW;
		assert_true(binding_quiesce(e->b, -1));
		for (unsigned int i = 0; i < QUEUES; i++) {
			stop(i);
			e->ring[i].q.log = (struct dirty_log *)(uintptr_t)(k + 2);
			start(i);
		}
		settle();
		expect_bound(k ? (int)C : (int)D);
	}
}

/* Anything at any time; in the end, when all is well again, the first of the list serves all that is started.
 */
static void test_anything(void **state)
{
	static const enum datapath_type types[] = {A, B, C, D};

	(void)state;
	srandom(1);
	new_binding(list(2, A, C), true);
	for (unsigned int n = 0; n < 20000; n++) {
		long x = random();
		unsigned int i = (unsigned int)(x >> 8) % QUEUES;
		enum datapath_type t = types[(x >> 12) % 4];
		struct fake *f = e->plan[t].f;

		switch (x % 11) {
		case 0:
			if (!e->ring[i].started)
				start(i);
			break;
		case 1:
			if (e->ring[i].started)
				stop(i);
			break;
		case 2:
			if (e->ring[i].started && binding_quiesce(e->b, (int)i) && x & 0x100000)
				stop(i);
			break;
		case 3:
			set_list(list(3, t, types[(x >> 16) % 4], types[(x >> 20) % 4]), x & 0x1000000);
			break;
		case 4:
			if (f && f->phase != P_DEAD && !(x & 0x700000))
				die(t);
			break;
		case 5:
			e->plan[t].how[(x >> 20) % STEPS] = (enum how)((x >> 24) % 3);
			if (e->plan[t].how[OPEN] == LATE)
				e->plan[t].how[OPEN] = NOW;
			break;
		case 6:
		case 7:
			if (f &&
			    (f->phase == P_PREPARING || f->phase == P_STARTING || f->phase == P_STOPPING))
				answer(t, f->phase == P_STOPPING || x & 0x300000 ? 0 : -EIO);
			break;
		case 8:
			pump();
			break;
		case 9:
			sd_event_run(e->event, 3000);
			break;
		case 10:
			if (f && f->phase == P_STARTED)
				serve(f, (uint16_t)(x >> 16));
			break;
		}
		/* serve() is what moves a ring; nobody else has touched it: own() and stop() have checked. */
	}
	memset(e->plan[A].how, 0, sizeof(e->plan[A].how));
	memset(e->plan[B].how, 0, sizeof(e->plan[B].how));
	memset(e->plan[C].how, 0, sizeof(e->plan[C].how));
	memset(e->plan[D].how, 0, sizeof(e->plan[D].how));
	for (unsigned int i = 0; i < QUEUES; i++)
		if (!e->ring[i].started)
			start(i);
	for (unsigned int k = 0; k < 4; k++)
		for (unsigned int t = 0; t < 4; t++) {
			set_list(list(1, types[t]), true);
			until(info().state == BINDING_BOUND && e->current == (int)types[t]);
			settle();
			expect_bound((int)types[t]);
		}
	print_message("%llu binds, %llu moves, %llu failures\n", (unsigned long long)info().binds,
		      (unsigned long long)info().moves, (unsigned long long)info().failures);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_on_demand),
		TEST(test_bind_fails_at_each_step),
		TEST(test_never),
		TEST(test_loop_was_late),
		TEST(test_none),
		TEST(test_move),
		TEST(test_move_fails_at_each_step),
		TEST(test_list_changes_in_mid_move),
		TEST(test_driver_at_each_step),
		TEST(test_quiesce),
		TEST(test_memory),
		TEST(test_port_remade),
		TEST(test_port_lost),
		TEST(test_failback),
		TEST(test_outside),
		TEST(test_enable_and_call),
		TEST(test_wrong_answers),
		TEST(test_ring_error),
		TEST(test_doorbell),
		TEST(test_logging),
		TEST(test_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
