/* SPDX-License-Identifier: Apache-2.0 */

/* Drivers that misbehave: each violation is noticed, named, and touches nothing; chains before it are still
 * good, and a fresh start works. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "ring_env.h"

#define F_EVENT    VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX)
#define F_INDIRECT VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define F_PACKED   VIRTIO_BIT(VIRTIO_F_RING_PACKED)

#define END_OF_MEM ((UINT64_C(1) << 30) + RING_ENV_MEM)

/* Takes with a good buffer in front of what the test spoiled: that one is taken, then the ring is broken for
 * `why`, nothing was written, and nothing more is taken. */
static void expect_broken(struct ring_env *e, bool writable, const char *why)
{
	uint64_t size = e->vm.next[0] - e->vm.mem->regions[0].gpa;
	uint8_t *before = malloc(size);
	unsigned int n = 0;

	assert_non_null(before);
	memcpy(before, e->vm.mem->regions[0].hva, size);
	/* What was taken before the error counts, the rest does not come. */
	for (unsigned int i = 0; i < 3; i++)
		n += ring_env_take(e, writable, 8);
	assert_non_null(e->vr.broken);
	assert_string_equal(e->vr.broken, why);
	assert_int_equal(n, e->d.outstanding > 1 ? 1 : 0);
	assert_false(vring_has_work(&e->vr));
	assert_memory_equal(before, e->vm.mem->regions[0].hva, size);
	free(before);
	assert_false(vdriver_has_used(&e->d));
	if (n) {
		vring_put(&e->vr, e->chains, 1);
		assert_ptr_equal(vdriver_get(&e->d, NULL), &e->vm);
	}
	assert_null(vdriver_get(&e->d, NULL));
	assert_int_equal(ring_env_take(e, writable, 8), 0);

	ring_env_restart(e);
	ring_env_check_works(e);
}

/* A good buffer, then one that the test may spoil: not yet published. */
static void add_good(struct ring_env *e, bool write)
{
	struct vdriver_buf buf = {e->bufs, 64, write};

	assert_int_equal(vdriver_add(&e->d, &buf, 1, VDRIVER_DIRECT, &e->vm), 0);
	e->d.hold = true;
}

static void add_parts(struct ring_env *e, unsigned int n, bool write, enum vdriver_layout layout)
{
	struct vdriver_buf parts[VDRIVER_MAX_SIZE];

	assert_true(n <= ARRAY_SIZE(parts));
	for (unsigned int i = 0; i < n; i++)
		parts[i] = (struct vdriver_buf){e->bufs + 64 * (i % 1000), 64, write};
	assert_int_equal(vdriver_add(&e->d, parts, n, layout, e), 0);
}

static struct vring_desc *split_head(struct ring_env *e)
{
	return &e->d.desc[e->d.avail->ring[e->d.avail_idx & (e->d.size - 1)]];
}

/* The first descriptor of the buffer held back, its address and length (either format). */
static void spoil(struct ring_env *e, uint64_t addr, uint32_t len)
{
	if (e->d.packed) {
		e->d.pdesc[e->d.held_pos].addr = addr;
		e->d.pdesc[e->d.held_pos].len = len;
	} else {
		split_head(e)->addr = addr;
		split_head(e)->len = len;
	}
}

static void set_head_flags(struct ring_env *e, uint16_t flags)
{
	if (e->d.packed)
		e->d.held_flags = (uint16_t)((e->d.held_flags & ~7u) | flags);
	else
		split_head(e)->flags = flags;
}

/* The indirect table of the buffer held back. */
static void *table(struct ring_env *e, unsigned int n)
{
	return vmem_at(&e->vm, e->d.packed ? e->d.pdesc[e->d.held_pos].addr : split_head(e)->addr, 16ul * n);
}

