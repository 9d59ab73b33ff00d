/* SPDX-License-Identifier: Apache-2.0 */

/* The table of messages, and the dispatcher that enforces it.
 *
 * Security model. A message is as hostile as the process that sends it, which may be a QEMU that its guest
 * has taken over. Before a handler sees it, its size, its number of descriptors, the ring's number and the
 * state that it needs have been checked against its row. After the handler, in one place, the answer is sent
 * and every descriptor that the handler did not take is closed. Three outcomes:
 *
 *   done	0 in the reply, where one is due
 *   refused	the message was well formed but cannot be done: not 0 in the reply; nothing has changed. Where
 *		no reply was asked for and the front-end would go on in the belief that it worked (VU_VITAL),
 *		the connection ends
 *   bad	a message that no correct front-end sends: the connection ends */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/log.h"
#include "vhost/vhost_user_priv.h"

enum vu_flags {
	VU_REPLIES = 1,        /* answers with its own payload, whether a reply was requested or not */
	VU_VITAL = 2,          /* see above */
	VU_RING_STOPPED = 4,   /* the ring that it names must not be running */
	VU_QUEUES_STOPPED = 8, /* no ring may be running */
	VU_RING_IN_STATE = 16, /* the payload starts with a ring number (vring state, vring address) */
	VU_RING_IN_U64 = 32,   /* the payload has a ring number and the no-descriptor flag */
	VU_STOPS_RING = 64,    /* the ring that it names is stopped, if it is running */
	VU_STOPS_ALL = 128,    /* all rings are */
};

struct vu_row {
	const char *name;
	vu_handler *handle;
	vu_ring_handler *handle_ring; /* or this, for one that names a ring */
	uint16_t min_size, max_size;  /* of the payload */
	uint8_t min_fds, max_fds;
	uint64_t needs; /* protocol features that must have been negotiated */
	unsigned int flags;
};

/* Payload sizes, least and most */
#define NONE  0, 0
#define MAYBE 0, 8 /* "N/A", but some front-ends send a u64 */
#define U64   8, 8
#define STATE sizeof(struct vu_ring_state), sizeof(struct vu_ring_state)
#define ADDR  sizeof(struct vu_ring_addr), sizeof(struct vu_ring_addr)
#define TABLE offsetof(struct vu_memory, regions), sizeof(struct vu_memory)
#define REG   sizeof(struct vu_mem_reg), sizeof(struct vu_mem_reg)
#define LOG   sizeof(struct vu_log), sizeof(struct vu_log)
#define AREA  VU_INFLIGHT_DESC_MIN, sizeof(struct vu_inflight_desc)

#define PF_LOG_SHMFD           VU_BIT(VU_PF_LOG_SHMFD)
#define PF_INFLIGHT_SHMFD      VU_BIT(VU_PF_INFLIGHT_SHMFD)
#define PF_CONFIGURE_MEM_SLOTS VU_BIT(VU_PF_CONFIGURE_MEM_SLOTS)
#define PF_STATUS              VU_BIT(VU_PF_STATUS)

#define DEVICE(f) vu_##f, NULL
#define RING(f)   NULL, vu_##f

/* Features that a back-end only has to offer (MQ, RARP, MTU, BACKEND_REQ, RESET_DEVICE) are not checked here:
 * we offer them. Nor is F_PROTOCOL_FEATURES for SET_VRING_ENABLE: QEMU sends it before SET_FEATURES. A
 * descriptor with REM_MEM_REG is wrong, but older front-ends send it and the specification lets us close
 * it. */
