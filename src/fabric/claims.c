/* SPDX-License-Identifier: Apache-2.0 */

#include "fabric/claims.h"

bool claim_usable(uint64_t mac)
{
	return mac && !mac_key_is_multicast(mac);
}

unsigned int claims_of(const struct fabric_port *p, struct claim *claims)
{
	const struct function_settings *s = &p->settings;
	uint64_t main_mac = mac_load(s->mac), admin = mac_load(s->admin_mac);
	const struct rx_filter *filter = p->filter && p->filter->known ? p->filter : NULL;
	uint64_t driver = filter ? mac_load(filter->main_mac) : 0;
	bool driver_may = p->policy.driver_mac && filter && (!admin || s->trust);
	unsigned int n = 0, extra;

	if (p->elsewhere)
		return 0;
	if (admin)
		claims[n++] = (struct claim){admin, FDB_ADMIN};
	if (driver_may && claim_usable(driver) && driver != main_mac && driver != admin)
		claims[n++] = (struct claim){driver, FDB_DRIVER};
	else if (!admin || (driver_may && driver == main_mac))
		claims[n++] = (struct claim){main_mac, FDB_PERMANENT};
	if (!driver_may)
		return n;
	extra = MIN(filter->unicast_n, p->policy.max_driver_macs);
	for (unsigned int i = 0; i < extra && n < MAX_CLAIMS; i++) {
		uint64_t mac = mac_load(filter->unicast[i]);

		if (claim_usable(mac))
			claims[n++] = (struct claim){mac, FDB_DRIVER};
	}
	return n;
}
