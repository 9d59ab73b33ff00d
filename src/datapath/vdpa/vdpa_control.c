/* SPDX-License-Identifier: Apache-2.0 */

#include "datapath/vdpa/vdpa_control.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "util/clock.h"
#include "vhost/virtio.h"

/* The layout of the area. */
#define DESC        0u
#define AVAIL       1024u
#define USED        2048u
#define BUFFER      4096u
#define ACK         (VDPA_CONTROL_BYTES - 64u)
#define MAX_COMMAND (ACK - BUFFER)

void vdpa_filter_make(const struct function_settings *s, const struct rx_filter *filter, const uint8_t mac[6],
		      struct vdpa_filter *ret)
{
	bool known = filter && filter->known;
	bool bound = !mac_is_zero(s->admin_mac) && !s->trust;
	uint16_t pairs = ret->pairs;

	memset(ret, 0, sizeof(*ret));
	ret->pairs = pairs;
	memcpy(ret->mac, !mac_is_zero(s->admin_mac) ? s->admin_mac : mac, 6);
	if (known && !bound && !mac_is_zero(filter->main_mac))
		memcpy(ret->mac, filter->main_mac, 6);
	ret->all_multicast = !known || filter->all_multicast || filter->multicast_overflow;
	ret->promiscuous = known && s->trust && (filter->promiscuous || filter->unicast_overflow);
	if (known && !bound) {
		ret->unicast_n = MIN(filter->unicast_n, (unsigned int)VPF_MAX_DRIVER_MACS);
		memcpy(ret->unicast, filter->unicast, ret->unicast_n * sizeof(ret->unicast[0]));
	}
	if (known) {
		ret->multicast_n = MIN(filter->multicast_n, (unsigned int)VPF_MAX_DRIVER_MACS);
		memcpy(ret->multicast, filter->multicast, ret->multicast_n * sizeof(ret->multicast[0]));
	}
	if (s->vlan.mode == VLAN_TRUNK)
		memcpy(ret->vlans, s->vlan.trunk, sizeof(ret->vlans));
}

static bool same_table(const struct vdpa_filter *a, const struct vdpa_filter *b)
{
	return a->unicast_n == b->unicast_n && a->multicast_n == b->multicast_n &&
	       memcmp(a->unicast, b->unicast, a->unicast_n * 6) == 0 &&
	       memcmp(a->multicast, b->multicast, a->multicast_n * 6) == 0;
}

bool vdpa_filter_equal(const struct vdpa_filter *a, const struct vdpa_filter *b)
{
	return memcmp(a->mac, b->mac, sizeof(a->mac)) == 0 && a->promiscuous == b->promiscuous &&
	       a->all_multicast == b->all_multicast && same_table(a, b) &&
	       memcmp(a->vlans, b->vlans, sizeof(a->vlans)) == 0;
}

int vdpa_control_new(struct vdpa_control *c, unsigned int size)
{
	int r = 0;

	*c = (struct vdpa_control){.size = size, .memfd = -1, .kickfd = -1, .callfd = -1};
	c->memfd = memfd_create("vpf-vdpa-control", MFD_CLOEXEC);
	if (c->memfd < 0 || ftruncate(c->memfd, VDPA_CONTROL_BYTES) < 0)
		r = -errno;
	if (!r) {
		void *p = mmap(NULL, VDPA_CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, c->memfd, 0);

		if (p == MAP_FAILED)
			r = -errno;
		else
			c->area = p;
	}
	c->kickfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->callfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!r && (c->kickfd < 0 || c->callfd < 0))
		r = -errno;
	if (r < 0)
		vdpa_control_done(c);
	return r;
}

void vdpa_control_done(struct vdpa_control *c)
{
	if (c->area)
		munmap(c->area, VDPA_CONTROL_BYTES);
	c->area = NULL;
	close_fd(&c->memfd);
	close_fd(&c->kickfd);
	close_fd(&c->callfd);
}

void vdpa_control_reset(struct vdpa_control *c)
{
	uint64_t n;

	memset(c->area, 0, BUFFER);
	c->avail = 0;
	while (read(c->callfd, &n, sizeof(n)) > 0)
		;
}

void vdpa_control_addr(const struct vdpa_control *c, struct vhost_vring_addr *ret)
{
	*ret = (struct vhost_vring_addr){
		.desc_user_addr = c->iova + DESC,
		.avail_user_addr = c->iova + AVAIL,
		.used_user_addr = c->iova + USED,
	};
}

/* Devices call once the command is used; one that forgets to is polled every 10 ms. */
static int await_used(struct vdpa_control *c)
{
	struct vring_used *used = (struct vring_used *)(void *)(c->area + USED);
	int64_t end = (int64_t)clock_ms() + VDPA_CONTROL_MS;

	while (__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) != c->avail) {
		struct pollfd p = {.fd = c->callfd, .events = POLLIN};
		uint64_t n;

		if ((int64_t)clock_ms() >= end)
			return -ETIMEDOUT;
		if (poll(&p, 1, 10) > 0 && read(c->callfd, &n, sizeof(n)) < 0 && errno != EAGAIN)
			return -errno;
	}
	return 0;
}

