/* SPDX-License-Identifier: Apache-2.0 */

#include "datapath/vdpa/vdpa_sys.h"

#include <sys/ioctl.h>
#include <sys/mman.h>

#include "datapath/vdpa/vdpa_netlink.h"

static int sys_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

static void sys_close(int fd)
{
	close(fd);
}

static int sys_ioctl(int fd, unsigned long request, void *arg)
{
	int r = ioctl(fd, request, arg);

	return r < 0 ? -errno : r;
}

static int sys_write(int fd, const void *data, size_t len)
{
	ssize_t n = write(fd, data, len);

	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

static void *sys_mmap(int fd, size_t len, off_t offset)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);

	return p == MAP_FAILED ? NULL : p;
}

static void sys_munmap(void *p, size_t len)
{
	munmap(p, len);
}

const struct vdpa_sys vdpa_sys_kernel = {
	.sysfs = "/sys",
	.dev = "/dev",
	.open = sys_open,
	.close = sys_close,
	.ioctl = sys_ioctl,
	.write = sys_write,
	.mmap = sys_mmap,
	.munmap = sys_munmap,
	.list = vdpa_list,
	.dev_new = vdpa_dev_new,
	.dev_del = vdpa_dev_del,
};

const struct vdpa_sys *vdpa_sys = &vdpa_sys_kernel;
