/* SPDX-License-Identifier: Apache-2.0 */

/* The API's side of datapaths: what objects say, what is refused, and vf.set that waits for the move. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api_client.h"
#include "fabric/fabric.h"

#define DEFERRED_US 1000000 /* more than an answer takes on a busy machine; one test waits for it */

#define OTHER "{\"type\": \"vhost-user\", \"path\": \"/b/{vf}\"}"
#define MOVE_VF0                                                                                             \
	"{\"jsonrpc\": \"2.0\", \"id\": 7, \"method\": \"vf.set\", \"params\": {\"pf\": \"pf0\", \"vf\": "   \
	"0, "                                                                                                \
	"\"wait\": true, \"datapaths\": [" OTHER ", {\"type\": \"builtin\"}]}}\n"

static int setup(void **state)
{
	return ac_setup(state, api_methods, DEFERRED_US);
}

static void objects(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);
	struct fake_function *f;
	json_t *o, *b;

	ac_done(t, c, "fabric.add", "\"name\": \"br\", \"type\": \"bridge\", \"bridge\": \"br0\"");
	o = ac_result(t, c, "fabric.show", "\"name\": \"br\"");
	assert_string_equal(ac_text(o, "type"), "bridge");
	assert_string_equal(ac_text(o, "bridge"), "br0");
	json_decref(o);
	o = ac_result(t, c, "pf.add",
		      "\"name\": \"pf0\", \"fabric\": \"br\", \"vfs\": 2, \"failback\": true");
	assert_true(json_is_true(json_object_get(o, "failback")));
	b = json_object_get(o, "datapaths");
	assert_int_equal(json_array_size(b), 2);
	assert_string_equal(ac_text(json_array_get(b, 0), "type"), "vhost-net");
	json_decref(o);
	o = ac_result(t, c, "pf.set",
		      "\"name\": \"pf0\", \"failback\": false, \"datapaths\": [{\"type\": \"builtin\"}]");
	assert_true(json_is_false(json_object_get(o, "failback")));
	assert_int_equal(json_array_size(json_object_get(o, "datapaths")), 1);
	json_decref(o);
	o = ac_result(t, c, "pf.set", "\"name\": \"pf0\", \"datapaths\": null");
	assert_int_equal(json_array_size(json_object_get(o, "datapaths")), 2);
	json_decref(o);

	o = ac_result(t, c, "vf.show", "\"pf\": \"pf0\", \"vf\": 0");
	assert_true(json_is_null(json_object_get(o, "datapaths")));
	assert_string_equal(ac_text(o, "datapath"), "none");
	b = json_object_get(o, "binding");
	assert_string_equal(ac_text(b, "state"), "idle");
	assert_int_equal(json_array_size(json_object_get(b, "list")), 2);
	assert_true(json_is_null(json_object_get(b, "position")));
	assert_true(json_is_null(json_object_get(b, "serving")));
	assert_true(json_is_null(json_object_get(b, "last_error")));
	json_decref(o);

	o = ac_result(t, c, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"datapaths\": [" OTHER "]");
	assert_string_equal(ac_text(json_array_get(json_object_get(o, "datapaths"), 0), "path"), "/b/{vf}");
	json_decref(o);
	f = fake_dp_function(&t->dp, "pf0", 1);
	f->binding = (struct binding_info){.state = BINDING_BOUND,
					   .pref = f->s.datapaths.pref[0],
					   .position = 1,
					   .binds = 2,
					   .moves = 3,
					   .failures = 4,
					   .last_gap_us = 5,
					   .last_error = "six"};
	o = ac_result(t, c, "vf.show", "\"pf\": \"pf0\", \"vf\": 0");
	assert_string_equal(ac_text(o, "datapath"), "vhost-user");
	b = json_object_get(o, "binding");
	assert_string_equal(ac_text(b, "state"), "bound");
	assert_int_equal(ac_number(b, "position"), 1);
	assert_string_equal(ac_text(b, "serving"), "vhost-user:path=/b/{vf}");
	assert_int_equal(ac_number(b, "binds"), 2);
	assert_int_equal(ac_number(b, "moves"), 3);
	assert_int_equal(ac_number(b, "failures"), 4);
	assert_int_equal(ac_number(b, "last_gap_us"), 5);
	assert_string_equal(ac_text(b, "last_error"), "six");
	json_decref(o);
	o = ac_result(t, c, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"datapaths\": null");
	assert_true(json_is_null(json_object_get(o, "datapaths")));
	json_decref(o);
	ac_client_free(c);
}

