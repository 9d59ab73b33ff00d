/* SPDX-License-Identifier: Apache-2.0 */

/* The control channels of a model, over a data plane that is not there: what a guest's driver is told and can
 * change, what the host's changes bring it, and what it costs when it says too much. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "api/objects.h"
#include "control/control.h"
#include "control/records.h"
#include "ctl_peer.h"
#include "model_env.h"
#include "settings_same.h"

#define SENT_MAX 512

struct guest_frame {
	char pf[VPF_NAME_MAX];
	struct peer_frame f;
};

struct site {
	struct me_env *m;
	struct control *control;
	dataplane_control_fn fn;
	void *ctx;
	struct guest_frame sent[SENT_MAX];
	unsigned int sent_n;
	char paused[8][VPF_NAME_MAX];
	unsigned int paused_n;
	uint8_t key[VPF_CTL_KEY_LEN];
	uint64_t session;
	uint32_t sequence;
};

static void fake_listen(void *dp, dataplane_control_fn fn, void *ctx)
{
	struct site *t = dp;

	t->fn = fn;
	t->ctx = ctx;
}

static bool is_paused(const struct site *t, const char *pf)
{
	for (unsigned int i = 0; i < t->paused_n; i++)
		if (!strcmp(t->paused[i], pf))
			return true;
	return false;
}

static void fake_pause(void *dp, const char *pf, bool pause)
{
	struct site *t = dp;

	for (unsigned int i = 0; i < t->paused_n; i++)
		if (!strcmp(t->paused[i], pf))
			memcpy(t->paused[i], t->paused[--t->paused_n], VPF_NAME_MAX);
	if (pause) {
		assert_true(t->paused_n < ARRAY_SIZE(t->paused));
		snprintf(t->paused[t->paused_n++], VPF_NAME_MAX, "%s", pf);
	}
}

static int fake_send(void *dp, const char *pf, const uint8_t *frame, size_t len)
{
	struct site *t = dp;
	struct guest_frame *g;

	assert_true(t->sent_n < SENT_MAX && len >= CTL_FRAME_MIN && len <= DATAPLANE_CONTROL_LEN);
	assert_non_null(fake_dp_function(&t->m->dp, pf, 0));
	g = &t->sent[t->sent_n++];
	snprintf(g->pf, sizeof(g->pf), "%s", pf);
	memcpy(g->f.bytes, frame, len);
	g->f.len = len;
	return 0;
}

static const struct control_dataplane fake_control = {
	.listen = fake_listen,
	.pause = fake_pause,
	.send = fake_send,
};

static void start_control(struct site *t)
{
	struct err err = {0};

	t->control = NULL;
	assert_int_equal(control_new(&(struct control_config){.event = t->m->event,
							      .model = t->m->model,
							      .ops = &fake_control,
							      .dp = t},
				     &t->control, &err),
			 0);
}

static void set_policy(struct site *t, const char *pf, void (*change)(struct pf_policy *p))
{
	struct pf_settings s = model_pf_find(t->m->model, pf)->s;
	struct err err = {0};

	change(&s.policy);
	assert_int_equal(model_pf_set(t->m->model, &s, NULL, &err), 0);
}

static void open_policy(struct pf_policy *p)
{
	memset(p->vlans, 0xff, sizeof(p->vlans));
	p->vlans[0] &= ~1ull;
	p->vlans[63] &= ~(1ull << 63);
	p->vlan_ad = p->trust = p->spoofchk_off = true;
	p->macs = MAC_POLICY_ANY;
	p->max_rate_total = 10000;
}

static void use_key_of(struct site *t, const char *pf)
{
	memcpy(t->key, model_pf_find(t->m->model, pf)->vm->key, sizeof(t->key));
}

/* pf0 and pf0b are of the VM pf0, pf1 of another one. */
static int site_setup(void **state)
{
	struct site *t = calloc(1, sizeof(*t));
	struct pf_settings s = me_pf_settings_of("pf0b", "f0", 3);
	struct err err = {0};

	assert_non_null(t);
	me_setup((void **)&t->m);
	me_add_fabric(t->m, "f0", NULL);
	me_add_pf(t->m, "pf0", "f0", 100, "02:00:00:00:10:00");
	snprintf(s.vm, sizeof(s.vm), "pf0");
	assert_int_equal(model_pf_add(t->m->model, &s, NULL, &err), 0);
	me_add_pf(t->m, "pf1", "f0", 2, "02:00:00:00:20:00");
	set_policy(t, "pf0", open_policy);
	start_control(t);
	use_key_of(t, "pf0");
	*state = t;
	return 0;
}

