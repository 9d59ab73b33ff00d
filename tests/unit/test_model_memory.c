/* SPDX-License-Identifier: Apache-2.0 */

/* Changes without memory for JSON, of which the state file and events are made: each is refused and leaves nothing,
 * in memory, on disk and in the data plane, or is there in full. Every allocation fails once. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "model_env.h"
#include "settings/fabric_json.h"
#include "settings/function_fields.h"
#include "settings/pf_fields.h"

static unsigned int fail_at, allocations; /* the fail_at-th of them fails; 0: none */

static void *may_fail(size_t size)
{
	return ++allocations == fail_at ? NULL : malloc(size);
}

/* What there is, in each of its places. */
struct picture {
	struct fabric_settings fabric, dp_fabric;
	struct pf_settings pf;
	uint8_t mac[6];
	struct function_settings fn[3], dp_fn[3];
	char vm[VPF_NAME_MAX], *file, *key;
	unsigned int fabrics, pfs;
};

static void take(struct me_env *t, struct picture *ret)
{
	const struct model_fabric *f = model_fabric_find(t->model, "f0");
	const struct model_pf *pf = model_pf_find(t->model, "pf0");
	char path[108];

	*ret = (struct picture){.file = scratch_read(t->state_file, NULL)};
	while (model_fabric_at(t->model, ret->fabrics))
		ret->fabrics++;
	while (model_pf_at(t->model, ret->pfs))
		ret->pfs++;
	assert_int_equal(t->dp.fabrics_n, ret->fabrics);
	if (f) {
		ret->fabric = f->s;
		ret->dp_fabric = *fake_dp_fabric(&t->dp, "f0");
	}
	if (!pf) {
		assert_int_equal(t->dp.functions_n, 0);
		return;
	}
	ret->pf = pf->s;
	memcpy(ret->mac, pf->mac, 6);
	snprintf(ret->vm, sizeof(ret->vm), "%s", pf->vm->name);
	ret->key = scratch_read(model_key_path(t->model, "pf0", path), NULL);
	assert_int_equal(t->dp.functions_n, 3);
	for (unsigned int fn = 0; fn < 3; fn++) {
		ret->fn[fn] = pf->fn[fn].s;
		ret->dp_fn[fn] = fake_dp_function(&t->dp, "pf0", fn)->s;
	}
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : !a && !b;
}

static bool same(const struct picture *a, const struct picture *b)
{
	bool same = fabric_settings_equal(&a->fabric, &b->fabric) &&
		    fabric_settings_equal(&a->dp_fabric, &b->dp_fabric) &&
		    fields_equal(pf_fields, &a->pf, &b->pf) && !memcmp(a->mac, b->mac, 6) &&
		    !strcmp(a->vm, b->vm) && same_text(a->file, b->file) && same_text(a->key, b->key) &&
		    a->fabrics == b->fabrics && a->pfs == b->pfs;

	for (unsigned int fn = 0; fn < 3; fn++)
		same = same && fields_equal(function_fields, &a->fn[fn], &b->fn[fn]) &&
		       !memcmp(a->fn[fn].mac, b->fn[fn].mac, 6) && a->fn[fn].mtu == b->fn[fn].mtu &&
		       fields_equal(function_fields, &a->dp_fn[fn], &b->dp_fn[fn]) &&
		       !memcmp(a->dp_fn[fn].mac, b->dp_fn[fn].mac, 6) && a->dp_fn[fn].mtu == b->dp_fn[fn].mtu;
	return same;
}

static void drop(struct picture *p)
{
	free(p->file);
	free(p->key);
}

static int do_fabric_set(struct me_env *t, struct err *err)
{
	struct fabric_settings s = model_fabric_find(t->model, "f0")->s;

	s.uplink = UPLINK_TAP;
	strcpy(s.uplink_name, "tap7");
	s.ageing = 77;
	return model_fabric_set(t->model, &s, NULL, err);
}

static int pf_set(struct me_env *t, struct err *err)
{
	struct pf_settings s = model_pf_find(t->model, "pf0")->s;
	const uint8_t mac[6] = {2, 0, 0, 0, 7, 0};

	s.mtu = 9000;
	strcpy(s.vm, "node7");
	s.policy.mac_ranges_n = 2;
	s.policy.mac_ranges[0] = (struct mac_range){{2}, {2, 0, 0, 0, 0, 9}};
	s.policy.mac_ranges[1] = (struct mac_range){{6}, {6}};
	s.policy.mac_ranges[0].first[5] = 1;
	s.policy.mac_ranges[1].first[5] = s.policy.mac_ranges[1].last[5] = 1;
	assert_int_equal(datapath_list_parse("vhost-user:path=/x/{pf}-{vf}.sock:server=on,builtin",
					     &s.datapaths, NULL),
			 0);
	return model_pf_set(t->model, &s, mac, NULL, err);
}

/* One member only: the least that may be lost. */
static int pf_set_policy(struct me_env *t, struct err *err)
{
	struct pf_settings s = model_pf_find(t->model, "pf0")->s;

	s.policy.max_rate = 100;
	return model_pf_set(t->model, &s, NULL, NULL, err);
}

