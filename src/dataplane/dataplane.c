/* SPDX-License-Identifier: Apache-2.0 */

/* The data plane as the model sees it: names to fabrics and functions, workers' notes to the main thread. */

#include "dataplane/dataplane.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "broker/binding.h"
#include "dataplane/dataplane_private.h"
#include "dataplane/list_check.h"
#include "net/netdev_monitor.h"
#include "switch/control_box.h"
#include "switch/counter_file.h"
#include "switch/worker.h"
#include "util/clock.h"
#include "util/log.h"
#include "vhost/guest_map.h"

static struct fabric_entry *find_entry(const struct dataplane *dp, const char *name)
{
	for (unsigned int i = 0; i < dp->n_fabrics; i++)
		if (!strcmp(dp->fabrics[i]->fabric->settings.name, name))
			return dp->fabrics[i];
	return NULL;
}

static struct fabric *find_fabric(const struct dataplane *dp, const char *name)
{
	struct fabric_entry *e = find_entry(dp, name);

	return e && !e->coming ? e->fabric : NULL;
}

struct pf_entry *dataplane_find_pf(const struct dataplane *dp, const char *name)
{
	for (unsigned int i = 0; i < dp->n_pfs; i++)
		if (!strcmp(dp->pfs[i]->name, name))
			return dp->pfs[i];
	return NULL;
}

struct function *dataplane_find_function(const struct dataplane *dp, const char *pf, unsigned int fn)
{
	struct pf_entry *e = dataplane_find_pf(dp, pf);

	return e && fn < e->n ? e->function[fn] : NULL;
}

/* From the fabrics to the model's events. */
static void on_link_changed(void *ctx, struct fabric_port *p, bool up)
{
	struct dataplane *dp = ctx;
	const struct function *f = dataplane_find_function(dp, p->pf, p->fn);

	if (dp->config.events->link_changed && !(f && f->unusable))
		dp->config.events->link_changed(dp->config.ctx, p->pf, p->fn, up);
}

static void on_mac_conflict(void *ctx, struct fabric_port *p, const uint8_t mac[6])
{
	struct dataplane *dp = ctx;

	if (dp->config.events->mac_conflict)
		dp->config.events->mac_conflict(dp->config.ctx, p->pf, p->fn, mac);
}

static void on_uplink_changed(void *ctx, struct fabric *f, bool carrier)
{
	struct dataplane *dp = ctx;

	if (dp->config.events->uplink_changed)
		dp->config.events->uplink_changed(dp->config.ctx, f->settings.name, carrier);
}

static void on_trouble(void *ctx, struct fabric *f, struct fabric_port *p, const char *why)
{
	struct dataplane *dp = ctx;

	if (dp->config.events->fabric_trouble)
		dp->config.events->fabric_trouble(dp->config.ctx, f->settings.name, p ? p->pf : NULL,
						  p ? p->fn : 0, why);
}

static void on_port_remade(void *ctx, struct fabric_port *p)
{
	const struct function *f = dataplane_find_function(ctx, p->pf, p->fn);

	if (f)
		binding_port_remade(f->binding);
}

static void on_port_lost(void *ctx, struct fabric_port *p)
{
	const struct function *f = dataplane_find_function(ctx, p->pf, p->fn);

	if (f)
		binding_port_lost(f->binding);
}

static const struct fabric_events fabric_events = {
	.link_changed = on_link_changed,
	.mac_conflict = on_mac_conflict,
	.uplink_changed = on_uplink_changed,
	.trouble = on_trouble,
	.port_remade = on_port_remade,
	.port_lost = on_port_lost,
};

static void on_netdev(void *ctx, const char *name, int ifindex, bool carrier, bool gone)
{
	struct dataplane *dp = ctx;

	for (unsigned int i = 0; i < dp->n_fabrics; i++)
		fabric_netdev_changed(dp->fabrics[i]->fabric, name, ifindex, carrier, gone);
}

