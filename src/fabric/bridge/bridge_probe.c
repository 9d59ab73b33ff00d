/* SPDX-License-Identifier: Apache-2.0 */

/* What this kernel can do for a bridge fabric, found by doing it. */

#include "fabric/bridge/bridge.h"

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

static void try_programs(struct rtnl *nl, const struct tap *t, unsigned int *found)
{
	struct port_prog_conf c = {
		.spoofchk = true, .mtu = 1500, .max_rate = 1, .min_rate = 1, .total_rate = 1};
	struct port_prog_maps maps = {
		.learned = -1,
		.stats = bpf_new_map(true, sizeof(struct port_stats)),
		.buckets = bpf_new_map(false, sizeof(struct port_prog_buckets)),
		.total = bpf_new_map(false, sizeof(uint64_t)),
	};
	int in = -1, out = -1;

	c.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 1, .pcp = 1, .tpid = ETHER_TPID_Q};
	if (maps.stats >= 0 && maps.buckets >= 0 && maps.total >= 0) {
		in = port_prog_load(&c, &maps, true, NULL, 0);
		out = port_prog_load(&c, &maps, false, NULL, 0);
	}
	if (in >= 0 && out >= 0 && tc_add_clsact(nl, t->ifindex) == 0 &&
	    tc_set_program(nl, t->ifindex, true, in, "probe") == 0 &&
	    tc_set_program(nl, t->ifindex, false, out, "probe") == 0)
		*found |= BRIDGE_HOST_PROGRAM;
	close_fd(&in);
	close_fd(&out);
	close_fd(&maps.stats);
	close_fd(&maps.buckets);
	close_fd(&maps.total);
}

static void *try_all(void *arg)
{
	static const uint8_t mac[6] = {0x02, 0x76, 0x70, 0x66, 0, 1};
	unsigned int *found = arg;
	struct link_info bridge = {0};
	struct rtnl *nl = NULL;
	struct tap *t = NULL;
	char name[IFNAMSIZ], tap[IFNAMSIZ];

	/* A network namespace of its own hides these from other watchers of netdevs. Where that is not permitted,
	 * they are visible. */
	(void)unshare(CLONE_NEWNET);
	snprintf(name, sizeof(name), "vpfb%u", (unsigned int)getpid());
	snprintf(tap, sizeof(tap), "vpft%u", (unsigned int)getpid());
	if (rtnl_new(NETLINK_ROUTE, &nl) < 0 || link_add_bridge(nl, name, mac, false) < 0 ||
	    link_get(nl, name, 0, &bridge) < 0)
		goto out;
	if (bridge.can_vlan && link_set_vlan_filtering(nl, bridge.ifindex, true) == 0)
		*found |= BRIDGE_HOST_VLAN;
	if (tap_new(tap, 2, &t, NULL) < 0 ||
	    link_set(nl, t->ifindex, &(struct link_change){.set_master = true, .master = bridge.ifindex}) < 0)
		goto out;
	*found |= BRIDGE_HOST_TAP;
	if (brport_set(nl, t->ifindex, &(struct brport_flags){.locked = true}) == 0)
		*found |= BRIDGE_HOST_LOCKED;
	try_programs(nl, t, found);
out:
	tap_free(t);
	if (bridge.ifindex)
		(void)link_del(nl, bridge.ifindex);
	rtnl_free(nl);
	return NULL;
}

unsigned int bridge_host(void)
{
	static bool known;
	static unsigned int found;
	pthread_t thread;

	if (known)
		return found;
	/* A thread has a network namespace of its own. */
	if (pthread_create(&thread, NULL, try_all, &found) != 0)
		return 0;
	pthread_join(thread, NULL);
	known = true;
	return found;
}
