/* SPDX-License-Identifier: Apache-2.0 */

/* Lists of datapaths in the model: which is in force, what is refused because of it, what is told and saved. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "fabric/bridge/params.h"
#include "fabric/fabric.h"
#include "model_env.h"
#include "settings/fabric_json.h"
#include "settings/function_fields.h"
#include "settings_same.h"

#define VHOST_USER "vhost-user:path=/run/b/{pf}-{vf}"

static struct datapath_list list_of(const char *text)
{
	struct datapath_list list;
	struct err err = {0};

	if (datapath_list_parse(text, &list, &err) < 0)
		fail_msg("%s", err.text);
	return list;
}

static void add_bridge(struct me_env *t, const char *name, const char *bridge)
{
	struct fabric_settings s;
	struct err err = {0};

	fabric_settings_init(&s, name);
	s.type = &fabric_type_bridge;
	set_bridge(&s, bridge);
	if (model_fabric_add(t->model, &s, NULL, &err) < 0)
		fail_msg("%s: %s", err.field, err.text);
}

static int try_add(struct me_env *t, const char *name, const char *list, bool spoofchk, struct err *err)
{
	struct pf_settings s = me_pf_settings_of(name, "f0", 2);

	*err = (struct err){0};
	s.datapaths = list_of(list);
	s.spoofchk = spoofchk;
	return model_pf_add(t->model, &s, NULL, NULL, err);
}

static void add(struct me_env *t, const char *name, const char *list)
{
	struct err err;

	if (try_add(t, name, list, false, &err) < 0)
		fail_msg("%s: %s", err.field, err.text);
}

static int try_list(struct me_env *t, const char *pf, unsigned int fn, const char *list, struct err *err)
{
	struct function_settings s = me_settings_of(t, pf, fn);

	*err = (struct err){0};
	s.datapaths = list_of(list);
	return model_function_set(t->model, pf, fn, &s, false, NULL, err);
}

static int try_pf_list(struct me_env *t, const char *pf, const char *list, struct err *err)
{
	struct pf_settings s = model_pf_find(t->model, pf)->s;

	*err = (struct err){0};
	s.datapaths = list_of(list);
	return model_pf_set(t->model, &s, NULL, NULL, err);
}

static void assert_list(const struct datapath_list *list, const char *text)
{
	char *is = datapath_list_text(list);

	assert_string_equal(is, text);
	free(is);
}

/* What the data plane was told. */
static void assert_gets(struct me_env *t, const char *pf, unsigned int fn, const char *text)
{
	assert_list(&fake_dp_function(&t->dp, pf, fn)->s.datapaths, text);
}

static void assert_says(const struct err *err, int code, const char *field, const char *text)
{
	assert_int_equal(err->code, code);
	assert_string_equal(err->field, field);
	if (!strstr(err->text, text))
		fail_msg("'%s' does not say '%s'", err->text, text);
}

/* A switch that vpfd knows nothing of. */
static void limit_vhost_user(struct me_env *t)
{
	t->dp.cannot[fake_type(&datapath_type_vhost_user)] =
		~(uint32_t)(CAN_LINK | CAN_ADMIN_MAC | CAN_NO_SPOOFCHK);
}

