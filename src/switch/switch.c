/* SPDX-License-Identifier: Apache-2.0 */

#include "switch/switch.h"

#include <string.h>

#include "switch/control_box.h"
#include "switch/offload.h"
#include "switch/uplink.h"
#include "switch/worker.h"
#include "vpf/control.h"

#define INGRESS_OK      (-1)
#define INGRESS_CONTROL (-2) /* for the main thread, if it is a virtual PF's own */

static inline bool trunk_allows(const struct port_conf *c, uint16_t vid)
{
	return c->trunk[vid / 64] >> (vid % 64) & 1;
}

static inline bool is_tag(uint16_t type)
{
	return type == ETHER_TPID_Q || type == ETHER_TPID_AD;
}

/* Moves the outer tag from the bytes to p->vlan. False: too short. */
static bool pop_tag(struct pkt *p)
{
	uint16_t tpid, tci;
	uint64_t first;
	uint32_t rest;

	if (p->head_len < 12 + PKT_TAG_LEN + 2)
		return false;
	tpid = load_be16(p->head + 12);
	tci = load_be16(p->head + 14);
	/* In registers: memmove() would be a call. */
	memcpy(&first, p->head, sizeof(first));
	memcpy(&rest, p->head + 8, sizeof(rest));
	memcpy(p->head + PKT_TAG_LEN, &first, sizeof(first));
	memcpy(p->head + PKT_TAG_LEN + 8, &rest, sizeof(rest));
	p->head += PKT_TAG_LEN;
	p->head_len -= PKT_TAG_LEN;
	p->len -= PKT_TAG_LEN;
	if (p->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		if (p->hdr.csum_start < PKT_ETH_LEN + PKT_TAG_LEN)
			return false;
		p->hdr.csum_start -= PKT_TAG_LEN;
	}
	if (p->hdr.gso_type)
		p->hdr.hdr_len -= PKT_TAG_LEN; /* at least csum_start: offload_check() made sure */
	/* A priority tag is not a VLAN (802.1Q §6.9): vid 0 leaves untagged, whatever the TPID. */
	p->vlan = tci & 0xfff ? vlan_key(tci & 0xfff, tpid) : 0;
	p->pcp = (uint8_t)(tci >> 13);
	return true;
}

/* The same for a frame that begins with head0, head6 and the tag of the previous frame, which was removed.
 * False: it has another tag, or an offload. */
static inline bool pop_same_tag(struct pkt *p, uint64_t head0, uint64_t head6, uint32_t tag)
{
	uint32_t rest = (uint32_t)(head6 >> 16);

	if (unlikely(p->head_len < 12 + PKT_TAG_LEN + 2 || load_u32(p->head + 14) != tag || p->hdr.flags))
		return false;
	p->head += PKT_TAG_LEN;
	memcpy(p->head, &head0, sizeof(head0));
	memcpy(p->head + 8, &rest, sizeof(rest));
	p->head_len -= PKT_TAG_LEN;
	p->len -= PKT_TAG_LEN;
	return true;
}

