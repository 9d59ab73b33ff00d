/* SPDX-License-Identifier: Apache-2.0 */

#include "datapath/vhost_net/vhost_net.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "net/tap_queues.h"
#include "vhost/virtio.h"

#define VHOST_NET_PATH    "/dev/vhost-net"
#define VHOST_REGIONS     64 /* the least that any kernel takes, and the most unless it is told otherwise */
#define VHOST_REGIONS_MAX "/sys/module/vhost/parameters/max_mem_regions"

static int reason(struct vhost_net *vn, int r, const char *fmt, ...) printf_like(3, 4);
static int reason(struct vhost_net *vn, int r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(vn->why, sizeof(vn->why), fmt, ap);
	va_end(ap);
	return r;
}

/* To be called with errno of the call that failed. */
static int failed(struct vhost_net *vn, const char *what)
{
	return reason(vn, -errno, "%s: %s", what, strerror(errno));
}

static int open_device(void)
{
	int fd = open(VHOST_NET_PATH, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

static const char *open_hint(int r)
{
	switch (-r) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return "load the kernel module vhost_net";
	case EPERM:
	case EACCES:
		return "vpfd may not open it";
	default:
		return strerror(-r);
	}
}

uint64_t vhost_net_kernel_features(struct err *err)
{
	/* Each query costs the kernel a grace period; and its features do not change while we run. */
	static uint64_t known;
	_cleanup_close_ int fd = -1;
	uint64_t features = 0;

	if (known)
		return known;
	fd = open_device();
	if (fd < 0) {
		err_set(err, -fd, "datapaths", "no %s: %s", VHOST_NET_PATH, open_hint(fd));
		return 0;
	}
	if (ioctl(fd, VHOST_GET_FEATURES, &features) < 0) {
		err_set(err, errno, "datapaths", "cannot read the features of %s: %s", VHOST_NET_PATH,
			strerror(errno));
		return 0;
	}
	if (!virtio_has(features, VIRTIO_F_VERSION_1) || !virtio_has(features, VIRTIO_NET_F_MRG_RXBUF)) {
		err_set(err, EOPNOTSUPP, "datapaths",
			"this kernel's vhost-net is too old: it lacks virtio 1");
		return 0;
	}
	known = features;
	return known;
}

int vhost_net_new(struct vhost_net **ret)
{
	struct vhost_net *vn = calloc(1, sizeof(*vn));

	if (!vn)
		return -ENOMEM;
	pthread_mutex_init(&vn->lock, NULL);
	for (unsigned int i = 0; i < ARRAY_SIZE(vn->dev); i++)
		vn->dev[i] = -1;
	for (unsigned int i = 0; i < ARRAY_SIZE(vn->ring); i++)
		vn->ring[i].callfd = -1;
	*ret = vn;
	return 0;
}

void vhost_net_free(void *arg)
{
	struct vhost_net *vn = arg;

	if (!vn)
		return;
	for (unsigned int i = 0; i < ARRAY_SIZE(vn->dev); i++)
		close_fd(&vn->dev[i]);
	vhost_net_forget_rings(vn);
	pthread_mutex_destroy(&vn->lock);
	free(vn->table);
	free(vn);
}

/* Begins a step; false: it was torn down, and there is nothing left to do. */
static bool enter(struct vhost_net *vn)
{
	pthread_mutex_lock(&vn->lock);
	if (!vn->torn)
		return true;
	pthread_mutex_unlock(&vn->lock);
	return false;
}

static void leave(struct vhost_net *vn)
{
	pthread_mutex_unlock(&vn->lock);
}

static unsigned int max_regions(void)
{
	_cleanup_close_ int fd = open(VHOST_REGIONS_MAX, O_RDONLY | O_CLOEXEC);
	char text[16] = "";

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return VHOST_REGIONS;
	return (unsigned int)strtoul(text, NULL, 10);
}

/* A device of the pair, with memory. VHOST_SET_OWNER ties it to our address space. */
static int need_device(struct vhost_net *vn, unsigned int pair)
{
	int *fd = &vn->dev[pair];

	if (*fd < 0) {
		int r = open_device();

		if (r < 0)
			return reason(vn, r, "no %s: %s", VHOST_NET_PATH, open_hint(r));
		*fd = r;
		vn->has_table[pair] = false;
		if (ioctl(*fd, VHOST_SET_OWNER) < 0) {
			r = failed(vn, "the kernel cannot create its thread");
			close_fd(fd);
			return r;
		}
	}
	if (vn->table && !vn->has_table[pair]) {
		if (ioctl(*fd, VHOST_SET_MEM_TABLE, vn->table) < 0) {
			if (errno == E2BIG)
				return reason(
					vn, -E2BIG,
					"guest memory is in %u regions, and the kernel's vhost takes %u (its parameter max_mem_regions)",
					vn->table->nregions, max_regions());
			return failed(vn, "the kernel does not take the guest's memory");
		}
		vn->has_table[pair] = true;
	}
	return 0;
}

static int set_features(struct vhost_net *vn, unsigned int pair, uint64_t own)
{
	/* Offloads and the like are between tap and driver: the kernel's vhost knows nothing of them. */
	uint64_t ring = VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF) |
			VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) |
			VIRTIO_BIT(VIRTIO_F_ANY_LAYOUT);
	uint64_t features = (vn->features & ring) | own;

	return ioctl(vn->dev[pair], VHOST_SET_FEATURES, &features) < 0
		       ? failed(vn, "the kernel does not take the features")
		       : 0;
}

