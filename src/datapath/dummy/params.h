/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a preference for dummy says. */

#include "settings/params.h"

struct dummy_params {
	char name[16]; /* which of several of a list it is; "" the only one */
};
PARAMS_OF(dummy_params)
