/* SPDX-License-Identifier: Apache-2.0 */

#include "switch/control_box.h"

#include "settings/counters.h"
#include "switch/worker.h"

#define SLOTS CONTROL_BOX_FRAMES

_Static_assert((SLOTS & (SLOTS - 1)) == 0, "positions wrap around");

struct slot {
	/* The slot p % SLOTS may be filled as position p when this is p, and taken when it is p + 1. */
	uint32_t sequence;
	uint32_t len;
	uint8_t data[CONTROL_BOX_LEN];
};

struct control_box {
	struct worker_pool *pool;
	enum control_state state; /* atomic; main thread writes */
	uint32_t head;            /* main thread */
	uint32_t tail;            /* atomic; producers */
	struct slot slot[SLOTS];
};

int control_box_new(struct worker_pool *pool, struct control_box **ret)
{
	struct control_box *box = calloc(1, sizeof(*box));

	if (!box)
		return -ENOMEM;
	box->pool = pool;
	box->state = CONTROL_CLOSED;
	for (uint32_t i = 0; i < SLOTS; i++)
		box->slot[i].sequence = i;
	*ret = box;
	return 0;
}

void control_box_free(struct control_box *box)
{
	free(box);
}

static bool has_frame(const struct control_box *box)
{
	return __atomic_load_n(&box->slot[box->head % SLOTS].sequence, __ATOMIC_SEQ_CST) == box->head + 1;
}

static size_t take(struct control_box *box, uint8_t *to)
{
	struct slot *s = &box->slot[box->head % SLOTS];
	size_t len;

	if (!has_frame(box))
		return 0;
	len = s->len;
	if (to)
		memcpy(to, s->data, len);
	__atomic_store_n(&s->sequence, box->head + SLOTS, __ATOMIC_RELEASE);
	box->head++;
	return len;
}

void control_box_set(struct control_box *box, enum control_state state)
{
	__atomic_store_n(&box->state, state, __ATOMIC_SEQ_CST);
	if (state == CONTROL_CLOSED)
		while (take(box, NULL))
			;
	/* Either this sees a frame, or the worker that puts it in sees the new state: one of them wakes the
	 * main thread. */
	else if (state == CONTROL_OPEN && has_frame(box))
		worker_note_control(box->pool);
}

enum control_state control_box_state(const struct control_box *box)
{
	return box->state;
}

size_t control_box_take(struct control_box *box, uint8_t *to)
{
	return box->state == CONTROL_OPEN ? take(box, to) : 0;
}

int control_box_put(struct control_box *box, const struct pkt *p)
{
	struct slot *s;
	uint32_t pos;

	if (!box || __atomic_load_n(&box->state, __ATOMIC_RELAXED) == CONTROL_CLOSED)
		return DROP_CONTROL;
	if (p->len > CONTROL_BOX_LEN || p->hdr.flags || p->hdr.gso_type)
		return DROP_MALFORMED;
	pos = __atomic_load_n(&box->tail, __ATOMIC_RELAXED);
	for (;;) {
		int32_t ahead;

		s = &box->slot[pos % SLOTS];
		ahead = (int32_t)(__atomic_load_n(&s->sequence, __ATOMIC_ACQUIRE) - pos);
		if (ahead < 0)
			return DROP_CONTROL_FULL; /* the frame of the previous round is still there */
		if (ahead > 0)
			pos = __atomic_load_n(&box->tail, __ATOMIC_RELAXED); /* another worker was first */
		else if (__atomic_compare_exchange_n(&box->tail, &pos, pos + 1, true, __ATOMIC_RELAXED,
						     __ATOMIC_RELAXED))
			break;
	}
	pkt_linearize(p, s->data);
	s->len = p->len;
	__atomic_store_n(&s->sequence, pos + 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&box->state, __ATOMIC_SEQ_CST) == CONTROL_OPEN)
		worker_note_control(box->pool);
	return -1;
}
