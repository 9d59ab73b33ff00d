/* SPDX-License-Identifier: Apache-2.0 */

#include "model/policy.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "settings/function_fields.h"
#include "settings/mac.h"
#include "settings/vlan_set.h"

/* Room in a sentence for the guest. */
#define LIST_TEXT_MAX 56

static int check_pinned(const struct policy_request *q, uint32_t changed, struct err *err)
{
	uint32_t forbidden = changed & q->now->pinned;

	if (!forbidden)
		return 0;
	return err_set(err, EPERM, "pinned", "the host has pinned the %s of this VF",
		       setting_text(forbidden & -forbidden));
}

static bool in_ranges(const struct pf_policy *p, const uint8_t mac[6])
{
	uint64_t n = mac_to_number(mac);

	for (unsigned int i = 0; i < p->mac_ranges_n; i++)
		if (n >= mac_to_number(p->mac_ranges[i].first) && n <= mac_to_number(p->mac_ranges[i].last))
			return true;
	return false;
}

static int check_mac(const struct policy_request *q, struct err *err)
{
	const struct pf_policy *p = &q->pf->policy;
	const uint8_t *mac = q->wanted->admin_mac;
	char text[MAC_TEXT_MAX], own[MAC_TEXT_MAX];
	uint8_t permanent[6];

	if (mac_is_zero(mac) || p->macs == MAC_POLICY_ANY ||
	    mac_to_number(mac) - mac_to_number(q->mac) <= q->pf->vfs)
		return 0;
	if (p->macs == MAC_POLICY_LIST && in_ranges(p, mac))
		return 0;
	mac_add(q->mac, q->fn, permanent);
	return err_set(err, EPERM, "policy.macs",
		       "the host's policy macs=%s does not allow %s (this VF has %s)",
		       p->macs == MAC_POLICY_LIST ? "list" : "own", mac_format(mac, text),
		       mac_format(permanent, own));
}

/* "10-20,30", or where that would be too long "10-20,30,…" */
static const char *short_vlans(const uint64_t set[64], char ret[LIST_TEXT_MAX])
{
	static const char more[] = "…";
	char all[VLAN_SET_TEXT_MAX];

	vlan_set_format(set, all);
	if (strlen(all) >= LIST_TEXT_MAX) {
		char *end = all + LIST_TEXT_MAX - sizeof(more);

		while (*end != ',')
			end--;
		memcpy(end + 1, more, sizeof(more));
	}
	snprintf(ret, LIST_TEXT_MAX, "%s", all);
	return ret;
}

static int vlan_refused(const struct pf_policy *p, unsigned int vid, struct err *err)
{
	char text[LIST_TEXT_MAX];

	short_vlans(p->vlans, text);
	if (!*text)
		return err_set(err, EPERM, "policy.vlans",
			       "the host's policy vlans allows no VLAN at all, so not VLAN %u", vid);
	return err_set(err, EPERM, "policy.vlans", "the host's policy vlans allows %s, not VLAN %u", text,
		       vid);
}

static int check_vlan(const struct policy_request *q, struct err *err)
{
	const struct vlan_settings *v = &q->wanted->vlan;
	const struct pf_policy *p = &q->pf->policy;

	switch (v->mode) {
	case VLAN_NONE:
		return 0;
	case VLAN_ACCESS:
		if (!(p->vlans[v->vid / 64] >> v->vid % 64 & 1))
			return vlan_refused(p, v->vid, err);
		if (v->tpid != ETHER_TPID_Q && !p->vlan_ad)
			return err_set(err, EPERM, "policy.vlan_ad",
				       "the host's policy vlan_ad does not allow 802.1ad tags");
		return 0;
	case VLAN_TRUNK:
		/* VLAN 0 is untagged frames. */
		for (unsigned int vid = 1; vid < 4096; vid++)
			if (vlan_trunk_allows(v, (uint16_t)vid) && !(p->vlans[vid / 64] >> vid % 64 & 1))
				return vlan_refused(p, vid, err);
		return 0;
	}
	return err_set(err, EINVAL, "vlan.mode", "must be none, access or trunk");
}

