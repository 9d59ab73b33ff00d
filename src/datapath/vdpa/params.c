/* SPDX-License-Identifier: Apache-2.0 */

#include "datapath/vdpa/params.h"

#include "settings/types.h"

static int check(const struct params *values, struct err *err)
{
	const struct vdpa_params *p = vdpa_params_of(values);

	if (!p->device[0] && !p->mgmtdev[0])
		return err_set(
			err, EINVAL, "datapaths",
			"vdpa needs device= (which existing vDPA devices may be used, such as vdpa*), mgmtdev= (management devices on which one may be made), or both");
	return 0;
}

static const struct param params[] = {
	{PARAM(vdpa_params, device), .flags = PARAM_FIRST, .what = "glob",
	 .help = "pattern (as of file names) of existing vDPA devices that may be used"},
	{PARAM(vdpa_params, mgmtdev), .flags = PARAM_FIRST, .what = "glob",
	 .help = "pattern of management devices on which one may be made"},
	{0},
};

const struct datapath_type datapath_type_vdpa = {
	.base = {.name = "vdpa", .help = "a kernel vhost-vdpa device", .params = params},
	.check = check,
};
