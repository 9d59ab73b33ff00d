/* SPDX-License-Identifier: Apache-2.0 */

#include "dataplane/function.h"

#include <stdio.h>
#include <string.h>

#include "dataplane/list_check.h"
#include "switch/control_box.h"
#include "switch/worker.h"
#include "util/log.h"
#include "vhost/ring_record.h"
#include "vhost/virtio.h"

_Static_assert(VPF_MAX_QUEUE_PAIRS <= VHOST_USER_MAX_QUEUE_PAIRS,
	       "a connection can have all queue pairs that settings allow");

/* An offer in the terms of a front-end. */
static uint64_t features_of(const struct function_offer *offer, unsigned int queue_pairs)
{
	uint64_t features = offer->list ? offer->list : dataplane_least_features(queue_pairs);

	return offer->pf ? features & offer->pf : features;
}

static struct log_scope scope_of(const struct function *f)
{
	return (struct log_scope){
		.fabric = f->port->fabric->settings.name,
		.pf = f->pf,
		.vf = f->fn == VPF_FUNCTION_PF ? LOG_VF_PF : (int)f->fn - 1,
	};
}

static void on_connected(void *ctx, pid_t peer)
{
	struct function *f = ctx;

	(void)peer;
	if (f->events->function_connected)
		f->events->function_connected(f->ctx, f->pf, f->fn, true, NULL);
}

static void on_disconnected(void *ctx, const char *why)
{
	struct function *f = ctx;

	if (f->events->function_connected)
		f->events->function_connected(f->ctx, f->pf, f->fn, false, why);
}

static int on_queue_start(void *ctx, const struct vhost_queue *q)
{
	struct function *f = ctx;
	int r = binding_queue_start(f->binding, q);

	if (r < 0)
		return r;
	/* A driver that starts has a ring from which nothing was taken. */
	if (!f->started)
		f->place.resumed = false;
	f->place.resumed |= (q->packed ? q->avail_idx & 0x7fff : q->avail_idx) != 0;
	if (f->started++ == 0 && f->events->function_started)
		f->events->function_started(f->ctx, f->pf, f->fn, true);
	return 0;
}

static void on_queue_stop(void *ctx, unsigned int index, uint16_t *ret_avail_idx, uint16_t *ret_used_idx)
{
	struct function *f = ctx;

	f->broken &= ~(1u << index);
	binding_queue_stop(f->binding, index, ret_avail_idx, ret_used_idx);
	if (--f->started == 0 && f->events->function_started)
		f->events->function_started(f->ctx, f->pf, f->fn, false);
}

static bool on_quiesce(void *ctx, int index)
{
	struct function *f = ctx;

	return binding_quiesce(f->binding, index);
}

static void on_queue_enable(void *ctx, unsigned int index, bool enable)
{
	struct function *f = ctx;

	binding_queue_enable(f->binding, index, enable);
}

static void on_queue_call(void *ctx, unsigned int index, int callfd)
{
	struct function *f = ctx;

	binding_queue_call(f->binding, index, callfd);
}

static void on_set_mtu(void *ctx, uint16_t mtu)
{
	struct function *f = ctx;
	struct log_scope scope = scope_of(f);

	if (mtu > f->port->settings.mtu)
		log_write(LOG_LVL_WARNING, &scope,
			  "the front-end wants MTU %u, the function has %u: longer packets are dropped", mtu,
			  f->port->settings.mtu);
}

/* The front-end wants the switches to learn where its guest is now: it was migrated. */
static void on_send_rarp(void *ctx, const uint8_t mac[6])
{
	const struct function *f = ctx;

	fabric_port_announce(f->port, mac);
}

static void on_event(void *ctx, int level, const char *text)
{
	struct log_scope scope = scope_of(ctx);

	log_write((enum log_level)level, &scope, "%s", text);
}

static const struct vhost_user_ops vu_ops = {
	.connected = on_connected,
	.disconnected = on_disconnected,
	.queue_start = on_queue_start,
	.queue_stop = on_queue_stop,
	.quiesce = on_quiesce,
	.queue_enable = on_queue_enable,
	.queue_call = on_queue_call,
	.set_mtu = on_set_mtu,
	.send_rarp = on_send_rarp,
	.event = on_event,
};

/* Whether it leads to the function's fabric, as opposed to another switch. */
static bool on_fabric(const struct function *f, const struct datapath_pref *pref)
{
	return datapath_attach_kind(pref, &f->port->fabric->settings) != ATTACH_NONE;
}