static int site_teardown(void **state)
{
	struct site *t = *state;

	control_free(t->control);
	assert_null(t->fn);
	me_teardown((void **)&t->m);
	free(t);
	return 0;
}

/* From the driver */

static void give(struct site *t, const char *pf, uint8_t type, uint64_t session, uint32_t sequence,
		 const void *body, size_t size)
{
	struct peer_frame f = peer_message(t->key, type, session, sequence, body, size);

	t->fn(t->ctx, pf, f.bytes, f.len);
}

/* The last message that was sent, to this PF and of this type. */
static struct peer_frame *last(struct site *t, const char *pf, uint8_t type)
{
	struct guest_frame *g = &t->sent[t->sent_n - 1];

	assert_true(t->sent_n > 0);
	assert_string_equal(g->pf, pf);
	assert_int_equal(peer_hdr(&g->f)->type, type);
	peer_check(&g->f, t->key);
	return &g->f;
}

static const struct vpf_ctl_hello_reply *hello(struct site *t, const char *pf)
{
	struct vpf_ctl_hello b = {.nonce = t->sent_n + 1, .min_version = 1, .max_version = 1};
	struct peer_frame *f;

	memcpy(b.driver, "0.2\x1b!", 5);
	memcpy(b.kernel, "7.3.4", 5);
	give(t, pf, VPF_CTL_HELLO, 0, 0, &b, sizeof(b));
	f = last(t, pf, VPF_CTL_HELLO_REPLY);
	t->session = le64toh(peer_hdr(f)->session);
	t->sequence = 0;
	return peer_body(f);
}

static const struct vpf_ctl_reply *request(struct site *t, const char *pf, uint8_t type, const void *body,
					   size_t size)
{
	struct peer_frame *f;

	give(t, pf, type, t->session, ++t->sequence, body, size);
	f = last(t, pf, VPF_CTL_REPLY);
	assert_int_equal(le32toh(peer_hdr(f)->sequence), t->sequence);
	return peer_body(f);
}

static struct vpf_ctl_function record_of(const void *records, unsigned int i)
{
	struct vpf_ctl_function r;

	memcpy(&r, (const uint8_t *)records + i * sizeof(r), sizeof(r));
	return r;
}

static struct vpf_ctl_function get(struct site *t, const char *pf, uint16_t function)
{
	struct vpf_ctl_range b = {.first = htole16(function), .count = htole16(1)};
	const struct vpf_ctl_reply *reply = request(t, pf, VPF_CTL_GET, &b, sizeof(b));

	assert_int_equal(le16toh(reply->status), VPF_CTL_OK);
	return record_of(reply + 1, 0);
}

static const struct vpf_ctl_reply *set(struct site *t, const char *pf, struct vpf_ctl_set b,
				       uint16_t function, uint16_t mask)
{
	b.function = htole16(function);
	b.mask = htole16(mask);
	return request(t, pf, VPF_CTL_SET, &b, sizeof(b));
}

static void driver_starts(struct site *t, const char *pf)
{
	use_key_of(t, pf);
	fake_dp_function(&t->m->dp, pf, 0)->started = true;
	model_dataplane_events.function_started(t->m->model, pf, 0, true);
	hello(t, pf);
	get(t, pf, 0);
}

/* Runs the loop until something was sent, for a second at most. */
static void await_sent(struct site *t)
{
	unsigned int before = t->sent_n;
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (t->sent_n == before) {
		assert_true(sd_event_run(t->m->event, 100000) >= 0);
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec > start.tv_sec + 2)
			fail_msg("nothing was sent");
	}
}

