/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/types.h"

const struct fabric_type fabric_type_builtin = {
	.base = {.name = "builtin", .help = "vpfd's own switch"},
	.datapaths = "builtin",
};