/* Whether the network may have learned another place of the function. `again`: the switch that it is on may have
 * forgotten it: its back-end died, and came back. */
static bool is_elsewhere(const struct function *f, const struct datapath_pref *to, bool again)
{
	if (!f->place.known)
		return f->place.resumed; /* by another vpfd */
	if (on_fabric(f, to))
		return !on_fabric(f, &f->place.pref);
	return again || !datapath_pref_equal(&f->place.pref, to);
}

/* The network has learned the function's addresses where it was served before, and frames for them would go
 * there until its guest happens to send. That is so after a pause of the VM or of the link, too. */
static void take_place(struct function *f, const struct datapath_pref *to, bool again)
{
	bool moved = is_elsewhere(f, to, again), guest;

	f->place.known = true;
	f->place.pref = *to;
	if (!moved)
		return;
	/* The guest knows best which VLANs of a trunk are in use. */
	guest = f->port->settings.vlan.mode == VLAN_TRUNK;
	if (on_fabric(f, to))
		fabric_port_announce(f->port, NULL);
	else if (!binding_announces(f->binding))
		guest = true;
	if (guest && f->events->announce_wanted)
		f->events->announce_wanted(f->ctx, f->pf, f->fn);
}

static void on_changed(void *ctx, const struct datapath_pref *from, const struct datapath_pref *to,
		       uint64_t gap_us, const char *why)
{
	struct function *f = ctx;

	if (f->events->datapath_changed)
		f->events->datapath_changed(f->ctx, f->pf, f->fn, from, to, gap_us, why);
	if (to)
		take_place(f, to, from != NULL);
}

/* The switch that has the function's addresses must be set before the first frame passes. */
static void on_starting(void *ctx, const struct datapath_pref *pref)
{
	struct function *f = ctx;

	fabric_port_elsewhere(f->port, !on_fabric(f, pref));
}

static void on_failed(void *ctx, const struct datapath_pref *pref, const char *why)
{
	struct function *f = ctx;

	if (f->events->datapath_failed)
		f->events->datapath_failed(f->ctx, f->pf, f->fn, pref, why);
}

static void on_usable(void *ctx, bool usable)
{
	struct function *f = ctx;

	f->unusable = !usable;
	if (f->port->link_up && f->events->link_changed)
		f->events->link_changed(f->ctx, f->pf, f->fn, usable);
}

static void stop_broken(struct function *f)
{
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES && f->broken; i++) {
		if (!(f->broken >> i & 1))
			continue;
		f->broken &= ~(1u << i);
		vhost_user_queue_failed(f->vu, i, f->broken_why);
	}
}

static void on_ring_error(void *ctx, unsigned int queue, const char *why)
{
	struct function *f = ctx;

	if (f->events->ring_error)
		f->events->ring_error(f->ctx, f->pf, f->fn, queue, why);
	f->broken |= 1u << queue;
	snprintf(f->broken_why, sizeof(f->broken_why), "%s", why);
	/* The others on the same datapath must not be taken from it by force. */
	if (binding_quiesce(f->binding, (int)queue))
		stop_broken(f);
}

static void on_doorbell(void *ctx, unsigned int queue, int fd, uint64_t offset, uint64_t size)
{
	struct function *f = ctx;
	struct log_scope scope = scope_of(f);
	int r = vhost_user_set_host_notifier(f->vu, queue, fd, offset, size);

	/* A front-end that does not support doorbells keeps kicking by descriptor. */
	if (r < 0 && fd >= 0)
		log_write(LOG_LVL_DEBUG, &scope, "queue %u keeps its kick descriptor: %s", queue,
			  strerror(-r));
}

static void on_quiesced(void *ctx)
{
	struct function *f = ctx;

	stop_broken(f);
	vhost_user_resume(f->vu);
}

static const struct binding_events binding_events = {
	.changed = on_changed,
	.starting = on_starting,
	.failed = on_failed,
	.usable = on_usable,
	.ring_error = on_ring_error,
	.doorbell = on_doorbell,
	.quiesced = on_quiesced,
};

