/* SPDX-License-Identifier: Apache-2.0 */

#include "fabric/bridge/params.h"

static int check(const struct fabric_settings *s, struct err *err)
{
	if (!bridge_name(s)[0])
		return err_set(err, EINVAL, "bridge",
			       "must name the bridge, which is created if there is none");
	return 0;
}

static const struct param params[] = {
	{PARAM(bridge_params, bridge), .form = PARAM_NETDEV, .flags = PARAM_FIXED | PARAM_EXCLUSIVE,
	 .what = "bridge",
	 .help = "its netdev; if there is none of that name it is created, and removed with the fabric"},
	{0},
};

const struct fabric_type fabric_type_bridge = {
	.base = {.name = "bridge",
		 .help = "a bridge of the host's kernel, with a tap for each function in use",
		 .params = params},
	.datapaths = "vhost-net,builtin",
	.check = check,
};
