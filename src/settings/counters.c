/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/counters.h"

#include <stddef.h>

static const char *const drop_names[DROP_REASONS] = {
	[DROP_LINK_DOWN] = "link_down", [DROP_MALFORMED] = "malformed",
	[DROP_SPOOF_MAC] = "spoof_mac", [DROP_SPOOF_VLAN] = "spoof_vlan",
	[DROP_VLAN] = "vlan",           [DROP_MTU] = "mtu",
	[DROP_NO_BUFFER] = "no_buffer", [DROP_TOO_BIG] = "too_big",
	[DROP_NO_ROUTE] = "no_route",   [DROP_UNKNOWN_MAC] = "unknown_mac",
	[DROP_CONTROL] = "control",     [DROP_UPLINK] = "uplink",
	[DROP_RING] = "ring",           [DROP_CONTROL_FULL] = "control_full",
	[DROP_RATE] = "rate",
};

const char *drop_reason_name(enum drop_reason reason)
{
	return drop_names[reason];
}

const char *fdb_kind_name(enum fdb_kind kind)
{
	switch (kind) {
	case FDB_PERMANENT:
		return "permanent";
	case FDB_ADMIN:
		return "admin";
	case FDB_DRIVER:
		return "driver";
	case FDB_LEARNED:
		return "learned";
	}
	return "unknown";
}

/* Nothing but counters: an array of 64-bit numbers. */
_Static_assert(sizeof(struct port_stats) % sizeof(uint64_t) == 0, "port_stats has a field of another size");

void port_stats_add(struct port_stats *to, const struct port_stats *from)
{
	uint64_t *sum = (uint64_t *)to;
	const uint64_t *add = (const uint64_t *)from;

	for (size_t i = 0; i < sizeof(*to) / sizeof(*sum); i++)
		sum[i] += __atomic_load_n(&add[i], __ATOMIC_RELAXED);
}
