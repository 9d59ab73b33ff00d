/* SPDX-License-Identifier: Apache-2.0 */

/* What the guest asks for: the policy's answer, then the host's way. Counted and told. */

#include <stdio.h>
#include <string.h>

#include "model/model_change.h"
#include "model/model_private.h"
#include "model/policy.h"
#include "settings/function_fields.h"
#include "settings/validate.h"
#include "util/clock.h"

/* Lines that one PF's guest may cause in the log within the window. The rest is counted. */
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
		/* The guest must not learn whose it is. */
		return err_set(err, -r, "mac", "is the MAC of another function: choose another");
	return model_datapath_check_function(m, pf, fn, wanted, true, err);
}

static void report(struct model *m, struct model_pf *pf, unsigned int fn, json_t *requested,
		   const struct err *refused)
{
	int function = fn <= pf->s.vfs ? (int)fn : -1;

	if (refused) {
		pf->refused++;
		model_reportf(m, EVENT_CONTROL_REFUSED, log_share(pf, LOG_LVL_NOTICE), NULL, pf->s.name,
			      function,
			      json_pack("{s:o, s:s}", "requested", requested, "rule", refused->field),
			      "refused to the guest: %s: %s", refused->field, refused->text);
	} else {
		pf->granted++;
		model_reportf(m, EVENT_CONTROL_GRANTED, log_share(pf, LOG_LVL_INFO), NULL, pf->s.name,
			      function, json_pack("{s:o}", "requested", requested),
			      "settings changed by the guest");
	}
}

void model_request_granted(struct model *m, struct model_pf *pf, unsigned int fn,
			   const struct model_request *request)
{
	report(m, pf, fn, fields_guest_json(function_fields, request->mask, &request->s), NULL);
}

int model_request_check(struct model *m, struct model_pf *pf, unsigned int fn,
			const struct model_request *request, struct function_settings *s, struct err *err)
{
	struct err why = {0};
	int r;

	fields_guest_merge(function_fields, request->mask, &request->s, s);
	r = check(m, pf, fn, request->mask, s, &why);
	if (r < 0) {
		report(m, pf, fn, fields_guest_json(function_fields, request->mask, &request->s), &why);
		if (err)
			*err = why;
	}
	return r;
}

int model_function_request(struct model *m, const char *pf_name, unsigned int fn, uint32_t mask,
			   const struct function_settings *s, const struct answer *answer, struct err *err)
{
	struct model_request q = {.mask = mask, .s = *s};
	struct model_pf *pf = NULL;
	int r = model_need_pf(m, pf_name, "pf", &pf, err);

	if (r < 0)
		return r;
	if (fn > pf->s.vfs) { /* nothing that could wait for its turn */
		struct function_settings wanted = pf->fn[pf->s.vfs].s;

		return model_request_check(m, pf, fn, &q, &wanted, err);
	}
	return model_function_ask_for(m, pf, fn, &q, answer, err);
}
