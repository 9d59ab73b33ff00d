/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The monotonic clock, in several units. Any thread. */

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline uint64_t clock_us(void)
{
	return clock_ns() / 1000;
}

static inline uint64_t clock_ms(void)
{
	return clock_ns() / 1000000;
}

static inline uint32_t clock_s(void)
{
	return (uint32_t)(clock_ns() / 1000000000u);
}
