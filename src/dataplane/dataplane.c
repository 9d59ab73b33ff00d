/* SPDX-License-Identifier: Apache-2.0 */

/* The data plane as the model sees it: names to fabrics and functions, workers' notes to the main thread. */

#include "dataplane/dataplane.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "broker/binding.h"
#include "datapath/builtin/datapath_builtin.h"
#include "dataplane/dataplane_check.h"
#include "dataplane/function.h"
#include "fabric/builtin/builtin.h"
#include "net/netdev_monitor.h"
#include "switch/control_box.h"
#include "switch/counter_file.h"
#include "switch/worker.h"
#include "util/clock.h"
#include "util/log.h"
#include "vhost/guest_map.h"

_Static_assert(DATAPLANE_CONTROL_FRAMES == CONTROL_BOX_FRAMES && DATAPLANE_CONTROL_LEN == CONTROL_BOX_LEN,
	       "the interface promises what the mailbox has");

struct pf_entry {
	char name[VPF_NAME_MAX];
	unsigned int n; /* functions added: 0…n-1 */
	struct function *function[VPF_MAX_FUNCTIONS];
	struct counter_file *counters; /* NULL: they end with this process */
	char counters_path[128];
};

#define CONTROL_BUDGET 16 /* control frames before others of the event loop have their turn */

struct dataplane {
	struct dataplane_config config;
	struct worker_pool *pool;
	struct netdev_monitor *monitor;
	sd_event_source *note_source, *fault_source;
	unsigned int n_fabrics, n_pfs;
	struct fabric *fabrics[VPF_MAX_FABRICS];
	struct pf_entry *pfs[VPF_MAX_PFS];
	dataplane_control_fn control_fn; /* NULL: nobody listens */
	void *control_ctx;
	unsigned int control_next; /* the PF whose mailbox is looked at next */
};

static struct fabric *find_fabric(const struct dataplane *dp, const char *name)
{
	for (unsigned int i = 0; i < dp->n_fabrics; i++)
		if (!strcmp(dp->fabrics[i]->settings.name, name))
			return dp->fabrics[i];
	return NULL;
}

static struct pf_entry *find_pf(const struct dataplane *dp, const char *name)
{
	for (unsigned int i = 0; i < dp->n_pfs; i++)
		if (!strcmp(dp->pfs[i]->name, name))
			return dp->pfs[i];
	return NULL;
}

static struct function *find_function(const struct dataplane *dp, const char *pf, unsigned int fn)
{
	struct pf_entry *e = find_pf(dp, pf);

	return e && fn < e->n ? e->function[fn] : NULL;
}

/* From the fabrics to the model's events. */
static void on_link_changed(void *ctx, struct fabric_port *p, bool up)
{
	struct dataplane *dp = ctx;
	const struct function *f = find_function(dp, p->pf, p->fn);

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
	const struct function *f = find_function(ctx, p->pf, p->fn);

	if (f)
		binding_port_remade(f->binding);
}

static void on_port_lost(void *ctx, struct fabric_port *p)
{
	const struct function *f = find_function(ctx, p->pf, p->fn);

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
		dp->fabrics[i]->ops->netdev_changed(dp->fabrics[i], name, ifindex, carrier, gone);
}

static void check_rings(struct dataplane *dp)
{
	for (unsigned int i = 0; i < dp->n_pfs; i++)
		for (unsigned int fn = 0; fn < dp->pfs[i]->n; fn++)
			function_check_memory(dp->pfs[i]->function[fn]);
	/* After that: what is wrong with a ring that reads as zeros is not the ring. */
	datapath_builtin_check_rings();
}

/* A worker, or this thread, met guest memory that its owner had taken away. */
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
	for (unsigned int i = 0; i < dp->n_fabrics; i++) {
		struct fabric *f = dp->fabrics[i];

		if (f->ops == &fabric_builtin &&
		    builtin_note(container_of(f, struct builtin_fabric, base), note))
			return;
	}
}

/* NULL: the fabric passes none. */
static struct control_box *box_of(const struct pf_entry *e)
{
	const struct sw_port *port = e->n ? builtin_sw_port(e->function[VPF_FUNCTION_PF]->port) : NULL;

	return port ? port->control : NULL;
}

