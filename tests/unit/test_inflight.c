/* SPDX-License-Identifier: Apache-2.0 */

/* The inflight area: what a back-end finds after a crash at any point of a burst. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "vhost/inflight.h"

#define SIZE  8
#define AVAIL 0x0080
#define USED  0x8000
#define WRAP  0x8000

struct packed_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};

struct area {
	struct vhost_inflight inflight;
	_Alignas(8) uint8_t bytes[4096];
	struct packed_desc ring[SIZE];
};

static int setup(void **state)
{
	struct area *a = calloc(1, sizeof(*a));

	a->inflight.split = (void *)a->bytes;
	a->inflight.size = SIZE;
	*state = a;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void test_create(void **state)
{
	uint64_t size = 0;
	int fd = -1;

	(void)state;
	assert_int_equal(vhost_inflight_create(0, 8, &size, &fd), -EINVAL);
	assert_int_equal(vhost_inflight_create(2, 0, &size, &fd), -EINVAL);
	assert_int_equal(fd, -1);
	assert_int_equal(vhost_inflight_create(3, 256, &size, &fd), 0);
	assert_int_equal(size, 3 * (32 + 256 * 32));
	assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(ftruncate(fd, 0), -1);
	close(fd);
}

static void test_split(void **state)
{
	struct area *a = *state;
	struct inflight_split *s = a->inflight.split;

	assert_true(vhost_inflight_fresh(&a->inflight));
	assert_int_equal(vhost_inflight_split_start(&a->inflight, 5), 0);
	assert_false(vhost_inflight_fresh(&a->inflight));
	assert_int_equal(s->version, 1);
	assert_int_equal(s->desc_num, SIZE);
	assert_int_equal(s->used_idx, 5);
	vhost_inflight_split_done(&a->inflight, 9);
	assert_int_equal(s->used_idx, 9);
	vhost_inflight_split_done(NULL, 9);

	/* what another back-end left */
	s->desc[3].inflight = 1;
	s->last_batch_head = 3;
	assert_int_equal(vhost_inflight_split_start(&a->inflight, 10), 0);
	assert_int_equal(s->desc[3].inflight, 0);
	assert_int_equal(s->last_batch_head, 0);
	assert_int_equal(s->used_idx, 10);

	s->desc_num = SIZE / 2;
	assert_int_equal(vhost_inflight_split_start(&a->inflight, 10), -EINVAL);
	s->desc_num = SIZE;
	s->version = 2;
	assert_int_equal(vhost_inflight_split_start(&a->inflight, 10), -EINVAL);
}

static uint16_t recover(struct area *a)
{
	struct vhost_inflight again = {.packed = a->inflight.packed, .size = SIZE};
	uint16_t used = 0x1234;

	assert_int_equal(vhost_inflight_packed_start(&again, a->ring, true, &used), 0);
	assert_int_equal(again.packed->used_idx, used & 0x7fff);
	assert_int_equal(again.packed->old_used_idx, used & 0x7fff);
	assert_int_equal(again.packed->used_wrap_counter, used >> 15);
	assert_int_equal(again.packed->old_used_wrap_counter, used >> 15);
	return used;
}

/* A burst of `n` from `from`, stopped by a crash after `steps` of its three steps. */
static uint16_t crash_in_burst(struct area *a, uint16_t from, uint16_t to, int steps)
{
	uint16_t used = from;
	bool wrap = from & WRAP;

	for (unsigned int i = 0; i < SIZE;
	     i++) /* all available: in this round, or the next if before `from` */
		a->ring[i].flags = wrap == (i >= (from & 0x7fffu)) ? AVAIL : USED;
	memset(a->bytes, 0, sizeof(a->bytes));
	assert_int_equal(vhost_inflight_packed_start(&a->inflight, a->ring, true, &used), 0);
	if (steps > 0)
		vhost_inflight_packed_begin(&a->inflight, to);
	if (steps > 1)
		a->ring[from & 0x7fff].flags = wrap ? AVAIL | USED : 0;
	if (steps > 2)
		vhost_inflight_packed_end(&a->inflight);
	return recover(a);
}

