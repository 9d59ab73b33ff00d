/* SPDX-License-Identifier: Apache-2.0 */

/* An open port of a bridge: its tap, and how it is brought to what its settings mean. */

#include "fabric/bridge/bridge.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "util/ether.h"
#include "util/siphash.h"

#define NAME_TRIES 8

/* "vpf-PF-v3", "vpf-PF-pf"; of a longer name a hash, and another one with each try. */
static void make_name(char name[IFNAMSIZ], const struct bridge_port *p, unsigned int attempt)
{
	static const uint8_t key[16] = "taps of vpf";
	size_t len = strlen(p->base.pf);
	char what[8], pf[16];

	if (p->base.fn == VPF_FUNCTION_PF)
		snprintf(what, sizeof(what), "pf");
	else
		snprintf(what, sizeof(what), "v%u", (p->base.fn - 1) & 0xff);
	if (len <= 6 && !attempt) {
		snprintf(pf, sizeof(pf), "%.6s", p->base.pf);
	} else {
		uint64_t hash = siphash24(key, p->base.pf, len) + attempt * 0x9e3779b97f4a7c15ULL;

		snprintf(pf, sizeof(pf), "%06x", (unsigned int)(hash >> 40));
	}
	snprintf(name, IFNAMSIZ, "vpf-%.6s-%.4s", pf, what);
}

/* A name that is free, or that an earlier vpfd's tap has, which is then deleted: a tap goes with the last
 * process that has it open, and the earlier one may be at it still. */
static int free_name(struct bridge_port *p, char name[IFNAMSIZ])
{
	struct bridge_fabric *f = bridge_of_port(p);
	struct link_info have;

	for (unsigned int attempt = 0; attempt < NAME_TRIES; attempt++) {
		int r;

		make_name(name, p, attempt);
		r = link_get(f->nl, name, 0, &have);
		if (r == -ENODEV)
			return 0;
		if (r < 0)
			return r;
		if (!strncmp(have.alias, "vpf ", 4) && link_del(f->nl, have.ifindex) == 0)
			return 0;
	}
	return -EEXIST;
}

static int make_maps(struct bridge_port *p)
{
	struct bridge_group *group = bridge_group_of(p);

	p->maps.stats = bpf_new_map(true, sizeof(struct port_stats));
	if (p->maps.stats < 0)
		return p->maps.stats;
	p->maps.buckets = bpf_new_map(false, sizeof(struct port_prog_buckets));
	if (p->maps.buckets < 0)
		return p->maps.buckets;
	if (group->total_fd < 0)
		group->total_fd = bpf_new_map(false, sizeof(uint64_t));
	p->maps.total = group->total_fd;
	return p->maps.total < 0 ? p->maps.total : 0;
}

static int make_link(struct bridge_port *p)
{
	struct bridge_fabric *f = bridge_of_port(p);
	/* High, since a bridge without an address of its own takes the lowest of its ports'. */
	uint8_t mac[6] = {0xfe};
	char alias[64];
	struct link_change c = {
		.mac = mac,
		.mtu = MAX(p->base.settings.mtu, f->info.mtu), /* a lower one would be the bridge's, too */
		.alias = alias,
	};
	int r;

	snprintf(alias, sizeof(alias), "vpf %s %u", p->base.pf, p->base.fn);
	if (getrandom(mac + 1, 5, 0) != 5)
		return -EIO;
	r = link_set(f->nl, p->tap->ifindex, &c);
	if (r < 0)
		return r;
	p->applied.mtu = c.mtu;
	/* Without IPv6 in the kernel it has none either. */
	(void)link_no_addresses(f->nl, p->tap->ifindex);
	return bridge_host() & BRIDGE_HOST_PROGRAM ? make_maps(p) : 0;
}

