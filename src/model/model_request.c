/* SPDX-License-Identifier: Apache-2.0 */

/* What the guest asks for: the policy's answer, then the host's way. Counted and told. */

#include <stdio.h>
#include <string.h>

#include "model/model_private.h"
#include "model/policy.h"
#include "settings/mac.h"
#include "settings/settings_json.h"
#include "settings/validate.h"
#include "util/clock.h"

/* Lines that one PF's guest may cause in the log: so many in so long. The rest is counted. */
#define LOG_LINES     10
#define LOG_WINDOW_US (60 * 1000000ULL)

/* `level`, or that of debugging when the guest has had its share. */
static enum log_level log_share(struct model_pf *pf, enum log_level level)
{
	uint64_t now = clock_us();

	if (!pf->control_log.lines || now - pf->control_log.since_us > LOG_WINDOW_US) {
		if (pf->control_log.left_out)
			log_write(LOG_LVL_NOTICE, &(struct log_scope){.pf = pf->s.name, .vf = LOG_VF_NONE},
				  "%u more requests of the guest were answered, and are not in the log",
				  pf->control_log.left_out);
		pf->control_log.since_us = now;
		pf->control_log.lines = pf->control_log.left_out = 0;
	}
	if (pf->control_log.lines < LOG_LINES) {
		pf->control_log.lines++;
		return level;
	}
	pf->control_log.left_out++;
	return LOG_LVL_DEBUG;
}

/* Also of what was found invalid. */
static json_t *requested_json(uint32_t mask, const struct function_settings *s)
{
	json_t *o = json_object();
	char mac[MAC_TEXT_MAX];

	if (mask & SETTING_MAC)
		json_object_set_new(o, "mac", json_string(mac_format(s->admin_mac, mac)));
	if (mask & SETTING_VLAN)
		json_object_set_new(o, "vlan", vlan_json(&s->vlan));
	if (mask & SETTING_RATE) {
		json_object_set_new(o, "min_rate", json_integer(s->min_rate));
		json_object_set_new(o, "max_rate", json_integer(s->max_rate));
	}
	if (mask & SETTING_SPOOFCHK)
		json_object_set_new(o, "spoofchk", json_boolean(s->spoofchk));
	if (mask & SETTING_TRUST)
		json_object_set_new(o, "trust", json_boolean(s->trust));
	if (mask & SETTING_LINK && s->link <= LINK_DISABLE)
		json_object_set_new(o, "link", json_string(link_mode_name(s->link)));
	return o;
}

static void merge(struct function_settings *to, uint32_t mask, const struct function_settings *from)
{
	if (mask & SETTING_MAC)
		memcpy(to->admin_mac, from->admin_mac, 6);
	if (mask & SETTING_VLAN)
		to->vlan = from->vlan;
	if (mask & SETTING_RATE) {
		to->min_rate = from->min_rate;
		to->max_rate = from->max_rate;
	}
	if (mask & SETTING_SPOOFCHK)
		to->spoofchk = from->spoofchk;
	if (mask & SETTING_TRUST)
		to->trust = from->trust;
	if (mask & SETTING_LINK)
		to->link = from->link;
}

static int check(const struct model *m, const struct model_pf *pf, unsigned int fn, uint32_t mask,
		 const struct function_settings *wanted, struct err *err)
{
	int r;

	if (fn > pf->s.vfs)
		return err_set(err, ENOENT, "vf", "there is no VF %u: the virtual PF has %u, numbered from 0",
			       fn - 1, pf->s.vfs);
	if (!mask || mask & ~SETTING_ALL)
		return err_set(err, EINVAL, "mask", "names %s", mask ? "unknown settings" : "no settings");
	r = validate_function(wanted, err);
	if (r < 0)
		return r;
	r = policy_check_request(
		&(struct policy_request){
			.pf = &pf->s,
			.mac = pf->mac,
			.min_others = model_sum_minimums(pf, (int)fn),
			.fn = fn,
			.mask = mask,
			.now = &pf->fn[fn].s,
			.wanted = wanted,
		},
		err);
	if (r < 0)
		return r;
	r = model_mac_check_admin(m, pf, fn, wanted->admin_mac, NULL);
	if (r < 0)
		/* Whose it is is none of the guest's business. */
		return err_set(err, -r, "mac", "is the MAC of another function: choose another");
	return model_datapath_check_function(m, pf, fn, wanted, true, err);
}

static void report(struct model *m, struct model_pf *pf, unsigned int fn, json_t *requested,
		   const struct err *refused)
{
	int function = fn <= pf->s.vfs ? (int)fn : -1;

	if (refused) {
		pf->refused++;
		model_reportf(m, TOPIC_CONTROL, "refused", log_share(pf, LOG_LVL_NOTICE), NULL, pf->s.name,
			      function,
			      json_pack("{s:o, s:s}", "requested", requested, "rule", refused->field),
			      "refused to the guest: %s: %s", refused->field, refused->text);
	} else {
		pf->granted++;
		model_reportf(m, TOPIC_CONTROL, "granted", log_share(pf, LOG_LVL_INFO), NULL, pf->s.name,
			      function, json_pack("{s:o}", "requested", requested),
			      "settings changed by the guest");
	}
}

int model_function_request(struct model *m, const char *pf_name, unsigned int fn, uint32_t mask,
			   const struct function_settings *s, struct err *err)
{
	struct function_settings wanted;
	struct model_pf *pf = NULL;
	struct err why = {0};
	int r;

	r = model_need_pf(m, pf_name, "pf", &pf, err);
	if (r < 0)
		return r;
	wanted = pf->fn[MIN(fn, pf->s.vfs)].s;
	merge(&wanted, mask, s);
	r = check(m, pf, fn, mask, &wanted, &why);
	if (r < 0) {
		report(m, pf, fn, requested_json(mask, s), &why);
		if (err)
			*err = why;
		return r;
	}
	if (!policy_changes(&pf->fn[fn].s, &wanted)) {
		pf->granted++;
		return 0;
	}
	r = model_function_change(m, pf, fn, &wanted, pf->fn[fn].own_mtu, LOG_LVL_DEBUG, err);
	if (r < 0)
		return r;
	report(m, pf, fn, requested_json(mask, s), NULL);
	return 0;
}
