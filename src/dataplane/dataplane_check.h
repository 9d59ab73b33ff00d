/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* dataplane_ops.list_check on a fabric: what a list of datapaths can do there, or why it cannot be had.
 * Thread-safety: main thread. */

#include "dataplane/dataplane.h"

struct fabric;

int dataplane_list_check(const struct fabric *fabric, unsigned int queue_pairs,
			 const struct datapath_list *list, struct datapath_ability *ret, struct err *err);