int bridge_port_make(struct bridge_port *p, unsigned int queues, struct err *err)
{
	struct bridge_fabric *f = bridge_of_port(p);
	char name[IFNAMSIZ];
	int r = free_name(p, name);

	if (r < 0)
		return rtnl_err(f->nl, r, err, "find a name for a tap");
	r = tap_new(name, queues, &p->tap, err);
	if (r < 0)
		return r;
	p->maps = (struct port_prog_maps){-1, -1, -1, -1};
	p->applied = (struct bridge_applied){0};
	p->taken = (struct port_stats){0};
	r = make_link(p);
	if (r < 0) {
		rtnl_err(f->nl, r, err, "set up the tap %s", name);
		bridge_port_unmake(p);
		return r;
	}
	r = bridge_port_apply(p, err);
	if (r < 0)
		bridge_port_unmake(p);
	return r;
}

static void drop_tap_state(struct bridge_port *p)
{
	close_fd(&p->maps.stats);
	close_fd(&p->maps.buckets);
	close_fd(&p->maps.learned);
	free(p->applied.entries);
	p->applied = (struct bridge_applied){0};
}

void bridge_port_unmake(struct bridge_port *p)
{
	if (p->tap) {
		bridge_port_collect(p);
		drop_tap_state(p);
		tap_free(p->tap);
		p->tap = NULL;
	}
	p->told[0] = '\0';
	p->stuck = p->lost = p->waits = false;
}

void bridge_port_lose(struct bridge_port *p)
{
	bridge_port_collect(p);
	drop_tap_state(p);
	p->tap->ifindex = 0;
	p->base.gone = true;
	p->told[0] = '\0';
	p->stuck = p->waits = false;
}

int bridge_port_remake(struct bridge_port *p, struct err *err)
{
	struct bridge_fabric *f = bridge_of_port(p);
	char name[IFNAMSIZ];
	int r = free_name(p, name);

	if (r < 0)
		return rtnl_err(f->nl, r, err, "find a name for a tap");
	p->taken = (struct port_stats){0};
	r = tap_remake(p->tap, name);
	if (r == -EEXIST)
		return err_set(err, EEXIST, NULL, "somebody took the tap of %s to another network namespace",
			       p->base.pf);
	if (r < 0)
		err_set(err, -r, NULL, "cannot make the tap %s again: %s", name, strerror(-r));
	else if ((r = make_link(p)) < 0)
		rtnl_err(f->nl, r, err, "set up the tap %s", name);
	if (r < 0) { /* all or nothing, so that it can be tried again */
		struct link_info i;

		if (link_get(f->nl, name, 0, &i) == 0)
			(void)link_del(f->nl, i.ifindex);
		drop_tap_state(p);
		p->tap->ifindex = 0;
	}
	return r;
}

void bridge_port_collect(struct bridge_port *p)
{
	struct bridge_fabric *f = bridge_of_port(p);
	uint64_t *sum = (uint64_t *)p->stats;
	struct port_stats now = {0};
	struct link_info i;
	bool programs = p->maps.stats >= 0;

	if (!p->tap || !p->tap->ifindex ||
	    (programs && bpf_sum_map(p->maps.stats, (uint64_t *)&now, sizeof(now)) < 0))
		return;
	if (link_get(f->nl, NULL, p->tap->ifindex, &i) == 0) {
		if (!programs) {
			now.tx_packets = i.rx_packets;
			now.tx_bytes = i.rx_bytes;
		}
		/* What the function has taken; what was too much for its queues. */
		now.rx_packets = i.tx_packets;
		now.rx_bytes = i.tx_bytes;
		now.rx_drop[DROP_NO_BUFFER] += i.tx_dropped;
	} else { /* the netdev is gone already */
		now.rx_packets = p->taken.rx_packets;
		now.rx_bytes = p->taken.rx_bytes;
		now.rx_drop[DROP_NO_BUFFER] = p->taken.rx_drop[DROP_NO_BUFFER];
	}
	for (size_t k = 0; k < sizeof(now) / sizeof(uint64_t); k++)
		sum[k] += ((uint64_t *)&now)[k] - ((uint64_t *)&p->taken)[k];
	p->taken = now;
}

static unsigned int count_vlans(const struct brport_vlans *v)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(v->member); i++)
		n += (unsigned int)__builtin_popcountll(v->member[i]);
	return n;
}