/* A frame of each PF in turn, so that none waits for another that has more. */
static void take_control(struct dataplane *dp)
{
	uint8_t frame[DATAPLANE_CONTROL_LEN];
	unsigned int budget = CONTROL_BUDGET;

	for (unsigned int none = 0; none < dp->n_pfs && dp->control_fn;) {
		struct pf_entry *e = dp->pfs[dp->control_next % dp->n_pfs];
		struct control_box *box = box_of(e);
		size_t len = box ? control_box_take(box, frame) : 0;

		dp->control_next = (dp->control_next + 1) % dp->n_pfs;
		if (!len) {
			none++;
			continue;
		}
		none = 0;
		dp->control_fn(dp->control_ctx, e->name, frame, len);
		if (!--budget) {
			worker_note_control(dp->pool);
			return;
		}
	}
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
		take_control(dp);
	return 0;
}

static int do_fabric_add(void *ctx, const struct fabric_settings *s, struct err *err)
{
	struct dataplane *dp = ctx;
	const struct fabric_ops *ops = fabric_ops_of(s->type);
	struct fabric *f;
	int r;

	if (dp->n_fabrics == VPF_MAX_FABRICS)
		return err_set(err, ENOSPC, "name", "there are %d fabrics already, which is the limit",
			       VPF_MAX_FABRICS);
	if (!ops)
		return err_set(err, EOPNOTSUPP, "type", "this vpfd has no fabrics of that type");
	r = ops->new (dp->config.event, dp->pool, s, &fabric_events, dp, &f, err);
	if (r < 0)
		return r;
	dp->fabrics[dp->n_fabrics++] = f;
	if (s->uplink != UPLINK_NONE || s->type != FABRIC_BUILTIN)
		netdev_monitor_refresh(dp->monitor); /* the carrier, now */
	return 0;
}

static int do_fabric_set(void *ctx, const struct fabric_settings *s, struct err *err)
{
	struct dataplane *dp = ctx;
	struct fabric *f = find_fabric(dp, s->name);
	int r;

	if (!f)
		return err_set(err, ENOENT, "name", "there is no fabric %s", s->name);
	r = f->ops->set(f, s, err);
	if (r < 0)
		return r;
	if (s->uplink != UPLINK_NONE)
		netdev_monitor_refresh(dp->monitor);
	return 0;
}

static int do_list_check(void *ctx, const char *fabric, unsigned int queue_pairs,
			 const struct datapath_list *list, struct datapath_ability *ret, struct err *err)
{
	const struct fabric *f = find_fabric(ctx, fabric);

	if (!f)
		return err_set(err, ENOENT, "fabric", "there is no fabric %s", fabric);
	return dataplane_list_check(f, queue_pairs, list, ret, err);
}

static void do_fabric_del(void *ctx, const char *name)
{
	struct dataplane *dp = ctx;

	for (unsigned int i = 0; i < dp->n_fabrics; i++) {
		struct fabric *f = dp->fabrics[i];

		if (strcmp(f->settings.name, name) != 0)
			continue;
		dp->fabrics[i] = dp->fabrics[--dp->n_fabrics];
		f->ops->free(f);
		return;
	}
}

static int do_fabric_get(void *ctx, const char *name, struct fabric_state *ret, struct port_stats *ret_uplink)
{
	struct dataplane *dp = ctx;
	const struct fabric *f = find_fabric(dp, name);

	if (!f)
		return -ENOENT;
	f->ops->get(f, ret, ret_uplink);
	return 0;
}

static int do_fabric_fdb(void *ctx, const char *name, void (*row)(void *arg, const struct fdb_row *row),
			 void *arg)
{
	const struct fabric *f = find_fabric(ctx, name);

	if (!f)
		return -ENOENT;
	f->ops->fdb(f, clock_s(), row, arg);
	return 0;
}

/* Counters that outlast this process, beside the sockets. A PF without them still is of use. */
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

static int do_function_add(void *ctx, const struct pf_settings *pf, unsigned int fn,
			   const struct function_settings *s, const char *path, struct err *err)
{
	struct dataplane *dp = ctx;
	struct vhost_user_config socket = {
		.path = path,
		.mode = dp->config.socket_mode,
		.group = (gid_t)dp->config.socket_group,
	};
	struct fabric *fabric = find_fabric(dp, pf->fabric);
	struct pf_entry *e = find_pf(dp, pf->name);
	struct function *f;
	int r;

	if (!fabric)
		return err_set(err, ENOENT, "fabric", "there is no fabric %s", pf->fabric);
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
	if (fn != e->n || fn >= VPF_MAX_FUNCTIONS)
		return err_set(err, EINVAL, NULL, "functions are added in order");
	r = function_new(dp->config.event, fabric, pf, fn, s, fn <= pf->vfs ? e->counters : NULL, &socket,
			 dp->config.events, dp->config.ctx, &f, err);
	if (r < 0) {
		if (!e->n) {
			dp->n_pfs--;
			free_entry(e);
		}
		return r;
	}
	e->function[e->n++] = f;
	if (fn == VPF_FUNCTION_PF && dp->control_fn && box_of(e))
		control_box_set(box_of(e), CONTROL_OPEN);
	return 0;
}

