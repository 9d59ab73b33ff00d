/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VPF_KEY_H
#define VPF_KEY_H

/* Keys of the VM, from SMBIOS: read once, when the module is loaded, then constant. */

#include "codec.h"

#define VPF_MAX_KEYS 8

extern struct vpf_key vpf_keys[VPF_MAX_KEYS];
extern unsigned int vpf_keys_n;

void vpf_keys_read(void);

#endif
