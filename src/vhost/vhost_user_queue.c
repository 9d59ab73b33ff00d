/* SPDX-License-Identifier: Apache-2.0 */

/* Starting and stopping queues.
 *
 * Theory of operation. A queue is complete when features, memory, size, addresses, base and kick are known;
 * it is then translated and checked as a whole, and handed to the owner as `run`. Nothing of it changes until
 * it is stopped, except the call descriptor and `enabled`. Stopping copies the reached indices back to the
 * queue's settings, so that a start after a change (memory, features, log) continues where it was.
 *
 * The specification starts a ring at the first kick. We start it when a kick can come, and the datapath looks
 * once without one: a kick sent before we listened is not lost, and a front-end that never kicks (a poll mode
 * driver with notifications off) is served. */

#include <string.h>

#include "util/log.h"
#include "vhost/vhost_user_priv.h"

#define PACKED_IDX_MASK 0x7fffu

bool vu_packed(const struct vu_conn *conn)
{
	return conn->features & VU_BIT(VU_F_RING_PACKED);
}

/* Each part of the ring must be in one region, and aligned here, too: the region may shift it. */
static int translate(const struct vu_conn *conn, struct vu_queue *q, const char **why)
{
	uint64_t n = q->size, event = conn->features & VU_BIT(VU_F_RING_EVENT_IDX) ? 2 : 0;
	bool packed = vu_packed(conn);
	struct vhost_queue *run = &q->run;

	*why = "the ring is not in guest memory";
	run->desc = guest_mem_uva(conn->mem, q->addr.desc, 16 * n);
	run->driver = guest_mem_uva(conn->mem, q->addr.avail, packed ? 4 : 4 + 2 * n + event);
	run->device = guest_mem_uva(conn->mem, q->addr.used, packed ? 4 : 4 + 8 * n + event);
	if (!run->desc || !run->driver || !run->device)
		return -EFAULT;
	*why = "the ring is not aligned";
	if ((uintptr_t)run->desc % 16 || (uintptr_t)run->driver % (packed ? 4 : 2) ||
	    (uintptr_t)run->device % 4)
		return -EINVAL;
	/* A packed ring's used elements are in the descriptor ring, but QEMU still gives the address of the
	 * device area as log address; so ask the memory table. */
	if (!(q->addr.flags & VU_RING_F_LOG))
		run->device_gpa = VHOST_QUEUE_NOT_LOGGED;
	else
		run->device_gpa = packed ? guest_mem_to_gpa(conn->mem, run->desc) : q->addr.log;
	return 0;
}

static void load_indices(const struct vu_conn *conn, struct vu_queue *q)
{
	struct vhost_queue *run = &q->run;

	run->avail_idx = q->avail_idx;
	run->used_idx = q->used_idx;
	/* The used index of a split ring is where the last back-end left it in memory; between the two are
	 * the descriptors that it took and did not complete: none, if it was vpfd. */
	if (!vu_packed(conn))
		run->used_idx = vhost_queue_used_idx(run);
}

static bool indices_in_range(const struct vu_conn *conn, const struct vu_queue *q)
{
	if (vu_packed(conn))
		return (q->run.avail_idx & PACKED_IDX_MASK) < q->size &&
		       (q->run.used_idx & PACKED_IDX_MASK) < q->size;
	return (uint16_t)(q->run.avail_idx - q->run.used_idx) <= q->size;
}

/* Finds the queue's region of the inflight area, if there is one. Changes nothing in it. */
static int find_inflight(const struct vu_conn *conn, struct vu_queue *q)
{
	const struct vu_inflight_area *area = &conn->inflight;

	q->run.inflight = NULL;
	if (!area->map || q->run.index >= area->num_queues)
		return 0;
	if (q->size > area->queue_size ||
	    vhost_inflight_region_size((uint16_t)q->size, vu_packed(conn)) > area->stride)
		return -EINVAL;
	q->inflight.split = (void *)(area->map->hva + q->run.index * area->stride);
	q->inflight.size = (uint16_t)q->size;
	q->run.inflight = &q->inflight;
	return 0;
}

static int start_inflight(const struct vu_conn *conn, struct vu_queue *q)
{
	struct vhost_queue *run = &q->run;
	int r;

	if (!vu_packed(conn))
		return vhost_inflight_split_start(&q->inflight, run->used_idx);
	r = vhost_inflight_packed_start(&q->inflight, run->desc, q->recover, &run->used_idx);
	if (r >= 0 && q->recover)
		run->avail_idx = run->used_idx;
	return r;
}