/* The next event, acknowledged; returns its number of records. */
static unsigned int await_event(struct site *t, const char *pf, struct vpf_ctl_function *ret)
{
	const struct vpf_ctl_event *b;
	struct peer_frame *f;

	await_sent(t);
	f = last(t, pf, VPF_CTL_EVENT);
	b = peer_body(f);
	*ret = record_of(b + 1, 0);
	give(t, pf, VPF_CTL_EVENT_ACK, t->session, le32toh(peer_hdr(f)->sequence), NULL, 0);
	return le16toh(b->count);
}

/* The loop has nothing to do. */
static void assert_idle(struct site *t)
{
	unsigned int before = t->sent_n;

	while (sd_event_run(t->m->event, 0) > 0)
		;
	assert_int_equal(t->sent_n, before);
	assert_int_equal(sd_event_run(t->m->event, 300000), 0);
	assert_int_equal(t->sent_n, before);
}

static struct control_info info_of(const struct site *t, const char *pf)
{
	struct control_info info = {0};

	assert_int_equal(control_get(t->control, pf, &info), 0);
	return info;
}

static void test_hello(void **state)
{
	struct site *t = *state;
	const struct vpf_ctl_hello_reply *b = hello(t, "pf0");

	assert_int_equal(le16toh(b->status), VPF_CTL_OK);
	assert_int_equal(le16toh(b->vfs), 100);
	assert_int_equal(le32toh(b->capabilities), 0x73f);
	assert_memory_equal(b->mac, ((uint8_t[]){2, 0, 0, 0, 0x10, 0}), 6);
	assert_string_equal(b->pf, "pf0");
	assert_string_equal(b->daemon, VPF_VERSION);
	assert_string_equal(me_last_event(t->m), "pf changed pf0 -1");
	get(t, "pf0", 0);
	assert_string_equal(me_last_event(t->m), "control hello pf0 0");
	assert_string_equal(t->m->details[t->m->events_n - 1], "{\"driver\":\"0.2?!\",\"kernel\":\"7.3.4\"}");
	assert_string_equal(info_of(t, "pf0").session->driver, "0.2?!");
	assert_true(info_of(t, "pf0b").session->id == 0);
	give(t, "pf0", VPF_CTL_BYE, t->session, 0, NULL, 0);
	assert_string_equal(me_last_event(t->m), "control bye pf0 0");
	assert_true(info_of(t, "pf0").session->id == 0);
}

static void test_keys_of_vms(void **state)
{
	struct site *t = *state;
	uint32_t before = t->sent_n;
	struct vpf_ctl_hello b = {.nonce = 1, .min_version = 1, .max_version = 1};
	struct control_info info;

	hello(t, "pf0b"); /* the VM's other PF has the same key, and sessions of its own */
	assert_int_equal(t->sent_n, before + 1);
	give(t, "pf0", VPF_CTL_GET, t->session, 1, "\0\0\1\0\0\0\0\0", 8);
	last(t, "pf0", VPF_CTL_RESET);
	give(t, "pf1", VPF_CTL_HELLO, 0, 0, &b, sizeof(b));
	assert_int_equal(t->sent_n, before + 2);
	assert_int_equal(info_of(t, "pf1").counters->bad_tag, 1);
	use_key_of(t, "pf1");
	hello(t, "pf1");
	/* A PF that nobody knows. */
	t->fn(t->ctx, "none", t->sent[0].f.bytes, t->sent[0].f.len);
	assert_int_equal(control_get(t->control, "none", &info), -ENOENT);
}

static void test_records(void **state)
{
	struct site *t = *state;
	struct function_settings s = me_settings_of(t->m, "pf0", 3);
	struct vpf_ctl_function r;
	struct err err = {0};

	driver_starts(t, "pf0");
	r = get(t, "pf0", 3);
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
	assert_int_equal(model_function_set(t->m->model, "pf0", 3, &s, true, &err), 0);
	fake_dp_function(&t->m->dp, "pf0", 3)->started = true;
	r = get(t, "pf0", 3);
	assert_int_equal(r.flags, VPF_CTL_F_TRUST | VPF_CTL_F_STARTED);
	assert_int_equal(r.link, VPF_CTL_LINK_DISABLE);
	assert_memory_equal(r.admin_mac, s.admin_mac, 6);
	assert_true(r.vlan_mode == VPF_CTL_VLAN_ACCESS && le16toh(r.vid) == 100 && r.pcp == 5 &&
		    le16toh(r.tpid) == 0x88a8);
	assert_true(le16toh(r.mtu) == 9000 && le32toh(r.min_rate) == 10 && le32toh(r.max_rate) == 200);
	assert_int_equal(le32toh(r.pinned), VPF_CTL_MAC | VPF_CTL_LINK);

	s.vlan = (struct vlan_settings){.mode = VLAN_TRUNK, .vid = 7, .pcp = 7, .trunk = {6}};
	s.link = LINK_ENABLE;
	assert_int_equal(model_function_set(t->m->model, "pf0", 3, &s, true, &err), 0);
	r = get(t, "pf0", 3);
	assert_true(r.vlan_mode == VPF_CTL_VLAN_TRUNK && !r.vid && !r.pcp && le16toh(r.tpid) == 0x8100);
	assert_int_equal(r.link, VPF_CTL_LINK_ENABLE);
}

