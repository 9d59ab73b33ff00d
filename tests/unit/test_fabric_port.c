/* SPDX-License-Identifier: Apache-2.0 */

/* What else follows from a port's settings, and what is shown of a fabric. No traffic. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "fabric/announce.h"
#include "fabric_env.h"
#include "switch/worker.h"

static void test_promiscuous(void **state)
{
	struct fabric_env *e = *state;

	for (unsigned int i = 0; i < 16; i++) {
		struct function_settings s = fabric_env_settings(1 + i);
		struct pf_policy p = fabric_env_policy();
		struct rx_filter f = {.known = i & 4, .promiscuous = i & 8};
		struct builtin_port *a;

		s.trust = i & 1;
		p.promisc = i & 2;
		a = fabric_env_add(e, &s, &p);
		fabric_port_filter(&a->base, &f);
		assert_int_equal(a->port->conf->promisc, i == 15);
	}
}

struct rows {
	unsigned int n;
	struct fdb_row row[64];
};

static void on_row(void *arg, const struct fdb_row *row)
{
	struct rows *r = arg;

	assert_true(r->n < ARRAY_SIZE(r->row));
	r->row[r->n++] = *row;
}

static const struct fdb_row *find_row(const struct rows *r, unsigned int n)
{
	for (unsigned int i = 0; i < r->n; i++)
		if (mac_load(r->row[i].mac) == fabric_env_mac(n))
			return &r->row[i];
	fail();
	return NULL;
}

static void test_show(void **state)
{
	struct fabric_env *e = *state;
	struct function_settings ad = fabric_env_access(2, 7, 0x88a8), t = fabric_env_trunk(3, 1, 2);
	struct rows rows = {0};

	fabric_env_add_learner(e, 1);
	fabric_env_make_mac(ad.admin_mac, 9);
	fabric_env_add(e, &ad, NULL);
	fabric_env_add(e, &t, NULL);
	fabric_env_filter(e->p[0], 1, 20, 1);
	builtin_learn(e->f, e->p[0], fabric_env_mac(100), 0, 1000);
	fabric_fdb(&e->f->base, 1007, on_row, &rows);
	assert_int_equal(rows.n, 5);
	assert_int_equal(find_row(&rows, 1)->kind, FDB_PERMANENT);
	assert_int_equal(find_row(&rows, 20)->kind, FDB_DRIVER);
	assert_int_equal(find_row(&rows, 9)->kind, FDB_ADMIN);
	assert_int_equal(find_row(&rows, 9)->vlan, 7);
	assert_int_equal(find_row(&rows, 9)->function, 1);
	assert_int_equal(find_row(&rows, 3)->vlan, -1);
	assert_int_equal(find_row(&rows, 100)->kind, FDB_LEARNED);
	assert_int_equal(find_row(&rows, 100)->age, 7);
	/* Seen "after" now: no age of 136 years. */
	rows.n = 0;
	fabric_fdb(&e->f->base, 999, on_row, &rows);
	assert_int_equal(find_row(&rows, 100)->age, 0);
}

static void test_link(void **state)
{
	struct fabric_env *e = *state;
	struct function_settings s = fabric_env_settings(1);
	struct builtin_port *a = fabric_env_add(e, &s, NULL);

	/* Without an uplink, nothing can be wrong with it. */
	assert_true(a->base.link_up && a->port->conf->link_up);
	assert_int_equal(e->links, 1);
	s.link = LINK_DISABLE;
	fabric_env_set(a, &s);
	assert_false(a->base.link_up || a->port->conf->link_up);
	assert_int_equal(e->links, 2);
	fabric_env_set(a, &s);
	assert_int_equal(e->links, 2);
	s.link = LINK_ENABLE;
	fabric_env_set(a, &s);
	assert_true(a->base.link_up && a->port->conf->link_up);
	/* A disabled function keeps its address: no other gets its traffic. */
	s.link = LINK_DISABLE;
	fabric_env_set(a, &s);
	assert_ptr_equal(fabric_env_owner(e, 1, 0), a);
}

static void test_by_id(void **state)
{
	struct fabric_env *e = *state;
	struct builtin_port *a = fabric_env_add_mac(e, 1);
	uint64_t id = a->port->id;
	struct function_settings s = fabric_env_settings(1);
	struct worker_note note = {.port_id = id, .mac = fabric_env_mac(100)};

	s.spoofchk = false;
	fabric_env_set(a, &s);
	assert_true(fabric_note(&e->f->base, &note));
	assert_ptr_equal(fabric_env_owner(e, 100, 0), a);
	fabric_port_free(&a->base);
	e->n = 0;
	note.mac = fabric_env_mac(101);
	assert_false(fabric_note(&e->f->base, &note));
	assert_null(fabric_env_owner(e, 100, 0));
	assert_null(fabric_env_owner(e, 101, 0));
	assert_int_not_equal(fabric_env_add_mac(e, 1)->port->id, id);
}

/* In which VLANs, and how many. */
static void test_announce(void **state)
{
	struct function_settings s;
	struct announce a;
	uint64_t macs[] = {fabric_env_mac(1), fabric_env_mac(2)};
	uint8_t tag[] = {0x81, 0, 0, 5, 0x80, 0x35};

	(void)state;
	function_settings_init(&s);
	announce_make(&s, macs, 2, &a);
	assert_int_equal(a.n, 2);
	assert_int_equal(a.frame[1].len, 60);
	assert_int_equal(mac_load(a.frame[1].data + 6), fabric_env_mac(2));
	assert_memory_equal(a.frame[1].data + 12, tag + 4, 2);
	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 5, .tpid = 0x8100};
	announce_make(&s, macs, 1, &a); /* the tag is the switch's to give */
	assert_int_equal(a.n, 1);
	assert_int_equal(a.frame[0].len, 60);
	s.vlan = (struct vlan_settings){.mode = VLAN_TRUNK, .trunk = {1 | 1 << 5}};
	announce_make(&s, macs, 2, &a);
	assert_int_equal(a.n, 4);
	assert_int_equal(a.frame[2].len, 60);
	assert_int_equal(a.frame[1].len, 64);
	assert_int_equal(a.frame[3].len, 64);
	assert_int_equal(mac_load(a.frame[3].data + 6), fabric_env_mac(2));
	assert_memory_equal(a.frame[3].data + 12, tag, sizeof(tag));
	memset(s.vlan.trunk, 0xff, sizeof(s.vlan.trunk));
	announce_make(&s, macs, 2, &a);
	assert_int_equal(a.n, ANNOUNCE_MAX);
	assert_int_equal(mac_load(a.frame[ANNOUNCE_MAX - 1].data + 6), fabric_env_mac(1));
	announce_make(&s, NULL, 0, &a);
	assert_int_equal(a.n, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fabric_env_setup, fabric_env_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_promiscuous), TEST(test_show),     TEST(test_link),
		TEST(test_by_id),       TEST(test_announce),
	};

	return cmocka_run_group_tests_name("fabric_port", tests, NULL, NULL);
}
