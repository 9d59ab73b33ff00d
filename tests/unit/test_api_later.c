/* SPDX-License-Identifier: Apache-2.0 */

/* The API's changes while the data plane answers later: each is answered once, as it would have been at once. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "api_client.h"

#define PATIENT_US 60000000 /* none waits for it */

static void later(struct ac_env *t)
{
	fake_dp_all_later(&t->dp, true);
}

static int setup_of(void **state, uint64_t deferred_us)
{
	struct ac_client *c;
	struct ac_env *t;

	ac_setup(state, api_methods, deferred_us);
	t = *state;
	c = ac_client_new(t);
	ac_populate(t, c);
	ac_client_free(c);
	later(t);
	return 0;
}

static int setup(void **state)
{
	return setup_of(state, PATIENT_US);
}

static int setup_short(void **state)
{
	return setup_of(state, AC_DEFERRED_US);
}

/* As the daemon ends. */
static int teardown(void **state)
{
	struct ac_env *t = *state;

	model_cancel(t->model);
	return ac_teardown(state);
}

/* Answers all that is asked, until nothing is left to do. */
static void finish(struct ac_env *t)
{
	ac_settle(t);
	while (fake_dp_waiting(&t->dp)) {
		fake_dp_answer(&t->dp, 0);
		ac_settle(t);
	}
}

static void put(struct ac_env *t, struct ac_client *c, int id, const char *method, const char *json)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "{\"jsonrpc\": \"2.0\", \"id\": %d, \"method\": \"%s\", \"params\": {%s}}\n", id, method,
		 json);
	ac_put_text(t, c, text);
	ac_settle(t);
}

static void assert_silent(struct ac_env *t, struct ac_client *c)
{
	ac_settle(t);
	assert_int_equal(ac_take(c), 0);
}

/* The next reply, which is to this request. */
static json_t *reply_to(struct ac_env *t, struct ac_client *c, int id)
{
	json_t *reply = ac_get(t, c);

	assert_non_null(reply);
	assert_int_equal(ac_number(reply, "id"), id);
	return reply;
}

static json_t *result_of(json_t *reply)
{
	json_t *o = json_incref(json_object_get(reply, "result"));

	if (!o)
		fail_msg("%s",
			 json_string_value(json_object_get(json_object_get(reply, "error"), "message")));
	json_decref(reply);
	return o;
}

static const struct {
	const char *method, *params, *show, *of;
} changes[] = {
	{"fabric.add", "\"name\": \"f1\", \"ageing\": 9", "fabric.show", "\"name\": \"f1\""},
	{"fabric.set", "\"name\": \"f1\", \"learning\": true", "fabric.show", "\"name\": \"f1\""},
	{"pf.add", "\"name\": \"pf1\", \"fabric\": \"f1\", \"vfs\": 1", "pf.show", "\"name\": \"pf1\""},
	{"pf.set", "\"name\": \"pf1\", \"mtu\": 2000", "pf.show", "\"name\": \"pf1\""},
	{"vf.set", "\"pf\": \"pf1\", \"vf\": 0, \"trust\": true", "vf.show", "\"pf\": \"pf1\", \"vf\": 0"},
};

/* The result is what the object is then. */
static void results(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		json_t *result, *shown;

		put(t, c, 1, changes[i].method, changes[i].params);
		assert_silent(t, c);
		finish(t);
		result = result_of(reply_to(t, c, 1));
		shown = ac_result(t, c, changes[i].show, changes[i].of);
		assert_true(json_equal(result, shown));
		json_decref(result);
		json_decref(shown);
		assert_silent(t, c);
	}
	ac_client_free(c);
}

static void errors(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		bool fabric = !strncmp(changes[i].method, "fabric", 6);

		later(t);
		put(t, c, 1, changes[i].method, changes[i].params);
		fake_dp_answer(&t->dp, EOPNOTSUPP);
		finish(t);
		ac_check_error(reply_to(t, c, 1), -32000 - EOPNOTSUPP, fabric ? "uplink.name" : "vlan");
		assert_silent(t, c);
		fake_dp_all_later(&t->dp, false);
		ac_done(t, c, changes[i].method, changes[i].params);
	}
	ac_client_free(c);
}

