/* SPDX-License-Identifier: Apache-2.0 */

/* Who serves a function, from the model's list down to datapaths that are dummies, with a guest at the other end: what
 * is asked of them and in which order, and what follows when they refuse, take their time, or die. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/eventfd.h>

#include "broker/binding.h"
#include "dummy_env.h"
#include "switch/control_box.h"

#define VF0 DE_VF(0)

/* What a driver's start is to a datapath that has two rings in the end. */
#define STARTED(name)                                                                                        \
	name ".open " name ".prepare " name ".start:1 " name ".set:1500 " name ".enable:0 " name             \
	     ".add:1 " name ".enable:1 "

static struct datapath_dummy *dummy(const char *name)
{
	return datapath_dummy_find("pf", VF0, name);
}

static bool port_open(void)
{
	return dummy_port_find("pf", VF0)->open;
}

static void served(void **state)
{
	struct de_env *e = *state;
	struct vu_client *c = &e->guest[VF0];
	struct function_settings s = de_settings(e, VF0);
	uint8_t mac[8] = {2, 0, 0, 0, 0, 0x11};
	const struct datapath_dummy *d;
	uint64_t ring = 1;
	int fd = eventfd(0, EFD_CLOEXEC);

	assert_int_equal(de_binding(e, VF0).state, BINDING_IDLE);
	de_assert_log("");
	de_guest_start(e, VF0);
	de_assert_log(STARTED("a"));
	assert_true(de_happened(e, "pf 1 datapath bound"));
	assert_int_equal(de_binding(e, VF0).state, BINDING_BOUND);
	assert_string_equal(de_state(e, VF0).datapath, "dummy");
	assert_string_equal(de_server(e, VF0), "a");
	assert_string_equal(de_server(e, DE_VF(1)), "");
	d = dummy("a");
	assert_true(port_open());
	assert_int_equal(d->open.attach->kind, ATTACH_TAP);
	assert_int_equal(d->open.queue_pairs, 1);
	assert_int_equal(d->open.mtu, 1500);
	assert_memory_equal(d->open.mac, mac, 6);
	assert_ptr_equal(d->open.port, &dummy_port_find("pf", VF0)->base);

	s.mtu = 1400;
	assert_int_equal(de_set(e, VF0, &s, NULL, NULL), 0); /* an MTU of the PF's stays */
	s.own_mtu = true;
	assert_int_equal(de_set(e, VF0, &s, NULL, NULL), 0);
	assert_int_equal(vu_client_ask(c, VU_SET_VRING_CALL, &ring, sizeof(ring), &fd, 1), 0);
	assert_int_equal(vu_client_ask_state(c, VU_SET_VRING_ENABLE, 1, 0), 0);
	assert_int_equal(vu_client_get_base(c, 1), 0);
	de_assert_log("a.set:1400 a.call:1 a.disable:1 a.remove:1 ");
	assert_int_equal(vu_client_ask(c, VU_SEND_RARP, mac, sizeof(mac), NULL, 0), 0);
	assert_int_equal(dummy_fabric.announced, 1);
	assert_true(port_open());

	assert_int_equal(model_pf_del(e->model, "pf", NULL), -EBUSY);
	de_guest_stop(e, VF0);
	de_pump(e);
	de_assert_log("a.remove:0 a.close ");
	assert_false(port_open());
	assert_int_equal(dummy_fabric.calls[DUMMY_PORT_OPEN], 1);
	assert_true(de_happened(e, "pf 1 datapath released"));
	assert_int_equal(model_pf_del(e->model, "pf", NULL), 0);
	close(fd);
}

/* The next of the list takes over what one leaves; when there is none, there is no link until one can be had again. */
static void dies(void **state)
{
	struct de_env *e = *state;
	struct binding_info info;

	de_guest_start(e, VF0);
	de_guest_start(e, DE_VF(1));
	de_assert_log(STARTED("a") STARTED("a"));
	datapath_dummy_die(dummy("a"), "it was shot");
	de_pump(e);
	de_assert_log("a.close b.open b.prepare b.start:2 b.set:1500 ");
	assert_string_equal(de_server(e, VF0), "b");
	assert_string_equal(de_server(e, DE_VF(1)), "a");
	assert_true(de_happened(e, "pf 1 datapath failed") && de_happened(e, "pf 1 datapath moved"));
	assert_false(de_happened(e, "pf 1 link down"));
	info = de_binding(e, VF0);
	assert_int_equal(info.position, 1);
	assert_int_equal(info.failures, 1);
	assert_int_equal(info.moves, 1);
	assert_string_equal(info.last_error, "it was shot");
	assert_true(de_state(e, VF0).link_up);

	de_happened(e, NULL);
	datapath_dummy_die(dummy("b"), "it was shot, too");
	de_pump(e);
	assert_int_equal(de_binding(e, VF0).state, BINDING_NONE);
	assert_true(de_happened(e, "pf 1 datapath none") && de_happened(e, "pf 1 link down"));
	assert_false(de_state(e, VF0).link_up);
	assert_false(port_open());
	DE_UNTIL(e, *de_server(e, VF0));
	assert_string_equal(de_server(e, VF0), "a");
	assert_true(de_happened(e, "pf 1 link up"));
	de_assert_log("b.close a.open a.prepare a.start:2 a.set:1500 ");
}

