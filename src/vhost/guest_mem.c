/* SPDX-License-Identifier: Apache-2.0 */

#include "vhost/guest_mem.h"

#include <string.h>

#include "vhost/guest_map.h"

static struct guest_mem *table_alloc(unsigned int n, uint64_t domain)
{
	struct guest_mem *mem = calloc(1, sizeof(*mem) + n * sizeof(mem->regions[0]));

	if (mem) {
		mem->refs = 1;
		mem->domain = domain;
	}
	return mem;
}

int guest_mem_new(struct guest_mem **ret)
{
	struct guest_mem *mem = table_alloc(0, 0);

	if (!mem)
		return -ENOMEM;
	*ret = mem;
	return 0;
}

void guest_mem_set_domain(struct guest_mem *mem, uint64_t domain)
{
	mem->domain = domain;
}

struct guest_mem *guest_mem_ref(struct guest_mem *mem)
{
	mem->refs++;
	return mem;
}

void guest_mem_unref(struct guest_mem *mem)
{
	if (!mem || --mem->refs)
		return;
	for (unsigned int i = 0; i < mem->n; i++)
		guest_map_unref(mem->regions[i].map);
	free(mem);
}

static void table_append(struct guest_mem *mem, const struct guest_mem_region *region)
{
	mem->regions[mem->n] = *region;
	guest_map_ref(region->map);
	mem->n++;
}

int guest_mem_add(const struct guest_mem *old, uint64_t gpa, uint64_t size, uint64_t uva, uint64_t offset,
		  int fd, struct guest_mem **ret)
{
	struct guest_mem_region region = {.gpa = gpa, .size = size, .uva = uva};
	unsigned int n = old ? old->n : 0, at = 0;
	uint64_t end;
	struct guest_mem *mem;
	int r;

	if (!size || __builtin_add_overflow(gpa, size, &end) || __builtin_add_overflow(uva, size, &end) ||
	    __builtin_add_overflow(offset, size, &end))
		return -EINVAL;
	for (unsigned int i = 0; i < n; i++) {
		const struct guest_mem_region *o = &old->regions[i];

		if (gpa < o->gpa + o->size && o->gpa < gpa + size)
			return -EEXIST;
		if (o->gpa < gpa)
			at = i + 1;
	}
	if (n >= GUEST_MEM_MAX_REGIONS)
		return -ENOSPC;

	r = guest_map_get(old ? old->domain : 0, fd, offset, size, &region.map);
	if (r < 0)
		return r;
	region.hva = region.map->hva;

	mem = table_alloc(n + 1, old ? old->domain : 0);
	if (!mem) {
		guest_map_unref(region.map);
		return -ENOMEM;
	}
	for (unsigned int i = 0; i <= n; i++) {
		if (i == at)
			table_append(mem, &region);
		if (i < n)
			table_append(mem, &old->regions[i]);
	}
	guest_map_unref(region.map); /* the table has its own reference */
	*ret = mem;
	return 0;
}

int guest_mem_remove(const struct guest_mem *old, uint64_t gpa, uint64_t size, uint64_t uva,
		     struct guest_mem **ret)
{
	unsigned int n = old ? old->n : 0, at = 0;
	struct guest_mem *mem;

	while (at < n &&
	       (old->regions[at].gpa != gpa || old->regions[at].size != size || old->regions[at].uva != uva))
		at++;
	if (at == n)
		return -ENOENT;
	mem = table_alloc(n - 1, old->domain);
	if (!mem)
		return -ENOMEM;
	for (unsigned int i = 0; i < n; i++)
		if (i != at)
			table_append(mem, &old->regions[i]);
	*ret = mem;
	return 0;
}

void *guest_mem_uva(const struct guest_mem *mem, uint64_t uva, uint64_t len)
{
	for (unsigned int i = 0; i < mem->n; i++) {
		const struct guest_mem_region *r = &mem->regions[i];
		uint64_t off = uva - r->uva;

		/* The front-end's regions should not overlap here, but nothing guarantees it: try them
		 * all. */
		if (off < r->size && len <= r->size - off)
			return r->hva + off;
	}
	return NULL;
}

void *guest_mem_gpa_exact(const struct guest_mem *mem, uint64_t gpa, uint64_t len)
{
	for (unsigned int i = 0; i < mem->n; i++) {
		const struct guest_mem_region *r = &mem->regions[i];
		uint64_t off = gpa - r->gpa;

		if (off < r->size)
			return len <= r->size - off ? r->hva + off : NULL;
	}
	return NULL;
}

uint64_t guest_mem_to_gpa(const struct guest_mem *mem, const void *hva)
{
	for (unsigned int i = 0; i < mem->n; i++) {
		const struct guest_mem_region *r = &mem->regions[i];
		uint64_t off = (uintptr_t)hva - (uintptr_t)r->hva;

		if (off < r->size)
			return r->gpa + off;
	}
	return UINT64_MAX;
}

bool guest_mem_bad(const struct guest_mem *mem)
{
	for (unsigned int i = 0; i < mem->n; i++)
		if (guest_map_bad(mem->regions[i].map))
			return true;
	return false;
}