static void lists_in_force(void **state)
{
	struct me_env *t = *state;
	struct pf_settings s;
	struct err err;

	me_add_fabric(t, "f0", NULL);
	add_bridge(t, "br", "br0");
	me_add_pf(t, "a", "f0", 2, NULL);
	assert_gets(t, "a", 0, "builtin");
	assert_gets(t, "a", 2, "builtin");

	/* Nothing said: that of the kind of fabric; the PF itself stays where the guest's requests arrive. */
	s = me_pf_settings_of("b", "br", 1);
	s.datapaths.n = 0;
	s.failback = true;
	assert_int_equal(model_pf_add(t->model, &s, NULL, NULL, &err), 0);
	assert_gets(t, "b", 0, "builtin");
	assert_gets(t, "b", 1, "vhost-net,builtin");
	assert_true(fake_dp_function(&t->dp, "b", 1)->s.failback);
	assert_list(&model_pf_find(t->model, "b")->s.datapaths, "vhost-net,builtin");
	s = model_pf_find(t->model, "b")->s;
	s.policy.guest_control = false;
	s.failback = false;
	assert_int_equal(model_pf_set(t->model, &s, NULL, NULL, &err), 0);
	assert_gets(t, "b", 0, "vhost-net,builtin");
	assert_false(fake_dp_function(&t->dp, "b", 1)->s.failback);

	/* A list of its own, for the PF itself, too; and back. */
	assert_int_equal(try_list(t, "b", 1, "builtin,vhost-net", &err), 0);
	assert_gets(t, "b", 1, "builtin,vhost-net");
	t->dp.lacks[fake_type(&datapath_type_builtin)] = 1ULL << 60;
	t->dp.lacks[fake_type(&datapath_type_vhost_net)] = 1ULL << 61;
	assert_int_equal(try_pf_list(t, "b", "vhost-net", &err), 0);
	assert_gets(t, "b", 0, "vhost-net");
	assert_gets(t, "b", 1, "builtin,vhost-net");
	/* What its front-end is offered it can keep, should it return to the PF's. */
	assert_true(fake_dp_function(&t->dp, "b", 1)->offer.list == ~(3ULL << 60));
	assert_true(fake_dp_function(&t->dp, "b", 1)->offer.pf == ~(1ULL << 61));
	assert_int_equal(try_list(t, "b", 1, "", &err), 0);
	assert_gets(t, "b", 1, "vhost-net");
	s = model_pf_find(t->model, "b")->s;
	s.datapaths.n = 0;
	assert_int_equal(model_pf_set(t->model, &s, NULL, NULL, &err), 0);
	assert_gets(t, "b", 1, "vhost-net,builtin");
	assert_string_equal(me_last_event(t), "pf changed b -1");
}

/* Where the fabric has no way for the control channel, the PF is a function like any other. */
static void no_control_channel(void **state)
{
	struct me_env *t = *state;

	t->dp.cannot[fake_type(&datapath_type_builtin)] = CAN_CONTROL;
	me_add_fabric(t, "f0", NULL);
	add(t, "a", VHOST_USER);
	assert_gets(t, "a", 0, VHOST_USER);
}

static void control_channel_is_kept(void **state)
{
	struct me_env *t = *state;
	struct pf_settings s;
	struct err err;

	me_add_fabric(t, "f0", NULL);
	limit_vhost_user(t);
	add(t, "a", VHOST_USER ",builtin");
	assert_gets(t, "a", 0, "builtin");
	assert_int_equal(try_list(t, "a", 0, VHOST_USER, &err), -EOPNOTSUPP);
	assert_says(&err, EOPNOTSUPP, "datapaths", "guest_control off");
	s = model_pf_find(t->model, "a")->s;
	s.policy.guest_control = false;
	assert_int_equal(model_pf_set(t->model, &s, NULL, NULL, &err), 0);
	assert_int_equal(try_list(t, "a", 0, VHOST_USER, &err), 0);
	/* Now it is the policy that would need what the list cannot. */
	s.policy.guest_control = true;
	assert_int_equal(model_pf_set(t->model, &s, NULL, NULL, &err), -EOPNOTSUPP);
	assert_says(&err, EOPNOTSUPP, "policy.guest_control", VHOST_USER);
	assert_false(model_pf_find(t->model, "a")->s.policy.guest_control);
}