/* One refuses to open, to get ready, or to start, at once or later: the next, or none, serves. */
static void refused(void **state)
{
	static const char *const asked[] = {
		[DP_DUMMY_OPEN] = "",
		[DP_DUMMY_PREPARE] = "a.open a.prepare a.close b.open b.prepare b.close ",
		[DP_DUMMY_START] = "a.open a.prepare a.start:1 a.close b.open b.prepare b.start:1 b.close ",
	};
	struct de_env *e = *state;
	struct datapath_dummy_control *c = &datapath_dummy_control;
	unsigned int failures = 0;

	for (enum datapath_dummy_op op = DP_DUMMY_OPEN; op <= DP_DUMMY_START; op++) {
		c->r[op] = -EIO;
		de_guest_start(e, VF0);
		assert_int_equal(de_binding(e, VF0).state, BINDING_NONE);
		assert_false(de_state(e, VF0).link_up);
		assert_int_equal(de_binding(e, VF0).failures, failures += 2);
		de_assert_log(asked[op]);
		c->r[op] = 0;
		de_guest_stop(e, VF0);
		de_pump(e);
		assert_true(de_state(e, VF0).link_up); /* for the next driver */
	}
	for (enum datapath_dummy_op op = DP_DUMMY_PREPARE; op <= DP_DUMMY_START; op++) {
		c->later[op] = true;
		de_guest_start(e, VF0);
		assert_string_equal(de_server(e, VF0), "");
		assert_int_equal(de_binding(e, VF0).state, BINDING_BINDING);
		assert_string_equal(de_state(e, VF0).datapath, "none");
		datapath_dummy_answer(dummy("a"), -EIO);
		de_pump(e);
		assert_null(dummy("a"));
		assert_int_equal(dummy("b")->phase,
				 op == DP_DUMMY_PREPARE ? DP_DUMMY_PREPARING : DP_DUMMY_STARTING);
		assert_false(de_happened(e, "pf 1 datapath bound"));
		datapath_dummy_answer(dummy("b"), 0);
		de_pump(e);
		assert_string_equal(de_server(e, VF0), "b");
		assert_true(de_happened(e, "pf 1 datapath bound"));
		c->later[op] = false;
		de_guest_stop(e, VF0);
		de_happened(e, NULL);
		c->log[0] = 0;
	}
}

/* Two seconds for a start, three to get ready: then it is the next one's turn. */
static void never(void **state)
{
	struct de_env *e = *state;
	struct datapath_dummy_control *c = &datapath_dummy_control;

	c->later[DP_DUMMY_PREPARE] = true;
	de_guest_start(e, VF0);
	c->later[DP_DUMMY_PREPARE] = false;
	c->later[DP_DUMMY_START] = true;
	de_guest_start(e, DE_VF(1));
	c->later[DP_DUMMY_START] = false;
	DE_UNTIL(e, *de_server(e, VF0) && *de_server(e, DE_VF(1)));
	assert_string_equal(de_server(e, VF0), "b");
	assert_string_equal(de_server(e, DE_VF(1)), "b");
	assert_string_equal(de_binding(e, VF0).last_error, "it did not get ready in time");
	assert_string_equal(de_binding(e, DE_VF(1)).last_error, "it did not start in time");
	assert_null(dummy("a"));
}

