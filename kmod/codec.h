/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VPF_CODEC_H
#define VPF_CODEC_H

/* The control channel's messages: bytes to values and back, and their authentication.
 *
 * Pure functions: no state, no locks, no allocation, any context. Input is a private copy of what
 * came from the wire, and hostile: whatever its bytes are, nothing outside [bytes, bytes + len)
 * is read, and what a decoder returns as good has only values that the format allows.
 */

#include "codec_kernel.h"

#include <vpf/control.h>

#define VPF_TEXT_LEN 120

/* Why a frame was dropped; each cause has a counter. */
enum vpf_bad {
	VPF_GOOD,
	VPF_BAD_LENGTH, /* shorter than a header, or than it says; longer than VPF_CTL_MAX */
	VPF_BAD_MAGIC,
	VPF_BAD_VERSION,
	VPF_BAD_TAG,
	VPF_BAD_TYPE, /* not a type that vpfd sends */
	VPF_BAD_SESSION, /* of another session; a reply to no request; an old nonce or event */
	VPF_BAD_VALUE, /* authentic, but its body is not what the format allows */
	VPF_BAD_CAUSES,
};

struct vpf_key {
	siphash_key_t sip;
};

/* A message that is authentic; @body points into the bytes it was made from. */
struct vpf_msg {
	u8 type;
	u64 session;
	u32 sequence;
	const u8 *body;
	size_t body_len;
};

struct vpf_hello_reply {
	u64 nonce;
	u16 status;
	u8 min_version, max_version;
	u16 vfs;
	u32 capabilities;
	u8 mac[ETH_ALEN];
	char pf[33];
	char daemon[33];
};

struct vpf_reply {
	u8 request;
	u16 status;
	u16 first;
	u16 count;
	char text[VPF_TEXT_LEN + 1]; /* printable */
	const u8 *records;
};

struct vpf_function {
	u16 function;
	bool spoofchk, trust, link_up, started;
	u8 link; /* VPF_CTL_LINK_* */
	u8 mac[ETH_ALEN];
	u8 admin_mac[ETH_ALEN];
	u16 vid;
	u8 pcp;
	u16 tpid;
	u32 min_rate, max_rate;
	u32 pinned;
};

struct vpf_stats {
	u16 function;
	u64 rx_packets, rx_bytes, rx_broadcast, rx_multicast, rx_dropped;
	u64 tx_packets, tx_bytes, tx_broadcast, tx_multicast, tx_dropped;
};

struct vpf_set {
	u16 function;
	u16 mask;
	u8 mac[ETH_ALEN];
	bool spoofchk, trust;
	u8 link;
	u8 pcp;
	u16 vid;
	u16 tpid;
	u32 min_rate, max_rate;
};

/* The longest message that a driver sends. */
#define VPF_REQUEST_MAX (sizeof(struct vpf_ctl_hdr) + sizeof(struct vpf_ctl_hello))

void vpf_key_from_bytes(struct vpf_key *key, const u8 bytes[VPF_CTL_KEY_LEN]);

/* @bytes are the message and perhaps padding; they are unchanged when it returns. */
enum vpf_bad vpf_decode_msg(u8 *bytes, size_t len, const struct vpf_key *key, struct vpf_msg *msg);
enum vpf_bad vpf_decode_hello_reply(const struct vpf_msg *msg, struct vpf_hello_reply *hello);
enum vpf_bad vpf_decode_reply(const struct vpf_msg *msg, struct vpf_reply *reply);
/* For an EVENT; @ret_records has @ret_count records. */
enum vpf_bad vpf_decode_event(const struct vpf_msg *msg, u16 *ret_count, const u8 **ret_records);
/* For a message without a body. */
enum vpf_bad vpf_decode_bare(const struct vpf_msg *msg);
/* The @index'th of the records of a reply to GET or SET, or of an event. */
enum vpf_bad vpf_decode_function(const u8 *records, unsigned int index, struct vpf_function *fn);
/* The @index'th of the records of a reply to STATS. */
void vpf_decode_stats(const u8 *records, unsigned int index, struct vpf_stats *stats);

/* Each fills @buf, of VPF_REQUEST_MAX bytes, and returns the message's length. */
size_t vpf_encode_hello(u8 *buf, const struct vpf_key *key, u64 nonce, const char *driver,
			const char *kernel);
size_t vpf_encode_range(u8 *buf, const struct vpf_key *key, u8 type, u64 session, u32 sequence,
			u16 first, u16 count);
size_t vpf_encode_set(u8 *buf, const struct vpf_key *key, u64 session, u32 sequence,
		      const struct vpf_set *set);
size_t vpf_encode_bare(u8 *buf, const struct vpf_key *key, u8 type, u64 session, u32 sequence);

#endif
