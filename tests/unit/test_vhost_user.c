/* SPDX-License-Identifier: Apache-2.0 */

/* The vhost-user back-end with front-ends that mean well: every message, the orders in which QEMU and DPDK
 * send them, changes while rings run, coming and going. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "vhost/inflight.h"
#include "vu_env.h"

#define FEATURES (F_VERSION_1 | F_EVENT_IDX)

static uint16_t *used_idx(struct vu_env *e, unsigned int index)
{
	return (uint16_t *)(void *)(e->c.mem + index * 0x10000 + 0xa002);
}

static void test_features(void **state)
{
	struct vu_env *e = *state;

	assert_int_equal(vu_client_connect(&e->c, e->path), 0);
	assert_int_equal(vu_client_get(&e->c, VU_GET_FEATURES), FEATURES | F_PACKED | F_LOG_ALL | F_PROTOCOL);
	assert_int_equal(vu_client_get(&e->c, VU_GET_PROTOCOL_FEATURES),
			 1 << VU_PF_MQ | 1 << VU_PF_LOG_SHMFD | 1 << VU_PF_RARP | 1 << VU_PF_REPLY_ACK |
				 1 << VU_PF_MTU | 1 << VU_PF_BACKEND_REQ | 1 << VU_PF_BACKEND_SEND_FD |
				 1 << VU_PF_HOST_NOTIFIER | 1 << VU_PF_INFLIGHT_SHMFD |
				 1 << VU_PF_RESET_DEVICE | 1 << VU_PF_CONFIGURE_MEM_SLOTS |
				 1 << VU_PF_STATUS);
	assert_int_equal(vu_client_get(&e->c, VU_GET_QUEUE_NUM), 2); /* pairs */
	assert_int_equal(vu_env_info(e).features, 0);
	vu_client_negotiate(&e->c, FEATURES);
	assert_int_equal(vu_env_info(e).features, FEATURES);
	assert_true(vu_env_info(e).protocol_features & 1 << VU_PF_STATUS);
	assert_int_equal(vu_client_get(&e->c, VU_GET_MAX_MEM_SLOTS), GUEST_MEM_MAX_REGIONS);
	assert_int_equal(e->errors, 0);
}

/* New features are offered to the next connection, not to this one. */
static void test_set_features(void **state)
{
	struct vu_env *e = *state;

	assert_int_equal(vu_client_connect(&e->c, e->path), 0);
	vhost_user_set_features(e->vu, F_VERSION_1 | F_PROTOCOL);
	assert_true(vu_client_get(&e->c, VU_GET_FEATURES) & F_EVENT_IDX);
	vu_client_disconnect(&e->c);
	assert_int_equal(vu_client_connect(&e->c, e->path), 0);
	assert_int_equal(vu_client_get(&e->c, VU_GET_FEATURES), F_VERSION_1 | F_LOG_ALL | F_PROTOCOL);
}

/* Without REPLY_ACK nobody is answered who did not ask a question. */
static void test_no_reply_ack(void **state)
{
	struct vu_env *e = *state;
	uint64_t features = FEATURES;

	assert_int_equal(vu_client_connect(&e->c, e->path), 0);
	vu_client_send(&e->c, VU_SET_OWNER, VU_FLAG_NEED_REPLY, NULL, 0, NULL, 0);
	vu_client_send(&e->c, VU_SET_FEATURES, VU_FLAG_NEED_REPLY, &features, 8, NULL, 0);
	assert_true(vu_client_quiet(&e->c));
	features = 1 << VU_PF_REPLY_ACK; /* negotiated and used at once */
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_PROTOCOL_FEATURES, features), 0);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_OWNER, NULL, 0, NULL, 0), 0);
	/* An explicit reply is the only one. */
	vu_client_send(&e->c, VU_GET_FEATURES, VU_FLAG_NEED_REPLY, NULL, 0, NULL, 0);
	assert_true(vu_client_receive(&e->c, VU_GET_FEATURES, &features, 8, NULL) == 8);
	assert_true(vu_client_quiet(&e->c));
}

static void check_split(struct vu_env *e, unsigned int i, unsigned int size)
{
	const struct vhost_queue *q = e->q[i].q;

	assert_non_null(q);
	assert_int_equal(q->index, i);
	assert_int_equal(q->size, size);
	assert_int_equal(q->features, FEATURES);
	assert_false(q->packed);
	assert_true(q->kickfd >= 0 && q->callfd >= 0);
	assert_int_equal(q->errfd, -1);
	assert_null(q->log);
	assert_null(q->inflight);
	assert_non_null(q->mem);
	/* the same memory, seen from here */
	((uint8_t *)q->desc)[3] = (uint8_t)(i + 1);
	((uint8_t *)q->driver)[3] = (uint8_t)(i + 2);
	((uint8_t *)q->device)[8] = (uint8_t)(i + 3);
	assert_int_equal(e->c.mem[i * 0x10000 + 3], i + 1);
	assert_int_equal(e->c.mem[i * 0x10000 + 0x8003], i + 2);
	assert_int_equal(e->c.mem[i * 0x10000 + 0xa008], i + 3);
}

