/* SPDX-License-Identifier: Apache-2.0 */

#include "api/moves.h"

#include <stdio.h>
#include <string.h>

#include "api/env.h"
#include "api/objects.h"
#include "settings/json_build.h"

struct waiting {
	struct waiting *next;
	struct moves *moves;
	struct api_call *call;
	char pf[VPF_NAME_MAX];
	unsigned int fn;
	struct binding_info before;
	json_t *failed; /* [{"datapath", "reason"}]; NULL: there was no memory for one of them */
	/* Checks once nothing else is pending: an event may arrive in the middle of the change that it reports. */
	sd_event_source *look, *limit;
};

struct moves {
	sd_event *event;
	struct model *model;
	struct waiting *first;
};

static void waiting_free(struct waiting *w)
{
	struct waiting **p = &w->moves->first;

	while (*p && *p != w)
		p = &(*p)->next;
	if (*p)
		*p = w->next;
	sd_event_source_disable_unref(w->look);
	sd_event_source_disable_unref(w->limit);
	json_decref(w->failed);
	free(w);
}

static bool settled(const struct binding_info *now)
{
	return now->state != BINDING_BINDING && now->state != BINDING_MOVING;
}

/* What became of it, as JSON. */
static json_t *move_json(const struct waiting *w, const struct binding_info *now)
{
	json_t *o = json_pack("{s:o, s:o, s:b, s:O}", "from", object_serving(&w->before), "to",
			      object_serving(now), "settled", settled(now), "failed", w->failed);

	if (now->moves != w->before.moves)
		json_put(&o, "gap_us", json_integer((json_int_t)now->last_gap_us));
	return o;
}

static void answer(struct waiting *w)
{
	const struct api_env *env = api_call_env(w->call);
	const struct model_pf *pf = model_pf_find(w->moves->model, w->pf);
	struct binding_info now = {0};
	struct err err = {0};
	json_t *o;

	if (!pf || model_function_binding(w->moves->model, w->pf, w->fn, &now) < 0) {
		err_set(&err, ENOENT, "pf", "%s was deleted in the meantime", w->pf);
		api_deferred_done(w->call, NULL, &err);
	} else {
		o = object_function(env, pf, w->fn);
		json_put(&o, "move", move_json(w, &now));
		if (!o)
			err_set(&err, ENOMEM, NULL,
				"the settings are changed, but there is no memory to report the outcome");
		api_deferred_done(w->call, o, o ? NULL : &err);
	}
	waiting_free(w);
}

static int on_look(sd_event_source *source, void *ctx)
{
	struct waiting *w = ctx;
	struct binding_info now = {0};

	(void)source;
	if (model_function_binding(w->moves->model, w->pf, w->fn, &now) < 0 || settled(&now))
		answer(w);
	return 0;
}

static int on_limit(sd_event_source *source, uint64_t usec, void *ctx)
{
	(void)source;
	(void)usec;
	answer(ctx);
	return 0;
}

static void on_event(void *ctx, const struct model_event *e)
{
	struct moves *moves = ctx;

	enum model_topic topic = model_event_names[e->kind].topic;

	if (topic != TOPIC_DATAPATH && topic != TOPIC_PF && topic != TOPIC_FUNCTION)
		return;
	for (struct waiting *w = moves->first; w; w = w->next) {
		if (!e->pf || strcmp(e->pf, w->pf) != 0)
			continue;
		if (e->kind == EVENT_DATAPATH_FAILED && e->function == (int)w->fn)
			json_add(&w->failed, json_incref((json_t *)e->detail));
		sd_event_source_set_enabled(w->look, SD_EVENT_ONESHOT);
	}
}

int moves_new(sd_event *event, struct model *model, struct moves **ret)
{
	struct moves *moves = calloc(1, sizeof(*moves));
	int r;

	if (!moves)
		return -ENOMEM;
	moves->event = sd_event_ref(event);
	moves->model = model;
	r = model_listen(model, on_event, moves);
	if (r < 0) {
		sd_event_unref(moves->event);
		free(moves);
		return r;
	}
	*ret = moves;
	return 0;
}

void moves_free(struct moves *moves)
{
	if (!moves)
		return;
	while (moves->first)
		answer(moves->first);
	model_unlisten(moves->model, on_event, moves);
	sd_event_unref(moves->event);
	free(moves);
}

int moves_wait(struct moves *moves, struct api_call *call, const char *pf, unsigned int fn,
	       const struct binding_info *before, struct err *err)
{
	struct waiting *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return err_set(err, ENOMEM, NULL, "out of memory");
	w->moves = moves;
	w->call = call;
	w->fn = fn;
	w->before = *before;
	w->failed = json_array();
	snprintf(w->pf, sizeof(w->pf), "%s", pf);
	r = w->failed ? sd_event_add_defer(moves->event, &w->look, on_look, w) : -ENOMEM;
	if (r >= 0)
		r = sd_event_source_set_priority(w->look, SD_EVENT_PRIORITY_IDLE);
	if (r >= 0)
		r = sd_event_add_time_relative(moves->event, &w->limit, CLOCK_MONOTONIC, MOVES_TIME_LIMIT_US,
					       0, on_limit, w);
	if (r < 0) {
		err_set(err, -r, NULL, "the settings are changed, but cannot wait for the outcome: %s",
			strerror(-r));
		goto fail;
	}
	r = api_call_defer(call, RPC_DEFER_WAIT, err);
	if (r < 0)
		goto fail;
	w->next = moves->first;
	moves->first = w;
	return 0;
fail:
	waiting_free(w);
	return r;
}
