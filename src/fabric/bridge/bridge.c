/* SPDX-License-Identifier: Apache-2.0 */

#include "fabric/bridge/bridge.h"

#include <stdio.h>
#include <string.h>

#include "util/ether.h"

#define RETRY_US 1000000

void bridge_report(struct bridge_fabric *f, struct bridge_port *p, const char *why)
{
	char *told = p ? p->told : f->told;

	if (!strncmp(told, why, BRIDGE_WHY - 1))
		return;
	snprintf(told, BRIDGE_WHY, "%s", why);
	fabric_tell_trouble(&f->base, p ? &p->base : NULL, why);
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

	for (unsigned int i = 0; i < f->base.n_ports && on == SD_EVENT_OFF; i++)
		if (bridge_port(f, i)->maps.learned >= 0)
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
	for (unsigned int i = 0; i < f->base.n_ports; i++)
		if (bridge_port(f, i)->maps.learned >= 0)
			(void)bpf_empty_set(bridge_port(f, i)->maps.learned);
	bridge_arm_age(f);
	return 0;
}

/* A lost tap is closed by those who use it, who then have no link. */
static bool works(const struct bridge_port *p)
{
	return !p->stuck && (!p->waits || p->lost);
}

static void apply_port(struct bridge_fabric *f, struct bridge_port *p)
{
	struct err err = {0};
	int r;

	if (!p->tap || !f->ifindex) /* the fabric's trouble, not the port's */
		return;
	r = bridge_port_apply(p, &err);
	if (r >= 0) {
		p->told[0] = '\0';
		p->stuck = false;
	} else if (p->refusable) {
		p->refusal = r;
		if (p->refused)
			*p->refused = err;
	} else {
		p->stuck = true;
		bridge_port_down(p);
		bridge_report(f, p, err.text);
		bridge_retry(f);
	}
}

/* … and its link. */
static void apply_port_and_link(struct bridge_fabric *f, struct bridge_port *p, bool up)
{
	apply_port(f, p);
	if (p->base.link_up == (up && works(p)))
		return;
	fabric_tell_link(&p->base, up && works(p));
	apply_port(f, p);
}

static void remake_port(struct bridge_fabric *f, struct bridge_port *p)
{
	struct err err;
	int r = bridge_port_remake(p, &err);

	p->waits = r < 0; /* what was tried and undone is an event, too */
	if (r < 0) {
		bridge_report(f, p, err.text);
		bridge_retry(f);
		if (r == -EEXIST && !p->lost) {
			p->lost = true;
			fabric_tell_lost(&p->base); /* the port may be closed when this returns */
		}
		return;
	}
	p->lost = false;
	/* Whatever becomes of its settings, it is there, and those who use it have to know. */
	apply_port(f, p);
	fabric_tell_remade(&p->base);
}

void bridge_update_conflict(struct bridge_port *p)
{
	bool was = p->base.mac_conflict;
	struct claim claims[MAX_CLAIMS];
	uint8_t mac[6];

	p->base.mac_conflict = p->conflict || (p->tap && p->reserved);
	if (!p->base.mac_conflict || was || !claims_of(&p->base, claims))
		return;
	mac_store(mac, claims[0].mac);
	fabric_tell_conflict(&p->base, mac);
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
		for (unsigned int i = 0; i < f->base.n_ports; i++) {
			struct bridge_port *p = bridge_port(f, i);
			bool up = link_of(f, &p->base.settings);

			if (pass == 0) {
				bridge_port_release(p);
				fabric_tell_link(&p->base, up && works(p));
			} else {
				apply_port_and_link(f, p, up);
				bridge_update_conflict(p);
			}
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

	if (!made && link_get(f->nl, bridge_name(&f->base.settings), 0, &i) < 0)
		return; /* it will be told of */
	r = bridge_find(f, &err);
	if (r < 0) {
		f->ifindex = 0;
		f->made = made;
		f->waits = true;
		bridge_report(f, NULL, err.text);
		bridge_retry(f);
		return;
	}
	f->told[0] = '\0';
	for (unsigned int k = 0; k < f->base.n_ports; k++)
		forget_applied(bridge_port(f, k));
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
	p->told[0] = '\0';
	bridge_report(f, p, why);
}

int bridge_on_look(sd_event_source *source, void *userdata)
{
	struct bridge_fabric *f = userdata;

	(void)source;
	if (!f->ifindex && !f->waits)
		find_bridge_again(f);
	for (unsigned int i = 0; i < f->base.n_ports; i++)
		if (bridge_port(f, i)->check)
			check_port(f, bridge_port(f, i));
	for (unsigned int i = 0; i < f->base.n_ports && f->ifindex; i++)
		if (bridge_port(f, i)->tap && !bridge_port(f, i)->tap->ifindex && !bridge_port(f, i)->waits)
			remake_port(f, bridge_port(f, i));
	bridge_scan(f);
	bridge_recompute(f);
	return 0;
}

int bridge_on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct bridge_fabric *f = userdata;

	(void)usec;
	f->waits = false;
	for (unsigned int i = 0; i < f->base.n_ports; i++)
		bridge_port(f, i)->waits = false;
	return bridge_on_look(source, userdata);
}
