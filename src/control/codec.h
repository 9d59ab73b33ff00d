/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The control channel's messages (include/vpf/control.h, docs/control-channel.md) between bytes and values:
 * what a driver sent is copied, checked, authenticated and turned into the host's byte order; what vpfd sends
 * is put together, tagged and padded.
 *
 * Untrusted: every byte of a frame. What decoding returns is as the format allows it: lengths, ranges of
 * enumerations, texts of printable ASCII. Whether a request makes sense (is there such a VF, may the guest
 * have it) is not looked at here. Thread-safety: pure. */

#include "util/util.h"
#include "vpf/control.h"

#define CTL_ETH_LEN   14
#define CTL_FRAME_MIN 60 /* Ethernet's, without the checksum */
#define CTL_FRAME_MAX (CTL_ETH_LEN + VPF_CTL_MAX)
#define CTL_TEXT_MAX  (sizeof(((struct vpf_ctl_reply *)NULL)->text))

struct ctl_hello {
	uint64_t nonce;
	uint8_t min_version, max_version; /* min ≤ max */
	char driver[sizeof(((struct vpf_ctl_hello *)NULL)->driver) + 1];
	char kernel[sizeof(((struct vpf_ctl_hello *)NULL)->kernel) + 1];
};

struct ctl_range {
	uint16_t first, count;
};

/* The fields that `mask` does not name are as they came: not to be used. */
struct ctl_set {
	uint16_t function, mask;
	uint8_t mac[6];
	uint8_t spoofchk, trust, link, pcp;
	uint16_t vid, tpid;
	uint32_t min_rate, max_rate;
};

struct ctl_message {
	uint8_t type; /* below 0x80; it may be one that this version does not know */
	uint64_t session;
	uint32_t sequence;
	union { /* HELLO: hello; GET and STATS: range; SET: set */
		struct ctl_hello hello;
		struct ctl_range range;
		struct ctl_set set;
	};
};

/* A message of a driver, from a whole Ethernet frame. -EBADMSG: no message, or its lengths or fields are invalid;
 * -EPROTONOSUPPORT: another version of the format; -EBADE: the tag is not that of the key. */
int ctl_decode(const uint8_t key[VPF_CTL_KEY_LEN], const void *frame, size_t len, struct ctl_message *ret);

/* A frame in the making: ctl_begin(), ctl_append() for each part of the body, ctl_finish(). */
struct ctl_frame {
	uint8_t bytes[CTL_FRAME_MAX];
	size_t len;
};

void ctl_begin(struct ctl_frame *f, uint8_t type, uint64_t session, uint32_t sequence);
/* Appends `size` zeroed bytes (or a packed struct); exceeding VPF_CTL_MAX is a bug of the caller. */
void *ctl_append(struct ctl_frame *f, size_t size);
/* Length and tag, and zeros up to Ethernet's minimum; `f->len` bytes can then be sent. */
void ctl_finish(struct ctl_frame *f, const uint8_t key[VPF_CTL_KEY_LEN]);

/* `src` as text of the format: printable ASCII (an ellipsis as three dots, other bytes as '?'), cut to
 * size - 1, the rest zeros. */
void ctl_text(char *dst, size_t size, const char *src);