/* clang-format off */
static const struct vu_row rows[] = {
	[VU_GET_FEATURES]           = {"GET_FEATURES",          DEVICE(get_features),           NONE,  0, 0, 0,                     VU_REPLIES},
	[VU_SET_FEATURES]           = {"SET_FEATURES",          DEVICE(set_features),           U64,   0, 0, 0,                     VU_STOPS_ALL},
	[VU_SET_OWNER]              = {"SET_OWNER",             DEVICE(set_owner),              MAYBE, 0, 0, 0,                     0},
	[VU_RESET_OWNER]            = {"RESET_OWNER",           DEVICE(reset_owner),            MAYBE, 0, 0, 0,                     VU_STOPS_ALL},
	[VU_SET_MEM_TABLE]          = {"SET_MEM_TABLE",         DEVICE(set_mem_table),          TABLE, 0, 8, 0,                     VU_VITAL | VU_STOPS_ALL},
	[VU_SET_LOG_BASE]           = {"SET_LOG_BASE",          DEVICE(set_log_base),           LOG,   1, 1, PF_LOG_SHMFD,          VU_REPLIES | VU_VITAL | VU_STOPS_ALL},
	[VU_SET_LOG_FD]             = {"SET_LOG_FD",            DEVICE(set_log_fd),             MAYBE, 1, 1, 0,                     0},
	[VU_SET_VRING_NUM]          = {"SET_VRING_NUM",         RING(set_vring_num),            STATE, 0, 0, 0,                     VU_RING_IN_STATE | VU_RING_STOPPED},
	[VU_SET_VRING_ADDR]         = {"SET_VRING_ADDR",        RING(set_vring_addr),           ADDR,  0, 0, 0,                     VU_RING_IN_STATE | VU_STOPS_RING},
	[VU_SET_VRING_BASE]         = {"SET_VRING_BASE",        RING(set_vring_base),           STATE, 0, 0, 0,                     VU_RING_IN_STATE | VU_RING_STOPPED},
	[VU_GET_VRING_BASE]         = {"GET_VRING_BASE",        RING(get_vring_base),           STATE, 0, 0, 0,                     VU_RING_IN_STATE | VU_REPLIES | VU_STOPS_RING},
	[VU_SET_VRING_KICK]         = {"SET_VRING_KICK",        RING(set_vring_kick),           U64,   0, 1, 0,                     VU_RING_IN_U64 | VU_STOPS_RING},
	[VU_SET_VRING_CALL]         = {"SET_VRING_CALL",        RING(set_vring_call),           U64,   0, 1, 0,                     VU_RING_IN_U64},
	[VU_SET_VRING_ERR]          = {"SET_VRING_ERR",         RING(set_vring_err),            U64,   0, 1, 0,                     VU_RING_IN_U64},
	[VU_GET_PROTOCOL_FEATURES]  = {"GET_PROTOCOL_FEATURES", DEVICE(get_protocol_features),  NONE,  0, 0, 0,                     VU_REPLIES},
	[VU_SET_PROTOCOL_FEATURES]  = {"SET_PROTOCOL_FEATURES", DEVICE(set_protocol_features),  U64,   0, 0, 0,                     0},
	[VU_GET_QUEUE_NUM]          = {"GET_QUEUE_NUM",         DEVICE(get_queue_num),          NONE,  0, 0, 0,                     VU_REPLIES},
	[VU_SET_VRING_ENABLE]       = {"SET_VRING_ENABLE",      RING(set_vring_enable),         STATE, 0, 0, 0,                     VU_RING_IN_STATE},
	[VU_SEND_RARP]              = {"SEND_RARP",             DEVICE(send_rarp),              U64,   0, 0, 0,                     0},
	[VU_NET_SET_MTU]            = {"NET_SET_MTU",           DEVICE(net_set_mtu),            U64,   0, 0, 0,                     0},
	[VU_SET_BACKEND_REQ_FD]     = {"SET_BACKEND_REQ_FD",    DEVICE(set_backend_req_fd),     MAYBE, 1, 1, 0,                     0},
	[VU_GET_INFLIGHT_FD]        = {"GET_INFLIGHT_FD",       DEVICE(get_inflight_fd),        AREA,  0, 0, PF_INFLIGHT_SHMFD,     VU_REPLIES | VU_VITAL},
	[VU_SET_INFLIGHT_FD]        = {"SET_INFLIGHT_FD",       DEVICE(set_inflight_fd),        AREA,  1, 1, PF_INFLIGHT_SHMFD,     VU_VITAL | VU_QUEUES_STOPPED},
	[VU_RESET_DEVICE]           = {"RESET_DEVICE",          DEVICE(reset_device),           MAYBE, 0, 0, 0,                     VU_STOPS_ALL},
	[VU_GET_MAX_MEM_SLOTS]      = {"GET_MAX_MEM_SLOTS",     DEVICE(get_max_mem_slots),      NONE,  0, 0, PF_CONFIGURE_MEM_SLOTS, VU_REPLIES},
	[VU_ADD_MEM_REG]            = {"ADD_MEM_REG",           DEVICE(add_mem_reg),            REG,   1, 1, PF_CONFIGURE_MEM_SLOTS, VU_VITAL | VU_STOPS_ALL},
	[VU_REM_MEM_REG]            = {"REM_MEM_REG",           DEVICE(rem_mem_reg),            REG,   0, 1, PF_CONFIGURE_MEM_SLOTS, VU_VITAL | VU_STOPS_ALL},
	[VU_SET_STATUS]             = {"SET_STATUS",            DEVICE(set_status),             U64,   0, 0, PF_STATUS,             VU_STOPS_ALL},
	[VU_GET_STATUS]             = {"GET_STATUS",            DEVICE(get_status),             NONE,  0, 0, PF_STATUS,             VU_REPLIES},
};
/* clang-format on */

