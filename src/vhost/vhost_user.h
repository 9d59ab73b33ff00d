/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The vhost-user back-end of one function: a listening socket, at most one connection, the protocol. It does
 * not handle packets: it hands started queues to its owner and takes them back.
 *
 * Theory of operation. A device listens from vhost_user_new() until vhost_user_free(). A second client while
 * one is connected is accepted and closed at once (EBUSY in the log event). A connection goes through
 * features → memory → rings; a queue is *started* once it has size, addresses, base and a kick descriptor (or
 * the "no descriptor" mark), and stopped by GET_VRING_BASE, RESET_DEVICE, RESET_OWNER or the end of the
 * connection. Messages that change what a started queue depends on (memory table, log, features, addresses)
 * stop it, apply the change, and start it again at the same indices: the owner sees only stop and start.
 * RESET_DEVICE and status 0 also forget features and rings; memory and protocol features stay, because
 * front-ends do not send those again.
 *
 * A bad message (unknown size, wrong descriptors, out of range, out of order) ends the connection with one
 * error event; a bad ring address, or a ring that its region cannot hold, keeps the queue stopped and is
 * answered with failure if the front-end asked for a reply; so is a memory region that cannot be mapped,
 * which ends the connection if no reply was asked for. The device then listens again.
 *
 * An owner that cannot give a queue back at once (another process serves it) has `quiesce`: it is asked
 * before a message that stops queues is handled, and may have the connection hold that message, and read no
 * other, until vhost_user_resume(), or for VHOST_USER_HOLD_US at most. It is not asked where no front-end
 * waits for an answer: at the end of a connection, and when the owner itself reports that a queue failed.
 *
 * Ownership: descriptors in vhost_queue belong to this module and stay valid from start() until stop()
 * returns.
 *
 * What a callback leaves to the event loop by an enabled defer source is done before the message after an
 * answered one is read: a front-end that waits for each answer finds things done, one step later.
 *
 * Thread-safety: all calls and all callbacks on the main thread (the sd-event loop given). */

#include <endian.h>
#include <systemd/sd-event.h>

#include "util/err.h"
#include "vhost/guest_mem.h"

#define VHOST_USER_MAX_QUEUE_PAIRS 16
#define VHOST_USER_MAX_QUEUES      (2 * VHOST_USER_MAX_QUEUE_PAIRS) /* 2n: guest receives, 2n+1: guest sends */
#define VHOST_USER_MAX_QUEUE_SIZE  1024
#define VHOST_USER_HOLD_US         3000000 /* µs */

struct vhost_user;
struct vhost_inflight; /* a queue's region of the inflight area, see vhost/inflight.h */

/* device_gpa of a ring whose used elements are not to be logged: beyond any log, so marking has no effect. */
#define VHOST_QUEUE_NOT_LOGGED (UINT64_C(1) << 63)

/* A queue as its owner gets it; the pointer stays valid from start to stop. Everything but `callfd` and
 * `enabled` is constant in that time. The owner looks at the ring at once: a kick may have come before. */
struct vhost_queue {
	unsigned int index; /* 0…VHOST_USER_MAX_QUEUES-1 */
	unsigned int size;  /* 1…1024; a power of two for split rings */
	uint64_t features;  /* negotiated virtio features (bits of virtio 1.3 §5.1.3 and §6) */
	bool packed;        /* VIRTIO_F_RING_PACKED */
	bool enabled; /* SET_VRING_ENABLE; a disabled TX queue is drained and discarded, an RX one not used */
	void *desc;   /* split: descriptor table; packed: descriptor ring; checked to be in memory */
	void *driver; /* split: available ring; packed: driver event suppression */
	void *device; /* split: used ring; packed: device event suppression */
	uint64_t device_gpa; /* of the used ring (packed: of the descriptor ring), for the dirty log */
	uint16_t avail_idx;  /* split: next available index; packed: bits 0-14 index, bit 15 wrap counter */
	uint16_t used_idx;   /* split: next used index; packed: as above */
	int kickfd, callfd, errfd; /* -1: none (kick -1: poll) */
	struct guest_mem *mem;
	struct dirty_log *log;           /* NULL unless VHOST_F_LOG_ALL was negotiated and a log was given */
	struct vhost_inflight *inflight; /* NULL unless SET_INFLIGHT_FD was used */
};

/* Split rings: the used index that the driver sees. */
static inline uint16_t vhost_queue_used_idx(const struct vhost_queue *q)
{
	return le16toh(__atomic_load_n((const uint16_t *)q->device + 1, __ATOMIC_ACQUIRE));
}

