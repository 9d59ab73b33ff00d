/* SPDX-License-Identifier: Apache-2.0 */

/* What a back-end is told, and in which order.
 *
 * Addresses. Ring addresses are in the front-end's address space, which is its own choice: here it is the guest's
 * physical one. Its regions never overlap, and the back-end learns nothing of where vpfd or QEMU have them.
 *
 * Memory. With CONFIGURE_MEM_SLOTS regions are added and removed one by one, so that memory plugged into a
 * running guest costs the back-end one mapping; otherwise there is one table, of at most VU_MAX_REGIONS.
 *
 * Order. Descriptors for calls are passed before those for kicks, which start a ring; all rings are described
 * before one is enabled. Rings are stopped from queue 0 on: rte_vhost calls a device ready as soon as its
 * first two are. They are not disabled first: a disabled transmit queue is drained and its frames are lost.
 */

#include <stdio.h>
#include <string.h>

#include "datapath/vhost_user/datapath_vhost_user.h"
#include "vhost/guest_map.h"

#define PF(n) VU_DP_BIT(VU_PF_##n)
/* Not among them: BACKEND_REQ, see vhost_user_front.h; RESET_DEVICE: a new start sends everything again, and the end
 * of the connection is a reset; INFLIGHT_SHMFD: the position of split rings is in the rings. */
#define PROTOCOL_WANTED                                                                                      \
	(PF(MQ) | PF(LOG_SHMFD) | PF(RARP) | PF(REPLY_ACK) | PF(MTU) | PF(CONFIGURE_MEM_SLOTS) | PF(STATUS))

#define STATUS_DRIVER    (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)
#define STATUS_DRIVER_OK (STATUS_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK)

enum whose {
	RINGS,     /* the back-end has to support it */
	OFFLOAD,   /* the same, and only with "offload" */
	OUR_FRONT, /* implemented by the front-end: the device's configuration space, its control queue */
};

static const struct {
	unsigned char bit;
	enum whose whose;
	const char *name;
} features[] = {
	{VIRTIO_F_VERSION_1, RINGS, "VERSION_1"},
	{VIRTIO_F_ANY_LAYOUT, RINGS, "ANY_LAYOUT"},
	{VIRTIO_RING_F_INDIRECT_DESC, RINGS, "INDIRECT_DESC"},
	{VIRTIO_RING_F_EVENT_IDX, RINGS, "EVENT_IDX"},
	{VIRTIO_NET_F_MRG_RXBUF, RINGS, "MRG_RXBUF"},
	/* Explicit congestion notification and UDP segmentation are not supported by back-ends in general.
	 */
	{VIRTIO_NET_F_CSUM, OFFLOAD, "CSUM"},
	{VIRTIO_NET_F_GUEST_CSUM, OFFLOAD, "GUEST_CSUM"},
	{VIRTIO_NET_F_HOST_TSO4, OFFLOAD, "HOST_TSO4"},
	{VIRTIO_NET_F_HOST_TSO6, OFFLOAD, "HOST_TSO6"},
	{VIRTIO_NET_F_GUEST_TSO4, OFFLOAD, "GUEST_TSO4"},
	{VIRTIO_NET_F_GUEST_TSO6, OFFLOAD, "GUEST_TSO6"},
	{VIRTIO_NET_F_MQ, OUR_FRONT, "MQ"},
	{VIRTIO_NET_F_MTU, OUR_FRONT, "MTU"},
	{VIRTIO_NET_F_STATUS, OUR_FRONT, "STATUS"},
	{VIRTIO_NET_F_CTRL_VQ, OUR_FRONT, "CTRL_VQ"},
	{VIRTIO_NET_F_CTRL_RX, OUR_FRONT, "CTRL_RX"},
	{VIRTIO_NET_F_CTRL_MAC_ADDR, OUR_FRONT, "CTRL_MAC_ADDR"},
	{VIRTIO_NET_F_GUEST_ANNOUNCE, OUR_FRONT, "GUEST_ANNOUNCE"},
};

uint64_t vu_dp_features(bool offload, unsigned int queue_pairs)
{
	uint64_t all = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(features); i++)
		if (features[i].whose != OFFLOAD || offload)
			all |= VU_DP_BIT(features[i].bit);
	return queue_pairs > 1 ? all : all & ~VU_DP_BIT(VIRTIO_NET_F_MQ);
}

