/* SPDX-License-Identifier: Apache-2.0 */

#include "fabric/bridge/bridge.h"

#include <stdio.h>
#include <string.h>

#include "util/ether.h"

#define RETRY_US 1000000

void bridge_report(struct bridge_fabric *f, struct bridge_port *p, const char *why)
{
	bool *told = p ? &p->trouble : &f->trouble;

	if (*told)
		return;
	*told = true;
	if (f->base.events && f->base.events->trouble)
		f->base.events->trouble(f->base.ctx, &f->base, p ? &p->base : NULL, why);
}

void bridge_retry(struct bridge_fabric *f)
{
	if (!f->retry) /* it is being taken down */
		return;
	sd_event_source_set_time_relative(f->retry, RETRY_US);
	sd_event_source_set_enabled(f->retry, SD_EVENT_ONESHOT);
}

void bridge_look(struct bridge_fabric *f)
{
	sd_event_source_set_enabled(f->look, SD_EVENT_ONESHOT);
}

static bool link_of(const struct bridge_fabric *f, const struct function_settings *s)
{
	bool absent = f->base.settings.uplink == UPLINK_NETDEV && !f->uplink;

	/* Without others there is nothing to follow. */
	return f->ifindex && fabric_link(s->link, !absent && (f->carrier || !f->others));
}

/* The addresses of ports that learn are counted anew when the bridge has forgotten them. */
void bridge_arm_age(struct bridge_fabric *f)
{
	int on = SD_EVENT_OFF;

	for (unsigned int i = 0; i < f->n && on == SD_EVENT_OFF; i++)
		if (f->ports[i]->maps.learned >= 0)
			on = SD_EVENT_ONESHOT;
	if (on == SD_EVENT_ONESHOT && sd_event_source_get_enabled(f->age, NULL) > 0)
		return; /* it runs */
	if (on == SD_EVENT_ONESHOT)
		sd_event_source_set_time_relative(f->age, f->base.settings.ageing * 1000000ULL);
	sd_event_source_set_enabled(f->age, on);
}

int bridge_on_age(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct bridge_fabric *f = userdata;

	(void)source;
	(void)usec;
	for (unsigned int i = 0; i < f->n; i++)
		if (f->ports[i]->maps.learned >= 0)
			(void)bpf_empty_set(f->ports[i]->maps.learned);
	bridge_arm_age(f);
	return 0;
}

static void remake_port(struct bridge_fabric *f, struct bridge_port *p)
{
	struct err err;
	int r = bridge_port_remake(p, &err);

	if (r < 0)
		bridge_report(f, p, err.text);
	if (r == -EEXIST && !p->lost && f->base.events && f->base.events->port_lost) {
		p->lost = true;
		f->base.events->port_lost(f->base.ctx, &p->base);
	}
	if (r < 0 && p->tap) {
		bridge_retry(f); /* it may come back */
		return;
	}
	if (r < 0)
		return;
	p->lost = false;
	if (f->base.events && f->base.events->port_remade)
		f->base.events->port_remade(f->base.ctx, &p->base);
}

static void apply_port(struct bridge_fabric *f, struct bridge_port *p)
{
	struct err err;

	if (!p->tap || !f->ifindex) /* the fabric's trouble, not the port's */
		return;
	if (bridge_port_apply(p, &err) < 0) {
		bridge_report(f, p, err.text);
		bridge_retry(f);
	} else {
		p->trouble = false;
	}
}

void bridge_update_conflict(struct bridge_fabric *f, struct bridge_port *p)
{
	bool was = p->base.mac_conflict;
	struct claim claims[MAX_CLAIMS];
	uint8_t mac[6];

	p->base.mac_conflict = p->conflict || (p->tap && p->reserved);
	if (!p->base.mac_conflict || was || !f->base.events || !f->base.events->mac_conflict ||
	    !claims_of(&p->base, &p->policy, p->filter, claims))
		return;
	mac_store(mac, claims[0].mac);
	f->base.events->mac_conflict(f->base.ctx, &p->base, mac);
}

void bridge_recompute(struct bridge_fabric *f)
{
	/* Without memory everything stays as it was. */
	if (bridge_claim(f) < 0) {
		bridge_retry(f);
		return;
	}
	/* Who loses an address before who gets it: the table has each once. */
	for (unsigned int pass = 0; pass < 2; pass++) {
		for (unsigned int i = 0; i < f->n; i++) {
			struct bridge_port *p = f->ports[i];
			bool up = link_of(f, &p->base.settings), was = p->base.link_up;

			if (pass == 0)
				bridge_port_release(p);
			p->base.link_up = up;
			if (pass == 1) {
				apply_port(f, p);
				bridge_update_conflict(f, p);
			}
			if (up != was && f->base.events && f->base.events->link_changed)
				f->base.events->link_changed(f->base.ctx, &p->base, up);
		}
	}
	bridge_arm_age(f);
}

static void forget_applied(struct bridge_port *p)
{
	p->applied.enslaved = p->applied.vlans_set = p->applied.flags_set = false;
	p->applied.n_entries = 0;
}

/* The bridge is gone, and perhaps there is another of its name. */
static void find_bridge_again(struct bridge_fabric *f)
{
	bool made = f->made;
	struct link_info i;
	struct err err;
	int r;

	if (!made && link_get(f->nl, f->base.settings.bridge, 0, &i) < 0)
		return; /* it will be told of */
	r = bridge_find(f, &err);
	if (r < 0) {
		f->ifindex = 0;
		f->made = made;
		bridge_report(f, NULL, err.text);
		bridge_retry(f);
		return;
	}
	f->trouble = false;
	for (unsigned int k = 0; k < f->n; k++)
		forget_applied(f->ports[k]);
}

/* Whether a tap still is the bridge's port: somebody may have taken it out. */
static void check_port(struct bridge_fabric *f, struct bridge_port *p)
{
	struct link_info i;
	char why[96];

	p->check = false;
	if (!p->tap || !p->tap->ifindex || !f->ifindex || link_get(f->nl, NULL, p->tap->ifindex, &i) < 0)
		return;
	if (i.master == f->ifindex && (i.up || !p->applied.up))
		return;
	if (i.master != f->ifindex) {
		snprintf(why, sizeof(why), "somebody took the tap %s out of the bridge", p->tap->name);
		forget_applied(p);
	} else {
		snprintf(why, sizeof(why), "somebody set the tap %s down", p->tap->name);
	}
	p->applied.up = false;
	p->trouble = false;
	bridge_report(f, p, why);
}

int bridge_on_look(sd_event_source *source, void *userdata)
{
	struct bridge_fabric *f = userdata;

	(void)source;
	if (!f->ifindex)
		find_bridge_again(f);
	for (unsigned int i = 0; i < f->n; i++)
		if (f->ports[i]->check)
			check_port(f, f->ports[i]);
	for (unsigned int i = 0; i < f->n && f->ifindex; i++)
		if (f->ports[i]->tap && !f->ports[i]->tap->ifindex)
			remake_port(f, f->ports[i]);
	bridge_scan(f);
	bridge_recompute(f);
	return 0;
}

int bridge_on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)usec;
	return bridge_on_look(source, userdata);
}