struct vhost_user_ops { /* all but queue_start and queue_stop may be NULL */
	/* A front-end connected (pid from SO_PEERCRED). */
	void (*connected)(void *ctx, pid_t peer);
	/* It disconnected; `why` is NULL for an orderly close. The device may be freed from here, and from no
	 * other callback. */
	void (*disconnected)(void *ctx, const char *why);
	/* The queue may be used until queue_stop. On failure (negative errno) it stays stopped. */
	int (*queue_start)(void *ctx, const struct vhost_queue *q);
	/* After this returns, no thread touches the queue or its memory; returns the indices reached, as
	 * above. */
	void (*queue_stop)(void *ctx, unsigned int index, uint16_t *ret_avail_idx, uint16_t *ret_used_idx);
	/* Queue `index` (-1: all) is about to be stopped by a message; at least one of them is started. True:
	 * go on. False: the message waits for vhost_user_resume(). */
	bool (*quiesce)(void *ctx, int index);
	/* Only for a started queue. */
	void (*queue_enable)(void *ctx, unsigned int index, bool enable);
	/* Only for a started queue: a new call descriptor (-1: none). The old one is closed after return. */
	void (*queue_call)(void *ctx, unsigned int index, int callfd);
	void (*set_mtu)(void *ctx, uint16_t mtu);           /* NET_SET_MTU, 68…65535 */
	void (*send_rarp)(void *ctx, const uint8_t mac[6]); /* announce the guest after migration */
	void (*set_status)(void *ctx, uint8_t status); /* virtio device status, 0: reset (RESET_DEVICE too) */
	/* Something worth a log line (bad message, refused client). `level` as in util/log.h. */
	void (*event)(void *ctx, int level, const char *text);
};

struct vhost_user_config {
	const char *path;  /* < 108 bytes; a stale socket is replaced, a live one is -EADDRINUSE */
	unsigned int mode; /* permission bits, e.g. 0660 */
	gid_t group;       /* (gid_t)-1: unchanged */
	/* Virtio features offered, without VHOST_USER_F_PROTOCOL_FEATURES and VHOST_F_LOG_ALL. */
	uint64_t features;
	unsigned int queue_pairs; /* 1…VHOST_USER_MAX_QUEUE_PAIRS */
	const struct vhost_user_ops *ops;
	void *ctx;
};

struct vhost_user_info { /* what `show` prints */
	bool connected;
	pid_t peer;
	uint64_t offered;           /* features offered when it connected */
	uint64_t features;          /* negotiated; 0 before */
	uint64_t protocol_features; /* negotiated */
	unsigned int queues_started, queues_enabled;
	unsigned int mem_regions;
	uint64_t mem_bytes;
	bool logging;
	uint64_t messages, bad_messages, refused_clients, connections; /* since vhost_user_new() */
};

/* Starts listening. Errors: -EINVAL, -ENAMETOOLONG, -EADDRINUSE, or the system call's. */
int vhost_user_new(sd_event *event, const struct vhost_user_config *config, struct vhost_user **ret,
		   struct err *err);
/* Ends the connection (queues are stopped through ops), stops listening, removes the socket. Takes NULL. */
void vhost_user_free(struct vhost_user *vu);
void vhost_user_get_info(const struct vhost_user *vu, struct vhost_user_info *ret);
/* Ends the connection as after a bad message, e.g. to make a front-end negotiate again. */
void vhost_user_disconnect(struct vhost_user *vu, const char *why);
/* Handles the message that `quiesce` held back, if there is one. Its consequences come before this returns:
 * calls of queue_stop and queue_start, even of `disconnected`. */
void vhost_user_resume(struct vhost_user *vu);
/* The owner found the ring broken (descriptor loop, …): stops the queue through ops->queue_stop, signals
 * errfd, logs `why`; it starts again when the driver has set it up again. */
void vhost_user_queue_failed(struct vhost_user *vu, unsigned int index, const char *why);
/* Ends the connection, with one error event, if its memory was truncated (guest_map_fault_fd()); true if it
 * was. To be called before judging anything read from that memory: it reads as zeros. */
bool vhost_user_check_memory(struct vhost_user *vu);
/* Features offered to the next connection. */
void vhost_user_set_features(struct vhost_user *vu, uint64_t features);
/* Sends VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG with a mapping of `fd` (borrowed; -1 removes it);
 * -EOPNOTSUPP without BACKEND_REQ, BACKEND_SEND_FD and HOST_NOTIFIER, -ENOTCONN without the front-end's
 * channel, -EAGAIN or -EBUSY while it is not read. Does not wait: if QEMU declines, an event says so. This is
 * the protocol's part of handing a doorbell page to QEMU. */
int vhost_user_set_host_notifier(struct vhost_user *vu, unsigned int index, int fd, uint64_t offset,
				 uint64_t size);
