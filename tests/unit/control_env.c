/* SPDX-License-Identifier: Apache-2.0 */

#include "control_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void fake_listen(void *dp, dataplane_control_fn fn, void *ctx)
{
	struct ce_env *t = dp;

	t->fn = fn;
	t->ctx = ctx;
}

bool ce_is_paused(const struct ce_env *t, const char *pf)
{
	for (unsigned int i = 0; i < t->paused_n; i++)
		if (!strcmp(t->paused[i], pf))
			return true;
	return false;
}

static void fake_pause(void *dp, const char *pf, bool pause)
{
	struct ce_env *t = dp;

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
	struct ce_env *t = dp;
	struct ce_frame *g;

	assert_true(t->sent_n < CE_SENT_MAX && len >= CTL_FRAME_MIN && len <= DATAPLANE_CONTROL_LEN);
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

void ce_start_control(struct ce_env *t)
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

void ce_set_policy(struct ce_env *t, const char *pf, void (*change)(struct pf_policy *p))
{
	struct pf_settings s = model_pf_find(t->m->model, pf)->s;
	struct err err = {0};

	change(&s.policy);
	assert_int_equal(model_pf_set(t->m->model, &s, NULL, NULL, &err), 0);
}

void ce_open_policy(struct pf_policy *p)
{
	memset(p->vlans, 0xff, sizeof(p->vlans));
	p->vlans[0] &= ~1ull;
	p->vlans[63] &= ~(1ull << 63);
	p->vlan_ad = p->trust = p->spoofchk_off = true;
	p->macs = MAC_POLICY_ANY;
	p->max_rate_total = 10000;
}

void ce_strict_policy(struct pf_policy *p)
{
	struct pf_settings s;

	pf_settings_init(&s, "x");
	*p = s.policy;
}

void ce_use_key_of(struct ce_env *t, const char *pf)
{
	memcpy(t->key, model_pf_find(t->m->model, pf)->vm->key, sizeof(t->key));
}

int ce_setup(void **state)
{
	struct ce_env *t = calloc(1, sizeof(*t));
	struct pf_settings s = me_pf_settings_of("pf0b", "f0", 3);
	struct err err = {0};

	assert_non_null(t);
	me_setup((void **)&t->m);
	me_add_fabric(t->m, "f0", NULL);
	me_add_pf(t->m, "pf0", "f0", 100, "02:00:00:00:10:00");
	snprintf(s.vm, sizeof(s.vm), "pf0");
	assert_int_equal(model_pf_add(t->m->model, &s, NULL, NULL, &err), 0);
	me_add_pf(t->m, "pf1", "f0", 2, "02:00:00:00:20:00");
	ce_set_policy(t, "pf0", ce_open_policy);
	ce_start_control(t);
	ce_use_key_of(t, "pf0");
	*state = t;
	return 0;
}

int ce_teardown(void **state)
{
	struct ce_env *t = *state;

	control_free(t->control);
	assert_null(t->fn);
	me_teardown((void **)&t->m);
	free(t);
	return 0;
}

void ce_give(struct ce_env *t, const char *pf, uint8_t type, uint64_t session, uint32_t sequence,
	     const void *body, size_t size)
{
	struct peer_frame f = peer_message(t->key, type, session, sequence, body, size);

	t->fn(t->ctx, pf, f.bytes, f.len);
}

struct peer_frame *ce_last(struct ce_env *t, const char *pf, uint8_t type)
{
	struct ce_frame *g = &t->sent[t->sent_n - 1];

	assert_true(t->sent_n > 0);
	assert_string_equal(g->pf, pf);
	assert_int_equal(peer_hdr(&g->f)->type, type);
	peer_check(&g->f, t->key);
	return &g->f;
}

const struct vpf_ctl_hello_reply *ce_hello(struct ce_env *t, const char *pf)
{
	struct vpf_ctl_hello b = {.nonce = t->sent_n + 1, .min_version = 1, .max_version = 1};
	struct peer_frame *f;

	memcpy(b.driver, "0.2\x1b!", 5);
	memcpy(b.kernel, "7.3.4", 5);
	ce_give(t, pf, VPF_CTL_HELLO, 0, 0, &b, sizeof(b));
	f = ce_last(t, pf, VPF_CTL_HELLO_REPLY);
	t->session = le64toh(peer_hdr(f)->session);
	t->sequence = 0;
	return peer_body(f);
}

const struct vpf_ctl_reply *ce_request(struct ce_env *t, const char *pf, uint8_t type, const void *body,
				       size_t size)
{
	struct peer_frame *f;

	ce_give(t, pf, type, t->session, ++t->sequence, body, size);
	f = ce_last(t, pf, VPF_CTL_REPLY);
	assert_int_equal(le32toh(peer_hdr(f)->sequence), t->sequence);
	return peer_body(f);
}

struct vpf_ctl_function ce_record_of(const void *records, unsigned int i)
{
	struct vpf_ctl_function r;

	memcpy(&r, (const uint8_t *)records + i * sizeof(r), sizeof(r));
	return r;
}

struct vpf_ctl_function ce_get(struct ce_env *t, const char *pf, uint16_t function)
{
	struct vpf_ctl_range b = {.first = htole16(function), .count = htole16(1)};
	const struct vpf_ctl_reply *reply = ce_request(t, pf, VPF_CTL_GET, &b, sizeof(b));

	assert_int_equal(le16toh(reply->status), VPF_CTL_OK);
	return ce_record_of(reply + 1, 0);
}

const struct vpf_ctl_reply *ce_set(struct ce_env *t, const char *pf, struct vpf_ctl_set b, uint16_t function,
				   uint16_t mask)
{
	b.function = htole16(function);
	b.mask = htole16(mask);
	return ce_request(t, pf, VPF_CTL_SET, &b, sizeof(b));
}

void ce_driver_starts(struct ce_env *t, const char *pf)
{
	ce_use_key_of(t, pf);
	fake_dp_function(&t->m->dp, pf, 0)->started = true;
	model_dataplane_events.function_started(t->m->model, pf, 0, true);
	ce_hello(t, pf);
	ce_get(t, pf, 0);
}

void ce_await_sent(struct ce_env *t)
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

unsigned int ce_await_event(struct ce_env *t, const char *pf, struct vpf_ctl_function *ret)
{
	const struct vpf_ctl_event *b;
	struct peer_frame *f;

	ce_await_sent(t);
	f = ce_last(t, pf, VPF_CTL_EVENT);
	b = peer_body(f);
	*ret = ce_record_of(b + 1, 0);
	ce_give(t, pf, VPF_CTL_EVENT_ACK, t->session, le32toh(peer_hdr(f)->sequence), NULL, 0);
	return le16toh(b->count);
}

void ce_assert_idle(struct ce_env *t)
{
	unsigned int before = t->sent_n;

	while (sd_event_run(t->m->event, 0) > 0)
		;
	assert_int_equal(t->sent_n, before);
	assert_int_equal(sd_event_run(t->m->event, 300000), 0);
	assert_int_equal(t->sent_n, before);
}

struct control_info ce_info_of(const struct ce_env *t, const char *pf)
{
	struct control_info info = {0};

	assert_int_equal(control_get(t->control, pf, &info), 0);
	return info;
}
