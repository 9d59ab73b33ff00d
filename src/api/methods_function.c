/* SPDX-License-Identifier: Apache-2.0 */

#include "api/change.h"
#include "api/methods.h"
#include "api/moves.h"
#include "api/objects.h"
#include "settings/function_fields.h"
#include "settings/json_build.h"

#define PARAM_PF                                                                                             \
	{                                                                                                    \
		.name = "pf", .kind = JSON_KIND_STRING, .flags = JSON_REQUIRED, .min = 1,                    \
		.max = VPF_NAME_MAX - 1, .doc = "name of the virtual PF"                                     \
	}
#define PARAM_VF                                                                                             \
	{                                                                                                    \
		.name = "vf", .kind = JSON_KIND_INT, .flags = JSON_NULLABLE, .max = VPF_MAX_VFS - 1,         \
		.doc = "number of the VF; null or not given: the PF itself"                                  \
	}

const struct json_field params_vf_show[] = {PARAM_PF, PARAM_VF, {0}};
const struct json_field params_vf_set[] = {
	PARAM_PF,
	PARAM_VF,
	FUNCTION_SETTINGS_FIELDS,
	{.name = "wait",
	 .kind = JSON_KIND_BOOL,
	 .doc = "reply once it is known which datapath serves the function, with \"move\" (default false)"},
	{0},
};
const struct json_field params_stats[] = {
	{.name = "pf", .kind = JSON_KIND_STRING, .doc = "only of this virtual PF"},
	{.name = "vf",
	 .kind = JSON_KIND_INT,
	 .flags = JSON_NULLABLE,
	 .max = VPF_MAX_VFS - 1,
	 .doc = "only of this VF of `pf`; null: only of the PF itself"},
	{.name = "fabric",
	 .kind = JSON_KIND_STRING,
	 .doc = "only of the functions and the uplink of this fabric"},
	{0},
};

/* "vf": null or absent: the PF itself; -ENOENT. */
static int param_function(const struct model_pf *pf, const json_t *params, unsigned int *ret, struct err *err)
{
	const json_t *vf = json_object_get(params, "vf");
	unsigned int fn = VPF_FUNCTION_PF;

	if (json_is_integer(vf))
		fn = VPF_FUNCTION_VF((unsigned int)json_integer_value(vf));
	if (fn > pf->s.vfs)
		return err_set(err, ENOENT, "vf", "%s has %u VFs, numbered from 0", pf->s.name, pf->s.vfs);
	*ret = fn;
	return 0;
}

static int reply_vf_set(struct api_change *c, json_t **ret, struct err *err)
{
	const struct model_pf *pf = model_pf_find(c->env->model, c->name);

	if (!pf)
		return err_set(err, ENOENT, "pf", "the virtual PF %.40s was deleted again", c->name);
	if (json_is_true(json_object_get(c->params, "wait")) && c->env->moves) {
		int r = moves_wait(c->env->moves, c->call, c->name, c->fn, &c->before, err);

		return r < 0 ? r : RPC_DEFERRED;
	}
	*ret = object_function(c->env, pf, c->fn);
	return 0;
}

static int edit_function(void *ctx, struct function_settings *s, struct err *err)
{
	const struct api_change *c = ctx;

	return function_settings_read(c->params, s, err);
}

int method_vf_set(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	const struct api_env *env = api_call_env(call);
	const struct model_pf *pf = NULL;
	struct api_change *c = NULL;
	struct answer answer;
	unsigned int fn = 0;
	int r;

	r = param_pf(env, params, "pf", &pf, err);
	if (!r)
		r = param_function(pf, params, &fn, err);
	if (!r && json_is_true(json_object_get(params, "wait")))
		r = api_call_defer(call, RPC_DEFER_WAIT, err);
	if (!r)
		r = api_change_new(call, params, pf->s.name, reply_vf_set, &c, err);
	if (r)
		return r;
	c->fn = fn;
	model_function_binding(env->model, c->name, fn, &c->before);
	answer = api_change_answer(c);
	r = model_function_edit(env->model, c->name, fn, edit_function, c, &answer, err);
	return api_change_done(c, r, ret, err);
}

int method_vf_show(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	const struct api_env *env = api_call_env(call);
	const struct model_pf *pf = NULL;
	unsigned int fn = 0;
	int r;

	r = param_pf(env, params, "pf", &pf, err);
	if (r < 0)
		return r;
	r = param_function(pf, params, &fn, err);
	if (r < 0)
		return r;
	*ret = object_function(env, pf, fn);
	return 0;
}

static void add_function_stats(const struct api_env *env, json_t **list, const struct model_pf *pf,
			       unsigned int fn)
{
	struct port_stats stats;
	json_t *o;

	if (model_function_get(env->model, pf->s.name, fn, NULL, NULL, &stats) < 0)
		return;
	o = json_pack("{s:s, s:o}", "pf", pf->s.name, "vf", object_vf(fn));
	json_join(&o, object_stats(&stats));
	json_add(list, o);
}

static void add_uplink_stats(const struct api_env *env, json_t **list, const struct model_fabric *f)
{
	struct fabric_state state;
	struct port_stats stats = {0};
	json_t *o;

	if (f->s.uplink == UPLINK_NONE || model_fabric_get(env->model, f->s.name, &state, &stats) < 0)
		return;
	o = json_pack("{s:s, s:s}", "fabric", f->s.name, "uplink", f->s.uplink_name);
	json_join(&o, object_stats(&stats));
	json_add(list, o);
}

int method_stats(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	const struct api_env *env = api_call_env(call);
	const json_t *vf = json_object_get(params, "vf");
	const struct model_fabric *fabric = NULL;
	const struct model_pf *only = NULL, *pf;
	unsigned int fn = 0;
	json_t *list;
	int r = 0;

	if (vf && !json_object_get(params, "pf"))
		return err_set(err, EINVAL, "vf", "needs pf, the name of the VF's virtual PF");
	if (json_object_get(params, "pf"))
		r = param_pf(env, params, "pf", &only, err);
	if (!r && json_object_get(params, "fabric"))
		r = param_fabric(env, params, "fabric", &fabric, err);
	if (!r && vf && only)
		r = param_function(only, params, &fn, err);
	if (r < 0)
		return r;

	list = json_array();
	for (unsigned int i = 0; (pf = model_pf_at(env->model, i)); i++) {
		if ((only && pf != only) || (fabric && pf->fabric != fabric))
			continue;
		for (unsigned int j = vf ? fn : 0; j <= (vf ? fn : pf->s.vfs); j++)
			add_function_stats(env, &list, pf, j);
	}
	for (unsigned int i = 0; !only && model_fabric_at(env->model, i); i++)
		if (!fabric || model_fabric_at(env->model, i) == fabric)
			add_uplink_stats(env, &list, model_fabric_at(env->model, i));
	*ret = list;
	return 0;
}
