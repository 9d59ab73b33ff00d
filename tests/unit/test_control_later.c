/* SPDX-License-Identifier: Apache-2.0 */

/* Requests of a guest's driver while the data plane answers later. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "control_env.h"

static int setup(void **state)
{
	struct ce_env *t;

	ce_setup(state);
	t = *state;
	ce_driver_starts(t, "pf0");
	ce_assert_idle(t);
	fake_dp_all_later(&t->m->dp, true);
	return 0;
}

/* As the daemon ends. */
static int teardown(void **state)
{
	struct ce_env *t = *state;

	model_cancel(t->m->model);
	return ce_teardown(state);
}

static void give_set(struct ce_env *t, uint32_t sequence, uint16_t function, uint16_t mask,
		     struct vpf_ctl_set b)
{
	b.function = htole16(function);
	b.mask = htole16(mask);
	ce_give(t, "pf0", VPF_CTL_SET, t->session, sequence, &b, sizeof(b));
}

static void set_rate(struct ce_env *t, uint32_t sequence, uint16_t function, uint32_t rate)
{
	give_set(t, sequence, function, VPF_CTL_RATE, (struct vpf_ctl_set){.max_rate = htole32(rate)});
}

/* All that the data plane is asked, until nothing is left to do at once. */
static void finish(struct ce_env *t)
{
	struct me_env *m = t->m;

	while (sd_event_run(m->event, 0) > 0)
		;
	while (fake_dp_waiting(&m->dp)) {
		fake_dp_answer(&m->dp, 0);
		while (sd_event_run(m->event, 0) > 0)
			;
	}
}

/* The frames that were sent after the first `from`, of this type. */
static unsigned int sent_of(struct ce_env *t, unsigned int from, uint8_t type)
{
	unsigned int n = 0;

	for (unsigned int i = from; i < t->sent_n; i++)
		n += peer_hdr(&t->sent[i].f)->type == type;
	return n;
}

/* The one reply that was sent after the first `from` frames, to this sequence. */
static const struct vpf_ctl_reply *reply_after(struct ce_env *t, unsigned int from, uint32_t sequence)
{
	const struct vpf_ctl_reply *reply = NULL;

	assert_int_equal(sent_of(t, from, VPF_CTL_REPLY), 1);
	for (unsigned int i = from; i < t->sent_n; i++) {
		struct peer_frame *f = &t->sent[i].f;

		if (peer_hdr(f)->type != VPF_CTL_REPLY)
			continue;
		assert_int_equal(le32toh(peer_hdr(f)->sequence), sequence);
		assert_int_equal(le64toh(peer_hdr(f)->session), t->session);
		reply = peer_body(f);
	}
	return reply;
}

static void answered_once(void **state)
{
	struct ce_env *t = *state;
	const struct vpf_ctl_reply *reply;
	struct vpf_ctl_function record;
	unsigned int from = t->sent_n;
	uint32_t sequence = ++t->sequence;

	set_rate(t, sequence, 3, 77);
	set_rate(t, sequence, 3, 77); /* its driver repeats it */
	fake_dp_answer(&t->m->dp, 0);
	set_rate(t, sequence, 3, 77);
	assert_int_equal(t->sent_n, from);
	assert_int_equal(fake_dp_waiting(&t->m->dp), 1);
	fake_dp_answer(&t->m->dp, 0);
	/* The reply is first, and then the event of the same change. */
	reply = reply_after(t, from, sequence);
	assert_int_equal(t->sent_n, from + 1);
	assert_int_equal(le16toh(reply->status), VPF_CTL_OK);
	assert_int_equal(le16toh(reply->count), 1);
	assert_int_equal(le32toh(ce_record_of(reply + 1, 0).max_rate), 77);
	assert_int_equal(ce_await_event(t, "pf0", &record), 1);
	assert_int_equal(le16toh(record.function), 3);
	assert_int_equal(le32toh(record.max_rate), 77);
	ce_assert_idle(t);
	/* From what was kept. */
	from = t->sent_n;
	set_rate(t, sequence, 3, 77);
	reply = reply_after(t, from, sequence);
	assert_int_equal(le16toh(reply->status), VPF_CTL_OK);
	assert_int_equal(model_pf_find(t->m->model, "pf0")->granted, 1);
	assert_int_equal(ce_info_of(t, "pf0").counters->repeated, 3);
	ce_assert_idle(t);
}

/* The host's change of the same function meanwhile is in the record, and is told as an event. */
static void host_meanwhile(void **state)
{
	struct ce_env *t = *state;
	struct function_settings s = me_settings_of(t->m, "pf0", 3);
	const struct vpf_ctl_reply *reply;
	struct vpf_ctl_function record;
	unsigned int from = t->sent_n;

	s.trust = true;
	assert_int_equal(model_function_set(t->m->model, "pf0", 3, &s, false, NULL, NULL), ANSWER_LATER);
	set_rate(t, ++t->sequence, 3, 77);
	finish(t);
	reply = reply_after(t, from, t->sequence);
	assert_int_equal(le16toh(reply->status), VPF_CTL_OK);
	record = ce_record_of(reply + 1, 0);
	assert_int_equal(le32toh(record.max_rate), 77);
	assert_true(record.flags & VPF_CTL_F_TRUST);
	assert_true(me_settings_of(t->m, "pf0", 3).trust);
}