static void refusals(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);

	ac_populate(t, c);
	t->dp.cannot[fake_type(&datapath_type_vhost_user)] = CAN_SPOOFCHK;
	ac_refused(t, c, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"datapaths\": [" OTHER "]",
		   -32000 - EOPNOTSUPP, "datapaths");
	ac_done(t, c, "vf.set",
		"\"pf\": \"pf0\", \"vf\": 0, \"spoofchk\": false, \"datapaths\": [" OTHER "]");
	ac_refused(t, c, "vf.set", "\"pf\": \"pf0\", \"vf\": 0, \"spoofchk\": true", -32000 - EOPNOTSUPP,
		   "spoofchk");
	ac_refused(t, c, "vf.set", "\"pf\": \"pf0\", \"vf\": 1, \"spoofchk\": false, \"datapaths\": []",
		   -32602, "datapaths");
	ac_refused(t, c, "vf.set", "\"pf\": \"pf0\", \"vf\": 1, \"datapaths\": [{\"type\": \"ovs\"}]", -32602,
		   "datapaths[0].type");
	ac_refused(t, c, "vf.set", "\"pf\": \"pf0\", \"vf\": 1, \"datapaths\": \"builtin\"", -32602,
		   "datapaths");
	ac_refused(t, c, "vf.set", "\"pf\": \"pf0\", \"vf\": 1, \"datapaths\": [{\"type\": \"vhost-user\"}]",
		   -32602, "datapaths");
	ac_refused(t, c, "vf.set", "\"pf\": \"pf0\", \"vf\": 1, \"datapaths\": [{\"type\": \"vhost-net\"}]",
		   -32000 - EOPNOTSUPP, "datapaths");
	ac_refused(t, c, "fabric.add", "\"name\": \"x\", \"type\": \"ovs\"", -32602, "type");
	ac_refused(t, c, "fabric.set", "\"name\": \"f0\", \"type\": \"bridge\", \"bridge\": \"b\"", -32602,
		   "type");
	ac_refused(t, c, "pf.add",
		   "\"name\": \"pf1\", \"fabric\": \"f0\", \"vfs\": 1, \"datapaths\": [" OTHER "]",
		   -32000 - EOPNOTSUPP, "datapaths");
	ac_done(t, c, "pf.add",
		"\"name\": \"pf1\", \"fabric\": \"f0\", \"vfs\": 1, \"spoofchk\": false, \"datapaths\": "
		"[{\"type\": "
		"\"vhost-user\", \"path\": \"/c/{vf}\", \"server\": true, \"offload\": true}]");
	ac_client_free(c);
}

/* A function of which builtin serves the rings, and a request to move it under way. */
static struct fake_function *moving(struct ac_env *t, struct ac_client *c)
{
	struct fake_function *f;

	ac_populate(t, c);
	f = fake_dp_function(&t->dp, "pf0", 1);
	f->binding = (struct binding_info){
		.state = BINDING_BOUND, .pref = {.type = &datapath_type_builtin}, .binds = 1};
	ac_put_text(t, c, MOVE_VF0);
	while (f->s.datapaths.n != 2)
		ac_run(t);
	ac_settle(t);
	assert_int_equal(f->binding.state, BINDING_MOVING);
	assert_int_equal(ac_take(c), 0);
	return f;
}

static json_t *result_of(json_t *reply)
{
	json_t *o = json_incref(json_object_get(reply, "result"));

	assert_non_null(o);
	json_decref(reply);
	return o;
}