static void test_ring_life(void **state)
{
	struct vu_env *e = *state;
	uint64_t one = 1;

	vu_env_ready(e, FEATURES);
	assert_int_equal(vu_env_info(e).mem_regions, 1);
	assert_int_equal(vu_env_info(e).mem_bytes, 0x100000);
	*used_idx(e, 0) = 70;
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 70), 0);
	assert_int_equal(vu_client_ring(&e->c, 1, 1024, 0), 0);
	check_split(e, 0, 256);
	check_split(e, 1, 1024);
	assert_int_equal(e->q[0].q->avail_idx, 70);
	assert_int_equal(e->q[0].q->used_idx, 70);
	assert_int_equal(e->q[0].q->device_gpa, VHOST_QUEUE_NOT_LOGGED);
	assert_int_equal(vu_env_info(e).queues_started, 2);
	assert_int_equal(vu_env_info(e).queues_enabled, 0);
	assert_false(e->q[0].q->enabled);

	/* the descriptors are the front-end's: what one writes the other reads */
	assert_int_equal(write(e->c.kick[0], &one, 8), 8);
	assert_int_equal(read(e->q[0].q->kickfd, &one, 8), 8);
	assert_int_equal(write(e->q[0].q->callfd, &one, 8), 8);
	assert_int_equal(read(e->c.call[0], &one, 8), 8);
	assert_true(fcntl(e->q[0].q->kickfd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(e->q[0].q->callfd, F_GETFD) & FD_CLOEXEC);

	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_ENABLE, 0, 1), 0);
	assert_int_equal(e->q[0].enabled, 1);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_ENABLE, 1, 1), 0);
	assert_int_equal(vu_env_info(e).queues_enabled, 2);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_ENABLE, 0, 0), 0);
	assert_int_equal(e->q[0].enabled, 0);

	/* stopping gives the index back, and only a new kick starts it again, from there */
	e->q[0].moved = true;
	e->q[0].avail_idx = e->q[0].used_idx = 99;
	assert_int_equal(vu_client_get_base(&e->c, 0), 99);
	assert_null(e->q[0].q);
	assert_int_equal(e->q[0].stops, 1);
	assert_int_equal(vu_client_get_base(&e->c, 0), 99);
	*used_idx(e, 0) = 99;
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_ENABLE, 0, 1), 0);
	assert_int_equal(e->q[0].starts, 1);
	assert_int_equal(vu_client_kick(&e->c, 0), 0);
	assert_int_equal(e->q[0].starts, 2);
	assert_int_equal(e->q[0].q->avail_idx, 99);
	assert_true(e->q[0].q->enabled); /* it was while stopped */

	vu_client_disconnect(&e->c);
	assert_int_equal(e->disconnects, 1);
	assert_string_equal(e->why, "");
	assert_int_equal(e->errors, 0);
	assert_false(vu_env_info(e).connected);
}

/* QEMU: call descriptors and enabling before features, no descriptors with polling, and call at any time. */
static void test_qemu_order(void **state)
{
	struct vu_env *e = *state;
	uint64_t value = 0 | VU_RING_NOFD;
	struct vu_ring_addr addr;
	int fd;

	assert_int_equal(vu_client_connect(&e->c, e->path), 0);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_PROTOCOL_FEATURES, 1 << VU_PF_REPLY_ACK), 0);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_VRING_CALL, value), 0);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_ENABLE, 0, 1), 0);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_FEATURES, FEATURES | F_PROTOCOL), 0);
	vu_client_share_memory(&e->c, 0x100000);
	addr = vu_client_ring_addr(&e->c, 0);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_NUM, 0, 256), 0);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_BASE, 0, 0), 0);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), 0);
	assert_null(e->q[0].q);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_VRING_KICK, value), 0);
	assert_non_null(e->q[0].q);
	assert_int_equal(e->q[0].q->kickfd, -1);
	assert_int_equal(e->q[0].q->callfd, -1);
	assert_true(e->q[0].q->enabled);

	value = 0;
	fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_VRING_CALL, &value, 8, &fd, 1), 0);
	assert_true(e->q[0].callfd >= 0);
	/* whoever writes to it must not be made to wait */
	assert_true(fcntl(e->q[0].callfd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_VRING_CALL, VU_RING_NOFD), 0);
	assert_int_equal(e->q[0].callfd, -1);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_VRING_ERR, &value, 8, &fd, 1), 0);
	close(fd);
	assert_int_equal(e->q[0].starts, 1);

	/* the second pair's SET_FEATURES, the same again, disturbs nothing */
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_FEATURES, FEATURES | F_PROTOCOL), 0);
	assert_int_equal(e->q[0].starts, 1);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_ENABLE, 0, 1), 0);
	assert_int_equal(e->q[0].enabled, -1); /* no change, no call */

	/* a new kick descriptor while it runs */
	assert_int_equal(vu_client_kick(&e->c, 0), 0);
	assert_int_equal(e->q[0].starts, 2);
	assert_true(e->q[0].q->kickfd >= 0);
}

