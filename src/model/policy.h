/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The policy of a virtual PF: the one place that says what its guest may have. docs/policy.md explains it to
 * administrators. Thread-safety: pure. */

#include "settings/settings.h"
#include "util/err.h"

/* What the guest wants of one of its functions. Everything is borrowed. */
struct policy_request {
	const struct pf_settings *pf;
	const uint8_t *mac;                  /* permanent MAC of the PF; function n has this plus n (mac.h) */
	uint64_t min_others;                 /* Mb/s: sum of the minimum rates of the PF's other functions */
	unsigned int fn;                     /* VPF_FUNCTION_*, ≤ pf->vfs */
	uint32_t mask;                       /* SETTING_*: the fields of `wanted` that are meant */
	const struct function_settings *now; /* what the function has */
	const struct function_settings *wanted; /* passes validate_function() */
};

/* Whether the guest may have that. What the function has already it may have, so that asking twice is no
 * error, unless guest_control or max_vfs keep the guest from asking at all. Always allowed otherwise, if the
 * host has not pinned them: no VLAN, no administrative MAC, spoof check on, trust off, any link mode, no
 * rates, lower minimum rates. -EPERM with the rule in err->field, "pinned" or "policy.<member>", and a
 * sentence of at most 119 bytes for the guest's log; -EINVAL: settings of the PF itself, which are the host's
 * alone. */
int policy_check_request(const struct policy_request *q, struct err *err);

/* The settings as the policy lets them take effect: a VF from max_vfs on has no link, no VF sends faster than
 * max_rate. */
void policy_limit(const struct pf_policy *policy, unsigned int fn, struct function_settings *s);

/* Whether all minimum rates of a virtual PF together, `sum`, can be given. -EINVAL about `field`. */
int policy_check_minimums(const struct pf_policy *policy, uint64_t sum, const char *field, struct err *err);
