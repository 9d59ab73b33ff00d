/* SPDX-License-Identifier: Apache-2.0 */

#include <stdio.h>
#include <string.h>

#include "model/model_change.h"
#include "model/model_private.h"
#include "settings/fabric_json.h"
#include "settings/json_build.h"
#include "settings/validate.h"

/* No two fabrics of a type have the same value of an exclusive parameter. */
static int check_exclusive(const struct fabric_settings *s, const struct fabric_settings *other,
			   struct err *err)
{
	if (s->type != other->type)
		return 0;
	for (const struct param *p = s->type->base.params; p && p->name; p++)
		if (p->flags & PARAM_EXCLUSIVE && param_given(&s->params, p) &&
		    param_equal(&s->params, &other->params, p))
			return err_set(err, EBUSY, p->name,
				       "%s is already the %s of the fabric %s: choose another",
				       param_text(&s->params, p), p->what, other->name);
	return 0;
}

int model_fabric_check(const struct model *m, const struct fabric_settings *s,
		       const struct model_fabric *self, struct err *err)
{
	int r = validate_fabric(s, err);

	if (r < 0)
		return r;
	for (unsigned int i = 0; i < m->fabrics_n; i++) {
		const struct model_fabric *f = m->fabrics[i];

		if (f == self)
			continue;
		if (!strcmp(f->s.name, s->name))
			return err_set(err, EEXIST, "name",
				       "there is already a fabric %s: choose another name", s->name);
		r = check_exclusive(s, &f->s, err);
		if (r < 0)
			return r;
		if (s->uplink != UPLINK_NONE && f->s.uplink != UPLINK_NONE &&
		    !strcmp(f->s.uplink_name, s->uplink_name))
			return err_set(err, EBUSY, "uplink.name",
				       "%s is the uplink of the fabric %s: fabrics do not share uplinks",
				       s->uplink_name, f->s.name);
	}
	return 0;
}

static bool same_uplink(const struct fabric_settings *a, const struct fabric_settings *b)
{
	return a->uplink == b->uplink && !strcmp(a->uplink_name, b->uplink_name);
}

static struct fabric_settings without_uplink(const struct fabric_settings *s)
{
	struct fabric_settings bare = *s;

	bare.uplink = UPLINK_NONE;
	memset(bare.uplink_name, 0, sizeof(bare.uplink_name));
	return bare;
}

static void fabric_functions_apply(struct model *m, const struct model_fabric *f)
{
	if (m->loading) /* they are still to be made, with what is so then */
		return;
	for (unsigned int i = 0; i < m->pfs_n; i++)
		if (m->pfs[i]->fabric == f)
			model_functions_apply(m, m->pfs[i]);
}

/* Another attempt at an absent uplink: a change without an answer. */
struct uplink_try {
	struct model_change base;
	struct model_fabric *f;
};

static struct uplink_try *try_of(struct model_change *c)
{
	return container_of(c, struct uplink_try, base);
}

static int try_commit(struct model_change *c, struct err *err)
{
	struct model_fabric *f = try_of(c)->f;

	(void)err;
	f->uplink_absent = false;
	f->uplink_error[0] = '\0';
	fabric_functions_apply(c->m, f);
	model_reportf(c->m, EVENT_FABRIC_UPLINK, LOG_LVL_NOTICE, f->s.name, NULL, -1,
		      json_pack("{s:b}", "absent", 0), "the uplink %s is back", f->s.uplink_name);
	return 0;
}

static int try_begin(struct model_change *c, struct err *err)
{
	struct model_fabric *f = try_of(c)->f;
	struct answer answer = model_change_answer(c);

	if (!f->uplink_absent)
		return 0;
	c->step = try_commit;
	return c->m->ops->fabric_set(c->m->dp, &f->s, &answer, err);
}

static void on_tried(void *ctx, int r, const struct err *err)
{
	struct model_fabric *f = ctx;

	if (r < 0)
		snprintf(f->uplink_error, sizeof(f->uplink_error), "%s", err->text);
}

