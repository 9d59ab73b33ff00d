/* SPDX-License-Identifier: Apache-2.0 */

/* The vhost-user back-end with front-ends that mean harm, or do not know better. After each misdeed the
 * device has to serve the next connection, and the environment's teardown finds what was left behind. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>

#include "vu_env.h"

#define FEATURES (F_VERSION_1 | F_EVENT_IDX)

/* The front-end was thrown out, with one error in the log and one counted. The next one is served. */
static void assert_ended(struct vu_env *e, unsigned int errors)
{
	uint64_t bad = vu_env_info(e).bad_messages;

	assert_true(vu_client_hung_up(&e->c));
	assert_int_equal(e->errors, errors);
	assert_int_equal(bad, errors);
	assert_true(*e->why != 0);
	assert_false(vu_env_info(e).connected);
	vu_client_disconnect(&e->c);
}

/* Connected, negotiated, with memory and one running ring: the state in which most can go wrong. */
static void running(struct vu_env *e)
{
	vu_env_ready(e, FEATURES);
	assert_int_equal(vu_client_ring(&e->c, 1, 256, 0), 0);
	assert_non_null(e->q[1].q);
}

static const struct {
	uint32_t request, min_size, max_size;
	unsigned int min_fds, max_fds;
} shapes[] = {
	{VU_GET_FEATURES, 0, 0, 0, 0},
	{VU_SET_FEATURES, 8, 8, 0, 0},
	{VU_SET_OWNER, 0, 8, 0, 0},
	{VU_RESET_OWNER, 0, 8, 0, 0},
	{VU_SET_MEM_TABLE, 8, 264, 0, 8},
	{VU_SET_LOG_BASE, 16, 16, 1, 1},
	{VU_SET_LOG_FD, 0, 8, 1, 1},
	{VU_SET_VRING_NUM, 8, 8, 0, 0},
	{VU_SET_VRING_ADDR, 40, 40, 0, 0},
	{VU_SET_VRING_BASE, 8, 8, 0, 0},
	{VU_GET_VRING_BASE, 8, 8, 0, 0},
	{VU_SET_VRING_KICK, 8, 8, 0, 1},
	{VU_SET_VRING_CALL, 8, 8, 0, 1},
	{VU_SET_VRING_ERR, 8, 8, 0, 1},
	{VU_GET_PROTOCOL_FEATURES, 0, 0, 0, 0},
	{VU_SET_PROTOCOL_FEATURES, 8, 8, 0, 0},
	{VU_GET_QUEUE_NUM, 0, 0, 0, 0},
	{VU_SET_VRING_ENABLE, 8, 8, 0, 0},
	{VU_SEND_RARP, 8, 8, 0, 0},
	{VU_NET_SET_MTU, 8, 8, 0, 0},
	{VU_SET_BACKEND_REQ_FD, 0, 8, 1, 1},
	{VU_GET_INFLIGHT_FD, 20, 24, 0, 0},
	{VU_SET_INFLIGHT_FD, 20, 24, 1, 1},
	{VU_RESET_DEVICE, 0, 8, 0, 0},
	{VU_GET_MAX_MEM_SLOTS, 0, 0, 0, 0},
	{VU_ADD_MEM_REG, 40, 40, 1, 1},
	{VU_REM_MEM_REG, 40, 40, 0, 1},
	{VU_SET_STATUS, 8, 8, 0, 0},
	{VU_GET_STATUS, 0, 0, 0, 0},
};