static int new_binding(struct function *f, const struct function_config *config)
{
	const struct function_settings *s = config->settings;
	struct datapath_open open = {
		.event = config->event,
		.pf = f->pf,
		.fn = f->fn,
		.pool = config->pool,
		.control = f->control,
		.queue_pairs = f->queue_pairs,
		.mtu = s->mtu,
	};
	int r;

	memcpy(open.mac, s->mac, sizeof(open.mac));
	r = binding_new(&open, f->port, &s->datapaths, s->failback, &binding_events, f, &f->binding);
	if (r < 0)
		return r;
	binding_set(f->binding, s, NULL);
	return 0;
}

int function_new(const struct function_config *config, struct function **ret, struct err *err)
{
	struct vhost_user_config socket = config->socket;
	struct fabric *fabric = config->fabric;
	struct function *f = calloc(1, sizeof(*f));
	int r = 0;

	if (!f)
		return err_set(err, ENOMEM, NULL, "not enough memory for a function");
	snprintf(f->pf, sizeof(f->pf), "%s", config->pf->name);
	f->fn = config->fn;
	f->events = config->events;
	f->ctx = config->ctx;
	f->queue_pairs = config->pf->queue_pairs;
	f->path = strdup(socket.path);
	if (!f->path)
		r = -ENOMEM;
	if (!r && f->fn == VPF_FUNCTION_PF)
		r = control_box_new(config->pool, &f->control);
	if (r < 0) {
		err_set(err, -r, NULL, "not enough memory for a function");
		goto fail;
	}
	r = fabric_port_add(fabric, f->pf, f->fn, config->settings, &config->pf->policy, config->counters,
			    &f->port);
	if (r < 0) {
		err_set(err, -r, NULL, "cannot add a port to fabric %s: %s", fabric->settings.name,
			strerror(-r));
		goto fail;
	}
	r = new_binding(f, config);
	if (r < 0) {
		err_set(err, -r, NULL, "cannot create a function: %s", strerror(-r));
		goto fail;
	}
	socket.ops = &vu_ops;
	socket.ctx = f;
	socket.features = features_of(config->offer, f->queue_pairs);
	socket.queue_pairs = f->queue_pairs;
	r = vhost_user_new(config->event, &socket, &f->vu, err);
	if (r < 0)
		goto fail;
	*ret = f;
	return 0;
fail:
	function_free(f);
	return r;
}

/* The rest of a change, once the fabric has made its part. */
struct function_change {
	struct function_change *next;
	struct function *f;
	struct function_settings settings;
	struct function_offer offer;
	struct answer answer;
};

static void carry_out(struct function *f, const struct function_settings *s,
		      const struct function_offer *offer)
{
	vhost_user_set_features(f->vu, features_of(offer, f->queue_pairs));
	binding_set(f->binding, s, f->port->filter);
	binding_set_list(f->binding, &s->datapaths, s->failback);
}

static void free_change(struct function_change *c)
{
	struct function_change **at = &c->f->changes;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	free(c);
}

static void on_port_set(void *ctx, int r, const struct err *err)
{
	struct function_change *c = ctx;
	struct answer answer = c->answer;

	if (r >= 0)
		carry_out(c->f, &c->settings, &c->offer);
	free_change(c);
	answer_give(&answer, r, err);
}

int function_set(struct function *f, const struct pf_policy *policy, const struct function_settings *s,
		 const struct function_offer *offer, const struct answer *answer, struct err *err)
{
	struct function_change *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_set(err, ENOMEM, NULL, "not enough memory for a change");
	*c = (struct function_change){
		.next = f->changes, .f = f, .settings = *s, .offer = *offer, .answer = *answer};
	f->changes = c;
	r = fabric_port_set(f->port, s, policy, &(struct answer){on_port_set, c}, err);
	if (r == ANSWER_LATER)
		return r;
	if (r >= 0)
		carry_out(f, s, offer);
	free_change(c);
	return r;
}

void function_free(struct function *f)
{
	if (!f)
		return;
	vhost_user_free(f->vu);
	binding_free(f->binding);
	fabric_port_free(f->port);
	control_box_free(f->control);
	while (f->changes)
		free_change(f->changes);
	free(f->path);
	free(f);
}

void function_filter(struct function *f, const struct rx_filter *filter)
{
	fabric_port_filter(f->port, filter);
	binding_set(f->binding, &f->port->settings, filter);
}

void function_forget(struct function *f)
{
	ring_record_remove(f->path);
}

void function_check_memory(struct function *f)
{
	vhost_user_check_memory(f->vu);
}
