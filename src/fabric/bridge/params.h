/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the settings of a bridge fabric have besides those of all fabrics. */

#include "settings/settings.h"

struct bridge_params {
	char bridge[IFNAMSIZ]; /* its netdev: used if it is there, else made, and removed with the fabric */
};
PARAMS_OF(bridge_params)

static inline const char *bridge_name(const struct fabric_settings *s)
{
	return bridge_params_of(&s->params)->bridge;
}
