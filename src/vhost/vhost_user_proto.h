/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The vhost-user wire format (QEMU, docs/interop/vhost-user.rst), as far as it is implemented here. Numbers
 * are in the machine's byte order, as the specification says: both ends run on one host. */

#include <stdint.h>

/* "Header" */
struct vu_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* of the payload, bytes */
};
#define VU_HEADER_SIZE     12
#define VU_VERSION         0x1u
#define VU_VERSION_MASK    0x3u
#define VU_FLAG_REPLY      0x4u
#define VU_FLAG_NEED_REPLY 0x8u

#define VU_MAX_FDS     8 /* descriptors in one message */
#define VU_MAX_REGIONS 8 /* in SET_MEM_TABLE; more need ADD_MEM_REG */

/* "Front-end message types" */
enum {
	VU_GET_FEATURES = 1,
	VU_SET_FEATURES = 2,
	VU_SET_OWNER = 3,
	VU_RESET_OWNER = 4,
	VU_SET_MEM_TABLE = 5,
	VU_SET_LOG_BASE = 6,
	VU_SET_LOG_FD = 7,
	VU_SET_VRING_NUM = 8,
	VU_SET_VRING_ADDR = 9,
	VU_SET_VRING_BASE = 10,
	VU_GET_VRING_BASE = 11,
	VU_SET_VRING_KICK = 12,
	VU_SET_VRING_CALL = 13,
	VU_SET_VRING_ERR = 14,
	VU_GET_PROTOCOL_FEATURES = 15,
	VU_SET_PROTOCOL_FEATURES = 16,
	VU_GET_QUEUE_NUM = 17,
	VU_SET_VRING_ENABLE = 18,
	VU_SEND_RARP = 19,
	VU_NET_SET_MTU = 20,
	VU_SET_BACKEND_REQ_FD = 21,
	VU_GET_INFLIGHT_FD = 31,
	VU_SET_INFLIGHT_FD = 32,
	VU_RESET_DEVICE = 34,
	VU_GET_MAX_MEM_SLOTS = 36,
	VU_ADD_MEM_REG = 37,
	VU_REM_MEM_REG = 38,
	VU_SET_STATUS = 39,
	VU_GET_STATUS = 40,
};

/* "Back-end message types" */
enum { VU_BACKEND_VRING_HOST_NOTIFIER = 3 };

/* "Protocol features": bit numbers */
enum {
	VU_PF_MQ = 0,
	VU_PF_LOG_SHMFD = 1,
	VU_PF_RARP = 2,
	VU_PF_REPLY_ACK = 3,
	VU_PF_MTU = 4,
	VU_PF_BACKEND_REQ = 5,
	VU_PF_BACKEND_SEND_FD = 10,
	VU_PF_HOST_NOTIFIER = 11,
	VU_PF_INFLIGHT_SHMFD = 12,
	VU_PF_RESET_DEVICE = 13,
	VU_PF_CONFIGURE_MEM_SLOTS = 15,
	VU_PF_STATUS = 16,
};

/* Feature bits that belong to vhost, not to virtio */
#define VU_F_LOG_ALL           26
#define VU_F_PROTOCOL_FEATURES 30

/* "A vring state description", "Vring descriptor index/indices" */
struct vu_ring_state {
	uint32_t index;
	uint32_t num;
};

/* "A vring address description" */
struct vu_ring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc, used, avail; /* in the front-end's address space */
	uint64_t log;               /* guest address of the used ring, for the log */
};
#define VU_RING_F_LOG 0x1u

/* Payload of SET_VRING_KICK, _CALL, _ERR, and the first field of a vring area */
#define VU_RING_INDEX_MASK 0xffu
#define VU_RING_NOFD       0x100u

/* "Memory region description" */
struct vu_region {
	uint64_t gpa, size, uva, offset;
};

struct vu_memory {
	uint32_t n;
	uint32_t padding;
	struct vu_region regions[VU_MAX_REGIONS];
};

/* "Single memory region description" */
struct vu_mem_reg {
	uint64_t padding;
	struct vu_region region;
};

/* "Log description" */
struct vu_log {
	uint64_t size, offset;
};

/* "Inflight description": 20 bytes, and 24 as every C front-end sends it, with the padding */
struct vu_inflight_desc {
	uint64_t size, offset;
	uint16_t num_queues, queue_size;
	uint32_t padding;
};
#define VU_INFLIGHT_DESC_MIN 20

/* "Vring area description" */
struct vu_ring_area {
	uint64_t ring; /* index and flags */
	uint64_t size, offset;
};

union vu_payload {
	uint64_t u64;
	uint8_t mac[8]; /* SEND_RARP: the first six */
	struct vu_ring_state state;
	struct vu_ring_addr addr;
	struct vu_memory memory;
	struct vu_mem_reg mem_reg;
	struct vu_log log;
	struct vu_inflight_desc inflight;
	struct vu_ring_area area;
};

_Static_assert(sizeof(struct vu_header) == VU_HEADER_SIZE, "vhost-user header");
_Static_assert(sizeof(struct vu_ring_state) == 8, "vhost-user vring state");
_Static_assert(sizeof(struct vu_ring_addr) == 40, "vhost-user vring address");
_Static_assert(sizeof(struct vu_region) == 32, "vhost-user memory region");
_Static_assert(sizeof(struct vu_memory) == 8 + 32 * VU_MAX_REGIONS, "vhost-user memory table");
_Static_assert(sizeof(struct vu_mem_reg) == 40, "vhost-user single region");
_Static_assert(sizeof(struct vu_inflight_desc) == 24, "vhost-user inflight");
_Static_assert(sizeof(struct vu_ring_area) == 24, "vhost-user vring area");
