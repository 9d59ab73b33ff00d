/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a list of datapaths can do on a fabric, or why it is refused: dataplane_ops.list_check.
 * Thread-safety: main thread. */

#include "dataplane/dataplane.h"

struct fabric;

int dataplane_list_check(const struct fabric *fabric, unsigned int queue_pairs,
			 const struct datapath_list *list, struct datapath_ability *ret, struct err *err);
/* What a currently unavailable datapath will most likely support: no offloads, split rings. */
uint64_t dataplane_least_features(unsigned int queue_pairs);
