/* SPDX-License-Identifier: Apache-2.0 */

/* Large frames with segmentation offload, VF to VF, in the shape that Linux gives them: sent from pieces of 4
 * KiB through an indirect descriptor table, received into mergeable buffers of `piece` bytes. The payload is
 * neither written nor read here, so what is measured is the switch; load_memcpy() copies the same bytes
 * between as many buffers of the same sizes. */

#include <err.h>
#include <stdio.h>
#include <stdlib.h>

#include "frame.h"
#include "load.h"

#define MSS        1448
#define HEADERS    54
#define FRAME_LEN  (45u * MSS + HEADERS) /* as many segments as Linux sends at once */
#define PART       4096u
#define PARTS      ((PORT_HDR + FRAME_LEN + PART - 1) / PART)
#define SLOT_ROOM  (PARTS * PART)
#define LOOK_EVERY 64

struct slot { /* the frame to send, always the same */
	struct vring_desc *table;
	uint8_t *bytes;
};

static struct slot make_slot(const struct load *l)
{
	struct port *a = &l->ports[0];
	uint32_t left = PORT_HDR + FRAME_LEN;
	struct virtio_net_hdr hdr = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				     .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
				     .hdr_len = HEADERS,
				     .gso_size = MSS,
				     .csum_start = 34,
				     .csum_offset = 16};
	struct slot s = {memory_take(a->memory, sizeof(struct vring_desc) * PARTS, 64),
			 memory_take(a->memory, SLOT_ROOM, PART)};

	memcpy(s.bytes, &hdr, sizeof(hdr));
	frame_make_tcp(s.bytes + PORT_HDR, FRAME_LEN, l->ports[1].mac, a->mac);
	for (unsigned int i = 0; i < PARTS; i++) {
		uint32_t len = left < PART ? left : PART;

		s.table[i] = (struct vring_desc){memory_gpa(a->memory, s.bytes) + (uint64_t)i * PART, len,
						 i + 1 < PARTS ? VRING_DESC_F_NEXT : 0, (uint16_t)(i + 1)};
		left -= len;
	}
	return s;
}

struct counts {
	uint64_t frames, bytes, broken;
};

/* Frames that port 1 has received completely. `left`: buffers of the current frame still to come. */
static void receive(struct port *b, struct counts *c, uint32_t *left, uint32_t *frame_len)
{
	for (uint16_t n = ring_used(&b->rx); n; n--) {
		uint32_t len;
		uint16_t buf = ring_take(&b->rx, &len);

		if (!*left) {
			struct virtio_net_hdr_mrg_rxbuf hdr;

			memcpy(&hdr, port_buf(b, buf), sizeof(hdr));
			*left = hdr.num_buffers;
			*frame_len = 0;
		}
		*frame_len += len;
		b->free[b->n_free++] = buf;
		if (--*left)
			continue;
		if (*frame_len == PORT_HDR + FRAME_LEN) {
			c->frames++;
			c->bytes += FRAME_LEN;
		} else {
			c->broken++; /* cut in segments, or not ours */
		}
	}
	port_turn(b);
}

static void print(const struct counts *c, uint64_t ns)
{
	printf("{\"seconds\": %.6f, \"frames\": %llu, \"bytes\": %llu, \"broken\": %llu}\n", (double)ns / 1e9,
	       (unsigned long long)c->frames, (unsigned long long)c->bytes, (unsigned long long)c->broken);
}

void load_stream(struct load *l)
{
	struct port *a = &l->ports[0], *b = &l->ports[1];
	struct slot *slots = calloc(l->o.window, sizeof(*slots));
	struct counts c = {0};
	uint32_t left = 0, frame_len = 0;
	uint64_t start, end = 0, now;
	bool warm = true;

	if (!slots)
		err(1, "frames");
	for (uint32_t i = 0; i < l->o.window; i++)
		slots[i] = make_slot(l);
	load_announce(l);
	/* The transmit descriptors serve as slots here; the buffers that they stand for are never used. */
	for (uint32_t i = 0; i < l->o.window; i++)
		ring_add(&a->tx, memory_gpa(a->memory, slots[i].table), sizeof(struct vring_desc) * PARTS,
			 VRING_DESC_F_INDIRECT, (uint16_t)i);
	ring_publish(&a->tx);
	start = now_ns();
	end = start + (uint64_t)(l->o.warmup * 1e9);
	for (;;) {
		for (unsigned int pass = 0; pass < LOOK_EVERY; pass++) {
			for (uint16_t n = ring_used(&a->tx); n; n--) {
				uint32_t len;
				uint16_t slot = ring_take(&a->tx, &len);

				ring_add(&a->tx, memory_gpa(a->memory, slots[slot].table),
					 sizeof(struct vring_desc) * PARTS, VRING_DESC_F_INDIRECT, slot);
			}
			ring_publish(&a->tx);
			receive(b, &c, &left, &frame_len);
		}
		now = now_ns();
		if (now < end || (!c.frames && now < end + LOAD_PATIENCE_NS))
			continue;
		if (!warm)
			break;
		warm = false;
		c = (struct counts){0};
		start = now;
		end = start + (uint64_t)(l->o.seconds * 1e9);
	}
	print(&c, now - start);
	free(slots);
}

void load_memcpy(struct load *l)
{
	uint32_t pieces = l->o.count;
	size_t source_room = (size_t)l->o.window * SLOT_ROOM, target_room = (size_t)pieces * l->o.piece,
	       at = 0;
	struct memory m;
	uint8_t *source, *target;
	struct counts c = {0};
	uint64_t start = 0, end, now;
	uint32_t slot = 0, piece = 0;
	bool warm = true;

	memory_init(&m, source_room + target_room, true);
	source = memory_take(&m, source_room, PART);
	target = memory_take(&m, target_room, PART);
	end = now_ns() + (uint64_t)(l->o.warmup * 1e9);
	for (;;) {
		for (unsigned int pass = 0; pass < LOOK_EVERY; pass++) {
			for (at = 0; at < FRAME_LEN;) {
				size_t n = FRAME_LEN - at < l->o.piece ? FRAME_LEN - at : l->o.piece;

				memcpy(target + (size_t)piece * l->o.piece,
				       source + (size_t)slot * SLOT_ROOM + at, n);
				piece = piece + 1 == pieces ? 0 : piece + 1;
				at += n;
			}
			slot = slot + 1 == l->o.window ? 0 : slot + 1;
			c.frames++;
			c.bytes += FRAME_LEN;
		}
		now = now_ns();
		if (now < end)
			continue;
		if (!warm)
			break;
		warm = false;
		c = (struct counts){0};
		start = now;
		end = start + (uint64_t)(l->o.seconds * 1e9);
	}
	print(&c, now - start);
}
