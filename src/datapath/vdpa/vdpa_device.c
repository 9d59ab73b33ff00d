/* SPDX-License-Identifier: Apache-2.0 */

#include "datapath/vdpa/vdpa_device.h"

#include <inttypes.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "vhost/virtio.h"

#define BACKEND_WANTED                                                                                       \
	(VIRTIO_BIT(VHOST_BACKEND_F_IOTLB_MSG_V2) | VIRTIO_BIT(VHOST_BACKEND_F_IOTLB_BATCH) |                \
	 VIRTIO_BIT(VHOST_BACKEND_F_IOTLB_ASID) | VIRTIO_BIT(VHOST_BACKEND_F_SUSPEND) |                      \
	 VIRTIO_BIT(VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK) | VIRTIO_BIT(VHOST_BACKEND_F_IOTLB_PERSIST))

/* Features that QEMU and vpfd implement for the guest's driver, independent of the device. */
#define FRONT_FEATURES                                                                                       \
	(VIRTIO_NET_FRONT_FEATURES | VIRTIO_BIT(VIRTIO_NET_F_MAC) | VIRTIO_BIT(VIRTIO_NET_F_CTRL_VLAN) |     \
	 VIRTIO_BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) | VIRTIO_BIT(VIRTIO_NET_F_MQ) |                              \
	 VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM) | VIRTIO_BIT(VIRTIO_F_ANY_LAYOUT)) /* implied by VERSION_1 */

/* Features that we use through its control queue. */
#define CONTROL_FEATURES                                                                                     \
	(VIRTIO_BIT(VIRTIO_NET_F_CTRL_RX) | VIRTIO_BIT(VIRTIO_NET_F_CTRL_VLAN) |                             \
	 VIRTIO_BIT(VIRTIO_NET_F_CTRL_MAC_ADDR))

uint64_t vdpa_device_features(uint64_t features)
{
	return features & ~FRONT_FEATURES;
}

void vdpa_device_init(struct vdpa_device *d)
{
	memset(d, 0, sizeof(*d));
	d->lease.fd = d->configfd = d->control.memfd = d->control.kickfd = d->control.callfd = -1;
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++)
		d->ring[i].kickfd = d->ring[i].callfd = -1;
}

static int device_ioctl(const struct vdpa_device *d, unsigned long request, void *arg)
{
	return vdpa_sys->ioctl(d->lease.fd, request, arg);
}

/* A step whose name says what failed. */
static int must(int r, const char *what, struct err *err)
{
	return r < 0 ? err_set(err, -r, NULL, "%s: %s", what, strerror(-r)) : 0;
}

static int add_status(const struct vdpa_device *d, uint8_t bits)
{
	uint8_t status = 0, now;
	int r = device_ioctl(d, VHOST_VDPA_GET_STATUS, &status);

	now = status | bits;
	if (r >= 0)
		r = device_ioctl(d, VHOST_VDPA_SET_STATUS, &now);
	if (r >= 0)
		r = device_ioctl(d, VHOST_VDPA_GET_STATUS, &status);
	return r < 0 ? r : (status & bits) == bits ? 0 : -EIO;
}

static int get_base(const struct vdpa_device *d, unsigned int index)
{
	struct vhost_vring_state state = {.index = index};

	return device_ioctl(d, VHOST_GET_VRING_BASE, &state);
}

int vdpa_device_ping(struct vdpa_device *d)
{
	return get_base(d, 0);
}

static int reset(struct vdpa_device *d)
{
	uint8_t status = 0;
	int r = device_ioctl(d, VHOST_VDPA_SET_STATUS, &status);

	/* VDUSE servers handle one message at a time: this one is answered when the reset is complete. */
	if (r >= 0 && d->lease.vduse)
		r = vdpa_device_ping(d);
	d->live = d->negotiated = false;
	if (r >= 0)
		d->dirty = false;
	return r;
}

static bool has_backend(const struct vdpa_device *d, unsigned int bit)
{
	return virtio_has(d->backend, bit);
}

/* -- finding out */