static void test_direction(void **state)
{
	struct ring_env *e = *state;

	add_good(e, false);
	add_parts(e, 2, true, VDRIVER_DIRECT);
	vdriver_publish(&e->d);
	expect_broken(e, false, "a buffer of the transmit queue is device-writable");
	add_good(e, true);
	add_parts(e, 2, false, VDRIVER_DIRECT);
	vdriver_publish(&e->d);
	expect_broken(e, true, "a buffer of the receive queue is not device-writable");
	/* The same in the usual form, one descriptor. */
	add_good(e, false);
	add_parts(e, 1, true, VDRIVER_DIRECT);
	vdriver_publish(&e->d);
	expect_broken(e, false, "a buffer of the transmit queue is device-writable");
	add_good(e, true);
	add_parts(e, 1, false, VDRIVER_DIRECT);
	vdriver_publish(&e->d);
	expect_broken(e, true, "a buffer of the receive queue is not device-writable");
	/* In the middle of a chain, in a table. */
	add_good(e, true);
	add_parts(e, 3, true, VDRIVER_INDIRECT);
	if (e->d.packed)
		((struct vring_packed_desc *)table(e, 3))[1].flags &= (uint16_t)~VRING_DESC_F_WRITE;
	else
		((struct vring_desc *)table(e, 3))[1].flags &= (uint16_t)~VRING_DESC_F_WRITE;
	vdriver_publish(&e->d);
	expect_broken(e, true, "a buffer of the receive queue is not device-writable");
	/* DPDK's driver marks buffers of packed transmit tables writable: no harm. */
	if (e->d.packed)
		return;
	add_good(e, false);
	add_parts(e, 3, false, VDRIVER_INDIRECT);
	((struct vring_desc *)table(e, 3))[1].flags |= VRING_DESC_F_WRITE;
	vdriver_publish(&e->d);
	expect_broken(e, false, "a buffer of the transmit queue is device-writable");
}

static void test_outside_memory(void **state)
{
	struct ring_env *e = *state;
	static const struct {
		uint64_t addr;
		uint32_t len;
	} bad[] = {
		{0, 1},
		{(UINT64_C(1) << 30) - 1, 1},
		{(UINT64_C(1) << 30) - 1, 64},
		{END_OF_MEM, 1},
		{END_OF_MEM - 1, 2},
		{END_OF_MEM - 64, 0x7fffff00},
		{UINT64_MAX, 1},
		{UINT64_MAX - 63, 64},                 /* ends at 2^64 */
		{UINT64_MAX - 63, 65},                 /* wraps to 0 */
		{UINT64_MAX - 0x3fffffff, 0x7fffffff}, /* wraps into memory */
		{UINT64_C(1) << 63, 64},
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		add_good(e, false);
		add_parts(e, 1, false, VDRIVER_DIRECT);
		spoil(e, bad[i].addr, bad[i].len);
		vdriver_publish(&e->d);
		expect_broken(e, false, "a buffer lies outside guest memory");
	}
}

static void test_no_length(void **state)
{
	struct ring_env *e = *state;

	add_good(e, false);
	add_parts(e, 1, false, VDRIVER_DIRECT);
	spoil(e, e->bufs, 0);
	vdriver_publish(&e->d);
	expect_broken(e, false, "a descriptor of no length");
	add_good(e, true);
	add_parts(e, 5, true, VDRIVER_INDIRECT);
	if (e->d.packed)
		((struct vring_packed_desc *)table(e, 5))[4].len = 0;
	else
		((struct vring_desc *)table(e, 5))[4].len = 0;
	vdriver_publish(&e->d);
	expect_broken(e, true, "a descriptor of no length");
}

/* Lengths whose sum does not fit 31 bits; the memory is not even that large. */
static void test_two_gigabytes(void **state)
{
	struct ring_env *e = *state;
	unsigned int n = 130;

	add_good(e, false);
	add_parts(e, n, false, VDRIVER_INDIRECT);
	for (unsigned int i = 0; i < n; i++) {
		if (e->d.packed) {
			((struct vring_packed_desc *)table(e, n))[i].addr = UINT64_C(1) << 30;
			((struct vring_packed_desc *)table(e, n))[i].len = RING_ENV_MEM;
		} else {
			((struct vring_desc *)table(e, n))[i].addr = UINT64_C(1) << 30;
			((struct vring_desc *)table(e, n))[i].len = RING_ENV_MEM;
		}
	}
	vdriver_publish(&e->d);
	expect_broken(e, false, "a descriptor chain of 2 GiB or more");
	add_good(e, false);
	add_parts(e, 1, false, VDRIVER_DIRECT);
	spoil(e, e->bufs, UINT32_MAX);
	vdriver_publish(&e->d);
	expect_broken(e, false, "a descriptor chain of 2 GiB or more");
}

