/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The control channels of all virtual PFs: gives each PF of the model a channel (channel.h), which it feeds
 * with the frames that the data plane takes from the PF and with what the model reports, and limits how many messages
 * a second each VM may send, over all its PFs (docs/control-channel.md, "Rate limit").
 *
 * One timer, armed only while something is due: an event to send (again), a RESET, the end of a VM's pause.
 * Thread-safety: main thread. */

#include "control/channel.h"
#include "model/model.h"

struct control;

/* What it needs of the data plane: dataplane_control_*() of dataplane/dataplane.h. */
struct control_dataplane {
	void (*listen)(void *dp, dataplane_control_fn fn, void *ctx);
	void (*pause)(void *dp, const char *pf, bool pause);
	int (*send)(void *dp, const char *pf, const uint8_t *frame, size_t len);
};
extern const struct control_dataplane control_dataplane; /* of a struct dataplane */

struct control_config {
	struct sd_event *event;
	struct model *model; /* loaded; outlives this */
	const struct control_dataplane *ops;
	void *dp; /* outlives this */
};

int control_new(const struct control_config *config, struct control **ret, struct err *err);
/* Takes NULL. */
void control_free(struct control *c);

struct control_info {
	const struct channel_session *session; /* id 0: there is none */
	const struct channel_counters *counters;
	uint64_t limited; /* how often the VM was paused */
};

/* All is valid until the next return to the event loop. -ENOENT. */
int control_get(const struct control *c, const char *pf, struct control_info *ret);