/* Different fields of one function, by two clients at once and in one batch: none is lost. */
static void same_function(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t), *d = ac_client_new(t);
	const struct function_settings *s = &model_pf_find(t->model, "pf0")->fn[1].s;
	json_t *o;

	put(t, c, 1, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"trust\": true");
	put(t, d, 2, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"max_rate\": 100");
	put(t, c, 3, "pf.set", "\"name\": \"pf0\", \"mtu\": 2000");
	put(t, d, 4, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"link\": \"enable\"");
	put(t, c, 5, "pf.set", "\"name\": \"pf0\", \"failback\": true");
	assert_silent(t, c);
	assert_silent(t, d);
	/* An object is shown as it is. */
	put(t, d, 9, "vf.show", "\"pf\": \"pf0\", \"vf\": 0");
	o = result_of(reply_to(t, d, 9));
	assert_true(json_is_false(json_object_get(o, "trust")));
	json_decref(o);
	finish(t);
	json_decref(result_of(reply_to(t, c, 1)));
	json_decref(result_of(reply_to(t, c, 3)));
	json_decref(result_of(reply_to(t, c, 5)));
	json_decref(result_of(reply_to(t, d, 2)));
	json_decref(result_of(reply_to(t, d, 4)));
	assert_true(s->trust && s->max_rate == 100 && s->link == LINK_ENABLE && s->mtu == 2000);
	assert_true(model_pf_find(t->model, "pf0")->s.failback);
	s = &fake_dp_function(&t->dp, "pf0", 1)->s;
	assert_true(s->trust && s->max_rate == 100 && s->link == LINK_ENABLE && s->mtu == 2000 &&
		    s->failback);

	ac_put_text(
		t, c,
		"[{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"vf.set\", \"params\": {\"pf\": \"pf0\", \"vf\": 0, "
		"\"trust\": false}}, {\"jsonrpc\": \"2.0\", \"id\": 2, \"method\": \"vf.set\", \"params\": {\"pf\": "
		"\"pf0\", \"vf\": 0, \"max_rate\": 200}}]\n");
	ac_settle(t);
	finish(t);
	o = ac_get(t, c);
	assert_int_equal(json_array_size(o), 2);
	json_decref(o);
	assert_true(!s->trust && s->max_rate == 200);
	ac_client_free(c);
	ac_client_free(d);
}

/* What is read of the settings when its turn comes may be refused then. */
static void refused_in_turn(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);

	fake_dp_all_later(&t->dp, false);
	ac_done(t, c, "pf.set", "\"name\": \"pf0\", \"policy\": {\"max_rate_total\": 1000}");
	later(t);
	put(t, c, 1, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"max_rate\": 100");
	put(t, c, 2, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"min_rate\": 200");
	finish(t);
	json_decref(result_of(reply_to(t, c, 1)));
	ac_check_error(reply_to(t, c, 2), -32602, "min_rate");
	assert_int_equal(model_pf_find(t->model, "pf0")->fn[1].s.min_rate, 0);
	ac_client_free(c);
}

static void deleted_meanwhile(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t), *d = ac_client_new(t);

	put(t, c, 1, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"trust\": true");
	put(t, c, 2, "pf.set", "\"name\": \"pf0\", \"mtu\": 2000");
	ac_done(t, d, "pf.del", "\"name\": \"pf0\"");
	ac_check_error(reply_to(t, c, 1), -32000 - ENOENT, NULL);
	ac_check_error(reply_to(t, c, 2), -32000 - ENOENT, NULL);
	put(t, c, 3, "pf.add", "\"name\": \"pf1\", \"fabric\": \"f0\", \"vfs\": 1");
	put(t, c, 4, "fabric.set", "\"name\": \"f0\", \"ageing\": 5");
	ac_done(t, d, "fabric.del", "\"name\": \"f0\"");
	ac_check_error(reply_to(t, c, 3), -32000 - ENOENT, NULL);
	ac_check_error(reply_to(t, c, 4), -32000 - ENOENT, NULL);
	assert_silent(t, c);
	ac_client_free(c);
	ac_client_free(d);
}

/* Its client is gone; the change is made all the same. */
static void client_gone(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);

	put(t, c, 1, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"trust\": true");
	put(t, c, 2, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"max_rate\": 7");
	ac_client_free(c);
	ac_settle(t);
	finish(t);
	assert_true(model_pf_find(t->model, "pf0")->fn[1].s.trust);
	assert_int_equal(model_pf_find(t->model, "pf0")->fn[1].s.max_rate, 7);
}

/* The reply's time is up; the change is made or refused all the same, and is not answered again. */
static void too_late(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);

	put(t, c, 1, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"trust\": true");
	put(t, c, 2, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"wait\": true, \"max_rate\": 7");
	put(t, c, 3, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"min_rate\": 8"); /* not with this maximum */
	for (int i = 0; i < 3; i++)
		ac_check_error(ac_get(t, c), -32000 - ETIMEDOUT, NULL);
	finish(t);
	assert_silent(t, c);
	assert_true(model_pf_find(t->model, "pf0")->fn[1].s.trust);
	assert_int_equal(model_pf_find(t->model, "pf0")->fn[1].s.max_rate, 7);
	assert_int_equal(model_pf_find(t->model, "pf0")->fn[1].s.min_rate, 0);
	ac_client_free(c);
}

