/* SPDX-License-Identifier: Apache-2.0 */

/* The vhost-user datapath towards back-ends that answer wrongly, late or never, or end: each gets one error
 * within the broker's limits, the rings come back at the position that their used index says, and nothing is
 * left. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "dvu_env.h"
#include "vu_env.h"

#define OPS datapath_vhost_user

/* Many instances at once, each with a back-end of its own, so that those which wait do so together. */
struct many {
	struct dvu_env *e;
	unsigned int n;
	bool at_once; /* none waits for a time limit */
	struct one {
		struct dvu i;
		struct vu_fake b;
		uint64_t begin;
	} one[64];
};

static struct one *add(struct many *m, uint32_t request, enum vu_fault fault, uint64_t protocol)
{
	struct one *o = &m->one[m->n];
	struct datapath_pref pref = {.type = &datapath_type_vhost_user};

	assert_true(m->n < ARRAY_SIZE(m->one));
	snprintf(dvu_params(&pref)->path, sizeof(dvu_params(&pref)->path), "%s/s%u", m->e->dir, m->n++);
	vu_fake_init(&o->b, m->e->event, dvu_params(&pref)->path);
	o->b.protocol = protocol;
	o->b.fault_request = request;
	o->b.fault = fault;
	vu_fake_listen(&o->b);
	assert_int_equal(dvu_open(m->e, &o->i, &pref, 2, NULL), 0);
	return o;
}

static void end(struct many *m)
{
	for (unsigned int k = 0; k < m->n; k++) {
		struct one *o = &m->one[k];

		dvu_settle(m->e);
		dvu_close(&o->i);
		dvu_settle(m->e);
		/* Silent or not, it was hung up on. */
		assert_int_equal(o->b.ends, o->b.connections);
		vu_fake_done(&o->b);
	}
	m->n = 0;
}

static void prepare_all(struct many *m)
{
	for (unsigned int k = 0; k < m->n; k++)
		OPS.prepare(m->one[k].i.dp, DVU_FEATURES, m->e->vm.mem);
}

/* A back-end that breaks the connection in prepare may be met again until the time is over; a fault that is
 * there each time must not help it. */
static void expect_prepare_error(struct many *m)
{
	prepare_all(m);
	for (unsigned int k = 0; k < m->n; k++) {
		struct one *o = &m->one[k];

		assert_true(dvu_wait(m->e, &o->i.prepared, 1, DVU_PATIENCE_MS));
		if (!o->i.prepared_r || !*o->i.why)
			fail_msg("fault %d in message %u: %d %s", o->b.fault, o->b.fault_request,
				 o->i.prepared_r, o->i.why);
		assert_true(!m->at_once || o->i.prepared_r != -ETIMEDOUT);
	}
	m->at_once = false;
	dvu_settle(m->e);
	for (unsigned int k = 0; k < m->n; k++) {
		assert_int_equal(m->one[k].i.prepared, 1);
		assert_int_equal(m->one[k].i.failed, 0);
	}
	end(m);
}

static const uint32_t prepare_requests[] = {
	VU_GET_FEATURES,      VU_GET_PROTOCOL_FEATURES, VU_SET_OWNER,    VU_GET_QUEUE_NUM,
	VU_GET_MAX_MEM_SLOTS, VU_NET_SET_MTU,           VU_SET_FEATURES, VU_ADD_MEM_REG,
};

static bool is_get(uint32_t request)
{
	return request == VU_GET_FEATURES || request == VU_GET_PROTOCOL_FEATURES ||
	       request == VU_GET_QUEUE_NUM || request == VU_GET_MAX_MEM_SLOTS || request == VU_GET_VRING_BASE;
}

static enum vu_fault last_fault(uint32_t request)
{
	return is_get(request) ? VU_FAULT_LAST_ALWAYS : VU_FAULT_NACK;
}

/* Whether the fault is one in which nothing more comes: it takes the whole time. */
static bool waits(enum vu_fault fault)
{
	return fault == VU_FAULT_SILENT || fault == VU_FAULT_HANG || fault == VU_FAULT_CLOSE ||
	       fault == VU_FAULT_HALF;
}

static void test_prepare_wrong(void **state)
{
	struct many *m = calloc(1, sizeof(*m));

	m->e = *state;
	for (unsigned int r = 0; r < ARRAY_SIZE(prepare_requests); r++) {
		m->at_once = true;
		for (enum vu_fault f = VU_FAULT_SILENT; f <= last_fault(prepare_requests[r]); f++)
			/* A second answer is seen when something else is due; the last one may be too late. */
			if (!waits(f) && !(f == VU_FAULT_TWICE && prepare_requests[r] == VU_ADD_MEM_REG))
				add(m, prepare_requests[r], f, VU_FAKE_PROTOCOL);
		expect_prepare_error(m);
	}
	free(m);
}

