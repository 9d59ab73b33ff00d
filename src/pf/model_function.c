/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "pf/mac.h"
#include "pf/model_private.h"
#include "pf/settings_json.h"
#include "pf/validate.h"

struct function_settings model_function_effective(const struct model_pf *pf, unsigned int fn)
{
	struct function_settings s = pf->fn[fn].s;

	/* To the data plane a fabric that lacks its uplink is one that has none, and those have carrier. */
	if (pf->fabric->uplink_absent && s.link == LINK_AUTO)
		s.link = LINK_DISABLE;
	return s;
}

void model_function_apply(struct model *m, const struct model_pf *pf, unsigned int fn)
{
	struct function_settings s = model_function_effective(pf, fn);

	m->ops->function_set(m->dp, pf->s.name, fn, &pf->s.policy, &s);
}

void model_functions_apply(struct model *m, const struct model_pf *pf)
{
	for (unsigned int fn = 0; fn <= pf->s.vfs; fn++)
		model_function_apply(m, pf, fn);
}

json_t *model_function_json(const struct model_function *f)
{
	char mac[MAC_TEXT_MAX];

	return json_pack("{s:s, s:o, s:b, s:b, s:s, s:o}", "mac", mac_format(f->s.admin_mac, mac), "vlan",
			 vlan_json(&f->s.vlan), "spoofchk", f->s.spoofchk, "trust", f->s.trust, "link",
			 link_mode_name(f->s.link), "mtu", f->own_mtu ? json_integer(f->s.mtu) : json_null());
}

int model_function_set(struct model *m, const char *pf_name, unsigned int fn,
		       const struct function_settings *s, bool own_mtu, struct err *err)
{
	struct model_function after, before;
	struct model_pf *pf = NULL;
	json_t *changed;
	int r;

	r = model_need_pf(m, pf_name, "pf", &pf, err);
	if (r < 0)
		return r;
	if (fn > pf->s.vfs)
		return err_set(err, ENOENT, "vf", "%s has %u VFs, numbered from 0", pf->s.name, pf->s.vfs);

	before = pf->fn[fn];
	after = (struct model_function){.s = *s, .own_mtu = own_mtu};
	memcpy(after.s.mac, before.s.mac, 6);
	if (!own_mtu)
		after.s.mtu = pf->s.mtu;
	r = validate_function(&after.s, err);
	if (r < 0)
		return r;
	r = model_mac_check_admin(m, pf, fn, after.s.admin_mac, err);
	if (r < 0)
		return r;
	changed = model_difference(model_function_json(&before), model_function_json(&after));
	if (!changed)
		return 0;

	pf->fn[fn] = after;
	r = model_save(m, err);
	if (r < 0) {
		free(pf->fn[fn].saved);
		pf->fn[fn] = before;
		json_decref(changed);
		return r;
	}
	free(before.saved);
	model_function_apply(m, pf, fn);
	model_reportf(m, TOPIC_FUNCTION, "changed", LOG_LVL_INFO, NULL, pf->s.name, (int)fn, changed,
		      "settings changed");
	return 0;
}

void model_function_filter(struct model *m, const char *pf_name, unsigned int fn,
			   const struct rx_filter *filter)
{
	const struct model_pf *pf = model_lookup_pf(m, pf_name);
	char mac[MAC_TEXT_MAX];

	if (!pf || fn > pf->s.vfs)
		return;
	m->ops->function_filter(m->dp, pf_name, fn, filter);
	if (filter->known)
		model_reportf(m, TOPIC_FUNCTION, "filter", LOG_LVL_DEBUG, NULL, pf_name, (int)fn,
			      json_pack("{s:s, s:b, s:b, s:I}", "mac", mac_format(filter->main_mac, mac),
					"promiscuous", filter->promiscuous, "all_multicast",
					filter->all_multicast, "unicast", (json_int_t)filter->unicast_n),
			      "the driver's receive filter has MAC %s and %u further ones%s%s", mac,
			      filter->unicast_n, filter->promiscuous ? ", promiscuous" : "",
			      filter->all_multicast ? ", all multicast" : "");
}