static void wait_for_move(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);
	struct fake_function *f = moving(t, c);
	const struct datapath_pref builtin = {.type = &datapath_type_builtin};
	json_t *o, *move;

	/* What happens to others is no answer. */
	model_dataplane_events.datapath_failed(t->model, "pf0", 2, &builtin, "x");
	ac_settle(t);
	assert_int_equal(ac_take(c), 0);

	f->binding = (struct binding_info){.state = BINDING_BOUND,
					   .pref = f->s.datapaths.pref[0],
					   .binds = 2,
					   .moves = 1,
					   .last_gap_us = 250};
	model_dataplane_events.datapath_changed(t->model, "pf0", 1, &builtin, &f->binding.pref, 250, NULL);
	o = result_of(ac_get(t, c));
	assert_string_equal(ac_text(o, "datapath"), "vhost-user");
	move = json_object_get(o, "move");
	assert_string_equal(ac_text(move, "from"), "builtin");
	assert_string_equal(ac_text(move, "to"), "vhost-user:path=/b/{vf}");
	assert_int_equal(ac_number(move, "gap_us"), 250);
	assert_true(json_is_true(json_object_get(move, "settled")));
	assert_int_equal(json_array_size(json_object_get(move, "failed")), 0);
	json_decref(o);

	/* The same list again changes nothing, and that is known at once; as is what an idle function does. */
	o = result_of(ac_ask_text(t, c, MOVE_VF0));
	move = json_object_get(o, "move");
	assert_string_equal(ac_text(move, "from"), "vhost-user:path=/b/{vf}");
	assert_null(json_object_get(move, "gap_us"));
	json_decref(o);
	o = ac_result(t, c, "vf.set",
		      "\"pf\": \"pf0\", \"vf\": 1, \"wait\": true, \"datapaths\": [" OTHER "]");
	assert_true(json_is_null(json_object_get(json_object_get(o, "move"), "to")));
	json_decref(o);
	ac_client_free(c);
}

static void move_fails(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);
	struct fake_function *f = moving(t, c);
	json_t *o, *move;

	/* Told in the middle of it, and looked at when all is done. */
	model_dataplane_events.datapath_failed(t->model, "pf0", 1, &f->s.datapaths.pref[0], "nobody listens");
	f->binding.state = BINDING_BOUND;
	f->binding.position = 1;
	o = result_of(ac_get(t, c));
	move = json_object_get(o, "move");
	assert_string_equal(ac_text(move, "to"), "builtin");
	assert_null(json_object_get(move, "gap_us"));
	assert_string_equal(ac_text(json_array_get(json_object_get(move, "failed"), 0), "reason"),
			    "nobody listens");
	json_decref(o);
	ac_client_free(c);
}

/* The one who asked, the function, the time or the daemon may be gone before the answer. */
static void move_never_ends(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t), *other = ac_client_new(t);

	moving(t, c);
	ac_check_error(ac_get(t, c), -32000 - ETIMEDOUT, NULL); /* the limit of deferred replies */
	ac_done(t, other, "pf.del", "\"name\": \"pf0\"");
	ac_settle(t);
	ac_done(t, other, "fabric.del", "\"name\": \"f0\"");
	ac_client_free(c);
	c = ac_client_new(t);
	moving(t, c);
	ac_client_free(c);
	ac_settle(t);
	ac_done(t, other, "pf.del", "\"name\": \"pf0\"");
	ac_done(t, other, "fabric.del", "\"name\": \"f0\"");
	c = ac_client_new(t);
	moving(t, c);
	ac_client_free(c);
	ac_client_free(other);
	/* and one is left for teardown() */
}

static void deleted_meanwhile(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);

	moving(t, c);
	assert_int_equal(model_pf_del(t->model, "pf0", NULL), 0);
	ac_check_error(ac_get(t, c), -32000 - ENOENT, "pf");
	ac_client_free(c);
}

static void events(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);
	const struct datapath_pref builtin = {.type = &datapath_type_builtin};
	json_t *o, *p;

	ac_populate(t, c);
	ac_done(t, c, "events.subscribe", "\"topics\": [\"datapath\"]");
	model_dataplane_events.datapath_changed(t->model, "pf0", 1, NULL, &builtin, 0, NULL);
	o = ac_get(t, c);
	p = json_object_get(o, "params");
	assert_string_equal(ac_text(p, "topic"), "datapath");
	assert_string_equal(ac_text(p, "event"), "bound");
	assert_string_equal(ac_text(p, "to"), "builtin");
	assert_int_equal(ac_number(p, "vf"), 0);
	json_decref(o);
	ac_client_free(c);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, ac_teardown)
	const struct CMUnitTest tests[] = {
		TEST(objects),         TEST(refusals),          TEST(wait_for_move), TEST(move_fails),
		TEST(move_never_ends), TEST(deleted_meanwhile), TEST(events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