static const struct vu_row *row_of(const struct vu_msg *msg)
{
	return msg->hdr.request < ARRAY_SIZE(rows) && rows[msg->hdr.request].name ? &rows[msg->hdr.request]
										  : NULL;
}

/* The name of the message that is being served. */
static const char *name_of(const struct vu_msg *msg, char *buf, size_t size)
{
	const struct vu_row *row = row_of(msg);

	if (row)
		return row->name;
	snprintf(buf, size, "message %u", msg->hdr.request);
	return buf;
}

#define NO_QUEUE (-2)
#define HELD     1 /* what serve() returns in addition to the results of handlers */

int vu_bad(struct vu_conn *conn, const char *fmt, ...)
{
	char text[128], number[24];
	const char *name = name_of(&conn->in, number, sizeof(number));
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	conn->vu->bad_messages++;
	vu_event(conn->vu, LOG_LVL_ERR, "bad message, connection ended: %s: %s", name, text);
	vu_conn_end(conn, "%s: %s", name, text);
	return -EPROTO;
}

int vu_refuse(struct vu_conn *conn, int code, const char *fmt, ...)
{
	char text[128], number[24];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	vu_event(conn->vu, LOG_LVL_WARNING, "%s: %s", name_of(&conn->in, number, sizeof(number)), text);
	return -code;
}

static unsigned int ring_of(const struct vu_row *row, const struct vu_msg *msg)
{
	return row->flags & VU_RING_IN_U64 ? msg->payload.u64 & VU_RING_INDEX_MASK : msg->payload.state.index;
}

/* All checks of a message that do not depend on what it does. */
static int check(struct vu_conn *conn, const struct vu_row *row, const struct vu_msg *msg)
{
	if (msg->hdr.size < row->min_size || msg->hdr.size > row->max_size)
		return vu_bad(conn, "payload of %u bytes, expected %u to %u", msg->hdr.size, row->min_size,
			      row->max_size);
	if (msg->nfds < row->min_fds || msg->nfds > row->max_fds)
		return vu_bad(conn, "%u descriptors, expected %u to %u", msg->nfds, row->min_fds,
			      row->max_fds);
	if ((conn->protocol_features & row->needs) != row->needs)
		return vu_bad(conn, "its protocol feature was not negotiated");
	if (row->handle_ring && ring_of(row, msg) >= conn->n_queues)
		return vu_bad(conn, "queue %u of %u", ring_of(row, msg), conn->n_queues);
	if (row->flags & VU_RING_IN_U64) {
		if (msg->payload.u64 & ~(uint64_t)(VU_RING_INDEX_MASK | VU_RING_NOFD))
			return vu_bad(conn, "unknown flags %#llx", (unsigned long long)msg->payload.u64);
		if ((msg->payload.u64 & VU_RING_NOFD ? 0 : 1) != msg->nfds)
			return vu_bad(conn, "the no-descriptor flag does not match the descriptors");
	}
	if (row->flags & VU_RING_STOPPED && conn->queues[ring_of(row, msg)].started)
		return vu_bad(conn, "queue %u is running", ring_of(row, msg));
	for (unsigned int i = 0; row->flags & VU_QUEUES_STOPPED && i < conn->n_queues; i++)
		if (conn->queues[i].started)
			return vu_bad(conn, "queue %u is running", i);
	return 0;
}

