/* SPDX-License-Identifier: Apache-2.0 */

#include "dataplane/dataplane_check.h"

#include <stdio.h>
#include <string.h>

#include "datapath/datapath.h"
#include "fabric/fabric.h"
#include "vhost/virtio.h"

static int leads_elsewhere(const struct datapath_pref *pref, const struct fabric_settings *fabric,
			   const struct fabric_ops *ops, struct err *err)
{
	if (pref->type != DATAPATH_VHOST_NET || fabric->type == FABRIC_BRIDGE)
		return 0;
	return err_set(
		err, EOPNOTSUPP, "datapaths",
		"vhost-net leads to a tap of a bridge, and the fabric %s is of type %s: use a fabric of type bridge, or another datapath",
		fabric->name, ops->type);
}

/* What a guest cannot do without. */
static int features_suffice(uint64_t features, const struct datapath_pref *pref, unsigned int queue_pairs,
			    struct err *err)
{
	char text[256];

	if (!(features & VIRTIO_BIT(VIRTIO_F_VERSION_1)))
		return err_set(err, EOPNOTSUPP, "datapaths",
			       "%.160s has no rings as of virtio 1 (VIRTIO_F_VERSION_1): leave it out",
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

		r = leads_elsewhere(pref, &fabric->settings, fabric->ops, err);
		if (r < 0)
			return r;
		if (!ops)
			return err_set(err, EOPNOTSUPP, "datapaths", "%s is not built into this vpfd",
				       datapath_type_name(pref->type));
		ability.enforces[i] = ops->enforces(pref, fabric->ops->can(&fabric->settings));
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
