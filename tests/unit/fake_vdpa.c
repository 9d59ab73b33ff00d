/* SPDX-License-Identifier: Apache-2.0 */

#include "fake_vdpa_priv.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "vhost/virtio.h"

struct fake_kernel *fake_kernel;

static struct fake_vdpa *by_fd(int fd)
{
	for (unsigned int i = 0; i < FAKE_VDPA_DEVICES; i++)
		if (fake_kernel->dev[i].there && fake_kernel->dev[i].fd == fd)
			return &fake_kernel->dev[i];
	return NULL;
}

struct fake_vdpa *fake_vdpa_get(const char *name)
{
	for (unsigned int i = 0; i < FAKE_VDPA_DEVICES; i++)
		if (fake_kernel->dev[i].there && strcmp(fake_kernel->dev[i].name, name) == 0)
			return &fake_kernel->dev[i];
	return NULL;
}

void *fake_vdpa_at(const struct fake_vdpa *d, uint32_t asid, uint64_t iova, uint64_t len)
{
	for (unsigned int i = 0; i < d->n_map; i++) {
		const struct fake_map *m = &d->map[i];

		if (m->asid == asid && iova >= m->iova && iova + len <= m->iova + m->size)
			return (void *)(uintptr_t)(m->uaddr + (iova - m->iova));
	}
	return NULL;
}

const struct fake_command *fake_vdpa_command(const struct fake_vdpa *d, uint8_t class, uint8_t cmd)
{
	for (unsigned int i = d->n_command; i > 0; i--)
		if (d->command[i - 1].class == class && d->command[i - 1].cmd == cmd)
			return &d->command[i - 1];
	return NULL;
}

static int fake_open(const char *path)
{
	int r = -ENOENT;

	pthread_mutex_lock(&fake_kernel->lock);
	for (unsigned int i = 0; i < FAKE_VDPA_DEVICES; i++) {
		struct fake_vdpa *d = &fake_kernel->dev[i];

		if (!d->there || strcmp(d->node, path) != 0)
			continue;
		r = d->fd >= 0 ? -EBUSY : open(path, O_RDWR | O_CLOEXEC);
		if (r < 0) {
			r = r == -EBUSY ? r : -errno;
			break;
		}
		d->fd = r;
		d->opens++;
		fake_vdpa_reset(d);
		d->n_map = 0;
	}
	pthread_mutex_unlock(&fake_kernel->lock);
	return r;
}

static void fake_close(int fd)
{
	struct fake_vdpa *d;

	pthread_mutex_lock(&fake_kernel->lock);
	d = by_fd(fd);
	assert_non_null(d);
	fake_vdpa_reset(d);
	d->n_map = 0;
	d->fd = -1;
	close(fd);
	pthread_cond_broadcast(&fake_kernel->changed);
	pthread_mutex_unlock(&fake_kernel->lock);
}

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	struct fake_vdpa *d;
	int r;

	pthread_mutex_lock(&fake_kernel->lock);
	d = by_fd(fd);
	assert_non_null(d);
	while (d->hang == request)
		pthread_cond_wait(&fake_kernel->changed, &fake_kernel->lock);
	r = d->refuse == request ? -d->refuse_errno : fake_vdpa_ioctl(d, request, arg);
	pthread_mutex_unlock(&fake_kernel->lock);
	return r;
}

static int fake_write(int fd, const void *data, size_t len)
{
	struct vhost_msg_v2 msg;
	int r = -EINVAL;

	if (len != sizeof(msg))
		return -EINVAL;
	memcpy(&msg, data, sizeof(msg));
	pthread_mutex_lock(&fake_kernel->lock);
	if (msg.type == VHOST_IOTLB_MSG_V2)
		r = fake_vdpa_iotlb(by_fd(fd), &msg);
	pthread_mutex_unlock(&fake_kernel->lock);
	return r;
}

static char page[4096];

static void *fake_mmap(int fd, size_t len, off_t offset)
{
	void *p;

	(void)offset;
	pthread_mutex_lock(&fake_kernel->lock);
	p = len == sizeof(page) && by_fd(fd)->doorbells ? page : NULL;
	pthread_mutex_unlock(&fake_kernel->lock);
	return p;
}

static void fake_munmap(void *p, size_t len)
{
	assert_ptr_equal(p, page);
	assert_int_equal(len, sizeof(page));
}