static int check_rate(const struct policy_request *q, struct err *err)
{
	const struct function_settings *s = q->wanted, *now = q->now;
	const struct pf_policy *p = &q->pf->policy;
	uint32_t asked = MAX(s->max_rate != now->max_rate ? s->max_rate : 0,
			     s->min_rate > now->min_rate ? s->min_rate : 0);

	/* Without a maximum of its own a VF still keeps to the policy's. */
	if (p->max_rate && asked > p->max_rate)
		return err_set(err, EPERM, "policy.max_rate",
			       "the host's policy max_rate allows %" PRIu32 " Mb/s, not %" PRIu32,
			       p->max_rate, asked);
	if (s->min_rate <= now->min_rate)
		return 0;
	if (!p->max_rate_total)
		return err_set(err, EPERM, "policy.max_rate_total",
			       "the host's policy max_rate_total is not set: there are no minimum rates");
	if (q->min_others + s->min_rate > p->max_rate_total)
		return err_set(err, EPERM, "policy.max_rate_total",
			       "the host's policy max_rate_total leaves a minimum of %" PRIu64
			       " Mb/s, not %" PRIu32,
			       q->min_others < p->max_rate_total ? p->max_rate_total - q->min_others : 0,
			       s->min_rate);
	return 0;
}

static int check_spoofchk(const struct policy_request *q, struct err *err)
{
	if (q->wanted->spoofchk || q->pf->policy.spoofchk_off)
		return 0;
	return err_set(err, EPERM, "policy.spoofchk_off",
		       "the host's policy spoofchk_off does not allow turning the spoof check off");
}

static int check_trust(const struct policy_request *q, struct err *err)
{
	if (!q->wanted->trust || q->pf->policy.trust)
		return 0;
	return err_set(err, EPERM, "policy.trust", "the host's policy trust does not allow trusted VFs");
}

static int always(const struct policy_request *q, struct err *err)
{
	(void)q;
	(void)err;
	return 0;
}

/* What is asked of a setting that would change, by number of the bit SETTING_*. */
static int (*const rules[])(const struct policy_request *q, struct err *err) = {
	[__builtin_ctz(SETTING_MAC)] = check_mac,     [__builtin_ctz(SETTING_VLAN)] = check_vlan,
	[__builtin_ctz(SETTING_RATE)] = check_rate,   [__builtin_ctz(SETTING_SPOOFCHK)] = check_spoofchk,
	[__builtin_ctz(SETTING_TRUST)] = check_trust, [__builtin_ctz(SETTING_LINK)] = always,
};
static_assert((1U << ARRAY_SIZE(rules)) - 1 == SETTING_ALL,
	      "each setting that a guest may ask for has a rule");

int policy_check_request(const struct policy_request *q, struct err *err)
{
	const struct pf_policy *p = &q->pf->policy;
	uint32_t changed = fields_guest_changes(function_fields, q->now, q->wanted) & q->mask;
	int r;

	if (!p->guest_control)
		return err_set(err, EPERM, "policy.guest_control",
			       "the host's policy guest_control=off: the guest can change nothing");
	if (q->fn == VPF_FUNCTION_PF)
		return err_set(err, EINVAL, "vf", "settings of the PF itself are the host's alone");
	if (q->fn > p->max_vfs && p->max_vfs)
		return err_set(err, EPERM, "policy.max_vfs",
			       "the host's policy max_vfs lets this guest use VFs 0 to %" PRIu32 ", not %u",
			       p->max_vfs - 1, q->fn - 1);
	if (q->fn > p->max_vfs)
		return err_set(err, EPERM, "policy.max_vfs",
			       "the host's policy max_vfs lets this guest use no VFs");
	r = check_pinned(q, changed, err);
	for (unsigned int i = 0; !r && i < ARRAY_SIZE(rules); i++)
		if (changed >> i & 1)
			r = rules[i](q, err);
	return r;
}

void policy_limit(const struct pf_policy *policy, unsigned int fn, struct function_settings *s)
{
	if (fn == VPF_FUNCTION_PF)
		return;
	if (fn > policy->max_vfs)
		s->link = LINK_DISABLE;
	if (!policy->max_rate)
		return;
	if (!s->max_rate || s->max_rate > policy->max_rate)
		s->max_rate = policy->max_rate;
	if (s->min_rate > s->max_rate)
		s->min_rate = s->max_rate;
}

int policy_check_minimums(const struct pf_policy *policy, uint64_t sum, const char *field, struct err *err)
{
	if (sum && !policy->max_rate_total)
		return err_set(
			err, EINVAL, field,
			"a minimum rate is a share of the policy's max_rate_total: set that, or no minimum rates");
	if (sum > policy->max_rate_total)
		return err_set(err, EINVAL, field,
			       "the minimum rates of all functions would be %" PRIu64
			       " Mb/s, and the policy's max_rate_total is %" PRIu32,
			       sum, policy->max_rate_total);
	return 0;
}
