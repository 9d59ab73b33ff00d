/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VPF_CONDUIT_H
#define VPF_CONDUIT_H

/* The conduit: a PF's stock netdev, as the PF netdev's lower device. */

#include <linux/if_ether.h>
#include <linux/netdev_features.h>
#include <linux/types.h>

struct vpf_pf;

/* State of the conduit before the driver changed it. */
struct vpf_kept {
	bool probed; /* the rest is valid */
	bool up;
	bool addrconf; /* what vpf_compat_no_addrconf() returned */
	bool addrconf_off;
	/* while the PF netdev is above it */
	u8 mac[ETH_ALEN];
	int mtu;
	netdev_features_t wanted;
};

void vpf_conduit_probe(struct vpf_pf *pf);
void vpf_conduit_probe_end(struct vpf_pf *pf);
int vpf_conduit_claim(struct vpf_pf *pf);
void vpf_conduit_release(struct vpf_pf *pf, bool conduit_goes);
bool vpf_conduit_busy(const struct vpf_pf *pf);
void vpf_conduit_mac_changed(struct vpf_pf *pf);
void vpf_conduit_mtu_changed(struct vpf_pf *pf);

#endif
