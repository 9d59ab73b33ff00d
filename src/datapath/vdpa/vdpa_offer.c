/* SPDX-License-Identifier: Apache-2.0 */

#include "datapath/vdpa/vdpa_offer.h"

#include <fnmatch.h>
#include <linux/virtio_ids.h>
#include <string.h>

#include "datapath/vdpa/params.h"
#include "datapath/vdpa/vdpa_device.h"
#include "fabric/fabric.h"
#include "vhost/virtio.h"

/* What any VDUSE server surely has; no more is known of one that is not attached. */
#define VDUSE_LACKS                                                                                          \
	(VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4) | VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO6) |                           \
	 VIRTIO_BIT(VIRTIO_NET_F_HOST_ECN) | VIRTIO_BIT(VIRTIO_NET_F_HOST_USO) |                             \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO4) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO6) |                         \
	 VIRTIO_BIT(VIRTIO_NET_F_MQ))

struct pool_features {
	uint64_t all;     /* of every candidate */
	bool vlan_filter; /* all have one */
	unsigned int n;
};

static void add_candidate(struct pool_features *p, uint64_t features, uint32_t vqs, bool vduse,
			  unsigned int pairs)
{
	uint64_t has = features && !vduse ? features : ~UINT64_C(0);

	if (vduse)
		has &= features ? features : ~VDUSE_LACKS;
	if (vqs && vqs < 2 * pairs + 1) /* and the control queue */
		has &= ~VIRTIO_BIT(VIRTIO_NET_F_MQ);
	p->all &= has;
	p->vlan_filter = p->vlan_filter && virtio_has(features, VIRTIO_NET_F_CTRL_VLAN);
	p->n++;
}

static int pool_features(const struct datapath_pref *pref, unsigned int pairs, struct pool_features *ret)
{
	struct pool_features p = {.all = ~UINT64_C(0), .vlan_filter = true};
	const struct vdpa_params *wish = vdpa_params_of(&pref->params);
	struct vdpa_netlink_list list = {0};
	int r = vdpa_pool_snapshot(&list);

	if (r < 0)
		return r;
	for (unsigned int i = 0; i < list.n_dev; i++) {
		const struct vdpa_dev *d = &list.dev[i];

		if (d->device_id == VIRTIO_ID_NET && *wish->device && fnmatch(wish->device, d->name, 0) == 0)
			add_candidate(&p, d->features, d->max_vqs, strcmp(d->mgmtdev, "vduse") == 0, pairs);
	}
	for (unsigned int i = 0; i < list.n_mgmtdev; i++) {
		const struct vdpa_mgmtdev *m = &list.mgmtdev[i];

		if ((m->classes >> VIRTIO_ID_NET & 1) && *wish->mgmtdev &&
		    fnmatch(wish->mgmtdev, m->name, 0) == 0)
			add_candidate(&p, m->features, m->max_vqs, strcmp(m->name, "vduse") == 0, pairs);
	}
	vdpa_list_free(&list);
	*ret = p;
	return 0;
}

uint64_t vdpa_offer_features(const struct datapath_pref *pref, unsigned int queue_pairs, struct err *err)
{
	uint64_t device = VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_ANY_LAYOUT) |
			  VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) |
			  VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF) | VIRTIO_NET_OFFLOADS | VIRTIO_NET_OFFLOADS_USO |
			  VIRTIO_NET_FRONT_FEATURES,
		 front = device & ~vdpa_device_features(device);
	const struct vdpa_params *wish = vdpa_params_of(&pref->params);
	struct pool_features p;
	int r = pool_features(pref, queue_pairs, &p);

	if (r < 0) {
		err_set(err, -r, "datapath", "cannot list vDPA devices: %s",
			r == -ENOENT
				? "the kernel has no vDPA (modprobe vdpa vhost_vdpa and the NIC's driver)"
				: strerror(-r));
		return 0;
	}
	if (!p.n) {
		err_set(err, ENODEV, "datapath", "there is no vDPA network device%s%s%s%s (vpfctl vdpa list)",
			*wish->device ? " that matches " : "", wish->device,
			*wish->mgmtdev ? ", nor a management device that matches " : "", wish->mgmtdev);
		return 0;
	}
	device &= ~front & p.all;
	if (queue_pairs > 1 && virtio_has(p.all, VIRTIO_NET_F_MQ))
		front |= VIRTIO_BIT(VIRTIO_NET_F_MQ);
	return device | front;
}

uint32_t vdpa_offer_enforces(const struct datapath_pref *pref)
{
	uint32_t can = CAN_LINK | CAN_ADMIN_MAC | CAN_TRUST | CAN_NO_SPOOFCHK;
	struct pool_features p;

	if (pool_features(pref, 1, &p) >= 0 && p.n && p.vlan_filter)
		can |= CAN_TRUNK;
	return can;
}