static void check_rings(struct dataplane *dp)
{
	for (unsigned int i = 0; i < dp->n_pfs; i++)
		for (unsigned int fn = 0; fn < dp->pfs[i]->n; fn++)
			function_check_memory(dp->pfs[i]->function[fn]);
	/* After that: if a ring reads as zeros, it is not the ring that is wrong. */
	for (unsigned int i = 0; i < dp->n_pfs; i++)
		for (unsigned int fn = 0; fn < dp->pfs[i]->n; fn++)
			binding_check_rings(dp->pfs[i]->function[fn]->binding);
}

/* A worker, or this thread, accessed guest memory that its owner had truncated. */
static int on_fault(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	uint64_t n;

	(void)source;
	(void)revents;
	if (read(fd, &n, sizeof(n)) > 0)
		check_rings(userdata);
	return 0;
}

static void take_note(struct dataplane *dp, const struct worker_note *note)
{
	if (!note->port_id) {
		check_rings(dp);
		return;
	}
	for (unsigned int i = 0; i < dp->n_fabrics; i++)
		if (fabric_note(dp->fabrics[i]->fabric, note))
			return;
}

static int on_notes(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct dataplane *dp = userdata;
	struct worker_note note;
	uint64_t n;

	(void)source;
	(void)revents;
	if (read(fd, &n, sizeof(n)) < 0)
		return 0;
	/* A bounded share for each worker; the eventfd is set again by the next note. */
	for (unsigned int i = 0; i < dp->pool->n; i++)
		for (unsigned int k = 0; k < WORKER_NOTES && worker_next_note(dp->pool->worker[i], &note);
		     k++)
			take_note(dp, &note);
	if (worker_next_control(dp->pool))
		dataplane_take_control(dp);
	return 0;
}

static void remove_entry(struct dataplane *dp, struct fabric_entry *e)
{
	for (unsigned int i = 0; i < dp->n_fabrics; i++) {
		if (dp->fabrics[i] != e)
			continue;
		dp->fabrics[i] = dp->fabrics[--dp->n_fabrics];
		break;
	}
	dataplane_fabric_gone(dp, e->fabric);
	fabric_free(e->fabric);
	free(e);
}

static void on_fabric_made(void *ctx, int r, const struct err *err)
{
	struct fabric_entry *e = ctx;
	struct answer answer = e->answer;

	e->coming = false;
	if (r < 0)
		remove_entry(e->dp, e);
	else
		netdev_monitor_refresh(e->dp->monitor); /* the carrier, now */
	answer_give(&answer, r, err);
}

static int do_fabric_add(void *ctx, const struct fabric_settings *s, const struct answer *answer,
			 struct err *err)
{
	struct dataplane *dp = ctx;
	struct fabric_config config = {
		.event = dp->config.event, .pool = dp->pool, .events = &fabric_events, .ctx = dp};
	struct fabric_entry *e;
	int r;

	if (dp->n_fabrics == VPF_MAX_FABRICS)
		return err_set(err, ENOSPC, "name", "there are %d fabrics already, which is the limit",
			       VPF_MAX_FABRICS);
	e = calloc(1, sizeof(*e));
	if (!e)
		return err_set(err, ENOMEM, NULL, "not enough memory for a fabric");
	e->dp = dp;
	e->answer = *answer;
	r = fabric_new(&config, s, &(struct answer){on_fabric_made, e}, &e->fabric, err);
	if (r < 0) {
		free(e);
		return r;
	}
	e->coming = r == ANSWER_LATER;
	dp->fabrics[dp->n_fabrics++] = e;
	if (!e->coming)
		netdev_monitor_refresh(dp->monitor);
	return r;
}

static void on_fabric_set(void *ctx, int r, const struct err *err)
{
	struct fabric_entry *e = ctx;
	struct answer answer = e->answer;

	if (r >= 0)
		netdev_monitor_refresh(e->dp->monitor);
	answer_give(&answer, r, err);
}

static int do_fabric_set(void *ctx, const struct fabric_settings *s, const struct answer *answer,
			 struct err *err)
{
	struct dataplane *dp = ctx;
	struct fabric_entry *e = find_entry(dp, s->name);
	int r;

