/* SPDX-License-Identifier: Apache-2.0 */

/* What changes under the rings of the vhost-user back-end while they run: memory, the dirty log, and its owner's mind.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vu_env.h"

#define FEATURES (F_VERSION_1 | F_EVENT_IDX)

static uint16_t *used_idx(struct vu_env *e, unsigned int index)
{
	return (uint16_t *)(void *)(e->c.mem + index * 0x10000 + 0xa002);
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
	int fd, back;

	vu_env_ready(e, FEATURES);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	fd = memfd_create("log", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, 0x9000), 0);
	bits = mmap(NULL, 0x9000, PROT_READ, MAP_SHARED, fd, 0);

	/* QEMU's order: the log, the feature, the addresses with the flag; the reply comes unasked */
	vu_client_send(&e->c, VU_SET_LOG_BASE, 0, &desc, sizeof(desc), &fd, 1);
	assert_int_equal(vu_client_receive(&e->c, VU_SET_LOG_BASE, &answer, 8, &back), 8);
	assert_int_equal(answer, 0);
	assert_int_equal(back, -1);
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

static int on_later(sd_event_source *source, void *userdata)
{
	struct vu_env *e = userdata;

	(void)source;
	assert_int_equal(e->q[0].enabled, 0); /* the message behind has not been read */
	e->later = sd_event_source_disable_unref(e->later);
	return 0;
}

/* What the owner left to the event loop when a queue started is done when the next message is read, though
 * that was there already. */
static void test_later(void **state)
{
	struct {
		struct vu_header kick;
		uint64_t which;
		struct vu_header enable;
		struct vu_ring_state on;
	} __attribute__((packed)) both = {
		{VU_SET_VRING_KICK, 1 | VU_FLAG_NEED_REPLY, 8},
		VU_RING_NOFD,
		{VU_SET_VRING_ENABLE, 1 | VU_FLAG_NEED_REPLY, 8},
		{0, 1},
	};
	struct vu_env *e = *state;
	uint64_t answer;

	vu_env_ready(e, FEATURES);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 0);
	assert_int_equal(vu_client_get_base(&e->c, 0), 0);
	e->q[0].enabled = 0;
	assert_true(sd_event_add_defer(e->event, &e->later, on_later, e) >= 0);
	assert_true(sd_event_source_set_enabled(e->later, SD_EVENT_OFF) >= 0);
	assert_int_equal(vu_client_send_raw(&e->c, &both, sizeof(both), NULL, 0), 0);
	assert_int_equal(vu_client_receive(&e->c, VU_SET_VRING_KICK, &answer, 8, NULL), 8);
	assert_int_equal(vu_client_receive(&e->c, VU_SET_VRING_ENABLE, &answer, 8, NULL), 8);
	assert_null(e->later);
	assert_int_equal(e->q[0].enabled, 1);
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

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, vu_env_setup, vu_env_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_memory_change), TEST(test_log),
		TEST(test_log_packed),    TEST(test_queue_failed),
		TEST(test_start_fails),   TEST(test_disconnect_by_owner),
		TEST(test_later),         TEST(test_free_in_disconnected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
