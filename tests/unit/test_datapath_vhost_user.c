/* SPDX-License-Identifier: Apache-2.0 */

/* The vhost-user datapath towards back-ends that do their part: a scripted one that writes down what it is told, and
 * vpfd's own device. test_datapath_vhost_user_bad.c has those that do not. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dvu_env.h"
#include "settings/can.h"
#include "vhost/guest_map.h"
#include "vu_env.h"

#define OPS datapath_vhost_user

static bool signalled(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n);
}

static void add_one(int fd)
{
	uint64_t one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

static void test_what_it_is(void **state)
{
	struct datapath_pref pref = {.type = &datapath_type_vhost_user};
	uint64_t plain = OPS.features(&pref, 1, NULL), offload;

	(void)state;
	assert_ptr_equal(datapath_ops_of(&datapath_type_vhost_user), &OPS);
	assert_true(virtio_has(plain, VIRTIO_F_VERSION_1) && virtio_has(plain, VIRTIO_NET_F_MRG_RXBUF));
	assert_false(virtio_has(plain, VIRTIO_NET_F_MQ) || virtio_has(plain, VIRTIO_NET_F_CSUM));
	assert_false(virtio_has(plain, VIRTIO_F_RING_PACKED) || virtio_has(plain, VIRTIO_F_IN_ORDER));
	assert_true(virtio_has(OPS.features(&pref, 2, NULL), VIRTIO_NET_F_MQ));
	dvu_params(&pref)->offload = true;
	offload = OPS.features(&pref, 1, NULL);
	assert_true(virtio_has(offload, VIRTIO_NET_F_CSUM) && virtio_has(offload, VIRTIO_NET_F_GUEST_TSO6));
	assert_int_equal(offload & plain, plain);
	/* Whatever the fabric can: its switch is another one. */
	assert_int_equal(OPS.enforces(&pref), CAN_LINK | CAN_ADMIN_MAC | CAN_NO_SPOOFCHK);
}

static void test_path(void **state)
{
	struct dvu_env *e = *state;
	struct datapath_pref pref = {.type = &datapath_type_vhost_user};
	struct err err = {0};

	/* {pf} and {vf} are filled in, and what then does not fit a socket is said at once. */
	snprintf(dvu_params(&pref)->path, sizeof(dvu_params(&pref)->path), "%s/{pf}-{vf}", e->dir);
	assert_int_equal(dvu_open(e, &e->i, &pref, 2, NULL), 0);
	snprintf(e->b.path, sizeof(e->b.path), "%s/pf0-3", e->dir);
	vu_fake_listen(&e->b);
	dvu_prepare(e);
	dvu_close(&e->i);
	memset(dvu_params(&pref)->path, 'x', sizeof(dvu_params(&pref)->path) - 1);
	memcpy(dvu_params(&pref)->path, "/{pf}{pf}{pf}{pf}", 17);
	if (dvu_open(e, &e->i, &pref, 2, &err) == 0) /* as long as the parameter allows: it may just fit */
		dvu_close(&e->i);
	else
		assert_true(*err.text);
}

static void check_told_ring(struct dvu_env *e, unsigned int q)
{
	const struct vu_fake_ring *ring = &e->b.ring[q];
	const struct vdriver *d = &e->driver[q];

	assert_int_equal(ring->num, 256);
	assert_int_equal(ring->base, e->i.queue[q].used_idx);
	/* the addresses are those of the memory table */
	assert_true(ring->addr.desc == d->desc_gpa && ring->addr.avail == d->driver_gpa);
	assert_true(ring->addr.used == d->device_gpa);
	assert_int_equal(ring->addr.flags, 0);
	assert_int_equal(ring->enabled, 1);
	assert_true(ring->running && ring->errfd >= 0);
	/* and the descriptors the front-end's own */
	add_one(d->kickfd);
	assert_true(signalled(ring->kickfd));
	add_one(ring->callfd);
	assert_true(signalled(d->callfd));
}

