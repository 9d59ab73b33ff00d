/* SPDX-License-Identifier: Apache-2.0 */

/* What both kinds of uplink share: receiving into the switch and sending from it. */

#include "switch/uplink.h"

#include <limits.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "switch/offload.h"
#include "switch/switch.h"
#include "switch/uplink_open.h"

#define UPLINK_BUDGET 64 /* frames per visit */

/* What the kernel accepts and produces; USO since Linux 6.2. */
static uint64_t kernel_features(const struct uplink *up)
{
	return VIRTIO_NET_OFFLOADS | (up->uso ? VIRTIO_NET_OFFLOADS_USO : 0);
}

struct send_ctx {
	const struct uplink *up;
	int fd;
	struct port_stats *stats;
};

static void send_one(void *arg, struct pkt *p)
{
	struct send_ctx *ctx = arg;
	/* Packet sockets and taps are both opened with the header of 12 or 10 bytes that uplink_hdr_len()
	 * says. */
	struct virtio_net_hdr_mrg_rxbuf hdr = {0};
	struct iovec iov[IOV_MAX];
	uint8_t tag[PKT_TAG_LEN];
	unsigned int n = 0, tag_len = p->vlan ? PKT_TAG_LEN : 0;

	if (p->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM || p->hdr.gso_type) {
		hdr.hdr = p->hdr;
		hdr.hdr.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
		hdr.hdr.csum_start = (uint16_t)(hdr.hdr.csum_start + tag_len);
		if (hdr.hdr.gso_type)
			hdr.hdr.hdr_len = (uint16_t)(hdr.hdr.hdr_len + tag_len);
	}
	iov[n++] = (struct iovec){&hdr, uplink_hdr_len(ctx->up)};
	iov[n++] = (struct iovec){p->head, 12};
	if (tag_len) {
		pkt_put_tag(p, tag);
		iov[n++] = (struct iovec){tag, tag_len};
	}
	iov[n++] = (struct iovec){p->head + 12, p->head_len - 12u};
	if (p->nseg > IOV_MAX - n) {
		ctx->stats->rx_drop[DROP_TOO_BIG]++;
		return;
	}
	for (unsigned int i = 0; i < p->nseg; i++)
		iov[n++] = (struct iovec){p->seg[i].base, p->seg[i].len};
	if (writev(ctx->fd, iov, (int)n) < 0) {
		ctx->stats->rx_drop[DROP_UPLINK]++;
		return;
	}
	ctx->stats->rx_packets++;
	ctx->stats->rx_bytes += p->len + tag_len;
	port_count_group(ctx->stats, p);
}

void uplink_transmit(struct worker *w, struct sw_port *port, struct pkt *p, unsigned int n)
{
	const struct uplink *up = rcu_load(port->uplink);
	struct send_ctx ctx = {.up = up, .stats = &port->stats[w->id]};
	uint64_t features;

	if (unlikely(!up)) {
		ctx.stats->rx_drop[DROP_UPLINK] += n;
		return;
	}
	ctx.fd = up->queue[w->id].fd;
	features = kernel_features(up);
	for (; n; n--, p = p->next) {
		if (likely(offload_taken(p, features))) {
			send_one(&ctx, p);
			continue;
		}
		ctx.stats->sw_segmented++;
		offload_finish(p, features, &w->offload, send_one, &ctx);
	}
}

/* Frames of a packet socket come without their outer tag: puts it back. */
static void take_auxdata(struct msghdr *msg, struct pkt *p)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		struct tpacket_auxdata aux;

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA ||
		    c->cmsg_len < CMSG_LEN(sizeof(aux)))
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		if (!(aux.tp_status & TP_STATUS_VLAN_VALID) || p->len + PKT_TAG_LEN > PKT_MAX_LEN)
			continue;
		/* Back into the bytes: the switch then treats both kinds of uplink alike. room[] has the
		 * headroom. */
		p->head -= PKT_TAG_LEN;
		memmove(p->head, p->head + PKT_TAG_LEN, 12);
		store_be16(p->head + 12, aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid
										   : (uint16_t)ETHER_TPID_Q);
		store_be16(p->head + 14, aux.tp_vlan_tci);
		p->head_len += PKT_TAG_LEN;
		p->len += PKT_TAG_LEN;
		if (p->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
			p->hdr.csum_start += PKT_TAG_LEN;
		if (p->hdr.gso_type)
			p->hdr.hdr_len += PKT_TAG_LEN;
	}
}

