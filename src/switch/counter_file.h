/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The counters of a virtual PF's functions, in a file beside their sockets that outlives this process,
 * however it ends: workers count in a mapping of the file, with plain stores as in any memory.
 *
 * The file: a header, then for each function one port_stats that says where counting began (the sum that the
 * last vpfd left) and one for each worker. It is created again at each start, from the values of the old one,
 * under another name and then renamed: if vpfd dies in between, either file is there and is right. A file
 * that is not ours, or not of this version, is replaced without being read further.
 *
 * Memory: 312 bytes for each function, and the same for each worker. All of it is allocated when the file is
 * created, because a hole that cannot be filled later, on a full file system, would raise SIGBUS.
 *
 * Untrusted: the directory may belong to the user of the VM's QEMU, who can remove or replace the file, and
 * so lose their counters. Only this process's own user can shrink the file while it is mapped: it is always
 * one that we created (O_EXCL), with mode 0600, never one that was found.
 *
 * Thread-safety: main thread; the counters themselves: as sw_port.stats. */

#include "settings/counters.h"

struct counter_file;

/* Creates the file of a PF with this number of functions (1…VPF_MAX_FUNCTIONS). *ret_lost: why the values of
 * the old file are lost; NULL: they are not, or there was none. Negative errno of the system call. */
int counter_file_open(const char *path, unsigned int functions, unsigned int workers,
		      struct counter_file **ret, const char **ret_lost);
void counter_file_close(struct counter_file *f); /* keeps the file; takes NULL */
void counter_file_remove(const char *path);
/* Where a function's counting began, and its counters, one set for each worker. They are valid while the file
 * is open. */
const struct port_stats *counter_file_base(const struct counter_file *f, unsigned int fn);
struct port_stats *counter_file_stats(struct counter_file *f, unsigned int fn);