static void try_uplink(struct model *m, struct model_fabric *f)
{
	static const struct model_change_ops ops = {.begin = try_begin};
	struct answer answer = {on_tried, f};
	struct err err = {0};
	struct uplink_try *t;
	int r;

	if (f->changes.first) /* the next time */
		return;
	t = model_change_new(m, sizeof(*t), &ops, &answer, &err);
	if (!t)
		return;
	t->f = f;
	r = model_change_begin(&f->changes, &t->base, &err);
	if (r != ANSWER_LATER)
		on_tried(f, r, &err);
}

bool model_fabrics_retry(struct model *m)
{
	bool again = false;

	for (unsigned int i = 0; i < m->fabrics_n; i++) {
		if (m->fabrics[i]->uplink_absent)
			try_uplink(m, m->fabrics[i]);
		again |= m->fabrics[i]->uplink_absent;
	}
	return again;
}

static void uplink_absent(struct model *m, struct model_fabric *f, const char *why)
{
	f->uplink_absent = true;
	snprintf(f->uplink_error, sizeof(f->uplink_error), "%s", why);
	model_reportf(m, EVENT_FABRIC_UPLINK, LOG_LVL_ERR, f->s.name, NULL, -1,
		      json_pack("{s:b, s:s}", "absent", 1, "reason", why),
		      "running without its uplink %s, which will be tried again: %s", f->s.uplink_name, why);
	model_retry(m);
}

/* A fabric of the state file, given to the data plane: a first time, and if that fails, without its uplink. */
struct load {
	struct model *m;
	struct model_fabric *f;
	unsigned int *outstanding;
	bool bare;
	char why[sizeof(((struct err *)NULL)->text)]; /* the first failed */
	int r;
	struct err err;
};

static void on_loaded(void *ctx, int r, const struct err *err);

/* The outcome of an attempt. */
static void loaded(struct load *l, int r, const struct err *err)
{
	struct fabric_settings bare = without_uplink(&l->f->s);
	struct answer answer = {on_loaded, l};
	struct err why = {0};

	if (r < 0 && !l->bare && l->f->s.uplink != UPLINK_NONE) {
		l->bare = true;
		snprintf(l->why, sizeof(l->why), "%s", err->text);
		r = l->m->ops->fabric_add(l->m->dp, &bare, &answer, &why);
		err = &why;
	}
	if (r == ANSWER_LATER) {
		++*l->outstanding;
		return;
	}
	l->r = r;
	if (r < 0) {
		l->err = *err;
		return;
	}
	l->f->coming = false;
	model_fabric_learn(l->m, l->f);
	if (l->bare)
		uplink_absent(l->m, l->f, l->why);
}

static void on_loaded(void *ctx, int r, const struct err *err)
{
	struct load *l = ctx;

	--*l->outstanding;
	loaded(l, r, err);
}

int model_fabrics_load(struct model *m, struct err *err)
{
	_cleanup_free_ struct load *loads = calloc(m->fabrics_n + 1, sizeof(*loads));
	unsigned int outstanding = 0;

	if (!loads)
		return err_set(err, ENOMEM, NULL, "out of memory");
	for (unsigned int i = 0; i < m->fabrics_n; i++) {
		struct load *l = &loads[i];
		struct answer answer = {on_loaded, l};
		struct err why = {0};
		int r;

		*l = (struct load){.m = m, .f = m->fabrics[i], .outstanding = &outstanding};
		l->f->coming = true;
		r = m->ops->fabric_add(m->dp, &l->f->s, &answer, &why);
		loaded(l, r, &why);
	}
	while (outstanding)
		if (sd_event_get_state(m->event) == SD_EVENT_FINISHED ||
		    sd_event_run(m->event, UINT64_MAX) < 0)
			return err_set(err, ECANCELED, NULL, "ended before all fabrics were there");
	for (unsigned int i = 0; i < m->fabrics_n; i++) {
		if (loads[i].r >= 0)
			continue;
		if (err)
			*err = loads[i].err;
		return loads[i].r;
	}
	return 0;
}

