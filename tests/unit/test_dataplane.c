/* SPDX-License-Identifier: Apache-2.0 */

/* The data plane as its users see it: functions with sockets and workers behind them, driven by vhost-user
 * front-ends. Control frames between the mailboxes and who listens; counters over a restart. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "dataplane/dataplane.h"
#include "scratch_dir.h"
#include "vhost/virtio.h"
#include "vu_client.h"

#define PFS       4
#define RING_SIZE 32
#define BUFFERS   0x100000u /* in a client's memory: 2 KiB for each descriptor, rings 0 and 1 */

struct pf { /* a virtual PF's function 0, and the guest's end of it */
	char name[VPF_NAME_MAX], path[256];
	struct vu_client c;
	uint16_t added[2], taken[2];
};

struct env {
	sd_event *event;
	struct dataplane *dp;
	struct scratch dir;
	struct pf pf[PFS];
	unsigned int n;
	/* what the listener was told */
	char order[512];
	unsigned int told;
	uint8_t frame[DATAPLANE_CONTROL_LEN];
	size_t len;
	bool pause_each, answer_each, deaf;
};

static void pump(void *ctx)
{
	struct env *e = ctx;

	while (sd_event_run(e->event, 0) > 0)
		;
}

static const struct dataplane_events events;

static void start_dataplane(struct env *e, unsigned int workers)
{
	struct dataplane_config config = {.event = e->event,
					  .workers = workers,
					  .cpus = {[0 ... 63] = -1},
					  .socket_mode = 0600,
					  .socket_group = UINT32_MAX,
					  .events = &events};
	struct fabric_settings f;
	struct err err = {0};

	if (dataplane_new(&config, &e->dp, &err) < 0)
		fail_msg("%s", err.text);
	fabric_settings_init(&f, "f");
	assert_int_equal(dataplane_ops.fabric_add(e->dp, &f, &(struct answer){0}, &err), 0);
}

static int setup(void **state)
{
	struct env *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	scratch_make(&e->dir);
	assert_true(sd_event_new(&e->event) >= 0);
	start_dataplane(e, 2);
	*state = e;
	return 0;
}

static int teardown(void **state)
{
	struct env *e = *state;

	for (unsigned int i = 0; i < e->n; i++)
		vu_client_done(&e->pf[i].c);
	dataplane_free(e->dp);
	sd_event_unref(e->event);
	scratch_remove(&e->dir);
	free(e);
	return 0;
}

static void add_function(struct env *e, const char *pf, unsigned int fn, char path[256])
{
	struct pf_settings s;
	struct function_settings fs;
	struct datapath_ability ability;
	struct function_offer offer;
	struct err err = {0};
	char name[64];

	scratch_path(&e->dir, pf, path);
	assert_true(!mkdir(path, 0755) || errno == EEXIST);
	pf_settings_init(&s, pf);
	snprintf(s.fabric, sizeof(s.fabric), "f");
	s.queue_pairs = 1;
	s.vfs = 1;
	function_settings_init(&fs);
	memcpy(fs.mac, (uint8_t[]){2, 0, 0, 0, (uint8_t)pf[2], (uint8_t)fn}, 6);
	fs.mtu = 1500;
	datapath_list_init(&fs.datapaths, &fabric_type_builtin);
	snprintf(name, sizeof(name), "%s/%u.sock", pf, fn);
	scratch_path(&e->dir, name, path);
	assert_int_equal(dataplane_ops.list_check(e->dp, "f", 1, &fs.datapaths, &ability, &err), 0);
	offer = (struct function_offer){.list = ability.features, .pf = ability.features};
	if (dataplane_ops.function_add(e->dp, &s, fn, &fs, &offer, path, &err) < 0)
		fail_msg("%s", err.text);
}

static void start_guest(struct env *e, struct pf *p)
{
	vu_client_init(&p->c, pump, e);
	assert_int_equal(vu_client_connect(&p->c, p->path), 0);
	vu_client_negotiate(&p->c, VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF));
	vu_client_share_memory(&p->c, BUFFERS + 2 * RING_SIZE * 2048);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(vu_client_ring(&p->c, i, RING_SIZE, 0), 0);
		assert_int_equal(vu_client_ask_state(&p->c, VU_SET_VRING_ENABLE, i, 1), 0);
	}
}

/* A new PF, its driver running. */
static struct pf *add_pf(struct env *e)
{
	struct pf *p = &e->pf[e->n];

