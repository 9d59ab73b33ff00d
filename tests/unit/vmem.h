/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Guest memory for tests: regions of ordinary allocated memory (so that AddressSanitizer sees an access
 * outside of them) behind a table such as the back-end's, and an allocator that only goes forward. */

#include <stdbool.h>
#include <stdint.h>

#include "vhost/guest_mem.h"

#define VMEM_REGIONS 4

struct vmem {
	struct guest_mem *mem;
	uint64_t next[VMEM_REGIONS]; /* of each region: the first free GPA */
};

/* One region of `size` bytes at 1 GiB. */
void vmem_init(struct vmem *vm, uint64_t size);
/* Another region; its number. Regions that are neighbours in GPA are never neighbours in host memory. */
unsigned int vmem_add(struct vmem *vm, uint64_t gpa, uint64_t size);
void vmem_done(struct vmem *vm);
/* GPA of `size` new bytes, zeroed. */
uint64_t vmem_alloc_in(struct vmem *vm, unsigned int region, uint64_t size, uint64_t align);
uint64_t vmem_alloc(struct vmem *vm, uint64_t size, uint64_t align);
/* The bytes at gpa; all `len` must be in one region. */
void *vmem_at(const struct vmem *vm, uint64_t gpa, uint64_t len);
/* Copies across regions. */
void vmem_write(const struct vmem *vm, uint64_t gpa, const void *data, uint32_t len);
void vmem_read(const struct vmem *vm, uint64_t gpa, void *data, uint32_t len);