static void test_stats(void **state)
{
	struct site *t = *state;
	struct vpf_ctl_range b = {.first = htole16(1), .count = htole16(2)};
	const struct vpf_ctl_reply *reply;
	struct vpf_ctl_stats s;

	driver_starts(t, "pf0");
	reply = request(t, "pf0", VPF_CTL_STATS, &b, sizeof(b));
	assert_int_equal(le16toh(reply->count), 2);
	memcpy(&s, (const uint8_t *)(reply + 1) + sizeof(s), sizeof(s));
	assert_int_equal(le16toh(s.function), 2);
	assert_true(le64toh(s.tx_packets) == 5 && le64toh(s.rx_dropped) == 3 && !s.rx_packets);
}

static void test_set(void **state)
{
	struct site *t = *state;
	const struct vpf_ctl_set all = {
		.mac = {2, 9, 9, 9, 9, 9},
		.trust = 1,
		.link = VPF_CTL_LINK_DISABLE,
		.pcp = 5,
		.vid = htole16(100),
		.tpid = htole16(0x88a8),
		.min_rate = htole32(10),
		.max_rate = htole32(200),
	};
	const struct vpf_ctl_reply *reply;
	struct function_settings s;

	driver_starts(t, "pf0");
	reply = set(t, "pf0", all, 3, VPF_CTL_SETTINGS);
	assert_int_equal(le16toh(reply->status), VPF_CTL_OK);
	assert_int_equal(le16toh(reply->first), 3);
	assert_int_equal(le16toh(record_of(reply + 1, 0).vid), 100);
	for (int restarted = 0; restarted < 2; restarted++) {
		s = fake_dp_function(&t->m->dp, "pf0", 3)->s;
		assert_memory_equal(s.admin_mac, all.mac, 6);
		assert_true(s.trust && !s.spoofchk && s.link == LINK_DISABLE);
		assert_true(s.vlan.mode == VLAN_ACCESS && s.vlan.vid == 100 && s.vlan.pcp == 5 &&
			    s.vlan.tpid == 0x88a8);
		assert_true(s.min_rate == 10 && s.max_rate == 200);
		if (!restarted) {
			/* What was answered is on disk. */
			control_free(t->control);
			me_restart(t->m);
			start_control(t);
		}
	}
	/* Only what the mask names. */
	driver_starts(t, "pf0");
	reply = set(t, "pf0", (struct vpf_ctl_set){.spoofchk = 1}, 3, VPF_CTL_SPOOFCHK);
	assert_int_equal(le16toh(reply->status), VPF_CTL_OK);
	s = fake_dp_function(&t->m->dp, "pf0", 3)->s;
	assert_true(s.spoofchk && s.trust && s.vlan.vid == 100 && s.min_rate == 10 && s.max_rate == 200);
	/* Zeros are what takes back. */
	reply = set(t, "pf0", (struct vpf_ctl_set){0}, 3,
		    VPF_CTL_MAC | VPF_CTL_VLAN | VPF_CTL_RATE | VPF_CTL_LINK);
	assert_int_equal(le16toh(reply->status), VPF_CTL_OK);
	s = fake_dp_function(&t->m->dp, "pf0", 3)->s;
	assert_true(mac_is_zero(s.admin_mac) && s.vlan.mode == VLAN_NONE && !s.min_rate && !s.max_rate &&
		    s.link == LINK_AUTO);
}