/* Those of `wanted` that the back-end would have to support and does not offer. */
static uint64_t missing(const struct vu_dp *d, uint64_t wanted)
{
	uint64_t lacks = wanted & ~d->offered;

	for (unsigned int i = 0; i < ARRAY_SIZE(features); i++)
		if (features[i].whose == OUR_FRONT)
			lacks &= ~VU_DP_BIT(features[i].bit);
	/* From virtio 1 on, every device has to accept any layout. */
	if (virtio_has(wanted, VIRTIO_F_VERSION_1))
		lacks &= ~VU_DP_BIT(VIRTIO_F_ANY_LAYOUT);
	return lacks;
}

static bool check_features(struct vu_dp *d)
{
	uint64_t lacks =
		missing(d, d->features) | (d->features & ~vu_dp_features(true, VHOST_USER_MAX_QUEUE_PAIRS));
	char names[120] = "";
	size_t len = 0;

	if (!lacks)
		return true;
	for (unsigned int bit = 0; bit < 64; bit++) {
		const char *name = NULL;

		if (!virtio_has(lacks, bit))
			continue;
		for (unsigned int i = 0; i < ARRAY_SIZE(features) && !name; i++)
			if (features[i].bit == bit)
				name = features[i].name;
		if (len < sizeof(names))
			len += (size_t)(name ? snprintf(names + len, sizeof(names) - len, "%s%s",
							len ? ", " : "", name)
					     : snprintf(names + len, sizeof(names) - len, "%sfeature bit %u",
							len ? ", " : "", bit));
	}
	vu_front_fail(d->front, -EOPNOTSUPP,
		      "the guest's driver uses features that the back-end does not offer: %s", names);
	return false;
}

/* Answered once everything sent before it has been read. */
static void barrier(struct vu_dp *d)
{
	if (!(d->protocol & PF(REPLY_ACK)))
		vu_dp_send(d, VU_GET_FEATURES, NULL, 0);
}

static void greet_protocol(struct vu_dp *d)
{
	vu_dp_send_u64(d, VU_SET_PROTOCOL_FEATURES, d->protocol);
	if (d->protocol & PF(REPLY_ACK))
		vu_front_set_ack(d->front);
	vu_dp_send(d, VU_SET_OWNER, NULL, 0);
	d->slots = VU_MAX_REGIONS;
	if (d->protocol & PF(MQ))
		vu_dp_send(d, VU_GET_QUEUE_NUM, NULL, 0);
	else if (d->queue_pairs > 1)
		vu_front_fail(d->front, -EOPNOTSUPP, "the back-end has one queue pair, %u are needed",
			      d->queue_pairs);
	if (d->protocol & PF(CONFIGURE_MEM_SLOTS))
		vu_dp_send(d, VU_GET_MAX_MEM_SLOTS, NULL, 0);
	if (d->protocol & PF(MTU))
		vu_dp_send_u64(d, VU_NET_SET_MTU, d->mtu);
	barrier(d);
}

void vu_dp_greet(struct vu_dp *d, uint32_t request, const union vu_payload *payload)
{
	if (d->greeting == VU_GREET_FEATURES) {
		d->offered = payload->u64;
		d->greeting = VU_GREET_PROTOCOL;
		if (!(d->offered & VU_DP_PROTOCOL))
			vu_front_fail(d->front, -EOPNOTSUPP,
				      "the back-end is too old: it does not support protocol features");
		else if (check_features(d))
			vu_dp_send(d, VU_GET_PROTOCOL_FEATURES, NULL, 0);
	} else if (d->greeting == VU_GREET_PROTOCOL) {
		d->protocol = payload->u64 & PROTOCOL_WANTED;
		d->greeting = VU_GREET_LIMITS;
		greet_protocol(d);
	} else if (request == VU_GET_QUEUE_NUM && payload->u64 < d->queue_pairs) {
		vu_front_fail(d->front, -EOPNOTSUPP, "the back-end has %llu queue pairs, %u are needed",
			      (unsigned long long)payload->u64, d->queue_pairs);
	} else if (request == VU_GET_MAX_MEM_SLOTS) {
		d->slots = payload->u64;
	}
}

