/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The VLANs of a trunk as text: numbers and ranges separated by commas, "0,10-20,30"; 0 stands for untagged
 * frames. Thread-safety: pure. */

#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

/* Long enough for any set: every second VLAN alone, "4094," at most each. */
#define VLAN_SET_TEXT_MAX (2048 * 5 + 1)

/* -EINVAL with `err` about `field`: empty, not a number, above 4094, a range that runs backwards. Overlaps
 * are fine. On failure `ret` is untouched. */
int vlan_set_parse(const char *text, const char *field, uint64_t ret[64], struct err *err);
/* The shortest text, in ascending order; returns ret. */
const char *vlan_set_format(const uint64_t set[64], char ret[VLAN_SET_TEXT_MAX]);