/* Receives a frame into w->uplink_buf: 1; 0 if there is none, -1 to skip it. */
static int receive(struct worker *w, struct uplink_queue *q, struct pkt *p, struct vring_seg *seg)
{
	unsigned int hdr_len = uplink_hdr_len(q->uplink);
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	} control;
	struct iovec iov = {w->uplink_buf, sizeof(w->uplink_buf)};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t n;

	n = q->uplink->type == UPLINK_TAP ? read(q->fd, w->uplink_buf, sizeof(w->uplink_buf))
					  : recvmsg(q->fd, &msg, MSG_DONTWAIT);
	if (n < 0)
		return 0;
	if ((size_t)n < hdr_len + PKT_ETH_LEN || (size_t)n > hdr_len + PKT_MAX_LEN ||
	    msg.msg_flags & MSG_TRUNC)
		return -1;
	memcpy(&p->hdr, w->uplink_buf, sizeof(p->hdr));
	pkt_from_buffer(p, seg, w->uplink_buf + hdr_len, (uint32_t)n - hdr_len);
	if (q->uplink->type == UPLINK_NETDEV)
		take_auxdata(&msg, p);
	return 1;
}

void uplink_poll(struct worker *w, struct uplink_queue *q)
{
	struct sw_port *port = q->uplink->port;
	uint64_t features = kernel_features(q->uplink);
	const struct port_conf *conf = rcu_load(port->conf);
	unsigned int packets = 0;

	for (unsigned int i = 0; i < UPLINK_BUDGET; i++) {
		struct pkt *p = &w->pkts[0];
		struct vring_seg seg;
		int r = receive(w, q, p, &seg);
		uint8_t valid;

		if (r == 0) {
			/* A tap that was deleted while in use stays readable forever: do not look again. */
			if (errno == EBADFD)
				worker_unwatch(w, q->fd);
			break;
		}
		packets++;
		if (r < 0) {
			port->stats[w->id].tx_drop[DROP_MALFORMED]++;
			continue;
		}
		valid = p->hdr.flags & VIRTIO_NET_HDR_F_DATA_VALID;
		if (!offload_check(p, features)) {
			port->stats[w->id].tx_drop[DROP_MALFORMED]++;
			continue;
		}
		p->hdr.flags |= valid;
		sw_forward(w, port, conf, p, 1);
	}
	__atomic_store_n(&w->packets, w->packets + packets, __ATOMIC_RELAXED);
}

static void start_queue(struct worker *w, void *arg)
{
	struct uplink *up = arg;

	/* If epoll refuses a descriptor, it is as if it never became readable; there is nothing else to
	 * do. */
	(void)worker_watch(w, up->queue[w->id].fd, &up->queue[w->id].source);
}

static void stop_queue(struct worker *w, void *arg)
{
	struct uplink *up = arg;

	worker_unwatch(w, up->queue[w->id].fd);
}

void uplink_start(struct uplink *up, struct worker_pool *pool)
{
	for (unsigned int i = 0; i < up->n; i++)
		worker_run(pool->worker[i], start_queue, up);
}

void uplink_stop(struct uplink *up, struct worker_pool *pool)
{
	for (unsigned int i = 0; i < up->n; i++)
		worker_run(pool->worker[i], stop_queue, up);
}

void uplink_close(struct uplink *up)
{
	if (!up)
		return;
	for (unsigned int i = 0; i < up->n; i++)
		close_fd(&up->queue[i].fd);
	free(up);
}
