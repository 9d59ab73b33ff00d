/* SPDX-License-Identifier: Apache-2.0 */

#include "vguest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#define WAIT_MS 20000

static void add_rx(struct vguest *g, unsigned int pair, uint64_t *token)
{
	struct vdriver_buf parts[64];
	unsigned int n = MAX(g->o.rx_parts, 1u);
	uint32_t each = g->o.rx_len / n;

	assert_true(n <= ARRAY_SIZE(parts));
	for (unsigned int i = 0; i < n; i++)
		parts[i] = (struct vdriver_buf){*token + i * each, i + 1 < n ? each : g->o.rx_len - i * each,
						true};
	assert_int_equal(vdriver_add(&g->rx[pair], parts, n, g->o.layout, token), 0);
}

void vguest_queue_start(struct vguest *g, unsigned int index)
{
	/* Not from the driver again, which may be at work in another thread. */
	struct vhost_queue *q = &g->queue[index];

	q->avail_idx = q->used_idx = g->resume[index];
	assert_int_equal(port_queue_start(g->port, q), 0);
	g->started[index] = true;
}

void vguest_queue_stop(struct vguest *g, unsigned int index)
{
	const struct vdriver *d = index % 2 ? &g->tx[index / 2] : &g->rx[index / 2];
	uint16_t avail, used;

	port_queue_stop(g->port, index, &avail, &used);
	g->started[index] = false;
	g->resume[index] = used;
	assert_int_equal(avail, used); /* nothing is left half-way */
	if (!d->packed)
		assert_int_equal(used, __atomic_load_n(&d->used->idx, __ATOMIC_ACQUIRE));
}

void vguest_start(struct vguest *g, struct builtin_port *fp, const struct vguest_options *o)
{
	uint64_t ring = 70000;

	memset(g, 0, sizeof(*g));
	g->o = *o;
	if (!o->old_header)
		g->o.features |= VIRTIO_BIT(VIRTIO_F_VERSION_1);
	g->hdr_len = !o->old_header || virtio_has(o->features, VIRTIO_NET_F_MRG_RXBUF) ? 12 : 10;
	g->fp = fp;
	g->port = fp->port;
	if (!g->o.rx_buffers)
		g->o.rx_buffers = o->layout == VDRIVER_DIRECT  ? o->size / MAX(o->rx_parts, 1u)
				  : o->layout == VDRIVER_MIXED ? o->size / 2
							       : o->size;
	vmem_init(&g->vm, o->pairs * ((uint64_t)g->o.rx_buffers * (o->rx_len + 64) + VGUEST_TX_SLOTS * ring +
				      4ull * 65536 + 16ull * o->size * 80) +
				  (o->layout == VDRIVER_DIRECT ? 1u << 20 : 16u << 20));
	for (unsigned int i = 0; i < o->pairs; i++) {
		uint16_t base = virtio_has(g->o.features, VIRTIO_F_RING_PACKED) ? 0x8000 : 65530;

		vdriver_init(&g->rx[i], &g->vm, o->size, g->o.features, base);
		vdriver_init(&g->tx[i], &g->vm, o->size, g->o.features, base);
		for (unsigned int k = 0; k < VGUEST_TX_SLOTS; k++)
			g->tx_gpa[i][k] = vmem_alloc(&g->vm, ring, 64);
		for (unsigned int k = 0; k < g->o.rx_buffers; k++) {
			g->rx_gpa[i][k] = vmem_alloc(&g->vm, o->rx_len, 4);
			add_rx(g, i, &g->rx_gpa[i][k]);
		}
		g->resume[2 * i] = g->resume[2 * i + 1] = base;
		g->queue[2 * i] = vdriver_queue(&g->rx[i], 2 * i);
		g->queue[2 * i + 1] = vdriver_queue(&g->tx[i], 2 * i + 1);
		vguest_queue_start(g, 2 * i);
		vguest_queue_start(g, 2 * i + 1);
	}
}

void vguest_queue_anew(struct vguest *g, unsigned int index)
{
	struct vdriver *d = index % 2 ? &g->tx[index / 2] : &g->rx[index / 2];
	uint16_t base = g->queue[index].packed ? 0x8000 : 0;

	if (g->started[index])
		vguest_queue_stop(g, index);
	vdriver_done(d);
	vdriver_init(d, &g->vm, g->o.size, g->o.features, base);
	g->queue[index] = vdriver_queue(d, index);
	g->resume[index] = base;
	vguest_queue_start(g, index);
}

void vguest_stop(struct vguest *g)
{
	if (!g->port)
		return;
	for (unsigned int i = 0; i < 2 * g->o.pairs; i++)
		if (g->started[i])
			vguest_queue_stop(g, i);
	for (unsigned int i = 0; i < g->o.pairs; i++) {
		vdriver_done(&g->rx[i]);
		vdriver_done(&g->tx[i]);
	}
	vmem_done(&g->vm);
	g->port = NULL;
}

