/* SPDX-License-Identifier: Apache-2.0 */

#include "api/change.h"
#include "api/methods.h"
#include "api/objects.h"
#include "settings/fabric_json.h"
#include "settings/json_build.h"

const struct json_field params_fabric_add[] = {PARAM_NAME("of the new fabric"), FABRIC_SETTINGS_FIELDS, {0}};
const struct json_field params_fabric_set[] = {PARAM_NAME("of the fabric"), FABRIC_SETTINGS_FIELDS, {0}};
const struct json_field params_fdb_show[] = {
	{.name = "fabric", .kind = JSON_KIND_STRING, .flags = JSON_REQUIRED, .doc = "name of the fabric"},
	{0},
};

int param_fabric(const struct api_env *env, const json_t *params, const char *field,
		 const struct model_fabric **ret, struct err *err)
{
	const char *name = param_string(params, field);
	const struct model_fabric *f = model_fabric_find(env->model, name);

	if (!f)
		return err_set(err, ENOENT, field, "there is no fabric %.40s", name);
	*ret = f;
	return 0;
}

static int reply_fabric(struct api_change *c, json_t **ret, struct err *err)
{
	const struct model_fabric *f = model_fabric_find(c->env->model, c->name);

	if (!f)
		return err_set(err, ENOENT, "name", "the fabric %.40s was deleted again", c->name);
	*ret = object_fabric(c->env, f);
	return 0;
}

int method_fabric_add(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	struct api_change *c = NULL;
	struct fabric_settings s;
	struct answer answer;
	int r;

	fabric_settings_init(&s, param_string(params, "name"));
	r = fabric_settings_read(params, &s, err);
	if (!r)
		r = api_change_new(call, params, s.name, reply_fabric, &c, err);
	if (r)
		return r;
	answer = api_change_answer(c);
	return api_change_done(c, model_fabric_add(c->env->model, &s, &answer, err), ret, err);
}

static int edit_fabric(void *ctx, struct fabric_settings *s, struct err *err)
{
	const struct api_change *c = ctx;

	return fabric_settings_read(c->params, s, err);
}

int method_fabric_set(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	const struct model_fabric *f = NULL;
	struct api_change *c = NULL;
	struct answer answer;
	int r;

	r = param_fabric(api_call_env(call), params, "name", &f, err);
	if (!r)
		r = api_change_new(call, params, f->s.name, reply_fabric, &c, err);
	if (r)
		return r;
	answer = api_change_answer(c);
	r = model_fabric_edit(c->env->model, c->name, edit_fabric, c, &answer, err);
	return api_change_done(c, r, ret, err);
}

int method_fabric_del(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	const struct api_env *env = api_call_env(call);
	int r = model_fabric_del(env->model, param_string(params, "name"), err);

	if (r < 0)
		return r;
	*ret = json_true();
	return 0;
}

int method_fabric_list(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	const struct api_env *env = api_call_env(call);
	json_t *list = json_array();

	(void)params;
	(void)err;
	for (unsigned int i = 0; model_fabric_at(env->model, i); i++)
		json_add(&list, object_fabric(env, model_fabric_at(env->model, i)));
	*ret = list;
	return 0;
}

int method_fabric_show(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	const struct api_env *env = api_call_env(call);
	const struct model_fabric *f = NULL;
	int r = param_fabric(env, params, "name", &f, err);

	if (r < 0)
		return r;
	*ret = object_fabric(env, f);
	return 0;
}

static void add_row(void *arg, const struct fdb_row *row)
{
	json_add(arg, object_fdb_row(row));
}

int method_fdb_show(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	const struct api_env *env = api_call_env(call);
	const struct model_fabric *f = NULL;
	json_t *list;
	int r = param_fabric(env, params, "fabric", &f, err);

	if (r < 0)
		return r;
	list = json_array();
	r = model_fabric_fdb(env->model, f->s.name, add_row, &list);
	if (r < 0) {
		json_decref(list);
		return err_set(err, -r, "fabric", "cannot read the forwarding table of %s", f->s.name);
	}
	*ret = list;
	return 0;
}
