/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

/* What kmod/codec.c needs of the kernel, in user space: in place of kmod/codec_kernel.h, whose include guard
 * it takes. */
#define VPF_CODEC_KERNEL_H

#include <endian.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "util/siphash.h"

#define ETH_ALEN 6
#define S32_MAX  INT32_MAX

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

typedef struct {
	u64 key[2];
} siphash_key_t;

#define le16_to_cpu le16toh
#define le32_to_cpu le32toh
#define le64_to_cpu le64toh
#define cpu_to_le16 htole16
#define cpu_to_le32 htole32
#define cpu_to_le64 htole64

static inline u64 get_unaligned_le64(const void *p)
{
	u64 value;

	memcpy(&value, p, sizeof(value));
	return le64toh(value);
}

static inline u64 siphash(const void *data, size_t len, const siphash_key_t *key)
{
	u64 bytes[2] = {htole64(key->key[0]), htole64(key->key[1])};

	return siphash24((const u8 *)bytes, data, len);
}

static inline bool is_valid_ether_addr(const u8 *mac)
{
	return !(mac[0] & 1) && (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]);
}