int vdpa_control_command(struct vdpa_control *c, uint8_t class, uint8_t cmd, const void *data, size_t len)
{
	struct vring_desc *desc = (struct vring_desc *)(void *)(c->area + DESC);
	struct vring_avail *avail = (struct vring_avail *)(void *)(c->area + AVAIL);
	struct virtio_net_ctrl_hdr hdr = {.class = class, .cmd = cmd};
	int r;

	if (len + sizeof(hdr) > MAX_COMMAND)
		return -EINVAL;
	memcpy(c->area + BUFFER, &hdr, sizeof(hdr));
	if (len)
		memcpy(c->area + BUFFER + sizeof(hdr), data, len);
	c->area[ACK] = VIRTIO_NET_ERR;
	/* Devices may require header and data in separate descriptors (legacy framing): this suits both kinds. */
	desc[0] = (struct vring_desc){
		.addr = c->iova + BUFFER, .len = sizeof(hdr), .flags = VRING_DESC_F_NEXT, .next = 1};
	desc[1] = (struct vring_desc){.addr = c->iova + BUFFER + sizeof(hdr),
				      .len = (uint32_t)len,
				      .flags = VRING_DESC_F_NEXT,
				      .next = 2};
	desc[2] = (struct vring_desc){.addr = c->iova + ACK, .len = 1, .flags = VRING_DESC_F_WRITE};
	avail->ring[c->avail % c->size] = 0;
	__atomic_store_n(&avail->idx, ++c->avail, __ATOMIC_RELEASE);
	r = eventfd_write(c->kickfd, 1) < 0 ? -errno : 0;
	if (r < 0 && r != -EAGAIN)
		return r;
	r = await_used(c);
	if (r < 0)
		return r;
	return __atomic_load_n(&c->area[ACK], __ATOMIC_ACQUIRE) == VIRTIO_NET_OK ? 0 : -EIO;
}

static int mac_table(struct vdpa_control *c, const struct vdpa_filter *f)
{
	uint8_t data[2 * (4 + VPF_MAX_DRIVER_MACS * 6)];
	uint32_t n = f->unicast_n;
	size_t at = 0;

	memcpy(data, &n, 4);
	memcpy(data + 4, f->unicast, n * 6);
	at = 4 + n * 6;
	n = f->multicast_n;
	memcpy(data + at, &n, 4);
	memcpy(data + at + 4, f->multicast, n * 6);
	return vdpa_control_command(c, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data,
				    at + 4 + n * 6);
}

static int vlans(struct vdpa_control *c, const struct vdpa_filter *old, const struct vdpa_filter *f)
{
	for (uint16_t v = 1; v < 4095; v++) {
		bool had = old && (old->vlans[v / 64] >> (v % 64) & 1),
		     has = f->vlans[v / 64] >> (v % 64) & 1;
		int r = 0;

		if (had != has)
			r = vdpa_control_command(c, VIRTIO_NET_CTRL_VLAN,
						 has ? VIRTIO_NET_CTRL_VLAN_ADD : VIRTIO_NET_CTRL_VLAN_DEL,
						 &v, sizeof(v));
		if (r < 0)
			return r;
	}
	return 0;
}

static int rx_mode(struct vdpa_control *c, uint8_t cmd, bool on)
{
	uint8_t value = on;

	return vdpa_control_command(c, VIRTIO_NET_CTRL_RX, cmd, &value, 1);
}

int vdpa_control_apply(struct vdpa_control *c, uint64_t features, const struct vdpa_filter *old,
		       const struct vdpa_filter *f, struct err *err)
{
	const char *what = "number of queue pairs";
	int r = 0;

	/* The MAC last: until then the device knows the one it had, and nothing is lost meanwhile. */
	if (virtio_has(features, VIRTIO_NET_F_MQ) && (!old || old->pairs != f->pairs))
		r = vdpa_control_command(c, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &f->pairs,
					 sizeof(f->pairs));
	if (r >= 0 && virtio_has(features, VIRTIO_NET_F_CTRL_VLAN)) {
		what = "VLAN filter";
		r = vlans(c, old, f);
	}
	if (r >= 0 && virtio_has(features, VIRTIO_NET_F_CTRL_RX)) {
		what = "receive mode";
		if (!old || old->promiscuous != f->promiscuous)
			r = rx_mode(c, VIRTIO_NET_CTRL_RX_PROMISC, f->promiscuous);
		if (r >= 0 && (!old || old->all_multicast != f->all_multicast))
			r = rx_mode(c, VIRTIO_NET_CTRL_RX_ALLMULTI, f->all_multicast);
		if (r >= 0 && (!old || !same_table(old, f))) {
			what = "MAC table";
			r = mac_table(c, f);
		}
	}
	if (r >= 0 && virtio_has(features, VIRTIO_NET_F_CTRL_MAC_ADDR) &&
	    (!old || memcmp(old->mac, f->mac, 6) != 0)) {
		what = "MAC";
		r = vdpa_control_command(c, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, f->mac, 6);
	}
	if (r < 0)
		return err_set(err, -r, NULL,
			       r == -EIO ? "the device refuses the %s" : "the device does not answer: %s",
			       what);
	return 0;
}
