/* SPDX-License-Identifier: Apache-2.0 */

/* Rates, on a clock of the test's own: what functions with frames of some size get through in a time, alone
 * and beside others. What throttled queues do when they are stopped or their settings change is in
 * test_switch_rates.c. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <urcu-qsbr.h>

#include "switch/shaper.h"

#define MAX_SENDERS 256
#define SECOND      1000000000ull
#define BURST       32u /* frames a visit, as port_poll_tx() */

/* The linker leads every call of calloc() and malloc() here (--wrap). */
static bool no_memory;
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_calloc(size_t n, size_t size)
{
	return no_memory ? NULL : __real_calloc(n, size);
}

void *__wrap_malloc(size_t size)
{
	return no_memory ? NULL : __real_malloc(size);
}

struct sender { /* a function with a queue that is never empty, unless it says so */
	struct shaper *s;
	struct shaper_conf conf;
	uint32_t frame;
	uint64_t at;   /* when it asks next */
	uint64_t late; /* ns that its worker comes later than asked */
	uint64_t sent, assured;
	bool idle, gone; /* nothing to send; does not come, and does not say why */
	struct shaper own;
};

struct sim {
	struct shaper_pool *pool;
	struct sender f[MAX_SENDERS];
	unsigned int n;
	uint64_t now, asked;
};

static int setup(void **state)
{
	struct sim *sim = calloc(1, sizeof(*sim));

	assert_non_null(sim);
	assert_int_equal(shaper_pool_new(&sim->pool), 0);
	sim->now = 1000 * SECOND;
	*state = sim;
	return 0;
}

static int teardown(void **state)
{
	struct sim *sim = *state;

	for (unsigned int i = 0; i < sim->n; i++)
		if (sim->f[i].s == &sim->f[i].own)
			shaper_leave(&sim->f[i].own);
	assert_int_equal(sim->pool->wanting, 0);
	shaper_pool_free(sim->pool);
	free(sim);
	return 0;
}

static void set_rates(struct sim *sim, struct sender *f, uint32_t max, uint32_t min)
{
	struct shaper_conf c = {.max_cost = shaper_cost(max), .min_cost = shaper_cost(min), .limited = true};

	shaper_changed(f->s, &f->conf, &c, sim->now);
	f->conf = c;
	f->at = sim->now; /* as worker_pool_resume() does */
}

static struct sender *add(struct sim *sim, uint32_t max, uint32_t min, uint32_t frame)
{
	struct sender *f = &sim->f[sim->n++];

	f->s = &f->own;
	assert_int_equal(shaper_join(f->s, sim->pool), 0);
	f->frame = frame;
	set_rates(sim, f, max, min);
	return f;
}

static void visit(struct sim *sim, struct sender *f)
{
	struct shaper_grant g;
	uint64_t sent, again;

	sim->asked++;
	again = shaper_ask(f->s, &f->conf, sim->now, &g);
	if (again) {
		assert_true(again > sim->now);
		f->at = again + f->late;
		return;
	}
	assert_true(g.bytes > 0);
	sent = f->frame * MIN((g.bytes - 1) / f->frame + 1, BURST);
	shaper_spend(f->s, &f->conf, &g, sent);
	f->sent += sent;
	if (g.assured)
		f->assured += sent;
}

/* The worker's life for so long. Queues that may send have their visits in turn. */
static void run(struct sim *sim, uint64_t ns)
{
	uint64_t end = sim->now + ns;

	for (;;) {
		uint64_t next = end;
		bool any;

		do {
			any = false;
			for (unsigned int i = 0; i < sim->n; i++) {
				struct sender *f = &sim->f[i];

				if (f->idle || f->gone || f->at > sim->now)
					continue;
				visit(sim, f);
				any = true;
			}
		} while (any);
		for (unsigned int i = 0; i < sim->n; i++)
			if (!sim->f[i].idle && !sim->f[i].gone)
				next = MIN(next, sim->f[i].at);
		sim->now = next;
		if (next == end)
			return;
	}
}