/* Any order of the ring's own messages starts it, with the last one. */
static void test_any_order(void **state)
{
	struct vu_env *e = *state;
	uint64_t kick = VU_RING_NOFD;

	assert_int_equal(vu_client_connect(&e->c, e->path), 0);
	for (unsigned int first = 0; first < 6; first++) {
		unsigned int starts = e->q[0].starts;

		assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_PROTOCOL_FEATURES,
						   1 << VU_PF_REPLY_ACK | 1 << VU_PF_STATUS),
				 0);
		for (unsigned int i = 0; i < 6; i++) {
			struct vu_ring_addr addr;

			assert_int_equal(e->q[0].starts, starts);
			switch ((first + i) % 6) {
			case 0:
				vu_client_ask_u64(&e->c, VU_SET_FEATURES, FEATURES | F_PROTOCOL);
				break;
			case 1:
				vu_client_share_memory(&e->c, 0x100000);
				break;
			case 2:
				assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_NUM, 0, 8), 0);
				break;
			case 3:
				assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_BASE, 0, 0), 0);
				break;
			case 4:
				if (!e->c.mem) /* cannot know addresses yet: any will do, they are not final
						*/
					vu_client_share_memory(&e->c, 0x100000);
				addr = vu_client_ring_addr(&e->c, 0);
				assert_int_equal(
					vu_client_ask(&e->c, VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0),
					0);
				break;
			case 5:
				assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_VRING_KICK, kick), 0);
				break;
			}
		}
		assert_int_equal(e->q[0].starts, starts + 1);
		vu_client_disconnect(&e->c);
		assert_int_equal(vu_client_connect(&e->c, e->path), 0);
	}
	assert_int_equal(e->errors, 0);
}

/* An old front-end without protocol features: rings start enabled. */
static void test_no_protocol_features(void **state)
{
	struct vu_env *e = *state;
	struct vu_memory table = {.n = 1};
	struct vu_ring_state num = {0, 64}, base = {0, 0};
	struct vu_ring_addr addr;
	uint64_t features = FEATURES, kick = VU_RING_NOFD;

	vu_env_ready(e, FEATURES); /* makes the memory */
	vu_client_disconnect(&e->c);
	assert_int_equal(vu_client_connect(&e->c, e->path), 0);
	table.regions[0] = vu_client_region(&e->c, 0, e->c.mem_size);
	addr = vu_client_ring_addr(&e->c, 0);
	vu_client_send(&e->c, VU_SET_OWNER, 0, NULL, 0, NULL, 0);
	vu_client_send(&e->c, VU_SET_MEM_TABLE, 0, &table, 40, &e->c.mem_fd, 1);
	vu_client_send(&e->c, VU_SET_VRING_NUM, 0, &num, sizeof(num), NULL, 0);
	vu_client_send(&e->c, VU_SET_VRING_BASE, 0, &base, sizeof(base), NULL, 0);
	vu_client_send(&e->c, VU_SET_VRING_ADDR, 0, &addr, sizeof(addr), NULL, 0);
	vu_client_send(&e->c, VU_SET_VRING_KICK, 0, &kick, sizeof(kick), NULL, 0);
	assert_null(e->q[0].q);
	vu_client_send(&e->c, VU_SET_FEATURES, 0, &features, sizeof(features), NULL, 0);
	assert_non_null(e->q[0].q);
	assert_true(e->q[0].q->enabled);
	assert_true(vu_client_quiet(&e->c));
}

static void test_packed(void **state)
{
	struct vu_env *e = *state;

	vu_env_ready(e, F_VERSION_1 | F_PACKED);
	/* any size, both indices with their wrap counters */
	assert_int_equal(vu_client_ring(&e->c, 0, 100, 0x80038005), 0);
	assert_true(e->q[0].q->packed);
	assert_int_equal(e->q[0].q->size, 100);
	assert_int_equal(e->q[0].q->avail_idx, 0x8005);
	assert_int_equal(e->q[0].q->used_idx, 0x8003);
	e->q[0].moved = true;
	e->q[0].avail_idx = e->q[0].used_idx = 7;
	assert_int_equal(vu_client_get_base(&e->c, 0), 0x00070007);
	/* DPDK gives the lower half only */
	assert_int_equal(vu_client_ring(&e->c, 1, 256, 0x8000), 0);
	assert_int_equal(e->q[1].q->avail_idx, 0x8000);
	assert_int_equal(e->q[1].q->used_idx, 0x8000);
	assert_int_equal(vu_client_get_base(&e->c, 1), 0x80008000);
	/* an index outside the ring */
	assert_int_not_equal(vu_client_ring(&e->c, 1, 256, 0x81008000), 0);
	assert_null(e->q[1].q);
	assert_int_not_equal(vu_client_ring(&e->c, 1, 256, 0x80008100), 0);
	assert_null(e->q[1].q);
	assert_int_equal(vu_client_ring(&e->c, 1, 256, 0x80ff80ff), 0);
}

/* Two queue pairs, which the front-end enables one by one. */
static void test_two_pairs(void **state)
{
	struct vu_env *e = *state;

	vu_env_ready(e, FEATURES);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(vu_client_ring(&e->c, i, 128, 0), 0);
	assert_int_equal(vu_env_info(e).queues_started, 4);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_ENABLE, i, 1), 0);
		assert_int_equal(vu_env_info(e).queues_enabled, i + 1);
	}
}

