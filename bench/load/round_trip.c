/* SPDX-License-Identifier: Apache-2.0 */

/* One 64-byte frame at a time, from port 0 to port 1 and back. This side polls, so it adds only some tens of
 * nanoseconds. With `idle_us` there is silence before each frame, and a switch that sleeps when idle is
 * asleep. */

#include <err.h>
#include <stdio.h>
#include <stdlib.h>

#include "frame.h"
#include "load.h"

#define LOST_NS 200000000u /* a frame that has not arrived by then is sent again */

struct samples {
	uint32_t *ns;
	uint32_t n;
};

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint32_t percentile(const struct samples *s, unsigned int permille)
{
	return s->ns[(uint64_t)(s->n - 1) * permille / 1000];
}

/* Drops what is waiting in the receive ring. */
static void drain(struct port *p)
{
	uint32_t len;

	for (uint16_t n = ring_used(&p->rx); n; n--)
		p->free[p->n_free++] = ring_take(&p->rx, &len);
	port_turn(p);
}

/* Waits for the frame: its buffer, or -1 if it is lost. */
static int64_t await(struct port *p, uint64_t *ret_now)
{
	uint64_t deadline = now_ns() + LOST_NS;

	for (;;) {
		uint16_t n = ring_used(&p->rx);

		*ret_now = now_ns();
		while (n--) {
			uint32_t len;
			uint16_t buf = ring_take(&p->rx, &len);
			const uint8_t *frame = port_buf(p, buf) + PORT_HDR;

			if (frame_is_ours(frame) && frame_is_for(frame, p->mac))
				return buf;
			p->free[p->n_free++] = buf;
		}
		if (*ret_now > deadline)
			return -1;
		port_turn(p);
	}
}

static void send_to(struct port *from, const struct port *to, uint16_t buf)
{
	memset(port_buf(from, buf), 0, PORT_HDR);
	frame_make(port_buf(from, buf) + PORT_HDR, FRAME_MIN, to->mac, from->mac, from->vlan);
	port_send(from, buf, FRAME_MIN);
	ring_publish(&from->tx);
}

static bool one(struct port *a, struct port *b, uint32_t idle_us, uint32_t *ret_there, uint32_t *ret_round)
{
	uint64_t start = now_ns(), there, back;
	int64_t buf;

	while (now_ns() < start + (uint64_t)idle_us * 1000)
		;
	if (!a->n_free)
		errx(1, "no buffer was returned");
	start = now_ns();
	send_to(a, b, a->free[--a->n_free]);
	buf = await(b, &there);
	if (buf < 0)
		return false;
	send_to(b, a, (uint16_t)buf);
	buf = await(a, &back);
	if (buf < 0)
		return false;
	a->free[a->n_free++] = (uint16_t)buf;
	port_turn(a);
	port_turn(b);
	*ret_there = (uint32_t)(there - start);
	*ret_round = (uint32_t)(back - start);
	return true;
}

void load_round_trip(struct load *l)
{
	struct port *a = &l->ports[0], *b = &l->ports[1];
	struct samples there = {calloc(l->o.count, sizeof(uint32_t)), 0},
		       round = {calloc(l->o.count, sizeof(uint32_t)), 0};
	uint32_t lost = 0, warm = l->o.count / 20;

	if (!there.ns || !round.ns)
		err(1, "samples");
	load_announce(l);
	while (round.n < l->o.count) {
		uint32_t t, r;

		if (!one(a, b, l->o.idle_us, &t, &r)) {
			if (++lost > 100)
				errx(1, "more than 100 frames were lost");
			drain(a);
			drain(b);
			continue;
		}
		if (warm) {
			warm--;
			continue;
		}
		there.ns[there.n++] = t;
		round.ns[round.n++] = r;
	}
	qsort(there.ns, there.n, sizeof(uint32_t), compare);
	qsort(round.ns, round.n, sizeof(uint32_t), compare);
	printf("{\"count\": %u, \"lost\": %u, \"round_p50_ns\": %u, \"round_p99_ns\": %u, \"there_p50_ns\": "
	       "%u, "
	       "\"there_p99_ns\": %u}\n",
	       round.n, lost, percentile(&round, 500), percentile(&round, 990), percentile(&there, 500),
	       percentile(&there, 990));
	free(there.ns);
	free(round.ns);
}
