/* SPDX-License-Identifier: Apache-2.0 */

#include "ring.h"

#include <err.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

void ring_init(struct ring *r, struct memory *m, uint16_t size)
{
	*r = (struct ring){.size = size, .mask = (uint16_t)(size - 1)};
	r->desc = memory_take(m, size * sizeof(*r->desc), 4096);
	r->avail = memory_take(m, sizeof(*r->avail) + (size + 1u) * sizeof(r->avail->ring[0]), 64);
	r->used = memory_take(m, sizeof(*r->used) + size * sizeof(r->used->ring[0]) + 2, 4096);
	r->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	/* No larger than necessary: with hundreds of ports these arrays fill the cache. */
	r->free = calloc(size, 2 * sizeof(*r->free));
	if (!r->free)
		err(1, "ring");
	r->token = r->free + size;
	for (uint16_t i = 0; i < size; i++)
		r->free[r->n_free++] = (uint16_t)(size - 1 - i);
	r->kickfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->callfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->kickfd < 0 || r->callfd < 0)
		err(1, "eventfd");
}

void ring_done(struct ring *r)
{
	free(r->free);
	close(r->kickfd);
	close(r->callfd);
}

void ring_kick(struct ring *r)
{
	uint64_t one = 1;

	/* This can only fail if the counter is full, and then a kick is pending. */
	if (write(r->kickfd, &one, sizeof(one)) < 0)
		return;
	r->kicks++;
}
