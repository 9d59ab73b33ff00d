/* SPDX-License-Identifier: Apache-2.0 */

#include "datapath/datapath.h"

/* NULL: not built in; a list that names it is refused. */
static const struct datapath_ops *const datapaths[DATAPATH_TYPES] = {
	[DATAPATH_BUILTIN] = &datapath_builtin,
	[DATAPATH_VHOST_NET] = &datapath_vhost_net,
	[DATAPATH_VHOST_USER] = &datapath_vhost_user,
	[DATAPATH_VDPA] = &datapath_vdpa,
};

const struct datapath_ops *datapath_ops_of(enum datapath_type type)
{
	return (unsigned int)type < DATAPATH_TYPES ? datapaths[type] : NULL;
}