static void fabric_take_out(struct model *m, const struct model_fabric *f)
{
	unsigned int at = 0;

	while (m->fabrics[at] != f)
		at++;
	m->fabrics_n--;
	memmove(&m->fabrics[at], &m->fabrics[at + 1], (m->fabrics_n - at) * sizeof(m->fabrics[0]));
	m->fabrics[m->fabrics_n] = NULL;
}

/* A fabric in the making. Its object is there already, so that its name and its uplink are taken; the change is in a
 * queue of its own, which goes with it. */
struct fabric_add {
	struct model_change base;
	struct model_changes queue;
	struct model_fabric *f; /* NULL: it is there */
};

static struct fabric_add *add_of(struct model_change *c)
{
	return container_of(c, struct fabric_add, base);
}

static int add_commit(struct model_change *c, struct err *err)
{
	struct model_fabric *f = add_of(c)->f;
	struct model *m = c->m;
	char type[256];
	int r;

	f->coming = false;
	model_fabric_learn(m, f);
	r = model_save(m, err);
	if (r < 0) {
		m->ops->fabric_del(m->dp, f->s.name);
		return r;
	}
	add_of(c)->f = NULL;
	f->adding = NULL;
	model_reportf(m, EVENT_FABRIC_ADDED, LOG_LVL_NOTICE, f->s.name, NULL, -1, NULL,
		      "fabric added, type %s, uplink %s%s%s",
		      type_text(&f->s.type->base, &f->s.params, type, sizeof(type)),
		      uplink_type_name(f->s.uplink), f->s.uplink == UPLINK_NONE ? "" : " ", f->s.uplink_name);
	return 0;
}

static int add_begin(struct model_change *c, struct err *err)
{
	struct answer answer = model_change_answer(c);

	c->step = add_commit;
	return c->m->ops->fabric_add(c->m->dp, &add_of(c)->f->s, &answer, err);
}

static void add_end(struct model_change *c)
{
	struct model_fabric *f = add_of(c)->f;

	if (!f)
		return;
	fabric_take_out(c->m, f);
	free(f);
}

int model_fabric_add(struct model *m, const struct fabric_settings *s, const struct answer *answer,
		     struct err *err)
{
	static const struct model_change_ops ops = {.begin = add_begin, .end = add_end};
	struct model_fabric *f;
	struct fabric_add *a;
	int r;

	r = model_fabric_check(m, s, NULL, err);
	if (r < 0)
		return r;
	if (m->fabrics_n == VPF_MAX_FABRICS)
		return err_set(err, ENOSPC, "name", "there are already %d fabrics, the most there can be",
			       VPF_MAX_FABRICS);
	a = model_change_new(m, sizeof(*a), &ops, answer, err);
	if (!a)
		return -ENOMEM;
	f = calloc(1, sizeof(*f));
	if (!f) {
		free(a);
		return err_set(err, ENOMEM, NULL, "out of memory");
	}
	f->s = *s;
	f->coming = true;
	f->adding = &a->base;
	m->fabrics[m->fabrics_n++] = f;
	a->f = f;
	return model_change_begin(&a->queue, &a->base, err);
}

/* The members of `after` that are otherwise in `before`; NULL: out of memory. */
static json_t *fabric_difference(const struct fabric_settings *before, const struct fabric_settings *after)
{
	json_t *from = fabric_settings_json(before), *to = fabric_settings_json(after), *changed = NULL, *v;
	const char *name;

	if (from && to)
		changed = json_object();
	json_object_foreach (to, name, v)
		if (changed && !json_equal(json_object_get(from, name), v))
			json_put(&changed, name, json_incref(v));
	json_decref(from);
	json_decref(to);
	return changed;
}

/* Its type, and parameters that say so, cannot change once a fabric is added. */
static int check_fixed(const struct fabric_settings *before, const struct fabric_settings *after,
		       struct err *err)
{
	const char *changed = before->type != after->type ? "type" : NULL;

