/* SPDX-License-Identifier: Apache-2.0 */

#include "datapath/datapath.h"

extern const struct datapath_ops datapath_builtin, datapath_vhost_net, datapath_vhost_user, datapath_vdpa;

const struct datapath_ops *datapath_ops_of(enum datapath_type type)
{
	switch (type) {
	case DATAPATH_BUILTIN:
		return &datapath_builtin;
	case DATAPATH_VHOST_NET:
		return &datapath_vhost_net;
	case DATAPATH_VHOST_USER:
		return &datapath_vhost_user;
	case DATAPATH_VDPA:
		return &datapath_vdpa;
	case DATAPATH_TYPES:
		break;
	}
	return NULL;
}
