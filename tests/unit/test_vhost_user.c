/* SPDX-License-Identifier: Apache-2.0 */

/* The vhost-user back-end with front-ends that mean well: messages, the orders in which QEMU and DPDK send them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

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

/* Without REPLY_ACK only questions are answered. */
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

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, vu_env_setup, vu_env_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_features),
		TEST(test_set_features),
		TEST(test_no_reply_ack),
		TEST(test_ring_life),
		TEST(test_qemu_order),
		TEST(test_any_order),
		TEST(test_no_protocol_features),
		TEST(test_packed),
		TEST(test_two_pairs),
		TEST(test_net_messages),
		TEST(test_status),
		TEST(test_resets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