/* Every message with a payload that is too short and too long, and with too few and too many descriptors. */
static void test_shapes(void **state)
{
	struct vu_env *e = *state;
	uint8_t payload[512] = {0};
	unsigned int errors = 0;
	int fds[9];

	for (unsigned int i = 0; i < 9; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (unsigned int i = 0; i < ARRAY_SIZE(shapes); i++) {
		for (unsigned int how = 0; how < 4; how++) {
			uint32_t size = shapes[i].min_size;
			unsigned int n = shapes[i].min_fds;

			if ((how == 0 && !size) || (how == 2 && !n) || (how == 3 && shapes[i].max_fds == 8))
				continue;
			if (how == 0)
				size--;
			else if (how == 1)
				size = shapes[i].max_size + 1;
			else if (how == 2)
				n--;
			else
				n = shapes[i].max_fds + 1;
			running(e);
			vu_client_send(&e->c, shapes[i].request, VU_FLAG_NEED_REPLY, payload, size, fds, n);
			assert_ended(e, ++errors);
			assert_null(e->q[1].q);
		}
	}
	for (unsigned int i = 0; i < 9; i++)
		close(fds[i]);
}

static void test_headers(void **state)
{
	struct vu_env *e = *state;
	const struct vu_header headers[] = {
		{VU_GET_FEATURES, 0, 0},                                     /* version */
		{VU_GET_FEATURES, 2, 0},                                     /* version */
		{VU_GET_FEATURES, VU_VERSION | VU_FLAG_REPLY, 0},            /* not a request */
		{VU_GET_FEATURES, VU_VERSION, sizeof(union vu_payload) + 1}, /* too long for any */
		{VU_GET_FEATURES, VU_VERSION, UINT32_MAX},
		{0, VU_VERSION, 0}, /* no such message; nor those below */
		{22, VU_VERSION, 0},
		{24, VU_VERSION, 12},
		{41, VU_VERSION, 0},
		{1000, VU_VERSION, 0},
		{UINT32_MAX, VU_VERSION, 8},
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(headers); i++) {
		uint8_t bytes[VU_HEADER_SIZE + 16] = {0};
		size_t size = MIN(headers[i].size, 16u);

		running(e);
		memcpy(bytes, &headers[i], VU_HEADER_SIZE);
		vu_client_send_raw(&e->c, bytes, VU_HEADER_SIZE + size, NULL, 0);
		assert_ended(e, i + 1);
	}
}

/* A message that we do not know, from a front-end that asks: no. Nothing else happens. */
static void test_unknown_asked(void **state)
{
	struct vu_env *e = *state;
	uint8_t payload[32] = {0};

	running(e);
	assert_int_equal(vu_client_ask(&e->c, 22, payload, 32, NULL, 0), 1);
	assert_int_equal(vu_client_ask(&e->c, 28, payload, 0, NULL, 0), 1);
	assert_int_equal(vu_client_ask(&e->c, UINT32_MAX, payload, 8, &e->c.mem_fd, 1), 1);
	assert_non_null(e->q[1].q);
	assert_int_equal(e->errors, 0);
}

/* Messages whose protocol feature was not negotiated. */
static void test_not_negotiated(void **state)
{
	static const uint32_t requests[] = {VU_SET_LOG_BASE, VU_GET_INFLIGHT_FD, VU_SET_INFLIGHT_FD,
					    VU_GET_STATUS,   VU_SET_STATUS,      VU_GET_MAX_MEM_SLOTS,
					    VU_ADD_MEM_REG,  VU_REM_MEM_REG};
	struct vu_env *e = *state;
	uint8_t payload[512] = {0};
	int fd = eventfd(0, EFD_CLOEXEC);
	unsigned int errors = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(requests); i++) {
		for (unsigned int j = 0; j < ARRAY_SIZE(shapes); j++) {
			if (shapes[j].request != requests[i])
				continue;
			assert_int_equal(vu_client_connect(&e->c, e->path), 0);
			vu_client_send(&e->c, requests[i], 0, payload, shapes[j].min_size, &fd,
				       shapes[j].min_fds);
			assert_ended(e, ++errors);
			assert_non_null(strstr(e->why, "not negotiated"));
		}
	}
	assert_int_equal(errors, ARRAY_SIZE(requests));
	close(fd);
}