static void test_indirect(void **state)
{
	struct ring_env *e = *state;
	static const struct {
		uint64_t addr; /* 0: as it was */
		uint32_t len;
		const char *why;
	} bad[] = {
		{0, 0, "an indirect table of a wrong size"},
		{0, 8, "an indirect table of a wrong size"},
		{0, 17, "an indirect table of a wrong size"},
		{0, 16 * (VRING_MAX_CHAIN + 1), "an indirect table of a wrong size"},
		{0, 0xfffffff0, "an indirect table of a wrong size"},
		{END_OF_MEM, 16, "an indirect table outside guest memory"},
		{END_OF_MEM - 16, 32, "an indirect table outside guest memory"},
		{UINT64_MAX - 15, 32, "an indirect table outside guest memory"},
		{(UINT64_C(1) << 30) + 4, 16, "an indirect table outside guest memory"}, /* not aligned */
		{(UINT64_C(1) << 30) + 1, 16, "an indirect table outside guest memory"},
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		uint64_t addr;

		add_good(e, false);
		add_parts(e, 2, false, VDRIVER_INDIRECT);
		addr = e->d.packed ? e->d.pdesc[e->d.held_pos].addr : split_head(e)->addr;
		spoil(e, bad[i].addr ? bad[i].addr : addr, bad[i].len);
		vdriver_publish(&e->d);
		expect_broken(e, false, bad[i].why);
	}
	/* With a next one (§2.7.5.3.1, §2.8.8). */
	add_good(e, false);
	add_parts(e, 2, false, VDRIVER_INDIRECT);
	set_head_flags(e, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT);
	vdriver_publish(&e->d);
	expect_broken(e, false, "an indirect descriptor where none may be");
	/* Not negotiated. */
	e->vr.indirect = false;
	add_good(e, false);
	add_parts(e, 2, false, VDRIVER_INDIRECT);
	vdriver_publish(&e->d);
	expect_broken(e, false, "an indirect descriptor where none may be");
}

static void test_split_nested(void **state)
{
	struct ring_env *e = *state;
	struct vring_desc *t;

	add_good(e, false);
	add_parts(e, 2, false, VDRIVER_INDIRECT);
	t = table(e, 2);
	t[1].flags = VRING_DESC_F_INDIRECT;
	t[1].len = 16;
	vdriver_publish(&e->d);
	expect_broken(e, false, "an indirect descriptor where none may be");
	/* Into itself. */
	add_good(e, false);
	add_parts(e, 2, false, VDRIVER_INDIRECT);
	t = table(e, 2);
	t[0] = *split_head(e);
	vdriver_publish(&e->d);
	expect_broken(e, false, "an indirect descriptor where none may be");
}

static void test_split_index_jumps(void **state)
{
	struct ring_env *e = *state;
	static const int jumps[] = {1, 2, 1000, 32767, -1, -2, -300};

	for (unsigned int i = 0; i < ARRAY_SIZE(jumps); i++) {
		struct vdriver_buf buf = {e->bufs, 64, false};

		/* A full ring, and then some. */
		for (unsigned int k = 0; k < e->d.size; k++)
			assert_int_equal(vdriver_add(&e->d, &buf, 1, VDRIVER_DIRECT, &e->vm), 0);
		e->d.avail->idx =
			(uint16_t)(jumps[i] > 0 ? e->d.avail_idx + jumps[i] : e->variant->base + jumps[i]);
		assert_int_equal(ring_env_take(e, false, 8), 0);
		assert_string_equal(e->vr.broken, "the available index jumped");
		assert_false(vring_has_work(&e->vr));
		ring_env_restart(e);
		ring_env_check_works(e);
	}
}

