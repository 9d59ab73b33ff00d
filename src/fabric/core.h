/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the core share: fabric.c, port.c. */

#include <systemd/sd-event.h>

#include "fabric/fabric.h"

/* A one-shot timer for the time limit of a provider's answer; created by the first call. */
int fabric_timer(struct fabric *f, sd_event_source **timer, sd_event_time_handler_t fn, void *ctx);
