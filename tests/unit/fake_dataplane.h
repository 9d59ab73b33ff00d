/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A data plane that only remembers what it was told, checks that the model keeps the contract of
 * dataplane/dataplane.h, and fails where a test says so. */

#include "broker/binding.h"
#include "dataplane/dataplane.h"
#include "types_env.h"
#include "vhost/vhost_user.h"

struct fake_function {
	char pf[VPF_NAME_MAX];
	unsigned int fn;
	struct function_settings s;
	struct pf_policy policy;
	struct rx_filter filter;
	struct binding_info binding;
	struct function_offer offer; /* as it was told last */
	uint64_t offered;
	bool connected, started;
};

struct fake_dataplane {
	struct fabric_settings fabrics[VPF_MAX_FABRICS];
	unsigned int fabrics_n;
	struct fake_function *functions;
	unsigned int functions_n;
	char no_such_netdev[IFNAMSIZ];        /* an uplink of this name does not exist */
	int fail_fabric_add, fail_fabric_set; /* errno, 0: works */
	int fail_function_add;                /* errno at the function_add in `fail_countdown` calls */
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

extern const struct dataplane_ops fake_dp_ops;
