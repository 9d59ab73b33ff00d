/* SPDX-License-Identifier: Apache-2.0 */

#include "datapath/vhost_user/params.h"

#include "settings/types.h"

static int check(const struct params *values, struct err *err)
{
	const char *path = vhost_user_params_of(values)->path;

	if (!*path)
		return err_set(
			err, EINVAL, "datapaths",
			"vhost-user needs path=, the absolute path of the back-end's socket, in which {pf} and {vf} stand for the function's names");
	if (*path != '/')
		return err_set(err, EINVAL, "datapaths",
			       "path of vhost-user must be absolute, such as /run/x.sock, not %s", path);
	return 0;
}

static const struct param params[] = {
	{PARAM(vhost_user_params, path), .form = PARAM_PATH,
	 .flags = PARAM_EXCLUSIVE | PARAM_TEMPLATE | PARAM_FIRST, .what = "socket",
	 .help = "the back-end's socket; {pf} and {vf} stand for the names of PF and VF"},
	{PARAM(vhost_user_params, server), .help = "vpfd listens and the back-end connects (default false)"},
	{PARAM(vhost_user_params, offload),
	 .help = "the back-end takes checksum and segmentation offload (default false)"},
	{0},
};

const struct datapath_type datapath_type_vhost_user = {
	.base = {.name = "vhost-user", .help = "another back-end", .params = params},
	.check = check,
};