static const char *feature_name(unsigned int bit)
{
	static const struct {
		unsigned int bit;
		const char *name;
	} names[] = {
		{VIRTIO_NET_F_CSUM, "checksum offload (CSUM)"},
		{VIRTIO_NET_F_GUEST_CSUM, "receive checksum offload (GUEST_CSUM)"},
		{VIRTIO_NET_F_HOST_TSO4, "HOST_TSO4"},
		{VIRTIO_NET_F_HOST_TSO6, "HOST_TSO6"},
		{VIRTIO_NET_F_HOST_ECN, "HOST_ECN"},
		{VIRTIO_NET_F_HOST_USO, "HOST_USO"},
		{VIRTIO_NET_F_GUEST_TSO4, "GUEST_TSO4"},
		{VIRTIO_NET_F_GUEST_TSO6, "GUEST_TSO6"},
		{VIRTIO_NET_F_GUEST_ECN, "GUEST_ECN"},
		{VIRTIO_NET_F_GUEST_USO4, "GUEST_USO4"},
		{VIRTIO_NET_F_GUEST_USO6, "GUEST_USO6"},
		{VIRTIO_NET_F_MRG_RXBUF, "mergeable buffers (MRG_RXBUF)"},
		{VIRTIO_NET_F_MQ, "several queue pairs (MQ)"},
		{VIRTIO_F_VERSION_1, "virtio 1 (VERSION_1)"},
		{VIRTIO_F_RING_PACKED, "packed rings"},
		{VIRTIO_F_IN_ORDER, "IN_ORDER"},
		{VIRTIO_RING_F_INDIRECT_DESC, "indirect descriptors"},
		{VIRTIO_RING_F_EVENT_IDX, "the event index (EVENT_IDX)"},
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].bit == bit)
			return names[i].name;
	return "a feature";
}

static int lacks(const struct vdpa_device *d, unsigned int bit, struct err *err)
{
	return err_set(err, EOPNOTSUPP, NULL, "vDPA device %s lacks %s (feature bit %u)", d->lease.name,
		       feature_name(bit), bit);
}

/* A field of the configuration that is there with a feature. */
static uint16_t config_u16(const struct vdpa_device *d, unsigned int feature, uint32_t off,
			   uint16_t otherwise)
{
	union {
		struct vhost_vdpa_config config;
		uint8_t room[sizeof(struct vhost_vdpa_config) + 2];
	} u;
	uint16_t value;

	memset(&u, 0, sizeof(u));
	u.config.off = off;
	u.config.len = sizeof(value);
	if (!virtio_has(d->offered, feature) || device_ioctl(d, VHOST_VDPA_GET_CONFIG, &u.config) < 0)
		return otherwise;
	memcpy(&value, u.room + offsetof(struct vhost_vdpa_config, buf), sizeof(value));
	return value ? value : otherwise;
}

