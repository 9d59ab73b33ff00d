/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A directory for one test, and a file system that runs full on demand: a tmpfs of its own where the test may
 * mount one (root), else a limit on file sizes. */

#include <stdbool.h>
#include <stddef.h>

struct scratch {
	char path[64];
	bool mounted;
	char filler[96];
};

void scratch_make(struct scratch *s);
void scratch_remove(struct scratch *s);
const char *scratch_path(const struct scratch *s, const char *name, char ret[256]);
/* From now on no file can grow; returns the errno that a write will meet. */
int scratch_fill(const struct scratch *s);
void scratch_empty(const struct scratch *s);
/* The whole file, to be freed; NULL: there is none. */
char *scratch_read(const char *path, size_t *ret_size);
void scratch_write(const char *path, const char *text, size_t size);