static void test_life(void **state)
{
	struct dvu_env *e = *state;
	struct vu_fake *b = &e->b;
	int fds;

	dvu_open_client(e);
	dvu_settle(e);
	assert_int_equal(b->connections, 0); /* nothing before it is asked for */
	dvu_prepare(e);
	assert_int_equal(b->got_protocol, VU_FAKE_PROTOCOL); /* of all that was offered */
	assert_int_equal(b->mtu, 1500);
	assert_int_equal(b->got_features, DVU_FEATURES | F_PROTOCOL);
	assert_int_equal(b->n_regions, 1);
	assert_true(b->regions[0].ino == e->mem_ino && b->regions[0].r.gpa == 1u << 30);
	assert_true(b->regions[0].r.size == DVU_MEM_SIZE && b->regions[0].r.offset == 0x1000);
	assert_true(b->regions[0].r.uva == 1u << 30);
	assert_int_equal(vu_fake_count(b, VU_SET_VRING_NUM), 0);

	fds = vu_env_count_fds();
	dvu_start(e, 4);
	for (unsigned int q = 0; q < 4; q++)
		check_told_ring(e, q);
	assert_int_equal(b->status, 0xf);
	assert_int_equal(b->rarps, 1);
	assert_memory_equal(b->rarp, ((uint8_t[]){2, 0, 0, 0, 0, 7}), 6);

	dvu_use(e, 0, 1500);
	dvu_use(e, 3, 3); /* past the wrap */
	dvu_stop(e);
	assert_true(e->i.rings[0].avail_idx == 1500 && e->i.rings[0].used_idx == 1500);
	assert_true(e->i.rings[1].avail_idx == 2000 && e->i.rings[1].used_idx == 2000);
	assert_true(e->i.rings[3].avail_idx == 3 && e->i.rings[3].used_idx == 3);
	assert_int_equal(b->status, 0);
	/* From queue 0 on, and none was disabled: a disabled one loses frames. */
	for (unsigned int i = 0, q = 0; i < b->n_told; i++)
		if (b->told[i].request == VU_GET_VRING_BASE)
			assert_int_equal(b->told[i].payload.state.index, q++);
	assert_int_equal(b->ring[0].enabled, 1);
	/* the error descriptors are gone: here, and but for those that the back-end has */
	assert_int_equal(vu_env_count_fds(), fds + 3 * 4);

	/* Again, with fewer rings and where they were left; the memory is still there. */
	dvu_start(e, 2);
	check_told_ring(e, 0);
	assert_int_equal(b->ring[0].base, 1500);
	assert_false(b->ring[2].running);
	assert_int_equal(b->got_features, DVU_FEATURES | F_PROTOCOL);
	assert_int_equal(vu_fake_count(b, VU_ADD_MEM_REG), 1);
	assert_int_equal(b->connections, 1);
	dvu_stop(e);
	assert_int_equal(b->ends, 0);
	dvu_close(&e->i);
	dvu_settle(e);
	assert_int_equal(b->ends, 1);
	assert_int_equal(e->i.failed, 0);
}

/* Nothing but what every back-end has. */
static void test_plain_back_end(void **state)
{
	struct dvu_env *e = *state;
	struct vu_fake *b = &e->b;

	b->protocol = 0;
	b->features = F_PROTOCOL | F_VERSION_1 | F_EVENT_IDX | VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF) |
		      VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC);
	struct datapath_pref pref = {.type = &datapath_type_vhost_user};

	strcpy(dvu_params(&pref)->path, e->path);
	vu_fake_listen(b);
	assert_int_equal(dvu_open(e, &e->i, &pref, 1, NULL), 0);
	dvu_prepare(e);
	assert_int_equal(b->n_regions, 1);
	assert_int_equal(vu_fake_count(b, VU_SET_MEM_TABLE), 1);
	/* MQ and STATUS are between QEMU and the guest. */
	assert_int_equal(b->got_features, b->features);
	dvu_start(e, 2);
	check_told_ring(e, 1);
	dvu_use(e, 1, 2100);
	dvu_stop(e);
	assert_int_equal(e->i.rings[1].used_idx, 2100);
	for (unsigned int i = 0; i < b->n_told; i++)
		assert_int_equal(b->told[i].flags & VU_FLAG_NEED_REPLY, 0);
	/* the ends of prepare and start were waited for */
	assert_int_equal(vu_fake_count(b, VU_GET_FEATURES), 4);
	assert_int_equal(b->told[b->n_told - 3].request, VU_GET_FEATURES);
}

static void test_ring_changes(void **state)
{
	struct dvu_env *e = *state;
	struct vu_fake *b = &e->b;
	int call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct function_settings s = {.link = LINK_DISABLE};

	dvu_open_client(e);
	dvu_prepare(e);
	dvu_start(e, 2);
	e->i.queue[1].enabled = false;
	OPS.ring_enable(e->i.dp, 1, false);
	dvu_settle(e);
	assert_true(b->ring[1].enabled == 0 && b->ring[0].enabled == 1);

	OPS.ring_call(e->i.dp, 0, call);
	dvu_settle(e);
	add_one(b->ring[0].callfd);
	assert_true(signalled(call) && !signalled(e->driver[0].callfd));
	close(call);
	OPS.ring_call(e->i.dp, 0, -1);
	dvu_settle(e);
	assert_true(b->ring[0].nocall);

	/* The administrator takes the link: no ring is served; and gives it back: those are that were. */
	OPS.set(e->i.dp, &s, NULL);
	dvu_settle(e);
	assert_true(b->ring[0].enabled == 0 && b->ring[1].enabled == 0);
	dvu_stop(e);
	dvu_start(e, 2);
	assert_true(b->ring[0].enabled == 0 && b->ring[1].enabled == 0);
	s.link = LINK_AUTO;
	OPS.set(e->i.dp, &s, NULL);
	dvu_settle(e);
	assert_true(b->ring[0].enabled == 1 && b->ring[1].enabled == 1);

	/* The back-end finds a ring broken. */
	add_one(b->ring[1].errfd);
	assert_true(dvu_wait(e, &e->i.ring_errors, 1, DVU_PATIENCE_MS));
	assert_int_equal(e->i.ring_error_queue, 1);
	add_one(b->ring[1].errfd); /* is said once */
	dvu_settle(e);
	assert_int_equal(e->i.ring_errors, 1);
	dvu_stop(e);
	assert_int_equal(e->i.failed, 0);
}

