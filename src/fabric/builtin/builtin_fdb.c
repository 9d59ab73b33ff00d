/* SPDX-License-Identifier: Apache-2.0 */

/* From settings and drivers' wishes to the address table and the ports' configurations. */

#include <string.h>

#include "fabric/builtin/builtin.h"

static uint16_t claim_vlan(const struct function_settings *s)
{
	switch (s->vlan.mode) {
	case VLAN_ACCESS:
		return vlan_key(s->vlan.vid, s->vlan.tpid);
	case VLAN_TRUNK:
		return VLAN_KEY_ANY;
	case VLAN_NONE:
		break;
	}
	return 0;
}

/* True if a trunk port owns `mac` and takes part in `vlan`: the address is taken there. */
static bool taken_by_trunk(const struct fdb *fdb, uint64_t mac, uint16_t vlan, const struct sw_port *self)
{
	const struct fdb_slot *s;
	const struct builtin_port *owner;

	if (vlan & VLAN_KEY_AD || !fdb->any)
		return false;
	s = fdb_find(fdb, mac, VLAN_KEY_ANY);
	if (!s || !s->port || s->port == self)
		return false;
	owner = s->port->owner;
	return vlan_trunk_allows(&owner->base.settings.vlan, vlan);
}

/* True if another port owns `mac` in one of the VLANs of a trunk. `single` has the addresses that are owned
 * in some single VLAN, so that the VLANs are gone through only when there is something to find. */
static bool taken_in_trunk(const struct fdb *fdb, const struct fdb *single, uint64_t mac,
			   const struct vlan_settings *trunk)
{
	if (!fdb_find(single, mac, 0))
		return false;
	for (uint16_t vid = 0; vid < 4095; vid++)
		if (vlan_trunk_allows(trunk, vid) && fdb_find(fdb, mac, vid))
			return true;
	return false;
}

/* Adds the claims of one kind; the table holds those that come before it. */
static int add_claims(struct builtin_fabric *f, struct fdb *fdb, struct fdb *single, enum fdb_kind kind,
		      bool *conflict)
{
	for (unsigned int i = 0; i < f->base.n_ports; i++) {
		struct builtin_port *p = builtin_port(f, i);
		uint16_t vlan = claim_vlan(&p->base.settings);
		struct claim claims[MAX_CLAIMS];
		unsigned int n = claims_of(&p->base, claims);

		for (unsigned int k = 0; k < n; k++) {
			int r;

			if (claims[k].kind != kind)
				continue;
			if (vlan == VLAN_KEY_ANY
				    ? taken_in_trunk(fdb, single, claims[k].mac, &p->base.settings.vlan)
				    : taken_by_trunk(fdb, claims[k].mac, vlan, p->port))
				r = -EEXIST;
			else
				r = fdb_add(fdb, claims[k].mac, vlan, p->port, kind, 0);
			if (!r && vlan != VLAN_KEY_ANY)
				(void)fdb_add(single, claims[k].mac, 0, p->port, kind,
					      0); /* there already: as good */
			if (r == -EEXIST && k == 0 && fdb_lookup(fdb, claims[k].mac, vlan) != p->port)
				conflict[i] = true;
			else if (r == -ENOSPC)
				return r;
		}
	}
	return 0;
}

bool builtin_may_learn(const struct builtin_fabric *f, const struct fdb *fdb, const struct builtin_port *p,
		       uint64_t mac, uint16_t vlan)
{
	const struct vlan_settings *v = &p->base.settings.vlan;

	if (!f->base.settings.learning || p->base.settings.spoofchk || p->base.elsewhere ||
	    !claim_usable(mac) || taken_by_trunk(fdb, mac, vlan, NULL))
		return false;
	return v->mode == VLAN_TRUNK ? !(vlan & VLAN_KEY_AD) && vlan_trunk_allows(v, vlan)
				     : vlan == claim_vlan(&p->base.settings);
}

/* Learned addresses that are still allowed, and that no claim has taken, stay. */
static void keep_learned(struct builtin_fabric *f, struct fdb *fdb)
{
	const struct fdb *old = f->sw.fdb;
	unsigned int learned = 0;

	for (unsigned int i = 0; i < f->base.n_ports; i++)
		builtin_port(f, i)->port->learned = 0;
	for (unsigned int i = 0; i < old->slots; i++) {
		uint64_t mac = FDB_KEY_MAC(old->slot[i].key);
		uint16_t vlan = FDB_KEY_VLAN(old->slot[i].key);
		struct sw_port *port = old->slot[i].port;

		/* A NULL port: it was forgotten. */
		if (!old->slot[i].key || old->meta[i].kind != FDB_LEARNED || !port)
			continue;
		if (port->learned >= f->base.settings.max_learned ||
		    !builtin_may_learn(f, fdb, port->owner, mac, vlan))
			continue;
		if (!fdb_add(fdb, mac, vlan, port, FDB_LEARNED,
			     __atomic_load_n(&old->meta[i].seen, __ATOMIC_RELAXED))) {
			port->learned++;
			learned++;
		}
	}
	f->learned = learned;
}

