/* SPDX-License-Identifier: Apache-2.0 */

/* The core of all fabrics: life, events, and the answers of operations on the fabric itself. Ports: port.c. */

#include "fabric/fabric.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "fabric/core.h"
#include "fabric/provider.h"
#include "util/clock.h"

struct fabric_checks { /* a check that is not answered yet */
	struct fabric_checks *next;
	struct fabric *f;
	uint64_t call;
	struct answer answer;
	sd_event_source *timer;
};

const char *attach_kind_text(enum attach_kind kind)
{
	switch (kind) {
	case ATTACH_NONE:
		return "nothing";
	case ATTACH_SW_PORT:
		return "a port of vpfd's own switch";
	case ATTACH_TAP:
		return "a tap";
	case ATTACH_SOCKET:
		return "a vhost-user socket";
	case ATTACH_VDPA:
		return "a vDPA device";
	case ATTACH_NETDEV:
		return "a netdev";
	}
	return "something unknown";
}

bool fabric_link(enum link_mode mode, bool carrier)
{
	switch (mode) {
	case LINK_ENABLE:
		return true;
	case LINK_DISABLE:
		return false;
	case LINK_AUTO:
		break;
	}
	return carrier;
}

uint32_t fabric_can(const struct fabric_settings *s)
{
	const struct fabric_ops *ops = fabric_ops_of(s->type);

	return ops ? ops->can(s) : 0;
}

uint32_t fabric_gives(const struct fabric_settings *s)
{
	const struct fabric_ops *ops = fabric_ops_of(s->type);

	return ops ? ops->gives(s) : 0;
}

const char *fabric_type_of(const struct fabric *f)
{
	return f->ops->type;
}

int fabric_timer(struct fabric *f, sd_event_source **timer, sd_event_time_handler_t fn, void *ctx)
{
	uint64_t due = clock_us() + (f->config.answer_us ? f->config.answer_us : FABRIC_ANSWER_US);
	int r;

	if (!f->config.event)
		return -EINVAL;
	if (*timer)
		r = sd_event_source_set_time(*timer, due);
	else
		r = sd_event_add_time(f->config.event, timer, CLOCK_MONOTONIC, due, 1000, fn, ctx);
	return r < 0 ? r : sd_event_source_set_enabled(*timer, SD_EVENT_ONESHOT);
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata);

/* Waits for the provider's answer. */
static int wait_for(struct fabric *f, enum fabric_doing what, const struct answer *answer, struct err *err)
{
	int r = fabric_timer(f, &f->timer, on_time, f);

	if (r < 0) {
		f->call++; /* whatever it answers */
		return err_set(err, -r, NULL, "cannot wait for the fabric %s: %s", f->settings.name,
			       strerror(-r));
	}
	f->answer = answer ? *answer : (struct answer){0};
	f->doing = what;
	return ANSWER_LATER;
}

static void undone(struct fabric *f, int r)
{
	if (r < 0)
		fabric_tell_trouble(f, NULL, "the settings before a failed change could not be restored");
}

/* It is unknown what became of a change that was not answered: back to the settings before it. */
static void undo(struct fabric *f)
{
	int r;

	f->call++;
	r = f->ops->set(f, &f->before, NULL);
	if (r == ANSWER_LATER)
		r = wait_for(f, FABRIC_UNDO, NULL, NULL);
	undone(f, r);
}

/* The operation in progress has ended. */
static void finish(struct fabric *f, int r, const struct err *err)
{
	enum fabric_doing what = f->doing;
	struct answer answer = f->answer;

	f->doing = FABRIC_IDLE;
	f->call++;
	if (f->timer)
		sd_event_source_set_enabled(f->timer, SD_EVENT_OFF);
	if (!r)
		f->coming = false;
	if (what == FABRIC_SET && r == -ETIMEDOUT)
		undo(f);
	else if (what == FABRIC_UNDO)
		undone(f, r);
	answer_give(&answer, r, err);
}

void fabric_answer(struct fabric *f, uint64_t call, int r, const struct err *err)
{
	if (f->doing != FABRIC_IDLE && f->call == call)
		finish(f, r, err);
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct fabric *f = userdata;
	struct err err = {0};

	(void)source;
	(void)usec;
	if (f->doing != FABRIC_IDLE)
		finish(f,
		       err_set(&err, ETIMEDOUT, NULL, "the fabric %s did not answer in time",
			       f->settings.name),
		       &err);
	return 0;
}

int fabric_new(const struct fabric_config *config, const struct fabric_settings *s,
	       const struct answer *answer, struct fabric **ret, struct err *err)
{
	const struct fabric_ops *ops = fabric_ops_of(s->type);
	struct fabric *f;
	int r;

	if (!ops)
		return err_set(err, EOPNOTSUPP, "type", "this vpfd has no fabrics of that type");
	f = calloc(1, ops->size);
	if (!f)
		return err_set(err, ENOMEM, NULL, "not enough memory for a fabric");
	f->ops = ops;
	f->config = *config;
	f->settings = *s;
	f->coming = true;
	f->call = 1;
	r = ops->init(f, err);
	if (r < 0) {
		free(f);
		return r;
	}
	if (r == ANSWER_LATER)
		r = wait_for(f, FABRIC_MAKE, answer, err);
	else
		f->coming = false;
	if (r < 0) {
		ops->free(f);
		free(f);
		return r;
	}
	*ret = f;
	return r;
}

