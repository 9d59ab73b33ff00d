/* SPDX-License-Identifier: Apache-2.0 */

#include "fabric/fabric.h"

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

bool fabric_link(enum link_mode mode, bool carrier)
{
	switch (mode) {
	case LINK_ENABLE:
		return true;
	case LINK_DISABLE:
		return false;
	case LINK_AUTO:
		break;
	}
	return carrier;
}