static void test_prepare_never(void **state)
{
	struct many *m = calloc(1, sizeof(*m));

	m->e = *state;
	for (unsigned int r = 0; r < ARRAY_SIZE(prepare_requests); r++) {
		/* Each time that it is met: it counts what it was told over all connections. */
		for (enum vu_fault f = VU_FAULT_SILENT; f <= VU_FAULT_HANG; f++)
			if (f == VU_FAULT_SILENT || f == VU_FAULT_HANG)
				add(m, prepare_requests[r], f, VU_FAKE_PROTOCOL);
		/* without acknowledgements */
		if (is_get(prepare_requests[r]))
			add(m, prepare_requests[r], VU_FAULT_SILENT,
			    VU_FAKE_PROTOCOL & ~VU_BIT(VU_PF_REPLY_ACK));
	}
	/* the end of prepare that such a one is asked for */
	add(m, VU_GET_FEATURES, VU_FAULT_SILENT, 0)->b.fault_at = 1;
	for (unsigned int k = 0; k < m->n; k++)
		if (m->one[k].b.protocol == 0) { /* one pair is all that it has */
			dvu_close(&m->one[k].i);
			struct datapath_pref pref = {.type = &datapath_type_vhost_user};

			strcpy(dvu_params(&pref)->path, m->one[k].b.path);
			assert_int_equal(dvu_open(m->e, &m->one[k].i, &pref, 1, NULL), 0);
		}
	expect_prepare_error(m);
	free(m);
}

/* A connection that ends while it is greeted is sought again; for good, it is an error. */
static void test_prepare_closes(void **state)
{
	struct many *m = calloc(1, sizeof(*m));
	struct one *o;

	m->e = *state;
	o = add(m, VU_GET_PROTOCOL_FEATURES, VU_FAULT_CLOSE, VU_FAKE_PROTOCOL);
	prepare_all(m);
	assert_true(dvu_wait(m->e, &o->i.prepared, 1, DVU_PATIENCE_MS));
	assert_int_equal(o->i.prepared_r, 0);
	assert_int_equal(o->b.connections, 2);
	end(m);

	o = add(m, VU_GET_FEATURES, VU_FAULT_NONE, VU_FAKE_PROTOCOL);
	prepare_all(m);
	for (uint64_t until = dvu_now_ms() + DVU_PATIENCE_MS; !o->i.prepared && dvu_now_ms() < until;) {
		assert_true(sd_event_run(m->e->event, 10000) >= 0);
		vu_fake_hang_up(&o->b);
	}
	assert_int_equal(o->i.prepared, 1);
	if (o->i.prepared_r != -ETIMEDOUT) { /* the limit may pass between a connection and its end */
		assert_int_equal(o->i.prepared_r, -ECONNRESET);
		assert_string_equal(o->i.why, "the back-end closed the connection");
	}
	assert_true(o->b.connections > 2);
	end(m);

	/* half an answer is another matter */
	o = add(m, VU_GET_FEATURES, VU_FAULT_HALF, VU_FAKE_PROTOCOL);
	prepare_all(m);
	assert_true(dvu_wait(m->e, &o->i.prepared, 1, DVU_PATIENCE_MS));
	assert_int_equal(o->i.prepared_r, -EPROTO);
	end(m);
	free(m);
}

static void wait_prepared(struct many *m)
{
	prepare_all(m);
	for (unsigned int k = 0; k < m->n; k++) {
		assert_true(dvu_wait(m->e, &m->one[k].i.prepared, 1, DVU_PATIENCE_MS));
		if (m->one[k].i.prepared_r)
			fail_msg("%s", m->one[k].i.why);
	}
}

static void check_rings(const struct one *o, unsigned int n)
{
	for (unsigned int q = 0; q < n; q++)
		assert_true(o->i.rings[q].used_idx == 1000 * (q + 1) &&
			    o->i.rings[q].avail_idx == 1000 * (q + 1));
}

static const uint32_t start_requests[] = {
	VU_SET_VRING_NUM,  VU_SET_VRING_BASE, VU_SET_VRING_ADDR,   VU_SET_VRING_ERR,
	VU_SET_VRING_CALL, VU_SET_VRING_KICK, VU_SET_VRING_ENABLE, VU_SET_STATUS,
};

