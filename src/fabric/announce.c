/* SPDX-License-Identifier: Apache-2.0 */

#include "fabric/announce.h"

#include <string.h>

#include "switch/pkt.h"

#define ETHERTYPE_RARP 0x8035
#define RARP_LEN       60

/* vid 0: no tag. */
static void add(struct announce *a, uint64_t mac, uint16_t vid)
{
	static const uint8_t request[] = {0, 1 /* Ethernet */, 8, 0 /* IPv4 */, 6, 4, 0,
					  3 /* reverse request */};
	uint8_t *data = a->frame[a->n].data, *p = data + 12;

	memset(data, 0, ANNOUNCE_LEN);
	memset(data, 0xff, 6);
	mac_store(data + 6, mac);
	if (vid) {
		store_be16(p, ETHER_TPID_Q);
		store_be16(p + 2, vid);
		p += PKT_TAG_LEN;
	}
	store_be16(p, ETHERTYPE_RARP);
	memcpy(p + 2, request, sizeof(request));
	mac_store(p + 10, mac);
	mac_store(p + 20, mac);
	a->frame[a->n++].len = vid ? RARP_LEN + PKT_TAG_LEN : RARP_LEN;
}

void announce_make(const struct function_settings *s, const uint64_t *macs, unsigned int n_macs,
		   struct announce *ret)
{
	ret->n = 0;
	for (unsigned int i = 0; i < n_macs; i++) {
		if (s->vlan.mode != VLAN_TRUNK) {
			if (ret->n < ANNOUNCE_MAX)
				add(ret, macs[i], 0);
			continue;
		}
		for (uint16_t vid = 0; vid < 4095 && ret->n < ANNOUNCE_MAX; vid++)
			if (vlan_trunk_allows(&s->vlan, vid))
				add(ret, macs[i], vid);
	}
}