static void test_vlan_replaces_a_trunk(void **state)
{
	struct site *t = *state;
	struct function_settings s = me_settings_of(t->m, "pf0", 3);
	const struct vpf_ctl_reply *reply;
	struct err err = {0};

	driver_starts(t, "pf0");
	s.vlan = (struct vlan_settings){.mode = VLAN_TRUNK, .tpid = 0x8100, .trunk = {6}};
	assert_int_equal(model_function_set(t->m->model, "pf0", 3, &s, false, &err), 0);
	reply = set(t, "pf0", (struct vpf_ctl_set){.trust = 1}, 3, VPF_CTL_TRUST);
	assert_int_equal(le16toh(reply->status), VPF_CTL_OK);
	assert_int_equal(me_settings_of(t->m, "pf0", 3).vlan.mode, VLAN_TRUNK);
	reply = set(t, "pf0", (struct vpf_ctl_set){0}, 3, VPF_CTL_VLAN);
	assert_int_equal(le16toh(reply->status), VPF_CTL_OK);
	assert_int_equal(me_settings_of(t->m, "pf0", 3).vlan.mode, VLAN_NONE);
	assert_true(me_settings_of(t->m, "pf0", 3).vlan.trunk[0] == 0);
}

static void strict_policy(struct pf_policy *p)
{
	struct pf_settings s;

	pf_settings_init(&s, "x");
	*p = s.policy;
}

static void test_refused(void **state)
{
	static const struct {
		struct vpf_ctl_set b;
		uint16_t function, mask, status;
		const char *text; /* a part of it */
		bool strict;      /* under the default policy; else under one that allows everything */
	} cases[] = {
		{{.trust = 1}, 3, VPF_CTL_TRUST, VPF_CTL_DENIED, "trust", true},
		{{.vid = 100, .tpid = 0x8100}, 3, VPF_CTL_VLAN, VPF_CTL_DENIED, "VLAN 100", true},
		{{.mac = {2, 9, 9, 9, 9, 9}}, 3, VPF_CTL_MAC, VPF_CTL_DENIED, "02:09:09:09:09:09", true},
		{{.vid = 4095, .tpid = 0x8100}, 3, VPF_CTL_VLAN, VPF_CTL_INVALID, "vlan.vid: ", false},
		{{.vid = 0xffff, .tpid = 0x8100}, 3, VPF_CTL_VLAN, VPF_CTL_INVALID, "vlan.vid: ", false},
		{{.vid = 5, .pcp = 8, .tpid = 0x8100}, 3, VPF_CTL_VLAN, VPF_CTL_INVALID, "vlan.pcp: ", false},
		{{.vid = 5, .tpid = 0x9100}, 3, VPF_CTL_VLAN, VPF_CTL_INVALID, "vlan.proto: ", false},
		{{.pcp = 1}, 3, VPF_CTL_VLAN, VPF_CTL_INVALID, "priority", false},
		{{.mac = {1, 0, 0x5e, 0, 0, 1}}, 3, VPF_CTL_MAC, VPF_CTL_INVALID, "mac: ", false},
		{{.mac = {2, 0, 0, 0, 0x20, 1}}, 3, VPF_CTL_MAC, VPF_CTL_CONFLICT, "mac: ", false},
		{{.max_rate = 1000001}, 3, VPF_CTL_RATE, VPF_CTL_INVALID, "max_rate: ", false},
		{{.min_rate = 2, .max_rate = 1}, 3, VPF_CTL_RATE, VPF_CTL_INVALID, "", false},
		{{.link = 3}, 3, VPF_CTL_LINK, VPF_CTL_INVALID, "link state 3", false},
		{{.spoofchk = 2}, 3, VPF_CTL_SPOOFCHK, VPF_CTL_INVALID, "spoof check", false},
		{{.trust = 255}, 3, VPF_CTL_TRUST, VPF_CTL_INVALID, "trust", false},
		{{0}, 3, 0, VPF_CTL_INVALID, "no setting", false},
		{{0}, 3, 0x40, VPF_CTL_UNSUPPORTED, "0x0040", false},
		{{.trust = 1}, 3, 0x8000 | VPF_CTL_TRUST, VPF_CTL_UNSUPPORTED, "0x8000", false},
		{{.trust = 1}, 0, VPF_CTL_TRUST, VPF_CTL_INVALID, "not the PF itself", false},
		{{.trust = 1}, 101, VPF_CTL_TRUST, VPF_CTL_NO_FUNCTION, "no VF 100", false},
	};
	struct site *t = *state;

	driver_starts(t, "pf0");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct function_settings before = me_settings_of(t->m, "pf0", 3), after;
		struct vpf_ctl_set b = cases[i].b;
		const struct vpf_ctl_reply *reply;

		b.vid = htole16(b.vid);
		b.tpid = htole16(b.tpid);
		b.min_rate = htole32(b.min_rate);
		b.max_rate = htole32(b.max_rate);
		set_policy(t, "pf0", cases[i].strict ? strict_policy : open_policy);
		reply = set(t, "pf0", b, cases[i].function, cases[i].mask);
		if (le16toh(reply->status) != cases[i].status ||
		    !memmem(reply->text, 120, cases[i].text, strlen(cases[i].text)))
			fail_msg("case %zu: status %u, %.120s", i, le16toh(reply->status), reply->text);
		assert_true(reply->text[0] && !reply->text[119] && !reply->count);
		for (const char *p = reply->text; *p; p++)
			assert_true(*p >= 0x20 && *p <= 0x7e);
		after = me_settings_of(t->m, "pf0", 3);
		assert_same_function(&before, &after);
	}
	assert_int_equal(info_of(t, "pf0").counters->refused, ARRAY_SIZE(cases));
}

