/* SPDX-License-Identifier: Apache-2.0 */

#include "api/methods.h"

#include <string.h>

#include "settings/json_build.h"
#include "util/clock.h"

#define WORKERS_MAX 64

static const struct json_field params_none[] = {{0}};
static const struct json_field params_name[] = {PARAM_NAME("which one"), {0}};
static const struct json_field params_events[] = {
	{.name = "topics",
	 .kind = JSON_KIND_ARRAY,
	 .min = 1,
	 .max = MODEL_TOPICS,
	 .choices = model_topic_names,
	 .doc = "any of function, link, pf, fabric, fdb, ring, qmp, control, datapath (default: all)"},
	{0},
};

const char *param_string(const json_t *params, const char *name)
{
	return json_string_value(json_object_get(params, name));
}

static json_t *workers_json(const struct api_env *env)
{
	struct worker_info info[WORKERS_MAX];
	unsigned int n = env->workers ? env->workers(env->dp, info, WORKERS_MAX) : 0;
	json_t *list = json_array();

	for (unsigned int i = 0; i < n; i++)
		json_add(&list, json_pack("{s:I, s:I, s:I, s:I, s:I}", "polls", (json_int_t)info[i].polls,
					  "packets", (json_int_t)info[i].packets, "sleeps",
					  (json_int_t)info[i].sleeps, "cpu_ns", (json_int_t)info[i].cpu_ns,
					  "queues", (json_int_t)info[i].queues));
	return list;
}

static int method_status(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	const struct api_env *env = api_call_env(call);
	json_int_t fabrics = 0, pfs = 0, functions = 0, connected = 0;
	const struct model_pf *pf;

	(void)params;
	(void)err;
	while (model_fabric_at(env->model, (unsigned int)fabrics))
		fabrics++;
	for (; (pf = model_pf_at(env->model, (unsigned int)pfs)); pfs++) {
		connected += model_pf_connected(env->model, pf);
		functions += pf->s.vfs + 1;
	}
	*ret = json_pack("{s:s, s:I, s:i, s:o, s:I, s:I, s:I, s:I, s:s, s:s}", "version", VPF_VERSION,
			 "uptime_s", (json_int_t)((clock_us() - env->started_us) / 1000000), "pid",
			 (int)getpid(), "workers", workers_json(env), "fabrics", fabrics, "pfs", pfs,
			 "functions", functions, "connected", connected, "state_file",
			 model_state_path(env->model), "run_dir", model_run_dir(env->model));
	return 0;
}

static unsigned int topics_of(const json_t *params)
{
	const json_t *list = json_object_get(params, "topics");
	unsigned int topics = 0;

	if (!list)
		return (1U << MODEL_TOPICS) - 1;
	for (size_t i = 0; i < json_array_size(list); i++)
		for (unsigned int t = 0; t < MODEL_TOPICS; t++)
			if (!strcmp(json_string_value(json_array_get(list, i)), model_topic_names[t]))
				topics |= 1U << t;
	return topics;
}

static int method_subscribe(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	(void)err;
	api_call_peer(call)->topics |= topics_of(params);
	*ret = json_true();
	return 0;
}

static int method_unsubscribe(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	(void)err;
	api_call_peer(call)->topics &= ~topics_of(params);
	*ret = json_true();
	return 0;
}

static int method_help(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	json_t *list = json_array();

	(void)params;
	(void)err;
	for (const struct api_method *m = api_call_methods(call); m->name; m++)
		json_add(&list, json_pack("{s:s, s:s, s:o, s:s}", "method", m->name, "doc", m->doc, "params",
					  json_fields_describe(m->params), "result", m->result));
	*ret = list;
	return 0;
}

const struct api_method api_methods[] = {
	{"help", params_none, false, method_help, "array", "All methods with their parameters."},
	{"status", params_none, false, method_status, "object", "What this vpfd is, and how much it serves."},

	{"fabric.add", params_fabric_add, true, method_fabric_add, "fabric", "Creates a fabric."},
	{"fabric.set", params_fabric_set, true, method_fabric_set, "fabric",
	 "Changes the given settings of a fabric."},
	{"fabric.del", params_name, true, method_fabric_del, "true",
	 "Deletes a fabric that has no virtual PFs."},
	{"fabric.list", params_none, false, method_fabric_list, "array of fabrics", "All fabrics."},
	{"fabric.show", params_name, false, method_fabric_show, "fabric", "One fabric."},
	{"fdb.show", params_fdb_show, false, method_fdb_show, "array", "The forwarding table of a fabric."},

	{"pf.add", params_pf_add, true, method_pf_add, "pf",
	 "Creates a virtual PF and its functions' sockets."},
	{"pf.set", params_pf_set, true, method_pf_set, "pf", "Changes the given settings of a virtual PF."},
	{"pf.del", params_name, true, method_pf_del, "true",
	 "Deletes a virtual PF, if none of its functions is connected."},
	{"pf.list", params_none, false, method_pf_list, "array of pfs",
	 "All virtual PFs, without their functions."},
	{"pf.show", params_name, false, method_pf_show, "pf", "One virtual PF with its functions."},
	{"pf.qemu_args", params_pf_qemu_args, false, method_pf_qemu_args, "object",
	 "The QEMU arguments that give a VM the virtual PF."},
	{"pf.attach", params_pf_attach, true, method_pf_attach, "true",
	 "Plugs the virtual PF into the running VM at its QMP socket; replies when that is done."},
	{"pf.detach", params_name, true, method_pf_detach, "true",
	 "Unplugs the virtual PF from its VM; replies when the guest has released it."},

	{"vf.set", params_vf_set, true, method_vf_set, "function",
	 "Changes the given settings of a function, all or none."},
	{"vf.show", params_vf_show, false, method_vf_show, "function", "One function."},
	{"vdpa.list", params_none, false, method_vdpa_list, "object",
	 "The host's vDPA management devices and devices, and the function that uses each."},
	{"stats", params_stats, false, method_stats, "array", "Counters of functions and uplinks."},

	{"events.subscribe", params_events, false, method_subscribe, "true",
	 "Subscribes this connection to these topics, in addition to those it has."},
	{"events.unsubscribe", params_events, false, method_unsubscribe, "true",
	 "Unsubscribes this connection from these topics."},
	{0},
};
