/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VPF_CODEC_KERNEL_H
#define VPF_CODEC_KERNEL_H

/* All that codec.c needs of the kernel: integer types, byte orders, strings, SipHash. A program
 * that runs the codec in user space (a fuzzer) has a header of its own in place of this one.
 */
#include <linux/etherdevice.h>
#include <linux/siphash.h>
#include <linux/string.h>
#include <linux/types.h>

#include "compat.h"

#endif