static void test_split_indices(void **state)
{
	struct ring_env *e = *state;
	static const uint16_t beyond[] = {0, 1, 0x7fff, 0xffff};

	for (unsigned int i = 0; i < ARRAY_SIZE(beyond); i++) {
		uint16_t bad = i < 2 ? (uint16_t)(e->d.size + beyond[i]) : beyond[i];

		add_good(e, false);
		add_parts(e, 1, false, VDRIVER_DIRECT);
		e->d.avail->ring[e->d.avail_idx & (e->d.size - 1)] = bad; /* the head */
		vdriver_publish(&e->d);
		expect_broken(e, false, "a descriptor index is beyond its table");
		add_good(e, false);
		add_parts(e, 2, false, VDRIVER_DIRECT);
		split_head(e)->next = bad;
		vdriver_publish(&e->d);
		expect_broken(e, false, "a descriptor index is beyond its table");
		add_good(e, false);
		add_parts(e, 3, false, VDRIVER_INDIRECT);
		((struct vring_desc *)table(e, 3))[1].next = (uint16_t)MAX(bad, 3);
		vdriver_publish(&e->d);
		expect_broken(e, false, "a descriptor index is beyond its table");
	}
}

static void test_split_loops(void **state)
{
	struct ring_env *e = *state;

	/* To itself, by way of others, and in a table. */
	add_good(e, false);
	add_parts(e, 1, false, VDRIVER_DIRECT);
	split_head(e)->flags |= VRING_DESC_F_NEXT;
	split_head(e)->next = e->d.avail->ring[e->d.avail_idx & (e->d.size - 1)];
	vdriver_publish(&e->d);
	expect_broken(e, false, "a descriptor chain loops");
	add_good(e, false);
	add_parts(e, 3, false, VDRIVER_DIRECT);
	{
		struct vring_desc *second = &e->d.desc[split_head(e)->next],
				  *third = &e->d.desc[second->next];

		third->flags |= VRING_DESC_F_NEXT;
		third->next = split_head(e)->next;
	}
	vdriver_publish(&e->d);
	expect_broken(e, false, "a descriptor chain loops");
	add_good(e, false);
	add_parts(e, 3, false, VDRIVER_INDIRECT);
	((struct vring_desc *)table(e, 3))[2].flags |= VRING_DESC_F_NEXT;
	((struct vring_desc *)table(e, 3))[2].next = 0;
	vdriver_publish(&e->d);
	expect_broken(e, false, "a descriptor chain loops");
}

static void test_packed_id(void **state)
{
	struct ring_env *e = *state;
	const uint16_t bad[] = {(uint16_t)e->d.size, 0x7fff, 0xffff};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		add_good(e, false);
		add_parts(e, 1, false, VDRIVER_DIRECT);
		e->d.pdesc[e->d.held_pos].id = bad[i];
		vdriver_publish(&e->d);
		expect_broken(e, false, "a buffer id is beyond the ring");
	}
}

static void test_packed_endless(void **state)
{
	struct ring_env *e = *state;

	for (unsigned int i = 0; i < e->d.size; i++) {
		e->d.pdesc[i].addr = e->bufs;
		e->d.pdesc[i].len = 1;
		e->d.pdesc[i].flags = (uint16_t)(VRING_DESC_F_NEXT | 1u << VRING_PACKED_DESC_F_AVAIL);
	}
	assert_int_equal(ring_env_take(e, false, 8), 0);
	assert_string_equal(e->vr.broken, "a descriptor chain longer than the ring");
	ring_env_restart(e);
	ring_env_check_works(e);
	/* An indirect one in the middle of a chain. */
	add_good(e, false);
	add_parts(e, 2, false, VDRIVER_DIRECT);
	e->d.pdesc[e->d.held_pos + 1].flags |= VRING_DESC_F_INDIRECT;
	e->d.pdesc[e->d.held_pos + 1].len = 16;
	vdriver_publish(&e->d);
	expect_broken(e, false, "an indirect descriptor where none may be");
}

/* A driver that makes one lap's descriptors available again while they are taken: each take stays within the
 * ring. */
