/* SPDX-License-Identifier: Apache-2.0 */

#include "fabric/provider.h"

#define ROW(type) {&fabric_type_##type, &fabric_##type},

const struct fabric_ops *fabric_ops_of(const struct fabric_type *type)
{
	static const struct {
		const struct fabric_type *type;
		const struct fabric_ops *ops;
	} rows[] = {ALL_FABRIC_TYPES(ROW)};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].type == type)
			return rows[i].ops;
	return NULL;
}
