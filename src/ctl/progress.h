/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Tells the user that an answer takes long (a guest may need seconds to release a device): on standard error,
 * a running count on a terminal, one plain line elsewhere. */

/* struct client_config's waiting(). */
void progress_waiting(void *ctx, unsigned int seconds);
