/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The commands' own parts, for the tree. */

#include "ctl/command.h"

extern const struct command fabric_commands[], pf_commands[], vf_commands[], fdb_commands[], vdpa_commands[];
extern const struct arg stats_args[], monitor_args[], qemu_args_args[];
extern const struct example stats_examples[], monitor_examples[], qemu_args_examples[];

int run_stats(struct ctl *ctl, const struct invocation *inv, struct err *err);
int run_monitor(struct ctl *ctl, const struct invocation *inv, struct err *err);
int run_qemu_args(struct ctl *ctl, const struct invocation *inv, struct err *err);
void print_status(struct out *out, const json_t *status);

/* Rows of a statistics table for an uplink's or a function's counters, in full: for `show`. */
void print_counters(struct out *out, const json_t *stats);

/* An option that is on or off; the fields of struct arg but its name and help. */
#define ARG_ON_OFF(key)                                                                                      \
	.value = "on|off", .param = (key), .parse = value_on_off, .complete = COMPLETE_WORDS,                \
	.words = words_on_off

/* A field with a list of datapaths (an array, or null) as text. */
void print_datapaths(struct out *out, const char *name, const json_t *list);

/* A table of function objects, and one of them in full. */
void print_functions(struct out *out, const json_t *functions);
void print_function(struct out *out, const json_t *function);
