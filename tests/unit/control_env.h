/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of control channels start from: a model with three virtual PFs (pf0 and pf0b of the VM pf0, pf1 of
 * another one), their channels over a data plane that is not there, and the driver's end of them. */

#include "control/control.h"
#include "ctl_peer.h"
#include "model_env.h"

#define CE_SENT_MAX 512

struct ce_frame {
	char pf[VPF_NAME_MAX];
	struct peer_frame f;
};

struct ce_env {
	struct me_env *m;
	struct control *control;
	dataplane_control_fn fn;
	void *ctx;
	struct ce_frame sent[CE_SENT_MAX];
	unsigned int sent_n;
	char paused[8][VPF_NAME_MAX];
	unsigned int paused_n;
	uint8_t key[VPF_CTL_KEY_LEN];
	uint64_t session;
	uint32_t sequence;
};

int ce_setup(void **state);
int ce_teardown(void **state);
/* At setup, and after the test has freed t->control. */
void ce_start_control(struct ce_env *t);
void ce_set_policy(struct ce_env *t, const char *pf, void (*change)(struct pf_policy *p));
/* Everything is allowed (pf0 at setup); and the default. */
void ce_open_policy(struct pf_policy *p);
void ce_strict_policy(struct pf_policy *p);
/* Whether the data plane was told to give no more frames of this PF. */
bool ce_is_paused(const struct ce_env *t, const char *pf);
struct control_info ce_info_of(const struct ce_env *t, const char *pf);

/* The driver. Its key is that of pf0's VM until it is said otherwise. */
void ce_use_key_of(struct ce_env *t, const char *pf);
/* Starts the function, and has a session with it. */
void ce_driver_starts(struct ce_env *t, const char *pf);
/* A frame from the driver. */
void ce_give(struct ce_env *t, const char *pf, uint8_t type, uint64_t session, uint32_t sequence,
	     const void *body, size_t size);
/* The last message that was sent, to this PF and of this type. */
struct peer_frame *ce_last(struct ce_env *t, const char *pf, uint8_t type);
/* A new session; the reply. */
const struct vpf_ctl_hello_reply *ce_hello(struct ce_env *t, const char *pf);
/* The next request of the session; the reply. */
const struct vpf_ctl_reply *ce_request(struct ce_env *t, const char *pf, uint8_t type, const void *body,
				       size_t size);
struct vpf_ctl_function ce_record_of(const void *records, unsigned int i);
struct vpf_ctl_function ce_get(struct ce_env *t, const char *pf, uint16_t function);
const struct vpf_ctl_reply *ce_set(struct ce_env *t, const char *pf, struct vpf_ctl_set b, uint16_t function,
				   uint16_t mask);
/* Runs the loop until something was sent; fails if that takes seconds. */
void ce_await_sent(struct ce_env *t);
/* The next event, acknowledged; returns its number of records. */
unsigned int ce_await_event(struct ce_env *t, const char *pf, struct vpf_ctl_function *ret);
/* The loop has nothing to do. */
void ce_assert_idle(struct ce_env *t);
