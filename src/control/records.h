/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The model's settings and the data plane's state as records of the control channel, and requests of the
 * channel as settings of the model. Thread-safety: pure. */

#include "control/codec.h"
#include "settings/counters.h"
#include "settings/settings.h"

/* `ret` is zeroed before. `started`: the function's driver uses it. */
void record_function(unsigned int function, const struct function_settings *s, bool link_up, bool started,
		     struct vpf_ctl_function *ret);
void record_stats(unsigned int function, const struct port_stats *s, struct vpf_ctl_stats *ret);

/* Changes in `s` what the request's mask names. -EINVAL: a field is outside its range; -EOPNOTSUPP: the mask
 * names settings that this vpfd does not know. The model checks the rest. */
int record_apply(const struct ctl_set *set, struct function_settings *s, struct err *err);

/* VPF_CTL_* for a negative errno of the model, or 0. */
uint16_t record_status(int r);
/* What HELLO says that the host can do, for VFs whose switches can enforce `can` (CAN_*): VPF_CTL_* of settings and
 * VPF_CTL_CAP_*. */
uint32_t record_capabilities(uint32_t can);
