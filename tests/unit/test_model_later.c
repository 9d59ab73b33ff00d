/* SPDX-License-Identifier: Apache-2.0 */

/* Each kind of change while the data plane answers some operations at once and others later: it is there in full, in
 * memory, on disk and in the data plane, before it is told and answered, or nowhere. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "later_env.h"
#include "settings/mac.h"

static const uint8_t new_mac[6] = {2, 0, 0, 0, 7, 0};

static int do_fabric_add(struct me_env *t, const struct answer *answer, struct err *err)
{
	struct fabric_settings s;

	fabric_settings_init(&s, "f2");
	s.uplink = UPLINK_TAP;
	strcpy(s.uplink_name, "tap2");
	return model_fabric_add(t->model, &s, answer, err);
}

static int do_fabric_set(struct me_env *t, const struct answer *answer, struct err *err)
{
	struct fabric_settings s = model_fabric_find(t->model, "f0")->s;

	s.learning = true;
	strcpy(s.uplink_name, "eth1");
	return model_fabric_set(t->model, &s, answer, err);
}

static int edit_fabric(void *ctx, struct fabric_settings *s, struct err *err)
{
	(void)err;
	s->ageing = *(const uint32_t *)ctx;
	return 0;
}

static int do_fabric_edit(struct me_env *t, const struct answer *answer, struct err *err)
{
	static uint32_t ageing = 77;

	return model_fabric_edit(t->model, "f0", edit_fabric, &ageing, answer, err);
}

static int do_pf_add(struct me_env *t, const struct answer *answer, struct err *err)
{
	struct pf_settings s = me_pf_settings_of("pf3", "f0", 2);

	return model_pf_add(t->model, &s, new_mac, answer, err);
}

static int do_pf_set(struct me_env *t, const struct answer *answer, struct err *err)
{
	struct pf_settings s = model_pf_find(t->model, "pf0")->s;

	s.mtu = 9000;
	strcpy(s.vm, "node7");
	s.policy.max_rate = 100;
	return model_pf_set(t->model, &s, new_mac, answer, err);
}

static int edit_pf(void *ctx, struct pf_settings *s, uint8_t mac[6], bool *ret_has_mac, struct err *err)
{
	(void)ctx;
	(void)err;
	s->policy.driver_mac = !s->policy.driver_mac;
	memcpy(mac, new_mac, 6);
	*ret_has_mac = true;
	return 0;
}

static int do_pf_edit(struct me_env *t, const struct answer *answer, struct err *err)
{
	return model_pf_edit(t->model, "pf0", edit_pf, NULL, answer, err);
}

static int do_function_set(struct me_env *t, const struct answer *answer, struct err *err)
{
	struct function_settings s = me_settings_of(t, "pf0", 1);

	s.vlan = (struct vlan_settings){.mode = VLAN_ACCESS, .vid = 5, .tpid = 0x8100};
	s.mtu = 1400;
	return model_function_set(t->model, "pf0", 1, &s, true, answer, err);
}

static int edit_function(void *ctx, struct function_settings *s, struct err *err)
{
	(void)ctx;
	(void)err;
	s->trust = true;
	return 0;
}

static int do_function_edit(struct me_env *t, const struct answer *answer, struct err *err)
{
	return model_function_edit(t->model, "pf0", 0, edit_function, NULL, answer, err);
}

static int guest_asks(struct me_env *t, const struct answer *answer, struct err *err)
{
	struct function_settings s = {.trust = true};

	return model_function_request(t->model, "pf0", 2, SETTING_TRUST, &s, answer, err);
}

static const struct kind {
	int (*ask)(struct me_env *t, const struct answer *answer, struct err *err);
	const char *events[2];
	unsigned int asks[FAKE_OPS]; /* of the data plane */
} kinds[] = {
	{do_fabric_add, {"fabric added f2 -1"}, {[FAKE_FABRIC_ADD] = 1}},
	{do_fabric_set, {"fabric changed f0 -1"}, {[FAKE_FABRIC_SET] = 1}},
	{do_fabric_edit, {"fabric changed f0 -1"}, {[FAKE_FABRIC_SET] = 1}},
	{do_pf_add, {"pf added pf3 -1"}, {[FAKE_FUNCTION_CHECK] = 2}},
	{do_pf_set, {"pf changed pf0 -1"}, {[FAKE_FUNCTION_CHECK] = 2, [FAKE_FUNCTION_SET] = 3}},
	{do_pf_edit, {"pf changed pf0 -1"}, {[FAKE_FUNCTION_CHECK] = 2, [FAKE_FUNCTION_SET] = 3}},
	{do_function_set, {"function changed pf0 1"}, {[FAKE_FUNCTION_CHECK] = 1, [FAKE_FUNCTION_SET] = 1}},
	{do_function_edit, {"function changed pf0 0"}, {[FAKE_FUNCTION_CHECK] = 1, [FAKE_FUNCTION_SET] = 1}},
	{guest_asks,
	 {"function changed pf0 2", "control granted pf0 2"},
	 {[FAKE_FUNCTION_CHECK] = 1, [FAKE_FUNCTION_SET] = 1}},
};

