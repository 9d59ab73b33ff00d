/* SPDX-License-Identifier: Apache-2.0 */

/* The vhost-user back-end with front-ends that mean harm, or do not know better: memory, and where rings are in it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "vu_env.h"

#define FEATURES (F_VERSION_1 | F_EVENT_IDX)

/* Tables of regions that do not add up. */
static void test_mem_table(void **state)
{
	struct vu_env *e = *state;
	struct vu_memory t = {.n = 1};
	unsigned int errors = 0;
	int fds[8];

	vu_env_running(e);
	for (unsigned int i = 0; i < 8; i++)
		fds[i] = e->c.mem_fd;
	for (unsigned int i = 0; i < 8; i++)
		t.regions[i] = (struct vu_region){
			.gpa = i * 0x1000, .size = 0x1000, .uva = 0x10000 + i * 0x1000, .offset = i * 0x1000};
	/* good: eight */
	t.n = 8;
	assert_int_equal(vu_client_ask(&e->c, VU_SET_MEM_TABLE, &t, sizeof(t), fds, 8), 0);
	assert_int_equal(vu_env_info(e).mem_regions, 8);
	assert_null(e->q[1].q); /* its memory is gone */
	/* good: none */
	t.n = 0;
	assert_int_equal(vu_client_ask(&e->c, VU_SET_MEM_TABLE, &t, 8, NULL, 0), 0);
	assert_int_equal(vu_env_info(e).mem_regions, 0);
	vu_client_share_memory(&e->c, 0);
	assert_non_null(e->q[1].q);
	vu_client_disconnect(&e->c);

	static const struct {
		uint32_t n, size;
		unsigned int nfds;
	} wrong[] = {{9, 264, 8}, {UINT32_MAX, 264, 8}, {1, 40, 0}, {1, 40, 2},
		     {2, 72, 1},  {1, 72, 1},           {2, 40, 2}, {0, 8, 1}};

	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		vu_env_running(e);
		t.n = wrong[i].n;
		vu_client_send(&e->c, VU_SET_MEM_TABLE, 0, &t, wrong[i].size, fds, wrong[i].nfds);
		vu_env_assert_ended(e, ++errors);
	}
}

static struct vu_region bad_region(const struct vu_env *e, unsigned int i)
{
	struct vu_region good = {.gpa = 0x1000, .size = 0x1000, .uva = 0x1000, .offset = 0x1000}, g = good;

	switch (i) {
	case 0:
		g.size = 0;
		break;
	case 1:
		g.gpa = UINT64_MAX - 0xfff;
		break;
	case 2:
		g.uva = UINT64_MAX - 0xfff;
		break;
	case 3:
		g.offset = UINT64_MAX - 0xfff;
		break;
	case 4:
		g.size = UINT64_MAX;
		break;
	case 5:
		g.offset = e->c.mem_size;
		break;
	case 6:
		g.offset = e->c.mem_size - 0xfff;
		break;
	case 7:
		g.size = e->c.mem_size;
		break;
	}
	return g;
}

/* Regions that cannot be: refused whole, and nothing has changed; the ring runs on. Who does not ask is
 * thrown out. */
static void test_regions(void **state)
{
	struct vu_env *e = *state;

	vu_env_running(e);
	for (unsigned int i = 0; i < 8; i++) {
		struct vu_memory t = {.n = 2,
				      .regions = {vu_client_region(&e->c, 0, 0x1000), bad_region(e, i)}};
		struct vu_mem_reg reg = {.region = bad_region(e, i)};
		int fds[2] = {e->c.mem_fd, e->c.mem_fd};

		assert_int_equal(vu_client_ask(&e->c, VU_SET_MEM_TABLE, &t, 8 + 2 * 32, fds, 2), 1);
		assert_int_equal(vu_client_ask(&e->c, VU_ADD_MEM_REG, &reg, sizeof(reg), fds, 1), 1);
	}
	{
		/* overlap */
		struct vu_mem_reg reg = {.region = vu_client_region(&e->c, 0x1000, 0x1000)};
		struct vu_memory t = {.n = 2, .regions = {reg.region, reg.region}};
		int fds[2] = {e->c.mem_fd, e->c.mem_fd};

		assert_int_equal(vu_client_ask(&e->c, VU_ADD_MEM_REG, &reg, sizeof(reg), fds, 1), 1);
		assert_int_equal(vu_client_ask(&e->c, VU_SET_MEM_TABLE, &t, 8 + 2 * 32, fds, 2), 1);
		/* not memory at all */
		t.n = 1;
		assert_int_equal(vu_client_ask(&e->c, VU_SET_MEM_TABLE, &t, 8 + 32, &e->c.kick[1], 1), 1);
		assert_int_equal(e->q[1].starts, 1);
		assert_int_equal(vu_env_info(e).mem_regions, 1);
		assert_int_equal(e->errors, 0);

		vu_client_send(&e->c, VU_ADD_MEM_REG, 0, &reg, sizeof(reg), fds, 1);
		assert_true(vu_client_hung_up(&e->c));
		assert_int_equal(e->disconnects, 1);
	}
}

