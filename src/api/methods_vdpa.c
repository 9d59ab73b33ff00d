/* SPDX-License-Identifier: Apache-2.0 */

/* vdpa.list: what the host has for the datapath vdpa. */

#include "api/methods.h"
#include "datapath/datapath.h"

int method_vdpa_list(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	(void)call;
	(void)params;
	return datapath_inventory("vdpa", ret, err);
}
