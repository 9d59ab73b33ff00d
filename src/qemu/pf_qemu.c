/* SPDX-License-Identifier: Apache-2.0 */

#include "qemu/pf_qemu.h"

#include <stdio.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <time.h>

#define PATH_SIZE 108
/* QEMU closes the sockets of a removed chardev a moment after reporting the removal. */
#define CLOSE_USEC (5 * 1000000ull)

struct entry {
	struct pf_qemu *q;
	struct entry *next;
	char pf[VPF_NAME_MAX];
	char path[sizeof(((struct pf_settings *)NULL)->qmp)];
	struct qemu_link *link;
	/* A detach that QEMU has carried out, until it has closed its connections: then the PF can be
	 * deleted. */
	struct {
		qemu_link_done_fn done; /* NULL: none is waiting */
		void *arg;
		sd_event_source *timeout;
	} detach;
};

struct pf_qemu {
	sd_event *event; /* borrowed */
	struct model *model;
	struct qmp_pool *pool;
	struct entry *entries;
	bool closing;
};

static struct entry *find(const struct pf_qemu *q, const char *pf)
{
	for (struct entry *e = q->entries; e; e = e->next)
		if (!strcmp(e->pf, pf))
			return e;
	return NULL;
}

static void report(const struct entry *e, enum model_event_kind kind, enum log_level level,
		   const char *reason, const char *text)
{
	json_t *detail = reason ? json_pack("{s:s}", "reason", reason) : NULL;
	char line[400];

	snprintf(line, sizeof(line), "%s%s%s", text, reason ? ": " : "", reason ? reason : "");
	model_report(e->q->model, &(struct model_event){
					  .kind = kind,
					  .level = level,
					  .pf = e->pf,
					  .function = -1,
					  .detail = detail,
					  .text = line,
				  });
	json_decref(detail);
}

static void on_connected(void *ctx, bool connected, const char *why)
{
	if (connected)
		report(ctx, EVENT_QMP_CONNECTED, LOG_LVL_INFO, NULL, "QMP is connected");
	else
		report(ctx, EVENT_QMP_DISCONNECTED, LOG_LVL_INFO, why, "QMP is not connected");
}

static void on_filter(void *ctx, unsigned int fn, const struct rx_filter *filter)
{
	struct entry *e = ctx;

	model_function_filter(e->q->model, e->pf, fn, filter);
}

static void on_present(void *ctx, bool present)
{
	report(ctx, present ? EVENT_QMP_ATTACHED : EVENT_QMP_DETACHED, LOG_LVL_NOTICE, NULL,
	       present ? "the VM has the virtual PF" : "the VM no longer has the virtual PF");
}

static void on_announce_failed(void *ctx, unsigned int fn, const char *why)
{
	const struct entry *e = ctx;

	log_write(
		LOG_LVL_NOTICE,
		&(struct log_scope){.pf = e->pf, .vf = fn == VPF_FUNCTION_PF ? LOG_VF_PF : (int)fn - 1},
		"its driver could not be asked to announce it: frames for it arrive only once it has sent: %s",
		why);
}

static const struct qemu_link_ops link_ops = {
	.connected = on_connected,
	.filter = on_filter,
	.present = on_present,
	.announce_failed = on_announce_failed,
};

/* Answers a detach that is waiting, if there is one. */
static void finish_detach(struct entry *e, int code)
{
	qemu_link_done_fn done = e->detach.done;
	struct err err = {0};

	if (!done)
		return;
	e->detach.done = NULL;
	sd_event_source_disable_unref(steal_ptr(&e->detach.timeout));
	if (code < 0)
		err_set(&err, -code, NULL,
			"%s was detached; gave up waiting for QEMU to close its connections", e->pf);
	done(e->detach.arg, code, code < 0 ? &err : NULL);
}

static bool any_connected(const struct entry *e)
{
	const struct model_pf *pf = model_pf_find(e->q->model, e->pf);

	return pf && model_pf_connected(e->q->model, pf);
}

static int on_close_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	/* What is connected now may be another front-end, which the detach does not wait for. */
	finish_detach(userdata, 0);
	return 0;
}