static void reap(struct vguest *g, unsigned int pair)
{
	uint64_t *token;
	uint32_t len;

	while ((token = vdriver_get(&g->tx[pair], &len))) {
		assert_int_equal(len, 0);
		g->tx_busy[pair][token - g->tx_gpa[pair]] = false;
	}
}

bool vguest_try_send(struct vguest *g, unsigned int pair, const struct virtio_net_hdr *hdr, const void *data,
		     uint32_t len)
{
	struct virtio_net_hdr_mrg_rxbuf h = {0};
	struct vdriver_buf parts[VDRIVER_MAX_SIZE];
	uint32_t total = g->hdr_len + len, each = g->o.tx_part ? g->o.tx_part : total;
	unsigned int slot = 0, n = 0;
	uint64_t gpa;

	reap(g, pair);
	while (slot < VGUEST_TX_SLOTS && g->tx_busy[pair][slot])
		slot++;
	if (slot == VGUEST_TX_SLOTS)
		return false;
	gpa = g->tx_gpa[pair][slot];
	if (hdr)
		h.hdr = *hdr;
	vmem_write(&g->vm, gpa, &h, g->hdr_len);
	vmem_write(&g->vm, gpa + g->hdr_len, data, len);
	for (uint32_t at = 0; at < total; at += each, n++) {
		assert_true(n < ARRAY_SIZE(parts));
		parts[n] = (struct vdriver_buf){gpa + at, MIN(each, total - at), false};
	}
	if (vdriver_add(&g->tx[pair], parts, n, g->o.layout, &g->tx_gpa[pair][slot]) < 0)
		return false;
	g->tx_busy[pair][slot] = true;
	if (vdriver_should_kick(&g->tx[pair]))
		vdriver_kick(&g->tx[pair]);
	return true;
}

/* Waits until the worker gave something back. */
static void wait_used(struct vdriver *d)
{
	while (!vdriver_has_used(d)) {
		if (vdriver_call_enable(d, 0))
			break;
		if (!vdriver_wait_call(d, WAIT_MS) && !vdriver_has_used(d))
			fail_msg("the device gives nothing back");
	}
	vdriver_call_disable(d);
}

void vguest_send(struct vguest *g, unsigned int pair, const struct virtio_net_hdr *hdr, const void *data,
		 uint32_t len)
{
	while (!vguest_try_send(g, pair, hdr, data, len))
		wait_used(&g->tx[pair]);
}

void vguest_flush(struct vguest *g, unsigned int pair)
{
	for (;;) {
		reap(g, pair);
		if (!g->tx[pair].outstanding)
			return;
		wait_used(&g->tx[pair]);
	}
}

static void read_buffer(struct vguest *g, uint64_t gpa, uint32_t written, struct vguest_frame *f, bool first)
{
	uint32_t skip = first ? g->hdr_len : 0;

	assert_true(written >= skip);
	assert_true(f->len + written - skip <= sizeof(f->data));
	if (first)
		vmem_read(&g->vm, gpa, &f->hdr, skip);
	vmem_read(&g->vm, gpa + skip, f->data + f->len, written - skip);
	f->len += written - skip;
}

bool vguest_recv(struct vguest *g, unsigned int pair, struct vguest_frame *f)
{
	struct vdriver *d = &g->rx[pair];
	unsigned int n = 1;
	uint64_t *token;
	uint32_t written;

	f->len = 0;
	memset(&f->hdr, 0, sizeof(f->hdr));
	for (unsigned int i = 0; i < n; i++) {
		token = vdriver_get(d, &written);
		if (!token && !i)
			return false;
		assert_non_null(token); /* the buffers of a frame come at once */
		assert_true(written <= g->o.rx_len);
		if (g->hdr_len == 10 && !i)
			f->hdr.num_buffers = 1;
		read_buffer(g, *token, written, f, !i);
		if (!i) {
			n = f->hdr.num_buffers;
			assert_true(n >= 1);
			if (!virtio_has(g->o.features, VIRTIO_NET_F_MRG_RXBUF))
				assert_int_equal(n, 1);
		}
		if (i + 1 < n)
			assert_int_equal(written, g->o.rx_len); /* full, but for the last */
		if (!g->o.no_refill)
			add_rx(g, pair, token);
	}
	return true;
}

bool vguest_wait(struct vguest *g, unsigned int pair, struct vguest_frame *f, int ms)
{
	struct vdriver *d = &g->rx[pair];

	while (!vdriver_has_used(d) && !vdriver_call_enable(d, 0))
		if (!vdriver_wait_call(d, ms))
			break;
	vdriver_call_disable(d);
	return vguest_recv(g, pair, f);
}

struct port_stats vguest_stats(const struct vguest *g)
{
	struct port_stats s;

	port_get_stats(g->port, &s);
	return s;
}