static void test_packed_crash(void **state)
{
	static const uint16_t bursts[][2] = {
		{WRAP | 0, WRAP | 3}, {WRAP | 6, 2},     {0 | 3, 0 | 7}, {0 | 5, WRAP | 1},
		{WRAP | 0, 0 | 0},    {0 | 0, WRAP | 0}, {WRAP | 4, 4},
	};
	struct area *a = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(bursts); i++) {
		uint16_t from = bursts[i][0], to = bursts[i][1];

		assert_int_equal(crash_in_burst(a, from, to, 0), from);
		assert_int_equal(crash_in_burst(a, from, to, 1), from); /* rolled back */
		assert_int_equal(crash_in_burst(a, from, to, 2), to);   /* the driver has it */
		assert_int_equal(crash_in_burst(a, from, to, 3), to);
	}
}

/* The driver took the burst and made the same place available again before anybody looked. */
static void test_packed_refilled(void **state)
{
	struct area *a = *state;

	crash_in_burst(a, WRAP | 0, WRAP | 2, 1);
	vhost_inflight_packed_start(&a->inflight, a->ring, false, &(uint16_t){WRAP | 0});
	vhost_inflight_packed_begin(&a->inflight, WRAP | 2);
	a->ring[0].flags = USED; /* available, next round */
	assert_int_equal(recover(a), WRAP | 2);
}

static void test_packed_start(void **state)
{
	struct area *a = *state;
	struct inflight_packed *p = a->inflight.packed;
	uint16_t used = WRAP | 3;

	/* a fresh area: the front-end's index */
	assert_int_equal(vhost_inflight_packed_start(&a->inflight, a->ring, true, &used), 0);
	assert_int_equal(used, WRAP | 3);
	assert_int_equal(p->version, 1);
	assert_int_equal(p->desc_num, SIZE);
	for (unsigned int i = 0; i < SIZE; i++)
		assert_int_equal(p->desc[i].next, (i + 1) % SIZE);
	/* not after a crash: the front-end's index again, stale entries cleared */
	p->desc[1].inflight = 1;
	used = 2;
	assert_int_equal(vhost_inflight_packed_start(&a->inflight, a->ring, false, &used), 0);
	assert_int_equal(used, 2);
	assert_int_equal(p->desc[1].inflight, 0);
	assert_int_equal(recover(a), 2);
	vhost_inflight_packed_begin(NULL, 2);
	vhost_inflight_packed_end(NULL);
}

static void test_packed_hostile(void **state)
{
	struct area *a = *state;
	struct inflight_packed *p = a->inflight.packed;
	uint16_t used = 1;

	assert_int_equal(vhost_inflight_packed_start(&a->inflight, a->ring, true, &used), 0);
	p->used_idx = SIZE;
	assert_int_equal(vhost_inflight_packed_start(&a->inflight, a->ring, true, &used), -EINVAL);
	p->used_idx = 1;
	p->old_used_idx = 0xffff;
	assert_int_equal(vhost_inflight_packed_start(&a->inflight, a->ring, true, &used), -EINVAL);
	p->old_used_idx = 1;
	p->used_wrap_counter = 2;
	assert_int_equal(vhost_inflight_packed_start(&a->inflight, a->ring, true, &used), -EINVAL);
	p->used_wrap_counter = 0;
	p->old_used_wrap_counter = 0xff;
	assert_int_equal(vhost_inflight_packed_start(&a->inflight, a->ring, true, &used), -EINVAL);
	p->old_used_wrap_counter = 0;
	p->desc_num = SIZE * 2;
	assert_int_equal(vhost_inflight_packed_start(&a->inflight, a->ring, true, &used), -EINVAL);
	assert_int_equal(used, 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_create),          T(test_split),        T(test_packed_crash),
		T(test_packed_refilled), T(test_packed_start), T(test_packed_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
