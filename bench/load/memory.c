/* SPDX-License-Identifier: Apache-2.0 */

#include "memory.h"

#include <err.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE ((size_t)2 << 20)

void memory_init(struct memory *m, size_t size, bool huge)
{
	m->size = (size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	m->used = 0;
	m->fd = memfd_create("bench-load", MFD_CLOEXEC | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0));
	if (m->fd < 0 || ftruncate(m->fd, (off_t)m->size) < 0)
		err(1, "shared memory");
	m->base = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, m->fd, 0);
	if (m->base == MAP_FAILED)
		err(1, "%zu MiB of shared memory%s", m->size >> 20, huge ? " in huge pages" : "");
	/* A missing huge page raises a signal on first use: touch all of them now. */
	memset(m->base, 0, m->size);
}

void *memory_take(struct memory *m, size_t size, size_t align)
{
	size_t at = (m->used + align - 1) & ~(align - 1);

	if (at + size > m->size)
		errx(1, "out of shared memory");
	m->used = at + size;
	return m->base + at;
}
