/* SPDX-License-Identifier: Apache-2.0 */

#include "dummy_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/binding.h"
#include "vhost/virtio.h"

static void on_event(void *ctx, const struct model_event *event)
{
	const struct model_event_name *name = &model_event_names[event->kind];
	struct de_env *e = ctx;
	size_t n = strlen(e->events);

	snprintf(e->events + n, sizeof(e->events) - n, "%s %d %s %s; ", event->pf ? event->pf : event->fabric,
		 event->function, model_topic_names[name->topic], name->name);
}

bool de_happened(struct de_env *e, const char *text)
{
	char whole[128];

	if (!text) {
		e->events[0] = 0;
		return false;
	}
	snprintf(whole, sizeof(whole), "%s; ", text);
	return strstr(e->events, whole) != NULL;
}

static void pump(void *ctx)
{
	de_pump(ctx);
}

void de_pump(struct de_env *e)
{
	while (sd_event_run(e->event, 0) > 0)
		;
}

void de_start(struct de_env *e)
{
	struct model_config config = {.event = e->event,
				      .state_dir = e->state_dir,
				      .run_dir = e->scratch.path,
				      .socket_mode = 0600,
				      .socket_group = UINT32_MAX};
	struct dataplane_config dp_config = {.event = e->event,
					     .workers = 1,
					     .cpus = {[0 ... 63] = -1},
					     .socket_mode = 0600,
					     .socket_group = UINT32_MAX,
					     .events = &model_dataplane_events};
	struct err err = {0};

	if (model_new(&config, &e->model, &err) < 0)
		fail_msg("%s", err.text);
	dp_config.ctx = e->model;
	if (dataplane_new(&dp_config, &e->dp, &err) < 0)
		fail_msg("%s", err.text);
	if (model_load(e->model, &dataplane_ops, e->dp, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(model_listen(e->model, on_event, e), 0);
}

void de_stop(struct de_env *e)
{
	model_cancel(e->model);
	dataplane_free(e->dp);
	model_free(e->model);
}

int de_setup_empty(void **state)
{
	struct de_env *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	log_set_level((enum log_level)0);
	dummy_fabric_reset();
	datapath_dummy_reset();
	scratch_make(&e->scratch);
	scratch_path(&e->scratch, "state", e->state_dir);
	scratch_path(&e->scratch, "state/state.json", e->state_file);
	assert_true(sd_event_new(&e->event) >= 0);
	for (unsigned int fn = 0; fn <= DE_VFS; fn++)
		vu_client_init(&e->guest[fn], pump, e);
	de_start(e);
	*state = e;
	return 0;
}

int de_setup_fabric(void **state)
{
	struct err err = {0};

	de_setup_empty(state);
	if (de_add_fabric(*state, "f", NULL, &err) != 0)
		fail_msg("%s", err.text);
	return 0;
}

int de_setup(void **state)
{
	struct pf_settings s = de_pf_settings("pf");
	struct err err = {0};

	de_setup_fabric(state);
	if (de_add_pf(*state, &s, NULL, &err) != 0)
		fail_msg("%s", err.text);
	return 0;
}

int de_teardown(void **state)
{
	struct de_env *e = *state;

	for (unsigned int fn = 0; fn <= DE_VFS; fn++)
		vu_client_done(&e->guest[fn]);
	de_stop(e);
	assert_null(datapath_dummy_control.instances);
	assert_null(dummy_fabric.ports);
	assert_int_equal(dummy_fabric.fabrics, 0);
	sd_event_unref(e->event);
	scratch_remove(&e->scratch);
	free(e);
	return 0;
}

static void on_answer(void *ctx, int r, const struct err *err)
{
	struct de_told *t = ctx;

	t->n++;
	t->r = r;
	snprintf(t->text, sizeof(t->text), "%s", err->text);
}

struct answer de_answer(struct de_told *t)
{
	return t ? (struct answer){on_answer, t} : (struct answer){0};
}

void de_expect_at(const struct de_told *t, int r, const char *file, int line)
{
	_assert_int_equal(t->n, 1, file, line);
	_assert_int_equal((uint64_t)t->r, (uint64_t)r, file, line);
	_assert_int_equal(t->text[0] != 0, r < 0, file, line);
}

struct datapath_list de_list(const char *text)
{
	struct datapath_list list = {0};
	struct err err = {0};

	if (datapath_list_parse(text, &list, &err) < 0)
		fail_msg("%s", err.text);
	return list;
}

struct fabric_settings de_fabric_settings(const char *name)
{
	struct fabric_settings s;

	fabric_settings_init(&s, name);
	s.type = &fabric_type_dummy;
	return s;
}

struct pf_settings de_pf_settings(const char *name)
{
	struct pf_settings s;

	pf_settings_init(&s, name);
	strcpy(s.fabric, "f");
	s.vfs = DE_VFS;
	s.queue_pairs = 1;
	s.datapaths = de_list("dummy:name=a,dummy:name=b");
	return s;
}

int de_add_fabric(struct de_env *e, const char *name, struct de_told *t, struct err *err)
{
	struct fabric_settings s = de_fabric_settings(name);
	struct answer answer = de_answer(t);

	return model_fabric_add(e->model, &s, &answer, err);
}

int de_add_pf(struct de_env *e, const struct pf_settings *s, struct de_told *t, struct err *err)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 0x10};
	struct answer answer = de_answer(t);

	return model_pf_add(e->model, s, strcmp(s->name, "pf") ? NULL : mac, &answer, err);
}