static bool has_entry(const struct bridge_entry *list, unsigned int n, const struct bridge_entry *e)
{
	for (unsigned int i = 0; i < n; i++)
		if (list[i].mac == e->mac && list[i].vlan == e->vlan)
			return true;
	return false;
}

/* Removes entries of the bridge's table that are not among keep[0…n). */
static int remove_entries(struct bridge_port *p, const struct bridge_entry *keep, unsigned int n)
{
	struct bridge_applied *a = &p->applied;
	unsigned int left = 0;
	int r = 0;

	for (unsigned int i = 0; i < a->n_entries; i++) {
		uint8_t mac[6];
		int one;

		if (has_entry(keep, n, &a->entries[i])) {
			a->entries[left++] = a->entries[i];
			continue;
		}
		mac_store(mac, a->entries[i].mac);
		one = brport_fdb_del(bridge_of_port(p)->nl, p->tap->ifindex, mac, a->entries[i].vlan);
		if (one < 0 && one != -ENOENT) {
			a->entries[left++] = a->entries[i];
			r = one;
		}
	}
	a->n_entries = left;
	return r;
}

void bridge_port_release(struct bridge_port *p)
{
	struct bridge_applied *a = &p->applied;
	unsigned int n = 0;
	_cleanup_free_ struct bridge_entry *keep = calloc(a->n_entries + 1, sizeof(*keep));

	if (!p->tap || !p->tap->ifindex || !keep)
		return;
	for (unsigned int i = 0; i < a->n_entries; i++)
		for (unsigned int k = 0; k < p->n_owned; k++)
			if (p->owned[k].mac == a->entries[i].mac) {
				keep[n++] = a->entries[i];
				break;
			}
	(void)remove_entries(p, keep, n); /* what fails is tried again when the port is brought up to date */
}

/* The bridge's table: each of the port's addresses, in each of its VLANs. `refused`: those that are somebody
 * else's there. */
static int apply_entries(struct bridge_port *p, const struct brport_vlans *v, bool aware, bool none,
			 bool *refused)
{
	struct bridge_fabric *f = bridge_of_port(p);
	unsigned int vlans = aware ? count_vlans(v) : 1, n = 0;
	_cleanup_free_ struct bridge_entry *want = calloc(vlans * p->n_owned + 1, sizeof(*want));
	struct bridge_applied *a = &p->applied;
	struct bridge_entry *entries;
	int r;

	entries = realloc(a->entries, (a->n_entries + vlans * p->n_owned + 1) * sizeof(*entries));
	if (entries)
		a->entries = entries;
	if (!entries || !want)
		return -ENOMEM;
	for (unsigned int i = 0; i < p->n_owned && !none; i++) {
		for (uint16_t vid = 0; vid < 4095; vid++)
			if (aware ? v->member[vid / 64] >> (vid % 64) & 1 : vid == 0)
				want[n++] = (struct bridge_entry){p->owned[i].mac, vid};
	}
	r = remove_entries(p, want, n);
	for (unsigned int i = 0; i < n && !r; i++) {
		uint8_t mac[6];

		if (has_entry(a->entries, a->n_entries, &want[i]))
			continue;
		mac_store(mac, want[i].mac);
		r = brport_fdb_add(f->nl, f->ifindex, p->tap->ifindex, mac, want[i].vlan);
		if (!r)
			a->entries[a->n_entries++] = want[i];
		if (r != -EEXIST)
			continue;
		r = 0;
		for (unsigned int k = 0; k < p->n_owned; k++)
			if (p->owned[k].mac == want[i].mac)
				refused[k] = true;
	}
	return r;
}

/* What a function without spoof check sends from is learned, if the fabric learns. */
static bool learns(const struct bridge_port *p)
{
	const struct fabric_settings *s = &p->base.fabric->settings;

	return !p->base.settings.spoofchk && s->learning && s->max_learned;
}

static void program_conf(const struct bridge_port *p, bool aware, const bool *refused,
			 struct port_prog_conf *c)
{
	const struct function_settings *s = &p->base.settings;