/* Each thing that a switch may be unable to do, as a setting and then as a list. */
static void what_cannot_be_enforced(void **state)
{
	static const struct {
		uint32_t can;
		const char *field, *settings; /* as for vf.set, or the policy */
	} cases[] = {
		{CAN_ADMIN_MAC, "mac", "{\"mac\": \"02:00:00:00:99:00\"}"},
		{CAN_VLAN, "vlan", "{\"vlan\": {\"mode\": \"access\", \"vid\": 5}}"},
		{CAN_VLAN_PCP, "vlan.pcp", "{\"vlan\": {\"mode\": \"access\", \"vid\": 5, \"pcp\": 1}}"},
		{CAN_VLAN_AD, "vlan.proto",
		 "{\"vlan\": {\"mode\": \"access\", \"vid\": 5, \"proto\": \"802.1ad\"}}"},
		{CAN_TRUNK, "vlan.vids", "{\"vlan\": {\"mode\": \"trunk\", \"vids\": \"5\"}}"},
		{CAN_SPOOFCHK, "spoofchk", "{\"spoofchk\": true}"},
		{CAN_NO_SPOOFCHK, "spoofchk", "{\"spoofchk\": false}"},
		{CAN_TRUST, "trust", "{\"trust\": true}"},
		{CAN_MAX_RATE, "max_rate", "{\"max_rate\": 10}"},
		{CAN_MIN_RATE, "min_rate", "{\"min_rate\": 10}"},
		{CAN_LINK, "link", "{\"link\": \"enable\"}"},
	};
	struct me_env *t = *state;
	struct function_settings ad;

	me_add_fabric(t, "f0", NULL);
	add(t, "a", "builtin");
	/* One for the fabric, one for the whole of the PF before and after the data plane was asked whether it can have
	 * it, and two for the offer of each function. */
	assert_int_equal(t->dp.list_checks, 3 + 2 * 3);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool spoof = cases[i].can == CAN_SPOOFCHK || cases[i].can == CAN_NO_SPOOFCHK;
		struct function_settings s = me_settings_of(t, "a", 1), before;
		json_t *o = json_loads(cases[i].settings, 0, NULL);
		struct model_function *f = &model_pf_find(t->model, "a")->fn[1];
		unsigned int sets;
		struct err err = {0};

		/* from the opposite */
		s.spoofchk = cases[i].can == CAN_NO_SPOOFCHK;
		model_function_set(t->model, "a", 1, &s, false, NULL, NULL);
		if (cases[i].can == CAN_MIN_RATE) {
			struct pf_settings pf = model_pf_find(t->model, "a")->s;

			pf.policy.max_rate_total = 100;
			assert_int_equal(model_pf_set(t->model, &pf, NULL, NULL, &err), 0);
		}
		before = f->s;
		sets = t->dp.function_sets;
		assert_int_equal(function_settings_read(o, &s, &err), 0);
		json_decref(o);
		t->dp.cannot[fake_type(&datapath_type_builtin)] = cases[i].can;
		assert_int_equal(model_function_set(t->model, "a", 1, &s, false, NULL, &err), -EOPNOTSUPP);
		assert_says(&err, EOPNOTSUPP, cases[i].field, "builtin of VF 0 of a cannot enforce");
		assert_same_function(&f->s, &before);
		assert_int_equal(t->dp.function_sets, sets);

		/* With one that can it is taken, and then the other is refused. */
		s.datapaths = list_of(VHOST_USER);
		if (model_function_set(t->model, "a", 1, &s, false, NULL, &err) < 0)
			fail_msg("%s", err.text);
		assert_int_equal(try_list(t, "a", 1, VHOST_USER ",builtin", &err), -EOPNOTSUPP);
		assert_says(&err, EOPNOTSUPP, "datapaths", "builtin of VF 0 of a cannot enforce");

		t->dp.cannot[fake_type(&datapath_type_builtin)] = 0;
		s = before;
		s.datapaths = list_of("");
		if (!spoof)
			s.spoofchk = false;
		assert_int_equal(model_function_set(t->model, "a", 1, &s, false, NULL, &err), 0);
	}

	/* A bridge has one kind of tags. */
	t->dp.cannot[fake_type(&datapath_type_builtin)] = CAN_VLAN;
	ad = me_settings_of(t, "a", 1);
	ad.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 5, .tpid = 0x88a8};
	assert_int_equal(model_function_set(t->model, "a", 1, &ad, false, NULL, NULL), 0);
}

