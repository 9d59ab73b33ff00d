/* SPDX-License-Identifier: Apache-2.0 */

#include <stdio.h>
#include <string.h>

#include "model/model_change.h"
#include "model/model_private.h"
#include "vhost/vhost_user.h"

#define RETRY_US 3000000

int model_new(const struct model_config *config, struct model **ret, struct err *err)
{
	struct model *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return err_set(err, ENOMEM, NULL, "out of memory");
	m->retry_us = config->retry_us ? config->retry_us : RETRY_US;
	m->socket_mode = config->socket_mode;
	m->socket_group = config->socket_group;
	m->event = sd_event_ref(config->event);
	m->run_dir = strdup(config->run_dir);
	r = m->run_dir ? state_store_open(config->state_dir, &m->store, err)
		       : err_set(err, ENOMEM, NULL, "out of memory");
	if (r >= 0 && m->event) { /* without, nothing is answered later */
		r = sd_event_add_defer(m->event, &m->changes_work, model_changes_on_work, m);
		if (r >= 0)
			r = sd_event_source_set_enabled(m->changes_work, SD_EVENT_OFF);
		if (r < 0)
			err_set(err, -r, NULL, "cannot set up the event loop: %s", strerror(-r));
	}
	if (r < 0) {
		model_free(m);
		return r;
	}
	*ret = m;
	return 0;
}

static int on_retry_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct model *m = ctx;
	bool again = model_fabrics_retry(m);

	(void)source;
	(void)usec;
	for (unsigned int i = 0; i < m->pfs_n; i++) {
		if (m->pfs[i]->reapply)
			model_functions_apply(m, m->pfs[i]);
		else
			m->pfs[i]->unforced = false;
		again |= m->pfs[i]->unforced;
	}
	if (again)
		model_retry(m);
	return 0;
}

void model_retry(struct model *m)
{
	int r;

	if (m->ending)
		return;
	if (!m->retry_timer) {
		r = sd_event_add_time_relative(m->event, &m->retry_timer, CLOCK_MONOTONIC, m->retry_us, 0,
					       on_retry_timer, m);
	} else {
		sd_event_source_set_time_relative(m->retry_timer, m->retry_us);
		r = sd_event_source_set_enabled(m->retry_timer, SD_EVENT_ONESHOT);
	}
	if (r < 0)
		log_error("cannot start the timer of what is tried again: %s", strerror(-r));
}

static int load(struct model *m, struct err *err)
{
	bool changed = false;
	int r = model_read_state(m, &changed, err);

	/* Keys made for a state that had none are given out in a moment. */
	if (!r && changed)
		r = model_save(m, err);
	if (!r)
		r = model_fabrics_load(m, err);
	for (unsigned int i = 0; !r && i < m->pfs_n; i++) {
		model_datapath_refused(m, m->pfs[i]);
		r = model_pf_apply(m, m->pfs[i], err);
	}
	return r;
}

int model_load(struct model *m, const struct dataplane_ops *ops, void *dp, struct err *err)
{
	int r;

	m->ops = ops;
	m->dp = dp;
	m->loading = true;
	r = load(m, err);
	m->loading = false;
	return r;
}

void model_free(struct model *m)
{
	if (!m)
		return;
	model_changes_forget(m);
	for (unsigned int i = 0; i < m->pfs_n; i++) {
		m->pfs[i]->vm->pfs--;
		model_pf_remove_dir(m, m->pfs[i]->s.name);
		model_pf_object_free(m, m->pfs[i]);
	}
	model_vms_tidy(m);
	for (unsigned int i = 0; i < m->fabrics_n; i++)
		free(m->fabrics[i]);
	model_forget_listeners(m);
	sd_event_source_disable_unref(m->changes_work);
	sd_event_source_disable_unref(m->retry_timer);
	state_store_free(m->store);
	free(m->run_dir);
	sd_event_unref(m->event);
	free(m);
}

