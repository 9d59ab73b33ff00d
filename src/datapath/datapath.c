/* SPDX-License-Identifier: Apache-2.0 */

/* Whether a datapath and a fabric fit together. */

#include "datapath/datapath.h"

#include <stdio.h>
#include <string.h>

enum attach_kind datapath_attach_kind(const struct datapath_pref *pref, const struct fabric_settings *fabric)
{
	const struct datapath_ops *ops = datapath_ops_of(pref->type);
	uint32_t fit = ops ? ops->takes(pref) & fabric_gives(fabric) : 0;

	return (enum attach_kind)(fit & -fit);
}

static void kinds_text(uint32_t kinds, char *to, size_t size)
{
	size_t n = 0;

	for (uint32_t kind = 1; kind && kind <= kinds; kind <<= 1)
		if (kinds & kind && n < size)
			n += (size_t)snprintf(to + n, size - n, "%s%s", n ? " or " : "",
					      attach_kind_text((enum attach_kind)kind));
}

int datapath_fits(const struct datapath_pref *pref, const struct fabric_settings *fabric, struct err *err)
{
	const struct datapath_ops *ops = datapath_ops_of(pref->type);
	char wanted[128];

	if (!ops)
		return err_set(err, EOPNOTSUPP, "datapaths", "%s is not built into this vpfd",
			       pref->type->base.name);
	if (!ops->takes(pref) || datapath_attach_kind(pref, fabric) != ATTACH_NONE)
		return 0;
	kinds_text(ops->takes(pref), wanted, sizeof(wanted));
	return err_set(
		err, EOPNOTSUPP, "datapaths",
		"%s needs %s, which fabrics of type %s such as %s do not give: use another type of fabric, or another datapath",
		pref->type->base.name, wanted, fabric->type->base.name, fabric->name);
}

uint32_t datapath_can(const struct datapath_pref *pref, const struct fabric_settings *fabric)
{
	const struct datapath_ops *ops = datapath_ops_of(pref->type);
	uint32_t can = 0;

	if (!ops)
		return 0;
	if (datapath_attach_kind(pref, fabric) != ATTACH_NONE)
		can = fabric_can(fabric);
	else if (ops->enforces)
		can = ops->enforces(pref);
	return pref->type->carries_control ? can | CAN_CONTROL : can;
}

int datapath_inventory(const char *name, json_t **ret, struct err *err)
{
	const struct datapath_type *type = datapath_type_find(name, strlen(name));
	const struct datapath_ops *ops = type ? datapath_ops_of(type) : NULL;

	if (!ops || !ops->inventory)
		return err_set(err, EOPNOTSUPP, NULL,
			       "this vpfd has nothing to list for datapaths of type %s", name);
	return ops->inventory(ret, err);
}

void datapath_remember(bool on)
{
#define ROW(type) &datapath_##type,
	static const struct datapath_ops *const all[] = {ALL_DATAPATH_TYPES(ROW)};
#undef ROW

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i]->remember)
			all[i]->remember(on);
}
