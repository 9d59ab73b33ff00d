/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The forwarding database: (VLAN, MAC) → port.
 *
 * One writer (the main thread), any number of readers (the workers) that neither lock nor write, except for
 * the time a learned address was last seen. A slot once given a key keeps it for the life of its table, so a
 * reader never pairs the key of one entry with the port of another. Entries are added and forgotten
 * in place; anything else that changes one makes a new table, publishes it (RCU), and frees the old one after
 * a grace period.
 *
 * Hashing is keyed with a random number per table, so guests cannot choose addresses that collide. At most
 * half of the slots are used. */

#include <urcu-qsbr.h>

#include "settings/counters.h"
#include "switch/pkt.h"

struct sw_port;

struct fdb_slot {
	uint64_t key;         /* 0: free; else FDB_KEY() */
	struct sw_port *port; /* NULL: forgotten */
};

struct fdb_meta {      /* apart from the slots, since forwarding does not need it */
	uint32_t seen; /* s, CLOCK_MONOTONIC; learned entries */
	uint8_t kind;  /* enum fdb_kind */
};

struct fdb {
	unsigned int shift; /* 64 - log2(slots) */
	unsigned int used, slots;
	unsigned int any;    /* entries with VLAN_KEY_ANY */
	uint64_t multiplier; /* odd, random */
	struct fdb_meta *meta;
	struct fdb_slot slot[];
};

#define FDB_KEY(mac, vlan) ((mac) | (uint64_t)(vlan) << 48 | 1ULL << 63)
#define FDB_KEY_MAC(key)   ((key)&0xffffffffffffULL)
#define FDB_KEY_VLAN(key)  ((uint16_t)((key) >> 48 & 0x1fff))

/* A table with room for `entries`. -ENOMEM. */
int fdb_new(unsigned int entries, struct fdb **ret);
void fdb_free(struct fdb *fdb);

/* Adds an entry; -EEXIST if the key is there and not forgotten, -ENOSPC if the table is full. Writer only. */
int fdb_add(struct fdb *fdb, uint64_t mac, uint16_t vlan, struct sw_port *port, enum fdb_kind kind,
	    uint32_t seen);

/* Forgets what is known of a slot: its port is NULL from now on. The caller waits for a grace period before it
 * frees the port. Writer only. */
void fdb_forget(struct fdb *fdb, unsigned int slot);

/* The slot of exactly this key; NULL. */
static inline const struct fdb_slot *fdb_find(const struct fdb *fdb, uint64_t mac, uint16_t vlan)
{
	uint64_t key = FDB_KEY(mac, vlan);
	unsigned int mask = fdb->slots - 1;

	for (unsigned int i = (unsigned int)((key * fdb->multiplier) >> fdb->shift);; i = (i + 1) & mask) {
		uint64_t have = __atomic_load_n(&fdb->slot[i].key, __ATOMIC_ACQUIRE);

		if (likely(have == key))
			return &fdb->slot[i];
		if (!have)
			return NULL;
	}
}

/* The port that a frame to `mac` in `vlan` goes to; NULL: unknown. The caller checks that the owner of an
 * "any VLAN" entry takes part in vlan. */
static inline struct sw_port *fdb_lookup(const struct fdb *fdb, uint64_t mac, uint16_t vlan)
{
	const struct fdb_slot *s = fdb_find(fdb, mac, vlan);

	if (unlikely(!s && fdb->any))
		s = fdb_find(fdb, mac, VLAN_KEY_ANY);
	return s ? __atomic_load_n(&s->port, __ATOMIC_RELAXED) : NULL;
}
