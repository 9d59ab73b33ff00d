/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "model/model_private.h"
#include "model/policy.h"
#include "settings/function_fields.h"
#include "settings/mac.h"
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

static void function_apply(struct model *m, const struct model_pf *pf, unsigned int fn)
{
	struct function_settings s = model_function_effective(pf, fn);
	struct function_offer offer = model_datapath_offer(m, pf, &s);

	m->ops->function_set(m->dp, pf->s.name, fn, &pf->s.policy, &s, &offer, &(struct answer){0}, NULL);
}

void model_functions_apply(struct model *m, const struct model_pf *pf)
{
	for (unsigned int fn = 0; fn <= pf->s.vfs; fn++)
		function_apply(m, pf, fn);
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
	struct function_settings wanted = *s;

	if (r < 0)
		return r;
	wanted.own_mtu = own_mtu;
	return model_function_change(m, pf, fn, &wanted, LOG_LVL_INFO, err);
}

/* What is checked before a function changes to `after`. */
static int function_check(const struct model *m, const struct model_pf *pf, unsigned int fn,
			  const struct function_settings *after, struct err *err)
{
	int r = validate_function(after, err);

	if (r < 0)
		return r;
	if (after->min_rate > pf->fn[fn].s.min_rate) {
		r = policy_check_minimums(&pf->s.policy, model_sum_minimums(pf, (int)fn) + after->min_rate,
					  "min_rate", err);
		if (r < 0)
			return r;
	}
	r = model_mac_check_admin(m, pf, fn, after->admin_mac, err);
	return r < 0 ? r : model_datapath_check_function(m, pf, fn, after, false, err);
}

/* In memory and on disk, or not at all. */
static int function_save(struct model *m, struct model_function *f, const struct model_function *after,
			 struct err *err)
{
	struct model_function before = *f;
	int r;

	*f = *after;
	r = model_save(m, err);
	if (r < 0) {
		free(f->saved);
		*f = before;
		return r;
	}
	free(before.saved);
	return 0;
}

/* What cannot fail. */
static void function_carry_out(struct model *m, struct model_pf *pf, unsigned int fn,
			       const struct model_function *before)
{
	if (before->refused)
		model_datapath_refused(m, pf, (int)fn);
	if (!datapath_list_equal(&before->s.datapaths, &pf->fn[fn].s.datapaths))
		model_datapath_new_list(pf, fn);
	function_apply(m, pf, fn);
}

int model_function_change(struct model *m, struct model_pf *pf, unsigned int fn,
			  const struct function_settings *s, enum log_level level, struct err *err)
{
	struct model_function before = pf->fn[fn], after = {.s = *s};
	int r;

	memcpy(after.s.mac, before.s.mac, sizeof(after.s.mac));
	after.s.failback = before.s.failback;
	after.list_changed = before.list_changed;
	if (!after.s.own_mtu)
		after.s.mtu = pf->s.mtu;
	r = function_check(m, pf, fn, &after.s, err);
	if (r < 0)
		return r;
	if (fields_equal(function_fields, &before.s, &after.s))
		return 0;
	r = function_save(m, &pf->fn[fn], &after, err);
	if (r < 0)
		return r;
	function_carry_out(m, pf, fn, &before);
	model_reportf(m, EVENT_FUNCTION_CHANGED, level, NULL, pf->s.name, (int)fn,
		      model_changed_detail(fields_difference(function_fields, &before.s, &after.s)),
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
		model_reportf(m, EVENT_FUNCTION_FILTER, LOG_LVL_DEBUG, NULL, pf_name, (int)fn,
			      json_pack("{s:s, s:b, s:b, s:I}", "mac", mac_format(filter->main_mac, mac),
					"promiscuous", filter->promiscuous, "all_multicast",
					filter->all_multicast, "unicast", (json_int_t)filter->unicast_n),
			      "the driver's receive filter has MAC %s and %u further ones%s%s", mac,
			      filter->unicast_n, filter->promiscuous ? ", promiscuous" : "",
			      filter->all_multicast ? ", all multicast" : "");
}
