/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of the model start from: a model over a data plane that only remembers, and fails where it
 * is told to, with the events that were told. */

#include <systemd/sd-event.h>

#include "fake_dataplane.h"
#include "model/model.h"
#include "scratch_dir.h"

#define ME_EVENTS 64

struct me_env {
	struct scratch scratch;
	char state_dir[256], state_file[256];
	unsigned int socket_mode; /* of model_config; 0: 0660 */
	sd_event *event;
	struct fake_dataplane dp;
	struct model *model;
	char events[ME_EVENTS][64]; /* "topic event pf function" */
	char details[ME_EVENTS][256];
	unsigned int events_n;
};

/* A model with an empty state, loaded. */
int me_setup(void **state);
int me_teardown(void **state);
/* The daemon's start in two steps, so that a test can tell the data plane what is to fail in the second; its
 * end; and all of it. */
void me_start(struct me_env *t);
void me_load(struct me_env *t);
void me_stop(struct me_env *t);
void me_restart(struct me_env *t);
/* "topic event pf function"; "none": there was none. */
const char *me_last_event(const struct me_env *t);

/* netdev NULL: without an uplink. */
void me_add_fabric(struct me_env *t, const char *name, const char *netdev);
struct pf_settings me_pf_settings_of(const char *name, const char *fabric, uint32_t vfs);
/* mac NULL: one is generated. */
int me_try_pf(struct me_env *t, const char *name, const char *fabric, uint32_t vfs, const char *mac,
	      struct err *err);
void me_add_pf(struct me_env *t, const char *name, const char *fabric, uint32_t vfs, const char *mac);
struct function_settings me_settings_of(struct me_env *t, const char *pf, unsigned int fn);
int me_try_admin_mac(struct me_env *t, const char *pf, unsigned int fn, const char *mac, struct err *err);
/* As the data plane got it, as text; valid until the next call. */
const char *me_mac_of(struct me_env *t, const char *pf, unsigned int fn);

/* The expression has to leave its error in `err`. */
#define assert_error(expression, number, where)                                                              \
	do {                                                                                                 \
		struct err err = {0};                                                                        \
		assert_int_equal(expression, -(number));                                                     \
		assert_int_equal(err.code, number);                                                          \
		assert_string_equal(err.field, where);                                                       \
		assert_true(err.text[0]);                                                                    \
	} while (0)
