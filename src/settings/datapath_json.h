/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The members of the objects in a list of datapaths, for use in tables; datapath_list_from_json() reads them. */

#include "settings/json_fields.h"

extern const struct json_field datapath_json_fields[];
