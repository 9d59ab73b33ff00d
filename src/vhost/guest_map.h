/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A mapping of a file that a peer shared: guest memory, a dirty log, an inflight area.
 *
 * Theory of operation. The peer owns the file and may truncate it at any time; a later access then raises
 * SIGBUS. Every mapping is therefore entered into a fixed table that the SIGBUS handler searches (no lock, no
 * allocation: the handler may run in any thread at any instruction). A hit replaces the *whole* mapping with
 * zeros and marks it bad. The whole mapping, not the page: a peer that shrinks a large file would otherwise
 * make the process split its address space at each touched page, up to vm.max_map_count.
 *
 * Mappings are cached, so that all functions of a virtual PF share one. The key has the peer (`domain`) in
 * addition to (device, inode, offset, size): inode numbers of hugetlbfs and of older tmpfs are 32 bits wide
 * and wrap, so a process that creates files for a few hours can get the inode number of another VM's memory,
 * and must not get its mapping.
 *
 * A mapping keeps one descriptor of its file, however many tables share it: guest memory is passed on to
 * another back-end as this file.
 *
 * Thread-safety: main thread, except guest_map_bad() and the handler. */

#include <sys/types.h>

#include "util/util.h"

#define GUEST_MAP_PRIVATE UINT64_MAX /* as domain: never shared */
#define GUEST_MAP_WHY     64         /* bytes */

struct guest_map_guard; /* a row of the table that the SIGBUS handler searches */

struct guest_map {
	struct guest_map *next; /* in the cache's bucket */
	unsigned int refs;
	uint64_t domain;
	dev_t dev;
	ino_t ino;
	uint64_t offset, size; /* bytes, as requested */
	int fd;                /* of the file: its own, not the one that was passed */
	uint8_t *hva;          /* where `offset` of the file is mapped */
	uint8_t *base;         /* what munmap() takes: aligned down and up to the file's pages */
	size_t len;
	struct guest_map_guard *guard;
};

/* Maps [offset, offset+size) of `fd` (borrowed) for reading and writing, or finds its existing mapping.
 * -EINVAL: size 0, wrap, not a regular file, or file too short. -EMEDIUMTYPE: a file system that is not allowed
 * (guest_fs.h). -ENOSPC: too many mappings. Else as mmap, dup. */
int guest_map_get(uint64_t domain, int fd, uint64_t offset, uint64_t size, struct guest_map **ret);
/* A phrase for such an error with `fd`, in `buf` or static. */
const char *guest_map_why(int r, int fd, char buf[GUEST_MAP_WHY]);
struct guest_map *guest_map_ref(struct guest_map *map);
void guest_map_unref(struct guest_map *map); /* takes NULL */
/* True once an access has raised SIGBUS. Any thread. */
bool guest_map_bad(const struct guest_map *map);
/* An eventfd that becomes readable when a mapping turns bad; it belongs to this module. -1 before
 * guest_mem_install_sigbus(). */
int guest_map_fault_fd(void);
