/* SPDX-License-Identifier: Apache-2.0 */

#include "vmem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#define VMEM_BASE (UINT64_C(1) << 30)

void vmem_init(struct vmem *vm, uint64_t size)
{
	*vm = (struct vmem){0};
	vm->mem = calloc(1, sizeof(*vm->mem) + VMEM_REGIONS * sizeof(vm->mem->regions[0]));
	assert_non_null(vm->mem);
	vm->mem->refs = 1;
	vmem_add(vm, VMEM_BASE, size);
}

unsigned int vmem_add(struct vmem *vm, uint64_t gpa, uint64_t size)
{
	unsigned int i = vm->mem->n;

	assert_true(i < VMEM_REGIONS);
	vm->mem->regions[i] = (struct guest_mem_region){.gpa = gpa, .size = size, .uva = gpa};
	vm->mem->regions[i].hva = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
	assert_non_null(vm->mem->regions[i].hva);
	memset(vm->mem->regions[i].hva, 0, size);
	vm->next[i] = gpa;
	vm->mem->n++;
	return i;
}

void vmem_done(struct vmem *vm)
{
	for (unsigned int i = 0; vm->mem && i < vm->mem->n; i++)
		free(vm->mem->regions[i].hva);
	free(vm->mem);
	vm->mem = NULL;
}

uint64_t vmem_alloc_in(struct vmem *vm, unsigned int region, uint64_t size, uint64_t align)
{
	const struct guest_mem_region *r = &vm->mem->regions[region];
	uint64_t gpa = (vm->next[region] + align - 1) / align * align;

	assert_true(gpa + size <= r->gpa + r->size);
	vm->next[region] = gpa + size;
	return gpa;
}

uint64_t vmem_alloc(struct vmem *vm, uint64_t size, uint64_t align)
{
	return vmem_alloc_in(vm, 0, size, align);
}

void *vmem_at(const struct vmem *vm, uint64_t gpa, uint64_t len)
{
	void *p = guest_mem_gpa_exact(vm->mem, gpa, len);

	assert_non_null(p);
	return p;
}

void vmem_write(const struct vmem *vm, uint64_t gpa, const void *data, uint32_t len)
{
	const uint8_t *from = data;

	while (len) {
		uint32_t part = len;
		void *p = guest_mem_gpa(vm->mem, gpa, &part);

		assert_non_null(p);
		memcpy(p, from, part);
		gpa += part;
		from += part;
		len -= part;
	}
}

void vmem_read(const struct vmem *vm, uint64_t gpa, void *data, uint32_t len)
{
	uint8_t *to = data;

	while (len) {
		uint32_t part = len;
		void *p = guest_mem_gpa(vm->mem, gpa, &part);

		assert_non_null(p);
		memcpy(to, p, part);
		gpa += part;
		to += part;
		len -= part;
	}
}
