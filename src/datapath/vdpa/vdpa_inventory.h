/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* datapath_ops.inventory of the datapath vdpa: {"mgmtdevs": […], "devices": […]}. Main thread. */

#include <jansson.h>

#include "util/err.h"

int vdpa_inventory(json_t **ret, struct err *err);
