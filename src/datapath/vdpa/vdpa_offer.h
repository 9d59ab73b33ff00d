/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What all devices that a preference may select can do: asked when a list is configured, before any is in use. What
 * they do not report beforehand turns out when one is prepared, and the next is tried then.
 *
 * Thread-safety: main thread; waits for the kernel up to 300 ms (vdpa_pool_snapshot()). */

#include "datapath/datapath.h"

/* As datapath_ops.features and .enforces. */
uint64_t vdpa_offer_features(const struct datapath_pref *pref, unsigned int queue_pairs, struct err *err);
uint32_t vdpa_offer_enforces(const struct datapath_pref *pref);