/* Memory that comes and goes under running rings: they stop, and go on where they were. */
static void test_memory_change(void **state)
{
	struct vu_env *e = *state;
	struct vu_mem_reg reg = {0};
	void *desc;

	vu_env_ready(e, FEATURES);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	desc = e->q[0].q->desc;
	e->q[0].moved = true;
	e->q[0].avail_idx = e->q[0].used_idx = *used_idx(e, 0) = 11;

	reg.region = (struct vu_region){.gpa = 0x80000000, .size = 0x1000, .uva = 0x1000, .offset = 0x2000};
	assert_int_equal(vu_client_ask(&e->c, VU_ADD_MEM_REG, &reg, sizeof(reg), &e->c.mem_fd, 1), 0);
	assert_int_equal(vu_env_info(e).mem_regions, 2);
	assert_int_equal(e->q[0].starts, 2);
	assert_int_equal(e->q[0].q->avail_idx, 11);
	assert_int_equal(e->q[0].q->mem->n, 2);
	assert_ptr_equal(e->q[0].q->desc, desc); /* the mapping itself stayed */

	/* removed without and with the superfluous descriptor; the offset does not matter */
	reg.region.offset = 0;
	assert_int_equal(vu_client_ask(&e->c, VU_REM_MEM_REG, &reg, sizeof(reg), NULL, 0), 0);
	assert_int_equal(vu_env_info(e).mem_regions, 1);
	assert_int_not_equal(vu_client_ask(&e->c, VU_REM_MEM_REG, &reg, sizeof(reg), &e->c.mem_fd, 1), 0);
	assert_int_equal(e->q[0].starts, 3);

	/* the region that it lives in: it stays stopped until that is back */
	reg.region = vu_client_region(&e->c, 0, e->c.mem_size);
	assert_int_equal(vu_client_ask(&e->c, VU_REM_MEM_REG, &reg, sizeof(reg), &e->c.mem_fd, 1), 0);
	assert_null(e->q[0].q);
	assert_int_equal(vu_client_ask(&e->c, VU_ADD_MEM_REG, &reg, sizeof(reg), &e->c.mem_fd, 1), 0);
	assert_non_null(e->q[0].q);
	assert_int_equal(e->q[0].q->avail_idx, 11);

	vu_client_share_memory(&e->c, 0);
	assert_int_equal(e->q[0].starts, 5);
	assert_int_equal(e->errors, 0);
}

static void test_log(void **state)
{
	struct vu_env *e = *state;
	struct vu_log desc = {.size = 0x9000, .offset = 0};
	struct vu_ring_addr addr;
	uint64_t answer = 1;
	uint8_t *bits;
	int fd;

	vu_env_ready(e, FEATURES);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	fd = memfd_create("log", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, 0x9000), 0);
	bits = mmap(NULL, 0x9000, PROT_READ, MAP_SHARED, fd, 0);

	/* QEMU's order: the log, the feature, the addresses with the flag; the reply comes unasked */
	vu_client_send(&e->c, VU_SET_LOG_BASE, 0, &desc, sizeof(desc), &fd, 1);
	assert_int_equal(vu_client_receive(&e->c, VU_SET_LOG_BASE, &answer, 8, NULL), 8);
	assert_int_equal(answer, 0);
	assert_null(e->q[0].q->log);
	assert_false(vu_env_info(e).logging);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_FEATURES, FEATURES | F_PROTOCOL | F_LOG_ALL), 0);
	assert_true(vu_env_info(e).logging);
	assert_non_null(e->q[0].q->log);
	assert_int_equal(e->q[0].q->features, FEATURES);
	addr = vu_client_ring_addr(&e->c, 0);
	addr.flags = VU_RING_F_LOG;
	assert_int_equal(vu_client_ask(&e->c, VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), 0);
	assert_int_equal(e->q[0].q->device_gpa, addr.log);
	dirty_log_mark(e->q[0].q->log, e->q[0].q->device_gpa, 1);
	assert_int_equal(bits[addr.log / 4096 / 8], 1 << addr.log / 4096 % 8);

	/* off again */
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_FEATURES, FEATURES | F_PROTOCOL), 0);
	assert_null(e->q[0].q->log);
	addr.flags = 0;
	assert_int_equal(vu_client_ask(&e->c, VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), 0);
	assert_int_equal(e->q[0].q->device_gpa, VHOST_QUEUE_NOT_LOGGED);
	close(fd);

	fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_LOG_FD, NULL, 0, &fd, 1), 0);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_LOG_FD, NULL, 0, &fd, 1), 0);
	close(fd);
	munmap(bits, 0x9000);
}

/* In a packed ring the used elements are in the descriptor ring; QEMU gives the device area's address. */
static void test_log_packed(void **state)
{
	struct vu_env *e = *state;
	struct vu_ring_addr addr;

	vu_env_ready(e, F_VERSION_1 | F_PACKED | F_LOG_ALL);
	assert_int_equal(vu_client_ring(&e->c, 1, 256, 0x80008000), 0);
	addr = vu_client_ring_addr(&e->c, 1);
	addr.flags = VU_RING_F_LOG;
	assert_int_equal(vu_client_ask(&e->c, VU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), 0);
	assert_int_equal(e->q[1].q->device_gpa, VU_CLIENT_GPA + 0x10000);
}