void vu_dp_forget(struct vu_dp *d)
{
	d->greeting = VU_GREET_FEATURES;
	d->offered = d->protocol = d->told_features = 0;
	guest_mem_unref(steal_ptr(&d->told_mem));
	dirty_log_unref(steal_ptr(&d->told_log));
}

static void tell_features(struct vu_dp *d, bool logging)
{
	uint64_t f = (d->features & d->offered) | VU_DP_PROTOCOL | (logging ? VU_DP_LOG : 0);

	if (f == d->told_features)
		return;
	vu_dp_send_u64(d, VU_SET_FEATURES, f);
	d->told_features = f;
}

static struct vu_region region_of(const struct guest_mem_region *r)
{
	return (struct vu_region){.gpa = r->gpa, .size = r->size, .uva = r->gpa, .offset = r->map->offset};
}

static void tell_table(struct vu_dp *d)
{
	struct vu_memory table = {.n = d->mem->n};
	int fds[VU_MAX_REGIONS];

	for (unsigned int i = 0; i < table.n; i++) {
		table.regions[i] = region_of(&d->mem->regions[i]);
		fds[i] = d->mem->regions[i].map->fd;
	}
	vu_front_send(d->front, VU_SET_MEM_TABLE, &table,
		      (uint32_t)(offsetof(struct vu_memory, regions) + table.n * sizeof(table.regions[0])),
		      fds, table.n, d->deadline);
}

static bool has_region(const struct guest_mem *mem, const struct guest_mem_region *r)
{
	for (unsigned int i = 0; mem && i < mem->n; i++) {
		const struct guest_mem_region *o = &mem->regions[i];

		if (o->gpa == r->gpa && o->size == r->size && o->map == r->map)
			return true;
	}
	return false;
}

static bool same_memory(const struct guest_mem *a, const struct guest_mem *b)
{
	if (!a || a->n != b->n)
		return false;
	for (unsigned int i = 0; i < a->n; i++)
		if (!has_region(b, &a->regions[i]))
			return false;
	return true;
}

/* Removed regions first, so that there is room for added ones. */
static void tell_slots(struct vu_dp *d)
{
	for (unsigned int i = 0; d->told_mem && i < d->told_mem->n; i++) {
		const struct guest_mem_region *r = &d->told_mem->regions[i];
		struct vu_mem_reg reg = {.region = region_of(r)};

		if (!has_region(d->mem, r))
			vu_dp_send(d, VU_REM_MEM_REG, &reg, sizeof(reg));
	}
	for (unsigned int i = 0; i < d->mem->n; i++) {
		const struct guest_mem_region *r = &d->mem->regions[i];
		struct vu_mem_reg reg = {.region = region_of(r)};

		if (!has_region(d->told_mem, r))
			vu_front_send(d->front, VU_ADD_MEM_REG, &reg, sizeof(reg), &r->map->fd, 1,
				      d->deadline);
	}
}

static void tell_memory(struct vu_dp *d)
{
	if (d->mem->n > d->slots) {
		vu_front_fail(d->front, -EOPNOTSUPP,
			      "the guest's memory has %u regions, the back-end takes %llu", d->mem->n,
			      (unsigned long long)d->slots);
		return;
	}
	if (same_memory(d->told_mem, d->mem))
		return;
	if (d->protocol & PF(CONFIGURE_MEM_SLOTS))
		tell_slots(d);
	else
		tell_table(d);
	guest_mem_unref(d->told_mem);
	d->told_mem = guest_mem_ref(d->mem);
}

void vu_dp_tell(struct vu_dp *d)
{
	if (!check_features(d) || !d->mem || !d->mem->n)
		return;
	tell_features(d, false);
	tell_memory(d);
	barrier(d);
}

static void tell_fd(struct vu_dp *d, uint32_t request, unsigned int queue, int fd)
{
	uint64_t payload = queue | (fd < 0 ? VU_RING_NOFD : 0);

	vu_front_send(d->front, request, &payload, sizeof(payload), &fd, fd >= 0, d->deadline);
}

