/* SPDX-License-Identifier: Apache-2.0 */

/* The forwarding table by itself: which port owns an address is test_fabric_claims.c's. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "switch/fdb.h"

static struct sw_port *port(uintptr_t n)
{
	return (struct sw_port *)(n << 8); /* never looked into */
}

static uint64_t mac(uint64_t n)
{
	uint8_t m[6] = {
		2, (uint8_t)(n >> 32), (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};

	return mac_load(m);
}

static void test_add_find(void **state)
{
	struct fdb *f;

	(void)state;
	assert_int_equal(fdb_new(10, &f), 0);
	assert_null(fdb_find(f, mac(1), 0));
	assert_null(fdb_lookup(f, mac(1), 0));
	assert_int_equal(fdb_add(f, mac(1), 0, port(1), FDB_PERMANENT, 0), 0);
	assert_int_equal(fdb_add(f, mac(1), 0, port(2), FDB_ADMIN, 0), -EEXIST);
	assert_ptr_equal(fdb_lookup(f, mac(1), 0), port(1));
	assert_null(fdb_lookup(f, mac(2), 0));
	/* The address zero is one like others to the table, and not the mark of a free slot. */
	assert_null(fdb_lookup(f, 0, 0));
	assert_int_equal(fdb_add(f, 0, 0, port(3), FDB_PERMANENT, 0), 0);
	assert_ptr_equal(fdb_lookup(f, 0, 0), port(3));
	fdb_free(f);
	fdb_free(NULL);
}

static void test_vlans(void **state)
{
	struct fdb *f;

	(void)state;
	assert_int_equal(fdb_new(5000, &f), 0);
	for (uint16_t v = 0; v < 4095; v++)
		assert_int_equal(fdb_add(f, mac(7), v, port(v + 1u), FDB_PERMANENT, 0), 0);
	assert_int_equal(fdb_add(f, mac(7), vlan_key(5, ETHER_TPID_AD), port(9000), FDB_PERMANENT, 0), 0);
	for (uint16_t v = 0; v < 4095; v++)
		assert_ptr_equal(fdb_lookup(f, mac(7), v), port(v + 1u));
	assert_ptr_equal(fdb_lookup(f, mac(7), vlan_key(5, ETHER_TPID_AD)), port(9000));
	assert_null(fdb_lookup(f, mac(7), vlan_key(6, ETHER_TPID_AD)));
	/* Any VLAN: when no port has it in this one. */
	assert_int_equal(fdb_add(f, mac(7), VLAN_KEY_ANY, port(9001), FDB_PERMANENT, 0), 0);
	assert_ptr_equal(fdb_lookup(f, mac(7), 5), port(6));
	assert_ptr_equal(fdb_lookup(f, mac(7), vlan_key(6, ETHER_TPID_AD)), port(9001));
	assert_null(fdb_lookup(f, mac(8), 5));
	fdb_free(f);
}

/* Half of the slots, no more: searches stay short and end. */
static void test_full(void **state)
{
	struct fdb *f;
	unsigned int n = 0;

	(void)state;
	assert_int_equal(fdb_new(100, &f), 0);
	while (fdb_add(f, mac(n), 0, port(n + 1), FDB_LEARNED, 0) == 0)
		n++;
	assert_true(n >= 100);
	assert_int_equal(2 * n, f->slots);
	assert_int_equal(f->used, n);
	assert_int_equal(fdb_add(f, mac(n), 0, port(n + 1), FDB_LEARNED, 0), -ENOSPC);
	assert_int_equal(fdb_add(f, mac(0), 0, port(n + 1), FDB_LEARNED, 0), -EEXIST);
	for (unsigned int i = 0; i < n; i++)
		assert_ptr_equal(fdb_lookup(f, mac(i), 0), port(i + 1));
	assert_null(fdb_lookup(f, mac(n), 0));
	fdb_free(f);
}

static unsigned int distance(const struct fdb *f, uint64_t m, uint16_t vlan)
{
	const struct fdb_slot *s = fdb_find(f, m, vlan);
	unsigned int home = (unsigned int)((FDB_KEY(m, vlan) * f->multiplier) >> f->shift);

	assert_non_null(s);
	return ((unsigned int)(s - f->slot) - home) & (f->slots - 1);
}

/* Addresses as people hand them out (one after the other; the same in many VLANs; differing in any one byte)
 * spread as random ones do, whatever the table's secret is. */
static void test_many(void **state)
{
	(void)state;
	for (unsigned int pattern = 0; pattern < 5; pattern++) {
		unsigned int slow = 0;

		for (unsigned int table = 0; table < 20; table++) {
			unsigned int n = 20000;
			uint64_t total = 0;
			struct fdb *f;

			assert_int_equal(fdb_new(n, &f), 0);
			for (unsigned int pass = 0; pass < 2; pass++) {
				for (uint64_t i = 0; i < n; i++) {
					uint64_t m = pattern == 0   ? mac(i)
						     : pattern == 1 ? mac(i << 16)
						     : pattern == 2 ? mac(i / 1000)
						     : pattern == 3 ? mac(i * 0x01010101)
								    : mac((i * 0x9e3779b97f4a7c15u) >> 24);
					uint16_t v = pattern == 2 ? (uint16_t)(i % 1000) : 0;

					if (pass) {
						assert_ptr_equal(fdb_lookup(f, m, v), port(i + 1));
						total += distance(f, m, v);
					} else {
						assert_int_equal(
							fdb_add(f, m, v, port(i + 1), FDB_LEARNED, 0), 0);
					}
				}
			}
			fdb_free(f);
			slow += total > 3 * n;
		}
		/* Half full at most, 0.5 is what chance gives on average; a bad multiplier is rare. */
		assert_true(slow < 5);
	}
}

/* Readers go on while the writer adds: they find what was there before, and what they find is right. */
static struct fdb *shared;
static bool stop;

static void *reader(void *arg)
{
	uint64_t found = 0;

	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		for (unsigned int i = 0; i < 3000; i++) {
			struct sw_port *p = fdb_lookup(shared, mac(i), 0);

			if (p && p != port(i + 1))
				*(bool *)arg = true;
			if (!p && i < 100)
				*(bool *)arg = true;
			found += p != NULL;
		}
	}
	return (void *)(uintptr_t)(found > 0);
}

static void test_readers(void **state)
{
	bool wrong = false;
	pthread_t t;

	(void)state;
	assert_int_equal(fdb_new(3000, &shared), 0);
	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(fdb_add(shared, mac(i), 0, port(i + 1), FDB_LEARNED, 0), 0);
	assert_int_equal(pthread_create(&t, NULL, reader, &wrong), 0);
	for (unsigned int i = 100; i < 3000; i++) {
		assert_int_equal(fdb_add(shared, mac(i), 0, port(i + 1), FDB_LEARNED, 0), 0);
		sched_yield();
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
	assert_false(wrong);
	fdb_free(shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add_find), cmocka_unit_test(test_vlans),   cmocka_unit_test(test_full),
		cmocka_unit_test(test_many),     cmocka_unit_test(test_readers),
	};

	return cmocka_run_group_tests_name("fdb", tests, NULL, NULL);
}