#define MASKS (1U << FAKE_OPS) /* bit: this operation is answered later */

static void answer_later(struct me_env *t, unsigned int mask)
{
	for (unsigned int op = 0; op < FAKE_OPS; op++)
		t->dp.later[op] = mask >> op & 1;
}

/* A kind, and which operations are answered later, of those that it asks for. */
struct combination {
	const struct kind *kind;
	unsigned int mask;
};

static bool asks_all(const struct kind *k, unsigned int mask)
{
	for (unsigned int op = 0; op < FAKE_OPS; op++)
		if (mask >> op & 1 && !k->asks[op])
			return false;
	return true;
}

static bool next_combination(struct combination *c)
{
	do {
		if (!c->kind) {
			*c = (struct combination){.kind = kinds};
		} else if (++c->mask == MASKS) {
			c->mask = 0;
			c->kind++;
		}
		if (c->kind == kinds + ARRAY_SIZE(kinds))
			return false;
	} while (!asks_all(c->kind, c->mask));
	return true;
}

/* How many answers come later. */
static unsigned int answers_of(const struct kind *k, unsigned int mask)
{
	unsigned int n = 0;

	for (unsigned int op = 0; op < FAKE_OPS; op++)
		if (mask >> op & 1)
			n += k->asks[op];
	return n;
}

static unsigned int events_of(const struct kind *k)
{
	return k->events[1] ? 2 : 1;
}

static void assert_same_text(char *a, char *b)
{
	assert_string_equal(a, b);
	free(a);
	free(b);
}

static char *file_before;

/* What is told is on disk already. */
static void on_event(void *ctx, const struct model_event *e)
{
	struct me_env *t = ctx;
	char *file = scratch_read(t->state_file, NULL);

	(void)e;
	assert_string_not_equal(file, file_before);
	free(file);
}

/* The answers come one by one, with success. */
static void succeeds(struct me_env *t, const struct kind *k, unsigned int mask)
{
	unsigned int later = answers_of(k, mask);
	struct le_told told = {0};
	struct answer answer = le_answer(&told);
	char *before = le_model_picture(t), *now = NULL;
	int r;

	file_before = scratch_read(t->state_file, NULL);
	model_listen(t->model, on_event, t);
	answer_later(t, mask);
	r = k->ask(t, &answer, NULL);
	assert_int_equal(r, later ? ANSWER_LATER : 0);
	for (unsigned int i = 0; i < later; i++) {
		free(now);
		now = le_model_picture(t);
		assert_string_equal(now, before);
		assert_int_equal(t->events_n, 0);
		le_expect_none(&told);
		fake_dp_answer(&t->dp, 0);
	}
	assert_null(t->dp.waiting);
	free(now);
	now = le_model_picture(t);
	assert_string_not_equal(now, before);
	assert_int_equal(t->events_n, events_of(k));
	for (unsigned int i = 0; i < events_of(k); i++)
		assert_string_equal(t->events[i], k->events[i]);
	if (later) {
		le_expect(&told, 0);
		assert_int_equal(told.events, events_of(k));
	} else {
		le_expect_none(&told);
	}
	free(before);
	free(now);
	free(file_before);
}

static void next_model(void **state)
{
	le_teardown(state);
	le_setup(state);
}

static void each_succeeds(void **state)
{
	for (struct combination c = {0}; next_combination(&c);) {
		struct me_env *t = *state;
		char *dp;

		succeeds(t, c.kind, c.mask);
		/* The data plane has what was saved: a start gives it the same. */
		dp = le_dp_picture(t);
		me_restart(t);
		assert_same_text(dp, le_dp_picture(t));
		next_model(state);
	}
}

