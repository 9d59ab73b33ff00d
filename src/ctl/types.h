/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the command line says of types of fabrics and datapaths, made from the tables that describe them
 * (settings/types.h). Thread-safety: single-threaded. */

#include "ctl/command.h"
#include "settings/types.h"

/* Options for the parameters of types of fabrics, but those with a flag of `without`; at most `room`, which are
 * set once and stay. Returns how many. */
unsigned int fabric_param_args(unsigned int without, struct arg *ret, unsigned int room);

/* For struct arg: */
char *fabric_type_help(void);
char *pf_datapaths_help(void);
char *vf_datapaths_help(void);

/* The type of a fabric object and what its own parameters are: "bridge br0". Returns buf. */
const char *view_fabric_type(const json_t *fabric, char *buf, size_t size);
