/* SPDX-License-Identifier: Apache-2.0 */

/* The device side of rings against a correct driver: both formats, wrap-around, layouts, calls and kicks, the
 * dirty log and the inflight area. Drivers that misbehave are in test_vring_bad.c. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "ring_env.h"
#include "vhost/inflight.h"

#define F_EVENT    VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX)
#define F_INDIRECT VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define F_PACKED   VIRTIO_BIT(VIRTIO_F_RING_PACKED)
#define F_IN_ORDER VIRTIO_BIT(VIRTIO_F_IN_ORDER)

/* A log of our own in place of the library's: it remembers the marks, and what the ring looked like at each. */
struct dirty_log {
	const struct vdriver *d;
	unsigned int n;
	struct mark {
		uint64_t gpa, len;
		bool used; /* the driver could see a used buffer at that moment */
	} mark[256];
};

void dirty_log_mark(struct dirty_log *log, uint64_t gpa, uint64_t len)
{
	assert_true(log->n < ARRAY_SIZE(log->mark));
	log->mark[log->n++] = (struct mark){gpa, len, vdriver_has_used(log->d)};
}

/* One buffer there and back, its parts as they were given, what was written told. */
static void test_simple(void **state)
{
	struct ring_env *e = *state;
	struct vdriver_buf parts[3] = {
		{e->bufs, 10, true},
		{e->bufs + 4096, 4096, true},
		{e->bufs + 100, 1, true},
	};
	unsigned int n = MIN(3u, e->d.size);
	uint32_t len;
	int token;

	assert_false(vring_has_work(&e->vr));
	assert_int_equal(ring_env_take(e, true, 4), 0);
	assert_int_equal(vdriver_add(&e->d, parts, n, VDRIVER_DIRECT, &token), 0);
	assert_true(vring_has_work(&e->vr));
	assert_int_equal(ring_env_take(e, true, 4), 1);
	assert_false(vring_has_work(&e->vr));
	assert_int_equal(e->chains[0].nseg, n);
	assert_int_equal(e->nseg, n);
	for (unsigned int i = 0; i < n; i++) {
		assert_ptr_equal(e->chains[0].seg[i].base, vmem_at(&e->vm, parts[i].gpa, parts[i].len));
		assert_int_equal(e->chains[0].seg[i].len, parts[i].len);
	}
	assert_false(vdriver_has_used(&e->d));
	e->chains[0].written = 7;
	vring_put(&e->vr, e->chains, 1);
	assert_ptr_equal(vdriver_get(&e->d, &len), &token);
	assert_int_equal(len, 7);
	assert_null(vdriver_get(&e->d, NULL));
	assert_null(e->vr.broken);
}

/* A full ring can be taken at once, and no more than that. */
static void test_full(void **state)
{
	struct ring_env *e = *state;
	struct vdriver_buf buf = {e->bufs, 64, false};

	for (unsigned int round = 0; round < 3; round++) {
		uint16_t avail, used;
		unsigned int n;

		for (n = 0; vdriver_add(&e->d, &buf, 1, VDRIVER_DIRECT, &e->d) == 0; n++)
			;
		assert_int_equal(n, e->d.size);
		assert_int_equal(ring_env_take(e, false, ARRAY_SIZE(e->chains)), n);
		assert_false(vring_has_work(&e->vr));
		vring_position(&e->vr, &avail, &used);
		assert_int_equal(e->chains[0].pos, used);
		vring_untake(&e->vr, e->chains);
		assert_true(vring_has_work(&e->vr));
		assert_int_equal(ring_env_take(e, false, ARRAY_SIZE(e->chains)), n);
		vring_put(&e->vr, e->chains, n);
		for (unsigned int i = 0; i < n; i++)
			assert_non_null(vdriver_get(&e->d, NULL));
		assert_null(vdriver_get(&e->d, NULL));
	}
	assert_null(e->vr.broken);
}