static void on_detached(void *arg, int code, const struct err *err)
{
	struct entry *e = arg;

	if (code == 0 && err)
		log_write(LOG_LVL_NOTICE, &(struct log_scope){.pf = e->pf, .vf = LOG_VF_NONE}, "%s",
			  err->text);
	if (code < 0 || !any_connected(e) ||
	    sd_event_add_time_relative(e->q->event, &e->detach.timeout, CLOCK_MONOTONIC, CLOSE_USEC, 0,
				       on_close_timeout, e) < 0) {
		qemu_link_done_fn done = e->detach.done;

		e->detach.done = NULL;
		done(e->detach.arg, code, err);
	}
}

static void entry_free(struct entry *e)
{
	for (struct entry **p = &e->q->entries; *p; p = &(*p)->next)
		if (*p == e) {
			*p = e->next;
			break;
		}
	qemu_link_free(e->link); /* a detach that QEMU is carrying out ends through on_detached() */
	finish_detach(e, -ECANCELED);
	free(e);
}

static int entry_new(struct pf_qemu *q, const struct model_pf *pf, struct err *err)
{
	struct entry *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return err_set(err, ENOMEM, NULL, "out of memory");
	e->q = q;
	snprintf(e->pf, sizeof(e->pf), "%s", pf->s.name);
	snprintf(e->path, sizeof(e->path), "%s", pf->s.qmp);
	r = qemu_link_new(
		&(struct qemu_link_config){.pool = q->pool, .pf = &pf->s, .ops = &link_ops, .ctx = e},
		&e->link, err);
	if (r < 0) {
		free(e);
		return r;
	}
	e->next = q->entries;
	q->entries = e;
	for (unsigned int fn = 0; fn <= pf->s.vfs; fn++) {
		struct function_state state = {0};

		if (!model_function_get(q->model, e->pf, fn, &state, NULL, NULL))
			qemu_link_set_carrier(e->link, fn, state.link_up);
	}
	return 0;
}

/* Makes the entry of a PF, or its absence, match the model. */
static void follow_pf(struct pf_qemu *q, const char *name)
{
	const struct model_pf *pf = model_pf_find(q->model, name);
	struct entry *e = find(q, name);
	struct err err = {0};

	if (e && (!pf || strcmp(e->path, pf->s.qmp))) {
		bool was_connected = qemu_link_connected(e->link);

		if (pf && was_connected)
			report(e, EVENT_QMP_DISCONNECTED, LOG_LVL_INFO, "its QMP socket has changed",
			       "QMP is not connected");
		entry_free(e);
		e = NULL;
	}
	if (!pf)
		return;
	if (e)
		qemu_link_set_mtu(e->link, pf->s.mtu);
	else if (pf->s.qmp[0] && entry_new(q, pf, &err) < 0)
		log_write(LOG_LVL_ERR, &(struct log_scope){.pf = name, .vf = LOG_VF_NONE},
			  "cannot set up QMP: %s", err.text);
}

static void on_function_event(struct entry *e, const struct model_event *event)
{
	unsigned int fn = (unsigned int)event->function;

	switch (event->kind) {
	case EVENT_LINK_UP:
	case EVENT_LINK_DOWN:
		qemu_link_set_carrier(e->link, fn, event->kind == EVENT_LINK_UP);
		break;
	case EVENT_FUNCTION_STARTED: /* a driver that was reset has another filter, and QEMU does not say so */
		qemu_link_refresh(e->link, fn);
		break;
	case EVENT_FUNCTION_ANNOUNCE:
		qemu_link_announce(e->link, fn);
		break;
	case EVENT_FUNCTION_DISCONNECTED:
		if (e->detach.timeout && !any_connected(e))
			finish_detach(e, 0);
		break;
	default:
		break;
	}
}

static void on_model_event(void *ctx, const struct model_event *event)
{
	struct pf_qemu *q = ctx;
	struct entry *e;

	if (q->closing)
		return;
	if (model_event_names[event->kind].topic == TOPIC_PF) {
		follow_pf(q, event->pf);
		return;
	}
	e = event->pf && event->function >= 0 ? find(q, event->pf) : NULL;
	if (e)
		on_function_event(e, event);
}