static void policy_cannot_be_enforced(void **state)
{
	struct me_env *t = *state;
	struct pf_settings s;
	struct err err = {0};

	me_add_fabric(t, "f0", NULL);
	add(t, "a", "builtin");
	t->dp.cannot[fake_type(&datapath_type_builtin)] = CAN_MAX_RATE | CAN_TOTAL_RATE | CAN_LINK;
	s = model_pf_find(t->model, "a")->s;
	s.policy.max_rate = 5;
	assert_int_equal(model_pf_set(t->model, &s, NULL, NULL, &err), -EOPNOTSUPP);
	assert_says(&err, EOPNOTSUPP, "max_rate", "VF 0 of a");
	s.policy.max_rate = 0;
	s.policy.max_rate_total = 5;
	assert_int_equal(model_pf_set(t->model, &s, NULL, NULL, &err), -EOPNOTSUPP);
	assert_says(&err, EOPNOTSUPP, "policy.max_rate_total", "a itself");
	s.policy.max_rate_total = 0;
	s.policy.max_vfs = 1;
	assert_int_equal(model_pf_set(t->model, &s, NULL, NULL, &err), -EOPNOTSUPP);
	assert_says(&err, EOPNOTSUPP, "link", "VF 1 of a");
	/* What needs nothing is not refused. */
	s.policy.max_vfs = VPF_MAX_VFS;
	s.mtu = 9000;
	assert_int_equal(model_pf_set(t->model, &s, NULL, NULL, &err), 0);
}

static void new_pf_refused(void **state)
{
	struct me_env *t = *state;
	struct err err;

	me_add_fabric(t, "f0", NULL);
	limit_vhost_user(t);
	assert_int_equal(try_add(t, "a", VHOST_USER ",builtin", true, &err), -EOPNOTSUPP);
	assert_says(&err, EOPNOTSUPP, "datapaths", "cannot enforce the spoof check: turn spoofchk off");
	assert_null(model_pf_find(t->model, "a"));
	assert_int_equal(t->dp.functions_n, 0);
	assert_int_equal(try_add(t, "a", VHOST_USER ",builtin", false, &err), 0);
	assert_false(me_settings_of(t, "a", 1).spoofchk);
	assert_int_equal(try_add(t, "b", "vhost-net", true, &err), -EOPNOTSUPP);
	assert_says(&err, EOPNOTSUPP, "datapaths", "leads elsewhere");

	/* A device that is absent is no reason to refuse a list, unless there is nothing else in it. */
	t->dp.lacks[fake_type(&datapath_type_vdpa)] = UINT64_MAX;
	assert_int_equal(try_add(t, "b", "vdpa:device=x,builtin", true, &err), 0);
	assert_int_equal(try_add(t, "c", "vdpa:device=x", true, &err), -ENODEV);
	assert_says(&err, ENODEV, "datapaths", "absent");
}

/* The guest's driver may use what its front-end was offered, so no list may need less. */
static void fewer_features(void **state)
{
	struct me_env *t = *state;
	struct err err;

	me_add_fabric(t, "f0", NULL);
	add(t, "a", "builtin");
	t->dp.lacks[fake_type(&datapath_type_vhost_user)] = 0x30;
	fake_dp_function(&t->dp, "a", 1)->offered = 0x11;
	assert_int_equal(try_list(t, "a", 1, VHOST_USER, &err), -EBUSY);
	assert_says(&err, EBUSY, "datapaths", "0x10");
	assert_int_equal(try_list(t, "a", 2, VHOST_USER, &err), 0);
	assert_int_equal(try_list(t, "a", 2, "", &err), 0);
	assert_int_equal(try_pf_list(t, "a", VHOST_USER ",builtin", &err), -EBUSY);
	assert_gets(t, "a", 2, "builtin");
	fake_dp_function(&t->dp, "a", 1)->offered = 0x1;
	assert_int_equal(try_list(t, "a", 1, VHOST_USER, &err), 0);
	assert_int_equal(try_pf_list(t, "a", VHOST_USER ",builtin", &err), 0);
}