static void test_disk_full(void **state)
{
	struct site *t = *state;
	const struct vpf_ctl_reply *reply;
	uint32_t sequence;

	driver_starts(t, "pf0");
	scratch_fill(&t->m->scratch);
	reply = set(t, "pf0", (struct vpf_ctl_set){.trust = 1}, 3, VPF_CTL_TRUST);
	assert_int_equal(le16toh(reply->status), VPF_CTL_FAILED);
	assert_true(reply->text[0]);
	assert_false(fake_dp_function(&t->m->dp, "pf0", 3)->s.trust);
	scratch_empty(&t->m->scratch);
	/* The same request again has had its answer; a new one works. */
	sequence = t->sequence--;
	reply = set(t, "pf0", (struct vpf_ctl_set){.trust = 1}, 3, VPF_CTL_TRUST);
	assert_int_equal(t->sequence, sequence);
	assert_int_equal(le16toh(reply->status), VPF_CTL_FAILED);
	reply = set(t, "pf0", (struct vpf_ctl_set){.trust = 1}, 3, VPF_CTL_TRUST);
	assert_int_equal(le16toh(reply->status), VPF_CTL_OK);
	assert_true(fake_dp_function(&t->m->dp, "pf0", 3)->s.trust);
}

static void test_events_of_the_host(void **state)
{
	struct site *t = *state;
	struct function_settings s = me_settings_of(t->m, "pf0", 3);
	struct vpf_ctl_function r;
	struct err err = {0};

	driver_starts(t, "pf0");
	assert_idle(t);
	s.trust = true;
	assert_int_equal(model_function_set(t->m->model, "pf0", 3, &s, false, &err), 0);
	assert_int_equal(await_event(t, "pf0", &r), 1);
	assert_true(le16toh(r.function) == 3 && r.flags & VPF_CTL_F_TRUST);
	fake_dp_function(&t->m->dp, "pf0", 4)->s.link = LINK_DISABLE;
	model_dataplane_events.link_changed(t->m->model, "pf0", 4, false);
	assert_int_equal(await_event(t, "pf0", &r), 1);
	assert_true(le16toh(r.function) == 4 && !(r.flags & VPF_CTL_F_LINK_UP));
	fake_dp_function(&t->m->dp, "pf0", 5)->started = true;
	model_dataplane_events.function_started(t->m->model, "pf0", 5, true);
	assert_int_equal(await_event(t, "pf0", &r), 1);
	assert_true(le16toh(r.function) == 5 && r.flags & VPF_CTL_F_STARTED);
	/* Other PFs' changes are none of its business, nor what concerns no record. */
	s = me_settings_of(t->m, "pf0b", 1);
	s.trust = true;
	assert_int_equal(model_function_set(t->m->model, "pf0b", 1, &s, false, &err), 0);
	model_dataplane_events.function_connected(t->m->model, "pf0", 5, false, NULL);
	assert_idle(t);
	/* Everything may look otherwise after a change of the PF: as many events as that takes. */
	set_policy(t, "pf0", strict_policy);
	assert_int_equal(await_event(t, "pf0", &r), 37);
	assert_int_equal(await_event(t, "pf0", &r), 37);
	assert_int_equal(await_event(t, "pf0", &r), 27);
	assert_idle(t);
}

