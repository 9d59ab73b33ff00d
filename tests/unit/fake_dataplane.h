/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A data plane that only remembers what it was told, checks that the model keeps the contract of
 * dataplane/dataplane.h, and fails or answers later where a test says so. What is answered later takes effect with
 * the answer, and what is asked of the same function meanwhile waits for its turn. */

#include "broker/binding.h"
#include "dataplane/dataplane.h"
#include "types_env.h"
#include "vhost/vhost_user.h"

struct fake_function {
	char pf[VPF_NAME_MAX], fabric[VPF_NAME_MAX];
	unsigned int fn;
	struct function_settings s;
	struct pf_policy policy;
	struct rx_filter filter;
	struct binding_info binding;
	struct function_offer offer; /* as it was told last */
	uint64_t offered;
	bool connected, started;
};

enum fake_op { /* those that may be answered later */
	       FAKE_FABRIC_ADD,
	       FAKE_FABRIC_SET,
	       FAKE_FUNCTION_CHECK,
	       FAKE_FUNCTION_SET,
	       FAKE_OPS
};

struct fake_call; /* one that waits for its answer */

struct fake_dataplane {
	struct fabric_settings fabrics[VPF_MAX_FABRICS];
	unsigned int fabrics_n;
	struct fake_function *functions;
	unsigned int functions_n;
	char no_such_netdev[IFNAMSIZ]; /* an uplink of this name does not exist */
	bool later[FAKE_OPS];          /* answered by fake_dp_answer() */
	int fails[FAKE_OPS];           /* errno, if it is answered at once; 0: works */
	struct fake_call *waiting;     /* the oldest first */
	int fail_function_add;         /* errno at the function_add in `fail_countdown` calls */
	unsigned int fail_countdown;
	unsigned int function_sets;
	/* Of each type of datapath: what is taken away from "everything". */
	uint32_t cannot[FAKE_TYPES];
	uint64_t lacks[FAKE_TYPES]; /* virtio features; all: it is absent */
	unsigned int list_checks;
};

void fake_dp_init(struct fake_dataplane *d);
void fake_dp_destroy(struct fake_dataplane *d);
/* What it was told; NULL: there is none. */
struct fabric_settings *fake_dp_fabric(struct fake_dataplane *d, const char *name);
struct fake_function *fake_dp_function(struct fake_dataplane *d, const char *pf, unsigned int fn);

/* All operations, from now on. */
void fake_dp_all_later(struct fake_dataplane *d, bool later);
/* How many wait for their answer. */
unsigned int fake_dp_waiting(const struct fake_dataplane *d);
/* The virtual PF or fabric that the oldest is about, of which others are preferred to `last`; NULL: none waits. */
const char *fake_dp_next(const struct fake_dataplane *d, const char *last);
/* Answers the oldest that waits, or that waits about this virtual PF or fabric, with 0 or an errno; an uplink that
 * does not exist is an error in any case. Fails if there is none. */
void fake_dp_answer(struct fake_dataplane *d, int error);
void fake_dp_answer_of(struct fake_dataplane *d, const char *name, int error);
/* All that wait, and what is asked meanwhile, with success. */
void fake_dp_answer_all(struct fake_dataplane *d);

extern const struct dataplane_ops fake_dp_ops;
