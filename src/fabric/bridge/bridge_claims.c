/* SPDX-License-Identifier: Apache-2.0 */

/* Who owns an address in a bridge: as in the builtin fabric, administrative before permanent before
 * driver-programmed, and among equals the function that was added first. */

#include "fabric/bridge/bridge.h"

#include <string.h>

#include "util/ether.h"

struct bid {
	uint64_t mac;
	unsigned int port;
	uint8_t kind;
	bool main, won;
};

static int by_mac(const void *a, const void *b)
{
	const struct bid *x = a, *y = b;

	if (x->mac != y->mac)
		return x->mac < y->mac ? -1 : 1;
	return x->port < y->port ? -1 : x->port > y->port;
}

static void set_bit(uint64_t set[64], unsigned int vid)
{
	set[vid / 64] |= 1ULL << (vid % 64);
}

bool bridge_vlans(const struct bridge_fabric *f, const struct function_settings *s, struct brport_vlans *ret)
{
	uint16_t none = f->info.default_pvid;

	memset(ret, 0, sizeof(*ret));
	if (!f->info.vlan_filtering)
		return false;
	switch (s->vlan.mode) {
	case VLAN_ACCESS:
		ret->pvid = s->vlan.vid;
		set_bit(ret->member, ret->pvid);
		set_bit(ret->untagged, ret->pvid);
		return true;
	case VLAN_TRUNK:
		memcpy(ret->member, s->vlan.trunk, sizeof(ret->member));
		ret->member[0] &= ~1ULL;
		if (!vlan_trunk_allows(&s->vlan, 0))
			return true;
		break;
	case VLAN_NONE:
		break;
	}
	/* A bridge without default_pvid has no place for untagged frames. */
	if (none) {
		ret->pvid = none;
		set_bit(ret->member, none);
		set_bit(ret->untagged, none);
	}
	return true;
}

/* Whether both ports are in some VLAN. */
static bool meet(const struct bridge_fabric *f, const struct bridge_port *a, const struct bridge_port *b)
{
	struct brport_vlans va, vb;

	if (!bridge_vlans(f, &a->base.settings, &va) || !bridge_vlans(f, &b->base.settings, &vb))
		return true;
	for (unsigned int i = 0; i < ARRAY_SIZE(va.member); i++)
		if (va.member[i] & vb.member[i])
			return true;
	return false;
}

static void decide(struct bridge_fabric *f, struct bid *bids, unsigned int n)
{
	static const enum fdb_kind order[] = {FDB_ADMIN, FDB_PERMANENT, FDB_DRIVER};

	for (unsigned int k = 0; k < ARRAY_SIZE(order); k++) {
		for (unsigned int i = 0; i < n; i++) {
			struct bridge_port *p = bridge_port(f, bids[i].port);
			bool taken = false, twice = false;

			if (bids[i].kind != order[k])
				continue;
			for (unsigned int j = 0; j < n && !taken && !twice; j++) {
				if (!bids[j].won)
					continue;
				twice = bids[j].port == bids[i].port;
				taken = !twice && meet(f, p, bridge_port(f, bids[j].port));
			}
			if (taken && bids[i].main)
				p->conflict = true;
			if (taken || twice)
				continue;
			bids[i].won = true;
			p->owned[p->n_owned++] = (struct claim){bids[i].mac, order[k]};
		}
	}
}

int bridge_claim(struct bridge_fabric *f)
{
	_cleanup_free_ struct bid *bids = calloc(f->base.n_ports + 1, MAX_CLAIMS * sizeof(*bids));
	unsigned int n = 0, from = 0;

	if (!bids)
		return -ENOMEM;
	for (unsigned int i = 0; i < f->base.n_ports; i++) {
		struct bridge_port *p = bridge_port(f, i);
		struct claim claims[MAX_CLAIMS];
		unsigned int count = claims_of(&p->base, claims);

		p->n_owned = 0;
		p->conflict = false;
		for (unsigned int k = 0; k < count; k++)
			bids[n++] = (struct bid){.mac = claims[k].mac,
						 .port = i,
						 .kind = (uint8_t)claims[k].kind,
						 .main = k == 0};
	}
	qsort(bids, n, sizeof(*bids), by_mac);
	for (unsigned int i = 1; i <= n; i++) {
		if (i < n && bids[i].mac == bids[from].mac)
			continue;
		decide(f, bids + from, i - from);
		from = i;
	}
	return 0;
}
