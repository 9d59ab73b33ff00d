/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which addresses a function claims: the same on every fabric whose table vpfd keeps. Administrative ones come before
 * permanent before driver-programmed; once the administrator chose the address, only a trusted driver may add to it,
 * as with hardware VFs. Thread-safety: pure. */

#include "fabric/fabric.h"

struct claim {
	uint64_t mac; /* mac_load() */
	enum fdb_kind kind;
};
#define MAX_CLAIMS (VPF_MAX_DRIVER_MACS + 2)

/* What a function claims to own, at most MAX_CLAIMS; the first is its main address. None if another switch
 * has it. */
unsigned int claims_of(const struct fabric_port *p, struct claim *claims);
/* Whether it can be an address of a function at all: not zero, no group. */
bool claim_usable(uint64_t mac);
