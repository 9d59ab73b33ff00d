/* SPDX-License-Identifier: Apache-2.0 */

/* Theory of operation. An operation is a list of steps. A step issues commands, one at a time, until it has
 * nothing left to do; then the next one runs. A failing attach continues with the steps that undo it, and
 * then reports the failure. No step makes assumptions about the VM; each list of steps begins by looking. So
 * an operation also copes with what an earlier one, cut short, left behind.
 *
 * What QEMU 11.1 does, found by experiment:
 *
 * netdev_add of a vhost-user netdev blocks the whole VM until its socket is connected and answers. So the
 * chardevs are added first; the netdevs follow only when all chardevs are connected. netdev_del removes the
 * netdev's chardev as well.
 *
 * With PCIe-native hot-plug, the guest's release of the PF removes the PF and its VFs in one go, and
 * device_del of a VF whose PF was not plugged yet takes effect at once. With ACPI hot-plug (the default of
 * the q35 machine), neither removes VFs: they stay in QEMU, invisible to the guest, and cannot be removed at
 * all; but a PF plugged in again on the same port takes them over. So their netdevs are left alone, and
 * attach uses them.
 *
 * A second device_del is refused for some seconds; after that it is needed if the guest missed the first one
 * because it was still booting, but a Linux guest that is in its 5 s of waiting takes it as a cancellation. */

#include "qemu/plug.h"

#include <stdio.h>
#include <string.h>
#include <systemd/sd-event.h>

#include "qemu/plug_priv.h"

/* All running operations: two PFs of one VM must not choose the same port. */
static struct plug *running;

static void proceed(struct plug *p);

/* --- what steps use ------------------------------------------------------------------------------ */

static void on_reply(void *arg, int code, const json_t *ret, const struct err *err);

static int send_command(struct plug *p, const char *command, json_t *args, bool has_args)
{
	int r = args || !has_args ? qmp_command(p->qmp, command, args, on_reply, p) : -ENOMEM;

	if (r < 0)
		return err_set(&p->err, -r, "", "cannot send %s to QEMU: %s", command, strerror(-r));
	return STEP_SENT;
}

int plug_send(struct plug *p, const char *command, json_t *args)
{
	return send_command(p, command, args, true);
}

int plug_query(struct plug *p, const char *command)
{
	return send_command(p, command, NULL, false);
}

int plug_send_id(struct plug *p, const char *command, enum qemu_part part, unsigned int fn)
{
	char id[QEMU_ID_MAX];

	return plug_send(p, command, json_pack("{s:s}", "id", qemu_id(id, part, p->pf.name, fn)));
}

int plug_wait(struct plug *p, unsigned int ms)
{
	(void)sd_event_source_set_time_relative(p->timer, ms * 1000ULL);
	(void)sd_event_source_set_enabled(p->timer, SD_EVENT_ONESHOT);
	return STEP_WAITS;
}

int plug_refused(struct plug *p, int code, const struct err *err, const char *what)
{
	return err_set(&p->err, -code, "", "cannot %s: %.180s", what, err->text);
}

int plug_garbled(struct plug *p, const char *command)
{
	return err_set(&p->err, EPROTO, "", "QEMU's answer to %s is not as documented", command);
}

void plug_set_bus(struct plug *p, const char *bus)
{
	snprintf(p->bus, sizeof(p->bus), "%s", bus);
}

bool plug_bus_promised(const struct plug *p, const char *bus)
{
	for (const struct plug *other = running; other; other = other->next) {
		if (other != p && other->bus_known && !strcmp(other->bus, bus) &&
		    !strcmp(other->pf.qmp, p->pf.qmp))
			return true;
	}
	return false;
}

/* --- running them ----------------------------------------------------------------------------- */

static void start_steps(struct plug *p, const struct step *steps)
{
	p->step = steps;
	p->index = p->tries = 0;
	p->waiting = p->asked = false;
	(void)sd_event_source_set_enabled(p->timer, SD_EVENT_OFF);
}

static void finish(struct plug *p, int code)
{
	struct err remark = {};
	bool left = false;

	p->step = NULL;
	if (p->undoing)
		p->done(p->ctx, p, p->failure, &p->failure_err);
	else if (code < 0)
		p->done(p->ctx, p, code, &p->err);
	else {
		for (unsigned int fn = 1; p->kind != PLUG_ATTACH && fn < p->functions; fn++)
			left |= p->device[fn];
		if (left)
			err_set(&remark, 0, "",
				"the guest has released PF %s, but QEMU keeps its VFs on the port (ACPI hot-plug cannot remove them); attach will use them again",
				p->pf.name);
		p->done(p->ctx, p, 0, left ? &remark : NULL);
	}
}

