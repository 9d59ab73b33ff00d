/* SPDX-License-Identifier: Apache-2.0 */

/* Ports of a fabric of any type: settings and their order, users of an open port, answers that come later.
 *
 * Theory of operation. The target of a port is state: pending changes (p->changes, the first of which is in progress
 * while `doing` is DO_SET), and whether it has users (p->uses). The next action follows from that, in on_work() or,
 * if nothing is in progress, at once. Every answer comes last, since the caller may do anything from there, including
 * freeing the port. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "fabric/core.h"
#include "fabric/provider.h"

enum doing { DO_NOTHING, DO_SET, DO_UNDO, DO_OPEN, DO_CLOSE };

struct port_values {
	struct function_settings settings;
	struct filter_policy policy;
	uint32_t max_rate_total;
};

struct port_change {
	struct port_change *next;
	struct port_values to, from; /* from: filled in when it begins */
	bool keep_policy;            /* `to` has settings alone */
	struct answer answer;
};

static struct filter_policy filter_policy_of(const struct pf_policy *policy)
{
	return (struct filter_policy){.driver_mac = policy->driver_mac,
				      .promisc = policy->promisc,
				      .max_driver_macs = policy->max_driver_macs};
}

static void set_total(struct fabric_port *p, uint32_t rate)
{
	struct fabric *f = p->fabric;

	if (p->group->max_rate_total == rate)
		return;
	p->group->max_rate_total = rate;
	if (f->ops->group_set)
		f->ops->group_set(f, p->group);
}

static void take_values(struct fabric_port *p, const struct port_values *v)
{
	p->settings = v->settings;
	p->policy = v->policy;
	set_total(p, v->max_rate_total);
}

static int join_group(struct fabric *f, const char *pf, uint32_t max_rate_total, struct fabric_group **ret)
{
	struct fabric_group *g = f->groups;
	int r;

	while (g && strcmp(g->pf, pf) != 0)
		g = g->next;
	if (!g) {
		g = calloc(1, sizeof(*g));
		if (!g)
			return -ENOMEM;
		memcpy(g->pf, pf, strnlen(pf, sizeof(g->pf) - 1));
		g->max_rate_total = max_rate_total;
		r = f->ops->group_init ? f->ops->group_init(f, g) : 0;
		if (r < 0) {
			free(g);
			return r;
		}
		g->next = f->groups;
		f->groups = g;
	}
	g->members++;
	*ret = g;
	return 0;
}

static void leave_group(struct fabric *f, struct fabric_group *g)
{
	struct fabric_group **at = &f->groups;

	if (--g->members)
		return;
	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
	if (f->ops->group_free)
		f->ops->group_free(f, g);
	free(g);
}

static int make_room(struct fabric *f)
{
	unsigned int room = f->room ? 2 * f->room : 16;
	struct fabric_port **ports;

	if (f->n_ports < f->room)
		return 0;
	ports = reallocarray(f->ports, room, sizeof(struct fabric_port *));
	if (!ports)
		return -ENOMEM;
	f->ports = ports;
	f->room = room;
	return 0;
}

int fabric_port_add(struct fabric *f, const char *pf, unsigned int fn, const struct function_settings *s,
		    const struct pf_policy *policy, struct counter_file *counters, struct fabric_port **ret)
{
	struct fabric_port *p;
	int r = make_room(f);

	if (r < 0)
		return r;
	p = calloc(1, f->ops->port_size);
	if (!p)
		return -ENOMEM;
	p->fabric = f;
	p->pf = pf;
	p->fn = fn;
	p->settings = *s;
	p->policy = filter_policy_of(policy);
	r = join_group(f, pf, policy->max_rate_total, &p->group);
	if (r < 0) {
		free(p);
		return r;
	}
	set_total(p, policy->max_rate_total);
	r = f->ops->port_init(p, counters);
	if (r < 0) {
		leave_group(f, p->group);
		free(p);
		return r;
	}
	f->ports[f->n_ports++] = p;
	f->ops->port_added(p);
	*ret = p;
	return 0;
}

