/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The counters of a virtual PF's functions, in a file beside their sockets that outlives this process,
 * however it ends: workers count in a mapping of the file, with plain stores as in any memory.
 *
 * The file: a header, then for each function one port_stats that says where counting began (the sum that the
 * last vpfd left behind) and one for each worker. It is made anew at each start, with what the old one says,
 * under another name and then renamed: a vpfd that dies in between leaves the one or the other, both right.
 * What is not a file of ours of this version is not looked at further, and replaced.
 *
 * Memory: 312 bytes for each function, and as many again for each worker. All of it is allocated when the
 * file is made, because a hole that cannot be filled later, on a file system that is full, would be a SIGBUS.
 *
 * Untrusted: the directory may belong to the user of the VM's QEMU, who can remove the file or put another in
 * its place, and so lose his counters. Nobody but this process's own user can shrink the file while it is
 * mapped: it is always one that we made (O_EXCL), mode 0600, never one that was found.
 *
 * Thread-safety: main thread; the counters themselves: as sw_port.stats. */

#include "settings/counters.h"

struct counter_file;

/* Makes the file of a PF with so many functions (1…VPF_MAX_FUNCTIONS). *ret_lost: why the values of the file
 * that was there are lost, NULL: they are not, or there was none. Negative errno of the system call. */
int counter_file_open(const char *path, unsigned int functions, unsigned int workers,
		      struct counter_file **ret, const char **ret_lost);
void counter_file_close(struct counter_file *f); /* keeps the file; takes NULL */
void counter_file_remove(const char *path);
/* Where a function began; and its counters, one for each worker. They live as long as the file is open. */
const struct port_stats *counter_file_base(const struct counter_file *f, unsigned int fn);
struct port_stats *counter_file_stats(struct counter_file *f, unsigned int fn);
