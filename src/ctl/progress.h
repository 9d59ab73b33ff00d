/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Tells a person that an answer takes long (a guest may need seconds to let go of a device): on standard
 * error, a line that counts on a terminal, one plain line elsewhere. */

/* struct client_config's waiting(). */
void progress_waiting(void *ctx, unsigned int seconds);