static int identify(struct vdpa_device *d, struct err *err)
{
	struct vhost_vdpa_iova_range range = {.last = UINT64_MAX};
	uint32_t id = 0, vqs = 0;
	uint16_t mtu;
	int r;

	r = must(device_ioctl(d, VHOST_VDPA_GET_DEVICE_ID, &id), "VHOST_VDPA_GET_DEVICE_ID", err);
	if (r < 0)
		return r;
	if (id != VIRTIO_ID_NET)
		return err_set(err, EMEDIUMTYPE, NULL,
			       "vDPA device %s is not a network device, but of virtio type %u", d->lease.name,
			       id);
	r = must(device_ioctl(d, VHOST_SET_OWNER, NULL), "VHOST_SET_OWNER", err);
	if (r >= 0)
		r = must(device_ioctl(d, VHOST_GET_BACKEND_FEATURES, &d->backend),
			 "VHOST_GET_BACKEND_FEATURES", err);
	if (r < 0)
		return r;
	d->backend &= BACKEND_WANTED;
	if (!has_backend(d, VHOST_BACKEND_F_IOTLB_MSG_V2))
		return err_set(err, EOPNOTSUPP, NULL, "this kernel's vhost-vdpa is too old");
	r = must(device_ioctl(d, VHOST_SET_BACKEND_FEATURES, &d->backend), "VHOST_SET_BACKEND_FEATURES", err);
	if (r >= 0)
		r = must(device_ioctl(d, VHOST_GET_FEATURES, &d->offered), "VHOST_GET_FEATURES", err);
	if (r >= 0)
		r = must(device_ioctl(d, VHOST_VDPA_GET_VRING_NUM, &d->max_size), "VHOST_VDPA_GET_VRING_NUM",
			 err);
	if (r < 0)
		return r;
	/* Queries that older kernels do not support have defaults. */
	device_ioctl(d, VHOST_VDPA_GET_IOVA_RANGE, &range);
	d->first = range.first;
	d->last = range.last;
	d->max_pairs =
		config_u16(d, VIRTIO_NET_F_MQ, offsetof(struct virtio_net_config, max_virtqueue_pairs), 1);
	mtu = config_u16(d, VIRTIO_NET_F_MTU, offsetof(struct virtio_net_config, mtu), 0);
	if (mtu && mtu < d->req.mtu)
		return err_set(err, EOPNOTSUPP, NULL,
			       "vDPA device %s has an MTU of %u, the function one of %u", d->lease.name, mtu,
			       d->req.mtu);
	if (device_ioctl(d, VHOST_VDPA_GET_VQS_COUNT, &vqs) < 0)
		vqs = 2u * d->max_pairs + (virtio_has(d->offered, VIRTIO_NET_F_CTRL_VQ) ? 1 : 0);
	d->vqs = (uint16_t)MIN(vqs, (uint32_t)UINT16_MAX);
	return 0;
}

/* -- features */

/* What we tell the device, or why it is not suitable. */
static int choose_features(struct vdpa_device *d, struct err *err)
{
	uint64_t need = vdpa_device_features(d->want_features) & ~VIRTIO_BIT(VHOST_F_LOG_ALL);
	uint64_t missing = need & ~d->offered;
	bool mq = virtio_has(d->want_features, VIRTIO_NET_F_MQ) && d->req.pairs > 1;

	if (missing)
		return lacks(d, (unsigned int)__builtin_ctzll(missing), err);
	if (mq && (!virtio_has(d->offered, VIRTIO_NET_F_MQ) || !virtio_has(d->offered, VIRTIO_NET_F_CTRL_VQ)))
		return lacks(d, VIRTIO_NET_F_MQ, err);
	if (mq && d->max_pairs < d->req.pairs)
		return err_set(err, EOPNOTSUPP, NULL,
			       "vDPA device %s has %u queue pairs, and the driver may use %u", d->lease.name,
			       d->max_pairs, d->req.pairs);
	d->features = need | (d->offered & VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM));
	d->control_index = 2u * (mq ? d->max_pairs : 1);
	if (virtio_has(d->offered, VIRTIO_NET_F_CTRL_VQ) && (mq || (d->offered & CONTROL_FEATURES)) &&
	    d->control_index < d->vqs) {
		d->features |= VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) | (d->offered & CONTROL_FEATURES);
		if (mq)
			d->features |= VIRTIO_BIT(VIRTIO_NET_F_MQ);
	} else if (mq) {
		return lacks(d, VIRTIO_NET_F_CTRL_VQ, err);
	}
	return 0;
}

/* An address space of its own for the control queue, where its group of queues is its own as well. */
static uint32_t choose_asid(const struct vdpa_device *d)
{
	struct vhost_vring_state own = {.index = d->control_index};
	unsigned int spaces = 0;

	if (!has_backend(d, VHOST_BACKEND_F_IOTLB_ASID) ||
	    device_ioctl(d, VHOST_VDPA_GET_AS_NUM, &spaces) < 0 || spaces < 2 ||
	    device_ioctl(d, VHOST_VDPA_GET_VRING_GROUP, &own) < 0)
		return 0;
	for (unsigned int i = 0; i < d->control_index; i++) {
		struct vhost_vring_state other = {.index = i};

		if (device_ioctl(d, VHOST_VDPA_GET_VRING_GROUP, &other) < 0 || other.num == own.num)
			return 0;
	}
	own.index = own.num; /* of the group */
	own.num = 1;
	return device_ioctl(d, VHOST_VDPA_SET_GROUP_ASID, &own) < 0 ? 0 : 1;
}