static void test_too_many_regions(void **state)
{
	struct vu_env *e = *state;
	struct vu_mem_reg reg = {.region = {.size = 0x1000, .uva = 0x1000}};

	vu_env_running(e);
	for (unsigned int i = 1; i < GUEST_MEM_MAX_REGIONS; i++) {
		reg.region.gpa = i * 0x1000;
		assert_int_equal(vu_client_ask(&e->c, VU_ADD_MEM_REG, &reg, sizeof(reg), &e->c.mem_fd, 1), 0);
	}
	reg.region.gpa = 0x80000000;
	assert_int_equal(vu_client_ask(&e->c, VU_ADD_MEM_REG, &reg, sizeof(reg), &e->c.mem_fd, 1), 1);
	assert_int_equal(vu_env_info(e).mem_regions, GUEST_MEM_MAX_REGIONS);
	assert_non_null(e->q[1].q);
}

/* Ring addresses that are not aligned, outside of memory, or too near its end: the ring stays as it is. */
static void test_ring_addresses(void **state)
{
	struct vu_env *e = *state;
	uint64_t end, nofd = VU_RING_NOFD;
	struct vu_ring_addr good, a;

	vu_env_running(e);
	end = (uintptr_t)e->c.mem + e->c.mem_size;
	good = vu_client_ring_addr(&e->c, 0);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_NUM, 0, 256), 0);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_BASE, 0, 0), 0);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_VRING_KICK, nofd), 0);

#define WRONG(field, value)                                                                                  \
	do {                                                                                                 \
		a = good;                                                                                    \
		a.field = (value);                                                                           \
		assert_int_equal(vu_client_ask(&e->c, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 1);        \
		assert_null(e->q[0].q);                                                                      \
	} while (0)
	WRONG(desc, good.desc + 8);
	WRONG(avail, good.avail + 1);
	WRONG(used, good.used + 2);
	WRONG(desc, 0);
	WRONG(avail, 2);
	WRONG(used, UINT64_MAX - 3);
	WRONG(desc, end);
	WRONG(desc, end - 256 * 16 + 16);
	WRONG(avail, end - (4 + 2 * 256 + 2) + 2);
	WRONG(used, end - (4 + 8 * 256 + 2) - 2 + 4);
	/* as near as it can be, in place of all of them */
	a = good;
	a.desc = end - 256 * 16;
	a.avail = end - (4 + 2 * 256 + 2);
	a.used = (end - (4 + 8 * 256 + 2)) & ~UINT64_C(3);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 0);
	assert_non_null(e->q[0].q);

	/* A running ring that is told to move to where it does not fit stays where it is. */
	good = a;
	a.desc = end - 256 * 16 + 16;
	assert_int_equal(vu_client_ask(&e->c, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 1);
	assert_non_null(e->q[0].q);
	assert_int_equal((uintptr_t)e->q[0].q->mem->regions[0].hva + e->c.mem_size -
				 (uintptr_t)e->q[0].q->desc,
			 256 * 16);
	assert_int_equal(e->errors, 0);

	a.flags = 2;
	vu_client_send(&e->c, VU_SET_VRING_ADDR, 0, &a, sizeof(a), NULL, 0);
	vu_env_assert_ended(e, 1);
}