struct expect {
	struct vdriver_buf parts[8];
	unsigned int n;
	uint32_t written;
};

/* A buffer that is not in use among those of the ring. */
static struct expect *free_expect(struct expect *all, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (!all[i].n)
			return &all[i];
	fail();
	return NULL;
}

/* Many laps of random batches, layouts and sizes, part of each batch pushed back: every buffer arrives once,
 * whole, in order; positions agree at the end and a start from them goes on. */
static void test_laps(void **state)
{
	struct ring_env *e = *state;
	unsigned int total = e->d.size > 100 ? 150000 : 20000, done = 0, oldest = 0, newest = 0;
	struct expect *all = calloc(e->d.size, sizeof(*all));
	struct expect **queue = calloc(e->d.size + 1, sizeof(struct expect *));

	assert_non_null(all);
	assert_non_null(queue);
	while (done < total) {
		unsigned int add = 1 + ring_env_random(e, e->d.size), got, keep;

		for (unsigned int i = 0; i < add; i++) {
			enum vdriver_layout layout = VDRIVER_DIRECT;
			struct expect *x = newest - oldest < e->d.size ? free_expect(all, e->d.size) : NULL;

			if (!x)
				break;
			x->n = 1 + ring_env_random(e, 5);
			for (unsigned int k = 0; k < x->n; k++)
				x->parts[k] = (struct vdriver_buf){e->bufs + ring_env_random(e, 30000),
								   1 + ring_env_random(e, 30000), true};
			x->written = ring_env_random(e, 100);
			if (virtio_has(e->variant->features, VIRTIO_RING_F_INDIRECT_DESC))
				layout = (enum vdriver_layout)ring_env_random(e, e->d.packed ? 2 : 3);
			if (layout == VDRIVER_MIXED && x->n == 1)
				layout = VDRIVER_INDIRECT;
			if (vdriver_add(&e->d, x->parts, x->n, layout, x) < 0) {
				x->n = 0;
				break;
			}
			queue[newest++ % (e->d.size + 1)] = x;
		}
		got = ring_env_take(e, true, 1 + ring_env_random(e, ARRAY_SIZE(e->chains) - 1));
		keep = got ? ring_env_random(e, got + 1) : 0;
		for (unsigned int i = 0; i < keep; i++) {
			const struct expect *x = queue[(oldest + i) % (e->d.size + 1)];

			assert_int_equal(e->chains[i].nseg, x->n);
			for (unsigned int k = 0; k < x->n; k++) {
				assert_ptr_equal(e->chains[i].seg[k].base,
						 vmem_at(&e->vm, x->parts[k].gpa, 1));
				assert_int_equal(e->chains[i].seg[k].len, x->parts[k].len);
			}
			e->chains[i].written = x->written;
		}
		if (keep < got)
			vring_untake(&e->vr, &e->chains[keep]);
		/* In two parts: a put is not a take. */
		vring_put(&e->vr, e->chains, keep / 2);
		vring_put(&e->vr, e->chains + keep / 2, keep - keep / 2);
		for (unsigned int i = 0; i < keep; i++) {
			struct expect *x = queue[oldest++ % (e->d.size + 1)];
			uint32_t len;

			assert_ptr_equal(vdriver_get(&e->d, &len), x);
			assert_int_equal(len, x->written);
			x->n = 0;
		}
		assert_null(vdriver_get(&e->d, NULL));
		done += keep;
		if (ring_env_random(e, 50) == 0) {
			/* The front-end stops and starts the ring; nothing is between the two positions. */
			struct vhost_queue q = vdriver_queue(&e->d, 1);

			vring_position(&e->vr, &q.avail_idx, &q.used_idx);
			assert_int_equal(q.avail_idx, q.used_idx);
			vring_start(&e->vr, &q);
		}
	}
	assert_null(e->vr.broken);
	free(all);
	free(queue);
}

