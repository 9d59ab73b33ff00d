/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The API's objects, as docs/api.md describes them. New references; NULL: out of memory. Thread-safety: main
 * thread. */

#include "api/env.h"
#include "broker/binding.h"

json_t *object_fabric(const struct api_env *env, const struct model_fabric *f);
/* `functions`: with an array of them, else with the number of connected ones. */
json_t *object_pf(const struct api_env *env, const struct model_pf *pf, bool functions);
json_t *object_function(const struct api_env *env, const struct model_pf *pf, unsigned int fn);
/* Which datapath serves a function, as text; null: none does. */
json_t *object_serving(const struct binding_info *info);
json_t *object_stats(const struct port_stats *s); /* without what they are of */
json_t *object_fdb_row(const struct fdb_row *row);
json_t *object_vf(unsigned int fn); /* the number of the VF, null for the PF itself */
