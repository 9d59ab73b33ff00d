/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A model over a data plane that only remembers and fails where it is told to, with the events it has told.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <systemd/sd-event.h>

#include "fake_dataplane.h"
#include "model/model.h"
#include "scratch_dir.h"
#include "settings/mac.h"

#define EVENTS_MAX 64

struct fixture {
	struct scratch scratch;
	char state_dir[256], state_file[256];
	unsigned int socket_mode; /* of model_config; 0: 0660 */
	sd_event *event;
	struct fake_dataplane dp;
	struct model *model;
	char events[EVENTS_MAX][64]; /* "topic event pf function" */
	char details[EVENTS_MAX][256];
	unsigned int events_n;
};

static inline void on_event(void *ctx, const struct model_event *e)
{
	struct fixture *t = ctx;
	char *detail = e->detail ? json_dumps(e->detail, JSON_COMPACT) : NULL;

	if (t->events_n == EVENTS_MAX)
		t->events_n = 0;
	snprintf(t->events[t->events_n], sizeof(t->events[0]), "%s %s %s %d", model_topic_names[e->topic],
		 e->event, e->pf ? e->pf : e->fabric, e->function);
	snprintf(t->details[t->events_n++], sizeof(t->details[0]), "%s", detail ? detail : "");
	assert_non_null(e->text);
	free(detail);
}

static inline const char *last_event(const struct fixture *t)
{
	return t->events_n ? t->events[t->events_n - 1] : "none";
}

static inline void start(struct fixture *t)
{
	struct model_config config = {.event = t->event,
				      .state_dir = t->state_dir,
				      .run_dir = t->scratch.path,
				      .socket_mode = t->socket_mode ? t->socket_mode : 0660,
				      .socket_group = UINT32_MAX,
				      .uplink_retry_us = 1000};
	struct err err = {0};

	fake_init(&t->dp);
	t->model = NULL;
	assert_int_equal(model_new(&config, &t->model, &err), 0);
	model_listen(t->model, on_event, t);
}

static inline void load(struct fixture *t)
{
	struct err err = {0};

	if (model_load(t->model, &fake_ops, &t->dp, &err) < 0)
		fail_msg("%s", err.text);
}

static inline void stop(struct fixture *t)
{
	model_free(t->model);
	fake_destroy(&t->dp);
}

static inline void restart(struct fixture *t)
{
	stop(t);
	start(t);
	load(t);
}

static inline int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	log_set_level((enum log_level)0);
	scratch_make(&t->scratch);
	scratch_path(&t->scratch, "state", t->state_dir);
	scratch_path(&t->scratch, "state/state.json", t->state_file);
	assert_true(sd_event_new(&t->event) >= 0);
	start(t);
	load(t);
	*state = t;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *t = *state;

	stop(t);
	sd_event_unref(t->event);
	scratch_remove(&t->scratch);
	free(t);
	return 0;
}

static inline void add_fabric(struct fixture *t, const char *name, const char *netdev)
{
	struct fabric_settings s;
	struct err err = {0};

	fabric_settings_init(&s, name);
	if (netdev) {
		s.uplink = UPLINK_NETDEV;
		snprintf(s.uplink_name, sizeof(s.uplink_name), "%s", netdev);
	}
	if (model_fabric_add(t->model, &s, &err) < 0)
		fail_msg("%s: %s", err.field, err.text);
}

static inline struct pf_settings pf_settings_of(const char *name, const char *fabric, uint32_t vfs)
{
	struct pf_settings s;

	pf_settings_init(&s, name);
	snprintf(s.fabric, sizeof(s.fabric), "%s", fabric);
	s.vfs = vfs;
	return s;
}

static inline int try_pf(struct fixture *t, const char *name, const char *fabric, uint32_t vfs,
			 const char *mac, struct err *err)
{
	struct pf_settings s = pf_settings_of(name, fabric, vfs);
	uint8_t bytes[6];

	*err = (struct err){0};
	if (mac)
		assert_true(mac_parse(mac, bytes));
	return model_pf_add(t->model, &s, mac ? bytes : NULL, err);
}

static inline void add_pf(struct fixture *t, const char *name, const char *fabric, uint32_t vfs,
			  const char *mac)
{
	struct err err;

	if (try_pf(t, name, fabric, vfs, mac, &err) < 0)
		fail_msg("%s: %s", err.field, err.text);
}

static inline struct function_settings settings_of(struct fixture *t, const char *pf, unsigned int fn)
{
	return model_pf_find(t->model, pf)->fn[fn].s;
}

static inline int try_admin_mac(struct fixture *t, const char *pf, unsigned int fn, const char *mac,
				struct err *err)
{
	struct function_settings s = settings_of(t, pf, fn);

	*err = (struct err){0};
	assert_true(mac_parse(mac, s.admin_mac));
	return model_function_set(t->model, pf, fn, &s, false, err);
}

static inline const char *mac_of(struct fixture *t, const char *pf, unsigned int fn)
{
	static char text[MAC_TEXT_MAX];

	return mac_format(fake_function(&t->dp, pf, fn)->s.mac, text);
}

#define assert_error(expression, number, where)                                                              \
	do {                                                                                                 \
		struct err err = {0};                                                                        \
		assert_int_equal(expression, -(number));                                                     \
		assert_int_equal(err.code, number);                                                          \
		assert_string_equal(err.field, where);                                                       \
		assert_true(err.text[0]);                                                                    \
	} while (0)
