/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "api/methods.h"
#include "qemu/pf_qemu.h"

#define QUEUE_SIZE(which, what)                                                                              \
	{                                                                                                    \
		.name = (which), .kind = JSON_KIND_INT, .min = 256, .max = 1024, .doc = (what)               \
	}
#define DEVICE_FIELDS                                                                                        \
	{.name = "bus",                                                                                      \
	 .kind = JSON_KIND_STRING,                                                                           \
	 .min = 1,                                                                                           \
	 .max = 64,                                                                                          \
	 .doc = "id of an empty pcie-root-port (default: qemu_args makes one, attach takes a free one)"},    \
		{.name = "packed", .kind = JSON_KIND_BOOL, .doc = "offer packed rings (default false)"},     \
		QUEUE_SIZE("rx_queue_size", "256, 512 or 1024 (default 256)"),                               \
		QUEUE_SIZE("tx_queue_size", "256, 512 or 1024 (default 256)")

const struct json_field params_pf_attach[] = {PARAM_NAME("of the virtual PF"), DEVICE_FIELDS, {0}};
const struct json_field params_pf_qemu_args[] = {
	PARAM_NAME("of the virtual PF"),
	DEVICE_FIELDS,
	{.name = "memory",
	 .kind = JSON_KIND_STRING,
	 .min = 1,
	 .max = 32,
	 .doc = "also print guest memory of this size, such as 4G, that vhost-user can share"},
	{.name = "hotplug_ports",
	 .kind = JSON_KIND_INT,
	 .max = 16,
	 .doc = "also print this number of empty root ports, for pf.attach (default 0)"},
	{.name = "chassis",
	 .kind = JSON_KIND_INT,
	 .min = 1,
	 .max = 255,
	 .doc = "chassis number of the first root port made (default: derived from the name)"},
	{.name = "without_pf",
	 .kind = JSON_KIND_BOOL,
	 .doc = "print everything but the virtual PF itself, for a VM that gets it later by pf.attach (default false)"},
	{0},
};

static void read_options(const json_t *params, struct qemu_args_options *o)
{
	*o = (struct qemu_args_options){
		.bus = param_string(params, "bus"),
		.memory = param_string(params, "memory"),
		.hotplug_ports = (unsigned int)json_integer_value(json_object_get(params, "hotplug_ports")),
		.chassis = (unsigned int)json_integer_value(json_object_get(params, "chassis")),
		.packed = json_is_true(json_object_get(params, "packed")),
		.without_pf = json_is_true(json_object_get(params, "without_pf")),
		.rx_queue_size = (unsigned int)json_integer_value(json_object_get(params, "rx_queue_size")),
		.tx_queue_size = (unsigned int)json_integer_value(json_object_get(params, "tx_queue_size")),
	};
}

int method_pf_qemu_args(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	_cleanup_free_ struct qemu_function *functions = NULL;
	_cleanup_free_ char *paths = NULL;
	const struct api_env *env = api_call_env(call);
	const struct model_pf *pf = NULL;
	struct qemu_args_options options;
	json_t *args = NULL;
	char key_file[108];
	int r;

	r = param_pf(env, params, "name", &pf, err);
	if (r < 0)
		return r;
	r = pf_qemu_functions(env->model, pf, &functions, &paths, err);
	if (r < 0)
		return r;
	read_options(params, &options);
	r = qemu_args(&pf->s, functions, model_key_path(env->model, pf->s.name, key_file), &options, &args,
		      err);
	if (r < 0)
		return r;
	*ret = json_pack("{s:o}", "args", args);
	return 0;
}

static void on_done(void *arg, int code, const struct err *err)
{
	struct err why;

	if (code < 0 && !(err && err->code)) {
		err_set(&why, -code, NULL, "QEMU did not carry it out: %s", strerrordesc_np(-code));
		err = &why;
	}
	api_deferred_done(arg, code < 0 ? NULL : json_true(), code < 0 ? err : NULL);
}

int method_pf_attach(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	const struct api_env *env = api_call_env(call);
	struct qemu_args_options options;
	int r;

	(void)ret;
	read_options(params, &options);
	r = api_call_defer(call, RPC_DEFER_WAIT, err);
	if (!r)
		r = pf_qemu_attach(env->qemu, param_string(params, "name"), options.bus, &options, on_done,
				   call, err);
	return r < 0 ? r : RPC_DEFERRED;
}

int method_pf_detach(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	const struct api_env *env = api_call_env(call);
	int r;

	(void)ret;
	r = api_call_defer(call, RPC_DEFER_WAIT, err);
	if (!r)
		r = pf_qemu_detach(env->qemu, param_string(params, "name"), on_done, call, err);
	return r < 0 ? r : RPC_DEFERRED;
}
