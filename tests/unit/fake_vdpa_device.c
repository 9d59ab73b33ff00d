/* SPDX-License-Identifier: Apache-2.0 */

/* What a vDPA device of the made-up kernel does by itself: status, rings, control queue, mappings. */

#include "fake_vdpa_priv.h"

#include <linux/vhost.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "util/eventfd.h"
#include "vhost/virtio.h"

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

void fake_vdpa_reset(struct fake_vdpa *d)
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
		fake_vdpa_reset(d);
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

int fake_vdpa_ioctl(struct fake_vdpa *d, unsigned long request, void *arg)
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

int fake_vdpa_iotlb(struct fake_vdpa *d, const struct vhost_msg_v2 *msg)
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