/* A packed ring whose position the front-end does not keep. It also runs without the file; but then a restart
 * of this process would cost it its traffic until the driver sets it up again. */
static void start_record(struct vu_conn *conn, struct vu_queue *q)
{
	struct vhost_queue *run = &q->run;
	uint16_t used_idx = run->used_idx;

	if (!conn->record) {
		int r = ring_record_open(conn->vu->path, &conn->record);

		if (r < 0) {
			vu_event(conn->vu, LOG_LVL_WARNING,
				 "cannot record the position of packed rings next to %s: %s", conn->vu->path,
				 strerror(-r));
			return;
		}
	}
	ring_record_start(conn->record, run->index, run->desc, (uint16_t)q->size, !q->ran, &q->inflight,
			  &used_idx);
	if (used_idx != run->used_idx)
		run->avail_idx = run->used_idx = used_idx;
	run->inflight = &q->inflight;
}

/* Fills in `run` and checks it. Writes only to the inflight area, and only if everything else is right. */
static int prepare(struct vu_conn *conn, struct vu_queue *q, const char **why)
{
	struct vhost_queue *run = &q->run;
	int r;

	*why = "the size of a split ring is not a power of two";
	if (!vu_packed(conn) && q->size & (q->size - 1))
		return -EINVAL;
	r = translate(conn, q, why);
	if (r < 0)
		return r;
	*why = "the inflight area does not fit the queue";
	r = find_inflight(conn, q);
	if (r < 0)
		return r;
	load_indices(conn, q);
	/* After a crash the inflight area has the position of the last run; the front-end can only guess. */
	if (!vu_packed(conn) && run->inflight && q->recover && !vhost_inflight_fresh(run->inflight))
		run->avail_idx = run->used_idx;
	*why = "the ring index is out of range";
	if (!indices_in_range(conn, q))
		return -ERANGE;
	*why = "the front-end truncated its memory";
	if (guest_mem_bad(conn->mem) || (conn->inflight.map && guest_map_bad(conn->inflight.map)))
		return -EFAULT;
	*why = "the inflight area does not fit the queue";
	if (!run->inflight && vu_packed(conn))
		start_record(conn, q);
	else if (run->inflight)
		return start_inflight(conn, q);
	return 0;
}

int vu_queue_start(struct vu_conn *conn, struct vu_queue *q)
{
	struct vhost_queue *run = &q->run;
	const char *why = "";
	int r;

	if (q->started || q->failed || conn->closing || !conn->has_features || !conn->mem->n || !q->size ||
	    !q->has_addr || !q->has_base || !q->has_kick)
		return 0;
	r = prepare(conn, q, &why);
	if (r < 0)
		return vu_refuse(conn, -r, "queue %u stays stopped: %s", run->index, why);

	run->size = q->size;
	run->features = conn->features & ~VU_FEATURES_OWN;
	run->packed = vu_packed(conn);
	run->mem = guest_mem_ref(conn->mem);
	run->log = conn->log && conn->features & VU_BIT(VU_F_LOG_ALL) ? dirty_log_ref(conn->log) : NULL;
	q->started = true;
	r = conn->vu->ops->queue_start(conn->vu->ctx, run);
	if (r < 0) {
		q->started = false;
		guest_mem_unref(steal_ptr(&run->mem));
		dirty_log_unref(steal_ptr(&run->log));
		return vu_refuse(conn, -r, "queue %u stays stopped: %s", run->index, strerror(-r));
	}
	q->recover = false;
	q->ran = true;
	return 0;
}

void vu_queue_stop(struct vu_conn *conn, struct vu_queue *q)
{
	uint16_t avail_idx = q->run.avail_idx, used_idx = q->run.used_idx;

	if (!q->started)
		return;
	conn->vu->ops->queue_stop(conn->vu->ctx, q->run.index, &avail_idx, &used_idx);
	q->started = false;
	q->avail_idx = avail_idx;
	q->used_idx = used_idx;
	guest_mem_unref(steal_ptr(&q->run.mem));
	dirty_log_unref(steal_ptr(&q->run.log));
}

void vu_queues_stop(struct vu_conn *conn)
{
	for (unsigned int i = 0; i < conn->n_queues; i++)
		vu_queue_stop(conn, &conn->queues[i]);
}

void vu_queues_start(struct vu_conn *conn)
{
	for (unsigned int i = 0; i < conn->n_queues; i++)
		vu_queue_start(conn, &conn->queues[i]);
}