static void test_event_of_the_drivers_own_set(void **state)
{
	struct site *t = *state;
	struct vpf_ctl_function r;

	driver_starts(t, "pf0");
	set(t, "pf0", (struct vpf_ctl_set){.trust = 1}, 3, VPF_CTL_TRUST); /* the reply came first */
	assert_int_equal(await_event(t, "pf0", &r), 1);
	assert_int_equal(le16toh(r.function), 3);
	assert_idle(t);
}

static void test_event_is_sent_again(void **state)
{
	struct site *t = *state;
	struct timespec before, after;
	int64_t ms;

	driver_starts(t, "pf0");
	set(t, "pf0", (struct vpf_ctl_set){.trust = 1}, 3, VPF_CTL_TRUST);
	await_sent(t);
	clock_gettime(CLOCK_MONOTONIC, &before);
	await_sent(t);
	clock_gettime(CLOCK_MONOTONIC, &after);
	ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
	assert_true(ms >= 90);
	assert_int_equal(le32toh(peer_hdr(last(t, "pf0", VPF_CTL_EVENT))->sequence), 1);
	assert_int_equal(info_of(t, "pf0").counters->event_retries, 1);
}

static void test_reset_after_a_restart(void **state)
{
	struct site *t = *state;

	driver_starts(t, "pf0");
	control_free(t->control);
	t->sent_n = 0;
	start_control(t); /* the function is started already */
	await_sent(t);
	assert_true(peer_hdr(last(t, "pf0", VPF_CTL_RESET))->session == 0);
	give(t, "pf0", VPF_CTL_GET, t->session, 2, "\0\0\1\0\0\0\0\0", 8);
	assert_true(le64toh(peer_hdr(last(t, "pf0", VPF_CTL_RESET))->session) == t->session);
	hello(t, "pf0");
	assert_idle(t);
}

static void test_function_stopped(void **state)
{
	struct site *t = *state;

	driver_starts(t, "pf0");
	model_dataplane_events.function_started(t->m->model, "pf0", 0, false);
	assert_idle(t);
	assert_true(info_of(t, "pf0").session->id == t->session);
	for (int i = 0; i < 30 && info_of(t, "pf0").session->id; i++)
		assert_true(sd_event_run(t->m->event, 100000) >= 0);
	assert_true(info_of(t, "pf0").session->id == 0);
	assert_string_equal(me_last_event(t->m), "control lost pf0 0");
	driver_starts(t, "pf0");
}

static void test_pfs_come_and_go(void **state)
{
	struct site *t = *state;
	struct pf_settings s;
	struct err err = {0};
	struct control_info info;

	me_add_pf(t->m, "pf9", "f0", 1, NULL);
	driver_starts(t, "pf9");
	fake_dp_function(&t->m->dp, "pf9", 0)->started = false;
	assert_int_equal(model_pf_del(t->m->model, "pf9", &err), 0);
	assert_int_equal(control_get(t->control, "pf9", &info), -ENOENT);
	give(t, "pf9", VPF_CTL_GET, t->session, 9, "\0\0\1\0\0\0\0\0", 8);
	assert_idle(t);
	/* Given to another VM it has another key. */
	driver_starts(t, "pf1");
	s = model_pf_find(t->m->model, "pf1")->s;
	snprintf(s.vm, sizeof(s.vm), "pf0");
	assert_int_equal(model_pf_set(t->m->model, &s, NULL, &err), 0);
	assert_true(info_of(t, "pf1").session->id == 0);
	driver_starts(t, "pf1");
	assert_memory_equal(t->key, model_pf_find(t->m->model, "pf0")->vm->key, sizeof(t->key));
}

