/* SPDX-License-Identifier: Apache-2.0 */

#include "dataplane/list_check.h"

#include <stdio.h>
#include <string.h>

#include "datapath/datapath.h"
#include "fabric/fabric.h"
#include "vhost/virtio.h"

/* Features that a guest requires. */
static int features_suffice(uint64_t features, const struct datapath_pref *pref, unsigned int queue_pairs,
			    struct err *err)
{
	char text[256];

	if (!(features & VIRTIO_BIT(VIRTIO_F_VERSION_1)))
		return err_set(err, EOPNOTSUPP, "datapaths",
			       "%.160s does not offer VIRTIO_F_VERSION_1: leave it out",
			       datapath_pref_text(pref, text));
	if (queue_pairs > 1 && !(features & VIRTIO_BIT(VIRTIO_NET_F_MQ)))
		return err_set(
			err, EOPNOTSUPP, "datapaths",
			"%.160s cannot serve %u queue pairs, as this virtual PF has: leave it out, or make one with fewer",
			datapath_pref_text(pref, text), queue_pairs);
	return 0;
}

int dataplane_list_check(const struct fabric *fabric, unsigned int queue_pairs,
			 const struct datapath_list *list, struct datapath_ability *ret, struct err *err)
{
	struct datapath_ability ability = {.features = UINT64_MAX};
	unsigned int present = 0;

	for (unsigned int i = 0; i < list->n; i++) {
		const struct datapath_pref *pref = &list->pref[i];
		const struct datapath_ops *ops = datapath_ops_of(pref->type);
		struct err why = {0};
		uint64_t features;
		char text[256];
		int r;

		r = datapath_fits(pref, &fabric->settings, err);
		if (r < 0)
			return r;
		ability.enforces[i] = datapath_can(pref, &fabric->settings);
		features = ops->features(pref, queue_pairs, &why);
		if (!features) {
			if (!ability.absent[0])
				snprintf(ability.absent, sizeof(ability.absent), "%.80s: %.110s",
					 datapath_pref_text(pref, text), why.text);
			continue;
		}
		r = features_suffice(features, pref, queue_pairs, err);
		if (r < 0)
			return r;
		ability.features &= features;
		present++;
	}
	if (!present)
		ability.features = 0;
	*ret = ability;
	return 0;
}

uint64_t dataplane_least_features(unsigned int queue_pairs)
{
	return VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_ANY_LAYOUT) |
	       VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) |
	       VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF) | VIRTIO_NET_FRONT_FEATURES |
	       (queue_pairs > 1 ? VIRTIO_BIT(VIRTIO_NET_F_MQ) : 0);
}
