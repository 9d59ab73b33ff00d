/* SPDX-License-Identifier: Apache-2.0 */

#include "fake_vdpa.h"

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

/* -- the control queue, as a device sees it */

static unsigned int control_index(const struct fake_vdpa *d)
{
	return 2u * (virtio_has(d->acked, VIRTIO_NET_F_MQ) ? d->max_pairs : 1);
}

static void serve_one(struct fake_vdpa *d, unsigned int index, uint32_t asid, uint16_t *seen)
{
	const struct vhost_vring_addr *a = &d->vq[index].addr;
	uint32_t size = d->vq[index].num;
	struct vring_avail *avail = fake_vdpa_at(d, asid, a->avail_user_addr, 4 + 2ull * size);
	struct vring_used *used = fake_vdpa_at(d, asid, a->used_user_addr, 4 + 8ull * size);
	struct vring_desc *desc = fake_vdpa_at(d, asid, a->desc_user_addr, 16ull * size);
	struct fake_command *c = &d->command[d->n_command % FAKE_VDPA_COMMANDS];
	const struct vring_desc *at;
	uint8_t *ack = NULL, all[1024];
	size_t len = 0;

	if (!avail || !used || !desc) {
		d->misplaced = true;
		return;
	}
	at = &desc[avail->ring[*seen % size]];
	for (unsigned int n = 0; n < 4; n++, at = &desc[at->next]) {
		uint8_t *p = fake_vdpa_at(d, asid, at->addr, at->len);

		if (!p || len + at->len > sizeof(all)) {
			d->misplaced = true;
			return;
		}
		if (at->flags & VRING_DESC_F_WRITE) {
			ack = p;
		} else {
			memcpy(all + len, p, at->len);
			len += at->len;
		}
		if (!(at->flags & VRING_DESC_F_NEXT))
			break;
	}
	memset(c, 0, sizeof(*c));
	c->class = all[0];
	c->cmd = all[1];
	c->len = len - 2;
	memcpy(c->data, all + 2, MIN(c->len, sizeof(c->data)));
	d->n_command++;
	if (ack)
		*ack = c->class == d->deaf_class ? VIRTIO_NET_ERR : VIRTIO_NET_OK;
	used->ring[*seen % size].id = avail->ring[*seen % size];
	__atomic_store_n(&used->idx, ++*seen, __ATOMIC_RELEASE);
	(void)signal_eventfd(d->vq[index].call);
}

static void *serve_control(void *arg)
{
	struct fake_vdpa *d = arg;
	uint16_t seen = 0;

	for (;;) {
		unsigned int index = control_index(d);
		struct pollfd p[] = {{.fd = d->vq[index].kick, .events = POLLIN},
				     {.fd = d->wakefd, .events = POLLIN}};
		uint32_t asid = d->asid[d->vq[index].asid_group];
		const struct vring_avail *avail;
		uint64_t n;

		poll(p, 2, -1);
		if (p[1].revents)
			return NULL;
		if (read(d->vq[index].kick, &n, sizeof(n)) < 0)
			continue;
		pthread_mutex_lock(&fake_kernel->lock);
		avail = fake_vdpa_at(d, asid, d->vq[index].addr.avail_user_addr, 4);
		if (!avail)
			d->misplaced = true;
		while (avail && !d->mute && !d->misplaced &&
		       __atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE) != seen)
			serve_one(d, index, asid, &seen);
		pthread_mutex_unlock(&fake_kernel->lock);
	}
}

/* Called with the lock. */
static void halt(struct fake_vdpa *d)
{
	if (!d->running)
		return;
	d->running = false;
	(void)signal_eventfd(d->wakefd);
	pthread_mutex_unlock(&fake_kernel->lock);
	pthread_join(d->thread, NULL);
	pthread_mutex_lock(&fake_kernel->lock);
	close_fd(&d->wakefd);
}

