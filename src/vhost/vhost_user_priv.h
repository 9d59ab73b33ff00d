/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the vhost-user back-end share, and what the front-end role (vhost_user_front.c,
 * vhost_user_reach.c) shares with its framing. No other file includes this, except tests and fuzzers.
 *
 *	vhost_user.c		the device: life, listening, accepting
 *	vhost_user_socket.c	making and removing the socket file
 *	vhost_user_conn.c	a connection: life, input, reset
 *	vhost_user_msg.c	framing: a message from the socket, a reply to it
 *	vhost_user_dispatch.c	the table of messages and the one place that enforces it
 *	vhost_user_handlers.c	what the messages that concern the device do
 *	vhost_user_rings.c	what the messages that concern one ring do
 *	vhost_user_queue.c	starting and stopping queues
 *	vhost_user_backend.c	requests to the front-end, on its own channel
 *
 * All of it runs on the main thread. */

#include "vhost/guest_map.h"
#include "vhost/inflight.h"
#include "vhost/ring_record.h"
#include "vhost/vhost_user.h"
#include "vhost/vhost_user_proto.h"

#define VU_FEATURES_OWN (UINT64_C(1) << VU_F_PROTOCOL_FEATURES | UINT64_C(1) << VU_F_LOG_ALL)

#define VU_BIT(n) (UINT64_C(1) << (n))
#define VU_PROTOCOL_FEATURES                                                                                 \
	(VU_BIT(VU_PF_MQ) | VU_BIT(VU_PF_LOG_SHMFD) | VU_BIT(VU_PF_RARP) | VU_BIT(VU_PF_REPLY_ACK) |         \
	 VU_BIT(VU_PF_MTU) | VU_BIT(VU_PF_BACKEND_REQ) | VU_BIT(VU_PF_BACKEND_SEND_FD) |                     \
	 VU_BIT(VU_PF_HOST_NOTIFIER) | VU_BIT(VU_PF_INFLIGHT_SHMFD) | VU_BIT(VU_PF_RESET_DEVICE) |           \
	 VU_BIT(VU_PF_CONFIGURE_MEM_SLOTS) | VU_BIT(VU_PF_STATUS))

/* Feature bits of virtio that the protocol itself needs (virtio 1.3 §6). */
#define VU_F_RING_EVENT_IDX 29
#define VU_F_RING_PACKED    34

/* A message as received, and turned into its reply by the handler. */
struct vu_msg {
	struct vu_header hdr;
	union vu_payload payload;
	int fds[VU_MAX_FDS]; /* a handler takes what it keeps with steal_fd() */
	unsigned int nfds;
	bool reply_fd; /* the handler put fds[0] there for the reply */
};

/* One ring. The front-end's settings are kept apart from `run`, what the owner of a started queue sees. */
struct vu_queue {
	struct vhost_queue run; /* index, enabled and the descriptors are always current */
	uint32_t size;          /* 0: not set */
	struct vu_ring_addr addr;
	uint16_t avail_idx, used_idx; /* used: of packed rings only, a split one has it in memory */
	bool has_addr, has_base, has_kick;
	bool started;
	bool failed;  /* its owner found it broken: not started until it is set up again */
	bool recover; /* the next start takes the indices from the inflight area */
	bool ran;     /* was started on this connection: its indices are known */
	struct vhost_inflight inflight;
};

struct vu_inflight_area {
	struct guest_map *map; /* NULL: none */
	uint64_t stride;       /* bytes from one queue's region to the next */
	uint16_t num_queues, queue_size;
};

/* The channel for requests to the front-end. */
struct vu_backend {
	int fd;
	sd_event_source *source;
	unsigned int pending; /* requests without a reply yet */
	uint8_t in[VU_HEADER_SIZE + 8];
	size_t got;
};

struct vu_conn {
	struct vhost_user *vu;
	int fd;
	sd_event_source *source;
	pid_t peer;
	uint64_t offered; /* features offered when it connected */
	uint64_t features;
	uint64_t protocol_features;
	bool has_features; /* SET_FEATURES was seen */
	uint8_t status;
	struct guest_mem *mem; /* never NULL; without regions until the front-end sends some */
	struct dirty_log *log;
	int log_fd;
	struct vu_inflight_area inflight;
	struct ring_record *record; /* NULL until a packed ring without an inflight area starts */
	struct vu_backend backend;
	unsigned int busy; /* inside the dispatcher: ending the connection must wait until it returns */
	bool closing;
	bool asked;                  /* `in` is a message that the owner was asked about */
	bool held;                   /* … and it has to wait */
	bool answered;               /* a message of this turn of the event loop */
	sd_event_source *hold_timer; /* NULL until first needed */
	char why[160];               /* why it ends; empty: orderly */
	struct vu_msg in;
	size_t got; /* bytes of `in` */
	unsigned int n_queues;
	struct vu_queue queues[];
};