/* The same, counted from now. */
static void measure(struct sim *sim, uint64_t ns)
{
	for (unsigned int i = 0; i < sim->n; i++)
		sim->f[i].sent = sim->f[i].assured = 0;
	sim->asked = 0;
	run(sim, ns);
}

static double rate_of(const struct sender *f) /* Mb/s, over a second */
{
	return (double)f->sent * 8 / 1e6;
}

static void expect(const struct sender *f, double want, double percent)
{
	double have = rate_of(f);

	/* A frame more or less at either end. */
	if (have < want * (1 - percent / 100) - (double)f->frame * 8 / 1e6 ||
	    have > want * (1 + percent / 100) + (double)f->frame * 8 / 1e6)
		fail_msg("%.3f Mb/s, wanted %.3f (frames of %u bytes)", have, want, f->frame);
}

static void test_one(void **state)
{
	struct sim *sim = *state;
	static const uint32_t rates[] = {1, 2, 7, 100, 999, 10000, 100000, 1000000};
	static const uint32_t frames[] = {64, 1514, 65000};

	for (unsigned int i = 0; i < ARRAY_SIZE(rates); i++) {
		for (unsigned int k = 0; k < ARRAY_SIZE(frames); k++) {
			struct sender *f;

			if (rates[i] == 1000000 && frames[k] == 64)
				continue; /* takes long, and shows nothing more */
			f = add(sim, rates[i], 0, frames[k]);

			/* From the first second on, with the credit of a function at rest. */
			measure(sim, SECOND);
			expect(f, rates[i], 1.5);
			measure(sim, SECOND);
			expect(f, rates[i], 0.5);
			/* Rest earns a burst and no more. */
			f->idle = true;
			run(sim, 100 * SECOND);
			f->idle = false;
			f->at = sim->now;
			measure(sim, SECOND);
			expect(f, rates[i], 1.5);
			/* It sleeps: ten thousand wake-ups a second at most, with visits of a burst each. */
			assert_true(sim->asked <= 21000 + 2 * f->sent / frames[k] / BURST);
			/* A worker that comes late now and then loses nothing. */
			f->late = 3000000;
			measure(sim, SECOND);
			expect(f, rates[i], 1.5);
			shaper_leave(f->s);
			memset(f, 0, sizeof(*f));
			sim->n--;
		}
	}
}

/* Several queues, on whatever workers, have one limit together. */
static void test_queues(void **state)
{
	struct sim *sim = *state;
	struct sender *f = add(sim, 100, 0, 1514);

	for (unsigned int i = 1; i < 4; i++) {
		sim->f[i] = *f;
		sim->f[i].s = f->s;
		sim->f[i].late = i * 10000;
		sim->n++;
	}
	measure(sim, SECOND);
	for (unsigned int i = 1; i < 4; i++)
		f->sent += sim->f[i].sent;
	expect(f, 100, 2);
}

static void test_total(void **state)
{
	struct sim *sim = *state;
	struct sender *a, *b, *c, *d;

	/* Minimums first, the rest in equal parts, to everyone: (1000 - 300) / 4. */
	shaper_pool_set(sim->pool, 1000, sim->now);
	a = add(sim, 0, 100, 1514);
	b = add(sim, 0, 200, 1514);
	c = add(sim, 0, 0, 1514);
	d = add(sim, 0, 0, 1514);
	run(sim, SECOND / 10);
	measure(sim, SECOND);
	expect(a, 275, 2);
	expect(b, 375, 2);
	expect(c, 175, 2);
	expect(d, 175, 2);
	assert_in_range(a->assured * 8 / 1000000, 97, 103);

	/* What one leaves, the others get. */
	b->idle = true;
	shaper_rest(b->s);
	run(sim, SECOND / 10);
	measure(sim, SECOND);
	expect(a, 400, 2);
	expect(c, 300, 2);
	expect(d, 300, 2);
	/* Its minimum is there at once when it comes back. */
	b->idle = false;
	b->at = sim->now;
	measure(sim, SECOND / 10);
	assert_true(b->sent * 80 / 1e6 > 360);

	/* A maximum of its own: its part goes to the others. */
	set_rates(sim, c, 50, 0);
	run(sim, SECOND / 10);
	measure(sim, SECOND);
	expect(a, 100 + 650 / 3.0, 2);
	expect(b, 200 + 650 / 3.0, 2);
	expect(c, 50, 2);
	expect(d, 650 / 3.0, 2);

	/* Alone it may have everything, but for the maximum. */
	a->idle = b->idle = c->idle = true;
	shaper_rest(a->s);
	shaper_rest(b->s);
	shaper_rest(c->s);
	run(sim, SECOND / 10);
	measure(sim, SECOND);
	expect(d, 1000, 1);
	d->idle = true;
	shaper_rest(d->s);
	c->idle = false;
	c->at = sim->now;
	measure(sim, SECOND);
	expect(c, 50, 2);
}

