/* SPDX-License-Identifier: Apache-2.0 */

/* Handlers of messages that concern the whole device: features, memory, dirty log, inflight area, status. The
 * dispatcher has checked sizes, descriptor counts and states. A handler checks the rest, and then changes
 * state. */

#include <fcntl.h>
#include <string.h>

#include "util/log.h"
#include "vhost/vhost_user_priv.h"

static int reply_u64(struct vu_msg *msg, uint64_t value)
{
	msg->payload.u64 = value;
	msg->hdr.size = sizeof(value);
	return 0;
}

int vu_get_features(struct vu_conn *conn, struct vu_msg *msg)
{
	return reply_u64(msg, conn->offered);
}

int vu_set_features(struct vu_conn *conn, struct vu_msg *msg)
{
	uint64_t features = msg->payload.u64, changed = conn->features ^ features;

	if (features & ~conn->offered)
		return vu_bad(conn, "features %#llx were not offered",
			      (unsigned long long)(features & ~conn->offered));
	/* QEMU repeats it for each queue pair, while the first one is already running. */
	if (changed || !conn->has_features) {
		vu_queues_stop(conn);
		/* Indices of one ring format mean nothing in the other. */
		for (unsigned int i = 0;
		     conn->has_features && changed & VU_BIT(VU_F_RING_PACKED) && i < conn->n_queues; i++)
			conn->queues[i].has_base = false;
		conn->features = features;
		conn->has_features = true;
		vu_queues_start(conn);
	}
	if (!(features & VU_BIT(VU_F_PROTOCOL_FEATURES))) {
		for (unsigned int i = 0; i < conn->n_queues; i++) {
			struct vu_queue *q = &conn->queues[i];
			bool was = q->run.enabled;

			q->run.enabled = true;
			if (q->started && !was && conn->vu->ops->queue_enable)
				conn->vu->ops->queue_enable(conn->vu->ctx, i, true);
		}
	}
	return 0;
}

int vu_get_protocol_features(struct vu_conn *conn, struct vu_msg *msg)
{
	(void)conn;
	return reply_u64(msg, VU_PROTOCOL_FEATURES);
}

int vu_set_protocol_features(struct vu_conn *conn, struct vu_msg *msg)
{
	if (msg->payload.u64 & ~VU_PROTOCOL_FEATURES)
		return vu_bad(conn, "protocol features %#llx were not offered",
			      (unsigned long long)(msg->payload.u64 & ~VU_PROTOCOL_FEATURES));
	conn->protocol_features = msg->payload.u64;
	return 0;
}

int vu_set_owner(struct vu_conn *conn, struct vu_msg *msg)
{
	(void)conn;
	(void)msg;
	return 0; /* the connection itself says so */
}

/* Deprecated: "ignore this message, or use it to disable all rings". */
int vu_reset_owner(struct vu_conn *conn, struct vu_msg *msg)
{
	(void)msg;
	vu_queues_stop(conn);
	for (unsigned int i = 0; i < conn->n_queues; i++) {
		struct vu_queue *q = &conn->queues[i];

		close_fd(&q->run.kickfd);
		q->has_kick = q->failed = q->run.enabled = false;
	}
	return 0;
}

static void reset(struct vu_conn *conn)
{
	vu_conn_reset(conn);
	if (conn->vu->ops->set_status)
		conn->vu->ops->set_status(conn->vu->ctx, 0);
}

int vu_reset_device(struct vu_conn *conn, struct vu_msg *msg)
{
	(void)msg;
	reset(conn);
	return 0;
}

/* In queue pairs for a network device: QEMU, DPDK and libvhost-user agree on that. */
int vu_get_queue_num(struct vu_conn *conn, struct vu_msg *msg)
{
	return reply_u64(msg, conn->n_queues / 2);
}

int vu_get_status(struct vu_conn *conn, struct vu_msg *msg)
{
	return reply_u64(msg, conn->status);
}