const char *model_state_path(const struct model *m)
{
	return state_store_path(m->store);
}

const char *model_run_dir(const struct model *m)
{
	return m->run_dir;
}

struct model_fabric *model_lookup_fabric(const struct model *m, const char *name)
{
	for (unsigned int i = 0; i < m->fabrics_n; i++)
		if (!m->fabrics[i]->coming && !strcmp(m->fabrics[i]->s.name, name))
			return m->fabrics[i];
	return NULL;
}

struct model_pf *model_lookup_pf(const struct model *m, const char *name)
{
	for (unsigned int i = 0; i < m->pfs_n; i++)
		if (!strcmp(m->pfs[i]->s.name, name))
			return m->pfs[i];
	return NULL;
}

int model_need_fabric(const struct model *m, const char *name, const char *field, struct model_fabric **ret,
		      struct err *err)
{
	struct model_fabric *f = model_lookup_fabric(m, name);

	if (!f)
		return err_set(err, ENOENT, field, "there is no fabric %.40s; add it first", name);
	*ret = f;
	return 0;
}

int model_need_pf(const struct model *m, const char *name, const char *field, struct model_pf **ret,
		  struct err *err)
{
	struct model_pf *pf = model_lookup_pf(m, name);

	if (!pf)
		return err_set(err, ENOENT, field, "there is no virtual PF %.40s; add it first", name);
	*ret = pf;
	return 0;
}

const struct model_fabric *model_fabric_at(const struct model *m, unsigned int i)
{
	for (unsigned int k = 0; k < m->fabrics_n; k++)
		if (!m->fabrics[k]->coming && !i--)
			return m->fabrics[k];
	return NULL;
}

const struct model_fabric *model_fabric_find(const struct model *m, const char *name)
{
	return model_lookup_fabric(m, name);
}

const struct model_pf *model_pf_at(const struct model *m, unsigned int i)
{
	return i < m->pfs_n ? m->pfs[i] : NULL;
}

const struct model_pf *model_pf_find(const struct model *m, const char *name)
{
	return model_lookup_pf(m, name);
}

int model_fabric_get(const struct model *m, const char *name, struct fabric_state *ret,
		     struct port_stats *ret_uplink)
{
	return m->ops->fabric_get(m->dp, name, ret, ret_uplink);
}

int model_fabric_fdb(const struct model *m, const char *name,
		     void (*row)(void *arg, const struct fdb_row *row), void *arg)
{
	return m->ops->fabric_fdb(m->dp, name, row, arg);
}

int model_function_get(const struct model *m, const char *pf, unsigned int fn, struct function_state *ret,
		       struct vhost_user_info *ret_vu, struct port_stats *ret_stats)
{
	return m->ops->function_get(m->dp, pf, fn, ret, ret_vu, ret_stats);
}

int model_function_binding(const struct model *m, const char *pf, unsigned int fn, struct binding_info *ret)
{
	return m->ops->function_binding(m->dp, pf, fn, ret);
}

unsigned int model_pf_connected(const struct model *m, const struct model_pf *pf)
{
	unsigned int n = 0;

	for (unsigned int fn = 0; fn <= pf->s.vfs; fn++) {
		struct vhost_user_info vu = {0};

		if (!model_function_get(m, pf->s.name, fn, NULL, &vu, NULL) && vu.connected)
			n++;
	}
	return n;
}

struct datapath_list model_function_list(const struct model_pf *pf, unsigned int fn)
{
	struct function_settings s = pf->fn[fn].s;

	model_datapath_effective(pf, fn, &pf->fn[fn], &s);
	return s.datapaths;
}

const char *model_function_path(const struct model *m, const char *pf, unsigned int fn, char ret[108])
{
	char name[16];

	snprintf(ret, 108, "%s/%s/%s.sock", m->run_dir, pf, model_function_name(fn, name));
	return ret;
}