/* First the change, then who serves it. */
static void wait_for_move(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);
	struct fake_function *f = fake_dp_function(&t->dp, "pf0", 1);
	json_t *o, *move;

	f->binding = (struct binding_info){
		.state = BINDING_BOUND, .pref = {.type = &datapath_type_builtin}, .binds = 1};
	put(t, c, 1, "vf.set",
	    "\"pf\": \"pf0\", \"vf\": 0, \"wait\": true, \"datapaths\": [{\"type\": \"vhost-user\", \"path\": "
	    "\"/b/{vf}\"}, {\"type\": \"builtin\"}]");
	finish(t);
	assert_int_equal(f->binding.state, BINDING_MOVING);
	assert_silent(t, c);
	f->binding.state = BINDING_BOUND;
	f->binding.moves = 1;
	model_dataplane_events.datapath_changed(t->model, "pf0", 1, NULL, &f->s.datapaths.pref[0], 0, NULL);
	o = result_of(reply_to(t, c, 1));
	move = json_object_get(o, "move");
	assert_string_equal(ac_text(move, "from"), "builtin");
	assert_true(json_is_true(json_object_get(move, "settled")));
	json_decref(o);
	/* And one that is deleted while it moves. */
	put(t, c, 2, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"wait\": true, \"datapaths\": null");
	finish(t);
	assert_silent(t, c);
	ac_done(t, c, "pf.del", "\"name\": \"pf0\"");
	ac_check_error(reply_to(t, c, 2), -32000 - ENOENT, "pf");
	ac_client_free(c);
}

/* As many as can wait, each of which is answered. */
static void too_many(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);

	for (int i = 0; i < RPC_DEFERRED_MAX; i++)
		put(t, c, i, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"trust\": true");
	assert_silent(t, c);
	put(t, c, -1, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"trust\": true");
	ac_check_error(reply_to(t, c, -1), -32000 - EBUSY, NULL);
	finish(t);
	for (int i = 0; i < RPC_DEFERRED_MAX; i++)
		json_decref(result_of(reply_to(t, c, i)));
	ac_done(t, c, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"trust\": true");
	ac_client_free(c);
}

/* Who waits for long takes no place from changes. */
static void too_many_wait(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t), *other = ac_client_new(t);

	for (int i = 0; i < RPC_DEFERRED_MAX; i++)
		put(t, c, i, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"wait\": true, \"trust\": true");
	put(t, c, -1, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"wait\": true, \"trust\": true");
	ac_check_error(reply_to(t, c, -1), -32000 - EBUSY, NULL);
	put(t, other, 1, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"trust\": true");
	assert_silent(t, other);
	finish(t);
	json_decref(result_of(reply_to(t, other, 1)));
	for (int i = 0; i < RPC_DEFERRED_MAX; i++)
		json_decref(ac_get(t, c)); /* in any order */
	ac_client_free(other);
	ac_client_free(c);
}

/* The end of the daemon answers all. */
static void cancelled(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		put(t, c, (int)i, changes[i].method, changes[i].params);
	put(t, c, 10, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"trust\": true");
	put(t, c, 11, "pf.set", "\"name\": \"pf0\", \"mtu\": 2000");
	put(t, c, 12, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"wait\": true, \"max_rate\": 7");
	put(t, c, 13, "fabric.set", "\"name\": \"f0\", \"ageing\": 5");
	/* f1 and pf1 are not there yet. */
	for (int i = 1; i < (int)ARRAY_SIZE(changes); i++)
		ac_check_error(reply_to(t, c, i), -32000 - ENOENT,
			       i == 2   ? "fabric"
			       : i == 4 ? "pf"
					: "name");
	assert_silent(t, c);
	model_cancel(t->model);
	ac_settle(t);
	for (int i = 0; i < 5; i++)
		ac_check_error(ac_get(t, c), -32000 - ECANCELED, NULL);
	assert_silent(t, c);
	ac_refused(t, c, "pf.set", "\"name\": \"pf0\", \"mtu\": 3000", -32000 - ECANCELED, NULL);
	ac_client_free(c);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(results),
		TEST(errors),
		TEST(same_function),
		TEST(refused_in_turn),
		TEST(deleted_meanwhile),
		TEST(client_gone),
		cmocka_unit_test_setup_teardown(too_late, setup_short, teardown),
		TEST(wait_for_move),
		TEST(too_many),
		TEST(too_many_wait),
		TEST(cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