void fabric_port_free(struct fabric_port *p)
{
	struct fabric *f;
	unsigned int i;

	if (!p)
		return;
	f = p->fabric;
	assert(!p->uses);
	for (i = 0; f->ports[i] != p; i++)
		;
	memmove(&f->ports[i], &f->ports[i + 1], (f->n_ports - i - 1) * sizeof(struct fabric_port *));
	f->n_ports--;
	/* The last user went while something was under way. */
	if (p->doing == DO_OPEN || (p->is_open && p->doing != DO_CLOSE)) {
		p->call++;
		(void)f->ops->port_close(p);
	}
	f->ops->port_free(p);
	leave_group(f, p->group);
	while (p->changes) {
		struct port_change *c = p->changes;

		p->changes = c->next;
		free(c);
	}
	sd_event_source_disable_unref(p->timer);
	sd_event_source_disable_unref(p->work);
	free(p->filter);
	free(p);
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata);
static int on_work(sd_event_source *source, void *userdata);

/* Something may have to wait for its turn. */
static int need_work(struct fabric_port *p)
{
	int r = 0;

	if (!p->fabric->config.event)
		return -EINVAL;
	if (!p->work) {
		r = sd_event_add_defer(p->fabric->config.event, &p->work, on_work, p);
		if (r >= 0)
			r = sd_event_source_set_enabled(p->work, SD_EVENT_OFF);
	}
	return r;
}

static int cannot_wait(const struct fabric_port *p, int r, struct err *err)
{
	return err_set(err, -r, NULL, "cannot wait for the fabric %s: %s", p->fabric->settings.name,
		       strerror(-r));
}

/* What has begun is answered later. */
static int wait_for(struct fabric_port *p, enum doing what, struct err *err)
{
	int r = need_work(p);

	if (r >= 0)
		r = fabric_timer(p->fabric, &p->timer, on_time, p);
	if (r < 0) {
		p->call++; /* any answer is too late */
		return cannot_wait(p, r, err);
	}
	p->doing = what;
	return ANSWER_LATER;
}

/* What comes while something is under way, or from within a call to the provider, waits for its turn. */
static int wait_for_turn(struct fabric_port *p, struct err *err)
{
	int r = need_work(p);

	if (r >= 0)
		r = sd_event_source_set_enabled(p->work, SD_EVENT_ONESHOT);
	return r < 0 ? cannot_wait(p, r, err) : ANSWER_LATER;
}

/* Nothing is in progress any more: looks for more to do in the next iteration of the event loop. */
static void done(struct fabric_port *p)
{
	p->doing = DO_NOTHING;
	p->call++;
	if (p->timer)
		sd_event_source_set_enabled(p->timer, SD_EVENT_OFF);
	if (p->work)
		sd_event_source_set_enabled(p->work, SD_EVENT_ONESHOT);
}

static void undo(struct fabric_port *p, const struct port_values *from)
{
	take_values(p, from);
	p->call++;
	if (p->fabric->ops->port_set(p, true, NULL) == ANSWER_LATER)
		(void)wait_for(p, DO_UNDO, NULL);
}

static int begin_change(struct fabric_port *p, struct port_change *c, struct err *err)
{
	int r;

	c->from = (struct port_values){p->settings, p->policy, p->group->max_rate_total};
	if (c->keep_policy) {
		c->to.policy = c->from.policy;
		c->to.max_rate_total = c->from.max_rate_total;
	}
	take_values(p, &c->to);
	p->call++;
	r = p->fabric->ops->port_set(p, false, err);
	if (r == ANSWER_LATER)
		r = wait_for(p, DO_SET, err);
	if (r < 0)
		undo(p, &c->from);
	return r;
}

/* The first change is complete. */
static void end_change(struct fabric_port *p, int r, const struct err *err)
{
	struct port_change *c = p->changes;
	struct answer answer = c->answer;

	p->changes = c->next;
	free(c);
	answer_give(&answer, r, err);
}