/* A minimum does not wait for the total, which a large frame of another's has put into long debt. */
static void test_minimum(void **state)
{
	struct sim *sim = *state;
	struct sender *a;

	shaper_pool_set(sim->pool, 3, sim->now);
	a = add(sim, 0, 2, 200);
	add(sim, 0, 0, 65000);
	run(sim, SECOND);
	measure(sim, SECOND);
	assert_true(rate_of(a) > 1.9);
	assert_true(a->assured * 8 / 1e6 > 1.9);
}

/* Bytes count, not frames or visits; whichever comes first. */
static void test_fair(void **state)
{
	struct sim *sim = *state;
	static const uint32_t totals[] = {1, 10, 1000, 100000};
	static const uint32_t frames[] = {64, 1514, 65000, 9014};

	for (unsigned int i = 0; i < ARRAY_SIZE(totals); i++) {
		double all = 0, seconds = totals[i] < 10 ? 40 : 4;

		shaper_pool_set(sim->pool, totals[i], sim->now);
		for (unsigned int k = 0; k < ARRAY_SIZE(frames); k++) {
			struct sender *f = add(sim, 0, 0, frames[k]);

			f->late = 20000 * k;
		}
		run(sim, 4 * SECOND);
		measure(sim, (uint64_t)seconds * SECOND);
		for (unsigned int k = 0; k < sim->n; k++) {
			double have = rate_of(&sim->f[k]) / seconds, want = totals[i] / 4.0;

			/* A large frame is as much as a slow PF may send in a second. */
			if (have < want * 0.93 - 0.07 || have > want * 1.07 + 0.07)
				fail_msg("of %u: %.3f Mb/s with frames of %u", totals[i], have, frames[k]);
			all += have;
		}
		if (all < totals[i] * 0.97 || all > totals[i] * 1.03)
			fail_msg("of %u: %.3f Mb/s together", totals[i], all);
		for (unsigned int k = 0; k < ARRAY_SIZE(frames); k++)
			shaper_leave(sim->f[k].s);
		memset(sim->f, 0, sizeof(sim->f));
		sim->n = 0;
	}
}

/* An idle port saves up no turns, and no port waits for one that does not come. */
static void test_turns(void **state)
{
	struct sim *sim = *state;
	struct sender *a, *b, *c;

	shaper_pool_set(sim->pool, 300, sim->now);
	a = add(sim, 0, 0, 1514);
	b = add(sim, 0, 0, 1514);
	c = add(sim, 0, 0, 1514);
	c->idle = true;
	run(sim, 5 * SECOND);
	c->idle = false;
	c->at = sim->now;
	measure(sim, SECOND);
	expect(a, 100, 3);
	expect(b, 100, 3);
	expect(c, 100, 3);
	c->gone = true; /* its worker has been taken the CPU */
	measure(sim, SECOND);
	expect(a, 150, 3);
	expect(b, 150, 3);
	c->gone = false;
	c->at = sim->now;
	run(sim, SECOND / 10);
	measure(sim, SECOND);
	expect(a, 100, 3);
	expect(b, 100, 3);
	expect(c, 100, 3);
	/* Resting again and again wins nothing. */
	for (unsigned int i = 0; i < 1000; i++) {
		if (!i)
			measure(sim, SECOND / 1000);
		else
			run(sim, SECOND / 1000);
		shaper_rest(c->s);
	}
	expect(c, 100, 5);
	/* Nor does it stay in the way when it leaves for good. */
	c->gone = true;
	run(sim, SECOND / 10);
	shaper_leave(c->s);
	measure(sim, SECOND);
	expect(a, 150, 3);
	expect(b, 150, 3);
	assert_int_equal(shaper_join(c->s, sim->pool), 0);
}

