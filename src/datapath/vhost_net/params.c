/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/types.h"

const struct datapath_type datapath_type_vhost_net = {
	.base = {.name = "vhost-net", .help = "the kernel's, on a bridge"},
};
