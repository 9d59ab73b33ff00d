/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/types.h"

const struct datapath_type datapath_type_dummy = {
	.base = {.name = "dummy", .help = "serves nothing, for tests"},
	.carries_control = true,
};
