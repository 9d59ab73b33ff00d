/* SPDX-License-Identifier: Apache-2.0 */

#include "port.h"

#include <err.h>
#include <stdlib.h>

#define RX 0
#define TX 1

size_t port_memory(const struct port_options *o)
{
	return 2 * ((size_t)o->ring * 32 + 3 * 4096) + (size_t)o->buf_room * (o->ring + o->tx_bufs) + 4096;
}

void port_open(struct port *p, const char *socket, struct memory *m, const struct port_options *o)
{
	uint64_t always = VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF);

	p->memory = m;
	p->buf_room = o->buf_room;
	front_connect(&p->front, socket, always | o->features | o->required, always | o->required);
	ring_init(&p->rx, m, o->ring);
	ring_init(&p->tx, m, o->ring);
	p->bufs = memory_take(m, (size_t)o->buf_room * (o->ring + o->tx_bufs), 4096);
	p->n_free = 0;
	p->free = calloc(o->ring + o->tx_bufs, sizeof(*p->free));
	if (!p->free)
		err(1, "port");
	while (p->n_free < o->ring + o->tx_bufs) {
		p->free[p->n_free] = (uint16_t)p->n_free;
		p->n_free++;
	}
	front_share(&p->front, m);
	front_start_ring(&p->front, RX, &p->rx);
	front_start_ring(&p->front, TX, &p->tx);
	front_enable_ring(&p->front, RX);
	front_enable_ring(&p->front, TX);
	port_turn(p);
}

void port_close(struct port *p)
{
	front_close(&p->front);
	ring_done(&p->rx);
	ring_done(&p->tx);
	free(p->free);
}

static void reclaim(struct port *p)
{
	uint32_t len;

	for (uint16_t n = ring_used(&p->tx); n; n--)
		p->free[p->n_free++] = ring_take(&p->tx, &len);
}

static void refill(struct port *p)
{
	while (p->rx.n_free && p->n_free) {
		uint16_t buf = p->free[--p->n_free];

		ring_add(&p->rx, memory_gpa(p->memory, port_buf(p, buf)), p->buf_room, VRING_DESC_F_WRITE,
			 buf);
	}
	ring_publish(&p->rx);
}

void port_turn_lazily(struct port *p)
{
	if (p->tx.n_free < p->tx.size / 2)
		reclaim(p);
	if (p->rx.n_free >= PORT_BURST)
		refill(p);
	ring_publish(&p->tx);
}

void port_turn(struct port *p)
{
	reclaim(p);
	refill(p);
	ring_publish(&p->tx);
}