/* Decides which VLAN a guest's frame is in. Returns a drop reason or INGRESS_…. */
static int classify(const struct port_conf *c, struct pkt *p)
{
	uint16_t type = load_be16(p->head + 12);

	p->vlan = 0;
	if (unlikely(type == VPF_CTL_ETHERTYPE))
		return INGRESS_CONTROL;
	if (likely(!is_tag(type))) {
		if (c->mode == VLAN_ACCESS) {
			p->vlan = c->vlan;
			p->pcp = c->pcp;
		} else if (c->mode == VLAN_TRUNK && !trunk_allows(c, 0)) {
			return DROP_SPOOF_VLAN;
		}
		return INGRESS_OK;
	}
	/* Inside a provider's VLAN (802.1ad) a customer's own tags are just payload. */
	if (c->mode == VLAN_ACCESS && c->vlan & VLAN_KEY_AD && type == ETHER_TPID_Q) {
		p->vlan = c->vlan;
		p->pcp = c->pcp;
		return INGRESS_OK;
	}
	if (!pop_tag(p))
		return DROP_MALFORMED;
	type = load_be16(p->head + 12);
	if (type == VPF_CTL_ETHERTYPE)
		return DROP_CONTROL;
	if (p->vlan & VLAN_KEY_AD || p->vlan == 0xfff)
		return DROP_SPOOF_VLAN;
	/* A tag after a priority tag would be the outer one from here on: on the uplink it would be a VLAN of
	 * the guest's choice. Only a provider's VLAN carries customers' tags. */
	if (!p->vlan && is_tag(type) &&
	    !(type == ETHER_TPID_Q && c->mode == VLAN_ACCESS && c->vlan & VLAN_KEY_AD))
		return DROP_SPOOF_VLAN;
	switch (c->mode) {
	case VLAN_NONE:
		return p->vlan ? DROP_SPOOF_VLAN : INGRESS_OK;
	case VLAN_ACCESS:
		if (p->vlan)
			return DROP_SPOOF_VLAN;
		p->vlan = c->vlan;
		p->pcp = c->pcp;
		return INGRESS_OK;
	case VLAN_TRUNK:
		return trunk_allows(c, p->vlan) ? INGRESS_OK : DROP_SPOOF_VLAN;
	}
	return DROP_SPOOF_VLAN;
}

static inline bool owns(const struct port_conf *c, uint64_t mac)
{
	if (likely(mac == c->mac))
		return true;
	for (unsigned int i = 0; i < c->n_macs; i++)
		if (c->macs[i] == mac)
			return true;
	return false;
}

/* The MTU is that of the packet; a customer's tag in a provider's VLAN or trunk is not part of it. */
static inline bool too_long(const struct port_conf *c, const struct pkt *p)
{
	uint32_t len = offload_wire_len(p);

	return unlikely(len > c->max_frame) &&
	       (len > c->max_frame + PKT_TAG_LEN || !is_tag(load_be16(p->head + 12)));
}

static int ingress_function(const struct port_conf *c, struct pkt *p)
{
	uint64_t src = mac_load(p->head + 6);
	int r = classify(c, p);

	if (unlikely(r != INGRESS_OK))
		return r;
	if (unlikely(mac_key_is_multicast(src)))
		return DROP_MALFORMED;
	if (c->spoofchk && unlikely(!owns(c, src)))
		return DROP_SPOOF_MAC;
	if (unlikely(too_long(c, p)))
		return DROP_MTU;
	return INGRESS_OK;
}

static int ingress_uplink(struct pkt *p)
{
	uint16_t type = load_be16(p->head + 12);

	p->vlan = 0;
	if (is_tag(type)) {
		if (!pop_tag(p))
			return DROP_MALFORMED;
		type = load_be16(p->head + 12);
		if ((p->vlan & 0xfff) == 0xfff || (!p->vlan && is_tag(type)))
			return DROP_MALFORMED;
	}
	return type == VPF_CTL_ETHERTYPE ? DROP_CONTROL : INGRESS_OK;
}

/* True if the port takes part in the VLAN; *tag: its frames leave with a tag. */
static inline bool egress(const struct port_conf *c, uint16_t vlan, bool *tag)
{
	*tag = false;
	switch (c->mode) {
	case VLAN_NONE:
		return vlan == 0;
	case VLAN_ACCESS:
		return vlan == c->vlan;
	case VLAN_TRUNK:
		*tag = vlan != 0;
		return !(vlan & VLAN_KEY_AD) && trunk_allows(c, vlan);
	}
	return false;
}

/* The frames, of n, that fit the port's MTU, as a list; returns their number. */
static unsigned int drop_long(const struct port_conf *c, struct port_stats *stats, struct pkt **first,
			      unsigned int n)
{
	struct pkt **to = first;
	unsigned int good = 0;

	for (struct pkt *p = *first; n; n--, p = p->next) {
		if (unlikely(too_long(c, p))) {
			stats->rx_drop[DROP_MTU]++;
			continue;
		}
		*to = p;
		to = &p->next;
		good++;
	}
	return good;
}

