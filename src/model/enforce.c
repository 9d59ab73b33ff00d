/* SPDX-License-Identifier: Apache-2.0 */

#include "model/enforce.h"

#include "model/policy.h"
#include "settings/can.h"
#include "settings/function_fields.h"
#include "settings/pf_fields.h"

uint32_t enforce_needs(const struct function_settings *s, const struct pf_policy *policy, unsigned int fn,
		       bool control)
{
	struct function_settings limited = *s;
	uint32_t needs;

	policy_limit(policy, fn, &limited);
	needs = fields_needs(function_fields, &limited) | fields_needs(policy_fields, policy);
	if (!control || fn != VPF_FUNCTION_PF)
		needs &= ~CAN_CONTROL;
	return needs;
}

/* What the lowest of the bits means. */
static const struct field_need *need_of(uint32_t lacking)
{
	static const struct field_need unknown = {0, "", "its settings", "set others"};
	const struct field_need *need = fields_need_of(function_fields, lacking & -lacking);

	if (!need)
		need = fields_need_of(policy_fields, lacking & -lacking);
	return need ? need : &unknown;
}

int enforce_refuse(uint32_t lacking, const struct datapath_pref *pref, const char *function,
		   enum enforce_asker asker, struct err *err)
{
	const struct field_need *n = need_of(lacking);
	char text[256];

	if (asker == ENFORCE_GUEST)
		return err_set(err, EOPNOTSUPP, n->field, "the host's datapath %s cannot enforce %s",
			       pref->type->base.name, n->what);
	datapath_pref_text(pref, text);
	return err_set(err, EOPNOTSUPP, asker == ENFORCE_LIST ? "datapaths" : n->field,
		       "the datapath %.100s of %.40s cannot enforce %s: %s, or choose another datapath", text,
		       function, n->what, n->remedy);
}
