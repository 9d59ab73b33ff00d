/* SPDX-License-Identifier: Apache-2.0 */

#include "switch/fdb.h"

#include <sys/random.h>

int fdb_new(unsigned int entries, struct fdb **ret)
{
	unsigned int bits = 4;
	struct fdb *fdb;

	while (1u << bits < 2 * entries)
		bits++;
	fdb = calloc(1, sizeof(*fdb) + sizeof(fdb->slot[0]) * (1ul << bits));
	if (!fdb)
		return -ENOMEM;
	fdb->slots = 1u << bits;
	fdb->shift = 64 - bits;
	fdb->meta = calloc(fdb->slots, sizeof(*fdb->meta));
	if (!fdb->meta) {
		free(fdb);
		return -ENOMEM;
	}
	if (getrandom(&fdb->multiplier, sizeof(fdb->multiplier), GRND_NONBLOCK) != sizeof(fdb->multiplier))
		fdb->multiplier = 0x9e3779b97f4a7c15ULL; /* early boot: well spread, though not secret */
	fdb->multiplier |= 1;
	*ret = fdb;
	return 0;
}

void fdb_free(struct fdb *fdb)
{
	if (!fdb)
		return;
	free(fdb->meta);
	free(fdb);
}

int fdb_add(struct fdb *fdb, uint64_t mac, uint16_t vlan, struct sw_port *port, enum fdb_kind kind,
	    uint32_t seen)
{
	uint64_t key = FDB_KEY(mac, vlan);
	unsigned int mask = fdb->slots - 1;
	unsigned int i = (unsigned int)((key * fdb->multiplier) >> fdb->shift);

	for (; fdb->slot[i].key; i = (i + 1) & mask)
		if (fdb->slot[i].key == key) {
			if (fdb->slot[i].port)
				return -EEXIST;
			fdb->meta[i].kind = (uint8_t)kind;
			fdb->meta[i].seen = seen;
			__atomic_store_n(&fdb->slot[i].port, port, __ATOMIC_RELEASE);
			return 0;
		}
	if (2 * fdb->used >= fdb->slots)
		return -ENOSPC;
	fdb->meta[i].kind = (uint8_t)kind;
	fdb->meta[i].seen = seen;
	fdb->slot[i].port = port;
	__atomic_store_n(&fdb->slot[i].key, key, __ATOMIC_RELEASE);
	fdb->used++;
	if (vlan == VLAN_KEY_ANY)
		__atomic_store_n(&fdb->any, fdb->any + 1, __ATOMIC_RELEASE);
	return 0;
}

void fdb_forget(struct fdb *fdb, unsigned int slot)
{
	__atomic_store_n(&fdb->slot[slot].port, NULL, __ATOMIC_RELEASE);
}