static int fake_list(struct vdpa_netlink_list *ret)
{
	struct vdpa_netlink_list list = {0};

	pthread_mutex_lock(&fake_kernel->lock);
	fake_kernel->list_calls++;
	list.dev = calloc(FAKE_VDPA_DEVICES, sizeof(*list.dev));
	list.mgmtdev = calloc(2, sizeof(*list.mgmtdev));
	for (unsigned int i = 0; i < FAKE_VDPA_DEVICES; i++) {
		const struct fake_vdpa *d = &fake_kernel->dev[i];
		struct vdpa_dev *to = &list.dev[list.n_dev];

		if (!d->there)
			continue;
		memcpy(to->name, d->name, sizeof(to->name));
		memcpy(to->mgmtdev, d->mgmtdev, sizeof(to->mgmtdev));
		to->device_id = d->device_id;
		to->features = d->features;
		to->max_vqs = d->vqs;
		list.n_dev++;
	}
	list.n_mgmtdev = fake_kernel->n_mgmtdev;
	memcpy(list.mgmtdev, fake_kernel->mgmtdev, sizeof(fake_kernel->mgmtdev));
	pthread_mutex_unlock(&fake_kernel->lock);
	*ret = list;
	return 0;
}

static int fake_dev_new(const struct vdpa_new *what, struct err *err)
{
	struct fake_vdpa *d;

	pthread_mutex_lock(&fake_kernel->lock);
	fake_kernel->last_new = *what;
	if (fake_kernel->new_errno) {
		pthread_mutex_unlock(&fake_kernel->lock);
		return err_set(err, fake_kernel->new_errno, NULL, "cannot create vDPA device %s: as told",
			       what->name);
	}
	if ((what->mtu && fake_kernel->refuse_attrs >> VDPA_ATTR_DEV_NET_CFG_MTU & 1) ||
	    (what->pairs && fake_kernel->refuse_attrs >> VDPA_ATTR_DEV_NET_CFG_MAX_VQP & 1)) {
		pthread_mutex_unlock(&fake_kernel->lock);
		return err_set(err, EOPNOTSUPP, NULL, "cannot create vDPA device %s: an attribute",
			       what->name);
	}
	fake_kernel->created++;
	pthread_mutex_unlock(&fake_kernel->lock);
	d = fake_vdpa_add(what->name, "vhost_vdpa");
	snprintf(d->mgmtdev, sizeof(d->mgmtdev), "%s", what->mgmtdev);
	return 0;
}

static int fake_dev_del(const char *name, struct err *err)
{
	struct fake_vdpa *d;
	char cmd[512];

	pthread_mutex_lock(&fake_kernel->lock);
	d = fake_vdpa_get(name);
	if (!d) {
		pthread_mutex_unlock(&fake_kernel->lock);
		return err_set(err, ENODEV, NULL, "no such device");
	}
	snprintf(cmd, sizeof(cmd), "%s/sys/bus/vdpa/devices/%s", fake_kernel->dir, name);
	unlink(cmd);
	unlink(d->node);
	while (d->fd >= 0)
		pthread_cond_wait(&fake_kernel->changed, &fake_kernel->lock);
	d->there = false;
	fake_kernel->deleted++;
	pthread_cond_broadcast(&fake_kernel->changed);
	pthread_mutex_unlock(&fake_kernel->lock);
	return 0;
}

static char sysfs_dir[96], dev_dir[96];
static struct vdpa_sys fake_sys = {
	.sysfs = sysfs_dir,
	.dev = dev_dir,
	.open = fake_open,
	.close = fake_close,
	.ioctl = fake_ioctl,
	.write = fake_write,
	.mmap = fake_mmap,
	.munmap = fake_munmap,
	.list = fake_list,
	.dev_new = fake_dev_new,
	.dev_del = fake_dev_del,
};