/* Values that no front-end may send. */
static void test_values(void **state)
{
	static const struct {
		uint32_t request;
		uint64_t value;
	} u64[] = {
		{VU_SET_FEATURES, 1},
		{VU_SET_FEATURES, UINT64_MAX},
		{VU_SET_PROTOCOL_FEATURES, 1 << 9}, /* CONFIG */
		{VU_SET_PROTOCOL_FEATURES, UINT64_MAX},
		{VU_SET_STATUS, 256},
		{VU_SET_VRING_KICK, 4 | VU_RING_NOFD},
		{VU_SET_VRING_CALL, 255 | VU_RING_NOFD},
		{VU_SET_VRING_ERR, 0x200 | VU_RING_NOFD},
		{VU_SET_VRING_KICK, 0}, /* a descriptor is announced and missing */
		{VU_SET_VRING_CALL, 0},
		{VU_SET_VRING_ERR, 0},
	};
	static const struct {
		uint32_t request;
		struct vu_ring_state value;
	} states[] = {
		{VU_SET_VRING_NUM, {4, 256}},  {VU_SET_VRING_NUM, {UINT32_MAX, 256}},
		{VU_SET_VRING_NUM, {0, 0}},    {VU_SET_VRING_NUM, {0, 1025}},
		{VU_SET_VRING_NUM, {0, 2048}}, {VU_SET_VRING_NUM, {0, 100}},
		{VU_SET_VRING_NUM, {1, 256}}, /* running */
		{VU_SET_VRING_BASE, {1, 0}},  /* running */
		{VU_SET_VRING_BASE, {4, 0}},   {VU_SET_VRING_BASE, {0, 0x10000}},
		{VU_GET_VRING_BASE, {4, 0}},   {VU_SET_VRING_ENABLE, {4, 1}},
		{VU_SET_VRING_ENABLE, {0, 2}},
	};
	struct vu_env *e = *state;
	unsigned int errors = 0;
	uint64_t nofd = VU_RING_NOFD;

	for (unsigned int i = 0; i < ARRAY_SIZE(u64); i++) {
		running(e);
		vu_client_send(&e->c, u64[i].request, 0, &u64[i].value, 8, NULL, 0);
		assert_ended(e, ++errors);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(states); i++) {
		running(e);
		vu_client_send(&e->c, states[i].request, 0, &states[i].value, 8, NULL, 0);
		assert_ended(e, ++errors);
	}
	/* a descriptor although there shall be none */
	running(e);
	vu_client_send(&e->c, VU_SET_VRING_CALL, 0, &nofd, 8, &e->c.call[1], 1);
	assert_ended(e, ++errors);
}

/* Kick, call and error descriptors that are no eventfds. */
static void test_wrong_descriptors(void **state)
{
	static const uint32_t requests[] = {VU_SET_VRING_KICK, VU_SET_VRING_CALL, VU_SET_VRING_ERR};
	struct vu_env *e = *state;
	unsigned int errors = 0;
	uint64_t index = 0;
	int pipefd[2];

	assert_int_equal(pipe2(pipefd, O_CLOEXEC), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(requests); i++) {
		running(e);
		vu_client_send(&e->c, requests[i], 0, &index, 8, &pipefd[1], 1);
		assert_ended(e, ++errors);
		running(e);
		vu_client_send(&e->c, requests[i], 0, &index, 8, &e->c.mem_fd, 1);
		assert_ended(e, ++errors);
	}
	running(e);
	assert_int_not_equal(vu_client_ask(&e->c, VU_SET_BACKEND_REQ_FD, NULL, 0, &pipefd[0], 1), 0);
	assert_int_not_equal(vu_client_ask(&e->c, VU_SET_BACKEND_REQ_FD, NULL, 0, &e->c.mem_fd, 1), 0);
	assert_non_null(e->q[1].q);
	close(pipefd[0]);
	close(pipefd[1]);
}