static void set_result(struct vhost_net *vn, int r)
{
	pthread_mutex_lock(&vn->lock);
	vn->r = r;
	pthread_mutex_unlock(&vn->lock);
}

int vhost_net_result(struct vhost_net *vn, char why[VHOST_NET_WHY])
{
	int r;

	pthread_mutex_lock(&vn->lock);
	r = vn->r;
	memcpy(why, vn->why, sizeof(vn->why));
	pthread_mutex_unlock(&vn->lock);
	return r;
}

void vhost_net_prepare(void *arg)
{
	struct vhost_net *vn = arg;
	int r = 0;

	memset(vn->has_table, 0, sizeof(vn->has_table));
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUE_PAIRS && !r; i++) {
		if (i >= vn->pairs && vn->dev[i] < 0)
			continue;
		if (!enter(vn))
			return;
		r = need_device(vn, i);
		if (!r)
			r = set_features(vn, i, 0);
		leave(vn);
	}
	set_result(vn, r);
}

static int dev_of(const struct vhost_net *vn, const struct vhost_net_ring *ring)
{
	return vn->dev[ring->index / 2];
}

static int set_backend(const struct vhost_net *vn, struct vhost_net_ring *ring, bool attach)
{
	struct vhost_vring_file file = {
		.index = ring->index % 2,
		.fd = attach ? vn->tap_fd[ring->index / 2] : -1,
	};

	if (attach == ring->attached)
		return 0;
	if (ioctl(dev_of(vn, ring), VHOST_NET_SET_BACKEND, &file) < 0)
		return -errno;
	ring->attached = attach;
	return 0;
}

static int set_file(const struct vhost_net *vn, const struct vhost_net_ring *ring, unsigned long request,
		    int fd)
{
	struct vhost_vring_file file = {.index = ring->index % 2, .fd = fd};

	return ioctl(dev_of(vn, ring), request, &file) < 0 ? -errno : 0;
}

/* All that the kernel has to be told about a ring, except the backend. */
static int set_ring(struct vhost_net *vn, struct vhost_net_ring *ring)
{
	struct vhost_vring_state num = {ring->index % 2, ring->size},
				 base = {ring->index % 2, ring->avail_idx};
	int fd = dev_of(vn, ring);

	ring->addr.index = ring->index % 2;
	if (ioctl(fd, VHOST_SET_VRING_NUM, &num) < 0 || ioctl(fd, VHOST_SET_VRING_BASE, &base) < 0 ||
	    ioctl(fd, VHOST_SET_VRING_ADDR, &ring->addr) < 0)
		return failed(vn, "the kernel does not take a ring");
	ring->set = true;
	if (set_file(vn, ring, VHOST_SET_VRING_CALL, ring->callfd) < 0 ||
	    set_file(vn, ring, VHOST_SET_VRING_ERR, ring->errfd) < 0 ||
	    set_file(vn, ring, VHOST_SET_VRING_KICK, ring->kickfd) < 0)
		return failed(vn, "the kernel does not take a ring's kick or call descriptor");
	return 0;
}

static int use_tap_queues(struct vhost_net *vn)
{
	uint32_t pairs = 0;
	int r;

	for (unsigned int i = 0; i < vn->n; i++)
		if (vn->ring[i].enabled)
			pairs |= 1u << vn->ring[i].index / 2;
	r = tap_set_queues(vn->tap_fd, vn->n_tap, pairs);
	return r < 0 ? reason(vn, r, "cannot set the tap's queues: %s", strerror(-r)) : 0;
}

static int set_log(struct vhost_net *vn, unsigned int pair)
{
	uint64_t base = (uintptr_t)vn->log;

	return ioctl(vn->dev[pair], VHOST_SET_LOG_BASE, &base) < 0
		       ? failed(vn, "the kernel does not take the dirty log")
		       : 0;
}