static void test_net_messages(void **state)
{
	struct vu_env *e = *state;
	uint8_t mac[8] = {2, 0, 0, 1, 2, 3};

	vu_env_ready(e, FEATURES);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_NET_SET_MTU, 9000), 0);
	assert_int_equal(e->mtu, 9000);
	assert_int_not_equal(vu_client_ask_u64(&e->c, VU_NET_SET_MTU, 67), 0);
	assert_int_not_equal(vu_client_ask_u64(&e->c, VU_NET_SET_MTU, 65536), 0);
	assert_int_equal(e->mtu, 9000);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_NET_SET_MTU, 65535), 0);
	assert_int_equal(e->mtu, 65535);
	assert_int_equal(vu_client_ask(&e->c, VU_SEND_RARP, mac, sizeof(mac), NULL, 0), 0);
	assert_int_equal(e->rarps, 1);
	assert_memory_equal(e->mac, mac, 6);
}

static void test_status(void **state)
{
	struct vu_env *e = *state;

	vu_env_ready(e, FEATURES);
	assert_int_equal(vu_client_get(&e->c, VU_GET_STATUS), 0);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_STATUS, 0xf), 0);
	assert_int_equal(e->status, 0xf);
	assert_int_equal(vu_client_get(&e->c, VU_GET_STATUS), 0xf);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_STATUS, 0), 0);
	assert_null(e->q[0].q);
	assert_int_equal(e->status, 0);
	assert_int_equal(vu_env_info(e).features, 0);
	assert_int_equal(vu_env_info(e).mem_regions, 1); /* QEMU does not send it again */
	/* and up again */
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_FEATURES, FEATURES | F_PROTOCOL), 0);
	assert_int_equal(e->q[0].starts, 1);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	assert_int_equal(e->q[0].starts, 2);
}

static void test_resets(void **state)
{
	struct vu_env *e = *state;

	vu_env_ready(e, FEATURES);
	for (unsigned int round = 0; round < 2; round++) {
		uint32_t request = round ? VU_RESET_OWNER : VU_RESET_DEVICE;

		assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_FEATURES, FEATURES | F_PROTOCOL), 0);
		assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
		assert_int_equal(vu_client_ring(&e->c, 1, 256, 0), 0);
		assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_ENABLE, 0, 1), 0);
		assert_int_equal(vu_env_info(e).queues_started, 2);
		assert_int_equal(vu_client_ask(&e->c, request, NULL, 0, NULL, 0), 0);
		assert_int_equal(vu_env_info(e).queues_started, 0);
		assert_true(vu_env_info(e).connected);
		assert_int_equal(vu_env_info(e).features, round ? FEATURES : 0);
	}
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	assert_false(e->q[0].q->enabled);
}

static void test_queue_failed(void **state)
{
	struct vu_env *e = *state;
	uint64_t value = 0;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	vu_env_ready(e, FEATURES);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 5), 0);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_VRING_ERR, &value, 8, &fd, 1), 0);
	vhost_user_queue_failed(e->vu, 0, "descriptor loop");
	vhost_user_queue_failed(e->vu, 0, "once more"); /* not running: nothing */
	vhost_user_queue_failed(e->vu, 77, "no such queue");
	assert_int_equal(e->q[0].stops, 1);
	assert_int_equal(read(fd, &value, 8), 8);
	assert_int_equal(value, 1);
	assert_non_null(strstr(e->text, "descriptor loop"));
	/* changes elsewhere do not start it, the driver's set-up does */
	vu_client_share_memory(&e->c, 0);
	assert_int_equal(e->q[0].starts, 1);
	assert_int_equal(vu_client_get_base(&e->c, 0), 5);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	assert_int_equal(e->q[0].starts, 2);
	close(fd);
}

/* The owner does not take the queue: the front-end hears of it, and may try again. */
static void test_start_fails(void **state)
{
	struct vu_env *e = *state;

	vu_env_ready(e, FEATURES);
	e->start_result = -ENOSPC;
	assert_int_not_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	assert_int_equal(vu_env_info(e).queues_started, 0);
	e->start_result = 0;
	assert_int_equal(vu_client_kick(&e->c, 0), 0);
	assert_non_null(e->q[0].q);
}

static void test_disconnect_by_owner(void **state)
{
	struct vu_env *e = *state;

	vu_env_ready(e, FEATURES);
	e->disconnect_in_start = true; /* inside the dispatcher */
	vu_client_ring(&e->c, 0, 256, 0);
	assert_true(vu_client_hung_up(&e->c));
	assert_int_equal(e->disconnects, 1);
	assert_string_equal(e->why, "the owner does not like it");
	e->disconnect_in_start = false;
	vu_client_disconnect(&e->c);

	vu_env_ready(e, FEATURES);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	vhost_user_disconnect(e->vu, "enough"); /* outside */
	assert_true(vu_client_hung_up(&e->c));
	assert_string_equal(e->why, "enough");
	vhost_user_disconnect(e->vu, "nobody there");
	assert_int_equal(e->disconnects, 2);
}

static void test_free_in_disconnected(void **state)
{
	struct vu_env *e = *state;

	vu_env_ready(e, FEATURES);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	e->free_in_disconnected = true;
	vu_client_disconnect(&e->c);
	assert_null(e->vu);
}

