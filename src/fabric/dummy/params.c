/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/types.h"

const struct fabric_type fabric_type_dummy = {
	.base = {.name = "dummy", .help = "carries nothing, for tests"},
	.datapaths = "dummy",
};