static void refused(void **state)
{
	static const struct {
		int error;
		uint16_t status;
	} cases[] = {
		{EOPNOTSUPP, VPF_CTL_UNSUPPORTED},
		{EIO, VPF_CTL_FAILED},
		{ETIMEDOUT, VPF_CTL_FAILED},
	};
	struct ce_env *t = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (unsigned int step = 0; step < 2; step++) {
			unsigned int from = t->sent_n;
			const struct vpf_ctl_reply *reply;

			set_rate(t, ++t->sequence, 3, 77);
			if (step)
				fake_dp_answer(&t->m->dp, 0);
			fake_dp_answer(&t->m->dp, cases[i].error);
			reply = reply_after(t, from, t->sequence);
			assert_int_equal(le16toh(reply->status), cases[i].status);
			assert_int_equal(le16toh(reply->count), 0);
			assert_string_equal(reply->text, "vlan: scripted");
			finish(t);
			ce_assert_idle(t); /* no event */
			assert_int_equal(me_settings_of(t->m, "pf0", 3).max_rate, 0);
		}
	assert_int_equal(ce_info_of(t, "pf0").counters->refused, 6);
}

/* It could be done when it was asked for; what the host did meanwhile stands against it. */
static void refused_in_turn(void **state)
{
	struct ce_env *t = *state;
	struct pf_settings s = model_pf_find(t->m->model, "pf0")->s;
	const struct vpf_ctl_reply *reply;
	unsigned int from = t->sent_n;

	ce_strict_policy(&s.policy);
	assert_int_equal(model_pf_set(t->m->model, &s, NULL, NULL, NULL), ANSWER_LATER);
	give_set(t, ++t->sequence, 3, VPF_CTL_TRUST, (struct vpf_ctl_set){.trust = 1});
	finish(t);
	reply = reply_after(t, from, t->sequence);
	assert_int_equal(le16toh(reply->status), VPF_CTL_DENIED);
	assert_false(me_settings_of(t->m, "pf0", 3).trust);
	assert_int_equal(model_pf_find(t->m->model, "pf0")->refused, 1);
}

/* Its driver has given up waiting and asks for something else. */
static void given_up(void **state)
{
	struct ce_env *t = *state;
	unsigned int from = t->sent_n;
	const struct vpf_ctl_reply *reply;

	set_rate(t, ++t->sequence, 3, 77);
	assert_int_equal(le32toh(ce_get(t, "pf0", 3).max_rate), 0);
	from = t->sent_n;
	set_rate(t, ++t->sequence, 4, 88);
	finish(t);
	reply = reply_after(t, from, t->sequence); /* and none to the first */
	assert_int_equal(le16toh(reply->first), 4);
	assert_int_equal(me_settings_of(t->m, "pf0", 3).max_rate, 77);
	assert_int_equal(me_settings_of(t->m, "pf0", 4).max_rate, 88);
}

static const struct vpf_ctl_hello other_hello = {.nonce = 0x1234567, .min_version = 1, .max_version = 1};

/* A HELLO, perhaps one that was overheard, does not take the answer away. */
static void hello_meanwhile(void **state)
{
	struct ce_env *t = *state;
	unsigned int from;
	uint32_t sequence = ++t->sequence;

	set_rate(t, sequence, 3, 77);
	ce_give(t, "pf0", VPF_CTL_HELLO, 0, 0, &other_hello, sizeof(other_hello));
	from = t->sent_n;
	finish(t);
	assert_int_equal(le16toh(reply_after(t, from, sequence)->status), VPF_CTL_OK);
}

/* The driver is loaded again: the new session has events, and no answer of the old one. */
static void session_meanwhile(void **state)
{
	struct ce_env *t = *state;
	struct vpf_ctl_function record;
	unsigned int from;

	set_rate(t, ++t->sequence, 3, 77);
	ce_hello(t, "pf0");
	ce_get(t, "pf0", 3);
	assert_int_equal(t->sequence, 1);
	from = t->sent_n;
	finish(t);
	assert_int_equal(sent_of(t, from, VPF_CTL_REPLY), 0);
	if (t->sent_n == from)
		ce_await_sent(t);
	assert_int_equal(sent_of(t, from, VPF_CTL_EVENT), 1);
	memcpy(&record, (uint8_t *)peer_body(&t->sent[from].f) + sizeof(struct vpf_ctl_event),
	       sizeof(record));
	assert_int_equal(le32toh(record.max_rate), 77);
}

