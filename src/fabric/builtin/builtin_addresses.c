/* SPDX-License-Identifier: Apache-2.0 */

/* Addresses that are learned and forgotten, and the table for people to see. */

#include "fabric/builtin/builtin.h"

#include "switch/worker.h"
#include "util/clock.h"

void builtin_learn(struct builtin_fabric *f, struct builtin_port *p, uint64_t mac, uint16_t vlan,
		   uint32_t now)
{
	int r;

	/* The note may be older than the last change of settings. */
	if (!builtin_may_learn(f, f->sw.fdb, p, mac, vlan))
		return;
	if (p->port->learned >= f->base.settings.max_learned) {
		__atomic_store_n(&p->port->learn_full, true, __ATOMIC_RELAXED);
		return;
	}
	r = fdb_add(f->sw.fdb, mac, vlan, p->port, FDB_LEARNED, now);
	if (r == -ENOSPC) {
		builtin_recompute(f); /* a larger table */
		r = fdb_add(f->sw.fdb, mac, vlan, p->port, FDB_LEARNED, now);
	}
	if (!r) {
		p->port->learned++;
		f->learned++;
	}
}

/* Seconds since an address was seen; 0 if a worker saw it after `now` was read. */
static uint32_t age_of(const struct fdb_meta *meta, uint32_t now)
{
	int32_t age = (int32_t)(now - __atomic_load_n(&meta->seen, __ATOMIC_RELAXED));

	return age < 0 ? 0 : (uint32_t)age;
}

void builtin_age(struct builtin_fabric *f, uint32_t now)
{
	struct fdb *fdb = f->sw.fdb;
	bool any = false;

	for (unsigned int i = 0; i < fdb->slots; i++) {
		if (!fdb->slot[i].key || fdb->meta[i].kind != FDB_LEARNED)
			continue;
		if (fdb->slot[i].port && age_of(&fdb->meta[i], now) >= f->base.settings.ageing) {
			fdb_forget(fdb, i);
			any = true;
		}
	}
	if (any)
		builtin_recompute(f);
}

void builtin_fdb(const struct fabric *f, uint32_t now, void (*row)(void *arg, const struct fdb_row *row),
		 void *arg)
{
	const struct fdb *fdb = builtin_of(f)->sw.fdb;

	for (unsigned int i = 0; i < fdb->slots; i++) {
		uint16_t vlan = FDB_KEY_VLAN(fdb->slot[i].key);
		const struct builtin_port *p;
		struct fdb_row r = {.vlan = vlan == VLAN_KEY_ANY ? -1 : vlan & 0xfff,
				    .kind = fdb->meta[i].kind};

		if (!fdb->slot[i].key || !fdb->slot[i].port)
			continue;
		p = fdb->slot[i].port->owner;
		mac_store(r.mac, FDB_KEY_MAC(fdb->slot[i].key));
		r.pf = p->base.pf;
		r.function = p->base.fn;
		if (r.kind == FDB_LEARNED)
			r.age = age_of(&fdb->meta[i], now);
		row(arg, &r);
	}
}

/* No timer runs while nothing is learned. */
void builtin_arm_ageing(struct builtin_fabric *f)
{
	if (!f->age_timer)
		return;
	if (!f->learned) {
		sd_event_source_set_enabled(f->age_timer, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time_relative(f->age_timer, MAX(f->base.settings.ageing / 4, 1u) * 1000000ull);
	sd_event_source_set_enabled(f->age_timer, SD_EVENT_ONESHOT);
}

static int on_age(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct builtin_fabric *f = userdata;

	(void)source;
	(void)usec;
	builtin_age(f, clock_s());
	builtin_arm_ageing(f);
	return 0;
}

int builtin_start_ageing(struct builtin_fabric *f, sd_event *event)
{
	int r = 0;

	if (event)
		r = sd_event_add_time_relative(event, &f->age_timer, CLOCK_MONOTONIC, 0, 0, on_age, f);

	return r < 0 || !event ? r : sd_event_source_set_enabled(f->age_timer, SD_EVENT_OFF);
}

static struct builtin_port *port_by_id(struct builtin_fabric *f, uint64_t id)
{
	for (unsigned int i = 0; i < f->base.n_ports; i++)
		if (builtin_port(f, i)->port->id == id)
			return builtin_port(f, i);
	return NULL;
}

bool builtin_note(struct fabric *base, const struct worker_note *note)
{
	struct builtin_fabric *f = builtin_of(base);
	struct builtin_port *p = port_by_id(f, note->port_id);

	if (!p)
		return false;
	builtin_learn(f, p, note->mac, note->vlan, clock_s());
	if (f->age_timer && sd_event_source_get_enabled(f->age_timer, NULL) == 0)
		builtin_arm_ageing(f);
	return true;
}