/* Tables of regions that do not add up. */
static void test_mem_table(void **state)
{
	struct vu_env *e = *state;
	struct vu_memory t = {.n = 1};
	unsigned int errors = 0;
	int fds[8];

	running(e);
	for (unsigned int i = 0; i < 8; i++)
		fds[i] = e->c.mem_fd;
	for (unsigned int i = 0; i < 8; i++)
		t.regions[i] = (struct vu_region){
			.gpa = i * 0x1000, .size = 0x1000, .uva = 0x10000 + i * 0x1000, .offset = i * 0x1000};
	/* good: eight */
	t.n = 8;
	assert_int_equal(vu_client_ask(&e->c, VU_SET_MEM_TABLE, &t, sizeof(t), fds, 8), 0);
	assert_int_equal(vu_env_info(e).mem_regions, 8);
	assert_null(e->q[1].q); /* its memory is gone */
	/* good: none */
	t.n = 0;
	assert_int_equal(vu_client_ask(&e->c, VU_SET_MEM_TABLE, &t, 8, NULL, 0), 0);
	assert_int_equal(vu_env_info(e).mem_regions, 0);
	vu_client_share_memory(&e->c, 0);
	assert_non_null(e->q[1].q);
	vu_client_disconnect(&e->c);

	static const struct {
		uint32_t n, size;
		unsigned int nfds;
	} wrong[] = {{9, 264, 8}, {UINT32_MAX, 264, 8}, {1, 40, 0}, {1, 40, 2},
		     {2, 72, 1},  {1, 72, 1},           {2, 40, 2}, {0, 8, 1}};

	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		running(e);
		t.n = wrong[i].n;
		vu_client_send(&e->c, VU_SET_MEM_TABLE, 0, &t, wrong[i].size, fds, wrong[i].nfds);
		assert_ended(e, ++errors);
	}
}

static struct vu_region bad_region(const struct vu_env *e, unsigned int i)
{
	struct vu_region good = {.gpa = 0x1000, .size = 0x1000, .uva = 0x1000, .offset = 0x1000}, g = good;

	switch (i) {
	case 0:
		g.size = 0;
		break;
	case 1:
		g.gpa = UINT64_MAX - 0xfff;
		break;
	case 2:
		g.uva = UINT64_MAX - 0xfff;
		break;
	case 3:
		g.offset = UINT64_MAX - 0xfff;
		break;
	case 4:
		g.size = UINT64_MAX;
		break;
	case 5:
		g.offset = e->c.mem_size;
		break;
	case 6:
		g.offset = e->c.mem_size - 0xfff;
		break;
	case 7:
		g.size = e->c.mem_size;
		break;
	}
	return g;
}

/* Regions that cannot be: refused whole, and nothing has changed; the ring runs on. Who does not ask is
 * thrown out. */
static void test_regions(void **state)
{
	struct vu_env *e = *state;

	running(e);
	for (unsigned int i = 0; i < 8; i++) {
		struct vu_memory t = {.n = 2,
				      .regions = {vu_client_region(&e->c, 0, 0x1000), bad_region(e, i)}};
		struct vu_mem_reg reg = {.region = bad_region(e, i)};
		int fds[2] = {e->c.mem_fd, e->c.mem_fd};

		assert_int_equal(vu_client_ask(&e->c, VU_SET_MEM_TABLE, &t, 8 + 2 * 32, fds, 2), 1);
		assert_int_equal(vu_client_ask(&e->c, VU_ADD_MEM_REG, &reg, sizeof(reg), fds, 1), 1);
	}
	{
		/* overlap */
		struct vu_mem_reg reg = {.region = vu_client_region(&e->c, 0x1000, 0x1000)};
		struct vu_memory t = {.n = 2, .regions = {reg.region, reg.region}};
		int fds[2] = {e->c.mem_fd, e->c.mem_fd};

		assert_int_equal(vu_client_ask(&e->c, VU_ADD_MEM_REG, &reg, sizeof(reg), fds, 1), 1);
		assert_int_equal(vu_client_ask(&e->c, VU_SET_MEM_TABLE, &t, 8 + 2 * 32, fds, 2), 1);
		/* not memory at all */
		t.n = 1;
		assert_int_equal(vu_client_ask(&e->c, VU_SET_MEM_TABLE, &t, 8 + 32, &e->c.kick[1], 1), 1);
		assert_int_equal(e->q[1].starts, 1);
		assert_int_equal(vu_env_info(e).mem_regions, 1);
		assert_int_equal(e->errors, 0);

		vu_client_send(&e->c, VU_ADD_MEM_REG, 0, &reg, sizeof(reg), fds, 1);
		assert_true(vu_client_hung_up(&e->c));
		assert_int_equal(e->disconnects, 1);
	}
}

