/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* "Did you mean": the known word that a mistyped one probably stands for. */

#include "util/util.h"

struct suggestion {
	const char *word;      /* the nearest so far, borrowed; NULL: none near enough */
	unsigned int distance; /* of it */
};

/* Considers `candidate` for what was typed; call it for each known word, starting with an all-zero struct. */
void suggest_consider(struct suggestion *s, const char *typed, const char *candidate);
