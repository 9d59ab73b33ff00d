/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reads the answer to query-rx-filter. Pure; thread-safe.
 * Sources: QEMU's qapi/net.json (RxFilterInfo), hw/net/virtio-net.c. */

#include <jansson.h>

#include "settings/rx_filter.h"

/* `ret` is the "return" value for one NIC: an array with one object. Addresses beyond VPF_MAX_DRIVER_MACS are
 * left out, and unicast_overflow or multicast_overflow is set. -EPROTO if it does not follow QEMU's
 * schema. */
int rx_filter_parse(const json_t *ret, struct rx_filter *filter);
bool rx_filter_equal(const struct rx_filter *a, const struct rx_filter *b);
