/* SPDX-License-Identifier: Apache-2.0 */

#include "fabric/provider.h"

extern const struct fabric_ops fabric_builtin, fabric_bridge;

const struct fabric_ops *fabric_ops_of(enum fabric_type type)
{
	switch (type) {
	case FABRIC_BUILTIN:
		return &fabric_builtin;
	case FABRIC_BRIDGE:
		return &fabric_bridge;
	}
	return NULL;
}
