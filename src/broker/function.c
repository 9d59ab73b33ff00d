/* SPDX-License-Identifier: Apache-2.0 */

#include "broker/function.h"

#include <stdio.h>
#include <string.h>

#include "datapath/worker.h"
#include "fabric/builtin.h"
#include "util/log.h"
#include "vhost/ring_record.h"

uint64_t function_features(unsigned int queue_pairs)
{
	static const unsigned char bits[] = {
		VIRTIO_F_VERSION_1,
		VIRTIO_F_RING_PACKED,
		VIRTIO_F_IN_ORDER,
		VIRTIO_F_ANY_LAYOUT,
		VIRTIO_RING_F_INDIRECT_DESC,
		VIRTIO_RING_F_EVENT_IDX,
		VIRTIO_NET_F_CSUM,
		VIRTIO_NET_F_GUEST_CSUM,
		VIRTIO_NET_F_HOST_TSO4,
		VIRTIO_NET_F_HOST_TSO6,
		VIRTIO_NET_F_HOST_ECN,
		VIRTIO_NET_F_HOST_USO,
		VIRTIO_NET_F_GUEST_TSO4,
		VIRTIO_NET_F_GUEST_TSO6,
		VIRTIO_NET_F_GUEST_ECN,
		VIRTIO_NET_F_GUEST_USO4,
		VIRTIO_NET_F_GUEST_USO6,
		VIRTIO_NET_F_MRG_RXBUF,
		VIRTIO_NET_F_MTU,
		/* QEMU's own; a front-end without a device model of its own, as DPDK's, wants to see them
		   offered. */
		VIRTIO_NET_F_STATUS,
		VIRTIO_NET_F_CTRL_VQ,
		VIRTIO_NET_F_CTRL_RX,
		VIRTIO_NET_F_CTRL_MAC_ADDR,
		VIRTIO_NET_F_GUEST_ANNOUNCE,
	};
	uint64_t features = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(bits); i++)
		features |= VIRTIO_BIT(bits[i]);
	if (queue_pairs > 1)
		features |= VIRTIO_BIT(VIRTIO_NET_F_MQ);
	return features;
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

static int open_port(struct function *f)
{
	struct log_scope scope = scope_of(f);
	struct err err;
	int r = f->port->fabric->ops->port_open(f->port, f->queue_pairs, &f->attach, &err);

	if (!r && !f->attach.sw_port) {
		f->port->fabric->ops->port_close(f->port);
		r = err_set(&err, EOPNOTSUPP, NULL, "nothing here serves rings on a fabric of this type");
	}
	if (r < 0)
		log_write(LOG_LVL_ERR, &scope, "%s", err.text);
	return r;
}

/* Unless queues are started. */
static void close_port(struct function *f)
{
	if (f->started || !f->attach.sw_port)
		return;
	f->port->fabric->ops->port_close(f->port);
	f->attach = (struct fabric_attach){0};
}

static int on_queue_start(void *ctx, const struct vhost_queue *q)
{
	struct function *f = ctx;
	int r = 0;

	if (!f->started)
		r = open_port(f);
	if (!r)
		r = port_queue_start(f->attach.sw_port, q);
	if (r < 0) {
		close_port(f);
		return r;
	}
	if (f->started++ == 0 && f->events->function_started)
		f->events->function_started(f->ctx, f->pf, f->fn, true);
	return 0;
}

static void on_queue_stop(void *ctx, unsigned int index, uint16_t *ret_avail_idx, uint16_t *ret_used_idx)
{
	struct function *f = ctx;

	port_queue_stop(f->attach.sw_port, index, ret_avail_idx, ret_used_idx);
	if (--f->started)
		return;
	close_port(f);
	if (f->events->function_started)
		f->events->function_started(f->ctx, f->pf, f->fn, false);
}

static void on_queue_enable(void *ctx, unsigned int index, bool enable)
{
	struct function *f = ctx;

	if (f->attach.sw_port)
		port_queue_enable(f->attach.sw_port, index, enable);
}

