/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Guest memory: the table of regions that a vhost-user front-end shared (vhost-user "Memory region
 * description"), mapped here, and the translation of guest physical addresses (GPA) into it.
 *
 * Untrusted: every field of a region and every GPA. A region is refused (-EINVAL) when its size is 0, when
 * gpa+size, uva+size or offset+size wraps, when it overlaps another region in GPA space, or when the file is
 * shorter than offset+size. A peer may still shrink the file later: the access then raises SIGBUS. With
 * guest_mem_install_sigbus() this does not kill the process: the mapping reads as zeros from then on and is
 * marked `bad`, which stops the queues that use it. The file must be a regular one (memfd, tmpfs, hugetlbfs,
 * local disk), not of a file system whose pages another process provides.
 *
 * All functions of a virtual PF share the same memory: mappings are cached by (domain, device, inode, offset,
 * size) and counted, so that 256 connections cost one mapping; the domain keeps the mappings of different
 * peers apart, see vhost/guest_map.h.
 *
 * Life cycle: a table is immutable once in use. A change (ADD_MEM_REG, SET_MEM_TABLE) makes a new table, and
 * the rings move to it while stopped; dropping the last reference unmaps.
 *
 * Thread-safety: guest_mem_new/add/dup/unref: main thread. Translation: any thread that holds a reference or
 * runs between vring start and stop. */

#include "util/util.h"

#define GUEST_MEM_MAX_REGIONS 509 /* the answer to GET_MAX_MEM_SLOTS; QEMU has at most 509 with DIMMs */

struct guest_map; /* one mapping, shared by tables */

struct guest_mem_region {
	uint64_t gpa;  /* guest physical address, bytes */
	uint64_t size; /* bytes */
	uint64_t uva;  /* the front-end's virtual address */
	uint8_t *hva;  /* where it is mapped here */
	struct guest_map *map;
};

struct guest_mem {
	unsigned int refs;
	unsigned int n;                    /* number of regions */
	uint64_t domain;                   /* whose mappings it may share: the front-end's process id */
	struct guest_mem_region regions[]; /* sorted by gpa */
};

/* A new, empty table with one reference. -ENOMEM. */
int guest_mem_new(struct guest_mem **ret);
/* Whose mappings this table, and those made from it, may share; 0 at first. UINT64_MAX: it shares none. */
void guest_mem_set_domain(struct guest_mem *mem, uint64_t domain);
struct guest_mem *guest_mem_ref(struct guest_mem *mem);
void guest_mem_unref(struct guest_mem *mem); /* takes NULL */

/* A new table: `old` (may be NULL: empty) plus one region of `fd` (borrowed; dup not needed, the mapping
 * keeps the file). -EINVAL as above, -EEXIST on overlap, -ENOSPC above the limit, -ENOMEM, or as mmap. */
int guest_mem_add(const struct guest_mem *old, uint64_t gpa, uint64_t size, uint64_t uva, uint64_t offset,
		  int fd, struct guest_mem **ret);
/* A new table: `old` less the region that has exactly this gpa, size and uva; -ENOENT. */
int guest_mem_remove(const struct guest_mem *old, uint64_t gpa, uint64_t size, uint64_t uva,
		     struct guest_mem **ret);

/* Translates the front-end's virtual address range [uva, uva+len), as used for ring addresses; NULL if it is
 * not completely inside one region. */
void *guest_mem_uva(const struct guest_mem *mem, uint64_t uva, uint64_t len);
/* The same for a guest physical range. */
void *guest_mem_gpa_exact(const struct guest_mem *mem, uint64_t gpa, uint64_t len);
/* Back from a host pointer into a region to its GPA; UINT64_MAX if it is in none. */
uint64_t guest_mem_to_gpa(const struct guest_mem *mem, const void *hva);

/* Translates gpa; *len is the requested length and becomes the part of it that is contiguous here (1…*len).
 * NULL if gpa is in no region. Inline: the fast path calls it for every descriptor. */
static inline void *guest_mem_gpa(const struct guest_mem *mem, uint64_t gpa, uint32_t *len)
{
	for (unsigned int i = 0; i < mem->n; i++) {
		const struct guest_mem_region *r = &mem->regions[i];
		uint64_t off = gpa - r->gpa;

		if (likely(off < r->size)) {
			if (unlikely(*len > r->size - off))
				*len = (uint32_t)(r->size - off);
			return r->hva + off;
		}
	}
	return NULL;
}

/* True once any mapping of the table has raised SIGBUS: since then it reads as zeros. */
bool guest_mem_bad(const struct guest_mem *mem);
/* Installs the SIGBUS handler, once per process. A SIGBUS outside guest memory still kills the process. */
int guest_mem_install_sigbus(void);

/* Dirty log for live migration (vhost-user "Migration": LOG_SHMFD): one bit per 4 KiB page, set after the
 * write. */
struct dirty_log;
int dirty_log_new(int fd, uint64_t offset, uint64_t size, struct dirty_log **ret); /* fd is borrowed */
struct dirty_log *dirty_log_ref(struct dirty_log *log);
void dirty_log_unref(struct dirty_log *log);
/* Where it is, for passing it on: bytes [*ret_offset, *ret_offset + *ret_size) of the file. The descriptor
 * stays the log's. */
int dirty_log_file(const struct dirty_log *log, uint64_t *ret_offset, uint64_t *ret_size);
/* The bits themselves, for code that sets them directly, and the number of pages that they cover. */
uint8_t *dirty_log_bits(const struct dirty_log *log, uint64_t *ret_pages);
/* Marks [gpa, gpa+len); pages beyond the log are ignored. Any thread. */
void dirty_log_mark(struct dirty_log *log, uint64_t gpa, uint64_t len);
