/* SPDX-License-Identifier: Apache-2.0 */

/* Guest memory as the vhost-user datapath passes it on: as a table, or in slots. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "dvu_env.h"
#include "vu_env.h"

#define OPS datapath_vhost_user

static void test_prepare_without_memory(void **state)
{
	struct dvu_env *e = *state;

	dvu_open_client(e);
	OPS.prepare(e->i.dp, 0, NULL);
	assert_true(dvu_wait(e, &e->i.prepared, 1, DVU_PATIENCE_MS));
	assert_int_equal(e->i.prepared_r, 0);
	assert_int_equal(e->b.n_regions, 0);
	assert_int_equal(vu_fake_count(&e->b, VU_SET_FEATURES), 0);
	dvu_prepare(e);
	assert_int_equal(e->b.n_regions, 1);
	dvu_prepare(e); /* nothing new: nothing is sent */
	assert_int_equal(vu_fake_count(&e->b, VU_SET_FEATURES), 1);
	assert_int_equal(vu_fake_count(&e->b, VU_ADD_MEM_REG), 1);
	dvu_start(e, 2);
	dvu_stop(e);
}

/* Memory of n more regions. */
static struct guest_mem *more_memory(struct dvu_env *e, unsigned int n)
{
	struct guest_mem *mem = guest_mem_ref(e->vm.mem);

	for (unsigned int i = 0; i < n; i++) {
		struct guest_mem *more;
		uint64_t gpa = (UINT64_C(16) << 30) + i * 0x100000;

		assert_int_equal(guest_mem_add(mem, gpa, 0x1000, gpa, i * 0x1000, e->mem_fd, &more), 0);
		guest_mem_unref(mem);
		mem = more;
	}
	return mem;
}

static void prepare_with(struct dvu_env *e, struct guest_mem *mem)
{
	unsigned int n = e->i.prepared;

	OPS.prepare(e->i.dp, DVU_FEATURES, mem);
	assert_true(dvu_wait(e, &e->i.prepared, n + 1, DVU_PATIENCE_MS));
}

static void test_memory_slots(void **state)
{
	struct dvu_env *e = *state;
	struct guest_mem *many = more_memory(e, 20), *fewer;
	const struct guest_mem_region *r = &many->regions[5];

	dvu_open_client(e);
	dvu_prepare(e);
	dvu_start(e, 2);
	dvu_stop(e);
	/* Plugged in: what is there stays. */
	prepare_with(e, many);
	assert_int_equal(e->i.prepared_r, 0);
	assert_int_equal(e->b.n_regions, 21);
	assert_int_equal(vu_fake_count(&e->b, VU_ADD_MEM_REG), 21);
	dvu_start(e, 2);
	dvu_stop(e);
	/* Unplugged: one message. */
	assert_int_equal(guest_mem_remove(many, r->gpa, r->size, r->uva, &fewer), 0);
	prepare_with(e, fewer);
	assert_int_equal(e->b.n_regions, 20);
	assert_int_equal(vu_fake_count(&e->b, VU_ADD_MEM_REG), 21);
	assert_int_equal(vu_fake_count(&e->b, VU_REM_MEM_REG), 1);
	guest_mem_unref(many);
	guest_mem_unref(fewer);
	/* More than it takes. */
	e->b.slots = 4;
	dvu_close(&e->i);
	fewer = more_memory(e, 4);
	dvu_settle(e);
	struct datapath_pref pref = {.type = &datapath_type_vhost_user};

	strcpy(dvu_params(&pref)->path, e->path);
	assert_int_equal(dvu_open(e, &e->i, &pref, 2, NULL), 0);
	prepare_with(e, fewer);
	assert_int_equal(e->i.prepared_r, -EOPNOTSUPP);
	assert_string_equal(e->i.why, "the guest's memory has 5 regions, the back-end takes 4");
	guest_mem_unref(fewer);
}

static void test_memory_table(void **state)
{
	struct dvu_env *e = *state;
	struct guest_mem *eight = more_memory(e, 7), *nine = more_memory(e, 8);

	e->b.protocol &= ~VU_BIT(VU_PF_CONFIGURE_MEM_SLOTS);
	dvu_open_client(e);
	prepare_with(e, eight);
	assert_int_equal(e->i.prepared_r, 0);
	assert_int_equal(e->b.n_regions, 8);
	assert_int_equal(e->b.regions[7].ino, e->mem_ino);
	assert_int_equal(e->b.regions[7].r.offset, 6 * 0x1000);
	prepare_with(e, nine);
	assert_int_equal(e->i.prepared_r, -EOPNOTSUPP);
	assert_non_null(strstr(e->i.why, "9 regions, the back-end takes 8"));
	guest_mem_unref(eight);
	guest_mem_unref(nine);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, dvu_setup, dvu_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_prepare_without_memory),
		TEST(test_memory_slots),
		TEST(test_memory_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
