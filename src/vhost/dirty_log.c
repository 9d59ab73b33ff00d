/* SPDX-License-Identifier: Apache-2.0 */

#include "vhost/guest_map.h"
#include "vhost/guest_mem.h"

#define DIRTY_LOG_PAGE_SHIFT 12 /* vhost-user VHOST_LOG_PAGE, whatever the host's page size */

struct dirty_log {
	unsigned int refs;
	struct guest_map *map;
	uint64_t pages; /* covered by the log */
};

int dirty_log_new(int fd, uint64_t offset, uint64_t size, struct dirty_log **ret)
{
	struct dirty_log *log;
	int r;

	if (size > UINT64_MAX / 8)
		return -EINVAL;
	log = calloc(1, sizeof(*log));
	if (!log)
		return -ENOMEM;
	r = guest_map_get(GUEST_MAP_PRIVATE, fd, offset, size, &log->map);
	if (r < 0) {
		free(log);
		return r;
	}
	log->refs = 1;
	log->pages = size * 8;
	*ret = log;
	return 0;
}

struct dirty_log *dirty_log_ref(struct dirty_log *log)
{
	log->refs++;
	return log;
}

void dirty_log_unref(struct dirty_log *log)
{
	if (!log || --log->refs)
		return;
	guest_map_unref(log->map);
	free(log);
}

int dirty_log_file(const struct dirty_log *log, uint64_t *ret_offset, uint64_t *ret_size)
{
	*ret_offset = log->map->offset;
	*ret_size = log->map->size;
	return log->map->fd;
}

uint8_t *dirty_log_bits(const struct dirty_log *log, uint64_t *ret_pages)
{
	*ret_pages = log->pages;
	return log->map->hva;
}

void dirty_log_mark(struct dirty_log *log, uint64_t gpa, uint64_t len)
{
	uint64_t page = gpa >> DIRTY_LOG_PAGE_SHIFT, last;

	if (!len || page >= log->pages)
		return;
	if (__builtin_add_overflow(gpa, len - 1, &last))
		last = UINT64_MAX;
	last = MIN(last >> DIRTY_LOG_PAGE_SHIFT, log->pages - 1);

	/* The front-end clears bits with an exchange before it reads the page: the bit must not be visible
	 * before the write that it stands for, which the ordering of the fetch-or ensures. */
	while (page <= last) {
		unsigned int bit = page % 8;
		unsigned int n = (unsigned int)MIN(8 - bit, last - page + 1);

		__atomic_fetch_or(&log->map->hva[page / 8], (uint8_t)(((1u << n) - 1) << bit),
				  __ATOMIC_SEQ_CST);
		page += n;
	}
}
