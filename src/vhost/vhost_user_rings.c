/* SPDX-License-Identifier: Apache-2.0 */

/* Handlers of messages that concern one ring. The front-end chooses their order: QEMU sends call descriptors
 * before features and enables rings before anything else; so each message stores its part, and whichever
 * comes last starts the queue (vu_queue_start() does nothing while a part is missing). If the queue cannot be
 * started, that last message is refused and has no effect. */

#include <fcntl.h>
#include <string.h>

#include "util/eventfd.h"
#include "util/log.h"
#include "vhost/vhost_user_priv.h"

int vu_set_vring_num(struct vu_conn *conn, struct vu_msg *msg, struct vu_queue *q)
{
	uint32_t size = msg->payload.state.num, old = q->size;
	int r;

	if (size < 1 || size > VHOST_USER_MAX_QUEUE_SIZE)
		return vu_bad(conn, "queue %u: size %u; 1 to %d are possible", q->run.index, size,
			      VHOST_USER_MAX_QUEUE_SIZE);
	if (conn->has_features && !vu_packed(conn) && size & (size - 1))
		return vu_bad(conn, "queue %u: size %u of a split ring is not a power of two", q->run.index,
			      size);
	q->size = size;
	r = vu_queue_start(conn, q);
	if (r < 0)
		q->size = old;
	return r;
}

int vu_set_vring_addr(struct vu_conn *conn, struct vu_msg *msg, struct vu_queue *q)
{
	const struct vu_ring_addr *a = &msg->payload.addr;
	struct vu_ring_addr old = q->addr;
	bool had = q->has_addr;
	int r;

	if (a->flags & ~VU_RING_F_LOG)
		return vu_bad(conn, "queue %u: unknown flags %#x", q->run.index, a->flags);
	/* virtio 1.3 §2.7, §2.8.10; the available ring of a split ring may be at an even address, the
	 * driver's events of a packed one need four bytes. */
	if (a->desc % 16 || a->avail % (vu_packed(conn) ? 4 : 2) || a->used % 4)
		return vu_refuse(conn, EINVAL, "queue %u: address is not aligned", q->run.index);
	/* Without memory there is nothing to compare with yet; with it, refuse what is outside at once. */
	if (conn->mem->n && (!guest_mem_uva(conn->mem, a->desc, 16) ||
			     !guest_mem_uva(conn->mem, a->avail, 4) || !guest_mem_uva(conn->mem, a->used, 4)))
		return vu_refuse(conn, EFAULT, "queue %u: address is not in guest memory", q->run.index);

	/* QEMU repeats the same addresses of a running ring, to switch the log on and off. */
	if (q->started)
		vu_queue_stop(conn, q);
	q->addr = *a;
	q->has_addr = true;
	r = vu_queue_start(conn, q);
	if (r < 0 && had) { /* the ring does not fit there: as if the message had not come */
		q->addr = old;
		vu_queue_start(conn, q);
	} else if (r < 0) {
		q->has_addr = false;
	}
	return r;
}

int vu_set_vring_base(struct vu_conn *conn, struct vu_msg *msg, struct vu_queue *q)
{
	uint32_t num = msg->payload.state.num;
	uint16_t avail_idx = q->avail_idx, used_idx = q->used_idx;
	bool had = q->has_base;
	int r;

	if (conn->has_features && !vu_packed(conn) && num > UINT16_MAX)
		return vu_bad(conn, "queue %u: index %#x", q->run.index, num);
	q->avail_idx = (uint16_t)num;
	/* DPDK's front-end and back-end know the lower half only: for them the used and the available index
	 * are the same, which is true whenever nothing is in flight. Zero in the upper half means that; as an
	 * index of its own it would be 0 with the other wrap counter, reached only with a whole ring in
	 * flight. */
	q->used_idx = num >> 16 ? (uint16_t)(num >> 16) : (uint16_t)num;
	q->has_base = true;
	q->failed = false;
	r = vu_queue_start(conn, q);
	if (r < 0) {
		q->avail_idx = avail_idx;
		q->used_idx = used_idx;
		q->has_base = had;
	}
	return r;
}

int vu_get_vring_base(struct vu_conn *conn, struct vu_msg *msg, struct vu_queue *q)
{
	vu_queue_stop(conn, q);
	ring_record_forget(conn->record, q->run.index);
	/* Only the next kick descriptor starts it again. */
	close_fd(&q->run.kickfd);
	q->has_kick = q->failed = false;
	msg->payload.state.num = q->avail_idx | (vu_packed(conn) ? (uint32_t)q->used_idx << 16 : 0);
	msg->hdr.size = sizeof(msg->payload.state);
	return 0;
}

/* Only eventfds are accepted: to signal them takes no time, whatever the front-end does with its own descriptor of them
 * (util/eventfd.h). Returns 0 and -1 in *ret for the no-descriptor flag. */
static int take_eventfd(struct vu_conn *conn, struct vu_msg *msg, const struct vu_queue *q, int *ret)
{
	if (!msg->nfds) {
		*ret = -1;
		return 0;
	}
	if (!is_eventfd(msg->fds[0]))
		return vu_bad(conn, "queue %u: the descriptor is not an eventfd", q->run.index);
	*ret = steal_fd(&msg->fds[0]);
	return 0;
}

int vu_set_vring_kick(struct vu_conn *conn, struct vu_msg *msg, struct vu_queue *q)
{
	int fd = -1, r = take_eventfd(conn, msg, q, &fd);

	if (r < 0)
		return r;
	vu_queue_stop(conn, q);
	close_fd(&q->run.kickfd);
	q->run.kickfd = fd;
	q->has_kick = true;
	r = vu_queue_start(conn, q);
	if (r < 0) { /* the next attempt needs a new kick, so that no other message starts half a ring */
		close_fd(&q->run.kickfd);
		q->has_kick = false;
	}
	return r;
}

int vu_set_vring_call(struct vu_conn *conn, struct vu_msg *msg, struct vu_queue *q)
{
	int fd = -1, old = q->run.callfd, r = take_eventfd(conn, msg, q, &fd);

	if (r < 0)
		return r;
	q->run.callfd = fd;
	if (q->started && conn->vu->ops->queue_call)
		conn->vu->ops->queue_call(conn->vu->ctx, q->run.index, fd);
	close_fd(&old);
	return 0;
}

int vu_set_vring_err(struct vu_conn *conn, struct vu_msg *msg, struct vu_queue *q)
{
	int fd = -1, r = take_eventfd(conn, msg, q, &fd);

	if (r < 0)
		return r;
	close_fd(&q->run.errfd);
	q->run.errfd = fd;
	return 0;
}

int vu_set_vring_enable(struct vu_conn *conn, struct vu_msg *msg, struct vu_queue *q)
{
	bool enable = msg->payload.state.num;

	if (msg->payload.state.num > 1)
		return vu_bad(conn, "queue %u: %u is neither 0 nor 1", q->run.index, msg->payload.state.num);
	if (q->run.enabled == enable)
		return 0;
	q->run.enabled = enable;
	if (q->started && conn->vu->ops->queue_enable)
		conn->vu->ops->queue_enable(conn->vu->ctx, q->run.index, enable);
	return 0;
}