static void do_pf_set(void *ctx, const struct pf_settings *pf)
{
	struct pf_entry *e = find_pf(ctx, pf->name);

	for (unsigned int fn = 0; e && fn < e->n; fn++)
		e->function[fn]->pf_list = pf->datapaths;
}

static void do_function_set(void *ctx, const char *pf, unsigned int fn, const struct pf_policy *policy,
			    const struct function_settings *s)
{
	struct function *f = find_function(ctx, pf, fn);

	if (f)
		function_set(f, policy, s);
}

static void do_function_del(void *ctx, const char *pf, unsigned int fn)
{
	struct dataplane *dp = ctx;
	struct pf_entry *e = find_pf(dp, pf);

	if (!e || fn + 1 != e->n)
		return;
	function_forget(e->function[e->n - 1]);
	function_free(e->function[--e->n]);
	if (e->n)
		return;
	for (unsigned int i = 0; i < dp->n_pfs; i++) {
		if (dp->pfs[i] == e) {
			dp->pfs[i] = dp->pfs[--dp->n_pfs];
			break;
		}
	}
	counter_file_remove(e->counters_path);
	free_entry(e);
}

static void do_function_filter(void *ctx, const char *pf, unsigned int fn, const struct rx_filter *filter)
{
	struct function *f = find_function(ctx, pf, fn);

	if (f)
		function_filter(f, filter);
}

static int do_function_get(void *ctx, const char *pf, unsigned int fn, struct function_state *ret,
			   struct vhost_user_info *ret_vu, struct port_stats *ret_stats)
{
	static const struct rx_filter unknown;
	const struct function *f = find_function(ctx, pf, fn);
	const struct rx_filter *filter;
	struct vhost_user_info vu;
	struct binding_info info;

	if (!f)
		return -ENOENT;
	vhost_user_get_info(f->vu, &vu);
	binding_get_info(f->binding, &info);
	filter = f->port->fabric->ops->port_get_filter(f->port);
	if (ret)
		*ret = (struct function_state){
			.link_up = f->port->link_up && !f->unusable,
			.mac_conflict = f->port->mac_conflict,
			.datapath = info.datapath,
			.offered = vu.offered,
			.filter = filter ? filter : &unknown,
		};
	if (ret_vu)
		*ret_vu = vu;
	if (ret_stats)
		f->port->fabric->ops->port_get_stats(f->port, ret_stats);
	return 0;
}

static int do_function_binding(void *ctx, const char *pf, unsigned int fn, struct binding_info *ret)
{
	const struct function *f = find_function(ctx, pf, fn);

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
	.function_add = do_function_add,
	.pf_set = do_pf_set,
	.function_set = do_function_set,
	.function_del = do_function_del,
	.function_filter = do_function_filter,
	.function_get = do_function_get,
	.function_binding = do_function_binding,
};

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
	while (dp->n_fabrics) {
		struct fabric *f = dp->fabrics[--dp->n_fabrics];

		f->ops->free(f);
	}
	sd_event_source_disable_unref(dp->fault_source);
	sd_event_source_disable_unref(dp->note_source);
	netdev_monitor_free(dp->monitor);
	worker_pool_free(dp->pool);
	free(dp);
}

void dataplane_control_listen(struct dataplane *dp, dataplane_control_fn fn, void *ctx)
{
	dp->control_fn = fn;
	dp->control_ctx = ctx;
	for (unsigned int i = 0; i < dp->n_pfs; i++) {
		struct control_box *box = box_of(dp->pfs[i]);

		if (box && (!fn || control_box_state(box) == CONTROL_CLOSED))
			control_box_set(box, fn ? CONTROL_OPEN : CONTROL_CLOSED);
	}
}

void dataplane_control_pause(struct dataplane *dp, const char *pf, bool pause)
{
	struct pf_entry *e = find_pf(dp, pf);
	struct control_box *box = e ? box_of(e) : NULL;

	if (box && control_box_state(box) != CONTROL_CLOSED)
		control_box_set(box, pause ? CONTROL_PAUSED : CONTROL_OPEN);
}

int dataplane_control_send(struct dataplane *dp, const char *pf, const uint8_t *frame, size_t len)
{
	struct function *f = find_function(dp, pf, VPF_FUNCTION_PF);

	return f ? function_send_control(f, frame, len) : -ENOENT;
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
