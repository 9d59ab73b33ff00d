/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Small helpers for every part: cleanup attributes, descriptors that close themselves, compile-time sizes.
 * Nothing here allocates, logs or keeps state. */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_SIZE(a)                 (sizeof(a) / sizeof((a)[0]))
#define likely(x)                     __builtin_expect(!!(x), 1)
#define unlikely(x)                   __builtin_expect(!!(x), 0)
#define container_of(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))
#define MIN(a, b)                     ((a) < (b) ? (a) : (b))
#define MAX(a, b)                     ((a) > (b) ? (a) : (b))
#define CACHE_LINE                    64
#define cache_aligned                 __attribute__((aligned(CACHE_LINE)))
#define printf_like(f, a)             __attribute__((format(printf, f, a)))

/* Frees *p at the end of its scope. */
static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}
#define _cleanup_free_ __attribute__((cleanup(cleanup_free)))

/* Closes *fd if it is a descriptor, and leaves -1 behind; errno is kept. */
static inline void close_fd(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;
		close(*fd);
		errno = saved;
		*fd = -1;
	}
}
#define _cleanup_close_ __attribute__((cleanup(close_fd)))

/* Takes the descriptor out of *fd: the caller owns it now, and *fd is -1. */
static inline int steal_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

static inline void *steal_ptr_(void **p)
{
	void *taken = *p;
	*p = NULL;
	return taken;
}
#define steal_ptr(p) ((typeof(*(p)))steal_ptr_((void **)(p)))