	snprintf(p->name, sizeof(p->name), "pf%u", e->n++);
	add_function(e, p->name, 0, p->path);
	start_guest(e, p);
	return p;
}

/* A buffer for ring 0 (the device's to write) or 1. */
static void add_buffer(struct pf *p, unsigned int ring, const void *data, uint32_t len)
{
	struct vu_ring_addr addr = vu_client_ring_addr(&p->c, ring);
	struct vring_desc *desc = (struct vring_desc *)(uintptr_t)addr.desc;
	struct vring_avail *avail = (struct vring_avail *)(uintptr_t)addr.avail;
	uint16_t slot = p->added[ring] % RING_SIZE;
	uint32_t at = BUFFERS + (ring * RING_SIZE + slot) * 2048;

	memset(p->c.mem + at, 0, 12);
	if (data)
		memcpy(p->c.mem + at + 12, data, len);
	desc[slot] = (struct vring_desc){
		.addr = VU_CLIENT_GPA + at, .len = len + 12, .flags = ring ? 0 : VRING_DESC_F_WRITE};
	avail->ring[slot] = slot;
	__atomic_store_n(&avail->idx, ++p->added[ring], __ATOMIC_RELEASE);
}

static struct vring_used *used_of(struct pf *p, unsigned int ring)
{
	return (struct vring_used *)(uintptr_t)vu_client_ring_addr(&p->c, ring).used;
}

/* Sends a control frame with `number` in it, and waits until the worker is done with it. */
static void send_frame(struct pf *p, uint16_t ethertype, uint8_t number)
{
	uint8_t frame[100] = {0x01, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, (uint8_t)p->name[2], 0};
	uint64_t one = 1;
	struct timespec start, now;

	frame[12] = (uint8_t)(ethertype >> 8);
	frame[13] = (uint8_t)ethertype;
	frame[14] = number;
	add_buffer(p, 1, frame, sizeof(frame));
	assert_int_equal(write(p->c.kick[1], &one, sizeof(one)), sizeof(one));
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (__atomic_load_n(&used_of(p, 1)->idx, __ATOMIC_ACQUIRE) != p->added[1]) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		assert_true(now.tv_sec - start.tv_sec < 20);
		sched_yield();
	}
}

static void send_control(struct pf *p, uint8_t number)
{
	send_frame(p, 0x88b5, number);
}

static uint64_t drops(struct env *e, const struct pf *p, enum drop_reason why)
{
	struct port_stats s;

	assert_int_equal(dataplane_ops.function_get(e->dp, p->name, 0, NULL, NULL, &s), 0);
	return s.tx_drop[why];
}

static void on_control(void *ctx, const char *pf, const uint8_t *frame, size_t len)
{
	struct env *e = ctx;

	assert_true(e->told < sizeof(e->order) - 1);
	e->order[e->told++] = pf[2];
	memcpy(e->frame, frame, len);
	e->len = len;
	if (e->pause_each)
		dataplane_control_pause(e->dp, pf, true);
	if (e->answer_each)
		assert_int_equal(dataplane_control_send(e->dp, pf, frame, len), 0);
	if (e->deaf)
		dataplane_control_listen(e->dp, NULL, NULL);
}

static void forget(struct env *e)
{
	memset(e->order, 0, sizeof(e->order));
	e->told = 0;
}

static void test_listen(void **state)
{
	struct env *e = *state;
	struct pf *a = add_pf(e), *b;

	send_control(a, 1);
	assert_int_equal(drops(e, a, DROP_CONTROL), 1);
	dataplane_control_listen(e->dp, on_control, e);
	b = add_pf(e); /* one that comes later is heard, too */
	send_control(a, 2);
	send_control(b, 3);
	send_frame(b, 0x88b6, 4);
	pump(e);
	assert_int_equal(e->told, 2);
	assert_int_equal(e->len, 100);
	assert_int_equal(e->frame[14], e->order[1] == '1' ? 3 : 2);
	/* No listener any more, from within the callback: what waits is gone. */
	forget(e);
	e->deaf = true;
	send_control(a, 5);
	send_control(a, 6);
	pump(e);
	assert_string_equal(e->order, "0");
	assert_int_equal(e->frame[14], 5);
	e->deaf = false;
	send_control(a, 7);
	assert_int_equal(drops(e, a, DROP_CONTROL), 2);
	dataplane_control_listen(e->dp, on_control, e);
	pump(e);
	assert_int_equal(e->told, 1);
	send_control(a, 8);
	pump(e);
	assert_int_equal(e->frame[14], 8);
	/* Listening again, by somebody else, leaves a pause as it is. */
	dataplane_control_pause(e->dp, "pf0", true);
	dataplane_control_listen(e->dp, on_control, e);
	send_control(a, 9);
	pump(e);
	assert_int_equal(e->frame[14], 8);
	dataplane_control_pause(e->dp, "nobody", true);
	dataplane_control_pause(e->dp, "pf0", false);
	pump(e);
	assert_int_equal(e->frame[14], 9);
}