/* A new list: the next one is ready before the rings leave, and gets them with the port as it is. */
static void moved(void **state)
{
	struct de_env *e = *state;
	struct datapath_dummy_control *c = &datapath_dummy_control;
	struct pf_settings ps = model_pf_find(e->model, "pf")->s;

	de_guest_start(e, VF0);
	de_guest_start(e, DE_VF(1));
	c->log[0] = 0;
	assert_int_equal(de_set_list(e, VF0, "dummy:name=b", NULL), 0);
	de_pump(e);
	de_assert_log("a.set:1500 b.open b.prepare a.stop b.start:2 b.set:1500 a.close ");
	assert_string_equal(de_server(e, VF0), "b");
	assert_string_equal(de_server(e, DE_VF(1)), "a");
	assert_int_equal(de_binding(e, VF0).moves, 1);
	assert_true(de_happened(e, "pf 1 datapath moved"));
	assert_int_equal(dummy_fabric.calls[DUMMY_PORT_OPEN], 2); /* of two VFs */
	assert_int_equal(dummy_fabric.calls[DUMMY_PORT_CLOSE], 0);

	/* Of the virtual PF: those that have none of their own. */
	ps.datapaths = de_list("dummy:name=c,dummy:name=a");
	assert_int_equal(model_pf_set(e->model, &ps, NULL, NULL, NULL), 0);
	de_pump(e);
	assert_string_equal(de_server(e, VF0), "b");
	assert_string_equal(de_server(e, DE_VF(1)), "c");

	/* The next one cannot be had: the rings stay, though it is in no list any more. */
	c->r[DP_DUMMY_PREPARE] = -EIO;
	assert_int_equal(de_set_list(e, VF0, "dummy:name=d", NULL), 0);
	de_pump(e);
	assert_string_equal(de_server(e, VF0), "b");
	assert_int_equal(de_binding(e, VF0).position, 1);
	c->r[DP_DUMMY_PREPARE] = 0;
	/* It can: but now the old one does not give the rings back. */
	c->later[DP_DUMMY_STOP] = true;
	DE_UNTIL(e, !strcmp(de_server(e, VF0), "d"));
	assert_string_equal(de_binding(e, VF0).last_error, "it did not give back the rings in time");
	assert_null(dummy("b"));
	assert_int_equal(dummy_fabric.calls[DUMMY_PORT_CLOSE], 0);
}

/* The fabric opens the port for those who lead there: all of the list, or none. */
static void port_refused(void **state)
{
	struct de_env *e = *state;
	struct dummy_how *open = &dummy_fabric.how[DUMMY_PORT_OPEN];

	*open = (struct dummy_how){DUMMY_NOW, -EPERM};
	de_guest_start(e, VF0);
	assert_int_equal(de_binding(e, VF0).state, BINDING_NONE);
	assert_string_equal(de_binding(e, VF0).last_error, "the dummy would not open it");
	assert_int_equal(dummy_fabric.calls[DUMMY_PORT_OPEN], 2);
	de_assert_log("");
	de_guest_stop(e, VF0);

	*open = (struct dummy_how){DUMMY_LATER, 0};
	de_guest_start(e, VF0);
	de_assert_log("");
	assert_true(dummy_fabric_answer(DUMMY_PORT_OPEN, -EPERM)); /* a's; then b's */
	de_pump(e);
	assert_true(dummy_fabric_answer(DUMMY_PORT_OPEN, 0));
	de_pump(e);
	assert_string_equal(de_server(e, VF0), "b");
	assert_true(port_open());
	/* It is not closed before that is answered, nor opened again. */
	dummy_fabric.how[DUMMY_PORT_CLOSE].when = DUMMY_LATER;
	de_guest_stop(e, VF0);
	de_guest_start(e, VF0);
	de_assert_log("b.open b.prepare b.start:2 b.set:1500 b.remove:0 b.remove:1 b.close ");
	assert_int_equal(dummy_fabric.calls[DUMMY_PORT_OPEN], 4);
	assert_true(dummy_fabric_answer(DUMMY_PORT_CLOSE, 0));
	assert_false(port_open());
	de_pump(e);
	assert_int_equal(dummy_fabric.calls[DUMMY_PORT_OPEN], 5);
	dummy_fabric.how[DUMMY_PORT_CLOSE].when = DUMMY_NOW;

	/* Its guest goes, and the virtual PF, while it is being opened. */
	de_guest_stop(e, VF0);
	assert_int_equal(model_pf_del(e->model, "pf", NULL), 0);
	assert_null(dummy_fabric.ports);
	assert_false(dummy_fabric_answer(DUMMY_PORT_OPEN, 0));
	de_assert_log("");
}

static void port_never(void **state)
{
	struct de_env *e = *state;
	struct dummy_port *port = dummy_port_find("pf", VF0);
	uint64_t call;

	dummy_fabric.how[DUMMY_PORT_OPEN].when = DUMMY_NEVER;
	de_guest_start(e, VF0);
	call = port->base.call;
	dummy_fabric.how[DUMMY_PORT_OPEN].when = DUMMY_NOW;
	DE_UNTIL(e, *de_server(e, VF0));
	assert_string_equal(de_server(e, VF0), "b");
	assert_string_equal(de_binding(e, VF0).last_error, "the fabric f did not answer in time");
	assert_int_equal(dummy_fabric.calls[DUMMY_PORT_CLOSE], 1); /* what there might be of it */
	dummy_fabric_answer_port(&port->base, call, -EIO);
	de_pump(e);
	assert_string_equal(de_server(e, VF0), "b");
	assert_true(port_open());
}

