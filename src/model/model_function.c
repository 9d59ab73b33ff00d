/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "model/model_private.h"
#include "model/policy.h"
#include "settings/mac.h"
#include "settings/settings_json.h"
#include "settings/validate.h"

struct function_settings model_function_effective(const struct model_pf *pf, unsigned int fn)
{
	struct function_settings s = pf->fn[fn].s;

	/* To the data plane a fabric that lacks its uplink is one that has none, and those have carrier. */
	if (pf->fabric->uplink_absent && s.link == LINK_AUTO)
		s.link = LINK_DISABLE;
	policy_limit(&pf->s.policy, fn, &s);
	model_datapath_effective(pf, fn, &s);
	return s;
}

uint64_t model_sum_minimums(const struct model_pf *pf, int but)
{
	uint64_t sum = 0;

	for (unsigned int fn = 0; fn <= pf->s.vfs; fn++)
		if ((int)fn != but)
			sum += pf->fn[fn].s.min_rate;
	return sum;
}

void model_function_apply(struct model *m, const struct model_pf *pf, unsigned int fn)
{
	struct function_settings s = model_function_effective(pf, fn);
	struct function_offer offer = model_datapath_offer(m, pf, &s);

	m->ops->function_set(m->dp, pf->s.name, fn, &pf->s.policy, &s, &offer, &(struct answer){0}, NULL);
}

void model_functions_apply(struct model *m, const struct model_pf *pf)
{
	for (unsigned int fn = 0; fn <= pf->s.vfs; fn++)
		model_function_apply(m, pf, fn);
}

json_t *model_function_json(const struct model_function *f)
{
	char mac[MAC_TEXT_MAX];

	return json_pack("{s:s, s:o, s:b, s:b, s:s, s:o, s:I, s:I, s:o, s:o}", "mac",
			 mac_format(f->s.admin_mac, mac), "vlan", vlan_json(&f->s.vlan), "spoofchk",
			 f->s.spoofchk, "trust", f->s.trust, "link", link_mode_name(f->s.link), "mtu",
			 f->own_mtu ? json_integer(f->s.mtu) : json_null(), "min_rate",
			 (json_int_t)f->s.min_rate, "max_rate", (json_int_t)f->s.max_rate, "pinned",
			 pinned_json(f->s.pinned), "datapaths",
			 f->s.datapaths.n ? datapath_list_to_json(&f->s.datapaths) : json_null());
}

static int need_function(const struct model *m, const char *pf_name, unsigned int fn, struct model_pf **ret,
			 struct err *err)
{
	int r = model_need_pf(m, pf_name, "pf", ret, err);

	if (!r && fn > (*ret)->s.vfs)
		return err_set(err, ENOENT, "vf", "%s has %u VFs, numbered from 0", (*ret)->s.name,
			       (*ret)->s.vfs);
	return r;
}

int model_function_set(struct model *m, const char *pf_name, unsigned int fn,
		       const struct function_settings *s, bool own_mtu, struct err *err)
{
	struct model_pf *pf = NULL;
	int r = need_function(m, pf_name, fn, &pf, err);

	return r < 0 ? r : model_function_change(m, pf, fn, s, own_mtu, LOG_LVL_INFO, err);
}

int model_function_change(struct model *m, struct model_pf *pf, unsigned int fn,
			  const struct function_settings *s, bool own_mtu, enum log_level level,
			  struct err *err)
{
	struct model_function after, before;
	json_t *changed;
	int r;

	before = pf->fn[fn];
	after = (struct model_function){.s = *s, .own_mtu = own_mtu};
	memcpy(after.failed, before.failed, sizeof(after.failed));
	memcpy(after.s.mac, before.s.mac, 6);
	if (!own_mtu)
		after.s.mtu = pf->s.mtu;
	r = validate_function(&after.s, err);
	if (r < 0)
		return r;
	if (after.s.min_rate > before.s.min_rate) {
		r = policy_check_minimums(&pf->s.policy, model_sum_minimums(pf, (int)fn) + after.s.min_rate,
					  "min_rate", err);
		if (r < 0)
			return r;
	}
	r = model_mac_check_admin(m, pf, fn, after.s.admin_mac, err);
	if (r < 0)
		return r;
	r = model_datapath_check_function(m, pf, fn, &after.s, false, err);
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
	if (before.refused)
		model_datapath_refused(m, pf, (int)fn);
	if (!datapath_list_equal(&before.s.datapaths, &after.s.datapaths))
		model_datapath_new_list(pf, fn);
	model_function_apply(m, pf, fn);
	model_reportf(m, TOPIC_FUNCTION, "changed", level, NULL, pf->s.name, (int)fn, changed,
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
