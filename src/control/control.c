/* SPDX-License-Identifier: Apache-2.0 */

#include "control/control.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <systemd/sd-event.h>

#include "control/bucket.h"
#include "control/records.h"
#include "util/clock.h"
#include "vhost/vhost_user.h"

/* Messages that a VM may send. */
#define VM_INTERVAL_US 1000u /* one each */
#define VM_BURST       256
#define VM_RESUME      16 /* this many at once after a pause: a flood does not wake vpfd for each frame */
/* Reports about sessions, for each PF: a driver that says HELLO all the time must not fill the log. */
#define NEWS_INTERVAL_US  10000000u
#define NEWS_BURST        6
#define TIMER_ACCURACY_US 1000
/* Requests of one PF that the model has yet to answer. A driver has one at a time, and some more that it has given up
 * waiting for. Without a limit they would fill the memory, and the host's changes of the PF would have to wait for
 * them. */
#define PENDING_MAX 16

/* A VM, as long as it has a PF. */
struct vm {
	struct vm *next;
	char name[VPF_NAME_MAX];
	unsigned int pfs;
	struct bucket bucket;
	bool paused;
};

struct entry {
	struct entry *next;
	struct control *control;
	char pf[VPF_NAME_MAX];
	struct vm *vm;
	struct channel *channel;
	struct bucket news;
	uint64_t limited;
	struct pending *pending; /* requests that the model answers later */
};

struct pending {
	struct pending *next;
	struct entry *e; /* NULL: it is gone */
	uint64_t number;
};

struct control {
	struct control_config config;
	sd_event_source *timer;
	struct entry *entries;
	struct vm *vms;
};

static void dp_listen(void *dp, dataplane_control_fn fn, void *ctx)
{
	dataplane_control_listen(dp, fn, ctx);
}

static void dp_pause(void *dp, const char *pf, bool pause)
{
	dataplane_control_pause(dp, pf, pause);
}

static int dp_send(void *dp, const char *pf, const uint8_t *frame, size_t len)
{
	return dataplane_control_send(dp, pf, frame, len);
}

const struct control_dataplane control_dataplane = {
	.listen = dp_listen,
	.pause = dp_pause,
	.send = dp_send,
};

static struct entry *find(const struct control *c, const char *pf)
{
	for (struct entry *e = c->entries; e; e = e->next)
		if (!strcmp(e->pf, pf))
			return e;
	return NULL;
}

/* What a channel asks for. */

static bool on_send(void *ctx, const uint8_t *frame, size_t len)
{
	const struct entry *e = ctx;
	const struct control_config *config = &e->control->config;

	return config->ops->send(config->dp, e->pf, frame, len) == 0;
}

static uint64_t on_random(void *ctx)
{
	uint64_t random = 0;

	(void)ctx;
	/* Up to 256 bytes come whole once the kernel's generator is ready, which it waits for (getrandom(2));
	 * only before that can a signal end it. */
	while (getrandom(&random, sizeof(random), 0) != sizeof(random))
		;
	return random;
}

static void on_describe(void *ctx, struct vpf_ctl_hello_reply *ret)
{
	const struct entry *e = ctx;
	const struct model_pf *pf = model_pf_find(e->control->config.model, e->pf);

	ret->vfs = htole16((uint16_t)pf->s.vfs);
	ret->capabilities = htole32(record_capabilities(model_pf_can(e->control->config.model, pf)));
	memcpy(ret->mac, pf->fn[VPF_FUNCTION_PF].s.mac, sizeof(ret->mac));
	ctl_text(ret->pf, sizeof(ret->pf), e->pf);
	ctl_text(ret->daemon, sizeof(ret->daemon), VPF_VERSION);
}

static void on_record(void *ctx, unsigned int function, struct vpf_ctl_function *ret)
{
	const struct entry *e = ctx;
	const struct model *m = e->control->config.model;
	struct function_state state = {0};
	struct vhost_user_info vu = {0};

	model_function_get(m, e->pf, function, &state, &vu, NULL);
	record_function(function, &model_pf_find(m, e->pf)->fn[function].s, state.link_up,
			vu.queues_started > 0, ret);
}

static void on_stats(void *ctx, unsigned int function, struct vpf_ctl_stats *ret)
{
	const struct entry *e = ctx;
	struct port_stats stats = {0};

	model_function_get(e->control->config.model, e->pf, function, NULL, NULL, &stats);
	record_stats(function, &stats, ret);
}

