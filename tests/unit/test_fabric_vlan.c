/* SPDX-License-Identifier: Apache-2.0 */

/* Addresses and VLANs: claims meet only in a VLAN that both ports can be in. No traffic. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fabric_env.h"

/* The same address in different VLANs is no conflict. */
static void test_vlans(void **state)
{
	struct fabric_env *e = *state;
	struct function_settings s100 = fabric_env_access(1, 100, 0x8100),
				 s200 = fabric_env_access(1, 200, 0x8100);
	struct function_settings ad = fabric_env_access(1, 100, 0x88a8);
	struct builtin_port *a = fabric_env_add_mac(e, 1), *b = fabric_env_add(e, &s100, NULL),
			    *c = fabric_env_add(e, &s200, NULL), *d = fabric_env_add(e, &ad, NULL), *x;

	assert_int_equal(e->conflicts, 0);
	assert_ptr_equal(fabric_env_owner(e, 1, 0), a);
	assert_ptr_equal(fabric_env_owner(e, 1, 100), b);
	assert_ptr_equal(fabric_env_owner(e, 1, 200), c);
	assert_ptr_equal(fabric_env_owner(e, 1, vlan_key(100, 0x88a8)), d);
	assert_true(fabric_env_may_send(a, 1) && fabric_env_may_send(b, 1) && fabric_env_may_send(c, 1) &&
		    fabric_env_may_send(d, 1));
	x = fabric_env_add(e, &s100, NULL);
	assert_true(x->base.mac_conflict);
	fabric_env_set(x, &(struct function_settings){.mac = {2, 0, 0, 0, 0, 1},
						      .mtu = 1500,
						      .vlan = fabric_env_access(1, 300, 0x8100).vlan});
	assert_false(x->base.mac_conflict);
	assert_ptr_equal(fabric_env_owner(e, 1, 300), x);
}

/* A trunk takes part in many VLANs: an address cannot be its own and an access port's in one of them,
 * whichever was there first. */
static void test_trunk_overlaps(void **state)
{
	struct fabric_env *e = *state;
	struct function_settings t = fabric_env_trunk(1, 100, 200), in = fabric_env_access(1, 150, 0x8100),
				 out = fabric_env_access(1, 300, 0x8100);
	struct function_settings ad = fabric_env_access(1, 150, 0x88a8);
	struct builtin_port *a = fabric_env_add(e, &t, NULL), *b = fabric_env_add(e, &in, NULL),
			    *c = fabric_env_add(e, &out, NULL), *d = fabric_env_add(e, &ad, NULL), *x;

	assert_false(a->base.mac_conflict);
	assert_true(b->base.mac_conflict);
	assert_false(c->base.mac_conflict);
	assert_false(d->base.mac_conflict); /* 802.1ad is another kind of VLAN */
	assert_ptr_equal(fabric_env_owner(e, 1, 150), a);
	assert_ptr_equal(fabric_env_owner(e, 1, 300), c);
	/* The other way round. */
	in = fabric_env_access(2, 150, 0x8100);
	x = fabric_env_add(e, &in, NULL);
	t = fabric_env_trunk(2, 100, 200);
	a = fabric_env_add(e, &t, NULL);
	assert_false(x->base.mac_conflict);
	assert_true(a->base.mac_conflict);
	assert_false(fabric_env_may_send(a, 2));
	assert_ptr_equal(fabric_env_owner(e, 2, 150), x);
	/* And where they do not meet. */
	t = fabric_env_trunk(2, 200, 300);
	fabric_env_set(a, &t);
	assert_false(a->base.mac_conflict);
	assert_true(fabric_env_may_send(a, 2));
	/* The administrator's trunk comes before an access port's own address. */
	t = fabric_env_trunk(9, 100, 200);
	fabric_env_make_mac(t.admin_mac, 2);
	fabric_env_set(a, &t);
	assert_false(a->base.mac_conflict);
	assert_true(x->base.mac_conflict);
	assert_ptr_equal(fabric_env_owner(e, 2, 150), a);
	/* A driver behind a trunk programs an access port's address. */
	t = fabric_env_trunk(9, 100, 200);
	fabric_env_set(a, &t);
	assert_false(x->base.mac_conflict);
	fabric_env_filter(a, 9, 2, 1);
	assert_false(fabric_env_may_send(a, 2));
	assert_true(fabric_env_may_send(a, 9));
	assert_true(fabric_env_may_send(x, 2));
	assert_false(a->base.mac_conflict || x->base.mac_conflict); /* not its main one */
}

