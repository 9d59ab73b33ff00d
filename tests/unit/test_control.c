/* SPDX-License-Identifier: Apache-2.0 */

/* Control channels: whose they are, what a driver is told of its functions, and what it costs when it says too much. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "api/objects.h"
#include "control_env.h"

static void test_hello(void **state)
{
	struct ce_env *t = *state;
	const struct vpf_ctl_hello_reply *b = ce_hello(t, "pf0");

	assert_int_equal(le16toh(b->status), VPF_CTL_OK);
	assert_int_equal(le16toh(b->vfs), 100);
	assert_int_equal(le32toh(b->capabilities), 0x73f);
	assert_memory_equal(b->mac, ((uint8_t[]){2, 0, 0, 0, 0x10, 0}), 6);
	assert_string_equal(b->pf, "pf0");
	assert_string_equal(b->daemon, VPF_VERSION);
	assert_string_equal(me_last_event(t->m), "pf changed pf0 -1");
	ce_get(t, "pf0", 0);
	assert_string_equal(me_last_event(t->m), "control hello pf0 0");
	assert_string_equal(t->m->details[t->m->events_n - 1], "{\"driver\":\"0.2?!\",\"kernel\":\"7.3.4\"}");
	assert_string_equal(ce_info_of(t, "pf0").session->driver, "0.2?!");
	assert_true(ce_info_of(t, "pf0b").session->id == 0);
	ce_give(t, "pf0", VPF_CTL_BYE, t->session, 0, NULL, 0);
	assert_string_equal(me_last_event(t->m), "control bye pf0 0");
	assert_true(ce_info_of(t, "pf0").session->id == 0);
}

static void test_keys_of_vms(void **state)
{
	struct ce_env *t = *state;
	uint32_t before = t->sent_n;
	struct vpf_ctl_hello b = {.nonce = 1, .min_version = 1, .max_version = 1};
	struct control_info info;

	ce_hello(t, "pf0b"); /* the VM's other PF has the same key, and sessions of its own */
	assert_int_equal(t->sent_n, before + 1);
	ce_give(t, "pf0", VPF_CTL_GET, t->session, 1, "\0\0\1\0\0\0\0\0", 8);
	ce_last(t, "pf0", VPF_CTL_RESET);
	ce_give(t, "pf1", VPF_CTL_HELLO, 0, 0, &b, sizeof(b));
	assert_int_equal(t->sent_n, before + 2);
	assert_int_equal(ce_info_of(t, "pf1").counters->bad_tag, 1);
	ce_use_key_of(t, "pf1");
	ce_hello(t, "pf1");
	/* An unknown PF. */
	t->fn(t->ctx, "none", t->sent[0].f.bytes, t->sent[0].f.len);
	assert_int_equal(control_get(t->control, "none", &info), -ENOENT);
}

static void test_records(void **state)
{
	struct ce_env *t = *state;
	struct function_settings s = me_settings_of(t->m, "pf0", 3);
	struct vpf_ctl_function r;
	struct err err = {0};

	ce_driver_starts(t, "pf0");
	r = ce_get(t, "pf0", 3);
	assert_int_equal(le16toh(r.function), 3);
	assert_int_equal(r.flags, VPF_CTL_F_SPOOFCHK | VPF_CTL_F_LINK_UP);
	assert_int_equal(r.link, VPF_CTL_LINK_AUTO);
	assert_memory_equal(r.mac, ((uint8_t[]){2, 0, 0, 0, 0x10, 3}), 6);
	assert_true(mac_is_zero(r.admin_mac));
	assert_true(r.vlan_mode == VPF_CTL_VLAN_NONE && r.vid == 0 && le16toh(r.tpid) == 0x8100);
	assert_true(le16toh(r.mtu) == 1500 && !r.min_rate && !r.max_rate && !r.pinned);

	memcpy(s.admin_mac, (uint8_t[]){2, 9, 9, 9, 9, 9}, 6);
	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 100, .pcp = 5, .tpid = 0x88a8};
	s.spoofchk = false;
	s.trust = true;
	s.link = LINK_DISABLE;
	s.min_rate = 10;
	s.max_rate = 200;
	s.pinned = SETTING_MAC | SETTING_LINK;
	s.mtu = 9000;
	assert_int_equal(model_function_set(t->m->model, "pf0", 3, &s, true, NULL, &err), 0);
	fake_dp_function(&t->m->dp, "pf0", 3)->started = true;
	r = ce_get(t, "pf0", 3);
	assert_int_equal(r.flags, VPF_CTL_F_TRUST | VPF_CTL_F_STARTED);
	assert_int_equal(r.link, VPF_CTL_LINK_DISABLE);
	assert_memory_equal(r.admin_mac, s.admin_mac, 6);
	assert_true(r.vlan_mode == VPF_CTL_VLAN_ACCESS && le16toh(r.vid) == 100 && r.pcp == 5 &&
		    le16toh(r.tpid) == 0x88a8);
	assert_true(le16toh(r.mtu) == 9000 && le32toh(r.min_rate) == 10 && le32toh(r.max_rate) == 200);
	assert_int_equal(le32toh(r.pinned), VPF_CTL_MAC | VPF_CTL_LINK);

	s.vlan = (struct vlan_settings){.mode = VLAN_TRUNK, .vid = 7, .pcp = 7, .trunk = {6}};
	s.link = LINK_ENABLE;
	assert_int_equal(model_function_set(t->m->model, "pf0", 3, &s, true, NULL, &err), 0);
	r = ce_get(t, "pf0", 3);
	assert_true(r.vlan_mode == VPF_CTL_VLAN_TRUNK && !r.vid && !r.pcp && le16toh(r.tpid) == 0x8100);
	assert_int_equal(r.link, VPF_CTL_LINK_ENABLE);
}

