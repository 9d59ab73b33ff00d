/* SPDX-License-Identifier: Apache-2.0 */

#include "switch/shaper.h"

#include <string.h>
#include <urcu-qsbr.h>

/* Times here are in ticks of 1/32 ns: fine enough for a small frame at 1 Tb/s, and the difference of two
 * stays below 64 bits for 9 years. Costs are ticks for a byte, with 16 bits of fraction. */
#define TICKS      32
#define COST_SHIFT 16

#define DEPTH ((int64_t)SHAPER_DEPTH_NS * TICKS)
/* How far ahead of others a function may be, as a part of the total: less if there are many, but enough for
 * what each of them is due between two of its visits. */
#define QUANTUM     (500000ll * TICKS)
#define QUANTUM_MIN (64000ll * TICKS)
#define PLENTY      (DEPTH * 3 / 4) /* credit of the total at which the others are not waited for */

/* A function that waits does so a little longer than it must, and then finds credit for several frames: fewer
 * wake-ups, and the same rate, since credit is not lost meanwhile. If many want the same total, each comes
 * more rarely: together they come as often. */
#define WAIT_NS      100000u
#define WAIT_EACH_NS 8000u
_Static_assert(WAIT_EACH_NS * 4ll * TICKS <= QUANTUM_MIN, "a visit's worth, with room for late ones");
_Static_assert(WAIT_EACH_NS * 256 < SHAPER_DEPTH_NS / 2, "no function waits until credit is lost");

struct shaper_members {
	unsigned int n;
	struct shaper *s[];
};

uint64_t shaper_cost(uint32_t rate)
{
	return rate ? ((8000ull * TICKS) << COST_SHIFT) / rate : 0;
}

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