static int say_features(struct vdpa_device *d, struct err *err)
{
	int r = add_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);

	if (r < 0)
		return err_set(err, -r, NULL, "vDPA device %s does not answer", d->lease.name);
	r = device_ioctl(d, VHOST_SET_FEATURES, &d->features);
	if (r >= 0)
		r = add_status(d, VIRTIO_CONFIG_S_FEATURES_OK);
	if (r < 0)
		return err_set(err, EOPNOTSUPP, NULL, "vDPA device %s refuses features 0x%" PRIx64,
			       d->lease.name, d->features);
	return 0;
}

static int set_config_call(struct vdpa_device *d)
{
	if (d->configfd < 0)
		d->configfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return d->configfd < 0 ? -errno : device_ioctl(d, VHOST_VDPA_SET_CONFIG_CALL, &d->configfd);
}

/* -- memory */

static void unmap_control(struct vdpa_device *d)
{
	if (d->control_mapped)
		vdpa_iotlb_send(d->lease.fd, VHOST_IOTLB_INVALIDATE, d->asid, d->control.iova,
				VDPA_CONTROL_BYTES, 0);
	d->control_mapped = false;
}

static int map_control(struct vdpa_device *d, struct err *err)
{
	uint64_t iova = vdpa_map_hole(d->map, d->first, d->last, VDPA_CONTROL_BYTES);
	int r;

	if (iova == UINT64_MAX)
		return err_set(err, ENOSPC, NULL,
			       "the device has no free address range for its control queue");
	if (d->control_mapped && iova == d->control.iova)
		return 0;
	unmap_control(d);
	d->control.iova = iova;
	r = vdpa_iotlb_send(d->lease.fd, VHOST_IOTLB_UPDATE, d->asid, iova, VDPA_CONTROL_BYTES,
			    (uintptr_t)d->control.area);
	d->control_mapped = r >= 0;
	return must(r, "cannot map the control queue", err);
}

/* Maps guest memory that is not mapped already; `mem` NULL: what was mapped stays, but is not mapped again. */
static int map_memory(struct vdpa_device *d, const struct guest_mem *mem, bool anew, struct err *err)
{
	bool batch = has_backend(d, VHOST_BACKEND_F_IOTLB_BATCH);
	struct vdpa_map *map = NULL;
	int r = 0;

	if (mem) {
		r = vdpa_map_new(mem, d->first, d->last, &map, err);
		if (r < 0)
			return r;
	}
	if (!anew && (!map || vdpa_map_equal(map, d->map))) {
		free(map);
		return 0;
	}
	if (d->asid == 0) /* it may be where guest memory is now */
		unmap_control(d);
	if (d->map || map)
		r = must(vdpa_iotlb_replace(d->lease.fd, batch, 0, d->map, map), "cannot map guest memory",
			 err);
	if (r < 0) {
		vdpa_iotlb_replace(d->lease.fd, batch, 0, map, NULL); /* whatever part of it is mapped */
		free(map);
		map = NULL;
	}
	free(d->map);
	d->map = map;
	return r;
}

/* -- steps */

static int negotiate(struct vdpa_device *d, struct err *err)
{
	int r = choose_features(d, err);

	if (r >= 0)
		r = say_features(d, err);
	if (r >= 0)
		r = must(set_config_call(d), "VHOST_VDPA_SET_CONFIG_CALL", err);
	if (r < 0)
		return r;
	d->dirty = true;
	if (virtio_has(d->features, VIRTIO_NET_F_CTRL_VQ)) {
		uint32_t asid = choose_asid(d);

		if (asid != d->asid)
			unmap_control(d);
		d->asid = asid;
	}
	d->negotiated = true;
	return 0;
}

/* For the pool: whether this device is suitable. */
static int try_device(void *arg, const struct vdpa_lease *lease, struct err *err)
{
	struct vdpa_device *d = arg;
	int r;

	d->lease = *lease;
	d->dirty = d->negotiated = d->control_mapped = false;
	d->asid = 0;
	r = identify(d, err);
	if (r >= 0)
		r = negotiate(d, err);
	d->lease.fd = -1; /* the pool's, until it hands it over */
	return r;
}