/* Datapaths that lead to a switch of their own enforce what they say, and the fabric's port stays closed. */
static void elsewhere(void **state)
{
	struct de_env *e = *state;
	struct pf_settings ps = de_pf_settings("pf");
	struct function_settings s;
	struct err err = {0};

	datapath_dummy_control.takes = 0;
	assert_int_equal(de_add_pf(e, &ps, NULL, &err), -EOPNOTSUPP); /* the spoof check is on */
	ps.spoofchk = false;
	datapath_dummy_control.features = 0;
	assert_int_equal(de_add_pf(e, &ps, NULL, &err), -ENODEV);
	assert_string_equal(err.field, "datapaths");
	datapath_dummy_reset();
	datapath_dummy_control.takes = 0;
	assert_int_equal(de_add_pf(e, &ps, NULL, &err), 0);
	s = de_settings(e, VF0);
	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 7, .tpid = ETHER_TPID_Q};
	assert_int_equal(de_set(e, VF0, &s, NULL, &err), -EOPNOTSUPP);
	assert_string_equal(err.field, "vlan");
	de_guest_start(e, VF0);
	de_assert_log(STARTED("a"));
	assert_int_equal(dummy_fabric.calls[DUMMY_PORT_OPEN], 0);
	assert_true(dummy_port_find("pf", VF0)->base.elsewhere);
	assert_null(dummy("a")->open.attach);
}

static void on_control(void *ctx, const char *pf, const uint8_t *frame, size_t len)
{
	assert_string_equal(pf, "pf");
	assert_int_equal(len, 60);
	*(uint8_t *)ctx = frame[14];
}

/* The PF's own rings are for the first type that carries the control channel, unless a list of its own names another;
 * where that type does not fit the fabric, they are for the virtual PF's list. */
static void control(void **state)
{
	struct de_env *e = *state;
	struct pf_settings ps = de_pf_settings("pf");
	uint8_t frame[60] = {1, 2, 3}, got = 0;
	struct pkt packet = {.head = frame, .head_len = sizeof(frame), .len = sizeof(frame)};
	struct datapath_list list;

	assert_int_equal(de_add_pf(e, &ps, NULL, NULL), 0);
	list = model_function_list(model_pf_find(e->model, "pf"), VPF_FUNCTION_PF);
	assert_int_equal(list.n, 1);
	assert_ptr_equal(list.pref[0].type, datapath_type_of_control());
	assert_ptr_equal(list.pref[0].type, &datapath_type_builtin);
	list = model_function_list(model_pf_find(e->model, "pf"), VF0);
	assert_true(datapath_list_equal(&list, &ps.datapaths));

	assert_int_equal(de_set_list(e, VPF_FUNCTION_PF, "dummy:name=x", NULL), 0);
	dataplane_control_listen(e->dp, on_control, &got);
	assert_int_equal(dataplane_control_send(e->dp, "pf", frame, sizeof(frame)), -ENOTCONN);
	de_guest_start(e, VPF_FUNCTION_PF);
	assert_string_equal(de_server(e, VPF_FUNCTION_PF), "x");
	datapath_dummy_control.log[0] = 0;
	assert_int_equal(dataplane_control_send(e->dp, "pf", frame, sizeof(frame)), 0);
	de_assert_log("x.control:60 ");
	frame[14] = 77;
	assert_int_equal(
		control_box_put(datapath_dummy_find("pf", VPF_FUNCTION_PF, "x")->open.control, &packet), -1);
	de_pump(e);
	assert_int_equal(got, 77);
	de_guest_stop(e, VPF_FUNCTION_PF);
	assert_int_equal(model_pf_del(e->model, "pf", NULL), 0);
	assert_int_equal(model_fabric_del(e->model, "f", NULL), 0);

	dummy_fabric.gives = ATTACH_SOCKET;
	assert_int_equal(de_add_fabric(e, "f", NULL, NULL), 0);
	assert_int_equal(de_add_pf(e, &ps, NULL, NULL), 0);
	list = model_function_list(model_pf_find(e->model, "pf"), VPF_FUNCTION_PF);
	assert_true(datapath_list_equal(&list, &ps.datapaths));
	de_guest_start(e, VPF_FUNCTION_PF);
	assert_int_equal(datapath_dummy_find("pf", VPF_FUNCTION_PF, "a")->open.attach->kind, ATTACH_SOCKET);
}

int main(void)
{
#define TEST(f)       cmocka_unit_test_setup_teardown(f, de_setup, de_teardown)
#define TEST_BEGIN(f) cmocka_unit_test_setup_teardown(f, de_setup_fabric, de_teardown)
	const struct CMUnitTest tests[] = {
		TEST(served),       TEST(dies),       TEST(refused),         TEST(never),         TEST(moved),
		TEST(port_refused), TEST(port_never), TEST_BEGIN(elsewhere), TEST_BEGIN(control),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
