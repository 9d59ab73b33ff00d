/* SPDX-License-Identifier: Apache-2.0 */

#include "ctl/progress.h"

#include <stdio.h>
#include <unistd.h>

void progress_waiting(void *ctx, unsigned int seconds)
{
	static unsigned int last;

	(void)ctx;
	if (isatty(STDERR_FILENO)) {
		if (seconds)
			fprintf(stderr, "\rvpfctl: waiting for vpfd, %u s ", seconds);
		else
			fprintf(stderr, "\r%40s\r", "");
	} else if (seconds && !last) {
		fprintf(stderr, "vpfctl: waiting for vpfd, %u s so far\n", seconds);
	}
	last = seconds;
}