	for (const struct param *p = before->type->base.params; !changed && p && p->name; p++)
		if (p->flags & PARAM_FIXED && !param_equal(&before->params, &after->params, p))
			changed = p->name;
	return changed ? err_set(err, EINVAL, changed,
				 "cannot be changed: delete the fabric and add it again")
		       : 0;
}

static int fabric_set_check(const struct model *m, const struct model_fabric *f,
			    const struct fabric_settings *s, struct err *err)
{
	int r = model_fabric_check(m, s, f, err);

	if (r < 0)
		return r;
	return check_fixed(&f->s, s, err);
}

/* A change of a fabric. */
struct fabric_change {
	struct model_change base;
	struct model_fabric *f;
	model_fabric_edit_fn *edit; /* NULL: `wanted` */
	void *ctx;
	struct fabric_settings wanted, before;
	bool absent; /* the uplink, which the change leaves as it is */
	/* Why it is undone, and why its uplink cannot be put back. */
	int r;
	struct err err;
	char no_uplink[sizeof(((struct err *)NULL)->text)];
};

static struct fabric_change *change_of(struct model_change *c)
{
	return container_of(c, struct fabric_change, base);
}

/* Asks the data plane for `s`, upon which `then` or, after an error, `otherwise` follows. */
static int ask(struct model_change *c, const struct fabric_settings *s, model_step *then,
	       model_step *otherwise, struct err *err)
{
	struct answer answer = model_change_answer(c);
	int r;

	c->step = then;
	r = c->m->ops->fabric_set(c->m->dp, s, &answer, err);
	if (r == ANSWER_LATER)
		c->otherwise = otherwise;
	if (r >= 0)
		return r;
	c->step = otherwise;
	return 0;
}

/* What the data plane has is what the fabric's settings say again. The next change must not begin before. */
static int undone(struct model_change *c, struct err *err)
{
	*err = change_of(c)->err;
	return change_of(c)->r;
}

static int undone_bare(struct model_change *c, struct err *err)
{
	struct fabric_change *p = change_of(c);

	if (p->f->s.uplink != UPLINK_NONE) {
		uplink_absent(c->m, p->f, p->no_uplink);
		fabric_functions_apply(c->m, p->f);
	}
	return undone(c, err);
}

static int not_undone(struct model_change *c, struct err *err)
{
	struct fabric_change *p = change_of(c);

	log_write(LOG_LVL_ERR, &(struct log_scope){.fabric = p->f->s.name, .vf = LOG_VF_NONE},
		  "could not be put back as it was: %s", p->no_uplink);
	return undone_bare(c, err);
}

static int undo_bare(struct model_change *c, struct err *err)
{
	struct fabric_change *p = change_of(c);
	struct fabric_settings bare = without_uplink(&p->f->s);

	snprintf(p->no_uplink, sizeof(p->no_uplink), "%s", err->text);
	return ask(c, &bare, undone_bare, not_undone, err);
}

static int undo(struct model_change *c, int r, struct err *err)
{
	struct fabric_change *p = change_of(c);
	struct fabric_settings bare = without_uplink(&p->f->s);

	p->r = r;
	p->err = *err;
	return ask(c, p->f->uplink_absent ? &bare : &p->f->s, undone, undo_bare, err);
}

/* The data plane has it. What other fabrics have become meanwhile may stand against it. */
static int commit(struct model_change *c, struct err *err)
{
	struct fabric_change *p = change_of(c);
	struct model_fabric *f = p->f;
	struct model *m = c->m;
	bool was_absent = f->uplink_absent;
	int r = fabric_set_check(m, f, &p->wanted, err);

	if (!r) {
		f->s = p->wanted;
		r = model_save(m, err);
	}
	if (r < 0) {
		f->s = p->before;
		return undo(c, r, err);
	}
	f->uplink_absent = p->absent;
	if (p->absent != was_absent) {
		f->uplink_error[0] = '\0';
		fabric_functions_apply(m, f);
	}
	model_reportf(m, EVENT_FABRIC_CHANGED, LOG_LVL_NOTICE, f->s.name, NULL, -1,
		      model_changed_detail(fabric_difference(&p->before, &f->s)), "fabric changed");
	return 0;
}