static void on_queue_call(void *ctx, unsigned int index, int callfd)
{
	struct function *f = ctx;

	if (f->attach.sw_port)
		port_queue_call(f->attach.sw_port, index, callfd);
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

struct rarp {
	struct function *f;
	uint8_t frame[60];
};

static void send_rarp(struct worker *w, void *arg)
{
	struct rarp *r = arg;
	struct sw_port *port = r->f->attach.sw_port;
	struct vring_seg seg;
	struct pkt *p = &w->pkts[0];

	p->hdr = (struct virtio_net_hdr){0};
	pkt_from_buffer(p, &seg, r->frame, sizeof(r->frame));
	sw_forward(w, port, rcu_load(port->conf), p, 1);
	worker_flush_calls(w);
}

/* RFC 903 request, as QEMU itself sends for other back-ends: switches learn where the guest is now. */
static void on_send_rarp(void *ctx, const uint8_t mac[6])
{
	struct rarp r = {.f = ctx};
	struct function *f = ctx;
	static const uint8_t fixed[] = {0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3};

	if (!f->attach.sw_port)
		return;
	memset(r.frame, 0xff, 6);
	memcpy(r.frame + 6, mac, 6);
	memcpy(r.frame + 12, fixed, sizeof(fixed));
	memcpy(r.frame + 22, mac, 6);
	memcpy(r.frame + 32, mac, 6);
	worker_run(worker_pool_pick(f->attach.sw_port->sw->pool), send_rarp, &r);
}

struct control_frame {
	struct sw_port *port;
	uint8_t *data;
	uint32_t len;
	int result;
};

static void send_control(struct worker *w, void *arg)
{
	struct control_frame *c = arg;
	struct vring_seg seg;
	struct pkt *p = &w->pkts[0];

	p->hdr = (struct virtio_net_hdr){0};
	p->vlan = 0;
	pkt_from_buffer(p, &seg, c->data, c->len);
	c->result = port_deliver_control(w, c->port, p);
	worker_flush_calls(w);
}

int function_send_control(struct function *f, const uint8_t *frame, size_t len)
{
	uint8_t data[DATAPLANE_CONTROL_LEN];
	struct control_frame c = {.port = f->attach.sw_port, .data = data, .len = (uint32_t)len};

	if (len < PKT_ETH_LEN || len > sizeof(data))
		return -EINVAL;
	memcpy(data, frame, len);
	/* A queue that is not there needs no worker to find out. */
	if (!c.port || !c.port->rx)
		return -ENOTCONN;
	worker_run(worker_pool_pick(c.port->sw->pool), send_control, &c);
	return c.result;
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
	.queue_enable = on_queue_enable,
	.queue_call = on_queue_call,
	.set_mtu = on_set_mtu,
	.send_rarp = on_send_rarp,
	.event = on_event,
};

int function_new(sd_event *event, struct fabric *fabric, const struct pf_settings *pf, unsigned int fn,
		 const struct function_settings *s, struct counter_file *counters,
		 const struct vhost_user_config *socket, const struct dataplane_events *events, void *ctx,
		 struct function **ret, struct err *err)
{
	struct vhost_user_config config = *socket;
	struct function *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return err_set(err, ENOMEM, NULL, "not enough memory for a function");
	snprintf(f->pf, sizeof(f->pf), "%s", pf->name);
	f->path = strdup(socket->path);
	if (!f->path) {
		free(f);
		return err_set(err, ENOMEM, NULL, "not enough memory for a function");
	}
	f->fn = fn;
	f->events = events;
	f->ctx = ctx;
	f->queue_pairs = pf->queue_pairs;
	r = fabric->ops->port_add(fabric, f->pf, fn, s, &pf->policy, counters, &f->port);
	if (r < 0) {
		err_set(err, -r, NULL, "cannot add a port to fabric %s: %s", fabric->settings.name,
			strerror(-r));
		free(f->path);
		free(f);
		return r;
	}
	config.ops = &vu_ops;
	config.ctx = f;
	config.features = function_features(pf->queue_pairs);
	config.queue_pairs = pf->queue_pairs;
	r = vhost_user_new(event, &config, &f->vu, err);
	if (r < 0) {
		fabric->ops->port_free(f->port);
		free(f->path);
		free(f);
		return r;
	}
	*ret = f;
	return 0;
}

void function_free(struct function *f)
{
	if (!f)
		return;
	vhost_user_free(f->vu);
	f->port->fabric->ops->port_free(f->port);
	free(f->path);
	free(f);
}

void function_forget(struct function *f)
{
	ring_record_remove(f->path);
}

void function_check_rings(struct function *f)
{
	struct sw_port *port = f->attach.sw_port;

	/* What is wrong with a ring that reads as zeros is not the ring. */
	if (vhost_user_check_memory(f->vu))
		return;
	if (!port)
		return;
	for (unsigned int i = 0; i < VHOST_USER_MAX_QUEUES; i++) {
		struct sw_queue *q = port->queue[i];
		const char *why = q ? __atomic_load_n(&q->vr.broken, __ATOMIC_ACQUIRE) : NULL;

		if (!why)
			continue;
		port->stats[0].ring_errors++; /* the queue's worker is out of it; see port_get_stats() */
		if (f->events->ring_error)
			f->events->ring_error(f->ctx, f->pf, f->fn, i, why);
		vhost_user_queue_failed(f->vu, i, why); /* stops it: queue[i] is NULL after */
	}
}