/* One PF's flood: the others' frames come in turn, and the rest of the event loop, too. */
static void test_fair(void **state)
{
	struct env *e = *state;
	struct pf *p[3];
	unsigned int rounds = 0;

	dataplane_control_listen(e->dp, on_control, e);
	for (unsigned int i = 0; i < 3; i++) {
		p[i] = add_pf(e);
		dataplane_control_pause(e->dp, p[i]->name, true);
	}
	for (unsigned int i = 0; i < 20; i++)
		send_control(p[0], (uint8_t)i);
	for (unsigned int i = 0; i < DATAPLANE_CONTROL_FRAMES; i++)
		send_control(p[1], (uint8_t)i);
	for (unsigned int i = 0; i < 2; i++)
		send_control(p[2], (uint8_t)i);
	assert_int_equal(drops(e, p[0], DROP_CONTROL_FULL), 20 - DATAPLANE_CONTROL_FRAMES);
	assert_int_equal(drops(e, p[1], DROP_CONTROL_FULL), 0);
	pump(e);
	assert_int_equal(e->told, 0);
	for (unsigned int i = 0; i < 3; i++)
		dataplane_control_pause(e->dp, p[i]->name, false);
	while (sd_event_run(e->event, 0) > 0)
		rounds++;
	assert_string_equal(e->order, "012012010101010101");
	assert_true(rounds >= 2); /* not all of them in one go */
	assert_int_equal(e->frame[14], DATAPLANE_CONTROL_FRAMES - 1);

	/* Who is paused for each frame gets one, whatever it sends. */
	forget(e);
	e->pause_each = true;
	for (unsigned int i = 0; i < 5; i++)
		send_control(p[0], (uint8_t)i);
	send_control(p[1], 0);
	pump(e);
	assert_int_equal(e->told, 2);
	forget(e);
	dataplane_control_pause(e->dp, p[0]->name, false);
	pump(e);
	assert_string_equal(e->order, "0");
}

static void test_send(void **state)
{
	struct env *e = *state;
	uint8_t frame[DATAPLANE_CONTROL_LEN + 1] = {0x01, 0x80, 0xc2, 0, 0, 0x0e};
	struct port_stats s, none = {0};
	struct pf *a;
	char path[256];

	assert_int_equal(dataplane_control_send(e->dp, "pf0", frame, 60), -ENOENT);
	add_function(e, "pf9", 0, path);
	assert_int_equal(dataplane_control_send(e->dp, "pf9", frame, 60), -ENOTCONN);
	a = add_pf(e);
	assert_int_equal(dataplane_control_send(e->dp, "pf0", frame, 60), -EAGAIN);
	assert_int_equal(dataplane_control_send(e->dp, "pf0", frame, sizeof(frame)), -EINVAL);
	assert_int_equal(dataplane_control_send(e->dp, "pf0", frame, 13), -EINVAL);
	for (unsigned int i = 0; i < 3; i++)
		add_buffer(a, 0, NULL, DATAPLANE_CONTROL_LEN);
	frame[100] = 77;
	assert_int_equal(dataplane_control_send(e->dp, "pf0", frame, DATAPLANE_CONTROL_LEN), 0);
	assert_int_equal(__atomic_load_n(&used_of(a, 0)->idx, __ATOMIC_ACQUIRE), 1);
	assert_int_equal(used_of(a, 0)->ring[0].len, 12 + DATAPLANE_CONTROL_LEN);
	assert_memory_equal(a->c.mem + BUFFERS + 12, frame, DATAPLANE_CONTROL_LEN);
	assert_int_equal(dataplane_ops.function_get(e->dp, "pf0", 0, NULL, NULL, &s), 0);
	assert_memory_equal(&s, &none, sizeof(s));
	/* From within the callback. */
	dataplane_control_listen(e->dp, on_control, e);
	e->answer_each = true;
	send_control(a, 5);
	send_control(a, 6);
	pump(e);
	assert_int_equal(e->told, 2);
	assert_int_equal(__atomic_load_n(&used_of(a, 0)->idx, __ATOMIC_ACQUIRE), 3);
	assert_int_equal(a->c.mem[BUFFERS + 2048 + 12 + 14], 5);
	assert_int_equal(a->c.mem[BUFFERS + 2 * 2048 + 12 + 14], 6);
	/* The guest goes. */
	vu_client_disconnect(&a->c);
	pump(e);
	assert_int_equal(dataplane_control_send(e->dp, "pf0", frame, 60), -ENOTCONN);
}