int pf_qemu_new(struct sd_event *event, struct model *m, struct pf_qemu **ret, struct err *err)
{
	struct pf_qemu *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return err_set(err, ENOMEM, NULL, "out of memory");
	q->event = event;
	q->model = m;
	r = qmp_pool_new(event, &q->pool);
	if (!r)
		r = model_listen(m, on_model_event, q);
	if (r < 0) {
		qmp_pool_free(q->pool);
		free(q);
		return err_set(err, -r, NULL, "cannot prepare for QMP: %s", strerror(-r));
	}
	for (unsigned int i = 0; model_pf_at(m, i); i++)
		follow_pf(q, model_pf_at(m, i)->s.name);
	*ret = q;
	return 0;
}

void pf_qemu_free(struct pf_qemu *q)
{
	if (!q)
		return;
	/* After this is freed, the data plane still reports to the model, and the model to its listeners. */
	model_unlisten(q->model, on_model_event, q);
	q->closing = true;
	for (struct entry *e = q->entries, *next; e; e = next) {
		next = e->next;
		entry_free(e);
	}
	qmp_pool_free(q->pool);
	free(q);
}

void pf_qemu_state(const struct pf_qemu *q, const char *pf, bool *ret_connected, bool *ret_present)
{
	const struct entry *e = find(q, pf);

	*ret_connected = e && qemu_link_connected(e->link);
	*ret_present = e && qemu_link_present(e->link);
}

static int need_entry(const struct pf_qemu *q, const char *pf, struct entry **ret, struct err *err)
{
	struct entry *e = find(q, pf);

	if (e) {
		*ret = e;
		return 0;
	}
	if (!model_pf_find(q->model, pf))
		return err_set(err, ENOENT, "name", "there is no virtual PF %.40s; add it first", pf);
	return err_set(
		err, ENOTCONN, "qmp",
		"%s has no QMP socket: start the VM with -qmp unix:PATH,server=on,wait=off, and give PATH with pf.set (vpfctl pf set %s --qmp PATH)",
		pf, pf);
}

int pf_qemu_functions(const struct model *m, const struct model_pf *pf, struct qemu_function **ret,
		      char **ret_paths, struct err *err)
{
	struct qemu_function *functions = calloc(pf->s.vfs + 1, sizeof(*functions));
	char *paths = calloc(pf->s.vfs + 1, PATH_SIZE);

	if (!functions || !paths) {
		free(functions);
		free(paths);
		return err_set(err, ENOMEM, NULL, "out of memory");
	}
	for (unsigned int fn = 0; fn <= pf->s.vfs; fn++) {
		functions[fn].socket = model_function_path(m, pf->s.name, fn, paths + (size_t)fn * PATH_SIZE);
		memcpy(functions[fn].mac, pf->fn[fn].s.mac, 6);
	}
	*ret = functions;
	*ret_paths = paths;
	return 0;
}

int pf_qemu_attach(struct pf_qemu *q, const char *pf, const char *bus,
		   const struct qemu_args_options *options, qemu_link_done_fn done, void *arg,
		   struct err *err)
{
	_cleanup_free_ struct qemu_function *functions = NULL;
	_cleanup_free_ char *paths = NULL;
	struct entry *e = NULL;
	int r;

	r = need_entry(q, pf, &e, err);
	if (r < 0)
		return r;
	r = pf_qemu_functions(q->model, model_pf_find(q->model, pf), &functions, &paths, err);
	if (r < 0)
		return r;
	return qemu_link_attach(e->link,
				&(struct qemu_attach){.functions = functions, .bus = bus, .options = options},
				done, arg, err);
}

int pf_qemu_detach(struct pf_qemu *q, const char *pf, qemu_link_done_fn done, void *arg, struct err *err)
{
	struct entry *e = NULL;
	int r = need_entry(q, pf, &e, err);

	if (r < 0)
		return r;
	if (e->detach.done)
		return err_set(err, EBUSY, NULL, "%s is already being detached", pf);
	e->detach.done = done;
	e->detach.arg = arg;
	r = qemu_link_detach(e->link, on_detached, e, err);
	if (r < 0)
		e->detach.done = NULL;
	return r;
}