/* Whether two ports can be in one VLAN. */
static bool share_vlan(const struct port_conf *a, const struct port_conf *b)
{
	uint64_t any = 0;

	if (a->mode != VLAN_TRUNK && b->mode != VLAN_TRUNK)
		return a->vlan == b->vlan;
	if (a->mode != VLAN_TRUNK)
		return share_vlan(b, a);
	if (b->mode != VLAN_TRUNK)
		return !(b->vlan & VLAN_KEY_AD) && a->trunk[b->vlan / 64] >> b->vlan % 64 & 1;
	for (unsigned int i = 0; i < 64; i++)
		any |= a->trunk[i] & b->trunk[i];
	return any;
}

/* Whatever is set: no two ports that can meet in a VLAN may send from one address, and where one may send, it
 * receives. */
static void test_random_settings(void **state)
{
	struct fabric_env *e = *state;
	uint64_t rng = 7;

	for (unsigned int i = 0; i < 12; i++)
		fabric_env_add_mac(e, 1 + i % 6);
	for (unsigned int round = 0; round < 3000; round++) {
		struct builtin_port *p = e->p[round % e->n];
		struct function_settings s;
		unsigned int n;

		rng = rng * 6364136223846793005u + 1442695040888963407u;
		n = 1 + (rng >> 33) % 6;
		switch (rng >> 40 & 3) {
		case 0:
			s = fabric_env_settings(n);
			break;
		case 1:
			s = fabric_env_access(n, (uint16_t)(1 + (rng >> 45 & 3)),
					      rng >> 50 & 1 ? 0x8100 : 0x88a8);
			break;
		default:
			n = 1 + (rng >> 33) % 6;
			s = fabric_env_trunk(n, (rng >> 45 & 3), (rng >> 45 & 3) + (rng >> 47 & 1));
			break;
		}
		if (rng >> 55 & 1)
			fabric_env_make_mac(s.admin_mac, 1 + (rng >> 56 & 7) % 6);
		s.trust = rng >> 60 & 1;
		fabric_env_set(p, &s);
		if (rng >> 61 & 1)
			fabric_env_filter(p, 1 + (rng >> 20 & 7) % 6, 1 + (rng >> 24 & 7) % 6, 2);
		for (unsigned int i = 0; i < e->n; i++) {
			const struct port_conf *a = e->p[i]->port->conf;

			for (unsigned int m = 0; m < a->n_macs; m++) {
				for (unsigned int k = i + 1; k < e->n; k++) {
					const struct port_conf *b = e->p[k]->port->conf;

					for (unsigned int j = 0; j < b->n_macs; j++)
						if (a->macs[m] == b->macs[j])
							assert_false(share_vlan(a, b));
				}
				for (uint16_t v = 0; v < 6; v++)
					if (a->mode == VLAN_TRUNK ? a->trunk[0] >> v & 1 : a->vlan == v)
						assert_ptr_equal(fdb_lookup(e->f->sw.fdb, a->macs[m], v),
								 e->p[i]->port);
			}
			assert_true(a->n_macs || e->p[i]->base.mac_conflict);
		}
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fabric_env_setup, fabric_env_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_vlans),
		TEST(test_trunk_overlaps),
		TEST(test_random_settings),
	};

	return cmocka_run_group_tests_name("fabric_vlan", tests, NULL, NULL);
}