static void expect_start_error(struct many *m)
{
	for (unsigned int k = 0; k < m->n; k++)
		dvu_begin(m->e, &m->one[k].i, 4);
	for (unsigned int k = 0; k < m->n; k++) {
		struct one *o = &m->one[k];

		assert_true(dvu_wait(m->e, &o->i.started, 1, DVU_PATIENCE_MS));
		if (!o->i.started_r || !*o->i.why)
			fail_msg("fault %d in message %u: %d %s", o->b.fault, o->b.fault_request,
				 o->i.started_r, o->i.why);
		assert_true(!m->at_once || o->i.started_r != -ETIMEDOUT);
		check_rings(o, 4);
	}
	dvu_settle(m->e);
	for (unsigned int k = 0; k < m->n; k++) {
		assert_int_equal(m->one[k].i.started, 1);
		assert_int_equal(m->one[k].i.failed, 0);
	}
	end(m);
}

static void test_start_wrong(void **state)
{
	struct many *m = calloc(1, sizeof(*m));

	m->e = *state;
	for (unsigned int r = 0; r < ARRAY_SIZE(start_requests); r++) {
		for (enum vu_fault f = VU_FAULT_CLOSE; f <= VU_FAULT_NACK; f++)
			if (f != VU_FAULT_HANG && f != VU_FAULT_SILENT)
				add(m, start_requests[r], f, VU_FAKE_PROTOCOL);
		wait_prepared(m);
		m->at_once = true;
		expect_start_error(m); /* none waited for the time limit */
	}
	free(m);
}

static void test_start_never(void **state)
{
	struct many *m = calloc(1, sizeof(*m));

	m->e = *state;
	for (unsigned int r = 0; r < ARRAY_SIZE(start_requests); r++) {
		add(m, start_requests[r], VU_FAULT_SILENT, VU_FAKE_PROTOCOL);
		add(m, start_requests[r], VU_FAULT_HANG, VU_FAKE_PROTOCOL);
	}
	/* without acknowledgements: what ends the start, after the greeting and the end of prepare */
	add(m, VU_GET_FEATURES, VU_FAULT_SILENT, VU_FAKE_PROTOCOL & ~VU_BIT(VU_PF_REPLY_ACK))->b.fault_at = 3;
	wait_prepared(m);
	expect_start_error(m);
	free(m);
}

static void start_all(struct many *m, unsigned int rings)
{
	wait_prepared(m);
	for (unsigned int k = 0; k < m->n; k++)
		dvu_begin(m->e, &m->one[k].i, rings);
	for (unsigned int k = 0; k < m->n; k++) {
		assert_true(dvu_wait(m->e, &m->one[k].i.started, 1, DVU_PATIENCE_MS));
		assert_int_equal(m->one[k].i.started_r, 0);
	}
}

/* Whatever it answers, the rings come back, and who answered wrongly is not used again. */
static void test_stop(void **state)
{
	struct many *m = calloc(1, sizeof(*m));

	m->e = *state;
	for (enum vu_fault f = VU_FAULT_SILENT; f <= VU_FAULT_LAST_ALWAYS; f++)
		add(m, VU_GET_VRING_BASE, f, VU_FAKE_PROTOCOL);
	add(m, VU_GET_VRING_BASE, VU_FAULT_SILENT, VU_FAKE_PROTOCOL)->b.fault_at = 3;
	add(m, VU_GET_VRING_BASE, VU_FAULT_NONE, VU_FAKE_PROTOCOL)->b.base[1] =
		1999; /* before what is used */
	add(m, VU_GET_VRING_BASE, VU_FAULT_NONE, VU_FAKE_PROTOCOL)->b.base[1] =
		2257; /* further than the ring */
	add(m, VU_GET_VRING_BASE, VU_FAULT_NONE, VU_FAKE_PROTOCOL)->b.base[1] = 0x107d0; /* not 16 bits */
	add(m, 0, VU_FAULT_NONE, VU_FAKE_PROTOCOL)->b.other_ring = true;
	start_all(m, 4);
	for (unsigned int k = 0; k < m->n; k++)
		OPS.stop(m->one[k].i.dp);
	for (unsigned int k = 0; k < m->n; k++) {
		assert_true(dvu_wait(m->e, &m->one[k].i.stopped, 1, DVU_PATIENCE_MS));
		check_rings(&m->one[k], 4);
	}
	for (unsigned int k = 0; k < m->n; k++) {
		struct one *o = &m->one[k];

		if (!dvu_wait(m->e, &o->i.failed, 1, 500))
			fail_msg("fault %d went unnoticed", o->b.fault);
		assert_true(*o->i.why);
		assert_int_equal(o->i.stopped, 1);
	}
	end(m);

	/* Taken, not completed: it is taken again, and the back-end may go on. */
	add(m, 0, VU_FAULT_NONE, VU_FAKE_PROTOCOL)->b.base[0] = 1000 + 256;
	start_all(m, 4);
	OPS.stop(m->one[0].i.dp);
	assert_true(dvu_wait(m->e, &m->one[0].i.stopped, 1, DVU_PATIENCE_MS));
	check_rings(&m->one[0], 4);
	dvu_settle(m->e);
	assert_int_equal(m->one[0].i.failed, 0);
	end(m);
	free(m);
}

