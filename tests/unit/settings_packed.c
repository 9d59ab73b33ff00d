/* SPDX-License-Identifier: Apache-2.0 */

#include "settings_packed.h"

#include <net/if.h>

#include "settings/datapath_list.h"
#include "util/ether.h"
#include "util/util.h"

/* What this file includes before has its usual layout, the structures of this header have no padding. */
#pragma pack(push, 1)
#include "settings/settings.h"
#pragma pack(pop)

const size_t packed_function = sizeof(struct function_settings);
const size_t packed_vlan = sizeof(struct vlan_settings);
const size_t packed_pf = sizeof(struct pf_settings);