	if (!e || e->coming)
		return err_set(err, ENOENT, "name", "there is no fabric %s", s->name);
	r = fabric_set(e->fabric, s, &(struct answer){on_fabric_set, e}, err);
	if (r == ANSWER_LATER)
		e->answer = *answer;
	else if (!r)
		netdev_monitor_refresh(dp->monitor);
	return r;
}

static int do_list_check(void *ctx, const char *fabric, unsigned int queue_pairs,
			 const struct datapath_list *list, struct datapath_ability *ret, struct err *err)
{
	struct dataplane *dp = ctx;
	const struct fabric *f = find_fabric(dp, fabric);

	if (!f)
		return err_set(err, ENOENT, "fabric", "there is no fabric %s", fabric);
	/* What is queried many times in one iteration of the event loop is looked up once. */
	datapath_remember(true);
	sd_event_source_set_enabled(dp->turn_source, SD_EVENT_ON);
	return dataplane_list_check(f, queue_pairs, list, ret, err);
}

static void do_fabric_del(void *ctx, const char *name)
{
	struct fabric_entry *e = find_entry(ctx, name);

	if (e)
		remove_entry(ctx, e);
}

static int do_fabric_get(void *ctx, const char *name, struct fabric_state *ret, struct port_stats *ret_uplink)
{
	struct dataplane *dp = ctx;
	const struct fabric *f = find_fabric(dp, name);

	if (!f)
		return -ENOENT;
	fabric_get(f, ret, ret_uplink);
	return 0;
}

static int do_fabric_fdb(void *ctx, const char *name, void (*row)(void *arg, const struct fdb_row *row),
			 void *arg)
{
	const struct fabric *f = find_fabric(ctx, name);

	if (!f)
		return -ENOENT;
	fabric_fdb(f, clock_s(), row, arg);
	return 0;
}

/* Counters that outlast this process, beside the sockets. A PF is still usable without them. */
static void open_counters(struct dataplane *dp, struct pf_entry *e, const struct pf_settings *pf,
			  const char *socket)
{
	struct log_scope scope = {.pf = pf->name, .vf = LOG_VF_NONE};
	const char *slash = strrchr(socket, '/'), *lost = NULL;
	int r;

	if (!slash || (size_t)snprintf(e->counters_path, sizeof(e->counters_path), "%.*s/counters",
				       (int)(slash - socket), socket) >= sizeof(e->counters_path)) {
		e->counters_path[0] = 0;
		return;
	}
	r = counter_file_open(e->counters_path, pf->vfs + 1, dp->pool->n, &e->counters, &lost);
	if (r < 0)
		log_write(LOG_LVL_WARNING, &scope, "its counters will not survive a restart: %s: %s",
			  e->counters_path, strerror(-r));
	else if (lost)
		log_write(LOG_LVL_WARNING, &scope, "its counters start from 0: %s: %s", e->counters_path,
			  lost);
}

static void free_entry(struct pf_entry *e)
{
	counter_file_close(e->counters);
	free(e);
}

/* The PF's, made with its first function. */
static int get_entry(struct dataplane *dp, const struct pf_settings *pf, const char *path,
		     struct pf_entry **ret, struct err *err)
{
	struct pf_entry *e = dataplane_find_pf(dp, pf->name);

	if (!e) {
		if (dp->n_pfs == VPF_MAX_PFS)
			return err_set(err, ENOSPC, "name",
				       "there are %d virtual PFs already, which is the limit", VPF_MAX_PFS);
		e = calloc(1, sizeof(*e));
		if (!e)
			return err_set(err, ENOMEM, NULL, "not enough memory for a virtual PF");
		snprintf(e->name, sizeof(e->name), "%s", pf->name);
		open_counters(dp, e, pf, path);
		dp->pfs[dp->n_pfs++] = e;
	}
	*ret = e;
	return 0;
}

/* One without functions is not kept. */
static void tidy_entry(struct dataplane *dp, struct pf_entry *e)
{
	if (e->n)
		return;
	for (unsigned int i = 0; i < dp->n_pfs; i++) {
		if (dp->pfs[i] == e) {
			dp->pfs[i] = dp->pfs[--dp->n_pfs];
			break;
		}
	}
	free_entry(e);
}