static void arm(struct control *c);

/* The text for the guest. An error that is not the policy's begins with its field, as in the API: "max_rate: must be
 * ...". */
static uint16_t outcome(int r, const struct err *err, char text[CTL_TEXT_MAX])
{
	char why[sizeof(err->field) + sizeof(err->text) + 2] = "";

	if (r < 0)
		snprintf(why, sizeof(why), "%s%s%s", r == -EPERM ? "" : err->field,
			 r == -EPERM || !err->field[0] ? "" : ": ", err->text);
	ctl_text(text, CTL_TEXT_MAX, why);
	return record_status(r);
}

static void forget_pending(struct pending *p)
{
	struct pending **at = &p->e->pending;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
}

static void on_answer(void *ctx, int r, const struct err *err)
{
	struct pending *p = ctx;
	char text[CTL_TEXT_MAX];

	if (p->e) {
		forget_pending(p);
		channel_answer(p->e->channel, p->number, outcome(r, err, text), text);
		arm(p->e->control);
	}
	free(p);
}

static bool too_many_pending(const struct entry *e)
{
	unsigned int n = 0;

	for (const struct pending *p = e->pending; p; p = p->next)
		n++;
	return n >= PENDING_MAX;
}

static uint16_t on_set(void *ctx, const struct ctl_set *set, uint64_t number, char text[CTL_TEXT_MAX])
{
	struct entry *e = ctx;
	struct model *m = e->control->config.model;
	struct function_settings s = model_pf_find(m, e->pf)->fn[set->function].s;
	struct pending *p;
	struct answer answer;
	struct err err = {0};
	int r;

	if (too_many_pending(e)) {
		r = err_set(&err, EBUSY, NULL, "%u requests are under way: try again later", PENDING_MAX);
		return outcome(r, &err, text);
	}
	p = calloc(1, sizeof(*p));
	if (!p) {
		r = err_set(&err, ENOMEM, NULL, "out of memory");
		return outcome(r, &err, text);
	}
	*p = (struct pending){.next = e->pending, .e = e, .number = number};
	answer = (struct answer){on_answer, p};
	e->pending = p;
	r = record_apply(set, &s, &err);
	if (!r)
		r = model_function_request(m, e->pf, set->function, set->mask, &s, &answer, &err);
	if (r == ANSWER_LATER)
		return CHANNEL_LATER;
	forget_pending(p);
	free(p);
	return outcome(r, &err, text);
}

static void on_news(void *ctx, enum channel_news news)
{
	static const struct {
		enum model_event_kind kind;
		const char *text;
	} what[] = {
		[CHANNEL_HELLO] = {EVENT_CONTROL_HELLO, "the guest's driver has taken over its control"},
		[CHANNEL_BYE] = {EVENT_CONTROL_BYE, "the guest's driver has given up its control"},
		[CHANNEL_LOST] = {EVENT_CONTROL_LOST, "the guest's driver no longer controls it"},
	};
	struct entry *e = ctx;
	const struct channel_session *session = channel_session(e->channel);
	json_t *detail = NULL;
	char text[256];

	if (!bucket_take(&e->news, clock_us()))
		return;
	snprintf(text, sizeof(text), "%s", what[news].text);
	if (news == CHANNEL_HELLO) {
		detail = json_pack("{s:s, s:s}", "driver", session->driver, "kernel", session->kernel);
		snprintf(text, sizeof(text), "%s: vpf.ko %s, kernel %s", what[news].text, session->driver,
			 session->kernel);
	}
	model_report(e->control->config.model, &(struct model_event){
						       .kind = what[news].kind,
						       .level = LOG_LVL_INFO,
						       .pf = e->pf,
						       .function = VPF_FUNCTION_PF,
						       .detail = detail,
						       .text = text,
					       });
	json_decref(detail);
}

static const struct channel_ops channel_ops = {
	.send = on_send,
	.random = on_random,
	.describe = on_describe,
	.record = on_record,
	.stats = on_stats,
	.set = on_set,
	.news = on_news,
};

/* VMs */

static struct vm *vm_get(struct control *c, const char *name)
{
	struct vm *vm;