static void test_packed_laps_itself(void **state)
{
	struct ring_env *e = *state;
	unsigned int n;

	for (unsigned int i = 0; i < e->d.size; i++)
		e->d.pdesc[i] = (struct vring_packed_desc){.addr = e->bufs,
							   .len = 64,
							   .id = (uint16_t)i,
							   .flags = 1u << VRING_PACKED_DESC_F_AVAIL};
	n = ring_env_take(e, false, VRING_MAX_CHAIN);
	assert_int_equal(n, e->d.size);
	for (unsigned int i = 0; i < e->d.size; i++)
		e->d.pdesc[i].flags = 1u << VRING_PACKED_DESC_F_USED; /* available in the next lap */
	n = vring_take(&e->vr, false, e->chains + n, 4, e->segs + n, RING_SEGS - n, &e->nseg);
	assert_in_range(n, 0, 4);
	vring_put(&e->vr, e->chains, e->d.size + n);
	assert_true(e->vr.used_pos < e->d.size);
	ring_env_restart(e);
	ring_env_check_works(e);
}

/* More pieces than a chain may have: a long chain that crosses regions in each descriptor. */
static void test_too_many_pieces(void **state)
{
	struct ring_env *e = *state;
	uint64_t at = UINT64_C(2) << 30;
	unsigned int n = VRING_MAX_CHAIN;
	struct vdriver_buf parts[VRING_MAX_CHAIN];

	vmem_add(&e->vm, at, 4096);
	vmem_add(&e->vm, at + 4096, 1);
	vmem_add(&e->vm, at + 4097, 4096);
	for (unsigned int i = 0; i < n; i++)
		parts[i] = (struct vdriver_buf){at + 4095, 3, false};
	add_good(e, false);
	assert_int_equal(vdriver_add(&e->d, parts, n, VDRIVER_INDIRECT, e), 0);
	vdriver_publish(&e->d);
	expect_broken(e, false, "a descriptor chain in too many pieces");
}

/* Event positions that make no sense cause a call too many, not a crash. */
static void test_event_nonsense(void **state)
{
	struct ring_env *e = *state;
	struct vdriver_buf buf = {e->bufs, 64, false};
	uint16_t flags[] = {0, 1, 2, 3, 0xffff}, offs[] = {0, 63, 64, 0x7fff, 0x8000, 0xffff};

	for (unsigned int i = 0; i < ARRAY_SIZE(flags); i++) {
		for (unsigned int k = 0; k < ARRAY_SIZE(offs); k++) {
			if (e->d.packed) {
				e->d.driver_event->flags = flags[i];
				e->d.driver_event->off_wrap = offs[k];
			} else {
				e->d.avail->flags = flags[i];
				e->d.avail->ring[e->d.size] = offs[k];
			}
			assert_int_equal(vdriver_add(&e->d, &buf, 1, VDRIVER_DIRECT, &e->vm), 0);
			assert_int_equal(ring_env_take(e, false, 1), 1);
			vring_put(&e->vr, e->chains, 1);
			(void)vring_should_call(&e->vr);
			assert_non_null(vdriver_get(&e->d, NULL));
			assert_null(e->vr.broken);
		}
	}
}

static const struct ring_variant split = {"split", F_INDIRECT | F_EVENT, 64, 65530};
static const struct ring_variant packed = {"packed", F_PACKED | F_INDIRECT | F_EVENT, 64, 0x8000};
static const struct ring_variant packed_7 = {"packed, size 7", F_PACKED | F_INDIRECT, 7, 0x8000};

#define TEST(fn, v)                                                                                          \
	{                                                                                                    \
#fn " (" #v ")", fn, ring_env_setup, ring_env_teardown, (void *)(uintptr_t) & (v)            \
	}
#define TESTS(fn) TEST(fn, split), TEST(fn, packed), TEST(fn, packed_7)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TESTS(test_direction),
		TESTS(test_outside_memory),
		TESTS(test_no_length),
		TESTS(test_two_gigabytes),
		TESTS(test_indirect),
		TESTS(test_too_many_pieces),
		TESTS(test_event_nonsense),
		TEST(test_split_nested, split),
		TEST(test_split_index_jumps, split),
		TEST(test_split_indices, split),
		TEST(test_split_loops, split),
		TEST(test_packed_id, packed),
		TEST(test_packed_id, packed_7),
		TEST(test_packed_endless, packed),
		TEST(test_packed_endless, packed_7),
		TEST(test_packed_laps_itself, packed),
		TEST(test_packed_laps_itself, packed_7),
	};

	return cmocka_run_group_tests_name("vring_bad", tests, NULL, NULL);
}
