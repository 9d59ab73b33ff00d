/* SPDX-License-Identifier: Apache-2.0 */

#include "model_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "settings/mac.h"

static void on_event(void *ctx, const struct model_event *e)
{
	struct me_env *t = ctx;
	char *detail = e->detail ? json_dumps(e->detail, JSON_COMPACT) : NULL;

	if (t->events_n == ME_EVENTS)
		t->events_n = 0;
	snprintf(t->events[t->events_n], sizeof(t->events[0]), "%s %s %s %d",
		 model_topic_names[model_event_names[e->kind].topic], model_event_names[e->kind].name,
		 e->pf ? e->pf : e->fabric, e->function);
	snprintf(t->details[t->events_n++], sizeof(t->details[0]), "%s", detail ? detail : "");
	assert_non_null(e->text);
	free(detail);
}

const char *me_last_event(const struct me_env *t)
{
	return t->events_n ? t->events[t->events_n - 1] : "none";
}

void me_start(struct me_env *t)
{
	struct model_config config = {.event = t->event,
				      .state_dir = t->state_dir,
				      .run_dir = t->scratch.path,
				      .socket_mode = t->socket_mode ? t->socket_mode : 0660,
				      .socket_group = UINT32_MAX,
				      .retry_us = 1000};
	struct err err = {0};

	fake_dp_init(&t->dp);
	t->model = NULL;
	assert_int_equal(model_new(&config, &t->model, &err), 0);
	model_listen(t->model, on_event, t);
}

void me_load(struct me_env *t)
{
	struct err err = {0};

	if (model_load(t->model, &fake_dp_ops, &t->dp, &err) < 0)
		fail_msg("%s", err.text);
}

void me_stop(struct me_env *t)
{
	model_free(t->model);
	fake_dp_destroy(&t->dp);
}

void me_restart(struct me_env *t)
{
	me_stop(t);
	me_start(t);
	me_load(t);
}

int me_setup(void **state)
{
	struct me_env *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	log_set_level((enum log_level)0);
	scratch_make(&t->scratch);
	scratch_path(&t->scratch, "state", t->state_dir);
	scratch_path(&t->scratch, "state/state.json", t->state_file);
	assert_true(sd_event_new(&t->event) >= 0);
	me_start(t);
	me_load(t);
	*state = t;
	return 0;
}

int me_teardown(void **state)
{
	struct me_env *t = *state;

	me_stop(t);
	sd_event_unref(t->event);
	scratch_remove(&t->scratch);
	free(t);
	return 0;
}

void me_add_fabric(struct me_env *t, const char *name, const char *netdev)
{
	struct fabric_settings s;
	struct err err = {0};

	fabric_settings_init(&s, name);
	if (netdev) {
		s.uplink = UPLINK_NETDEV;
		snprintf(s.uplink_name, sizeof(s.uplink_name), "%s", netdev);
	}
	if (model_fabric_add(t->model, &s, NULL, &err) < 0)
		fail_msg("%s: %s", err.field, err.text);
}

struct pf_settings me_pf_settings_of(const char *name, const char *fabric, uint32_t vfs)
{
	struct pf_settings s;

	pf_settings_init(&s, name);
	snprintf(s.fabric, sizeof(s.fabric), "%s", fabric);
	s.vfs = vfs;
	return s;
}

int me_try_pf(struct me_env *t, const char *name, const char *fabric, uint32_t vfs, const char *mac,
	      struct err *err)
{
	struct pf_settings s = me_pf_settings_of(name, fabric, vfs);
	uint8_t bytes[6];

	*err = (struct err){0};
	if (mac)
		assert_true(mac_parse(mac, bytes));
	return model_pf_add(t->model, &s, mac ? bytes : NULL, NULL, err);
}

void me_add_pf(struct me_env *t, const char *name, const char *fabric, uint32_t vfs, const char *mac)
{
	struct err err;

	if (me_try_pf(t, name, fabric, vfs, mac, &err) < 0)
		fail_msg("%s: %s", err.field, err.text);
}

struct function_settings me_settings_of(struct me_env *t, const char *pf, unsigned int fn)
{
	return model_pf_find(t->model, pf)->fn[fn].s;
}

int me_try_admin_mac(struct me_env *t, const char *pf, unsigned int fn, const char *mac, struct err *err)
{
	struct function_settings s = me_settings_of(t, pf, fn);

	*err = (struct err){0};
	assert_true(mac_parse(mac, s.admin_mac));
	return model_function_set(t->model, pf, fn, &s, false, NULL, err);
}

const char *me_mac_of(struct me_env *t, const char *pf, unsigned int fn)
{
	static char text[MAC_TEXT_MAX];

	return mac_format(fake_dp_function(&t->dp, pf, fn)->s.mac, text);
}
