/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How many bytes the members of the structures of settings have together, without the padding between them. */

#include <stddef.h>

extern const size_t packed_function, packed_vlan, packed_pf;
