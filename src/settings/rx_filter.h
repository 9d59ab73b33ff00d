/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a function's driver asked its NIC to receive, as QEMU tells it (query-rx-filter). A value: copied
 * freely. */

#include "settings/settings.h"

struct rx_filter {
	bool known; /* false: nothing heard yet, for example without QMP */
	uint8_t main_mac[6];
	bool promiscuous, all_multicast;
	unsigned int unicast_n;
	uint8_t unicast[VPF_MAX_DRIVER_MACS][6];
	bool unicast_overflow;
	unsigned int multicast_n; /* groups it listens to */
	uint8_t multicast[VPF_MAX_DRIVER_MACS][6];
	bool multicast_overflow; /* there are more: it is to get all */
};