/* A chain that the pool has no room for waits, and the ring is not called broken for it. */
static void test_small_pool(void **state)
{
	struct ring_env *e = *state;
	struct vdriver_buf parts[4];
	unsigned int n = MIN(4u, e->d.size / 2 ? e->d.size / 2 : 1);

	if (e->d.size < 4)
		skip();
	for (unsigned int i = 0; i < 4; i++)
		parts[i] = (struct vdriver_buf){e->bufs + i * 4096, 4096, false};
	n = MIN(n, 2u);
	assert_int_equal(vdriver_add(&e->d, parts, n, VDRIVER_DIRECT, &parts[0]), 0);
	assert_int_equal(vdriver_add(&e->d, parts, n, VDRIVER_DIRECT, &parts[1]), 0);
	assert_int_equal(vring_take(&e->vr, false, e->chains, 8, e->segs, n - 1, &e->nseg), 0);
	assert_int_equal(e->nseg, 0);
	assert_null(e->vr.broken);
	assert_int_equal(vring_take(&e->vr, false, e->chains, 8, e->segs, 2 * n - 1, &e->nseg), 1);
	assert_int_equal(e->nseg, n);
	assert_null(e->vr.broken);
	assert_int_equal(vring_take(&e->vr, false, e->chains + 1, 8, e->segs + n, n, &e->nseg), 1);
	vring_put(&e->vr, e->chains, 2);
	assert_ptr_equal(vdriver_get(&e->d, NULL), &parts[0]);
	assert_ptr_equal(vdriver_get(&e->d, NULL), &parts[1]);
}

/* A buffer may cross from one region to the next, which lies elsewhere here. */
static void test_crosses_regions(void **state)
{
	struct ring_env *e = *state;
	uint64_t edge = UINT64_C(2) << 30;
	struct vdriver_buf buf = {edge - 1000, 1000 + 4096 + 500, false};

	vmem_add(&e->vm, edge - 8192, 8192);
	vmem_add(&e->vm, edge, 4096);
	vmem_add(&e->vm, edge + 4096, 4096);
	assert_int_equal(vdriver_add(&e->d, &buf, 1, VDRIVER_DIRECT, &buf), 0);
	assert_int_equal(ring_env_take(e, false, 1), 1);
	assert_int_equal(e->chains[0].nseg, 3);
	assert_int_equal(e->chains[0].len, buf.len);
	assert_int_equal(e->chains[0].seg[0].len, 1000);
	assert_ptr_equal(e->chains[0].seg[0].base, vmem_at(&e->vm, edge - 1000, 1000));
	assert_int_equal(e->chains[0].seg[1].len, 4096);
	assert_ptr_equal(e->chains[0].seg[1].base, vmem_at(&e->vm, edge, 4096));
	assert_int_equal(e->chains[0].seg[2].len, 500);
	vring_put(&e->vr, e->chains, 1);
	assert_ptr_equal(vdriver_get(&e->d, NULL), &buf);
}

/* Adds and completes n buffers of one descriptor; true if the device would call then. */
static bool complete(struct ring_env *e, unsigned int n)
{
	struct vdriver_buf buf = {e->bufs, 64, false};
	bool call;

	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(vdriver_add(&e->d, &buf, 1, VDRIVER_DIRECT, &e->d), 0);
	assert_int_equal(ring_env_take(e, false, n), n);
	vring_put(&e->vr, e->chains, n);
	call = vring_should_call(&e->vr);
	return call;
}