	for (vm = c->vms; vm && strcmp(vm->name, name);)
		vm = vm->next;
	if (!vm) {
		vm = calloc(1, sizeof(*vm));
		if (!vm)
			return NULL;
		snprintf(vm->name, sizeof(vm->name), "%s", name);
		vm->bucket = bucket_new(VM_INTERVAL_US, VM_BURST);
		vm->next = c->vms;
		c->vms = vm;
	}
	vm->pfs++;
	return vm;
}

static void vm_put(struct control *c, struct vm *vm)
{
	if (--vm->pfs)
		return;
	for (struct vm **p = &c->vms; *p; p = &(*p)->next)
		if (*p == vm) {
			*p = vm->next;
			break;
		}
	free(vm);
}

static void vm_pause(struct control *c, struct vm *vm, bool pause)
{
	vm->paused = pause;
	for (struct entry *e = c->entries; e; e = e->next)
		if (e->vm == vm)
			c->config.ops->pause(c->config.dp, e->pf, pause);
}

/* Time */

static uint64_t next_deadline(const struct control *c)
{
	uint64_t next = CHANNEL_NEVER;

	for (const struct entry *e = c->entries; e; e = e->next)
		next = MIN(next, channel_deadline(e->channel));
	for (const struct vm *vm = c->vms; vm; vm = vm->next)
		if (vm->paused)
			next = MIN(next, bucket_when(&vm->bucket, VM_RESUME));
	return next;
}