static int start_ring(struct vhost_net *vn, struct vhost_net_ring *ring)
{
	unsigned int pair = ring->index / 2;
	int r = need_device(vn, pair);

	if (!r && pair >= vn->n_tap)
		r = reason(vn, -EINVAL, "the tap has %u queues, and the driver uses more", vn->n_tap);
	if (!r && vn->log)
		r = set_log(vn, pair);
	if (!r)
		r = set_features(vn, pair, vn->log ? VIRTIO_BIT(VHOST_F_LOG_ALL) : 0);
	return r ? r : set_ring(vn, ring);
}

static void stop_ring(struct vhost_net *vn, struct vhost_net_ring *ring)
{
	struct vhost_vring_state base = {.index = ring->index % 2};

	if (!ring->set)
		return;
	/* It cannot fail for a backend that is there to be taken away. */
	(void)set_backend(vn, ring, false);
	if (ioctl(dev_of(vn, ring), VHOST_GET_VRING_BASE, &base) == 0)
		ring->avail_idx = (uint16_t)base.num;
	(void)set_file(vn, ring, VHOST_SET_VRING_KICK, -1);
	(void)set_file(vn, ring, VHOST_SET_VRING_CALL, -1);
	(void)set_file(vn, ring, VHOST_SET_VRING_ERR, -1);
	ring->set = false;
}

void vhost_net_stop(void *arg)
{
	struct vhost_net *vn = arg;

	for (unsigned int i = 0; i < vn->n && enter(vn); i++) {
		stop_ring(vn, &vn->ring[i]);
		leave(vn);
	}
}

/* Attaches and detaches; detaching comes first. */
static int apply(struct vhost_net *vn)
{
	int r = 0;

	for (unsigned int pass = 0; pass < 2; pass++) {
		for (unsigned int i = 0; i < vn->n && !r; i++) {
			struct vhost_net_ring *ring = &vn->ring[i];

			if (!enter(vn))
				return 0;
			if (ring->enabled == pass && set_backend(vn, ring, pass) < 0)
				r = failed(vn, "the kernel does not take the tap");
			leave(vn);
		}
		if (pass == 0 && !r && enter(vn)) {
			r = use_tap_queues(vn);
			leave(vn);
		}
	}
	return r;
}

void vhost_net_apply(void *arg)
{
	struct vhost_net *vn = arg;
	int r = vn->r;

	if (r < 0) /* afterwards everything is gone */
		return;
	r = apply(vn);
	if (r < 0)
		vhost_net_stop(vn);
	set_result(vn, r);
}

static int start_all(struct vhost_net *vn)
{
	int r;

	if (!enter(vn))
		return 0;
	r = tap_set_offload(vn->tap_fd[0], vn->features);
	if (r < 0)
		reason(vn, r, "cannot set the tap's offloads: %s",
		       r == -EBADFD ? "it was deleted" : strerror(-r));
	leave(vn);
	for (unsigned int i = 0; i < vn->n && !r; i++) {
		if (!enter(vn))
			return 0;
		r = start_ring(vn, &vn->ring[i]);
		leave(vn);
	}
	return r ? r : apply(vn);
}

void vhost_net_start(void *arg)
{
	struct vhost_net *vn = arg;
	int r = start_all(vn);

	if (r < 0)
		vhost_net_stop(vn);
	set_result(vn, r);
}

void vhost_net_tear(struct vhost_net *vn)
{
	pthread_mutex_lock(&vn->lock);
	for (unsigned int i = 0; i < vn->n; i++)
		(void)set_backend(vn, &vn->ring[i], false);
	vn->torn = true;
	pthread_mutex_unlock(&vn->lock);
}

void vhost_net_enable(struct vhost_net *vn, unsigned int ring, bool enable)
{
	pthread_mutex_lock(&vn->lock);
	vn->ring[ring].enabled = enable;
	pthread_mutex_unlock(&vn->lock);
}

int vhost_net_call(struct vhost_net *vn, unsigned int ring, int callfd)
{
	int own = callfd < 0 ? -1 : fcntl(callfd, F_DUPFD_CLOEXEC, 3), r = 0;

	if (callfd >= 0 && own < 0)
		return -errno;
	pthread_mutex_lock(&vn->lock);
	close_fd(&vn->ring[ring].callfd);
	vn->ring[ring].callfd = own;
	if (vn->ring[ring].set)
		r = set_file(vn, &vn->ring[ring], VHOST_SET_VRING_CALL, own);
	pthread_mutex_unlock(&vn->lock);
	return r;
}

void vhost_net_forget_rings(struct vhost_net *vn)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(vn->ring); i++)
		close_fd(&vn->ring[i].callfd);
	vn->n = 0;
}