static int begin(struct model_change *c, struct err *err)
{
	struct fabric_change *p = change_of(c);
	struct model_fabric *f = p->f;
	struct answer answer = model_change_answer(c);
	struct fabric_settings bare;
	int r = 0;

	if (p->edit) {
		p->wanted = f->s;
		r = p->edit(p->ctx, &p->wanted, err);
	}
	if (!r)
		r = fabric_set_check(c->m, f, &p->wanted, err);
	if (r < 0 || fabric_settings_equal(&f->s, &p->wanted))
		return r;
	p->before = f->s;
	/* A change that leaves the absent uplink as it is does not depend on it. */
	p->absent = f->uplink_absent && same_uplink(&f->s, &p->wanted);
	bare = without_uplink(&p->wanted);
	c->step = commit;
	return c->m->ops->fabric_set(c->m->dp, p->absent ? &bare : &p->wanted, &answer, err);
}

static int change_fabric(struct model *m, const char *name, const struct fabric_change *how,
			 const struct answer *answer, struct err *err)
{
	static const struct model_change_ops ops = {.begin = begin};
	struct model_fabric *f = NULL;
	struct fabric_change *p;
	int r = model_need_fabric(m, name, "name", &f, err);

	if (r < 0)
		return r;
	p = model_change_new(m, sizeof(*p), &ops, answer, err);
	if (!p)
		return -ENOMEM;
	p->f = f;
	p->edit = how->edit;
	p->ctx = how->ctx;
	p->wanted = how->wanted;
	return model_change_begin(&f->changes, &p->base, err);
}

int model_fabric_set(struct model *m, const struct fabric_settings *s, const struct answer *answer,
		     struct err *err)
{
	return change_fabric(m, s->name, &(struct fabric_change){.wanted = *s}, answer, err);
}

int model_fabric_edit(struct model *m, const char *name, model_fabric_edit_fn *edit, void *ctx,
		      const struct answer *answer, struct err *err)
{
	return change_fabric(m, name, &(struct fabric_change){.edit = edit, .ctx = ctx}, answer, err);
}

int model_fabric_del(struct model *m, const char *name, struct err *err)
{
	struct model_fabric *f = NULL;
	struct err gone = {0};
	unsigned int at = 0;
	int r;

	r = model_need_fabric(m, name, "name", &f, err);
	if (r < 0)
		return r;
	if (f->pfs) {
		for (unsigned int i = 0; i < m->pfs_n; i++)
			if (m->pfs[i]->fabric == f)
				return err_set(
					err, EBUSY, "name",
					"the fabric %s has %u virtual PF%s, such as %s: delete %s first",
					f->s.name, f->pfs, f->pfs > 1 ? "s" : "", m->pfs[i]->s.name,
					f->pfs > 1 ? "them" : "it");
	}
	while (m->fabrics[at] != f)
		at++;
	memmove(&m->fabrics[at], &m->fabrics[at + 1], (m->fabrics_n - at - 1) * sizeof(m->fabrics[0]));
	m->fabrics_n--;
	r = model_save(m, err);
	if (r < 0) {
		memmove(&m->fabrics[at + 1], &m->fabrics[at], (m->fabrics_n - at) * sizeof(m->fabrics[0]));
		m->fabrics[at] = f;
		m->fabrics_n++;
		return r;
	}
	m->ops->fabric_del(m->dp, f->s.name);
	model_reportf(m, EVENT_FABRIC_DELETED, LOG_LVL_NOTICE, f->s.name, NULL, -1, NULL, "fabric deleted");
	err_set(&gone, ENOENT, NULL, "the fabric %s was deleted", f->s.name);
	model_changes_cancel(&f->changes, &gone);
	free(f);
	return 0;
}
