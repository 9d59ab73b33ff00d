/* SPDX-License-Identifier: Apache-2.0 */

#include "model/enforce.h"

#include <stdio.h>

#include "settings/can.h"

static const struct need {
	uint32_t can;
	const char *field;  /* as the API spells it */
	const char *what;   /* … it cannot enforce … */
	const char *remedy; /* for the host's administrator */
} needs[] = {
	{CAN_SPOOFCHK, "spoofchk", "the spoof check", "turn spoofchk off there"},
	{CAN_NO_SPOOFCHK, "spoofchk", "that there is no spoof check", "turn spoofchk on there"},
	{CAN_VLAN, "vlan", "a VLAN", "set no VLAN there"},
	{CAN_VLAN_PCP, "vlan.pcp", "a VLAN's priority", "leave the priority out there"},
	{CAN_VLAN_AD, "vlan.proto", "802.1ad tags", "set none of that kind there"},
	{CAN_TRUNK, "vlan.vids", "a set of VLANs", "set no trunk there"},
	{CAN_ADMIN_MAC, "mac", "an administrative MAC", "set none there"},
	{CAN_TRUST, "trust", "trust", "turn trust off there"},
	{CAN_MAX_RATE, "max_rate", "a maximum rate", "set none there, nor in the policy"},
	{CAN_MIN_RATE, "min_rate", "a minimum rate", "set none there"},
	{CAN_TOTAL_RATE, "policy.max_rate_total", "a rate of all functions together", "set none"},
	{CAN_LINK, "link", "the link mode", "set link auto there"},
	{CAN_CONTROL, "policy.guest_control", "that the guest's requests arrive",
	 "set the policy guest_control off"},
};

uint32_t enforce_needs(const struct function_settings *s, const struct pf_policy *policy, unsigned int fn,
		       bool control)
{
	uint32_t set = s->spoofchk ? CAN_SPOOFCHK : CAN_NO_SPOOFCHK;

	if (s->vlan.mode == VLAN_ACCESS) {
		/* Not in addition: a bridge has one kind of tags. */
		set |= s->vlan.tpid == ETHER_TPID_Q ? CAN_VLAN : CAN_VLAN_AD;
		if (s->vlan.pcp)
			set |= CAN_VLAN_PCP;
	}
	if (s->vlan.mode == VLAN_TRUNK)
		set |= CAN_TRUNK;
	for (size_t i = 0; i < sizeof(s->admin_mac); i++)
		if (s->admin_mac[i])
			set |= CAN_ADMIN_MAC;
	if (s->trust)
		set |= CAN_TRUST;
	if (s->max_rate || (policy->max_rate && fn != VPF_FUNCTION_PF))
		set |= CAN_MAX_RATE;
	if (s->min_rate)
		set |= CAN_MIN_RATE;
	if (policy->max_rate_total)
		set |= CAN_TOTAL_RATE;
	if (s->link != LINK_AUTO || fn > policy->max_vfs)
		set |= CAN_LINK;
	if (control && fn == VPF_FUNCTION_PF && policy->guest_control)
		set |= CAN_CONTROL;
	return set;
}

int enforce_refuse(uint32_t lacking, const struct datapath_pref *pref, const char *function,
		   enum enforce_asker asker, struct err *err)
{
	const struct need *n = needs;
	char text[256];

	while (n < &needs[ARRAY_SIZE(needs) - 1] && !(lacking & n->can))
		n++;
	if (asker == ENFORCE_GUEST)
		return err_set(err, EOPNOTSUPP, n->field, "the host's datapath %s cannot enforce %s",
			       datapath_type_name(pref->type), n->what);
	datapath_pref_text(pref, text);
	return err_set(err, EOPNOTSUPP, asker == ENFORCE_LIST ? "datapaths" : n->field,
		       "the datapath %.100s of %.40s cannot enforce %s: %s, or choose another datapath", text,
		       function, n->what, n->remedy);
}