static void shared_sockets(void **state)
{
	struct me_env *t = *state;
	char inside[200];
	struct err err;

	me_add_fabric(t, "f0", NULL);
	assert_int_equal(try_add(t, "a", "vhost-user:path=/run/b/x", true, &err), -EINVAL);
	assert_says(&err, EINVAL, "datapaths", "VF 0 of a and VF 1 of a would share the socket /run/b/x");
	assert_int_equal(try_add(t, "a", "vhost-user:path=/run/b/{vf}", true, &err), 0);
	assert_int_equal(try_add(t, "b", "vhost-user:path=/run/b/{vf}", true, &err), -EINVAL);
	assert_says(&err, EINVAL, "datapaths", "VF 0 of a and VF 0 of b");
	assert_int_equal(try_add(t, "b", VHOST_USER, true, &err), 0);
	assert_int_equal(try_list(t, "b", 1, "vhost-user:path=/run/b/1", &err), -EINVAL);
	assert_says(&err, EINVAL, "datapaths", "VF 1 of a and VF 0 of b");
	assert_int_equal(try_list(t, "b", 1, "vhost-user:path=/run/b/b-1", &err), -EINVAL);
	assert_int_equal(try_list(t, "b", 1, "vhost-user:path=/run/b/9", &err), 0);
	/* Its own of before is no other's. */
	assert_int_equal(try_list(t, "b", 1, "builtin,vhost-user:path=/run/b/9", &err), 0);
	assert_int_equal(try_pf_list(t, "b", "vhost-user:path=/run/b/9", &err), -EINVAL);

	snprintf(inside, sizeof(inside), "vhost-user:path=%.90s/x", t->scratch.path);
	assert_int_equal(try_list(t, "b", 1, inside, &err), -EINVAL);
	assert_says(&err, EINVAL, "datapaths", "vpfd's own directory");
	assert_int_equal(
		try_list(
			t, "b", 1,
			"vhost-user:path=/0123456789012345678901234567890123456789012345678901234567890123456"
			"7890123/{pf}{pf}{pf}{pf}{pf}",
			&err),
		0);
	me_add_pf(t, "012345678901234567890", "f0", 1, NULL);
	assert_int_equal(
		try_list(
			t, "012345678901234567890", 1,
			"vhost-user:path=/0123456789012345678901234567890123456789012345678901234567890123456"
			"7890123/{pf}{pf}",
			&err),
		-EINVAL);
	assert_says(&err, EINVAL, "datapaths", "longer than");
}

static void guests_request(void **state)
{
	struct me_env *t = *state;
	struct function_settings s;
	struct pf_settings pf;
	struct err err = {0};

	me_add_fabric(t, "f0", NULL);
	limit_vhost_user(t);
	add(t, "a", VHOST_USER);
	pf = model_pf_find(t->model, "a")->s;
	pf.policy.vlans[0] = 1 << 5;
	assert_int_equal(model_pf_set(t->model, &pf, NULL, NULL, &err), 0);
	s = me_settings_of(t, "a", 1);
	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 5, .tpid = 0x8100};
	assert_int_equal(model_function_request(t->model, "a", 1, SETTING_VLAN, &s, NULL, &err), -EOPNOTSUPP);
	assert_says(&err, EOPNOTSUPP, "vlan", "the host's datapath vhost-user cannot enforce a VLAN");
	assert_null(strstr(err.text, "/run/b")); /* none of its business */
	assert_true(strlen(err.text) < 120);
	assert_int_equal(model_pf_find(t->model, "a")->refused, 1);
	assert_string_equal(me_last_event(t), "control refused a 1");
	assert_int_equal(me_settings_of(t, "a", 1).vlan.mode, VLAN_NONE);
	/* Policy comes first: it would be refused anyway. */
	s.vlan.vid = 6;
	assert_int_equal(model_function_request(t->model, "a", 1, SETTING_VLAN, &s, NULL, &err), -EPERM);
	memcpy(s.admin_mac, model_pf_find(t->model, "a")->fn[1].s.mac, 6);
	assert_int_equal(model_function_request(t->model, "a", 1, SETTING_MAC, &s, NULL, &err), 0);
}