/* Sends n frames of one VLAN, none longer than `longest`, to one port, whose configuration is c. */
static void output(struct worker *w, struct sw_port *port, const struct port_conf *c, struct pkt *first,
		   unsigned int n, uint32_t longest)
{
	struct port_stats *stats = &port->stats[w->id];
	bool tag;

	if (port->kind == PORT_UPLINK) {
		uplink_transmit(w, port, first, n);
		return;
	}
	if (unlikely(!c->link_up)) {
		stats->rx_drop[DROP_LINK_DOWN] += n;
		return;
	}
	if (unlikely(!egress(c, first->vlan, &tag))) {
		stats->rx_drop[DROP_VLAN] += n;
		return;
	}
	if (unlikely(longest > c->max_frame))
		n = drop_long(c, stats, &first, n);
	if (likely(n))
		port_deliver(w, port, first, n, tag);
}

/* 802.1Q §8.6.3: addresses that no bridge forwards. A guest could pause the host's link with one. */
static inline bool is_reserved(const uint8_t *mac)
{
	static const uint8_t reserved[5] = {0x01, 0x80, 0xc2, 0, 0};

	return !memcmp(mac, reserved, 5) && mac[5] < 0x10;
}

/* Groups that every host is in, or that an address may need before any filter names them: all hosts of IPv4
 * and IPv6, and IPv6's solicited-node addresses (RFC 4291 §2.7.1), which are for neighbour discovery what
 * broadcast is for ARP. A guest must be reachable at an address before its new filter has arrived here. */
static inline bool is_for_all(uint64_t mac)
{
	static const uint8_t hosts4[6] = {0x01, 0, 0x5e, 0, 0, 1}, hosts6[6] = {0x33, 0x33, 0, 0, 0, 1},
			     solicited[6] = {0x33, 0x33, 0xff};

	return mac == MAC_KEY_BROADCAST || mac == mac_load(hosts4) || mac == mac_load(hosts6) ||
	       (mac & 0xffffff) == mac_load(solicited);
}

static inline bool listens(const struct port_conf *c, uint64_t group)
{
	const uint64_t *groups = c->macs + c->n_macs;
	unsigned int from = 0, to = c->n_groups;

	if (c->all_groups)
		return true;
	if (!(c->group_bits & GROUP_BIT(group)))
		return false;
	while (from < to) {
		unsigned int mid = (from + to) / 2;

		if (groups[mid] == group)
			return true;
		if (groups[mid] < group)
			from = mid + 1;
		else
			to = mid;
	}
	return false;
}

/* Frames of one VLAN to one group (burst_group.dst: NULL), to every port of the VLAN that listens, except the
 * one they came from. Port by port: the cost per port, other than for the copies, arises once. */
static void flood(struct worker *w, const struct sw_view *view, struct sw_port *src,
		  const struct burst_group *g)
{
	uint64_t group = mac_load(g->first->head);
	bool all = is_for_all(group);
	unsigned int n;

	for (unsigned int i = 0; i < view->n; i++) {
		struct sw_port *port = view->port[i];
		const struct port_conf *c = rcu_load(port->conf);
		bool tag;

		/* It is not an error if a port is down or served elsewhere: it is just not in the group. */
		if (port == src || !c->link_up || !rcu_load(port->rx) || !egress(c, g->vlan, &tag) ||
		    !(all || listens(c, group)))
			continue;
		if (likely(g->longest <= c->max_frame)) {
			output(w, port, c, g->first, g->n, g->longest);
			continue;
		}
		/* One by one: a frame that is too long for this port would leave the list, and other ports
		 * get it. */
		n = g->n;
		for (struct pkt *p = g->first; n; n--, p = p->next)
			output(w, port, c, p, 1, offload_wire_len(p));
	}
	if (view->uplink && view->uplink != src)
		output(w, view->uplink, rcu_load(view->uplink->conf), g->first, g->n, g->longest);
}

/* A frame from an uplink to an address that no port owns. */
static bool to_promiscuous(struct worker *w, const struct sw_view *view, struct pkt *p)
{
	bool wanted = false, tag;

	for (unsigned int i = 0; i < view->n; i++) {
		const struct port_conf *c = rcu_load(view->port[i]->conf);

		if (c->promisc && c->trusted && c->link_up && egress(c, p->vlan, &tag)) {
			output(w, view->port[i], c, p, 1, offload_wire_len(p));
			wanted = true;
		}
	}
	return wanted;
}