static void test_polled_ring(void **state)
{
	struct dvu_env *e = *state;

	dvu_open_client(e);
	dvu_prepare(e);
	close_fd(&e->driver[0].kickfd);
	close_fd(&e->driver[0].callfd);
	dvu_start(e, 2);
	assert_true(e->b.ring[0].nokick && e->b.ring[0].nocall && e->b.ring[0].running);
	dvu_stop(e);
}

/* Memory of n more regions. */
static struct guest_mem *more_memory(struct dvu_env *e, unsigned int n)
{
	struct guest_mem *mem = guest_mem_ref(e->vm.mem);

	for (unsigned int i = 0; i < n; i++) {
		struct guest_mem *more;
		uint64_t gpa = (UINT64_C(16) << 30) + i * 0x100000;

		assert_int_equal(guest_mem_add(mem, gpa, 0x1000, gpa, i * 0x1000, e->mem_fd, &more), 0);
		guest_mem_unref(mem);
		mem = more;
	}
	return mem;
}

static void prepare_with(struct dvu_env *e, struct guest_mem *mem)
{
	unsigned int n = e->i.prepared;

	OPS.prepare(e->i.dp, DVU_FEATURES, mem);
	assert_true(dvu_wait(e, &e->i.prepared, n + 1, DVU_PATIENCE_MS));
}

/* Live migration: the log is passed on, for those rings that it is wanted of. */
static void test_dirty_log(void **state)
{
	struct dvu_env *e = *state;
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct dirty_log *log;
	struct stat st;

	assert_true(fd >= 0 && ftruncate(fd, 0x20000) == 0 && fstat(fd, &st) == 0);
	assert_int_equal(dirty_log_new(fd, 0x1000, 0x10000, &log), 0);
	close(fd);
	for (unsigned int empty = 0; empty < 2; empty++) {
		e->b.empty_log_reply = empty;
		if (empty) {
			vu_fake_done(&e->b);
			vu_fake_init(&e->b, e->event, e->path);
			e->b.empty_log_reply = true;
		}
		dvu_open_client(e);
		dvu_prepare(e);
		dvu_start(e, 2);
		assert_int_equal(vu_fake_count(&e->b, VU_SET_LOG_BASE), 0);
		dvu_stop(e);
		for (unsigned int q = 0; q < 2; q++) {
			e->i.queue[q] = vdriver_queue(&e->driver[q], q);
			e->i.queue[q].log = log;
			e->i.rings[q] = (struct datapath_ring){&e->i.queue[q], 7, 7};
		}
		e->i.queue[1].device_gpa = VHOST_QUEUE_NOT_LOGGED;
		OPS.start(e->i.dp, e->i.rings, 2);
		assert_true(dvu_wait(e, &e->i.started, 2, DVU_PATIENCE_MS));
		assert_int_equal(e->i.started_r, 0);
		assert_true(e->b.log.offset == 0x1000 && e->b.log.size == 0x10000 &&
			    e->b.log_ino == st.st_ino);
		assert_int_equal(e->b.got_features, DVU_FEATURES | F_PROTOCOL | F_LOG_ALL);
		assert_int_equal(e->b.ring[0].addr.flags, VU_RING_F_LOG);
		assert_int_equal(e->b.ring[0].addr.log, e->driver[0].device_gpa);
		assert_int_equal(e->b.ring[1].addr.flags, 0);
		dvu_use(e, 0, 7);
		dvu_use(e, 1, 7);
		dvu_stop(e);
		/* The migration was given up. */
		dvu_start(e, 2);
		assert_int_equal(e->b.got_features, DVU_FEATURES | F_PROTOCOL);
		assert_int_equal(e->b.ring[0].addr.flags, 0);
		dvu_stop(e);
		dvu_close(&e->i);
	}
	dirty_log_unref(log);
}