static void fail(struct plug *p, int code)
{
	if (p->kind == PLUG_ATTACH && !p->undoing && code != -ENOTCONN && p->adding) {
		p->undoing = true;
		p->failure = code;
		p->failure_err = p->err;
		start_steps(p, plug_undo_steps);
		proceed(p);
		return;
	}
	finish(p, code);
}

static void proceed(struct plug *p)
{
	p->waiting = false;
	while (p->step->issue) {
		int r = p->step->issue(p);

		if (r < 0) {
			fail(p, r);
			return;
		}
		if (r != STEP_DONE) {
			p->waiting = r == STEP_WAITS;
			return;
		}
		start_steps(p, p->step + 1);
	}
	finish(p, 0);
}

static void on_reply(void *arg, int code, const json_t *ret, const struct err *err)
{
	struct plug *p = arg;
	int r;

	if (code == -ECANCELED)
		return; /* the link is being freed */
	if (code == -ENOTCONN) {
		p->err = *err;
		finish(p, code);
		return;
	}
	r = p->step->reply(p, code, ret, err);
	if (r < 0)
		fail(p, r);
	else
		proceed(p);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct plug *p = userdata;

	(void)s;
	(void)usec;
	if (p->waiting) {
		p->asked = false;
		proceed(p);
	}
	return 0;
}

void plug_event(struct plug *p, const char *name, const json_t *data)
{
	const char *device = json_string_value(json_object_get(data, "device"));
	char id[QEMU_ID_MAX];

	if (!device || !p->step || strcmp(device, qemu_id(id, QEMU_DEVICE, p->pf.name, VPF_FUNCTION_PF)) != 0)
		return;
	if (!strcmp(name, "DEVICE_DELETED")) {
		p->released = true;
		if (p->waiting && p->step->issue == plug_release_pf)
			proceed(p);
	} else if (!strcmp(name, "DEVICE_UNPLUG_GUEST_ERROR") && p->waiting &&
		   p->step->issue == plug_release_pf) {
		fail(p, err_set(&p->err, EREMOTEIO, "", "the guest refuses to release PF %s", p->pf.name));
	}
}

void plug_lost(struct plug *p, const char *why)
{
	if (!p->step)
		return;
	err_set(&p->err, ENOTCONN, "", "%s", why);
	finish(p, -ENOTCONN);
}

static int copy_attach(struct plug *p, const struct qemu_attach *attach)
{
	if (attach->options)
		p->options = *attach->options;
	p->options.bus = p->options.memory = NULL;
	if (attach->bus)
		plug_set_bus(p, attach->bus);
	p->function = calloc(p->functions, sizeof(*p->function));
	if (!p->function)
		return -ENOMEM;
	for (unsigned int fn = 0; fn < p->functions; fn++) {
		p->function[fn] = attach->functions[fn];
		p->function[fn].socket = strdup(attach->functions[fn].socket);
		if (!p->function[fn].socket) {
			p->functions = fn; /* those to free */
			return -ENOMEM;
		}
	}
	return 0;
}

int plug_new(enum plug_kind kind, const struct plug_config *config, struct plug **ret)
{
	static const struct step *const steps[] = {[PLUG_ATTACH] = plug_attach_steps,
						   [PLUG_DETACH] = plug_detach_steps,
						   [PLUG_CLEANUP] = plug_cleanup_steps};
	struct plug *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->kind = kind;
	p->pf = *config->pf;
	p->functions = config->pf->vfs + 1;
	p->release_ms = config->release_ms;
	p->qmp = config->qmp;
	p->done = config->done;
	p->ctx = config->ctx;
	r = sd_event_add_time_relative(config->event, &p->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, p);
	if (r >= 0 && kind == PLUG_ATTACH)
		r = copy_attach(p, config->attach);
	if (r < 0) {
		plug_free(p);
		return r;
	}
	p->next = running;
	running = p;
	start_steps(p, steps[kind]);
	/* The first step is issued from the event loop: done() must not be called before this returns. */
	p->waiting = true;
	(void)sd_event_source_set_enabled(p->timer, SD_EVENT_ONESHOT);
	*ret = p;
	return 0;
}

void plug_free(struct plug *p)
{
	if (!p)
		return;
	for (struct plug **q = &running; *q; q = &(*q)->next) {
		if (*q == p) {
			*q = p->next;
			break;
		}
	}
	sd_event_source_disable_unref(p->timer);
	for (unsigned int fn = 0; p->function && fn < p->functions; fn++)
		free((char *)p->function[fn].socket);
	free(p->function);
	free(p);
}
