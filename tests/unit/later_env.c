/* SPDX-License-Identifier: Apache-2.0 */

#include "later_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "settings/fabric_json.h"
#include "settings/function_fields.h"
#include "settings/mac.h"
#include "settings/pf_fields.h"

static unsigned int answers;
static struct me_env *env;

static void open_policy(struct me_env *t, const char *pf)
{
	struct pf_settings s = model_pf_find(t->model, pf)->s;

	s.policy.trust = true;
	s.policy.macs = MAC_POLICY_ANY;
	assert_int_equal(model_pf_set(t->model, &s, NULL, NULL, NULL), 0);
}

int le_setup(void **state)
{
	struct me_env *t;

	me_setup(state);
	t = env = *state;
	answers = 0;
	me_add_fabric(t, "f0", "eth0");
	me_add_fabric(t, "f1", NULL);
	me_add_pf(t, "pf0", "f0", 2, "02:00:00:00:00:10");
	me_add_pf(t, "pf1", "f0", 1, "02:00:00:00:00:20");
	me_add_pf(t, "pf2", "f1", 1, "02:00:00:00:00:30");
	open_policy(t, "pf0");
	open_policy(t, "pf1");
	t->events_n = 0;
	fake_dp_all_later(&t->dp, true);
	return 0;
}

int le_teardown(void **state)
{
	struct me_env *t = *state;

	model_cancel(t->model);
	return me_teardown(state);
}

static void on_answer(void *ctx, int r, const struct err *err)
{
	struct le_told *t = ctx;

	t->n++;
	t->r = r;
	t->err = *err;
	t->order = ++answers;
	t->events = env->events_n;
	if (t->then)
		t->then(t->ctx);
}

struct answer le_answer(struct le_told *t)
{
	return t ? (struct answer){on_answer, t} : (struct answer){0};
}

void le_expect(const struct le_told *t, int r)
{
	assert_int_equal(t->n, 1);
	assert_int_equal(t->r, r);
	assert_int_equal(t->err.code, -r);
	assert_int_equal(t->err.text[0] != '\0', r < 0);
}

void le_pump(struct me_env *t)
{
	while (sd_event_run(t->event, 0) > 0)
		;
}

void le_finish(struct me_env *t)
{
	le_pump(t);
	while (fake_dp_waiting(&t->dp)) {
		fake_dp_answer(&t->dp, 0);
		le_pump(t);
	}
}

static json_t *function_json(const struct function_settings *s)
{
	json_t *o = fields_json(function_fields, s);
	char mac[MAC_TEXT_MAX];

	json_object_set_new(o, "permanent", json_string(mac_format(s->mac, mac)));
	json_object_set_new(o, "mtu", json_integer(s->mtu));
	return o;
}

static json_t *pf_json(struct me_env *t, const struct model_pf *pf)
{
	json_t *o = fields_json(pf_fields, &pf->s), *list = json_array();
	char path[108], mac[MAC_TEXT_MAX], *key;

	key = scratch_read(model_key_path(t->model, pf->s.name, path), NULL);
	for (unsigned int fn = 0; fn <= pf->s.vfs; fn++)
		json_array_append_new(list, function_json(&pf->fn[fn].s));
	json_object_set_new(o, "name", json_string(pf->s.name));
	json_object_set_new(o, "mac", json_string(mac_format(pf->mac, mac)));
	json_object_set_new(o, "of vm", json_string(pf->vm->name));
	json_object_set_new(o, "key", json_string(key));
	json_object_set_new(o, "granted", json_integer((json_int_t)pf->granted));
	json_object_set_new(o, "refused", json_integer((json_int_t)pf->refused));
	json_object_set_new(o, "functions", list);
	free(key);
	return o;
}

static char *text_of(json_t *o)
{
	char *text = json_dumps(o, JSON_INDENT(1) | JSON_SORT_KEYS);

	assert_non_null(text);
	json_decref(o);
	return text;
}

char *le_model_picture(struct me_env *t)
{
	json_t *fabrics = json_array(), *pfs = json_array();
	char *file = scratch_read(t->state_file, NULL);
	const struct model_fabric *f;

	for (unsigned int i = 0; (f = model_fabric_at(t->model, i)); i++) {
		json_t *o = fabric_settings_json(&f->s);

		json_object_set_new(o, "pfs", json_integer(f->pfs));
		json_object_set_new(o, "absent", json_boolean(f->uplink_absent));
		json_array_append_new(fabrics, o);
	}
	for (unsigned int i = 0; model_pf_at(t->model, i); i++)
		json_array_append_new(pfs, pf_json(t, model_pf_at(t->model, i)));
	fabrics = json_pack("{s:o, s:o, s:s}", "fabrics", fabrics, "pfs", pfs, "file", file);
	free(file);
	return text_of(fabrics);
}

char *le_dp_picture(struct me_env *t)
{
	json_t *fabrics = json_object(), *functions = json_object();

	for (unsigned int i = 0; i < t->dp.fabrics_n; i++)
		json_object_set_new(fabrics, t->dp.fabrics[i].name, fabric_settings_json(&t->dp.fabrics[i]));
	for (unsigned int i = 0; i < t->dp.functions_n; i++) {
		const struct fake_function *f = &t->dp.functions[i];
		json_t *o = function_json(&f->s);
		char name[96];

		json_object_set_new(o, "policy", fields_json(policy_fields, &f->policy));
		snprintf(name, sizeof(name), "%s %u on %s", f->pf, f->fn, f->fabric);
		json_object_set_new(functions, name, o);
	}
	fabrics = json_pack("{s:o, s:o}", "fabrics", fabrics, "functions", functions);
	return text_of(fabrics);
}

static int edit_rate(void *ctx, struct function_settings *s, struct err *err)
{
	(void)err;
	s->max_rate = (uint32_t)(uintptr_t)ctx;
	return 0;
}

int le_set_rate(struct me_env *t, const char *pf, unsigned int fn, uint32_t rate, struct le_told *told)
{
	struct answer answer = le_answer(told);

	return model_function_edit(t->model, pf, fn, edit_rate, (void *)(uintptr_t)rate, &answer, NULL);
}

int le_set_admin_mac(struct me_env *t, const char *pf, unsigned int fn, const char *mac, struct le_told *told)
{
	struct function_settings s = me_settings_of(t, pf, fn);
	struct answer answer = le_answer(told);

	assert_true(mac_parse(mac, s.admin_mac));
	return model_function_set(t->model, pf, fn, &s, false, &answer, NULL);
}

int le_set_mtu(struct me_env *t, const char *pf, uint32_t mtu, struct le_told *told)
{
	struct pf_settings s = model_pf_find(t->model, pf)->s;
	struct answer answer = le_answer(told);

	s.mtu = (uint16_t)mtu;
	return model_pf_set(t->model, &s, NULL, &answer, NULL);
}

int le_set_ageing(struct me_env *t, const char *fabric, uint32_t ageing, struct le_told *told)
{
	struct fabric_settings s = model_fabric_find(t->model, fabric)->s;
	struct answer answer = le_answer(told);

	s.ageing = ageing;
	return model_fabric_set(t->model, &s, &answer, NULL);
}

int le_add_pf(struct me_env *t, const char *name, const char *fabric, const char *mac, struct le_told *told)
{
	struct pf_settings s = me_pf_settings_of(name, fabric, 1);
	struct answer answer = le_answer(told);
	uint8_t bytes[6];

	assert_true(!mac || mac_parse(mac, bytes));
	return model_pf_add(t->model, &s, mac ? bytes : NULL, &answer, NULL);
}
