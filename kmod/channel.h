/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VPF_CHANNEL_H
#define VPF_CHANNEL_H

/* The control channel on one PF: its life, its sessions, how frames are sent. */

#include <linux/netdevice.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "codec.h"

struct vpf_pf;
struct vpf_request;

enum vpf_session_state {
	VPF_SESSION_NONE, /* sending HELLO */
	VPF_SESSION_UP,
	VPF_SESSION_CLOSED, /* for good */
};

struct vpf_channel {
	struct packet_type ptype; /* RTNL */
	u8 rx[VPF_CTL_MAX]; /* private copy of the frame that is being processed */

	enum vpf_session_state state;
	u64 id;
	unsigned int epoch; /* grows whenever a session begins or ends */
	unsigned long lost_at; /* jiffies when vpfd was last known to be there */
	u32 sequence;
	u32 last_event;
	bool any_event;
	unsigned int events_applied;
	struct vpf_hello_reply hello;

	u64 nonce;
	bool nonce_valid;
	unsigned long hello_at; /* jiffies of the last one sent */
	unsigned int tries;
	unsigned int key; /* index into vpf_keys */
	bool key_known; /* vpfd has answered with it */
	bool version_told; /* the lack of a common version has been logged */

	struct mutex request_lock;
	wait_queue_head_t wait;
	struct vpf_request *pending; /* the request that waits for its reply */
	bool answered;
	struct delayed_work hello_work; /* on vpf_wq */
	struct work_struct sync_work; /* on vpf_wq */
};

void vpf_channel_init(struct vpf_pf *pf);
void vpf_channel_open(struct vpf_pf *pf);
void vpf_channel_close(struct vpf_pf *pf, bool bye);
void vpf_channel_free(struct vpf_pf *pf);
void vpf_channel_kick(struct vpf_pf *pf);
void vpf_channel_lost(struct vpf_pf *pf, unsigned long since);
void vpf_channel_hello(struct vpf_pf *pf, struct vpf_hello_reply *ret_hello);
bool vpf_channel_answered(struct vpf_pf *pf);
bool vpf_channel_usable(const struct vpf_pf *pf);
int vpf_channel_send(struct vpf_pf *pf, const u8 *message, size_t len, gfp_t gfp);
void vpf_channel_session_gone(struct vpf_pf *pf, unsigned long since);

#endif