static void tell_conflicts(struct builtin_fabric *f, const bool *conflict)
{
	for (unsigned int i = 0; i < f->base.n_ports; i++) {
		struct builtin_port *p = builtin_port(f, i);
		bool was = p->base.mac_conflict;

		p->base.mac_conflict = conflict[i];
		__atomic_store_n(&p->port->learn_full, p->port->learned >= f->base.settings.max_learned,
				 __ATOMIC_RELAXED);
		if (conflict[i] && !was) {
			struct claim claims[MAX_CLAIMS];
			uint8_t mac[6];

			claims_of(&p->base, claims);
			mac_store(mac, claims[0].mac);
			fabric_tell_conflict(&p->base, mac);
		}
	}
}

int builtin_build_fdb(struct builtin_fabric *f, struct fdb **ret)
{
	static const enum fdb_kind owned[] = {FDB_ADMIN, FDB_PERMANENT, FDB_DRIVER};
	_cleanup_free_ bool *conflict = calloc(f->base.n_ports + 1, sizeof(bool));
	unsigned int want = 64;
	struct fdb *fdb, *single;
	int r;

	/* Room for what drivers may add, and as much again for learning without a rebuild. */
	for (unsigned int i = 0; i < f->base.n_ports; i++) {
		const struct builtin_port *p = builtin_port(f, i);

		want += 2 + (p->base.filter ? p->base.filter->unicast_n : 0) + p->port->learned;
	}
	r = fdb_new(want, &single);
	if (r < 0)
		return r;
	if (f->base.settings.learning)
		want += MIN(want, 4096u) + 256;
	r = conflict ? fdb_new(want, &fdb) : -ENOMEM;
	if (r < 0) {
		fdb_free(single);
		return r;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(owned) && !r; i++)
		r = add_claims(f, fdb, single, owned[i], conflict);
	fdb_free(single);
	if (r < 0) {
		fdb_free(fdb);
		return r;
	}
	keep_learned(f, fdb);
	tell_conflicts(f, conflict);
	*ret = fdb;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Which multicast frames the port gets. */
static void set_groups(const struct builtin_port *p, const struct rx_filter *filter, struct port_conf *c)
{
	bool may_more = p->base.settings.trust && p->base.policy.promisc;

	/* Nothing heard; or a driver that leaves the device as it is after a reset (QEMU's
	 * virtio_net_reset(): promiscuous, no addresses) and filters by itself: not having asked for groups,
	 * it cannot be asked which. One with more groups than the device has room for gets all, too. */
	c->all_groups = !filter || filter->multicast_overflow ||
			(filter->promiscuous && !filter->all_multicast && !filter->unicast_n &&
			 !filter->multicast_n) ||
			(may_more && (filter->promiscuous || filter->all_multicast));
	if (c->all_groups)
		return;
	for (unsigned int i = 0; i < filter->multicast_n; i++) {
		uint64_t group = mac_load(filter->multicast[i]);

		c->macs[c->n_macs + c->n_groups++] = group;
		c->group_bits |= GROUP_BIT(group);
	}
	qsort(c->macs + c->n_macs, c->n_groups, sizeof(c->macs[0]), by_number);
}

struct port_conf *builtin_port_conf(const struct builtin_port *p, bool link_up, const struct fdb *fdb)
{
	const struct rx_filter *filter = p->base.filter && p->base.filter->known ? p->base.filter : NULL;
	const struct function_settings *s = &p->base.settings;
	uint64_t total = p->port->shaper.pool->cost;
	uint16_t vlan = claim_vlan(s);
	struct claim claims[MAX_CLAIMS];
	unsigned int n = claims_of(&p->base, claims);
	struct port_conf *c =
		calloc(1, sizeof(*c) + (n + (filter ? filter->multicast_n : 0)) * sizeof(c->macs[0]));

	if (!c)
		return NULL;
	c->link_up = link_up && !p->base.elsewhere;
	c->spoofchk = s->spoofchk;
	c->trusted = s->trust;
	c->promisc = s->trust && p->base.policy.promisc && filter && filter->promiscuous;
	c->learn = p->base.fabric->settings.learning && !s->spoofchk;
	c->mode = s->vlan.mode;
	c->vlan = s->vlan.mode == VLAN_ACCESS ? vlan : 0;
	c->pcp = s->vlan.pcp;
	c->rate.max_cost = shaper_cost(s->max_rate);
	c->rate.min_cost = total ? shaper_cost(s->min_rate) : 0; /* there is something to have a share of */
	c->rate.limited = c->rate.max_cost || total;
	c->max_frame = s->mtu + (uint32_t)PKT_ETH_LEN;
	memcpy(c->trunk, s->vlan.trunk, sizeof(c->trunk));
	for (unsigned int i = 0; i < n; i++)
		if (fdb_lookup(fdb, claims[i].mac, vlan) == p->port)
			c->macs[c->n_macs++] = claims[i].mac;
	c->mac = c->n_macs ? c->macs[0] : 0;
	set_groups(p, filter, c);
	return c;
}
