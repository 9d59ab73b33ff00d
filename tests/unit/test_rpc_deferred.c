/* SPDX-License-Identifier: Apache-2.0 */

/* Replies of the API that come later. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "api_client.h"

/* Calls of the method "later" that wait for their reply. */
static struct api_call *deferred[RPC_DEFERRED_MAX];
static unsigned int deferred_n;

static int method_later(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	int r = api_call_defer(call, RPC_DEFER_WAIT, err);

	(void)params;
	(void)ret;
	if (r < 0)
		return r;
	deferred[deferred_n++] = call;
	return RPC_DEFERRED;
}

static int method_never(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	(void)params;
	(void)ret;
	assert_int_equal(api_call_defer(call, RPC_DEFER_WAIT, err), 0);
	return err_set(err, EREMOTEIO, NULL, "on second thoughts");
}

static int method_now(struct api_call *call, const json_t *params, json_t **ret, struct err *err)
{
	(void)call;
	(void)params;
	(void)err;
	*ret = json_string("now");
	return 0;
}

static const struct json_field no_params[] = {{0}};
static const struct api_method own_methods[] = {
	{"later", no_params, true, method_later, "", ""},
	{"never", no_params, true, method_never, "", ""},
	{"now", no_params, false, method_now, "", ""},
	{0},
};

static int setup(void **state)
{
	deferred_n = 0;
	return ac_setup(state, own_methods, AC_DEFERRED_US);
}

/* For tests in which no call is to run out of time, however busy the machine is. */
static int setup_patient(void **state)
{
	deferred_n = 0;
	return ac_setup(state, own_methods, 3600000000);
}

static const char later[] = "{\"jsonrpc\": \"2.0\", \"id\": \"later\", \"method\": \"later\"}";

static void deferred_replies(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);
	struct err err = {.code = ENODEV, .field = "bus", .text = "no such bus"};
	json_t *reply;

	ac_put_text(t, c, later);
	ac_put_text(t, c, "\n");
	ac_done(t, c, "now", ""); /* overtakes it */
	assert_int_equal(deferred_n, 1);
	api_deferred_done(deferred[0], json_true(), NULL);
	reply = ac_get(t, c);
	assert_string_equal(ac_text(reply, "id"), "later");
	assert_true(json_is_true(json_object_get(reply, "result")));
	json_decref(reply);

	deferred_n = 0;
	ac_put_text(t, c, later);
	ac_put_text(t, c, "\n");
	ac_done(t, c, "now", "");
	api_deferred_done(deferred[0], NULL, &err);
	ac_check_error(ac_get(t, c), -32000 - ENODEV, "bus");

	ac_refused(t, c, "never", "", -32000 - EREMOTEIO, NULL);
	ac_client_free(c);
}

static void deferred_in_batch(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);
	json_t *list;
	char line[512];

	snprintf(line, sizeof(line), "[%s, {\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"now\"}, %s]\n",
		 later, later);
	ac_put_text(t, c, line);
	ac_done(t, c, "now", "");
	assert_int_equal(deferred_n, 2);
	api_deferred_done(deferred[1], json_integer(2), NULL);
	ac_done(t, c, "now", "");
	api_deferred_done(deferred[0], json_integer(1), NULL);
	list = ac_get(t, c);
	assert_int_equal(json_array_size(list), 3);
	json_decref(list);
	ac_client_free(c);
}

static void deferred_too_long(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);

	ac_check_error(ac_ask_text(t, c, later), -32000 - ETIMEDOUT, NULL);
	api_deferred_done(deferred[0], json_true(), NULL); /* its client has gone */
	ac_done(t, c, "now", "");
	ac_client_free(c);
}

static void deferred_and_gone(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t), *other = ac_client_new(t);

	ac_put_text(t, c, later);
	ac_put_text(t, c, "\n");
	ac_settle(t);
	assert_int_equal(deferred_n, 1);
	ac_client_free(c);
	ac_settle(t);
	api_deferred_done(deferred[0], json_true(), NULL);
	ac_done(t, other, "now", "");

	/* Half closed, it still gets the reply, and then the end. */
	deferred_n = 0;
	c = ac_client_new(t);
	ac_put_text(t, c, later);
	assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
	while (!deferred_n)
		ac_run(t);
	api_deferred_done(deferred[0], json_true(), NULL);
	json_decref(ac_get(t, c));
	assert_null(ac_get(t, c));
	ac_client_free(c);
	ac_client_free(other);
}

static void deferred_limit(void **state)
{
	struct ac_env *t = *state;
	struct ac_client *c = ac_client_new(t);

	for (int i = 0; i < RPC_DEFERRED_MAX; i++) {
		ac_put_text(t, c, later);
		ac_put_text(t, c, "\n");
	}
	while (deferred_n < RPC_DEFERRED_MAX)
		ac_run(t);
	ac_check_error(ac_ask_text(t, c, later), -32000 - EBUSY, NULL);
	for (int i = 0; i < RPC_DEFERRED_MAX; i++)
		api_deferred_done(deferred[i], json_true(), NULL);
	ac_client_free(c);
}

int main(void)
{
#define TEST(f)    cmocka_unit_test_setup_teardown(f, setup, ac_teardown)
#define PATIENT(f) cmocka_unit_test_setup_teardown(f, setup_patient, ac_teardown)
	const struct CMUnitTest tests[] = {
		PATIENT(deferred_replies),  PATIENT(deferred_in_batch), TEST(deferred_too_long),
		PATIENT(deferred_and_gone), PATIENT(deferred_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