/* §2.7.7, §2.8.10: a call for a batch exactly if it has the buffer that the driver waits for. */
static void test_calls(void **state)
{
	struct ring_env *e = *state;
	bool event = e->d.event_idx;
	unsigned int total = event && !e->d.packed ? 150000 : 20000;

	vdriver_call_enable(&e->d, 0);
	assert_true(complete(e, 1)); /* nothing is known of calls before: one is right */
	assert_non_null(vdriver_get(&e->d, NULL));
	for (unsigned int done = 0; done < total;) {
		unsigned int n = 1 + ring_env_random(e, e->d.size), first = 1 + ring_env_random(e, n);
		unsigned int after = ring_env_random(e, e->d.size);
		bool enable = ring_env_random(e, 4), called, called2 = false, want, want2;

		if (enable)
			vdriver_call_enable(&e->d, after);
		else
			vdriver_call_disable(&e->d);
		/* Two batches for one wish. */
		called = complete(e, first);
		if (n > first)
			called2 = complete(e, n - first);
		want = enable && (!event || after < first);
		want2 = n > first && enable && (!event || (after >= first && after < n));
		assert_int_equal(called, want);
		assert_int_equal(called2, want2);
		for (unsigned int i = 0; i < n; i++)
			assert_non_null(vdriver_get(&e->d, NULL));
		done += n;
	}
}

/* Several batches before the question is asked, a lap in all or more: a call exactly if one of their buffers
 * is the one that the driver waits for; and none for nothing. */
static void test_calls_together(void **state)
{
	struct ring_env *e = *state;
	struct vdriver_buf buf = {e->bufs, 64, false};

	vdriver_call_enable(&e->d, 0);
	assert_true(complete(e, 1));
	assert_non_null(vdriver_get(&e->d, NULL));
	assert_false(vring_should_call(&e->vr));
	for (unsigned int round = 0; round < 3000; round++) {
		unsigned int batches = 1 + ring_env_random(e, 3), total = 0;
		unsigned int after = ring_env_random(e, e->d.size);
		bool enable = ring_env_random(e, 4);

		if (enable)
			vdriver_call_enable(&e->d, after);
		else
			vdriver_call_disable(&e->d);
		for (unsigned int k = 0; k < batches; k++) {
			unsigned int n = 1 + ring_env_random(e, e->d.size);

			for (unsigned int i = 0; i < n; i++)
				assert_int_equal(vdriver_add(&e->d, &buf, 1, VDRIVER_DIRECT, &e->d), 0);
			assert_int_equal(ring_env_take(e, false, n), n);
			vring_put(&e->vr, e->chains, n);
			for (unsigned int i = 0; i < n; i++)
				assert_non_null(vdriver_get(&e->d, NULL));
			total += n;
		}
		assert_int_equal(vring_should_call(&e->vr), enable && (!e->d.event_idx || after < total));
		assert_false(vring_should_call(&e->vr));
	}
}

/* The call descriptor is written, and a full one does not block. */
static void test_call_descriptor(void **state)
{
	struct ring_env *e = *state;
	uint64_t full = UINT64_MAX - 1;

	assert_false(vdriver_wait_call(&e->d, 0));
	vring_call(&e->vr);
	assert_true(vdriver_wait_call(&e->d, 0));
	assert_int_equal(write(e->d.callfd, &full, sizeof(full)), sizeof(full));
	vring_call(&e->vr);
	e->vr.callfd = -1;
	vring_call(&e->vr);
}

/* Kicks on: a kick for what is added next. Kicks off: none. And enabling says what came just before. */
static void test_kicks(void **state)
{
	struct ring_env *e = *state;
	struct vdriver_buf buf = {e->bufs, 64, false};

	for (unsigned int round = 0; round < 30000; round++) {
		unsigned int n = 1 + ring_env_random(e, e->d.size);
		bool on = ring_env_random(e, 2);

		if (on)
			assert_false(vring_kick_enable(&e->vr));
		else
			vring_kick_disable(&e->vr);
		for (unsigned int i = 0; i < n; i++)
			assert_int_equal(vdriver_add(&e->d, &buf, 1, VDRIVER_DIRECT, &e->d), 0);
		assert_int_equal(vdriver_should_kick(&e->d), on);
		if (ring_env_random(e, 2)) {
			assert_true(vring_kick_enable(&e->vr));
			vring_kick_disable(&e->vr);
		}
		assert_int_equal(ring_env_take(e, false, n), n);
		vring_put(&e->vr, e->chains, n);
		for (unsigned int i = 0; i < n; i++)
			assert_non_null(vdriver_get(&e->d, NULL));
		if (e->d.size == 1024 && round > 2000)
			break;
	}
}

