/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Help generated from the command tree, in 80 columns. */

#include "ctl/command.h"
#include "ctl/out.h"

/* Prints what the last command of the path does and takes, and examples. `path` as in struct invocation. */
void help_print(struct out *out, const struct command *const path[], unsigned int depth);

/* "vpfctl help [COMMAND…]" */
int run_help(struct ctl *ctl, const struct invocation *inv, struct err *err);
