/* SPDX-License-Identifier: Apache-2.0 */

#include <stdio.h>

#include "api/change.h"
#include "api/methods.h"
#include "api/objects.h"
#include "settings/json_build.h"
#include "settings/pf_fields.h"
#include "vhost/vhost_user.h"

const struct json_field params_pf_add[] = {
	PARAM_NAME("of the new virtual PF"),
	{.name = "fabric",
	 .kind = JSON_KIND_STRING,
	 .flags = JSON_REQUIRED,
	 .min = 1,
	 .max = VPF_NAME_MAX - 1,
	 .doc = "that carries its functions' traffic"},
	{.name = "vfs",
	 .kind = JSON_KIND_INT,
	 .flags = JSON_REQUIRED,
	 .max = VPF_MAX_VFS,
	 .doc = "number of VFs"},
	{.name = "queue_pairs",
	 .kind = JSON_KIND_INT,
	 .min = 1,
	 .max = VHOST_USER_MAX_QUEUE_PAIRS,
	 .doc = "of each function (default 1)"},
	{.name = "spoofchk",
	 .kind = JSON_KIND_BOOL,
	 .doc = "what its functions start with; vf.set changes it for each (default true)"},
	PF_SETTINGS_FIELDS,
	{0},
};
const struct json_field params_pf_set[] = {PARAM_NAME("of the virtual PF"), PF_SETTINGS_FIELDS, {0}};

int param_pf(const struct api_env *env, const json_t *params, const char *field, const struct model_pf **ret,
	     struct err *err)
{
	const char *name = param_string(params, field);
	const struct model_pf *pf = model_pf_find(env->model, name);

	if (!pf)
		return err_set(err, ENOENT, field, "there is no virtual PF %.40s", name);
	*ret = pf;
	return 0;
}

static int reply_pf(struct api_change *c, json_t **ret, struct err *err)
{
	const struct model_pf *pf = model_pf_find(c->env->model, c->name);

	if (!pf)
		return err_set(err, ENOENT, "name", "the virtual PF %.40s was deleted again", c->name);
	*ret = object_pf(c->env, pf, true);
	return 0;
}

int method_pf_add(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	const json_t *queue_pairs = json_object_get(params, "queue_pairs");
	const json_t *spoofchk = json_object_get(params, "spoofchk");
	struct api_change *c = NULL;
	struct pf_settings s;
	struct answer answer;
	bool has_mac = false;
	uint8_t mac[6];
	int r;

	pf_settings_init(&s, param_string(params, "name"));
	snprintf(s.fabric, sizeof(s.fabric), "%s", param_string(params, "fabric"));
	s.vfs = (uint32_t)json_integer_value(json_object_get(params, "vfs"));
	s.datapaths.n = 0; /* the default is the fabric's */
	if (spoofchk)
		s.spoofchk = json_is_true(spoofchk);
	if (queue_pairs)
		s.queue_pairs = (uint32_t)json_integer_value(queue_pairs);
	r = pf_settings_read(params, &s, mac, &has_mac, err);
	if (!r)
		r = api_change_new(call, params, s.name, reply_pf, &c, err);
	if (r)
		return r;
	answer = api_change_answer(c);
	r = model_pf_add(c->env->model, &s, has_mac ? mac : NULL, &answer, err);
	return api_change_done(c, r, ret, err);
}

static int edit_pf(void *ctx, struct pf_settings *s, uint8_t mac[6], bool *ret_has_mac, struct err *err)
{
	const struct api_change *c = ctx;

	return pf_settings_read(c->params, s, mac, ret_has_mac, err);
}

int method_pf_set(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	const struct model_pf *pf = NULL;
	struct api_change *c = NULL;
	struct answer answer;
	int r;

	r = param_pf(api_call_env(call), params, "name", &pf, err);
	if (!r)
		r = api_change_new(call, params, pf->s.name, reply_pf, &c, err);
	if (r)
		return r;
	answer = api_change_answer(c);
	r = model_pf_edit(c->env->model, c->name, edit_pf, c, &answer, err);
	return api_change_done(c, r, ret, err);
}

int method_pf_del(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	const struct api_env *env = api_call_env(call);
	int r = model_pf_del(env->model, param_string(params, "name"), err);

	if (r < 0)
		return r;
	*ret = json_true();
	return 0;
}

int method_pf_list(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	const struct api_env *env = api_call_env(call);
	json_t *list = json_array();

	(void)params;
	(void)err;
	for (unsigned int i = 0; model_pf_at(env->model, i); i++)
		json_add(&list, object_pf(env, model_pf_at(env->model, i), false));
	*ret = list;
	return 0;
}

int method_pf_show(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	const struct api_env *env = api_call_env(call);
	const struct model_pf *pf = NULL;
	int r = param_pf(env, params, "name", &pf, err);

	if (r < 0)
		return r;
	*ret = object_pf(env, pf, true);
	return 0;
}