static int do_function_check(void *ctx, const char *fabric, const struct pf_settings *pf, unsigned int fn,
			     const struct function_settings *s, const struct answer *answer, struct err *err)
{
	struct fabric *f = find_fabric(ctx, fabric);
	struct fabric_check check = {.pf = pf->name, .fn = fn, .settings = s, .policy = &pf->policy};

	if (!f)
		return err_set(err, ENOENT, "fabric", "there is no fabric %s", fabric);
	return dataplane_function_check(ctx, f, &check, answer, err);
}

static int do_function_add(void *ctx, const struct pf_settings *pf, unsigned int fn,
			   const struct function_settings *s, const struct function_offer *offer,
			   const char *path, struct err *err)
{
	struct dataplane *dp = ctx;
	struct function_config config = {
		.event = dp->config.event,
		.pool = dp->pool,
		.pf = pf,
		.fn = fn,
		.settings = s,
		.offer = offer,
		.socket = {.path = path,
			   .mode = dp->config.socket_mode,
			   .group = (gid_t)dp->config.socket_group},
		.events = dp->config.events,
		.ctx = dp->config.ctx,
	};
	struct pf_entry *e = NULL;
	int r;

	config.fabric = find_fabric(dp, pf->fabric);
	if (!config.fabric)
		return err_set(err, ENOENT, "fabric", "there is no fabric %s", pf->fabric);
	r = get_entry(dp, pf, path, &e, err);
	if (r < 0)
		return r;
	if (fn != e->n || fn >= VPF_MAX_FUNCTIONS) {
		r = err_set(err, EINVAL, NULL, "functions are added in order");
	} else {
		config.counters = fn <= pf->vfs ? e->counters : NULL;
		r = function_new(&config, &e->function[e->n], err);
	}
	if (r < 0) {
		tidy_entry(dp, e);
		return r;
	}
	dataplane_control_added(dp, e->function[e->n++]);
	return 0;
}

static int do_function_set(void *ctx, const char *pf, unsigned int fn, const struct pf_policy *policy,
			   const struct function_settings *s, const struct function_offer *offer,
			   const struct answer *answer, struct err *err)
{
	struct function *f = dataplane_find_function(ctx, pf, fn);

	if (!f)
		return err_set(err, ENOENT, NULL, "there is no such function");
	return function_set(f, policy, s, offer, answer, err);
}

static void do_function_del(void *ctx, const char *pf, unsigned int fn)
{
	struct dataplane *dp = ctx;
	struct pf_entry *e = dataplane_find_pf(dp, pf);

	if (!e || fn + 1 != e->n)
		return;
	dataplane_function_gone(dp, e->function[e->n - 1]);
	function_forget(e->function[e->n - 1]);
	function_free(e->function[--e->n]);
	if (!e->n)
		counter_file_remove(e->counters_path);
	tidy_entry(dp, e);
}

static void do_function_filter(void *ctx, const char *pf, unsigned int fn, const struct rx_filter *filter)
{
	struct function *f = dataplane_find_function(ctx, pf, fn);

	if (f)
		function_filter(f, filter);
}

static int do_function_get(void *ctx, const char *pf, unsigned int fn, struct function_state *ret,
			   struct vhost_user_info *ret_vu, struct port_stats *ret_stats)
{
	static const struct rx_filter unknown;
	const struct function *f = dataplane_find_function(ctx, pf, fn);
	struct vhost_user_info vu;
	struct binding_info info;

	if (!f)
		return -ENOENT;
	vhost_user_get_info(f->vu, &vu);
	binding_get_info(f->binding, &info);
	if (ret)
		*ret = (struct function_state){
			.link_up = f->port->link_up && !f->unusable,
			.mac_conflict = f->port->mac_conflict,
			.datapath = info.pref.type ? info.pref.type->base.name : "none",
			.offered = vu.offered,
			.filter = f->port->filter ? f->port->filter : &unknown,
		};
	if (ret_vu)
		*ret_vu = vu;
	if (ret_stats)
		fabric_port_get_stats(f->port, ret_stats);
	return 0;
}

