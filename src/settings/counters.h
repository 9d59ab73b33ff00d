/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is counted, and the rows of an address table: the vocabulary of switch, fabrics and API. Values: copied
 * freely. Thread-safety: pure. */

#include <stdbool.h>
#include <stdint.h>

/* Why a frame did not arrive. Indices of port_stats.drop[]; names by drop_reason_name(). */
enum drop_reason {
	DROP_LINK_DOWN,    /* the function's link is down, by setting or because it is not in use */
	DROP_MALFORMED,    /* no Ethernet frame, or offload header that does not fit the frame */
	DROP_SPOOF_MAC,    /* source MAC not owned, spoof check on */
	DROP_SPOOF_VLAN,   /* a VLAN the function may not send in */
	DROP_VLAN,         /* towards the function: a VLAN it does not take part in */
	DROP_MTU,          /* longer than the MTU */
	DROP_NO_BUFFER,    /* receive ring has no buffer: the guest is too slow */
	DROP_TOO_BIG,      /* the receiver's buffers cannot hold the frame */
	DROP_NO_ROUTE,     /* no port owns the destination MAC and there is no uplink */
	DROP_UNKNOWN_MAC,  /* from the uplink, to a MAC that no port owns */
	DROP_CONTROL,      /* control frame (EtherType 0x88B5) from a port that may not send any */
	DROP_UPLINK,       /* the uplink did not take the frame */
	DROP_RING,         /* the ring was found broken with the frame in it, or is disabled */
	DROP_CONTROL_FULL, /* control frame from the PF, with too many waiting for vpfd */
	DROP_RATE,         /* beyond the function's rate, on a fabric that cannot make it wait */
	DROP_REASONS
};
const char *drop_reason_name(enum drop_reason reason); /* "link_down", … */

/* Counters of a port since it was added; rx and tx as the guest sees them: tx is what it sent. 64 bits, do
 * not wrap. */
struct port_stats {
	uint64_t tx_packets, tx_bytes, tx_broadcast, tx_multicast;
	uint64_t rx_packets, rx_bytes, rx_broadcast, rx_multicast;
	uint64_t tx_drop[DROP_REASONS]; /* frames the guest sent that went nowhere */
	uint64_t rx_drop[DROP_REASONS]; /* frames for the guest that it did not get */
	uint64_t sw_checksum;           /* checksums filled in software for a receiver without the offload */
	uint64_t sw_segmented;          /* frames segmented in software, counted before */
	uint64_t ring_errors;           /* queues stopped because of what the guest wrote */
};
/* Adds every counter of `from`, which a worker may be writing. */
void port_stats_add(struct port_stats *to, const struct port_stats *from);

enum fdb_kind { FDB_PERMANENT /* the function's MAC */, FDB_ADMIN, FDB_DRIVER, FDB_LEARNED };
const char *fdb_kind_name(enum fdb_kind kind); /* "permanent", … */

struct fdb_row {
	uint8_t mac[6];
	int vlan; /* VLAN id; 0: untagged; -1: every VLAN the function takes part in */
	enum fdb_kind kind;
	const char *pf;
	unsigned int function; /* as VPF_FUNCTION_* */
	uint32_t age;          /* s since last seen, learned ones only */
};

struct fabric_state { /* what a fabric has, as opposed to what is set */
	bool uplink_carrier;
	unsigned int ports, fdb_entries, fdb_learned;
};
