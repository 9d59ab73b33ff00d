/* SPDX-License-Identifier: Apache-2.0 */

#include "switch/pump.h"

#include <string.h>

#include "net/tap_queues.h"
#include "switch/switch.h"
#include "switch/uplink.h"
#include "switch/worker.h"

struct pump {
	struct sw sw;
	struct sw_port *function, *tap;
	struct uplink *uplink; /* queue[i]: worker i sends there; i < n_tap: and worker i % n receives there */
	unsigned int n_tap, n_watched;
	int tap_fd[];
};

/* Everything passes: filtering is done at the other end of the tap. */
static int new_function_port(struct pump *p)
{
	struct port_conf *conf = calloc(1, sizeof(*conf));
	int r;

	if (!conf)
		return -ENOMEM;
	conf->link_up = conf->trusted = conf->promisc = conf->all_groups = true;
	conf->mode = VLAN_TRUNK;
	conf->max_frame = PKT_MAX_LEN;
	memset(conf->trunk, 0xff, sizeof(conf->trunk));
	r = sw_port_new(&p->sw, PORT_FUNCTION, conf, NULL, 0, &p->function);
	if (r < 0)
		free(conf);
	return r;
}

static int new_tap_port(struct pump *p)
{
	unsigned int n = MAX(p->n_tap, p->sw.workers);
	struct port_conf *conf = calloc(1, sizeof(*conf));
	int r = -ENOMEM;

	p->uplink = calloc(1, sizeof(*p->uplink) + n * sizeof(p->uplink->queue[0]));
	if (p->uplink && conf) {
		conf->link_up = true;
		r = sw_port_new(&p->sw, PORT_UPLINK, conf, NULL, 0, &p->tap);
	}
	if (r < 0) {
		free(conf);
		return r;
	}
	p->uplink->type = UPLINK_TAP;
	p->uplink->carrier = true;
	p->uplink->uso = tap_has_uso();
	p->uplink->port = p->tap;
	p->uplink->n = n;
	for (unsigned int i = 0; i < n; i++)
		p->uplink->queue[i] = (struct uplink_queue){
			.source.kind = POLL_UPLINK, .uplink = p->uplink, .fd = p->tap_fd[i % p->n_tap]};
	p->tap->uplink = p->uplink;
	return 0;
}

int pump_new(struct worker_pool *pool, unsigned int n_tap, const int *tap_fd, struct pump **ret)
{
	struct pump *p = calloc(1, sizeof(*p) + n_tap * sizeof(p->tap_fd[0]));
	struct sw_view *view;

	if (!p || sw_init(&p->sw, pool) < 0) {
		free(p);
		return -ENOMEM;
	}
	p->n_tap = n_tap;
	memcpy(p->tap_fd, tap_fd, n_tap * sizeof(tap_fd[0]));
	if (new_function_port(p) < 0 || new_tap_port(p) < 0) {
		pump_free(p);
		return -ENOMEM;
	}
	view = sw_next_view(&p->sw);
	view->uplink = p->tap;
	view->n = 1;
	view->port[0] = p->function;
	sw_publish_view(&p->sw);
	*ret = p;
	return 0;
}

void pump_free(struct pump *p)
{
	if (!p)
		return;
	sw_port_free(p->function);
	sw_port_free(p->tap);
	free(p->uplink); /* the descriptors are the caller's */
	sw_fini(&p->sw);
	free(p);
}

struct sw_port *pump_port(struct pump *p)
{
	return p->function;
}

struct watch {
	struct uplink_queue *q;
	int r;
};

static void watch(struct worker *w, void *arg)
{
	struct watch *x = arg;

	x->r = worker_watch(w, x->q->fd, &x->q->source);
}

static void unwatch(struct worker *w, void *arg)
{
	const struct uplink_queue *q = arg;

	worker_unwatch(w, q->fd);
}

static struct worker *reader(const struct pump *p, unsigned int i)
{
	return p->sw.pool->worker[i % p->sw.workers];
}

int pump_start(struct pump *p, uint64_t features, uint32_t pairs)
{
	int r = tap_set_offload(p->tap_fd[0], features);

	if (!r)
		r = pump_set_pairs(p, pairs);
	/* Including those that are not in use: they are empty, and need no second look when that changes. */
	while (!r && p->n_watched < p->n_tap) {
		struct watch x = {.q = &p->uplink->queue[p->n_watched]};

		worker_run(reader(p, p->n_watched), watch, &x);
		r = x.r;
		p->n_watched += !r;
	}
	if (r < 0)
		pump_stop(p);
	return r;
}

int pump_set_pairs(struct pump *p, uint32_t pairs)
{
	return tap_set_queues(p->tap_fd, p->n_tap, pairs);
}

void pump_stop(struct pump *p)
{
	while (p->n_watched) {
		p->n_watched--;
		worker_run(reader(p, p->n_watched), unwatch, &p->uplink->queue[p->n_watched]);
	}
}