static int do_function_binding(void *ctx, const char *pf, unsigned int fn, struct binding_info *ret)
{
	const struct function *f = dataplane_find_function(ctx, pf, fn);

	if (!f)
		return -ENOENT;
	binding_get_info(f->binding, ret);
	return 0;
}

const struct dataplane_ops dataplane_ops = {
	.fabric_add = do_fabric_add,
	.fabric_set = do_fabric_set,
	.fabric_del = do_fabric_del,
	.fabric_get = do_fabric_get,
	.fabric_fdb = do_fabric_fdb,
	.list_check = do_list_check,
	.function_check = do_function_check,
	.function_add = do_function_add,
	.function_set = do_function_set,
	.function_del = do_function_del,
	.function_filter = do_function_filter,
	.function_get = do_function_get,
	.function_binding = do_function_binding,
};

static int on_turn_over(sd_event_source *source, void *userdata)
{
	(void)userdata;
	datapath_remember(false);
	return sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

int dataplane_new(const struct dataplane_config *config, struct dataplane **ret, struct err *err)
{
	struct dataplane *dp = calloc(1, sizeof(*dp));
	int r;

	if (!dp)
		return err_set(err, ENOMEM, NULL, "not enough memory for the data plane");
	dp->config = *config;
	r = guest_mem_install_sigbus();
	if (r < 0) {
		err_set(err, -r, NULL, "cannot catch SIGBUS: %s", strerror(-r));
		goto fail;
	}
	r = worker_pool_new(config->workers, config->poll_us, config->cpus, &dp->pool, err);
	if (r < 0)
		goto fail;
	r = netdev_monitor_new(config->event, on_netdev, dp, &dp->monitor, err);
	if (r < 0)
		goto fail;
	r = sd_event_add_io(config->event, &dp->note_source, dp->pool->notefd, EPOLLIN, on_notes, dp);
	if (r >= 0)
		r = sd_event_add_post(config->event, &dp->turn_source, on_turn_over, dp);
	if (r >= 0)
		r = sd_event_source_set_enabled(dp->turn_source, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_io(config->event, &dp->fault_source, guest_map_fault_fd(), EPOLLIN, on_fault,
				    dp);
	if (r < 0) {
		err_set(err, -r, NULL, "cannot set up the event loop: %s", strerror(-r));
		goto fail;
	}
	*ret = dp;
	return 0;
fail:
	dataplane_free(dp);
	return r;
}

void dataplane_free(struct dataplane *dp)
{
	if (!dp)
		return;
	while (dp->n_pfs) {
		struct pf_entry *e = dp->pfs[dp->n_pfs - 1];

		while (e->n)
			function_free(e->function[--e->n]);
		free_entry(e);
		dp->n_pfs--;
	}
	while (dp->n_fabrics)
		remove_entry(dp, dp->fabrics[dp->n_fabrics - 1]);
	sd_event_source_disable_unref(dp->turn_source);
	sd_event_source_disable_unref(dp->fault_source);
	sd_event_source_disable_unref(dp->note_source);
	netdev_monitor_free(dp->monitor);
	worker_pool_free(dp->pool);
	free(dp);
}

unsigned int dataplane_workers(struct dataplane *dp, struct worker_info *ret, unsigned int max)
{
	unsigned int n = MIN(max, dp->pool->n);

	for (unsigned int i = 0; i < n; i++) {
		const struct worker *w = dp->pool->worker[i];
		struct timespec cpu = {0};
		clockid_t clock;

		if (pthread_getcpuclockid(w->thread, &clock) == 0)
			clock_gettime(clock, &cpu);
		ret[i] = (struct worker_info){
			.polls = __atomic_load_n(&w->polls, __ATOMIC_RELAXED),
			.packets = __atomic_load_n(&w->packets, __ATOMIC_RELAXED),
			.sleeps = __atomic_load_n(&w->sleeps, __ATOMIC_RELAXED),
			.cpu_ns = (uint64_t)cpu.tv_sec * 1000000000u + (uint64_t)cpu.tv_nsec,
			.queues = w->queues,
		};
	}
	return n;
}
