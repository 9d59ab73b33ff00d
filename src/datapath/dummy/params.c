/* SPDX-License-Identifier: Apache-2.0 */

#include "datapath/dummy/params.h"

#include "settings/types.h"

static const struct param params[] = {
	{PARAM(dummy_params, name), .what = "dummy", .help = "which of several it is"},
	{0},
};

const struct datapath_type datapath_type_dummy = {
	.base = {.name = "dummy", .help = "serves nothing, for tests", .params = params},
	.carries_control = true,
};