/* What a datapath could enforce yesterday. */
static void lost_while_away(void **state)
{
	struct me_env *t = *state;
	struct function_settings s;
	struct err err = {0};

	me_add_fabric(t, "f0", NULL);
	add(t, "a", "vdpa:device=x,builtin");
	s = me_settings_of(t, "a", 1);
	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 5, .tpid = 0x8100};
	assert_int_equal(model_function_set(t->model, "a", 1, &s, false, NULL, &err), 0);
	assert_int_equal(try_list(t, "a", 2, "vdpa:device=y", &err), 0);
	s = me_settings_of(t, "a", 2);
	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 6, .tpid = 0x8100};
	assert_int_equal(model_function_set(t->model, "a", 2, &s, false, NULL, &err), 0);

	me_stop(t);
	me_start(t);
	t->dp.cannot[fake_type(&datapath_type_vdpa)] = CAN_VLAN;
	me_load(t);
	assert_gets(t, "a", 0, "builtin");
	assert_gets(t, "a", 1, "builtin");
	assert_int_equal(fake_dp_function(&t->dp, "a", 1)->s.link, LINK_AUTO);
	assert_int_equal(fake_dp_function(&t->dp, "a", 2)->s.link, LINK_DISABLE);
	assert_int_equal(me_settings_of(t, "a", 2).link, LINK_AUTO);

	/* Other settings can be changed; what is in the way can be taken away. */
	s.mtu = 1000;
	s.max_rate = 7;
	assert_int_equal(model_function_set(t->model, "a", 2, &s, true, NULL, &err), 0);
	assert_int_equal(fake_dp_function(&t->dp, "a", 2)->s.link, LINK_DISABLE);
	s.vlan.mode = VLAN_NONE;
	assert_int_equal(model_function_set(t->model, "a", 2, &s, true, NULL, &err), 0);
	assert_int_equal(fake_dp_function(&t->dp, "a", 2)->s.link, LINK_AUTO);
	assert_gets(t, "a", 2, "vdpa:device=y");
	assert_gets(t, "a", 1, "builtin");
	assert_int_equal(try_pf_list(t, "a", "builtin", &err), 0);
	assert_gets(t, "a", 1, "builtin");
}

static void saved(void **state)
{
	struct me_env *t = *state;
	struct pf_settings s;
	struct err err = {0};

	me_add_fabric(t, "f0", NULL);
	add_bridge(t, "br", "br0");
	add(t, "a", VHOST_USER ":server=on:offload=on,vdpa:device=d*:mgmtdev=pci/0000:3b:00.*,builtin");
	s = model_pf_find(t->model, "a")->s;
	s.failback = true;
	assert_int_equal(model_pf_set(t->model, &s, NULL, NULL, &err), 0);
	assert_int_equal(try_list(t, "a", 2, "builtin,vdpa:mgmtdev=vduse", &err), 0);
	for (int i = 0; i < 2; i++) {
		assert_ptr_equal(model_fabric_find(t->model, "br")->s.type, &fabric_type_bridge);
		assert_string_equal(bridge_name(&model_fabric_find(t->model, "br")->s), "br0");
		assert_true(model_pf_find(t->model, "a")->s.failback);
		assert_gets(t, "a", 1,
			    VHOST_USER
			    ":server=on:offload=on,vdpa:device=d*:mgmtdev=pci/0000:3b:00.*,builtin");
		assert_gets(t, "a", 2, "builtin,vdpa:mgmtdev=vduse");
		assert_false(me_settings_of(t, "a", 1).spoofchk);
		me_restart(t);
	}
}

