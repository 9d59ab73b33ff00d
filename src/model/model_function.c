/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "model/model_change.h"
#include "model/model_private.h"
#include "model/policy.h"
#include "settings/function_fields.h"
#include "settings/mac.h"
#include "settings/validate.h"

struct function_settings model_function_effective(const struct model_pf *pf, unsigned int fn,
						  const struct model_function *f)
{
	struct function_settings s = f->s;

	/* To the data plane a fabric that lacks its uplink is one that has none, and those have carrier. */
	if (pf->fabric->uplink_absent && s.link == LINK_AUTO)
		s.link = LINK_DISABLE;
	policy_limit(&pf->s.policy, fn, &s);
	model_datapath_effective(pf, fn, f, &s);
	return s;
}

uint64_t model_sum_minimums(const struct model_pf *pf, int but)
{
	uint64_t sum = 0;

	for (unsigned int fn = 0; fn <= pf->s.vfs; fn++)
		if ((int)fn != but)
			sum += pf->fn[fn].s.min_rate;
	return sum;
}

/* As `f` says. */
static int function_apply(struct model *m, const struct model_pf *pf, unsigned int fn,
			  const struct model_function *f, const struct answer *answer, struct err *err)
{
	struct function_settings s = model_function_effective(pf, fn, f);
	struct function_offer offer = model_datapath_offer(m, pf, &s);

	return m->ops->function_set(m->dp, pf->s.name, fn, &pf->s.policy, &s, &offer, answer, err);
}

static void on_restored(void *ctx, int r, const struct err *err)
{
	struct model_pf *pf = ctx;

	if (r >= 0)
		return;
	pf->reapply = true;
	model_retry(pf->model);
	if (pf->unforced)
		return;
	pf->unforced = true;
	model_reportf(pf->model, EVENT_FABRIC_TROUBLE, LOG_LVL_WARNING, pf->s.fabric, pf->s.name, -1, NULL,
		      "settings are not in force, and will be tried again: %s", err->text);
}

void model_function_restore(struct model *m, struct model_pf *pf, unsigned int fn)
{
	struct answer answer = {on_restored, pf};
	struct err err = {0};
	int r = function_apply(m, pf, fn, &pf->fn[fn], &answer, &err);

	if (r != ANSWER_LATER)
		on_restored(pf, r, &err);
}

void model_functions_apply(struct model *m, struct model_pf *pf)
{
	/* What a change has asked for is not known to be in force yet: it would be undone by this. */
	if (pf->changes.first && pf->changes.first->running) {
		pf->reapply = true;
		return;
	}
	pf->reapply = false;
	for (unsigned int fn = 0; fn <= pf->s.vfs; fn++)
		model_function_restore(m, pf, fn);
}

int model_function_ask(struct model *m, const struct model_pf *pf, unsigned int fn,
		       const struct model_function *f, const struct answer *answer, struct err *err)
{
	struct function_settings s = model_function_effective(pf, fn, f);

	return m->ops->function_check(m->dp, pf->s.fabric, &pf->s, fn, &s, answer, err);
}

int model_function_try(struct model *m, const struct model_pf *pf, unsigned int fn,
		       const struct model_function *f, const struct answer *answer, struct err *err)
{
	return function_apply(m, pf, fn, f, answer, err);
}

void model_pf_settle(struct model *m, struct model_pf *pf)
{
	if (pf->reapply && !m->ending)
		model_functions_apply(m, pf);
}

static int need_function(const struct model *m, const char *pf_name, unsigned int fn, struct model_pf **ret,
			 struct err *err)
{
	int r = model_need_pf(m, pf_name, "pf", ret, err);

	if (!r && fn > (*ret)->s.vfs)
		return err_set(err, ENOENT, "vf", "%s has %u VFs, numbered from 0", (*ret)->s.name,
			       (*ret)->s.vfs);
	return r;
}

