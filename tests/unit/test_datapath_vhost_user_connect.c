/* SPDX-License-Identifier: Apache-2.0 */

/* How the vhost-user datapath and a back-end meet: as client or server, and what the back-end must offer. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dvu_env.h"
#include "vu_env.h"

#define OPS datapath_vhost_user

static void refused(struct dvu_env *e, uint64_t features, const char *why)
{
	OPS.prepare(e->i.dp, features, e->vm.mem);
	assert_true(dvu_wait(e, &e->i.prepared, 1, DVU_PATIENCE_MS));
	assert_int_equal(e->i.prepared_r, -EOPNOTSUPP);
	if (!strstr(e->i.why, why))
		fail_msg("%s", e->i.why);
	assert_int_equal(vu_fake_count(&e->b, VU_SET_FEATURES), 0);
}

static void test_missing_feature(void **state)
{
	struct dvu_env *e = *state;

	e->b.features &= ~(VIRTIO_BIT(VIRTIO_NET_F_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4));
	dvu_open_client(e);
	refused(e, DVU_FEATURES | VIRTIO_BIT(VIRTIO_NET_F_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4),
		"features that the back-end does not offer: CSUM, GUEST_TSO4");
}

static void test_packed(void **state)
{
	struct dvu_env *e = *state;

	dvu_open_client(e);
	refused(e, DVU_FEATURES | VIRTIO_BIT(VIRTIO_F_RING_PACKED), "feature bit 34");
}

static void test_old_back_end(void **state)
{
	struct dvu_env *e = *state;

	e->b.features &= ~F_PROTOCOL;
	dvu_open_client(e);
	refused(e, DVU_FEATURES, "too old");
}

static void test_few_queues(void **state)
{
	struct dvu_env *e = *state;

	e->b.queue_num = 1;
	dvu_open_client(e);
	refused(e, DVU_FEATURES, "1 queue pairs, 2 are needed");
}

static void test_no_queues(void **state)
{
	struct dvu_env *e = *state;

	e->b.protocol &= ~VU_BIT(VU_PF_MQ);
	dvu_open_client(e);
	refused(e, DVU_FEATURES, "one queue pair, 2 are needed");
}

static void open_server(struct dvu_env *e)
{
	struct datapath_pref pref = {.type = &datapath_type_vhost_user};

	dvu_params(&pref)->server = true;
	snprintf(dvu_params(&pref)->path, sizeof(dvu_params(&pref)->path), "%s", e->path);
	assert_int_equal(dvu_open(e, &e->i, &pref, 2, NULL), 0);
}

static void test_server(void **state)
{
	struct dvu_env *e = *state;
	struct vu_fake second;
	struct stat st;

	open_server(e);
	assert_int_equal(access(e->path, F_OK), -1); /* nothing before it is asked for */
	OPS.prepare(e->i.dp, DVU_FEATURES, e->vm.mem);
	assert_int_equal(stat(e->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	/* Somebody who looks in and goes is no failure. */
	assert_int_equal(vu_fake_connect(&e->b), 0);
	vu_fake_hang_up(&e->b);
	dvu_settle(e);
	assert_int_equal(e->i.prepared, 0);
	assert_int_equal(vu_fake_connect(&e->b), 0);
	assert_true(dvu_wait(e, &e->i.prepared, 1, DVU_PATIENCE_MS));
	assert_int_equal(e->i.prepared_r, 0);
	/* One at a time. */
	vu_fake_init(&second, e->event, e->path);
	assert_int_equal(vu_fake_connect(&second), 0);
	assert_true(dvu_wait(e, &second.ends, 1, DVU_PATIENCE_MS));
	dvu_start(e, 2);
	dvu_stop(e);
	dvu_close(&e->i);
	assert_int_equal(access(e->path, F_OK), -1);
	vu_fake_done(&second);
}

static void test_server_alone(void **state)
{
	struct dvu_env *e = *state;
	uint64_t begin = dvu_now_ms();

	open_server(e);
	OPS.prepare(e->i.dp, DVU_FEATURES, e->vm.mem);
	assert_true(dvu_wait(e, &e->i.prepared, 1, DATAPATH_PREPARE_US / 1000));
	assert_true(dvu_now_ms() - begin > DATAPATH_PREPARE_US / 1000 / 2);
	assert_int_equal(e->i.prepared_r, -ETIMEDOUT);
	assert_non_null(strstr(e->i.why, "no back-end connected to "));
	dvu_close(&e->i);
	assert_int_equal(access(e->path, F_OK), -1);
}

static void test_server_taken(void **state)
{
	struct dvu_env *e = *state;

	vu_fake_listen(&e->b);
	open_server(e);
	OPS.prepare(e->i.dp, DVU_FEATURES, e->vm.mem);
	assert_true(dvu_wait(e, &e->i.prepared, 1, DVU_PATIENCE_MS));
	assert_int_equal(e->i.prepared_r, -EADDRINUSE);
	assert_non_null(strstr(e->i.why, "another process listens"));
	dvu_close(&e->i);
	assert_int_equal(access(e->path, F_OK), 0); /* it is theirs */
}

static void test_client_waits(void **state)
{
	struct dvu_env *e = *state;
	struct datapath_pref pref = {.type = &datapath_type_vhost_user};

	strcpy(dvu_params(&pref)->path, e->path);
	assert_int_equal(dvu_open(e, &e->i, &pref, 2, NULL), 0);
	OPS.prepare(e->i.dp, DVU_FEATURES, e->vm.mem);
	assert_false(dvu_wait(e, &e->i.prepared, 1, 200));
	vu_fake_listen(&e->b); /* it has restarted */
	assert_true(dvu_wait(e, &e->i.prepared, 1, DVU_PATIENCE_MS));
	assert_int_equal(e->i.prepared_r, 0);
}

static void test_client_alone(void **state)
{
	struct dvu_env *e = *state;
	struct datapath_pref pref = {.type = &datapath_type_vhost_user};

	strcpy(dvu_params(&pref)->path, e->path);
	assert_int_equal(dvu_open(e, &e->i, &pref, 2, NULL), 0);
	OPS.prepare(e->i.dp, DVU_FEATURES, e->vm.mem);
	assert_true(dvu_wait(e, &e->i.prepared, 1, DVU_PATIENCE_MS));
	assert_int_equal(e->i.prepared_r, -ENOENT);
	assert_non_null(strstr(e->i.why, "cannot connect to "));
	assert_non_null(strstr(e->i.why, "No such file"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, dvu_setup, dvu_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_missing_feature), TEST(test_packed),       TEST(test_old_back_end),
		TEST(test_few_queues),      TEST(test_no_queues),    TEST(test_server),
		TEST(test_server_alone),    TEST(test_server_taken), TEST(test_client_waits),
		TEST(test_client_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