static void test_ring_addresses_packed(void **state)
{
	struct vu_env *e = *state;
	uint64_t end, nofd = VU_RING_NOFD;
	struct vu_ring_addr good, a;

	vu_env_ready(e, F_VERSION_1 | F_PACKED);
	end = (uintptr_t)e->c.mem + e->c.mem_size;
	good = vu_client_ring_addr(&e->c, 0);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_NUM, 0, 100), 0);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_BASE, 0, 0x80008000), 0);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_VRING_KICK, nofd), 0);
	WRONG(desc, end - 100 * 16 + 16);
	WRONG(avail, end);
	WRONG(avail, good.avail + 2);
	WRONG(used, end);
	a = good;
	a.desc = end - 100 * 16;
	a.avail = end - 4;
	a.used = end - 4;
	assert_int_equal(vu_client_ask(&e->c, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 0);
	assert_non_null(e->q[0].q);
}

/* Addresses given before memory, which then does not hold the ring. */
static void test_addresses_before_memory(void **state)
{
	struct vu_env *e = *state;
	struct vu_ring_addr a = {.index = 0, .desc = 0x10, .avail = 0x20, .used = 0x30};

	assert_int_equal(vu_client_connect(&e->c, e->path), 0);
	vu_client_negotiate(&e->c, FEATURES);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_NUM, 0, 256), 0);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_BASE, 0, 0), 0);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 0);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_VRING_KICK, VU_RING_NOFD), 0);
	vu_client_share_memory(&e->c, 0x100000); /* fine as such */
	assert_null(e->q[0].q);
	assert_non_null(strstr(e->text, "guest memory"));
}

/* A region at an offset that takes the ring's alignment away. */
static void test_shifted_region(void **state)
{
	struct vu_env *e = *state;
	struct vu_memory t = {.n = 1};

	vu_env_ready(e, FEATURES);
	t.regions[0] = vu_client_region(&e->c, 0, 0x80000);
	t.regions[0].offset = 4;
	assert_int_equal(vu_client_ask(&e->c, VU_SET_MEM_TABLE, &t, 40, &e->c.mem_fd, 1), 0);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 1);
	assert_null(e->q[0].q);
	assert_non_null(strstr(e->text, "aligned"));
}

/* An available index that the used index in memory contradicts. */
static void test_indices(void **state)
{
	struct vu_env *e = *state;
	uint16_t *used;

	vu_env_ready(e, FEATURES);
	used = (uint16_t *)(void *)(e->c.mem + 0xa002);
	*used = 10;
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 9), 1);
	assert_null(e->q[0].q);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 267), 1);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 266), 0);
	assert_int_equal(e->q[0].q->used_idx, 10);
	assert_int_equal(vu_client_get_base(&e->c, 0), 266);
	*used = 65530; /* over the wrap */
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 3), 0);
	assert_int_equal(e->q[0].q->avail_idx, 3);
	assert_int_equal(e->q[0].q->used_idx, 65530);
}

/* The file of the memory shrinks under a ring. */
static void test_shrunk(void **state)
{
	struct vu_env *e = *state;
	struct vu_ring_addr a;

	assert_int_equal(guest_mem_install_sigbus(), 0);
	vu_env_running(e);
	assert_false(guest_mem_bad(e->q[1].q->mem));
	assert_int_equal(ftruncate(e->c.mem_fd, 4096), 0);
	assert_int_equal(*(volatile uint8_t *)e->q[1].q->desc, 0);
	assert_true(guest_mem_bad(e->q[1].q->mem));
	vhost_user_queue_failed(e->vu, 1, "memory taken away");
	vu_client_disconnect(&e->c);

	/* The used index is the first that is read, before the owner sees the queue. */
	assert_int_equal(ftruncate(e->c.mem_fd, (off_t)e->c.mem_size), 0);
	vu_env_ready(e, FEATURES);
	a = vu_client_ring_addr(&e->c, 1);
	assert_int_equal(ftruncate(e->c.mem_fd, 4096), 0);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_NUM, 1, 256), 0);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_BASE, 1, 0), 0);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 0);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_VRING_KICK, 1 | VU_RING_NOFD), 1);
	assert_null(e->q[1].q);
	assert_non_null(strstr(e->text, "truncated its memory"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, vu_env_setup, vu_env_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_mem_table),
		TEST(test_regions),
		TEST(test_too_many_regions),
		TEST(test_ring_addresses),
		TEST(test_ring_addresses_packed),
		TEST(test_addresses_before_memory),
		TEST(test_shifted_region),
		TEST(test_indices),
		TEST(test_shrunk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
