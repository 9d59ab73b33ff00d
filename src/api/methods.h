/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The handlers of the method table, by subject, and the tables of their parameters. */

#include "api/env.h"

#define METHOD(name)                                                                                         \
	int method_##name(struct api_call *call, const json_t *params, json_t **ret, struct err *err);       \
	extern const struct json_field params_##name[]

METHOD(fabric_add);
METHOD(fabric_set);
METHOD(fdb_show);
METHOD(pf_add);
METHOD(pf_set);
METHOD(vf_set);
METHOD(vf_show);
METHOD(stats);
METHOD(pf_qemu_args);
METHOD(pf_attach);

/* With no parameters. */
int method_fabric_list(struct api_call *call, const json_t *params, json_t **ret, struct err *err);
int method_pf_list(struct api_call *call, const json_t *params, json_t **ret, struct err *err);
int method_vdpa_list(struct api_call *call, const json_t *params, json_t **ret, struct err *err);
/* With the parameter "name" only. */
int method_fabric_show(struct api_call *call, const json_t *params, json_t **ret, struct err *err);
int method_fabric_del(struct api_call *call, const json_t *params, json_t **ret, struct err *err);
int method_pf_show(struct api_call *call, const json_t *params, json_t **ret, struct err *err);
int method_pf_del(struct api_call *call, const json_t *params, json_t **ret, struct err *err);
int method_pf_detach(struct api_call *call, const json_t *params, json_t **ret, struct err *err);

#define PARAM_NAME(what)                                                                                     \
	{                                                                                                    \
		.name = "name", .kind = JSON_KIND_STRING, .flags = JSON_REQUIRED, .min = 1,                  \
		.max = VPF_NAME_MAX - 1, .doc = (what)                                                       \
	}

const char *param_string(const json_t *params, const char *name); /* NULL: not given */
/* -ENOENT with `err` about `field`. */
int param_pf(const struct api_env *env, const json_t *params, const char *field, const struct model_pf **ret,
	     struct err *err);
int param_fabric(const struct api_env *env, const json_t *params, const char *field,
		 const struct model_fabric **ret, struct err *err);
