/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which settings need a switch that enforces them (CAN_*, settings/can.h), and the error if one cannot. The settings'
 * tables say which setting needs what. Thread-safety: pure. */

#include "settings/settings.h"
#include "util/err.h"

/* CAN_*: what must be enforced for the function's settings and the policy to be true. `control`: the
 * fabric can pass the control channel, so that the PF's datapath has to if the policy lets the guest use it.
 */
uint32_t enforce_needs(const struct function_settings *s, const struct pf_policy *policy, unsigned int fn,
		       bool control);

/* Who is told. */
enum enforce_asker {
	ENFORCE_SETTING, /* for a setting: err->field is that */
	ENFORCE_LIST,    /* for a list: err->field is "datapaths" */
	ENFORCE_GUEST,   /* the guest, for a setting: at most 119 bytes, without the host's names */
};

/* -EOPNOTSUPP: the datapath cannot enforce `lacking` (not 0; the first is named). `function`: "vf 3 of pf0".
 */
int enforce_refuse(uint32_t lacking, const struct datapath_pref *pref, const char *function,
		   enum enforce_asker asker, struct err *err);