static void tell_ring(struct vu_dp *d, const struct datapath_ring *r, int errfd)
{
	const struct vhost_queue *q = r->queue;
	struct vu_ring_state num = {q->index, q->size}, base = {q->index, r->used_idx};
	struct vu_ring_addr addr = {
		.index = q->index,
	};

	if (d->told_mem) {
		addr.desc = guest_mem_to_gpa(d->told_mem, q->desc);
		addr.avail = guest_mem_to_gpa(d->told_mem, q->driver);
		addr.used = guest_mem_to_gpa(d->told_mem, q->device);
	}
	if (!d->told_mem || addr.desc == UINT64_MAX || addr.avail == UINT64_MAX || addr.used == UINT64_MAX) {
		vu_front_fail(d->front, -EFAULT, "queue %u is not in the memory that the back-end has",
			      q->index);
		return;
	}
	if (q->log && q->device_gpa != VHOST_QUEUE_NOT_LOGGED) {
		addr.flags = VU_RING_F_LOG;
		addr.log = q->device_gpa;
	}
	vu_dp_send(d, VU_SET_VRING_NUM, &num, sizeof(num));
	/* What was taken and not completed is taken again: it starts at the used index. */
	vu_dp_send(d, VU_SET_VRING_BASE, &base, sizeof(base));
	vu_dp_send(d, VU_SET_VRING_ADDR, &addr, sizeof(addr));
	tell_fd(d, VU_SET_VRING_ERR, q->index, errfd);
	tell_fd(d, VU_SET_VRING_CALL, q->index, q->callfd);
	tell_fd(d, VU_SET_VRING_KICK, q->index, q->kickfd);
}

static void tell_log(struct vu_dp *d, bool logging)
{
	struct dirty_log *log = NULL;
	struct vu_log area;
	int fd;

	for (unsigned int i = 0; i < d->n && logging && !log; i++)
		log = d->rings[i].queue->log;
	if (log == d->told_log)
		return;
	dirty_log_unref(steal_ptr(&d->told_log));
	if (!log)
		return;
	fd = dirty_log_file(log, &area.offset, &area.size);
	vu_front_send(d->front, VU_SET_LOG_BASE, &area, sizeof(area), &fd, 1, d->deadline);
	d->told_log = dirty_log_ref(log);
}

void vu_dp_tell_rings(struct vu_dp *d, bool logging)
{
	if (logging && (!(d->offered & VU_DP_LOG) || !(d->protocol & PF(LOG_SHMFD)))) {
		vu_front_fail(d->front, -EOPNOTSUPP,
			      "the back-end cannot log what it writes, which the guest's migration needs");
		return;
	}
	tell_log(d, logging);
	tell_features(d, logging);
	if (d->protocol & PF(STATUS))
		vu_dp_send_u64(d, VU_SET_STATUS, STATUS_DRIVER);
	for (unsigned int i = 0; i < d->n; i++)
		tell_ring(d, &d->rings[i], d->ring[i].errfd);
	for (unsigned int i = 0; i < d->n; i++)
		vu_dp_enable(d, d->rings[i].queue);
	if (d->protocol & PF(STATUS))
		vu_dp_send_u64(d, VU_SET_STATUS, STATUS_DRIVER_OK);
	/* The back-end's switch learns where the guest is now, without waiting for it to send. */
	if (d->protocol & PF(RARP) && !d->link_off) {
		uint8_t mac[8] = {0};

		memcpy(mac, d->mac, sizeof(d->mac));
		vu_dp_send(d, VU_SEND_RARP, mac, sizeof(mac));
	}
	barrier(d);
}

void vu_dp_enable(struct vu_dp *d, const struct vhost_queue *q)
{
	struct vu_ring_state state = {q->index, q->enabled && !d->link_off};

	vu_dp_send(d, VU_SET_VRING_ENABLE, &state, sizeof(state));
}

void vu_dp_call(struct vu_dp *d, unsigned int queue, int callfd)
{
	tell_fd(d, VU_SET_VRING_CALL, queue, callfd);
}

void vu_dp_untell_rings(struct vu_dp *d)
{
	for (unsigned int i = 0; i < d->n; i++) {
		struct vu_ring_state state = {.index = d->rings[i].queue->index};

		vu_dp_send(d, VU_GET_VRING_BASE, &state, sizeof(state));
	}
	/* As a driver does when it has finished with the device; that also resets the features. */
	if (d->protocol & PF(STATUS)) {
		vu_dp_send_u64(d, VU_SET_STATUS, 0);
		d->told_features = 0;
	}
}
