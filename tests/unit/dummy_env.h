/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of the layers together start from: the model over the data plane over a fabric and datapaths that are
 * dummies, all else being what vpfd has. The fabric is f, of type dummy; the virtual PF is pf, with two VFs and one
 * queue pair, 02:00:00:00:00:10 and on; its list is "dummy:name=a,dummy:name=b". Guests are vhost-user front-ends. */

#include <systemd/sd-event.h>

#include "datapath/dummy/dummy.h"
#include "fabric/dummy/dummy.h"
#include "model/model.h"
#include "scratch_dir.h"
#include "vu_client.h"

#define DE_VF(n) VPF_FUNCTION_VF(n)
#define DE_VFS   2

struct de_told { /* an answer */
	unsigned int n;
	int r;
	char text[256];
};

struct de_env {
	struct scratch scratch;
	char state_dir[256], state_file[256];
	sd_event *event;
	struct dataplane *dp;
	struct model *model;
	struct vu_client guest[1 + DE_VFS]; /* of each function of pf */
	char events[1024];                  /* "pf 1 datapath bound; " */
};

/* Without a fabric; with f; with f and pf. The dummies are reset. */
int de_setup_empty(void **state);
int de_setup_fabric(void **state);
int de_setup(void **state);
/* All of the dummies' objects are gone then. */
int de_teardown(void **state);
void de_stop(struct de_env *e);
void de_start(struct de_env *e);

struct answer de_answer(struct de_told *t);
/* Answered once, with r and, if that is an error, a reason. */
#define de_expect(t, r) de_expect_at(t, r, __FILE__, __LINE__)
void de_expect_at(const struct de_told *t, int r, const char *file, int line);

/* All that can happen by itself, now; and until something is so, for 20 seconds at most. */
void de_pump(struct de_env *e);
#define DE_UNTIL(e, condition)                                                                               \
	do {                                                                                                 \
		for (unsigned int turns = 0; !(condition); turns++) {                                        \
			assert_true(turns < 2000);                                                           \
			assert_true(sd_event_run((e)->event, 10000) >= 0);                                   \
		}                                                                                            \
	} while (0)

/* Whether the event ("pf 1 datapath bound") was told since the last call with text NULL, which forgets them all. */
bool de_happened(struct de_env *e, const char *text);

struct datapath_list de_list(const char *text);
struct fabric_settings de_fabric_settings(const char *name);
struct pf_settings de_pf_settings(const char *name);
int de_add_fabric(struct de_env *e, const char *name, struct de_told *t, struct err *err);
int de_add_pf(struct de_env *e, const struct pf_settings *s, struct de_told *t, struct err *err);
/* As set. */
struct function_settings de_settings(struct de_env *e, unsigned int fn);
/* Of pf. t NULL: it has to be done at once. */
int de_set(struct de_env *e, unsigned int fn, const struct function_settings *s, struct de_told *t,
	   struct err *err);
int de_set_rate(struct de_env *e, unsigned int fn, uint32_t rate, struct de_told *t, struct err *err);
int de_set_list(struct de_env *e, unsigned int fn, const char *list, struct err *err);
int de_set_ageing(struct de_env *e, uint32_t ageing, struct de_told *t, struct err *err);

/* The guest of a function of pf starts its driver: both rings, enabled. */
void de_guest_start(struct de_env *e, unsigned int fn);
/* It hangs up. */
void de_guest_stop(struct de_env *e, unsigned int fn);
struct binding_info de_binding(struct de_env *e, unsigned int fn);
struct function_state de_state(struct de_env *e, unsigned int fn);
/* Which of the dummies has the rings of a function of pf; "": none. */
const char *de_server(struct de_env *e, unsigned int fn);

/* What the datapaths were asked since the last call is exactly this. */
#define de_assert_log(text) de_assert_log_at(text, __FILE__, __LINE__)
void de_assert_log_at(const char *text, const char *file, int line);
/* The state file is, to the letter, what `text` is; which is freed. */
#define de_assert_file(e, text) de_assert_file_at(e, text, __FILE__, __LINE__)
void de_assert_file_at(struct de_env *e, char *text, const char *file, int line);
char *de_file(struct de_env *e);