/* Every byte that the device wrote is marked, after it was written, and before the driver can see the buffer. */
static void test_dirty_log(void **state)
{
	struct ring_env *e = *state;
	struct dirty_log log = {.d = &e->d};
	struct vdriver_buf parts[2] = {{e->bufs, 1000, true}, {e->bufs + 8192, 1000, true}};
	unsigned int layout = virtio_has(e->variant->features, VIRTIO_RING_F_INDIRECT_DESC) ? VDRIVER_INDIRECT
											    : VDRIVER_DIRECT;
	struct vhost_queue q = vdriver_queue(&e->d, 0);
	unsigned int per = e->d.size == 1 && layout == VDRIVER_DIRECT ? 1 : 2, i;
	unsigned int n = layout == VDRIVER_INDIRECT ? MIN(3u, e->d.size) : 1;
	uint64_t used_at[3];

	q.log = &log;
	vring_start(&e->vr, &q);
	for (i = 0; i < n; i++) {
		if (e->d.packed)
			used_at[i] = e->d.desc_gpa + 16ull * e->d.avail_idx;
		else
			used_at[i] = e->d.device_gpa + 4 + 8ull * ((e->d.avail_idx) & (e->d.size - 1));
		assert_int_equal(vdriver_add(&e->d, parts, per, (enum vdriver_layout)layout, &parts), 0);
	}
	assert_int_equal(ring_env_take(e, true, 8), n);
	assert_int_equal(log.n, 0);
	e->chains[0].written = per == 2 ? 1300 : 1000; /* all of the first part, 300 bytes of the second */
	if (n > 1)
		e->chains[1].written = 10;
	vring_put(&e->vr, e->chains, n);

	/* Data: before anything is used. */
	assert_int_equal(log.mark[0].gpa, parts[0].gpa);
	assert_int_equal(log.mark[0].len, 1000);
	assert_false(log.mark[0].used);
	if (per == 2) {
		assert_int_equal(log.mark[1].gpa, parts[1].gpa);
		assert_int_equal(log.mark[1].len, 300);
		assert_false(log.mark[1].used);
	}
	/* The ring: each used element, after it was published (packed) or with the index after it (split). */
	for (unsigned int k = 0; k < n; k++) {
		for (i = 0; i < log.n; i++)
			if (log.mark[i].gpa <= used_at[k] && used_at[k] < log.mark[i].gpa + log.mark[i].len)
				break;
		assert_true(i < log.n);
		if (e->d.packed)
			assert_true(log.mark[i].used);
	}
	if (!e->d.packed) {
		for (i = 0; i < log.n; i++)
			if (log.mark[i].gpa <= e->d.device_gpa + 2 &&
			    e->d.device_gpa + 4 <= log.mark[i].gpa + log.mark[i].len)
				break;
		assert_true(i < log.n);
		assert_true(log.mark[i].used);
	}
}

