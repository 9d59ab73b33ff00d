/* SPDX-License-Identifier: Apache-2.0 */
#include "qemu/qemu_link.h"

#include <string.h>
#include <systemd/sd-event.h>

#include "qemu/plug.h"
#include "qemu/rx_filter.h"

#define WINDOW   4  /* commands of one link in flight: several PFs share a connection */
#define RETRY_MS 50 /* when the connection's queue is full */

enum carrier { CARRIER_UNSET, CARRIER_DOWN, CARRIER_UP };

struct function {
	struct qemu_link *link;
	enum carrier carrier;
	bool want_carrier, carrier_sent;   /* set_link is to be sent; is in flight */
	bool want_query, query_sent;       /* same for query-rx-filter */
	bool want_announce, announce_sent; /* … and for announce-self, or the query before it */
	struct rx_filter filter;           /* as reported to the owner */
};

struct qemu_link {
	struct qmp *qmp;
	struct pf_settings pf;
	const struct qemu_link_ops *ops;
	void *ctx;
	sd_event *event;
	sd_event_source *timer; /* runs pump() when there is a token again, or room in the queue */

	unsigned int release_ms;
	bool present;
	bool asleep; /* an announcement was due while the guest was not running: until RESUME */
	unsigned int in_flight;
	unsigned int next;  /* function to look at first */
	double tokens;      /* for queries */
	uint64_t tokens_at; /* CLOCK_MONOTONIC, µs */

	struct plug *plug;
	enum plug_kind plug_kind;
	bool late_release; /* a detach timed out: clean up if the guest releases the PF after all */
	qemu_link_done_fn done;
	void *done_arg;

	unsigned int functions;
	struct function function[];
};

static void pump(struct qemu_link *l);

/* --- rx-filter -------------------------------------------------------------------------------- */

static void set_filter(struct function *f, const struct rx_filter *filter)
{
	struct qemu_link *l = f->link;

	if (rx_filter_equal(&f->filter, filter))
		return;
	f->filter = *filter;
	l->ops->filter(l->ctx, (unsigned int)(f - l->function), &f->filter);
}

/* The PF is not in the VM (any more). */
static void set_absent(struct qemu_link *l)
{
	static const struct rx_filter unknown = {};

	for (unsigned int fn = 0; fn < l->functions; fn++) {
		l->function[fn].want_query = l->function[fn].want_carrier = false;
		l->function[fn].want_announce = false;
		set_filter(&l->function[fn], &unknown);
	}
	if (l->present) {
		l->present = false;
		l->ops->present(l->ctx, false);
	}
}

static void set_present(struct qemu_link *l)
{
	if (l->present)
		return;
	l->present = true;
	for (unsigned int fn = 0; fn < l->functions; fn++) {
		l->function[fn].want_query |= fn != VPF_FUNCTION_PF;
		l->function[fn].want_carrier = l->function[fn].carrier != CARRIER_UNSET;
	}
	l->ops->present(l->ctx, true);
}

static void on_filter(void *arg, int code, const json_t *ret, const struct err *err)
{
	struct function *f = arg;
	struct qemu_link *l = f->link;
	struct rx_filter filter = {};
	bool pf = f == &l->function[VPF_FUNCTION_PF];

	(void)err;
	if (code == -ECANCELED)
		return;
	f->query_sent = false;
	l->in_flight--;
	if (code == -ENOTCONN)
		return;
	/* An answer that makes no sense is treated like none: nothing is known. */
	if (code == 0)
		(void)rx_filter_parse(ret, &filter);
	if (code == 0 && pf)
		set_present(l);
	if (code == 0 || !pf)
		set_filter(f, &filter);
	else
		set_absent(l);
	pump(l);
}

/* --- carrier ---------------------------------------------------------------------------------- */

static void on_carrier(void *arg, int code, const json_t *ret, const struct err *err)
{
	struct function *f = arg;

	(void)ret;
	(void)err;
	if (code == -ECANCELED)
		return;
	f->carrier_sent = false;
	f->link->in_flight--;
	if (code != -ENOTCONN)
		pump(f->link); /* refused: the netdev does not exist, and gets its carrier when it appears */
}

void qemu_link_set_carrier(struct qemu_link *l, unsigned int fn, bool up)
{
	enum carrier carrier = up ? CARRIER_UP : CARRIER_DOWN;

	if (l->function[fn].carrier == carrier)
		return;
	l->function[fn].carrier = carrier;
	l->function[fn].want_carrier = l->present;
	pump(l);
}

