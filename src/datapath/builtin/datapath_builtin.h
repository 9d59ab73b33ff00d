/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The builtin datapath: vpfd's own workers serve the rings, and the frames meet the function's fabric: the
 * builtin one's switch, or the tap that another one's port is. It serves split and packed rings, and all
 * calls are answered before they return. Thread-safety: main thread. */

#include "datapath/datapath.h"

/* Workers found some ring broken: tells whose (datapath_events.ring_error). */
void datapath_builtin_check_rings(void);
