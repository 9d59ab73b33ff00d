/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A token bucket: `burst` things at once, and one more every `interval_us`. Kept as one number, the time at
 * which the bucket will be full again (as GCRA does, ITU-T I.371 Annex A): nothing to refill, no rounding.
 * Times are µs of any clock that does not go back. Thread-safety: none. */

#include "util/util.h"

struct bucket {
	uint64_t interval_us;
	uint32_t burst;
	uint64_t full_us;
};

static inline struct bucket bucket_new(uint64_t interval_us, uint32_t burst)
{
	return (struct bucket){.interval_us = interval_us, .burst = burst};
}

/* When `n` (1…burst) tokens will be available; not after `now`: they are. */
static inline uint64_t bucket_when(const struct bucket *b, uint32_t n)
{
	uint64_t room = (uint64_t)(b->burst - n) * b->interval_us;

	return b->full_us > room ? b->full_us - room : 0;
}

/* Takes a token; false: there is none. */
static inline bool bucket_take(struct bucket *b, uint64_t now)
{
	if (bucket_when(b, 1) > now)
		return false;
	b->full_us = (b->full_us > now ? b->full_us : now) + b->interval_us;
	return true;
}