static void device_reset(struct fake_vdpa *d)
{
	halt(d);
	d->status = 0;
	d->acked = 0;
	d->suspended = false;
	d->resets++;
	d->asid[0] = d->asid[1] = 0;
	close_fd(&d->configfd);
	for (unsigned int i = 0; i < FAKE_VDPA_QUEUES; i++) {
		close_fd(&d->vq[i].kick);
		close_fd(&d->vq[i].call);
		memset(&d->vq[i], 0, sizeof(d->vq[i]));
		d->vq[i].kick = d->vq[i].call = -1;
		d->vq[i].asid_group = d->groups > 1 && i == d->vqs - 1 ? 1 : 0;
	}
}

static int set_status(struct fake_vdpa *d, uint8_t status)
{
	if (status == 0) {
		d->lingers = d->vduse;
		device_reset(d);
		return 0;
	}
	status &= (uint8_t)~d->deaf_status;
	if (d->status & ~status)
		return -EINVAL;
	if ((status & ~d->status) & VIRTIO_CONFIG_S_DRIVER_OK) {
		if (virtio_has(d->acked, VIRTIO_NET_F_CTRL_VQ) && d->vq[control_index(d)].enabled) {
			d->wakefd = eventfd(0, EFD_CLOEXEC);
			d->running = pthread_create(&d->thread, NULL, serve_control, d) == 0;
		}
	}
	d->status = status;
	return 0;
}

static int get_config(const struct fake_vdpa *d, struct vhost_vdpa_config *c)
{
	struct virtio_net_config config = {.max_virtqueue_pairs = d->max_pairs, .mtu = d->mtu};

	if (c->off + c->len > sizeof(config))
		return -EINVAL;
	memcpy(c->buf, (const uint8_t *)&config + c->off, c->len);
	return 0;
}

static int ring_ioctl(struct fake_vdpa *d, unsigned long request, void *arg)
{
	struct vhost_vring_state *s = arg;
	const struct vhost_vring_file *f = arg;

	if (s->index >= d->vqs) /* each begins with the index */
		return -ENOBUFS;
	switch (request) {
	case VHOST_SET_VRING_NUM:
		d->vq[s->index].num = s->num;
		return s->num > d->max_size ? -EINVAL : 0;
	case VHOST_SET_VRING_BASE:
		d->vq[s->index].base = (uint16_t)s->num;
		return 0;
	case VHOST_GET_VRING_BASE:
		d->lingers = false;
		s->num = d->vq[s->index].base;
		return 0;
	case VHOST_SET_VRING_ADDR:
		d->vq[s->index].addr = *(const struct vhost_vring_addr *)arg;
		return 0;
	case VHOST_SET_VRING_KICK:
		close_fd(&d->vq[f->index].kick);
		d->vq[f->index].kick = f->fd >= 0 ? fcntl(f->fd, F_DUPFD_CLOEXEC, 3) : -1;
		return 0;
	case VHOST_SET_VRING_CALL:
		close_fd(&d->vq[f->index].call);
		d->vq[f->index].call = f->fd >= 0 ? fcntl(f->fd, F_DUPFD_CLOEXEC, 3) : -1;
		return 0;
	case VHOST_VDPA_SET_VRING_ENABLE:
		if (d->status & VIRTIO_CONFIG_S_DRIVER_OK)
			d->misplaced = true;
		d->vq[s->index].enabled = s->num;
		return 0;
	case VHOST_VDPA_GET_VRING_GROUP:
		s->num = d->vq[s->index].asid_group;
		return 0;
	default:
		return -ENOTTY;
	}
}