int fabric_port_set(struct fabric_port *p, const struct function_settings *s, const struct pf_policy *policy,
		    const struct answer *answer, struct err *err)
{
	struct port_change *c = calloc(1, sizeof(*c)), **at = &p->changes;
	int r;

	if (!c)
		return err_set(err, ENOMEM, NULL, "not enough memory for a change");
	c->to.settings = *s;
	c->keep_policy = !policy;
	if (policy) {
		c->to.policy = filter_policy_of(policy);
		c->to.max_rate_total = policy->max_rate_total;
	}
	if (answer)
		c->answer = *answer;
	if (p->doing != DO_NOTHING || p->changes) {
		r = wait_for_turn(p, err);
		if (r < 0) {
			free(c);
			return r;
		}
		while (*at)
			at = &(*at)->next;
		*at = c;
		return r;
	}
	p->changes = c;
	r = begin_change(p, c, err);
	if (r == ANSWER_LATER)
		return r;
	p->changes = c->next;
	free(c);
	return r;
}

void fabric_port_filter(struct fabric_port *p, const struct rx_filter *filter)
{
	if (!p->filter)
		p->filter = malloc(sizeof(*p->filter));
	if (!p->filter)
		return;
	*p->filter = *filter;
	p->fabric->ops->port_changed(p);
}

void fabric_port_elsewhere(struct fabric_port *p, bool elsewhere)
{
	if (p->elsewhere == elsewhere)
		return;
	p->elsewhere = elsewhere;
	p->fabric->ops->port_changed(p);
}

void fabric_port_get_stats(struct fabric_port *p, struct port_stats *ret)
{
	p->fabric->ops->port_get_stats(p, ret);
}

void fabric_port_announce(struct fabric_port *p, const uint8_t *mac)
{
	if (p->link_up && !p->elsewhere)
		p->fabric->ops->announce(p, mac);
}

static int begin_open(struct fabric_port *p, struct err *err)
{
	int r;

	p->call++;
	p->gone = false;
	p->attach = (struct fabric_attach){.kind = ATTACH_NONE};
	r = p->fabric->ops->port_open(p, p->queue_pairs, err);
	if (r == ANSWER_LATER) {
		r = wait_for(p, DO_OPEN, err);
		if (r < 0)
			(void)p->fabric->ops->port_close(p);
	}
	if (!r)
		p->is_open = true;
	return r;
}

static void begin_close(struct fabric_port *p)
{
	p->call++;
	p->gone = false;
	if (p->fabric->ops->port_close(p) == ANSWER_LATER && wait_for(p, DO_CLOSE, NULL) == ANSWER_LATER)
		return;
	p->is_open = false;
	p->attach = (struct fabric_attach){.kind = ATTACH_NONE};
}

static void add_use(struct fabric_port *p, struct fabric_use *use, const struct answer *answer, bool waits)
{
	struct fabric_use **at = &p->uses;

	while (*at)
		at = &(*at)->next;
	*use = (struct fabric_use){.answer = answer ? *answer : (struct answer){0}, .waits = waits};
	*at = use;
}

int fabric_port_open(struct fabric_port *p, struct fabric_use *use, unsigned int queue_pairs,
		     const struct answer *answer, struct err *err)
{
	int r;

	if (p->is_open && p->doing != DO_CLOSE && p->uses) {
		if (p->gone)
			return err_set(err, ENODEV, NULL,
				       "the port's way into fabric %s is lost, and still in use",
				       p->fabric->settings.name);
		add_use(p, use, NULL, false);
		return 0;
	}
	if (p->doing != DO_NOTHING || p->changes || p->is_open) {
		r = wait_for_turn(p, err);
		if (r < 0)
			return r;
		if (!p->uses)
			p->queue_pairs = queue_pairs;
		add_use(p, use, answer, true);
		return r;
	}
	p->queue_pairs = queue_pairs;
	r = begin_open(p, err);
	if (r >= 0)
		add_use(p, use, answer, r == ANSWER_LATER);
	return r;
}

