/* SPDX-License-Identifier: Apache-2.0 */

#include "datapath/datapath.h"

#define ROW(type) {&datapath_type_##type, &datapath_##type},

const struct datapath_ops *datapath_ops_of(const struct datapath_type *type)
{
	static const struct {
		const struct datapath_type *type;
		const struct datapath_ops *ops;
	} rows[] = {ALL_DATAPATH_TYPES(ROW)};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].type == type)
			return rows[i].ops;
	return NULL;
}