static int device_ioctl(struct fake_vdpa *d, unsigned long request, void *arg)
{
	struct vhost_vring_state *s = arg;

	switch (request) {
	case VHOST_VDPA_GET_DEVICE_ID:
		*(uint32_t *)arg = d->device_id;
		return 0;
	case VHOST_SET_OWNER:
		return 0;
	case VHOST_GET_BACKEND_FEATURES:
		*(uint64_t *)arg = d->backend;
		return 0;
	case VHOST_SET_BACKEND_FEATURES:
		d->acked_backend = *(uint64_t *)arg;
		return d->acked_backend & ~d->backend ? -EOPNOTSUPP : 0;
	case VHOST_GET_FEATURES:
		*(uint64_t *)arg = d->features;
		return 0;
	case VHOST_SET_FEATURES:
		if (d->status & VIRTIO_CONFIG_S_FEATURES_OK)
			return -EBUSY;
		d->acked = *(uint64_t *)arg;
		return d->acked & ~d->features ? -EINVAL : 0;
	case VHOST_VDPA_GET_STATUS:
		*(uint8_t *)arg = d->status;
		return 0;
	case VHOST_VDPA_SET_STATUS:
		return set_status(d, *(uint8_t *)arg);
	case VHOST_VDPA_GET_CONFIG:
		return get_config(d, arg);
	case VHOST_VDPA_GET_VRING_NUM:
		*(uint16_t *)arg = d->max_size;
		return 0;
	case VHOST_VDPA_GET_IOVA_RANGE:
		*(struct vhost_vdpa_iova_range *)arg = (struct vhost_vdpa_iova_range){.last = d->last};
		return 0;
	case VHOST_VDPA_GET_VQS_COUNT:
		*(uint32_t *)arg = d->vqs;
		return 0;
	case VHOST_VDPA_GET_AS_NUM:
		*(unsigned int *)arg = d->spaces;
		return 0;
	case VHOST_VDPA_SET_GROUP_ASID:
		if (s->index >= d->groups || s->num >= d->spaces || d->status & VIRTIO_CONFIG_S_DRIVER_OK)
			return -EINVAL;
		d->asid[s->index] = s->num;
		return 0;
	case VHOST_VDPA_SET_CONFIG_CALL:
		close_fd(&d->configfd);
		d->configfd = fcntl(*(int *)arg, F_DUPFD_CLOEXEC, 3);
		return 0;
	case VHOST_VDPA_SUSPEND:
		halt(d);
		d->suspended = true;
		d->suspends++;
		return 0;
	default:
		return ring_ioctl(d, request, arg);
	}
}

/* -- struct vdpa_sys */

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
		device_reset(d);
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
	device_reset(d);
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
	r = d->refuse == request ? -d->refuse_errno : device_ioctl(d, request, arg);
	pthread_mutex_unlock(&fake_kernel->lock);
	return r;
}

static int iotlb(struct fake_vdpa *d, const struct vhost_msg_v2 *msg)
{
	switch (msg->iotlb.type) {
	case VHOST_IOTLB_BATCH_BEGIN:
		d->misplaced |= d->in_batch;
		d->in_batch = true;
		d->batches++;
		return 0;
	case VHOST_IOTLB_BATCH_END:
		d->misplaced |= !d->in_batch;
		d->in_batch = false;
		return 0;
	case VHOST_IOTLB_UPDATE:
		for (unsigned int i = 0; i < d->n_map; i++)
			if (d->map[i].asid == msg->asid &&
			    msg->iotlb.iova < d->map[i].iova + d->map[i].size &&
			    d->map[i].iova < msg->iotlb.iova + msg->iotlb.size)
				return -EEXIST;
		if (d->n_map == ARRAY_SIZE(d->map))
			return -ENOSPC;
		d->map[d->n_map++] = (struct fake_map){
			.asid = msg->asid,
			.iova = msg->iotlb.iova,
			.size = msg->iotlb.size,
			.uaddr = msg->iotlb.uaddr,
		};
		return 0;
	case VHOST_IOTLB_INVALIDATE:
		for (unsigned int i = 0; i < d->n_map;)
			if (d->map[i].asid == msg->asid && d->map[i].iova == msg->iotlb.iova)
				d->map[i] = d->map[--d->n_map];
			else
				i++;
		return 0;
	default:
		return -EINVAL;
	}
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
		r = iotlb(by_fd(fd), &msg);
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
