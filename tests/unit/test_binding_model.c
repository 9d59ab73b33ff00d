/* SPDX-License-Identifier: Apache-2.0 */

/* Anything at any time. The fakes insist on the contract at each step; in the end all must be well. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "binding_env.h"

static const enum bt_type types[] = {BT_VHOST_USER, BT_VDPA, BT_BUILTIN, BT_VHOST_NET};

/* One step, by the bits of x. bt_serve() is what moves a ring; that nothing else has touched it is what the
 * fakes and bt_stop() check. */
static void do_something(struct bt_env *e, long x)
{
	unsigned int i = (unsigned int)(x >> 8) % BT_QUEUES;
	enum bt_type t = types[(x >> 12) % 4];
	struct bt_fake *f = e->plan[t].f;

	switch (x % 11) {
	case 0:
		if (!e->ring[i].started)
			bt_start(e, i);
		break;
	case 1:
		if (e->ring[i].started)
			bt_stop(e, i);
		break;
	case 2:
		if (e->ring[i].started && binding_quiesce(e->b, (int)i) && x & 0x100000)
			bt_stop(e, i);
		break;
	case 3:
		bt_set_list(e, bt_list(3, t, types[(x >> 16) % 4], types[(x >> 20) % 4]), x & 0x1000000);
		break;
	case 4:
		if (f && f->phase != P_DEAD && !(x & 0x700000))
			bt_die(e, t);
		break;
	case 5:
		e->plan[t].how[(x >> 20) % STEPS] = (enum bt_how)((x >> 24) % 3);
		if (e->plan[t].how[OPEN] == LATE)
			e->plan[t].how[OPEN] = NOW;
		break;
	case 6:
	case 7:
		if (bt_owes_answer(f))
			bt_answer(e, t, f->phase == P_STOPPING || x & 0x300000 ? 0 : -EIO);
		break;
	case 8:
		bt_pump(e);
		break;
	case 9:
		sd_event_run(e->event, 3000);
		break;
	case 10:
		if (f && f->phase == P_STARTED)
			bt_serve(f, (uint16_t)(x >> 16));
		break;
	}
}

/* In the end, when all is well again, the first of the list serves all that is started. */
static void test_anything(void **state)
{
	struct bt_env *e = *state;

	srandom(1);
	bt_new(e, bt_list(2, BT_VHOST_USER, BT_BUILTIN), true);
	for (unsigned int n = 0; n < 20000; n++)
		do_something(e, random());
	for (unsigned int t = 0; t < 4; t++)
		bt_all_now(e, types[t]);
	for (unsigned int i = 0; i < BT_QUEUES; i++)
		if (!e->ring[i].started)
			bt_start(e, i);
	for (unsigned int k = 0; k < 4; k++)
		for (unsigned int t = 0; t < 4; t++) {
			bt_set_list(e, bt_list(1, types[t]), true);
			BT_UNTIL(e, bt_info(e).state == BINDING_BOUND && e->current == (int)types[t]);
			bt_settle(e);
			bt_expect_bound(e, (int)types[t]);
		}
	print_message("%llu binds, %llu moves, %llu failures\n", (unsigned long long)bt_info(e).binds,
		      (unsigned long long)bt_info(e).moves, (unsigned long long)bt_info(e).failures);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, bt_setup, bt_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
