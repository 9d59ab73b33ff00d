/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The memory that all ports of the load generator share with the switch: one file without a name, as a
 * guest's RAM is one file for all of its functions. It is given out once and never taken back. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEMORY_GPA 0x40000000u /* where it is for the switch's guest */

struct memory {
	int fd;
	uint8_t *base;
	size_t size, used;
};

/* Rounds up to whole huge pages; with `huge` false ordinary ones, for machines that have none to spare. Ends
 * the program if there is no memory. */
void memory_init(struct memory *m, size_t size, bool huge);
void *memory_take(struct memory *m, size_t size, size_t align);

static inline uint64_t memory_gpa(const struct memory *m, const void *p)
{
	return MEMORY_GPA + (uint64_t)((const uint8_t *)p - m->base);
}