int vu_set_status(struct vu_conn *conn, struct vu_msg *msg)
{
	if (msg->payload.u64 > UINT8_MAX)
		return vu_bad(conn, "status %#llx", (unsigned long long)msg->payload.u64);
	if (!msg->payload.u64) {
		reset(conn);
		return 0;
	}
	conn->status = (uint8_t)msg->payload.u64;
	if (conn->vu->ops->set_status)
		conn->vu->ops->set_status(conn->vu->ctx, conn->status);
	return 0;
}

/* Moves everything over to a new table; takes the reference. */
static void replace_mem(struct vu_conn *conn, struct guest_mem *mem)
{
	vu_queues_stop(conn);
	guest_mem_unref(conn->mem);
	conn->mem = mem;
	vu_queues_start(conn);
}

int vu_set_mem_table(struct vu_conn *conn, struct vu_msg *msg)
{
	const struct vu_memory *table = &msg->payload.memory;
	struct guest_mem *mem;
	int r;

	if (table->n > VU_MAX_REGIONS || msg->hdr.size != 8 + table->n * sizeof(table->regions[0]))
		return vu_bad(conn, "%u regions in %u bytes", table->n, msg->hdr.size);
	if (table->n != msg->nfds)
		return vu_bad(conn, "%u regions with %u descriptors", table->n, msg->nfds);
	r = guest_mem_new(&mem);
	if (r < 0)
		return vu_refuse(conn, -r, "%s", strerror(-r));
	guest_mem_set_domain(mem, conn->mem->domain);
	for (unsigned int i = 0; i < table->n; i++) {
		const struct vu_region *g = &table->regions[i];
		struct guest_mem *more = NULL;
		char why[GUEST_MAP_WHY];

		r = guest_mem_add(mem, g->gpa, g->size, g->uva, g->offset, msg->fds[i], &more);
		guest_mem_unref(mem);
		if (r < 0)
			return vu_refuse(conn, -r, "region %u (%#llx, %#llx bytes): %s", i,
					 (unsigned long long)g->gpa, (unsigned long long)g->size,
					 guest_map_why(r, msg->fds[i], why));
		mem = more;
	}
	replace_mem(conn, mem);
	return 0;
}

int vu_add_mem_reg(struct vu_conn *conn, struct vu_msg *msg)
{
	const struct vu_region *g = &msg->payload.mem_reg.region;
	char why[GUEST_MAP_WHY];
	struct guest_mem *mem;
	int r;

	r = guest_mem_add(conn->mem, g->gpa, g->size, g->uva, g->offset, msg->fds[0], &mem);
	if (r < 0)
		return vu_refuse(conn, -r, "region %#llx, %#llx bytes: %s", (unsigned long long)g->gpa,
				 (unsigned long long)g->size, guest_map_why(r, msg->fds[0], why));
	replace_mem(conn, mem);
	return 0;
}

int vu_rem_mem_reg(struct vu_conn *conn, struct vu_msg *msg)
{
	const struct vu_region *g = &msg->payload.mem_reg.region;
	struct guest_mem *mem;
	int r;

	r = guest_mem_remove(conn->mem, g->gpa, g->size, g->uva, &mem);
	if (r < 0)
		return vu_refuse(conn, -r, "region %#llx, %#llx bytes: %s", (unsigned long long)g->gpa,
				 (unsigned long long)g->size, strerror(-r));
	replace_mem(conn, mem);
	return 0;
}

int vu_get_max_mem_slots(struct vu_conn *conn, struct vu_msg *msg)
{
	(void)conn;
	return reply_u64(msg, GUEST_MEM_MAX_REGIONS);
}

int vu_set_log_base(struct vu_conn *conn, struct vu_msg *msg)
{
	char why[GUEST_MAP_WHY];
	struct dirty_log *log;
	int r;

	r = dirty_log_new(msg->fds[0], msg->payload.log.offset, msg->payload.log.size, &log);
	if (r < 0)
		return vu_refuse(conn, -r, "log of %#llx bytes: %s",
				 (unsigned long long)msg->payload.log.size,
				 guest_map_why(r, msg->fds[0], why));
	vu_queues_stop(conn);
	dirty_log_unref(conn->log);
	conn->log = log;
	vu_queues_start(conn);
	return reply_u64(msg, 0);
}