static void test_inflight_split(void **state)
{
	struct vu_env *e = *state;
	struct vu_inflight_desc d = {.num_queues = 4, .queue_size = 256};
	int fd;

	vu_env_ready(e, FEATURES);
	vu_client_send(&e->c, VU_GET_INFLIGHT_FD, 0, &d, sizeof(d), NULL, 0);
	assert_int_equal(vu_client_receive(&e->c, VU_GET_INFLIGHT_FD, &d, sizeof(d), &fd), sizeof(d));
	assert_true(fd >= 0);
	assert_true(d.size >= 4 * vhost_inflight_region_size(256, true));
	/* the packed structure of the specification, without C's padding */
	vu_client_send(&e->c, VU_GET_INFLIGHT_FD, 0, &d, 20, NULL, 0);
	assert_int_equal(vu_client_receive(&e->c, VU_GET_INFLIGHT_FD, &d, sizeof(d), NULL), 20);

	assert_int_equal(vu_client_ask(&e->c, VU_SET_INFLIGHT_FD, &d, sizeof(d), &fd, 1), 0);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	assert_int_equal(vu_client_ring(&e->c, 3, 128, 0), 0);
	assert_non_null(e->q[0].q->inflight);
	assert_non_null(e->q[3].q->inflight);
	assert_ptr_not_equal(e->q[0].q->inflight->split, e->q[3].q->inflight->split);
	vhost_inflight_split_done(e->q[0].q->inflight, 4);

	/* The back-end dies after it took ten and completed four; the front-end knows nothing better than its
	 * last base. With the area the ring goes on at the used index all the same. */
	*used_idx(e, 0) = 4;
	vu_client_disconnect(&e->c);
	vu_env_ready(e, FEATURES);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_INFLIGHT_FD, &d, 20, &fd, 1), 0);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	assert_int_equal(e->q[0].q->avail_idx, 4);
	assert_int_equal(e->q[0].q->used_idx, 4);
	/* only the first start recovers; later bases count */
	vu_client_get_base(&e->c, 0);
	*used_idx(e, 0) = 0;
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	assert_int_equal(e->q[0].q->avail_idx, 0);
	assert_int_equal(e->q[0].q->inflight->split->used_idx, 0);
	close(fd);
}

static void test_inflight_packed(void **state)
{
	struct vu_env *e = *state;
	struct vu_inflight_desc d = {.num_queues = 2, .queue_size = 256};
	int fd;

	vu_env_ready(e, F_VERSION_1 | F_PACKED);
	vu_client_send(&e->c, VU_GET_INFLIGHT_FD, 0, &d, sizeof(d), NULL, 0);
	assert_int_equal(vu_client_receive(&e->c, VU_GET_INFLIGHT_FD, &d, sizeof(d), &fd), sizeof(d));
	assert_int_equal(vu_client_ask(&e->c, VU_SET_INFLIGHT_FD, &d, sizeof(d), &fd, 1), 0);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0x80008000), 0);
	assert_int_equal(vu_client_ring(&e->c, 2, 256, 0x80008000), 0);
	assert_null(e->q[2].q->inflight); /* beyond the area */
	vhost_inflight_packed_begin(e->q[0].q->inflight, 0x8009);
	vhost_inflight_packed_end(e->q[0].q->inflight);
	vhost_inflight_packed_begin(e->q[0].q->inflight, 0x800c); /* not published */
	e->c.mem[9 * 16 + 14] = 0x80;                             /* available */
	vu_client_disconnect(&e->c);

	vu_env_ready(e, F_VERSION_1 | F_PACKED);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_INFLIGHT_FD, &d, sizeof(d), &fd, 1), 0);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0x80008000), 0);
	assert_int_equal(e->q[0].q->avail_idx, 0x8009);
	assert_int_equal(e->q[0].q->used_idx, 0x8009);
	vu_client_disconnect(&e->c);

	/* a queue larger than the area, and an area as small as split rings need */
	vu_env_ready(e, F_VERSION_1 | F_PACKED);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_INFLIGHT_FD, &d, sizeof(d), &fd, 1), 0);
	assert_int_not_equal(vu_client_ring(&e->c, 0, 512, 0x80008000), 0);
	d.size = 2 * vhost_inflight_region_size(256, false);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_INFLIGHT_FD, &d, sizeof(d), &fd, 1), 0);
	assert_int_not_equal(vu_client_ring(&e->c, 0, 256, 0x80008000), 0);
	close(fd);
}

static int backend_channel(struct vu_env *e, int *front)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
	close(pair[1]);
	*front = pair[0];
	return 0;
}

struct notifier {
	struct vu_header hdr;
	struct vu_ring_area area;
	int fd;
};

static void receive_notifier(int channel, struct notifier *n)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov[2] = {{&n->hdr, sizeof(n->hdr)}, {&n->area, sizeof(n->area)}};
	struct msghdr mh = {
		.msg_iov = iov, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof(control)};

	assert_int_equal(recvmsg(channel, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT), 36);
	assert_int_equal(n->hdr.request, VU_BACKEND_VRING_HOST_NOTIFIER);
	assert_int_equal(n->hdr.flags, VU_VERSION | VU_FLAG_NEED_REPLY);
	assert_int_equal(n->hdr.size, sizeof(n->area));
	n->fd = -1;
	if (CMSG_FIRSTHDR(&mh))
		memcpy(&n->fd, CMSG_DATA(CMSG_FIRSTHDR(&mh)), sizeof(n->fd));
}