static int function_set(struct me_env *t, struct err *err)
{
	struct function_settings s = me_settings_of(t, "pf0", 1);

	s.vlan = (struct vlan_settings){.mode = VLAN_TRUNK, .tpid = 0x8100, .trunk = {0xff}};
	s.admin_mac[0] = 2;
	s.pinned = SETTING_VLAN | SETTING_LINK;
	s.spoofchk = false;
	s.mtu = 1400;
	s.max_rate = 5;
	return model_function_set(t->model, "pf0", 1, &s, true, NULL, err);
}

static int function_set_one(struct me_env *t, struct err *err)
{
	struct function_settings s = me_settings_of(t, "pf0", 2);

	s.trust = true;
	return model_function_set(t->model, "pf0", 2, &s, false, NULL, err);
}

static int request(struct me_env *t, struct err *err)
{
	struct function_settings s = {.link = LINK_DISABLE, .max_rate = 7};

	return model_function_request(t->model, "pf0", 2, SETTING_LINK | SETTING_RATE, &s, NULL, err);
}

static int pf_del(struct me_env *t, struct err *err)
{
	return model_pf_del(t->model, "pf0", err);
}

static int pf_add(struct me_env *t, struct err *err)
{
	struct pf_settings s = me_pf_settings_of("pf0", "f0", 2);

	return model_pf_add(t->model, &s, NULL, NULL, err);
}

static int fabric_del(struct me_env *t, struct err *err)
{
	return model_fabric_del(t->model, "f0", err);
}

static int fabric_add(struct me_env *t, struct err *err)
{
	struct fabric_settings s;

	fabric_settings_init(&s, "f0");
	return model_fabric_add(t->model, &s, NULL, err);
}

/* Makes the change with each of its allocations failing, until it comes through without one that does. */
static void try_change(struct me_env *t, const char *what, int (*change)(struct me_env *t, struct err *err))
{
	struct picture before, after, restarted;
	unsigned int refused = 0;
	bool done = false;

	for (unsigned int n = 1; !done; n++) {
		struct err err = {0};
		int r;

		take(t, &before);
		t->events_n = 0;
		allocations = 0;
		fail_at = n;
		r = change(t, &err);
		fail_at = 0;
		take(t, &after);
		if (r < 0) {
			refused++;
			assert_int_equal(r, -ENOMEM);
			assert_int_equal(err.code, ENOMEM);
			if (!same(&before, &after))
				fail_msg("%s was refused at allocation %u, but not undone", what, n);
			assert_int_equal(t->events_n, 0);
		} else {
			done = true;
			assert_int_equal(r, 0);
			if (same(&before, &after) || same_text(before.file, after.file))
				fail_msg("%s was acknowledged at allocation %u, but not done", what, n);
			assert_true(t->events_n > 0);
			/* All of it: what is on disk is what is in memory. */
			me_restart(t);
			take(t, &restarted);
			if (!same(&after, &restarted))
				fail_msg("%s was saved in part at allocation %u", what, n);
			drop(&restarted);
		}
		drop(&before);
		drop(&after);
	}
	assert_true(refused > 0);
}

static void changes(void **state)
{
	struct me_env *t = *state;

	me_add_fabric(t, "another", NULL); /* there is something to be saved when f0 is gone */
	json_set_alloc_funcs(may_fail, free);
	try_change(t, "fabric.add", fabric_add);
	try_change(t, "pf.add", pf_add);
	try_change(t, "fabric.set", do_fabric_set);
	try_change(t, "vf.set", function_set);
	try_change(t, "vf.set of one", function_set_one);
	try_change(t, "the guest's request", request);
	try_change(t, "pf.set", pf_set);
	try_change(t, "pf.set of the policy", pf_set_policy);
	try_change(t, "pf.del", pf_del);
	try_change(t, "fabric.del", fabric_del);
	json_set_alloc_funcs(malloc, free);
}

/* Memory enough to save, none for the event: it comes without its detail. */
static void events(void **state)
{
	struct me_env *t = *state;
	bool with = false, without = false;

	me_add_fabric(t, "f0", NULL);
	me_add_pf(t, "pf0", "f0", 2, NULL);
	json_set_alloc_funcs(may_fail, free);
	for (unsigned int n = 1; !with; n++) {
		struct function_settings s = me_settings_of(t, "pf0", 1);
		int r;

		s.max_rate = n;
		t->events_n = 0;
		allocations = 0;
		fail_at = n;
		r = model_function_set(t->model, "pf0", 1, &s, false, NULL, NULL);
		with = allocations < n;
		fail_at = 0;
		if (r < 0)
			continue;
		assert_int_equal(me_settings_of(t, "pf0", 1).max_rate, n);
		assert_int_equal(t->events_n, 1);
		assert_string_equal(me_last_event(t), "function changed pf0 1");
		without |= !t->details[0][0];
	}
	json_set_alloc_funcs(malloc, free);
	assert_true(without);
	assert_non_null(strstr(t->details[0], "{\"changed\":{\"max_rate\":"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(changes, me_setup, me_teardown),
		cmocka_unit_test_setup_teardown(events, me_setup, me_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
