/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/types.h"

const struct datapath_type datapath_type_builtin = {
	.base = {.name = "builtin", .help = "vpfd's workers"},
	.carries_control = true,
};
