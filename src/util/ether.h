/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Ethernet's numbers, and MAC addresses as numbers. Thread-safety: pure. */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ETHER_TPID_Q  0x8100 /* IEEE 802.1Q: a customer's VLAN tag */
#define ETHER_TPID_AD 0x88a8 /* IEEE 802.1ad: a provider's */

static inline uint16_t load_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void store_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline uint32_t load_be32(const uint8_t *p)
{
	return (uint32_t)load_be16(p) << 16 | load_be16(p + 2);
}

static inline void store_be32(uint8_t *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, sizeof(v));
}

/* A MAC as a key, only to be compared and hashed: its byte order is the machine's. */
static inline uint64_t mac_load(const uint8_t *p)
{
	uint32_t lo;
	uint16_t hi;

	memcpy(&lo, p, 4);
	memcpy(&hi, p + 4, 2);
	return (uint64_t)hi << 32 | lo;
}

static inline void mac_store(uint8_t *p, uint64_t key)
{
	uint32_t lo = (uint32_t)key;
	uint16_t hi = (uint16_t)(key >> 32);

	memcpy(p, &lo, 4);
	memcpy(p + 4, &hi, 2);
}

#define MAC_KEY_BROADCAST 0xffffffffffffULL

static inline bool mac_key_is_multicast(uint64_t key)
{
	return key & 1;
}

static inline bool mac_is_multicast(const uint8_t mac[6])
{
	return mac[0] & 1;
}

static inline bool mac_is_zero(const uint8_t mac[6])
{
	return !(mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]);
}

/* A MAC as a number of 48 bits in the order in which it is written: for ranges and sums. */
static inline uint64_t mac_to_number(const uint8_t mac[6])
{
	return (uint64_t)load_be16(mac) << 32 | load_be32(mac + 2);
}

static inline void mac_from_number(uint64_t number, uint8_t ret[6])
{
	store_be16(ret, (uint16_t)(number >> 32));
	store_be32(ret + 2, (uint32_t)number);
}
