/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An operation of plug.c from inside: what its steps share. */

#include <systemd/sd-event.h>

#include "qemu/plug.h"

#define PORTS_MAX   64
#define PORT_ID_MAX 64 /* bytes with the final NUL */

enum progress { STEP_DONE, STEP_SENT, STEP_WAITS }; /* or negative errno, and plug->err is set */

struct step {
	int (*issue)(struct plug *p);
	/* code and error of QEMU; returns 0, or negative errno with plug->err set. */
	int (*reply)(struct plug *p, int code, const json_t *ret, const struct err *err);
};

struct plug {
	struct plug *next; /* of all that run */
	enum plug_kind kind;
	struct pf_settings pf;
	unsigned int functions;
	unsigned int release_ms;
	struct qmp *qmp;
	void (*done)(void *ctx, struct plug *plug, int code, const struct err *err);
	void *ctx;
	sd_event_source *timer;

	/* attach */
	struct qemu_function *function;
	struct qemu_args_options options;
	char bus[PORT_ID_MAX];             /* the one asked for, or empty */
	bool bus_known;                    /* … then the one to use */
	bool adding;                       /* something is there to be undone */
	char port[PORTS_MAX][PORT_ID_MAX]; /* free ones, candidates */
	unsigned int ports;

	const struct step *step;
	bool waiting;       /* for the timer or an event */
	unsigned int index; /* function (or port) the step is at */
	unsigned int tries;
	bool undoing;
	bool released; /* DEVICE_DELETED of the PF has come */
	bool asked;    /* by a step that waits: its command is sent and not overdue */
	struct err err;
	int failure; /* what a failed attach reports after undoing */
	struct err failure_err;

	bool device[VPF_MAX_FUNCTIONS];  /* in the VM, as last listed */
	bool chardev[VPF_MAX_FUNCTIONS]; /* same */
};

/* What an issue() returns. `args` NULL: out of memory. plug_query() has no arguments, plug_send_id() names a part of
 * function fn in the argument "id". */
int plug_send(struct plug *p, const char *command, json_t *args);
int plug_query(struct plug *p, const char *command);
int plug_send_id(struct plug *p, const char *command, enum qemu_part part, unsigned int fn);
int plug_wait(struct plug *p, unsigned int ms);
void plug_set_bus(struct plug *p, const char *bus);
/* Another operation that runs in the same VM is about to put its PF on this port. */
bool plug_bus_promised(const struct plug *p, const char *bus);

/* What a reply() returns when it fails: an error that says what was to be done, followed by QEMU's reason; or
 * that the answer makes no sense. */
int plug_refused(struct plug *p, int code, const struct err *err, const char *what);
int plug_garbled(struct plug *p, const char *command);

/* Steps that several operations have: see what there is of the PF in the VM (plug_look.c) … */
int plug_list_devices(struct plug *p);
int plug_devices_listed(struct plug *p, int code, const json_t *ret, const struct err *err);
int plug_list_chardevs(struct plug *p);
int plug_chardevs_listed(struct plug *p, int code, const json_t *ret, const struct err *err);
/* … counting the chardevs that are not connected, with one of them as an example … */
int plug_read_chardevs(struct plug *p, int code, const json_t *ret, const struct err *err,
		       unsigned int *ret_away, unsigned int *ret_away_fn);
/* … and drop the netdevs and chardevs that no device uses. */
int plug_drop_netdevs(struct plug *p);
int plug_drop_chardevs(struct plug *p);
int plug_dropped(struct plug *p, int code, const json_t *ret, const struct err *err);
/* Waits for DEVICE_DELETED of the PF. */
int plug_release_pf(struct plug *p);

/* The operations, each ended by an empty step. */
extern const struct step plug_attach_steps[], plug_undo_steps[], plug_detach_steps[], plug_cleanup_steps[];