	memset(c, 0, sizeof(*c));
	c->vlan.mode = s->vlan.mode;
	if (s->vlan.mode == VLAN_ACCESS) {
		c->vlan.vid = s->vlan.vid;
		c->vlan.pcp = s->vlan.pcp;
		c->vlan.tpid = s->vlan.tpid;
	} else if (s->vlan.mode == VLAN_TRUNK) {
		memcpy(c->vlan.trunk, s->vlan.trunk, sizeof(c->vlan.trunk));
	}
	c->vlan_aware = aware;
	c->spoofchk = s->spoofchk;
	c->trusted = s->trust;
	c->mtu = s->mtu;
	c->max_rate = s->max_rate;
	c->total_rate = p->base.group->max_rate_total;
	c->min_rate = c->total_rate ? s->min_rate : 0; /* there is something to have a share of */
	if (learns(p))
		c->max_learned = p->base.fabric->settings.max_learned;
	for (unsigned int i = 0; i < p->n_owned; i++)
		if (!refused[i])
			c->macs[c->n_macs++] = p->owned[i].mac;
}

/* A program that is in force goes on with its own set of addresses until the new one is. */
static int load_programs(struct bridge_port *p, const struct port_prog_conf *c, int learned)
{
	struct rtnl *nl = bridge_of_port(p)->nl;
	struct port_prog_maps maps = p->maps;
	_cleanup_close_ int in = -1, out = -1;
	int r;

	if (learned >= 0)
		maps.learned = learned;
	in = port_prog_load(c, &maps, true, NULL, 0);
	if (in < 0)
		return in;
	out = port_prog_load(c, &maps, false, NULL, 0);
	if (out < 0)
		return out;
	r = tc_add_clsact(nl, p->tap->ifindex); /* where they go: new, or removed by somebody */
	if (r < 0 && r != -EEXIST)
		return r;
	p->applied.prog_set = false; /* with one of the two nothing is */
	r = tc_set_program(nl, p->tap->ifindex, true, in, "vpf");
	return r < 0 ? r : tc_set_program(nl, p->tap->ifindex, false, out, "vpf");
}

static int apply_programs(struct bridge_port *p, const struct port_prog_conf *c)
{
	struct bridge_applied *a = &p->applied;
	bool was_set = a->prog_set, new_set = !was_set || a->prog.max_learned != c->max_learned;
	_cleanup_close_ int learned = -1;
	int r;

	/* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): both were zeroed before they were filled */
	if (p->maps.stats < 0 || (a->prog_set && !memcmp(&a->prog, c, sizeof(*c))))
		return 0;
	if (new_set && c->max_learned) {
		learned = bpf_new_set(c->max_learned);
		if (learned < 0)
			return learned;
	}
	r = load_programs(p, c, learned);
	if (r < 0)
		return r;
	if (new_set) {
		close_fd(&p->maps.learned);
		p->maps.learned = steal_fd(&learned);
	}
	if (was_set && (a->prog.max_rate != c->max_rate || a->prog.min_rate != c->min_rate))
		(void)bpf_zero_map(p->maps.buckets, sizeof(struct port_prog_buckets));
	memcpy(&a->prog, c, sizeof(*c));
	a->prog_set = true;
	return 0;
}

static int apply_flags(struct bridge_port *p, bool many)
{
	const struct function_settings *s = &p->base.settings;
	const struct rx_filter *filter = p->base.filter && p->base.filter->known ? p->base.filter : NULL;
	struct bridge_applied *a = &p->applied;
	struct brport_flags flags = {
		.learning = many || learns(p),
		.locked = s->spoofchk && !many,
		.unicast_flood = s->trust && p->base.policy.promisc && filter && filter->promiscuous,
	};
	int r;

	if (a->flags_set && !memcmp(&a->flags, &flags, sizeof(flags)))
		return 0;
	a->flags_set = false;
	r = brport_set(bridge_of_port(p)->nl, p->tap->ifindex, &flags);
	if (!r) {
		a->flags = flags;
		a->flags_set = true;
	}
	return r;
}