static int have_control(struct vdpa_device *d, struct err *err)
{
	unsigned int size = VDPA_CONTROL_SIZE;

	while (size > d->max_size)
		size /= 2;
	if (!d->control.area) {
		int r = must(size < 4 ? -ENOSPC : vdpa_control_new(&d->control, size),
			     "cannot create a control queue", err);

		if (r < 0)
			return r;
	}
	return map_control(d, err);
}

int vdpa_device_prepare(struct vdpa_device *d, struct err *err)
{
	bool anew = false;
	int r = 0;

	if (d->lease.fd < 0) {
		struct vdpa_lease lease = {.fd = -1};

		r = vdpa_pool_acquire(&d->req, try_device, d, &lease, err);
		if (r < 0)
			return r;
		d->lease = lease;
	} else {
		uint64_t before = d->features;

		r = choose_features(d, err);
		if (r < 0)
			return r;
		if (d->dirty && (d->features != before || !d->negotiated)) {
			r = must(reset(d), "cannot reset the device", err);
			anew = !has_backend(d, VHOST_BACKEND_F_IOTLB_PERSIST) && !d->lease.vduse;
		}
		if (r >= 0 && !d->negotiated)
			r = negotiate(d, err);
		if (r < 0)
			return r;
	}
	r = map_memory(d, d->mem, anew, err);
	if (r >= 0 && virtio_has(d->features, VIRTIO_NET_F_CTRL_VQ)) {
		if (anew && d->control_mapped)
			unmap_control(d);
		r = have_control(d, err);
	}
	return r;
}

static int set_file(const struct vdpa_device *d, unsigned long request, unsigned int index, int fd)
{
	struct vhost_vring_file file = {.index = index, .fd = fd};

	return device_ioctl(d, request, &file);
}

static int set_ring(const struct vdpa_device *d, unsigned int index, unsigned int size, uint16_t base,
		    const struct vhost_vring_addr *addr, int kickfd, int callfd, struct err *err)
{
	struct vhost_vring_state num = {.index = index, .num = size}, state = {.index = index, .num = base};
	struct vhost_vring_addr a = *addr;
	int r;

	a.index = index;
	r = must(device_ioctl(d, VHOST_SET_VRING_NUM, &num), "VHOST_SET_VRING_NUM", err);
	if (r >= 0)
		r = must(device_ioctl(d, VHOST_SET_VRING_BASE, &state), "VHOST_SET_VRING_BASE", err);
	if (r >= 0)
		r = must(device_ioctl(d, VHOST_SET_VRING_ADDR, &a), "VHOST_SET_VRING_ADDR", err);
	if (r >= 0)
		r = must(set_file(d, VHOST_SET_VRING_CALL, index, callfd), "VHOST_SET_VRING_CALL", err);
	if (r >= 0)
		r = must(set_file(d, VHOST_SET_VRING_KICK, index, kickfd), "VHOST_SET_VRING_KICK", err);
	return r;
}

static int enable_ring(const struct vdpa_device *d, unsigned int index)
{
	struct vhost_vring_state state = {.index = index, .num = 1};

	return device_ioctl(d, VHOST_VDPA_SET_VRING_ENABLE, &state);
}

/* Doorbells are handed out only if they can be mapped readable and writable, as a front-end does: QEMU would refuse
 * others, at each start. */
static void find_doorbells(struct vdpa_device *d)
{
	for (unsigned int i = 0; i < d->rings; i++) {
		unsigned int index = d->ring[i].index;
		void *p = vdpa_sys->mmap(d->lease.fd, VDPA_PAGE, (off_t)index * VDPA_PAGE);

		d->doorbell[index] = p != NULL;
		if (p)
			vdpa_sys->munmap(p, VDPA_PAGE);
	}
}

