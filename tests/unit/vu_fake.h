/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A vhost-user back-end for tests of the front-end role. It runs in the loop that the test runs, writes down
 * what it is told, answers rightly, and does one thing wrong on demand. It moves no frames. */

#include <systemd/sd-event.h>

#include "vhost/vhost_user_priv.h"

enum vu_fault {
	VU_FAULT_NONE,
	VU_FAULT_SILENT,      /* no answer */
	VU_FAULT_CLOSE,       /* closes instead */
	VU_FAULT_HALF,        /* half an answer, then closes */
	VU_FAULT_HANG,        /* half an answer, then nothing */
	VU_FAULT_OTHER,       /* answers another request */
	VU_FAULT_REQUEST,     /* a request instead of an answer */
	VU_FAULT_VERSION,     /* another version of the protocol */
	VU_FAULT_SHORT,       /* an answer of 4 bytes */
	VU_FAULT_LONG,        /* of 16 bytes where 8 are due */
	VU_FAULT_HUGE,        /* one that claims a gigabyte */
	VU_FAULT_DESCRIPTOR,  /* with a descriptor */
	VU_FAULT_DESCRIPTORS, /* with more than a message may have */
	VU_FAULT_TWICE,       /* two answers */
	VU_FAULT_LAST_ALWAYS = VU_FAULT_TWICE,
	VU_FAULT_NACK, /* an acknowledgement that says no; only where one is due */
	VU_FAULTS
};

struct vu_fake_told {
	uint32_t request, flags, size;
	unsigned int nfds;
	union vu_payload payload;
};

struct vu_fake_ring {
	uint32_t num, base;
	struct vu_ring_addr addr;
	int kickfd, callfd, errfd; /* -1: none */
	bool nokick, nocall;       /* "no descriptor" was said */
	int enabled;               /* -1: nothing said */
	bool running;              /* since SET_VRING_KICK */
};

struct vu_fake_region {
	struct vu_region r;
	ino_t ino;
};

struct vu_fake {
	sd_event *event;
	char path[108];
	int listen_fd, fd; /* -1 */
	sd_event_source *listen_source, *source;
	/* what it is; set before it is met */
	uint64_t features, protocol, queue_num, slots;
	bool empty_log_reply;
	bool other_ring; /* answers to GET_VRING_BASE are about the next ring */
	/* what it does wrong, the `fault_at`th time (0: the first) that it sees fault_request */
	uint32_t fault_request;
	enum vu_fault fault;
	unsigned int fault_at;
	bool deaf;       /* reads nothing */
	int64_t base[8]; /* what it answers to GET_VRING_BASE, -1: where it was told to begin */
	/* what it was told */
	struct vu_fake_told told[512];
	unsigned int n_told;
	uint64_t got_features, got_protocol, status, mtu;
	uint8_t rarp[6];
	unsigned int rarps, connections, ends;
	struct vu_fake_region regions[64];
	unsigned int n_regions;
	struct vu_log log;
	ino_t log_ino;
	struct vu_fake_ring ring[8];
	/* private */
	struct vu_msg in;
	size_t got;
};

#define VU_FAKE_PROTOCOL                                                                                     \
	(VU_BIT(VU_PF_MQ) | VU_BIT(VU_PF_LOG_SHMFD) | VU_BIT(VU_PF_RARP) | VU_BIT(VU_PF_REPLY_ACK) |         \
	 VU_BIT(VU_PF_MTU) | VU_BIT(VU_PF_CONFIGURE_MEM_SLOTS) | VU_BIT(VU_PF_STATUS))

/* All features, 4 queue pairs. Neither listens nor connects yet. */
void vu_fake_init(struct vu_fake *b, sd_event *event, const char *path);
void vu_fake_listen(struct vu_fake *b);
int vu_fake_connect(struct vu_fake *b); /* to a front-end that listens: 0 or negative errno */
void vu_fake_hang_up(struct vu_fake *b);
void vu_fake_done(struct vu_fake *b);
/* How often it was told such a thing, and the last time. */
unsigned int vu_fake_count(const struct vu_fake *b, uint32_t request);
const struct vu_fake_told *vu_fake_last(const struct vu_fake *b, uint32_t request);
