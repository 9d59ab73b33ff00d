/* SPDX-License-Identifier: Apache-2.0 */

/* Control frames of virtual PFs, between their functions and the listener. */

#include "dataplane/dataplane_private.h"
#include "switch/control_box.h"
#include "switch/worker.h"

#define CONTROL_BUDGET 16 /* frames before other event sources get their turn */

_Static_assert(DATAPLANE_CONTROL_FRAMES == CONTROL_BOX_FRAMES && DATAPLANE_CONTROL_LEN == CONTROL_BOX_LEN,
	       "the interface promises what the mailbox has");

static struct control_box *box_of(const struct pf_entry *e)
{
	return e->n ? e->function[VPF_FUNCTION_PF]->control : NULL;
}

/* One frame of each PF in turn, so that a PF with many does not delay the others. */
void dataplane_take_control(struct dataplane *dp)
{
	uint8_t frame[DATAPLANE_CONTROL_LEN];
	unsigned int budget = CONTROL_BUDGET;

	for (unsigned int none = 0; none < dp->n_pfs && dp->control_fn;) {
		struct pf_entry *e = dp->pfs[dp->control_next % dp->n_pfs];
		struct control_box *box = box_of(e);
		size_t len = box ? control_box_take(box, frame) : 0;

		dp->control_next = (dp->control_next + 1) % dp->n_pfs;
		if (!len) {
			none++;
			continue;
		}
		none = 0;
		dp->control_fn(dp->control_ctx, e->name, frame, len);
		if (!--budget) {
			worker_note_control(dp->pool);
			return;
		}
	}
}

void dataplane_control_added(struct dataplane *dp, const struct function *f)
{
	if (f->control && dp->control_fn)
		control_box_set(f->control, CONTROL_OPEN);
}

void dataplane_control_listen(struct dataplane *dp, dataplane_control_fn fn, void *ctx)
{
	dp->control_fn = fn;
	dp->control_ctx = ctx;
	for (unsigned int i = 0; i < dp->n_pfs; i++) {
		struct control_box *box = box_of(dp->pfs[i]);

		if (box && (!fn || control_box_state(box) == CONTROL_CLOSED))
			control_box_set(box, fn ? CONTROL_OPEN : CONTROL_CLOSED);
	}
}

void dataplane_control_pause(struct dataplane *dp, const char *pf, bool pause)
{
	struct pf_entry *e = dataplane_find_pf(dp, pf);
	struct control_box *box = e ? box_of(e) : NULL;

	if (box && control_box_state(box) != CONTROL_CLOSED)
		control_box_set(box, pause ? CONTROL_PAUSED : CONTROL_OPEN);
}

int dataplane_control_send(struct dataplane *dp, const char *pf, const uint8_t *frame, size_t len)
{
	const struct function *f = dataplane_find_function(dp, pf, VPF_FUNCTION_PF);

	return f ? binding_control_send(f->binding, frame, len) : -ENOENT;
}
