/* SPDX-License-Identifier: Apache-2.0 */

#include <stdio.h>
#include <string.h>

#include "model/model_private.h"
#include "settings/json_build.h"
#include "settings/settings_json.h"
#include "settings/validate.h"

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
		if (s->type == FABRIC_BRIDGE && f->s.type == FABRIC_BRIDGE && !strcmp(f->s.bridge, s->bridge))
			return err_set(err, EBUSY, "bridge",
				       "%s is the bridge of the fabric %s: fabrics do not share bridges",
				       s->bridge, f->s.name);
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
	for (unsigned int i = 0; i < m->pfs_n; i++)
		if (m->pfs[i]->fabric == f)
			model_functions_apply(m, m->pfs[i]);
}

static int on_uplink_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct model *m = ctx;
	bool again = false;

	(void)usec;
	for (unsigned int i = 0; i < m->fabrics_n; i++) {
		struct model_fabric *f = m->fabrics[i];
		struct err err = {0};

		if (!f->uplink_absent)
			continue;
		if (m->ops->fabric_set(m->dp, &f->s, &(struct answer){0}, &err) < 0) {
			snprintf(f->uplink_error, sizeof(f->uplink_error), "%s", err.text);
			again = true;
			continue;
		}
		f->uplink_absent = false;
		f->uplink_error[0] = '\0';
		fabric_functions_apply(m, f);
		model_reportf(m, EVENT_FABRIC_UPLINK, LOG_LVL_NOTICE, f->s.name, NULL, -1,
			      json_pack("{s:b}", "absent", 0), "the uplink %s is back", f->s.uplink_name);
	}
	if (!again)
		return sd_event_source_set_enabled(source, SD_EVENT_OFF);
	sd_event_source_set_time_relative(source, m->uplink_retry_us);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void uplink_absent(struct model *m, struct model_fabric *f, const char *why)
{
	int r;

	f->uplink_absent = true;
	snprintf(f->uplink_error, sizeof(f->uplink_error), "%s", why);
	model_reportf(m, EVENT_FABRIC_UPLINK, LOG_LVL_ERR, f->s.name, NULL, -1,
		      json_pack("{s:b, s:s}", "absent", 1, "reason", why),
		      "running without its uplink %s, which will be tried again: %s", f->s.uplink_name, why);
	if (!m->uplink_timer) {
		r = sd_event_add_time_relative(m->event, &m->uplink_timer, CLOCK_MONOTONIC,
					       m->uplink_retry_us, 0, on_uplink_timer, m);
	} else {
		sd_event_source_set_time_relative(m->uplink_timer, m->uplink_retry_us);
		r = sd_event_source_set_enabled(m->uplink_timer, SD_EVENT_ONESHOT);
	}
	if (r < 0)
		log_error("cannot start the timer for absent uplinks: %s", strerror(-r));
}

int model_fabric_apply_loaded(struct model *m, struct model_fabric *f, struct err *err)
{
	struct fabric_settings bare;
	struct err why = {0};
	int r;

	r = m->ops->fabric_add(m->dp, &f->s, &(struct answer){0}, &why);
	if (r == 0) {
		model_fabric_learn(m, f);
		return 0;
	}
	if (f->s.uplink == UPLINK_NONE) {
		if (err)
			*err = why;
		return r;
	}
	bare = without_uplink(&f->s);
	r = m->ops->fabric_add(m->dp, &bare, &(struct answer){0}, err);
	if (r < 0)
		return r;
	model_fabric_learn(m, f);
	uplink_absent(m, f, why.text);
	return 0;
}

