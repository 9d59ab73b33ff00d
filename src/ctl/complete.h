/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Completion. The shell's part is small and never changes: it hands the line up to the cursor to
 * `vpfctl __complete WORDBREAKS LINE` and offers the lines that come back. So what is offered is always what
 * this very vpfctl knows, and what vpfd has at this moment. A vpfd that does not answer at once offers
 * nothing. */

#include "ctl/command.h"

#define COMPLETE_VERB "__complete"

int complete_main(int argc, char *argv[]);

/* "vpfctl completion SHELL" */
int run_completion(struct ctl *ctl, const struct invocation *inv, struct err *err);