static void answer(struct vu_env *e, int channel, uint64_t result)
{
	struct {
		struct vu_header hdr;
		uint32_t result[2];
	} r = {.hdr = {VU_BACKEND_VRING_HOST_NOTIFIER, VU_VERSION | VU_FLAG_REPLY, 8}};

	memcpy(r.result, &result, sizeof(result));
	assert_int_equal(write(channel, &r, 7), 7); /* in two pieces */
	vu_env_pump(e);
	assert_int_equal(write(channel, (char *)&r + 7, sizeof(r) - 7), sizeof(r) - 7);
	vu_env_pump(e);
}

static void test_host_notifier(void **state)
{
	struct vu_env *e = *state;
	struct notifier n;
	int channel, fd = memfd_create("doorbell", MFD_CLOEXEC);

	assert_int_equal(vhost_user_set_host_notifier(e->vu, 0, fd, 0, 4096), -ENOTCONN);
	assert_int_equal(vu_client_connect(&e->c, e->path), 0);
	assert_int_equal(vhost_user_set_host_notifier(e->vu, 0, fd, 0, 4096), -EOPNOTSUPP);
	vu_client_negotiate(&e->c, FEATURES);
	assert_int_equal(vhost_user_set_host_notifier(e->vu, 0, fd, 0, 4096), -ENOTCONN);
	backend_channel(e, &channel);
	assert_int_equal(vhost_user_set_host_notifier(e->vu, 4, fd, 0, 4096), -EINVAL);
	assert_int_equal(vhost_user_set_host_notifier(e->vu, 0, fd, 0, 0), -EINVAL);
	assert_int_equal(vhost_user_set_host_notifier(e->vu, 0, fd, 1, 4096), -EINVAL);

	assert_int_equal(vhost_user_set_host_notifier(e->vu, 3, fd, 0x2000, 4096), 0);
	receive_notifier(channel, &n);
	assert_int_equal(n.area.ring, 3);
	assert_int_equal(n.area.size, 4096);
	assert_int_equal(n.area.offset, 0x2000);
	assert_true(n.fd >= 0);
	close(n.fd);
	answer(e, channel, 0);
	assert_int_equal(e->events, 0);

	assert_int_equal(vhost_user_set_host_notifier(e->vu, 3, -1, 0, 0), 0);
	receive_notifier(channel, &n);
	assert_int_equal(n.area.ring, 3 | VU_RING_NOFD);
	assert_int_equal(n.fd, -1);
	answer(e, channel, 1); /* declined */
	assert_int_equal(e->events, 1);

	/* nobody reads: bounded, and no waiting */
	for (unsigned int i = 0; i < 2 * VHOST_USER_MAX_QUEUES; i++)
		assert_int_equal(vhost_user_set_host_notifier(e->vu, 0, fd, 0, 4096), 0);
	assert_int_equal(vhost_user_set_host_notifier(e->vu, 0, fd, 0, 4096), -EBUSY);

	/* another channel takes its place */
	close(channel);
	backend_channel(e, &channel);
	assert_int_equal(vhost_user_set_host_notifier(e->vu, 0, fd, 0, 4096), 0);
	receive_notifier(channel, &n);
	close(n.fd);
	/* a reply that nobody asked for ends the channel, not the connection */
	answer(e, channel, 0);
	answer(e, channel, 0);
	assert_int_equal(vhost_user_set_host_notifier(e->vu, 0, fd, 0, 4096), -ENOTCONN);
	assert_int_equal(vu_client_get(&e->c, VU_GET_STATUS), 0);
	close(channel);

	/* the front-end's end is gone when we write */
	backend_channel(e, &channel);
	close(channel);
	assert_true(vhost_user_set_host_notifier(e->vu, 0, fd, 0, 4096) < 0);
	assert_int_equal(vhost_user_set_host_notifier(e->vu, 0, fd, 0, 4096), -ENOTCONN);
	assert_int_equal(vu_client_get(&e->c, VU_GET_STATUS), 0);
	close(fd);
}

static void test_second_client(void **state)
{
	struct vu_env *e = *state;
	struct vu_client other;

	vu_env_ready(e, FEATURES);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	vu_client_init(&other, vu_env_pump, e);
	assert_int_equal(vu_client_connect(&other, e->path), 0);
	assert_true(vu_client_hung_up(&other));
	vu_client_done(&other);
	assert_int_equal(vu_env_info(e).refused_clients, 1);
	assert_int_equal(vu_env_info(e).connections, 1);
	assert_non_null(strstr(e->text, "refused"));
	assert_non_null(e->q[0].q);
	assert_int_equal(vu_client_get(&e->c, VU_GET_QUEUE_NUM), 2);

	/* after the first one left the next one is served */
	vu_client_disconnect(&e->c);
	vu_env_ready(e, FEATURES);
	assert_int_equal(vu_env_info(e).connections, 2);
}