int model_fabric_add(struct model *m, const struct fabric_settings *s, struct err *err)
{
	struct model_fabric *f;
	int r;

	r = model_fabric_check(m, s, NULL, err);
	if (r < 0)
		return r;
	if (m->fabrics_n == VPF_MAX_FABRICS)
		return err_set(err, ENOSPC, "name", "there are already %d fabrics, the most there can be",
			       VPF_MAX_FABRICS);
	f = calloc(1, sizeof(*f));
	if (!f)
		return err_set(err, ENOMEM, NULL, "out of memory");
	f->s = *s;

	r = m->ops->fabric_add(m->dp, s, &(struct answer){0}, err);
	if (r < 0)
		goto free_object;
	model_fabric_learn(m, f);
	m->fabrics[m->fabrics_n++] = f;
	r = model_save(m, err);
	if (r < 0)
		goto take_back;
	model_reportf(m, EVENT_FABRIC_ADDED, LOG_LVL_NOTICE, s->name, NULL, -1, NULL,
		      "fabric added, type %s%s%s, uplink %s%s%s", fabric_type_name(s->type),
		      s->bridge[0] ? " " : "", s->bridge, uplink_type_name(s->uplink),
		      s->uplink == UPLINK_NONE ? "" : " ", s->uplink_name);
	return 0;

take_back:
	m->fabrics[--m->fabrics_n] = NULL;
	m->ops->fabric_del(m->dp, s->name);
free_object:
	free(f);
	return r;
}

/* What the data plane has becomes what `f` says again. If the old uplink is no longer available, the
 * fabric is as after a start without it. */
static void fabric_put_back(struct model *m, struct model_fabric *f)
{
	struct fabric_settings bare = without_uplink(&f->s);
	struct err err = {0};

	if (!m->ops->fabric_set(m->dp, f->uplink_absent ? &bare : &f->s, &(struct answer){0}, &err))
		return;
	if (m->ops->fabric_set(m->dp, &bare, &(struct answer){0}, NULL) < 0)
		log_write(LOG_LVL_ERR, &(struct log_scope){.fabric = f->s.name, .vf = LOG_VF_NONE},
			  "could not be put back as it was: %s", err.text);
	if (f->s.uplink != UPLINK_NONE) {
		uplink_absent(m, f, err.text);
		fabric_functions_apply(m, f);
	}
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

static int fabric_set_check(const struct model *m, const struct model_fabric *f,
			    const struct fabric_settings *s, struct err *err)
{
	int r = model_fabric_check(m, s, f, err);

	if (r < 0)
		return r;
	if (s->type != f->s.type || strcmp(s->bridge, f->s.bridge) != 0)
		return err_set(err, EINVAL, s->type != f->s.type ? "type" : "bridge",
			       "cannot be changed: delete the fabric and add it again");
	return 0;
}

/* In memory and on disk, or not at all; then the data plane, which was given it already, has what it had. */
static int fabric_save(struct model *m, struct model_fabric *f, const struct fabric_settings *s,
		       struct err *err)
{
	struct fabric_settings before = f->s;
	int r;

	f->s = *s;
	r = model_save(m, err);
	if (r < 0) {
		f->s = before;
		fabric_put_back(m, f);
	}
	return r;
}

int model_fabric_set(struct model *m, const struct fabric_settings *s, struct err *err)
{
	struct fabric_settings bare = without_uplink(s), before;
	struct model_fabric *f = NULL;
	bool was_absent, absent;
	int r;

	r = model_need_fabric(m, s->name, "name", &f, err);
	if (r < 0)
		return r;
	r = fabric_set_check(m, f, s, err);
	if (r < 0)
		return r;
	if (fabric_settings_equal(&f->s, s))
		return 0;

	/* A change that leaves the absent uplink as it is does not depend on it. */
	was_absent = f->uplink_absent;
	absent = was_absent && same_uplink(&f->s, s);
	r = m->ops->fabric_set(m->dp, absent ? &bare : s, &(struct answer){0}, err);
	if (r < 0)
		return r;
	before = f->s;
	r = fabric_save(m, f, s, err);
	if (r < 0)
		return r;
	f->uplink_absent = absent;
	if (absent != was_absent) {
		f->uplink_error[0] = '\0';
		fabric_functions_apply(m, f);
	}
	model_reportf(m, EVENT_FABRIC_CHANGED, LOG_LVL_NOTICE, s->name, NULL, -1,
		      model_changed_detail(fabric_difference(&before, s)), "fabric changed");
	return 0;
}

int model_fabric_del(struct model *m, const char *name, struct err *err)
{
	struct model_fabric *f = NULL;
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
	free(f);
	return 0;
}