static void test_stats(void **state)
{
	struct ce_env *t = *state;
	struct vpf_ctl_range b = {.first = htole16(1), .count = htole16(2)};
	const struct vpf_ctl_reply *reply;
	struct vpf_ctl_stats s;

	ce_driver_starts(t, "pf0");
	reply = ce_request(t, "pf0", VPF_CTL_STATS, &b, sizeof(b));
	assert_int_equal(le16toh(reply->count), 2);
	memcpy(&s, (const uint8_t *)(reply + 1) + sizeof(s), sizeof(s));
	assert_int_equal(le16toh(s.function), 2);
	assert_true(le64toh(s.tx_packets) == 5 && le64toh(s.rx_dropped) == 3 && !s.rx_packets);
}

static void test_reset_after_a_restart(void **state)
{
	struct ce_env *t = *state;

	ce_driver_starts(t, "pf0");
	control_free(t->control);
	t->sent_n = 0;
	ce_start_control(t); /* the function is started already */
	ce_await_sent(t);
	assert_true(peer_hdr(ce_last(t, "pf0", VPF_CTL_RESET))->session == 0);
	ce_give(t, "pf0", VPF_CTL_GET, t->session, 2, "\0\0\1\0\0\0\0\0", 8);
	assert_true(le64toh(peer_hdr(ce_last(t, "pf0", VPF_CTL_RESET))->session) == t->session);
	ce_hello(t, "pf0");
	ce_assert_idle(t);
}

static void test_function_stopped(void **state)
{
	struct ce_env *t = *state;

	ce_driver_starts(t, "pf0");
	model_dataplane_events.function_started(t->m->model, "pf0", 0, false);
	ce_assert_idle(t);
	assert_true(ce_info_of(t, "pf0").session->id == t->session);
	for (int i = 0; i < 30 && ce_info_of(t, "pf0").session->id; i++)
		assert_true(sd_event_run(t->m->event, 100000) >= 0);
	assert_true(ce_info_of(t, "pf0").session->id == 0);
	assert_string_equal(me_last_event(t->m), "control lost pf0 0");
	ce_driver_starts(t, "pf0");
}

static void test_pfs_come_and_go(void **state)
{
	struct ce_env *t = *state;
	struct pf_settings s;
	struct err err = {0};
	struct control_info info;

	me_add_pf(t->m, "pf9", "f0", 1, NULL);
	ce_driver_starts(t, "pf9");
	fake_dp_function(&t->m->dp, "pf9", 0)->started = false;
	assert_int_equal(model_pf_del(t->m->model, "pf9", &err), 0);
	assert_int_equal(control_get(t->control, "pf9", &info), -ENOENT);
	ce_give(t, "pf9", VPF_CTL_GET, t->session, 9, "\0\0\1\0\0\0\0\0", 8);
	ce_assert_idle(t);
	/* Given to another VM it has another key. */
	ce_driver_starts(t, "pf1");
	s = model_pf_find(t->m->model, "pf1")->s;
	snprintf(s.vm, sizeof(s.vm), "pf0");
	assert_int_equal(model_pf_set(t->m->model, &s, NULL, NULL, &err), 0);
	assert_true(ce_info_of(t, "pf1").session->id == 0);
	ce_driver_starts(t, "pf1");
	assert_memory_equal(t->key, model_pf_find(t->m->model, "pf0")->vm->key, sizeof(t->key));
}