static int start_control(struct vdpa_device *d, struct err *err)
{
	struct vhost_vring_addr addr;
	int r;

	vdpa_control_reset(&d->control);
	vdpa_control_addr(&d->control, &addr);
	r = set_ring(d, d->control_index, d->control.size, 0, &addr, d->control.kickfd, d->control.callfd,
		     err);
	if (r >= 0)
		r = must(enable_ring(d, d->control_index), "VHOST_VDPA_SET_VRING_ENABLE", err);
	return r;
}

static int start(struct vdpa_device *d, struct err *err)
{
	bool control = virtio_has(d->features, VIRTIO_NET_F_CTRL_VQ);
	int r = 0;

	memset(d->doorbell, 0, sizeof(d->doorbell));
	for (unsigned int i = 0; i < d->rings; i++) {
		const struct vdpa_ring *ring = &d->ring[i];
		struct vhost_vring_addr addr = {
			.desc_user_addr = ring->desc,
			.avail_user_addr = ring->driver,
			.used_user_addr = ring->device,
		};

		if (ring->size > d->max_size || ring->index >= d->vqs ||
		    (control && ring->index >= d->control_index))
			return err_set(
				err, EOPNOTSUPP, NULL,
				"vDPA device %s has %u queues of %u entries, the driver's queue %u has %u",
				d->lease.name, d->vqs, d->max_size, ring->index, ring->size);
		r = set_ring(d, ring->index, ring->size, ring->base, &addr, ring->kickfd, ring->callfd, err);
		if (r < 0)
			return r;
	}
	if (control)
		r = start_control(d, err);
	for (unsigned int i = 0; r >= 0 && i < d->rings; i++)
		r = must(enable_ring(d, d->ring[i].index), "VHOST_VDPA_SET_VRING_ENABLE", err);
	if (r < 0)
		return r;
	r = add_status(d, VIRTIO_CONFIG_S_DRIVER_OK);
	if (r < 0)
		return err_set(err, -r, NULL, "vDPA device %s does not start", d->lease.name);
	d->live = true;
	if (control) {
		r = vdpa_control_apply(&d->control, d->features, NULL, &d->filter, err);
		if (r < 0)
			return r;
		d->applied = d->filter;
	}
	find_doorbells(d);
	return 0;
}

int vdpa_device_start(struct vdpa_device *d, struct err *err)
{
	int r = start(d, err);

	if (r < 0)
		reset(d);
	return r;
}

int vdpa_device_stop(struct vdpa_device *d)
{
	int r = -EOPNOTSUPP;

	if (!d->live)
		return 0;
	if (has_backend(d, VHOST_BACKEND_F_SUSPEND))
		r = device_ioctl(d, VHOST_VDPA_SUSPEND, NULL);
	/* What is wanted here is in the used ring; but once a device has answered, it has nothing in flight. */
	for (unsigned int i = 0; r >= 0 && i < d->rings; i++)
		r = get_base(d, d->ring[i].index);
	d->live = d->negotiated = false;
	return r >= 0 ? r : reset(d);
}

int vdpa_device_apply(struct vdpa_device *d, struct err *err)
{
	int r;

	if (!d->live || !virtio_has(d->features, VIRTIO_NET_F_CTRL_VQ))
		return 0;
	r = vdpa_control_apply(&d->control, d->features, &d->applied, &d->filter, err);
	if (r >= 0)
		d->applied = d->filter;
	return r;
}

int vdpa_device_call(struct vdpa_device *d, unsigned int index, int callfd)
{
	return set_file(d, VHOST_SET_VRING_CALL, index, callfd);
}

int vdpa_device_check(struct vdpa_device *d)
{
	uint8_t status = 0;
	int r = device_ioctl(d, VHOST_VDPA_GET_STATUS, &status);

	return r < 0 ? r : status & VIRTIO_CONFIG_S_NEEDS_RESET ? -EIO : 0;
}

void vdpa_device_done(struct vdpa_device *d)
{
	if (d->lease.fd >= 0) {
		/* Closing resets the device, too, and forgets what is mapped. */
		vdpa_pool_release(&d->lease);
	}
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++) {
		close_fd(&d->ring[i].kickfd);
		close_fd(&d->ring[i].callfd);
	}
	vdpa_control_done(&d->control);
	close_fd(&d->configfd);
	free(d->map);
	d->map = NULL;
}