static void arm(struct control *c)
{
	uint64_t next = next_deadline(c);

	/* They can only fail for an event loop that is being torn down. */
	if (next == CHANNEL_NEVER) {
		sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time(c->timer, next);
	sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct control *c = ctx;
	uint64_t now = clock_us();

	(void)source;
	(void)usec;
	for (struct entry *e = c->entries; e; e = e->next)
		channel_tick(e->channel, now);
	for (struct vm *vm = c->vms; vm; vm = vm->next)
		if (vm->paused && bucket_when(&vm->bucket, VM_RESUME) <= now)
			vm_pause(c, vm, false);
	arm(c);
	return 0;
}

/* Frames */

static void on_frame(void *ctx, const char *pf, const uint8_t *frame, size_t len)
{
	struct control *c = ctx;
	struct entry *e = find(c, pf);
	uint64_t now = clock_us();

	if (!e)
		return;
	/* The data plane stops before the bucket is empty; this is for frames that it had already taken. */
	if (bucket_take(&e->vm->bucket, now))
		channel_receive(e->channel, now, frame, len);
	if (!e->vm->paused && bucket_when(&e->vm->bucket, 1) > now) {
		e->limited++;
		vm_pause(c, e->vm, true);
	}
	arm(c);
}

/* The model's virtual PFs */

/* Not in the list, or no longer. */
static void entry_free(struct entry *e)
{
	for (struct pending *p = e->pending; p; p = p->next)
		p->e = NULL; /* its answer frees it */
	if (e->vm)
		vm_put(e->control, e->vm);
	channel_free(e->channel);
	free(e);
}

static void entry_remove(struct control *c, struct entry *e)
{
	struct entry **p = &c->entries;

	while (*p != e)
		p = &(*p)->next;
	*p = e->next;
	entry_free(e);
}

static void entries_free(struct control *c)
{
	for (struct entry *e = c->entries, *next; e; e = next) {
		next = e->next;
		entry_free(e);
	}
}

static bool pf_started(const struct control *c, const char *pf)
{
	struct vhost_user_info vu = {0};

	return !model_function_get(c->config.model, pf, VPF_FUNCTION_PF, NULL, &vu, NULL) &&
	       vu.queues_started;
}

static int entry_new(struct control *c, const struct model_pf *pf)
{
	struct entry *e = calloc(1, sizeof(*e));
	struct channel_config config = {.ops = &channel_ops, .ctx = e, .functions = pf->s.vfs + 1};
	int r;

	if (!e)
		return -ENOMEM;
	e->control = c;
	snprintf(e->pf, sizeof(e->pf), "%s", pf->s.name);
	e->news = bucket_new(NEWS_INTERVAL_US, NEWS_BURST);
	memcpy(config.key, pf->vm->key, sizeof(config.key));
	e->vm = vm_get(c, pf->s.vm);
	r = e->vm ? channel_new(&config, &e->channel) : -ENOMEM;
	if (r < 0) {
		entry_free(e);
		return r;
	}
	e->next = c->entries;
	c->entries = e;
	if (e->vm->paused)
		c->config.ops->pause(c->config.dp, e->pf, true);
	if (pf_started(c, e->pf))
		channel_start(e->channel, clock_us());
	return 0;
}

/* The PF may have moved to another VM; its settings may then look different to the guest. */
static int entry_follow(struct entry *e, const struct model_pf *pf)
{
	struct control *c = e->control;
	struct vm *vm = vm_get(c, pf->s.vm);

	if (!vm)
		return -ENOMEM;
	if (vm != e->vm)
		c->config.ops->pause(c->config.dp, e->pf, vm->paused);
	vm_put(c, e->vm);
	e->vm = vm;
	channel_set_key(e->channel, pf->vm->key);
	for (unsigned int fn = 0; fn <= pf->s.vfs; fn++)
		channel_dirty(e->channel, fn);
	return 0;
}

static void follow_pf(struct control *c, const char *name)
{
	const struct model_pf *pf = model_pf_find(c->config.model, name);
	struct entry *e = find(c, name);
	int r = 0;

	if (pf && e)
		r = entry_follow(e, pf);
	else if (pf)
		r = entry_new(c, pf);
	else if (e)
		entry_remove(c, e);
	if (r < 0)
		log_write(LOG_LVL_ERR, &(struct log_scope){.pf = name, .vf = LOG_VF_NONE},
			  "no control channel: %s", strerror(-r));
}

/* What the event changes in a function's record. */
static void on_function_event(struct entry *e, const struct model_event *event)
{
	unsigned int fn = (unsigned int)event->function;

	switch (event->kind) {
	case EVENT_FUNCTION_STARTED:
		if (fn == VPF_FUNCTION_PF)
			channel_start(e->channel, clock_us());
		break;
	case EVENT_FUNCTION_STOPPED:
		if (fn == VPF_FUNCTION_PF)
			channel_stop(e->channel, clock_us());
		break;
	case EVENT_FUNCTION_CHANGED:
	case EVENT_LINK_UP:
	case EVENT_LINK_DOWN:
		break;
	default:
		return;
	}
	channel_dirty(e->channel, fn);
}

static void on_model_event(void *ctx, const struct model_event *event)
{
	struct control *c = ctx;
	struct entry *e;

	if (model_event_names[event->kind].topic == TOPIC_PF) {
		follow_pf(c, event->pf);
	} else {
		e = event->pf && event->function >= 0 ? find(c, event->pf) : NULL;
		if (!e)
			return;
		on_function_event(e, event);
	}
	arm(c);
}

int control_new(const struct control_config *config, struct control **ret, struct err *err)
{
	struct control *c = calloc(1, sizeof(*c));
	int r = 0;

	if (!c)
		return err_set(err, ENOMEM, NULL, "out of memory");
	c->config = *config;
	r = sd_event_add_time(config->event, &c->timer, CLOCK_MONOTONIC, 0, TIMER_ACCURACY_US, on_timer, c);
	if (r >= 0)
		r = sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
	for (unsigned int i = 0; r >= 0 && model_pf_at(config->model, i); i++)
		r = entry_new(c, model_pf_at(config->model, i));
	if (r >= 0)
		r = model_listen(config->model, on_model_event, c);
	if (r < 0) {
		entries_free(c);
		sd_event_source_disable_unref(c->timer);
		free(c);
		return err_set(err, -r, NULL, "cannot make the control channels: %s", strerror(-r));
	}
	config->ops->listen(config->dp, on_frame, c);
	arm(c);
	*ret = c;
	return 0;
}

void control_free(struct control *c)
{
	if (!c)
		return;
	c->config.ops->listen(c->config.dp, NULL, NULL);
	model_unlisten(c->config.model, on_model_event, c);
	entries_free(c);
	sd_event_source_disable_unref(c->timer);
	free(c);
}

int control_get(const struct control *c, const char *pf, struct control_info *ret)
{
	const struct entry *e = find(c, pf);

	if (!e)
		return -ENOENT;
	*ret = (struct control_info){
		.session = channel_session(e->channel),
		.counters = channel_counters(e->channel),
		.limited = e->limited,
	};
	return 0;
}