static void test_socket_file(void **state)
{
	struct vu_env *e = *state;
	struct vhost_user *first = e->vu;
	struct stat st;
	FILE *f;

	assert_int_equal(stat(e->path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0600);
	/* live */
	assert_int_equal(vu_env_new_device(e, 1, 0), -EADDRINUSE);
	vu_env_pump(e);
	e->vu = NULL;
	/* freed: gone; then a stale one */
	vhost_user_free(first);
	assert_int_equal(access(e->path, F_OK), -1);
	{
		struct sockaddr_un addr = {.sun_family = AF_UNIX};
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		strcpy(addr.sun_path, e->path);
		assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
		close(fd);
	}
	assert_int_equal(access(e->path, F_OK), 0);
	assert_int_equal(vu_env_new_device(e, 1, 0), 0);
	assert_int_equal(vu_client_connect(&e->c, e->path), 0);
	assert_int_equal(vu_client_get(&e->c, VU_GET_QUEUE_NUM), 1);
	/* A file that is not ours is not removed, neither before nor after. */
	assert_int_equal(unlink(e->path), 0);
	f = fopen(e->path, "we");
	fclose(f);
	vhost_user_free(e->vu);
	e->vu = NULL;
	assert_int_equal(access(e->path, F_OK), 0);
	assert_int_equal(vu_env_new_device(e, 1, 0), -EEXIST);
	assert_int_equal(access(e->path, F_OK), 0);
	unlink(e->path);

	{
		struct vhost_user_ops none = {0};
		struct vhost_user_config config = {.path = e->path, .queue_pairs = 1, .ops = &none};
		struct err err = {0};

		assert_int_equal(vhost_user_new(e->event, &config, &e->vu, &err), -EINVAL);
		assert_true(*err.text != 0);
	}
	assert_int_equal(vu_env_new_device(e, 0, 0), -EINVAL);
	assert_int_equal(vu_env_new_device(e, VHOST_USER_MAX_QUEUE_PAIRS + 1, 0), -EINVAL);
	assert_int_equal(vu_env_new_device(e, 1, F_PROTOCOL), -EINVAL);
	snprintf(e->path, sizeof(e->path), "%s/none/sock", e->dir);
	assert_int_equal(vu_env_new_device(e, 1, 0), -ENOENT);
	assert_null(e->vu);
	vhost_user_free(NULL);
}

static int never_start(void *ctx, const struct vhost_queue *q)
{
	(void)ctx;
	(void)q;
	return -EIO;
}

static void never_stop(void *ctx, unsigned int index, uint16_t *ret_avail_idx, uint16_t *ret_used_idx)
{
	(void)ctx;
	(void)index;
	(void)ret_avail_idx;
	(void)ret_used_idx;
}

/* An owner that leaves out all that it may, a path that is too long, and the longest possible one. */
static void test_long_path(void **state)
{
	static const struct vhost_user_ops least = {.queue_start = never_start, .queue_stop = never_stop};
	struct vu_env *e = *state;
	struct vhost_user_config config = {
		.mode = 0660, .group = getegid(), .features = FEATURES, .queue_pairs = 1, .ops = &least};
	struct vhost_user *vu = NULL;
	char path[160];
	struct stat st;
	size_t n = (size_t)snprintf(path, sizeof(path), "%s/", e->dir);

	memset(path + n, 'a', sizeof(path) - n);
	path[108] = 0;
	config.path = path;
	assert_int_equal(vhost_user_new(e->event, &config, &vu, NULL), -ENAMETOOLONG);
	path[107] = 0;
	assert_int_equal(vhost_user_new(e->event, &config, &vu, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(vu_client_connect(&e->c, path), 0);
	vu_client_negotiate(&e->c, FEATURES);
	vu_client_share_memory(&e->c, 0x100000);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_STATUS, 1), 0);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_NET_SET_MTU, 1500), 0);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SEND_RARP, 1), 0);
	assert_int_not_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	vhost_user_free(vu);
	vu_client_disconnect(&e->c);
	assert_int_equal(vu_client_connect(&e->c, path), -ENOENT);
}

/* What a host with four virtual PFs of 255 VFs needs at once. */
static void test_many_devices(void **state)
{
	static const struct vhost_user_ops least = {.queue_start = never_start, .queue_stop = never_stop};
	static struct vhost_user *vu[1024];
	struct vu_env *e = *state;
	char path[128];

	for (unsigned int i = 0; i < ARRAY_SIZE(vu); i++) {
		struct vhost_user_config config = {
			.path = path, .mode = 0600, .group = (gid_t)-1, .queue_pairs = 1, .ops = &least};
		int r;

		snprintf(path, sizeof(path), "%s/s%u", e->dir, i);
		r = vhost_user_new(e->event, &config, &vu[i], NULL);
		if (r == -EMFILE)
			break; /* a small limit here; as far as it goes */
		assert_int_equal(r, 0);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(vu); i++)
		vhost_user_free(vu[i]);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, vu_env_setup, vu_env_teardown)
	const struct CMUnitTest tests[] = {
		T(test_features),
		T(test_set_features),
		T(test_no_reply_ack),
		T(test_ring_life),
		T(test_qemu_order),
		T(test_any_order),
		T(test_no_protocol_features),
		T(test_packed),
		T(test_two_pairs),
		T(test_memory_change),
		T(test_log),
		T(test_log_packed),
		T(test_net_messages),
		T(test_status),
		T(test_resets),
		T(test_queue_failed),
		T(test_start_fails),
		T(test_disconnect_by_owner),
		T(test_free_in_disconnected),
		T(test_inflight_split),
		T(test_inflight_packed),
		T(test_host_notifier),
		T(test_second_client),
		T(test_socket_file),
		T(test_long_path),
		T(test_many_devices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