static void make_dir(const char *fmt, ...) printf_like(1, 2);
static void make_dir(const char *fmt, ...)
{
	char path[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	if (mkdir(path, 0700) < 0)
		assert_int_equal(errno, EEXIST);
}

static struct fake_vdpa *add(const char *name, const char *driver, const char *below)
{
	struct fake_vdpa *d = NULL;
	char path[256], target[256];
	unsigned int n;
	int fd;

	pthread_mutex_lock(&fake_kernel->lock);
	for (n = 0; n < FAKE_VDPA_DEVICES && fake_kernel->dev[n].there; n++)
		;
	assert_in_range(n, 0, FAKE_VDPA_DEVICES - 1);
	d = &fake_kernel->dev[n];
	memset(d, 0, sizeof(*d));
	d->there = true;
	snprintf(d->name, sizeof(d->name), "%s", name);
	snprintf(d->mgmtdev, sizeof(d->mgmtdev), "pci/0000:3b:00.2");
	snprintf(d->node, sizeof(d->node), "%s/vhost-vdpa-%u", dev_dir, n);
	d->device_id = VIRTIO_ID_NET;
	d->features = VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM) |
		      VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) | VIRTIO_BIT(VIRTIO_NET_F_CSUM) |
		      VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF) | VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) |
		      VIRTIO_BIT(VIRTIO_NET_F_CTRL_RX) | VIRTIO_BIT(VIRTIO_NET_F_CTRL_VLAN) |
		      VIRTIO_BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | VIRTIO_BIT(VIRTIO_NET_F_MQ) |
		      VIRTIO_BIT(VIRTIO_NET_F_MTU);
	d->backend = VIRTIO_BIT(VHOST_BACKEND_F_IOTLB_MSG_V2) | VIRTIO_BIT(VHOST_BACKEND_F_IOTLB_BATCH) |
		     VIRTIO_BIT(VHOST_BACKEND_F_IOTLB_ASID) | VIRTIO_BIT(VHOST_BACKEND_F_SUSPEND) |
		     VIRTIO_BIT(VHOST_BACKEND_F_IOTLB_PERSIST);
	d->vqs = FAKE_VDPA_QUEUES;
	d->groups = d->spaces = 2;
	d->max_size = 256;
	d->max_pairs = (FAKE_VDPA_QUEUES - 1) / 2;
	d->mtu = 9000;
	d->last = UINT64_MAX;
	d->doorbells = true;
	d->deaf_class = 0xff;
	d->fd = d->configfd = d->wakefd = -1;
	for (unsigned int i = 0; i < FAKE_VDPA_QUEUES; i++)
		d->vq[i].kick = d->vq[i].call = -1;
	fd = open(d->node, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	make_dir("%s/devices%s/%s", sysfs_dir, below, name);
	make_dir("%s/devices%s/%s/vhost-vdpa-%u", sysfs_dir, below, name, n);
	snprintf(path, sizeof(path), "%s/bus/vdpa/devices/%s", sysfs_dir, name);
	snprintf(target, sizeof(target), "../../../devices%s/%s", below, name);
	assert_return_code(symlink(target, path), errno);
	snprintf(path, sizeof(path), "%s/devices%s/%s/driver", sysfs_dir, below, name);
	if (driver) {
		snprintf(target, sizeof(target), "%s/bus/vdpa/drivers/%s", sysfs_dir, driver);
		if (symlink(target, path) < 0) /* one of this name was there before */
			assert_int_equal(errno, EEXIST);
	}
	snprintf(path, sizeof(path), "%s/devices%s/%s/driver_override", sysfs_dir, below, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	close(fd);
	pthread_mutex_unlock(&fake_kernel->lock);
	return d;
}

struct fake_vdpa *fake_vdpa_add(const char *name, const char *driver)
{
	return add(name, driver, "");
}

struct fake_vdpa *fake_vdpa_add_vduse(const char *name)
{
	struct fake_vdpa *d = add(name, "vhost_vdpa", "/vduse");

	d->vduse = true;
	snprintf(d->mgmtdev, sizeof(d->mgmtdev), "vduse");
	d->features &= ~(VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) | VIRTIO_BIT(VIRTIO_NET_F_MQ));
	d->backend &= ~(VIRTIO_BIT(VHOST_BACKEND_F_SUSPEND) | VIRTIO_BIT(VHOST_BACKEND_F_IOTLB_PERSIST));
	d->vqs = 2;
	d->max_pairs = 1;
	d->groups = d->spaces = 1;
	return d;
}

int fake_vdpa_setup(void **state)
{
	int fd;

	(void)state;
	fake_kernel = calloc(1, sizeof(*fake_kernel));
	pthread_mutex_init(&fake_kernel->lock, NULL);
	pthread_cond_init(&fake_kernel->changed, NULL);
	scratch_make(&fake_kernel->scratch);
	snprintf(fake_kernel->dir, sizeof(fake_kernel->dir), "%s", fake_kernel->scratch.path);
	snprintf(sysfs_dir, sizeof(sysfs_dir), "%s/sys", fake_kernel->dir);
	snprintf(dev_dir, sizeof(dev_dir), "%s/dev", fake_kernel->dir);
	make_dir("%s", sysfs_dir);
	make_dir("%s", dev_dir);
	make_dir("%s/vduse", dev_dir);
	make_dir("%s/devices", sysfs_dir);
	make_dir("%s/devices/vduse", sysfs_dir);
	make_dir("%s/bus", sysfs_dir);
	make_dir("%s/bus/vdpa", sysfs_dir);
	make_dir("%s/bus/vdpa/devices", sysfs_dir);
	make_dir("%s/bus/vdpa/drivers", sysfs_dir);
	make_dir("%s/bus/vdpa/drivers/vhost_vdpa", sysfs_dir);
	for (unsigned int i = 0; i < 2; i++) {
		char path[256];

		snprintf(path, sizeof(path), "%s/bus/vdpa/drivers/vhost_vdpa/%s", sysfs_dir,
			 i ? "bind" : "unbind");
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		close(fd);
	}
	vdpa_sys = &fake_sys;
	return 0;
}

int fake_vdpa_teardown(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < FAKE_VDPA_DEVICES; i++) {
		assert_true(!fake_kernel->dev[i].there || fake_kernel->dev[i].fd == -1);
		assert_false(fake_kernel->dev[i].misplaced);
	}
	vdpa_sys = &vdpa_sys_kernel;
	scratch_remove(&fake_kernel->scratch);
	free(fake_kernel);
	fake_kernel = NULL;
	return 0;
}