int fabric_set(struct fabric *f, const struct fabric_settings *s, const struct answer *answer,
	       struct err *err)
{
	int r;

	if (f->doing != FABRIC_IDLE)
		return err_set(err, EBUSY, NULL, "the last change of the fabric %s is still under way",
			       f->settings.name);
	f->before = f->settings;
	f->call++;
	r = f->ops->set(f, s, err);
	return r == ANSWER_LATER ? wait_for(f, FABRIC_SET, answer, err) : r;
}

static void free_check(struct fabric_checks *c)
{
	struct fabric_checks **at = &c->f->checks;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	sd_event_source_disable_unref(c->timer);
	free(c);
}

void fabric_free(struct fabric *f)
{
	if (!f)
		return;
	assert(!f->n_ports);
	f->config.events = NULL;
	f->doing = FABRIC_IDLE;
	while (f->checks)
		free_check(f->checks);
	f->ops->free(f);
	sd_event_source_disable_unref(f->timer);
	free(f->ports);
	free(f);
}

static int on_check_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct fabric_checks *c = userdata;
	struct err err = {0};

	(void)source;
	(void)usec;
	err_set(&err, ETIMEDOUT, NULL, "the fabric %s did not answer in time", c->f->settings.name);
	fabric_check_answer(c->f, c->call, -ETIMEDOUT, &err);
	return 0;
}

void fabric_check_answer(struct fabric *f, uint64_t call, int r, const struct err *err)
{
	struct fabric_checks *c = f->checks;
	struct answer answer;

	while (c && c->call != call)
		c = c->next;
	if (!c)
		return;
	answer = c->answer;
	free_check(c);
	answer_give(&answer, r, err);
}

int fabric_check(struct fabric *f, const struct fabric_check *check, const struct answer *answer,
		 struct err *err)
{
	static uint64_t calls;
	struct fabric_checks *c;
	int r;

	if (!f->ops->check)
		return 0;
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(err, ENOMEM, NULL, "not enough memory to check settings");
	c->f = f;
	c->call = ++calls;
	if (answer)
		c->answer = *answer;
	c->next = f->checks;
	f->checks = c;
	r = f->ops->check(f, check, c->call, err);
	if (r == ANSWER_LATER) {
		r = fabric_timer(f, &c->timer, on_check_time, c);
		if (r < 0)
			err_set(err, -r, NULL, "cannot wait for the fabric %s: %s", f->settings.name,
				strerror(-r));
		else
			return ANSWER_LATER;
	}
	free_check(c);
	return r;
}

void fabric_get(const struct fabric *f, struct fabric_state *ret, struct port_stats *ret_uplink)
{
	f->ops->get(f, ret, ret_uplink);
}

void fabric_fdb(const struct fabric *f, uint32_t now, void (*row)(void *arg, const struct fdb_row *row),
		void *arg)
{
	f->ops->fdb(f, now, row, arg);
}

void fabric_netdev_changed(struct fabric *f, const char *name, int ifindex, bool carrier, bool gone)
{
	f->ops->netdev_changed(f, name, ifindex, carrier, gone);
}

bool fabric_note(struct fabric *f, const struct worker_note *note)
{
	return f->ops->note && f->ops->note(f, note);
}

/* Who listens; while a fabric is in the making nobody does. */
static const struct fabric_events *listener(const struct fabric *f)
{
	static const struct fabric_events none;

	return f->coming || !f->config.events ? &none : f->config.events;
}

void fabric_tell_link(struct fabric_port *p, bool up)
{
	const struct fabric_events *e = listener(p->fabric);

	if (p->link_up == up)
		return;
	p->link_up = up;
	if (e->link_changed)
		e->link_changed(p->fabric->config.ctx, p, up);
}

void fabric_tell_conflict(struct fabric_port *p, const uint8_t mac[6])
{
	const struct fabric_events *e = listener(p->fabric);

	if (e->mac_conflict)
		e->mac_conflict(p->fabric->config.ctx, p, mac);
}

void fabric_tell_uplink(struct fabric *f, bool carrier)
{
	const struct fabric_events *e = listener(f);

	if (e->uplink_changed)
		e->uplink_changed(f->config.ctx, f, carrier);
}

void fabric_tell_trouble(struct fabric *f, struct fabric_port *p, const char *why)
{
	const struct fabric_events *e = listener(f);

	if (e->trouble)
		e->trouble(f->config.ctx, f, p, why);
}

void fabric_tell_remade(struct fabric_port *p)
{
	const struct fabric_events *e = listener(p->fabric);

	p->gone = false;
	if (e->port_remade)
		e->port_remade(p->fabric->config.ctx, p);
}

void fabric_tell_lost(struct fabric_port *p)
{
	const struct fabric_events *e = listener(p->fabric);

	p->gone = true;
	if (e->port_lost)
		e->port_lost(p->fabric->config.ctx, p);
}