/* SEND_RARP: the neighbours learn of it, but not of somebody else's address. */
static void test_rarp(void **state)
{
	static const uint8_t request[] = {0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3};
	struct env *e = *state;
	struct pf *a = add_pf(e), *b = add_pf(e);
	uint8_t mac[8] = {2, 0, 0, 0, '0', 0}, foreign[8] = {2, 0, 0, 0, '1', 0};
	const uint8_t *got = b->c.mem + BUFFERS + 12;

	add_buffer(b, 0, NULL, 1000);
	assert_int_equal(vu_client_ask(&a->c, VU_SEND_RARP, foreign, sizeof(foreign), NULL, 0), 0);
	assert_int_equal(drops(e, a, DROP_SPOOF_MAC), 1);
	assert_int_equal(vu_client_ask(&a->c, VU_SEND_RARP, mac, sizeof(mac), NULL, 0), 0);
	assert_int_equal(__atomic_load_n(&used_of(b, 0)->idx, __ATOMIC_ACQUIRE), 1);
	assert_int_equal(used_of(b, 0)->ring[0].len, 12 + 60);
	assert_memory_equal(got, "\xff\xff\xff\xff\xff\xff", 6);
	assert_memory_equal(got + 6, mac, 6);
	assert_memory_equal(got + 12, request, sizeof(request));
	assert_memory_equal(got + 22, mac, 6);
	assert_memory_equal(got + 32, mac, 6);
}

/* Counters go on after a restart, and end with their PF. */
static void test_counters(void **state)
{
	struct env *e = *state;
	struct pf *a = add_pf(e);
	struct port_stats s, none = {0};
	char path[256], file[256];
	struct stat st;

	add_function(e, a->name, 1, path);
	scratch_path(&e->dir, "pf0/counters", file);
	for (unsigned int i = 1; i <= 4; i++) {
		send_control(a, 1);
		send_control(a, 2);
		assert_int_equal(drops(e, a, DROP_CONTROL), 2 * i);
		vu_client_done(&a->c);
		memset(a->added, 0, sizeof(a->added));
		dataplane_free(e->dp);
		start_dataplane(e, 1 + i % 3);
		add_function(e, a->name, 0, a->path);
		add_function(e, a->name, 1, path);
		assert_int_equal(drops(e, a, DROP_CONTROL), 2 * i);
		assert_int_equal(dataplane_ops.function_get(e->dp, a->name, 1, NULL, NULL, &s), 0);
		assert_memory_equal(&s, &none, sizeof(s));
		start_guest(e, a);
	}
	vu_client_done(&a->c);
	pump(e);
	dataplane_ops.function_del(e->dp, a->name, 1);
	assert_int_equal(stat(file, &st), 0);
	dataplane_ops.function_del(e->dp, a->name, 0);
	assert_int_equal(stat(file, &st), -1);
	memset(a->added, 0, sizeof(a->added));
	add_function(e, a->name, 0, a->path);
	assert_int_equal(drops(e, a, DROP_CONTROL), 0);
	/* Without a place for the file the PF is there all the same. */
	dataplane_ops.function_del(e->dp, a->name, 0);
	assert_int_equal(mkdir(file, 0755), 0);
	add_function(e, a->name, 0, a->path);
	start_guest(e, a);
	send_control(a, 1);
	assert_int_equal(drops(e, a, DROP_CONTROL), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_listen, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fair, setup, teardown),
		cmocka_unit_test_setup_teardown(test_send, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rarp, setup, teardown),
		cmocka_unit_test_setup_teardown(test_counters, setup, teardown),
	};

	return cmocka_run_group_tests_name("dataplane", tests, NULL, NULL);
}