/* What is checked before a function changes to `after`. */
static int function_check(const struct model *m, const struct model_pf *pf, unsigned int fn,
			  const struct function_settings *after, struct err *err)
{
	int r = validate_function(after, err);

	if (r < 0)
		return r;
	if (after->min_rate > pf->fn[fn].s.min_rate) {
		r = policy_check_minimums(&pf->s.policy, model_sum_minimums(pf, (int)fn) + after->min_rate,
					  "min_rate", err);
		if (r < 0)
			return r;
	}
	r = model_mac_check_admin(m, pf, fn, after->admin_mac, err);
	return r < 0 ? r : model_datapath_check_function(m, pf, fn, after, false, err);
}

/* In memory and on disk, or not at all. */
static int function_save(struct model *m, struct model_function *f, const struct model_function *after,
			 struct err *err)
{
	struct model_function before = *f;
	int r;

	*f = *after;
	f->list_changed = before.list_changed; /* it may have moved since `after` was made */
	r = model_save(m, err);
	if (r < 0) {
		free(f->saved);
		*f = before;
		return r;
	}
	free(before.saved);
	return 0;
}

/* A change of one function. */
struct function_change {
	struct model_change base;
	struct model_pf *pf;
	unsigned int fn;
	enum log_level level; /* of its line in the log */
	model_function_edit_fn *edit;
	void *ctx;  /* … its; NULL: `wanted` */
	bool guest; /* its request; else the host's change */
	struct model_request request;
	struct function_settings wanted;
	struct model_function before, after;
};

static struct function_change *of(struct model_change *c)
{
	return container_of(c, struct function_change, base);
}

static void put_back(struct model_change *c)
{
	struct function_change *f = of(c);

	model_function_restore(c->m, f->pf, f->fn);
}

/* What other virtual PFs have become meanwhile may stand against it. */
static int check_again(const struct function_change *f, struct err *err)
{
	struct function_settings s = f->pf->fn[f->fn].s;
	int r = f->guest ? model_request_check(f->base.m, f->pf, f->fn, &f->request, &s, err) : 0;

	return r < 0 ? r : function_check(f->base.m, f->pf, f->fn, &f->after.s, err);
}

/* The data plane has it. */
static int commit(struct model_change *c, struct err *err)
{
	struct function_change *f = of(c);
	struct model *m = c->m;
	struct model_pf *pf = f->pf;
	int r = check_again(f, err);

	if (!r)
		r = function_save(m, &pf->fn[f->fn], &f->after, err);
	if (r < 0) {
		put_back(c);
		return r;
	}
	if (!datapath_list_equal(&f->before.s.datapaths, &f->after.s.datapaths))
		model_datapath_new_list(pf, f->fn);
	model_reportf(m, EVENT_FUNCTION_CHANGED, f->level, NULL, pf->s.name, (int)f->fn,
		      model_changed_detail(fields_difference(function_fields, &f->before.s, &f->after.s)),
		      "settings changed");
	if (f->guest)
		model_request_granted(m, pf, f->fn, &f->request);
	return 0;
}

static int carry_out(struct model_change *c, struct err *err)
{
	struct function_change *f = of(c);
	struct answer answer = model_change_answer(c);

	c->step = commit;
	return function_apply(c->m, f->pf, f->fn, &f->after, &answer, err);
}

/* What is wanted, of what is now. */
static int find_wanted(struct function_change *f, struct err *err)
{
	const struct function_settings *now = &f->pf->fn[f->fn].s;
	struct function_settings s = *now;
	int r = 0;

	if (f->guest)
		r = model_request_check(f->base.m, f->pf, f->fn, &f->request, &s, err);
	else if (f->edit)
		r = f->edit(f->ctx, &s, err);
	else
		s = f->wanted;
	if (r < 0)
		return r;
	f->before = f->after = f->pf->fn[f->fn];
	f->after.saved = NULL;
	f->after.s = s;
	memcpy(f->after.s.mac, now->mac, sizeof(now->mac));
	f->after.s.failback = now->failback;
	if (!f->after.s.own_mtu)
		f->after.s.mtu = f->pf->s.mtu;
	return 0;
}