static void test_many(void **state)
{
	struct sim *sim = *state;
	double all = 0;

	shaper_pool_set(sim->pool, 10000, sim->now);
	for (unsigned int i = 0; i < MAX_SENDERS; i++)
		add(sim, 0, i == 7 ? 1000 : 0, 1514);
	run(sim, SECOND);
	measure(sim, SECOND);
	for (unsigned int i = 0; i < MAX_SENDERS; i++) {
		expect(&sim->f[i], (i == 7 ? 1000 : 0) + 9000 / 256.0, 7);
		all += rate_of(&sim->f[i]);
	}
	assert_true(all > 9700 && all < 10300);
	/* Together they ask about as often as a few would: what is granted, and once more for each wait. */
	assert_true(sim->asked < 250000);
}

/* Debts are bytes, whatever the price becomes; no limit is none. */
static void test_changes(void **state)
{
	struct sim *sim = *state;
	struct sender *f = add(sim, 1, 0, 65000);

	run(sim, SECOND / 100);
	assert_true(f->at > sim->now + SECOND / 4); /* half a second for that frame */
	set_rates(sim, f, 1000, 0);
	measure(sim, SECOND);
	expect(f, 1000, 1.5);
	set_rates(sim, f, 1, 0);
	measure(sim, 4 * SECOND);
	assert_in_range(f->sent, 0, 10 * 65000);
	/* Again and again: each time what was sent is owed. */
	measure(sim, 0);
	for (unsigned int i = 0; i < 1000; i++) {
		set_rates(sim, f, i % 2 ? 1 : 2, 0);
		run(sim, SECOND / 1000);
	}
	assert_in_range(f->sent, 0, 5 * 65000);
	/* The total, too. */
	set_rates(sim, f, 0, 0);
	assert_true(shaper_pool_set(sim->pool, 10, sim->now));
	assert_false(shaper_pool_set(sim->pool, 10, sim->now));
	measure(sim, SECOND);
	expect(f, 10, 2);
	assert_true(shaper_pool_set(sim->pool, 20000, sim->now));
	f->at = sim->now;
	measure(sim, SECOND);
	expect(f, 20000, 2);
	assert_true(shaper_pool_set(sim->pool, 0, sim->now));
	f->at = sim->now;
	for (unsigned int i = 0; i < 1000; i++)
		visit(sim, f);
	assert_true(f->at <= sim->now);
	shaper_rest(f->s);
}

/* Members leave in any order, between others that join: nothing of it may need memory. */
static void test_leave_without_memory(void **state)
{
	enum { N = 6 };
	struct sim *sim = *state;
	struct shaper s[N] = {0};

	for (unsigned int round = 0; round < 100; round++) {
		for (unsigned int i = 0; i < N; i++)
			if (!s[i].pool)
				assert_int_equal(shaper_join(&s[i], sim->pool), 0);
		no_memory = true;
		alarm(10);
		for (unsigned int i = 0; i <= round % N; i++)
			shaper_leave(&s[(i * 5 + round) % N]);
		alarm(0);
		assert_int_equal(shaper_join(&s[round % N], sim->pool), -ENOMEM);
		assert_null(s[round % N].pool);
		no_memory = false;
	}
	for (unsigned int i = 0; i < N; i++)
		shaper_leave(&s[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queues, setup, teardown),
		cmocka_unit_test_setup_teardown(test_total, setup, teardown),
		cmocka_unit_test_setup_teardown(test_minimum, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fair, setup, teardown),
		cmocka_unit_test_setup_teardown(test_turns, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_leave_without_memory, setup, teardown),
	};

	return cmocka_run_group_tests_name("shaper", tests, NULL, NULL);
}