/* What there was before a change that fails. */
struct before {
	char *model, *dp;
};

static struct before look(struct me_env *t)
{
	return (struct before){le_model_picture(t), le_dp_picture(t)};
}

/* Those of the model's own; but what the data plane refuses each time is refused when it is put back, too. */
static unsigned int events(const struct me_env *t)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < t->events_n; i++)
		n += !t->dp.fails[FAKE_FUNCTION_SET] || strncmp(t->events[i], "fabric trouble ", 15) != 0;
	return n;
}

/* Nothing has come of it, and the reason was told: by the call or by the answer. */
static void assert_nothing(struct me_env *t, struct before *before, int r, const struct err *err,
			   const struct le_told *told, int code)
{
	le_finish(t);
	if (r == ANSWER_LATER) {
		le_expect(told, -code);
		err = &told->err;
	} else {
		assert_int_equal(r, -code);
		le_expect_none(told);
	}
	assert_int_equal(err->code, code);
	if (code == EOPNOTSUPP)
		assert_string_equal(err->text, "scripted");
	assert_int_equal(events(t), 0);
	assert_same_text(le_model_picture(t), before->model);
	assert_same_text(le_dp_picture(t), before->dp);
}

/* The data plane's `at`th answer is an error. */
static void fails_later(struct me_env *t, const struct kind *k, unsigned int mask, unsigned int at)
{
	struct before before = look(t);
	struct le_told told = {0};
	struct answer answer = le_answer(&told);
	struct err err = {0};
	int r;

	answer_later(t, mask);
	r = k->ask(t, &answer, &err);
	while (at--)
		fake_dp_answer(&t->dp, 0);
	fake_dp_answer(&t->dp, EOPNOTSUPP);
	assert_nothing(t, &before, r, &err, &told, EOPNOTSUPP);
}

static void each_fails_later(void **state)
{
	for (struct combination c = {0}; next_combination(&c);)
		for (unsigned int at = 0; at < answers_of(c.kind, c.mask); at++) {
			fails_later(*state, c.kind, c.mask, at);
			next_model(state);
		}
}

/* The data plane says no at once, perhaps after it has said yes later. */
static void fails_now(struct me_env *t, const struct kind *k, unsigned int mask, enum fake_op op)
{
	struct before before = look(t);
	struct le_told told = {0};
	struct answer answer = le_answer(&told);
	struct err err = {0};
	int r;

	answer_later(t, mask);
	t->dp.fails[op] = EOPNOTSUPP;
	r = k->ask(t, &answer, &err);
	assert_nothing(t, &before, r, &err, &told, EOPNOTSUPP);
}

static void each_fails_now(void **state)
{
	for (struct combination c = {0}; next_combination(&c);)
		for (unsigned int op = 0; op < FAKE_OPS; op++) {
			if (c.mask >> op & 1 || !c.kind->asks[op])
				continue;
			fails_now(*state, c.kind, c.mask, (enum fake_op)op);
			next_model(state);
		}
}

/* The data plane has said yes, and the disk is full. */
static void cannot_be_saved(struct me_env *t, const struct kind *k, unsigned int mask)
{
	struct before before = look(t);
	struct le_told told = {0};
	struct answer answer = le_answer(&told);
	struct err err = {0};
	int r, code;

	answer_later(t, mask);
	code = scratch_fill(&t->scratch);
	r = k->ask(t, &answer, &err);
	le_finish(t);
	scratch_empty(&t->scratch);
	assert_nothing(t, &before, r, &err, &told, code);
	/* And then it can be done. */
	told = (struct le_told){0};
	r = k->ask(t, &answer, &err);
	le_finish(t);
	if (r == ANSWER_LATER)
		le_expect(&told, 0);
	else
		assert_int_equal(r, 0);
}

static void each_cannot_be_saved(void **state)
{
	for (struct combination c = {0}; next_combination(&c);) {
		cannot_be_saved(*state, c.kind, c.mask);
		next_model(state);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, le_setup, le_teardown)
	const struct CMUnitTest tests[] = {
		TEST(each_succeeds),
		TEST(each_fails_later),
		TEST(each_fails_now),
		TEST(each_cannot_be_saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