/* --- announcing -------------------------------------------------------------------------------- */

/* The first one at once; the others because a frame may be lost, or the switch not be ready for it. */
#define ANNOUNCE_ROUNDS  3
#define ANNOUNCE_STEP_MS 100

static void announced(struct function *f, int code, const struct err *err)
{
	struct qemu_link *l = f->link;

	f->announce_sent = false;
	l->in_flight--;
	if (code < 0 && l->ops->announce_failed)
		l->ops->announce_failed(l->ctx, (unsigned int)(f - l->function), err->text);
	if (code != -ENOTCONN)
		pump(l);
}

static void on_announced(void *arg, int code, const json_t *ret, const struct err *err)
{
	(void)ret;
	if (code != -ECANCELED)
		announced(arg, code, err);
}

static int send_announce(struct function *f)
{
	struct qemu_link *l = f->link;
	char id[QEMU_ID_MAX];
	json_t *args;

	qemu_id(id, QEMU_DEVICE, l->pf.name, (unsigned int)(f - l->function));
	/* With an id of its own, so that it does not end the rounds of others. */
	args = json_pack("{s:i, s:i, s:i, s:i, s:[s], s:s}", "initial", ANNOUNCE_STEP_MS, "max",
			 ANNOUNCE_STEP_MS, "rounds", ANNOUNCE_ROUNDS, "step", ANNOUNCE_STEP_MS, "interfaces",
			 id, "id", id);
	return args ? qmp_command(l->qmp, "announce-self", args, on_announced, f) : -ENOMEM;
}

/* A driver that is not running cannot be told: its device would change without its knowledge. */
static void on_status(void *arg, int code, const json_t *ret, const struct err *err)
{
	struct function *f = arg;
	struct qemu_link *l = f->link;
	struct err why = {};
	int r = code;

	if (code == -ECANCELED)
		return;
	if (code == 0 && !json_is_true(json_object_get(ret, "running"))) {
		l->asleep = f->want_announce = true;
	} else if (code == 0) {
		r = send_announce(f);
		if (r == 0)
			return;
		err_set(&why, -r, "", "%s", strerror(-r));
		err = &why;
	}
	announced(f, r, err);
}

static int ask_status(struct function *f)
{
	int r = qmp_command(f->link->qmp, "query-status", NULL, on_status, f);

	if (r < 0)
		return r;
	f->want_announce = false;
	f->announce_sent = true;
	return 0;
}

void qemu_link_announce(struct qemu_link *l, unsigned int fn)
{
	l->function[fn].want_announce = l->present;
	pump(l);
}

/* --- commands --------------------------------------------------------------------------------- */

static void pump_later(struct qemu_link *l, uint64_t usec)
{
	(void)sd_event_source_set_time_relative(l->timer, usec);
	(void)sd_event_source_set_enabled(l->timer, SD_EVENT_ONESHOT);
}

/* 0: took a token; else the time until there is one, in µs. */
static uint64_t take_token(struct qemu_link *l)
{
	uint64_t now = 0;

	(void)sd_event_now(l->event, CLOCK_MONOTONIC, &now);
	l->tokens = MIN(l->tokens + (double)(now - l->tokens_at) * QEMU_LINK_QUERIES_PER_S / 1e6,
			(double)QEMU_LINK_QUERIES_BURST);
	l->tokens_at = now;
	if (l->tokens < 1)
		return (uint64_t)((1 - l->tokens) * 1e6 / QEMU_LINK_QUERIES_PER_S) + 1;
	l->tokens -= 1;
	return 0;
}

static int send_carrier(struct function *f)
{
	struct qemu_link *l = f->link;
	char id[QEMU_ID_MAX];
	json_t *args = json_pack("{s:s, s:b}", "name",
				 qemu_id(id, QEMU_NETDEV, l->pf.name, (unsigned int)(f - l->function)), "up",
				 f->carrier == CARRIER_UP);
	int r = args ? qmp_command(l->qmp, "set_link", args, on_carrier, f) : -ENOMEM;

	if (r < 0)
		return r;
	f->want_carrier = false;
	f->carrier_sent = true;
	return 0;
}