static int apply_vlans(struct bridge_port *p, const struct brport_vlans *v)
{
	struct rtnl *nl = bridge_of_port(p)->nl;
	struct bridge_applied *a = &p->applied;
	int r;

	/* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): both were zeroed before they were filled */
	if (a->vlans_set && !memcmp(&a->vlans, v, sizeof(*v)))
		return 0;
	a->vlans_set = false;
	r = remove_entries(p, NULL, 0);
	if (!r)
		r = brport_del_all_vlans(nl, p->tap->ifindex);
	if (!r && count_vlans(v))
		r = brport_add_vlans(nl, p->tap->ifindex, v);
	if (!r) {
		memcpy(&a->vlans, v, sizeof(*v));
		a->vlans_set = true;
	}
	return r;
}

static int apply_link(struct bridge_port *p)
{
	struct rtnl *nl = bridge_of_port(p)->nl;
	struct bridge_applied *a = &p->applied;
	uint32_t mtu = MAX(p->base.settings.mtu, bridge_of_port(p)->info.mtu);
	int r = 0;

	if (mtu > a->mtu) {
		r = link_set(nl, p->tap->ifindex, &(struct link_change){.mtu = mtu});
		if (!r)
			a->mtu = mtu;
	}
	if (!r && a->up != p->base.link_up) {
		r = link_set(nl, p->tap->ifindex, &(struct link_change){.up = p->base.link_up ? 1 : -1});
		if (!r)
			a->up = p->base.link_up;
	}
	return r;
}

static bool is_main_refused(const struct bridge_port *p, const bool *refused)
{
	struct claim claims[MAX_CLAIMS];

	if (!claims_of(&p->base, claims))
		return false;
	for (unsigned int i = 0; i < p->n_owned; i++)
		if (refused[i] && p->owned[i].mac == claims[0].mac)
			return true;
	return false;
}

static int apply(struct bridge_port *p, const char **step)
{
	struct bridge_fabric *f = bridge_of_port(p);
	bool refused[MAX_CLAIMS] = {false};
	struct port_prog_conf c;
	struct brport_vlans v;
	bool aware, many;
	int r = 0;

	aware = bridge_vlans(f, &p->base.settings, &v);
	many = aware && count_vlans(&v) * p->n_owned > BRIDGE_STATIC;
	*step = "make it a port of the bridge";
	if (!p->applied.enslaved) {
		r = link_set(f->nl, p->tap->ifindex,
			     &(struct link_change){.set_master = true, .master = f->ifindex});
		if (r < 0)
			return r;
		p->applied.enslaved = true;
	}
	*step = "set its VLANs";
	if (aware)
		r = apply_vlans(p, &v);
	if (r < 0)
		return r;
	*step = "set its addresses";
	r = apply_entries(p, &v, aware, many, refused);
	if (r < 0)
		return r;
	*step = "set its programs";
	program_conf(p, aware, refused, &c);
	r = apply_programs(p, &c);
	if (r < 0)
		return r;
	*step = "set its flags";
	r = apply_flags(p, many);
	if (r < 0)
		return r;
	p->reserved = is_main_refused(p, refused);
	*step = "set its link";
	return apply_link(p);
}

int bridge_port_apply(struct bridge_port *p, struct err *err)
{
	struct bridge_fabric *f = bridge_of_port(p);
	const char *step;
	int r;

	if (!p->tap || !p->tap->ifindex)
		return 0;
	if (!f->ifindex)
		return err_set(err, ENODEV, NULL, "there is no bridge %s now",
			       bridge_name(&f->base.settings));
	r = apply(p, &step);
	if (!r)
		return 0;
	return rtnl_err(f->nl, r, err, "%s, tap %s", step, p->tap->name);
}

void bridge_port_down(struct bridge_port *p)
{
	if (!p->tap || !p->tap->ifindex)
		return;
	(void)link_set(bridge_of_port(p)->nl, p->tap->ifindex, &(struct link_change){.up = -1});
	p->applied.up = false;
}