static void fabrics(void **state)
{
	struct me_env *t = *state;
	struct fabric_settings s;

	add_bridge(t, "br", "br0");
	fabric_settings_init(&s, "x");
	s.type = &fabric_type_bridge;
	assert_error(model_fabric_add(t->model, &s, NULL, &err), EINVAL, "bridge");
	set_bridge(&s, "br/0");
	assert_error(model_fabric_add(t->model, &s, NULL, &err), EINVAL, "bridge");
	set_bridge(&s, "br0");
	assert_error(model_fabric_add(t->model, &s, NULL, &err), EBUSY, "bridge");
	set_bridge(&s, "br1");
	s.uplink = UPLINK_NETDEV;
	strcpy(s.uplink_name, "br1");
	assert_error(model_fabric_add(t->model, &s, NULL, &err), EINVAL, "uplink.name");
	s.type = NULL;
	assert_error(model_fabric_add(t->model, &s, NULL, &err), EINVAL, "type");
	s = model_fabric_find(t->model, "br")->s;
	set_bridge(&s, "br1");
	assert_error(model_fabric_set(t->model, &s, NULL, &err), EINVAL, "bridge");
	set_bridge(&s, "");
	s.type = &fabric_type_builtin;
	assert_error(model_fabric_set(t->model, &s, NULL, &err), EINVAL, "type");
}

static const char *last_detail(const struct me_env *t)
{
	return t->details[t->events_n - 1];
}

static void events(void **state)
{
	const struct dataplane_events *e = &model_dataplane_events;
	struct me_env *t = *state;
	struct datapath_list list = list_of(VHOST_USER ",builtin");
	const struct datapath_pref *other = &list.pref[0], *builtin = &list.pref[1];
	unsigned int n;
	struct err err;

	me_add_fabric(t, "f0", NULL);
	add(t, "a", VHOST_USER ",builtin");
	e->datapath_failed(t->model, "a", 1, other, "nobody listens");
	assert_string_equal(me_last_event(t), "datapath failed a 1");
	assert_string_equal(last_detail(t),
			    "{\"datapath\":\"" VHOST_USER "\",\"reason\":\"nobody listens\"}");
	e->datapath_changed(t->model, "a", 1, NULL, builtin, 0, NULL);
	assert_string_equal(me_last_event(t), "datapath bound a 1");
	assert_string_equal(last_detail(t), "{\"from\":null,\"to\":\"builtin\"}");

	e->datapath_changed(t->model, "a", 1, builtin, other, 123, NULL);
	assert_string_equal(me_last_event(t), "datapath returned a 1");
	assert_string_equal(last_detail(t),
			    "{\"from\":\"builtin\",\"to\":\"" VHOST_USER "\",\"gap_us\":123}");
	e->datapath_changed(t->model, "a", 1, other, builtin, 9, "too old");
	assert_string_equal(me_last_event(t), "datapath moved a 1");
	assert_non_null(strstr(last_detail(t), "\"reason\":\"too old\""));

	/* To a better one, but because somebody said so. */
	assert_int_equal(try_list(t, "a", 1, VHOST_USER, &err), 0);
	e->datapath_changed(t->model, "a", 1, builtin, other, 5, NULL);
	assert_string_equal(me_last_event(t), "datapath moved a 1");
	e->datapath_changed(t->model, "a", 1, other, NULL, 0, "gone");
	assert_string_equal(me_last_event(t), "datapath none a 1");
	e->datapath_changed(t->model, "a", 1, other, NULL, 0, NULL);
	assert_string_equal(me_last_event(t), "datapath released a 1");
	e->fabric_trouble(t->model, "f0", "a", 1, "somebody has deleted the tap");
	assert_string_equal(me_last_event(t), "fabric trouble a 1");

	/* Of functions that are not there, as while one is being deleted. */
	n = t->events_n;
	e->datapath_changed(t->model, "a", 3, builtin, other, 5, NULL);
	e->datapath_failed(t->model, "z", 0, other, "x");
	assert_int_equal(t->events_n, n);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, me_setup, me_teardown)
		TEST(lists_in_force),
		TEST(no_control_channel),
		TEST(control_channel_is_kept),
		TEST(what_cannot_be_enforced),
		TEST(policy_cannot_be_enforced),
		TEST(new_pf_refused),
		TEST(fewer_features),
		TEST(shared_sockets),
		TEST(guests_request),
		TEST(lost_while_away),
		TEST(saved),
		TEST(fabrics),
		TEST(events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