static int send_query(struct function *f)
{
	struct qemu_link *l = f->link;
	char id[QEMU_ID_MAX];
	json_t *args = json_pack("{s:s}", "name",
				 qemu_id(id, QEMU_DEVICE, l->pf.name, (unsigned int)(f - l->function)));
	int r = args ? qmp_command(l->qmp, "query-rx-filter", args, on_filter, f) : -ENOMEM;

	if (r < 0)
		return r;
	f->want_query = false;
	f->query_sent = true;
	return 0;
}

/* Sends what is pending, round robin, as far as the window, the connection's queue and the tokens allow. */
static void pump(struct qemu_link *l)
{
	bool starved = false;

	if (!qmp_ready(l->qmp))
		return; /* everything is sent once it is ready */
	for (unsigned int i = 0; i < l->functions && l->in_flight < WINDOW; i++) {
		struct function *f = &l->function[(l->next + i) % l->functions];
		int r = 0;

		if (f->want_carrier && !f->carrier_sent) {
			r = send_carrier(f);
			l->in_flight += r == 0;
		}
		if (r == 0 && f->want_query && !f->query_sent && !starved) {
			uint64_t wait = take_token(l);

			starved = wait > 0;
			if (starved)
				pump_later(l, wait);
			else
				r = send_query(f);
			l->in_flight += r == 0 && !starved;
		}
		if (r == 0 && f->want_announce && !f->announce_sent && !l->asleep) {
			r = ask_status(f);
			l->in_flight += r == 0;
		}
		if (r < 0) {
			pump_later(l, RETRY_MS * 1000);
			return;
		}
		if (l->in_flight >= WINDOW)
			l->next = (l->next + i + 1) % l->functions;
	}
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	(void)s;
	(void)usec;
	pump(userdata);
	return 0;
}

/* Finds out whether the PF is in the VM; if so, set_present() continues with its VFs. */
static void probe(struct qemu_link *l)
{
	l->function[VPF_FUNCTION_PF].want_query = true;
	pump(l);
}

void qemu_link_refresh(struct qemu_link *l, unsigned int fn)
{
	if (!l->present) {
		probe(l);
		return;
	}
	l->function[fn].want_query = true;
	l->function[fn].want_carrier = l->function[fn].carrier != CARRIER_UNSET;
	pump(l);
}

void qemu_link_set_mtu(struct qemu_link *l, uint16_t mtu)
{
	l->pf.mtu = mtu;
}

/* --- plugging --------------------------------------------------------------------------------- */

static void on_plugged(void *ctx, struct plug *plug, int code, const struct err *err)
{
	struct qemu_link *l = ctx;
	qemu_link_done_fn done = l->done;
	void *arg = l->done_arg;
	enum plug_kind kind = l->plug_kind;
	struct err copy = {};

	if (err)
		copy = *err;
	l->late_release = code == -ETIMEDOUT;
	plug_free(plug);
	l->plug = NULL;
	l->done = NULL;
	if (code == 0 && kind == PLUG_ATTACH)
		set_present(l); /* known before done() is called */
	else if (code == 0)
		set_absent(l);
	if (code != -ENOTCONN)
		probe(l);
	if (done)
		done(arg, code, err ? &copy : NULL);
}

static int start_plug(struct qemu_link *l, enum plug_kind kind, const struct qemu_attach *attach,
		      qemu_link_done_fn done, void *arg, struct err *err)
{
	const struct plug_config config = {.event = l->event,
					   .qmp = l->qmp,
					   .pf = &l->pf,
					   .attach = attach,
					   .release_ms = l->release_ms,
					   .done = on_plugged,
					   .ctx = l};
	int r;

	if (l->plug)
		return err_set(err, EBUSY, "", "PF %s is being plugged in or out right now", l->pf.name);
	if (!qmp_ready(l->qmp))
		return err_set(err, ENOTCONN, "", "not connected to the VM's QMP socket %s", l->pf.qmp);
	r = plug_new(kind, &config, &l->plug);
	if (r < 0)
		return err_set(err, -r, "", "cannot start: %s", strerror(-r));
	l->late_release = false;
	l->plug_kind = kind;
	l->done = done;
	l->done_arg = arg;
	return 0;
}

int qemu_link_attach(struct qemu_link *l, const struct qemu_attach *attach, qemu_link_done_fn done, void *arg,
		     struct err *err)
{
	return start_plug(l, PLUG_ATTACH, attach, done, arg, err);
}

int qemu_link_detach(struct qemu_link *l, qemu_link_done_fn done, void *arg, struct err *err)
{
	return start_plug(l, PLUG_DETACH, NULL, done, arg, err);
}