static void learn(struct worker *w, const struct fdb *fdb, struct sw_port *src, const struct pkt *p)
{
	uint64_t mac = mac_load(p->head + 6);
	const struct fdb_slot *slot = fdb_find(fdb, mac, p->vlan);

	if (likely(slot)) {
		struct fdb_meta *meta = &fdb->meta[slot - fdb->slot];
		uint32_t now = (uint32_t)(w->now / 1000000000u);

		if (slot->port == src && __atomic_load_n(&meta->seen, __ATOMIC_RELAXED) != now)
			__atomic_store_n(&meta->seen, now, __ATOMIC_RELAXED);
		return;
	}
	if (!mac || (fdb->any && fdb_find(fdb, mac, VLAN_KEY_ANY)))
		return;
	if (!__atomic_load_n(&src->learn_full, __ATOMIC_RELAXED))
		worker_note(w, &(struct worker_note){src->id, mac, p->vlan});
}

static inline struct sw_port *lookup(const struct fdb *fdb, uint64_t mac, uint16_t vlan)
{
	struct sw_port *port = fdb_lookup(fdb, mac, vlan);
	const struct port_conf *c;
	bool tag;

	if (unlikely(!port))
		return NULL;
	c = rcu_load(port->conf);
	return likely(egress(c, vlan, &tag)) ? port : NULL;
}

/* Adds a frame for several ports to the earlier ones for the same ports, `g`; if those are for others, they
 * are flooded first. False: it may not be sent. */
static bool multicast(struct worker *w, const struct sw_view *view, struct sw_port *src,
		      const struct port_conf *conf, struct burst_group *g, struct pkt *p)
{
	struct port_stats *stats = &src->stats[w->id];
	uint64_t group = mac_load(p->head);
	uint32_t len = offload_wire_len(p);

	if (unlikely(is_reserved(p->head) && src->kind != PORT_UPLINK && !conf->trusted))
		return false;
	if (group == MAC_KEY_BROADCAST)
		stats->tx_broadcast++;
	else
		stats->tx_multicast++;
	if (g->n && (g->vlan != p->vlan || mac_load(g->first->head) != group)) {
		flood(w, view, src, g);
		g->n = 0;
	}
	if (g->n)
		burst_append(g, p, len);
	else
		*g = (struct burst_group){.first = p, .last = p, .n = 1, .longest = len, .vlan = p->vlan};
	return true;
}

void sw_sort(struct worker *w, struct sw_port *src, const struct port_conf *conf, struct pkt *pkts,
	     unsigned int n)
{
	struct sw *sw = src->sw;
	const struct fdb *fdb = rcu_load(sw->fdb);
	const struct sw_view *view = rcu_load(sw->view);
	struct port_stats *stats = &src->stats[w->id];
	bool from_uplink = src->kind == PORT_UPLINK;
	struct sw_port *dst = NULL; /* of the last frame that was looked up: likely of the next one, too */
	uint64_t bytes = 0, dst_key = 0, last0 = 0, last6 = 0;
	struct burst_group *last = NULL, several = {0};
	uint32_t last_tag = 0, popped = 0; /* bytes that were removed from the last one */
	unsigned int packets = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct pkt *p = &pkts[i];
		uint64_t head0 = load_u64(p->head), head6 = load_u64(p->head + 6), mac, key;
		uint32_t tag = load_u32(p->head + 14);
		const uint8_t *start = p->head;
		int drop;

		/* Addresses, type and tag are those of the previous frame: all that was found for that one
		 * applies. */
		if (likely(last && head0 == last0 && head6 == last6 && !p->hdr.gso_type &&
			   p->len - popped <= conf->max_frame &&
			   (!popped || pop_same_tag(p, head0, head6, last_tag)))) {
			packets++;
			bytes += p->len;
			p->vlan = p[-1].vlan;
			p->pcp = p[-1].pcp;
			burst_append(last, p, p->len);
			continue;
		}
		last = NULL;
		drop = from_uplink ? ingress_uplink(p) : ingress_function(conf, p);
		if (unlikely(drop != INGRESS_OK)) {
			if (drop == INGRESS_CONTROL)
				drop = control_box_put(src->control, p);
			if (drop >= 0)
				stats->tx_drop[drop]++;
			continue;
		}
		packets++;
		bytes += p->len;
		if (unlikely(conf->learn))
			learn(w, fdb, src, p);

		mac = mac_load(p->head);
		if (unlikely(mac_key_is_multicast(mac))) {
			if (!multicast(w, view, src, conf, &several, p))
				stats->tx_drop[DROP_CONTROL]++;
			continue;
		}
		key = FDB_KEY(mac, p->vlan);
		if (key != dst_key) {
			dst = lookup(fdb, mac, p->vlan);
			dst_key = key;
			if (unlikely(!dst) && !from_uplink)
				dst = view->uplink;
		}
		if (unlikely(!dst && from_uplink)) {
			if (!to_promiscuous(w, view, p))
				stats->tx_drop[DROP_UNKNOWN_MAC]++;
			continue;
		}
		if (unlikely(!dst || dst == src)) {
			stats->tx_drop[DROP_NO_ROUTE]++;
			continue;
		}
		last = burst_sort(&w->burst, p, offload_wire_len(p), dst);
		last0 = head0;
		last6 = head6;
		last_tag = tag;
		popped = (uint32_t)(p->head - start);
	}
	if (unlikely(several.n))
		flood(w, view, src, &several);
	stats->tx_packets += packets;
	stats->tx_bytes += bytes;
}

