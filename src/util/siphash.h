/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* SipHash-2-4, a keyed hash for short inputs (J.-P. Aumasson, D. J. Bernstein: "SipHash: a fast short-input
 * PRF", 2012). The result does not depend on the machine's byte order. Thread-safety: pure. */

#include <stddef.h>
#include <stdint.h>

uint64_t siphash24(const uint8_t key[16], const void *data, size_t size);