/* --- the connection --------------------------------------------------------------------------- */

static void on_state(void *ctx, bool up, bool gone, const char *why)
{
	struct qemu_link *l = ctx;

	if (up) {
		l->present = false; /* perhaps a new VM: query it again, with all filters and carriers */
		l->asleep = false;
		probe(l);
	} else {
		if (l->plug)
			plug_lost(l->plug, why);
		l->late_release = false;
		if (gone)
			set_absent(l);
	}
	l->ops->connected(l->ctx, up, why);
}

static int function_of(const struct qemu_link *l, enum qemu_part part, const json_t *id)
{
	const char *name = json_string_value(id);

	return name ? qemu_id_parse(name, part, l->pf.name, l->functions) : -ENOENT;
}

static void on_event(void *ctx, const char *name, const json_t *data)
{
	struct qemu_link *l = ctx;
	int fn;

	if (l->plug)
		plug_event(l->plug, name, data);
	if (!strcmp(name, "NIC_RX_FILTER_CHANGED")) {
		fn = function_of(l, QEMU_DEVICE, json_object_get(data, "name"));
		if (fn < 0)
			return;
		if (l->present) {
			l->function[fn].want_query = true;
			pump(l);
		} else {
			probe(l);
		}
	} else if (!strcmp(name, "NETDEV_VHOST_USER_CONNECTED")) {
		/* QEMU has just set the link up on its own. */
		fn = function_of(l, QEMU_NETDEV, json_object_get(data, "netdev-id"));
		if (fn < 0 || l->function[fn].carrier != CARRIER_DOWN)
			return;
		l->function[fn].want_carrier = l->present;
		pump(l);
	} else if (!strcmp(name, "RESUME")) {
		l->asleep = false;
		pump(l);
	} else if (!strcmp(name, "DEVICE_DELETED")) {
		if (function_of(l, QEMU_DEVICE, json_object_get(data, "device")) != VPF_FUNCTION_PF)
			return;
		set_absent(l);
		if (l->late_release)
			(void)start_plug(l, PLUG_CLEANUP, NULL, NULL, NULL, NULL);
	}
}

bool qemu_link_connected(const struct qemu_link *l)
{
	return qmp_ready(l->qmp);
}

bool qemu_link_present(const struct qemu_link *l)
{
	return l->present;
}

int qemu_link_new(const struct qemu_link_config *config, struct qemu_link **ret, struct err *err)
{
	static const struct qmp_ops qmp_ops = {.state = on_state, .event = on_event};
	unsigned int functions = config->pf->vfs + 1;
	struct qemu_link *l = calloc(1, sizeof(*l) + functions * sizeof(l->function[0]));
	int r;

	if (!l)
		return err_set(err, ENOMEM, "", "out of memory");
	l->pf = *config->pf;
	l->ops = config->ops;
	l->ctx = config->ctx;
	l->event = sd_event_ref(qmp_pool_event(config->pool));
	l->functions = functions;
	l->release_ms = config->release_ms ? config->release_ms
					   : QEMU_LINK_RELEASE_MS + l->pf.vfs * QEMU_LINK_RELEASE_VF_MS;
	l->tokens = QEMU_LINK_QUERIES_BURST;
	for (unsigned int fn = 0; fn < functions; fn++)
		l->function[fn].link = l;
	r = sd_event_add_time_relative(l->event, &l->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, l);
	if (r >= 0)
		r = sd_event_source_set_enabled(l->timer, SD_EVENT_OFF);
	if (r < 0) {
		qemu_link_free(l);
		return err_set(err, -r, "", "cannot set up the link to QEMU: %s", strerror(-r));
	}
	r = qmp_open(config->pool, l->pf.qmp, &qmp_ops, l, &l->qmp, err);
	if (r < 0) {
		qemu_link_free(l);
		return r;
	}
	*ret = l;
	return 0;
}

void qemu_link_free(struct qemu_link *l)
{
	struct err err = {};
	qemu_link_done_fn done;
	void *arg;

	if (!l)
		return;
	done = l->plug ? l->done : NULL;
	arg = l->done_arg;
	qmp_close(l->qmp);
	plug_free(l->plug);
	sd_event_source_disable_unref(l->timer);
	sd_event_unref(l->event);
	if (done)
		err_set(&err, ECANCELED, "", "abandoned: PF %s was taken off its QMP socket", l->pf.name);
	free(l);
	if (done)
		done(arg, -ECANCELED, &err);
}