static void test_dies(void **state)
{
	struct many *m = calloc(1, sizeof(*m));
	struct one *o;

	m->e = *state;
	/* while only prepared */
	o = add(m, 0, VU_FAULT_NONE, VU_FAKE_PROTOCOL);
	wait_prepared(m);
	vu_fake_hang_up(&o->b);
	assert_true(dvu_wait(m->e, &o->i.failed, 1, DVU_PATIENCE_MS));
	end(m);
	/* while serving: the rings are where they are */
	o = add(m, 0, VU_FAULT_NONE, VU_FAKE_PROTOCOL);
	start_all(m, 4);
	m->e->driver[2].used->idx = 3100;
	vu_fake_hang_up(&o->b);
	assert_true(dvu_wait(m->e, &o->i.failed, 1, DVU_PATIENCE_MS));
	assert_string_equal(o->i.why, "the back-end closed the connection");
	assert_true(o->i.rings[2].avail_idx == 3100 && o->i.rings[2].used_idx == 3100);
	m->e->driver[2].used->idx = 3000;
	end(m);
	/* just before it is stopped, without its end being known yet */
	o = add(m, 0, VU_FAULT_NONE, VU_FAKE_PROTOCOL);
	start_all(m, 4);
	vu_fake_hang_up(&o->b);
	OPS.ring_call(o->i.dp, 0, m->e->driver[0].callfd);
	OPS.stop(o->i.dp);
	assert_true(dvu_wait(m->e, &o->i.stopped, 1, DVU_PATIENCE_MS));
	check_rings(o, 4);
	assert_true(dvu_wait(m->e, &o->i.failed, 1, DVU_PATIENCE_MS));
	assert_int_equal(o->i.stopped, 1);
	end(m);
	/* just before it is started */
	o = add(m, 0, VU_FAULT_NONE, VU_FAKE_PROTOCOL);
	wait_prepared(m);
	vu_fake_hang_up(&o->b);
	dvu_begin(m->e, &o->i, 2);
	assert_true(dvu_wait(m->e, &o->i.started, 1, DVU_PATIENCE_MS));
	assert_int_equal(o->i.started_r, -ECONNRESET);
	check_rings(o, 2);
	end(m);
	free(m);
}

static void push(struct one *o, uint32_t request, uint32_t flags, uint32_t size)
{
	struct {
		struct vu_header hdr;
		uint64_t payload;
	} msg = {.hdr = {request, flags, size}};

	assert_int_equal(send(o->b.fd, &msg, VU_HEADER_SIZE + size, MSG_NOSIGNAL), VU_HEADER_SIZE + size);
}

/* What comes without being asked for. */
static void test_unasked(void **state)
{
	static const struct {
		uint32_t request, flags;
	} messages[] = {
		{VU_GET_FEATURES, VU_VERSION | VU_FLAG_REPLY},
		{VU_BACKEND_VRING_HOST_NOTIFIER, VU_VERSION | VU_FLAG_NEED_REPLY},
		{VU_BACKEND_VRING_HOST_NOTIFIER, VU_VERSION},
		{4000000000, VU_VERSION | VU_FLAG_REPLY},
		{0, 0},
	};
	struct many *m = calloc(1, sizeof(*m));

	m->e = *state;
	for (unsigned int k = 0; k < ARRAY_SIZE(messages); k++)
		add(m, 0, VU_FAULT_NONE, VU_FAKE_PROTOCOL);
	start_all(m, 2);
	for (unsigned int k = 0; k < m->n; k++)
		push(&m->one[k], messages[k].request, messages[k].flags, 8);
	for (unsigned int k = 0; k < m->n; k++) {
		assert_true(dvu_wait(m->e, &m->one[k].i.failed, 1, DVU_PATIENCE_MS));
		check_rings(&m->one[k], 2);
	}
	end(m);
	free(m);
}