/* Moves a clock forward to `to`; it never goes back. */
static uint64_t raise(uint64_t *clock, uint64_t to)
{
	uint64_t have = load(clock);

	while ((int64_t)(have - to) < 0)
		if (__atomic_compare_exchange_n(clock, &have, to, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return to;
	return have;
}

/* A bucket's credit, or debt, in ticks. */
static int64_t credit(uint64_t *paid, uint64_t now)
{
	return (int64_t)(now - raise(paid, now - (uint64_t)DEPTH));
}

static void pay(uint64_t *paid, uint64_t bytes, uint64_t cost)
{
	__atomic_fetch_add(paid, (bytes * cost) >> COST_SHIFT, __ATOMIC_RELAXED);
}

static uint64_t worth(int64_t ticks, uint64_t cost)
{
	return MAX(((uint64_t)ticks << COST_SHIFT) / cost, 1u);
}

static uint64_t wait_for(uint64_t now, int64_t have, uint64_t more_ns)
{
	return now / TICKS + (have < 0 ? (uint64_t)-have / TICKS : 0) + more_ns;
}

/* The turn of the function that is furthest behind, of those that want to send. */
static uint64_t furthest_behind(const struct shaper_pool *pool, uint64_t own)
{
	const struct shaper_members *m = __atomic_load_n(&pool->members, __ATOMIC_ACQUIRE);
	uint64_t min = own;

	for (unsigned int i = 0; i < m->n; i++) {
		uint64_t turn = load(&m->s[i]->turn);

		if (__atomic_load_n(&m->s[i]->wants, __ATOMIC_RELAXED) && (int64_t)(turn - min) < 0)
			min = turn;
	}
	return min;
}

/* 0: may send, up to *bytes; else when to ask again. */
static uint64_t ask_pool(struct shaper *s, uint64_t cost, uint64_t now, uint64_t *bytes)
{
	struct shaper_pool *pool = s->pool;
	int64_t have = credit(&pool->paid, now), room, quantum;
	uint64_t behind = load(&pool->turn), own;
	unsigned int wanting;

	if (!__atomic_load_n(&s->wants, __ATOMIC_RELAXED) &&
	    !__atomic_exchange_n(&s->wants, true, __ATOMIC_RELAXED))
		__atomic_fetch_add(&pool->wanting, 1, __ATOMIC_RELAXED);
	wanting = MAX(__atomic_load_n(&pool->wanting, __ATOMIC_RELAXED), 1u);
	quantum = (int64_t)worth(MAX(QUANTUM / ((wanting + 3) / 4), QUANTUM_MIN), cost);
	own = raise(&s->turn, behind);
	room = quantum - (int64_t)(own - behind);
	if (room <= 0) {
		behind = raise(&pool->turn, furthest_behind(pool, own));
		room = quantum - (int64_t)(own - behind);
	}
	if (room <= 0 && have > PLENTY) {
		raise(&pool->turn, own);
		room = quantum;
	}
	if (have > 0 && room > 0) {
		*bytes = MIN(*bytes, MIN(worth(have, cost), (uint64_t)room));
		return 0;
	}
	return wait_for(now, have, MAX((uint64_t)WAIT_NS, (uint64_t)MIN(wanting, 256u) * WAIT_EACH_NS));
}

uint64_t shaper_ask(struct shaper *s, const struct shaper_conf *c, uint64_t now_ns, struct shaper_grant *ret)
{
	uint64_t now = now_ns * TICKS, total, until, again;
	int64_t have;

	*ret = (struct shaper_grant){.bytes = UINT64_MAX};
	if (c->max_cost) {
		have = credit(&s->paid_max, now);
		if (have <= 0) {
			shaper_rest(s); /* it could not take its turn in the total */
			return wait_for(now, have, WAIT_NS);
		}
		ret->bytes = worth(have, c->max_cost);
	}
	total = load(&s->pool->cost);
	if (!total)
		return 0;
	again = UINT64_MAX;
	if (c->min_cost) {
		have = credit(&s->paid_min, now);
		if (have > 0) {
			ret->assured = true;
			ret->bytes = MIN(ret->bytes, worth(have, c->min_cost));
			return 0;
		}
		again = wait_for(now, have, WAIT_NS);
	}
	until = ask_pool(s, total, now, &ret->bytes);
	return MIN(until, again);
}

void shaper_spend(struct shaper *s, const struct shaper_conf *c, const struct shaper_grant *g, uint64_t bytes)
{
	uint64_t total = load(&s->pool->cost);

	if (c->max_cost)
		pay(&s->paid_max, bytes, c->max_cost);
	if (!total)
		return;
	pay(&s->pool->paid, bytes, total);
	if (g->assured)
		pay(&s->paid_min, bytes, c->min_cost);
	else
		__atomic_fetch_add(&s->turn, bytes, __ATOMIC_RELAXED);
}

void shaper_rest(struct shaper *s)
{
	if (__atomic_load_n(&s->wants, __ATOMIC_RELAXED) &&
	    __atomic_exchange_n(&s->wants, false, __ATOMIC_RELAXED))
		__atomic_fetch_sub(&s->pool->wanting, 1, __ATOMIC_RELAXED);
}

int shaper_pool_new(struct shaper_pool **ret)
{
	struct shaper_pool *pool = aligned_alloc(CACHE_LINE, sizeof(*pool));

	_Static_assert(sizeof(*pool) % CACHE_LINE == 0, "for aligned_alloc()");
	if (!pool)
		return -ENOMEM;
	memset(pool, 0, sizeof(*pool));
	pool->members = calloc(1, sizeof(*pool->members));
	if (!pool->members) {
		free(pool);
		return -ENOMEM;
	}
	*ret = pool;
	return 0;
}

void shaper_pool_free(struct shaper_pool *pool)
{
	if (!pool)
		return;
	free(pool->members);
	free(pool->spare);
	free(pool);
}

/* Debt is a number of bytes, kept as time: at another rate it takes a different time to pay. Credit is
 * time. */
static void reprice(uint64_t *paid, uint64_t before, uint64_t after, uint64_t now)
{
	uint64_t have = load(paid), want;
	unsigned __int128 debt;

	do {
		if (!before || !after || (int64_t)(have - now) <= 0)
			return;
		debt = (unsigned __int128)(have - now) * after / before;
		want = now + (uint64_t)debt;
	} while (!__atomic_compare_exchange_n(paid, &have, want, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

bool shaper_pool_set(struct shaper_pool *pool, uint32_t rate, uint64_t now)
{
	uint64_t before = pool->cost, after = shaper_cost(rate);

	if (before == after)
		return false;
	__atomic_store_n(&pool->cost, after, __ATOMIC_RELAXED);
	reprice(&pool->paid, before, after, now * TICKS);
	return true;
}

void shaper_changed(struct shaper *s, const struct shaper_conf *before, const struct shaper_conf *after,
		    uint64_t now)
{
	reprice(&s->paid_max, before->max_cost, after->max_cost, now * TICKS);
	reprice(&s->paid_min, before->min_cost, after->min_cost, now * TICKS);
}

/* Publishes the table `next`. The old one, which no worker reads any more, becomes the spare. A table has room
 * for all that it has ever listed. */
static void publish(struct shaper_pool *pool, struct shaper_members *next)
{
	struct shaper_members *before = rcu_xchg_pointer(&pool->members, next);

	urcu_qsbr_synchronize_rcu();
	pool->spare = before;
}

int shaper_join(struct shaper *s, struct shaper_pool *pool)
{
	const struct shaper_members *old = pool->members;
	struct shaper_members *next = malloc(sizeof(*next) + (old->n + 1) * sizeof(next->s[0]));

	if (!next)
		return -ENOMEM;
	memcpy(next->s, old->s, old->n * sizeof(next->s[0]));
	next->s[old->n] = s;
	next->n = old->n + 1;
	free(pool->spare);
	publish(pool, next);
	s->pool = pool;
	return 0;
}

/* Needs no memory: the spare table has room for all members but one. */
void shaper_leave(struct shaper *s)
{
	struct shaper_pool *pool = s->pool;
	const struct shaper_members *old;
	struct shaper_members *next;

	if (!pool)
		return;
	shaper_rest(s);
	old = pool->members;
	next = pool->spare;
	next->n = 0;
	for (unsigned int i = 0; i < old->n; i++)
		if (old->s[i] != s)
			next->s[next->n++] = old->s[i];
	publish(pool, next);
	s->pool = NULL;
}
