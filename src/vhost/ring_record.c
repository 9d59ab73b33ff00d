/* SPDX-License-Identifier: Apache-2.0 */

#include "vhost/ring_record.h"

#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "vhost/vhost_user.h"
#include "vhost/virtio.h"

#define RECORD_FILE_SIZE (VHOST_USER_MAX_QUEUES * sizeof(struct inflight_packed))

struct ring_record {
	struct inflight_packed
		*queue; /* VHOST_USER_MAX_QUEUES, mapped from the file; their desc[] is not used */
};

static int file_name(const char *socket_path, char *buf, size_t size)
{
	int n = snprintf(buf, size, "%s.rings", socket_path);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int ring_record_open(const char *socket_path, struct ring_record **ret)
{
	_cleanup_free_ struct ring_record *record = calloc(1, sizeof(*record));
	_cleanup_close_ int fd = -1;
	char path[256];
	struct stat st;
	int r;

	if (!record)
		return -ENOMEM;
	r = file_name(socket_path, path, sizeof(path));
	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	/* Allocated, so that a full disk shows here, and not as SIGBUS at the first write. */
	if (st.st_size != (off_t)RECORD_FILE_SIZE &&
	    (ftruncate(fd, 0) < 0 || posix_fallocate(fd, 0, (off_t)RECORD_FILE_SIZE) != 0))
		return -ENOSPC;
	record->queue = mmap(NULL, RECORD_FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (record->queue == MAP_FAILED)
		return -errno;
	*ret = steal_ptr(&record);
	return 0;
}

void ring_record_close(struct ring_record *record)
{
	if (!record)
		return;
	munmap(record->queue, RECORD_FILE_SIZE);
	free(record);
}

void ring_record_remove(const char *socket_path)
{
	char path[256];

	if (file_name(socket_path, path, sizeof(path)) == 0)
		unlink(path);
}

static bool was_used(const struct vring_packed_desc *desc, uint16_t size)
{
	for (unsigned int i = 0; i < size; i++)
		if (le16toh(__atomic_load_n(&desc[i].flags, __ATOMIC_RELAXED)) &
		    1 << VRING_PACKED_DESC_F_USED)
			return true;
	return false;
}

void ring_record_start(struct ring_record *record, unsigned int index, const void *desc, uint16_t size,
		       bool recover, struct vhost_inflight *inflight, uint16_t *used_idx)
{
	struct inflight_packed *p = &record->queue[index];

	*inflight = (struct vhost_inflight){.packed = p, .size = size};
	if (recover && p->version == VHOST_INFLIGHT_VERSION && p->desc_num == size && was_used(desc, size))
		(void)vhost_inflight_packed_recover(inflight, desc,
						    used_idx); /* out of range: as if there were none */
	inflight->used = *used_idx;
	vhost_inflight_packed_begin(inflight, *used_idx);
	vhost_inflight_packed_end(inflight);
	p->desc_num = size;
	__atomic_store_n(&p->version, VHOST_INFLIGHT_VERSION, __ATOMIC_RELEASE);
}

void ring_record_forget(struct ring_record *record, unsigned int index)
{
	if (record)
		__atomic_store_n(&record->queue[index].version, 0, __ATOMIC_RELEASE);
}