/* Sessions end, and functions stop, with a request under way. */
static void ended_meanwhile(void **state)
{
	struct ce_env *t = *state;
	unsigned int from;

	set_rate(t, ++t->sequence, 3, 77);
	ce_give(t, "pf0", VPF_CTL_BYE, t->session, ++t->sequence, NULL, 0);
	from = t->sent_n;
	finish(t);
	assert_int_equal(sent_of(t, from, VPF_CTL_REPLY), 0);
	assert_int_equal(me_settings_of(t->m, "pf0", 3).max_rate, 77);

	/* Stopped and started again: what was answered meanwhile is kept. */
	ce_hello(t, "pf0");
	ce_get(t, "pf0", 3);
	set_rate(t, ++t->sequence, 3, 88);
	fake_dp_function(&t->m->dp, "pf0", 0)->started = false;
	model_dataplane_events.function_started(t->m->model, "pf0", 0, false);
	from = t->sent_n;
	finish(t);
	assert_int_equal(t->sent_n, from);
	fake_dp_function(&t->m->dp, "pf0", 0)->started = true;
	model_dataplane_events.function_started(t->m->model, "pf0", 0, true);
	set_rate(t, t->sequence, 3, 88);
	assert_int_equal(le16toh(reply_after(t, from, t->sequence)->status), VPF_CTL_OK);
}

/* Nothing is sent for a virtual PF that is gone, nor to the next one of its name. */
static void pf_deleted(void **state)
{
	struct ce_env *t = *state;
	unsigned int from = t->sent_n;

	set_rate(t, ++t->sequence, 3, 77);
	set_rate(t, ++t->sequence, 4, 88);
	assert_int_equal(model_pf_del(t->m->model, "pf0", NULL), 0);
	assert_int_equal(t->sent_n, from);
	fake_dp_all_later(&t->m->dp, false);
	me_add_pf(t->m, "pf0", "f0", 100, NULL);
	ce_assert_idle(t);
	assert_int_equal(t->sent_n, from);
	ce_set_policy(t, "pf0", ce_open_policy);
	ce_driver_starts(t, "pf0");
	assert_int_equal(
		le16toh(ce_set(t, "pf0", (struct vpf_ctl_set){.trust = 1}, 3, VPF_CTL_TRUST)->status),
		VPF_CTL_OK);
}

/* The daemon ends: in its order, and with the channels gone before. */
static void end_of_daemon(void **state)
{
	struct ce_env *t = *state;
	unsigned int from = t->sent_n;
	const struct vpf_ctl_reply *reply;

	set_rate(t, ++t->sequence, 3, 77);
	model_cancel(t->m->model);
	reply = reply_after(t, from, t->sequence);
	assert_int_equal(le16toh(reply->status), VPF_CTL_FAILED);
	set_rate(t, ++t->sequence, 3, 77);
	assert_int_equal(t->sent_n, from + 2);
}

static void channels_gone_first(void **state)
{
	struct ce_env *t = *state;
	unsigned int from = t->sent_n;

	set_rate(t, ++t->sequence, 3, 77);
	set_rate(t, ++t->sequence, 4, 88);
	control_free(t->control);
	model_cancel(t->m->model);
	assert_int_equal(t->sent_n, from);
	me_restart(t->m);
	ce_start_control(t);
}

/* A driver that asks again and again is refused before it fills the memory, and the host's changes have their turn. */
static void flood(void **state)
{
	struct ce_env *t = *state;
	struct function_settings s = me_settings_of(t->m, "pf0", 1);
	unsigned int from = t->sent_n, denied;
	const struct vpf_ctl_reply *reply;

	for (unsigned int i = 0; i < 200; i++)
		set_rate(t, ++t->sequence, (uint16_t)(1 + i % 50), 100 + i);
	denied = sent_of(t, from, VPF_CTL_REPLY);
	assert_in_range(denied, 180, 199);
	reply = peer_body(ce_last(t, "pf0", VPF_CTL_REPLY));
	assert_int_equal(le16toh(reply->status), VPF_CTL_FAILED);
	assert_non_null(strstr(reply->text, "under way"));
	s.trust = true;
	assert_int_equal(model_function_set(t->m->model, "pf0", 99, &s, false, NULL, NULL), ANSWER_LATER);
	finish(t);
	assert_true(me_settings_of(t->m, "pf0", 99).trust);
	assert_int_equal(model_pf_find(t->m->model, "pf0")->granted, 200 - denied);
	/* And then it may again. */
	from = t->sent_n;
	set_rate(t, ++t->sequence, 1, 99);
	finish(t);
	assert_int_equal(le16toh(reply_after(t, from, t->sequence)->status), VPF_CTL_OK);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(answered_once),
		TEST(host_meanwhile),
		TEST(refused),
		TEST(refused_in_turn),
		TEST(given_up),
		TEST(hello_meanwhile),
		TEST(session_meanwhile),
		TEST(ended_meanwhile),
		TEST(pf_deleted),
		TEST(end_of_daemon),
		TEST(channels_gone_first),
		TEST(flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