/* Kept small: hundreds exist, most of them never connected. */
struct vhost_user {
	sd_event *event;
	char *path;
	dev_t dev; /* the socket file that we created, so that we remove no other */
	ino_t ino;
	int listen_fd;
	sd_event_source *listen_source;
	sd_event_source *retry_source; /* accepting again after the process ran out of descriptors */
	uint64_t features;
	unsigned int queue_pairs;
	const struct vhost_user_ops *ops;
	void *ctx;
	struct vu_conn *conn; /* NULL: not connected */
	uint64_t messages, bad_messages, refused_clients, connections;
};

/* vhost_user.c */
void vu_event(const struct vhost_user *vu, int level, const char *fmt, ...) printf_like(3, 4);

/* vhost_user_socket.c: a listening socket at `path`; no client can connect before mode and group are set. */
int vu_socket_listen(const char *path, unsigned int mode, gid_t group, int *ret_fd, dev_t *ret_dev,
		     ino_t *ret_ino, struct err *err);
void vu_socket_remove(const char *path, dev_t dev, ino_t ino);

/* vhost_user_conn.c */
/* Takes `fd`, also on failure. */
int vu_conn_open(struct vhost_user *vu, int fd, pid_t peer);
/* Ends the connection once it is not in use. `fmt` NULL: orderly. */
void vu_conn_end(struct vu_conn *conn, const char *fmt, ...) printf_like(2, 3);
/* Stops all queues and forgets everything that the driver set up; the connection, its memory and its log
 * stay. */
void vu_conn_reset(struct vu_conn *conn);

/* vhost_user_msg.c */
/* Continues reading at byte *got of `msg`, a reply or a request. 1: it is complete; 0: more is to come;
 * -ENOTCONN: orderly end; -EPROTO: malformed, `why` says how; else the system call's errno. */
int vu_frame_receive(int sock, bool replies, struct vu_msg *msg, size_t *got, const char **why);
/* The same for the next request of a connection. */
int vu_msg_receive(struct vu_conn *conn, const char **why);
/* Sends header and payload with descriptors (borrowed; at most VU_MAX_FDS). Never waits. Returns the number
 * of bytes sent, or negative errno. */
ssize_t vu_send_fds(int sock, const struct vu_header *hdr, const void *payload, uint32_t size, const int *fds,
		    unsigned int nfds);
/* The same with one, or none: -1. */
ssize_t vu_send(int sock, const struct vu_header *hdr, const void *payload, uint32_t size, int fd);
/* Sends the message as a reply of `size` bytes with at most one descriptor (borrowed, -1: none). Never waits:
 * -EAGAIN means that the front-end does not read its replies. */
int vu_msg_reply(struct vu_conn *conn, struct vu_msg *msg, uint32_t size, int fd);
void vu_msg_close_fds(struct vu_msg *msg);

/* vhost_user_dispatch.c */
/* Carries out conn->in and answers it: true. May end the connection. False: the owner has to give back queues
 * first; nothing was done, call again when it has. */
bool vu_dispatch(struct vu_conn *conn, struct vu_msg *msg);
/* For handlers: the message may not be (ends the connection, -EPROTO), or cannot be done (`code`, positive
 * errno: a NACK). */
int vu_bad(struct vu_conn *conn, const char *fmt, ...) printf_like(2, 3);
int vu_refuse(struct vu_conn *conn, int code, const char *fmt, ...) printf_like(3, 4);

/* vhost_user_queue.c */
/* Starts the queue if all it needs is there: 0 if it runs or is not complete yet, else why it cannot. */
int vu_queue_start(struct vu_conn *conn, struct vu_queue *q);
void vu_queue_stop(struct vu_conn *conn, struct vu_queue *q);
/* Around a change of what running queues depend on. */
void vu_queues_stop(struct vu_conn *conn);
void vu_queues_start(struct vu_conn *conn);
bool vu_packed(const struct vu_conn *conn);

/* vhost_user_backend.c */
int vu_backend_open(struct vu_conn *conn, int fd); /* takes `fd` on success */
void vu_backend_close(struct vu_conn *conn);

/* Handlers: 0 or what vu_bad() and vu_refuse() return; one that replies leaves payload, size and descriptor
 * in `msg`. */
typedef int vu_handler(struct vu_conn *conn, struct vu_msg *msg);
typedef int vu_ring_handler(struct vu_conn *conn, struct vu_msg *msg, struct vu_queue *q);

vu_handler vu_get_features, vu_set_features, vu_get_protocol_features, vu_set_protocol_features, vu_set_owner,
	vu_reset_owner, vu_reset_device, vu_get_queue_num, vu_get_status, vu_set_status, vu_set_mem_table,
	vu_add_mem_reg, vu_rem_mem_reg, vu_get_max_mem_slots, vu_set_log_base, vu_set_log_fd, vu_send_rarp,
	vu_net_set_mtu, vu_set_backend_req_fd, vu_get_inflight_fd, vu_set_inflight_fd;
vu_ring_handler vu_set_vring_num, vu_set_vring_addr, vu_set_vring_base, vu_get_vring_base, vu_set_vring_kick,
	vu_set_vring_call, vu_set_vring_err, vu_set_vring_enable;
