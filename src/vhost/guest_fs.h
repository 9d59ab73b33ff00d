/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The file systems that memory of a front-end may be on: guest memory, a dirty log, an inflight area. A worker that
 * touches a page waits until it is there, and so do all the functions that it serves. tmpfs (memfd) and hugetlbfs
 * bring their pages in themselves. With others it may be up to a disk, a server, or a process that never answers
 * (FUSE, and overlayfs on it): those are mapped only if the administrator names them.
 *
 * Thread-safety: main thread. */

#include <stdbool.h>
#include <stdint.h>

#define GUEST_FS_NAME 24 /* bytes */

/* Allows one more type, by a name (ext4, xfs, btrfs, …) or by its number as statfs(2) gives it (0x…): 0; -EINVAL: it is
 * neither; -ENOSPC: too many. */
int guest_fs_allow(const char *name);
/* f_type of statfs(2). */
bool guest_fs_allowed(uint32_t type);
/* Its name, or its number. */
const char *guest_fs_name(uint32_t type, char buf[GUEST_FS_NAME]);
