/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/datapath_json.h"

#include "settings/types_json.h"

static bool make_row(unsigned int i, struct json_made *ret)
{
	if (!i) {
		types_json_type(datapath_types, JSON_REQUIRED, "", ret);
		return true;
	}
	if (!types_json_param(datapath_types, i - 1, "", ret))
		return false;
	if (ret->field.kind == JSON_KIND_STRING)
		ret->field.min = 1;
	return true;
}

const struct json_field datapath_json_fields[] = {{.make = make_row}, {0}};