static void test_no_dirty_log(void **state)
{
	struct dvu_env *e = *state;
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct dirty_log *log;

	assert_true(fd >= 0 && ftruncate(fd, 0x1000) == 0);
	assert_int_equal(dirty_log_new(fd, 0, 0x1000, &log), 0);
	close(fd);
	e->b.protocol &= ~VU_BIT(VU_PF_LOG_SHMFD);
	dvu_open_client(e);
	dvu_prepare(e);
	e->i.queue[0] = vdriver_queue(&e->driver[0], 0);
	e->i.queue[0].log = log;
	e->i.rings[0] = (struct datapath_ring){&e->i.queue[0], 1000, 1000};
	OPS.start(e->i.dp, e->i.rings, 1);
	assert_true(dvu_wait(e, &e->i.started, 1, DVU_PATIENCE_MS));
	assert_int_equal(e->i.started_r, -EOPNOTSUPP);
	assert_non_null(strstr(e->i.why, "migration"));
	assert_int_equal(e->i.rings[0].avail_idx, 1000);
	assert_int_equal(vu_fake_count(&e->b, VU_SET_VRING_KICK), 0);
	dirty_log_unref(log);
}

/* vpfd's own back-end, which checks all that it is told. */
static void test_own_device(void **state)
{
	struct dvu_env *e = *state;
	struct vu_env *own;
	void *p = NULL;
	struct datapath_pref pref = {.type = &datapath_type_vhost_user};
	struct guest_mem *more;

	assert_int_equal(vu_env_setup(&p), 0);
	own = p;
	strcpy(dvu_params(&pref)->path, own->path);
	/* in the loop of the instance */
	assert_int_equal(dvu_open(e, &e->i, &pref, 2, NULL), 0);
	vhost_user_free(own->vu);
	own->vu = NULL;
	sd_event_unref(own->event);
	own->event = sd_event_ref(e->event);
	assert_int_equal(vu_env_new_device(own, 2, DVU_FEATURES | F_PACKED), 0);

	dvu_prepare(e);
	assert_int_equal(vu_env_info(own).mem_regions, 1);
	dvu_start(e, 4);
	for (unsigned int q = 0; q < 4; q++) {
		const struct vhost_queue *run = own->q[q].q;
		struct vring_desc *desc;

		assert_non_null(run);
		assert_true(run->size == 256 && run->avail_idx == 1000 * (q + 1) && run->enabled);
		assert_int_equal(run->features, DVU_FEATURES);
		/* the same memory, mapped once more */
		desc = run->desc;
		e->driver[q].desc[9].addr = 0xabcd00 + q;
		assert_int_equal(desc[9].addr, 0xabcd00 + q);
		((struct vring_used *)run->device)->ring[3].len = 77 + q;
		assert_int_equal(e->driver[q].used->ring[3].len, 77 + q);
		assert_ptr_not_equal(run->desc, e->driver[q].desc);
	}
	assert_int_equal(own->rarps, 1);
	assert_int_equal(own->mtu, 1500);
	assert_int_equal(own->status, 0xf);
	e->i.queue[2].enabled = false;
	OPS.ring_enable(e->i.dp, 2, false);
	dvu_settle(e);
	assert_false(own->q[2].q->enabled);

	dvu_use(e, 1, 2222);
	own->q[1].moved = true;
	own->q[1].avail_idx = own->q[1].used_idx = 2222;
	dvu_stop(e);
	for (unsigned int q = 0; q < 4; q++)
		assert_null(own->q[q].q);
	assert_int_equal(e->i.rings[1].avail_idx, 2222);

	more = more_memory(e, 3);
	prepare_with(e, more);
	assert_int_equal(e->i.prepared_r, 0);
	assert_int_equal(vu_env_info(own).mem_regions, 4);
	guest_mem_unref(more);
	dvu_start(e, 2);
	assert_int_equal(own->q[1].q->avail_idx, 2222);

	/* It ends: the rings are ours at once. */
	vhost_user_disconnect(own->vu, "a test");
	assert_true(dvu_wait(e, &e->i.failed, 1, DVU_PATIENCE_MS));
	assert_string_equal(e->i.why, "the back-end closed the connection");
	assert_int_equal(e->i.rings[1].used_idx, 2222);
	dvu_close(&e->i);
	assert_int_equal(vu_env_info(own).bad_messages, 0);
	own->fds = vu_env_count_fds(); /* what is left is counted by this test's own end */
	vhost_user_free(own->vu);
	own->vu = NULL;
	sd_event_unref(own->event);
	own->event = NULL;
	rmdir(own->dir);
	free(own);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, dvu_setup, dvu_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_what_it_is),     TEST(test_path),         TEST(test_life),
		TEST(test_plain_back_end), TEST(test_ring_changes), TEST(test_polled_ring),
		TEST(test_dirty_log),      TEST(test_no_dirty_log), TEST(test_own_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