/* The inflight area knows where the ring stands, at any moment. */
static void test_inflight(void **state)
{
	struct ring_env *e = *state;
	struct vhost_queue q = vdriver_queue(&e->d, 0);
	struct vhost_inflight inflight = {.size = (uint16_t)e->d.size};
	struct vdriver_buf buf = {e->bufs, 64, true};
	uint16_t used = q.used_idx;

	inflight.split = calloc(1, vhost_inflight_region_size((uint16_t)e->d.size, e->d.packed));
	assert_non_null(inflight.split);
	if (e->d.packed)
		assert_int_equal(vhost_inflight_packed_start(&inflight, q.desc, false, &used), 0);
	else
		assert_int_equal(vhost_inflight_split_start(&inflight, used), 0);
	q.inflight = &inflight;
	vring_start(&e->vr, &q);
	for (unsigned int round = 0; round < 5000; round++) {
		unsigned int n = 1 + ring_env_random(e, e->d.size);
		uint16_t a, u;

		for (unsigned int i = 0; i < n; i++)
			assert_int_equal(vdriver_add(&e->d, &buf, 1, VDRIVER_DIRECT, &e->d), 0);
		assert_int_equal(ring_env_take(e, true, n), n);
		for (unsigned int i = 0; i < n; i++)
			e->chains[i].written = 5;
		vring_put(&e->vr, e->chains, n);
		vring_position(&e->vr, &a, &u);
		if (e->d.packed) {
			struct inflight_packed *p = inflight.packed;
			struct vhost_inflight other = inflight;
			uint16_t recovered = 0;

			assert_int_equal(p->used_idx, u & 0x7fff);
			assert_int_equal(p->used_wrap_counter, u >> 15);
			assert_int_equal(p->old_used_idx, u & 0x7fff);
			if (round % 100 == 0) {
				assert_int_equal(
					vhost_inflight_packed_start(&other, q.desc, true, &recovered), 0);
				assert_int_equal(recovered, u);
			}
		} else {
			assert_int_equal(inflight.split->used_idx, u);
		}
		for (unsigned int i = 0; i < n; i++)
			assert_non_null(vdriver_get(&e->d, NULL));
		if (e->d.size == 1024 && round > 500)
			break;
	}
	free(inflight.split);
}

static const struct ring_variant split = {"split", F_INDIRECT, 256, 0};
static const struct ring_variant split_1 = {"split, size 1", 0, 1, 65530};
static const struct ring_variant split_event = {"split, events", F_INDIRECT | F_EVENT, 64, 65500};
static const struct ring_variant split_order = {"split, in order", F_INDIRECT | F_EVENT | F_IN_ORDER, 1024,
						0};
static const struct ring_variant packed = {"packed", F_PACKED | F_INDIRECT, 256, 0x8000};
static const struct ring_variant packed_1 = {"packed, size 1", F_PACKED | F_EVENT | F_INDIRECT, 1, 0x8000};
static const struct ring_variant packed_3 = {"packed, size 3", F_PACKED, 3, 0x8000};
static const struct ring_variant packed_7 = {"packed, size 7", F_PACKED | F_EVENT | F_INDIRECT, 7, 5};
static const struct ring_variant packed_1000 = {"packed, size 1000", F_PACKED | F_EVENT | F_INDIRECT, 1000,
						999 | 0x8000};
static const struct ring_variant packed_order = {"packed, in order",
						 F_PACKED | F_EVENT | F_INDIRECT | F_IN_ORDER, 64, 0x8000};

#define TEST(fn, v)                                                                                          \
	{                                                                                                    \
#fn " (" #v ")", fn, ring_env_setup, ring_env_teardown, (void *)(uintptr_t) & (v)            \
	}
#define TESTS(fn)                                                                                            \
	TEST(fn, split), TEST(fn, split_1), TEST(fn, split_event), TEST(fn, split_order), TEST(fn, packed),  \
		TEST(fn, packed_1), TEST(fn, packed_3), TEST(fn, packed_7), TEST(fn, packed_1000),           \
		TEST(fn, packed_order)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TESTS(test_simple),
		TESTS(test_full),
		TESTS(test_laps),
		TESTS(test_small_pool),
		TESTS(test_crosses_regions),
		TESTS(test_calls),
		TESTS(test_calls_together),
		TESTS(test_call_descriptor),
		TESTS(test_kicks),
		TESTS(test_dirty_log),
		TESTS(test_inflight),
	};

	return cmocka_run_group_tests_name("vring", tests, NULL, NULL);
}
