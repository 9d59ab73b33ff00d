// SPDX-License-Identifier: GPL-2.0-only
/* The codec exactly as vpf.ko has it. */
#include "codec.c"