static void test_too_many_regions(void **state)
{
	struct vu_env *e = *state;
	struct vu_mem_reg reg = {.region = {.size = 0x1000, .uva = 0x1000}};

	running(e);
	for (unsigned int i = 1; i < GUEST_MEM_MAX_REGIONS; i++) {
		reg.region.gpa = i * 0x1000;
		assert_int_equal(vu_client_ask(&e->c, VU_ADD_MEM_REG, &reg, sizeof(reg), &e->c.mem_fd, 1), 0);
	}
	reg.region.gpa = 0x80000000;
	assert_int_equal(vu_client_ask(&e->c, VU_ADD_MEM_REG, &reg, sizeof(reg), &e->c.mem_fd, 1), 1);
	assert_int_equal(vu_env_info(e).mem_regions, GUEST_MEM_MAX_REGIONS);
	assert_non_null(e->q[1].q);
}

/* Ring addresses that are not aligned, outside of memory, or too near its end: the ring stays as it is. */
static void test_ring_addresses(void **state)
{
	struct vu_env *e = *state;
	uint64_t end, nofd = VU_RING_NOFD;
	struct vu_ring_addr good, a;

	running(e);
	end = (uintptr_t)e->c.mem + e->c.mem_size;
	good = vu_client_ring_addr(&e->c, 0);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_NUM, 0, 256), 0);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_BASE, 0, 0), 0);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_VRING_KICK, nofd), 0);

#define WRONG(field, value)                                                                                  \
	do {                                                                                                 \
		a = good;                                                                                    \
		a.field = (value);                                                                           \
		assert_int_equal(vu_client_ask(&e->c, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 1);        \
		assert_null(e->q[0].q);                                                                      \
	} while (0)
	WRONG(desc, good.desc + 8);
	WRONG(avail, good.avail + 1);
	WRONG(used, good.used + 2);
	WRONG(desc, 0);
	WRONG(avail, 2);
	WRONG(used, UINT64_MAX - 3);
	WRONG(desc, end);
	WRONG(desc, end - 256 * 16 + 16);
	WRONG(avail, end - (4 + 2 * 256 + 2) + 2);
	WRONG(used, end - (4 + 8 * 256 + 2) - 2 + 4);
	/* as near as it can be, in place of all of them */
	a = good;
	a.desc = end - 256 * 16;
	a.avail = end - (4 + 2 * 256 + 2);
	a.used = (end - (4 + 8 * 256 + 2)) & ~UINT64_C(3);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 0);
	assert_non_null(e->q[0].q);

	/* A running ring that is told to move to where it does not fit stays where it is. */
	good = a;
	a.desc = end - 256 * 16 + 16;
	assert_int_equal(vu_client_ask(&e->c, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 1);
	assert_non_null(e->q[0].q);
	assert_int_equal((uintptr_t)e->q[0].q->mem->regions[0].hva + e->c.mem_size -
				 (uintptr_t)e->q[0].q->desc,
			 256 * 16);
	assert_int_equal(e->errors, 0);

	a.flags = 2;
	vu_client_send(&e->c, VU_SET_VRING_ADDR, 0, &a, sizeof(a), NULL, 0);
	assert_ended(e, 1);
}

