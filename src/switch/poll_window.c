/* SPDX-License-Identifier: Apache-2.0 */

#include "switch/poll_window.h"

#include "util/util.h"

static uint64_t least(const struct poll_window *p)
{
	return MIN((uint64_t)POLL_MIN_NS, p->max_ns);
}

void poll_window_init(struct poll_window *p, uint64_t max_ns)
{
	*p = (struct poll_window){.max_ns = max_ns};
	p->ns = least(p);
}

void poll_window_slept(struct poll_window *p, uint64_t now, uint64_t slept_ns)
{
	if (slept_ns >= p->max_ns)
		p->ns = MAX(p->ns / 2, least(p));
	else if (now >= p->crowded_until)
		p->ns = MIN(2 * p->ns, p->max_ns);
}

void poll_window_crowded(struct poll_window *p, uint64_t now)
{
	p->bucket = MAX(p->bucket, now) + CROWDED_EACH_NS;
	if (p->bucket < now + CROWDED_MAX_NS)
		return;
	p->crowded_until = now + CROWDED_REST_NS;
	p->ns = least(p);
}
