/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Rows of JSON tables (json_fields.h) for the types of something and all their parameters. Thread-safety: pure. */

#include "settings/json_fields.h"
#include "settings/types.h"

/* "type": the name of a type; `more` ends what the row says of itself. */
void types_json_type(const struct type *const types[], unsigned int flags, const char *more,
		     struct json_made *ret);
/* The i-th parameter; one that several types have counts once. `of` is what comes before a type's name in what the row
 * says of itself. False: there is none. */
bool types_json_param(const struct type *const types[], unsigned int i, const char *of,
		      struct json_made *ret);