static void test_ring_addresses_packed(void **state)
{
	struct vu_env *e = *state;
	uint64_t end, nofd = VU_RING_NOFD;
	struct vu_ring_addr good, a;

	vu_env_ready(e, F_VERSION_1 | F_PACKED);
	end = (uintptr_t)e->c.mem + e->c.mem_size;
	good = vu_client_ring_addr(&e->c, 0);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_NUM, 0, 100), 0);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_BASE, 0, 0x80008000), 0);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_VRING_KICK, nofd), 0);
	WRONG(desc, end - 100 * 16 + 16);
	WRONG(avail, end);
	WRONG(avail, good.avail + 2);
	WRONG(used, end);
	a = good;
	a.desc = end - 100 * 16;
	a.avail = end - 4;
	a.used = end - 4;
	assert_int_equal(vu_client_ask(&e->c, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 0);
	assert_non_null(e->q[0].q);
}

/* Addresses given before memory, which then does not hold the ring. */
static void test_addresses_before_memory(void **state)
{
	struct vu_env *e = *state;
	struct vu_ring_addr a = {.index = 0, .desc = 0x10, .avail = 0x20, .used = 0x30};

	assert_int_equal(vu_client_connect(&e->c, e->path), 0);
	vu_client_negotiate(&e->c, FEATURES);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_NUM, 0, 256), 0);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_BASE, 0, 0), 0);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 0);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_VRING_KICK, VU_RING_NOFD), 0);
	vu_client_share_memory(&e->c, 0x100000); /* fine as such */
	assert_null(e->q[0].q);
	assert_non_null(strstr(e->text, "guest memory"));
}

/* A region at an offset that takes the ring's alignment away. */
static void test_shifted_region(void **state)
{
	struct vu_env *e = *state;
	struct vu_memory t = {.n = 1};

	vu_env_ready(e, FEATURES);
	t.regions[0] = vu_client_region(&e->c, 0, 0x80000);
	t.regions[0].offset = 4;
	assert_int_equal(vu_client_ask(&e->c, VU_SET_MEM_TABLE, &t, 40, &e->c.mem_fd, 1), 0);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 1);
	assert_null(e->q[0].q);
	assert_non_null(strstr(e->text, "aligned"));
}

/* An available index that the used index in memory contradicts. */
static void test_indices(void **state)
{
	struct vu_env *e = *state;
	uint16_t *used;

	vu_env_ready(e, FEATURES);
	used = (uint16_t *)(void *)(e->c.mem + 0xa002);
	*used = 10;
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 9), 1);
	assert_null(e->q[0].q);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 267), 1);
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 266), 0);
	assert_int_equal(e->q[0].q->used_idx, 10);
	assert_int_equal(vu_client_get_base(&e->c, 0), 266);
	*used = 65530; /* over the wrap */
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 3), 0);
	assert_int_equal(e->q[0].q->avail_idx, 3);
	assert_int_equal(e->q[0].q->used_idx, 65530);
}