static int begin(struct model_change *c, struct err *err)
{
	struct function_change *f = of(c);
	struct answer answer = model_change_answer(c);
	int r = find_wanted(f, err);

	if (!r)
		r = function_check(c->m, f->pf, f->fn, &f->after.s, err);
	if (r < 0)
		return r;
	if (fields_equal(function_fields, &f->before.s, &f->after.s)) {
		f->pf->granted += f->guest;
		return 0;
	}
	if (f->before.refused)
		f->after.refused = model_datapath_left_out(c->m, f->pf, f->fn, &f->after.s);
	c->step = carry_out;
	return model_function_ask(c->m, f->pf, f->fn, &f->after, &answer, err);
}

static void end(struct model_change *c)
{
	model_pf_settle(c->m, of(c)->pf);
}

static int change_function(struct model *m, struct model_pf *pf, unsigned int fn,
			   const struct function_change *how, const struct answer *answer, struct err *err)
{
	static const struct model_change_ops ops = {.begin = begin, .end = end};
	struct function_change *f = model_change_new(m, sizeof(*f), &ops, answer, err);

	if (!f)
		return -ENOMEM;
	f->pf = pf;
	f->fn = fn;
	f->level = how->level;
	f->edit = how->edit;
	f->ctx = how->ctx;
	f->guest = how->guest;
	f->request = how->request;
	f->wanted = how->wanted;
	return model_change_begin(&pf->changes, &f->base, err);
}

int model_function_set(struct model *m, const char *pf_name, unsigned int fn,
		       const struct function_settings *s, bool own_mtu, const struct answer *answer,
		       struct err *err)
{
	struct function_change how = {.level = LOG_LVL_INFO, .wanted = *s};
	struct model_pf *pf = NULL;
	int r = need_function(m, pf_name, fn, &pf, err);

	how.wanted.own_mtu = own_mtu;
	return r < 0 ? r : change_function(m, pf, fn, &how, answer, err);
}

int model_function_edit(struct model *m, const char *pf_name, unsigned int fn, model_function_edit_fn *edit,
			void *ctx, const struct answer *answer, struct err *err)
{
	struct function_change how = {.level = LOG_LVL_INFO, .edit = edit, .ctx = ctx};
	struct model_pf *pf = NULL;
	int r = need_function(m, pf_name, fn, &pf, err);

	return r < 0 ? r : change_function(m, pf, fn, &how, answer, err);
}

int model_function_ask_for(struct model *m, struct model_pf *pf, unsigned int fn,
			   const struct model_request *request, const struct answer *answer, struct err *err)
{
	struct function_change how = {.level = LOG_LVL_DEBUG, .guest = true, .request = *request};

	return change_function(m, pf, fn, &how, answer, err);
}

void model_function_filter(struct model *m, const char *pf_name, unsigned int fn,
			   const struct rx_filter *filter)
{
	const struct model_pf *pf = model_lookup_pf(m, pf_name);
	char mac[MAC_TEXT_MAX];

	if (!pf || fn > pf->s.vfs)
		return;
	m->ops->function_filter(m->dp, pf_name, fn, filter);
	if (filter->known)
		model_reportf(m, EVENT_FUNCTION_FILTER, LOG_LVL_DEBUG, NULL, pf_name, (int)fn,
			      json_pack("{s:s, s:b, s:b, s:I}", "mac", mac_format(filter->main_mac, mac),
					"promiscuous", filter->promiscuous, "all_multicast",
					filter->all_multicast, "unicast", (json_int_t)filter->unicast_n),
			      "the driver's receive filter has MAC %s and %u further ones%s%s", mac,
			      filter->unicast_n, filter->promiscuous ? ", promiscuous" : "",
			      filter->all_multicast ? ", all multicast" : "");
}