void fabric_port_close(struct fabric_port *p, struct fabric_use *use)
{
	struct fabric_use **at = &p->uses;

	while (*at && *at != use)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = use->next;
	if (!p->uses && p->is_open && p->doing == DO_NOTHING)
		begin_close(p);
}

static struct fabric_use *waiting(const struct fabric_port *p)
{
	struct fabric_use *u = p->uses;

	while (u && !u->waits)
		u = u->next;
	return u;
}

static bool in_use(const struct fabric_port *p)
{
	for (const struct fabric_use *u = p->uses; u; u = u->next)
		if (!u->waits)
			return true;
	return false;
}

/* Answers one of the users that wait for the open port; the others follow in the next iterations of the event
 * loop. */
static void answer_use(struct fabric_port *p, int r, const struct err *err)
{
	struct fabric_use *u = waiting(p), **at = &p->uses;
	struct answer answer;

	if (!u)
		return;
	answer = u->answer;
	u->waits = false;
	while (r < 0 && *at != u)
		at = &(*at)->next;
	if (r < 0)
		*at = u->next;
	if (p->work)
		sd_event_source_set_enabled(p->work, SD_EVENT_ONESHOT);
	answer_give(&answer, r, err);
}

static void end(struct fabric_port *p, int r, const struct err *err)
{
	enum doing what = (enum doing)p->doing;

	done(p);
	switch (what) {
	case DO_SET:
		if (r < 0)
			undo(p, &p->changes->from);
		end_change(p, r, err);
		return;
	case DO_UNDO:
		if (r < 0)
			fabric_tell_trouble(p->fabric, p,
					    "the settings before a failed change could not be restored");
		return;
	case DO_OPEN:
		p->is_open = r >= 0;
		answer_use(p, r, err);
		return;
	case DO_CLOSE:
		p->is_open = false;
		p->attach = (struct fabric_attach){.kind = ATTACH_NONE};
		return;
	case DO_NOTHING:
		return;
	}
}

void fabric_port_answer(struct fabric_port *p, uint64_t call, int r, const struct err *err)
{
	if (p->doing != DO_NOTHING && p->call == call)
		end(p, r, err);
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct fabric_port *p = userdata;
	struct err err = {0};

	(void)source;
	(void)usec;
	if (p->doing == DO_NOTHING)
		return 0;
	err_set(&err, ETIMEDOUT, NULL, "the fabric %s did not answer in time", p->fabric->settings.name);
	if (p->doing == DO_OPEN) {
		done(p);
		begin_close(p); /* what may exist of it */
		answer_use(p, -ETIMEDOUT, &err);
	} else {
		end(p, -ETIMEDOUT, &err);
	}
	return 0;
}

/* The next action; one per iteration. */
static int on_work(sd_event_source *source, void *userdata)
{
	struct fabric_port *p = userdata;
	struct err err = {0};
	int r;

	(void)source;
	if (p->doing != DO_NOTHING)
		return 0;
	if (p->changes) {
		r = begin_change(p, p->changes, &err);
		if (r == ANSWER_LATER)
			return 0;
		sd_event_source_set_enabled(p->work, SD_EVENT_ONESHOT);
		end_change(p, r, &err);
		return 0;
	}
	if (p->is_open && p->gone && !in_use(p)) {
		begin_close(p); /* another one follows for the users that wait */
		if (p->work)
			sd_event_source_set_enabled(p->work, SD_EVENT_ONESHOT);
		return 0;
	}
	if (p->is_open && waiting(p)) {
		answer_use(p, 0, NULL);
		return 0;
	}
	if (p->uses && !p->is_open) {
		r = begin_open(p, &err);
		if (r != ANSWER_LATER)
			answer_use(p, r, &err);
		return 0;
	}
	if (!p->uses && p->is_open)
		begin_close(p);
	return 0;
}