static void test_flood(void **state)
{
	struct site *t = *state;
	unsigned int n;

	driver_starts(t, "pf0");
	/* The data plane stops giving when it is told to; a test can be no faster. */
	for (n = 0; n < 5000 && !is_paused(t, "pf0"); n++)
		t->fn(t->ctx, "pf0", (const uint8_t *)"junk", 4);
	assert_in_range(n, 250, 1000);
	assert_true(is_paused(t, "pf0b") && !is_paused(t, "pf1"));
	assert_int_equal(info_of(t, "pf0").limited, 1);
	assert_int_equal(info_of(t, "pf0b").limited, 0);
	/* What it had in hand is dropped; another VM is listened to. */
	n = (unsigned int)info_of(t, "pf0").counters->frames;
	t->fn(t->ctx, "pf0", (const uint8_t *)"junk", 4);
	assert_in_range(info_of(t, "pf0").counters->frames, n, n);
	assert_int_equal(info_of(t, "pf0").limited, 1);
	t->fn(t->ctx, "pf1", (const uint8_t *)"junk", 4);
	assert_int_equal(info_of(t, "pf1").counters->malformed, 1);
	/* A PF that the VM gets meanwhile waits with it. */
	{
		struct pf_settings s = me_pf_settings_of("pf0c", "f0", 1);
		struct err err = {0};

		snprintf(s.vm, sizeof(s.vm), "pf0");
		assert_int_equal(model_pf_add(t->m->model, &s, NULL, &err), 0);
		assert_true(is_paused(t, "pf0c"));
	}
	for (int i = 0; i < 20 && t->paused_n; i++)
		assert_true(sd_event_run(t->m->event, 100000) >= 0);
	assert_int_equal(t->paused_n, 0);
	get(t, "pf0", 3); /* the session is as it was */
}

/* A driver that says HELLO all the time is not in the log each time. */
static void test_news_are_limited(void **state)
{
	struct site *t = *state;
	unsigned int reported = 0;

	for (int i = 0; i < 50; i++) {
		t->m->events_n = 0;
		hello(t, "pf0");
		get(t, "pf0", 0);
		reported += t->m->events_n;
	}
	assert_in_range(reported, 6, 8);
	assert_int_equal(info_of(t, "pf0").counters->hello, 50);
}

static void test_request_is_taken_whole_or_not_at_all(void **state)
{
	const struct ctl_set set = {
		.mask = VPF_CTL_SETTINGS, .mac = {2, 9}, .trust = 1, .vid = 5, .max_rate = 7, .link = 3};
	struct function_settings s, before;
	struct err err = {0};

	(void)state;
	function_settings_init(&s);
	before = s;
	assert_int_equal(record_apply(&set, &s, &err), -EINVAL);
	assert_true(!s.trust && s.vlan.mode == VLAN_NONE && !s.max_rate && s.link == before.link);
	assert_memory_equal(s.admin_mac, before.admin_mac, 6);
}

static void test_api_object(void **state)
{
	static const char *const names[] = {
		"frames",  "hello",           "requests", "refused", "repeated",  "replies",
		"events",  "event_retries",   "resets",   "unsent",  "malformed", "bad_version",
		"bad_tag", "unknown_session", "replayed", "limited",
	};
	struct site *t = *state;
	struct api_env env = {.model = t->m->model, .control = t->control};
	json_t *o, *control, *counters;

	for (int with_session = 0; with_session < 2; with_session++) {
		if (with_session)
			driver_starts(t, "pf0");
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

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, site_setup, site_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(hello),
		TEST(keys_of_vms),
		TEST(records),
		TEST(stats),
		TEST(set),
		TEST(vlan_replaces_a_trunk),
		TEST(refused),
		TEST(disk_full),
		TEST(events_of_the_host),
		TEST(event_of_the_drivers_own_set),
		TEST(event_is_sent_again),
		TEST(reset_after_a_restart),
		TEST(function_stopped),
		TEST(pfs_come_and_go),
		TEST(flood),
		TEST(news_are_limited),
		cmocka_unit_test(test_request_is_taken_whole_or_not_at_all),
		TEST(api_object),
	};

	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
