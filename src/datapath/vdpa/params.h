/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a preference for vdpa says: globs (fnmatch(3)), "" none. */

#include "settings/params.h"

struct vdpa_params {
	char device[100]; /* names of existing vDPA devices that may be used */
	char mgmtdev[64]; /* management devices ("vduse", "pci/0000:3b:00.2") on which a device may be created */
};
PARAMS_OF(vdpa_params)