/* A change while started that is not answered, or not even read. */
static void test_deaf(void **state)
{
	struct many *m = calloc(1, sizeof(*m));
	struct one *silent, *deaf, *nack;

	m->e = *state;
	silent = add(m, VU_SET_VRING_CALL, VU_FAULT_SILENT, VU_FAKE_PROTOCOL);
	silent->b.fault_at = 2;
	nack = add(m, VU_SET_VRING_ENABLE, VU_FAULT_NACK, VU_FAKE_PROTOCOL);
	nack->b.fault_at = 2;
	deaf = add(m, 0, VU_FAULT_NONE, VU_FAKE_PROTOCOL & ~VU_BIT(VU_PF_REPLY_ACK));
	start_all(m, 2);
	deaf->b.deaf = true;
	OPS.ring_call(silent->i.dp, 0, m->e->driver[1].callfd);
	OPS.ring_enable(nack->i.dp, 1, true);
	/* more than its socket takes: what is too much waits, with descriptors of its own */
	for (unsigned int k = 0; k < 1000; k++)
		OPS.ring_call(deaf->i.dp, k % 2, m->e->driver[0].callfd);
	assert_true(dvu_wait(m->e, &nack->i.failed, 1, DVU_PATIENCE_MS));
	assert_string_equal(nack->i.why, "the back-end refused SET_VRING_ENABLE");
	assert_true(dvu_wait(m->e, &silent->i.failed, 1, DVU_PATIENCE_MS));
	assert_string_equal(silent->i.why, "the back-end did not answer SET_VRING_CALL in time");
	assert_true(dvu_wait(m->e, &deaf->i.failed, 1, DVU_PATIENCE_MS));
	assert_string_equal(deaf->i.why, "the back-end does not read its messages");
	for (unsigned int k = 0; k < m->n; k++)
		check_rings(&m->one[k], 2);
	vu_fake_hang_up(&deaf->b);
	end(m);
	free(m);
}

/* A slow one that catches up: nothing is lost or mixed up. */
static void test_slow(void **state)
{
	struct many *m = calloc(1, sizeof(*m));
	struct one *o;
	uint64_t one = 1, n;
	int last = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	m->e = *state;
	o = add(m, 0, VU_FAULT_NONE, VU_FAKE_PROTOCOL);
	start_all(m, 2);
	o->b.deaf = true;
	dvu_settle(m->e);
	for (unsigned int k = 0; k < 400; k++)
		OPS.ring_call(o->i.dp, 0, m->e->driver[0].callfd);
	OPS.ring_call(o->i.dp, 0, last);
	dvu_settle(m->e);
	o->b.deaf = false;
	assert_true(sd_event_source_set_enabled(o->b.source, SD_EVENT_ON) >= 0);
	dvu_settle(m->e);
	assert_int_equal(vu_fake_count(&o->b, VU_SET_VRING_CALL), 2 + 401);
	assert_int_equal(write(o->b.ring[0].callfd, &one, 8), 8);
	assert_int_equal(read(m->e->driver[0].callfd, &n, 8), -1); /* it has the last one */
	assert_int_equal(read(last, &n, 8), 8);
	close(last);
	assert_int_equal(o->i.failed, 0);
	end(m);
	free(m);
}

/* close() at any time: no callback comes any more, the back-end is told at once, nothing is left. */
static void test_close_anywhere(void **state)
{
	struct dvu_env *e = *state;

	for (unsigned int turns = 0; turns < 60; turns += 3) {
		for (unsigned int stage = 0; stage < 3; stage++) {
			unsigned int prepared, started, stopped, failed;

			vu_fake_init(&e->b, e->event, e->path);
			dvu_open_client(e);
			if (stage > 0)
				dvu_prepare(e);
			if (stage > 1)
				dvu_start(e, 4);
			if (stage == 0)
				OPS.prepare(e->i.dp, DVU_FEATURES, e->vm.mem);
			else if (stage == 1)
				dvu_begin(e, &e->i, 4);
			else
				OPS.stop(e->i.dp);
			for (unsigned int k = 0; k < turns; k++)
				sd_event_run(e->event, 0);
			dvu_close(&e->i);
			prepared = e->i.prepared;
			started = e->i.started;
			stopped = e->i.stopped;
			failed = e->i.failed;
			dvu_settle(e);
			assert_true(e->i.prepared == prepared && e->i.started == started &&
				    e->i.stopped == stopped && e->i.failed == failed && !failed);
			assert_int_equal(e->b.ends, e->b.connections);
			vu_fake_done(&e->b);
		}
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, dvu_setup, dvu_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_prepare_wrong), TEST(test_prepare_never),  TEST(test_prepare_closes),
		TEST(test_start_wrong),   TEST(test_start_never),    TEST(test_stop),
		TEST(test_dies),          TEST(test_unasked),        TEST(test_deaf),
		TEST(test_slow),          TEST(test_close_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