static void test_log_and_inflight(void **state)
{
	struct vu_env *e = *state;
	struct vu_log log = {.size = 0x1000, .offset = 0x100000};
	struct vu_inflight_desc good = {.size = 4 * 8224, .num_queues = 4, .queue_size = 256}, d;
	unsigned int errors = 0;
	struct vu_inflight_desc wrong[8];

	running(e);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_LOG_BASE, &log, sizeof(log), &e->c.mem_fd, 1), 1);
	log.offset = UINT64_MAX;
	assert_int_equal(vu_client_ask(&e->c, VU_SET_LOG_BASE, &log, sizeof(log), &e->c.mem_fd, 1), 1);
	assert_non_null(e->q[1].q);
	/* a migration that believes in a log which is not there would lose memory */
	vu_client_send(&e->c, VU_SET_LOG_BASE, 0, &log, sizeof(log), &e->c.mem_fd, 1);
	assert_true(vu_client_hung_up(&e->c));
	vu_client_disconnect(&e->c);

	running(e);
	d = good; /* while rings run */
	vu_client_send(&e->c, VU_SET_INFLIGHT_FD, 0, &d, sizeof(d), &e->c.mem_fd, 1);
	assert_ended(e, ++errors);
	for (unsigned int i = 0; i < 8; i++)
		wrong[i] = good;
	wrong[0].num_queues = 0;
	wrong[1].num_queues = 5;
	wrong[2].queue_size = 0;
	wrong[3].queue_size = 1025;
	wrong[4].size = 4 * 16; /* too small */
	wrong[5].size++;        /* does not divide */
	wrong[6].offset = 4;    /* not aligned */
	wrong[7].size = 0;
	for (unsigned int i = 0; i < 8; i++) {
		vu_env_ready(e, FEATURES);
		vu_client_send(&e->c, VU_SET_INFLIGHT_FD, 0, &wrong[i], sizeof(d), &e->c.mem_fd, 1);
		assert_ended(e, ++errors);
	}
	for (unsigned int i = 0; i < 4; i++) {
		vu_env_ready(e, FEATURES);
		vu_client_send(&e->c, VU_GET_INFLIGHT_FD, 0, &wrong[i], sizeof(d), NULL, 0);
		assert_ended(e, ++errors);
	}
	vu_env_ready(e, FEATURES);
	d = good;
	d.size = 1 << 24; /* longer than the file */
	assert_int_equal(vu_client_ask(&e->c, VU_SET_INFLIGHT_FD, &d, sizeof(d), &e->c.mem_fd, 1), 1);
	/* garbage in the area of a queue: that queue does not start, others do */
	assert_int_equal(vu_client_ask(&e->c, VU_SET_INFLIGHT_FD, &good, sizeof(d), &e->c.mem_fd, 1), 0);
	e->c.mem[8] = 77; /* version */
	assert_int_equal(vu_client_ring(&e->c, 0, 256, 0), 1);
	assert_int_equal(vu_client_ring(&e->c, 2, 256, 0), 0);
}

/* The file of the memory shrinks under a ring. */
static void test_shrunk(void **state)
{
	struct vu_env *e = *state;
	struct vu_ring_addr a;

	assert_int_equal(guest_mem_install_sigbus(), 0);
	running(e);
	assert_false(guest_mem_bad(e->q[1].q->mem));
	assert_int_equal(ftruncate(e->c.mem_fd, 4096), 0);
	assert_int_equal(*(volatile uint8_t *)e->q[1].q->desc, 0);
	assert_true(guest_mem_bad(e->q[1].q->mem));
	vhost_user_queue_failed(e->vu, 1, "memory taken away");
	vu_client_disconnect(&e->c);

	/* The used index is the first that is read, before the owner sees the queue. */
	assert_int_equal(ftruncate(e->c.mem_fd, (off_t)e->c.mem_size), 0);
	vu_env_ready(e, FEATURES);
	a = vu_client_ring_addr(&e->c, 1);
	assert_int_equal(ftruncate(e->c.mem_fd, 4096), 0);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_NUM, 1, 256), 0);
	assert_int_equal(vu_client_ask_state(&e->c, VU_SET_VRING_BASE, 1, 0), 0);
	assert_int_equal(vu_client_ask(&e->c, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 0);
	assert_int_equal(vu_client_ask_u64(&e->c, VU_SET_VRING_KICK, 1 | VU_RING_NOFD), 1);
	assert_null(e->q[1].q);
	assert_non_null(strstr(e->text, "took the memory away"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, vu_env_setup, vu_env_teardown)
	const struct CMUnitTest tests[] = {
		T(test_shapes),
		T(test_headers),
		T(test_unknown_asked),
		T(test_not_negotiated),
		T(test_values),
		T(test_wrong_descriptors),
		T(test_mem_table),
		T(test_regions),
		T(test_too_many_regions),
		T(test_ring_addresses),
		T(test_ring_addresses_packed),
		T(test_addresses_before_memory),
		T(test_shifted_region),
		T(test_indices),
		T(test_log_and_inflight),
		T(test_shrunk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