/* The running queue that the message will stop; -1: all of them; or NO_QUEUE. */
static int stops(const struct vu_conn *conn, const struct vu_row *row, const struct vu_msg *msg)
{
	if (row->flags & VU_STOPS_RING && conn->queues[ring_of(row, msg)].started)
		return (int)ring_of(row, msg);
	if (!(row->flags & VU_STOPS_ALL))
		return NO_QUEUE;
	if (msg->hdr.request == VU_SET_FEATURES && conn->has_features && conn->features == msg->payload.u64)
		return NO_QUEUE;
	if (msg->hdr.request == VU_SET_STATUS && msg->payload.u64)
		return NO_QUEUE;
	for (unsigned int i = 0; i < conn->n_queues; i++)
		if (conn->queues[i].started)
			return -1;
	return NO_QUEUE;
}

/* Whether the message may be handled now. Asks once for each. */
static bool quiesced(struct vu_conn *conn, const struct vu_row *row, const struct vu_msg *msg)
{
	int index = conn->asked || !conn->vu->ops->quiesce ? NO_QUEUE : stops(conn, row, msg);

	if (index == NO_QUEUE)
		return true;
	conn->asked = conn->held = true;
	if (conn->vu->ops->quiesce(conn->vu->ctx, index))
		conn->held = false;
	return !conn->held; /* it may have resumed before it returned */
}

static int serve(struct vu_conn *conn, const struct vu_row *row, struct vu_msg *msg)
{
	int r;

	/* A front-end can do without an unknown message if it asks for the result; otherwise it may wait for
	 * a reply of unknown form, and the connection is of no use. */
	if (!row)
		return msg->hdr.flags & VU_FLAG_NEED_REPLY ? vu_refuse(conn, EOPNOTSUPP, "not supported")
							   : vu_bad(conn, "not supported");
	r = check(conn, row, msg);
	if (r < 0)
		return r;
	if (!quiesced(conn, row, msg))
		return HELD;
	if (conn->closing) /* the owner refuses */
		return 0;
	return row->handle_ring ? row->handle_ring(conn, msg, &conn->queues[ring_of(row, msg)])
				: row->handle(conn, msg);
}

bool vu_dispatch(struct vu_conn *conn, struct vu_msg *msg)
{
	const struct vu_row *row = row_of(msg);
	bool need_reply;
	int r;

	conn->busy++;
	r = serve(conn, row, msg);
	if (r == HELD && !conn->closing) {
		conn->busy--;
		return false;
	}
	conn->asked = conn->held = false;
	conn->vu->messages++;

	/* Evaluated after the handler, for the SET_PROTOCOL_FEATURES that negotiates it. */
	need_reply = msg->hdr.flags & VU_FLAG_NEED_REPLY && conn->protocol_features & VU_BIT(VU_PF_REPLY_ACK);
	if (conn->closing) {
		r = 0;
	} else if (r >= 0 && row->flags & VU_REPLIES) {
		r = vu_msg_reply(conn, msg, msg->hdr.size, msg->reply_fd ? msg->fds[0] : -1);
		conn->answered = true;
	} else if (need_reply) {
		msg->payload.u64 = r < 0;
		r = vu_msg_reply(conn, msg, sizeof(msg->payload.u64), -1);
		conn->answered = true;
	} else if (r < 0 && (!row || row->flags & (VU_VITAL | VU_REPLIES))) {
		vu_event(
			conn->vu, LOG_LVL_WARNING,
			"connection ended: the front-end asked for no acknowledgement, so it cannot be told of the failure");
		vu_conn_end(conn, "%s failed", row ? row->name : "a message");
		r = 0;
	} else {
		r = 0;
	}
	if (r < 0) { /* -EAGAIN: it does not read what it asked for */
		vu_event(conn->vu, LOG_LVL_WARNING, "connection ended: cannot send a reply: %s",
			 strerror(-r));
		vu_conn_end(conn, "cannot send a reply: %s", strerror(-r));
	}
	vu_msg_close_fds(msg);
	conn->busy--;
	return true;
}