static void test_flood(void **state)
{
	struct ce_env *t = *state;
	unsigned int n;

	ce_driver_starts(t, "pf0");
	/* The data plane stops giving when it is told to; a test can be no faster. */
	for (n = 0; n < 5000 && !ce_is_paused(t, "pf0"); n++)
		t->fn(t->ctx, "pf0", (const uint8_t *)"junk", 4);
	assert_in_range(n, 250, 1000);
	assert_true(ce_is_paused(t, "pf0b") && !ce_is_paused(t, "pf1"));
	assert_int_equal(ce_info_of(t, "pf0").limited, 1);
	assert_int_equal(ce_info_of(t, "pf0b").limited, 0);
	/* What it had in hand is dropped; another VM is listened to. */
	n = (unsigned int)ce_info_of(t, "pf0").counters->frames;
	t->fn(t->ctx, "pf0", (const uint8_t *)"junk", 4);
	assert_in_range(ce_info_of(t, "pf0").counters->frames, n, n);
	assert_int_equal(ce_info_of(t, "pf0").limited, 1);
	t->fn(t->ctx, "pf1", (const uint8_t *)"junk", 4);
	assert_int_equal(ce_info_of(t, "pf1").counters->malformed, 1);
	/* A PF that the VM gets meanwhile waits with it. */
	{
		struct pf_settings s = me_pf_settings_of("pf0c", "f0", 1);
		struct err err = {0};

		snprintf(s.vm, sizeof(s.vm), "pf0");
		assert_int_equal(model_pf_add(t->m->model, &s, NULL, NULL, &err), 0);
		assert_true(ce_is_paused(t, "pf0c"));
	}
	for (int i = 0; i < 20 && t->paused_n; i++)
		assert_true(sd_event_run(t->m->event, 100000) >= 0);
	assert_int_equal(t->paused_n, 0);
	ce_get(t, "pf0", 3); /* the session is as it was */
}

/* A driver that says HELLO all the time is not in the log each time. */
static void test_news_are_limited(void **state)
{
	struct ce_env *t = *state;
	unsigned int reported = 0;

	for (int i = 0; i < 50; i++) {
		t->m->events_n = 0;
		ce_hello(t, "pf0");
		ce_get(t, "pf0", 0);
		reported += t->m->events_n;
	}
	assert_in_range(reported, 6, 8);
	assert_int_equal(ce_info_of(t, "pf0").counters->hello, 50);
}

static void test_api_object(void **state)
{
	static const char *const names[] = {
		"frames",  "hello",           "requests", "refused", "repeated",  "replies",
		"events",  "event_retries",   "resets",   "unsent",  "malformed", "bad_version",
		"bad_tag", "unknown_session", "replayed", "limited",
	};
	struct ce_env *t = *state;
	struct api_env env = {.model = t->m->model, .control = t->control};
	json_t *o, *control, *counters;

	for (int with_session = 0; with_session < 2; with_session++) {
		if (with_session)
			ce_driver_starts(t, "pf0");
		o = object_pf(&env, model_pf_find(t->m->model, "pf0"), true);
		control = json_object_get(o, "control");
		counters = json_object_get(control, "counters");
		assert_int_equal(json_is_true(json_object_get(control, "session")), with_session);
		assert_int_equal(json_is_string(json_object_get(control, "driver")), with_session);
		assert_int_equal(json_is_null(json_object_get(control, "kernel")), !with_session);
		assert_int_equal(json_object_size(counters), ARRAY_SIZE(names));
		for (size_t i = 0; i < ARRAY_SIZE(names); i++)
			assert_true(json_is_integer(json_object_get(counters, names[i])));
		assert_int_equal(json_integer_value(json_object_get(counters, "frames")), 2 * with_session);
		assert_int_equal(json_integer_value(json_object_get(counters, "requests")), with_session);
		json_decref(o);
	}
	o = object_pf(&env, model_pf_find(t->m->model, "pf0"), false);
	assert_null(json_object_get(o, "control"));
	json_decref(o);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, ce_setup, ce_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_hello),
		TEST(test_keys_of_vms),
		TEST(test_records),
		TEST(test_stats),
		TEST(test_reset_after_a_restart),
		TEST(test_function_stopped),
		TEST(test_pfs_come_and_go),
		TEST(test_flood),
		TEST(test_news_are_limited),
		TEST(test_api_object),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