int vu_set_log_fd(struct vu_conn *conn, struct vu_msg *msg)
{
	/* It may be used to signal that the log has changed. No front-end waits for that, so the descriptor
	 * is only kept. */
	close_fd(&conn->log_fd);
	conn->log_fd = steal_fd(&msg->fds[0]);
	return 0;
}

int vu_send_rarp(struct vu_conn *conn, struct vu_msg *msg)
{
	if (conn->vu->ops->send_rarp)
		conn->vu->ops->send_rarp(conn->vu->ctx, msg->payload.mac);
	return 0;
}

int vu_net_set_mtu(struct vu_conn *conn, struct vu_msg *msg)
{
	/* virtio 1.3 §5.1.4: 68 to 65535. "respond with zero in case the specified MTU is valid" */
	if (msg->payload.u64 < 68 || msg->payload.u64 > UINT16_MAX)
		return vu_refuse(conn, EINVAL, "MTU %llu; 68 to 65535 are possible",
				 (unsigned long long)msg->payload.u64);
	if (conn->vu->ops->set_mtu)
		conn->vu->ops->set_mtu(conn->vu->ctx, (uint16_t)msg->payload.u64);
	return 0;
}

int vu_set_backend_req_fd(struct vu_conn *conn, struct vu_msg *msg)
{
	int r = vu_backend_open(conn, msg->fds[0]);

	if (r < 0)
		return vu_refuse(conn, -r, "not a stream socket: %s", strerror(-r));
	steal_fd(&msg->fds[0]);
	return 0;
}

int vu_get_inflight_fd(struct vu_conn *conn, struct vu_msg *msg)
{
	struct vu_inflight_desc *d = &msg->payload.inflight;
	uint64_t size;
	int r, fd;

	if (d->num_queues < 1 || d->num_queues > conn->n_queues || d->queue_size < 1 ||
	    d->queue_size > VHOST_USER_MAX_QUEUE_SIZE)
		return vu_bad(conn, "%u queues of %u", d->num_queues, d->queue_size);
	r = vhost_inflight_create(d->num_queues, d->queue_size, &size, &fd);
	if (r < 0)
		return vu_refuse(conn, -r, "%s", strerror(-r));
	d->size = size;
	d->offset = 0;
	/* The reply has the request's size, and so its idea of the padding. */
	msg->fds[0] = fd;
	msg->nfds = 1;
	msg->reply_fd = true;
	return 0;
}

int vu_set_inflight_fd(struct vu_conn *conn, struct vu_msg *msg)
{
	const struct vu_inflight_desc *d = &msg->payload.inflight;
	char why[GUEST_MAP_WHY];
	struct guest_map *map;
	uint64_t stride;
	int r;

	if (d->num_queues < 1 || d->num_queues > conn->n_queues || d->queue_size < 1 ||
	    d->queue_size > VHOST_USER_MAX_QUEUE_SIZE)
		return vu_bad(conn, "%u queues of %u", d->num_queues, d->queue_size);
	stride = d->size / d->num_queues;
	/* Whether a region can hold a packed ring is checked when one is started. */
	if (d->size % d->num_queues || stride % 8 || d->offset % 8 ||
	    stride < vhost_inflight_region_size(d->queue_size, false))
		return vu_bad(conn, "area of %#llx bytes at %#llx", (unsigned long long)d->size,
			      (unsigned long long)d->offset);
	r = guest_map_get(GUEST_MAP_PRIVATE, msg->fds[0], d->offset, d->size, &map);
	if (r < 0)
		return vu_refuse(conn, -r, "cannot map the area: %s", guest_map_why(r, msg->fds[0], why));
	guest_map_unref(conn->inflight.map);
	conn->inflight = (struct vu_inflight_area){
		.map = map, .stride = stride, .num_queues = d->num_queues, .queue_size = d->queue_size};
	for (unsigned int i = 0; i < conn->n_queues; i++)
		conn->queues[i].recover = true;
	return 0;
}