struct function_settings de_settings(struct de_env *e, unsigned int fn)
{
	return model_pf_find(e->model, "pf")->fn[fn].s;
}

int de_set(struct de_env *e, unsigned int fn, const struct function_settings *s, struct de_told *t,
	   struct err *err)
{
	struct answer answer = de_answer(t);

	return model_function_set(e->model, "pf", fn, s, s->own_mtu, &answer, err);
}

int de_set_rate(struct de_env *e, unsigned int fn, uint32_t rate, struct de_told *t, struct err *err)
{
	struct function_settings s = de_settings(e, fn);

	s.max_rate = rate;
	return de_set(e, fn, &s, t, err);
}

int de_set_list(struct de_env *e, unsigned int fn, const char *list, struct err *err)
{
	struct function_settings s = de_settings(e, fn);

	s.datapaths = de_list(list);
	return de_set(e, fn, &s, NULL, err);
}

int de_set_ageing(struct de_env *e, uint32_t ageing, struct de_told *t, struct err *err)
{
	struct fabric_settings s = model_fabric_find(e->model, "f")->s;
	struct answer answer = de_answer(t);

	s.ageing = ageing;
	return model_fabric_set(e->model, &s, &answer, err);
}

void de_guest_start(struct de_env *e, unsigned int fn)
{
	struct vu_client *c = &e->guest[fn];
	char path[108];

	model_function_path(e->model, "pf", fn, path);
	assert_int_equal(vu_client_connect(c, path), 0);
	vu_client_negotiate(c, VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF));
	vu_client_share_memory(c, 0x20000);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(vu_client_ring(c, i, 32, 0), 0);
		assert_int_equal(vu_client_ask_state(c, VU_SET_VRING_ENABLE, i, 1), 0);
	}
}

void de_guest_stop(struct de_env *e, unsigned int fn)
{
	vu_client_disconnect(&e->guest[fn]);
	vu_client_done(&e->guest[fn]);
}

struct binding_info de_binding(struct de_env *e, unsigned int fn)
{
	struct binding_info info = {0};

	assert_int_equal(model_function_binding(e->model, "pf", fn, &info), 0);
	return info;
}

struct function_state de_state(struct de_env *e, unsigned int fn)
{
	struct function_state state = {0};

	assert_int_equal(model_function_get(e->model, "pf", fn, &state, NULL, NULL), 0);
	return state;
}

const char *de_server(struct de_env *e, unsigned int fn)
{
	const struct datapath_dummy *d = datapath_dummy_control.instances, *found = NULL;

	(void)e;
	for (; d; d = d->next) {
		if (strcmp(d->open.pf, "pf") != 0 || d->open.fn != fn || d->phase != DP_DUMMY_STARTED)
			continue;
		assert_null(found);
		assert_true(d->ring[0] && d->ring[1]);
		found = d;
	}
	return found ? dummy_params_of(&found->pref.params)->name : "";
}

void de_assert_log_at(const char *text, const char *file, int line)
{
	_assert_string_equal(datapath_dummy_control.log, text, file, line);
	datapath_dummy_control.log[0] = 0;
}

char *de_file(struct de_env *e)
{
	char *text = scratch_read(e->state_file, NULL);

	assert_non_null(text);
	return text;
}

void de_assert_file_at(struct de_env *e, char *text, const char *file, int line)
{
	char *now = de_file(e);

	_assert_string_equal(now, text, file, line);
	free(now);
	free(text);
}