/* From this number of receivers on it pays to prefetch for all of them before the first is served. */
#define HINT_GROUPS 3

void sw_output(struct worker *w)
{
	struct burst *b = &w->burst;

	if (b->n_groups >= HINT_GROUPS)
		port_hint_rx(b->group, b->n_groups);
	for (unsigned int i = 0; i < b->n_groups; i++) {
		const struct burst_group *g = &b->group[i];

		output(w, g->dst, rcu_load(g->dst->conf), g->first, g->n, g->longest);
	}
	burst_sorted_out(b);
}

void sw_forward(struct worker *w, struct sw_port *src, const struct port_conf *conf, struct pkt *pkts,
		unsigned int n)
{
	sw_sort(w, src, conf, pkts, n);
	sw_output(w);
	burst_calls(w);
}

int sw_init(struct sw *sw, struct worker_pool *pool)
{
	*sw = (struct sw){.pool = pool, .workers = pool->n};
	sw->view = calloc(1, sizeof(*sw->view));
	if (!sw->view || sw_reserve(sw, 1) < 0 || fdb_new(0, &sw->fdb) < 0) {
		free(sw->view);
		free(sw->spare[0]);
		free(sw->spare[1]);
		return -ENOMEM;
	}
	return 0;
}

void sw_fini(struct sw *sw)
{
	fdb_free(sw->fdb);
	free(sw->view);
	free(sw->spare[0]);
	free(sw->spare[1]);
}

int sw_reserve(struct sw *sw, unsigned int ports)
{
	unsigned int room = sw->room ? sw->room : 1;
	struct sw_view *view[2];

	if (ports <= sw->room)
		return 0;
	while (room < ports)
		room *= 2;
	for (unsigned int i = 0; i < 2; i++)
		view[i] = calloc(1, sizeof(*view[i]) + room * sizeof(view[i]->port[0]));
	if (!view[0] || !view[1]) {
		free(view[0]);
		free(view[1]);
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < 2; i++) {
		free(sw->spare[i]);
		sw->spare[i] = view[i];
	}
	sw->room = room;
	return 0;
}

struct sw_view *sw_next_view(struct sw *sw)
{
	sw->spare[0]->uplink = NULL;
	sw->spare[0]->n = 0;
	return sw->spare[0];
}

void sw_publish_view(struct sw *sw)
{
	struct sw_view *old = rcu_xchg_pointer(&sw->view, sw->spare[0]);

	urcu_qsbr_synchronize_rcu();
	/* The one before may have less room than was reserved since. */
	if (sw->spare[1]) {
		sw->spare[0] = steal_ptr(&sw->spare[1]);
		free(old);
	} else {
		sw->spare[0] = old;
	}
}
